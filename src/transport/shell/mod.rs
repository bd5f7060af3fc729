//! The remote shell: ssh or whatever stands in for it, started on two pipes of its own with its messages drained.
//!
//! `docs/ssh-transport.md` says why the wire is two pipes and the standard error a socket pair.

mod child;
mod command;
mod stderr;

use std::{
    env, io,
    os::fd::{AsFd, OwnedFd},
};

pub use child::{AFTER_FAILURE, AFTER_INTERRUPT, Child, Ended};
pub use command::{DEFAULT_SHELL, ShellCommand, args_line, login, words, words_line};
pub use stderr::{BACKLOG, Drain};

use crate::{
    bytes,
    error::{Error, ExitCode, Result, errno_text},
    log::{Log, LogCode},
    options::Debug,
    sys::{
        file, pipe,
        poll::{Interest, Wake},
        process::{self, Channels},
    },
};

use super::{
    Connection,
    fd::{FdReader, FdWriter, Port},
};

/// The size asked for the two pipes of the wire; `docs/ssh-transport.md` has the measurement.
pub const PIPE: usize = 1024 * 1024;

/// Starts the remote shell. C: pipe.c piped_child
///
/// The child stays in our session and process group, so that it can ask for passwords on the terminal and gets the
/// terminal's signals itself. Errors: 1 for a command that cannot be split, 14 with the reference's line when it cannot
/// be started.
pub fn spawn(command: &ShellCommand, wake: &Wake, log: &Log) -> Result<Connection> {
    let speaker = log.speaker().name();
    let argv = command.argv().map_err(|error| error.by(speaker))?;
    if log.debug(Debug::Cmd) >= 2 {
        log.say(LogCode::Client, words_line(&argv));
    }
    if log.debug(Debug::Cmd) >= 1 {
        log.say(LogCode::Client, args_line("opening connection using", &argv));
    }
    let ipc = |what: &[u8], error: &io::Error| {
        let line = bytes!["rsync: [", speaker, "] ", what, ": ", errno_text(error)];
        Error::new(ExitCode::IPC, line).by(speaker)
    };
    let wire = Wire::new(command.blocking_io == Some(false)).map_err(|error| ipc(b"pipe", &error))?;
    let target = Port::shared(io::stderr().as_fd(), Interest::Write).map_err(|error| ipc(b"pipe", &error))?;
    let (drain, stderr) = Drain::start(target).map_err(|error| ipc(b"pipe", &error))?;
    let program = argv.first().map_or(&[][..], |word| word);
    let channels = Channels { stdin: Some(wire.child_in), stdout: Some(wire.child_out), stderr: Some(stderr) };
    let unset: &[&str] = if env::var_os("SSH_ASKPASS").is_some() { &[] } else { &["DISPLAY"] }; // lest a window asks
    let process =
        process::spawn(&argv, channels, unset).map_err(|error| ipc(&bytes!["Failed to exec ", program], &error))?;
    Ok(Connection {
        read: Box::new(FdReader::new(wire.read, wake)),
        write: Box::new(FdWriter::new(wire.write, wake)),
        child: Some(Child::new(process, drain)),
    })
}

/// The two pipes: our ends, and those that become the child's standard input and output.
struct Wire {
    read: Port,
    write: Port,
    child_in: OwnedFd,
    child_out: OwnedFd,
}

