//! What is said to the user: levels, and the sink a line goes to.

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
    options::{Debug, Info, Levels},
};

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
    Client,
    Server,
    Sender,
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
            Self::Receiver => "receiver",
            Self::Generator => "generator",
        }
    }
}

/// Where lines go: the terminal of a client, the peer of a server.
///
/// A line ends in `\n` unless more of it follows (progress ends in `\r`).
pub trait Sink: Send + Sync {
    fn line(&self, code: LogCode, line: &[u8]);
    /// Pushes out what is buffered.
    fn flush(&self) {}
}

/// One thread's voice: cheap to clone, each clone with its own speaker.
#[derive(Clone)]
pub struct Log {
    levels: Arc<Levels>,
    sink: Arc<dyn Sink>,
    speaker: Speaker,
    transfer_failed: Arc<AtomicBool>,
}

impl Log {
    pub fn new(levels: Levels, sink: Arc<dyn Sink>, speaker: Speaker) -> Self {
        Self { levels: Arc::new(levels), sink, speaker, transfer_failed: Arc::default() }
    }

    /// The same voice under another name.
    pub fn speaking_as(&self, speaker: Speaker) -> Self {
        Self { speaker, ..self.clone() }
    }

    /// The same voice into another sink.
    pub fn into_sink(&self, sink: Arc<dyn Sink>) -> Self {
        Self { sink, ..self.clone() }
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

    /// Says bytes as they are.
    pub fn put(&self, code: LogCode, bytes: &[u8]) {
        if code == LogCode::ErrorXfer {
            self.transfer_failed.store(true, Ordering::Relaxed);
        }
        self.sink.line(code, bytes);
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
}
