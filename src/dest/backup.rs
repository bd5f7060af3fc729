//! Keeping what gives way (`--backup`): beside its place under a name of its own, or in a directory for such.
//!
//! What can be linked or moved is not copied. A copy gets its name when it is whole, so that a backup is never half of
//! one, whatever happens under way.

use std::{
    cell::{OnceCell, RefCell},
    io,
};

use super::{
    Dest,
    copy::CopyError,
    defaults,
    delete::{Remover, Room},
    duplicate::{self, Failure},
    make,
    places::{Spot, named},
    temp::{self, PlaceError},
    write::WriteBuffer,
};
use crate::{
    bytes,
    fs::{Follow, Root},
    log::LogCode,
    meta::{
        Kind, Wanted,
        acl::{Acls, Which},
        apply::{How, Target},
        read::device_size,
    },
    options::{Debug, Info},
    sys::stat::{Stat, stat_fd},
    text::path::{split, unsafe_symlink},
};

/// How backups are named, and where they go.
pub struct Backups {
    suffix: Vec<u8>,
    dir: Option<BackupDir>,
}

/// `--backup-dir`, with the directories of the destination below it.
pub(super) struct BackupDir {
    /// As typed, with a slash at its end.
    text: Vec<u8>,
    /// Made when the first backup comes.
    root: OnceCell<Root>,
    /// The directory below that was seen to last.
    known: RefCell<Vec<u8>>,
}

impl BackupDir {
    pub fn new(text: Vec<u8>, root: Option<Root>) -> Self {
        Self { text, root: root.map_or_else(OnceCell::new, OnceCell::from), known: RefCell::default() }
    }
}

impl Backups {
    pub(super) fn new(suffix: Vec<u8>, dir: Option<BackupDir>) -> Self {
        Self { suffix, dir }
    }

    pub(super) fn for_another_thread(&self) -> Self {
        let dir = self.dir.as_ref().map(|dir| {
            let root = dir.root.get().and_then(|root| root.try_clone().ok());
            BackupDir::new(dir.text.clone(), root)
        });
        Self { suffix: self.suffix.clone(), dir }
    }
}

/// What became of the old file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// It has the backup's name now, and no other.
    Moved,
    /// It is at its place as well.
    Copied,
    /// There was nothing to keep.
    Nothing,
}

/// Which of the cheap ways is tried first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prefer {
    /// The old file stays until the new one takes its name.
    Link,
    /// It shall be gone.
    Rename,
}

/// Whether a deletion keeps what is at `path`: not what is a backup itself, beside its file. C: in delete.c delete_item
pub fn applies_to_deleted(dest: Dest<'_>, path: &[u8]) -> bool {
    dest.places.backups.as_ref().is_some_and(|backups| {
        let name = split(path).1;
        backups.dir.is_some() || name.len() <= backups.suffix.len() || !name.ends_with(&backups.suffix)
    })
}

/// Keeps what stands at `path` under its backup's name. C: backup.c make_backup
///
/// # Errors
/// It cannot be, which was said, if there is a word for it.
pub fn keep(remover: &mut Remover<'_>, path: &[u8], prefer: Prefer) -> io::Result<Kept> {
    let dest = remover.dest;
    let Ok(stat) = dest.stat(path) else { return Ok(Kept::Nothing) };
    let spot = spot(remover, path)?;
    let kept = match dest.rules.dry_run {
        _ if leaves_tree(dest, path, &stat) => Kept::Copied,
        true => put_by_word(dest, path, prefer),
        false => put(remover, path, &stat, &spot, prefer)?,
    };
    if kept != Kept::Nothing {
        tell(dest, path, &spot);
    }
    Ok(kept)
}

/// Copies the file at `path`, which is about to be written into, to its backup's name. C: in generator.c recv_generator
///
/// # Errors
/// As for [`keep`].
pub fn duplicate(remover: &mut Remover<'_>, path: &[u8]) -> io::Result<()> {
    let dest = remover.dest;
    let spot = spot(remover, path)?;
    let stat = dest.stat(path)?;
    copy_file(dest, path, &spot, &stat, How::default())?;
    tell(dest, path, &spot);
    Ok(())
}

