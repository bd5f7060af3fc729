//! A segment's storage and the views of its entries.

use std::sync::Arc;

use super::Flags;
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    log::Speaker,
    meta::{acl::Acls, xattr},
    sys::iconv::Stop,
};

/// A stretch of a segment's byte arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

/// The fixed part of an entry as stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Index into the segment's table of directory names.
    pub dir: u32,
    pub base: u32,
    /// 0: not taking part.
    pub base_len: u16,
    pub flags: Flags,
    pub mode: u32,
    pub nsec: u32,
    pub size: u64,
    pub mtime: i64,
    pub uid: u32,
    pub gid: u32,
    /// 1 + index into `Segment::extras`; 0: none. Of a hard link (`Flags::HLINKED`) 1 + index into `Segment::links`.
    pub extra: u32,
}

/// How much memory an entry takes besides its name, and what only some have. C: in flist.c init_flist
pub fn record_sizes() -> (usize, usize) {
    (size_of::<Record>(), size_of::<Extra>())
}

/// What a hard link has besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linked {
    /// Number of its group, or before protocol 30 on the sending side: index into `Segment::inodes`.
    group: i32,
    /// As `Record::extra` of other entries.
    extra: u32,
}

/// What only some entries have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    pub link_target: Span,
    /// Major and minor number of a device.
    pub rdev: (u32, u32),
    pub atime: Option<i64>,
    /// The list's checksum (`--checksum`).
    pub sum: Span,
    /// 1 + index into `Segment::acls`; 0: those that the mode stands for.
    acls: u32,
    /// Extended attributes, if there are any.
    pub xattrs: Option<Arc<xattr::List>>,
}

/// A directory name of a segment, and on the sending side the source tree it lies in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dir {
    /// With its trailing slash; empty at the top of the transfer.
    pub name: Span,
    pub source: u32,
}

/// An entry about to be stored: everything the list can know of a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'a> {
    pub flags: Flags,
    pub mode: u32,
    pub size: u64,
    /// Seconds since the epoch, and nanoseconds.
    pub mtime: (i64, u32),
    pub atime: Option<i64>,
    pub uid: u32,
    pub gid: u32,
    pub rdev: (u32, u32),
    pub link_target: &'a [u8],
    pub sum: &'a [u8],
    /// `None`: the mode says it all.
    pub acls: Option<&'a Acls>,
    pub xattrs: Option<&'a Arc<xattr::List>>,
    pub hard_link: Option<HardLink>,
}

/// What tells that a file has further names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HardLink {
    /// All names of the file have this number.
    Group(i32),
    /// Device and inode, as they travel before protocol 30.
    Inode(u64, u64),
}

/// Some entries that travel together: the whole list, or with incremental recursion one directory's contents.
#[derive(Debug, Default)]
pub struct Segment {
    /// File index of entry 0. C: ndx_start
    pub first_index: i32,
    /// Directory index of the directory whose contents these are; -1 for none. C: parent_ndx
    pub parent: i32,
    parent_record: Option<Record>,
    pub(crate) arena: Vec<u8>,
    pub(crate) dirs: Vec<Dir>,
    pub(crate) records: Vec<Record>,
    pub(crate) extras: Vec<Extra>,
    links: Vec<Linked>,
    inodes: Vec<(u64, u64)>,
    /// `--max-alloc`; 0: no limit.
    max_alloc: u64,
    /// Where entries are numbered as they came, not as they are sorted.
    numbers: Option<Box<Numbers>>,
    acls: Vec<Acls>,
    /// For `--debug=hlink`: entries as they came, and the first names that they referred to.
    pub(crate) further: Vec<(i32, i32)>,
    /// Links whose texts could not be converted, by their full names.
    pub(super) bad_links: Vec<(Vec<u8>, Stop)>,
}

/// With `--iconv` names may sort otherwise at the other end, so both number entries in the order in which they travelled.
/// C: need_unsorted_flist
#[derive(Debug)]
struct Numbers {
    /// By position.
    of_position: Vec<u32>,
    /// By number.
    position_of: Vec<u32>,
}

/// A view of one entry: two words, copied freely.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) record: &'a Record,
}

/// A directory taken out of its segment, so that it can stand as the parent of another one.
#[derive(Clone, Debug)]
pub struct DirEntry {
    pub path: Box<[u8]>,
    record: Record,
    source: u32,
    acls: Option<Acls>,
    xattrs: Option<Arc<xattr::List>>,
}

