//! One rule: its grammar, what it says, and the form in which it is matched.

use super::list::Test;

/// What a rule says besides its pattern; the numbers are those that `--debug=filter2` shows. C: FILTRULE_*
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Traits(pub u32);

impl Traits {
    pub const WILD: Self = Self(1);
    /// Has a `**`, which slashes do not stop.
    pub const DEEP: Self = Self(1 << 1);
    pub const DEEP_START: Self = Self(1 << 2);
    /// Ends in `***`: fits a directory and what is below it.
    pub const WHOLE_DIR: Self = Self(1 << 3);
    /// Matched with the absolute path.
    pub const ABSOLUTE: Self = Self(1 << 4);
    pub const INCLUDE: Self = Self(1 << 5);
    pub const DIRECTORY: Self = Self(1 << 6);
    pub const WORDS: Self = Self(1 << 7);
    pub const NO_INHERIT: Self = Self(1 << 8);
    /// The rules of a merge file are patterns without a prefix.
    pub const NO_PREFIXES: Self = Self(1 << 9);
    pub const MERGE: Self = Self(1 << 10);
    /// Merged in every directory.
    pub const PER_DIR: Self = Self(1 << 11);
    pub const EXCLUDE_SELF: Self = Self(1 << 12);
    /// A per-directory file whose parents were not looked at yet.
    pub const UNFINISHED: Self = Self(1 << 13);
    pub const NEGATE: Self = Self(1 << 14);
    pub const CVS: Self = Self(1 << 15);
    pub const SENDER: Self = Self(1 << 16);
    pub const RECEIVER: Self = Self(1 << 17);
    pub const CLEAR: Self = Self(1 << 18);
    pub const PERISHABLE: Self = Self(1 << 19);
    pub const XATTR: Self = Self(1 << 20);
    /// The text came out of a file.
    pub const FROM_FILE: Self = Self(1 << 21);

    pub const SIDES: Self = Self(Self::SENDER.0 | Self::RECEIVER.0);
    /// What the rules of a merge file have from the rule that names the file. C: FILTRULES_FROM_CONTAINER
    const INHERITED: Self =
        Self(Self::ABSOLUTE.0 | Self::INCLUDE.0 | Self::DIRECTORY.0 | Self::NEGATE.0 | Self::PERISHABLE.0);

    pub const fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    pub const fn without(self, less: Self) -> Self {
        Self(self.0 & !less.0)
    }

    pub const fn only(self, these: Self) -> Self {
        Self(self.0 & these.0)
    }

    /// Whether any of these are set.
    pub const fn has(self, these: Self) -> bool {
        self.0 & these.0 != 0
    }

    fn set(&mut self, more: Self) {
        self.0 |= more.0;
    }
}

/// How rule texts are to be read and what becomes of them; the numbers are those that `--debug=filter2` shows.
/// C: XFLG_*
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct How(pub u32);

impl How {
    pub const PLAIN: Self = Self(0);
    /// A file that cannot be opened ends the run.
    pub const FATAL: Self = Self(1);
    /// Only `+ ` and `- ` are prefixes, and may be left out.
    pub const OLD_PREFIXES: Self = Self(1 << 1);
    /// A leading slash means the directory at hand: the rules of a per-directory file.
    pub const ANCHORED: Self = Self(1 << 2);

    pub const fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    pub const fn has(self, these: Self) -> bool {
        self.0 & these.0 != 0
    }
}

/// A rule as it was read: what it says, and its pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token<'t> {
    pub traits: Traits,
    pub pattern: &'t [u8],
}

/// What is wrong with a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Malformed {
    Unknown,
    /// This byte at this position.
    Modifier(u8, usize),
    TwoSides,
    TrailingClear,
    NoPattern,
}

