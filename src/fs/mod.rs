//! Trees: directory handles that paths cannot leave.

pub mod root;
mod walk;

pub use root::{Follow, Root};
