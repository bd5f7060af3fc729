//! What follows an index in a request and in its answer: what is to be done and why.

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    text::path::base,
    wire::{Reader, Writer},
};

/// The longest name that can follow. C: MAXPATHLEN
const MAX_NAME: usize = 4095;

/// What differs, and what is to happen. C: ITEM_*
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u32);

impl Flags {
    pub const REPORT_ATIME: Self = Self(1 << 0);
    pub const REPORT_CHANGE: Self = Self(1 << 1);
    /// Regular files only.
    pub const REPORT_SIZE: Self = Self(1 << 2);
    /// Symlinks only: the same bit.
    pub const REPORT_TIMEFAIL: Self = Self(1 << 2);
    pub const REPORT_TIME: Self = Self(1 << 3);
    pub const REPORT_PERMS: Self = Self(1 << 4);
    pub const REPORT_OWNER: Self = Self(1 << 5);
    pub const REPORT_GROUP: Self = Self(1 << 6);
    pub const REPORT_ACL: Self = Self(1 << 7);
    pub const REPORT_XATTR: Self = Self(1 << 8);
    pub const REPORT_CRTIME: Self = Self(1 << 10);
    pub const BASIS_TYPE_FOLLOWS: Self = Self(1 << 11);
    pub const XNAME_FOLLOWS: Self = Self(1 << 12);
    pub const IS_NEW: Self = Self(1 << 13);
    pub const LOCAL_CHANGE: Self = Self(1 << 14);
    /// The contents are wanted, or come.
    pub const TRANSFER: Self = Self(1 << 15);
    /// The peer (before protocol 29) could not say more; not on the wire, like the two below.
    pub const MISSING_DATA: Self = Self(1 << 16);
    pub const DELETED: Self = Self(1 << 17);
    pub const MATCHED: Self = Self(1 << 18);
    /// All bits but those that say nothing about the entry itself.
    pub const SIGNIFICANT: Self = Self(!(Self::BASIS_TYPE_FOLLOWS.0 | Self::XNAME_FOLLOWS.0 | Self::LOCAL_CHANGE.0));

    /// Whether all of these are set.
    pub fn has(self, bits: Self) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// Whether any of these is set.
    pub fn any(self, bits: Self) -> bool {
        self.0 & bits.0 != 0
    }

    pub fn set(&mut self, bits: Self) {
        self.0 |= bits.0;
    }

    pub fn clear(&mut self, bits: Self) {
        self.0 &= !bits.0;
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Which file is the basis of a transfer. C: FNAMECMP_*
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Basis {
    /// The destination file itself.
    #[default]
    Same,
    /// The file of that name in an alternative destination directory, by position.
    AltDest(u8),
    /// In the partial directory.
    Partial,
    Backup,
    /// Another name: in the same directory (0) or in the n-th alternative destination.
    Fuzzy(u8),
}

impl Basis {
    const FUZZY: u8 = 0x83;

    fn from_byte(byte: u8) -> Self {
        match byte {
            0..=0x7f => Self::AltDest(byte),
            0x80 => Self::Same,
            0x81 => Self::Partial,
            0x82 => Self::Backup,
            Self::FUZZY.. => Self::Fuzzy(byte - Self::FUZZY),
        }
    }

    pub fn byte(self) -> u8 {
        match self {
            Self::AltDest(position) => position & 0x7f,
            Self::Same => 0x80,
            Self::Partial => 0x81,
            Self::Backup => 0x82,
            Self::Fuzzy(position) => Self::FUZZY.saturating_add(position),
        }
    }
}

/// A request or its answer, without the index before it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Item {
    pub flags: Flags,
    /// On the wire only with `BASIS_TYPE_FOLLOWS`.
    pub basis: Basis,
    /// On the wire only with `XNAME_FOLLOWS`: the name of a fuzzy basis, or what a hard link points to.
    pub name: Option<Vec<u8>>,
}

impl Item {
    /// A plain item.
    pub fn new(flags: Flags) -> Self {
        Self { flags, ..Self::default() }
    }

    /// Reads what follows an entry's index. C: rsync.c read_ndx_and_attrs
    pub fn read(reader: &mut Reader, version: u8) -> Result<Self> {
        if version < 29 {
            return Ok(Self::new(Flags::TRANSFER | Flags::MISSING_DATA));
        }
        let mut item = Self::new(Flags(reader.u16()?.into()));
        if item.flags.has(Flags::BASIS_TYPE_FOLLOWS) {
            item.basis = Basis::from_byte(reader.byte()?);
        }
        if item.flags.has(Flags::XNAME_FOLLOWS) {
            let name = reader.vstring(MAX_NAME).map_err(|error| match error.code {
                ExitCode::UNSUPPORTED => Error { code: ExitCode::PROTOCOL, ..error },
                _ => error,
            })?;
            item.name = Some(item.checked(name, reader.role())?);
        }
        Ok(item)
    }

