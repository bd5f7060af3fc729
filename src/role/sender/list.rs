//! The sender's list: made, sent, and kept as long as the receiver may ask for its files.

use std::{sync::Arc, time::Instant};

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    flist::{Entry, FileList, Segment, build::Walker, codec::Encoder},
    log::{Log, LogCode, Speaker},
    options::Debug,
    proto::{
        Protocol,
        ndx::{Index, Indexes},
    },
    report::summary::Stats,
    role::tally::count_list,
    wire::{Tag, Writer},
};

/// C: MIN_FILECNT_LOOKAHEAD
pub const LOOKAHEAD: usize = 1000;
/// As far ahead the list is made while the receiver has nothing to ask. C: MAX_FILECNT_LOOKAHEAD
pub const IDLE_LOOKAHEAD: usize = 10_000;

pub struct List {
    log: Log,
    walker: Walker,
    encoder: Encoder,
    segments: FileList,
    outgoing: Indexes,
    version: u8,
    incremental: bool,
    /// All segments were sent. C: flist_eof
    complete: bool,
    /// Entries in the segments before and up to the one at work. C: file_old_total
    behind: usize,
    build_time: u64,
    send_time: u64,
    size: u64,
}

impl List {
    pub fn new(walker: Walker, encoder: Encoder, protocol: &Protocol, log: &Log) -> Self {
        Self {
            log: log.clone(),
            walker,
            encoder,
            segments: FileList::new(),
            outgoing: Indexes::new(protocol.version),
            version: protocol.version,
            incremental: protocol.compat.inc_recurse,
            complete: !protocol.compat.inc_recurse,
            behind: 0,
            build_time: 0,
            send_time: 0,
            size: 0,
        }
    }

    /// Nothing was listed at all.
    pub fn is_empty(&self) -> bool {
        self.encoder.counts().entries == 0
    }

    /// The index of the last entry sent so far; -1 when all are done.
    pub fn last_index(&self) -> i32 {
        self.segments.last().map_or(-1, |last| last.end_index() - 1)
    }

    /// Entries in play.
    pub fn total(&self) -> usize {
        self.segments.total()
    }

    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Error bits of everything looked at so far.
    pub fn io_error(&self) -> i32 {
        self.walker.io_error()
    }

    /// The outgoing direction's memory of indexes.
    pub fn outgoing(&self) -> Indexes {
        self.outgoing
    }

    pub fn write_index(&mut self, writer: &mut Writer, index: Index) -> Result<()> {
        self.outgoing.write(writer, index)
    }

    /// Makes and sends the segment of the arguments, or the whole list. Further arguments come from `names`; `count`
    /// hears of the entries so far.
    pub fn send_first(
        &mut self,
        writer: &mut Writer,
        begun: Instant,
        names: impl FnMut() -> Result<Option<Vec<u8>>>,
        count: impl Fn(usize),
    ) -> Result<()> {
        let before = written(writer);
        let segment = self.fill(writer, names, count)?;
        self.build_time = millis(begun).max(1);
        let ended = Instant::now();
        self.encoder.end_first(writer, self.walker.io_error())?;
        self.send_time = millis(ended);
        self.size += written(writer) - before;
        self.behind = segment.len();
        self.segments.push(segment);
        Ok(())
    }

    /// What follows the first segment at once: the end, or the one directory that a lone argument names.
    pub fn send_second(&mut self, writer: &mut Writer) -> Result<()> {
        if !self.incremental {
            self.debug_end();
            return Ok(());
        }
        if self.walker.next_dir().is_none() {
            return self.end(writer);
        }
        if self.segments.total() == 1 { self.send_ahead(writer, 1) } else { Ok(()) }
    }

    fn end(&mut self, writer: &mut Writer) -> Result<()> {
        self.complete = true;
        self.debug_end();
        self.outgoing.write(writer, Index::ListEnd)
    }

    fn debug_end(&self) {
        if self.log.debug(Debug::Flist) >= 3 {
            self.log.say(LogCode::Info, "[sender] flist_eof=1");
        }
    }

    /// How many entries were sent beyond the segment at work.
    fn ahead(&self) -> usize {
        self.segments.total().saturating_sub(self.behind)
    }

    /// Sends segments until `at_least` entries are ahead. C: flist.c send_extra_file_list
    pub fn send_ahead(&mut self, writer: &mut Writer, at_least: usize) -> Result<()> {
        while !self.complete && self.ahead() < at_least {
            self.send_next(writer)?;
        }
        Ok(())
    }

