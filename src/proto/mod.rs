//! What the two sides agree on: the handshake's result, and the small codecs of the transfer phase.

use crate::hash::Algorithm;

pub const OLDEST_PROTOCOL: u8 = 27;
pub const NEWEST_PROTOCOL: u8 = 32;

/// The compatibility flags of protocol 30 on. C: compat.c CF_*
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compat {
    pub inc_recurse: bool,
    pub symlink_times: bool,
    pub symlink_iconv: bool,
    pub safe_flist: bool,
    pub avoid_xattr_optim: bool,
    pub checksum_seed_fix: bool,
    pub inplace_partial_dir: bool,
    pub varint_flist_flags: bool,
    pub id0_names: bool,
}

/// What the handshake settled: immutable for the rest of the session.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// 27 to 32, the lower of the two sides'.
    pub version: u8,
    /// What the peer announced.
    pub remote_version: u8,
    pub compat: Compat,
    pub checksum_seed: i32,
    /// The strong sum of blocks and whole files in a transfer.
    pub transfer_sum: Algorithm,
    /// The sum that `--checksum` puts into the file list.
    pub list_sum: Algorithm,
}
