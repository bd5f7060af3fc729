//! `--stop-at`: a point in time of which the larger parts may be left out.

use crate::sys::clock::{self, Local};

/// The next moment after `now` that fits a text such as `2030-12-31T23:59`, `12/31`, `31T6:00`, `T23:59`, `:30`.
///
/// Both are seconds since the epoch. A text with a full date may name a moment that is past. `None`: not this
/// notation, or no such day. C: options.c parse_time
pub fn next(text: &[u8], now: i64) -> Option<i64> {
    let parts = Parts::read(text)?;
    let today = clock::local(now).ok()?;
    let mut wanted = Local { second: 0, ..today };
    let mut open = Open::Nothing;
    match parts.year {
        None => open = Open::Year,
        Some(year @ 0..100) => {
            wanted.year = 1900 + year;
            while wanted.year < today.year {
                wanted.year += 100;
            }
        }
        Some(year) => wanted.year = year,
    }
    match parts.month {
        None => open = Open::Month,
        Some(month) => wanted.month = u8::try_from(month).ok()?,
    }
    match parts.day {
        None => open = Open::Day,
        Some(day) => wanted.day = u8::try_from(day).ok()?,
    }
    let mut hourly = false;
    match (parts.hour, parts.minute) {
        (_, None) => (wanted.hour, wanted.minute) = (0, 0),
        (Some(hour), Some(minute)) => {
            (wanted.hour, wanted.minute) = (u8::try_from(hour).ok()?, u8::try_from(minute).ok()?);
        }
        (None, Some(_)) if open != Open::Day => return None,
        (None, Some(minute)) => {
            wanted.minute = u8::try_from(minute).ok()?;
            (open, hourly) = (Open::Nothing, true);
        }
    }
    let in_range =
        wanted.hour <= 23 && wanted.minute <= 59 && (1..=12).contains(&wanted.month) && (1..=31).contains(&wanted.day);
    if !in_range {
        return None;
    }
    let mut moment = forward_to(wanted, open, now)?;
    while hourly && moment <= now {
        moment += 60 * 60;
    }
    Some(moment)
}

/// The largest part of the date that was left open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Open {
    Nothing,
    Year,
    Month,
    Day,
}

/// Moves on by days, months or years until the moment lies ahead and its day exists.
fn forward_to(wanted: Local, open: Open, now: i64) -> Option<i64> {
    let mut day = wanted.day;
    let mut moment = clock::from_local(wanted).ok()?;
    let mut at = clock::local(moment).ok()?;
    while open != Open::Nothing && (moment <= now || at.day < day) {
        match open {
            Open::Nothing => {}
            Open::Day => {
                at.day += 1;
                day = at.day;
            }
            // The overlong day has carried us into the next month already.
            Open::Month if at.day < day => at.day = day,
            Open::Month if at.month == 12 => (at.month, at.year) = (1, at.year + 1),
            Open::Month => at.month += 1,
            Open::Year => {
                if at.day < day {
                    if at.month != 3 || day != 29 {
                        return None;
                    }
                    (at.month, at.day) = (2, 29);
                }
                at.year += 1;
            }
        }
        moment = clock::from_local(at).ok()?;
        at = clock::local(moment).ok()?;
    }
    Some(moment)
}

#[derive(Default)]
struct Parts {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    hour: Option<i64>,
    minute: Option<i64>,
}

impl Parts {
    fn read(text: &[u8]) -> Option<Self> {
        #[derive(PartialEq)]
        enum Reading {
            Date,
            /// After a `T`: a `:` must follow.
            Hour,
            Time,
        }
        let mut parts = Self::default();
        let (mut reading, mut rest) = match text {
            [b':', rest @ ..] => (Reading::Time, rest),
            [b'T' | b't', rest @ ..] => (Reading::Hour, rest),
            rest => (Reading::Date, rest),
        };
        loop {
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            let (number, after) = rest.split_at(digits);
            let number = number.iter().fold(0i64, |n, b| n.saturating_mul(10).saturating_add(i64::from(b - b'0')));
            if after.first() == Some(&b':') {
                reading = Reading::Time;
            }
            if reading == Reading::Date {
                if parts.year.is_some() {
                    return None;
                }
                (parts.year, parts.month, parts.day) = (parts.month, parts.day, Some(number));
                match after {
                    [] | [b'T' | b't'] => return Some(parts),
                    [b'T' | b't', ..] => reading = Reading::Hour,
                    [b'-' | b'/', ..] => {}
                    _ => return None,
                }
            } else {
                if parts.hour.is_some() {
                    return None;
                }
                (parts.hour, parts.minute) = (parts.minute, Some(number));
                match after {
                    [] if reading == Reading::Time => return Some(parts),
                    [b':', ..] => {}
                    _ => return None,
                }
            }
            rest = &after[1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_local(text: &str, now: (i64, u8, u8, u8, u8)) -> Option<(i64, u8, u8, u8, u8)> {
        let (year, month, day, hour, minute) = now;
        let now = clock::from_local(Local { year, month, day, hour, minute, second: 0 }).unwrap();
        let local = clock::local(next(text.as_bytes(), now)?).unwrap();
        Some((local.year, local.month, local.day, local.hour, local.minute))
    }

    #[test]
    fn what_is_left_out_is_the_next_to_come() {
        let now = (2026, 3, 15, 12, 30);
        let cases = [
            ("2030-12-31T23:59", (2030, 12, 31, 23, 59)),
            ("30/12/31", (2030, 12, 31, 0, 0)),
            ("12-31", (2026, 12, 31, 0, 0)),
            ("1-31", (2027, 1, 31, 0, 0)),
            ("31T6:00", (2026, 3, 31, 6, 0)),
            ("14", (2026, 4, 14, 0, 0)),
            ("T23:59", (2026, 3, 15, 23, 59)),
            ("12:30", (2026, 3, 16, 12, 30)),
            (":45", (2026, 3, 15, 12, 45)),
            (":15", (2026, 3, 15, 13, 15)),
            ("2-29", (2028, 2, 29, 0, 0)),
            ("2020-1-1", (2020, 1, 1, 0, 0)),
        ];
        for (text, expected) in cases {
            assert_eq!(next_local(text, now), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment() {
        let now = (2026, 3, 15, 12, 30);
        for text in
            ["", "x", "T12", "T", "1-2-3-4", "25:00", "12:60", "13-1", "0", "32", "1:2:3", "4-31", "1-", "1-:30"]
        {
            assert_eq!(next_local(text, now), None, "{text}");
        }
    }
}
