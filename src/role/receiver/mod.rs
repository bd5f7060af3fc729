//! The receiver: reads lists and file data, rebuilds each file beside its place and moves it there.
//!
//! It owns the read half and never writes to the peer; what it learns goes to the generator as `Feedback`.

mod account;
mod basis;
mod data;
mod file;
mod play;

pub use account::Given;

use std::{
    collections::{BTreeSet, HashSet},
    mem,
    sync::Arc,
};

use self::{account::Account, play::Play};
use crate::{
    bytes,
    dest::{Dest, alternatives::Alternatives, defaults::DefaultPerms, places::Places, temp::Temps, write::WriteBuffer},
    error::{Error, ExitCode, Result},
    flist::{Entry, FileList, Segment, receive::Decoder},
    fs::Root,
    log::{Log, LogCode, Speaker},
    meta::{
        Names,
        xattr::{self, Asked},
    },
    options::{Debug, Info},
    proto::{
        item::{Flags, Item},
        ndx::{Index, Indexes},
        stats::{DeleteStats, FinalStats},
        token::TokenReader,
    },
    report::summary::Stats,
    role::{
        About, Feedback, Transfer, Whom,
        news::News,
        sender::counts,
        tally::{Tally, count_list},
        wishes::Wanted,
    },
    transport::pair::Taker,
    wire::Reader,
};

/// What the receiver works with, handed over by the session.
pub struct Receiver<'a> {
    pub transfer: &'a Transfer,
    pub log: Log,
    pub reader: &'a mut Reader,
    pub incoming: Indexes,
    pub decoder: Decoder,
    pub generator: News,
    pub root: Root,
    pub places: Places,
    pub names: Names,
    pub alternatives: Alternatives,
    /// The only file's name at the destination.
    pub single: Option<Vec<u8>>,
    pub given: Given,
    /// The other end of the sender's side channel, in a local copy.
    pub taker: Option<Taker>,
    /// Where the sender is a batch file: what the generator wants of it.
    pub wanted: Option<Wanted>,
}

/// As many files are in place before the generator hears of them, unless there is time or a long file to come: being
/// told of each would wake it each time.
const BATCH: usize = 128;
/// A file this long comes after word of those before it.
const LONG: u64 = 1 << 20;

/// What was only given a further name has the attributes of the first.
const LINKED: Flags = Flags(Flags::XNAME_FOLLOWS.0 | Flags::LOCAL_CHANGE.0);

/// A receiver at work.
struct Work<'a> {
    transfer: &'a Transfer,
    dest: Dest<'a>,
    account: Account,
    default_perms: DefaultPerms,
    alternatives: &'a Alternatives,
    log: &'a Log,
    reader: &'a mut Reader,
    incoming: Indexes,
    decoder: Decoder,
    generator: News,
    single: Option<Vec<u8>>,
    taker: Option<Taker>,
    play: Option<Play>,
    list: FileList,
    list_complete: bool,
    tokens: TokenReader,
    temps: Temps,
    buffer: WriteBuffer,
    tally: Tally,
    /// Failed their sum once and were asked for again.
    redoing: HashSet<i32>,
    /// Complete, and waiting among the partial files (`--delay-updates`).
    delayed: BTreeSet<i32>,
    /// The sender's sum of the last file.
    sum: Vec<u8>,
    /// In place, and the generator does not know yet.
    finished: Vec<i32>,
}

impl Receiver<'_> {
    /// Receives until the sender has said all, its statistics included. C: receiver.c recv_files and what follows it
    /// in main.c do_recv
    pub fn run(self, initial: Vec<Arc<Segment>>, list_complete: bool, stats: Stats) -> Result<Stats> {
        let transfer = self.transfer;
        let mut tally = Tally::new(&transfer.options, &self.log);
        tally.stats = stats;
        let dest = Dest {
            root: &self.root,
            names: &self.names,
            rules: &transfer.rules,
            options: &transfer.options,
            places: &self.places,
            log: &self.log,
        };
        let mut work = Work {
            transfer,
            dest,
            default_perms: DefaultPerms::default(),
            account: Account::new(transfer, dest, &self.log, self.given),
            alternatives: &self.alternatives,
            log: &self.log,
            reader: self.reader,
            incoming: self.incoming,
            decoder: self.decoder,
            generator: self.generator,
            single: self.single,
            taker: self.taker,
            play: self.wanted.map(Play::new),
            list: FileList::new(),
            list_complete,
            tokens: TokenReader::new(transfer.local, transfer.protocol.compression(&transfer.options)),
            temps: Temps::default(),
            buffer: WriteBuffer::default(),
            tally,
            redoing: HashSet::new(),
            delayed: BTreeSet::new(),
            sum: Vec::new(),
            finished: Vec::new(),
        };
        initial.into_iter().for_each(|segment| work.add_segment(segment));
        work.files()?;
        work.ending()?;
        work.tally.stats.deleted = counts(&work.account.removals.counts);
        Ok(work.tally.stats)
    }
}

