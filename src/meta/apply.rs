//! Giving a file its attributes: owner, times and permissions, each only where it differs.

use std::{fs::File, io, os::fd::AsFd};

use super::{
    Kind, MODE_BITS, Names, Rules, Wanted,
    acl::{Acl, Acls, Bearers, Which},
    fake,
    xattr::Subject,
};
use crate::{
    bytes,
    fs::Root,
    log::{Log, LogCode},
    options::{Debug, Info},
    sys::{
        file,
        stat::{Stat, stat_fd},
        xattr::On,
    },
};

/// A time that no file has.
const UNKNOWN: (i64, u32) = (i64::MIN, 0);

/// What gets the attributes.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    /// A file we hold open.
    Open(&'a File),
    /// Whatever stands at a path; links are not followed.
    At(&'a Root, &'a [u8]),
}

/// How to go about it. C: ATTRS_*
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// The data is not what the times belong to: leave them.
    pub skip_times: bool,
    /// The modification time must be exact, whatever the window.
    pub exact_times: bool,
    /// Say `NAME` or `NAME is uptodate` from `--info=name2` on.
    pub report: bool,
    /// The file was made in this run: a directory keeps the setgid bit it inherited.
    pub fresh: bool,
    /// Extended attributes too, if they are known.
    pub xattrs: bool,
    /// The access control lists were found to be right.
    pub same_acls: bool,
}

/// What was changed. C: UPDATED_*
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changed {
    pub owner: bool,
    pub group: bool,
    pub mtime: bool,
    pub atime: bool,
    pub mode: bool,
    pub acls: bool,
    /// Whether its access control lists were others, if they were looked at.
    pub other_acls: Option<bool>,
    /// What was found under way, against which the rest is told: the metadata after a new owner took special bits
    /// away, and the mode that came with an access list.
    pub found: Option<Stat>,
}

impl Changed {
    pub fn any(self) -> bool {
        self != Self { other_acls: self.other_acls, found: self.found, ..Self::default() }
    }
}

/// One role's hand for setting attributes.
#[derive(Clone, Copy)]
pub struct Setter<'a> {
    pub rules: &'a Rules,
    pub names: &'a Names,
    pub log: &'a Log,
}

