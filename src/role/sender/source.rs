//! One file's data on its way out: searched for what the receiver has, sent as it is, or in a local copy handed over.

use std::{fs::File, io, os::fd::OwnedFd};

use super::{List, Request, Sender};
use crate::{
    bytes,
    compress::{Effort, Method},
    delta::search::{Rules, Tokens},
    error::{Error, ExitCode, Result},
    flist::{Entry, io_error},
    fs::window::Window,
    hash::Sum,
    log::LogCode,
    meta::read::device_size,
    options::{Append, Debug},
    proto::{
        item::Basis,
        sums::Sums,
        token::{self, TokenWriter},
    },
    role::{Transfer, check_interrupt, tally::Tally},
    sys::{file, stat::stat_fd},
    transport::pair::SourceFile,
    wire::Writer,
};

/// How much data the reference puts into a frame, more or less.
const FRAME: u64 = 33_000;
/// In a local copy a file up to this size goes by its contents rather than open.
const INLINE: u64 = 32 * 1024;

/// A source file, open.
pub(super) struct Opened {
    file: File,
    size: u64,
    /// For messages.
    full_name: Vec<u8>,
    is_device: bool,
}

/// How a file is looked through.
#[derive(Clone, Copy)]
pub(super) struct Search {
    /// The receiver writes into its basis.
    pub in_place: bool,
    pub append: Append,
}

/// How a file's data went out.
#[derive(Default)]
pub(super) struct Moved {
    /// The whole-file sum, where one was made.
    pub sum: Option<Sum>,
    /// What it took on the wire, without frame headers.
    pub bytes: u64,
    /// A part could not be read: the file's name for messages, and why.
    pub error: Option<(Vec<u8>, io::Error)>,
}

/// Writes what the search finds, and shows how far it is.
struct Outgoing<'t> {
    writer: &'t mut Writer,
    tokens: &'t mut TokenWriter,
    tally: &'t mut Tally,
    offset: u64,
    size: u64,
    /// Where a literal got, to be shown unless a match follows at once: both are one step.
    unshown: Option<u64>,
}

impl Outgoing<'_> {
    fn show(&mut self) {
        if let Some(offset) = self.unshown.take() {
            self.tally.show(offset, self.size);
        }
    }
}

impl Tokens for Outgoing<'_> {
    fn literal(&mut self, data: &[u8]) -> Result<()> {
        check_interrupt()?;
        self.show();
        self.unshown = Some(self.offset + data.len().min(token::MAX_RUN) as u64);
        self.tokens.literal(self.writer, data)?;
        self.offset += data.len() as u64;
        self.tally.stats.literal += data.len() as u64;
        Ok(())
    }

    fn matched(&mut self, block: u32, data: &[u8]) -> Result<()> {
        self.offset += data.len() as u64;
        self.unshown = Some(self.offset);
        self.show();
        self.tally.stats.matched += data.len() as u64;
        self.tokens.matched(self.writer, block, data)
    }
}

/// Where data goes: to the peer, or only into the batch file.
pub(super) fn data_way<'w>(transfer: &Transfer, writer: &'w mut Writer) -> Result<&'w mut Writer> {
    if !transfer.only_records() {
        return Ok(writer);
    }
    writer.copy()?.ok_or_else(|| Error::new(ExitCode::PROTOCOL, "no batch file is open [sender]"))
}

