//! Characters of one set written in another, by the C library's tables.

use std::{ffi::CString, io, ptr};

/// One direction between two character sets. C: iconv_t
#[derive(Debug)]
pub struct Converter(libc::iconv_t);

// SAFETY: a descriptor belongs to no thread; it only must not be used by two at a time, and `&mut` sees to that.
unsafe impl Send for Converter {}

/// Why a conversion stopped before the end of its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Bytes that are no character, or one that the other set does not have.
    Illegal,
    /// The text ends within a character.
    Incomplete,
    /// The result is longer than it may be.
    TooLong,
}

impl From<Stop> for io::Error {
    fn from(stop: Stop) -> Self {
        Self::from_raw_os_error(match stop {
            Stop::Illegal => libc::EILSEQ,
            Stop::Incomplete => libc::EINVAL,
            Stop::TooLong => libc::E2BIG,
        })
    }
}

/// Room for the result of a step.
const PIECE: usize = 512;

impl Converter {
    /// Fails where one of the sets is not known.
    pub fn open(to: &[u8], from: &[u8]) -> io::Result<Self> {
        let (to, from) = (CString::new(to)?, CString::new(from)?);
        // SAFETY: both are C strings that live until the call is over.
        let opened = unsafe { libc::iconv_open(to.as_ptr(), from.as_ptr()) };
        if opened.addr() == usize::MAX { Err(io::Error::last_os_error()) } else { Ok(Self(opened)) }
    }

    /// A new text begins.
    pub fn reset(&mut self) {
        // SAFETY: the descriptor is open; without a text the call only changes its state.
        unsafe { libc::iconv(self.0, ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut()) };
    }

    /// Converts as far as it goes and appends to `out`, which may grow up to `limit` bytes. Gives back what is left of
    /// the text, and why.
    pub fn run<'a>(&mut self, text: &'a [u8], out: &mut Vec<u8>, limit: usize) -> (&'a [u8], Option<Stop>) {
        let mut rest = text;
        while !rest.is_empty() {
            let mut piece = [0; PIECE];
            let room = limit.saturating_sub(out.len()).min(PIECE);
            let (taken, made, error) = self.step(rest, piece.get_mut(..room).unwrap_or_default());
            rest = rest.get(taken..).unwrap_or_default();
            out.extend_from_slice(piece.get(..made).unwrap_or_default());
            match error {
                None | Some(libc::EINTR) => {}
                Some(libc::EILSEQ) => return (rest, Some(Stop::Illegal)),
                Some(libc::EINVAL) => return (rest, Some(Stop::Incomplete)),
                Some(_) if room == PIECE && made > 0 => {} // there may be more
                Some(_) => return (rest, Some(Stop::TooLong)),
            }
        }
        (rest, None)
    }

    /// One call: how much it took and made, and what it failed with.
    fn step(&mut self, text: &[u8], out: &mut [u8]) -> (usize, usize, Option<i32>) {
        let (mut from, mut left) = (text.as_ptr().cast_mut().cast::<libc::c_char>(), text.len());
        let (mut to, mut room) = (out.as_mut_ptr().cast::<libc::c_char>(), out.len());
        // SAFETY: the pointers and lengths are those of two live slices; the call only reads the text.
        let done = unsafe { libc::iconv(self.0, &raw mut from, &raw mut left, &raw mut to, &raw mut room) };
        let error = (done == usize::MAX).then(|| io::Error::last_os_error().raw_os_error().unwrap_or(libc::EILSEQ));
        (text.len() - left, out.len() - room, error)
    }
}

impl Drop for Converter {
    fn drop(&mut self) {
        // SAFETY: open, and not used again.
        unsafe { libc::iconv_close(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(to: &str, from: &str, text: &[u8], limit: usize) -> (Vec<u8>, usize, Option<Stop>) {
        let mut out = Vec::new();
        let mut converter = Converter::open(to.as_bytes(), from.as_bytes()).unwrap();
        let (rest, stop) = converter.run(text, &mut out, limit);
        (out, rest.len(), stop)
    }

    #[test]
    fn there_and_back() {
        let latin = "grün".chars().map(|c| c as u8).collect::<Vec<_>>();
        assert_eq!(convert("UTF-8", "ISO-8859-1", &latin, 100), ("grün".into(), 0, None));
        assert_eq!(convert("ISO-8859-1", "UTF-8", "grün".as_bytes(), 100), (latin, 0, None));
    }

    #[test]
    fn what_cannot_be_converted_stops() {
        assert_eq!(convert("ASCII", "UTF-8", "aéb".as_bytes(), 100), (b"a".to_vec(), 3, Some(Stop::Illegal)));
        assert_eq!(convert("UTF-8", "UTF-8", b"a\xc3", 100), (b"a".to_vec(), 1, Some(Stop::Incomplete)));
        assert_eq!(convert("UTF-8", "UTF-8", b"a\xff", 100), (b"a".to_vec(), 1, Some(Stop::Illegal)));
    }

    #[test]
    fn long_texts_are_converted_in_pieces_up_to_the_limit() {
        let latin = vec![0xe9; 3 * PIECE];
        let (out, left, stop) = convert("UTF-8", "ISO-8859-1", &latin, usize::MAX);
        assert_eq!((out.len(), left, stop), (6 * PIECE, 0, None));
        let (out, left, stop) = convert("UTF-8", "ISO-8859-1", &latin, PIECE + 1);
        assert_eq!((out.len(), left, stop), (PIECE, 3 * PIECE - PIECE / 2, Some(Stop::TooLong)));
        assert_eq!(convert("UTF-8", "ISO-8859-1", b"", 0), (Vec::new(), 0, None));
    }

    #[test]
    fn unknown_sets_are_refused() {
        assert!(Converter::open(b"UTF-8", b"no such set").is_err());
        assert!(Converter::open(b"UTF-8", b"a\0b").is_err());
    }
}
