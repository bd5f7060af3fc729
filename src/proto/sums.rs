//! The sums of a basis file, as the generator sends them and the sender searches by them.

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    wire::{Reader, Writer},
};

/// C: OLD_MAX_BLOCK_SIZE, MAX_BLOCK_SIZE
fn max_block_len(version: u8) -> i32 {
    if version < 30 { 1 << 29 } else { 1 << 17 }
}

/// How a basis file is cut: `count` blocks of `block_len` bytes, the last of `remainder` unless that is 0. All zeros:
/// there is no basis. C: struct sum_struct
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SumHead {
    /// At most `i32::MAX`.
    pub count: u32,
    /// At most 512 MiB (128 KiB from protocol 30 on); 0 only without blocks.
    pub block_len: u32,
    /// How many bytes of the strong sum are sent for a block.
    pub sum_len: u8,
    /// At most `block_len`.
    pub remainder: u32,
}

impl SumHead {
    /// `max_sum_len`: the length of the transfer's strong sum. C: io.c read_sum_head
    pub fn read(reader: &mut Reader, version: u8, max_sum_len: usize) -> Result<Self> {
        let role = reader.role();
        let invalid = |what: &str, value: i32| {
            Err(Error::new(ExitCode::PROTOCOL, bytes!["Invalid ", what, " ", value, " [", role, "]"]))
        };
        let count = reader.int()?;
        let Ok(count) = u32::try_from(count) else {
            return invalid("checksum count", count);
        };
        let block_len = reader.int()?;
        if !(0..=max_block_len(version)).contains(&block_len) {
            return invalid("block length", block_len);
        }
        if count > 0 && block_len == 0 {
            return Err(Error::new(ExitCode::PROTOCOL, bytes!["Invalid zero block length [", role, "]"]));
        }
        let sum_len = reader.int()?;
        let Some(sum_len) = u8::try_from(sum_len).ok().filter(|&len| usize::from(len) <= max_sum_len) else {
            return invalid("checksum length", sum_len);
        };
        let remainder = reader.int()?;
        if !(0..=block_len).contains(&remainder) {
            return invalid("remainder length", remainder);
        }
        Ok(Self { count, block_len: block_len.cast_unsigned(), sum_len, remainder: remainder.cast_unsigned() })
    }

    /// C: io.c write_sum_head
    pub fn write(&self, writer: &mut Writer) -> Result<()> {
        for value in [self.count, self.block_len, self.sum_len.into(), self.remainder] {
            writer.int(value.cast_signed())?;
        }
        Ok(())
    }

    /// The length of the basis file.
    pub fn file_len(&self) -> u64 {
        let whole = u64::from(self.count) * u64::from(self.block_len);
        if self.remainder == 0 || self.count == 0 { whole } else { whole - u64::from(self.block_len - self.remainder) }
    }

    /// Where a block begins.
    pub fn offset_of(&self, block: u32) -> u64 {
        u64::from(block) * u64::from(self.block_len)
    }

    /// How long a block is; `block` is less than `count`.
    pub fn len_of(&self, block: u32) -> u32 {
        if self.remainder != 0 && block + 1 == self.count { self.remainder } else { self.block_len }
    }
}

/// All sums of a basis, one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sums {
    pub head: SumHead,
    pub weak: Vec<u32>,
    /// `head.sum_len` bytes for each block.
    strong: Vec<u8>,
}

impl Sums {
    /// Of a basis that the sender shall not look into (`--append`).
    pub fn only_head(head: SumHead) -> Self {
        Self { head, ..Self::default() }
    }

    /// Reads the blocks of a head. `max_alloc` is the most that may be taken in memory. C: sender.c receive_sums
    pub fn read(reader: &mut Reader, head: SumHead, max_alloc: u64) -> Result<Self> {
        let sum_len = usize::from(head.sum_len);
        let size = u64::from(head.count) * (4 + u64::from(head.sum_len));
        if size > max_alloc {
            return Err(Error::max_alloc(reader.role(), max_alloc));
        }
        // More room is taken only as sums arrive: a peer's count alone costs nothing.
        let expected = usize::try_from(head.count).unwrap_or(usize::MAX).min(1 << 16);
        let mut weak = Vec::with_capacity(expected);
        let mut strong = Vec::with_capacity(expected * sum_len);
        for _ in 0..head.count {
            weak.push(reader.int()?.cast_unsigned());
            let start = strong.len();
            strong.resize(start + sum_len, 0);
            reader.exact(&mut strong[start..])?;
        }
        Ok(Self { head, weak, strong })
    }

