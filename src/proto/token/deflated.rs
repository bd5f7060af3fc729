//! Tokens in the compressed form.
//!
//! A byte says what comes. 0: the end. 0x40 to 0x7f: a chunk of compressed literal data, its length the six bits and the
//! byte after them. Else blocks: 0x80 to 0xbf, one block, so many after the last; 0x20, one block, whose number follows; with
//! the bit 0x40 or 0x01 set as well, that block and some more after it, as many as the 16 bits at the end say. The first
//! block of a file counts from 0.
//!
//! Chunks cut the compressed data anywhere; but where blocks or the end follow them, all literal data so far can be told.

use crate::{
    compress::{Decoder, Effort, Encoder, Fault, Setting},
    error::{Error, ExitCode, Result},
    proto::token::Token,
    wire::{Reader, Writer},
};

const END: u8 = 0;
const LONG: u8 = 0x20;
const LONG_RUN: u8 = 0x21;
const CHUNK: u8 = 0x40;
const NEAR: u8 = 0x80;
const NEAR_RUN: u8 = 0xc0;
/// What the top bits tell.
const KIND: u8 = 0xc0;
/// The farthest a near block is.
const REACH: u32 = 0x3f;
/// The highest block number. C: MAX_TOKEN_INDEX
const MAX_BLOCK: u32 = 0x7fff_fffe;

#[track_caller]
fn broken(fault: Fault) -> Error {
    Error::new(ExitCode::STREAM_IO, fault.to_string())
}

#[track_caller]
fn invalid() -> Error {
    Error::new(ExitCode::PROTOCOL, "invalid token number in compressed stream")
}

/// Reads.
pub(super) struct Inflating {
    decoder: Decoder,
    /// What came of compressed data, and how much of it the decoder took.
    chunk: Vec<u8>,
    taken: usize,
    /// The decoder has more without input.
    more: bool,
    /// The block that came last, and how many follow it.
    block: u32,
    run: u32,
}

impl Inflating {
    pub fn new(setting: Setting) -> Result<Option<Box<Self>>> {
        let decoder = Decoder::new(setting).map_err(broken)?;
        let new = |decoder| Self { decoder, chunk: Vec::new(), taken: 0, more: false, block: 0, run: 0 };
        Ok(decoder.map(|decoder| Box::new(new(decoder))))
    }

    /// C: token.c recv_deflated_token, recv_zstd_token, recv_compressed_token
    pub fn next(&mut self, reader: &mut Reader) -> Result<Token<'_>> {
        if self.run > 0 {
            self.run -= 1;
            self.block += 1;
            return Ok(Token::Match(self.block));
        }
        loop {
            while self.more || self.taken < self.chunk.len() {
                let made = self.inflate()?;
                if made > 0 {
                    return Ok(Token::Literal { data: self.decoder.output(made), run: Some(made) });
                }
            }
            let flag = reader.byte()?;
            if flag & KIND == CHUNK {
                let len = usize::from(flag & !KIND) << 8 | usize::from(reader.byte()?);
                self.taken = 0;
                self.chunk.resize(len, 0);
                reader.exact(&mut self.chunk)?;
                continue;
            }
            self.decoder.flushed().map_err(broken)?;
            if flag == END {
                self.decoder.begin();
                self.block = 0;
                return Ok(Token::End);
            }
            return self.block(reader, flag);
        }
    }

    fn inflate(&mut self) -> Result<usize> {
        let rest = self.chunk.get(self.taken..).unwrap_or_default();
        let step = self.decoder.step(rest).map_err(broken)?;
        if !rest.is_empty() && step.taken == 0 && step.made == 0 {
            return Err(Error::new(ExitCode::STREAM_IO, "compressed data leads nowhere"));
        }
        self.taken += step.taken;
        self.more = step.more;
        Ok(step.made)
    }

    /// C: token.c recv_compressed_token_num
    fn block(&mut self, reader: &mut Reader, flag: u8) -> Result<Token<'static>> {
        let (block, is_run) = match flag {
            NEAR.. => (self.block + u32::from(flag & !KIND), flag & KIND == NEAR_RUN),
            LONG | LONG_RUN => (reader.int()?.try_into().map_err(|_| invalid())?, flag == LONG_RUN),
            _ => return Err(invalid()),
        };
        let run = if is_run { u32::from(reader.u16()?) } else { 0 };
        if is_run && run == 0 || block + run > MAX_BLOCK {
            return Err(invalid());
        }
        (self.block, self.run) = (block, run);
        Ok(Token::Match(block))
    }

    pub fn show(&mut self, matched: &[u8]) -> Result<()> {
        self.decoder.show(matched).map_err(broken)
    }
}

