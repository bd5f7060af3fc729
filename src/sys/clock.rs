//! Wall-clock time, and its local form.

use std::{
    io,
    time::{SystemTime, UNIX_EPOCH},
};

use super::at::Time;

/// The time now.
pub fn now() -> Time {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => (since.as_secs() as i64, since.subsec_nanos()),
        Err(before) => (-(before.duration().as_secs() as i64), 0),
    }
}

/// A point in time on the local calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Local {
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

/// The local calendar at `seconds` since the epoch; `EOVERFLOW` beyond all calendars.
///
/// The time zone's rules are read at the first call; make it before a chroot.
pub fn local(seconds: i64) -> io::Result<Local> {
    // SAFETY: all-zero is a valid `tm`: integers and a pointer that is only read by libc's own functions.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    let done = unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) };
    if done.is_null() {
        return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
    }
    Ok(Local {
        year: i64::from(tm.tm_year) + 1900,
        month: tm.tm_mon as u8 + 1,
        day: tm.tm_mday as u8,
        hour: tm.tm_hour as u8,
        minute: tm.tm_min as u8,
        second: tm.tm_sec as u8,
    })
}

/// `2024/02/29 12:34:56` in local time, as formats and logs show it. C: util1.c timestring
pub fn stamp(seconds: i64) -> String {
    const LEN: usize = 19;
    let Ok(at) = local(seconds) else { return "(time out of range)".into() };
    let (date, time) = ((at.year, at.month, at.day), (at.hour, at.minute, at.second));
    let mut text = format!("{:4}/{:02}/{:02} {:02}:{:02}:{:02}", date.0, date.1, date.2, time.0, time.1, time.2);
    text.truncate(LEN); // all digits and marks
    text
}

/// The seconds since the epoch at a point of the local calendar; fields out of range are carried over.
pub fn from_local(local: Local) -> io::Result<i64> {
    // SAFETY: all-zero is a valid `tm`, as above.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    tm.tm_year = i32::try_from(local.year - 1900).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
    tm.tm_mon = i32::from(local.month) - 1;
    tm.tm_mday = local.day.into();
    tm.tm_hour = local.hour.into();
    tm.tm_min = local.minute.into();
    tm.tm_sec = local.second.into();
    tm.tm_isdst = -1;
    // SAFETY: the pointer is valid for the call.
    let seconds = unsafe { libc::mktime(&raw mut tm) };
    // The last second of 1969 (UTC) is a time too; what differs from what was asked is an error.
    if seconds == -1 && self::local(-1)? != local {
        return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_and_back() {
        for seconds in [-86_400_000, -1, 0, 1, 951_782_400, 1_700_000_000, 4_102_444_800, 253_402_000_000] {
            let local = local(seconds).unwrap();
            assert!((1..=12).contains(&local.month) && (1..=31).contains(&local.day));
            assert_eq!(from_local(local).unwrap(), seconds, "{local:?}");
        }
        assert!(local(i64::MAX).is_err());
        assert_eq!(local(1_700_000_000 + 86_400 * 365).unwrap().year, 2024);
    }

    #[test]
    fn now_is_after_this_was_written() {
        assert!(now().0 > 1_700_000_000);
    }
}
