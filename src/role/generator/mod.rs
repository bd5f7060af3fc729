//! The generator: walks the received list, brings everything but file data into shape, and asks for the data.
//!
//! It owns the write half, so it alone speaks to the sender. What the receiver learns comes in as `Feedback`; the two
//! never wait for each other except here, where the generator has nothing left to ask for.

mod alternatives;
mod basis;
mod decide;
mod dirs;
mod fuzzy;
mod groups;
mod hard_links;
mod prune;
mod spare;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use crate::{
    bytes,
    dest::{
        Dest, alternatives::Alternatives, defaults::DefaultPerms, delete::Room, duplicate, places::Places,
        target::Target,
    },
    error::{Error, ExitCode, Result},
    filter::Filters,
    flist::{Entry, FileList, Segment},
    fs::{Follow, Root},
    log::{Log, LogCode, Speaker},
    meta::Names,
    options::{Debug, Info},
    proto::ndx::{Index, Indexes},
    role::{Feedback, Pass, Transfer, check_going_on, wishes::Wishes},
    sys::stat::Stat,
    wire::Writer,
};

/// How long requests may lie in the buffer while the walk goes on.
const BREATH: Duration = Duration::from_millis(50);
/// ... where lines about deletions go the same way, which shall come in their usual order.
const LONG_BREATH: Duration = Duration::from_secs(1);
/// After as many entries, with the whole list here, requests go. C: loopchk_limit
const STRIDE: i32 = 200;

/// With hard links, so many entries are waited for before the walk goes on. C: MIN_FILECNT_LOOKAHEAD/2
const LINKS_AHEAD: usize = 500;

/// How far a segment is while its files are under way.
#[derive(Debug, Default)]
struct Progress {
    /// Requested, neither finished nor declined yet.
    under_way: usize,
    /// Waiting in the redo queue.
    to_redo: usize,
    /// The segment's own directory was not, or could not be, created.
    parent_missing: bool,
    /// What the sender could not read by the time of this segment: from here on it counts.
    io_error: i32,
}

/// What a generator starts from.
pub struct Given {
    pub target: Target,
    pub alternatives: Alternatives,
    pub filters: Filters,
    /// What the sender could not read of the list that is there already.
    pub io_error: i32,
    /// Where the sender is a batch file.
    pub wishes: Option<Wishes>,
}

pub struct Generator<'a> {
    transfer: &'a Transfer,
    log: Log,
    writer: &'a mut Writer,
    outgoing: Indexes,
    feedback: mpsc::Receiver<Feedback>,
    list: FileList,
    progress: VecDeque<Progress>,
    /// Position in `list` of the segment being walked; past the end when all were.
    current: usize,
    list_end: bool,
    phases_done: u32,
    receiver_gone: bool,
    redo: VecDeque<i32>,
    /// The sender still takes requests.
    asking: bool,
    /// Where the sender is a batch file: the way of requests.
    wishes: Option<Wishes>,
    /// Hard links, if they are kept.
    groups: Option<groups::Groups>,
    /// Files with further names that came, or (true) will not come.
    links_news: VecDeque<(i32, bool)>,
    /// To be visited once more before anything else.
    again: Vec<i32>,
    root: Root,
    places: Places,
    names: Names,
    alternatives: Alternatives,
    fuzzy: fuzzy::Lists,
    copying: duplicate::Tools,
    default_perms: DefaultPerms,
    /// What a deletion spares; at work in the destination.
    pub filters: Filters,
    /// The only file's name at the destination.
    single: Option<Vec<u8>>,
    /// The destination does not exist, as a dry run did not make it.
    missing: bool,
    /// Items are told: to the sender, or before protocol 29 to our own user.
    itemizing: bool,
    dirs: dirs::Dirs,
    prune: prune::Prune,
    /// What the sender could not read, and what went wrong with deletions (`flist::io_error`).
    io_error: i32,
    /// When requests were last sent off for no other reason than time.
    flushed: Instant,
    /// They go when the walk has come to this index.
    next_flush: i32,
}

