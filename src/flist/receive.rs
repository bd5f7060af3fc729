//! Whole segments from the wire: checked entries, sorted, doubles weeded out, numbers of users and groups translated.

use super::{
    DirEntry, Entry, Flags, Segment,
    decode::{EntryDecoder, read_short, varint30},
    dump::View,
    form::{Counts, xmit},
    io_error,
    order::{self, Order},
    prune::prune,
    requested::Requested,
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    filter::{Filters, Name},
    log::{Log, LogCode, Speaker},
    meta::{Names, xattr},
    options::{Debug, Options},
    proto::Protocol,
    text::mode::Chmod,
    wire::Reader,
};

/// A segment and what came with it.
#[derive(Debug)]
pub struct Received {
    pub segment: Segment,
    /// Error bits that the sender reported with this list (0 with `--ignore-errors`), and our own.
    pub io_error: i32,
}

/// How far a list has come.
#[derive(Clone, Copy, Debug)]
pub enum Coming {
    Names(usize),
    /// That was all of it.
    All(usize),
}

/// A directory by its number on the wire.
enum Slot {
    /// Its contents may still come.
    Open(Box<DirEntry>),
    /// Its contents came.
    Filled,
    /// Weeded out.
    Cleared,
}

/// What announces the contents of directory n is this minus n. C: NDX_FLIST_OFFSET
const OFFSET: i32 = -101;

/// An index that means none of the `known` directories. C: flist.c recv_additional_file_list, rsync.c read_ndx_and_attrs
fn no_directory(speaker: Speaker, index: i32, known: i32) -> Error {
    let what = format!("Invalid dir index: {index} ({OFFSET} - {})", OFFSET - known + 1);
    let who = speaker.name();
    let line = match speaker {
        Speaker::ReceiverStart => format!("[{who}] {what}"),
        _ => format!("{what} [{who}]"),
    };
    Error::new(ExitCode::PROTOCOL, line)
}

/// The receiving side of all lists of a session. C: flist.c recv_file_list
pub struct Decoder {
    entries: EntryDecoder,
    order: Order,
    relative: bool,
    prune: bool,
    /// Entries are numbered as they came, not as they are sorted.
    keep_numbers: bool,
    max_alloc: u64,
    dirs: Vec<Slot>,
    next_index: i32,
    view: View,
    /// What the user may want to be told while a long list comes in.
    on_progress: Option<Box<dyn FnMut(Coming) + Send>>,
}

impl Decoder {
    /// Malformed `--usermap`, `--groupmap` end the run here. `chmod` is `--chmod` on the receiving client, `requested`
    /// what a client asked for (`None`: no check).
    pub fn new(
        options: &Options,
        protocol: &Protocol,
        chmod: Option<Chmod>,
        requested: Option<Requested>,
        log: &Log,
    ) -> Result<Self> {
        Ok(Self {
            entries: EntryDecoder::new(options, protocol, chmod, requested, log)?,
            order: Order::of(protocol.version),
            relative: options.relative,
            prune: options.prune_empty_dirs,
            keep_numbers: options.iconv.is_some(),
            max_alloc: options.max_alloc,
            dirs: Vec::new(),
            next_index: i32::from(protocol.compat.inc_recurse),
            view: View::new(options, log),
            on_progress: None,
        })
    }

    /// Calls back after every hundred names of the first list, and when it has come.
    pub fn on_progress(&mut self, call: Box<dyn FnMut(Coming) + Send>) {
        self.on_progress = Some(call);
    }

    /// Which extended attributes this side keeps, by the rules that were settled meanwhile.
    pub fn keep_xattrs(&mut self, policy: &xattr::Policy) {
        self.entries.xattrs.iter_mut().for_each(|received| received.keep_to(policy.clone()));
    }

    /// The rules of this side: a name that a client's sender should have left out ends the run.
    pub fn keep_to(&mut self, rules: Filters) {
        self.entries.filters = Some(rules).filter(|rules| !rules.is_empty());
    }

