//! Opening a file to be updated where it stands (`--inplace`).

use std::{fs::File, io, os::fd::AsFd};

use super::{Dest, partial::PartialSpot, places::Spot};
use crate::{
    fs::Root,
    sys::{at, stat::stat_fd},
};

/// Opens or creates `path` for writing; a failure is said. C: in receiver.c recv_files
pub fn open(dest: Dest<'_>, path: &[u8]) -> Option<File> {
    open_spot(dest, &Spot::of(dest, path), || Ok(()))
}

/// The same for a partial file.
pub fn open_partial(dest: Dest<'_>, partial: &PartialSpot<'_>) -> Option<File> {
    open_spot(dest, &partial.file, || partial.check_dir())
}

/// `check`: what must hold for a second try.
fn open_spot(dest: Dest<'_>, spot: &Spot<'_>, check: impl Fn() -> io::Result<()>) -> Option<File> {
    let (root, path) = (spot.root, &spot.path[..]);
    // A sticky directory with protected_regular refuses O_CREAT on a file that is there: try without.
    let opened = root
        .open_with(path, libc::O_WRONLY | libc::O_CREAT, 0o600)
        .or_else(|error| if is_denied(&error) { check().and_then(|()| root.open_write(path)) } else { Err(error) })
        .or_else(|error| if is_denied(&error) { open_write_protected(root, path) } else { Err(error) });
    opened.map_err(|error| dest.failed("open ", spot.shown(), " failed", &error)).ok()
}

fn is_denied(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EACCES)
}

/// Opens a read-only regular file of ours for writing; its mode is what it was when this returns, so that an abort
/// during the transfer leaves nothing behind. C: receiver.c open_readonly_inplace
fn open_write_protected(root: &Root, path: &[u8]) -> io::Result<File> {
    let (dir, leaf) = root.parent(path)?;
    let held = at::with_name(leaf, |leaf| at::open_handle(dir.as_fd(), leaf))?;
    let stat = stat_fd(&held)?;
    if !stat.is_file() || stat.mode & libc::S_IWUSR != 0 {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    at::chmod_handle(&held, stat.permissions() | libc::S_IWUSR)?;
    let opened = root.open_write(path);
    at::chmod_handle(&held, stat.permissions())?;
    opened
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;
    use crate::dest::fixture::Fixture;

    #[test]
    fn opens_what_is_there_and_makes_what_is_not() {
        let fixture = Fixture::new();
        fs::write(fixture.path().join("f"), "old content").unwrap();
        open(fixture.dest(), b"f").unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(fixture.path().join("f")).unwrap(), b"new content");
        open(fixture.dest(), b"g").unwrap();
        assert_eq!(fixture.dest().root.stat(b"g").unwrap().mode & 0o7777, 0o600);
    }

    #[test]
    fn a_write_protected_file_stays_so() {
        let fixture = Fixture::new();
        fs::write(fixture.path().join("f"), "").unwrap();
        for mode in [0o4444, 0o000] {
            fs::set_permissions(fixture.path().join("f"), PermissionsExt::from_mode(mode)).unwrap();
            assert!(open_write_protected(fixture.dest().root, b"f").is_ok());
            assert_eq!(fixture.dest().root.stat(b"f").unwrap().mode & 0o7777, mode);
        }
        fs::create_dir(fixture.path().join("d")).unwrap();
        assert!(open_write_protected(fixture.dest().root, b"d").is_err());
    }

    #[test]
    fn a_link_is_not_followed() {
        let fixture = Fixture::new();
        symlink("elsewhere", fixture.path().join("l")).unwrap();
        assert!(open(fixture.dest(), b"l").is_none());
        let line =
            format!("rsync: [receiver] open \"{}/l\" failed: Too many levels of symbolic links (40)\n", fixture.base());
        assert_eq!(fixture.said(), line);
    }
}
