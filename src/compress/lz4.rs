//! lz4 blocks, each on its own.
//!
//! A chunk must fit the token stream when it is compressed, and a peer's buffer when it is not. So a piece of the data is
//! as long as the buffer allows while data compresses to less than half, else as long as a chunk; what grows beyond a chunk
//! even so is halved.

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

use super::{Fault, MAX_CHUNK, Step};

/// The longest piece.
const MAX_PIECE: usize = 32_768;
/// What a peer's piece may come to. C: LZ4_compressBound(CHUNK_SIZE)
const OUT: usize = MAX_PIECE + MAX_PIECE / 255 + 16;

pub(super) struct Encoder {
    table: CompressTable,
    buffer: Box<[u8]>,
    /// How long the next piece may be.
    piece: usize,
}

impl Default for Encoder {
    fn default() -> Self {
        let buffer = vec![0; get_maximum_output_size(MAX_PIECE)].into_boxed_slice();
        Self { table: CompressTable::small(), buffer, piece: MAX_PIECE }
    }
}

impl Encoder {
    pub fn next(&mut self, data: &mut &[u8]) -> Result<Option<&[u8]>, Fault> {
        let mut piece = data.len().min(self.piece);
        while piece > 0 {
            let (front, rest) = data.split_at(piece);
            let made = compress_into_with_table(front, &mut self.buffer, &mut self.table)
                .map_err(|_| Fault("compress returned 0".to_owned()))?;
            if made <= MAX_CHUNK {
                *data = rest;
                self.piece = if made * 2 < piece { MAX_PIECE } else { MAX_CHUNK };
                return Ok(self.buffer.get(..made));
            }
            piece = if piece > MAX_CHUNK { MAX_CHUNK } else { piece / 2 };
        }
        Ok(None)
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
