//! One file of the source looked at: what the list says of it, or why it is left out.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use super::{
    Attributes, Flags, Segment, Span,
    charset::Outgoing,
    form::is_device,
    inodes::Inodes,
    io_error,
    sources::{Source, Trees},
};
use crate::{
    bytes,
    error::{Result, errno_words},
    filter::{Filters, Name},
    fs::scan::Kind,
    hash::{Algorithm, Sum},
    log::{Log, LogCode, Speaker},
    meta::{
        acl::{Acls, Bearers, Which},
        fake, read, xattr,
    },
    options::{Debug, Dirs, Info, Options, Super},
    proto::{Protocol, negotiate},
    sys::{at, clock, iconv::Stop, stat, stat::Stat, xattr::On},
    text::{mode::Chmod, path},
};

/// How much of the rules applies to a name. C: NO_FILTERS, ALL_FILTERS
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Named by the user, and looked at already.
    Named,
    /// Leads to a name: what filters say does not count.
    Implied,
    /// Found in a directory, and the rules let it pass.
    Passed,
    /// Found in a directory.
    Found,
}

impl Level {
    /// As the trace shows it.
    fn number(self) -> u8 {
        if self == Self::Named { 0 } else { 2 }
    }
}

/// A file by where it is and what it is called in the list.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub source: &'a Source,
    pub trees: &'a Trees,
    /// Directory handle and name there.
    pub at: BorrowedFd<'a>,
    pub leaf: &'a [u8],
    /// Number of its directory in the segment.
    pub dir: u32,
    pub base: &'a [u8],
    /// It was found in that directory, and not named.
    pub found: bool,
}

/// How messages call a file.
type Shown<'a> = dyn Fn() -> Vec<u8> + 'a;

/// What the options say about looking at files.
pub(super) struct Examiner {
    pub dirs: bool,
    pub copy_links: bool,
    pub copy_dirlinks: bool,
    copy_unsafe_links: bool,
    unmunge: bool,
    pub one_file_system: u8,
    copy_devices: bool,
    /// Access control lists are listed; of devices, of special files only where these are.
    acls: Option<Bearers>,
    /// What files are is told by an attribute (`--fake-super`).
    faked: bool,
    atimes: bool,
    owner: bool,
    group: bool,
    links: bool,
    nsec: bool,
    sum: Option<Algorithm>,
    chmod: Option<Chmod>,
    /// Device of the tree at hand, for `-x`.
    pub filesystem: u64,
    pub io_error: i32,
    pub filters: Filters,
    pub log: Log,
    target: Vec<u8>,
    /// The files with further names, for `-H`.
    inodes: Option<Inodes>,
    charset: Option<Outgoing>,
    /// What became of the name or link looked at last; nobody reads it.
    converted: Vec<u8>,
    /// Which extended attributes go along.
    xattrs: Option<xattr::Policy>,
    lists: xattr::Known,
}

impl Examiner {
    /// Fails where a character set is not known.
    pub fn new(
        options: &Options,
        protocol: &Protocol,
        chmod: Option<Chmod>,
        filters: Filters,
        log: &Log,
    ) -> Result<Self> {
        Ok(Self {
            dirs: options.dirs != Dirs::Skip,
            copy_links: options.copy_links,
            copy_dirlinks: options.copy_dirlinks,
            copy_unsafe_links: options.copy_unsafe_links,
            unmunge: options.munge_links,
            one_file_system: options.one_file_system,
            copy_devices: options.copy_devices,
            acls: options.acls.then(|| Bearers::new(options)),
            faked: options.super_user == Super::Fake,
            atimes: options.atimes > 0,
            owner: options.owner,
            group: options.group,
            links: options.links,
            nsec: protocol.version >= 31,
            sum: options.checksum.then_some(protocol.list_sum),
            chmod,
            filesystem: 0,
            io_error: 0,
            filters,
            log: log.clone(),
            target: Vec::new(),
            xattrs: xattr::Policy::of(options, true),
            lists: xattr::Known::default(),
            inodes: (options.hard_links > 0).then(|| Inodes::for_list(protocol.version, log)),
            charset: Outgoing::new(options, protocol)?,
            converted: Vec::new(),
        })
    }

