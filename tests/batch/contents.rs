//! What a batch holds besides plain data and plain entries: compressed data, attributes, names in another set.

use std::{fs, path::Path};

use crate::{
    Made, Site, check_rows_at,
    harness::{
        Program::{self, Old, Ours, Reference},
        Way,
        process::{self, Status},
        skip, zoo,
    },
    nothing, row, some, source,
};

/// Data that shrinks, and some that does not, longer than a chunk and a block.
fn wordy(top: &Path) {
    source(top);
    let text: String = (0..12_000u32).map(|n| format!("line {} of a text\n", n * 7919 % 10_007)).collect();
    zoo::file(&top.join("long"), text.as_bytes());
    zoo::file(
        &top.join("mixed"),
        &[&text.as_bytes()[..90_000], &zoo::noise(70_000, 9), &text.as_bytes()[..90_000]].concat(),
    );
    zoo::settle_dirs(top);
}

fn parts(top: &Path, from: &Path) {
    some(top, from);
    for (name, number) in [("long", 3), ("mixed", 4)] {
        let data = fs::read(from.join(name)).expect("source file");
        let (front, back) = data.split_at(data.len() / 2);
        zoo::file(
            &top.join(name),
            &[&back[5_000..], &zoo::noise(2_000, number), &front[..front.len() * 2 / 3]].concat(),
        );
    }
    zoo::settle_dirs(top);
}

#[test]
fn compressed_data() {
    let z = |args| row(args).over(parts).compressed();
    check_rows_at(
        Site::with(wordy),
        &[
            z("-aiz --no-i-r").everywhere(),
            z("-aiz"),
            z("-ai --zc=zlib --no-i-r"),
            z("-aiz --zl=1 -B3000 --no-i-r"),
            z("-aiz --zl=9 -B131072 --no-i-r"),
            z("-aiz --no-whole-file --protocol=31"),
            z("-aiz --no-whole-file --protocol=30 -B100000"),
            z("-aiz --no-whole-file --protocol=29"),
            z("-az --protocol=28"),
            // In a pull the reference loses its place in the stream: it does not look at the blocks that it passes over.
            z("-aiz --only-write-batch=B").by(&[Way::Local, Way::PipePush]),
            z("-aiz --inplace --no-i-r"),
            z("-aiz --append --no-i-r"),
            z("-aizH --no-i-r --delete"),
            // The flag of the file speaks where the reader does not.
            z("-aiz --no-i-r").reading("-ai"),
            row("-ai --no-i-r").reading("-aiz").over(parts),
        ],
    );
    // Within a machine the reference refuses these, since its own server would write no such file: see below.
    let far = |args| row(args).over(parts).compressed().by(&[Way::PipePush, Way::PipePull]);
    check_rows_at(
        Site::with(wordy),
        &[
            far("-ai --zc=zlibx --no-i-r"),
            far("-ai --zc=zstd --no-i-r"),
            far("-ai --zc=lz4 --no-i-r"),
            far("-ai --zc=none --no-i-r"),
            far("-aizz --no-i-r"),
            far("-ai --zc=zstd --only-write-batch=B"),
            far("-ai --zc=lz4 --only-write-batch=B"),
        ],
    );
}

/// A batch of any algorithm made within a machine is like one made across: only its reader must be told.
#[test]
fn algorithms_within_a_machine() {
    let site = Site::with(wordy);
    for choice in ["--zc=zlibx", "--zc=zstd", "--zc=lz4", "-zz"] {
        let args = |more: &str| crate::words(&format!("-a {choice} --no-whole-file {more}"));
        let made = site.run(Ours, &args("--write-batch=B src/ dst/"), parts, None);
        assert_eq!(made.outcome.status, Status::Exit(0), "{choice}");
        for program in [Ours, Reference] {
            let played = site.run(program, &args("--read-batch=B dst/"), parts, Some(&made.place.join("B")));
            assert_eq!(played.outcome.status, Status::Exit(0), "{choice} {program:?}");
            assert!(made.tree.differences(&played.tree, false).is_empty(), "{choice} {program:?}");
        }
        let untold = site.run(Ours, &crate::words("-a --read-batch=B dst/"), parts, Some(&made.place.join("B")));
        assert!(matches!(untold.outcome.status, Status::Exit(12 | 23)), "{choice}: {:?}", untold.outcome.status);
    }
}

