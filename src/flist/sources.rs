//! The trees that the source arguments lie in.

use std::io;

use super::Entry;
use crate::{
    fs::{Follow, Root},
    options::Options,
    text::path::{Clean, DotDot, clean, inside},
};

/// A directory in which source arguments are looked up, open.
pub struct Source {
    /// As typed; `None`: the directory we were started in. C: F_PATHNAME
    pub dir: Option<Vec<u8>>,
    /// Its absolute name, for messages.
    shown: Vec<u8>,
    /// Names are absolute (`-R /etc`): `tree` is the root of the file system.
    rooted: bool,
    /// For a look at what was named: the kernel's own rules about links.
    pub(super) named: Root,
    /// For reading directories and files: links lead no further than the options allow.
    pub tree: Root,
}

impl Source {
    /// Path of an entry's file below `tree`.
    pub fn below<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        if self.rooted { path.strip_prefix(b"/").unwrap_or(path) } else { path }
    }

    /// A path of the list as messages show it, in quotes. C: util1.c full_fname
    pub fn full_name(&self, path: &[u8]) -> Vec<u8> {
        quoted(&self.shown, path)
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

/// All trees of a transfer, by the number that entries carry.
pub struct Sources {
    list: Vec<Source>,
    /// The absolute name of the directory we were started in.
    start: Vec<u8>,
    below: Follow,
}

impl Sources {
    pub fn new(options: &Options) -> io::Result<Self> {
        use std::os::unix::ffi::OsStringExt;
        let free = options.copy_links || options.copy_unsafe_links || options.copy_dirlinks || options.insecure_links;
        Ok(Self {
            list: Vec::new(),
            start: std::env::current_dir()?.into_os_string().into_vec(),
            below: if free { Follow::Always } else { Follow::Inside },
        })
    }

    pub fn get(&self, number: u32) -> Option<&Source> {
        self.list.get(number as usize)
    }

    /// The tree of an entry that a walker listed, and the entry's path below it.
    pub fn of<'s>(&'s self, entry: Entry<'_>) -> Option<(&'s Root, Vec<u8>)> {
        let source = self.get(entry.source())?;
        let path = entry.path();
        Some((&source.tree, source.below(&path).to_vec()))
    }

    /// The number of the tree in which a name is looked up, opened now or already; on failure also the directory's
    /// full name for the message.
    pub(super) fn open(&mut self, dir: Option<&[u8]>, name: &[u8]) -> Result<u32, (Vec<u8>, io::Error)> {
        let rooted = name.first() == Some(&b'/');
        let known = self.list.iter().position(|source| source.dir.as_deref() == dir && source.rooted == rooted);
        if let Some(known) = known {
            return Ok(known as u32);
        }
        let path = if rooted { b"/" } else { dir.unwrap_or(b".") };
        let open = |below| Root::open_named(path, Follow::Always, below);
        let trees = open(Follow::Always).and_then(|named| Ok((named, open(self.below)?)));
        let (named, tree) = trees.map_err(|error| (quoted(&self.start, path), error))?;
        self.list.push(Source { dir: dir.map(<[u8]>::to_vec), shown: self.shown(dir), rooted, named, tree });
        Ok(self.list.len() as u32 - 1)
    }

    fn shown(&self, dir: Option<&[u8]>) -> Vec<u8> {
        let whole = match dir {
            None => self.start.clone(),
            Some(dir) if dir.first() == Some(&b'/') => dir.to_vec(),
            Some(dir) => inside(&self.start, dir),
        };
        let how = Clean { drop_trailing_dot: true, dot_dot: DotDot::Collapse, ..Clean::default() };
        clean(&whole, how).unwrap_or(whole)
    }

    /// The same trees for another thread.
    pub fn try_clone(&self) -> io::Result<Self> {
        let copy = |source: &Source| -> io::Result<Source> {
            Ok(Source {
                dir: source.dir.clone(),
                shown: source.shown.clone(),
                rooted: source.rooted,
                named: source.named.try_clone()?,
                tree: source.tree.try_clone()?,
            })
        };
        Ok(Self {
            list: self.list.iter().map(copy).collect::<io::Result<_>>()?,
            start: self.start.clone(),
            below: self.below,
        })
    }
}
