//! Reads and writes on sockets that never wait, whatever the flags of the shared open file description say.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, recv, sendmsg},
};

/// Reads what a socket holds; `WouldBlock` when it holds nothing, whatever its flags say.
pub fn receive_now(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket.as_fd().as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
}

/// Writes what a socket takes; `WouldBlock` when it takes nothing, whatever its flags say.
pub fn send_now(socket: impl AsFd, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let none: &[ControlMessage<'_>] = &[];
    let sent: Result<usize, Errno> = sendmsg::<()>(socket.as_fd().as_raw_fd(), buffers, none, flags, None);
    Ok(sent?)
}
