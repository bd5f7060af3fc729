//! Extended attributes (`--xattrs`): which are kept, lists of them, what differs, and giving them to a file.
//!
//! A list travels with its entry, but once however many files have it. Of a long value only a digest does; the generator
//! asks for what the destination has not, and the answer comes with the item. So a list is shared by its entries, and what
//! a role learns of it is noted in the list itself: the generator what it asked for, the receiver what came. Neither
//! looks at the other's notes.

mod apply;
mod read;
mod wire;

use std::{
    ffi::{CStr, CString},
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

pub use read::{Excluding, Known, Subject};
pub use wire::{Asked, Received, Sent};

use super::{Kind, acl};
use crate::{
    hash::{Algorithm, FileSum},
    log::Log,
    options::{Options, Super},
    sys::users,
};

/// Values up to this length travel with their list. C: MAX_FULL_DATUM
const MAX_WHOLE: usize = 32;

/// C: MAX_XATTR_DIGEST_LEN
type Sum = [u8; 16];

const USER: &[u8] = b"user.";
const SYSTEM: &[u8] = b"system.";
/// Where those without privilege keep what others have elsewhere. C: RSYNC_PREFIX
const DISGUISE: &[u8] = b"user.rsync.";

/// Whose rights decide which namespaces there are. C: am_root
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rights {
    User,
    Super,
    /// `--fake-super`.
    Fake,
}

impl Rights {
    fn of(options: &Options) -> Self {
        match options.super_user {
            Super::Fake => Self::Fake,
            Super::Yes => Self::Super,
            Super::ByUser if users::effective_uid() == 0 => Self::Super,
            Super::ByUser | Super::No => Self::User,
        }
    }
}

/// Whether the rules leave out an attribute of that name.
type Excludes = dyn Fn(&[u8], &Log) -> bool + Send + Sync;

/// Which attributes this side keeps.
#[derive(Clone)]
pub struct Policy {
    sends: bool,
    rights: Rights,
    /// `-XX`: our own too.
    own_too: bool,
    links: bool,
    devices: bool,
    specials: bool,
    /// Rules about names, which replace those about namespaces. C: saw_xattr_filter
    excludes: Option<Arc<Excludes>>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("sends", &self.sends).field("rights", &self.rights).finish_non_exhaustive()
    }
}

impl Policy {
    /// `None`: they are not kept. `sends`: this side is the sender.
    pub fn of(options: &Options, sends: bool) -> Option<Self> {
        (options.xattrs > 0).then(|| Self {
            sends,
            rights: Rights::of(options),
            own_too: options.xattrs > 1,
            links: options.links,
            devices: options.devices,
            specials: options.specials,
            excludes: None,
        })
    }

    /// Looks anew at whose rights we have.
    pub fn take_rights(&mut self, options: &Options) {
        self.rights = Rights::of(options);
    }

    /// From now on rules decide.
    pub fn leave_out(&mut self, excludes: impl Fn(&[u8], &Log) -> bool + Send + Sync + 'static) {
        self.excludes = Some(Arc::new(excludes));
    }

    /// Whether files of this type have attributes as far as we are concerned.
    fn is_for(&self, mode: u32) -> bool {
        match Kind::of(mode) {
            Kind::Regular | Kind::Directory => true,
            Kind::Symlink => self.links,
            Kind::Device => self.devices,
            Kind::Special => self.specials,
            Kind::Unsupported => false,
        }
    }

    /// Whether the name is none of our business, where what a file has is read (`user_only`: of no other namespace).
    fn passes_over(&self, name: &[u8], user_only: bool, subject: Subject<'_>) -> bool {
        match (subject.excludes, &self.excludes) {
            (Some(excludes), _) => excludes(name),
            (None, Some(excludes)) => excludes(name, subject.log),
            (None, None) if user_only => !name.starts_with(USER),
            (None, None) => name.starts_with(SYSTEM),
        }
    }
}

/// What rsync itself keeps there, which is shown only to those who ask twice.
fn is_own(name: &[u8]) -> bool {
    name.strip_prefix(DISGUISE).is_some_and(|rest| rest.starts_with(b"%"))
}

/// One attribute.
#[derive(Debug)]
pub struct Attr {
    name: CString,
    /// By which requests call it: its place in the sender's list, from 1 on.
    number: i32,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Whole(Box<[u8]>),
    Digest(Digest),
}

/// What is known of a long value.
#[derive(Debug)]
struct Digest {
    sum: Sum,
    len: usize,
    /// By the generator: asked for, or found to be there; by the sender: sent.
    settled: AtomicBool,
    /// For the receiver: the value itself.
    came: OnceLock<Box<[u8]>>,
}

impl Value {
    fn new(bytes: Vec<u8>) -> Self {
        if bytes.len() <= MAX_WHOLE {
            return Self::Whole(bytes.into());
        }
        Self::digest(sum(&bytes), bytes.len())
    }

    fn digest(sum: Sum, len: usize) -> Self {
        Self::Digest(Digest { sum, len, settled: AtomicBool::new(false), came: OnceLock::new() })
    }

    /// What tells one value from another.
    fn key(&self) -> (usize, &[u8]) {
        match self {
            Self::Whole(bytes) => (bytes.len(), bytes),
            Self::Digest(digest) => (digest.len, &digest.sum),
        }
    }
}

