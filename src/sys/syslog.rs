//! The system's log.

use std::{ffi::CString, sync::Once};

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    Notice,
    Trouble,
}

/// Logs a text as `rsyncd[PID]`; whatever comes behind a NUL is lost. Nothing happens where no logger listens.
pub fn say(weight: Weight, text: &[u8]) {
    static OPEN: Once = Once::new();
    OPEN.call_once(|| {
        // SAFETY: the name is a C string that lives for ever, as the C library keeps the pointer.
        unsafe { libc::openlog(c"rsyncd".as_ptr(), libc::LOG_PID | libc::LOG_NDELAY, libc::LOG_DAEMON) }
    });
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    let Ok(text) = CString::new(&text[..end]) else { return };
    let priority = match weight {
        Weight::Notice => libc::LOG_INFO,
        Weight::Trouble => libc::LOG_WARNING,
    };
    // SAFETY: the format takes one string, and both are C strings that outlive the call.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), text.as_ptr()) };
}
