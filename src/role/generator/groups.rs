//! Groups of hard links: which name of a file leads, which wait for it, which were passed over.
//!
//! Only one name of a group is brought into shape as a file; the others are then linked to it. That is the first one
//! which stands at the destination in whatever state, or else the last of the group: all before it wait. The names of
//! a group are chained backwards, and whoever has to wait for a file under way is put into the chain behind it, so that
//! the chain of the file that gets done first names all who want to be linked to it. Names of one file may lie in
//! different segments: the later ones are chained to the earlier ones as long as those are in play, and after that the
//! path of the file that was done is kept. C: hlink.c

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    mem,
};

use crate::{
    error::{Error, ExitCode, Result},
    flist::{FileList, Segment},
    log::{Log, Speaker, table::Table},
};

/// How far a name is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Not dealt with yet, or in vain.
    Open,
    /// There is nothing at the destination: a later name shall lead. C: in_progress, if not FLAG_HLINK_LAST
    Deferred,
    /// Waits for the file under way. C: FLAG_FILE_SENT of one that was not
    Waiting,
    /// Asked for. C: FLAG_FILE_SENT
    Sent,
    /// In place, the first of its group that got there. C: FLAG_HLINK_FIRST with FLAG_HLINK_DONE
    Leader,
    /// In place; the chain leads to the leader. C: FLAG_HLINK_DONE
    Linked,
    /// C: FLAG_SKIP_HLINK
    Skipped,
    /// The only name of its file after all.
    Alone,
}

/// What is noted about a name.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// File index of the next in the chain, or below 0. C: F_HL_PREV
    prev: i32,
    stage: Stage,
    /// Nothing comes before it.
    first: bool,
    /// Nothing comes after it that is known of.
    last: bool,
}

/// What is known of a group whose names may lie in several segments. C: prior_hlinks
#[derive(Debug)]
enum Prior {
    /// Nothing is in place; the last name so far.
    Last(i32),
    /// The leader.
    Done(Gone),
}

/// A leader by its path, for when its segment is not in play any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Gone {
    pub path: Box<[u8]>,
    /// It would have been linked from this alternative directory.
    pub from: Option<u8>,
}

/// What came before a name in its group.
enum Before {
    Nobody,
    Name(i32),
    Gone(Gone),
}

/// How a name stands in its group when its turn comes.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It is the first, or its only name.
    First,
    /// All before it were passed over.
    VirtualFirst,
    /// No one before it is in place or under way.
    Leaderless,
    /// The one before it is under way; now it waits too. The next in the chain.
    Waits(i32),
    /// The leader, by index, is in place.
    Leader(i32),
    /// So it is, but its segment is not in play any more.
    LeaderGone(Gone),
}

/// How big the table of groups begins. C: in hlink.c init_hard_links
const PRIOR: usize = 1024;

/// All groups of the segments in play.
pub(super) struct Groups {
    incremental: bool,
    log: Log,
    /// By segment in play, then by the entry's place among the segment's links.
    marks: VecDeque<Vec<Mark>>,
    prior: Option<Table<i32, Prior>>,
    /// Leaders that would have been linked from an alternative directory, in a dry run.
    planned: HashMap<i32, u8>,
    /// Asked for, and nothing was heard of it yet.
    asked: BTreeSet<i32>,
    /// The same, from before the end of the walk was told.
    asked_in_walk: BTreeSet<i32>,
}

impl Groups {
    pub fn new(incremental: bool, log: &Log) -> Self {
        // In the reference it is made before the roles part.
        let prior = incremental.then(|| Table::new(PRIOR, &log.speaking_as(Speaker::ReceiverStart)));
        Self {
            incremental,
            log: log.clone(),
            marks: VecDeque::new(),
            prior,
            planned: HashMap::new(),
            asked: BTreeSet::new(),
            asked_in_walk: BTreeSet::new(),
        }
    }

    /// Takes in the last segment of the list: chains its names. C: hlink.c match_gnums
    pub fn add(&mut self, list: &FileList, segment: &Segment) -> Result<()> {
        let alone = Mark { prev: -1, stage: Stage::Alone, first: true, last: true };
        self.marks.push_back(vec![alone; segment.link_count()]);
        if segment.link_count() == 0 {
            return Ok(());
        }
        let links = segment.entries().filter_map(|(index, entry)| Some((entry.hard_link()?.1, index)));
        let mut links: Vec<(i32, i32)> = links.collect();
        links.sort_by_key(|link| link.0); // stable: within a group the order of the list counts
        for names in links.chunk_by(|a, b| a.0 == b.0) {
            self.chain(list, segment, names)?;
        }
        Ok(())
    }

