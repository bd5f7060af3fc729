//! The file list: what the sender offers, entry by entry, in segments.
//!
//! A segment is filled once, sorted, wrapped in an `Arc` and never changed again. Its entries are small fixed-size
//! records; names live in one byte arena, rare attributes in side tables. Per-entry marks of a role (sent, created,
//! time failed …) are that role's own side tables by index.

use std::sync::Arc;

/// A stretch of a segment's byte arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

/// Entry flags that outlive the wire. C: FLAG_*
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// A directory named by the user, whose extraneous contents may be deleted.
    pub const TOP_DIR: Self = Self(1 << 0);
    /// A directory whose contents are (or will be) in the list.
    pub const CONTENT_DIR: Self = Self(1 << 2);
    pub const MOUNT_DIR: Self = Self(1 << 3);
    pub const DUPLICATE: Self = Self(1 << 4);
    pub const HLINKED: Self = Self(1 << 5);
    pub const HLINK_FIRST: Self = Self(1 << 6);
    /// A directory that only leads to what was asked for (`-R`).
    pub const IMPLIED_DIR: Self = Self(1 << 7);

    pub fn has(self, bits: Self) -> bool {
        self.0 & bits.0 == bits.0
    }

    pub fn set(&mut self, bits: Self) {
        self.0 |= bits.0;
    }

    pub fn clear(&mut self, bits: Self) {
        self.0 &= !bits.0;
    }
}

/// The fixed part of an entry as stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Index into the segment's table of directory names.
    pub dir: u32,
    pub base: Span,
    pub flags: Flags,
    pub mode: u32,
    pub size: u64,
    pub mtime: i64,
    pub nsec: u32,
    pub uid: u32,
    pub gid: u32,
    /// 1 + index into `Segment::extras`; 0: none.
    pub extra: u32,
}

/// What only some entries have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    pub link_target: Span,
    /// Major and minor number of a device.
    pub rdev: (u32, u32),
    pub atime: Option<i64>,
    /// The list's checksum (`--checksum`), `sum_len` bytes.
    pub sum: Span,
}

/// Some entries that travel together: the whole list, or with incremental recursion one directory's contents.
#[derive(Debug, Default)]
pub struct Segment {
    /// File index of entry 0. C: ndx_start
    pub first_index: i32,
    /// Directory index of the directory whose contents these are; -1 for the initial segment.
    pub parent: i32,
    pub(crate) arena: Vec<u8>,
    pub(crate) dirs: Vec<Span>,
    pub(crate) records: Vec<Record>,
    pub(crate) extras: Vec<Extra>,
}

/// A view of one entry: two words, copied freely.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) record: &'a Record,
}

impl Segment {
    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn entry(&self, position: usize) -> Entry<'_> {
        Entry { segment: self, record: &self.records[position] }
    }

    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        &self.arena[span.start as usize..][..span.len as usize]
    }
}

impl<'a> Entry<'a> {
    /// Last component; empty for an entry that was weeded out (duplicate, refused).
    pub fn base(self) -> &'a [u8] {
        self.segment.bytes(self.record.base)
    }

    /// Everything before the last component, without the slash; empty at the top of the transfer.
    pub fn dir(self) -> &'a [u8] {
        self.segment.bytes(self.segment.dirs[self.record.dir as usize])
    }

    /// Whether the entry still takes part.
    pub fn is_active(self) -> bool {
        self.record.base.len != 0
    }

    /// Path relative to the transfer's root.
    pub fn path(self) -> Vec<u8> {
        let (dir, base) = (self.dir(), self.base());
        if dir.is_empty() { base.to_vec() } else { [dir, b"/", base].concat() }
    }

    /// `st_mode` with Linux's file type bits.
    pub fn mode(self) -> u32 {
        self.record.mode
    }

    pub fn is_dir(self) -> bool {
        self.record.mode & libc::S_IFMT == libc::S_IFDIR
    }

    pub fn is_file(self) -> bool {
        self.record.mode & libc::S_IFMT == libc::S_IFREG
    }

    pub fn is_symlink(self) -> bool {
        self.record.mode & libc::S_IFMT == libc::S_IFLNK
    }

    pub fn is_device(self) -> bool {
        matches!(self.record.mode & libc::S_IFMT, libc::S_IFBLK | libc::S_IFCHR)
    }

    pub fn is_special(self) -> bool {
        matches!(self.record.mode & libc::S_IFMT, libc::S_IFIFO | libc::S_IFSOCK)
    }

    pub fn flags(self) -> Flags {
        self.record.flags
    }

    pub fn size(self) -> u64 {
        self.record.size
    }

    /// Seconds since the epoch, and nanoseconds.
    pub fn mtime(self) -> (i64, u32) {
        (self.record.mtime, self.record.nsec)
    }

    pub fn uid(self) -> u32 {
        self.record.uid
    }

    pub fn gid(self) -> u32 {
        self.record.gid
    }

    fn extra(self) -> Option<&'a Extra> {
        self.segment.extras.get((self.record.extra as usize).checked_sub(1)?)
    }

    /// What a symlink points to, as it shall be stored.
    pub fn link_target(self) -> &'a [u8] {
        self.extra().map_or(&[], |extra| self.segment.bytes(extra.link_target))
    }

    /// Major and minor number of a device; zeros for the rest.
    pub fn rdev(self) -> (u32, u32) {
        self.extra().map_or((0, 0), |extra| extra.rdev)
    }

    pub fn atime(self) -> Option<i64> {
        self.extra()?.atime
    }

    /// The list's checksum, when `--checksum` put one there.
    pub fn sum(self) -> Option<&'a [u8]> {
        self.extra().map(|extra| self.segment.bytes(extra.sum)).filter(|sum| !sum.is_empty())
    }
}

/// All segments in play, by file index.
#[derive(Default)]
pub struct FileList {
    segments: std::collections::VecDeque<Arc<Segment>>,
}
