//! Matching: a name against a list of rules, the first that fits decides.
//!
//! When a rule is made, its pattern is looked at once and becomes a `Test`: most patterns only look at a name's last
//! component, and most of those only at its end. Nothing is allocated for a check; a path is put together only when a
//! pattern needs it whole, and only once for all rules.

use std::cell::{Cell, RefCell};

use super::rule::{Kind, Rule, Side, Traits};
use crate::text::wildmatch::{wildmatch, wildmatch_behind_slashes};

/// What is to be matched: a path of the list, in two parts.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    /// Up to and with the last slash; may be empty.
    pub dir: &'a [u8],
    pub leaf: &'a [u8],
    pub is_dir: bool,
    /// The name of an extended attribute, which has rules of its own.
    pub xattr: bool,
}

impl<'a> Name<'a> {
    pub fn new(path: &'a [u8], is_dir: bool) -> Self {
        let at = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
        let (dir, leaf) = path.split_at(at);
        Self { dir, leaf, is_dir, xattr: false }
    }
}

/// How a pattern is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Test {
    /// The last component is the pattern.
    Leaf,
    /// The last component ends in the pattern without its star.
    LeafEnd,
    /// The last component begins with the pattern without its star.
    LeafStart,
    /// The last component fits the pattern, whose last bytes (so many) stand for themselves.
    LeafWild {
        end: u16,
    },
    /// The whole path is the pattern, which begins with a slash.
    Path,
    /// The path is the pattern, or ends in it behind a slash.
    PathEnd,
    /// The absolute path likewise.
    Absolute,
    AbsoluteEnd,
    /// The path fits the pattern.
    PathWild {
        from: From,
        where_: Where,
        end: u16,
    },
}

/// With what the text begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum From {
    Name,
    /// A slash goes before the name: `**/` may stand for nothing.
    Slash,
    /// The absolute path.
    Top,
}

/// Where in the text a pattern may fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Where {
    Start,
    /// At the last so many components.
    Last(u16),
    /// At the start, or behind any slash.
    AnySlash,
}

impl Test {
    /// C: exclude.c rule_matches, what depends on the rule alone
    pub fn of(traits: Traits, pattern: &[u8]) -> Self {
        let slashes = memchr::memchr_iter(b'/', pattern).count();
        let wild = traits.has(Traits::WILD);
        let end = pattern.iter().rev().take_while(|byte| !b"*?[]\\/".contains(byte)).count() as u16;
        if slashes == 0 && !traits.has(Traits::DEEP) {
            return match pattern {
                _ if !wild => Self::Leaf,
                [b'*', rest @ ..] if is_literal(rest) => Self::LeafEnd,
                [rest @ .., b'*'] if is_literal(rest) => Self::LeafStart,
                _ => Self::LeafWild { end },
            };
        }
        let absolute = traits.has(Traits::ABSOLUTE);
        let anchored = pattern.starts_with(b"/");
        if !wild {
            return match (absolute, anchored) {
                (false, true) => Self::Path,
                (false, false) => Self::PathEnd,
                (true, true) => Self::Absolute,
                (true, false) => Self::AbsoluteEnd,
            };
        }
        let deep = traits.has(Traits::DEEP);
        let deep_start = traits.has(Traits::DEEP_START);
        let from = match (absolute, deep_start) {
            (true, _) => From::Top,
            (false, true) => From::Slash,
            (false, false) => From::Name,
        };
        let where_ = match () {
            () if anchored => Where::Start,
            () if slashes > 0 && !deep => Where::Last(slashes as u16 + 1),
            () if deep && !deep_start => Where::AnySlash,
            () => Where::Start,
        };
        Self::PathWild { from, where_, end }
    }
}

fn is_literal(text: &[u8]) -> bool {
    !text.iter().any(|byte| b"*?[\\".contains(byte))
}

/// A path laid out for patterns that need it whole: `usr/src/dir/name/`, of which each takes its part.
#[derive(Default, Debug)]
pub(super) struct Layout {
    text: RefCell<Vec<u8>>,
    laid: Cell<bool>,
}

impl Clone for Layout {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// One check under way.
#[derive(Clone, Copy)]
pub(super) struct Check<'a> {
    pub name: Name<'a>,
    /// The directory that names are relative to, absolute, without its leading slash.
    pub base: &'a [u8],
    pub layout: &'a Layout,
    /// The side that this is not about.
    pub skip: Side,
    /// Perishable rules do not count.
    pub dying: bool,
}

impl<'a> Check<'a> {
    pub fn new(name: Name<'a>, base: &'a [u8], layout: &'a Layout) -> Self {
        layout.laid.set(false);
        let base = base.strip_prefix(b"/").unwrap_or(base);
        Self { name, base, layout, skip: Side::There, dying: false }
    }

    /// Whether a pattern rule applies to the name. C: exclude.c rule_matches
    pub fn fits(&self, rule: &Rule) -> bool {
        if rule.side == self.skip || self.name.xattr != rule.traits.has(Traits::XATTR) {
            return false;
        }
        let right_kind = self.name.is_dir || !rule.traits.has(Traits::DIRECTORY);
        (right_kind && self.matches(rule)) != rule.traits.has(Traits::NEGATE)
    }