    fn chain(&mut self, list: &FileList, segment: &Segment, names: &[(i32, i32)]) -> Result<()> {
        let [(group, _), ..] = *names else { return Ok(()) };
        if !self.incremental && names.len() == 1 {
            return Ok(());
        }
        let mut prev = -1;
        let mut first = true;
        match self.prior(group) {
            Some(&Prior::Last(last)) => {
                if let Some(mark) = self.mark_mut(list, last) {
                    mark.last = false;
                    (prev, first) = (last, false);
                }
            }
            Some(Prior::Done(_)) => first = false,
            None if self.incremental && group < segment.first_index => {
                let line = format!("hard-link gnum {group} precedes flist start {}", segment.first_index);
                return Err(Error::new(ExitCode::PROTOCOL, line));
            }
            None => {}
        }
        for &(_, index) in names {
            if let Some(mark) = self.mark_mut(list, index) {
                *mark = Mark { prev, stage: Stage::Open, first, last: false };
            }
            (prev, first) = (index, false);
        }
        if let Some(mark) = self.mark_mut(list, prev) {
            mark.last = true;
        }
        if !matches!(self.prior(group), Some(Prior::Done(_))) {
            self.remember(group, Prior::Last(prev));
        }
        Ok(())
    }

    fn prior(&self, group: i32) -> Option<&Prior> {
        self.prior.as_ref()?.get(&group)
    }

    fn remember(&mut self, group: i32, known: Prior) {
        if let Some(prior) = &mut self.prior {
            prior.insert(group, known);
            prior.tell_growth(&self.log);
        }
    }

    /// The oldest segment is let go.
    pub fn drop_first(&mut self) {
        self.marks.pop_front();
    }

    fn mark_mut(&mut self, list: &FileList, index: i32) -> Option<&mut Mark> {
        let position = list.position_of(index)?;
        let (at, _) = list.segment(position)?.get(index)?.hard_link()?;
        self.marks.get_mut(position)?.get_mut(at)
    }

    fn mark(&self, list: &FileList, index: i32) -> Option<Mark> {
        let position = list.position_of(index)?;
        let (at, _) = list.segment(position)?.get(index)?.hard_link()?;
        self.marks.get(position)?.get(at).copied()
    }

    fn set(&mut self, list: &FileList, index: i32, change: impl FnOnce(&mut Mark)) {
        if let Some(mark) = self.mark_mut(list, index) {
            change(mark);
        }
    }

    /// Whether the file has, or may get, further names.
    pub fn is_member(&self, list: &FileList, index: i32) -> bool {
        self.mark(list, index).is_some_and(|mark| mark.stage != Stage::Alone)
    }

    /// Whether a later name of the group can lead. C: F_HLINK_NOT_LAST
    pub fn may_wait(&self, list: &FileList, index: i32) -> bool {
        self.mark(list, index).is_some_and(|mark| !mark.last && mark.stage != Stage::Alone)
    }

    /// C: hlink.c check_prior
    fn before(&mut self, list: &FileList, index: i32, group: i32) -> Before {
        let mut prev = self.mark(list, index).map_or(-1, |mark| mark.prev);
        while let Some(mark) = self.mark(list, prev) {
            if mark.stage != Stage::Skipped {
                return Before::Name(prev);
            }
            prev = mark.prev;
            self.set(list, index, |mark| mark.prev = prev);
        }
        self.set(list, index, |mark| mark.prev = -1);
        match self.prior(group) {
            Some(Prior::Done(leader)) => Before::Gone(leader.clone()),
            _ => Before::Nobody,
        }
    }

    /// How a name stands now; if it has to wait it is noted as waiting. C: the first half of hlink.c hard_link_check
    pub fn standing(&mut self, list: &FileList, index: i32, group: i32) -> Standing {
        match self.mark(list, index) {
            Some(Mark { first: false, stage, .. }) if stage != Stage::Alone => {}
            _ => return Standing::First,
        }
        let prev = match self.before(list, index, group) {
            Before::Nobody => return Standing::VirtualFirst,
            Before::Gone(leader) => return Standing::LeaderGone(leader),
            Before::Name(prev) => prev,
        };
        let Some(mark) = self.mark(list, prev) else { return Standing::VirtualFirst };
        match mark.stage {
            Stage::Leader => Standing::Leader(prev),
            Stage::Linked => match self.before(list, prev, group) {
                Before::Nobody => Standing::VirtualFirst,
                Before::Gone(leader) => Standing::LeaderGone(leader),
                Before::Name(leader) => Standing::Leader(leader),
            },
            Stage::Sent | Stage::Waiting => {
                self.set(list, prev, |mark| mark.prev = index);
                self.set(list, index, |waiting| (waiting.prev, waiting.stage) = (mark.prev, Stage::Waiting));
                Standing::Waits(mark.prev)
            }
            _ => Standing::Leaderless,
        }
    }

