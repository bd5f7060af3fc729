//! The integers of the wire: fixed little-endian forms and the two variable-length ones of protocol 30.
//!
//! A variable-length integer tells in the leading one bits of its first byte how many further bytes follow beyond
//! the least number it has; what is left of the first byte is the value's most significant part, the bytes after it
//! are the rest, lowest first. `varint` is at least one byte and holds 32 bits; `varlong` is at least `min` bytes
//! (3 for sizes, 4 for times) and holds 64.

use std::ops::Deref;

/// A wire integer's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encoded {
    bytes: [u8; 12],
    len: u8,
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A first byte that announces more bytes than its type can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("integer too long")]
pub struct Overflow;

/// How many bytes follow beyond the least number, by the first byte: its leading ones, up to six.
pub fn extra(first: u8) -> usize {
    first.leading_ones().min(6) as usize
}

/// C: io.c write_varint
pub fn varint(value: i32) -> Encoded {
    variable(u64::from(value.cast_unsigned()), 1)
}

/// `min` is 3 to 8. C: io.c write_varlong
pub fn varlong(value: i64, min: usize) -> Encoded {
    variable(value.cast_unsigned(), min)
}

fn variable(value: u64, min: usize) -> Encoded {
    let raw = value.to_le_bytes();
    let mut count = raw.len();
    while count > min && raw[count - 1] == 0 {
        count -= 1;
    }
    let mut bytes = [0; 12];
    let extra = count - min;
    let top = raw[count - 1];
    // Below the `extra` ones of the first byte and the zero that ends them there is room for 7 - extra bits.
    let room = 7 - extra as u32;
    if u32::from(top) >= 1 << room {
        bytes[0] = !0 << room;
        bytes[1..=count].copy_from_slice(&raw[..count]);
        Encoded { bytes, len: count as u8 + 1 }
    } else {
        bytes[0] = top | if extra == 0 { 0 } else { !0 << (room + 1) };
        bytes[1..count].copy_from_slice(&raw[..count - 1]);
        Encoded { bytes, len: count as u8 }
    }
}

/// The value of a varint from its first byte and the `extra(first)` bytes after it. C: io.c read_varint
pub fn decode_varint(first: u8, rest: &[u8]) -> Result<i32, Overflow> {
    let extra = rest.len();
    if extra > 4 {
        return Err(Overflow);
    }
    let mut raw = [0; 5];
    raw[..extra].copy_from_slice(rest);
    raw[extra] = first & top_mask(extra);
    let [a, b, c, d, _] = raw; // a fifth byte is beyond 32 bits and dropped, as the reference does
    Ok(i32::from_le_bytes([a, b, c, d]))
}

/// The value of a varlong from its first byte and the `min - 1 + extra(first)` bytes after it.
/// C: io.c read_varlong
pub fn decode_varlong(first: u8, rest: &[u8]) -> Result<i64, Overflow> {
    if rest.len() > 8 {
        return Err(Overflow);
    }
    let mut raw = [0; 9];
    raw[..rest.len()].copy_from_slice(rest);
    raw[rest.len()] = first & top_mask(extra(first));
    let [low @ .., _] = raw;
    Ok(i64::from_le_bytes(low))
}

/// The bits of a first byte that belong to the value when `extra` bytes follow.
fn top_mask(extra: usize) -> u8 {
    if extra == 0 { 0xff } else { ((1u16 << (8 - extra)) - 1) as u8 }
}

/// Four bytes if it fits in 31 bits, else four 0xff and eight bytes. C: io.c write_longint
pub fn longint(value: i64) -> Encoded {
    let mut bytes = [0xff; 12];
    if let Ok(small @ 0..) = i32::try_from(value) {
        bytes[..4].copy_from_slice(&small.to_le_bytes());
        return Encoded { bytes, len: 4 };
    }
    bytes[4..].copy_from_slice(&value.to_le_bytes());
    Encoded { bytes, len: 12 }
}

