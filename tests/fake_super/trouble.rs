//! What cannot be told or understood, and where the reference tells it wrong.

use std::{fs, path::Path};

use super::{
    can, each_side,
    harness::{Case, LOCAL, Way, everywhere, locally, process::Status, programs::ALONE, run_alone, zoo},
    keep, keeping, privileged, tell,
};

fn files(top: &Path) {
    for name in ["a", "b", "c"] {
        zoo::file(&top.join(name), name.as_bytes());
    }
    fs::create_dir(top.join("d")).unwrap();
    zoo::file(&top.join("d/e"), b"e");
    zoo::settle_dirs(top);
}

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(files)
}

#[test]
fn what_cannot_be_understood_ends_the_run() {
    if !can() {
        return;
    }
    fn with(top: &Path, path: &str, text: &str) {
        files(top);
        tell(&top.join(path), text);
    }
    // A server of the reference that gives up before the list is through is not heard by its client.
    let told = [
        row("a file", "-ai").tree(|top| with(top, "b", "nonsense")),
        row("half of it", "-ai").tree(|top| with(top, "b", "100644 0,0 1")),
        row("a directory", "-ai").tree(|top| with(top, "d", "")),
        row("the top", "-ai").tree(|top| with(top, ".", "x")),
        row("an argument", "-ai").from(&["src/b"]).tree(|top| with(top, "b", "x")),
        row("too long to be read", "-ai").tree(|top| with(top, "b", &"1".repeat(256))),
        row("as long as can be", "-ai").tree(|top| with(top, "b", &format!("100600 0,0 5:5{}", " ".repeat(241)))),
        row("nothing that is left out", "-ai --exclude=/b").tree(|top| with(top, "b", "x")),
    ];
    let local: Vec<_> = told.iter().map(|case| case.clone().arg("--fake-super")).collect();
    locally(&local);
    let alone = run_alone(&told[0].clone().arg("-M--fake-super"), Way::PipePull, ALONE[0]).unwrap();
    let said = String::from_utf8_lossy(&alone.outcome.stderr).into_owned();
    assert!(said.starts_with("Corrupt user.rsync.%stat xattr attached to ") && said.contains("(code 11)"), "{said}");
    assert_eq!(alone.outcome.status, Status::Exit(11));
    keeping(&[
        row("over a file", "-a --no-inc-recursive").before(|top, _| with(top, "b", "nonsense")),
        row("over a directory", "-a --no-inc-recursive").before(|top, _| with(top, "d", "x")),
        row("in a dry run", "-an --no-inc-recursive").before(|top, _| with(top, "b", "x")),
        row("at another one's side", "-ai").before(|top, _| {
            zoo::file(&top.join("z"), b"");
            tell(&top.join("z"), "x");
        }),
    ]);
    // What is said before, and that the connection ends, is a matter of time elsewhere.
    locally(&[
        row("deleted", "-a --delete-before -M--fake-super").before(|top, _| {
            zoo::file(&top.join("z"), b"");
            tell(&top.join("z"), "x");
        }),
        row("in another directory", "-a --link-dest=../alt -M--fake-super").before(|top, _| {
            let alt = top.with_file_name("alt");
            fs::create_dir(&alt).unwrap();
            with(&alt, "a", "x");
        }),
    ]);
}

#[test]
fn what_cannot_be_read_counts_as_it_is() {
    if !can() {
        return;
    }
    fn closed(top: &Path) {
        files(top);
        tell(&top.join("a"), "100600 0,0 5:5");
        zoo::set_mode(&top.join("a"), 0o200);
        zoo::set_mode(&top.join("b"), 0o200);
    }
    everywhere(&each_side(&[row("not readable", "-ai").tree(closed).by_nobody().unordered()]));
}

/// Without `-o` and `-g` the reference tells whatever its memory holds; here it is what the file is.
#[test]
fn owners_that_are_not_kept_stay() {
    if !can() {
        return;
    }
    let case = Case::new("no owners", "-rlptD -M--fake-super").tree(privileged);
    let run = run_alone(&case, Way::Local, ALONE[0]).unwrap();
    let told = |run: &super::harness::Run, path: &str| format!("{:?}", run.tree.get(path.as_bytes()).unwrap().xattrs);
    assert_eq!(run.outcome.status, Status::Exit(0));
    assert_eq!(told(&run, "dir/block"), r#"{"user.rsync.%stat": "60600 259,70000 0:0"}"#);
    assert_eq!(told(&run, "owned"), "{}");
    let run = run_alone(
        &case.before(|top, source| {
            keep(source, top);
            tell(&top.join("dir/block"), "60640 259,70000 7:8");
        }),
        LOCAL[0],
        ALONE[0],
    )
    .unwrap();
    assert_eq!(told(&run, "dir/block"), r#"{"user.rsync.%stat": "60600 259,70000 7:8"}"#);
    assert_eq!(told(&run, "owned"), r#"{"user.rsync.%stat": "100640 0,0 1234:5678"}"#);
}

/// The reference tells other numbers of a device that is copied to the backups.
#[test]
fn devices_among_the_backups_are_those_they_were() {
    if !can() {
        return;
    }
    let case = Case::new("devices as backups", "-ab --delete --backup-dir={far}/bak -M--fake-super").tree(files);
    let run = run_alone(
        &case.before(|top, _| {
            zoo::file(&top.join("dev"), b"");
            tell(&top.join("dev"), "60600 8,1 5:6");
        }),
        Way::Local,
        ALONE[0],
    )
    .unwrap();
    let backup = run.far.as_ref().and_then(|far| far.get(b"bak/dev")).map(|node| format!("{:?}", node.xattrs));
    assert_eq!(backup.as_deref(), Some(r#"{"user.rsync.%stat": "60600 8,1 5:6"}"#));
}
