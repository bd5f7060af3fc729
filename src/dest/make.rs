//! Making what has no data to come: directories, symlinks, hard links, devices, pipes and sockets.

use std::io;

use super::{
    Dest,
    backup::{self, Kept, Prefer},
    defaults,
    delete::{Remover, Room},
    temp,
};
use crate::{bytes, fs::Root, log::LogCode, meta::fake, sys::stat::Stat, text::path::split};

/// A node to be made.
#[derive(Clone, Copy, Debug)]
pub enum Node<'a> {
    Symlink {
        target: &'a [u8],
    },
    /// `mode` with its type bits; `rdev` (major, minor) matters for devices.
    Special {
        mode: u32,
        rdev: (u32, u32),
    },
    /// A further name of what stands at `leader`.
    HardLink {
        leader: &'a [u8],
    },
}

/// Makes a directory, one that is there already being welcome; a failure is said.
pub fn directory(dest: Dest<'_>, path: &[u8], mode: u32) -> bool {
    if dest.rules.dry_run {
        return true;
    }
    match dest.root.mkdir(path, mode & 0o7777) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            dest.failed("recv_generator: mkdir ", path, " failed", &error);
            false
        }
        _ => true,
    }
}

/// Makes every directory on the way to `path` that is missing, with default permissions; returns how many.
/// C: util1.c make_path with MKP_DROP_NAME
pub fn parents(dest: Dest<'_>, path: &[u8]) -> io::Result<u32> {
    let (dir, _) = split(path);
    if dir.is_empty() {
        return Ok(0);
    }
    let mkdir = || defaults::mkdir(dest.root, dir, 0o777, dest.rules.umask);
    match mkdir() {
        Ok(()) => Ok(1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = parents(dest, dir)?;
            mkdir()?;
            Ok(made + 1)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match dest.root.stat_follow(dir)?.is_dir() {
            true => Ok(0),
            false => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Makes a node; where something stands already (`existing`), the new one is made beside it and moved over it in one
/// step, except that a directory is removed first. With `--backup` what stands there is kept, and with `--temp-dir` it
/// is gone before. A failure is said. C: generator.c atomic_create
pub fn node(remover: &mut Remover<'_>, path: &[u8], node: Node<'_>, existing: Option<&Stat>, room: Room) -> bool {
    let dest = remover.dest;
    let existing_file = existing.filter(|stat| !stat.is_dir());
    let beside = existing_file.filter(|_| dest.options.temp_dir.is_none()).and_then(|_| temp::numbered(path));
    if existing_file.is_some() && dest.places.backups.is_some() {
        let prefer = if beside.is_some() { Prefer::Link } else { Prefer::Rename };
        match backup::keep(remover, path, prefer) {
            Err(_) => return false,
            // On another file system it could not be moved.
            Ok(Kept::Copied) if prefer == Prefer::Rename && !dest.rules.dry_run => {
                let _ = dest.root.unlink(path); // making the new one will tell
            }
            Ok(_) => {}
        }
    } else if beside.is_none()
        && let Some(stat) = existing
        && !remover.make_room(path, stat, room, false)
    {
        return false;
    }
    if dest.rules.dry_run {
        return true;
    }
    let Some(names) = beside else {
        return create(dest, node, path).map_err(|error| complain(dest, node, path, &error)).is_ok();
    };
    for name in names {
        match create(dest, node, &name) {
            Ok(()) => return replace(dest, &name, path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                complain(dest, node, &name, &error);
                return false;
            }
        }
    }
    complain(dest, node, path, &io::Error::from_raw_os_error(libc::EEXIST));
    false
}

fn create(dest: Dest<'_>, node: Node<'_>, path: &[u8]) -> io::Result<()> {
    match node {
        Node::Symlink { target } => symlink(dest, dest.root, target, path),
        Node::Special { mode, rdev } => special(dest, dest.root, path, mode, rdev),
        Node::HardLink { leader } => dest.root.link(leader, dest.root, path),
    }
}

/// Makes a symlink in any tree, or what stands for one.
pub(super) fn symlink(dest: Dest<'_>, root: &Root, target: &[u8], path: &[u8]) -> io::Result<()> {
    if dest.rules.faked { fake::symlink(root, target, path) } else { root.symlink(target, path) }
}

/// The same for a device, pipe or socket.
pub(super) fn special(dest: Dest<'_>, root: &Root, path: &[u8], mode: u32, rdev: (u32, u32)) -> io::Result<()> {
    if dest.rules.faked { fake::node(root, path) } else { root.mknod(path, mode, rdev) }
}

fn complain(dest: Dest<'_>, node: Node<'_>, path: &[u8], error: &io::Error) {
    match node {
        Node::Symlink { target } => {
            let after = bytes!["symlink ", dest.names.full(path), " -> \"", target, "\" failed"];
            dest.log.syserr(LogCode::ErrorXfer, after, error);
        }
        Node::Special { .. } => dest.failed("mknod ", path, " failed", error),
        Node::HardLink { leader } => {
            let what = bytes!["link ", dest.names.full(path), " => ", leader, " failed"];
            dest.log.syserr(LogCode::ErrorXfer, what, error);
        }
    }
}

fn replace(dest: Dest<'_>, name: &[u8], path: &[u8]) -> bool {
    let Err(error) = dest.root.rename(name, dest.root, path) else {
        return true;
    };
    let what = bytes!["rename ", dest.names.full(name), " -> ", dest.names.full(path), " failed"];
    dest.log.syserr(LogCode::ErrorXfer, what, &error);
    let _ = dest.root.unlink(name);
    false
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dest::fixture::Fixture;

    fn make(fixture: &Fixture, path: &str, new: Node<'_>, room: Room) -> bool {
        let existing = fixture.dest().root.stat(path.as_bytes()).ok();
        fixture.removing(|remover| node(remover, path.as_bytes(), new, existing.as_ref(), room))
    }

    const LINK: Node<'static> = Node::Symlink { target: b"there" };
    const PIPE: Node<'static> = Node::Special { mode: libc::S_IFIFO | 0o600, rdev: (0, 0) };
    const SOCKET: Node<'static> = Node::Special { mode: libc::S_IFSOCK | 0o600, rdev: (0, 0) };

    #[test]
    fn nodes_replace_files_and_links_in_one_step() {
        let fixture = Fixture::new();
        fs::write(fixture.path().join("x"), "").unwrap();
        for (new, room) in
            [(LINK, Room::Symlink), (PIPE, Room::Special), (SOCKET, Room::Special), (LINK, Room::Symlink)]
        {
            assert!(make(&fixture, "x", new, room));
            assert_eq!(fixture.names(), ["x"]);
            let mode = fixture.dest().root.stat(b"x").unwrap().mode;
            let wanted = match new {
                Node::Symlink { .. } => libc::S_IFLNK,
                Node::Special { mode, .. } => mode & libc::S_IFMT,
                Node::HardLink { .. } => libc::S_IFREG,
            };
            assert_eq!(mode & libc::S_IFMT, wanted);
        }
        assert_eq!(fs::read_link(fixture.path().join("x")).unwrap().as_os_str(), "there");
        assert!(make(&fixture, "new", LINK, Room::Symlink));
        assert_eq!((fixture.names(), fixture.said()), (vec!["new".into(), "x".into()], String::new()));
    }

    #[test]
    fn hard_links_replace_in_one_step() {
        let fixture = Fixture::new();
        for name in ["leader", "old"] {
            fs::write(fixture.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("leader", fixture.path().join("link")).unwrap();
        let link = Node::HardLink { leader: b"leader" };
        for name in ["old", "new", "link"] {
            assert!(make(&fixture, name, link, Room::File));
        }
        assert_eq!(fixture.names(), ["leader", "link", "new", "old"]);
        assert_eq!(fixture.dest().root.stat(b"leader").unwrap().nlink, 4);
        assert!(!make(&fixture, "other", Node::HardLink { leader: b"gone" }, Room::File));
        let line = format!("link \"{}/other\" => gone failed: No such file or directory (2)\n", fixture.base());
        assert_eq!(fixture.said(), format!("rsync: [receiver] {line}"));
    }

    #[test]
    fn an_empty_directory_gives_way_and_a_full_one_does_not() {
        let fixture = Fixture::new();
        fs::create_dir_all(fixture.path().join("full/x")).unwrap();
        fs::create_dir(fixture.path().join("empty")).unwrap();
        assert!(make(&fixture, "empty", LINK, Room::Symlink));
        assert!(!make(&fixture, "full", PIPE, Room::Special));
        let said = "cannot delete non-empty directory: full\ncould not make way for new special file: full\n";
        assert_eq!(fixture.said(), said);
    }

    #[test]
    fn a_stale_temporary_name_is_no_obstacle() {
        let fixture = Fixture::new();
        fs::write(fixture.path().join("x"), "").unwrap();
        let stale = format!(".x.{}", std::process::id());
        fs::write(fixture.path().join(&stale), "").unwrap();
        assert!(make(&fixture, "x", LINK, Room::Symlink));
        assert_eq!(fixture.names(), [stale, "x".into()]);
    }

    #[test]
    fn failures_are_told_as_the_reference_does() {
        let fixture = Fixture::new();
        let base = fixture.base();
        let gone = "failed: No such file or directory (2)\n";
        assert!(!make(&fixture, "no/l", LINK, Room::Symlink));
        assert_eq!(fixture.said(), format!("rsync: [receiver] symlink \"{base}/no/l\" -> \"there\" {gone}"));
        assert!(!make(&fixture, "no/p", PIPE, Room::Special));
        assert_eq!(fixture.said(), format!("rsync: [receiver] mknod \"{base}/no/p\" {gone}"));
        assert!(!directory(fixture.dest(), b"no/d", 0o755));
        assert_eq!(fixture.said(), format!("rsync: [receiver] recv_generator: mkdir \"{base}/no/d\" {gone}"));
        assert!(directory(fixture.dest(), b"d", 0o755) && directory(fixture.dest(), b"d", 0o755));
    }

    #[test]
    fn parents_are_made_as_far_as_they_are_missing() {
        let fixture = Fixture::new();
        let dest = fixture.dest();
        assert_eq!(parents(dest, b"a/b/c/leaf").unwrap(), 3);
        assert_eq!(parents(dest, b"a/b/x/leaf").unwrap(), 1);
        assert_eq!(parents(dest, b"a/leaf").unwrap(), 0);
        assert_eq!(parents(dest, b"leaf").unwrap(), 0);
        fs::write(fixture.path().join("f"), "").unwrap();
        assert!(parents(dest, b"f/x/leaf").is_err());
        assert_eq!(dest.root.stat(b"a/b/c").unwrap().mode & 0o777, 0o755);
    }
}
