//! File attributes: read, compared, applied.

pub mod ids;
