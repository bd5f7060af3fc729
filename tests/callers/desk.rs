//! A place where a program works over a changing tree, and what it says and leaves there.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use crate::harness::{
    self, Program, blur,
    process::{self, Status},
    programs::{self, Ends, ends},
    tree::Tree,
    zoo,
};

/// Where Debian's programs are; what else stands in `PATH` may be of another make.
const SYSTEM: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// One program at work: a place of its own, with the tree `src`, and an `rsync` that comes first in `PATH`.
pub struct Desk {
    pub path: PathBuf,
    pub ready: SystemTime,
    /// What was said, and the statuses, in order.
    pub told: Vec<String>,
}

impl Desk {
    fn new(path: PathBuf, ends: Ends, source: &Path) -> Self {
        for dir in ["bin", "program", "src", "out", "tmp"] {
            fs::create_dir_all(path.join(dir)).unwrap();
        }
        zoo::same(&path.join("src"), source);
        symlink(ends.client.path(), path.join("program/rsync")).unwrap();
        // What is to be started at the far end, if there is one.
        symlink(ends.server.path(), path.join("program/far")).unwrap();
        let at = path.display();
        // Calls are noted: which there are, and that it is this one that is called.
        let call = format!("#!/bin/sh\nprintf '%s\\n' \"rsync $*\" >>'{at}/calls'\nexec '{at}/program/rsync' \"$@\"\n");
        fs::write(path.join("bin/rsync"), call).unwrap();
        zoo::set_mode(&path.join("bin/rsync"), 0o755);
        Self { path, ready: SystemTime::now(), told: Vec::new() }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file; `BOX` stands for this place.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("BOX", &self.path.display().to_string())).unwrap();
    }

    /// A blank within a word is written `%20`.
    pub fn command(&self, words: &str) -> Command {
        let at = self.path.display().to_string();
        let mut words = words.split_whitespace().map(|word| word.replace("BOX", &at).replace("%20", " "));
        let program = words.next().unwrap();
        let program = if program.contains('/') { program.into() } else { found(&program).unwrap() };
        let mut command = process::command(&self.path, &program, &words.collect::<Vec<_>>());
        command
            .env("PATH", format!("{at}/bin:{SYSTEM}"))
            .env("TMPDIR", self.at("tmp"))
            .env("PERL_HASH_SEED", "0")
            .env("PERL_PERTURB_KEYS", "0");
        command
    }

    /// Runs a command line, which succeeds, and keeps what it says; `BOX` stands for this place.
    pub fn run(&mut self, words: &str) {
        self.run_in("", words);
    }

    pub fn run_in(&mut self, dir: &str, words: &str) {
        let status = self.try_in(dir, words);
        assert_eq!(status, Status::Exit(0), "{}", self.told.concat());
    }

    /// Runs a command line in a directory, however it ends.
    pub fn try_in(&mut self, dir: &str, words: &str) -> Status {
        let mut command = self.command(words);
        command.current_dir(self.path.join(dir));
        let outcome = process::run_for(command, b"", process::PATIENCE);
        self.told.push(format!("$ {words}: {:?}\n", outcome.status));
        self.note(&outcome.stdout);
        self.note(&outcome.stderr);
        outcome.status
    }

    /// Keeps what was said.
    pub fn note(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let text: String = text.split_inclusive('\n').map(without_moment).collect();
        let lines = blur::blur(text.as_bytes(), &[(&self.path, "BOX")], true);
        // One of the reference's processes tells deletions, another one files: how they meet is a matter of time.
        let (deletions, rest): (Vec<_>, Vec<_>) =
            lines.iter().partition(|line| line.trim_start_matches('*').starts_with("deleting "));
        self.told.extend(deletions.into_iter().chain(rest).map(|line| without_clock(line)));
    }

    /// Keeps a file that the program wrote, and takes it away: it is told by what it says, not by its bytes.
    pub fn note_file(&mut self, name: &str) {
        let text = fs::read(self.at(name)).unwrap_or_else(|error| format!("{name}: {error}\n").into_bytes());
        self.told.push(format!("{name}:\n"));
        self.note(&text);
        let _ = fs::remove_file(self.at(name));
    }

    /// Gives the one entry whose name is a time a name that it has in every run.
    pub fn rename(&self, dir: &str, is_time: impl Fn(&str) -> bool, name: &str) {
        let mut entries = fs::read_dir(self.at(dir)).unwrap().map(|entry| entry.unwrap());
        let entry = entries.find(|entry| entry.file_name().to_str().is_some_and(&is_time)).expect("something new");
        fs::rename(entry.path(), self.at(dir).join(name)).unwrap();
    }

    /// Where it is a matter of time which are made first or how often, and of chance how letters follow each other.
    pub fn sort_calls(&self) {
        let in_order = |word: &str| {
            let mut letters = word.as_bytes().to_vec();
            if word.starts_with('-') && !word.starts_with("--") {
                letters.sort();
            }
            String::from_utf8(letters).unwrap()
        };
        let calls = fs::read_to_string(self.at("calls")).unwrap();
        let distinct: BTreeSet<String> =
            calls.lines().map(|call| call.split(' ').map(in_order).collect::<Vec<_>>().join(" ") + "\n").collect();
        fs::write(self.at("calls"), distinct.into_iter().collect::<String>()).unwrap();
    }

    /// The end: what is below `out`, and the calls.
    fn finish(mut self) -> (Vec<String>, Tree) {
        self.note_file("calls");
        (self.told, Tree::read(&self.path.join("out"), self.ready, false))
    }
}

