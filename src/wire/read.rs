//! The reading side: a buffer over a half, the demultiplexer, and the decoders of plain wire values.

use std::{io, ops::RangeInclusive, time::Duration};

use super::{
    Message, Messages, Pulse, ReadHalf, Rules, Tag, Watch, Writer,
    frame::Header,
    int::{self, Overflow},
    watch::number,
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result, errno_text},
};

/// What is said of a peer that left before its time begins so.
const CLOSED: &[u8] = b"rsync: connection unexpectedly closed ";
const BUFFER: usize = 128 * 1024;
/// From this size on a caller's buffer is filled by the half itself.
const DIRECT: usize = 32 * 1024;

/// One direction of a connection, inwards. Blocks; every failure is fatal.
pub struct Reader {
    half: Box<dyn ReadHalf>,
    buffer: Box<[u8]>,
    /// `buffer[at..data_end]` is data at hand; `buffer[data_end..filled]` was read but not looked at.
    at: usize,
    data_end: usize,
    filled: usize,
    /// What of the current data frame has not been read yet; then nothing stands behind `data_end`.
    frame_left: usize,
    demux: Option<Demux>,
    total: u64,
    /// Bytes of data, taken already or at hand.
    data: u64,
    counting: bool,
    role: &'static str,
    pulse: Pulse,
    /// Where all data is also written.
    copy: Option<Box<Writer>>,
    watch: Watch,
    /// No more is read than is asked for: each read is to be told.
    stepwise: bool,
}

struct Demux {
    rules: Rules,
    messages: Box<dyn Messages + Send>,
}

/// How a reader took frames before a pause.
pub struct Paused(Option<Demux>);

impl Reader {
    /// `role` is how the reference would call us in an error line: `sender`, `receiver`, `generator`, …
    pub fn new(half: Box<dyn ReadHalf>, pulse: Pulse, role: &'static str) -> Self {
        Self {
            half,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            at: 0,
            data_end: 0,
            filled: 0,
            frame_left: 0,
            demux: None,
            total: 0,
            data: 0,
            counting: true,
            role,
            pulse,
            copy: None,
            watch: Watch::default(),
            stepwise: false,
        }
    }

    /// From now on it is told what is read. C: --debug=io
    pub fn watch(&mut self, watch: Watch) {
        self.stepwise = watch.hears(2);
        self.watch = watch;
    }

    /// A reader that takes no byte from the half before it is asked for: somebody else reads on from there.
    pub fn unbuffered(half: Box<dyn ReadHalf>, role: &'static str) -> Self {
        Self { buffer: vec![0; 1].into_boxed_slice(), ..Self::new(half, Pulse::default(), role) }
    }

    /// A reader of bytes that are there already.
    pub fn over(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(Box::new(io::Cursor::new(bytes.into())), Pulse::default(), "receiver")
    }

    pub fn set_role(&mut self, role: &'static str) {
        self.copy.iter_mut().for_each(|copy| copy.set_role(role));
        self.role = role;
    }