impl<'a> Generator<'a> {
    pub fn new(
        transfer: &'a Transfer,
        log: Log,
        writer: &'a mut Writer,
        feedback: mpsc::Receiver<Feedback>,
        given: Given,
    ) -> Result<Self> {
        let Given { target, alternatives, mut filters, io_error, wishes } = given;
        let options = &transfer.options;
        let incremental = transfer.protocol.compat.inc_recurse;
        let missing = target.root.is_none();
        let root = match target.root {
            Some(root) => root,
            // A dry run that would have made it: nothing there is looked at.
            None => Root::open(b".", Follow::Never).map_err(|error| {
                log.syserr(LogCode::Error, "open .", &error);
                Error::silent(ExitCode::FILE_SELECT)
            })?,
        };
        filters.start_at(&target.names.base);
        let dest = Dest {
            root: &root,
            names: &target.names,
            rules: &transfer.rules,
            options: &transfer.options,
            places: &target.places,
            log: &log,
        };
        let prune = prune::Prune::new(transfer, dest, target.device);
        Ok(Self {
            transfer,
            filters,
            default_perms: DefaultPerms::default(),
            outgoing: Indexes::new(transfer.protocol.version),
            feedback,
            list: FileList::new(),
            progress: VecDeque::new(),
            current: 0,
            list_end: !incremental,
            phases_done: 0,
            receiver_gone: false,
            redo: VecDeque::new(),
            asking: true,
            wishes,
            groups: (options.hard_links > 0 && !options.list_only).then(|| groups::Groups::new(incremental, &log)),
            links_news: VecDeque::new(),
            again: Vec::new(),
            itemizing: transfer.protocol.version >= 29 || !transfer.server() && transfer.itemize() > 0,
            dirs: dirs::Dirs::new(transfer, target.created, target.single.is_some()),
            root,
            places: target.places,
            names: target.names,
            alternatives,
            fuzzy: fuzzy::Lists::default(),
            copying: duplicate::Tools::default(),
            single: target.single,
            missing,
            prune,
            io_error,
            flushed: Instant::now(),
            next_flush: 0,
            writer,
            log,
        })
    }

    /// Runs all phases up to, and without, the goodbye; returns the sender's error bits. C: generator.c generate_files
    pub fn run(mut self, initial: Vec<Arc<Segment>>, complete: bool) -> Result<i32> {
        self.list_end |= complete;
        self.debug(|| bytes!["generator starting pid=", std::process::id()]);
        initial.into_iter().try_for_each(|segment| self.add_segment(segment, 0))?;
        self.prune_before().map_err(|error| self.told_before(error))?;
        if self.log.debug(Debug::Flist) >= 1 {
            let how = if self.transfer.whole_file { "disabled for local transfer or --whole-file" } else { "enabled" };
            self.log.say(LogCode::Info, bytes!["delta-transmission ", how]);
        }
        self.walk().and_then(|()| self.phases()).map_err(|error| self.told_before(error))?;
        self.debug(|| bytes!["generate_files finished"]);
        Ok(self.io_error)
    }

    fn debug(&self, line: impl FnOnce() -> Vec<u8>) {
        if self.log.debug(Debug::Genr) >= 1 {
            self.log.say(LogCode::Info, line());
        }
    }

    fn incremental(&self) -> bool {
        self.transfer.protocol.compat.inc_recurse
    }

    fn add_segment(&mut self, segment: Arc<Segment>, io_error: i32) -> Result<()> {
        self.list.push(Arc::clone(&segment));
        self.progress.push_back(Progress { io_error, ..Progress::default() });
        self.groups.as_mut().map_or(Ok(()), |groups| groups.add(&self.list, &segment))
    }

