//! Finding directories: a path is walked handle by handle, each link judged on the very inode that is then followed.
//!
//! A path without links is opened in one call, whatever the policy. Only where that meets a link is the path walked
//! component by component: open the component itself (`O_PATH`, not following), look at the handle, and if it is a
//! link that the policy allows, read its target from that same handle and go on with it. Nothing that happens to the
//! names meanwhile can lead the walk to a place the policy does not allow.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::errno::Errno;

use super::{
    Follow,
    bounds::{Bounds, Standing, refused},
};
use crate::sys::{at, stat, users};

/// As many links as the kernel follows in one path.
const MAX_LINKS: u32 = 40;

/// Paths are handed to the kernel in pieces shorter than its limit (`PATH_MAX`, 4096 with the NUL).
const MAX_PIECE: usize = 4000;

/// What a path's last component may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// A directory, entered.
    Directory,
    /// Anything or nothing: not entered, but a link is followed like any other.
    Any,
}

/// Where a walk ended: the directory, and what is left when the last component was not entered.
pub(super) struct Found {
    pub dir: OwnedFd,
    /// Empty when the path named the directory itself.
    leaf: Vec<u8>,
    /// A link of the kernel's own to an open file (`/dev/stdin`, `/dev/fd/3`), which only the kernel can follow. Any
    /// other leaf was no link when it was looked at.
    magic: bool,
}

impl Found {
    pub fn open(&self, flags: i32, mode: u32) -> io::Result<OwnedFd> {
        let flags = if self.magic { flags } else { flags | libc::O_NOFOLLOW };
        let leaf = if self.leaf.is_empty() { b".".as_slice() } else { &self.leaf };
        at::with_name(leaf, |leaf| at::open(self.dir.as_fd(), leaf, flags, mode))
    }

    pub fn stat(&self) -> io::Result<stat::Stat> {
        if self.leaf.is_empty() {
            return stat::stat_fd(&self.dir);
        }
        let look = if self.magic { stat::stat_at } else { stat::lstat_at };
        let stat = at::with_name(&self.leaf, |leaf| look(self.dir.as_fd(), leaf))?;
        // It became a link after the walk had judged it.
        if stat.is_symlink() { Err(Errno::ELOOP.into()) } else { Ok(stat) }
    }
}

/// A link in a path named by the operator belongs to neither root nor us: someone may have planted it.
///
/// Reads as the system error that the reference reports.
#[derive(Debug, thiserror::Error)]
#[error("Too many levels of symbolic links ({})", libc::ELOOP)]
pub struct UntrustedLink;

/// What the reference says before it says so.
pub const UNTRUSTED_LINK: &str = "refusing to follow a symlink owned by an untrusted user; use --insecure-links locally or \
                                  \"insecure links = yes\" in a daemon module ONLY if every path component is trusted";

/// Whether an operation was refused for such a link.
pub fn is_untrusted_link(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<UntrustedLink>())
}

/// Opens the directory `path`, whose components are plain names, below `base`; `root` is where the tree begins and
/// `whole` the path from there.
pub(super) fn open_below(
    base: BorrowedFd<'_>,
    path: &[u8],
    root: BorrowedFd<'_>,
    whole: &[u8],
    follow: Follow,
    bounds: Option<&Bounds>,
) -> io::Result<OwnedFd> {
    if follow == Follow::Always {
        return by_kernel(base, path);
    }
    // From inside the bounds no way down without links leads out.
    let is_inside = bounds.is_none_or(|bounds| matches!(bounds.judge(base), Ok(Standing::Inside)));
    match is_inside.then(|| without_links(base, path, true)).flatten() {
        Some(Err(error)) if follow != Follow::Never && is_link_error(&error) => {}
        Some(result) => return result,
        None => {}
    }
    Ok(walk_within(root, whole, follow, Last::Directory, bounds)?.dir)
}

/// Opens the directory `path` by the kernel's own rules.
pub(super) fn by_kernel(base: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    in_pieces(base, path, |dir, piece| at::with_name(piece, |name| at::open_dir_handle(dir, name)))
}

/// Opens the directory `path` if no component is a link; `None` where the kernel cannot tell.
pub(super) fn without_links(base: BorrowedFd<'_>, path: &[u8], beneath: bool) -> Option<io::Result<OwnedFd>> {
    let mut missing = false;
    let opened = in_pieces(base, path, |dir, piece| {
        at::with_name(piece, |name| {
            at::open_dir_without_links(dir, name, beneath).unwrap_or_else(|| {
                missing = true;
                Err(Errno::ENOSYS.into())
            })
        })
    });
    (!missing).then_some(opened)
}

/// What the kernel says when a link stands where none may be.
pub(super) fn is_link_error(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EXDEV))
}

