//! The log file: what is said, with the time and the number of our process in front of each line.

use std::{
    fs::File,
    io::{self, Write},
};

use super::LogCode;
use crate::{
    bytes,
    fs::{self, Follow},
    sys::{
        clock,
        syslog::{self, Weight},
    },
    text::escape::{Policy, escape_line},
};

const MODE: u32 = 0o644;

/// Where the lines of a log go.
pub enum LogFile {
    /// Open for appending: a line is one write, so that those of other threads and programs stay whole.
    Lines(File),
    /// The system's log, which stands in for a file that cannot be opened, or has no name.
    System,
}

impl LogFile {
    /// Opens a log by the path its operator gave: a new one may be read by all as far as the umask allows. Links lead on
    /// only if root or we own them, unless `insecure_links`. C: log.c logfile_open
    pub fn at(path: &[u8], insecure_links: bool) -> (Self, io::Result<()>) {
        if path.is_empty() {
            return (Self::System, Ok(()));
        }
        let named = if insecure_links { Follow::Always } else { Follow::Trusted };
        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
        match fs::open_file(path, named, flags, MODE) {
            Ok(file) => (Self::Lines(file), Ok(())),
            Err(error) => (Self::System, Err(error)),
        }
    }

    /// Adds what somebody said, line end included. A log that cannot be written stops nothing. C: log.c logit
    pub fn add(&self, code: LogCode, said: &[u8]) {
        match self {
            Self::Lines(file) => {
                let _ = (&*file).write_all(&stamped(clock::now().0, said)); // there is nobody to tell
            }
            Self::System => {
                let calm = matches!(code, LogCode::Info | LogCode::Log);
                syslog::say(if calm { Weight::Notice } else { Weight::Trouble }, said);
            }
        }
    }
}

/// `2024/02/29 12:34:56 [PID] WHAT`, with control characters made harmless.
fn stamped(now: i64, said: &[u8]) -> Vec<u8> {
    let mut line = bytes![clock::stamp(now), " [", std::process::id(), "] "];
    escape_line(&mut line, said, Policy::LogFile);
    line
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn lines_are_added_to_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "old\n").unwrap();
        for said in ["a\x1b\n", "b\n"] {
            let (log, opened) = LogFile::at(path.as_os_str().as_bytes(), false);
            opened.unwrap();
            log.add(LogCode::Info, said.as_bytes());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let front = format!(" [{}] ", std::process::id());
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], "old");
        assert_eq!(lines[1].split_once(&front).unwrap().1, "a\\#033");
        assert_eq!(lines[2].split_once(&front).unwrap().1, "b");
        assert_eq!(lines[1].split_once(&front).unwrap().0.len(), "2024/02/29 12:34:56".len());
    }

    #[test]
    fn what_cannot_be_opened_is_replaced_by_the_systems_log() {
        let (log, opened) = LogFile::at(b"/proc/none/log", false);
        assert!(matches!(log, LogFile::System));
        assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(LogFile::at(b"", false).1.is_ok());
    }
}
