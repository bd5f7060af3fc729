//! What the destination argument means: a directory to fill, or the name of one file.

use std::{
    ffi::OsStr,
    fs, io,
    os::fd::AsFd,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
};

use super::{defaults, places::Places};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    fs::{Follow, Root, UNTRUSTED_LINK, is_untrusted_link},
    log::{Log, LogCode},
    meta::Names,
    options::{Debug, Info, Options},
    sys::at::{CWD, open_dir_handle, with_name},
    text::path::{self, Clean, DotDot},
};

/// What of the file list decides how the destination is meant.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// How many entries came so far. C: file_total
    pub total: usize,
    /// The first one is a directory.
    pub starts_with_dir: bool,
    /// The first one is the directory `.`: the destination itself is part of the transfer.
    pub starts_with_dot: bool,
}

/// Where and how the argument is taken.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub options: &'a Options,
    /// The absolute path of the current directory.
    pub cwd: &'a [u8],
    /// Directories that are made are told even without `-v`. C: stdout_format_has_i
    pub itemizes: bool,
    pub umask: u32,
}

/// The destination, entered.
pub struct Target {
    /// `None` in a dry run that would have made the directory: there is nothing to compare with. C: dry_run > 1
    pub root: Option<Root>,
    pub names: Names,
    /// The only file's name, where the argument named a file and not a directory. C: local_name
    pub single: Option<Vec<u8>>,
    /// The directory was made in this run, and so is the list's `.`. C: FLAG_DIR_CREATED
    pub created: bool,
    /// The directory's device, from which `-x` counts.
    pub device: u64,
    /// Opened once the destination is known.
    pub places: Places,
}

/// Finds out what the destination argument names, makes it where it is missing, and opens it.
/// C: main.c get_local_name
///
/// # Errors
/// Exit statuses 1, 3 and 11 with the reference's message, which was said.
pub fn enter(argument: &[u8], listing: Listing, place: Place<'_>, log: &Log) -> Result<Target> {
    let Place { options, cwd, itemizes, umask } = place;
    if log.debug(Debug::Recv) >= 1 {
        log.say(LogCode::Info, bytes!["get_local_name count=", listing.total, " ", argument]);
    }
    let argument = if argument.is_empty() { b"." } else { argument };
    let entry = Entry { options, log, tells: log.info(Info::Name) >= 1 || itemizes, umask, cwd: at(cwd) };
    entry.enter(argument, listing)
}

fn at(cwd: &[u8]) -> Names {
    Names { base: cwd.to_vec(), module: None }
}

struct Entry<'a> {
    options: &'a Options,
    log: &'a Log,
    /// Says which directories were made.
    tells: bool,
    umask: u32,
    cwd: Names,
}

