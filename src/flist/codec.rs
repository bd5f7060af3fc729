//! The wire form of file-list entries, protocols 27 to 32, as it is written (`decode` reads it).
//!
//! An entry is a set of flags, a name that shares its beginning with the entry before, and only those attributes that
//! differ from the entry before. The memory of "before" spans all segments of a session.

pub use super::form::Counts;
use super::{
    Entry, Flags, Segment,
    acls::{NamesSent, SentAcls},
    charset::Outgoing,
    form::{Last, Rules, is_special, xmit},
    io_error,
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    log::{Log, LogCode},
    meta::{
        acl::Acls,
        ids::{Kind, Seen},
        xattr,
    },
    options::{Delete, Options},
    proto::Protocol,
    sys::stat::make_device,
    wire::{Tag, Writer},
};

/// The longest common beginning that can be told in its byte.
const MAX_COMMON: usize = 255;

/// A file's hard links as an entry tells them.
#[derive(Clone, Copy)]
enum Link {
    /// There are none.
    None,
    /// The first name of several; this and the next from protocol 30 on.
    First,
    /// A further name of the entry with this index.
    Further(i32),
    Inode {
        device: u64,
        inode: u64,
        same_device: bool,
    },
}

impl Link {
    fn flags(self) -> u32 {
        match self {
            Self::None => 0,
            Self::First => xmit::HLINKED | xmit::HLINK_FIRST,
            Self::Inode { same_device: true, .. } => xmit::HLINKED | xmit::SAME_DEV,
            Self::Further(_) | Self::Inode { .. } => xmit::HLINKED,
        }
    }
}

/// The sending side of all lists of a session.
pub struct Encoder {
    rules: Rules,
    delete: Delete,
    last: Last,
    /// The name at hand; its room is used again.
    name: Vec<u8>,
    users: Seen,
    groups: Seen,
    acls: SentAcls,
    counts: Counts,
    /// Lists of extended attributes, if they are kept.
    xattrs: Option<xattr::Sent>,
    log: Log,
    charset: Option<Outgoing>,
}

