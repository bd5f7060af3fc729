//! The sender's walk: from source arguments to segments, a directory at a time, without any wire.
//!
//! A segment is begun (`begin`), filled in steps (`step`), each of which looks at one argument or one directory, and
//! finished (`finish`): sorted and, with incremental recursion, its directories remembered as the segments to come,
//! depth first. Between the steps the driver sends what was found, so a long walk does not keep the peer waiting.

use std::{collections::VecDeque, os::fd::AsFd, sync::Arc};

use super::{
    DirEntry, Entry, Flags, MAX_PATH, Segment,
    examine::{Examiner, Level, Place, parent_of},
    names::{Argument, NameKind},
    order::{self, Order},
    sources::Sources,
    split_path,
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    fs::Scan,
    log::{Log, LogCode, Speaker},
    options::Options,
    proto::Protocol,
    sys::stat::Stat,
    text::mode::Chmod,
};

/// With incremental recursion the sender keeps about this many entries ahead of what is being worked on.
/// C: MIN_FILECNT_LOOKAHEAD
pub const MIN_LOOKAHEAD: usize = 1000;
/// While it waits for the peer anyway it goes on up to this many. C: MAX_FILECNT_LOOKAHEAD
pub const MAX_LOOKAHEAD: usize = 10000;

/// A part of a `-R` name that waits for its first directory's segment. C: relnamecache
struct Rest {
    name: Vec<u8>,
    kind: NameKind,
}

/// A directory whose segment is still to come.
struct Pending {
    /// Its number on the wire.
    index: i32,
    entry: DirEntry,
    /// What `-R` names want of it.
    rests: Vec<Rest>,
}

/// What a step can do next.
enum Work {
    /// Read a directory; its path.
    Scan { source: u32, path: Vec<u8>, flags: Flags },
    /// Names below a directory that is only led to.
    Rests { source: u32, path: Vec<u8>, rests: Vec<Rest> },
}

/// What the options say about walking.
struct Plan {
    recurse: bool,
    relative: bool,
    implied_dirs: bool,
    inc_recurse: bool,
    missing: Missing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Complain,
    Ignore,
    Delete,
}

/// The directories of the last `-R` name, to say each only once.
#[derive(Default)]
struct Implied {
    path: Vec<u8>,
    source: Option<u32>,
    /// Incremental: the names waiting for that directory, by number in `Walker::waiting`.
    group: Option<usize>,
}

/// `-R` names collected while a segment is built, for a directory in it.
struct Waiting {
    source: u32,
    path: Vec<u8>,
    rests: Vec<Rest>,
}

/// The sending side's maker of segments.
pub struct Walker {
    args: VecDeque<Vec<u8>>,
    sources: Sources,
    examiner: Examiner,
    plan: Plan,
    order: Order,
    scan: Scan,
    name: Vec<u8>,
    /// What is left to do for the segment at hand, next one last.
    work: Vec<Work>,
    /// Directories whose segments are to come, next one last.
    pending: Vec<Pending>,
    implied: Implied,
    waiting: Vec<Waiting>,
    said_dot: bool,
    next_index: i32,
    next_dir: i32,
    begun: bool,
    /// The directory of the segment at hand.
    parent: Option<DirEntry>,
}

