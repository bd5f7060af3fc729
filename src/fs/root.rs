//! A directory handle that relative paths cannot leave, and everything one may do below it.
//!
//! Parents are found by [`super::walk`] under the root's policy about links, and the handles of the last few are
//! kept: while work goes on in one directory, an operation is one system call on (handle, name). The last component
//! is never followed unless the operation's name says so.

use std::{
    cell::{Cell, RefCell},
    ffi::CStr,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::errno::Errno;

use super::{
    bounds::{Bounds, Named},
    parents::{Parents, clean, split},
    walk::{self, Found, Last},
};
use crate::sys::{
    at::{self, Time},
    stat::{self, Stat},
    xattr,
};

/// Which symbolic links may be followed on the way to a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follow {
    /// None: a link where a directory should be is `ELOOP`.
    Never,
    /// Those that stay inside the tree.
    Inside,
    /// Those that root or the effective user owns, wherever they lead.
    Trusted,
    /// All, as the kernel does.
    Always,
}

/// A tree: an open directory and the rule about links below it.
///
/// Paths are relative, components separated by `/`; empty and `.` components mean nothing, so `""` and `"."` are the
/// root itself. `..` is refused with `ELOOP`, an absolute path and a NUL byte with `EINVAL`. There is no limit on a
/// path's length, only the file system's on a name's. `Send`, not `Sync`: another thread takes a [`Root::try_clone`].
pub struct Root {
    dir: Arc<OwnedFd>,
    follow: Follow,
    /// What links below must not lead out of, where they may lead anywhere else.
    bounds: Option<Arc<Bounds>>,
    /// `O_*` bits of all that is opened for its contents.
    reading: i32,
    parents: RefCell<Parents>,
    /// Raised when a directory vanishes under its name, so that clones forget their handles too.
    epoch: Arc<AtomicU32>,
    seen: Cell<u32>,
}

impl Root {
    /// Opens the directory that the operator named, relative to the current directory if it is relative.
    ///
    /// `follow` is the rule for what lies below. The named path itself, which may hold `..`, is taken as the kernel
    /// takes it with [`Follow::Always`]; else links in it are followed if root or the effective user owns them.
    pub fn open(path: &[u8], follow: Follow) -> io::Result<Self> {
        let named = if follow == Follow::Always { Follow::Always } else { Follow::Trusted };
        Self::open_named(path, named, follow)
    }

    /// As [`Root::open`], with its own rule for the named path.
    pub fn open_named(path: &[u8], named: Follow, follow: Follow) -> io::Result<Self> {
        Named::from(named).open_dir(path, follow)
    }

    /// Opens the directory that the operator named as seen from this one: `path` may hold `..` and may be absolute,
    /// so this is for options like `--link-dest`, never for names from a peer.
    pub fn open_beside(&self, path: &[u8], named: &Named, follow: Follow) -> io::Result<Self> {
        let opened = open_within(self.dir.as_fd(), path, named)?;
        Ok(Self { reading: self.reading, ..Self::from_named(opened, follow, named) })
    }