impl Encoder {
    /// Fails where a character set is not known.
    pub fn new(options: &Options, protocol: &Protocol, log: &Log) -> Result<Self> {
        Ok(Self {
            rules: Rules::new(options, protocol),
            delete: options.delete,
            last: Last::default(),
            name: Vec::new(),
            users: Seen::new(Kind::User),
            groups: Seen::new(Kind::Group),
            acls: SentAcls::default(),
            counts: Counts::default(),
            xattrs: xattr::Policy::of(options, true).as_ref().map(|policy| xattr::Sent::new(policy, log)),
            log: log.clone(),
            charset: Outgoing::new(options, protocol)?,
        })
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Writes the entries of a segment from a position on: in the order in which they were found, before sorting.
    pub fn entries(&mut self, out: &mut Writer, segment: &Segment, from: usize) -> Result<()> {
        (from..segment.len()).try_for_each(|position| {
            let index = segment.first_index + position as i32;
            let entry = segment.entry(position);
            self.entry(out, entry, index, segment.first_index)?;
            if self.rules.acls && !entry.is_symlink() {
                self.write_acls(out, entry)?;
            }
            self.xattrs.as_mut().map_or(Ok(()), |sent| sent.write(out, entry.xattrs()))
        })
    }

    /// C: flist.c send_file_entry
    fn entry(&mut self, out: &mut Writer, entry: Entry<'_>, index: i32, first_index: i32) -> Result<()> {
        let mode = entry.mode();
        let first = self.last.name.is_empty();
        self.take_name(entry);
        let link = self.link(entry, index);
        let mut flags = self.type_flags(entry) | self.rdev_flags(entry) | link.flags();
        if mode == self.last.mode {
            flags |= xmit::SAME_MODE;
        }
        let mut user_name = None;
        if !self.rules.owner || (entry.uid() == self.last.uid && !first) {
            flags |= xmit::SAME_UID;
        } else if !self.rules.numeric_ids {
            user_name = self.users.first_time(entry.uid()).filter(|_| self.rules.inc_recurse);
            flags |= if user_name.is_some() { xmit::USER_NAME_FOLLOWS } else { 0 };
        }
        let mut group_name = None;
        if !self.rules.group || (entry.gid() == self.last.gid && !first) {
            flags |= xmit::SAME_GID;
        } else if !self.rules.numeric_ids {
            group_name = self.groups.first_time(entry.gid()).filter(|_| self.rules.inc_recurse);
            flags |= if group_name.is_some() { xmit::GROUP_NAME_FOLLOWS } else { 0 };
        }
        let (mtime, nsec) = entry.mtime();
        if mtime == self.last.mtime {
            flags |= xmit::SAME_TIME;
        }
        if nsec != 0 && self.rules.version >= 31 {
            flags |= xmit::MOD_NSEC;
        }
        let atime = entry.atime().unwrap_or(0);
        let has_atime = self.rules.atimes && !entry.is_dir();
        // protocol 27 has no room for this flag (the reference forgets that, and its two ends lose each other)
        if has_atime && atime == self.last.atime && self.rules.version >= 28 {
            flags |= xmit::SAME_ATIME;
        }
        let common = common_start(&self.name, &self.last.name);
        flags |= if common > 0 { xmit::SAME_NAME } else { 0 };
        flags |= if self.name.len() - common > 255 { xmit::LONG_NAME } else { 0 };

        let flags = write_flags(out, flags, &self.rules, entry.is_dir())?;
        write_name(out, flags, &self.name, common, self.rules.version)?;
        if let Link::Further(first) = link {
            out.varint(first)?;
            if first >= first_index {
                self.remember(entry, atime); // the rest is as it was there
                return Ok(());
            }
        }
        if self.rules.version >= 30 {
            out.varlong(entry.size() as i64, 3)?;
        } else {
            out.longint(entry.size() as i64)?;
        }
        if flags & xmit::SAME_TIME == 0 {
            if self.rules.version >= 30 { out.varlong(mtime, 4)? } else { out.int(mtime as i32)? }
        }
        if flags & xmit::MOD_NSEC != 0 && self.rules.version >= 31 {
            out.varint(nsec as i32)?;
        }
        if flags & xmit::SAME_MODE == 0 {
            out.int(mode as i32)?;
        }
        if has_atime && flags & xmit::SAME_ATIME == 0 {
            out.varlong(atime, 4)?;
        }
        if self.rules.owner && flags & xmit::SAME_UID == 0 {
            write_id(out, entry.uid(), user_name, self.rules.version)?;
        }
        if self.rules.group && flags & xmit::SAME_GID == 0 {
            write_id(out, entry.gid(), group_name, self.rules.version)?;
        }
        self.remember(entry, atime);
        self.write_rdev(out, flags, mode)?;
        if self.rules.links && entry.is_symlink() {
            self.write_target(out, entry.link_target())?;
        }
        if let Link::Inode { device, inode, same_device } = link {
            if !same_device {
                out.longint(device.wrapping_add(1).cast_signed())?; // never 0
            }
            out.longint(inode.cast_signed())?;
        }
        self.write_sum(out, entry)
    }

    /// The name as it travels. What cannot be converted is in no list.
    fn take_name(&mut self, entry: Entry<'_>) {
        let converted = match &mut self.charset {
            Some(charset) => charset.name(entry.dir_slash(), entry.base(), &mut self.name).is_ok(),
            None => false,
        };
        if !converted {
            entry.path_into(&mut self.name);
        }
    }

    fn write_target(&mut self, out: &mut Writer, target: &[u8]) -> Result<()> {
        let mut converted = Vec::new();
        let charset = self.charset.as_mut();
        let target = match charset.map(|charset| charset.target(target, &mut converted)) {
            Some(Ok(())) => &converted,
            _ => target,
        };
        varint30(out, target.len() as i32, self.rules.version)?;
        out.bytes(target)
    }

    /// What is to be said of further names of a file.
    fn link(&mut self, entry: Entry<'_>, index: i32) -> Link {
        if self.rules.version >= 30 {
            return match entry.hard_link() {
                Some((_, group)) if group != index => Link::Further(group),
                Some(_) => Link::First,
                None => Link::None,
            };
        }
        let Some((device, inode)) = entry.inode() else { return Link::None };
        let before = std::mem::replace(&mut self.last.device, device);
        Link::Inode { device, inode, same_device: device == before && self.rules.version >= 28 }
    }

    fn type_flags(&self, entry: Entry<'_>) -> u32 {
        let flags = entry.flags();
        if !entry.is_dir() {
            return 0;
        }
        let top = if flags.has(Flags::TOP_DIR) { xmit::TOP_DIR } else { 0 };
        match self.rules.version {
            ..30 => top,
            _ if flags.has(Flags::CONTENT_DIR) => top,
            _ if flags.has(Flags::IMPLIED_DIR) => xmit::TOP_DIR | xmit::NO_CONTENT_DIR,
            _ => xmit::NO_CONTENT_DIR,
        }
    }

    /// The device number of the entry, remembered, and what of it need not be sent.
    fn rdev_flags(&mut self, entry: Entry<'_>) -> u32 {
        let (mode, version) = (entry.mode(), self.rules.version);
        if !self.rules.has_rdev(mode) {
            if version < 28 {
                self.last.rdev = (0, 0);
            }
            return 0;
        }
        if is_special(mode) {
            // such files have no number; sending an earlier one is the shortest
            if version < 28 {
                return xmit::SAME_RDEV_27;
            }
            self.last.rdev = (self.last.rdev_major, 0);
            return xmit::SAME_RDEV_MAJOR | if version < 30 { xmit::RDEV_MINOR_8 } else { 0 };
        }
        let rdev = entry.rdev();
        if version < 28 {
            let same = rdev == self.last.rdev;
            self.last.rdev = rdev;
            return if same { xmit::SAME_RDEV_27 } else { 0 };
        }
        let same = if rdev.0 == self.last.rdev_major { xmit::SAME_RDEV_MAJOR } else { 0 };
        self.last.rdev = rdev;
        self.last.rdev_major = rdev.0;
        same | if version < 30 && rdev.1 <= 0xff { xmit::RDEV_MINOR_8 } else { 0 }
    }

    fn write_rdev(&self, out: &mut Writer, flags: u32, mode: u32) -> Result<()> {
        let (version, rdev) = (self.rules.version, self.last.rdev);
        if !self.rules.has_rdev(mode) {
            return Ok(());
        }
        if version < 28 {
            return if flags & xmit::SAME_RDEV_27 == 0 { out.int(make_device(rdev) as i32) } else { Ok(()) };
        }
        if flags & xmit::SAME_RDEV_MAJOR == 0 {
            varint30(out, rdev.0 as i32, version)?;
        }
        match flags & xmit::RDEV_MINOR_8 {
            _ if version >= 30 => out.varint(rdev.1 as i32),
            0 => out.int(rdev.1 as i32),
            _ => out.byte(rdev.1 as u8),
        }
    }

    /// Below protocol 28 every entry has a checksum, be it nuls.
    fn write_sum(&self, out: &mut Writer, entry: Entry<'_>) -> Result<()> {
        if self.rules.sum_len == 0 || (!entry.is_file() && self.rules.version >= 28) {
            return Ok(());
        }
        let mut sum = entry.sum().filter(|_| entry.is_file()).unwrap_or_default().to_vec();
        sum.resize(self.rules.sum_len, 0);
        out.bytes(&sum)
    }

    fn write_acls(&mut self, out: &mut Writer, entry: Entry<'_>) -> Result<()> {
        let Rules { numeric_ids: numeric, inc_recurse: inline, .. } = self.rules;
        let names = NamesSent { users: &mut self.users, groups: &mut self.groups, numeric, inline };
        let none = Acls::default();
        self.acls.write(out, entry.acls().unwrap_or(&none), entry.is_dir(), names)
    }

    fn remember(&mut self, entry: Entry<'_>, atime: i64) {
        let last = &mut self.last;
        (last.mode, last.mtime) = (entry.mode(), entry.mtime().0);
        if self.rules.owner {
            last.uid = entry.uid();
        }
        if self.rules.group {
            last.gid = entry.gid();
        }
        if self.rules.atimes && !entry.is_dir() {
            last.atime = atime;
        }
        std::mem::swap(&mut last.name, &mut self.name);
        match entry.mode() {
            0 => self.counts.entries += 1, // nothing yet, as it is missing; to the receiver it is something special
            mode => self.counts.add(mode, entry.size()),
        }
    }

    /// Ends the first list: the closing mark, the names of users and groups, the error word, as the version has them.
    ///
    /// `errors` is the error word so far. C: flist.c send_file_list
    pub fn end_first(&mut self, out: &mut Writer, errors: i32) -> Result<()> {
        let errors = if self.rules.ignore_errors { 0 } else { errors };
        self.end_mark(out, errors)?;
        if !self.rules.inc_recurse {
            self.id_lists(out)?;
        }
        if self.rules.version < 30 {
            out.int(errors)?;
        } else if !self.rules.safe_end && errors != 0 {
            out.message_int(Tag::IoError, errors);
        }
        Ok(())
    }

    /// Ends a list of incremental recursion; `errors` is the error word so far, `before` what it was when the list
    /// began. C: flist.c send_extra_file_list
    pub fn end_extra(&mut self, out: &mut Writer, errors: i32, before: i32) -> Result<()> {
        let changed = errors != before && !self.rules.ignore_errors;
        self.end_mark(out, if changed { errors } else { 0 })?;
        if changed && self.rules.version == 30 {
            out.message_int(Tag::IoError, errors);
        }
        Ok(())
    }

    /// C: flist.c write_end_of_flist
    fn end_mark(&self, out: &mut Writer, errors: i32) -> Result<()> {
        let errors = if self.rules.safe_end { errors } else { self.refuse_unsafe(errors)? };
        if self.rules.varint_flags {
            out.varint(0)?;
            return out.varint(errors & io_error::VALID);
        }
        if errors == 0 {
            return out.byte(0);
        }
        out.u16((xmit::EXTENDED | xmit::IO_ERROR_ENDLIST) as u16)?;
        out.varint(errors)
    }

    /// A receiver that learns of our errors too late may delete what we could not read. C: flist.c fatal_unsafe_io_error
    fn refuse_unsafe(&self, errors: i32) -> Result<i32> {
        let when = match self.delete {
            Delete::During => "during",
            Delete::Delay => "delay",
            _ => return Ok(0),
        };
        if errors == 0 || !self.rules.inc_recurse {
            return Ok(0);
        }
        let line = bytes!["FATAL I/O ERROR: dying to avoid a --delete-", when, " issue with a pre-3.0.7 receiver."];
        self.log.say(LogCode::ErrorXfer, line);
        Err(Error::silent(ExitCode::UNSUPPORTED))
    }

    /// C: uidlist.c send_id_lists
    fn id_lists(&self, out: &mut Writer) -> Result<()> {
        let (users, groups) = self.rules.named();
        if users {
            self.id_list(out, &self.users)?;
        }
        if groups {
            self.id_list(out, &self.groups)?;
        }
        Ok(())
    }

    fn id_list(&self, out: &mut Writer, seen: &Seen) -> Result<()> {
        for (id, name) in seen.named() {
            varint30(out, id as i32, self.rules.version)?;
            write_short(out, name)?;
        }
        varint30(out, 0, self.rules.version)?;
        if self.rules.id0_names { write_short(out, &seen.name_of_zero()) } else { Ok(()) }
    }
}

fn common_start(name: &[u8], last: &[u8]) -> usize {
    std::iter::zip(name, last).take(MAX_COMMON).take_while(|(a, b)| a == b).count()
}

/// Writes the flags, never as a zero, which would end the list; gives them back as the peer will see them.
fn write_flags(out: &mut Writer, flags: u32, rules: &Rules, is_dir: bool) -> Result<u32> {
    if rules.varint_flags {
        let flags = if flags == 0 { xmit::EXTENDED } else { flags };
        out.varint(flags as i32)?;
        return Ok(flags);
    }
    if rules.version < 28 {
        let filler = if is_dir { xmit::LONG_NAME } else { xmit::TOP_DIR };
        let flags = if flags & 0xff == 0 { flags | filler } else { flags };
        out.byte(flags as u8)?;
        return Ok(flags);
    }
    let flags = if flags == 0 && !is_dir { xmit::TOP_DIR } else { flags };
    if flags & 0xff00 == 0 && flags != 0 {
        out.byte(flags as u8)?;
        return Ok(flags);
    }
    let flags = flags | xmit::EXTENDED;
    out.u16(flags as u16)?;
    Ok(flags)
}

fn write_name(out: &mut Writer, flags: u32, name: &[u8], common: usize, version: u8) -> Result<()> {
    let rest = &name[common..];
    if flags & xmit::SAME_NAME != 0 {
        out.byte(common as u8)?;
    }
    if flags & xmit::LONG_NAME != 0 {
        varint30(out, rest.len() as i32, version)?;
    } else {
        out.byte(rest.len() as u8)?;
    }
    out.bytes(rest)
}

fn write_id(out: &mut Writer, id: u32, name: Option<&[u8]>, version: u8) -> Result<()> {
    varint30(out, id as i32, version)?;
    name.map_or(Ok(()), |name| write_short(out, name))
}

/// A string of at most 255 bytes behind its length.
fn write_short(out: &mut Writer, string: &[u8]) -> Result<()> {
    out.byte(string.len() as u8)?;
    out.bytes(string)
}

/// An integer that is variable-length from protocol 30 on. C: io.h write_varint30
fn varint30(out: &mut Writer, value: i32, version: u8) -> Result<()> {
    if version < 30 { out.int(value) } else { out.varint(value) }
}
