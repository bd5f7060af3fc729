//! The sender: answers the generator's requests with data, and lists further directories while there is time.
//!
//! One thread does it all, in the order of the requests. It flushes only where it would have to wait.

mod list;
mod remove;
mod source;

pub use list::List;
pub use remove::{Arrivals, Arrived, remove};

use std::collections::HashSet;

use crate::{
    bytes,
    compress::{Method, Suffixes},
    delta::search::Searcher,
    error::{Error, ExitCode, Result},
    flist::{Entry, io_error},
    log::{Log, LogCode},
    meta::xattr::{self, Asked, Subject},
    options::{Append, Debug, Info, Options},
    proto::{
        item::{Flags, Item},
        ndx::{Index, Indexes},
        stats::DeleteStats,
        sums::{SumHead, Sums},
        token::TokenWriter,
    },
    report::summary::{Counts, Stats},
    role::{About, Transfer, Whom, check_going_on, tally::Tally},
    transport::pair::Giver,
    wire::{Reader, Tag, Writer},
};

pub struct Sender<'a> {
    transfer: &'a Transfer,
    log: &'a Log,
    reader: &'a mut Reader,
    writer: &'a mut Writer,
    incoming: &'a mut Indexes,
    giver: Option<Giver>,
    /// With `--remove-source-files`: what the receiving side has.
    arrived: Option<&'a Arrivals>,
    /// Files sent once already: asked for again, they failed their sum.
    sent: HashSet<i32>,
    tally: Tally,
    /// Error bits of reading file data.
    errors: i32,
    searcher: Searcher,
    tokens: TokenWriter,
    /// Which files are not worth compressing, where data is compressed.
    skipped: Option<Suffixes>,
    /// Bytes of files that were handed over rather than sent.
    handed_over: u64,
    /// Room for a small file's contents.
    small: Vec<u8>,
}

/// A request as it came.
struct Request {
    index: i32,
    item: Item,
    /// Values of extended attributes, if the item is about them.
    asked: Option<Asked>,
}

impl<'a> Sender<'a> {
    pub fn new(
        transfer: &'a Transfer,
        log: &'a Log,
        reader: &'a mut Reader,
        writer: &'a mut Writer,
        incoming: &'a mut Indexes,
        giver: Option<Giver>,
        arrived: Option<&'a Arrivals>,
    ) -> Self {
        if let Some(giver) = &giver {
            giver.speak_through(log);
        }
        let options = &transfer.options;
        let compresses = transfer.protocol.compression.method != Method::None;
        Self {
            transfer,
            log,
            reader,
            writer,
            incoming,
            giver,
            arrived,
            sent: HashSet::new(),
            tally: Tally::new(options, log),
            errors: 0,
            searcher: Searcher::default(),
            tokens: TokenWriter::new(transfer.protocol.compression(options)),
            skipped: options.skip_compress.as_deref().filter(|_| compresses).map(Suffixes::new),
            handed_over: 0,
            small: Vec::new(),
        }
    }

    /// Answers requests until the last phase ended. C: sender.c send_files
    pub fn run(mut self, list: &mut List) -> Result<(Stats, i32)> {
        self.debug(|| bytes!["send_files starting"]);
        let version = self.transfer.protocol.version;
        let (mut phase, last_phase) = (0, if version >= 29 { 2 } else { 1 });
        list.count_into(&mut self.tally.stats);
        let incremental = self.transfer.protocol.compat.inc_recurse;
        let mut lists_left = incremental;
        loop {
            match self.next(list)? {
                Some(request) => self.answer(list, request, phase)?,
                None => {
                    list.count_into(&mut self.tally.stats);
                    self.tally.end_of_segment(list.segments().place_of_current_end(), list.is_complete());
                    if lists_left {
                        lists_left = list.drop_first();
                        if lists_left {
                            list.write_index(self.writer, Index::Done)?;
                            continue;
                        }
                    }
                    phase += 1;
                    if phase > last_phase {
                        break;
                    }
                    self.debug(|| bytes!["send_files phase=", phase]);
                    list.write_index(self.writer, Index::Done)?;
                }
            }
        }
        if self.giver.as_ref().is_some_and(Giver::has_failed) {
            self.errors |= io_error::GENERAL;
        }
        list.tell_errors(self.writer, self.errors);
        self.debug(|| bytes!["send files finished"]);
        self.searcher.report(self.log);
        list.write_index(self.writer, Index::Done)?;
        list.count_into(&mut self.tally.stats);
        Ok((self.tally.stats, self.errors))
    }

