//! The options, one row each: names, value, what a row writes, how it is told to a server, how help shows it.

mod daemon;
mod table;

use super::{
    forward::Far,
    typed::{Done, Typed},
};

pub use daemon::DAEMON_FLAGS;
pub use table::FLAGS;

/// The section of the manual in which an option stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// What is said, and where.
    Voice,
    /// Which files take part, and which are skipped.
    Choice,
    Links,
    Metadata,
    Removal,
    /// How a file is replaced.
    Writing,
    /// The connection, its rules and limits.
    Wire,
    /// The program at the other end.
    FarSide,
    Daemon,
    /// Said by programs to each other.
    Inner,
}

/// What reading an option does. `None` or `false`: the option was negated.
#[derive(Clone, Copy)]
pub enum Act {
    Switch(fn(&mut Typed, bool)),
    Text(fn(&mut Typed, Option<&[u8]>) -> Done),
    Number(fn(&mut Typed, Option<i32>)),
    Special(Special),
}

/// Options that turn the reading itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Special {
    Help,
    HelpExt,
    Server,
    Sender,
    /// The line is to be read by the daemon's table.
    Daemon,
    /// The reference, as installed on this system, refuses it.
    Unavailable,
}

/// One option. C: a row of options.c long_options with its line in rsync.1.md
pub struct Flag {
    pub group: Group,
    /// Empty for the few that have only a letter.
    pub long: &'static str,
    /// 0: none.
    pub short: u8,
    /// Other long names.
    pub also: &'static [&'static str],
    /// Long names that negate it.
    pub off: &'static [&'static str],
    /// How help names the value; empty: takes none.
    pub value: &'static str,
    pub act: Act,
    /// Lines of `--help`; an empty left side is made from the names.
    pub help: &'static [(&'static str, &'static str)],
    /// How often the letter stands in the bundle sent to a server.
    pub letter: Option<fn(&Far) -> u8>,
    /// The words sent to a server.
    pub words: Option<fn(&mut Far)>,
}

impl std::fmt::Debug for Flag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.spelling())
    }
}

impl Flag {
    const fn new(group: Group, long: &'static str) -> Self {
        Self {
            group,
            long,
            short: 0,
            also: &[],
            off: &[],
            value: "",
            act: Act::Special(Special::Unavailable),
            help: &[],
            letter: None,
            words: None,
        }
    }

    const fn short(mut self, letter: u8) -> Self {
        self.short = letter;
        self
    }

    const fn also(mut self, names: &'static [&'static str]) -> Self {
        self.also = names;
        self
    }

    const fn off(mut self, names: &'static [&'static str]) -> Self {
        self.off = names;
        self
    }

    const fn switch(mut self, act: fn(&mut Typed, bool)) -> Self {
        self.act = Act::Switch(act);
        self
    }

    const fn text(mut self, value: &'static str, act: fn(&mut Typed, Option<&[u8]>) -> Done) -> Self {
        self.value = value;
        self.act = Act::Text(act);
        self
    }

    const fn number(mut self, value: &'static str, act: fn(&mut Typed, Option<i32>)) -> Self {
        self.value = value;
        self.act = Act::Number(act);
        self
    }

    const fn special(mut self, act: Special) -> Self {
        self.act = Act::Special(act);
        self
    }

    const fn value(mut self, value: &'static str) -> Self {
        self.value = value;
        self
    }

    const fn help(mut self, lines: &'static [(&'static str, &'static str)]) -> Self {
        self.help = lines;
        self
    }

    const fn letter(mut self, count: fn(&Far) -> u8) -> Self {
        self.letter = Some(count);
        self
    }

    const fn words(mut self, words: fn(&mut Far)) -> Self {
        self.words = Some(words);
        self
    }

    pub fn takes_value(&self) -> bool {
        !self.value.is_empty()
    }

    /// The names that switch it on.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        [self.long].into_iter().chain(self.also.iter().copied()).filter(|name| !name.is_empty())
    }

    /// `--recursive`, `-F`.
    pub fn spelling(&self) -> String {
        if self.long.is_empty() { format!("-{}", char::from(self.short)) } else { format!("--{}", self.long) }
    }

    /// The left column of its line in `--help`.
    pub fn synopsis(&self) -> String {
        let mut left = format!("--{}", self.long);
        if self.takes_value() {
            left = left + "=" + self.value;
        }
        if self.short != 0 {
            left = left + ", -" + &String::from(char::from(self.short));
        }
        left
    }
}

/// The row that a long name means, and whether the name switches on.
pub fn by_long(table: &'static [Flag], name: &[u8]) -> Option<(&'static Flag, bool)> {
    table.iter().find_map(|flag| {
        if flag.names().any(|known| known.as_bytes() == name) {
            Some((flag, true))
        } else {
            flag.off.iter().any(|known| known.as_bytes() == name).then_some((flag, false))
        }
    })
}

/// The row that a letter means.
pub fn by_short(table: &'static [Flag], letter: u8) -> Option<&'static Flag> {
    table.iter().find(|flag| flag.short != 0 && flag.short == letter)
}

/// A row of the main table by its long name or, for the rows without one, its letter.
pub fn flag(name: &str) -> Option<&'static Flag> {
    match name.as_bytes() {
        [letter] => by_short(FLAGS, *letter),
        name => by_long(FLAGS, name).map(|(flag, _)| flag),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn each_table(check: impl Fn(&'static [Flag])) {
        check(FLAGS);
        check(DAEMON_FLAGS);
    }

    #[test]
    fn no_name_is_used_twice() {
        each_table(|table| {
            let (mut longs, mut shorts) = (HashSet::new(), HashSet::new());
            for flag in table {
                for name in flag.names().chain(flag.off.iter().copied()) {
                    assert!(longs.insert(name), "--{name} twice");
                }
                assert!(flag.short == 0 || shorts.insert(flag.short), "-{} twice", char::from(flag.short));
                assert!(flag.short != 0 || !flag.long.is_empty(), "a row without a name");
            }
        });
    }

    #[test]
    fn values_and_acts_agree() {
        each_table(|table| {
            for flag in table {
                match flag.act {
                    Act::Switch(_) => assert!(!flag.takes_value(), "{}", flag.spelling()),
                    Act::Text(_) | Act::Number(_) => assert!(flag.takes_value(), "{}", flag.spelling()),
                    Act::Special(_) => {}
                }
                let letter_ok = flag.letter.is_none() || flag.short != 0;
                assert!(letter_ok, "{} is forwarded by a letter that it has not", flag.spelling());
            }
        });
    }

    #[test]
    fn negations_are_spelt_as_such() {
        for flag in FLAGS {
            for off in flag.off {
                let positive = off.strip_prefix("no-").expect("begins with no-");
                let short = if flag.short == 0 { String::new() } else { String::from(char::from(flag.short)) };
                assert!(flag.names().any(|name| name == positive) || positive == short, "--{off}");
            }
        }
    }
}
