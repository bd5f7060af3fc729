//! What the system knows about a file: one `Stat` for the whole house.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use nix::{
    fcntl::AtFlags,
    sys::stat::{FileStat, fstat, fstatat},
};

/// A file's metadata, times as (seconds since the epoch, nanoseconds).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// File type and permission bits, as `st_mode`.
    pub mode: u32,
    pub size: u64,
    pub mtime: (i64, u32),
    pub atime: (i64, u32),
    pub uid: u32,
    pub gid: u32,
    pub dev: u64,
    pub ino: u64,
    pub nlink: u64,
    /// Major and minor number of a device node; zeros for the rest.
    pub rdev: (u32, u32),
    /// Allocated space in units of 512 bytes.
    pub blocks: u64,
}

impl Stat {
    /// The file type bits alone: one of `S_IFREG`, `S_IFDIR`, …
    pub fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    pub fn is_dir(&self) -> bool {
        self.kind() == libc::S_IFDIR
    }

    pub fn is_file(&self) -> bool {
        self.kind() == libc::S_IFREG
    }

    pub fn is_symlink(&self) -> bool {
        self.kind() == libc::S_IFLNK
    }

    /// Block and character devices.
    pub fn is_device(&self) -> bool {
        matches!(self.kind(), libc::S_IFBLK | libc::S_IFCHR)
    }

    /// Named pipes and sockets.
    pub fn is_special(&self) -> bool {
        matches!(self.kind(), libc::S_IFIFO | libc::S_IFSOCK)
    }

    /// The permission bits with set-id and sticky: `mode & 07777`.
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// Whether both describe the same inode.
    pub fn same_file(&self, other: &Self) -> bool {
        self.dev == other.dev && self.ino == other.ino
    }
}

impl From<FileStat> for Stat {
    fn from(raw: FileStat) -> Self {
        Self {
            mode: raw.st_mode,
            size: raw.st_size.max(0) as u64,
            mtime: (raw.st_mtime, raw.st_mtime_nsec as u32),
            atime: (raw.st_atime, raw.st_atime_nsec as u32),
            uid: raw.st_uid,
            gid: raw.st_gid,
            dev: raw.st_dev,
            ino: raw.st_ino,
            #[allow(clippy::unnecessary_cast)] // 32 bits on some architectures
            nlink: raw.st_nlink as u64,
            rdev: match raw.st_mode & libc::S_IFMT {
                libc::S_IFBLK | libc::S_IFCHR => split_device(raw.st_rdev),
                _ => (0, 0),
            },
            blocks: raw.st_blocks.max(0) as u64,
        }
    }
}

/// Metadata of `name` in `dir`; a link itself, not what it points to.
pub fn lstat_at(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Stat> {
    Ok(fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?.into())
}

/// Metadata of `name` in `dir`, links followed by the kernel.
pub fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Stat> {
    Ok(fstatat(dir, name, AtFlags::empty())?.into())
}

/// Metadata of an open file, `O_PATH` handles included.
pub fn stat_fd(fd: impl AsFd) -> io::Result<Stat> {
    Ok(fstat(fd)?.into())
}

/// Whether a handle's file is the kernel's own, in procfs: its links lead to open files and cannot be planted.
pub fn is_procfs(fd: impl AsFd) -> bool {
    use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
    fstatfs(fd).is_ok_and(|system| system.filesystem_type() == PROC_SUPER_MAGIC)
}

/// Joins a device's major and minor number.
pub fn make_device((major, minor): (u32, u32)) -> u64 {
    libc::makedev(major, minor)
}

/// Splits a device number into major and minor.
pub fn split_device(dev: u64) -> (u32, u32) {
    (libc::major(dev), libc::minor(dev))
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::CString,
        fs::{self, File},
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::*;

    fn assert_same(stat: &Stat, meta: &fs::Metadata) {
        assert_eq!(stat.mode, meta.mode());
        assert_eq!(stat.size, meta.size());
        assert_eq!(stat.mtime, (meta.mtime(), meta.mtime_nsec() as u32));
        assert_eq!(stat.atime, (meta.atime(), meta.atime_nsec() as u32));
        assert_eq!((stat.uid, stat.gid), (meta.uid(), meta.gid()));
        assert_eq!((stat.dev, stat.ino, stat.nlink), (meta.dev(), meta.ino(), meta.nlink()));
        assert_eq!(stat.blocks, meta.blocks());
    }

    #[test]
    fn agrees_with_the_standard_library() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("file"), vec![7; 12_345]).unwrap();
        symlink("file", temp.path().join("link")).unwrap();
        let dir = File::open(temp.path()).unwrap();
        for name in ["file", "link"] {
            let path = temp.path().join(name);
            let cname = CString::new(name).unwrap();
            assert_same(&lstat_at(dir.as_fd(), &cname).unwrap(), &fs::symlink_metadata(&path).unwrap());
            assert_same(&stat_at(dir.as_fd(), &cname).unwrap(), &fs::metadata(&path).unwrap());
        }
        assert_same(&stat_fd(&dir).unwrap(), &dir.metadata().unwrap());
    }

    #[test]
    fn device_numbers_split_and_join() {
        let null = stat_fd(File::open("/dev/null").unwrap()).unwrap();
        assert!(null.is_device());
        assert_eq!(null.rdev, (1, 3));
        for pair in [(0, 0), (1, 3), (259, 0), (0xfff, 0xfffff), (8, 0x1_0001)] {
            assert_eq!(split_device(make_device(pair)), pair);
        }
    }
}
