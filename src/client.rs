//! The user's side of a run: which role we play, over which transport.
