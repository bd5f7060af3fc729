//! Putting a finished file in place: attributes first, then its name.

use std::{fs::File, io};

use super::{
    Dest,
    backup::{self, Prefer},
    copy::CopyError,
    delete::Remover,
    duplicate::{self, Failure},
    partial::{self, PartialSpot},
    places::Spot,
    temp::{self, PlaceError, Temp},
    write::{FinishError, WriteBuffer, Writer},
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    log::LogCode,
    meta::{
        Wanted,
        apply::{How, Target},
    },
    options::Debug,
    sys::{file, signal, stat::stat_fd},
};

/// Ends the writing of `path`'s new content: length set, `--fsync` obeyed. Returns the length.
///
/// # Errors
/// What the reference takes for the end of the run (exit status 11): data that could not be written. It was said.
/// C: the end of receiver.c receive_data
pub fn finish_data(dest: Dest<'_>, path: &[u8], writer: Writer<'_>) -> Result<u64> {
    let (file, size) = (writer.file(), writer.position());
    match writer.finish() {
        Ok(_) => {}
        Err(FinishError::Truncate(error)) => dest.failed("ftruncate failed on ", path, "", &error),
        Err(FinishError::Write(error)) => return Err(dest.write_failed(path, &error)),
    }
    if dest.options.fsync {
        file::sync(file).map_err(|error| dest.fatal(LogCode::Error, "fsync failed on ", path, &error))?;
    }
    Ok(size)
}

/// What is known about a file that goes into place.
#[derive(Clone, Copy)]
pub struct Finished<'a> {
    pub path: &'a [u8],
    pub wanted: &'a Wanted<'a>,
    /// Its data is what the times belong to.
    pub times_ok: bool,
    /// What stands there is kept, if backups are wanted.
    pub keeps_old: bool,
}

/// Gives the finished file its attributes and its name; `Ok(false)` if it could not be put in place (said, and the
/// temporary file is gone, or is the partial one now).
///
/// # Errors
/// The end of the run: the data did not reach the disk when the file was closed, or what stood there cannot be kept.
/// C: rsync.c finish_transfer
pub fn put_in_place(remover: &mut Remover<'_>, temp: Temp<'_>, done: Finished<'_>) -> Result<bool> {
    keep_old(remover, done)?;
    give_name(remover.dest, temp, done)
}

/// The same, whatever stands there.
///
/// # Errors
/// The data did not reach the disk when the file was closed.
pub fn give_name(dest: Dest<'_>, temp: Temp<'_>, done: Finished<'_>) -> Result<bool> {
    dest.setter().set(Target::Open(temp.file()), &temp.shown(), done.wanted, temp.stat(), how(done.times_ok));
    move_to(dest, temp, &Spot::of(dest, done.path), done)
}

/// Puts what came among the partial files, complete or not. `Ok(false)`: it is gone, which was said.
///
/// # Errors
/// As for [`put_in_place`]. C: in receiver.c recv_files
pub fn put_aside(dest: Dest<'_>, temp: Temp<'_>, aside: &PartialSpot<'_>, done: Finished<'_>) -> Result<bool> {
    if aside.make_dir(dest).is_err() {
        no_partial_dir(dest, done);
        return Ok(false);
    }
    dest.setter().set(Target::Open(temp.file()), &temp.shown(), done.wanted, temp.stat(), how(done.times_ok));
    move_to(dest, temp, &aside.file, done)
}

/// Says that a file is lost for want of a place.
pub fn no_partial_dir(dest: Dest<'_>, done: Finished<'_>) {
    let what = if done.times_ok { "completed" } else { "partial" };
    let line = bytes!["Unable to create partial-dir for ", done.path, " -- discarding ", what, " file."];
    dest.log.say(LogCode::Error, line);
}

