//! The three roles of a transfer: sender, generator, receiver.
