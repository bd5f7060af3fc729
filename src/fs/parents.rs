//! The last few directories that were worked in, kept open by their plain paths.

use std::{borrow::Cow, io, os::fd::OwnedFd, sync::Arc};

use nix::errno::Errno;

/// How many are kept.
const KEPT: usize = 6;

/// Handles by path, the most recently used first. Paths are as [`clean`] gives them.
#[derive(Default)]
pub(super) struct Parents {
    kept: Vec<(Vec<u8>, Arc<OwnedFd>)>,
}

impl Parents {
    /// The handle of `path`, which moves to the front.
    pub fn find(&mut self, path: &[u8]) -> Option<Arc<OwnedFd>> {
        let at = self.kept.iter().position(|(kept, _)| kept == path)?;
        if at > 0 {
            self.kept.get_mut(..=at)?.rotate_right(1);
        }
        self.kept.first().map(|(_, dir)| Arc::clone(dir))
    }

    /// The deepest directory above `path` that is open, and the way from there.
    pub fn nearest<'a>(&self, path: &'a [u8]) -> Option<(&Arc<OwnedFd>, &'a [u8])> {
        let above = self.kept.iter().filter(|(kept, _)| is_below(path, kept));
        let (kept, dir) = above.max_by_key(|(kept, _)| kept.len())?;
        Some((dir, path.get(kept.len() + 1..)?))
    }

    /// Adds a handle; the one not used for longest is closed if there are too many.
    pub fn keep(&mut self, path: Vec<u8>, dir: Arc<OwnedFd>) {
        self.kept.truncate(KEPT - 1);
        self.kept.insert(0, (path, dir));
    }

    /// Drops the handles of `path` and of what is below it; whether there were any.
    pub fn forget(&mut self, path: &[u8]) -> bool {
        let before = self.kept.len();
        self.kept.retain(|(kept, _)| kept != path && !is_below(kept, path));
        self.kept.len() != before
    }

    pub fn clear(&mut self) {
        self.kept.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// Whether `path` lies below the directory `dir`.
fn is_below(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty() || (path.starts_with(dir) && path.get(dir.len()) == Some(&b'/'))
}

/// At the last slash: (what is before it, the last component).
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'/', path) {
        Some(slash) => {
            let (dir, leaf) = path.split_at(slash);
            (dir, leaf.get(1..).unwrap_or_default())
        }
        None => (&[], path),
    }
}

/// `path` with plain components only; `ELOOP` for `..`, `EINVAL` for an absolute path.
pub(super) fn clean(path: &[u8]) -> io::Result<Cow<'_, [u8]>> {
    if path.first() == Some(&b'/') {
        return Err(Errno::EINVAL.into());
    }
    let mut plain = true;
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b".." => return Err(Errno::ELOOP.into()),
            b"" | b"." => plain = false,
            _ => {}
        }
    }
    if plain {
        return Ok(Cow::Borrowed(path));
    }
    let kept = path.split(|&byte| byte == b'/').filter(|component| !matches!(*component, b"" | b"."));
    Ok(Cow::Owned(kept.collect::<Vec<_>>().join(&b'/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> Arc<OwnedFd> {
        Arc::new(std::fs::File::open("/").unwrap().into())
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut parents = Parents::default();
        for index in 0..KEPT {
            parents.keep(vec![index as u8], any());
        }
        assert!(parents.find(&[0]).is_some());
        parents.keep(b"new".to_vec(), any());
        assert!(parents.find(&[1]).is_none());
        assert!(parents.find(&[0]).is_some() && parents.find(b"new").is_some() && parents.find(&[2]).is_some());
        assert_eq!(parents.kept.len(), KEPT);
    }

    #[test]
    fn the_deepest_above_is_nearest() {
        let mut parents = Parents::default();
        for path in ["a", "a/b", "a/bc", "x"] {
            parents.keep(path.into(), any());
        }
        let way = |path: &str| parents.nearest(path.as_bytes()).map(|(_, way)| way.to_vec());
        assert_eq!(way("a/b/c/d").as_deref(), Some(&b"c/d"[..]));
        assert_eq!(way("a/bcd/e").as_deref(), Some(&b"bcd/e"[..]));
        assert_eq!(way("ab/c"), None);
        assert_eq!(way("a"), None);
    }

    #[test]
    fn what_is_below_is_forgotten_too() {
        let mut parents = Parents::default();
        for path in ["a", "a/b", "a/b/c", "ab"] {
            parents.keep(path.into(), any());
        }
        assert!(parents.forget(b"a/b"));
        assert!(!parents.forget(b"a/b"));
        let left: Vec<_> = parents.kept.iter().map(|(path, _)| path.as_slice()).collect();
        assert_eq!(left, [&b"ab"[..], b"a"]);
        assert!(parents.forget(b"") && parents.is_empty());
    }

    #[test]
    fn paths_become_plain() {
        for (path, want) in [("", ""), (".", ""), ("./a", "a"), ("a//b/.", "a/b"), ("a/", "a"), ("...", "...")] {
            assert_eq!(clean(path.as_bytes()).unwrap(), want.as_bytes(), "{path}");
        }
        assert_eq!(clean(b"a/..").unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(clean(b"/a").unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
