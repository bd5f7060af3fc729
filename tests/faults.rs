//! What goes wrong on the machines: processes killed at any moment, signals, a full disk, missing permissions, sources
//! that change meanwhile.

mod harness;

use std::{
    fs,
    io::Write,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use harness::{
    Program, blur,
    process::{self, Outcome, Status},
    programs::is_root,
    skip, ssh, stand_in,
    tree::Tree,
    zoo,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const NOBODY: u32 = 65_534;

/// Numbers without a pattern; the seed can be given again with `OC_RSYNC_SEED`.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let given = std::env::var("OC_RSYNC_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64);
        let seed = given.unwrap_or(now);
        let _ = writeln!(std::io::stdout(), "OC_RSYNC_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A place with a source, and a way to its far end, which is the same place.
struct Site {
    dir: tempfile::TempDir,
    shell: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Local,
    Push,
    Pull,
}

impl Site {
    fn new(furnish: fn(&Path)) -> Self {
        let dir = tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("temporary directory");
        let source = dir.path().join("src");
        fs::create_dir(&source).expect("source");
        furnish(&source);
        zoo::settle_dirs(&source);
        Self { dir, shell: stand_in().display().to_string() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn argv(&self, way: Way, program: &Path, options: &str, dst: &str) -> Vec<String> {
        let mut argv: Vec<String> = options.split_whitespace().map(String::from).collect();
        if way != Way::Local {
            argv.extend(["-e".into(), self.shell.clone()]);
            argv.push(format!("--rsync-path={}", program.display()));
        }
        let far = format!("far:{}/", self.dir.path().display());
        argv.push(if way == Way::Pull { format!("{far}src/") } else { "src/".into() });
        argv.push(if way == Way::Push { format!("{far}{dst}/") } else { format!("{dst}/") });
        argv
    }

    fn command(&self, way: Way, program: &Path, options: &str, dst: &str) -> Command {
        process::command(self.dir.path(), program, &self.argv(way, program, options, dst))
    }

    /// Ours at both ends.
    fn start(&self, way: Way, options: &str) -> Child {
        let mut command = self.command(way, &Program::Ours.path(), options, "dst");
        command.process_group(0).stdin(Stdio::null());
        let log = |name: &str| fs::File::create(self.path(name)).expect("log");
        command.stdout(log("stdout")).stderr(log("stderr")).spawn().expect("start")
    }

    fn clear(&self) {
        let _ = fs::remove_dir_all(self.path("dst")); // may not be there
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }
}

/// A few hundred files and some larger ones.
fn many(top: &Path) {
    for number in 0..300 {
        let dir = top.join(format!("d{}", number % 7));
        fs::create_dir_all(&dir).expect("directory");
        zoo::file(&dir.join(format!("file-{number}")), &zoo::noise(number * 37, number as u64));
    }
    for number in 0..4 {
        zoo::file(&top.join(format!("large-{number}")), &zoo::noise(3_000_000, 1000 + number));
    }
}

fn one_large(top: &Path) {
    zoo::file(&top.join("a-large"), &zoo::noise(1_500_000, 1));
    zoo::file(&top.join("z-last"), b"last\n");
}

/// What runs below a process, and what of it may be a victim.
fn descendants(top: u32) -> Vec<(u32, Option<Victim>)> {
    let mut found = Vec::new();
    let all: Vec<(u32, u32)> =
        fs::read_dir("/proc").expect("proc").filter_map(|entry| parent_of(&entry.ok()?.path())).collect();
    let mut above = vec![top];
    while let Some(parent) = above.pop() {
        for &(pid, _) in all.iter().filter(|&&(_, its)| its == parent) {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|&byte| byte == 0);
            let program = words.next().unwrap_or_default();
            let what = match words.next() {
                Some(b"--server") => Some(Victim::Server),
                _ if program == b"ssh" => Some(Victim::Shell),
                _ => None,
            };
            found.push((pid, what));
            above.push(pid);
        }
    }
    found
}

fn parent_of(proc: &Path) -> Option<(u32, u32)> {
    let pid = proc.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
    Some((pid, parent))
}

fn signal(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal); // it may have ended
}

fn wait(child: &mut Child) -> Status {
    let end = Instant::now() + process::PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return status.code().map_or(Status::Signal(0), Status::Exit);
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            return Status::Hung;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn gone(pids: &[u32]) -> bool {
    let end = Instant::now() + process::PATIENCE;
    let alive = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while pids.iter().any(alive) {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

fn temporaries(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().into_encoded_bytes();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(temporaries(&entry.path()));
        } else if name.starts_with(b".") {
            found.push(entry.path()); // the sources have no hidden files
        }
    }
    found
}

/// Whether a file is under way.
fn data_has_come(destination: &Path) -> bool {
    temporaries(destination).iter().any(|path| fs::metadata(path).is_ok_and(|stat| stat.len() > 0))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Victim {
    Client,
    Server,
    /// ssh itself.
    Shell,
}

#[test]
fn kill_9_at_any_moment_and_a_plain_run_completes() {
    let shell = match ssh::config() {
        Ok(config) => format!("ssh -F {}", config.display()),
        Err(reason) => return skip("kill -9 at any moment", reason),
    };
    let site = Site { shell, ..Site::new(many) };
    let mut dice = Dice::new();
    let source = Tree::read(&site.path("src"), std::time::SystemTime::now(), false);
    let mut whole = [Duration::ZERO; 2];
    for (way, time) in [Way::Push, Way::Pull].into_iter().zip(&mut whole) {
        let start = Instant::now();
        assert_eq!(wait(&mut site.start(way, "-a")), Status::Exit(0), "{}", site.stderr());
        *time = start.elapsed();
        site.clear();
    }
    let mut cut_short = 0;
    for round in 0..50 {
        let (way, time) = if round % 2 == 0 { (Way::Push, whole[0]) } else { (Way::Pull, whole[1]) };
        let victim = [Victim::Client, Victim::Server, Victim::Shell][round % 3];
        let moment = Duration::from_micros(dice.below(time.as_micros() as u64));
        let told = format!("round {round}: {way:?}, {victim:?} killed after {moment:?}");
        let mut child = site.start(way, "-a");
        thread::sleep(moment);
        let below = descendants(child.id());
        match victim {
            Victim::Client => signal(child.id(), Signal::SIGKILL),
            _ => below
                .iter()
                .filter(|(_, what)| *what == Some(victim))
                .for_each(|&(pid, _)| signal(pid, Signal::SIGKILL)),
        }
        let status = wait(&mut child);
        assert!(!matches!(status, Status::Hung | Status::Exit(101)), "{told}: {status:?}: {}", site.stderr());
        cut_short += i32::from(status != Status::Exit(0));
        let below: Vec<u32> = below.into_iter().map(|(pid, _)| pid).collect();
        assert!(gone(&below), "{told}: processes stay behind");
        let receiver = if way == Way::Push { Victim::Server } else { Victim::Client };
        let left = temporaries(&site.path("dst"));
        assert!(left.is_empty() || victim == receiver, "{told}: {left:?}");
        assert_eq!(wait(&mut site.start(way, "-a")), Status::Exit(0), "{told}: {}", site.stderr());
        // What an end that was killed left is not ours to remove; that changed its directory's time.
        for path in &left {
            fs::remove_file(path).expect("leftover");
        }
        if !left.is_empty() {
            assert_eq!(wait(&mut site.start(way, "-a")), Status::Exit(0), "{told}: {}", site.stderr());
        }
        let result = Tree::read(&site.path("dst"), std::time::SystemTime::now(), false);
        let differences = source.differences(&result, false);
        assert!(differences.is_empty(), "{told}:\n{}", differences.join("\n"));
        site.clear();
    }
    let _ = writeln!(std::io::stdout(), "{cut_short} of 50 were cut short");
    assert!(cut_short > 10, "the moments are too late");
}

#[test]
fn signals_leave_no_temporary_but_partial_keeps_what_came() {
    let site = Site::new(one_large);
    for (way, name, to_server) in [
        (Way::Push, Signal::SIGTERM, false),
        (Way::Push, Signal::SIGINT, true),
        (Way::Push, Signal::SIGTERM, true),
        (Way::Pull, Signal::SIGINT, false),
        (Way::Pull, Signal::SIGTERM, false),
        (Way::Pull, Signal::SIGHUP, false),
        (Way::Pull, Signal::SIGTERM, true),
        (Way::Local, Signal::SIGTERM, false),
        (Way::Local, Signal::SIGINT, false),
    ] {
        for options in ["-a --bwlimit=500", "-a --bwlimit=500 --partial"] {
            let told = format!("{way:?}, {name}, to the server: {to_server}, {options}");
            let mut child = site.start(way, options);
            let end = Instant::now() + process::PATIENCE;
            while !data_has_come(&site.path("dst")) {
                assert!(Instant::now() < end, "{told}: nothing comes: {}", site.stderr());
                thread::sleep(Duration::from_millis(5));
            }
            let below = descendants(child.id());
            match to_server {
                false => signal(child.id(), name),
                true => below
                    .iter()
                    .filter(|(_, what)| *what == Some(Victim::Server))
                    .for_each(|&(pid, _)| signal(pid, name)),
            }
            let status = wait(&mut child);
            assert!(matches!(status, Status::Exit(code) if code != 0 && code != 101), "{told}: {status:?}");
            let below: Vec<u32> = below.into_iter().map(|(pid, _)| pid).collect();
            assert!(gone(&below), "{told}: processes stay behind");
            let left = temporaries(&site.path("dst"));
            assert!(left.is_empty(), "{told}: {left:?}");
            let kept = site.path("dst/a-large").exists();
            assert_eq!(kept, options.contains("partial"), "{told}: {}", site.stderr());
            site.clear();
        }
    }
}

#[test]
fn a_signal_ends_the_reading_of_a_huge_file() {
    fn huge(top: &Path) {
        fs::File::create(top.join("huge")).and_then(|file| file.set_len(1 << 40)).expect("a file without blocks");
    }
    let site = Site::new(huge);
    let opened = |pid: u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file == site.path("src/huge"))
    };
    for (way, options) in [(Way::Local, "-rc --list-only"), (Way::Local, "-ac"), (Way::Push, "-ac")] {
        let mut child = site.start(way, options);
        let end = Instant::now() + process::PATIENCE;
        while !opened(child.id()) {
            assert!(Instant::now() < end, "{way:?} {options}: {}", site.stderr());
            thread::sleep(Duration::from_millis(5));
        }
        signal(child.id(), Signal::SIGTERM);
        assert_eq!(wait(&mut child), Status::Exit(20), "{way:?} {options}: {}", site.stderr());
        site.clear();
    }
}

/// What the end that did not fail says of the other's leaving; with the reference it comes and goes.
const ECHOES: &[&str] = &[
    "[sender] write error: Broken pipe (32)",
    "(code 10) at @ [sender=",
    "[generator] write error: Broken pipe (32)",
    "connection unexpectedly closed (",
    "(code 12) at @ [generator=",
];

/// One situation, for the reference and for ours.
struct Situation {
    name: &'static str,
    options: &'static str,
    source: fn(&Path),
    /// Makes the destination; a problem is a reason to skip.
    destination: fn(&Path) -> Result<(), String>,
    /// When the first data has come: called with the source.
    meanwhile: Option<fn(&Path)>,
    undo: fn(&Path),
    as_nobody: bool,
    /// No file may grow beyond this many blocks of 512 bytes.
    limit: Option<u32>,
}

const PLAIN: Situation = Situation {
    name: "",
    options: "-a",
    source: zoo::few,
    destination: make_dir,
    meanwhile: None,
    undo: |_| {},
    as_nobody: false,
    limit: None,
};

fn make_dir(path: &Path) -> Result<(), String> {
    fs::create_dir(path).map_err(|error| error.to_string())?;
    std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY))
        .or_else(|error| if is_root() { Err(error.to_string()) } else { Ok(()) })
}

impl Situation {
    fn run(&self, site: &Site, program: &Path, way: Way, dst: &str) -> Result<Outcome, String> {
        (self.destination)(&site.path(dst))?;
        let mut command = match self.limit {
            None => site.command(way, program, self.options, dst),
            Some(blocks) => {
                let script = format!("ulimit -f {blocks}; exec \"$@\"");
                let mut argv = vec!["-c".to_owned(), script, "sh".to_owned(), program.display().to_string()];
                argv.extend(site.argv(way, program, self.options, dst));
                process::command(site.dir.path(), Path::new("/bin/sh"), &argv)
            }
        };
        if self.as_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        let meanwhile = self.meanwhile.map(|act| {
            let (source, destination) = (site.path("src"), site.path(dst));
            thread::spawn(move || {
                let end = Instant::now() + process::PATIENCE;
                while !data_has_come(&destination) && Instant::now() < end {
                    thread::sleep(Duration::from_millis(5));
                }
                act(&source);
            })
        });
        let outcome = process::run_for(command, &[], process::PATIENCE);
        if let Some(meanwhile) = meanwhile {
            meanwhile.join().expect("meanwhile");
        }
        Ok(outcome)
    }

    /// The same situation for both programs, each in a place of its own of the same name length.
    fn check(&self, ways: &[Way]) -> Vec<String> {
        let missing = Program::Reference.missing();
        let missing = missing.or((self.as_nobody && !is_root()).then(|| "not root".into()));
        if let Some(reason) = missing {
            skip(self.name, &reason);
            return Vec::new();
        }
        let mut told = Vec::new();
        for &way in ways {
            let runs: Result<Vec<_>, String> = [(Program::Reference, "r00"), (Program::Ours, "o00")]
                .into_iter()
                .map(|(program, name)| self.run_apart(program, name, way))
                .collect();
            match runs.as_deref() {
                Ok([reference, ours]) => {
                    for (what, theirs, mine) in [
                        ("status", &reference.0, &ours.0),
                        ("output", &reference.1, &ours.1),
                        ("tree", &reference.2, &ours.2),
                    ] {
                        if theirs != mine {
                            told.push(format!(
                                "{} ({way:?}): {what}\n  reference:\n{theirs}\n  ours:\n{mine}",
                                self.name
                            ));
                        }
                    }
                }
                Ok(_) => unreachable!("two programs"),
                Err(reason) => skip(self.name, reason),
            }
        }
        told
    }

    fn run_apart(&self, program: Program, name: &str, way: Way) -> Result<(String, String, String), String> {
        let site = Site::new(self.source);
        let copy = site.path("rsync"); // where another user can reach it
        // Not by this process: what a child of another test still holds open for writing cannot be executed.
        let copied = Command::new("cp").arg(program.path()).arg(&copy).status().map_err(|error| error.to_string())?;
        assert!(copied.success(), "cp {}", copy.display());
        let outcome = self.run(&site, &copy, way, name);
        let mut files = sizes(&site.path(name));
        files.sort();
        (self.undo)(&site.path(name));
        let outcome = outcome?;
        let said = [outcome.stdout, outcome.stderr].concat();
        let mut lines = blur::blur(&said, &[(site.dir.path(), "SITE")], false);
        // The sender learns of the receiver's end by a broken pipe, if it still had something to say.
        lines.retain(|line| !ECHOES.iter().any(|echo| line.contains(echo)));
        for line in &mut lines {
            *line = line.replace(name, "dst");
        }
        Ok((format!("{:?}", outcome.status), lines.concat(), files.join(" ")))
    }
}

/// `name size`, or the name alone of what is no file.
fn sizes(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let shown = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.metadata() {
            Ok(stat) if stat.is_file() => format!("{name} {}", stat.len()),
            _ => name,
        }
    };
    entries.map(shown).collect()
}

