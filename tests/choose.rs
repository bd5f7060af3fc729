//! Which files take part: lists of names, limits of size, directories that would be empty, and paths that keep their
//! names.

mod harness;

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{lchown, symlink},
    },
    path::Path,
};

use harness::{
    Case, LOCAL, PIPES, Program, Way, check_all, in_each_place,
    process::{self, Status},
    programs::{AGAINST_REFERENCE, ALONE, is_root},
    zoo,
};

/// Through pipes alone: for lists that lie on the far side.
fn remotely(cases: &[Case]) {
    check_all(cases, &[(PIPES, &AGAINST_REFERENCE)]);
}

/// Names of every kind, some levels deep.
fn shelves(top: &Path) {
    for dir in ["a/b/c", "a/d", "e", "empty/emptier/emptiest", "half/empty", "half/full", "s p a c e"] {
        fs::create_dir_all(top.join(dir)).expect("directory");
    }
    for (name, size) in [
        ("a/one", 10),
        ("a/b/two", 2_000),
        ("a/b/c/three", 30_000),
        ("a/b/c/four", 0),
        ("a/d/five", 1_024),
        ("e/six", 1_025),
        ("half/full/seven", 1_023),
        ("top", 5),
        ("#number", 6),
        (";semicolon", 7),
        ("s p a c e/eight", 8),
        ("cr\r", 9),
        ("[br]*", 11),
        ("back\\slash", 12),
    ] {
        zoo::file(&top.join(name), &zoo::noise(size, size as u64));
    }
    zoo::file(&top.join(OsStr::from_bytes(b"no\xffchar")), b"x");
    for (link, target) in [("to-dir", "a"), ("a/to-file", "one"), ("dangling", "nowhere"), ("a/out", "../e")] {
        symlink(target, top.join(link)).expect("link");
        zoo::set_time(&top.join(link), 1_450_000_000, 7);
    }
    zoo::settle_dirs(top);
}

/// The source's parent holds a file of a name that the source has too.
fn shelves_with_a_neighbour(destination: &Path, _: &Path) {
    fs::write(destination.with_file_name("top"), "outside").expect("file");
}

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(shelves).before(shelves_with_a_neighbour)
}

/// Names from a list that lies where the command is given.
fn listed(name: &'static str, args: &str, list: &[u8]) -> Case {
    row(name, args).arg("--files-from=list").with_file("list", list)
}

/// Names from a list that lies on the far side.
fn far_list(name: &'static str, args: &str, list: &[u8]) -> Case {
    row(name, args).arg("--files-from=far:list").with_file("list", list)
}

const SOME: &[u8] = b"a/b/two\na/d\ntop\n\ne/six\nempty\ns p a c e/eight\na/b/c/four\n";

/// Each at every protocol.
fn at_each_protocol(case: &Case) -> Vec<Case> {
    (29..=32).map(|version| case.clone().arg(&format!("--protocol={version}"))).collect()
}

#[test]
fn a_list_at_each_protocol() {
    for case in [
        listed("a list", "-ai", SOME),
        listed("a list, recursing", "-ai -r", SOME),
        listed("a list, names alone", "-ai --no-R", SOME),
    ] {
        in_each_place(&at_each_protocol(&case));
    }
    // Before protocol 30 a receiver takes what has no directories in the list for an attack.
    let few = listed("a list, no implied directories", "-ai --no-implied-dirs", SOME);
    in_each_place(&at_each_protocol(&few)[1..]);
    for case in [far_list("a far list", "-ai", SOME), far_list("a far list, recursing", "-ai -r", SOME)] {
        remotely(&at_each_protocol(&case));
    }
}

#[test]
fn a_list_with_the_oldest_protocols() {
    for version in ["--protocol=28", "--protocol=27"] {
        in_each_place(&[listed("a list for an old peer", "-ai", SOME).arg(version)]);
        remotely(&[far_list("a far list for an old peer", "-ai -r", SOME).arg(version)]);
    }
}

