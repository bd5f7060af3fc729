//! The three roles of a transfer: sender, generator, receiver; and what they share.

pub mod generator;
pub mod news;
pub mod receiver;
pub mod sender;
pub mod tally;
pub mod wishes;

use std::{borrow::Cow, cell::RefCell, sync::Arc};

use crate::{
    dest::{
        Dest,
        children::{Counter, Lister},
        delete::Removals,
    },
    error::{Error, ExitCode, Result},
    flist::{Entry, Segment, order::Order},
    hash::Algorithm,
    log::{Log, LogCode},
    meta::Rules,
    options::{
        Append, Dirs, Info, Options,
        charset::{Charset, Text},
    },
    proto::{Protocol, Side, handshake, item::Flags},
    report::{
        format::{Context, OutFormat, Subject, deletion_line},
        item::Run,
    },
    sys::{clock, signal, users},
};

/// What every role of one session knows: made after the handshake, never changed again.
pub struct Transfer {
    pub options: Options,
    pub protocol: Protocol,
    /// Both ends are in this process.
    pub local: bool,
    /// Files travel whole, without looking for what the destination already has.
    pub whole_file: bool,
    /// What is there stays, and the rest is added to it.
    pub append: Append,
    pub rules: Rules,
    /// The receiving side sets the times of symlinks. C: receiver_symlink_times
    pub link_times: bool,
    /// How items are told; `None`: they are not.
    pub format: Option<OutFormat>,
    /// How they are told in the log file, if there is one.
    pub log_format: Option<OutFormat>,
}

impl Transfer {
    pub fn new(options: &Options, protocol: Protocol, side: Side, umask: u32) -> Self {
        let local = side.local;
        let append = match options.append {
            // Before protocol 30 what is there always belongs to the sum.
            Append::Trust if protocol.version < 30 => Append::Verify,
            append => append,
        };
        Self {
            link_times: handshake::receiver_sets_symlink_times(&protocol, side, options),
            rules: Rules::new(options, protocol.list_sum, umask),
            format: OutFormat::of(options),
            log_format: OutFormat::of_log_file(options),
            whole_file: append == Append::No && options.whole_file.unwrap_or(local && options.batch.is_none()),
            append,
            options: options.clone(),
            protocol,
            local,
        }
    }

    pub fn server(&self) -> bool {
        self.options.is_server()
    }

    /// Nothing removed yet; `filesystem`: the device that the destination stands on.
    pub fn removals(&self, dest: Dest<'_>, filesystem: u64) -> Removals {
        let logs_modes = self.log_format.as_ref().is_some_and(OutFormat::shows_modes);
        let tells_modes = logs_modes || !self.server() && self.format.is_some();
        let order = Order::of(self.protocol.version);
        let mut lister = Lister::new(dest, order, users::effective_uid(), filesystem, tells_modes);
        lister.nsec = self.protocol.version >= 31;
        let whole = !self.server() && !self.protocol.compat.inc_recurse && self.options.dirs != Dirs::Skip;
        if whole && dest.log.info(Info::Flist) >= 2 {
            lister.counter = Some(Counter::new(dest.log.info(Info::Progress) >= 1));
        }
        Removals::new(lister)
    }

    /// Something is really changed. C: do_xfers
    pub fn for_real(&self) -> bool {
        self.options.moves_data()
    }

    /// A batch file takes the sender's place.
    pub fn plays(&self) -> bool {
        self.options.reads_batch() && !self.server()
    }

    /// Data goes into a batch file, and nothing changes at the destination.
    pub fn only_records(&self) -> bool {
        self.options.only_writes_batch()
    }

    /// Whether values of extended attributes are asked for and sent behind an item. What is given a further name has those
    /// of the first; not all versions leave them out then.
    pub fn tells_xattrs(&self, flags: Flags) -> bool {
        let optimized = self.protocol.version >= 31 && !self.protocol.compat.avoid_xattr_optim;
        self.rules.xattrs.is_some()
            && self.for_real()
            && flags.has(Flags::REPORT_XATTR)
            && !(optimized && flags.has(Flags::XNAME_FOLLOWS | Flags::LOCAL_CHANGE))
    }

    /// 0: lines do not depend on what changed; 1: changed entries are itemized; 2: all. C: stdout_format_has_i
    pub fn itemize(&self) -> u8 {
        self.format.as_ref().map_or(0, |format| format.itemize)
    }

    /// Whether a file is told before its data moves. C: log_before_transfer
    pub fn tells_before(&self) -> bool {
        self.format.as_ref().is_some_and(|format| format.before_transfer)
    }

