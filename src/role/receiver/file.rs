//! One file: built beside its place, where it stands, or among the partial files; checked, and put in place.

use std::{fs::File, mem, os::fd::AsFd};

use super::{
    Work,
    basis::Opened,
    data::{Build, Data, Streamed},
};
use crate::{
    bytes,
    delta::patch::{Nowhere, Patch},
    dest::{
        self, Dest,
        commit::{self, Finished},
        inplace,
        partial::{self, PartialSpot},
        temp::Temp,
        write::{Layout, Writer, preallocate},
    },
    error::Result,
    flist::Entry,
    log::LogCode,
    meta::{Wanted, apply::How},
    options::{Append, Info},
    proto::item::{Basis, Item},
    role::{About, Feedback, Whom},
    sys::{self, stat::stat_fd, xattr::On},
    transport::pair::Taker,
};

/// One file on its way in.
struct Incoming<'e> {
    entry: Entry<'e>,
    path: &'e [u8],
    wanted: Wanted<'e>,
    opened: Opened,
    /// Where its partial file is, or will be.
    aside: Option<PartialSpot<'e>>,
    about: About<'e>,
    /// It failed its sum once.
    again: bool,
}

impl<'e> Incoming<'e> {
    fn finished(&'e self, verified: bool, keeps_old: bool) -> Finished<'e> {
        Finished { path: self.path, wanted: &self.wanted, times_ok: verified, keeps_old }
    }
}

/// What became of a file.
enum Ended {
    InPlace,
    /// It waits for the end of the transfer.
    Delayed,
    /// It could not be put there; this was said.
    Declined,
    /// The whole-file sums differ; what the user is told of the data.
    Unverified(&'static str),
}

impl Work<'_> {
    /// Receives one file. C: the second half of the loop in receiver.c recv_files
    pub(super) fn file(
        &mut self,
        index: i32,
        entry: Entry<'_>,
        path: &[u8],
        item: &Item,
        about: About<'_>,
    ) -> Result<()> {
        let again = self.redoing.contains(&index);
        let Some(opened) = self.open_basis(entry, path, item, again)? else {
            self.discard()?;
            return self.decline(index);
        };
        if let (Some(list), Some((file, _))) = (entry.xattrs(), &opened.file) {
            list.recall(On::Open(file.as_fd()));
        }
        self.default_perms.enter(self.dest, entry.dir());
        let mode = self.transfer.rules.dest_mode(entry.mode(), opened.mode, self.default_perms.get(self.dest));
        let wanted = Wanted { mode, ..dest::wanted(entry) };
        let about = About { mode: Some(mode), ..about };
        let incoming = Incoming { entry, path, wanted, opened, aside: partial::spot(self.dest, path), about, again };
        match self.build(incoming)? {
            Ended::InPlace => {
                let told = self.transfer.protocol.compat.inc_recurse || self.is_minded(entry);
                self.note_finished(index, told);
                Ok(())
            }
            Ended::Delayed => {
                self.delayed.insert(index);
                if self.transfer.options.hard_links == 0 {
                    return Ok(());
                }
                self.tell_generator(Feedback::Delayed(index))
            }
            Ended::Declined => self.decline(index),
            Ended::Unverified(kept) => self.unverified(index, path, kept),
        }
    }

    /// Gives an entry whose data does not move all its attributes. C: in receiver.c recv_files
    pub(super) fn set_xattrs(&mut self, entry: Entry<'_>, path: &[u8]) {
        match self.dest.stat(path) {
            Ok(stat) => {
                // The generator has set permissions already; without --perms what the sender has is none of our business.
                let mode = if self.transfer.rules.perms { entry.mode() } else { stat.mode };
                let wanted = Wanted { mode, ..dest::wanted(entry) };
                self.dest.set_attrs(path, &wanted, &stat, How { xattrs: true, ..How::default() });
            }
            Err(error) => {
                let what = bytes!["stat ", self.dest.names.full(path), " failed"];
                self.log.syserr(LogCode::ErrorXfer, what, &error);
            }
        }
    }

    /// Puts the delayed updates in place. C: receiver.c handle_delayed_updates
    pub(super) fn release_delayed(&mut self) -> Result<()> {
        for index in mem::take(&mut self.delayed) {
            let (path, told) = match self.list.segments().find_map(|segment| segment.get(index)) {
                Some(entry) => (self.single.clone().unwrap_or_else(|| entry.path()), self.is_minded(entry)),
                None => continue,
            };
            if self.removing(|remover| commit::release(remover, &path))? {
                self.note_finished(index, told);
            } else {
                self.decline(index)?;
            }
        }
        Ok(())
    }

    /// Whether something else waits for this file: its removal at the source, or links to it.
    fn is_minded(&self, entry: Entry<'_>) -> bool {
        self.transfer.options.remove_source_files > 0 || entry.hard_link().is_some()
    }

