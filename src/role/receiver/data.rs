//! One file's data: built beside its place or where it stands, checked, and put in place.

use std::{fs::File, io, mem};

use super::{Work, basis::Opened};
use crate::{
    bytes,
    delta::patch::{Nowhere, Output, Patch, PatchError},
    dest::{
        self, Dest, commit,
        copy::{self, CopyError, Stretch},
        inplace,
        write::{Layout, Writer, preallocate},
    },
    error::{Error, ExitCode, Result},
    flist::Entry,
    fs::window::Source,
    log::LogCode,
    meta::Wanted,
    options::{Debug, Info},
    proto::{
        item::Item,
        sums::SumHead,
        token::{Token, TokenReader},
    },
    role::{About, Transfer, check_interrupt, tally::Tally},
    sys::{self, signal},
    transport::pair::Taker,
    wire::Reader,
};

/// One file on its way in.
struct Incoming<'e> {
    entry: Entry<'e>,
    path: &'e [u8],
    wanted: Wanted<'e>,
    basis: Opened,
    about: About<'e>,
}

/// What became of a file.
enum Ended {
    InPlace,
    /// It could not be put there; this was said.
    Declined,
    /// The whole-file sums differ.
    Unverified,
}

/// The destination file as the patch writes it.
struct Out<'o, 'f>(&'o mut Writer<'f>);

impl Output for Out<'_, '_> {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.0.write(data)
    }

    fn skip(&mut self, data: &[u8]) -> io::Result<()> {
        self.0.skip_matched(data)
    }
}

/// The wire side of one file.
struct Data<'d> {
    transfer: &'d Transfer,
    reader: &'d mut Reader,
    tokens: &'d mut TokenReader,
    tally: &'d mut Tally,
    taker: Option<&'d Taker>,
    size: u64,
    sum: &'d mut Vec<u8>,
    /// Something came that was not here before.
    got_literal: bool,
}