/// Gives a file that was completed among the partial ones, where it is `open`, its attributes and its name.
///
/// # Errors
/// As for [`put_in_place`].
pub fn bring_in(remover: &mut Remover<'_>, open: File, aside: &PartialSpot<'_>, done: Finished<'_>) -> Result<bool> {
    let dest = remover.dest;
    keep_old(remover, done)?;
    give_attributes(dest, open, aside.file.shown(), done)?;
    tell_renaming(dest, aside.file.shown(), done.path);
    match aside.file.root.rename(&aside.file.path, dest.root, done.path) {
        Ok(()) => aside.leave(),
        Err(error) if is_elsewhere(&error) => {
            let spot = Spot::of(dest, done.path);
            if !copy_over(dest, || aside.file.open_read(), aside.file.shown(), &spot, done)? {
                return Ok(false);
            }
            aside.remove();
        }
        Err(error) => {
            not_renamed(dest, "rename", aside.file.shown(), done.path, &error);
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives a partial file that is not to be moved, `open`, its attributes.
///
/// # Errors
/// As for [`put_in_place`].
pub fn leave_aside(dest: Dest<'_>, open: File, aside: &PartialSpot<'_>, done: Finished<'_>) -> Result<()> {
    give_attributes(dest, open, aside.file.shown(), done)?;
    tell_renaming(dest, aside.file.shown(), aside.file.shown());
    Ok(())
}

/// Moves an update that was put aside to its place; whether that went well (a failure is said).
/// C: in receiver.c handle_delayed_updates
pub fn release(remover: &mut Remover<'_>, path: &[u8]) -> bool {
    let dest = remover.dest;
    let Some(aside) = partial::spot(dest, path) else { return false };
    if dest.places.backups.is_some() && backup::keep(remover, path, Prefer::Link).is_err() {
        return false;
    }
    tell_renaming(dest, aside.file.shown(), path);
    if let Err(error) = aside.file.root.rename(&aside.file.path, dest.root, path) {
        let what = bytes!["rename failed for ", dest.names.full(path), " (from ", aside.file.shown(), ")"];
        dest.log.syserr(LogCode::ErrorXfer, what, &error);
        return false;
    }
    aside.leave();
    true
}

/// Gives a file updated where it stands its attributes.
///
/// # Errors
/// As for [`put_in_place`].
pub fn finish_in_place(dest: Dest<'_>, file: File, done: Finished<'_>) -> Result<()> {
    if dest.log.debug(Debug::Recv) >= 1 {
        dest.log.say(LogCode::Info, bytes!["finishing ", done.path]);
    }
    give_attributes(dest, file, done.path, done)
}

/// Keeps what an interrupted transfer brought (`--partial`): in the partial directory, or under the final name and with
/// a modification time so old that nobody takes it for finished. C: in cleanup.c _exit_cleanup
pub fn keep_partial(remover: &mut Remover<'_>, temp: Temp<'_>, path: &[u8], wanted: &Wanted<'_>) {
    let dest = remover.dest;
    if dest.options.partial_dir.is_none() {
        let wanted = Wanted { mtime: (0, wanted.mtime.1), ..*wanted };
        let done = Finished { path, wanted: &wanted, times_ok: true, keeps_old: true };
        let _ = put_in_place(remover, temp, done); // said; the run is ending anyway
    } else if let Some(aside) = partial::spot(dest, path)
        && aside.make_dir(dest).is_ok()
    {
        let _ = put_aside(dest, temp, &aside, Finished { path, wanted, times_ok: false, keeps_old: false });
    }
}

/// What stands in the new file's place goes to the backups.
fn keep_old(remover: &mut Remover<'_>, done: Finished<'_>) -> Result<()> {
    let keeps = done.keeps_old && remover.dest.places.backups.is_some();
    if !keeps || backup::keep(remover, done.path, Prefer::Link).is_ok() {
        return Ok(());
    }
    Err(Error::silent(if signal::received().is_some() { ExitCode::SIGNAL } else { ExitCode::FILE_IO }))
}

fn give_attributes(dest: Dest<'_>, file: File, shown: &[u8], done: Finished<'_>) -> Result<()> {
    match stat_fd(&file) {
        Ok(stat) => {
            dest.setter().set(Target::Open(&file), shown, done.wanted, &stat, how(done.times_ok));
        }
        Err(error) => dest.failed("stat ", shown, " failed", &error),
    }
    nix::unistd::close(file).map_err(|error| close_failed(dest, shown, &io::Error::from(error)))
}

fn tell_renaming(dest: Dest<'_>, from: &[u8], to: &[u8]) {
    if dest.log.debug(Debug::Recv) >= 1 {
        dest.log.say(LogCode::Info, bytes!["renaming ", from, " to ", to]);
    }
}

fn not_renamed(dest: Dest<'_>, how: &str, from: &[u8], to: &[u8], error: &io::Error) {
    let what = bytes![how, " ", dest.names.full(from), " -> \"", to, "\""];
    dest.log.syserr(LogCode::ErrorXfer, what, error);
}

/// Whether a name is on another file system.
fn is_elsewhere(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EXDEV)
}

/// Moves a finished temporary file to a place; what cannot be moved there may still be of use among the partial ones.
fn move_to(dest: Dest<'_>, temp: Temp<'_>, spot: &Spot<'_>, done: Finished<'_>) -> Result<bool> {
    let name = temp.shown().into_owned();
    tell_renaming(dest, &name, spot.shown());
    match temp.place(spot.root, &spot.path) {
        Ok(()) => Ok(true),
        Err(PlaceError::Close(error)) => Err(close_failed(dest, &name, &error)),
        Err(PlaceError::Rename(error, left)) if is_elsewhere(&error) => {
            copy_over(dest, || left.open_read(), &name, spot, done)
        }
        Err(PlaceError::Rename(error, left)) => {
            not_renamed(dest, "rename", &name, spot.shown(), &error);
            if let Some(aside) = partial::spot(dest, done.path) {
                let _ = left.place(aside.file.root, &aside.file.path); // else it is gone
            }
            Ok(false)
        }
    }
}

/// Copies a file from another file system to a place, where it appears when it is whole. C: util1.c robust_rename
fn copy_over(
    dest: Dest<'_>,
    open: impl Fn() -> io::Result<File>,
    shown: &[u8],
    spot: &Spot<'_>,
    done: Finished<'_>,
) -> Result<bool> {
    let failed = |error: &io::Error| {
        not_renamed(dest, "copy", shown, spot.shown(), error);
        Ok(false)
    };
    let from = match open().and_then(|file| Ok((stat_fd(&file)?.size, file))) {
        Ok(from) => from,
        Err(error) => return failed(&error),
    };
    let temp = match temp::beside(dest, spot, done.wanted) {
        Ok(temp) => temp,
        Err(error) => return failed(&error),
    };
    let copied =
        duplicate::contents(dest, (&from.1, from.0), temp.file(), spot.shown(), None, &mut WriteBuffer::default());
    match copied {
        Ok(()) => {}
        Err(Failure::Copy(CopyError::Stopped)) => return Err(Error::silent(ExitCode::SIGNAL)),
        Err(
            Failure::Open(error)
            | Failure::Sync(error)
            | Failure::Copy(CopyError::Read(error) | CopyError::Write(error)),
        ) => return failed(&error),
    }
    dest.setter().set(Target::Open(temp.file()), spot.shown(), done.wanted, temp.stat(), how(done.times_ok));
    match temp.place(spot.root, &spot.path) {
        Ok(()) => Ok(true),
        Err(PlaceError::Close(error)) => Err(close_failed(dest, spot.shown(), &error)),
        Err(PlaceError::Rename(error, _)) => failed(&error),
    }
}

fn how(times_ok: bool) -> How {
    How { skip_times: !times_ok, exact_times: true, fresh: true, xattrs: true, ..How::default() }
}

#[track_caller]
fn close_failed(dest: Dest<'_>, path: &[u8], error: &io::Error) -> Error {
    dest.fatal(LogCode::Error, "close failed on ", path, error)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dest::{fixture::Fixture, temp::Temps, write::Layout};

    fn commit(fixture: &Fixture, path: &str, wanted: &Wanted<'_>, content: &[u8], times_ok: bool) -> bool {
        let dest = fixture.dest();
        let temp = Temps::default().create(dest, path.as_bytes(), wanted).unwrap();
        let mut buffer = WriteBuffer::default();
        let mut writer = Writer::new(temp.file(), Layout::default(), &mut buffer);
        writer.write(content).unwrap();
        assert_eq!(finish_data(dest, path.as_bytes(), writer).unwrap(), content.len() as u64);
        let done = Finished { path: path.as_bytes(), wanted, times_ok, keeps_old: true };
        fixture.removing(|remover| put_in_place(remover, temp, done)).unwrap()
    }

    #[test]
    fn a_finished_file_stands_in_place_with_its_attributes() {
        let fixture = Fixture::with(|options| options.fsync = true);
        let wanted = fixture.wanted(0o106751);
        fs::write(fixture.path().join("f"), "old").unwrap();
        assert!(commit(&fixture, "f", &wanted, b"new content", true));
        assert_eq!(fs::read(fixture.path().join("f")).unwrap(), b"new content");
        let stat = fixture.dest().root.stat(b"f").unwrap();
        assert_eq!((stat.mode, stat.mtime), (wanted.mode, wanted.mtime));
        assert_eq!((fixture.names(), fixture.said()), (vec!["f".into()], String::new()));
    }

    #[test]
    fn a_file_from_the_epoch_gets_its_time() {
        let fixture = Fixture::new();
        let wanted = Wanted { mtime: (0, 0), ..fixture.wanted(0o100644) };
        assert!(commit(&fixture, "f", &wanted, b"", true));
        assert_eq!(fixture.dest().root.stat(b"f").unwrap().mtime, (0, 0));
    }

    #[test]
    fn data_that_failed_verification_does_not_get_the_times() {
        let fixture = Fixture::new();
        let wanted = fixture.wanted(0o100600);
        assert!(commit(&fixture, "f", &wanted, b"bad", false));
        assert_ne!(fixture.dest().root.stat(b"f").unwrap().mtime, wanted.mtime);
    }

    #[test]
    fn a_kept_partial_file_looks_very_old() {
        let fixture = Fixture::new();
        let wanted = fixture.wanted(0o100640);
        let temp = Temps::default().create(fixture.dest(), b"f", &wanted).unwrap();
        file::write_all_at(temp.file(), b"half", 0).unwrap();
        fixture.removing(|remover| keep_partial(remover, temp, b"f", &wanted));
        let stat = fixture.dest().root.stat(b"f").unwrap();
        assert_eq!((stat.mtime, stat.mode, stat.size), ((0, wanted.mtime.1), 0o100640, 4));
        assert_eq!(fixture.names(), ["f"]);
    }

    #[test]
    fn a_directory_in_the_way_is_told_and_nothing_is_left() {
        let fixture = Fixture::new();
        fs::create_dir(fixture.path().join("f")).unwrap();
        assert!(!commit(&fixture, "f", &fixture.wanted(0o100644), b"x", true));
        let said = fixture.said();
        let start = format!("rsync: [receiver] rename \"{}/.f.", fixture.base());
        assert!(said.starts_with(&start) && said.ends_with("\" -> \"f\": Is a directory (21)\n"), "{said}");
        assert_eq!(fixture.names(), ["f"]);
    }

    #[test]
    fn in_place_the_attributes_come_last() {
        let fixture = Fixture::new();
        let wanted = fixture.wanted(0o100604);
        let dest = fixture.dest();
        fs::write(fixture.path().join("f"), "something longer").unwrap();
        let open = crate::dest::inplace::open(dest, b"f").unwrap();
        let mut buffer = WriteBuffer::default();
        let layout = Layout { in_place: true, allocated: 16, ..Layout::default() };
        let mut writer = Writer::new(&open, layout, &mut buffer);
        writer.write(b"short").unwrap();
        finish_data(dest, b"f", writer).unwrap();
        let done = Finished { path: b"f", wanted: &wanted, times_ok: true, keeps_old: false };
        finish_in_place(dest, open, done).unwrap();
        let stat = dest.root.stat(b"f").unwrap();
        assert_eq!((stat.size, stat.mode, stat.mtime), (5, wanted.mode, wanted.mtime));
    }

    #[test]
    fn a_full_disk_ends_the_run() {
        let fixture = Fixture::new();
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut buffer = WriteBuffer::default();
        let mut writer = Writer::new(&full, Layout::default(), &mut buffer);
        writer.write(b"x").unwrap();
        let error = finish_data(fixture.dest(), b"d/f", writer).unwrap_err();
        assert_eq!((error.code, error.message.len()), (crate::error::ExitCode::FILE_IO, 0));
        let line =
            format!("rsync: [receiver] write failed on \"{}/d/f\": No space left on device (28)\n", fixture.base());
        assert_eq!(fixture.said(), line);
    }
}