    /// Nothing more will be listed.
    pub fn end(&mut self, inc_recurse: bool) {
        if let Some(mut inodes) = self.inodes.take()
            && !inc_recurse
        {
            inodes.end(&self.log);
        }
    }

    /// A failure that may hide an existing file: the receiver must not delete what it does not see.
    pub fn fail(&mut self, what: Vec<u8>, error: &io::Error) {
        self.io_error |= io_error::GENERAL;
        self.log.syserr(LogCode::ErrorXfer, what, error);
    }

    /// As `fail`, with a line of its own.
    pub fn complain(&mut self, line: Vec<u8>) {
        self.io_error |= io_error::GENERAL;
        self.log.say(LogCode::ErrorXfer, line);
    }

    /// C: flist.c interpret_stat_error
    pub fn lost(&mut self, name: Vec<u8>, is_dir: bool, error: &io::Error) {
        if error.raw_os_error() == Some(libc::ENOENT) {
            self.io_error |= io_error::VANISHED;
            let what = if is_dir { "directory" } else { "file" };
            self.log.say(LogCode::Warning, bytes![what, " has vanished: ", name]);
        } else {
            self.fail(bytes!["link_stat ", name, " failed"], error);
        }
    }

    /// `shown` is how messages call the file. C: flist.c link_stat_at, link_stat
    fn link_stat(&self, dir: BorrowedFd<'_>, leaf: &[u8], follow_dirs: bool, shown: &Shown<'_>) -> io::Result<Stat> {
        at::with_name(leaf, |leaf| {
            let (own, is_link) = match self.faked {
                true => fake::look(dir, leaf, shown, &self.log)?,
                false if self.copy_links => return stat::stat_at(dir, leaf),
                false => stat::lstat_at(dir, leaf).map(|stat| (stat, stat.is_symlink()))?,
            };
            match is_link {
                true if self.copy_links => stat::stat_at(dir, leaf),
                true if follow_dirs => Ok(stat::stat_at(dir, leaf).ok().filter(Stat::is_dir).unwrap_or(own)),
                _ => Ok(own),
            }
        })
    }

    /// As `link_stat` by a path of the list.
    ///
    /// # Errors
    /// What ends the run, and what is wrong with the file.
    pub fn link_stat_named(
        &self,
        (source, trees): (&Source, &Trees),
        path: &[u8],
        follow_dirs: bool,
    ) -> Result<io::Result<Stat>> {
        let shown = || source.full_name(path);
        let look = || {
            let (dir, leaf) = trees.parent(path)?;
            let stat = self.link_stat(dir.as_fd(), leaf, false, &shown)?;
            if !follow_dirs || !stat.is_symlink() {
                return Ok(stat);
            }
            trees.may_follow(path)?;
            self.link_stat(dir.as_fd(), leaf, true, &shown)
        };
        fake::unless_fatal(look())
    }

    /// Metadata, and for a symlink what it points to in `self.target`. C: flist.c readlink_stat
    fn readlink_stat(&mut self, place: Place<'_>, segment: &Segment, known: Option<Stat>) -> io::Result<Stat> {
        let mut stat = match known {
            Some(stat) => stat,
            None => self.link_stat(place.at, place.leaf, self.copy_dirlinks, &|| full_name(segment, place))?,
        };
        self.target.clear();
        if !stat.is_symlink() {
            return Ok(stat);
        }
        let is_link = at::with_name(place.leaf, |leaf| {
            if self.faked
                && let Some(text) = fake::read_link(place.at, leaf)?
            {
                self.target = text;
                return Ok(false);
            }
            at::read_link(place.at, leaf, &mut self.target).map(|()| true)
        })?;
        if self.copy_unsafe_links {
            let name = path_of(segment, place);
            if path::unsafe_symlink(&self.target, &name) {
                if self.log.info(Info::Symsafe) >= 1 {
                    let line = bytes!["copying unsafe symlink \"", name, "\" -> \"", self.target, "\""];
                    self.log.say(LogCode::Info, line);
                }
                if is_link {
                    stat = at::with_name(place.leaf, |leaf| stat::stat_at(place.at, leaf))?;
                }
            }
        }
        if self.unmunge {
            self.target = path::unmunge(&self.target).to_vec();
        }
        Ok(stat)
    }

