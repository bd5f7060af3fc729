//! How an old file gives way to a new one: backups, partial files, delayed updates, temporary directories, appending,
//! devices; each alone and in pairs, compared with the reference.

mod backups;
#[path = "../harness/mod.rs"]
mod harness;

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use harness::{
    Case, PIPES, Way, check_all, everywhere, in_each_place, process,
    programs::{self, AGAINST_OLD, AGAINST_REFERENCE, Program},
    zoo,
};

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

/// `old`, and more that the source does not have.
fn extraneous(top: &Path, source: &Path) {
    old(top, source);
    fs::create_dir_all(top.join("gone/deep")).unwrap();
    zoo::file(&top.join("gone/deep/file"), b"file");
    zoo::file(&top.join("gone/one~"), b"a backup");
    zoo::file(&top.join("sub/extra"), b"extra");
    symlink("nowhere", top.join("sub/extra-link")).unwrap();
    zoo::settle_dirs(top);
}

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(few).before(old)
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
        row("temporary directory below a file", "-ai --temp-dir=big/tmp"),
        row("temporary directory that is a file, with a slash", "-ai --temp-dir=big/"),
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

// Partial files and delayed updates

/// Some of the new files have a part waiting.
fn parts(top: &Path, source: &Path) {
    old(top, source);
    let part = |dir: &str, name: &str, len: usize| {
        let content = fs::read(source.join(dir).join(name)).unwrap();
        fs::create_dir_all(top.join(dir).join(".part")).unwrap();
        zoo::file(&top.join(dir).join(".part").join(name), &content[..len]);
    };
    part("", "big", 123_456);
    part("", "new", 3);
    part("sub", "text", 10);
    part("sub", "same", 2);
    zoo::file(&top.join("sub/deep/.part"), b"no directory");
    // Only a regular file counts.
    symlink("../big", top.join(".part/zeros")).unwrap();
    zoo::settle_dirs(top);
}

#[test]
fn partial_files() {
    let with_parts = |name, args| row(name, args).before(parts);
    in_each_place(&[
        with_parts("partial directory", "-ai --partial-dir=.part --stats"),
        with_parts("partial directory, deltas", "-ai --partial-dir=.part --no-whole-file --stats"),
        row("absolute partial directory", "-ai --partial-dir={box}/part --no-whole-file")
            .before(|top, source| {
                old(top, source);
                let part = top.with_file_name("part");
                fs::create_dir(&part).unwrap();
                for (name, len) in [("big", 111_111), ("longer", 20_000)] {
                    let content = fs::read(source.join(if name == "big" { name } else { "sub/deep/longer" })).unwrap();
                    zoo::file(&part.join(name), &content[..len]);
                }
            })
            .beside(&["part"]),
    ]);
    everywhere(&[
        with_parts("partial directory, told", "-avv --partial-dir=.part").unordered(),
        with_parts("partial directory, traced", "-a --partial-dir=.part --no-W --debug=deltasum2,recv").unordered(),
        with_parts("partial directory in a dry run", "-ain --partial-dir=.part"),
        with_parts("partial directory with a backup", "-aib --partial-dir=.part --no-whole-file"),
        with_parts("partial directory and backup directory", "-ai --partial-dir=.part --backup-dir=bak"),
        with_parts("partial directory and deletion", "-ai --partial-dir=.part --delete").unordered(),
        row("partial directory and temporary directory", "-ai --partial-dir=.part --temp-dir={far}"),
        with_parts("partial directory of the environment", "-ai --partial --no-whole-file")
            .env("RSYNC_PARTIAL_DIR", ".part"),
        with_parts("partial directory named over the environment's", "-ai --partial-dir=.part --no-whole-file")
            .env("RSYNC_PARTIAL_DIR", "other"),
        row("delayed, in the environment's directory", "-ai --delay-updates").env("RSYNC_PARTIAL_DIR", ".part"),
        with_parts("a directory of the environment alone", "-ai --no-whole-file").env("RSYNC_PARTIAL_DIR", ".part"),
        with_parts("partial directory, sparse", "-ai --partial-dir=.part -S --no-whole-file"),
        with_parts("partial directory with checksums", "-aic --partial-dir=.part --no-whole-file"),
        with_parts("partial directory without permissions", "-rti --partial-dir=.part --no-whole-file").unordered(),
        with_parts("partial directory of two", "-ai --partial-dir=.part/deep"),
        row("partial directory in the source", "-ai --partial-dir=.part").tree(|top| {
            few(top);
            fs::create_dir(top.join("sub/.part")).unwrap();
            zoo::file(&top.join("sub/.part/text"), b"not ours");
            zoo::settle_dirs(top);
        }),
    ]);
}

