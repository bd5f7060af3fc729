//! The trees that the source arguments lie in.
//!
//! What a user names is found by the kernel's own rules, links and all; where a list names it, the links must belong to
//! root or to us. What is found below it is read through a handle that links cannot lead out of. Options that say that
//! links are to be followed lift both. Arguments may be many and lie anywhere, so only the trees used last are kept open.

use std::{
    cell::{Cell, Ref, RefCell},
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    sync::Arc,
};

use super::Entry;
use crate::{
    bytes,
    fs::{Follow, Named, OutOfBounds, Root, is_out_of_bounds, is_untrusted_link},
    log::{Log, LogCode},
    options::{Debug, Options},
    sys::stat,
    text::path::{Clean, DotDot, clean, inside},
};

/// How names of directories are shown.
const TIDY: Clean =
    Clean { keep_dots: false, keep_trailing_slash: false, drop_trailing_dot: true, dot_dot: DotDot::Collapse };

/// How many trees are open at a time.
const OPEN: usize = 8;

/// A directory in which source arguments are looked up.
pub struct Source {
    /// As typed; `None`: the directory we start from. C: F_PATHNAME
    pub dir: Option<Vec<u8>>,
    /// What the kernel finds it by.
    path: Vec<u8>,
    /// Its absolute name, for messages.
    shown: Vec<u8>,
    /// Names are absolute (`-R /etc`): the tree is the whole file system.
    rooted: bool,
    /// Directories below that were named, and may be reached over links; the longest first.
    trusted: Vec<Vec<u8>>,
    /// The last number given out for it.
    visit: u32,
}

impl Source {
    /// A path of the list as messages show it, in quotes. C: util1.c full_fname
    pub fn full_name(&self, path: &[u8]) -> Vec<u8> {
        quoted(&self.shown, path)
    }

    /// Its absolute name.
    pub(super) fn shown(&self) -> &[u8] {
        &self.shown
    }

    fn open(&self, rules: &Rules) -> io::Result<Trees> {
        let named =
            Root::open_named(&self.path, Follow::Always, rules.named.follow())?.sparing_atimes(rules.spares_atimes);
        stat::lstat_at(named.handle(), c".")?; // one may be opened without being searchable
        let tree = named.with_rule(rules.below);
        let (named, bounds) = (named.within(&rules.named), rules.named.check(&named));
        let mut trees = Trees { named, bounds, tree, rooted: self.rooted, beyond: Vec::new() };
        for dir in self.trusted.iter().rev() {
            trees.trust(dir);
        }
        Ok(trees)
    }
}

fn quoted(dir: &[u8], path: &[u8]) -> Vec<u8> {
    let mut full = vec![b'"'];
    if path.first() != Some(&b'/') {
        full.extend_from_slice(dir);
        if !dir.ends_with(b"/") {
            full.push(b'/');
        }
    }
    full.extend_from_slice(path);
    full.push(b'"');
    full
}

/// A source's directory, open.
pub struct Trees {
    /// For a look at what was named.
    named: Root,
    /// An error if the directory itself is out of bounds: then so is what a list names in it.
    bounds: io::Result<()>,
    /// For reading directories and files: links lead no further than the options allow.
    tree: Root,
    rooted: bool,
    /// Directories that arguments name by way of links out of `tree`: their names, and they themselves.
    beyond: Vec<(Vec<u8>, Root)>,
}

impl Trees {
    /// The tree in which a path of the list is read, and the path there.
    pub fn place<'p>(&self, path: &'p [u8]) -> (&Root, &'p [u8]) {
        for (dir, tree) in &self.beyond {
            match path.strip_prefix(dir.as_slice()) {
                Some([]) => return (tree, b""),
                Some([b'/', rest @ ..]) => return (tree, rest),
                _ => {}
            }
        }
        (&self.tree, self.below(path))
    }

    /// Path below the directory itself.
    fn below<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        if self.rooted { path.strip_prefix(b"/").unwrap_or(path) } else { path }
    }

    /// The directory handle, and the name there, of what the user named.
    pub(super) fn parent<'p>(&self, path: &'p [u8]) -> io::Result<(Arc<OwnedFd>, &'p [u8])> {
        match &self.bounds {
            Err(_) => Err(io::Error::other(OutOfBounds)),
            Ok(()) => self.named.parent(self.below(path)),
        }
    }

    /// Whether what was named may be looked at through the link that it is.
    ///
    /// # Errors
    /// In a list, a link that leads in a circle, or over one that belongs to somebody else.
    pub(super) fn may_follow(&self, path: &[u8]) -> io::Result<()> {
        let refused = |error: &io::Error| {
            error.raw_os_error() == Some(libc::ELOOP) || is_untrusted_link(error) || is_out_of_bounds(error)
        };
        match self.named.follow() {
            Follow::Always => Ok(()),
            _ => self.named.directory(self.below(path)).err().filter(refused).map_or(Ok(()), Err),
        }
    }

    /// Makes a named directory readable, wherever links on the way to it lead; whether that took anything.
    fn trust(&mut self, dir: &[u8]) -> bool {
        let (tree, rel) = self.place(dir);
        if tree.follow() == Follow::Always || tree.directory(rel).is_ok() {
            return false;
        }
        let found = self.named.directory(self.below(dir)).and_then(|handle| handle.try_clone());
        let Ok(handle) = found else { return false };
        let beyond = Root::from_handle(handle, self.tree.follow()).sparing_atimes(self.tree.spares_atimes());
        self.beyond.push((dir.to_vec(), beyond));
        self.beyond.sort_by_key(|(dir, _)| std::cmp::Reverse(dir.len()));
        true
    }
}

