//! Writing a file's new content in order: gathered to large writes, zeros turned to holes, matched data passed over.

use std::{fs::File, io, mem};

use crate::sys::{extent, file};

/// Small pieces are gathered up to this size.
const BUFFER: usize = 256 * 1024;
/// A piece this large is written from where it is.
const DIRECT: usize = 64 * 1024;
/// The shortest run of zeros inside data that becomes a hole. C: SPARSE_WRITE_SIZE
const HOLE: usize = 1024;
static ZEROS: [u8; 4096] = [0; 4096];

/// The room that writers borrow one after another, so that a file costs no allocation.
#[derive(Debug, Default)]
pub struct WriteBuffer {
    gathered: Vec<u8>,
    scratch: Vec<u8>,
}

/// How the file at hand is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layout {
    /// Runs of zeros become holes.
    pub sparse: bool,
    /// The file is its own basis: what lies at its place already is passed over.
    pub in_place: bool,
    /// Up to here the file has data or allocated room, so that a hole there must be punched.
    pub allocated: u64,
    /// A device: it has no length to set.
    pub device: bool,
}

/// A file being written from its beginning. Dropped without [`Writer::finish`], what was gathered is lost.
pub struct Writer<'a> {
    file: &'a File,
    layout: Layout,
    /// Where the next byte belongs.
    position: u64,
    /// Data not written yet, which belongs at `buffer_start`.
    buffer: &'a mut Vec<u8>,
    buffer_start: u64,
    /// Zeros up to `position` that may become a hole.
    zeros: u64,
    scratch: &'a mut Vec<u8>,
}

/// Why writing did not end well.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    #[error("write failed: {0}")]
    Write(io::Error),
    /// The content is there, followed by what stood or was reserved behind it.
    #[error("ftruncate failed: {0}")]
    Truncate(io::Error),
}

impl<'a> Writer<'a> {
    pub fn new(file: &'a File, layout: Layout, buffer: &'a mut WriteBuffer) -> Self {
        let WriteBuffer { gathered, scratch } = buffer;
        gathered.clear();
        Self { file, layout, position: 0, buffer: gathered, buffer_start: 0, zeros: 0, scratch }
    }

    /// Begins behind what the file has already (`--append`).
    pub fn start_at(&mut self, position: u64) {
        self.position = position;
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn file(&self) -> &'a File {
        self.file
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Appends data. C: fileio.c write_file
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        if self.layout.sparse { self.split(data, Self::put) } else { self.put(data) }
    }

    /// Passes over data that lies at its place already; zeros in it are still made holes. C: fileio.c skip_matched
    pub fn skip_matched(&mut self, data: &[u8]) -> io::Result<()> {
        if self.layout.sparse { self.split(data, Self::pass) } else { self.pass(data) }
    }

    /// Appends `len` zeros, as a hole if the file is written sparsely.
    pub(super) fn zeros(&mut self, mut len: u64) -> io::Result<()> {
        if self.layout.sparse {
            self.zeros += len;
            self.position += len;
            return Ok(());
        }
        while len > 0 {
            let piece = len.min(ZEROS.len() as u64);
            self.put(&ZEROS[..piece as usize])?;
            len -= piece;
        }
        Ok(())
    }

    /// As [`Writer::write`], for a piece not worth gathering.
    pub(super) fn write_through(&mut self, data: &[u8]) -> io::Result<()> {
        if self.layout.sparse || !self.buffer.is_empty() {
            return self.write(data);
        }
        file::write_all_at(self.file, data, self.position)?;
        self.position += data.len() as u64;
        Ok(())
    }

    /// Notes that the file received `len` bytes at `position` by other means; everything gathered was flushed.
    pub(super) fn filled(&mut self, len: u64) {
        self.position += len;
    }

    /// Room for reading, to be given back with [`Writer::return_scratch`].
    pub(super) fn take_scratch(&mut self) -> Vec<u8> {
        let mut scratch = mem::take(self.scratch);
        scratch.resize(BUFFER, 0);
        scratch
    }

    pub(super) fn return_scratch(&mut self, scratch: Vec<u8>) {
        *self.scratch = scratch;
    }

    /// Writes what was gathered, closes a last hole, sets the length. Returns it. C: fileio.c sparse_end
    pub fn finish(mut self) -> Result<u64, FinishError> {
        self.flush().map_err(FinishError::Write)?;
        let size = self.position;
        if self.zeros > 0 {
            self.punch(self.zeros).map_err(FinishError::Write)?;
            file::truncate(self.file, size).map_err(FinishError::Write)?;
        } else if !self.layout.device && (self.layout.in_place || self.layout.allocated > size) {
            file::truncate(self.file, size).map_err(FinishError::Truncate)?;
        }
        Ok(size)
    }