/// A program of the system.
pub fn found(name: &str) -> Option<PathBuf> {
    SYSTEM.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

/// A log's line without the moment at its beginning: `[2024-05-06T07:08:09] …`.
fn without_moment(line: &str) -> &str {
    match line.split_once("] ") {
        Some((head, rest)) if head.starts_with("[2") => rest,
        _ => line,
    }
}

/// What stands before the number of a process, or of an open file.
const PROCESSES: &[&str] = &["echo ", "[", "pid=", "Job ", "/proc/self/fd/"];

/// Times of day, dates, and numbers of processes: digits with colons or dashes between, and long numbers.
fn without_clock(line: &str) -> String {
    let line = PROCESSES.iter().fold(line.to_string(), |line, mark| match line.split_once(mark) {
        Some((head, tail)) => format!("{head}{mark}{}", tail.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => line,
    });
    const NAMES: &str = "Mon Tue Wed Thu Fri Sat Sun Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    let word = |word: &str| -> String {
        if let Some((head, _)) = word.split_once("BOX/tmp/tmp") {
            return format!("{head}BOX/tmp/#{}", if word.ends_with('\n') { "\n" } else { "" });
        }
        if NAMES.split(' ').any(|name| name == word) {
            return "DAY".into();
        }
        let mut out = String::new();
        let mut rest = word;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (head, tail) = rest.split_at(start);
            let clock = |c: char| c.is_ascii_digit() || matches!(c, ':' | '-' | 'T');
            let end = tail.find(|c: char| !clock(c)).unwrap_or(tail.len());
            let (number, more) = tail.split_at(end);
            out.push_str(head);
            out.push_str(if number.len() >= 5 { "#" } else { number });
            rest = more;
        }
        out + rest
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The tree in its first state.
fn first(top: &Path) {
    for dir in ["docs/deep/deeper", "empty", "mail"] {
        fs::create_dir_all(top.join(dir)).unwrap();
    }
    zoo::file(&top.join("docs/report"), &zoo::noise(70_000, 1));
    zoo::file(&top.join("docs/deep/notes"), b"some notes\n");
    zoo::file(&top.join("docs/deep/deeper/a name with blanks"), b"blank\n");
    zoo::file(&top.join("docs/deep/Grüße"), b"hello\n");
    zoo::file(&top.join("mail/box"), &zoo::noise(20_000, 2));
    zoo::file(&top.join("mail/scratch.tmp"), b"not to be kept\n");
    zoo::file(&top.join("mail/none"), b"");
    zoo::set_mode(&top.join("mail/box"), 0o600);
    zoo::file(&top.join("run.sh"), b"#!/bin/sh\n");
    zoo::set_mode(&top.join("run.sh"), 0o755);
    fs::hard_link(top.join("docs/report"), top.join("docs/deep/the same report")).unwrap();
    symlink("docs/report", top.join("latest")).unwrap();
    symlink("nowhere", top.join("dangling")).unwrap();
    for link in ["latest", "dangling"] {
        zoo::set_time(&top.join(link), 1_400_000_000, 0);
    }
    zoo::set_mode(&top.join("empty"), 0o750);
    zoo::settle_dirs(top);
}

/// Adds what only `-A` and `-X` keep.
pub fn enrich(top: &Path) {
    for (name, list) in [
        ("docs/report", "u:1234:rw"),
        ("docs/deep", "g:5678:rx,d:u:1234:rwx,d:o::-"),
        ("docs/deep/notes", "u:1234:-,m::r"),
        ("run.sh", "g:daemon:x"),
        ("empty", "d:g::rwx"),
    ] {
        let done = Command::new("setfacl").args(["-m", list]).arg(top.join(name)).status();
        assert!(done.is_ok_and(|status| status.success()), "setfacl {list} {name}");
    }
    for (name, len) in [("docs/report", 300), ("docs/deep/notes", 1), ("mail/box", 40), ("mail", 5), ("mail/none", 0)] {
        zoo::attr(&top.join(name), "user.note", &zoo::noise(len, 7));
    }
    zoo::settle_dirs(top);
}

/// What happens to it between rounds.
pub fn change(top: &Path, round: u32) {
    match round {
        1 => {
            let mut report = fs::read(top.join("docs/report")).unwrap();
            report.splice(30_000..30_010, *b"another piece of text");
            fs::write(top.join("docs/report"), report).unwrap();
            zoo::set_time(&top.join("docs/report"), 1_450_000_000, 5);
            zoo::file(&top.join("docs/new"), b"new\n");
            fs::remove_file(top.join("docs/deep/notes")).unwrap();
            zoo::set_mode(&top.join("run.sh"), 0o700);
            zoo::set_time(&top.join("mail/none"), 1_450_000_001, 0);
        }
        _ => {
            fs::rename(top.join("docs/deep"), top.join("docs/moved")).unwrap();
            fs::remove_file(top.join("latest")).unwrap();
            fs::create_dir(top.join("latest")).unwrap();
            zoo::file(&top.join("latest/inside"), b"was a link\n");
            fs::remove_dir(top.join("empty")).unwrap();
            zoo::file(&top.join("empty"), b"was a directory\n");
            fs::remove_file(top.join("dangling")).unwrap();
        }
    }
    zoo::settle_dirs(top);
}

/// Why a program cannot be tested here, if so: said, and counted.
pub fn skipped(what: &str, commands: &[&str]) -> bool {
    let missing = commands.iter().find(|name| found(name).is_none());
    if let Some(name) = missing {
        harness::skip(what, &format!("{name} is not installed"));
    }
    missing.is_some() || !programs::reference_is_there(what)
}

pub const BOTH: [Ends; 2] = [ends(Program::Reference, Program::Reference), ends(Program::Ours, Program::Ours)];
pub const EACH_END: [Ends; 4] =
    [BOTH[0], BOTH[1], ends(Program::Ours, Program::Reference), ends(Program::Reference, Program::Ours)];

/// Lets `play` happen with the reference, and with ours, and compares.
pub fn compare(what: &str, all_ends: &[Ends], play: impl Fn(&mut Desk)) {
    let dir = tempfile::Builder::new().prefix("oc-rsync-").tempdir().unwrap();
    let source = dir.path().join("src");
    fs::create_dir(&source).unwrap();
    first(&source);
    let mut runs = all_ends.iter().map(|&ends| {
        // The same place each time: paths are part of what is kept.
        let place = dir.path().join("box");
        let mut desk = Desk::new(place.clone(), ends, &source);
        play(&mut desk);
        let left = desk.finish();
        fs::remove_dir_all(place).unwrap();
        (ends, left)
    });
    let (_, (told, tree)) = runs.next().unwrap();
    if std::env::var_os("OC_RSYNC_TOLD").is_some() {
        eprintln!("{}", told.concat());
    }
    assert!(told.iter().any(|line| line.starts_with("rsync ")), "{what}: rsync was never called\n{}", told.concat());
    let mut differences = Vec::new();
    for (ends, (ours, our_tree)) in runs {
        let mut found = tree.differences(&our_tree, false);
        found.extend(blur::line_difference(&told, &ours));
        differences.extend(found.into_iter().map(|text| format!("{what} · {ends:?}\n{text}")));
    }
    assert!(differences.is_empty(), "{} differences:\n\n{}", differences.len(), differences.join("\n\n"));
}
