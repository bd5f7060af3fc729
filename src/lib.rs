//! oc-rsync: a drop-in, rsync-compatible file synchroniser.
//!
//! Options come in at the top (`cli`, `options`), a transport is picked (`client`, `transport`), a handshake
//! fixes the rules (`session`, `proto`), a list is made (`flist`), requests go one way round and data the other
//! (`role`, `delta`, `dest`), results come back up (`report`).
//!
//! The modules below stand in the order of the floors, a blank line between two floors: each may use only what stands
//! on a floor below its own. `docs/architecture.md` tells the plan, and the trip of a file through it.

// From argv to exit status.
pub mod cli;

// The user's side: which role, over which transport, and the last line.
pub mod client;

// The side that a client starts, on any two byte halves.
pub mod server;

// One transfer over one connection, from handshake to goodbye.
pub mod session;

// Sender, generator, receiver: who does what, and the one channel between two of them.
pub mod role;

// Entries and events to text.
pub mod report;

// Everything that changes the destination.
pub mod dest;
// What the sender offers: walked, sorted, sent, received, checked.
pub mod flist;

// Blocks, search and patch: the rsync algorithm.
pub mod delta;
// Attributes: compared, and given.
pub mod meta;
// Byte connections: a remote shell, inherited descriptors, within the process.
pub mod transport;

// Which names are left out.
pub mod filter;

// What is said to the user, and where it goes.
pub mod log;
// What two sides agree on, and the small codecs of the transfer.
pub mod proto;

// Trees: directory handles that paths cannot leave.
pub mod fs;
// What the user asked for, from one table.
pub mod options;
// The two directions of a connection: buffers, frames, integers, time.
pub mod wire;

// Compression algorithms behind one enum.
pub mod compress;
// The one error that travels up, and the exit statuses.
pub mod error;
// Checksum algorithms behind one enum.
pub mod hash;
// System calls, the only `unsafe`.
pub mod sys;
// Small notations: pure functions on bytes.
pub mod text;
