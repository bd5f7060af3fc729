//! `--prune-empty-dirs`: directories in which nothing is left are taken out of the list.

use super::Segment;
use crate::text::path;

/// Takes out directories that hold nothing but such directories; `keeps` says of a directory's path that it stays all the
/// same, and what leads to it. The list is sorted. C: the end of flist.c flist_sort_and_clean
pub(super) fn prune(segment: &mut Segment, keeps: impl Fn(&[u8]) -> bool) {
    let active = |at: &usize| segment.entry(*at).is_active();
    let Some(last) = (0..segment.len()).rev().find(active) else { return };
    let first = (0..last).find(active).unwrap_or(last);
    // Directories on the way to the entry at hand of which nothing is known yet.
    let mut chain: Vec<usize> = Vec::new();
    let mut depth: usize = 0;
    let mut dropped = Vec::new();
    for at in first..=last {
        let entry = segment.entry(at);
        let own = if entry.is_dir() { depth_of(entry.dir(), entry.base()) } else { 0 };
        if own == 0 {
            chain.clear();
            continue;
        }
        let empty = (depth + 1).saturating_sub(own).min(chain.len());
        dropped.extend(chain.drain(chain.len() - empty..));
        depth = own;
        if keeps(&entry.path()) {
            chain.clear();
        } else {
            chain.push(at);
        }
    }
    dropped.extend(chain);
    dropped.into_iter().for_each(|at| segment.clear_entry(at));
}

/// How many directories deep a directory lies; 0: it is the top. C: F_DEPTH
fn depth_of(dir: &[u8], base: &[u8]) -> usize {
    path::depth(dir) + usize::from(base != b".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flist::{Attributes, order, order::Order, split_path},
        log::Speaker,
    };

    /// What is left of these paths; those that end in a slash are directories.
    fn left(paths: &[&str], kept: &str) -> Vec<String> {
        let mut segment = Segment::new(0, -1);
        for path in paths {
            let (name, mode) = match path.strip_suffix('/') {
                Some(dir) => (dir, libc::S_IFDIR | 0o755),
                None => (*path, libc::S_IFREG | 0o644),
            };
            let (dir, base, slash) = split_path(name.as_bytes());
            let dir = segment.dir(dir, slash, 0, Speaker::Receiver).unwrap();
            segment.push(dir, base, &Attributes { mode, ..Attributes::default() }, Speaker::Receiver).unwrap();
        }
        order::sort(&mut segment, Order::Tree);
        prune(&mut segment, |path| path == kept.as_bytes());
        let active = segment.entries().filter(|(_, entry)| entry.is_active());
        active.map(|(_, entry)| String::from_utf8(entry.path()).unwrap()).collect()
    }

    #[test]
    fn only_directories_on_the_way_to_something_stay() {
        let tree = ["./", "a/", "a/b/", "a/b/c/", "d/", "d/e/", "d/e/file", "d/f/", "z/"];
        assert_eq!(left(&tree, ""), [".", "d", "d/e", "d/e/file"]);
        assert_eq!(left(&["a/", "a/b/"], ""), [""; 0]);
        assert_eq!(left(&["a/", "b/", "b/x"], ""), ["b", "b/x"]);
    }

    #[test]
    fn what_is_kept_keeps_its_way() {
        assert_eq!(left(&["a/", "a/b/", "a/b/c/", "a/d/"], "a/b"), ["a", "a/b"]);
    }
}
