//! The receiving side of the wire form: one entry from untrusted bytes, checked, or the end of the run.

use std::{env, os::unix::ffi::OsStringExt, sync::Arc};

use super::{
    Attributes, Flags, HardLink, MAX_PATH, Segment,
    acls::{self, NamesReceived, ReceivedAcls},
    charset::Incoming,
    content::Contents,
    examine::cannot_convert,
    form::{Counts, Last, Rules, is_device, is_special, kind, xmit},
    inodes::{self, Inodes},
    io_error,
    requested::Requested,
    split_path,
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    filter::{Filters, Name},
    log::{Log, LogCode},
    meta::{
        Names,
        acl::Acls,
        ids::{Kind, Mapping, am_root},
        xattr,
    },
    options::{Debug, Options},
    proto::Protocol,
    sys::{
        clock,
        iconv::Stop,
        stat::{make_device, split_device},
    },
    text::{
        mode::Chmod,
        path::{Clean, DotDot, MUNGE_PREFIX, clean},
    },
    wire::Reader,
};

const MAX_NSEC: i32 = 999_999_999;

/// What only the receiving side must know of the options.
struct Wishes {
    relative: bool,
    copy_devices: bool,
    munge_links: bool,
    missing_args: bool,
    map_users: bool,
    map_groups: bool,
    /// Numbers in access control lists are translated: those of users, of groups as they come, or all at the end.
    map_acls: (bool, bool, bool),
    chmod: Option<Chmod>,
}

/// Reads entries; remembers across segments what the next entry may leave out.
pub(super) struct EntryDecoder {
    pub rules: Rules,
    wishes: Wishes,
    last: Last,
    gid_skip: bool,
    contents: Contents,
    pub users: Mapping,
    pub groups: Mapping,
    requested: Option<Requested>,
    /// The rules of this side.
    pub(super) filters: Option<Filters>,
    pub counts: Counts,
    pub log: Log,
    name: Vec<u8>,
    target: Vec<u8>,
    sum: Vec<u8>,
    acls: ReceivedAcls,
    /// Numbers of groups of hard links, before protocol 30.
    pub inodes: Inodes,
    charset: Option<Incoming>,
    /// What full names begin with.
    pub names: Names,
    /// Error bits of our own.
    pub io_error: i32,
    /// A server's voice, whose texts are converted on their way.
    server: bool,
    /// Lists of extended attributes, if they are kept.
    pub xattrs: Option<xattr::Received>,
}

/// An entry's attributes while they come in.
#[derive(Default)]
struct Fields {
    size: i64,
    nsec: u32,
    rdev: (u32, u32),
    target_len: usize,
    /// Position in this segment of the file that this one is a hard link to.
    abbreviated: Option<usize>,
    /// Number of its group of hard links.
    group: Option<i32>,
    really_file: bool,
    acls: Option<Acls>,
    xattrs: Option<Arc<xattr::List>>,
}

impl EntryDecoder {
    pub fn new(
        options: &Options,
        protocol: &Protocol,
        chmod: Option<Chmod>,
        requested: Option<Requested>,
        log: &Log,
    ) -> Result<Self> {
        let (root, numeric) = (am_root(options), options.numeric_ids);
        let (inc, ruled) = (protocol.compat.inc_recurse, options.usermap.is_some() || options.groupmap.is_some());
        Ok(Self {
            rules: Rules::new(options, protocol),
            wishes: Wishes {
                relative: options.relative,
                copy_devices: options.copy_devices,
                munge_links: options.munge_links,
                missing_args: options.delete_missing_args,
                map_users: root && (!numeric || options.usermap.is_some()),
                map_groups: !root || !numeric || options.groupmap.is_some(),
                map_acls: (inc && !numeric, inc && (!root || !numeric), !inc && (!numeric || ruled)),
                chmod,
            },
            last: Last::default(),
            gid_skip: false,
            contents: Contents::new(options),
            users: Mapping::new(Kind::User, options, protocol, log)?,
            groups: Mapping::new(Kind::Group, options, protocol, log)?,
            requested,
            filters: None,
            counts: Counts::default(),
            log: log.clone(),
            name: Vec::new(),
            target: Vec::new(),
            sum: Vec::new(),
            acls: ReceivedAcls::default(),
            inodes: Inodes::new(options.hard_links > 0 && protocol.version < 30, log),
            charset: Incoming::new(options, protocol)?,
            names: Names { base: current_dir(), module: None },
            io_error: 0,
            server: options.is_server(),
            xattrs: xattr::Policy::of(options, false).map(xattr::Received::new),
        })
    }

