//! File attributes: read, compared, applied.
