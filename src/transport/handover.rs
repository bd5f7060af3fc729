//! The side channel of a local copy: open source files handed from the sender to the receiver in place of their bytes.

use std::{
    collections::VecDeque,
    io, mem,
    os::fd::OwnedFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::pair::sleep;
use crate::{
    bytes,
    log::{Log, LogCode},
    sys::poll::Wake,
};

/// How many source files may lie between the two sides: bounds the open descriptors.
pub const FILES: usize = 32;

/// An open source file whose bytes stand for the data of a transfer.
#[derive(Debug)]
pub struct SourceFile {
    pub file: OwnedFd,
    /// As the sender shows it.
    pub name: Vec<u8>,
}

#[derive(Default)]
struct Shelf {
    state: Mutex<ShelfState>,
    room: Condvar,
    /// The sender's voice.
    log: OnceLock<Log>,
    unreadable: AtomicBool,
}

#[derive(Default)]
struct ShelfState {
    files: VecDeque<SourceFile>,
    giver_sleeps: bool,
    taker_gone: bool,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, ShelfState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sender's end of the file side channel.
pub struct Giver {
    shelf: Arc<Shelf>,
    wake: Wake,
}

/// The receiver's end of the file side channel.
pub struct Taker {
    shelf: Arc<Shelf>,
}

/// The side channel that hands open source files from the sender to the receiver of a local copy.
///
/// The sender offers a file *before* it writes the token that stands for it, so a receiver that has read the token finds
/// the file: the first on the shelf.
pub fn handover(wake: &Wake) -> (Giver, Taker) {
    let shelf = Arc::new(Shelf::default());
    (Giver { shelf: Arc::clone(&shelf), wake: wake.clone() }, Taker { shelf })
}

impl Giver {
    /// Puts a file on the shelf; gives it back when `FILES` lie there already or nobody takes any more.
    pub fn try_offer(&self, source: SourceFile) -> Result<(), SourceFile> {
        let mut state = self.shelf.lock();
        if state.taker_gone || state.files.len() >= FILES {
            return Err(source);
        }
        state.files.push_back(source);
        Ok(())
    }

    /// Waits until `try_offer` would succeed. Whoever calls this has flushed its writer: the receiver takes a file only
    /// after reading its token. `BrokenPipe` when the receiver is gone, `Interrupted` when the wake fired.
    pub fn wait_for_room(&self) -> io::Result<()> {
        let mut state = self.shelf.lock();
        loop {
            if state.taker_gone {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if state.files.len() < FILES {
                state.giver_sleeps = false;
                return Ok(());
            }
            state.giver_sleeps = true;
            state = sleep(&self.shelf.room, state, &self.wake, None)?;
        }
    }
}

impl Giver {
    /// What the receiver cannot read is told in this voice: reading is the sender's business.
    pub fn speak_through(&self, log: &Log) {
        self.shelf.log.get_or_init(|| log.clone());
    }

    /// Whether the receiver could not read a file.
    pub fn has_failed(&self) -> bool {
        self.shelf.unreadable.load(Ordering::Acquire)
    }
}

impl Taker {
    /// Tells that a part of a file that was taken could not be read. C: sender.c send_files
    pub fn unreadable(&self, name: &[u8], error: &io::Error) {
        self.shelf.unreadable.store(true, Ordering::Release);
        if let Some(log) = self.shelf.log.get() {
            log.syserr(LogCode::ErrorXfer, bytes!["read errors mapping ", name], error);
        }
    }

    /// The oldest file on the shelf.
    pub fn take_next(&self) -> Option<SourceFile> {
        let mut state = self.shelf.lock();
        let source = state.files.pop_front()?;
        let rouse = state.files.len() <= FILES / 2 && mem::take(&mut state.giver_sleeps);
        drop(state);
        if rouse {
            self.shelf.room.notify_one();
        }
        Some(source)
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let mut state = self.shelf.lock();
        state.taker_gone = true;
        state.files.clear();
        drop(state);
        self.shelf.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;
    use crate::{
        log::{Sink, Speaker},
        options::Levels,
    };

    fn source(name: u8) -> SourceFile {
        SourceFile { file: std::fs::File::open("/dev/null").unwrap().into(), name: vec![name] }
    }

    #[test]
    fn files_come_in_their_order_and_are_bounded() {
        let (giver, taker) = handover(&Wake::new().unwrap());
        (0..FILES as u8).for_each(|n| giver.try_offer(source(n)).unwrap());
        assert!(giver.try_offer(source(99)).is_err());
        assert_eq!(taker.take_next().unwrap().name, [0]);
        assert_eq!(taker.take_next().unwrap().name, [1]);
        giver.try_offer(source(99)).unwrap();
        giver.try_offer(source(99)).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| giver.wait_for_room());
            thread::sleep(Duration::from_millis(20));
            while taker.take_next().is_some() {}
            waiting.join().unwrap().unwrap();
        });
        drop(taker);
        assert!(giver.try_offer(source(1)).is_err());
    }

    #[test]
    fn what_the_receiver_cannot_read_is_told_in_the_sender_s_voice() {
        #[derive(Default)]
        struct Heard(Mutex<Vec<u8>>);
        impl Sink for Heard {
            fn line(&self, _: LogCode, line: &[u8]) {
                self.0.lock().unwrap().extend_from_slice(line);
            }
        }
        let (giver, taker) = handover(&Wake::new().unwrap());
        let heard = Arc::new(Heard::default());
        giver.speak_through(&Log::new(Levels::default(), Arc::clone(&heard) as Arc<dyn Sink>, Speaker::Sender));
        assert!(!giver.has_failed());
        taker.unreadable(b"\"/a/f\"", &io::Error::from_raw_os_error(libc::ENODATA));
        assert!(giver.has_failed());
        let line = heard.0.lock().unwrap().clone();
        let expected = "rsync: [sender] read errors mapping \"/a/f\": No data available (61)";
        assert_eq!(String::from_utf8_lossy(&line).trim_end(), expected);
    }
}
