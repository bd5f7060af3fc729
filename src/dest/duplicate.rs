//! A file that is on this machine already, copied into its place at the destination.

use std::{fs::File, io, os::fd::AsFd};

use super::{
    Dest,
    commit::{self, Finished},
    copy::{self, CopyError, Stretch},
    temp::Temps,
    write::{FinishError, Layout, WriteBuffer, Writer, preallocate},
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    fs::Root,
    log::LogCode,
    meta::{
        Wanted,
        xattr::{Excluding, Subject},
    },
    options::Info,
    sys::{file, signal, stat::stat_fd, xattr::On},
};

/// What is copied.
pub struct Original<'a> {
    pub root: &'a Root,
    pub path: &'a [u8],
    /// How messages call it.
    pub name: Vec<u8>,
    /// Which of its extended attributes are left out, in place of what the policy says.
    pub excludes: Option<&'a Excluding<'a>>,
}

/// What copying needs again and again.
#[derive(Default)]
pub struct Tools {
    temps: Temps,
    buffer: WriteBuffer,
}

/// Copies to `path`, where nothing stands, with the attributes wanted; `Ok(false)`: it could not be done, which was
/// said, and nothing is left of it. No backup is made. C: generator.c copy_altdest_file
///
/// # Errors
/// The user interrupted us, or the data did not reach the disk in the end.
pub fn file(
    dest: Dest<'_>,
    original: &Original<'_>,
    path: &[u8],
    wanted: &Wanted<'_>,
    tools: &mut Tools,
) -> Result<bool> {
    let Tools { temps, buffer } = tools;
    let wanted = &Wanted { xattrs: None, ..*wanted }; // those of the original are copied
    if dest.options.inplace {
        return in_place(dest, original, path, wanted, buffer);
    }
    let Some(temp) = temps.create(dest, path, wanted) else { return Ok(false) };
    if !fill(dest, original, temp.file(), &temp.shown(), buffer)? {
        return Ok(false);
    }
    commit::give_name(dest, temp, Finished { path, wanted, times_ok: true, keeps_old: false })
}

/// `--inplace`: without a temporary name.
fn in_place(
    dest: Dest<'_>,
    original: &Original<'_>,
    path: &[u8],
    wanted: &Wanted<'_>,
    buffer: &mut WriteBuffer,
) -> Result<bool> {
    let made = dest.root.create_new(path, wanted.mode & 0o700);
    let file = match made {
        Ok(file) => file,
        Err(error) => {
            dest.failed("open ", path, "", &error);
            return Ok(false);
        }
    };
    let filled = fill(dest, original, &file, path, buffer);
    if !matches!(filled, Ok(true)) {
        let _ = dest.root.unlink(path); // what went wrong was said
        return filled;
    }
    commit::finish_in_place(dest, file, Finished { path, wanted, times_ok: true, keeps_old: false })?;
    Ok(true)
}

/// Copies the content. A failure is said twice, the second time only where copies are told of. C: util1.c copy_file
fn fill(dest: Dest<'_>, original: &Original<'_>, to: &File, name: &[u8], buffer: &mut WriteBuffer) -> Result<bool> {
    let Err(failure) = pour(dest, original, to, name, buffer) else { return Ok(true) };
    let full = dest.names.full(&original.name);
    let (code, what, error) = match failure {
        Failure::Open(error) => (LogCode::ErrorXfer, bytes!["open ", full], error),
        Failure::Copy(CopyError::Read(error)) => (LogCode::ErrorXfer, bytes!["read ", full], error),
        Failure::Copy(CopyError::Write(error)) => (LogCode::ErrorXfer, bytes!["write ", dest.names.full(name)], error),
        Failure::Sync(error) => (LogCode::Error, bytes!["fsync failed on ", dest.names.full(name)], error),
        Failure::Copy(CopyError::Stopped) => return Err(Error::silent(ExitCode::SIGNAL)),
    };
    dest.log.syserr(code, what, &error);
    if dest.log.info(Info::Copy) >= 1 {
        dest.log.syserr(LogCode::Info, bytes!["copy_file ", full, " => ", name], &error);
    }
    Ok(false)
}

/// Where a copy failed.
pub(super) enum Failure {
    Open(io::Error),
    Copy(CopyError),
    Sync(io::Error),
}

