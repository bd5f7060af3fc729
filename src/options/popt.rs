//! The habits of the reference's option reader: aliases from its configuration files, and where it would stumble.

use super::flags::{self, Flag};

/// How deep aliases may stand in each other's expansions.
const DEEPEST: usize = 9;

/// A name that stands for words. C: `rsync alias NAME WORDS` in /etc/popt or ~/.popt
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alias {
    pub name: Name,
    pub words: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Name {
    Long(Vec<u8>),
    Short(u8),
}

/// The aliases for `rsync` in one configuration file, in its order. C: poptconfig.c poptReadConfigFile
pub fn aliases_in(text: &[u8]) -> Vec<Alias> {
    let mut joined = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, b"\\\n") {
        joined.extend(&rest[..at]);
        rest = &rest[at + 2..];
    }
    joined.extend(rest);
    let mut lines: Vec<&[u8]> = joined.split(|&b| b == b'\n').collect();
    lines.pop(); // a line without an end is not read
    lines.into_iter().filter_map(alias_in).collect()
}

fn alias_in(line: &[u8]) -> Option<Alias> {
    let (program, rest) = word(line.trim_ascii_start());
    let (kind, rest) = word(rest);
    let (name, rest) = word(rest);
    if program != b"rsync" || kind != b"alias" || rest.is_empty() {
        return None;
    }
    let name = match name {
        [b'-', b'-', name @ ..] => Name::Long(name.to_vec()),
        [b'-', letter] => Name::Short(*letter),
        _ => return None,
    };
    Some(Alias { name, words: split_words(rest)? })
}

fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_ascii_start())
}

/// Words with quotes and backslashes; `None` where a backslash ends the text. C: poptparse.c poptParseArgvString
fn split_words(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut words, mut current) = (Vec::new(), Vec::new());
    let mut quote = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (Some(open), b'\\') => {
                let escaped = bytes.next()?;
                if escaped != open {
                    current.push(b'\\');
                }
                current.push(escaped);
            }
            (Some(_), _) => current.push(byte),
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'\\') => current.push(bytes.next()?),
            (None, _) if byte.is_ascii_whitespace() => {
                if !current.is_empty() {
                    words.push(std::mem::take(&mut current));
                }
            }
            (None, _) => current.push(byte),
        }
    }
    if !current.is_empty() {
        words.push(current);
    }
    Some(words)
}

/// The line with every alias replaced by its words. Of several aliases of one name the last counts.
pub fn expand(table: &'static [Flag], aliases: &[Alias], words: &[Vec<u8>]) -> Vec<Vec<u8>> {
    if aliases.is_empty() {
        return words.to_vec();
    }
    let mut expansion = Expansion { table, aliases, stack: vec![(words.to_vec(), 0, None)], done: Vec::new() };
    while let Some(word) = expansion.next() {
        expansion.take(word);
    }
    expansion.done
}

struct Expansion<'a> {
    table: &'static [Flag],
    aliases: &'a [Alias],
    /// Words being read, the position in them, and the alias whose words they are.
    stack: Vec<(Vec<Vec<u8>>, usize, Option<usize>)>,
    done: Vec<Vec<u8>>,
}

