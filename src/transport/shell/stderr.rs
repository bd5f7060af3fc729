//! The drain of a remote shell's standard error: from our end of its socket pair to our fd 2, raw, in order, and never
//! in the way of the data.
//!
//! The child may write at any time and however much; we take it at once. What our fd 2 does not take is kept up to
//! `BACKLOG` bytes, beyond which the oldest lines go and a note stands in their place.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    os::fd::{AsFd, OwnedFd},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    bytes,
    sys::{
        pipe,
        poll::{self, Interest, Wake, Watch},
    },
};

use super::super::fd::Port;

/// Bytes kept for a standard error that takes nothing.
pub const BACKLOG: usize = 1024 * 1024;

/// How much is read between two looks at our own fd 2.
const READ: usize = 64 * 1024;

/// After the child's end, how long a standard error that takes nothing is still waited for.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// After the child's end, how much is still taken from a survivor which keeps writing.
const LAST_BYTES: usize = 4 * 1024 * 1024;

/// The running drain.
pub struct Drain {
    thread: Option<JoinHandle<()>>,
    stop: Wake,
}

impl Drain {
    /// Starts draining into `target`; the second value is the child's fd 2.
    pub fn start(target: Port) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = pipe::socket_pair()?;
        let stop = Wake::new()?;
        let pump = Pump {
            source: Port::own(ours)?,
            target: Some(target),
            stop: stop.clone(),
            backlog: Backlog::new(BACKLOG),
            open: true,
        };
        let thread = thread::Builder::new().name("stderr".into()).spawn(move || pump.run())?;
        Ok((Self { thread: Some(thread), stop }, theirs))
    }

    /// Passes on what is there by now and closes. The end of the stream is not waited for: a process that outlives the
    /// child (ssh's ControlPersist master) may hold it open for minutes.
    pub fn finish(mut self) {
        self.close();
    }

    fn close(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stop.fire();
            let _ = thread.join(); // a panic there has been printed, and messages are all that is lost
        }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the drain's thread owns.
struct Pump {
    source: Port,
    /// `None` once nobody reads our standard error.
    target: Option<Port>,
    stop: Wake,
    backlog: Backlog,
    /// The source has not ended.
    open: bool,
}

impl Pump {
    fn run(mut self) {
        let mut buffer = vec![0; READ];
        let mut left = false;
        while !self.stop.is_fired() && (self.open || left) {
            self.wait(None);
            self.take(&mut buffer);
            left = self.pass_on();
        }
        let mut last = 0;
        while self.open && last < LAST_BYTES {
            match self.take(&mut buffer) {
                0 => break,
                taken => last += taken,
            }
            self.pass_on();
        }
        self.open = false;
        let deadline = Instant::now() + LAST_WORDS;
        while self.pass_on() && Instant::now() < deadline {
            self.wait(Some(deadline)); // the stop has been heard: no longer a reason to get up
        }
    }