    /// Whether numbers of users, of groups are to be translated after the lists of names.
    pub fn translates(&self) -> (bool, bool) {
        (self.rules.owner && self.wishes.map_users, self.rules.group && self.wishes.map_groups)
    }

    /// Reads the entry behind `flags` into the segment. C: flist.c recv_file_entry
    pub fn entry(&mut self, from: &mut Reader, flags: u32, segment: &mut Segment) -> Result<()> {
        let common = self.read_name(from, flags)?;
        let mut path = self.checked_name()?;
        let mut incoming = Fields::default();
        self.read_link_index(from, flags, segment, &mut incoming)?;
        match incoming.abbreviated {
            Some(position) => self.copy_attributes(segment, position, &mut incoming),
            None => self.read_attributes(from, flags, &mut incoming)?,
        }
        self.check_entry(&path, &incoming)?;
        let kept = self.entry_flags(flags, &path, common);
        if let Some(stop) = self.read_target(from, segment, &incoming)? {
            let name = self.names.full(&path);
            self.cannot_convert(LogCode::ErrorXfer, "symlink data for: ", &name, stop);
            segment.bad_links.push((name, stop));
            path.truncate(memchr::memrchr(b'/', &path).map_or(0, |slash| slash + 1)); // it takes no part
        }
        self.read_inode(from, flags, &mut incoming)?;
        self.read_sum(from, segment, &incoming)?;
        self.read_acls(from, &mut incoming)?;
        if let Some(received) = &mut self.xattrs {
            incoming.xattrs = received.read(from, &path, &self.log)?;
        }
        self.store(segment, &path, kept, &incoming)?;
        self.name = path;
        Ok(())
    }

    /// The raw name goes to `last.name`; gives back how much of it the entry before had.
    fn read_name(&mut self, from: &mut Reader, flags: u32) -> Result<usize> {
        let common = if flags & xmit::SAME_NAME != 0 { usize::from(from.byte()?) } else { 0 };
        let len =
            if flags & xmit::LONG_NAME != 0 { varint30(from, self.rules.version)? } else { i32::from(from.byte()?) };
        let rest = usize::try_from(len).ok().filter(|&len| len < MAX_PATH - common);
        let Some(rest) = rest else {
            let what = format!("overflow: xflags=0x{flags:x} l1={common} l2={len} lastname=");
            let who = self.log.speaker().name();
            return Err(overflow(bytes![what, self.last.name, " [", who, "]\n"], who));
        };
        let name = &mut self.last.name;
        if name.len() < common {
            // no honest sender refers to more than there was
            let mut ignored = vec![0; rest];
            from.exact(&mut ignored)?;
            return Ok(common);
        }
        name.truncate(common);
        name.resize(common + rest, 0);
        from.exact(&mut name[common..])?;
        if let Some(end) = memchr::memchr(0, &name[common..]) {
            name.truncate(common + end);
        }
        Ok(common)
    }

