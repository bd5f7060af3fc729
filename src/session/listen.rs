//! What a peer says between data, and what follows from it.

use std::sync::Arc;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI32, Ordering},
};

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    log::{Log, LogCode},
    options::{Debug, Info},
    role::{
        Deletions, Feedback, Transfer,
        news::News,
        sender::{Arrivals, Arrived},
    },
    wire::{Message, Messages, Tag},
};

/// What was heard and matters at the end, for all threads of a session.
#[derive(Debug, Default)]
pub struct Heard {
    io_error: AtomicI32,
    /// The peer ended the run, with this status; or acknowledged that we did.
    exit: Mutex<Option<Option<u8>>>,
}

impl Heard {
    /// Error bits of both sides (`flist::io_error`).
    pub fn io_error(&self) -> i32 {
        self.io_error.load(Ordering::Relaxed)
    }

    /// Gives back those that are new.
    pub fn add_io_error(&self, bits: i32) -> i32 {
        bits & !self.io_error.fetch_or(bits, Ordering::Relaxed)
    }

    pub fn exit(&self) -> Option<Option<u8>> {
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_exit(&self, status: Option<u8>) {
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }
}

/// Takes a peer's messages. C: io.c read_a_msg
pub struct Listener {
    log: Log,
    heard: Arc<Heard>,
    /// On the receiver's thread: the way to the generator.
    generator: Option<News>,
    /// With `--remove-source-files` on the sender: who removes what has arrived.
    arrived: Option<Arrivals>,
    /// Deletions on the far side.
    deletions: Deletions,
}

impl Listener {
    pub fn new(transfer: &Transfer, log: Log, heard: Arc<Heard>) -> Self {
        Self { deletions: Deletions::new(transfer, &log, true), log, heard, generator: None, arrived: None }
    }

    pub fn for_receiver(self, generator: News) -> Self {
        Self { generator: Some(generator), ..self }
    }

    pub fn for_sender(self, arrived: Arrivals) -> Self {
        Self { arrived: Some(arrived), ..self }
    }

    fn forward(&self, feedback: Feedback) {
        if let Some(generator) = &self.generator {
            let _ = generator.tell(feedback); // a generator that is gone has failed, and that is told
        }
    }
}

impl Messages for Listener {
    fn message(&mut self, message: Message<'_>) -> Result<()> {
        match message {
            Message::Line(tag, line) => self.log.put_from_wire(code(tag), line),
            Message::IoError(bits) => {
                let fresh = self.heard.add_io_error(bits as i32);
                if fresh != 0 {
                    self.forward(Feedback::IoError(fresh));
                }
            }
            Message::IoTimeout(seconds) => {
                if self.log.info(Info::Misc) >= 2 {
                    let line = bytes!["Setting --timeout=", seconds, " to match server"];
                    self.log.say(LogCode::Info, line);
                }
            }
            Message::NoSend(index) => self.forward(Feedback::Declined(index)),
            Message::Deleted { name, dir } => {
                self.deletions.heard(name, if dir { libc::S_IFDIR } else { libc::S_IFREG });
            }
            Message::Success { index, inode } => {
                if let Some(arrived) = &self.arrived {
                    arrived.add(Arrived { index, inode });
                }
            }
            Message::Noop => {}
            Message::ErrorExit(status) => {
                if self.log.debug(Debug::Exit) >= 3 {
                    let bytes = if status.is_some() { 4 } else { 0 };
                    let line = format!("] got MSG_ERROR_EXIT with {bytes} bytes");
                    self.log.say(LogCode::Info, bytes!["[", self.log.speaker().name(), line]);
                }
                self.heard.set_exit(status);
                return Err(Error::silent(ExitCode(status.unwrap_or(0))));
            }
        }
        Ok(())
    }
}

fn code(tag: Tag) -> LogCode {
    match tag {
        Tag::ErrorXfer => LogCode::ErrorXfer,
        Tag::Error => LogCode::Error,
        Tag::Warning => LogCode::Warning,
        _ => LogCode::Info,
    }
}
