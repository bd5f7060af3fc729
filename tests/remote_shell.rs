//! The remote shell when things go wrong, forced by scripts that stand in for ssh: its status, its noise, its silence,
//! its death, and signals in the middle. Where the reference is sure of its answer ours is compared with it; where it
//! races or hangs the expectation stands here.

mod harness;

use std::{
    ffi::OsStr,
    fs,
    io::{PipeReader, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use harness::{
    Program,
    process::{self, Outcome, Status},
};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

/// Drops what ssh would take for itself, up to and including the host.
const FAR: &str = "while :; do case \"$1\" in -l) shift 2;; -*) shift;; *) break;; esac; done\nshift\n";

/// A session that is cut short when data has begun to flow; how the stand-in itself ends follows.
const DIES: &str = "exec 3<&0\nsetsid sh -c \"exec $*\" <&3 3<&- & far=$!\nexec <&- 3<&- >&-\n\
    until [ -s \"$(echo dst/.big.*)\" ]; do sleep 0.05; done\nsleep 0.3\nkill -9 -$far\n";

const BIG: usize = 3_000_000;

/// A directory with `src/a`, `src/big` and whatever scripts a test puts there.
struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("oc-rsync-").tempdir().unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        fs::write(dir.path().join("src/a"), "small\n").unwrap();
        let big: Vec<u8> = (0..BIG as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 37) as u8).collect();
        fs::write(dir.path().join("src/big"), big).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A script that stands in for ssh.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{body}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// The client with a stand-in; the far program is the reference.
    fn client(&self, program: Program, shell: &Path, args: &[&str]) -> Command {
        let mut command = process::command(self.dir.path(), &program.path(), args);
        command.arg("-e").arg(shell).arg(format!("--rsync-path={}", Program::Reference.path().display()));
        command
    }

    /// Runs the client on `args`; `far:` in them is completed to the stage's path.
    fn run(&self, program: Program, shell: &Path, args: &[&str]) -> Outcome {
        process::run_for(self.client(program, shell, args), b"", process::PATIENCE)
    }

    /// Writes a stand-in and runs ours with it.
    fn ours(&self, body: &str, args: &[&str]) -> Outcome {
        let shell = self.script("stand-in", body);
        self.run(Program::Ours, &shell, args)
    }

    fn lines(&self, outcome: &Outcome) -> Vec<String> {
        lines(&outcome.stderr)
    }

    /// The names in the destination, hidden ones included.
    fn destination(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path("dst"))
            .map(|names| names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }

    fn clear(&self) {
        let _ = fs::remove_dir_all(self.path("dst")); // it may never have been made
    }

    /// Runs both programs with the same stand-in; ours must end and speak as the reference does.
    fn same_as_reference(&self, shell: &Path, args: &[&str]) -> Outcome {
        let reference = self.run(Program::Reference, shell, args);
        self.clear();
        let ours = self.run(Program::Ours, shell, args);
        assert_eq!(ours.status, reference.status, "{args:?}\n{}", String::from_utf8_lossy(&ours.stderr));
        assert_eq!(self.lines(&ours), self.lines(&reference), "{args:?}");
        assert_eq!(ours.stdout, reference.stdout, "{args:?}");
        ours
    }

    fn assert_copied(&self) {
        for name in ["a", "big"] {
            let (from, to) = (self.path("src").join(name), self.path("dst").join(name));
            assert!(fs::read(from).unwrap() == fs::read(to).unwrap_or_default(), "{name} differs");
        }
    }
}

/// The lines of a text, without the places in source files that closing lines name.
fn lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let placeless = |line: &str| match (line.find(" at "), line.rfind(" [")) {
        (Some(from), Some(to)) if line.starts_with("rsync error: ") && from < to => {
            line[..from].to_string() + &line[to..]
        }
        _ => line.to_string(),
    };
    text.split_inclusive('\n').map(placeless).collect()
}

