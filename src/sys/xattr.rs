//! Extended attributes: listed, read, set and removed.
//!
//! No kernel call takes a directory and a name, or an `O_PATH` handle. A handle is reached by its name in procfs, and a
//! file by that of its directory's handle and its own; a link at the end is never followed.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// No value and no list of names is longer. C: XATTR_SIZE_MAX, XATTR_LIST_MAX of the kernel
const MAX: usize = 65_536;

/// What is read into before there is need for more.
const FIRST: usize = 1024;

/// What has the attributes.
#[derive(Clone, Copy)]
pub enum On<'a> {
    /// An open file.
    Open(BorrowedFd<'a>),
    /// What a handle is on: a link, a device, anything; `O_PATH` handles work only this way.
    Handle(BorrowedFd<'a>),
    /// The file of a name in a directory, a link itself.
    Named(BorrowedFd<'a>, &'a CStr),
}

impl<'a> From<BorrowedFd<'a>> for On<'a> {
    fn from(fd: BorrowedFd<'a>) -> Self {
        Self::Handle(fd)
    }
}

/// As the kernel takes it.
enum Way {
    Fd(i32),
    /// The last component is not followed, unless it is the handle's own.
    Path(CString, bool),
}

impl On<'_> {
    fn way(self) -> io::Result<Way> {
        let (fd, name) = match self {
            Self::Open(fd) => return Ok(Way::Fd(fd.as_raw_fd())),
            Self::Handle(fd) => (fd, None),
            Self::Named(fd, name) => (fd, Some(name)),
        };
        let mut path = format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes();
        if let Some(name) = name {
            path.push(b'/');
            path.extend(name.to_bytes());
        }
        Ok(Way::Path(CString::new(path)?, name.is_none()))
    }
}

/// The names, each with the NUL that ends it.
pub fn list<'a>(on: impl Into<On<'a>>) -> io::Result<Vec<u8>> {
    let way = on.into().way()?;
    read(|room| {
        let (start, len) = (room.as_mut_ptr().cast(), room.len());
        // SAFETY: strings are NUL-terminated; the buffer is as long as is said.
        unsafe {
            match &way {
                Way::Fd(fd) => libc::flistxattr(*fd, start, len),
                Way::Path(path, true) => libc::listxattr(path.as_ptr(), start, len),
                Way::Path(path, false) => libc::llistxattr(path.as_ptr(), start, len),
            }
        }
    })
}

/// A value.
pub fn get<'a>(on: impl Into<On<'a>>, name: &CStr) -> io::Result<Vec<u8>> {
    let (way, name) = (on.into().way()?, name.as_ptr());
    read(|room| {
        let (start, len) = (room.as_mut_ptr().cast(), room.len());
        // SAFETY: strings are NUL-terminated; the buffer is as long as is said.
        unsafe {
            match &way {
                Way::Fd(fd) => libc::fgetxattr(*fd, name, start, len),
                Way::Path(path, true) => libc::getxattr(path.as_ptr(), name, start, len),
                Way::Path(path, false) => libc::lgetxattr(path.as_ptr(), name, start, len),
            }
        }
    })
}

/// Makes or replaces an attribute.
pub fn set<'a>(on: impl Into<On<'a>>, name: &CStr, value: &[u8]) -> io::Result<()> {
    let (name, start, len) = (name.as_ptr(), value.as_ptr().cast(), value.len());
    let way = on.into().way()?;
    // SAFETY: strings are NUL-terminated; the value is as long as is said.
    done(unsafe {
        match &way {
            Way::Fd(fd) => libc::fsetxattr(*fd, name, start, len, 0),
            Way::Path(path, true) => libc::setxattr(path.as_ptr(), name, start, len, 0),
            Way::Path(path, false) => libc::lsetxattr(path.as_ptr(), name, start, len, 0),
        }
    })
}

