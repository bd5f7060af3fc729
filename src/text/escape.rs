//! Names on a terminal or in a log: bytes that are no characters become `\#ooo`.

/// What the locale takes for a character.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Charset {
    /// The C locale: the seven-bit bytes.
    #[default]
    Ascii,
    /// As the C library converts it: shortest forms up to six bytes, no surrogates.
    Utf8,
    /// A charset in which every byte stands for itself (the ISO 8859 family).
    SingleByte,
}

impl Charset {
    /// From `nl_langinfo(CODESET)`; what is not known counts as seven-bit.
    pub fn from_codeset(name: &[u8]) -> Self {
        let name: Vec<u8> =
            name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect();
        if name == b"utf8" {
            Self::Utf8
        } else if name.starts_with(b"iso8859") || name.starts_with(b"koi8") {
            Self::SingleByte
        } else {
            Self::Ascii
        }
    }

    /// Length of the character that begins `text`; 0 if none does.
    fn char_len(self, text: &[u8]) -> usize {
        match (self, text.first()) {
            (_, None) => 0,
            (_, Some(0..0x80)) | (Self::SingleByte, _) => 1,
            (Self::Ascii, _) => 0,
            (Self::Utf8, Some(_)) => utf8_char_len(text).unwrap_or(0),
        }
    }
}

/// Length of a multi-byte UTF-8 form in the wide sense of the C library.
fn utf8_char_len(text: &[u8]) -> Option<usize> {
    let (&lead, tail) = text.split_first()?;
    let more = lead.leading_ones().checked_sub(1).filter(|more| (1..=5).contains(more))? as usize;
    let mut code = u32::from(lead & (0x3f >> more));
    for &byte in tail.get(..more)? {
        if byte & 0xc0 != 0x80 {
            return None;
        }
        code = code << 6 | u32::from(byte & 0x3f);
    }
    let smallest = if more == 1 { 0x80 } else { 1 << (5 * more + 1) };
    (code >= smallest && !(0xd800..0xe000).contains(&code)).then_some(more + 1)
}

/// Which bytes pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// A client's output: characters of the locale that are no control characters.
    Characters(Charset),
    /// `-8`: everything but control characters.
    EightBit,
    /// A server that writes to its own stderr: what `isprint` accepts.
    Printable,
    /// A log file: everything but both ranges of control characters.
    LogFile,
}

impl Policy {
    /// How many bytes pass at the front of `text`; 0: the first is to be escaped.
    fn passes(self, text: &[u8]) -> usize {
        let Some(&byte) = text.first() else { return 0 };
        match (self, byte) {
            (_, b'\t') => 1,
            (_, 0..0x20) => 0,
            (Self::Characters(charset), _) => charset.char_len(text),
            (Self::EightBit, _) => 1,
            (Self::Printable, _) => usize::from(byte < 0x7f),
            (Self::LogFile, _) => usize::from(!(0x80..0xa0).contains(&byte)),
        }
    }
}

/// Appends `line` to `out` with what may not pass written as `\#ooo`, and so a text that looks like such an escape.
///
/// A newline or carriage return at the end passes, as does a carriage return in front (progress lines), except into a
/// log file. C: log.c rwrite, filtered_fwrite
pub fn escape_line(out: &mut Vec<u8>, line: &[u8], policy: Policy) {
    let (start, text, end) = parts(line);
    if policy == Policy::LogFile {
        escape(out, start, policy);
    } else {
        out.extend_from_slice(start);
    }
    escape(out, text, policy);
    out.extend_from_slice(end);
}

/// The carriage return in front of a line, what it says, and its ending.
pub fn parts(line: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let end = usize::from(matches!(line.last(), Some(b'\n' | b'\r')));
    let (rest, end) = line.split_at(line.len() - end);
    let (start, text) = rest.split_at(usize::from(rest.first() == Some(&b'\r')));
    (start, text, end)
}

/// A byte as `\#ooo`.
pub fn octal(byte: u8) -> [u8; 5] {
    [b'\\', b'#', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]
}

/// As `escape_line`, for a piece of text without a line ending.
pub fn escape(out: &mut Vec<u8>, mut text: &[u8], policy: Policy) {
    out.reserve(text.len());
    while let Some(&byte) = text.first() {
        let passes = if looks_escaped(text) { 0 } else { policy.passes(text) };
        if passes == 0 {
            out.extend_from_slice(&octal(byte));
        } else {
            out.extend_from_slice(&text[..passes]);
        }
        text = &text[passes.max(1)..];
    }
}