    /// Visits every entry once, segment by segment, as they arrive.
    fn walk(&mut self) -> Result<()> {
        while let Some(segment) = self.list.segment(self.current).map(Arc::clone) {
            // A name that leads should be the last of its group, as far as can be known. What the sender could not read of
            // all that counts at once.
            while self.groups.is_some() && !self.list_end && self.list.total() < LINKS_AHEAD {
                self.wait()?;
            }
            if self.groups.is_some() {
                self.io_error |= self.progress.iter().fold(0, |bits, progress| bits | progress.io_error);
            }
            self.walk_segment(&segment)?;
            if !self.incremental() {
                self.groups.iter_mut().for_each(groups::Groups::end_of_walk);
                return self.outgoing.write(self.writer, Index::Done);
            }
            loop {
                self.settle(true)?;
                if self.current + 1 < self.list.segment_count() || self.list_end {
                    break;
                }
                self.wait()?;
            }
            self.current += 1;
        }
        Ok(())
    }

    fn walk_segment(&mut self, segment: &Segment) -> Result<()> {
        self.io_error |= self.progress.get(self.current).map_or(0, |progress| progress.io_error);
        if let Some(parent) = segment.parent_entry() {
            let missing = self.visit_parent(parent, segment.first_index - 1)?;
            if let Some(progress) = self.progress.get_mut(self.current) {
                progress.parent_missing = missing;
            }
        }
        for (index, entry) in segment.entries().filter(|(_, entry)| entry.is_active()) {
            check_going_on(&self.log)?;
            self.visit(entry, index, Pass::First)?;
            self.settle(false)?;
            self.breathe(index)?;
        }
        Ok(())
    }

    /// Lets requests go now and then while there is no need to wait, so that the sender has work and knows we live.
    fn breathe(&mut self, index: i32) -> Result<()> {
        let breath = if self.prune.visits() { LONG_BREATH } else { BREATH };
        if self.list_end && index >= self.next_flush {
            self.next_flush += STRIDE;
        } else if self.flushed.elapsed() < breath {
            return Ok(());
        }
        self.flushed = Instant::now();
        self.writer.flush()?;
        self.writer.keepalive()
    }

    /// Takes in what the receiver had to say, works off the redo queue and lets go of finished segments.
    /// C: generator.c check_for_finished_files
    fn settle(&mut self, redo: bool) -> Result<()> {
        self.visit_again()?;
        while let Ok(news) = self.feedback.try_recv() {
            self.take(news)?;
        }
        loop {
            if let Some((index, failed)) = self.links_news.pop_front() {
                self.link_came(index, failed)?;
                self.visit_again()?;
                continue;
            }
            if redo && let Some(index) = self.redo.pop_front() {
                self.redo_one(index)?;
                continue;
            }
            match self.progress.front() {
                Some(first) if self.current > 0 && self.incremental() && first.under_way + first.to_redo == 0 => {
                    self.finish_first_segment()?;
                }
                _ => return Ok(()),
            }
        }
    }

    fn redo_one(&mut self, index: i32) -> Result<()> {
        let at = self.visit_out_of_turn(index, Pass::Redo)?;
        self.link_redone(index)?;
        if let Some(progress) = self.progress.get_mut(at) {
            progress.to_redo = progress.to_redo.saturating_sub(1);
        }
        self.visit_again()
    }

    /// Visits names that shall lead their groups because others cannot.
    fn visit_again(&mut self) -> Result<()> {
        while let Some(index) = self.again.pop() {
            self.visit_out_of_turn(index, Pass::First)?;
        }
        Ok(())
    }

    /// Visits an entry that was visited before, whatever directory is being walked; gives back where its segment is.
    fn visit_out_of_turn(&mut self, index: i32, pass: Pass) -> Result<usize> {
        let (at, segment) = self.locate(index)?;
        let entry = segment.get(index).ok_or_else(|| bad_index(index))?;
        let current = std::mem::replace(&mut self.current, at);
        let place = self.dirs.leave(entry.dir());
        let done = self.visit(entry, index, pass);
        self.dirs.come_back(place);
        self.current = current;
        done.map(|()| at)
    }

