//! Directories: made before their contents, touched up after them, skipped with everything below when that fails.

use std::{
    collections::{HashMap, HashSet},
    io, mem,
};

use super::{Generator, alternatives::Other, decide::Visit, spare::Spared};
use crate::{
    bytes,
    dest::{delete::Room, make},
    error::{Error, ExitCode, Result},
    flist::{self, Entry},
    log::LogCode,
    meta::apply::How,
    options::Debug,
    proto::item::Flags,
    role::{Pass, Transfer},
    sys::stat::Stat,
};

/// What is remembered about directories while their contents are dealt with.
#[derive(Debug, Default)]
pub(super) struct Dirs {
    /// Made ahead of their own visit (incremental recursion), or with the destination. C: FLAG_DIR_CREATED
    created: HashSet<Vec<u8>>,
    /// Could not be made: everything below is passed over.
    skipped: Option<Vec<u8>>,
    /// Not made, this being a dry run: nothing below exists.
    dry_missing: Option<Vec<u8>>,
    /// By file index, when everything is touched up at the end. C: FLAG_MISSING_DIR
    missing: HashSet<i32>,
    /// The last directory visited: the parent of what comes next, mostly.
    last: Vec<u8>,
    /// The parent last checked.
    parent: Option<Vec<u8>>,
    /// Modes and times are brought back after the contents. C: dir_tweaking
    tweaking: bool,
    /// Modes to bring back, by path, of directories that were opened up for writing.
    opened: HashMap<Vec<u8>, u32>,
    retouch_times: bool,
}

impl Dirs {
    /// `created`: the destination itself was made in this run; `single`: it is the name of one file.
    pub fn new(transfer: &Transfer, created: bool, single: bool) -> Self {
        let options = &transfer.options;
        Self {
            created: created.then(|| b".".to_vec()).into_iter().collect(),
            tweaking: !options.list_only && !options.dry_run && !single,
            retouch_times: options.times && !options.omit_dir_times,
            ..Self::default()
        }
    }

    /// Whether the path lies below a directory that is passed over; forgets that directory once it does not.
    pub fn is_skipped(&mut self, path: &[u8]) -> bool {
        let below = self.skipped.as_deref().is_some_and(|dir| is_below(path, dir));
        if !below {
            self.skipped = None;
        }
        below
    }

    pub fn is_dry_missing(&self, path: &[u8]) -> bool {
        self.dry_missing.as_deref().is_some_and(|dir| is_below(path, dir))
    }

    pub fn left_dry_missing(&mut self) {
        self.dry_missing = None;
    }

    /// For another visit of something in `dir`: what depends on where the walk is, to be handed to [`Dirs::come_back`].
    pub fn leave(&mut self, dir: &[u8]) -> Place {
        self.parent = Some(dir.to_vec()); // it was checked
        Place { skipped: self.skipped.take(), dry_missing: self.dry_missing.take(), last: mem::take(&mut self.last) }
    }

    pub fn come_back(&mut self, place: Place) {
        let Place { skipped, dry_missing, last } = place;
        (self.skipped, self.dry_missing, self.last, self.parent) = (skipped, dry_missing, last, None);
    }

    pub fn mark_missing(&mut self, index: i32) {
        self.missing.insert(index);
    }
}

/// Where the walk is among the directories.
pub(super) struct Place {
    skipped: Option<Vec<u8>>,
    dry_missing: Option<Vec<u8>>,
    last: Vec<u8>,
}

/// Whether `path` lies somewhere below `dir`.
fn is_below(path: &[u8], dir: &[u8]) -> bool {
    dir == b"." || path.strip_prefix(dir).is_some_and(|rest| rest.first() == Some(&b'/'))
}

