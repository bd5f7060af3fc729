//! The `--server` side, on any two byte halves.