    /// Leaves it to a later name to lead.
    pub fn defer(&mut self, list: &FileList, index: i32) {
        self.set(list, index, |mark| mark.stage = Stage::Deferred);
    }

    /// The file was asked for.
    pub fn sent(&mut self, list: &FileList, index: i32) {
        if let Some(mark) = self.mark_mut(list, index).filter(|mark| mark.stage != Stage::Alone) {
            mark.stage = Stage::Sent;
            self.asked.insert(index);
        }
    }

    /// What comes of a file is known, or as good as known.
    pub fn heard_of(&mut self, index: i32) {
        self.asked.remove(&index);
        self.asked_in_walk.remove(&index);
    }

    /// Whether the file was asked for and nothing was heard of it since.
    pub fn is_asked(&self, index: i32) -> bool {
        self.asked.contains(&index) || self.asked_in_walk.contains(&index)
    }

    /// All that is asked for from here on belongs to the next phase.
    pub fn end_of_walk(&mut self) {
        self.asked_in_walk = mem::take(&mut self.asked);
    }

    /// What was asked for in the walk without an answer, now that the sender is past it: none will come.
    pub fn unanswered(&mut self) -> BTreeSet<i32> {
        mem::take(&mut self.asked_in_walk)
    }

    /// Whether names are to be linked to a file that may still come.
    pub fn awaits(&self, list: &FileList) -> bool {
        self.asked.iter().any(|&index| self.is_waited_for(list, index))
    }

    fn is_waited_for(&self, list: &FileList, index: i32) -> bool {
        let sent = self.mark(list, index).filter(|mark| mark.stage == Stage::Sent);
        let mut next = sent.map_or(-1, |mark| mark.prev);
        while let Some(mark) = self.mark(list, next) {
            match mark.stage {
                Stage::Leader | Stage::Linked => return false,
                stage if is_waiting(stage) => return true,
                _ => next = mark.prev,
            }
        }
        false
    }

    /// The name is now one of its leader's; `leader` below 0: one that is not in play any more.
    pub fn linked(&mut self, list: &FileList, index: i32, leader: i32) {
        self.set(list, index, |mark| (mark.prev, mark.stage) = (leader, Stage::Linked));
    }

    /// Of a leader that is not there, this being a dry run: the alternative directory that it would come from.
    pub fn planned_from(&self, leader: i32) -> Option<u8> {
        self.planned.get(&leader).copied()
    }

    /// A file is in place: it leads, unless it does already. Gives back who is to be linked to it, in order, and whether
    /// each was waiting. C: hlink.c finish_hard_link
    pub fn lead(&mut self, list: &FileList, index: i32, group: i32, leader: Gone) -> Vec<(i32, bool)> {
        let mut names = Vec::new();
        let Some(mark) = self.mark(list, index) else { return names };
        if matches!(mark.stage, Stage::Alone | Stage::Leader | Stage::Linked) {
            return names;
        }
        self.set(list, index, |mark| (mark.prev, mark.stage) = (-1, Stage::Leader));
        if let Some(position) = leader.from {
            self.planned.insert(index, position);
        }
        let mut next = mark.prev;
        while let Some(mark) = self.mark(list, next) {
            if matches!(mark.stage, Stage::Leader | Stage::Linked) {
                break;
            }
            if mark.stage != Stage::Skipped {
                names.push((next, is_waiting(mark.stage)));
                self.linked(list, next, index);
            }
            next = mark.prev;
        }
        self.remember(group, Prior::Done(leader));
        names
    }

