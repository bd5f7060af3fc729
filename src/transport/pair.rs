//! The byte carrier of a local copy: two bounded lanes in memory.
//!
//! A lane is a queue of blocks under a mutex. Large writes are copied into a block outside the lock; the reader takes
//! the whole queue at once and copies out of it without the lock. So the two sides meet once a queue-full, and a
//! sleeper is woken only when it said that it sleeps. `docs/ssh-transport.md` has the figures against a kernel pipe.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    sys::{poll::Wake, signal},
    wire::{ReadHalf, WriteHalf},
};

pub use super::handover::{FILES, Giver, SourceFile, Taker, handover};

/// Bytes a lane holds before its writer waits; the reader may hold as many again. Chosen by `scripts/measure-transport`.
pub const LANE: usize = 256 * 1024;

/// The size of one block; a write moves at most this much at a time.
const BLOCK: usize = 64 * 1024;

/// Writes up to this length are appended under the lock.
const SMALL: usize = 4 * 1024;

/// A sleeper looks at the wake this often: a signal handler cannot notify a condition variable.
const GLANCE: Duration = Duration::from_millis(50);

/// A lane that never runs empty looks at the wake once in so many visits: the look is a system call.
const VISITS_UNCHECKED: u32 = 64;

/// One side of an in-process connection. Dropping a half ends that direction, as closing a pipe would.
pub struct End {
    pub read: PairReader,
    pub write: PairWriter,
}

impl End {
    /// The same end with a bell of its own, so that one side's failure does not look like an interruption to the other.
    pub fn woken_by(mut self, wake: &Wake) -> Self {
        self.read.wake = wake.clone();
        self.write.wake = wake.clone();
        self
    }
}

/// Two connected ends. Either gives up with `Interrupted` when `wake` fires.
pub fn pair(wake: &Wake) -> (End, End) {
    pair_of(LANE, wake)
}

/// `pair` with lanes of `capacity` bytes.
pub fn pair_of(capacity: usize, wake: &Wake) -> (End, End) {
    let (there_write, there_read) = lane(capacity, wake);
    let (back_write, back_read) = lane(capacity, wake);
    (End { read: back_read, write: there_write }, End { read: there_read, write: back_write })
}

fn lane(capacity: usize, wake: &Wake) -> (PairWriter, PairReader) {
    let lane = Arc::new(Lane { capacity: capacity.max(1), ..Lane::default() });
    let writer = PairWriter { lane: Arc::clone(&lane), wake: wake.clone(), timeout: None };
    let reader = PairReader {
        lane,
        wake: wake.clone(),
        timeout: None,
        current: Vec::new(),
        at: 0,
        taken: VecDeque::new(),
        spent: Vec::new(),
        unchecked: 0,
    };
    (writer, reader)
}

#[derive(Default)]
struct Lane {
    capacity: usize,
    state: Mutex<State>,
    readable: Condvar,
    writable: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Vec<u8>>,
    /// The bytes in `queue`.
    queued: usize,
    /// Empty blocks on their way back to the writer.
    spare: Vec<Vec<u8>>,
    reader_sleeps: bool,
    writer_sleeps: bool,
    writer_gone: bool,
    reader_gone: bool,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sleeps on `condition` for a glance at most; an error when the run was stopped or the time is over.
pub(super) fn sleep<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    wake: &Wake,
    deadline: Option<Instant>,
) -> io::Result<MutexGuard<'a, T>> {
    let mut nap = GLANCE;
    if let Some(deadline) = deadline {
        nap = nap.min(deadline.saturating_duration_since(Instant::now()));
        if nap.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    let (guard, nap) = condition.wait_timeout(guard, nap).unwrap_or_else(PoisonError::into_inner);
    if nap.timed_out() && stopped(wake) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    Ok(guard)
}

/// Each side has its own bell; a signal is for both.
fn stopped(wake: &Wake) -> bool {
    signal::received().is_some() || wake.is_fired()
}

fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// The reading half of an `End`.
pub struct PairReader {
    lane: Arc<Lane>,
    wake: Wake,
    timeout: Option<Duration>,
    /// The block being read, from `at` on.
    current: Vec<u8>,
    at: usize,
    /// The blocks taken from the lane after it.
    taken: VecDeque<Vec<u8>>,
    /// Blocks read to their end, given back at the next visit.
    spent: Vec<Vec<u8>>,
    /// Visits to the lane since the wake was last looked at.
    unchecked: u32,
}

