//! The file list: what the sender offers, entry by entry, in segments.
//!
//! A segment is filled, sent or received, sorted, wrapped in an `Arc` and never changed again. Its entries are small
//! fixed-size records; names live in one byte arena, rare attributes in a side table. Per-entry marks of a role (sent,
//! created, time failed …) are that role's own side tables by index.

mod acls;
mod arguments;
pub mod build;
mod charset;
pub mod codec;
mod content;
mod decode;
pub mod dump;
mod examine;
mod form;
mod inodes;
pub mod listed;
pub mod names;
pub mod order;
mod prune;
pub mod receive;
pub mod requested;
mod rests;
mod segment;
pub mod sources;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk_tests;

use std::{collections::VecDeque, sync::Arc};

pub use segment::{Attributes, DirEntry, Entry, HardLink, Segment, record_sizes};
pub(crate) use segment::{Record, Span, split_path};

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    log::Speaker,
};

/// The longest path a peer may name, its terminating nul counted. C: MAXPATHLEN
pub const MAX_PATH: usize = 4096;

/// `io_error` bits that cross the wire. C: IOERR_*
pub mod io_error {
    pub const GENERAL: i32 = 1;
    pub const VANISHED: i32 = 1 << 1;
    pub const DEL_LIMIT: i32 = 1 << 2;
    pub const VALID: i32 = GENERAL | VANISHED | DEL_LIMIT;
}

/// Entry flags that outlive the wire; the numbers are those that `--debug=flist3` prints. C: FLAG_*
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// A directory named by the user, whose extraneous contents may be deleted.
    pub const TOP_DIR: Self = Self(1 << 0);
    /// A directory whose contents are (or will be) in the list.
    pub const CONTENT_DIR: Self = Self(1 << 2);
    /// A mount point that `-x` keeps us out of.
    pub const MOUNT_DIR: Self = Self(1 << 3);
    /// A directory that an earlier entry of the same name stands for (sending side).
    pub const DUPLICATE: Self = Self(1 << 4);
    /// There may be further names of this file.
    pub const HLINKED: Self = Self(1 << 5);
    /// A directory that only leads to what was asked for (`-R`).
    pub const IMPLIED_DIR: Self = Self(1 << 6);
    /// The group cannot be set: not root, and not a member (receiving side).
    pub const SKIP_GROUP: Self = Self(1 << 10);

    pub const NONE: Self = Self(0);

    pub fn has(self, bits: Self) -> bool {
        self.0 & bits.0 == bits.0
    }

    pub fn set(&mut self, bits: Self) {
        self.0 |= bits.0;
    }

    pub fn clear(&mut self, bits: Self) {
        self.0 &= !bits.0;
    }

    pub fn with(self, bits: Self) -> Self {
        Self(self.0 | bits.0)
    }

    pub fn without(self, bits: Self) -> Self {
        Self(self.0 & !bits.0)
    }
}

/// All segments in play, by file index. Each role has its own, of shared segments.
#[derive(Default)]
pub struct FileList {
    segments: VecDeque<Arc<Segment>>,
    total: usize,
    /// How many segments were let go.
    dropped: usize,
    /// First index of the segment that was spoken of last. C: cur_flist
    current: i32,
}

impl FileList {
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the next segment.
    pub fn push(&mut self, segment: Arc<Segment>) {
        self.total += segment.len();
        self.segments.push_back(segment);
    }

    /// Entries in all segments in play, those weeded out included. C: file_total
    pub fn total(&self) -> usize {
        self.total
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub fn first(&self) -> Option<&Arc<Segment>> {
        self.segments.front()
    }

    pub fn last(&self) -> Option<&Arc<Segment>> {
        self.segments.back()
    }

    /// The segments in play, oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Arc<Segment>> {
        self.segments.iter()
    }

