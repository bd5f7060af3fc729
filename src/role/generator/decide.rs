//! What happens to one entry: left alone, touched up, made here, or asked for.

use std::io;

use super::{
    Generator,
    alternatives::{Other, Tried},
    basis::{Basis, Like, Origin},
    hard_links::Led,
    spare::Spared,
};
use crate::{
    bytes,
    dest::{
        self, Dest,
        delete::Room,
        make::{self, Node},
        partial,
    },
    error::Result,
    flist::{self, Entry},
    log::LogCode,
    meta::{Kind, Wanted, apply::How, fake, read::device_size},
    options::Info,
    proto::item::Flags,
    report::list,
    role::Pass,
    sys::{clock, stat::Stat},
    text::path::unsafe_symlink,
};

/// One entry on its way through the generator.
#[derive(Clone, Copy)]
pub(super) struct Visit<'e> {
    pub entry: Entry<'e>,
    pub index: i32,
    /// Its path at the destination.
    pub path: &'e [u8],
    /// The attributes it shall have here.
    pub wanted: Wanted<'e>,
    pub pass: Pass,
}

impl Generator<'_> {
    /// Brings one entry into shape or requests its data. C: generator.c recv_generator
    pub(super) fn visit(&mut self, entry: Entry<'_>, index: i32, pass: Pass) -> Result<()> {
        let path = self.path_of(entry);
        self.debug(|| bytes!["recv_generator(", path, ",", index, ")"]);
        if self.transfer.options.list_only {
            // A directory is listed with its contents, if those come separately.
            if !(entry.is_dir() && self.incremental()) {
                self.list_entry(entry);
            }
            return Ok(());
        }
        if self.dirs.is_skipped(&path) {
            if entry.is_dir() {
                self.dirs.mark_missing(index);
                return Ok(());
            }
            return self.skip_link(entry, index);
        }
        if entry.is_dir() && self.incremental() {
            return self.prepare_dir(entry, &path);
        }
        let old = self.look(entry, &path)?;
        if entry.mode() == 0 {
            return self.delete_missing(&path, old);
        }
        if let Some(spared) = self.spares(entry, &path, &old, pass, true)? {
            if entry.is_dir() && spared == Spared::Missing {
                self.pass_over(index, &path);
            }
            return self.skip_link(entry, index);
        }
        if entry.is_dir() {
            return self.visit_dir(entry, index, &path, old).map(drop);
        }
        let existing = old.as_ref().ok().filter(|old| !old.is_dir()).map(|old| old.mode);
        let visit = Visit { entry, index, path: &path, wanted: self.wanted(entry, existing), pass };
        if self.follow_leader(visit, &old)? {
            return Ok(());
        }
        match Kind::of(entry.mode()) {
            Kind::Symlink if self.transfer.options.links => self.visit_symlink(visit, old),
            kind @ (Kind::Device | Kind::Special) if self.makes_nodes(kind) => self.visit_node(visit, old),
            Kind::Regular => self.visit_file(visit, old),
            _ => {
                if self.log.info(Info::Nonreg) >= 1 {
                    self.log.say(LogCode::Info, bytes!["skipping non-regular file \"", entry.path(), "\""]);
                }
                Ok(())
            }
        }?;
        self.release(entry, index)
    }

    /// `--list-only`: a line instead of anything else.
    pub(super) fn list_entry(&self, entry: Entry<'_>) {
        let options = &self.transfer.options;
        let implied = !options.implied_dirs && entry.flags().has(flist::Flags::IMPLIED_DIR);
        if !(implied && entry.is_dir()) {
            self.log.say(LogCode::Info, list::line(entry, options, &clock::stamp));
        }
    }

    /// The attributes an entry shall have here, given the mode of what it replaces.
    pub(super) fn wanted<'e>(&self, entry: Entry<'e>, existing: Option<u32>) -> Wanted<'e> {
        let rules = &self.transfer.rules;
        let mode = rules.dest_mode(entry.mode(), existing, self.default_perms.get(self.dest()));
        Wanted { mode, ..dest::wanted(entry) }
    }

    fn makes_nodes(&self, kind: Kind) -> bool {
        let options = &self.transfer.options;
        !options.drop_devices
            && match kind {
                Kind::Device => options.devices && self.transfer.rules.privileged,
                _ => options.specials,
            }
    }

    /// What stands at the entry's place now.
    pub(super) fn look(&mut self, entry: Entry<'_>, path: &[u8]) -> Result<io::Result<Stat>> {
        if self.missing || self.dirs.is_dry_missing(path) {
            return Ok(self.nothing_there());
        }
        self.dirs.left_dry_missing();
        self.check_parent(entry)?;
        if self.dirs.is_dry_missing(path) {
            return Ok(self.nothing_there());
        }
        self.enter_default_perms(entry.dir());
        if self.transfer.options.fuzzy > 0 {
            self.fuzzy.enter(entry.dir());
        }
        let old = fake::unless_fatal(self.dest().stat(path))?;
        if self.transfer.options.keep_dirlinks
            && entry.is_dir()
            && old.as_ref().is_ok_and(Stat::is_symlink)
            && let Ok(stat) = self.root.stat_anywhere(path) // one that may not be entered is still not ours to delete
            && stat.is_dir()
        {
            return Ok(Ok(stat));
        }
        Ok(old)
    }

    fn enter_default_perms(&mut self, dir: &[u8]) {
        let Self { transfer, log, root, names, places, default_perms, .. } = self;
        let dest = Dest { root, names, rules: &transfer.rules, options: &transfer.options, places, log };
        default_perms.enter(dest, dir);
    }

    fn nothing_there(&mut self) -> io::Result<Stat> {
        self.fuzzy.leave();
        Err(io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn visit_symlink(&mut self, visit: Visit<'_>, old: io::Result<Stat>) -> Result<()> {
        let target = visit.entry.link_target();
        if self.is_unsafe(visit) {
            if self.name_level() >= 1 {
                let name = visit.entry.path();
                self.log.say(LogCode::Info, bytes!["ignoring unsafe symlink \"", name, "\" -> \"", target, "\""]);
            }
            return self.skip_link(visit.entry, visit.index);
        }
        if self.is_current(visit, &old)? {
            self.keep(visit, &old)?;
            self.tell_current(visit.index, visit.path);
            return Ok(());
        }
        let Other::Make { like, told, .. } = self.find_other(visit, old.as_ref().ok())? else { return Ok(()) };
        if !self.make_node(visit, Node::Symlink { target }, &old, Room::Symlink)? {
            return Ok(());
        }
        self.made(visit, like, told, || bytes![visit.path, " -> ", target])?;
        if self.transfer.options.remove_source_files > 0 {
            self.tell_success(visit.index, visit.path); // also for `--remove-sent-files`: this one was
        }
        Ok(())
    }

    /// Whether the entry is a symlink that `--safe-links` does not want there.
    pub(super) fn is_unsafe(&self, visit: Visit<'_>) -> bool {
        let options = &self.transfer.options;
        let symlink = options.safe_links && options.links && visit.entry.is_symlink();
        symlink && unsafe_symlink(visit.entry.link_target(), visit.path)
    }

    fn visit_node(&mut self, visit: Visit<'_>, old: io::Result<Stat>) -> Result<()> {
        if self.is_current(visit, &old)? {
            self.keep(visit, &old)?;
            self.tell_current(visit.index, visit.path);
            return Ok(());
        }
        let Other::Make { like, told } = self.find_other(visit, old.as_ref().ok())? else { return Ok(()) };
        let device = visit.wanted.kind() == Kind::Device;
        let rdev = if device { visit.entry.rdev() } else { (0, 0) };
        let mode = visit.wanted.mode;
        self.debug(|| bytes!["mknod(", visit.path, format!(", 0{mode:o}, [{},{}])", rdev.0, rdev.1)]);
        let room = if device { Room::Device } else { Room::Special };
        if !self.make_node(visit, Node::Special { mode, rdev }, &old, room)? {
            return Ok(());
        }
        self.made(visit, like, told, || visit.path.to_vec())?;
        self.tell_current(visit.index, visit.path);
        Ok(())
    }

    /// Whether the same kind of thing with the same content stands there already.
    fn is_current(&self, visit: Visit<'_>, old: &io::Result<Stat>) -> Result<bool> {
        match old {
            Ok(old) if Kind::of(old.mode) == visit.wanted.kind() => {
                self.transfer.rules.quick_check(&visit.wanted, old, &self.root, visit.path)
            }
            _ => Ok(false),
        }
    }

    fn make_node(&mut self, visit: Visit<'_>, node: Node<'_>, old: &io::Result<Stat>, room: Room) -> Result<bool> {
        self.removing(|remover| make::node(remover, visit.path, node, old.as_ref().ok(), room))
    }

    /// The right thing stands there: only attributes may differ.
    fn keep(&mut self, visit: Visit<'_>, old: &io::Result<Stat>) -> Result<()> {
        let Ok(old) = old else { return Ok(()) };
        let regular = visit.wanted.kind() == Kind::Regular;
        let how =
            How { report: self.reports(), exact_times: regular && self.transfer.options.checksum, ..How::default() };
        let changed = self.dest().set_attrs(visit.path, &visit.wanted, old, how);
        if self.itemizing {
            // As in the reference, what was seen to be so under way is no change of its own.
            let like = Like { other_acls: changed.other_acls, ..Like::own(changed.found.unwrap_or(*old)) };
            self.itemize(visit, Some(&like), Flags::default())?;
        }
        self.lead(visit, Led::known(*old))
    }

    /// Whether setting attributes tells names; not where items are told. C: maybe_ATTRS_REPORT
    pub(super) fn reports(&self) -> bool {
        self.transfer.itemize() == 0
    }

    /// A symlink, device or special file was just made: attributes, and the report unless it was `told`.
    fn made(&mut self, visit: Visit<'_>, like: Option<Like>, told: bool, line: impl FnOnce() -> Vec<u8>) -> Result<()> {
        self.dest().set_new_attrs(visit.path, &visit.wanted);
        // If it was, so was what is linked to it.
        if !told {
            if self.itemizing {
                self.itemize(visit, like.as_ref(), Flags::LOCAL_CHANGE | Flags::REPORT_CHANGE)?;
            }
            self.tell_name(line);
        }
        self.lead(visit, Led { told, ..Led::default() })
    }

    /// Tells a name where no items are told: the user, or else the log file.
    pub(super) fn tell_name(&self, line: impl FnOnce() -> Vec<u8>) {
        let by_items = self.transfer.protocol.version >= 29;
        if self.name_level() == 0 || by_items && !self.logs_names() || !by_items && self.itemizing {
            return;
        }
        self.log.say(if by_items { LogCode::Log } else { LogCode::Info }, line());
    }

    fn logs_names(&self) -> bool {
        self.log.is_recorded() && !self.transfer.itemizes_in_log()
    }

    /// What a file's size is beyond, if it is. The second pass asks again for what the first one let through.
    fn beyond_limit(&self, size: u64) -> Option<&'static str> {
        let options = &self.transfer.options;
        match () {
            () if options.max_size.is_some_and(|max| size > max) => Some(" is over max-size"),
            () if options.min_size.is_some_and(|min| size < min) => Some(" is under min-size"),
            () => None,
        }
    }

    fn visit_file(&mut self, visit: Visit<'_>, mut old: io::Result<Stat>) -> Result<()> {
        let first = visit.pass == Pass::First;
        let rules = &self.transfer.rules;
        if first && let Some(limit) = self.beyond_limit(visit.entry.size()) {
            if self.log.info(Info::Skip) >= 1 {
                self.log.say(LogCode::Info, bytes![visit.entry.path(), limit]);
            }
            return Ok(());
        }
        if first && old.as_ref().is_ok_and(|old| rules.is_newer(&visit.wanted, old)) {
            if self.log.info(Info::Skip) >= 1 {
                self.log.say(LogCode::Info, bytes![visit.path, " is newer"]);
            }
            return self.skip_link(visit.entry, visit.index);
        }
        let writes_device = self.transfer.options.write_devices && old.as_ref().is_ok_and(Stat::is_device);
        if let Ok(other) = old.as_ref()
            && !other.is_file()
            && !writes_device
        {
            if !self.make_room(visit.path, other, Room::File)? {
                return Ok(());
            }
            old = Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        let (stat, alternative) = match (self.find_file(visit, &mut old)?, &mut old) {
            (Tried::Settled, _) => {
                self.tell_current(visit.index, visit.path);
                return Ok(());
            }
            (Tried::Basis(position, stat), _) => (Some(stat), Some(position)),
            (Tried::Nothing, Ok(stat)) => {
                if writes_device {
                    self.measure_device(visit.path, stat);
                }
                (Some(*stat), None)
            }
            (Tried::Nothing, Err(_)) => (None, None),
        };
        let partial = self.partial(visit.path);
        let Some(stat) = stat else { return self.visit_missing(visit, old, partial) };
        if alternative.is_none() && first && self.is_current_file(visit, &stat)? {
            if partial.is_some() && self.transfer.for_real() {
                self.remove_partial(visit.path);
            }
            self.keep(visit, &old)?;
            self.tell_current(visit.index, visit.path);
            return Ok(());
        }
        if self.appends(visit) && stat.size >= visit.entry.size() {
            return self.skip_link(visit.entry, visit.index); // there is nothing to append
        }
        match (partial, alternative) {
            (Some(partial), _) => self.request_from_partial(visit, Some(stat), &partial),
            (None, Some(position)) => self.request_from_alternative(visit, position, stat),
            (None, None) => self.request_from(visit, Origin::default(), Some(stat), stat.size),
        }
    }

    /// Nothing of use stands at the file's place, nor in the alternative directories.
    fn visit_missing(&mut self, visit: Visit<'_>, old: io::Result<Stat>, partial: Option<Stat>) -> Result<()> {
        if let Some(partial) = partial {
            return self.request_from_partial(visit, None, &partial);
        }
        if let Some((origin, size)) = self.find_similar(visit)? {
            return self.request_from(visit, origin, None, size);
        }
        match old {
            Err(_) if self.may_wait(visit) => {
                self.defer(visit);
                Ok(())
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let what = bytes!["recv_generator: failed to stat ", self.names.full(visit.path)];
                self.log.syserr(LogCode::ErrorXfer, what, &error);
                Ok(())
            }
            _ => self.request(visit, &Origin::default(), None, Basis::None),
        }
    }

    /// What the file's partial directory has of it.
    fn partial(&self, path: &[u8]) -> Option<Stat> {
        partial::spot(self.dest(), path)?.look()
    }

    fn remove_partial(&self, path: &[u8]) {
        if let Some(partial) = partial::spot(self.dest(), path) {
            partial.remove();
        }
    }

    /// The quick check; a device that is written to is compared like a file.
    fn is_current_file(&self, visit: Visit<'_>, old: &Stat) -> Result<bool> {
        self.transfer.rules.quick_check(&visit.wanted, old, &self.root, visit.path)
    }

    /// A device's length is seldom part of its metadata.
    fn measure_device(&self, path: &[u8], stat: &mut Stat) {
        if stat.size == 0
            && let Ok(device) = self.root.open_read(path, libc::O_NONBLOCK)
        {
            stat.size = device_size(&device, path, &self.log);
        }
    }
}