    /// As [`Root::open_beside`]; the directory, and what is missing above it, is made with `mkdir`, each in its own.
    pub fn make_beside(
        &self,
        path: &[u8],
        mkdir: &dyn Fn(&Self, &[u8]) -> io::Result<()>,
        named: &Named,
        follow: Follow,
    ) -> io::Result<Self> {
        match self.open_beside(path, named, follow) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            other => return other,
        }
        let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        let (above, leaf) = split(path.get(..end).unwrap_or_default());
        let above = match above {
            b"" if path.starts_with(b"/") => self.open_beside(b"/", named, follow)?,
            b"" => self.with_rule(follow),
            above => self.make_beside(above, mkdir, named, follow)?,
        };
        match mkdir(&above, leaf) {
            Err(error) if error.raw_os_error() != Some(libc::EEXIST) => Err(error),
            _ => above.open_beside(leaf, named, follow),
        }
    }

    /// The tree below an open directory (`O_PATH` will do).
    pub fn from_handle(dir: OwnedFd, follow: Follow) -> Self {
        Self {
            dir: Arc::new(dir),
            follow,
            bounds: None,
            reading: 0,
            parents: RefCell::default(),
            epoch: Arc::default(),
            seen: Cell::new(0),
        }
    }

    /// The same, below a path that was named under bounds.
    pub(super) fn from_named(dir: OwnedFd, follow: Follow, named: &Named) -> Self {
        Self { bounds: named.bounds.clone(), ..Self::from_handle(dir, follow) }
    }

    /// The same, where `spares` is set: reading leaves the access times of files and directories as they are. What is
    /// neither ours nor anyone's to us as root cannot be read then (`EPERM`).
    pub fn sparing_atimes(self, spares: bool) -> Self {
        Self { reading: if spares { libc::O_NOATIME } else { 0 }, ..self }
    }

    pub fn spares_atimes(&self) -> bool {
        self.reading & libc::O_NOATIME != 0
    }

    /// The same tree for another thread: the same directory, its own kept parents.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(self.with_rule(self.follow))
    }

    /// The same directory under another rule.
    pub fn with_rule(&self, follow: Follow) -> Self {
        Self {
            dir: Arc::clone(&self.dir),
            follow,
            bounds: self.bounds.clone(),
            reading: self.reading,
            parents: RefCell::default(),
            epoch: Arc::clone(&self.epoch),
            seen: Cell::new(self.epoch.load(Ordering::Acquire)),
        }
    }

    /// The same directory; links below it are taken as on the way to what the operator names.
    pub fn within(&self, named: &Named) -> Self {
        Self { bounds: named.bounds.clone(), ..self.with_rule(named.follow) }
    }

    pub fn follow(&self) -> Follow {
        self.follow
    }

    /// The open directory itself.
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Metadata of the directory itself, asked for inside it: fails where it may not be entered. A handle alone does
    /// not tell, and what is never looked up in it would go unnoticed.
    pub fn stat_inside(&self) -> io::Result<Stat> {
        stat::stat_at(self.parent(b".")?.0.as_fd(), c".")
    }

    /// Metadata of `rel`; a link itself, not what it points to.
    pub fn stat(&self, rel: &[u8]) -> io::Result<Stat> {
        let (dir, leaf) = self.parent(rel)?;
        if leaf == b"." {
            return stat::stat_fd(&*dir);
        }
        at::with_name(leaf, |leaf| stat::lstat_at(dir.as_fd(), leaf))
    }

    /// Metadata of what `rel` points to in the end, links followed under the root's rule.
    pub fn stat_follow(&self, rel: &[u8]) -> io::Result<Stat> {
        if self.follow == Follow::Always {
            return self.stat_anywhere(rel);
        }
        let stat = self.stat(rel)?;
        if !stat.is_symlink() {
            return Ok(stat);
        }
        self.resolve(rel)?.stat()
    }

    /// Metadata of what `rel` points to in the end, a link in the last component followed as the kernel does, wherever
    /// it leads; the way there is subject to the root's rule. Fit to tell what a link is, not to work on it.
    pub fn stat_anywhere(&self, rel: &[u8]) -> io::Result<Stat> {
        self.with(rel, stat::stat_at)
    }

    /// Opens for reading; `flags` are further `O_*` bits such as `O_NONBLOCK`. A link is `ELOOP`.
    pub fn open_read(&self, rel: &[u8], flags: i32) -> io::Result<File> {
        self.open_leaf(rel, libc::O_RDONLY | libc::O_NOFOLLOW | self.reading | flags, 0)
    }

    /// Opens for reading what `rel` points to in the end, links followed under the root's rule.
    pub fn open_read_follow(&self, rel: &[u8], flags: i32) -> io::Result<File> {
        if self.follow == Follow::Always {
            return self.open_leaf(rel, libc::O_RDONLY | self.reading | flags, 0);
        }
        match self.open_read(rel, flags) {
            Err(error) if walk::is_link_error(&error) && self.follow != Follow::Never => {}
            other => return other,
        }
        Ok(self.resolve(rel)?.open(libc::O_RDONLY | self.reading | flags, 0)?.into())
    }

    /// Creates a file for writing and reading; `EEXIST` if there is anything of that name, a link included.
    pub fn create_new(&self, rel: &[u8], mode: u32) -> io::Result<File> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        self.creating(rel, |dir, leaf| at::open(dir, leaf, flags, mode)).map(File::from)
    }

    /// Opens an existing file for writing, its contents kept. A link is `ELOOP`.
    pub fn open_write(&self, rel: &[u8]) -> io::Result<File> {
        self.open_leaf(rel, libc::O_WRONLY | libc::O_NOFOLLOW, 0)
    }

    /// Opens or creates with the `O_*` bits given; close-on-exec and `O_NOFOLLOW` are added.
    pub fn open_with(&self, rel: &[u8], flags: i32, mode: u32) -> io::Result<File> {
        self.open_leaf(rel, flags | libc::O_NOFOLLOW, mode)
    }

    /// Opens a directory for reading its entries; every component is subject to the root's rule, the last too.
    ///
    /// The handle is kept, so what is done next with the directory's entries costs no further opening.
    pub fn open_dir(&self, rel: &[u8]) -> io::Result<Arc<OwnedFd>> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | self.reading;
        let (dir, leaf) = self.parent(rel)?;
        let nofollow = if self.follow == Follow::Always { 0 } else { libc::O_NOFOLLOW };
        let opened = match at::with_name(leaf, |leaf| at::open(dir.as_fd(), leaf, flags | nofollow, 0)) {
            // A link is ENOTDIR here.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)) && nofollow != 0 => {
                let handle = self.directory(rel)?;
                at::open(handle.as_fd(), c".", flags, 0)?
            }
            other => other?,
        };
        let opened = Arc::new(opened);
        let path = clean(rel)?;
        if !path.is_empty() {
            let mut parents = self.parents.borrow_mut();
            parents.forget(&path);
            parents.keep(path.into_owned(), Arc::clone(&opened));
        }
        Ok(opened)
    }

    pub fn mkdir(&self, rel: &[u8], mode: u32) -> io::Result<()> {
        self.creating(rel, |dir, leaf| at::mkdir(dir, leaf, mode))
    }

    /// Makes `rel` a link to `target`.
    pub fn symlink(&self, target: &[u8], rel: &[u8]) -> io::Result<()> {
        at::with_name(target, |target| self.creating(rel, |dir, leaf| at::symlink(target, dir, leaf)))
    }

    /// Makes a device, pipe or socket: `mode` with its type bits, `rdev` (major, minor).
    pub fn mknod(&self, rel: &[u8], mode: u32, rdev: (u32, u32)) -> io::Result<()> {
        self.creating(rel, |dir, leaf| at::mknod(dir, leaf, mode, rdev))
    }

    /// Gives the file `rel` of this tree the further name `new` in `to`; a link itself, not what it points to.
    pub fn link(&self, rel: &[u8], to: &Self, new: &[u8]) -> io::Result<()> {
        let (from, old) = self.parent(rel)?;
        at::with_name(old, |old| to.creating(new, |dir, leaf| at::link(from.as_fd(), old, dir, leaf)))
    }

    /// Moves `rel` of this tree to `new` in `to`, replacing what is there.
    ///
    /// Handles kept for either name are forgotten. After moving a *directory* in a tree that has clones, call
    /// [`Root::invalidate`] for it.
    pub fn rename(&self, rel: &[u8], to: &Self, new: &[u8]) -> io::Result<()> {
        let (from, old) = self.parent(rel)?;
        at::with_name(old, |old| to.creating(new, |dir, leaf| at::rename(from.as_fd(), old, dir, leaf)))?;
        if self.forget(rel) {
            self.raise();
        }
        if to.forget(new) {
            to.raise();
        }
        Ok(())
    }

    pub fn unlink(&self, rel: &[u8]) -> io::Result<()> {
        self.with(rel, at::unlink)?;
        if self.follow != Follow::Never {
            // It may have been a link by which a directory was reached.
            self.invalidate(rel);
        }
        Ok(())
    }

    pub fn rmdir(&self, rel: &[u8]) -> io::Result<()> {
        self.with(rel, at::rmdir)?;
        self.invalidate(rel);
        Ok(())
    }

    pub fn read_link(&self, rel: &[u8]) -> io::Result<Vec<u8>> {
        let mut target = Vec::new();
        self.read_link_into(rel, &mut target)?;
        Ok(target)
    }

    /// As [`Root::read_link`], into a buffer whose room is used again.
    pub fn read_link_into(&self, rel: &[u8], target: &mut Vec<u8>) -> io::Result<()> {
        self.with(rel, |dir, leaf| at::read_link(dir, leaf, target))
    }

    /// Changes permission bits; of what a link points to with [`Follow::Always`], else a link is `ELOOP`.
    pub fn chmod(&self, rel: &[u8], mode: u32) -> io::Result<()> {
        let chmod = if self.follow == Follow::Always { at::chmod_follow } else { at::chmod };
        self.or_by_handle(self.with(rel, |dir, leaf| chmod(dir, leaf, mode)), rel, |fd| at::chmod_handle(fd, mode))
    }

    /// Changes owner and group (`None`: as it is), of a link itself.
    pub fn chown(&self, rel: &[u8], uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let done = self.with(rel, |dir, leaf| at::chown(dir, leaf, uid, gid));
        self.or_by_handle(done, rel, |fd| at::chown_handle(fd, uid, gid))
    }

    /// Sets access and modification time (`None`: as it is), of a link itself.
    pub fn set_times(&self, rel: &[u8], atime: Option<Time>, mtime: Option<Time>) -> io::Result<()> {
        let done = self.with(rel, |dir, leaf| at::set_times(dir, leaf, atime, mtime));
        self.or_by_handle(done, rel, |fd| at::set_times_handle(fd, atime, mtime))
    }

    /// A handle on `rel`, a link itself: good for metadata, whatever becomes of the name.
    pub fn hold(&self, rel: &[u8]) -> io::Result<OwnedFd> {
        let (dir, leaf) = self.parent(rel)?;
        if leaf == b"." {
            return dir.try_clone();
        }
        at::with_name(leaf, |leaf| at::open_handle(dir.as_fd(), leaf))
    }

    /// Works on the extended attributes of `rel`, of a link itself.
    pub fn xattrs<T>(&self, rel: &[u8], act: impl FnOnce(xattr::On<'_>) -> io::Result<T>) -> io::Result<T> {
        let (dir, leaf) = self.parent(rel)?;
        if leaf == b"." {
            return act(xattr::On::Handle(dir.as_fd()));
        }
        at::with_name(leaf, |leaf| act(xattr::On::Named(dir.as_fd(), leaf)))
    }

    /// As [`Root::xattrs`] of what `rel` points to in the end, as [`Root::stat_anywhere`] finds it: to look, not to work.
    pub fn xattrs_anywhere<T>(&self, rel: &[u8], look: impl FnOnce(xattr::On<'_>) -> io::Result<T>) -> io::Result<T> {
        let handle = self.with(rel, |dir, leaf| at::open(dir, leaf, libc::O_PATH, 0))?;
        look(xattr::On::Handle(handle.as_fd()))
    }

    /// The directory that holds `rel`, and the name in it (`.` for the root itself).
    pub fn parent<'a>(&self, rel: &'a [u8]) -> io::Result<(Arc<OwnedFd>, &'a [u8])> {
        if rel.first() == Some(&b'/') {
            return Err(Errno::EINVAL.into());
        }
        let (mut dir, mut leaf) = split(rel);
        // Rare spellings end in something that names nothing.
        while matches!(leaf, b"" | b".") {
            if dir.is_empty() {
                return Ok((Arc::clone(&self.dir), b"."));
            }
            (dir, leaf) = split(dir);
        }
        if leaf == b".." {
            return Err(Errno::ELOOP.into());
        }
        let dir = if dir.is_empty() { Arc::clone(&self.dir) } else { self.directory(dir)? };
        Ok((dir, leaf))
    }

    /// A handle on the directory `rel`, for use with [`crate::sys::at`].
    pub fn directory(&self, rel: &[u8]) -> io::Result<Arc<OwnedFd>> {
        let epoch = self.epoch.load(Ordering::Acquire);
        let mut parents = self.parents.borrow_mut();
        if epoch != self.seen.get() {
            parents.clear();
            self.seen.set(epoch);
        }
        if let Some(kept) = parents.find(rel) {
            return Ok(kept);
        }
        let path = clean(rel)?;
        if path.is_empty() {
            return Ok(Arc::clone(&self.dir));
        }
        if let Some(kept) = parents.find(&path) {
            return Ok(kept);
        }
        let opened = match self.open_from_nearest(&parents, &path) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                parents.clear();
                self.open_from_nearest(&parents, &path)
            }
            other => other,
        };
        let opened = Arc::new(opened?);
        parents.keep(path.into_owned(), Arc::clone(&opened));
        Ok(opened)
    }

    /// To be called when the directory `rel` was removed or moved: its handle and those below are forgotten, in
    /// clones as well.
    pub fn invalidate(&self, rel: &[u8]) {
        self.forget(rel);
        self.raise();
    }
}

