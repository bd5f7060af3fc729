//! The end of a session that failed: what the user is told, what the peer is told, and how long we wait for it.

use std::{thread, time::Duration};

use super::{Link, Traffic, lost};
use crate::{
    bytes,
    error::{Error, ExitCode},
    log::{Log, LogCode},
    options::{Debug, help::VERSION},
    proto::Side,
    sys::signal,
    wire::{Tag, read},
};

/// How long a peer may take to hear that we end. C: io.c noop_io_until_death
const FAREWELL: Duration = Duration::from_secs(10);
/// ... when the user waits for it.
const SHORT_FAREWELL: Duration = Duration::from_millis(400);

/// Says why and how a run ends. C: log.c log_exit
pub fn tell(log: &Log, error: &Error) {
    log.say_lines(LogCode::Error, &error.message);
    tell_code(log, error, None);
}

/// `rsync error: TEXT (code N) at FILE(LINE) [ROLE=VERSION]`
pub fn tell_code(log: &Log, error: &Error, traffic: Option<&Traffic>) {
    close(log, error, error.code, false, traffic);
}

/// The last lines of any run. `first`: the status before what went wrong with single files was looked at; `traffic`: for
/// the log file. C: cleanup.c _exit_cleanup
pub fn close(log: &Log, error: &Error, first: ExitCode, dry_run: bool, traffic: Option<&Traffic>) {
    log.finish();
    debug_exit(log, 2, error, first, || "entered".into());
    if let Some(traffic) = traffic {
        record_traffic(log, traffic);
    }
    if error.code != ExitCode::OK {
        let code = if error.code == ExitCode::VANISHED { LogCode::Warning } else { LogCode::Error };
        log.say(code, closing_line(error, log.speaker().name()));
    }
    debug_exit(log, 1, error, first, || exit_call(error.code, dry_run));
}

/// What the log file tells of a run's bytes at its end. C: log.c log_exit
pub fn record_traffic(log: &Log, traffic: &Traffic) {
    let Traffic { sent, received, listed } = traffic;
    let line = bytes!["sent ", sent, " bytes  received ", received, " bytes  total size ", listed];
    log.say(LogCode::Log, line);
}

fn exit_call(code: ExitCode, dry_run: bool) -> String {
    format!("about to call exit({}){}", code.0, if dry_run { " (DRY RUN)" } else { "" })
}

fn debug_exit(log: &Log, level: u8, error: &Error, first: ExitCode, what: impl FnOnce() -> String) {
    if log.debug(Debug::Exit) < level {
        return;
    }
    let who = error.role.unwrap_or(log.speaker().name());
    let (file, line) = position(error);
    let from = bytes!["[", who, "] _exit_cleanup(code=", first.0, ", file=", file, ", line=", line, "): "];
    log.say(LogCode::Info, bytes![from, what()]);
}

/// Where in the source a run was ended.
fn position(error: &Error) -> (&str, u32) {
    (error.at.file().rsplit('/').next().unwrap_or_default(), error.at.line())
}

/// The last line of a run that did not go well; `role`: who speaks, unless the error knows better.
pub fn closing_line(error: &Error, role: &str) -> Vec<u8> {
    let kind = if error.code == ExitCode::VANISHED { "warning" } else { "error" };
    let what = error.code.text().unwrap_or("unexplained error");
    let (file, line) = position(error);
    let role = error.role.unwrap_or(role);
    bytes![
        "rsync ",
        kind,
        ": ",
        what,
        " (code ",
        error.code.0,
        ") at ",
        file,
        "(",
        line,
        ") [",
        role,
        "=",
        VERSION,
        "]"
    ]
}

/// Says what led to an end, once. That the connection broke is left for the client to say after the remote shell's
/// own words.
pub(super) fn say(log: &Log, error: &mut Error, server: bool) {
    if server || !lost(error) {
        log.say_lines(LogCode::Error, &std::mem::take(&mut error.message));
    }
}

