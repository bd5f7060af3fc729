//! Directories beside the destination that may hold already what is wanted: `--compare-dest`, `--copy-dest`,
//! `--link-dest`.

use std::io;

use super::{Dest, places::named, target::Target};
use crate::{
    bytes,
    fs::{Follow, Root, UNTRUSTED_LINK, is_out_of_bounds, is_untrusted_link},
    log::{Log, LogCode},
    options::{AltDest, Options},
    sys::{
        at::{self, with_name},
        stat::{Stat, stat_at},
    },
    text::path::{join, split},
};

/// The alternative directories, in the order given; all are of one kind.
#[derive(Default)]
pub struct Alternatives {
    kind: Option<AltDest>,
    dirs: Vec<Alternative>,
}

/// One of them.
pub struct Alternative {
    /// `None`: nothing can be found there.
    root: Option<Root>,
    /// The directory as messages name it.
    path: Vec<u8>,
    /// As the user does.
    given: Vec<u8>,
}

impl Alternatives {
    /// Opens what the options name, as seen from the destination, and warns of what is no directory; the run goes on
    /// without it. C: main.c check_alt_basis_dirs
    pub fn open(options: &Options, target: &Target, log: &Log) -> Self {
        let kind = options.alt_dests.first().map(|(kind, _)| *kind);
        let dirs = options.alt_dests.iter().map(|(kind, dir)| Alternative::open(*kind, dir, options, target, log));
        Self { kind, dirs: dirs.collect() }
    }

    /// The same directories for another thread.
    pub fn try_clone(&self) -> io::Result<Self> {
        let again = |dir: &Alternative| {
            let root = dir.root.as_ref().map(Root::try_clone).transpose()?;
            Ok(Alternative { root, path: dir.path.clone(), given: dir.given.clone() })
        };
        Ok(Self { kind: self.kind, dirs: self.dirs.iter().map(again).collect::<io::Result<_>>()? })
    }

    /// `None`: there are none.
    pub fn kind(&self) -> Option<AltDest> {
        self.kind
    }

    pub fn len(&self) -> usize {
        self.dirs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.dirs.is_empty()
    }

    pub fn get(&self, position: usize) -> Option<&Alternative> {
        self.dirs.get(position)
    }

    /// Each with its position, by which the wire knows it.
    pub fn numbered(&self) -> impl Iterator<Item = (u8, &Alternative)> {
        (0..).zip(&self.dirs)
    }
}

impl Alternative {
    fn open(kind: AltDest, dir: &[u8], options: &Options, target: &Target, log: &Log) -> Self {
        let dir = without_slash(dir);
        let path = shown(dir, target);
        let warn = |trouble: &str| log.say(LogCode::Warning, bytes![kind.option(), " arg ", trouble, ": ", path]);
        let looked = match &target.root {
            Some(root) => with_name(dir, |dir| stat_at(root.handle(), dir)),
            None => with_name(&path, |path| stat_at(at::CWD, path)),
        };
        match looked {
            Err(_) => warn("does not exist"),
            Ok(stat) if !stat.is_dir() => warn("is not a dir"),
            Ok(_) => {}
        }
        let named = named(options);
        let opened = match &target.root {
            Some(root) => root.open_beside(dir, &named, root.follow()),
            None => named.open_dir(&path, Follow::Never),
        };
        if opened.as_ref().is_err_and(is_untrusted_link) {
            log.say(LogCode::Error, UNTRUSTED_LINK);
        }
        if opened.as_ref().is_err_and(is_out_of_bounds) {
            warn("leads out of --confine-root");
        }
        Self { root: opened.ok(), path, given: dir.to_vec() }
    }

    /// The tree, if there is one.
    pub fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// What is called `path` there; a link itself.
    pub fn stat(&self, dest: Dest<'_>, path: &[u8]) -> io::Result<Stat> {
        dest.stat_in(self.root.as_ref().ok_or_else(not_found)?, path, || self.name(path))
    }

    /// How messages call the file of that name.
    pub fn name(&self, path: &[u8]) -> Vec<u8> {
        join(&self.path, path)
    }

    /// How the user would call it.
    pub fn given_name(&self, path: &[u8]) -> Vec<u8> {
        join(&self.given, path)
    }

