//! Comparing what stands at the destination with what is wanted: the quick check, attributes, itemized changes.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
    os::fd::AsFd,
};

use super::{
    Kind, MODE_BITS, Rules, Wanted,
    acl::{Acls, Which},
    fake,
};
use crate::{
    bytes,
    error::Result,
    fs::Root,
    hash::Sum,
    log::{Log, LogCode},
    proto::{item::Flags, negotiate},
    sys::{at, stat::Stat, xattr::On},
};

/// The length of an open device's contents, which its metadata need not tell; `name` is for messages.
/// C: flist.c get_device_size
pub fn device_size(mut device: &File, name: &[u8], log: &Log) -> u64 {
    match device.seek(SeekFrom::End(0)) {
        Ok(size) => {
            if let Err(error) = device.rewind() {
                log.syserr(LogCode::Error, bytes!["failed to seek device back to start: ", name], &error);
            }
            size
        }
        Err(error) => {
            log.syserr(LogCode::Error, bytes!["failed to get device size via seek: ", name], &error);
            0
        }
    }
}

impl Rules {
    fn mtime_differs(&self, wanted: &Wanted<'_>, stat: &Stat) -> bool {
        !self.same_time(stat.mtime, wanted.mtime)
    }

    fn atime_differs(&self, wanted: &Wanted<'_>, stat: &Stat) -> bool {
        self.atimes && wanted.atime.is_some_and(|atime| !self.same_time((atime, 0), (stat.atime.0, 0)))
    }

    fn perms_differ(&self, wanted: &Wanted<'_>, stat: &Stat) -> bool {
        if self.perms {
            (stat.mode ^ wanted.mode) & MODE_BITS != 0
        } else {
            self.executability && (stat.mode & 0o111 != 0) != (wanted.mode & 0o111 != 0)
        }
    }

    pub(super) fn owner_differs(&self, wanted: &Wanted<'_>, stat: &Stat) -> bool {
        self.owner && self.privileged && stat.uid != wanted.uid
    }

    pub(super) fn group_differs(&self, wanted: &Wanted<'_>, stat: &Stat) -> bool {
        self.group && wanted.gid.is_some_and(|gid| stat.gid != gid)
    }

    /// Whether owner and permissions are really changed: neither in a dry run, nor where they are only told.
    pub(super) fn sets_them(&self) -> bool {
        !self.dry_run && !self.faked
    }

    /// Whether this type's modification time is kept at all.
    fn keeps_time(&self, kind: Kind) -> bool {
        self.times
            && match kind {
                Kind::Directory => !self.omit_dir_times,
                Kind::Symlink => !self.omit_link_times,
                _ => true,
            }
    }

    /// Whether the access control lists of what stands at `path` (called `shown`) are others. C: generator.c acls_differ
    pub fn acls_differ(
        &self,
        wanted: &Wanted<'_>,
        stat: &Stat,
        (root, path): (&Root, &[u8]),
        shown: &[u8],
        log: &Log,
    ) -> bool {
        let Some(bearers) = self.acls.filter(|_| wanted.kind() != Kind::Symlink) else { return false };
        let read = |on: On<'_>| Ok(bearers.read(on, stat.mode));
        let held = match () {
            () if !bearers.have(stat.mode) => Ok(Ok(Acls::default())),
            () if stat.is_dir() => root.xattrs_anywhere(path, read), // a link may count as a directory
            () => root.xattrs(path, read),
        };
        let none = Acls::default();
        match held.unwrap_or_else(|error| Err((Which::Access, error))) {
            Ok(held) => held.differ(wanted.acls.unwrap_or(&none), wanted.mode),
            Err((which, error)) => {
                let what = bytes!["get_acl: sys_acl_get_file(", shown, ", ", which.name(), ")"];
                log.syserr(LogCode::ErrorXfer, what, &error);
                true
            }
        }
    }

    /// Whether every attribute that is kept is already right, of those that the file's metadata tells.
    /// C: in generator.c unchanged_attrs
    pub fn stat_unchanged(&self, wanted: &Wanted<'_>, stat: &Stat) -> bool {
        let is_link = wanted.kind() == Kind::Symlink;
        let time_counts = self.times && !(is_link && self.omit_link_times);
        !(time_counts && self.mtime_differs(wanted, stat)
            || !is_link && self.perms_differ(wanted, stat)
            || self.owner_differs(wanted, stat)
            || self.group_differs(wanted, stat))
    }

    /// Whether `--update` protects what stands there: it is of the same type and newer. C: in generator.c recv_generator
    pub fn is_newer(&self, wanted: &Wanted<'_>, stat: &Stat) -> bool {
        self.update
            && Kind::of(stat.mode) == wanted.kind()
            && wanted.mtime.0.saturating_sub(stat.mtime.0) < i64::from(self.modify_window)
    }