    fn debug(&self, line: impl FnOnce() -> Vec<u8>) {
        if self.log.debug(Debug::Send) >= 1 {
            self.log.say(LogCode::Info, line());
        }
    }

    /// The next request; `None` where the generator says that it is done with something. Meanwhile further directories
    /// are listed, as far as it pays. C: rsync.c read_ndx_and_attrs
    fn next(&mut self, list: &mut List) -> Result<Option<Request>> {
        let version = self.transfer.protocol.version;
        check_going_on(self.log)?;
        list.send_ahead(self.writer, list::LOOKAHEAD)?;
        loop {
            self.note_list(list);
            while !self.reader.ready()? {
                if !list.send_idle(self.writer)? {
                    self.writer.flush()?;
                    break;
                }
                self.note_list(list);
            }
            self.wait_alive(list)?;
            let index = self.incoming.read(self.reader)?;
            self.remove_arrived(list)?;
            match index {
                Index::Done => return Ok(None),
                Index::Entry(index) => {
                    let item = Item::read(self.reader, version)?;
                    if item.is_keepalive(index, list.total(), version) {
                        self.writer.keepalive()?;
                        continue;
                    }
                    return Ok(Some(Request { index, item, asked: None }));
                }
                Index::DeleteStats => {
                    let deleted = DeleteStats::read(self.reader)?;
                    self.tally.stats.deleted = counts(&deleted);
                    if self.transfer.server() {
                        list.write_index(self.writer, Index::DeleteStats)?;
                        deleted.write(self.writer)?;
                    }
                }
                other => {
                    let line =
                        bytes!["Invalid file index: ", other.number(), " (-1 - ", list.last_index(), ") [sender]"];
                    return Err(Error::new(ExitCode::PROTOCOL, line));
                }
            }
        }
    }

    /// Waits for the peer's next word; with a timeout, it hears from us meanwhile.
    fn wait_alive(&mut self, list: &List) -> Result<()> {
        let lull = self.writer.pulse().lull();
        if self.arrived.is_none() && lull.is_none() {
            return Ok(());
        }
        while !self.reader.step(lull)? {
            self.remove_arrived(list)?;
            self.writer.flush()?;
            self.writer.keepalive()?;
        }
        Ok(())
    }

    fn answer(&mut self, list: &mut List, mut request: Request, phase: u32) -> Result<()> {
        let segment = list.segment(request.index)?;
        let entry = list::active(&segment, request.index)?;
        list.walker().sources().go_to(entry.source(), self.log);
        self.debug(|| bytes!["send_files(", request.index, ", ", list.shown(entry), ")"]);
        if self.transfer.tells_xattrs(request.item.flags) {
            request.asked = Some(Asked::read(self.reader, xattrs(entry), &entry.path())?);
        }
        if !request.item.flags.has(Flags::TRANSFER) {
            return self.pass_on(list, entry, &request);
        }
        if !entry.is_file() {
            let line = bytes!["received request to transfer non-regular file: ", request.index, " [sender]"];
            return Err(Error::new(ExitCode::PROTOCOL, line));
        }
        if phase == 2 {
            return Err(Error::new(ExitCode::PROTOCOL, "got transfer request in phase 2 [sender]"));
        }
        if !self.sent.contains(&request.index) && request.item.flags.has(Flags::IS_NEW) {
            self.tally.created(entry.mode());
        }
        list.count_into(&mut self.tally.stats);
        self.tally.begin(entry.size(), list.segments().place(request.index), list.is_complete());
        if !self.transfer.for_real() {
            self.tell(list, entry, About { bits: request.item.flags.0, ..About::default() }, Whom::User);
            return self.echo(list, entry, &request);
        }
        self.send(list, entry, &request)
    }

    /// An entry whose data does not move: told, counted, passed on to the receiver.
    fn pass_on(&mut self, list: &mut List, entry: Entry<'_>, request: &Request) -> Result<()> {
        let name = request.item.name.as_deref().unwrap_or_default();
        let about = About {
            bits: request.item.flags.0,
            sender: true,
            hard_link: name,
            source: list.source_of(entry),
            ..About::default()
        };
        self.transfer.tell_item(self.log, entry, &about);
        if request.item.flags.has(Flags::IS_NEW) {
            self.tally.created(entry.mode());
        }
        self.echo(list, entry, request)
    }

    fn echo(&mut self, list: &mut List, entry: Entry<'_>, request: &Request) -> Result<()> {
        list.write_index(self.writer, Index::Entry(request.index))?;
        request.item.write(self.writer, self.transfer.protocol.version)?;
        request.asked.as_ref().map_or(Ok(()), |asked| self.answer_xattrs(list, entry, asked))
    }

