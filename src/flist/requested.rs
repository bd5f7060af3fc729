//! What a client asked a sender for, as a check on the names that come back.
//!
//! Every source argument allows its last component (with `-R` all its components, the leading ones as directories
//! only) and, when directories are transferred, what lies below. A sender that offers anything else is not to be
//! trusted. C: exclude.c implied_filter_list

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    bytes,
    log::{Log, LogCode},
    options::{Debug, Options},
    text::wildmatch::wildmatch,
};

/// What was asked for of a name without wildcards, each with the number of the request: the latest one counts.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    itself: Option<u32>,
    /// It leads to what was asked for, but was not asked for itself.
    as_parent: Option<u32>,
    contents: Option<u32>,
}

/// One allowed pattern: always from the top of the transfer.
#[derive(Debug)]
struct Rule {
    /// Without the leading slash.
    pattern: Vec<u8>,
    only_dir: bool,
    number: u32,
}

impl Rule {
    fn fits(&self, name: &[u8], is_dir: bool) -> bool {
        (is_dir || !self.only_dir) && wildmatch(&self.pattern, name)
    }
}

/// All names that were asked for. Requests may be millions (`--files-from`): plain names are looked up, only patterns
/// are tried one by one.
#[derive(Debug, Default)]
struct Names {
    /// Without leading slash; the top of the transfer is the empty name.
    plain: HashMap<Box<[u8]>, Marks>,
    wild: Vec<Rule>,
    count: u32,
}

/// A rule that fits a name.
struct Fit {
    number: u32,
    only_dir: bool,
    /// As the reference would show it, without leading slash.
    pattern: Vec<u8>,
}

/// The check on a sender's names. Clones share it: names from a list are asked for while their entries come in.
#[derive(Clone, Debug)]
pub struct Requested {
    names: Arc<Mutex<Names>>,
    relative: bool,
    recurse: bool,
    dirs: bool,
}

impl Requested {
    /// Nothing asked for yet. A sender that is trusted (`--trust-sender`, `--old-args`, a local copy) is not checked
    /// at all: then there is no `Requested`.
    pub fn new(options: &Options) -> Self {
        let dirs = options.dirs != crate::options::Dirs::Skip;
        Self { names: Arc::default(), relative: options.relative, recurse: options.recurse(), dirs }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Allows what a source argument stands for; `arg` without its host. A daemon's starts with the module's name,
    /// which is to be skipped. C: exclude.c add_implied_include
    pub fn add(&self, arg: &[u8], skip_module: bool, log: &Log) {
        let mut arg = arg;
        if skip_module {
            arg = memchr::memchr(b'/', arg).map_or(&[], |slash| &arg[slash + 1..]);
        }
        if self.relative {
            arg = memchr::memmem::find(arg, b"/./").map_or(arg, |dot| &arg[dot + 3..]);
        } else {
            arg = memchr::memrchr(b'/', arg).map_or(arg, |slash| &arg[slash + 1..]);
        }
        if arg == b"." {
            arg = b"";
        }
        let wild = arg.iter().any(|byte| b"*[?".contains(byte));
        let pattern = pattern_of(arg, wild);
        let mut names = self.names();
        if !pattern.is_empty() {
            names.add(&pattern, wild, false, log);
            if self.relative {
                names.add_parents(&pattern, wild, log);
            }
        }
        if self.dirs {
            names.add_contents(&pattern, wild, self.recurse, log);
        }
    }

    /// Whether the sender may offer this name. The transfer's root itself, `.`, is not to be asked about.
    pub fn allows(&self, name: &[u8], is_dir: bool, log: &Log) -> bool {
        let plain = name.strip_prefix(b"/").unwrap_or(name);
        let names = self.names();
        if log.debug(Debug::Filter) < 3 {
            return names.fitting(plain, is_dir, self.recurse).next().is_some();
        }
        let Some(fit) = names.fitting(plain, is_dir, self.recurse).max_by_key(|fit| fit.number) else { return false };
        let (who, kind) = (log.speaker().name(), if is_dir { "directory " } else { "file " });
        let pattern = bytes!["/", fit.pattern, if fit.only_dir { "/" } else { "" }];
        let line = bytes!["[", who, "] showing ", kind, name, " because of pattern ", pattern, " [implied]"];
        log.say(LogCode::Info, line);
        true
    }

    /// Whether a directory is in the list for what it leads to, not for itself. C: exclude.c is_implied_parent_dir
    pub fn is_parent_only(&self, name: &[u8]) -> bool {
        let names = self.names();
        if matches!(name, b"." | b"/.") {
            let all = names.wild.iter().any(|rule| matches!(rule.pattern.as_slice(), b"*" | b"**"));
            return !all && names.plain.get(&b""[..]).is_none_or(|marks| marks.contents.is_none());
        }
        let name = name.strip_prefix(b"/").unwrap_or(name);
        let mut fitting = names.fitting(name, true, self.recurse).peekable();
        fitting.peek().is_some() && fitting.all(|fit| fit.only_dir)
    }
}

impl Names {
    fn add(&mut self, pattern: &[u8], wild: bool, only_dir: bool, log: &Log) {
        if wild {
            return self.add_wild(pattern.to_vec(), only_dir, log);
        }
        let number = self.number(pattern, if only_dir { "/" } else { "" }, log);
        let marks = self.marks(pattern);
        if only_dir {
            marks.as_parent = Some(number);
        } else {
            marks.itself = Some(number);
        }
    }