/// Opens `path` a piece at a time, so that its length has no limit.
fn in_pieces(
    base: BorrowedFd<'_>,
    mut path: &[u8],
    mut open: impl FnMut(BorrowedFd<'_>, &[u8]) -> io::Result<OwnedFd>,
) -> io::Result<OwnedFd> {
    let mut last: Option<OwnedFd> = None;
    while path.len() > MAX_PIECE {
        let (head, _) = path.split_at(MAX_PIECE);
        let Some(cut) = memchr::memrchr(b'/', head).filter(|&cut| cut > 0) else {
            return Err(Errno::ENAMETOOLONG.into());
        };
        let (piece, rest) = path.split_at(cut);
        let dir = last.as_ref().map_or(base, AsFd::as_fd);
        last = Some(open(dir, piece)?);
        path = trim_slashes(rest);
    }
    let dir = last.as_ref().map_or(base, AsFd::as_fd);
    open(dir, if path.is_empty() { b"." } else { path })
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    path.get(start..).unwrap_or_default()
}

/// Walks `path` from `base`, judging every link by `follow`.
///
/// `..` and absolute targets are taken as the kernel takes them, except that with [`Follow::Inside`] neither may lead
/// out of `base` (`ELOOP`).
pub(super) fn walk(base: BorrowedFd<'_>, path: &[u8], follow: Follow, last: Last) -> io::Result<Found> {
    walk_within(base, path, follow, last, None)
}

/// The same; what is found is within the bounds, if there are any.
pub(super) fn walk_within(
    base: BorrowedFd<'_>,
    path: &[u8],
    follow: Follow,
    last: Last,
    bounds: Option<&Bounds>,
) -> io::Result<Found> {
    let bounds = match bounds {
        // An absolute path begins elsewhere.
        Some(bounds) if path.first() == Some(&b'/') => Some((bounds, Standing::Above)),
        Some(bounds) => Some((bounds, bounds.judge(base)?)),
        None => None,
    };
    let mut walk = Walk { base, follow, bounds, dir: None, names: Vec::new(), links: 0, target: Vec::new() };
    walk.run(path, last)
}

struct Walk<'a> {
    base: BorrowedFd<'a>,
    follow: Follow,
    /// What must not be left, and where that is from here.
    bounds: Option<(&'a Bounds, Standing)>,
    /// Where the walk stands; `None`: still at `base`.
    dir: Option<OwnedFd>,
    /// With [`Follow::Inside`], the way from `base` to `dir`: links resolved, no dots. This takes the place of a
    /// stack of open handles, so that depth costs no descriptors.
    names: Vec<u8>,
    links: u32,
    target: Vec<u8>,
}

impl Walk<'_> {
    fn run(&mut self, path: &[u8], last: Last) -> io::Result<Found> {
        // Still to be walked, in reverse order of pieces: a link's target is put in front of what follows it.
        let mut todo = path.to_vec();
        loop {
            if todo.first() == Some(&b'/') {
                self.climb_to_top()?;
            }
            let start = todo.iter().position(|&byte| byte != b'/').unwrap_or(todo.len());
            let end = memchr::memchr(b'/', todo.get(start..).unwrap_or_default()).map_or(todo.len(), |at| start + at);
            let name = todo.get(start..end).unwrap_or_default();
            match name {
                b"" => return self.found(Vec::new(), false),
                b"." => {}
                b".." => self.up()?,
                _ => {
                    let name = name.to_vec();
                    // A trailing slash asks for a directory, as everywhere.
                    let is_last = last == Last::Any && end == todo.len();
                    match self.enter(&name, is_last)? {
                        Entered::Yes => {}
                        Entered::Leaf => return self.found(name, false),
                        Entered::MagicLeaf => return self.found(name, true),
                        Entered::Link => {
                            let mut rest = std::mem::take(&mut self.target);
                            rest.extend_from_slice(todo.get(end..).unwrap_or_default());
                            todo = rest;
                            continue;
                        }
                    }
                }
            }
            // What follows begins with the slash that ended this name; drop it lest it mean the top.
            let next = todo.get(end..).map_or(0, |rest| rest.len() - trim_slashes(rest).len()) + end;
            todo.drain(..next);
        }
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.dir.as_ref().map_or(self.base, AsFd::as_fd)
    }

    fn found(&mut self, leaf: Vec<u8>, magic: bool) -> io::Result<Found> {
        // A leaf was judged when it was looked at.
        if leaf.is_empty() && self.bounds.is_some_and(|(_, standing)| standing != Standing::Inside) {
            return Err(refused());
        }
        let dir = match self.dir.take() {
            Some(dir) => dir,
            None => at::open_dir_handle(self.base, c".")?,
        };
        Ok(Found { dir, leaf, magic })
    }

    /// An absolute path: from the top of the file system, unless that is outside.
    fn climb_to_top(&mut self) -> io::Result<()> {
        if self.follow == Follow::Inside {
            return Err(Errno::ELOOP.into());
        }
        self.dir = Some(at::open_dir_handle(at::CWD, c"/")?);
        self.judge_again()
    }

    /// After a step that was not down by a plain name.
    fn judge_again(&mut self) -> io::Result<()> {
        let dir = self.dir.as_ref().map_or(self.base, AsFd::as_fd);
        if let Some((bounds, standing)) = &mut self.bounds {
            *standing = bounds.judge(dir)?;
        }
        Ok(())
    }

    fn up(&mut self) -> io::Result<()> {
        if self.follow != Follow::Inside {
            self.dir = Some(at::open_dir_handle(self.here(), c"..")?);
            return self.judge_again();
        }
        if self.names.is_empty() {
            return Err(Errno::ELOOP.into());
        }
        // Never by the kernel's `..`: a directory moved away meanwhile would lead outside.
        self.names.truncate(memchr::memrchr(b'/', &self.names).unwrap_or(0));
        self.dir = match without_links(self.base, &self.names, true) {
            _ if self.names.is_empty() => None,
            Some(dir) => Some(dir?),
            None => Some(walk(self.base, &self.names, Follow::Never, Last::Directory)?.dir),
        };
        Ok(())
    }

    fn enter(&mut self, name: &[u8], is_last: bool) -> io::Result<Entered> {
        let handle = match at::with_name(name, |name| at::open_handle(self.here(), name)) {
            Err(error) if is_last && error.raw_os_error() == Some(libc::ENOENT) => {
                return match self.bounds {
                    Some((_, standing)) if standing != Standing::Inside => Err(error),
                    _ => Ok(Entered::Leaf),
                };
            }
            other => other?,
        };
        let stat = stat::stat_fd(&handle)?;
        if stat.is_symlink() {
            return self.enter_link(name, &handle, &stat, is_last);
        }
        if !stat.is_dir() {
            if self.bounds.is_some_and(|(_, standing)| standing != Standing::Inside) {
                return Err(refused());
            }
            return if is_last { Ok(Entered::Leaf) } else { Err(Errno::ENOTDIR.into()) };
        }
        if let Some((bounds, standing)) = &mut self.bounds {
            *standing = bounds.down(*standing, &handle, &stat)?;
            if is_last && *standing != Standing::Inside {
                return Err(refused());
            }
        }
        if is_last {
            return Ok(Entered::Leaf);
        }
        self.dir = Some(handle);
        if self.follow == Follow::Inside {
            if !self.names.is_empty() {
                self.names.push(b'/');
            }
            self.names.extend_from_slice(name);
        }
        Ok(Entered::Yes)
    }

    fn enter_link(&mut self, name: &[u8], link: &OwnedFd, stat: &stat::Stat, is_last: bool) -> io::Result<Entered> {
        self.links += 1;
        if self.links > MAX_LINKS || self.follow == Follow::Never {
            return Err(Errno::ELOOP.into());
        }
        if self.follow == Follow::Trusted {
            if stat.uid != 0 && stat.uid != users::effective_uid() {
                return Err(io::Error::other(UntrustedLink));
            }
            if stat::is_procfs(link) && self.bounds.is_some() {
                if self.enter_open_file(name)? {
                    return Ok(Entered::Yes);
                }
            } else if stat::is_procfs(link) {
                if is_last {
                    return Ok(Entered::MagicLeaf);
                }
                self.dir = Some(at::with_name(name, |name| at::open_dir_handle(self.here(), name))?);
                return Ok(Entered::Yes);
            }
        }
        // Where it leads to is judged step by step.
        at::read_link(link.as_fd(), c"", &mut self.target)?;
        if self.target.is_empty() { Err(Errno::ENOENT.into()) } else { Ok(Entered::Link) }
    }

    /// Within bounds a link of the kernel's own is followed to the directory that is open there, and that is judged. To
    /// anything else it leads by its text, like other links: there is no telling where an open file is.
    fn enter_open_file(&mut self, name: &[u8]) -> io::Result<bool> {
        let dir = match at::with_name(name, |name| at::open_dir_handle(self.here(), name)) {
            Err(error) if error.raw_os_error() == Some(libc::ENOTDIR) => return Ok(false),
            other => other?,
        };
        if stat::stat_fd(&dir)?.nlink == 0 {
            return Err(Errno::ENOENT.into()); // removed since: its text names nothing either
        }
        let passing = stat::is_procfs(&dir);
        self.dir = Some(dir);
        match &mut self.bounds {
            Some((_, standing)) if passing => *standing = Standing::Passing,
            _ => self.judge_again()?,
        }
        Ok(true)
    }
}

enum Entered {
    Yes,
    /// The last component: left for the caller.
    Leaf,
    /// The same, but a link that only the kernel can follow.
    MagicLeaf,
    /// A link to follow: its target is in `Walk::target`.
    Link,
}
