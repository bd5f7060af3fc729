//! `--fake-super`: what cannot be given is told by attributes, kept, compared and restored as the reference does, at
//! either end and at both. Trees are compared with the attributes that tell it.

#[path = "../harness/mod.rs"]
mod harness;

mod kept;
mod lists;
mod restored;
mod trouble;

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use harness::{
    Case, LOCAL, Way, check_all,
    programs::{ALONE, ONE_END, Program, is_root, skip},
    zoo,
};

/// Whether there are attributes where the trees will be, a reference to prepare them with, and the right to make devices.
fn can() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let missing = Program::Reference.missing();
    let set = Command::new("setfattr").args(["-n", "user.x", "-v", "1"]).arg(dir.path()).stderr(Stdio::null()).status();
    let can = missing.is_none() && is_root() && set.is_ok_and(|status| status.success());
    if !can {
        skip(
            "--fake-super",
            "there is no reference, no setfattr, no right to make devices, or the file system has no attributes",
        );
    }
    can
}

/// The option for the side that is started, and for the one that starts it. What that means depends on the way: whoever
/// receives keeps, whoever sends tells.
fn each_side(cases: &[Case]) -> Vec<Case> {
    let with = |option: &'static str| cases.iter().map(move |case| case.clone().arg(option));
    with("-M--fake-super").chain(with("--fake-super")).collect()
}

const PUSH: &[Way] = &[Way::PipePush];
const PULL: &[Way] = &[Way::PipePull];

/// Only the receiving side keeps what comes.
fn keeping(cases: &[Case]) {
    let with = |option: &'static str| cases.iter().map(|case| case.clone().arg(option)).collect::<Vec<_>>();
    check_all(&with("-M--fake-super"), &[(LOCAL, &ALONE), (PUSH, &ONE_END)]);
    check_all(&with("--fake-super"), &[(PULL, &ONE_END)]);
}

/// Only the sending side tells what was kept.
fn telling(cases: &[Case]) {
    let with = |options: &[&str]| {
        cases.iter().map(|case| options.iter().fold(case.clone(), |case, option| case.arg(option))).collect::<Vec<_>>()
    };
    check_all(&with(&["--fake-super", "-M--super"]), &[(LOCAL, &ALONE), (PUSH, &ONE_END)]);
    check_all(&with(&["-M--fake-super"]), &[(PULL, &ONE_END)]);
}

/// Copies a tree so that it is kept with attributes.
fn keep(source: &Path, destination: &Path) {
    let slashed = |path: &Path| format!("{}/", path.display());
    let mut command = Command::new(Program::Reference.path());
    command.args(["-aAXH", "-M--fake-super"]).arg(slashed(source)).arg(slashed(destination));
    assert!(command.status().unwrap().success());
}

/// Every kind of file, and everything that only root can give.
fn privileged(top: &Path) {
    fs::create_dir_all(top.join("dir/deep")).unwrap();
    for (path, mode, owner) in [
        ("plain", 0o644, (0, 0)),
        ("owned", 0o640, (1234, 5678)),
        ("set-id", 0o6755, (1234, 0)),
        ("sticky", 0o1600, (0, 0)),
        ("locked", 0o000, (0, 5678)),
        ("readonly", 0o444, (0, 0)),
        ("others", 0o007, (0, 0)),
        ("dir/owned", 0o600, (77, 88)),
        ("dir/deep/plain", 0o664, (0, 0)),
    ] {
        zoo::file(&top.join(path), path.as_bytes());
        std::os::unix::fs::lchown(top.join(path), Some(owner.0), Some(owner.1)).unwrap();
        zoo::set_mode(&top.join(path), mode);
    }
    use nix::sys::stat::SFlag;
    zoo::pipe(&top.join("pipe"));
    zoo::device(&top.join("null"), SFlag::S_IFCHR, (1, 3));
    zoo::device(&top.join("dir/block"), SFlag::S_IFBLK, (259, 70_000));
    for (target, path) in [("plain", "link"), ("../../../nowhere", "dir/dangling"), ("dir", "to-dir"), ("/etc", "away")]
    {
        symlink(target, top.join(path)).unwrap();
    }
    std::os::unix::fs::lchown(top.join("link"), Some(1234), Some(5678)).unwrap();
    for path in ["pipe", "null", "dir/block", "link", "dir/dangling", "to-dir", "away"] {
        zoo::set_time(&top.join(path), 1_300_000_000, 0);
    }
    for (path, mode) in [("closed", 0o000), ("dir/odd", 0o5751), ("unwritable", 0o555)] {
        fs::create_dir(top.join(path)).unwrap();
        zoo::file(&top.join(path).join("inside"), b"inside");
        std::os::unix::fs::lchown(top.join(path), Some(1234), None).unwrap();
        zoo::set_mode(&top.join(path), mode);
    }
    zoo::settle_dirs(top);
}

/// The same, kept with attributes.
fn told(top: &Path) {
    told_of(top, privileged);
}

fn told_of(top: &Path, of: fn(&Path)) {
    let real = tempfile::tempdir().unwrap();
    of(real.path());
    keep(real.path(), top);
    zoo::settle_dirs(top);
}

/// What the attribute says of a file; another time it had before stays.
fn tell(path: &Path, text: &str) {
    zoo::attr(path, "user.rsync.%stat", text.as_bytes());
}

/// The destination has it all, but of much something else is told.
fn outdated(top: &Path, source: &Path) {
    keep(source, top);
    tell(&top.join("plain"), "100600 0,0 9:9");
    tell(&top.join("owned"), "100640 0,0 1:1");
    tell(&top.join("null"), "20644 1,5 0:0");
    tell(&top.join("pipe"), "10600 0,0 7:7");
    tell(&top.join("dir"), "41777 0,0 5:5");
    tell(&top.join("dir/block"), "10644 0,0 0:0");
    zoo::file(&top.join("set-id"), b"an older content");
    zoo::set_time(&top.join("set-id"), 1_200_000_000, 0);
    tell(&top.join("set-id"), "102755 0,0 3:3");
    zoo::file(&top.join("dir/deep/plain"), b"an older content");
    zoo::set_time(&top.join("dir/deep/plain"), 1_200_000_000, 0);
    fs::write(top.join("link"), "elsewhere").unwrap();
    fs::remove_file(top.join("to-dir")).unwrap();
    symlink("dir", top.join("to-dir")).unwrap();
    fs::remove_file(top.join("locked")).unwrap();
    zoo::settle_dirs(top);
}

/// Kinds that changed: what is told to be one thing shall be another.
fn of_other_kinds(top: &Path, source: &Path) {
    keep(source, top);
    tell(&top.join("plain"), "20644 1,3 0:0");
    tell(&top.join("pipe"), "120777 0,0 0:0");
    for (path, text) in [("null", "100644 0,0 1:1"), ("link", "10644 0,0 0:0"), ("away", "140644 0,0 0:0")] {
        tell(&top.join(path), text);
    }
    fs::remove_file(top.join("dir/block")).unwrap();
    fs::create_dir(top.join("dir/block")).unwrap();
    fs::remove_file(top.join("owned")).unwrap();
    zoo::pipe(&top.join("owned"));
    zoo::settle_dirs(top);
}
