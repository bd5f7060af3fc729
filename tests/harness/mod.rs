//! The one harness for the command line: a case runs with the reference and with ours, and everything a user could
//! notice is compared.
//!
//! `check` is the whole interface for most tests: it takes a case, the way the bytes travel and the programs at the
//! two ends, and returns the differences as text.
#![allow(dead_code)] // each test program uses its own part

pub mod blur;
pub mod process;
pub mod programs;
pub mod ssh;
pub mod tree;
pub mod zoo;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use process::Outcome;
pub use programs::{Ends, Program, skip};
use tree::Tree;

/// How the bytes travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Local,
    /// Through a script that stands in for ssh.
    PipePush,
    PipePull,
    /// Through a real sshd.
    SshPush,
    SshPull,
}

/// How exactly the byte counts of the closing lines must agree. They depend on how the bytes were framed, and there
/// the reference differs from itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traffic {
    /// But for the heads of a few frames: 40 bytes.
    Framing,
    /// Within a fiftieth and 300 bytes.
    Close,
    Any,
}

impl Traffic {
    fn agrees(self, reference: u64, ours: u64) -> bool {
        reference.abs_diff(ours)
            <= match self {
                Self::Framing => 40,
                Self::Close => 300 + reference / 50,
                Self::Any => u64::MAX,
            }
    }
}

/// What is said of deletions, as they happen, while the rest waits for its turn on the wire.
const DELETIONS: &[&str] = &["*deleting ", "deleting ", "del. ", "cannot delete ", "could not make way "];

/// One command line and what it runs on.
#[derive(Clone)]
pub struct Case {
    pub name: &'static str,
    args: Vec<String>,
    sources: Vec<String>,
    destination: String,
    /// Makes the source tree in a directory.
    source: fn(&Path),
    /// Makes what the destination holds before; the second path is the source tree.
    before: fn(&Path, &Path),
    /// Further trees in the sandbox, compared too.
    beside: Vec<&'static str>,
    /// Added for the server only.
    server_args: Vec<String>,
    traffic: Traffic,
    ordered: bool,
    atimes: bool,
    sparse: bool,
    by_nobody: bool,
    stdin: Vec<u8>,
    /// Variables of the environment besides those that all runs have.
    env: Vec<(&'static str, String)>,
    /// Files that stand beside source and destination, by name.
    files: Vec<(String, Vec<u8>)>,
    own_source: bool,
    /// Log files, by their names in the sandbox.
    logs: Vec<&'static str>,
    /// Words of a second voice.
    /// Lines that begin with one of these words are said by another of the reference's processes than the rest: each have
    /// their order, but how they meet is a matter of time.
    apart: &'static [&'static str],
    mingled: bool,
}

impl Case {
    /// A case over the zoo, from `src/` into an empty destination.
    pub fn new(name: &'static str, args: &str) -> Self {
        Self {
            name,
            args: args.split_whitespace().map(String::from).collect(),
            sources: vec!["src/".into()],
            destination: "dst/".into(),
            source: zoo::zoo,
            before: |_, _| {},
            beside: Vec::new(),
            server_args: Vec::new(),
            traffic: Traffic::Close,
            ordered: true,
            atimes: false,
            sparse: false,
            by_nobody: false,
            stdin: Vec::new(),
            env: Vec::new(),
            files: Vec::new(),
            own_source: false,
            logs: Vec::new(),
            apart: DELETIONS,
            mingled: false,
        }
    }

    // In arguments `{box}` is the absolute path of the run's sandbox, and `{far}` one on another file system.

    /// An argument that holds blanks.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// What to copy, relative to the sandbox: the source tree is `src`.
    pub fn from(mut self, sources: &[&str]) -> Self {
        self.sources = sources.iter().map(|source| (*source).into()).collect();
        self
    }

    /// Where to; empty for none.
    pub fn to(mut self, destination: &str) -> Self {
        self.destination = destination.into();
        self
    }

    pub fn tree(mut self, source: fn(&Path)) -> Self {
        self.source = source;
        self
    }

    /// What the destination holds before: called with it and the source tree.
    pub fn before(mut self, before: fn(&Path, &Path)) -> Self {
        self.before = before;
        self
    }

