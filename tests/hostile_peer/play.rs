//! Setting a program in front of bytes that a peer might say, and looking at what it makes of them.

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
    thread,
    time::{Duration, SystemTime},
};

use crate::{
    bytes::Bytes,
    harness::{
        Program,
        process::{self, Status},
        tree::{self, Tree, What},
    },
};

/// More than any run may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where the program under test sits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seat {
    Pull,
    Push,
    ServerReceives,
    ServerSends,
}

use Seat::{Pull, Push, ServerReceives, ServerSends};

/// The seats of a receiver, those of a sender.
pub const RECEIVERS: [Seat; 2] = [Pull, ServerReceives];
pub const SENDERS: [Seat; 2] = [Push, ServerSends];
pub const ALL: [Seat; 4] = [Pull, Push, ServerReceives, ServerSends];

impl Seat {
    pub fn is_server(self) -> bool {
        matches!(self, ServerReceives | ServerSends)
    }

    /// What an honest peer says first, with or without incremental recursion.
    pub fn greeting(self, incremental: bool) -> Bytes {
        let hello = Bytes::new().int(32);
        match self {
            Pull | Push => hello.varint(0x1fe | i32::from(incremental)).string("md5").int(1),
            ServerReceives => hello.string("md5"),
            ServerSends => hello.string("md5").raw(&Bytes::new().int(0).framed().0),
        }
    }
}

/// What the peer does when it has said its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(dead_code)]
pub enum After {
    /// Closes, and reads what still comes.
    Close,
    /// The same after a moment, in which what is wrong can be noticed before the end is.
    Linger,
    /// Says nothing more, and stays.
    Silent,
}

/// One hostile conversation.
#[derive(Clone)]
pub struct Talk {
    pub name: String,
    pub seat: Seat,
    /// Options of the program under test, besides those that the seat asks for.
    pub args: Vec<&'static str>,
    /// Bundled letters.
    pub letters: &'static str,
    /// What a pull asks for.
    pub source: &'static str,
    pub incremental: bool,
    pub bytes: Vec<u8>,
    pub after: After,
}

impl Talk {
    pub fn new(name: impl Into<String>, seat: Seat, bytes: Bytes) -> Self {
        let (name, bytes) = (name.into(), bytes.0);
        let (args, after) = (Vec::new(), After::Linger);
        Self { name, seat, args, letters: "rlt", source: "src/", incremental: false, bytes, after }
    }

    pub fn arg(mut self, arg: &'static str) -> Self {
        self.args.push(arg);
        self
    }

    pub fn argv(&self, bytes: &Path) -> Vec<String> {
        let mut argv: Vec<String> = Vec::new();
        let info = if self.incremental { "iLsfxCIvu" } else { "LsfxCIvu" };
        match self.seat {
            Pull | Push => argv.push(format!("-{}", self.letters)),
            ServerReceives => argv.extend(["--server".into(), format!("-{}e.{info}", self.letters)]),
            ServerSends => {
                argv.extend(["--server".into(), "--sender".into(), format!("-{}e.{info}", self.letters)]);
            }
        }
        argv.extend(self.args.iter().map(|arg| (*arg).to_owned()));
        let player = || format!("{} {}", player(self.after).display(), bytes.display());
        match self.seat {
            Pull => argv.extend(["-e".into(), player(), format!("far:{}", self.source), "dst/".into()]),
            Push => argv.extend(["-e".into(), player(), "src/".into(), "far:dst/".into()]),
            ServerReceives => argv.extend([".".into(), "dst/".into()]),
            ServerSends => argv.extend([".".into(), "src/".into()]),
        }
        argv
    }
}

/// What a program made of a conversation.
pub struct Played {
    pub status: Status,
    /// Its own lines and, from a server, those it sent to the client; without source positions.
    pub said: Vec<String>,
    pub tree: Tree,
    /// Temporary files left, and whatever changed where nothing may.
    pub strays: Vec<String>,
}

/// Plays a conversation to a program in a place of its own.
pub fn play(talk: &Talk, program: Program) -> Played {
    let site = tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory");
    let site = site.path();
    furnish(site);
    let ready = SystemTime::now();
    let outside = outside(site);
    let bytes = site.join("bytes");
    fs::write(&bytes, &talk.bytes).expect("bytes");
    let stdin = if talk.seat.is_server() { &talk.bytes[..] } else { &[] };
    let mut command = process::command(site, &program.path(), &talk.argv(&bytes));
    command.env_remove("RSYNC_RSH");
    let outcome = match (talk.seat.is_server(), talk.after) {
        (true, After::Linger) => process::run_for(held(command, &bytes, "0.3"), &[], PATIENCE),
        (true, After::Silent) => process::run_for(held(command, &bytes, "30"), &[], PATIENCE),
        _ => process::run_for(command, stdin, PATIENCE),
    };
    fs::remove_file(&bytes).expect("bytes");
    let more = if talk.seat.is_server() { messages(&outcome.stdout) } else { outcome.stdout };
    let here = format!("{}/", site.display());
    let said = lines(&outcome.stderr).into_iter().chain(lines(&more)).map(|line| line.replace(&here, "")).collect();
    let tree = Tree::read(&site.join("dst"), ready, false);
    let mut strays = temporaries(&tree);
    if outside != self::outside(site) {
        strays.push("something changed outside the destination".into());
    }
    Played { status: outcome.status, said, tree, strays }
}

