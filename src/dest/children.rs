//! What stands in a directory of the destination, looked at no more than is needed to remove it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use super::{Dest, places::Spot};
use crate::{
    bytes,
    error::Result,
    flist::{Flags, MAX_PATH, dump::tell_listing, io_error, order::Order},
    fs::{Scan, scan},
    log::{Log, LogCode, Progress},
    meta::fake,
    options::{Debug, Info},
    sys::stat::Stat,
};

/// Something that may have to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    pub name: Box<[u8]>,
    /// Its type, and where the lister looks at everything its permissions.
    pub mode: u32,
    /// On another file system, which `-x` keeps us out of.
    pub mount: bool,
    /// Ours, but not writable by us.
    pub locked: bool,
}

impl Child {
    pub fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }
}

/// What is to become of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judged {
    /// Filter rules spare it: as if it were not there.
    Protected,
    /// It is where it should be.
    Wanted,
    Extraneous,
}

/// Tells every hundredth name of a directory, as for a file list. C: flist.c maybe_emit_filelist_progress
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counter {
    /// The names of one directory are counted on from those of the last one.
    pub goes_on: bool,
    count: usize,
}

impl Counter {
    pub fn new(goes_on: bool) -> Self {
        Self { goes_on, count: 0 }
    }

    fn begin(&mut self) {
        if !self.goes_on {
            self.count = 0;
        }
    }

    fn meet(&mut self, log: &Log) {
        if self.count.is_multiple_of(100) {
            log.progress(Progress::ListCount, &bytes![" ", self.count, " files...\r"]);
        }
        self.count += 1;
    }
}

/// Lists directories of the destination. C: flist.c get_dirlist
pub struct Lister {
    order: Order,
    /// The effective user, whose own write-protected directories are unlocked first.
    euid: u32,
    /// Permissions are wanted too, or directories do not tell the types.
    looks: bool,
    /// The file system that `-x` keeps us on. C: filesystem_dev
    pub filesystem: u64,
    /// What went wrong with reading directories (`flist::io_error`).
    pub io_error: i32,
    /// Times have nanoseconds, as is told.
    pub nsec: bool,
    /// Where what is listed is counted for the user.
    pub counter: Option<Counter>,
    scan: Scan,
    /// All that was met in the directory at hand, where that is told (`--debug=flist3`).
    met: Vec<(Box<[u8]>, Stat, Flags)>,
}

impl Lister {
    /// `tells_modes`: whoever is told of a deletion may show permissions.
    pub fn new(dest: Dest<'_>, order: Order, euid: u32, filesystem: u64, tells_modes: bool) -> Self {
        let looks = tells_modes || !dest.rules.privileged || dest.rules.faked || dest.log.debug(Debug::Del) >= 2;
        Self {
            order,
            euid,
            looks,
            filesystem,
            io_error: 0,
            nsec: true,
            counter: None,
            scan: Scan::default(),
            met: Vec::new(),
        }
    }

    /// The entries that `judge` finds extraneous, given a name and whether it is a directory, and mount points, in the
    /// order of the list. A directory that cannot be read is complained of and has none; one that is gone has none
    /// either.
    pub fn children(
        &mut self,
        dest: Dest<'_>,
        spot: &Spot<'_>,
        mut judge: impl FnMut(&[u8], bool) -> Judged,
    ) -> Result<Vec<Child>> {
        self.counter.iter_mut().for_each(Counter::begin);
        let children = self.read(dest, spot, &mut judge)?;
        if dest.log.debug(Debug::Flist) >= 3 {
            self.tell_met(dest, spot.shown());
        }
        Ok(children)
    }

