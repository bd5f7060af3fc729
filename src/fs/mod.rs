//! Trees: directory handles that paths cannot leave.

mod parents;
pub mod root;
pub mod scan;
mod walk;
pub mod window;

pub use root::{Follow, Root, open_file};
pub use scan::Scan;
pub use walk::{UNTRUSTED_LINK, UntrustedLink, is_untrusted_link};
pub use window::Window;