/// The reference must be there: every test here leans on it.
macro_rules! need_reference {
    ($what:expr) => {
        if let Some(why) = Program::Reference.missing() {
            harness::skip($what, &why);
            return;
        }
    };
}

const PUSH: &[&str] = &["-a", "src/", "far:dst"];
const PULL: &[&str] = &["-a", "far:src/", "dst"];

/// The connection broke, and then `text (code N)`.
fn assert_broken(lines: &[String], role: &str, text: &str, code: u8) {
    let [first, last] = lines else { panic!("two lines: {lines:?}") };
    assert_eq!(*first, format!("rsync: connection unexpectedly closed (0 bytes received so far) [{role}]\n"));
    assert_eq!(*last, format!("rsync error: {text} (code {code}) [{role}=3.5.0]\n"));
}

#[test]
fn the_shell_s_status_is_ours_at_once_or_late() {
    let stage = Stage::new();
    for (code, text) in [
        (255, "unexplained error"),
        (127, "remote command not found"),
        (126, "remote command could not be run"),
        (125, "remote shell killed"),
        (124, "remote shell failed"),
    ] {
        for body in [format!("exit {code}\n"), format!("exec <&- >&-\nsleep 0.7\nexit {code}\n")] {
            for (args, role) in [(PULL, "Receiver"), (PUSH, "sender")] {
                let outcome = stage.ours(&body, args);
                assert_eq!(outcome.status, Status::Exit(code.into()), "{body}");
                assert_broken(&stage.lines(&outcome), role, text, code);
            }
        }
    }
}

#[test]
fn a_lower_status_is_a_broken_stream() {
    let stage = Stage::new();
    for body in ["exit 0\n", "exit 3\n", "kill -9 $$\n"] {
        let outcome = stage.ours(body, PULL);
        assert_eq!(outcome.status, Status::Exit(12), "{body}");
        assert_broken(&stage.lines(&outcome), "Receiver", "error in rsync protocol data stream", 12);
    }
}

#[test]
fn noise_on_the_remote_stdout() {
    need_reference!("noise on the remote stdout");
    let stage = Stage::new();
    let noisy = stage.script("noisy", &format!("{FAR}echo Welcome to this machine\nexec sh -c \"$*\" 2>/dev/null\n"));
    for args in [PULL, PUSH] {
        assert_eq!(stage.same_as_reference(&noisy, args).status, Status::Exit(2));
    }
}

/// A shell that refuses on its standard output is heard, also where it takes nothing of ours before it leaves.
#[test]
fn a_refusal_on_the_remote_stdout() {
    let stage = Stage::new();
    for body in ["echo This account is not available.\n", "exec <&-\necho No.\n", "exec <&-\nsleep 0.3\necho No.\n"] {
        for (args, role) in [(PULL, "Receiver"), (PUSH, "sender")] {
            let outcome = stage.ours(body, args);
            assert_eq!(outcome.status, Status::Exit(2), "{body}");
            let said = [
                "protocol version mismatch -- is your shell clean?\n".to_string(),
                "(see the rsync manpage for an explanation)\n".to_string(),
                format!("rsync error: protocol incompatibility (code 2) [{role}=3.5.0]\n"),
            ];
            assert_eq!(stage.lines(&outcome), said, "{body}");
        }
    }
}

#[test]
fn what_cannot_be_executed() {
    let stage = Stage::new();
    for (shell, tried, why) in [
        ("/nonexistent/ssh", "/nonexistent/ssh", "No such file or directory (2)"),
        ("./src", "./src", "Permission denied (13)"),
        ("./src/a", "./src/a", "Permission denied (13)"),
        // Without a shell the host stands first.
        ("", "far", "No such file or directory (2)"),
        ("  ", "far", "No such file or directory (2)"),
    ] {
        for (args, role) in [(PULL, "Receiver"), (PUSH, "sender")] {
            let outcome = stage.run(Program::Ours, Path::new(shell), args);
            assert_eq!(outcome.status, Status::Exit(14));
            let expected = format!(
                "rsync: [{role}] Failed to exec {tried}: {why}\n\
                 rsync error: error in IPC code (code 14) at pipe.c(0) [{role}=3.5.0]\n"
            );
            assert_eq!(stage.lines(&outcome), lines(expected.as_bytes()));
        }
    }
}