    /// Lets go of the oldest segment, when all of its files are done. C: flist_free(first_flist)
    pub fn drop_first(&mut self) -> Option<Arc<Segment>> {
        let first = self.segments.pop_front()?;
        self.total -= first.len();
        self.dropped += 1;
        if self.current == first.first_index {
            self.current = self.first().map_or(0, |next| next.first_index);
        }
        Some(first)
    }

    /// How many segments are in play.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// A segment by its position among those in play.
    pub fn segment(&self, position: usize) -> Option<&Arc<Segment>> {
        self.segments.get(position)
    }

    /// The position of the segment that a file index belongs to.
    pub fn position_of(&self, index: i32) -> Option<usize> {
        let after = self.segments.partition_point(|segment| segment.first_index - 1 <= index);
        let position = after.checked_sub(1)?;
        self.segments.get(position).filter(|segment| index < segment.end_index())?;
        Some(position)
    }

    /// Notes which segment is being worked on.
    pub fn set_current(&mut self, segment: &Segment) {
        self.current = segment.first_index;
    }

    /// The place of a file index in the whole list: without the numbers that stand for directories.
    /// C: progress.c set_current_file_index
    pub fn place(&self, index: i32) -> i64 {
        let Some((position, segment)) = self.position_of(index).and_then(|at| Some((at, self.segment(at)?))) else {
            return i64::from(index);
        };
        segment.sorted_index(index) - self.gaps(position)
    }

    /// The place of the last entry of the segment worked on; `None` when all are done.
    pub fn place_of_current_end(&self) -> Option<i64> {
        let position = self.segments.iter().position(|segment| segment.first_index == self.current).unwrap_or(0);
        let segment = self.segments.get(position)?;
        Some(i64::from(segment.end_index()) - 1 - self.gaps(position))
    }

    /// How many numbers up to this segment stand for directories: one each with incremental recursion.
    fn gaps(&self, position: usize) -> i64 {
        let numbered = self.dropped > 0 || self.first().is_some_and(|first| first.first_index > 0);
        if numbered { (self.dropped + position + 1) as i64 } else { 0 }
    }

    /// Whether a whole list names this directory.
    pub fn has_dir(&self, path: &[u8]) -> bool {
        self.named_where(path, Entry::is_dir).is_some()
    }

    /// The first entry of this name.
    pub fn named(&self, path: &[u8]) -> Option<Entry<'_>> {
        self.named_where(path, |_| true)
    }

    fn named_where<'a>(&'a self, path: &[u8], is_meant: impl Fn(Entry<'a>) -> bool) -> Option<Entry<'a>> {
        let entries = self.segments.iter().flat_map(|segment| segment.entries()).map(|(_, entry)| entry);
        entries.into_iter().find(|&entry| is_meant(entry) && entry.is_active() && entry.path() == path)
    }

    /// The segment that a file index belongs to; `first_index - 1`, its parent directory, belongs to it as well.
    /// C: flist_for_ndx
    pub fn segment_of(&self, index: i32) -> Option<&Arc<Segment>> {
        self.segments.get(self.position_of(index)?)
    }

    /// The entry with a file index, or with `first_index - 1` the directory a segment lies in.
    pub fn entry(&self, index: i32) -> Option<Entry<'_>> {
        self.segment_of(index)?.get(index)
    }

    /// As `segment_of` for an index that a peer sent: an unknown one ends the run with status 2. `place` is the
    /// name of the step that the reference prints.
    #[track_caller]
    pub fn segment_for_peer(&self, index: i32, place: &str, speaker: Speaker) -> Result<&Arc<Segment>> {
        self.segment_of(index).ok_or_else(|| {
            let (low, high) = match (self.first(), self.last()) {
                (Some(first), Some(last)) => (first.first_index - 1, last.end_index() - 1),
                _ => (0, -1),
            };
            let message = bytes![
                "File-list index ",
                index,
                " not in ",
                low,
                " - ",
                high,
                " (",
                place,
                ") [",
                speaker.name(),
                "]"
            ];
            Error::new(ExitCode::PROTOCOL, message)
        })
    }
}

