//! A local file's data straight from the open source into the destination, without passing the wire.
//!
//! Small files are read and written: that is two calls, and quicker than asking the kernel to copy. Large ones go
//! through `copy_file_range`, which shares the blocks (reflink) where the file system can and otherwise copies within
//! the kernel. A file written sparsely is always read, since its zeros must be found; the holes of a large source are
//! asked for and skipped.
//!
//! [`SMALL`] is also a promise: the data of a file up to that size is read with `read(2)` from the beginning, where
//! tools that stand between a program and its reads can see it.

use std::{fs::File, io};

use super::write::Writer;
use crate::sys::{extent, file};

/// Up to this size a file is read with `read(2)`.
pub const SMALL: u64 = 4 << 20;
/// What the kernel is asked to copy at once: also how often progress is shown and an interruption noticed.
const PIECE: u64 = 16 << 20;

/// Why a copy did not end.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("read failed: {0}")]
    Read(io::Error),
    #[error("write failed: {0}")]
    Write(io::Error),
    /// The progress callback said so.
    #[error("stopped")]
    Stopped,
}

/// A stretch of a source file. Up to [`SMALL`] its position is where the stretch begins.
#[derive(Clone, Copy, Debug)]
pub struct Stretch<'a> {
    pub file: &'a File,
    pub start: u64,
    pub len: u64,
}

/// Appends a stretch of an open file. `progress` gets the bytes done so far after each piece and says whether to go on.
///
/// Returns how many bytes there were: fewer than asked for if the source has shrunk meanwhile.
pub fn copy(from: Stretch<'_>, to: &mut Writer<'_>, progress: &mut dyn FnMut(u64) -> bool) -> Result<u64, CopyError> {
    let mut copying = Copying { from, to, done: 0, progress };
    if from.len <= SMALL {
        copying.by_reading(from.len, true)?;
    } else if copying.to.layout().sparse {
        copying.sparsely()?;
    } else {
        copying.in_kernel()?;
    }
    Ok(copying.done)
}

struct Copying<'c, 'w> {
    from: Stretch<'c>,
    to: &'c mut Writer<'w>,
    done: u64,
    progress: &'c mut dyn FnMut(u64) -> bool,
}

impl Copying<'_, '_> {
    fn advance(&mut self, bytes: u64) -> Result<(), CopyError> {
        self.done += bytes;
        if (self.progress)(self.done) { Ok(()) } else { Err(CopyError::Stopped) }
    }

    fn in_kernel(&mut self) -> Result<(), CopyError> {
        self.to.flush().map_err(CopyError::Write)?;
        while self.done < self.from.len {
            let piece = (self.from.len - self.done).min(PIECE) as usize;
            let (at, target) = (self.from.start + self.done, self.to.position());
            match extent::copy_range(self.from.file, at, self.to.file(), target, piece) {
                // The end, or a file system that cannot say: reading will tell.
                Ok(0) => return self.by_reading(self.from.len, false),
                Ok(copied) => {
                    self.to.filled(copied as u64);
                    self.advance(copied as u64)?;
                }
                Err(error) if is_full(&error) => return Err(CopyError::Write(error)),
                Err(_) => return self.by_reading(self.from.len, false),
            }
        }
        Ok(())
    }

