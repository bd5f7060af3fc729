//! `--info` and `--debug`: the named output levels and what `-v` adds to them.

use crate::bytes;

/// Declares the words of one option: variant, where it is of use, help text. C: options.c info_words, debug_words
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $table:ident, $count:ident: $($word:ident, $where:expr, $help:expr;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name {
            $($word,)*
        }

        const $table: &[Word] = &[$(Word { name: stringify!($word), sides: $where, help: $help },)*];
        const $count: usize = $table.len();
    };
}

/// The sides on which a word says anything.
const CLIENT: u8 = 1;
const SERVER: u8 = 2;
const SENDER: u8 = 4;
const RECEIVER: u8 = 8;
const BOTH_ENDS: u8 = CLIENT | SERVER;
const BOTH_ROLES: u8 = SENDER | RECEIVER;
const EVERYWHERE: u8 = BOTH_ENDS | BOTH_ROLES;

struct Word {
    name: &'static str,
    sides: u8,
    help: &'static str,
}

words! {
    /// What `--info` names.
    Info, INFO, INFO_COUNT:
    Backup, RECEIVER, "Mention files backed up";
    Copy, RECEIVER, "Mention files copied locally on the receiving side";
    Del, RECEIVER, "Mention deletions on the receiving side";
    Flist, CLIENT, "Mention file-list receiving/sending (levels 1-2)";
    Misc, BOTH_ROLES, "Mention miscellaneous information (levels 1-2)";
    Mount, BOTH_ROLES, "Mention mounts that were found or skipped";
    Name, BOTH_ROLES, "Mention 1) updated file/dir names, 2) unchanged names";
    Nonreg, RECEIVER, "Mention skipped non-regular files (default 1, 0 disables)";
    Progress, CLIENT, "Mention 1) per-file progress or 2) total transfer progress";
    Remove, SENDER, "Mention files removed on the sending side";
    Skip, RECEIVER, "Mention files skipped due to transfer overrides (levels 1-2)";
    Stats, BOTH_ENDS, "Mention statistics at end of run (levels 1-3)";
    Symsafe, BOTH_ROLES, "Mention symlinks that are unsafe";
}

words! {
    /// What `--debug` names.
    Debug, DEBUG, DEBUG_COUNT:
    Acl, BOTH_ROLES, "Debug extra ACL info";
    Backup, RECEIVER, "Debug backup actions (levels 1-2)";
    Bind, CLIENT, "Debug socket bind actions";
    Chdir, BOTH_ENDS, "Debug when the current directory changes";
    Connect, CLIENT, "Debug connection events (levels 1-2)";
    Cmd, CLIENT, "Debug commands+options that are issued (levels 1-2)";
    Del, RECEIVER, "Debug delete actions (levels 1-3)";
    Deltasum, BOTH_ROLES, "Debug delta-transfer checksumming (levels 1-4)";
    Dup, RECEIVER, "Debug weeding of duplicate names";
    Exit, BOTH_ENDS, "Debug exit events (levels 1-3)";
    Filter, BOTH_ROLES, "Debug filter actions (levels 1-3)";
    Flist, BOTH_ROLES, "Debug file-list operations (levels 1-4)";
    Fuzzy, RECEIVER, "Debug fuzzy scoring (levels 1-2)";
    Genr, RECEIVER, "Debug generator functions";
    Hash, BOTH_ROLES, "Debug hashtable code";
    Hlink, BOTH_ROLES, "Debug hard-link actions (levels 1-3)";
    Iconv, BOTH_ENDS, "Debug iconv character conversions (levels 1-2)";
    Io, BOTH_ENDS, "Debug I/O routines (levels 1-4)";
    Nstr, BOTH_ENDS, "Debug negotiation strings";
    Own, RECEIVER, "Debug ownership changes in users & groups (levels 1-2)";
    Proto, BOTH_ENDS, "Debug protocol information";
    Recv, RECEIVER, "Debug receiver functions";
    Send, SENDER, "Debug sender functions";
    Time, RECEIVER, "Debug setting of modified times (levels 1-2)";
}

/// What each `-v` adds. C: options.c info_verbosity, debug_verbosity
const VERBOSE_INFO: [&str; 6] =
    ["NONREG", "COPY,DEL,FLIST,MISC,NAME,STATS,SYMSAFE", "BACKUP,MISC2,MOUNT,NAME2,REMOVE,SKIP", "", "", ""];
const VERBOSE_DEBUG: [&str; 6] = [
    "",
    "",
    "BIND,CMD,CONNECT,DEL,DELTASUM,DUP,FILTER,FLIST,ICONV",
    "ACL,BACKUP,CONNECT2,DELTASUM2,DEL2,EXIT,FILTER2,FLIST2,FUZZY,GENR,OWN,RECV,SEND,TIME",
    "CMD2,DELTASUM3,DEL3,EXIT2,FLIST3,ICONV2,OWN2,PROTO,TIME2",
    "CHDIR,DELTASUM4,FLIST4,FUZZY2,HASH,HLINK",
];

