//! Hard links: names that are given to files which stand already, or will in a moment.

use std::io;

use super::{
    Generator,
    basis::Like,
    decide::Visit,
    groups::{Gone, Groups, Standing},
};
use crate::{
    bytes,
    dest::{
        delete::Room,
        make::{self, Node},
    },
    error::Result,
    flist::{Entry, Flags as Listed},
    log::LogCode,
    options::Debug,
    proto::item::Flags,
    role::Pass,
    sys::stat::Stat,
};

/// What an item says of a name that was linked.
const LINKED: Flags = Flags(Flags::LOCAL_CHANGE.0 | Flags::XNAME_FOLLOWS.0);

/// How a leader came into its place.
#[derive(Clone, Copy, Default)]
pub(super) struct Led {
    /// What it is now, if that is known.
    pub stat: Option<Stat>,
    /// It was linked from this alternative directory.
    pub from: Option<u8>,
    /// No more is to be said of it, nor of those linked to it.
    pub told: bool,
}

impl Led {
    pub fn known(stat: Stat) -> Self {
        Self { stat: Some(stat), ..Self::default() }
    }
}

/// The file that further names are given to.
struct Leader<'l> {
    path: &'l [u8],
    /// How it is called when told.
    shown: &'l [u8],
    stat: Stat,
}

/// What stands for a name already.
#[derive(Clone, Copy, Default)]
struct Before<'b> {
    /// In its place.
    here: Option<&'b Stat>,
    /// What the change is told against, if that is in an alternative directory.
    elsewhere: Option<&'b Like>,
    told: bool,
}

