//! The system calls that one more file costs, as `docs/performance.md` states them.
//!
//! A tree with few files and one with many in the same directories: what is done once a run or a directory cancels out.

mod harness;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use harness::{Program, process, programs::is_root, skip, stand_in, zoo};

const DIRS: usize = 10;
const FEW: usize = 200;
const MANY: usize = 1200;

/// Calls by name: how many one more file took.
type Calls = BTreeMap<String, f64>;

/// `count` files of `len` bytes in `top/src`.
fn furnish(top: &Path, count: usize, len: usize) {
    for dir in 0..DIRS {
        fs::create_dir_all(top.join(format!("src/d{dir}"))).expect("directory");
    }
    for number in 0..count {
        let path = top.join(format!("src/d{}/file-{number}", number % DIRS));
        zoo::file(&path, &zoo::noise(len, number as u64));
        zoo::set_mode(&path, 0o644);
    }
}

/// How often each call was made by a run and all that it started; a reason if that cannot be counted.
fn count(top: &Path, argv: &[String]) -> Result<Calls, String> {
    let summary = top.join("summary");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&summary).arg("--").arg(Program::Ours.path());
    strace.args(argv).current_dir(top).stdin(Stdio::null());
    let outcome = strace.output().map_err(|error| format!("strace: {error}"))?;
    if !outcome.status.success() {
        return Err(format!("strace: {}", String::from_utf8_lossy(&outcome.stderr).trim()));
    }
    let text = fs::read_to_string(&summary).map_err(|error| format!("strace: {error}"))?;
    let row = |line: &str| {
        let (calls, name) = line.trim().split_once(' ')?;
        Some((name.trim().to_owned(), calls.parse().ok()?))
    };
    // The standard library makes sure of a descriptor that it closes, in programs built with assertions.
    let ours = |name: &str| name != "total" && !(cfg!(debug_assertions) && name == "fcntl");
    Ok(text.lines().filter_map(row).filter(|(name, _)| ours(name)).collect())
}

/// What few and many files cost; nothing, and said so, where it cannot be counted.
fn counts(what: &str, args: &str, len: usize, again: bool) -> Option<[Calls; 2]> {
    let mut counts = Vec::new();
    for files in [FEW, MANY] {
        let dir = tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory");
        furnish(dir.path(), files, len);
        let args = args.replace("SHELL", &stand_in().display().to_string());
        let args = args.replace("OURS", &Program::Ours.path().display().to_string());
        let args = args.replace("HERE", &dir.path().display().to_string());
        let argv: Vec<String> = args.split_whitespace().map(String::from).collect();
        if again {
            let first = process::run(dir.path(), &Program::Ours.path(), &argv, &[]);
            assert_eq!(first.status, process::Status::Exit(0), "{}", String::from_utf8_lossy(&first.stderr));
        }
        match count(dir.path(), &argv) {
            Ok(calls) => counts.push(calls),
            Err(reason) => {
                skip(what, &reason);
                return None;
            }
        }
    }
    counts.try_into().ok()
}

/// What one file more costs.
fn per_file(what: &str, args: &str, len: usize, again: bool) -> Option<Calls> {
    let [few, many] = counts(what, args, len, again)?;
    let more = |(name, calls): (&String, &f64)| {
        let before = few.get(name).copied().unwrap_or_default();
        (name.clone(), (calls - before) / (MANY - FEW) as f64)
    };
    Some(many.iter().map(more).collect())
}