/// Blocks in a row that were not written yet.
#[derive(Clone, Copy)]
struct Run {
    first: u32,
    last: u32,
}

/// Writes. What is written to is counted and returned.
pub(super) struct Deflating {
    encoder: Encoder,
    run: Option<Run>,
    /// The last block that was written.
    block: u32,
    /// Literal data was given that was not flushed yet.
    unflushed: bool,
}

impl Deflating {
    pub fn new(setting: Setting) -> Result<Option<Box<Self>>> {
        let encoder = Encoder::new(setting).map_err(broken)?;
        Ok(encoder.map(|encoder| Box::new(Self { encoder, run: None, block: 0, unflushed: false })))
    }

    /// A file begins.
    pub fn begin(&mut self, size: u64, effort: Effort) {
        self.block = 0;
        self.encoder.begin(size, effort);
    }

    /// C: token.c send_deflated_token, send_zstd_token, send_compressed_token
    pub fn literal(&mut self, writer: &mut Writer, literal: &[u8]) -> Result<u64> {
        let run = self.write_run(writer)?;
        self.unflushed |= !literal.is_empty();
        Ok(run + self.chunks(writer, literal, false)?)
    }

    pub fn matched(&mut self, writer: &mut Writer, block: u32, data: &[u8]) -> Result<u64> {
        let mut bytes = self.flush(writer)?;
        match &mut self.run {
            Some(run) if run.last + 1 == block && block - run.first <= u16::MAX.into() => run.last = block,
            _ => {
                bytes += self.write_run(writer)?;
                self.run = Some(Run { first: block, last: block });
            }
        }
        self.encoder.show(data).map_err(broken)?;
        Ok(bytes)
    }

    pub fn end(&mut self, writer: &mut Writer) -> Result<u64> {
        let bytes = self.flush(writer)? + self.write_run(writer)?;
        writer.byte(END)?;
        Ok(bytes + 1)
    }

    fn flush(&mut self, writer: &mut Writer) -> Result<u64> {
        if std::mem::take(&mut self.unflushed) { self.chunks(writer, b"", true) } else { Ok(0) }
    }

    fn chunks(&mut self, writer: &mut Writer, mut data: &[u8], flush: bool) -> Result<u64> {
        let mut bytes = 0;
        while let Some(chunk) = self.encoder.next(&mut data, flush).map_err(broken)? {
            let [high, low] = (chunk.len() as u16).to_be_bytes();
            writer.gather(&[&[CHUNK | high, low], chunk])?;
            bytes += 2 + chunk.len() as u64;
        }
        Ok(bytes)
    }

    fn write_run(&mut self, writer: &mut Writer) -> Result<u64> {
        let Some(Run { first, last }) = self.run.take() else { return Ok(0) };
        let more = last - first;
        let mut bytes = 1;
        match first.checked_sub(self.block) {
            Some(step @ ..=REACH) => writer.byte(if more == 0 { NEAR } else { NEAR_RUN } | step as u8)?,
            _ => {
                writer.byte(if more == 0 { LONG } else { LONG_RUN })?;
                writer.int(first.cast_signed())?;
                bytes += 4;
            }
        }
        if more > 0 {
            writer.u16(more as u16)?;
            bytes += 2;
        }
        self.block = last;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compress::Method,
        proto::token::{TokenReader, TokenWriter},
    };

    const METHODS: [Method; 4] = [Method::Zlib, Method::Zlibx, Method::Lz4, Method::Zstd];

    fn setting(method: Method) -> Setting {
        Setting { method, level: method.level(None).unwrap_or_default(), ..Setting::default() }
    }

    fn block_data(block: u32) -> Vec<u8> {
        (0..700).map(|at| (block.wrapping_mul(31) + at * at / 3) as u8).collect()
    }

    /// What of a file was read: literal data as one, blocks, and where they stood.
    #[derive(PartialEq, Debug)]
    enum Piece {
        Literal(Vec<u8>),
        Block(u32),
    }

    fn write(writer: &mut Writer, tokens: &mut TokenWriter, pieces: &[Piece], effort: Effort) -> u64 {
        tokens.begin(3 << 20, effort).unwrap();
        for piece in pieces {
            match piece {
                Piece::Literal(data) => {
                    // in two strokes
                    let (front, back) = data.split_at(data.len() / 2);
                    tokens.literal(writer, front).unwrap();
                    tokens.literal(writer, back).unwrap();
                }
                Piece::Block(block) => tokens.matched(writer, *block, &block_data(*block)).unwrap(),
            }
        }
        tokens.end(writer).unwrap()
    }

