//! Compressed file data: every algorithm, both ends, what is negotiated, and what is said of it.

mod harness;

use std::{fs, path::Path};

use harness::{
    Case, Ends, LOCAL, PIPES, Program, Traffic, Way, check_all, everywhere, in_each_place, process::Status, programs,
    run_alone, zoo,
};

/// Data that shrinks much, a little, and not at all; long enough for several chunks and flushes.
fn kinds(top: &Path) {
    let text: String = (0..30_000u32).map(|n| format!("line {} of a text\n", u64::from(n) * 7919 % 10_007)).collect();
    let noise = zoo::noise(300_000, 7);
    let program: Vec<u8> = (0..150_000u32).flat_map(|n| (n.wrapping_mul(n) / 77).to_le_bytes()).take(400_000).collect();
    fs::create_dir(top.join("dir")).expect("directory");
    zoo::file(&top.join("text"), text.as_bytes());
    zoo::file(&top.join("dir/program"), &program);
    zoo::file(&top.join("dir/noise.gz"), &noise);
    zoo::file(&top.join("empty"), b"");
    zoo::file(&top.join("tiny"), b"x");
    zoo::file(&top.join("zeros"), &vec![0; 500_000]);
    zoo::file(&top.join("twice"), &[&noise[..100_000], &noise[..100_000]].concat());
    zoo::settle_dirs(top);
}

/// Parts of each file stand at the destination, between other data.
fn parts(destination: &Path, source: &Path) {
    fs::create_dir(destination.join("dir")).expect("directory");
    for (name, number) in [("text", 1), ("dir/program", 2), ("dir/noise.gz", 3), ("zeros", 4), ("twice", 5)] {
        let data = fs::read(source.join(name)).expect("source file");
        let (front, back) = data.split_at(data.len() / 2);
        let other = zoo::noise(5_000 + 777 * number as usize, number);
        let old = [&back[back.len() / 3..], &other, &front[..front.len() * 2 / 3]].concat();
        zoo::file(&destination.join(name), &old);
    }
}

fn first(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(kinds)
}

fn again(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(kinds).before(parts).arg("--no-whole-file")
}

const CHOICES: [&str; 8] =
    ["-z", "-zz", "--zc=zstd", "--zc=lz4", "--zc=zlibx", "--zc=zlib", "--zc=none", "--old-compress"];

#[test]
fn every_algorithm_a_first_time() {
    everywhere(&CHOICES.map(|choice| first("first", "-ai --stats").arg(choice)));
}

#[test]
fn every_algorithm_over_old_files() {
    in_each_place(&CHOICES.map(|choice| again("again", "-ai --stats").arg(choice)));
}

/// Blocks longer than deflate stores at once, in place, whole files.
#[test]
fn zlib_over_old_files_in_other_ways() {
    let mut cases = Vec::new();
    for args in ["-B700", "-B65535", "-B65536", "-B131072", "--inplace", "-W", "--sparse"] {
        cases.push(again("zlib", "-ai --zc=zlib").arg(args));
        cases.push(again("zstd", "-ai --zc=zstd").arg(args));
    }
    // What fails its sum is asked for again while others come.
    cases.push(again("zlib", "-ai --zc=zlib --append-verify").unordered());
    cases.push(again("zstd", "-ai --zc=zstd --append-verify").unordered());
    everywhere(&cases);
}

#[test]
fn at_each_protocol() {
    let mut cases = Vec::new();
    for version in ["--protocol=29", "--protocol=30", "--protocol=31", "--protocol=32"] {
        cases.push(first("first", "-aiz --stats").arg(version));
        for blocks in ["-B3000", "-B100000"] {
            cases.push(again("again", "-aiz --stats").arg(version).arg(blocks));
        }
        cases.push(again("chosen", "-ai --zc=zstd").arg(version));
    }
    everywhere(&cases);
}

