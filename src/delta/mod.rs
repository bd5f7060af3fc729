//! Blocks, search and patch: the rsync algorithm.
