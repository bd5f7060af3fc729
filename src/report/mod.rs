//! Entries and events to text.