    fn read(
        &mut self,
        dest: Dest<'_>,
        spot: &Spot<'_>,
        judge: &mut impl FnMut(&[u8], bool) -> Judged,
    ) -> Result<Vec<Child>> {
        let mut children = Vec::new();
        let path = spot.shown();
        let dir = match spot.root.open_dir(&spot.path) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(children),
            Err(error) => {
                self.io_error |= io_error::GENERAL;
                dest.failed("opendir ", path, " failed", &error);
                return Ok(children);
            }
        };
        let room = (MAX_PATH - 1).saturating_sub(path.len());
        let mut scan = std::mem::take(&mut self.scan);
        scan.start();
        loop {
            match scan.next(&*dir) {
                Ok(Some(item)) if item.name.len() >= room => self.too_long(dest, path, item.name, room),
                Ok(Some(item)) => children.extend(self.child(dest, dir.as_fd(), path, item, judge)?),
                Ok(None) => break,
                Err(error) => {
                    self.io_error |= io_error::GENERAL;
                    let what = bytes!["readdir(", dest.names.full(path), ")"];
                    dest.log.syserr(LogCode::ErrorXfer, what, &error);
                    break;
                }
            }
        }
        self.scan = scan;
        sort(&mut children, self.order);
        Ok(children)
    }

    fn too_long(&mut self, dest: Dest<'_>, path: &[u8], name: &[u8], room: usize) {
        self.io_error |= io_error::GENERAL;
        let over = name.len() - room + 1;
        dest.log.say(LogCode::ErrorXfer, bytes!["filename overflows max-path len by ", over, ": ", path, "/", name]);
    }

    fn child(
        &mut self,
        dest: Dest<'_>,
        dir: BorrowedFd<'_>,
        path: &[u8],
        item: scan::Item<'_>,
        judge: &mut impl FnMut(&[u8], bool) -> Judged,
    ) -> Result<Option<Child>> {
        let devices = dest.options.one_file_system > 0;
        let mut stat = None;
        let mut is_dir = item.kind == scan::Kind::Dir;
        if item.kind == scan::Kind::Unknown || is_dir && devices {
            let Some(looked) = self.look(dest, dir, path, item.name)? else { return Ok(None) };
            is_dir = looked.is_dir();
            stat = Some(looked);
        }
        let mount = devices && is_dir && stat.is_some_and(|stat| stat.dev != self.filesystem);
        if mount && dest.options.one_file_system > 1 {
            self.tell_skipped(dest, path, item.name);
            return Ok(None);
        }
        let judged = judge(item.name, is_dir);
        if judged == Judged::Protected {
            return Ok(None);
        }
        if dest.log.debug(Debug::Flist) >= 2 {
            let (who, name) = (dest.log.speaker().name(), inside(path, item.name));
            dest.log.say(LogCode::Info, bytes!["[", who, "] make_file(", name, ",*,2)"]);
        }
        self.counter.iter_mut().for_each(|counter| counter.meet(dest.log));
        if dest.log.debug(Debug::Flist) >= 3 {
            let looked = match stat {
                Some(stat) => Some(stat),
                None => self.look(dest, dir, path, item.name)?,
            };
            let Some(looked) = looked else { return Ok(None) };
            let flags = if mount { Flags::MOUNT_DIR } else { Flags::NONE };
            self.met.push((item.name.into(), looked, flags));
            stat = Some(looked);
        }
        if judged == Judged::Wanted && !mount {
            return Ok(None);
        }
        if stat.is_none() && self.looks {
            stat = self.look(dest, dir, path, item.name)?;
            if stat.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(Child {
            name: item.name.into(),
            mode: stat.map_or_else(|| plain_mode(item.kind), |stat| stat.mode),
            mount,
            locked: stat.is_some_and(|stat| self.is_locked(dest, &stat)),
        }))
    }

    /// `None`: it cannot be looked at, of which was complained, or it is gone by itself.
    fn look(&mut self, dest: Dest<'_>, dir: BorrowedFd<'_>, path: &[u8], name: &[u8]) -> Result<Option<Stat>> {
        match fake::unless_fatal(dest.stat_at(dir, name, || inside(path, name)))? {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                self.io_error |= io_error::GENERAL;
                dest.failed("readlink_stat(", &inside(path, name), ") failed", &error);
                Ok(None)
            }
        }
    }

    /// Whether something is ours, but not writable by us.
    pub fn is_locked(&self, dest: Dest<'_>, stat: &Stat) -> bool {
        stat.mode & libc::S_IWUSR == 0 && !dest.rules.privileged && stat.uid == self.euid
    }

    fn tell_met(&mut self, dest: Dest<'_>, path: &[u8]) {
        let mut met = std::mem::take(&mut self.met);
        met.sort_unstable_by(|(a, one, _), (b, other, _)| self.order.of_names((a, one.is_dir()), (b, other.is_dir())));
        let listing: Vec<_> = met.into_iter().map(|(name, stat, flags)| (inside(path, &name), stat, flags)).collect();
        tell_listing(dest.log, dest.options, &listing, self.euid, self.nsec);
    }

    fn tell_skipped(&self, dest: Dest<'_>, path: &[u8], name: &[u8]) {
        if dest.log.info(Info::Mount) >= 1 {
            let (who, name) = (dest.log.speaker().name(), inside(path, name));
            dest.log.say(LogCode::Info, bytes!["[", who, "] skipping mount-point dir ", name]);
        }
    }
}

