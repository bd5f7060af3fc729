//! Asking for a file: what we have of it, its block sums, and the item that goes to the sender.

use std::{borrow::Cow, fs::File, io};

use super::{Generator, decide::Visit, hard_links::Led};
use crate::{
    bytes,
    delta::blocks::{BlockLayout, SumLength},
    dest::{backup, partial},
    error::Result,
    fs::Root,
    log::LogCode,
    meta::{
        Wanted,
        xattr::{self, Asked, Difference, Excluding, List, Policy, Subject},
    },
    options::{Append, Debug},
    proto::{
        item::{self, Flags, Item},
        ndx::Index,
        sums::{SumHead, write_block},
    },
    role::{About, Pass, wishes::Wish},
    sys::stat::Stat,
    text::path::inside,
};

/// What the sender may build on.
pub(super) enum Basis {
    /// Nothing: the whole file is wanted.
    None,
    File(File, u64),
    /// There is one, but it cannot be read: as if the file did not exist.
    Unreadable,
}

/// Which file the basis is; by default the destination's own.
#[derive(Clone, Default)]
pub(super) struct Origin {
    pub basis: item::Basis,
    /// A name other than the entry's.
    pub name: Option<Vec<u8>>,
    /// How messages call it, if not by the entry's path.
    pub shown: Option<Vec<u8>>,
}

impl Origin {
    fn shown<'o>(&'o self, visit: Visit<'o>) -> &'o [u8] {
        self.shown.as_deref().unwrap_or(visit.path)
    }

    /// The request with what the receiver must know to open the same file.
    fn item(&self, mut flags: Flags) -> Item {
        if self.basis != item::Basis::Same {
            flags |= Flags::BASIS_TYPE_FOLLOWS;
        }
        if self.name.is_some() {
            flags |= Flags::XNAME_FOLLOWS;
        }
        Item { flags, basis: self.basis, name: self.name.clone() }
    }
}

/// What a change is told against: the file here, or one that is to be built on.
#[derive(Clone)]
pub(super) struct Like {
    pub stat: Stat,
    pub origin: Origin,
    /// Whether its access control lists are others than those wanted, if they were compared.
    pub other_acls: Option<bool>,
    /// What it lacks of the extended attributes wanted, if they were compared.
    pub lacking: Option<Difference>,
}

impl Like {
    pub fn own(stat: Stat) -> Self {
        Self::new(stat, Origin::default())
    }

    pub fn alternative(stat: Stat, position: u8, shown: Vec<u8>) -> Self {
        Self::new(stat, Origin { basis: item::Basis::AltDest(position), name: None, shown: Some(shown) })
    }

    fn new(stat: Stat, origin: Origin) -> Self {
        Self { stat, origin, other_acls: None, lacking: None }
    }

    /// Its place is not the entry's own.
    pub fn is_elsewhere(&self) -> bool {
        self.origin.basis != item::Basis::Same
    }
}

