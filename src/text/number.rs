//! Numbers as rsync prints them, and sizes as its options take them.

use crate::sys::locale;

/// How numbers are shown: the `-h` level and the locale's decimal point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// 0: digits only; 1: groups of three; 2: units of 1000; 3 and more: units of 1024. C: human_readable
    pub level: u8,
    /// The locale writes `3,14`: then the groups are set off by points.
    pub decimal_comma: bool,
}

impl Style {
    pub const PLAIN: Self = Self { level: 0, decimal_comma: false };
    pub const GROUPED: Self = Self { level: 1, decimal_comma: false };

    pub fn level(level: u8) -> Self {
        Self { level, decimal_comma: false }
    }

    /// As the environment's locale has it. C: lib/compat.c get_number_separator
    pub fn of_user(level: u8) -> Self {
        Self { level, decimal_comma: locale::decimal_comma() }
    }

    /// The same without units: counts rather than sizes. C: inums.h comma_num
    pub fn without_units(self) -> Self {
        Self { level: self.level.min(1), ..self }
    }

    /// C: lib/compat.c do_big_num
    pub fn integer(self, number: i64) -> String {
        self.in_units(number).unwrap_or_else(|| self.digits(number))
    }

    /// With so many digits after the point; units, if any, always have two. C: lib/compat.c do_big_dnum
    pub fn decimal(self, number: f64, digits: usize) -> String {
        let plain = self.pointed(format!("{number:.digits$}"));
        if self.level == 0 || number.abs() < 1000.0 || !number.is_finite() {
            return plain;
        }
        let whole = number as i64;
        self.in_units(whole).unwrap_or_else(|| {
            let fraction = plain.find(['.', ',']).map_or("", |point| &plain[point..]);
            self.digits(whole) + fraction
        })
    }

    fn in_units(self, number: i64) -> Option<String> {
        let unit: u16 = match self.level {
            0 | 1 => return None,
            2 => 1000,
            _ => 1024,
        };
        if number.unsigned_abs() < u64::from(unit) {
            return None;
        }
        let unit = f64::from(unit);
        let mut size = number as f64 / unit;
        let mut letters = ['K', 'M', 'G', 'T', 'P'].into_iter();
        let mut letter = letters.next();
        while size.abs() >= unit
            && let Some(next) = letters.next()
        {
            size /= unit;
            letter = Some(next);
        }
        Some(self.pointed(format!("{size:.2}{}", letter.unwrap_or('P'))))
    }

    /// A number that was written with a decimal point.
    pub fn pointed(self, text: String) -> String {
        if self.decimal_comma { text.replace('.', ",") } else { text }
    }

    fn digits(self, number: i64) -> String {
        let digits = number.unsigned_abs().to_string();
        let mut text = String::with_capacity(digits.len() * 4 / 3 + 2);
        if number < 0 {
            text.push('-');
        }
        for (at, digit) in digits.chars().enumerate() {
            if self.level > 0 && at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(if self.decimal_comma { '.' } else { ',' });
            }
            text.push(digit);
        }
        text
    }
}