    /// A file's checksum in the order shown: the list's, or that of its transfer; `None` where it would not be the
    /// content's own. C: in log.c log_formatted
    pub fn shown_sum(&self, entry: Entry<'_>, transferred: Option<&[u8]>) -> Option<Vec<u8>> {
        let (algorithm, sum) = match entry.sum() {
            Some(sum) => (self.protocol.list_sum, sum),
            None => (self.protocol.transfer_sum, transferred?),
        };
        match algorithm {
            Algorithm::None | Algorithm::Md4Old => None,
            Algorithm::Xxh64 | Algorithm::Xxh3 | Algorithm::Xxh128 => Some(sum.iter().rev().copied().collect()),
            _ => Some(sum.to_vec()),
        }
    }

    /// How many bytes the sum has that a line with `%C` shows, or leaves blank.
    fn shown_sum_len(&self) -> usize {
        let protocol = &self.protocol;
        if self.options.checksum { protocol.list_sum.len() } else { protocol.transfer_sum.len() }
    }

    /// The log file's lines have `%i`. C: logfile_format_has_i
    pub fn itemizes_in_log(&self) -> bool {
        self.log_format.as_ref().is_some_and(|format| format.itemize > 0)
    }

    /// Lines told after a file's data moved may want the sum, or how many bytes it took.
    pub fn measures(&self) -> bool {
        let user = self.format.is_some() && !self.tells_before();
        user || self.log_format.as_ref().is_some_and(OutFormat::measures)
    }

    /// Tells an entry by the formats in force. On a server only a log file hears of it. C: log.c log_item
    pub fn tell(&self, log: &Log, entry: Entry<'_>, about: &About<'_>, whom: Whom) {
        let user = self.format.as_ref().filter(|_| whom != Whom::LogFile && !self.server());
        let file = self.log_format.as_ref().filter(|format| whom != Whom::User && !format.is_empty());
        if user.is_none() && file.is_none() {
            return;
        }
        let subject = Subject {
            hard_link: about.hard_link,
            source: about.source,
            traffic: about.traffic,
            sum: about.sum.clone().or_else(|| self.shown_sum(entry, None)),
            sum_len: self.shown_sum_len(),
            ..Subject::entry(entry, Flags(about.bits), &self.options)
        };
        let subject = Subject { mode: about.mode.unwrap_or(subject.mode), ..subject };
        let outgoing = about.sender && !self.local;
        let context = context(about.sender, outgoing, self.options.times, self.link_times);
        for (format, code) in [(user, LogCode::Client), (file, LogCode::Log)] {
            if let Some(format) = format {
                log.say(code, format.line(&subject, &context));
            }
        }
    }

    /// Who hears of a file whose data is through: a user who was told before is not told again.
    pub fn hears_of_moved(&self) -> Whom {
        if self.tells_before() { Whom::LogFile } else { Whom::Both }
    }

    /// Who hears from a generator that cannot tell the sender, before protocol 29.
    pub fn hears_of_items(&self) -> Whom {
        if self.itemizes_in_log() { Whom::Both } else { Whom::User }
    }

    /// Tells an entry whose data does not move, where that is worth a line. C: log.c maybe_log_item
    pub fn tell_item(&self, log: &Log, entry: Entry<'_>, about: &About<'_>) {
        let significant = Flags(about.bits).any(Flags::SIGNIFICANT);
        let named = !about.hard_link.is_empty();
        let asked = self.itemize();
        let all = asked > 1 || log.info(Info::Name) >= 2 && asked > 0;
        let seen = |itemizes: bool| itemizes && (significant || named || all);
        if self.server() {
            if self.for_real() && seen(self.itemizes_in_log()) {
                self.tell(log, entry, about, Whom::LogFile);
            }
            return;
        }
        let local_change = Flags(about.bits).has(Flags::LOCAL_CHANGE) && significant;
        if seen(asked > 0) || local_change || named || entry.is_dir() && significant {
            let whom = if significant || self.itemizes_in_log() { Whom::Both } else { Whom::User };
            self.tell(log, entry, about, whom);
        }
    }
}

/// Who hears of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whom {
    User,
    LogFile,
    Both,
}

/// How deletions are told. C: log.c log_delete
pub struct Deletions {
    log: Log,
    format: Option<OutFormat>,
    /// In the log file, which hears of none in a dry run.
    log_format: Option<OutFormat>,
    /// A server tells its client, from protocol 29 on by a message of its own.
    by_message: bool,
    times: bool,
    link_times: bool,
    /// Groups are kept; nobody knows that of something that is gone.
    groups: bool,
    sum_len: usize,
    /// We are the sender, and hear of them.
    sender: bool,
    /// With `--iconv`.
    to_wire: Option<RefCell<Text>>,
}