/// Where the backup of `path` is, or will be.
///
/// # Errors
/// The directory for it cannot be made.
pub fn place<'a>(dest: Dest<'a>, path: &[u8]) -> io::Result<Spot<'a>> {
    let Some(Backups { suffix, dir }) = &dest.places.backups else { return Err(io::ErrorKind::Unsupported.into()) };
    let name = bytes![path, suffix];
    Ok(match dir {
        None => Spot { root: dest.root, shown: name.clone().into(), path: name.into() },
        Some(dir) => Spot { root: dir.root(dest)?, shown: bytes![dir.text, name].into(), path: name.into() },
    })
}

/// The same, the directories there made. C: backup.c get_backup_name
fn spot<'a>(remover: &mut Remover<'a>, path: &[u8]) -> io::Result<Spot<'a>> {
    let dest = remover.dest;
    let spot = place(dest, path).inspect_err(|error| tell_no_place(dest, path, error))?;
    if let Some(dir) = dest.places.backups.as_ref().and_then(|backups| backups.dir.as_ref()) {
        dir.see_to_dirs(remover, spot.root, path)?;
    }
    Ok(spot)
}

/// The directory for backups cannot be entered: a link that leads nowhere, for one.
fn tell_no_place(dest: Dest<'_>, path: &[u8], error: &io::Error) {
    let Some(Backups { suffix, dir: Some(dir) }) = &dest.places.backups else { return };
    let shown = bytes![dir.text, path, suffix];
    dest.log.syserr(LogCode::ErrorXfer, bytes!["open ", dest.names.full(&shown)], error);
    tell_failed(dest, path, &shown, error);
}

fn tell_failed(dest: Dest<'_>, path: &[u8], shown: &[u8], error: &io::Error) {
    let what = bytes!["keep_backup failed: ", dest.names.full(path), " -> \"", shown, "\""];
    dest.log.syserr(LogCode::Error, what, error);
}

fn tell(dest: Dest<'_>, path: &[u8], spot: &Spot<'_>) {
    if dest.log.info(Info::Backup) >= 1 {
        dest.log.say(LogCode::Info, bytes!["backed up ", path, " to ", spot.shown()]);
    }
}

fn debug(dest: Dest<'_>, how: &str, path: &[u8]) {
    if dest.log.debug(Debug::Backup) >= 1 {
        dest.log.say(LogCode::Info, bytes!["make_backup: ", how, " ", path, " successful."]);
    }
}

/// Whether this is a link that `--safe-links` would not have let in: it is not kept.
fn leaves_tree(dest: Dest<'_>, path: &[u8], stat: &Stat) -> bool {
    if !(dest.options.links && dest.options.safe_links && stat.is_symlink()) {
        return false;
    }
    let target = dest.rules.read_link(dest.root, path).unwrap_or_default();
    let unsafe_link = unsafe_symlink(&target, path);
    if unsafe_link && dest.log.info(Info::Symsafe) >= 1 {
        let line = match &target[..] {
            b"" => bytes!["not backing up symlink with unreadable target \"", path, "\""],
            _ => bytes!["not backing up unsafe symlink \"", path, "\" -> \"", target, "\""],
        };
        dest.log.say(LogCode::Info, line);
    }
    unsafe_link
}

/// A dry run's way: the first one always works.
fn put_by_word(dest: Dest<'_>, path: &[u8], prefer: Prefer) -> Kept {
    let (how, kept) = match prefer {
        Prefer::Link => ("HLINK", Kept::Copied),
        Prefer::Rename => ("RENAME", Kept::Moved),
    };
    debug(dest, how, path);
    kept
}

