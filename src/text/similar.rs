//! How alike two file names are: what makes one file the fuzzy basis of another.

/// One change between two names; the rest of a distance tells how far the changed characters lie apart. C: UNIT
const UNIT: u32 = 1 << 16;
/// Nothing that is farther away counts as similar.
pub const FARTHEST: u32 = 25 * UNIT;
/// No limit, and from where on a distance means that it was not worked out.
const UNKNOWN: u32 = 0xffff_0000;

/// Measures how far names are from each other.
pub struct Ruler {
    exact: bool,
    row: Vec<u32>,
}

impl Ruler {
    /// `exact`: a distance that is too large is worked out as well, to be shown.
    pub fn new(exact: bool) -> Self {
        Self { exact, row: Vec::new() }
    }

    /// How far a candidate's name is from the one wanted, its suffix counting ten times more. Beyond `nearest`, the
    /// least distance found so far, any larger number will do. C: in generator.c find_fuzzy
    pub fn distance(&mut self, candidate: &[u8], wanted: &[u8], nearest: u32) -> u32 {
        if too_long(candidate, wanted, nearest) {
            return UNKNOWN + 1;
        }
        let suffixes = self.changes(suffix(candidate), suffix(wanted), UNKNOWN).wrapping_mul(10);
        if self.exact {
            return self.changes(candidate, wanted, UNKNOWN).wrapping_add(suffixes);
        }
        match nearest.checked_sub(suffixes) {
            Some(left) => self.changes(candidate, wanted, left).saturating_add(suffixes),
            None => UNKNOWN,
        }
    }

    /// The cheapest way from one name to the other by changing, inserting and deleting characters (Levenshtein), each
    /// such step costing a unit and a little for the characters themselves; given up where it costs more than `limit`.
    /// C: util1.c fuzzy_distance
    fn changes(&mut self, from: &[u8], to: &[u8], limit: u32) -> u32 {
        if from.is_empty() || to.is_empty() {
            let all = if from.is_empty() { to } else { from };
            // Characters are signed to the reference here, and only here.
            return all.iter().fold(units(all.len()), |sum, &byte| sum.wrapping_add_signed(i32::from(byte as i8)));
        }
        // Costs of reaching each prefix of `to`, row by row for ever longer prefixes of `from`.
        self.row.clear();
        self.row.extend((1..=to.len()).map(units));
        for (at, &here) in from.iter().enumerate() {
            let (mut corner, mut left) = (units(at), units(at + 1));
            let mut least = left;
            for (cell, &there) in self.row.iter_mut().zip(to) {
                let above = *cell;
                let changed = corner + if here == there { 0 } else { UNIT + u32::from(here.abs_diff(there)) };
                // The reference looks at one neighbour only, the cheaper one, before it counts that one's character.
                let stepped =
                    if above < left { above + UNIT + u32::from(here) } else { left + UNIT + u32::from(there) };
                (corner, left) = (above, stepped.min(changed));
                *cell = left;
                least = least.min(left);
            }
            // No way gets cheaper further on.
            if least > limit {
                return UNKNOWN;
            }
        }
        self.row.last().copied().unwrap_or(UNKNOWN)
    }
}

/// Whether the lengths alone are too far apart.
fn too_long(one: &[u8], other: &[u8], limit: u32) -> bool {
    units(one.len().abs_diff(other.len())) > limit
}

fn units(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).saturating_mul(UNIT)
}

