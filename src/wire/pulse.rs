//! When the peer was last heard and when we last spoke: the clock behind `--timeout` and keep-alives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Shared by the two directions of one connection; cheap to clone.
///
/// The connection is dead when for the whole of the timeout nothing arrived and no data could be sent. Keep-alives
/// of ours do not count as sent: they vanish into socket buffers long after the far side has gone.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    /// Seconds; 0: none.
    timeout: AtomicU32,
    /// Milliseconds since `start`.
    heard: AtomicU64,
    data_sent: AtomicU64,
    sent: AtomicU64,
}

impl Pulse {
    /// `timeout` in seconds, 0 for none.
    pub fn new(timeout: u32) -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            timeout: AtomicU32::new(timeout),
            heard: AtomicU64::new(0),
            data_sent: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }))
    }

    /// Seconds; 0: none.
    pub fn timeout(&self) -> u32 {
        self.0.timeout.load(Ordering::Relaxed)
    }

    pub fn set_timeout(&self, seconds: u32) {
        self.0.timeout.store(seconds, Ordering::Relaxed);
    }

    /// Takes over a peer's shorter timeout; true if it changed anything. C: io.c read_a_msg, MSG_IO_TIMEOUT
    pub fn shorten(&self, seconds: u32) -> bool {
        let ours = self.timeout();
        let shorter = seconds > 0 && (ours == 0 || ours > seconds);
        if shorter {
            self.set_timeout(seconds);
        }
        shorter
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Something arrived. Work of ours that keeps us from listening counts too.
    pub fn heard(&self) {
        if self.timeout() != 0 {
            self.0.heard.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Something was sent; `data` is false for a mere keep-alive.
    pub fn sent(&self, data: bool) {
        if self.timeout() != 0 {
            let now = self.now();
            self.0.sent.store(now, Ordering::Relaxed);
            if data {
                self.0.data_sent.store(now, Ordering::Relaxed);
            }
        }
    }

    /// How long the connection has been silent.
    fn silence(&self) -> Duration {
        let last = self.0.heard.load(Ordering::Relaxed).max(self.0.data_sent.load(Ordering::Relaxed));
        Duration::from_millis(self.now().saturating_sub(last))
    }

    /// How long one may still wait; `None` for ever, zero when the connection is dead.
    pub fn patience(&self) -> Option<Duration> {
        let timeout = self.timeout();
        (timeout != 0).then(|| Duration::from_secs(timeout.into()).saturating_sub(self.silence()))
    }

    /// Seconds of silence, when that is too long.
    pub(super) fn dead_for(&self) -> Option<u64> {
        self.patience().is_some_and(|left| left.is_zero()).then(|| self.silence().as_secs())
    }

    /// After how long a silence of ours the peer wants a sign of life: half the timeout. C: io.c allowed_lull
    pub fn lull(&self) -> Option<Duration> {
        let timeout = self.timeout();
        (timeout != 0).then(|| Duration::from_secs(u64::from(timeout).div_ceil(2)))
    }

    /// Whether a keep-alive is due.
    pub fn keepalive_due(&self) -> bool {
        self.lull().is_some_and(|lull| {
            Duration::from_millis(self.now().saturating_sub(self.0.sent.load(Ordering::Relaxed))) >= lull
        })
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shorter_timeout_is_taken_over() {
        let pulse = Pulse::new(0);
        assert_eq!(pulse.patience(), None);
        assert!(pulse.shorten(60) && !pulse.shorten(90) && !pulse.shorten(0));
        assert_eq!(pulse.timeout(), 60);
        assert_eq!(pulse.lull(), Some(Duration::from_secs(30)));
    }

    #[test]
    fn keepalives_do_not_prolong_a_dead_connection() {
        let pulse = Pulse::new(1);
        std::thread::sleep(Duration::from_millis(1020));
        pulse.sent(false);
        assert_eq!(pulse.dead_for(), Some(1));
        assert!(!pulse.keepalive_due());
        pulse.heard();
        assert_eq!(pulse.dead_for(), None);
    }
}
