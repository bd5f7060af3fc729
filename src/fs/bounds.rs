//! How paths that the operator names are taken: whose links may lead on, and which directory nothing may lead out of.
//!
//! The bounds (`--confine-root`) are judged on the directories that were opened, never on names: who stands in one asks
//! which directories are above it. The way down to the bounds counts as not outside yet, so an absolute path gets there;
//! but what is found at the end of a path is inside, or refused.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use super::{
    Follow, Root,
    root::{open_file_within, open_within},
};
use crate::sys::{
    at::{self, CWD},
    stat::{self, Stat},
};

/// The rule for links on the way to what the operator names, and the bounds, if there are any.
#[derive(Clone, Debug)]
pub struct Named {
    pub(super) follow: Follow,
    pub(super) bounds: Option<Arc<Bounds>>,
}

impl Named {
    /// Links of root and of the user lead on, or `everyone`'s; `within` is the directory that nothing may lead out of.
    pub fn new(everyone: bool, within: Option<&[u8]>) -> Self {
        let follow = if everyone { Follow::Always } else { Follow::Trusted };
        Self { follow, bounds: within.map(|dir| Arc::new(Bounds::open(dir))) }
    }

    /// The rule for links.
    pub fn follow(&self) -> Follow {
        self.follow
    }

    pub fn is_bounded(&self) -> bool {
        self.bounds.is_some()
    }

    /// Whether an open directory is within the bounds, if there are any.
    ///
    /// # Errors
    /// [`OutOfBounds`]
    pub fn check(&self, dir: &Root) -> io::Result<()> {
        match self.bounds.as_ref().map(|bounds| bounds.judge(dir.handle())).transpose()? {
            None | Some(Standing::Inside) => Ok(()),
            Some(_) => Err(refused()),
        }
    }

    /// Opens a directory, relative to the current one if the path is; `below` is the rule for what it holds.
    pub fn open_dir(&self, path: &[u8], below: Follow) -> io::Result<Root> {
        Ok(Root::from_named(open_within(CWD, path, self)?, below, self))
    }

    /// Opens a file, relative to the current directory if the path is; `flags` are `O_*` bits. Links are followed in the
    /// last component too.
    pub fn open_file(&self, path: &[u8], flags: i32) -> io::Result<std::fs::File> {
        open_file_within(CWD, path, self, flags, 0)
    }
}

impl From<Follow> for Named {
    fn from(follow: Follow) -> Self {
        Self { follow, bounds: None }
    }
}

/// A path led out of the bounds. Reads as the system error that the reference reports.
#[derive(Debug, thiserror::Error)]
#[error("Too many levels of symbolic links ({})", libc::ELOOP)]
pub struct OutOfBounds;

/// Whether a path was refused because it led out of the bounds.
pub fn is_out_of_bounds(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<OutOfBounds>())
}

pub(super) fn refused() -> io::Error {
    io::Error::other(OutOfBounds)
}

/// Where a walk stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// On the way down from the top to the bounds.
    Above,
    Inside,
    /// Among the kernel's own names for open files, which are passed and never opened.
    Passing,
}

/// A directory, and those above it.
#[derive(Debug)]
pub(super) struct Bounds {
    /// Device and inode, from the directory itself up to the top. Empty if it could not be opened: then nothing is inside.
    line: Vec<(u64, u64)>,
}

impl Bounds {
    fn open(path: &[u8]) -> Self {
        let line = at::with_name(path, |path| at::open_dir_handle(CWD, path)).and_then(line_of);
        Self { line: line.unwrap_or_default() }
    }

    /// Where an open directory stands.
    ///
    /// # Errors
    /// [`OutOfBounds`]
    pub fn judge(&self, dir: BorrowedFd<'_>) -> io::Result<Standing> {
        let own = line_of(at::open_dir_handle(dir, c".")?)?;
        let bounds = self.line.first().ok_or_else(refused)?;
        if own.contains(bounds) {
            return Ok(Standing::Inside);
        }
        match own.first() {
            Some(dir) if self.line.contains(dir) => Ok(Standing::Above),
            _ => Err(refused()),
        }
    }