    /// Passes over a name. If it was the last of its group and a name before it waits for a leader, gives back that
    /// one: it is to be dealt with again. C: hlink.c skip_hard_link
    pub fn skip(&mut self, list: &FileList, index: i32, group: i32) -> Option<i32> {
        let mark = self.mark(list, index).filter(|mark| mark.stage != Stage::Alone)?;
        self.set(list, index, |mark| mark.stage = Stage::Skipped);
        if !mark.last {
            return None;
        }
        let Before::Name(prev) = self.before(list, index, group) else { return None };
        self.set(list, prev, |mark| mark.last = true);
        self.take_up(list, prev)
    }

    /// After a visit: if the last of a group is neither in place nor under way, and is no reason for anyone to wait any
    /// more, gives back the last of those who do.
    pub fn release(&mut self, list: &FileList, index: i32, group: i32) -> Option<i32> {
        self.mark(list, index).filter(|mark| mark.last && mark.stage == Stage::Open)?;
        let mut at = index;
        loop {
            let Before::Name(prev) = self.before(list, at, group) else { return None };
            match self.mark(list, prev)?.stage {
                Stage::Open => at = prev,
                Stage::Deferred => {
                    self.set(list, index, |mark| (mark.stage, mark.last) = (Stage::Skipped, false));
                    self.set(list, prev, |mark| mark.last = true);
                    return self.take_up(list, prev);
                }
                _ => return None,
            }
        }
    }

    /// A file that was asked for will not come: the last of those who wait for it is to be dealt with again. The
    /// reference forgets them, unless the file was the last of its group.
    pub fn fail(&mut self, list: &FileList, index: i32) -> Option<i32> {
        let mark = self.mark(list, index).filter(|mark| mark.stage == Stage::Sent)?;
        let mut names = Vec::new();
        let mut next = mark.prev;
        while let Some(mark) = self.mark(list, next) {
            if matches!(mark.stage, Stage::Leader | Stage::Linked) {
                break;
            }
            if mark.stage == Stage::Waiting {
                self.set(list, next, |mark| mark.stage = Stage::Deferred);
            }
            names.push(next);
            next = mark.prev;
        }
        names.sort_unstable();
        let mut prev = -1;
        for name in names {
            self.set(list, name, |mark| mark.prev = prev);
            prev = name;
        }
        self.set(list, index, |mark| (mark.prev, mark.stage) = (prev, Stage::Skipped));
        if mark.last {
            self.set(list, prev, |mark| mark.last = true);
        }
        self.take_up(list, prev)
    }

    /// A name that may lead now, if it was waiting for another to do so.
    fn take_up(&mut self, list: &FileList, index: i32) -> Option<i32> {
        let mark = self.mark_mut(list, index).filter(|mark| mark.last && mark.stage == Stage::Deferred)?;
        mark.stage = Stage::Open;
        Some(index)
    }
}

