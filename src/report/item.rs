//! The eleven columns that tell what a run does to one entry (`%i`, `-i`).

/// What the columns are made from; the low sixteen bits are those that travel on the wire. C: ITEM_*
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changes(pub u32);

impl Changes {
    pub const ATIME: Self = Self(1 << 0);
    /// A checksum or a content difference other than size.
    pub const CHANGE: Self = Self(1 << 1);
    /// Regular files.
    pub const SIZE: Self = Self(1 << 2);
    /// Symlinks: the time could not be set.
    pub const TIME_FAILED: Self = Self(1 << 2);
    pub const TIME: Self = Self(1 << 3);
    pub const PERMS: Self = Self(1 << 4);
    pub const OWNER: Self = Self(1 << 5);
    pub const GROUP: Self = Self(1 << 6);
    pub const ACL: Self = Self(1 << 7);
    pub const XATTR: Self = Self(1 << 8);
    pub const CRTIME: Self = Self(1 << 10);
    pub const BASIS_FOLLOWS: Self = Self(1 << 11);
    pub const NAME_FOLLOWS: Self = Self(1 << 12);
    pub const NEW: Self = Self(1 << 13);
    pub const LOCAL: Self = Self(1 << 14);
    pub const TRANSFER: Self = Self(1 << 15);
    /// Not on the wire: a dry run cannot know.
    pub const MISSING_DATA: Self = Self(1 << 16);
    /// Not on the wire: the entry goes.
    pub const DELETED: Self = Self(1 << 17);

    pub fn has(self, bits: Self) -> bool {
        self.0 & bits.0 == bits.0
    }

    pub fn has_any(self, bits: Self) -> bool {
        self.0 & bits.0 != 0
    }

    pub fn with(self, bits: Self) -> Self {
        Self(self.0 | bits.0)
    }

    /// What is worth a line by itself. C: SIGNIFICANT_ITEM_FLAGS
    pub fn significant(self) -> bool {
        self.0 & !(Self::BASIS_FOLLOWS.0 | Self::NAME_FOLLOWS.0 | Self::LOCAL.0) != 0
    }
}

/// What the columns need to know of the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Run {
    /// Data leaves this machine: `<` rather than `>`. False in a local copy, whichever end speaks.
    pub outgoing: bool,
    /// `-t`: a time that differs is set to the source's (`t`), not to the time of transfer (`T`).
    pub times: bool,
    /// The receiving side can set a symlink's time.
    pub link_times: bool,
}

/// `>f+++++++++`, `.d..t......`, `*deleting  `. C: log.c log_formatted
pub fn columns(mode: u32, changes: Changes, run: Run) -> [u8; 11] {
    if changes.has(Changes::DELETED) {
        return *b"*deleting  ";
    }
    let kind = mode & libc::S_IFMT;
    let link = kind == libc::S_IFLNK;
    let time_set = run.times && !(link && (!run.link_times || changes.has(Changes::TIME_FAILED)));
    let mark = |bits, letter| if changes.has(bits) { letter } else { b'.' };
    let mut columns = [
        update(changes, run),
        kind_letter(kind),
        mark(Changes::CHANGE, b'c'),
        if link { b'.' } else { mark(Changes::SIZE, b's') },
        mark(Changes::TIME, if time_set { b't' } else { b'T' }),
        mark(Changes::PERMS, b'p'),
        mark(Changes::OWNER, b'o'),
        mark(Changes::GROUP, b'g'),
        other_times(changes),
        mark(Changes::ACL, b'a'),
        mark(Changes::XATTR, b'x'),
    ];
    let (first, rest) = columns.split_at_mut(2);
    if changes.has(Changes::NEW) {
        rest.fill(b'+');
    } else if changes.has(Changes::MISSING_DATA) {
        rest.fill(b'?');
    } else if matches!(first, [b'.' | b'h' | b'c', _]) && rest.iter().all(|&letter| letter == b'.') {
        rest.fill(b' ');
    }
    columns
}

fn update(changes: Changes, run: Run) -> u8 {
    if changes.has(Changes::LOCAL) {
        if changes.has(Changes::NAME_FOLLOWS) { b'h' } else { b'c' }
    } else if !changes.has(Changes::TRANSFER) {
        b'.'
    } else if run.outgoing {
        b'<'
    } else {
        b'>'
    }
}