    /// Whether the name fits the pattern.
    fn matches(&self, rule: &Rule) -> bool {
        let (leaf, pattern) = (self.name.leaf, &*rule.pattern);
        match rule.test {
            Test::Leaf => leaf == pattern,
            Test::LeafEnd => leaf.ends_with(&pattern[1..]),
            Test::LeafStart => leaf.starts_with(&pattern[..pattern.len() - 1]),
            Test::LeafWild { end } => ends_alike(leaf, pattern, end) && wildmatch(pattern, leaf),
            Test::Path => self.is_path(&pattern[1..]),
            Test::PathEnd => ends_alike(leaf, pattern, 1) && self.text(From::Name, false, |text| tail(text, pattern)),
            Test::Absolute => self.is_absolute(pattern),
            Test::AbsoluteEnd => {
                ends_alike(leaf, pattern, 1) && self.text(From::Top, false, |text| tail(text, pattern))
            }
            Test::PathWild { from, where_, end } => {
                ends_alike(leaf, pattern, end) && self.fits_path(rule, from, where_)
            }
        }
    }

    fn fits_path(&self, rule: &Rule, from: From, where_: Where) -> bool {
        let pattern = rule.pattern.strip_prefix(b"/").unwrap_or(&rule.pattern);
        let closed = self.name.is_dir && rule.traits.has(Traits::WHOLE_DIR);
        let from = if from == From::Top && self.is_rooted() && rule.traits.has(Traits::DEEP_START) {
            From::Slash
        } else {
            from
        };
        self.text(from, closed, |text| match where_ {
            Where::Start => wildmatch(pattern, text),
            Where::Last(count) => last(text, count).is_some_and(|text| wildmatch(pattern, text)),
            Where::AnySlash => wildmatch_behind_slashes(pattern, text),
        })
    }

    /// Whether the path is exactly this.
    fn is_path(&self, path: &[u8]) -> bool {
        let dir = self.name.dir.strip_prefix(b"/").unwrap_or(self.name.dir);
        path.strip_suffix(self.name.leaf) == Some(dir)
    }

    fn is_absolute(&self, path: &[u8]) -> bool {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        if self.is_rooted() {
            return self.is_path(path);
        }
        let rest = path.strip_suffix(self.name.leaf).and_then(|rest| rest.strip_suffix(self.name.dir));
        rest.is_some_and(|rest| rest.strip_suffix(b"/") == Some(self.base))
    }

    /// The name is absolute, or relative to the root.
    fn is_rooted(&self) -> bool {
        self.base.is_empty() || self.name.dir.starts_with(b"/")
    }

    /// The path as a pattern wants it; `closed`: with a slash at its end.
    fn text(&self, from: From, closed: bool, fits: impl FnOnce(&[u8]) -> bool) -> bool {
        let Ok(mut text) = self.layout.text.try_borrow_mut() else { return false };
        let (name, base) = (self.name, self.base);
        let dir = name.dir.strip_prefix(b"/").unwrap_or(name.dir);
        if !self.layout.laid.replace(true) {
            text.clear();
            for part in [base, b"/", dir, name.leaf, b"/"] {
                text.extend_from_slice(part);
            }
        }
        let absolute_name = name.dir.starts_with(b"/");
        let start = match from {
            From::Top if !self.is_rooted() => 0,
            From::Slash if !absolute_name => base.len(),
            From::Name | From::Slash | From::Top => base.len() + 1,
        };
        let end = if closed { text.len() } else { text.len().saturating_sub(1) };
        fits(text.get(start..end).unwrap_or_default())
    }
}

/// Whether `leaf` ends in the last `count` bytes of the pattern.
fn ends_alike(leaf: &[u8], pattern: &[u8], count: u16) -> bool {
    leaf.ends_with(&pattern[pattern.len().saturating_sub(count.into())..])
}

/// Whether `text` is `pattern`, or ends in it behind a slash.
fn tail(text: &[u8], pattern: &[u8]) -> bool {
    text.strip_suffix(pattern).is_some_and(|rest| matches!(rest.last(), None | Some(b'/')))
}

/// The last `count` components, if there are so many. C: lib/wildmatch.c trailing_N_elements
fn last(text: &[u8], count: u16) -> Option<&[u8]> {
    let mut slashes = memchr::memrchr_iter(b'/', text);
    match slashes.nth(usize::from(count).checked_sub(1)?) {
        Some(slash) => Some(&text[slash + 1..]),
        None => (memchr::memchr_iter(b'/', text).count() + 1 == usize::from(count)).then_some(text),
    }
}

/// A rule that decided, and the list it stands in.
#[derive(Clone, Copy)]
pub(super) struct Found<'r> {
    pub rule: &'r Rule,
    pub list: In,
}

/// Which list a rule stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum In {
    Main,
    Cvs,
    /// What the per-directory file with this number brought.
    PerDir(usize),
}

/// Lists that rules lead to.
pub(super) trait Lists {
    fn cvs(&self) -> &[Rule];
    /// The first rule of a per-directory list that decides about the name, here or in a directory above.
    fn per_dir<'r>(&'r self, number: usize, check: Check<'_>) -> Option<Found<'r>>;
}

