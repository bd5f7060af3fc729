//! Vector kernels of the weak sum, chosen at run time by what the processor has.
//!
//! Each does the whole vectors at the front of its input and says how much that was: the rest, or everything where the
//! processor has no such instructions, is the caller's plain loop.

/// Adds whole vectors at the front of `block` to the sum of its bytes (`s1`) and of its partial sums (`s2`); returns how
/// many bytes those were. Only the low 16 bits of both count.
pub fn add_block(block: &[u8], s1: &mut u32, s2: &mut u32) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { x86::add_block_avx2(block, s1, s2) };
        }
        if is_x86_feature_detected!("ssse3") {
            // SAFETY: the processor has SSSE3.
            return unsafe { x86::add_block_ssse3(block, s1, s2) };
        }
    }
    let _ = (block, s1, s2);
    0
}

/// How many steps of a window `steps` looks ahead at most.
pub const STEPS: usize = 64;

/// A window's weak sums after each of its next steps, and where `hash::rolling::Filter` keeps them.
#[repr(C, align(32))]
pub struct Steps {
    pub s1: [u16; STEPS],
    pub s2: [u16; STEPS],
    /// Number of the filter's word.
    pub word: [u16; STEPS],
    /// Bits in that word, one in each byte.
    pub bits: [u32; STEPS],
}

impl Steps {
    pub const NONE: Self = Self { s1: [0; STEPS], s2: [0; STEPS], word: [0; STEPS], bits: [0; STEPS] };
}

/// Factors of a filter's hash: any odd numbers without pattern do.
pub const FACTORS: [u16; 3] = [0x9e37, 0x85eb, 0xc2b3];