    /// The name tidied; one that could lead out of the destination ends the run.
    fn checked_name(&mut self) -> Result<Vec<u8>> {
        let mut name = std::mem::take(&mut self.name);
        name.clear();
        match &mut self.charset {
            None => name.extend_from_slice(&self.last.name),
            Some(charset) => {
                if let Err(stop) = charset.name(&self.last.name, &mut name) {
                    self.cannot_convert(LogCode::Error, "filename: ", &self.last.name.clone(), stop);
                }
            }
        }
        if name.is_empty() || is_plain(&name) {
            return Ok(name);
        }
        let how = Clean { dot_dot: DotDot::Refuse, ..Clean::default() };
        match clean(&name, how).filter(|clean| self.wishes.relative || clean.first() != Some(&b'/')) {
            Some(clean) => Ok(clean),
            None => {
                let line = bytes!["ABORTING due to unsafe pathname from sender: ", name];
                Err(Error::new(ExitCode::UNSUPPORTED, line))
            }
        }
    }

    /// A name that is not converted leaves an entry that takes no part; a server tells it as it came.
    fn cannot_convert(&mut self, code: LogCode, what: &str, name: &[u8], stop: Stop) {
        self.io_error |= io_error::GENERAL;
        let line = cannot_convert(self.log.speaker(), what, name, stop);
        if self.server && code == LogCode::Error {
            self.log.say_from_wire(code, line);
        } else {
            self.log.say(code, line);
        }
    }

    /// From protocol 30 on a further link names the first one by its index: in an earlier segment, or in this one,
    /// and then nothing else is sent.
    fn read_link_index(&self, from: &mut Reader, flags: u32, segment: &mut Segment, into: &mut Fields) -> Result<()> {
        if self.rules.version < 30 || flags & xmit::HLINKED == 0 {
            return Ok(());
        }
        let end = segment.end_index();
        if flags & xmit::HLINK_FIRST != 0 {
            into.group = Some(end);
            return Ok(());
        }
        let index = from.varint()?;
        if index < 0 || index >= end {
            let line = format!("hard-link reference out of range: {index} ({end})");
            return Err(Error::new(ExitCode::PROTOCOL, line));
        }
        into.group = Some(index);
        into.abbreviated = usize::try_from(index - segment.first_index).ok();
        if self.log.debug(Debug::Hlink) >= 1 {
            self.log.say(LogCode::Info, inodes::further(self.log.speaker(), end, index, segment.first_index));
            segment.further.push((end, index));
        }
        Ok(())
    }

    /// Before protocol 30 every file with further names, and before 28 every file, tells device and inode.
    fn read_inode(&mut self, from: &mut Reader, flags: u32, into: &mut Fields) -> Result<()> {
        let version = self.rules.version;
        let told = flags & xmit::HLINKED != 0 || version < 28 && into.really_file;
        if version >= 30 || !self.rules.hard_links || !told {
            return Ok(());
        }
        if version < 28 || flags & xmit::SAME_DEV == 0 {
            self.last.device = from.longint()?.cast_unsigned();
        }
        let inode = from.longint()?.cast_unsigned();
        into.group = Some(self.inodes.number(self.last.device, inode, &self.log));
        Ok(())
    }

    fn copy_attributes(&mut self, segment: &Segment, position: usize, into: &mut Fields) {
        let first = segment.entry(position);
        self.last.mtime = first.mtime().0;
        self.last.mode = first.mode();
        if let Some(atime) = first.atime() {
            self.last.atime = atime;
        }
        if self.rules.owner {
            self.last.uid = first.uid();
        }
        if self.rules.group {
            self.last.gid = first.gid();
        }
        if self.rules.devices && first.is_device() {
            self.last.rdev = first.rdev();
            self.last.rdev_major = first.rdev().0;
            into.rdev = first.rdev();
        }
        into.size = first.size() as i64;
        into.nsec = first.mtime().1;
        into.really_file = first.is_file();
    }

