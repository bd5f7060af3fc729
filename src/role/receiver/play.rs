//! Playing a batch file back: its data was asked for by another generator, and may not be what ours wants.

use std::collections::{HashSet, VecDeque};

use super::Work;
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    log::LogCode,
    proto::stats::DeleteStats,
    role::{
        Feedback,
        wishes::{Wanted, Wish},
    },
};

/// What is known of the generator's wishes.
pub(super) struct Play {
    wanted: Wanted,
    /// The next one, beyond what was asked for so far.
    next: Option<i32>,
    waits: u32,
    /// Files whose data came once: if it comes again, their sums disagreed where the batch was made.
    came: HashSet<i32>,
    /// Files whose sums disagreed here.
    again: VecDeque<i32>,
    deleted: Option<DeleteStats>,
}

impl Play {
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, next: None, waits: 0, came: HashSet::new(), again: VecDeque::new(), deleted: None }
    }
}

impl Work<'_> {
    /// Whether data of this file is to be used; always, if it comes from a sender. What is not is said.
    pub(super) fn is_wanted(&mut self, index: i32, path: &[u8]) -> Result<bool> {
        let Some(play) = &mut self.play else { return Ok(true) };
        let resent = !play.came.insert(index);
        let wanted = if resent { self.wants_again(index)? } else { self.wants(index)? };
        if !wanted {
            let line = bytes!["(Skipping batched update for", of_resend(resent), " \"", path, "\")"];
            self.log.say(LogCode::Info, line);
        }
        Ok(wanted)
    }

    /// C: receiver.c gen_wants_ndx
    fn wants(&mut self, index: i32) -> Result<bool> {
        loop {
            let Some(next) = self.next_wish()? else { return Ok(false) };
            if next > index {
                return Ok(false);
            }
            if let Some(play) = &mut self.play {
                play.next = None;
            }
            if next == index {
                return Ok(true);
            }
            self.no_update(next, false)?;
        }
    }

    /// The generator's next wish, waiting as long as there may be one.
    fn next_wish(&mut self) -> Result<Option<i32>> {
        let mut asked = None;
        loop {
            let Some(play) = &mut self.play else { return Ok(None) };
            if play.next.is_some() {
                return Ok(play.next);
            }
            let wish = match (play.wanted.at_hand(), asked) {
                (Some(wish), _) => wish,
                (None, Some(_)) => play.wanted.next()?,
                (None, None) => {
                    play.waits += 1;
                    let number = play.waits;
                    asked = Some(number);
                    self.tell_generator(Feedback::Waits(number))?;
                    continue;
                }
            };
            match wish {
                Wish::File(index) => play.next = Some(index),
                Wish::NoMore(number) if asked == Some(number) => return Ok(None),
                Wish::NoMore(_) => {} // an answer to what was asked before
                Wish::Deleted(counts) => play.deleted = Some(counts),
            }
        }
    }

    /// C: receiver.c we_want_redo
    fn wants_again(&mut self, index: i32) -> Result<bool> {
        while let Some(play) = &mut self.play
            && let Some(&first) = play.again.front()
            && first <= index
        {
            play.again.pop_front();
            if first == index {
                return Ok(true);
            }
            self.no_update(first, true)?;
        }
        Ok(false)
    }

    /// The sums of a file disagreed: the batch may have it once more. False: the data is a sender's.
    pub(super) fn may_come_again(&mut self, index: i32) -> bool {
        self.play.as_mut().map(|play| play.again.push_back(index)).is_some()
    }

    /// No data of the first segment comes any more; with `resent` no second try either.
    pub(super) fn end_of_updates(&mut self, resent: bool) -> Result<()> {
        if self.play.is_none() {
            return Ok(());
        }
        let Some(end) = self.list.segments().next().map(|segment| segment.end_index()) else { return Ok(()) };
        self.wants(end)?;
        if resent {
            self.wants_again(end)?;
        }
        Ok(())
    }

    /// C: receiver.c no_batched_update
    fn no_update(&mut self, index: i32, resent: bool) -> Result<()> {
        let found = self.list.segments().find_map(|segment| segment.get(index));
        let path = found
            .map(|entry| entry.path())
            .ok_or_else(|| Error::new(ExitCode::PROTOCOL, bytes!["no entry ", index, " for a wish [receiver]"]))?;
        let line = bytes!["(No batched update for", of_resend(resent), " \"", path, "\")"];
        self.log.say(LogCode::ErrorXfer, line);
        if self.transfer.for_real() { self.decline(index) } else { Ok(()) }
    }

    /// The generator's counts of deletions.
    pub(super) fn take_counts(&mut self) -> Result<()> {
        while let Some(play) = &mut self.play {
            if let Some(counts) = play.deleted.take() {
                self.account.removals.counts = counts;
                break;
            }
            if let Wish::Deleted(counts) = play.wanted.next()? {
                play.deleted = Some(counts);
            }
        }
        Ok(())
    }
}

fn of_resend(resent: bool) -> &'static str {
    if resent { " resend of" } else { "" }
}
