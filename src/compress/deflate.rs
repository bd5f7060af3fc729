//! Raw deflate, one stream a file, cut at flushes.
//!
//! A flush ends with the four bytes 00 00 ff ff, which nobody sends: the encoder drops them, and the decoder puts them in
//! where something else than a chunk follows. Matched data enters the history of both at such a place.

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateError, InflateFlush, Status};

use super::{Effort, Fault, MAX_CHUNK, Method, Setting, Step};

/// What ends a flush.
const MARK: [u8; 4] = [0, 0, 0xff, 0xff];
/// So much matched data is shown at once: the longest block that deflate can store. It matters only where pieces repeat.
const PIECE: usize = 0xffff;
const WINDOW_BITS: u8 = 15;
/// What a block of bytes as they are begins with at a byte's beginning: its length follows, and that inverted.
const STORED: u8 = 0;
const HEAD: usize = 5;
/// How much comes out at once. C: AVAIL_OUT_SIZE(CHUNK_SIZE)
const OUT: usize = 32_816;

pub(super) struct Encoder {
    stream: Deflate,
    buffer: Box<[u8; MAX_CHUNK]>,
    /// How much of the buffer is in use, and of that how much was passed on.
    filled: usize,
    passed: usize,
    /// Nothing was given since the last flush.
    flushed: bool,
    /// Not as new.
    used: bool,
    history: History,
    effort: Effort,
}

/// Whether and how matched data is shown.
#[derive(Clone, Copy)]
struct History {
    wanted: bool,
    repeats: bool,
}

impl History {
    fn new(setting: Setting) -> Self {
        Self { wanted: setting.method == Method::Zlib, repeats: setting.repeats }
    }

    /// The pieces to show. Those of protocol 30 and before all begin where the block does: a fault that both ends have, so
    /// it stays.
    fn pieces(self, matched: &[u8]) -> impl Iterator<Item = &[u8]> {
        let repeats = self.repeats;
        matched.chunks(PIECE).map(move |piece| if repeats { &matched[..piece.len()] } else { piece })
    }
}

impl Encoder {
    pub fn new(setting: Setting) -> Self {
        Self {
            stream: Deflate::new(level(setting.level), false, WINDOW_BITS),
            buffer: Box::new([0; MAX_CHUNK]),
            filled: 0,
            passed: 0,
            flushed: true,
            used: false,
            history: History::new(setting),
            effort: Effort::AsSet,
        }
    }

    pub fn begin(&mut self, effort: Effort) {
        if self.used {
            self.stream.reset();
        }
        (self.filled, self.passed, self.flushed, self.used) = (0, 0, true, false);
        self.effort = effort;
    }

    pub fn next(&mut self, data: &mut &[u8], flush: bool) -> Result<Option<&[u8]>, Fault> {
        if data.is_empty() && (self.flushed || !flush) {
            return Ok(None);
        }
        match self.effort {
            Effort::AsSet => self.compressed(data, flush),
            Effort::Least => Ok(Some(self.stored(data))),
        }
    }

    /// A chunk that is one block of bytes as they are: all of what a stream says that begins and ends at a byte. The flush
    /// is an empty one.
    fn stored(&mut self, data: &mut &[u8]) -> &[u8] {
        self.flushed = data.is_empty();
        if self.flushed {
            return &[STORED];
        }
        let (now, later) = data.split_at(data.len().min(MAX_CHUNK - HEAD));
        let len = now.len() as u16;
        let (head, rest) = self.buffer.split_at_mut(HEAD);
        head[0] = STORED;
        head[1..3].copy_from_slice(&len.to_le_bytes());
        head[3..].copy_from_slice(&(!len).to_le_bytes());
        rest[..now.len()].copy_from_slice(now);
        *data = later;
        &self.buffer[..HEAD + usize::from(len)]
    }

    fn compressed(&mut self, data: &mut &[u8], flush: bool) -> Result<Option<&[u8]>, Fault> {
        self.drop_passed();
        self.used = true;
        self.flushed = false;
        let mode = if flush { DeflateFlush::SyncFlush } else { DeflateFlush::NoFlush };
        loop {
            self.deflate(data, mode)?;
            if self.filled == MAX_CHUNK {
                // What is full now may end with a part of the mark.
                self.passed = if flush { MAX_CHUNK - MARK.len() } else { MAX_CHUNK };
                return Ok(Some(&self.buffer[..self.passed]));
            }
            if data.is_empty() {
                break;
            }
        }
        if !flush {
            return Ok(None);
        }
        self.flushed = true;
        self.passed = self.filled;
        let chunk = self.filled.saturating_sub(MARK.len());
        Ok((chunk > 0).then(|| &self.buffer[..chunk]))
    }