/// All sources of a transfer, by the number that entries carry.
pub struct Sources {
    list: Vec<Source>,
    known: HashMap<(Option<Vec<u8>>, bool), u32>,
    /// Where in `list` each number stands. Coming back to a directory after another one gives a new number: the
    /// reference scans what is named twice in this way twice, and counts it so.
    visits: Vec<u32>,
    /// The trees used last, by their place in `list`; the latest last.
    open: RefCell<Vec<(u32, Trees)>>,
    /// The absolute name of the directory that relative arguments start from.
    start: Vec<u8>,
    /// The same as typed, where it is not the current directory.
    base: Option<Vec<u8>>,
    rules: Rules,
    /// The number of the directory that was gone to last; `None`: where we started. C: pathname
    here: Cell<Option<u32>>,
}

/// Which links are followed, on the way to what was named and below it, and what reading leaves behind.
struct Rules {
    named: Named,
    below: Follow,
    spares_atimes: bool,
}

impl Sources {
    pub fn new(options: &Options) -> io::Result<Self> {
        use std::os::unix::ffi::OsStringExt;
        let free = options.copy_links || options.copy_unsafe_links || options.copy_dirlinks || options.insecure_links;
        Ok(Self {
            list: Vec::new(),
            known: HashMap::new(),
            visits: Vec::new(),
            open: RefCell::default(),
            start: std::env::current_dir()?.into_os_string().into_vec(),
            base: None,
            here: Cell::new(None),
            rules: Rules {
                named: match free || options.files_from.is_none() {
                    true => Follow::Always.into(),
                    false => Named::new(false, options.confine_root.as_deref()),
                },
                below: if free { Follow::Always } else { Follow::Inside },
                spares_atimes: options.open_noatime,
            },
        })
    }

    /// Relative arguments are looked up in `base` from now on, not in the current directory; on failure its full name
    /// for the message.
    pub(super) fn start_from(&mut self, base: &[u8], log: &Log) -> Result<(), (Vec<u8>, io::Error)> {
        let opened = Root::open_named(base, Follow::Always, Follow::Always);
        opened
            .and_then(|root| stat::lstat_at(root.handle(), c"."))
            .map_err(|error| (quoted(&self.start, base), error))?;
        self.start = absolute(&self.start, base);
        self.base = Some(base.to_vec());
        if base != b"." {
            tell_change(&self.start, log);
        }
        Ok(())
    }

    /// Something is looked at in this directory: says so where the last one was another, as `--debug=chdir` has it. We
    /// go by handles. C: flist.c change_pathname
    pub fn go_to(&self, number: u32, log: &Log) {
        if log.debug(Debug::Chdir) == 0 || self.here.get() == Some(number) {
            return;
        }
        let dir =
            |number: Option<u32>| number.and_then(|number| self.get(number)).and_then(|source| source.dir.as_ref());
        let (before, after) = (dir(self.here.replace(Some(number))), dir(Some(number)));
        let stays = before.is_none() && after.is_none();
        if let Some(source) = self.get(number).filter(|_| !stays) {
            tell_change(source.dir.as_ref().map_or(&self.start, |_| &source.shown), log);
        }
    }

    /// Nothing is there to go to. C: in flist.c change_pathname
    pub(super) fn go_back(&self, log: &Log) {
        self.here.set(None);
        tell_change(&self.start, log);
    }

    pub fn get(&self, number: u32) -> Option<&Source> {
        self.list.get(*self.visits.get(number as usize)? as usize)
    }

