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
    sys::{
        pipe,
        poll::{Interest, Wake},
    },
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

/// Two connected ends over pipes, for a server in a child process of ours. Each end gives up when its wake fires.
pub fn pipes(near: &Wake, far: &Wake) -> io::Result<(Connection, Connection)> {
    let (there_read, here_write) = pipe::pipe()?;
    let (here_read, there_write) = pipe::pipe()?;
    for end in [&here_write, &there_write] {
        let _ = pipe::enlarge(end, shell::PIPE); // over the user's allowance: the size it has will do
    }
    let end = |read, write, wake| -> io::Result<Connection> {
        Ok(Connection {
            read: Box::new(FdReader::new(Port::own(read)?, wake)),
            write: Box::new(FdWriter::new(Port::own(write)?, wake)),
            child: None,
        })
    };
    Ok((end(here_read, here_write, near)?, end(there_read, there_write, far)?))
}

impl From<pair::End> for Connection {
    fn from(end: pair::End) -> Self {
        Self { read: Box::new(end.read), write: Box::new(end.write), child: None }
    }
}
