//! Pipes and socket pairs, close-on-exec.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::socket::{AddressFamily, SockFlag, SockType, socketpair},
    unistd::pipe2,
};

/// An anonymous pipe: (read end, write end).
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe2(OFlag::O_CLOEXEC)?)
}

/// A pair of connected stream sockets.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Asks for a pipe buffer of `size` bytes or, where the user's allowance does not reach, of the largest power of two
/// below it; returns what the pipe has now.
pub fn enlarge(pipe: impl AsFd, size: usize) -> io::Result<usize> {
    let pipe = pipe.as_fd();
    let now = fcntl(pipe, FcntlArg::F_GETPIPE_SZ)? as usize;
    let mut wanted = size;
    while wanted > now {
        let Ok(request) = i32::try_from(wanted) else { break };
        if let Ok(got) = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(request)) {
            return Ok(got as usize);
        }
        wanted = wanted.next_power_of_two() / 2;
    }
    Ok(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::file;

    #[test]
    fn pipes_grow_and_never_shrink() {
        let (read, write) = pipe().unwrap();
        let before = fcntl(&read, FcntlArg::F_GETPIPE_SZ).unwrap() as usize;
        assert_eq!(enlarge(&read, 1).unwrap(), before);
        let after = enlarge(&write, 256 * 1024).unwrap();
        assert!(after >= before);
        assert_eq!(fcntl(&read, FcntlArg::F_GETPIPE_SZ).unwrap() as usize, after);
        assert!(enlarge(&write, usize::MAX).unwrap() >= after);
    }

    #[test]
    fn sockets_go_both_ways_and_close_on_exec() {
        let (one, two) = socket_pair().unwrap();
        file::write(&one, b"a").unwrap();
        file::write(&two, b"b").unwrap();
        let mut byte = [0];
        assert_eq!((file::read(&one, &mut byte).unwrap(), byte), (1, *b"b"));
        assert_eq!((file::read(&two, &mut byte).unwrap(), byte), (1, *b"a"));
        assert_eq!(fcntl(&one, FcntlArg::F_GETFD).unwrap() & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}
