//! Files under a temporary name: `.name.XXXXXX` beside the final one, removed unless they are put in place.

use std::{
    borrow::Cow,
    collections::hash_map::RandomState,
    fs::File,
    hash::{BuildHasher, Hasher},
    io,
};

use super::{
    Dest,
    places::{Spot, again},
};
use crate::{
    bytes,
    fs::Root,
    log::LogCode,
    meta::{Wanted, fake, xattr},
    sys::stat::{Stat, stat_fd},
    text::path,
};

/// The longest name of a directory entry on Linux.
const NAME_MAX: usize = 255;
/// A path's limit, its terminating nul counted, as the reference has it.
const PATH_MAX: usize = 4096;
const SUFFIX_LEN: usize = ".XXXXXX".len();
const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// A time no file has been given yet: it differs from whatever is wanted.
const NO_TIME: (i64, u32) = (i64::MIN, 0);

/// The temporary name of `path` without its suffix; `None` if there is no room for one. C: receiver.c get_tmpname
///
/// A long name is cut so that the suffix fits; if a multi-byte character may be cut, so is every other before it up to
/// the last ASCII one.
pub fn stem(path: &[u8]) -> Option<Vec<u8>> {
    let base = path::base(path);
    let mut start = path.get(..path.len() - base.len())?.to_vec();
    start.push(b'.');
    let dir_len = start.len();
    stem_after(start, base.strip_prefix(b".").unwrap_or(base), dir_len)
}

/// The same in `--temp-dir`, where no dot is put before it; `dir_len` counts the directory and its slash.
fn stem_elsewhere(dir_len: usize, path: &[u8]) -> Option<Vec<u8>> {
    stem_after(Vec::new(), path::base(path), dir_len)
}

fn stem_after(mut stem: Vec<u8>, base: &[u8], before: usize) -> Option<Vec<u8>> {
    let room = PATH_MAX.checked_sub(before + SUFFIX_LEN)?.min(NAME_MAX - 1 - SUFFIX_LEN);
    let kept = base.len().min(room.saturating_sub(1));
    let (kept, cut) = base.split_at_checked(kept)?;
    stem.extend_from_slice(kept);
    if cut.first().is_some_and(|byte| !byte.is_ascii()) {
        while stem.last().is_some_and(|byte| !byte.is_ascii()) {
            stem.pop();
        }
    }
    if stem.last() == Some(&b'.') {
        stem.pop();
    }
    Some(stem)
}

/// Names for what is not a regular file and so needs no secret: `.name.PID` and the numbers after it.
/// C: receiver.c get_tmpname with make_unique
pub(super) fn numbered(path: &[u8]) -> Option<impl Iterator<Item = Vec<u8>>> {
    const TRIES: u32 = 100;
    let stem = stem(path)?;
    let pid = std::process::id();
    let first = if pid <= 999_999 - TRIES { pid } else { 0 };
    Some((first..first + TRIES).map(move |number| bytes![stem, ".", number]))
}

/// A name in the tree that is removed when dropped, unwinding included, unless it was released.
#[must_use]
struct Watch<'a> {
    root: &'a Root,
    path: Vec<u8>,
    armed: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if self.armed {
            let _ = self.root.unlink(&self.path); // nobody is left to tell
        }
    }
}

/// A new file under its temporary name; dropped, it is gone.
pub struct Temp<'a> {
    watch: Watch<'a>,
    /// What stands before its path in messages: `--temp-dir`.
    prefix: &'a [u8],
    file: File,
    stat: Stat,
}

impl<'a> Temp<'a> {
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The temporary path as messages call it, relative to the destination's root.
    pub fn shown(&self) -> Cow<'_, [u8]> {
        let path = &self.watch.path;
        if self.prefix.is_empty() { path.into() } else { bytes![self.prefix, path].into() }
    }

    /// Mode and owners it was born with; its times count as unknown.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Closes the file and moves it to `path` in the tree `root`, where it stays. Errors of the one and of the other.
    pub(super) fn place(self, root: &Root, path: &[u8]) -> Result<(), PlaceError<'a>> {
        let Self { mut watch, file, .. } = self;
        nix::unistd::close(file).map_err(|error| PlaceError::Close(error.into()))?;
        match watch.root.rename(&watch.path, root, path) {
            Ok(()) => {
                watch.armed = false;
                Ok(())
            }
            Err(error) => Err(PlaceError::Rename(error, Left(watch))),
        }
    }
}

/// Why a temporary file did not go into place.
pub(super) enum PlaceError<'a> {
    /// Not all data reached the disk; the file is gone.
    Close(io::Error),
    Rename(io::Error, Left<'a>),
}

/// A whole file that could not be moved; dropped, it is gone.
pub(super) struct Left<'a>(Watch<'a>);

impl Left<'_> {
    pub fn open_read(&self) -> io::Result<File> {
        self.0.root.open_read(&self.0.path, 0)
    }

    /// Moves it somewhere else, where it stays.
    pub fn place(mut self, root: &Root, path: &[u8]) -> io::Result<()> {
        self.0.root.rename(&self.0.path, root, path)?;
        self.0.armed = false;
        Ok(())
    }
}