fn check(situations: &[Situation], ways: &[Way]) {
    let told: Vec<String> = situations.iter().flat_map(|situation| situation.check(ways)).collect();
    assert!(told.is_empty(), "{}", told.join("\n\n"));
}

const ALL: [Way; 3] = [Way::Local, Way::Push, Way::Pull];

#[test]
fn a_full_disk() {
    fn small_disk(path: &Path) -> Result<(), String> {
        if !is_root() {
            return Err("not root".into());
        }
        make_dir(path)?;
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(path).output();
        match mount {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("mount: {}", String::from_utf8_lossy(&output.stderr).trim())),
            Err(error) => Err(format!("mount: {error}")),
        }
    }
    fn unmount(path: &Path) {
        let _ = Command::new("umount").arg(path).output(); // it may not be mounted
    }
    let full = Situation { source: one_large, destination: small_disk, undo: unmount, ..PLAIN };
    check(
        &[
            Situation { name: "full disk", ..full },
            Situation { name: "full disk, in place", options: "-a --inplace", ..full },
            Situation { name: "full disk, partial", options: "-a --partial", ..full },
        ],
        &ALL,
    );
}

#[test]
fn a_limit_on_the_size_of_files() {
    fn large_and_small(top: &Path) {
        zoo::file(&top.join("a"), &zoo::noise(40_000, 1));
        zoo::file(&top.join("small"), &zoo::noise(3_000, 2));
    }
    let limited = Situation { source: large_and_small, limit: Some(16), ..PLAIN };
    check(
        &[
            Situation { name: "limited", ..limited },
            Situation { name: "limited, partial", options: "-a --partial", ..limited },
            Situation { name: "limited, in place", options: "-a --inplace", ..limited },
            Situation { name: "limited to less than a buffer", options: "-a --partial", limit: Some(2), ..limited },
        ],
        &ALL,
    );
}

