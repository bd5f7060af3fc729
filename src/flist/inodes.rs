//! Which names belong to one file: the sender's table of inodes, from protocol 30 on, and before that the receiver's.

use std::collections::hash_map::Entry;

use super::HardLink;
use crate::{
    bytes,
    log::{Log, LogCode, Speaker, table::Table},
    options::Debug,
    sys::stat::Stat,
};

/// By device, then by inode: the number of the file. C: hlink.c dev_tbl
pub(super) struct Inodes {
    devices: Option<Devices>,
    /// How many files have a number.
    count: i32,
    /// Sending side: the protocol.
    version: u8,
}

type Devices = Table<u64, Table<u64, i32>>;

/// How big tables begin. C: in hlink.c init_hard_links, idev_find
const DEVICES: usize = 16;
const INODES: usize = 512;

impl Inodes {
    /// For a list that comes in; `expected`: with inodes to be numbered.
    pub fn new(expected: bool, log: &Log) -> Self {
        Self { devices: expected.then(|| Table::new(DEVICES, log)), count: 0, version: 0 }
    }

    /// For a list that is made.
    pub fn for_list(version: u8, log: &Log) -> Self {
        Self { version, ..Self::new(version >= 30, log) }
    }

    /// No more names will come. C: hlink.c idev_destroy
    pub fn end(&mut self, log: &Log) {
        if let Some(devices) = self.devices.take() {
            devices.values().for_each(|inodes| inodes.tell_end(log));
            devices.tell_end(log);
        }
    }

    /// What the list says of a file's further names; `index` is where it will stand. Before protocol 28 every regular
    /// file tells its inode. C: the end of flist.c make_file
    pub fn link(&mut self, stat: &Stat, index: i32, first_index: i32, log: &Log) -> Option<HardLink> {
        let told = if self.version < 28 { stat.is_file() } else { stat.nlink > 1 && !stat.is_dir() };
        if !told {
            return None;
        }
        if self.version < 30 {
            return Some(HardLink::Inode(stat.dev, stat.ino));
        }
        let first = self.find(stat.dev, stat.ino, index, log);
        let level = log.debug(Debug::Hlink);
        if level >= 1 && first != index {
            log.say(LogCode::Info, further(log.speaker(), index, first, first_index));
        } else if level >= 3 && first == index {
            let line = format!("] dev:inode for #{index} is {}:{}", stat.dev, stat.ino);
            log.say(LogCode::Info, bytes!["[", log.speaker().name(), line]);
        }
        Some(HardLink::Group(first))
    }

    /// The number of a file by what came over the wire before protocol 30: they count up.
    pub fn number(&mut self, device: u64, inode: u64, log: &Log) -> i32 {
        let count = self.count;
        let number = self.find(device, inode, count, log);
        if number == count {
            self.count = count.saturating_add(1); // the list is full before this is
        }
        number
    }

    /// A file's number, `new` if it has none yet. C: hlink.c idev_find
    fn find(&mut self, device: u64, inode: u64, new: i32, log: &Log) -> i32 {
        let devices = self.devices.get_or_insert_with(|| Table::new(DEVICES, log));
        let inodes = match devices.entry(device) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(room) => {
                let inodes = Table::new(INODES, log);
                if log.debug(Debug::Hlink) >= 3 {
                    let line = format!("] created hashtable for dev {device}");
                    log.say(LogCode::Info, bytes!["[", log.speaker().name(), line]);
                }
                room.insert(inodes)
            }
        };
        let number = *inodes.entry(inode).or_insert(new);
        inodes.tell_growth(log);
        number
    }
}

/// The line about a further name; those of one segment are sent without attributes.
pub(super) fn further(speaker: Speaker, index: i32, first: i32, first_index: i32) -> Vec<u8> {
    let how = if first >= first_index { "" } else { "un" };
    bytes!["[", speaker.name(), format!("] #{index} hard-links #{first} ({how}abbrev)")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(kind: u32, dev: u64, ino: u64, nlink: u64) -> Stat {
        Stat { mode: kind | 0o644, dev, ino, nlink, ..Stat::default() }
    }

    fn inodes(version: u8) -> impl FnMut(&Stat, i32) -> Option<HardLink> {
        let log = Log::unheard(Speaker::Sender);
        let mut inodes = Inodes::for_list(version, &log);
        move |stat, index| inodes.link(stat, index, 1, &log)
    }

    #[test]
    fn the_first_name_gives_the_number() {
        let mut link = inodes(30);
        let file = stat(libc::S_IFREG, 1, 7, 2);
        assert_eq!(link(&file, 3), Some(HardLink::Group(3)));
        assert_eq!(link(&stat(libc::S_IFREG, 2, 7, 2), 4), Some(HardLink::Group(4)), "another device");
        assert_eq!(link(&file, 5), Some(HardLink::Group(3)));
        assert_eq!(link(&stat(libc::S_IFREG, 1, 8, 1), 6), None);
        assert_eq!(link(&stat(libc::S_IFDIR, 1, 9, 2), 7), None);
        assert_eq!(link(&stat(libc::S_IFLNK, 1, 10, 2), 8), Some(HardLink::Group(8)));
    }

    #[test]
    fn older_protocols_tell_the_inode() {
        let single = stat(libc::S_IFREG, 1, 7, 1);
        assert_eq!(inodes(29)(&single, 0), None);
        assert_eq!(inodes(27)(&single, 0), Some(HardLink::Inode(1, 7)));
        let pipe = stat(libc::S_IFIFO, 1, 7, 2);
        assert_eq!(inodes(29)(&pipe, 0), Some(HardLink::Inode(1, 7)));
        assert_eq!(inodes(27)(&pipe, 0), None);
    }

    #[test]
    fn numbers_count_files() {
        let log = Log::unheard(Speaker::Receiver);
        let mut inodes = Inodes::new(true, &log);
        let mut number = |device, inode| inodes.number(device, inode, &log);
        assert_eq!([number(0, 0), number(u64::MAX, 0), number(0, 0), number(0, 1)], [0, 1, 0, 2]);
    }
}