/// The list holds more than its 32-bit offsets can address, or than a file index can number.
#[track_caller]
fn too_large(speaker: Speaker) -> Error {
    Error::new(ExitCode::MALLOC, bytes!["[", speaker.name(), "] file list has grown too large to expand"])
}

/// How long the reference's table of entries can grow with a limit on its size: it is doubled, from a size on it takes
/// steps. C: flist.c flist_expand
fn most_entries(max_alloc: u64) -> u64 {
    const POINTER: u64 = 8;
    const STEP: u64 = 1 << 24;
    match (max_alloc / POINTER).saturating_sub(1) {
        0 => 0,
        most @ STEP.. => most - most % STEP,
        most => 1 << most.ilog2(),
    }
}

impl Segment {
    pub fn new(first_index: i32, parent: i32) -> Self {
        Self { first_index, parent, ..Self::default() }
    }

    /// The same with no more entries than the reference would take with this `--max-alloc`.
    pub fn within(self, max_alloc: u64) -> Self {
        Self { max_alloc, ..self }
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The entry at a position below `len()`; positions are file indexes less `first_index`, unless entries keep their
    /// numbers.
    pub fn entry(&self, position: usize) -> Entry<'_> {
        Entry { segment: self, record: &self.records[position] }
    }

    /// The entry with a file index; `first_index - 1` is the parent directory.
    pub fn get(&self, index: i32) -> Option<Entry<'_>> {
        let position = i64::from(index) - i64::from(self.first_index);
        let record = match position {
            -1 => self.parent_record.as_ref()?,
            _ => self.records.get(self.position_of(usize::try_from(position).ok()?)?)?,
        };
        Some(Entry { segment: self, record })
    }

    /// The directory whose contents these are.
    pub fn parent_entry(&self) -> Option<Entry<'_>> {
        Some(Entry { segment: self, record: self.parent_record.as_ref()? })
    }

    /// All entries with their file indexes, those weeded out included.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (i32, Entry<'_>)> + ExactSizeIterator {
        let first = self.first_index;
        let index = move |at: usize| first + self.number_of(at) as i32;
        self.records.iter().enumerate().map(move |(at, record)| (index(at), Entry { segment: self, record }))
    }

    /// From here on entries have the numbers of their present positions, wherever sorting puts them.
    pub(super) fn keep_numbers(&mut self) {
        let numbers: Vec<u32> = (0..self.records.len() as u32).collect();
        self.numbers = Some(Box::new(Numbers { of_position: numbers.clone(), position_of: numbers }));
    }

    /// The entry at `sorted[i]` goes to place `i`: so does its number, if it is to be kept.
    pub(super) fn renumber(&mut self, sorted: &[u32]) {
        let Some(numbers) = &mut self.numbers else { return };
        numbers.of_position = sorted.to_vec();
        for (position, &number) in (0..).zip(sorted) {
            if let Some(slot) = numbers.position_of.get_mut(number as usize) {
                *slot = position;
            }
        }
    }

    /// An entry's number by its position.
    fn number_of(&self, position: usize) -> usize {
        let kept = self.numbers.as_ref().and_then(|numbers| numbers.of_position.get(position));
        kept.map_or(position, |&number| number as usize)
    }

    /// Where the entry with a number stands.
    pub(super) fn position_of(&self, number: usize) -> Option<usize> {
        match &self.numbers {
            Some(numbers) => numbers.position_of.get(number).map(|&position| position as usize),
            None => Some(number),
        }
    }

    /// What an entry's index would be if all were numbered as they are sorted.
    pub(super) fn sorted_index(&self, index: i32) -> i64 {
        let (index, first) = (i64::from(index), i64::from(self.first_index));
        let position = usize::try_from(index - first).ok().and_then(|number| self.position_of(number));
        position.map_or(index, |position| first + position as i64)
    }

    /// The positions of the directories, in the order of their numbers.
    pub(super) fn dirs_by_number(&self) -> Vec<usize> {
        let positions = (0..self.len()).filter_map(|number| self.position_of(number));
        positions.filter(|&at| self.entry(at).is_dir()).collect()
    }

    /// One past the file index of the last entry.
    pub fn end_index(&self) -> i32 {
        self.first_index + self.records.len() as i32
    }

    /// The `first_index` of the segment after this one: one index is left for its parent directory.
    pub fn next_first_index(&self) -> i32 {
        self.end_index() + 1
    }

    /// A directory name that `push` may refer to, without its trailing slash; an empty name *with* a slash is the root
    /// of the file system (`-R /etc`). Repeating the last one gives the same number.
    pub(crate) fn dir(&mut self, name: &[u8], slash: bool, source: u32, speaker: Speaker) -> Result<u32> {
        if let Some(last) = self.dirs.last() {
            let known = self.bytes(last.name);
            let same = if slash { known.strip_suffix(b"/") == Some(name) } else { known.is_empty() };
            if same && last.source == source {
                return Ok(self.dirs.len() as u32 - 1);
            }
        }
        let start = self.arena.len();
        self.arena.extend_from_slice(name);
        if slash {
            self.arena.push(b'/');
        }
        let name = self.span_from(start, speaker)?;
        self.dirs.push(Dir { name, source });
        Ok(self.dirs.len() as u32 - 1)
    }

    /// Appends an entry; `base` is its last component, at most `MAX_PATH` long.
    pub(crate) fn push(&mut self, dir: u32, base: &[u8], of: &Attributes<'_>, speaker: Speaker) -> Result<()> {
        let (flags, extra) = match (self.push_extra(of, speaker)?, of.hard_link) {
            (extra, None) => (of.flags, extra),
            (extra, Some(link)) => (of.flags.with(Flags::HLINKED), self.push_link(link, extra, speaker)?),
        };
        let base = self.put(base, speaker)?;
        let base_len = u16::try_from(base.len).map_err(|_| too_large(speaker))?;
        if self.records.len() as i64 + 2 + i64::from(self.first_index) >= i64::from(i32::MAX) {
            return Err(too_large(speaker));
        }
        if self.max_alloc > 0 && self.records.len() as u64 >= most_entries(self.max_alloc) {
            return Err(Error::max_alloc(speaker.name(), self.max_alloc));
        }
        self.records.push(Record {
            dir,
            base: base.start,
            base_len,
            flags,
            mode: of.mode,
            nsec: of.mtime.1,
            size: of.size,
            mtime: of.mtime.0,
            uid: of.uid,
            gid: of.gid,
            extra,
        });
        Ok(())
    }

    fn push_extra(&mut self, of: &Attributes<'_>, speaker: Speaker) -> Result<u32> {
        let nothing = of.link_target.is_empty() && of.sum.is_empty() && of.atime.is_none() && of.rdev == (0, 0);
        if nothing && of.acls.is_none() && of.xattrs.is_none() {
            return Ok(0);
        }
        let extra = Extra {
            link_target: self.put(of.link_target, speaker)?,
            rdev: of.rdev,
            atime: of.atime,
            sum: self.put(of.sum, speaker)?,
            acls: of.acls.map_or(0, |acls| self.push_acls(acls)),
            xattrs: of.xattrs.map(Arc::clone),
        };
        self.extras.push(extra);
        u32::try_from(self.extras.len()).map_err(|_| too_large(speaker))
    }

    /// 1 + the place of these lists, which those of the entry before may share.
    fn push_acls(&mut self, acls: &Acls) -> u32 {
        if self.acls.last() != Some(acls) {
            self.acls.push(acls.clone());
        }
        self.acls.len() as u32 // not more than there are entries
    }

    /// The lists of all entries that have some.
    pub(super) fn acls_mut(&mut self) -> impl Iterator<Item = &mut Acls> {
        self.acls.iter_mut()
    }

    /// What only the peer needed is given up when it is on the wire.
    pub(super) fn forget_acls(&mut self) {
        self.acls = Vec::new();
    }

    fn push_link(&mut self, link: HardLink, extra: u32, speaker: Speaker) -> Result<u32> {
        let group = match link {
            HardLink::Group(group) => group,
            HardLink::Inode(device, inode) => {
                self.inodes.push((device, inode));
                self.inodes.len() as i32 - 1 // not more than there are entries
            }
        };
        self.links.push(Linked { group, extra });
        u32::try_from(self.links.len()).map_err(|_| too_large(speaker))
    }

    /// How many of the entries are hard links, those weeded out included.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// Makes the entry at `first_index - 1`, the directory whose contents these are.
    pub(crate) fn set_parent(&mut self, dir: &DirEntry, speaker: Speaker) -> Result<()> {
        let (parent, base, slash) = split_path(&dir.path);
        let id = self.dir(parent, slash, dir.source, speaker)?;
        let base = self.put(base, speaker)?;
        let base_len = u16::try_from(base.len).map_err(|_| too_large(speaker))?;
        let of = Attributes { acls: dir.acls.as_ref(), xattrs: dir.xattrs.as_ref(), ..Attributes::default() };
        let extra = self.push_extra(&of, speaker)?;
        self.parent_record = Some(Record { dir: id, base: base.start, base_len, extra, ..dir.record });
        Ok(())
    }

    /// Gives back memory that growing took in advance; called when nothing more is added.
    pub(crate) fn shrink(&mut self) {
        self.arena.shrink_to_fit();
        self.dirs.shrink_to_fit();
        self.records.shrink_to_fit();
        self.extras.shrink_to_fit();
        self.links.shrink_to_fit();
        self.acls.shrink_to_fit();
        self.inodes = Vec::new(); // on the wire by now
    }

    /// Takes an entry out of the list; its index stays.
    pub(crate) fn clear_entry(&mut self, position: usize) {
        let record = &mut self.records[position];
        *record = Record {
            dir: record.dir,
            base: 0,
            base_len: 0,
            flags: Flags::NONE,
            mode: 0,
            nsec: 0,
            size: 0,
            mtime: 0,
            uid: 0,
            gid: 0,
            extra: 0,
        };
    }

    /// Drops leading slashes of all names: paths sent with `-R` may be absolute, their place in the destination is not.
    pub(crate) fn strip_root(&mut self) {
        for dir in &mut self.dirs {
            while dir.name.len > 0 && self.arena[dir.name.start as usize] == b'/' {
                dir.name.start += 1;
                dir.name.len -= 1;
            }
        }
    }

    fn put(&mut self, bytes: &[u8], speaker: Speaker) -> Result<Span> {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.span_from(start, speaker)
    }

    fn span_from(&self, start: usize, speaker: Speaker) -> Result<Span> {
        let end = u32::try_from(self.arena.len()).map_err(|_| too_large(speaker))?;
        let start = start as u32; // not after end
        Ok(Span { start, len: end - start })
    }

    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        &self.arena[span.start as usize..][..span.len as usize]
    }

    pub(crate) fn base_of(&self, record: &Record) -> &[u8] {
        &self.arena[record.base as usize..][..usize::from(record.base_len)]
    }

    /// With its trailing slash.
    pub(crate) fn dir_of(&self, record: &Record) -> &[u8] {
        self.bytes(self.dirs[record.dir as usize].name)
    }
}