/// Moves a window of `len` bytes on by whole vectors of steps, `STEPS` at most, and says how many.
///
/// `leaves` and `enters` are the bytes that leave and enter the window; `s1` and `s2` come out as they are after the last
/// step. A word number is a 16-bit hash shifted right by `shift`.
pub fn steps(leaves: &[u8], enters: &[u8], len: u32, s1: &mut u32, s2: &mut u32, shift: u32, out: &mut Steps) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { x86::steps_avx2(leaves, enters, len, s1, s2, shift, out) };
        }
    }
    let _ = (leaves, enters, len, s1, s2, shift, out);
    0
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{FACTORS, STEPS, Steps};

    /// 64, 63, … 1: how often each byte of a chunk counts in the sum of partial sums.
    const WEIGHTS: [u8; 64] = {
        let mut weights = [0; 64];
        let mut at = 0;
        while at < 64 {
            weights[at] = 64 - at as u8;
            at += 1;
        }
        weights
    };

    /// # Safety
    /// The processor must have AVX2.
    #[target_feature(enable = "avx2")]
    pub unsafe fn add_block_avx2(block: &[u8], s1: &mut u32, s2: &mut u32) -> usize {
        let chunks = block.as_chunks::<64>().0;
        let ones = _mm256_set1_epi16(1);
        let unit = _mm256_set1_epi8(1);
        // SAFETY: WEIGHTS has 64 bytes; unaligned loads.
        let (weights_a, weights_b) = unsafe {
            let at = WEIGHTS.as_ptr().cast::<__m256i>();
            (_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1)))
        };
        let zero = _mm256_setzero_si256();
        let (mut bytes, mut before, mut weighted) = (zero, zero, zero);
        for chunk in chunks {
            // SAFETY: a chunk has 64 bytes; unaligned loads.
            let (a, b) = unsafe {
                let at = chunk.as_ptr().cast::<__m256i>();
                (_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1)))
            };
            before = _mm256_add_epi32(before, bytes);
            let sum = _mm256_add_epi16(_mm256_maddubs_epi16(unit, a), _mm256_maddubs_epi16(unit, b));
            bytes = _mm256_add_epi32(bytes, _mm256_madd_epi16(sum, ones));
            // at most 64 * 128 + 63 * 128 + 32 * 128 + 31 * 128 in a lane: below 2^15 in either sign
            let sum = _mm256_add_epi16(_mm256_maddubs_epi16(weights_a, a), _mm256_maddubs_epi16(weights_b, b));
            weighted = _mm256_add_epi32(weighted, _mm256_madd_epi16(sum, ones));
        }
        let count = chunks.len() as u32;
        let (bytes, before, weighted) = (total(bytes), total(before), total(weighted));
        // every chunk adds 64 times the sum of what came before it
        *s2 = s2
            .wrapping_add(weighted)
            .wrapping_add(before.wrapping_mul(64))
            .wrapping_add(s1.wrapping_mul(64).wrapping_mul(count));
        *s1 = s1.wrapping_add(bytes);
        chunks.len() * 64
    }

    /// The sum of eight lanes.
    #[target_feature(enable = "avx2")]
    fn total(lanes: __m256i) -> u32 {
        total_128(_mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes)))
    }

    /// The sum of four lanes.
    #[target_feature(enable = "sse2")]
    fn total_128(lanes: __m128i) -> u32 {
        let pairs = _mm_add_epi32(lanes, _mm_shuffle_epi32::<0b01_00_11_10>(lanes));
        _mm_cvtsi128_si32(_mm_add_epi32(pairs, _mm_shuffle_epi32::<0b10_11_00_01>(pairs))) as u32
    }

    /// # Safety
    /// The processor must have SSSE3.
    #[target_feature(enable = "ssse3")]
    pub unsafe fn add_block_ssse3(block: &[u8], s1: &mut u32, s2: &mut u32) -> usize {
        let chunks = block.as_chunks::<16>().0;
        let ones = _mm_set1_epi16(1);
        let unit = _mm_set1_epi8(1);
        // SAFETY: 16 bytes from the 48th of WEIGHTS: 16, 15, … 1; an unaligned load.
        let weights = unsafe { _mm_loadu_si128(WEIGHTS.as_ptr().add(48).cast()) };
        let zero = _mm_setzero_si128();
        let (mut bytes, mut before, mut weighted) = (zero, zero, zero);
        for chunk in chunks {
            // SAFETY: a chunk has 16 bytes; an unaligned load.
            let data = unsafe { _mm_loadu_si128(chunk.as_ptr().cast()) };
            before = _mm_add_epi32(before, bytes);
            bytes = _mm_add_epi32(bytes, _mm_madd_epi16(_mm_maddubs_epi16(unit, data), ones));
            weighted = _mm_add_epi32(weighted, _mm_madd_epi16(_mm_maddubs_epi16(weights, data), ones));
        }
        let count = chunks.len() as u32;
        let (bytes, before, weighted) = (total_128(bytes), total_128(before), total_128(weighted));
        *s2 = s2
            .wrapping_add(weighted)
            .wrapping_add(before.wrapping_mul(16))
            .wrapping_add(s1.wrapping_mul(16).wrapping_mul(count));
        *s1 = s1.wrapping_add(bytes);
        chunks.len() * 16
    }

    /// Sixteen steps at a time. With `d` the byte that enters minus the one that leaves, `s1` after each step is the old
    /// one plus a running total of `d`, and `s2` the old one plus a running total of `s1` less `len` times what leaves:
    /// two running totals over sixteen lanes, which hang on the vector before by no more than an addition each.
    ///
    /// # Safety
    /// The processor must have AVX2.
    #[target_feature(enable = "avx2")]
    pub unsafe fn steps_avx2(
        leaves: &[u8],
        enters: &[u8],
        len: u32,
        s1: &mut u32,
        s2: &mut u32,
        shift: u32,
        out: &mut Steps,
    ) -> usize {
        let minus_len = _mm256_set1_epi16((len as i16).wrapping_neg());
        let ramp = _mm256_setr_epi16(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
        let shift = _mm_cvtsi32_si128(shift as i32);
        let mut first = _mm256_set1_epi16(*s1 as i16);
        let mut second = _mm256_set1_epi16(*s2 as i16);
        let chunks = leaves.as_chunks::<16>().0.iter().zip(enters.as_chunks::<16>().0).take(STEPS / 16);
        let mut at = 0;
        for (old, new) in chunks {
            // SAFETY: both chunks have 16 bytes; unaligned loads.
            let (old, new) = unsafe {
                (
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(old.as_ptr().cast())),
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(new.as_ptr().cast())),
                )
            };
            let change = running_total(_mm256_sub_epi16(new, old));
            let change2 = running_total(_mm256_add_epi16(change, _mm256_mullo_epi16(old, minus_len)));
            let s2s = _mm256_add_epi16(_mm256_add_epi16(second, change2), _mm256_mullo_epi16(first, ramp));
            let s1s = _mm256_add_epi16(first, change);
            let (words, bits_low, bits_high) = places(s1s, s2s, shift);
            // SAFETY: `at` is at most STEPS - 16, so each store ends inside its array, which is aligned for it: `Steps`
            // is aligned to 32 bytes, the arrays are multiples of 32 bytes long and `at` is a multiple of 16.
            unsafe {
                _mm256_store_si256(out.s1.as_mut_ptr().add(at).cast(), s1s);
                _mm256_store_si256(out.s2.as_mut_ptr().add(at).cast(), s2s);
                _mm256_store_si256(out.word.as_mut_ptr().add(at).cast(), words);
                _mm256_store_si256(out.bits.as_mut_ptr().add(at).cast(), bits_low);
                _mm256_store_si256(out.bits.as_mut_ptr().add(at + 8).cast(), bits_high);
            }
            first = last(s1s);
            second = last(s2s);
            at += 16;
        }
        *s1 = _mm256_extract_epi16::<0>(first) as u32;
        *s2 = _mm256_extract_epi16::<0>(second) as u32;
        at
    }

    /// Where a filter keeps sixteen sums: the words' numbers, and the bits of steps 0 to 7 and 8 to 15.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn places(s1s: __m256i, s2s: __m256i, shift: __m128i) -> (__m256i, __m256i, __m256i) {
        let [a, b, c] = FACTORS.map(|factor| _mm256_set1_epi16(factor as i16));
        let hash = _mm256_add_epi16(_mm256_mullo_epi16(s1s, a), _mm256_mullo_epi16(s2s, b));
        let words = _mm256_srl_epi16(hash, shift);
        let hash = _mm256_add_epi16(s1s, _mm256_mullo_epi16(s2s, c));
        let three_bits = _mm256_set1_epi8(7);
        let table = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        let lower = _mm256_shuffle_epi8(table, _mm256_and_si256(hash, three_bits));
        let upper = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<3>(hash), three_bits));
        // lanes 0-3 and 8-11, then 4-7 and 12-15
        let (a, b) = (_mm256_unpacklo_epi16(lower, upper), _mm256_unpackhi_epi16(lower, upper));
        (words, _mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b))
    }

    /// Lane n becomes the sum of lanes 0 to n.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn running_total(lanes: __m256i) -> __m256i {
        let lanes = _mm256_add_epi16(lanes, _mm256_slli_si256::<2>(lanes));
        let lanes = _mm256_add_epi16(lanes, _mm256_slli_si256::<4>(lanes));
        let lanes = _mm256_add_epi16(lanes, _mm256_slli_si256::<8>(lanes));
        // the lower half's last lane goes to all of the upper half
        let lower = _mm256_permute2x128_si256::<0x08>(lanes, lanes);
        _mm256_add_epi16(lanes, _mm256_shuffle_epi8(lower, _mm256_set1_epi16(0x0f0e)))
    }

    /// The last lane in all lanes.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn last(lanes: __m256i) -> __m256i {
        _mm256_shuffle_epi8(_mm256_permute4x64_epi64::<0xff>(lanes), _mm256_set1_epi16(0x0f0e))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn both_widths_agree() {
            if !is_x86_feature_detected!("avx2") {
                return;
            }
            for seed in 0..50u32 {
                let block: Vec<u8> =
                    (0..64 * 9u32).map(|n| (n.wrapping_mul(seed.wrapping_mul(77) + 31) >> 3) as u8).collect();
                let (mut wide, mut narrow) = ((seed, 9), (seed, 9));
                // SAFETY: AVX2 was detected, and includes SSSE3.
                unsafe {
                    assert_eq!(add_block_avx2(&block, &mut wide.0, &mut wide.1), block.len());
                    assert_eq!(add_block_ssse3(&block, &mut narrow.0, &mut narrow.1), block.len());
                }
                assert_eq!(wide, narrow);
            }
        }
    }
}