enum Streamed {
    /// Everything came; whether the whole-file sums agree.
    Compared(bool),
    /// Everything is in a file that the sender handed over, this many bytes.
    HandedOver(u64),
    /// This many bytes follow, and are all.
    Whole(u64),
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
        let Some(basis) = self.open_basis(entry, path, item)? else {
            self.discard()?;
            return self.decline(index);
        };
        let rules = &self.transfer.rules;
        let mode = rules.dest_mode(entry.mode(), basis.mode, rules.default_perms());
        let wanted = Wanted { mode, ..dest::wanted(entry) };
        let incoming = Incoming { entry, path, wanted, basis, about };
        let in_place = self.transfer.options.inplace;
        let ended = if in_place { self.in_place(incoming)? } else { self.beside(incoming)? };
        match ended {
            Ended::InPlace => {
                self.finished.push(index);
                Ok(())
            }
            Ended::Declined => self.decline(index),
            Ended::Unverified => {
                // Said of a partial file too, which is kept all the same.
                let kept = if in_place { "retained" } else { "discarded" };
                self.unverified(index, path, kept)
            }
        }
    }

    /// Tells a file before its data moves, where that is the time for it.
    fn tell_before(&self, incoming: &Incoming<'_>) {
        let (transfer, log) = (self.transfer, self.log);
        if transfer.tells_before() {
            transfer.tell(log, incoming.entry, &incoming.about);
        } else if !transfer.server() && log.info(Info::Name) >= 1 && self.tally.per_file() {
            log.say(LogCode::Info, incoming.path);
        }
    }

    fn tell_after(&self, incoming: &Incoming<'_>, before: u64) {
        if !self.transfer.tells_before() {
            let traffic = (0, self.reader.data_taken() - before);
            let sum = self.transfer.shown_sum(incoming.entry, Some(&self.sum));
            let about = About { traffic, sum, ..incoming.about.clone() };
            self.transfer.tell(self.log, incoming.entry, &about);
        }
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
        let mut data = self.data(&incoming);
        let verified = match data.receive(dest, &mut incoming, &mut writer, false) {
            Ok(verified) => verified,
            Err(error) => {
                // What an interrupted transfer brought may be of use, if it brought anything.
                if dest.options.partial && data.got_literal {
                    let _ = writer.flush(); // as much of it as there is room for
                    commit::keep_partial(dest, temp, path, &incoming.wanted);
                }
                return Err(error);
            }
        };
        let got_literal = data.got_literal;
        if let Err(error) = commit::finish_data(dest, path, writer) {
            if dest.options.partial && got_literal {
                commit::keep_partial(dest, temp, path, &incoming.wanted);
            }
            return Err(error);
        }
        self.buffer = buffer;
        self.received(&incoming, before);
        if !verified && !dest.options.partial {
            return Ok(Ended::Unverified);
        }
        let placed = commit::put_in_place(dest, temp, path, &incoming.wanted, verified)?;
        Ok(match (placed, verified) {
            (false, _) => Ended::Declined,
            (true, true) => Ended::InPlace,
            (true, false) => Ended::Unverified,
        })
    }

    /// Writes into the file that stands at the destination, or a new one there.
    fn in_place(&mut self, mut incoming: Incoming<'_>) -> Result<Ended> {
        let (dest, path) = (self.dest, incoming.path);
        let Some(file) = inplace::open(dest, path) else {
            self.discard()?;
            return Ok(Ended::Declined);
        };
        self.tell_before(&incoming);
        // Of the file that is written to: a basis that cannot be read is none, but has its bytes.
        let old_size = sys::stat::stat_fd(&file).map_or(0, |stat| stat.size);
        // A sparse file is best begun without any data; but then there is nothing to match.
        let emptied = dest.options.sparse && self.transfer.whole_file && sys::file::truncate(&file, 0).is_ok();
        let allocated = reserve(dest, &file, &incoming, Some(if emptied { 0 } else { old_size }));
        let layout = Layout { sparse: dest.options.sparse, in_place: true, allocated, device: false };
        let mut buffer = mem::take(&mut self.buffer);
        let mut writer = Writer::new(&file, layout, &mut buffer);
        let before = self.reader.data_taken();
        let verified = match self.data(&incoming).receive(dest, &mut incoming, &mut writer, true) {
            Ok(verified) => verified,
            Err(error) => {
                let _ = writer.flush(); // what came stays; the run ends with the error at hand
                return Err(error);
            }
        };
        commit::finish_data(dest, path, writer)?;
        self.buffer = buffer;
        self.received(&incoming, before);
        commit::finish_in_place(dest, file, path, &incoming.wanted, verified)?;
        Ok(if verified { Ended::InPlace } else { Ended::Unverified })
    }

    /// A file's data is through: its last line of progress, and its own if that was left to the end.
    fn received(&mut self, incoming: &Incoming<'_>, before: u64) {
        let named = self.transfer.itemize() > 0 || self.log.info(Info::Name) >= 1;
        self.tally.end(incoming.path, incoming.wanted.size, named);
        self.tell_after(incoming, before);
    }

    /// Takes a file's data off the wire where it has nowhere to go. C: receiver.c discard_receive_data
    fn discard(&mut self) -> Result<()> {
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

impl Data<'_> {
    fn head(&mut self) -> Result<SumHead> {
        let protocol = &self.transfer.protocol;
        SumHead::read(self.reader, protocol.version, protocol.transfer_sum.len())
    }

    /// Receives into `writer`; whether it is what the sender has. C: receiver.c receive_data
    fn receive(
        &mut self,
        dest: Dest<'_>,
        incoming: &mut Incoming<'_>,
        writer: &mut Writer<'_>,
        in_place: bool,
    ) -> Result<bool> {
        let head = self.head()?;
        let basis = incoming.basis.file.take();
        let name = incoming.basis.name.as_deref();
        if let Some((_, size)) = &basis
            && dest.log.debug(Debug::Deltasum) >= 2
        {
            let line = bytes!["recv mapped ", name.unwrap_or(incoming.path), " of size ", *size];
            dest.log.say(LogCode::Info, line);
        }
        // Only what is its own basis can be left where it lies.
        let in_place = in_place && name.is_none();
        let mut out = Out(writer);
        let patch = Patch::new(&self.transfer.protocol, head, basis, &mut out, in_place);
        match self.stream(dest, incoming.path, patch)? {
            Streamed::Compared(same) => Ok(same),
            Streamed::HandedOver(len) => self.copy(dest, incoming.path, writer, len),
            Streamed::Whole(len) => self.whole(dest, incoming.path, writer, len),
        }
    }

    /// Applies tokens up to the end and compares the sums.
    fn stream<S: Source, O: Output>(
        &mut self,
        dest: Dest<'_>,
        path: &[u8],
        mut patch: Patch<'_, S, O>,
    ) -> Result<Streamed> {
        let watched = dest.log.debug(Debug::Deltasum) >= 3;
        loop {
            check_interrupt()?;
            let begins = self.tokens.left() == 0;
            let token = self.tokens.next(self.reader)?;
            if watched {
                let line = match &token {
                    Token::Literal(data) if begins => {
                        let run = data.len() + self.tokens.left() as usize;
                        Some(format!("data recv {run} at {}", patch.position()))
                    }
                    Token::Match(block) => patch.describe(*block),
                    _ => None,
                };
                line.into_iter().for_each(|line| dest.log.say(LogCode::Info, line));
            }
            if !matches!(token, Token::End) {
                self.tally.show(patch.position(), self.size);
            }
            let applied = match token {
                Token::Literal(data) => {
                    self.got_literal = true;
                    patch.literal(data)
                }
                Token::Match(block) => patch.copy(block).map(drop),
                Token::End => break,
                Token::HandedOver(len) => return Ok(Streamed::HandedOver(len)),
                Token::Whole(len) => return Ok(Streamed::Whole(len)),
            };
            applied.map_err(|error| refusal(dest, path, error))?;
        }
        let patched = patch.finish();
        self.tally.stats.literal += patched.literal;
        self.tally.stats.matched += patched.matched;
        let mut theirs = [0; 64];
        let theirs = theirs.get_mut(..patched.sum.len()).unwrap_or_default();
        self.reader.exact(theirs)?;
        self.sum.clear();
        self.sum.extend_from_slice(theirs);
        if dest.log.debug(Debug::Deltasum) >= 2 {
            dest.log.say(LogCode::Info, "got file_sum");
        }
        Ok(Streamed::Compared(*theirs == *patched.sum))
    }

    /// Takes the contents off the stream as they are.
    fn whole(&mut self, dest: Dest<'_>, path: &[u8], writer: &mut Writer<'_>, len: u64) -> Result<bool> {
        self.got_literal = true;
        let mut left = len;
        while left > 0 {
            let data = self.reader.take(usize::try_from(left).unwrap_or(usize::MAX))?;
            writer.write(data).map_err(|error| dest.write_failed(path, &error))?;
            left -= data.len() as u64;
        }
        self.tally.stats.literal += len;
        Ok(true)
    }

    /// Copies from the open file that the sender handed over; whether all of it could be read.
    fn copy(&mut self, dest: Dest<'_>, path: &[u8], writer: &mut Writer<'_>, len: u64) -> Result<bool> {
        let Some((taker, source)) = self.taker.and_then(|taker| Some((taker, taker.take_next()?))) else {
            return Err(Error::new(ExitCode::PROTOCOL, "no file was handed over [receiver]"));
        };
        self.got_literal = true;
        let file = File::from(source.file);
        let mut going_on = |_| signal::received().is_none();
        let failure = match copy::copy(Stretch { file: &file, start: 0, len }, writer, &mut going_on) {
            Ok(copied) => {
                self.tally.stats.literal += copied;
                (copied < len).then(|| io::Error::from_raw_os_error(libc::ENODATA))
            }
            Err(CopyError::Read(error)) => Some(error),
            Err(CopyError::Write(error)) => return Err(dest.write_failed(path, &error)),
            Err(CopyError::Stopped) => return Err(Error::silent(ExitCode::SIGNAL)),
        };
        if let Some(error) = &failure {
            taker.unreadable(&source.name, error);
        }
        Ok(failure.is_none())
    }
}

/// What a peer's token, or writing what it brought, comes to where it cannot be.
#[track_caller]
fn refusal(dest: Dest<'_>, path: &[u8], error: PatchError) -> Error {
    match error {
        PatchError::NoSuchBlock { block, count } => {
            let line = bytes!["Invalid block index ", block, " (count=", count, ") [receiver]"];
            Error::new(ExitCode::PROTOCOL, line)
        }
        PatchError::NoBasis => {
            let line = bytes!["got a block match with no basis file for ", dest.names.full(path), " [receiver]"];
            Error::new(ExitCode::PROTOCOL, line)
        }
        PatchError::Write(error) => dest.write_failed(path, &error),
    }
}
