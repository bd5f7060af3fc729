//! How an old file gives way to a new one: backups, partial files, delayed updates, temporary directories, appending,
//! devices; each alone and in pairs, compared with the reference.

mod harness;

use std::{fs, os::unix::fs::symlink, path::Path};

use harness::{
    Case, Ends, Way, check_all,
    programs::{AGAINST_REFERENCE, ALONE, Program, ends},
    zoo,
};

const LOCAL: &[Way] = &[Way::Local];
const PIPES: &[Way] = &[Way::PipePush, Way::PipePull];
/// Ours at either end, but not at both.
const ONE_END: &[Ends] = &[ends(Program::Ours, Program::Reference), ends(Program::Reference, Program::Ours)];

/// Locally, and through pipes with ours at each end, and at both.
fn in_each_place(cases: &[Case]) {
    check_all(cases, &[(LOCAL, &ALONE), (PIPES, &AGAINST_REFERENCE)]);
}

/// Locally, and through pipes with ours at each end.
fn everywhere(cases: &[Case]) {
    check_all(cases, &[(LOCAL, &ALONE), (PIPES, ONE_END)]);
}

/// A few files of each kind that matters here.
fn few(top: &Path) {
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    zoo::file(&top.join("big"), &zoo::noise(200_000, 1));
    zoo::file(&top.join("zeros"), &[vec![1; 5000], vec![0; 90_000], vec![2; 5000]].concat());
    zoo::file(&top.join("sub/same"), b"the same");
    zoo::file(&top.join("sub/text"), b"a new text");
    zoo::file(&top.join("sub/deep/longer"), &zoo::noise(40_000, 2));
    zoo::file(&top.join("sub/deep/empty"), b"");
    symlink("new", top.join("sub/link")).unwrap();
    zoo::set_time(&top.join("sub/link"), 1_400_000_000, 0);
    zoo::file(&top.join("was-link"), b"a file now");
    zoo::file(&top.join("new"), b"not there before");
    zoo::set_mode(&top.join("sub"), 0o750);
    zoo::settle_dirs(top);
}

/// What stood there before the files of `few`.
fn old(top: &Path, _: &Path) {
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    zoo::file(&top.join("big"), &[&b"in front"[..], &zoo::noise(200_000, 1)[..150_000]].concat());
    zoo::file(&top.join("zeros"), &vec![7; 70_000]);
    zoo::file(&top.join("sub/same"), b"the same");
    zoo::file(&top.join("sub/text"), b"an old text, which is longer than the new one");
    zoo::file(&top.join("sub/deep/longer"), &zoo::noise(40_000, 2)[..15_000]);
    zoo::file(&top.join("sub/deep/empty"), b"not empty");
    symlink("old", top.join("sub/link")).unwrap();
    symlink("elsewhere", top.join("was-link")).unwrap();
    zoo::set_mode(&top.join("sub/text"), 0o600);
    zoo::set_mode(&top.join("sub/deep"), 0o1755);
    for path in ["sub/text", "sub/deep/longer", "big", "zeros", "sub/deep/empty", "sub/link"] {
        zoo::set_time(&top.join(path), 1_200_000_000, 0);
    }
    zoo::settle_dirs(top);
}

/// Beginnings of the new files, for appending.
fn beginnings(top: &Path, source: &Path) {
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    for (path, len) in [("big", 77_777), ("zeros", 50_000), ("sub/text", 4), ("sub/deep/longer", 39_999)] {
        let content = fs::read(source.join(path)).unwrap();
        zoo::file(&top.join(path), &content[..len]);
        zoo::set_time(&top.join(path), 1_200_000_000, 0);
    }
    zoo::file(&top.join("sub/same"), b"the same but longer");
    zoo::file(&top.join("new"), b"");
    zoo::settle_dirs(top);
}

/// The same, but of one file the beginning is another.
fn wrong_beginnings(top: &Path, source: &Path) {
    beginnings(top, source);
    zoo::file(&top.join("sub/deep/longer"), &zoo::noise(30_000, 9));
    zoo::set_time(&top.join("sub/deep/longer"), 1_200_000_000, 0);
    zoo::settle_dirs(top);
}

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(few).before(old)
}

// Backups

