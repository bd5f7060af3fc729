//! What the environment's locale says about characters and numbers.

use std::{ffi::CStr, sync::OnceLock};

/// The name of the character set (`UTF-8`, `ANSI_X3.4-1968`); that of the C locale if the one named is not installed.
pub fn codeset() -> Vec<u8> {
    item(libc::LC_CTYPE_MASK, libc::CODESET)
}

/// Whether numbers are written `3,14`. Asked once.
pub fn decimal_comma() -> bool {
    static COMMA: OnceLock<bool> = OnceLock::new();
    *COMMA.get_or_init(|| item(libc::LC_NUMERIC_MASK, libc::RADIXCHAR) == b",")
}

/// One text of the environment's locale; no thread's current locale changes.
fn item(mask: libc::c_int, item: libc::nl_item) -> Vec<u8> {
    for name in [c"", c"C"] {
        // SAFETY: the name is a C string, and a null base asks for a new object.
        let locale = unsafe { libc::newlocale(mask, name.as_ptr(), std::ptr::null_mut()) };
        if locale.is_null() {
            continue;
        }
        // SAFETY: the locale is valid until `freelocale`; the text lives as long and is copied before that.
        let text = unsafe { CStr::from_ptr(libc::nl_langinfo_l(item, locale)) }.to_bytes().to_vec();
        // SAFETY: made above, and not used again.
        unsafe { libc::freelocale(locale) };
        return text;
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_locale_has_a_character_set() {
        assert!(!codeset().is_empty());
    }
}