impl Work<'_> {
    fn debug(&self, line: impl FnOnce() -> Vec<u8>) {
        if self.log.debug(Debug::Recv) >= 1 {
            self.log.say(LogCode::Info, line());
        }
    }

    /// Tells in the order in which things came to be.
    fn tell_generator(&mut self, news: Feedback) -> Result<()> {
        self.tell_finished()?;
        self.generator.tell(news)
    }

    /// A file is in place; `told`: the reference's generator has to know. C: in receiver.c recv_files
    fn note_finished(&mut self, index: i32, told: bool) {
        if told {
            self.generator.show_success(index);
        }
        self.finished.push(index);
    }

    fn tell_finished(&mut self) -> Result<()> {
        if self.finished.is_empty() {
            return Ok(());
        }
        let finished = mem::take(&mut self.finished);
        self.generator.tell(Feedback::Finished(finished))
    }

    /// Whether the generator should hear what is in place before we read on.
    fn owes_news(&mut self) -> Result<bool> {
        Ok(!self.finished.is_empty() && (self.finished.len() >= BATCH || !self.reader.ready()?))
    }

    fn files(&mut self) -> Result<()> {
        let entries = self.list.segments().next().map_or(0, |segment| segment.len());
        self.debug(|| bytes!["recv_files(", entries, ") starting"]);
        let last_phase = if self.transfer.protocol.version >= 29 { 2 } else { 1 };
        let mut phase = 0;
        loop {
            match self.next()? {
                Some((index, item)) => self.item(index, item, phase)?,
                None => {
                    self.tally.end_of_segment(self.list.place_of_current_end(), self.list_complete);
                    let incremental = self.transfer.protocol.compat.inc_recurse;
                    self.end_of_updates(incremental || phase > 0)?;
                    if incremental && self.list.drop_first().is_some() && !self.list.is_empty() {
                        continue;
                    }
                    phase += 1;
                    if phase > last_phase {
                        break;
                    }
                    self.debug(|| bytes!["recv_files phase=", phase]);
                    if phase == 2 {
                        self.release_delayed()?;
                    }
                    self.tell_generator(Feedback::PhaseDone)?;
                }
            }
        }
        self.release_delayed()?; // before protocol 29 there is no phase for it
        self.debug(|| bytes!["recv_files finished"]);
        Ok(())
    }

    /// The statistics, and from protocol 31 on the sender's answer to our goodbye.
    fn ending(&mut self) -> Result<()> {
        let version = self.transfer.protocol.version;
        let stats = &mut self.tally.stats;
        (stats.sent, stats.received) = (0, self.reader.total());
        if !self.transfer.server() {
            let last = FinalStats::read(self.reader, version)?;
            // What the sender read is what we sent.
            (stats.sent, stats.received, stats.total_size) = (last.read, last.written, last.total_size);
            (stats.list_build, stats.list_transfer) = (last.list_build_time, last.list_send_time);
        }
        self.tell_generator(Feedback::PhaseDone)?;
        if version < 31 {
            return Ok(());
        }
        match self.next()? {
            None => {
                self.take_counts()?;
                self.tell_generator(Feedback::PhaseDone)
            }
            Some((index, _)) => {
                let line = bytes!["Invalid packet at end of run (", index, ") [receiver]"];
                Err(Error::new(ExitCode::PROTOCOL, line))
            }
        }
    }

    /// The next entry the sender speaks of; segments are taken in on the way. `None`: the end of something.
    /// C: rsync.c read_ndx_and_attrs
    fn next(&mut self) -> Result<Option<(i32, Item)>> {
        let version = self.transfer.protocol.version;
        let incremental = self.transfer.protocol.compat.inc_recurse;
        loop {
            if self.owes_news()? {
                self.tell_finished()?;
            }
            match self.incoming.read(self.reader)? {
                Index::Done => return Ok(None),
                Index::Entry(index) => {
                    let item = Item::read(self.reader, version)?;
                    if !item.is_keepalive(index, self.list.total(), version) {
                        return Ok(Some((index, item)));
                    }
                }
                Index::DeleteStats => {
                    // Those here until now are forgotten, as in the reference.
                    self.account.removals.counts = DeleteStats::read(self.reader)?;
                }
                Index::ListEnd if incremental => {
                    let known = mem::replace(&mut self.list_complete, true);
                    self.debug_list(3, || bytes!["[receiver] flist_eof=1"]);
                    if !known {
                        self.tell_generator(Feedback::ListEnd)?;
                    }
                }
                Index::Segment(dir) if incremental => self.segment(dir)?,
                other => {
                    let last = self.list.last().map_or(-1, |last| last.end_index() - 1);
                    let line = bytes!["Invalid file index: ", other.number(), " (-1 - ", last, ") [receiver]"];
                    return Err(Error::new(ExitCode::PROTOCOL, line));
                }
            }
        }
    }

    fn debug_list(&self, level: u8, line: impl FnOnce() -> Vec<u8>) {
        if self.log.debug(Debug::Flist) >= level {
            self.log.say(LogCode::Info, line());
        }
    }

    fn add_segment(&mut self, segment: Arc<Segment>) {
        self.generator.reach(segment.end_index());
        self.list.push(segment);
    }

    fn segment(&mut self, dir: i32) -> Result<()> {
        if self.list.is_empty() {
            let line = "rsync: refusing sub-flist after final flist was freed";
            return Err(Error::new(ExitCode::PROTOCOL, line));
        }
        self.debug_list(2, || bytes!["[receiver] receiving flist for dir ", dir]);
        let before = self.reader.total();
        let received = self.decoder.contents_of(self.reader, dir)?;
        self.tally.stats.list_size += self.reader.total() - before;
        count_list(&mut self.tally.stats, &self.decoder.counts());
        let segment = Arc::new(received.segment);
        self.add_segment(Arc::clone(&segment));
        self.tell_generator(Feedback::Segment(segment, received.io_error))
    }

    fn item(&mut self, index: i32, item: Item, phase: u32) -> Result<()> {
        let segment = Arc::clone(self.list.segment_for_peer(index, "read_ndx_and_attrs", Speaker::Receiver)?);
        self.list.set_current(&segment);
        let entry = segment.get(index).filter(|entry| entry.is_active()).ok_or_else(|| {
            Error::new(ExitCode::PROTOCOL, bytes!["rsync: refusing transfer of cleared file index ", index])
        })?;
        let path = self.single.clone().unwrap_or_else(|| entry.path());
        self.debug(|| bytes!["recv_files(", path, ")"]);
        let told = self.transfer.tells_xattrs(item.flags);
        if told {
            Asked::take(self.reader, entry.xattrs().map_or(&xattr::NONE, |list| list), &path)?;
        }
        if !item.flags.has(Flags::TRANSFER) {
            let name = item.name.as_deref().unwrap_or_default();
            let about = About { bits: item.flags.0, hard_link: name, ..About::default() };
            self.transfer.tell_item(self.log, entry, &about);
            if told && !item.flags.has(LINKED) {
                self.set_xattrs(entry, &path);
            }
            if item.flags.has(Flags::IS_NEW) {
                self.tally.created(entry.mode());
            }
            return Ok(());
        }
        if !entry.is_file() {
            let line = bytes!["received request to transfer non-regular file: ", index, " [receiver]"];
            return Err(Error::new(ExitCode::PROTOCOL, line));
        }
        if phase == 2 {
            return Err(Error::new(ExitCode::PROTOCOL, "got transfer request in phase 2 [receiver]"));
        }
        if !self.redoing.contains(&index) && item.flags.has(Flags::IS_NEW) {
            self.tally.created(entry.mode());
        }
        self.tally.begin(entry.size(), self.list.place(index), self.list_complete);
        if !self.is_wanted(index, &path)? {
            return self.discard();
        }
        let about = About { bits: item.flags.0, ..About::default() };
        if !self.transfer.for_real() {
            self.transfer.tell(self.log, entry, &about, Whom::User);
            return if self.play.is_some() { self.discard() } else { Ok(()) };
        }
        if self.transfer.only_records() {
            return self.only_record(index, entry, &about);
        }
        if entry.size() > LONG {
            self.tell_finished()?;
        }
        self.file(index, entry, &path, &item, about)
    }

    /// A file's data stays with whoever writes the batch file. C: in receiver.c recv_files
    fn only_record(&mut self, index: i32, entry: Entry<'_>, about: &About<'_>) -> Result<()> {
        self.transfer.tell(self.log, entry, about, Whom::User);
        if !self.transfer.server() {
            self.discard()?;
        }
        if self.transfer.protocol.compat.inc_recurse {
            self.note_finished(index, true);
        }
        Ok(())
    }

    fn decline(&mut self, index: i32) -> Result<()> {
        self.tell_generator(Feedback::Declined(index))
    }

    /// The whole-file sums differ: once, the file is asked for again.
    fn unverified(&mut self, index: i32, path: &[u8], kept: &str) -> Result<()> {
        let again = self.redoing.insert(index);
        let log = self.log;
        if !again {
            let line = bytes!["ERROR: ", path, " failed verification -- update ", kept, "."];
            log.say(LogCode::ErrorXfer, line);
            return self.decline(index);
        }
        if log.info(Info::Name) >= 1 || self.transfer.itemize() > 0 {
            let hope = if self.play.is_some() { " (may try again)." } else { " (will try again)." };
            log.say(LogCode::Warning, bytes!["WARNING: ", path, " failed verification -- update ", kept, hope]);
        }
        if self.may_come_again(index) {
            return Ok(());
        }
        self.tell_generator(Feedback::Redo(index))
    }
}
