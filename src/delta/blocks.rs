//! How a basis file is cut into blocks, and the sums of those blocks.

use crate::{
    bytes,
    error::Result,
    fs::window::{Source, Window},
    hash::rolling::weak_sum,
    proto::{Protocol, sums::SumHead},
};

/// The shortest block chosen by itself. C: BLOCK_SIZE
const MIN_BLOCK: u64 = 700;
/// The most of a strong sum that is sent for a block. C: SUM_LENGTH
const FULL_SUM: usize = 16;
/// The least. C: SHORT_SUM_LENGTH
const SHORT_SUM: i64 = 2;
/// Bits of safety against a chance match in a file. C: BLOCKSUM_BIAS
const BIAS: i64 = 10;

/// How much of the strong sums is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SumLength {
    /// What makes a chance match unlikely: a wrong one is found out by the whole-file sum.
    Short,
    /// All there is: the second try, after the whole-file sums differed.
    Full,
}

/// The longest block that a peer takes. C: OLD_MAX_BLOCK_SIZE, MAX_BLOCK_SIZE
pub fn max_block_len(version: u8) -> u32 {
    if version < 30 { 1 << 29 } else { 1 << 17 }
}

/// A basis file's length and the blocks it is cut into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockLayout {
    file_len: u64,
    head: SumHead,
}

/// One block with its sums.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    pub index: u32,
    pub offset: u64,
    pub len: u32,
    pub weak: u32,
    /// Already cut to what is sent.
    pub strong: &'a [u8],
}

impl BlockLayout {
    /// Blocks grow with the square root of the file, strong sums with its logarithm; `block_size` is the user's choice
    /// (`None` and 0: none).
    ///
    /// `None`: the file has more blocks than can be counted on the wire. C: generator.c sum_sizes_sqroot
    pub fn new(file_len: u64, block_size: Option<u32>, protocol: &Protocol, length: SumLength) -> Option<Self> {
        let max = u64::from(max_block_len(protocol.version));
        let block_len = match block_size {
            Some(size @ 1..) => u64::from(size),
            _ => (file_len.isqrt() & !7).clamp(MIN_BLOCK, max),
        };
        let whole_sum = protocol.transfer_sum.len().min(FULL_SUM);
        let sum_len = match length {
            SumLength::Full => whole_sum as u8,
            SumLength::Short => short_sum_len(file_len, block_len).min(whole_sum as u8),
        };
        let count = file_len.div_ceil(block_len);
        let head = SumHead {
            count: u32::try_from(count).ok().filter(|&count| count <= i32::MAX as u32)?,
            block_len: block_len as u32,
            sum_len,
            remainder: (file_len % block_len) as u32,
        };
        Some(Self { file_len, head })
    }

    /// What goes over the wire before the sums.
    pub fn head(&self) -> SumHead {
        self.head
    }

    /// What `--debug=deltasum2` says of a basis that has blocks.
    pub fn describe(&self) -> Vec<u8> {
        let SumHead { count, block_len, sum_len, remainder } = self.head;
        bytes![
            "count=",
            count,
            " rem=",
            remainder,
            " blength=",
            block_len,
            " s2length=",
            sum_len,
            " flength=",
            self.file_len
        ]
    }

