//! Attributes of files: what is wanted, which of it this transfer keeps, and how the two are compared and applied.

pub mod acl;
pub mod apply;
pub mod fake;
pub mod ids;
pub mod read;
pub mod xattr;

use self::acl::{Acls, Bearers};
use crate::{
    bytes,
    hash::Algorithm,
    options::{Options, Super},
};

/// The permission bits that chmod can set. C: CHMOD_BITS
pub const MODE_BITS: u32 = 0o7777;

/// The attributes a file shall have, as the sender listed them.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// `st_mode`, type bits included.
    pub mode: u32,
    pub size: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Seconds; `None` where the list carries no access times.
    pub atime: Option<i64>,
    pub uid: u32,
    /// `None`: a group we are not allowed to set. C: FLAG_SKIP_GROUP
    pub gid: Option<u32>,
    /// Major and minor number of a device.
    pub rdev: (u32, u32),
    pub link_target: &'a [u8],
    /// The list's checksum (`--checksum`).
    pub sum: Option<&'a [u8]>,
    /// Access control lists, where they are kept; `None`: the mode says it all.
    pub acls: Option<&'a Acls>,
    /// `None`: not known; those there are stay.
    pub xattrs: Option<&'a xattr::List>,
}

/// The type of a file as the comparison sees it. C: enum filetype
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Regular,
    Directory,
    Symlink,
    Device,
    Special,
    Unsupported,
}

impl Kind {
    /// C: generator.c get_file_type
    pub fn of(mode: u32) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Self::Regular,
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            libc::S_IFBLK | libc::S_IFCHR => Self::Device,
            libc::S_IFIFO | libc::S_IFSOCK => Self::Special,
            _ => Self::Unsupported,
        }
    }
}

impl Wanted<'_> {
    pub fn kind(&self) -> Kind {
        Kind::of(self.mode)
    }
}

/// Which attributes this transfer keeps and how it decides that a file is up to date: fixed for the session.
#[derive(Clone, Debug)]
pub struct Rules {
    pub perms: bool,
    pub executability: bool,
    pub times: bool,
    pub atimes: bool,
    pub omit_dir_times: bool,
    pub omit_link_times: bool,
    pub owner: bool,
    pub group: bool,
    /// Owners may be set: root, or `--super`. C: am_root
    pub privileged: bool,
    /// What cannot be set is told by an attribute (`--fake-super`).
    pub faked: bool,
    /// Seconds of tolerance; negative: nanoseconds count.
    pub modify_window: i32,
    pub size_only: bool,
    pub ignore_times: bool,
    pub update: bool,
    /// Which extended attributes are kept, if any.
    pub xattrs: Option<xattr::Policy>,
    /// The algorithm of the list's sums, when `--checksum` decides.
    pub list_sum: Option<Algorithm>,
    /// Attributes are compared and reported, nothing is changed.
    pub dry_run: bool,
    /// The process's umask, which decides the permissions of new files unless the sender's are kept.
    pub umask: u32,
    /// Access control lists are kept, of these kinds.
    pub acls: Option<Bearers>,
}

impl Rules {
    /// `list_sum`: what the handshake settled for `--checksum`.
    pub fn new(options: &Options, list_sum: Algorithm, umask: u32) -> Self {
        Self {
            xattrs: xattr::Policy::of(options, false),
            perms: options.perms,
            executability: options.executability,
            times: options.times,
            atimes: options.atimes > 0,
            omit_dir_times: options.omit_dir_times,
            omit_link_times: options.omit_link_times,
            owner: options.owner,
            group: options.group,
            privileged: ids::am_root(options),
            faked: options.super_user == Super::Fake,
            modify_window: options.modify_window,
            size_only: options.size_only,
            ignore_times: options.ignore_times,
            update: options.update,
            list_sum: options.checksum.then_some(list_sum),
            dry_run: options.dry_run,
            umask,
            acls: options.acls.then(|| Bearers::new(options)),
        }
    }

    /// Looks anew at whose rights we have.
    pub fn take_rights(&mut self, options: &Options) {
        self.privileged = ids::am_root(options);
        self.xattrs.iter_mut().for_each(|policy| policy.take_rights(options));
    }

    /// The permissions a new file may have where the sender's are not kept.
    pub fn default_perms(&self) -> u32 {
        0o777 & !self.umask
    }

    /// The mode to make a directory with that shall have `mode`.
    pub fn new_dir_mode(&self, mode: u32) -> u32 {
        if self.faked { fake::new_dir_mode(mode) } else { mode }
    }

