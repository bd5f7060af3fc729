//! The eleven columns that tell what a run does to one entry (`%i`, `-i`).

use crate::proto::item::Flags;

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
pub fn columns(mode: u32, changes: Flags, run: Run) -> [u8; 11] {
    if changes.has(Flags::DELETED) {
        return *b"*deleting  ";
    }
    let kind = mode & libc::S_IFMT;
    let link = kind == libc::S_IFLNK;
    let time_set = run.times && !(link && (!run.link_times || changes.has(Flags::REPORT_TIMEFAIL)));
    let mark = |bits, letter| if changes.has(bits) { letter } else { b'.' };
    let mut columns = [
        update(changes, run),
        kind_letter(kind),
        mark(Flags::REPORT_CHANGE, b'c'),
        if link { b'.' } else { mark(Flags::REPORT_SIZE, b's') },
        mark(Flags::REPORT_TIME, if time_set { b't' } else { b'T' }),
        mark(Flags::REPORT_PERMS, b'p'),
        mark(Flags::REPORT_OWNER, b'o'),
        mark(Flags::REPORT_GROUP, b'g'),
        other_times(changes),
        mark(Flags::REPORT_ACL, b'a'),
        mark(Flags::REPORT_XATTR, b'x'),
    ];
    let (first, rest) = columns.split_at_mut(2);
    if changes.has(Flags::IS_NEW) {
        rest.fill(b'+');
    } else if changes.has(Flags::MISSING_DATA) {
        rest.fill(b'?');
    } else if matches!(first, [b'.' | b'h' | b'c', _]) && rest.iter().all(|&letter| letter == b'.') {
        rest.fill(b' ');
    }
    columns
}

fn update(changes: Flags, run: Run) -> u8 {
    if changes.has(Flags::LOCAL_CHANGE) {
        if changes.has(Flags::XNAME_FOLLOWS) { b'h' } else { b'c' }
    } else if !changes.has(Flags::TRANSFER) {
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

fn other_times(changes: Flags) -> u8 {
    match (changes.has(Flags::REPORT_ATIME), changes.has(Flags::REPORT_CRTIME)) {
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

    fn show(mode: u32, changes: &[Flags], run: Run) -> String {
        let changes = changes.iter().fold(Flags::default(), |all, &one| all | one);
        String::from_utf8(columns(mode, changes, run).to_vec()).unwrap()
    }

    #[test]
    fn new_entries_are_all_plus() {
        assert_eq!(show(libc::S_IFREG, &[Flags::IS_NEW, Flags::TRANSFER], RUN), ">f+++++++++");
        let out = Run { outgoing: true, ..RUN };
        assert_eq!(show(libc::S_IFREG, &[Flags::IS_NEW, Flags::TRANSFER], out), "<f+++++++++");
        assert_eq!(show(libc::S_IFDIR, &[Flags::IS_NEW, Flags::LOCAL_CHANGE], RUN), "cd+++++++++");
        assert_eq!(show(libc::S_IFLNK, &[Flags::IS_NEW, Flags::LOCAL_CHANGE], RUN), "cL+++++++++");
        assert_eq!(show(libc::S_IFCHR, &[Flags::IS_NEW, Flags::LOCAL_CHANGE], RUN), "cD+++++++++");
        assert_eq!(show(libc::S_IFIFO, &[Flags::IS_NEW, Flags::LOCAL_CHANGE], RUN), "cS+++++++++");
    }

    #[test]
    fn each_attribute_has_its_column() {
        let all = [
            Flags::TRANSFER,
            Flags::REPORT_CHANGE,
            Flags::REPORT_SIZE,
            Flags::REPORT_TIME,
            Flags::REPORT_PERMS,
            Flags::REPORT_OWNER,
            Flags::REPORT_GROUP,
            Flags::REPORT_ATIME,
            Flags::REPORT_ACL,
            Flags::REPORT_XATTR,
        ];
        assert_eq!(show(libc::S_IFREG, &all, RUN), ">fcstpoguax");
        assert_eq!(show(libc::S_IFREG, &[Flags::REPORT_CRTIME], RUN), ".f......n..");
        assert_eq!(show(libc::S_IFREG, &[Flags::REPORT_CRTIME, Flags::REPORT_ATIME], RUN), ".f......b..");
        assert_eq!(show(libc::S_IFDIR, &[Flags::REPORT_TIME], RUN), ".d..t......");
    }

    #[test]
    fn times_that_are_not_kept_are_capital() {
        let no_times = Run { times: false, ..RUN };
        assert_eq!(show(libc::S_IFREG, &[Flags::TRANSFER, Flags::REPORT_TIME], no_times), ">f..T......");
        let no_link_times = Run { link_times: false, ..RUN };
        assert_eq!(show(libc::S_IFREG, &[Flags::TRANSFER, Flags::REPORT_TIME], no_link_times), ">f..t......");
        assert_eq!(show(libc::S_IFLNK, &[Flags::REPORT_TIME], no_link_times), ".L..T......");
        assert_eq!(show(libc::S_IFLNK, &[Flags::REPORT_TIME, Flags::REPORT_TIMEFAIL], RUN), ".L..T......");
    }

    #[test]
    fn nothing_changed_is_blank_unless_data_moved() {
        assert_eq!(show(libc::S_IFREG, &[], RUN), ".f         ");
        assert_eq!(show(libc::S_IFREG, &[Flags::LOCAL_CHANGE, Flags::XNAME_FOLLOWS], RUN), "hf         ");
        assert_eq!(show(libc::S_IFREG, &[Flags::TRANSFER], RUN), ">f.........");
    }

    #[test]
    fn unknown_and_deleted() {
        assert_eq!(show(libc::S_IFREG, &[Flags::TRANSFER, Flags::MISSING_DATA], RUN), ">f?????????");
        assert_eq!(show(libc::S_IFDIR, &[Flags::DELETED], RUN), "*deleting  ");
    }
}
