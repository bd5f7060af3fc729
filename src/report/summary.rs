//! What is said at the end of a run: the `--stats` block and the two closing lines.

use crate::{bytes, log::LogCode, sys::heap::Heap, text::number::Style};

/// Entries by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// All of them, regular files included.
    pub total: u64,
    pub dirs: u64,
    pub links: u64,
    pub devices: u64,
    pub specials: u64,
}

impl Counts {
    /// Counts one entry by its mode.
    pub fn add(&mut self, mode: u32) {
        self.total += 1;
        match mode & libc::S_IFMT {
            libc::S_IFREG => {}
            libc::S_IFDIR => self.dirs += 1,
            libc::S_IFLNK => self.links += 1,
            libc::S_IFBLK | libc::S_IFCHR => self.devices += 1,
            _ => self.specials += 1,
        }
    }

    /// `1,234 (reg: 1,200, dir: 34)`.
    fn text(&self, style: Style) -> String {
        let style = style.without_units();
        let number = |count: u64| style.integer(count as i64);
        let others = self.dirs + self.links + self.devices + self.specials;
        let kinds = [
            ("reg", self.total.saturating_sub(others)),
            ("dir", self.dirs),
            ("link", self.links),
            ("dev", self.devices),
            ("special", self.specials),
        ];
        let shown: Vec<String> = kinds
            .into_iter()
            .filter(|&(_, count)| count > 0)
            .map(|(kind, count)| format!("{kind}: {}", number(count)))
            .collect();
        if self.total == 0 { number(0) } else { format!("{} ({})", number(self.total), shown.join(", ")) }
    }
}

/// What a run counted. C: struct stats
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    pub files: Counts,
    pub created: Counts,
    pub deleted: Counts,
    /// Regular files whose data was asked for.
    pub transferred: u64,
    /// Bytes of all files in the list.
    pub total_size: u64,
    /// Bytes of the files transferred.
    pub transferred_size: u64,
    pub literal: u64,
    pub matched: u64,
    /// Bytes the file list took on the wire.
    pub list_size: u64,
    /// Milliseconds.
    pub list_build: u64,
    /// Milliseconds.
    pub list_transfer: u64,
    pub sent: u64,
    pub received: u64,
}

/// What else the closing lines depend on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ending {
    pub style: Style,
    pub protocol: u8,
    /// Whole seconds on the clock from start to end; `None`: the clock could not be read.
    pub seconds: Option<i64>,
    /// 1: two closing lines; 2: the whole block. C: INFO_GTE(STATS, n)
    pub level: u8,
    pub dry_run: bool,
    pub batch_only: bool,
}

/// The lines of the summary in order, each without its newline, with whom they are for. C: main.c output_summary
pub fn lines(stats: &Stats, ending: &Ending) -> Vec<(LogCode, Vec<u8>)> {
    let mut lines = Vec::new();
    if ending.level >= 2 {
        lines.push((LogCode::Client, Vec::new()));
        lines.extend(block(stats, ending).into_iter().map(|line| (LogCode::Info, line)));
    }
    if ending.level >= 1 {
        lines.push((LogCode::Client, Vec::new()));
        lines.extend(closing(stats, ending).map(|line| (LogCode::Info, line)));
    }
    lines
}

fn block(stats: &Stats, ending: &Ending) -> Vec<Vec<u8>> {
    let style = ending.style;
    let human = |number: u64| style.integer(number as i64);
    let seconds = |millis: u64| style.without_units().decimal(millis as f64 / 1000.0, 3);
    let mut lines = vec![bytes!["Number of files: ", stats.files.text(style)]];
    if ending.protocol >= 29 {
        lines.push(bytes!["Number of created files: ", stats.created.text(style)]);
    }
    if ending.protocol >= 31 {
        lines.push(bytes!["Number of deleted files: ", stats.deleted.text(style)]);
    }
    lines.extend([
        bytes!["Number of regular files transferred: ", style.without_units().integer(stats.transferred as i64)],
        bytes!["Total file size: ", human(stats.total_size), " bytes"],
        bytes!["Total transferred file size: ", human(stats.transferred_size), " bytes"],
        bytes!["Literal data: ", human(stats.literal), " bytes"],
        bytes!["Matched data: ", human(stats.matched), " bytes"],
        bytes!["File list size: ", human(stats.list_size)],
    ]);
    if stats.list_build > 0 {
        lines.push(bytes!["File list generation time: ", seconds(stats.list_build), " seconds"]);
        lines.push(bytes!["File list transfer time: ", seconds(stats.list_transfer), " seconds"]);
    }
    lines.push(bytes!["Total bytes sent: ", human(stats.sent)]);
    lines.push(bytes!["Total bytes received: ", human(stats.received)]);
    lines
}

