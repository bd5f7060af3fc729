//! What was typed, in the order typed: what the flags write before `check` draws its conclusions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Append, Options, Stderr};
use crate::{
    bytes,
    error::{Error, ExitCode},
    sys::clock,
    text::number::SizeRule,
};

/// Why reading the command line ends before its end.
#[derive(Debug)]
pub enum Stop {
    /// Print this as information and end with status 0.
    Print(Vec<u8>),
    Failed(Error),
}

pub type Done = Result<(), Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A complaint of the reference about an option: `rsync: WHAT`, status 1. C: options.c option_error
#[track_caller]
pub fn wrong(what: impl AsRef<[u8]>) -> Error {
    Error::new(ExitCode::SYNTAX, bytes!["rsync: ", what.as_ref()])
}

/// Which option wrote `--usermap` or `--groupmap`: each may only once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapFrom {
    Map,
    Chown,
}

/// The options as they stand after the last one read: simple ones in `options`, the others here as the user left them.
///
/// The numbers have the reference's meaning (C: the globals of options.c).
#[derive(Clone, Debug, Default)]
pub struct Typed {
    pub options: Options,
    pub args: Vec<Vec<u8>>,
    pub server: bool,
    pub sender: bool,
    pub daemon: bool,
    /// `--version` count.
    pub version: u8,

    /// 0; 1: by `-a`; 2: by `-r`.
    pub recurse: u8,
    /// `None`: not said; 0, 2: `--no-dirs`, `--dirs`; 4: `--old-dirs`.
    pub dirs: Option<u8>,
    pub relative: Option<bool>,
    pub per_dir_filters: u8,

    pub delete: bool,
    pub delete_before: bool,
    /// 0; 1: `--delete-during`; 2: `--delete-delay`.
    pub delete_during: u8,
    pub delete_after: bool,

    pub usermap_from: Option<MapFrom>,
    pub groupmap_from: Option<MapFrom>,
    pub append: u8,
    pub block_size: Option<u32>,
    pub suffix: Option<Vec<u8>>,
    pub compress: u8,
    pub batch_name: Option<Vec<u8>>,
    /// 1 `--write-batch`, -1 `--only-write-batch`.
    pub write_batch: i8,
    pub read_batch: bool,

    /// `None`: 32.
    pub protocol: Option<i32>,
    /// KiB a second.
    pub bwlimit: u64,
    pub max_alloc: Option<Vec<u8>>,
    pub timeout: i32,
    /// `--old-args` count; `None`: not said.
    pub old_args: Option<i32>,
    pub secluded: Option<bool>,
    /// The arguments came over the wire already: a second reading. C: protect_args 2
    pub secluded_read: bool,
    pub outbuf: Option<Vec<u8>>,
    pub stderr_said: bool,
}

impl Typed {
    /// Nothing typed: the reference's defaults.
    pub fn new() -> Self {
        let mut typed = Self::default();
        let options = &mut typed.options;
        options.human_readable = 1;
        options.motd = true;
        options.implied_dirs = true;
        options.allow_inc_recurse = true;
        options.rsync_path = b"rsync".to_vec();
        typed
    }

    /// C: options.c OPT_STDERR
    pub fn set_stderr(&mut self, mode: &[u8]) -> Done {
        let modes: [(&[u8], Stderr); 3] =
            [(b"errors", Stderr::Errors), (b"all", Stderr::All), (b"client", Stderr::Client)];
        let known = modes.into_iter().find(|(name, _)| !mode.is_empty() && name.starts_with(mode));
        let (_, mode) =
            known.ok_or_else(|| wrong(bytes!["--stderr mode \"", mode, "\" is not one of errors, all, or client"]))?;
        self.options.stderr = mode;
        Ok(())
    }

    /// C: options.c case 'a'
    pub fn archive(&mut self) {
        self.recurse = self.recurse.max(1);
        let options = &mut self.options;
        for part in [
            &mut options.links,
            &mut options.perms,
            &mut options.times,
            &mut options.group,
            &mut options.owner,
            &mut options.devices,
            &mut options.specials,
        ] {
            *part = true;
        }
    }

