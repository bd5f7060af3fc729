//! `--fake-super`: what a file cannot be given without privilege is told by an attribute of it.
//!
//! `user.rsync.%stat` holds a line of text, `100644 0,0 1234:5678`: mode with type bits in octal, major and minor number
//! of a device, owner and group. It is there only where the file itself does not tell the same. A device, pipe or
//! socket is kept as an empty file, a symlink as one that holds its text.

pub mod acl;

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::{
    Kind, MODE_BITS, Wanted,
    apply::{Setter, Target},
    xattr::Subject,
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    fs::Root,
    log::{Log, LogCode},
    sys::{
        at, file,
        stat::{Stat, make_device, split_device, stat_fd},
        xattr::{self, On},
    },
};

/// C: XSTAT_ATTR
const STAT: &CStr = c"user.rsync.%stat";

/// No text is longer. C: the buffer of xattrs.c get_stat_xattr
const LONGEST: usize = 255;

/// No symlink's text is longer. C: MAXPATHLEN
const LONGEST_LINK: u64 = 4095;

/// What the owner may always do with what is kept: we must be able to, as root would be.
const KEPT_FILE: u32 = 0o600;
const KEPT_DIR: u32 = 0o700;

/// What the attribute says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// With type bits.
    mode: u32,
    /// Major and minor number.
    rdev: (u32, u32),
    uid: u32,
    gid: u32,
}

impl Told {
    /// Reads the text as `scanf` does: numbers may have signs and blanks before them, what follows them does not count,
    /// and what is too large is cut.
    fn decode(text: &[u8]) -> Option<Self> {
        let rest = &mut &text[..];
        let mode = number(rest, 8)?;
        let major = number(rest, 10)?;
        let minor = after(rest, b',')?;
        let uid = number(rest, 10)?;
        let gid = after(rest, b':')?;
        Some(Self { mode, rdev: split_device(make_device((major, minor))), uid, gid })
    }

    fn encode(self) -> String {
        let Self { mode, rdev: (major, minor), uid, gid } = self;
        format!("{mode:o} {major},{minor} {uid}:{gid}")
    }

    /// What counts as a file's metadata.
    fn over(self, stat: &Stat) -> Stat {
        Stat { mode: self.mode, rdev: self.rdev, uid: self.uid, gid: self.gid, ..*stat }
    }
}

fn after(rest: &mut &[u8], mark: u8) -> Option<u32> {
    *rest = rest.strip_prefix(&[mark])?;
    number(rest, 10)
}