    /// Keeps a pattern, and beside it one for a file whose name is the pattern's text: a remote shell hands on a
    /// pattern that fits nothing. C: exclude.c maybe_add_literal_brackets_rule
    fn add_wild(&mut self, pattern: Vec<u8>, only_dir: bool, log: &Log) {
        let brackets = literal_brackets(&pattern);
        let twin = (brackets != pattern).then_some(brackets);
        for pattern in [Some(pattern), twin].into_iter().flatten() {
            let number = self.number(&pattern, if only_dir { "/" } else { "" }, log);
            self.wild.push(Rule { pattern, only_dir, number });
        }
    }

    fn add_parents(&mut self, pattern: &[u8], wild: bool, log: &Log) {
        let mut rest = pattern;
        while let Some(slash) = memchr::memrchr(b'/', rest) {
            rest = &rest[..slash];
            if self.knows(rest, wild) {
                return; // and so are its parents
            }
            let wild = wild && rest.iter().any(|byte| b"*[?\\".contains(byte));
            self.add(rest, wild, true, log);
        }
    }

    fn knows(&self, pattern: &[u8], wild: bool) -> bool {
        let marks = self.plain.get(pattern);
        marks.is_some_and(|marks| marks.itself.or(marks.as_parent).is_some())
            || wild && self.wild.iter().any(|rule| rule.pattern == pattern)
    }

    fn add_contents(&mut self, pattern: &[u8], wild: bool, recurse: bool, log: &Log) {
        let below = contents_pattern(pattern, wild, recurse);
        if wild {
            return self.add_wild(below, false, log);
        }
        let number = self.number(&below, "", log);
        self.marks(pattern).contents = Some(number);
    }

    fn marks(&mut self, name: &[u8]) -> &mut Marks {
        if !self.plain.contains_key(name) {
            self.plain.insert(name.into(), Marks::default());
        }
        self.plain.entry(name.into()).or_default()
    }

    /// Counts a request, and says it.
    fn number(&mut self, pattern: &[u8], tail: &str, log: &Log) -> u32 {
        if log.debug(Debug::Filter) >= 3 {
            let who = log.speaker().name();
            log.say(LogCode::Info, bytes!["[", who, "] add_implied_include(/", pattern, tail, ")"]);
        }
        self.count = self.count.saturating_add(1);
        self.count
    }

