//! The texts of `--version`, `--help` and their kin.

use super::flags::{self, DAEMON_FLAGS, FLAGS, Flag};
use crate::{
    compress::Method,
    error::{Error, ExitCode},
    hash::Algorithm,
};

/// The release whose behaviour we keep.
pub const VERSION: &str = "3.5.0";
const PROTOCOL: u8 = 32;
const COPYRIGHT: &str = "(C) 1996-2026 by Andrew Tridgell, Wayne Davison, and others.";
const URL: &str = "https://rsync.samba.org/";
const LICENCE: &str = "
rsync comes with ABSOLUTELY NO WARRANTY.  This is free software, and you
are welcome to redistribute it under certain conditions.  See the GNU
General Public Licence for details.
";
const OURSELVES: &str = concat!("\nThis program is oc-rsync ", env!("CARGO_PKG_VERSION"), ".\n");

/// The lists of `--version`; a second name of an algorithm stands in parentheses.
fn lists() -> [(&'static str, Vec<String>); 3] {
    let checksums = Algorithm::NAMES.into_iter();
    let checksums = checksums.map(|(name, sum)| if sum.name() == name { name.to_owned() } else { format!("({name})") });
    let plain = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    [
        ("Checksum list", checksums.collect()),
        ("Compress list", plain(&Method::NAMES.map(|(name, _)| name))),
        ("Daemon auth list", plain(DAEMON_AUTHS)),
    ]
}

const DAEMON_AUTHS: &[&str] = &["none"];

/// One word of the lists in `--version`.
enum Trait {
    /// `64-bit files`.
    Bits(u8, &'static str),
    Has(bool, &'static str),
    /// `optional secluded-args`.
    Kind(&'static str, &'static str),
}

/// Whether this build does what an option wants.
fn does(name: &str) -> bool {
    flags::flag(name).is_some()
}

/// What works here: most of it follows from the table.
fn capabilities() -> Vec<Trait> {
    let hard_links = does("hard-links");
    vec![
        Trait::Bits(64, "files"),
        Trait::Bits(64, "inums"),
        Trait::Bits(64, "timestamps"),
        Trait::Bits(64, "long ints"),
        Trait::Has(true, "socketpairs"),
        Trait::Has(does("links"), "symlinks"),
        Trait::Has(does("omit-link-times"), "symtimes"),
        Trait::Has(hard_links, "hardlinks"),
        Trait::Has(hard_links, "hardlink-specials"),
        Trait::Has(hard_links, "hardlink-symlinks"),
        Trait::Has(does("ipv6"), "IPv6"),
        Trait::Has(does("atimes"), "atimes"),
        Trait::Has(does("write-batch"), "batchfiles"),
        Trait::Has(does("inplace"), "inplace"),
        Trait::Has(does("append"), "append"),
        Trait::Has(does("acls"), "ACLs"),
        Trait::Has(does("acls"), "ACL-at"),
        Trait::Has(does("xattrs"), "xattrs"),
        Trait::Kind("optional", "secluded-args"),
        Trait::Has(does("iconv"), "iconv"),
        Trait::Has(does("preallocate"), "prealloc"),
        Trait::Has(does("stop-at"), "stop-at"),
        Trait::Has(false, "crtimes"),
    ]
}

fn optimizations() -> Vec<Trait> {
    vec![
        Trait::Has(true, "SIMD-roll"),
        Trait::Has(false, "asm-roll"),
        Trait::Has(false, "openssl-crypto"),
        Trait::Has(false, "asm-MD5"),
    ]
}

impl Trait {
    fn text(&self) -> String {
        match self {
            Self::Bits(bits, what) => format!("{bits}-bit {what}"),
            Self::Has(true, what) => (*what).to_owned(),
            Self::Has(false, what) => format!("no {what}"),
            Self::Kind(kind, what) => format!("{kind} {what}"),
        }
    }

    fn json(&self) -> String {
        let name = |what: &str| what.replace([' ', '-'], "_");
        match self {
            Self::Bits(bits, what) => format!("\"{}_bits\": {bits}", name(what.strip_suffix('s').unwrap_or(what))),
            Self::Has(has, what) => format!("\"{}\": {has}", name(what)),
            Self::Kind(kind, what) => format!("\"{}\": \"{kind}\"", name(what)),
        }
    }
}

/// Items in lines of at most 75 columns, each line after three blanks. C: usage.c print_info_flags
fn in_lines(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let (mut text, mut line) = (String::new(), String::new());
    for (at, item) in items.iter().enumerate() {
        let item = format!(" {item}{}", if at + 1 < items.len() { "," } else { "" });
        if !line.is_empty() && line.len() + item.len() >= 75 {
            text += &format!("   {line}\n");
            line.clear();
        }
        line += &item;
    }
    text + &format!("   {line}\n")
}

/// What `--version` prints.
pub fn version() -> Vec<u8> {
    let mut text = format!("rsync  version {VERSION}  protocol version {PROTOCOL}\n");
    text += &format!("Copyright {COPYRIGHT}\nWeb site: {URL}\n");
    text += "Capabilities:\n";
    text += &in_lines(capabilities().iter().map(Trait::text));
    text += "Optimizations:\n";
    text += &in_lines(optimizations().iter().map(Trait::text));
    for (name, list) in lists() {
        text += &format!("{name}:\n    {}\n", list.join(" "));
    }
    (text + LICENCE + OURSELVES).into_bytes()
}

/// What `-VV` prints.
pub fn version_json() -> Vec<u8> {
    let mut text = format!("{{\n  \"program\": \"rsync\",\n  \"version\": \"{VERSION}\",\n");
    text += &format!("  \"protocol\": \"{PROTOCOL}.0\",\n  \"copyright\": \"{COPYRIGHT}\",\n  \"url\": \"{URL}\"");
    for (name, items) in [("capabilities", capabilities()), ("optimizations", optimizations())] {
        text += &format!(",\n  \"{name}\": {{\n{}  }}", in_lines(items.iter().map(Trait::json)));
    }
    for (name, list) in lists() {
        let name = name.to_ascii_lowercase().replace(' ', "_");
        let list: Vec<String> =
            list.iter().filter(|item| !item.starts_with('(')).map(|item| format!(" \"{item}\"")).collect();
        text += &format!(",\n  \"{name}\": [\n   {}\n  ]", list.join(","));
    }
    text += ",\n  \"license\": \"GPLv3\",\n  \"caveat\": \"rsync comes with ABSOLUTELY NO WARRANTY\"\n}\n";
    text.into_bytes()
}

/// What `--help` prints, and what is said on stderr to those who got the line quite wrong.
pub fn usage() -> Vec<u8> {
    let mut text = version();
    text.extend_from_slice(USAGE_HEAD.as_bytes());
    text.extend(option_lines(FLAGS));
    text.extend_from_slice(USAGE_TAIL.as_bytes());
    text
}

/// What `--daemon --help` prints.
pub fn daemon_usage() -> Vec<u8> {
    let mut text = version();
    text.extend_from_slice(b"\nUsage: rsync --daemon [OPTION]...\n");
    text.extend(option_lines(DAEMON_FLAGS));
    text.extend_from_slice(DAEMON_USAGE_TAIL.as_bytes());
    text
}

/// What `--help-ext` prints: the options that the reference has not.
pub fn extensions() -> Vec<u8> {
    b"oc-rsync has no options beyond those that rsync --help lists, but this:\n\
      --help-ext               show this help\n"
        .to_vec()
}

fn option_lines(table: &[Flag]) -> Vec<u8> {
    let mut text = String::new();
    for flag in table {
        for (left, right) in flag.help {
            let left = if left.is_empty() { flag.synopsis() } else { (*left).to_owned() };
            text += &format!("{left:<24} {right}\n");
        }
    }
    text.into_bytes()
}

/// The end of a line that makes no sense at all: the usage on stderr, status 1.
#[track_caller]
pub fn usage_error() -> Error {
    let mut text = usage();
    text.pop(); // the message's last newline is added when it is said
    Error::new(ExitCode::SYNTAX, text)
}

const USAGE_HEAD: &str = "
rsync is a file transfer program capable of efficient remote update
via a fast differencing algorithm.

Usage: rsync [OPTION]... SRC [SRC]... DEST
  or   rsync [OPTION]... SRC [SRC]... [USER@]HOST:DEST
  or   rsync [OPTION]... SRC [SRC]... [USER@]HOST::DEST
  or   rsync [OPTION]... SRC [SRC]... rsync://[USER@]HOST[:PORT]/DEST
  or   rsync [OPTION]... [USER@]HOST:SRC [DEST]
  or   rsync [OPTION]... [USER@]HOST::SRC [DEST]
  or   rsync [OPTION]... rsync://[USER@]HOST[:PORT]/SRC [DEST]
The ':' usages connect via remote shell, while '::' & 'rsync://' usages connect
to an rsync daemon, and require SRC or DEST to start with a module name.

Options
";

const USAGE_TAIL: &str = "
Use \"rsync --daemon --help\" to see the daemon-mode command-line options.
Please see the rsync(1) and rsyncd.conf(5) manpages for full documentation.
See https://rsync.samba.org/ for updates, bug reports, and answers
";

const DAEMON_USAGE_TAIL: &str = "
If you were not trying to invoke rsync as a daemon, avoid using any of the
daemon-specific rsync options.  See also the rsyncd.conf(5) manpage.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn programs_find_what_they_look_for() {
        let version = text(version());
        assert!(version.starts_with("rsync  version 3.5.0  protocol version 32\nCopyright (C) "), "{version}");
        let (capabilities, _) = version.split_once("\n\n").unwrap();
        assert!(capabilities.contains("Capabilities:\n    64-bit files, "), "{version}");
        assert!(version.lines().all(|line| line.len() < 80), "{version}");
    }

    #[test]
    fn only_true_statements() {
        let version = text(version());
        assert_eq!(version.contains("no ACLs"), !does("acls"));
        assert_eq!(version.contains("no iconv"), !does("iconv"));
        assert!(version.contains("no crtimes") && version.contains("optional secluded-args"));
    }

    #[test]
    fn json_is_spelt_like_the_reference() {
        let json = text(version_json());
        assert!(json.contains("\"capabilities\": {\n    \"file_bits\": 64, \"inum_bits\": 64,"), "{json}");
        assert!(json.contains("\"secluded_args\": \"optional\","), "{json}");
        assert!(json.contains("\"checksum_list\": [\n    \"xxh128\", \"xxh3\", \"xxh64\", \"md5\""), "{json}");
        assert!(json.ends_with("\"\n}\n"));
    }
}
