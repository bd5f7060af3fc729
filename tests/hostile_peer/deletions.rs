//! A hostile sender that wants more deleted than it was asked for: what goes lies in directories that were asked for, and
//! that it really listed.

use crate::{
    bytes::{Bytes, DIR, NO_CONTENT, Odd, PLAIN, TOP},
    harness::Program,
    play::{RECEIVERS, Seat, Talk, check, play},
};

const WHEN: [&str; 2] = ["--del", "--delete-before"];

fn flagged(bytes: Bytes, name: &str, flags: i32) -> Bytes {
    bytes.entry(name, DIR, Odd { flags, ..PLAIN })
}

fn talk(name: &str, seat: Seat, bytes: &Bytes, args: &[&'static str]) -> Talk {
    let talk = Talk::new(name, seat, seat.greeting(false).raw(&bytes.clone().framed().0));
    args.iter().fold(talk, |talk, arg| talk.arg(arg))
}

/// A pull of `deep/er` with its path, and what of `deep` the sender may say.
#[test]
fn implied_directories_keep_what_else_they_hold() {
    let er = |bytes: Bytes| flagged(bytes, "deep/er", TOP).file("deep/er/new").end_of_list();
    let cases = [
        ("an honest sender", er(flagged(Bytes::new(), "deep", TOP | NO_CONTENT))),
        ("said to be listed", er(flagged(Bytes::new(), "deep", 0))),
        ("said to be asked for", er(flagged(Bytes::new(), "deep", TOP))),
        ("said twice", er(flagged(flagged(Bytes::new(), "deep", TOP | NO_CONTENT), "deep", TOP))),
        ("the top said to be listed", er(flagged(flagged(Bytes::new(), ".", TOP), "deep", TOP | NO_CONTENT))),
        ("without the way", er(Bytes::new())),
        ("with a sibling", er(flagged(Bytes::new(), "deep", 0).file("deep/other"))),
    ];
    let mut all = Vec::new();
    for (name, bytes) in &cases {
        for when in WHEN {
            let talk = talk(name, Seat::Pull, bytes, &["-R", when]);
            all.push(Talk { source: "deep/er", ..talk });
        }
    }
    check(&all, true);
    for talk in &all {
        let played = play(talk, Program::Ours);
        for kept in ["deep/sibling", "a", "away"] {
            assert!(played.tree.get(kept.as_bytes()).is_some(), "{} {:?}: {kept} is gone", talk.name, talk.args);
        }
    }
}

/// Names that mean the top, lead out, or lie in no directory of the list.
#[test]
fn names_that_widen_the_scope() {
    let top = || Bytes::new().dir(".");
    let cases = [
        ("no directory", Bytes::new().file("deep/er/x").end_of_list()),
        ("no directory, but the top", top().file("deep/er/x").end_of_list()),
        ("below a file", top().file("deep").file("deep/x").end_of_list()),
        ("a directory twice", top().dir("deep").dir("deep").file("deep/x").end_of_list()),
        ("a directory and a file", top().dir("deep").file("deep").end_of_list()),
        ("dots", top().dir("deep/./er").end_of_list()),
        ("a dot in front", top().dir("./deep").end_of_list()),
        ("above", top().dir("deep/..").end_of_list()),
        ("out of the tree", top().dir("../outside").end_of_list()),
        ("an absolute one", top().dir("/etc").end_of_list()),
        ("the top as a file", Bytes::new().file(".").end_of_list()),
        ("a link that leads out, as a directory", top().dir("away").end_of_list()),
        ("a link that leads out, listed as one", top().link("away", "../outside").dir("away").end_of_list()),
        ("an error while reading", top().varint(0).varint(1)),
        ("an empty list", Bytes::new().end_of_list()),
    ];
    let mut all = Vec::new();
    for (name, bytes) in &cases {
        all.push(talk(name, Seat::ServerReceives, bytes, &["--del"]));
        all.push(talk(name, Seat::Pull, bytes, &["--delete-before"]));
        all.push(talk(name, Seat::Pull, bytes, &["--delete-delay", "-K"]));
    }
    check(&all, true);
    // refused, where the reference loses its way
    let dot = top().dir("deep/.").end_of_list();
    check(&RECEIVERS.map(|seat| talk("a dot behind", seat, &dot, &["--del"])), false);
}

/// A file was asked for, not the directory it lies in.
#[test]
fn a_file_is_no_reason_to_delete_beside_it() {
    let cases = [
        ("the top", Bytes::new().dir(".").file("a").end_of_list()),
        ("the top, as asked for", flagged(Bytes::new(), ".", TOP).file("a").end_of_list()),
        ("another directory", flagged(Bytes::new(), "deep", TOP).file("a").end_of_list()),
        ("a directory of its name", flagged(Bytes::new(), "a", TOP).end_of_list()),
    ];
    let mut all = Vec::new();
    for (name, bytes) in &cases {
        for when in WHEN {
            all.push(Talk { source: "src/a", ..talk(name, Seat::Pull, bytes, &[when]) });
        }
    }
    check(&all, true);
    for talk in &all {
        let played = play(talk, Program::Ours);
        assert!(played.tree.get(b"deep/er/extra").is_some(), "{} {:?}: something is gone", talk.name, talk.args);
    }
}

/// A directory of mode 0, and a name that was never an argument.
#[test]
fn missing_arguments_that_were_none() {
    let gone = |name: &str| Bytes::new().dir(".").entry(name, 0, PLAIN).end_of_list();
    let mut all = Vec::new();
    for name in ["deep", "deep/er/extra", "deep/no/x", ".", "away", "away/kept", "../outside/kept", "a"] {
        all.push(talk(name, Seat::ServerReceives, &gone(name), &["--delete-missing-args"]));
        all.push(talk(name, Seat::Pull, &gone(name), &["--delete-missing-args", "--force"]));
        all.push(Talk {
            source: "src/b",
            ..talk(name, Seat::Pull, &gone(name), &["--delete-missing-args", "--force"])
        });
    }
    check(&all, true);
}
