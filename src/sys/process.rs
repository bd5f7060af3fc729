//! Child processes, and what belongs to a process as a whole.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::{ffi::OsStrExt, process::CommandExt, process::ExitStatusExt},
    },
    panic::{self, AssertUnwindSafe},
    process::{Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        resource::{UsageWho, getrusage},
        signal::{self, SigHandler, SigSet, SigmaskHow, Signal, kill, sigprocmask},
        stat::{Mode, umask},
        time::TimeValLike,
        wait::{WaitStatus, waitpid},
    },
    unistd::{self, ForkResult, Pid},
};

use super::poll::{self, Interest, Ready, Wake};

/// What a child has as descriptors 0, 1 and 2; `None`: ours. It gets no others.
#[derive(Debug, Default)]
pub struct Channels {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// By a signal that left a core dump.
    Crash(i32),
}

/// A running child. Dropping it neither kills nor reaps: call [`Child::wait`].
#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
    /// Where the kernel has such handles.
    handle: Option<OwnedFd>,
}

/// Starts `argv[0]`, looked up in PATH, with PIPE and XFSZ ignored as the reference leaves them, otherwise default signal
/// dispositions, an empty signal mask and the umask we were started with; `unset` names environment variables it shall
/// not see.
///
/// # Errors
/// What `execvp` said (`ENOENT`, `EACCES` …), or why no process could be made; `EINVAL` for an empty `argv` or a NUL
/// byte in it.
pub fn spawn(argv: &[impl AsRef<[u8]>], channels: Channels, unset: &[&str]) -> io::Result<Child> {
    let (program, args) = argv.split_first().ok_or(Errno::EINVAL)?;
    if argv.iter().any(|arg| arg.as_ref().contains(&0)) {
        return Err(Errno::EINVAL.into());
    }
    let mut command = Command::new(OsStr::from_bytes(program.as_ref()));
    command.args(args.iter().map(|arg| OsStr::from_bytes(arg.as_ref())));
    command.stdin(channels.stdin.map_or_else(Stdio::inherit, Stdio::from));
    command.stdout(channels.stdout.map_or_else(Stdio::inherit, Stdio::from));
    command.stderr(channels.stderr.map_or_else(Stdio::inherit, Stdio::from));
    for name in unset {
        command.env_remove(name);
    }
    let mask = UMASK.get().map(|&mask| Mode::from_bits_truncate(mask));
    // SAFETY: between fork and exec the closure makes three system calls (umask, sigprocmask, sigaction), all
    // async-signal-safe, and allocates nothing. Our handlers are reset by exec, PIPE before this by the standard library.
    unsafe {
        command.pre_exec(move || {
            if let Some(mask) = mask {
                umask(mask);
            }
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
            signal::signal(Signal::SIGPIPE, SigHandler::SigIgn)?;
            Ok(())
        });
    }
    let inner = command.spawn()?;
    let handle = process_handle(inner.id());
    Ok(Child { inner, handle })
}

impl Child {
    pub fn pid(&self) -> u32 {
        self.inner.id()
    }

    /// Readable once the child has ended, for a wait together with other things; `None` on old kernels.
    pub fn handle(&self) -> Option<BorrowedFd<'_>> {
        self.handle.as_ref().map(AsFd::as_fd)
    }

    /// Reaps the child, waiting as long as it takes. Later calls tell the same.
    pub fn wait(&mut self) -> io::Result<Exit> {
        self.inner.wait().map(Exit::from)
    }

    /// Reaps the child if it has ended.
    pub fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        Ok(self.inner.try_wait()?.map(Exit::from))
    }

    /// Reaps the child if it ends before `deadline` and before `wake` is fired.
    pub fn wait_until(&mut self, wake: Option<&Wake>, deadline: Option<Instant>) -> io::Result<Option<Exit>> {
        loop {
            if let Some(exit) = self.try_wait()? {
                return Ok(Some(exit));
            }
            let ended = match &self.handle {
                Some(handle) => poll::wait(handle, Interest::Read, wake, deadline)?,
                None => {
                    let nap = Instant::now() + Duration::from_millis(10);
                    let until = deadline.map_or(nap, |deadline| deadline.min(nap));
                    match poll::wait_any(&mut [], wake, Some(until))? {
                        Ready::TimedOut if deadline.is_none_or(|deadline| Instant::now() < deadline) => Ready::Ready,
                        other => other,
                    }
                }
            };
            if ended != Ready::Ready {
                return self.try_wait();
            }
        }
    }

    /// Sends a signal; nothing once the child was reaped.
    pub fn signal(&mut self, signal: i32) -> io::Result<()> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        let signal = Signal::try_from(signal)?;
        Ok(kill(Pid::from_raw(self.inner.id() as i32), signal)?)
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) if status.core_dumped() => Self::Crash(signal.unwrap_or_default()),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

/// A child that is a copy of this process. Dropping it does not reap it.
#[derive(Debug)]
pub struct Forked(Pid);

/// Runs `child` in a copy of this process, whose exit status is what it returns, or `crashed` if it panics; nothing of
/// what this process has begun is ended in the copy, which drops what it does not want of our descriptors itself.
///
/// # Errors
/// What `fork` said; `EBUSY` if this process has more than one thread, of which a copy would have but one.
pub fn fork(crashed: u8, child: impl FnOnce() -> u8) -> io::Result<Forked> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(Errno::EBUSY.into());
    }
    // SAFETY: there is no other thread that could hold a lock of the allocator's or the standard library's in the copy.
    match unsafe { unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Forked(child)),
        ForkResult::Child => {
            let status = panic::catch_unwind(AssertUnwindSafe(child)).unwrap_or(crashed);
            // SAFETY: ends the process at once: what lies in buffers of its origin is for that one to write.
            unsafe { libc::_exit(status.into()) }
        }
    }
}

