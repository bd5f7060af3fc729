//! What is said of a run, where, and when: formats, log files, levels, statistics, progress, listings; compared with the
//! reference.

mod harness;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use harness::{Case, LOCAL, PIPES, check_all, everywhere, in_each_place, locally, process, programs, zoo};

/// One of each kind, and names that need care.
fn kinds(top: &Path) {
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    zoo::file(&top.join("first"), &zoo::noise(5000, 1));
    fs::hard_link(top.join("first"), top.join("second")).unwrap();
    zoo::file(&top.join("same"), b"as it was");
    zoo::file(&top.join("sub/changed"), b"a new text");
    zoo::file(&top.join("sub/deep/new"), b"new");
    zoo::file(&top.join("sub/deep/moded"), b"moded");
    zoo::file(&top.join("esc\x1b and tab\t"), b"1");
    zoo::file(&top.join("é\\#123"), b"2");
    symlink("first", top.join("link")).unwrap();
    zoo::set_time(&top.join("link"), 1_400_000_000, 0);
    zoo::pipe(&top.join("pipe"));
    zoo::set_mode(&top.join("sub"), 0o750);
    zoo::settle_dirs(top);
}

fn old(top: &Path, _: &Path) {
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    fs::create_dir_all(top.join("gone/below")).unwrap();
    zoo::file(&top.join("gone/below/file"), b"gone");
    zoo::file(&top.join("same"), b"as it was");
    zoo::file(&top.join("sub/changed"), b"an older text");
    zoo::set_time(&top.join("sub/changed"), 1_200_000_000, 0);
    zoo::file(&top.join("sub/deep/moded"), b"moded");
    zoo::set_mode(&top.join("sub/deep/moded"), 0o600);
    zoo::settle_dirs(top);
}

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(kinds).before(old)
}

/// With a log file at each end.
fn logged(name: &'static str, args: &str) -> Case {
    row(name, args).arg("--log-file=log").server_args("--log-file=far.log").logs(&["log", "far.log"])
}

// Log files

#[test]
fn log_files_at_both_ends() {
    in_each_place(&[
        logged("log", "-aH"),
        logged("log with names", "-avH --delete"),
        logged("log with items", "-aiH --delete"),
        logged("log with all items", "-aiiH"),
        logged("log and all names", "-avvH").unordered(),
        logged("log of a dry run", "-anvH --delete"),
        logged("quiet log", "-aHq --delete"),
    ]);
    everywhere(&[
        logged("log and statistics", "-aH --stats"),
        logged("log of sizes and progress", "-aH --progress"),
        logged("log without a format", "-avH --delete --log-file-format="),
        logged("log without items", "-avH --delete --log-file-format=%n%L").unordered(),
        logged("log without items of links alone", "-av --log-file-format=%n --existing").unordered(),
        logged("log with operations", "-aH --delete --log-file-format=%o_%n_%l_%B_%M_%U_%G_%f"),
        logged("log with sums", "-aHc --log-file-format=%C_%n"),
        logged("log and another format", "-aH --out-format=%o_%n --log-file-format=%i_%l_%n"),
        logged("log after a format with sums", "-aH --out-format=%C_%b_%c_%n --delete"),
        logged("log of a whole list", "-aHv --no-inc-recursive --delete"),
        logged("log of a list", "--list-only -r").to(""),
        logged("log of nothing to do", "-aH").before(zoo::same),
        logged("log and what is missing", "-aH").from(&["src/", "nothing"]),
        logged("log of sources that go", "-a --remove-source-files --info=remove").own_source().unordered(),
        logged("log and skipped files", "-av --max-size=100 --info=skip,nonreg --no-specials").unordered(),
        logged("log with 8 bits", "-av8"),
    ]);
}

#[test]
fn log_files_with_older_protocols() {
    let rows: Vec<Case> = ["31", "30", "29", "28"]
        .into_iter()
        .flat_map(|version| {
            let old = |name, args: &str| logged(name, &format!("{args} --protocol={version}")).unordered();
            [
                old("log, older", "-avH --delete"),
                old("log, older, itemized", "-aiH --delete"),
                old("log, older, in other words", "-avH --log-file-format=%n%L"),
            ]
        })
        .collect();
    everywhere(&rows);
}

#[test]
fn log_files_that_cannot_be() {
    locally(&[
        row("no directory for the log", "-av --log-file=none/log"),
        row("no directory for the log, quietly", "-aq --log-file=none/log"),
        row("the log is a directory", "-a --log-file=."),
    ]);
    check_all(&[row("no directory for the server's log", "-a -M--log-file=none/log")], &[(PIPES, &programs::ONE_END)]);
    check_all(
        &[Case::new("what is wrong with the options is logged", "-a --log-file=log --nonsense").logs(&["log"])],
        &[(LOCAL, &programs::ALONE)],
    );
}

#[test]
fn logs_are_added_to_and_readable() {
    let case = logged("an old log", "-a").with_file("log", b"what was there\n");
    locally(&[case]);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("src")).unwrap();
    let argv = ["-a", "--log-file=log", "src/", "dst/"];
    let outcome = process::run(dir.path(), &programs::Program::Ours.path(), &argv, b"");
    assert_eq!(outcome.status, process::Status::Exit(0));
    let stat = fs::metadata(dir.path().join("log")).unwrap();
    assert_eq!(stat.permissions().mode() & 0o7777, 0o644);
    let text = fs::read_to_string(dir.path().join("log")).unwrap();
    let numbers: Vec<_> = text.lines().map(|line| &line[20..line.find(']').unwrap()]).collect();
    assert!(numbers.len() >= 2 && numbers.iter().all(|number| *number == numbers[0]), "{text}");
}

/// A link that belongs to somebody else does not lead our log anywhere.
#[test]
fn logs_do_not_follow_strangers() {
    if !programs::is_root() {
        return programs::skip("links of other users", "we are not root");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("src")).unwrap();
    fs::write(dir.path().join("victim"), "").unwrap();
    symlink("victim", dir.path().join("link")).unwrap();
    let run = |uid: u32, more: &[&str]| {
        std::os::unix::fs::lchown(dir.path().join("link"), Some(uid), Some(uid)).unwrap();
        let argv: Vec<&str> = [&["-a", "--log-file=link"][..], more, &["src/", "dst/"]].concat();
        let outcome = process::run(dir.path(), &programs::Program::Ours.path(), &argv, b"");
        assert_eq!(outcome.status, process::Status::Exit(0));
        let size = fs::metadata(dir.path().join("victim")).unwrap().size();
        (size, String::from_utf8_lossy(&outcome.stderr).into_owned())
    };
    let (size, said) = run(65_534, &[]);
    assert_eq!(size, 0, "{said}");
    assert!(said.contains("failed to open log-file link"), "{said}");
    let (followed, said) = run(65_534, &["--insecure-links"]);
    assert!(followed > 0 && said.is_empty(), "{said}");
    assert!(run(0, &[]).0 > followed);
}
