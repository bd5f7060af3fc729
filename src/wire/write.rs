//! The writing side: a buffer before a half, the multiplexer, and the encoders of plain wire values.

use std::{
    io::{self, IoSlice},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Pulse, Tag, Watch, WriteHalf,
    frame::{self, MAX_DATA},
    int::{self, Encoded},
    read::check_timeout,
    watch::number,
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result, errno_text},
};

const BUFFER: usize = 64 * 1024;
/// From this size on a caller's bytes are written from where they are; the longest chunks of compressed data are gathered.
const DIRECT: usize = 24 * 1024;
/// A text is cut into messages of at most this size, which every peer takes.
const MESSAGE_PIECE: usize = 4096;

/// Lines that a peer does not take are kept up to this size.
const LINES: usize = 16 << 20;

/// What became of a line for the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// Messages cannot be sent: the caller finds another way.
    Not,
    /// It waits, and nothing did before.
    First,
    /// It waits behind others; or, with so much waiting that only a peer that listens to nothing can have caused it, it
    /// is dropped.
    Behind,
}

/// Messages on their way to the peer: any thread puts them in, the `Writer` takes them along with its next write.
#[derive(Clone, Default)]
pub struct Outbox(Arc<Queue>);

#[derive(Default)]
struct Queue {
    /// Whether the connection can carry messages.
    open: AtomicBool,
    waiting: AtomicBool,
    frames: Mutex<Vec<u8>>,
    /// Who hears of messages, and whose they are.
    watch: OnceLock<Watch>,
    role: Mutex<&'static str>,
}

impl Outbox {
    /// Puts a message in; false when messages cannot be sent (not multiplexed: the caller finds another way).
    fn push(&self, tag: Tag, payload: &[u8]) -> bool {
        if !self.0.open.load(Ordering::Acquire) {
            return false;
        }
        self.tell(tag, payload);
        self.put(tag, payload, usize::MAX) != Said::Not
    }

    /// Puts a line in, as far as there is room.
    pub fn say(&self, tag: Tag, line: &[u8]) -> Said {
        if self.0.open.load(Ordering::Acquire) {
            self.tell(tag, line);
        }
        self.put(tag, line, LINES)
    }

    /// Tells of a message. C: in io.c send_msg, send_msg_int, send_msg_success
    fn tell(&self, tag: Tag, payload: &[u8]) {
        let Some(watch) = self.0.watch.get() else { return };
        let role = *self.0.role.lock().unwrap_or_else(PoisonError::into_inner);
        let number = || payload.first_chunk().map_or(0, |number| i32::from_le_bytes(*number));
        match tag {
            Tag::Success if payload.len() > 4 => watch.tell(1, role, || format!("send_msg_success({})", number())),
            Tag::Success | Tag::NoSend | Tag::IoError | Tag::IoTimeout => {
                watch.tell(1, role, || format!("send_msg_int({}, {})", tag as u8, number()));
            }
            Tag::ErrorExit if !payload.is_empty() => {
                watch.tell(1, role, || format!("send_msg_int({}, {})", tag as u8, number()));
            }
            Tag::Info => watch.tell_flow(1, role, || format!("send_msg({}, {})", tag as u8, payload.len())),
            _ => watch.tell(1, role, || format!("send_msg({}, {})", tag as u8, payload.len())),
        }
    }

    fn put(&self, tag: Tag, payload: &[u8], room: usize) -> Said {
        if !self.0.open.load(Ordering::Acquire) {
            return Said::Not;
        }
        let mut frames = self.frames();
        if frames.len() > room {
            return Said::Behind;
        }
        let pieces = payload.chunks(MESSAGE_PIECE).chain(payload.is_empty().then_some(&[][..]));
        for piece in pieces {
            frames.extend_from_slice(&frame::header(tag, piece.len()));
            frames.extend_from_slice(piece);
        }
        if self.0.waiting.swap(true, Ordering::AcqRel) { Said::Behind } else { Said::First }
    }

    pub fn is_empty(&self) -> bool {
        !self.0.waiting.load(Ordering::Acquire)
    }