    fn build(&mut self, incoming: Incoming<'_>) -> Result<Ended> {
        if self.transfer.options.inplace {
            return self.in_place(incoming);
        }
        // The partial file itself is written into if the sender knows of that. C: one_inplace
        let in_partial = self.transfer.protocol.compat.inplace_partial_dir
            && incoming.opened.basis == Basis::Partial
            && incoming.opened.file.is_some();
        if in_partial { self.in_partial(incoming) } else { self.beside(incoming) }
    }

    /// Tells a file before its data moves, where that is the time for it.
    fn tell_before(&self, incoming: &Incoming<'_>) {
        let (transfer, log) = (self.transfer, self.log);
        if transfer.tells_before() {
            transfer.tell(log, incoming.entry, &incoming.about, Whom::User);
        } else if !transfer.server() && log.info(Info::Name) >= 1 && self.tally.per_file() {
            log.say(LogCode::Info, incoming.path);
        }
    }

    fn tell_after(&self, incoming: &Incoming<'_>, before: u64) {
        if self.transfer.tells_before() && self.transfer.log_format.is_none() {
            return;
        }
        let traffic = (0, self.reader.data_taken() - before);
        let sum = self.transfer.shown_sum(incoming.entry, Some(&self.sum));
        let about = About { traffic, sum, ..incoming.about.clone() };
        self.transfer.tell(self.log, incoming.entry, &about, self.transfer.hears_of_moved());
    }

    /// Builds the new file under a temporary name.
    fn beside(&mut self, mut incoming: Incoming<'_>) -> Result<Ended> {
        let (dest, path) = (self.dest, incoming.path);
        let Some(temp) = self.temps.create(dest, path, &incoming.wanted) else {
            self.discard()?;
            return Ok(Ended::Declined);
        };
        self.tell_before(&incoming);
        let allocated = reserve(dest, temp.file(), &incoming, None);
        let layout = Layout { sparse: dest.options.sparse, allocated, ..Layout::default() };
        let mut buffer = mem::take(&mut self.buffer);
        let mut writer = Writer::new(temp.file(), layout, &mut buffer);
        let before = self.reader.data_taken();
        let basis = incoming.opened.file.take();
        let name = incoming.opened.name.take();
        let name = name.as_deref().unwrap_or(path);
        let mut data = self.data(&incoming);
        let build = Build { name, basis, in_place: false, append: Append::No };
        let verified = match data.receive(dest, path, build, &mut writer) {
            Ok(verified) => verified,
            Err(error) => {
                // What an interrupted transfer brought may be of use, if it brought anything.
                if dest.options.partial && data.got_literal {
                    let _ = writer.flush(); // as much of it as there is room for
                    self.removing(|remover| commit::keep_partial(remover, temp, path, &incoming.wanted))?;
                }
                return Err(error);
            }
        };
        let got_literal = data.got_literal;
        if let Err(error) = commit::finish_data(dest, path, writer) {
            if dest.options.partial && got_literal {
                self.removing(|remover| commit::keep_partial(remover, temp, path, &incoming.wanted))?;
            }
            return Err(error);
        }
        self.buffer = buffer;
        self.received(&incoming, before);
        self.settle_beside(&incoming, temp, verified)
    }

    /// A file built under a temporary name goes where it belongs.
    fn settle_beside(&mut self, incoming: &Incoming<'_>, temp: Temp<'_>, verified: bool) -> Result<Ended> {
        let (dest, options) = (self.dest, &self.transfer.options);
        // What failed once and was kept under its name is no second backup.
        let keeps_old = !(incoming.again && options.partial && options.partial_dir.is_none());
        let done = incoming.finished(verified, keeps_old);
        const UNVERIFIED: Ended = Ended::Unverified("discarded"); // said of what is kept, too
        if verified && !options.delay_updates {
            let placed = self.removing(|remover| commit::put_in_place(remover, temp, done))??;
            if let (true, Basis::Partial, Some(aside)) = (placed, incoming.opened.basis, &incoming.aside) {
                aside.remove();
            }
            return Ok(if placed { Ended::InPlace } else { Ended::Declined });
        }
        if !options.partial {
            return Ok(UNVERIFIED);
        }
        let placed = match &incoming.aside {
            Some(aside) => commit::put_aside(dest, temp, aside, done)?,
            None if options.partial_dir.is_none() => {
                self.removing(|remover| commit::put_in_place(remover, temp, done))??
            }
            None => {
                commit::no_partial_dir(dest, done);
                false
            }
        };
        Ok(match (placed, verified) {
            (false, _) => Ended::Declined,
            (true, true) => Ended::Delayed,
            (true, false) => UNVERIFIED,
        })
    }

    /// Writes into the file that stands at the destination, or a new one there.
    fn in_place(&mut self, mut incoming: Incoming<'_>) -> Result<Ended> {
        let (dest, path) = (self.dest, incoming.path);
        let Some(file) = inplace::open(dest, path) else {
            self.discard()?;
            return Ok(Ended::Declined);
        };
        let verified = self.write_into(&file, &mut incoming)?;
        commit::finish_in_place(dest, file, incoming.finished(verified, false))?;
        Ok(if verified { Ended::InPlace } else { Ended::Unverified("retained") })
    }

