//! The order of a file list, and what happens to entries of the same name.
//!
//! Both sides sort the list for themselves and then speak of its entries by position, so the order is part of the
//! protocol. From protocol 29 on, names compare component by component: at each depth what is not a directory comes
//! before what is, a directory compares as if its name ended in a slash (so it precedes its contents and nothing stands
//! between), and the directory `.` comes first of all. Before 29 the plain bytes of the path decide.

use std::{
    cmp::Ordering,
    collections::HashSet,
    hash::{BuildHasher, Hasher, RandomState},
    iter,
};

use super::{Entry, Flags, Record, Segment};
use crate::{
    bytes,
    log::{Log, LogCode},
    options::Debug,
};

/// Which of the two orders; by protocol version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Protocol 29 on.
    Tree,
    /// Protocols 27 and 28.
    Bytes,
}

impl Order {
    pub fn of(version: u8) -> Self {
        if version >= 29 { Self::Tree } else { Self::Bytes }
    }

    /// The order of two names of one directory, each with whether it is a directory: those come last in a tree, as if
    /// they ended in a slash.
    pub fn of_names(self, (a, a_is_dir): (&[u8], bool), (b, b_is_dir): (&[u8], bool)) -> Ordering {
        let slash = |is_dir: bool| if is_dir { &b"/"[..] } else { &[] };
        match self {
            Self::Bytes => a.cmp(b),
            Self::Tree => a_is_dir
                .cmp(&b_is_dir)
                .then_with(|| a.iter().chain(slash(a_is_dir)).cmp(b.iter().chain(slash(b_is_dir)))),
        }
    }
}

/// What of an entry the order looks at.
#[derive(Clone, Copy)]
struct Name<'a> {
    dir: &'a [u8],
    base: &'a [u8],
    is_dir: bool,
}

impl<'a> Name<'a> {
    fn of(segment: &'a Segment, record: &Record) -> Self {
        Self {
            dir: segment.dir_of(record),
            base: segment.base_of(record),
            is_dir: record.mode & libc::S_IFMT == libc::S_IFDIR,
        }
    }

    /// The last component as the tree order sees it: `.` is nothing, other directories end in a slash.
    fn leaf(self) -> (&'a [u8], &'static [u8]) {
        match (self.is_dir, self.base) {
            (true, b".") => (b"", b""),
            (true, base) => (base, b"/"),
            (false, base) => (base, b""),
        }
    }
}

/// Compares two entries. C: flist.c f_name_cmp
pub fn compare(a: Entry<'_>, b: Entry<'_>, order: Order) -> Ordering {
    compare_names(Name::of(a.segment, a.record), Name::of(b.segment, b.record), order)
}

fn compare_names(a: Name<'_>, b: Name<'_>, order: Order) -> Ordering {
    if a.base.is_empty() || b.base.is_empty() {
        return b.base.is_empty().cmp(&a.base.is_empty());
    }
    match order {
        Order::Bytes => a.dir.iter().chain(a.base).cmp(b.dir.iter().chain(b.base)),
        Order::Tree if a.dir == b.dir => compare_leaves(a, b),
        Order::Tree => compare_trees(a, b),
    }
}

/// Finds names in a segment, whatever type they have there: a table of positions by hash, for names that come in no order.
/// C: flist.c flist_find_ignore_dirness
pub struct Finder {
    /// 1 + the position of an entry; 0: free. As many as a power of two.
    slots: Box<[u32]>,
    keys: RandomState,
}

impl Finder {
    pub fn new(segment: &Segment) -> Self {
        let active = segment.records.iter().filter(|record| record.base_len != 0).count();
        let room = (active + active / 2 + 1).next_power_of_two();
        let mut finder = Self { slots: vec![0; room].into(), keys: RandomState::new() };
        for (at, record) in segment.records.iter().enumerate().filter(|(_, record)| record.base_len != 0) {
            let mut slot = finder.first_slot(segment.dir_of(record), segment.base_of(record));
            while let Some(taken) = finder.slots.get_mut(slot) {
                if *taken == 0 {
                    *taken = at as u32 + 1;
                    break;
                }
                slot = finder.next_slot(slot);
            }
        }
        finder
    }

    /// Whether the segment that this was made for has the name; `dir` with its slash.
    pub fn has(&self, segment: &Segment, dir: &[u8], base: &[u8]) -> bool {
        let mut slot = self.first_slot(dir, base);
        while let Some(&at) = self.slots.get(slot).filter(|&&at| at != 0) {
            let record = segment.records.get(at as usize - 1);
            if record.is_some_and(|record| segment.base_of(record) == base && segment.dir_of(record) == dir) {
                return true;
            }
            slot = self.next_slot(slot);
        }
        false
    }

