//! Endings of names that tell of data that does not shrink (`--skip-compress`).
//!
//! A list is endings between slashes, without their dots, in either case; empty ones do not count. `[xyz]` stands for one of
//! these letters, and a bracket that is not closed, or holds nothing, for itself. Nothing else has a meaning of its own. Of an
//! ending the first 32 bytes count.

/// What is not worth compressing unless the user says otherwise: the list of the reference's manual page.
const USUAL: &str = "\
    3g2 3gp 7z aac ace apk avi bz2 deb dmg ear f4v flac flv gpg gz iso jar jpeg jpg lrz lz lz4 lzma lzo m1a m1v m2a \
    m2ts m2v m4a m4b m4p m4r m4v mka mkv mov mp1 mp2 mp3 mp4 mpa mpeg mpg mpv mts odb odf odg odi odm odp ods odt \
    oga ogg ogm ogv ogx opus otg oth otp ots ott oxt png qt rar rpm rz rzip spx squashfs sxc sxd sxg sxm sxw sz tbz \
    tbz2 tgz tlz ts txz tzo vob war webm webp xz z zip zst";

/// C: token.c add_nocompress_suffixes
const LONGEST: usize = 32;

/// A place in an ending: which letters may stand there.
type Letters = Box<[u8]>;

pub struct Suffixes(Vec<Box<[Letters]>>);

impl Suffixes {
    /// From the user's list, where there is one: an empty list spares nothing.
    pub fn new(list: Option<&[u8]>) -> Self {
        Self(match list {
            Some(list) => list.split(|&byte| byte == b'/').filter_map(ending).collect(),
            None => USUAL.split_ascii_whitespace().filter_map(|suffix| ending(suffix.as_bytes())).collect(),
        })
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
        Suffixes::new(Some(list.as_bytes())).fit(name.as_bytes())
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
    fn an_empty_list_spares_nothing_and_none_means_the_usual() {
        for list in ["", "/", "//"] {
            assert!(!fit(list, "a.gz"));
        }
        let usual = Suffixes::new(None);
        for name in ["a.gz", "a.3g2", "a.zst", "a.m4v", "a.Tbz2", "a.squashfs", "a.z"] {
            assert!(usual.fit(name.as_bytes()), "{name}");
        }
        for name in ["a.c", "a.txt", "a", "gz", "a.tar"] {
            assert!(!usual.fit(name.as_bytes()), "{name}");
        }
        assert_eq!(usual.0.len(), 96);
    }

    #[test]
    fn absurd_endings_are_cut() {
        assert!(fit(&"a".repeat(5000), &format!("x.{}", "A".repeat(32))));
        assert!(!fit(&"a".repeat(5000), &format!("x.{}", "a".repeat(33))));
    }
}
