//! The argument list that a server gets: ours against the installed reference's, word for word.
//!
//! The reference is run with a remote shell that writes down what it was given and goes away.

#[allow(dead_code)] // only what names the reference is needed here
#[path = "harness/programs.rs"]
mod programs;

use std::{
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use oc_rsync::{
    options::{forward, parse, target::Target},
    proto,
    wire::Writer,
};

const SHELL: &str = r#"#!/bin/bash
printf '%s\0' "$@" >"$RECORD"
if [[ " $* " != *" . "* ]]; then
    while IFS= read -r -d '' word && [ -n "$word" ]; do printf '%s\0' "$word"; done >"$RECORD.in"
fi
"#;

/// Options that mean something to the far side, or that must not reach it.
const OPTIONS: &[&str] = &[
    "-v",
    "-vvv",
    "-q",
    "-c",
    "-a",
    "-r",
    "-R",
    "-b",
    "-u",
    "-d",
    "-l",
    "-L",
    "-k",
    "-K",
    "-H",
    "-HH",
    "-p",
    "-E",
    "-A",
    "-X",
    "-XX",
    "-o",
    "-g",
    "-D",
    "-t",
    "-U",
    "-UU",
    "-O",
    "-J",
    "-S",
    "-n",
    "-W",
    "-x",
    "-xx",
    "-y",
    "-yy",
    "-z",
    "-zz",
    "-C",
    "-F",
    "-m",
    "-I",
    "-i",
    "-ii",
    "-P",
    "-8",
    "-h",
    "-0",
    "-4",
    "-6",
    "-s",
    "--no-r",
    "--no-D",
    "--no-W",
    "--no-implied-dirs",
    "--no-i-r",
    "--no-inc-recursive",
    "--inplace",
    "--append",
    "--append-verify",
    "--old-dirs",
    "--mkpath",
    "--copy-unsafe-links",
    "--safe-links",
    "--insecure-links",
    "--munge-links",
    "--devices",
    "--specials",
    "--no-specials",
    "--copy-devices",
    "--write-devices",
    "--drop-D",
    "--open-noatime",
    "--super",
    "--no-super",
    "--fake-super",
    "--preallocate",
    "--existing",
    "--ignore-non-existing",
    "--ignore-existing",
    "--remove-source-files",
    "--remove-sent-files",
    "--del",
    "--delete",
    "--delete-before",
    "--delete-during",
    "--delete-delay",
    "--delete-after",
    "--delete-excluded",
    "--ignore-missing-args",
    "--delete-missing-args",
    "--ignore-errors",
    "--force",
    "--max-delete=3",
    "--max-delete=-1",
    "--max-delete=0",
    "--max-size=1.5m",
    "--min-size=10k",
    "--max-alloc=2g",
    "--max-alloc=1g",
    "--max-alloc=0",
    "--partial",
    "--partial-dir=.p",
    "--partial-dir=a b/../c",
    "--delay-updates",
    "--numeric-ids",
    "--usermap=*:me",
    "--groupmap=0-9:x y",
    "--chown=a:b",
    "--chmod=u+x",
    "--timeout=20",
    "--timeout=-3",
    "--size-only",
    "--modify-window=2",
    "-@-1",
    "-@0",
    "--temp-dir=t d",
    "--compare-dest=c",
    "--copy-dest=c*",
    "--link-dest=../l",
    "--compress-choice=lz4",
    "--compress-choice=zlib",
    "--compress-choice=zlibx",
    "--zc=none",
    "--compress-level=3",
    "--skip-compress=gz/xz",
    "--old-compress",
    "--new-compress",
    "--filter=- x",
    "--exclude=y",
    "--include=z",
    "--from0",
    "--old-args",
    "--trust-sender",
    "--stats",
    "--progress",
    "--info=progress2",
    "--info=name0,copy2,stats2",
    "--info=all3",
    "--info=none",
    "--debug=all",
    "--stderr=all",
    "--stderr=client",
    "--msgs2stderr",
    "--out-format=%n",
    "--out-format=%i %n",
    "--out-format=%o %b",
    "--log-format=%%i",
    "--list-only",
    "--bwlimit=100",
    "--bwlimit=1.5m",
    "--bwlimit=0",
    "--fsync",
    "--protocol=29",
    "--protocol=31",
    "--iconv=utf8,latin1",
    "--iconv=.",
    "--checksum-seed=7",
    "--checksum-seed=0",
    "--checksum-choice=md5",
    "--cc=xxh64,none",
    "--cc=none",
    "--cc=auto",
    "--block-size=1k",
    "-B700",
    "--qsort",
    "--backup-dir=b d",
    "--backup-dir=./",
    "--suffix=.old",
    "--suffix=~",
    "-M--foo",
    "-M-x y",
    "--remote-option=--bar=*",
    "--rsync-path=my rsync",
    "--stop-after=9",
    "--blocking-io",
    "--files-from=list",
    "--files-from=h:list",
    "--only-write-batch=x",
    "--write-batch=x",
    "--no-relative",
    "--dirs",
];

/// A way to name the two sides.
#[derive(Clone, Copy, Debug)]
enum Way {
    Push,
    Pull,
}

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shell = dir.path().join("shell");
        fs::write(&shell, SHELL).unwrap();
        fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["src", "list"] {
            fs::write(dir.path().join(name), "src\n").unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the reference's remote shell was given: its words, and what came over the wire; or the refusal.
    fn reference(&self, words: &[&str], env: &[(&str, &str)]) -> Result<Told, String> {
        let record = self.path("record");
        let wire = self.path("record.in");
        let _ = (fs::remove_file(&record), fs::remove_file(&wire));
        let output = Command::new("rsync")
            .arg("-e")
            .arg(self.path("shell"))
            .args(words)
            .current_dir(self.dir.path())
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin")])
            .env("HOME", self.dir.path())
            .env("RECORD", &record)
            .envs(env.iter().copied())
            .output()
            .expect("the reference runs");
        let split = |path: &Path| -> Option<Vec<Vec<u8>>> {
            let text = fs::read(path).ok()?;
            Some(text.strip_suffix(b"\0")?.split(|&b| b == 0).map(<[u8]>::to_vec).collect())
        };
        match split(&record) {
            Some(argv) => Ok(Told { argv, wire: split(&wire) }),
            None => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

#[derive(PartialEq, Eq)]
struct Told {
    argv: Vec<Vec<u8>>,
    wire: Option<Vec<Vec<u8>>>,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let join = |words: &[Vec<u8>]| String::from_utf8_lossy(&words.join(&b'|')).into_owned();
        write!(f, "{} ~ {:?}", join(&self.argv), self.wire.as_deref().map(join))
    }
}

fn ours(words: &[&str], env: &[(&str, &str)]) -> Result<Told, String> {
    let line: Vec<Vec<u8>> = ["-e", "shell"].iter().chain(words).map(|word| word.as_bytes().to_vec()).collect();
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, v)| v.as_bytes().to_vec());
    let text = |message: Vec<u8>| String::from_utf8_lossy(&message).into_owned();
    let options = parse::meaning_of(&line, &env).map_err(|error| text(error.message))?;
    let (host, we_send, paths) = match Target::of(&options).map_err(|error| text(error.message))? {
        Target::Push { host, dest, .. } => (host, true, vec![dest]),
        Target::Pull { host, sources, .. } => (host, false, sources),
        Target::Local { .. } | Target::Replay { .. } => panic!("there is a host in {words:?}"),
    };
    let far = forward::far_args(&options, we_send, &paths);
    let mut argv = Vec::new();
    if let Some(user) = host.user {
        argv.extend([b"-l".to_vec(), user]);
    }
    argv.extend([host.name, options.rsync_path.clone()]);
    argv.extend(far.argv);
    let wire = far.secluded.map(|words| {
        let (mut writer, kept) = Writer::into_memory();
        proto::args::send(&mut writer, words).unwrap();
        let sent = std::mem::take(&mut *kept.lock().unwrap());
        let words = sent.strip_suffix(b"\0\0").unwrap();
        words.split(|&b| b == 0).map(<[u8]>::to_vec).collect()
    });
    Ok(Told { argv, wire })
}

/// Compares one line in one direction; the difference, if any.
fn compare(fixture: &Fixture, options: &[&str], way: Way, env: &[(&str, &str)]) -> Option<String> {
    let mut words = options.to_vec();
    words.extend(match way {
        Way::Push => ["src", "h:d e*"],
        Way::Pull => ["h:a b?", "dst"],
    });
    compare_words(fixture, &words, env)
}

fn compare_words(fixture: &Fixture, words: &[&str], env: &[(&str, &str)]) -> Option<String> {
    match (fixture.reference(words, env), ours(words, env)) {
        (Ok(reference), Ok(ours)) if reference == ours => None,
        (Err(reference), Err(ours)) if !ours.is_empty() && reference.starts_with(&ours) => None,
        (reference, ours) => Some(format!("{words:?} {env:?}\n  reference {reference:?}\n  ours      {ours:?}")),
    }
}

/// Runs the cases on both cores and shows all differences.
fn none_differs<T: Sync>(cases: &[T], check: impl Fn(&Fixture, &T) -> Vec<String> + Sync) {
    let halves = cases.split_at(cases.len() / 2);
    let differences: Vec<String> = std::thread::scope(|scope| {
        let run = |part: &[T]| -> Vec<String> {
            let fixture = Fixture::new();
            part.iter().flat_map(|case| check(&fixture, case)).collect()
        };
        let other = scope.spawn(move || run(halves.1));
        let mut found = run(halves.0);
        found.extend(other.join().unwrap());
        found
    });
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn every_option_alone_and_with_archive() {
    if !programs::reference_is_there(file!()) {
        return;
    }
    none_differs(OPTIONS, |fixture, option| {
        let lines = [vec![*option], vec!["-a", *option]];
        let ways = [Way::Push, Way::Pull];
        lines.iter().flat_map(|line| ways.iter().filter_map(|way| compare(fixture, line, *way, &[]))).collect()
    });
}

#[test]
fn options_in_company() {
    if !programs::reference_is_there(file!()) {
        return;
    }
    let mut state = 20_260_101u64;
    let mut pick = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    let lines: Vec<Vec<&str>> =
        (0..300).map(|_| (0..2 + pick(5)).map(|_| OPTIONS[pick(OPTIONS.len())]).collect()).collect();
    none_differs(&lines, |fixture, line| {
        let way = if line.len() % 2 == 0 { Way::Push } else { Way::Pull };
        compare(fixture, line, way, &[]).into_iter().collect()
    });
}

#[test]
fn hosts_and_paths() {
    if !programs::reference_is_there(file!()) {
        return;
    }
    let lines: &[&[&str]] = &[
        &["-a", "src", "me@h:"],
        &["-a", "src", "h:-x"],
        &["-a", "src", "h:~/x y"],
        &["-a", "h:~", "d"],
        &["-a", "h:~u/x", ":b c", "h:", "d"],
        &["-aR", "h:~/./x", "h:~/x", "d"],
        &["-a", "--old-args", "h:a b 'c'", "d"],
        &["-a", "--old-args", "--old-args", "-M--x y", "--suffix=a b", "h:a b 'c'", "d"],
        &["-as", "h:a b", ":", "--timeout=5", "--iconv=utf8", "d"],
        &["-a", "h:a\\*b\\c\\", "h:q\"$`!#&;|<>(){}[]'", "d"],
        &["-a", "h:new\nline\tand\rreturn", "d"],
        &["-a", "[::1]:x", "d"],
        &["-a", "src", "u@[fe80::1%e]:x"],
        &["--list-only", "h:"],
        &["h:x"],
        &["-d", "h:x"],
        &["-r", "h:x", ":y"],
        &["-a", "--trust-sender", "h:~", "d"],
    ];
    let envs: &[&[(&str, &str)]] = &[
        &[],
        &[("RSYNC_OLD_ARGS", "1")],
        &[("RSYNC_OLD_ARGS", "2")],
        &[("RSYNC_PROTECT_ARGS", "1")],
        &[("RSYNC_MAX_ALLOC", "3g")],
        &[("RSYNC_PARTIAL_DIR", ".part"), ("RSYNC_ICONV", "utf8")],
    ];
    let cases: Vec<_> = lines.iter().flat_map(|line| envs.iter().map(move |env| (*line, *env))).collect();
    none_differs(&cases, |fixture, (line, env)| compare_words(fixture, line, env).into_iter().collect());
}

/// What clients of all ages send to a server: rsync 2.6.0, 2.6.9, 3.0.0, 3.1.3, 3.2.7, openrsync.
const FROM_CLIENTS: &[&str] = &[
    "-vlogDtprz . dst",
    "-vlogDtpr . dst",
    "--sender -vlogDtpr . src/",
    "--sender -lr --delete-excluded . src/",
    "-vvlogDtprc --timeout=30 --bwlimit=100 . dst",
    "-lHogDtpr --delete --partial --numeric-ids . dst",
    "-logDtpr --temp-dir /tmp --backup-dir old --suffix= -b . dst",
    "-r --modify-window=2 -B700 --max-delete=3 --size-only . dst",
    "--sender -d --list-only . src",
    "-vlogDtpre.iLs . dst",
    "-vlogDtpre.iLsf . dst",
    "--sender -vlogDtpre.iLsf . src/",
    "-vlogDtprxe.iLsfx . dst",
    "-vlogDtpre.LsfxC . dst",
    "-nlogDtpre.iLsfxC --log-format=%i . dst",
    "-WlogDtpre.iLsfxC --partial --append . dst",
    "-logDtprRze.iLsfxC --delete-during --link-dest ../old . dst",
    "-slogDtpre.iLsfxCIvu",
    "-vlogDtpre.iLsfxCIvu --stats --checksum-choice=md5 . dst",
    "--sender -logDtpre.iLsfxCIvu --compress-choice=zstd --iconv=utf8 . src/ src/more",
    "-e.LsfxCIvu --inplace --no-r -d . dst",
    "--sender -r -v . src",
    "-v -v -n -r --delete . dst",
    "-g -l -o -p -D -r -t . dst",
    "-a --del . dst",
    "--sender -e.iLsfxCIvu --fuzzy --one-file-system --copy-unsafe-links . src",
];

/// A server takes its arguments before it hears anything: what it says when nothing comes tells how it took them.
#[test]
fn what_clients_of_all_ages_send() {
    if !programs::reference_is_there(file!()) {
        return;
    }
    let fixture = Fixture::new();
    let serve = |program: programs::Program, line: &str| {
        let mut command = Command::new(program.path());
        command.arg("--server").args(line.split(' ')).current_dir(fixture.dir.path()).env_clear();
        let output = command.stdin(std::process::Stdio::null()).output().expect("a server");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (mut taken, mut wrong) = (0, Vec::new());
    for line in FROM_CLIENTS {
        let (reference, ours) = (serve(programs::Program::Reference, line), serve(programs::Program::Ours, line));
        let first = |said: &str| said.lines().next().unwrap_or_default().to_owned();
        let refused = ours.0 == Some(4) && first(&ours.1).ends_with(" is not supported by this build");
        if refused && !reference.1.contains("(code 1)") {
            continue;
        }
        taken += 1;
        if (reference.0, first(&reference.1)) != (ours.0, first(&ours.1)) {
            wrong.push(format!("{line}\n  reference {reference:?}\n  ours      {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(taken >= 12, "{taken}");
}

#[test]
fn bytes_that_are_no_text() {
    let line = [b"-e".to_vec(), b"x".to_vec(), b"src".to_vec(), b"h:\xff \xfe".to_vec()];
    let options = parse::meaning_of(&line, &|_| None).unwrap();
    let Ok(Target::Push { dest, .. }) = Target::of(&options) else { panic!("a push") };
    let far = forward::far_args(&options, true, &[dest]);
    assert_eq!(far.argv.last().map(Vec::as_slice), Some(&b"\xff\\ \xfe"[..]));
    assert_eq!(options.args[1], OsString::from_vec(b"h:\xff \xfe".to_vec()));
}
