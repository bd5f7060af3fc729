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

/// A line as the option reader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    pub words: Vec<Vec<u8>>,
    /// For each word, the position in the line typed that the reader had come to.
    origins: Vec<usize>,
}

impl Line {
    /// A line without aliases.
    pub fn plain(words: &[Vec<u8>]) -> Self {
        Self { words: words.to_vec(), origins: (0..words.len()).collect() }
    }

    /// The position in the line typed that a word comes from.
    pub fn origin(&self, at: usize) -> Option<usize> {
        self.origins.get(at).copied()
    }

    /// Makes every word from the first path on a path, as POSIXLY_CORRECT wants it.
    pub fn end_options_at_first_path(&mut self, table: &'static [Flag]) {
        if let Some(at) = first_path(table, &self.words) {
            self.words.insert(at, b"--".to_vec());
            self.origins.insert(at, self.origins.get(at).copied().unwrap_or(0));
        }
    }
}

/// The line with every alias replaced by its words. Of several aliases of one name the last counts; `--daemon` and
/// `--server` always mean themselves.
pub fn expand(table: &'static [Flag], aliases: &[Alias], words: &[Vec<u8>]) -> Line {
    if aliases.is_empty() {
        return Line::plain(words);
    }
    let typed = Frame { words: words.to_vec(), at: 0, letters: Vec::new(), alias: None };
    let done = Line { words: Vec::new(), origins: Vec::new() };
    let mut expansion = Expansion { table, aliases, stack: vec![typed], done };
    while let Some(step) = expansion.next() {
        match step {
            Step::Word(word) => expansion.take(word),
            Step::Letters(letters) => expansion.take_letters(&letters),
        }
    }
    expansion.done
}

/// Words being read.
struct Frame {
    words: Vec<Vec<u8>>,
    at: usize,
    /// What is left of a bundle in which an alias was met.
    letters: Vec<u8>,
    /// The alias whose words these are.
    alias: Option<usize>,
}

enum Step {
    Word(Vec<u8>),
    Letters(Vec<u8>),
}

struct Expansion<'a> {
    table: &'static [Flag],
    aliases: &'a [Alias],
    stack: Vec<Frame>,
    done: Line,
}

impl Expansion<'_> {
    fn next(&mut self) -> Option<Step> {
        while let Some(frame) = self.stack.last_mut() {
            if !frame.letters.is_empty() {
                return Some(Step::Letters(std::mem::take(&mut frame.letters)));
            }
            if let Some(word) = frame.words.get(frame.at) {
                frame.at += 1;
                return Some(Step::Word(word.clone()));
            }
            self.leave()?;
        }
        None
    }

    /// The next whole word, for an option that wants a value.
    fn next_word(&mut self) -> Option<Vec<u8>> {
        while let Some(frame) = self.stack.last_mut() {
            if let Some(word) = frame.words.get(frame.at) {
                frame.at += 1;
                return Some(word.clone());
            }
            self.leave()?;
        }
        None
    }

    /// Goes back to the words around an alias; `None`: these were those typed.
    fn leave(&mut self) -> Option<()> {
        (self.stack.len() > 1).then(|| drop(self.stack.pop()))
    }

    fn emit(&mut self, word: Vec<u8>) {
        self.done.words.push(word);
        self.done.origins.push(self.stack.first().map_or(0, |typed| typed.at.saturating_sub(1)));
    }

    fn take(&mut self, word: Vec<u8>) {
        match &word[..] {
            b"--" => {
                self.emit(word);
                while let Some(rest) = self.next_word() {
                    self.emit(rest);
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
            [b'-', letters @ ..] if !letters.is_empty() => self.take_letters(letters),
            _ => self.emit(word),
        }
    }

    /// A bundle is passed on in parts where an alias is met in it.
    fn take_letters(&mut self, letters: &[u8]) {
        for (at, &letter) in letters.iter().enumerate() {
            if let Some(alias) = self.find(&Name::Short(letter)) {
                if at > 0 {
                    self.emit([b"-", &letters[..at]].concat());
                }
                if let Some(frame) = self.stack.last_mut() {
                    frame.letters = letters[at + 1..].to_vec();
                }
                return self.enter(alias, None);
            }
            if flags::by_short(self.table, letter).is_some_and(Flag::takes_value) {
                let wants_next = at + 1 == letters.len();
                return self.pass([b"-", letters].concat(), wants_next);
            }
        }
        self.emit([b"-", letters].concat());
    }

    fn pass(&mut self, word: Vec<u8>, with_next: bool) {
        self.emit(word);
        if with_next && let Some(value) = self.next_word() {
            self.emit(value);
        }
    }

    /// An alias does not stand for itself inside its own words.
    fn find(&self, name: &Name) -> Option<usize> {
        let within = self.stack.last().and_then(|frame| frame.alias);
        let is_within = within.and_then(|alias| self.aliases.get(alias)).is_some_and(|alias| alias.name == *name);
        let fixed = matches!(name, Name::Long(name) if name == b"daemon" || name == b"server");
        if is_within || fixed {
            return None;
        }
        self.aliases.iter().rposition(|alias| alias.name == *name)
    }

    fn enter(&mut self, at: usize, value: Option<&[u8]>) {
        let Some(alias) = self.aliases.get(at).filter(|_| self.stack.len() <= DEEPEST) else {
            return; // an alias too deep is passed over in silence
        };
        let mut words = alias.words.clone();
        words.extend(value.map(<[u8]>::to_vec));
        self.stack.push(Frame { words, at: 0, letters: Vec::new(), alias: Some(at) });
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

/// The position of the word that the reader has in hand at the n-th option: that of its value, if it takes one.
pub fn word_of_option(table: &'static [Flag], words: &[Vec<u8>], option: usize) -> Option<usize> {
    let mut seen = 0;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word == b"--" {
            return None;
        }
        let (options, wants_next) = read_word(table, word);
        if seen + options > option {
            return Some(at + usize::from(wants_next));
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
fn first_path(table: &'static [Flag], words: &[Vec<u8>]) -> Option<usize> {
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
        let line = expand(flags::FLAGS, &aliases, &words(line));
        String::from_utf8(line.words.join(&b' ')).unwrap()
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
        assert_eq!(expanded(config, "-aZn ssh b"), "-a --rsh ssh -n b");
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
        let word = |n| word_of_option(flags::FLAGS, &line, n);
        assert_eq!([word(1), word(2), word(3), word(4)], [Some(0), Some(3), Some(4), None]);
    }
}