    /// Sends one more segment while there is nothing else to do; false when there is enough.
    pub fn send_idle(&mut self, writer: &mut Writer) -> Result<bool> {
        let more = !self.complete && self.ahead() < IDLE_LOOKAHEAD;
        if more {
            self.send_next(writer)?;
        }
        Ok(more)
    }

    fn send_next(&mut self, writer: &mut Writer) -> Result<()> {
        let Some(dir) = self.walker.next_dir() else { return self.end(writer) };
        let (before, errors) = (written(writer), self.walker.io_error());
        self.outgoing.write(writer, Index::Segment(dir))?;
        let segment = self.fill(writer, || Ok(None), |_| {})?;
        self.encoder.end_extra(writer, self.walker.io_error(), errors)?;
        self.size += written(writer) - before;
        self.segments.push(segment);
        if self.walker.next_dir().is_some() {
            return Ok(());
        }
        self.end(writer)?;
        self.walker.leave_all();
        Ok(())
    }

    /// Lists a segment's entries, sending them as they are found.
    fn fill(
        &mut self,
        writer: &mut Writer,
        mut names: impl FnMut() -> Result<Option<Vec<u8>>>,
        count: impl Fn(usize),
    ) -> Result<Arc<Segment>> {
        let mut segment = self.walker.begin();
        let mut sent = 0;
        loop {
            let more = self.walker.step(&mut segment)?;
            self.encoder.entries(writer, &segment, sent)?;
            (sent..segment.len()).for_each(&count); // told before it is added
            sent = segment.len();
            if !more {
                match names()? {
                    Some(name) => self.walker.add(name),
                    None => return self.walker.finish(segment),
                }
            }
        }
    }

    /// The receiver is done with the oldest segment; false when it was the last.
    pub fn drop_first(&mut self) -> bool {
        if let Some(segment) = self.segments.drop_first() {
            self.behind = self.behind.saturating_sub(segment.len());
        }
        if let (0, Some(first)) = (self.behind, self.segments.first()) {
            self.behind = first.len();
        }
        !self.segments.is_empty()
    }

    /// The segment of a peer's index, which becomes the one at work.
    pub fn segment(&mut self, index: i32) -> Result<Arc<Segment>> {
        let segment = Arc::clone(self.segments.segment_for_peer(index, "read_ndx_and_attrs", Speaker::Sender)?);
        self.segments.set_current(&segment);
        if self.incremental {
            let up_to = self.segments.segments().take_while(|other| other.first_index <= segment.first_index);
            self.behind = up_to.map(|segment| segment.len()).sum();
        }
        Ok(segment)
    }

    /// The segments in play.
    pub fn segments(&self) -> &FileList {
        &self.segments
    }

    /// Whose sources entries are opened by.
    pub fn walker(&self) -> &Walker {
        &self.walker
    }

    /// The source argument's directory that an entry came from, if it is not where we were started.
    pub fn source_of(&self, entry: Entry<'_>) -> Option<&[u8]> {
        self.walker.sources().get(entry.source())?.dir.as_deref()
    }

    /// `source/path`, as debug lines show an entry.
    pub fn shown(&self, entry: Entry<'_>) -> Vec<u8> {
        match self.source_of(entry) {
            Some(source) => bytes![source, "/", entry.path()],
            None => entry.path(),
        }
    }

    /// In quotes and from the root, as error lines show an entry.
    pub fn full_name(&self, entry: Entry<'_>) -> Vec<u8> {
        let source = self.walker.sources().get(entry.source());
        source.map_or_else(|| entry.path(), |source| source.full_name(&entry.path()))
    }

    /// What the list contributes to the statistics.
    pub fn count_into(&self, stats: &mut Stats) {
        count_list(stats, &self.encoder.counts());
        stats.list_size = self.size;
        (stats.list_build, stats.list_transfer) = (self.build_time, self.send_time);
    }

    /// Tells the receiver of errors that came up after the lists. C: at the end of sender.c send_files
    pub fn tell_errors(&self, writer: &mut Writer, errors: i32) {
        if errors != 0 && self.version >= 30 {
            writer.message_int(Tag::IoError, errors);
        }
    }
}

/// An entry of a segment by index, still taking part.
pub fn active(segment: &Segment, index: i32) -> Result<Entry<'_>> {
    segment.get(index).filter(|entry| entry.is_active()).ok_or_else(|| {
        Error::new(ExitCode::PROTOCOL, format!("rsync: refusing transfer of cleared file index {index}"))
    })
}

fn written(writer: &Writer) -> u64 {
    writer.total()
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