    /// Where one stands after going down by a plain name from where `standing` was right; `dir` is what was entered.
    pub fn down(&self, standing: Standing, dir: impl AsFd, stat: &Stat) -> io::Result<Standing> {
        let place = (stat.dev, stat.ino);
        match standing {
            Standing::Inside => Ok(Standing::Inside),
            Standing::Above if self.line.first() == Some(&place) => Ok(Standing::Inside),
            Standing::Above if self.line.contains(&place) => Ok(Standing::Above),
            _ if stat::is_procfs(dir) => Ok(Standing::Passing),
            _ => Err(refused()),
        }
    }
}

/// A directory and all above it, by device and inode.
fn line_of(mut dir: OwnedFd) -> io::Result<Vec<(u64, u64)>> {
    let mut line = Vec::new();
    loop {
        let stat = stat::stat_fd(&dir)?;
        let place = (stat.dev, stat.ino);
        // The top is its own parent.
        if line.last() == Some(&place) {
            return Ok(line);
        }
        line.push(place);
        dir = at::open_dir_handle(dir.as_fd(), c"..")?;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::{fd::AsRawFd, unix::fs::symlink},
        path::Path,
    };

    use super::*;

    /// `root/in/file`, `root/a/b`, `out/secret`, and links between them.
    fn layout() -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        for dir in ["root/in", "root/a/b", "out/dir"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        fs::write(at("root/in/file"), "inside").unwrap();
        fs::write(at("out/secret"), "outside").unwrap();
        fs::write(at("beside"), "outside").unwrap();
        for (target, link) in [
            ("../out", "root/up"),
            ("in", "root/near"),
            ("../root/in", "root/round"),
            (".", "root/self"),
            ("../../out/secret", "root/in/leaf"),
            ("file", "root/in/good"),
        ] {
            symlink(target, at(link)).unwrap();
        }
        symlink(at("out"), at("root/absolute")).unwrap();
        symlink(at("root/in"), at("out/back")).unwrap();
        temp
    }

    fn named(temp: &Path) -> Named {
        Named::new(false, Some(temp.join("root").as_os_str().as_encoded_bytes()))
    }

    fn full(temp: &Path, path: &str) -> Vec<u8> {
        temp.join(path).into_os_string().into_encoded_bytes()
    }

    /// What an operation comes to: done, refused, or another error.
    fn came_to<T>(result: io::Result<T>) -> &'static str {
        match result {
            Ok(_) => "done",
            Err(error) if is_out_of_bounds(&error) => "refused",
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => "missing",
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_directory_may_be_anywhere_inside() {
        let temp = layout();
        let named = named(temp.path());
        for (path, want) in [
            ("root", "done"),
            ("root/in", "done"),
            ("root/near", "done"),
            ("root/round", "done"),
            ("root/self/self/in", "done"),
            ("root/in/../a/b", "done"),
            ("root/../root/in", "done"),
            ("root/none", "missing"),
            ("none", "missing"),
            ("", "refused"),
            ("out", "refused"),
            ("out/none", "refused"),
            ("out/back", "refused"),
            ("out/../root", "refused"),
            ("root/up", "refused"),
            ("root/up/dir", "refused"),
            ("root/absolute", "refused"),
            ("root/in/../..", "refused"),
            ("root/in/../../out/dir", "refused"),
        ] {
            assert_eq!(came_to(named.open_dir(&full(temp.path(), path), Follow::Never)), want, "{path}");
        }
        assert_eq!(came_to(named.open_dir(b"/", Follow::Never)), "refused");
        assert_eq!(came_to(named.open_dir(b"/etc", Follow::Never)), "refused");
    }

    #[test]
    fn a_file_is_inside_or_refused() {
        let temp = layout();
        let named = named(temp.path());
        for (path, want) in [
            ("root/in/file", "done"),
            ("root/in/good", "done"),
            ("root/near/good", "done"),
            ("root/in/none", "missing"),
            ("root/in/leaf", "refused"),
            ("root/up/secret", "refused"),
            ("root/absolute/secret", "refused"),
            ("out/secret", "refused"),
            ("beside", "refused"),
        ] {
            assert_eq!(came_to(named.open_file(&full(temp.path(), path), libc::O_RDONLY)), want, "{path}");
        }
        let fresh = full(temp.path(), "fresh");
        assert_eq!(came_to(named.open_file(&fresh, libc::O_WRONLY | libc::O_CREAT)), "missing");
        assert!(!temp.path().join("fresh").exists());
    }

    #[test]
    fn as_seen_from_a_directory() {
        let temp = layout();
        let named = named(temp.path());
        let from = |path: &str| Root::open(&full(temp.path(), path), Follow::Never).unwrap();
        let beside = |root: &Root, path: &[u8]| came_to(root.open_beside(path, &named, Follow::Never));
        let inside = from("root/a/b");
        assert_eq!(beside(&inside, b"."), "done");
        assert_eq!(beside(&inside, b"../../in"), "done");
        assert_eq!(beside(&inside, b"../../../root/in"), "done");
        assert_eq!(beside(&inside, b"../../.."), "refused");
        assert_eq!(beside(&inside, b"../../../out"), "refused");
        assert_eq!(beside(&from("out/dir"), b"."), "refused");
        assert_eq!(beside(&from("out"), b"../root"), "refused");
        assert_eq!(beside(&from("out"), &full(temp.path(), "root/in")), "done");
        let made = |path: &[u8]| {
            came_to(inside.make_beside(path, &|above, name| above.mkdir(name, 0o700), &named, Follow::Never))
        };
        assert_eq!((made(b"../c/d"), made(b"../../../out/new"), made(b"../../up/new")), ("done", "refused", "refused"));
        assert!(temp.path().join("root/a/c/d").is_dir() && !temp.path().join("out/new").exists());
    }

    #[test]
    fn links_below_lead_nowhere_else_either() {
        let temp = layout();
        let root = named(temp.path()).open_dir(&full(temp.path(), "root"), Follow::Trusted).unwrap();
        let clone = root.try_clone().unwrap();
        for root in [&root, &clone] {
            assert_eq!(came_to(root.stat(b"near/file")), "done");
            assert_eq!(came_to(root.stat(b"up/secret")), "refused");
            assert_eq!(came_to(root.create_new(b"absolute/new", 0o600)), "refused");
            assert_eq!(came_to(root.open_read_follow(b"in/leaf", 0)), "refused");
            assert_eq!(came_to(root.open_read_follow(b"in/good", 0)), "done");
        }
    }

    /// What a wrapper opened for us, and hands over by the kernel's name for it.
    #[test]
    fn open_files_are_judged_by_where_they_are() {
        let temp = layout();
        let named = named(temp.path());
        let open = |path: &str| fs::File::open(temp.path().join(path)).unwrap();
        let (inside, outside, good, secret) = (open("root/in"), open("out"), open("root/in/file"), open("out/secret"));
        let pin = |file: &fs::File, rest: &str| format!("/proc/self/fd/{}{rest}", file.as_raw_fd()).into_bytes();
        let dir = |path: Vec<u8>| came_to(named.open_dir(&path, Follow::Never));
        let file = |path: Vec<u8>| came_to(named.open_file(&path, libc::O_RDONLY));
        assert_eq!((dir(pin(&inside, "")), dir(pin(&outside, ""))), ("done", "refused"));
        assert_eq!((dir(pin(&inside, "/../a")), dir(pin(&inside, "/../../out"))), ("done", "refused"));
        assert_eq!((file(pin(&inside, "/file")), file(pin(&inside, "/leaf"))), ("done", "refused"));
        assert_eq!((file(pin(&good, "")), file(pin(&secret, ""))), ("done", "refused"));
        for path in ["/proc/self/fd", "/proc/self/environ", "/proc/self/fd/../../../etc/passwd", "/proc/version"] {
            assert_eq!(file(path.into()), "refused", "{path}");
        }
        fs::create_dir(temp.path().join("root/gone")).unwrap();
        let gone = open("root/gone");
        fs::remove_dir(temp.path().join("root/gone")).unwrap();
        assert_eq!((dir(pin(&gone, "")), file(pin(&gone, "/x"))), ("missing", "missing"));
    }

    #[test]
    fn the_top_bounds_nothing_and_what_is_missing_everything() {
        let temp = layout();
        let secret = full(temp.path(), "root/up/secret");
        assert_eq!(came_to(Named::new(false, Some(b"/")).open_file(&secret, libc::O_RDONLY)), "done");
        let nowhere = Named::new(false, Some(b"/no/such/directory"));
        assert_eq!(came_to(nowhere.open_file(&secret, libc::O_RDONLY)), "refused");
        assert_eq!(came_to(nowhere.open_dir(b".", Follow::Never)), "refused");
    }
}
