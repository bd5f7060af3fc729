//! Parts of `-R` names that wait for their first directory's segment: there may be a million, so they lie one after the
//! other in one piece of memory.

use super::names::NameKind;

/// What is wanted of one directory, in the order named. C: relnamecache
#[derive(Default)]
pub(super) struct Rests {
    /// Of each its kind, its name and a NUL, which no name holds.
    bytes: Vec<u8>,
}

impl Rests {
    pub fn push(&mut self, name: &[u8], kind: NameKind) {
        self.bytes.push(letter(kind));
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Gives back memory that growing took in advance.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], NameKind)> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (&letter, tail) = rest.split_first()?;
            let end = memchr::memchr(0, tail)?;
            let (name, after) = tail.split_at_checked(end)?;
            rest = after.get(1..)?;
            Some((name, kind(letter)))
        })
    }
}

fn letter(kind: NameKind) -> u8 {
    match kind {
        NameKind::Normal => b'n',
        NameKind::Slash => b's',
        NameKind::Dot => b'd',
        NameKind::Missing => b'm',
    }
}

fn kind(letter: u8) -> NameKind {
    match letter {
        b's' => NameKind::Slash,
        b'd' => NameKind::Dot,
        b'm' => NameKind::Missing,
        _ => NameKind::Normal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_in_their_order() {
        let mut rests = Rests::default();
        assert!(rests.is_empty() && rests.iter().next().is_none());
        let names: [(&[u8], _); 4] = [
            (b"a/b", NameKind::Normal),
            (b"\xff\n", NameKind::Slash),
            (b"", NameKind::Dot),
            (b"gone", NameKind::Missing),
        ];
        names.iter().for_each(|&(name, kind)| rests.push(name, kind));
        rests.shrink();
        assert!(rests.iter().eq(names));
    }
}
