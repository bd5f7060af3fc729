//! The sender's walk: from source arguments to segments, a directory at a time, without any wire.
//!
//! A segment is begun (`begin`), filled in steps (`step`), each of which looks at one argument or one directory, and
//! finished (`finish`): sorted and, with incremental recursion, its directories remembered as the segments to come,
//! depth first. Between the steps the driver sends what was found, so a long walk does not keep the peer waiting.

use std::{
    cell::Ref,
    collections::{HashMap, VecDeque},
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use super::{
    DirEntry, Entry, Flags, MAX_PATH, Segment,
    dump::View,
    examine::{Examiner, Level, Place},
    order::{self, Order},
    rests::Rests,
    sources::{Source, Sources, Trees},
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    filter::{self, Filters},
    fs::{Follow, Scan},
    log::{Log, LogCode, Speaker},
    options::{Debug, Options},
    proto::Protocol,
    sys::stat,
    text::mode::Chmod,
};

/// A directory whose segment is still to come.
struct Pending {
    /// Its number on the wire.
    index: i32,
    entry: DirEntry,
    /// What `-R` names want of it.
    rests: Rests,
    /// How deep below the arguments. C: send_dir_depth
    depth: usize,
}

/// What a step can do next.
pub(super) enum Work {
    /// The rules of the directory that a segment is about; its path and depth.
    GoTo { source: u32, path: Vec<u8>, depth: usize },
    /// Read a directory; its path, and its mode as far as that is known.
    Scan { source: u32, path: Vec<u8>, flags: Flags, mode: u32 },
    /// Names below a directory that is only led to.
    Rests { source: u32, path: Vec<u8>, rests: Rests },
    /// All below a directory that was read was listed.
    Leave,
}

/// What the options say about walking.
pub(super) struct Plan {
    pub(super) recurse: bool,
    pub(super) relative: bool,
    pub(super) implied_dirs: bool,
    pub(super) inc_recurse: bool,
    pub(super) missing: Missing,
    /// Entries are numbered as they travel, not as they are sorted.
    keep_numbers: bool,
    max_alloc: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Complain,
    Ignore,
    Delete,
}

/// The directories of the last `-R` name, to say each only once.
#[derive(Default)]
pub(super) struct Implied {
    pub(super) path: Vec<u8>,
    pub(super) source: Option<u32>,
    /// Incremental: the names waiting for that directory, by number in `Walker::waiting`.
    pub(super) group: Option<usize>,
}

/// `-R` names collected while a segment is built, for a directory in it.
pub(super) struct Waiting {
    pub(super) source: u32,
    pub(super) path: Vec<u8>,
    pub(super) rests: Rests,
}

/// The sending side's maker of segments.
pub struct Walker {
    args: VecDeque<Vec<u8>>,
    pub(super) sources: Sources,
    pub(super) examiner: Examiner,
    pub(super) plan: Plan,
    order: Order,
    view: View,
    scan: Scan,
    name: Vec<u8>,
    /// What is left to do for the segment at hand, next one last.
    pub(super) work: Vec<Work>,
    /// Directories whose segments are to come, next one last.
    pending: Vec<Pending>,
    pub(super) implied: Implied,
    pub(super) waiting: Vec<Waiting>,
    pub(super) said_dot: bool,
    /// An argument's own contents were listed in the first segment. C: send_dir_depth
    pub(super) entered_dot: bool,
    next_index: i32,
    next_dir: i32,
    begun: bool,
    /// The directory of the segment at hand, and how deep it is.
    parent: Option<DirEntry>,
    depth: usize,
}

impl Walker {
    /// `args` are the sources as typed (without host), `chmod` is `--chmod` on a sending client. Fails only if the
    /// current directory is not known.
    pub fn new(
        options: &Options,
        protocol: &Protocol,
        chmod: Option<Chmod>,
        args: impl IntoIterator<Item = Vec<u8>>,
        filters: Filters,
        log: &Log,
    ) -> Result<Self> {
        let sources = Sources::new(options).map_err(|error| {
            log.syserr(LogCode::Error, "getcwd()", &error);
            Error::silent(ExitCode::FILE_SELECT)
        })?;
        let missing = match (options.ignore_missing_args, options.delete_missing_args) {
            (_, true) => Missing::Delete,
            (true, false) => Missing::Ignore,
            (false, false) => Missing::Complain,
        };
        Ok(Self {
            args: args.into_iter().collect(),
            sources,
            examiner: Examiner::new(options, protocol, chmod, filters, log)?,
            plan: Plan {
                recurse: options.recurse(),
                relative: options.relative,
                implied_dirs: options.relative && (options.implied_dirs || protocol.version >= 30),
                inc_recurse: protocol.compat.inc_recurse,
                missing,
                keep_numbers: options.iconv.is_some(),
                max_alloc: options.max_alloc,
            },
            order: Order::of(protocol.version),
            view: View::new(options, log),
            scan: Scan::default(),
            name: Vec::new(),
            work: Vec::new(),
            pending: Vec::new(),
            implied: Implied::default(),
            waiting: Vec::new(),
            said_dot: false,
            entered_dot: false,
            next_index: i32::from(protocol.compat.inc_recurse),
            next_dir: 0,
            begun: false,
            parent: None,
            depth: 0,
        })
    }

    /// Relative arguments are looked up in `base`; it must be there. C: in flist.c send_file_list
    pub fn start_from(&mut self, base: &[u8]) -> Result<()> {
        let log = &self.examiner.log;
        self.sources.start_from(base, log).map_err(|(name, error)| {
            log.syserr(LogCode::ErrorXfer, bytes!["change_dir ", name, " failed"], &error);
            Error::silent(ExitCode::FILE_SELECT)
        })
    }

    /// One more argument, while the first segment is being filled.
    pub fn add(&mut self, arg: Vec<u8>) {
        self.args.push_back(arg);
    }

    /// The trees that entries come from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// What went wrong so far, as the bits that are sent along. C: io_error
    pub fn io_error(&self) -> i32 {
        self.examiner.io_error
    }

    /// The number of the directory that the next segment is about; `None`: all segments are made. Before it is sent
    /// goes the index `NDX_FLIST_OFFSET - number`.
    pub fn next_dir(&self) -> Option<i32> {
        self.pending.last().map(|pending| pending.index)
    }

    /// A new segment: first the one of the arguments, then that of `next_dir`.
    pub fn begin(&mut self) -> Segment {
        if !self.begun {
            self.begun = true;
            return self.segment(-1);
        }
        let Some(first) = self.pending.pop() else { return self.segment(-1) };
        let segment = self.segment(first.index);
        self.parent = Some(first.entry.clone());
        self.depth = first.depth;
        let mut group = vec![first];
        while self.pending.last().is_some_and(|next| next.entry.flags().has(Flags::DUPLICATE)) {
            group.extend(self.pending.pop());
        }
        let mut work = Vec::new();
        let mut read_before: Option<u32> = None;
        for Pending { entry, rests, depth, .. } in group {
            work.push(Work::GoTo { source: entry.source(), path: entry.path.to_vec(), depth });
            let source = entry.source();
            let has_content = entry.flags().has(Flags::CONTENT_DIR) && read_before != Some(source);
            if has_content {
                let flags = Flags::CONTENT_DIR;
                work.push(Work::Scan { source, path: entry.path.to_vec(), flags, mode: entry.mode() });
            }
            read_before = has_content.then_some(source);
            if !rests.is_empty() {
                work.push(Work::Rests { source, path: entry.path.to_vec(), rests });
            }
        }
        work.reverse();
        self.work = work;
        segment
    }

    fn segment(&self, parent: i32) -> Segment {
        Segment::new(self.next_index, parent).within(self.plan.max_alloc)
    }

    /// Looks at one more argument or directory; false when the segment is complete.
    pub fn step(&mut self, segment: &mut Segment) -> Result<bool> {
        if let Some(work) = self.work.pop() {
            match work {
                Work::Scan { source, path, flags, mode } => self.scan_work(segment, source, &path, flags, mode)?,
                Work::Rests { source, path, rests } => self.rests_work(segment, source, &path, rests)?,
                Work::GoTo { source, path, depth } => self.go_to(source, &path, depth)?,
                Work::Leave => self.examiner.filters.leave(&self.examiner.log),
            }
        } else if self.parent.is_none() {
            let Some(arg) = self.args.pop_front() else { return Ok(false) };
            self.argument(segment, &arg)?;
        }
        Ok(!self.work.is_empty() || (self.parent.is_none() && !self.args.is_empty()))
    }

    /// Sorts a complete segment and remembers its directories.
    pub fn finish(&mut self, mut segment: Segment) -> Result<Arc<Segment>> {
        if self.plan.keep_numbers {
            segment.keep_numbers();
        }
        order::sort(&mut segment, self.order);
        self.next_index = segment.next_first_index();
        let is_first = self.parent.is_none();
        if self.plan.inc_recurse {
            order::mark_duplicates(&mut segment, self.order);
            let root = self.remember_dirs(&segment);
            let who = self.speaker();
            if let Some(parent) = self.parent.take() {
                segment.set_parent(&parent, who)?;
            } else if let Some(root) = root {
                segment.parent = 0;
                segment.set_parent(&root, who)?;
            }
        }
        if self.pending.is_empty() {
            self.examiner.end(self.plan.inc_recurse);
        }
        segment.dump(&self.examiner.log, self.view, Some(&self.sources));
        if is_first && self.examiner.log.debug(Debug::Flist) >= 2 {
            self.examiner.log.say(LogCode::Info, "send_file_list done");
        }
        segment.forget_acls();
        segment.shrink();
        Ok(Arc::new(segment))
    }

    /// Numbers the directories of a segment and queues them; gives back the first if it is `.` and leads the segment.
    /// C: flist.c add_dirs_to_tree
    fn remember_dirs(&mut self, segment: &Segment) -> Option<DirEntry> {
        let mut waiting: HashMap<_, VecDeque<_>> = HashMap::new();
        for Waiting { source, path, mut rests } in self.waiting.drain(..) {
            rests.shrink();
            waiting.entry((source, path.into_boxed_slice())).or_default().push_back(rests);
        }
        self.implied = Implied::default();
        let mut children = Vec::new();
        let first_dir = self.next_dir;
        let numbered = segment.dirs_by_number();
        self.next_dir += numbered.len() as i32;
        let mut indexes: Vec<(usize, i32)> = numbered.into_iter().zip(first_dir..).collect();
        indexes.sort_unstable();
        for (at, index) in indexes {
            let entry = segment.entry(at);
            if entry.base() == b"." {
                continue;
            }
            let entry = entry.to_dir_entry();
            let implied = entry.flags().has(Flags::IMPLIED_DIR) && !waiting.is_empty();
            let mine = implied.then(|| waiting.get_mut(&(entry.source(), entry.path.clone()))).flatten();
            let rests = mine.and_then(VecDeque::pop_front).unwrap_or_default();
            children.push(Pending { index, entry, rests, depth: self.depth + 1 });
        }
        self.pending.extend(children.into_iter().rev());
        let first = segment.records.first().map(|record| Entry { segment, record });
        first.filter(|first| first.base() == b"." && first.is_dir()).map(Entry::to_dir_entry)
    }

    pub(super) fn speaker(&self) -> Speaker {
        self.examiner.log.speaker()
    }
}

impl Walker {
    fn scan_work(&mut self, segment: &mut Segment, source: u32, path: &[u8], flags: Flags, mode: u32) -> Result<()> {
        self.sources.go_to(source, &self.examiner.log);
        if self.plan.inc_recurse && self.parent.is_some() && self.examiner.one_file_system > 0 {
            let Some((named, trees)) = opened(&self.sources, source) else { return Ok(()) };
            match self.examiner.link_stat_named((named, &trees), path, self.examiner.copy_dirlinks)? {
                Ok(stat) => self.examiner.filesystem = stat.dev,
                Err(error) => {
                    self.examiner.lost(named.full_name(path), true, &error);
                    return Ok(());
                }
            }
        }
        if !self.plan.inc_recurse {
            self.enter_dir(source, path)?;
            self.work.push(Work::Leave);
        }
        let start = segment.len();
        self.read_directory(segment, source, path, flags, mode)?;
        if self.plan.recurse && !self.plan.inc_recurse {
            let dirs = (start..segment.len()).rev().map(|at| segment.entry(at));
            let entered = dirs.filter(|entry| entry.is_dir() && !entry.flags().has(Flags::MOUNT_DIR));
            let scan = |entry: Entry<'_>| Work::Scan { source, path: entry.path(), flags, mode: entry.mode() };
            self.work.extend(entered.map(scan));
        }
        Ok(())
    }

    /// Reads the rules that a directory brings. C: exclude.c push_local_filters
    fn enter_dir(&mut self, source: u32, path: &[u8]) -> Result<()> {
        let Self { sources, examiner: Examiner { filters, log, .. }, .. } = self;
        let Some((named, trees)) = opened(sources, source) else { return Ok(()) };
        filters.start_at(named.shown());
        filters.enter(path, filter::Place { log, tree: Some(trees.place(path)) })
    }

    /// As `enter_dir`, for a directory at this depth: those as deep are left. C: exclude.c change_local_filter_dir
    pub(super) fn go_to(&mut self, source: u32, path: &[u8], depth: usize) -> Result<()> {
        let Self { sources, examiner: Examiner { filters, log, .. }, .. } = self;
        let Some((named, trees)) = opened(sources, source) else { return Ok(()) };
        filters.start_at(named.shown());
        filters.go_to(path, depth, filter::Place { log, tree: Some(trees.place(path)) })
    }

    /// The walk is over: whatever rules directories brought are let go.
    pub fn leave_all(&mut self) {
        self.examiner.filters.leave_all(&self.examiner.log);
    }

    /// Lists what a directory holds. C: flist.c send_directory
    fn read_directory(
        &mut self,
        segment: &mut Segment,
        source: u32,
        path: &[u8],
        flags: Flags,
        mode: u32,
    ) -> Result<()> {
        let Self { sources, examiner, scan, name, .. } = self;
        let Some((named, trees)) = opened(sources, source) else { return Ok(()) };
        let (root, rel) = trees.place(path);
        let handle = match root.open_dir(rel).and_then(|handle| searchable(handle, mode, root.follow())) {
            Ok(handle) => handle,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                examiner.lost(named.full_name(path), true, &error);
                return Ok(());
            }
            Err(error) => {
                examiner.fail(bytes!["opendir ", named.full_name(path), " failed"], &error);
                return Ok(());
            }
        };
        let (listed_as, slash) = match path {
            b"." => (&b""[..], false),
            b"/." => (&b""[..], true),
            path => (path, true),
        };
        let dir = segment.dir(listed_as, slash, source, examiner.log.speaker())?;
        let room = (MAX_PATH - 1).saturating_sub(path.len());
        scan.start();
        loop {
            let kind = match scan.next(&*handle) {
                Ok(Some(item)) => {
                    name.clear();
                    name.extend_from_slice(item.name);
                    item.kind
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    examiner.fail(bytes!["readdir(", named.full_name(path), ")"], &error);
                    return Ok(());
                }
            };
            if name.len() >= room {
                let over = name.len() - room + 1;
                examiner.complain(bytes![
                    "filename overflows max-path len by ",
                    over,
                    ": ",
                    path,
                    "/",
                    name.as_slice()
                ]);
                continue;
            }
            let place =
                Place { source: named, trees: &trees, at: handle.as_fd(), leaf: name, dir, base: name, found: true };
            let level = match examiner.excludes_unseen(place, segment, kind) {
                Some(true) => continue,
                Some(false) => Level::Passed,
                None => Level::Found,
            };
            examiner.list(segment, place, None, flags, level)?;
        }
    }
}

/// A source by its number, open.
pub(super) fn opened(sources: &Sources, number: u32) -> Option<(&Source, Ref<'_, Trees>)> {
    Some((sources.get(number)?, sources.trees(number)?))
}

/// A directory that may be read but not searched is refused as a whole, except where links are followed freely: so
/// does the reference.
fn searchable(dir: Arc<OwnedFd>, mode: u32, follow: Follow) -> io::Result<Arc<OwnedFd>> {
    if mode & 0o111 != 0o111 && follow != Follow::Always {
        stat::lstat_at(dir.as_fd(), c".")?;
    }
    Ok(dir)
}