    fn read_attributes(&mut self, from: &mut Reader, flags: u32, into: &mut Fields) -> Result<()> {
        let version = self.rules.version;
        into.size = if version < 30 { from.longint()? } else { from.varlong(3)? };
        if flags & xmit::SAME_TIME == 0 {
            self.last.mtime = if version < 30 { from.int()?.cast_unsigned().into() } else { from.varlong(4)? };
        }
        if flags & xmit::MOD_NSEC != 0 {
            into.nsec = from.varint_in(0..=MAX_NSEC, "modtime_nsec")?.cast_unsigned();
        }
        if flags & xmit::SAME_MODE == 0 {
            self.last.mode = from.int()?.cast_unsigned();
        }
        self.check_mode()?;
        self.last.mode &= 0o177_777;
        let is_dir = kind(self.last.mode) == libc::S_IFDIR;
        if self.rules.atimes && !is_dir && flags & xmit::SAME_ATIME == 0 {
            self.last.atime = from.varlong(4)?;
        }
        if let Some(chmod) = &self.wishes.chmod
            && kind(self.last.mode) != libc::S_IFLNK
            && self.last.mode != 0
        {
            self.last.mode = chmod.apply(self.last.mode);
        }
        self.read_ids(from, flags)?;
        self.read_rdev(from, flags, into)?;
        if self.rules.links && kind(self.last.mode) == libc::S_IFLNK {
            let len = varint30(from, version)?;
            into.target_len = usize::try_from(len)
                .ok()
                .filter(|&len| len < MAX_PATH)
                .ok_or_else(|| overflow(bytes!["overflow: linkname_len=", len, "\n"], self.log.speaker().name()))?;
        }
        if self.wishes.copy_devices && is_device(self.last.mode) {
            self.last.mode = libc::S_IFREG | (self.last.mode & 0o777);
            self.last.mtime = clock::now().0;
        } else {
            into.really_file = kind(self.last.mode) == libc::S_IFREG;
        }
        Ok(())
    }

    /// A mode of no known file type is refused; 0 marks an argument to be deleted, if that was asked for.
    fn check_mode(&self) -> Result<()> {
        let mode = self.last.mode;
        let known = matches!(kind(mode), libc::S_IFREG | libc::S_IFDIR | libc::S_IFLNK);
        if known || is_device(mode) || is_special(mode) || (mode == 0 && self.wishes.missing_args) {
            return Ok(());
        }
        let (mode, who) = (format!("invalid file mode 0{mode:o} for "), self.log.speaker().name());
        Err(Error::new(ExitCode::PROTOCOL, bytes![mode, self.last.name, " [", who, "]"]))
    }

    fn read_ids(&mut self, from: &mut Reader, flags: u32) -> Result<()> {
        let (version, inc) = (self.rules.version, self.rules.inc_recurse);
        if self.rules.owner && flags & xmit::SAME_UID == 0 {
            let uid = varint30(from, version)?.cast_unsigned();
            self.last.uid = if version >= 30 && flags & xmit::USER_NAME_FOLLOWS != 0 {
                self.users.learn(uid, read_short(from)?.as_deref()).id
            } else if version >= 30 && inc && self.wishes.map_users {
                self.users.map(uid).id
            } else {
                uid
            };
        }
        if self.rules.group && flags & xmit::SAME_GID == 0 {
            let gid = varint30(from, version)?.cast_unsigned();
            let mapped = if version >= 30 && flags & xmit::GROUP_NAME_FOLLOWS != 0 {
                Some(self.groups.learn(gid, read_short(from)?.as_deref()))
            } else if version >= 30 && inc && self.wishes.map_groups {
                Some(self.groups.map(gid))
            } else {
                None
            };
            self.last.gid = mapped.map_or(gid, |mapped| mapped.id);
            self.gid_skip = mapped.is_some_and(|mapped| mapped.skip);
        }
        Ok(())
    }