    fn first_slot(&self, dir: &[u8], base: &[u8]) -> usize {
        let mut hasher = self.keys.build_hasher();
        hasher.write(dir);
        hasher.write(base);
        hasher.finish() as usize & (self.slots.len() - 1)
    }

    fn next_slot(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }
}

fn compare_leaves(a: Name<'_>, b: Name<'_>) -> Ordering {
    let ((a, a_tail), (b, b_tail)) = (a.leaf(), b.leaf());
    if a_tail != b_tail {
        return a_tail.cmp(b_tail); // what is not a directory comes first
    }
    if a_tail.is_empty() {
        return a.cmp(b);
    }
    let common = iter::zip(a, b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[common..], &b[common..]);
    a.iter().chain(a_tail).cmp(b.iter().chain(b_tail))
}

/// At the first difference, each name is either in its last component without a slash to come, or not: that decides
/// before the byte does.
fn compare_trees(a: Name<'_>, b: Name<'_>) -> Ordering {
    fn key<'a>(name: Name<'a>) -> impl Iterator<Item = &'a u8> + Clone {
        let (base, tail) = name.leaf();
        name.dir.iter().chain(base).chain(tail)
    }
    let (mut rest_a, mut rest_b) = (key(a), key(b));
    loop {
        let (before_a, before_b) = (rest_a.clone(), rest_b.clone());
        match (rest_a.next(), rest_b.next()) {
            (None, None) => return Ordering::Equal,
            (x, y) if x == y => {}
            (x, y) => {
                let (deeper_a, deeper_b) = (before_a.clone().any(|&c| c == b'/'), before_b.clone().any(|&c| c == b'/'));
                return deeper_a.cmp(&deeper_b).then(x.cmp(&y));
            }
        }
    }
}

/// Sorts a segment; entries of equal names keep their order. C: flist.c fsort
pub fn sort(segment: &mut Segment, order: Order) {
    let sorted = match order {
        Order::Tree => tree_order(segment),
        Order::Bytes => bytes_order(segment),
    };
    if let Some(sorted) = sorted {
        segment.renumber(&sorted);
        rearrange(&mut segment.records, sorted);
    }
}

fn bytes_order(segment: &Segment) -> Option<Vec<u32>> {
    let name = |at: u32| Name::of(segment, &segment.records[at as usize]);
    let mut positions: Vec<u32> = (0..segment.records.len() as u32).collect();
    positions.sort_by(|&a, &b| compare_names(name(a), name(b), Order::Bytes));
    Some(positions)
}

/// A record's place in the tree order as numbers: the rank of the directory it is or lies in (twice, plus one for
/// what lies in it), then the first bytes of its name.
struct Place {
    /// There are fewer than 2³¹ directories: each takes two bytes of an arena that 32 bits address.
    rank: u32,
    at: u32,
    prefix: u64,
}

fn tree_order(segment: &Segment) -> Option<Vec<u32>> {
    let ranks = Ranks::of(segment);
    let shared = shared_start(segment);
    let mut own = ranks.own.iter();
    let places = segment.records.iter().enumerate().map(|(at, record)| {
        let (rank, prefix) = if record.base_len == 0 {
            (0, 0)
        } else if record.mode & libc::S_IFMT == libc::S_IFDIR {
            (own.next().map_or(0, |&rank| rank << 1), 0)
        } else {
            (ranks.of_dirs[record.dir as usize] << 1 | 1, prefix(&segment.base_of(record)[shared..]))
        };
        Place { rank, prefix, at: at as u32 }
    });
    let mut places: Vec<Place> = places.collect();
    let compare = |a: &Place, b: &Place| {
        (a.rank, a.prefix).cmp(&(b.rank, b.prefix)).then_with(|| {
            let tie = if a.rank & 1 == 1 { compare_tails(segment, a.at, b.at) } else { Ordering::Equal };
            tie.then(a.at.cmp(&b.at))
        })
    };
    if places.is_sorted_by(|a, b| compare(a, b).is_lt()) {
        return None;
    }
    places.sort_unstable_by(compare);
    Some(places.into_iter().map(|place| place.at).collect())
}

