//! A segment as `--debug=flist3` shows it.

use super::{Entry, Flags, Segment, examine::cannot_convert, inodes::further, sources::Sources};
use crate::{
    bytes,
    log::{Log, LogCode, Speaker},
    meta::ids::am_root,
    options::{Debug, Options},
    sys::stat::Stat,
    text::{number::Style, path::depth},
};

/// What the lines name besides the files themselves.
#[derive(Clone, Copy)]
pub(super) struct View {
    owner: bool,
    group: bool,
    style: Style,
}

impl View {
    /// The owner is of interest to a sender, and to who may set it.
    pub fn new(options: &Options, log: &Log) -> Self {
        let owner = options.owner && (log.speaker() == Speaker::Sender || am_root(options));
        Self { owner, group: options.group, style: Style::of_user(options.human_readable) }
    }
}

impl Segment {
    /// Says what the generator says of a segment that the receiver passed on to it; in the reference it reads the segment
    /// for itself. C: io.c wait_for_receiver
    pub fn tell_taken_over(&self, log: &Log, options: &Options) {
        for &(index, first) in &self.further {
            log.say(LogCode::Info, further(log.speaker(), index, first, self.first_index));
        }
        for (name, stop) in &self.bad_links {
            log.say(LogCode::ErrorXfer, cannot_convert(log.speaker(), "symlink data for: ", name, *stop));
        }
        if log.debug(Debug::Flist) < 2 {
            return;
        }
        log.say(LogCode::Info, bytes!["[", log.speaker().name(), "] receiving flist for dir ", self.parent]);
        for (_, entry) in self.entries() {
            log.say(LogCode::Info, bytes!["recv_file_name(", entry.path(), ")"]);
        }
        log.say(LogCode::Info, bytes!["received ", self.len(), " names"]);
        self.dump(log, View::new(options, log), None);
        log.say(LogCode::Info, "recv_file_list done");
    }

    /// Says the whole segment, if that level of `--debug=flist` is on. `sources`: on the sending side, where the files
    /// come from. C: flist.c output_flist
    pub(super) fn dump(&self, log: &Log, view: View, sources: Option<&Sources>) {
        if log.debug(Debug::Flist) < 3 {
            return;
        }
        let who = log.speaker().name();
        let low = self.entries().position(|(_, entry)| entry.is_active()).unwrap_or(0);
        let high = self.entries().rposition(|(_, entry)| entry.is_active()).map_or(-1, |at| at as i64);
        let counts = format!("] flist start={}, used={}, low={low}, high={high}", self.first_index, self.len());
        log.say(LogCode::Info, bytes!["[", who, counts]);
        for (index, entry) in self.entries() {
            let name = if entry.is_active() { name_of(entry, sources) } else { b" ".to_vec() };
            let size = view.style.integer(entry.size() as i64);
            let mut rest = format!(" mode=0{:o} len={size}", entry.mode());
            if view.owner {
                rest += &format!(" uid={}", entry.uid());
            }
            if view.group {
                let skipped = entry.flags().has(Flags::SKIP_GROUP);
                rest += &if skipped { format!(" gid=({})", entry.gid()) } else { format!(" gid={}", entry.gid()) };
            }
            let flags = if sources.is_some() { flags_of(entry) & !Flags::HLINKED.0 } else { flags_of(entry) };
            rest += &format!(" flags={flags:x}");
            log.say(LogCode::Info, bytes!["[", who, "] i=", index, " ", name, rest]);
        }
    }
}

/// Says what stands in a directory of the destination, in the list's order and by its path, as if it were a segment.
/// `us`: the effective user, whose own the flags tell; `nsec`: nanoseconds are
/// of interest. C: in flist.c get_dirlist
pub fn tell_listing(log: &Log, options: &Options, listing: &[(Vec<u8>, Stat, Flags)], us: u32, nsec: bool) {
    if log.debug(Debug::Flist) < 3 {
        return;
    }
    let (who, view) = (log.speaker().name(), View::new(options, log));
    let counts = format!("] flist start=0, used={0}, low=0, high={1}", listing.len(), listing.len() as i64 - 1);
    log.say(LogCode::Info, bytes!["[", who, counts]);
    for (index, (path, stat, flags)) in listing.iter().enumerate() {
        let slash = if stat.is_dir() { "/" } else { "" };
        let mut rest = format!("{slash} mode=0{:o} len={}", stat.mode, view.style.integer(stat.size as i64));
        if view.owner {
            rest += &format!(" uid={}", stat.uid);
        }
        if view.group {
            rest += &format!(" gid={}", stat.gid);
        }
        let nanos = if nsec { stat.mtime.1 } else { 0 };
        let ours = if stat.uid == us { Flags::TOP_DIR } else { Flags::NONE }; // C: FLAG_OWNED_BY_US
        let content = if stat.is_dir() { Flags::CONTENT_DIR } else { Flags::NONE };
        let flags = flags.with(ours).with(content).0 | of_size_and_time(stat.is_file(), stat.size, nanos);
        rest += &format!(" flags={flags:x}");
        log.say(LogCode::Info, bytes!["[", who, "] i=", index, " 0 ", path, rest]);
    }
}

/// Where it comes from or how deep it lies, then the path.
fn name_of(entry: Entry<'_>, sources: Option<&Sources>) -> Vec<u8> {
    let root = match sources {
        Some(sources) => {
            let dir = sources.get(entry.source()).and_then(|source| source.dir.clone());
            dir.unwrap_or_else(|| b"<NULL>".to_vec())
        }
        None => {
            let is_dot = entry.is_dir() && entry.base() == b".";
            bytes![depth(entry.dir()) + usize::from(!is_dot)]
        }
    };
    bytes![root, " ", entry.path(), if entry.is_dir() { "/" } else { "" }]
}

/// With the bits that the reference keeps and we do not; a sender there knows no hard links. C: FLAG_LENGTH64, FLAG_MOD_NSEC
fn flags_of(entry: Entry<'_>) -> u16 {
    entry.flags().0 | of_size_and_time(entry.is_file(), entry.size(), entry.mtime().1)
}

fn of_size_and_time(is_file: bool, size: u64, nanos: u32) -> u16 {
    let long = if is_file && size > 0xffff_ffff { 1 << 9 } else { 0 };
    let nsec = if nanos != 0 { 1 << 12 } else { 0 };
    long | nsec
}