fn looks_escaped(text: &[u8]) -> bool {
    matches!(text, [b'\\', b'#', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8], policy: Policy) -> Vec<u8> {
        let mut out = Vec::new();
        escape_line(&mut out, text, policy);
        out
    }

    const C: Policy = Policy::Characters(Charset::Ascii);
    const UTF8: Policy = Policy::Characters(Charset::Utf8);

    // Every expectation here was printed by rsync 3.5.0 for a file of that name.
    #[test]
    fn as_the_reference_prints_names() {
        type Case = (&'static [u8], &'static [u8], &'static [u8], &'static [u8]);
        let cases: [Case; 12] = [
            (b"nl\nx\n", b"nl\\#012x\n", b"nl\\#012x\n", b"nl\\#012x\n"),
            (b"tab\tx", b"tab\tx", b"tab\tx", b"tab\tx"),
            (b"del\x7fx", b"del\x7fx", b"del\x7fx", b"del\x7fx"),
            (b"esc\x1bx", b"esc\\#033x", b"esc\\#033x", b"esc\\#033x"),
            (b"utf\xc3\xa9", b"utf\\#303\\#251", b"utf\xc3\xa9", b"utf\xc3\xa9"),
            (b"bad\xffx", b"bad\\#377x", b"bad\\#377x", b"bad\xffx"),
            (b"lit\\#123x", b"lit\\#134#123x", b"lit\\#134#123x", b"lit\\#134#123x"),
            (b"short\\#12", b"short\\#12", b"short\\#12", b"short\\#12"),
            (b"sur\xed\xa0\x80", b"sur\\#355\\#240\\#200", b"sur\\#355\\#240\\#200", b"sur\xed\xa0\x80"),
            (
                b"five\xf8\x88\x80\x80\x80x",
                b"five\\#370\\#210\\#200\\#200\\#200x",
                b"five\xf8\x88\x80\x80\x80x",
                b"five\xf8\x88\x80\x80\x80x",
            ),
            (b"trunc\xe2\x82", b"trunc\\#342\\#202", b"trunc\\#342\\#202", b"trunc\xe2\x82"),
            (b"over\xc0\xafx", b"over\\#300\\#257x", b"over\\#300\\#257x", b"over\xc0\xafx"),
        ];
        for (name, in_c, in_utf8, eight_bit) in cases {
            assert_eq!(escaped(name, C), in_c);
            assert_eq!(escaped(name, UTF8), in_utf8);
            assert_eq!(escaped(name, Policy::EightBit), eight_bit);
        }
    }

    #[test]
    fn line_endings_pass() {
        assert_eq!(escaped(b"\r  10%\r", C), b"\r  10%\r");
        assert_eq!(escaped(b"\n", C), b"\n");
        assert_eq!(escaped(b"", C), b"");
        assert_eq!(escaped(b"\rx\n", Policy::LogFile), b"\\#015x\n");
    }

    #[test]
    fn log_files_and_servers() {
        assert_eq!(escaped(b"a\x9b\xe9\x7f\n", Policy::LogFile), b"a\\#233\xe9\x7f\n");
        assert_eq!(escaped(b"a\xe9\x7f\n", Policy::Printable), b"a\\#351\\#177\n");
        assert_eq!(escaped(b"a\xe9\xff", Policy::Characters(Charset::SingleByte)), b"a\xe9\xff");
    }

    #[test]
    fn utf8_in_the_c_librarys_sense() {
        for (text, expected) in [
            (&b"\xc1\xbf"[..], None),
            (b"\xc2\x80", Some(2)),
            (b"\xe0\x9f\xbf", None),
            (b"\xe0\xa0\x80", Some(3)),
            (b"\xee\x80\x80", Some(3)),
            (b"\xf0\x8f\xbf\xbf", None),
            (b"\xf4\x90\x80\x80", Some(4)),
            (b"\xf7\xbf\xbf\xbf", Some(4)),
            (b"\xf8\x87\xbf\xbf\xbf", None),
            (b"\xfc\x84\x80\x80\x80\x80", Some(6)),
            (b"\xfd\xbf\xbf\xbf\xbf\xbf", Some(6)),
            (b"\xfe\x80\x80\x80\x80\x80\x80", None),
            (b"\x80", None),
        ] {
            assert_eq!(utf8_char_len(text), expected, "{text:x?}");
        }
    }

    #[test]
    fn codesets_are_known_by_name() {
        assert_eq!(Charset::from_codeset(b"ANSI_X3.4-1968"), Charset::Ascii);
        assert_eq!(Charset::from_codeset(b"UTF-8"), Charset::Utf8);
        assert_eq!(Charset::from_codeset(b"ISO-8859-15"), Charset::SingleByte);
    }
}
