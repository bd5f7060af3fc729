//! Wildcards in paths that reached a server past the shell that would have expanded them.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use crate::text::{
    path::{Clean, DotDot, clean},
    wildmatch::wildmatch,
};

/// The arguments of a server with the wildcards in the paths behind the first `.` expanded.
pub fn expand_paths(words: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let options = words.iter().position(|word| word == b".").map_or(words.len(), |dot| dot + 1);
    let mut expanded = words[..options].to_vec();
    expanded.extend(words[options..].iter().flat_map(|word| expand(word)));
    expanded
}

/// The paths that a pattern matches, in the order in which the directories list them; the tidied pattern itself where
/// there are none. C: util1.c glob_expand
fn expand(pattern: &[u8]) -> Vec<Vec<u8>> {
    let how = Clean { keep_dots: true, keep_trailing_slash: true, dot_dot: DotDot::Collapse, ..Clean::default() };
    let pattern = clean(pattern, how).unwrap_or_else(|| pattern.to_vec());
    let mut found = Vec::new();
    walk(Vec::new(), &pattern, &mut found);
    if found.is_empty() {
        found.push(pattern);
    }
    found
}

fn walk(mut prefix: Vec<u8>, mut pattern: &[u8], found: &mut Vec<Vec<u8>>) {
    while let Some(rest) = pattern.strip_prefix(b"./") {
        prefix.extend(b"./");
        pattern = rest;
    }
    let slash = memchr::memchr(b'/', pattern);
    let (name, rest) = match slash {
        Some(at) => (&pattern[..at], Some(&pattern[at + 1..])),
        None => (pattern, None),
    };
    if !name.iter().any(|b| b"*?[".contains(b)) {
        return step(prefix, name, false, rest, found);
    }
    let dir: &[u8] = if prefix.is_empty() { b"." } else { &prefix };
    let Ok(entries) = fs::read_dir(Path::new(OsStr::from_bytes(dir))) else { return };
    for entry in entries.flatten() {
        let entry = entry.file_name().into_vec();
        if wildmatch(name, &entry) {
            step(prefix.clone(), &entry, true, rest, found);
        }
    }
}

/// Goes on behind a component that matched: what a wildcard found, and what more is to follow, must exist.
fn step(mut path: Vec<u8>, name: &[u8], by_wildcard: bool, rest: Option<&[u8]>, found: &mut Vec<Vec<u8>>) {
    path.extend(name);
    if by_wildcard || rest.is_some() && !name.is_empty() {
        let Ok(meta) = fs::metadata(Path::new(OsStr::from_bytes(&path))) else { return };
        if rest.is_some() && !meta.is_dir() {
            return;
        }
    }
    match rest {
        None => found.push(path),
        Some(rest) => {
            path.push(b'/');
            walk(path, rest, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(dir: &Path, pattern: &str) -> Vec<String> {
        let root = format!("{}/", dir.display());
        let mut paths: Vec<String> = expand(format!("{root}{pattern}").as_bytes())
            .into_iter()
            .map(|path| String::from_utf8(path).unwrap().strip_prefix(&root).unwrap().to_owned())
            .collect();
        paths.sort();
        paths
    }

    #[test]
    fn wildcards_at_every_level() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a1/x", "a2/x", "a2/y", "b/.x"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(dir.path().join("a3"), "").unwrap();
        assert_eq!(expanded(dir.path(), "a*/x"), ["a1/x", "a2/x"]);
        assert_eq!(expanded(dir.path(), "a?"), ["a1", "a2", "a3"]);
        assert_eq!(expanded(dir.path(), "[ab]*/"), ["a1/", "a2/", "b/"]);
        assert_eq!(expanded(dir.path(), "b/*"), ["b/.x"]);
        assert_eq!(expanded(dir.path(), "c*/x"), ["c*/x"]);
        assert_eq!(expanded(dir.path(), "none//x"), ["none/x"]);
        assert_eq!(expanded(dir.path(), "./a2/./[y]"), ["./a2/./y"]);
    }

    #[test]
    fn only_paths_are_patterns() {
        let words = ["--suffix=*", ".", "no-such-*"].map(|word| word.as_bytes().to_vec());
        assert_eq!(expand_paths(&words), words);
    }
}
