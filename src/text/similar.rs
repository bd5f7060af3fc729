//! How alike two file names are: what makes one file the fuzzy basis of another.

/// One change between two names; the rest of a distance tells how far the changed characters lie apart. C: UNIT
const UNIT: u32 = 1 << 16;
/// Nothing that is farther away counts as similar.
pub const FARTHEST: u32 = 25 * UNIT;
/// No limit, and from where on a distance means that it was not worked out.
const UNKNOWN: u32 = 0xffff_0000;

/// How far a candidate's name is from the one wanted, its suffix counting ten times more; `nearest` is the least
/// distance found so far. C: in generator.c find_fuzzy
pub fn distance(candidate: &[u8], wanted: &[u8], nearest: u32) -> u32 {
    let names = changes(candidate, wanted, nearest);
    if names >= UNKNOWN {
        return names;
    }
    names.wrapping_add(changes(suffix(candidate), suffix(wanted), UNKNOWN).wrapping_mul(10))
}

/// The cheapest way from one name to the other by changing, inserting and deleting characters (Levenshtein), each
/// such step costing a unit and a little for the characters themselves.
///
/// Names whose lengths alone are farther apart than `limit` are not compared. C: util1.c fuzzy_distance
fn changes(from: &[u8], to: &[u8], limit: u32) -> u32 {
    if units(from.len().abs_diff(to.len())) > limit {
        return UNKNOWN + 1;
    }
    if from.is_empty() || to.is_empty() {
        let all = if from.is_empty() { to } else { from };
        // Characters are signed to the reference here, and only here.
        return all.iter().fold(units(all.len()), |sum, &byte| sum.wrapping_add_signed(i32::from(byte as i8)));
    }
    // Costs of reaching each prefix of `to`, row by row for ever longer prefixes of `from`.
    let mut row: Vec<u32> = (1..=to.len()).map(units).collect();
    for (at, &here) in from.iter().enumerate() {
        let (mut corner, mut left) = (units(at), units(at + 1));
        for (cell, &there) in row.iter_mut().zip(to) {
            let above = *cell;
            let changed = corner + if here == there { 0 } else { UNIT + u32::from(here.abs_diff(there)) };
            // The reference looks at one neighbour only, the cheaper one, before it counts that one's character.
            let stepped = if above < left { above + UNIT + u32::from(here) } else { left + UNIT + u32::from(there) };
            (corner, left) = (above, stepped.min(changed));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(UNKNOWN + 1)
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
        let far = distance(candidate.as_bytes(), wanted.as_bytes(), nearest);
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
