//! The compression algorithms behind one enum.
//!
//! An encoder turns a file's literal data into chunks of at most `MAX_CHUNK` bytes, a decoder turns them back; both keep one
//! buffer of fixed size, whatever comes. What a chunk depends on is a matter of the algorithm: with deflate on all chunks of
//! the file before it, with zstd on all of the session, with lz4 on none. With `zlib` (not `zlibx`) it also depends on the
//! data that the far side had already, which both ends show to their coder as it passes.

mod deflate;
mod lz4;
mod suffixes;
mod zstd;

pub use suffixes::Suffixes;

/// The longest chunk that a token stream has room for. C: MAX_DATA_COUNT
pub const MAX_CHUNK: usize = 16_383;

/// How file data is compressed on its way, as negotiated, chosen or implied. C: CPRES_*
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Method {
    #[default]
    None,
    /// Deflate, with the data of matched blocks in its history.
    Zlib,
    /// Deflate of the literal data alone.
    Zlibx,
    Lz4,
    Zstd,
}

impl Method {
    /// The names of `--compress-choice` in the order of preference. C: valid_compressions_items
    pub const NAMES: [(&'static str, Self); 5] =
        [("zstd", Self::Zstd), ("lz4", Self::Lz4), ("zlibx", Self::Zlibx), ("zlib", Self::Zlib), ("none", Self::None)];

    /// What a client offers in the negotiation; a server adds ` none`.
    pub const OFFER: &'static str = "zstd lz4 zlibx zlib";

    /// By name, in either case. `auto` is not a name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let mut names = Self::NAMES.into_iter();
        names.find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name)).map(|(_, method)| method)
    }

    /// The name that negotiation, options and debug lines use.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zlib => "zlib",
            Self::Zlibx => "zlibx",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The level that a wish comes to; `None` where it means not to compress at all. C: token.c init_compression_level
    pub fn level(self, asked: Option<i32>) -> Option<i32> {
        match (self, asked) {
            (Self::None, _) | (Self::Zlib | Self::Zlibx, Some(0)) => None,
            (Self::Zlib | Self::Zlibx, None | Some(-1)) => Some(6),
            (Self::Zlib | Self::Zlibx, Some(level)) => Some(level.clamp(1, 9)),
            (Self::Lz4, _) => Some(0),
            (Self::Zstd, None | Some(0)) => Some(zstd::DEFAULT_LEVEL),
            (Self::Zstd, Some(level)) => Some(level.clamp(zstd::min_level(), zstd::max_level())),
        }
    }
}

/// What a coder is made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setting {
    pub method: Method,
    /// One that `Method::level` gave.
    pub level: i32,
    /// Threads of a zstd encoder beside our own.
    pub threads: u32,
    /// Long matched blocks are shown to zlib as older peers do: of each piece the beginning of the block again.
    pub repeats: bool,
    /// The most bytes that a peer may make a decoder take at once, `--max-alloc`.
    pub max_alloc: u64,
}

/// How hard an encoder tries, file by file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Effort {
    #[default]
    AsSet,
    Least,
}

/// A stream that cannot go on; its coder is of no more use. The words are the reference's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(String);

/// Makes chunks.
pub struct Encoder(Encoding);

enum Encoding {
    Deflate(Box<deflate::Encoder>),
    Lz4(Box<lz4::Encoder>),
    Zstd(Box<zstd::Encoder>),
}

impl Encoder {
    /// `None` if there is nothing to do, with `Method::None`.
    pub fn new(setting: Setting) -> Result<Option<Self>, Fault> {
        Ok(Some(Self(match setting.method {
            Method::None => return Ok(None),
            Method::Zlib | Method::Zlibx => Encoding::Deflate(Box::new(deflate::Encoder::new(setting))),
            Method::Lz4 => Encoding::Lz4(Box::default()),
            Method::Zstd => Encoding::Zstd(Box::new(zstd::Encoder::new(setting)?)),
        })))
    }

    /// A file begins, of about that size, with as much effort as was set, or the least: then what the far side needs to go
    /// on is all that is done. What was given before was flushed.
    pub fn begin(&mut self, size: u64, effort: Effort) {
        match &mut self.0 {
            Encoding::Deflate(encoder) => encoder.begin(effort),
            Encoding::Lz4(encoder) => encoder.begin(effort),
            Encoding::Zstd(encoder) => encoder.begin(size, effort),
        }
    }

    /// Takes from the front of `data`, and returns a chunk when there is one. To be called until there is none: then all is
    /// taken, and if `flush` is set, the far side can tell all of it from the chunks so far.
    pub fn next(&mut self, data: &mut &[u8], flush: bool) -> Result<Option<&[u8]>, Fault> {
        match &mut self.0 {
            Encoding::Deflate(encoder) => encoder.next(data, flush),
            Encoding::Lz4(encoder) => Ok(encoder.next(data)),
            Encoding::Zstd(encoder) => encoder.next(data, flush),
        }
    }

    /// Data that the far side has already. What was given before was flushed.
    pub fn show(&mut self, matched: &[u8]) -> Result<(), Fault> {
        match &mut self.0 {
            Encoding::Deflate(encoder) => encoder.show(matched),
            _ => Ok(()),
        }
    }
}

/// What became of some input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// So much of it is done with.
    pub taken: usize,
    /// So much output there is: `Decoder::output`.
    pub made: usize,
    /// More output may come without more input.
    pub more: bool,
}

/// Takes chunks apart.
pub struct Decoder(Decoding);

enum Decoding {
    Deflate(Box<deflate::Decoder>),
    Lz4(Box<lz4::Decoder>),
    Zstd(Box<zstd::Decoder>),
}

impl Decoder {
    /// `None` if there is nothing to do, with `Method::None`.
    pub fn new(setting: Setting) -> Result<Option<Self>, Fault> {
        Ok(Some(Self(match setting.method {
            Method::None => return Ok(None),
            Method::Zlib | Method::Zlibx => Decoding::Deflate(Box::new(deflate::Decoder::new(setting))),
            Method::Lz4 => Decoding::Lz4(Box::default()),
            Method::Zstd => Decoding::Zstd(Box::new(zstd::Decoder::new(setting.max_alloc)?)),
        })))
    }

    /// A file begins.
    pub fn begin(&mut self) {
        if let Decoding::Deflate(decoder) = &mut self.0 {
            decoder.begin();
        }
    }

    /// Goes on with what is left of a chunk, until there is nothing left and no more output.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Fault> {
        match &mut self.0 {
            Decoding::Deflate(decoder) => decoder.step(input),
            Decoding::Lz4(decoder) => decoder.step(input),
            Decoding::Zstd(decoder) => decoder.step(input),
        }
    }

    /// What the last step made.
    pub fn output(&self, made: usize) -> &[u8] {
        let buffer = match &self.0 {
            Decoding::Deflate(decoder) => decoder.output(),
            Decoding::Lz4(decoder) => decoder.output(),
            Decoding::Zstd(decoder) => decoder.output(),
        };
        buffer.get(..made).unwrap_or_default()
    }

    /// The chunks so far end where the sender flushed: something else than a chunk follows.
    pub fn flushed(&mut self) -> Result<(), Fault> {
        match &mut self.0 {
            Decoding::Deflate(decoder) => decoder.flushed(),
            _ => Ok(()),
        }
    }

    /// Data of a matched block.
    pub fn show(&mut self, matched: &[u8]) -> Result<(), Fault> {
        match &mut self.0 {
            Decoding::Deflate(decoder) => decoder.show(matched),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