    fn read_rdev(&mut self, from: &mut Reader, flags: u32, into: &mut Fields) -> Result<()> {
        let (version, mode) = (self.rules.version, self.last.mode);
        if !self.rules.has_rdev(mode) {
            if is_device(mode) {
                into.size = 0;
            } else if version < 28 {
                self.last.rdev = (0, 0);
            }
            return Ok(());
        }
        if version < 28 {
            if flags & xmit::SAME_RDEV_27 == 0 {
                self.last.rdev = split_device(i64::from(from.int()?).cast_unsigned());
            }
        } else {
            if flags & xmit::SAME_RDEV_MAJOR == 0 {
                self.last.rdev_major = varint30(from, version)?.cast_unsigned();
            }
            let minor = if version >= 30 {
                from.varint()?.cast_unsigned()
            } else if flags & xmit::RDEV_MINOR_8 != 0 {
                from.byte()?.into()
            } else {
                from.int()?.cast_unsigned()
            };
            self.last.rdev = split_device(make_device((self.last.rdev_major, minor)));
        }
        if is_device(mode) {
            into.rdev = self.last.rdev;
        }
        into.size = 0;
        Ok(())
    }

    /// What must hold of any entry before more of it is read.
    fn check_entry(&self, path: &[u8], incoming: &Fields) -> Result<()> {
        if incoming.size < 0 {
            return Err(Error::new(ExitCode::UNSUPPORTED, "Offset underflow: file-length is negative"));
        }
        let is_dir = kind(self.last.mode) == libc::S_IFDIR;
        if matches!(path, b"." | b"/.") {
            // a root that is no directory would have the destination replaced
            return if is_dir {
                Ok(())
            } else {
                let line = bytes!["ERROR: rejecting non-directory transfer-root entry: ", path];
                Err(Error::new(ExitCode::PROTOCOL, line))
            };
        }
        let name = Name::new(path, is_dir);
        if self.filters.as_ref().is_some_and(|filters| filters.forbids(name, &self.log)) {
            let line = bytes!["ERROR: rejecting excluded file-list name: ", path];
            return Err(Error::new(ExitCode::UNSUPPORTED, line));
        }
        match &self.requested {
            Some(requested) if !requested.allows(path, is_dir, &self.log) => {
                let line = bytes!["ERROR: rejecting unrequested file-list name: ", path];
                Err(Error::new(ExitCode::UNSUPPORTED, line))
            }
            _ => Ok(()),
        }
    }

    fn entry_flags(&mut self, flags: u32, path: &[u8], common: usize) -> Flags {
        let mut result = if self.rules.group && self.gid_skip { Flags::SKIP_GROUP } else { Flags::NONE };
        if kind(self.last.mode) == libc::S_IFDIR {
            let parent_only = self.requested.as_ref().is_some_and(|requested| requested.is_parent_only(path));
            result.set(if self.rules.version >= 30 {
                self.contents.marked(flags, path, parent_only, &self.log)
            } else {
                self.contents.inferred(flags, path, &self.last.name, common, parent_only)
            });
        }
        result
    }

    /// What a link points to; or why that cannot be converted.
    fn read_target(&mut self, from: &mut Reader, segment: &Segment, incoming: &Fields) -> Result<Option<Stop>> {
        self.target.clear();
        if !self.rules.links || kind(self.last.mode) != libc::S_IFLNK {
            return Ok(None);
        }
        if let Some(position) = incoming.abbreviated {
            self.target.extend_from_slice(segment.entry(position).link_target());
            return Ok(None);
        }
        if self.wishes.munge_links {
            self.target.extend_from_slice(MUNGE_PREFIX);
        }
        let start = self.target.len();
        self.target.resize(start + incoming.target_len, 0);
        from.exact(&mut self.target[start..])?;
        if let Some(charset) = self.charset.as_mut().filter(|charset| charset.converts_links()) {
            match charset.target(&self.target.split_off(start)) {
                Ok(target) => self.target.extend(target),
                Err(stop) => {
                    self.target.clear();
                    return Ok(Some(stop));
                }
            }
        }
        if let Some(end) = memchr::memchr(0, &self.target) {
            self.target.truncate(end);
        }
        Ok(None)
    }