#[test]
fn levels_and_threads() {
    let mut cases = Vec::new();
    for choice in ["--zc=zstd", "--zc=zlibx", "--zc=lz4"] {
        for level in ["--zl=-2147483648", "--zl=-1", "--zl=0", "--zl=1", "--zl=9", "--zl=99"] {
            cases.push(first("level", "-ai --debug=nstr").arg(choice).arg(level));
        }
    }
    for threads in ["--zt=0", "--zt=2", "--zt=-5", "--zt=9999", "--compress-threads=1"] {
        cases.push(first("threads", "-aiz").arg(threads));
    }
    cases.push(first("a level alone", "-ai --zl=4 --debug=nstr"));
    cases.push(first("a level of nothing", "-ai --zl=4 --zc=none --debug=nstr"));
    everywhere(&cases);
}

/// Streams of any level, with blocks short and long, over the other program's pipe.
#[test]
fn levels_over_old_files() {
    let levels: [(&str, &[i32]); 3] = [
        ("--zc=zstd", &[-1000, -7, 1, 7, 13, 16, 19, 22]),
        ("--zc=zlib", &[1, 2, 3, 4, 5, 7, 8, 9]),
        ("--zc=zlibx", &[1, 9]),
    ];
    let mut cases = Vec::new();
    for (choice, levels) in levels {
        for (level, blocks) in levels.iter().zip(["-B700", "-B131072", "-B4000", "-B65536"].iter().cycle()) {
            cases.push(again("level", "-ai").arg(choice).arg(&format!("--zl={level}")).arg(blocks));
        }
    }
    check_all(&cases, &[(PIPES, &programs::AGAINST_REFERENCE)]);
}

/// What becomes of a wish with a list of its own on either side, and what is said about it.
#[test]
fn what_is_negotiated() {
    let debugged = |name, args: &str| first(name, args).arg("--debug=nstr3").unordered();
    let listed = |name, list| debugged(name, "-aiz").env("RSYNC_COMPRESS_LIST", list);
    in_each_place(&[
        debugged("plain", "-aiz"),
        debugged("auto", "-ai --zc=auto --compress"),
        debugged("auto without -z", "-ai --zc=auto"),
        debugged("taken back", "-aiz --no-z"),
        debugged("twice", "-aizz"),
        debugged("new", "-ai --new-compress"),
        debugged("chosen", "-ai --zc=LZ4"),
        debugged("off", "-aizz --zl=0"),
        listed("one", "zlib"),
        listed("some", "zlibx  foo LZ4 zlibx"),
        listed("blank", "  "),
        listed("for each end", "lz4 zlib & lz4 zlibx zlib"),
        listed("none", "none"),
    ]);
    // Within one machine both ends fail at once, and it is a matter of time which of them is heard.
    let failing = [
        listed("nothing known", "foo"),
        listed("nothing in common", "lz4 & zlib"),
        debugged("old", "-aiz --protocol=29").env("RSYNC_COMPRESS_LIST", "zstd"),
        debugged("refused by the server", "-ai --zc=zlib").env("RSYNC_COMPRESS_LIST", "zlib & zstd"),
    ];
    check_all(&failing, &[(PIPES, &programs::AGAINST_REFERENCE)]);
}

#[test]
fn what_is_told_while_it_goes() {
    check_all(
        &[
            first("lines afterwards", "-az --out-format=%n:%l:%C"),
            first("progress", "-az --progress").traffic(Traffic::Any),
            again("data", "-az --zc=lz4 -vv"),
        ],
        &[(LOCAL, &programs::ALONE), (PIPES, &programs::ONE_END)],
    );
}

fn words(len: usize, seed: u64) -> Vec<u8> {
    let lines = (seed..).map(|n| format!("line {} of a text\n", n * 7919 % 10_007));
    lines.flat_map(String::into_bytes).take(len).collect()
}

/// Text under names of other things and under its own, long enough for a change of the level, and short.
fn suffixed(top: &Path) {
    let names = ["a.gz", "b.Txt", "c.gz", "d.ZIP", "e", "f.gz", "g.txt"];
    for (name, number) in names.into_iter().zip(1..) {
        let len = if number < 5 { 2_200_000 } else { 40_000 };
        zoo::file(&top.join(name), &words(len, 1000 * number));
    }
    zoo::settle_dirs(top);
}