/// Links, moves or copies, whichever works first. C: backup.c make_backup_inner
fn put(remover: &mut Remover<'_>, path: &[u8], stat: &Stat, spot: &Spot<'_>, prefer: Prefer) -> io::Result<Kept> {
    let dest = remover.dest;
    match link_or_rename(dest, path, stat, spot, prefer) {
        Ok(kept) => return Ok(kept),
        Err(error) if is_in_the_way(&error) => {
            if !clear(remover, spot) {
                return Err(in_the_way());
            }
            if let Ok(kept) = link_or_rename(dest, path, stat, spot, prefer) {
                return Ok(kept);
            }
        }
        Err(_) => {}
    }
    copy(dest, path, stat, spot)
}

/// C: backup.c link_or_rename
fn link_or_rename(dest: Dest<'_>, path: &[u8], stat: &Stat, spot: &Spot<'_>, prefer: Prefer) -> io::Result<Kept> {
    if prefer == Prefer::Link {
        match dest.root.link(path, spot.root, &spot.path) {
            Ok(()) => {
                debug(dest, "HLINK", path);
                return Ok(Kept::Copied);
            }
            Err(error) if !stat.is_file() || is_in_the_way(&error) => return Err(error),
            Err(_) => {}
        }
    }
    dest.root.rename(path, spot.root, &spot.path)?;
    if stat.nlink > 1 && !stat.is_dir() {
        // A rename between two names of one file does nothing at all.
        let _ = dest.root.unlink(path);
    }
    debug(dest, "RENAME", path);
    Ok(Kept::Moved)
}

fn is_in_the_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EEXIST | libc::EISDIR))
}

/// Of what stays in the way of a backup it was said why.
fn in_the_way() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

/// Removes what has the backup's name, a directory with all in it that no rule spares; false, with a message, if it
/// cannot go.
fn clear(remover: &mut Remover<'_>, spot: &Spot<'_>) -> bool {
    match spot.root.stat(&spot.path) {
        Ok(stat) => remove(remover, spot, &stat),
        Err(_) => true,
    }
}

fn remove(remover: &mut Remover<'_>, spot: &Spot<'_>, stat: &Stat) -> bool {
    let room = match Kind::of(stat.mode) {
        Kind::Directory => Room::Directory,
        Kind::Symlink => Room::Symlink,
        Kind::Device => Room::Device,
        Kind::Special => Room::Special,
        Kind::Regular | Kind::Unsupported => Room::File,
    };
    remover.for_backup(spot).make_room(spot.shown(), stat, room, false)
}

/// A copy on another file system.
fn copy(dest: Dest<'_>, path: &[u8], stat: &Stat, spot: &Spot<'_>) -> io::Result<Kept> {
    let options = dest.options;
    let made = match Kind::of(stat.mode) {
        Kind::Device if dest.rules.privileged && options.devices => make_node(dest, path, stat, spot),
        Kind::Special if options.specials => make_node(dest, path, stat, spot),
        Kind::Symlink if options.links => make_link(dest, path, spot),
        Kind::Regular => {
            let exact = How { exact_times: true, ..How::default() };
            if let Err(error) = copy_file(dest, path, spot, stat, exact) {
                if !was_stopped(&error) {
                    tell_failed(dest, path, spot.shown(), &error);
                }
                return Err(error);
            }
            debug(dest, "COPY", path);
            return Ok(Kept::Copied);
        }
        _ => {
            if dest.log.info(Info::Nonreg) >= 1 {
                dest.log.say(LogCode::Info, bytes!["make_bak: skipping non-regular file ", path]);
            }
            return Ok(Kept::Nothing);
        }
    };
    if made && let Ok(now) = spot.root.stat(&spot.path) {
        let acls = acls_of(dest, path, stat);
        let how = How { exact_times: true, ..How::default() };
        dest.setter().set(Target::At(spot.root, &spot.path), spot.shown(), &as_it_is(stat, acls.as_ref()), &now, how);
    }
    Ok(Kept::Copied)
}