impl Walker {
    /// `args` are the sources as typed (without host), `chmod` is `--chmod` on a sending client. Fails only if the
    /// current directory is not known.
    pub fn new(
        options: &Options,
        protocol: &Protocol,
        chmod: Option<Chmod>,
        args: impl IntoIterator<Item = Vec<u8>>,
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
            examiner: Examiner::new(options, protocol, chmod, log),
            plan: Plan {
                recurse: options.recurse(),
                relative: options.relative,
                implied_dirs: options.relative && (options.implied_dirs || protocol.version >= 30),
                inc_recurse: protocol.compat.inc_recurse,
                missing,
            },
            order: Order::of(protocol.version),
            scan: Scan::default(),
            name: Vec::new(),
            work: Vec::new(),
            pending: Vec::new(),
            implied: Implied::default(),
            waiting: Vec::new(),
            said_dot: false,
            next_index: i32::from(protocol.compat.inc_recurse),
            next_dir: 0,
            begun: false,
            parent: None,
        })
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
            return Segment::new(self.next_index, -1);
        }
        let Some(first) = self.pending.pop() else { return Segment::new(self.next_index, -1) };
        let segment = Segment::new(self.next_index, first.index);
        self.parent = Some(first.entry.clone());
        let mut group = vec![first];
        while self.pending.last().is_some_and(|next| next.entry.flags().has(Flags::DUPLICATE)) {
            group.extend(self.pending.pop());
        }
        let mut work = Vec::new();
        let mut read_before: Option<u32> = None;
        for Pending { entry, rests, .. } in group {
            let source = entry.source();
            let has_content = entry.flags().has(Flags::CONTENT_DIR) && read_before != Some(source);
            if has_content {
                let flags = Flags::CONTENT_DIR;
                work.push(Work::Scan { source, path: entry.path.to_vec(), flags });
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

    /// Looks at one more argument or directory; false when the segment is complete.
    pub fn step(&mut self, segment: &mut Segment) -> Result<bool> {
        if let Some(work) = self.work.pop() {
            match work {
                Work::Scan { source, path, flags } => self.scan_work(segment, source, path, flags)?,
                Work::Rests { source, path, rests } => self.rests_work(segment, source, &path, rests)?,
            }
        } else if self.parent.is_none() {
            let Some(arg) = self.args.pop_front() else { return Ok(false) };
            self.argument(segment, &arg)?;
        }
        Ok(!self.work.is_empty() || (self.parent.is_none() && !self.args.is_empty()))
    }

    /// Sorts a complete segment and remembers its directories.
    pub fn finish(&mut self, mut segment: Segment) -> Result<Arc<Segment>> {
        order::sort(&mut segment, self.order);
        self.next_index = segment.next_first_index();
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
        segment.shrink();
        Ok(Arc::new(segment))
    }

    /// Numbers the directories of a segment and queues them; gives back the first if it is `.` and leads the segment.
    /// C: flist.c add_dirs_to_tree
    fn remember_dirs(&mut self, segment: &Segment) -> Option<DirEntry> {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.implied = Implied::default();
        let mut children = Vec::new();
        for (_, entry) in segment.entries().filter(|(_, entry)| entry.is_dir()) {
            let index = self.next_dir;
            self.next_dir += 1;
            if entry.base() == b"." {
                continue;
            }
            let entry = entry.to_dir_entry();
            let mine = waiting.iter().position(|waiting| {
                entry.flags().has(Flags::IMPLIED_DIR)
                    && waiting.source == entry.source()
                    && *waiting.path == *entry.path
            });
            let rests = mine.map(|mine| waiting.remove(mine).rests).unwrap_or_default();
            children.push(Pending { index, entry, rests });
        }
        self.pending.extend(children.into_iter().rev());
        let first = segment.records.first().map(|record| Entry { segment, record });
        first.filter(|first| first.base() == b"." && first.is_dir()).map(Entry::to_dir_entry)
    }

    fn speaker(&self) -> Speaker {
        self.examiner.log.speaker()
    }
}

// Arguments.
impl Walker {
    /// C: flist.c send_file_list
    fn argument(&mut self, segment: &mut Segment, arg: &[u8]) -> Result<()> {
        let argument = Argument::parse(arg, self.plan.relative, self.speaker())?;
        let Some(source) = self.enter(&argument) else { return Ok(()) };
        let name = argument.name.as_slice();
        let content = if self.plan.recurse { Flags::CONTENT_DIR } else { Flags::NONE };
        if argument.leading_dot && !self.said_dot {
            self.said_dot = true;
            self.list_path(segment, source, b".", None, Flags::IMPLIED_DIR, Level::Found)?;
        }
        let follow = self.examiner.copy_dirlinks || argument.kind != NameKind::Normal;
        let Some(stat) = self.stat_argument(source, name, follow) else { return Ok(()) };
        if stat.is_dir() && !self.examiner.dirs {
            self.examiner.log.say(LogCode::Info, bytes!["skipping directory ", name]);
            return Ok(());
        }
        self.trust(source, name, &stat);
        if self.plan.relative && self.plan.inc_recurse {
            if let Some(slash) = memchr::memchr(b'/', &name[1..]).map(|at| at + 1) {
                let kind = if stat.mode == 0 { NameKind::Missing } else { argument.kind };
                return self.implied_incremental(segment, source, name, 0, slash, kind);
            }
        } else if self.plan.implied_dirs
            && let Some(slash) = memchr::memrchr(b'/', name).filter(|&slash| slash > 0)
        {
            self.implied_at_once(segment, source, &name[..slash])?;
        }
        self.examiner.filesystem = stat.dev;
        let as_dir = self.plan.recurse || (self.examiner.dirs && argument.kind != NameKind::Normal);
        let flags = if as_dir { content.with(Flags::TOP_DIR).with(Flags::CONTENT_DIR) } else { content };
        let listed = self.list_path(segment, source, name, Some(stat), flags, Level::Named)?;
        let enters = listed.filter(|&at| as_dir && segment.entry(at).is_dir());
        if enters.is_some() && (!self.plan.inc_recurse || argument.kind == NameKind::Dot) {
            self.work.push(Work::Scan { source, path: name.to_vec(), flags: content });
        }
        Ok(())
    }

    /// Opens the directory that an argument is looked up in. C: flist.c change_pathname
    fn enter(&mut self, argument: &Argument) -> Option<u32> {
        let dir = argument.dir.as_deref();
        match self.sources.open(dir, &argument.name) {
            Ok(source) => Some(source),
            Err((name, error)) => {
                self.examiner.fail(bytes!["change_dir ", name, " failed"], &error);
                None
            }
        }
    }

    /// The user's own path to a name is good, also where it leads over links.
    fn trust(&mut self, source: u32, name: &[u8], stat: &Stat) {
        let (dir, _, slash) = split_path(name);
        if slash && !dir.is_empty() {
            self.sources.trust(source, dir);
        }
        if stat.is_dir() && name != b"." {
            self.sources.trust(source, name);
        }
    }

    /// What an argument is; one that is missing is complained of, left out, or has mode 0, as the options want it.
    fn stat_argument(&mut self, source: u32, name: &[u8], follow: bool) -> Option<Stat> {
        let Self { sources, examiner, .. } = self;
        let source = sources.get(source)?;
        let error = match examiner.link_stat_named(source, name, follow) {
            Ok(stat) => return Some(stat),
            Err(error) => error,
        };
        let gone = error.raw_os_error() == Some(libc::ENOENT);
        match self.plan.missing {
            Missing::Ignore if gone => return None,
            Missing::Delete if gone => return Some(Stat::default()),
            _ => {}
        }
        if !gone {
            examiner.io_error |= super::io_error::GENERAL;
        }
        let what = bytes!["link_stat ", source.full_name(name), " failed"];
        examiner.log.syserr(LogCode::ErrorXfer, what, &error);
        None
    }

    /// Lists one name that was not found by reading a directory; its position.
    fn list_path(
        &mut self,
        segment: &mut Segment,
        source: u32,
        path: &[u8],
        known: Option<Stat>,
        flags: Flags,
        level: Level,
    ) -> Result<Option<usize>> {
        let who = self.speaker();
        let Self { sources, examiner, .. } = self;
        let Some(tree) = sources.get(source) else { return Ok(None) };
        let (dir, base, slash) = split_path(path);
        let dir = segment.dir(dir, slash, source, who)?;
        let (handle, leaf) = match parent_of(tree, path) {
            Ok(found) => found,
            Err(error) => {
                examiner.lost(tree.full_name(path), false, &error);
                return Ok(None);
            }
        };
        let place = Place { source: tree, at: handle.as_fd(), leaf, dir, base };
        examiner.list(segment, place, known, flags, level)
    }

    /// Lists the directories that lead to a `-R` name, as far as the name before did not. C: flist.c send_implied_dirs
    fn implied_at_once(&mut self, segment: &mut Segment, source: u32, dirs: &[u8]) -> Result<()> {
        let last = &self.implied.path;
        let common = std::iter::zip(dirs, last).take_while(|(a, b)| a == b).count();
        if common == dirs.len() && matches!(last.get(common), None | Some(b'/')) {
            return Ok(());
        }
        // the last slash that both have: what it ends was listed before
        let start = memchr::memrchr(b'/', &dirs[..common]).unwrap_or(0);
        let slashes = memchr::memchr_iter(b'/', dirs).filter(|&slash| slash > start);
        let ends: Vec<usize> = slashes.chain([dirs.len()]).collect();
        for end in ends {
            self.list_implied(segment, source, &dirs[..end])?;
        }
        self.implied.path = dirs.to_vec();
        Ok(())
    }

    /// Implied directories are looked at through links and listed whatever `-r`, `-d` say.
    fn list_implied(&mut self, segment: &mut Segment, source: u32, path: &[u8]) -> Result<Option<usize>> {
        let saved = (self.examiner.copy_links, self.examiner.dirs);
        (self.examiner.copy_links, self.examiner.dirs) = (true, true);
        let listed = self.list_path(segment, source, path, None, Flags::IMPLIED_DIR, Level::Found);
        (self.examiner.copy_links, self.examiner.dirs) = saved;
        listed
    }

    /// Lists the first directory of a `-R` name that is not in the list yet (it ends at `slash`); the rest waits for
    /// that directory's own segment. C: flist.c send_implied_dirs
    fn implied_incremental(
        &mut self,
        segment: &mut Segment,
        source: u32,
        name: &[u8],
        start: usize,
        slash: usize,
        kind: NameKind,
    ) -> Result<()> {
        debug_assert!(start < slash && slash < name.len());
        let (dir, rest) = (&name[..slash], &name[slash + 1..]);
        if self.implied.source != Some(source) || self.implied.path != dir {
            let listed = self.list_implied(segment, source, dir)?;
            let is_dir = listed.is_some_and(|at| segment.entry(at).is_dir());
            self.implied = Implied { path: dir.to_vec(), source: Some(source), group: None };
            if is_dir {
                self.implied.group = Some(self.waiting.len());
                self.waiting.push(Waiting { source, path: dir.to_vec(), rests: Vec::new() });
            }
        }
        if let Some(waiting) = self.implied.group.and_then(|group| self.waiting.get_mut(group)) {
            waiting.rests.push(Rest { name: rest.to_vec(), kind });
        }
        Ok(())
    }

    /// C: the second half of flist.c send1extra
    fn rests_work(&mut self, segment: &mut Segment, source: u32, path: &[u8], rests: Vec<Rest>) -> Result<()> {
        let content = Flags::CONTENT_DIR;
        for rest in rests {
            let name = [path, b"/", &rest.name].concat();
            if let Some(slash) = memchr::memchr(b'/', &rest.name) {
                let start = path.len() + 1;
                self.implied_incremental(segment, source, &name, start, start + slash, rest.kind)?;
                continue;
            }
            let known = match rest.kind {
                NameKind::Normal => None,
                NameKind::Missing => Some(Stat::default()),
                NameKind::Slash | NameKind::Dot => {
                    let Some(tree) = self.sources.get(source) else { continue };
                    match self.examiner.link_stat_named(tree, &name, true) {
                        Ok(stat) => Some(stat),
                        Err(error) => {
                            self.examiner.lost(tree.full_name(&name), true, &error);
                            continue;
                        }
                    }
                }
            };
            let flags = content.with(Flags::TOP_DIR);
            self.list_path(segment, source, &name, known, flags, Level::Found)?;
        }
        Ok(())
    }
}

// Directories.
impl Walker {
    fn scan_work(&mut self, segment: &mut Segment, source: u32, path: Vec<u8>, flags: Flags) -> Result<()> {
        if self.plan.inc_recurse && self.parent.is_some() && self.examiner.one_file_system > 0 {
            let Some(tree) = self.sources.get(source) else { return Ok(()) };
            match self.examiner.link_stat_named(tree, &path, self.examiner.copy_dirlinks) {
                Ok(stat) => self.examiner.filesystem = stat.dev,
                Err(error) => {
                    self.examiner.lost(tree.full_name(&path), true, &error);
                    return Ok(());
                }
            }
        }
        let start = segment.len();
        self.read_directory(segment, source, &path, flags)?;
        if self.plan.recurse && !self.plan.inc_recurse {
            let dirs = (start..segment.len()).rev().map(|at| segment.entry(at));
            let entered = dirs.filter(|entry| entry.is_dir() && !entry.flags().has(Flags::MOUNT_DIR));
            self.work.extend(entered.map(|entry| Work::Scan { source, path: entry.path(), flags }));
        }
        Ok(())
    }

    /// Lists what a directory holds. C: flist.c send_directory
    fn read_directory(&mut self, segment: &mut Segment, source: u32, path: &[u8], flags: Flags) -> Result<()> {
        let Self { sources, examiner, scan, name, .. } = self;
        let Some(tree) = sources.get(source) else { return Ok(()) };
        let (root, rel) = tree.place(path);
        let handle = match root.open_dir(rel) {
            Ok(handle) => handle,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                examiner.lost(tree.full_name(path), true, &error);
                return Ok(());
            }
            Err(error) => {
                examiner.fail(bytes!["opendir ", tree.full_name(path), " failed"], &error);
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
            match scan.next(&*handle) {
                Ok(Some(item)) => {
                    name.clear();
                    name.extend_from_slice(item.name);
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    examiner.fail(bytes!["readdir(", tree.full_name(path), ")"], &error);
                    return Ok(());
                }
            }
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
            let place = Place { source: tree, at: handle.as_fd(), leaf: name, dir, base: name };
            examiner.list(segment, place, None, flags, Level::Found)?;
        }
    }
}
