//! Trees: directory handles that paths cannot leave.

mod bounds;
mod parents;
pub mod root;
pub mod scan;
mod walk;
pub mod window;

pub use bounds::{Named, OutOfBounds, is_out_of_bounds};
pub use root::{Follow, Root, open_file};
pub use scan::Scan;
pub use walk::{UNTRUSTED_LINK, UntrustedLink, is_untrusted_link};
pub use window::Window;