impl Generator<'_> {
    /// Asks for a file of which `origin` has something already. `old`: what the change is told against.
    pub(super) fn request_from(
        &mut self,
        visit: Visit<'_>,
        mut origin: Origin,
        old: Option<Stat>,
        size: u64,
    ) -> Result<()> {
        let for_real = self.transfer.for_real();
        let opens = for_real && !self.transfer.whole_file && !self.transfer.plays();
        let basis = if opens { self.open_basis(visit, &origin, size) } else { Basis::None };
        if matches!(basis, Basis::Unreadable) && self.may_wait(visit) {
            self.defer(visit);
            return Ok(());
        }
        if for_real && self.loses_old(visit, &origin) && !matches!(basis, Basis::Unreadable) {
            if self.removing(|remover| backup::duplicate(remover, visit.path))?.is_err() {
                return Ok(()); // which was said
            }
            if opens {
                origin.basis = item::Basis::Backup;
            }
        }
        self.request(visit, &origin, old, basis)
    }

    /// Asks for a file of which the partial directory has something; `old` is what the change is told against.
    pub(super) fn request_from_partial(&mut self, visit: Visit<'_>, old: Option<Stat>, partial: &Stat) -> Result<()> {
        let shown = partial::spot(self.dest(), visit.path).map(|partial| partial.file.shown().to_vec());
        let origin = Origin { basis: item::Basis::Partial, name: None, shown };
        self.request_from(visit, origin, old, partial.size)
    }

    /// Whether the old content, of which a backup is wanted, will be overwritten. After a failed try there is one.
    fn loses_old(&self, visit: Visit<'_>, origin: &Origin) -> bool {
        let options = &self.transfer.options;
        options.inplace && options.backup && origin.basis == item::Basis::Same && visit.pass == Pass::First
    }

    fn open_basis(&mut self, visit: Visit<'_>, origin: &Origin, size: u64) -> Basis {
        self.note_changing(visit);
        // What others may have put there meanwhile must not hold us up.
        let flags = if origin.basis == item::Basis::Same { 0 } else { libc::O_NONBLOCK };
        let opened = match self.origin_place(visit, origin) {
            Some((root, path)) => root.open_read(&path, flags),
            None => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        };
        match opened {
            Ok(file) => Basis::File(file, size),
            Err(error) => {
                let what = bytes!["failed to open ", self.names.full(origin.shown(visit)), ", continuing"];
                self.log.syserr(LogCode::Error, what, &error);
                Basis::Unreadable
            }
        }
    }

    /// The tree and the path in it where the basis lies.
    fn origin_place<'o>(&'o self, visit: Visit<'o>, origin: &Origin) -> Option<(&'o Root, Cow<'o, [u8]>)> {
        if origin.basis == item::Basis::Partial {
            let partial = partial::spot(self.dest(), visit.path)?;
            return Some((partial.file.root, partial.file.path));
        }
        let root = match origin.basis {
            item::Basis::AltDest(position) => self.alternatives.get(position.into())?.root()?,
            item::Basis::Fuzzy(list @ 1..) => self.alternatives.get(usize::from(list - 1))?.root()?,
            _ => &self.root,
        };
        let path = match &origin.name {
            Some(name) => Cow::Owned(inside(visit.entry.dir(), name)),
            None => Cow::Borrowed(visit.path),
        };
        Some((root, path))
    }

    /// Writes the request for a file: index, item, sums of the basis.
    pub(super) fn request(&mut self, visit: Visit<'_>, origin: &Origin, old: Option<Stat>, basis: Basis) -> Result<()> {
        let old = old.filter(|_| !matches!(basis, Basis::Unreadable));
        if let Some(groups) = self.groups.as_mut().filter(|_| visit.entry.hard_link().is_some()) {
            groups.sent(&self.list, visit.index);
        }
        if self.incremental()
            && self.transfer.for_real()
            && let Some(progress) = self.progress.get_mut(self.current)
        {
            progress.under_way += 1;
        }
        if let Some(wishes) = &self.wishes {
            wishes.tell(Wish::File(visit.index));
            return if self.transfer.for_real() {
                Ok(())
            } else {
                self.lead(visit, Led::known(old.unwrap_or_default()))
            };
        }
        self.outgoing.write(self.writer, Index::Entry(visit.index))?;
        if self.itemizing {
            let checked = self.transfer.options.checksum && visit.pass == Pass::First;
            let bits = if checked { Flags::TRANSFER | Flags::REPORT_CHANGE } else { Flags::TRANSFER };
            let mut item = origin.item(bits);
            let like = old.map(|stat| Like::new(stat, origin.clone()));
            let (flags, missing) = self.item_flags(visit, like.as_ref(), item.flags, item.name.is_some());
            item.flags = flags;
            self.write_item(visit, &item, missing)?;
        }
        if let Basis::File(_, size) = &basis {
            self.debug_sums(3, || bytes!["gen mapped ", origin.shown(visit), " of size ", *size]);
            self.debug_sums(2, || bytes!["generating and sending sums for ", visit.index]);
        }
        match basis {
            _ if !self.transfer.for_real() => self.lead(visit, Led::known(old.unwrap_or_default())),
            Basis::File(file, size) if size > 0 => self.write_sums(visit, origin, file, size),
            _ => SumHead::default().write(self.writer),
        }
    }

    fn debug_sums(&self, level: u8, line: impl FnOnce() -> Vec<u8>) {
        if self.log.debug(Debug::Deltasum) >= level {
            self.log.say(LogCode::Info, line());
        }
    }

    /// C: generator.c generate_and_send_sums
    fn write_sums(&mut self, visit: Visit<'_>, origin: &Origin, file: File, size: u64) -> Result<()> {
        let length = if visit.pass == Pass::First { SumLength::Short } else { SumLength::Full };
        let protocol = &self.transfer.protocol;
        let Some(layout) = BlockLayout::new(size, self.transfer.options.block_size, protocol, length) else {
            let line = bytes!["WARNING: file is too large for checksum sending: ", origin.shown(visit)];
            self.log.say(LogCode::Warning, line);
            return SumHead::default().write(self.writer);
        };
        let (log, trace) = (&self.log, self.log.debug(Debug::Deltasum));
        if trace >= 2 {
            log.say(LogCode::Info, layout.describe());
        }
        let head = layout.head();
        head.write(self.writer)?;
        if self.appends(visit) {
            return Ok(()); // the sender need only know how long it is
        }
        let writer = &mut *self.writer;
        layout.for_each_sum(file, protocol, |block| {
            if trace >= 3 {
                let sum = format!(" sum1={:08x}", block.weak);
                let line = bytes!["chunk[", block.index, "] offset=", block.offset, " len=", block.len, sum];
                log.say(LogCode::Info, line);
            }
            write_block(writer, block.weak, block.strong, head.sum_len)
        })
    }

    /// What is there stays. What failed its sum is no longer appended to.
    pub(super) fn appends(&self, visit: Visit<'_>) -> bool {
        self.transfer.append != Append::No && visit.pass == Pass::First
    }

    fn item_flags(&self, visit: Visit<'_>, like: Option<&Like>, flags: Flags, named: bool) -> (Flags, Vec<i32>) {
        let mut flags = self.transfer.rules.item_flags(&visit.wanted, like.map(|like| &like.stat), flags, named);
        if like.is_some_and(|like| self.acls_differ(visit, like)) {
            flags |= Flags::REPORT_ACL;
        }
        let Some(difference) = self.xattrs_lacking(visit, like) else { return (flags, Vec::new()) };
        if difference.differs {
            flags |= Flags::REPORT_XATTR;
        }
        (flags, difference.missing)
    }

    /// Whether the access control lists of what the entry is compared with are others.
    pub(super) fn acls_differ(&self, visit: Visit<'_>, like: &Like) -> bool {
        like.other_acls.unwrap_or_else(|| {
            self.origin_place(visit, &like.origin).is_some_and(|(root, path)| {
                let shown = like.origin.shown(visit);
                self.transfer.rules.acls_differ(&visit.wanted, &like.stat, (root, &path), shown, &self.log)
            })
        })
    }

    /// In which extended attributes the entry and what it is compared with differ; `None`: none are kept.
    fn xattrs_lacking(&self, visit: Visit<'_>, like: Option<&Like>) -> Option<Difference> {
        let policy = self.transfer.rules.xattrs.as_ref()?;
        if let Some(lacking) = like.and_then(|like| like.lacking.clone()) {
            return Some(lacking);
        }
        let there = like.and_then(|like| {
            let (root, path) = self.origin_place(visit, &like.origin)?;
            self.read_xattrs(policy, root, &path, like.origin.shown(visit), like.stat.mode)
        });
        Some(visit.wanted.xattrs?.difference(there.as_ref().unwrap_or(&xattr::NONE)))
    }

    /// Whether the attributes, extended ones among them, of what stands at a path are right already; what comes of
    /// comparing them is noted. C: generator.c unchanged_attrs
    pub(super) fn attrs_unchanged(&self, wanted: &Wanted<'_>, like: &mut Like, root: &Root, path: &[u8]) -> bool {
        let rules = &self.transfer.rules;
        if !rules.stat_unchanged(wanted, &like.stat) {
            return false;
        }
        let shown = like.origin.shown.as_deref().unwrap_or(path);
        let other_acls = rules.acls_differ(wanted, &like.stat, (root, path), shown, &self.log);
        like.other_acls = Some(other_acls);
        if other_acls {
            return false;
        }
        let (Some(policy), Some(list)) = (&rules.xattrs, wanted.xattrs) else { return true };
        let shown = like.origin.shown.as_deref().unwrap_or(path);
        let there = self.read_xattrs(policy, root, path, shown, like.stat.mode);
        let lacking = list.difference(there.as_ref().unwrap_or(&xattr::NONE));
        let same = !lacking.differs;
        like.lacking = Some(lacking);
        same
    }

    /// What stands at a path, as far as attributes are kept; `None`, which was said: it cannot be read.
    fn read_xattrs(&self, policy: &Policy, root: &Root, path: &[u8], shown: &[u8], mode: u32) -> Option<List> {
        let (name, excludes) = (|| self.names.full(shown), self.excluded_xattrs());
        let read = root.xattrs(path, |on| {
            let subject = Subject { excludes: excludes.as_deref(), ..Subject::new(on, &name, &self.log) };
            Ok(policy.read(subject, mode))
        });
        read.ok().flatten()
    }

    /// Which extended attributes rules leave out, if there are such rules: those of the directory at hand count, too.
    pub(super) fn excluded_xattrs(&self) -> Option<Box<Excluding<'_>>> {
        let excludes = |name: &[u8]| self.filters.excludes_xattr(name, &self.log);
        self.filters.has_xattr().then(|| Box::new(excludes) as _)
    }

    /// Copies the extended attributes of a directory that is made like one elsewhere.
    /// C: generator.c gen_entry_copy_xattrs
    pub(super) fn copy_xattrs(&self, visit: Visit<'_>, like: &Like) {
        let Some(policy) = self.transfer.rules.xattrs.as_ref().filter(|_| self.transfer.for_real()) else { return };
        let Some((from, path)) = self.origin_place(visit, &like.origin) else { return };
        let (old, new) = (|| self.names.full(&path), || self.names.full(visit.path));
        let excludes = self.excluded_xattrs();
        let reached = from.xattrs(&path, |from| {
            self.root.xattrs(visit.path, |to| {
                let from = Subject { excludes: excludes.as_deref(), ..Subject::new(from, &old, &self.log) };
                let to = Subject { held: true, ..Subject::new(to, &new, &self.log) }; // as the reference does
                policy.copy(from, to); // a failure was said
                Ok(())
            })
        });
        if let Err(error) = reached {
            let what = bytes!["gen_entry_copy_xattrs: secure open of ", new(), " failed"];
            self.log.syserr(LogCode::ErrorXfer, what, &error);
        }
    }

    /// Writes an item, and asks for the values of extended attributes that are not here.
    fn write_item(&mut self, visit: Visit<'_>, item: &Item, missing: Vec<i32>) -> Result<()> {
        item.write(self.writer, self.transfer.protocol.version)?;
        let concerned = item.flags.any(Flags::REPORT_XATTR | Flags::TRANSFER) && self.transfer.for_real();
        if concerned && let Some(list) = visit.wanted.xattrs.filter(|_| self.transfer.rules.xattrs.is_some()) {
            list.settle();
            if self.transfer.tells_xattrs(item.flags) {
                return Asked::new(missing).write(self.writer);
            }
        }
        Ok(())
    }

    /// As [`Self::itemize`] with the name of what the entry is linked to; an empty one says that it was already.
    pub(super) fn itemize_as(
        &mut self,
        visit: Visit<'_>,
        like: Option<&Like>,
        flags: Flags,
        name: &[u8],
    ) -> Result<()> {
        let named = !name.is_empty();
        let (flags, missing) = self.item_flags(visit, like, flags, named);
        let quiet = self.name_level() < 2 && self.transfer.itemize() < 2 && !named;
        if quiet && !flags.any(Flags::SIGNIFICANT) {
            return Ok(());
        }
        if self.transfer.protocol.version >= 29 {
            self.outgoing.write(self.writer, Index::Entry(visit.index))?;
            return self.write_item(visit, &Item { name: Some(name.to_vec()), ..Item::new(flags) }, missing);
        }
        if !self.transfer.plays() {
            let about = About { bits: flags.0, hard_link: name, ..About::default() };
            self.transfer.tell(&self.log, visit.entry, &about, self.transfer.hears_of_items());
        }
        Ok(())
    }

    /// Tells the sender (or, before protocol 29, our own user) what changed about an entry. C: generator.c itemize
    pub(super) fn itemize(&mut self, visit: Visit<'_>, like: Option<&Like>, flags: Flags) -> Result<()> {
        let (flags, missing) = self.item_flags(visit, like, flags, false);
        if !flags.any(Flags::SIGNIFICANT) && self.name_level() < 2 && self.transfer.itemize() < 2 {
            return Ok(());
        }
        if self.transfer.protocol.version >= 29 {
            self.outgoing.write(self.writer, Index::Entry(visit.index))?;
            return self.write_item(visit, &Item::new(flags), missing);
        }
        if !self.transfer.plays() {
            let about = About { bits: flags.0, ..About::default() };
            self.transfer.tell(&self.log, visit.entry, &about, self.transfer.hears_of_items());
        }
        Ok(())
    }
}