/// The part of a name that tells its type: from the last point on, but not the marks of backups, nor a number if there
/// is something better in front of it. C: util1.c find_filename_suffix
fn suffix(name: &[u8]) -> &[u8] {
    let points = name.iter().take_while(|&&byte| byte == b'.').count();
    let whole = name.get(points..).unwrap_or_default();
    let tilde = whole.len() > 1 && whole.ends_with(b"~");
    let mut end = whole.len() - usize::from(tilde);
    let mut found: &[u8] = b"";
    while end > 1 {
        let Some(start) = whole.get(1..end).and_then(|inner| memchr::memrchr(b'.', inner)).map(|at| at + 1) else {
            break;
        };
        let part = whole.get(start..end).unwrap_or_default();
        // A backup's mark is one only at the very end, where the tilde is not.
        let after = whole.get(start + 1..).unwrap_or_default();
        end = start;
        let backup = match part.len() {
            4 => matches!(after, b"bak" | b"old"),
            5 => after == b"orig",
            3.. => tilde && part.get(1) == Some(&b'~') && part.get(2).is_some_and(u8::is_ascii_digit),
            _ => false,
        };
        if backup {
            continue;
        }
        found = part;
        if part.len() == 1 || !part.iter().skip(1).all(u8::is_ascii_digit) {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `--debug=fuzzy2` shows it.
    fn shown(candidate: &str, wanted: &str, nearest: u32) -> String {
        let far = Ruler::new(true).distance(candidate.as_bytes(), wanted.as_bytes(), nearest);
        format!("{}.{:05}", far >> 16, far & 0xffff)
    }

    #[test]
    fn distances_are_those_of_the_reference() {
        for (candidate, wanted, distance) in [
            (".x.y", "notes.text", "49.03516"),
            ("a", "notes.text", "60.05009"),
            ("n.1", "notes.text", "48.04887"),
            ("n.1.2", "notes.text", "48.04791"),
            ("n.tar.gz", "notes.text", "47.02622"),
            ("notes.", "notes.text", "44.04983"),
            ("notes.txt", "notes.text", "11.01111"),
            ("notes.txt.bak", "notes.text", "15.01459"),
            ("notes.txt.~1~", "notes.text", "15.01458"),
            ("notes.txt~", "notes.text", "12.01237"),
            ("n\u{f6}tes.txt", "notes.text", "13.01377"),
            ("\u{e9}.\u{e9}", "notes.text", "49.03943"),
            ("n.1", "n.3", "11.00022"),
            (".x.y", ".\u{e9}", "23.01839"),
            ("\u{e9}.\u{e9}", ".\u{e9}", "31.64516"),
        ] {
            assert_eq!(shown(candidate, wanted, FARTHEST), distance, "{candidate} {wanted}");
        }
        assert_eq!(shown("very-long-name-indeed-here.txt..", "notes.text", 11 * UNIT), "65535.00001");
    }

    #[test]
    fn giving_up_early_changes_no_choice() {
        let names = [
            "notes.txt",
            "notes.txt.bak",
            "n.1",
            "notes-2.txt",
            "a",
            "\u{f6}.\u{f6}",
            "x.tar.gz",
            "note",
            ".rc",
            "n\u{f6}tes",
        ];
        let mut quick = Ruler::new(false);
        let mut exact = Ruler::new(true);
        for wanted in names {
            for candidate in names {
                let far = exact.distance(candidate.as_bytes(), wanted.as_bytes(), FARTHEST);
                for nearest in [0, far.saturating_sub(1), far, far.saturating_add(1), 3 * UNIT, FARTHEST] {
                    let nearest = nearest.min(FARTHEST);
                    let found = quick.distance(candidate.as_bytes(), wanted.as_bytes(), nearest);
                    assert!(found == far || found > nearest && far > nearest, "{candidate} {wanted} {nearest}");
                }
            }
        }
    }

    #[test]
    fn a_suffix_tells_the_type() {
        for (name, wanted) in [
            ("a.txt", ".txt"),
            ("a.tar.gz", ".gz"),
            ("...a", ""),
            (".rc.c", ".c"),
            ("a", ""),
            ("", ""),
            ("~", ""),
            ("a.", "."),
            ("a.txt~", ".txt"),
            ("a.txt.bak", ".txt"),
            ("a.txt.old", ".txt"),
            ("a.txt.orig", ".txt"),
            ("a.txt.~1~", ".txt"),
            ("a.txt.~12~", ".~12"), // a mark of this length may only be bak or old
            ("a.txt.~1234~", ".txt"),
            ("a.so.1", ".so"),
            ("a.so.1.2.3", ".so"),
            ("a.1.2", ".1"),
            ("a.bak", ""),
            ("a.bak~", ".bak"),
            ("a.bak.old", ".bak"),
        ] {
            assert_eq!(suffix(name.as_bytes()), wanted.as_bytes(), "{name}");
        }
    }
}
