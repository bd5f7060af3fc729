//! The checksum algorithms behind one enum.

/// A strong sum, as negotiated or implied by the protocol version. C: CSUM_*
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    None,
    /// Protocol below 27's rules do not concern us; 27 to 29: the seed is hashed last, and a length that is a
    /// multiple of 64 lacks the closing block (C: CSUM_MD4_BUSTED / CSUM_MD4_OLD by version).
    Md4Busted,
    Md4Old,
    Md4,
    Md5,
    Sha1,
    Xxh64,
    Xxh3,
    Xxh128,
}
