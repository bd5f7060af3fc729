//! The progress line of `--progress` and `--info=progress2`; the clock is handed in.

use std::time::Duration;

use crate::{bytes, log::Progress, text::number::Style};

/// How many seconds back the shown speed looks.
const HISTORY: usize = 5;

/// The position at a moment.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Mark {
    time: Duration,
    offset: u64,
}

/// Where the whole run stands; what a line says beyond the file at hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    pub transferred_files: u64,
    /// Bytes of the files transferred so far, the one at hand included as a whole.
    pub transferred_size: u64,
    pub total_size: u64,
    pub files: i64,
    /// The place of the file at hand in the whole list. C: current_file_index
    pub index: i64,
    /// No more entries will come: `to-chk` rather than `ir-chk`.
    pub list_complete: bool,
}

/// Makes progress lines and knows when one is due. C: progress.c
#[derive(Clone, Debug)]
pub struct Meter {
    style: Style,
    whole_run: bool,
    start: Option<Mark>,
    history: [Mark; HISTORY],
    newest: usize,
    oldest: usize,
    last_len: usize,
}

impl Meter {
    /// `whole_run`: `--info=progress2`.
    pub fn new(style: Style, whole_run: bool) -> Self {
        Self { style, whole_run, start: None, history: [Mark::default(); HISTORY], newest: 0, oldest: 0, last_len: 0 }
    }

    /// The line for a position in the file at hand, where one is due: not at the file's start, then once a second.
    ///
    /// `now` is any clock that started long before the run. `visible` tells whether the terminal is ours, and is asked
    /// only for a line that is due.
    pub fn show(
        &mut self,
        now: Duration,
        offset: u64,
        size: u64,
        totals: &Totals,
        visible: impl FnOnce() -> bool,
    ) -> Option<Vec<u8>> {
        let (offset, size) = if self.whole_run {
            ((totals.transferred_size + offset).saturating_sub(size), totals.total_size)
        } else {
            (offset, size)
        };
        let newest = self.history[self.newest];
        if self.start.is_none() {
            // The data began to flow when the file before it ended, if that was just now.
            let recent = millis(newest.time, now) <= 1500;
            let start = if recent { Mark { offset: 0, ..newest } } else { Mark { time: now, offset } };
            self.start = Some(start);
            self.history = [start; HISTORY];
        } else {
            if millis(newest.time, now) < 1000 {
                return None;
            }
            self.newest = self.oldest;
            self.oldest = (self.oldest + 1) % HISTORY;
            self.history[self.newest] = Mark { time: now, offset };
        }
        visible().then(|| self.running_line(now, offset, size))
    }

    /// The last line for a file, with its counts; say it as the step that comes with it. C: progress.c end_progress
    pub fn end(&mut self, now: Duration, size: u64, totals: &Totals) -> (Progress, Vec<u8>) {
        if self.whole_run {
            return self.run_line(now, totals);
        }
        let line = self.last_line(now, size, size, &[counts(totals), "\n".into()].concat());
        self.start = None;
        (Progress::Done, line)
    }

    /// The run's line on demand, whatever is shown otherwise. C: progress.c instant_progress
    pub fn on_demand(&mut self, now: Duration, totals: &Totals) -> (Progress, Vec<u8>) {
        if self.whole_run {
            return self.run_line(now, totals);
        }
        let counts = [counts(totals), "\n".into()].concat();
        (Progress::Done, self.last_line(now, totals.transferred_size, totals.total_size, &counts))
    }

    /// A run that shows no progress may still be asked for it: its speed counts from here. C: progress.c progress_init
    pub fn start_clock(&mut self, now: Duration) {
        self.start = Some(Mark { time: now, offset: 0 });
    }

    fn run_line(&mut self, now: Duration, totals: &Totals) -> (Progress, Vec<u8>) {
        // No line end: the next line overwrites this one, so a shorter one is padded.
        let mut counts = counts(totals);
        let len = counts.len();
        self.last_len = self.last_len.max(len);
        counts.extend(std::iter::repeat_n(' ', self.last_len - len));
        self.last_len = len;
        (Progress::Transfer, self.last_line(now, totals.transferred_size, totals.total_size, &counts))
    }

    fn running_line(&self, now: Duration, offset: u64, size: u64) -> Vec<u8> {
        let past = self.history[self.oldest];
        let rate = rate(past, now, offset);
        let left = size as f64 - offset as f64;
        let remain = if rate == 0.0 { 0.0 } else { left / rate / 1000.0 };
        self.line(offset, size, rate, remain, "  ")
    }

    fn last_line(&self, now: Duration, offset: u64, size: u64, counts: &str) -> Vec<u8> {
        let start = self.start.unwrap_or(Mark { time: now, offset: 0 });
        let took = millis(start.time, now).max(1) as f64 / 1000.0;
        self.line(offset, size, rate(start, now, offset), took, counts)
    }

    fn line(&self, offset: u64, size: u64, rate: f64, seconds: f64, end: &str) -> Vec<u8> {
        const MEGA: f64 = 1024.0;
        const GIGA: f64 = 1024.0 * 1024.0;
        let (rate, unit) = match rate {
            rate if rate > GIGA => (rate / GIGA, "GB/s"),
            rate if rate > MEGA => (rate / MEGA, "MB/s"),
            rate => (rate, "kB/s"),
        };
        let percent = if offset == size { 100 } else { (100.0 * offset as f64 / size as f64) as i32 };
        let done = self.style.integer(offset as i64);
        let rate = self.style.pointed(format!("{rate:7.2}"));
        bytes!["\r", format_args!("{done:>15} {percent:3}% {rate}{unit} "), clock(seconds), end]
    }
}

