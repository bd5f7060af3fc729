//! The remote shell's process: waited for within bounds, asked to end when we stop, always reaped.

use std::time::{Duration, Instant};

use crate::{
    error::ExitCode,
    sys::{
        poll::Wake,
        process::{self, Exit},
    },
};

use super::stderr::Drain;

/// After the connection ended without a goodbye: how long the child may take to say why by its exit status.
pub const AFTER_FAILURE: Duration = Duration::from_millis(1500);

/// After an interrupt: how long ssh may take to restore the terminal before it is told to end.
pub const AFTER_INTERRUPT: Duration = Duration::from_millis(400);

/// Between TERM and KILL.
const AFTER_TERM: Duration = Duration::from_millis(1000);

/// How the child came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Exited(u8),
    /// By a signal that we did not send.
    Signaled {
        core: bool,
    },
    /// It had not ended by itself in time, and was made to.
    Stopped,
}

impl Ended {
    /// Our exit status for it at the end of a whole session. C: main.c wait_process_with_flush
    pub fn code(self) -> ExitCode {
        match self {
            Self::Exited(code) => ExitCode(code),
            Self::Signaled { core: true } => ExitCode::CRASHED,
            Self::Signaled { core: false } | Self::Stopped => ExitCode::TERMINATED,
        }
    }

    /// Our exit status when the session failed with `failure`: a higher one of the child says more. C: _exit_cleanup
    pub fn after(self, failure: ExitCode) -> ExitCode {
        match self {
            Self::Exited(code) => failure.max(ExitCode(code)),
            Self::Signaled { .. } | Self::Stopped => failure,
        }
    }
}

impl From<Exit> for Ended {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Self::Exited(u8::try_from(code).unwrap_or(u8::MAX)),
            Exit::Signal(_) => Self::Signaled { core: false },
            Exit::Crash(_) => Self::Signaled { core: true },
        }
    }
}

/// A running remote shell with its standard error. However it is left, the process is reaped and the drain closed.
///
/// Both halves of the connection are dropped before any of the endings is called.
pub struct Child {
    process: process::Child,
    stderr: Option<Drain>,
    ended: Option<Ended>,
}

impl Child {
    pub(super) fn new(process: process::Child, stderr: Drain) -> Self {
        Self { process, stderr: Some(stderr), ended: None }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The end of a whole session: waits as long as the child takes, and stops it when the wake fires.
    pub fn finish(mut self, wake: &Wake) -> Ended {
        match self.wait(None, Some(wake)) {
            Some(ended) => self.close(ended),
            None => self.stop(AFTER_INTERRUPT),
        }
    }

    /// The connection ended early: the child has `AFTER_FAILURE` to tell why, while its messages still pass.
    pub fn after_failure(mut self) -> Ended {
        self.stop(AFTER_FAILURE)
    }

    /// We give up (signal, timeout, an error of our own): a moment to restore the terminal, then TERM.
    pub fn interrupt(mut self) -> Ended {
        self.stop(AFTER_INTERRUPT)
    }

    /// Waits `grace`, then ends the child; reaps it and closes the drain.
    fn stop(&mut self, grace: Duration) -> Ended {
        if let Some(ended) = self.wait(Some(grace), None) {
            return self.close(ended);
        }
        for (signal, patience) in [(libc::SIGTERM, Some(AFTER_TERM)), (libc::SIGKILL, None)] {
            // Not permitted for a set-uid child, nor where we have become another user: then it must end itself.
            let patience = self.process.signal(signal).map_or(Some(AFTER_TERM), |()| patience);
            if self.wait(patience, None).is_some() {
                break;
            }
        }
        self.close(Ended::Stopped)
    }

    fn close(&mut self, ended: Ended) -> Ended {
        if let Some(drain) = self.stderr.take() {
            drain.finish();
        }
        self.ended = Some(ended);
        ended
    }

    /// Reaps the child if it ends within `patience` (`None`: for ever) and before the wake fires.
    fn wait(&mut self, patience: Option<Duration>, wake: Option<&Wake>) -> Option<Ended> {
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        match self.process.wait_until(wake, deadline) {
            Ok(exit) => exit.map(Ended::from),
            Err(_) => Some(Ended::Stopped), // someone else reaped it
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.stop(AFTER_INTERRUPT);
        }
    }
}
