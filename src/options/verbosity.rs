//! `--info` and `--debug`: the named output levels and what `-v` adds to them.

/// What `--info` names. C: options.c info_words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Info {
    Backup,
    Copy,
    Del,
    Flist,
    Misc,
    Mount,
    Name,
    Nonreg,
    Progress,
    Remove,
    Skip,
    Stats,
    Symsafe,
}

/// What `--debug` names. C: options.c debug_words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Debug {
    Acl,
    Backup,
    Bind,
    Chdir,
    Connect,
    Cmd,
    Del,
    Deltasum,
    Dup,
    Exit,
    Filter,
    Flist,
    Fuzzy,
    Genr,
    Hash,
    Hlink,
    Iconv,
    Io,
    Nstr,
    Own,
    Proto,
    Recv,
    Send,
    Time,
}

const INFO_COUNT: usize = Info::Symsafe as usize + 1;
const DEBUG_COUNT: usize = Debug::Time as usize + 1;

/// The level of each word; 0 is silent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Levels {
    info: [u8; INFO_COUNT],
    debug: [u8; DEBUG_COUNT],
}

impl Levels {
    pub fn info(&self, word: Info) -> u8 {
        self.info[word as usize]
    }

    pub fn debug(&self, word: Debug) -> u8 {
        self.debug[word as usize]
    }

    pub fn set_info(&mut self, word: Info, level: u8) {
        self.info[word as usize] = level;
    }

    pub fn set_debug(&mut self, word: Debug, level: u8) {
        self.debug[word as usize] = level;
    }
}
