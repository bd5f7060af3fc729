//! Reading a directory: names and types as the kernel hands them out, a buffer at a time, nothing allocated a name.

use std::{io, os::fd::AsFd};

use crate::sys::file;

/// Room for the entries of one system call.
const BUFFER: usize = 64 * 1024;

/// A reader of directory entries. It can be used for one directory after another and keeps its buffer.
///
/// A directory is read by [`Scan::start`] and then [`Scan::next`] with its handle (see `Root::open_dir`) until `None`.
#[derive(Default)]
pub struct Scan {
    buffer: Box<[u8]>,
    at: usize,
    filled: usize,
}

/// An entry's type as far as the directory itself tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    File,
    Dir,
    Symlink,
    Device,
    /// Pipe or socket.
    Special,
    /// The file system does not say: ask with `stat`.
    Unknown,
}

/// One entry; `.` and `..` are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item<'a> {
    /// Never empty, without NUL and slash.
    pub name: &'a [u8],
    pub kind: Kind,
    pub ino: u64,
}

impl Scan {
    /// Forgets what is left of the last directory. The next one's handle must be freshly opened.
    pub fn start(&mut self) {
        self.at = 0;
        self.filled = 0;
    }

    /// The next entry of the directory open for reading as `dir`; `None` at the end.
    pub fn next(&mut self, dir: impl AsFd) -> io::Result<Option<Item<'_>>> {
        loop {
            if self.at >= self.filled {
                if self.buffer.is_empty() {
                    self.buffer = vec![0; BUFFER].into();
                }
                self.at = 0;
                self.filled = file::directory_entries(dir.as_fd(), &mut self.buffer)?;
                if self.filled == 0 {
                    return Ok(None);
                }
            }
            let record = self.buffer.get(self.at..self.filled).unwrap_or_default();
            let Some((len, ino, kind, name)) = decode(record) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            let start = self.at + NAME;
            let name = start..start + name.len();
            self.at += len;
            match self.buffer.get(name.clone()) {
                Some(b"." | b".." | b"") | None => {}
                // A file system that invents such names must not lead us elsewhere.
                Some(found) if memchr::memchr(b'/', found).is_some() => return Err(io::ErrorKind::InvalidData.into()),
                Some(_) => {
                    let name = self.buffer.get(name).unwrap_or_default();
                    return Ok(Some(Item { name, kind, ino }));
                }
            }
        }
    }
}

/// Where the name begins in a record: after inode (8 bytes), position (8), record length (2) and type (1).
const NAME: usize = 19;

/// Reads one `linux_dirent64`: (record length, inode, type, name).
fn decode(record: &[u8]) -> Option<(usize, u64, Kind, &[u8])> {
    let ino = u64::from_ne_bytes(*record.first_chunk()?);
    let len = usize::from(u16::from_ne_bytes(*record.get(16..)?.first_chunk()?));
    let kind = match *record.get(18)? {
        libc::DT_REG => Kind::File,
        libc::DT_DIR => Kind::Dir,
        libc::DT_LNK => Kind::Symlink,
        libc::DT_BLK | libc::DT_CHR => Kind::Device,
        libc::DT_FIFO | libc::DT_SOCK => Kind::Special,
        _ => Kind::Unknown,
    };
    let name = record.get(NAME..len)?;
    Some((len, ino, kind, name.get(..memchr::memchr(0, name)?)?))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fs::{self, File},
        os::unix::{ffi::OsStrExt, fs::DirEntryExt},
    };

    use super::*;

    fn names(scan: &mut Scan, dir: &File) -> BTreeMap<Vec<u8>, (Kind, u64)> {
        let mut found = BTreeMap::new();
        scan.start();
        while let Some(item) = scan.next(dir).unwrap() {
            assert!(found.insert(item.name.to_vec(), (item.kind, item.ino)).is_none());
        }
        found
    }

    #[test]
    fn finds_what_the_standard_library_finds() {
        let temp = tempfile::tempdir().unwrap();
        for index in 0..3000 {
            File::create(temp.path().join(format!("a-name-long-enough-to-need-several-buffers-{index}"))).unwrap();
        }
        fs::create_dir(temp.path().join("dir")).unwrap();
        std::os::unix::fs::symlink("x", temp.path().join("link")).unwrap();
        std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
        File::create(temp.path().join(std::ffi::OsStr::from_bytes(b"\xff\n\x01"))).unwrap();
        let mut want = BTreeMap::new();
        for entry in fs::read_dir(temp.path()).unwrap().map(Result::unwrap) {
            let kind = match entry.file_type().unwrap() {
                kind if kind.is_file() => Kind::File,
                kind if kind.is_dir() => Kind::Dir,
                kind if kind.is_symlink() => Kind::Symlink,
                _ => Kind::Special,
            };
            want.insert(entry.file_name().as_bytes().to_vec(), (kind, entry.ino()));
        }
        let mut scan = Scan::default();
        assert_eq!(names(&mut scan, &File::open(temp.path()).unwrap()), want);
        // Half a directory leaves nothing behind for the next one.
        scan.start();
        scan.next(File::open(temp.path()).unwrap()).unwrap();
        let empty = tempfile::tempdir().unwrap();
        assert!(names(&mut scan, &File::open(empty.path()).unwrap()).is_empty());
    }

    #[test]
    fn a_directory_removed_meanwhile_is_at_its_end() {
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        drop(temp);
        assert!(names(&mut Scan::default(), &dir).is_empty());
    }

    #[test]
    fn what_is_no_directory_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Scan::default().next(&file).unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
    }

    #[test]
    fn broken_records_are_refused() {
        let mut record = vec![0; 32];
        record[16] = 32;
        record[19..22].copy_from_slice(b"abc");
        assert_eq!(decode(&record).map(|(len, _, _, name)| (len, name)), Some((32, &b"abc"[..])));
        for len in [0, 5, 18, 19, 33, 255] {
            record[16] = len;
            assert!(decode(&record).is_none(), "{len}");
        }
        record[16] = 32;
        record[19..].fill(b'x');
        assert!(decode(&record).is_none());
        assert!(decode(&record[..10]).is_none());
    }
}
