//! From the words of a command line to what they say: clap takes them apart, the table's rows write them down in the
//! order typed, and the reference's wording tells what is wrong.

use std::{
    ffi::{OsStr, OsString},
    fs, mem,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::PermissionsExt,
    },
    path::Path,
    sync::OnceLock,
};

use clap::{Arg, ArgAction, Command, value_parser};

use super::{
    Mode, Options,
    check::{self, Env},
    flags::{Act, DAEMON_FLAGS, FLAGS, Flag, Special},
    glob, help,
    popt::{self, Line},
    target::Target,
    typed::{DAEMON_ASSISTANCE, Done, Stop, Typed, integer, wrong},
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
};

/// What a command line asks for.
#[derive(Debug)]
pub enum Wish {
    /// Print and end well.
    Print { text: Vec<u8>, to_stderr: bool },
    /// A transfer, as client or server.
    Run(Box<Options>),
    /// A server whose arguments come over the wire: read them and go on with `Secluded::read`.
    ReadArgs(Secluded),
}

/// Why a command line is not followed.
#[derive(Debug)]
pub struct Refusal {
    pub error: Error,
    /// What stood before that.
    pub before: Box<Options>,
}

/// A server's command line, read as far as it went.
#[derive(Debug)]
pub struct Secluded(Box<Typed>);

impl Secluded {
    /// Reads the words that came over the wire, the program's name not among them; wildcards in paths are expanded.
    pub fn read(mut self, words: &[Vec<u8>], env: Env) -> Result<Wish, Refusal> {
        self.0.secluded_read = true;
        finish(*self.0, &glob::expand_paths(words), env)
    }

    pub fn options(&self) -> &Options {
        &self.0.options
    }
}

/// Reads a command line, the program's name not in it.
pub fn read(words: &[Vec<u8>], env: Env) -> Result<Wish, Refusal> {
    if words.is_empty() {
        return Err(Refusal { error: help::usage_error().by("client"), before: Box::default() });
    }
    finish(begin(env), words, env)
}

/// Nothing typed yet, but the environment may have set what options then change.
fn begin(env: Env) -> Typed {
    let mut typed = Typed::new();
    typed.options.iconv = env("RSYNC_ICONV").filter(|spec| !spec.is_empty());
    typed.options.rsh_env = env("RSYNC_RSH");
    typed
}

fn finish(mut typed: Typed, words: &[Vec<u8>], env: Env) -> Result<Wish, Refusal> {
    let taken = take_words(&mut typed, words, env);
    let speaker = if typed.server { "server" } else { "client" };
    let wish = match taken {
        Ok(()) => make_wish(&mut typed, words, env),
        Err(Stop::Print(text)) => Ok(print(&typed, text)),
        Err(Stop::Failed(error)) => Err(error),
    };
    wish.map_err(|error| {
        check::settle_mode(&mut typed);
        Refusal { error: error.by(speaker), before: Box::new(typed.options) }
    })
}

fn make_wish(typed: &mut Typed, words: &[Vec<u8>], env: Env) -> Result<Wish> {
    if typed.daemon {
        typed.options.mode = Mode::Daemon;
        return Err(check::unsupported(&DAEMON_FLAGS[0]));
    }
    if typed.version > 0 {
        let json = typed.version > 1 && !typed.server;
        return Ok(if json {
            Wish::Print { text: help::version_json(), to_stderr: false }
        } else {
            print(typed, help::version())
        });
    }
    if typed.options.human_readable > 1 && words.len() == 1 && !typed.server {
        check::conclude(typed, env)?;
        return Ok(print(typed, help::usage()));
    }
    let nothing_named = typed.args.is_empty();
    let before = (!typed.server && !typed.options.remote_options.is_empty()).then(|| typed.clone());
    check::conclude(typed, env)?;
    if typed.server && typed.options.arg_style == super::ArgStyle::Secluded && !typed.secluded_read {
        return Ok(Wish::ReadArgs(Secluded(Box::new(mem::take(typed)))));
    }
    if typed.server && nothing_named {
        let role = if typed.options.mode == Mode::ServerSender { "sender" } else { "Receiver" };
        return Err(help::usage_error().by(role));
    }
    if let Some(before) = before
        && matches!(Target::of(&typed.options), Ok(Target::Local { .. }))
    {
        typed.options.local_far = Some(Box::new(far_side(before, env)?));
    }
    Ok(Wish::Run(Box::new(mem::take(&mut typed.options))))
}