    fn read(reader: &mut Reader, tokens: &mut TokenReader) -> Vec<Piece> {
        let mut pieces = Vec::new();
        loop {
            match tokens.next(reader).unwrap() {
                Token::Literal { data, .. } => match pieces.last_mut() {
                    Some(Piece::Literal(all)) => all.extend_from_slice(data),
                    _ => pieces.push(Piece::Literal(data.to_vec())),
                },
                Token::Match(block) => {
                    pieces.push(Piece::Block(block));
                    tokens.show(&block_data(block)).unwrap();
                }
                Token::End => return pieces,
                other => panic!("{other:?}"),
            }
        }
    }

    fn literal(len: usize) -> Piece {
        Piece::Literal((0..len).map(|at| (at / 3 * at % 251) as u8).collect())
    }

    #[test]
    fn files_come_back_one_after_the_other() {
        let far = Piece::Block(MAX_BLOCK - 1);
        let files = [
            vec![],
            vec![literal(1)],
            vec![literal(300_000), Piece::Block(0), Piece::Block(1), literal(5)],
            (0..70_000).map(Piece::Block).collect(),
            vec![
                Piece::Block(63),
                Piece::Block(126),
                Piece::Block(190),
                Piece::Block(5),
                literal(40_000),
                Piece::Block(4),
            ],
            vec![far, literal(700), Piece::Block(7), Piece::Block(8), literal(700)],
            vec![Piece::Block(3), Piece::Block(3), Piece::Block(3)],
        ];
        for method in METHODS {
            let mut writer = TokenWriter::new(setting(method));
            let mut counted = 0;
            // Some in a row with the least effort, between others.
            let efforts = [Effort::AsSet, Effort::AsSet, Effort::Least, Effort::Least].into_iter().cycle();
            let bytes = Writer::written(|to| {
                counted = files.iter().zip(efforts).map(|(file, effort)| write(to, &mut writer, file, effort)).sum();
            });
            assert_eq!(counted, bytes.len() as u64);
            let (mut reader, mut tokens) = (Reader::over(bytes), TokenReader::new(false, setting(method)));
            for file in &files {
                assert!(read(&mut reader, &mut tokens) == *file, "{method:?}");
            }
            assert!(tokens.next(&mut reader).is_err());
        }
    }

    #[test]
    fn blocks_take_the_shortest_form() {
        let cases: [(&[u32], &[u8]); 6] = [
            (&[0], b"\x80\0"),
            (&[63], b"\xbf\0"),
            (&[64], b"\x20\x40\0\0\0\0"),
            (&[1, 2, 3], b"\xc1\x02\0\0"),
            (&[100, 101], b"\x21\x64\0\0\0\x01\0\0"),
            (&[5, 4, 5], b"\x85\x21\x04\0\0\0\x01\0\0"),
        ];
        for (blocks, expected) in cases {
            let mut tokens = TokenWriter::new(setting(Method::Zlibx));
            let bytes = Writer::written(|writer| {
                for &block in blocks {
                    tokens.matched(writer, block, b"").unwrap();
                }
                tokens.end(writer).unwrap();
            });
            assert_eq!(bytes, expected);
        }
    }

    fn failure(method: Method, bytes: &[u8]) -> (u8, String) {
        let (mut reader, mut tokens) = (Reader::over(bytes), TokenReader::new(false, setting(method)));
        loop {
            match tokens.next(&mut reader) {
                Ok(Token::End) => panic!("it ended well"),
                Ok(_) => {}
                Err(error) => return (error.code.0, String::from_utf8(error.message).unwrap()),
            }
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let invalid = (2, "invalid token number in compressed stream".to_owned());
        for bytes in [
            &b"\x20\xff\xff\xff\xff"[..],
            b"\x20\xff\xff\xff\x7f",
            b"\x20\xfe\xff\xff\x7f\x81",
            b"\x21\xfd\xff\xff\x7f\x02\0",
            b"\xc0\0\0",
            b"\x01",
            b"\x3f\0\0\0\0",
        ] {
            assert_eq!(failure(Method::Zlib, bytes), invalid, "{bytes:x?}");
        }
    }

    #[test]
    fn compressed_data_that_is_none_is_one_error() {
        for method in METHODS {
            assert_eq!(failure(method, b"\x40\x04\xff\xff\xff\xff\0").0, 12);
        }
        // chunks of nothing are no fault
        assert_eq!(failure(Method::Zlib, &b"\x40\0".repeat(1000)).0, 12);
        let lost = (12, "decompressor lost sync!".to_owned());
        assert_eq!(failure(Method::Zlibx, b"\x40\x01\x4a\0"), lost);
    }
}