impl Expansion<'_> {
    fn next(&mut self) -> Option<Vec<u8>> {
        while let Some((words, at, _)) = self.stack.last_mut() {
            if let Some(word) = words.get(*at) {
                *at += 1;
                return Some(word.clone());
            }
            self.stack.pop();
        }
        None
    }

    fn take(&mut self, word: Vec<u8>) {
        match &word[..] {
            b"--" => {
                self.done.push(word);
                while let Some(rest) = self.next() {
                    self.done.push(rest);
                }
            }
            [b'-', b'-', option @ ..] => {
                let name = option.split(|&b| b == b'=').next().unwrap_or_default();
                let value = option.get(name.len() + 1..);
                if let Some(alias) = self.find(&Name::Long(name.to_vec())) {
                    return self.enter(alias, value.filter(|value| !value.is_empty()));
                }
                let flag = flags::by_long(self.table, name).filter(|(_, on)| *on);
                let wants_next = value.is_none() && flag.is_some_and(|(flag, _)| flag.takes_value());
                self.pass(word, wants_next);
            }
            [b'-', letters @ ..] if !letters.is_empty() => self.take_letters(letters.to_vec()),
            _ => self.done.push(word),
        }
    }

    /// A bundle is passed on letter by letter once an alias is met in it.
    fn take_letters(&mut self, letters: Vec<u8>) {
        for (at, &letter) in letters.iter().enumerate() {
            if let Some(alias) = self.find(&Name::Short(letter)) {
                let rest = &letters[at + 1..];
                if at > 0 {
                    self.done.push([b"-", &letters[..at]].concat());
                }
                if !rest.is_empty() {
                    let rest = [b"-", rest].concat();
                    let guard = self.stack.last().and_then(|(.., guard)| *guard);
                    self.stack.push((vec![rest], 0, guard));
                }
                return self.enter(alias, None);
            }
            if flags::by_short(self.table, letter).is_some_and(Flag::takes_value) {
                let wants_next = at + 1 == letters.len();
                return self.pass([b"-", &letters[..]].concat(), wants_next);
            }
        }
        self.done.push([b"-", &letters[..]].concat());
    }

    fn pass(&mut self, word: Vec<u8>, with_next: bool) {
        self.done.push(word);
        if with_next {
            let value = self.next();
            self.done.extend(value);
        }
    }

    /// An alias does not stand for itself inside its own words.
    fn find(&self, name: &Name) -> Option<usize> {
        let current = self.stack.last().and_then(|(.., current)| *current);
        if current.is_some_and(|current| self.aliases[current].name == *name) {
            return None;
        }
        self.aliases.iter().rposition(|alias| alias.name == *name)
    }

    fn enter(&mut self, alias: usize, value: Option<&[u8]>) {
        if self.stack.len() > DEEPEST {
            return; // an alias too deep is passed over in silence
        }
        let mut words = self.aliases[alias].words.clone();
        words.extend(value.map(<[u8]>::to_vec));
        self.stack.push((words, 0, Some(alias)));
    }
}

/// The first word that is wrong, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stumble {
    /// The words before it.
    pub before: usize,
    /// In a bundle of letters: how much of the word, its dash included, is still right; 0 for none of it.
    pub good: usize,
    pub why: &'static str,
}

/// Where the reader stumbles, if it does. C: popt.c poptGetNextOpt
pub fn stumble(table: &'static [Flag], words: &[Vec<u8>]) -> Option<Stumble> {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let wrong = |good, why| Some(Stumble { before: at, good, why });
        let mut wants_next = false;
        let mut good = 0;
        match &word[..] {
            b"--" => return None,
            [b'-', b'-', option @ ..] => {
                let name = option.split(|&b| b == b'=').next().unwrap_or_default();
                let has_value = name.len() < option.len();
                match flags::by_long(table, name) {
                    None => return wrong(0, "unknown option"),
                    Some((flag, on)) if flag.takes_value() && on => wants_next = !has_value,
                    Some(_) if has_value => return wrong(0, "option does not take an argument"),
                    Some(_) => {}
                }
            }
            [b'-', letters @ ..] => {
                for (place, &letter) in letters.iter().enumerate() {
                    good = if place == 0 { 0 } else { place + 1 };
                    let rest = &letters[place + 1..];
                    match flags::by_short(table, letter) {
                        None => return wrong(good, "unknown option"),
                        Some(flag) if flag.takes_value() => {
                            wants_next = rest.is_empty();
                            break;
                        }
                        Some(_) if rest.starts_with(b"=") => return wrong(good, "option does not take an argument"),
                        Some(_) => {}
                    }
                }
            }
            _ => {}
        }
        if wants_next && at + 1 == words.len() {
            return wrong(good, "missing argument");
        }
        at += 1 + usize::from(wants_next);
    }
    None
}

/// The word that the reader has in hand when it has read so many options: the one with the last option's value.
pub fn word_of_option(table: &'static [Flag], words: &[Vec<u8>], option: usize) -> Option<Vec<u8>> {
    let mut seen = 0;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word == b"--" {
            return None;
        }
        let (options, wants_next) = read_word(table, word);
        if seen + options > option {
            return if wants_next { words.get(at + 1).cloned() } else { Some(word.clone()) };
        }
        seen += options;
        at += 1 + usize::from(wants_next);
    }
    None
}