impl Sender<'_> {
    /// Opens an entry's file; what stands in the way is said and counted.
    pub(super) fn open(&mut self, list: &List, entry: Entry<'_>, append: Append) -> Result<Option<Opened>> {
        let full_name = list.full_name(entry);
        let file = match self.open_file(list, entry) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.errors |= io_error::VANISHED;
                self.log.say(LogCode::Warning, bytes!["file has vanished: ", full_name]);
                return Ok(None);
            }
            Err(error) => {
                self.errors |= io_error::GENERAL;
                self.log.syserr(LogCode::ErrorXfer, bytes!["send_files failed to open ", full_name], &error);
                return Ok(None);
            }
        };
        let stat = stat_fd(&file).map_err(|error| {
            self.log.syserr(LogCode::ErrorXfer, "fstat failed", &error);
            Error::silent(ExitCode::FILE_IO)
        })?;
        let mut size = stat.size;
        if stat.is_device() {
            if !self.transfer.options.copy_devices {
                let line = "attempt to copy device contents without --copy-devices";
                return Err(Error::new(ExitCode::PROTOCOL, line));
            }
            if size == 0 {
                size = device_size(&file, &entry.path(), self.log);
            }
        }
        if append != Append::No && size < entry.size() {
            self.log.say(LogCode::Warning, bytes!["skipped diminished file: ", full_name]);
            return Ok(None);
        }
        if self.log.debug(Debug::Deltasum) >= 2 {
            let line = bytes!["send_files mapped ", list.shown(entry), " of size ", size];
            self.log.say(LogCode::Info, line);
        }
        Ok(Some(Opened { file, size, full_name, is_device: stat.is_device() }))
    }

    fn open_file(&self, list: &List, entry: Entry<'_>) -> io::Result<File> {
        let options = &self.transfer.options;
        let gone = || io::Error::from_raw_os_error(libc::ENOENT);
        let (root, path) = list.walker().sources().of(entry).ok_or_else(gone)?;
        let follow = options.copy_links || options.copy_unsafe_links || options.copy_dirlinks || options.insecure_links;
        if follow { root.open_read_follow(&path, 0) } else { root.open_read(&path, 0) }
    }

    /// Sends the file's content, and its sum unless both ends are here. C: match.c match_sums
    pub(super) fn move_data(&mut self, opened: Opened, entry: Entry<'_>, sums: &Sums, how: Search) -> Result<Moved> {
        let size = opened.size;
        let moved = match self.hand_over(opened, sums)? {
            None => Moved::default(),
            Some(opened) => self.search(opened, entry, sums, how)?,
        };
        let named = self.transfer.itemize() > 0 || self.log.info(crate::options::Info::Name) >= 1;
        self.tally.end(&entry.path(), size, named);
        Ok(moved)
    }

    /// How a request wants its file looked through. A file that failed its sum once is no longer appended to, and there
    /// is no second backup of it. C: in sender.c send_files
    pub(super) fn how(&self, request: &Request) -> Search {
        let again = self.sent.contains(&request.index);
        let (options, protocol) = (&self.transfer.options, &self.transfer.protocol);
        let at_place = match protocol.version {
            ..29 => again || !options.backup,
            _ => request.item.basis == Basis::Same,
        };
        let in_partial = protocol.compat.inplace_partial_dir && request.item.basis == Basis::Partial;
        let append = if again { Append::No } else { self.transfer.append };
        Search { in_place: in_partial || options.inplace && at_place, append }
    }

    fn search(&mut self, opened: Opened, entry: Entry<'_>, sums: &Sums, how: Search) -> Result<Moved> {
        let Opened { file, size, full_name, .. } = opened;
        let skipped = self.skipped.as_ref().is_some_and(|suffixes| suffixes.fit(entry.base()));
        self.tokens.begin(size, if skipped { Effort::Least } else { Effort::AsSet })?;
        let rules = Rules::new(&self.transfer.protocol, how.in_place, how.append);
        let mut window = Window::new(file, size, sums.head.block_len as usize);
        let writer = data_way(self.transfer, self.writer)?;
        // What is appended to is passed over, or gone through first where it is verified.
        let front = if how.append == Append::No { 0 } else { sums.head.file_len().min(size) };
        if how.append == Append::Verify && front > 0 {
            self.tally.show(0, size);
        }
        let mut outgoing =
            Outgoing { writer, tokens: &mut self.tokens, tally: &mut self.tally, offset: front, size, unshown: None };
        let sum = self.searcher.search(&mut window, sums, &rules, self.log, &mut outgoing)?;
        outgoing.show();
        let bytes = outgoing.tokens.end(outgoing.writer)? + sum.len() as u64;
        outgoing.writer.bytes(&sum)?;
        let error = window.error().map(|error| match error.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::from(error.kind()),
        });
        Ok(Moved { sum: Some(sum), bytes, error: error.map(|error| (full_name, error)) })
    }

    /// In a local copy the receiver may have the open file instead of its bytes; gives it back where it may not: where
    /// there is something to match, or the user watches or limits the data.
    fn hand_over(&mut self, opened: Opened, sums: &Sums) -> Result<Option<Opened>> {
        let size = opened.size;
        let watched = self.tally.is_watched() || self.log.debug(Debug::Deltasum) >= 2;
        // A line told afterwards may want the sum, or how many bytes went out.
        let measured = self.transfer.measures();
        // The reference compresses here too, and the statistics show it.
        let compressed = self.transfer.protocol.compression.method != Method::None;
        let limited = self.transfer.options.bwlimit != 0;
        let plain = sums.head.count == 0 && !limited && !watched && !measured && !compressed;
        if self.giver.is_none() || !plain || size == 0 || opened.is_device {
            return Ok(Some(opened));
        }
        if size <= INLINE {
            return Ok(if self.send_whole(&opened.file, size)? { None } else { Some(opened) });
        }
        let Some(giver) = &self.giver else { return Ok(Some(opened)) };
        let mut source = SourceFile { file: OwnedFd::from(opened.file), name: opened.full_name };
        while let Err(back) = giver.try_offer(source) {
            source = back;
            self.writer.flush()?;
            match giver.wait_for_room() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    return Err(Error::silent(ExitCode::SIGNAL));
                }
                // The receiver is gone: writing to it will tell.
                Err(_) => {
                    return Ok(Some(Opened {
                        file: File::from(source.file),
                        size,
                        full_name: source.name,
                        is_device: false,
                    }));
                }
            }
        }
        token::write_handed_over(self.writer, size)?;
        // A frame's header now and then would have been on the wire too.
        let headers = |bytes: u64| bytes / FRAME * 4;
        let before = headers(self.handed_over);
        self.handed_over += size;
        let headers = headers(self.handed_over) - before;
        self.count_unsummed(size, size + headers);
        Ok(None)
    }

    /// Reads a small file here, so that the receiver, which has more to do, need not. False, with nothing sent, for one
    /// that cannot be read or has shrunk: that is to be told in the usual way.
    fn send_whole(&mut self, file: &File, size: u64) -> Result<bool> {
        self.small.resize(size as usize, 0);
        if !file::read(file, &mut self.small).is_ok_and(|read| read as u64 == size) {
            return Ok(false);
        }
        token::write_whole(self.writer, &self.small)?;
        self.count_unsummed(size, 0);
        Ok(true)
    }

    /// Counts a file that goes without runs, end and sum: the statistics tell what the wire would have carried.
    /// `absent`: bytes that the stream does not carry at all.
    fn count_unsummed(&mut self, size: u64, absent: u64) {
        self.tally.stats.literal += size;
        self.searcher.count_literal(size);
        let runs = size.div_ceil(token::MAX_RUN as u64);
        let sum = self.transfer.protocol.transfer_sum.len() as u64;
        // Below zero for a byte without a sum.
        self.writer.account((absent + 4 * runs + 4 + sum) as i64 - token::HANDED_OVER_LEN as i64);
    }
}