#[test]
fn how_lists_are_written() {
    const WINDOWS: &[u8] = b"a/one\r\n\r\ntop\r\n";
    const ZEROS: &[u8] = b"a/one\0\0top\0cr\r\0#number";
    const COMMENTS: &[u8] = b"#number\n;semicolon\n # top\n./#number\ntop";
    in_each_place(&[
        listed("lines of another system", "-ai", WINDOWS),
        listed("zeros", "-ai --from0", ZEROS),
        listed("zeros by their letter", "-ai0", ZEROS),
        listed("comments", "-ai", COMMENTS),
        listed("no line's end", "-ai", b"top"),
        listed("nothing in it", "-ai", b""),
        listed("only line's ends", "-ai", b"\n\r\n\n"),
        listed("a name that is not UTF-8", "-ai", b"no\xffchar\n"),
        listed("names with special characters", "-ai", b"[br]*\nback\\slash\na/*\n"),
        listed("a NUL in a line", "-ai", b"top\0more\na/one\n"),
        row("standard input", "-ai --files-from=-").stdin(SOME),
        row("standard input with zeros", "-ai --files-from=- -0").stdin(ZEROS),
    ]);
    remotely(&[
        far_list("far lines of another system", "-ai", WINDOWS),
        far_list("far zeros", "-ai --from0", ZEROS),
        far_list("far comments", "-ai", COMMENTS),
        far_list("nothing in it, far away", "-ai", b""),
        row("a far list by its short name", "-ai --files-from=:list").with_file("list", SOME),
        far_list("a far list, words over the wire", "-ais", SOME),
        far_list("a far list, words of old", "-ai --old-args", SOME),
    ]);
}

#[test]
fn where_listed_names_lead() {
    const PLACES: &[u8] = b"/top\n../top\na/../../e/six\na//b///two\na/b/../one\n./top\n/./a/./d/five\n";
    const SLASHES: &[u8] = b"a/\ne/.\n./\n.\nto-dir\nto-dir/\ntop/\n";
    const DOTS: &[u8] = b"a/./b/two\na/b/./c\n./e/./six\nhalf/./\n";
    const TWICE: &[u8] = b"top\na/one\ntop\na/d\na/d/five\na/d/\na/b/c/four\na/one\n";
    for list in [PLACES, SLASHES, DOTS, TWICE] {
        in_each_place(&[
            listed("places", "-ai", list),
            listed("places, recursing", "-ai -r", list),
            listed("places, names alone", "-rlti --no-R", list).unordered(),
            listed("places, no directories", "-ai --no-dirs", list).unordered(),
            listed("places, no implied directories, recursing", "-ai -r --no-implied-dirs", list),
            listed("places, list whole", "-ai -r --no-inc-recursive", list),
        ]);
    }
    in_each_place(&[
        listed("nothing above the source", "-ai", PLACES).from(&["src/a"]),
        listed("listed to be listed", "--list-only -r", SOME),
        listed("a dry run", "-ain", SOME),
        listed("links followed", "-aiL", b"to-dir\na/out\ndangling\na/to-file\n").unordered(),
        listed("directory links followed", "-aik", b"to-dir\na/out/six\ndangling\n"),
        listed("with links in the way", "-ai", b"to-dir/one\nto-dir/b/two\n"),
        listed("talkative", "-avv", SOME).unordered(),
    ]);
}

/// Links that lead in a circle, and one to a directory that somebody else made.
fn circles(top: &Path) {
    shelves(top);
    for (link, target) in [("self", "self"), ("a/b/here", "there"), ("a/b/there", "here"), ("theirs", "a")] {
        symlink(target, top.join(link)).expect("link");
    }
    if is_root() {
        lchown(top.join("theirs"), Some(1234), None).expect("owner");
    }
    zoo::settle_dirs(top);
}