/// The receiver fails while both directions are full: the sums of changed files one way, their data the other.
#[test]
fn a_failure_in_the_midst_of_much_to_say() {
    let old = Site::new(|top| {
        zoo::file(&top.join("a"), &zoo::noise(40_000, 1));
        for name in ["b", "c"] {
            zoo::file(&top.join(name), &zoo::noise(12_000_000, 2));
        }
    });
    let ours = Program::Ours.path();
    for way in [Way::Push, Way::Pull] {
        let dst = format!("dst-{way:?}");
        fs::create_dir(old.path(&dst)).expect("destination");
        for name in ["b", "c"] {
            zoo::file(&old.path(&dst).join(name), &zoo::noise(12_000_001, 2));
        }
        let mut argv = vec!["-c".to_owned(), "ulimit -f 16; exec \"$@\"".to_owned(), "sh".to_owned()];
        argv.push(ours.display().to_string());
        argv.extend(old.argv(way, &ours, "-a -B 64", &dst));
        let command = process::command(old.dir.path(), Path::new("/bin/sh"), &argv);
        let outcome = process::run_for(command, &[], process::PATIENCE);
        let said = String::from_utf8_lossy(&outcome.stderr);
        assert_eq!(outcome.status, Status::Exit(11), "{way:?}: {said}");
        assert!(said.contains("File too large (27)"), "{way:?}: {said}");
        assert_eq!(temporaries(&old.path(&dst)), Vec::<PathBuf>::new());
    }
}