impl Forked {
    pub fn pid(&self) -> u32 {
        self.0.as_raw() as u32
    }

    /// Reaps the child, waiting as long as it takes.
    pub fn wait(self) -> io::Result<Exit> {
        loop {
            match waitpid(self.0, None) {
                Ok(WaitStatus::Exited(_, code)) => return Ok(Exit::Code(code)),
                Ok(WaitStatus::Signaled(_, signal, true)) => return Ok(Exit::Crash(signal as i32)),
                Ok(WaitStatus::Signaled(_, signal, false)) => return Ok(Exit::Signal(signal as i32)),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn process_handle(pid: u32) -> Option<OwnedFd> {
    // SAFETY: integers only; the descriptor is close-on-exec by itself.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: a fresh descriptor that nobody else owns.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

static UMASK: OnceLock<u32> = OnceLock::new();

/// The umask the process was started with.
///
/// The first call reads it and sets it to zero, so that files get the modes they are made with; children get it back.
/// Make that call before there are other threads.
pub fn take_umask() -> u32 {
    *UMASK.get_or_init(|| umask(Mode::empty()).bits())
}

/// What this process has used so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    pub user: Duration,
    pub system: Duration,
    /// Largest resident set, in bytes.
    pub peak_memory: u64,
}

pub fn usage() -> io::Result<Usage> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = |time: nix::sys::time::TimeVal| Duration::from_micros(time.num_microseconds().max(0) as u64);
    Ok(Usage {
        user: micros(usage.user_time()),
        system: micros(usage.system_time()),
        peak_memory: usage.max_rss().max(0) as u64 * 1024,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read};

    use super::*;
    use crate::sys::pipe;

    /// What a shell script says on its standard output.
    fn output(script: &str, unset: &[&str]) -> String {
        let (read, write) = pipe::pipe().unwrap();
        let channels = Channels { stdout: Some(write), ..Channels::default() };
        let mut child = spawn(&["sh", "-c", script], channels, unset).unwrap();
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap(), Exit::Code(0));
        text
    }

    #[test]
    fn failure_to_exec_is_told_to_the_parent() {
        let error = |argv: &[&str]| spawn(argv, Channels::default(), &[]).unwrap_err().raw_os_error();
        assert_eq!(error(&["/nonexistent/program"]), Some(libc::ENOENT));
        // EACCES: some directory in PATH is closed to us.
        assert!(matches!(error(&["no-such-program-anywhere"]), Some(libc::ENOENT | libc::EACCES)));
        assert_eq!(error(&["/etc/passwd"]), Some(libc::EACCES));
        assert_eq!(error(&["sh", "a\0b"]), Some(libc::EINVAL));
        assert_eq!(error(&[]), Some(libc::EINVAL));
    }

    #[test]
    fn children_get_none_of_our_descriptors_and_no_signal_blocked() {
        let (ours, _) = pipe::pipe().unwrap();
        let ours = format!("pipe:[{}]", crate::sys::stat::stat_fd(&ours).unwrap().ino);
        let theirs = output("ls -l /proc/self/fd", &[]);
        assert!(theirs.contains("pipe:[") && !theirs.contains(&ours), "{theirs}");
        let signals = |status: &str, kind: &str| {
            let line = status.lines().find(|line| line.starts_with(kind)).unwrap();
            u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
        };
        let ours = std::fs::read_to_string("/proc/self/status").unwrap();
        let theirs = output("cat /proc/self/status", &[]);
        let handled = [libc::SIGINT, libc::SIGTERM].iter().fold(0, |bits, signal| bits | 1u64 << (signal - 1));
        let pipe = 1u64 << (libc::SIGPIPE - 1);
        assert_eq!(signals(&theirs, "SigBlk") & (handled | pipe), 0, "{theirs}");
        // What is ignored from above (`nohup`, a shell's background) is by everyone.
        assert_eq!(
            signals(&theirs, "SigIgn") & (handled | pipe),
            signals(&ours, "SigIgn") & handled | pipe,
            "{theirs}"
        );
    }

    #[test]
    fn variables_can_be_withheld() {
        assert_eq!(output("echo ${PATH:+set} ${HOME:+set}", &["HOME"]).trim(), "set");
    }

    #[test]
    fn ends_are_told_apart() {
        let run = |script: &str| spawn(&["sh", "-c", script], Channels::default(), &[]).unwrap();
        assert_eq!(run("exit 255").wait().unwrap(), Exit::Code(255));
        let mut child = run("kill -9 $$");
        assert_eq!(child.wait().unwrap(), Exit::Signal(9));
        assert_eq!(child.wait().unwrap(), Exit::Signal(9));
        child.signal(libc::SIGTERM).unwrap();
    }

    #[test]
    fn a_wait_has_an_end() {
        let soon = || Some(Instant::now() + Duration::from_millis(20));
        for with_handle in [true, false] {
            let mut child = spawn(&["sleep", "100"], Channels::default(), &[]).unwrap();
            if !with_handle {
                child.handle = None;
            }
            assert_eq!(child.wait_until(None, soon()).unwrap(), None);
            let wake = Wake::new().unwrap();
            wake.fire();
            assert_eq!(child.wait_until(Some(&wake), None).unwrap(), None);
            child.signal(libc::SIGTERM).unwrap();
            assert_eq!(child.wait_until(None, None).unwrap(), Some(Exit::Signal(libc::SIGTERM)));
        }
    }

    #[test]
    fn usage_counts() {
        assert!(usage().unwrap().peak_memory > 100_000);
    }
}