#[test]
fn commands_and_hosts_that_are_refused() {
    need_reference!("commands and hosts that are refused");
    let stage = Stage::new();
    for args in [
        &["-a", "-e", "ssh 'x", "src/", "far:dst"][..],
        &["-a", "-e", "ssh \"x", "far:src/", "dst"],
        &["-a", "-e", "ssh", "src/", "--", "-far:dst"],
        &["-a", "-e", "ssh", "src/", "me@-far:dst"],
    ] {
        let run = |program: Program| process::run(stage.dir.path(), &program.path(), args, b"");
        let (reference, ours) = (run(Program::Reference), run(Program::Ours));
        assert_eq!((ours.status, stage.lines(&ours)), (reference.status, stage.lines(&reference)), "{args:?}");
        assert_eq!(ours.status, Status::Exit(1));
    }
}

/// Arguments, and an environment variable.
type CommandLine<'a> = (&'a [&'a [u8]], Option<(&'a str, &'a str)>);

#[test]
fn the_words_that_reach_the_shell() {
    need_reference!("the words that reach the shell");
    let stage = Stage::new();
    for name in ["bin/ssh", "other"] {
        stage.script(name, "printf '%s\\0' \"$0\" \"$@\" >words\n");
    }
    let words = |program: Program, args: &[&[u8]], variable: Option<(&str, &str)>| {
        let args: Vec<&OsStr> = args.iter().map(|arg| OsStr::from_bytes(arg)).collect();
        let mut command = process::command(stage.dir.path(), &program.path(), &args);
        command.envs(variable);
        process::run_for(command, b"", process::PATIENCE);
        let words = fs::read(stage.path("words")).unwrap_or_default();
        let _ = fs::remove_file(stage.path("words")); // absent if the shell was not started
        String::from_utf8_lossy(&words).replace('\0', "\n")
    };
    let cases: &[CommandLine] = &[
        (&[b"-a", b"-e", b"bin/ssh", b"src/", b"far:dst"], None),
        (&[b"-a", b"-e", b"bin/ssh -p 22  -o 'A B' \"c\"\"d\" e'f'\"g\"", b"far:src", b"dst"], None),
        (&[b"-a", b"-e", b"./bin/ssh", b"me@far:src", b"dst"], None),
        (&[b"-a", b"-e", b"./bin/ssh", b"me@home@far:src", b"dst"], None),
        (&[b"-a4", b"-e", b"./bin/ssh", b"far:src", b"dst"], None),
        (&[b"-a6", b"-e", b"./bin/ssh -v", b"me@[::1]:src", b"dst"], None),
        (&[b"-a6", b"-e", b"./other", b"[fe80::1%lo]:src", b"dst"], None),
        (&[b"-a", b"far:src", b"dst"], Some(("RSYNC_RSH", "./other -x"))),
        (&[b"-a", b"-e", b"./other", b"far:src", b"dst"], Some(("RSYNC_RSH", "./bin/ssh"))),
        (&[b"-a", b"-e", b"./other", b"far:a b", b":c'd*", b"far:~/x", b"dst"], None),
        (&[b"-a", b"-e", b"./other", b"far:new\nline\rand\ttab", b"dst"], None),
        (&[b"-a", b"-e", b"./other", b"far:not\xffutf8", b"dst"], None),
        (&[b"-a", b"-e", b"./other", b"src/", b"far:-dash $(x) `y` \\z"], None),
        (&[b"-a", b"-e", b"./other", b"--old-args", b"far:a b*", b"dst"], None),
        (&[b"-a", b"-e", b"./other", b"far:a b*", b"dst"], Some(("RSYNC_OLD_ARGS", "1"))),
        (&[b"-a", b"-e", b"./other", b"far:a b*", b"dst"], Some(("RSYNC_PROTECT_ARGS", "1"))),
        (&[b"-as", b"-e", b"./other", b"far:a b*", b"dst"], None),
        (&[b"-a", b"-e", b"./other", b"--rsync-path=sudo -u x rsync", b"far:", b"dst"], None),
        (&[b"-av", b"-e", b"./other", b"--partial", b"-M--bwlimit=9", b"src", b"far:"], None),
        (&[b"-a", b"-e", b"./other", b"--blocking-io", b"src", b"far:dst"], None),
    ];
    for (args, variable) in cases {
        let reference = words(Program::Reference, args, *variable);
        assert!(!reference.is_empty(), "the reference did not start the shell: {args:?}");
        let ours = words(Program::Ours, args, *variable);
        assert_eq!(ours, reference, "{:?}", args.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>());
    }
}

#[test]
fn what_the_shell_inherits() {
    need_reference!("what the shell inherits");
    let stage = Stage::new();
    // Nothing is started in between: the shell itself looks at what it is.
    let body = "while read word value; do case $word in Sig???:) echo $word $value; esac; done </proc/$$/status >state\n\
                for fd in /proc/$$/fd/*; do echo ${fd##*/}; done >>state\n\
                read line </proc/$$/stat; set -- $line; echo $5 $6 >group\nexit 1\n";
    let shell = stage.script("stand-in", body);
    let states = [Program::Reference, Program::Ours].map(|program| {
        let mut command = stage.client(program, &shell, PULL);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let group = fs::read_to_string(stage.path("group")).unwrap();
        let session = nix::unistd::getsid(None).unwrap();
        assert_eq!(group, format!("{pid} {session}\n"), "{program:?}: no group and no session of its own");
        let state = fs::read_to_string(stage.path("state")).unwrap();
        // 32 and above are the C library's own.
        let signals = |line: &str| u64::from_str_radix(line, 16).map(|bits| bits & 0x7fff_ffff);
        let lines = state.lines().map(|line| match line.split_once(": ") {
            Some((title, bits)) => format!("{title} {:x}", signals(bits).unwrap()),
            None => line.to_string(),
        });
        lines.collect::<Vec<_>>()
    });
    assert_eq!(states[1], states[0]);
    assert!(states[1].contains(&"SigBlk 0".to_string()), "{:?}", states[1]);
}

#[test]
fn closed_descriptors_are_not_written_to() {
    need_reference!("closed descriptors");
    let stage = Stage::new();
    let shell = stage.script("stand-in", &format!("{FAR}exec sh -c \"$*\"\n"));
    for closed in ["<&-", ">&-", "2>&-", "<&- 2>&-", "<&- >&-", "<&- >&- 2>&-"] {
        for args in [PUSH, PULL, &["-a", "src/", "dst"]] {
            let run = |program: Program| {
                let client = stage.client(program, &shell, &["-v"]);
                let mut words = vec!["-c".into(), format!("exec \"$@\" {closed}").into(), "sh".into()];
                words.push(client.get_program().to_owned());
                words.extend(client.get_args().map(OsStr::to_owned));
                words.extend(args.iter().map(Into::into));
                let command = process::command(stage.dir.path(), Path::new("/bin/sh"), &words);
                process::run_for(command, b"", process::PATIENCE)
            };
            // The reference's own channels take the place of a closed standard output, and its lines break them.
            if !closed.contains(" >&-") && !closed.starts_with(">&-") {
                assert_eq!(run(Program::Reference).status, Status::Exit(0), "{closed} {args:?}");
                stage.clear();
            }
            let ours = run(Program::Ours);
            assert_eq!(ours.status, Status::Exit(0), "{closed} {args:?}: {}", String::from_utf8_lossy(&ours.stderr));
            assert_eq!(stage.destination(), ["a", "big"], "{closed} {args:?}");
            stage.assert_copied();
            stage.clear();
        }
    }
}

#[test]
fn under_the_name_rsync() {
    need_reference!("under the name rsync");
    let stage = Stage::new();
    let shell = stage.script("stand-in", &format!("{FAR}exec sh -c \"$*\"\n"));
    for (dir, linked) in [("copy", false), ("link", true)] {
        fs::create_dir(stage.path(dir)).unwrap();
        let path = stage.path(dir).join("rsync");
        match linked {
            true => std::os::unix::fs::symlink(Program::Ours.path(), &path).unwrap(),
            // Not by this process: what a child of another test still holds open for writing cannot be executed.
            false => assert!(Command::new("cp").arg(Program::Ours.path()).arg(&path).status().unwrap().success()),
        }
        let run = |program: &Path, args: &[&str]| {
            let mut command = process::command(stage.dir.path(), program, args);
            command.arg("-e").arg(&shell).arg(format!("--rsync-path={}", program.display()));
            process::run_for(command, b"", process::PATIENCE)
        };
        let version = process::run(stage.dir.path(), &path, &["--version"], b"");
        assert!(version.stdout.starts_with(b"rsync  version 3.5.0  protocol version 32\n"), "{version:?}");
        for args in [&["-ai", "src/", "far:dst"][..], &["-ai", "src/", "src/none", "dst"], &["--nonsense"]] {
            let reference = run(&Program::Reference.path(), args);
            stage.clear();
            let ours = run(&path, args);
            assert_eq!(ours.status, reference.status, "{args:?}");
            assert_eq!(ours.stdout, reference.stdout, "{args:?}");
            assert_eq!(stage.lines(&ours), stage.lines(&reference), "{args:?}");
            stage.clear();
        }
    }
}

#[test]
fn the_display_is_hidden_unless_something_can_ask() {
    let stage = Stage::new();
    let shell = stage.script("stand-in", "echo ${DISPLAY-none} >display\nexit 1\n");
    for (variables, expected) in
        [(&[("DISPLAY", ":7")][..], "none\n"), (&[("DISPLAY", ":7"), ("SSH_ASKPASS", "/bin/true")], ":7\n")]
    {
        let mut command = stage.client(Program::Ours, &shell, PULL);
        command.envs(variables.iter().copied());
        process::run_for(command, b"", process::PATIENCE);
        assert_eq!(fs::read_to_string(stage.path("display")).unwrap(), expected);
    }
}

#[test]
fn messages_pass_raw_and_in_order() {
    need_reference!("messages pass raw and in order");
    let stage = Stage::new();
    let body = format!("{FAR}printf 'first\\r\\nsecond \\377\\001' >&2\nsh -c \"$*\"\nprintf ' third, no end' >&2\n");
    for args in [PUSH, PULL] {
        let outcome = stage.ours(&body, args);
        assert_eq!(outcome.status, Status::Exit(0));
        assert_eq!(outcome.stderr, b"first\r\nsecond \xff\x01 third, no end");
        stage.assert_copied();
        stage.clear();
    }
}

#[test]
fn a_flood_of_messages_that_nobody_reads() {
    need_reference!("a flood of messages that nobody reads");
    let stage = Stage::new();
    let flood = "head -c 100000000 /dev/zero | tr '\\0' x | fold -w 99 >&2 & ";
    let shell =
        stage.script("stand-in", &format!("{FAR}{flood}\nsh -c \"$*\"\nstatus=$?\nwait\necho end >&2\nexit $status\n"));
    for args in [PUSH, PULL] {
        let mut command = stage.client(Program::Ours, &shell, args);
        let (mut unread, stderr) = std::io::pipe().unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        drop(command); // it holds the writing end
        assert_eq!(wait(&mut child, process::PATIENCE), Some(Status::Exit(0)));
        stage.assert_copied();
        stage.clear();
        let mut text = String::new();
        unread.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("xxx"), "the oldest that fitted is there");
        assert!(text.len() < 2_000_000);
    }
}