fn make_node(dest: Dest<'_>, path: &[u8], stat: &Stat, spot: &Spot<'_>) -> bool {
    let done = make::special(dest, spot.root, &spot.path, stat.mode, stat.rdev);
    match &done {
        Ok(()) => debug(dest, "DEVICE", path),
        Err(error) => {
            dest.log.syserr(LogCode::Error, bytes!["mknod ", dest.names.full(spot.shown()), " failed"], error);
        }
    }
    done.is_ok()
}

fn make_link(dest: Dest<'_>, path: &[u8], spot: &Spot<'_>) -> bool {
    let target = dest.rules.read_link(dest.root, path).unwrap_or_default();
    let done = make::symlink(dest, spot.root, &target, &spot.path);
    match &done {
        Ok(()) => debug(dest, "SYMLINK", path),
        Err(error) => {
            let what = bytes!["link ", dest.names.full(spot.shown()), " -> \"", target, "\""];
            dest.log.syserr(LogCode::Error, what, error);
        }
    }
    done.is_ok()
}

/// The access control lists of what goes to the backups, where such are kept.
fn acls_of(dest: Dest<'_>, path: &[u8], stat: &Stat) -> Option<Acls> {
    let bearers = dest.rules.acls.filter(|bearers| bearers.have(stat.mode))?;
    let read = dest.root.xattrs(path, |on| Ok(bearers.read(on, stat.mode)));
    let told = |(which, error): (Which, _)| {
        let what = bytes!["get_acl: xacl_get(", path, ", ", which.name(), ")"];
        dest.log.syserr(LogCode::ErrorXfer, what, &error);
    };
    read.unwrap_or_else(|error| Err((Which::Access, error))).map_err(told).ok()
}

/// Attributes as they are.
fn as_it_is<'a>(stat: &Stat, acls: Option<&'a Acls>) -> Wanted<'a> {
    Wanted {
        mode: stat.mode,
        size: stat.size,
        mtime: stat.mtime,
        atime: Some(stat.atime.0),
        uid: stat.uid,
        gid: Some(stat.gid),
        rdev: stat.rdev,
        link_target: b"",
        sum: None,
        acls,
        xattrs: None,
    }
}

/// Copies a regular file with its attributes; what a device holds is copied likewise. A failure is said.
/// C: util1.c copy_file
fn copy_file(dest: Dest<'_>, path: &[u8], spot: &Spot<'_>, stat: &Stat, how: How) -> io::Result<()> {
    let failed = |what: &str, shown: &[u8], error: io::Error| {
        if !was_stopped(&error) {
            dest.log.syserr(LogCode::ErrorXfer, bytes![what, " ", dest.names.full(shown)], &error);
        }
        error
    };
    let from = dest.root.open_read(path, libc::O_NONBLOCK).map_err(|error| failed("open", path, error))?;
    let found = stat_fd(&from).map_err(|error| failed("fstat", path, error))?;
    let size = if found.is_device() { device_size(&from, path, dest.log) } else { found.size };
    let acls = acls_of(dest, path, stat);
    let wanted = as_it_is(stat, acls.as_ref());
    let temp = temp::beside(dest, spot, &wanted).map_err(|error| failed("open", spot.shown(), error))?;
    duplicate::contents(dest, (&from, size), temp.file(), spot.shown(), None, &mut WriteBuffer::default()).map_err(
        |failure| match failure {
            Failure::Open(error) | Failure::Copy(CopyError::Read(error)) => failed("read", path, error),
            Failure::Copy(CopyError::Write(error)) => failed("write", spot.shown(), error),
            Failure::Copy(CopyError::Stopped) => io::ErrorKind::Interrupted.into(),
            Failure::Sync(error) => failed("fsync failed on", spot.shown(), error),
        },
    )?;
    dest.setter().set(Target::Open(temp.file()), spot.shown(), &wanted, temp.stat(), How { fresh: true, ..how });
    temp.place(spot.root, &spot.path).map_err(|error| match error {
        PlaceError::Close(error) => failed("close failed on", spot.shown(), error),
        PlaceError::Rename(error, _) => failed("unlink", spot.shown(), error),
    })
}

/// The user interrupted the copy: that is nothing to complain about.
fn was_stopped(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Interrupted
}

