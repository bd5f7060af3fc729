//! Calls on (open directory, name): the only way a tree is touched.
//!
//! Names are C strings without a slash in ordinary use; `with_name` makes one on the stack. Handles are close-on-exec.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    errno::Errno,
    fcntl::{self, AtFlags, OFlag},
    sys::{
        stat::{self, FchmodatFlags, Mode, SFlag, UtimensatFlags},
        time::TimeSpec,
    },
    unistd::{self, Gid, LinkatFlags, Uid, UnlinkatFlags},
};

pub use nix::fcntl::AT_FDCWD as CWD;

/// A point in time as (seconds since the epoch, nanoseconds).
pub type Time = (i64, u32);

/// Names up to this long are terminated on the stack.
const STACK_NAME: usize = 384;

/// Calls `act` with `name` as a C string; `EINVAL` if it holds a NUL byte.
pub fn with_name<T>(name: &[u8], act: impl FnOnce(&CStr) -> io::Result<T>) -> io::Result<T> {
    if name.len() >= STACK_NAME {
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        return act(&name);
    }
    let mut buffer = MaybeUninit::<[u8; STACK_NAME]>::uninit();
    let start = buffer.as_mut_ptr().cast::<u8>();
    // SAFETY: `name.len() < STACK_NAME`, so the bytes and the NUL after them lie inside `buffer`, which no one else
    // sees; the slice covers only what was just written.
    let terminated = unsafe {
        start.copy_from_nonoverlapping(name.as_ptr(), name.len());
        start.add(name.len()).write(0);
        std::slice::from_raw_parts(start, name.len() + 1)
    };
    act(CStr::from_bytes_with_nul(terminated).map_err(|_| Errno::EINVAL)?)
}

/// Opens with `flags` (`O_*`, close-on-exec added); `mode` matters when creating.
pub fn open(dir: BorrowedFd<'_>, name: &CStr, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_CLOEXEC;
    loop {
        match fcntl::openat(dir, name, flags, Mode::from_bits_retain(mode)) {
            Err(Errno::EINTR) => continue,
            other => return Ok(other?),
        }
    }
}

/// A handle on a directory for use as `dir` elsewhere; a link is followed by the kernel.
pub fn open_dir_handle(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    open(dir, name, libc::O_PATH | libc::O_DIRECTORY, 0)
}

/// A handle on whatever bears the name, a link included.
pub fn open_handle(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    open(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0)
}

/// A directory handle reached without following any link in `path`; `ELOOP` where there is one.
///
/// With `beneath`, `..` cannot leave `dir` (`EXDEV`). `None` where the kernel has no such call.
pub fn open_dir_without_links(dir: BorrowedFd<'_>, path: &CStr, beneath: bool) -> Option<io::Result<OwnedFd>> {
    static MISSING: AtomicBool = AtomicBool::new(false);
    if MISSING.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: all-zero is a valid `open_how`: integers only.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    if beneath {
        how.resolve |= libc::RESOLVE_BENEATH;
    }
    loop {
        // SAFETY: `path` is NUL-terminated, `how` lives across the call and its size is given.
        let fd = unsafe {
            libc::syscall(libc::SYS_openat2, dir.as_raw_fd(), path.as_ptr(), &raw const how, size_of_val(&how))
        };
        if fd >= 0 {
            // SAFETY: a fresh descriptor that nobody else owns.
            return Some(Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }));
        }
        match Errno::last() {
            Errno::EINTR | Errno::EAGAIN => continue,
            // Sandboxes refuse calls they do not know with EPERM; the call itself never does for such handles.
            Errno::ENOSYS | Errno::EPERM | Errno::E2BIG => {
                MISSING.store(true, Ordering::Relaxed);
                return None;
            }
            errno => return Some(Err(errno.into())),
        }
    }
}

