//! zstd, one frame a session, flushed where a file's literal data is interrupted.
//!
//! The level cannot change within a frame, and a new one begins without history. So for a file that is not worth the effort
//! there is a new frame only if it is so long that the window would hold nothing else after it anyway.

use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, zstd_sys::ZSTD_EndDirective};

use super::{Effort, Fault, MAX_CHUNK, Setting, Step};

pub(super) const DEFAULT_LEVEL: i32 = zstd_safe::CLEVEL_DEFAULT;
/// How much comes out at once: two of the library's blocks.
const OUT: usize = 2 * (128 << 10);
/// From this size on a file has a frame of its own if it is to be sent with the least effort: the default level's window.
const OWN_FRAME: u64 = 2 << 20;
/// Binary logarithms of windows that a stream may ask for: what every decoder should have (RFC 8878, 3.1.1.1.2), and the
/// longest that any level makes.
const WINDOWS: [u32; 2] = [23, 27];

pub(super) fn min_level() -> i32 {
    zstd_safe::min_c_level()
}

pub(super) fn max_level() -> i32 {
    zstd_safe::max_c_level()
}

pub(super) struct Encoder {
    context: CCtx<'static>,
    buffer: Box<[u8; MAX_CHUNK]>,
    filled: usize,
    /// The chunk in the buffer was passed on, and the flush is over.
    done: bool,
    /// The level as set, that of the frame, if there is one, and that of the file.
    usual: i32,
    frame: Option<i32>,
    level: i32,
}

impl Encoder {
    pub fn new(setting: Setting) -> Result<Self, Fault> {
        let failed = || Fault("compression init failed".to_owned());
        let mut context = CCtx::try_create().ok_or_else(failed)?;
        if setting.threads > 0 {
            // Too many are as many as there can be.
            context.set_parameter(CParameter::NbWorkers(setting.threads)).map_err(|_| failed())?;
        }
        let (usual, buffer) = (setting.level, Box::new([0; MAX_CHUNK]));
        Ok(Self { context, buffer, filled: 0, done: false, usual, frame: None, level: usual })
    }

    pub fn begin(&mut self, size: u64, effort: Effort) {
        self.level = match effort {
            Effort::Least if size >= OWN_FRAME => min_level(),
            _ => self.usual,
        };
    }

    pub fn next(&mut self, data: &mut &[u8], flush: bool) -> Result<Option<&[u8]>, Fault> {
        if std::mem::take(&mut self.done) && data.is_empty() {
            return Ok(None);
        }
        if self.frame != Some(self.level) {
            self.begin_frame()?;
        }
        let directive = if flush { ZSTD_EndDirective::ZSTD_e_flush } else { ZSTD_EndDirective::ZSTD_e_continue };
        loop {
            let left = self.compress(data, directive)?;
            self.done = if flush { left == 0 } else { data.is_empty() };
            if self.filled == MAX_CHUNK || self.done && flush && self.filled > 0 {
                let chunk = std::mem::take(&mut self.filled);
                return Ok(Some(&self.buffer[..chunk]));
            }
            if self.done {
                self.done = false;
                return Ok(None);
            }
        }
    }

    /// Ends the frame, if there is one: its last block goes first in the next chunk.
    fn begin_frame(&mut self) -> Result<(), Fault> {
        if self.frame.is_some() {
            while self.compress(&mut &b""[..], ZSTD_EndDirective::ZSTD_e_end)? > 0 {
                if self.filled == MAX_CHUNK {
                    return Err(Fault("what was given before a new frame was not flushed".to_owned()));
                }
            }
        }
        let [chain, search] = trimmed(self.level);
        for parameter in
            [CParameter::CompressionLevel(self.level), CParameter::ChainLog(chain), CParameter::SearchLog(search)]
        {
            self.context
                .set_parameter(parameter)
                .map_err(|code| Fault(format!("ZSTD_CCtx_setParameter returned {}", code as i32)))?;
        }
        self.frame = Some(self.level);
        Ok(())
    }

    /// Behind what is in the buffer, as far as there is room; returns how much more there is, at least.
    fn compress(&mut self, data: &mut &[u8], directive: ZSTD_EndDirective) -> Result<usize, Fault> {
        let mut output = OutBuffer::around_pos(&mut self.buffer[..], self.filled);
        let mut input = InBuffer::around(data);
        let left = self
            .context
            .compress_stream2(&mut output, &mut input, directive)
            .map_err(|code| Fault(format!("ZSTD_compressStream returned {}", code as i32)))?;
        self.filled = output.pos();
        *data = data.get(input.pos()..).unwrap_or_default();
        Ok(left)
    }
}

/// What a level is to make do with, as binary logarithms of table and tries; 0 for what the library thinks best. At these levels
/// it leaves the reference's bytes and takes the reference's time; a little less of one is worth more than as much of the other.
fn trimmed(level: i32) -> [u32; 2] {
    match level {
        DEFAULT_LEVEL => [15, 0],
        7..=9 => [0, 3],
        _ => [0, 0],
    }
}

pub(super) struct Decoder {
    context: DCtx<'static>,
    buffer: Box<[u8]>,
}

impl Decoder {
    pub fn new(max_alloc: u64) -> Result<Self, Fault> {
        let failed = || Fault("ZSTD_createDStream failed".to_owned());
        let mut context = DCtx::try_create().ok_or_else(failed)?;
        let [least, most] = WINDOWS;
        let window = max_alloc.checked_ilog2().unwrap_or(0).clamp(least, most);
        context.set_parameter(DParameter::WindowLogMax(window)).map_err(|_| failed())?;
        Ok(Self { context, buffer: vec![0; OUT].into_boxed_slice() })
    }

    pub fn step(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let mut output = OutBuffer::around(&mut self.buffer[..]);
        let mut source = InBuffer::around(input);
        let result = self.context.decompress_stream(&mut output, &mut source);
        let (taken, made) = (source.pos(), output.pos());
        match result {
            Ok(_) => Ok(Step { taken, made, more: made == OUT }),
            Err(code) => Err(Fault(format!("ZSTD decomp returned {} ({made} bytes)", code as i32))),
        }
    }

    pub fn output(&self) -> &[u8] {
        &self.buffer
    }
}
