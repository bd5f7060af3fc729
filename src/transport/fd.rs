//! Reading and writing halves on file descriptors, which wait in `poll` alone and never inside a read or write.

use std::{
    fs::File,
    io::{self, IoSlice, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::FileTypeExt,
    },
    time::{Duration, Instant},
};

use crate::{
    sys::{
        at, channel, file,
        poll::{self, Interest, Ready, Wake},
    },
    wire::{ReadHalf, WriteHalf},
};

/// A pipe that polls as writable takes this much without blocking (POSIX `PIPE_BUF` on Linux).
const PIPE_BUF: usize = 4096;

/// How many reads may pass without a look at the wake, which is a system call.
const READS_UNCHECKED: u32 = 16;

/// A descriptor and the way in which it can be used without ever waiting inside the call.
///
/// `O_NONBLOCK` belongs to the open file description, which a descriptor inherited from a shell shares with other
/// programs; so it is set only where the description is ours.
pub struct Port {
    file: File,
    way: Way,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// `O_NONBLOCK` is set, and the description is ours alone.
    Own,
    /// A socket: each call says `MSG_DONTWAIT`.
    Socket,
    /// A description of others which could not be opened anew: poll first, then move no more than is sure to fit.
    Asking,
    /// A regular file or block device: never waits.
    Plain,
}

impl Port {
    /// A pipe or socket that nobody else has.
    pub fn own(fd: impl Into<OwnedFd>) -> io::Result<Self> {
        let file = File::from(fd.into());
        file::set_nonblocking(&file, true)?;
        Ok(Self { file, way: Way::Own })
    }

    /// A descriptor that others may share, for one direction. Its flags are left alone: a pipe, FIFO or terminal is
    /// opened anew through `/proc` where that is possible, so that we have a description of our own.
    pub fn shared(fd: BorrowedFd<'_>, want: Interest) -> io::Result<Self> {
        let file = File::from(fd.try_clone_to_owned()?);
        let kind = file.metadata()?.file_type();
        if kind.is_socket() {
            return Ok(Self { file, way: Way::Socket });
        }
        if kind.is_fifo() || kind.is_char_device() {
            return Ok(match opened_anew(fd, want) {
                Ok(file) => Self { file, way: Way::Own },
                Err(_) => Self { file, way: Way::Asking },
            });
        }
        Ok(Self { file, way: Way::Plain })
    }

