//! Waiting: for a descriptor, for a wake-up from another thread or a signal, or until a point in time.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::errno::Errno;

/// A bell that ends every wait it is given to, until it is reset. Clones are the same bell.
#[derive(Clone, Debug)]
pub struct Wake {
    event: Arc<OwnedFd>,
}

impl Wake {
    pub fn new() -> io::Result<Self> {
        // SAFETY: integers only.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(Self { event: Arc::new(unsafe { OwnedFd::from_raw_fd(fd) }) })
    }

    /// Ends all waits, those to come included.
    pub fn fire(&self) {
        fire_raw(self.event.as_raw_fd());
    }

    pub fn is_fired(&self) -> bool {
        matches!(wait_any(&mut [], Some(self), Some(Instant::now())), Ok(Ready::Woken))
    }

    /// Makes waits block again.
    pub fn reset(&self) {
        // EAGAIN: it was not fired.
        let _ = super::file::read(&*self.event, &mut [0; 8]);
    }

    pub(super) fn raw(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

/// The part of [`Wake::fire`] that a signal handler may do.
pub(super) fn fire_raw(event: RawFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: eight readable bytes; `write` is async-signal-safe. It can only fail with EAGAIN when the count is at its
    // limit, and then the bell has been rung.
    unsafe { libc::write(event, one.as_ptr().cast(), one.len()) };
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    Read,
    Write,
    /// Both: whichever comes first.
    Either,
}

impl Interest {
    fn events(self) -> i16 {
        match self {
            Self::Read => libc::POLLIN,
            Self::Write => libc::POLLOUT,
            Self::Either => libc::POLLIN | libc::POLLOUT,
        }
    }
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready {
    /// The next read or write will not block; it may find the end or an error.
    Ready,
    Woken,
    TimedOut,
}

/// One descriptor in a wait for several.
#[derive(Debug)]
pub struct Watch<'a> {
    pub fd: BorrowedFd<'a>,
    pub interest: Interest,
    /// Out: the next read will not block (or there is an error to fetch).
    pub readable: bool,
    /// Out: the next write will not block (or there is an error to fetch).
    pub writable: bool,
}

impl<'a> Watch<'a> {
    pub fn new(fd: BorrowedFd<'a>, interest: Interest) -> Self {
        Self { fd, interest, readable: false, writable: false }
    }
}

/// Waits for one descriptor. A wake-up is reported before readiness, readiness before the deadline.
pub fn wait(fd: impl AsFd, interest: Interest, wake: Option<&Wake>, deadline: Option<Instant>) -> io::Result<Ready> {
    wait_any(&mut [Watch::new(fd.as_fd(), interest)], wake, deadline)
}

/// Waits until at least one of the descriptors is ready and marks those that are.
pub fn wait_any(watches: &mut [Watch<'_>], wake: Option<&Wake>, deadline: Option<Instant>) -> io::Result<Ready> {
    const ON_STACK: usize = 8;
    const IDLE: libc::pollfd = libc::pollfd { fd: -1, events: 0, revents: 0 };
    let mut small = [IDLE; ON_STACK];
    let mut large = Vec::new();
    let needed = watches.len() + 1;
    let polled = match small.get_mut(..needed) {
        Some(polled) => polled,
        None => {
            large.resize(needed, IDLE);
            &mut large[..]
        }
    };
    for (slot, watch) in polled.iter_mut().skip(1).zip(watches.iter()) {
        *slot = libc::pollfd { fd: watch.fd.as_raw_fd(), events: watch.interest.events(), revents: 0 };
    }
    if let (Some(slot), Some(wake)) = (polled.first_mut(), wake) {
        *slot = libc::pollfd { fd: wake.raw(), events: libc::POLLIN, revents: 0 };
    }
    let found = poll_until(polled, deadline)?;
    if polled.first().is_some_and(|slot| slot.revents != 0) {
        return Ok(Ready::Woken);
    }
    for (slot, watch) in polled.iter().skip(1).zip(watches) {
        if slot.revents & libc::POLLNVAL != 0 {
            return Err(Errno::EBADF.into());
        }
        let broken = slot.revents & (libc::POLLERR | libc::POLLHUP) != 0;
        watch.readable = slot.revents & libc::POLLIN != 0 || broken && watch.interest != Interest::Write;
        watch.writable = slot.revents & libc::POLLOUT != 0 || broken && watch.interest != Interest::Read;
    }
    Ok(if found { Ready::Ready } else { Ready::TimedOut })
}

/// `poll` with a point in time, however often signals interrupt it; whether anything is ready.
fn poll_until(polled: &mut [libc::pollfd], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let timeout = deadline.map_or(-1, |deadline| {
            // Rounded up, lest the last fraction of a millisecond be spun away.
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_nanos(999_999);
            i32::try_from(left.as_millis()).unwrap_or(i32::MAX)
        });
        // SAFETY: the slice is valid for reading and writing, and its length is given.
        let count = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) };
        match count {
            0 if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            0 => return Ok(false),
            1.. => return Ok(true),
            _ if Errno::last() == Errno::EINTR => {}
            _ => return Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{file, pipe};

    fn soon(millis: u64) -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(millis))
    }

    #[test]
    fn data_end_and_room() {
        let (read, write) = pipe::pipe().unwrap();
        assert_eq!(wait(&read, Interest::Read, None, soon(0)).unwrap(), Ready::TimedOut);
        assert_eq!(wait(&write, Interest::Write, None, None).unwrap(), Ready::Ready);
        file::write(&write, b"x").unwrap();
        assert_eq!(wait(&read, Interest::Read, None, None).unwrap(), Ready::Ready);
        file::read(&read, &mut [0; 8]).unwrap();
        drop(write);
        assert_eq!(wait(&read, Interest::Read, None, None).unwrap(), Ready::Ready);
        assert_eq!(file::read(&read, &mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn a_deadline_is_kept() {
        let (read, _write) = pipe::pipe().unwrap();
        let start = Instant::now();
        assert_eq!(wait(&read, Interest::Read, None, soon(30)).unwrap(), Ready::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn a_wake_ends_waits_of_all_clones_until_reset() {
        let (read, _write) = pipe::pipe().unwrap();
        let wake = Wake::new().unwrap();
        assert!(!wake.is_fired());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (wake, read) = (wake.clone(), read.as_fd());
                scope.spawn(move || {
                    assert_eq!(wait(read, Interest::Read, Some(&wake), None).unwrap(), Ready::Woken);
                });
            }
            std::thread::sleep(Duration::from_millis(10));
            wake.fire();
        });
        assert!(wake.is_fired());
        wake.reset();
        assert!(!wake.is_fired());
        assert_eq!(wait(&read, Interest::Read, Some(&wake), soon(0)).unwrap(), Ready::TimedOut);
    }

    #[test]
    fn several_are_told_apart() {
        let pipes: Vec<_> = (0..12).map(|_| pipe::pipe().unwrap()).collect();
        file::write(&pipes[3].1, b"x").unwrap();
        let mut watches: Vec<_> = pipes.iter().map(|(read, _)| Watch::new(read.as_fd(), Interest::Read)).collect();
        assert_eq!(wait_any(&mut watches, None, None).unwrap(), Ready::Ready);
        let readable: Vec<_> = watches.iter().map(|watch| watch.readable).collect();
        assert_eq!(readable.iter().position(|&ready| ready), Some(3));
        assert_eq!(readable.iter().filter(|&&ready| ready).count(), 1);
    }
}
