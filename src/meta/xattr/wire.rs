//! The wire form: lists behind entries, requests for long values, and the answers.

use std::{
    ffi::{CStr, CString},
    sync::{Arc, atomic::Ordering},
};

use super::{Attr, DISGUISE, Digest, List, MAX_WHOLE, Policy, Rights, Sum, USER, Value, apply, is_own, read::Subject};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    log::{Log, table::Table},
    wire::{Reader, Writer},
};

/// C: MAX_WIRE_XATTR_COUNT, MAX_WIRE_XATTR_NAMELEN, MAX_XATTR_VALUE_BYTES, MAX_XATTR_LIST_BYTES
const MAX_COUNT: i32 = 65_536;
const MAX_NAME: u32 = 4096;
const MAX_VALUE: u32 = 128 << 20;
/// ... and what is no value at all. C: MAX_WIRE_XATTR_DATALEN
const NO_VALUE: u32 = i32::MAX.unsigned_abs();
const MAX_LIST: u64 = 512 << 20;

/// The lists that were sent, by content.
pub struct Sent {
    rights: Rights,
    numbers: Option<Table<Arc<List>, i32>>,
    log: Log,
}

/// How big the table of lists begins. C: in xattrs.c rsync_xal_store
const LISTS: usize = 512;

impl Sent {
    pub fn new(policy: &Policy, log: &Log) -> Self {
        Self { rights: policy.rights, numbers: None, log: log.clone() }
    }

    /// Writes the list behind an entry: the number of one that was written before, or the list itself.
    /// C: xattrs.c send_xattr
    pub fn write(&mut self, out: &mut Writer, list: Option<&Arc<List>>) -> Result<()> {
        let list = list.map_or_else(|| Arc::new(List::default()), Arc::clone);
        if let Some(&number) = self.numbers.as_ref().and_then(|numbers| numbers.get(&list)) {
            return out.varint(number);
        }
        out.varint(0)?;
        out.varint(list.attrs.len() as i32)?; // all names of a file fit into 64 KiB
        for attr in &list.attrs {
            let name = self.shown(attr.name.as_bytes_with_nul());
            let (len, bytes) = attr.value.key();
            out.varint(name.len() as i32)?;
            out.varint(len as i32)?;
            out.bytes(name)?;
            out.bytes(bytes)?;
        }
        let numbers = self.numbers.get_or_insert_with(|| Table::new(LISTS, &self.log));
        let number = numbers.len() as i32 + 1;
        numbers.insert(list, number);
        numbers.tell_growth(&self.log);
        Ok(())
    }

    /// What is kept in another namespace for want of privilege goes by its true name.
    fn shown<'n>(&self, name: &'n [u8]) -> &'n [u8] {
        match name.strip_prefix(DISGUISE) {
            Some(rest) if self.rights == Rights::Fake && !rest.starts_with(b"%") && rest.len() > 1 => rest,
            _ => name,
        }
    }
}

/// The lists that came; of those without an attribute that concerns us there is nothing to know.
#[derive(Debug)]
pub struct Received {
    policy: Policy,
    lists: Vec<Option<Arc<List>>>,
}

impl Received {
    pub fn new(policy: Policy) -> Self {
        Self { policy, lists: Vec::new() }
    }