    /// The mode to give a file: the listed one with `--perms`, else what stands there or the umask decides.
    /// `existing` is the mode of what will be updated or replaced. C: rsync.c dest_mode
    pub fn dest_mode(&self, listed: u32, existing: Option<u32>, default_perms: u32) -> u32 {
        if self.perms {
            return listed;
        }
        let Some(existing) = existing else {
            return listed & (!MODE_BITS | default_perms);
        };
        let mut mode = (listed & !MODE_BITS) | (existing & MODE_BITS);
        if self.executability && Kind::of(listed) == Kind::Regular {
            if listed & 0o111 == 0 {
                mode &= !0o111;
            } else if existing & 0o111 == 0 {
                mode |= (mode & 0o444) >> 2;
            }
        }
        mode
    }

    /// Whether two modification times count as one. C: util1.c same_time
    pub fn same_time(&self, one: (i64, u32), other: (i64, u32)) -> bool {
        match self.modify_window {
            0 => one.0 == other.0,
            ..0 => one == other,
            window => one.0.abs_diff(other.0) <= u64::from(window.unsigned_abs()),
        }
    }
}

/// How a file is called in a message: in quotes, with the directory that relative names start from.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The directory that stands for the root of the tree; inside a module the part after the module's own path.
    pub base: Vec<u8>,
    /// The daemon module we serve.
    pub module: Option<Vec<u8>>,
}

impl Names {
    /// `"/base/name"`, or `"/base/name" (in module)`. C: util1.c full_fname
    pub fn full(&self, name: &[u8]) -> Vec<u8> {
        let (base, slash): (&[u8], &str) = match self.base.iter().any(|&byte| byte != b'/') {
            _ if name.starts_with(b"/") => (b"", ""),
            true => (&self.base, "/"),
            false => (&self.base, ""),
        };
        let quoted = bytes!["\"", base, slash, name, "\""];
        match &self.module {
            Some(module) => bytes![quoted, " (in ", module, ")"],
            None => quoted,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::options::Super;

    /// The rules of `-a` for root, umask 022.
    pub(crate) fn archive_rules() -> Rules {
        let options = Options {
            perms: true,
            times: true,
            owner: true,
            group: true,
            super_user: Super::Yes,
            ..Options::default()
        };
        Rules::new(&options, Algorithm::Md5, 0o022)
    }

    pub(crate) fn wanted(mode: u32) -> Wanted<'static> {
        Wanted {
            mode,
            size: 0,
            mtime: (1_000_000_000, 5),
            atime: None,
            uid: 0,
            gid: Some(0),
            rdev: (0, 0),
            link_target: b"",
            sum: None,
            acls: None,
            xattrs: None,
        }
    }

    #[test]
    fn a_new_file_without_perms_obeys_the_umask_and_loses_special_bits() {
        let rules = Rules { perms: false, ..archive_rules() };
        assert_eq!(rules.dest_mode(0o104777, None, rules.default_perms()), 0o100755);
        assert_eq!(rules.dest_mode(0o100660, None, rules.default_perms()), 0o100640);
    }

    #[test]
    fn an_existing_file_without_perms_keeps_its_mode() {
        let rules = Rules { perms: false, ..archive_rules() };
        assert_eq!(rules.dest_mode(0o100777, Some(0o104600), 0o755), 0o104600);
        let rules = Rules { executability: true, ..rules };
        assert_eq!(rules.dest_mode(0o100777, Some(0o100640), 0o755), 0o100750, "readers may execute");
        assert_eq!(rules.dest_mode(0o100777, Some(0o100610), 0o755), 0o100610, "executable already");
        assert_eq!(rules.dest_mode(0o100644, Some(0o100755), 0o755), 0o100644);
        assert_eq!(rules.dest_mode(0o040755, Some(0o040700), 0o755), 0o040700, "regular files only");
    }

    #[test]
    fn the_window_decides_which_times_are_the_same() {
        let at = |modify_window| Rules { modify_window, ..archive_rules() };
        assert!(at(0).same_time((7, 1), (7, 2)));
        assert!(!at(0).same_time((7, 0), (8, 0)));
        assert!(!at(-1).same_time((7, 1), (7, 2)));
        assert!(at(-1).same_time((7, 2), (7, 2)));
        assert!(at(2).same_time((7, 0), (9, 9)) && at(2).same_time((9, 9), (7, 0)));
        assert!(!at(2).same_time((7, 0), (10, 0)));
        assert!(!at(1).same_time((i64::MIN, 0), (i64::MAX, 0)));
    }

    #[test]
    fn full_names_start_at_the_base() {
        let named = |base: &str| Names { base: base.into(), module: None };
        assert_eq!(named("/a/b").full(b"c/d"), b"\"/a/b/c/d\"");
        assert_eq!(named("/").full(b"c"), b"\"/c\"");
        assert_eq!(named("/a").full(b"/x"), b"\"/x\"");
        let module = Names { base: Vec::new(), module: Some(b"mod".to_vec()) };
        assert_eq!(module.full(b"c"), b"\"c\" (in mod)");
    }
}