/// A path's directory without the slash, its last component, and whether there was a slash.
pub(crate) fn split_path(path: &[u8]) -> (&[u8], &[u8], bool) {
    match memchr::memrchr(b'/', path) {
        Some(slash) => (&path[..slash], &path[slash + 1..], true),
        None => (&[], path, false),
    }
}

impl<'a> Entry<'a> {
    /// Last component; empty for an entry that was weeded out (duplicate, refused).
    pub fn base(self) -> &'a [u8] {
        self.segment.base_of(self.record)
    }

    /// The segment that this is an entry of, or whose contents lie in this directory.
    pub fn segment(self) -> &'a Segment {
        self.segment
    }

    /// Everything before the last component, without the slash; empty at the top of the transfer.
    pub fn dir(self) -> &'a [u8] {
        let dir = self.dir_slash();
        dir.strip_suffix(b"/").unwrap_or(dir)
    }

    /// Everything before the last component, with the slash: `dir_slash() ++ base()` is the path.
    pub fn dir_slash(self) -> &'a [u8] {
        self.segment.dir_of(self.record)
    }

    /// Whether the entry still takes part. C: F_IS_ACTIVE
    pub fn is_active(self) -> bool {
        self.record.base_len != 0
    }

    /// Path relative to the transfer's root. C: f_name
    pub fn path(self) -> Vec<u8> {
        [self.dir_slash(), self.base()].concat()
    }

    /// The path into a buffer that is used again and again.
    pub fn path_into(self, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(self.dir_slash());
        buffer.extend_from_slice(self.base());
    }

    /// `st_mode` with Linux's file type bits; 0 for a missing argument (`--delete-missing-args`).
    pub fn mode(self) -> u32 {
        self.record.mode
    }

    fn kind(self) -> u32 {
        self.record.mode & libc::S_IFMT
    }

    pub fn is_dir(self) -> bool {
        self.kind() == libc::S_IFDIR
    }

    pub fn is_file(self) -> bool {
        self.kind() == libc::S_IFREG
    }

    pub fn is_symlink(self) -> bool {
        self.kind() == libc::S_IFLNK
    }

    pub fn is_device(self) -> bool {
        matches!(self.kind(), libc::S_IFBLK | libc::S_IFCHR)
    }

    pub fn is_special(self) -> bool {
        matches!(self.kind(), libc::S_IFIFO | libc::S_IFSOCK)
    }

    pub fn flags(self) -> Flags {
        self.record.flags
    }

    pub fn size(self) -> u64 {
        self.record.size
    }

    /// Seconds since the epoch, and nanoseconds (0 below protocol 31).
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
        let number = self.linked().map_or(self.record.extra, |(_, linked)| linked.extra);
        self.segment.extras.get((number as usize).checked_sub(1)?)
    }

    fn linked(self) -> Option<(usize, &'a Linked)> {
        let at = (self.record.extra as usize).checked_sub(1).filter(|_| self.record.flags.has(Flags::HLINKED))?;
        Some((at, self.segment.links.get(at)?))
    }

    /// Of a hard link: its place among the segment's links, which is below `link_count()`, and its group's number.
    /// C: F_HL_GNUM
    pub fn hard_link(self) -> Option<(usize, i32)> {
        self.linked().map(|(at, linked)| (at, linked.group))
    }

    /// Device and inode of a hard link, before protocol 30 and until the list is sent.
    pub fn inode(self) -> Option<(u64, u64)> {
        let (_, linked) = self.linked()?;
        self.segment.inodes.get(usize::try_from(linked.group).ok()?).copied()
    }

    /// What a symlink points to, as it shall be stored.
    pub fn link_target(self) -> &'a [u8] {
        self.extra().map_or(&[], |extra| self.segment.bytes(extra.link_target))
    }

    /// Major and minor number of a device; zeros for the rest.
    pub fn rdev(self) -> (u32, u32) {
        self.extra().map_or((0, 0), |extra| extra.rdev)
    }

    /// Seconds since the epoch; never for directories.
    pub fn atime(self) -> Option<i64> {
        self.extra()?.atime
    }

    /// The list's checksum, when `--checksum` put one there.
    pub fn sum(self) -> Option<&'a [u8]> {
        self.extra().map(|extra| self.segment.bytes(extra.sum)).filter(|sum| !sum.is_empty())
    }

    /// Access control lists, when there are some beside what the mode says; stripped of that.
    pub fn acls(self) -> Option<&'a Acls> {
        self.segment.acls.get((self.extra()?.acls as usize).checked_sub(1)?)
    }

    /// Extended attributes; `None`: it has none.
    pub fn xattrs(self) -> Option<&'a Arc<xattr::List>> {
        self.extra()?.xattrs.as_ref()
    }

    /// Number of the source tree (sending side), for `build::Sources`.
    pub fn source(self) -> u32 {
        self.segment.dirs[self.record.dir as usize].source
    }

    /// A copy that outlives the segment.
    pub fn to_dir_entry(self) -> DirEntry {
        DirEntry {
            path: self.path().into(),
            record: *self.record,
            source: self.source(),
            acls: self.acls().cloned(),
            xattrs: self.xattrs().cloned(),
        }
    }
}

impl DirEntry {
    pub fn mode(&self) -> u32 {
        self.record.mode
    }

    pub fn flags(&self) -> Flags {
        self.record.flags
    }

    pub fn source(&self) -> u32 {
        self.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_stays_within_the_limit() {
        assert_eq!(most_entries(1 << 20), 1 << 16);
        assert_eq!(most_entries((1 << 20) + 8), 1 << 17);
        assert_eq!(most_entries(1 << 30), 7 << 24);
        let mut segment = Segment::new(0, -1).within(256);
        let dir = segment.dir(b"", false, 0, Speaker::Sender).unwrap();
        let mut push = || segment.push(dir, b"a", &Attributes::default(), Speaker::Sender);
        (0..16).for_each(|_| push().unwrap());
        let error = push().unwrap_err();
        assert_eq!(error.code, ExitCode::MALLOC);
        assert!(error.message.starts_with(b"[sender] exceeded --max-alloc=256 setting (file="));
    }
}