    fn drop_passed(&mut self) {
        self.buffer.copy_within(self.passed..self.filled, 0);
        self.filled -= self.passed;
        self.passed = 0;
    }

    fn deflate(&mut self, data: &mut &[u8], mode: DeflateFlush) -> Result<(), Fault> {
        let (taken, made) = (self.stream.total_in(), self.stream.total_out());
        match self.stream.compress(data, &mut self.buffer[self.filled..], mode) {
            Ok(Status::Ok | Status::BufError) => {}
            Ok(Status::StreamEnd) => return Err(Fault("deflate returned 1".to_owned())),
            Err(error) => return Err(Fault(format!("deflate returned {}", error as i32))),
        }
        *data = data.get((self.stream.total_in() - taken) as usize..).unwrap_or_default();
        self.filled += (self.stream.total_out() - made) as usize;
        Ok(())
    }

    pub fn show(&mut self, matched: &[u8]) -> Result<(), Fault> {
        if !self.history.wanted || self.effort == Effort::Least {
            return Ok(());
        }
        self.used = true;
        for piece in self.history.pieces(matched) {
            self.stream.set_dictionary(piece).map_err(|error| {
                Fault(format!("deflate on token returned {} ({} bytes left)", error as i32, piece.len()))
            })?;
        }
        Ok(())
    }
}

/// The library's level for one of the reference's. It is twice as fast at each, but leaves more, of programs above all: one
/// further up it is still faster, and leaves no more than 1.03 times as much.
fn level(level: i32) -> i32 {
    (level + 1).min(9)
}

pub(super) struct Decoder {
    stream: Inflate,
    buffer: Box<[u8; OUT]>,
    /// Chunks came since the last mark.
    running: bool,
    used: bool,
    history: History,
}

impl Decoder {
    pub fn new(setting: Setting) -> Self {
        Self {
            stream: Inflate::new(false, WINDOW_BITS),
            buffer: Box::new([0; OUT]),
            running: false,
            used: false,
            history: History::new(setting),
        }
    }

    pub fn begin(&mut self) {
        if self.used {
            self.stream.reset(false);
        }
        (self.running, self.used) = (false, false);
    }

    pub fn step(&mut self, input: &[u8]) -> Result<Step, Fault> {
        (self.running, self.used) = (true, true);
        self.inflate(input).map_err(|(code, made)| Fault(format!("inflate returned {code} ({made} bytes)")))
    }

    /// Deflate has an end of its own, which is no place for a file's data to end.
    fn inflate(&mut self, input: &[u8]) -> Result<Step, (i32, u64)> {
        let (taken, made) = (self.stream.total_in(), self.stream.total_out());
        let result = self.stream.decompress(input, &mut self.buffer[..], InflateFlush::SyncFlush);
        let (taken, made) = (self.stream.total_in() - taken, self.stream.total_out() - made);
        match result {
            Ok(Status::Ok | Status::BufError) => {
                Ok(Step { taken: taken as usize, made: made as usize, more: made == OUT as u64 })
            }
            Ok(Status::StreamEnd) => Err((1, made)),
            Err(InflateError::NeedDict { .. }) => Err((2, made)),
            Err(InflateError::StreamError) => Err((-2, made)),
            Err(InflateError::DataError) => Err((-3, made)),
            Err(InflateError::MemError) => Err((-4, made)),
        }
    }

    pub fn output(&self) -> &[u8] {
        &self.buffer[..]
    }

    pub fn flushed(&mut self) -> Result<(), Fault> {
        if !self.running {
            return Ok(());
        }
        self.running = false;
        match self.inflate(&MARK) {
            Ok(Step { taken: 4, made: 0, .. }) => Ok(()),
            _ => Err(Fault("decompressor lost sync!".to_owned())),
        }
    }

    pub fn show(&mut self, matched: &[u8]) -> Result<(), Fault> {
        if !self.history.wanted {
            return Ok(());
        }
        self.used = true;
        for piece in self.history.pieces(matched) {
            self.stream.set_dictionary(piece).map_err(|_| Fault("inflate (token) returned -2".to_owned()))?;
        }
        Ok(())
    }
}