    /// Puts a file into the list; its position, or `None` if it is left out (said why, counted in `io_error`).
    /// C: flist.c make_file, send_file_name
    pub fn list(
        &mut self,
        segment: &mut Segment,
        place: Place<'_>,
        known: Option<Stat>,
        flags: Flags,
        level: Level,
    ) -> Result<Option<usize>> {
        let mut flags = flags;
        let stat = match fake::unless_fatal(self.readlink_stat(place, segment, known))? {
            Ok(stat) => stat,
            Err(error) => {
                let hidden = matches!(level, Level::Found | Level::Passed)
                    && (self.is_excluded(place, segment, false) || self.is_excluded(place, segment, true));
                if !hidden {
                    self.unreadable(place, segment, &error);
                }
                return Ok(None);
            }
        };
        if stat.mode == 0 && known.is_none() {
            let name = full_name(segment, place);
            self.io_error |= io_error::GENERAL;
            self.log.say(LogCode::Info, bytes!["skipping file with bogus (zero) st_mode: ", name]);
            return Ok(None);
        }
        if level != Level::Named && !self.may_be_found(&stat, &mut flags, segment, place) {
            return Ok(None);
        }
        if level == Level::Found && self.is_excluded(place, segment, stat.is_dir()) {
            return Ok(None);
        }
        if self.log.debug(Debug::Flist) >= 2 {
            let (who, name) = (self.log.speaker().name(), path_of(segment, place));
            self.log.say(LogCode::Info, bytes!["[", who, "] make_file(", name, ",*,", level.number(), ")"]);
        }
        if place.base.is_empty() {
            return Ok(None);
        }
        self.store(segment, place, stat, flags)
    }

    fn unreadable(&mut self, place: Place<'_>, segment: &Segment, error: &io::Error) {
        let name = full_name(segment, place);
        if error.raw_os_error() != Some(libc::ENOENT) {
            return self.fail(bytes!["readlink_stat(", name, ") failed"], error);
        }
        let follows = self.copy_links || self.copy_unsafe_links || self.copy_dirlinks;
        let is_link = || at::with_name(place.leaf, |leaf| stat::lstat_at(place.at, leaf)).is_ok_and(|s| s.is_symlink());
        if follows && is_link() {
            return self.complain(bytes!["symlink has no referent: ", name]);
        }
        self.io_error |= io_error::VANISHED;
        self.log.say(LogCode::Warning, bytes!["file has vanished: ", name]);
    }

    /// Whether the rules leave a file out. C: flist.c is_excluded
    fn is_excluded(&self, place: Place<'_>, segment: &Segment, is_dir: bool) -> bool {
        if self.filters.is_empty() {
            return false;
        }
        let dir = segment.dirs.get(place.dir as usize).map_or(&b""[..], |dir| segment.bytes(dir.name));
        self.filters.excludes(Name { dir, leaf: place.base, is_dir, xattr: false }, &self.log)
    }

    /// What the rules say of a file before it is looked at, by the type that its directory tells: what is left out costs
    /// no system call. `None`: a look is needed first.
    pub fn excludes_unseen(&self, place: Place<'_>, segment: &Segment, kind: Kind) -> Option<bool> {
        let follows = self.copy_links || self.copy_dirlinks || self.copy_unsafe_links;
        let is_dir = match kind {
            _ if self.filters.is_empty() || self.faked => return None,
            Kind::Unknown => return None,
            Kind::Symlink if follows => return None,
            Kind::Dir if self.one_file_system > 0 || !self.dirs => return None,
            kind => kind == Kind::Dir,
        };
        Some(self.is_excluded(place, segment, is_dir))
    }

    fn may_be_found(&self, stat: &Stat, flags: &mut Flags, segment: &Segment, place: Place<'_>) -> bool {
        if !stat.is_dir() {
            flags.clear(Flags::CONTENT_DIR);
            return true;
        }
        if !self.dirs {
            self.log.say(LogCode::Info, bytes!["skipping directory ", path_of(segment, place)]);
            return false;
        }
        let enters = flags.has(Flags::CONTENT_DIR) && !flags.has(Flags::TOP_DIR);
        if self.one_file_system == 0 || stat.dev == self.filesystem || !enters {
            return true;
        }
        if self.one_file_system > 1 {
            if self.log.info(Info::Mount) >= 1 {
                let (who, name) = (self.log.speaker().name(), path_of(segment, place));
                self.log.say(LogCode::Info, bytes!["[", who, "] skipping mount-point dir ", name]);
            }
            return false;
        }
        flags.set(Flags::MOUNT_DIR);
        flags.clear(Flags::CONTENT_DIR);
        true
    }

