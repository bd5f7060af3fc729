//! The weak sum: cheap over a block, cheaper still one byte further on, and a filter of the sums that are wanted.

use crate::sys::simd::{self, SPREAD};

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

    /// Moves on until the filter knows the sum, or until the bytes are used up; returns how far.
    ///
    /// `leaves` are the bytes from the window's first on, `enters` those from just behind its last on; both have the same
    /// length. If all were used, the filter may or may not know the last sum: the caller asks it.
    pub fn slide(&mut self, leaves: &[u8], enters: &[u8], filter: &Filter) -> usize {
        let len = leaves.len().min(enters.len());
        let (leaves, enters) = (&leaves[..len], &enters[..len]);
        let (mut moved, found) =
            simd::slide(leaves, enters, self.len, &mut self.s1, &mut self.s2, &filter.words, filter.shift);
        if found {
            return moved;
        }
        for (&out, &new) in leaves.iter().zip(enters).skip(moved) {
            self.roll(out, new);
            moved += 1;
            if filter.may_know(self.value()) {
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

/// A set of weak sums that may say yes wrongly, but never no: a bit map in which each sum has two bits.
///
/// It is sized to be mostly empty and to stay in the processor's cache: nearly every step of a window through data that
/// matches nothing ends here.
#[derive(Clone, Debug)]
pub struct Filter {
    /// A power of two of them.
    words: Vec<u32>,
    /// A sum times an odd number, shifted right by this, is the number of its first bit.
    shift: u32,
}

impl Filter {
    /// Room for so many sums.
    pub fn new(sums: usize) -> Self {
        let bits = (sums.max(1) * 64).next_power_of_two().trailing_zeros().clamp(13, 22);
        Self { words: vec![0; 1 << (bits - 5)], shift: 32 - bits }
    }

    pub fn insert(&mut self, sum: u32) {
        for spread in SPREAD {
            let bit = sum.wrapping_mul(spread) >> self.shift;
            self.words[(bit >> 5) as usize] |= 1 << (bit & 31);
        }
    }

    #[inline]
    pub fn may_know(&self, sum: u32) -> bool {
        SPREAD.iter().all(|&spread| {
            let bit = sum.wrapping_mul(spread) >> self.shift;
            self.words[(bit >> 5) as usize] >> (bit & 31) & 1 != 0
        })
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
            let mut filter = Filter::new(4);
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
                let moved = rolling.slide(leaves, enters, &filter);
                prop_assert_eq!(moved, expected);
                at += moved;
                prop_assert_eq!(rolling.value(), plain(&data[at..at + len]));
            }
        }
    }
}