    /// Writes what was gathered, for a partial file that is to be kept.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            file::write_all_at(self.file, self.buffer, self.buffer_start)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Cuts data at the zeros that may become holes: those at its ends, which may go on in the next piece, and long
    /// runs inside. The rest goes to `emit`. C: fileio.c write_sparse
    fn split(&mut self, data: &[u8], emit: fn(&mut Self, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let leading = data.iter().take_while(|&&byte| byte == 0).count();
        let (zeros, mut rest) = data.split_at(leading);
        self.count_zeros(zeros.len());
        let trailing = rest.iter().rev().take_while(|&&byte| byte == 0).count();
        let tail = rest.split_off(rest.len() - trailing..).unwrap_or_default();
        while let Some((start, len)) = find_zeros(rest) {
            let (span, after) = rest.split_at(start);
            self.emit(span, emit)?;
            self.count_zeros(len);
            rest = after.get(len..).unwrap_or_default();
        }
        if !rest.is_empty() {
            self.emit(rest, emit)?;
        }
        self.count_zeros(tail.len());
        Ok(())
    }

    fn count_zeros(&mut self, len: usize) {
        self.zeros += len as u64;
        self.position += len as u64;
    }

    /// Settles pending zeros, then hands the span on.
    fn emit(&mut self, span: &[u8], emit: fn(&mut Self, &[u8]) -> io::Result<()>) -> io::Result<()> {
        match mem::take(&mut self.zeros) {
            0 => {}
            few if few < HOLE as u64 => {
                // Too few to free a block: cheaper as data.
                self.position -= few;
                self.put(&ZEROS[..few as usize])?;
            }
            many => {
                self.flush()?;
                self.punch(many)?;
            }
        }
        emit(self, span)
    }

    /// Makes the last `len` bytes before `position` a hole, where there is anything. C: syscall.c do_punch_hole
    fn punch(&self, len: u64) -> io::Result<()> {
        let start = self.position - len;
        if start >= self.layout.allocated {
            return Ok(());
        }
        extent::punch_hole(self.file, start, len)
            .or_else(|_| extent::zero_range(self.file, start, len))
            .or_else(|_| self.write_zeros(start))
    }

    /// The last resort of a file system without holes.
    fn write_zeros(&self, mut at: u64) -> io::Result<()> {
        while at < self.position {
            let piece = (self.position - at).min(ZEROS.len() as u64);
            file::write_all_at(self.file, &ZEROS[..piece as usize], at)?;
            at += piece;
        }
        Ok(())
    }

    fn put(&mut self, data: &[u8]) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.buffer_start = self.position;
        } else if self.buffer_start + self.buffer.len() as u64 != self.position
            || self.buffer.len() + data.len() > BUFFER
        {
            self.flush()?;
            self.buffer_start = self.position;
        }
        if self.buffer.is_empty() && data.len() >= DIRECT {
            file::write_all_at(self.file, data, self.position)?;
        } else {
            self.buffer.extend_from_slice(data);
        }
        self.position += data.len() as u64;
        Ok(())
    }

    fn pass(&mut self, data: &[u8]) -> io::Result<()> {
        self.position += data.len() as u64;
        Ok(())
    }
}

/// The first run of at least [`HOLE`] zeros: where it starts and how long it is. Data that starts and ends with
/// something else is assumed; non-zero data costs one look per [`HOLE`] bytes.
fn find_zeros(data: &[u8]) -> Option<(usize, usize)> {
    let mut start = 0;
    loop {
        let window = data.get(start..start + HOLE)?;
        match window.iter().rposition(|&byte| byte != 0) {
            Some(last) => start += last + 1,
            None => {
                let more = data.iter().skip(start + HOLE).take_while(|&&byte| byte == 0).count();
                return Some((start, HOLE + more));
            }
        }
    }
}