/// The largest level a word can carry.
const MAX_LEVEL: u8 = 4;

/// Who set a level: a later setting of lower standing changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
enum Standing {
    #[default]
    Implied,
    Help,
    User,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Level {
    value: u8,
    standing: Standing,
}

/// The level of each word; 0 is silent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Levels {
    info: [Level; INFO_COUNT],
    debug: [Level; DEBUG_COUNT],
}

/// Why a list of words is not taken as levels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unusable {
    /// It asks for the help text.
    Help,
    /// It names this word, which there is not.
    Unknown(Vec<u8>),
}

impl Levels {
    pub fn info(&self, word: Info) -> u8 {
        self.info[word as usize].value
    }

    pub fn debug(&self, word: Debug) -> u8 {
        self.debug[word as usize].value
    }

    pub fn set_info(&mut self, word: Info, level: u8) {
        self.info[word as usize].value = level;
    }

    pub fn set_debug(&mut self, word: Debug, level: u8) {
        self.debug[word as usize].value = level;
    }

    /// Takes what the user wrote after `--info=`. Where `lenient` (on a server), unknown words are passed over.
    pub fn read_info(&mut self, list: &[u8], lenient: bool) -> Result<(), Unusable> {
        read(INFO, &mut self.info, list, Standing::User, lenient)
    }

    /// Takes what the user wrote after `--debug=`.
    pub fn read_debug(&mut self, list: &[u8], lenient: bool) -> Result<(), Unusable> {
        read(DEBUG, &mut self.debug, list, Standing::User, lenient)
    }

    /// Raises what the user did not set himself to what `-v`, said `count` times, implies. C: set_output_verbosity
    pub fn imply_verbosity(&mut self, count: u8) {
        for level in 0..=usize::from(count).min(VERBOSE_INFO.len() - 1) {
            self.imply_info(VERBOSE_INFO[level]);
            imply(DEBUG, &mut self.debug, VERBOSE_DEBUG[level], Standing::Implied);
        }
    }

    /// Sets info words that another option implies, where the user did not set them himself.
    pub fn imply_info(&mut self, list: &str) {
        imply(INFO, &mut self.info, list, Standing::Implied);
    }

    /// The `--info=…` word for the far side, if the user set anything that matters there.
    /// `far_sends`: the far side, always a server, is the sender. C: options.c make_output_option
    pub fn info_option(&self, far_sends: bool) -> Option<Vec<u8>> {
        let sides = SERVER | if far_sends { SENDER } else { RECEIVER };
        write(INFO, &self.info, sides).map(|words| bytes!["--info=", words])
    }
}

fn imply(words: &[Word], levels: &mut [Level], list: &str, standing: Standing) {
    let known = read(words, levels, list.as_bytes(), standing, true);
    debug_assert!(known.is_ok(), "{list}");
}

/// C: options.c parse_output_words
fn read(words: &[Word], levels: &mut [Level], list: &[u8], standing: Standing, lenient: bool) -> Result<(), Unusable> {
    for item in list.split(|&b| b == b',').filter(|item| !item.is_empty()) {
        let (name, value) = split_level(item);
        let value = if name.eq_ignore_ascii_case(b"none") { 0 } else { value };
        if name.eq_ignore_ascii_case(b"help") {
            return Err(Unusable::Help);
        }
        let all = name.is_empty() || name.eq_ignore_ascii_case(b"none") || name.eq_ignore_ascii_case(b"all");
        let mut found = false;
        for (word, level) in words.iter().zip(levels.iter_mut()) {
            if all || name.eq_ignore_ascii_case(word.name.as_bytes()) {
                found = true;
                if standing >= level.standing {
                    *level = Level { value, standing };
                }
            }
        }
        if !found && !lenient {
            return Err(Unusable::Unknown(name.to_vec()));
        }
    }
    Ok(())
}

/// `FLIST2` → `FLIST`, 2. An item that begins with a digit is a name without a level.
fn split_level(item: &[u8]) -> (&[u8], u8) {
    if item.first().is_some_and(u8::is_ascii_digit) {
        // The reference leaves such an item whole and reads its level just behind it: at a comma or the end.
        return (item, 1);
    }
    let digits = item.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (name, level) = item.split_at(item.len() - digits);
    if level.is_empty() {
        return (name, 1);
    }
    let level = std::str::from_utf8(level).ok().and_then(|text| text.parse::<u64>().ok());
    (name, level.map_or(MAX_LEVEL, |level| level.min(u64::from(MAX_LEVEL)) as u8))
}