#[test]
fn listed_links() {
    const NAMES: &[u8] = b"self/\nself/.\n./self/\na/b/here/\na/b/there/x\nto-dir/\na/to-file/\ndangling/.\n";
    const CIRCLES: &[u8] = b"self\na/b/here\n";
    const THEIRS: &[u8] = b"theirs/\ntheirs/one\ntheirs/b/\ntheirs/./b/two\n";
    let circles = |case: Case| case.tree(circles);
    let mut cases = vec![circles(listed("circles as they are", "-ai", CIRCLES))];
    for args in ["-ai", "-rai", "-lti", "-ai --copy-dirlinks", "-aiL", "-ai --insecure-links", "-ai --no-R"] {
        cases.push(circles(listed("listed links", args, NAMES)));
        cases.push(circles(listed("listed links of others", args, THEIRS)));
    }
    for args in ["-aRi", "-lptRi", "-ai"] {
        let from = ["src/./self/", "src/./self/.", "src/./theirs/b/", "src/./theirs/"];
        cases.push(circles(row("named links", args)).from(&from));
    }
    in_each_place(&cases);
}

#[test]
fn listed_names_that_are_missing() {
    const MISSING: &[u8] = b"top\nnowhere\na/nothing\nnone/at/all\na/one\n";
    in_each_place(&[
        listed("missing names", "-ai", MISSING).unordered(),
        listed("missing names, recursing", "-ai -r", MISSING).unordered(),
        listed("missing names, names alone", "-ai --no-R", MISSING).unordered(),
        listed("all are missing", "-ai", b"nowhere\n").unordered(),
        listed("missing directories of several names", "-rl --delete-missing-args", b"no/a/b\n./no/c/d\nto/e\nno/f\n"),
    ]);
}

#[test]
fn lists_that_cannot_be_had() {
    fn a_strangers_link(destination: &Path, source: &Path) {
        let sandbox = destination.parent().expect("sandbox");
        shelves_with_a_neighbour(destination, source);
        for (link, target) in [("theirs", "list"), ("mine", "list")] {
            symlink(target, sandbox.join(link)).expect("link");
        }
        if harness::programs::is_root() {
            std::os::unix::fs::lchown(sandbox.join("theirs"), Some(1234), None).expect("owner");
        }
    }
    let through = |name, args| row(name, args).with_file("list", SOME).before(a_strangers_link);
    in_each_place(&[
        row("no such list", "-ai --files-from=nowhere"),
        row("a list below a file", "-ai --files-from=src/top/list"),
        through("a list over a link of ours", "-ai --files-from=mine"),
        through("a list over a stranger's link", "-ai --files-from=theirs"),
        through("a list over a stranger's link, insecurely", "-ai --insecure-links --files-from=theirs"),
    ]);
    // What a server of the reference says when it gives up as a sender is lost on the way: status 12, not 1 or 3.
    check_all(
        &[
            row("a list that is a directory", "-ai --files-from=src"),
            listed("no such source", "-ai", SOME).from(&["none"]),
            listed("source is a file", "-ai", SOME).from(&["src/top"]),
            row("a path with a way up", "-aiR").from(&["src/a/../e"]),
            listed("no such source, of old", "-ai --protocol=30", SOME).from(&["none"]),
            row("a path with a way up, of old", "-aiR --protocol=30").from(&["src/a/../e"]),
            row("a rule too new", "-ai --protocol=28").arg("--filter=-p top"),
        ],
        &[(LOCAL, &ALONE)],
    );
    check_all(
        &[row("a list to pass on that is a directory", "-ai --files-from=src")],
        &[(&[Way::PipePull], &AGAINST_REFERENCE)],
    );
}

// Sizes

#[test]
fn files_of_some_sizes() {
    for case in [
        row("no larger", "-ai --max-size=1K --info=skip").unordered(),
        row("no smaller", "-ai --min-size=1K --info=skip").unordered(),
        row("between two sizes", "-avv --min-size=10 --max-size=1025").unordered(),
    ] {
        in_each_place(&at_each_protocol(&case));
    }
    in_each_place(&[
        row("no larger than nothing", "-ai --max-size=0"),
        row("one byte at least", "-ai --min-size=1 --stats"),
        row("a limit that nothing is beyond", "-ai --max-size=1g --min-size=0"),
        row("a size less one", "-ai --max-size=1K-1"),
        row("sizes of what is there already", "-ai --max-size=1K -I").before(zoo::same),
        row("one file too large", "-avv --max-size=4").from(&["src/top"]).to("dst/new").unordered(),
        row("sizes and a dry run", "-ain --max-size=100"),
    ]);
}

