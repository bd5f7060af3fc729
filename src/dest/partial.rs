//! Where partial files wait (`--partial-dir`), and complete ones whose time has not come (`--delay-updates`).
//!
//! A relative directory stands in each file's own, is made when something is put into it and goes when it is empty.
//! An absolute one is the operator's: it is made once and stays.

use std::io;

use super::{
    Dest, defaults,
    places::{Spot, again, named},
};
use crate::{
    bytes,
    fs::Root,
    options::Options,
    sys::stat::Stat,
    text::path::{base, inside, split},
};

/// A file's partial directory, and how to get there.
pub struct PartialDir {
    /// As typed, cleaned.
    text: Vec<u8>,
    /// The directory that holds an absolute one.
    above: Option<io::Result<Root>>,
}

impl PartialDir {
    pub(super) fn new(root: &Root, text: &[u8], options: &Options) -> Self {
        let named = named(options);
        let above = text.starts_with(b"/").then(|| root.open_beside(split(text).0, &named, named.follow()));
        Self { text: text.to_vec(), above }
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        let above = match &self.above {
            Some(Ok(root)) => Some(Ok(root.try_clone()?)),
            Some(Err(error)) => Some(Err(again(error))),
            None => None,
        };
        Ok(Self { text: self.text.clone(), above })
    }

    /// Where `path` has its partial file; an error if the operator's directory cannot be there.
    /// C: util1.c partial_dir_fname
    fn spot<'a>(&'a self, dest: Dest<'a>, path: &[u8]) -> io::Result<PartialSpot<'a>> {
        let (dir, name) = split(path);
        let (root, within, shown) = match &self.above {
            None => (dest.root, inside(dir, &self.text), inside(dir, &self.text)),
            Some(Ok(above)) => (above, base(&self.text).to_vec(), self.text.clone()),
            Some(Err(error)) => return Err(again(error)),
        };
        let file = Spot { root, path: bytes![within, "/", name].into(), shown: bytes![shown, "/", name].into() };
        Ok(PartialSpot { file, dir: within, stays: self.above.is_some() })
    }
}

/// One file's place among the partial ones.
pub struct PartialSpot<'a> {
    pub file: Spot<'a>,
    dir: Vec<u8>,
    /// The directory does not go when it is empty.
    stays: bool,
}

/// Where `path` has its partial file, if there is a directory for such.
pub fn spot<'a>(dest: Dest<'a>, path: &[u8]) -> Option<PartialSpot<'a>> {
    dest.places.partial.as_ref()?.spot(dest, path).ok()
}

impl PartialSpot<'_> {
    /// What is there, if it is good for anything: a regular file.
    pub fn look(&self) -> Option<Stat> {
        self.file.root.stat(&self.file.path).ok().filter(Stat::is_file)
    }

    /// Makes sure of the directory; what else stands there goes. C: util1.c handle_partial_dir with PDIR_CREATE
    pub(super) fn make_dir(&self, dest: Dest<'_>) -> io::Result<()> {
        let root = self.file.root;
        match root.stat(&self.dir) {
            Ok(stat) if stat.is_dir() => return Ok(()),
            Ok(_) => root.unlink(&self.dir)?,
            Err(_) => {}
        }
        defaults::mkdir(root, &self.dir, 0o700, dest.rules.umask)
    }

    /// Whether a directory still has the directory's name: a refusal may be due to somebody who put a link there.
    pub(super) fn check_dir(&self) -> io::Result<()> {
        match self.file.root.stat(&self.dir)?.is_dir() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ELOOP)),
        }
    }

    /// The file has done its duty.
    pub fn remove(&self) {
        let _ = self.file.root.unlink(&self.file.path); // it is not in the way
        self.leave();
    }

    /// Removes the directory if nothing is left in it. C: util1.c handle_partial_dir with PDIR_DELETE
    pub(super) fn leave(&self) {
        if !self.stays {
            let _ = self.file.root.rmdir(&self.dir); // another file may wait there
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::dest::fixture::Fixture;

    fn with_dir(dir: &str) -> Fixture {
        Fixture::with(|options| (options.partial, options.partial_dir) = (true, Some(dir.into())))
    }

    #[test]
    fn a_relative_directory_comes_and_goes_with_its_file() {
        let fixture = with_dir(".part");
        fs::create_dir(fixture.path().join("d")).unwrap();
        let spot = spot(fixture.dest(), b"d/f").unwrap();
        assert_eq!((spot.file.shown(), spot.look().is_some()), (&b"d/.part/f"[..], false));
        spot.make_dir(fixture.dest()).unwrap();
        fs::write(fixture.path().join("d/.part/f"), "half").unwrap();
        assert_eq!(fixture.dest().root.stat(b"d/.part").unwrap().permissions(), 0o700);
        assert_eq!(spot.look().unwrap().size, 4);
        spot.leave();
        assert!(spot.look().is_some(), "it is not empty");
        spot.remove();
        assert!(!fixture.path().join("d/.part").exists());
    }

    #[test]
    fn only_a_regular_file_behind_no_link_counts() {
        let fixture = with_dir(".part");
        fs::create_dir_all(fixture.path().join(".part/dir")).unwrap();
        fs::write(fixture.path().join("secret"), "").unwrap();
        symlink("../secret", fixture.path().join(".part/link")).unwrap();
        for name in ["dir", "link", "none"] {
            assert!(spot(fixture.dest(), name.as_bytes()).unwrap().look().is_none(), "{name}");
        }
        fs::create_dir(fixture.path().join("sub")).unwrap();
        symlink("..", fixture.path().join("sub/.part")).unwrap();
        let planted = spot(fixture.dest(), b"sub/secret").unwrap();
        assert!(planted.look().is_none() && planted.file.open_read().is_err());
        assert_eq!(planted.check_dir().unwrap_err().raw_os_error(), Some(libc::ELOOP));
        planted.make_dir(fixture.dest()).unwrap();
        planted.check_dir().unwrap();
        assert!(fs::symlink_metadata(fixture.path().join("sub/.part")).unwrap().is_dir());
        assert!(fixture.path().join("secret").exists());
    }

    #[test]
    fn an_absolute_directory_stays() {
        let elsewhere = tempfile::tempdir().unwrap();
        let fixture = with_dir(&format!("{}/part", elsewhere.path().display()));
        let spot = spot(fixture.dest(), b"d/f").unwrap();
        spot.make_dir(fixture.dest()).unwrap();
        spot.remove();
        assert!(elsewhere.path().join("part").is_dir());
        assert_eq!(spot.file.shown(), format!("{}/part/f", elsewhere.path().display()).as_bytes());
    }
}