/// The same command with a standard input that stays open behind the bytes.
fn held(command: std::process::Command, bytes: &Path, seconds: &str) -> std::process::Command {
    let mut held = std::process::Command::new("/bin/sh");
    let words = command.get_args().map(|arg| format!("'{}'", arg.to_string_lossy())).collect::<Vec<_>>().join(" ");
    let program = command.get_program().to_string_lossy().into_owned();
    let bytes = bytes.display();
    let line = format!(
        "mkfifo stay; {{ cat '{bytes}'; exec sleep {seconds}; }} >stay & '{program}' {words} <stay; s=$?; kill $! 2>&-; rm stay; exit $s"
    );
    held.arg("-c").arg(line).current_dir(command.get_current_dir().expect("set before"));
    held.env_clear();
    held.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    held
}

pub fn furnish(site: &Path) {
    let dir = |path: &str| fs::create_dir_all(site.join(path)).expect("directory");
    let file = |path: &str, text: &str| fs::write(site.join(path), text).expect("file");
    dir("src/sub");
    file("src/a", "the source's a\n");
    file("src/b", "b\n");
    file("src/sub/c", &"c and more c\n".repeat(200));
    symlink("a", site.join("src/link")).expect("link");
    dir("dst");
    file("dst/a", &"what was here before\n".repeat(100));
    dir("dst/olddir");
    symlink("../outside", site.join("dst/away")).expect("link");
    dir("dst/deep/er");
    file("dst/deep/sibling", "not spoken of\n");
    file("dst/deep/er/extra", "not listed\n");
    dir("outside");
    file("outside/kept", "kept\n");
    for path in ["src/a", "src/b", "src/sub/c", "dst/a", "dst/olddir", "dst", "outside/kept"] {
        crate::harness::zoo::set_time(&site.join(path), 1_400_000_000, 0);
    }
    tree::settle(&site.join("dst"));
}

/// Everything but the destination, as text.
fn outside(site: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let mut dirs = vec![site.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("directory") {
            let path = entry.expect("entry").path();
            if path == site.join("dst") || path == site.join("bytes") {
                continue;
            }
            let kind = fs::symlink_metadata(&path).expect("entry").file_type();
            let content = if kind.is_file() { fs::read(&path).unwrap_or_default() } else { Vec::new() };
            if kind.is_dir() {
                dirs.push(path.clone());
            }
            all.push((path, content));
        }
    }
    all.sort();
    all
}

/// Names such as `.name.XXXXXX`.
pub fn temporaries(tree: &Tree) -> Vec<String> {
    let is_temporary = |path: &&[u8]| {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let len = name.len();
        len > 8 && name[0] == b'.' && name[len - 7] == b'.' && name[len - 6..].iter().all(u8::is_ascii_alphanumeric)
    };
    tree.paths().filter(is_temporary).map(|path| format!("left: {}", String::from_utf8_lossy(path))).collect()
}

/// What a server told its client: the lines among its frames, behind its greeting.
fn messages(stdout: &[u8]) -> Vec<u8> {
    // version, flags, names of algorithms, seed
    let greeting = |stdout: &[u8]| {
        let flags = 4 + if stdout.get(4)? & 0x80 != 0 { 2 } else { 1 };
        Some(flags + 1 + usize::from(*stdout.get(flags)?) + 4)
    };
    let mut rest = greeting(stdout).and_then(|at| stdout.get(at..)).unwrap_or_default();
    let mut text = Vec::new();
    while let [a, b, c, tag, ..] = *rest {
        let len = u32::from_le_bytes([a, b, c, 0]) as usize;
        let payload = rest.get(4..4 + len).unwrap_or_default();
        if (8..=15).contains(&tag) {
            text.extend_from_slice(payload);
        }
        rest = rest.get(4 + len..).unwrap_or_default();
    }
    text
}

/// Lines without what may differ: source positions, program names, process ids.
fn lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    text.lines().map(without_position).filter(|line| !line.is_empty()).collect()
}

fn without_position(line: &str) -> String {
    let mut line = line.to_owned();
    for (start, end) in [(") at ", ")"), ("(file=", ")"), ("connection unexpectedly closed (", ")")] {
        if let Some(at) = line.find(start)
            && let Some(len) = line[at + start.len()..].find(end)
        {
            line.replace_range(at..at + start.len() + len + 1, " @");
        }
    }
    // a temporary name, which the reference shows without its last letters
    if let Some(at) = line.find("\" failed: ").filter(|_| line.contains("mkstemp")) {
        line.replace_range(at.saturating_sub(6)..at, "XXXXXX");
    }
    line
}