    /// Bytes that the blocks took on the wire.
    pub fn wire_len(&self) -> u64 {
        self.weak.len() as u64 * (4 + u64::from(self.head.sum_len))
    }

    /// The strong sum of a block, cut to `sum_len` bytes; empty for a block that is not there.
    pub fn strong(&self, block: u32) -> &[u8] {
        let sum_len = usize::from(self.head.sum_len);
        let start = (block as usize).saturating_mul(sum_len);
        self.strong.get(start..start.saturating_add(sum_len)).unwrap_or_default()
    }
}

/// One block's sums, of which `sum_len` bytes of the strong one are sent.
pub fn write_block(writer: &mut Writer, weak: u32, strong: &[u8], sum_len: u8) -> Result<()> {
    writer.int(weak.cast_signed())?;
    writer.bytes(strong.get(..sum_len.into()).unwrap_or(strong))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The reference's request for a file of 2,900 bytes, protocol 32.
    const RECORDED: &[u8] = b"\x05\0\0\0\xbc\x02\0\0\x02\0\0\0\x64\0\0\0\
        \x20\x48\xd0\x3f\x38\x9b\x20\x48\xd0\x3f\x38\x9b\x20\x48\xd0\x3f\x38\x9b\x20\x48\xd0\x3f\x38\x9b\xe0\x2e\x30\x3f\x31\xe4";

    #[test]
    fn a_recorded_request() {
        let mut reader = Reader::over(RECORDED);
        let head = SumHead::read(&mut reader, 32, 16).unwrap();
        assert_eq!(head, SumHead { count: 5, block_len: 700, sum_len: 2, remainder: 100 });
        assert_eq!((head.file_len(), head.offset_of(4), head.len_of(4), head.len_of(0)), (2900, 2800, 100, 700));
        let sums = Sums::read(&mut reader, head, 1000).unwrap();
        assert_eq!(sums.weak, [0x3fd0_4820, 0x3fd0_4820, 0x3fd0_4820, 0x3fd0_4820, 0x3f30_2ee0]);
        assert_eq!((sums.strong(0), sums.strong(4), sums.strong(5)), (&b"\x38\x9b"[..], &b"\x31\xe4"[..], &b""[..]));

        let written = Writer::written(|writer| {
            head.write(writer).unwrap();
            for block in 0..5 {
                write_block(writer, sums.weak[block as usize], sums.strong(block), 2).unwrap();
            }
        });
        assert_eq!(written, RECORDED);
    }

    #[test]
    fn heads_are_bounded() {
        let read = |version, values: [i32; 4]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let head = SumHead::read(&mut Reader::over(bytes), version, 16);
            head.map_err(|error| String::from_utf8(error.message).unwrap())
        };
        assert!(read(32, [1, 1 << 17, 16, 1 << 17]).is_ok());
        assert!(read(29, [1, 1 << 29, 2, 0]).is_ok());
        assert!(read(32, [0; 4]).is_ok());
        assert_eq!(read(32, [-5, 1, 2, 0]).unwrap_err(), "Invalid checksum count -5 [receiver]");
        assert_eq!(read(32, [1, 0x20001, 2, 0]).unwrap_err(), "Invalid block length 131073 [receiver]");
        assert_eq!(read(29, [1, 0x20000001, 2, 0]).unwrap_err(), "Invalid block length 536870913 [receiver]");
        assert_eq!(read(32, [1, 0, 2, 0]).unwrap_err(), "Invalid zero block length [receiver]");
        assert_eq!(read(32, [1, 1, 17, 0]).unwrap_err(), "Invalid checksum length 17 [receiver]");
        assert_eq!(read(32, [1, 1, -1, 0]).unwrap_err(), "Invalid checksum length -1 [receiver]");
        assert_eq!(read(32, [1, 700, 2, 701]).unwrap_err(), "Invalid remainder length 701 [receiver]");
    }

    #[test]
    fn a_big_count_costs_what_arrives() {
        let head = SumHead { count: i32::MAX as u32, block_len: 700, sum_len: 16, remainder: 0 };
        assert_eq!(Sums::read(&mut Reader::over([0; 64]), head, u64::MAX).unwrap_err().code, ExitCode::STREAM_IO);
        assert_eq!(Sums::read(&mut Reader::over([0; 64]), head, 1 << 30).unwrap_err().code, ExitCode::MALLOC);
    }
}
