//! Vector kernels of the weak sum, chosen at run time by what the processor has.
//!
//! Each does the whole vectors at the front of its input and says how much that was: the rest, or everything where the
//! processor has no such instructions, is the caller's plain loop.

/// Spread a weak sum over the bit numbers of `hash::rolling::Filter`: two odd multipliers without pattern.
pub const SPREAD: [u32; 2] = [0x9e37_79b1, 0x85eb_ca77];

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

/// Moves a window of `len` bytes on, one byte at a time in whole vectors of steps, until the filter knows its sum.
///
/// `leaves` and `enters` (of equal length) are the bytes that leave and enter; `words` and `shift` are the filter's, see
/// `hash::rolling::Filter`. Returns the steps made and whether the last one ended at a sum that the filter knows.
pub fn slide(
    leaves: &[u8],
    enters: &[u8],
    len: u32,
    s1: &mut u32,
    s2: &mut u32,
    words: &[u32],
    shift: u32,
) -> (usize, bool) {
    #[cfg(target_arch = "x86_64")]
    {
        assert!(leaves.len() == enters.len() && (1..32).contains(&shift) && words.len() == 1 << (27 - shift.min(27)));
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2; a number shifted right by `shift` and then by 5 indexes inside `words`.
            return unsafe { x86::slide_avx2(leaves, enters, len, s1, s2, words, shift) };
        }
    }
    let _ = (leaves, enters, len, s1, s2, words, shift);
    (0, false)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::SPREAD;

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
    /// two running totals over sixteen lanes, which do not depend on the step before but for one added number each.
    ///
    /// # Safety
    /// The processor must have AVX2; `words` must have 2^(27 - shift) elements; both slices must be equally long.
    #[target_feature(enable = "avx2")]
    pub unsafe fn slide_avx2(
        leaves: &[u8],
        enters: &[u8],
        len: u32,
        s1: &mut u32,
        s2: &mut u32,
        words: &[u32],
        shift: u32,
    ) -> (usize, bool) {
        let minus_len = _mm256_set1_epi16((len as i16).wrapping_neg());
        let ramp = _mm256_setr_epi16(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
        let spread = _mm256_set1_epi32(SPREAD[0] as i32);
        let shifts = _mm_cvtsi32_si128(shift as i32);
        let mut first = _mm256_set1_epi16(*s1 as i16);
        let mut second = _mm256_set1_epi16(*s2 as i16);
        let mut moved = 0;
        for (out, new) in leaves.as_chunks::<16>().0.iter().zip(enters.as_chunks::<16>().0) {
            // SAFETY: both chunks have 16 bytes; unaligned loads.
            let (out, new) = unsafe {
                (
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(out.as_ptr().cast())),
                    _mm256_cvtepi8_epi16(_mm_loadu_si128(new.as_ptr().cast())),
                )
            };
            let change = running_total(_mm256_sub_epi16(new, out));
            let change2 = running_total(_mm256_add_epi16(change, _mm256_mullo_epi16(out, minus_len)));
            let s2s = _mm256_add_epi16(_mm256_add_epi16(second, change2), _mm256_mullo_epi16(first, ramp));
            let s1s = _mm256_add_epi16(first, change);
            // sums 0-3 and 8-11, then 4-7 and 12-15
            let sums_a = _mm256_unpacklo_epi16(s1s, s2s);
            let sums_b = _mm256_unpackhi_epi16(s1s, s2s);
            // SAFETY: as for this function.
            let (known_a, known_b) =
                unsafe { (known(sums_a, spread, shifts, words), known(sums_b, spread, shifts, words)) };
            let hits = known_a & 0xf | (known_b & 0xf) << 4 | (known_a & 0xf0) << 4 | (known_b & 0xf0) << 8;
            if hits != 0
                && let Some((step, value)) = second_bit(hits, sums_a, sums_b, words, shift)
            {
                (*s1, *s2) = (value & 0xffff, value >> 16);
                return (moved + step + 1, true);
            }
            first = last(s1s);
            second = last(s2s);
            moved += 16;
        }
        *s1 = _mm256_extract_epi16::<0>(first) as u32;
        *s2 = _mm256_extract_epi16::<0>(second) as u32;
        (moved, false)
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

    /// A bit for each of eight sums: whether the filter has its first bit.
    ///
    /// # Safety
    /// `words` must have 2^(27 - shift) elements.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn known(sums: __m256i, spread: __m256i, shift: __m128i, words: &[u32]) -> u32 {
        let bits = _mm256_srl_epi32(_mm256_mullo_epi32(sums, spread), shift);
        // SAFETY: bit numbers are below 32 * words.len().
        let found = unsafe { _mm256_i32gather_epi32::<4>(words.as_ptr().cast(), _mm256_srli_epi32::<5>(bits)) };
        // the wanted bit goes to the front, where movemask finds it
        let turned = _mm256_sllv_epi32(
            found,
            _mm256_xor_si256(_mm256_and_si256(bits, _mm256_set1_epi32(31)), _mm256_set1_epi32(31)),
        );
        _mm256_movemask_ps(_mm256_castsi256_ps(turned)) as u32
    }

    /// The first of the steps in `hits` whose second bit is in the filter too, and the sum there.
    #[target_feature(enable = "avx2")]
    #[inline(never)]
    fn second_bit(mut hits: u32, sums_a: __m256i, sums_b: __m256i, words: &[u32], shift: u32) -> Option<(usize, u32)> {
        let mut sums = [[0u32; 8]; 2];
        // SAFETY: both arrays have 32 bytes; unaligned stores.
        unsafe {
            _mm256_storeu_si256(sums[0].as_mut_ptr().cast(), sums_a);
            _mm256_storeu_si256(sums[1].as_mut_ptr().cast(), sums_b);
        }
        while hits != 0 {
            let step = hits.trailing_zeros() as usize;
            let value = sums[step >> 2 & 1][step & 3 | step >> 1 & 4];
            let bit = value.wrapping_mul(SPREAD[1]) >> shift;
            if words[(bit >> 5) as usize] >> (bit & 31) & 1 != 0 {
                return Some((step, value));
            }
            hits &= hits - 1;
        }
        None
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