// Directories that would be empty

#[test]
fn empty_directories() {
    for case in [
        row("no empty directories", "-aim"),
        row("no empty directories, by their list", "-ai -r --files-from=list -m").with_file("list", SOME),
    ] {
        in_each_place(&at_each_protocol(&case));
    }
    in_each_place(&[
        row("no empty directories, several sources", "-aim").from(&["src/empty", "src/half", "src/a/"]),
        row("no empty directories, paths kept", "-aimR").from(&["src/./half/empty", "src/./a/b", "src/empty/"]),
        row("no empty directories, the same twice", "-aim").from(&["src/empty", "src/empty", "src/half"]),
        row("no empty directories, nothing left", "-aim").from(&["src/empty/"]),
        row("no empty directories, nothing left of a name", "-aivvm").from(&["src/empty"]).unordered(),
        row("no empty directories, talkative", "-avvm").unordered(),
        row("no empty directories, listed", "-rm --list-only").to(""),
        row("no empty directories, links left out", "-rtim").unordered(),
        row("empty after all", "-aim --max-size=0"),
        row("taken back", "-aim --no-m"),
        row("no empty directories without recursion", "-dim").unordered(),
    ]);
}

/// Rules leave out what a list names, and what is not named is left alone by deletions; a protected directory stays,
/// empty or not.
#[test]
fn with_rules_and_deletions() {
    fn with_extras(destination: &Path, source: &Path) {
        shelves_with_a_neighbour(destination, source);
        fs::create_dir_all(destination.join("a/extra")).expect("directory");
        fs::write(destination.join("a/extra/file"), "extra").expect("file");
        zoo::settle_dirs(destination);
    }
    in_each_place(&[
        listed("a list and rules", "-ai -r --exclude=two --exclude=/e/", SOME),
        listed("a list and rules with anchors", "-ai --include=/a/ --include=/a/b/*** --exclude=*", SOME),
        listed("a list and a deletion", "-ai -r --delete", b"a\nhalf/\n").before(with_extras),
        listed("a list and a deletion, names alone", "-rlti --no-R --delete", b"a/\n").before(with_extras).unordered(),
        listed("missing names ignored", "-ai --ignore-missing-args", b"top\nnone\na/none\n").unordered(),
        listed("missing names deleted", "-ai --delete-missing-args", b"a/extra\ntop\nnone\n")
            .before(with_extras)
            .unordered(),
        row("no empty directories but a protected one", "-aim").arg("--filter=P emptier"),
        row("no empty directories but a hidden one", "-aim").arg("--filter=H /half/"),
        row("only some files, and what leads there", "-aim --include=*/ --include=five --exclude=*"),
        row("no empty directories, and deleting", "-aim --delete").before(with_extras),
    ]);
    // Where rules go the other way first.
    remotely(&[
        far_list("a far list, no empty directories", "-aim -r", SOME),
        far_list("a far list, rules and a deletion", "-ai -r --exclude=two --delete", b"a\nhalf/\n")
            .before(with_extras),
    ]);
}

// Paths that are kept

#[test]
fn paths_and_where_they_begin() {
    in_each_place(&[
        row("whole paths", "-aiR").from(&["src/a/b", "src/e"]),
        row("paths from a point on", "-aiR").from(&["src/./a/b", "src/half/./full", "src/a/./d/five"]),
        row("paths from a point on, no implied directories", "-aiR --no-implied-dirs")
            .from(&["src/./a/b/c", "src/half/./full"]),
        row("paths through links", "-aiR").from(&["src/./to-dir/b", "src/./to-dir"]),
        row("paths through links, no implied directories", "-aiR --no-implied-dirs").from(&["src/./to-dir/b/two"]),
        row("a path with a way up before its point", "-aiR").from(&["src/a/.././e"]),
        row("paths listed", "-R --list-only").from(&["src/./a/b/", "src/./top"]).to(""),
        row("the same names", "-aiR").from(&["src/./a/b", "src/a/./b", "src/./a/b/two"]),
    ]);
}

