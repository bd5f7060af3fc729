//! What is said to the user: levels, and the sink a line goes to.

pub mod file;
pub mod table;
pub mod terminal;
pub mod trace;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    bytes,
    error::errno_text,
    options::{Debug, Info, Levels, Stderr},
};

use file::LogFile;

/// The category of a line; the numbers are those of the wire messages that carry it. C: enum logcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum LogCode {
    /// A file could not be transferred: makes the exit status 23.
    ErrorXfer = 1,
    Info = 2,
    Error = 3,
    Warning = 4,
    /// To the log file only.
    Log = 6,
    /// To the user only, never to the log file.
    Client = 7,
}

/// Who speaks, as in `rsync: [sender] …`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaker {
    /// Until the roles are known.
    Client,
    /// Until the roles are known.
    Server,
    Sender,
    /// The receiving side until its two halves start.
    ReceiverStart,
    Receiver,
    Generator,
}

impl Speaker {
    /// C: rsync.c who_am_i
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Sender => "sender",
            Self::ReceiverStart => "Receiver",
            Self::Receiver => "receiver",
            Self::Generator => "generator",
        }
    }
}

/// A line on the client's terminal that the next one of its kind continues or overwrites.
/// C: output_needs_newline
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// `building file list ... `: its end is yet to come.
    ListStart,
    /// ` 100 files...\r`: overwritten by the next count.
    ListCount,
    /// A transfer's progress, which starts with `\r`: overwritten by the next.
    Transfer,
    /// The last of either: ends the line, nothing is open any more.
    Done,
}

/// Where lines go: the terminal of a client, the peer of a server.
///
/// A line ends in `\n` (or `\r`) unless more of it follows.
pub trait Sink: Send + Sync {
    fn line(&self, code: LogCode, line: &[u8]);
    /// Says a line whose characters are the wire's, where that makes a difference (`--iconv`).
    fn line_from_wire(&self, code: LogCode, line: &[u8]) {
        self.line(code, line);
    }
    /// Says a step of progress; only a client's terminal shows any.
    fn progress(&self, _step: Progress, _line: &[u8]) {}
    /// Pushes out what is buffered.
    fn flush(&self) {}
    /// The run ends: a progress line left open is ended, everything is pushed out.
    fn finish(&self) {
        self.flush();
    }
    /// Whether the user's output can no longer be written, which ends the run with status 13.
    fn broken(&self) -> bool {
        false
    }
}

/// Where a server's line goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// To the client, as the message with this number.
    Peer(LogCode),
    /// To our own stderr, which the remote shell carries.
    Stderr,
}

/// Chooses the way of a server's line; `None`: nobody sees it. `protocol` may be 0 before the handshake.
/// C: log.c rwrite
pub fn server_route(code: LogCode, stderr: Stderr, quiet: bool, protocol: u8) -> Option<Route> {
    let code = match code {
        LogCode::Log => return None,
        LogCode::Client => LogCode::Info,
        other => other,
    };
    if code == LogCode::Info && quiet {
        return None;
    }
    match stderr {
        Stderr::All => return Some(Route::Stderr),
        Stderr::Errors if code != LogCode::Info => return Some(Route::Stderr),
        _ => {}
    }
    Some(Route::Peer(match code {
        LogCode::Error if protocol < 30 => LogCode::ErrorXfer,
        LogCode::Warning if protocol < 30 => LogCode::Info,
        other => other,
    }))
}

/// One thread's voice: cheap to clone, each clone with its own speaker.
#[derive(Clone)]
pub struct Log {
    levels: Arc<Levels>,
    sink: Arc<dyn Sink>,
    /// Where all but progress and what is for the user alone is kept too.
    file: Option<Arc<LogFile>>,
    speaker: Speaker,
    transfer_failed: Arc<AtomicBool>,
}

impl Log {
    pub fn new(levels: Levels, sink: Arc<dyn Sink>, speaker: Speaker) -> Self {
        Self { levels: Arc::new(levels), sink, file: None, speaker, transfer_failed: Arc::default() }
    }

    /// A voice that nobody hears.
    #[cfg(test)]
    pub fn unheard(speaker: Speaker) -> Self {
        struct Nobody;

        impl Sink for Nobody {
            fn line(&self, _: LogCode, _: &[u8]) {}
        }

        Self::new(Levels::default(), Arc::new(Nobody), speaker)
    }

    /// The same voice under another name.
    pub fn speaking_as(&self, speaker: Speaker) -> Self {
        Self { speaker, ..self.clone() }
    }

    /// The same voice with another level for a debug word.
    pub fn with_debug(&self, word: Debug, level: u8) -> Self {
        if self.debug(word) == level {
            return self.clone();
        }
        let mut levels = Levels::clone(&self.levels);
        levels.set_debug(word, level);
        Self { levels: Arc::new(levels), ..self.clone() }
    }

