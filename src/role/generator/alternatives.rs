//! Looking for an entry in the alternative directories: linked or copied from there, passed over, or built on.

use std::{io, mem};

use super::{
    Generator,
    basis::{Like, Origin},
    decide::Visit,
    hard_links::Led,
};
use crate::{
    bytes,
    dest::{
        alternatives::Alternative,
        duplicate::{self, Original},
    },
    error::Result,
    fs::Root,
    log::LogCode,
    meta::{Kind, apply::How, fake},
    options::AltDest,
    proto::item::{Basis, Flags},
    role::Pass,
    sys::stat::Stat,
};

/// How like the wanted entry one found elsewhere is. C: match_level
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Likeness {
    /// Of the same type.
    Kind,
    /// By the quick check it has the same content.
    Content,
    /// Its attributes are right as well.
    Attributes,
}

/// The most alike, and of those the first.
struct Found {
    likeness: Likeness,
    position: u8,
    like: Like,
}

/// What came of looking for a regular file.
pub(super) enum Tried {
    /// There is nothing of use.
    Nothing,
    /// It has content to build on: the directory's position, and what stands there.
    Basis(u8, Stat),
    /// The file needs nothing more.
    Settled,
}

/// What came of looking for anything else.
pub(super) enum Other {
    /// The entry is to be made, and unless it was told already, told as new or as a change to this.
    Make { like: Option<Like>, told: bool },
    /// The entry needs nothing more.
    Settled,
}