    /// The flags to report for an entry, beginning with those the caller knows; `existing` is what stood there before,
    /// `named` whether a name that is not empty goes with the item. The result fits the 16 bits of the wire.
    /// C: generator.c itemize
    pub fn item_flags(&self, wanted: &Wanted<'_>, existing: Option<&Stat>, known: Flags, named: bool) -> Flags {
        let mut flags = known;
        let Some(stat) = existing else {
            flags |= Flags::IS_NEW;
            return Flags(flags.0 & 0xffff);
        };
        let kind = wanted.kind();
        let new_time = if self.keeps_time(kind) {
            self.mtime_differs(wanted, stat)
        } else {
            known.any(Flags::TRANSFER | Flags::LOCAL_CHANGE)
                && !known.any(Flags::MATCHED)
                && (!known.any(Flags::XNAME_FOLLOWS) || named)
        };
        for (differs, flag) in [
            (kind == Kind::Regular && wanted.size != stat.size, Flags::REPORT_SIZE),
            (new_time, Flags::REPORT_TIME),
            (!matches!(kind, Kind::Directory | Kind::Symlink) && self.atime_differs(wanted, stat), Flags::REPORT_ATIME),
            (!(kind == Kind::Symlink && stat.is_symlink()) && self.perms_differ(wanted, stat), Flags::REPORT_PERMS),
            (self.owner_differs(wanted, stat), Flags::REPORT_OWNER),
            (self.group_differs(wanted, stat), Flags::REPORT_GROUP),
        ] {
            if differs {
                flags |= flag;
            }
        }
        Flags(flags.0 & 0xffff)
    }

    /// Whether the content need not be sent: same data as far as the options ask. The types must be equal already.
    /// C: generator.c quick_check_ok
    ///
    /// # Errors
    /// As `negotiate::file_sum`.
    pub fn quick_check(&self, wanted: &Wanted<'_>, stat: &Stat, root: &Root, path: &[u8]) -> Result<bool> {
        Ok(match wanted.kind() {
            Kind::Regular => return self.same_file(wanted, stat, root, path),
            Kind::Directory => true,
            Kind::Symlink => self.read_link(root, path).is_ok_and(|target| target == wanted.link_target),
            Kind::Special => (wanted.mode ^ stat.mode) & libc::S_IFMT == 0,
            Kind::Device => stat.rdev == wanted.rdev,
            Kind::Unsupported => false,
        })
    }

    /// Where a link points; what is none, though it shall be told to be one, nowhere.
    pub fn read_link(&self, root: &Root, path: &[u8]) -> io::Result<Vec<u8>> {
        if !self.faked {
            return root.read_link(path);
        }
        let (dir, leaf) = root.parent(path)?;
        at::with_name(leaf, |leaf| Ok(fake::read_link(dir.as_fd(), leaf)?.unwrap_or_default()))
    }

