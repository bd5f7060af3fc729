//! Paths as byte strings: joining, splitting, tidying, and judging where a symlink leads.

/// What a module that munges symlinks puts in front of every target. C: SYMLINK_PREFIX
pub const MUNGE_PREFIX: &[u8] = b"/rsyncd-munged/";

/// What `clean` does with a `..` component.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DotDot {
    #[default]
    Keep,
    /// Takes back the component before it; at the front of a relative path it stays.
    Collapse,
    /// Makes the whole path unacceptable.
    Refuse,
}

/// How far `clean` goes. C: CFN_*
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Clean {
    /// `./` stays wherever it stands.
    pub keep_dots: bool,
    pub keep_trailing_slash: bool,
    /// A closing `.` goes (and with it the slash, unless that is kept).
    pub drop_trailing_dot: bool,
    pub dot_dot: DotDot,
}

/// Removes doubled slashes and needless components; an empty result becomes `.`.
///
/// `None` only for a path that `DotDot::Refuse` refuses. C: util1.c clean_fname
pub fn clean(path: &[u8], how: Clean) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len().max(1));
    let mut rest = path;
    let anchored = rest.first() == Some(&b'/');
    if anchored {
        out.push(b'/');
    } else if how.keep_dots && rest.starts_with(b"./") {
        out.extend_from_slice(b"./");
        rest = &rest[2..];
    }
    let mut floor = 0; // what lies before it cannot be taken back
    while let Some(start) = rest.iter().position(|&byte| byte != b'/') {
        rest = &rest[start..];
        let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        rest = tail;
        match (name, tail.is_empty()) {
            (b".", false) if !how.keep_dots => continue,
            (b".", true) if how.drop_trailing_dot => break,
            (b"..", _) => match how.dot_dot {
                DotDot::Refuse => return None,
                DotDot::Collapse if anchored && out.len() == 1 => continue,
                DotDot::Collapse => match last_component(&out, floor) {
                    Some(start) => {
                        out.truncate(start);
                        continue;
                    }
                    None => floor = out.len() + 2,
                },
                DotDot::Keep => {}
            },
            _ => {}
        }
        out.extend_from_slice(name);
        if !tail.is_empty() {
            out.push(b'/');
        }
    }
    if out.len() > usize::from(anchored) && out.last() == Some(&b'/') && !how.keep_trailing_slash {
        out.pop();
    }
    if out.is_empty() {
        out.push(b'.');
    }
    Some(out)
}

/// The path as one inside a directory that it cannot leave: slashes in front go, and `..` takes back no more than there
/// is. `keep_dots`: `.` components stay (they say where a `-R` name begins). Empty becomes `.`.
/// C: util1.c sanitize_path
pub fn confined(path: &[u8], keep_dots: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len().max(1));
    let mut rest = path;
    while let Some(start) = rest.iter().position(|&byte| byte != b'/') {
        rest = &rest[start..];
        let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        rest = tail;
        match name {
            b"." if !keep_dots => {}
            b".." => out.truncate(last_component(&out, 0).unwrap_or(0)),
            _ => {
                out.extend_from_slice(name);
                if !tail.is_empty() {
                    out.push(b'/');
                }
            }
        }
    }
    if out.is_empty() {
        out.push(b'.');
    }
    out
}

/// Where the last component of `out` (which ends in a slash) begins, if any begins at or after `floor`.
fn last_component(out: &[u8], floor: usize) -> Option<usize> {
    let body = out.len().checked_sub(1).filter(|&body| body > floor)?;
    Some(out[floor..body].iter().rposition(|&byte| byte == b'/').map_or(floor, |slash| floor + slash + 1))
}

/// How many directories deep a path leads; `.` components do not count, except a first one. C: util1.c count_dir_elements
pub fn depth(path: &[u8]) -> usize {
    let mut names = path.split(|&byte| byte == b'/').enumerate();
    names.by_ref().filter(|(at, name)| !name.is_empty() && (*at == 0 || *name != b".")).count()
}