impl BackupDir {
    /// The directory itself, made where it is missing. If it cannot be, the reference has no word for it either.
    fn root(&self, dest: Dest<'_>) -> io::Result<&Root> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let mkdir = |above: &Root, name: &[u8]| defaults::mkdir(above, name, 0o777, dest.rules.umask);
        let made = match dest.rules.dry_run {
            false => dest.root.make_beside(&self.text, &mkdir, &named(dest.options), Follow::Never)?,
            true => dest.root.with_rule(Follow::Never), // nothing is made or looked at below it
        };
        Ok(self.root.get_or_init(|| made))
    }

    /// Makes sure of the directories that hold the backup of `path`. C: backup.c copy_valid_path
    fn see_to_dirs(&self, remover: &mut Remover<'_>, root: &Root, path: &[u8]) -> io::Result<()> {
        let (dir, _) = split(path);
        let mut known = self.known.borrow_mut();
        if remover.dest.rules.dry_run || dir == known.as_slice() {
            return Ok(());
        }
        let is_known = |end: usize| {
            known.starts_with(dir.get(..end).unwrap_or(dir)) && { matches!(known.get(end), None | Some(b'/')) }
        };
        let ends = dir.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([dir.len()]);
        let mut seen = Ok(());
        for end in ends.filter(|&end| end > 0 && !is_known(end)) {
            seen = self.see_to(remover, root, dir.get(..end).unwrap_or(dir));
            if seen.is_err() {
                break;
            }
        }
        known.clear();
        if seen.is_ok() {
            known.extend_from_slice(dir);
        }
        seen
    }

