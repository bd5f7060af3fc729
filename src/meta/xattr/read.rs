//! Reading a file's attributes.

use std::{collections::HashSet, ffi::CStr, io, sync::Arc};

use super::{Attr, DISGUISE, List, Policy, Rights, Value, is_own, names};
use crate::{
    bytes,
    log::{Log, LogCode},
    sys::xattr::{self, On},
};

/// What `--fake-super` keeps about a file beside its attributes.
const FAKED: [&[u8]; 3] = [b"%stat", b"%aacl", b"%dacl"];

/// Whether rules leave out a name.
pub type Excluding<'a> = dyn Fn(&[u8]) -> bool + 'a;

/// What has attributes, and how messages call it.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub on: On<'a>,
    /// In quotes.
    pub name: &'a dyn Fn() -> Vec<u8>,
    pub log: &'a Log,
    /// Messages name the calls on open files.
    pub held: bool,
    /// Rules at hand, in place of the policy's.
    pub excludes: Option<&'a Excluding<'a>>,
}

impl<'a> Subject<'a> {
    pub fn new(on: On<'a>, name: &'a dyn Fn() -> Vec<u8>, log: &'a Log) -> Self {
        Self { on, name, log, held: matches!(on, On::Open(_)), excludes: None }
    }

    fn failed(&self, what: Vec<u8>, error: &io::Error) {
        self.log.syserr(LogCode::ErrorXfer, what, error);
    }

    /// The names as the system lists them; `None`, which was said: that failed. C: xattrs.c get_xattr_names
    pub(super) fn names(&self) -> Option<Vec<u8>> {
        match xattr::list(self.on) {
            Err(error) if error.raw_os_error() == Some(libc::ENOTSUP) => Some(Vec::new()),
            Err(error) => {
                self.failed(bytes!["get_xattr_names: llistxattr(", (self.name)(), ",1024) failed"], &error);
                None
            }
            names => names.ok(),
        }
    }

    /// A value; `None`, which was said: that failed. C: xattrs.c get_xattr_data
    pub(super) fn value(&self, name: &CStr) -> Option<Vec<u8>> {
        xattr::get(self.on, name)
            .map_err(|error| {
                if error.raw_os_error() != Some(libc::ENOTSUP) {
                    let named = bytes!["(", (self.name)(), ",\"", name.to_bytes(), "\",0) failed"];
                    self.failed(bytes!["get_xattr_data: lgetxattr", named], &error);
                }
            })
            .ok()
    }

    pub(super) fn not_done(&self, call: &str, which: &str, name: &CStr, error: &io::Error) {
        let held = if self.held { "f" } else { "l" };
        let named = bytes!["(", (self.name)(), ",\"", name.to_bytes(), "\") failed"];
        self.failed(bytes![call, ": ", held, which, named], error);
    }
}

/// Lists that were read, each once.
#[derive(Debug, Default)]
pub struct Known(HashSet<Arc<List>>);

impl Known {
    /// The list as it is known; `None`: it is empty.
    pub fn share(&mut self, list: List) -> Option<Arc<List>> {
        if list.is_empty() {
            return None;
        }
        if let Some(known) = self.0.get(&list) {
            return Some(Arc::clone(known));
        }
        let list = Arc::new(list);
        self.0.insert(Arc::clone(&list));
        Some(list)
    }
}

impl Policy {
    /// The attributes of a file of that mode, as far as they are kept; `None`, which was said: they cannot be read.
    /// C: xattrs.c get_xattr, rsync_xal_get
    pub fn read(&self, subject: Subject<'_>, mode: u32) -> Option<List> {
        if !self.is_for(mode) {
            return Some(List::default());
        }
        let listed = subject.names()?;
        let user_only = !self.sends && self.rights == Rights::User;
        let mut attrs = Vec::new();
        for name in names(&listed) {
            let bytes = name.to_bytes();
            if self.passes_over(bytes, user_only, subject) || is_own(bytes) && self.hides_own(bytes) {
                continue;
            }
            attrs.push(Attr { name: name.to_owned(), number: 0, value: Value::new(subject.value(name)?) });
        }
        let mut list = List::new(attrs);
        for (number, attr) in (1..).zip(&mut list.attrs) {
            attr.number = number;
        }
        Some(list)
    }

    /// Of our own attributes none is sent unasked, and what fakes a file's own data is no attribute of it.
    fn hides_own(&self, name: &[u8]) -> bool {
        self.sends && !self.own_too || self.rights == Rights::Fake && is_faked(name)
    }
}

/// Whether an attribute tells what `--fake-super` cannot give the file itself.
pub(super) fn is_faked(name: &[u8]) -> bool {
    name.strip_prefix(DISGUISE).is_some_and(|rest| FAKED.contains(&rest))
}
