//! The delete pass: what a directory of the destination holds beyond the list goes, before, during or after the
//! transfer.
//!
//! Only a directory whose contents the sender really listed is looked at (`flist::content` decides), and only as long
//! as the sender has read everything it wanted to read.

use super::Generator;
use crate::{
    bytes,
    dest::{
        Dest,
        children::{Child, Judged, inside},
        delete::{Removals, Remover},
        places::Spot,
    },
    error::Result,
    filter::{Name, Place},
    flist::{Attributes, Entry, Flags, Segment, io_error, order::Finder},
    log::{Log, LogCode, table::Table},
    meta::fake,
    options::{Debug, Delete, Info},
    proto::ndx::Index,
    role::{Deletions, Transfer, check_going_on, wishes::Wish},
    wire::Tag,
};

/// So many lines about deletions may wait.
const STRIDE: u32 = 1000;

/// How big the table of file systems begins. C: in generator.c delete_in_dir
const FILESYSTEMS: usize = 16;

/// What is remembered about deletions.
pub(super) struct Prune {
    when: Delete,
    removals: Removals,
    deletions: Deletions,
    /// The user knows that nothing more is deleted.
    warned: bool,
    /// Where the directories are that the user named (`-x`).
    filesystems: Option<Table<u64, ()>>,
    /// Names of a segment, by its first index.
    finder: Option<(i32, Finder)>,
    delayed: Delayed,
    /// How many deletions were told.
    told: u32,
    /// Directories that are touched up when the delayed deletions are done, with their numbers, and whether they are
    /// missing.
    postponed: Segment,
    numbers: Vec<(i32, bool)>,
}

/// What goes at the end (`--delete-delay`): paths one after the other, and of each where it ends.
#[derive(Default)]
struct Delayed {
    paths: Vec<u8>,
    ends: Vec<(usize, u32, bool)>,
}

impl Delayed {
    fn push(&mut self, path: &[u8], child: &Child) {
        self.paths.extend_from_slice(path);
        self.ends.push((self.paths.len(), child.mode, child.locked));
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], u32, bool)> {
        let mut start = 0;
        self.ends.iter().map(move |&(end, mode, locked)| {
            let path = self.paths.get(start..end).unwrap_or_default();
            start = end;
            (path, mode, locked)
        })
    }
}

impl Prune {
    /// `filesystem`: the device that the destination stands on.
    pub fn new(transfer: &Transfer, dest: Dest<'_>, filesystem: u64) -> Self {
        Self {
            when: transfer.protocol.delete(transfer.options.delete),
            removals: transfer.removals(dest, filesystem),
            deletions: Deletions::new(transfer, dest.log, false),
            warned: false,
            filesystems: None,
            finder: None,
            delayed: Delayed::default(),
            told: 0,
            postponed: Segment::new(0, -1),
            numbers: Vec::new(),
        }
    }

    /// A directory's extraneous contents are found at its visit.
    pub fn visits(&self) -> bool {
        matches!(self.when, Delete::During | Delete::Delay)
    }

    /// Deletions end only after the transfer.
    pub fn is_late(&self) -> bool {
        matches!(self.when, Delete::Delay | Delete::After)
    }

    /// Directories keep the time of their contents until deletions are through. C: delete_during == 2
    pub fn is_delayed(&self) -> bool {
        self.when == Delete::Delay
    }

    /// What went wrong here, as error bits.
    pub fn io_error(&self) -> i32 {
        self.removals.lister.io_error
    }

    /// The file system that a directory made in this run counts as.
    pub fn filesystem(&self) -> u64 {
        self.removals.lister.filesystem
    }

    /// Whether `-x` lets us into a directory of this device; one that the user named is where we stay.
    fn stays(&mut self, named: bool, device: u64, log: &Log) -> bool {
        let filesystem = self.filesystem();
        let filesystems = self.filesystems.get_or_insert_with(|| Table::new(FILESYSTEMS, log));
        if named {
            filesystems.insert(device, ());
            filesystems.tell_growth(log);
        } else if device != filesystem && !filesystems.contains_key(&device) {
            return false;
        }
        self.removals.lister.filesystem = device;
        true
    }
}