impl Setter<'_> {
    /// Makes the target's attributes what is wanted, as far as the rules keep them. `stat` is what it has now, `name`
    /// how messages call it. A failure is said and ends the work on this file. C: rsync.c set_file_attrs
    pub fn set(self, target: Target<'_>, name: &[u8], wanted: &Wanted<'_>, stat: &Stat, how: How) -> Changed {
        let mut changed = Changed::default();
        let keeps = self.rules.faked && !self.rules.dry_run;
        let known = if keeps { self.recall(target, name) } else { None };
        let stat = &known.as_ref().map_or(*stat, |known| known.stat(stat));
        let new_mode = self.mode_for(wanted, stat, how);
        let bearers = self.rules.acls.filter(|_| !how.same_acls);
        let held = bearers.and_then(|bearers| self.acls_of(target, name, wanted, stat, bearers));
        let done = self.set_owner(target, name, wanted, stat, &mut changed).and_then(|mode| {
            if let Some(known) = &known {
                self.keep_told(known, name, wanted, new_mode);
            }
            let now = &self.set_xattrs(target, name, wanted, Stat { mode, ..*stat }, how);
            self.set_times(target, name, wanted, now, how, &mut changed)?;
            let with_acls = match bearers {
                Some(bearers) => {
                    self.set_acls((target, bearers), name, wanted, held.as_ref(), (mode, new_mode), &mut changed)
                }
                None => mode,
            };
            if with_acls != mode {
                changed.found = Some(Stat { mode: with_acls, ..changed.found.unwrap_or(*stat) });
            }
            self.set_mode(target, name, new_mode, with_acls, &mut changed)
        });
        if done.is_some() && how.report && self.log.info(Info::Name) >= 2 {
            let note = if changed.any() { "" } else { " is uptodate" };
            self.log.say(LogCode::Client, bytes![name, note]);
        }
        changed
    }

    fn mode_for(self, wanted: &Wanted<'_>, stat: &Stat, how: How) -> u32 {
        let inherits = !self.rules.perms && how.fresh && wanted.kind() == Kind::Directory;
        wanted.mode | if inherits { stat.mode & libc::S_ISGID } else { 0 }
    }

    /// Returns the mode afterwards: changing the owner takes setuid and setgid bits away. `None`: it failed.
    fn set_owner(
        self,
        target: Target<'_>,
        name: &[u8],
        wanted: &Wanted<'_>,
        stat: &Stat,
        changed: &mut Changed,
    ) -> Option<u32> {
        let uid = self.rules.owner_differs(wanted, stat).then_some(wanted.uid);
        let gid = wanted.gid.filter(|_| self.rules.group_differs(wanted, stat));
        if uid.is_none() && gid.is_none() {
            return Some(stat.mode);
        }
        for (what, from, to) in [("uid", stat.uid, uid), ("gid", stat.gid, gid)] {
            if let (1.., Some(to)) = (self.log.debug(Debug::Own), to) {
                self.log.say(LogCode::Info, bytes!["set ", what, " of ", name, " from ", from, " to ", to]);
            }
        }
        let mut mode = stat.mode;
        if self.rules.sets_them() {
            if let Err(error) = target.chown(uid, gid) {
                let what = if uid.is_some() { "chown" } else { "chgrp" };
                self.failed(bytes![what, " ", self.names.full(name), " failed"], &error);
                return None;
            }
            for (what, id) in [("uid", uid), ("gid", gid)] {
                if id == Some(u32::MAX) {
                    let line = bytes![what, " 4294967295 (-1) is impossible to set on ", self.names.full(name)];
                    self.log.say(LogCode::ErrorXfer, line);
                }
            }
            if mode & (libc::S_ISUID | libc::S_ISGID) != 0 {
                changed.found = target.stat().ok();
                mode = changed.found.map_or(mode, |stat| stat.mode);
            }
        }
        (changed.owner, changed.group) = (uid.is_some(), gid.is_some());
        Some(mode)
    }

    /// Returns what the file is like then: its modification time is another where anything was changed.
    /// C: xattrs.c set_xattr
    fn set_xattrs(self, target: Target<'_>, name: &[u8], wanted: &Wanted<'_>, stat: Stat, how: How) -> Stat {
        let policy = self.rules.xattrs.as_ref().filter(|_| how.xattrs && !self.rules.dry_run);
        let (Some(policy), Some(list)) = (policy, wanted.xattrs) else { return stat };
        // Who has no privilege may change them only where he may write. A mode that is only told forbids nothing.
        let locked = stat.mode & libc::S_IWUSR == 0 && !stat.is_symlink() && policy.is_unprivileged();
        let locked = locked && !self.rules.faked;
        let unlocked = locked && target.chmod((stat.mode & MODE_BITS) | libc::S_IWUSR).is_ok();
        let full = || self.names.full(name);
        let held = is_held(stat.mode);
        let applied = target.xattrs(|on| Ok(policy.apply(list, Subject { held, ..Subject::new(on, &full, self.log) })));
        if unlocked && let Err(error) = target.chmod(stat.mode & MODE_BITS) {
            self.failed(bytes!["failed to set permissions on ", full()], &error);
        }
        match applied {
            Ok(true) => Stat { mtime: UNKNOWN, ..stat },
            Ok(false) => stat,
            Err(error) => {
                self.failed(bytes!["get_xattr_names: llistxattr(", full(), ",1024) failed"], &error);
                stat
            }
        }
    }

    fn set_times(
        self,
        target: Target<'_>,
        name: &[u8],
        wanted: &Wanted<'_>,
        stat: &Stat,
        how: How,
        changed: &mut Changed,
    ) -> Option<()> {
        let kind = Kind::of(stat.mode);
        let omitted = match kind {
            Kind::Directory => self.rules.omit_dir_times,
            Kind::Symlink => self.rules.omit_link_times,
            _ => false,
        };
        if how.skip_times || omitted {
            return Some(());
        }
        let same =
            if how.exact_times { wanted.mtime == stat.mtime } else { self.rules.same_time(wanted.mtime, stat.mtime) };
        let mtime = (self.rules.times && !same).then_some(wanted.mtime);
        let atime = wanted.atime.filter(|&atime| {
            self.rules.atimes
                && kind != Kind::Directory
                && (how.exact_times || !self.rules.same_time((stat.atime.0, 0), (atime, 0)))
        });
        if mtime.is_none() && atime.is_none() {
            return Some(());
        }
        if !self.rules.dry_run
            && let Err(error) = target.set_times(atime.map(|seconds| (seconds, 0)), mtime)
        {
            self.failed(bytes!["failed to set times on ", self.names.full(name)], &error);
            return None;
        }
        (changed.mtime, changed.atime) = (mtime.is_some(), atime.is_some());
        Some(())
    }

    fn set_mode(self, target: Target<'_>, name: &[u8], new: u32, old: u32, changed: &mut Changed) -> Option<()> {
        if (new ^ old) & MODE_BITS == 0 || Kind::of(new) == Kind::Symlink {
            return Some(());
        }
        if self.rules.sets_them()
            && let Err(error) = target.chmod(new & MODE_BITS)
        {
            self.failed(bytes!["failed to set permissions on ", self.names.full(name)], &error);
            return None;
        }
        changed.mode = true;
        Some(())
    }

    /// The lists of what is there; `None`: they cannot be read, which is said.
    fn acls_of(
        self,
        target: Target<'_>,
        name: &[u8],
        wanted: &Wanted<'_>,
        stat: &Stat,
        bearers: Bearers,
    ) -> Option<Acls> {
        if wanted.kind() == Kind::Symlink || !bearers.have(stat.mode) {
            return Some(Acls::default());
        }
        let read = target.xattrs(|on| Ok(bearers.read(on, stat.mode)));
        let told = |(which, error): (Which, _)| {
            self.failed(bytes!["get_acl: xacl_get(", name, ", ", which.name(), ")"], &error);
        };
        read.unwrap_or_else(|error| Err((Which::Access, error))).map_err(told).ok()
    }

    /// Gives it the lists that it lacks; `modes` are the one it has and the one it shall have. Gives back the one it
    /// has afterwards. C: acls.c set_acl
    fn set_acls(
        self,
        (target, bearers): (Target<'_>, Bearers),
        name: &[u8],
        wanted: &Wanted<'_>,
        held: Option<&Acls>,
        modes: (u32, u32),
        changed: &mut Changed,
    ) -> u32 {
        let (mut mode, new) = modes;
        let none = Acls::default();
        let lists = wanted.acls.unwrap_or(&none);
        if Kind::of(new) == Kind::Symlink {
            return mode;
        }
        let other_access = held.is_none_or(|held| held.access_differs(lists, new));
        let other_default =
            Kind::of(new) == Kind::Directory && held.is_none_or(|held| held.default_differs(lists, new));
        changed.other_acls = Some(other_access || other_default);
        let give = |acl: &Acl, which: Which| {
            let done = if self.rules.dry_run { Ok(()) } else { target.xattrs(|on| bearers.write(acl, on, which)) };
            done.inspect_err(|error| {
                let what = match which {
                    Which::Default if acl.is_empty() => bytes!["set_acl: sys_acl_delete_def_file(", name, ")"],
                    _ if bearers.are_faked() => {
                        fake::acl::write_failed(is_held(modes.0), which, &self.names.full(name))
                    }
                    _ => bytes!["set_acl: xacl_set(", name, ", ", which.name(), ")"],
                };
                self.failed(what, error);
            })
        };
        if other_access {
            let (access, with_it) = lists.access.for_mode(mode, new);
            let access = if bearers.are_faked() { &lists.access } else { &access };
            if give(access, Which::Access).is_err() {
                return mode;
            }
            if self.rules.sets_them() {
                mode = with_it;
            }
        }
        if other_default && give(&lists.default, Which::Default).is_err() {
            return mode;
        }
        changed.acls = other_access || other_default;
        mode
    }

    pub(super) fn failed(self, what: Vec<u8>, error: &io::Error) {
        self.log.syserr(LogCode::ErrorXfer, what, error);
    }
}