#[cfg(test)]
pub(crate) mod made {
    use super::*;

    pub(crate) fn file(size: u64) -> Attributes<'static> {
        Attributes { mode: libc::S_IFREG | 0o644, size, mtime: (1000, 5), ..Attributes::default() }
    }

    pub(crate) fn folder() -> Attributes<'static> {
        Attributes { mode: libc::S_IFDIR | 0o755, mtime: (1000, 0), flags: Flags::CONTENT_DIR, ..Attributes::default() }
    }

    pub(crate) fn add(segment: &mut Segment, path: &str, of: &Attributes<'_>) {
        let (dir, base, slash) = split_path(path.as_bytes());
        let id = segment.dir(dir, slash, 0, Speaker::Sender).unwrap();
        segment.push(id, base, of, Speaker::Sender).unwrap();
    }

    #[test]
    fn indexes_leave_one_for_the_parent() {
        let mut top = Segment::new(1, -1);
        add(&mut top, "a", &folder());
        add(&mut top, "b", &file(3));
        let mut inner = Segment::new(top.next_first_index(), 0);
        inner.set_parent(&top.entry(0).to_dir_entry(), Speaker::Sender).unwrap();
        add(&mut inner, "a/c", &file(4));
        assert_eq!((top.end_index(), inner.first_index), (3, 4));

        let mut list = FileList::new();
        list.push(Arc::new(top));
        list.push(Arc::new(inner));
        assert_eq!(list.total(), 3);
        assert_eq!(list.entry(1).unwrap().path(), b"a");
        assert_eq!(list.entry(3).unwrap().path(), b"a");
        assert_eq!(list.entry(3).unwrap().mode(), libc::S_IFDIR | 0o755);
        assert_eq!(list.entry(4).unwrap().path(), b"a/c");
        assert_eq!(list.entry(4).unwrap().dir(), b"a");
        assert!(list.entry(0).is_none() && list.entry(5).is_none() && list.entry(i32::MIN).is_none());
        assert_eq!(list.segment_of(3).unwrap().first_index, 4);
        assert_eq!(list.segment_of(0).unwrap().first_index, 1);

        list.drop_first();
        assert_eq!(list.total(), 1);
        assert!(list.entry(2).is_none());
        let error = list.segment_for_peer(2, "read_ndx_and_attrs", Speaker::Receiver).unwrap_err();
        assert_eq!(error.message, b"File-list index 2 not in 3 - 4 (read_ndx_and_attrs) [receiver]");
        assert_eq!(error.code, ExitCode::PROTOCOL);
    }

    #[test]
    fn rare_attributes_are_kept_apart() {
        let mut segment = Segment::new(0, -1);
        add(&mut segment, "plain", &file(1));
        add(&mut segment, "link", &Attributes { mode: libc::S_IFLNK | 0o777, link_target: b"to/there", ..file(8) });
        add(
            &mut segment,
            "null",
            &Attributes { mode: libc::S_IFCHR | 0o666, rdev: (1, 3), atime: Some(-4), ..file(0) },
        );
        assert_eq!(segment.extras.len(), 2);
        assert_eq!(segment.entry(1).link_target(), b"to/there");
        assert_eq!((segment.entry(2).rdev(), segment.entry(2).atime()), ((1, 3), Some(-4)));
        assert_eq!((segment.entry(0).rdev(), segment.entry(0).sum()), ((0, 0), None));
        assert!(std::mem::size_of::<Record>() <= 56, "an entry should stay small");
    }

    #[test]
    fn absolute_names_lose_their_root() {
        let mut segment = Segment::new(0, -1);
        add(&mut segment, "/etc", &folder());
        add(&mut segment, "/etc/passwd", &file(1));
        segment.strip_root();
        assert_eq!(segment.entry(0).path(), b"etc");
        assert_eq!(segment.entry(1).path(), b"etc/passwd");
    }
}
