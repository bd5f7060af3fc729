//! Small notations: pure functions on bytes.

pub mod escape;
pub mod mode;
pub mod number;
pub mod path;
pub mod similar;
pub mod wildmatch;

/// Something that can be appended to a line of bytes.
pub trait Put {
    fn put(&self, line: &mut Vec<u8>);
}

impl<T: Put + ?Sized> Put for &T {
    fn put(&self, line: &mut Vec<u8>) {
        (**self).put(line);
    }
}

impl Put for str {
    fn put(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(self.as_bytes());
    }
}

impl Put for String {
    fn put(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(self.as_bytes());
    }
}

impl Put for [u8] {
    fn put(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(self);
    }
}

impl Put for Vec<u8> {
    fn put(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(self);
    }
}

impl<const N: usize> Put for [u8; N] {
    fn put(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(self);
    }
}

macro_rules! put_by_display {
    ($($kind:ty)*) => {$(
        impl Put for $kind {
            fn put(&self, line: &mut Vec<u8>) {
                use std::io::Write;
                let _ = write!(line, "{self}"); // a Vec takes every byte
            }
        }
    )*};
}

put_by_display!(i8 u8 i16 u16 i32 u32 i64 u64 usize char std::fmt::Arguments<'_>);

/// Joins text, byte strings and numbers to one line of bytes: names are not UTF-8, so `format!` cannot.
#[macro_export]
macro_rules! bytes {
    ($($part:expr),* $(,)?) => {{
        let mut line: Vec<u8> = Vec::new();
        $($crate::text::Put::put(&$part, &mut line);)*
        line
    }};
}
