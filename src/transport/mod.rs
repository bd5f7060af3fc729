//! Byte connections to the other side: remote shell, inherited descriptors, in-process pair, batch file.

pub mod batch;
pub mod fd;
mod handover;
pub mod pair;
pub mod shell;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use crate::{
    sys::poll::{Interest, Wake},
    wire::{ReadHalf, WriteHalf},
};

use fd::{FdReader, FdWriter, Port};

/// Two byte halves, and the process at the other end where there is one.
///
/// Drop both halves before the child is waited for: they hold the pipes whose end tells it to finish.
pub struct Connection {
    pub read: Box<dyn ReadHalf>,
    pub write: Box<dyn WriteHalf>,
    pub child: Option<shell::Child>,
}

impl Connection {
    /// A server's own standard input and output, whose flags stay as they are: they may be shared with others.
    pub fn stdio(wake: &Wake) -> io::Result<Self> {
        Self::inherited(io::stdin().as_fd(), io::stdout().as_fd(), wake)
    }

    /// Descriptors that others may share (both may be the same socket).
    pub fn inherited(read: BorrowedFd<'_>, write: BorrowedFd<'_>, wake: &Wake) -> io::Result<Self> {
        Ok(Self {
            read: Box::new(FdReader::new(Port::shared(read, Interest::Read)?, wake)),
            write: Box::new(FdWriter::new(Port::shared(write, Interest::Write)?, wake)),
            child: None,
        })
    }
}

impl From<pair::End> for Connection {
    fn from(end: pair::End) -> Self {
        Self { read: Box::new(end.read), write: Box::new(end.write), child: None }
    }
}