    /// The name of a basis is a name, never a path: of one the last component is taken, which an honest peer's name is
    /// from the beginning. What a hard link points to is only shown.
    fn checked(&self, name: Vec<u8>, role: &str) -> Result<Vec<u8>> {
        if !matches!(self.basis, Basis::Fuzzy(_)) {
            return Ok(name);
        }
        match base(&name) {
            b"" | b"." | b".." => {
                Err(Error::new(ExitCode::PROTOCOL, bytes!["invalid basis name received [", role, "]"]))
            }
            last => Ok(last.to_vec()),
        }
    }

    /// The flags decide what is written: a missing name counts as an empty one. C: sender.c write_ndx_and_attrs
    pub fn write(&self, writer: &mut Writer, version: u8) -> Result<()> {
        if version < 29 {
            return Ok(());
        }
        writer.u16(self.flags.0 as u16)?;
        if self.flags.has(Flags::BASIS_TYPE_FOLLOWS) {
            writer.byte(self.basis.byte())?;
        }
        if self.flags.has(Flags::XNAME_FOLLOWS) {
            writer.vstring(self.name.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }

    /// Protocol 29's keep-alive: the index behind the last one of the list, only said to be new. A sender answers it
    /// with a keep-alive of its own.
    pub fn is_keepalive(&self, index: i32, list_len: usize, version: u8) -> bool {
        version < 30 && usize::try_from(index) == Ok(list_len) && self.flags == Flags::IS_NEW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(item: &Item, bytes: &[u8]) {
        assert_eq!(Writer::written(|writer| item.write(writer, 29).unwrap()), bytes);
        assert_eq!(Item::read(&mut Reader::over(bytes), 29).unwrap(), *item);
    }

    #[test]
    fn items_come_back() {
        there_and_back(&Item::new(Flags::TRANSFER | Flags::REPORT_SIZE | Flags::REPORT_TIME), &[0x0c, 0x80]);
        let flags = Flags::TRANSFER | Flags::BASIS_TYPE_FOLLOWS | Flags::XNAME_FOLLOWS;
        let fuzzy = Item { flags, basis: Basis::Fuzzy(1), name: Some(b"abc".to_vec()) };
        there_and_back(&fuzzy, b"\x00\x98\x84\x03abc");
        let linked = Item { flags: Flags::XNAME_FOLLOWS, basis: Basis::Same, name: Some(b"../t".to_vec()) };
        there_and_back(&linked, b"\x00\x10\x04../t");
        for byte in 0..=255 {
            assert_eq!(Basis::from_byte(byte).byte(), byte);
        }
    }

    #[test]
    fn old_peers_only_mean_transfers() {
        let mut reader = Reader::over([9]);
        let item = Item::read(&mut reader, 28).unwrap();
        assert!(item.flags.has(Flags::TRANSFER | Flags::MISSING_DATA));
        assert_eq!(reader.byte().unwrap(), 9);
    }

    #[test]
    fn a_fuzzy_basis_is_a_name() {
        let read = |name: &str| {
            let bytes = [b"\x00\x18\x83".as_slice(), &[name.len() as u8], name.as_bytes()].concat();
            Item::read(&mut Reader::over(bytes), 31)
        };
        for name in ["", "..", ".", "a/", "/", "a/.."] {
            assert_eq!(read(name).unwrap_err().code, ExitCode::PROTOCOL, "{name}");
        }
        for (name, taken) in [("a", "a"), ("../../etc/shadow", "shadow"), ("/etc", "etc"), ("a..", "a..")] {
            assert_eq!(read(name).unwrap().name.as_deref(), Some(taken.as_bytes()));
        }
        let long = Item::read(&mut Reader::over(b"\x00\x10\x90\x00"), 31).unwrap_err();
        assert_eq!(
            (long.code, &long.message[..]),
            (ExitCode::PROTOCOL, &b"over-long vstring received (4096 > 4095)"[..])
        );
    }

    #[test]
    fn the_keepalive_of_29() {
        let item = Item::new(Flags::IS_NEW);
        assert!(item.is_keepalive(5, 5, 29));
        assert!(!item.is_keepalive(4, 5, 29) && !item.is_keepalive(5, 5, 30) && !item.is_keepalive(-1, 5, 29));
    }
}
