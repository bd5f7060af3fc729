//! Removing what stands at the destination: what is extraneous, and what makes room for something of another type.

use std::io;

use super::{
    Dest,
    backup::{self, Kept, Prefer},
    children::{Child, Judged, Lister, inside},
    places::Spot,
};
use crate::{
    bytes,
    error::{Error, Result},
    filter::{Filters, Name, Place},
    fs::Root,
    log::LogCode,
    meta::Kind,
    options::{Debug, Delete, Options},
    proto::stats::DeleteStats,
    sys::stat::Stat,
};

/// What is waiting for the room. C: DEL_FOR_*
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    File,
    Directory,
    Symlink,
    Device,
    Special,
}

impl Room {
    fn name(self) -> &'static str {
        match self {
            Self::File => "regular file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Device => "device file",
            Self::Special => "special file",
        }
    }

    /// The bit that `--debug=del2` shows.
    fn flag(self) -> u32 {
        match self {
            Self::File => 1 << 3,
            Self::Directory => 1 << 4,
            Self::Symlink => 1 << 5,
            Self::Device => 1 << 6,
            Self::Special => 1 << 7,
        }
    }
}

/// How a removal ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Gone,
    Failed,
    NotEmpty,
    /// `--max-delete` is used up.
    AtLimit,
    /// Whoever is told of deletions wants no more of them.
    Stopped,
}

impl Ended {
    /// Something stays.
    fn or_not_empty(self) -> Self {
        if self == Self::Stopped { self } else { Self::NotEmpty }
    }
}

/// The circumstances of one removal.
#[derive(Clone, Copy, Default)]
struct How {
    room: Option<Room>,
    /// With all contents.
    recurse: bool,
    /// Ours, but not writable by us.
    unlock: bool,
    /// The contents were seen to already.
    emptied: bool,
}

impl How {
    fn flags(self) -> u32 {
        u32::from(self.unlock)
            | u32::from(self.recurse) << 1
            | u32::from(self.emptied) << 2
            | self.room.map_or(0, Room::flag)
    }
}

/// What is remembered from one removal to the next.
pub struct Removals {
    pub lister: Lister,
    /// What was deleted.
    pub counts: DeleteStats,
    /// How many deletions `--max-delete` prevented.
    pub skipped: u32,
    /// Rules of a directory that do not parse: the end of the run.
    pub failed: Option<Error>,
}

impl Removals {
    pub fn new(lister: Lister) -> Self {
        Self { lister, counts: DeleteStats::default(), skipped: 0, failed: None }
    }

    /// Lets `act` remove things; `each` hears of every deletion, and ends the run where it fails.
    pub fn through<T>(
        &mut self,
        dest: Dest<'_>,
        filters: &mut Filters,
        mut each: impl FnMut(&[u8], u32) -> Result<()>,
        act: impl FnOnce(&mut Remover<'_>) -> T,
    ) -> Result<T> {
        let mut going = Ok(());
        let mut on_delete = |path: &[u8], mode: u32| {
            going = each(path, mode);
            going.is_ok()
        };
        let done = act(&mut Remover { dest, removals: self, filters, on_delete: &mut on_delete, backups: None });
        match self.failed.take() {
            Some(error) => Err(error),
            None => going.map(|()| done),
        }
    }
}

/// Whether a directory in the way, or an argument that the sender misses, goes with all its contents.
fn recurses(options: &Options) -> bool {
    options.force || options.delete != Delete::Never
}

/// Removes things at the destination and keeps count.
pub struct Remover<'a> {
    pub dest: Dest<'a>,
    pub removals: &'a mut Removals,
    /// What is spared.
    pub filters: &'a mut Filters,
    /// Told (path, mode) of everything that is deleted; false: no more. What only makes room for its successor is
    /// replaced, not deleted; what is inside it is deleted.
    pub on_delete: &'a mut dyn FnMut(&[u8], u32) -> bool,
    /// Set where what goes makes room for a backup: it is not kept in turn. C: DEL_FOR_BACKUP
    pub backups: Option<Among<'a>>,
}

/// The tree of backups, and how much of a path in it is the way there.
#[derive(Clone, Copy)]
pub struct Among<'a> {
    pub root: &'a Root,
    pub above: usize,
}

/// A directory being emptied.
struct Level {
    /// Up to here the path is the directory's own.
    path_len: usize,
    mode: u32,
    /// What is left to remove, next one last.
    children: Vec<Child>,
    ended: Ended,
}

impl<'a> Remover<'a> {
    /// The same among the backups, where `spot` is.
    pub(super) fn for_backup<'b>(&'b mut self, spot: &Spot<'b>) -> Remover<'b> {
        let above = spot.shown().len().saturating_sub(spot.path.len());
        Remover {
            dest: self.dest,
            removals: self.removals,
            filters: self.filters,
            on_delete: self.on_delete,
            backups: Some(Among { root: spot.root, above }),
        }
    }

