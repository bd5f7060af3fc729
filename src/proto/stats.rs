//! The numbers that sides tell each other: of deletions during, of the whole at the end.

use crate::{
    error::Result,
    wire::{Reader, Writer},
};

/// A count of deletions beyond this is a lie. C: MAX_WIRE_DEL_STAT
const MAX_DELETED: i32 = 1 << 28;

/// What the sending server tells the client last, in its own words: `read` is what the server read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FinalStats {
    pub read: u64,
    pub written: u64,
    /// The sum of the sizes of all files in the list.
    pub total_size: u64,
    /// How long the list took to be made and to be sent, in milliseconds; from protocol 29 on.
    pub list_build_time: u64,
    pub list_send_time: u64,
}

impl FinalStats {
    /// C: main.c handle_stats
    pub fn read(reader: &mut Reader, version: u8) -> Result<Self> {
        let mut number = || {
            let number = if version < 30 { reader.longint()? } else { reader.varlong(3)? };
            Ok(u64::try_from(number).unwrap_or(0)) // a clock set back gives a negative time
        };
        let mut stats = Self { read: number()?, written: number()?, total_size: number()?, ..Self::default() };
        if version >= 29 {
            stats.list_build_time = number()?;
            stats.list_send_time = number()?;
        }
        Ok(stats)
    }

    pub fn write(&self, writer: &mut Writer, version: u8) -> Result<()> {
        let all = [self.read, self.written, self.total_size, self.list_build_time, self.list_send_time];
        for number in &all[..if version < 29 { 3 } else { 5 }] {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            if version < 30 {
                writer.longint(number)?;
            } else {
                writer.varlong(number, 3)?;
            }
        }
        Ok(())
    }
}

/// How much was deleted on the receiving side, by kind; protocol 31 on, after `Index::DeleteStats`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeleteStats {
    /// Regular files only.
    pub files: u32,
    pub dirs: u32,
    pub symlinks: u32,
    pub devices: u32,
    pub specials: u32,
}

impl DeleteStats {
    pub fn total(&self) -> u32 {
        [self.files, self.dirs, self.symlinks, self.devices, self.specials].into_iter().fold(0, u32::saturating_add)
    }

    /// Counts one more of the type that a mode has.
    pub fn add(&mut self, mode: u32) {
        let count = match mode & libc::S_IFMT {
            libc::S_IFREG => &mut self.files,
            libc::S_IFDIR => &mut self.dirs,
            libc::S_IFLNK => &mut self.symlinks,
            libc::S_IFBLK | libc::S_IFCHR => &mut self.devices,
            _ => &mut self.specials,
        };
        *count = count.saturating_add(1);
    }

    /// C: main.c read_del_stats
    pub fn read(reader: &mut Reader) -> Result<Self> {
        let mut count = |what| Ok(reader.varint_in(0..=MAX_DELETED, what)?.cast_unsigned());
        Ok(Self {
            files: count("deleted_files")?,
            dirs: count("deleted_dirs")?,
            symlinks: count("deleted_symlinks")?,
            devices: count("deleted_devices")?,
            specials: count("deleted_specials")?,
        })
    }

    /// C: main.c write_del_stats
    pub fn write(&self, writer: &mut Writer) -> Result<()> {
        for count in [self.files, self.dirs, self.symlinks, self.devices, self.specials] {
            writer.varint(i32::try_from(count).unwrap_or(MAX_DELETED).min(MAX_DELETED))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_ends() {
        let stats = FinalStats { read: 107, written: 313, total_size: 3012, list_build_time: 1, list_send_time: 0 };
        let bytes = b"\x00\x6b\x00\x00\x39\x01\x00\xc4\x0b\x00\x01\x00\x00\x00\x00";
        assert_eq!(FinalStats::read(&mut Reader::over(*bytes), 32).unwrap(), stats);
        assert_eq!(Writer::written(|writer| stats.write(writer, 32).unwrap()), bytes);

        let bytes = b"\x66\0\0\0\x3b\x01\0\0\xc4\x0b\0\0\x01\0\0\0\0\0\0\0";
        let stats = FinalStats { read: 102, written: 315, ..stats };
        assert_eq!(FinalStats::read(&mut Reader::over(*bytes), 29).unwrap(), stats);
        assert_eq!(Writer::written(|writer| stats.write(writer, 29).unwrap()), bytes);
        assert_eq!(Writer::written(|writer| stats.write(writer, 28).unwrap()), bytes[..12]);
        let older = FinalStats { list_build_time: 0, ..stats };
        assert_eq!(FinalStats::read(&mut Reader::over(*bytes), 28).unwrap(), older);
    }

    #[test]
    fn deletions() {
        let stats = DeleteStats { files: 1, dirs: 200, symlinks: 0, devices: 3, specials: 4 };
        let bytes = [1, 0x80, 200, 0, 3, 4];
        assert_eq!(Writer::written(|writer| stats.write(writer).unwrap()), bytes);
        assert_eq!(DeleteStats::read(&mut Reader::over(bytes)).unwrap(), stats);
        assert_eq!(stats.total(), 208);
        let error = DeleteStats::read(&mut Reader::over([0, 0xf0, 1, 0, 0, 0x10])).unwrap_err();
        let line = b"wire value deleted_dirs out of range: 268435457 not in [0,268435456] [receiver]";
        assert_eq!(error.message, line);
    }
}