#[test]
fn a_flood_that_is_read_late_says_what_is_missing() {
    need_reference!("a flood that is read late");
    let stage = Stage::new();
    let body = format!(
        "{FAR}sh -c \"$*\"\nhead -c 10000000 /dev/zero | tr '\\0' x | fold -w 99 >&2\ntouch flooded\nsleep 2\necho end >&2\n"
    );
    let shell = stage.script("stand-in", &body);
    let mut command = stage.client(Program::Ours, &shell, PUSH);
    let (mut late, stderr): (PipeReader, _) = std::io::pipe().unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    let mut child = command.spawn().unwrap();
    drop(command);
    until(|| stage.path("flooded").exists());
    let mut text = String::new();
    late.read_to_string(&mut text).unwrap();
    assert_eq!(wait(&mut child, process::PATIENCE), Some(Status::Exit(0)));
    assert!(text.ends_with("end\n"), "{:?}", text.get(text.len().saturating_sub(300)..));
    let notes: Vec<&str> = text.lines().filter(|line| line.contains("dropped")).collect();
    assert!(matches!(notes[..], [note] if note.starts_with("rsync: warning: ")), "{notes:?}");
    let dropped: usize = notes[0].split(' ').find_map(|word| word.parse().ok()).unwrap();
    let flood: usize = 10_000_000 + 10_000_000 / 99;
    let kept = text.len() - "end\n".len() - notes[0].len() - 1;
    assert!((flood + 1).abs_diff(kept + dropped) <= 1, "{kept} + {dropped} = {flood}");
}

