//! The trees that the source arguments lie in.
//!
//! What a user names is found by the kernel's own rules, links and all; what is found below it is read through a handle
//! that links cannot lead out of, unless the options say that links are to be followed.

use std::io;

use super::Entry;
use crate::{
    fs::{Follow, Root},
    options::Options,
    sys::stat,
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
    tree: Root,
    /// Directories that arguments name by way of links out of `tree`: their names, and they themselves.
    beyond: Vec<(Vec<u8>, Root)>,
}

impl Source {
    /// The tree in which a path of the list is read, and the path there.
    pub fn place<'p>(&self, path: &'p [u8]) -> (&Root, &'p [u8]) {
        for (dir, tree) in &self.beyond {
            match path.strip_prefix(dir.as_slice()) {
                Some([]) => return (tree, b""),
                Some([b'/', rest @ ..]) => return (tree, rest),
                _ => {}
            }
        }
        (&self.tree, self.below(path))
    }

    /// Path below `named`.
    pub(super) fn below<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        if self.rooted { path.strip_prefix(b"/").unwrap_or(path) } else { path }
    }

    /// Makes a directory that the user named readable, wherever links on the way to it lead.
    fn trust(&mut self, dir: &[u8]) {
        let (tree, rel) = self.place(dir);
        if tree.follow() == Follow::Always || tree.directory(rel).is_ok() {
            return;
        }
        let found = self.named.directory(self.below(dir)).and_then(|handle| handle.try_clone());
        if let Ok(handle) = found {
            self.beyond.push((dir.to_vec(), Root::from_handle(handle, self.tree.follow())));
            self.beyond.sort_by_key(|(dir, _)| std::cmp::Reverse(dir.len()));
        }
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
    /// Where in `list` each number stands. Coming back to a directory after another one gives a new number: the
    /// reference scans what is named twice in this way twice, and counts it so.
    visits: Vec<u32>,
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
            visits: Vec::new(),
            start: std::env::current_dir()?.into_os_string().into_vec(),
            below: if free { Follow::Always } else { Follow::Inside },
        })
    }

    pub fn get(&self, number: u32) -> Option<&Source> {
        self.list.get(*self.visits.get(number as usize)? as usize)
    }

    /// The tree of an entry that a walker listed, and the entry's path below it.
    pub fn of<'s>(&'s self, entry: Entry<'_>) -> Option<(&'s Root, Vec<u8>)> {
        let source = self.get(entry.source())?;
        let path = entry.path();
        let (tree, rel) = source.place(&path);
        Some((tree, rel.to_vec()))
    }

    /// To be told of the directories in which named files lie, and of named directories that are links.
    pub(super) fn trust(&mut self, number: u32, dir: &[u8]) {
        let source = self.visits.get(number as usize).and_then(|&at| self.list.get_mut(at as usize));
        if let Some(source) = source {
            source.trust(dir);
        }
    }

    /// The number of the tree in which a name is looked up, opened now or already; on failure also the directory's
    /// full name for the message.
    pub(super) fn open(&mut self, dir: Option<&[u8]>, name: &[u8]) -> Result<u32, (Vec<u8>, io::Error)> {
        let rooted = name.first() == Some(&b'/');
        let known = self.list.iter().position(|source| source.dir.as_deref() == dir && source.rooted == rooted);
        if let Some(known) = known {
            return Ok(self.visit(known as u32, dir.is_none()));
        }
        let path = if rooted { b"/" } else { dir.unwrap_or(b".") };
        let open = |below| Root::open_named(path, Follow::Always, below);
        let trees = open(Follow::Always).and_then(|named| {
            stat::lstat_at(named.handle(), c".")?; // one may be opened without being searchable
            Ok((named, open(self.below)?))
        });
        let (named, tree) = trees.map_err(|error| (quoted(&self.start, path), error))?;
        self.list.push(Source {
            dir: dir.map(<[u8]>::to_vec),
            shown: self.shown(dir),
            rooted,
            named,
            tree,
            beyond: Vec::new(),
        });
        Ok(self.visit(self.list.len() as u32 - 1, false))
    }

    fn visit(&mut self, at: u32, any: bool) -> u32 {
        let known = self.visits.iter().rposition(|&visit| visit == at);
        match known.filter(|&known| any || known + 1 == self.visits.len()) {
            Some(known) => known as u32,
            None => {
                self.visits.push(at);
                self.visits.len() as u32 - 1
            }
        }
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
                beyond: source
                    .beyond
                    .iter()
                    .map(|(dir, tree)| Ok((dir.clone(), tree.try_clone()?)))
                    .collect::<io::Result<_>>()?,
            })
        };
        Ok(Self {
            list: self.list.iter().map(copy).collect::<io::Result<_>>()?,
            visits: self.visits.clone(),
            start: self.start.clone(),
            below: self.below,
        })
    }
}