    pub fn remote_option(&mut self, option: &[u8]) -> Done {
        if !option.starts_with(b"-") {
            return Err(wrong(bytes!["Remote option must start with a dash: ", option]).into());
        }
        self.options.remote_options.push(option.to_vec());
        Ok(())
    }

    /// The limit depends on the protocol as known so far, as in the reference.
    pub fn set_block_size(&mut self, text: &[u8]) -> Done {
        let max = if self.protocol.unwrap_or(32) < 30 { 1 << 29 } else { 1 << 17 };
        let rule = SizeRule { unit: b'b', min: 0, max: Some(max), zero_is_unlimited: false };
        self.block_size = Some(size("block-size", rule, text)? as u32);
        Ok(())
    }

    /// In KiB a second, rounded to the nearest.
    pub fn set_bwlimit(&mut self, text: &[u8]) -> Done {
        let rule = SizeRule { unit: b'K', min: 512, max: None, zero_is_unlimited: true };
        self.bwlimit = size("bwlimit", rule, text)?.saturating_add(512) / 1024;
        Ok(())
    }

    pub fn set_append(&mut self) {
        self.append = if self.server { self.append.saturating_add(1) } else { 1 };
    }

    pub fn append_mode(&self) -> Append {
        match self.append {
            0 => Append::No,
            1 => Append::Trust,
            _ => Append::Verify,
        }
    }

    /// C: options.c OPT_USERMAP
    pub fn set_usermap(&mut self, map: &[u8]) -> Done {
        once("usermap", self.usermap_from)?;
        self.options.usermap = Some(map.to_vec());
        self.usermap_from = Some(MapFrom::Map);
        self.options.owner = true;
        Ok(())
    }

    /// C: options.c OPT_GROUPMAP
    pub fn set_groupmap(&mut self, map: &[u8]) -> Done {
        once("groupmap", self.groupmap_from)?;
        self.options.groupmap = Some(map.to_vec());
        self.groupmap_from = Some(MapFrom::Map);
        self.options.group = true;
        Ok(())
    }

    /// `USER`, `USER:GROUP`, `:GROUP`. C: options.c OPT_CHOWN
    pub fn set_chown(&mut self, owner: &[u8]) -> Done {
        let mut parts = owner.splitn(2, |&b| b == b':');
        let user = parts.next().unwrap_or_default();
        let group = parts.next().unwrap_or_default();
        if !user.is_empty() {
            match self.usermap_from {
                Some(MapFrom::Map) => return Err(wrong("--chown conflicts with prior --usermap.").into()),
                Some(MapFrom::Chown) => {
                    return Err(wrong("You can only specify a user-affecting --chown once.").into());
                }
                None => self.usermap_from = Some(MapFrom::Chown),
            }
            self.options.usermap = Some(bytes!["*:", user]);
            self.options.owner = true;
        }
        if !group.is_empty() {
            match self.groupmap_from {
                Some(MapFrom::Map) => return Err(wrong("--chown conflicts with prior --groupmap.").into()),
                Some(MapFrom::Chown) => {
                    return Err(wrong("You can only specify a group-affecting --chown once.").into());
                }
                None => self.groupmap_from = Some(MapFrom::Chown),
            }
            self.options.groupmap = Some(bytes!["*:", group]);
            self.options.group = true;
        }
        Ok(())
    }

    /// Minutes from now. C: options.c OPT_STOP_AFTER
    pub fn set_stop_after(&mut self, text: &[u8]) -> Done {
        let seconds = leading_int(text).checked_mul(60).filter(|&seconds| seconds > 0);
        let moment = seconds.and_then(|seconds| SystemTime::now().checked_add(Duration::from_secs(seconds as u64)));
        self.options.stop_at = Some(moment.ok_or_else(|| wrong(bytes!["invalid --stop-after value: ", text]))?);
        Ok(())
    }

    /// C: options.c OPT_STOP_AT
    pub fn set_stop_at(&mut self, text: &[u8]) -> Done {
        let now = clock::now().0;
        let moment = super::moment::next(text, now).ok_or_else(|| wrong(bytes!["invalid --stop-at format: ", text]))?;
        if moment <= now {
            return Err(wrong(bytes!["--stop-at time is not in the future: ", text]).into());
        }
        self.options.stop_at = UNIX_EPOCH.checked_add(Duration::from_secs(moment.unsigned_abs()));
        Ok(())
    }