#[test]
fn one_signal_ends_a_push_whose_far_side_no_longer_listens() {
    // It takes some of what comes, and then nothing more.
    let shell = process::script("stall.sh", "shift\nhead -c 400000 | \"$@\" &\nsleep 300\n");
    let site = Site { shell: shell.display().to_string(), ..Site::new(many) };
    for name in [Signal::SIGTERM, Signal::SIGUSR1] {
        let mut child = site.start(Way::Push, "-a");
        thread::sleep(Duration::from_millis(1500));
        let below: Vec<u32> = descendants(child.id()).into_iter().map(|(pid, _)| pid).collect();
        signal(child.id(), name);
        let status = wait(&mut child);
        let code = if name == Signal::SIGUSR1 { 19 } else { 20 };
        assert_eq!(status, Status::Exit(code), "{name}: {}", site.stderr());
        below.into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
        site.clear();
    }
}

#[test]
fn output_that_nobody_can_read_ends_an_unbuffered_run_only() {
    let site = Site::new(zoo::few);
    for program in [Program::Reference, Program::Ours] {
        if let Some(reason) = program.missing() {
            skip("output to a full device", &reason);
            continue;
        }
        for (options, code) in [("-av --outbuf=N", 13), ("-av", 0)] {
            let full = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
            let mut command = site.command(Way::Local, &program.path(), options, "dst");
            let status = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::null()).status().expect("run");
            assert_eq!(status.code(), Some(code), "{program:?}: {options}");
            site.clear();
        }
    }
}

