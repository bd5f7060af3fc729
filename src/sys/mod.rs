//! System calls: the only room where `unsafe` may stand.
//!
//! Everything goes through libc's symbols where libc has one, so that tools which interpose them keep working.
#![allow(unsafe_code)]

pub mod at;
pub mod file;
pub mod stat;
pub mod users;