/// A new file beside the place where it shall go, whatever `--temp-dir` says. C: util1.c unlink_and_reopen
pub(super) fn beside<'a>(dest: Dest<'_>, spot: &Spot<'a>, wanted: &Wanted<'_>) -> io::Result<Temp<'a>> {
    let stem = stem(&spot.path).ok_or_else(|| io::Error::from_raw_os_error(libc::ENAMETOOLONG))?;
    let mut temps = Temps::default();
    let mode = temps.first_mode(dest, wanted);
    let mut name = Vec::new();
    let file = temps.create_named(spot.root, &stem, mode, &mut name)?;
    let watch = Watch { root: spot.root, path: name, armed: true };
    let stat = Stat { mtime: NO_TIME, atime: NO_TIME, ..stat_fd(&file)? };
    Ok(Temp { watch, prefix: b"", file, stat })
}

/// Makes temporary files, and learns from the first one in a directory what owner and mode new files get there.
///
/// One system call a file where nothing surprises: a file that may be readable by others from the start (its owners
/// are right, no special bits) is born with its final permissions, any other readable by nobody else.
pub struct Temps {
    dir: Vec<u8>,
    birth: Option<Birth>,
    random: u64,
}

/// What new files of a directory are given.
#[derive(Clone, Copy)]
struct Birth {
    uid: u32,
    gid: u32,
    /// The permission bits that were seen to be given when asked for: neither umask nor default ACL takes them away.
    granted: u32,
}

impl Default for Temps {
    fn default() -> Self {
        Self { dir: Vec::new(), birth: None, random: RandomState::new().build_hasher().finish() }
    }
}

impl Temps {
    /// A temporary file for `path`; a failure is said. C: receiver.c open_tmpfile
    pub fn create<'a>(&mut self, dest: Dest<'a>, path: &[u8], wanted: &Wanted<'_>) -> Option<Temp<'a>> {
        let temp_dir = dest.places.temp.as_ref();
        let prefix = temp_dir.map_or(&b""[..], |dir| &dir.text);
        let stem = if temp_dir.is_some() { stem_elsewhere(prefix.len(), path) } else { stem(path) };
        let Some(stem) = stem else {
            dest.log.say(LogCode::ErrorXfer, bytes!["temporary filename too long: ", path]);
            return None;
        };
        let dir = if temp_dir.is_some() { b"" } else { path::split(path).0 };
        if self.dir != dir {
            self.dir.clear();
            self.dir.extend_from_slice(dir);
            self.birth = None;
        }
        let mode = self.first_mode(dest, wanted);
        let mut name = Vec::new();
        let root = match temp_dir.map(|dir| dir.root.as_ref()) {
            None => Ok(dest.root),
            Some(Ok(root)) => Ok(root),
            Some(Err(error)) => Err(again(error)),
        };
        let made = root.and_then(|root| Ok((root, self.create_named(root, &stem, mode, &mut name)?)));
        match made {
            Ok((root, file)) => self.known(dest, file, mode, Watch { root, path: name, armed: true }, prefix),
            Err(error) => {
                if name.is_empty() {
                    name = bytes![stem, ".XXXXXX"];
                }
                dest.failed("mkstemp ", &bytes![prefix, name], " failed", &error);
                None
            }
        }
    }

    /// The permissions to create with: those wanted, or the owner's alone while the file belongs to the wrong ones, or
    /// its list of who may do what is still to come.
    fn first_mode(&self, dest: Dest<'_>, wanted: &Wanted<'_>) -> u32 {
        let rules = dest.rules;
        if rules.faked {
            return fake::new_file_mode(wanted.mode);
        }
        let right_owners = self.birth.is_some_and(|birth| {
            (!rules.owner || !rules.privileged || birth.uid == wanted.uid)
                && (!rules.group || wanted.gid.is_none_or(|gid| birth.gid == gid))
        });
        let has_lists = rules.acls.is_some() || wanted.xattrs.is_some_and(xattr::List::has_acl);
        let safe = right_owners && !has_lists;
        let shown = if safe && wanted.mode & 0o7000 == 0 { 0o777 } else { 0o700 };
        wanted.mode & shown | libc::S_IWUSR
    }

