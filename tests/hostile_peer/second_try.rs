//! A sender that is honest at last: data whose sum is wrong at first, and frames without meaning in the midst of a file.

use crate::{
    bytes::{BASIS_FOLLOWS, Bytes, DATA, FILE, Odd, PLAIN, TRANSFER},
    harness::{
        Program,
        process::Status,
        tree::{Tree, What},
    },
    play::{Played, RECEIVERS, Seat, Talk, check, faults, play},
};

const GOOD: &[u8] = b"good";

/// MD5 of `GOOD`.
const GOOD_SUM: [u8; 16] =
    [0x75, 0x5f, 0x85, 0xc2, 0x72, 0x3b, 0xb3, 0x93, 0x81, 0xc7, 0x37, 0x9a, 0x60, 0x41, 0x60, 0xd8];
const WRONG_SUM: [u8; 16] = [7; 16];

/// MSG_NOOP, MSG_ERROR_EXIT.
const NOOP: u8 = DATA + 42;
const ERROR_EXIT: u8 = DATA + 86;

/// FNAMECMP_PARTIAL_DIR.
const PARTIAL_FILE: u8 = 0x81;

/// A list with `f`, which is 1, in it, behind the greeting.
fn listed(seat: Seat) -> Bytes {
    let odd = Odd { size: GOOD.len() as i64, ..PLAIN };
    let list = Bytes::new().dir(".").entry("f", FILE, odd).end_of_list();
    seat.greeting(false).raw(&list.framed().0)
}

/// The whole of `f` in one literal.
fn data(sum: [u8; 16]) -> Bytes {
    Bytes::new().item(1, TRANSFER).raw(&content(sum).0)
}

fn content(sum: [u8; 16]) -> Bytes {
    Bytes::new().sums(0, 0, 0, 0).int(GOOD.len() as i32).raw(GOOD).int(0).raw(&sum)
}

/// What is said behind the last file: the ends of the phases, what was counted, and goodbye.
fn ending(seat: Seat, phases: usize) -> Bytes {
    let ends = Bytes::new().raw(&vec![0; phases]);
    let counted = match seat {
        Seat::Pull => (0..5).fold(ends, |bytes, _| bytes.varlong(1000, 3)),
        _ => ends,
    };
    counted.done()
}

/// `f` sent once or twice, in the phases in which it is asked for.
fn session(seat: Seat, first: [u8; 16], second: Option<[u8; 16]>) -> Bytes {
    let sent = data(first).done();
    let sent = second.map_or(sent.clone(), |sum| sent.raw(&data(sum).0));
    listed(seat).raw(&sent.raw(&ending(seat, 2).0).framed().0)
}

/// What stands at the destination as `f`.
fn file(tree: &Tree) -> Option<&What> {
    tree.get(b"f").map(|node| &node.what)
}

fn is_good(what: Option<&What>) -> bool {
    what == Some(&What::File { size: GOOD.len() as u64, sum: xxhash_rust::xxh3::xxh3_64(GOOD) })
}

/// Plays to ours; what must hold of every session holds.
fn ours(talk: &Talk) -> Played {
    let played = play(talk, Program::Ours);
    assert_eq!(faults(talk, &played), Vec::<String>::new());
    played
}

fn told(played: &Played, text: &str) -> usize {
    played.said.iter().filter(|line| line.contains(text)).count()
}

/// What only a server is compared in: the reference's client waits for a remote shell that waits for it.
fn as_the_reference(talks: &[Talk]) {
    let servers: Vec<Talk> = talks.iter().filter(|talk| talk.seat == Seat::ServerReceives).cloned().collect();
    check(&servers, true);
}

#[test]
fn a_sum_that_is_right_the_second_time() {
    let mut talks = Vec::new();
    for seat in RECEIVERS {
        let bytes = session(seat, WRONG_SUM, Some(GOOD_SUM));
        for (args, warnings) in [(&[][..], 0), (&["-v"], 1)] {
            let mut talk = Talk::new("right at last", seat, bytes.clone());
            talk.args.extend(args);
            let played = ours(&talk);
            assert!(is_good(file(&played.tree)), "{seat:?}: {:?}", played.said);
            assert_eq!(played.status, Status::Exit(0), "{seat:?}: {:?}", played.said);
            let warning = "WARNING: f failed verification -- update discarded (will try again).";
            assert_eq!(told(&played, warning), warnings, "{seat:?}: {:?}", played.said);
            talks.push(talk);
        }
    }
    as_the_reference(&talks);
}

