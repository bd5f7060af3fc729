//! A hostile sender in front of our receiver, as a client that pulls and as a server.

use crate::{
    bytes::{BASIS_FOLLOWS, Bytes, DATA, DIR, FILE, IS_NEW, LINK, NAME_FOLLOWS, Odd, PLAIN, TRANSFER},
    play::{RECEIVERS, Seat, Talk, check},
};

/// The same bytes behind the greeting to both receivers.
fn talks(cases: Vec<(&str, Bytes)>) -> Vec<Talk> {
    let talk = |(name, bytes): &(&str, Bytes), seat: Seat| {
        Talk::new(*name, seat, seat.greeting(false).raw(&bytes.clone().framed().0))
    };
    RECEIVERS.into_iter().flat_map(|seat| cases.iter().map(move |case| talk(case, seat))).collect()
}

/// With incremental recursion.
fn incremental(cases: Vec<(&str, Bytes)>) -> Vec<Talk> {
    let talk = |(name, bytes): &(&str, Bytes), seat: Seat| Talk {
        incremental: true,
        ..Talk::new(*name, seat, seat.greeting(true).raw(&bytes.clone().framed().0))
    };
    RECEIVERS.into_iter().flat_map(|seat| cases.iter().map(move |case| talk(case, seat))).collect()
}

fn list() -> Bytes {
    Bytes::new().dir(".")
}

#[test]
fn names_that_lead_out() {
    let names = [
        "..",
        "../x",
        "a/../../x",
        "/x",
        "/etc/x",
        "",
        "./",
        "a//b",
        "sub/../x",
        "sub/./x",
        "x/",
        "../",
        "a/..",
        "./..",
        "...",
        "..a",
        "sub/...",
        "x\0y",
        "\0",
        "/",
        "/.",
        "./.",
    ];
    let mut cases = Vec::new();
    for name in names {
        cases.push((name, list().file(name).end_of_list()));
        cases.push((name, list().dir(name).end_of_list()));
    }
    cases.push(("link to nowhere", list().link("x", "").end_of_list()));
    cases.push(("link out of the tree", list().link("x", "../../outside").end_of_list()));
    check(&talks(cases), true);
    // refused with a word more or less than the reference
    let more = ["//x", "a/."].map(|name| (name, list().dir(name).end_of_list()));
    check(&talks(more.to_vec()), false);
}

#[test]
fn names_that_were_not_asked_for() {
    let mut all = talks(vec![
        ("another file", Bytes::new().file("b").end_of_list()),
        ("a file below", Bytes::new().dir("a").file("a/x").end_of_list()),
        ("the top", Bytes::new().dir(".").end_of_list()),
        ("the top, as a file", Bytes::new().file(".").end_of_list()),
        ("a hidden file", Bytes::new().file("a").file(".ssh").end_of_list()),
    ]);
    all.retain(|talk| talk.seat == Seat::Pull);
    for talk in &mut all {
        talk.source = "src/a";
    }
    let mut flat = all.clone();
    for talk in &mut flat {
        talk.letters = "lt";
    }
    all.extend(flat);
    check(&all, true);
}

#[test]
fn lengths_beyond_belief() {
    let odd = |name: &str, odd: Odd| list().entry(name, FILE, odd).end_of_list();
    let mut cases = Vec::new();
    for len in [0, 4095, 4096, 5000, 1 << 20, i32::MAX, -1, i32::MIN] {
        cases.push(("name length", odd("x", Odd { name_len: Some(len), ..PLAIN })));
        cases.push(("target length", list().entry("x", LINK, Odd { target_len: Some(len), ..PLAIN }).end_of_list()));
        cases.push(("modtime_nsec", odd("x", Odd { nsec: Some(len), ..PLAIN })));
    }
    for common in [1, 2, 200, 255] {
        cases.push(("shared bytes of a name", odd("x", Odd { common: Some(common), ..PLAIN })));
    }
    for size in [-1, i64::MIN, i64::MAX] {
        cases.push(("size", odd("x", Odd { size, ..PLAIN })));
        cases.push(("size of a dir", list().entry("x", DIR, Odd { size, ..PLAIN }).end_of_list()));
        cases.push(("size of a link", list().entry("x", LINK, Odd { size, ..PLAIN }).end_of_list()));
    }
    let long = "n".repeat(4000);
    cases.push(("a long name", list().file(&long).end_of_list()));
    let deep = ["d/"; 2000].concat();
    cases.push(("a deep name", list().file(&format!("{deep}x")).end_of_list()));
    check(&talks(cases), true);
}