#[test]
fn messages_to_a_closed_standard_error() {
    need_reference!("messages to a closed standard error");
    let stage = Stage::new();
    let shell = stage.script("stand-in", &format!("{FAR}yes | head -c 1000000 >&2\nexec sh -c \"$*\"\n"));
    let mut command = stage.client(Program::Ours, &shell, PUSH);
    let (closed, stderr) = std::io::pipe().unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    drop(closed);
    let mut child = command.spawn().unwrap();
    assert_eq!(wait(&mut child, process::PATIENCE), Some(Status::Exit(0)));
    stage.assert_copied();
}

#[test]
fn a_survivor_that_keeps_the_messages_open() {
    need_reference!("a survivor that keeps the messages open");
    let stage = Stage::new();
    let body = format!("{FAR}sleep 300 </dev/null >/dev/null &\necho $! >survivor\nsh -c \"$*\"\n");
    for args in [PUSH, PULL] {
        let outcome = stage.ours(&body, args);
        assert_eq!(outcome.status, Status::Exit(0));
        stage.assert_copied();
        stage.clear();
        let survivor = fs::read_to_string(stage.path("survivor")).unwrap().trim().parse().unwrap();
        kill(Pid::from_raw(survivor), Signal::SIGKILL).unwrap(); // it was alive
    }
}