/// The options of a local copy's receiving end, for which `-M` says more. C: pipe.c local_child
fn far_side(mut typed: Typed, env: Env) -> Result<Options> {
    let words = mem::take(&mut typed.options.remote_options);
    typed.options.leave_to_sender();
    let taken = Pass::over(FLAGS, Line::plain(&words), &words).replay(&mut typed);
    match taken {
        Ok(Ending::Done) => {}
        Ok(_) | Err(Stop::Print(_)) => return Err(Error::silent(ExitCode::SYNTAX)),
        Err(Stop::Failed(error)) => return Err(error),
    }
    check::conclude(&mut typed, env)?;
    Ok(typed.options)
}

/// Information follows `--quiet` and `--stderr`; a server has only its stderr.
fn print(typed: &Typed, text: Vec<u8>) -> Wish {
    let text = if typed.options.quiet > 0 { Vec::new() } else { text };
    Wish::Print { text, to_stderr: check::informs_on_stderr(typed) }
}

/// Reads words as if they were typed, with nothing from the environment.
pub fn options_from<S: AsRef<OsStr>>(words: &[S]) -> Result<Options> {
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_ref().as_bytes().to_vec()).collect();
    match read(&words, &|_| None).map_err(|refusal| refusal.error)? {
        Wish::Run(options) => Ok(*options),
        Wish::Print { .. } | Wish::ReadArgs(_) => Err(Error::silent(ExitCode::SYNTAX)),
    }
}

/// Reads a client's words, also where they ask for what this build cannot do yet: only to see what they mean.
#[doc(hidden)]
pub fn meaning_of(words: &[Vec<u8>], env: Env) -> Result<Options> {
    let mut typed = begin(env);
    match take_words(&mut typed, words, env) {
        Ok(()) => {}
        Err(Stop::Print(_)) => return Err(Error::silent(ExitCode::OK)),
        Err(Stop::Failed(error)) => return Err(error),
    }
    check::conclude(&mut typed, env)?;
    Ok(typed.options)
}

/// One option as typed.
struct Event {
    flag: &'static Flag,
    on: bool,
    value: Vec<u8>,
}

fn take_words(typed: &mut Typed, words: &[Vec<u8>], env: Env) -> Done {
    let aliases = if typed.server { Vec::new() } else { read_aliases(env) };
    let posix = env("POSIXLY_CORRECT").is_some() || env("POSIX_ME_HARDER").is_some();
    let pass = |table, mut line: Line| {
        if posix {
            line.end_options_at_first_path(table);
        }
        Pass::over(table, line, words)
    };
    match pass(FLAGS, popt::expand(FLAGS, &aliases, words)).replay(typed)? {
        Ending::Done => Ok(()),
        Ending::ServerMet => {
            // Without aliases, and once more from the start: what stood before --server counts twice.
            typed.server = true;
            pass(FLAGS, Line::plain(words)).replay(typed).map(|_| ())
        }
        Ending::DaemonMet => {
            typed.args.clear();
            pass(DAEMON_FLAGS, Line::plain(words)).replay_as_daemon(typed)
        }
    }
}

enum Ending {
    Done,
    ServerMet,
    DaemonMet,
}

/// One reading of the words by one table.
struct Pass<'a> {
    table: &'static [Flag],
    line: Line,
    typed_words: &'a [Vec<u8>],
    events: Vec<Event>,
    paths: Vec<Vec<u8>>,
    /// What stops the reader after these events.
    stumble: Option<(Vec<u8>, &'static str)>,
}

impl<'a> Pass<'a> {
    fn over(table: &'static [Flag], line: Line, typed_words: &'a [Vec<u8>]) -> Self {
        let mut pass = Self { table, line, typed_words, events: Vec::new(), paths: Vec::new(), stumble: None };
        if let Some((events, paths)) = split(table, &pass.line.words) {
            (pass.events, pass.paths) = (events, paths);
        } else if let Some(stumble) = popt::stumble(table, &pass.line.words) {
            let mut good = pass.line.words.clone();
            good.truncate(stumble.before + 1);
            match good.last_mut() {
                Some(bad) if stumble.good > 0 => bad.truncate(stumble.good),
                _ => good.truncate(stumble.before),
            }
            pass.events = split(table, &good).map(|(events, _)| events).unwrap_or_default();
            pass.stumble = Some((pass.shown(stumble.before), stumble.why));
        }
        pass
    }

    /// The word typed that a complaint about this one shows.
    fn shown(&self, at: usize) -> Vec<u8> {
        self.line.origin(at).and_then(|at| self.typed_words.get(at)).cloned().unwrap_or_default()
    }