/// Names that are harmless on the wire, and lead out of the destination in the receiver's set.
#[test]
fn names_that_lead_out_when_converted() {
    let cases = [
        (
            "--iconv=ascii//TRANSLIT",
            ["\u{ff0e}\u{ff0e}", "\u{2025}", "\u{2025}\u{2215}x", "\u{ff0f}tmp\u{ff0f}x", "d\u{2215}\u{2025}\u{2215}x"],
        ),
        // U+2E2E is two dots, U+2F2E is a dot and a slash, U+742F a slash and a letter
        ("--iconv=utf-16le", ["\u{2e2e}", "\u{2e2e}\u{742f}", "\u{742f}", "\u{2f2e}", "\u{2f61}\u{2e2e}"]),
        ("--iconv=utf-16be", ["\u{2e2e}", "\u{2e2e}\u{2f74}", "\u{2f74}", "\u{2e2f}", "\u{612f}\u{2e2e}"]),
        ("--iconv=utf-16le", ["\u{100}", "\u{2e}", "\u{2e}\u{2e}", "\u{2f}", "\u{1}\u{2f}"]),
    ];
    let mut all = Vec::new();
    for (arg, names) in cases {
        for name in names {
            let said = [
                ("a file", list().file(name).end_of_list()),
                ("a directory", list().dir(name).end_of_list()),
                ("a link", list().link(name, "x").end_of_list()),
                ("a link and what is below", list().link(name, "../outside").file(&format!("{name}/x")).end_of_list()),
                ("where a link leads", list().link("l", name).file("l/x").end_of_list()),
            ];
            all.extend(talks(said.to_vec()).into_iter().map(|talk| talk.arg(arg)));
        }
    }
    check(&all, false);
    let trusting: Vec<_> = all.into_iter().filter(|talk| talk.seat == Seat::Pull).collect();
    check(&trusting.into_iter().map(|talk| talk.arg("--trust-sender")).collect::<Vec<_>>(), true);
}

#[test]
fn entries_that_are_none() {
    let mut cases = Vec::new();
    for mode in [0, 0o170_644, 0o030_644, 0o050_644, 0o110_644, 0xffff_ffff, 0x8000_0000 | FILE, 0o7_100_644] {
        cases.push(("mode", list().entry("x", mode, PLAIN).end_of_list()));
    }
    cases.push(("device not asked for", list().entry("x", 0o020_644, PLAIN).end_of_list()));
    cases.push(("fifo not asked for", list().entry("x", 0o010_644, PLAIN).end_of_list()));
    cases.push(("top as a file", Bytes::new().file(".").end_of_list()));
    cases.push(("top as a link", Bytes::new().link(".", "../outside").end_of_list()));
    cases.push(("error word", list().varint(0).varint(-1)));
    cases.push(("no list", Bytes::new().end_of_list()));
    cases.push(("flags", list().varint(-1).raw(&[0xff; 100])));
    check(&talks(cases), true);
}

#[test]
fn entries_below_links_and_files() {
    let ask =
        |bytes: Bytes, index| bytes.item(index, TRANSFER).sums(0, 0, 0, 0).int(4).raw(b"evil").int(0).raw(&[0; 16]);
    let below = |bytes: Bytes| ask(bytes.end_of_list(), 2);
    check(
        &talks(vec![
            ("below a link of the list", below(list().link("l", "../outside").file("l/x"))),
            ("below a link and dir of the list", below(list().link("l", "../outside").dir("l").file("l/x"))),
            ("below a dir and link of the list", below(list().dir("l").link("l", "../outside").file("l/x"))),
            ("below a link at the destination", below(list().file("away/x").file("b"))),
            ("below a link at the destination, as dir", below(list().dir("away").file("away/x"))),
            ("below a file of the list", below(list().file("f").file("f/x"))),
            ("dir below a link of the list", list().link("l", "../outside").dir("l/x").end_of_list()),
            ("link below a link of the list", list().link("l", "../outside").link("l/x", "y").end_of_list()),
            ("the same dir twice", list().dir("d").dir("d").end_of_list()),
            ("the same file twice", list().file("f").file("f").end_of_list()),
            ("the top twice", list().dir(".").end_of_list()),
        ]),
        true,
    );
}

