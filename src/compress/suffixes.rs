//! Endings of names that tell of data that does not shrink (`--skip-compress`).
//!
//! A list is endings between slashes, without their dots, in either case; empty ones do not count. `[xyz]` stands for one of
//! these letters, and a bracket that is not closed, or holds nothing, for itself. Nothing else has a meaning of its own. Of an
//! ending the first 32 bytes count.

/// C: token.c add_nocompress_suffixes
const LONGEST: usize = 32;

/// A place in an ending: which letters may stand there.
type Letters = Box<[u8]>;

pub struct Suffixes(Vec<Box<[Letters]>>);

impl Suffixes {
    /// From the user's list.
    pub fn new(list: &[u8]) -> Self {
        Self(list.split(|&byte| byte == b'/').filter_map(ending).collect())
    }

    /// Whether a name, or the last component of a path, has one of the endings. A dot in front of it all begins none.
    /// C: token.c set_compression
    pub fn fit(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let Some(dot) = memchr::memrchr(b'.', name).filter(|&dot| dot > 0) else { return false };
        let suffix = &name[dot + 1..];
        let fits = |(letters, byte): (&Letters, &u8)| letters.contains(&byte.to_ascii_lowercase());
        self.0.iter().any(|ending| ending.len() == suffix.len() && ending.iter().zip(suffix).all(fits))
    }
}

fn ending(suffix: &[u8]) -> Option<Box<[Letters]>> {
    let lower = suffix.get(..LONGEST).unwrap_or(suffix).to_ascii_lowercase();
    let (mut rest, mut ending) = (&lower[..], Vec::new());
    while let Some((&letter, after)) = rest.split_first() {
        let close = after.iter().position(|&byte| byte == b']').filter(|&close| letter == b'[' && close > 0);
        let letters = close.map_or(&rest[..1], |close| &after[..close]);
        ending.push(letters.into());
        rest = close.map_or(after, |close| &after[close + 1..]);
    }
    (!ending.is_empty()).then(|| ending.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(list: &str, name: &str) -> bool {
        Suffixes::new(list.as_bytes()).fit(name.as_bytes())
    }

    #[test]
    fn lists_name_endings() {
        let list = "gz/JPG/mp[34]/7z//[ab][cd]x/";
        for name in ["a.gz", "dir.d/a.GZ", "b.jpg", "c.mp3", "c.mp4", "d.7z", "x.tar.gz", "e.acx", "e.BDX"] {
            assert!(fit(list, name), "{name}");
        }
        for name in
            ["gz", ".gz", "d/.gz", "a.gzz", "a.g", "a.gz.", "a.gz~", "c.mp5", "c.mp", "c.mp34", "a.gz/b", "", "e.aax"]
        {
            assert!(!fit(list, name), "{name}");
        }
    }

    #[test]
    fn only_closed_brackets_with_letters_have_a_meaning() {
        for (list, name) in
            [("a[b", "x.a[b"), ("a[]", "x.a[]"), ("[x]", "x.x"), ("a]b", "x.a]b"), ("*", "x.*"), ("a-z", "x.a-z")]
        {
            assert!(fit(list, name), "{list}");
        }
        for (list, name) in [("*", "x.gz"), ("?z", "x.gz"), ("[a-z]", "x.m"), ("tar.gz", "x.tar.gz")] {
            assert!(!fit(list, name), "{list}");
        }
    }

    #[test]
    fn an_empty_list_names_nothing() {
        for list in ["", "/", "//"] {
            assert!(!fit(list, "a.gz"));
        }
    }

    #[test]
    fn absurd_endings_are_cut() {
        assert!(fit(&"a".repeat(5000), &format!("x.{}", "A".repeat(32))));
        assert!(!fit(&"a".repeat(5000), &format!("x.{}", "a".repeat(33))));
    }
}
