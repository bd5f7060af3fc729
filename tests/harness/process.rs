//! Running a command line with a clean environment and a time limit.

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// No single run of a test takes longer.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How a run ended and what it said.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub status: Status,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Exit(i32),
    Signal(i32),
    /// Had to be killed.
    Hung,
}

/// Runs a program to its end.
pub fn run<A: AsRef<OsStr>>(dir: &Path, program: &Path, argv: &[A], stdin: &[u8]) -> Outcome {
    run_for(command(dir, program, argv), stdin, PATIENCE)
}

/// A command with the environment that both programs get.
pub fn command<A: AsRef<OsStr>>(dir: &Path, program: &Path, argv: &[A]) -> Command {
    let mut command = Command::new(program);
    command.args(argv).current_dir(dir).env_clear();
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs([("LC_ALL", "C.UTF-8"), ("TZ", "UTC"), ("USER", "root"), ("LOGNAME", "root")]).env("HOME", dir);
    command
}

/// Lets a command run without privilege, in a `site` that it may enter, on a destination of its own.
pub fn give_to_nobody(site: &Path, destination: &Path, command: &mut Command) {
    const NOBODY: u32 = 65_534;
    fs::set_permissions(site, fs::Permissions::from_mode(0o755)).expect("site");
    let owner = format!("{NOBODY}:{NOBODY}");
    let given = Command::new("chown").args(["-Rh", &owner]).arg(destination).status();
    assert!(given.expect("chown").success(), "chown failed");
    command.uid(NOBODY).gid(NOBODY);
}

/// Runs a command to its end, or kills it and everything it started after `patience`.
pub fn run_for(mut command: Command, stdin: &[u8], patience: Duration) -> Outcome {
    let piped = if stdin.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(piped).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    thread::scope(|scope| {
        if let Some(mut pipe) = child.stdin.take() {
            scope.spawn(move || pipe.write_all(stdin)); // the program may leave before it read all
        }
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let stdout = scope.spawn(move || drain(stdout));
        let stderr = scope.spawn(move || drain(stderr));
        let status = wait(&mut child, patience);
        Outcome { status, stdout: stdout.join().expect("reader"), stderr: stderr.join().expect("reader") }
    })
}

fn drain(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes); // what came until then counts
    bytes
}

fn wait(child: &mut Child, patience: Duration) -> Status {
    let end = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return ended(status);
        }
        if Instant::now() >= end {
            let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL); // it may just have ended
            let _ = child.wait();
            return Status::Hung;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn ended(status: ExitStatus) -> Status {
    match (status.code(), status.signal()) {
        (Some(code), _) => Status::Exit(code),
        (None, signal) => Status::Signal(signal.unwrap_or(0)),
    }
}

/// Makes a shell script that lasts as long as the test program runs.
pub fn script(name: &str, body: &str) -> PathBuf {
    let path = scratch().join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}")).expect("script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("script");
    path
}

/// A directory for the whole test program, under cargo's target directory.
pub fn scratch() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let program = std::env::current_exe().ok();
        let name = program.as_deref().and_then(Path::file_name).unwrap_or(OsStr::new("tests"));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&dir).expect("scratch directory");
        dir
    })
}
