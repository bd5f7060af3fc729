//! What the receiving end of a connection passes on while nobody waits for whoever takes it: bounded by the list,
//! however much the peer says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use super::Feedback;
use crate::{
    error::{Error, ExitCode, Result},
    wire::{Tag, Watch},
};

/// The indexes of a list that were spoken of. Each passes once; the first one that is not of the list passes too, for
/// it ends the run, and nothing after it.
#[derive(Debug, Default)]
pub struct Once {
    seen: Vec<u64>,
    /// Behind the last index of the list, as far as it is known.
    end: i32,
    ending: bool,
}

impl Once {
    /// The list goes on up to here.
    pub fn reach(&mut self, end: i32) {
        self.end = self.end.max(end);
    }

    /// Whether this index is to be passed on.
    pub fn pass(&mut self, index: i32) -> bool {
        if self.ending {
            return false;
        }
        let Some(at) = usize::try_from(index).ok().filter(|_| index < self.end) else {
            self.ending = true;
            return true;
        };
        let (word, bit) = (at / 64, 1 << (at % 64));
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        let Some(seen) = self.seen.get_mut(word) else { return false };
        let fresh = *seen & bit == 0;
        *seen |= bit;
        fresh
    }
}

/// The receiver's way to the generator, for all that speak on the receiver's thread: no two threads ever ask for the
/// lock at a time. Of each file it is told once that it came or will not.
#[derive(Clone)]
pub struct News {
    way: mpsc::Sender<Feedback>,
    settled: Arc<Mutex<Once>>,
    watch: Watch,
    /// Both ends are one process.
    local: bool,
}

impl News {
    pub fn new() -> (Self, mpsc::Receiver<Feedback>) {
        let (way, generator) = mpsc::channel();
        (Self { way, settled: Arc::default(), watch: Watch::default(), local: false }, generator)
    }

    /// The same, told as the messages between the reference's two processes.
    pub fn watched(self, watch: Watch, local: bool) -> Self {
        Self { watch, local, ..self }
    }

    /// The list goes on up to here.
    pub fn reach(&self, end: i32) {
        self.settled().reach(end);
    }

    /// A generator that is gone has failed: its error is the one to tell.
    pub fn tell(&self, mut news: Feedback) -> Result<()> {
        let passes = match &mut news {
            Feedback::Declined(index) => self.settled().pass(*index),
            Feedback::Finished(indexes) => {
                let mut settled = self.settled();
                indexes.retain(|&index| settled.pass(index));
                !indexes.is_empty()
            }
            _ => true,
        };
        if !passes {
            return Ok(());
        }
        self.show(&news);
        self.way.send(news).map_err(|_| Error::silent(ExitCode::STREAM_IO))
    }

    /// Shows that a file is in place, where the reference's generator has to know. C: io.c send_msg_success
    pub fn show_success(&self, index: i32) {
        self.watch.tell(1, "receiver", || match self.local {
            true => format!("send_msg_success({index})"),
            false => format!("send_msg_int({}, {index})", Tag::Success as u8),
        });
    }

    /// Shows that the receiver hands over what it counted.
    pub fn show_counts(&self) {
        self.watch.tell(1, "receiver", || format!("send_msg({}, 8)", Tag::Stats as u8));
    }

    fn show(&self, news: &Feedback) {
        let show = |tag: Tag, number: &i32| {
            self.watch.tell(1, "receiver", || format!("send_msg_int({}, {number})", tag as u8));
        };
        match news {
            Feedback::Redo(index) => show(Tag::Redo, index),
            Feedback::Declined(index) => show(Tag::NoSend, index),
            Feedback::IoError(kinds) => show(Tag::IoError, kinds),
            _ => {}
        }
    }

    fn settled(&self) -> MutexGuard<'_, Once> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_passes_once_and_a_wrong_one_is_the_last() {
        let mut once = Once::default();
        once.reach(130);
        once.reach(3); // a list does not shrink
        assert!(once.pass(0) && once.pass(64) && once.pass(129));
        assert!(!once.pass(0) && !once.pass(64) && !once.pass(129));
        assert!(once.pass(1));
        assert!(once.pass(130) && !once.pass(131) && !once.pass(2));
        for wrong in [-1, i32::MIN, i32::MAX] {
            let mut once = Once::default();
            once.reach(2);
            assert!(once.pass(wrong) && !once.pass(1));
            assert!(once.seen.is_empty());
        }
    }

    #[test]
    fn of_each_file_the_generator_hears_once() {
        let (news, generator) = News::new();
        news.reach(10);
        for _ in 0..1000 {
            news.tell(Feedback::Declined(3)).unwrap();
            news.tell(Feedback::Finished(vec![3, 4, 5])).unwrap();
            news.clone().tell(Feedback::Finished(vec![5])).unwrap();
        }
        let heard: Vec<_> = generator.try_iter().collect();
        assert!(matches!(&heard[..], [Feedback::Declined(3), Feedback::Finished(rest)] if rest == &[4, 5]));
    }

    #[test]
    fn a_generator_that_is_gone_is_no_news() {
        let (news, generator) = News::new();
        drop(generator);
        assert_eq!(news.tell(Feedback::PhaseDone).unwrap_err().code, ExitCode::STREAM_IO);
    }
}