fn sum(bytes: &[u8]) -> Sum {
    let mut sum = FileSum::unseeded(Algorithm::Md5);
    sum.update(bytes);
    let mut out = Sum::default();
    out.iter_mut().zip(sum.finish().iter()).for_each(|(to, from)| *to = *from);
    out
}

impl Digest {
    fn fits(&self, value: &[u8]) -> bool {
        value.len() == self.len && sum(value) == self.sum
    }
}

/// A file's attributes, by name.
#[derive(Debug, Default)]
pub struct List {
    attrs: Vec<Attr>,
}

/// Of a file that has none.
pub static NONE: List = List { attrs: Vec::new() };

impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        let keys = |list: &Self| list.attrs.len();
        let same = |(one, other): (&Attr, &Attr)| one.name == other.name && one.value.key() == other.value.key();
        keys(self) == keys(other) && self.attrs.iter().zip(&other.attrs).all(same)
    }
}

impl Eq for List {}

impl Hash for List {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for attr in &self.attrs {
            (&attr.name, attr.value.key()).hash(state);
        }
    }
}

/// What a file lacks of a list.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    pub differs: bool,
    /// Numbers of the long values that are neither there nor asked for already.
    pub missing: Vec<i32>,
}

impl List {
    fn new(mut attrs: Vec<Attr>) -> Self {
        attrs.sort_by(|one, other| one.name.cmp(&other.name));
        Self { attrs }
    }

    pub fn is_empty(&self) -> bool {
        self.attrs.is_empty()
    }

    /// Whether an access control list is among them, which changes the file's mode when it is set.
    pub fn has_acl(&self) -> bool {
        self.attrs.iter().any(|attr| *attr.name == *acl::ACCESS)
    }

    /// Compares with what stands at the destination. C: xattrs.c xattr_diff
    pub fn difference(&self, there: &Self) -> Difference {
        let mut there = there.attrs.iter().peekable();
        let mut difference = Difference::default();
        for wanted in &self.attrs {
            while there.next_if(|other| other.name < wanted.name).is_some() {
                difference.differs = true;
            }
            let same = there.next_if(|other| other.name == wanted.name);
            if same.is_some_and(|same| same.value.key() == wanted.value.key()) {
                continue;
            }
            difference.differs = true;
            match &wanted.value {
                Value::Digest(digest) if !digest.settled.load(Ordering::Relaxed) => {
                    difference.missing.push(wanted.number);
                }
                _ => {}
            }
        }
        difference.differs |= there.next().is_some();
        difference
    }

    /// All long values were asked for or are there. C: xattrs.c send_xattr_request, as the generator calls it
    pub fn settle(&self) {
        for attr in &self.attrs {
            if let Value::Digest(digest) = &attr.value {
                digest.settled.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// The names in what the system lists.
fn names(listed: &[u8]) -> impl Iterator<Item = &CStr> {
    listed.split_inclusive(|&byte| byte == 0).map_while(|name| CStr::from_bytes_with_nul(name).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn list(attrs: &[(&str, &[u8])]) -> List {
        let attr = |(number, (name, value)): (i32, &(&str, &[u8]))| Attr {
            name: CString::new(*name).unwrap(),
            number,
            value: Value::new(value.to_vec()),
        };
        List::new((1..).zip(attrs).map(attr).collect())
    }

    const LONG: &[u8] = &[b'l'; 33];
    const OTHER: &[u8] = &[b'o'; 33];

    #[test]
    fn a_difference_is_found_wherever_it_is() {
        let wanted = list(&[("user.b", b"1"), ("user.d", b"2")]);
        for there in [
            &[("user.b", &b"1"[..])][..],
            &[("user.b", b"1"), ("user.d", b"3")],
            &[("user.a", b""), ("user.b", b"1"), ("user.d", b"2")],
            &[("user.b", b"1"), ("user.c", b""), ("user.d", b"2")],
            &[("user.b", b"1"), ("user.d", b"2"), ("user.e", b"")],
            &[],
        ] {
            assert!(wanted.difference(&list(there)).differs, "{there:?}");
        }
        assert!(!wanted.difference(&list(&[("user.d", b"2"), ("user.b", b"1")])).differs);
        assert!(NONE.difference(&wanted).differs && !NONE.difference(&NONE).differs);
    }

    #[test]
    fn a_long_value_is_missed_once() {
        let wanted = list(&[("user.a", LONG), ("user.b", LONG)]);
        let there = list(&[("user.a", LONG), ("user.b", OTHER)]);
        assert_eq!(wanted.difference(&there).missing, [2]);
        assert_eq!(wanted.difference(&NONE).missing, [1, 2]);
        wanted.settle();
        let again = wanted.difference(&NONE);
        assert!(again.differs && again.missing.is_empty());
    }

    #[test]
    fn what_is_ours_is_told_by_its_name() {
        assert!(is_own(b"user.rsync.%stat") && is_own(b"user.rsync.%x"));
        assert!(!is_own(b"user.rsync.security.x") && !is_own(b"user.rsync") && !is_own(b"trusted.rsync.%stat"));
    }
}