    fn frames(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<u8> {
        if !self.0.waiting.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        mem::take(&mut *self.frames())
    }
}

/// One direction of a connection, outwards. Nothing leaves before `flush` but what the buffer cannot hold.
pub struct Writer {
    half: Box<dyn WriteHalf>,
    /// Data not yet written; when multiplexing it begins with room for the frame's header.
    buffer: Vec<u8>,
    multiplexed: bool,
    outbox: Outbox,
    /// What an interruption kept from leaving in the middle of a frame: it goes first if there is more to say.
    unsent: Vec<u8>,
    total: u64,
    /// The handshake is going on: a failing write has another text and status.
    handshake: bool,
    role: &'static str,
    pulse: Pulse,
    /// When writing is given up, whatever the timeout.
    deadline: Option<Instant>,
    /// Where all data is also written, without frames and messages.
    copy: Option<Box<Writer>>,
    /// What of the buffer the copy has already.
    copied: usize,
    /// How a failing write names what is written to.
    target: &'static str,
    watch: Watch,
}

impl Writer {
    /// `role` as for `Reader::new`.
    pub fn new(half: Box<dyn WriteHalf>, pulse: Pulse, role: &'static str) -> Self {
        let buffer = Vec::with_capacity(BUFFER);
        Self {
            half,
            buffer,
            multiplexed: false,
            outbox: Outbox::default(),
            unsent: Vec::new(),
            total: 0,
            handshake: true,
            role,
            pulse,
            deadline: None,
            copy: None,
            copied: 0,
            target: "socket",
            watch: Watch::default(),
        }
    }

    /// From now on it is told what is written. C: --debug=io
    pub fn watch(&mut self, watch: Watch) {
        let _ = self.outbox.0.watch.set(watch.clone()); // once, with the same role
        self.watch = watch;
        self.set_role(self.role);
    }

    /// A writer of a batch file.
    pub fn to_batch(half: Box<dyn WriteHalf>, role: &'static str) -> Self {
        Self { target: "batch file", ..Self::new(half, Pulse::default(), role) }
    }

    /// From the next byte on all data goes to `copy` as well.
    pub fn copy_to(&mut self, copy: Self) {
        self.copied = self.buffer.len();
        self.copy = Some(Box::new(copy));
    }

    /// The copy, for what is not to go to the peer; it has what was written before.
    pub fn copy(&mut self) -> Result<Option<&mut Self>> {
        self.copy_rest(&[])?;
        Ok(self.copy.as_deref_mut())
    }

    /// Gives the copy what it has not yet: of the buffer, and what follows that.
    fn copy_rest(&mut self, parts: &[&[u8]]) -> Result<()> {
        let Some(copy) = &mut self.copy else { return Ok(()) };
        copy.bytes(self.buffer.get(self.copied..).unwrap_or_default())?;
        self.copied = self.buffer.len();
        parts.iter().try_for_each(|part| copy.bytes(part))
    }

    /// A writer whose bytes can be looked at after `flush`.
    pub fn into_memory() -> (Self, Arc<Mutex<Vec<u8>>>) {
        let kept = Arc::default();
        (Self::new(Box::new(Arc::clone(&kept)), Pulse::default(), "sender"), kept)
    }

    /// What is written to it.
    #[cfg(test)]
    pub fn written(write: impl FnOnce(&mut Self)) -> Vec<u8> {
        let (mut writer, kept) = Self::into_memory();
        write(&mut writer);
        writer.flush().unwrap();
        let mut kept = kept.lock().unwrap();
        std::mem::take(&mut *kept)
    }

    /// Tells of something that has to do with what is written.
    pub fn tell(&self, level: u8, what: impl FnOnce() -> String) {
        self.watch.tell(level, self.role, what);
    }

    pub fn set_role(&mut self, role: &'static str) {
        *self.outbox.0.role.lock().unwrap_or_else(PoisonError::into_inner) = role;
        self.role = role;
    }

    pub fn role(&self) -> &'static str {
        self.role
    }

    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// A hand on the messages that this writer sends.
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// From the next byte on the peer gets frames; what was written before goes out plain.
    pub fn multiplex(&mut self) -> Result<()> {
        if !self.multiplexed {
            self.flush()?;
            let half = number(self.half.number());
            self.watch.tell_flow(2, self.role, || format!("io_start_multiplex_out({half})"));
            self.multiplexed = true;
            self.buffer.extend_from_slice(&[0; 4]);
            self.outbox.0.open.store(true, Ordering::Release);
        }
        Ok(())
    }

    pub fn is_multiplexed(&self) -> bool {
        self.multiplexed
    }

