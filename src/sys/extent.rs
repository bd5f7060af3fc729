//! Where a file's bytes lie: holes, reserved space, and copies that the file system makes itself.

use std::{io, os::fd::AsFd};

use nix::{
    errno::Errno,
    fcntl::{self, FallocateFlags},
    unistd::{Whence, lseek},
};

use super::file::{again, file_offset};

/// Reserves space for `len` bytes at `offset`; the file's size grows with it unless `keep_size`.
pub fn allocate(fd: impl AsFd, offset: u64, len: u64, keep_size: bool) -> io::Result<()> {
    let flags = if keep_size { FallocateFlags::FALLOC_FL_KEEP_SIZE } else { FallocateFlags::empty() };
    fallocate(fd, flags, offset, len)
}

/// Gives the space of a range back; it reads as zeros afterwards, and the size stays.
pub fn punch_hole(fd: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    fallocate(fd, FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, len)
}

/// Makes a range read as zeros without writing them, its space kept.
pub fn zero_range(fd: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    fallocate(fd, FallocateFlags::FALLOC_FL_ZERO_RANGE, offset, len)
}

fn fallocate(fd: impl AsFd, flags: FallocateFlags, offset: u64, len: u64) -> io::Result<()> {
    let (offset, len) = (file_offset(offset)?, file_offset(len)?);
    again(|| fcntl::fallocate(fd.as_fd(), flags, offset, len))
}

/// The next stretch of data at or after `offset`: (start, end). `None` from there on there is only hole, or the end.
///
/// A file system without such knowledge reports everything as data.
pub fn next_data(fd: impl AsFd, offset: u64) -> io::Result<Option<(u64, u64)>> {
    let fd = fd.as_fd();
    let start = match lseek(fd, file_offset(offset)?, Whence::SeekData) {
        Err(Errno::ENXIO) => return Ok(None),
        other => other?,
    };
    let end = lseek(fd, start, Whence::SeekHole)?;
    Ok(Some((start.max(0) as u64, end.max(0) as u64)))
}

/// Copies up to `len` bytes within the kernel, between these offsets; returns how many, 0 at the end of `from`.
///
/// # Errors
/// `EXDEV`, `EOPNOTSUPP`, `EINVAL`, `ENOSYS` where it cannot be done for these files: copy by hand then.
pub fn copy_range(from: impl AsFd, from_at: u64, to: impl AsFd, to_at: u64, len: usize) -> io::Result<usize> {
    let (mut source, mut target) = (file_offset(from_at)?, file_offset(to_at)?);
    again(|| fcntl::copy_file_range(from.as_fd(), Some(&mut source), to.as_fd(), Some(&mut target), len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::file::{read_at, truncate, write_all_at};

    #[test]
    fn stretches_of_data_are_found() {
        let file = tempfile::tempfile().unwrap();
        truncate(&file, 4 << 20).unwrap();
        write_all_at(&file, &[1; 4096], 1 << 20).unwrap();
        let Some((start, end)) = next_data(&file, 0).unwrap() else { panic!("no data") };
        assert!(start <= 1 << 20 && end >= (1 << 20) + 4096);
        assert_eq!(next_data(&file, 4 << 20).unwrap(), None);
    }

    #[test]
    fn holes_read_as_zeros_and_space_is_reserved() {
        let file = tempfile::tempfile().unwrap();
        write_all_at(&file, &[1; 3 * 65536], 0).unwrap();
        match punch_hole(&file, 65536, 65536) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return,
            other => other.unwrap(),
        }
        let mut bytes = vec![9; 3 * 65536];
        read_at(&file, &mut bytes, 0).unwrap();
        assert!(bytes[..65536].iter().all(|&byte| byte == 1));
        assert!(bytes[65536..131_072].iter().all(|&byte| byte == 0));
        assert!(bytes[131_072..].iter().all(|&byte| byte == 1));
        allocate(&file, 0, 1 << 20, true).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3 * 65536);
        allocate(&file, 0, 1 << 20, false).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1 << 20);
    }

    #[test]
    fn the_kernel_copies_ranges() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        write_all_at(&from, b"0123456789", 0).unwrap();
        match copy_range(&from, 2, &to, 5, 100) {
            Err(error) => assert!(matches!(error.raw_os_error(), Some(libc::EXDEV | libc::EOPNOTSUPP | libc::ENOSYS))),
            Ok(count) => {
                assert_eq!(count, 8);
                let mut bytes = [0; 13];
                assert_eq!(read_at(&to, &mut bytes, 0).unwrap(), 13);
                assert_eq!(&bytes, b"\0\0\0\0\x0023456789");
                assert_eq!(copy_range(&from, 10, &to, 0, 100).unwrap(), 0);
            }
        }
    }
}