impl Generator<'_> {
    /// Makes a missing directory as soon as its parent is visited, so that the parent's time can be settled early;
    /// its own visit comes with its contents.
    pub(super) fn prepare_dir(&mut self, entry: Entry<'_>, path: &[u8]) -> Result<()> {
        let options = &self.transfer.options;
        let implied = !options.implied_dirs && entry.flags().has(flist::Flags::IMPLIED_DIR);
        if implied || !options.times || options.omit_dir_times || options.dry_run {
            return Ok(());
        }
        let old = self.look(entry, path)?;
        if self.spares(entry, path, &old, Pass::First, false)?.is_some() {
            return Ok(());
        }
        match old {
            Ok(old) if old.is_dir() || !self.make_room(path, &old, Room::Directory)? => return Ok(()),
            _ => {}
        }
        if self.root.mkdir(path, self.transfer.rules.new_dir_mode(entry.mode()) & 0o700).is_ok() {
            self.dirs.created.insert(path.to_vec());
        }
        Ok(()) // any error is told at the directory's own visit
    }

    /// The visit of a directory together with its contents (incremental recursion); whether it is missing.
    pub(super) fn visit_parent(&mut self, entry: Entry<'_>, index: i32) -> Result<bool> {
        let path = self.path_of(entry);
        self.debug(|| bytes!["recv_generator(", path, ",", index, ")"]);
        if self.transfer.options.list_only {
            self.list_entry(entry);
            return Ok(false);
        }
        if self.dirs.is_skipped(&path) {
            return Ok(true);
        }
        let old = self.look(entry, &path)?;
        match self.spares(entry, &path, &old, Pass::First, true)? {
            None => self.visit_dir(entry, index, &path, old),
            Some(Spared::Missing) => {
                self.pass_over(index, &path);
                Ok(true)
            }
            Some(Spared::Existing) => {
                // What is no directory is looked into all the same, and complained of; but not with `-x`, for which it is
                // on no file system.
                self.prune_visited(entry, &path, 0)?;
                Ok(false)
            }
        }
    }

    /// Makes or adjusts a directory; whether it is missing afterwards.
    pub(super) fn visit_dir(
        &mut self,
        entry: Entry<'_>,
        index: i32,
        path: &[u8],
        old: io::Result<Stat>,
    ) -> Result<bool> {
        let options = &self.transfer.options;
        if !options.implied_dirs && entry.flags().has(flist::Flags::IMPLIED_DIR) {
            return Ok(false);
        }
        let old = match old {
            Ok(stat) if stat.is_dir() => Some(stat),
            Ok(stat) if !self.make_room(path, &stat, Room::Directory)? => return Ok(self.skip_contents(index, path)),
            _ => None,
        };
        let missing = options.dry_run && old.is_none();
        if missing {
            self.dirs.dry_missing.get_or_insert_with(|| path.to_vec());
            self.dirs.mark_missing(index);
        }
        let just_made = self.dirs.created.remove(path);
        let known = old.filter(|_| !just_made);
        let wanted = self.wanted(entry, known.map(|stat| stat.mode));
        let visit = Visit { entry, index, path, wanted, pass: Pass::First };
        let Other::Make { mut like, told } = self.find_other(visit, known.as_ref())? else { return Ok(missing) };
        if self.itemizing && !told {
            if let Some(like) = &mut like {
                like.other_acls = Some(self.acls_differ(visit, like));
            }
            let bits = if known.is_none() { Flags::LOCAL_CHANGE } else { Flags::default() };
            self.itemize(visit, like.as_ref(), bits)?;
        }
        if old.is_none() && !self.make_dir(visit) {
            return Ok(self.skip_contents(index, path));
        }
        let how = How { fresh: just_made, ..How::default() };
        let how = match like {
            Some(like) if like.is_elsewhere() => {
                self.copy_xattrs(visit, &like);
                how
            }
            // With `-K` it may be a link that was looked through.
            like => {
                let same_acls = !self.transfer.options.keep_dirlinks;
                How { same_acls: same_acls && like.is_some_and(|like| like.other_acls == Some(false)), ..how }
            }
        };
        let changed = match &old {
            Some(stat) => self.dest().set_attrs(path, &visit.wanted, stat, how),
            None => self.dest().set_new_attrs(path, &visit.wanted),
        };
        if changed.any() && !told {
            self.tell_name(|| bytes![path, "/"]);
        }
        self.open_up(visit);
        self.dirs.last = path.to_vec();
        if !missing {
            let device = old.map_or_else(|| self.prune.filesystem(), |stat| stat.dev);
            self.prune_visited(entry, path, device)?;
        }
        Ok(missing)
    }

    fn make_dir(&self, visit: Visit<'_>) -> bool {
        let (root, path) = (&self.root, visit.path);
        let mode = self.transfer.rules.new_dir_mode(visit.wanted.mode);
        if self.transfer.options.relative
            && !self.transfer.options.dry_run
            && root.mkdir(path, mode & 0o7777).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            let _ = make::parents(self.dest(), path); // if it fails, so does the next attempt, which tells
        }
        make::directory(self.dest(), path, mode)
    }

    fn skip_contents(&mut self, index: i32, path: &[u8]) -> bool {
        self.log.say(LogCode::Error, "*** Skipping any contents from this failed directory ***");
        self.pass_over(index, path);
        true
    }

    /// Nothing below this directory is dealt with.
    pub(super) fn pass_over(&mut self, index: i32, path: &[u8]) {
        self.dirs.skipped = Some(path.to_vec());
        self.dirs.mark_missing(index);
    }

    /// Without privilege a directory must be ours to write while files go into it.
    fn open_up(&mut self, visit: Visit<'_>) {
        let mode = visit.wanted.mode;
        if self.transfer.rules.privileged || mode & 0o700 == 0o700 || !self.dirs.tweaking {
            return;
        }
        if let Err(error) = self.root.chmod(visit.path, mode & 0o7777 | 0o700) {
            let what = bytes!["failed to modify permissions on ", self.names.full(visit.path)];
            self.log.syserr(LogCode::ErrorXfer, what, &error);
        }
        self.dirs.opened.insert(visit.path.to_vec(), mode & 0o7777);
    }

    /// Brings back a directory's mode and time after its contents; `number`: its place among the directories, or in
    /// the whole list. C: generator.c touch_up_dirs
    pub(super) fn touch_up(&mut self, entry: Entry<'_>, number: i32, missing: bool) {
        let implied = !self.transfer.options.implied_dirs && entry.flags().has(flist::Flags::IMPLIED_DIR);
        if !self.dirs.tweaking || !entry.is_active() || implied {
            return;
        }
        let path = self.path_of(entry);
        if self.log.debug(Debug::Time) >= 2 {
            self.log.say(LogCode::Info, bytes!["touch_up_dirs: ", path, " (", number, ")"]);
        }
        let opened = self.dirs.opened.remove(&path);
        let root = &self.root;
        if missing {
            return;
        }
        if let Some(mode) = opened {
            let _ = root.chmod(&path, mode); // what cannot be was told at the visit
        }
        if self.dirs.retouch_times
            && let Ok(stat) = root.stat(&path)
            && !self.transfer.rules.same_time(stat.mtime, entry.mtime())
        {
            let _ = root.set_times(&path, None, Some(entry.mtime()));
        }
    }

    /// The same for all directories at once, when the list came whole.
    pub(super) fn touch_up_all(&mut self) {
        if self.incremental() || !self.dirs.retouch_times && self.dirs.opened.is_empty() {
            return;
        }
        let Some(segment) = self.list.segment(0).cloned() else { return };
        for (index, entry) in segment.entries().filter(|(_, entry)| entry.is_dir()) {
            self.touch_up(entry, index, self.dirs.missing.contains(&index));
        }
    }

    /// A whole list must name every directory before what is in it.
    pub(super) fn check_parent(&mut self, entry: Entry<'_>) -> Result<()> {
        let dir = entry.dir();
        if self.dirs.parent.as_deref() == Some(dir) {
            return Ok(());
        }
        let known = self.incremental() || dir.is_empty() || self.dirs.last == dir || self.list.has_dir(dir);
        if !known && !self.may_lack_parent(entry, dir) {
            let line = bytes!["ABORTING due to invalid path from sender: ", dir, "/", entry.base()];
            return Err(Error::new(ExitCode::PROTOCOL, line));
        }
        let options = &self.transfer.options;
        if options.relative
            && !options.implied_dirs
            && entry.mode() != 0
            && !dir.is_empty()
            && self.root.stat_follow(dir).is_err()
        {
            if options.dry_run {
                self.dirs.dry_missing = Some(dir.to_vec());
            } else if let Err(error) = make::parents(self.dest(), &entry.path()) {
                let what = bytes!["recv_generator: mkdir ", self.names.full(dir), " failed"];
                self.log.syserr(LogCode::ErrorXfer, what, &error);
            }
        }
        self.dirs.parent = Some(dir.to_vec());
        Ok(())
    }
}

impl Generator<'_> {
    /// An argument that the sender misses may lie in a directory that it misses as well, or did not list.
    fn may_lack_parent(&self, entry: Entry<'_>, dir: &[u8]) -> bool {
        if entry.mode() != 0 {
            return false;
        }
        match self.list.named(dir) {
            Some(parent) => parent.mode() == 0,
            None => {
                let line = bytes!["WARNING: parent dir is absent in the file list: ", dir];
                self.log.say(LogCode::Error, line);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn below_means_a_longer_path_through_the_directory() {
        assert!(is_below(b"a/b", b"a"));
        assert!(!is_below(b"ab", b"a"));
        assert!(!is_below(b"a", b"a"));
        assert!(is_below(b"anything", b"."));
    }

    #[test]
    fn a_directory_is_passed_over_only_while_we_are_below_it() {
        let mut dirs = super::Dirs { skipped: Some(b"a".to_vec()), ..Default::default() };
        assert!(dirs.is_skipped(b"a/x"));
        assert!(!dirs.is_skipped(b"b"));
        assert!(!dirs.is_skipped(b"a/y"));
    }
}
