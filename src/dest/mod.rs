//! Everything that changes the destination: files come into being under a temporary name, and go into place whole.

pub mod alternatives;
pub mod backup;
pub mod children;
pub mod commit;
pub mod copy;
pub mod defaults;
pub mod delete;
pub mod duplicate;
pub mod inplace;
pub mod make;
pub mod partial;
pub mod places;
pub mod target;
pub mod temp;
pub mod write;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use self::places::Places;
use crate::{
    error::{Error, ExitCode},
    flist::{Entry, Flags},
    fs::Root,
    log::{Log, LogCode},
    meta::{
        Names, Rules, Wanted,
        apply::{Changed, How, Setter, Target},
        fake, xattr,
    },
    options::Options,
    sys::{
        at::with_name,
        stat::{Stat, lstat_at, stat_at},
    },
};

/// The destination as one role works on it: its tree, the rules, and the voice to complain with.
#[derive(Clone, Copy)]
pub struct Dest<'a> {
    pub root: &'a Root,
    pub names: &'a Names,
    pub rules: &'a Rules,
    pub options: &'a Options,
    /// Where what gives way and what is not finished goes.
    pub places: &'a Places,
    pub log: &'a Log,
}

impl<'a> Dest<'a> {
    /// What stands at `path`; with `through_links` (`--keep-dirlinks`, for a directory) a link to a directory counts as
    /// one, even if it leads where the tree's rule will let nobody go: it stays, and what would go through it fails.
    /// C: flist.c link_stat
    pub fn look(self, path: &[u8], through_links: bool) -> io::Result<Stat> {
        let stat = self.stat(path)?;
        if !through_links || !stat.is_symlink() {
            return Ok(stat);
        }
        let (dir, leaf) = self.root.parent(path)?;
        Ok(with_name(leaf, |leaf| stat_at(dir.as_fd(), leaf)).ok().filter(Stat::is_dir).unwrap_or(stat))
    }

    /// What stands at `path`, a link itself; with `--fake-super` as it is told. C: xattrs.c x_lstat
    ///
    /// # Errors
    /// With `--fake-super` see [`fake::look`].
    pub fn stat(self, path: &[u8]) -> io::Result<Stat> {
        self.stat_in(self.root, path, || path.to_vec())
    }

    /// The same in another tree, where messages call it `shown`.
    pub fn stat_in(self, root: &Root, path: &[u8], shown: impl Fn() -> Vec<u8>) -> io::Result<Stat> {
        if !self.rules.faked {
            return root.stat(path);
        }
        let (dir, leaf) = root.parent(path)?;
        self.stat_at(dir.as_fd(), leaf, shown)
    }

    /// The same by a name in an open directory.
    pub fn stat_at(self, dir: BorrowedFd<'_>, name: &[u8], shown: impl Fn() -> Vec<u8>) -> io::Result<Stat> {
        with_name(name, |name| match self.rules.faked {
            true => Ok(fake::look(dir, name, &|| self.names.full(&shown()), self.log)?.0),
            false => lstat_at(dir, name),
        })
    }

    /// Gives what stands at `path` its attributes; `stat` is what it has now. C: rsync.c set_file_attrs
    pub fn set_attrs(self, path: &[u8], wanted: &Wanted<'_>, stat: &Stat, how: How) -> Changed {
        self.setter().set(Target::At(self.root, path), path, wanted, stat, how)
    }

    /// As [`Dest::set_attrs`] for what was made in this run; it is looked at first.
    pub fn set_new_attrs(self, path: &[u8], wanted: &Wanted<'_>) -> Changed {
        if self.rules.dry_run {
            return Changed { mode: true, ..Changed::default() };
        }
        match self.stat(path) {
            Ok(stat) => self.set_attrs(path, wanted, &stat, How { fresh: true, ..How::default() }),
            Err(error) => {
                self.failed("stat ", path, " failed", &error);
                Changed::default()
            }
        }
    }

    fn setter(self) -> Setter<'a> {
        Setter { rules: self.rules, names: self.names, log: self.log }
    }

    /// `rsync: [receiver] BEFORE"/full/path"AFTER: reason (errno)`, which makes the exit status 23.
    fn failed(self, before: &str, path: &[u8], after: &str, error: &io::Error) {
        self.log.syserr(LogCode::ErrorXfer, crate::bytes![before, self.names.full(path), after], error);
    }

    /// As [`Dest::failed`], where going on makes no sense.
    #[track_caller]
    fn fatal(self, code: LogCode, before: &str, path: &[u8], error: &io::Error) -> Error {
        self.log.syserr(code, crate::bytes![before, self.names.full(path)], error);
        Error::silent(ExitCode::FILE_IO)
    }

    /// The end of the run because received data could not be written; `path` is the final name.
    #[track_caller]
    pub fn write_failed(self, path: &[u8], error: &io::Error) -> Error {
        self.fatal(LogCode::ErrorXfer, "write failed on ", path, error)
    }
}

