//! Making lz4 blocks of bounded length.
//!
//! A block is a row of sequences: a token byte, literal bytes, and a match, which is a distance of two bytes (low byte first)
//! back into what the block has told so far. The token's upper half says how many literals, its lower half how much longer
//! than four the match is; where a half is 15, bytes are added up to the first that is not 255. The last sequence has
//! literals alone.
//!
//! The search is the usual greedy one, with one table from the hash of what stands at a place to the last such place. Where
//! others hash four bytes, five are hashed here, and six of long inputs: short matches are mostly passed over, which costs
//! little and saves much time.

/// The longest input: its places fit the table.
pub(super) const MAX_INPUT: usize = 32_768;
/// How much longer than its block the output must be: literals are copied in strides.
pub(super) const STRIDE: usize = 16;

/// An input below this length is short.
const SHORT: usize = 16_384;
const TABLE: usize = 1 << 14;
const SHORT_TABLE: usize = 1 << 12;
const MIN_MATCH: usize = 4;
/// After so many places in vain the step grows by one, as a power of two.
const PATIENCE: u32 = 6;
/// The least that is left at the end for literals: the last five bytes have to be literals, and the last match has to begin
/// twelve bytes before the end.
const TAIL: usize = 12 - MIN_MATCH;
/// From a place on that a match may begin at, so much is left of the input.
const MARGIN: usize = MIN_MATCH + TAIL;
/// What half a token tells without further bytes, and a little more.
const HALF: usize = 15;

/// What was found: `len` bytes at `at` stand `distance` before it too.
struct Match {
    at: usize,
    distance: usize,
    len: usize,
}

pub(super) struct Compressor {
    places: Box<[u16; TABLE]>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self { places: Box::new([0; TABLE]) }
    }
}

impl Compressor {
    /// Makes a block of at most `limit` bytes from the beginning of `input`; `output` is a stride longer. Returns how much of
    /// the input the block tells, and the length of the block.
    pub fn compress(&mut self, input: &[u8], output: &mut [u8], limit: usize) -> (usize, usize) {
        let input = &input[..input.len().min(MAX_INPUT)];
        match self.places.first_chunk_mut::<SHORT_TABLE>() {
            Some(places) if input.len() < SHORT => Search::<5, _> { input, places }.compress(output, limit),
            _ => Search::<6, _> { input, places: &mut self.places }.compress(output, limit),
        }
    }
}

/// Makes a block without looking for matches; else as `Compressor::compress`.
pub(super) fn of_literals(input: &[u8], output: &mut [u8], limit: usize) -> (usize, usize) {
    let mut block = Block { bytes: output, len: 0, limit };
    let taken = block.last(&input[..input.len().min(MAX_INPUT)]);
    (taken, block.len)
}

/// Through one input, by hashes of so many bytes, in a table of so many places.
struct Search<'i, const HASHED: u32, const PLACES: usize> {
    input: &'i [u8],
    places: &'i mut [u16; PLACES],
}

impl<const HASHED: u32, const PLACES: usize> Search<'_, HASHED, PLACES> {
    fn compress(mut self, output: &mut [u8], limit: usize) -> (usize, usize) {
        self.places.fill(0);
        let mut block = Block { bytes: output, len: 0, limit };
        let (mut told, mut from) = (0, 1);
        // What is beyond the room could not be told any more without a match.
        while let Some(found) = self.find(told, from, told + block.room()) {
            if !block.sequence(self.input, told, &found) {
                break;
            }
            told = found.at + found.len;
            from = told;
            self.places[Self::hash(word(self.input, told - 2))] = (told - 2) as u16;
        }
        let taken = told + block.last(&self.input[told..]);
        (taken, block.len)
    }

    /// The first match that begins at `from` or after it, or before it but not before `told`, and before `until`.
    #[inline(always)]
    fn find(&mut self, told: usize, from: usize, until: usize) -> Option<Match> {
        let input = self.input;
        let until = until.min((input.len() + 1).checked_sub(MARGIN)?);
        let (mut at, mut misses) = (from, 1 << PATIENCE);
        let mut before = loop {
            if at >= until {
                return None;
            }
            let here = word(input, at);
            let before = usize::from(std::mem::replace(&mut self.places[Self::hash(here)], at as u16));
            if here as u32 == word(input, before) as u32 {
                break before;
            }
            at += misses >> PATIENCE;
            misses += 1;
        };
        while before > 0 && at > told && input[at - 1] == input[before - 1] {
            (at, before) = (at - 1, before - 1);
        }
        let len = MIN_MATCH + common(&input[before + MIN_MATCH..], &input[at + MIN_MATCH..input.len() - TAIL]);
        Some(Match { at, distance: at - before, len })
    }

    #[inline(always)]
    fn hash(word: u64) -> usize {
        let hash = (word << (64 - 8 * HASHED)).wrapping_mul(0x9e37_79b1_85eb_ca87);
        (hash >> (64 - PLACES.ilog2())) as usize
    }
}

/// Eight bytes from a place on that has as many.
#[inline(always)]
fn word(input: &[u8], at: usize) -> u64 {
    input[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// How many bytes are the same; `one` is the longer.
#[inline(always)]
fn common(one: &[u8], other: &[u8]) -> usize {
    let (words, rest) = other.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let difference = u64::from_le_bytes(*word) ^ self::word(one, 8 * at);
        if difference != 0 {
            return 8 * at + (difference.trailing_zeros() / 8) as usize;
        }
    }
    let start = other.len() - rest.len();
    start + rest.iter().zip(&one[start..]).take_while(|(other, one)| other == one).count()
}

struct Block<'o> {
    bytes: &'o mut [u8],
    len: usize,
    limit: usize,
}

