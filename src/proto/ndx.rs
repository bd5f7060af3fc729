//! File indexes on the wire, and the negative numbers that mean something else.
//!
//! Before protocol 30 an index is a plain int. Since then most take one byte: the difference to the one before. Each
//! direction remembers its last file index and its last negative number.
//!
//! | first byte | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 – 253 | that much more than the number before |
//! | 254 | two more bytes: the difference, high byte first; or if the first of them has its high bit set four bytes: the number itself, highest (with that bit) first, then lowest, second, third |
//! | 255 | a negative number follows, in the forms above, its sign removed |

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    wire::{Reader, Writer},
};

const DONE: i32 = -1;
const LIST_END: i32 = -2;
const DELETE_STATS: i32 = -3;
/// Directory n is this minus n. C: NDX_FLIST_OFFSET
const DIRECTORY: i32 = -101;

/// What an index can say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Index {
    /// An entry of the file list, 0 or more.
    Entry(i32),
    /// The end of a phase; with incremental recursion also the end of a segment.
    Done,
    /// No more segments will come.
    ListEnd,
    /// Counts of deletions follow.
    DeleteStats,
    /// A segment follows: the contents of this directory, 0 or more.
    Segment(i32),
}

impl Index {
    fn from_number(number: i32) -> Self {
        match number {
            0.. => Self::Entry(number),
            DONE => Self::Done,
            LIST_END => Self::ListEnd,
            DELETE_STATS => Self::DeleteStats,
            // Also those in between, which are no directory's: who knows the directories refuses them.
            _ => Self::Segment(DIRECTORY.wrapping_sub(number)),
        }
    }

    /// The number that the reference's lines show.
    pub fn number(self) -> i32 {
        match self {
            Self::Entry(number) => number,
            Self::Done => DONE,
            Self::ListEnd => LIST_END,
            Self::DeleteStats => DELETE_STATS,
            Self::Segment(directory) => DIRECTORY - directory,
        }
    }
}

/// One direction's memory of what was said before.
#[derive(Clone, Copy, Debug)]
pub struct Indexes {
    short: bool,
    positive: u32,
    negative: u32,
}

impl Indexes {
    /// For the protocol's version.
    pub fn new(version: u8) -> Self {
        Self { short: version >= 30, positive: u32::MAX, negative: 1 }
    }

    /// C: io.c read_ndx
    pub fn read(&mut self, reader: &mut Reader) -> Result<Index> {
        if !self.short {
            return Ok(Index::from_number(reader.int()?));
        }
        let first = reader.byte()?;
        if first == 0 {
            return Ok(Index::Done);
        }
        let negative = first == 0xff;
        let before = if negative { &mut self.negative } else { &mut self.positive };
        let first = if negative { reader.byte()? } else { first };
        let number = if first == 0xfe {
            let [high, low] = reader.array()?;
            if high & 0x80 != 0 {
                let [second, third] = reader.array()?;
                u32::from_le_bytes([low, second, third, high & 0x7f])
            } else {
                before.wrapping_add(u16::from_be_bytes([high, low]).into())
            }
        } else {
            before.wrapping_add(first.into())
        };
        let Ok(signed) = i32::try_from(number) else {
            let message = bytes!["Invalid file index: ", number, " [", reader.role(), "]"];
            return Err(Error::new(ExitCode::PROTOCOL, message));
        };
        *before = number;
        Ok(Index::from_number(if negative { -signed } else { signed }))
    }

    /// C: io.c write_ndx
    pub fn write(&mut self, writer: &mut Writer, index: Index) -> Result<()> {
        let number = index.number();
        if !self.short {
            return writer.int(number);
        }
        if index == Index::Done {
            return writer.byte(0);
        }
        let negative = number < 0;
        let before = if negative { &mut self.negative } else { &mut self.positive };
        let number = number.unsigned_abs();
        let difference = number.wrapping_sub(*before).cast_signed();
        *before = number;
        if negative {
            writer.byte(0xff)?;
        }
        match difference {
            1..0xfe => writer.byte(difference as u8),
            0..=0x7fff => {
                let [high, low] = (difference as u16).to_be_bytes();
                writer.bytes(&[0xfe, high, low])
            }
            _ => {
                let [lowest, second, third, highest] = number.to_le_bytes();
                writer.bytes(&[0xfe, highest | 0x80, lowest, second, third])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: u8, all: &[Index]) -> Vec<u8> {
        let mut indexes = Indexes::new(version);
        Writer::written(|writer| all.iter().for_each(|&index| indexes.write(writer, index).unwrap()))
    }

    fn read(version: u8, bytes: &[u8], count: usize) -> Vec<Index> {
        let mut reader = Reader::over(bytes);
        let mut indexes = Indexes::new(version);
        let all = (0..count).map(|_| indexes.read(&mut reader).unwrap()).collect();
        assert!(reader.byte().is_err());
        all
    }

    #[test]
    fn forms_of_protocol_30() {
        use Index::*;
        let known: [(&[Index], &[u8]); 7] = [
            (&[Entry(0), Entry(1), Entry(1)], &[1, 1, 0xfe, 0, 0]),
            (&[Entry(252), Entry(506), Entry(505)], &[253, 0xfe, 0, 254, 0xfe, 0x80, 0xf9, 1, 0]),
            (&[Entry(0x7fff), Entry(0xfffe)], &[0xfe, 0x80, 0xff, 0x7f, 0, 0xfe, 0x7f, 0xff]),
            (&[Entry(0x1234_5678)], &[0xfe, 0x92, 0x78, 0x56, 0x34]),
            (&[Done, ListEnd, DeleteStats, Done], &[0, 0xff, 1, 0xff, 1, 0]),
            // The first segments of a session: directories 0 and 1.
            (&[Segment(0), Segment(1), Entry(2)], &[0xff, 100, 0xff, 1, 3]),
            (&[Segment(-91)], &[0xff, 9]),
        ];
        for (indexes, bytes) in known {
            assert_eq!(written(32, indexes), bytes);
            assert_eq!(read(32, bytes, indexes.len()), indexes);
        }
    }

    #[test]
    fn before_30_an_index_is_an_int() {
        let all = [Index::Entry(3), Index::Done];
        let bytes = [3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(written(29, &all), bytes);
        assert_eq!(read(29, &bytes, 2), all);
    }

    #[test]
    fn impossible_numbers() {
        let message = |bytes: &[u8]| {
            let mut reader = Reader::over(bytes);
            let mut indexes = Indexes::new(32);
            let error = std::iter::repeat_with(|| indexes.read(&mut reader)).find_map(Result::err).unwrap();
            String::from_utf8(error.message).unwrap()
        };
        assert_eq!(message(&[0xfe, 0xff, 0xff, 0xff, 0xff, 1]), "Invalid file index: 2147483648 [receiver]");
        // A difference of 0 from the start is -1 as an unsigned number.
        assert_eq!(message(&[0xfe, 0, 0]), "Invalid file index: 4294967295 [receiver]");
    }

    proptest::proptest! {
        #[test]
        fn sequences_come_back(numbers: Vec<(bool, i32)>, version in 27u8..33) {
            let all: Vec<_> = numbers
                .into_iter()
                .map(|(segment, number)| {
                    let number = number & i32::MAX;
                    if segment { Index::Segment(number.min(i32::MAX - 101)) } else { Index::Entry(number) }
                })
                .collect();
            assert_eq!(read(version, &written(version, &all), all.len()), all);
        }
    }
}
