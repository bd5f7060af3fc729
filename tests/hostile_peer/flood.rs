//! A peer that says the same thing without end, and takes nothing that we say: what waits for it stays small.

use std::{
    fs,
    io::{Read, Write},
    process::{Child, Stdio},
};

use crate::{
    bytes::{Bytes, DATA},
    compressed::{self, ZSTD},
    harness::{Program, process},
    play::{Seat, Talk, furnish},
};

/// Four million words would take more than this, were they kept.
const WORDS: usize = 4_000_000;
const PEAK: u64 = 64 << 20;

/// Enough files that asking for them fills every buffer on the way to a peer that does not listen.
fn list(end: Bytes) -> Bytes {
    (0..10_000).fold(Bytes::new().dir("."), |list, number| list.file(&format!("{number}"))).raw(&end.0)
}

/// Says a beginning and then a word again and again, all of which must be taken; the most memory that it took.
fn peak(talk: &Talk, word: &Bytes) -> u64 {
    let mut child = Started::new(talk);
    let mut stdin = child.program.stdin.take().expect("piped");
    let taken = stdin.write_all(&talk.bytes).and_then(|()| {
        let many = word.0.repeat(1000);
        (0..WORDS / 1000).try_for_each(|_| stdin.write_all(&many))
    });
    assert!(taken.is_ok(), "{} ({:?}): ended early: {taken:?}", talk.name, talk.seat);
    child.peak()
}

/// A program in a place of its own, that is ended when nothing more is wanted of it.
struct Started {
    program: Child,
    _site: tempfile::TempDir,
}

impl Started {
    fn new(talk: &Talk) -> Self {
        let site = tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory");
        furnish(site.path());
        let argv = talk.argv(&site.path().join("bytes"));
        let mut command = process::command(site.path(), &Program::Ours.path(), &argv);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self { program: command.spawn().expect("program"), _site: site }
    }

    /// The most memory that it took so far, in bytes.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.id())).expect("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("still there");
        peak.trim().trim_end_matches(" kB").parse::<u64>().expect("number") << 10
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.program.kill(); // it may be gone
        let _ = self.program.wait();
    }
}

#[track_caller]
fn stays_small(talk: &Talk, word: &Bytes) {
    let peak = peak(talk, word);
    assert!(peak < PEAK, "{} ({:?}): took {} MiB", talk.name, talk.seat, peak >> 20);
}

#[test]
fn words_for_a_receiver_that_cannot_speak() {
    let seat = Seat::ServerReceives;
    let one = 1_i32.to_le_bytes();
    let said = |list: Bytes, incremental| seat.greeting(incremental).raw(&list.framed().0);
    let flat = || said(list(Bytes::new().end_of_list()), false);
    let cases = [
        ("no-send", Bytes::new().message(DATA + 102, &one)),
        ("error bits", Bytes::new().message(DATA + 22, &one)),
        ("lines", Bytes::new().message(DATA + 2, b"")),
    ];
    for (name, word) in cases {
        stays_small(&Talk::new(name, seat, flat()), &word);
    }
    let mut ends = Talk::new("the end of all lists", seat, said(list(Bytes::new().end_of_list()), true));
    ends.incremental = true;
    stays_small(&ends, &Bytes::new().index(-2).framed());
}

#[test]
fn arrivals_told_to_a_sender() {
    let talk = Talk::new("success", Seat::ServerSends, Seat::ServerSends.greeting(false)).arg("--remove-source-files");
    stays_small(&talk, &Bytes::new().message(DATA + 100, &1_i32.to_le_bytes()));
}

/// A MiB comes of each word; at the end stands a block that is none, so that the program says when it has come so far.
const MIBS: usize = 300;
const WINDOW: u64 = 128 << 20;

fn peak_of_bomb(talk: &Talk, word: &Bytes) -> u64 {
    let mut child = Started::new(talk);
    let mut stdin = child.program.stdin.take().expect("piped");
    let mut stdout = child.program.stdout.take().expect("piped");
    let end = compressed::framed(&Bytes::new().byte(1));
    let said = talk.bytes.iter().copied().chain(word.0.repeat(MIBS)).chain(end.0).collect::<Vec<_>>();
    stdin.write_all(&said).expect("all is taken");
    let (mut heard, mut part) = (Vec::new(), [0; 4096]);
    let refusal = Bytes::new().message(DATA + 86, &2_i32.to_le_bytes()).0;
    while !heard.ends_with(&refusal) {
        let count = stdout.read(&mut part).expect("what it says");
        assert!(count > 0, "{}: it ended otherwise: {}", talk.name, String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&part[..count]);
    }
    child.peak() // it still waits for us to close
}

/// What comes out is written and forgotten: only windows of zstd take memory, and no more than one at a time.
#[test]
fn little_that_becomes_much() {
    let seat = Seat::ServerReceives;
    for (name, method, first, word) in compressed::bombs() {
        let said = compressed::asked().raw(&first.0);
        let talk = compressed::talk(name, method, seat, &said).arg("--sparse");
        let peak = peak_of_bomb(&talk, &compressed::framed(&word));
        let windows = if name.contains("window") { WINDOW } else { 0 };
        assert!(peak < PEAK + windows, "{}: took {} MiB", talk.name, peak >> 20);
        // The bound is not there for nothing.
        assert!(name != "the longest window, filled" || peak > WINDOW, "took {} MiB", peak >> 20);
    }
    let talk = compressed::talk("blocks again and again", ZSTD, seat, &compressed::asked()).arg("--sparse");
    let again = Bytes::new().raw(&Bytes::new().byte(0x21).int(0).short(2).0.repeat(500));
    let peak = peak_of_bomb(&talk, &compressed::framed(&again));
    assert!(peak < PEAK, "{}: took {} MiB", talk.name, peak >> 20);
}