/// Fails unless one file takes exactly these calls; threads and processes wake each other in batches, so what serves
/// that, and moving bytes in batches, is bounded only.
fn expect(what: &str, args: &str, len: usize, again: bool, calls: &[(&str, f64)]) {
    const IN_BATCHES: &[(&str, f64)] =
        &[("futex", 0.5), ("ppoll", 0.25), ("poll", 0.25), ("read", 0.25), ("write", 0.25)];
    let Some(found) = per_file(what, args, len, again) else { return };
    let mut wrong = Vec::new();
    for (name, &number) in &found {
        let named = calls.iter().find(|(call, _)| call == name).map_or(0.0, |(_, number)| *number);
        let spare = IN_BATCHES.iter().find(|(call, _)| call == name).map_or(0.05, |(_, spare)| *spare);
        if !(named - 0.05..=named + spare).contains(&number) {
            wrong.push(format!("{name}: {number:.2}, not {named}"));
        }
    }
    let missing = calls.iter().filter(|(call, _)| !found.contains_key(*call)).map(|(call, _)| format!("{call}: none"));
    wrong.extend(missing);
    assert!(wrong.is_empty(), "{what}: {}\nall: {found:.2?}", wrong.join(", "));
}

/// By name and by descriptor alike.
const STAT: &str = "newfstatat";

#[test]
fn nothing_to_do_takes_a_stat_at_each_end() {
    expect("local, nothing to do", "-a src/ dst/", 300, true, &[(STAT, 2.0)]);
    expect("push, nothing to do", "-a -e SHELL --rsync-path=OURS src/ far:HERE/dst/", 300, true, &[(STAT, 2.0)]);
    expect("pull, nothing to do", "-a -e SHELL --rsync-path=OURS far:HERE/src/ dst/", 300, true, &[(STAT, 2.0)]);
}

#[test]
fn options_that_find_nothing_to_do_cost_nothing() {
    for args in ["-aH src/ dst/", "-a --del src/ dst/", "-aH --del src/ dst/", "-a --delete-after src/ dst/"] {
        expect(args, args, 300, true, &[(STAT, 2.0)]);
    }
    let push = "-aH --del -e SHELL --rsync-path=OURS src/ far:HERE/dst/";
    expect("push, links and deletions", push, 300, true, &[(STAT, 2.0)]);
}

/// Reading a directory to its end takes two calls as long as it is small.
#[test]
fn deletions_read_each_directory_once_more() {
    let reads = |args: &str| {
        let found = counts("directory reads", args, 300, true)?;
        Some(found.map(|calls| calls.get("getdents64").copied().unwrap_or_default())[0])
    };
    let (Some(plain), Some(deleting)) = (reads("-a src/ dst/"), reads("-a --del src/ dst/")) else { return };
    let dirs = (DIRS + 1) as f64;
    assert_eq!(deleting - plain, 2.0 * dirs, "{plain} without, {deleting} with --del");
    let linking = reads("-aH src/ dst/");
    assert_eq!(linking, Some(plain), "with -H");
}

#[test]
fn a_new_small_file() {
    let local = [
        (STAT, 3.0),
        ("openat", 2.0),
        ("read", 1.0),
        ("close", 2.0),
        ("pwrite64", 1.0),
        ("utimensat", 1.0),
        ("renameat", 1.0),
    ];
    expect("local, new small files", "-a src/ dst/", 300, false, &local);
    let remote = local.map(|(name, number)| (if name == "read" { "pread64" } else { name }, number));
    expect("push, new small files", "-a -e SHELL --rsync-path=OURS src/ far:HERE/dst/", 300, false, &remote);
    expect("pull, new small files", "-a -e SHELL --rsync-path=OURS far:HERE/src/ dst/", 300, false, &remote);
}

#[test]
fn a_new_larger_file() {
    let local = [
        (STAT, 3.0),
        ("openat", 2.0),
        ("read", 1.0),
        ("pwrite64", 1.0),
        ("close", 2.0),
        ("utimensat", 1.0),
        ("renameat", 1.0),
    ];
    expect("local, new larger files", "-a src/ dst/", 100_000, false, &local);
}

#[test]
fn a_file_that_is_the_same_elsewhere() {
    let link = [(STAT, 3.0), ("linkat", 1.0)];
    expect("local, linked", "-a --link-dest=../src src/ dst/", 300, false, &link);
    let push = "-a --link-dest=../src -e SHELL --rsync-path=OURS src/ far:HERE/dst/";
    expect("push, linked", push, 300, false, &link);
    expect("local, passed over", "-a --compare-dest=../src src/ dst/", 300, false, &[(STAT, 3.0)]);
}