#[test]
fn missing_permissions() {
    fn read_only(path: &Path) -> Result<(), String> {
        make_dir(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o555)).map_err(|error| error.to_string())
    }
    fn unreadable_file(top: &Path) {
        zoo::few(top);
        zoo::file(&top.join("secret"), b"secret\n");
        zoo::set_mode(&top.join("secret"), 0);
    }
    fn unreadable_dir(top: &Path) {
        zoo::few(top);
        for (name, mode) in [("closed", 0), ("unlisted", 0o311), ("unsearchable", 0o644)] {
            fs::create_dir(top.join(name)).expect("directory");
            zoo::file(&top.join(name).join("inside"), b"inside\n");
            zoo::set_mode(&top.join(name), mode);
        }
    }
    fn closed(path: &Path) -> Result<(), String> {
        make_dir(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o0)).map_err(|error| error.to_string())
    }
    fn unsearchable(path: &Path) -> Result<(), String> {
        make_dir(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|error| error.to_string())
    }
    let nobody = Situation { as_nobody: true, ..PLAIN };
    check(
        &[
            Situation { name: "read-only destination", destination: read_only, ..nobody },
            Situation {
                name: "read-only destination, in place",
                options: "-a --inplace",
                destination: read_only,
                ..nobody
            },
            Situation { name: "destination of mode 0", destination: closed, ..nobody },
            Situation { name: "destination that cannot be entered", destination: unsearchable, ..nobody },
            Situation { name: "dry run into it", options: "-an", destination: unsearchable, ..nobody },
            Situation { name: "file of mode 0", source: unreadable_file, ..nobody },
            Situation { name: "directories that cannot be read", source: unreadable_dir, ..nobody },
            Situation { name: "as another user", ..nobody },
        ],
        &ALL,
    );
}