/// How many options a right word holds, and whether the next word is the value of the last of them.
fn read_word(table: &'static [Flag], word: &[u8]) -> (usize, bool) {
    match word {
        [b'-', b'-', option @ ..] => {
            let name = option.split(|&b| b == b'=').next().unwrap_or_default();
            let takes = flags::by_long(table, name).is_some_and(|(flag, on)| on && flag.takes_value());
            (1, takes && name.len() == option.len())
        }
        [b'-', letters @ ..] => {
            let takes = |&letter: &u8| flags::by_short(table, letter).is_some_and(Flag::takes_value);
            match letters.iter().position(takes) {
                Some(place) => (place + 1, place + 1 == letters.len()),
                None => (letters.len(), false),
            }
        }
        _ => (0, false),
    }
}

/// The position of the first word that is no option and no option's value.
pub fn first_path(table: &'static [Flag], words: &[Vec<u8>]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word == b"--" {
            return None;
        }
        if word.len() < 2 || word.first() != Some(&b'-') {
            return Some(at);
        }
        at += 1 + usize::from(read_word(table, word).1);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').filter(|word| !word.is_empty()).map(|word| word.as_bytes().to_vec()).collect()
    }

    fn expanded(config: &str, line: &str) -> String {
        let aliases = aliases_in(config.as_bytes());
        let words = expand(flags::FLAGS, &aliases, &words(line));
        String::from_utf8(words.join(&b' ')).unwrap()
    }

    #[test]
    fn config_lines() {
        let text =
            b"# none\nrsync alias -Z -zz\nls alias -a -b\nrsync exec --x y\n  rsync alias --sync -av \\\n 'a b'\n";
        let found = aliases_in(text);
        assert_eq!(found[0], Alias { name: Name::Short(b'Z'), words: words("-zz") });
        assert_eq!(
            found[1],
            Alias { name: Name::Long(b"sync".to_vec()), words: vec![b"-av".to_vec(), b"a b".to_vec()] }
        );
        assert_eq!(found.len(), 2);
        assert!(aliases_in(b"rsync alias -Z -zz").is_empty(), "a last line without an end");
    }

    #[test]
    fn aliases_stand_for_words() {
        let config = "rsync alias --sync -a --delete\nrsync alias -Z --rsh\nrsync alias -v -vv\n";
        assert_eq!(expanded(config, "--sync a b"), "-a --delete a b");
        assert_eq!(expanded(config, "--sync=x"), "-a --delete x");
        assert_eq!(expanded(config, "-aZn ssh b"), "-a --rsh -n ssh b");
        assert_eq!(expanded(config, "-v"), "-vv");
        assert_eq!(expanded(config, "-e --sync -- -v"), "-e --sync -- -v");
    }

    #[test]
    fn circles_end() {
        assert_eq!(expanded("rsync alias -Z -Y\nrsync alias -Y -Z\n", "-Z x"), "x");
    }

    #[test]
    fn stumbling() {
        let why = |line: &str| stumble(flags::FLAGS, &words(line)).map(|s| (s.before, s.good, s.why));
        assert_eq!(why("-av --rsh=x -e y - -- --foo"), None);
        assert_eq!(why("-v --foo=1"), Some((1, 0, "unknown option")));
        assert_eq!(why("a --delete=1"), Some((1, 0, "option does not take an argument")));
        assert_eq!(why("-avQ"), Some((0, 3, "unknown option")));
        assert_eq!(why("-a=3"), Some((0, 0, "option does not take an argument")));
        assert_eq!(why("-ve"), Some((0, 2, "missing argument")));
        assert_eq!(why("--rsh"), Some((0, 0, "missing argument")));
        assert_eq!(why("--no-rsh=x"), Some((0, 0, "unknown option")));
    }

    #[test]
    fn the_word_in_hand() {
        let line = words("-av x --timeout 1y -Bz");
        let word = |n| word_of_option(flags::FLAGS, &line, n).map(|word| String::from_utf8(word).unwrap());
        assert_eq!(word(1).as_deref(), Some("-av"));
        assert_eq!(word(2).as_deref(), Some("1y"));
        assert_eq!(word(3).as_deref(), Some("-Bz"));
        assert_eq!(word(4), None);
    }
}
