//! Block sums and whole-file sums, with the seed where each algorithm wants it.

use std::{
    fmt,
    fs::File,
    hash::Hasher as _,
    io,
    ops::Deref,
    os::unix::fs::FileExt,
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

use md5::Digest as _;
use twox_hash::{XxHash3_64, XxHash3_128};
use xxhash_rust::xxh64::{Xxh64, xxh64};

use super::{Algorithm, md4::Md4};

/// How much of a file is hashed at a time.
const PIECE: u64 = 256 * 1024;
/// A file this long is worth a second thread.
const LARGE: u64 = 8 << 20;

/// A strong sum: up to 20 bytes, in the order of the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    bytes: [u8; 20],
    len: u8,
}

impl Sum {
    fn new(sum: &[u8]) -> Self {
        let mut bytes = [0; 20];
        bytes[..sum.len()].copy_from_slice(sum);
        Self { bytes, len: sum.len() as u8 }
    }

    /// All zeros: what stands for a file that could not be read.
    pub fn zero(algorithm: Algorithm) -> Self {
        Self { bytes: [0; 20], len: algorithm.len() as u8 }
    }

    /// The digits that other programs print for that algorithm (`%C` of `--out-format`): the xxh family prints numbers,
    /// so the wire's bytes back to front. `None` if the sum includes the seed or there is none.
    /// C: checksum.c canonical_checksum, util2.c sum_as_hex
    pub fn hex(self, algorithm: Algorithm) -> Option<String> {
        let digits = |byte: &u8| format!("{byte:02x}");
        match algorithm {
            Algorithm::None | Algorithm::Md4Old => None,
            Algorithm::Md4 | Algorithm::Md5Old | Algorithm::Md5 | Algorithm::Sha1 => {
                Some(self.iter().map(digits).collect())
            }
            Algorithm::Xxh64 | Algorithm::Xxh3 | Algorithm::Xxh128 => Some(self.iter().rev().map(digits).collect()),
        }
    }

    /// A sum that is certainly not this one: what a sender says of a file that it could not read properly, so that the
    /// receiver asks again. All zeros, or a last byte of 1 if this one is all zeros.
    pub fn spoiled(self) -> Self {
        let mut bytes = [0; 20];
        if self.iter().all(|&byte| byte == 0)
            && let Some(last) = usize::from(self.len).checked_sub(1)
        {
            bytes[last] = 1;
        }
        Self { bytes, len: self.len }
    }
}

impl Deref for Sum {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl AsRef<[u8]> for Sum {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Algorithm {
    /// The strong sum of one block. A seed of 0 is no seed.
    ///
    /// `None` gives its one zero byte, which must not be taken for a match. C: checksum.c get_checksum2
    pub fn block_sum(self, seed: i32, block: &[u8]) -> Sum {
        // the xxh family takes a number, sign-extended; the others hash its four bytes before or after the data
        let wide = i64::from(seed) as u64;
        let seed = if seed == 0 { &[][..] } else { &seed.to_le_bytes()[..] };
        match self {
            Self::None => Sum::zero(self),
            Self::Md4Old | Self::Md4 => {
                let mut md4 = Md4::new();
                md4.update(block);
                md4.update(seed);
                Sum::new(&md4.finish())
            }
            Self::Md5Old => Sum::new(&md5::Md5::new().chain_update(block).chain_update(seed).finalize()),
            Self::Md5 => Sum::new(&md5::Md5::new().chain_update(seed).chain_update(block).finalize()),
            Self::Sha1 => Sum::new(&sha1::Sha1::new().chain_update(seed).chain_update(block).finalize()),
            Self::Xxh64 => Sum::new(&xxh64(block, wide).to_le_bytes()),
            Self::Xxh3 => Sum::new(&XxHash3_64::oneshot_with_seed(wide, block).to_le_bytes()),
            Self::Xxh128 => Sum::new(&XxHash3_128::oneshot_with_seed(wide, block).to_le_bytes()),
        }
    }
}

/// The running sum of a whole file.
#[derive(Clone)]
pub struct FileSum(State);

#[derive(Clone)]
enum State {
    None,
    Md4(Box<Md4>),
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Xxh64(Xxh64),
    Xxh3(Box<XxHash3_64>),
    Xxh128(Box<XxHash3_128>),
}

impl FileSum {
    /// The sum that follows a file's data on the wire. Only `Md4Old` takes the seed, even one of 0.
    /// C: checksum.c sum_init
    pub fn new(algorithm: Algorithm, seed: i32) -> Self {
        let mut sum = Self::unseeded(algorithm);
        if algorithm == Algorithm::Md4Old {
            sum.update(&seed.to_le_bytes());
        }
        sum
    }

