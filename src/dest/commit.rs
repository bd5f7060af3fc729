//! Putting a finished file in place: attributes first, then its name.

use std::{fs::File, io};

use super::{
    Dest,
    temp::{PlaceError, Temp},
    write::{FinishError, Writer},
};
use crate::{
    bytes,
    error::Result,
    log::LogCode,
    meta::{
        Wanted,
        apply::{How, Target},
    },
    options::Debug,
    sys::{file, stat::stat_fd},
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

/// Gives the finished file its attributes and its name; `Ok(false)` if it could not be put in place (said, and the
/// temporary file is gone). With `times_ok` false its data is not what the times belong to, so they stay.
///
/// # Errors
/// The data did not reach the disk when the file was closed: the end of the run. C: rsync.c finish_transfer
pub fn put_in_place(dest: Dest<'_>, temp: Temp<'_>, path: &[u8], wanted: &Wanted<'_>, times_ok: bool) -> Result<bool> {
    dest.setter().set(Target::Open(temp.file()), temp.path(), wanted, temp.stat(), how(times_ok));
    let name = temp.path().to_vec();
    if dest.log.debug(Debug::Recv) >= 1 {
        dest.log.say(LogCode::Info, bytes!["renaming ", name, " to ", path]);
    }
    match temp.place(path) {
        Ok(()) => Ok(true),
        Err(PlaceError::Close(error)) => Err(close_failed(dest, &name, &error)),
        Err(PlaceError::Rename(error)) => {
            let what = bytes!["rename ", dest.names.full(&name), " -> \"", path, "\""];
            dest.log.syserr(LogCode::ErrorXfer, what, &error);
            Ok(false)
        }
    }
}

/// Gives a file updated where it stands its attributes.
///
/// # Errors
/// As for [`put_in_place`].
pub fn finish_in_place(dest: Dest<'_>, file: File, path: &[u8], wanted: &Wanted<'_>, times_ok: bool) -> Result<()> {
    if dest.log.debug(Debug::Recv) >= 1 {
        dest.log.say(LogCode::Info, bytes!["finishing ", path]);
    }
    match stat_fd(&file) {
        Ok(stat) => {
            dest.setter().set(Target::Open(&file), path, wanted, &stat, how(times_ok));
        }
        Err(error) => dest.failed("stat ", path, " failed", &error),
    }
    nix::unistd::close(file).map_err(|error| close_failed(dest, path, &io::Error::from(error)))
}

/// Keeps what an interrupted transfer brought, under the final name and with a modification time so old that nobody
/// takes it for finished (`--partial`). C: in cleanup.c _exit_cleanup
pub fn keep_partial(dest: Dest<'_>, temp: Temp<'_>, path: &[u8], wanted: &Wanted<'_>) {
    let wanted = Wanted { mtime: (0, wanted.mtime.1), ..*wanted };
    let _ = put_in_place(dest, temp, path, &wanted, true); // said; the run is ending anyway
}

fn how(times_ok: bool) -> How {
    How { skip_times: !times_ok, exact_times: true, report: false, fresh: true }
}

#[track_caller]
fn close_failed(dest: Dest<'_>, path: &[u8], error: &io::Error) -> crate::error::Error {
    dest.fatal(LogCode::Error, "close failed on ", path, error)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dest::{
        fixture::Fixture,
        temp::Temps,
        write::{Layout, WriteBuffer},
    };

    fn commit(fixture: &Fixture, path: &str, wanted: &Wanted<'_>, content: &[u8], times_ok: bool) -> bool {
        let dest = fixture.dest();
        let temp = Temps::default().create(dest, path.as_bytes(), wanted).unwrap();
        let mut buffer = WriteBuffer::default();
        let mut writer = Writer::new(temp.file(), Layout::default(), &mut buffer);
        writer.write(content).unwrap();
        assert_eq!(finish_data(dest, path.as_bytes(), writer).unwrap(), content.len() as u64);
        put_in_place(dest, temp, path.as_bytes(), wanted, times_ok).unwrap()
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
        keep_partial(fixture.dest(), temp, b"f", &wanted);
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
        finish_in_place(dest, open, b"f", &wanted, true).unwrap();
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