/// What a size option accepts. C: options.c parse_size_arg
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SizeRule {
    /// The unit of a bare number: `b`, `K`, …
    pub unit: u8,
    pub min: i64,
    /// `None`: whatever fits.
    pub max: Option<i64>,
    /// 0 is accepted below `min`, and means "no limit".
    pub zero_is_unlimited: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SizeError {
    Invalid,
    TooLarge,
    TooSmall,
}

impl SizeRule {
    /// A size such as `700`, `1.5m`, `2KB`, `1GiB`, `128K-1`: letters b k m g t p in either case, alone or with `iB` for
    /// 1024, with `B` for 1000, then perhaps `+1` or `-1`. Where the locale has a decimal comma it serves as well as a point.
    pub fn parse(self, text: &[u8]) -> Result<i64, SizeError> {
        let number_len = number_len(text);
        let (number, mut rest) = text.split_at(number_len);
        let letter = match rest.first() {
            None | Some(b'+' | b'-') => self.unit,
            Some(&letter) => {
                rest = &rest[1..];
                letter
            }
        };
        let power = b"bkmgtp".iter().position(|&known| known == letter.to_ascii_lowercase());
        let power = power.ok_or(SizeError::Invalid)? as u32;
        let base: i64 = match rest {
            [b'b' | b'B', tail @ ..] => {
                rest = tail;
                1000
            }
            [] | [b'+' | b'-', ..] => 1024,
            [b'i' | b'I', b'b' | b'B', tail @ ..] => {
                rest = tail;
                1024
            }
            _ => return Err(SizeError::Invalid),
        };
        if number.is_empty() && is_negative(text) {
            return Err(SizeError::TooLarge); // so the reference calls it
        }
        let size = self.scale(number, base.pow(power))?;
        let size = match rest {
            [] => size,
            b"+1" if text.len() > 2 => size.checked_add(1).ok_or(SizeError::TooLarge)?,
            b"-1" if text.len() > 2 => size - 1,
            _ => return Err(SizeError::Invalid),
        };
        if size < 0 || self.max.is_some_and(|max| size > max) {
            return Err(SizeError::TooLarge);
        }
        if size < self.min && !(self.zero_is_unlimited && size == 0) {
            return Err(SizeError::TooSmall);
        }
        Ok(size)
    }

    fn scale(self, number: &[u8], unit: i64) -> Result<i64, SizeError> {
        let max = self.max.unwrap_or(i64::MAX);
        let text = std::str::from_utf8(number).unwrap_or_default().replace(',', ".");
        // what is left of a number without any digit counts as 0
        let value: f64 = text.parse().unwrap_or(0.0);
        let limit = max as f64 / unit as f64;
        if unit > max || value > limit || (self.max.is_none() && value >= limit) {
            return Err(SizeError::TooLarge);
        }
        Ok((value * unit as f64) as i64)
    }

    /// The reference's complaint about `--OPTION=TEXT`, without a newline.
    pub fn complaint(self, option: &str, text: &[u8], error: SizeError) -> Vec<u8> {
        let (what, bound) = match error {
            SizeError::Invalid => ("invalid", None),
            SizeError::TooLarge => ("too large", self.max.map(|max| ("max", max))),
            SizeError::TooSmall => ("too small", Some(("min", self.min))),
        };
        let mut line = crate::bytes!["--", option, "=", text, " is ", what];
        if let Some((name, limit)) = bound {
            let or_zero = if name == "min" && self.zero_is_unlimited { " or 0 for unlimited" } else { "" };
            line.extend(crate::bytes![" (", name, ": ", Style::of_user(3).integer(limit), or_zero, ")"]);
        }
        line
    }
}

/// Whether a text begins with a negative number other than 0.
fn is_negative(text: &[u8]) -> bool {
    text.strip_prefix(b"-")
        .is_some_and(|rest| rest[..number_len(rest)].iter().any(|digit| (b'1'..=b'9').contains(digit)))
}

/// Length of the leading digits, with at most one point among or after them.
fn number_len(text: &[u8]) -> usize {
    let whole = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match text.get(whole) {
        Some(&point) if point == b'.' || point == b',' && locale::decimal_comma() => {
            whole + 1 + text[whole + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count()
        }
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_by_level() {
        let cases = [
            (0, 1_234_567, "1234567"),
            (1, 1_234_567, "1,234,567"),
            (1, 999, "999"),
            (1, 1000, "1,000"),
            (1, -1_234, "-1,234"),
            (1, -123, "-123"),
            (2, 1_234_567, "1.23M"),
            (3, 1_234_567, "1.18M"),
            (2, 999, "999"),
            (3, 1000, "1,000"),
            (3, 1152, "1.12K"),
            (2, -1_500, "-1.50K"),
            (2, 1_000_000_000_000_000_000, "1000.00P"),
            (1, i64::MIN, "-9,223,372,036,854,775,808"),
            (4, 2048, "2.00K"),
        ];
        for (level, number, expected) in cases {
            assert_eq!(Style::level(level).integer(number), expected);
        }
        assert_eq!(Style::level(3).without_units().integer(5000), "5,000");
        assert_eq!(Style { level: 1, decimal_comma: true }.integer(5000), "5.000");
    }

    #[test]
    fn decimals_by_level() {
        assert_eq!(Style::level(1).decimal(2173.534, 2), "2,173.53");
        assert_eq!(Style::level(0).decimal(2173.534, 2), "2173.53");
        assert_eq!(Style::level(2).decimal(2173.534, 2), "2.17K");
        assert_eq!(Style::level(3).decimal(1010.5, 2), "1,010.50");
        assert_eq!(Style::level(1).decimal(0.001, 3), "0.001");
        assert_eq!(Style { level: 1, decimal_comma: true }.decimal(2173.5, 2), "2.173,50");
    }

    const BYTES: SizeRule = SizeRule { unit: b'b', min: 0, max: None, zero_is_unlimited: false };

    #[test]
    fn sizes_are_read() {
        let cases: [(&str, i64); 15] = [
            ("0", 0),
            ("700", 700),
            ("1k", 1024),
            ("1K", 1024),
            ("1KB", 1000),
            ("1KiB", 1024),
            ("1kib", 1024),
            ("1.5m", 1_572_864),
            (".5k", 512),
            ("1g-1", 1_073_741_823),
            ("1KB+1", 1001),
            ("5+1", 6),
            ("", 0),
            ("K", 0),
            ("2p", 2_251_799_813_685_248),
        ];
        for (text, expected) in cases {
            assert_eq!(BYTES.parse(text.as_bytes()), Ok(expected), "{text}");
        }
        let bwlimit = SizeRule { unit: b'K', min: 512, max: None, zero_is_unlimited: true };
        assert_eq!(bwlimit.parse(b"1.5"), Ok(1536));
        assert_eq!(bwlimit.parse(b"0"), Ok(0));
        assert_eq!(bwlimit.parse(b"100b"), Err(SizeError::TooSmall));
    }

    #[test]
    fn wrong_sizes_are_refused() {
        for text in ["x", "1x", "1kx", "-", "-0", "+1", "1kb+2", "1 k", "1e3", "0x10", "1..5", "1k+1x", "1kibb"] {
            assert_eq!(BYTES.parse(text.as_bytes()), Err(SizeError::Invalid), "{text}");
        }
        for text in ["8388608t", "99999999999999999999", "0-1", "8192p", "-1", "-5k"] {
            assert_eq!(BYTES.parse(text.as_bytes()), Err(SizeError::TooLarge), "{text}");
        }
    }

    #[test]
    fn complaints_name_the_bound() {
        let block = SizeRule { unit: b'b', min: 0, max: Some(131_072), zero_is_unlimited: false };
        let error = block.parse(b"200k").unwrap_err();
        assert_eq!(
            block.complaint("block-size", b"200k", error),
            crate::bytes!["--block-size=200k is too large (max: ", Style::of_user(3).integer(131_072), ")"]
        );
        assert_eq!(BYTES.complaint("max-size", b"q", SizeError::Invalid), b"--max-size=q is invalid");
        let bwlimit = SizeRule { unit: b'K', min: 512, max: None, zero_is_unlimited: true };
        assert_eq!(
            bwlimit.complaint("bwlimit", b"1b", SizeError::TooSmall),
            b"--bwlimit=1b is too small (min: 512 or 0 for unlimited)"
        );
    }
}