/// The script that stands in for a remote shell: says the bytes of a file.
fn player(after: After) -> &'static Path {
    static SCRIPTS: OnceLock<[PathBuf; 3]> = OnceLock::new();
    let scripts = SCRIPTS.get_or_init(|| {
        [
            ("close.sh", "cat \"$1\"\nexec >&-\nexec cat >/dev/null\n"),
            ("linger.sh", "cat \"$1\"\nsleep 0.3\nexec >&-\nexec cat >/dev/null\n"),
            ("silent.sh", "cat \"$1\"\nexec sleep 30\n"),
        ]
        .map(|(name, body)| process::script(name, body))
    });
    match after {
        After::Close => &scripts[0],
        After::Linger => &scripts[1],
        After::Silent => &scripts[2],
    }
}

/// What must hold whatever a peer says; the text of what does not.
pub fn faults(talk: &Talk, played: &Played) -> Vec<String> {
    let mut faults = played.strays.clone();
    match played.status {
        Status::Exit(101) => faults.push("exit status 101".into()),
        Status::Exit(_) => {}
        Status::Signal(signal) => faults.push(format!("died of signal {signal}")),
        Status::Hung => faults.push("hung".into()),
    }
    if played.said.iter().any(|line| line.contains("panicked")) {
        faults.push("panicked".into());
    }
    faults
        .iter()
        .map(|fault| format!("{} ({:?}): {fault}\n  {}", talk.name, talk.seat, played.said.join("\n  ")))
        .collect()
}

/// How two programs took the same conversation differently.
///
/// The reference is two processes, and which of them ends the run, or says something more, is a matter of luck: ours
/// must end with a cause and a closing line that the reference said too, and with its status or that line's.
pub fn differences(talk: &Talk, reference: &Played, ours: &Played) -> Vec<String> {
    let mut told = Vec::new();
    let known: Vec<String> = reference.said.iter().map(|line| without_role(line)).collect();
    let last: Vec<String> = ours.said.iter().rev().take(2).map(|line| without_role(line)).collect();
    let same_end = !last.is_empty() && last.iter().all(|line| known.contains(line));
    if reference.status != ours.status && !same_end {
        told.push(format!("status: reference {:?}, ours {:?}", reference.status, ours.status));
    }
    if !last.is_empty() && !same_end {
        told.push("said differently".into());
    }
    if contents(&reference.tree) != contents(&ours.tree) {
        told.push(format!("left {:?}, not {:?}", contents(&ours.tree), contents(&reference.tree)));
    }
    if told.is_empty() || reference.status == Status::Hung {
        return Vec::new();
    }
    let (theirs, mine) = (reference.said.join("\n    "), ours.said.join("\n    "));
    vec![format!(
        "{} ({:?}):\n  {}\n  reference:\n    {theirs}\n  ours:\n    {mine}",
        talk.name,
        talk.seat,
        told.join("\n  ")
    )]
}

/// Which of the reference's processes notices first is a matter of luck: it is asked again before ours is blamed.
fn differences_of_all(talk: &Talk, ours: &Played) -> Vec<String> {
    let mut found = Vec::new();
    for _ in 0..4 {
        found = differences(talk, &play(talk, Program::Reference), ours);
        if found.is_empty() {
            break;
        }
    }
    found
}

/// What files stand at the destination; whether directories were still made is a matter of time.
fn contents(tree: &Tree) -> Vec<(String, &What)> {
    let node = |path: &[u8]| Some((String::from_utf8_lossy(path).into_owned(), &tree.get(path)?.what));
    tree.paths().filter_map(node).filter(|(_, what)| matches!(what, What::File { .. })).collect()
}

/// Which of its processes the reference lets speak varies.
fn without_role(line: &str) -> String {
    let roles = ["generator", "receiver", "Receiver", "sender", "Sender", "server", "client"];
    roles.iter().fold(line.to_owned(), |line, role| line.replace(&format!("[{role}"), "[@"))
}

/// Plays all conversations to ours, and those of interest to the reference too; fails with all that is wrong.
pub fn check(talks: &[Talk], compare: bool) {
    let compare = match Program::Reference.missing() {
        Some(reason) if compare => {
            crate::harness::skip("a hostile peer's bytes, compared with the reference", &reason);
            false
        }
        _ => compare,
    };
    let (next, wrong) = (Mutex::new(talks.iter()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(talk) = next.lock().expect("lock").next() else { return };
            let ours = play(talk, Program::Ours);
            let mut found = faults(talk, &ours);
            if compare {
                found.extend(differences_of_all(talk, &ours));
            }
            wrong.lock().expect("lock").extend(found);
        }
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().expect("lock");
    let _ = writeln!(std::io::stdout(), "{} conversations", talks.len());
    assert!(wrong.is_empty(), "{} of {} conversations:\n\n{}", wrong.len(), talks.len(), wrong.join("\n\n"));
}