    /// Where a path leads that messages and rules call `path`.
    fn at<'p>(&self, path: &'p [u8]) -> Spot<'p>
    where
        'a: 'p,
    {
        match self.backups {
            None => Spot::of(self.dest, path),
            Some(Among { root, above }) => {
                Spot { root, path: path.get(above..).unwrap_or_default().into(), shown: path.into() }
            }
        }
    }

    /// Removes what stands at `path` because something of another type shall stand there. A directory must be empty,
    /// or deletions must be allowed (`--force`, `--delete`). With `unlock`, what is ours is made writable first.
    /// A failure is said. C: delete.c delete_item with DEL_MAKE_ROOM
    pub fn make_room(&mut self, path: &[u8], stat: &Stat, room: Room, unlock: bool) -> bool {
        let for_backup = self.backups.is_some();
        let unlock = unlock && self.removals.lister.is_locked(self.dest, stat);
        let recurse = for_backup || recurses(self.dest.options);
        let ended = self.item(path, stat.mode, How { room: Some(room), recurse, unlock, emptied: false });
        if !matches!(ended, Ended::Gone | Ended::Stopped) {
            let what = if for_backup { "backup" } else { "new" };
            let line = bytes!["could not make way for ", what, " ", room.name(), ": ", path];
            self.dest.log.say(LogCode::ErrorXfer, line);
        }
        ended == Ended::Gone
    }

    /// Deletes something extraneous, a directory with all its contents; `unlock`: it is ours, but write-protected.
    pub fn delete(&mut self, path: &[u8], mode: u32, unlock: bool) {
        self.item(path, mode, How { recurse: true, unlock, ..How::default() });
    }

    /// Deletes an argument that the sender misses; a directory with contents only where deletions are allowed.
    pub fn delete_named(&mut self, path: &[u8], mode: u32) {
        self.item(path, mode, How { recurse: recurses(self.dest.options), ..How::default() });
    }

    /// C: delete.c delete_item
    fn item(&mut self, path: &[u8], mode: u32, how: How) -> Ended {
        if self.dest.log.debug(Debug::Del) >= 2 {
            let line = format!("mode={mode:o} flags={}", self.flags(how));
            self.dest.log.say(LogCode::Info, bytes!["delete_item(", path, ") ", line]);
        }
        if how.unlock {
            self.unlock(path, mode);
        }
        let is_dir = Kind::of(mode) == Kind::Directory;
        if is_dir && !how.emptied {
            self.filters.set_dying(true);
            let ended = self.contents(path, how);
            self.filters.set_dying(false);
            if ended != Ended::Gone {
                return ended;
            }
        }
        if how.room.is_none() && self.is_at_limit() {
            self.removals.skipped = self.removals.skipped.saturating_add(1);
            return Ended::AtLimit;
        }
        let (what, done) = match (self.dest.rules.dry_run, is_dir) {
            (_, false) if self.backups.is_none() && backup::applies_to_deleted(self.dest, path) => self.keep(path),
            (true, _) => ("", Ok(())),
            (_, is_dir) => {
                let Spot { root, path, .. } = self.at(path);
                if is_dir { ("rmdir", root.rmdir(&path)) } else { ("unlink", root.unlink(&path)) }
            }
        };
        match done {
            Err(error) => self.not_removed(what, path, &error),
            Ok(()) if how.room.is_some() => Ended::Gone,
            Ok(()) => {
                self.removals.counts.add(mode);
                if (self.on_delete)(path, mode) { Ended::Gone } else { Ended::Stopped }
            }
        }
    }

    /// As `--debug=del2` shows them.
    fn flags(&self, how: How) -> u32 {
        how.flags() | u32::from(self.backups.is_some()) << 8
    }

    fn is_at_limit(&self) -> bool {
        let limit = self.dest.options.max_delete.and_then(|limit| u32::try_from(limit).ok());
        limit.is_some_and(|limit| self.removals.counts.total() >= limit)
    }

    /// What is deleted goes to the backups.
    fn keep(&mut self, path: &[u8]) -> (&'static str, io::Result<()>) {
        match backup::keep(self, path, Prefer::Rename) {
            Ok(Kept::Copied) if !self.dest.rules.dry_run => ("unlink", self.dest.root.unlink(path)),
            Ok(_) => ("make_backup", Ok(())),
            // Such an error would pass for one of the deletion.
            Err(error) if matches!(error.raw_os_error(), None | Some(libc::ENOENT | libc::ENOTEMPTY)) => {
                ("make_backup", Err(io::Error::from_raw_os_error(libc::EIO)))
            }
            Err(error) => ("make_backup", Err(error)),
        }
    }

    fn not_removed(&self, what: &str, path: &[u8], error: &io::Error) -> Ended {
        match error.kind() {
            io::ErrorKind::NotFound => Ended::Gone,
            io::ErrorKind::DirectoryNotEmpty => {
                self.say_not_empty(path);
                Ended::NotEmpty
            }
            _ => {
                let line = bytes!["delete_file: ", what, "(", path, ") failed"];
                self.dest.log.syserr(LogCode::ErrorXfer, line, error);
                Ended::Failed
            }
        }
    }

    fn say_not_empty(&self, path: &[u8]) {
        self.dest.log.say(LogCode::Info, bytes!["cannot delete non-empty directory: ", path]);
    }

    fn unlock(&self, path: &[u8], mode: u32) {
        if !self.dest.rules.dry_run {
            let Spot { root, path, .. } = self.at(path);
            let _ = root.chmod(&path, mode & 0o7777 | libc::S_IWUSR); // the removal itself will tell
        }
    }

    /// Empties a directory, or only looks whether it is empty. However deep it goes, the depth is on the heap.
    /// C: delete.c delete_dir_contents
    fn contents(&mut self, top: &[u8], how: How) -> Ended {
        let mut path = top.to_vec();
        let mut outer: Vec<Level> = Vec::new();
        let mut level = self.enter(&path, self.flags(how), 0);
        if !how.recurse && !level.children.is_empty() {
            level.ended = Ended::NotEmpty;
            level.children.clear();
        }
        loop {
            let Some(child) = level.children.pop().filter(|_| level.ended != Ended::Stopped) else {
                path.truncate(level.path_len);
                self.leave(&path, level.ended);
                let (mode, inside) = (level.mode, level.ended);
                let Some(parent) = outer.pop() else { return inside };
                level = parent;
                level.note(inside);
                if inside != Ended::Stopped {
                    level.note(self.item(&path, mode, EMPTIED));
                }
                continue;
            };
            path.truncate(level.path_len);
            path.push(b'/');
            path.extend_from_slice(&child.name);
            if child.mount {
                self.tell_pinned(&path);
                level.note(Ended::NotEmpty);
                continue;
            }
            if child.locked {
                self.unlock(&path, child.mode);
            }
            if child.is_dir() {
                let inner = self.enter(&path, self.flags(How { recurse: true, ..EMPTIED }), child.mode);
                outer.push(std::mem::replace(&mut level, inner));
            } else {
                level.note(self.item(&path, child.mode, EMPTIED));
            }
        }
    }

    /// Lists a directory that is to be emptied.
    fn enter(&mut self, path: &[u8], flags: u32, mode: u32) -> Level {
        if self.dest.log.debug(Debug::Del) >= 3 {
            let line = bytes!["delete_dir_contents(", path, ") flags=", flags];
            self.dest.log.say(LogCode::Info, line);
        }
        let spot = self.at(path);
        let Self { dest, removals, filters, .. } = self;
        let mut ended = Ended::Gone;
        if let Err(error) = filters.enter(path, Place { log: dest.log, tree: Some((spot.root, &spot.path)) }) {
            removals.failed = Some(error);
            ended = Ended::Stopped;
        }
        let dir = inside(path, b"");
        let children = removals.lister.children(*dest, &spot, |leaf, is_dir| {
            if filters.excludes(Name { dir: &dir, leaf, is_dir, xattr: false }, dest.log) {
                ended = ended.or_not_empty();
                return Judged::Protected;
            }
            Judged::Extraneous
        });
        let children = children.unwrap_or_else(|error| {
            removals.failed = Some(error);
            ended = Ended::Stopped;
            Vec::new()
        });
        Level { path_len: path.len(), mode, children, ended }
    }

    /// All that could be removed is; says so where that was not everything.
    fn leave(&mut self, path: &[u8], ended: Ended) {
        if ended == Ended::NotEmpty {
            self.say_not_empty(path);
        }
        self.filters.leave(self.dest.log);
    }

    fn tell_pinned(&self, path: &[u8]) {
        if self.dest.log.debug(Debug::Del) >= 1 {
            self.dest.log.say(LogCode::Info, bytes!["mount point, ", path, ", pins parent directory"]);
        }
    }
}