    /// The trees of a source, open; `None` if it is gone. To be let go before another source is asked for.
    pub fn trees(&self, number: u32) -> Option<Ref<'_, Trees>> {
        let at = *self.visits.get(number as usize)?;
        if self.open.borrow().last().is_none_or(|(latest, _)| *latest != at) {
            let mut open = self.open.try_borrow_mut().ok()?;
            let trees = match open.iter().position(|(known, _)| *known == at) {
                Some(known) => open.remove(known).1,
                None => self.list.get(at as usize)?.open(&self.rules).ok()?,
            };
            keep(&mut open, at, trees);
        }
        Ref::filter_map(self.open.borrow(), |open| open.last().map(|(_, trees)| trees)).ok()
    }

    /// The tree of an entry that a walker listed, and the entry's path below it; `None` if it is gone. To be let go
    /// before another entry is asked for.
    pub fn of(&self, entry: Entry<'_>) -> Option<(Ref<'_, Root>, Vec<u8>)> {
        let trees = self.trees(entry.source())?;
        let path = entry.path();
        let rel = trees.place(&path).1.to_vec();
        Some((Ref::map(trees, |trees| trees.place(&path).0), rel))
    }

    /// To be told of the directories in which named files lie, and of named directories that are links.
    pub(super) fn trust(&mut self, number: u32, dir: &[u8]) {
        if self.trees(number).is_none() {
            return;
        }
        let Some((at, trees)) = self.open.get_mut().last_mut() else { return };
        if trees.trust(dir)
            && let Some(source) = self.list.get_mut(*at as usize)
        {
            source.trusted.push(dir.to_vec());
            source.trusted.sort_by_key(|dir| std::cmp::Reverse(dir.len()));
        }
    }

    /// The number of the directory in which a name is looked up; on failure also its full name for the message.
    pub(super) fn enter(&mut self, dir: Option<&[u8]>, name: &[u8]) -> Result<u32, (Vec<u8>, io::Error)> {
        let key = (dir.map(<[u8]>::to_vec), name.first() == Some(&b'/'));
        if let Some(&known) = self.known.get(&key) {
            return Ok(self.visit(known));
        }
        let (dir, rooted) = key.clone();
        let shown = dir.as_deref().map_or(self.start.clone(), |dir| absolute(&self.start, dir));
        let path = if rooted { b"/".to_vec() } else { self.path(dir.as_deref()) };
        let source = Source { dir, path, shown, rooted, trusted: Vec::new(), visit: 0 };
        let trees = source.open(&self.rules).map_err(|error| {
            (quoted(&self.start, if rooted { b"/" } else { source.dir.as_deref().unwrap_or(b".") }), error)
        })?;
        let at = self.list.len() as u32;
        keep(self.open.get_mut(), at, trees);
        self.known.insert(key, at);
        self.list.push(source);
        Ok(self.new_visit(at))
    }

    fn visit(&mut self, at: u32) -> u32 {
        match self.list.get(at as usize) {
            // where we were started is always the same place
            Some(source) if source.dir.is_none() || source.visit as usize + 1 == self.visits.len() => source.visit,
            _ => self.new_visit(at),
        }
    }

    fn new_visit(&mut self, at: u32) -> u32 {
        let visit = self.visits.len() as u32;
        self.visits.push(at);
        if let Some(source) = self.list.get_mut(at as usize) {
            source.visit = visit;
        }
        visit
    }

    fn path(&self, dir: Option<&[u8]>) -> Vec<u8> {
        match (&self.base, dir) {
            (None, dir) => dir.unwrap_or(b".").to_vec(),
            (Some(base), None) => base.clone(),
            (Some(_), Some(dir)) if dir.first() == Some(&b'/') => dir.to_vec(),
            (Some(base), Some(dir)) => inside(base, dir),
        }
    }
}

/// Says what would be the working directory now. C: util1.c change_dir
fn tell_change(dir: &[u8], log: &Log) {
    if log.debug(Debug::Chdir) > 0 {
        log.say(LogCode::Info, bytes!["[", log.speaker().name(), "] change_dir(", dir, ")"]);
    }
}

/// A directory's absolute name, as messages show it.
fn absolute(from: &[u8], dir: &[u8]) -> Vec<u8> {
    let whole = if dir.first() == Some(&b'/') { dir.to_vec() } else { inside(from, dir) };
    clean(&whole, TIDY).unwrap_or(whole)
}

fn keep(open: &mut Vec<(u32, Trees)>, at: u32, trees: Trees) {
    if open.len() >= OPEN {
        open.remove(0);
    }
    open.push((at, trees));
}