    pub fn dparam(&mut self, text: &[u8]) -> Done {
        if !text.contains(&b'=') {
            let line = bytes!["--dparam value is missing an '=': ", text, "\n", DAEMON_ASSISTANCE];
            return Err(Error::new(ExitCode::SYNTAX, line).into());
        }
        self.options.dparams.push(text.to_vec());
        Ok(())
    }
}

/// What follows every complaint about the daemon's options.
pub const DAEMON_ASSISTANCE: &str = "(Type \"rsync --daemon --help\" for assistance with daemon mode.)";

fn once(name: &str, from: Option<MapFrom>) -> Done {
    match from {
        None => Ok(()),
        Some(MapFrom::Map) => Err(wrong(bytes!["You can only specify --", name, " once."]).into()),
        Some(MapFrom::Chown) => Err(wrong(bytes!["--", name, " conflicts with prior --chown."]).into()),
    }
}

/// A size option's value in bytes, or the reference's complaint.
pub fn size(option: &str, rule: SizeRule, text: &[u8]) -> Result<u64, Error> {
    match rule.parse(text) {
        Ok(size) => Ok(size.unsigned_abs()),
        Err(error) => Err(wrong(rule.complaint(option, text, error))),
    }
}

/// The rule of `--max-size`, `--min-size`.
pub const FILE_SIZE: SizeRule = SizeRule { unit: b'b', min: 0, max: None, zero_is_unlimited: false };

/// The number that a text begins with; 0 if none. C: atoi
pub fn leading_int(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    let digits = digits.iter().take_while(|b| b.is_ascii_digit());
    sign * digits.fold(0i64, |number, b| number.saturating_mul(10).saturating_add(i64::from(b - b'0')))
}

/// An integer as popt reads it: blanks, a sign, decimal, octal or hexadecimal digits; nothing at all is 0.
///
/// The error is popt's name for what is wrong. C: popt.c poptParseInteger
pub fn integer(text: &[u8]) -> Result<i32, &'static str> {
    const INVALID: &str = "invalid numeric value";
    if text.is_empty() {
        return Ok(0);
    }
    let start = text.iter().take_while(|b| b.is_ascii_whitespace() || **b == 0x0b).count();
    let text = &text[start..];
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let (base, digits) = match digits {
        [b'0', b'x' | b'X', digits @ ..] => (16, digits),
        [b'0', ..] => (8, digits),
        _ => (10, digits),
    };
    if digits.is_empty() {
        return Err(INVALID);
    }
    let mut value: i64 = 0;
    for &digit in digits {
        let digit = char::from(digit).to_digit(base).ok_or(INVALID)?;
        value = value.saturating_mul(i64::from(base)).saturating_add(i64::from(digit));
    }
    i32::try_from(if negative { -value } else { value }).map_err(|_| "number too large or too small")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_as_popt_reads_them() {
        for (text, value) in [("", 0), ("12", 12), (" -3", -3), ("+7", 7), ("0x10", 16), ("010", 8), ("0", 0)] {
            assert_eq!(integer(text.as_bytes()), Ok(value), "{text:?}");
        }
        for text in ["x", "1x", "0x", "08", "1 ", "-", " ", "1.5"] {
            assert_eq!(integer(text.as_bytes()), Err("invalid numeric value"), "{text:?}");
        }
        for text in ["2147483648", "-2147483649", "99999999999999999999"] {
            assert_eq!(integer(text.as_bytes()), Err("number too large or too small"), "{text:?}");
        }
    }

    #[test]
    fn chown_splits_at_the_first_colon() {
        let mut typed = Typed::new();
        assert!(typed.set_chown(b":staff:x").is_ok());
        assert_eq!((typed.options.usermap.as_deref(), typed.options.owner), (None, false));
        assert_eq!(typed.options.groupmap.as_deref(), Some(&b"*:staff:x"[..]));
        assert!(typed.set_chown(b"root").is_ok());
        assert!(matches!(typed.set_usermap(b"*:x"), Err(Stop::Failed(e)) if e.message.ends_with(b"prior --chown.")));
    }
}
