//! What the far side is told: the argument list of a `--server`, exactly as the reference would write it.
//!
//! What an option contributes stands in its row of the table; the order, which the reference's does not follow from
//! its table either, stands here.

use super::{
    ArgStyle, Delete, Dirs, Mode, Options,
    flags::{self, FLAGS},
};
use crate::bytes;

/// The bundled letters in the order of the wire. C: options.c server_options
const LETTERS: &[u8] = b"svqbunldKmOJyLkWHogDtUpEAXrcCIRxSz";

/// The options told in words, in the order of the wire, each by its row's long name; `M` is `--remote-option`.
const WORDS: &[&str] = &[
    "list-only",
    "recursive",
    "compress-level",
    "specials",
    "out-format",
    "msgs2stderr",
    "block-size",
    "timeout",
    "bwlimit",
    "backup-dir",
    "suffix",
    "checksum-choice",
    "compress-choice",
    "max-delete",
    "min-size",
    "max-size",
    "delete",
    "delete-excluded",
    "force",
    "only-write-batch",
    "super",
    "size-only",
    "stats",
    "skip-compress",
    "max-alloc",
    "delete-missing-args",
    "ignore-missing-args",
    "modify-window",
    "checksum-seed",
    "partial-dir",
    "delay-updates",
    "partial",
    "ignore-errors",
    "copy-unsafe-links",
    "safe-links",
    "numeric-ids",
    "qsort",
    "usermap",
    "groupmap",
    "ignore-existing",
    "existing",
    "temp-dir",
    "fsync",
    "link-dest",
    "info",
    "append",
    "inplace",
    "files-from",
    "implied-dirs",
    "write-devices",
    "remove-source-files",
    "copy-devices",
    "preallocate",
    "open-noatime",
    "mkpath",
    "remote-option",
];

/// What goes to the far side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FarArgs {
    /// The words after the remote program's name on the remote shell's command line.
    pub argv: Vec<Vec<u8>>,
    /// With `-s`: the words to send over the wire once the far side runs (`proto::args::send`).
    pub secluded: Option<Vec<Vec<u8>>>,
}

/// The far side's arguments for these options and remote paths; `we_send`: the far side receives. C: main.c do_cmd
pub fn far_args(options: &Options, we_send: bool, paths: &[Vec<u8>]) -> FarArgs {
    let mut far = Far { o: options, we_send, words: vec![b"--server".to_vec()] };
    if !we_send {
        far.say(true, "--sender");
    }
    let letters = far.letters();
    if letters.len() > 1 {
        far.words.push(letters);
    }
    far.tell("iconv");
    let open = far.words.len();
    for name in WORDS {
        far.tell(name);
    }
    far.words.push(b".".to_vec());
    let mut words = far.words;
    words.extend(paths.iter().map(|path| quote(options, we_send, What::Path, path)));
    if options.arg_style != ArgStyle::Secluded {
        return FarArgs { argv: words, secluded: None };
    }
    let secluded = words.split_off(open);
    FarArgs { argv: words, secluded: Some(secluded) }
}

/// What `-e` tells a server about this client: `.iLsfxCIvu`; empty below protocol 30.
/// C: options.c maybe_add_e_option
pub fn client_info(options: &Options, we_send: bool) -> Vec<u8> {
    if protocol(options) < 30 {
        return Vec::new();
    }
    bytes![".", if inc_recurse_allowed(options, we_send) { "i" } else { "" }, "LsfxCIvu"]
}

/// Whether the options allow incremental recursion; `we_send`: this side is the transfer's sender. A server asks its
/// client's abilities too. C: compat.c set_allow_inc_recurse
pub fn inc_recurse_allowed(options: &Options, we_send: bool) -> bool {
    let receiver_needs_all =
        matches!(options.delete, Delete::Before | Delete::After) || options.delay_updates || options.prune_empty_dirs;
    options.allow_inc_recurse && options.recurse() && !options.qsort && (we_send || !receiver_needs_all)
}

/// The options of the in-process server of a local copy, and what local copying settles for both sides.
/// C: main.c start_client, do_cmd
pub fn settle_local(options: &mut Options) {
    options.arg_style = ArgStyle::Verbatim;
    options.trust_sender = true;
    options.trust_sender_args = true;
    if options.whole_file.is_none() && options.batch.is_none() {
        options.whole_file = Some(true);
    }
}