fn pour(
    dest: Dest<'_>,
    original: &Original<'_>,
    to: &File,
    name: &[u8],
    buffer: &mut WriteBuffer,
) -> std::result::Result<(), Failure> {
    let from = original.root.open_read(original.path, libc::O_NONBLOCK).map_err(Failure::Open)?;
    let stat = stat_fd(&from).map_err(Failure::Open)?;
    if !stat.is_file() {
        // It was one a moment ago.
        return Err(Failure::Open(io::Error::from_raw_os_error(libc::EINVAL)));
    }
    contents(dest, (&from, stat.size), to, name, original.excludes, buffer)
}

/// Copies so many bytes of an open file, and its extended attributes where they are kept. `name` is how messages call the new one.
pub(super) fn contents(
    dest: Dest<'_>,
    (from, len): (&File, u64),
    to: &File,
    name: &[u8],
    excludes: Option<&Excluding<'_>>,
    buffer: &mut WriteBuffer,
) -> std::result::Result<(), Failure> {
    let allocated = if dest.options.preallocate && len > 0 {
        preallocate(to, len, false).unwrap_or_else(|error| {
            dest.log.syserr(LogCode::Warning, bytes!["do_fallocate ", dest.names.full(name)], &error);
            0
        })
    } else {
        0
    };
    let mut writer = Writer::new(to, Layout { allocated, ..Layout::default() }, buffer);
    let mut going_on = |_| signal::received().is_none();
    copy::copy(Stretch { file: from, start: 0, len }, &mut writer, &mut going_on).map_err(Failure::Copy)?;
    match writer.finish() {
        Err(FinishError::Write(error)) => return Err(Failure::Copy(CopyError::Write(error))),
        Err(FinishError::Truncate(error)) => dest.failed("ftruncate ", name, "", &error),
        Ok(_) => {}
    }
    if dest.options.fsync {
        file::sync(to).map_err(Failure::Sync)?;
    }
    if let Some(policy) = &dest.rules.xattrs {
        let full = || dest.names.full(name);
        let (from, to) = (On::Open(from.as_fd()), On::Open(to.as_fd()));
        let from = Subject { excludes, ..Subject::new(from, &full, dest.log) };
        policy.copy(from, Subject::new(to, &full, dest.log)); // a failure was said
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dest::fixture::Fixture;

    fn copied(fixture: &Fixture, from: &str) -> bool {
        let dest = fixture.dest();
        let original = Original {
            root: dest.root,
            path: from.as_bytes(),
            name: format!("/elsewhere/{from}").into_bytes(),
            excludes: None,
        };
        file(dest, &original, b"new", &fixture.wanted(0o100640), &mut Tools::default()).unwrap()
    }

    #[test]
    fn a_copy_stands_in_place_with_the_attributes_wanted() {
        for inplace in [false, true] {
            let fixture = Fixture::with(|options| (options.inplace, options.preallocate) = (inplace, true));
            fs::write(fixture.path().join("old"), "content").unwrap();
            assert!(copied(&fixture, "old"));
            assert_eq!(fs::read(fixture.path().join("new")).unwrap(), b"content");
            let stat = fixture.dest().root.stat(b"new").unwrap();
            assert_eq!((stat.mode, stat.mtime), (0o100640, fixture.wanted(0).mtime));
            assert_eq!((fixture.names(), fixture.said()), (vec!["new".into(), "old".into()], String::new()));
        }
    }

    #[test]
    fn nothing_is_left_of_a_copy_that_failed() {
        for inplace in [false, true] {
            let fixture = Fixture::with(|options| options.inplace = inplace);
            std::os::unix::fs::symlink("/etc/passwd", fixture.path().join("link")).unwrap();
            nix::unistd::mkfifo(&fixture.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
            for (from, reason) in
                [("none", "No such file or directory (2)"), ("link", "Too many levels"), ("pipe", "Invalid argument")]
            {
                assert!(!copied(&fixture, from));
                let said = fixture.said();
                assert!(said.starts_with(&format!("rsync: [receiver] open \"/elsewhere/{from}\": {reason}")), "{said}");
            }
            assert_eq!(fixture.names(), ["link", "pipe"]);
        }
    }
}