impl Deletions {
    pub fn new(transfer: &Transfer, log: &Log, sender: bool) -> Self {
        Self {
            log: log.clone(),
            format: transfer.format.clone(),
            log_format: transfer.log_format.clone().filter(|_| transfer.for_real()),
            by_message: transfer.server() && transfer.protocol.version >= 29,
            times: transfer.options.times,
            link_times: transfer.link_times,
            groups: transfer.options.group,
            sum_len: transfer.shown_sum_len(),
            sender,
            to_wire: Charset::of(&transfer.options).and_then(|charset| charset.to_wire().ok()).map(RefCell::new),
        }
    }

    /// Tells of one that happened here; `message` takes it to the client.
    pub fn happened(&self, path: &[u8], mode: u32, message: impl FnOnce(&[u8])) {
        if !self.by_message {
            return self.tell(path, mode);
        }
        let is_dir = mode & libc::S_IFMT == libc::S_IFDIR;
        let end: &[u8] = if is_dir { b"\0" } else { b"" };
        message(&[&self.converted(path), end].concat());
        self.record(path, mode);
    }

    /// Tells our user of one on the other side. The reference converts the name the same way again, and so do we: with
    /// other characters than UTF-8 here it is shown as what it would be if it came from us.
    pub fn heard(&self, name: &[u8], mode: u32) {
        self.tell(&self.converted(name), mode);
    }

    fn converted<'a>(&self, name: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.to_wire {
            Some(text) => text.borrow_mut().as_far_as_possible(name).into(),
            None => name.into(),
        }
    }

    /// Tells our user, and the log file.
    pub fn tell(&self, name: &[u8], mode: u32) {
        if self.log.info(Info::Del) > 0 || self.format.is_some() {
            self.log.say(LogCode::Client, self.line(self.format.as_ref(), name, mode));
        }
        self.record(name, mode);
    }

    fn record(&self, name: &[u8], mode: u32) {
        if let Some(format) = &self.log_format {
            self.log.say(LogCode::Log, self.line(Some(format), name, mode));
        }
    }

    fn line(&self, format: Option<&OutFormat>, name: &[u8], mode: u32) -> Vec<u8> {
        let gid = self.groups.then_some(0);
        let subject = Subject { gid, sum_len: self.sum_len, ..Subject::deleted(name, mode) };
        let context = context(self.sender, false, self.times, self.link_times);
        match format {
            Some(format) => format.deletion_line(&subject, &context),
            None => deletion_line(&subject, &context),
        }
    }
}

/// Ends a role that the user interrupted, also where it never has to wait.
#[track_caller]
pub(crate) fn check_interrupt() -> Result<()> {
    if signal::received().is_some() { Err(Error::silent(ExitCode::SIGNAL)) } else { Ok(()) }
}

/// The same before each entry; a role whose words nobody can read any more ends too. C: in log.c rwrite
#[track_caller]
pub(crate) fn check_going_on(log: &Log) -> Result<()> {
    check_interrupt()?;
    if log.broken() { Err(Error::silent(ExitCode::MESSAGE_IO)) } else { Ok(()) }
}

/// What lines say besides their subject, at this moment.
pub fn context(sender: bool, outgoing: bool, times: bool, link_times: bool) -> Context<'static> {
    let run = Run { outgoing, times, link_times };
    Context { run, sender, pid: std::process::id(), now: clock::now().0, stamp: &clock::stamp }
}

/// What a line about an entry says besides the entry.
#[derive(Clone, Debug, Default)]
pub struct About<'a> {
    /// Item bits. C: ITEM_*
    pub bits: u32,
    pub sender: bool,
    pub hard_link: &'a [u8],
    /// On the sender: the source argument that the entry came from.
    pub source: Option<&'a [u8]>,
    /// Bytes out and in for this entry.
    pub traffic: (u64, u64),
    pub sum: Option<Vec<u8>>,
    /// The mode that it gets here, where the receiver does not take the sender's.
    pub mode: Option<u32>,
}

/// The first pass over the list, or the second one for files whose whole-file sum disagreed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pass {
    First,
    Redo,
}

/// What the receiver tells the generator: the only thing that goes sideways.
#[derive(Debug)]
pub enum Feedback {
    /// The sender listed the contents of another directory, and had errors of these kinds by then.
    Segment(Arc<Segment>, i32),
    /// No further segments will come.
    ListEnd,
    /// The sender finished a phase.
    PhaseDone,
    /// The whole-file sum of this file disagreed.
    Redo(i32),
    /// These files are in place.
    Finished(Vec<i32>),
    /// This file is complete, and goes to its place with the other delayed updates. Told for the sake of hard links.
    Delayed(i32),
    /// This file will not come, or could not be put in place.
    Declined(i32),
    /// The sender had an error of these kinds (`flist::io_error`).
    IoError(i32),
    /// The receiver is at its end, good or bad: nothing more will come.
    Gone,
    /// A server's receiver has something to say: the writer's outbox holds it.
    Line,
    /// The receiver of a batch waits for what is wanted of it; the how manieth time.
    Waits(u32),
}
