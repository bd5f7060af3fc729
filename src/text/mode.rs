//! Permission bits: the `--chmod` notation, and `drwxr-xr-x`.

use libc::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFSOCK, S_ISGID, S_ISUID, S_ISVTX};

/// The bits that `chmod` can change.
pub const PERMISSIONS: u32 = 0o7777;

/// The changes that `--chmod` asks for, in the order given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chmod(Vec<Change>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    All,
    Dirs,
    Files,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Add,
    Remove,
    Set,
}

/// One item between commas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Change {
    scope: Scope,
    operator: Operator,
    /// Bits that `Set` clears first.
    clear: u32,
    /// Bits to add or remove.
    bits: u32,
    /// `X`: the execute bits among `bits` only go to directories and to files that had one.
    keep_x: bool,
    /// `g=u`: shift of the class to copy from, classes to copy to (0o111 form), and what may arrive.
    copy: Option<(u32, u32, u32)>,
}

impl Chmod {
    /// `D` and `F` prefixes, `ugoa`, `+-=`, `rwxXst`, class copies such as `g=u`, and octal numbers.
    ///
    /// Without a class the umask decides what is left alone. `None`: not this notation. C: chmod.c parse_chmod
    pub fn parse(text: &[u8], umask: u32) -> Option<Self> {
        text.split(|&byte| byte == b',').map(|item| parse_item(item, umask)).collect::<Option<_>>().map(Self)
    }

    /// The mode (file type included) after all changes that concern its type. C: chmod.c tweak_mode
    pub fn apply(&self, mode: u32) -> u32 {
        let is_dir = mode & S_IFMT == S_IFDIR;
        let had_x = mode & 0o111 != 0;
        let mut bits = mode & PERMISSIONS;
        for change in &self.0 {
            match change.scope {
                Scope::Dirs if !is_dir => continue,
                Scope::Files if is_dir => continue,
                _ => {}
            }
            let copied = change.copy.map_or(0, |(shift, to, mask)| ((bits >> shift & 7) * to) & mask);
            // `X` withholds execute bits from what is added; what is removed goes all the same
            let withheld = if change.keep_x && !had_x && !is_dir { 0o111 } else { 0 };
            match change.operator {
                Operator::Add => bits |= (change.bits & !withheld) | copied,
                Operator::Remove => bits &= !(change.bits | copied),
                Operator::Set => bits = (bits & !change.clear) | (change.bits & !withheld) | copied,
            }
        }
        bits | (mode & !PERMISSIONS)
    }