/// Big-endian, so that numbers compare as the bytes do; names hold no nul, so a shorter one comes first.
fn prefix(name: &[u8]) -> u64 {
    let mut head = [0; 8];
    let len = name.len().min(8);
    head[..len].copy_from_slice(&name[..len]);
    u64::from_be_bytes(head)
}

/// How many first bytes all files have in common: of `IMG_20240501_…` the prefix would tell nothing.
fn shared_start(segment: &Segment) -> usize {
    let is_file = |record: &&Record| record.base_len != 0 && record.mode & libc::S_IFMT != libc::S_IFDIR;
    let mut names = segment.records.iter().filter(is_file).map(|record| segment.base_of(record));
    let Some(first) = names.next() else { return 0 };
    let mut shared = first.len();
    for name in names {
        shared = iter::zip(&first[..shared], name).take_while(|(a, b)| a == b).count();
        if shared == 0 {
            break;
        }
    }
    shared
}

fn compare_tails(segment: &Segment, a: u32, b: u32) -> Ordering {
    let tail = |at: u32| segment.base_of(&segment.records[at as usize]);
    tail(a).cmp(tail(b))
}

/// The directories of a segment in their order: as plain bytes, each with its trailing slash.
struct Ranks {
    /// Of `Segment::dirs`, by index; from 1.
    of_dirs: Vec<u32>,
    /// Of the active entries that are directories, in the order of the records.
    own: Vec<u32>,
}

impl Ranks {
    fn of(segment: &Segment) -> Self {
        let mut arena = Vec::new();
        let mut ends = Vec::new();
        for dir in &segment.dirs {
            arena.extend_from_slice(segment.bytes(dir.name));
            ends.push(arena.len());
        }
        for record in &segment.records {
            let name = Name::of(segment, record);
            if name.is_dir && !name.base.is_empty() {
                let (base, tail) = name.leaf();
                arena.extend_from_slice(name.dir);
                arena.extend_from_slice(base);
                arena.extend_from_slice(tail);
                ends.push(arena.len());
            }
        }
        let key = |at: u32| {
            let at = at as usize;
            let start = if at == 0 { 0 } else { ends[at - 1] };
            &arena[start..ends[at]]
        };
        let mut sorted: Vec<u32> = (0..ends.len() as u32).collect();
        sorted.sort_unstable_by_key(|&at| key(at));
        let mut ranks = vec![0; ends.len()];
        let mut rank = 0;
        let mut last = None;
        for at in sorted {
            if last != Some(key(at)) {
                rank += 1;
                last = Some(key(at));
            }
            ranks[at as usize] = rank;
        }
        let own = ranks.split_off(segment.dirs.len());
        Self { of_dirs: ranks, own }
    }
}

/// Puts `records[sorted[i]]` to place `i` for every `i`, without a second table.
fn rearrange(records: &mut [Record], mut sorted: Vec<u32>) {
    for start in 0..sorted.len() {
        if sorted[start] as usize == start {
            continue;
        }
        let first = records[start];
        let mut to = start;
        loop {
            let from = std::mem::replace(&mut sorted[to], to as u32) as usize;
            if from == start {
                records[to] = first;
                break;
            }
            records[to] = records[from];
            to = from;
        }
    }
}

/// Marks directories that repeat the name of an earlier one, so that their contents travel together (sending side
/// of an incremental list). C: flist.c flist_sort_and_clean
pub fn mark_duplicates(segment: &mut Segment, order: Order) {
    let mut last: Option<usize> = None;
    for at in 0..segment.records.len() {
        let record = &segment.records[at];
        if record.mode & libc::S_IFMT != libc::S_IFDIR || record.base_len == 0 {
            continue;
        }
        let name = Name::of(segment, record);
        let same = last.is_some_and(|last| {
            compare_names(name, Name::of(segment, &segment.records[last]), order) == Ordering::Equal
        });
        if same {
            segment.records[at].flags.set(Flags::DUPLICATE);
        } else {
            last = Some(at);
        }
    }
}

