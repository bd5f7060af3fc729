//! A file's contents as tokens: runs of literal bytes, references to blocks of the basis, an end.
//!
//! In the plain form a token is an int: positive, that many literal bytes follow; negative, block -(n+1) of the basis; 0, the
//! end, after which stands the whole file's strong sum. We send runs of at most 32,768 bytes, for some peers take no longer
//! ones, and take runs of any length.
//!
//! Between two ends in one process there is one more token, the least of all ints, which no block can have: the
//! contents are all of a file that was handed over open beside the stream. Its length follows, and that is all: neither
//! end nor sum, for nothing was on the way where it could be damaged. If the length has its highest bit set, the contents
//! themselves stand behind it instead.
//!
//! In the compressed form literal bytes travel as chunks, and the numbers of blocks as runs of neighbours: see `deflated`.

mod deflated;

use self::deflated::{Deflating, Inflating};
use crate::{
    compress::{Effort, Setting},
    error::Result,
    wire::{Reader, Writer},
};

/// C: CHUNK_SIZE
pub const MAX_RUN: usize = 32 * 1024;
/// How many runs are written at once.
const BATCH: usize = 16;
const HANDED_OVER: i32 = i32::MIN;
/// In the length: the contents follow.
const FOLLOWS: u64 = 1 << 63;
/// Bytes that saying so takes, contents not counted.
pub const HANDED_OVER_LEN: u64 = 12;

/// A piece of a file's contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token<'a> {
    /// Some bytes, at least one. `run`: how many begin here; `None` in the middle of a run.
    Literal { data: &'a [u8], run: Option<usize> },
    /// A block of the basis; not checked against their number.
    Match(u32),
    /// The whole-file sum follows.
    End,
    /// Everything is in the file that was handed over, from its beginning, this many bytes; nothing follows.
    HandedOver(u64),
    /// Everything follows as it is, this many bytes, to be read from the stream; there is no end.
    Whole(u64),
}

/// Reads the tokens of one file after another.
#[derive(Default)]
pub struct TokenReader {
    local: bool,
    setting: Setting,
    /// What of a literal run was not read yet.
    run: u32,
    /// Made for the first file that comes.
    inflating: Option<Box<Inflating>>,
}

impl TokenReader {
    /// `local`: the sender is in this process and may hand over files.
    pub fn new(local: bool, setting: Setting) -> Self {
        Self { local, setting, run: 0, inflating: None }
    }

    /// The next piece; literal bytes are lent from a buffer of ours or the reader's. C: token.c recv_token
    pub fn next<'a>(&'a mut self, reader: &'a mut Reader) -> Result<Token<'a>> {
        if self.inflating.is_none() {
            self.inflating = Inflating::new(self.setting)?;
        }
        match self.inflating {
            Some(ref mut inflating) => inflating.next(reader),
            None => self.plain(reader),
        }
    }

    /// C: token.c simple_recv_token
    fn plain<'a>(&mut self, reader: &'a mut Reader) -> Result<Token<'a>> {
        let begins = self.run == 0;
        if begins {
            match reader.int()? {
                0 => return Ok(Token::End),
                HANDED_OVER if self.local => {
                    let len = u64::from_le_bytes(reader.array()?);
                    return Ok(if len & FOLLOWS == 0 { Token::HandedOver(len) } else { Token::Whole(len & !FOLLOWS) });
                }
                run @ 1.. => self.run = run.cast_unsigned(),
                block => return Ok(Token::Match((!block).cast_unsigned())),
            }
        }
        let run = begins.then_some(self.run as usize);
        let data = reader.take(self.run as usize)?;
        self.run -= data.len() as u32; // at most what was asked for
        Ok(Token::Literal { data, run })
    }

    /// The data of the block that came last. C: token.c see_token
    pub fn show(&mut self, matched: &[u8]) -> Result<()> {
        self.inflating.as_mut().map_or(Ok(()), |inflating| inflating.show(matched))
    }
}

/// Writes the tokens of one file after another.
pub struct TokenWriter {
    setting: Setting,
    /// Made for the first file that goes.
    deflating: Option<Box<Deflating>>,
    /// What the file took so far, without headers of frames.
    bytes: u64,
}

impl TokenWriter {
    pub fn new(setting: Setting) -> Self {
        Self { setting, deflating: None, bytes: 0 }
    }

    /// A file begins, of about that size, with that effort where data is compressed.
    pub fn begin(&mut self, size: u64, effort: Effort) -> Result<()> {
        if let Some(deflating) = self.deflating()? {
            deflating.begin(size, effort);
        }
        Ok(())
    }

    /// Literal bytes, as many runs as they need. Nothing for none. C: token.c send_token
    pub fn literal(&mut self, writer: &mut Writer, literal: &[u8]) -> Result<()> {
        self.bytes += match self.deflating()? {
            Some(deflating) => deflating.literal(writer, literal)?,
            None => {
                write_literal(writer, literal)?;
                literal.len() as u64 + 4 * literal.len().div_ceil(MAX_RUN) as u64
            }
        };
        Ok(())
    }

    /// A block of the basis, and its data; `block` is less than `i32::MAX`.
    pub fn matched(&mut self, writer: &mut Writer, block: u32, data: &[u8]) -> Result<()> {
        self.bytes += match self.deflating()? {
            Some(deflating) => deflating.matched(writer, block, data)?,
            None => {
                writer.int(!block.cast_signed())?;
                4
            }
        };
        Ok(())
    }

    /// The end; the sum is the caller's to write. Returns what all of the file took.
    pub fn end(&mut self, writer: &mut Writer) -> Result<u64> {
        let end = match self.deflating()? {
            Some(deflating) => deflating.end(writer)?,
            None => {
                writer.int(0)?;
                4
            }
        };
        Ok(std::mem::take(&mut self.bytes) + end)
    }

