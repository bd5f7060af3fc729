//! What a client asked a sender for, as a check on the names that come back.
//!
//! Every source argument allows its last component (with `-R` all its components, the leading ones as directories
//! only) and, when directories are transferred, what lies below. A sender that offers anything else is not to be
//! trusted. C: exclude.c implied_filter_list

use crate::{
    bytes,
    log::{Log, LogCode},
    options::{Debug, Options},
    text::wildmatch::wildmatch,
};

/// One allowed name: always from the top of the transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Rule {
    /// Without the leading slash.
    pattern: Vec<u8>,
    wild: bool,
    /// Leads to what was asked for, but was not asked for itself.
    only_dir: bool,
}

impl Rule {
    fn fits(&self, name: &[u8], is_dir: bool) -> bool {
        if name.is_empty() || (self.only_dir && !is_dir) {
            return false;
        }
        if self.wild { wildmatch(&self.pattern, name) } else { self.pattern == name }
    }
}

/// All names that were asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Requested {
    rules: Vec<Rule>,
    relative: bool,
    recurse: bool,
    dirs: bool,
}

impl Requested {
    /// Nothing asked for yet. A sender that is trusted (`--trust-sender`, `--old-args`, a local copy) is not checked
    /// at all: then there is no `Requested`.
    pub fn new(options: &Options) -> Self {
        let dirs = options.dirs != crate::options::Dirs::Skip;
        Self { rules: Vec::new(), relative: options.relative, recurse: options.recurse(), dirs }
    }

    /// Allows what a source argument stands for; `arg` without its host. A daemon's starts with the module's name,
    /// which is to be skipped. C: exclude.c add_implied_include
    pub fn add(&mut self, arg: &[u8], skip_module: bool, log: &Log) {
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
        if !pattern.is_empty() {
            self.push(Rule { pattern: pattern.clone(), wild, only_dir: false }, log);
            if self.relative {
                self.add_parents(&pattern, wild, log);
            }
        }
        if self.dirs {
            self.add_contents(&pattern, wild, log);
        }
    }

    fn add_parents(&mut self, pattern: &[u8], wild: bool, log: &Log) {
        let mut rest = pattern;
        while let Some(slash) = memchr::memrchr(b'/', rest) {
            rest = &rest[..slash];
            if self.rules.iter().any(|rule| rule.pattern == rest) {
                return; // and so are its parents
            }
            let wild = wild && rest.iter().any(|byte| b"*[?\\".contains(byte));
            self.push(Rule { pattern: rest.to_vec(), wild, only_dir: true }, log);
        }
    }

    fn add_contents(&mut self, pattern: &[u8], wild: bool, log: &Log) {
        // what was plain text becomes part of a pattern
        let mut below = if wild { pattern.to_vec() } else { escape(pattern, b"\\") };
        if !below.is_empty() {
            below.push(b'/');
        }
        below.extend_from_slice(if self.recurse { b"**" } else { b"*" });
        self.push(Rule { pattern: below, wild: true, only_dir: false }, log);
    }

    /// Keeps a rule, and beside it one for a file whose name is the pattern's text: a remote shell hands on a pattern
    /// that fits nothing. C: exclude.c maybe_add_literal_brackets_rule
    fn push(&mut self, rule: Rule, log: &Log) {
        let brackets = literal_brackets(&rule.pattern);
        let twin = (rule.wild && brackets != rule.pattern).then(|| Rule { pattern: brackets, ..rule.clone() });
        for rule in [Some(rule), twin].into_iter().flatten() {
            if log.debug(Debug::Filter) >= 3 {
                let (who, slash) = (log.speaker().name(), if rule.only_dir { "/" } else { "" });
                log.say(LogCode::Info, bytes!["[", who, "] add_implied_include(/", rule.pattern, slash, ")"]);
            }
            self.rules.push(rule);
        }
    }

    /// Whether the sender may offer this name. The transfer's root itself, `.`, is not to be asked about.
    pub fn allows(&self, name: &[u8], is_dir: bool, log: &Log) -> bool {
        let plain = name.strip_prefix(b"/").unwrap_or(name);
        let Some(rule) = self.rules.iter().find(|rule| rule.fits(plain, is_dir)) else { return false };
        if log.debug(Debug::Filter) >= 3 {
            let (who, kind) = (log.speaker().name(), if is_dir { "directory " } else { "file " });
            let pattern = bytes!["/", rule.pattern, if rule.only_dir { "/" } else { "" }];
            let line = bytes!["[", who, "] showing ", kind, name, " because of pattern ", pattern, " [implied]"];
            log.say(LogCode::Info, line);
        }
        true
    }

    /// Whether a directory is in the list for what it leads to, not for itself. C: exclude.c is_implied_parent_dir
    pub fn is_parent_only(&self, name: &[u8]) -> bool {
        if matches!(name, b"." | b"/.") {
            return !self.rules.iter().any(|rule| matches!(rule.pattern.as_slice(), b"*" | b"**"));
        }
        let name = name.strip_prefix(b"/").unwrap_or(name);
        let mut fitting = self.rules.iter().filter(|rule| rule.fits(name, true)).peekable();
        fitting.peek().is_some() && fitting.all(|rule| rule.only_dir)
    }
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
        let mut requested = Requested::new(&Options { dirs, relative, ..Options::default() });
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