fn counts(totals: &Totals) -> String {
    let kind = if totals.list_complete { "to" } else { "ir" };
    let left = totals.files - totals.index - 1;
    format!(" (xfr#{}, {kind}-chk={left}/{})", totals.transferred_files, totals.files)
}

/// Hours, minutes and seconds, in ten columns.
fn clock(seconds: f64) -> String {
    if !(0.0..=9999.0 * 3600.0).contains(&seconds) {
        return "  ??:??:??".into();
    }
    let seconds = seconds as u64;
    format!("{:4}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// KiB a second since a mark.
fn rate(since: Mark, now: Duration, offset: u64) -> f64 {
    (offset as f64 - since.offset as f64) * 1000.0 / millis(since.time, now).max(1) as f64 / 1024.0
}

fn millis(from: Duration, to: Duration) -> u128 {
    to.saturating_sub(from).as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(millis: u64) -> Duration {
        Duration::from_secs(1_000_000) + Duration::from_millis(millis)
    }

    fn text(line: Vec<u8>) -> String {
        String::from_utf8(line).unwrap()
    }

    fn totals() -> Totals {
        Totals {
            transferred_files: 1,
            transferred_size: 4 * MIB,
            total_size: 8 * MIB,
            files: 9,
            index: 1,
            list_complete: true,
        }
    }

    #[test]
    fn a_file_shows_once_a_second_and_then_its_end() {
        let mut meter = Meter::new(Style::GROUPED, false);
        let mut show = |millis, offset| meter.show(at(millis), offset, 4 * MIB, &totals(), || true).map(text);
        assert_eq!(show(0, 32_768).as_deref(), Some("\r         32,768   0%    0.00kB/s    0:00:00  "));
        assert_eq!(show(999, MIB), None);
        assert_eq!(show(1000, MIB + 32_768).as_deref(), Some("\r      1,081,344  25% 1024.00kB/s    0:00:03  "));
        let (step, line) = meter.end(at(4000), 4 * MIB, &totals());
        assert_eq!(step, Progress::Done);
        assert_eq!(text(line), "\r      4,194,304 100% 1016.00kB/s    0:00:04 (xfr#1, to-chk=7/9)\n");
    }

    #[test]
    fn an_empty_file_is_done_at_once() {
        let mut meter = Meter::new(Style::GROUPED, false);
        let (_, line) = meter.end(at(0), 0, &Totals { list_complete: false, ..totals() });
        assert_eq!(text(line), "\r              0 100%    0.00kB/s    0:00:00 (xfr#1, ir-chk=7/9)\n");
    }

    #[test]
    fn the_next_file_counts_from_the_end_of_recent_data() {
        let mut meter = Meter::new(Style::GROUPED, false);
        meter.show(at(0), 0, MIB, &totals(), || true);
        meter.end(at(100), MIB, &totals());
        // The last position was noted at 0 ms.
        assert!(text(meter.show(at(1024), MIB, 2 * MIB, &totals(), || true).unwrap()).contains("1000.00kB/s"));
    }

    #[test]
    fn a_terminal_that_is_not_ours_gets_nothing_but_time_passes() {
        let mut meter = Meter::new(Style::GROUPED, false);
        assert_eq!(meter.show(at(0), 0, MIB, &totals(), || false), None);
        assert_eq!(meter.show(at(500), 0, MIB, &totals(), || true), None);
    }

    #[test]
    fn the_whole_run_stays_on_one_line_and_covers_what_was_there() {
        let mut meter = Meter::new(Style::GROUPED, true);
        let shown = text(meter.show(at(0), MIB, 4 * MIB, &totals(), || true).unwrap());
        assert_eq!(shown, "\r      1,048,576  12%    0.00kB/s    0:00:00  ");
        let (step, line) = meter.end(at(1000), 4 * MIB, &Totals { files: 100, ..totals() });
        assert_eq!(step, Progress::Transfer);
        assert_eq!(text(line), "\r      4,194,304  50%    3.00MB/s    0:00:01 (xfr#1, to-chk=98/100)");
        let (_, line) = meter.end(at(1000), 4 * MIB, &totals());
        assert!(text(line).ends_with("to-chk=7/9)   "));
        let (_, line) = meter.end(at(1000), 4 * MIB, &totals());
        assert!(text(line).ends_with("to-chk=7/9)"));
    }

    #[test]
    fn what_cannot_be_foretold_is_marked() {
        assert_eq!(clock(-1.0), "  ??:??:??");
        assert_eq!(clock(9999.0 * 3600.0 + 1.0), "  ??:??:??");
        assert_eq!(clock(36_061.9), "  10:01:01");
    }

    #[test]
    fn the_unit_follows_the_rate() {
        let meter = Meter::new(Style::GROUPED, false);
        let line = |rate| text(meter.line(1, 1, rate, 0.0, ""));
        assert!(line(1024.0).contains("1024.00kB/s") && line(2048.0).contains("2.00MB/s"));
        assert!(line(3.0 * 1024.0 * 1024.0).contains("3.00GB/s"));
    }
}