impl Block<'_> {
    fn room(&self) -> usize {
        self.limit - self.len
    }

    /// Writes the literals from `told` on and the match; false, and nothing, if there is no room for them and a tail.
    #[inline(always)]
    fn sequence(&mut self, input: &[u8], told: usize, found: &Match) -> bool {
        let (literals, beyond) = (&input[told..found.at], found.len - MIN_MATCH);
        if 1 + literals.len() + literals.len() / 255 + 1 + 2 + beyond / 255 + 1 + 1 + TAIL > self.room() {
            return false;
        }
        self.push((literals.len().min(HALF) << 4 | beyond.min(HALF)) as u8);
        self.more(literals.len());
        match input[told..].first_chunk::<STRIDE>() {
            Some(stride) if literals.len() <= STRIDE => {
                self.bytes[self.len..][..STRIDE].copy_from_slice(stride);
                self.len += literals.len();
            }
            _ => self.copy(literals),
        }
        self.bytes[self.len..][..2].copy_from_slice(&(found.distance as u16).to_le_bytes());
        self.len += 2;
        self.more(beyond);
        true
    }

    /// Writes what there is room for, and returns how much that was.
    fn last(&mut self, rest: &[u8]) -> usize {
        let room = self.room() - 1;
        let literals = &rest[..rest.len().min(room - room.div_ceil(255).min(room))];
        self.push((literals.len().min(HALF) << 4) as u8);
        self.more(literals.len());
        self.copy(literals);
        literals.len()
    }

    /// What of a count the half of a token did not tell.
    #[inline(always)]
    fn more(&mut self, count: usize) {
        let Some(mut count) = count.checked_sub(HALF) else { return };
        while count >= 255 {
            self.push(255);
            count -= 255;
        }
        self.push(count as u8);
    }

    fn copy(&mut self, literals: &[u8]) {
        self.bytes[self.len..][..literals.len()].copy_from_slice(literals);
        self.len += literals.len();
    }

    #[inline(always)]
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The blocks of some data, each no longer than `limit`, told again by another's hand.
    fn told_again(mut data: &[u8], limit: usize) -> Vec<u8> {
        let (mut compressor, mut output) = (Compressor::default(), vec![0; limit + STRIDE]);
        let (mut all, mut told) = (Vec::new(), vec![0; MAX_INPUT]);
        while !data.is_empty() {
            let (taken, made) = compressor.compress(data, &mut output, limit);
            assert!(taken > 0 && made <= limit);
            let len = lz4_flex::block::decompress_into(&output[..made], &mut told).unwrap();
            assert_eq!(len, taken);
            all.extend_from_slice(&told[..len]);
            data = &data[taken..];
        }
        all
    }

    /// Where matches, and literals between them, of all lengths come about.
    fn patchwork() -> impl Strategy<Value = Vec<u8>> {
        let patch = (0..5u8, 0..700usize, any::<u32>());
        prop::collection::vec(patch, 0..120).prop_map(|patches| {
            let mut data: Vec<u8> = Vec::new();
            for (kind, len, seed) in patches {
                let from = seed as usize % (data.len() + 1);
                match kind {
                    0 => data.extend(std::iter::repeat_n(seed as u8, len)),
                    1 => data.extend((0..len as u32).map(|n| (seed ^ n.wrapping_mul(2_654_435_761)).to_be_bytes()[0])),
                    _ => data.extend_from_within(from..(from + len).min(data.len())),
                }
            }
            data
        })
    }

    proptest! {
        #[test]
        fn blocks_tell_what_was_put_in(data in patchwork(), limit in 40..2000usize) {
            prop_assert!(told_again(&data, limit) == data);
            prop_assert!(told_again(&data, 16_383) == data);
        }
    }

    /// A block by the book: sequences up to the last, which has literals alone, at least five; matches begin twelve bytes
    /// before the end or sooner.
    #[test]
    fn the_end_is_left_to_literals() {
        for len in 0..300 {
            for limit in [40, 300, 16_383] {
                let data: Vec<u8> = (0..len).map(|n| (n % 7) as u8).collect();
                let mut output = vec![0; limit + STRIDE];
                let (taken, made) = Compressor::default().compress(&data, &mut output, limit);
                let (mut block, mut at, mut last_match) = (&output[..made], 0, None);
                let literals = loop {
                    let token = usize::from(block[0]);
                    block = &block[1..];
                    let literals = half(token >> 4, &mut block);
                    (at, block) = (at + literals, &block[literals..]);
                    if block.is_empty() {
                        break literals;
                    }
                    last_match = Some(at);
                    block = &block[2..];
                    at += half(token & 15, &mut block) + MIN_MATCH;
                };
                assert_eq!(at, taken);
                assert!(last_match.is_none_or(|begin| literals >= 5 && begin + 12 <= taken), "{len} {limit}");
            }
        }
    }

    /// What a token's half and the bytes after it come to.
    fn half(half: usize, block: &mut &[u8]) -> usize {
        if half < HALF {
            return half;
        }
        let len = 1 + block.iter().take_while(|&&byte| byte == 255).count();
        let (bytes, rest) = block.split_at(len);
        *block = rest;
        half + bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>()
    }

    #[test]
    fn what_does_not_shrink_fills_a_chunk() {
        let noise: Vec<u8> =
            (0..40_000u32).map(|n| (n.wrapping_mul(n) >> 7 ^ n.wrapping_mul(77_777) >> 11) as u8).collect();
        let (taken, made) = Compressor::default().compress(&noise, &mut vec![0; 16_383 + STRIDE], 16_383);
        assert!(taken > 16_200 && made > 16_300, "{taken} {made}");
    }
}