    fn same_file(&self, wanted: &Wanted<'_>, stat: &Stat, root: &Root, path: &[u8]) -> Result<bool> {
        if stat.size != wanted.size {
            return Ok(false);
        }
        if let Some(algorithm) = self.list_sum {
            let sum = match root.open_read(path, libc::O_NONBLOCK) {
                Ok(file) => negotiate::file_sum(algorithm, &file, stat.size)?,
                Err(_) => Sum::zero(algorithm),
            };
            return Ok(wanted.sum == Some(&*sum));
        }
        Ok(self.size_only || !self.ignore_times && !self.mtime_differs(wanted, stat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fs::Follow,
        meta::tests::{archive_rules, wanted},
    };

    fn matching(mode: u32) -> Stat {
        Stat { mode, mtime: (1_000_000_000, 7), ..Stat::default() }
    }

    fn reported(rules: &Rules, wanted: &Wanted<'_>, stat: &Stat) -> Flags {
        rules.item_flags(wanted, Some(stat), Flags::default(), false)
    }

    #[test]
    fn nothing_differs_where_all_is_the_same() {
        let rules = archive_rules();
        for mode in [0o100644, 0o040755, 0o120777, 0o010600] {
            assert!(rules.stat_unchanged(&wanted(mode), &matching(mode)), "{mode:o}");
            assert_eq!(reported(&rules, &wanted(mode), &matching(mode)), Flags(0), "{mode:o}");
        }
    }

    #[test]
    fn each_difference_has_its_flag() {
        let rules = Rules { atimes: true, ..archive_rules() };
        let same = Stat { atime: (9, 0), ..matching(0o100644) };
        let file = Wanted { atime: Some(9), ..wanted(0o100644) };
        for (stat, flag) in [
            (Stat { size: 1, ..same }, Flags::REPORT_SIZE),
            (Stat { mtime: (5, 0), ..same }, Flags::REPORT_TIME),
            (Stat { atime: (8, 0), ..same }, Flags::REPORT_ATIME),
            (Stat { mode: 0o100600, ..same }, Flags::REPORT_PERMS),
            (Stat { uid: 7, ..same }, Flags::REPORT_OWNER),
            (Stat { gid: 7, ..same }, Flags::REPORT_GROUP),
        ] {
            assert_eq!(reported(&rules, &file, &stat), flag);
        }
        let all = Stat { uid: 7, gid: 7, mode: 0o100600, ..same };
        let user = Rules { privileged: false, ..archive_rules() };
        assert_eq!(reported(&user, &file, &all), Flags::REPORT_PERMS | Flags::REPORT_GROUP);
        assert_eq!(reported(&user, &Wanted { gid: None, ..file }, &all), Flags::REPORT_PERMS);
    }

    #[test]
    fn what_is_new_reports_nothing_else() {
        let known = Flags::LOCAL_CHANGE | Flags::REPORT_CHANGE;
        let flags = archive_rules().item_flags(&wanted(0o120777), None, known, false);
        assert_eq!(flags, known | Flags::IS_NEW);
    }

    #[test]
    fn a_time_not_kept_is_reported_with_a_transfer_only() {
        let rules = Rules { times: false, ..archive_rules() };
        let (file, stat) = (wanted(0o100644), matching(0o100644));
        let with = |known, named| rules.item_flags(&file, Some(&stat), known, named).any(Flags::REPORT_TIME);
        assert!(with(Flags::TRANSFER, false));
        assert!(!with(Flags::default(), false));
        assert!(!with(Flags::TRANSFER | Flags::MATCHED, false));
        let linked = Flags::LOCAL_CHANGE | Flags::XNAME_FOLLOWS;
        assert!(!with(linked, false));
        assert!(with(linked, true));
    }

    #[test]
    fn omitted_times_do_not_count() {
        let rules = Rules { omit_dir_times: true, omit_link_times: true, ..archive_rules() };
        let old = Stat { mtime: (1, 0), ..matching(0o120777) };
        assert!(rules.stat_unchanged(&wanted(0o120777), &old));
        assert_eq!(reported(&rules, &wanted(0o120777), &old), Flags(0));
        let old_dir = Stat { mode: 0o040755, ..old };
        assert_eq!(reported(&rules, &wanted(0o040755), &old_dir), Flags(0));
    }

    #[test]
    fn update_protects_what_is_newer() {
        let rules = Rules { update: true, ..archive_rules() };
        let at = |seconds| Stat { mtime: (seconds, 0), ..matching(0o100644) };
        assert!(rules.is_newer(&wanted(0o100644), &at(1_000_000_001)));
        assert!(!rules.is_newer(&wanted(0o100644), &at(1_000_000_000)));
        assert!(!rules.is_newer(&wanted(0o040755), &at(1_000_000_001)), "another type");
        let window = Rules { modify_window: 2, ..rules };
        assert!(window.is_newer(&wanted(0o100644), &at(999_999_999)));
    }

    #[test]
    fn the_quick_check_asks_what_the_options_say() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"data").unwrap();
        std::os::unix::fs::symlink("here", dir.path().join("l")).unwrap();
        let root = Root::open(dir.path().as_os_str().as_encoded_bytes(), Follow::Never).unwrap();
        let stat = root.stat(b"f").unwrap();
        let right = Wanted { size: 4, mtime: stat.mtime, ..wanted(0o100644) };
        let late = Wanted { mtime: (stat.mtime.0 + 1, 0), ..right };
        let rules = archive_rules();
        let check = |rules: &Rules, wanted: &Wanted<'_>| rules.quick_check(wanted, &stat, &root, b"f").unwrap();
        assert!(check(&rules, &right));
        assert!(!check(&rules, &late));
        assert!(!check(&rules, &Wanted { size: 5, ..right }));
        assert!(check(&Rules { size_only: true, ..rules.clone() }, &late));
        assert!(!check(&Rules { ignore_times: true, ..rules.clone() }, &right));

        let by_sum = Rules { list_sum: Some(crate::hash::Algorithm::Md5), ..rules.clone() };
        let sum = crate::hash::Algorithm::Md5.block_sum(0, b"data");
        assert!(check(&by_sum, &Wanted { sum: Some(&sum), ..late }));
        assert!(!check(&by_sum, &Wanted { sum: Some(b"wrong"), ..right }));
        let without = Rules { list_sum: Some(crate::hash::Algorithm::None), ..rules.clone() };
        assert!(without.quick_check(&Wanted { sum: Some(&[0]), ..right }, &stat, &root, b"f").is_err());

        let link = Wanted { link_target: b"here", ..wanted(0o120777) };
        let link_stat = root.stat(b"l").unwrap();
        assert!(rules.quick_check(&link, &link_stat, &root, b"l").unwrap());
        let other = Wanted { link_target: b"there", ..link };
        assert!(!rules.quick_check(&other, &link_stat, &root, b"l").unwrap());
        let device = Wanted { rdev: (1, 3), ..wanted(0o020600) };
        let null = Stat { mode: 0o020600, rdev: (1, 3), ..Stat::default() };
        assert!(rules.quick_check(&device, &null, &root, b"f").unwrap());
        assert!(!rules.quick_check(&device, &Stat { rdev: (1, 5), ..null }, &root, b"f").unwrap());
    }
}
