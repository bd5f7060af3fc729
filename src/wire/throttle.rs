//! `--bwlimit`: a writing half that never goes faster than it may.

use std::{
    io::{self, IoSlice},
    thread,
    time::{Duration, Instant},
};

use super::WriteHalf;
use crate::sys::signal;

/// Delays shorter than this are saved up, for small sleeps are inexact.
const WORTH_SLEEPING: Duration = Duration::from_millis(100);

/// A half that writes small pieces and sleeps after them. C: io.c sleep_for_bwlimit
pub struct Throttle {
    half: Box<dyn WriteHalf>,
    /// Bytes a second.
    rate: u64,
    /// The most that one write may take: an eighth of a second's worth.
    piece: usize,
    /// Bytes written that no time has been given to yet.
    debt: u64,
    before: Option<Instant>,
    /// The user interrupted us, which ended one write; what is left to say is said at once.
    interrupted: bool,
}

impl Throttle {
    /// `rate` in bytes a second, more than 0.
    pub fn new(half: Box<dyn WriteHalf>, rate: u64) -> Self {
        let rate = rate.max(1);
        Self {
            half,
            rate,
            piece: usize::try_from(rate / 8).unwrap_or(usize::MAX).max(512),
            debt: 0,
            before: None,
            interrupted: false,
        }
    }

    fn allowed_in(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * self.rate as f64) as u64
    }

    /// How long to sleep after writing `count` bytes at `now`.
    fn charge(&mut self, count: usize, now: Instant) -> Duration {
        self.debt += count as u64;
        if let Some(before) = self.before {
            self.debt = self.debt.saturating_sub(self.allowed_in(now.saturating_duration_since(before)));
        }
        self.before = Some(now);
        let delay = Duration::from_secs_f64(self.debt as f64 / self.rate as f64);
        if delay < WORTH_SLEEPING { Duration::ZERO } else { delay }
    }
}

impl WriteHalf for Throttle {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.interrupted && signal::received().is_some() {
            self.interrupted = true;
            return Err(io::ErrorKind::Interrupted.into());
        }
        let Some(first) = buffers.iter().find(|part| !part.is_empty()) else { return Ok(0) };
        let piece = &first[..first.len().min(self.piece)];
        let count = self.half.write(&[IoSlice::new(piece)])?;
        let delay = self.charge(count, Instant::now());
        if !delay.is_zero() && !self.interrupted {
            thread::sleep(delay);
        }
        Ok(count)
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.half.set_timeout(timeout);
    }

    fn number(&self) -> Option<i32> {
        self.half.number()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn small_debts_are_saved_up_and_time_pays_them() {
        let mut throttle = Throttle::new(Box::new(Arc::new(Mutex::new(Vec::new()))), 1000);
        let start = Instant::now();
        assert_eq!(throttle.charge(50, start), Duration::ZERO);
        assert_eq!(throttle.charge(100, start), Duration::from_millis(150));
        assert_eq!(throttle.charge(0, start + Duration::from_millis(150)), Duration::ZERO);
        assert_eq!(throttle.charge(200, start + Duration::from_millis(250)), Duration::from_millis(100));
    }

    #[test]
    fn a_write_is_a_piece() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let mut throttle = Throttle::new(Box::new(Arc::clone(&kept)), 8 * 600);
        let big = [0; 2000];
        assert_eq!(throttle.write(&[IoSlice::new(&[]), IoSlice::new(&big)]).unwrap(), 600);
        assert_eq!(kept.lock().unwrap().len(), 600);
    }
}