    /// From the next byte on the peer gets no frames, until `multiplex` is called again; messages find no way meanwhile.
    pub fn pause_multiplex(&mut self) -> Result<()> {
        self.watch.tell_flow(2, self.role, || "io_end_multiplex_out(mode=2)".into());
        self.outbox.0.open.store(false, Ordering::Release);
        self.flush()?;
        self.multiplexed = false;
        self.buffer.clear();
        Ok(())
    }

    /// Bytes that went out so far, frame headers and messages included; not what still waits in the buffer.
    /// C: stats.total_written
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The handshake is over; counts from here on, for the statistics leave it out. All was flushed.
    pub fn restart_count(&mut self) {
        self.total = 0;
        self.handshake = false;
    }

    /// Counts bytes that went another way but belong to this direction, less those that do not.
    pub fn account(&mut self, bytes: i64) {
        self.total = self.total.saturating_add_signed(bytes);
    }

    fn empty_len(&self) -> usize {
        if self.multiplexed { 4 } else { 0 }
    }

    /// Whether `flush` would write nothing.
    pub fn is_empty(&self) -> bool {
        self.buffer.len() == self.empty_len() && self.outbox.is_empty()
    }

    /// Sends what was written and what the outbox holds.
    pub fn flush(&mut self) -> Result<()> {
        self.emit(&[])
    }

    /// A sign of life, if nothing was sent for half the timeout. C: io.c maybe_send_keepalive
    pub fn keepalive(&mut self) -> Result<()> {
        if !self.pulse.keepalive_due() {
            return Ok(());
        }
        if !self.is_empty() {
            return self.flush();
        }
        if self.multiplexed {
            self.send(&mut [IoSlice::new(&frame::header(Tag::Data, 0))], false)?;
        }
        Ok(())
    }

    /// Puts a message behind those that wait; it leaves with the next write. False when not multiplexing.
    pub fn message(&mut self, tag: Tag, payload: &[u8]) -> bool {
        self.outbox.push(tag, payload)
    }

    /// A message that is one number: `IoError`, `NoSend`, `Success`, `ErrorExit`, …
    pub fn message_int(&mut self, tag: Tag, value: i32) -> bool {
        self.message(tag, &value.to_le_bytes())
    }

    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() <= BUFFER && bytes.len() < DIRECT {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.gather(&[bytes])
    }

