//! A peer that means harm: whatever it says, the program ends by itself, with one clear error and the status of the
//! reference; nothing is written outside the destination, nothing half-made is left.

#[path = "../harness/mod.rs"]
mod harness;

mod attributes;
mod bytes;
mod compressed;
mod deletions;
mod flood;
mod play;
mod receiver;
mod second_try;
mod sender;
mod truncated;

use bytes::{Bytes, DATA};
use play::{ALL, After, Seat, Talk, check};

#[test]
fn wrong_versions() {
    let mut talks = Vec::new();
    for seat in ALL {
        for version in [0, 19, 41, 255, -1, i32::MIN, i32::MAX] {
            talks.push(Talk::new(format!("version {version}"), seat, Bytes::new().int(version)));
        }
        for text in ["", "x", "abc", "Welcome to far\n", "\n\n\n\n\n\n\n\n", "\0\0\0\0\0\0\0\0"] {
            talks.push(Talk::new(format!("greets with {text:?}"), seat, Bytes::new().raw(text.as_bytes())));
        }
    }
    check(&talks, true);
    // the reference still speaks these; we do not
    let old = ALL.into_iter().flat_map(|seat| {
        [20, 26].map(|version| Talk::new(format!("version {version}"), seat, Bytes::new().int(version)))
    });
    check(&old.collect::<Vec<_>>(), false);
}

#[test]
fn handshakes_that_fail() {
    let hello = || Bytes::new().int(32);
    let mut talks = Vec::new();
    for seat in [Seat::Pull, Seat::Push] {
        let flagged = |flags: i32| hello().varint(flags);
        talks.extend([
            Talk::new("endless varint", seat, hello().raw(&[0xff; 20])),
            Talk::new("all flags", seat, flagged(-1).string("md5").int(1)),
            Talk::new("no common algorithm", seat, flagged(0x1fe).string("md9 xxh7").int(1)),
            Talk::new("no algorithm", seat, flagged(0x1fe).string("").int(1)),
            Talk::new("algorithms too long", seat, flagged(0x1fe).raw(&[0xff; 400])),
            Talk::new("algorithms of odd bytes", seat, flagged(0x1fe).string("\u{1}\0md5 \n md5").int(1)),
            Talk::new("inc-recurse not asked for", seat, flagged(0x1ff).string("md5").int(1)).arg("--no-inc-recursive"),
        ]);
    }
    for seat in [Seat::ServerReceives, Seat::ServerSends] {
        talks.extend([
            Talk::new("no common algorithm", seat, hello().string("md9 xxh7")),
            Talk::new("no algorithm", seat, hello().string("")),
            Talk::new("algorithms too long", seat, hello().raw(&[0xff; 400])),
        ]);
    }
    check(&talks, true);
}

#[test]
fn frames_that_are_none() {
    let (mut talks, mut ours_alone) = (Vec::new(), Vec::new());
    for seat in ALL {
        let said = |bytes: Bytes| seat.greeting(false).raw(&bytes.0);
        let talk = |name: String, bytes: Bytes| Talk::new(name, seat, said(bytes));
        for tag in [0, 1, 6, 15, 18, 30, 41, 50, 94, 110, 200, 255] {
            talks.push(talk(format!("unknown tag {tag}"), Bytes::new().message(tag, b"payload")));
        }
        for code in [1, 2, 3, 4, 5, 6, 8, 9, 10, 22, 33, 42, 86, 100, 101, 102] {
            for payload in [&b""[..], b"\x01\0", b"\x01\0\0\0", b"12345678", b"text\n"] {
                let name = format!("message {code} with {payload:?}");
                // messages that are not for this side are refused, where the reference goes on
                let list = if (100..=102).contains(&code) { &mut ours_alone } else { &mut talks };
                list.push(talk(name, Bytes::new().message(DATA + code, payload)));
            }
            talks.push(talk(format!("message {code}, too long"), Bytes::new().head(DATA + code, 0xff_ffff).raw(b"x")));
        }
        talks.push(talk("data frame too long".into(), Bytes::new().head(DATA, 0xff_ffff).raw(b"x")));
        talks.push(talk("10,000 empty data frames".into(), Bytes::new().raw(&[0, 0, 0, DATA].repeat(10_000))));
        talks.push(talk("10,000 keep-alives".into(), Bytes::new().raw(&[0, 0, 0, DATA + 42].repeat(10_000))));
    }
    check(&talks, true);
    check(&ours_alone, false);
}

/// A peer that stops talking is given up with status 30, wherever it stops.
#[test]
fn silence_has_an_end() {
    let mut talks = Vec::new();
    for seat in ALL {
        let greeting = seat.greeting(false);
        for (name, bytes) in [
            ("silent from the start", Bytes::new()),
            ("silent after the version", Bytes::new().int(32)),
            ("silent after the greeting", greeting.clone()),
            ("silent in a frame", greeting.raw(&[200, 0, 0, DATA, 1])),
        ] {
            let mut talk = Talk::new(name, seat, bytes).arg("--timeout=1");
            talk.after = After::Silent;
            talks.push(talk);
        }
    }
    check(&talks, true);
}
