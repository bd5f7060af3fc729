//! Compressed file data as a hostile sender may make it, for each algorithm and in front of both receivers.

use md5::{Digest, Md5};

use crate::{
    bytes::{Bytes, DATA, FILE, Odd, PLAIN, TRANSFER},
    harness::{Program, process::Status, tree::What, zoo},
    play::{After, RECEIVERS, Seat, Talk, check, faults, play},
};

/// One way to compress, and `good` compressed so.
#[derive(Clone, Copy)]
pub struct Method {
    pub name: &'static str,
    pub arg: &'static str,
    good: &'static [u8],
}

/// A stored block, and the empty one of a flush without its last four bytes.
const DEFLATED: &[u8] = b"\0\x04\0\xfb\xffgood\0";
/// The magic, no flags, a window of 1 KiB.
const FRAME: &[u8] = b"\x28\xb5\x2f\xfd\0\0";

pub const ZLIB: Method = Method { name: "zlib", arg: "--compress-choice=zlib", good: DEFLATED };
pub const ZLIBX: Method = Method { name: "zlibx", arg: "--compress-choice=zlibx", good: DEFLATED };
pub const LZ4: Method = Method { name: "lz4", arg: "--compress-choice=lz4", good: b"\x40good" };
pub const ZSTD: Method =
    Method { name: "zstd", arg: "--compress-choice=zstd", good: b"\x28\xb5\x2f\xfd\0\0\x20\0\0good" };
pub const METHODS: [Method; 4] = [ZLIB, ZLIBX, LZ4, ZSTD];

/// What stands at the destination as `a`, in blocks of 700.
const OLD: &[u8] = b"what was here before\n";

impl Bytes {
    /// Compressed data in one chunk.
    pub fn chunk(self, data: &[u8]) -> Self {
        let [high, low] = (data.len() as u16).to_be_bytes();
        self.raw(&[0x40 | high, low]).raw(data)
    }

    /// The end of a file whose content is this.
    fn end(self, content: &[u8]) -> Self {
        self.byte(0).raw(&Md5::digest(content))
    }
}

/// `a` is asked for, over what stands there.
pub fn asked() -> Bytes {
    let odd = Odd { size: 4, ..PLAIN };
    Bytes::new().dir(".").entry("a", FILE, odd).end_of_list().item(1, TRANSFER).sums(3, 700, 2, 0)
}

/// `b` is asked for, of which nothing stands there.
fn asked_anew() -> Bytes {
    Bytes::new().dir(".").file("b").end_of_list().item(1, TRANSFER).sums(3, 700, 2, 0)
}

/// The ends of the phases, what was counted, and goodbye.
fn ending(seat: Seat) -> Bytes {
    let ends = Bytes::new().raw(&[0; 3]);
    let counted = if seat == Seat::Pull { (0..5).fold(ends, |bytes, _| bytes.varlong(1000, 3)) } else { ends };
    counted.done()
}

pub fn talk(name: &str, method: Method, seat: Seat, said: &Bytes) -> Talk {
    let bytes = seat.greeting(false).raw(&said.clone().framed().0);
    Talk::new(format!("{} {name}", method.name), seat, bytes).arg(method.arg)
}

fn talks(method: Method, cases: &[(&str, Bytes)]) -> Vec<Talk> {
    let all = |seat| cases.iter().map(move |(name, said)| talk(name, method, seat, said));
    RECEIVERS.into_iter().flat_map(all).collect()
}