    /// Data in several parts, one after the other; not copied when it is much, but written at once.
    pub fn gather(&mut self, parts: &[&[u8]]) -> Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len < DIRECT {
            if self.buffer.len() + len > BUFFER {
                let over = self.buffer.len() + len - BUFFER;
                self.watch.tell_flow(3, self.role, || format!("perform_io({len}, outroom) needs to flush {over}"));
                self.emit(&[])?;
            }
            parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
            return Ok(());
        }
        if self.buffer.len() + len <= MAX_DATA {
            return self.emit(parts);
        }
        for piece in parts.iter().flat_map(|part| part.chunks(MAX_DATA / 2)) {
            self.emit(&[piece])?;
        }
        Ok(())
    }

    pub fn byte(&mut self, value: u8) -> Result<()> {
        self.bytes(&[value])
    }

    /// C: io.c write_shortint
    pub fn u16(&mut self, value: u16) -> Result<()> {
        self.bytes(&value.to_le_bytes())
    }

    /// C: io.c write_int
    pub fn int(&mut self, value: i32) -> Result<()> {
        self.bytes(&value.to_le_bytes())
    }

    fn encoded(&mut self, value: Encoded) -> Result<()> {
        self.bytes(&value)
    }

    pub fn varint(&mut self, value: i32) -> Result<()> {
        self.encoded(int::varint(value))
    }

    /// `min` is 3 to 8.
    pub fn varlong(&mut self, value: i64, min: usize) -> Result<()> {
        self.encoded(int::varlong(value, min))
    }

    pub fn longint(&mut self, value: i64) -> Result<()> {
        self.encoded(int::longint(value))
    }

    /// A string of at most 0x7fff bytes behind its length. C: io.c write_vstring
    pub fn vstring(&mut self, string: &[u8]) -> Result<()> {
        let Some(prefix) = int::string_length(string.len()) else {
            let message = format!("attempting to send over-long vstring ({} > {})", string.len(), 0x7fff);
            return Err(Error::new(ExitCode::PROTOCOL, message));
        };
        self.encoded(prefix)?;
        self.bytes(string)
    }

    /// Writes waiting messages, then one frame of the buffer and `parts`. Together they fit into a frame.
    fn emit(&mut self, parts: &[&[u8]]) -> Result<()> {
        self.copy_rest(parts)?;
        let messages = self.outbox.take();
        let mut buffer = mem::take(&mut self.buffer);
        let empty = self.empty_len();
        let len = buffer.len() - empty + parts.iter().map(|part| part.len()).sum::<usize>();
        let mut slices = Vec::with_capacity(parts.len() + 2);
        if !messages.is_empty() {
            slices.push(IoSlice::new(&messages));
        }
        if len > 0 {
            if let Some(room) = buffer[..empty].first_chunk_mut() {
                self.watch.tell_flow(1, self.role, || format!("send_msg(0, {len})"));
                *room = frame::header(Tag::Data, len);
            }
            slices.push(IoSlice::new(&buffer));
            slices.extend(parts.iter().map(|part| IoSlice::new(part)));
        }
        let sent = self.send(&mut slices, true);
        drop(slices);
        buffer.truncate(empty);
        self.copied = empty;
        self.buffer = buffer;
        sent
    }

    /// The error for `left` bytes that cannot be written. C: io.c safe_write, perform_io
    #[track_caller]
    fn broken(&self, error: &io::Error, left: usize) -> Error {
        let why = errno_text(error);
        if self.handshake {
            let what = bytes![" bytes to ", self.target, ": ", why];
            let line = bytes!["rsync: [", self.role, "] safe_write failed to write ", left, what];
            return Error::new(ExitCode::STREAM_IO, line);
        }
        Error::new(ExitCode::SOCKET_IO, bytes!["rsync: [", self.role, "] write error: ", why])
    }

    /// As `flush`, but given up when that takes longer than `time`: for last words to a peer that may not listen.
    pub fn flush_within(&mut self, time: Duration) -> Result<()> {
        self.deadline = Some(Instant::now() + time);
        let flushed = self.flush();
        self.deadline = None;
        flushed
    }

    fn send(&mut self, slices: &mut [IoSlice<'_>], data: bool) -> Result<()> {
        if !self.unsent.is_empty() {
            let unsent = mem::take(&mut self.unsent);
            let sent = self.push(&mut [IoSlice::new(&unsent)], data);
            if sent.is_err() {
                slices.iter().for_each(|slice| self.unsent.extend_from_slice(slice));
                return sent;
            }
        }
        self.push(slices, data)
    }

    fn push(&mut self, mut slices: &mut [IoSlice<'_>], data: bool) -> Result<()> {
        IoSlice::advance_slices(&mut slices, 0); // drops empty ones
        while !slices.is_empty() {
            let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            self.half.set_timeout(match (left, self.pulse.patience()) {
                (Some(left), Some(patience)) => Some(left.min(patience)),
                (left, patience) => left.or(patience),
            });
            match self.half.write(slices) {
                Ok(count) => {
                    if !self.handshake {
                        self.watch.tell_flow(2, self.role, || format!("out sent={count}"));
                    }
                    self.total += count as u64;
                    self.pulse.sent(data);
                    IoSlice::advance_slices(&mut slices, count);
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut && left.is_none() => {
                    check_timeout(&self.pulse, self.role)?;
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(Error::silent(ExitCode::TIMEOUT)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    slices.iter().for_each(|slice| self.unsent.extend_from_slice(slice));
                    return Err(Error::silent(ExitCode::SIGNAL));
                }
                Err(error) => return Err(self.broken(&error, slices.iter().map(|part| part.len()).sum())),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Reader, Rules};

    /// Takes few bytes at a time.
    struct Slow(Arc<Mutex<Vec<u8>>>);

    impl WriteHalf for Slow {
        fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
            let first = buffers.iter().find(|part| !part.is_empty()).unwrap();
            let len = first.len().min(5000);
            self.0.lock().unwrap().extend_from_slice(&first[..len]);
            Ok(len)
        }

        fn set_timeout(&mut self, _: Option<std::time::Duration>) {}
    }

    #[test]
    fn values_leave_with_the_flush() {
        let (mut writer, kept) = Writer::into_memory();
        writer.byte(7).unwrap();
        writer.u16(0x1234).unwrap();
        writer.int(-2).unwrap();
        writer.varint(0x4000).unwrap();
        writer.varlong(0x1234, 3).unwrap();
        writer.longint(5).unwrap();
        writer.vstring(b"abc").unwrap();
        assert_eq!((writer.total(), kept.lock().unwrap().len()), (0, 0));
        writer.flush().unwrap();
        let bytes = b"\x07\x34\x12\xfe\xff\xff\xff\xc0\0\x40\0\x34\x12\x05\0\0\0\x03abc";
        assert_eq!(*kept.lock().unwrap(), bytes);
        assert_eq!(writer.total(), bytes.len() as u64);
        assert_eq!(writer.vstring(&[0; 0x8000]).unwrap_err().code, ExitCode::PROTOCOL);
    }

    #[test]
    fn messages_go_before_the_data_that_waits() {
        let (mut writer, kept) = Writer::into_memory();
        let outbox = writer.outbox();
        assert!(!outbox.push(Tag::Info, b"too early"));
        writer.byte(1).unwrap();
        writer.multiplex().unwrap();
        assert_eq!(*kept.lock().unwrap(), b"\x01");
        writer.bytes(b"data").unwrap();
        assert!(outbox.push(Tag::Info, b"hi\n"));
        assert!(writer.message_int(Tag::NoSend, 3));
        writer.flush().unwrap();
        writer.flush().unwrap();
        assert_eq!(*kept.lock().unwrap(), b"\x01\x03\0\0\x09hi\n\x04\0\0\x6d\x03\0\0\0\x04\0\0\x07data");
    }

    #[test]
    fn lines_that_nobody_takes_are_kept_up_to_a_bound() {
        let (mut writer, kept) = Writer::into_memory();
        let outbox = writer.outbox();
        assert_eq!(outbox.say(Tag::Info, b"too early"), Said::Not);
        writer.multiplex().unwrap();
        assert_eq!(outbox.say(Tag::Info, b"a"), Said::First);
        for _ in 0..2 * LINES / 4000 {
            assert_eq!(outbox.say(Tag::Info, &[b'x'; 4000]), Said::Behind);
        }
        assert!(writer.message_int(Tag::Success, 3)); // is no line
        writer.flush().unwrap();
        assert!((LINES..LINES + 8192).contains(&kept.lock().unwrap().len()));
        assert!(kept.lock().unwrap().ends_with(b"\x6b\x03\0\0\0"));
        assert_eq!(outbox.say(Tag::Info, b"b"), Said::First);
    }

    #[test]
    fn long_texts_become_several_messages() {
        let (mut writer, kept) = Writer::into_memory();
        writer.multiplex().unwrap();
        writer.message(Tag::Error, &[b'x'; 9000]);
        writer.message(Tag::Noop, b"");
        writer.flush().unwrap();
        assert_eq!(kept.lock().unwrap().len(), 9000 + 4 * 4);
    }

    #[test]
    fn big_data_arrives_whole_through_a_slow_half() {
        let kept = Arc::default();
        let mut writer = Writer::new(Box::new(Slow(Arc::clone(&kept))), Pulse::default(), "sender");
        writer.multiplex().unwrap();
        let data: Vec<u8> = (0..20_000_000u32).map(|i| (i / 3) as u8).collect();
        writer.int(1).unwrap();
        writer.gather(&[&data[..100_000], &data[100_000..100_001]]).unwrap();
        writer.gather(&[&data]).unwrap();
        for piece in data[..200_000].chunks(1000) {
            writer.bytes(piece).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(writer.total(), kept.lock().unwrap().len() as u64);
        let mut reader = Reader::over(mem::take(&mut *kept.lock().unwrap()));
        reader.multiplex(Rules::default(), Box::new(|_: crate::wire::Message<'_>| Ok(())));
        let mut back = vec![0; 4 + 100_001 + data.len() + 200_000];
        reader.exact(&mut back).unwrap();
        assert!(back[4..100_005] == data[..100_001]);
        assert!(back[100_005..][..data.len()] == data[..]);
        assert!(back[100_005 + data.len()..] == data[..200_000]);
        assert!(reader.byte().is_err());
    }

    #[test]
    fn a_keepalive_is_an_empty_frame() {
        let kept = Arc::default();
        let mut writer = Writer::new(Box::new(Arc::clone(&kept)), Pulse::new(1), "sender");
        writer.multiplex().unwrap();
        writer.keepalive().unwrap();
        assert_eq!(*kept.lock().unwrap(), b"");
        std::thread::sleep(std::time::Duration::from_millis(1010));
        writer.keepalive().unwrap();
        writer.keepalive().unwrap();
        assert_eq!(*kept.lock().unwrap(), b"\0\0\0\x07");
    }
}