impl Generator<'_> {
    /// Looks for a regular file; `old`: what stands at the destination, which only an equal file may replace.
    /// C: generator.c try_dests_reg
    pub(super) fn find_file(&mut self, visit: Visit<'_>, old: &mut io::Result<Stat>) -> Result<Tried> {
        let Some(kind) = self.alternatives.kind() else { return Ok(Tried::Nothing) };
        if kind == AltDest::Copy && old.is_ok() {
            return Ok(Tried::Nothing);
        }
        let Some(found) = self.find(visit)? else { return Ok(Tried::Nothing) };
        match found.likeness {
            Likeness::Attributes if kind != AltDest::Copy => self.use_equal(visit, kind, &found, old),
            _ if old.is_ok() => Ok(Tried::Nothing),
            // Only the file itself is appended to: what another one begins with would be missing.
            Likeness::Kind if self.appends(visit) => Ok(Tried::Nothing),
            Likeness::Kind => Ok(Tried::Basis(found.position, found.like.stat)),
            _ => self.use_copy(visit, &found),
        }
    }

    /// Asks for a file of which an alternative directory has an older one.
    pub(super) fn request_from_alternative(&mut self, visit: Visit<'_>, position: u8, stat: Stat) -> Result<()> {
        let shown = self.alternatives.get(position.into()).map(|alternative| alternative.name(visit.path));
        let origin = Origin { basis: Basis::AltDest(position), name: None, shown };
        self.request_from(visit, origin, Some(stat), stat.size)
    }

    /// Goes through the directories until one has it all.
    fn find(&self, visit: Visit<'_>) -> Result<Option<Found>> {
        let (rules, wanted) = (&self.transfer.rules, &visit.wanted);
        let mut best: Option<Found> = None;
        for (position, alternative) in self.alternatives.numbered() {
            let Some(root) = alternative.root() else { continue };
            let Ok(stat) = self.stat_elsewhere(alternative, visit.path)? else { continue };
            if Kind::of(stat.mode) != wanted.kind() {
                continue;
            }
            let same = visit.pass == Pass::First && rules.quick_check(wanted, &stat, root, visit.path)?;
            let mut like = Like::alternative(stat, position, alternative.name(visit.path));
            let likeness = match same {
                false => Likeness::Kind,
                true if !self.attrs_unchanged(wanted, &mut like, root, visit.path) => Likeness::Content,
                true => Likeness::Attributes,
            };
            if best.as_ref().is_none_or(|best| likeness > best.likeness) {
                best = Some(Found { likeness, position, like });
            }
            if likeness == Likeness::Attributes {
                break;
            }
        }
        Ok(best)
    }

    /// The same file is there with the same attributes: a link to it, or nothing at all, will do.
    fn use_equal(
        &mut self,
        visit: Visit<'_>,
        kind: AltDest,
        found: &Found,
        old: &mut io::Result<Stat>,
    ) -> Result<Tried> {
        if let Ok(stat) = old {
            let linked_already = kind == AltDest::Link && stat.same_file(&found.like.stat);
            if linked_already || !self.clear_away(visit) {
                return Ok(Tried::Nothing);
            }
            *old = Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        if kind == AltDest::Link {
            if !self.link_file(visit, found) {
                return self.use_copy(visit, found);
            }
            self.lead(visit, Led { stat: Some(found.like.stat), from: Some(found.position), told: false })?;
            if !self.reports() && (self.name_level() >= 2 || self.transfer.itemize() > 1) {
                self.itemize(visit, Some(&found.like), Flags::LOCAL_CHANGE | Flags::XNAME_FOLLOWS)?;
            }
        } else if self.itemizing {
            self.itemize(visit, Some(&found.like), Flags::default())?;
        }
        self.tell_up_to_date(visit, "");
        Ok(Tried::Settled)
    }

    /// Removes what stands where the same file, from elsewhere, is to take its place.
    fn clear_away(&self, visit: Visit<'_>) -> bool {
        !self.transfer.for_real()
            || match self.root.unlink(visit.path) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            }
    }

    fn link_file(&self, visit: Visit<'_>, found: &Found) -> bool {
        let Some((alternative, _)) = self.alternative(found.position) else { return false };
        match alternative.link(self.dest(), visit.path) {
            Ok(()) => {
                if self.transfer.rules.atimes {
                    self.dest().set_attrs(visit.path, &visit.wanted, &found.like.stat, How::default());
                }
                true
            }
            Err(error) => {
                if self.name_level() >= 1 {
                    let (new, old) = (self.names.full(visit.path), alternative.name(visit.path));
                    self.log.syserr(LogCode::Info, bytes!["link ", new, " => ", old, " failed"], &error);
                }
                false
            }
        }
    }

    /// The same content is there: it is copied here, and gets the attributes it shall have.
    fn use_copy(&mut self, visit: Visit<'_>, found: &Found) -> Result<Tried> {
        if self.transfer.for_real() && !self.copy_file(visit, found)? {
            return Ok(Tried::Nothing);
        }
        if self.itemizing {
            self.itemize(visit, Some(&found.like), Flags::LOCAL_CHANGE)?;
        }
        if found.likeness == Likeness::Attributes {
            self.tell_up_to_date(visit, "");
        } else if self.reports() && !self.itemizing && self.name_level() >= 1 {
            self.log.say(LogCode::Info, visit.path);
        }
        self.lead(visit, Led::known(found.like.stat))?;
        Ok(Tried::Settled)
    }

    fn copy_file(&mut self, visit: Visit<'_>, found: &Found) -> Result<bool> {
        let mut tools = mem::take(&mut self.copying);
        let excludes = self.excluded_xattrs();
        let done = self.alternative(found.position).map_or(Ok(false), |(alternative, root)| {
            let (path, name) = (visit.path, alternative.name(visit.path));
            let original = Original { root, path, name, excludes: excludes.as_deref() };
            duplicate::file(self.dest(), &original, visit.path, &visit.wanted, &mut tools)
        });
        drop(excludes);
        self.copying = tools;
        done
    }

    /// What an alternative directory has of a name that is to be linked to the file `leader`; and whether, being another
    /// name of that already, it is not worth a word. C: in hlink.c hard_link_check
    pub(super) fn find_linked(&self, visit: Visit<'_>, leader: &Stat) -> Result<(Option<Like>, bool)> {
        let rules = &self.transfer.rules;
        let (mut last, mut alike) = (None, false);
        for (position, alternative) in self.alternatives.numbered() {
            let Ok(stat) = self.stat_elsewhere(alternative, visit.path)? else { continue };
            let mut like = Like::alternative(stat, position, alternative.name(visit.path));
            last = Some(like.clone());
            if self.alternatives.kind() == Some(AltDest::Link) {
                if stat.same_file(leader) {
                    let quiet = self.transfer.itemize() == 0 || self.name_level() < 2 && self.transfer.itemize() < 2;
                    return Ok((last, quiet));
                }
                continue;
            }
            let Some(root) = alternative.root().filter(|_| visit.wanted.kind() == Kind::Regular) else { continue };
            if rules.quick_check(&visit.wanted, &stat, root, visit.path)? {
                alike = true;
                let same = self.attrs_unchanged(&visit.wanted, &mut like, root, visit.path);
                last = Some(like);
                if same {
                    break;
                }
            }
        }
        Ok((last.filter(|_| alike), false))
    }

    pub(super) fn tell_up_to_date(&self, visit: Visit<'_>, slash: &str) {
        if self.name_level() >= 2 && self.reports() {
            self.log.say(LogCode::Client, bytes![visit.path, slash, " is uptodate"]);
        }
    }

    /// Looks for a directory, symlink, device or special file, unless something stands at the destination (`old`);
    /// where `--link-dest` wants it, a link to the same one is made. C: generator.c try_dests_non
    pub(super) fn find_other(&mut self, visit: Visit<'_>, old: Option<&Stat>) -> Result<Other> {
        if let Some(old) = old {
            let same_kind = Kind::of(old.mode) == visit.wanted.kind();
            return Ok(Other::Make { like: same_kind.then(|| Like::own(*old)), told: false });
        }
        match (self.alternatives.kind(), self.find(visit)?) {
            (Some(kind), Some(found)) if found.likeness == Likeness::Attributes => self.use_same(visit, kind, &found),
            (_, found) => Ok(Other::Make { like: found.map(|found| found.like), told: false }),
        }
    }

    fn use_same(&mut self, visit: Visit<'_>, kind: AltDest, found: &Found) -> Result<Other> {
        let is_dir = visit.wanted.kind() == Kind::Directory;
        let from = self.alternative(found.position).filter(|_| kind == AltDest::Link && !is_dir);
        let linked = from.is_some_and(|(from, _)| from.link(self.dest(), visit.path).is_ok());
        if linked {
            self.lead(visit, Led::default())?;
        }
        let passed_over = kind == AltDest::Compare && !is_dir;
        if self.itemizing && self.transfer.itemize() > 0 && (self.name_level() >= 2 || self.transfer.itemize() > 1) {
            let change = match (passed_over, linked) {
                (true, _) => Flags::default(),
                (_, true) => Flags::LOCAL_CHANGE | Flags::XNAME_FOLLOWS,
                (_, false) => Flags::LOCAL_CHANGE,
            };
            self.itemize(visit, Some(&found.like), change | Flags::MATCHED)?;
        }
        self.tell_up_to_date(visit, if is_dir { "/" } else { "" });
        Ok(if linked || passed_over {
            Other::Settled
        } else {
            Other::Make { like: Some(found.like.clone()), told: true }
        })
    }

    /// What is called `path` in an alternative directory; a link itself.
    pub(super) fn stat_elsewhere(&self, alternative: &Alternative, path: &[u8]) -> Result<io::Result<Stat>> {
        fake::unless_fatal(alternative.stat(self.dest(), path))
    }

    fn alternative(&self, position: u8) -> Option<(&Alternative, &Root)> {
        let alternative = self.alternatives.get(position.into())?;
        Some((alternative, alternative.root()?))
    }
}