    /// The sum that `--checksum` compares, which knows no seed. C: checksum.c file_checksum
    pub fn unseeded(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::None => State::None,
            Algorithm::Md4Old | Algorithm::Md4 => State::Md4(Box::new(Md4::new())),
            Algorithm::Md5Old | Algorithm::Md5 => State::Md5(md5::Md5::new()),
            Algorithm::Sha1 => State::Sha1(sha1::Sha1::new()),
            Algorithm::Xxh64 => State::Xxh64(Xxh64::new(0)),
            Algorithm::Xxh3 => State::Xxh3(Box::new(XxHash3_64::new())),
            Algorithm::Xxh128 => State::Xxh128(Box::new(XxHash3_128::new())),
        })
    }

    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            State::None => {}
            State::Md4(md4) => md4.update(data),
            State::Md5(md5) => md5.update(data),
            State::Sha1(sha1) => sha1.update(data),
            State::Xxh64(xxh64) => xxh64.update(data),
            State::Xxh3(xxh3) => xxh3.write(data),
            State::Xxh128(xxh128) => xxh128.write(data),
        }
    }

    pub fn finish(self) -> Sum {
        match self.0 {
            State::None => Sum::new(&[0]),
            State::Md4(md4) => Sum::new(&md4.finish()),
            State::Md5(md5) => Sum::new(&md5.finalize()),
            State::Sha1(sha1) => Sum::new(&sha1.finalize()),
            State::Xxh64(xxh64) => Sum::new(&xxh64.digest().to_le_bytes()),
            State::Xxh3(xxh3) => Sum::new(&xxh3.finish().to_le_bytes()),
            State::Xxh128(xxh128) => Sum::new(&xxh128.finish_128().to_le_bytes()),
        }
    }

    /// The `--checksum` sum of the first `size` bytes of an open file; what cannot be read counts as zeros, as it does
    /// with the reference. Where the file cannot even be opened, the sum is `Sum::zero`. `None`: `going_on` said no between
    /// two pieces.
    pub fn of_file(algorithm: Algorithm, file: &File, size: u64, going_on: fn() -> bool) -> Option<Sum> {
        let sum = Self::unseeded(algorithm);
        Some(if size >= LARGE { in_turn(sum, file, size, going_on)? } else { at_once(sum, file, size) }.finish())
    }
}

fn at_once(mut sum: FileSum, file: &File, size: u64) -> FileSum {
    let mut buffer = vec![0; size.min(PIECE) as usize];
    for number in 0..size.div_ceil(PIECE) {
        sum.update(read_piece(file, number, size, &mut buffer));
    }
    sum
}

/// Two threads take the pieces in turn: while one hashes its piece, the other reads its next.
fn in_turn(sum: FileSum, file: &File, size: u64, going_on: fn() -> bool) -> Option<FileSum> {
    const GIVEN_UP: u64 = u64::MAX;
    let pieces = size.div_ceil(PIECE);
    let (state, moved) = (Mutex::new((0, sum)), Condvar::new());
    let take = |first: u64, step: usize| {
        let mut buffer = vec![0; PIECE as usize];
        for number in (first..pieces).step_by(step) {
            let piece = read_piece(file, number, size, &mut buffer);
            let state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = moved.wait_while(state, |(next, _)| *next != number && *next != GIVEN_UP);
            let mut turn = turn.unwrap_or_else(PoisonError::into_inner);
            if turn.0 == GIVEN_UP || !going_on() {
                turn.0 = GIVEN_UP;
                moved.notify_one();
                return;
            }
            turn.1.update(piece);
            turn.0 += 1;
            drop(turn);
            moved.notify_one();
        }
    };
    thread::scope(|scope| {
        let second = thread::Builder::new().name("sum".into()).spawn_scoped(scope, || take(1, 2));
        take(0, if second.is_ok() { 2 } else { 1 });
    });
    let (done, sum) = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    (done == pieces).then_some(sum)
}