    pub fn role(&self) -> &'static str {
        self.role
    }

    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// From the next byte on the peer sends frames; also replaces the handler and the rules of before.
    pub fn multiplex(&mut self, rules: Rules, messages: Box<dyn Messages + Send>) {
        if self.demux.is_none() {
            self.data = self.data_taken();
            self.data_end = self.at;
            let half = number(self.half.number());
            self.watch.tell_flow(2, self.role, || format!("io_start_multiplex_in({half})"));
        }
        self.demux = Some(Demux { rules, messages });
    }

    pub fn is_multiplexed(&self) -> bool {
        self.demux.is_some()
    }

    /// From the next byte on all data goes to `copy` as well, as soon as it is at hand.
    pub fn copy_to(&mut self, mut copy: Writer) -> Result<()> {
        copy.bytes(&self.buffer[self.at..self.data_end])?;
        self.copy = Some(Box::new(copy));
        Ok(())
    }

    /// The copy.
    pub fn copy(&mut self) -> Option<&mut Writer> {
        self.copy.as_deref_mut()
    }

    /// From the next byte on the peer sends no frames, until the guard is given back to `resume`.
    pub fn pause_multiplex(&mut self) -> Paused {
        Paused(self.demux.take())
    }

    /// Frames again, as before the pause.
    pub fn resume(&mut self, paused: Paused) {
        if let Some(Demux { rules, messages }) = paused.0 {
            self.multiplex(rules, messages);
        }
    }

    /// Bytes that came in so far, frame headers and messages included. C: stats.total_read
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes of data that were taken so far: neither frame headers nor messages. C: total_data_read
    pub fn data_taken(&self) -> u64 {
        self.data - (self.data_end - self.at) as u64
    }

    /// The statistics, and the count in an error line, leave out the handshake: counting stops and begins again here.
    pub fn set_counting(&mut self, counting: bool) {
        self.counting = counting;
        self.stepwise &= !counting;
        self.total = if counting { (self.filled - self.at) as u64 } else { 0 };
    }

    /// Whether data can be had without waiting. Messages that are there already are delivered on the way.
    pub fn ready(&mut self) -> Result<bool> {
        while !self.advance()? {
            if !self.half.ready() {
                return Ok(false);
            }
            self.fill(None, usize::MAX)?;
        }
        Ok(true)
    }

    /// Reads once, if there is no data yet: whether there is now. What came may have been a message, and none of it when
    /// the time was over.
    pub fn step(&mut self, time: Option<Duration>) -> Result<bool> {
        Ok(self.advance()? || self.fill(time, usize::MAX)? && self.advance()?)
    }

    /// Waits for data, delivering messages; false when none came in that time.
    pub fn wait(&mut self, time: Duration) -> Result<bool> {
        let end = std::time::Instant::now() + time;
        while !self.advance()? {
            let left = end.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() || !self.fill(Some(left), usize::MAX)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Delivers the messages that are there, throwing data away: for the last words of a peer we can no longer
    /// write to. C: io.c drain_multiplex_messages
    pub fn drain(&mut self) -> Result<()> {
        while self.ready()? {
            self.at = self.data_end;
        }
        Ok(())
    }

    /// Reads on, delivering messages and throwing data away, until the peer closes or the time is over.
    /// C: io.c noop_io_until_death
    pub fn until_end(&mut self, time: Duration) -> Result<()> {
        let end = std::time::Instant::now() + time;
        loop {
            match self.wait(end.saturating_duration_since(std::time::Instant::now())) {
                Ok(true) if std::time::Instant::now() >= end => return Ok(()),
                Ok(true) => self.at = self.data_end,
                Ok(false) => return Ok(()),
                Err(error) if error.code == ExitCode::STREAM_IO && self.at_end() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn at_end(&mut self) -> bool {
        self.half.ready() && matches!(self.half.read(&mut [0]), Ok(0))
    }

    /// At least one byte of data, at most `max`, without copying.
    pub fn take(&mut self, max: usize) -> Result<&[u8]> {
        if self.at == self.data_end && max > 0 {
            self.refill(max)?;
        }
        let len = max.min(self.data_end - self.at);
        let start = self.at;
        self.at += len;
        Ok(&self.buffer[start..start + len])
    }

    /// Fills `out`.
    pub fn exact(&mut self, mut out: &mut [u8]) -> Result<()> {
        loop {
            let len = out.len().min(self.data_end - self.at);
            let (now, rest) = out.split_at_mut(len);
            now.copy_from_slice(&self.buffer[self.at..self.at + len]);
            self.at += len;
            if rest.is_empty() {
                return Ok(());
            }
            let done = self.direct(rest)?;
            out = &mut rest[done..];
            if !out.is_empty() && self.at == self.data_end {
                self.refill(out.len())?;
            }
        }
    }

    /// Reads past the buffer into a big `out` while all that comes is data; how much was filled.
    fn direct(&mut self, out: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while self.data_end == self.filled && (self.demux.is_none() || self.frame_left >= DIRECT) {
            let len = if self.demux.is_some() { self.frame_left.min(out.len() - done) } else { out.len() - done };
            if len < DIRECT {
                break;
            }
            let target = &mut out[done..done + len];
            let total = if self.counting { &mut self.total } else { &mut 0 };
            let got = receive(&mut *self.half, target, &self.pulse, total, self.role, None)?;
            self.tell_read(got);
            let got = got.unwrap_or(0);
            if let Some(copy) = &mut self.copy {
                copy.bytes(&out[done..done + got])?;
            }
            self.frame_left = self.frame_left.saturating_sub(got);
            self.data += got as u64;
            done += got;
        }
        Ok(done)
    }

    pub fn skip(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let max = usize::try_from(count).unwrap_or(usize::MAX);
            count -= self.take(max)?.len() as u64;
        }
        Ok(())
    }

    #[inline]
    pub fn byte(&mut self) -> Result<u8> {
        if self.at == self.data_end {
            self.refill(1)?;
        }
        let byte = self.buffer[self.at];
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        if let Some(raw) = self.buffer[self.at..self.data_end].first_chunk() {
            self.at += N;
            return Ok(*raw);
        }
        let mut raw = [0; N];
        self.exact(&mut raw)?;
        Ok(raw)
    }

    /// C: io.c read_shortint
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// C: io.c read_int
    #[inline]
    pub fn int(&mut self) -> Result<i32> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    #[inline]
    pub fn varint(&mut self) -> Result<i32> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(first.into());
        }
        self.long_varint(first)
    }

    fn long_varint(&mut self, first: u8) -> Result<i32> {
        let extra = int::extra(first);
        let mut rest = [0; 6];
        if extra <= 4 {
            self.exact(&mut rest[..extra])?;
        }
        int::decode_varint(first, &rest[..extra]).map_err(|Overflow| overflow("Overflow in read_varint()"))
    }

    /// C: io.c read_varint_bounded
    pub fn varint_in(&mut self, range: RangeInclusive<i32>, what: &str) -> Result<i32> {
        let value = self.varint()?;
        self.bounded(value, range, what)
    }

    /// A length up to `max`. C: io.c read_varint_size
    pub fn varint_size(&mut self, max: u32, what: &str) -> Result<u32> {
        let value = self.varint()?;
        u32::try_from(value).ok().filter(|&size| size <= max).ok_or_else(|| {
            let bounds = format!(" out of range: {value} > {max} ");
            Error::new(ExitCode::PROTOCOL, bytes!["wire size ", what, bounds, "[", self.role, "]"])
        })
    }

    fn bounded(&self, value: i32, range: RangeInclusive<i32>, what: &str) -> Result<i32> {
        if range.contains(&value) {
            return Ok(value);
        }
        let (low, high) = range.into_inner();
        let bounds = format!(" out of range: {value} not in [{low},{high}] ");
        Err(Error::new(ExitCode::PROTOCOL, bytes!["wire value ", what, bounds, "[", self.role, "]"]))
    }

    /// `min` is 3 to 8.
    pub fn varlong(&mut self, min: usize) -> Result<i64> {
        let first = self.byte()?;
        let len = min - 1 + int::extra(first);
        let mut rest = [0; 16];
        if len <= 8 {
            self.exact(&mut rest[..len])?;
        }
        int::decode_varlong(first, &rest[..len]).map_err(|Overflow| overflow("Overflow in read_varlong()"))
    }

    /// C: io.c read_longint
    pub fn longint(&mut self) -> Result<i64> {
        match self.int()? {
            -1 => Ok(i64::from_le_bytes(self.array()?)),
            small => Ok(small.into()),
        }
    }

    /// A string of at most `max` bytes behind its one- or two-byte length. C: io.c read_vstring
    pub fn vstring(&mut self, max: usize) -> Result<Vec<u8>> {
        let mut len = usize::from(self.byte()?);
        if len & 0x80 != 0 {
            len = (len & 0x7f) << 8 | usize::from(self.byte()?);
        }
        if len > max {
            let message = format!("over-long vstring received ({len} > {max})");
            return Err(Error::new(ExitCode::UNSUPPORTED, message));
        }
        let mut string = vec![0; len];
        self.exact(&mut string)?;
        Ok(string)
    }

    /// Makes data available; called when there is none and so many bytes are wanted.
    #[cold]
    fn refill(&mut self, wanted: usize) -> Result<()> {
        if !self.stepwise {
            self.watch.tell_flow(3, self.role, || format!("perform_io({wanted}, consume&input)"));
        }
        while !self.advance()? {
            self.fill(None, wanted)?;
        }
        Ok(())
    }

    /// Turns what was read into data at hand, delivering messages on the way; false when more must be read.
    fn advance(&mut self) -> Result<bool> {
        loop {
            if self.at < self.data_end {
                return Ok(true);
            }
            let Some(demux) = &mut self.demux else {
                if let Some(copy) = &mut self.copy {
                    copy.bytes(&self.buffer[self.data_end..self.filled])?;
                }
                self.data += (self.filled - self.data_end) as u64;
                self.data_end = self.filled;
                return Ok(self.at < self.data_end);
            };
            let unseen = &self.buffer[self.data_end..self.filled];
            if self.frame_left > 0 {
                let len = self.frame_left.min(unseen.len());
                if let Some(copy) = &mut self.copy {
                    copy.bytes(&unseen[..len])?;
                }
                self.frame_left -= len;
                self.data_end += len;
                self.data += len as u64;
                return Ok(len > 0);
            }
            let Some((raw, rest)) = unseen.split_first_chunk::<4>() else { return Ok(false) };
            let header = Header::parse(*raw, &demux.rules, self.role)?;
            let got = || format!("got msg={}, len={}", header.tag as u8, header.len);
            if header.tag == Tag::Data {
                self.watch.tell_flow(1, self.role, got);
                self.data_end += 4;
                self.frame_left = header.len;
            } else {
                let Some(payload) = rest.get(..header.len) else { return Ok(false) };
                self.watch.tell_flow(1, self.role, got);
                self.data_end += 4 + header.len;
                self.at = self.data_end;
                deliver(header.message(payload), &self.pulse, &mut *demux.messages)?;
            }
            self.at = self.data_end;
        }
    }

    /// Reads once from the half, behind what was not looked at yet; false when the time was over first. Reads ahead of
    /// what is `wanted`, but for where each read is to be told.
    fn fill(&mut self, time: Option<Duration>, wanted: usize) -> Result<bool> {
        if self.at > 0 {
            self.buffer.copy_within(self.data_end..self.filled, 0);
            self.filled -= self.data_end;
            (self.at, self.data_end) = (0, 0);
        }
        let target = &mut self.buffer[self.filled..];
        let most = if self.stepwise && self.demux.is_none() { wanted.min(target.len()) } else { target.len() };
        let target = &mut target[..most];
        let total = if self.counting { &mut self.total } else { &mut 0 };
        let got = receive(&mut *self.half, target, &self.pulse, total, self.role, time)?;
        self.tell_read(got);
        self.filled += got.unwrap_or(0);
        Ok(got.is_some())
    }
}

impl Reader {
    fn tell_read(&self, got: Option<usize>) {
        let (Some(got), half) = (got, || number(self.half.number())) else { return };
        match self.stepwise {
            true => self.watch.tell(2, self.role, || format!("safe_read({})={got}", half())),
            false => self.watch.tell_flow(2, self.role, || format!("recv={got}")),
        }
    }
}

/// Whether the peer left before its time.
pub fn is_close(error: &Error) -> bool {
    error.code == ExitCode::STREAM_IO && error.message.starts_with(CLOSED)
}

fn deliver(message: Option<Message<'_>>, pulse: &Pulse, messages: &mut dyn Messages) -> Result<()> {
    match message {
        Some(Message::IoTimeout(seconds)) if !pulse.shorten(seconds) => Ok(()),
        Some(message) => messages.message(message),
        None => Ok(()),
    }
}

/// One read, however often the half wakes up; `None` when `time` was over first.
fn receive(
    half: &mut dyn ReadHalf,
    target: &mut [u8],
    pulse: &Pulse,
    total: &mut u64,
    role: &str,
    time: Option<Duration>,
) -> Result<Option<usize>> {
    loop {
        let patience = pulse.patience();
        half.set_timeout(time.map_or(patience, |time| Some(patience.map_or(time, |patience| patience.min(time)))));
        match half.read(target) {
            Ok(0) => {
                let count = format!("({total} bytes received so far)");
                let message = bytes![CLOSED, count, " [", role, "]"];
                return Err(Error::new(ExitCode::STREAM_IO, message));
            }
            Ok(len) => {
                *total += len as u64;
                pulse.heard();
                return Ok(Some(len));
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                check_timeout(pulse, role)?;
                if time.is_some() {
                    return Ok(None);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(Error::silent(ExitCode::SIGNAL)),
            Err(error) => {
                let message = bytes!["rsync: [", role, "] read error: ", errno_text(&error)];
                return Err(Error::new(ExitCode::SOCKET_IO, message));
            }
        }
    }
}

/// C: io.c check_timeout
pub(super) fn check_timeout(pulse: &Pulse, role: &str) -> Result<()> {
    match pulse.dead_for() {
        Some(seconds) => {
            let what = format!("] io timeout after {seconds} seconds -- exiting");
            Err(Error::new(ExitCode::TIMEOUT, bytes!["[", role, what]))
        }
        None => Ok(()),
    }
}

fn overflow(what: &str) -> Error {
    Error::new(ExitCode::STREAM_IO, what)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use super::*;

    /// Gives the recorded reads one by one, then times out.
    struct Script(std::collections::VecDeque<Vec<u8>>);

    impl ReadHalf for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(mut piece) = self.0.pop_front() else { return Err(io::ErrorKind::TimedOut.into()) };
            let len = piece.len().min(buffer.len());
            buffer[..len].copy_from_slice(&piece[..len]);
            if len < piece.len() {
                self.0.push_front(piece.split_off(len));
            }
            Ok(len)
        }

        fn ready(&mut self) -> bool {
            !self.0.is_empty()
        }

        fn set_timeout(&mut self, _: Option<Duration>) {}
    }

    fn script(pieces: &[&[u8]]) -> Reader {
        let half = Script(pieces.iter().map(|piece| piece.to_vec()).collect());
        Reader::new(Box::new(half), Pulse::default(), "sender")
    }

    fn lines(reader: &mut Reader) -> Arc<Mutex<Vec<Vec<u8>>>> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        let handler = move |message: Message<'_>| {
            if let Message::Line(_, text) = message {
                into.lock().unwrap().push(text.to_vec());
            }
            Ok(())
        };
        reader.multiplex(Rules::default(), Box::new(handler));
        seen
    }

    #[test]
    fn plain_values() {
        let mut reader = Reader::over(
            [
                &[7, 0x34, 0x12, 0xff, 0xff, 0xff, 0xff, 0xc0, 0, 0x40, 0, 0x34, 0x12][..],
                &[0xff; 4],
                &5i64.to_le_bytes(),
                &[3, b'a', b'b', b'c'],
            ]
            .concat(),
        );
        assert_eq!(reader.byte().unwrap(), 7);
        assert_eq!(reader.u16().unwrap(), 0x1234);
        assert_eq!(reader.int().unwrap(), -1);
        assert_eq!(reader.varint().unwrap(), 0x4000);
        assert_eq!(reader.varlong(3).unwrap(), 0x1234);
        assert_eq!(reader.longint().unwrap(), 5);
        assert_eq!(reader.vstring(3).unwrap(), b"abc");
        let error = reader.byte().unwrap_err();
        let expected = format!("rsync: connection unexpectedly closed ({} bytes received so far) [receiver]", 29);
        assert_eq!((error.code, error.message), (ExitCode::STREAM_IO, expected.into_bytes()));
    }

    #[test]
    fn bounds_are_told_as_the_reference_tells_them() {
        let message = |result: Result<i32>| String::from_utf8(result.unwrap_err().message).unwrap();
        let mut reader = Reader::over([9, 0xf8, 0, 2, b'x']);
        assert_eq!(message(reader.varint_in(-1..=8, "y")), "wire value y out of range: 9 not in [-1,8] [receiver]");
        assert_eq!(message(reader.varint()), "Overflow in read_varint()");
        assert_eq!(reader.byte().unwrap(), 0);
        let string = reader.vstring(1).map(|_| 0);
        assert_eq!(message(string), "over-long vstring received (2 > 1)");
    }

    #[test]
    fn messages_between_data_are_delivered_wherever_reads_end() {
        let stream = b"\x03\0\0\x07abc\x02\0\0\x09hi\0\0\0\x07\x01\0\0\x09!\x04\0\0\x07defg";
        for cut in 1..stream.len() {
            let mut reader = script(&stream.chunks(cut).collect::<Vec<_>>());
            let seen = lines(&mut reader);
            let mut data = [0; 7];
            reader.exact(&mut data).unwrap();
            assert_eq!(&data, b"abcdefg");
            assert_eq!(*seen.lock().unwrap(), [b"hi".to_vec(), b"!".to_vec()]);
            assert_eq!(reader.total(), stream.len() as u64);
        }
    }

    #[test]
    fn what_was_read_ahead_becomes_frames() {
        let mut reader = script(&[b"\x1f\x01\0\0\x07x"]);
        assert_eq!(reader.byte().unwrap(), 0x1f);
        lines(&mut reader);
        assert_eq!(reader.byte().unwrap(), b'x');
    }

    #[test]
    fn ready_is_about_data_not_messages() {
        let mut reader = script(&[b"\x02\0\0\x09hi\x01\0"]);
        let seen = lines(&mut reader);
        assert!(!reader.ready().unwrap());
        assert_eq!(seen.lock().unwrap().len(), 1);
        assert!(!reader.wait(Duration::from_millis(1)).unwrap());
        let mut reader = script(&[b"\x01\0\0\x07", b"x"]);
        lines(&mut reader);
        assert!(reader.ready().unwrap() && reader.wait(Duration::ZERO).unwrap());
        assert_eq!(reader.take(9).unwrap(), b"x");
    }

    #[test]
    fn big_reads_by_any_path_are_equal() {
        let data: Vec<u8> = (0..300_000u32).map(|i| (i * 7 % 251) as u8).collect();
        let mut stream = Vec::new();
        for piece in data.chunks(70_001) {
            stream.extend_from_slice(&crate::wire::frame::header(Tag::Data, piece.len()));
            stream.extend_from_slice(piece);
            stream.extend_from_slice(&crate::wire::frame::header(Tag::Info, 0));
        }
        let mut reader = script(&stream.chunks(65_536).collect::<Vec<_>>());
        lines(&mut reader);
        let mut first = vec![0; 200_000];
        reader.exact(&mut first).unwrap();
        assert!(first == data[..200_000]);
        let mut rest = Vec::new();
        while rest.len() < 100_000 {
            rest.extend_from_slice(reader.take(100_000 - rest.len()).unwrap());
        }
        assert!(rest == data[200_000..]);
    }

    #[test]
    fn the_timeout_ends_it() {
        let half = Script([vec![1]].into());
        let mut reader = Reader::new(Box::new(half), Pulse::new(1), "generator");
        assert_eq!(reader.byte().unwrap(), 1);
        let error = reader.byte().unwrap_err();
        assert_eq!(error.code, ExitCode::TIMEOUT);
        assert_eq!(error.message, b"[generator] io timeout after 1 seconds -- exiting");
    }

    #[test]
    fn a_handler_s_error_ends_the_reading() {
        let (send, seen) = mpsc::channel();
        let mut reader = script(&[b"\x04\0\0\x5d\x17\0\0\0"]);
        let handler = move |message: Message<'_>| {
            let Message::ErrorExit(Some(code)) = message else { return Ok(()) };
            send.send(code).unwrap();
            Err(Error::silent(ExitCode(code)))
        };
        reader.multiplex(Rules::default(), Box::new(handler));
        assert_eq!(reader.byte().unwrap_err().code, ExitCode::PARTIAL);
        assert_eq!(seen.recv().unwrap(), 23);
    }
}