    /// The rules that fit a name.
    fn fitting<'a>(&'a self, name: &'a [u8], is_dir: bool, recurse: bool) -> impl Iterator<Item = Fit> + 'a {
        let marks = self.plain.get(name).filter(|_| !name.is_empty()).copied().unwrap_or_default();
        let own =
            move |number: Option<u32>, only_dir| number.map(|number| Fit { number, only_dir, pattern: name.to_vec() });
        let itself = own(marks.itself, false).into_iter().chain(own(marks.as_parent.filter(|_| is_dir), true));
        let fits = move |rule: &&Rule| !name.is_empty() && rule.fits(name, is_dir);
        let wild = self.wild.iter().filter(fits).map(|rule| {
            let Rule { pattern, only_dir, number } = rule;
            Fit { number: *number, only_dir: *only_dir, pattern: pattern.clone() }
        });
        itself.chain(self.contents_above(name, recurse)).chain(wild)
    }

    /// The directories above a name whose contents were asked for.
    fn contents_above<'a>(&'a self, name: &'a [u8], recurse: bool) -> impl Iterator<Item = Fit> + 'a {
        let slashes = memchr::memrchr_iter(b'/', name);
        let tops = slashes.map(|slash| &name[..slash]).chain((!name.is_empty()).then_some(&b""[..]));
        let tops = tops.take(if recurse { usize::MAX } else { 1 });
        tops.filter_map(move |dir| {
            let number = self.plain.get(dir)?.contents?;
            Some(Fit { number, only_dir: false, pattern: contents_pattern(dir, false, recurse) })
        })
    }
}

/// What lies in, or below, what a pattern fits.
fn contents_pattern(pattern: &[u8], wild: bool, recurse: bool) -> Vec<u8> {
    // what was plain text becomes part of a pattern
    let mut below = if wild { pattern.to_vec() } else { escape(pattern, b"\\") };
    if !below.is_empty() {
        below.push(b'/');
    }
    below.extend_from_slice(if recurse { b"**" } else { b"*" });
    below
}

/// The argument without needless slashes and dots. The far shell takes a backslash away in front of a wildcard
/// character, so outside of patterns it goes here too (only before `]`: others stay with what they protect).
fn pattern_of(arg: &[u8], wild: bool) -> Vec<u8> {
    let mut out = vec![b'/'];
    let mut rest = arg;
    while let Some((&byte, tail)) = rest.split_first() {
        let next = tail.first().copied();
        let at_start = out.last() == Some(&b'/');
        match byte {
            b'\\' if next == Some(b']') => {
                if wild {
                    out.push(b'\\');
                    rest = tail;
                } else {
                    out.push(b']');
                    rest = &tail[1..];
                }
                continue;
            }
            b'\\' if !next.is_some_and(|next| b"*[?".contains(&next)) && wild => out.extend_from_slice(b"\\\\"),
            b'/' if at_start || next.is_none() => {}
            b'.' if at_start && matches!(next, None | Some(b'/')) => {}
            _ => out.push(byte),
        }
        rest = tail;
    }
    if out.len() > 1 && out.last() == Some(&b'/') {
        out.pop();
    }
    out.split_off(1)
}

fn escape(text: &[u8], what: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 3);
    for &byte in text {
        if what.contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out
}

/// Every live `[` of a pattern made a plain one.
fn literal_brackets(pattern: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pattern.len() + 1);
    let mut bytes = pattern.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                out.push(byte);
                out.extend(bytes.next());
            }
            b'[' => out.extend_from_slice(b"\\["),
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{log::Speaker, options::Dirs};

    fn log() -> Log {
        Log::unheard(Speaker::Receiver)
    }

    fn requested(args: &[&str], dirs: Dirs, relative: bool) -> Requested {
        let log = log();
        let requested = Requested::new(&Options { dirs, relative, ..Options::default() });
        args.iter().for_each(|arg| requested.add(arg.as_bytes(), false, &log));
        requested
    }

    #[test]
    fn a_tree_by_its_name() {
        let tree = requested(&["/srv/tree", "file"], Dirs::Recurse, false);
        for (name, allowed) in
            [("tree", true), ("tree/a", true), ("tree/a/b", true), ("file", true), ("tre", false), ("other", false)]
        {
            assert_eq!(tree.allows(name.as_bytes(), false, &log()), allowed, "{name}");
        }
        assert!(!tree.is_parent_only(b"tree"));
        assert!(tree.is_parent_only(b"."), "the root was not asked for");
    }

    #[test]
    fn names_of_a_list_are_looked_up() {
        let list = requested(&["a/b", "e", "./x/", "p*"], Dirs::Implied, true);
        for (name, is_dir, allowed) in [
            ("a", true, true),
            ("a", false, false),
            ("a/b", false, true),
            ("a/b/c", false, true),
            ("a/b/c/d", false, false),
            ("a/x", false, false),
            ("x/y", true, true),
            ("pat", false, true),
            ("q", false, false),
        ] {
            assert_eq!(list.allows(name.as_bytes(), is_dir, &log()), allowed, "{name}");
        }
        assert!(list.is_parent_only(b"a") && !list.is_parent_only(b"x") && list.is_parent_only(b"."));
    }

    #[test]
    fn contents_of_a_tree() {
        for arg in ["/srv/tree/", "/srv/tree/.", ".", ""] {
            let all = requested(&[arg], Dirs::Recurse, false);
            assert!(all.allows(b"anything/below", false, &log()), "{arg}");
            assert!(!all.is_parent_only(b"."), "{arg}");
        }
        let one_level = requested(&["tree/"], Dirs::List, false);
        assert!(one_level.allows(b"a", true, &log()) && !one_level.allows(b"a/b", false, &log()));
        let files = requested(&["a", "b"], Dirs::Skip, false);
        assert!(files.allows(b"a", false, &log()) && !files.allows(b"a/b", false, &log()));
    }

    #[test]
    fn relative_names_with_their_parents() {
        let relative = requested(&["/srv/./a/b/c", "/x//y/./z"], Dirs::Recurse, true);
        for (name, is_dir, allowed) in [
            ("a", true, true),
            ("a", false, false),
            ("a/b", true, true),
            ("a/b/c", false, true),
            ("a/b/c/d", false, true),
            ("a/d", true, false),
            ("z", false, true),
            ("x", true, false),
        ] {
            assert_eq!(relative.allows(name.as_bytes(), is_dir, &log()), allowed, "{name}");
        }
        assert!(relative.is_parent_only(b"a/b") && !relative.is_parent_only(b"a/b/c"));
        let absolute = requested(&["/etc/./", "/usr/bin/./ls/"], Dirs::Recurse, true);
        assert!(absolute.allows(b"ls/x", false, &log()));
        let rooted = requested(&["/usr/bin"], Dirs::Recurse, true);
        assert!(
            rooted.allows(b"/usr", true, &log())
                && rooted.allows(b"/usr/bin/ls", false, &log())
                && !rooted.allows(b"/etc", true, &log())
        );
    }

    #[test]
    fn patterns_fit_and_stand_for_themselves() {
        let wild = requested(&["dir/*.c", "[ab]x"], Dirs::Skip, false);
        for (name, allowed) in
            [("main.c", true), ("main.h", false), ("ax", true), ("bx", true), ("cx", false), ("[ab]x", true)]
        {
            assert_eq!(wild.allows(name.as_bytes(), false, &log()), allowed, "{name}");
        }
        let escaped = requested(&["a\\*b"], Dirs::Skip, false);
        assert!(escaped.allows(b"a*b", false, &log()) && !escaped.allows(b"aXb", false, &log()));
        let slash = requested(&["a\\b"], Dirs::Recurse, false);
        assert!(
            slash.allows(b"a\\b", false, &log())
                && slash.allows(b"a\\b/c", false, &log())
                && !slash.allows(b"ab", false, &log())
        );
    }
}