const EMPTIED: How = How { room: None, recurse: false, unlock: false, emptied: true };

impl Level {
    /// Something inside came to this end.
    fn note(&mut self, ended: Ended) {
        match ended {
            Ended::Gone => {}
            Ended::Stopped => self.ended = Ended::Stopped,
            _ => self.ended = self.ended.or_not_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::{
        dest::fixture::Fixture,
        options::{FilterArg, FilterOption},
    };

    fn room(fixture: &Fixture, path: &str) -> (bool, Vec<String>, u32, u32) {
        let mut deleted = Vec::new();
        let mut note = |path: &[u8], _: u32| {
            deleted.push(String::from_utf8_lossy(path).into_owned());
            true
        };
        let stat = fixture.dest().root.stat(path.as_bytes()).unwrap();
        let mut removals = fixture.removals();
        let mut filters = fixture.filters();
        let dest = fixture.dest();
        let mut remover =
            Remover { dest, removals: &mut removals, filters: &mut filters, on_delete: &mut note, backups: None };
        let made = remover.make_room(path.as_bytes(), &stat, Room::File, true);
        (made, deleted, removals.counts.total(), removals.skipped)
    }

    fn fill(fixture: &Fixture) {
        fs::create_dir_all(fixture.path().join("n/sub/deep")).unwrap();
        for name in ["n/b", "n/a", "n/sub/x", "n/sub/deep/y"] {
            fs::write(fixture.path().join(name), "").unwrap();
        }
    }

    #[test]
    fn a_full_directory_makes_room_only_by_force() {
        let fixture = Fixture::new();
        fill(&fixture);
        assert_eq!(room(&fixture, "n"), (false, vec![], 0, 0));
        let said = "cannot delete non-empty directory: n\ncould not make way for new regular file: n\n";
        assert_eq!(fixture.said(), said);

        let fixture = Fixture::with(|options| options.force = true);
        fill(&fixture);
        let (made, deleted, count, _) = room(&fixture, "n");
        assert!(made);
        assert_eq!(deleted, ["n/sub/deep/y", "n/sub/deep", "n/sub/x", "n/sub", "n/b", "n/a"], "as the reference does");
        assert_eq!(count, 6);
        assert_eq!((fixture.names(), fixture.said()), (vec![], String::new()));
    }

    #[test]
    fn what_is_no_full_directory_goes_silently() {
        let fixture = Fixture::new();
        fs::create_dir(fixture.path().join("d")).unwrap();
        fs::write(fixture.path().join("f"), "").unwrap();
        std::os::unix::fs::symlink("/", fixture.path().join("l")).unwrap();
        for name in ["d", "f", "l"] {
            assert_eq!(room(&fixture, name), (true, vec![], 0, 0));
        }
        assert_eq!((fixture.names(), fixture.said()), (vec![], String::new()));
    }

    #[test]
    fn the_limit_of_deletions_holds() {
        let fixture = Fixture::with(|options| (options.force, options.max_delete) = (true, Some(2)));
        fill(&fixture);
        let (made, deleted, count, skipped) = room(&fixture, "n");
        assert!(!made);
        assert_eq!((deleted.len(), count), (2, 2));
        assert_eq!(skipped, 4, "x, sub, b and a");
        let said = "cannot delete non-empty directory: n/sub\ncannot delete non-empty directory: n\ncould not make way for new regular file: n\n";
        assert_eq!(fixture.said(), said);
    }

    #[test]
    fn a_dry_run_removes_nothing() {
        let fixture = Fixture::with(|options| (options.force, options.dry_run) = (true, true));
        fill(&fixture);
        let (made, deleted, ..) = room(&fixture, "n");
        assert!(made);
        assert_eq!(deleted.len(), 6);
        assert!(fixture.path().join("n/sub/deep/y").exists());
    }

    #[test]
    fn a_write_protected_directory_of_ours_is_unlocked() {
        let mut fixture = Fixture::with(|options| options.force = true);
        fixture.rules.privileged = false;
        fill(&fixture);
        fs::set_permissions(fixture.path().join("n"), PermissionsExt::from_mode(0o555)).unwrap();
        fs::set_permissions(fixture.path().join("n/sub"), PermissionsExt::from_mode(0o555)).unwrap();
        assert!(room(&fixture, "n").0);
        assert_eq!(fixture.names(), [""; 0]);
    }

    #[test]
    fn depth_does_not_matter() {
        let fixture = Fixture::with(|options| options.force = true);
        let deep = ["n"; 1500].join("/");
        fs::create_dir_all(fixture.path().join(&deep)).unwrap();
        let (made, deleted, count, _) = room(&fixture, "n");
        assert!(made && deleted.len() == 1499 && count == 1499);
        assert_eq!(fixture.names(), [""; 0]);
    }

    #[test]
    fn what_the_rules_spare_keeps_its_directories() {
        let fixture = Fixture::with(|options| {
            options.force = true;
            options.filters.extend([b"P y".as_slice(), b"P,p b"].map(|rule| {
                let arg = FilterArg::Filter(rule.to_vec());
                FilterOption { arg, trace: 0, from0: false, delete_excluded: false }
            }));
        });
        fill(&fixture);
        let (made, deleted, ..) = room(&fixture, "n");
        assert!(!made && fixture.path().join("n/sub/deep/y").exists());
        assert_eq!(deleted, ["n/sub/x", "n/b", "n/a"], "in what goes itself perishable rules mean nothing");
    }
}