pub fn mkdir(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> io::Result<()> {
    Ok(stat::mkdirat(dir, name, Mode::from_bits_retain(mode))?)
}

pub fn symlink(target: &CStr, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    Ok(unistd::symlinkat(target, dir, name)?)
}

/// Makes a node of the type in `mode`; `rdev` (major, minor) matters for devices.
pub fn mknod(dir: BorrowedFd<'_>, name: &CStr, mode: u32, rdev: (u32, u32)) -> io::Result<()> {
    let kind = SFlag::from_bits_truncate(mode & libc::S_IFMT);
    let permissions = Mode::from_bits_retain(mode & !libc::S_IFMT);
    Ok(stat::mknodat(dir, name, kind, permissions, super::stat::make_device(rdev))?)
}

/// A further name for the inode itself, also when that is a link.
pub fn link(from: BorrowedFd<'_>, old: &CStr, to: BorrowedFd<'_>, new: &CStr) -> io::Result<()> {
    Ok(unistd::linkat(from, old, to, new, LinkatFlags::empty())?)
}

pub fn rename(from: BorrowedFd<'_>, old: &CStr, to: BorrowedFd<'_>, new: &CStr) -> io::Result<()> {
    Ok(fcntl::renameat(from, old, to, new)?)
}

pub fn unlink(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    Ok(unistd::unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?)
}

pub fn rmdir(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    Ok(unistd::unlinkat(dir, name, UnlinkatFlags::RemoveDir)?)
}

/// Where a link points, into `target` (cleared first, its room reused). An empty `name` reads the link that `dir` is
/// a handle on.
pub fn read_link(dir: BorrowedFd<'_>, name: &CStr, target: &mut Vec<u8>) -> io::Result<()> {
    target.clear();
    target.reserve(256);
    loop {
        let room = target.spare_capacity_mut();
        let room_len = room.len();
        // SAFETY: the buffer is `room_len` writable bytes; the kernel fills at most that many.
        let len = unsafe { libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), room.as_mut_ptr().cast(), room.len()) };
        let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
        if len < room_len {
            // SAFETY: the vector is empty and the kernel wrote its first `len` bytes.
            unsafe { target.set_len(len) };
            return Ok(());
        }
        target.reserve(room_len * 2);
    }
}

/// Changes permissions without following a link; `ELOOP` for a link, as from any call that meets one it may not follow.
pub fn chmod(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> io::Result<()> {
    let permissions = Mode::from_bits_retain(mode & 0o7777);
    let done = match stat::fchmodat(dir, name, permissions, FchmodatFlags::NoFollowSymlink) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => chmod_by_kernel(dir, name, mode),
        other => other.map_err(io::Error::from),
    };
    // For a link the kernel has the word that it has for a file system without permissions.
    match done {
        Err(error)
            if error.raw_os_error() == Some(libc::EOPNOTSUPP)
                && super::stat::lstat_at(dir, name).is_ok_and(|stat| stat.is_symlink()) =>
        {
            Err(Errno::ELOOP.into())
        }
        other => other,
    }
}

