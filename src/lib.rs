//! oc-rsync: a drop-in, rsync-compatible file synchroniser.
//!
//! Options come in at the top (`cli`, `options`), a transport is picked (`client`, `transport`), a handshake
//! fixes the rules (`session`, `proto`), a list is made (`flist`), requests go one way round and data the other
//! (`role`, `delta`, `dest`), results come back up (`report`).
//!
//! The modules below stand in the order of the floors: each may use only what is listed after it.

pub mod cli;

pub mod client;
pub mod server;

pub mod session;

pub mod role;

pub mod report;

pub mod dest;
pub mod flist;

pub mod delta;
pub mod meta;
pub mod transport;

pub mod log;
pub mod proto;

pub mod fs;
pub mod options;
pub mod wire;

pub mod error;
pub mod hash;
pub mod sys;
pub mod text;