    /// Appends another option's changes.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

fn parse_item(item: &[u8], umask: u32) -> Option<Change> {
    let mut scope = Scope::All;
    let mut classes = 0;
    let mut special = 0; // what `s` means for the classes named
    for (at, &byte) in item.iter().enumerate() {
        match byte {
            b'D' if scope != Scope::Files => scope = Scope::Dirs,
            b'F' if scope != Scope::Dirs => scope = Scope::Files,
            b'u' => (classes, special) = (classes | 0o100, special | S_ISUID),
            b'g' => (classes, special) = (classes | 0o010, special | S_ISGID),
            b'o' => classes |= 0o001,
            b'a' => (classes, special) = (0o111, special | S_ISUID | S_ISGID),
            b'+' => return symbolic(&item[at + 1..], scope, Operator::Add, classes, special, umask),
            b'-' => return symbolic(&item[at + 1..], scope, Operator::Remove, classes, special, umask),
            b'=' => return symbolic(&item[at + 1..], scope, Operator::Set, classes, special, umask),
            b'0'..=b'7' if classes == 0 => return octal(&item[at..], scope),
            _ => return None,
        }
    }
    None
}

fn octal(digits: &[u8], scope: Scope) -> Option<Change> {
    let mut bits = 0;
    for &digit in digits {
        bits = bits * 8 + char::from(digit).to_digit(8)?;
        if bits > PERMISSIONS {
            return None;
        }
    }
    Some(Change { scope, operator: Operator::Set, clear: PERMISSIONS, bits, keep_x: false, copy: None })
}

fn symbolic(what: &[u8], scope: Scope, operator: Operator, classes: u32, special: u32, umask: u32) -> Option<Change> {
    let (mut rwx, mut top, mut keep_x, mut copy_from) = (0, 0, false, None);
    for &byte in what {
        match byte {
            b'u' | b'g' | b'o' if rwx == 0 && top == 0 && copy_from.is_none() => {
                copy_from = Some(match byte {
                    b'u' => 6,
                    b'g' => 3,
                    _ => 0,
                });
            }
            _ if copy_from.is_some() => return None,
            b'r' => rwx |= 4,
            b'w' => rwx |= 2,
            b'x' => rwx |= 1,
            b'X' => (rwx, keep_x) = (rwx | 1, true),
            b's' => top |= if special == 0 { S_ISUID } else { special },
            b't' => top |= S_ISVTX,
            _ => return None,
        }
    }
    // without a class: everybody, as far as the umask allows
    let (to, allowed) = if classes == 0 { (0o111, !umask) } else { (classes, PERMISSIONS) };
    let mut clear = to * 7;
    if top != 0 {
        clear |= special;
    }
    if copy_from.is_some() {
        clear |= (to & 0o100) << 5 | (to & 0o010) << 7 | (to & 0o001) << 9;
    }
    let copy = copy_from.map(|shift| (shift, to, allowed & PERMISSIONS));
    Some(Change { scope, operator, clear, bits: ((to * rwx) & allowed) | top, keep_x, copy })
}

/// Type and permissions as `ls` shows them. C: lib/permstring.c permstring
pub fn permission_string(mode: u32) -> String {
    let kind = match mode & S_IFMT {
        S_IFDIR => 'd',
        S_IFLNK => 'l',
        S_IFBLK => 'b',
        S_IFCHR => 'c',
        S_IFSOCK => 's',
        S_IFIFO => 'p',
        _ => '-',
    };
    let mut text = String::with_capacity(10);
    text.push(kind);
    for (shift, special, letter) in [(6, S_ISUID, 's'), (3, S_ISGID, 's'), (0, S_ISVTX, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: u32 = libc::S_IFREG;
    const DIR: u32 = S_IFDIR;

    fn applied(text: &str, mode: u32) -> u32 {
        Chmod::parse(text.as_bytes(), 0o022).unwrap_or_else(|| panic!("{text} refused")).apply(mode)
    }

    // Compared with what `rsync --chmod` of the reference leaves on disk, umask 022.
    #[test]
    fn changes_apply() {
        let cases = [
            ("u+x", FILE | 0o644, 0o744),
            ("+x", FILE | 0o644, 0o755),
            ("+w", FILE | 0o444, 0o644),
            ("a+w", FILE | 0o444, 0o666),
            ("go-rwx", FILE | 0o755, 0o700),
            ("=rx", FILE | 0o777, 0o555),
            ("ug=rw,o=r", FILE | 0o777, 0o664),
            ("755", FILE | 0o640, 0o755),
            ("4755", FILE | 0o640, 0o4755),
            ("D755,F640", DIR | 0o700, 0o755),
            ("D755,F640", FILE | 0o700, 0o640),
            ("Dg+s,a+rX", DIR | 0o700, 0o2755),
            ("a+X", FILE | 0o644, 0o644),
            ("a+X", FILE | 0o744, 0o755),
            ("a-X", FILE | 0o744, 0o644),
            ("g=u", FILE | 0o741, 0o771),
            ("o=g", FILE | 0o750, 0o755),
            ("=u", FILE | 0o700, 0o755),
            ("g-u", FILE | 0o771, 0o701),
            ("g=u", FILE | 0o2750, 0o770),
            ("a+s", FILE | 0o755, 0o6755),
            ("+s", FILE | 0o755, 0o4755),
            ("o+s", FILE | 0o755, 0o4755),
            ("+t", DIR | 0o777, 0o1777),
            ("u=", FILE | 0o777, 0o077),
            ("u=s", FILE | 0o4777, 0o4077),
            ("g=s", FILE | 0o4777, 0o6707),
        ];
        for (text, mode, expected) in cases {
            assert_eq!(applied(text, mode), expected | mode & S_IFMT, "{text} on {mode:o}");
        }
    }

    #[test]
    fn order_counts() {
        assert_eq!(applied("F644,u+x", FILE | 0o600), FILE | 0o744);
        let mut both = Chmod::parse(b"644", 0).unwrap();
        both.extend(Chmod::parse(b"o=", 0).unwrap());
        assert_eq!(both.apply(FILE | 0o777), FILE | 0o640);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "u", "u+q", "DF+x", "FD644", "888", "77777", "u644", "u+x,", ",u+x", "g=ur", "g=ru", "64a", "D"]
        {
            assert_eq!(Chmod::parse(text.as_bytes(), 0o022), None, "{text}");
        }
    }

    #[test]
    fn permission_strings() {
        let cases = [
            (FILE | 0o644, "-rw-r--r--"),
            (DIR | 0o1777, "drwxrwxrwt"),
            (FILE | 0o6755, "-rwsr-sr-x"),
            (FILE | 0o7644, "-rwSr-Sr-T"),
            (S_IFLNK | 0o777, "lrwxrwxrwx"),
            (S_IFIFO | 0o600, "prw-------"),
            (S_IFSOCK, "s---------"),
            (S_IFBLK | 0o660, "brw-rw----"),
            (S_IFCHR | 0o666, "crw-rw-rw-"),
        ];
        for (mode, expected) in cases {
            assert_eq!(permission_string(mode), expected);
        }
    }
}