// Finding and keeping parents.
impl Root {
    fn open_from_nearest(&self, parents: &Parents, path: &[u8]) -> io::Result<OwnedFd> {
        let (base, rest) = parents.nearest(path).unwrap_or((&self.dir, path));
        walk::open_below(base.as_fd(), rest, self.dir.as_fd(), path, self.follow, self.bounds.as_deref())
    }

    /// Drops the handles of `rel` and of what is below it; whether there were any.
    fn forget(&self, rel: &[u8]) -> bool {
        let mut parents = self.parents.borrow_mut();
        !parents.is_empty() && clean(rel).is_ok_and(|path| parents.forget(&path))
    }

    fn raise(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The file that `rel` leads to, its last component followed too.
    fn resolve(&self, rel: &[u8]) -> io::Result<Found> {
        walk::walk_within(self.dir.as_fd(), &clean(rel)?, self.follow, Last::Any, self.bounds.as_deref())
    }

    fn open_leaf(&self, rel: &[u8], flags: i32, mode: u32) -> io::Result<File> {
        Ok(self.with(rel, |dir, leaf| at::open(dir, leaf, flags, mode))?.into())
    }

    fn with<T>(&self, rel: &[u8], act: impl FnOnce(BorrowedFd<'_>, &CStr) -> io::Result<T>) -> io::Result<T> {
        let (dir, leaf) = self.parent(rel)?;
        at::with_name(leaf, |leaf| act(dir.as_fd(), leaf))
    }

    /// The root itself, when it may not be searched, is not reached by the name `.` but by its handle.
    fn or_by_handle(
        &self,
        done: io::Result<()>,
        rel: &[u8],
        by_handle: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        match done {
            Err(error) if error.raw_os_error() == Some(libc::EACCES) && clean(rel)?.is_empty() => {
                by_handle(self.handle())
            }
            other => other,
        }
    }

    /// As `with`, for calls that make a name: if a kept parent turns out to be gone, all are looked up afresh once.
    fn creating<T>(&self, rel: &[u8], act: impl Fn(BorrowedFd<'_>, &CStr) -> io::Result<T>) -> io::Result<T> {
        match self.with(rel, &act) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) && self.forget(b"") => self.with(rel, act),
            other => other,
        }
    }
}

/// Opens or creates a file by the path its operator gave, relative to the current directory if it is relative: a log
/// file, a list of names, a password.
///
/// `flags` are `O_*` bits. Links are followed under the rule `named`, in the last component too; an untrusted one is
/// told by [`walk::is_untrusted_link`].
pub fn open_file(path: &[u8], named: Follow, flags: i32, mode: u32) -> io::Result<File> {
    open_file_within(at::CWD, path, &named.into(), flags, mode)
}

pub(super) fn open_file_within(
    from: BorrowedFd<'_>,
    path: &[u8],
    named: &Named,
    flags: i32,
    mode: u32,
) -> io::Result<File> {
    if path.is_empty() {
        return Err(Errno::EINVAL.into()); // C: syscall.c ona_open
    }
    if named.follow == Follow::Always && path.len() < libc::PATH_MAX as usize {
        return Ok(at::with_name(path, |path| at::open(from, path, flags, mode))?.into());
    }
    let found = walk::walk_within(from, path, named.follow, Last::Any, named.bounds.as_deref())?;
    Ok(found.open(flags, mode)?.into())
}

/// Opens a directory by the path its operator gave.
pub(super) fn open_within(from: BorrowedFd<'_>, path: &[u8], named: &Named) -> io::Result<OwnedFd> {
    if path.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    if named.follow == Follow::Always {
        return walk::by_kernel(from, path);
    }
    // Within bounds the way counts too: what is outside is refused, not found missing.
    match (!named.is_bounded()).then(|| walk::without_links(from, path, false)).flatten() {
        Some(Err(error)) if walk::is_link_error(&error) && named.follow != Follow::Never => {}
        Some(result) => return result,
        None => {}
    }
    Ok(walk::walk_within(from, path, named.follow, Last::Directory, named.bounds.as_deref())?.dir)
}

#[cfg(test)]
#[path = "root_tests.rs"]
mod tests;