#[test]
fn indexes_out_of_range() {
    let two = || list().file("b").file("c").end_of_list();
    let mut cases = Vec::new();
    for index in [3, 4, 1000, i32::MAX, -2, -3, -4, -5, -100, -101, -102, -103, i32::MIN + 1] {
        cases.push(("item", two().item(index, TRANSFER | IS_NEW)));
        cases.push(("note", two().item(index, IS_NEW)));
        cases.push(("note without flags", two().item(index, 0)));
    }
    cases.push(("a dir's data", two().item(0, TRANSFER)));
    cases.push(("a link's data", list().link("l", "x").end_of_list().item(1, TRANSFER)));
    let done = |times: usize| two().raw(&vec![0; times]);
    cases.push(("data in the last phase", done(2).item(1, TRANSFER)));
    cases.push(("long name of another basis", two().item(1, TRANSFER | NAME_FOLLOWS).raw(&[0xff; 40])));
    cases.push(("unknown basis", two().item(1, TRANSFER | BASIS_FOLLOWS).byte(0x55)));
    cases.push(("basis dir that is none", two().item(1, TRANSFER | BASIS_FOLLOWS).byte(3)));
    check(&talks(cases), true);
    // the reference says only that the connection was closed
    let late = vec![("data after the end", done(3).item(1, TRANSFER)), ("too many phases", done(40))];
    check(&talks(late), false);
}

#[test]
fn a_file_that_was_not_asked_for() {
    // `a` at the destination has the size and time that are listed: it is not asked for
    let odd = Odd { size: 2100, ..PLAIN };
    let up_to_date = list().entry("a", FILE, odd).end_of_list();
    let data = |bytes: Bytes| bytes.sums(0, 0, 0, 0).int(4).raw(b"evil").int(0).raw(&[0; 16]);
    check(
        &talks(vec![
            ("sent all the same", data(up_to_date.clone().item(1, TRANSFER))),
            ("sent twice", data(data(list().file("b").end_of_list().item(1, TRANSFER)).item(1, TRANSFER))),
        ]),
        true,
    );
}

/// A file whose content is said to be that of another one.
fn named(basis: u8, name: Option<&str>) -> Bytes {
    let flags = TRANSFER | BASIS_FOLLOWS | if name.is_some() { NAME_FOLLOWS } else { 0 };
    let asked = list().file("b").end_of_list().item(1, flags).byte(basis);
    let asked = name.into_iter().fold(asked, |asked, name| asked.string(name));
    asked.sums(1, 5, 2, 0).int(-1).int(0).raw(&[0; 16])
}

#[test]
fn a_basis_of_another_name() {
    let with = |args: &[&'static str], cases: Vec<(&str, Bytes)>| -> Vec<Talk> {
        args.iter().fold(talks(cases), |talks, arg| talks.into_iter().map(|talk| talk.arg(arg)).collect())
    };
    let beside = ["--link-dest=../outside"];
    let names = ["../kept", "../../../../../../etc/passwd", "/etc/passwd", "kept"];
    let elsewhere: Vec<_> = names.iter().map(|name| (*name, named(0x84, Some(name)))).collect();
    let here = |name| named(0x83, Some(name));
    check(&with(&beside, elsewhere), true);
    check(&with(&beside, vec![("not the first directory", named(0x85, Some("kept"))), ("here", here("a"))]), true);
    check(&with(&["-y"], vec![("led out", here("../outside/kept")), ("over a link", here("away"))]), true);
    check(&with(&beside, vec![("another directory", named(1, None)), ("over a link", named(0, None))]), true);
    check(
        &with(&["-y"], vec![("no name", here("")), ("the directory", here("..")), ("at once", named(0x83, None))]),
        false,
    );
}