fn closing(stats: &Stats, ending: &Ending) -> [Vec<u8>; 2] {
    let style = ending.style;
    let human = |number: u64| style.integer(number as i64);
    let traffic = (stats.sent + stats.received) as f64;
    let speed = match ending.seconds {
        Some(seconds) => style.decimal(traffic / (0.5 + seconds as f64), 2),
        None => "UNKNOWN".into(),
    };
    let speedup = style.without_units().decimal(stats.total_size as f64 / traffic, 2);
    let note = match (ending.batch_only, ending.dry_run) {
        (true, _) => " (BATCH ONLY)",
        (false, true) => " (DRY RUN)",
        (false, false) => "",
    };
    [
        bytes!["sent ", human(stats.sent), " bytes  received ", human(stats.received), " bytes  ", speed, " bytes/sec"],
        bytes!["total size is ", human(stats.total_size), "  speedup is ", speedup, note],
    ]
}

/// What `--info=stats3` tells of one role's memory. C: main.c show_malloc_stats
pub fn heap_lines(pid: u32, server: bool, role: &str, heap: &Heap) -> Vec<(LogCode, Vec<u8>)> {
    let server = if server { "server " } else { "" };
    let mut lines = vec![
        (LogCode::Client, Vec::new()),
        (LogCode::Info, bytes!["rsync[", pid, "] (", server, role, ") heap statistics:"]),
    ];
    let counters = [
        ("arena:", heap.arena, "bytes from sbrk"),
        ("ordblks:", heap.free_chunks, "chunks not in use"),
        ("smblks:", heap.free_fast_chunks, "free fastbin blocks"),
        ("hblks:", heap.maps, "chunks from mmap"),
        ("hblkhd:", heap.mapped, "bytes from mmap"),
        ("allmem:", heap.arena + heap.mapped, "bytes from sbrk + mmap"),
        ("usmblks:", 0, "always 0"),
        ("fsmblks:", heap.fast_free, "bytes in freed fastbin blocks"),
        ("uordblks:", heap.used, "bytes used"),
        ("fordblks:", heap.free, "bytes free"),
        ("keepcost:", heap.releasable, "bytes in releasable chunk"),
    ];
    lines.extend(
        counters
            .map(|(title, count, what)| (LogCode::Info, bytes![format_args!("  {title:<11}{count:>10}   ({what})")])),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDING: Ending =
        Ending { style: Style::GROUPED, protocol: 32, seconds: Some(0), level: 1, dry_run: false, batch_only: false };

    fn text(stats: &Stats, ending: Ending) -> String {
        let lines = lines(stats, &ending).into_iter().map(|(_, line)| String::from_utf8(line).unwrap());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn some() -> Stats {
        let mut stats = Stats {
            total_size: 1_234_567,
            transferred_size: 1_000,
            transferred: 1_200,
            literal: 900,
            matched: 100,
            list_size: 477,
            list_build: 1,
            list_transfer: 1_500_000,
            sent: 477,
            received: 198,
            ..Stats::default()
        };
        for _ in 0..1200 {
            stats.files.add(libc::S_IFREG | 0o644);
        }
        for kind in [libc::S_IFDIR, libc::S_IFLNK, libc::S_IFCHR, libc::S_IFSOCK] {
            stats.files.add(kind);
        }
        stats.created.add(libc::S_IFDIR);
        stats
    }

    #[test]
    fn the_closing_lines() {
        let expected = "\nsent 477 bytes  received 198 bytes  1,350.00 bytes/sec\n\
                        total size is 1,234,567  speedup is 1,828.99";
        assert_eq!(text(&some(), ENDING), expected);
        assert!(text(&some(), Ending { dry_run: true, ..ENDING }).ends_with("1,828.99 (DRY RUN)"));
        assert!(text(&some(), Ending { batch_only: true, ..ENDING }).ends_with("1,828.99 (BATCH ONLY)"));
        assert!(text(&some(), Ending { seconds: None, ..ENDING }).contains("UNKNOWN bytes/sec"));
        assert_eq!(text(&some(), Ending { level: 0, ..ENDING }), "");
    }

    #[test]
    fn units_spare_the_ratio() {
        let shown = text(&some(), Ending { style: Style::level(2), ..ENDING });
        assert!(shown.ends_with("1.35K bytes/sec\ntotal size is 1.23M  speedup is 1,828.99"), "{shown}");
    }

    #[test]
    fn the_whole_block() {
        let shown = text(&some(), Ending { level: 2, ..ENDING });
        let expected = "\nNumber of files: 1,204 (reg: 1,200, dir: 1, link: 1, dev: 1, special: 1)\n\
                        Number of created files: 1 (dir: 1)\n\
                        Number of deleted files: 0\n\
                        Number of regular files transferred: 1,200\n\
                        Total file size: 1,234,567 bytes\n\
                        Total transferred file size: 1,000 bytes\n\
                        Literal data: 900 bytes\n\
                        Matched data: 100 bytes\n\
                        File list size: 477\n\
                        File list generation time: 0.001 seconds\n\
                        File list transfer time: 1,500.000 seconds\n\
                        Total bytes sent: 477\n\
                        Total bytes received: 198\n\n\
                        sent 477 bytes";
        assert!(shown.starts_with(expected), "{shown}");
    }

    #[test]
    fn older_peers_count_less() {
        let shown = text(&some(), Ending { level: 2, protocol: 28, ..ENDING });
        assert!(!shown.contains("created files") && !shown.contains("deleted files"), "{shown}");
    }
}