/// Takes out what repeats a name (receiving side): of a directory and something else the directory stays, because it
/// may have contents in the list; otherwise the first one. C: flist.c flist_sort_and_clean
pub fn weed_duplicates(segment: &mut Segment, order: Order, log: &Log) {
    let Some(mut kept) = segment.records.iter().position(|record| record.base_len != 0) else { return };
    let low = kept;
    let mut dropped = HashSet::new();
    for at in kept + 1..segment.records.len() {
        let name = Name::of(segment, &segment.records[at]);
        let equal = compare_names(name, Name::of(segment, &segment.records[kept]), order) == Ordering::Equal;
        let twin = match (equal, name.is_dir, order) {
            (true, _, _) => Some(kept),
            (false, true, Order::Tree) => find_between(segment, low..kept + 1, Name { is_dir: false, ..name }, order)
                .filter(|twin| !dropped.contains(twin)),
            _ => None,
        };
        let Some(twin) = twin else {
            kept = at;
            continue;
        };
        let drop = if name.is_dir { merge_dirs(segment, twin, at) } else { at };
        if log.debug(Debug::Dup) >= 1 {
            let index = drop as i32 + segment.first_index;
            let path = segment.entry(at).path();
            log.say(LogCode::Info, bytes!["removing duplicate name ", path, " from file list (", index, ")"]);
        }
        dropped.insert(drop);
        if drop == twin {
            kept = at;
        }
    }
    for drop in dropped {
        segment.clear_entry(drop);
    }
}

/// Which of a directory at `at` and an earlier entry of its name goes; what the two know is joined in what stays.
fn merge_dirs(segment: &mut Segment, twin: usize, at: usize) -> usize {
    let later = segment.records[at].flags;
    let first = &mut segment.records[twin];
    if first.mode & libc::S_IFMT != libc::S_IFDIR {
        return twin;
    }
    first.flags.0 |= later.0 & (Flags::TOP_DIR.0 | Flags::CONTENT_DIR.0);
    first.flags.0 &= later.0 | !Flags::IMPLIED_DIR.0;
    at
}