/// Removes an attribute; one that is not there is `ENODATA`.
pub fn remove<'a>(on: impl Into<On<'a>>, name: &CStr) -> io::Result<()> {
    let way = on.into().way()?;
    // SAFETY: strings are NUL-terminated.
    done(unsafe {
        match &way {
            Way::Fd(fd) => libc::fremovexattr(*fd, name.as_ptr()),
            Way::Path(path, true) => libc::removexattr(path.as_ptr(), name.as_ptr()),
            Way::Path(path, false) => libc::lremovexattr(path.as_ptr(), name.as_ptr()),
        }
    })
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads with `call`, which says how much it wrote, once more with all the room there may be need of.
fn read(call: impl Fn(&mut [u8]) -> isize) -> io::Result<Vec<u8>> {
    let mut first = [0; FIRST];
    let tried = |len: isize| usize::try_from(len).map_err(|_| io::Error::last_os_error());
    match tried(call(&mut first)) {
        Ok(len) => return Ok(first.get(..len).unwrap_or(&first).to_vec()),
        Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {}
        Err(error) => return Err(error),
    }
    let mut room = vec![0; MAX];
    let len = tried(call(&mut room))?;
    room.truncate(len);
    room.shrink_to_fit();
    Ok(room)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd};

    use super::*;
    use crate::sys::at;

    /// A directory where attributes work; nothing to test where there is none.
    fn dir() -> Option<tempfile::TempDir> {
        let dir = tempfile::tempdir().unwrap();
        let open = File::open(dir.path()).unwrap();
        set(On::Open(open.as_fd()), c"user.probe", b"").ok().map(|()| dir)
    }

    fn works(on: On<'_>) {
        assert_eq!(list(on).unwrap(), b"");
        set(on, c"user.none", b"").unwrap();
        let long = vec![b'l'; FIRST + 1];
        set(on, c"user.long", &long).unwrap();
        assert_eq!(get(on, c"user.none").unwrap(), b"");
        assert_eq!(get(on, c"user.long").unwrap(), long);
        let mut names: Vec<_> = list(on).unwrap().split_inclusive(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
        names.sort();
        assert_eq!(names, [b"user.long\0", b"user.none\0"]);
        for name in [c"user.long", c"user.none"] {
            remove(on, name).unwrap();
            assert_eq!(remove(on, name).unwrap_err().raw_os_error(), Some(libc::ENODATA));
            assert_eq!(get(on, name).unwrap_err().raw_os_error(), Some(libc::ENODATA));
        }
    }

    #[test]
    fn attributes_are_reached_in_every_way() {
        let Some(dir) = dir() else { return };
        let open = File::create(dir.path().join("f")).unwrap();
        let above = File::open(dir.path()).unwrap();
        works(On::Open(open.as_fd()));
        works(On::Named(above.as_fd(), c"f"));
        works(On::Handle(at::open_handle(above.as_fd(), c"f").unwrap().as_fd()));
    }

    #[test]
    fn a_link_is_not_followed() {
        let Some(dir) = dir() else { return };
        std::fs::write(dir.path().join("f"), "").unwrap();
        std::os::unix::fs::symlink("f", dir.path().join("l")).unwrap();
        let above = File::open(dir.path()).unwrap();
        set(On::Named(above.as_fd(), c"f"), c"user.of-the-file", b"1").unwrap();
        let link = at::open_handle(above.as_fd(), c"l").unwrap();
        for on in [On::Named(above.as_fd(), c"l"), On::Handle(link.as_fd())] {
            assert!(list(on).unwrap().is_empty());
            assert!(set(on, c"user.x", b"1").is_err(), "links have none of the user's");
        }
    }

    #[test]
    fn long_lists_come_whole() {
        let Some(dir) = dir() else { return };
        let open = File::create(dir.path().join("f")).unwrap();
        let names: Vec<_> = (0..30).map(|number| CString::new(format!("user.{number:060}")).unwrap()).collect();
        for name in &names {
            if set(On::Open(open.as_fd()), name, b"").is_err() {
                return; // the file system has no room for so many
            }
        }
        assert_eq!(list(On::Open(open.as_fd())).unwrap().len(), 30 * 66);
    }
}
