//! What the wire form of an entry depends on: its flags, the options, the entry before.

use crate::{options::Options, proto::Protocol};

/// The flags in front of an entry. Several bits have two meanings, by protocol or by file type. C: XMIT_*
pub(super) mod xmit {
    pub const TOP_DIR: u32 = 1;
    pub const SAME_MODE: u32 = 1 << 1;
    /// Protocol 28 on: a second byte of flags follows.
    pub const EXTENDED: u32 = 1 << 2;
    /// Protocol 27.
    pub const SAME_RDEV_27: u32 = 1 << 2;
    pub const SAME_UID: u32 = 1 << 3;
    pub const SAME_GID: u32 = 1 << 4;
    pub const SAME_NAME: u32 = 1 << 5;
    pub const LONG_NAME: u32 = 1 << 6;
    pub const SAME_TIME: u32 = 1 << 7;
    /// Devices, protocol 28 on.
    pub const SAME_RDEV_MAJOR: u32 = 1 << 8;
    /// Directories, protocol 30 on.
    pub const NO_CONTENT_DIR: u32 = 1 << 8;
    pub const HLINKED: u32 = 1 << 9;
    /// Protocols 28 and 29: the device of the hard link before.
    pub const SAME_DEV: u32 = 1 << 10;
    /// Protocol 30 on.
    pub const USER_NAME_FOLLOWS: u32 = 1 << 10;
    /// Protocols 28 and 29.
    pub const RDEV_MINOR_8: u32 = 1 << 11;
    /// Protocol 30 on.
    pub const GROUP_NAME_FOLLOWS: u32 = 1 << 11;
    pub const HLINK_FIRST: u32 = 1 << 12;
    /// With `EXTENDED` and nothing else: the list ends, an error word follows.
    pub const IO_ERROR_ENDLIST: u32 = 1 << 12;
    pub const MOD_NSEC: u32 = 1 << 13;
    pub const SAME_ATIME: u32 = 1 << 14;
}

/// What protocol and options say about the form of an entry; the same on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rules {
    pub version: u8,
    pub inc_recurse: bool,
    /// Flags travel as a varint.
    pub varint_flags: bool,
    /// The end of a list may carry an error word.
    pub safe_end: bool,
    pub id0_names: bool,
    pub owner: bool,
    pub group: bool,
    pub numeric_ids: bool,
    pub devices: bool,
    pub specials: bool,
    pub links: bool,
    pub atimes: bool,
    pub hard_links: bool,
    pub acls: bool,
    /// Bytes of the list's checksum; 0 without `--checksum`.
    pub sum_len: usize,
    pub ignore_errors: bool,
}

impl Rules {
    pub fn new(options: &Options, protocol: &Protocol) -> Self {
        Self {
            version: protocol.version,
            inc_recurse: protocol.compat.inc_recurse,
            varint_flags: protocol.compat.varint_flist_flags,
            safe_end: protocol.compat.safe_flist,
            id0_names: protocol.compat.id0_names,
            owner: options.owner,
            group: options.group,
            numeric_ids: options.numeric_ids,
            devices: options.devices,
            specials: options.specials,
            links: options.links,
            atimes: options.atimes > 0,
            hard_links: options.hard_links > 0,
            acls: options.acls,
            sum_len: if options.checksum { protocol.list_sum.len() } else { 0 },
            ignore_errors: options.ignore_errors,
        }
    }

    /// Whether lists of names of users, of groups end a list without incremental recursion.
    pub fn named(&self) -> (bool, bool) {
        let any = !self.numeric_ids;
        (any && (self.owner || self.acls), any && (self.group || self.acls))
    }

    /// Whether a device number is part of an entry of this mode.
    pub fn has_rdev(&self, mode: u32) -> bool {
        self.devices && is_device(mode) || self.specials && is_special(mode) && self.version < 31
    }
}

pub(super) fn kind(mode: u32) -> u32 {
    mode & libc::S_IFMT
}

pub(super) fn is_device(mode: u32) -> bool {
    matches!(kind(mode), libc::S_IFBLK | libc::S_IFCHR)
}

pub(super) fn is_special(mode: u32) -> bool {
    matches!(kind(mode), libc::S_IFIFO | libc::S_IFSOCK)
}

/// The attributes of the entry before, as far as they can be left out of the next one.
#[derive(Clone, Default, Debug)]
pub(super) struct Last {
    pub name: Vec<u8>,
    pub mtime: i64,
    pub atime: i64,
    pub mode: u32,
    pub rdev: (u32, u32),
    pub rdev_major: u32,
    pub uid: u32,
    pub gid: u32,
    /// Of hard links, before protocol 30.
    pub device: u64,
}

/// What a list held so far, for the statistics. C: stats.num_dirs …, total_size
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Entries of any kind.
    pub entries: u64,
    pub dirs: u64,
    pub symlinks: u64,
    pub devices: u64,
    pub specials: u64,
    /// Bytes of regular files and symlinks.
    pub total_size: u64,
}

impl Counts {
    pub(super) fn add(&mut self, mode: u32, size: u64) {
        self.entries += 1;
        match kind(mode) {
            libc::S_IFREG => {}
            libc::S_IFDIR => self.dirs += 1,
            libc::S_IFLNK => self.symlinks += 1,
            _ if is_device(mode) => self.devices += 1,
            _ => self.specials += 1,
        }
        if matches!(kind(mode), libc::S_IFREG | libc::S_IFLNK) {
            self.total_size = self.total_size.saturating_add(size);
        }
    }
}
