//! The weak sum: cheap over a block, cheaper still one byte further on, and a filter of the sums that are wanted.

use crate::sys::simd::{self, FACTORS, Steps};

/// The weak sum of a block: bytes are signed; the low half is their sum, the high half the sum of all partial sums, each
/// modulo 2^16. C: checksum.c get_checksum1
pub fn weak_sum(block: &[u8]) -> u32 {
    Rolling::new(block).value()
}

/// The weak sum of a window that moves through a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rolling {
    /// Sum of the bytes; only the low 16 bits count.
    s1: u32,
    /// Sum of the partial sums; likewise.
    s2: u32,
    /// Length of the window.
    len: u32,
}

impl Rolling {
    /// The sum over a window of fewer than 2^32 bytes.
    pub fn new(window: &[u8]) -> Self {
        let (mut s1, mut s2) = (0, 0);
        let done = simd::add_block(window, &mut s1, &mut s2);
        for &byte in &window[done..] {
            s1 = s1.wrapping_add(signed(byte));
            s2 = s2.wrapping_add(s1);
        }
        Self { s1, s2, len: window.len() as u32 }
    }

    pub fn value(self) -> u32 {
        self.s1 & 0xffff | self.s2 << 16
    }

    /// Length of the window in bytes.
    pub fn window_len(self) -> u32 {
        self.len
    }

    /// Moves the window on by one byte.
    #[inline]
    pub fn roll(&mut self, leaves: u8, enters: u8) {
        let leaves = signed(leaves);
        self.s1 = self.s1.wrapping_add(signed(enters)).wrapping_sub(leaves);
        self.s2 = self.s2.wrapping_add(self.s1).wrapping_sub(self.len.wrapping_mul(leaves));
    }

    /// Drops the window's first byte: what moving on means at the end of a file.
    #[inline]
    pub fn shrink(&mut self, leaves: u8) {
        let leaves = signed(leaves);
        self.s1 = self.s1.wrapping_sub(leaves);
        self.s2 = self.s2.wrapping_sub(self.len.wrapping_mul(leaves));
        self.len -= 1;
    }

    /// Moves on until it stands on a sum that the filter may know and `wanted` confirms, or until the bytes are used up;
    /// returns how many steps that were. At the end of the bytes the caller asks about the last sum itself.
    ///
    /// `leaves` are the bytes from the window's first on, `enters` those from just behind its last on; both have the same
    /// length.
    pub fn slide(
        &mut self,
        leaves: &[u8],
        enters: &[u8],
        filter: &Filter,
        mut wanted: impl FnMut(u32) -> bool,
    ) -> usize {
        let mut moved = 0;
        let mut steps = Steps::NONE;
        loop {
            let (old, new) = (&leaves[moved..], &enters[moved..]);
            let count = simd::steps(old, new, self.len, &mut self.s1, &mut self.s2, filter.shift, &mut steps);
            if count == 0 {
                break;
            }
            if let Some(at) = filter.first_known(&steps, count, &mut wanted) {
                (self.s1, self.s2) = (steps.s1[at].into(), steps.s2[at].into());
                return moved + at + 1;
            }
            moved += count;
        }
        for (&out, &new) in leaves[moved..].iter().zip(&enters[moved..]) {
            self.roll(out, new);
            moved += 1;
            if filter.may_know(self.value()) && wanted(self.value()) {
                break;
            }
        }
        moved
    }
}

/// A byte as the signed number it stands for, modulo 2^32.
fn signed(byte: u8) -> u32 {
    byte as i8 as u32
}

/// A set of weak sums that may say yes wrongly, but never no: each sum has four bits in one word.
///
/// It is kept mostly empty and in the processor's cache: nearly every step of a window through data that matches nothing
/// ends here.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only as many at the front as the number of sums asks for are in use. A bit is cleared, not set, so that one `and`
    /// tells.
    words: Box<[u32; 1 << 16]>,
    /// What leaves a word's number of a 16-bit hash.
    shift: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Self { words: vec![!0; 1 << 16].try_into().unwrap_or_else(|_| unreachable!()), shift: 6 }
    }
}

impl Filter {
    /// Forgets everything, and makes room for so many sums.
    pub fn reset(&mut self, sums: usize) {
        let words = sums.saturating_mul(2).clamp(1 << 10, 1 << 16).next_power_of_two();
        self.words[..words].fill(!0);
        self.shift = 16 - words.trailing_zeros();
    }

    pub fn insert(&mut self, sum: u32) {
        let (word, bits) = self.place(sum);
        self.words[usize::from(word)] &= !bits;
    }

