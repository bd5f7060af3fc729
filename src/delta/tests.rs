//! Search and patch against each other, and against what the reference says of the same files.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::{
    blocks::{BlockLayout, SumLength},
    patch::{Output, Patch, PatchError},
    search::{Counters, Rules, Searcher, Tokens},
};
use crate::{
    error::Result,
    fs::window::Window,
    hash::{Algorithm, FileSum, Sum},
    log::{Log, LogCode, Sink, Speaker},
    options::{Append, Debug, Levels},
    proto::{Protocol, sums::Sums, token::MAX_RUN},
    wire::Reader,
};

pub(super) fn protocol(version: u8, transfer_sum: Algorithm) -> Protocol {
    Protocol { checksum_seed: 12345, transfer_sum, list_sum: transfer_sum, ..Protocol::plain(version) }
}

/// Bytes without pattern, the same everywhere.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Lines that were said.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Sink for Said {
    fn line(&self, _: LogCode, line: &[u8]) {
        self.0.lock().unwrap().push(String::from_utf8_lossy(line).trim_end().to_owned());
    }
}

fn log(level: u8) -> (Log, Arc<Said>) {
    let mut levels = Levels::default();
    levels.set_debug(Debug::Deltasum, level);
    let said = Arc::new(Said::default());
    (Log::new(levels, said.clone(), Speaker::Sender), said)
}

fn sums_of(basis: &[u8], block_size: Option<u32>, protocol: &Protocol, length: SumLength) -> Sums {
    let layout = BlockLayout::new(basis.len() as u64, block_size, protocol, length).unwrap();
    let mut wire = Vec::new();
    layout
        .for_each_sum(basis, protocol, |block| {
            wire.extend(block.weak.to_le_bytes());
            wire.extend(block.strong);
            Ok(())
        })
        .unwrap();
    Sums::read(&mut Reader::over(wire), layout.head(), u64::MAX).unwrap()
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Literal(Vec<u8>),
    Match(u32),
}

#[derive(Default)]
struct Kept(Vec<Token>);

impl Tokens for Kept {
    fn literal(&mut self, data: &[u8]) -> Result<()> {
        assert!(!data.is_empty());
        match self.0.last_mut() {
            Some(Token::Literal(run)) => {
                assert_eq!(run.len() % MAX_RUN, 0, "a piece within a run is not whole");
                run.extend(data);
            }
            _ => self.0.push(Token::Literal(data.to_vec())),
        }
        Ok(())
    }

    fn matched(&mut self, block: u32, data: &[u8]) -> Result<()> {
        assert!(!data.is_empty());
        self.0.push(Token::Match(block));
        Ok(())
    }
}

/// A search with the basis as the far side would have it; in place if so asked.
struct Case<'a> {
    basis: &'a [u8],
    target: &'a [u8],
    block_size: Option<u32>,
    in_place: bool,
    algorithm: Algorithm,
    debug: u8,
}

impl<'a> Case<'a> {
    fn new(basis: &'a [u8], target: &'a [u8], block_size: u32) -> Self {
        Self { basis, target, block_size: Some(block_size), in_place: false, algorithm: Algorithm::Xxh128, debug: 0 }
    }

    fn search(&self) -> (Vec<Token>, Counters, Sum, Vec<String>) {
        let protocol = protocol(32, self.algorithm);
        let sums = sums_of(self.basis, self.block_size, &protocol, SumLength::Full);
        let (log, said) = log(self.debug);
        let mut searcher = Searcher::default();
        let mut tokens = Kept::default();
        let mut window = Window::new(self.target, self.target.len() as u64, 0);
        let rules = Rules::new(&protocol, self.in_place, Append::No);
        let sum = searcher.search(&mut window, &sums, &rules, &log, &mut tokens).unwrap();
        let lines = said.0.lock().unwrap().clone();
        (tokens.0, *searcher.totals(), sum, lines)
    }

