//! A server's voice: its lines travel to the client as messages, or leave by its own stderr.

use std::sync::Arc;

use crate::{
    log::{LogCode, Route, Sink, server_route},
    options::{Options, Stderr},
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
}

impl PeerSink {
    /// `own` is where our stderr goes.
    pub fn new(outbox: Outbox, options: &Options, own: Arc<dyn Sink>) -> Self {
        Self { outbox, stderr: options.stderr, quiet: options.quiet > 0, protocol: 0, own, generator: None }
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

impl Sink for PeerSink {
    fn line(&self, code: LogCode, line: &[u8]) {
        let Some(route) = server_route(code, self.stderr, self.quiet, self.protocol) else { return };
        if let Route::Peer(code) = route
            && self.message(tag(code), line)
        {
            return;
        }
        let code = if matches!(code, LogCode::Info | LogCode::Client) { LogCode::Error } else { code };
        self.own.line(code, line);
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
