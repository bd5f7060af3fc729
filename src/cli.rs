//! From argv to exit status.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    os::unix::ffi::OsStringExt,
    panic,
    process::ExitCode,
    sync::Arc,
};

use crate::{
    bytes, client,
    error::{Error, Result},
    filter::Filters,
    log::{
        Log, Speaker,
        terminal::{Style, Terminal},
    },
    options::{
        Options,
        parse::{self, Refusal, Wish},
        target::Target,
    },
    server,
    session::finish,
    text::escape::{Policy, escape_line},
};

/// Runs the program.
pub fn main() -> ExitCode {
    let words: Vec<Vec<u8>> = env::args_os().skip(1).map(OsStringExt::into_vec).collect();
    let environment = |name: &str| env::var_os(name).map(OsString::into_vec);
    let run = || match parse::read(&words, &environment) {
        Ok(wish) => fulfil(wish),
        Err(refusal) => refuse(&refusal),
    };
    // A defect of ours has said so; its status is still one that callers know.
    ExitCode::from(panic::catch_unwind(run).unwrap_or(crate::error::ExitCode::CRASHED.0))
}

fn fulfil(wish: Wish) -> u8 {
    match wish {
        Wish::Print { text, to_stderr } => print(&text, to_stderr),
        Wish::Run(options) => run(&options),
        Wish::ReadArgs(secluded) => read_args(secluded),
    }
}

/// Runs a transfer: everything is said by the side that runs it.
fn run(options: &Options) -> u8 {
    let terminal = Arc::new(Terminal::new(Style::new(options)));
    let filters = match read_filters(options, &terminal) {
        Ok(filters) => filters,
        Err(error) => return fail(&error, options.eight_bit_output),
    };
    if options.is_server() {
        return server::run(options, filters, terminal).0;
    }
    match Target::of(options) {
        Ok(target) => client::run(options, filters, target, terminal).0,
        Err(error) => fail(&error, options.eight_bit_output),
    }
}

/// The rules of the command line; the reference reads each as it reads the option.
fn read_filters(options: &Options, terminal: &Arc<Terminal>) -> Result<Filters> {
    let speaker = if options.is_server() { Speaker::Server } else { Speaker::Client };
    let log = Log::new(options.levels.clone(), Arc::<Terminal>::clone(terminal), speaker);
    Filters::from_options(options, &log).map_err(|error| {
        log.finish();
        error.by(speaker.name())
    })
}

/// Says what is wrong with a command line: its first fault, which may be a rule.
fn refuse(refusal: &Refusal) -> u8 {
    let before = &refusal.before;
    let terminal = Arc::new(Terminal::new(Style::new(before)));
    let rule = if before.filters.is_empty() { None } else { read_filters(before, &terminal).err() };
    fail(rule.as_ref().unwrap_or(&refusal.error), before.eight_bit_output)
}

/// A server whose arguments come over the wire (`-s`).
fn read_args(secluded: parse::Secluded) -> u8 {
    let environment = |name: &str| env::var_os(name).map(OsString::into_vec);
    match server::read_args() {
        Err(error) => fail(&error.by("server"), false),
        Ok(words) => match secluded.read(&words, &environment) {
            Ok(wish) => fulfil(wish),
            Err(refusal) => refuse(&refusal),
        },
    }
}

fn print(text: &[u8], to_stderr: bool) -> u8 {
    let written = if to_stderr { io::stderr().write_all(text) } else { write_out(text) };
    u8::from(written.is_err())
}

fn write_out(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// Says why and how the run ended before it began; the exit status. C: cleanup.c log_exit
///
/// This early the reference does not know the locale's character set yet. `eight_bit`: `-8`.
fn fail(error: &Error, eight_bit: bool) -> u8 {
    let mut text = Vec::new();
    let policy = if eight_bit { Policy::EightBit } else { Policy::Printable };
    for line in error.message.split_inclusive(|&b| b == b'\n') {
        escape_line(&mut text, line, policy);
    }
    if !error.message.is_empty() {
        text.push(b'\n');
    }
    text.extend(bytes![finish::closing_line(error, "client"), "\n"]);
    let _ = io::stderr().write_all(&text); // there is nobody left to tell
    error.code.0
}