    /// Searches and patches, checks that the target comes out, and returns the counters.
    fn check(&self) -> Counters {
        let (tokens, counters, sum, _) = self.search();
        let protocol = protocol(32, self.algorithm);
        let head = sums_of(self.basis, self.block_size, &protocol, SumLength::Full).head;
        let disk = Mutex::new(self.basis.to_vec());
        let mut output = Disk { disk: &disk, at: 0, in_place: self.in_place, built: Vec::new() };
        let basis = (Shared(&disk), self.basis.len() as u64);
        let mut patch = Patch::new(&protocol, head, Some(basis), &mut output, self.in_place);
        for token in &tokens {
            match token {
                Token::Literal(data) => patch.literal(data).unwrap(),
                Token::Match(block) => assert!(!patch.copy(*block).unwrap().is_empty()),
            }
        }
        let patched = patch.finish();
        assert_eq!(patched.sum, sum);
        assert_eq!((patched.literal, patched.matched), (counters.literal, counters.matched));
        assert_eq!(patched.len, self.target.len() as u64);
        assert!(output.built == self.target, "the target did not come out");
        if self.in_place {
            assert!(disk.lock().unwrap()[..self.target.len()] == *self.target, "the file in place is not the target");
        }
        counters
    }
}

/// A file that is read and written at once, as in place; every read goes to it.
struct Shared<'a>(&'a Mutex<Vec<u8>>);

impl crate::fs::window::Source for Shared<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.0.lock().unwrap()[..].read_at(buffer, offset)
    }
}

struct Disk<'a> {
    disk: &'a Mutex<Vec<u8>>,
    at: usize,
    in_place: bool,
    built: Vec<u8>,
}

impl Output for Disk<'_> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.built.extend(data);
        if self.in_place {
            let mut disk = self.disk.lock().unwrap();
            let end = self.at + data.len();
            let len = disk.len().max(end);
            disk.resize(len, 0);
            disk[self.at..end].copy_from_slice(data);
        }
        self.at += data.len();
        Ok(())
    }

    fn skip(&mut self, data: &[u8]) -> std::io::Result<()> {
        assert_eq!(&self.disk.lock().unwrap()[self.at..self.at + data.len()], data, "skipped data is not there");
        self.built.extend(data);
        self.at += data.len();
        Ok(())
    }
}