/// Whether the segment is kept in play for it.
fn is_waiting(stage: Stage) -> bool {
    matches!(stage, Stage::Deferred | Stage::Waiting)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        flist::{Attributes, HardLink},
        log::Speaker,
    };

    /// Segments whose entries have these groups (below 0: none), as they are one after the other.
    struct Scene {
        list: FileList,
        groups: Groups,
        next: i32,
    }

    impl Scene {
        fn new(incremental: bool) -> Self {
            let next = i32::from(incremental);
            Self { list: FileList::new(), groups: Groups::new(incremental, &Log::unheard(Speaker::Generator)), next }
        }

        fn with(incremental: bool, groups: &[i32]) -> Self {
            let mut scene = Self::new(incremental);
            scene.add(groups).unwrap();
            scene
        }

        fn add(&mut self, groups: &[i32]) -> Result<()> {
            let mut segment = Segment::new(self.next, -1);
            for (at, &group) in groups.iter().enumerate() {
                let hard_link = (group >= 0).then_some(HardLink::Group(group));
                let of = Attributes { mode: libc::S_IFREG, hard_link, ..Attributes::default() };
                let dir = segment.dir(b"", false, 0, Speaker::Sender).unwrap();
                segment.push(dir, format!("{at:03}").as_bytes(), &of, Speaker::Sender).unwrap();
            }
            self.next = segment.next_first_index();
            let segment = Arc::new(segment);
            self.list.push(Arc::clone(&segment));
            self.groups.add(&self.list, &segment)
        }

        fn standing(&mut self, index: i32, group: i32) -> Standing {
            self.groups.standing(&self.list, index, group)
        }

        fn lead(&mut self, index: i32, group: i32) -> Vec<i32> {
            let names = self.groups.lead(&self.list, index, group, gone(index));
            names.into_iter().map(|(name, _)| name).collect()
        }

        fn drop_first(&mut self) {
            self.list.drop_first();
            self.groups.drop_first();
        }
    }

    fn gone(index: i32) -> Gone {
        Gone { path: format!("path {index}").into_bytes().into(), from: None }
    }

    #[test]
    fn the_last_of_those_that_are_missing_leads() {
        let mut scene = Scene::with(false, &[0, -1, 0, 0]);
        assert!(!scene.groups.is_member(&scene.list, 1));
        for index in [0, 2] {
            assert!(matches!(scene.standing(index, 0), Standing::First | Standing::Leaderless));
            assert!(scene.groups.may_wait(&scene.list, index));
            scene.groups.defer(&scene.list, index);
        }
        assert_eq!(scene.standing(3, 0), Standing::Leaderless);
        assert!(!scene.groups.may_wait(&scene.list, 3));
        scene.groups.sent(&scene.list, 3);
        assert_eq!(scene.lead(3, 0), [2, 0]);
        assert_eq!(scene.lead(3, 0), [0; 0], "once");
    }

    #[test]
    fn later_ones_wait_for_one_under_way_and_are_linked_first() {
        let mut scene = Scene::with(false, &[0, 0, 0, 0]);
        assert_eq!(scene.standing(0, 0), Standing::First);
        scene.groups.defer(&scene.list, 0);
        assert_eq!(scene.standing(1, 0), Standing::Leaderless);
        scene.groups.sent(&scene.list, 1);
        assert_eq!([scene.standing(2, 0), scene.standing(3, 0)], [Standing::Waits(0), Standing::Waits(0)]);
        assert_eq!(scene.lead(1, 0), [2, 3, 0]);
    }

    #[test]
    fn who_comes_after_the_leader_is_linked_at_once() {
        let mut scene = Scene::with(false, &[0, 0, 0]);
        assert_eq!(scene.lead(0, 0), [0; 0]);
        for index in [1, 2] {
            assert_eq!(scene.standing(index, 0), Standing::Leader(0));
            scene.groups.linked(&scene.list, index, 0);
        }
    }

    #[test]
    fn a_group_of_one_is_none_unless_more_may_come() {
        let scene = Scene::with(false, &[0, 1]);
        assert!(!scene.groups.is_member(&scene.list, 0));
        let mut scene = Scene::with(true, &[1]);
        assert!(scene.groups.is_member(&scene.list, 1) && !scene.groups.may_wait(&scene.list, 1));
        scene.add(&[1, -1]).unwrap();
        assert!(scene.groups.may_wait(&scene.list, 1), "another one came");
        assert_eq!(scene.standing(3, 1), Standing::Leaderless);
    }

    #[test]
    fn the_path_of_the_leader_outlives_its_segment() {
        let mut scene = Scene::with(true, &[1]);
        scene.add(&[1]).unwrap();
        assert_eq!(scene.lead(1, 1), [0; 0]);
        scene.drop_first();
        scene.add(&[1]).unwrap();
        for index in [3, 5] {
            assert_eq!(scene.standing(index, 1), Standing::LeaderGone(gone(1)));
        }
    }

    #[test]
    fn a_group_whose_names_were_all_passed_over_begins_anew() {
        let mut scene = Scene::with(true, &[1]);
        assert_eq!(scene.groups.skip(&scene.list, 1, 1), None);
        scene.add(&[1]).unwrap();
        assert_eq!(scene.standing(3, 1), Standing::VirtualFirst);
        scene.drop_first();
        scene.drop_first();
        scene.add(&[1]).unwrap();
        assert_eq!(scene.standing(5, 1), Standing::First);
    }

    #[test]
    fn a_group_must_have_been_heard_of() {
        let mut scene = Scene::with(true, &[1, -1]);
        let error = scene.add(&[2]).unwrap_err();
        assert_eq!(
            (error.code, &error.message[..]),
            (ExitCode::PROTOCOL, &b"hard-link gnum 2 precedes flist start 4"[..])
        );
        assert!(Scene::new(true).add(&[0]).is_err());
    }

    #[test]
    fn when_the_last_is_passed_over_one_that_waits_leads() {
        let mut scene = Scene::with(false, &[0, 0, 0, 0]);
        scene.groups.defer(&scene.list, 0);
        scene.groups.defer(&scene.list, 1);
        assert_eq!(scene.groups.skip(&scene.list, 2, 0), None);
        assert_eq!(scene.groups.skip(&scene.list, 3, 0), Some(1));
        assert_eq!(scene.standing(1, 0), Standing::Leaderless);
        assert!(!scene.groups.may_wait(&scene.list, 1));
        scene.groups.sent(&scene.list, 1);
        assert_eq!(scene.lead(1, 0), [0]);
    }

    #[test]
    fn when_nothing_comes_of_the_last_one_that_waits_leads() {
        let mut scene = Scene::with(false, &[0, 0, 0]);
        assert_eq!(scene.groups.release(&scene.list, 0, 0), None, "not the last");
        scene.groups.defer(&scene.list, 0);
        assert_eq!(scene.groups.release(&scene.list, 2, 0), Some(0), "what failed before it is passed by");
        scene.groups.sent(&scene.list, 0);
        assert_eq!(scene.groups.release(&scene.list, 2, 0), None);
        let mut scene = Scene::with(false, &[0, 0]);
        scene.groups.defer(&scene.list, 0);
        scene.groups.sent(&scene.list, 1);
        assert_eq!(scene.groups.release(&scene.list, 1, 0), None, "it is under way");
    }

    #[test]
    fn when_a_leader_fails_the_last_that_waits_takes_over() {
        for failing in 0..3 {
            let mut scene = Scene::with(false, &[0, 0, 0]);
            (0..failing).for_each(|index| scene.groups.defer(&scene.list, index));
            scene.groups.sent(&scene.list, failing);
            for index in failing + 1..3 {
                assert!(matches!(scene.standing(index, 0), Standing::Waits(_)));
            }
            let next = if failing == 2 { 1 } else { 2 };
            assert_eq!(scene.groups.fail(&scene.list, failing), Some(next));
            assert_eq!(
                scene.standing(next, 0),
                if next == 1 || failing == 1 { Standing::Leaderless } else { scene.standing(next, 0) }
            );
            scene.groups.sent(&scene.list, next);
            let others: Vec<i32> = (0..3).rev().filter(|&index| index != next && index != failing).collect();
            assert_eq!(scene.lead(next, 0), others, "{failing} failed");
        }
    }

    #[test]
    fn a_leader_may_fail_before_all_had_their_turn() {
        let mut scene = Scene::with(false, &[0, 0, 0, 0]);
        scene.groups.defer(&scene.list, 0);
        scene.groups.sent(&scene.list, 1);
        assert!(matches!(scene.standing(2, 0), Standing::Waits(_)));
        assert_eq!(scene.groups.fail(&scene.list, 1), None, "the last will come");
        assert_eq!(scene.standing(3, 0), Standing::Leaderless);
        scene.groups.sent(&scene.list, 3);
        assert_eq!(scene.lead(3, 0), [2, 0]);
    }

    #[test]
    fn what_is_asked_for_after_the_walk_is_awaited_by_those_that_want_its_name() {
        let mut scene = Scene::with(false, &[0, 0, 0, 1, 1]);
        [0, 1].iter().for_each(|&index| scene.groups.defer(&scene.list, index));
        [2, 3].iter().for_each(|&index| scene.groups.sent(&scene.list, index));
        scene.groups.heard_of(3);
        scene.groups.end_of_walk();
        assert!(scene.groups.is_asked(2) && !scene.groups.is_asked(3));
        assert!(!scene.groups.awaits(&scene.list), "the end of the phase tells");
        assert_eq!(scene.groups.unanswered().into_iter().collect::<Vec<_>>(), [2]);
        assert_eq!(scene.groups.fail(&scene.list, 2), Some(1));
        scene.groups.sent(&scene.list, 3);
        assert!(!scene.groups.awaits(&scene.list), "nobody waits for it");
        scene.groups.sent(&scene.list, 1);
        assert!(scene.groups.awaits(&scene.list));
        scene.groups.heard_of(1);
        assert!(!scene.groups.awaits(&scene.list));
        assert_eq!(scene.lead(1, 0), [0]);
    }

    #[test]
    fn all_may_fail() {
        let mut scene = Scene::with(false, &[0, 0]);
        scene.groups.defer(&scene.list, 0);
        scene.groups.sent(&scene.list, 1);
        assert_eq!(scene.groups.fail(&scene.list, 1), Some(0));
        scene.groups.sent(&scene.list, 0);
        assert_eq!(scene.groups.fail(&scene.list, 0), None);
        assert_eq!([scene.groups.fail(&scene.list, 0), scene.groups.fail(&scene.list, 7)], [None, None]);
    }
}
