//! Calls on open files: read, write, and metadata by descriptor.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    errno::Errno,
    sys::{
        stat::{self, Mode},
        uio,
    },
    unistd::{self, Gid, Uid},
};

use super::at::{Time, time_spec};

/// Repeats a call that a signal interrupted.
pub(super) fn again<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => continue,
            other => return Ok(other?),
        }
    }
}

/// One `read`; 0 at the end. An interruption by a signal is the caller's to see.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(unistd::read(fd, buffer)?)
}

/// One `write`. An interruption by a signal is the caller's to see.
pub fn write(fd: impl AsFd, data: &[u8]) -> io::Result<usize> {
    Ok(unistd::write(fd, data)?)
}

/// One `writev`. An interruption by a signal is the caller's to see.
pub fn write_vectored(fd: impl AsFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    Ok(uio::writev(fd, parts)?)
}

/// One `pread`, repeated when interrupted; 0 at the end of the file.
pub fn read_at(fd: impl AsFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let offset = file_offset(offset)?;
    again(|| uio::pread(fd.as_fd(), buffer, offset))
}

/// Writes all of `data` at `offset`.
pub fn write_all_at(fd: impl AsFd, mut data: &[u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        let at = file_offset(offset)?;
        let written = again(|| uio::pwrite(fd.as_fd(), data, at))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        data = data.get(written..).unwrap_or_default();
        offset += written as u64;
    }
    Ok(())
}

pub(super) fn file_offset(offset: u64) -> io::Result<i64> {
    i64::try_from(offset).map_err(|_| Errno::EFBIG.into())
}

pub fn truncate(fd: impl AsFd, size: u64) -> io::Result<()> {
    let size = file_offset(size)?;
    again(|| unistd::ftruncate(fd.as_fd(), size))
}

pub fn sync(fd: impl AsFd) -> io::Result<()> {
    again(|| unistd::fsync(fd.as_fd()))
}

pub fn chmod(fd: impl AsFd, mode: u32) -> io::Result<()> {
    Ok(stat::fchmod(fd, Mode::from_bits_retain(mode & 0o7777))?)
}

/// Changes owner and group; `None`: as it is.
pub fn chown(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    Ok(unistd::fchown(fd, uid.map(Uid::from_raw), gid.map(Gid::from_raw))?)
}

/// Sets access and modification time; `None`: as it is.
pub fn set_times(fd: impl AsFd, atime: Option<Time>, mtime: Option<Time>) -> io::Result<()> {
    Ok(stat::futimens(fd, &time_spec(atime), &time_spec(mtime))?)
}

/// Switches the description between blocking and non-blocking; it is shared with every duplicate.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let old = OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    let mut new = old;
    new.set(OFlag::O_NONBLOCK, on);
    if new != old {
        fcntl(fd.as_fd(), FcntlArg::F_SETFL(new))?;
    }
    Ok(())
}

/// Fills `buffer` with entries of an open directory in the kernel's form (`struct linux_dirent64`); returns how many
/// bytes, 0 at the end. A directory removed meanwhile is at its end.
pub fn directory_entries(dir: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is writable and its length is given.
    let filled =
        unsafe { libc::syscall(libc::SYS_getdents64, dir.as_fd().as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) };
    match usize::try_from(filled) {
        Ok(filled) => Ok(filled),
        Err(_) if Errno::last() == Errno::ENOENT => Ok(0),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn metadata_by_descriptor() {
        let file = tempfile::tempfile().unwrap();
        chmod(&file, 0o100_640).unwrap();
        set_times(&file, Some((-5, 7)), Some((4_000_000_000, 999_999_999))).unwrap();
        let meta = file.metadata().unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o640);
        assert_eq!((meta.atime(), meta.atime_nsec()), (-5, 7));
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (4_000_000_000, 999_999_999));
        set_times(&file, None, Some((1, 2))).unwrap();
        let meta = file.metadata().unwrap();
        assert_eq!((meta.atime(), meta.mtime(), meta.mtime_nsec()), (-5, 1, 2));
        chown(&file, None, None).unwrap();
        assert_eq!(file.metadata().unwrap().uid(), meta.uid());
    }

    #[test]
    fn data_by_offset() {
        let file = tempfile::tempfile().unwrap();
        write_all_at(&file, b"world", 6).unwrap();
        write_all_at(&file, b"hello", 0).unwrap();
        let mut buffer = [1; 20];
        assert_eq!(read_at(&file, &mut buffer, 0).unwrap(), 11);
        assert_eq!(&buffer[..11], b"hello\0world");
        truncate(&file, 3).unwrap();
        assert_eq!(read_at(&file, &mut buffer, 0).unwrap(), 3);
        assert_eq!(read_at(&file, &mut buffer, 3).unwrap(), 0);
        assert_eq!(read_at(&file, &mut buffer, u64::MAX).unwrap_err().raw_os_error(), Some(libc::EFBIG));
        sync(&file).unwrap();
    }
}