    fn read_sum(&mut self, from: &mut Reader, segment: &Segment, incoming: &Fields) -> Result<()> {
        self.sum.clear();
        if self.rules.sum_len == 0 || (!incoming.really_file && self.rules.version >= 28) {
            return Ok(());
        }
        if let Some(position) = incoming.abbreviated {
            self.sum.extend_from_slice(segment.entry(position).sum().unwrap_or_default());
            return Ok(());
        }
        self.sum.resize(self.rules.sum_len, 0);
        from.exact(&mut self.sum)?;
        if !incoming.really_file {
            self.sum.clear();
        }
        Ok(())
    }

    fn read_acls(&mut self, from: &mut Reader, into: &mut Fields) -> Result<()> {
        let mode = self.last.mode;
        if !self.rules.acls || kind(mode) == libc::S_IFLNK {
            return Ok(());
        }
        let (map_users, map_groups, _) = self.wishes.map_acls;
        let names = NamesReceived { users: &mut self.users, groups: &mut self.groups, map_users, map_groups };
        into.acls = Some(self.acls.read(from, mode, names)?).filter(|acls| !acls.is_empty());
        Ok(())
    }

    /// Translates the numbers in a whole list's access control lists, once the names are known.
    pub fn translate_acls(&mut self, segment: &mut Segment) {
        if self.rules.acls && self.wishes.map_acls.2 {
            acls::translate(segment.acls_mut(), &mut self.users, &mut self.groups);
        }
    }

    fn store(&mut self, segment: &mut Segment, path: &[u8], flags: Flags, incoming: &Fields) -> Result<()> {
        let last = &self.last;
        let who = self.log.speaker();
        let is_file = kind(last.mode) == libc::S_IFREG;
        let is_dir = kind(last.mode) == libc::S_IFDIR;
        let size = incoming.size.cast_unsigned();
        let size = if is_file { size } else { size & 0xffff_ffff }; // the reference keeps 32 bits of other sizes
        let attributes = Attributes {
            flags,
            mode: last.mode,
            size,
            mtime: (last.mtime, incoming.nsec),
            atime: (self.rules.atimes && !is_dir).then_some(last.atime),
            uid: if self.rules.owner { last.uid } else { 0 },
            gid: if self.rules.group { last.gid } else { 0 },
            rdev: incoming.rdev,
            link_target: &self.target,
            sum: &self.sum,
            acls: incoming.acls.as_ref(),
            xattrs: incoming.xattrs.as_ref(),
            hard_link: incoming.group.filter(|_| self.rules.hard_links && !is_dir).map(HardLink::Group),
        };
        let (dir, base, slash) = split_path(path);
        let dir = segment.dir(dir, slash, 0, who)?;
        segment.push(dir, base, &attributes, who)?;
        self.counts.add(last.mode, size);
        if self.log.debug(Debug::Flist) >= 2 {
            let shown = if path.is_empty() { &b"(null)"[..] } else { path };
            self.log.say(LogCode::Info, bytes!["recv_file_name(", shown, ")"]);
        }
        Ok(())
    }
}

fn current_dir() -> Vec<u8> {
    env::current_dir().map_or_else(|_| Vec::new(), |dir| dir.into_os_string().into_vec())
}

/// Whether tidying would change nothing: no doubled, leading or trailing slash, no `.` or `..`.
fn is_plain(name: &[u8]) -> bool {
    name.split(|&byte| byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

#[track_caller]
fn overflow(mut line: Vec<u8>, who: &str) -> Error {
    line.extend(bytes!["[", who, "] buffer overflow: recv_file_entry"]);
    Error::memory(line)
}

/// C: io.h read_varint30
pub(super) fn varint30(from: &mut Reader, version: u8) -> Result<i32> {
    if version < 30 { from.int() } else { from.varint() }
}

/// A string behind its length byte; `None` if empty.
pub(super) fn read_short(from: &mut Reader) -> Result<Option<Vec<u8>>> {
    let mut name = vec![0; from.byte()?.into()];
    from.exact(&mut name)?;
    if let Some(end) = memchr::memchr(0, &name) {
        name.truncate(end);
    }
    Ok((!name.is_empty()).then_some(name))
}