/// Takes a number off the front.
fn number(rest: &mut &[u8], base: u32) -> Option<u32> {
    let text = rest.trim_ascii_start();
    let (negative, text) = match text {
        [b'-', text @ ..] => (true, text),
        [b'+', text @ ..] => (false, text),
        text => (false, text),
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(base);
    let len = text.iter().take_while(|byte| digit(byte).is_some()).count();
    let (digits, after) = text.split_at_checked(len).filter(|_| len > 0)?;
    let add = |sum: i64, digit| sum.saturating_mul(base.into()).saturating_add(i64::from(digit));
    let sum = digits.iter().filter_map(digit).fold(0, add);
    *rest = after;
    Some(if negative { -sum } else { sum } as u32)
}

/// What the attribute says of a file with this metadata; `None`: there is none, or it cannot be read, which was said.
/// C: xattrs.c get_stat_xattr
///
/// # Errors
/// It says nothing that can be understood, which ends the run; it was said.
fn told(subject: Subject<'_>, stat: &Stat) -> Result<Option<Told>> {
    if stat.is_device() || stat.is_special() {
        return Ok(None);
    }
    let too_long = || io::Error::from_raw_os_error(libc::ERANGE);
    let read =
        xattr::get(subject.on, STAT).and_then(|text| (text.len() <= LONGEST).then_some(text).ok_or_else(too_long));
    match read {
        Ok(text) => match Told::decode(&text) {
            Some(told) => Ok(Some(told)),
            None => {
                let shown = text.split(|&byte| byte == 0).next().unwrap_or_default();
                let line = bytes!["Corrupt ", STAT.to_bytes(), " xattr attached to ", (subject.name)()];
                subject.log.say(LogCode::Error, bytes![line, ": \"", shown, "\""]);
                Err(Error::silent(ExitCode::FILE_IO))
            }
        },
        Err(error) => {
            // `EPERM`: links have none.
            if !matches!(error.raw_os_error(), Some(libc::ENODATA | libc::ENOTSUP | libc::EPERM)) {
                let what = bytes!["failed to read xattr ", STAT.to_bytes(), " for ", (subject.name)()];
                subject.log.syserr(LogCode::ErrorXfer, what, &error);
            }
            Ok(None)
        }
    }
}

/// What stands in a directory under a name, a link not followed, as it is told; and whether it is a link on the disk.
/// `shown` is what messages call it. C: xattrs.c x_lstat
///
/// # Errors
/// Those of the call; and, for [`unless_fatal`], that what is told makes no sense.
pub fn look(dir: BorrowedFd<'_>, name: &CStr, shown: &dyn Fn() -> Vec<u8>, log: &Log) -> io::Result<(Stat, bool)> {
    let held = at::open_handle(dir, name)?;
    let stat = stat_fd(&held)?;
    let told = told(Subject::new(On::Handle(held.as_fd()), shown, log), &stat).map_err(io::Error::other)?;
    Ok((told.map_or(stat, |told| told.over(&stat)), stat.is_symlink()))
}

/// Sets apart what ends the run from what is one file's trouble.
pub fn unless_fatal<T>(looked: io::Result<T>) -> Result<io::Result<T>> {
    match looked {
        Ok(found) => Ok(Ok(found)),
        Err(error) => error.downcast::<Error>().map_or_else(|error| Ok(Err(error)), Err),
    }
}

/// The text of a symlink that is kept as a file; `None`: it is a symlink. C: syscall.c do_readlink
pub fn read_link(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let kept = match at::open(dir, name, flags, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Ok(None),
        kept => File::from(kept?),
    };
    let mut text = Vec::new();
    kept.take(LONGEST_LINK).read_to_end(&mut text)?;
    text.truncate(memchr::memchr(0, &text).unwrap_or(text.len()));
    Ok(Some(text))
}

/// The mode to keep something with that shall have `mode`: nothing special, and ours to use.
fn kept_mode(kind: u32, mode: u32) -> u32 {
    kind | mode & 0o777 | if kind == libc::S_IFDIR { KEPT_DIR } else { KEPT_FILE }
}

/// The mode with which to make a directory that shall have `mode`.
pub fn new_dir_mode(mode: u32) -> u32 {
    mode | KEPT_DIR
}

/// The permissions with which to make a file that shall have `mode`.
pub fn new_file_mode(mode: u32) -> u32 {
    mode & 0o777 | KEPT_FILE
}

/// The file itself, whatever becomes of its name.
enum Held<'a> {
    Open(&'a File),
    Handle(OwnedFd),
}

impl<'a> Held<'a> {
    fn new(target: Target<'a>) -> io::Result<Self> {
        Ok(match target {
            Target::Open(file) => Self::Open(file),
            Target::At(root, path) => Self::Handle(root.hold(path)?),
        })
    }

    fn stat(&self) -> io::Result<Stat> {
        match self {
            Self::Open(file) => stat_fd(file),
            Self::Handle(handle) => stat_fd(handle),
        }
    }

    fn on(&self) -> On<'_> {
        match self {
            Self::Open(file) => On::Open(file.as_fd()),
            Self::Handle(handle) => On::Handle(handle.as_fd()),
        }
    }

    fn chmod(&self, mode: u32) -> io::Result<()> {
        match self {
            Self::Open(open) => file::chmod(open, mode),
            Self::Handle(handle) => at::chmod_handle(handle, mode),
        }
    }
}

/// Keeps a symlink as a file with its text. C: in syscall.c do_symlink
pub fn symlink(root: &Root, target: &[u8], path: &[u8]) -> io::Result<()> {
    let written = root.create_new(path, KEPT_FILE)?.write_all(target);
    written.inspect_err(|_| drop(root.unlink(path)))
}

/// Keeps a device, pipe or socket as an empty file. C: in syscall.c do_mknod
pub fn node(root: &Root, path: &[u8]) -> io::Result<()> {
    root.create_new(path, KEPT_FILE).map(drop)
}

/// A target, and what is told of it.
pub(super) struct Known<'a> {
    held: Held<'a>,
    real: Stat,
    told: Option<Told>,
}

impl Known<'_> {
    /// What counts as its metadata; of the times the caller knows more.
    pub fn stat(&self, before: &Stat) -> Stat {
        let now = self.told.map_or(self.real, |told| told.over(&self.real));
        Stat { mtime: before.mtime, atime: before.atime, ..now }
    }
}

