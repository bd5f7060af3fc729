//! The counters, and the progress line, of the role that tells the user about file data: the client's.

use std::time::{Duration, Instant};

use crate::{
    flist::codec,
    log::Log,
    options::{Info, Options},
    report::{
        progress::{Meter, Totals},
        summary::{Counts, Stats},
    },
    sys::{signal, term},
    text::number::Style,
};

/// What one role counted, and how it shows where it is.
pub struct Tally {
    pub stats: Stats,
    log: Log,
    meter: Option<Meter>,
    /// Progress is shown for each file, or for the whole run.
    level: u8,
    started: Instant,
    index: i64,
    list_complete: bool,
}

impl Tally {
    pub fn new(options: &Options, log: &Log) -> Self {
        let level = if options.is_server() { 0 } else { log.info(Info::Progress) };
        let style = Style::of_user(options.human_readable);
        let meter = (!options.is_server()).then(|| Meter::new(style, level >= 2));
        let mut tally = Self {
            stats: Stats::default(),
            log: log.clone(),
            meter,
            level,
            started: Instant::now(),
            index: 0,
            list_complete: false,
        };
        let now = tally.now();
        if let Some(meter) = tally.meter.as_mut().filter(|_| level == 0) {
            meter.start_clock(now);
        }
        tally
    }

    /// Names are told without a format while per-file progress is shown. C: INFO_EQ(PROGRESS, 1)
    pub fn per_file(&self) -> bool {
        self.level == 1
    }

    /// The user watches the data move.
    pub fn is_watched(&self) -> bool {
        self.level > 0
    }

    /// A clock that started long before the run.
    fn now(&self) -> Duration {
        Duration::from_secs(1 << 20) + self.started.elapsed()
    }

    /// A file's data is about to move. `index`: its place in the whole list.
    pub fn begin(&mut self, size: u64, index: i64, list_complete: bool) {
        self.stats.transferred += 1;
        self.stats.transferred_size = self.stats.transferred_size.saturating_add(size);
        self.index = index;
        self.list_complete = list_complete;
    }

    /// The file's data has got to `offset`. C: progress.c show_progress
    pub fn show(&mut self, offset: u64, size: u64) {
        if self.level == 0 {
            return;
        }
        let (now, totals) = (self.now(), self.totals());
        if let Some(meter) = &mut self.meter
            && let Some(line) = meter.show(now, offset, size, &totals, || !term::in_background(std::io::stdout()))
        {
            self.log.progress(crate::log::Progress::Transfer, &line);
        }
    }

    /// The file's data is through. C: progress.c end_progress, instant_progress
    pub fn end(&mut self, name: &[u8], size: u64, named: bool) {
        let wanted = signal::progress_wanted();
        if self.level == 0 && !wanted {
            return;
        }
        let (now, totals) = (self.now(), self.totals());
        let Some(meter) = &mut self.meter else { return };
        let (step, line) = if self.level > 0 {
            meter.end(now, size, &totals)
        } else {
            if !named {
                self.log.say(crate::log::LogCode::Info, name);
            }
            meter.on_demand(now, &totals)
        };
        self.log.progress(step, &line);
    }

    /// All files of a segment are through; `place`: that of its last entry. C: end_progress(0)
    pub fn end_of_segment(&mut self, place: Option<i64>, list_complete: bool) {
        let Some(place) = place else { return };
        self.index = place;
        self.list_complete = list_complete;
        if self.level >= 2 {
            self.end(b"", 0, true);
        }
    }

    fn totals(&self) -> Totals {
        Totals {
            transferred_files: self.stats.transferred,
            transferred_size: self.stats.transferred_size,
            total_size: self.stats.total_size,
            files: self.stats.files.total as i64,
            index: self.index,
            list_complete: self.list_complete,
        }
    }

    /// Counts an item that was made new. `file` counts only in the sum.
    pub fn created(&mut self, mode: u32) {
        self.stats.created.add(mode);
    }
}

/// Takes over what the list has counted so far.
pub fn count_list(stats: &mut Stats, counts: &codec::Counts) {
    stats.files = Counts {
        total: counts.entries,
        dirs: counts.dirs,
        links: counts.symlinks,
        devices: counts.devices,
        specials: counts.specials,
    };
    stats.total_size = counts.total_size;
}