impl Generator<'_> {
    /// Lets something remove things at the destination: deletions are told as they happen, and end when the run does.
    pub(super) fn removing<T>(&mut self, act: impl FnOnce(&mut Remover<'_>) -> T) -> Result<T> {
        let Self { transfer, log, writer, root, names, places, prune, filters, .. } = self;
        let dest = Dest { root, names, rules: &transfer.rules, options: &transfer.options, places, log };
        let Prune { removals, deletions, told, .. } = prune;
        let each = |path: &[u8], mode: u32| {
            deletions.happened(path, mode, |name| {
                writer.message(Tag::Deleted, name);
            });
            *told = told.wrapping_add(1);
            if told.is_multiple_of(STRIDE) {
                writer.flush()?;
            }
            check_going_on(log)
        };
        removals.through(dest, filters, each, act)
    }

    /// At the visit of a directory (`--delete-during`, `--delete-delay`).
    pub(super) fn prune_visited(&mut self, entry: Entry<'_>, path: &[u8], device: u64) -> Result<()> {
        match entry.flags().has(Flags::CONTENT_DIR) {
            _ if !self.prune.visits() || self.missing => Ok(()),
            true => self.prune_in(entry, path, device),
            false => self.enter_rules(path),
        }
    }

    /// When all directories were visited.
    pub(super) fn end_of_visits(&mut self) {
        if self.prune.visits() {
            self.filters.leave_all(&self.log);
        }
    }

    /// Goes on to a directory's own filter rules. C: exclude.c change_local_filter_dir
    fn enter_rules(&mut self, path: &[u8]) -> Result<()> {
        let Self { filters, root, log, .. } = self;
        let depth = if path == b"." { 0 } else { memchr::memchr_iter(b'/', path).count() + 1 };
        filters.go_to(path, depth, Place { log, tree: Some((root, path)) })
    }

    /// All directories of a whole list in one go (`--delete-before`, `--delete-after`). C: generator.c do_delete_pass
    fn prune_all(&mut self) -> Result<()> {
        if self.missing || self.single.is_some() || self.transfer.options.list_only {
            return Ok(());
        }
        let Some(segment) = self.list.segment(0).cloned() else { return Ok(()) };
        // Files have no rules of their own, but the reference tells that it looks.
        let told = self.log.debug(Debug::Filter) >= 2;
        for (_, entry) in segment.entries().filter(|(_, entry)| entry.is_active() && (told || entry.is_dir())) {
            check_going_on(&self.log)?;
            let path = entry.path();
            if !entry.flags().has(Flags::CONTENT_DIR) {
                self.enter_rules(&path)?;
                continue;
            }
            if self.log.debug(Debug::Del) >= 1 && entry.flags().has(Flags::TOP_DIR) {
                self.log.say(LogCode::Info, bytes!["deleting in ", path]);
            }
            let look = fake::unless_fatal(self.dest().look(&path, self.transfer.options.keep_dirlinks))?;
            if let Some(stat) = look.ok().filter(|stat| stat.is_dir()) {
                self.prune_in(entry, &path, stat.dev)?;
            }
        }
        self.filters.leave_all(&self.log);
        if self.log.info(Info::Flist) >= 2 && !self.transfer.server() {
            self.log.put(LogCode::Info, b"                    \r");
        }
        Ok(())
    }

    /// Before anything is transferred.
    pub(super) fn prune_before(&mut self) -> Result<()> {
        if self.prune.when == Delete::Before { self.prune_all() } else { Ok(()) }
    }

    /// When everything was transferred.
    pub(super) fn prune_after(&mut self) -> Result<()> {
        match self.prune.when {
            Delete::Delay => self.prune_delayed()?,
            Delete::After => self.prune_all()?,
            _ => {}
        }
        let skipped = self.prune.removals.skipped;
        if skipped > 0 {
            let line = bytes!["Deletions stopped due to --max-delete limit (", skipped, " skipped)"];
            self.log.say(LogCode::Warning, line);
            self.io_error |= io_error::DEL_LIMIT;
        }
        self.io_error |= self.prune.io_error();
        Ok(())
    }

    /// C: generator.c do_delayed_deletions
    fn prune_delayed(&mut self) -> Result<()> {
        let delayed = std::mem::take(&mut self.prune.delayed);
        for (path, mode, locked) in delayed.iter() {
            self.removing(|remover| remover.delete(path, mode, locked))?;
        }
        Ok(())
    }

    /// Deletes what one directory holds beyond the list. C: generator.c delete_in_dir
    fn prune_in(&mut self, entry: Entry<'_>, path: &[u8], device: u64) -> Result<()> {
        let options = &self.transfer.options;
        if self.log.debug(Debug::Del) >= 2 {
            self.log.say(LogCode::Info, bytes!["delete_in_dir(", path, ")"]);
        }
        self.writer.keepalive()?;
        if (self.io_error | self.prune.io_error()) & io_error::GENERAL != 0 && !options.ignore_errors {
            if !std::mem::replace(&mut self.prune.warned, true) {
                self.log.say(LogCode::Info, "IO error encountered -- skipping file deletion");
            }
            return Ok(());
        }
        self.enter_rules(path)?;
        if options.one_file_system > 0 && !self.prune.stays(entry.flags().has(Flags::TOP_DIR), device, &self.log) {
            return Ok(());
        }
        for child in self.extraneous(entry, path)?.into_iter().rev() {
            let path = inside(path, &child.name);
            if child.mount {
                if self.log.info(Info::Mount) >= 1 {
                    self.log.say(LogCode::Info, bytes!["cannot delete mount point: ", path]);
                }
            } else if self.prune.is_delayed() {
                self.prune.delayed.push(&path, &child);
            } else {
                self.removing(|remover| remover.delete(&path, child.mode, child.locked))?;
            }
        }
        Ok(())
    }

    /// What a directory holds that the list does not have, and mount points, in the list's order.
    fn extraneous(&mut self, entry: Entry<'_>, path: &[u8]) -> Result<Vec<Child>> {
        let segment = entry.segment();
        let Self { transfer, log, root, names, places, prune, filters, .. } = self;
        let dest = Dest { root, names, rules: &transfer.rules, options: &transfer.options, places, log };
        let Prune { removals, finder, .. } = prune;
        if finder.as_ref().is_none_or(|(first, _)| *first != segment.first_index) {
            *finder = Some((segment.first_index, Finder::new(segment)));
        }
        let Some((_, finder)) = finder else { return Ok(Vec::new()) };
        let dir = inside(path, b"");
        // What is said of a rule that decides is said of every name.
        let told = log.debug(Debug::Filter) >= 1;
        removals.lister.children(dest, &Spot::of(dest, path), |leaf, is_dir| {
            let wanted = finder.has(segment, &dir, leaf);
            let asked = told || !wanted;
            match () {
                () if asked && filters.excludes(Name { dir: &dir, leaf, is_dir, xattr: false }, log) => {
                    Judged::Protected
                }
                () if wanted => Judged::Wanted,
                () => Judged::Extraneous,
            }
        })
    }

    /// The counts of deletions, for whoever makes the statistics.
    pub(super) fn tell_counts(&mut self) -> Result<()> {
        let options = &self.transfer.options;
        if let Some(wishes) = &self.wishes {
            wishes.tell(Wish::Deleted(self.prune.removals.counts));
            return Ok(());
        }
        if options.delete == Delete::Never && !options.force {
            return Ok(());
        }
        self.outgoing.write(self.writer, Index::DeleteStats)?;
        self.prune.removals.counts.write(self.writer)
    }

    /// Keeps a directory for the touching up after delayed deletions.
    pub(super) fn postpone(&mut self, entry: Entry<'_>, number: i32, missing: bool) -> Result<()> {
        let who = self.log.speaker();
        let Prune { postponed, numbers, .. } = &mut self.prune;
        let of = Attributes { flags: entry.flags(), mode: entry.mode(), mtime: entry.mtime(), ..Attributes::default() };
        let slash = !entry.dir_slash().is_empty();
        let dir = postponed.dir(entry.dir(), slash, 0, who)?;
        postponed.push(dir, entry.base(), &of, who)?;
        numbers.push((number, missing));
        Ok(())
    }

    /// Touches up what was postponed.
    pub(super) fn touch_up_postponed(&mut self) {
        let (dirs, numbers) = (std::mem::take(&mut self.prune.postponed), std::mem::take(&mut self.prune.numbers));
        for ((_, entry), (number, missing)) in dirs.entries().zip(numbers) {
            self.touch_up(entry, number, missing);
        }
    }
}