/// The first rule that decides about the name. C: exclude.c check_filter
pub(super) fn find<'r>(rules: &'r [Rule], list: In, check: Check<'_>, lists: &'r impl Lists) -> Option<Found<'r>> {
    for rule in rules {
        if check.dying && rule.traits.has(Traits::PERISHABLE) {
            continue;
        }
        match rule.kind {
            Kind::Pattern if check.fits(rule) => return Some(Found { rule, list }),
            Kind::Pattern => {}
            Kind::Cvs if rule.side == check.skip => {}
            Kind::Cvs => {
                if let Some(found) = find(lists.cvs(), In::Cvs, check, lists) {
                    return Some(found);
                }
            }
            Kind::PerDir(number) => {
                if let Some(found) = lists.per_dir(number, check) {
                    return Some(found);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::rule::How;

    struct NoOthers;

    impl Lists for NoOthers {
        fn cvs(&self) -> &[Rule] {
            &[]
        }

        fn per_dir<'r>(&'r self, _: usize, _: Check<'_>) -> Option<Found<'r>> {
            None
        }
    }

    fn fits(traits: Traits, pattern: &str, path: &str, is_dir: bool) -> bool {
        let rules = [Rule::new(traits, pattern.as_bytes(), How::PLAIN, b"")];
        let layout = Layout::default();
        let check = Check::new(Name::new(path.as_bytes(), is_dir), b"/usr/src", &layout);
        find(&rules, In::Main, check, &NoOthers).is_some()
    }

    fn file(pattern: &str, path: &str) -> bool {
        fits(Traits::default(), pattern, path, false)
    }

    #[test]
    fn patterns_without_slashes_look_at_the_leaf() {
        for (pattern, yes, no) in [
            ("foo", "a/foo", "foo/a"),
            ("*.o", "a/b.o", "a.o/b"),
            ("foo*", "a/foo1", "foo/a"),
            ("f*o", "a/fo", "f/o"),
            ("?", "a/b", "a/bc"),
            ("[ab]", "x/b", "b/x"),
        ] {
            assert!(file(pattern, yes), "{pattern} on {yes}");
            assert!(!file(pattern, no), "{pattern} on {no}");
        }
    }

    #[test]
    fn slashes_bind_to_the_path() {
        for (pattern, yes, no) in [
            ("/foo", "foo", "a/foo"),
            ("/a/foo", "a/foo", "b/a/foo"),
            ("a/foo", "b/a/foo", "ba/foo"),
            ("a/f*", "b/a/foo", "b/a/x/foo"),
            ("/*/foo", "a/foo", "a/b/foo"),
            ("a/**/foo", "x/a/b/c/foo", "x/a/foo"),
            ("**/foo", "foo", "xfoo"),
            ("a**o", "x/a/b/o", "xa/b/p"),
            ("/a/**", "a/b/c", "b/a/c"),
        ] {
            assert!(file(pattern, yes), "{pattern} on {yes}");
            assert!(!file(pattern, no), "{pattern} on {no}");
        }
        assert!(file("/foo", "/foo") && file("**/foo", "/a/foo"), "absolute names begin with a slash themselves");
    }

    #[test]
    fn directories() {
        let dir = |pattern, path| fits(Traits::default(), pattern, path, true);
        assert!(dir("foo/", "a/foo") && !file("foo/", "a/foo"));
        assert!(dir("a/***", "a") && file("a/***", "a/b") && !file("a/***", "a") && !dir("a/**", "a"));
        let not = |pattern, path, is_dir| fits(Traits::NEGATE, pattern, path, is_dir);
        assert!(not("*.c", "x.o", false) && !not("*.c", "x.c", false));
        assert!(not("foo/", "foo", false) && !not("foo/", "foo", true));
    }

    #[test]
    fn absolute_patterns() {
        let absolute = |pattern, path| fits(Traits::ABSOLUTE, pattern, path, false);
        assert!(absolute("/usr/src/a/b", "a/b") && !absolute("/usr/src/a/b", "b") && !absolute("/a/b", "a/b"));
        assert!(absolute("/usr/*/a/b", "a/b") && absolute("src/a/b", "a/b") && absolute("s*c/a/b", "a/b"));
        assert!(absolute("/usr/src/a/b", "/usr/src/a/b"), "a name may be absolute already");
        let rule = Rule::new(Traits::default(), b"/b", How::ANCHORED, b"/usr/src/a/");
        assert_eq!(&*rule.pattern, b"/usr/src/a/b");
        assert_eq!(rule.test, Test::Absolute);
    }

    #[test]
    fn xattr_rules_are_for_xattr_names() {
        assert!(!fits(Traits::XATTR, "foo", "foo", false));
        let rules = [Rule::new(Traits::XATTR, b"user.*", How::PLAIN, b"")];
        let layout = Layout::default();
        let name = Name { dir: b"", leaf: b"user.x", is_dir: false, xattr: true };
        assert!(find(&rules, In::Main, Check::new(name, b"", &layout), &NoOthers).is_some());
    }
}
