//! Trees: directory handles that paths cannot leave.

pub mod root;
pub mod scan;
mod walk;
pub mod window;

pub use root::{Follow, Root};
pub use scan::Scan;
pub use window::Window;