#[test]
fn sources_that_change_meanwhile() {
    let slow = Situation { options: "-a --bwlimit=500", source: one_large, ..PLAIN };
    check(
        &[
            Situation {
                name: "a file vanishes",
                meanwhile: Some(|src| fs::remove_file(src.join("z-last")).expect("remove")),
                ..slow
            },
            Situation {
                name: "a file shrinks",
                meanwhile: Some(|src| {
                    fs::File::options()
                        .write(true)
                        .open(src.join("a-large"))
                        .and_then(|file| file.set_len(1_000_000))
                        .expect("shrink")
                }),
                ..slow
            },
            Situation {
                name: "a file grows",
                meanwhile: Some(|src| {
                    fs::File::options()
                        .write(true)
                        .open(src.join("a-large"))
                        .and_then(|file| file.set_len(3_000_000))
                        .expect("grow")
                }),
                ..slow
            },
        ],
        &ALL,
    );
}

/// The sums of a large file's many blocks are more than may be taken in memory.
#[test]
fn a_limit_on_memory() {
    fn zeros(path: &Path, len: u64) {
        fs::File::create(path).and_then(|file| file.set_len(len)).expect("zeros");
    }
    fn another(path: &Path) -> Result<(), String> {
        make_dir(path)?;
        zeros(&path.join("many-blocks"), 20_000_001);
        Ok(())
    }
    let limited = Situation {
        name: "too many blocks",
        options: "-a --no-whole-file -B 512 --max-alloc=1m",
        source: |top| zeros(&top.join("many-blocks"), 20_000_000),
        destination: another,
        ..PLAIN
    };
    check(&[limited], &ALL);
}
