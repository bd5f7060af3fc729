//! The further directories that a destination works with, as the operator named them: for what gives way, for partial
//! files and for temporary ones.
//!
//! Each is opened once. Links on the way to it are followed if they belong to root or to us; what is below it is found
//! without following any.

use std::{borrow::Cow, fs::File, io};

use super::{
    Dest,
    backup::{BackupDir, Backups},
    partial::PartialDir,
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result, errno_words},
    fs::{Follow, Named, OutOfBounds, Root, UntrustedLink, is_out_of_bounds, is_untrusted_link},
    log::{Log, LogCode},
    options::{Info, Options},
};

/// None of them, unless options say so.
#[derive(Default)]
pub struct Places {
    pub(super) backups: Option<Backups>,
    pub(super) partial: Option<PartialDir>,
    pub(super) temp: Option<TempDir>,
}

/// `--temp-dir`.
pub(super) struct TempDir {
    /// As typed, with a slash at its end.
    pub text: Vec<u8>,
    /// An error is each file's to tell.
    pub root: io::Result<Root>,
}

/// The rule for the way to what the operator named.
pub(super) fn named(options: &Options) -> Named {
    Named::new(options.insecure_links, options.confine_root.as_deref())
}

/// Whether somebody's link, or the bounds, stand against a path.
fn is_refused(error: &io::Error) -> bool {
    is_untrusted_link(error) || is_out_of_bounds(error)
}

impl Places {
    /// Finds what must be there before the transfer, seen from the destination's directory.
    ///
    /// # Errors
    /// Exit statuses 1 and 11, with the reference's message, which was said. C: in main.c do_recv
    pub fn open(root: &Root, options: &Options, log: &Log) -> Result<Self> {
        Ok(Self {
            backups: options.backup.then(|| Self::backups(root, options, log)).transpose()?,
            partial: options.partial_dir.as_deref().map(|dir| PartialDir::new(root, dir, options)),
            temp: options.temp_dir.as_deref().map(|dir| Self::temp(root, dir, options, log)).transpose()?,
        })
    }

    /// The same places for another thread.
    pub fn try_clone(&self) -> io::Result<Self> {
        let temp = |temp: &TempDir| -> io::Result<TempDir> {
            let root = match &temp.root {
                Ok(root) => Ok(root.try_clone()?),
                Err(error) => Err(again(error)),
            };
            Ok(TempDir { text: temp.text.clone(), root })
        };
        Ok(Self {
            backups: self.backups.as_ref().map(Backups::for_another_thread),
            partial: self.partial.as_ref().map(PartialDir::try_clone).transpose()?,
            temp: self.temp.as_ref().map(temp).transpose()?,
        })
    }

    fn backups(root: &Root, options: &Options, log: &Log) -> Result<Backups> {
        let suffix = options.suffix.clone().unwrap_or_default();
        let Some(typed) = &options.backup_dir else { return Ok(Backups::new(suffix, None)) };
        let shown = if typed.len() > 1 { typed.strip_suffix(b"/").unwrap_or(typed) } else { typed };
        let opened = root.open_beside(shown, &named(options), Follow::Never);
        let note = match &opened {
            Ok(_) => "backup_dir is ",
            Err(error) if is_missing(error) => "(new) backup_dir is ",
            // Refused for each file.
            Err(error) if is_refused(error) => "backup_dir is ",
            Err(error) => return Err(unusable("backup-dir", shown, is_there(root, shown, options), error, log)),
        };
        if log.info(Info::Backup) >= 1 {
            log.say(LogCode::Info, bytes![note, shown]);
        }
        Ok(Backups::new(suffix, Some(BackupDir::new(with_slash(typed), opened.ok()))))
    }

    fn temp(root: &Root, typed: &[u8], options: &Options, log: &Log) -> Result<TempDir> {
        let opened = root.open_beside(typed, &named(options), Follow::Never);
        match &opened {
            Err(error) if is_missing(error) => {
                log.say(LogCode::Error, bytes!["The temp-dir does not exist: ", typed]);
                Err(Error::silent(ExitCode::SYNTAX))
            }
            Err(error) if !is_refused(error) => {
                Err(unusable("temp-dir", typed, is_there(root, typed, options), error, log))
            }
            _ => Ok(TempDir { text: bytes![typed, "/"], root: opened }),
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOENT)
}

/// Whether what is no directory is something else, rather than below something else.
fn is_there(root: &Root, dir: &[u8], options: &Options) -> bool {
    let parent = dir.iter().rposition(|&byte| byte == b'/').and_then(|end| dir.get(..end.max(1)));
    parent.is_none_or(|parent| root.open_beside(parent, &named(options), Follow::Never).is_ok())
}

#[track_caller]
fn unusable(what: &str, dir: &[u8], there: bool, error: &io::Error, log: &Log) -> Error {
    if there && error.raw_os_error() == Some(libc::ENOTDIR) {
        log.say(LogCode::Error, bytes!["The ", what, " is not a directory: ", dir]);
        return Error::silent(ExitCode::SYNTAX);
    }
    let what = if what == "temp-dir" { "temp-dir " } else { "" };
    let reason = errno_words(error);
    log.say(LogCode::Error, bytes!["Failed to stat ", what, dir, ": ", reason]);
    Error::silent(ExitCode::FILE_IO)
}

fn with_slash(dir: &[u8]) -> Vec<u8> {
    if dir.ends_with(b"/") { dir.to_vec() } else { bytes![dir, "/"] }
}

/// An error to be told once more.
pub(super) fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None if is_untrusted_link(error) => io::Error::other(UntrustedLink),
        None if is_out_of_bounds(error) => io::Error::other(OutOfBounds),
        None => error.kind().into(),
    }
}

/// A name in one of the trees, and how messages call it.
pub struct Spot<'a> {
    pub root: &'a Root,
    pub path: Cow<'a, [u8]>,
    pub(super) shown: Cow<'a, [u8]>,
}

impl<'a> Spot<'a> {
    /// A path in the destination itself.
    pub fn of(dest: Dest<'a>, path: &'a [u8]) -> Self {
        Self { root: dest.root, path: path.into(), shown: path.into() }
    }

    /// As messages call it: relative to the destination, or as the operator named it.
    pub fn shown(&self) -> &[u8] {
        &self.shown
    }

    /// Opens it for reading; a link is not followed.
    pub fn open_read(&self) -> io::Result<File> {
        self.root.open_read(&self.path, libc::O_NONBLOCK)
    }
}