/// A piece of the first `size` bytes of a file, zeros where nothing can be read.
fn read_piece<'a>(file: &File, number: u64, size: u64, buffer: &'a mut [u8]) -> &'a [u8] {
    let start = number * PIECE;
    let len = (size - start).min(PIECE) as usize;
    let piece = &mut buffer[..len];
    let mut done = 0;
    while done < len {
        match file.read_at(&mut piece[done..], start + done as u64) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => {
                piece[done..].fill(0);
                break;
            }
            Ok(got) => done += got,
        }
    }
    piece
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const ALL: [Algorithm; 9] = [
        Algorithm::None,
        Algorithm::Md4Old,
        Algorithm::Md4,
        Algorithm::Md5Old,
        Algorithm::Md5,
        Algorithm::Sha1,
        Algorithm::Xxh64,
        Algorithm::Xxh3,
        Algorithm::Xxh128,
    ];

    fn whole(algorithm: Algorithm, seed: i32, data: &[u8]) -> String {
        let mut sum = FileSum::new(algorithm, seed);
        sum.update(data);
        format!("{:?}", sum.finish())
    }

    fn block(algorithm: Algorithm, seed: i32, data: &[u8]) -> String {
        format!("{:?}", algorithm.block_sum(seed, data))
    }

    // From the RFCs, xxhsum, and what rsync's `%C` prints.
    #[test]
    fn whole_file_vectors() {
        for (algorithm, expected) in [
            (Algorithm::Md4, "a448017aaf21d8525fc10ae87aa6729d"),
            (Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Md5Old, "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Algorithm::Xxh64, "44bc2cf5ad770999"),
            (Algorithm::Xxh3, "78af5f94892f3950"),
            (Algorithm::Xxh128, "06b05ab6733a618578af5f94892f3950"),
        ] {
            let mut sum = FileSum::new(algorithm, 5);
            sum.update(b"abc");
            assert_eq!(sum.finish().hex(algorithm).as_deref(), Some(expected), "{algorithm:?}");
        }
        assert_eq!(whole(Algorithm::Xxh64, 5, b"abc"), "990977adf52cbc44");
        assert_eq!(whole(Algorithm::None, 5, b"abc"), "00");
        assert_eq!(Sum::zero(Algorithm::Md4Old).hex(Algorithm::Md4Old), None);
    }

    #[test]
    fn old_md4_hashes_the_seed_first_in_files_and_last_in_blocks() {
        assert_eq!(whole(Algorithm::Md4Old, 0x0403_0201, b"abc"), whole(Algorithm::Md4, 0, b"\x01\x02\x03\x04abc"));
        assert_eq!(whole(Algorithm::Md4Old, 0, b"abc"), whole(Algorithm::Md4, 0, b"\0\0\0\0abc"));
        for algorithm in [Algorithm::Md4Old, Algorithm::Md4] {
            assert_eq!(block(algorithm, 0x0403_0201, b"abc"), block(algorithm, 0, b"abc\x01\x02\x03\x04"));
        }
        let mut listed = FileSum::unseeded(Algorithm::Md4Old);
        listed.update(b"abc");
        assert_eq!(format!("{:?}", listed.finish()), "a448017aaf21d8525fc10ae87aa6729d");
    }

    #[test]
    fn seed_order_of_the_others() {
        assert_eq!(block(Algorithm::Md5, 0x0403_0201, b"abc"), block(Algorithm::Md5, 0, b"\x01\x02\x03\x04abc"));
        assert_eq!(block(Algorithm::Md5Old, 0x0403_0201, b"abc"), block(Algorithm::Md5, 0, b"abc\x01\x02\x03\x04"));
        assert_eq!(block(Algorithm::Sha1, 0x0403_0201, b"abc"), block(Algorithm::Sha1, 0, b"\x01\x02\x03\x04abc"));
        for algorithm in [Algorithm::Xxh64, Algorithm::Xxh3, Algorithm::Xxh128] {
            assert_ne!(block(algorithm, 1, b"abc"), block(algorithm, 0, b"abc"));
            assert_ne!(block(algorithm, -1, b"abc"), block(algorithm, i32::MAX, b"abc"));
        }
    }

    #[test]
    fn lengths_are_as_announced() {
        for algorithm in ALL {
            assert_eq!(FileSum::new(algorithm, 1).finish().len(), algorithm.len());
            assert_eq!(algorithm.block_sum(1, b"x").len(), algorithm.len());
            assert_eq!(Sum::zero(algorithm).len(), algorithm.len());
        }
    }

    #[test]
    fn pieces_and_blocks_agree() {
        let data: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        for algorithm in ALL.into_iter().filter(|&algorithm| algorithm != Algorithm::Md4Old) {
            let mut sum = FileSum::new(algorithm, 7);
            data.chunks(777).for_each(|piece| sum.update(piece));
            assert_eq!(sum.finish(), algorithm.block_sum(0, &data), "{algorithm:?}");
            assert_eq!(
                FileSum::of_file(algorithm, &holding(&data), 100_000, || true),
                Some(algorithm.block_sum(0, &data))
            );
        }
    }

    #[test]
    fn two_libraries_agree_on_xxh3() {
        use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};
        let data: Vec<u8> = (0..70_000u32).map(|n| (n.wrapping_mul(n) >> 5) as u8).collect();
        for len in (0..2100).chain([4095, 4096, 32_768, 70_000]) {
            for seed in [0, 1, -1, i32::MIN] {
                let (data, wide) = (&data[..len], i64::from(seed) as u64);
                let told = format!("{len} bytes, seed {seed}");
                let short = Algorithm::Xxh3.block_sum(seed, data);
                assert_eq!(*short, xxh3_64_with_seed(data, wide).to_le_bytes(), "{told}");
                let long = Algorithm::Xxh128.block_sum(seed, data);
                assert_eq!(*long, xxh3_128_with_seed(data, wide).to_le_bytes(), "{told}");
            }
        }
    }

    #[test]
    fn a_file_that_ends_early_is_hashed_with_zeros() {
        let mut padded = b"short".to_vec();
        padded.resize(600_000, 0);
        let sum = FileSum::of_file(Algorithm::Md5, &holding(b"short"), 600_000, || true).unwrap();
        assert_eq!(sum, Algorithm::Md5.block_sum(0, &padded));
    }

    #[test]
    fn two_threads_in_turn_agree_with_one() {
        let data: Vec<u8> = (0..(LARGE + PIECE) as u32 + 12_345).map(|n| (n.wrapping_mul(n) >> 9) as u8).collect();
        let file = holding(&data);
        for size in [LARGE - 1, LARGE, LARGE + PIECE - 1, LARGE + 1, data.len() as u64] {
            let expected = Algorithm::Xxh128.block_sum(0, &data[..size as usize]);
            assert_eq!(FileSum::of_file(Algorithm::Xxh128, &file, size, || true).unwrap(), expected, "{size}");
        }
        let mut padded = data;
        padded.resize(LARGE as usize + 3 * PIECE as usize, 0);
        let sum = FileSum::of_file(Algorithm::Xxh3, &file, padded.len() as u64, || true).unwrap();
        assert_eq!(sum, Algorithm::Xxh3.block_sum(0, &padded));
    }

    #[test]
    fn a_large_file_need_not_be_read_to_its_end() {
        let file = holding(b"");
        assert!(FileSum::of_file(Algorithm::Xxh3, &file, 1 << 50, || false).is_none());
    }

    fn holding(data: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(data).unwrap();
        file
    }

    #[test]
    fn a_spoiled_sum_differs() {
        for algorithm in ALL {
            for sum in [Sum::zero(algorithm), algorithm.block_sum(3, b"x")] {
                assert_ne!(sum.spoiled(), sum);
                assert_eq!(sum.spoiled().len(), sum.len());
            }
        }
    }
}
