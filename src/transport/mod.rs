//! Byte connections to the other side.