#[test]
fn death_in_the_middle_of_a_file() {
    need_reference!("death in the middle of a file");
    let stage = Stage::new();
    for (end, status) in [("exit 255", 255), ("exit 127", 127), ("exit 0", 12), ("kill -9 $$", 12)] {
        let body = format!("{FAR}{DIES}{end}\n");
        let push = stage.ours(&body, &["-a", "--bwlimit=1000", "src/", "far:dst"]);
        // A push may notice by a write that fails, which the reference calls 10.
        let expected = [status, if status == 12 { 10 } else { status }].map(Status::Exit);
        assert!(expected.contains(&push.status), "{end}: {:?} {}", push.status, String::from_utf8_lossy(&push.stderr));
        stage.clear();
        let pull = stage.ours(&body, &["-a", "--bwlimit=1000", "far:src/", "dst"]);
        assert_eq!(pull.status, Status::Exit(status), "{end}: {}", String::from_utf8_lossy(&pull.stderr));
        assert_eq!(stage.destination(), ["a"], "no half file, no temporary");
        stage.clear();
        let kept = stage.ours(&body, &["-a", "--partial", "--bwlimit=1000", "far:src/", "dst"]);
        assert_eq!(kept.status, Status::Exit(status));
        assert_eq!(stage.destination(), ["a", "big"]);
        let partial = stage.path("dst/big").metadata().unwrap();
        assert!(partial.len() > 0 && partial.len() < BIG as u64 && partial.mtime() == 0);
        stage.clear();
    }
}

