//! The two directions of a connection, from bytes to numbers and messages.
//!
//! `read::Reader` and `write::Writer` each own one half and may live in different threads. Both begin as a plain
//! stream of bytes; `multiplex` switches framing on, after which data travels in frames (`frame`) with messages
//! between them. A `Pulse`, shared by the two, knows when the peer was last heard.

pub mod frame;
pub mod int;
pub mod pulse;
pub mod read;
pub mod throttle;
pub mod watch;
pub mod write;

pub use frame::{Message, Messages, Rules, Tag};
pub use pulse::Pulse;
pub use read::Reader;
pub use watch::Watch;
pub use write::{Outbox, Said, Writer};

use std::{
    io::{self, IoSlice},
    time::Duration,
};

/// The reading half of any byte connection: pipe, socket, in-process pair, batch file.
pub trait ReadHalf: Send {
    /// Blocks for at least one byte; 0 is the end. `ErrorKind::TimedOut` when nothing came within the time allowed,
    /// `ErrorKind::Interrupted` when the run was stopped (wake fired).
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Whether `read` would return at once.
    fn ready(&mut self) -> bool;
    /// How long a `read` may wait; `None` for ever.
    fn set_timeout(&mut self, timeout: Option<Duration>);
    /// The descriptor's number, if it is one.
    fn number(&self) -> Option<i32> {
        None
    }
}

/// The writing half.
pub trait WriteHalf: Send {
    /// Writes some of the bytes, at least one; errors as for `ReadHalf::read`.
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;
    fn set_timeout(&mut self, timeout: Option<Duration>);
    /// The descriptor's number, if it is one.
    fn number(&self) -> Option<i32> {
        None
    }
}

/// A recording as a half: what a peer said before, then the end.
impl<T: AsRef<[u8]> + Send> ReadHalf for io::Cursor<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        io::Read::read(self, buffer)
    }

    fn ready(&mut self) -> bool {
        true
    }

    fn set_timeout(&mut self, _: Option<Duration>) {}
}

/// A half that keeps what is written to it.
impl WriteHalf for std::sync::Arc<std::sync::Mutex<Vec<u8>>> {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut kept = self.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = kept.len();
        buffers.iter().for_each(|part| kept.extend_from_slice(part));
        Ok(kept.len() - before)
    }

    fn set_timeout(&mut self, _: Option<Duration>) {}
}