/// The length prefix of a string of at most 0x7fff bytes; `None` for a longer one. C: io.c write_vstring
pub fn string_length(len: usize) -> Option<Encoded> {
    let mut bytes = [0; 12];
    let len = match len {
        0..=0x7f => {
            bytes[0] = len as u8;
            1
        }
        0x80..=0x7fff => {
            bytes[0] = 0x80 | (len >> 8) as u8;
            bytes[1] = len as u8;
            2
        }
        _ => return None,
    };
    Some(Encoded { bytes, len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(encoded: &[u8]) -> i32 {
        assert_eq!(encoded.len(), 1 + extra(encoded[0]));
        decode_varint(encoded[0], &encoded[1..]).unwrap()
    }

    fn back_long(encoded: &[u8], min: usize) -> i64 {
        assert_eq!(encoded.len(), min + extra(encoded[0]));
        decode_varlong(encoded[0], &encoded[1..]).unwrap()
    }

    #[test]
    fn varints_have_the_reference_s_bytes() {
        let known: [(i32, &[u8]); 10] = [
            (0, &[0]),
            (0x7f, &[0x7f]),
            (0x80, &[0x80, 0x80]),
            (0x3fff, &[0xbf, 0xff]),
            (0x4000, &[0xc0, 0x00, 0x40]),
            (0x1f_ffff, &[0xdf, 0xff, 0xff]),
            (0x20_0000, &[0xe0, 0x00, 0x00, 0x20]),
            (0x0fff_ffff, &[0xef, 0xff, 0xff, 0xff]),
            (0x1000_0000, &[0xf0, 0x00, 0x00, 0x00, 0x10]),
            (-1, &[0xf0, 0xff, 0xff, 0xff, 0xff]),
        ];
        for (value, bytes) in known {
            assert_eq!(&*varint(value), bytes, "{value:#x}");
            assert_eq!(back(bytes), value);
        }
    }

    #[test]
    fn varlongs_have_the_reference_s_bytes() {
        let known: [(i64, usize, &[u8]); 8] = [
            (0, 3, &[0, 0, 0]),
            (0x1234, 3, &[0, 0x34, 0x12]),
            (0x7f_ffff, 3, &[0x7f, 0xff, 0xff]),
            (0x80_0000, 3, &[0x80, 0x00, 0x00, 0x80]),
            (0x6543_2100, 4, &[0x65, 0x00, 0x21, 0x43]),
            (0x1_0000_0000, 4, &[0x81, 0, 0, 0, 0]),
            (-1, 3, &[0xfc, 255, 255, 255, 255, 255, 255, 255, 255]),
            (-1, 4, &[0xf8, 255, 255, 255, 255, 255, 255, 255, 255]),
        ];
        for (value, min, bytes) in known {
            assert_eq!(&*varlong(value, min), bytes, "{value:#x} from {min}");
            assert_eq!(back_long(bytes, min), value);
        }
    }

    #[test]
    fn overlong_is_an_error_and_loose_is_not() {
        assert_eq!(decode_varint(0xf8, &[0; 5]), Err(Overflow));
        assert_eq!(decode_varint(0x80, &[5]), Ok(5));
        assert_eq!(decode_varlong(0xfc, &[0; 9]), Err(Overflow));
    }

    #[test]
    fn longints_and_string_lengths() {
        assert_eq!(&*longint(0x7fff_ffff), &[0xff, 0xff, 0xff, 0x7f]);
        assert_eq!(&*longint(0x8000_0000), &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0x80, 0, 0, 0, 0]);
        assert_eq!(&*longint(-2), &[[0xff; 4], [0xfe, 0xff, 0xff, 0xff], [0xff; 4]].concat()[..]);
        assert_eq!(&*string_length(0x7f).unwrap(), &[0x7f]);
        assert_eq!(&*string_length(0x123).unwrap(), &[0x81, 0x23]);
        assert_eq!(string_length(0x8000), None);
    }

    proptest::proptest! {
        #[test]
        fn every_value_comes_back(value: i32, long: i64, min in 3usize..9) {
            assert_eq!(back(&varint(value)), value);
            assert_eq!(back_long(&varlong(long, min), min), long);
        }
    }
}