#[test]
fn a_silent_far_side_times_out() {
    need_reference!("a silent far side times out");
    let stage = Stage::new();
    let shell = stage.script("stand-in", "echo $$ >pid\nexec sleep 300\n");
    for args in [["-a", "--timeout=1", "far:src/", "dst"], ["-a", "--timeout=1", "src/", "far:dst"]] {
        let outcome = stage.same_as_reference(&shell, &args);
        assert_eq!(outcome.status, Status::Exit(30));
        let pid = fs::read_to_string(stage.path("pid")).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "the stand-in is gone");
    }
}

#[test]
fn a_far_side_that_stops_in_the_middle_times_out() {
    need_reference!("a far side that stops in the middle");
    let stage = Stage::new();
    let body = format!(
        "{FAR}exec 3<&0\nsetsid sh -c \"exec $*\" <&3 3<&- & far=$!\necho $far >far\nsleep 1\nkill -STOP -$far\nexec sleep 300\n"
    );
    for args in [
        ["-a", "--timeout=2", "--bwlimit=900", "far:src/", "dst"],
        ["-a", "--timeout=2", "--bwlimit=900", "src/", "far:dst"],
    ] {
        let outcome = stage.ours(&body, &args);
        let far = fs::read_to_string(stage.path("far")).unwrap().trim().parse().unwrap();
        let _ = killpg(Pid::from_raw(far), Signal::SIGKILL); // it may have ended with its connection
        assert_eq!(outcome.status, Status::Exit(30), "{}", String::from_utf8_lossy(&outcome.stderr));
        assert!(stage.lines(&outcome).iter().any(|line| line.contains("io timeout after 2 seconds -- exiting")));
        stage.clear();
    }
}

#[test]
fn signals_in_the_middle_of_a_file() {
    need_reference!("signals in the middle of a file");
    let stage = Stage::new();
    let shell = stage.script("stand-in", &format!("{FAR}echo $$ >pid\nexec sh -c \"exec $*\" 2>/dev/null\n"));
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        for (args, left) in [
            (&["-a", "--bwlimit=1000", "src/", "far:dst"][..], None),
            (&["-a", "--bwlimit=1000", "far:src/", "dst"], Some(&["a"][..])),
            (&["-a", "--bwlimit=1000", "--partial", "far:src/", "dst"], Some(&["a", "big"])),
        ] {
            let child = stage.client(Program::Ours, &shell, args);
            let outcome = stage.interrupted(child, |pid| kill(pid, signal));
            assert_eq!(outcome.status, Status::Exit(20), "{signal} {args:?}");
            let lines = stage.lines(&outcome);
            let words = "rsync error: received SIGINT, SIGTERM, or SIGHUP (code 20)";
            assert!(matches!(&lines[..], [line] if line.starts_with(words)), "{args:?}: {lines:?}");
            if let Some(left) = left {
                assert_eq!(stage.destination(), left);
            }
            let pid = fs::read_to_string(stage.path("pid")).unwrap();
            assert!(!Path::new("/proc").join(pid.trim()).exists(), "the stand-in is gone");
            stage.clear();
        }
    }
}