    /// The same voice into another sink.
    pub fn into_sink(&self, sink: Arc<dyn Sink>) -> Self {
        Self { sink, ..self.clone() }
    }

    /// The same voice, which is also written down.
    pub fn recorded(&self, file: LogFile) -> Self {
        Self { file: Some(Arc::new(file)), ..self.clone() }
    }

    /// Where the lines go.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.sink)
    }

    /// The same voice with nothing to tell but errors and warnings.
    pub fn without_words(&self) -> Self {
        Self { levels: Arc::default(), ..self.clone() }
    }

    pub fn speaker(&self) -> Speaker {
        self.speaker
    }

    pub fn info(&self, word: Info) -> u8 {
        self.levels.info(word)
    }

    pub fn debug(&self, word: Debug) -> u8 {
        self.levels.debug(word)
    }

    /// Says a line; the newline is added here.
    pub fn say(&self, code: LogCode, line: impl AsRef<[u8]>) {
        let mut line = line.as_ref().to_vec();
        line.push(b'\n');
        self.put(code, &line);
    }

    /// Says each line of a text of several.
    pub fn say_lines(&self, code: LogCode, text: &[u8]) {
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            self.say(code, line);
        }
    }

    /// Says a step of progress, bytes as they are.
    pub fn progress(&self, step: Progress, bytes: &[u8]) {
        self.sink.progress(step, bytes);
    }

    /// Says bytes as they are.
    pub fn put(&self, code: LogCode, bytes: &[u8]) {
        if code == LogCode::ErrorXfer {
            self.transfer_failed.store(true, Ordering::Relaxed);
        }
        self.record(code, bytes);
        if code != LogCode::Log {
            self.sink.line(code, bytes);
        }
    }

    /// Writes something down that the user hears of in another way.
    pub fn record(&self, code: LogCode, bytes: &[u8]) {
        if let Some(file) = self.file.as_ref().filter(|_| code != LogCode::Client) {
            file.add(code, bytes);
        }
    }

    /// Whether there is a log file.
    pub fn is_recorded(&self) -> bool {
        self.file.is_some()
    }

    /// As `put`, of bytes that came over the wire.
    pub fn put_from_wire(&self, code: LogCode, bytes: &[u8]) {
        if code == LogCode::ErrorXfer {
            self.transfer_failed.store(true, Ordering::Relaxed);
        }
        self.record(code, bytes);
        if code != LogCode::Log {
            self.sink.line_from_wire(code, bytes);
        }
    }

    /// As `say`, of a line with a name from the wire in it.
    pub fn say_from_wire(&self, code: LogCode, line: impl AsRef<[u8]>) {
        self.put_from_wire(code, &[line.as_ref(), b"\n"].concat());
    }

    /// `rsync: [sender] WHAT: No such file or directory (2)`. C: log.c rsyserr
    pub fn syserr(&self, code: LogCode, what: impl AsRef<[u8]>, error: &io::Error) {
        let what = what.as_ref();
        self.say(code, bytes!["rsync: [", self.speaker.name(), "] ", what, ": ", errno_text(error)]);
    }

    /// Whether any `ErrorXfer` was said or passed on: exit status 23.
    pub fn transfer_failed(&self) -> bool {
        self.transfer_failed.load(Ordering::Relaxed)
    }

    pub fn flush(&self) {
        self.sink.flush();
    }

    /// The run ends: closes an open progress line and pushes everything out.
    pub fn finish(&self) {
        self.sink.finish();
    }

    /// Whether the user's output can no longer be written: exit status 13.
    pub fn broken(&self) -> bool {
        self.sink.broken()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_sends_old_clients_only_what_they_know() {
        let route = |code, protocol| server_route(code, Stderr::Client, false, protocol);
        assert_eq!(route(LogCode::Error, 29), Some(Route::Peer(LogCode::ErrorXfer)));
        assert_eq!(route(LogCode::Warning, 29), Some(Route::Peer(LogCode::Info)));
        assert_eq!(route(LogCode::Error, 30), Some(Route::Peer(LogCode::Error)));
        assert_eq!(route(LogCode::Client, 31), Some(Route::Peer(LogCode::Info)));
        assert_eq!(route(LogCode::Log, 31), None);
    }

    #[test]
    fn a_servers_errors_take_its_stderr_unless_told_otherwise() {
        let route = |code, stderr| server_route(code, stderr, false, 31);
        assert_eq!(route(LogCode::Warning, Stderr::Errors), Some(Route::Stderr));
        assert_eq!(route(LogCode::Info, Stderr::Errors), Some(Route::Peer(LogCode::Info)));
        assert_eq!(route(LogCode::Info, Stderr::All), Some(Route::Stderr));
        assert_eq!(server_route(LogCode::Info, Stderr::All, true, 31), None);
    }
}
