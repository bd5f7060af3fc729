//! Finding the blocks of the old file in the new one.
//!
//! The far side has an old file and has told us, for each of its blocks, a weak sum of 32 bits and a strong one. We have
//! the new file. A block of the old file may stand anywhere in the new one, so a window of a block's length moves over
//! it byte by byte, and at each position asks: is the sum of what I see the sum of a block?
//!
//! Only the weak sum can answer that often enough, for it can be carried on: from the sum of a window, the byte that
//! leaves and the byte that enters follows the sum of the next window. Nearly always the answer is no. So the question is
//! first put to a small bit map (`hash::rolling::Filter`), and sixteen windows are computed at once; only where the bit
//! map does not deny it is the weak sum looked up among all blocks, and only where it is found there is the strong sum
//! of the window computed. If that agrees too, it is that block: what lies between the last such place and here is sent
//! as it is, then the block's number, and the search goes on behind the block, with a sum computed anew.
//!
//! Several blocks may be the same. Which of them is named is our choice, and the best is the one after the block named
//! before (`wanted`), since runs of neighbours cost the receiver one long copy (and compress to almost nothing).
//!
//! A receiver that works in place has overwritten what lies before the current position, so blocks from there are out of
//! the question, unless the very same data was left where it is. And it would rather not write at all: a block at its own
//! place is preferred to any other. With runs of zeros, which match everywhere, one even waits for the next boundary.
//!
//! When the reader asks for the end of a file that it has the front of (`--append`), nothing is searched: the front is
//! skipped, the rest sent.

use crate::{
    bytes,
    error::Result,
    fs::window::{Source, Window},
    hash::{
        Algorithm, FileSum, Sum,
        rolling::{Filter, Rolling, weak_sum},
    },
    log::{Log, LogCode},
    options::{Append, Debug},
    proto::{Protocol, sums::Sums, token::MAX_RUN},
};

use super::table::Table;

/// How many blocks with the same weak sum are compared at one position before it counts as not matching: a disk image
/// with thousands of them would take forever otherwise. C: MAX_CHAIN_LEN
const MAX_COMPARED: u32 = 1024;
/// After so many neighbouring positions at which only strong sums told the difference, the search goes on a block
/// further: data made to look so would otherwise cost a strong sum for each of its bytes. The reference as Debian
/// installs it does that; its published source does not.
const MAX_ALARMS: u32 = 4;
/// How far the window moves, and how much literal data is passed on, at a time; a multiple of `MAX_RUN`.
const STRETCH: usize = 8 * MAX_RUN;

/// Takes what the search finds, in the order of the new file.
pub trait Tokens {
    /// Data that is in no block. Of the pieces that follow each other, all but the last are multiples of `MAX_RUN` long,
    /// so that cutting each to runs gives the runs of the whole.
    fn literal(&mut self, data: &[u8]) -> Result<()>;
    /// A block of the basis, and the data it stands for.
    fn matched(&mut self, block: u32, data: &[u8]) -> Result<()>;
}

/// What the search must know beside the sums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    pub algorithm: Algorithm,
    pub seed: i32,
    /// The receiver writes into the basis file. C: updating_basis_file
    pub in_place: bool,
    /// The receiver keeps what it has and wants the rest. `Verify`: the kept part belongs to the whole-file sum.
    pub append: Append,
}

impl Rules {
    pub fn new(protocol: &Protocol, in_place: bool, append: Append) -> Self {
        Self { algorithm: protocol.transfer_sum, seed: protocol.checksum_seed, in_place, append }
    }
}

/// How a search went; of all files together for `--stats` and `--debug=deltasum`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Bytes sent as they are.
    pub literal: u64,
    /// Bytes named by blocks.
    pub matched: u64,
    /// Blocks named.
    pub matches: u64,
    /// Positions at which the hash table had something. Counted only with `--debug=deltasum`: see `Searcher::search`.
    pub hash_hits: u64,
    /// Strong sums that differed where the weak ones did not.
    pub false_alarms: u64,
}

impl Counters {
    fn add(&mut self, other: &Self) {
        self.literal += other.literal;
        self.matched += other.matched;
        self.matches += other.matches;
        self.hash_hits += other.hash_hits;
        self.false_alarms += other.false_alarms;
    }
}

/// Searches one file after another, and keeps its tables between them.
#[derive(Debug, Default)]
pub struct Searcher {
    table: Table,
    filter: Filter,
    totals: Counters,
}

