//! The blocks of a basis by their weak sums.

use crate::proto::sums::Sums;

const NONE: u32 = u32::MAX;
/// The least number of slots. C: TRADITIONAL_TABLESIZE
const MIN_SLOTS: usize = 1 << 16;

/// A chained hash table. Its shape is the reference's, for `--debug=deltasum` counts how often a slot was not empty.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The last block of each slot's chain.
    slots: Vec<u32>,
    /// For each block the one before it in its chain.
    before: Vec<u32>,
    /// For each block the nearest one before it in its chain that is another: where the same block comes several times
    /// in a row, as in disk images, one comparison does for all.
    other: Vec<u32>,
}

/// Where a chain is being walked.
#[derive(Clone, Copy)]
pub(super) struct Link {
    /// The block whose turn it is.
    pub block: u32,
    from: From,
}

/// What points to a block.
#[derive(Clone, Copy)]
enum From {
    Slot(usize),
    Block(u32),
    /// A way around others: not what holds the chain together.
    Aside,
}

impl Table {
    /// C: match.c build_hash_table
    pub fn build(&mut self, sums: &Sums) {
        let slots = (sums.weak.len() / 8 * 10 + 11).max(MIN_SLOTS);
        self.slots.clear();
        self.slots.resize(slots, NONE);
        self.before.clear();
        self.before.reserve(sums.weak.len());
        self.other.clear();
        self.other.reserve(sums.weak.len());
        for (block, &weak) in sums.weak.iter().enumerate() {
            let (block, slot) = (block as u32, self.slot_of(weak));
            let before = self.slots[slot];
            let same = before != NONE && sums_equal(sums, before, block);
            self.other.push(if same { self.other[before as usize] } else { before });
            self.before.push(before);
            self.slots[slot] = block;
        }
    }

    fn slot_of(&self, weak: u32) -> usize {
        if self.slots.len() == MIN_SLOTS {
            (weak.wrapping_add(weak >> 16) & 0xffff) as usize
        } else {
            weak as usize % self.slots.len()
        }
    }

    /// Whether a block has this sum.
    pub fn knows(&self, weak: u32, sums: &Sums) -> bool {
        let mut link = self.first(weak);
        while let Some(at) = link {
            if sums.weak[at.block as usize] == weak {
                return true;
            }
            link = self.next(at);
        }
        false
    }

    /// The beginning of the chain in which blocks with this sum are, among others: the last of them comes first.
    pub fn first(&self, weak: u32) -> Option<Link> {
        let slot = self.slot_of(weak);
        link(self.slots[slot], From::Slot(slot))
    }

    pub fn next(&self, here: Link) -> Option<Link> {
        link(self.before[here.block as usize], From::Block(here.block))
    }

    /// The next one that is not the same as this one.
    pub fn next_other(&self, here: Link) -> Option<Link> {
        link(self.other[here.block as usize], From::Aside)
    }

    /// Takes a block out of its chain, for good, and goes on to the next.
    pub fn remove(&mut self, here: Link) -> Option<Link> {
        let block = self.before[here.block as usize];
        match here.from {
            From::Slot(slot) => self.slots[slot] = block,
            From::Block(other) => self.before[other as usize] = block,
            From::Aside => return self.next(here),
        }
        link(block, here.from)
    }
}

fn link(block: u32, from: From) -> Option<Link> {
    (block != NONE).then_some(Link { block, from })
}

fn sums_equal(sums: &Sums, one: u32, other: u32) -> bool {
    sums.weak[one as usize] == sums.weak[other as usize]
        && sums.strong(one) == sums.strong(other)
        && sums.head.len_of(one) == sums.head.len_of(other)
}