/// Which change is made to a basis.
#[derive(Clone, Debug)]
enum Edit {
    Insert(prop::sample::Index, Vec<u8>),
    Delete(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize, prop::sample::Index),
    Zeros(prop::sample::Index, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<prop::sample::Index>;
    let edit = prop_oneof![
        (at(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(at, data)| Edit::Insert(at, data)),
        (at(), 0usize..3000).prop_map(|(at, len)| Edit::Delete(at, len)),
        (at(), 0usize..3000, at()).prop_map(|(from, len, to)| Edit::Repeat(from, len, to)),
        (at(), 0usize..3000).prop_map(|(at, len)| Edit::Zeros(at, len)),
    ];
    prop::collection::vec(edit, 0..6)
}

fn edited(basis: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut data = basis.to_vec();
    for edit in edits {
        let len = data.len();
        match edit {
            Edit::Insert(at, new) => drop(data.splice(at.index(len + 1)..at.index(len + 1), new.iter().copied())),
            Edit::Delete(at, count) => drop(data.drain(at.index(len + 1)..(at.index(len + 1) + count).min(len))),
            Edit::Repeat(from, count, to) => {
                let part = data[from.index(len + 1)..(from.index(len + 1) + count).min(len)].to_vec();
                drop(data.splice(to.index(len + 1)..to.index(len + 1), part));
            }
            Edit::Zeros(at, count) => {
                let end = (at.index(len + 1) + count).min(len);
                data[at.index(len + 1)..end].fill(0);
            }
        }
    }
    data
}

/// Few different values, or all: the former give equal blocks and equal weak sums in plenty.
fn file() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..6000),
        prop::collection::vec(0u8..2, 0..3000),
        prop::collection::vec((0u8..3, 1usize..900), 0..12)
            .prop_map(|runs| runs.into_iter().flat_map(|(byte, len)| vec![byte * 100; len]).collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_target_comes_out(
        basis in file(),
        edits in edits(),
        block_size in prop_oneof![1u32..40, 60u32..900],
        in_place in any::<bool>(),
        algorithm in prop_oneof![Just(Algorithm::Xxh128), Just(Algorithm::Md5), Just(Algorithm::Md4Old)],
    ) {
        let target = edited(&basis, &edits);
        let case = Case { in_place, algorithm, ..Case::new(&basis, &target, block_size) };
        let counters = case.check();
        if basis == target {
            prop_assert_eq!(counters.literal, 0);
        }
        // with every position looked up, the same is found
        let (fast, quick, ..) = case.search();
        let (exact, slow, ..) = Case { debug: 1, ..case }.search();
        prop_assert_eq!(fast, exact);
        prop_assert_eq!((quick.literal, quick.matched, quick.matches), (slow.literal, slow.matched, slow.matches));
        prop_assert_eq!(quick.false_alarms, slow.false_alarms);
    }
}

/// What `--debug=deltasum2` of the reference says of the same search: false alarms, hash hits, matches, literal bytes.
fn as_the_reference(case: &Case<'_>, expected: (u64, u64, u64, u64), lines: &[&str]) {
    let (tokens, ..) = case.search();
    let (exact, found, _, said) = Case { debug: 2, ..*case }.search();
    assert_eq!(tokens, exact);
    assert_eq!((found.false_alarms, found.hash_hits, found.matches, found.literal), expected);
    for line in lines {
        assert!(said.iter().any(|other| other == line), "not said: {line}");
    }
    let interesting = said.iter().filter(|line| line.starts_with("match at") && !line.ends_with(" n=0")).count();
    assert_eq!(interesting, lines.iter().filter(|line| line.starts_with("match at")).count());
    case.check();
}

#[test]
fn long_literals_between_matches() {
    let basis = noise(1, 300_000);
    let target =
        [&basis[..50_000], &noise(2, 100_000), &basis[50_000..120_000], &basis[100_000..], &noise(3, 77)].concat();
    as_the_reference(
        &Case::new(&basis, &target, 700),
        (0, 1096, 455, 101_577),
        &[
            "hash search b=700 len=420077",
            "match at 150400 last_match=148004 j=72 len=700 n=2396",
            "match at 220100 last_match=219700 j=143 len=700 n=400",
            "done hash search",
            "sending file_sum",
            "false_alarms=0 hash_hits=1096 matches=455",
        ],
    );
    let lines = ["match at 150000 last_match=115536 j=10 len=5000 n=34464"];
    as_the_reference(&Case::new(&basis, &target, 5000), (0, 168, 64, 100_077), &lines);
}

#[test]
fn zeros_in_place_wait_for_their_own_place() {
    let basis = [&noise(1, 7000)[..], &[0; 21_000], &noise(4, 7000)].concat();
    let target = [&noise(1, 7000)[350..], &[0; 20_000], &noise(4, 7000), &noise(5, 900)].concat();
    let case = Case { in_place: true, ..Case::new(&basis, &target, 700) };
    let lines = [
        "match at 350 last_match=0 j=1 len=700 n=350",
        "match at 7000 last_match=6650 j=10 len=700 n=350",
        "match at 26650 last_match=26600 j=40 len=700 n=50",
    ];
    as_the_reference(&case, (0, 47, 47, 1650), &lines);
    let lines = ["match at 350 last_match=0 j=1 len=700 n=350", "match at 26650 last_match=26250 j=40 len=700 n=400"];
    as_the_reference(&Case { in_place: false, ..case }, (0, 47, 47, 1650), &lines);
}

#[test]
fn in_place_does_not_look_back() {
    let basis = [&noise(1, 7000)[..], &[0; 21_000], &noise(4, 7000)].concat();
    let target = [&noise(6, 300)[..], &[0; 9000], &noise(1, 7000), &[0; 12_000], &noise(4, 7000)].concat();
    let case = Case { in_place: true, ..Case::new(&basis, &target, 700) };
    let lines = [
        "match at 299 last_match=0 j=39 len=700 n=299",
        "match at 7000 last_match=6599 j=10 len=700 n=401",
        "match at 16800 last_match=9100 j=24 len=700 n=7700",
    ];
    as_the_reference(&case, (0, 50, 28, 15_700), &lines);
}

#[test]
fn more_blocks_than_the_small_table_has_slots_for() {
    let basis = noise(7, 1_000_000);
    let target = [&basis[..400_000], &noise(8, 3000), &basis[400_005..]].concat();
    let protocol = protocol(32, Algorithm::Xxh128);
    // with sums as short as the reference sent them, false alarms and hits are those of the weak sums alone
    assert_eq!(sums_of(&basis, Some(16), &protocol, SumLength::Short).head.sum_len, 2);
    let lines = ["match at 403011 last_match=400000 j=25001 len=16 n=3011"];
    as_the_reference(&Case::new(&basis, &target, 16), (398, 64_146, 62_499, 3011), &lines);
}

/// A block of 256 bytes with the weak sum of 256 times 100, but other data.
fn decoy(at: usize) -> Vec<u8> {
    let mut block = vec![100; 256];
    (block[at], block[at + 1], block[at + 2]) = (101, 98, 101);
    block
}

#[test]
fn equal_weak_sums_do_not_stop_the_search() {
    // the same decoy again and again is compared once
    let target = [100; 3000];
    as_the_reference(&Case::new(&decoy(0).repeat(8000), &target, 256), (14, 14, 0, 3000), &[]);
    // different ones are, up to the limit
    let pairs = (0..120).step_by(3).flat_map(|one| (125..250).step_by(3).map(move |other| (one, other)));
    let many: Vec<u8> = pairs
        .take(1600)
        .flat_map(|(one, other)| {
            let (mut block, second) = (decoy(one), decoy(other));
            block[other..other + 3].copy_from_slice(&second[other..other + 3]);
            block
        })
        .collect();
    as_the_reference(&Case::new(&many, &target, 256), (14_336, 14, 0, 3000), &[]);
    // repeated ones do not use the limit up, and the block itself is found behind them
    let behind = [vec![100; 256], decoy(0).repeat(1500)].concat();
    let target = [vec![100; 256], noise(3, 100)].concat();
    as_the_reference(&Case::new(&behind, &target, 256), (1, 1, 1, 100), &[]);
}

#[test]
fn after_four_false_alarms_in_a_row_a_block_is_passed_over() {
    let run = |len| vec![100; len];
    let target = [run(261), noise(3, 3000), run(600), noise(4, 2000), run(900)].concat();
    as_the_reference(&Case::new(&decoy(0), &target, 256), (15, 15, 0, 6761), &[]);
    // three, and then some other byte: not in a row
    let target: Vec<u8> = (1..8).flat_map(|seed| [run(258), noise(seed, 700)].concat()).collect();
    as_the_reference(&Case::new(&decoy(0), &target, 256), (21, 21, 0, 6706), &[]);
    // a shorter last block behind
    let basis = [decoy(0), run(3)].concat();
    let lines = ["match at 597 last_match=0 j=1 len=3 n=597"];
    as_the_reference(&Case::new(&basis, &run(600), 256), (5, 6, 1, 597), &lines);
}

#[test]
fn a_file_shorter_than_the_last_block() {
    as_the_reference(&Case::new(&noise(1, 500), &noise(1, 100), 700), (0, 0, 0, 100), &[]);
    as_the_reference(&Case::new(&noise(1, 500), &[], 700), (0, 0, 0, 0), &[]);
}

#[test]
fn a_kept_block_can_be_named_again() {
    let part = |seed| noise(seed, 256);
    let basis: Vec<u8> = [20, 21, 99, 23, 24, 99, 26, 27, 28].into_iter().flat_map(part).collect();
    let target = [part(20), part(21), part(99), noise(50, 1024), part(99), noise(51, 512)].concat();
    let case = Case { in_place: true, ..Case::new(&basis, &target, 256) };
    as_the_reference(&case, (0, 4, 4, 1536), &["match at 1792 last_match=768 j=2 len=256 n=1024"]);
}

#[test]
fn no_sum_means_no_search() {
    let data = noise(1, 5000);
    let case = Case { algorithm: Algorithm::None, ..Case::new(&data, &data, 700) };
    let (tokens, counters, sum, _) = case.search();
    assert_eq!(tokens, [Token::Literal(data.clone())]);
    assert_eq!((counters.literal, &sum[..]), (5000, &[0][..]));
}

#[test]
fn appending_sends_the_rest() {
    let protocol = protocol(32, Algorithm::Md5);
    let data = noise(1, 600_000);
    let head = BlockLayout::new(100_000, None, &protocol, SumLength::Short).unwrap().head();
    let mut sums = Sums::default();
    sums.head = head;
    for (append, hashed) in [(Append::Trust, &data[100_000..]), (Append::Verify, &data[..])] {
        let mut tokens = Kept::default();
        let mut window = Window::new(&data[..], data.len() as u64, 0);
        let rules = Rules::new(&protocol, true, append);
        let sum = Searcher::default().search(&mut window, &sums, &rules, &log(0).0, &mut tokens).unwrap();
        assert_eq!(tokens.0, [Token::Literal(data[100_000..].to_vec())]);
        assert_eq!(sum, Algorithm::Md5.block_sum(0, hashed));

        let disk = Mutex::new(data[..100_000].to_vec());
        let mut output = Disk { disk: &disk, at: 100_000, in_place: true, built: Vec::new() };
        let mut patch = Patch::new(&protocol, head, Some((Shared(&disk), 100_000)), &mut output, true);
        assert_eq!(patch.append(append), 100_000);
        patch.literal(&data[100_000..]).unwrap();
        assert_eq!(patch.finish().sum, sum);
        assert!(*disk.lock().unwrap() == data);
    }
    // what was announced is longer than the file: nothing is left to send
    let mut tokens = Kept::default();
    let mut window = Window::new(&data[..50_000], 50_000, 0);
    let rules = Rules::new(&protocol, true, Append::Verify);
    Searcher::default().search(&mut window, &sums, &rules, &log(0).0, &mut tokens).unwrap();
    assert_eq!(tokens.0, []);
}

#[test]
fn a_file_cut_short_while_read_spoils_its_sum() {
    let protocol = protocol(32, Algorithm::Md5);
    let data = noise(1, 5000);
    let mut window = Window::new(&data[..], 8000, 0);
    let rules = Rules::new(&protocol, false, Append::No);
    let mut tokens = Kept::default();
    let sum = Searcher::default().search(&mut window, &Sums::default(), &rules, &log(0).0, &mut tokens).unwrap();
    assert_eq!(tokens.0, [Token::Literal([&data[..], &[0; 3000]].concat())]);
    assert_eq!(&sum[..], [0; 16]);
}

#[test]
fn wrong_blocks_are_refused() {
    let protocol = protocol(32, Algorithm::Md5);
    let head = BlockLayout::new(2000, None, &protocol, SumLength::Short).unwrap().head();
    let disk = Mutex::new(Vec::new());
    let output = || Disk { disk: &disk, at: 0, in_place: false, built: Vec::new() };
    let mut without = output();
    let mut patch = Patch::new(&protocol, head, None::<(&[u8], u64)>, &mut without, false);
    assert!(matches!(patch.copy(3), Err(PatchError::NoSuchBlock { block: 3, count: 3 })));
    assert!(matches!(patch.copy(2), Err(PatchError::NoBasis)));
    let mut patch = Patch::new(&protocol, head, None::<(&[u8], u64)>, &mut without, false).discarding();
    assert!(patch.copy(2).unwrap().iter().all(|&byte| byte == 0));
    assert_eq!((patch.position(), patch.finish().matched), (600, 600));
    assert!(without.built.is_empty());

    // a basis that became shorter gives zeros, which the whole-file sum tells
    let mut with = output();
    let mut patch = Patch::new(&protocol, head, Some((&[7u8; 1000][..], 2000)), &mut with, false);
    patch.copy(1).unwrap();
    let mut expected = FileSum::new(Algorithm::Md5, 0);
    expected.update(&[&[7; 300][..], &[0; 400]].concat());
    assert_eq!(patch.finish().sum, expected.finish());
}