impl Entry<'_> {
    fn enter(&self, argument: &[u8], listing: Listing) -> Result<Target> {
        let many = listing.total > 1;
        let trailing_slash = argument.ends_with(b"/");
        let mut found = stat(argument);
        if self.options.mkpath && found.is_err() && (argument.contains(&b'/') || many) {
            found = self.make_path(argument, many, found)?;
        }
        match &found {
            Ok(meta) if meta.is_dir() => return self.change_into(argument, "change_dir#1", false),
            Ok(_) if many => {
                return Err(self.refuse("ERROR: destination must be a directory when copying more than 1 file"));
            }
            Ok(_) if listing.total == 1 && listing.starts_with_dir => {
                return Err(self.refuse("ERROR: cannot overwrite non-directory with a directory"));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.fail(ExitCode::FILE_SELECT, "ERROR: cannot stat destination ", argument, "", error));
            }
            _ => {}
        }
        if !many && !trailing_slash {
            return self.single(argument);
        }
        if found.is_ok() {
            self.log.say(LogCode::Error, "ERROR: destination path is not a directory");
            return Err(Error::silent(ExitCode::SYNTAX));
        }
        self.make(trimmed(argument), listing)
    }

    /// The argument names a directory that does not exist.
    fn make(&self, dir: &[u8], listing: Listing) -> Result<Target> {
        if !self.options.dry_run
            && let Err(error) = mkdir(dir, self.umask)
        {
            return Err(self.mkdir_failed(dir, &error));
        }
        if self.tells {
            self.log.say(LogCode::Info, bytes!["created directory ", dir]);
        }
        let target = self.change_into(dir, "change_dir#2", self.options.dry_run)?;
        Ok(Target { created: listing.starts_with_dot, ..target })
    }

    /// The argument names one file, in a directory that must exist.
    fn single(&self, argument: &[u8]) -> Result<Target> {
        let (dir, name) = path::split(argument);
        if !argument.contains(&b'/') {
            return Ok(Target { single: Some(argument.to_vec()), ..self.change_into(b".", "", false)? });
        }
        let missing = self.options.dry_run && self.options.mkpath && stat(dir).is_err();
        Ok(Target { single: Some(name.to_vec()), ..self.change_into(dir, "change_dir#3", missing)? })
    }

    /// `--mkpath`: makes what is missing on the way, and looks again.
    fn make_path(
        &self,
        argument: &[u8],
        many: bool,
        found: io::Result<fs::Metadata>,
    ) -> Result<io::Result<fs::Metadata>> {
        let trailing_slash = argument.ends_with(b"/");
        let whole = many && !trailing_slash;
        let umask = (!self.options.dry_run).then_some(self.umask);
        let made = make_path(if whole { argument } else { path_above(argument) }, umask)
            .map_err(|error| self.mkdir_failed(argument, &error))?;
        if made == 0 {
            return Ok(found);
        }
        if self.tells {
            let shown = if !many || trailing_slash { path_above(argument) } else { argument };
            let noun = if made == 1 { "y" } else { "ies" };
            self.log.say(LogCode::Info, bytes!["created ", made, " director", noun, " for ", shown]);
        }
        Ok(stat(argument))
    }

    /// Opens the directory and names it for messages; `missing`: a dry run did not make it.
    fn change_into(&self, dir: &[u8], step: &str, missing: bool) -> Result<Target> {
        let names = Names { base: self.absolute(dir), module: None };
        if missing {
            return Ok(Target {
                root: None,
                names,
                single: None,
                created: false,
                device: 0,
                places: Places::default(),
            });
        }
        let follow = self.below();
        let named = if self.options.insecure_links { Follow::Always } else { Follow::Trusted };
        let look = if step.is_empty() { |root: &Root| root.stat(b".") } else { Root::stat_inside };
        let opened = Root::open_named(dir, named, follow).and_then(|root| Ok((look(&root)?.dev, root)));
        match opened {
            Ok((device, root)) => {
                let root = root.sparing_atimes(self.options.open_noatime);
                if dir != b"." && self.log.debug(Debug::Chdir) >= 1 {
                    let line = bytes!["[", self.log.speaker().name(), "] change_dir(", names.base, ")"];
                    self.log.say(LogCode::Info, line);
                }
                Ok(Target { root: Some(root), names, single: None, created: false, device, places: Places::default() })
            }
            Err(error) => {
                if is_untrusted_link(&error) {
                    self.log.say(LogCode::Error, UNTRUSTED_LINK);
                }
                Err(self.fail(ExitCode::FILE_SELECT, &bytes![step, " "], dir, " failed", &error))
            }
        }
    }

    /// The rule for links inside the destination: where one may stand for a directory, it must not lead outside.
    fn below(&self) -> Follow {
        match (self.options.insecure_links, self.options.keep_dirlinks || !self.options.implied_dirs) {
            (true, _) => Follow::Always,
            (_, true) => Follow::Inside,
            (_, false) => Follow::Never,
        }
    }

    fn absolute(&self, dir: &[u8]) -> Vec<u8> {
        let joined = if dir.starts_with(b"/") { dir.to_vec() } else { path::join(&self.cwd.base, dir) };
        let how = Clean { dot_dot: DotDot::Collapse, drop_trailing_dot: true, ..Clean::default() };
        path::clean(&joined, how).unwrap_or(joined)
    }

    fn refuse(&self, line: &str) -> Error {
        self.log.say(LogCode::Error, line);
        Error::silent(ExitCode::FILE_SELECT)
    }

    fn mkdir_failed(&self, dir: &[u8], error: &io::Error) -> Error {
        self.fail(ExitCode::FILE_IO, "mkdir ", dir, " failed", error)
    }

    fn fail(&self, code: ExitCode, before: impl AsRef<[u8]>, path: &[u8], after: &str, error: &io::Error) -> Error {
        self.log.syserr(LogCode::Error, bytes![before.as_ref(), self.cwd.full(path), after], error);
        Error::silent(code)
    }
}

fn stat(path: &[u8]) -> io::Result<fs::Metadata> {
    fs::metadata(OsStr::from_bytes(path))
}

