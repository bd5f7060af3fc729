//! `--remove-source-files`: a file goes when the receiving side has it, unless it is no longer the one that was sent.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{List, Sender};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    flist::Entry,
    log::{Log, LogCode, Speaker},
    options::{Info, Options},
    role::news::Once,
    sys::stat::Stat,
};

/// The receiving side has a file; within one process we hear which one it is there (device and inode).
pub struct Arrived {
    pub index: i32,
    pub inode: Option<(u64, u64)>,
}

/// What arrived and was not looked at yet: each file of the list once, however often a peer says so. Whoever puts in
/// and whoever takes out are one thread.
#[derive(Clone, Default)]
pub struct Arrivals(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    told: Once,
    files: VecDeque<Arrived>,
}

impl Arrivals {
    /// The list goes on up to here.
    pub fn reach(&self, end: i32) {
        self.waiting().told.reach(end);
    }

    pub fn add(&self, file: Arrived) {
        let mut waiting = self.waiting();
        if waiting.told.pass(file.index) {
            waiting.files.push_back(file);
        }
    }

    pub fn next(&self) -> Option<Arrived> {
        self.waiting().files.pop_front()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step on the way to a file's removal that failed.
struct Failed(&'static str, io::Error);

impl Sender<'_> {
    /// Removes the files that have arrived.
    pub(super) fn remove_arrived(&self, list: &List) -> Result<()> {
        while let Some(file) = self.arrived.and_then(Arrivals::next) {
            remove(&file, list, &self.transfer.options, self.log)?;
        }
        Ok(())
    }

    /// How far the list goes of which the peer may say that something arrived.
    pub(super) fn note_list(&self, list: &List) {
        if let Some(arrived) = self.arrived {
            arrived.reach(list.last_index() + 1);
        }
    }
}

/// C: sender.c successful_send
pub fn remove(arrived: &Arrived, list: &List, options: &Options, log: &Log) -> Result<()> {
    let segment = list.segments().segment_for_peer(arrived.index, "successful_send", Speaker::Sender)?;
    if arrived.index < segment.first_index {
        return Err(Error::silent(ExitCode::PROTOCOL)); // that is a directory
    }
    let Some(entry) = segment.get(arrived.index).filter(|entry| entry.is_active()) else { return Ok(()) };
    let path = entry.path();
    list.walker().sources().go_to(entry.source(), log);
    match remove_entry(arrived, entry, list, options) {
        Ok(None) => {
            if log.info(Info::Remove) >= 1 {
                log.say(LogCode::Info, bytes!["sender removed ", path]);
            }
        }
        Ok(Some(kept)) => log.say(LogCode::ErrorXfer, bytes!["ERROR: Skipping sender remove ", kept, ": ", path]),
        Err(Failed(_, error)) if error.kind() == io::ErrorKind::NotFound => {
            log.say(LogCode::Info, bytes!["sender file already removed: ", path]);
        }
        Err(Failed(step, error)) => {
            log.syserr(LogCode::ErrorXfer, bytes!["sender failed to ", step, " ", path], &error);
        }
    }
    Ok(())
}

/// `Some`: why the file stays.
fn remove_entry(
    arrived: &Arrived,
    entry: Entry<'_>,
    list: &List,
    options: &Options,
) -> std::result::Result<Option<&'static str>, Failed> {
    let gone = || Failed("re-lstat", io::Error::from_raw_os_error(libc::ENOENT));
    let (root, path) = list.walker().sources().of(entry).ok_or_else(gone)?;
    let stat = if options.copy_links { root.stat_anywhere(&path) } else { root.stat(&path) };
    let stat = stat.map_err(|error| Failed("re-lstat", error))?;
    if arrived.inode == Some((stat.dev, stat.ino)) {
        return Ok(Some("of destination file"));
    }
    if has_changed(entry, &stat) {
        return Ok(Some("for changed file"));
    }
    root.unlink(&path).map_err(|error| Failed("remove", error))?;
    Ok(None)
}

/// Whether the file is another one than the list speaks of. An entry without nanoseconds says nothing of them.
fn has_changed(entry: Entry<'_>, stat: &Stat) -> bool {
    let (seconds, nanos) = entry.mtime();
    let size = if stat.is_device() || stat.is_special() { 0 } else { stat.size };
    size != entry.size() || stat.mtime.0 != seconds || nanos != 0 && stat.mtime.1 != nanos
}