/// `dir/name`, with no second slash; an empty `dir` still gives a leading slash, as the reference has it.
/// C: util1.c pathjoin
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if dir.last() == Some(&b'/') { b"" } else { b"/" };
    [dir, slash, name].concat()
}

/// `name` inside `dir`, where an empty directory means "here".
pub fn inside(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { join(dir, name) }
}

/// Directory (without its slash; the root keeps it; empty if there is none) and last component.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'/', path) {
        None => (b"", path),
        Some(0) => (b"/", &path[1..]),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
    }
}

/// Everything after the last slash.
pub fn base(path: &[u8]) -> &[u8] {
    split(path).1
}

/// Whether a symlink at `source` (a path from the top of the transfer) with this target could lead out of the tree.
///
/// Absolute and empty targets do; so does any target with a `..` after its leading ones. C: util1.c unsafe_symlink
pub fn unsafe_symlink(target: &[u8], source: &[u8]) -> bool {
    if target.is_empty() || target[0] == b'/' {
        return true;
    }
    let mut beyond = target;
    while let Some(rest) = beyond.strip_prefix(b"../") {
        let slashes = rest.iter().take_while(|&&byte| byte == b'/').count();
        beyond = &rest[slashes..];
    }
    if memchr::memmem::find(beyond, b"/../").is_some() || (target.len() > 3 && target.ends_with(b"/..")) {
        return true;
    }
    let mut depth = 0;
    for (name, is_last) in components(source) {
        match name {
            b".." => depth = 0,
            b"." => {}
            _ if is_last => {}
            _ => depth += 1,
        }
    }
    for (name, is_last) in components(target) {
        match name {
            b".." => depth -= 1,
            b"." => {}
            _ if is_last => {}
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

/// The components of a path with a mark on the last; a run of slashes is one, and one in front follows an empty name.
fn components(path: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let here = rest?;
        let Some(slash) = memchr::memchr(b'/', here) else {
            rest = None;
            return Some((here, true));
        };
        let slashes = here[slash..].iter().take_while(|&&byte| byte == b'/').count();
        rest = Some(&here[slash + slashes..]);
        Some((&here[..slash], false))
    })
}

/// The target as a munging receiver stores it: useless until the prefix is taken off.
pub fn munge(target: &[u8]) -> Vec<u8> {
    [MUNGE_PREFIX, target].concat()
}

/// The target as it was before `munge`; one that was not munged is returned as it is.
pub fn unmunge(target: &[u8]) -> &[u8] {
    match target.strip_prefix(MUNGE_PREFIX) {
        Some(rest) if !rest.is_empty() => rest,
        _ => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: Option<Vec<u8>>) -> String {
        path.map_or("refused".into(), |path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn confined_paths_stay_inside() {
        let cases = [
            ("a/b", "a/b", "a/b"),
            ("/a//b/", "a/b/", "a/b/"),
            ("../../a", "a", "a"),
            ("a/../../b", "b", "b"),
            ("a/b/..", "a/", "a/"),
            ("a/..", ".", "."),
            ("", ".", "."),
            ("/", ".", "."),
            ("./a/./b/.", "./a/./b/.", "a/b/"),
            ("a/./../b", "a/b", "b"),
            ("..a/b..", "..a/b..", "..a/b.."),
        ];
        for (path, with_dots, without) in cases {
            let text = |keep| String::from_utf8(confined(path.as_bytes(), keep)).unwrap();
            assert_eq!((text(true).as_str(), text(false).as_str()), (with_dots, without), "{path}");
        }
    }

    #[test]
    fn clean_removes_slashes_and_dots() {
        let cases = [
            ("", "."),
            (".", "."),
            ("/", "/"),
            ("//", "/"),
            ("a//b///c/", "a/b/c"),
            ("./a/./b/.", "a/b/."),
            ("a/../b", "a/../b"),
            ("./", "."),
            ("/./a", "/a"),
        ];
        for (path, expected) in cases {
            assert_eq!(text(clean(path.as_bytes(), Clean::default())), expected, "{path}");
        }
    }

    #[test]
    fn clean_keeps_what_it_is_told_to() {
        let keep = Clean { keep_dots: true, keep_trailing_slash: true, ..Clean::default() };
        assert_eq!(text(clean(b"./a/.//b//", keep)), "./a/./b/");
        let drop = Clean { drop_trailing_dot: true, ..Clean::default() };
        assert_eq!(text(clean(b"a/b/.", drop)), "a/b");
        assert_eq!(text(clean(b"a/b/.", Clean { keep_trailing_slash: true, ..drop })), "a/b/");
        assert_eq!(text(clean(b".", drop)), ".");
    }

    #[test]
    fn clean_collapses_dot_dot() {
        let how = Clean { dot_dot: DotDot::Collapse, ..Clean::default() };
        let cases = [
            ("a/../b", "b"),
            ("a/b/../../c", "c"),
            ("a/..", "."),
            ("a/b/..", "a"),
            ("../a/../b", "../b"),
            ("../../a", "../../a"),
            ("a/../../b", "../b"),
            ("/..", "/"),
            ("/../a", "/a"),
            ("/a/../../b", "/b"),
            ("a/..b/c", "a/..b/c"),
            ("..", ".."),
        ];
        for (path, expected) in cases {
            assert_eq!(text(clean(path.as_bytes(), how)), expected, "{path}");
        }
    }

    #[test]
    fn clean_refuses_dot_dot() {
        let how = Clean { dot_dot: DotDot::Refuse, ..Clean::default() };
        for path in ["..", "../a", "a/../b", "a/..", "/..", "./../a"] {
            assert_eq!(text(clean(path.as_bytes(), how)), "refused", "{path}");
        }
        for (path, expected) in [("..a", "..a"), ("a..", "a.."), ("a/...", "a/...")] {
            assert_eq!(text(clean(path.as_bytes(), how)), expected);
        }
    }

    #[test]
    fn depth_counts_names() {
        for (path, expected) in [("", 0), ("/", 0), ("a", 1), ("/a/b/", 2), ("a/./b", 2), ("./a", 2), ("a//b/.", 2)] {
            assert_eq!(depth(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn join_and_split() {
        assert_eq!(join(b"a", b"b"), b"a/b");
        assert_eq!(join(b"/", b"b"), b"/b");
        assert_eq!(inside(b"", b"b"), b"b");
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
        assert_eq!(split(b"/c"), (&b"/"[..], &b"c"[..]));
        assert_eq!(base(b"a/"), b"");
    }

    #[test]
    fn unsafe_symlinks_are_found() {
        let cases = [
            ("", "a", true),
            ("/etc", "a", true),
            ("b", "a", false),
            ("../b", "a", true),
            ("../b", "d/a", false),
            ("../../b", "d/a", true),
            ("..", "a", true),
            ("..", "d/a", false),
            ("../..", "d/e/a", true), // ends in /..: refused whatever the depth
            ("x/../y", "a", true),
            ("../x/../y", "d/e/f", true),
            ("..//..///b", "d/e/a", false),
            ("./../b", "d/a", true), // not a leading one
            ("b/c", "../a", false),
            ("../b", "d/../a", true),
            ("..b", "a", false),
            ("../b", "./a", true),
            ("../b", "/a", false), // the leading slash counts as a level
        ];
        for (target, source, expected) in cases {
            assert_eq!(unsafe_symlink(target.as_bytes(), source.as_bytes()), expected, "{source} -> {target}");
        }
    }

    #[test]
    fn munging_goes_and_comes_back() {
        assert_eq!(munge(b"../x"), b"/rsyncd-munged/../x");
        assert_eq!(unmunge(&munge(b"../x")), b"../x");
        assert_eq!(unmunge(b"plain"), b"plain");
        assert_eq!(unmunge(MUNGE_PREFIX), MUNGE_PREFIX);
    }
}