/// Changes permissions of what the name leads to by the kernel's rules.
pub fn chmod_follow(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> io::Result<()> {
    let permissions = Mode::from_bits_retain(mode & 0o7777);
    Ok(stat::fchmodat(dir, name, permissions, FchmodatFlags::FollowSymlink)?)
}

/// For a libc that has no way to do it (its own may want a mounted /proc): the system call of Linux 6.6.
fn chmod_by_kernel(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: `name` is NUL-terminated, the rest are integers.
    let failed = unsafe {
        libc::syscall(libc::SYS_fchmodat2, dir.as_raw_fd(), name.as_ptr(), mode & 0o7777, libc::AT_SYMLINK_NOFOLLOW)
    };
    match failed {
        0 => Ok(()),
        _ if Errno::last() == Errno::ENOSYS => Err(Errno::EOPNOTSUPP.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Changes owner and group (`None`: as it is) without following a link.
pub fn chown(dir: BorrowedFd<'_>, name: &CStr, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    Ok(unistd::fchownat(dir, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)?)
}

/// Sets access and modification time (`None`: as it is) without following a link.
pub fn set_times(dir: BorrowedFd<'_>, name: &CStr, atime: Option<Time>, mtime: Option<Time>) -> io::Result<()> {
    let (atime, mtime) = (time_spec(atime), time_spec(mtime));
    Ok(stat::utimensat(dir, name, &atime, &mtime, UtimensatFlags::NoFollowSymlink)?)
}

pub(super) fn time_spec(time: Option<Time>) -> TimeSpec {
    match time {
        Some((sec, nsec)) => TimeSpec::new(sec, nsec.into()),
        None => TimeSpec::UTIME_OMIT,
    }
}

/// [`chmod`] of the file behind a handle, which may be `O_PATH`.
pub fn chmod_handle(fd: impl AsFd, mode: u32) -> io::Result<()> {
    let permissions = Mode::from_bits_retain(mode & 0o7777);
    Ok(stat::fchmodat(CWD, proc_path(fd).as_c_str(), permissions, FchmodatFlags::FollowSymlink)?)
}

/// [`chown`] of the file behind a handle, which may be `O_PATH`.
pub fn chown_handle(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    Ok(unistd::fchownat(fd, c"", uid.map(Uid::from_raw), gid.map(Gid::from_raw), AtFlags::AT_EMPTY_PATH)?)
}

/// [`set_times`] of the file behind a handle, which may be `O_PATH`.
pub fn set_times_handle(fd: impl AsFd, atime: Option<Time>, mtime: Option<Time>) -> io::Result<()> {
    let (atime, mtime) = (time_spec(atime), time_spec(mtime));
    let path = proc_path(fd);
    Ok(stat::utimensat(CWD, path.as_c_str(), &atime, &mtime, UtimensatFlags::FollowSymlink)?)
}

/// The path by which the kernel reaches the very file behind a handle: for calls that take no `O_PATH` handle.
pub fn proc_path(fd: impl AsFd) -> CString {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    CString::new(path).unwrap_or_default() // digits hold no NUL
}

/// Opens for reading, writing … a file whose handle is already held.
pub fn reopen(fd: impl AsFd, flags: i32) -> io::Result<File> {
    Ok(open(CWD, &proc_path(fd), flags, 0)?.into())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn names_of_every_length_are_terminated() {
        for len in [0, 1, STACK_NAME - 1, STACK_NAME, STACK_NAME + 1, 5000] {
            let name = vec![b'n'; len];
            with_name(&name, |c| {
                assert_eq!(c.to_bytes(), name);
                Ok(())
            })
            .unwrap();
            let mut bad = name.clone();
            bad.insert(len / 2, 0);
            let error = with_name(&bad, |_| Ok(())).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }
    }

    #[test]
    fn chmod_leaves_what_a_link_points_to_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("file", temp.path().join("link")).unwrap();
        fs::set_permissions(temp.path().join("file"), fs::Permissions::from_mode(0o600)).unwrap();
        let dir = File::open(temp.path()).unwrap();
        let error = chmod(dir.as_fd(), c"link", 0o777).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        let mode = || fs::metadata(temp.path().join("file")).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(), 0o600);
        chmod(dir.as_fd(), c"file", 0o4751).unwrap();
        assert_eq!(mode(), 0o4751);
        chmod_by_kernel(dir.as_fd(), c"file", 0o640).unwrap();
        assert_eq!(mode(), 0o640);
        assert!(chmod_by_kernel(dir.as_fd(), c"link", 0o777).is_err());
    }

    #[test]
    fn long_link_targets_are_read_whole() {
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        let mut target = Vec::new();
        for len in [1, 255, 256, 257, 600, 4095] {
            let want = vec![b't'; len];
            with_name(&want, |want| symlink(want, dir.as_fd(), c"link")).unwrap();
            read_link(dir.as_fd(), c"link", &mut target).unwrap();
            assert_eq!(target, want);
            let handle = open_handle(dir.as_fd(), c"link").unwrap();
            read_link(handle.as_fd(), c"", &mut target).unwrap();
            assert_eq!(target, want);
            unlink(dir.as_fd(), c"link").unwrap();
        }
    }
}