    /// Which attributes this side keeps, if that was not known in the beginning.
    pub fn keep_to(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Reads the list behind the entry `path`; `None`: an empty one. C: xattrs.c receive_xattr
    pub fn read(&mut self, from: &mut Reader, path: &[u8], log: &Log) -> Result<Option<Arc<List>>> {
        let number = from.varint()?;
        if number != 0 {
            let known = usize::try_from(number).ok().and_then(|number| self.lists.get(number - 1));
            return known.cloned().ok_or_else(|| {
                let line = bytes!["receive_xattr: xa index ", number, " out of range for ", path];
                Error::new(ExitCode::STREAM_IO, line)
            });
        }
        let count = from.varint_in(0..=MAX_COUNT, "xattr count")?;
        let (mut attrs, mut total) = (Vec::new(), 0);
        for number in 1..=count {
            let (name, value) = read_attr(from, &mut total)?;
            if let Some(name) = self.kept_as(name, log) {
                attrs.push(Attr { name, number, value });
            }
        }
        let list = (!attrs.is_empty()).then(|| Arc::new(List::new(attrs)));
        self.lists.push(list.clone());
        Ok(list)
    }

    /// The name that an attribute has here; `None`: it is not kept.
    fn kept_as(&self, name: CString, log: &Log) -> Option<CString> {
        let policy = &self.policy;
        if policy.excludes.as_ref().is_some_and(|excludes| excludes(name.to_bytes(), log)) {
            return None;
        }
        let foreign = policy.rights != Rights::Super && !name.to_bytes().starts_with(USER);
        if foreign && policy.rights == Rights::User && policy.excludes.is_none() {
            return None;
        }
        let name = if foreign { CString::new([DISGUISE, name.to_bytes()].concat()).ok()? } else { name };
        (policy.own_too || !is_own(name.to_bytes())).then_some(name)
    }
}

/// One attribute of a list; `total` is how long all of it may become.
fn read_attr(from: &mut Reader, total: &mut u64) -> Result<(CString, Value)> {
    let name_len = from.varint_size(MAX_NAME, "xattr name_len")?;
    let len = from.varint_size(NO_VALUE, "xattr datum_len")?;
    let who = from.role();
    if len > MAX_VALUE {
        return Err(too_long(who));
    }
    *total += u64::from(name_len) + u64::from(len);
    if *total > MAX_LIST {
        let line = bytes!["xattr list exceeds per-file limit [", who, "]"];
        return Err(Error::new(ExitCode::PROTOCOL, line));
    }
    let mut name = vec![0; name_len as usize];
    from.exact(&mut name)?;
    if name.last() != Some(&0) {
        let line = "Invalid xattr name received (missing trailing \\0).";
        return Err(Error::new(ExitCode::FILE_IO, line));
    }
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default().to_owned();
    let len = len as usize;
    if len > MAX_WHOLE {
        let mut sum = Sum::default();
        from.exact(&mut sum)?;
        return Ok((name, Value::digest(sum, len)));
    }
    let mut value = vec![0; len];
    from.exact(&mut value)?;
    Ok((name, Value::Whole(value.into())))
}

fn too_long(who: &str) -> Error {
    Error::new(ExitCode::PROTOCOL, bytes!["xattr datum_len exceeds per-value limit [", who, "]"])
}

/// What a generator asked for of a list.
#[derive(Debug, Default)]
pub struct Asked(Vec<i32>);

impl Asked {
    pub fn new(numbers: Vec<i32>) -> Self {
        Self(numbers)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// C: xattrs.c send_xattr_request, as the generator calls it
    pub fn write(&self, out: &mut Writer) -> Result<()> {
        let mut before = 0;
        for &number in &self.0 {
            out.varint(number - before)?;
            before = number;
        }
        out.byte(0)
    }

    /// Reads a request for values of the entry `path`. C: xattrs.c recv_xattr_request, as the sender calls it
    ///
    /// # Errors
    /// Exit status 2 for what is not there to be asked for, or was before.
    pub fn read(from: &mut Reader, list: &List, path: &[u8]) -> Result<Self> {
        let (mut asked, mut number) = (Vec::new(), 0);
        while next(from, &mut number)? {
            let (name, digest) = find(list, number, path, from.role())?;
            if digest.settled.swap(true, Ordering::Relaxed) {
                return Err(not_abbreviated(name, digest.len, path, from.role()));
            }
            asked.push(number);
        }
        asked.sort_unstable();
        Ok(Self(asked))
    }

    /// Sends what was asked for. C: xattrs.c send_xattr_request, as the sender calls it
    pub fn answer(&self, out: &mut Writer, list: &List, subject: Subject<'_>, shown: &[u8]) -> Result<()> {
        let mut before = 0;
        for attr in list.attrs.iter().filter(|attr| self.0.binary_search(&attr.number).is_ok()) {
            out.varint(attr.number - before)?;
            before = attr.number;
            let value = apply::reread(subject, &attr.name, shown).unwrap_or_default();
            out.varint(value.len() as i32)?;
            out.bytes(&value)?;
        }
        out.byte(0)
    }

    /// Answers for a file that cannot be reached any more.
    pub fn decline(&self, out: &mut Writer) -> Result<()> {
        let mut before = 0;
        for &number in &self.0 {
            out.varint(number - before)?;
            out.varint(0)?;
            before = number;
        }
        out.byte(0)
    }

    /// Takes in the answer. C: xattrs.c recv_xattr_request, as the receiver calls it
    ///
    /// # Errors
    /// As for [`Asked::read`].
    pub fn take(from: &mut Reader, list: &List, path: &[u8]) -> Result<()> {
        let mut number = 0;
        while next(from, &mut number)? {
            let (name, digest) = find(list, number, path, from.role())?;
            if digest.came.get().is_some() {
                return Err(not_abbreviated(name, digest.len, path, from.role()));
            }
            let len = from.varint_size(NO_VALUE, "xattr datum_len")?;
            if len > MAX_VALUE {
                return Err(too_long(from.role()));
            }
            let _ = digest.came.set(read_value(from, len as usize)?.into());
        }
        Ok(())
    }
}

/// Memory grows with what really comes.
fn read_value(from: &mut Reader, len: usize) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    while value.len() < len {
        let piece = from.take(len - value.len())?;
        value.extend_from_slice(piece);
    }
    Ok(value)
}

/// Goes on to the next number; false at the end of them.
fn next(from: &mut Reader, number: &mut i32) -> Result<bool> {
    let step = from.varint()?;
    *number = number.checked_add(step).ok_or_else(|| {
        let line = bytes!["xattr rel_pos accumulation overflow [", from.role(), "]"];
        Error::new(ExitCode::PROTOCOL, line)
    })?;
    Ok(step != 0)
}

/// The long value of that number.
fn find<'l>(list: &'l List, number: i32, path: &[u8], who: &str) -> Result<(&'l CStr, &'l Digest)> {
    match list.attrs.iter().find(|attr| attr.number == number) {
        Some(Attr { name, value: Value::Digest(digest), .. }) => Ok((name, digest)),
        Some(Attr { name, value: Value::Whole(value), .. }) => Err(not_abbreviated(name, value.len(), path, who)),
        None => {
            let line = bytes!["[", who, "] could not find xattr #", number, " for ", path];
            Err(Error::new(ExitCode::PROTOCOL, line))
        }
    }
}

fn not_abbreviated(name: &CStr, len: usize, path: &[u8], who: &str) -> Error {
    let which = bytes![" on ", path, " (", name.to_bytes(), ", len=", len, ")!"];
    Error::new(ExitCode::PROTOCOL, bytes!["[", who, "] internal abbrev error", which])
}