/// The same with every method.
fn with_all(cases: impl Fn(Method) -> Vec<(&'static str, Bytes)>) -> Vec<Talk> {
    METHODS.into_iter().flat_map(|method| talks(method, &cases(method))).collect()
}

/// Both receivers end well, so sums agree, and `a` is what it should be.
#[track_caller]
fn arrives(method: Method, name: &str, file: &Bytes, content: &[u8]) {
    for seat in RECEIVERS {
        let said = asked().raw(&file.0).end(content).raw(&ending(seat).0);
        let talk = talk(name, method, seat, &said);
        let played = play(&talk, Program::Ours);
        let wrong = faults(&talk, &played);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(played.status, Status::Exit(0), "{} ({seat:?}): {:?}", talk.name, played.said);
        let arrived = played.tree.get(b"a").map(|node| &node.what);
        let same = matches!(arrived, Some(What::File { size, .. }) if *size == content.len() as u64);
        assert!(same, "{} ({seat:?}): {arrived:?}", talk.name);
    }
}

#[test]
fn chunks_are_cut_anywhere() {
    for method in METHODS {
        let [front, back] = [b"good", &OLD.repeat(100)[700..1400]].map(<[u8]>::to_vec);
        let bytes = |start: Bytes| method.good.iter().fold(start, |said, &byte| said.chunk(&[byte]));
        arrives(method, "whole", &Bytes::new().chunk(method.good), b"good");
        arrives(method, "and a block", &Bytes::new().chunk(method.good).byte(0x81), &[front, back].concat());
        if method.name == "lz4" {
            continue; // of which each chunk stands alone
        }
        arrives(method, "in single bytes", &bytes(Bytes::new()), b"good");
        // The reference takes no empty chunk with zlib.
        let gaps = |said: Bytes| method.good.iter().fold(said, |said, &byte| said.chunk(b"").chunk(&[byte]).chunk(b""));
        arrives(method, "between empty chunks", &gaps(Bytes::new()), b"good");
    }
    // The end of the file to the reference.
    arrives(LZ4, "between chunks of nothing", &Bytes::new().chunk(b"\0").chunk(LZ4.good).chunk(b"\0"), b"good");
    let frames = [FRAME, b"\x21\0\0good", b"\x50\x2a\x4d\x18\x03\0\0\0any", FRAME, b"\x01\0\0"].concat();
    arrives(ZSTD, "in frames that end", &Bytes::new().chunk(&frames).chunk(ZSTD.good), b"goodgood");
}

/// Compressed data that is none. A server of the reference never says so: it is gone before; and its `lz4` tells a number of its own.
#[test]
fn streams_that_are_none() {
    let all = with_all(|method| {
        let chunk = |data: &[u8]| asked().chunk(data).end(b"").done();
        vec![
            ("all ones", chunk(&[0xff; 300])),
            ("noise", chunk(&zoo::noise(16_383, 3))),
            ("text", chunk(b"this was never compressed")),
            ("good and then not", asked().chunk(method.good).chunk(&[0xff; 9]).end(b"good")),
        ]
    });
    let (known, ours_alone): (Vec<_>, Vec<_>) =
        all.iter().cloned().partition(|talk| talk.seat == Seat::Pull && !talk.name.starts_with("lz4"));
    check(&known, true);
    check(&ours_alone, false);
    for talk in &all {
        let played = play(talk, Program::Ours);
        assert_eq!(played.status, Status::Exit(12), "{}: {:?}", talk.name, played.said);
        let words = ["inflate returned -3", "uncompress failed: -1", "ZSTD decomp returned -"];
        assert!(played.said.iter().any(|line| words.iter().any(|words| line.starts_with(words))), "{:?}", played.said);
    }
    // A last block, and more after it; matched data in the midst of a block.
    let zlib = |method| {
        let last = [&b"\x01\x04\0\xfb\xffgood"[..], b"\0"].concat();
        [
            ("an end of its own", asked().chunk(&last).end(b"good")),
            ("stops within a block", asked().chunk(b"\0\xff\xff\0\0good").end(b"good")),
            ("a block within a block", asked().chunk(b"\0\xff\xff\0\0good").byte(0x80).end(b"good")),
            ("before its own beginning", asked().chunk(b"\x4b\x04\x26\x05").end(b"")),
            ("the mark as data", asked().chunk(b"\0\0\xff\xff").end(b"")),
        ]
        .map(|(name, said)| talk(name, method, Seat::Pull, &said))
    };
    check(&[ZLIB, ZLIBX].map(zlib).concat(), true);
}

#[test]
fn blocks_that_are_none() {
    check(
        &with_all(|method| {
            let good = || asked().chunk(method.good);
            vec![
                ("a length without data", asked().raw(b"\x7f\xff")),
                ("data after the end", good().end(b"good").chunk(method.good)),
                ("a wrong sum", good().end(b"bad").done()),
                ("a block far away", asked().byte(0x20).int(i32::MAX)),
                ("a block below", asked().byte(0x20).int(-1)),
                ("a run of no length", asked().byte(0xc0).short(0)),
                ("a run over the blocks", asked().byte(0xc0).short(3).end(b"")),
                ("a long run over the blocks", asked().byte(0x21).int(1).short(u16::MAX).end(b"")),
                ("a run over the last number", asked().byte(0x21).int(0x7fff_fffd).short(9)),
                ("a block over the blocks", asked().byte(0x83).end(b"")),
                ("a block that is nowhere", asked_anew().byte(0x80).end(b"")),
                ("a run that is nowhere", asked_anew().chunk(method.good).byte(0xc0).short(2).end(b"")),
                ("far steps", asked().raw(&[0xbf; 5000])),
            ]
        }),
        true,
    );
    // The reference reads a number behind it.
    check(&with_all(|_| vec![("the flag of nothing", asked().byte(0x01))]), false);
    // The basis is shorter than was said when it was asked for: what is not there is zeros to both, and the sum is wrong.
    let long = || {
        let odd = Odd { size: 4, ..PLAIN };
        Bytes::new().dir(".").entry("a", FILE, odd).end_of_list().item(1, TRANSFER).sums(70_000, 700, 2, 0)
    };
    let behind = |method: Method| {
        vec![
            ("blocks behind the end", long().byte(0xc2).short(500).chunk(method.good).end(b"").done()),
            ("a block far behind the end", long().byte(0x20).int(69_999).chunk(method.good).end(b"").done()),
        ]
    };
    check(&with_all(behind), true);
}

/// Which of them the reference's own library refuses, and as what, may be another release's matter.
#[test]
fn frames_of_zstd_that_are_none() {
    let magic = |rest: &[u8]| asked().chunk(&[&FRAME[..4], rest].concat()).end(b"good").done();
    let mut cases = vec![
        ("a dictionary", magic(b"\x01\0\x07\x20\0\0good")),
        ("a reserved flag", magic(b"\x08\0\x20\0\0good")),
        ("a content of 2^60", magic(b"\xe0\0\0\0\0\0\0\0\x10\x20\0\0good")),
        ("a content of 2^60 in pieces", magic(b"\xc0\0\0\0\0\0\0\0\0\x10\x21\0\0good")),
        ("another content's length", magic(b"\x20\x09\x21\0\0good")),
        ("a wrong sum of its own", magic(b"\x04\0\x21\0\0goodxxxx")),
        ("a block type of no meaning", magic(b"\0\0\x26\0\0good")),
        ("a block longer than the window", magic(b"\0\0\x02\0\x10\0")),
        ("a block longer than blocks are", magic(b"\0\x88\xfa\xff\xff\0")),
    ];
    // 128 MiB is the longest window of a level; an eighth more, the double, all there is.
    for window in [17 << 3 | 1, 18 << 3, 31 << 3 | 7] {
        cases.push(("too long a window", magic(&[0, window, 0x20, 0, 0, b'g', b'o', b'o', b'd'])));
    }
    let all = talks(ZSTD, &cases);
    let (known, ours_alone): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|talk| talk.seat == Seat::Pull);
    check(&known, true);
    check(&ours_alone, false);
    // The reference takes a length to skip for an error.
    let endless = asked().chunk(b"\x50\x2a\x4d\x18\xff\xff\xff\xff").chunk(&[7; 9000]).end(b"");
    check(&talks(ZSTD, &[("an endless frame to skip", endless)]), false);
    let refused = |talk: &Talk, arg| {
        let played = play(&talk.clone().arg(arg), Program::Ours);
        assert_eq!(played.status, Status::Exit(12), "{}: {:?}", talk.name, played.said);
        assert!(played.said.iter().any(|line| line == "ZSTD decomp returned -16 (0 bytes)"), "{:?}", played.said);
    };
    let windows = all.iter().filter(|talk| talk.name.contains("too long"));
    windows.for_each(|talk| refused(talk, "--max-alloc=1G"));
    // 16 MiB, more than may be taken; without the bound it is a window like others
    let long = Bytes::new().chunk(b"\x28\xb5\x2f\xfd\0\x70\x20\0\0good");
    arrives(ZSTD, "a window of 16 MiB", &long, b"good");
    refused(&talk("a window of 16 MiB", ZSTD, Seat::Pull, &asked().raw(&long.0)), "--max-alloc=8M");
}