impl PairReader {
    /// Makes `current` a block with bytes in it; false at the end of the stream.
    fn refill(&mut self) -> io::Result<bool> {
        let spent = mem::take(&mut self.current);
        self.at = 0;
        if spent.capacity() > 0 {
            self.spent.push(spent);
        }
        if self.taken.is_empty() && !self.take_all()? {
            return Ok(false);
        }
        self.current = self.taken.pop_front().unwrap_or_default();
        Ok(true)
    }

    fn take_all(&mut self) -> io::Result<bool> {
        self.unchecked += 1;
        if self.unchecked >= VISITS_UNCHECKED {
            self.unchecked = 0;
            if self.wake.is_fired() {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        let deadline = deadline(self.timeout);
        let mut state = self.lane.lock();
        state.spare.append(&mut self.spent);
        while state.queue.is_empty() {
            if state.writer_gone {
                return if stopped(&self.wake) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(false) };
            }
            state.reader_sleeps = true;
            state = sleep(&self.lane.readable, state, &self.wake, deadline)?;
        }
        state.reader_sleeps = false;
        mem::swap(&mut state.queue, &mut self.taken);
        state.queued = 0;
        let rouse = mem::take(&mut state.writer_sleeps);
        drop(state);
        if rouse {
            self.lane.writable.notify_one();
        }
        Ok(true)
    }
}

impl ReadHalf for PairReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || (self.at == self.current.len() && !self.refill()?) {
            return Ok(0);
        }
        let mut filled = 0;
        while let (Some(source), Some(target)) = (self.current.get(self.at..), buffer.get_mut(filled..)) {
            let length = source.len().min(target.len());
            if length == 0 {
                break;
            }
            if let (Some(to), Some(from)) = (target.get_mut(..length), source.get(..length)) {
                to.copy_from_slice(from);
            }
            filled += length;
            self.at += length;
            if self.at == self.current.len() && !self.taken.is_empty() && !self.refill()? {
                break;
            }
        }
        Ok(filled)
    }

    fn ready(&mut self) -> bool {
        self.at < self.current.len() || !self.taken.is_empty() || {
            let state = self.lane.lock();
            !state.queue.is_empty() || state.writer_gone
        }
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }
}

impl Drop for PairReader {
    fn drop(&mut self) {
        let mut state = self.lane.lock();
        state.reader_gone = true;
        state.queue.clear();
        state.queued = 0;
        drop(state);
        self.lane.writable.notify_one();
    }
}

/// The writing half of an `End`.
pub struct PairWriter {
    lane: Arc<Lane>,
    wake: Wake,
    timeout: Option<Duration>,
}

impl PairWriter {
    /// Waits until the lane has room; how much.
    fn room<'a>(&self, mut state: MutexGuard<'a, State>) -> io::Result<(MutexGuard<'a, State>, usize)> {
        let deadline = deadline(self.timeout);
        loop {
            if state.reader_gone {
                let stopped = stopped(&self.wake);
                return Err(if stopped { io::ErrorKind::Interrupted } else { io::ErrorKind::BrokenPipe }.into());
            }
            let room = self.lane.capacity.saturating_sub(state.queued);
            if room > 0 {
                state.writer_sleeps = false;
                return Ok((state, room));
            }
            state.writer_sleeps = true;
            state = sleep(&self.lane.writable, state, &self.wake, deadline)?;
        }
    }

    /// Puts a block at the end of the queue and rouses the reader if it sleeps.
    fn push(&self, mut state: MutexGuard<'_, State>, block: Vec<u8>, fresh: usize) {
        state.queued += fresh;
        state.queue.push_back(block);
        let rouse = mem::take(&mut state.reader_sleeps);
        drop(state);
        if rouse {
            self.lane.readable.notify_one();
        }
    }
}