    #[inline]
    pub fn may_know(&self, sum: u32) -> bool {
        let (word, bits) = self.place(sum);
        self.words[usize::from(word)] & bits == 0
    }

    /// The first of the looked-ahead steps whose sum may be known and is wanted.
    #[inline]
    fn first_known(&self, steps: &Steps, count: usize, wanted: &mut impl FnMut(u32) -> bool) -> Option<usize> {
        let groups = steps.word.as_chunks::<8>().0.iter().zip(steps.bits.as_chunks::<8>().0);
        for (group, (word, bits)) in groups.take(count / 8).enumerate() {
            // one branch for eight steps: it is hardly ever taken
            let misses = (0..8).all(|at| self.words[usize::from(word[at])] & bits[at] != 0);
            if !misses {
                let found = (group * 8..group * 8 + 8).find(|&at| {
                    let known = self.words[usize::from(steps.word[at])] & steps.bits[at] == 0;
                    known && wanted(u32::from(steps.s1[at]) | u32::from(steps.s2[at]) << 16)
                });
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    /// The word and the four bits of a sum; `simd::steps` knows the same rule.
    fn place(&self, sum: u32) -> (u16, u32) {
        let (s1, s2) = (sum as u16, (sum >> 16) as u16);
        let word = s1.wrapping_mul(FACTORS[0]).wrapping_add(s2.wrapping_mul(FACTORS[1])) >> self.shift;
        let hash = u32::from(s1.wrapping_add(s2.wrapping_mul(FACTORS[2])));
        let bits =
            [hash, hash >> 8, hash >> 3, hash >> 11].iter().rev().fold(0, |bits, part| bits << 8 | 1 << (part & 7));
        (word, bits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, byte by byte.
    fn plain(block: &[u8]) -> u32 {
        let (mut s1, mut s2) = (0u16, 0u16);
        for &byte in block {
            s1 = s1.wrapping_add(byte as i8 as u16);
            s2 = s2.wrapping_add(s1);
        }
        u32::from(s1) | u32::from(s2) << 16
    }

    // From the reference's `--debug=deltasum3`, which prints the sums of a basis.
    #[test]
    fn known_sums() {
        assert_eq!(weak_sum(b""), 0);
        assert_eq!(weak_sum(b"abc"), 0x024a_0126);
        assert_eq!(weak_sum(&[0xff]), 0xffff_ffff);
        assert_eq!(weak_sum(&[100; 256]), 0x3200_6400);
    }

    #[test]
    fn the_longest_blocks_do_not_overflow() {
        for byte in [0x7f, 0x80, 0xff] {
            for len in [131_072, 131_071, 1 << 20] {
                let block = vec![byte; len];
                assert_eq!(weak_sum(&block), plain(&block));
            }
        }
    }

    proptest! {
        #[test]
        fn every_way_gives_the_same_sum(block in proptest::collection::vec(any::<u8>(), 0..700)) {
            prop_assert_eq!(weak_sum(&block), plain(&block));
        }

        #[test]
        fn rolling_equals_starting_anew(data in proptest::collection::vec(any::<u8>(), 2..300), len in 1usize..100) {
            let len = len.min(data.len() - 1);
            let mut rolling = Rolling::new(&data[..len]);
            for at in 1..=data.len() - len {
                rolling.roll(data[at - 1], data[at + len - 1]);
                prop_assert_eq!(rolling, Rolling::new(&data[at..at + len]));
            }
            for at in data.len() - len + 1..data.len() {
                rolling.shrink(data[at - 1]);
                prop_assert_eq!(rolling.value(), plain(&data[at..]));
            }
        }

        #[test]
        fn sliding_stops_at_every_sum_the_filter_knows(
            data in proptest::collection::vec(any::<u8>(), 2..2000),
            len in 1usize..300,
            wanted in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let len = len.min(data.len() - 1);
            let mut filter = Filter::default();
            filter.reset(4);
            for at in &wanted {
                let at = at.index(data.len() - len);
                filter.insert(plain(&data[at..at + len]));
            }
            let mut rolling = Rolling::new(&data[..len]);
            let mut at = 0;
            while at + len < data.len() {
                let (leaves, enters) = (&data[at..data.len() - len], &data[at + len..]);
                let expected = (1..=leaves.len())
                    .find(|step| filter.may_know(plain(&data[at + step..][..len])))
                    .unwrap_or(leaves.len());
                let moved = rolling.slide(leaves, enters, &filter, |_| true);
                prop_assert_eq!(moved, expected);
                at += moved;
                prop_assert_eq!(rolling.value(), plain(&data[at..at + len]));
            }
        }
    }
}