    /// Reads once; how much came.
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        if !self.open {
            return 0;
        }
        match self.source.read(buffer) {
            Ok(0) => self.open = false,
            Ok(length) => {
                self.backlog.add(buffer.get(..length).unwrap_or_default());
                return length;
            }
            Err(error) if is_passing(&error) => {}
            Err(_) => self.open = false,
        }
        0
    }

    /// Writes what our fd 2 takes; whether something is left.
    fn pass_on(&mut self) -> bool {
        while let Some(target) = &self.target
            && !self.backlog.is_empty()
        {
            match target.write(&self.backlog.front()) {
                Ok(length) => self.backlog.consume(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.target = None,
            }
        }
        if self.target.is_none() {
            self.backlog.clear();
        }
        false
    }

    /// Waits until something can be read or written; without a deadline also until the stop.
    fn wait(&self, deadline: Option<Instant>) {
        let mut watches = Vec::with_capacity(2);
        if self.open {
            watches.push(Watch::new(self.source.as_fd(), Interest::Read));
        }
        if let Some(target) = self.target.as_ref().filter(|_| !self.backlog.is_empty()) {
            watches.push(Watch::new(target.as_fd(), Interest::Write));
        }
        let stop = deadline.is_none().then_some(&self.stop);
        if poll::wait_any(&mut watches, stop, deadline).is_err() {
            thread::sleep(Duration::from_millis(1)); // out of memory for the call itself: try again, not at full speed
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The bytes that wait for our fd 2, the oldest first.
struct Backlog {
    limit: usize,
    waiting: VecDeque<u8>,
    /// What is being said about dropped bytes; goes out before `waiting`.
    note: VecDeque<u8>,
    /// Part of the note went out: what is dropped from now on needs another.
    note_begun: bool,
    /// Dropped, and not in a note that has begun.
    dropped: usize,
    /// The last byte that went out did not end a line.
    mid_line: bool,
}

impl Backlog {
    fn new(limit: usize) -> Self {
        Self { limit, waiting: VecDeque::new(), note: VecDeque::new(), note_begun: false, dropped: 0, mid_line: false }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.note.is_empty() && self.dropped == 0
    }

    fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    fn add(&mut self, bytes: &[u8]) {
        self.waiting.extend(bytes);
        let Some(excess) = self.waiting.len().checked_sub(self.limit).filter(|excess| *excess > 0) else {
            return;
        };
        // Up to the end of a line, if one ends soon.
        let line = self.waiting.iter().skip(excess - 1).take(1024).position(|byte| *byte == b'\n');
        let gone = excess + line.unwrap_or(0);
        self.waiting.drain(..gone);
        self.dropped += gone;
    }

    /// What goes out next.
    fn front(&mut self) -> [IoSlice<'_>; 4] {
        if self.dropped > 0 && !self.note_begun {
            let start = if self.mid_line { "\n" } else { "" };
            let text = " bytes of the remote shell's messages were dropped here\n";
            self.note = bytes![start, "rsync: warning: ", self.dropped, text].into();
        }
        let (note, note_rest) = self.note.as_slices();
        let (waiting, waiting_rest) = self.waiting.as_slices();
        [note, note_rest, waiting, waiting_rest].map(IoSlice::new)
    }

    /// Takes off the first `length` bytes of `front`.
    fn consume(&mut self, length: usize) {
        let of_note = length.min(self.note.len());
        let of_waiting = (length - of_note).min(self.waiting.len());
        let last =
            if of_waiting > 0 { self.waiting.get(of_waiting - 1) } else { self.note.get(of_note.wrapping_sub(1)) };
        self.mid_line = last.map_or(self.mid_line, |byte| *byte != b'\n');
        self.note.drain(..of_note);
        if of_note > 0 && !self.note_begun {
            self.note_begun = true;
            self.dropped = 0;
        }
        self.note_begun &= !self.note.is_empty();
        self.waiting.drain(..of_waiting);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn all(backlog: &mut Backlog) -> Vec<u8> {
        let mut out = Vec::new();
        while !backlog.is_empty() {
            let front = backlog.front().concat_first();
            backlog.consume(front.len());
            out.extend(front);
        }
        out
    }

    trait ConcatFirst {
        fn concat_first(&self) -> Vec<u8>;
    }

    impl ConcatFirst for [IoSlice<'_>; 4] {
        fn concat_first(&self) -> Vec<u8> {
            self.iter().find(|slice| !slice.is_empty()).map(|slice| slice.to_vec()).unwrap_or_default()
        }
    }

    #[test]
    fn a_full_backlog_drops_whole_lines_and_says_so() {
        let mut backlog = Backlog::new(20);
        backlog.add(b"first line\nsecond\n");
        assert!(backlog.dropped == 0);
        backlog.add(b"third line\n");
        let out = String::from_utf8(all(&mut backlog)).unwrap();
        assert_eq!(
            out,
            "rsync: warning: 11 bytes of the remote shell's messages were dropped here\nsecond\nthird line\n"
        );
    }

    #[test]
    fn a_note_in_the_middle_of_a_line_starts_a_new_one() {
        let mut backlog = Backlog::new(8);
        backlog.add(b"abcdef");
        assert_eq!(backlog.front()[2].len(), 6);
        backlog.consume(3);
        backlog.add(b"ghijklm");
        let out = String::from_utf8(all(&mut backlog)).unwrap();
        assert_eq!(out, "\nrsync: warning: 2 bytes of the remote shell's messages were dropped here\nfghijklm");
    }

    #[test]
    fn a_note_that_waits_grows_and_one_that_has_begun_does_not() {
        let mut backlog = Backlog::new(4);
        backlog.add(b"1234");
        backlog.add(b"56");
        assert!(backlog.front()[0].starts_with(b"rsync: warning: 2 bytes"));
        backlog.add(b"7");
        assert!(backlog.front()[0].starts_with(b"rsync: warning: 3 bytes"));
        backlog.consume(10);
        backlog.add(b"89");
        let out = String::from_utf8(all(&mut backlog)).unwrap();
        let (first, second) = out.split_once('\n').unwrap();
        assert_eq!(first, "ning: 3 bytes of the remote shell's messages were dropped here");
        assert_eq!(second, "rsync: warning: 2 bytes of the remote shell's messages were dropped here\n6789");
    }

    #[test]
    fn bytes_pass_raw_and_in_order() {
        let (read, write) = io::pipe().unwrap();
        let (drain, theirs) = Drain::start(Port::own(write).unwrap()).unwrap();
        let mut theirs = std::fs::File::from(theirs);
        let text: Vec<u8> = (0..BACKLOG as u32 / 8).flat_map(u32::to_le_bytes).collect();
        let expected = text.clone();
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            (&read).read_to_end(&mut got).map(|_| got)
        });
        theirs.write_all(&text).unwrap();
        drain.finish(); // with the child's end still open
        assert!(reader.join().unwrap().unwrap() == expected);
        assert!(theirs.write(b"x").is_err(), "our end is closed");
    }

    #[test]
    fn nobody_reading_our_side_does_not_hold_the_child() {
        let (_read, write) = io::pipe().unwrap();
        let (drain, theirs) = Drain::start(Port::own(write).unwrap()).unwrap();
        let mut theirs = std::fs::File::from(theirs);
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            theirs.write_all(&chunk).unwrap();
        }
        let start = Instant::now();
        drain.finish();
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_closed_standard_error_swallows_quietly() {
        let (read, write) = io::pipe().unwrap();
        drop(read);
        let (drain, theirs) = Drain::start(Port::own(write).unwrap()).unwrap();
        let mut theirs = std::fs::File::from(theirs);
        for _ in 0..8 {
            theirs.write_all(&[b'x'; 100_000]).unwrap();
        }
        drain.finish();
    }
}
