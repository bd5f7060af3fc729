//! Blocks, search and patch: the rsync algorithm.
//!
//! Who has the old file cuts it into blocks and sends a weak and a strong sum of each (`blocks`); who has the new file
//! looks for those blocks at every byte of it and sends what is not among them, and references to what is (`search`);
//! who has the old file builds the new one from both (`patch`).

pub mod blocks;
pub mod patch;
pub mod search;
mod table;
#[cfg(test)]
mod tests;