    fn finish_first_segment(&mut self) -> Result<()> {
        self.outgoing.write(self.writer, Index::Done)?;
        let missing = self.progress.pop_front().is_some_and(|progress| progress.parent_missing);
        if let Some(groups) = &mut self.groups {
            groups.drop_first();
        }
        if let Some(segment) = self.list.drop_first()
            && let Some(parent) = segment.parent_entry()
        {
            if self.prune.is_delayed() {
                self.postpone(parent, segment.parent, missing)?;
            } else {
                self.touch_up(parent, segment.parent, missing);
            }
        }
        self.current -= 1;
        Ok(())
    }

    /// A receiver that failed woke us up, maybe before we heard all that it said: an index that cannot be came first.
    fn told_before(&mut self, error: Error) -> Error {
        while let Ok(news) = self.feedback.try_recv() {
            if let Err(earlier) = self.take(news)
                && earlier.code == ExitCode::PROTOCOL
            {
                return earlier;
            }
        }
        error
    }

    /// Waits for the receiver's next word, flushing first. C: io.c wait_for_receiver
    fn wait(&mut self) -> Result<()> {
        loop {
            self.writer.flush()?;
            if self.receiver_gone {
                return Err(Error::silent(ExitCode::STREAM_IO)); // its own error is the one to tell
            }
            if let Ok(news) = self.feedback.try_recv() {
                return self.take(news);
            }
            self.wishes.iter_mut().for_each(Wishes::no_more);
            let news = match self.writer.pulse().lull() {
                Some(lull) => self.feedback.recv_timeout(lull),
                None => self.feedback.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match news {
                Ok(news) => return self.take(news),
                Err(RecvTimeoutError::Timeout) => self.writer.keepalive()?,
                Err(RecvTimeoutError::Disconnected) => return Err(Error::silent(ExitCode::STREAM_IO)),
            }
        }
    }

    fn take(&mut self, news: Feedback) -> Result<()> {
        match news {
            Feedback::Segment(segment, io_error) => {
                segment.tell_taken_over(&self.log, &self.transfer.options);
                self.add_segment(segment, io_error)?;
            }
            Feedback::ListEnd => {
                self.list_end = true;
                if self.log.debug(Debug::Flist) >= 3 {
                    self.log.say(LogCode::Info, "[generator] flist_eof=1");
                }
            }
            Feedback::PhaseDone => self.phases_done += 1,
            Feedback::Redo(index) if self.asking => {
                self.heard_of(index);
                self.settled(index)?.to_redo += 1;
                self.redo.push_back(index);
            }
            Feedback::Redo(index) => self.too_late(index)?,
            Feedback::Delayed(index) => self.heard_of(index),
            Feedback::Finished(indexes) => {
                for index in indexes {
                    self.tell_finished(index)?;
                    self.came(index, false)?;
                }
            }
            Feedback::Declined(index) => self.came(index, true)?,
            Feedback::IoError(kinds) => self.io_error |= kinds,
            Feedback::Gone => self.receiver_gone = true,
            Feedback::Line => self.writer.flush()?,
            Feedback::Waits(number) => self.wishes.iter_mut().for_each(|wishes| wishes.asked(number)),
        }
        Ok(())
    }

    /// A file came or (`failed`) will not. Of one with further names its segment is kept until they were seen to.
    fn came(&mut self, index: i32, failed: bool) -> Result<()> {
        self.list.segment_for_peer(index, "got_flist_entry_status", Speaker::Generator)?;
        self.heard_of(index);
        if self.groups.as_ref().is_some_and(|groups| groups.is_member(&self.list, index)) {
            self.links_news.push_back((index, failed));
            return Ok(());
        }
        self.settled(index).map(drop)
    }

    fn heard_of(&mut self, index: i32) {
        self.groups.iter_mut().for_each(|groups| groups.heard_of(index));
    }

    /// A file's sum failed for the first time when no more can be asked for.
    fn too_late(&mut self, index: i32) -> Result<()> {
        let (_, segment) = self.locate(index)?;
        let path = segment.get(index).map(|entry| self.path_of(entry)).unwrap_or_default();
        self.log.say(LogCode::ErrorXfer, bytes!["ERROR: ", path, " failed verification -- too late to try again."]);
        self.came(index, true)
    }

    /// Notes that a requested file is no longer under way. C: io.c got_flist_entry_status
    fn settled(&mut self, index: i32) -> Result<&mut Progress> {
        self.list.segment_for_peer(index, "got_flist_entry_status", Speaker::Generator)?;
        let (at, _) = self.locate(index)?;
        let progress = self.progress.get_mut(at).ok_or_else(|| bad_index(index))?;
        progress.under_way = progress.under_way.saturating_sub(1);
        Ok(progress)
    }

    fn locate(&self, index: i32) -> Result<(usize, Arc<Segment>)> {
        let at = self.list.position_of(index).ok_or_else(|| bad_index(index))?;
        let segment = self.list.segment(at).ok_or_else(|| bad_index(index))?;
        Ok((at, Arc::clone(segment)))
    }

    /// The phases after the walk: redo, then the empty ones of later protocols.
    fn phases(&mut self) -> Result<()> {
        let version = self.transfer.protocol.version;
        self.end_of_visits();
        self.debug(|| bytes!["generate_files phase=1"]);
        self.until_phase(1, true)?;
        self.last_links()?;
        self.debug(|| bytes!["generate_files phase=2"]);
        let (late, delayed) = (self.prune.is_late(), self.transfer.options.delay_updates || self.awaits_links());
        self.outgoing.write(self.writer, Index::Done)?;
        self.asking = false;
        // Where no updates are delayed, nor links, the phase for them may end at once.
        if version >= 29 && !delayed {
            self.outgoing.write(self.writer, Index::Done)?;
        }
        if version >= 31 && !late {
            self.tell_counts()?;
            if !delayed {
                self.outgoing.write(self.writer, Index::Done)?;
            }
        }
        self.until_phase(2, false)?;
        if version >= 29 {
            self.debug(|| bytes!["generate_files phase=3"]);
            if delayed {
                self.outgoing.write(self.writer, Index::Done)?;
                if version >= 31 && !late {
                    self.outgoing.write(self.writer, Index::Done)?;
                }
            }
            self.until_phase(3, false)?;
        }
        self.prune_after()?;
        if version >= 31 {
            if late {
                self.end_of_deletions()?;
            }
            self.until_phase(4, false)?;
        }
        self.touch_up_postponed();
        self.touch_up_all();
        Ok(())
    }

    fn end_of_deletions(&mut self) -> Result<()> {
        self.tell_counts()?;
        self.outgoing.write(self.writer, Index::Done)
    }

    fn until_phase(&mut self, phase: u32, redo: bool) -> Result<()> {
        loop {
            self.settle(redo)?;
            if self.phases_done >= phase {
                return Ok(());
            }
            self.wait()?;
        }
    }

    /// The name under which an entry is kept at the destination.
    fn path_of(&self, entry: Entry<'_>) -> Vec<u8> {
        self.single.clone().unwrap_or_else(|| entry.path())
    }

    fn dest(&self) -> Dest<'_> {
        let transfer = self.transfer;
        Dest {
            root: &self.root,
            names: &self.names,
            rules: &transfer.rules,
            options: &transfer.options,
            places: &self.places,
            log: &self.log,
        }
    }

    /// Removes what stands where something of another type shall stand; false, with a message, if it cannot go.
    fn make_room(&mut self, path: &[u8], stat: &Stat, room: Room) -> Result<bool> {
        self.removing(|remover| remover.make_room(path, stat, room, true))
    }

    fn name_level(&self) -> u8 {
        self.log.info(Info::Name)
    }
}

#[track_caller]
fn bad_index(index: i32) -> Error {
    Error::new(ExitCode::PROTOCOL, bytes!["File-list index ", index, " not in the list [generator]"])
}