impl WriteHalf for PairWriter {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let wanted: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if wanted == 0 {
            return Ok(0);
        }
        let (mut state, room) = self.room(self.lane.lock())?;
        let length = wanted.min(room).min(BLOCK);
        if length <= SMALL && state.queue.back().is_some_and(|block| block.capacity() - block.len() >= length) {
            let mut block = state.queue.pop_back().unwrap_or_default();
            gather(&mut block, buffers, length);
            self.push(state, block, length);
            return Ok(length);
        }
        let mut block = state.spare.pop().unwrap_or_default();
        drop(state);
        block.clear();
        block.reserve(BLOCK);
        gather(&mut block, buffers, length);
        let state = self.lane.lock();
        self.push(state, block, length);
        Ok(length)
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }
}

/// Appends the first `length` bytes of `buffers` to `block`.
fn gather(block: &mut Vec<u8>, buffers: &[IoSlice<'_>], mut length: usize) {
    for buffer in buffers {
        let part = buffer.get(..length.min(buffer.len())).unwrap_or_default();
        block.extend_from_slice(part);
        length -= part.len();
    }
}

impl Drop for PairWriter {
    fn drop(&mut self) {
        self.lane.lock().writer_gone = true;
        self.lane.readable.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn wake() -> Wake {
        Wake::new().unwrap()
    }

    fn write_all(writer: &mut PairWriter, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let length = writer.write(&[IoSlice::new(bytes)]).unwrap();
            bytes = &bytes[length..];
        }
    }

    fn read_all(reader: &mut PairReader, at_once: usize) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; at_once]);
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => return all,
                length => all.extend(&buffer[..length]),
            }
        }
    }

    #[test]
    fn every_size_of_write_and_read_keeps_the_stream() {
        for (capacity, written, read) in
            [(1, 3, 2), (10, 100, 7), (LANE, 1, 1000), (LANE, SMALL + 1, 64 * 1024), (LANE, 300_000, 100)]
        {
            let (mut here, mut there) = pair_of(capacity, &wake());
            let text: Vec<u8> = (0..400_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            let text = &text[..if capacity < 100 { 5000 } else { text.len() }];
            thread::scope(|scope| {
                let reader = scope.spawn(move || read_all(&mut there.read, read));
                for part in text.chunks(written) {
                    write_all(&mut here.write, part);
                }
                drop(here);
                assert!(reader.join().unwrap() == text, "{capacity} {written} {read}");
            });
        }
    }

    #[test]
    fn a_gathered_write_arrives_in_order() {
        let (mut here, mut there) = pair(&wake());
        let length = here.write.write(&[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")]).unwrap();
        assert_eq!(length, 5);
        let mut buffer = [0; 10];
        assert!(there.read.ready());
        assert_eq!(there.read.read(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"abcde");
        assert!(!there.read.ready());
    }

    #[test]
    fn a_lane_is_bounded_and_times_out_both_ways() {
        let (mut here, mut there) = pair_of(1000, &wake());
        here.write.set_timeout(Some(Duration::from_millis(30)));
        there.read.set_timeout(Some(Duration::from_millis(30)));
        assert_eq!(there.read.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(here.write.write(&[IoSlice::new(&[0; 3000])]).unwrap(), 1000);
        assert_eq!(here.write.write(&[IoSlice::new(&[0])]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(there.read.read(&mut [0; 400]).unwrap(), 400);
        assert_eq!(here.write.write(&[IoSlice::new(&[0])]).unwrap(), 1);
    }

    #[test]
    fn dropped_halves_are_an_end_and_a_broken_pipe() {
        let (mut here, there) = pair(&wake());
        let End { mut read, write } = there;
        write_all(&mut here.write, b"last");
        drop(write);
        assert_eq!(here.read.read(&mut [0; 4]).unwrap(), 0);
        assert_eq!(read.read(&mut [0; 9]).unwrap(), 4);
        drop(read);
        assert_eq!(here.write.write(&[IoSlice::new(b"x")]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_sleeper_sees_the_wake() {
        let wake = wake();
        let (_here, mut there) = pair(&wake);
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| there.read.read(&mut [0; 1]).unwrap_err().kind());
            thread::sleep(Duration::from_millis(20));
            wake.fire();
            assert_eq!(sleeper.join().unwrap(), io::ErrorKind::Interrupted);
        });
    }
}