#[test]
fn backups_beside() {
    in_each_place(&[
        row("backup", "-aib"),
        row("backup, told", "-avvb").unordered(),
        row("backup with deltas", "-aib --no-whole-file --stats"),
        row("backup with a suffix", "-ai --backup --suffix=.old"),
        row("backup in a dry run", "-ainb"),
        row("backup in a dry run, told", "-avvnb").unordered(),
    ]);
    everywhere(&[
        row("backup traced", "-ab --debug=backup --info=backup").unordered(),
        row("backup of attributes that are not kept", "-rlib").unordered(),
        row("backup over a backup", "-aib").before(|top, source| {
            old(top, source);
            zoo::file(&top.join("big~"), b"an older one");
            fs::create_dir_all(top.join("sub/text~")).unwrap();
            zoo::settle_dirs(top);
        }),
        row("a suffix alone", "-ai --suffix=.old"),
        row("backup and then not", "-aib --no-backup"),
    ]);
}

#[test]
fn backups_elsewhere() {
    in_each_place(&[
        row("backup directory below", "-ai --backup-dir=bak"),
        row("backup directory, told", "-avv --backup-dir=../bak").beside(&["bak"]).unordered(),
        row("backup directory with a suffix", "-aib --backup-dir=../bak/deep/ --suffix=.old").beside(&["bak"]),
        row("absolute backup directory", "-ai --backup-dir={box}/bak").beside(&["bak"]),
        row("backup directory on another file system", "-aiv --backup-dir={far}/bak").unordered(),
    ]);
    everywhere(&[
        row("backup directory in a dry run", "-ain --backup-dir=bak --info=backup").unordered(),
        row("backup directory is the destination", "-ai --backup-dir=. --suffix=.old"),
        row("backup directory with things in it", "-ai --backup-dir=bak --info=backup").unordered().before(
            |top, source| {
                old(top, source);
                fs::create_dir_all(top.join("bak/big")).unwrap();
                zoo::file(&top.join("bak/sub"), b"in the way");
                zoo::settle_dirs(top);
            },
        ),
        row("backup directory is a file", "-ai --backup-dir=bak").before(|top, source| {
            old(top, source);
            zoo::file(&top.join("bak"), b"in the way");
        }),
    ]);
}

#[test]
fn backups_of_every_kind() {
    let stale = |name, args| Case::new(name, args).before(zoo::stale);
    everywhere(&[
        stale("backup of the zoo", "-ab --info=backup --stats").unordered(),
        stale("backup of the zoo elsewhere", "-a --backup-dir=bak --info=backup").unordered(),
        stale("backup of the zoo on another file system", "-a --backup-dir={far}/bak --info=backup").unordered(),
    ]);
}

// Appending

#[test]
fn appending() {
    let append = |name, args| row(name, args).before(beginnings);
    in_each_place(&[
        append("append", "-ai --append --stats"),
        append("append and verify", "-ai --append-verify --stats"),
        append("append to what begins otherwise", "-ai --append").before(wrong_beginnings),
        append("append and verify what begins otherwise", "-aiv --append-verify").before(wrong_beginnings).unordered(),
    ]);
    everywhere(&[
        append("append twice", "-ai --append --append").before(wrong_beginnings).unordered(),
        append("append in a dry run", "-ain --append"),
        append("append with checksums", "-aic --append"),
        append("append into reserved room", "-ai --append --preallocate"),
        append("append with a backup", "-aib --append"),
        append("append, verify and back up", "-ai --append-verify --backup-dir=bak")
            .before(wrong_beginnings)
            .unordered(),
        append("append, traced", "-a --append --debug=deltasum2").unordered(),
    ]);
}

// In place

#[test]
fn in_place_with_backups() {
    in_each_place(&[
        row("in place with a backup", "-aib --inplace --stats"),
        row("in place with a backup, deltas", "-aib --inplace --no-whole-file --stats"),
        row("in place with a backup directory", "-ai --inplace --backup-dir={box}/bak --no-whole-file")
            .beside(&["bak"]),
        row("in place, backup elsewhere", "-aivv --inplace --backup-dir={far}/bak").unordered(),
    ]);
    everywhere(&[
        row("in place with a backup, without permissions", "-rtib --inplace --no-whole-file").unordered(),
        row("in place with a backup, sparse", "-aib --inplace -S"),
        row("in place with a backup over one", "-aib --inplace").before(|top, source| {
            old(top, source);
            zoo::file(&top.join("big~"), b"an older one");
            symlink("big", top.join("zeros~")).unwrap();
        }),
    ]);
}

