//! Comparing what stands at the destination with what is wanted: the quick check, attributes, itemized changes.

use super::{Kind, MODE_BITS, Rules, Wanted};
use crate::{
    fs::Root,
    hash::{FileSum, Sum},
    sys::stat::Stat,
};

/// The bits of an item, as they travel on the wire. C: ITEM_*
mod item {
    pub const REPORT_ATIME: u32 = 1 << 0;
    pub const REPORT_SIZE: u32 = 1 << 2;
    pub const REPORT_TIME: u32 = 1 << 3;
    pub const REPORT_PERMS: u32 = 1 << 4;
    pub const REPORT_OWNER: u32 = 1 << 5;
    pub const REPORT_GROUP: u32 = 1 << 6;
    pub const XNAME_FOLLOWS: u32 = 1 << 12;
    pub const IS_NEW: u32 = 1 << 13;
    pub const LOCAL_CHANGE: u32 = 1 << 14;
    pub const TRANSFER: u32 = 1 << 15;
}

/// Which part of an itemized change the caller already knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// Bits to start from (`TRANSFER`, `LOCAL_CHANGE`, `REPORT_CHANGE` …).
    pub bits: u32,
    /// The item carries a name that is not empty (a hard link's target, a fuzzy basis).
    pub named: bool,
    /// The data was found elsewhere in the destination, so a time that is not kept has not changed. C: ITEM_MATCHED
    pub matched: bool,
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

    /// Whether this type's modification time is kept at all.
    fn keeps_time(&self, kind: Kind) -> bool {
        self.times
            && match kind {
                Kind::Directory => !self.omit_dir_times,
                Kind::Symlink => !self.omit_link_times,
                _ => true,
            }
    }

    /// Whether every attribute that is kept is already right. C: generator.c unchanged_attrs
    pub fn attrs_unchanged(&self, wanted: &Wanted<'_>, stat: &Stat) -> bool {
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

    /// The item bits to report for an entry; `existing` is what stood there before. C: generator.c itemize
    ///
    /// The result fits the 16 bits of the wire.
    pub fn item_bits(&self, wanted: &Wanted<'_>, existing: Option<&Stat>, known: Known) -> u32 {
        let Some(stat) = existing else {
            return (known.bits | item::IS_NEW) & 0xffff;
        };
        let kind = wanted.kind();
        let mut bits = known.bits;
        if kind == Kind::Regular && wanted.size != stat.size {
            bits |= item::REPORT_SIZE;
        }
        let new_time = if self.keeps_time(kind) {
            self.mtime_differs(wanted, stat)
        } else {
            bits & (item::TRANSFER | item::LOCAL_CHANGE) != 0
                && !known.matched
                && (bits & item::XNAME_FOLLOWS == 0 || known.named)
        };
        for (differs, bit) in [
            (new_time, item::REPORT_TIME),
            (!matches!(kind, Kind::Directory | Kind::Symlink) && self.atime_differs(wanted, stat), item::REPORT_ATIME),
            (kind != Kind::Symlink && self.perms_differ(wanted, stat), item::REPORT_PERMS),
            (self.owner_differs(wanted, stat), item::REPORT_OWNER),
            (self.group_differs(wanted, stat), item::REPORT_GROUP),
        ] {
            if differs {
                bits |= bit;
            }
        }
        bits & 0xffff
    }

    /// Whether the content need not be sent: same data as far as the options ask. The types must be equal already.
    /// C: generator.c quick_check_ok
    pub fn quick_check(&self, wanted: &Wanted<'_>, stat: &Stat, root: &Root, path: &[u8]) -> bool {
        match wanted.kind() {
            Kind::Regular => self.same_file(wanted, stat, root, path),
            Kind::Directory => true,
            Kind::Symlink => root.read_link(path).is_ok_and(|target| target == wanted.link_target),
            Kind::Special => (wanted.mode ^ stat.mode) & libc::S_IFMT == 0,
            Kind::Device => stat.rdev == wanted.rdev,
            Kind::Unsupported => false,
        }
    }

    fn same_file(&self, wanted: &Wanted<'_>, stat: &Stat, root: &Root, path: &[u8]) -> bool {
        if stat.size != wanted.size {
            return false;
        }
        if let Some(algorithm) = self.list_sum {
            let sum = match root.open_read(path, libc::O_NONBLOCK) {
                Ok(mut file) => FileSum::of_file(algorithm, &mut file, stat.size),
                Err(_) => Sum::zero(algorithm),
            };
            return wanted.sum == Some(&*sum);
        }
        self.size_only || !self.ignore_times && !self.mtime_differs(wanted, stat)
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

    #[test]
    fn nothing_differs_where_all_is_the_same() {
        let rules = archive_rules();
        for mode in [0o100644, 0o040755, 0o120777, 0o010600] {
            assert!(rules.attrs_unchanged(&wanted(mode), &matching(mode)), "{mode:o}");
            assert_eq!(rules.item_bits(&wanted(mode), Some(&matching(mode)), Known::default()), 0, "{mode:o}");
        }
    }

    #[test]
    fn each_difference_has_its_bit() {
        let rules = Rules { atimes: true, ..archive_rules() };
        let same = Stat { atime: (9, 0), ..matching(0o100644) };
        let file = Wanted { atime: Some(9), ..wanted(0o100644) };
        for (stat, bit) in [
            (Stat { size: 1, ..same }, item::REPORT_SIZE),
            (Stat { mtime: (5, 0), ..same }, item::REPORT_TIME),
            (Stat { atime: (8, 0), ..same }, item::REPORT_ATIME),
            (Stat { mode: 0o100600, ..same }, item::REPORT_PERMS),
            (Stat { uid: 7, ..same }, item::REPORT_OWNER),
            (Stat { gid: 7, ..same }, item::REPORT_GROUP),
        ] {
            assert_eq!(rules.item_bits(&file, Some(&stat), Known::default()), bit);
        }
        let all = Stat { uid: 7, gid: 7, mode: 0o100600, ..same };
        let user = Rules { privileged: false, ..archive_rules() };
        assert_eq!(user.item_bits(&file, Some(&all), Known::default()), item::REPORT_PERMS | item::REPORT_GROUP);
        let skipped = Wanted { gid: None, ..file };
        assert_eq!(user.item_bits(&skipped, Some(&all), Known::default()), item::REPORT_PERMS);
    }

    #[test]
    fn what_is_new_reports_nothing_else() {
        let known = Known { bits: item::LOCAL_CHANGE | 1 << 1, ..Known::default() };
        let bits = archive_rules().item_bits(&wanted(0o120777), None, known);
        assert_eq!(bits, item::LOCAL_CHANGE | 1 << 1 | item::IS_NEW);
    }

    #[test]
    fn a_time_not_kept_is_reported_with_a_transfer_only() {
        let rules = Rules { times: false, ..archive_rules() };
        let (file, stat) = (wanted(0o100644), matching(0o100644));
        let with = |known| rules.item_bits(&file, Some(&stat), known) & item::REPORT_TIME != 0;
        assert!(with(Known { bits: item::TRANSFER, ..Known::default() }));
        assert!(!with(Known::default()));
        assert!(!with(Known { bits: item::TRANSFER, matched: true, ..Known::default() }));
        let linked = Known { bits: item::LOCAL_CHANGE | item::XNAME_FOLLOWS, ..Known::default() };
        assert!(!with(linked));
        assert!(with(Known { named: true, ..linked }));
    }

    #[test]
    fn omitted_times_do_not_count() {
        let rules = Rules { omit_dir_times: true, omit_link_times: true, ..archive_rules() };
        let old = Stat { mtime: (1, 0), ..matching(0o120777) };
        assert!(rules.attrs_unchanged(&wanted(0o120777), &old));
        assert_eq!(rules.item_bits(&wanted(0o120777), Some(&old), Known::default()), 0);
        let old_dir = Stat { mode: 0o040755, ..old };
        assert_eq!(rules.item_bits(&wanted(0o040755), Some(&old_dir), Known::default()), 0);
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
        let check = |rules: &Rules, wanted: &Wanted<'_>| rules.quick_check(wanted, &stat, &root, b"f");
        assert!(check(&rules, &right));
        assert!(!check(&rules, &late));
        assert!(!check(&rules, &Wanted { size: 5, ..right }));
        assert!(check(&Rules { size_only: true, ..rules.clone() }, &late));
        assert!(!check(&Rules { ignore_times: true, ..rules.clone() }, &right));

        let by_sum = Rules { list_sum: Some(crate::hash::Algorithm::Md5), ..rules.clone() };
        let sum = FileSum::of_file(crate::hash::Algorithm::Md5, &mut &b"data"[..], 4);
        assert!(check(&by_sum, &Wanted { sum: Some(&sum), ..late }));
        assert!(!check(&by_sum, &Wanted { sum: Some(b"wrong"), ..right }));

        let link = Wanted { link_target: b"here", ..wanted(0o120777) };
        let link_stat = root.stat(b"l").unwrap();
        assert!(rules.quick_check(&link, &link_stat, &root, b"l"));
        let other = Wanted { link_target: b"there", ..link };
        assert!(!rules.quick_check(&other, &link_stat, &root, b"l"));
        let device = Wanted { rdev: (1, 3), ..wanted(0o020600) };
        let null = Stat { mode: 0o020600, rdev: (1, 3), ..Stat::default() };
        assert!(rules.quick_check(&device, &null, &root, b"f"));
        assert!(!rules.quick_check(&device, &Stat { rdev: (1, 5), ..null }, &root, b"f"));
    }
}