/// Some of each kind of token.
fn short(method: Method) -> Bytes {
    let stream = Bytes::new().chunk(method.good).byte(0x81).chunk(method.good);
    let stream =
        if method.name == "zstd" { Bytes::new().chunk(method.good).byte(0x81).chunk(b"\x0a\0\0x") } else { stream };
    stream.raw(b"\x20\0\0\0\0").byte(0xc1).short(1)
}

/// A stream that breaks off at each of its bytes, without an end.
#[test]
fn streams_that_break_off() {
    let cut = |method: Method, seat| {
        let all = short(method);
        (0..all.0.len()).map(move |len| {
            let said = asked().raw(&all.0[..len]);
            Talk { after: After::Close, ..talk(&format!("cut at {len}"), method, seat, &said) }
        })
    };
    let all = METHODS.into_iter().flat_map(|method| RECEIVERS.into_iter().flat_map(move |seat| cut(method, seat)));
    let all: Vec<_> = all.collect();
    check(&all, false);
    for talk in all.iter().step_by(7) {
        assert_eq!(play(talk, Program::Ours).status, Status::Exit(12), "{} ({:?})", talk.name, talk.seat);
    }
}

/// One byte differs from a good stream.
#[test]
fn streams_with_a_byte_that_is_wrong() {
    let spoilt = |method: Method, flip: u8| {
        let all = short(method).end(b"").raw(&ending(Seat::ServerReceives).0).0;
        (0..all.len() - 20).map(move |at| {
            let mut bytes = all.clone();
            bytes[at] ^= flip;
            let said = asked().raw(&bytes);
            Talk { after: After::Close, ..talk(&format!("byte {at} ^ {flip}"), method, Seat::ServerReceives, &said) }
        })
    };
    let flips = [1, 0x80, 0xff];
    let all = METHODS.into_iter().flat_map(|method| flips.into_iter().flat_map(move |flip| spoilt(method, flip)));
    check(&all.collect::<Vec<_>>(), false);
}