    fn store(
        &mut self,
        segment: &mut Segment,
        place: Place<'_>,
        mut stat: Stat,
        flags: Flags,
    ) -> Result<Option<usize>> {
        if self.copy_devices && stat.is_device() {
            self.device_as_file(&mut stat, place, segment);
        }
        let sum = match self.sum.filter(|_| stat.is_file()) {
            Some(algorithm) => Some(self.file_sum(algorithm, place, &stat, segment)?),
            None => None,
        };
        let is_symlink = stat.is_symlink();
        if is_symlink && self.links && self.target.is_empty() {
            self.complain(bytes!["skipping symlink with 0-length value: ", full_name(segment, place)]);
            return Ok(None);
        }
        if self.charset.is_some() && !self.can_travel(segment, place, is_symlink && self.links) {
            return Ok(None);
        }
        let mode = match &self.chmod {
            Some(chmod) if !is_symlink && stat.mode != 0 => chmod.apply(stat.mode),
            _ => stat.mode,
        };
        let acls = match self.acls {
            Some(bearers) if bearers.have(mode) => match self.acls_of(bearers, place, mode, segment) {
                Some(acls) => Some(acls.stripped(mode)).filter(|acls| !acls.is_empty()),
                None => return Ok(None),
            },
            _ => None,
        };
        let filtered = !flags.has(Flags::IMPLIED_DIR);
        let Some(xattrs) = self.xattrs(place, segment, mode, filtered) else { return Ok(None) };
        let index = segment.end_index();
        let hard_link =
            self.inodes.as_mut().and_then(|inodes| inodes.link(&stat, index, segment.first_index, &self.log));
        let nsec = if self.nsec && stat.mtime.1 < 1_000_000_000 { stat.mtime.1 } else { 0 };
        let attributes = Attributes {
            flags,
            mode,
            size: if stat.is_device() || stat.is_special() { 0 } else { stat.size },
            mtime: (stat.mtime.0, nsec),
            atime: (self.atimes && !stat.is_dir()).then_some(stat.atime.0),
            uid: if self.owner { stat.uid } else { 0 },
            gid: if self.group { stat.gid } else { 0 },
            rdev: if stat.is_device() { stat.rdev } else { (0, 0) },
            link_target: if is_symlink { &self.target } else { &[] },
            sum: sum.as_ref().map_or(&[], |sum| sum),
            acls: acls.as_ref(),
            xattrs: xattrs.as_ref(),
            hard_link,
        };
        segment.push(place.dir, place.base, &attributes, self.log.speaker())?;
        Ok(Some(segment.len() - 1))
    }

    /// Whether name and, of a link, text can be converted; said if not. C: in flist.c send_file_name
    fn can_travel(&mut self, segment: &Segment, place: Place<'_>, is_symlink: bool) -> bool {
        let Some(charset) = &mut self.charset else { return true };
        let dir = segment.dirs.get(place.dir as usize).map_or(&b""[..], |dir| segment.bytes(dir.name));
        let (what, name, stop) = match charset.name(dir, place.base, &mut self.converted) {
            Err(stop) => ("filename: ", path_of(segment, place), stop),
            Ok(()) if !is_symlink => return true,
            Ok(()) => match charset.target(&self.target, &mut self.converted) {
                Ok(()) => return true,
                Err(stop) => ("symlink data for: ", full_name(segment, place), stop),
            },
        };
        self.complain(cannot_convert(self.log.speaker(), what, &name, stop));
        false
    }