    /// Reads the file and calls `each` for its blocks in order; stops at the first error of `each`.
    ///
    /// What cannot be read counts as zeros: such blocks match nothing, or are found out by the whole-file sum.
    /// C: generator.c generate_and_send_sums
    pub fn for_each_sum(
        &self,
        file: impl Source,
        protocol: &Protocol,
        mut each: impl FnMut(Block<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut window = Window::new(file, self.file_len, self.head.block_len as usize);
        for index in 0..self.head.count {
            let (offset, len) = (self.head.offset_of(index), self.head.len_of(index));
            let data = window.bytes(offset, len as usize);
            let strong = protocol.transfer_sum.block_sum(protocol.checksum_seed, data);
            let strong = strong.get(..self.head.sum_len.into()).unwrap_or(&strong);
            each(Block { index, offset, len, weak: weak_sum(data), strong })?;
        }
        Ok(())
    }
}

/// Bytes of the strong sum that leave a chance of 2^-10 that a file has any wrong match: each of its bytes may begin one,
/// with each of its blocks, and the weak sum already tells 31 bits.
fn short_sum_len(file_len: u64, block_len: u64) -> u8 {
    let log2 = |number: u64| i64::from(number.max(1).ilog2());
    let bits = (BIAS + 2 * log2(file_len) - log2(block_len)).max(0);
    ((bits + 1 - 32 + 7) / 8).max(SHORT_SUM) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{delta::tests::protocol, hash::Algorithm};

    fn head(file_len: u64, block_size: Option<u32>, version: u8, length: SumLength) -> (u32, u32, u32, u8) {
        let protocol = protocol(version, Algorithm::Md5);
        let head = BlockLayout::new(file_len, block_size, &protocol, length).unwrap().head();
        (head.count, head.remainder, head.block_len, head.sum_len)
    }

    // What rsync 3.5.0 says with `--debug=deltasum2` of basis files of these lengths.
    #[test]
    fn blocks_are_chosen_as_the_reference_does() {
        for (file_len, count, remainder, block_len, sum_len) in [
            (1, 1, 1, 700, 2),
            (699, 1, 699, 700, 2),
            (700, 1, 0, 700, 2),
            (701, 2, 1, 700, 2),
            (489_999, 700, 699, 700, 2),
            (490_000, 700, 0, 700, 2),
            (490_001, 701, 1, 700, 2),
            (495_616, 704, 0, 704, 2),
            (500_000, 711, 160, 704, 2),
            (501_263, 713, 15, 704, 2),
            (501_264, 713, 16, 704, 2),
            (1_000_000, 1000, 0, 1000, 2),
            (10_000_000, 3165, 1760, 3160, 2),
            (123_456_789, 11_119, 2517, 11_104, 3),
            (1_073_741_824, 32_768, 0, 32_768, 3),
            (4_294_967_296, 65_536, 0, 65_536, 4),
            (17_179_869_183, 131_081, 63, 131_064, 4),
            (17_179_869_184, 131_072, 0, 131_072, 4),
            (17_179_869_185, 131_073, 1, 131_072, 4),
            (1_099_511_627_776, 8_388_608, 0, 131_072, 6),
            (4_398_046_511_104, 33_554_432, 0, 131_072, 6),
        ] {
            let expected = (count, remainder, block_len, sum_len);
            assert_eq!(head(file_len, None, 32, SumLength::Short), expected, "{file_len} bytes");
        }
        assert_eq!(head(5_000_000, Some(1), 32, SumLength::Short), (5_000_000, 0, 1, 3));
        assert_eq!(head(5_000_000, Some(500), 32, SumLength::Short), (10_000, 0, 500, 2));
        assert_eq!(head(5_000_000, Some(131_072), 32, SumLength::Short), (39, 19_264, 131_072, 2));
        assert_eq!(head(123_456_789, None, 29, SumLength::Short), (11_119, 2517, 11_104, 3));
        assert_eq!(head(1 << 40, None, 29, SumLength::Short).2, 1 << 20);
        assert_eq!(head(0, None, 32, SumLength::Short), (0, 0, 700, 2));
        assert_eq!(head(5000, Some(0), 32, SumLength::Short).2, 700);
    }

    #[test]
    fn the_lines_of_the_reference() {
        let layout = BlockLayout::new(10_000_000, None, &protocol(32, Algorithm::Md5), SumLength::Short).unwrap();
        assert_eq!(layout.describe(), b"count=3165 rem=1760 blength=3160 s2length=2 flength=10000000");
    }

    #[test]
    fn the_second_try_sends_all_there_is() {
        for (algorithm, expected) in [(Algorithm::Md5, 16), (Algorithm::Sha1, 16), (Algorithm::Xxh3, 8)] {
            let protocol = protocol(32, algorithm);
            assert_eq!(BlockLayout::new(5000, None, &protocol, SumLength::Full).unwrap().head().sum_len, expected);
            let huge = BlockLayout::new(1 << 59, Some(1 << 29), &protocol, SumLength::Short).unwrap().head();
            assert_eq!(huge.sum_len, 9.min(expected));
        }
    }

    #[test]
    fn too_many_blocks_are_refused() {
        let protocol = protocol(32, Algorithm::Md5);
        assert_eq!(BlockLayout::new(1 << 40, Some(1), &protocol, SumLength::Short), None);
        assert!(BlockLayout::new(i32::MAX as u64, Some(1), &protocol, SumLength::Short).is_some());
        assert_eq!(BlockLayout::new(1 << 31, Some(1), &protocol, SumLength::Short), None);
    }

    #[test]
    fn the_last_block_is_short_and_sums_are_cut() {
        let protocol = protocol(32, Algorithm::Xxh128);
        let data: Vec<u8> = (0..2000u32).map(|at| ((at * at) >> 5) as u8).collect();
        let layout = BlockLayout::new(2000, None, &protocol, SumLength::Short).unwrap();
        let mut blocks = Vec::new();
        layout
            .for_each_sum(&data[..], &protocol, |block| {
                blocks.push((block.index, block.offset, block.len, block.weak, block.strong.to_vec()));
                Ok(())
            })
            .unwrap();
        let expected = [(0, 0, 700), (1, 700, 700), (2, 1400, 600)].map(|(index, offset, len)| {
            let part = &data[offset as usize..][..len as usize];
            (index, offset, len, weak_sum(part), Algorithm::Xxh128.block_sum(12345, part)[..2].to_vec())
        });
        assert_eq!(blocks, expected);
    }
}