/// What expands without end, as a beginning and what can be repeated, each a MiB of zeros.
pub fn bombs() -> Vec<(&'static str, Method, Bytes, Bytes)> {
    let whole = |bytes: &[u8]| bytes.chunks(16_383).fold(Bytes::new(), Bytes::chunk);
    let deflated = whole(&deflated_zeros(1 << 20));
    // a zero, 30,725 times what stands one before, and five zeros
    let lz4 = [&b"\x1f\0\x01\0"[..], &[255; 120], b"\x6a\x50\0\0\0\0\0"].concat();
    let lz4 = Bytes::new().raw(&Bytes::new().chunk(&lz4).0.repeat(34));
    let block = b"\x02\0\x10\0".repeat(8); // 128 KiB of one byte each
    let frame = |window: u8| Bytes::new().chunk(&[&FRAME[..5], &[window]].concat());
    let restarts = [&FRAME[..5], &[17 << 3], &block, b"\x01\0\0"].concat();
    vec![
        ("a flood of zeros", ZLIB, Bytes::new(), deflated.clone()),
        ("a flood of zeros", ZLIBX, Bytes::new(), deflated),
        ("a flood of zeros", LZ4, Bytes::new(), lz4),
        ("a flood of zeros", ZSTD, frame(7 << 3), Bytes::new().chunk(&block)),
        ("the longest window, filled", ZSTD, frame(17 << 3), Bytes::new().chunk(&block)),
        ("the longest window, again and again", ZSTD, Bytes::new(), Bytes::new().chunk(&restarts)),
    ]
}

fn deflated_zeros(len: usize) -> Vec<u8> {
    let mut deflate = zlib_rs::Deflate::new(9, false, 15);
    let mut out = vec![0; len];
    deflate.compress(&vec![0; len], &mut out, zlib_rs::DeflateFlush::SyncFlush).expect("deflate");
    out.truncate(deflate.total_out() as usize);
    out
}

/// Data frames of bytes that repeat.
pub fn framed(bytes: &Bytes) -> Bytes {
    bytes.0.chunks(16_000).fold(Bytes::new(), |done, piece| done.message(DATA, piece))
}