    fn replay(mut self, typed: &mut Typed) -> Result<Ending, Stop> {
        for (at, event) in std::mem::take(&mut self.events).into_iter().enumerate() {
            match event.flag.act {
                Act::Special(Special::Server) if !typed.server => return Ok(Ending::ServerMet),
                Act::Special(Special::Daemon) => return Ok(Ending::DaemonMet),
                Act::Number(_) => self.number(&event, at).map_err(|(word, why)| complaint(typed, &word, why))?,
                _ => {}
            }
            apply(typed, &event)?;
        }
        if let Some((word, why)) = self.stumble {
            return Err(complaint(typed, &word, why).into());
        }
        typed.args.extend(self.paths);
        Ok(Ending::Done)
    }

    fn replay_as_daemon(mut self, typed: &mut Typed) -> Done {
        for (at, event) in std::mem::take(&mut self.events).into_iter().enumerate() {
            if let Act::Special(Special::Help) = event.flag.act {
                return Err(Stop::Print(help::daemon_usage()));
            }
            if let Act::Number(_) = event.flag.act {
                self.number(&event, at).map_err(|(word, why)| daemon_complaint(&word, why))?;
            }
            apply(typed, &event)?;
        }
        if let Some((word, why)) = self.stumble {
            return Err(daemon_complaint(&word, why).into());
        }
        if !typed.daemon {
            let line = bytes!["Daemon option(s) used without --daemon.\n", DAEMON_ASSISTANCE];
            return Err(Error::new(ExitCode::SYNTAX, line).into());
        }
        typed.args.extend(self.paths);
        Ok(())
    }

    /// Whether the value is a number; else the word to show and what is wrong with it.
    fn number(&self, event: &Event, at: usize) -> Result<(), (Vec<u8>, &'static str)> {
        match integer(&event.value) {
            Err(why) if event.on => {
                let word = popt::word_of_option(self.table, &self.line.words, at);
                Err((word.map_or_else(|| event.value.clone(), |at| self.shown(at)), why))
            }
            _ => Ok(()),
        }
    }
}

fn complaint(typed: &Typed, word: &[u8], why: &str) -> Error {
    wrong(bytes![if typed.server { "on remote machine: " } else { "" }, word, ": ", why])
}

fn daemon_complaint(word: &[u8], why: &str) -> Error {
    wrong(bytes![word, ": ", why, " (in daemon mode)\n", DAEMON_ASSISTANCE])
}

fn apply(typed: &mut Typed, event: &Event) -> Done {
    let flag = event.flag;
    match flag.act {
        Act::Switch(act) => act(typed, event.on),
        Act::Text(act) => act(typed, event.on.then_some(&event.value[..]))?,
        Act::Number(act) => act(typed, if event.on { integer(&event.value).ok() } else { None }),
        Act::Special(special) => special_act(typed, event, special)?,
    }
    Ok(())
}

fn special_act(typed: &mut Typed, event: &Event, special: Special) -> Done {
    match special {
        Special::Help => Err(Stop::Print(help::usage())),
        Special::HelpExt => Err(Stop::Print(help::extensions())),
        Special::Server => {
            typed.options.iconv = None;
            Ok(())
        }
        Special::Sender if typed.server => {
            typed.sender = true;
            Ok(())
        }
        Special::Sender => Err(help::usage_error().into()),
        Special::Unavailable if event.on => {
            let who = if typed.server { "The server" } else { "This rsync" };
            let flag = event.flag;
            let letter = char::from(flag.short);
            Err(wrong(format!("{who} does not support {} (-{letter})", flag.spelling())).into())
        }
        Special::Unavailable | Special::Daemon => Ok(()),
    }
}

/// The options in the order typed, and the other words; `None` where there is something wrong with them.
fn split(table: &'static [Flag], words: &[Vec<u8>]) -> Option<(Vec<Event>, Vec<Vec<u8>>)> {
    let words = words.iter().map(|word| OsString::from_vec(word.clone()));
    let mut matches = command(table).clone().try_get_matches_from_mut(words).ok()?;
    let mut events = Vec::new();
    for flag in table {
        for on in [true, false] {
            let Some(id) = id(flag, on) else { continue };
            let Some(indices) = matches.indices_of(id).map(Iterator::collect::<Vec<_>>) else { continue };
            let values = matches.remove_many::<OsString>(id).into_iter().flatten();
            events.extend(
                indices
                    .into_iter()
                    .zip(values)
                    .map(|(index, value)| (index, Event { flag, on, value: value.into_vec() })),
            );
        }
    }
    events.sort_by_key(|(index, _)| *index);
    let paths = matches.remove_many::<OsString>(PATHS).into_iter().flatten().map(OsString::into_vec).collect();
    Some((events.into_iter().map(|(_, event)| event).collect(), paths))
}