#[test]
fn delayed_updates() {
    in_each_place(&[
        row("delayed", "-ai --delay-updates --stats"),
        row("delayed, deltas", "-ai --delay-updates --no-whole-file"),
        row("delayed, with a backup", "-aibv --delay-updates --info=backup").unordered(),
        row("delayed, in a directory of another name", "-ai --delay-updates --partial-dir=.part"),
    ]);
    everywhere(&[
        row("delayed, told", "-avv --delay-updates --debug=recv").unordered(),
        row("delayed in a dry run", "-ain --delay-updates"),
        row("delayed, backup directory", "-ai --delay-updates --backup-dir=bak"),
        row("delayed, with parts", "-ai --delay-updates --partial-dir=.part --no-whole-file").before(parts),
        row("delayed, temporary directory", "-ai --delay-updates --temp-dir={far}"),
        row("delayed, deletion", "-ai --delay-updates --delete").before(extraneous).unordered(),
        row("delayed, deletion after", "-ai --delay-updates --delete-after").before(extraneous).unordered(),
        row("delayed, deletion delayed", "-ai --delay-updates --delete-delay").before(extraneous).unordered(),
        row("delayed, absolute directory", "-ai --delay-updates --partial-dir={box}/part")
            .before(|top, source| {
                old(top, source);
                fs::create_dir(top.with_file_name("part")).unwrap();
            })
            .beside(&["part"]),
        row("delayed, directory that cannot be", "-ai --delay-updates --partial-dir={box}/no/part").unordered(),
        row("delayed, synced and sparse", "-ai --delay-updates --fsync -S"),
        row("one file delayed", "-ai --delay-updates").from(&["src/big"]).to("dst/other"),
        row("delayed over what an interrupted run left", "-ai --delay-updates --no-whole-file").before(
            |top, source| {
                old(top, source);
                for (dir, name) in [("", "big"), ("sub", "text")] {
                    fs::create_dir(top.join(dir).join(".~tmp~")).unwrap();
                    fs::copy(source.join(dir).join(name), top.join(dir).join(".~tmp~").join(name)).unwrap();
                    zoo::set_time(&top.join(dir).join(".~tmp~").join(name), 1_250_000_000, 0);
                }
                zoo::settle_dirs(top);
            },
        ),
    ]);
}

#[test]
fn sources_that_go_when_their_files_have_arrived() {
    let removing = |name, args| row(name, args).own_source();
    everywhere(&[
        removing("sources removed, delayed", "-ai --remove-source-files --delay-updates").unordered(),
        removing("sources removed, partial files", "-ai --remove-source-files --partial-dir=.part --no-W")
            .before(parts)
            .unordered(),
        removing("sources removed, appended", "-ai --remove-source-files --append").before(beginnings).unordered(),
        removing("sources removed, backups", "-aib --remove-source-files --inplace").unordered(),
    ]);
}

// Permissions of what is new

/// Directories whose default ACLs say what new things in them may be.
fn default_acls(top: &Path, _: &Path) {
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    for (dir, acl) in [(".", "d:u::rwx,d:g::rwx,d:o::-"), ("sub", "d:u::rw,d:g::rwx,d:m::r,d:u:1234:rwx,d:o::rwx")] {
        let done = Command::new("setfacl").args(["-m", acl]).arg(top.join(dir)).status();
        assert!(done.unwrap().success());
    }
    zoo::settle_dirs(top);
}