    /// Speaks through another voice from now on: who reads the first list may not be who reads the others.
    pub fn speak_as(&mut self, log: &Log) {
        self.entries.log = log.clone();
    }

    /// What error lines put before the names of entries from now on.
    pub fn call_files(&mut self, names: Names) {
        self.entries.names = names;
    }

    pub fn counts(&self) -> Counts {
        self.entries.counts
    }

    /// The segment at the start of a session.
    pub fn first(&mut self, from: &mut Reader) -> Result<Received> {
        let mut received = self.read(from, -1, b"")?;
        let segment = &mut received.segment;
        let starts_at_root = segment.records.iter().find(|record| record.base_len != 0);
        let starts_at_root = starts_at_root.is_some_and(|record| segment.base_of(record) == b".");
        if let (true, Some(Slot::Open(root))) = (starts_at_root, self.dirs.first()) {
            segment.parent = 0;
            segment.set_parent(root, self.entries.log.speaker())?;
        }
        Ok(received)
    }

    /// In place of the first directory's contents came an index that announces none.
    pub fn no_contents(&self, index: i32) -> Error {
        no_directory(self.entries.log.speaker(), index, self.dirs.len() as i32)
    }

    /// A later segment, announced by the wire index `NDX_FLIST_OFFSET - dir`. A directory that is unknown, was weeded
    /// out or had its contents already ends the run with status 2.
    pub fn contents_of(&mut self, from: &mut Reader, dir: i32) -> Result<Received> {
        let known = self.dirs.len() as i32;
        let refuse = |line: String| Err(Error::new(ExitCode::PROTOCOL, line));
        let Some(slot) = usize::try_from(dir).ok().and_then(|dir| self.dirs.get_mut(dir)) else {
            return Err(no_directory(self.entries.log.speaker(), OFFSET.wrapping_sub(dir), known));
        };
        match std::mem::replace(slot, Slot::Filled) {
            Slot::Cleared => refuse(format!("rsync: refusing flist for cleared dir_ndx {dir}")),
            Slot::Filled => refuse(format!("rsync: refusing malicious duplicate flist for dir {dir}")),
            Slot::Open(parent) => {
                let mut received = self.read(from, dir, &parent.path)?;
                received.segment.set_parent(&parent, self.entries.log.speaker())?;
                received.segment.shrink();
                Ok(received)
            }
        }
    }

    fn read(&mut self, from: &mut Reader, dir: i32, inside: &[u8]) -> Result<Received> {
        let mut segment = Segment::new(self.next_index, dir).within(self.max_alloc);
        let mut errors = self.read_entries(from, &mut segment, inside)?;
        self.next_index = segment.next_first_index();
        let log = self.entries.log.clone();
        if log.debug(Debug::Flist) >= 2 {
            log.say(LogCode::Info, bytes!["received ", segment.len(), " names"]);
        }
        if let Some(mut call) = self.on_progress.take() {
            call(Coming::All(segment.len()));
        }
        if self.keep_numbers {
            segment.keep_numbers();
        }
        order::sort(&mut segment, self.order);
        if !self.entries.rules.inc_recurse {
            self.read_id_lists(from)?;
            if log.debug(Debug::Flist) >= 3 {
                log.say(LogCode::Info, bytes!["[", log.speaker().name(), "] flist_eof=1"]);
            }
            self.translate_ids(&mut segment);
        }
        let dirs = segment.dirs_by_number();
        order::weed_duplicates(&mut segment, self.order, &log);
        if self.relative {
            segment.strip_root();
        }
        if self.prune {
            let filters = self.entries.filters.as_ref();
            let excluded = |path: &[u8]| filters.is_some_and(|rules| rules.excludes(Name::new(path, true), &log));
            prune(&mut segment, excluded);
        }
        if self.entries.rules.inc_recurse {
            self.dirs.extend(dirs.into_iter().map(|at| slot_of(segment.entry(at))));
        }
        if self.entries.rules.version < 30 {
            errors |= from.int()?;
            self.entries.inodes.end(&log);
        }
        segment.dump(&log, self.view, None);
        if log.debug(Debug::Flist) >= 2 {
            log.say(LogCode::Info, "recv_file_list done");
        }
        let io_error = if self.entries.rules.ignore_errors { 0 } else { errors & io_error::VALID };
        let io_error = io_error | self.entries.io_error;
        Ok(Received { segment, io_error })
    }