/// The path of a name in a directory of the destination, as the list would have it.
pub fn inside(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir == b"." { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// A type without permissions that would stand in anyone's way.
fn plain_mode(kind: scan::Kind) -> u32 {
    let kind = match kind {
        scan::Kind::Dir => libc::S_IFDIR,
        scan::Kind::Symlink => libc::S_IFLNK,
        scan::Kind::Device => libc::S_IFCHR,
        scan::Kind::Special => libc::S_IFIFO,
        scan::Kind::File | scan::Kind::Unknown => libc::S_IFREG,
    };
    kind | libc::S_IWUSR
}

fn sort(children: &mut [Child], order: Order) {
    children.sort_unstable_by(|a, b| order.of_names((&a.name, a.is_dir()), (&b.name, b.is_dir())));
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::dest::fixture::Fixture;

    fn listed(fixture: &Fixture, order: Order) -> Vec<(String, u32)> {
        let dest = fixture.dest();
        let mut lister = Lister::new(dest, order, 0, 0, false);
        let children = lister.children(dest, &Spot::of(dest, b"."), |name, _| match name {
            b"wanted" => Judged::Wanted,
            b"spared" => Judged::Protected,
            _ => Judged::Extraneous,
        });
        assert_eq!(lister.io_error, 0);
        let shown = |child: Child| (String::from_utf8(child.name.into()).unwrap(), child.mode & libc::S_IFMT);
        children.unwrap().into_iter().map(shown).collect()
    }

    #[test]
    fn what_is_extraneous_stands_in_the_order_of_the_list() {
        let fixture = Fixture::new();
        for dir in ["a", "a-b", "z"] {
            fs::create_dir(fixture.path().join(dir)).unwrap();
        }
        for file in ["wanted", "spared", "b", "a.c"] {
            fs::write(fixture.path().join(file), "").unwrap();
        }
        symlink("z", fixture.path().join("y")).unwrap();
        let (file, dir, link) = (libc::S_IFREG, libc::S_IFDIR, libc::S_IFLNK);
        let named = |all: [(&str, u32); 6]| all.map(|(name, mode)| (name.to_owned(), mode)).to_vec();
        let tree = [("a.c", file), ("b", file), ("y", link), ("a-b", dir), ("a", dir), ("z", dir)];
        assert_eq!(listed(&fixture, Order::Tree), named(tree));
        let bytes = [("a", dir), ("a-b", dir), ("a.c", file), ("b", file), ("y", link), ("z", dir)];
        assert_eq!(listed(&fixture, Order::Bytes), named(bytes));
    }

    #[test]
    fn what_cannot_be_read_is_told_and_what_is_gone_is_not() {
        let fixture = Fixture::new();
        fs::write(fixture.path().join("file"), "").unwrap();
        let (dest, everything) = (fixture.dest(), |_: &[u8], _: bool| Judged::Extraneous);
        let mut lister = Lister::new(dest, Order::Tree, 0, 0, false);
        assert!(lister.children(dest, &Spot::of(dest, b"gone"), everything).unwrap().is_empty());
        assert_eq!((lister.io_error, fixture.said()), (0, String::new()));
        assert!(lister.children(dest, &Spot::of(dest, b"file"), everything).unwrap().is_empty());
        let line = format!("rsync: [receiver] opendir \"{}/file\" failed: Not a directory (20)\n", fixture.base());
        assert_eq!((lister.io_error, fixture.said()), (io_error::GENERAL, line));
    }
}