/// Reserves room for a file of `size` bytes; returns up to where room was reserved. C: syscall.c do_fallocate
///
/// The length asked for is never quite the final one, so that a file system does not take the file for complete.
pub fn preallocate(file: &File, size: u64, sparse: bool) -> io::Result<u64> {
    let length = if size % 2 == 1 { size + 1 } else { size.saturating_sub(1) };
    extent::allocate(file, 0, length, !sparse)?;
    if sparse {
        // Holes can only be punched below the end of the file, so its size was set as well.
        return Ok(crate::sys::stat::stat_fd(file).map_or(length, |stat| stat.blocks * 512));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use proptest::prelude::*;

    use super::*;

    /// Pieces of zeros and others, whose lengths play around the sizes that matter.
    fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let len = prop_oneof![0..3usize, 1000..1050usize, 4000..9000usize, 60_000..70_000usize];
        let run = (len, prop_oneof![Just(0u8), Just(7u8)]).prop_map(|(len, byte)| vec![byte; len]);
        let piece = prop::collection::vec(run, 1..4).prop_map(|runs| runs.concat());
        prop::collection::vec(piece, 0..8)
    }

    fn write_all(file: &File, layout: Layout, pieces: &[Vec<u8>], old: &[u8]) -> u64 {
        let mut buffer = WriteBuffer::default();
        let mut writer = Writer::new(file, layout, &mut buffer);
        for piece in pieces {
            let at = writer.position() as usize;
            let matches = layout.in_place && old.get(at..at + piece.len()) == Some(piece);
            if matches { writer.skip_matched(piece) } else { writer.write(piece) }.unwrap();
        }
        writer.finish().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_is_written_is_what_is_there(pieces in pieces(), sparse: bool, reserve: bool) {
            let dir = tempfile::tempdir().unwrap();
            let file = File::create_new(dir.path().join("f")).unwrap();
            let content = pieces.concat();
            let mut layout = Layout { sparse, ..Layout::default() };
            if reserve && !content.is_empty() {
                layout.allocated = preallocate(&file, content.len() as u64, sparse).unwrap();
            }
            prop_assert_eq!(write_all(&file, layout, &pieces, &[]), content.len() as u64);
            prop_assert!(fs::read(dir.path().join("f")).unwrap() == content);
        }

        #[test]
        fn in_place_the_new_content_replaces_the_old(pieces in pieces(), more in pieces(), sparse: bool) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("f");
            // The old content shares some of its places with the new one.
            let mut old = pieces.concat();
            for (at, byte) in old.iter_mut().enumerate() {
                if at / 5000 % 2 == 1 { *byte ^= 7; }
            }
            old.extend(more.concat());
            fs::write(&path, &old).unwrap();
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            let layout = Layout { sparse, in_place: true, allocated: old.len() as u64, ..Layout::default() };
            write_all(&file, layout, &pieces, &old);
            prop_assert!(fs::read(&path).unwrap() == pieces.concat());
        }
    }

    fn blocks_of(layout: impl Fn(&File) -> Layout, pieces: &[Vec<u8>]) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create_new(dir.path().join("f")).unwrap();
        write_all(&file, layout(&file), pieces, &[]);
        file.sync_all().unwrap(); // delayed allocation shows only then
        file.metadata().unwrap().blocks()
    }

    #[test]
    fn zeros_take_no_room_in_a_sparse_file() {
        let mib = 1 << 20;
        let pieces = [vec![0; mib], vec![1; 4096], vec![0; mib / 2], vec![0; mib / 2], vec![1; 4096], vec![0; mib]];
        let full = blocks_of(|_| Layout::default(), &pieces);
        let sparse = blocks_of(|_| Layout { sparse: true, ..Layout::default() }, &pieces);
        assert!(full * 512 >= 3 * mib as u64, "{full}");
        assert!(sparse * 512 <= 64 * 1024, "{sparse}");
        let size: usize = pieces.iter().map(Vec::len).sum();
        let reserved = blocks_of(
            |file| {
                let allocated = preallocate(file, size as u64, true).unwrap();
                Layout { sparse: true, allocated, ..Layout::default() }
            },
            &pieces,
        );
        assert!(reserved * 512 <= 64 * 1024, "{reserved}");
    }

    #[test]
    fn runs_of_zeros_are_found_where_they_are() {
        let mut data = vec![1; 10_000];
        assert_eq!(find_zeros(&data), None);
        data[100..1123].fill(0);
        assert_eq!(find_zeros(&data), None, "one short");
        data[5000..6024].fill(0);
        assert_eq!(find_zeros(&data), Some((5000, 1024)));
        data[1123] = 0;
        assert_eq!(find_zeros(&data), Some((100, 1024)));
        data[1124..3000].fill(0);
        assert_eq!(find_zeros(&data), Some((100, 2900)));
    }

    #[test]
    fn a_full_device_is_an_error() {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut buffer = WriteBuffer::default();
        let mut writer = Writer::new(&full, Layout { device: true, ..Layout::default() }, &mut buffer);
        writer.write(b"small pieces are gathered").unwrap();
        let Err(FinishError::Write(error)) = writer.finish() else { panic!("no error") };
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    }
}
