//! What the generator wants of a batch file: the sender that could answer is a file, so the receiver is told.
//!
//! The receiver, come to a file's data, waits until it knows whether that is wanted: it tells the generator so
//! (`Feedback::Waits`), and gets the wish, or word that the generator has no more before it hears of something new.

use std::sync::mpsc;

use crate::{
    error::{Error, ExitCode, Result},
    proto::stats::DeleteStats,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// The contents of a file.
    File(i32),
    /// None, after all that was heard up to this `Feedback::Waits`.
    NoMore(u32),
    /// The counts of deletions, which the generator makes.
    Deleted(DeleteStats),
}

/// The generator's end.
pub struct Wishes {
    way: mpsc::Sender<Wish>,
    /// The receiver waits for an answer.
    asked: Option<u32>,
}

/// The receiver's end.
pub struct Wanted(mpsc::Receiver<Wish>);

pub fn channel() -> (Wishes, Wanted) {
    let (way, wanted) = mpsc::channel();
    (Wishes { way, asked: None }, Wanted(wanted))
}

impl Wishes {
    pub fn tell(&self, wish: Wish) {
        let _ = self.way.send(wish); // a receiver that is gone has failed, and that is told
    }

    pub fn asked(&mut self, number: u32) {
        self.asked = Some(number);
    }

    /// The generator is about to wait, having said all it can.
    pub fn no_more(&mut self) {
        if let Some(number) = self.asked.take() {
            self.tell(Wish::NoMore(number));
        }
    }
}

impl Wanted {
    /// What is there already.
    pub fn at_hand(&self) -> Option<Wish> {
        self.0.try_recv().ok()
    }

    /// The next one. A generator that is gone has failed: its error is the one to tell.
    pub fn next(&self) -> Result<Wish> {
        self.0.recv().map_err(|_| Error::silent(ExitCode::STREAM_IO))
    }
}
