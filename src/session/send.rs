//! The sending side of a session: filters, the list, the files, the goodbye.

use std::{mem, sync::Mutex, time::Instant};

use super::{Link, Shelf, copy_as};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    flist::{
        build::Walker,
        codec::Encoder,
        listed::{self, Names},
    },
    log::{Log, LogCode, Progress},
    options::{
        Debug, Dirs, Info,
        charset::{Charset, Text},
        replay,
    },
    proto::{
        batch,
        ndx::{Index, Indexes},
        stats::{DeleteStats, FinalStats},
    },
    report::summary::Stats,
    role::sender::{Arrivals, List, Sender, counts, remove},
    text::{mode::Chmod, path::confined},
    transport::batch::Tape,
    wire::Reader,
};

/// C: main.c do_server_sender, the sending half of client_run
pub(super) fn run(link: &mut Link<'_>) -> Result<Stats> {
    let side = link.start.side;
    let version = link.transfer.protocol.version;
    if side.server && link.log.debug(Debug::Send) >= 1 {
        link.log.say(LogCode::Info, bytes!["server_sender starting pid=", std::process::id()]);
    }
    exchange_filters(link)?;
    copy_as::switch(link)?;
    if matches!(link.start.names, Names::FromPeer) {
        link.writer.flush()?; // names come only after our rules
    }
    let mut list = send_list(link)?;
    if list.is_empty() && side.server {
        link.writer.flush()?;
        return Ok(Stats::default());
    }
    link.writer.flush()?;
    let shelf = std::mem::replace(&mut link.start.shelf, Shelf::None);
    let giver = if let Shelf::Giver(giver) = shelf { Some(giver) } else { None };
    let mut incoming = Indexes::new(version);
    let arrived = link.arrived.as_ref();
    let sender =
        Sender::new(&link.transfer, &link.log, &mut link.reader, &mut link.writer, &mut incoming, giver, arrived);
    let (mut stats, errors) = sender.run(&mut list)?;
    link.heard.add_io_error(list.io_error() | errors);
    link.writer.flush()?;
    (stats.sent, stats.received) = (link.writer.total(), link.reader.total());
    super::tell_heap(&link.log, side.server);
    let last = FinalStats {
        read: stats.received,
        written: stats.sent,
        total_size: stats.total_size,
        list_build_time: stats.list_build,
        list_send_time: stats.list_transfer,
    };
    if side.server {
        last.write(&mut link.writer, version)?;
    } else if let Some(copy) = link.writer.copy()? {
        last.write(copy, version)?; // who reads the batch is a client
    }
    goodbye(link, &mut incoming, &list, &mut stats)?;
    link.writer.flush()?;
    Ok(stats)
}

/// Settles who has which rules. What the sender says from then on goes into a batch file, if one is written.
pub(super) fn exchange_filters(link: &mut Link<'_>) -> Result<()> {
    let Link { start, transfer, reader, writer, log, filters, tape, .. } = link;
    let (side, protocol, options) = (start.side, &transfer.protocol, &transfer.options);
    filters.take_side(side, protocol, options, log)?;
    if let Tape::Record(recording) = tape {
        let script = replay::script(&recording.words, options, &filters.lines()?, protocol.version);
        recording.write_script(&script)?;
    }
    filters.exchange(side, protocol, options, reader, writer, log)?;
    if let Some(policy) = transfer.rules.xattrs.as_mut().filter(|_| filters.has_xattr()) {
        let rules = Mutex::new(filters.clone());
        policy.leave_out(move |name, log| rules.lock().is_ok_and(|rules| rules.excludes_xattr(name, log)));
    }
    let Tape::Record(mut recording) = mem::take(tape) else { return Ok(()) };
    batch::begin(&mut recording.stream, protocol)?;
    if side.sends {
        writer.copy_to(recording.stream);
        Ok(())
    } else {
        reader.copy_to(recording.stream)
    }
}

/// What a long list says while it is made, where it is not incremental. C: flist.c start_filelist_progress
pub(super) struct ListProgress {
    log: Option<Log>,
    counts: bool,
}

impl ListProgress {
    /// `doing`: `building` or `receiving`; `incremental` as `sending` or `receiving`.
    pub fn start(link: &Link<'_>, doing: &str, incremental: &str) -> Self {
        let (log, options) = (&link.log, &link.transfer.options);
        let told = log.info(Info::Flist) >= 1 && !link.start.side.server;
        let mut shown = None;
        if told && link.transfer.protocol.compat.inc_recurse {
            log.say(LogCode::Client, bytes![incremental, " incremental file list"]);
        } else if told && options.dirs != Dirs::Skip {
            log.progress(Progress::ListStart, &bytes![doing, " file list ... "]);
            shown = Some(log.clone());
        }
        log.say(LogCode::Log, bytes![doing, " file list"]);
        Self { log: shown, counts: log.info(Info::Flist) >= 2 }
    }