impl Generator<'_> {
    /// Gives the entry's name to its group's leader, if that stands or is under way; whether the entry is dealt with.
    /// C: hlink.c hard_link_check
    pub(super) fn follow_leader(&mut self, visit: Visit<'_>, old: &io::Result<Stat>) -> Result<bool> {
        let Some((_, group)) = visit.entry.hard_link() else { return Ok(false) };
        if self.is_unsafe(visit) {
            return Ok(false);
        }
        let Some(groups) = self.groups.as_mut().filter(|_| visit.pass == Pass::First) else { return Ok(false) };
        let standing = groups.standing(&self.list, visit.index, group);
        let (index, leader) = match standing {
            Standing::First => return Ok(false),
            Standing::VirtualFirst => {
                self.debug_link(visit, || bytes!["virtual first"]);
                return Ok(false);
            }
            Standing::Leaderless => {
                self.debug_link(visit, || bytes!["looking for a leader"]);
                return Ok(false);
            }
            Standing::Waits(next) => {
                self.debug_link(visit, || bytes!["waiting for ", next]);
                self.count_waiting(self.current);
                return Ok(true);
            }
            Standing::Leader(index) => {
                let from = groups.planned_from(index);
                self.debug_link(visit, || bytes!["found flist match (alt ", from.map_or(-1, i32::from), ")"]);
                let (_, segment) = self.locate(index)?;
                let path = segment.get(index).map(|entry| self.path_of(entry)).unwrap_or_default();
                (index, Gone { path: path.into(), from })
            }
            Standing::LeaderGone(leader) => (-1, leader),
        };
        let name = self.planned_name(&leader);
        self.debug_link(visit, || bytes!["leader is ", index, " (", name, ")"]);
        let stat = match self.stat_leader(&leader) {
            Ok(stat) => stat,
            Err(error) if self.is_only_planned(&error) => Stat::default(),
            Err(error) => {
                self.log.syserr(LogCode::ErrorXfer, bytes!["stat ", self.names.full(&name), " failed"], &error);
                return Ok(true);
            }
        };
        let (elsewhere, told) = if old.is_err() { self.find_linked(visit, &stat)? } else { (None, false) };
        if told {
            self.tell_up_to_date(visit, "");
        }
        // The reference has only one name for a leader that is out of play.
        let shown = if index < 0 { &name } else { &leader.path[..] };
        let before = Before { here: old.as_ref().ok(), elsewhere: elsewhere.as_ref(), told };
        if self.hard_link(visit, before, &Leader { path: &leader.path, shown, stat })?
            && let Some(groups) = &mut self.groups
        {
            groups.linked(&self.list, visit.index, index);
        }
        Ok(true)
    }

    /// An entry is in place with all its attributes: those of its group that wait are linked to it.
    /// C: hlink.c finish_hard_link
    pub(super) fn lead(&mut self, visit: Visit<'_>, led: Led) -> Result<()> {
        let Some((_, group)) = visit.entry.hard_link() else { return Ok(()) };
        let Some(groups) = &mut self.groups else { return Ok(()) };
        let leader = Gone { path: visit.path.into(), from: led.from.filter(|_| self.transfer.options.dry_run) };
        let names = groups.lead(&self.list, visit.index, group, leader);
        if names.is_empty() {
            return Ok(());
        }
        let stat = match led.stat.map_or_else(|| self.stat_here(visit.path), Ok) {
            Ok(stat) => Some(stat),
            Err(_) if self.transfer.options.dry_run => Some(Stat::default()),
            Err(error) => {
                self.log.syserr(LogCode::ErrorXfer, bytes!["stat ", self.names.full(visit.path), " failed"], &error);
                None
            }
        };
        for (index, waiting) in names {
            let (at, segment) = self.locate(index)?;
            if let (Some(stat), Some(entry)) = (stat, segment.get(index)) {
                let path = self.path_of(entry);
                let old = self.stat_here(&path).ok();
                let wanted = self.wanted(entry, old.filter(|old| !old.is_dir()).map(|old| old.mode));
                let name = Visit { entry, index, path: &path, wanted, pass: Pass::First };
                let before = Before { here: old.as_ref(), elsewhere: None, told: led.told };
                self.hard_link(name, before, &Leader { path: visit.path, shown: visit.path, stat })?;
            }
            if waiting {
                self.count_waited(at);
            }
        }
        Ok(())
    }

    /// A file that was asked for came, or will not come.
    pub(super) fn link_came(&mut self, index: i32, failed: bool) -> Result<()> {
        let (at, segment) = self.locate(index)?;
        let next = match &mut self.groups {
            Some(groups) if failed => groups.fail(&self.list, index),
            _ => None,
        };
        if let Some(entry) = segment.get(index).filter(|_| !failed) {
            let path = self.path_of(entry);
            let wanted = self.wanted(entry, None);
            self.lead(Visit { entry, index, path: &path, wanted, pass: Pass::First }, Led::default())?;
        }
        self.count_waited(at);
        self.take_up(next)
    }

    /// The entry is left as it is, or not made: another of its group has to lead. C: generator.c handle_skipped_hlink
    pub(super) fn skip_link(&mut self, entry: Entry<'_>, index: i32) -> Result<()> {
        let Some((_, group)) = entry.hard_link() else { return Ok(()) };
        let next = self.groups.as_mut().and_then(|groups| groups.skip(&self.list, index, group));
        self.take_up(next)
    }

    /// After a visit: if nothing came of the last of a group, one of those that count on it has to lead. The reference
    /// forgets them.
    pub(super) fn release(&mut self, entry: Entry<'_>, index: i32) -> Result<()> {
        let Some((_, group)) = entry.hard_link() else { return Ok(()) };
        let next = self.groups.as_mut().and_then(|groups| groups.release(&self.list, index, group));
        self.take_up(next)
    }

    /// Whether a later name of the group shall lead.
    pub(super) fn may_wait(&self, visit: Visit<'_>) -> bool {
        let first = visit.entry.flags().has(Listed::HLINKED) && visit.pass == Pass::First;
        first && self.groups.as_ref().is_some_and(|groups| groups.may_wait(&self.list, visit.index))
    }

    /// Leaves a file that is missing to a later name of its group.
    pub(super) fn defer(&mut self, visit: Visit<'_>) {
        if let Some(groups) = &mut self.groups {
            groups.defer(&self.list, visit.index);
        }
        self.count_waiting(self.current);
    }

    /// A file whose sum failed was visited again: if it was not asked for, it will not come.
    pub(super) fn link_redone(&mut self, index: i32) -> Result<()> {
        let groups = self.groups.as_mut().filter(|groups| !groups.is_asked(index));
        let next = groups.and_then(|groups| groups.fail(&self.list, index));
        self.take_up(next)
    }

    /// Whether names are to be linked to a file that may still come.
    pub(super) fn awaits_links(&self) -> bool {
        self.groups.as_ref().is_some_and(|groups| groups.awaits(&self.list))
    }

    /// What was asked for last, because another one failed, has to be here before the sender may go: it has yet to hear
    /// what is linked to it. Before protocol 30 the sender does not say what will not come; there the end of the phase
    /// must do. The reference waits for none.
    pub(super) fn last_links(&mut self) -> Result<()> {
        let says = self.transfer.protocol.version >= 30;
        let unanswered = self.groups.as_mut().map(Groups::unanswered).unwrap_or_default();
        for index in unanswered.into_iter().filter(|_| !says) {
            self.link_came(index, true)?;
        }
        self.settle(true)?;
        while says && self.awaits_links() {
            self.wait()?;
            self.settle(true)?;
        }
        Ok(())
    }

    /// A name that waited for another to lead may lead now; it is visited when the visit at hand is over. At the end
    /// there is no time for that any more.
    fn take_up(&mut self, next: Option<i32>) -> Result<()> {
        if let Some(index) = next.filter(|_| self.asking) {
            let (at, _) = self.locate(index)?;
            self.count_waited(at);
            self.again.push(index);
        }
        Ok(())
    }

    fn count_waiting(&mut self, at: usize) {
        if let Some(progress) = self.progress.get_mut(at) {
            progress.under_way += 1;
        }
    }

    fn count_waited(&mut self, at: usize) {
        if let Some(progress) = self.progress.get_mut(at) {
            progress.under_way = progress.under_way.saturating_sub(1);
        }
    }

    /// Makes the entry's name one of the leader's; false if that failed. C: hlink.c maybe_hard_link
    fn hard_link(&mut self, visit: Visit<'_>, before: Before<'_>, leader: &Leader<'_>) -> Result<bool> {
        let Before { here, elsewhere, told } = before;
        if here.is_some_and(|here| here.same_file(&leader.stat)) {
            if self.itemizing && !told {
                self.itemize_as(visit, here.map(|here| Like::own(*here)).as_ref(), LINKED, b"")?;
            }
            self.tell_up_to_date(visit, "");
            self.tell_current(visit.index, leader.path);
            return Ok(true);
        }
        let node = Node::HardLink { leader: leader.path };
        if !self.removing(|remover| make::node(remover, visit.path, node, here, Room::File))? {
            return Ok(false);
        }
        let here = here.map(|here| Like::own(*here));
        self.tell_linked(visit, here.as_ref().or(elsewhere), leader, told)?;
        self.tell_current(visit.index, leader.path);
        Ok(true)
    }

    fn tell_linked(&mut self, visit: Visit<'_>, like: Option<&Like>, leader: &Leader<'_>, told: bool) -> Result<()> {
        if told {
            return Ok(());
        }
        if self.itemizing {
            self.itemize_as(visit, like, LINKED, leader.shown)?;
        }
        self.tell_name(|| bytes![visit.path, " => ", leader.shown]);
        Ok(())
    }

    /// What stands at a path; nothing, if the destination itself is only planned.
    fn stat_here(&self, path: &[u8]) -> io::Result<Stat> {
        if self.missing { Err(io::Error::from_raw_os_error(libc::ENOENT)) } else { self.dest().stat(path) }
    }

    /// As [`Self::stat_here`]; in a dry run where it would come from.
    fn stat_leader(&self, leader: &Gone) -> io::Result<Stat> {
        match leader.from.and_then(|position| self.alternatives.get(position.into())) {
            Some(alternative) => alternative.stat(self.dest(), &leader.path),
            None => self.stat_here(&leader.path),
        }
    }

    /// The path of what stands for a leader.
    fn planned_name(&self, leader: &Gone) -> Vec<u8> {
        match leader.from.and_then(|position| self.alternatives.get(position.into())) {
            Some(alternative) => alternative.given_name(&leader.path),
            None => leader.path.to_vec(),
        }
    }

    /// What a dry run would have made is not there.
    fn is_only_planned(&self, error: &io::Error) -> bool {
        self.transfer.options.dry_run && error.kind() == io::ErrorKind::NotFound
    }

    fn debug_link(&self, visit: Visit<'_>, what: impl FnOnce() -> Vec<u8>) {
        if self.log.debug(Debug::Hlink) >= 2 {
            let group = visit.entry.hard_link().filter(|_| self.incremental()).map_or(-1, |(_, group)| group);
            let entry = bytes!["hlink for ", visit.index, " (", visit.entry.path(), ",", group, "): "];
            self.log.say(LogCode::Info, bytes![entry, what()]);
        }
    }
}