    /// Trees that `before` makes beside the destination, by their names there: what they hold is compared as well, and
    /// which files of all trees are one.
    pub fn beside(mut self, names: &[&'static str]) -> Self {
        self.beside = names.to_vec();
        self
    }

    pub fn server_args(mut self, args: &str) -> Self {
        self.server_args = args.split_whitespace().map(String::from).collect();
        self
    }

    pub fn traffic(mut self, traffic: Traffic) -> Self {
        self.traffic = traffic;
        self
    }

    /// The reference itself prints these lines in varying order: two of its processes speak.
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// Two of the reference's processes write messages piece by piece to one stderr, now and then into each other's lines:
    /// what differs counts if it does so three times.
    pub fn mingled(mut self) -> Self {
        self.mingled = true;
        self
    }

    pub fn atimes(mut self) -> Self {
        self.atimes = true;
        self
    }

    /// The disk space of files must agree as well.
    pub fn sparse(mut self) -> Self {
        self.sparse = true;
        self
    }

    /// A file beside source and destination.
    pub fn with_file(mut self, name: &str, content: &[u8]) -> Self {
        self.files.push((name.into(), content.to_vec()));
        self
    }

    /// Run without privilege, whoever runs the tests; the destination is nobody's own.
    pub fn by_nobody(mut self) -> Self {
        self.by_nobody = true;
        self
    }

    /// Each run has a copy of the source to itself, and what it leaves of it is compared too.
    pub fn own_source(mut self) -> Self {
        self.own_source = true;
        self
    }

    /// Log files that are compared, by their names beside source and destination.
    pub fn logs(mut self, names: &[&'static str]) -> Self {
        self.logs = names.to_vec();
        self
    }

    /// A variable of the environment, seen at both ends.
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.into()));
        self
    }

    pub fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_vec();
        self
    }
}

/// What one run left and said.
pub struct Run {
    pub outcome: Outcome,
    pub tree: Tree,
    /// Where the run had one of its own.
    source: Option<Tree>,
    /// What is on the other file system, for cases that use one.
    pub far: Option<Tree>,
    /// What the log files hold, if they are there.
    pub logs: Vec<Option<Vec<u8>>>,
}

/// In an argument: a directory on another file system, each run's own, and compared afterwards.
const FAR: &str = "{far}";

/// A directory on another file system than `near`, if there is one here.
fn far_dir(near: &Path) -> tempfile::TempDir {
    let dev = |path: &Path| std::os::unix::fs::MetadataExt::dev(&fs::metadata(path).expect("a directory"));
    let elsewhere = [process::scratch(), Path::new("/dev/shm"), Path::new("/tmp")];
    let other = elsewhere.into_iter().find(|dir| dir.is_dir() && dev(dir) != dev(near));
    if other.is_none() {
        skip("a second file system", "all directories for temporary files are on one");
    }
    let builder_dir = other.unwrap_or_else(|| process::scratch());
    tempfile::Builder::new().prefix("oc-rsync-").tempdir_in(builder_dir).expect("temporary directory")
}

/// A directory for one case: `src`, and one sandbox per run that sees it as `src`.
struct Site {
    dir: tempfile::TempDir,
    /// A directory on another file system, if the case wants one.
    far: Option<tempfile::TempDir>,
    case: Case,
    /// Taken when the trees are ready: later times are the run's own.
    ready: SystemTime,
}

impl Site {
    fn new(case: &Case) -> Self {
        let dir = tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory");
        let source = dir.path().join("src");
        fs::create_dir(&source).expect("source directory");
        (case.source)(&source);
        let far = case.args.iter().any(|arg| arg.contains(FAR)).then(|| far_dir(dir.path()));
        let ready = SystemTime::now();
        Self { dir, far, case: case.clone(), ready }
    }

    fn far(&self, run: &str) -> Option<PathBuf> {
        self.far.as_ref().map(|far| far.path().join(run))
    }

    /// `box` is the run's name, always of the same length: path lengths must not differ between runs.
    fn run(&self, name: &str, way: Way, ends: Ends) -> Run {
        assert_eq!(name.len(), 3);
        let sandbox = self.dir.path().join(name);
        let destination = sandbox.join("dst");
        fs::create_dir_all(&destination).expect("destination directory");
        let source = sandbox.join("src");
        if self.case.own_source {
            fs::create_dir(&source).expect("source directory");
            zoo::same(&source, &self.dir.path().join("src"));
        } else {
            std::os::unix::fs::symlink("../src", &source).expect("link to the source");
        }
        for (name, content) in &self.case.files {
            fs::write(sandbox.join(name), content).expect("file beside the trees");
        }
        (self.case.before)(&destination, &self.dir.path().join("src"));
        tree::settle(&destination);
        let far = self.far(name);
        far.iter().for_each(|far| fs::create_dir(far).expect("far directory"));
        if self.case.atimes {
            zoo::restore_atimes(&self.dir.path().join("src"));
        }
        let mut command = process::command(&sandbox, &ends.client.path(), &self.argv(way, ends, &sandbox));
        command.envs(self.case.env.iter().map(|(name, value)| (name, value)));
        if self.case.by_nobody && programs::is_root() {
            process::give_to_nobody(self.dir.path(), &destination, &mut command);
        }
        let outcome = process::run_for(command, &self.case.stdin, process::PATIENCE);
        let tree = Tree::read_with(&destination, &self.case.beside, self.ready, self.case.atimes);
        let source = self.case.own_source.then(|| Tree::read(&source, self.ready, false));
        let far = far.map(|far| Tree::read(&far, self.ready, self.case.atimes));
        let logs = self.case.logs.iter().map(|name| fs::read(sandbox.join(name)).ok()).collect();
        Run { outcome, tree, source, far, logs }
    }