/// C: isspace
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The next rule of a text, if there is one; the text is left behind it. On failure it is left where the rule began.
/// C: exclude.c parse_rule_tok
pub(super) fn next<'t>(
    text: &mut &'t [u8],
    template: Traits,
    how: How,
    delete_excluded: bool,
) -> Result<Option<Token<'t>>, Malformed> {
    if template.has(Traits::WORDS) {
        *text = text.trim_start_matches_space();
    }
    if text.is_empty() {
        return Ok(None);
    }
    let (mut traits, body) = head(text, template, how)?;
    if template.has(Traits::SIDES) {
        if traits.has(Traits::SIDES) {
            return Err(Malformed::TwoSides);
        }
        traits.set(template.only(Traits::SIDES));
    }
    let len = if template.has(Traits::WORDS) {
        body.iter().position(|&byte| is_space(byte)).unwrap_or(body.len())
    } else {
        body.len()
    };
    let (pattern, rest) = body.split_at(len);
    if traits.has(Traits::CLEAR) {
        if !template.has(Traits::NO_PREFIXES) && !how.has(How::OLD_PREFIXES) && len > 0 {
            return Err(Malformed::TrailingClear);
        }
        if len > 1 {
            traits = traits.without(Traits::CLEAR);
        }
    } else if len == 0 && !traits.has(Traits::CVS) {
        return Err(Malformed::NoPattern);
    }
    if delete_excluded && !traits.has(Traits::SIDES.with(Traits::MERGE)) {
        traits.set(Traits::SENDER);
    }
    *text = rest;
    Ok(Some(Token { traits, pattern }))
}

/// Reads what stands in front of the pattern.
fn head(text: &[u8], template: Traits, how: How) -> Result<(Traits, &[u8]), Malformed> {
    let mut traits = template.only(Traits::INHERITED);
    if template.has(Traits::NO_PREFIXES) {
        if text.starts_with(b"!") && template.has(Traits::CVS) {
            traits.set(Traits::CLEAR);
        }
        return Ok((traits, text));
    }
    if how.has(How::OLD_PREFIXES) {
        return Ok(match text {
            [b'-', b' ', rest @ ..] => (traits.without(Traits::INCLUDE), rest),
            [b'+', b' ', rest @ ..] => (traits.with(Traits::INCLUDE), rest),
            [b'!', ..] => (traits.with(Traits::CLEAR), text),
            _ => (traits, text),
        });
    }
    let (letter, at) = operator(text).ok_or(Malformed::Unknown)?;
    let (more, names_side) = meaning(letter).ok_or(Malformed::Unknown)?;
    traits.set(more);
    if letter == b'!' {
        return Ok((traits, &text[at..]));
    }
    let end = modifiers(text, at, template, &mut traits, names_side)?;
    // the blank or underscore behind it
    Ok((traits, text.get(end + 1..).unwrap_or_default()))
}

/// The long names of the rules.
const NAMES: &[(&[u8], u8)] = &[
    (b"clear", b'!'),
    (b"dir-merge", b':'),
    (b"exclude", b'-'),
    (b"hide", b'H'),
    (b"include", b'+'),
    (b"merge", b'.'),
    (b"protect", b'P'),
    (b"risk", b'R'),
    (b"show", b'S'),
];

/// The rule's letter, and where what follows it begins. C: the names in exclude.c parse_rule_tok
fn operator(text: &[u8]) -> Option<(u8, usize)> {
    let (&first, rest) = text.split_first()?;
    let Some(&(name, letter)) = NAMES.iter().find(|(name, _)| name.first() == Some(&first)) else {
        return Some((first, if rest.first() == Some(&b',') { 2 } else { 1 }));
    };
    let rest = text.strip_prefix(name)?;
    match rest.first() {
        None | Some(b'_') => Some((letter, name.len())),
        Some(&byte) if is_space(byte) => Some((letter, name.len())),
        Some(b',') => Some((letter, name.len() + 1)),
        Some(_) => None,
    }
}

/// What a rule's letter says, and whether it names a side.
fn meaning(letter: u8) -> Option<(Traits, bool)> {
    Some(match letter {
        b':' => (Traits::PER_DIR.with(Traits::UNFINISHED).with(Traits::MERGE), false),
        b'.' => (Traits::MERGE, false),
        b'+' => (Traits::INCLUDE, false),
        b'-' => (Traits::default(), false),
        b'S' => (Traits::INCLUDE.with(Traits::SENDER), true),
        b'H' => (Traits::SENDER, true),
        b'R' => (Traits::INCLUDE.with(Traits::RECEIVER), true),
        b'P' => (Traits::RECEIVER, true),
        b'!' => (Traits::CLEAR, false),
        _ => return None,
    })
}