impl Wire {
    /// Our ends never block; each end of a pipe is an open file description of its own, so that says nothing about the
    /// child's. Those block unless `--no-blocking-io` was given: ssh sets what it needs itself.
    fn new(child_out_nonblocking: bool) -> io::Result<Self> {
        let (child_in, write) = pipe::pipe()?;
        let (read, child_out) = pipe::pipe()?;
        for end in [&write, &read] {
            let _ = pipe::enlarge(end, PIPE); // over the user's allowance: the size it has will do
        }
        if child_out_nonblocking {
            file::set_nonblocking(&child_out, true)?;
        }
        Ok(Self { read: Port::own(read)?, write: Port::own(write)?, child_in, child_out })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::IoSlice,
        os::unix::fs::PermissionsExt,
        path::Path,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::log::Speaker;

    fn log() -> Log {
        Log::unheard(Speaker::Sender)
    }

    fn command(shell: &str) -> ShellCommand {
        ShellCommand {
            shell: Some(shell.into()),
            host: b"host".to_vec(),
            rsync_path: b"rsync".to_vec(),
            server_args: vec![b"--server".to_vec()],
            ..ShellCommand::default()
        }
    }

    /// Runs `script` with sh in place of ssh.
    fn sh(script: &str) -> Connection {
        spawn(&command(&format!("sh -c \"{script}\"")), &Wake::new().unwrap(), &log()).unwrap()
    }

    fn read_all(connection: &mut Connection) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 100_000]);
        loop {
            match connection.read.read(&mut buffer).unwrap() {
                0 => return all,
                length => all.extend(&buffer[..length]),
            }
        }
    }

    fn child(connection: Connection) -> Child {
        connection.child.unwrap()
    }

    #[test]
    fn bytes_go_round_and_a_dropped_writer_is_the_end() {
        let mut shell = sh("exec cat");
        let text: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut sent = 0;
        while sent < text.len() {
            sent += shell.write.write(&[IoSlice::new(&text[sent..])]).unwrap();
        }
        shell.write = Box::new(FdWriter::new(Port::own(io::pipe().unwrap().1).unwrap(), &Wake::new().unwrap()));
        assert!(read_all(&mut shell) == text);
        assert_eq!(child(shell).finish(&Wake::new().unwrap()), Ended::Exited(0));
    }

    #[test]
    fn the_words_arrive_after_the_command() {
        let mut shell = sh("echo $0 $*");
        assert_eq!(read_all(&mut shell), b"host rsync --server\n");
    }

    #[test]
    fn a_late_status_is_waited_for() {
        for status in [255, 127, 126, 125] {
            let mut shell = sh(&format!("exec >/dev/null </dev/null; sleep 0.3; exit {status}"));
            assert_eq!(read_all(&mut shell), b"");
            let ended = child(shell).after_failure();
            assert_eq!(ended.after(ExitCode::STREAM_IO), ExitCode(status));
        }
    }

    #[test]
    fn a_lower_status_or_a_signal_says_nothing_new() {
        assert_eq!(Ended::Exited(3).after(ExitCode::STREAM_IO), ExitCode::STREAM_IO);
        assert_eq!(Ended::Signaled { core: false }.after(ExitCode::STREAM_IO), ExitCode::STREAM_IO);
        let ended = child(sh("kill -9 $$")).finish(&Wake::new().unwrap());
        assert_eq!((ended, ended.code()), (Ended::Signaled { core: false }, ExitCode::TERMINATED));
    }

    #[test]
    fn what_cannot_be_executed_says_why_once() {
        for (shell, errno) in [("/nonexistent/ssh", "No such file or directory (2)"), ("/", "Permission denied (13)")] {
            let error = spawn(&command(shell), &Wake::new().unwrap(), &log()).err().unwrap();
            assert_eq!(error.code, ExitCode::IPC);
            assert_eq!(error.message, bytes!["rsync: [sender] Failed to exec ", shell, ": ", errno]);
        }
    }

    #[test]
    fn a_script_without_an_interpreter_line_runs() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("stand-in");
        std::fs::write(&script, "echo script $1\nexit 7\n").unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut shell = spawn(&command(script.to_str().unwrap()), &Wake::new().unwrap(), &log()).unwrap();
        assert_eq!(read_all(&mut shell), b"script host\n");
        assert_eq!(child(shell).finish(&Wake::new().unwrap()), Ended::Exited(7));
    }

    /// `O_NONBLOCK` (04000) in the child's standard output, as the child sees it.
    fn child_flags(blocking_io: Option<bool>) -> bool {
        let mut command = command("sh -c \"grep flags: /proc/self/fdinfo/1\"");
        command.blocking_io = blocking_io;
        let mut shell = spawn(&command, &Wake::new().unwrap(), &log()).unwrap();
        let line = String::from_utf8(read_all(&mut shell)).unwrap();
        let flags = i32::from_str_radix(line.trim_start_matches("flags:").trim(), 8).unwrap();
        flags & libc::O_NONBLOCK != 0
    }

    #[test]
    fn our_flags_do_not_leak_into_the_child() {
        assert!(!child_flags(None));
        assert!(!child_flags(Some(true)));
        assert!(child_flags(Some(false)));
    }

    #[test]
    fn the_child_stays_in_our_session_and_process_group() {
        let mut shell = sh("cut -d' ' -f5,6 /proc/self/stat");
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        assert_eq!(read_all(&mut shell), format!("{} {}\n", fields[2], fields[3]).into_bytes());
    }

    #[test]
    fn the_child_has_its_three_ends_and_none_of_ours() {
        let mut shell = sh("for n in 0 1 2; do readlink /proc/self/fd/$n; done; echo; ls -l /proc/self/fd");
        let listing = String::from_utf8(read_all(&mut shell)).unwrap();
        let (ends, all) = listing.split_once("\n\n").unwrap();
        let ends: Vec<&str> = ends.lines().collect();
        assert!(matches!(ends[..], [stdin, stdout, stderr]
            if stdin.starts_with("pipe:") && stdout.starts_with("pipe:") && stderr.starts_with("socket:")));
        for end in ends {
            assert_eq!(all.matches(end).count(), 1, "{end} in {all}");
        }
    }

    #[test]
    fn a_hanging_child_times_out_and_is_stopped() {
        let start = Instant::now();
        let mut shell = sh("exec sleep 60");
        shell.read.set_timeout(Some(Duration::from_millis(100)));
        let error = shell.read.read(&mut [0; 10]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(child(shell).interrupt(), Ended::Stopped);
        assert!(start.elapsed() >= AFTER_INTERRUPT && start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_child_that_ignores_term_is_killed() {
        let shell = sh("trap '' TERM; while :; do sleep 0.1; done");
        assert_eq!(child(shell).interrupt(), Ended::Stopped);
    }

    #[test]
    fn a_full_pipe_times_out_for_the_writer_too() {
        let mut shell = sh("exec sleep 60");
        shell.write.set_timeout(Some(Duration::from_millis(100)));
        let block = vec![0; 1 << 20];
        let error = loop {
            if let Err(error) = shell.write.write(&[IoSlice::new(&block)]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        child(shell).interrupt();
    }

    #[test]
    fn a_survivor_that_holds_stderr_is_not_waited_for() {
        let start = Instant::now();
        let mut shell = sh("sleep 20 </dev/null >/dev/null & echo done");
        assert_eq!(read_all(&mut shell), b"done\n");
        assert_eq!(child(shell).finish(&Wake::new().unwrap()), Ended::Exited(0));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_wake_ends_a_read_and_a_long_wait() {
        let wake = Wake::new().unwrap();
        let mut shell = spawn(&command("sh -c \"exec sleep 60\""), &wake, &log()).unwrap();
        let alarm = wake.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            alarm.fire();
        });
        assert_eq!(shell.read.read(&mut [0; 10]).unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(child(shell).finish(&wake), Ended::Stopped);
        thread.join().unwrap();
    }

    #[test]
    fn a_child_left_behind_is_reaped() {
        let shell = sh("exec sleep 60");
        let pid = shell.child.as_ref().unwrap().pid();
        drop(shell);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