#[test]
fn sums_and_tokens_beyond_belief() {
    let one = || list().entry("a", FILE, PLAIN).end_of_list().item(1, TRANSFER);
    let mut cases = Vec::new();
    for count in [-1, i32::MIN, i32::MAX] {
        cases.push(("sum count", one().sums(count, 700, 2, 0)));
    }
    for len in [-1, 0, (1 << 17) + 1, i32::MAX, i32::MIN] {
        cases.push(("block length", one().sums(3, len, 2, 0)));
    }
    for len in [-1, 17, 64, 255, 256, i32::MAX] {
        cases.push(("sum length", one().sums(3, 700, len, 0)));
    }
    for remainder in [-1, 701, i32::MAX] {
        cases.push(("remainder", one().sums(3, 700, 2, remainder)));
    }
    for block in [4, 1000, i32::MAX, i32::MIN] {
        cases.push(("block", one().sums(3, 700, 2, 0).int(0_i32.wrapping_sub(block))));
    }
    cases.push(("block of an empty basis", one().sums(0, 0, 0, 0).int(-1)));
    cases.push(("block behind the basis's end", one().sums(1000, 700, 2, 0).int(-900).int(0).raw(&[0; 16])));
    let no_basis = || list().file("b").end_of_list().item(1, TRANSFER);
    cases.push(("block without a basis", no_basis().sums(3, 700, 2, 0).int(-1).int(0).raw(&[0; 16])));
    for len in [32 * 1024 + 1, 1 << 20, i32::MAX] {
        cases.push(("literal length", one().sums(3, 700, 2, 0).int(len).raw(&[b'x'; 5000])));
    }
    let flood = Bytes::new().int(-1).0.repeat(20_000);
    cases.push(("flood of blocks", one().sums(3, 700, 2, 0).raw(&flood)));
    let flood = Bytes::new().int(1).byte(b'x').0.repeat(20_000);
    cases.push(("flood of literals", one().sums(3, 700, 2, 0).raw(&flood)));
    cases.push(("wrong sum", one().sums(0, 0, 0, 0).int(4).raw(b"evil").int(0).raw(&[1; 16])));
    check(&talks(cases), true);
}

#[test]
fn segments_out_of_order() {
    let top = || list().dir("d").file("f").end_of_list();
    let dir = |bytes: Bytes, dir: i32| bytes.index(-101 - dir);
    let good = || dir(top(), 1).file("d/x").end_of_list();
    let mut cases = Vec::new();
    for number in [2, 3, 100, 1 << 30, -1] {
        cases.push(("a dir that is unknown", dir(top(), number).file("d/x").end_of_list()));
    }
    cases.push(("a dir twice", dir(good(), 1).file("d/y").end_of_list()));
    cases.push(("the top twice", dir(top(), 0).file("g").end_of_list()));
    cases.push(("an entry of another dir", dir(top(), 1).file("e/x").end_of_list()));
    cases.push(("an entry of no dir", dir(top(), 1).file("x").end_of_list()));
    cases.push(("an entry further below", dir(top(), 1).file("d/e/x").end_of_list()));
    cases.push(("the dir itself", dir(top(), 1).dir("d").end_of_list()));
    cases.push(("lists after their end", dir(top().index(-2), 1).file("d/x").end_of_list()));
    cases.push(("the end twice", top().index(-2).index(-2)));
    cases.push(("a double dir's contents", {
        let doubled = list().dir("d").dir("d").end_of_list();
        dir(doubled, 2).file("d/x").end_of_list()
    }));
    cases.push(("a dir that is a file too", {
        let doubled = list().file("d").dir("d").end_of_list();
        dir(doubled, 1).file("d/x").end_of_list()
    }));
    cases.push(("an item of a list not there", good().item(9, TRANSFER)));
    cases.push(("a gap's item", good().item(4, IS_NEW)));
    cases.push(("index 0", good().item(0, IS_NEW)));
    check(&incremental(cases), true);
}