impl Setter<'_> {
    /// Looks at a target; `None`: that failed, which was said.
    pub(super) fn recall<'t>(self, target: Target<'t>, name: &[u8]) -> Option<Known<'t>> {
        let full = || self.names.full(name);
        let looked = Held::new(target).and_then(|held| {
            let real = held.stat()?;
            // What makes no sense was said to; it is written anew.
            let told = told(Subject::new(held.on(), &full, self.log), &real).unwrap_or_default();
            Ok(Known { held, real, told })
        });
        looked.map_err(|error| self.failed(bytes!["failed to re-stat ", full()], &error)).ok()
    }

    /// Tells what the target shall be, and makes it ours to use. C: xattrs.c set_stat_xattr
    pub(super) fn keep_told(self, known: &Known<'_>, name: &[u8], wanted: &Wanted<'_>, new_mode: u32) {
        let Known { held, real, told } = known;
        let full = || self.names.full(name);
        // What is not what it is told to be was made by whom we pretend to be.
        let new =
            if matches!(Kind::of(new_mode), Kind::Regular | Kind::Directory) { (real.uid, real.gid) } else { (0, 0) };
        let (uid, gid) = told.map_or(new, |told| (told.uid, told.gid));
        let wanted = Told {
            mode: new_mode & (libc::S_IFMT | MODE_BITS),
            rdev: if Kind::of(new_mode) == Kind::Device { wanted.rdev } else { (0, 0) },
            uid: if self.rules.owner { wanted.uid } else { uid },
            gid: wanted.gid.filter(|_| self.rules.group).unwrap_or(gid),
        };
        let mode = kept_mode(real.kind(), wanted.mode);
        if real.mode != mode
            && !real.is_symlink()
            && let Err(error) = held.chmod(mode)
        {
            self.failed(bytes!["failed to set permissions on ", full()], &error);
        }
        if (wanted == Told { mode, rdev: real.rdev, uid: real.uid, gid: real.gid }) {
            if told.is_some()
                && let Err(error) = xattr::remove(held.on(), STAT)
            {
                self.failed(bytes!["delete of stat xattr failed for ", full()], &error);
            }
        } else if *told != Some(wanted)
            && let Err(error) = xattr::set(held.on(), STAT, wanted.encode().as_bytes())
            && !(real.is_symlink() && error.raw_os_error() == Some(libc::EPERM))
        {
            self.failed(bytes!["failed to write xattr ", STAT.to_bytes(), " for ", full()], &error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(mode: u32, rdev: (u32, u32), uid: u32, gid: u32) -> Option<Told> {
        Some(Told { mode, rdev, uid, gid })
    }

    #[test]
    fn what_is_written_is_read() {
        for (text, told) in [
            ("100644 0,0 1234:5678", told(0o100644, (0, 0), 1234, 5678)),
            ("20666 1,3 0:0", told(0o020666, (1, 3), 0, 0)),
            ("104755 0,0 4294967295:3877482048", told(0o104755, (0, 0), u32::MAX, 3_877_482_048)),
        ] {
            assert_eq!(Told::decode(text.as_bytes()), told);
            assert_eq!(told.unwrap().encode(), text);
        }
    }

    #[test]
    fn numbers_are_read_as_the_c_library_does() {
        let small = told(0o100644, (1, 2), 3, 4);
        for text in ["100644 1,2 3:4 and more", " \t+0100644\n1, 2 3: 4\0", "100644 1,2+3:4"] {
            assert_eq!(Told::decode(text.as_bytes()), small, "{text:?}");
        }
        assert_eq!(Told::decode(b"0 0,0 -1:-2"), told(0, (0, 0), u32::MAX, u32::MAX - 1));
        assert_eq!(Told::decode(b"0 0,0 4294967297:99999999999999999999"), told(0, (0, 0), 1, u32::MAX));
        for text in [
            "",
            "x",
            "100644",
            "100644 1.2 3:4",
            "100644 1,2",
            "100644 1,2 3",
            "100644 1 ,2 3:4",
            "8 1,2 3:4",
            "- 1,2 3:4",
        ] {
            assert_eq!(Told::decode(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_kept_is_ours_to_use() {
        assert_eq!(kept_mode(libc::S_IFREG, 0o104050), 0o100650);
        assert_eq!(kept_mode(libc::S_IFREG, 0o020000), 0o100600);
        assert_eq!(kept_mode(libc::S_IFDIR, 0o041005), 0o040705);
        assert_eq!((new_dir_mode(0o040555), new_file_mode(0o104444)), (0o040755, 0o644));
    }

    #[test]
    fn only_what_ends_the_run_is_set_apart() {
        let fatal = io::Result::<()>::Err(io::Error::other(Error::silent(ExitCode::FILE_IO)));
        assert_eq!(unless_fatal(fatal).unwrap_err().code, ExitCode::FILE_IO);
        let gone = io::Result::<()>::Err(io::ErrorKind::NotFound.into());
        assert_eq!(unless_fatal(gone).unwrap().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(unless_fatal(Ok(1)).unwrap().unwrap(), 1);
    }
}
