//! A server's voice: its lines travel to the client as messages, or leave by its own stderr.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    log::{LogCode, Route, Sink, server_route},
    options::{
        Options, Stderr,
        charset::{Charset, Text},
    },
    role::{Feedback, news::News},
    wire::{Outbox, Said, Tag},
};

/// C: log.c rwrite
#[derive(Clone)]
pub struct PeerSink {
    outbox: Outbox,
    stderr: Stderr,
    quiet: bool,
    /// 0 before the handshake.
    protocol: u8,
    own: Arc<dyn Sink>,
    /// On the receiver's thread: wakes the generator, which owns the way out.
    generator: Option<News>,
    /// With `--iconv`.
    to_wire: Option<Arc<Mutex<Text>>>,
}

impl PeerSink {
    /// `own` is where our stderr goes.
    pub fn new(outbox: Outbox, options: &Options, own: Arc<dyn Sink>) -> Self {
        // Where there is none the session has ended with a word about it.
        let to_wire = Charset::of(options).and_then(|charset| charset.to_wire().ok());
        Self {
            outbox,
            stderr: options.stderr,
            quiet: options.quiet > 0,
            protocol: 0,
            own,
            generator: None,
            to_wire: to_wire.map(|text| Arc::new(Mutex::new(text))),
        }
    }

    /// The same after the handshake. A client this old may have nobody who takes our stderr. C: in compat.c
    /// setup_protocol
    pub fn for_protocol(self, version: u8) -> Self {
        const LAST_WITHOUT_STDERR: u8 = 28;
        let stderr = match self.stderr {
            Stderr::Errors if version <= LAST_WITHOUT_STDERR => Stderr::Client,
            stderr => stderr,
        };
        Self { protocol: version, stderr, ..self }
    }

    /// Sends a message, a line or another; false where there are none.
    pub fn message(&self, tag: Tag, payload: &[u8]) -> bool {
        let said = self.outbox.say(tag, payload);
        if let (Said::First, Some(generator)) = (&said, &self.generator) {
            let _ = generator.tell(Feedback::Line); // without a generator the session is ending and flushes itself
        }
        !matches!(said, Said::Not)
    }

    /// The same way out, used from the receiver's thread.
    pub fn for_receiver(self, generator: News) -> Self {
        Self { generator: Some(generator), ..self }
    }
}

impl PeerSink {
    /// `is_wires`: the line has the wire's characters already.
    fn say(&self, code: LogCode, line: &[u8], is_wires: bool) {
        let Some(route) = server_route(code, self.stderr, self.quiet, self.protocol) else { return };
        if let Route::Peer(code) = route {
            let said = match self.to_wire.as_ref().filter(|_| !is_wires) {
                Some(text) => {
                    let line = text.lock().unwrap_or_else(PoisonError::into_inner).as_far_as_possible(line);
                    self.message(tag(code), &line)
                }
                None => self.message(tag(code), line),
            };
            if said {
                return;
            }
        }
        let code = if matches!(code, LogCode::Info | LogCode::Client) { LogCode::Error } else { code };
        self.own.line(code, line);
    }
}

impl Sink for PeerSink {
    fn line(&self, code: LogCode, line: &[u8]) {
        self.say(code, line, false);
    }

    fn line_from_wire(&self, code: LogCode, line: &[u8]) {
        self.say(code, line, true);
    }
}

fn tag(code: LogCode) -> Tag {
    match code {
        LogCode::ErrorXfer => Tag::ErrorXfer,
        LogCode::Error => Tag::Error,
        LogCode::Warning => Tag::Warning,
        LogCode::Info | LogCode::Client | LogCode::Log => Tag::Info,
    }
}