    /// Tells every hundredth name.
    pub fn count(&self, names: usize) {
        if let Some(log) = self.log.as_ref().filter(|_| self.counts && names.is_multiple_of(100)) {
            log.progress(Progress::ListCount, &bytes![" ", names, " files...\r"]);
        }
    }

    pub fn end(&self, names: usize) {
        let Some(log) = &self.log else { return };
        let line = match (self.counts, names) {
            (false, _) => bytes!["done\n"],
            (true, 1) => bytes!["1 file to consider\n"],
            (true, names) => bytes![names, " files to consider\n"],
        };
        log.record(LogCode::Info, &line);
        log.progress(Progress::Done, &line);
    }
}

/// The next name of a list that takes the arguments' place.
fn next_name(names: &mut Names, reader: &mut Reader, from_wire: Option<&mut Text>) -> Result<Option<Vec<u8>>> {
    match names {
        Names::Arguments => Ok(None),
        Names::Listed(list) => list.next(reader.role()),
        Names::FromPeer => listed::from_peer(reader, from_wire),
    }
}

/// Makes and sends the first list, or the whole of it. C: flist.c send_file_list
fn send_list(link: &mut Link<'_>) -> Result<List> {
    let progress = ListProgress::start(link, "building", "sending");
    let begun = Instant::now();
    let (options, protocol) = (&link.transfer.options, &link.transfer.protocol);
    let chmod = options.chmod.as_deref().and_then(|text| Chmod::parse(text, link.transfer.rules.umask));
    let paths = std::mem::take(&mut link.start.paths);
    let listed = !matches!(link.start.names, Names::Arguments);
    let args = if listed { Vec::new() } else { paths.clone() };
    let mut walker = Walker::new(options, protocol, chmod, args, link.filters.clone(), &link.log)?;
    if let Some(base) = paths.first().filter(|_| listed) {
        walker.start_from(base)?;
    }
    let encoder = Encoder::new(options, protocol, &link.log)?;
    let mut list = List::new(walker, encoder, protocol, &link.log);
    let (reader, relative) = (&mut link.reader, options.relative);
    let paused =
        (matches!(link.start.names, Names::FromPeer) && protocol.version < 31).then(|| reader.pause_multiplex());
    let mut from_wire = Charset::of_names(options).map(|charset| charset.from_wire()).transpose()?;
    let names = || {
        let name = next_name(&mut link.start.names, reader, from_wire.as_mut())?;
        Ok(name.map(|name| confined(&name, relative)))
    };
    list.send_first(&mut link.writer, begun, names, |names| progress.count(names))?;
    if let Some(paused) = paused {
        link.reader.resume(paused);
    }
    progress.end(list.total());
    list.send_second(&mut link.writer)?;
    if !link.start.side.server && link.log.debug(Debug::Flist) >= 3 {
        link.log.say(LogCode::Info, "file list sent");
    }
    Ok(list)
}

/// C: main.c read_final_goodbye
fn goodbye(link: &mut Link<'_>, incoming: &mut Indexes, list: &List, stats: &mut Stats) -> Result<()> {
    let mut outgoing = list.outgoing();
    let version = link.transfer.protocol.version;
    link.writer.flush()?;
    let mut last = next_word(link, incoming, &mut outgoing, list, stats)?;
    if version >= 31 && last == Index::Done {
        outgoing.write(&mut link.writer, Index::Done)?;
        link.writer.flush()?;
        last = next_word(link, incoming, &mut outgoing, list, stats)?;
    }
    if last == Index::Done {
        return Ok(());
    }
    let line = bytes!["Invalid packet at end of run (", last.number(), ") [sender]"];
    Err(Error::new(ExitCode::PROTOCOL, line))
}

/// The next index that is not about deletions, whose counts a server hands back to its client.
fn next_word(
    link: &mut Link<'_>,
    incoming: &mut Indexes,
    outgoing: &mut Indexes,
    list: &List,
    stats: &mut Stats,
) -> Result<Index> {
    loop {
        let word = incoming.read(&mut link.reader)?;
        while let Some(arrived) = link.arrived.as_ref().and_then(Arrivals::next) {
            remove(&arrived, list, &link.transfer.options, &link.log)?;
        }
        match word {
            Index::DeleteStats => {
                let deleted = DeleteStats::read(&mut link.reader)?;
                stats.deleted = counts(&deleted);
                if link.start.side.server {
                    outgoing.write(&mut link.writer, Index::DeleteStats)?;
                    deleted.write(&mut link.writer)?;
                    link.writer.flush()?;
                }
            }
            word => return Ok(word),
        }
    }
}
