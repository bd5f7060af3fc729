//! Removing what stands at the destination, so far to make room for something of another type.

use std::io;

use super::Dest;
use crate::{
    bytes,
    fs::Scan,
    log::LogCode,
    meta::Kind,
    options::{Debug, Delete},
    sys::stat::Stat,
    text::path::join,
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

/// Removes things at the destination and keeps count.
pub struct Remover<'a> {
    pub dest: Dest<'a>,
    /// The effective user, whose own write-protected directories are unlocked first.
    pub euid: u32,
    /// Told (path, mode) of everything that is deleted, so that it can be reported and counted by type. What only
    /// makes room for its successor is replaced, not deleted; what is inside it is deleted.
    pub on_delete: &'a mut dyn FnMut(&[u8], u32),
    /// How many deletions took place.
    pub deleted: u64,
    /// How many `--max-delete` prevented.
    pub skipped: u64,
}

impl<'a> Remover<'a> {
    pub fn new(dest: Dest<'a>, euid: u32, on_delete: &'a mut dyn FnMut(&[u8], u32)) -> Self {
        Self { dest, euid, on_delete, deleted: 0, skipped: 0 }
    }

    /// Removes what stands at `path` because something of another type shall stand there. A directory must be empty,
    /// or deletions must be allowed (`--force`, `--delete`). With `unlock`, what is ours is made writable first.
    /// A failure is said. C: delete.c delete_item with DEL_MAKE_ROOM
    pub fn make_room(&mut self, path: &[u8], stat: &Stat, room: Room, unlock: bool) -> bool {
        let options = self.dest.options;
        let how = How {
            room: Some(room),
            recurse: options.force || options.delete != Delete::Never,
            unlock: unlock && self.is_locked(stat),
            emptied: false,
        };
        let ended = self.item(path, stat.mode, how);
        if ended != Ended::Gone {
            let line = bytes!["could not make way for new ", room.name(), ": ", path];
            self.dest.log.say(LogCode::ErrorXfer, line);
        }
        ended == Ended::Gone
    }

    fn is_locked(&self, stat: &Stat) -> bool {
        stat.mode & libc::S_IWUSR == 0 && !self.dest.rules.privileged && stat.uid == self.euid
    }

    /// C: delete.c delete_item
    fn item(&mut self, path: &[u8], mode: u32, how: How) -> Ended {
        if self.dest.log.debug(Debug::Del) >= 2 {
            let line = format!("mode={mode:o} flags={}", how.flags());
            self.dest.log.say(LogCode::Info, bytes!["delete_item(", path, ") ", line]);
        }
        if how.unlock {
            self.unlock(path, mode);
        }
        let is_dir = Kind::of(mode) == Kind::Directory;
        if is_dir && !how.emptied {
            let ended = self.contents(path, how);
            if ended != Ended::Gone {
                return ended;
            }
        }
        let limit = self.dest.options.max_delete.and_then(|limit| u64::try_from(limit).ok());
        if how.room.is_none() && limit.is_some_and(|limit| self.deleted >= limit) {
            self.skipped += 1;
            return Ended::AtLimit;
        }
        let (what, done) = match (self.dest.rules.dry_run, is_dir) {
            (true, _) => ("", Ok(())),
            (_, true) => ("rmdir", self.dest.root.rmdir(path)),
            (_, false) => ("unlink", self.dest.root.unlink(path)),
        };
        match done {
            Ok(()) => {
                if how.room.is_none() {
                    (self.on_delete)(path, mode);
                    self.deleted += 1;
                }
                Ended::Gone
            }
            Err(error) => self.not_removed(what, path, &error),
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
            let _ = self.dest.root.chmod(path, mode & 0o7777 | libc::S_IWUSR); // the removal itself will tell
        }
    }

    /// Empties a directory, or only looks whether it is empty. C: delete.c delete_dir_contents
    fn contents(&mut self, path: &[u8], how: How) -> Ended {
        if self.dest.log.debug(Debug::Del) >= 3 {
            let line = bytes!["delete_dir_contents(", path, ") flags=", how.flags()];
            self.dest.log.say(LogCode::Info, line);
        }
        let base = &self.dest.names.base;
        self.debug_filters(|| bytes!["pushing local filters for ", base, "/", path, "/"]);
        let (children, dev) = self.children(path);
        let mut ended = Ended::Gone;
        if !how.recurse && !children.is_empty() {
            ended = Ended::NotEmpty;
        } else {
            for (name, stat) in children.into_iter().rev() {
                if self.child(&join(path, &name), &stat, dev) != Ended::Gone {
                    ended = Ended::NotEmpty;
                }
            }
        }
        if ended == Ended::NotEmpty {
            self.say_not_empty(path);
        }
        self.debug_filters(|| bytes!["popping local filters"]);
        ended
    }

    fn debug_filters(&self, line: impl FnOnce() -> Vec<u8>) {
        let log = self.dest.log;
        if log.debug(Debug::Filter) >= 2 {
            log.say(LogCode::Info, bytes!["[", log.speaker().name(), "] ", line()]);
        }
    }

    fn child(&mut self, path: &[u8], stat: &Stat, dev: u64) -> Ended {
        if self.dest.options.one_file_system > 0 && stat.is_dir() && stat.dev != dev {
            if self.dest.log.debug(Debug::Del) >= 1 {
                self.dest.log.say(LogCode::Info, bytes!["mount point, ", path, ", pins parent directory"]);
            }
            return Ended::NotEmpty;
        }
        if self.is_locked(stat) {
            self.unlock(path, stat.mode);
        }
        let how = How { emptied: true, ..How::default() };
        let mut inside = Ended::Gone;
        if stat.is_dir() {
            inside = self.contents(path, How { recurse: true, ..how });
        }
        match self.item(path, stat.mode, how) {
            Ended::Gone => inside,
            other => other,
        }
    }

    /// The entries of a directory in list order (what is not a directory first), and the directory's device. One that
    /// cannot be read counts as empty: removing it will tell. C: flist.c get_dirlist
    fn children(&self, path: &[u8]) -> (Vec<(Vec<u8>, Stat)>, u64) {
        let root = self.dest.root;
        let mut children = Vec::new();
        match root.open_dir(path) {
            Err(error) => self.dest.failed("opendir ", path, " failed", &error),
            Ok(dir) => {
                let mut scan = Scan::default();
                while let Ok(Some(item)) = scan.next(&*dir) {
                    if let Ok(stat) = root.stat(&join(path, item.name)) {
                        children.push((item.name.to_vec(), stat));
                    }
                }
            }
        }
        children.sort_by(|(a, a_stat), (b, b_stat)| (a_stat.is_dir(), a).cmp(&(b_stat.is_dir(), b)));
        (children, root.stat(path).map_or(0, |stat| stat.dev))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::dest::fixture::Fixture;

    fn room(fixture: &Fixture, path: &str) -> (bool, Vec<String>, u64, u64) {
        let mut deleted = Vec::new();
        let mut note = |path: &[u8], _: u32| deleted.push(String::from_utf8_lossy(path).into_owned());
        let stat = fixture.dest().root.stat(path.as_bytes()).unwrap();
        let mut remover = Remover::new(fixture.dest(), stat.uid, &mut note);
        let made = remover.make_room(path.as_bytes(), &stat, Room::File, true);
        let (count, skipped) = (remover.deleted, remover.skipped);
        (made, deleted, count, skipped)
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
}
