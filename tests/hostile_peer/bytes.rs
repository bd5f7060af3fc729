//! What a peer says, byte by byte, written down here anew so that nothing of the program tests itself.

/// Item bits that matter here. C: ITEM_*
pub const TRANSFER: u16 = 1 << 15;
pub const IS_NEW: u16 = 1 << 13;
pub const NAME_FOLLOWS: u16 = 1 << 12;
pub const BASIS_FOLLOWS: u16 = 1 << 11;

pub const FILE: u32 = 0o100_644;
pub const DIR: u32 = 0o040_755;
pub const LINK: u32 = 0o120_777;

pub const DATA: u8 = 7;

/// How an entry of a list differs from a well-formed one.
#[derive(Clone, Copy)]
pub struct Odd {
    /// Bytes shared with the name before, as claimed.
    pub common: Option<u8>,
    /// The length of the rest of the name, as claimed.
    pub name_len: Option<i32>,
    pub size: i64,
    pub nsec: Option<i32>,
    pub target_len: Option<i32>,
    /// More of the flags in front.
    pub flags: i32,
}

pub const PLAIN: Odd = Odd { common: None, name_len: None, size: 5, nsec: None, target_len: None, flags: 0 };

/// A directory that was named. C: XMIT_TOP_DIR
pub const TOP: i32 = 1;
/// A directory whose contents are not listed. C: XMIT_NO_CONTENT_DIR
pub const NO_CONTENT: i32 = 1 << 8;

/// Bytes in the making, in the forms of protocol 30 and later unless said otherwise.
#[derive(Clone, Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn byte(self, byte: u8) -> Self {
        self.raw(&[byte])
    }

    pub fn short(self, value: u16) -> Self {
        self.raw(&value.to_le_bytes())
    }

    pub fn int(self, value: i32) -> Self {
        self.raw(&value.to_le_bytes())
    }

    /// C: io.c write_varint
    pub fn varint(self, value: i32) -> Self {
        self.var(i64::from(value) & 0xffff_ffff, 4, 1)
    }

    /// C: io.c write_varlong
    pub fn varlong(self, value: i64, least: usize) -> Self {
        self.var(value, 8, least)
    }

    fn var(self, value: i64, width: usize, least: usize) -> Self {
        let le = value.to_le_bytes();
        let used = (0..width).rev().find(|&at| le[at] != 0).map_or(0, |at| at + 1).max(least);
        let top = le[used - 1];
        let bit = 1u16 << (7 + least - used);
        if u16::from(top) >= bit {
            let head = !(bit - 1) as u8;
            self.byte(head).raw(&le[..used])
        } else if used > least {
            let head = top | !(2 * bit - 1) as u8;
            self.byte(head).raw(&le[..used - 1])
        } else {
            self.byte(top).raw(&le[..used - 1])
        }
    }

    /// A string behind its length, as in the handshake.
    pub fn string(self, text: &str) -> Self {
        self.byte(text.len() as u8).raw(text.as_bytes())
    }

    /// All that was said so far, as frames of data.
    pub fn framed(self) -> Self {
        let pieces = self.0.chunks(4092);
        pieces.fold(Self::new(), |done, piece| done.message(DATA, piece))
    }

    /// One frame. C: io.c send_msg
    pub fn message(self, tag: u8, payload: &[u8]) -> Self {
        self.head(tag, payload.len() as u32).raw(payload)
    }

    pub fn head(self, tag: u8, len: u32) -> Self {
        self.int((u32::from(tag) << 24 | len) as i32)
    }

    /// An entry of a list with `-rlt`, as protocol 32 has it.
    pub fn entry(self, name: &str, mode: u32, odd: Odd) -> Self {
        self.entry_to(name, mode, "target", odd)
    }

    pub fn file(self, name: &str) -> Self {
        self.entry(name, FILE, PLAIN)
    }

    pub fn dir(self, name: &str) -> Self {
        self.entry(name, DIR, PLAIN)
    }

    pub fn link(self, name: &str, target: &str) -> Self {
        self.entry_to(name, LINK, target, PLAIN)
    }

    fn entry_to(mut self, name: &str, mode: u32, target: &str, odd: Odd) -> Self {
        let long = name.len() > 255 || odd.name_len.is_some();
        let mut flags = 1 << 2 | odd.flags; // no flag at all would be the end of the list
        flags |= if odd.common.is_some() { 1 << 5 } else { 0 };
        flags |= if long { 1 << 6 } else { 0 };
        flags |= if odd.nsec.is_some() { 1 << 13 } else { 0 };
        self = self.varint(flags);
        if let Some(common) = odd.common {
            self = self.byte(common);
        }
        let len = odd.name_len.unwrap_or(name.len() as i32);
        self = if long { self.varint(len) } else { self.byte(len as u8) };
        self = self.raw(name.as_bytes()).varlong(odd.size, 3).varlong(1_500_000_000, 4);
        if let Some(nsec) = odd.nsec {
            self = self.varint(nsec);
        }
        self = self.int(mode as i32);
        if mode & 0o170_000 == 0o120_000 {
            self = self.varint(odd.target_len.unwrap_or(target.len() as i32)).raw(target.as_bytes());
        }
        self
    }

    /// The end of a list, without errors.
    pub fn end_of_list(self) -> Self {
        self.varint(0).varint(0)
    }

    /// An index in its absolute form, good at any place of a conversation. C: io.c write_ndx
    pub fn index(self, index: i32) -> Self {
        let (sign, value) = if index < 0 { (&[0xff][..], -index) } else { (&[][..], index) };
        let [a, b, c, d] = value.to_le_bytes();
        self.raw(sign).raw(&[0xfe, d | 0x80, a, b, c])
    }

    /// The end of a phase.
    pub fn done(self) -> Self {
        self.byte(0)
    }

    /// An index and what is wanted or said of it.
    pub fn item(self, index: i32, flags: u16) -> Self {
        self.index(index).short(flags)
    }

    /// The head of a file's sums.
    pub fn sums(self, count: i32, block_len: i32, sum_len: i32, remainder: i32) -> Self {
        self.int(count).int(block_len).int(sum_len).int(remainder)
    }
}

#[test]
fn numbers_are_written_as_the_reference_writes_them() {
    let bytes = |bytes: Bytes| bytes.0;
    assert_eq!(bytes(Bytes::new().varint(0)), [0]);
    assert_eq!(bytes(Bytes::new().varint(127)), [127]);
    assert_eq!(bytes(Bytes::new().varint(0x1ff)), [0x81, 0xff]);
    assert_eq!(bytes(Bytes::new().varint(0x4000)), [0xc0, 0, 0x40]);
    assert_eq!(bytes(Bytes::new().varint(-1)), [0xf0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(bytes(Bytes::new().varlong(5, 3)), [0, 5, 0]);
    assert_eq!(bytes(Bytes::new().varlong(1_500_000_000, 4)), [0x59, 0, 0x2f, 0x68]);
    assert_eq!(bytes(Bytes::new().varlong(-1, 3)), [0xfc, 255, 255, 255, 255, 255, 255, 255, 255]);
    assert_eq!(bytes(Bytes::new().index(5)), [0xfe, 0x80, 5, 0, 0]);
}