impl Searcher {
    /// Turns a file into tokens and its whole-file sum, which is spoiled if the file could not be read as it should: then
    /// the receiver finds out. The end token and the sum are the caller's to write.
    ///
    /// With `--debug=deltasum` every position is looked up as the reference does, for its counters and its lines; without,
    /// only those that the filter lets through. What is found is the same. C: match.c match_sums
    pub fn search<S: Source>(
        &mut self,
        file: &mut Window<S>,
        sums: &Sums,
        rules: &Rules,
        log: &Log,
        tokens: &mut impl Tokens,
    ) -> Result<Sum> {
        let mut search = Search {
            len: file.len(),
            file,
            sums,
            rules,
            log,
            debug: log.debug(Debug::Deltasum),
            tokens,
            table: &mut self.table,
            filter: &mut self.filter,
            file_sum: FileSum::new(rules.algorithm, rules.seed),
            counters: Counters::default(),
            sent: 0,
            run_start: 0,
            wanted: 0,
            kept: Vec::new(),
        };
        search.run()?;
        let (file_sum, counters, debug) = (search.file_sum, search.counters, search.debug);
        self.totals.add(&counters);
        if debug >= 2 {
            log.say(LogCode::Info, "sending file_sum");
            let Counters { false_alarms, hash_hits, matches, .. } = counters;
            let line = bytes!["false_alarms=", false_alarms, " hash_hits=", hash_hits, " matches=", matches];
            log.say(LogCode::Info, line);
        }
        let sum = file_sum.finish();
        Ok(if file.error().is_some() { sum.spoiled() } else { sum })
    }

    /// Counts data that went another way.
    pub fn count_literal(&mut self, bytes: u64) {
        self.totals.literal += bytes;
    }

    /// Of all files so far.
    pub fn totals(&self) -> &Counters {
        &self.totals
    }

    /// The closing line of `--debug=deltasum`. C: match.c match_report
    pub fn report(&self, log: &Log) {
        if log.debug(Debug::Deltasum) >= 1 {
            let Counters { literal, matches, hash_hits, false_alarms, .. } = self.totals;
            let line = bytes![
                "total: matches=",
                matches,
                "  hash_hits=",
                hash_hits,
                "  false_alarms=",
                false_alarms,
                " data=",
                literal
            ];
            log.say(LogCode::Info, line);
        }
    }
}

/// The search through one file.
struct Search<'a, S, T> {
    file: &'a mut Window<S>,
    len: u64,
    sums: &'a Sums,
    rules: &'a Rules,
    log: &'a Log,
    debug: u8,
    tokens: &'a mut T,
    table: &'a mut Table,
    filter: &'a mut Filter,
    file_sum: FileSum,
    counters: Counters,
    /// Everything before this position was passed on. C: last_match
    sent: u64,
    /// Where the last block ended.
    run_start: u64,
    /// The block that would best come next. C: want_i
    wanted: u32,
    /// In place: the blocks that were found to stay where they are. C: SUMFLG_SAME_OFFSET
    kept: Vec<bool>,
}

/// A block found in the new file.
#[derive(Clone, Copy)]
struct Found {
    block: u32,
    /// Where in the new file.
    at: u64,
}

/// What a look at one position told.
enum Look {
    Nothing,
    /// Weak sums agreed, strong ones did not.
    FalseAlarm,
    Match(Found),
}

/// What the window shows, as far as it was looked at.
struct View {
    at: u64,
    len: u32,
    weak: u32,
    strong: Sum,
}

