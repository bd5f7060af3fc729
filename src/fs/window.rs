//! A file seen through a window that slides over it: any stretch as one slice, however large the file.
//!
//! Reading, not mapping: a file that someone cuts short under us must not end the process. C: fileio.c map_file

use std::{fs::File, io, os::fd::OwnedFd};

use nix::errno::Errno;

use crate::sys::file;

/// Something whose bytes are read by position: an open file, or memory in tests.
pub trait Source {
    /// Fills the front of `buffer` from `offset`; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Source for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        file::read_at(self, buffer, offset)
    }
}

impl Source for OwnedFd {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        file::read_at(self, buffer, offset)
    }
}

impl Source for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }
}

impl<T: Source + ?Sized> Source for &T {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }
}

/// What is read at once. C: MAX_MAP_SIZE
pub const WINDOW: usize = 256 * 1024;

/// Reads begin at multiples of this.
const ALIGN: usize = 4096;

/// A sliding window over the first `len` bytes of a source.
pub struct Window<S = File> {
    source: S,
    len: u64,
    /// How much is wanted in the buffer at once.
    span: usize,
    buffer: Vec<u8>,
    /// Position in the file of the buffer's first byte.
    start: u64,
    error: Option<io::Error>,
}

impl<S: Source> Window<S> {
    /// `len` is the size the file was found to have; `block` the stretch most often asked for (0: none in particular),
    /// of which the window then holds a whole number.
    pub fn new(source: S, len: u64, block: usize) -> Self {
        let span = if block == 0 { WINDOW } else { WINDOW.next_multiple_of(block) };
        let span = span.min(usize::try_from(len).unwrap_or(usize::MAX)).next_multiple_of(ALIGN);
        Self { source, len, span, buffer: Vec::new(), start: 0, error: None }
    }

    /// As many bytes as the file was said to have.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn source(&self) -> &S {
        &self.source
    }

    /// Why a part could not be read, once that has happened: `ENODATA` when the file is shorter than it was said to
    /// be. Such parts are given as zeros, so that the caller can go on and reject the file at its end.
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// Exactly `len` bytes from `offset`; what lies beyond the end is zeros.
    ///
    /// Moving on in small steps reads each byte once. C: fileio.c map_ptr
    pub fn bytes(&mut self, offset: u64, len: usize) -> &[u8] {
        if !self.holds(offset, len) {
            self.slide(offset, len);
        }
        let at = (offset - self.start) as usize;
        self.buffer.get(at..at + len).unwrap_or_default()
    }

    fn holds(&self, offset: u64, len: usize) -> bool {
        offset.checked_sub(self.start).is_some_and(|at| at.saturating_add(len as u64) <= self.buffer.len() as u64)
    }

    fn slide(&mut self, offset: u64, len: usize) {
        let start = offset - offset % ALIGN as u64;
        let needed = (offset - start) as usize + len;
        let within_file = usize::try_from(self.len.saturating_sub(start)).unwrap_or(usize::MAX);
        let wanted = self.span.min(within_file).max(needed);
        let kept = self.keep_from(start);
        self.start = start;
        self.buffer.resize(wanted.max(kept), 0);
        let mut filled = kept;
        while let Some(room) = self.buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.source.read_at(room, start + filled as u64) {
                Ok(count @ 1..) => filled += count,
                failure => {
                    room.fill(0);
                    let error = failure.err().unwrap_or_else(|| Errno::ENODATA.into());
                    self.error.get_or_insert(error);
                    break;
                }
            }
        }
    }

    /// Moves the part of the buffer that stays in view to its front and says how long it is.
    fn keep_from(&mut self, start: u64) -> usize {
        let ahead = start.checked_sub(self.start).and_then(|ahead| usize::try_from(ahead).ok());
        match ahead.filter(|&ahead| ahead < self.buffer.len()) {
            Some(ahead) => {
                self.buffer.copy_within(ahead.., 0);
                self.buffer.len() - ahead
            }
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Memory that notes what is read from it.
    struct Noted {
        data: Vec<u8>,
        reads: RefCell<Vec<(u64, usize)>>,
        /// At most so much a call.
        most: usize,
    }

    impl Source for Noted {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let most = buffer.len().min(self.most);
            let count = self.data.as_slice().read_at(&mut buffer[..most], offset)?;
            self.reads.borrow_mut().push((offset, count));
            Ok(count)
        }
    }

    fn noted(len: usize) -> Noted {
        let data = (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        Noted { data, reads: RefCell::default(), most: usize::MAX }
    }

    #[test]
    fn every_stretch_is_what_the_file_holds() {
        let mut source = noted(1_000_003);
        source.most = 10_007;
        let data = source.data.clone();
        let mut window = Window::new(source, data.len() as u64, 700);
        let mut seed = 1u64;
        for round in 0..2000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let len = (seed >> 40) as usize % if round % 50 == 0 { 400_000 } else { 2000 };
            let at = (seed >> 20) as usize % (data.len() - len);
            assert_eq!(window.bytes(at as u64, len), &data[at..at + len]);
        }
        assert!(window.error().is_none());
    }

    #[test]
    fn going_forward_reads_each_byte_once() {
        let source = noted(3 * WINDOW + 777);
        let data = source.data.clone();
        let mut window = Window::new(source, data.len() as u64, 0);
        for at in (0..data.len() - 3000).step_by(501) {
            assert_eq!(window.bytes(at as u64, 3000), &data[at..at + 3000]);
        }
        let reads = window.source().reads.borrow();
        assert!(reads.len() < 8, "{reads:?}");
        let mut next = 0;
        for &(at, count) in reads.iter() {
            assert_eq!(at, next);
            next += count as u64;
        }
    }

    #[test]
    fn a_file_cut_short_reads_as_zeros_and_is_reported() {
        let mut window = Window::new(noted(10_000), 20_000, 0);
        assert_eq!(window.bytes(9_000, 1_000), &noted(10_000).data[9_000..]);
        let end = window.bytes(9_999, 5_000);
        assert_eq!(end[0], noted(10_000).data[9_999]);
        assert!(end.len() == 5_000 && end[1..].iter().all(|&byte| byte == 0));
        assert_eq!(window.error().and_then(io::Error::raw_os_error), Some(libc::ENODATA));
    }

    #[test]
    fn a_whole_file_in_view_is_read_no_further() {
        let mut window = Window::new(noted(5_000), 5_000, 0);
        assert_eq!(window.bytes(0, 5_000).len(), 5_000);
        assert_eq!(*window.source().reads.borrow(), [(0, 5_000)]);
        assert!(window.error().is_none());
        assert!(Window::new(noted(0), 0, 0).bytes(0, 0).is_empty());
    }

    #[test]
    fn failures_are_kept() {
        let dir = File::open("/").unwrap();
        let mut window = Window::new(dir, 100, 0);
        assert_eq!(window.bytes(0, 10), [0; 10]);
        assert_eq!(window.error().and_then(io::Error::raw_os_error), Some(libc::EISDIR));
    }
}