#[test]
fn an_owner_that_differs_costs_one_call() {
    if !is_root() {
        return skip("an owner that differs", "not root");
    }
    expect(
        "local, new owner",
        "-a --chown=12:34 src/ dst/",
        300,
        false,
        &[
            (STAT, 3.0),
            ("openat", 2.0),
            ("read", 1.0),
            ("close", 2.0),
            ("pwrite64", 1.0),
            ("fchown", 1.0),
            ("fchmod", 1.0),
            ("utimensat", 1.0),
            ("renameat", 1.0),
        ],
    );
}

#[test]
fn attributes_are_asked_for_once_at_each_end() {
    let lists = [(STAT, 2.0), ("lgetxattr", 2.0)];
    expect("local, lists, nothing to do", "-aA src/ dst/", 300, true, &lists);
    let push = "-aA -e SHELL --rsync-path=OURS src/ far:HERE/dst/";
    expect("push, lists, nothing to do", push, 300, true, &lists);
    expect("local, attributes, nothing to do", "-aX src/ dst/", 300, true, &[(STAT, 2.0), ("llistxattr", 2.0)]);
    let both = [(STAT, 3.0), ("lgetxattr", 2.0), ("llistxattr", 2.0), ("linkat", 1.0)];
    expect("local, linked with both", "-aAX --link-dest=../src src/ dst/", 300, false, &both);
}

/// What a call on attributes acts on: a descriptor, or a name in a directory that is held, whatever becomes of its path.
fn is_held(call: &str) -> bool {
    let Some((_, arguments)) = call.split_once("xattr(") else { return true }; // the rest of a call that was cut short
    match arguments.strip_prefix("\"/proc/self/fd/").and_then(|path| path.split_once('"')) {
        Some((path, _)) => path.split('/').count() <= 2,
        None => arguments.starts_with(|first: char| first.is_ascii_digit()),
    }
}

#[test]
fn attributes_are_those_of_what_is_held() {
    let dir = tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory");
    fs::create_dir_all(dir.path().join("src/deep/er")).expect("directory");
    std::os::unix::fs::symlink("deep", dir.path().join("src/link")).expect("link");
    zoo::pipe(&dir.path().join("src/deep/pipe"));
    for name in ["deep/er/file", "deep/er/other", "top"] {
        zoo::file(&dir.path().join("src").join(name), name.as_bytes());
        zoo::attr(&dir.path().join("src").join(name), "user.long", &[b'l'; 100]);
    }
    let trace = dir.path().join("trace");
    let mut calls = 0;
    for args in [
        "-aAX src/ dst/",
        "-aAX src/ dst/",
        "-aAXI -b --backup-dir=../bak --filter=-x_user.l* src/ dst/",
        "-rlAX --no-p --inplace -I src/ dst/",
        "-aAX --link-dest=../dst src/ new/",
        "-aAX --copy-dest=../dst --no-t src/ copy/",
        "-aAXR --mkpath src/./deep/er path/to/",
    ] {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=/xattr", "-o"]).arg(&trace).arg(Program::Ours.path());
        match strace.args(args.split(' ')).current_dir(dir.path()).stdin(Stdio::null()).output() {
            Ok(outcome) if outcome.status.success() => {}
            Ok(outcome) => return skip("attributes of what is held", &String::from_utf8_lossy(&outcome.stderr)),
            Err(error) => return skip("attributes of what is held", &format!("strace: {error}")),
        }
        let text = fs::read_to_string(&trace).expect("a trace");
        calls += text.lines().count();
        let elsewhere: Vec<_> = text.lines().filter(|call| !is_held(call)).collect();
        assert!(elsewhere.is_empty(), "{args}: {elsewhere:#?}");
    }
    assert!(calls > 50, "{calls} calls on attributes");
    assert!(!is_held("llistxattr(\"dst/deep\", \"\", 1024) = 0") && !is_held("getxattr(\"/proc/self/fd/5/a/b\", "));
}