    /// Makes sure that `dir` is a directory; a new one is like the one at the destination.
    fn see_to(&self, remover: &mut Remover<'_>, root: &Root, dir: &[u8]) -> io::Result<()> {
        const TRIES: u32 = 10;
        let dest = remover.dest;
        for _ in 0..TRIES {
            match root.stat(dir) {
                Ok(stat) if stat.is_dir() => return Ok(()),
                Ok(stat) => {
                    let spot = Spot { root, path: dir.into(), shown: bytes![self.text, dir].into() };
                    remove(remover, &spot, &stat).then_some(()).ok_or_else(in_the_way)?;
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(self.failed(dest, "lstat", dir, error)),
            }
            match defaults::mkdir(root, dir, 0o777, dest.rules.umask) {
                Ok(()) => {
                    self.adopt_attributes(dest, root, dir);
                    return Ok(());
                }
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {} // the other thread was quicker
                Err(error) => return Err(self.failed(dest, "mkdir", dir, error)),
            }
        }
        Err(self.failed(dest, "mkdir", dir, io::Error::from_raw_os_error(libc::EEXIST)))
    }

    fn failed(&self, dest: Dest<'_>, what: &str, dir: &[u8], error: io::Error) -> io::Error {
        let line = bytes!["backup ", what, " ", self.text, dir, " failed"];
        dest.log.syserr(LogCode::Error, line, &error);
        error
    }

    /// The directory at the destination that a new one is like; one that is reached over a link is as it is.
    fn like(&self, dest: Dest<'_>, dir: &[u8]) -> io::Result<Stat> {
        match dest.stat(dir)? {
            stat if stat.is_dir() => Ok(stat),
            _ => dest.root.stat_follow(dir),
        }
    }

    fn adopt_attributes(&self, dest: Dest<'_>, root: &Root, dir: &[u8]) {
        let like = match self.like(dest, dir) {
            Ok(stat) => stat,
            Err(error) => {
                let line = bytes!["backup stat ", dest.names.full(dir), " failed"];
                return dest.log.syserr(LogCode::Error, line, &error);
            }
        };
        if let Ok(stat) = root.stat(dir) {
            let acls = acls_of(dest, dir, &like);
            let shown = bytes![self.text, dir];
            let how = How { fresh: true, ..How::default() };
            dest.setter().set(Target::At(root, dir), &shown, &as_it_is(&like, acls.as_ref()), &stat, how);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::dest::fixture::Fixture;

    fn keep(fixture: &Fixture, path: &[u8], prefer: Prefer) -> Option<Kept> {
        fixture.removing(|remover| super::keep(remover, path, prefer)).ok()
    }

    fn with_dir(dir: &str) -> Fixture {
        Fixture::with(|options| {
            (options.backup, options.backup_dir, options.suffix) = (true, Some(dir.into()), Some(Vec::new()));
        })
    }

    #[test]
    fn what_is_linked_to_its_backup_is_at_its_place_still() {
        let fixture = Fixture::with(|options| (options.backup, options.suffix) = (true, Some(b"~".to_vec())));
        fs::write(fixture.path().join("f"), "old").unwrap();
        assert_eq!(keep(&fixture, b"f", Prefer::Link), Some(Kept::Copied));
        assert_eq!(fixture.names(), ["f", "f~"]);
        assert_eq!(keep(&fixture, b"f", Prefer::Link), Some(Kept::Copied), "over the one there was");
        // Both names are one file now: it goes all the same.
        assert_eq!(keep(&fixture, b"f", Prefer::Rename), Some(Kept::Moved));
        assert_eq!((fixture.names(), keep(&fixture, b"f", Prefer::Link)), (vec!["f~".into()], Some(Kept::Nothing)));
        assert!(applies_to_deleted(fixture.dest(), b"d/f") && !applies_to_deleted(fixture.dest(), b"d/f~"));
        assert!(applies_to_deleted(fixture.dest(), b"~"), "a name must be left");
    }

    #[test]
    fn a_link_among_the_backups_leads_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        let fixture = with_dir("bak");
        fs::create_dir_all(fixture.path().join("d/e")).unwrap();
        fs::create_dir(fixture.path().join("bak")).unwrap();
        symlink(outside.path(), fixture.path().join("bak/d")).unwrap();
        fs::write(fixture.path().join("d/e/f"), "old").unwrap();
        assert_eq!(keep(&fixture, b"d/e/f", Prefer::Link), Some(Kept::Copied));
        assert_eq!(fs::read(fixture.path().join("bak/d/e/f")).unwrap(), b"old");
        assert!(fs::symlink_metadata(fixture.path().join("bak/d")).unwrap().is_dir());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_directory_in_the_way_of_a_backup_goes() {
        let fixture = with_dir("bak");
        fs::create_dir_all(fixture.path().join("bak/f/full/of")).unwrap();
        fs::write(fixture.path().join("f"), "old").unwrap();
        assert_eq!(keep(&fixture, b"f", Prefer::Rename), Some(Kept::Moved));
        assert_eq!(fs::read(fixture.path().join("bak/f")).unwrap(), b"old");
    }

    #[test]
    fn what_is_to_be_written_into_is_copied_whole_with_its_attributes() {
        let fixture = with_dir("bak");
        fs::write(fixture.path().join("f"), "old content").unwrap();
        fixture.dest().root.chmod(b"f", 0o4751).unwrap();
        fixture.dest().root.set_times(b"f", None, Some((1_000_000_000, 5))).unwrap();
        fixture.removing(|remover| duplicate(remover, b"f")).unwrap();
        let stat = fixture.dest().root.stat(b"bak/f").unwrap();
        assert_eq!((stat.mode, stat.mtime, stat.nlink), (0o104751, (1_000_000_000, 5), 1));
        assert_eq!(fs::read(fixture.path().join("bak/f")).unwrap(), b"old content");
        assert_eq!(fs::read_dir(fixture.path().join("bak")).unwrap().count(), 1, "no temporary");
    }

    #[test]
    fn a_dry_run_keeps_nothing() {
        let mut fixture = with_dir("bak");
        fixture.rules.dry_run = true;
        fs::write(fixture.path().join("f"), "old").unwrap();
        assert_eq!(keep(&fixture, b"f", Prefer::Rename), Some(Kept::Moved));
        assert_eq!(fixture.names(), ["f"]);
    }
}