/// The first position in a sorted range whose entry has this name.
fn find_between(segment: &Segment, range: std::ops::Range<usize>, name: Name<'_>, order: Order) -> Option<usize> {
    let part = segment.records.get(range.clone())?;
    let at = part.partition_point(|record| compare_names(Name::of(segment, record), name, order) == Ordering::Less);
    let found = part.get(at)?;
    (compare_names(Name::of(segment, found), name, order) == Ordering::Equal).then_some(range.start + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        flist::made::{add, file, folder},
        log::Speaker,
    };

    fn log() -> Log {
        Log::unheard(Speaker::Receiver)
    }

    /// A name that ends in a slash is a directory.
    fn list(names: &[&str]) -> Segment {
        let mut segment = Segment::new(0, -1);
        for name in names {
            match name.strip_suffix('/') {
                Some(dir) => add(&mut segment, dir, &folder()),
                None => add(&mut segment, name, &file(1)),
            }
        }
        segment
    }

    fn shown(segment: &Segment) -> Vec<String> {
        let show = |(_, entry): (i32, Entry<'_>)| {
            let path = String::from_utf8(entry.path()).unwrap();
            if entry.is_dir() { path + "/" } else { path }
        };
        segment.entries().map(show).collect()
    }

    #[test]
    fn files_come_before_directories_at_each_depth() {
        let mut segment = list(&["b/", "a/y/", "z", "a/", "a-b/", "./", "a/x", "b/q", "a/y/0", "a-b/c", "a/z"]);
        sort(&mut segment, Order::Tree);
        let expected = ["./", "z", "a-b/", "a-b/c", "a/", "a/x", "a/z", "a/y/", "a/y/0", "b/", "b/q"];
        assert_eq!(shown(&segment), expected);
    }

    #[test]
    fn before_29_bytes_decide() {
        let mut segment = list(&["b/", "z", "a/", "a-b", "./", "a/x", "a.c"]);
        sort(&mut segment, Order::Bytes);
        assert_eq!(shown(&segment), ["./", "a/", "a-b", "a.c", "a/x", "b/", "z"]);
    }

    #[test]
    fn names_longer_than_the_prefix_are_told_apart() {
        let mut segment = list(&[
            "12345678b",
            "12345678a",
            "12345678",
            "1234567",
            "12345678a/",
            "1234567890123456b",
            "1234567890123456a",
        ]);
        sort(&mut segment, Order::Tree);
        assert_eq!(
            shown(&segment),
            ["1234567", "12345678", "1234567890123456a", "1234567890123456b", "12345678a", "12345678b", "12345678a/"]
        );
    }

    #[test]
    fn a_directory_outlives_a_file_of_its_name() {
        let mut segment = list(&["a", "d", "d", "z", "d/", "e/", "e/"]);
        segment.records[5].flags = Flags::IMPLIED_DIR;
        sort(&mut segment, Order::Tree);
        weed_duplicates(&mut segment, Order::Tree, &log());
        let active: Vec<_> = segment.entries().filter(|(_, e)| e.is_active()).map(|(i, e)| (i, e.path())).collect();
        let expected: [(i32, &[u8]); 4] = [(0, b"a"), (3, b"z"), (4, b"d"), (5, b"e")];
        assert_eq!(active, expected.map(|(i, p)| (i, p.to_vec())));
        assert_eq!(segment.entry(5).flags(), Flags::CONTENT_DIR, "flags of the two are joined");
    }

    #[test]
    fn the_sender_only_marks() {
        let mut segment = list(&["d/", "c", "d/", "d"]);
        sort(&mut segment, Order::Tree);
        mark_duplicates(&mut segment, Order::Tree);
        assert_eq!(shown(&segment), ["c", "d", "d/", "d/"]);
        assert!(!segment.entry(2).flags().has(Flags::DUPLICATE) && segment.entry(3).flags().has(Flags::DUPLICATE));
    }

    #[test]
    fn names_are_found_whatever_their_type() {
        let mut segment = list(&["./", "a", "b/", "b-/", "b/c", "b/d/", "b/d/e", "twice", "twice", "z"]);
        sort(&mut segment, Order::Tree);
        weed_duplicates(&mut segment, Order::Tree, &log());
        let finder = Finder::new(&segment);
        let has = |dir: &str, base: &str| finder.has(&segment, dir.as_bytes(), base.as_bytes());
        for (dir, base) in [("", "a"), ("", "b"), ("", "b-"), ("b/", "c"), ("b/", "d"), ("b/d/", "e"), ("", "twice")] {
            assert!(has(dir, base), "{dir}{base}");
        }
        for (dir, base) in [("", "c"), ("", "b-a"), ("b/", "a"), ("b/", "b"), ("b/d/", "c"), ("a/", "a"), ("", "y")] {
            assert!(!has(dir, base), "{dir}{base}");
        }
        assert!(!Finder::new(&list(&[])).has(&list(&[]), b"", b"a"));
    }

    #[test]
    fn each_of_many_names_is_found() {
        let names: Vec<String> = (0..3000).map(|number| format!("d{}/{number}", number % 3)).collect();
        let segment = list(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let finder = Finder::new(&segment);
        let has = |name: &str| {
            name.split_once('/')
                .is_some_and(|(dir, base)| finder.has(&segment, format!("{dir}/").as_bytes(), base.as_bytes()))
        };
        assert!(names.iter().all(|name| has(name)));
        assert!((0..3000).all(|number| !has(&format!("d{}/{number}", (number + 1) % 3))));
    }

    /// The reference's rule written down independently: components one after the other.
    fn by_components(a: &str, b: &str) -> Ordering {
        fn parts(name: &str) -> Vec<(bool, String)> {
            let name =
                if name == "./" { "" } else { name.strip_suffix("/./").map_or(name, |_| &name[..name.len() - 2]) };
            let mut parts: Vec<_> = name.split_inclusive('/').map(|c| (c.ends_with('/'), c.to_owned())).collect();
            if name.is_empty() {
                parts.push((false, String::new()));
            }
            parts
        }
        let (a, b) = (parts(a), parts(b));
        for (x, y) in iter::zip(&a, &b) {
            if x != y {
                return x.cmp(y);
            }
        }
        a.len().cmp(&b.len())
    }

    proptest! {
        #[test]
        fn sorting_agrees_with_the_rule(names in prop::collection::vec("(\\.|[ab]?[-a/0]{0,4}[a.])/?", 1..40)) {
            let clean = |name: &String| {
                let dir = if name.ends_with('/') { "/" } else { "" };
                let parts: Vec<_> = name.split('/').filter(|part| !part.is_empty()).collect();
                let inner = parts.iter().rev().skip(1).rev().all(|part| *part != ".");
                (inner && (dir == "/" || parts.last() != Some(&"."))).then(|| parts.join("/") + dir)
            };
            let names: Vec<_> = names.iter().filter_map(clean).collect();
            let mut segment = list(&names.iter().map(String::as_str).collect::<Vec<_>>());
            sort(&mut segment, Order::Tree);
            let mut expected = names.clone();
            expected.sort_by(|a, b| by_components(a, b));
            prop_assert_eq!(shown(&segment), expected);
            for pair in 1..segment.len() {
                let (a, b) = (segment.entry(pair - 1), segment.entry(pair));
                prop_assert!(compare(a, b, Order::Tree).is_le());
            }
        }
    }
}