fn trimmed(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte != b'/') {
        Some(last) => path.get(..=last).unwrap_or(path),
        None => b"/",
    }
}

/// Everything before the last slash, which may be all of it; the path itself if there is none.
fn path_above(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => path.get(..slash).unwrap_or(path),
        None => path,
    }
}

/// Makes a directory, as far as the umask allows, or a default ACL where it is.
fn mkdir(dir: &[u8], umask: u32) -> io::Result<()> {
    let above = match path::split(trimmed(dir)).0 {
        b"" if dir.starts_with(b"/") => b"/",
        b"" => &b"."[..],
        above => above,
    };
    let opened = with_name(above, |above| open_dir_handle(CWD, above));
    let mode = opened.map_or(0o777 & !umask, |above| defaults::allowed(above.as_fd(), 0o777, umask));
    fs::DirBuilder::new().mode(mode).create(OsStr::from_bytes(dir))
}

/// Makes `dir` and what is missing above it; returns how many directories. Without an umask (a dry run) they are only
/// counted. C: util1.c make_path
fn make_path(dir: &[u8], umask: Option<u32>) -> io::Result<u32> {
    let dir = trimmed(dir);
    let made = match umask {
        Some(umask) => mkdir(dir, umask),
        None => stat(dir).and_then(|meta| {
            Err(io::Error::from_raw_os_error(if meta.is_dir() { libc::EEXIST } else { libc::ENOTDIR }))
        }),
    };
    match made {
        Ok(()) => Ok(1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = path::split(dir).0;
            let made = if above.is_empty() { 0 } else { make_path(above, umask)? };
            umask.map_or(Ok(()), |umask| mkdir(dir, umask))?;
            Ok(made + 1)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match stat(dir) {
            Ok(meta) if !meta.is_dir() => Err(error),
            _ => Ok(0),
        },
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::dest::fixture::Fixture;

    const ONE: Listing = Listing { total: 1, starts_with_dir: false, starts_with_dot: false };
    const DIR: Listing = Listing { total: 1, starts_with_dir: true, starts_with_dot: true };
    const TWO: Listing = Listing { total: 2, ..ONE };

    fn enter_at(fixture: &Fixture, name: &str, listing: Listing) -> Result<Target> {
        let place = Place { options: &fixture.options, cwd: b"/", itemizes: false, umask: 0o022 };
        let log = fixture.dest().log.clone();
        enter(format!("{}/{name}", fixture.base()).as_bytes(), listing, place, &log)
    }

    /// Enters, and gives the directory (below the fixture's) and the single name.
    fn entered(fixture: &Fixture, name: &str, listing: Listing) -> (String, Option<String>) {
        let target = enter_at(fixture, name, listing).unwrap();
        let base = String::from_utf8(target.names.base).unwrap();
        (base[fixture.base().len()..].to_owned(), target.single.map(|name| String::from_utf8(name).unwrap()))
    }

    fn refused(fixture: &Fixture, name: &str, listing: Listing) -> (u8, String) {
        let error = enter_at(fixture, name, listing).err().unwrap();
        assert!(error.message.is_empty());
        (error.code.0, fixture.said().replace(fixture.base(), "BASE"))
    }

    #[test]
    fn a_directory_is_entered_and_one_file_may_be_renamed() {
        let fixture = Fixture::new();
        fs::create_dir(fixture.path().join("d")).unwrap();
        fs::write(fixture.path().join("f"), "").unwrap();
        assert_eq!(entered(&fixture, "d", ONE), ("/d".into(), None));
        assert_eq!(entered(&fixture, "d/", TWO), ("/d".into(), None));
        assert_eq!(entered(&fixture, "d/../d/.", DIR), ("/d".into(), None));
        assert_eq!(entered(&fixture, "new", ONE), ("".into(), Some("new".into())));
        assert_eq!(entered(&fixture, "d/new", ONE), ("/d".into(), Some("new".into())));
        assert_eq!(entered(&fixture, "f", ONE), ("".into(), Some("f".into())));
        assert_eq!((fixture.names().len(), fixture.said()), (2, String::new()));
    }

    #[test]
    fn a_missing_directory_is_made_and_told() {
        let fixture = Fixture::new();
        for (name, listing) in [("a", TWO), ("b/", ONE), ("c///", DIR)] {
            let target = enter_at(&fixture, name, listing).unwrap();
            assert_eq!((target.single, target.created), (None, listing.starts_with_dot));
            let said = format!("created directory {}/{}\n", fixture.base(), &name[..1]);
            assert_eq!(fixture.said(), said);
        }
        assert_eq!(fixture.dest().root.stat(b"a").unwrap().mode & 0o7777, 0o755);
        let dry = Fixture::with(|options| options.dry_run = true);
        assert!(enter_at(&dry, "x/y", TWO).unwrap().root.is_none());
        assert_eq!(dry.said(), format!("created directory {}/x/y\n", dry.base()));
        assert_eq!(dry.names(), [""; 0]);
    }

    #[test]
    fn refusals_are_those_of_the_reference() {
        let fixture = Fixture::new();
        fs::write(fixture.path().join("f"), "").unwrap();
        for (name, listing, code, line) in [
            ("f", TWO, 3, "ERROR: destination must be a directory when copying more than 1 file\n"),
            ("f", DIR, 3, "ERROR: cannot overwrite non-directory with a directory\n"),
            ("f/", ONE, 3, "rsync: [receiver] ERROR: cannot stat destination \"BASE/f/\": Not a directory (20)\n"),
            ("x/y", TWO, 11, "rsync: [receiver] mkdir \"BASE/x/y\" failed: No such file or directory (2)\n"),
            ("x/y", ONE, 3, "rsync: [receiver] change_dir#3 \"BASE/x\" failed: No such file or directory (2)\n"),
        ] {
            assert_eq!(refused(&fixture, name, listing), (code, line.to_owned()), "{name}");
        }
    }

    #[test]
    fn mkpath_makes_all_that_is_missing() {
        let fixture = Fixture::with(|options| options.mkpath = true);
        let base = fixture.base();
        assert_eq!(entered(&fixture, "a/b/f", ONE), ("/a/b".into(), Some("f".into())));
        assert_eq!(fixture.said(), format!("created 2 directories for {base}/a/b\n"));
        assert_eq!(entered(&fixture, "c/d/", ONE), ("/c/d".into(), None));
        assert_eq!(fixture.said(), format!("created 2 directories for {base}/c/d\n"));
        assert_eq!(entered(&fixture, "a/e", TWO), ("/a/e".into(), None));
        assert_eq!(fixture.said(), format!("created 1 directory for {base}/a/e\n"));
        fs::write(fixture.path().join("f"), "").unwrap();
        let line = "rsync: [receiver] mkdir \"BASE/f/x/y\" failed: Not a directory (20)\n";
        assert_eq!(refused(&fixture, "f/x/y", ONE), (11, line.into()));
    }

    #[test]
    fn mkpath_in_a_dry_run_only_counts() {
        let fixture = Fixture::with(|options| (options.mkpath, options.dry_run) = (true, true));
        let base = fixture.base();
        let target = enter_at(&fixture, "a/f", ONE).unwrap();
        assert!(target.root.is_none());
        assert_eq!(target.single.as_deref(), Some(&b"f"[..]));
        assert_eq!(fixture.said(), format!("created 1 directory for {base}/a\n"));
        assert!(enter_at(&fixture, "a/b/", ONE).unwrap().root.is_none());
        let said = format!("created 2 directories for {base}/a/b\ncreated directory {base}/a/b\n");
        assert_eq!(fixture.said(), said);
        assert_eq!(fixture.names(), [""; 0]);
    }

    #[test]
    fn links_of_strangers_are_not_followed() {
        let fixture = Fixture::new();
        fs::create_dir(fixture.path().join("d")).unwrap();
        symlink("d", fixture.path().join("l")).unwrap();
        assert_eq!(entered(&fixture, "l/", TWO).0, "/l");
        if fixture.dest().root.chown(b"l", Some(1234), None).is_err() {
            return; // only root may give links away
        }
        let line = "rsync: [receiver] change_dir#1 \"BASE/l/\" failed: Too many levels of symbolic links (40)\n";
        assert_eq!(refused(&fixture, "l/", TWO), (3, format!("{}\n{line}", UNTRUSTED_LINK)));
        let open = Fixture::with(|options| options.insecure_links = true);
        symlink(fixture.path().join("d"), open.path().join("l")).unwrap();
        open.dest().root.chown(b"l", Some(1234), None).unwrap();
        assert_eq!(entered(&open, "l", TWO).0, "/l");
    }
}