#[test]
fn a_sum_that_is_wrong_twice() {
    let mut talks = Vec::new();
    for seat in RECEIVERS {
        let bytes = session(seat, WRONG_SUM, Some(WRONG_SUM));
        for (args, kept) in [(&[][..], "discarded"), (&["--partial"], "discarded"), (&["--inplace"], "retained")] {
            let mut talk = Talk::new(format!("wrong twice {args:?}"), seat, bytes.clone());
            talk.args.extend(args);
            let played = ours(&talk);
            assert_eq!(played.status, Status::Exit(23), "{seat:?} {args:?}: {:?}", played.said);
            let error = format!("ERROR: f failed verification -- update {kept}.");
            assert_eq!(told(&played, &error), 1, "{seat:?} {args:?}: {:?}", played.said);
            match file(&played.tree) {
                None => assert!(args.is_empty(), "{seat:?} {args:?}: it was kept"),
                some => assert!(!args.is_empty() && is_good(some), "{seat:?} {args:?}: {some:?}"),
            }
            talks.push(talk);
        }
    }
    as_the_reference(&talks);
}

/// What fails its sum waits in the partial directory, and makes way for what is right.
#[test]
fn a_second_try_over_a_partial_file() {
    for seat in RECEIVERS {
        for (second, status) in [(GOOD_SUM, 0), (WRONG_SUM, 23)] {
            let again = Bytes::new().item(1, TRANSFER | BASIS_FOLLOWS).byte(PARTIAL_FILE).raw(&content(second).0);
            let sent = data(WRONG_SUM).done().raw(&again.raw(&ending(seat, 2).0).0);
            let bytes = listed(seat).raw(&sent.framed().0);
            let mut talk = Talk::new("with a partial directory", seat, bytes);
            talk.args.push("--partial-dir=.part");
            let played = ours(&talk);
            assert_eq!(played.status, Status::Exit(status), "{seat:?}: {:?}", played.said);
            let part = played.tree.get(b".part/f").map(|node| &node.what);
            if status == 0 {
                assert!(is_good(file(&played.tree)) && part.is_none(), "{seat:?}: {part:?}");
            } else {
                assert!(file(&played.tree).is_none() && is_good(part), "{seat:?}: {part:?}");
            }
            as_the_reference(&[talk]);
        }
    }
}

#[test]
fn frames_without_meaning_in_the_midst_of_a_file() {
    let mut talks = Vec::new();
    for seat in RECEIVERS {
        let mut bytes = listed(seat);
        for byte in data(GOOD_SUM).done().raw(&ending(seat, 2).0).0 {
            bytes = bytes.message(NOOP, &[]).message(DATA, &[]).message(DATA, &[byte]);
        }
        let talk = Talk::new("keep-alives and empty frames", seat, bytes);
        let played = ours(&talk);
        assert_eq!((played.status, &played.said[..]), (Status::Exit(0), &[][..]), "{seat:?}");
        assert!(is_good(file(&played.tree)), "{seat:?}");
        talks.push(talk);
    }
    as_the_reference(&talks);
}

#[test]
fn the_far_side_says_in_the_midst_of_a_file_how_it_ends() {
    for seat in RECEIVERS {
        let half = data(GOOD_SUM).0;
        let begun = listed(seat).raw(&Bytes::new().raw(&half[..half.len() - 18]).framed().0);
        let talks = [11, 20].map(|code: i32| {
            let bytes = begun.clone().message(ERROR_EXIT, &code.to_le_bytes());
            Talk::new(format!("ends with {code}"), seat, bytes)
        });
        for (talk, code) in talks.iter().zip([11, 20]) {
            let played = ours(talk);
            assert_eq!(played.status, Status::Exit(code), "{seat:?}: {:?}", played.said);
            assert_eq!(file(&played.tree), None, "{seat:?}");
        }
        check(&talks, true);
    }
}