/// Reads the modifiers from `at` on; where they end.
fn modifiers(
    text: &[u8],
    start: usize,
    template: Traits,
    traits: &mut Traits,
    names_side: bool,
) -> Result<usize, Malformed> {
    let mut at = start;
    while let Some(&byte) = text.get(at).filter(|&&byte| byte != b' ' && byte != b'_') {
        if template.has(Traits::WORDS) && is_space(byte) {
            return Ok(at - 1);
        }
        let merges = traits.has(Traits::MERGE);
        let more = match byte {
            b'-' if merges && !traits.has(Traits::NO_PREFIXES) => Traits::NO_PREFIXES,
            b'+' if merges && !traits.has(Traits::NO_PREFIXES) => Traits::NO_PREFIXES.with(Traits::INCLUDE),
            b'/' => Traits::ABSOLUTE,
            b'!' if !merges => Traits::NEGATE,
            b'C' if !names_side && !traits.has(Traits::NO_PREFIXES) => {
                Traits::NO_PREFIXES.with(Traits::WORDS).with(Traits::NO_INHERIT).with(Traits::CVS)
            }
            b'e' if merges => Traits::EXCLUDE_SELF,
            b'n' if merges => Traits::NO_INHERIT,
            b'p' => Traits::PERISHABLE,
            b'r' if !names_side => Traits::RECEIVER,
            b's' if !names_side => Traits::SENDER,
            b'w' if merges => Traits::WORDS,
            b'x' => Traits::XATTR,
            _ => return Err(Malformed::Modifier(byte, at)),
        };
        traits.set(more);
        at += 1;
    }
    Ok(at)
}

trait TrimSpace {
    fn trim_start_matches_space(&self) -> &Self;
}

impl TrimSpace for [u8] {
    fn trim_start_matches_space(&self) -> &[u8] {
        &self[self.iter().take_while(|&&byte| is_space(byte)).count()..]
    }
}

/// Who a rule is for, once the rules have been exchanged. C: LOCAL_RULE, REMOTE_RULE
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Both,
    Here,
    There,
}

/// What a rule brings in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Pattern,
    /// What is to be ignored for CVS's sake (`-C`).
    Cvs,
    /// The rules of the per-directory file with this number.
    PerDir(usize),
}

/// A rule in a list.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub traits: Traits,
    pub kind: Kind,
    pub side: Side,
    pub test: Test,
    /// Without a closing slash, which `DIRECTORY` stands for.
    pub pattern: Box<[u8]>,
}

impl Rule {
    /// `inside`: the directory that a leading slash means, in a per-directory file. C: exclude.c add_rule
    pub fn new(traits: Traits, pattern: &[u8], how: How, inside: &[u8]) -> Self {
        let mut traits = traits;
        let mut pattern = pattern;
        if let [rest @ .., b'/'] = pattern
            && !rest.is_empty()
        {
            pattern = rest;
            traits.set(Traits::DIRECTORY);
        }
        let anchored = how.has(How::ANCHORED) && pattern.starts_with(b"/");
        let pattern = if anchored && !traits.has(Traits::ABSOLUTE.with(Traits::MERGE)) {
            traits.set(Traits::ABSOLUTE);
            [inside.strip_suffix(b"/").unwrap_or(inside), pattern].concat()
        } else {
            pattern.to_vec()
        };
        if pattern.iter().any(|byte| b"*[?".contains(byte)) {
            traits.set(Traits::WILD);
            if let Some(at) = memchr::memmem::find(&pattern, b"**") {
                traits.set(Traits::DEEP);
                if at == 0 {
                    traits.set(Traits::DEEP_START);
                }
                if pattern.ends_with(b"***") {
                    traits.set(Traits::WHOLE_DIR);
                }
            }
        }
        let kind = if traits.has(Traits::CVS) && !traits.has(Traits::PER_DIR) { Kind::Cvs } else { Kind::Pattern };
        let test = Test::of(traits, &pattern);
        Self { traits, kind, side: Side::Both, test, pattern: pattern.into() }
    }
}

