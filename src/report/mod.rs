//! Entries and events to text: values in, bytes out; who says them is a role's or the session's affair.

pub mod format;
pub mod item;
pub mod list;
pub mod progress;
pub mod summary;