#[test]
fn new_things_obey_default_acls() {
    if Command::new("setfacl").arg("--version").output().is_err() {
        return harness::skip("default ACLs", "there is no setfacl");
    }
    let row = |name, args| Case::new(name, args).tree(few).before(default_acls).unordered();
    everywhere(&[
        row("default ACLs", "-rlti"),
        row("default ACLs, permissions not kept", "-ai --no-p"),
        row("default ACLs, traced", "-rlt --debug=acl"),
        row("default ACLs, permissions kept", "-ai"),
        row("default ACLs in a dry run", "-rltn --debug=acl"),
        row("a file stands in a directory's place", "-rlt --ignore-existing").before(|top, _| {
            zoo::file(&top.join("sub"), b"in the way");
            zoo::settle_dirs(top);
        }),
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

/// A file as a block device, until dropped.
struct Loop(String);

impl Loop {
    /// The reason, where there are none.
    fn over(file: &Path) -> Result<Self, String> {
        let made = Command::new("losetup").args(["-f", "--show"]).arg(file).output();
        let made = made.map_err(|error| format!("losetup: {error}"))?;
        let said = if made.status.success() { made.stdout } else { made.stderr };
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if made.status.success() { Ok(Self(said)) } else { Err(said) }
    }

    /// The same device under another name.
    fn node(&self, path: &Path) {
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o660);
        let device = fs::metadata(&self.0).expect("device").rdev();
        nix::sys::stat::mknod(path, nix::sys::stat::SFlag::S_IFBLK, mode, device).expect("device");
        zoo::set_time(path, 1_200_000_000, 0);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

/// What a run said, and what is on the device and in its copy then.
type Left = (process::Outcome, Vec<u8>, Option<Vec<u8>>);

/// Runs with a device that has a size among the sources and at the destination.
fn on_a_device(program: Program, args: &[&str]) -> Result<Left, String> {
    let site = tempfile::tempdir().expect("temporary directory");
    let path = |name: &str| site.path().join(name);
    let old = zoo::noise(102_400, 3);
    zoo::file(&path("image"), &old);
    let device = Loop::over(&path("image"))?;
    for dir in ["src", "dst"] {
        fs::create_dir(path(dir)).expect("directory");
    }
    zoo::file(&path("src/written"), &[&old[..40_000], b"something else", &old[40_014..]].concat());
    device.node(&path("src/copied"));
    device.node(&path("dst/written"));
    zoo::settle_dirs(&path("dst"));
    let outcome = process::run(site.path(), &program.path(), &[args, &["src/", "dst/"]].concat(), b"");
    Ok((outcome, fs::read(&device.0).expect("device"), fs::read(path("dst/copied")).ok()))
}

#[test]
fn devices_with_a_size() {
    if !harness::programs::reference_is_there("devices with a size") {
        return;
    }
    for args in [
        "-rti --write-devices --exclude=copied --stats",
        "-rti --write-devices --exclude=copied --no-whole-file",
        "-rti --copy-devices --exclude=written",
        "-rti --copy-devices --exclude=written --no-whole-file -c",
    ] {
        let args: Vec<_> = args.split(' ').collect();
        let reference = on_a_device(Program::Reference, &args);
        let (reference, ours) = match (reference, on_a_device(Program::Ours, &args)) {
            (Ok(reference), Ok(ours)) => (reference, ours),
            (Err(reason), _) | (_, Err(reason)) => return harness::skip("devices with a size", &reason),
        };
        let said = |outcome: &process::Outcome| {
            let text = String::from_utf8_lossy(&[&outcome.stdout[..], &outcome.stderr[..]].concat()).into_owned();
            // what is measured in time or in bytes of protocol
            text.lines()
                .filter(|line| !["sec", "peedup", "Total bytes"].iter().any(|word| line.contains(word)))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(reference.0.status, ours.0.status, "{args:?}");
        assert_eq!(said(&reference.0), said(&ours.0), "{args:?}");
        assert!(reference.1 == ours.1 && reference.2 == ours.2, "{args:?}: other contents");
    }
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
            at("delayed, older", "-ai --delay-updates --no-whole-file"),
            at("partial directory, older", "-ai --partial-dir=.part --no-whole-file").before(parts),
        ]);
    }
}

#[test]
fn oldest_protocols() {
    for version in ["28", "27"] {
        let at = |name: &'static str, args: &str| row(name, &format!("{args} --protocol={version}")).unordered();
        everywhere(&[
            at("backup, oldest", "-aib --no-whole-file"),
            at("in place with a backup, oldest", "-aib --inplace --no-whole-file"),
            at("append, oldest", "-ai --append").before(beginnings),
            at("append to what begins otherwise, oldest", "-ai --append").before(wrong_beginnings),
            at("... with errors told by the client", "-ai --append --stderr=client").before(wrong_beginnings),
            at("... with all on the standard error", "-ai --append --stderr=all").before(wrong_beginnings),
            at("delayed, oldest", "-aib --delay-updates --no-whole-file"),
            // There the reference builds on what a planted link leads to.
            at("partial directory, oldest", "-ai --partial-dir=.part --no-whole-file").before(|top, source| {
                parts(top, source);
                fs::remove_file(top.join(".part/zeros")).unwrap();
            }),
        ]);
    }
}

#[test]
fn with_an_older_release() {
    let cases = [
        row("backup directory, old peer", "-ai --backup-dir=bak --no-whole-file"),
        row("in place with a backup, old peer", "-aib --inplace --no-whole-file"),
        row("append and verify, old peer", "-ai --append-verify").before(wrong_beginnings).unordered(),
        row("delayed with parts, old peer", "-ai --delay-updates --partial-dir=.part --no-whole-file").before(parts),
    ];
    check_all(&cases, &[(PIPES, &AGAINST_OLD)]);
}

// Interrupted runs

/// What is below a directory: names, kinds and permissions; of what is under way no more than that it is there.
fn left(top: &Path, below: &str, lines: &mut Vec<String>) {
    for entry in fs::read_dir(top.join(below)).into_iter().flatten().flatten() {
        let path = format!("{below}/{}", entry.file_name().display());
        let Ok(meta) = entry.metadata() else { continue }; // gone meanwhile
        let content = match meta.is_file() && !path.contains("large") {
            true => fs::read_to_string(entry.path()).unwrap_or_else(|_| meta.len().to_string()),
            false => String::new(),
        };
        lines.push(format!("{path} {:o} {content}", meta.mode()));
        if meta.is_dir() {
            left(top, &path, lines);
        }
    }
    lines.sort();
}

/// Whether the large file's new data has begun to arrive, wherever it goes.
fn under_way(dir: &Path, since: SystemTime) -> bool {
    fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => under_way(&entry.path(), since),
        Ok(meta) => {
            let name = entry.file_name();
            let large = name.to_string_lossy().contains("large") && !name.to_string_lossy().contains('~');
            large && meta.is_file() && meta.len() > 0 && meta.modified().is_ok_and(|time| time >= since)
        }
        Err(_) => false,
    })
}