/// What an entry asks for.
pub fn wanted(entry: Entry<'_>) -> Wanted<'_> {
    Wanted {
        mode: entry.mode(),
        size: entry.size(),
        mtime: entry.mtime(),
        atime: entry.atime(),
        uid: entry.uid(),
        gid: (!entry.flags().has(Flags::SKIP_GROUP)).then(|| entry.gid()),
        rdev: entry.rdev(),
        link_target: entry.link_target(),
        sum: entry.sum(),
        acls: entry.acls(),
        xattrs: Some(entry.xattrs().map_or(&xattr::NONE, |list| list)),
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    use std::{
        os::unix::ffi::OsStrExt,
        path::Path,
        sync::{Arc, Mutex},
    };

    use super::{
        children::Lister,
        delete::{Removals, Remover},
        *,
    };
    use crate::{
        filter::Filters,
        flist::order::Order,
        fs::Follow,
        hash::Algorithm,
        log::{Sink, Speaker},
        options::{Info, Levels},
    };

    #[derive(Default)]
    struct Ear(Mutex<Vec<u8>>);

    impl Sink for Ear {
        fn line(&self, _: LogCode, line: &[u8]) {
            self.0.lock().unwrap().extend_from_slice(line);
        }
    }

    /// A destination in a directory of its own, and everything said about it.
    pub(crate) struct Fixture {
        pub dir: tempfile::TempDir,
        pub options: Options,
        pub rules: Rules,
        root: Root,
        names: Names,
        places: Places,
        log: Log,
        ear: Arc<Ear>,
    }

    impl Fixture {
        /// With the rules of `-rltpgo`, on whatever file system temporary files go to.
        pub(crate) fn new() -> Self {
            Self::in_dir(tempfile::tempdir().unwrap(), |_| {})
        }

        pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
            Self::in_dir(tempfile::tempdir().unwrap(), change)
        }

        pub(crate) fn in_dir(dir: tempfile::TempDir, change: impl FnOnce(&mut Options)) -> Self {
            let mut options =
                Options { perms: true, times: true, owner: true, group: true, links: true, ..Options::default() };
            change(&mut options);
            let mut levels = Levels::default();
            levels.set_info(Info::Name, 1);
            let ear = Arc::new(Ear::default());
            let base = dir.path().as_os_str().as_bytes();
            let root = Root::open(base, Follow::Never).unwrap();
            let log = Log::new(levels, Arc::<Ear>::clone(&ear), Speaker::Receiver);
            Self {
                rules: Rules::new(&options, Algorithm::Md5, 0o022),
                places: Places::open(&root, &options, &log).unwrap(),
                root,
                names: Names { base: base.to_vec(), module: None },
                log,
                ear,
                options,
                dir,
            }
        }

        pub(crate) fn dest(&self) -> Dest<'_> {
            let Self { root, names, rules, options, places, log, .. } = self;
            Dest { root, names, rules, options, places, log }
        }

        pub(crate) fn filters(&self) -> Filters {
            let mut filters = Filters::from_options(&self.options, &self.log).unwrap();
            filters.start_at(&self.names.base);
            filters
        }

        /// Nothing removed yet, by the owner of the files.
        pub(crate) fn removals(&self) -> Removals {
            let stat = self.root.stat(b".").unwrap();
            Removals::new(Lister::new(self.dest(), Order::Tree, stat.uid, stat.dev, false))
        }

        /// Lets something remove things that nobody is told of.
        pub(crate) fn removing<T>(&self, act: impl FnOnce(&mut Remover<'_>) -> T) -> T {
            let (mut removals, mut filters) = (self.removals(), self.filters());
            act(&mut Remover {
                dest: self.dest(),
                removals: &mut removals,
                filters: &mut filters,
                on_delete: &mut |_, _| true,
                backups: None,
            })
        }

        pub(crate) fn wanted(&self, mode: u32) -> Wanted<'static> {
            let stat = self.root.stat(b".").unwrap();
            Wanted {
                mode,
                size: 0,
                mtime: (1_000_000_000, 123),
                atime: None,
                uid: stat.uid,
                gid: Some(stat.gid),
                rdev: (0, 0),
                link_target: b"",
                sum: None,
                acls: None,
                xattrs: None,
            }
        }

        pub(crate) fn base(&self) -> &str {
            self.path().to_str().unwrap()
        }

        pub(crate) fn path(&self) -> &Path {
            self.dir.path()
        }

        /// The names at the top, sorted.
        pub(crate) fn names(&self) -> Vec<String> {
            let mut names: Vec<_> = std::fs::read_dir(self.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }

        /// All lines since the last call.
        pub(crate) fn said(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.ear.0.lock().unwrap())).unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::fixture::Fixture;

    #[test]
    fn a_link_to_a_directory_may_count_as_one() {
        let fixture = Fixture::new();
        std::fs::create_dir(fixture.path().join("d")).unwrap();
        for (name, target) in [("in", "d"), ("out", "/"), ("none", "missing"), ("null", "/dev/null")] {
            symlink(target, fixture.path().join(name)).unwrap();
        }
        let is_dir = |name: &[u8], through| fixture.dest().look(name, through).unwrap().is_dir();
        assert!(is_dir(b"in", true) && is_dir(b"out", true) && is_dir(b"d", true));
        assert!(!is_dir(b"in", false) && !is_dir(b"none", true) && !is_dir(b"null", true));
        assert!(fixture.dest().look(b"missing", true).is_err());
    }
}