// Temporary directories

#[test]
fn temporary_directories() {
    let with_tmp = |name, args| {
        row(name, args).before(|top, source| {
            old(top, source);
            fs::create_dir(top.join("tmp")).unwrap();
            zoo::settle_dirs(top);
        })
    };
    in_each_place(&[
        with_tmp("temporary directory", "-ai -T tmp"),
        row("temporary directory on another file system", "-ai --temp-dir={far}"),
        row("temporary directory on another file system, deltas", "-ai --temp-dir={far} --no-whole-file"),
        row("temporary directory that is not there", "-ai --temp-dir=missing"),
    ]);
    everywhere(&[
        row("temporary directory that is a file", "-ai --temp-dir=big"),
        row("temporary directory with a backup", "-aib --temp-dir={far}"),
        row("temporary directory and backup directory", "-ai --temp-dir={far} --backup-dir=bak"),
        row("temporary directory, synced", "-ai --temp-dir={far} --fsync"),
        row("temporary directory, sparse", "-ai --temp-dir={far} -S"),
        row("temporary directory, room made", "-ai --temp-dir={far} --preallocate"),
        row("temporary directory without permissions", "-rti --temp-dir={far}").unordered(),
        with_tmp("temporary directory in a dry run", "-ain -T tmp"),
        row("temporary directory in place", "-ai --inplace -T {far}"),
    ]);
}

// Devices

#[test]
fn devices() {
    if !harness::programs::is_root() {
        harness::skip("devices", "not root");
        return;
    }
    let null = |top: &Path, _: &Path| {
        let node = nix::sys::stat::makedev(1, 3);
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        nix::sys::stat::mknod(&top.join("big"), nix::sys::stat::SFlag::S_IFCHR, mode, node).unwrap();
        zoo::set_time(&top.join("big"), 1_200_000_000, 0);
    };
    everywhere(&[
        row("write devices", "-rti --write-devices --stats").before(null).unordered(),
        row("write devices, deltas", "-rti --write-devices --no-whole-file").before(null).unordered(),
        row("write devices, told", "-rtvv --write-devices").before(null).unordered(),
        row("a device is replaced", "-rtib").before(null).unordered(),
        Case::new("copy devices", "-rli --copy-devices")
            .before(|_, _| {})
            .tree(|top| {
                few(top);
                let node = nix::sys::stat::makedev(1, 3);
                let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
                nix::sys::stat::mknod(&top.join("null"), nix::sys::stat::SFlag::S_IFCHR, mode, node).unwrap();
            })
            .unordered(),
    ]);
}

// What does not go together

#[test]
fn refused_pairs() {
    let refused = |name, args| row(name, args);
    everywhere(&[
        refused("append whole files", "-a --append --whole-file"),
        refused("append and delay", "-a --append --delay-updates"),
        refused("append to partial files", "-a --append --partial-dir=p"),
        refused("append, verify and delay", "-a --append-verify --delay-updates"),
        refused("in place and delayed", "-a --inplace --delay-updates"),
        refused("in place and among partial files", "-a --inplace --partial-dir=p"),
        refused("devices and delays", "-a --write-devices --delay-updates"),
        refused("no suffix and no directory", "-ab --suffix="),
        refused("no suffix and the same directory", "-a --backup-dir=./ --suffix="),
        refused("a suffix with a slash", "-ab --suffix=a/b"),
    ]);
}

// Older protocols

#[test]
fn older_protocols() {
    for version in ["31", "30", "29"] {
        let at = |name: &'static str, args: &str| row(name, &format!("{args} --protocol={version}"));
        everywhere(&[
            at("backup, older", "-aib --no-whole-file"),
            at("backup directory, older", "-ai --backup-dir=bak"),
            at("in place with a backup, older", "-aib --inplace --no-whole-file"),
            at("append, older", "-ai --append").before(beginnings),
            at("append to what begins otherwise, older", "-ai --append").before(wrong_beginnings).unordered(),
            at("append and verify, older", "-ai --append-verify").before(wrong_beginnings).unordered(),
            at("temporary directory, older", "-ai --temp-dir={far}"),
        ]);
    }
}