    fn argv(&self, way: Way, ends: Ends, sandbox: &Path) -> Vec<String> {
        let case = &self.case;
        let run = sandbox.file_name().and_then(|name| name.to_str()).expect("a run's name");
        let (sandbox_text, far) = (sandbox.display().to_string(), self.far(run).unwrap_or_default());
        let named = |arg: &String| arg.replace("{box}", &sandbox_text).replace(FAR, &far.display().to_string());
        let mut argv: Vec<String> = case.args.iter().map(named).collect();
        let server_args: Vec<String> = case.server_args.iter().map(named).collect();
        let server = [&[ends.server.path().display().to_string()], &server_args[..]].concat().join(" ");
        match way {
            Way::Local => {}
            Way::PipePush | Way::PipePull => argv.extend(["-e".into(), stand_in().display().to_string()]),
            Way::SshPush | Way::SshPull => {
                let config = ssh::config().expect("checked before").display();
                argv.extend(["-e".into(), format!("ssh -F {config}")]);
            }
        }
        if way != Way::Local {
            argv.push(format!("--rsync-path={server}"));
        }
        let base = match way {
            Way::SshPush | Way::SshPull => format!("{}/", sandbox.display()),
            _ => String::new(),
        };
        let remote = |path: &String| format!("far:{base}{path}");
        match way {
            Way::PipePull | Way::SshPull => argv.extend(case.sources.iter().map(remote)),
            _ => argv.extend(case.sources.iter().cloned()),
        }
        if !case.destination.is_empty() {
            argv.push(match way {
                Way::PipePush | Way::SshPush => remote(&case.destination),
                _ => case.destination.clone(),
            });
        }
        argv
    }
}

/// A script that takes ssh's arguments and runs the command here.
pub fn stand_in() -> &'static Path {
    static SCRIPT: OnceLock<PathBuf> = OnceLock::new();
    SCRIPT.get_or_init(|| {
        process::script(
            "far.sh",
            "while :; do case \"$1\" in -l) shift 2;; -*) shift;; *) break;; esac; done\nshift\nexec sh -c \"$*\"\n",
        )
    })
}

/// Runs a case with each pair of programs and compares it with the reference's own run.
///
/// Returns a text for each difference; `None` in place of all if a program or the way is missing (said on stderr and
/// counted as skipped).
pub fn check(case: &Case, way: Way, all_ends: &[Ends]) -> Option<Vec<String>> {
    if matches!(way, Way::SshPush | Way::SshPull)
        && let Err(reason) = ssh::config()
    {
        skip(&format!("{} ({way:?})", case.name), reason);
        return None;
    }
    let site = Site::new(case);
    let mut baselines: Vec<(Ends, Arc<Run>)> = Vec::new();
    let mut differences = Vec::new();
    for (number, &ends) in all_ends.iter().enumerate() {
        let plain = ends.without_ours();
        if let Some(missing) = [plain.client, plain.server, ends.client].into_iter().find_map(Program::missing) {
            skip(&format!("{} ({way:?}, {ends:?})", case.name), &missing);
            continue;
        }
        let known = baselines.iter().find(|(ends, _)| *ends == plain).map(|(_, run)| run.clone());
        let reference = known.unwrap_or_else(|| {
            let run = Arc::new(site.run(&format!("r{number:02}"), way, plain));
            baselines.push((plain, run.clone()));
            run
        });
        let ours = site.run(&format!("o{number:02}"), way, ends);
        for difference in compare(&site, (plain, &reference), (ends, &ours)) {
            differences.push(format!("{} · {way:?} · {ends:?}\n{difference}", case.name));
        }
    }
    Some(differences)
}

/// Runs a case with one pair of programs, where what comes of it is not what comes of the reference's own run; nothing if
/// a program is missing.
pub fn run_alone(case: &Case, way: Way, ends: Ends) -> Option<Run> {
    if let Some(missing) = [ends.client, ends.server].into_iter().find_map(Program::missing) {
        skip(&format!("{} ({way:?}, {ends:?})", case.name), &missing);
        return None;
    }
    Some(Site::new(case).run("o00", way, ends))
}