    /// Gives the file of that name its second name, at the destination.
    pub fn link(&self, dest: Dest<'_>, path: &[u8]) -> io::Result<()> {
        if dest.rules.dry_run {
            return Ok(());
        }
        self.root.as_ref().ok_or_else(not_found)?.link(path, dest.root, path)
    }
}

fn not_found() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

/// An empty name is the destination itself.
fn without_slash(dir: &[u8]) -> &[u8] {
    match dir {
        [] => b".",
        [dir @ .., b'/'] if !dir.is_empty() => dir,
        dir => dir,
    }
}

/// A relative directory is seen from the destination. Where a dry run did not make that, one step up leads to the
/// directory it would have been made in.
fn shown(dir: &[u8], target: &Target) -> Vec<u8> {
    let base = &target.names.base;
    match dir.strip_prefix(b"../") {
        _ if dir.starts_with(b"/") => dir.to_vec(),
        Some(rest) if target.root.is_none() => join(split(base).0, rest),
        _ => join(base, dir),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::dest::fixture::Fixture;

    /// A destination `dst` with something beside it, and the alternatives that the options name.
    fn opened(dirs: &[&str], missing: bool) -> (Fixture, Alternatives) {
        let fixture = Fixture::with(|options| {
            options.alt_dests = dirs.iter().map(|dir| (AltDest::Link, dir.as_bytes().to_vec())).collect();
        });
        fs::create_dir_all(fixture.path().join("alt/below")).unwrap();
        fs::write(fixture.path().join("alt/f"), "x").unwrap();
        fs::write(fixture.path().join("file"), "").unwrap();
        symlink("alt", fixture.path().join("link")).unwrap();
        symlink("below", fixture.path().join("alt/inner")).unwrap();
        fs::write(fixture.path().join("alt/below/g"), "").unwrap();
        let dst = fixture.path().join("dst");
        let root = (!missing).then(|| {
            fs::create_dir(&dst).unwrap();
            Root::open(dst.as_os_str().as_encoded_bytes(), Follow::Never).unwrap()
        });
        let names = crate::meta::Names { base: dst.as_os_str().as_encoded_bytes().to_vec(), module: None };
        let target = Target { root, names, single: None, created: false, device: 0, places: Default::default() };
        let alternatives = Alternatives::open(&fixture.options, &target, fixture.dest().log);
        (fixture, alternatives)
    }

    #[test]
    fn directories_are_seen_from_the_destination() {
        let (fixture, alternatives) = opened(&["../alt/", "../link", "../nope", "../file"], false);
        assert!(alternatives.get(0).unwrap().stat(fixture.dest(), b"f").unwrap().is_file());
        assert!(alternatives.get(1).unwrap().stat(fixture.dest(), b"f").is_ok(), "a link of ours, named by the user");
        assert!(alternatives.get(2).unwrap().stat(fixture.dest(), b"f").is_err());
        assert!(alternatives.get(3).unwrap().stat(fixture.dest(), b"f").is_err());
        let base = fixture.base();
        assert_eq!(alternatives.get(0).unwrap().name(b"f"), format!("{base}/dst/../alt/f").as_bytes());
        let said = format!(
            "--link-dest arg does not exist: {base}/dst/../nope\n--link-dest arg is not a dir: {base}/dst/../file\n"
        );
        assert_eq!(fixture.said(), said);
    }

    #[test]
    fn no_link_leads_on_below_an_alternative_directory() {
        let (fixture, alternatives) = opened(&["../alt"], false);
        let alternative = alternatives.get(0).unwrap();
        assert!(alternative.stat(fixture.dest(), b"below/g").is_ok());
        assert!(alternative.stat(fixture.dest(), b"inner/g").is_err());
        assert!(alternative.stat(fixture.dest(), b"../file").is_err());
    }

    #[test]
    fn a_destination_that_was_not_made_is_looked_past() {
        let (fixture, alternatives) = opened(&["../alt", "../../nope", "alt"], true);
        assert!(alternatives.get(0).unwrap().stat(fixture.dest(), b"f").is_ok());
        let base = fixture.base();
        let said =
            format!("--link-dest arg does not exist: {base}/../nope\n--link-dest arg does not exist: {base}/dst/alt\n");
        assert_eq!(fixture.said(), said);
    }
}