/// Starts a program, interrupts it while the large file comes, and tells what it left; then lets it finish.
fn interrupted(program: Program, signal: Signal, options: &str, way: Way) -> (Vec<String>, Vec<String>) {
    let dir = tempfile::Builder::new().prefix("oc-rsync-").tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["src", "dst", "tmp"] {
        fs::create_dir(at(name)).unwrap();
    }
    zoo::file(&at("src/a"), b"new");
    zoo::file(&at("src/large"), &zoo::noise(3_000_000, 1));
    zoo::file(&at("src/z"), b"last");
    zoo::file(&at("dst/a"), b"old, and longer");
    zoo::file(&at("dst/large"), &zoo::noise(3_000_000, 1)[..100_000]);
    for name in ["dst/a", "dst/large"] {
        zoo::set_time(&at(name), 1_200_000_000, 0);
    }
    let options = options.replace("{box}", &dir.path().display().to_string());
    let mut argv: Vec<String> = options.split_whitespace().map(String::from).collect();
    argv.push("-a".into());
    let far = format!("far:{}/", dir.path().display());
    if way != Way::Local {
        argv.extend(["-e".into(), harness::stand_in().display().to_string()]);
        argv.push(format!("--rsync-path={}", program.path().display()));
    }
    argv.push(if way == Way::PipePull { format!("{far}src/") } else { "src/".into() });
    argv.push(if way == Way::PipePush { format!("{far}dst/") } else { "dst/".into() });
    let since = SystemTime::now() - Duration::from_secs(1);
    let mut command = harness::process::command(dir.path(), &program.path(), &argv);
    command.arg("--bwlimit=2000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + harness::process::PATIENCE;
    while !under_way(dir.path().join("dst").as_path(), since) && !under_way(&at("tmp"), since) {
        assert!(Instant::now() < end && child.try_wait().unwrap().is_none(), "{options}: nothing came");
        thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    let status = child.wait().unwrap();
    assert!(!status.success(), "{options}");
    // The far side ends by itself, and the reference's processes one after the other.
    let mut found = Vec::new();
    let mut same_for = 0;
    while same_for < 15 && Instant::now() < end {
        let mut lines = Vec::new();
        left(dir.path(), "dst", &mut lines);
        left(dir.path(), "tmp", &mut lines);
        same_for = if lines == found { same_for + 1 } else { 0 };
        found = lines;
        thread::sleep(Duration::from_millis(10));
    }
    let done = harness::process::command(dir.path(), &program.path(), &argv).output().unwrap();
    assert!(done.status.success(), "{options}: {}", String::from_utf8_lossy(&done.stderr));
    // What is longer than its source is not appended to.
    for name in ["a", "large", "z"].into_iter().filter(|name| *name != "a" || !options.contains("append")) {
        let (wanted, got) = (fs::read(at("src").join(name)).unwrap(), fs::read(at("dst").join(name)).unwrap());
        assert!(wanted == got, "{options}: {name} is not complete after a second run");
    }
    let mut completed = Vec::new();
    left(dir.path(), "dst", &mut completed);
    left(dir.path(), "tmp", &mut completed);
    (found, completed)
}

#[test]
fn an_interrupted_run_leaves_what_the_reference_leaves() {
    if !harness::programs::reference_is_there("interrupted runs") {
        return;
    }
    let mut differences = Vec::new();
    let by_default = [
        ("--partial-dir=.part", Way::Local),
        ("--partial-dir=.part -b --backup-dir=bak", Way::PipePull),
        ("--partial-dir={box}/tmp", Way::PipePush),
        ("--delay-updates", Way::Local),
        ("--delay-updates -b", Way::PipePush),
        ("--temp-dir={box}/tmp", Way::Local),
        ("--temp-dir={box}/tmp --partial", Way::PipePull),
        ("--temp-dir={box}/tmp --partial-dir=.part", Way::Local),
        ("--partial -b", Way::Local),
        ("--inplace -b", Way::PipePush),
        ("--append", Way::Local),
    ];
    let by_key = [("--partial-dir=.part -b", Way::Local), ("--delay-updates", Way::PipePull), ("", Way::PipePush)];
    let runs = by_default.map(|run| (Signal::SIGTERM, run)).into_iter();
    for (signal, (options, way)) in runs.chain(by_key.map(|run| (Signal::SIGINT, run))) {
        let reference = interrupted(Program::Reference, signal, options, way);
        let ours = interrupted(Program::Ours, signal, options, way);
        for (when, theirs, mine) in [("left", reference.0, ours.0), ("completed", reference.1, ours.1)] {
            if theirs != mine {
                differences.push(format!(
                    "{signal} · {options} · {way:?} · {when}\n  reference {theirs:#?}\n  ours {mine:#?}"
                ));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
