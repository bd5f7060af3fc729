//! lz4 blocks, each on its own.
//!
//! A block must fit a chunk, and what it tells must fit a peer's buffer. So each takes as much of the data as comes to one
//! chunk, but no more than `block::MAX_INPUT`.

mod block;

use lz4_flex::block::decompress_into;

use self::block::{Compressor, MAX_INPUT, STRIDE};
use super::{Effort, Fault, MAX_CHUNK, Step};

/// What a peer's block may tell. C: LZ4_compressBound(CHUNK_SIZE)
const OUT: usize = MAX_INPUT + MAX_INPUT / 255 + 16;

pub(super) struct Encoder {
    compressor: Compressor,
    buffer: Box<[u8; MAX_CHUNK + STRIDE]>,
    effort: Effort,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { compressor: Compressor::default(), buffer: Box::new([0; MAX_CHUNK + STRIDE]), effort: Effort::AsSet }
    }
}

impl Encoder {
    pub fn begin(&mut self, effort: Effort) {
        self.effort = effort;
    }

    pub fn next(&mut self, data: &mut &[u8]) -> Option<&[u8]> {
        if data.is_empty() {
            return None;
        }
        let (taken, made) = match self.effort {
            Effort::AsSet => self.compressor.compress(data, &mut self.buffer[..], MAX_CHUNK),
            Effort::Least => block::of_literals(data, &mut self.buffer[..], MAX_CHUNK),
        };
        *data = data.get(taken..).unwrap_or_default();
        self.buffer.get(..made)
    }
}

pub(super) struct Decoder {
    buffer: Box<[u8; OUT]>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { buffer: Box::new([0; OUT]) }
    }
}

impl Decoder {
    /// A chunk is always whole.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let made =
            decompress_into(input, &mut self.buffer[..]).map_err(|_| Fault("uncompress failed: -1".to_owned()))?;
        Ok(Step { taken: input.len(), made, more: false })
    }

    pub fn output(&self) -> &[u8] {
        &self.buffer[..]
    }
}
