//! A file's contents as tokens: runs of literal bytes, references to blocks of the basis, an end.
//!
//! A token is an int: positive, that many literal bytes follow; negative, block -(n+1) of the basis; 0, the end, after
//! which stands the whole file's strong sum. We send runs of at most 32,768 bytes, for some peers take no longer
//! ones, and take runs of any length.
//!
//! Between two ends in one process there is one more token, the least of all ints, which no block can have: the
//! contents are all of a file that was handed over open beside the stream. Its length follows, and that is all: neither
//! end nor sum, for nothing was on the way where it could be damaged. If the length has its highest bit set, the contents
//! themselves stand behind it instead.

use crate::{
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
    /// Some bytes, at least one.
    Literal(&'a [u8]),
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
#[derive(Clone, Debug, Default)]
pub struct TokenReader {
    local: bool,
    /// What of a literal run was not read yet.
    run: u32,
}

impl TokenReader {
    /// `local`: the sender is in this process and may hand over files.
    pub fn new(local: bool) -> Self {
        Self { local, run: 0 }
    }

    /// How much of a literal run comes after the piece that came last.
    pub fn left(&self) -> u32 {
        self.run
    }

    /// The next piece; literal bytes are lent from the reader's buffer. C: token.c simple_recv_token
    pub fn next<'a>(&mut self, reader: &'a mut Reader) -> Result<Token<'a>> {
        if self.run == 0 {
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
        let literal = reader.take(self.run as usize)?;
        self.run -= literal.len() as u32; // at most what was asked for
        Ok(Token::Literal(literal))
    }
}

/// Literal bytes, as many runs as they need. Nothing for none. C: token.c simple_send_token
pub fn write_literal(writer: &mut Writer, literal: &[u8]) -> Result<()> {
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

/// A block of the basis; `block` is less than `i32::MAX`.
pub fn write_match(writer: &mut Writer, block: u32) -> Result<()> {
    writer.int(!block.cast_signed())
}

/// The end; the sum is the caller's to write.
pub fn write_end(writer: &mut Writer) -> Result<()> {
    writer.int(0)
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

    #[test]
    fn a_recorded_answer() {
        // The reference's tokens for a file whose first four blocks were there.
        let recorded =
            b"\xff\xff\xff\xff\xfe\xff\xff\xff\xfd\xff\xff\xff\xfc\xff\xff\xff\x03\0\0\0xxx\xfb\xff\xff\xff\0\0\0\0";
        let mut reader = Reader::over(*recorded);
        let mut tokens = TokenReader::new(false);
        for expected in [0, 1, 2, 3] {
            assert_eq!(tokens.next(&mut reader).unwrap(), Token::Match(expected));
        }
        assert_eq!(tokens.next(&mut reader).unwrap(), Token::Literal(b"xxx"));
        assert_eq!(tokens.next(&mut reader).unwrap(), Token::Match(4));
        assert_eq!(tokens.next(&mut reader).unwrap(), Token::End);
        let again = Writer::written(|writer| {
            (0..4).for_each(|block| write_match(writer, block).unwrap());
            write_literal(writer, b"xxx").unwrap();
            write_match(writer, 4).unwrap();
            write_end(writer).unwrap();
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
        let mut tokens = TokenReader::new(false);
        let mut count = 0;
        while let Token::Literal(piece) = tokens.next(&mut reader).unwrap() {
            assert!(!piece.is_empty());
            count += piece.len();
        }
        assert_eq!(count, 100_000);
    }

    #[test]
    fn files_are_handed_over_at_home_only() {
        let bytes = Writer::written(|writer| write_handed_over(writer, 1 << 40).unwrap());
        assert_eq!(TokenReader::new(true).next(&mut Reader::over(bytes.clone())).unwrap(), Token::HandedOver(1 << 40));
        // From elsewhere it is a block, if one that no file has.
        let mut elsewhere = Reader::over(bytes);
        assert_eq!(TokenReader::new(false).next(&mut elsewhere).unwrap(), Token::Match(i32::MAX as u32));
    }

    #[test]
    fn whole_contents_follow_their_length_only_within_a_process() {
        let bytes = Writer::written(|writer| write_whole(writer, b"abc").unwrap());
        assert_eq!(bytes.len() as u64, HANDED_OVER_LEN + 3);
        let mut reader = Reader::over(bytes.clone());
        assert_eq!(TokenReader::new(true).next(&mut reader).unwrap(), Token::Whole(3));
        assert_eq!(reader.take(9).unwrap(), b"abc");
        let mut elsewhere = Reader::over(bytes);
        assert_eq!(TokenReader::new(false).next(&mut elsewhere).unwrap(), Token::Match(i32::MAX as u32));
    }
}