impl<S: Source, T: Tokens> Search<'_, S, T> {
    fn run(&mut self) -> Result<()> {
        if self.rules.append != Append::No {
            self.skip_front();
        } else if self.len > 0 && !self.sums.weak.is_empty() && self.rules.algorithm != Algorithm::None {
            self.build();
            self.search()?;
            self.say(2, || bytes!["done hash search"]);
        }
        self.pass_on(self.len)
    }

    /// What the receiver has already is not sent, and is hashed only if it shall be verified.
    fn skip_front(&mut self) {
        let front = self.sums.head.file_len().min(self.len);
        if self.rules.append == Append::Verify {
            while self.sent < front {
                let len = (front - self.sent).min(STRETCH as u64) as usize;
                self.file_sum.update(self.file.bytes(self.sent, len));
                self.sent += len as u64;
            }
        }
        self.sent = front;
    }

    fn build(&mut self) {
        self.table.build(self.sums);
        self.filter.reset(self.sums.weak.len());
        for &weak in &self.sums.weak {
            self.filter.insert(weak);
        }
        if self.rules.in_place {
            self.kept.resize(self.sums.weak.len(), false);
        }
        self.say(2, || bytes!["built hash table"]);
    }

    /// C: match.c hash_search
    fn search(&mut self) -> Result<()> {
        let block_len = self.sums.head.block_len;
        let last_len = self.sums.head.len_of(self.sums.head.count.saturating_sub(1));
        // the last position at which even the shortest block would fit
        let end = (self.len + 1).saturating_sub(u64::from(last_len));
        let window = |at, len: u64| u64::from(block_len).min(len - at) as usize;

        let mut at = 0;
        let mut rolling = Rolling::new(self.file.bytes(0, window(0, self.len)));
        let mut alarms = 0;
        self.say_start(rolling);
        loop {
            let look = self.look_up(at, rolling.value());
            alarms = if matches!(look, Look::FalseAlarm) { alarms + 1 } else { 0 };
            at = match look {
                Look::Match(found) => self.take(found)?,
                Look::FalseAlarm if alarms >= MAX_ALARMS => at + u64::from(block_len),
                _ => {
                    let moved = self.advance(at, end, &mut rolling)?;
                    if moved == 0 {
                        return Ok(());
                    } else if moved > 1 {
                        alarms = 0;
                    }
                    at += moved;
                    continue;
                }
            };
            if at >= end {
                return Ok(());
            }
            rolling = Rolling::new(self.file.bytes(at, window(at, self.len)));
        }
    }

    /// Moves the window on by at least one byte, and then as far as no block can begin; 0 if it got to `end`.
    fn advance(&mut self, at: u64, end: u64, rolling: &mut Rolling) -> Result<u64> {
        let steps = end.saturating_sub(at + 1);
        let ahead = self.len - at - u64::from(rolling.window_len());
        if steps == 0 {
            return Ok(0);
        }
        if ahead == 0 {
            rolling.shrink(self.file.bytes(at, 1).first().copied().unwrap_or_default());
            return Ok(1);
        }
        let steps = if self.debug > 0 { 1 } else { steps.min(ahead).min(STRETCH as u64) as usize };
        self.slide(at, rolling, steps)
    }

    /// Moves the window on by so many bytes at most, as long as there are so many behind it.
    fn slide(&mut self, at: u64, rolling: &mut Rolling, steps: usize) -> Result<u64> {
        // as much as makes whole runs: the rest is kept in view
        let whole_runs = (at - self.sent) / MAX_RUN as u64 * MAX_RUN as u64;
        self.pass_on(self.sent + whole_runs)?;
        let start = (at - self.sent) as usize;
        let window = rolling.window_len() as usize;
        let data = self.file.bytes(self.sent, start + window + steps);
        let (leaves, enters) = (&data[start..start + steps], &data[start + window..]);
        let (table, sums) = (&*self.table, self.sums);
        Ok(rolling.slide(leaves, enters, self.filter, |weak| table.knows(weak, sums)) as u64)
    }

    /// Whether a block is what the window shows at `at`, and which is the best of them.
    fn look_up(&mut self, at: u64, weak: u32) -> Look {
        self.say(4, || bytes!["offset=", at, format_args!(" sum={weak:08x}")]);
        if self.debug == 0 && !self.filter.may_know(weak) {
            return Look::Nothing;
        }
        let mut link = self.table.first(weak);
        self.counters.hash_hits += u64::from(link.is_some());
        let len = u64::from(self.sums.head.block_len).min(self.len - at) as u32;
        let mut view = None;
        let mut compared = 0;
        let alarms_before = self.counters.false_alarms;
        while let Some(here) = link {
            let block = here.block;
            if self.is_overwritten(block, at) {
                link = self.table.remove(here);
                continue;
            }
            link = self.table.next(here);
            if self.sums.weak[block as usize] != weak {
                continue;
            }
            compared += 1;
            if compared > MAX_COMPARED {
                break;
            }
            if len != self.sums.head.len_of(block) {
                continue;
            }
            self.say(3, || bytes!["potential match at ", at, " i=", block, format_args!(" sum={weak:08x}")]);
            let view = view.get_or_insert_with(|| {
                let data = self.file.bytes(at, len as usize);
                View { at, len, weak, strong: self.rules.algorithm.block_sum(self.rules.seed, data) }
            });
            if self.is_block(view, block) {
                return Look::Match(self.best(view, block));
            }
            self.counters.false_alarms += 1;
            link = self.table.next_other(here);
        }
        if self.counters.false_alarms > alarms_before { Look::FalseAlarm } else { Look::Nothing }
    }

    /// In place: whether a block's data is gone when the receiver gets to `at`.
    fn is_overwritten(&self, block: u32, at: u64) -> bool {
        self.rules.in_place && self.sums.head.offset_of(block) < at && !self.kept[block as usize]
    }

    fn is_block(&self, view: &View, block: u32) -> bool {
        let strong = self.sums.strong(block);
        view.weak == self.sums.weak[block as usize]
            && view.len == self.sums.head.len_of(block)
            && view.strong.get(..strong.len()) == Some(strong)
    }

    /// Chooses among all blocks that are what the window shows, of which `block` is one.
    fn best(&mut self, view: &View, block: u32) -> Found {
        let mut found = Found { block, at: view.at };
        if self.rules.in_place
            && let Some(own) = self.own_place(view)
        {
            found.block = own;
            let place = self.sums.head.offset_of(own);
            if place != view.at {
                if !self.shows_again(view, place) {
                    return found;
                }
                found.at = place;
            }
            self.kept[own as usize] = true;
            return found;
        }
        let wanted = self.wanted;
        if wanted != block
            && (wanted as usize) < self.sums.weak.len()
            && !self.is_overwritten(wanted, view.at)
            && self.is_block(view, wanted)
        {
            found.block = wanted;
        }
        found
    }

    /// In place: the block whose own place is here, or for zeros the next such place, if it is what the window shows.
    fn own_place(&self, view: &View) -> Option<u32> {
        let block_len = u64::from(self.sums.head.block_len);
        let block = view.at.div_ceil(block_len);
        let place = block * block_len;
        let zeros = view.weak == 0 && u64::from(view.len) == block_len && place + block_len <= self.len;
        let block = u32::try_from(block).ok().filter(|&block| (block as usize) < self.sums.weak.len())?;
        ((place == view.at || zeros) && self.is_block(view, block)).then_some(block)
    }

    /// Whether the file has at `place` what it has where the window is.
    fn shows_again(&mut self, view: &View, place: u64) -> bool {
        let start = self.sent.min(place);
        let data = &self.file.bytes(start, (place - start) as usize + view.len as usize)[(place - start) as usize..];
        weak_sum(data) == view.weak && self.rules.algorithm.block_sum(self.rules.seed, data) == view.strong
    }

    /// Passes on a block and what lies before it; returns the position behind it. C: match.c matched
    fn take(&mut self, found: Found) -> Result<u64> {
        let len = self.sums.head.len_of(found.block);
        self.say_match(found, len);
        let before = (found.at - self.sent) as usize;
        let data = self.file.bytes(self.sent, before + len as usize);
        self.file_sum.update(data);
        let (literal, matched) = data.split_at(before);
        if !literal.is_empty() {
            self.tokens.literal(literal)?;
        }
        self.tokens.matched(found.block, matched)?;
        self.counters.literal += before as u64;
        self.counters.matched += u64::from(len);
        self.counters.matches += 1;
        self.wanted = found.block + 1;
        self.sent = found.at + u64::from(len);
        self.run_start = self.sent;
        Ok(self.sent)
    }

    /// Passes on as literal data what lies before `end`.
    fn pass_on(&mut self, end: u64) -> Result<()> {
        while self.sent < end {
            let len = (end - self.sent).min(STRETCH as u64) as usize;
            let data = self.file.bytes(self.sent, len);
            self.file_sum.update(data);
            self.tokens.literal(data)?;
            self.counters.literal += len as u64;
            self.sent += len as u64;
        }
        Ok(())
    }

    fn say(&self, level: u8, line: impl FnOnce() -> Vec<u8>) {
        if self.debug >= level {
            self.log.say(LogCode::Info, line());
        }
    }

    fn say_start(&self, rolling: Rolling) {
        let (block_len, count) = (self.sums.head.block_len, self.sums.head.count);
        self.say(2, || bytes!["hash search b=", block_len, " len=", self.len]);
        self.say(3, || bytes![format_args!("sum={:08x}", rolling.value()), " k=", rolling.window_len()]);
        self.say(3, || bytes!["hash search s->blength=", block_len, " len=", self.len, " count=", count]);
    }

    /// The reference passes literal data on in runs once it is a run and a block behind, and counts from the last of
    /// them; its line shows that, so ours does.
    fn say_match(&self, found: Found, len: u32) {
        let Found { block, at } = found;
        self.say(2, || {
            let last_len = u64::from(self.sums.head.len_of(self.sums.head.count.saturating_sub(1)));
            let (run, block_len) = (MAX_RUN as u64, u64::from(self.sums.head.block_len));
            let limit = at.min((self.len + 1).saturating_sub(last_len + run));
            let runs = limit.saturating_sub(self.run_start + block_len + 1) / run;
            let last = self.run_start + runs * run;
            bytes!["match at ", at, " last_match=", last, " j=", block, " len=", len, " n=", at - last]
        });
    }
}