    /// Reads what is there; `WouldBlock` if nothing is.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.way {
            Way::Socket => channel::receive_now(&self.file, buffer),
            Way::Asking if !self.poll(Interest::Read)? => Err(io::ErrorKind::WouldBlock.into()),
            _ => (&self.file).read(buffer),
        }
    }

    /// Writes what fits; `WouldBlock` if nothing does.
    pub fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.way {
            Way::Socket => channel::send_now(&self.file, buffers),
            Way::Asking if !self.poll(Interest::Write)? => Err(io::ErrorKind::WouldBlock.into()),
            Way::Asking => {
                let first = buffers.iter().find(|buffer| !buffer.is_empty()).map_or(&[][..], |buffer| buffer);
                (&self.file).write(first.get(..PIPE_BUF).unwrap_or(first))
            }
            _ => (&self.file).write_vectored(buffers),
        }
    }

    fn poll(&self, want: Interest) -> io::Result<bool> {
        Ok(poll::wait(&self.file, want, None, Some(Instant::now()))? == Ready::Ready)
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn opened_anew(fd: BorrowedFd<'_>, want: Interest) -> io::Result<File> {
    let access = if want == Interest::Read { libc::O_RDONLY } else { libc::O_WRONLY };
    at::reopen(fd, access | libc::O_NONBLOCK | libc::O_NOCTTY)
}

/// Waits until `port` can go on: `TimedOut` at the deadline, `Interrupted` when the wake fired.
fn wait(port: &Port, want: Interest, wake: &Wake, deadline: Option<Instant>) -> io::Result<()> {
    match poll::wait(port, want, Some(wake), deadline)? {
        Ready::Ready => Ok(()),
        Ready::Woken => Err(io::ErrorKind::Interrupted.into()),
        Ready::TimedOut => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// The reading half on a descriptor.
pub struct FdReader {
    port: Port,
    wake: Wake,
    timeout: Option<Duration>,
    /// Reads since the wake was last looked at.
    unchecked: u32,
}

impl FdReader {
    pub fn new(port: Port, wake: &Wake) -> Self {
        Self { port, wake: wake.clone(), timeout: None, unchecked: 0 }
    }

    /// A wait sees the wake by itself; a stream which never pauses looks at it now and then.
    fn check_wake(&mut self) -> io::Result<()> {
        self.unchecked += 1;
        if self.unchecked >= READS_UNCHECKED {
            self.unchecked = 0;
            if self.wake.is_fired() {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        Ok(())
    }
}

impl ReadHalf for FdReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check_wake()?;
        let mut deadline_set = None;
        loop {
            match self.port.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let deadline = *deadline_set.get_or_insert_with(|| deadline(self.timeout));
                    wait(&self.port, Interest::Read, &self.wake, deadline)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A terminal's Ctrl-C ends the far side as well: that we were stopped is the reason to tell.
                Ok(0) if self.wake.is_fired() => return Err(io::ErrorKind::Interrupted.into()),
                done => return done,
            }
        }
    }

    fn ready(&mut self) -> bool {
        self.port.poll(Interest::Read).unwrap_or(true)
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    fn number(&self) -> Option<i32> {
        Some(self.port.file.as_raw_fd())
    }
}

/// The writing half on a descriptor; dropping it closes the descriptor, which is the half-close of a pipe.
pub struct FdWriter {
    port: Port,
    wake: Wake,
    timeout: Option<Duration>,
    /// The last write did not take everything: the next one would find no room, so it waits first.
    full: bool,
}

impl FdWriter {
    pub fn new(port: Port, wake: &Wake) -> Self {
        Self { port, wake: wake.clone(), timeout: None, full: false }
    }
}

impl WriteHalf for FdWriter {
    /// A fired wake is seen only when the call would wait: a run that is being stopped may still tell the peer.
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let wanted: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if wanted == 0 {
            return Ok(0);
        }
        let mut deadline_set = None;
        loop {
            if self.full {
                let deadline = *deadline_set.get_or_insert_with(|| deadline(self.timeout));
                wait(&self.port, Interest::Write, &self.wake, deadline)?;
                self.full = false;
            }
            match self.port.write(buffers) {
                Ok(written) => {
                    self.full = written < wanted;
                    return Ok(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.full = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    fn number(&self) -> Option<i32> {
        Some(self.port.file.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream, thread};

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    fn nonblocking(fd: impl AsFd) -> bool {
        OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_NONBLOCK)
    }

    /// Fills what takes bytes until it takes no more, then reads all of it on the other side.
    fn fill_and_empty(mut writer: FdWriter, mut reader: FdReader) {
        writer.set_timeout(Some(Duration::from_millis(20)));
        reader.set_timeout(Some(Duration::from_millis(20)));
        assert!(!reader.ready());
        let block = [7; 10_000];
        let mut written = 0;
        let error = loop {
            match writer.write(&[IoSlice::new(&[]), IoSlice::new(&block)]) {
                Ok(length) => written += length,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(reader.ready());
        let mut read = 0;
        while read < written {
            read += reader.read(&mut [0; 6000]).unwrap();
        }
        assert_eq!(reader.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(writer);
    }

    #[test]
    fn shared_pipes_keep_their_flags() {
        let wake = Wake::new().unwrap();
        let (read, write) = io::pipe().unwrap();
        let reader = FdReader::new(Port::shared(read.as_fd(), Interest::Read).unwrap(), &wake);
        let writer = FdWriter::new(Port::shared(write.as_fd(), Interest::Write).unwrap(), &wake);
        assert_eq!((reader.port.way, writer.port.way), (Way::Own, Way::Own), "opened anew");
        fill_and_empty(writer, reader);
        assert!(!nonblocking(&read) && !nonblocking(&write));
    }

    #[test]
    fn shared_sockets_keep_their_flags() {
        let wake = Wake::new().unwrap();
        let (one, two) = UnixStream::pair().unwrap();
        let reader = FdReader::new(Port::shared(one.as_fd(), Interest::Read).unwrap(), &wake);
        let writer = FdWriter::new(Port::shared(two.as_fd(), Interest::Write).unwrap(), &wake);
        assert_eq!((reader.port.way, writer.port.way), (Way::Socket, Way::Socket));
        fill_and_empty(writer, reader);
        assert!(!nonblocking(&one) && !nonblocking(&two));
    }

    #[test]
    fn without_proc_the_pipe_is_asked_first() {
        let wake = Wake::new().unwrap();
        let (read, write) = io::pipe().unwrap();
        let asking = |fd: OwnedFd| Port { file: File::from(fd), way: Way::Asking };
        let (reader, writer) = (asking(read.into()), asking(write.into()));
        fill_and_empty(FdWriter::new(writer, &wake), FdReader::new(reader, &wake));
    }

    #[test]
    fn a_closed_reader_is_a_broken_pipe_and_a_closed_writer_the_end() {
        let wake = Wake::new().unwrap();
        let (read, write) = io::pipe().unwrap();
        let mut writer = FdWriter::new(Port::own(write).unwrap(), &wake);
        drop(read);
        assert_eq!(writer.write(&[IoSlice::new(b"x")]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let (read, write) = io::pipe().unwrap();
        let mut reader = FdReader::new(Port::own(read).unwrap(), &wake);
        drop(write);
        assert!(reader.ready());
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_fired_wake_stops_a_reader_with_data_but_lets_a_writer_say_its_last() {
        let wake = Wake::new().unwrap();
        let (read, write) = io::pipe().unwrap();
        let mut reader = FdReader::new(Port::own(read).unwrap(), &wake);
        let mut writer = FdWriter::new(Port::own(write).unwrap(), &wake);
        wake.fire();
        assert_eq!(writer.write(&[IoSlice::new(b"bye")]).unwrap(), 3);
        let error = (0..2 * READS_UNCHECKED).find_map(|_| {
            writer.write(&[IoSlice::new(b"more")]).unwrap();
            reader.read(&mut [0; 1]).err()
        });
        assert_eq!(error.unwrap().kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn a_blocked_reader_sees_the_wake() {
        let wake = Wake::new().unwrap();
        let (read, _write) = io::pipe().unwrap();
        let mut reader = FdReader::new(Port::own(read).unwrap(), &wake);
        thread::scope(|scope| {
            let blocked = scope.spawn(move || reader.read(&mut [0; 1]).unwrap_err().kind());
            thread::sleep(Duration::from_millis(20));
            wake.fire();
            assert_eq!(blocked.join().unwrap(), io::ErrorKind::Interrupted);
        });
    }
}