    /// Sends the values that were asked for as they are now.
    fn answer_xattrs(&mut self, list: &List, entry: Entry<'_>, asked: &Asked) -> Result<()> {
        let (full_name, path) = (|| list.full_name(entry), entry.path());
        let Some((root, place)) = list.walker().sources().of(entry) else { return asked.decline(self.writer) };
        let mut done = Ok(());
        let reached = root.xattrs(&place, |on| {
            let subject = Subject::new(on, &full_name, self.log);
            done = asked.answer(self.writer, xattrs(entry), subject, &path);
            Ok(())
        });
        if reached.is_ok() { done } else { asked.decline(self.writer) }
    }

    fn send(&mut self, list: &mut List, entry: Entry<'_>, request: &Request) -> Result<()> {
        let protocol = &self.transfer.protocol;
        let head = SumHead::read(self.reader, protocol.version, protocol.transfer_sum.len())?;
        let how = self.how(request);
        let sums = match how.append {
            Append::No => Sums::read(self.reader, head, max_alloc(&self.transfer.options))?,
            // The length says all.
            _ => Sums::only_head(head),
        };
        self.debug_sums(&sums);
        let Some(opened) = self.open(list, entry, how.append)? else {
            if protocol.version >= 30 {
                self.writer.message_int(Tag::NoSend, request.index);
            }
            return Ok(());
        };
        self.echo(list, entry, request)?;
        head.write(source::data_way(self.transfer, self.writer)?)?;
        if self.log.debug(Debug::Deltasum) >= 2 {
            self.log.say(LogCode::Info, bytes!["calling match_sums ", list.shown(entry)]);
        }
        let tells_before = self.transfer.tells_before();
        if tells_before {
            self.tell(list, entry, About { bits: request.item.flags.0, ..About::default() }, Whom::User);
        } else if !self.transfer.server() && self.log.info(Info::Name) >= 1 && self.tally.per_file() {
            self.log.say(LogCode::Client, entry.path());
        }
        let moved = self.move_data(opened, entry, &sums, how)?;
        if !tells_before || self.transfer.log_format.is_some() {
            let sum = moved.sum.as_deref();
            let sum = self.transfer.shown_sum(entry, sum);
            let traffic = (request_len(protocol.version) + HEAD + moved.bytes, HEAD + sums.wire_len());
            let whom = self.transfer.hears_of_moved();
            self.tell(list, entry, About { bits: request.item.flags.0, traffic, sum, ..About::default() }, whom);
        }
        if let Some((full_name, error)) = moved.error {
            self.errors |= io_error::GENERAL;
            self.log.syserr(LogCode::ErrorXfer, bytes!["read errors mapping ", full_name], &error);
        }
        self.debug(|| bytes!["sender finished ", list.shown(entry)]);
        self.sent.insert(request.index);
        Ok(())
    }

    /// C: in sender.c receive_sums
    fn debug_sums(&self, Sums { head, weak, .. }: &Sums) {
        if self.log.debug(Debug::Deltasum) < 3 {
            return;
        }
        let line = bytes!["count=", head.count, " n=", head.block_len, " rem=", head.remainder];
        self.log.say(LogCode::Info, line);
        for (block, weak) in (0..).zip(weak) {
            let (len, offset) = (head.len_of(block), head.offset_of(block));
            let line = format!("chunk[{block}] len={len} offset={offset} sum1={weak:08x}");
            self.log.say(LogCode::Info, line);
        }
    }

    fn tell(&self, list: &List, entry: Entry<'_>, about: About<'_>, whom: Whom) {
        self.transfer.tell(self.log, entry, &About { sender: true, source: list.source_of(entry), ..about }, whom);
    }
}

fn xattrs(entry: Entry<'_>) -> &xattr::List {
    entry.xattrs().map_or(&xattr::NONE, |list| list)
}

/// What an entry's answer takes without its data: index and flags, mostly. C: %b of a transfer
fn request_len(version: u8) -> u64 {
    match version {
        ..29 => 4,
        29 => 6,
        _ => 3,
    }
}

/// What a head of sums takes.
const HEAD: u64 = 16;

fn max_alloc(options: &Options) -> u64 {
    if options.max_alloc == 0 { u64::MAX } else { options.max_alloc }
}

/// Deletions as the statistics group them.
pub fn counts(deleted: &DeleteStats) -> Counts {
    Counts {
        total: deleted.total().into(),
        dirs: deleted.dirs.into(),
        links: deleted.symlinks.into(),
        devices: deleted.devices.into(),
        specials: deleted.specials.into(),
    }
}
