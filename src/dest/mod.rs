//! Everything that changes the destination.
