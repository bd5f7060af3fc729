//! The two directions of a connection, from bytes to numbers and messages.

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
}

/// The writing half.
pub trait WriteHalf: Send {
    /// Writes some of the bytes, at least one; errors as for `ReadHalf::read`.
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;
    fn set_timeout(&mut self, timeout: Option<Duration>);
}
