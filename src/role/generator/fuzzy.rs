//! A basis under a similar name (`--fuzzy`): the files of the directory, and of its counterparts in the alternative
//! directories, are looked through for the most alike.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use super::{Generator, basis::Origin, decide::Visit};
use crate::{
    bytes,
    error::Result,
    flist::{Entry, Flags, dump::tell_listing, io_error, order::Order},
    fs::{
        Root,
        scan::{Kind, Scan},
    },
    log::LogCode,
    options::Debug,
    proto::item::Basis,
    sys::{stat::Stat, users::effective_uid},
    text::{
        path::inside,
        similar::{FARTHEST, Ruler},
    },
};

/// The files that may serve as a basis in one directory, and in those that stand for it elsewhere.
#[derive(Default)]
pub(super) struct Lists {
    /// The directory we are in; `None`: in one that is not there.
    dir: Option<Vec<u8>>,
    /// `None`: not read yet. The destination's own comes first, then the alternatives'.
    lists: Option<Vec<Vec<Candidate>>>,
    scan: Scan,
}

/// A regular file with content.
struct Candidate {
    name: Vec<u8>,
    size: u64,
    mtime: (i64, u32),
    /// It is being updated, so it cannot serve.
    changing: bool,
}

impl Lists {
    /// The next entry is in `dir`: what was read of another directory is forgotten.
    pub fn enter(&mut self, dir: &[u8]) {
        if self.dir.as_deref() != Some(dir) {
            self.dir = Some(dir.to_vec());
            self.lists = None;
        }
    }

    /// The next entry is in a directory that a dry run did not make: there is nothing to look through.
    pub fn leave(&mut self) {
        self.dir = None;
        self.lists = Some(Vec::new());
    }

    /// The file of that name is about to be updated.
    fn note_changing(&mut self, name: &[u8]) {
        let own = self.lists.as_mut().and_then(|lists| lists.first_mut());
        if let Some(list) = own
            && let Ok(at) = list.binary_search_by(|candidate| candidate.name.as_slice().cmp(name))
            && let Some(candidate) = list.get_mut(at)
        {
            candidate.changing = true;
        }
    }

    /// Each candidate with the number of its list.
    fn candidates(&self) -> impl Iterator<Item = (u8, &Candidate)> {
        let lists = (0..).zip(self.lists.iter().flatten());
        lists
            .flat_map(|(number, list)| list.iter().map(move |candidate| (number, candidate)))
            .filter(|(_, candidate)| !candidate.changing)
    }
}