fn rich(top: &Path) {
    source(top);
    zoo::attr(&top.join("big"), "user.short", b"value");
    zoo::attr(&top.join("sub/text"), "user.long", &zoo::noise(700, 4));
    zoo::attr(&top.join("sub"), "user.of.a.dir", b"");
    let acl = ["-m", "u:1234:rw,g:99:r", "sub/text", "sub/deep/file"];
    let set = process::run(top, Path::new("setfacl"), &acl, b"");
    assert_eq!(set.status, Status::Exit(0));
    zoo::settle_dirs(top);
}

#[test]
fn attributes() {
    check_rows_at(
        Site::with(rich),
        &[
            row("-aiX --no-i-r").everywhere(),
            row("-aiA --no-i-r").everywhere(),
            row("-aiAXH --delete --no-i-r"),
            row("-aiAX --protocol=30"),
            row("-aiAXz --only-write-batch=B --no-i-r").compressed(),
            row("-aiX --no-i-r").over(nothing),
            row("-aiAX --no-i-r").reading("-ai"),
            row("-ai --no-i-r").reading("-aiAX"),
        ],
    );
}

fn named(top: &Path) {
    source(top);
    zoo::file(&top.join("caf\u{e9}"), b"coffee");
    fs::create_dir(top.join("\u{fc}ber")).unwrap();
    zoo::file(&top.join("\u{fc}ber/na\u{ef}ve $(x) `y`"), b"quoted");
    zoo::settle_dirs(top);
}

#[test]
fn names_in_another_set() {
    check_rows_at(
        Site::with(named),
        &[
            row("-ai --iconv=utf-8,latin1 --no-i-r").reading("-ai --iconv=utf-8 --no-i-r").everywhere(),
            row("-ai --iconv=utf-8,latin1 --no-i-r").reading("-ai --iconv=latin1 --no-i-r"),
            row("-ai --iconv=utf-8 --delete --protocol=30"),
            row("-ai --iconv=utf-8,latin1 --no-i-r").reading("-ai --no-i-r"),
            row("-ai --no-i-r").reading("-ai --iconv=utf-8 --no-i-r"),
        ],
    );
}

#[test]
fn lists_of_names() {
    fn listed(top: &Path) {
        source(top);
        fs::write(top.parent().unwrap().join("list"), "big\nsub/deep\nit's\n").unwrap();
    }
    check_rows_at(
        Site::with(listed),
        &[
            row("-ai --files-from=../list").everywhere(),
            row("-ai --files-from=../list --no-R --no-i-r"),
            row("-aiz --files-from=../list --only-write-batch=B").compressed(),
        ],
    );
}

/// Written by one program and played back by the other, over the same destination as by the one itself.
#[test]
fn the_release_before() {
    if let Some(reason) = Old.missing() {
        return skip("batches of 3.2.7", &reason);
    }
    let site = Site::with(wordy);
    let mut wrong = Vec::new();
    for args in ["-a", "-aH --no-i-r", "-az", "-aX", "-aA", "-a --inplace", "-a --append", "-aH --delete"] {
        for protocol in [31, 30, 29] {
            if protocol == 29 && (args == "-aX" || args == "-aA") {
                continue;
            }
            let args = format!("{args} --no-whole-file --protocol={protocol}");
            for (writer, reader) in [(Ours, Old), (Old, Ours)] {
                let made = write(&site, writer, &args);
                let batch = made.place.join("B");
                let play = |program| {
                    site.run(program, &crate::words(&format!("{args} --read-batch=B dst/")), parts, Some(&batch))
                };
                let (own, other) = (play(writer), play(reader));
                let statuses = [made.outcome.status, own.outcome.status, other.outcome.status];
                if statuses.iter().any(|status| *status != Status::Exit(0)) {
                    wrong.push(format!("{args}: {writer:?} to {reader:?}: {statuses:?}"));
                }
                let trees = own.tree.differences(&other.tree, false);
                wrong.extend(trees.into_iter().map(|text| format!("{args}: {writer:?} to {reader:?}: {text}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn write(site: &Site, program: Program, args: &str) -> Made {
    site.run(program, &crate::words(&format!("{args} --write-batch=B src/ dst/")), parts, None)
}