    fn deflating(&mut self) -> Result<Option<&mut Deflating>> {
        if self.deflating.is_none() {
            self.deflating = Deflating::new(self.setting)?;
        }
        Ok(self.deflating.as_deref_mut())
    }
}

/// C: token.c simple_send_token
fn write_literal(writer: &mut Writer, literal: &[u8]) -> Result<()> {
    for batch in literal.chunks(MAX_RUN * BATCH) {
        let mut heads = [[0; 4]; BATCH];
        let mut parts: [&[u8]; 2 * BATCH] = [&[]; 2 * BATCH];
        let runs = batch.chunks(MAX_RUN);
        let count = runs.len();
        for (head, run) in heads.iter_mut().zip(runs.clone()) {
            *head = (run.len() as u32).to_le_bytes();
        }
        for ((pair, head), run) in parts.chunks_exact_mut(2).zip(&heads).zip(runs) {
            pair.copy_from_slice(&[head, run]);
        }
        writer.gather(&parts[..2 * count])?;
    }
    Ok(())
}

/// Says that the file handed over last holds it all.
pub fn write_handed_over(writer: &mut Writer, len: u64) -> Result<()> {
    writer.int(HANDED_OVER)?;
    writer.bytes(&len.to_le_bytes())
}

/// A file's whole contents, for an end in this process.
pub fn write_whole(writer: &mut Writer, contents: &[u8]) -> Result<()> {
    writer.int(HANDED_OVER)?;
    writer.bytes(&(contents.len() as u64 | FOLLOWS).to_le_bytes())?;
    writer.bytes(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> TokenReader {
        TokenReader::new(false, Setting::default())
    }

    #[test]
    fn a_recorded_answer() {
        // The reference's tokens for a file whose first four blocks were there.
        let recorded =
            b"\xff\xff\xff\xff\xfe\xff\xff\xff\xfd\xff\xff\xff\xfc\xff\xff\xff\x03\0\0\0xxx\xfb\xff\xff\xff\0\0\0\0";
        let mut reader = Reader::over(*recorded);
        let mut tokens = plain();
        for expected in [0, 1, 2, 3] {
            assert_eq!(tokens.next(&mut reader).unwrap(), Token::Match(expected));
        }
        assert_eq!(tokens.next(&mut reader).unwrap(), Token::Literal { data: b"xxx", run: Some(3) });
        assert_eq!(tokens.next(&mut reader).unwrap(), Token::Match(4));
        assert_eq!(tokens.next(&mut reader).unwrap(), Token::End);
        let again = Writer::written(|writer| {
            let mut tokens = TokenWriter::new(Setting::default());
            (0..4).for_each(|block| tokens.matched(writer, block, b"").unwrap());
            tokens.literal(writer, b"xxx").unwrap();
            tokens.matched(writer, 4, b"").unwrap();
            assert_eq!(tokens.end(writer).unwrap(), recorded.len() as u64);
        });
        assert_eq!(again, recorded);
    }

    #[test]
    fn runs_are_never_longer_than_peers_take() {
        let data: Vec<u8> = (0..1_200_000u32).map(|i| (i / 7) as u8).collect();
        for len in [0, 1, MAX_RUN, MAX_RUN + 1, data.len()] {
            let bytes = Writer::written(|writer| write_literal(writer, &data[..len]).unwrap());
            let (mut rest, mut back) = (&bytes[..], Vec::new());
            while let Some((head, after)) = rest.split_first_chunk() {
                let run = u32::from_le_bytes(*head) as usize;
                assert!((1..=MAX_RUN).contains(&run));
                back.extend_from_slice(&after[..run]);
                rest = &after[run..];
            }
            assert!(back == data[..len]);
        }
    }

    #[test]
    fn long_runs_come_in_pieces() {
        let bytes = [&100_000u32.to_le_bytes()[..], &[7; 100_000], &[0; 4]].concat();
        let mut reader = Reader::over(bytes);
        let mut tokens = plain();
        let mut count = 0;
        while let Token::Literal { data, run } = tokens.next(&mut reader).unwrap() {
            assert!(!data.is_empty());
            assert_eq!(run, (count == 0).then_some(100_000));
            count += data.len();
        }
        assert_eq!(count, 100_000);
    }

    #[test]
    fn files_are_handed_over_at_home_only() {
        let bytes = Writer::written(|writer| write_handed_over(writer, 1 << 40).unwrap());
        assert_eq!(
            TokenReader::new(true, Setting::default()).next(&mut Reader::over(bytes.clone())).unwrap(),
            Token::HandedOver(1 << 40)
        );
        // From elsewhere it is a block, if one that no file has.
        let mut elsewhere = Reader::over(bytes);
        assert_eq!(plain().next(&mut elsewhere).unwrap(), Token::Match(i32::MAX as u32));
    }

    #[test]
    fn whole_contents_follow_their_length_only_within_a_process() {
        let bytes = Writer::written(|writer| write_whole(writer, b"abc").unwrap());
        assert_eq!(bytes.len() as u64, HANDED_OVER_LEN + 3);
        let mut reader = Reader::over(bytes.clone());
        assert_eq!(TokenReader::new(true, Setting::default()).next(&mut reader).unwrap(), Token::Whole(3));
        assert_eq!(reader.take(9).unwrap(), b"abc");
        let mut elsewhere = Reader::over(bytes);
        assert_eq!(plain().next(&mut elsewhere).unwrap(), Token::Match(i32::MAX as u32));
    }
}