    fn create_named(&mut self, root: &Root, stem: &[u8], mode: u32, name: &mut Vec<u8>) -> io::Result<File> {
        const TRIES: u32 = 100;
        let mut tried = 0;
        loop {
            name.clear();
            name.extend_from_slice(stem);
            name.push(b'.');
            let mut random = self.next_random();
            for _ in 1..SUFFIX_LEN {
                name.extend(LETTERS.get((random % 62) as usize));
                random /= 62;
            }
            tried += 1;
            match root.create_new(name, mode) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tried < TRIES => {}
                other => return other,
            }
        }
    }

    fn known<'a>(
        &mut self,
        dest: Dest<'a>,
        file: File,
        mode: u32,
        watch: Watch<'a>,
        prefix: &'a [u8],
    ) -> Option<Temp<'a>> {
        let granted = self.birth.map_or(0, |birth| birth.granted);
        let stat = match self.birth {
            Some(Birth { uid, gid, .. }) if mode & !granted == 0 => {
                Stat { mode: libc::S_IFREG | mode, uid, gid, ..Stat::default() }
            }
            _ => match stat_fd(&file) {
                Ok(stat) => {
                    self.birth = Some(Birth { uid: stat.uid, gid: stat.gid, granted: granted | mode & stat.mode });
                    stat
                }
                Err(error) => {
                    dest.failed("fstat ", &watch.path, " failed", &error);
                    return None;
                }
            },
        };
        Some(Temp { watch, prefix, file, stat: Stat { mtime: NO_TIME, atime: NO_TIME, ..stat } })
    }

    /// Marsaglia's xorshift: names need to differ, not to be secret (a name that exists is never opened).
    fn next_random(&mut self) -> u64 {
        self.random |= u64::from(self.random == 0);
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dest::fixture::Fixture;

    #[test]
    fn temporary_names_are_the_names_of_the_reference() {
        let stem_of = |path: &str| String::from_utf8(stem(path.as_bytes()).unwrap()).unwrap();
        assert_eq!(stem_of("a/b"), "a/.b");
        assert_eq!(stem_of(".hidden"), ".hidden");
        assert_eq!(stem_of("dot."), ".dot");
        assert_eq!(stem_of("d/..."), "d/..");
        let long = "x".repeat(255);
        assert_eq!(stem_of(&long), bytes_to_string(&[b".", &[b'x'; 246][..]]));
        let umlauts = "\u{e4}".repeat(127);
        assert_eq!(stem_of(&umlauts), "", "no character is cut, at the price of all that follow each other");
        assert_eq!(stem_of(&format!("start.{}", &umlauts[..248])), ".start");
        assert_eq!(stem_of(&umlauts[..246]), format!(".{}", &umlauts[..246]), "it just fits");
    }

    fn bytes_to_string(parts: &[&[u8]]) -> String {
        String::from_utf8(parts.concat()).unwrap()
    }

    #[test]
    fn a_dropped_file_is_gone_and_a_placed_one_stays() {
        let fixture = Fixture::new();
        let dest = fixture.dest();
        let mut temps = Temps::default();
        let wanted = fixture.wanted(0o100644);
        let temp = temps.create(dest, b"name", &wanted).unwrap();
        assert!(temp.shown().starts_with(b".name.") && temp.shown().len() == 12);
        assert!(dest.root.stat(&temp.shown()).is_ok());
        drop(temp);
        assert_eq!(fixture.names(), [""; 0]);
        let temp = temps.create(dest, b"name", &wanted).unwrap();
        assert!(temp.place(dest.root, b"name").is_ok());
        assert_eq!(fixture.names(), ["name"]);
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let fixture = Fixture::new();
        let wanted = fixture.wanted(0o100644);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _temp = Temps::default().create(fixture.dest(), b"name", &wanted);
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(result.is_err());
        assert_eq!(fixture.names(), [""; 0]);
    }

    #[test]
    fn a_file_that_goes_to_another_owner_is_secret_until_then() {
        let mut fixture = Fixture::new();
        fixture.rules.privileged = true;
        let mut temps = Temps::default();
        let mine = fixture.wanted(0o100644);
        let shown = |temps: &mut Temps, wanted: &Wanted<'_>| {
            let temp = temps.create(fixture.dest(), b"f", wanted).unwrap();
            let real = fixture.dest().root.stat(&temp.shown()).unwrap();
            assert_eq!((temp.stat().mode, temp.stat().uid, temp.stat().gid), (real.mode, real.uid, real.gid));
            real.mode & 0o7777
        };
        assert_eq!(shown(&mut temps, &mine), 0o600, "nothing is known of the directory yet");
        assert_eq!(shown(&mut temps, &mine), 0o644);
        assert_eq!(shown(&mut temps, &mine), 0o644);
        assert_eq!(shown(&mut temps, &Wanted { uid: mine.uid + 1, ..mine }), 0o600);
        assert_eq!(shown(&mut temps, &Wanted { gid: mine.gid.map(|gid| gid + 1), ..mine }), 0o600);
        assert_eq!(shown(&mut temps, &Wanted { gid: None, ..mine }), 0o644);
        assert_eq!(shown(&mut temps, &Wanted { mode: 0o104755, ..mine }), 0o700);
        assert_eq!(shown(&mut temps, &Wanted { mode: 0o100444, ..mine }), 0o644, "always writable for us");
        let _ = shown(&mut temps, &Wanted { mode: 0o100666, ..mine }); // whatever the umask makes of it, it is known
        let _ = shown(&mut temps, &Wanted { mode: 0o100666, ..mine });
    }

    #[test]
    fn failures_are_told_as_the_reference_does() {
        let fixture = Fixture::new();
        assert!(Temps::default().create(fixture.dest(), b"no/f", &fixture.wanted(0o100644)).is_none());
        let said = fixture.said();
        let start = format!("rsync: [receiver] mkstemp \"{}/no/.f.", fixture.base());
        assert!(said.starts_with(&start), "{said}");
        assert!(said.ends_with("\" failed: No such file or directory (2)\n"), "{said}");
    }
}