impl Generator<'_> {
    /// A file like the one wanted that can be its basis, and its size. C: generator.c find_fuzzy
    pub(super) fn find_similar(&mut self, visit: Visit<'_>) -> Result<Option<(Origin, u64)>> {
        if self.transfer.options.fuzzy == 0 || self.appends(visit) {
            return Ok(None); // only the file itself is appended to
        }
        if self.fuzzy.lists.is_none() {
            self.list_candidates(visit.entry);
        }
        let Some((list, chosen)) = self.choose(visit) else { return Ok(None) };
        let (name, size) = (chosen.name.clone(), chosen.size);
        let shown = self.candidate_name(list, &name);
        if self.log.debug(Debug::Fuzzy) >= 1 {
            self.log.say(LogCode::Info, bytes!["fuzzy basis selected for ", visit.path, ": ", shown]);
        }
        let origin = Origin { basis: Basis::Fuzzy(list), name: Some(name), shown: Some(shown) };
        Ok(Some((origin, size)))
    }

    /// A file that is about to be updated is no basis for another.
    pub(super) fn note_changing(&mut self, visit: Visit<'_>) {
        if self.transfer.options.fuzzy > 0 {
            self.fuzzy.note_changing(visit.entry.base());
        }
    }

    /// The first of the same size and time, else the nearest by name, the last of several.
    fn choose(&self, visit: Visit<'_>) -> Option<(u8, &Candidate)> {
        let (wanted, trace) = (&visit.wanted, self.log.debug(Debug::Fuzzy) >= 2);
        let seconds = (wanted.mtime.0, 0);
        let same = |candidate: &Candidate| {
            candidate.size == wanted.size && self.transfer.rules.same_time((candidate.mtime.0, 0), seconds)
        };
        if let Some((list, candidate)) = self.fuzzy.candidates().find(|(_, candidate)| same(candidate)) {
            if trace {
                let name = self.candidate_name(list, &candidate.name);
                self.log.say(LogCode::Info, bytes!["fuzzy size/modtime match for ", name]);
            }
            return Some((list, candidate));
        }
        let mut ruler = Ruler::new(trace);
        let (mut nearest, mut chosen) = (FARTHEST, None);
        for (list, candidate) in self.fuzzy.candidates() {
            let far = ruler.distance(&candidate.name, visit.entry.base(), nearest);
            if trace {
                let shown = format!(" = {}.{:05}", far >> 16, far & 0xffff);
                let name = self.candidate_name(list, &candidate.name);
                self.log.say(LogCode::Info, bytes!["fuzzy distance for ", name, shown]);
            }
            if far <= nearest {
                (nearest, chosen) = (far, Some((list, candidate)));
            }
        }
        chosen
    }

    fn candidate_name(&self, list: u8, name: &[u8]) -> Vec<u8> {
        self.listed_name(list, &inside(self.fuzzy.dir.as_deref().unwrap_or_default(), name))
    }

    fn listed_name(&self, list: u8, path: &[u8]) -> Vec<u8> {
        match list.checked_sub(1).and_then(|position| self.alternatives.get(position.into())) {
            Some(alternative) => alternative.name(path),
            None => path.to_vec(),
        }
    }

    /// Lists the directory, and with `-yy` those of the same name elsewhere.
    fn list_candidates(&mut self, entry: Entry<'_>) {
        let dir = if entry.dir().is_empty() { b"." } else { entry.dir() };
        let mut scan = std::mem::take(&mut self.fuzzy.scan);
        let mut lists = Vec::new();
        for number in 0..self.transfer.options.fuzzy {
            let root = match number.checked_sub(1) {
                None => Some(&self.root),
                Some(position) => self.alternatives.get(position.into()).and_then(|alternative| alternative.root()),
            };
            let mut listing = Vec::new();
            let met = |name: &[u8], look: &dyn Fn() -> io::Result<Stat>| {
                let level = self.log.debug(Debug::Flist);
                if level >= 2 {
                    let line = bytes!["[generator] make_file(", self.candidate_name(number, name), ",*,1)"];
                    self.log.say(LogCode::Info, line);
                }
                if level >= 3
                    && let Ok(stat) = look()
                {
                    listing.push((self.candidate_name(number, name), stat, Flags::NONE));
                }
            };
            let look = |handle: BorrowedFd<'_>, name: &[u8]| {
                self.dest().stat_at(handle, name, || self.candidate_name(number, name))
            };
            let list = root.map_or_else(|| Ok(Vec::new()), |root| candidates_in(root, dir, &mut scan, met, look));
            let version = self.transfer.protocol.version;
            let order = Order::of(version);
            listing.sort_by(|(a, one, _), (b, other, _)| order.of_names((a, one.is_dir()), (b, other.is_dir())));
            tell_listing(&self.log, &self.transfer.options, &listing, effective_uid(), version >= 31);
            lists.push(list.unwrap_or_else(|error| {
                // A link in the directory's place is told of by the file that cannot be looked at through it.
                if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) {
                    let shown = self.listed_name(number, dir);
                    let what = bytes!["opendir ", self.names.full(&shown), " failed"];
                    self.log.syserr(LogCode::ErrorXfer, what, &error);
                    self.io_error |= io_error::GENERAL;
                }
                Vec::new()
            }));
        }
        self.fuzzy.lists = Some(lists);
        self.fuzzy.scan = scan;
    }
}

/// The regular, non-empty files of a directory, by name; `met` hears of everything that is there.
fn candidates_in(
    root: &Root,
    dir: &[u8],
    scan: &mut Scan,
    mut met: impl FnMut(&[u8], &dyn Fn() -> io::Result<Stat>),
    look: impl Fn(BorrowedFd<'_>, &[u8]) -> io::Result<Stat>,
) -> io::Result<Vec<Candidate>> {
    let handle = root.open_dir(dir)?;
    let mut found = Vec::new();
    scan.start();
    while let Some(item) = scan.next(handle.as_fd())? {
        let look = || look(handle.as_fd(), item.name);
        met(item.name, &look);
        if !matches!(item.kind, Kind::File | Kind::Unknown) {
            continue;
        }
        // What is gone meanwhile, or cannot be looked at, is no basis.
        if let Ok(stat) = look()
            && stat.is_file()
            && stat.size > 0
        {
            found.push(Candidate { name: item.name.to_vec(), size: stat.size, mtime: stat.mtime, changing: false });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}