const PATHS: &str = "paths";

/// A row's identity for clap, switched on or negated; `None` where there is no such form.
fn id(flag: &Flag, on: bool) -> Option<&'static str> {
    match on {
        true if flag.long.is_empty() => flag.help.first().map(|(letter, _)| *letter),
        true => Some(flag.long),
        false => flag.off.first().copied(),
    }
}

/// clap's view of a table: every mention is appended, none is interpreted.
fn command(table: &'static [Flag]) -> &'static Command {
    static COMMANDS: [OnceLock<Command>; 2] = [const { OnceLock::new() }; 2];
    COMMANDS[usize::from(std::ptr::eq(table, DAEMON_FLAGS))].get_or_init(|| {
        let paths = Arg::new(PATHS).action(ArgAction::Append).num_args(0..).value_parser(value_parser!(OsString));
        let mut command = Command::new("rsync").no_binary_name(true).disable_help_flag(true).disable_version_flag(true);
        for flag in table {
            if let Some(id) = id(flag, true) {
                let mut on = plain(id, flag.takes_value()).visible_aliases(flag.also.iter().copied());
                if !flag.long.is_empty() {
                    on = on.long(flag.long);
                }
                if flag.short != 0 {
                    on = on.short(char::from(flag.short));
                }
                command = command.arg(on);
            }
            if let Some(id) = id(flag, false) {
                command = command.arg(plain(id, false).long(id).visible_aliases(flag.off.iter().skip(1).copied()));
            }
        }
        command.arg(paths)
    })
}

fn plain(id: &'static str, takes_value: bool) -> Arg {
    let arg = Arg::new(id).action(ArgAction::Append).value_parser(value_parser!(OsString));
    if takes_value { arg.num_args(1).allow_hyphen_values(true) } else { arg.num_args(0).default_missing_value("") }
}

/// The aliases of the system and of the user. C: poptconfig.c poptReadDefaultConfig
fn read_aliases(env: Env) -> Vec<popt::Alias> {
    let mut files = vec![Path::new("/etc/popt").to_path_buf()];
    let mut more: Vec<_> =
        fs::read_dir("/etc/popt.d").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    more.retain(|path| is_config(path));
    more.sort();
    files.extend(more);
    files.extend(env("HOME").map(|home| Path::new(&OsString::from_vec(home)).join(".popt")));
    files.iter().filter_map(|path| fs::read(path).ok()).flat_map(|text| popt::aliases_in(&text)).collect()
}

/// C: poptconfig.c poptSaneFile
fn is_config(path: &Path) -> bool {
    let name = path.as_os_str().as_bytes();
    let hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
    let leftover = |mark: &[u8]| memchr::memmem::find(name, mark).is_some();
    let plain = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 == 0);
    plain && !hidden && !leftover(b".rpmnew") && !leftover(b".rpmsave")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{AltDest, ArgStyle, Dirs, FilterArg};

    fn typed(words: &[&str]) -> Typed {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let mut typed = Typed::new();
        take_words(&mut typed, &words, &|_| None).unwrap_or_else(|stop| panic!("{stop:?}"));
        check::conclude(&mut typed, &|_| None).unwrap();
        typed
    }

    fn refusal(words: &[&str]) -> String {
        let error = options_from(words).expect_err("is refused");
        String::from_utf8(error.message).unwrap()
    }

    #[test]
    fn clusters_and_values() {
        let options = options_from(&["-avne", "ssh -p 1", "--timeout=5", "a", "--rsync-path", "-x", "-", "--", "-v"]);
        let options = options.unwrap();
        assert_eq!(options.rsh.as_deref(), Some(&b"ssh -p 1"[..]));
        assert_eq!((options.dirs, options.verbose, options.timeout), (Dirs::Recurse, 1, 5));
        assert_eq!(options.rsync_path, b"-x");
        assert_eq!(options.args, ["a", "-", "-v"]);
        assert_eq!(options_from(&["-e=x", "a", "b"]).unwrap().rsh.as_deref(), Some(&b"x"[..]));
        assert_eq!(options_from(&["-ex", "a", "b"]).unwrap().rsh.as_deref(), Some(&b"x"[..]));
        assert_eq!(options_from(&["--rsh", "--", "a", "b"]).unwrap().rsh.as_deref(), Some(&b"--"[..]));
    }

    #[test]
    fn the_last_one_wins() {
        let options = options_from(&["-a", "--no-p", "--no-D", "--specials", "-vv", "--no-v", "-v", "a", "b"]).unwrap();
        assert!(!options.perms && !options.devices && options.specials && options.times);
        assert_eq!(options.verbose, 1);
    }

    #[test]
    fn filters_keep_their_order() {
        let typed = typed(&["-aF", "--include=*.c", "--exclude=*", "-f", "- x", "-FF", "a", "b"]);
        let expected = [
            FilterArg::PerDir(1),
            FilterArg::Include(b"*.c".to_vec()),
            FilterArg::Exclude(b"*".to_vec()),
            FilterArg::Filter(b"- x".to_vec()),
            FilterArg::PerDir(2),
        ];
        assert_eq!(typed.options.filters.into_iter().map(|option| option.arg).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_server_reads_its_line() {
        let options = options_from(&["--server", "--sender", "-logDtpre.iLsfxCIvu", ".", "a", "b"]).unwrap();
        assert_eq!(options.mode, Mode::ServerSender);
        assert_eq!((options.base_dir.as_slice(), options.client_info.as_slice()), (&b"."[..], &b".iLsfxCIvu"[..]));
        assert_eq!(options.args, ["a", "b"]);
        assert_eq!(refusal(&["--server", "--foo", ".", "a"]), "rsync: on remote machine: --foo: unknown option");
    }

    #[test]
    fn secluded_arguments_add_to_the_line() {
        let line = [&b"--server"[..], b"-slogDtpre.iLsfxCIvu"].map(<[u8]>::to_vec);
        let Ok(Wish::ReadArgs(secluded)) = read(&line, &|_| None) else { panic!("arguments follow") };
        let words = [&b"--timeout=9"[..], b".", b"a b"].map(<[u8]>::to_vec);
        let Ok(Wish::Run(options)) = secluded.read(&words, &|_| None) else { panic!("complete now") };
        assert_eq!((options.timeout, options.recurse(), options.args[0].as_os_str()), (9, true, OsStr::new("a b")));
        assert_eq!((options.base_dir.as_slice(), options.client_info.as_slice()), (&b"."[..], &b".iLsfxCIvu"[..]));
    }

    #[test]
    fn what_is_not_here_yet_is_refused() {
        assert_eq!(refusal(&["--daemon"]), "rsync: --daemon is not supported by this build");
    }

    #[test]
    fn contradictions() {
        assert_eq!(refusal(&["-a", "--old-args", "-s", "a", "b"]), "rsync: --secluded-args conflicts with --old-args.");
        let whens = refusal(&["-a", "--delete-before", "--delete-after", "a", "b"]);
        assert_eq!(whens, "rsync: You may not combine multiple --delete-WHEN options.");
        let kinds = refusal(&["--link-dest=a", "--copy-dest=b", "a", "b"]);
        assert_eq!(kinds, "rsync: ERROR: the --copy-dest option conflicts with the --link-dest option");
        assert_eq!(
            refusal(&["--bwlimit=1b", "a", "b"]),
            "rsync: --bwlimit=1b is too small (min: 512 or 0 for unlimited)"
        );
    }

    #[test]
    fn the_environment_speaks_where_nothing_was_said() {
        let style = |words: &[&str], name: &'static str, value: &'static str| {
            let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            let wish = read(&words, &|asked| (asked == name).then(|| value.as_bytes().to_vec()));
            let Ok(Wish::Run(options)) = wish else { panic!("{wish:?}") };
            options.arg_style
        };
        assert_eq!(style(&["a", "b"], "RSYNC_OLD_ARGS", "1"), ArgStyle::Old);
        assert_eq!(style(&["a", "b"], "RSYNC_OLD_ARGS", "2"), ArgStyle::Verbatim);
        assert_eq!(style(&["a", "b"], "RSYNC_PROTECT_ARGS", "1"), ArgStyle::Secluded);
        assert_eq!(style(&["--no-s", "a", "b"], "RSYNC_PROTECT_ARGS", "1"), ArgStyle::Escaped);
        assert_eq!(style(&["-s", "a", "b"], "RSYNC_OLD_ARGS", "1"), ArgStyle::Secluded);
    }

    #[test]
    fn kinds_of_alternative_directories() {
        let typed = typed(&["-ayy", "--link-dest=x", "--link-dest", "y", "a", "b"]);
        let dirs = [(AltDest::Link, b"x".to_vec()), (AltDest::Link, b"y".to_vec())];
        assert_eq!(typed.options.alt_dests, dirs);
        assert_eq!(typed.options.fuzzy, 3);
    }
}
