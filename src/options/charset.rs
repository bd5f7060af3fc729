//! `--iconv`: the character set that names have here, while those on the wire are UTF-8.

use super::{ArgStyle, Options};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    sys::{
        iconv::{Converter, Stop},
        locale,
    },
};

const WIRE: &[u8] = b"UTF-8";

/// This side's character set. C: rsync.c setup_iconv
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charset(Vec<u8>);

impl Charset {
    /// `None`: names travel as they are. A client's set stands before the comma and the server's, which also a local copy
    /// has, behind it; nothing or a dot is the locale's.
    pub fn of(options: &Options) -> Option<Self> {
        let spec = options.iconv.as_deref()?;
        let (ours, theirs) = match memchr::memchr(b',', spec) {
            Some(comma) => (&spec[..comma], &spec[comma + 1..]),
            None => (spec, spec),
        };
        Some(Self(match if options.is_server() { theirs } else { ours } {
            b"" | b"." => locale::codeset(),
            name => name.to_vec(),
        }))
    }

    /// As `of`, for what goes over the wire beside the list: file names of `--files-from`. Only with `-s`.
    /// C: filesfrom_convert
    pub fn of_names(options: &Options) -> Option<Self> {
        Self::of(options).filter(|_| options.arg_style == ArgStyle::Secluded)
    }

    pub fn name(&self) -> &[u8] {
        &self.0
    }

    /// Both directions, to the wire and back.
    pub fn open(&self) -> Result<(Text, Text)> {
        Ok((self.to_wire()?, self.from_wire()?))
    }

    pub fn to_wire(&self) -> Result<Text> {
        Text::open(WIRE, &self.0)
    }

    pub fn from_wire(&self) -> Result<Text> {
        Text::open(&self.0, WIRE)
    }
}

/// One direction between this side's texts and the wire's.
#[derive(Debug)]
pub struct Text(Converter);

impl Text {
    #[track_caller]
    fn open(to: &[u8], from: &[u8]) -> Result<Self> {
        Converter::open(to, from)
            .map(Self)
            .map_err(|_| Error::new(ExitCode::UNSUPPORTED, bytes!["iconv_open(\"", to, "\", \"", from, "\") failed"]))
    }

    /// Appends the text in the other set to `out`, which may grow up to `limit` bytes.
    pub fn convert(&mut self, text: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Stop> {
        self.0.reset();
        self.0.run(text, out, limit).1.map_or(Ok(()), Err)
    }

    /// The text in the other set; what cannot be converted stays as it is. C: ICB_INCLUDE_BAD, ICB_INCLUDE_INCOMPLETE
    pub fn as_far_as_possible(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() * 2);
        self.pieces(text, |piece| match piece {
            Piece::Converted(piece) => out.extend_from_slice(piece),
            Piece::Bad(byte, _) => out.push(byte),
        });
        out
    }

    /// Converts a text piece by piece, from its first byte on.
    pub fn pieces(&mut self, text: &[u8], mut each: impl FnMut(Piece<'_>)) {
        self.0.reset();
        let mut rest = text;
        let mut converted = Vec::new();
        while !rest.is_empty() {
            converted.clear();
            let (left, stop) = self.0.run(rest, &mut converted, usize::MAX);
            each(Piece::Converted(&converted));
            rest = left;
            if let (Some(stop), Some((&byte, behind))) = (stop, rest.split_first()) {
                each(Piece::Bad(byte, stop));
                rest = behind;
            }
        }
    }
}

/// A part of a converted text.
pub enum Piece<'a> {
    Converted(&'a [u8]),
    /// A byte with which no character begins that could be converted.
    Bad(u8, Stop),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Mode;

    fn set(spec: &str, server: bool) -> Vec<u8> {
        let mode = if server { Mode::ServerReceiver } else { Mode::default() };
        Charset::of(&Options { iconv: Some(spec.into()), mode, ..Options::default() }).unwrap().0
    }

    #[test]
    fn each_side_has_its_own() {
        assert_eq!(set("latin1,utf8", false), b"latin1");
        assert_eq!(set("latin1,utf8", true), b"utf8");
        assert_eq!(set("koi8-r", false), b"koi8-r");
        assert_eq!(set("koi8-r", true), b"koi8-r");
        assert_eq!(Charset::of(&Options::default()), None);
    }

    #[test]
    fn a_dot_is_the_locales() {
        for spec in [".", "", ".,utf8", ",utf8"] {
            assert_eq!(set(spec, false), locale::codeset());
        }
        assert_eq!(set("utf8,.", true), locale::codeset());
    }

    #[test]
    fn what_cannot_be_converted_may_stay() {
        let mut text = Charset(b"ISO-8859-1".to_vec()).from_wire().unwrap();
        let wire = "é€ü".as_bytes();
        assert_eq!(text.as_far_as_possible(wire), b"\xe9\xe2\x82\xac\xfc");
        assert_eq!(text.as_far_as_possible(b"a\xc3"), b"a\xc3");
        assert_eq!(text.convert(wire, &mut Vec::new(), 100), Err(Stop::Illegal));
    }

    #[test]
    fn an_unknown_set_ends_the_run() {
        let error = Charset(b"nope".to_vec()).to_wire().unwrap_err();
        assert_eq!(
            (error.code, &error.message[..]),
            (ExitCode::UNSUPPORTED, &b"iconv_open(\"UTF-8\", \"nope\") failed"[..])
        );
    }
}
