//! Entries that are passed over because the user wants nothing new, or nothing old touched; arguments that the sender
//! misses; and what the sender hears of entries that are in place.

use std::io;

use super::{Generator, basis::Like};
use crate::{
    bytes, error::Result, filter::Name, flist::Entry, log::LogCode, meta::Kind, options::Info, role::Pass,
    sys::stat::Stat, wire::Tag,
};

/// How an entry is passed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spared {
    /// Nothing stands there, and nothing shall (`--existing`).
    Missing,
    /// What stands there stays (`--ignore-existing`).
    Existing,
}

impl Generator<'_> {
    /// Whether `--existing` or `--ignore-existing` lets an entry be, given what stands at its place. `told`: not a
    /// directory whose own visit is yet to come. C: in generator.c recv_generator
    pub(super) fn spares(
        &self,
        entry: Entry<'_>,
        path: &[u8],
        old: &io::Result<Stat>,
        pass: Pass,
        told: bool,
    ) -> Result<Option<Spared>> {
        let options = &self.transfer.options;
        if pass == Pass::Redo {
            return Ok(None);
        }
        let told = told && self.log.info(Info::Skip) >= 1;
        match old {
            Err(error) if options.existing && error.kind() == io::ErrorKind::NotFound => {
                if told {
                    let what = if entry.is_dir() { "directory" } else { "file" };
                    self.log.say(LogCode::Info, bytes!["not creating new ", what, " \"", path, "\""]);
                }
                Ok(Some(Spared::Missing))
            }
            Ok(old) if options.ignore_existing && !(entry.is_dir() && old.is_dir()) => {
                if told {
                    let how = if self.log.info(Info::Skip) >= 2 { self.difference(entry, path, old)? } else { "" };
                    self.log.say(LogCode::Info, bytes![path, " exists", how]);
                }
                Ok(Some(Spared::Existing))
            }
            _ => Ok(None),
        }
    }

    /// In what an existing entry differs from the one in the list.
    fn difference(&self, entry: Entry<'_>, path: &[u8], old: &Stat) -> Result<&'static str> {
        let rules = &self.transfer.rules;
        let wanted = crate::dest::wanted(entry);
        Ok(match () {
            () if Kind::of(old.mode) != wanted.kind() => " (type change)",
            () if !rules.quick_check(&wanted, old, &self.root, path)? => {
                if self.transfer.options.checksum {
                    " (sum change)"
                } else {
                    " (file change)"
                }
            }
            () if !self.attrs_unchanged(&wanted, &mut Like::own(*old), &self.root, path) => " (attr change)",
            () => " (uptodate)",
        })
    }

    /// Deletes what stands where an argument would be that the sender misses (`--delete-missing-args`).
    pub(super) fn delete_missing(&mut self, path: &[u8], old: io::Result<Stat>) -> Result<()> {
        let Ok(old) = old else { return Ok(()) };
        if self.filters.excludes(Name::new(path, false), &self.log) {
            return Ok(());
        }
        self.removing(|remover| remover.delete_named(path, old.mode))
    }

    /// Tells the sender that a file is in place, so that it may remove its own; within one process with the file's
    /// identity, for the two may be the same. C: io.c send_msg_success
    pub(super) fn tell_success(&mut self, index: i32, path: &[u8]) {
        if self.transfer.options.dry_run {
            return;
        }
        if !self.transfer.local {
            self.writer.message_int(Tag::Success, index);
            return;
        }
        let (dev, ino) = self.root.stat_anywhere(path).map_or((0, 0), |stat| (stat.dev, stat.ino));
        let payload = [&index.to_le_bytes()[..], &dev.to_le_bytes(), &ino.to_le_bytes()].concat();
        self.writer.message(Tag::Success, &payload);
    }

    /// The same for a file that was there already: for `--remove-sent-files` it was not sent.
    pub(super) fn tell_current(&mut self, index: i32, path: &[u8]) {
        if self.transfer.options.remove_source_files == 1 {
            self.tell_success(index, path);
        }
    }

    /// The same for files that the receiver put in place.
    pub(super) fn tell_finished(&mut self, index: i32) -> Result<()> {
        if self.transfer.options.remove_source_files == 0 {
            return Ok(());
        }
        let (_, segment) = self.locate(index)?;
        if let Some(entry) = segment.get(index) {
            let path = self.path_of(entry);
            self.tell_success(index, &path);
        }
        Ok(())
    }
}
