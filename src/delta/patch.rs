//! Building the new file from tokens and the old file.

use std::io;

use crate::{
    fs::window::{Source, Window},
    hash::{FileSum, Sum},
    options::Append,
    proto::{Protocol, sums::SumHead},
};

/// Where the new file goes, from its beginning to its end without gaps; positions, holes and buffers are its own.
pub trait Output {
    fn write(&mut self, data: &[u8]) -> io::Result<()>;
    /// These bytes are in the file already, just here: only in place. Without holes to punch the position moves on.
    fn skip(&mut self, data: &[u8]) -> io::Result<()>;
}

/// Takes everything and keeps nothing: for a file that was asked for but cannot be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Output for Nowhere {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn skip(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The peer names a block that it was never told of: exit 2, `Invalid block index 7 (count=3)`.
    #[error("Invalid block index {block} (count={count})")]
    NoSuchBlock { block: u32, count: u32 },
    /// The peer names a block, but there is no basis file to copy it from: exit 2.
    #[error("got a block match with no basis file")]
    NoBasis,
    /// The new file could not be written: exit 11.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Stands for data that nobody will see.
static BLANK: [u8; 32 * 1024] = [0; 32 * 1024];

/// The new file as far as it was built.
pub struct Patch<'a, S, O> {
    head: SumHead,
    basis: Option<Window<S>>,
    output: &'a mut O,
    in_place: bool,
    /// The data goes nowhere, so that blocks without a basis are no fault.
    discarding: bool,
    file_sum: FileSum,
    position: u64,
    literal: u64,
    matched: u64,
}

/// How it went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patched {
    /// What the peer's whole-file sum must be.
    pub sum: Sum,
    /// Length of the new file.
    pub len: u64,
    /// Bytes that came over the wire, and bytes copied from the basis.
    pub literal: u64,
    pub matched: u64,
}

impl<'a, S: Source, O: Output> Patch<'a, S, O> {
    /// `head` is what the sender repeated of our request; `basis` the old file and its size, if it could be opened;
    /// `in_place`: the output is that same file. C: receiver.c receive_data
    pub fn new(protocol: &Protocol, head: SumHead, basis: Option<(S, u64)>, output: &'a mut O, in_place: bool) -> Self {
        let block_len = head.block_len as usize;
        Self {
            head,
            basis: basis.filter(|(_, size)| *size > 0).map(|(file, size)| Window::new(file, size, block_len)),
            output,
            in_place,
            discarding: false,
            file_sum: FileSum::new(protocol.transfer_sum, protocol.checksum_seed),
            position: 0,
            literal: 0,
            matched: 0,
        }
    }

    /// For data that is only read off the wire.
    pub fn discarding(self) -> Self {
        Self { discarding: true, ..self }
    }

    /// Begins behind what the file has already, which belongs to the sum only if it shall be verified. The output stands
    /// at the returned position.
    pub fn append(&mut self, append: Append) -> u64 {
        let front = self.head.file_len();
        if let (Append::Verify, Some(basis)) = (append, &mut self.basis) {
            let (mut at, end) = (0, front.min(basis.len()));
            while at < end {
                let len = (end - at).min(crate::fs::window::WINDOW as u64) as usize;
                self.file_sum.update(basis.bytes(at, len));
                at += len as u64;
            }
        }
        if append != Append::No {
            self.position = front;
        }
        self.position
    }

    /// Data that came over the wire.
    pub fn literal(&mut self, data: &[u8]) -> Result<(), PatchError> {
        self.file_sum.update(data);
        self.output.write(data)?;
        self.literal += data.len() as u64;
        self.position += data.len() as u64;
        Ok(())
    }

    /// A block of the old file. Returns its data, which a decompressor has to see; where there is no basis, zeros instead, no
    /// more than one remembers.
    ///
    /// What cannot be read of the basis is zeros: the whole-file sums will differ, and the file is asked for again.
    pub fn copy(&mut self, block: u32) -> Result<&[u8], PatchError> {
        if block >= self.head.count {
            return Err(PatchError::NoSuchBlock { block, count: self.head.count });
        }
        let (offset, len) = (self.head.offset_of(block), self.head.len_of(block));
        let stays = self.in_place && offset == self.position;
        self.position += u64::from(len);
        self.matched += u64::from(len);
        let Some(basis) = &mut self.basis else {
            let blank = BLANK.get(..len as usize).unwrap_or(&BLANK);
            return if self.discarding { Ok(blank) } else { Err(PatchError::NoBasis) };
        };
        let data = basis.bytes(offset, len as usize);
        self.file_sum.update(data);
        if stays {
            self.output.skip(data)?;
        } else {
            self.output.write(data)?;
        }
        Ok(data)
    }

    /// A block about to be copied, for `--debug=deltasum3`; `None` where it cannot be.
    pub fn describe(&self, block: u32) -> Option<String> {
        if block >= self.head.count || self.basis.is_none() {
            return None;
        }
        let (len, from, to) = (self.head.len_of(block), self.head.offset_of(block), self.position);
        let seek = if self.in_place && from == to { " (seek)" } else { "" };
        Some(format!("chunk[{block}] of size {len} at {from} offset={to}{seek}"))
    }

    /// Where the next byte goes.
    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn finish(self) -> Patched {
        Patched { sum: self.file_sum.finish(), len: self.position, literal: self.literal, matched: self.matched }
    }
}