/// What the other side understands of prefixes.
#[derive(Clone, Copy)]
pub(super) struct Dialect {
    pub version: u8,
    pub sends: bool,
    pub delete_excluded: bool,
}

/// The prefix that says `traits`, its blank included; for the wire (`dialect`) `None` where the other side would not
/// understand it. C: exclude.c get_rule_prefix
pub(super) fn prefix(traits: Traits, pattern: &[u8], dialect: Option<Dialect>) -> Option<Vec<u8>> {
    let old = dialect.is_some_and(|to| to.version < 29);
    let mut room = if old { 1 } else { 15 };
    let mut out = Vec::with_capacity(4);
    if traits.has(Traits::PER_DIR) {
        if old {
            return None;
        }
        out.push(b':');
    } else if traits.has(Traits::INCLUDE) {
        out.push(b'+');
    } else if !old || matches!(pattern, [b'-' | b'+', b' ', ..]) {
        out.push(b'-');
    } else {
        room = 0;
    }
    let newest = |version: u8| dialect.is_none_or(|to| to.version >= version);
    let cvs = traits.has(Traits::CVS);
    let default = if traits.has(Traits::INCLUDE) { b'+' } else { b'-' };
    let receives = newest(29) || dialect.is_some_and(|to| to.delete_excluded && to.sends);
    let letters = [
        (traits.has(Traits::ABSOLUTE), b'/'),
        (traits.has(Traits::NEGATE), b'!'),
        (cvs, b'C'),
        (!cvs && traits.has(Traits::NO_INHERIT), b'n'),
        (!cvs && traits.has(Traits::WORDS), b'w'),
        (!cvs && traits.has(Traits::NO_PREFIXES), default),
        (traits.has(Traits::EXCLUDE_SELF), b'e'),
        (traits.has(Traits::XATTR), b'x'),
        (traits.has(Traits::SENDER) && newest(29), b's'),
        (traits.has(Traits::RECEIVER) && receives, b'r'),
        (traits.has(Traits::PERISHABLE) && newest(30), b'p'),
    ];
    out.extend(letters.into_iter().filter(|(said, _)| *said).map(|(_, letter)| letter));
    let lost = traits.has(Traits::PERISHABLE) && !newest(30) && dialect.is_some_and(|to| to.sends);
    if lost || out.len() > room {
        return None;
    }
    if room > 0 {
        out.push(b' ');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, template: Traits, how: How) -> Result<Vec<(u32, String)>, Malformed> {
        let mut rest = text.as_bytes();
        let mut rules = Vec::new();
        while let Some(token) = next(&mut rest, template, how, false)? {
            rules.push((token.traits.0, String::from_utf8_lossy(token.pattern).into_owned()));
        }
        Ok(rules)
    }

    fn one(text: &str) -> Result<(u32, String), Malformed> {
        read(text, Traits::default(), How::PLAIN).map(|mut rules| rules.remove(0))
    }

    #[test]
    fn short_and_long_names() {
        for (short, long) in [
            ("- a b", "exclude a b"),
            ("+ x", "include_x"),
            ("H x", "hide x"),
            ("S x", "show x"),
            ("P x", "protect x"),
            ("R x", "risk x"),
            (". x", "merge x"),
            (": x", "dir-merge x"),
            ("!", "clear"),
            ("-,! x", "exclude,! x"),
            ("-!_x", "exclude,!_x"),
        ] {
            assert_eq!(one(short), one(long), "{short}");
            assert!(one(short).is_ok(), "{short}");
        }
        for text in ["excludex", "hide!x", "x y", "exclude-x", "mergex"] {
            assert_eq!(one(text), Err(Malformed::Unknown), "{text}");
        }
    }

    #[test]
    fn modifiers_where_they_mean_something() {
        let traits = |text| Traits(one(text).unwrap().0);
        assert_eq!(traits("-/!psrx a"), Traits(0x10 | 0x4000 | 0x80000 | 0x10000 | 0x20000 | 0x10_0000));
        assert_eq!(traits(":C"), Traits(0x2000 | 0x8f80));
        assert_eq!(one("- a"), Ok((0, "a".into())));
        for (text, at) in [("-e a", 1), ("-n a", 1), ("-w a", 1), ("Ps a", 1), (".! a", 1), (".-+ a", 2), ("-pq a", 2)]
        {
            let byte = text.as_bytes()[at];
            assert_eq!(one(text), Err(Malformed::Modifier(byte, at)), "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_too_much() {
        assert_eq!(one("- "), Err(Malformed::NoPattern));
        assert_eq!(one("-"), Err(Malformed::NoPattern));
        assert_eq!(one("! x"), Err(Malformed::TrailingClear));
        assert_eq!(one("clear,x"), Err(Malformed::TrailingClear));
        assert!(one("-C").is_ok() && one(":C").is_ok(), "these have a list of their own");
        assert_eq!(read("P x", Traits::SENDER, How::PLAIN), Err(Malformed::TwoSides));
    }

    #[test]
    fn prefixes_of_old() {
        let old = |text| read(text, Traits::INCLUDE, How::OLD_PREFIXES).unwrap().remove(0);
        let include = Traits::INCLUDE.0;
        assert_eq!(old("- x"), (0, "x".into()));
        assert_eq!(old("-x"), (include, "-x".into()));
        assert_eq!(old("!x"), (include, "!x".into()));
        assert!(Traits(old("!").0).has(Traits::CLEAR));
    }

    #[test]
    fn words() {
        let words = Traits::WORDS.with(Traits::NO_PREFIXES);
        let patterns = |text, more| -> Vec<String> {
            read(text, words.with(more), How::PLAIN).unwrap().into_iter().map(|(_, pattern)| pattern).collect()
        };
        assert_eq!(patterns(" a\tb\n c ", Traits::default()), ["a", "b", "c"]);
        assert_eq!(read("-_a +_b", Traits::WORDS, How::PLAIN).unwrap().len(), 2);
        let cleared = read("a ! b !c", words.with(Traits::CVS), How::PLAIN).unwrap();
        let clears: Vec<bool> = cleared.iter().map(|(traits, _)| Traits(*traits).has(Traits::CLEAR)).collect();
        assert_eq!(clears, [false, true, false, false]);
    }

    #[test]
    fn a_prefix_says_what_was_read() {
        for text in ["- ", "+ ", "-/! ", ":C ", ":nw- ", ":e ", "-x ", "-s ", "+r ", "-p ", "-C "] {
            let rule = bytes(text);
            let (traits, pattern) = one(&rule).unwrap();
            let modern = Dialect { version: 32, sends: true, delete_excluded: false };
            assert_eq!(prefix(Traits(traits), pattern.as_bytes(), Some(modern)).as_deref(), Some(text.as_bytes()));
        }
    }

    fn bytes(prefix: &str) -> String {
        format!("{prefix}x")
    }

    #[test]
    fn what_older_versions_understand() {
        let to = |version, sends| Some(Dialect { version, sends, delete_excluded: false });
        let say = |text: &str, dialect| {
            let (traits, pattern) = one(text).unwrap();
            prefix(Traits(traits), pattern.as_bytes(), dialect).map(|prefix| String::from_utf8(prefix).unwrap())
        };
        assert_eq!(say("- x", to(28, true)).as_deref(), Some(""));
        assert_eq!(say("- + x", to(28, true)).as_deref(), Some("- "));
        assert_eq!(say("+ x", to(28, true)).as_deref(), Some("+ "));
        assert_eq!(say("P x", to(28, true)).as_deref(), Some(""), "all rules of an old version are for both");
        for text in [": x", "-! x", "-/ x", "-p x"] {
            assert_eq!(say(text, to(28, true)), None, "{text}");
        }
        assert_eq!(say("-p x", to(29, true)), None);
        assert_eq!(say("-p x", to(29, false)).as_deref(), Some("- "));
        assert_eq!(say("-p x", to(30, true)).as_deref(), Some("-p "));
    }
}