/// The far side may only offer what the list asked for; with ours it is not fooled by what merely looks alike.
#[test]
fn what_is_asked_for_in_a_list() {
    check_all(
        &[
            listed("asked for, and told so", "-a --debug=filter3", b"a/b/two\ne\n[br]*\n./top\n").unordered(),
            listed("asked for with contents, and told so", "-ar --debug=filter3", b"a/./b\nhalf/\n.\n").unordered(),
        ],
        &[(&[Way::PipePull], &AGAINST_REFERENCE[..1])],
    );
    assert_eq!(Program::Ours.missing(), None);
}

// Stopping in time

/// A remote shell that says the time is over when more went through it than a pipe holds: the run is told by the signal
/// that its alarm would send. `through` is the pipe around the far side's command.
fn stopping_shell(name: &str, through: &str) -> String {
    let body = format!(
        "client=$PPID\nshift\nhalf() {{ stdbuf -o0 head -c 2500000; kill -ALRM $client; cat >/dev/null; }}\n\
         far() {{ sh -c \"$*\" 2>/dev/null; }}\n{through}\n"
    );
    process::script(name, &body).display().to_string()
}

/// A run that is stopped ends with the reference's words and status, and leaves nothing but whole files, or what
/// `--partial` keeps; the next run goes on.
#[test]
fn a_run_is_stopped_in_the_middle() {
    let pull = stopping_shell("stop-pull.sh", "far \"$@\" | half");
    let push = stopping_shell("stop-push.sh", "half | far \"$@\"");
    for (shell, source, destination, option, kept) in [
        (&pull, "far:src/", "dst/", "--no-partial", false),
        (&pull, "far:src/", "dst/", "--partial", true),
        (&push, "src/", "far:dst/", "--no-partial", false),
    ] {
        let site = tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory");
        let path = |name: &str| site.path().join(name);
        fs::create_dir(path("src")).expect("directory");
        zoo::file(&path("src/a"), &zoo::noise(100_000, 1));
        zoo::file(&path("src/b"), &zoo::noise(3_000_000, 2));
        let server = format!("--rsync-path={}", Program::Ours.path().display());
        let run = |more: &[&str], shell: &str| {
            let argv = [&["-a", &server, "-e", shell][..], more, &[option, source, destination]].concat();
            process::run(site.path(), &Program::Ours.path(), &argv, b"")
        };
        let stopped = run(&["--stop-after=60"], shell);
        let said = String::from_utf8_lossy(&stopped.stderr);
        assert_eq!(stopped.status, Status::Exit(30), "{said}");
        assert!(said.starts_with("stopping at requested limit\n"), "{said}");
        assert!(said.contains("rsync error: timeout in data send/receive (code 30) at "), "{said}");
        let names: Vec<_> = fs::read_dir(path("dst")).expect("destination").flatten().map(|e| e.file_name()).collect();
        assert!(names.iter().all(|name| name == "a" || kept && name == "b"), "{names:?}");
        assert!(!kept || fs::metadata(path("dst/b")).expect("what was kept").len() < 3_000_000);
        let again = run(&[], &harness::stand_in().display().to_string());
        assert_eq!(again.status, Status::Exit(0), "{}", String::from_utf8_lossy(&again.stderr));
        for name in ["a", "b"] {
            assert!(fs::read(path("dst").join(name)).ok() == fs::read(path("src").join(name)).ok(), "{name}");
        }
    }
}

/// A run that is through in time does not notice.
#[test]
fn time_enough() {
    let soon = |name, args| row(name, args).tree(zoo::few);
    in_each_place(&[
        soon("an hour", "-ai --stop-after=60"),
        soon("an hour by its other name", "-ai --time-limit=60"),
        soon("until a date", "-ai --stop-at=2099-12-31T23:59"),
        soon("none of it", "-ai --stop-after=0"),
        soon("no date", "-ai --stop-at=yesterday"),
        soon("a server's hour", "-ai -M--stop-after=60"),
    ]);
}
