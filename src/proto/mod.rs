//! What the two sides agree on: the handshake's result, and the small codecs of the transfer phase.

pub mod args;
pub mod batch;
pub mod filters;
pub mod handshake;
pub mod item;
pub mod ndx;
pub mod negotiate;
pub mod stats;
pub mod sums;
pub mod token;

use crate::{
    compress::{Method, Setting},
    hash::Algorithm,
    options::{Delete, Options},
};

pub const OLDEST_PROTOCOL: u8 = 27;
pub const NEWEST_PROTOCOL: u8 = 32;

/// Which end of the connection we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Side {
    /// Started with `--server`; in a local copy the receiving end.
    pub server: bool,
    /// We are the sender of files.
    pub sends: bool,
    /// Both ends are this process.
    pub local: bool,
}

impl Side {
    /// `Client` or `Server`, as lines name us.
    pub fn name(self) -> &'static str {
        if self.server { "Server" } else { "Client" }
    }

    /// ... and the other end.
    pub fn peer_name(self) -> &'static str {
        if self.server { "Client" } else { "Server" }
    }
}

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

impl Compat {
    fn fields(&mut self) -> [&mut bool; 9] {
        [
            &mut self.inc_recurse,
            &mut self.symlink_times,
            &mut self.symlink_iconv,
            &mut self.safe_flist,
            &mut self.avoid_xattr_optim,
            &mut self.checksum_seed_fix,
            &mut self.inplace_partial_dir,
            &mut self.varint_flist_flags,
            &mut self.id0_names,
        ]
    }

    /// Bits that nobody defined yet are ignored.
    pub fn from_bits(bits: i32) -> Self {
        let mut compat = Self::default();
        for (bit, field) in compat.fields().into_iter().enumerate() {
            *field = bits >> bit & 1 != 0;
        }
        compat
    }

    pub fn bits(mut self) -> i32 {
        self.fields().into_iter().enumerate().map(|(bit, field)| i32::from(*field) << bit).sum()
    }
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
    /// The strong sum of blocks and whole files in a transfer; with `None` files go whole.
    pub transfer_sum: Algorithm,
    /// The sum that `--checksum` puts into the file list.
    pub list_sum: Algorithm,
    /// How file data travels.
    pub compression: Compression,
}

/// What of compression both ends must agree on, and the level that ours is to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compression {
    pub method: Method,
    pub level: i32,
}

impl Protocol {
    /// Whether an error while a list is read travels inside the list. C: use_safe_inc_flist
    pub fn safe_list_errors(&self) -> bool {
        self.compat.safe_flist || self.version >= 31
    }

    /// What the coders of file data are made from.
    pub fn compression(&self, options: &Options) -> Setting {
        let Compression { method, level } = self.compression;
        let threads = options.compress_threads.unwrap_or(0).max(0).cast_unsigned();
        Setting { method, level, threads, repeats: self.version < 31, max_alloc: options.max_alloc }
    }

    /// When extraneous files go, `--delete` alone resolved.
    pub fn delete(&self, asked: Delete) -> Delete {
        match asked {
            Delete::Auto if self.version < 30 => Delete::Before,
            Delete::Auto => Delete::During,
            asked => asked,
        }
    }
}

#[cfg(test)]
impl Protocol {
    /// What two programs of a version settle that have no wishes.
    pub fn plain(version: u8) -> Self {
        Self {
            version,
            remote_version: version,
            compat: Compat::default(),
            checksum_seed: 0,
            transfer_sum: Algorithm::Md5,
            list_sum: Algorithm::Md5,
            compression: Default::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compat_bits() {
        assert_eq!(Compat::from_bits(0x1ff).bits(), 0x1ff);
        assert_eq!(Compat::from_bits(-1).bits(), 0x1ff);
        assert_eq!(Compat { inc_recurse: true, id0_names: true, ..Compat::default() }.bits(), 0x101);
    }
}