#[test]
fn the_shell_has_time_to_restore_the_terminal() {
    need_reference!("time to restore the terminal");
    let stage = Stage::new();
    let body = format!(
        "{FAR}trap 'sleep 0.2; echo yes >restored; exit 255' INT\nexec 3<&0\nsetsid sh -c \"exec $*\" <&3 2>/dev/null &\nwait\n"
    );
    let shell = stage.script("stand-in", &body);
    let mut client = stage.client(Program::Ours, &shell, &["-a", "--bwlimit=1000", "src/", "far:dst"]);
    client.process_group(0);
    let outcome = stage.interrupted(client, |pid| killpg(pid, Signal::SIGINT));
    assert_eq!(outcome.status, Status::Exit(20), "{}", String::from_utf8_lossy(&outcome.stderr));
    assert_eq!(fs::read_to_string(stage.path("restored")).unwrap(), "yes\n");
}

#[test]
fn a_slow_far_side() {
    need_reference!("a slow far side");
    let stage = Stage::new();
    let trickle = "while dd bs=20000 count=1 of=piece 2>/dev/null; [ -s piece ]; do cat piece; sleep 0.003; done";
    let body = format!(
        "{FAR}mkfifo in\nexec 3<&0\n({trickle}) <&3 >in &\nsh -c \"$*\" <in\nstatus=$?\nkill $!\nexit $status\n"
    );
    let outcome = stage.ours(&body, PUSH);
    assert_eq!(outcome.status, Status::Exit(0), "{}", String::from_utf8_lossy(&outcome.stderr));
    stage.assert_copied();
    stage.clear();
    let outcome = stage.ours(&format!("{FAR}sh -c \"$*\" | ({trickle})\n"), PULL);
    assert_eq!(outcome.status, Status::Exit(0), "{}", String::from_utf8_lossy(&outcome.stderr));
    stage.assert_copied();
}

#[test]
fn a_prompt_on_the_terminal_is_answered() {
    need_reference!("a prompt on the terminal");
    let stage = Stage::new();
    let body =
        format!("{FAR}printf 'Password: ' >/dev/tty\nread answer </dev/tty\necho $answer >answer\nexec sh -c \"$*\"\n");
    let shell = stage.script("stand-in", &body);
    let line = format!(
        "{} -a -e {} --rsync-path={} src/ far:dst",
        Program::Ours.path().display(),
        shell.display(),
        Program::Reference.path().display()
    );
    let command = process::command(stage.dir.path(), Path::new("script"), &["-qec", &line, "/dev/null"]);
    let outcome = process::run_for(command, b"secret\n", process::PATIENCE);
    assert_eq!(outcome.status, Status::Exit(0), "{}", String::from_utf8_lossy(&outcome.stdout));
    assert_eq!(fs::read_to_string(stage.path("answer")).unwrap(), "secret\n");
    stage.assert_copied();
}

impl Stage {
    /// Starts a client, interrupts it when data has begun to flow, and gives it a while to end.
    fn interrupted(&self, mut command: Command, act: impl Fn(Pid) -> nix::Result<()>) -> Outcome {
        let (mut reader, stderr) = std::io::pipe().unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        drop(command);
        until(|| self.destination().iter().any(|name| name.starts_with(".big.")));
        thread::sleep(Duration::from_millis(400));
        act(Pid::from_raw(child.id().try_into().unwrap())).unwrap();
        let status = wait(&mut child, process::PATIENCE).unwrap_or(Status::Hung);
        let mut stderr = Vec::new();
        reader.read_to_end(&mut stderr).unwrap();
        Outcome { status, stdout: Vec::new(), stderr }
    }
}

fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + process::PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "it never came to that");
        thread::sleep(Duration::from_millis(10));
    }
}

/// How the child ends within `patience`; killed after it.
fn wait(child: &mut Child, patience: Duration) -> Option<Status> {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.code().map_or(Status::Signal(0), Status::Exit));
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill(); // it may just have ended
    let _ = child.wait();
    None
}
