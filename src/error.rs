//! How a run ends badly: the exit statuses of rsync and the one error value that travels up to `cli`.

use std::{fmt, io, panic::Location};

/// A process exit status with rsync's meaning (C: errcode.h).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExitCode(pub u8);

impl ExitCode {
    pub const OK: Self = Self(0);
    pub const SYNTAX: Self = Self(1);
    pub const PROTOCOL: Self = Self(2);
    pub const FILE_SELECT: Self = Self(3);
    pub const UNSUPPORTED: Self = Self(4);
    pub const START_CLIENT: Self = Self(5);
    pub const SOCKET_IO: Self = Self(10);
    pub const FILE_IO: Self = Self(11);
    pub const STREAM_IO: Self = Self(12);
    pub const MESSAGE_IO: Self = Self(13);
    pub const IPC: Self = Self(14);
    pub const CRASHED: Self = Self(15);
    pub const TERMINATED: Self = Self(16);
    pub const SIGNAL1: Self = Self(19);
    pub const SIGNAL: Self = Self(20);
    pub const WAIT_CHILD: Self = Self(21);
    pub const MALLOC: Self = Self(22);
    pub const PARTIAL: Self = Self(23);
    pub const VANISHED: Self = Self(24);
    pub const DEL_LIMIT: Self = Self(25);
    pub const TIMEOUT: Self = Self(30);
    pub const CON_TIMEOUT: Self = Self(35);
    pub const CMD_FAILED: Self = Self(124);
    pub const CMD_KILLED: Self = Self(125);
    pub const CMD_RUN: Self = Self(126);
    pub const CMD_NOT_FOUND: Self = Self(127);

    /// The words the reference's last line uses for this status, where it has any (C: log.c rerr_names).
    pub fn text(self) -> Option<&'static str> {
        Some(match self {
            Self::SYNTAX => "syntax or usage error",
            Self::PROTOCOL => "protocol incompatibility",
            Self::FILE_SELECT => "errors selecting input/output files, dirs",
            Self::UNSUPPORTED => "requested action not supported",
            Self::START_CLIENT => "error starting client-server protocol",
            Self::SOCKET_IO => "error in socket IO",
            Self::FILE_IO => "error in file IO",
            Self::STREAM_IO => "error in rsync protocol data stream",
            Self::MESSAGE_IO => "errors with program diagnostics",
            Self::IPC => "error in IPC code",
            Self::CRASHED => "sibling process crashed",
            Self::TERMINATED => "sibling process terminated abnormally",
            Self::SIGNAL1 => "received SIGUSR1",
            Self::SIGNAL => "received SIGINT, SIGTERM, or SIGHUP",
            Self::WAIT_CHILD => "waitpid() failed",
            Self::MALLOC => "error allocating core memory buffers",
            Self::PARTIAL => "some files/attrs were not transferred (see previous errors)",
            Self::VANISHED => "some files vanished before they could be transferred",
            Self::DEL_LIMIT => "the --max-delete limit stopped deletions",
            Self::TIMEOUT => "timeout in data send/receive",
            Self::CON_TIMEOUT => "timeout waiting for daemon connection",
            Self::CMD_FAILED => "remote shell failed",
            Self::CMD_KILLED => "remote shell killed",
            Self::CMD_RUN => "remote command could not be run",
            Self::CMD_NOT_FOUND => "remote command not found",
            _ => return None,
        })
    }
}

impl fmt::Debug for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A fatal end of the run: the status, what to tell the user first, and where in our source it was decided.
///
/// `message` is whole lines without the last newline, ready to be said on stderr before the closing
/// `rsync error: … (code N) at FILE(LINE) [role=VERSION]`; empty where the closing line says it all.
#[derive(Debug, thiserror::Error)]
#[error("{} (code {:?})", String::from_utf8_lossy(.message), .code)]
pub struct Error {
    pub code: ExitCode,
    pub message: Vec<u8>,
    pub at: &'static Location<'static>,
    /// Who found it, as the closing line names it, where that is not who says the line. C: rsync.c who_am_i
    pub role: Option<&'static str>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    #[track_caller]
    pub fn new(code: ExitCode, message: impl Into<Vec<u8>>) -> Self {
        Self { code, message: message.into(), at: Location::caller(), role: None }
    }

    /// Memory that a peer's length asks for is more than may be had: the line ends with the place in our source.
    #[track_caller]
    pub fn memory(line: impl Into<Vec<u8>>) -> Self {
        let at = Location::caller();
        let mut line = line.into();
        line.extend_from_slice(format!(" (file={}, line={})", at.file(), at.line()).as_bytes());
        Self::new(ExitCode::MALLOC, line)
    }

    /// What is to be kept goes beyond `--max-alloc`, this many bytes. C: util2.c my_alloc
    #[track_caller]
    pub fn max_alloc(role: &str, limit: u64) -> Self {
        Self::memory(format!("[{role}] exceeded --max-alloc={limit} setting"))
    }

    /// The same, found by this role, unless one is named already.
    pub fn by(self, role: &'static str) -> Self {
        Self { role: self.role.or(Some(role)), ..self }
    }

    /// An end whose reason was already said, or which the closing line alone explains.
    #[track_caller]
    pub fn silent(code: ExitCode) -> Self {
        Self::new(code, Vec::new())
    }
}

/// A system error in the C library's words alone: `Permission denied`.
pub fn errno_words(error: &io::Error) -> String {
    let mut text = error.to_string();
    // An error of our own that reads as the system's has the number alone.
    let number = if error.raw_os_error().is_some() { " (os error " } else { " (" };
    if let Some(end) = text.rfind(number).filter(|_| text.ends_with(')')) {
        text.truncate(end);
    }
    text
}

/// The reference's rendering of a system error: `Permission denied (13)`, in the C library's words.
pub fn errno_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => error.to_string().replace(&format!(" (os error {errno})"), &format!(" ({errno})")),
        None => error.to_string(),
    }
}