/// Ends a session on an error: tells the user, and a peer that can be told. `Some`: the peer ended the run first, with
/// this status, and all is said. A client's closing line is left to it. C: cleanup.c _exit_cleanup
pub(super) fn fail(link: &mut Link<'_>, error: &mut Error) -> Option<ExitCode> {
    let version = link.transfer.protocol.version;
    let interrupted = error.code == ExitCode::SIGNAL;
    if interrupted {
        explain(error, link.start.side);
        link.start.wake.reset();
    }
    if let Some(status) = link.heard.exit() {
        if let Some(status) = status
            && version >= 31
        {
            let answer = (!link.start.side.sends).then_some(status);
            tell_peer(link, answer);
        }
        let _ = link.writer.flush_within(FAREWELL); // the peer may be gone by now
        error.code = ExitCode(status.unwrap_or(error.code.0));
        if !link.start.side.server {
            let dry_run = link.transfer.options.dry_run;
            debug_exit(&link.log, 2, error, error.code, || "entered".into());
            debug_exit(&link.log, 1, error, error.code, || exit_call(error.code, dry_run));
        }
        return Some(error.code);
    }
    if link.start.side.server && link.start.side.local && read::is_close(error) {
        return Some(error.code); // the client is in this process, and says why it left
    }
    say(&link.log, error, link.start.side.server);
    // In a local copy the user interrupted both sides and is told once.
    if link.start.side.server && !(link.start.side.local && interrupted) {
        let traffic = link.start.side.sends.then(|| Traffic::of(link, None));
        tell_code(&link.log, error, traffic.as_ref());
    }
    if link.transfer.plays() {
        return None; // a file need not be told
    }
    let silent = [ExitCode::SOCKET_IO, ExitCode::STREAM_IO, ExitCode::SIGNAL1, ExitCode::TIMEOUT];
    if interrupted && link.start.side.local {
        return None; // the other end is in this process and was interrupted too
    }
    // A local copy has no connection to lose: what broke is on this side, and the other one is to be told.
    let breaks = link.start.side.local && error.code == ExitCode::STREAM_IO;
    if silent.contains(&error.code) && !breaks {
        let _ = link.writer.flush_within(SHORT_FAREWELL); // a server's last lines, if they still get through
        return None;
    }
    if version >= 31 {
        tell_peer(link, Some(error.code.0));
    }
    part(link, if interrupted { SHORT_FAREWELL } else { FAREWELL }, version >= 31);
    None
}

/// Sends the status with which we end; `None`: that we heard of the peer's.
fn tell_peer(link: &mut Link<'_>, status: Option<u8>) {
    if link.log.debug(Debug::Exit) >= 3 {
        let what = status.map_or_else(|| "(len 0)".to_string(), |status| format!("with exit_code {status}"));
        link.log.say(LogCode::Info, bytes!["[", link.writer.role(), "] sending MSG_ERROR_EXIT ", what]);
    }
    match status {
        Some(status) => link.writer.message_int(Tag::ErrorExit, status.into()),
        None => link.writer.message(Tag::ErrorExit, &[]),
    };
}

/// The exit status of a run that a signal ended, or the time (`--stop-at`).
pub fn interrupt_code() -> ExitCode {
    match signal::received() {
        Some(libc::SIGUSR1) => ExitCode::SIGNAL1,
        Some(libc::SIGALRM) => ExitCode::TIMEOUT,
        _ => ExitCode::SIGNAL,
    }
}

/// What ended a run from outside. In a local copy it ended both sides, and one of them says so. C: in io.c perform_io
pub(super) fn explain(error: &mut Error, side: Side) {
    error.code = interrupt_code();
    if error.code == ExitCode::TIMEOUT && !(side.local && side.server) {
        error.message = b"stopping at requested limit".to_vec();
    }
}

/// Sends the last words and, if they are `answered`, hears the peer out, both within a time. What the peer still sends is taken
/// meanwhile, for it may not listen before it has got rid of that.
fn part(link: &mut Link<'_>, time: Duration, answered: bool) {
    let (reader, writer, wake) = (&mut link.reader, &mut link.writer, link.start.wake);
    thread::scope(|scope| {
        let hearing = thread::Builder::new().name("farewell".into());
        let _ = hearing.spawn_scoped(scope, || reader.until_end(time)); // whatever it says, we are ending
        let sent = writer.flush_within(time);
        if sent.is_err() || !answered {
            wake.fire();
        }
    });
}