/// The receiving half of a local copy, seen as a server. Call `settle_local` first. C: main.c local_child
pub fn local_server(options: &Options, dest: &[u8]) -> Options {
    let mut server = match &options.local_far {
        Some(far) => {
            let mut server = Options::clone(far);
            settle_local(&mut server);
            server
        }
        None => {
            let mut server = options.clone();
            server.leave_to_sender();
            server
        }
    };
    server.mode = Mode::ServerReceiver;
    server.client_info = client_info(options, true);
    server.base_dir = b".".to_vec();
    server.args = vec![std::os::unix::ffi::OsStringExt::from_vec(dest.to_vec())];
    server
}

fn protocol(options: &Options) -> u8 {
    options.protocol.unwrap_or(32)
}

/// The far side's words as they grow, for the rows of the table.
pub struct Far<'a> {
    pub o: &'a Options,
    /// The far side receives.
    pub we_send: bool,
    pub words: Vec<Vec<u8>>,
}

impl Far<'_> {
    fn letters(&self) -> Vec<u8> {
        let mut bundle = b"-".to_vec();
        for &letter in LETTERS {
            if let Some(count) = flags::by_short(FLAGS, letter).and_then(|flag| flag.letter) {
                bundle.extend(std::iter::repeat_n(letter, usize::from(count(self))));
            }
        }
        let info = client_info(self.o, self.we_send);
        if !info.is_empty() {
            bundle.push(b'e');
            bundle.extend(info);
        }
        bundle
    }

    fn tell(&mut self, name: &str) {
        if let Some(words) = flags::flag(name).and_then(|flag| flag.words) {
            words(self);
        }
    }

    pub fn say(&mut self, wanted: bool, word: &str) {
        if wanted && !word.is_empty() {
            self.words.push(word.as_bytes().to_vec());
        }
    }

    /// `--option=value`, one word.
    pub fn say_value(&mut self, option: &str, value: &Option<Vec<u8>>) {
        if let Some(value) = value {
            let value = quote(self.o, self.we_send, What::Value, value);
            self.words.push(bytes![option, "=", value]);
        }
    }

    /// `--option value`, two words, so that a remote shell expands a `~`.
    pub fn say_split(&mut self, option: &str, value: &Option<Vec<u8>>) {
        if let Some(value) = value {
            self.words.push(option.as_bytes().to_vec());
            self.words.push(quote(self.o, self.we_send, What::Value, value));
        }
    }

    pub fn say_iconv(&mut self) {
        let theirs = self.o.iconv.as_deref().map(|spec| match spec.iter().position(|&b| b == b',') {
            Some(comma) => spec[comma + 1..].to_vec(),
            None => spec.to_vec(),
        });
        self.say_value("--iconv", &theirs);
    }

    /// What a receiving server must know about our format in order to report to us.
    pub fn say_log_format(&mut self) {
        if self.o.out_format.is_none() || !self.we_send {
            return;
        }
        let format = match self.o.out_format_has_i {
            2.. => "%i%I",
            1 => "%i",
            0 if self.o.out_format_has_o_or_i => "%o",
            0 if self.o.verbose == 0 => "X",
            0 => return,
        };
        self.words.push(bytes!["--log-format=", format]);
    }

    pub fn say_files_from(&mut self) {
        if self.o.files_from.is_none() || self.we_send && self.o.files_from_host.is_none() {
            return;
        }
        if self.o.files_from_host.is_some() {
            self.say_split("--files-from", &self.o.files_from);
            self.say(self.o.from0, "--from0");
        } else {
            self.say(true, "--files-from=-");
            self.say(true, "--from0");
        }
        self.say(!self.o.relative, "--no-relative");
    }

    pub fn say_remote_options(&mut self) {
        for option in &self.o.remote_options {
            self.words.push(quote(self.o, self.we_send, What::RemoteOption, option));
        }
    }

    pub fn protocol(&self) -> u8 {
        protocol(self.o)
    }

    pub fn secluded(&self) -> bool {
        self.o.arg_style == ArgStyle::Secluded
    }

    pub fn deletes(&self) -> bool {
        self.o.delete != Delete::Never
    }

    /// Directories travel, but no recursion was asked for. C: xfer_dirs && !recurse
    pub fn lists_only_dirs(&self) -> bool {
        matches!(self.o.dirs, Dirs::Implied | Dirs::List)
    }

    /// `--delay-updates` alone names a directory that the far side knows.
    pub fn partial_dir_is_implied(&self) -> bool {
        self.o.delay_updates && self.o.partial_dir.as_deref() == Some(super::check::DELAYED_DIR)
    }
}

