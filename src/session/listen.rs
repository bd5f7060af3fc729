//! What a peer says between data, and what follows from it.

use std::sync::Arc;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI32, Ordering},
    mpsc,
};

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    log::{Log, LogCode},
    options::Info,
    report::format::{OutFormat, Subject, deletion_line},
    role::{Feedback, Transfer, context},
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

    pub fn add_io_error(&self, bits: i32) {
        self.io_error.fetch_or(bits, Ordering::Relaxed);
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
    generator: Option<mpsc::Sender<Feedback>>,
    /// How deletions on the far side are told.
    format: Option<OutFormat>,
    link_times: bool,
    times: bool,
}

impl Listener {
    pub fn new(transfer: &Transfer, log: Log, heard: Arc<Heard>) -> Self {
        Self {
            log,
            heard,
            generator: None,
            format: transfer.format.clone(),
            link_times: transfer.link_times,
            times: transfer.options.times,
        }
    }

    pub fn for_receiver(self, generator: mpsc::Sender<Feedback>) -> Self {
        Self { generator: Some(generator), ..self }
    }

    fn forward(&self, feedback: Feedback) {
        if let Some(generator) = &self.generator {
            let _ = generator.send(feedback); // a generator that is gone has failed, and that is told
        }
    }

    fn tell_deletion(&self, name: &[u8], dir: bool) {
        if self.log.info(Info::Del) == 0 && self.format.is_none() {
            return;
        }
        let subject = Subject::deleted(name, if dir { libc::S_IFDIR } else { libc::S_IFREG });
        let context = context(true, false, self.times, self.link_times);
        let line = match &self.format {
            Some(format) => format.deletion_line(&subject, &context),
            None => deletion_line(&subject, &context),
        };
        self.log.say(LogCode::Client, line);
    }
}

impl Messages for Listener {
    fn message(&mut self, message: Message<'_>) -> Result<()> {
        match message {
            Message::Line(tag, line) => self.log.put(code(tag), line),
            Message::IoError(bits) => {
                self.heard.add_io_error(bits as i32);
                self.forward(Feedback::IoError(bits as i32));
            }
            Message::IoTimeout(seconds) => {
                if self.log.info(Info::Misc) >= 2 {
                    let line = bytes!["Setting --timeout=", seconds, " to match server"];
                    self.log.say(LogCode::Info, line);
                }
            }
            Message::NoSend(index) => self.forward(Feedback::Declined(index)),
            Message::Deleted { name, dir } => self.tell_deletion(name, dir),
            // Only `--remove-source-files` would act on this.
            Message::Noop | Message::Success { .. } => {}
            Message::ErrorExit(status) => {
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
