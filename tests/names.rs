//! Names in other character sets, names and arguments that go over the wire, and small options of the connection; compared
//! with the reference.

mod harness;

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, os::unix::fs::symlink, path::Path};

use harness::{
    Case, LOCAL, Way, check_all, everywhere, in_each_place, locally,
    programs::{AGAINST_OLD, AGAINST_REFERENCE, ALONE, ONE_END},
    zoo,
};

fn name(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Texts of which each stands in both character sets.
const WORDS: [&str; 7] = ["café", "übel", "ñu", "plain", "zÿ", "Ärger", "ölig"];

fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

fn utf8(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// Files, directories, links and hard links with these names; `z` sorts differently before and after.
fn words(top: &Path, of: fn(&str) -> Vec<u8>) {
    for (at, word) in WORDS.into_iter().enumerate() {
        zoo::file(&top.join(name(&of(word))), &zoo::noise(100 + at, at as u64));
        let dir = top.join(name(&of(&format!("dir {word}"))));
        fs::create_dir_all(dir.join(name(&of("tief ß")))).unwrap();
        zoo::file(&dir.join(name(&of("ein ö"))), b"one");
        zoo::file(&dir.join(name(&of("tief ß/zwei €".replace('€', "¤").as_str()))), b"two");
        symlink(name(&of(word)), dir.join(name(&of("lïnk")))).unwrap();
        zoo::set_time(&dir.join(name(&of("lïnk"))), 1_400_000_000, 0);
    }
    fs::hard_link(top.join(name(&of("café"))), top.join(name(&of("dir ñu/zweiter é")))).unwrap();
    fs::hard_link(top.join(name(&of("café"))), top.join(name(&of("dir café/erster é")))).unwrap();
    fs::hard_link(top.join(name(&of("zÿ"))), top.join(name(&of("a ÿ")))).unwrap();
    zoo::settle_dirs(top);
}

fn latin_words(top: &Path) {
    words(top, latin);
}

fn utf8_words(top: &Path) {
    words(top, utf8);
}

/// What is older, other, or too much.
fn older(top: &Path, of: fn(&str) -> Vec<u8>) {
    fs::create_dir_all(top.join(name(&of("dir übel/weg")))).unwrap();
    fs::create_dir_all(top.join(name(&of("wég/tief")))).unwrap();
    zoo::file(&top.join(name(&of("café"))), b"older");
    zoo::file(&top.join(name(&of("dir übel/ein ö"))), b"one");
    zoo::file(&top.join(name(&of("dir übel/zu viel é"))), b"extra");
    zoo::file(&top.join(name(&of("wég/tief/é"))), b"extra");
    zoo::settle_dirs(top);
}

fn older_utf8(top: &Path, _: &Path) {
    older(top, utf8);
}

fn older_latin(top: &Path, _: &Path) {
    older(top, latin);
}

/// Names that are no UTF-8, or no ASCII, among others.
fn broken(top: &Path) {
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    for bytes in [&b"good"[..], b"caf\xe9", b"caf\xc3\xa9", b"cut\xc3", b"sub/ok", b"sub/\xff", b"sub/deep/too"] {
        zoo::file(&top.join(name(bytes)), b"x");
    }
    for (at, target) in [(&b"sub/to"[..], &b"deep"[..]), (b"sub/to bad", b"\xff"), (b"sub/to e", b"\xc3\xa9")] {
        symlink(name(target), top.join(name(at))).unwrap();
        zoo::set_time(&top.join(name(at)), 1_400_000_000, 0);
    }
    zoo::settle_dirs(top);
}

/// As `broken`, with a directory.
fn broken_dir(top: &Path) {
    broken(top);
    fs::create_dir_all(top.join(name(b"d\xc3\xbc/in"))).unwrap();
    zoo::file(&top.join(name(b"d\xc3\xbc/in/file")), b"x");
    zoo::settle_dirs(top);
}

/// What a deletion would take.
fn extra(top: &Path, _: &Path) {
    fs::create_dir_all(top.join("sub/extra")).unwrap();
    for bytes in [&b"extra"[..], b"caf\xc3\xa9", b"sub/extra/x", b"sub/ok"] {
        zoo::file(&top.join(name(bytes)), b"y");
    }
    zoo::settle_dirs(top);
}

fn from_latin(name: &'static str, args: &str) -> Case {
    Case::new(name, args).arg("--iconv=iso-8859-1,utf-8").tree(latin_words).before(older_utf8)
}

fn from_utf8(name: &'static str, args: &str) -> Case {
    Case::new(name, args).arg("--iconv=utf-8,iso-8859-1").tree(utf8_words).before(older_latin)
}

// The set before the comma is the client's: what is pushed begins with it, and what is pulled ends with it.
const THERE: &[Way] = &[Way::Local, Way::PipePush];
const BACK: &[Way] = &[Way::PipePull];

fn both_ways(cases: impl Fn(fn(&'static str, &str) -> Case) -> Vec<Case>) {
    check_all(&cases(from_latin), &[(THERE, &AGAINST_REFERENCE)]);
    check_all(&cases(from_utf8), &[(LOCAL, &ALONE), (BACK, &AGAINST_REFERENCE)]);
}

#[test]
fn names_change_their_characters() {
    both_ways(|row| {
        vec![
            row("all", "-ai"),
            row("all, told", "-avv").unordered(),
            row("hard links", "-aiH"),
            row("whole list", "-aiH --no-inc-recursive"),
        ]
    });
    check_all(&[from_utf8("to latin", "-aiH")], &[(&[Way::PipePush], &AGAINST_REFERENCE)]);
    check_all(&[from_latin("from latin", "-aiH").tree(utf8_words)], &[(BACK, &AGAINST_REFERENCE)]);
}

#[test]
fn with_each_protocol() {
    for protocol in ["31", "30", "29", "28", "27"] {
        both_ways(|row| {
            let case = row("protocol", "-aiH --delete").arg(&format!("--protocol={protocol}"));
            // Before 29 two of the reference's processes tell of entries.
            vec![if protocol < "29" { case.unordered() } else { case }]
        });
    }
}

#[test]
fn deletions_are_told_as_the_reference_tells_them() {
    both_ways(|row| {
        vec![
            row("delete", "-ai --delete"),
            row("delete after", "-ai --delete-after --no-i-r"),
            row("delete, a dry run", "-ain --delete-before"),
            row("backups", "-aib --delete --backup-dir=bäck").unordered(),
        ]
    });
}

#[test]
fn what_comes_with_names() {
    both_ways(|row| {
        vec![
            row("progress", "-ai --progress --no-i-r").unordered(),
            row("checked", "-aic --stats --out-format=%o:%n:%L"),
            row("similar", "-aiy --no-whole-file").unordered(),
            row("relative", "-aiR").from(&["src/./", "src/plain"]).unordered(),
            row("pruned", "-aim --exclude=ein*").unordered(),
            row("listed", "-a --list-only").to(""),
            row("delayed", "-ai --delay-updates").unordered(),
            row("in place", "-ai --inplace --no-whole-file").unordered(),
            row("traced", "-a --debug=iconv2").unordered(),
        ]
    });
}

#[test]
fn names_that_cannot_be_converted() {
    let row = |name, args: &str| Case::new(name, args).tree(broken).before(extra).mingled();
    in_each_place(&[
        row("no UTF-8", "-ai --iconv=utf-8,utf-8"),
        row("no UTF-8, deleting", "-ai --iconv=utf-8 --delete").unordered(),
        row("no UTF-8, deleting all the same", "-ai --iconv=utf-8 --delete --ignore-errors").unordered(),
    ]);
    everywhere(&[
        row("no ASCII", "-rtgoi --iconv=utf-8,ascii --no-i-r").unordered(),
        row("no ASCII here", "-rtgoi --iconv=ascii,utf-8 --no-i-r").unordered(),
        row("no ASCII and links", "-ai --iconv=utf-8,ascii --no-i-r --delete").unordered(),
        row("no ASCII and links here", "-ai --iconv=ascii,utf-8 --no-i-r --delete").unordered(),
        row("no ASCII below a directory", "-ai --iconv=utf-8,ascii --no-i-r --delete").tree(broken_dir).unordered(),
        row("a directory that is none", "-ai --iconv=utf-8,ascii").tree(broken_dir).unordered(),
        row("trusted", "-ai --iconv=ascii,utf-8 --trust-sender --no-i-r").unordered(),
        row("old", "-ai --iconv=utf-8,ascii --protocol=29").unordered(),
        row("old here", "-ai --iconv=ascii,utf-8 --protocol=29").unordered(),
        row("a step back", "-ai --iconv=utf-8,ascii --protocol=30").unordered(),
    ]);
}

/// Names whose characters take one, two and three bytes, and texts that mean something in a set with states.
fn wide(top: &Path) {
    for word in ["日本", "日本 a", "a日b", "カナ", "€uro", "½", "a&b", "+AC0-x"] {
        zoo::file(&top.join(word), word.as_bytes());
    }
    symlink("日本", top.join("link")).unwrap();
    zoo::set_time(&top.join("link"), 1_400_000_000, 0);
    zoo::settle_dirs(top);
}

/// Sets with states, that are left where a name ends, and such of which a character takes more bytes, or fewer.
#[test]
fn sets_with_states() {
    let mut cases = Vec::new();
    for (sets, back) in [
        ("utf-8,iso-2022-jp", "iso-2022-jp,utf-8"),
        ("utf-8,utf-7", "utf-7,utf-8"),
        ("utf-8,euc-jp", "euc-jp,utf-8"),
        ("utf-8,utf-16be", "utf-16be,utf-8"),
        ("utf-8,gb18030", "gb18030,utf-8"),
        ("utf-8,ascii//IGNORE", "ascii//IGNORE,utf-8"),
    ] {
        for sets in [sets, back] {
            let row = Case::new("wide", "-rlti --no-i-r --trust-sender").arg(&format!("--iconv={sets}"));
            cases.push(row.tree(wide).unordered());
        }
    }
    check_all(&cases, &[(LOCAL, &ALONE), (&[Way::PipePush, Way::PipePull], &AGAINST_REFERENCE)]);
}

// What goes over the wire beside the list: arguments and names of `--files-from`, with `-s`.

const PUSH: &[Way] = &[Way::PipePush];

#[test]
fn arguments_and_names_change_their_characters_too() {
    let push = |name, args: &str| from_utf8(name, args).to("dst/neu ü/").arg("-s");
    check_all(
        &[
            push("a destination", "-ai"),
            push("without", "-ai").arg("--no-secluded-args").arg("--old-args"),
            push("a directory of both", "-ai --backup-dir=bäck -b").to("dst/"),
            push("by the environment", "-ai").arg("--no-s").env("RSYNC_PROTECT_ARGS", "1"),
            push("what no latin has", "-ai").to("dst/€/"),
            push("a server's own list", "-ai --files-from=far:liste-ü --no-i-r")
                .to("dst/")
                .with_file("liste-ü", "nicht ü\n".as_bytes())
                .unordered(),
            push("a list", "-ai --files-from=liste").to("dst/").with_file("liste", "café\ndir übel/ein ö\n".as_bytes()),
        ],
        &[(PUSH, &AGAINST_REFERENCE)],
    );
    let pull = |name, args: &str| from_latin_there(name, args);
    check_all(
        &[
            pull("sources", "-ai").from(&["src/dir übel", "src/caf*"]),
            pull("sources, relative", "-aiR").from(&["src/./dir übel/tief ß", "src/./café"]),
            pull("a list", "-ai --files-from=liste").from(&["src/"]).with_file("liste", "café\ndir übel\n".as_bytes()),
            pull("a list that ends in a name", "-ai --files-from=liste")
                .from(&["src/"])
                .with_file("liste", "\n\ncafé\r\n#ü\ndir übel/ein ö".as_bytes()),
            pull("a list with what there is not", "-ai --from0 --files-from=liste")
                .from(&["src/"])
                .with_file("liste", "café\0€\0\0ü\0zÿ\0".as_bytes()),
            pull("an old list", "-ai --protocol=29 --files-from=liste")
                .from(&["src/"])
                .with_file("liste", "café\ndir übel\n".as_bytes()),
            pull("rules", "-ai --exclude=*ü*/ --include=café --exclude=caf*").from(&["src/"]),
            pull("rules and deletion", "-ai --delete --exclude=*viel*").from(&["src/"]),
        ],
        &[(BACK, &AGAINST_REFERENCE)],
    );
}

/// A pull from a server whose names are Latin-1.
fn from_latin_there(name: &'static str, args: &str) -> Case {
    Case::new(name, args).arg("-s").arg("--iconv=utf-8,iso-8859-1").tree(latin_words).before(older_utf8)
}

#[test]
fn which_set_is_meant() {
    let row = |name, args: &str| Case::new(name, args).tree(latin_words).before(older_utf8);
    check_all(
        &[
            row("from the environment", "-ai").env("RSYNC_ICONV", "iso-8859-1,utf-8"),
            row("not from the environment", "-ai --no-iconv").env("RSYNC_ICONV", "iso-8859-1,utf-8"),
            row("a dash", "-ai --iconv=-").env("RSYNC_ICONV", "iso-8859-1,utf-8"),
            row("the last one", "-ai --iconv=- --iconv=koi8-r --iconv=iso-8859-1,utf-8"),
            row("a dot there", "-ai --iconv=iso-8859-1,."),
            row("nothing there", "-ai --iconv=iso-8859-1,"),
            row("the locale's", "-ai --iconv=.,iso-8859-1").tree(utf8_words).before(older_latin),
            row("the locale's, which has seven bits", "-ai --no-i-r --iconv=. --trust-sender")
                .env("LC_ALL", "C")
                .tree(broken)
                .unordered(),
            row("eight bits shown", "-ai8 --iconv=iso-8859-1,utf-8"),
            row("another locale", "-ai --iconv=iso-8859-1,utf-8").env("LC_ALL", "C"),
            row("two bytes a character", "-ai --iconv=iso-8859-1,utf-16le --no-i-r").unordered(),
        ],
        &[(THERE, &AGAINST_REFERENCE)],
    );
    check_all(
        &[
            row("unknown there", "-ai --iconv=utf-8,nope").unordered(),
            row("unknown with arguments over the wire", "-ais --iconv=utf-8,nope").unordered(),
        ],
        &[(PUSH, &ONE_END)],
    );
}

#[test]
fn long_names_grow() {
    fn long(top: &Path) {
        for len in [120, 127] {
            zoo::file(&top.join(name(&vec![0xe9; len])), b"x");
        }
        let mut dir = top.to_path_buf();
        for _ in 0..17 {
            dir.push(name(&[0xfc; 120]));
        }
        fs::create_dir_all(&dir).unwrap();
        zoo::file(&dir.join("leaf"), b"x");
        zoo::file(&dir.join(name(&[0xfc; 120])), b"x");
        zoo::settle_dirs(top);
    }
    let case = Case::new("long", "-ai --iconv=iso-8859-1,utf-8").tree(long);
    check_all(&[case.clone().unordered(), case.arg("--no-i-r").unordered()], &[(THERE, &AGAINST_REFERENCE)]);
}

// Small options of the connection and the far side.

fn small(name: &'static str) -> Case {
    Case::new(name, name).tree(zoo::plain).before(zoo::stale)
}

#[test]
fn small_options() {
    everywhere(&[
        small("-ai --drop-D").unordered(),
        small("-ai -M--drop-D").unordered(),
        small("-ai --remote-option=--drop-D").unordered(),
        small("-ai --trust-sender"),
        small("-ai --qsort"),
        small("-ai --no-whole-file --checksum-seed=-5 --fsync"),
        small("-aic --checksum-seed=1"),
        small("-ai --bwlimit=15.5m --outbuf=L"),
        small("-ai --bwlimit=0 --outbuf=none"),
        small("-ai --stop-after=9 --timeout=60"),
        small("-ai --time-limit=9 --timeout=0"),
    ]);
    locally(&[
        small("-ai --bwlimit=20m --outbuf=b"),
        small("-ai --bwlimit=1 --bwlimit=x"),
        small("-ai --outbuf=x"),
        small("-ai --stop-at=2000-01-01T00:00"),
        small("-ai --stop-at=12:61"),
        small("-ai --stop-after=0"),
        small("-ai --checksum-seed=x"),
        small("-ai --max-alloc=1"),
        small("-ai --insecure-links --confine-root=/"),
    ]);
}

/// Over links, hard links, pipes and devices, for a user who may not make them all, and at protocols of old.
#[test]
fn small_options_of_what_is_no_file() {
    let odd = |name| Case::new(name, name).unordered().mingled();
    everywhere(&[
        odd("-aHi --drop-D --protocol=29"),
        odd("-aHJi --protocol=29"),
        odd("-aHJi --protocol=30"),
        odd("-aHJOi --protocol=31 -M--drop-D"),
        odd("-aHi --trust-sender --protocol=29"),
        odd("-aHi --devices --no-specials --drop-D"),
        odd("-aHJi --no-super"),
        odd("-aHi --insecure-links --numeric-ids"),
    ]);
    let few = |name| Case::new(name, name).tree(zoo::plain).unordered().mingled().by_nobody();
    everywhere(&[
        few("-aHJi"),
        few("-aHi --drop-D"),
        few("-aHi --insecure-links"),
        few("-aHi --trust-sender --protocol=29"),
    ]);
}

#[test]
fn an_older_program_at_the_other_end() {
    let cases = [from_latin("latin", "-aiH --delete"), from_utf8("arguments", "-ai -s").to("dst/neu ü/")];
    check_all(&cases, &[(PUSH, &AGAINST_OLD)]);
    let case = from_latin_there("sources", "-ai").from(&["src/dir übel", "src/caf*"]);
    check_all(&[case], &[(BACK, &AGAINST_OLD)]);
}