    /// Writes into the partial file that an earlier transfer left.
    fn in_partial(&mut self, mut incoming: Incoming<'_>) -> Result<Ended> {
        let dest = self.dest;
        let file = incoming.aside.as_ref().and_then(|aside| inplace::open_partial(dest, aside));
        let Some(file) = file else {
            self.discard()?;
            return Ok(Ended::Declined);
        };
        let verified = self.write_into(&file, &mut incoming)?;
        let Some(aside) = &incoming.aside else { return Ok(Ended::Declined) };
        let done = incoming.finished(verified, true);
        if self.transfer.options.delay_updates {
            commit::leave_aside(dest, file, aside, done)?;
            return Ok(if verified { Ended::Delayed } else { Ended::Unverified("discarded") });
        }
        if !verified {
            return Ok(Ended::Unverified("put into partial-dir"));
        }
        let placed = self.removing(|remover| commit::bring_in(remover, file, aside, done))??;
        Ok(if placed { Ended::InPlace } else { Ended::Declined })
    }

    /// Receives into a file that has content already; whether it is what the sender has.
    fn write_into(&mut self, file: &File, incoming: &mut Incoming<'_>) -> Result<bool> {
        let (dest, path) = (self.dest, incoming.path);
        self.tell_before(incoming);
        let is_device = incoming.opened.is_device;
        // Of the file that is written to: a basis that cannot be read is none, but has its bytes.
        let old_size = match &incoming.opened.file {
            Some((_, size)) if is_device => *size,
            _ => stat_fd(file).map_or(0, |stat| stat.size),
        };
        let append = if incoming.again { Append::No } else { self.transfer.append };
        let sparse = dest.options.sparse && !(incoming.again && self.transfer.append != Append::No);
        // A sparse file is best begun without any data; but then there is nothing to match.
        let emptied = sparse && self.transfer.whole_file && sys::file::truncate(file, 0).is_ok();
        let allocated = reserve(dest, file, incoming, Some(if emptied { 0 } else { old_size }));
        let layout = Layout { sparse, in_place: true, allocated, device: is_device };
        let mut buffer = mem::take(&mut self.buffer);
        let mut writer = Writer::new(file, layout, &mut buffer);
        let before = self.reader.data_taken();
        let basis = incoming.opened.file.take();
        // Only what is its own basis, or that's copy, can be left where it lies.
        let in_place = matches!(incoming.opened.basis, Basis::Same | Basis::Backup | Basis::Partial);
        let name = incoming.opened.name.take();
        let build = Build { name: name.as_deref().unwrap_or(path), basis, in_place, append };
        let verified = match self.data(incoming).receive(dest, path, build, &mut writer) {
            Ok(verified) => verified,
            Err(error) => {
                let _ = writer.flush(); // what came stays; the run ends with the error at hand
                return Err(error);
            }
        };
        commit::finish_data(dest, path, writer)?;
        self.buffer = buffer;
        self.received(incoming, before);
        Ok(verified)
    }

    /// A file's data is through: its last line of progress, and its own if that was left to the end.
    fn received(&mut self, incoming: &Incoming<'_>, before: u64) {
        let named = self.transfer.itemize() > 0 || self.log.info(Info::Name) >= 1;
        self.tally.end(incoming.path, incoming.wanted.size, named);
        self.tell_after(incoming, before);
    }

    /// Takes a file's data off the wire where it has nowhere to go. C: receiver.c discard_receive_data
    pub(super) fn discard(&mut self) -> Result<()> {
        let (dest, mut nowhere) = (self.dest, Nowhere);
        let mut data = self.data_of(0);
        let head = data.head()?;
        let patch = Patch::<File, _>::new(&data.transfer.protocol, head, None, &mut nowhere, false).discarding();
        match data.stream(dest, b"", patch)? {
            Streamed::Compared(_) => {}
            Streamed::HandedOver(_) => drop(data.taker.and_then(Taker::take_next)),
            Streamed::Whole(len) => data.reader.skip(len)?,
        }
        Ok(())
    }

    fn data(&mut self, incoming: &Incoming<'_>) -> Data<'_> {
        self.data_of(incoming.wanted.size)
    }

    fn data_of(&mut self, size: u64) -> Data<'_> {
        Data {
            transfer: self.transfer,
            reader: self.reader,
            tokens: &mut self.tokens,
            tally: &mut self.tally,
            taker: self.taker.as_ref(),
            size,
            sum: &mut self.sum,
            got_literal: false,
        }
    }
}

/// `--preallocate`; up to where the file has room or data. `old_size`: of a file updated in place.
fn reserve(dest: Dest<'_>, file: &File, incoming: &Incoming<'_>, old_size: Option<u64>) -> u64 {
    let (size, old) = (incoming.wanted.size, old_size.unwrap_or(0));
    if !dest.options.preallocate || size == 0 || old_size.is_some_and(|old| size <= old) {
        return old;
    }
    preallocate(file, size, dest.options.sparse).unwrap_or_else(|error| {
        let what = bytes!["do_fallocate ", dest.names.full(incoming.path)];
        dest.log.syserr(LogCode::Warning, what, &error);
        old
    })
}
