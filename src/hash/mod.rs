//! The checksum algorithms behind one enum.

mod md4;
pub mod rolling;
mod sum;

pub use sum::{FileSum, Sum};

/// A strong sum, as negotiated or implied by the protocol version. C: CSUM_*
///
/// The `Old` forms are what a peer implies without negotiation; they differ from the plain ones in where the checksum
/// seed is hashed, so no name stands for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// No sum at all: transfers are whole files, ended by one zero byte.
    None,
    /// Protocols 27 to 29: the seed comes last in a block sum and first in a whole-file sum. C: CSUM_MD4_OLD
    Md4Old,
    Md4,
    /// Protocol 30 with a peer that lacks the seed-order fix: the seed comes last in a block sum.
    Md5Old,
    Md5,
    Sha1,
    Xxh64,
    Xxh3,
    Xxh128,
}

impl Algorithm {
    /// The names of `--checksum-choice` in the order of preference, aliases after their main name.
    /// C: valid_checksums_items
    pub const NAMES: [(&'static str, Self); 8] = [
        ("xxh128", Self::Xxh128),
        ("xxh3", Self::Xxh3),
        ("xxh64", Self::Xxh64),
        ("xxhash", Self::Xxh64),
        ("md5", Self::Md5),
        ("md4", Self::Md4),
        ("sha1", Self::Sha1),
        ("none", Self::None),
    ];

    /// What a client offers in the negotiation; a server adds ` none`. C: compat.c get_default_nno_list
    pub const OFFER: &'static str = "xxh128 xxh3 xxh64 md5 md4 sha1";

    /// By name, in either case. `auto` is not a name: see `implied`.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|&(_, algorithm)| algorithm)
    }

    /// The name that negotiation, options and debug lines use.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Md4Old | Self::Md4 => "md4",
            Self::Md5Old | Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Xxh64 => "xxh64",
            Self::Xxh3 => "xxh3",
            Self::Xxh128 => "xxh128",
        }
    }

    /// What both sides take when nothing was negotiated or chosen (`--checksum-choice=auto` too).
    ///
    /// `seed_fix`: both sides set the compatibility flag for the proper seed order. C: checksum.c parse_csum_name
    pub fn implied(version: u8, seed_fix: bool) -> Self {
        match (version, seed_fix) {
            (..=29, _) => Self::Md4Old,
            (_, false) => Self::Md5Old,
            (_, true) => Self::Md5,
        }
    }

    /// Length of a whole sum in bytes; blocks may use fewer. C: checksum.c csum_len_for_type
    pub fn len(self) -> usize {
        match self {
            Self::None => 1,
            Self::Md4Old | Self::Md4 | Self::Md5Old | Self::Md5 | Self::Xxh128 => 16,
            Self::Sha1 => 20,
            Self::Xxh64 | Self::Xxh3 => 8,
        }
    }

    /// Always false: even `None` has one byte on the wire.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_and_come_back() {
        for (name, algorithm) in Algorithm::NAMES {
            assert_eq!(Algorithm::from_name(name.as_bytes()), Some(algorithm));
            assert_eq!(Algorithm::from_name(name.to_uppercase().as_bytes()), Some(algorithm));
            if name != "xxhash" {
                assert_eq!(algorithm.name(), name);
            }
        }
        for wrong in ["", "auto", "xxh", "md5 ", "sha256"] {
            assert_eq!(Algorithm::from_name(wrong.as_bytes()), None);
        }
    }

    #[test]
    fn the_offer_is_every_main_name_but_none() {
        let names: Vec<&str> = Algorithm::NAMES
            .iter()
            .filter(|(name, known)| *name == known.name() && *name != "none")
            .map(|row| row.0)
            .collect();
        assert_eq!(names.join(" "), Algorithm::OFFER);
    }

    #[test]
    fn versions_imply() {
        assert_eq!(Algorithm::implied(27, false), Algorithm::Md4Old);
        assert_eq!(Algorithm::implied(29, true), Algorithm::Md4Old);
        assert_eq!(Algorithm::implied(30, false), Algorithm::Md5Old);
        assert_eq!(Algorithm::implied(32, true), Algorithm::Md5);
    }
}