/// Runs every case over the ways and pairs of each group; fails with all differences at once.
pub fn check_all(cases: &[Case], groups: &[(&[Way], &[Ends])]) {
    let mut differences = Vec::new();
    for case in cases {
        for (ways, ends) in groups {
            for &way in *ways {
                differences.extend(differences_of(case, way, ends));
            }
        }
    }
    assert!(differences.is_empty(), "{} differences:\n\n{}", differences.len(), differences.join("\n\n"));
}

fn differences_of(case: &Case, way: Way, ends: &[Ends]) -> Vec<String> {
    let once = || check(case, way, ends).unwrap_or_default();
    let first = once();
    let again = if case.mingled && !first.is_empty() { 2 } else { 0 };
    if (0..again).any(|_| once().is_empty()) { Vec::new() } else { first }
}

pub const LOCAL: &[Way] = &[Way::Local];
pub const PIPES: &[Way] = &[Way::PipePush, Way::PipePull];

/// Locally, and through pipes with ours at each end, and at both.
pub fn in_each_place(cases: &[Case]) {
    check_all(cases, &[(LOCAL, &programs::ALONE), (PIPES, &programs::AGAINST_REFERENCE)]);
}

/// Locally, and through pipes with ours at each end.
pub fn everywhere(cases: &[Case]) {
    check_all(cases, &[(LOCAL, &programs::ALONE), (PIPES, &programs::ONE_END)]);
}

/// Only where one program does all.
pub fn locally(cases: &[Case]) {
    check_all(cases, &[(LOCAL, &programs::ALONE)]);
}

/// What differs between two runs of a case, as text.
fn compare(site: &Site, (plain, reference): (Ends, &Run), (ends, ours): (Ends, &Run)) -> Vec<String> {
    let case = &site.case;
    let mut differences = Vec::new();
    if reference.outcome.status != ours.outcome.status {
        differences.push(format!(
            "  status: reference {:?}, ours {:?}\n{}",
            reference.outcome.status,
            ours.outcome.status,
            indent(&ours.outcome.stderr)
        ));
    }
    // `--debug=cmd` shows how the server is started.
    let blur = |text: &[u8], ends: Ends| {
        let server = ends.server.path();
        let far = site.far.as_ref().map(|far| (far.path(), FAR));
        let names = [(server.as_path(), "SERVER"), (site.dir.path(), "@")].into_iter().chain(far);
        let lines = blur::blur(text, &names.collect::<Vec<_>>(), case.ordered);
        let (mut first, rest): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| case.apart.iter().any(|word| line.starts_with(word)));
        first.extend(rest);
        first
    };
    for (stream, theirs, mine) in [
        ("stdout", &reference.outcome.stdout, &ours.outcome.stdout),
        ("stderr", &reference.outcome.stderr, &ours.outcome.stderr),
    ] {
        if let Some(text) = blur::line_difference(&blur(theirs, plain), &blur(mine, ends)) {
            differences.push(format!("  {stream}:\n{text}"));
        }
    }
    for ((name, theirs), mine) in case.logs.iter().zip(&reference.logs).zip(&ours.logs) {
        let lines = |log: &Option<Vec<u8>>, ends| {
            log.as_ref().map_or_else(|| vec!["no such file".into()], |log| blur(&blur::without_stamps(log), ends))
        };
        if let Some(text) = blur::line_difference(&lines(theirs, plain), &lines(mine, ends)) {
            differences.push(format!("  {name}:\n{text}"));
        }
    }
    let (theirs, mine) = (blur::traffic(&reference.outcome.stdout), blur::traffic(&ours.outcome.stdout));
    let agrees = match (theirs, mine) {
        (Some(theirs), Some(mine)) => case.traffic.agrees(theirs.0, mine.0) && case.traffic.agrees(theirs.1, mine.1),
        _ => theirs.is_none() == mine.is_none(),
    };
    if !agrees {
        differences.push(format!("  sent, received: reference {theirs:?}, ours {mine:?}"));
    }
    differences.extend(reference.tree.differences(&ours.tree, case.sparse));
    if let (Some(theirs), Some(mine)) = (&reference.source, &ours.source) {
        differences.extend(theirs.differences(mine, false).into_iter().map(|text| format!("  source:\n{text}")));
    }
    if let (Some(theirs), Some(mine)) = (&reference.far, &ours.far) {
        let told = theirs.differences(mine, case.sparse);
        differences.extend(told.into_iter().map(|text| format!("  on the other file system:\n{text}")));
    }
    differences
}

fn indent(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().map(|line| format!("    {line}\n")).collect()
}