#[test]
fn messages_of_the_wrong_side() {
    let (mut all, mut ours_alone) = (Vec::new(), Vec::new());
    for seat in RECEIVERS {
        let start = || seat.greeting(false).raw(&list().file("b").end_of_list().framed().0);
        for index in [-1, 0, 1, 2, 1000, i32::MAX, i32::MIN] {
            let payload = index.to_le_bytes();
            for (name, tag) in [("no-send", 102), ("success", 100), ("redo", 9)] {
                let strict = tag != 102 || index == -1; // refused, where the reference goes on or says nothing
                let list = if strict { &mut ours_alone } else { &mut all };
                list.push(Talk::new(format!("{name} of {index}"), seat, start().message(DATA + tag, &payload)));
            }
        }
        ours_alone.push(Talk::new("deleted nothing", seat, start().message(DATA + 101, b"")));
        ours_alone.push(Talk::new("deleted above", seat, start().message(DATA + 101, b"../../x\0")));
        all.push(Talk::new("error status", seat, start().message(DATA + 86, &23_i32.to_le_bytes())));
        ours_alone.push(Talk::new("error status of 256", seat, start().message(DATA + 86, &256_i32.to_le_bytes())));
        ours_alone.push(Talk::new("error status of -1", seat, start().message(DATA + 86, &(-1_i32).to_le_bytes())));
        all.push(Talk::new("error status 0", seat, start().message(DATA + 86, &0_i32.to_le_bytes())));
    }
    check(&all, true);
    check(&ours_alone, false);
}

/// An entry that is said to be a further name of the one with index `first`, and nothing else.
fn further(list: Bytes, name: &str, first: i32) -> Bytes {
    const FURTHER: i32 = 1 << 2 | 1 << 9;
    list.varint(FURTHER).byte(name.len() as u8).raw(name.as_bytes()).varint(first)
}

#[test]
fn further_names_of_what_is_not_there() {
    const FIRST: Odd = Odd { flags: 1 << 9 | 1 << 12, ..PLAIN };
    let firsts = || list().entry("a", FILE, FIRST);
    let mut cases = Vec::new();
    for first in [-1, 2, 3, 1000, i32::MAX, i32::MIN] {
        cases.push(("first name out of range", further(firsts(), "b", first).end_of_list()));
    }
    cases.push(("further name of a directory", further(firsts(), "b", 0).end_of_list()));
    cases.push(("further name of a single file", further(list().file("a"), "b", 1).end_of_list()));
    cases.push(("further name that leads out", further(firsts(), "../b", 1).end_of_list()));
    cases.push(("the top as a further name", further(firsts(), ".", 1).end_of_list()));
    let mut all = talks(cases);
    for talk in &mut all {
        talk.letters = "Hrlt";
    }
    check(&all, true);
}

/// Nobody has a partial file or a backup to build on where no option asked for such.
#[test]
fn a_basis_that_no_option_made() {
    let cases = || {
        let made = [(0x81, "a partial file"), (0x82, "a backup")].into_iter();
        made.flat_map(|(basis, what)| [(what, named(basis, None)), (what, named(basis, Some("../outside/kept")))])
    };
    check(&talks(cases().collect()), false);
    for args in [&["--partial-dir=../outside"][..], &["--backup", "--backup-dir=../outside"], &["--backup"]] {
        let more = talks(cases().collect()).into_iter();
        let more = more.map(|talk| args.iter().fold(talk, |talk, arg| talk.arg(arg)));
        check(&more.collect::<Vec<_>>(), false);
    }
}

/// Access control lists behind an entry, of which the first four bytes are those of the top.
#[test]
fn access_lists_beyond_belief() {
    let listed = |acl: &[u8]| Bytes::new().dir(".").raw(&[0, 0, 0, 0]).file("x").raw(acl).end_of_list();
    let cases = [
        ("an honest list", &b"\0\x10\x01\x05\x1a"[..]),
        ("its own number", b"\x02"),
        ("a number far beyond", b"\xf0\xff\xff\xff\x7f"),
        ("a number below", b"\xf0\xff\xff\xff\xff"),
        ("permissions", b"\0\x01\x08"),
        ("a mask", b"\0\x04\xf0\xff\xff\xff\xff"),
        ("permissions of a name", b"\0\x10\x01\x05\x22"),
        ("too many names", b"\0\x10\xc1\x01\0"),
        ("fewer than no names", b"\0\x10\xf0\xff\xff\xff\xff"),
        ("the same name twice", b"\0\x10\x02\x05\x1a\x05\x1e"),
        ("flags that mean nothing", b"\0\xe0"),
        ("a mask and no names", b"\0\x04\x07"),
    ];
    let talks = talks(cases.map(|(name, acl)| (name, listed(acl))).to_vec());
    check(&talks.into_iter().map(|talk| talk.arg("-A")).collect::<Vec<_>>(), true);
}