    /// The lists of what was found there; `None`: they cannot be read, which was said.
    fn acls_of(&mut self, bearers: Bearers, place: Place<'_>, mode: u32, segment: &Segment) -> Option<Acls> {
        let follow = self.copy_links || self.copy_unsafe_links || self.copy_dirlinks;
        let read = at::with_name(place.leaf, |leaf| {
            Ok(if follow {
                bearers.read(On::Handle(at::open(place.at, leaf, libc::O_PATH, 0)?.as_fd()), mode)
            } else if place.leaf == b"." {
                bearers.read(On::Handle(place.at), mode)
            } else {
                bearers.read(On::Named(place.at, leaf), mode)
            })
        });
        match read.unwrap_or_else(|error| Err((Which::Access, error))) {
            Ok(acls) => Some(acls),
            Err((which, error)) => {
                let what = bytes!["get_acl: sys_acl_get_file(", found_as(segment, place), ", ", which.name(), ")"];
                self.fail(what, &error);
                None
            }
        }
    }

    /// The extended attributes of a file, of a link itself; `None`: they cannot be read, which was said.
    /// Of directories that are only on the way nothing is left out.
    fn xattrs(
        &mut self,
        place: Place<'_>,
        segment: &Segment,
        mode: u32,
        filtered: bool,
    ) -> Option<Option<Arc<xattr::List>>> {
        let Some(policy) = &self.xattrs else { return Some(None) };
        let excludes = |name: &[u8]| filtered && self.filters.excludes_xattr(name, &self.log);
        let name = || place.source.full_name(&found_as(segment, place));
        let read = at::with_name(place.leaf, |leaf| {
            let (on, excludes) = (On::Named(place.at, leaf), self.filters.has_xattr().then_some(&excludes as _));
            Ok(policy.read(xattr::Subject { excludes, ..xattr::Subject::new(on, &name, &self.log) }, mode))
        });
        match read.ok().flatten() {
            Some(list) => Some(self.lists.share(list)),
            None => {
                self.io_error |= io_error::GENERAL;
                None
            }
        }
    }

    /// `--copy-devices`: a device goes as a file with its contents, as of now.
    fn device_as_file(&self, stat: &mut Stat, place: Place<'_>, segment: &Segment) {
        if stat.size == 0 && is_device(stat.mode) {
            stat.size = device_size(place, &self.log, &path_of(segment, place));
        }
        stat.mode = libc::S_IFREG | (stat.mode & 0o777);
        stat.mtime = (clock::now().0, stat.mtime.1);
    }

    /// The sum for `--checksum`; zeros for a file that cannot be opened, as the reference has it.
    fn file_sum(&self, algorithm: Algorithm, place: Place<'_>, stat: &Stat, segment: &Segment) -> Result<Sum> {
        let path = path_of(segment, place);
        let (tree, rel) = place.trees.place(&path);
        let follow = self.copy_links || self.copy_unsafe_links;
        match if follow { tree.open_read_follow(rel, 0) } else { tree.open_read(rel, 0) } {
            Ok(file) => negotiate::file_sum(algorithm, &file, stat.size),
            Err(_) => Ok(Sum::zero(algorithm)),
        }
    }
}

/// `[sender] cannot convert filename: NAME (Invalid argument)`
pub(super) fn cannot_convert(speaker: Speaker, what: &str, name: &[u8], stop: Stop) -> Vec<u8> {
    bytes!["[", speaker.name(), "] cannot convert ", what, name, " (", errno_words(&stop.into()), ")"]
}

/// The length of a device's contents; 0 where it cannot be opened.
fn device_size(place: Place<'_>, log: &Log, name: &[u8]) -> u64 {
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
    match at::with_name(place.leaf, |leaf| at::open(place.at, leaf, flags, 0)) {
        Ok(opened) => read::device_size(&opened.into(), name, log),
        Err(_) => 0,
    }
}

fn path_of(segment: &Segment, place: Place<'_>) -> Vec<u8> {
    let dir: Span = segment.dirs[place.dir as usize].name;
    [segment.bytes(dir), place.base].concat()
}

/// As messages about attributes call it. C: fname of flist.c send_file_name
fn found_as(segment: &Segment, place: Place<'_>) -> Vec<u8> {
    let path = path_of(segment, place);
    if place.found && path == place.base { bytes!["./", path] } else { path }
}

fn full_name(segment: &Segment, place: Place<'_>) -> Vec<u8> {
    place.source.full_name(&path_of(segment, place))
}