    /// Reads up to the end mark; gives back the error word that stands there.
    fn read_entries(&mut self, from: &mut Reader, segment: &mut Segment, inside: &[u8]) -> Result<i32> {
        let inc_recurse = self.entries.rules.inc_recurse;
        let mut good_dir = None;
        loop {
            let flags = match self.read_flags(from)? {
                Head::Entry(flags) => flags,
                Head::End(errors) => return Ok(errors),
            };
            self.entries.entry(from, flags, segment)?;
            if inc_recurse {
                self.check_dir(segment, inside, &mut good_dir)?;
            }
            if let Some(call) = self.on_progress.as_mut().filter(|_| segment.len().is_multiple_of(100)) {
                call(Coming::Names(segment.len()));
            }
        }
    }

    fn read_flags(&self, from: &mut Reader) -> Result<Head> {
        let rules = &self.entries.rules;
        if rules.varint_flags {
            return Ok(match from.varint()?.cast_unsigned() {
                0 => Head::End(from.varint()?),
                flags => Head::Entry(flags),
            });
        }
        let mut flags = u32::from(from.byte()?);
        if flags == 0 {
            return Ok(Head::End(0));
        }
        if rules.version >= 28 && flags & xmit::EXTENDED != 0 {
            flags |= u32::from(from.byte()?) << 8;
        }
        if flags != xmit::EXTENDED | xmit::IO_ERROR_ENDLIST {
            return Ok(Head::Entry(flags));
        }
        if !rules.safe_end {
            return Err(Error::new(ExitCode::PROTOCOL, format!("Invalid flist flag: {flags:x}")));
        }
        Ok(Head::End(from.varint()?))
    }

    /// With incremental recursion every entry of a segment lies in the one directory that was announced.
    fn check_dir(&self, segment: &Segment, inside: &[u8], good_dir: &mut Option<u32>) -> Result<()> {
        let Some(record) = segment.records.last() else { return Ok(()) };
        if *good_dir == Some(record.dir) {
            return Ok(());
        }
        let entry = Entry { segment, record };
        let dir = entry.dir();
        let dir = if self.relative { dir.strip_prefix(b"/").unwrap_or(dir) } else { dir };
        if dir != inside {
            let line = bytes!["ABORTING due to invalid path from sender: ", dir, "/", entry.base()];
            return Err(Error::new(ExitCode::UNSUPPORTED, line));
        }
        *good_dir = Some(record.dir);
        Ok(())
    }

    /// C: uidlist.c recv_id_list
    fn read_id_lists(&mut self, from: &mut Reader) -> Result<()> {
        let rules = self.entries.rules;
        let (users, groups) = rules.named();
        for (wanted, mapping) in [(users, &mut self.entries.users), (groups, &mut self.entries.groups)] {
            if !wanted {
                continue;
            }
            loop {
                let id = varint30(from, rules.version)?.cast_unsigned();
                if id != 0 || rules.id0_names {
                    mapping.learn(id, read_short(from)?.as_deref());
                }
                if id == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    fn translate_ids(&mut self, segment: &mut Segment) {
        self.entries.translate_acls(segment);
        let (users, groups) = self.entries.translates();
        for record in &mut segment.records {
            if users {
                record.uid = self.entries.users.map(record.uid).id;
            }
            if groups {
                let mapped = self.entries.groups.map(record.gid);
                record.gid = mapped.id;
                if mapped.skip {
                    record.flags.set(Flags::SKIP_GROUP);
                }
            }
        }
    }
}

enum Head {
    Entry(u32),
    End(i32),
}

fn slot_of(entry: Entry<'_>) -> Slot {
    if entry.is_active() { Slot::Open(Box::new(entry.to_dir_entry())) } else { Slot::Cleared }
}