/// Half of each, behind other data.
fn halves(destination: &Path, source: &Path) {
    for name in ["a.gz", "b.Txt", "d.ZIP", "f.gz"] {
        let data = fs::read(source.join(name)).expect("source file");
        zoo::file(&destination.join(name), &[&zoo::noise(7_777, 3), &data[data.len() / 2..]].concat());
    }
}

/// The reference has no effect of it, so how many bytes it took is another matter.
#[test]
fn files_that_are_not_worth_it_arrive() {
    let mut cases = Vec::new();
    for choice in ["-z", "--zc=zstd --zt=2", "--zc=lz4", "--zc=zlibx", "--zc=zlib", "-z --protocol=30"] {
        for list in ["--skip-compress=[gt][zx]/tx[ta]", "--skip-compress="] {
            cases.push(Case::new("skip", &format!("-ai {choice}")).tree(suffixed).arg(list));
        }
        let delta = Case::new("delta", &format!("-ai {choice} --skip-compress=gz/zip")).tree(suffixed).before(halves);
        cases.push(delta.arg("--no-whole-file"));
    }
    let cases: Vec<_> = cases.into_iter().map(|case| case.traffic(Traffic::Any)).collect();
    check_all(&cases, &[(LOCAL, &programs::ALONE), (PIPES, &programs::AGAINST_REFERENCE)]);
    check_all(&cases[..3], &[(PIPES, &programs::AGAINST_OLD)]);
}

#[test]
fn lists_that_are_odd_are_no_errors_but_none_is_one() {
    let mut cases = vec![Case::new("no list", "-az --skip-compress").from(&[]).to("")];
    for list in ["///", "[", "a[]/[]", "*", &"a".repeat(5000), "gz/", "[[[/]]]"] {
        cases.push(first("odd", "-aiz").arg(&format!("--skip-compress={list}")).traffic(Traffic::Any));
    }
    cases.push(first("without -z", "-ai --skip-compress=gz"));
    everywhere(&cases);
}

/// Bytes of both directions.
fn traffic(args: &str, way: Way, ends: Ends) -> Option<u64> {
    let run = run_alone(&Case::new("bytes", args).tree(suffixed), way, ends)?;
    assert_eq!(run.outcome.status, Status::Exit(0), "{args}");
    let said = String::from_utf8(run.outcome.stdout).expect("UTF-8");
    let counts = said.lines().filter_map(|line| {
        let count = line.strip_prefix("Total bytes sent: ").or_else(|| line.strip_prefix("Total bytes received: "))?;
        count.replace(',', "").parse::<u64>().ok()
    });
    Some(counts.sum())
}

#[test]
fn what_is_skipped_is_sent_as_it_is() {
    const LONG: u64 = 2_200_000;
    let ours_sends = [
        (Way::Local, Program::Ours, Program::Ours),
        (Way::PipePush, Program::Ours, Program::Reference),
        (Way::PipePull, Program::Ours, Program::Ours),
        (Way::PipePull, Program::Reference, Program::Ours),
    ];
    let lists = [("", 0), ("--skip-compress=gz", 2), ("--skip-compress=xz/tx[t]/zip", 2), ("--skip-compress=/", 0)];
    for choice in ["zstd", "lz4", "zlibx", "zlib"] {
        for (number, (way, client, server)) in ours_sends.into_iter().enumerate() {
            // all of them in the first place, then some
            for (list, stored) in lists.into_iter().skip(number.min(1)).step_by(1 + number.min(1)) {
                let ends = Ends { client, server };
                let Some(bytes) = traffic(&format!("-a --stats --zc={choice} {list}"), way, ends) else { continue };
                // What is compressed comes to less than a third.
                let about = stored * LONG..stored * LONG + (4 - stored) * LONG / 3 + 200_000;
                assert!(about.contains(&bytes), "{choice} {list} {way:?} {ends:?}: {bytes}");
            }
        }
    }
}