fn kind_letter(kind: u32) -> u8 {
    match kind {
        libc::S_IFLNK => b'L',
        libc::S_IFDIR => b'd',
        libc::S_IFIFO | libc::S_IFSOCK => b'S',
        libc::S_IFBLK | libc::S_IFCHR => b'D',
        _ => b'f',
    }
}

fn other_times(changes: Changes) -> u8 {
    match (changes.has(Changes::ATIME), changes.has(Changes::CRTIME)) {
        (false, false) => b'.',
        (true, true) => b'b',
        (true, false) => b'u',
        (false, true) => b'n',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = Run { outgoing: false, times: true, link_times: true };

    fn show(mode: u32, changes: &[Changes], run: Run) -> String {
        let changes = changes.iter().fold(Changes::default(), |all, &one| all.with(one));
        String::from_utf8(columns(mode, changes, run).to_vec()).unwrap()
    }

    #[test]
    fn new_entries_are_all_plus() {
        assert_eq!(show(libc::S_IFREG, &[Changes::NEW, Changes::TRANSFER], RUN), ">f+++++++++");
        let out = Run { outgoing: true, ..RUN };
        assert_eq!(show(libc::S_IFREG, &[Changes::NEW, Changes::TRANSFER], out), "<f+++++++++");
        assert_eq!(show(libc::S_IFDIR, &[Changes::NEW, Changes::LOCAL], RUN), "cd+++++++++");
        assert_eq!(show(libc::S_IFLNK, &[Changes::NEW, Changes::LOCAL], RUN), "cL+++++++++");
        assert_eq!(show(libc::S_IFCHR, &[Changes::NEW, Changes::LOCAL], RUN), "cD+++++++++");
        assert_eq!(show(libc::S_IFIFO, &[Changes::NEW, Changes::LOCAL], RUN), "cS+++++++++");
    }

    #[test]
    fn each_attribute_has_its_column() {
        let all = [
            Changes::TRANSFER,
            Changes::CHANGE,
            Changes::SIZE,
            Changes::TIME,
            Changes::PERMS,
            Changes::OWNER,
            Changes::GROUP,
            Changes::ATIME,
            Changes::ACL,
            Changes::XATTR,
        ];
        assert_eq!(show(libc::S_IFREG, &all, RUN), ">fcstpoguax");
        assert_eq!(show(libc::S_IFREG, &[Changes::CRTIME], RUN), ".f......n..");
        assert_eq!(show(libc::S_IFREG, &[Changes::CRTIME, Changes::ATIME], RUN), ".f......b..");
        assert_eq!(show(libc::S_IFDIR, &[Changes::TIME], RUN), ".d..t......");
    }

    #[test]
    fn times_that_are_not_kept_are_capital() {
        let no_times = Run { times: false, ..RUN };
        assert_eq!(show(libc::S_IFREG, &[Changes::TRANSFER, Changes::TIME], no_times), ">f..T......");
        let no_link_times = Run { link_times: false, ..RUN };
        assert_eq!(show(libc::S_IFREG, &[Changes::TRANSFER, Changes::TIME], no_link_times), ">f..t......");
        assert_eq!(show(libc::S_IFLNK, &[Changes::TIME], no_link_times), ".L..T......");
        assert_eq!(show(libc::S_IFLNK, &[Changes::TIME, Changes::TIME_FAILED], RUN), ".L..T......");
    }

    #[test]
    fn nothing_changed_is_blank_unless_data_moved() {
        assert_eq!(show(libc::S_IFREG, &[], RUN), ".f         ");
        assert_eq!(show(libc::S_IFREG, &[Changes::LOCAL, Changes::NAME_FOLLOWS], RUN), "hf         ");
        assert_eq!(show(libc::S_IFREG, &[Changes::TRANSFER], RUN), ">f.........");
    }

    #[test]
    fn unknown_and_deleted() {
        assert_eq!(show(libc::S_IFREG, &[Changes::TRANSFER, Changes::MISSING_DATA], RUN), ">f?????????");
        assert_eq!(show(libc::S_IFDIR, &[Changes::DELETED], RUN), "*deleting  ");
    }

    #[test]
    fn following_fields_alone_are_not_significant() {
        assert!(!Changes::LOCAL.with(Changes::NAME_FOLLOWS).with(Changes::BASIS_FOLLOWS).significant());
        assert!(Changes::TRANSFER.significant());
    }
}