/// What a word is to the remote shell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A name in which wildcards stay alive.
    Path,
    Value,
    /// `-M`: split by the shell with `--old-args`.
    RemoteOption,
}

/// The word with whatever a shell would touch behind backslashes, as far as the style of arguments wants it.
/// C: options.c safe_arg
pub fn quote(options: &Options, we_send: bool, what: What, word: &[u8]) -> Vec<u8> {
    const SHELL: &[u8] = b"!#$&;|<>(){}\"'` \t\n\r\\";
    const WILD: &[u8] = b"*?[]";
    let escape = match options.arg_style {
        ArgStyle::Escaped => true,
        ArgStyle::Old => what == What::Value,
        ArgStyle::Verbatim | ArgStyle::Secluded => false,
    };
    let mut quoted = Vec::with_capacity(word.len() + 8);
    if what == What::Path && word.first() == Some(&b'-') {
        quoted.extend(b"./");
    }
    if !escape {
        quoted.extend(word);
        return quoted;
    }
    if what == What::Path && word.first() == Some(&b'~') && !we_send && !options.trust_sender_args {
        let pointed = memchr::memmem::find(word, b"/./").is_some();
        if options.relative && !pointed || !word.contains(&b'/') {
            quoted.push(b'\\');
        }
    }
    for (at, &byte) in word.iter().enumerate() {
        let keeps_wildcard = byte == b'\\' && what == What::Path && word.get(at + 1).is_some_and(|b| WILD.contains(b));
        if SHELL.contains(&byte) && !keeps_wildcard || what != What::Path && WILD.contains(&byte) {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forwarding_row_has_its_place() {
        for flag in FLAGS {
            let in_letters = LETTERS.iter().filter(|&&letter| letter == flag.short).count();
            assert_eq!(in_letters, usize::from(flag.letter.is_some()), "letter of {}", flag.spelling());
            let in_words = WORDS.iter().filter(|&&name| name == flag.long).count() + usize::from(flag.long == "iconv");
            assert_eq!(in_words, usize::from(flag.words.is_some()), "words of {}", flag.spelling());
        }
    }

    fn quoted(style: ArgStyle, we_send: bool, what: What, word: &str) -> String {
        let options = Options { arg_style: style, ..Options::default() };
        String::from_utf8(quote(&options, we_send, what, word.as_bytes())).unwrap()
    }

    #[test]
    fn paths_keep_their_wildcards() {
        assert_eq!(quoted(ArgStyle::Escaped, true, What::Path, "a b*[x]?"), r"a\ b*[x]?");
        assert_eq!(quoted(ArgStyle::Escaped, true, What::Path, r"a\*b\c"), r"a\*b\\c");
        assert_eq!(quoted(ArgStyle::Escaped, true, What::Path, "-x"), "./-x");
        assert_eq!(quoted(ArgStyle::Escaped, true, What::Value, "a*"), r"a\*");
        assert_eq!(quoted(ArgStyle::Old, true, What::Path, "a b"), "a b");
        assert_eq!(quoted(ArgStyle::Old, true, What::Value, "a b"), r"a\ b");
        assert_eq!(quoted(ArgStyle::Old, true, What::RemoteOption, "a b"), "a b");
        assert_eq!(quoted(ArgStyle::Verbatim, true, What::Value, "a b"), "a b");
    }

    #[test]
    fn a_tilde_is_escaped_where_the_sender_could_trick_us() {
        assert_eq!(quoted(ArgStyle::Escaped, false, What::Path, "~"), r"\~");
        assert_eq!(quoted(ArgStyle::Escaped, false, What::Path, "~/x"), "~/x");
        assert_eq!(quoted(ArgStyle::Escaped, true, What::Path, "~"), "~");
    }
}