    fn sparsely(&mut self) -> Result<(), CopyError> {
        while self.done < self.from.len {
            let at = self.from.start + self.done;
            let (hole, data) = match extent::next_data(self.from.file, at) {
                Ok(Some((start, end))) => (start.saturating_sub(at), end.saturating_sub(start)),
                // No more data; but whether the file is still that long, only reading its last byte tells.
                Ok(None) => ((self.from.len - self.done).saturating_sub(1), 1),
                Err(_) => (0, self.from.len),
            };
            let hole = hole.min(self.from.len - self.done);
            self.to.zeros(hole).map_err(CopyError::Write)?;
            self.done += hole;
            let end = self.done.saturating_add(data).min(self.from.len);
            self.by_reading(end, false)?;
            if self.done < end {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads and writes until `end` bytes are done or the source ends.
    fn by_reading(&mut self, end: u64, in_order: bool) -> Result<(), CopyError> {
        let mut room = self.to.take_scratch();
        let result = self.read_pieces(end, in_order, &mut room);
        self.to.return_scratch(room);
        result
    }

    fn read_pieces(&mut self, end: u64, in_order: bool, room: &mut [u8]) -> Result<(), CopyError> {
        while self.done < end {
            let wanted = room.len().min(usize::try_from(end - self.done).unwrap_or(usize::MAX));
            let piece = room.get_mut(..wanted).unwrap_or_default();
            let read = match in_order {
                true => file::read(self.from.file, piece),
                false => file::read_at(self.from.file, piece, self.from.start + self.done),
            };
            let read = match read {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CopyError::Read(error)),
            };
            let data = room.get(..read).unwrap_or_default();
            self.to.write_through(data).map_err(CopyError::Write)?;
            self.advance(read as u64)?;
        }
        Ok(())
    }
}

/// No room at the destination, rather than no way to copy in the kernel.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use super::*;
    use crate::dest::write::{Layout, WriteBuffer};

    /// Copies between files in the given directories; returns the result, what arrived and the blocks it takes.
    fn copied(content: &[u8], hole_at_end: u64, len: u64, sparse: bool, dirs: [&str; 2]) -> (u64, Vec<u8>, u64) {
        let [from, to] = dirs.map(|dir| tempfile::tempdir_in(dir).unwrap());
        let path = from.path().join("from");
        fs::write(&path, content).unwrap();
        let source = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        source.set_len(content.len() as u64 + hole_at_end).unwrap();
        let target = File::create_new(to.path().join("to")).unwrap();
        let mut buffer = WriteBuffer::default();
        let mut writer = Writer::new(&target, Layout { sparse, ..Layout::default() }, &mut buffer);
        let mut last = 0;
        let stretch = Stretch { file: &source, start: 0, len };
        let done = copy(stretch, &mut writer, &mut |done| {
            assert!(done > last);
            last = done;
            true
        })
        .unwrap();
        writer.finish().unwrap();
        target.sync_all().unwrap();
        let arrived = fs::read(to.path().join("to")).unwrap();
        (done, arrived, target.metadata().unwrap().blocks())
    }

    const PLACES: [[&str; 2]; 3] = [["/tmp", "/tmp"], ["/dev/shm", "/dev/shm"], ["/dev/shm", "/tmp"]];

    #[test]
    fn all_ways_give_the_same_content() {
        let content: Vec<u8> = (0..SMALL as usize + 12_345).map(|at| (at % 251) as u8).collect();
        for dirs in PLACES {
            for sparse in [false, true] {
                for len in [0, 1, 4096, SMALL as usize, content.len()] {
                    let (done, arrived, _) = copied(&content[..len], 0, len as u64, sparse, dirs);
                    assert_eq!(done, len as u64);
                    assert!(arrived == content[..len], "{len} {sparse} {dirs:?}");
                }
            }
        }
    }

    #[test]
    fn a_source_that_shrank_is_noticed() {
        for len in [1000, SMALL + 1000] {
            for sparse in [false, true] {
                let (done, arrived, _) = copied(&[7; 600], 0, len, sparse, ["/tmp", "/tmp"]);
                assert!(done < len, "{len} {sparse}");
                assert!(arrived.starts_with(&[7; 600]));
            }
        }
    }

    #[test]
    fn holes_stay_holes_when_asked_for() {
        for dirs in PLACES {
            let (done, arrived, blocks) = copied(&[7; 5000], 8 << 20, 5000 + (8 << 20), true, dirs);
            assert_eq!(done, 5000 + (8 << 20));
            assert!(arrived[..5000] == [7; 5000] && arrived[5000..].iter().all(|&byte| byte == 0));
            assert!(blocks * 512 < 1 << 20, "{blocks} {dirs:?}");
        }
    }

    #[test]
    fn a_sparse_copy_of_a_source_cut_in_its_hole_is_short() {
        let (done, ..) = copied(&[7; 5000], 1 << 20, 8 << 20, true, ["/tmp", "/tmp"]);
        assert!(done < 8 << 20);
    }

    #[test]
    fn the_progress_callback_can_stop_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("from"), vec![1; 600_000]).unwrap();
        let source = File::open(dir.path().join("from")).unwrap();
        let target = File::create_new(dir.path().join("to")).unwrap();
        let mut buffer = WriteBuffer::default();
        let mut writer = Writer::new(&target, Layout::default(), &mut buffer);
        let stretch = Stretch { file: &source, start: 0, len: 600_000 };
        assert!(matches!(copy(stretch, &mut writer, &mut |_| false), Err(CopyError::Stopped)));
    }
}
