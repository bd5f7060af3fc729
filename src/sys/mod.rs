//! System calls: the only room where `unsafe` may stand.
//!
//! Everything goes through libc's symbols where libc has one, so that tools which interpose them keep working.
#![allow(unsafe_code)]

pub mod at;
pub mod channel;
pub mod clock;
pub mod extent;
pub mod file;
pub mod heap;
pub mod iconv;
pub mod locale;
pub mod pipe;

pub mod poll;
pub mod process;
pub mod signal;
pub mod simd;
pub mod stat;
pub mod syslog;
pub mod term;
pub mod users;
pub mod xattr;