/// Whether messages about the extended attributes of a file of this mode name the calls on open files.
fn is_held(mode: u32) -> bool {
    matches!(mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR | libc::S_IFIFO)
}

impl Target<'_> {
    pub fn stat(self) -> io::Result<Stat> {
        match self {
            Self::Open(file) => stat_fd(file),
            Self::At(root, path) => root.stat(path),
        }
    }

    fn xattrs<T>(self, act: impl FnOnce(On<'_>) -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Open(file) => act(On::Open(file.as_fd())),
            Self::At(root, path) => root.xattrs(path, act),
        }
    }

    fn chown(self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        match self {
            Self::Open(open) => file::chown(open, uid, gid),
            Self::At(root, path) => root.chown(path, uid, gid),
        }
    }

    fn chmod(self, mode: u32) -> io::Result<()> {
        match self {
            Self::Open(open) => file::chmod(open, mode),
            Self::At(root, path) => root.chmod(path, mode),
        }
    }

    fn set_times(self, atime: Option<(i64, u32)>, mtime: Option<(i64, u32)>) -> io::Result<()> {
        match self {
            Self::Open(open) => file::set_times(open, atime, mtime),
            Self::At(root, path) => root.set_times(path, atime, mtime),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, sync::Arc};

    use super::*;
    use crate::{
        fs::Follow,
        log::Speaker,
        meta::tests::{archive_rules, wanted},
        options::Levels,
        sys::users,
    };

    struct Silent;

    impl crate::log::Sink for Silent {
        fn line(&self, _: LogCode, _: &[u8]) {}
    }

    fn set(root: &Root, rules: &Rules, path: &[u8], wanted: &Wanted<'_>, how: How) -> Changed {
        let log = Log::new(Levels::default(), Arc::new(Silent), Speaker::Generator);
        let stat = root.stat(path).unwrap();
        Setter { rules, names: &Names::default(), log: &log }.set(Target::At(root, path), path, wanted, &stat, how)
    }

    fn tree() -> (tempfile::TempDir, Root, Wanted<'static>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"data").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("l")).unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::set_permissions(dir.path().join("f"), PermissionsExt::from_mode(0o644)).unwrap();
        let root = Root::open(dir.path().as_os_str().as_encoded_bytes(), Follow::Never).unwrap();
        let stat = root.stat(b"f").unwrap();
        let mine = Wanted { uid: stat.uid, gid: Some(stat.gid), ..wanted(0o100644) };
        (dir, root, mine)
    }

    #[test]
    fn only_what_differs_is_changed() {
        let (_dir, root, wanted) = tree();
        let rules = archive_rules();
        let changed = set(&root, &rules, b"f", &wanted, How::default());
        assert_eq!(changed, Changed { mtime: true, ..Changed::default() });
        assert_eq!(root.stat(b"f").unwrap().mtime, wanted.mtime);
        assert!(!set(&root, &rules, b"f", &wanted, How::default()).any());
        let stricter = Wanted { mode: 0o100400, ..wanted };
        let changed = set(&root, &rules, b"f", &stricter, How::default());
        assert_eq!(changed, Changed { mode: true, ..Changed::default() });
        assert_eq!(root.stat(b"f").unwrap().mode, 0o100400);
    }

    #[test]
    fn exact_times_ignore_the_window() {
        let (_dir, root, wanted) = tree();
        let rules = Rules { modify_window: 5, ..archive_rules() };
        root.set_times(b"f", None, Some((wanted.mtime.0 + 3, 0))).unwrap();
        assert!(!set(&root, &rules, b"f", &wanted, How::default()).any());
        assert!(set(&root, &rules, b"f", &wanted, How { exact_times: true, ..How::default() }).mtime);
        assert_eq!(root.stat(b"f").unwrap().mtime, wanted.mtime);
    }

    #[test]
    fn times_are_left_alone_where_asked() {
        let (_dir, root, wanted) = tree();
        let before = root.stat(b"f").unwrap().mtime;
        assert!(!set(&root, &archive_rules(), b"f", &wanted, How { skip_times: true, ..How::default() }).any());
        let rules = Rules { omit_dir_times: true, omit_link_times: true, ..archive_rules() };
        let link = Wanted { mode: 0o120777, ..wanted };
        assert!(!set(&root, &rules, b"l", &link, How::default()).any());
        assert_eq!(root.stat(b"f").unwrap().mtime, before);
        assert!(set(&root, &archive_rules(), b"l", &link, How::default()).mtime);
        assert_eq!(root.stat(b"l").unwrap().mtime, wanted.mtime);
    }

    #[test]
    fn access_times_are_set_where_kept_but_not_on_directories() {
        let (_dir, root, wanted) = tree();
        let rules = Rules { atimes: true, times: false, ..archive_rules() };
        let wanted = Wanted { atime: Some(77), ..wanted };
        let changed = set(&root, &rules, b"f", &wanted, How::default());
        assert_eq!(changed, Changed { atime: true, ..Changed::default() });
        assert_eq!(root.stat(b"f").unwrap().atime, (77, 0));
        let mode = root.stat(b"d").unwrap().mode;
        assert!(!set(&root, &rules, b"d", &Wanted { mode, ..wanted }, How::default()).any());
    }

    #[test]
    fn a_dry_run_tells_but_does_nothing() {
        let (_dir, root, wanted) = tree();
        let before = root.stat(b"f").unwrap();
        let rules = Rules { dry_run: true, ..archive_rules() };
        let changed = set(&root, &rules, b"f", &Wanted { mode: 0o100600, ..wanted }, How::default());
        assert!(changed.mtime && changed.mode);
        let after = root.stat(b"f").unwrap();
        assert_eq!((before.mode, before.mtime), (after.mode, after.mtime));
    }

    #[test]
    fn a_fresh_directory_keeps_an_inherited_setgid_bit() {
        let (_dir, root, wanted) = tree();
        root.chmod(b"d", 0o2755).unwrap();
        let plain = Wanted { mode: 0o040755, ..wanted };
        let rules = Rules { perms: false, ..archive_rules() };
        set(&root, &rules, b"d", &plain, How { fresh: true, ..How::default() });
        assert_eq!(root.stat(b"d").unwrap().mode & 0o7777, 0o2755);
        set(&root, &archive_rules(), b"d", &plain, How { fresh: true, ..How::default() });
        assert_eq!(root.stat(b"d").unwrap().mode & 0o7777, 0o755);
    }

    #[test]
    fn a_new_owner_does_not_cost_the_setuid_bit() {
        if users::effective_uid() != 0 {
            return; // only root may give files away
        }
        let (_dir, root, wanted) = tree();
        root.chmod(b"f", 0o4755).unwrap();
        let given = Wanted { mode: 0o104755, uid: 1234, gid: Some(4321), ..wanted };
        let changed = set(&root, &archive_rules(), b"f", &given, How::default());
        assert!(changed.owner && changed.group && changed.mode);
        let stat = root.stat(b"f").unwrap();
        assert_eq!((stat.mode, stat.uid, stat.gid), (0o104755, 1234, 4321));
    }
}