/// The shortest list that says what is not implied, among the words that matter on these sides.
fn write(words: &[Word], levels: &[Level], sides: u8) -> Option<Vec<u8>> {
    let concerned = || words.iter().zip(levels).filter(|(word, _)| word.sides & sides != 0);
    let mut counts = [0usize; MAX_LEVEL as usize + 1];
    let (mut common, mut most) = (None, 0);
    for (_, level) in concerned().filter(|(_, level)| level.standing > Standing::Implied) {
        let count = &mut counts[usize::from(level.value.min(MAX_LEVEL))];
        *count += usize::from(level.standing == Standing::User);
        if *count > most {
            (common, most) = (Some(level.value), *count);
        }
    }
    let implied = concerned().any(|(_, level)| level.standing == Standing::Implied);
    if implied || most < 5 {
        common = None;
    }
    let mut list = match common {
        None => Vec::new(),
        Some(0) => b"NONE".to_vec(),
        Some(1) => b"ALL".to_vec(),
        Some(level) => bytes!["ALL", level],
    };
    for (word, level) in concerned() {
        if level.standing == Standing::Implied || Some(level.value) == common {
            continue;
        }
        if !list.is_empty() {
            list.push(b',');
        }
        list.extend(word.name.bytes().map(|b| b.to_ascii_uppercase()));
        if level.value != 1 {
            list.push(b'0' + level.value);
        }
    }
    (!list.is_empty()).then_some(list)
}

/// What `--info=help` prints.
pub fn info_help() -> Vec<u8> {
    help(INFO, "--info", &VERBOSE_INFO)
}

/// What `--debug=help` prints.
pub fn debug_help() -> Vec<u8> {
    help(DEBUG, "--debug", &VERBOSE_DEBUG)
}

/// C: options.c output_item_help
fn help(words: &[Word], option: &str, verbosity: &[&str]) -> Vec<u8> {
    let row = |name: &str, text: &str| format!("{:<10} {text}\n", name.to_ascii_uppercase());
    let mut text = String::from("Use OPT or OPT1 for level 1 output, OPT2 for level 2, etc.; OPT0 silences.\n\n");
    text.extend(words.iter().map(|word| row(word.name, word.help)));
    text += "\n";
    text += &row("ALL", &format!("Set all {option} options (e.g. all{MAX_LEVEL})"));
    text += &row("NONE", &format!("Silence all {option} options (same as all0)"));
    text += &row("HELP", "Output this help message");
    text += "\nOptions added at each level of verbosity:\n";
    let mut text = text.into_bytes();
    for (count, list) in verbosity.iter().enumerate() {
        let mut levels = vec![Level::default(); words.len()];
        imply(words, &mut levels, list, Standing::Help);
        if let Some(list) = write(words, &levels, EVERYWHERE) {
            text.extend(bytes![count, ") ", list, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_carry_levels() {
        let mut levels = Levels::default();
        levels.read_info(b"flist2,name0,PROGRESS,stats99", false).unwrap();
        assert_eq!(levels.info(Info::Flist), 2);
        assert_eq!(levels.info(Info::Name), 0);
        assert_eq!(levels.info(Info::Progress), 1);
        assert_eq!(levels.info(Info::Stats), 4);
    }

    #[test]
    fn the_user_stands_above_verbosity() {
        let mut levels = Levels::default();
        levels.read_info(b"name0", false).unwrap();
        levels.imply_verbosity(2);
        assert_eq!(levels.info(Info::Name), 0);
        assert_eq!(levels.info(Info::Misc), 2);
        assert_eq!(levels.debug(Debug::Flist), 1);
        assert_eq!(levels.debug(Debug::Genr), 0);
    }

    #[test]
    fn unknown_words_are_named() {
        let mut levels = Levels::default();
        assert_eq!(levels.read_debug(b"flist,foo3", false), Err(Unusable::Unknown(b"foo".to_vec())));
        assert_eq!(levels.read_debug(b"foo3,genr", true), Ok(()));
        assert_eq!(levels.debug(Debug::Genr), 1);
        assert_eq!(levels.read_info(b"help", true), Err(Unusable::Help));
    }

    #[test]
    fn only_what_concerns_the_far_side_is_forwarded() {
        let mut levels = Levels::default();
        levels.read_info(b"progress2,stats2,remove,copy", false).unwrap();
        assert_eq!(levels.info_option(true), Some(b"--info=REMOVE,STATS2".to_vec()));
        assert_eq!(levels.info_option(false), Some(b"--info=COPY,STATS2".to_vec()));
    }

    #[test]
    fn many_equal_levels_are_abbreviated() {
        let mut levels = Levels::default();
        levels.read_info(b"all2,name0", false).unwrap();
        assert_eq!(levels.info_option(false), Some(b"--info=ALL2,NAME0".to_vec()));
        levels.read_info(b"none", false).unwrap();
        assert_eq!(levels.info_option(true), Some(b"--info=NONE".to_vec()));
    }

    #[test]
    fn help_lists_what_verbosity_adds() {
        let text = String::from_utf8(info_help()).unwrap();
        assert!(text.contains("\n1) COPY,DEL,FLIST,MISC,NAME,STATS,SYMSAFE\n"), "{text}");
        assert!(text.contains("\nSYMSAFE    Mention symlinks that are unsafe\n"), "{text}");
    }
}
