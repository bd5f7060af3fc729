//! From argv to exit status.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    os::unix::ffi::OsStringExt,
    panic,
    process::ExitCode,
};

use crate::{
    bytes, client,
    error::{Error, Result},
    filter::Filters,
    log::{Log, LogCode, Speaker},
    options::{
        Options,
        parse::{self, Refusal, Wish},
        target::Target,
    },
    server,
    session::finish,
    text::escape::{Policy, escape_line},
    transport::batch::Tape,
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
    let log = voice(options);
    let filters = match read_filters(options, &log) {
        Ok(filters) => filters,
        Err(error) => return fail(&error, options.eight_bit_output, &log),
    };
    if options.is_server() {
        return server::run(options, filters, &log).0;
    }
    let words = || env::args_os().map(OsStringExt::into_vec).collect();
    let opened = Tape::open(options, words).map_err(|error| error.by("Receiver"));
    match opened.and_then(|tape| Ok((tape, Target::of(options)?))) {
        Ok((tape, target)) => client::run(options, filters, target, tape, log).0,
        Err(error) => fail(&error, options.eight_bit_output, &log),
    }
}

/// The voice before there is a role.
fn voice(options: &Options) -> Log {
    server::voice(options, if options.is_server() { Speaker::Server } else { Speaker::Client })
}

/// The rules of the command line; the reference reads each as it reads the option.
fn read_filters(options: &Options, log: &Log) -> Result<Filters> {
    Filters::from_options(options, log).map_err(|error| {
        log.finish();
        error.by(log.speaker().name())
    })
}

/// Says what is wrong with a command line: its first fault, which may be a rule.
fn refuse(refusal: &Refusal) -> u8 {
    let before = &refusal.before;
    let log = voice(before);
    let rule = if before.filters.is_empty() { None } else { read_filters(before, &log).err() };
    fail(rule.as_ref().unwrap_or(&refusal.error), before.eight_bit_output, &log)
}

/// A server whose arguments come over the wire (`-s`).
fn read_args(secluded: parse::Secluded) -> u8 {
    let environment = |name: &str| env::var_os(name).map(OsString::into_vec);
    match server::read_args(secluded.options()) {
        Err(error) => fail(&error.by("server"), false, &voice(&Options::default())),
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
fn fail(error: &Error, eight_bit: bool, log: &Log) -> u8 {
    let mut text = Vec::new();
    let policy = if eight_bit { Policy::EightBit } else { Policy::Printable };
    for line in error.message.split_inclusive(|&b| b == b'\n') {
        escape_line(&mut text, line, policy);
    }
    if !error.message.is_empty() {
        text.push(b'\n');
    }
    text.extend(bytes![finish::closing_line(error, "client"), "\n"]);
    for line in error.message.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        log.record(LogCode::Error, &bytes![line, "\n"]);
    }
    log.record(LogCode::Error, &bytes![finish::closing_line(error, "client"), "\n"]);
    let _ = io::stderr().write_all(&text); // there is nobody left to tell
    error.code.0
}
