//! Shell patterns over paths: `*` and `?` stop at slashes, `**` does not, `[…]` is one character and never a slash.

/// So many steps a byte of the text may cost before the match is simulated instead.
const PATIENCE: usize = 64;

/// Whether all of `text` fits `pattern`. A backslash takes the next character as it is; a malformed set fits nothing.
/// C: lib/wildmatch.c wildmatch
///
/// Going back to the last star is quick for all patterns that people write. For others, which a peer may think up, the
/// time is bounded by the product of the two lengths.
pub fn wildmatch(pattern: &[u8], text: &[u8]) -> bool {
    let budget = PATIENCE.saturating_mul(text.len() + 16);
    backtrack(pattern, text, budget).unwrap_or_else(|| simulate(pattern, text, false))
}

/// Whether all of `text`, or all that comes after one of its slashes, fits `pattern`.
/// C: lib/wildmatch.c wildmatch_array with a negative place
pub fn wildmatch_behind_slashes(pattern: &[u8], text: &[u8]) -> bool {
    let starts = || memchr::memchr_iter(b'/', text).map(|slash| slash + 1);
    let budget = PATIENCE.saturating_mul(text.len() + 16) / (starts().count() + 1);
    for start in [0].into_iter().chain(starts()) {
        match backtrack(pattern, &text[start..], budget) {
            Some(false) => {}
            Some(true) => return true,
            None => return simulate(pattern, text, true),
        }
    }
    false
}

/// The stars at the front of a pattern: what comes behind them, and whether they go beyond slashes.
fn stars(pattern: &[u8]) -> Option<(&[u8], bool)> {
    let count = pattern.iter().take_while(|&&byte| byte == b'*').count();
    (count > 0).then(|| (&pattern[count..], count > 1))
}

/// Tries the shortest text for every star first; `None` if that takes more than `budget` steps.
fn backtrack(pattern: &[u8], text: &[u8], budget: usize) -> Option<bool> {
    let (mut rest, mut at) = (pattern, 0);
    // Where to go on when what follows a star did not fit: (pattern after the star, text it has taken so far).
    let mut star: Option<(&[u8], usize)> = None;
    let mut deep_star: Option<(&[u8], usize)> = None;
    for _ in 0..budget {
        if let Some((after, deep)) = stars(rest) {
            if after.is_empty() && (deep || memchr::memchr(b'/', &text[at..]).is_none()) {
                return Some(true);
            }
            rest = after;
            if deep {
                (deep_star, star) = (Some((rest, at)), None);
            } else {
                star = Some((rest, at));
            }
        }
        let fits = match (rest.is_empty(), text.get(at)) {
            (true, None) => return Some(true),
            (false, Some(&byte)) => one(rest, byte),
            _ => None,
        };
        if let Some(after) = fits {
            (rest, at) = (after, at + 1);
        } else if let Some((after, taken)) = star.filter(|&(_, taken)| text.get(taken).is_some_and(|&b| b != b'/')) {
            star = Some((after, taken + 1));
            (rest, at) = (after, taken + 1);
        } else if let Some((after, taken)) = deep_star.filter(|&(_, taken)| taken < text.len()) {
            (deep_star, star) = (Some((after, taken + 1)), None);
            (rest, at) = (after, taken + 1);
        } else {
            return Some(false);
        }
    }
    None
}

/// Follows all ways through the pattern at once; `anew`: from behind every slash too.
fn simulate(pattern: &[u8], text: &[u8], anew: bool) -> bool {
    // places in the pattern that the text so far leads to
    let mut places = vec![false; pattern.len() + 1];
    let mut next = places.clone();
    reach(&mut places, pattern, 0);
    for &byte in text {
        next.fill(false);
        for at in (0..pattern.len()).filter(|&at| places[at]) {
            if let Some((_, deep)) = stars(&pattern[at..]) {
                if deep || byte != b'/' {
                    reach(&mut next, pattern, at);
                }
            } else if let Some(after) = one(&pattern[at..], byte) {
                reach(&mut next, pattern, pattern.len() - after.len());
            }
        }
        if anew && byte == b'/' {
            reach(&mut next, pattern, 0);
        }
        std::mem::swap(&mut places, &mut next);
    }
    places.last() == Some(&true)
}

/// Marks a place, and what lies behind stars that may take nothing.
fn reach(places: &mut [bool], pattern: &[u8], at: usize) {
    places[at] = true;
    if let Some((after, _)) = stars(&pattern[at..]) {
        places[pattern.len() - after.len()] = true;
    }
}

/// What is left of the pattern if its first element, not a star, fits `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'\\', literal, rest @ ..] => (*literal == byte).then_some(rest),
        [b'\\'] => None,
        [b'?', rest @ ..] => (byte != b'/').then_some(rest),
        [b'[', rest @ ..] => {
            let (fits, rest) = set(rest, byte)?;
            (fits && byte != b'/').then_some(rest)
        }
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

/// Reads a set up to its `]`: whether `byte` is meant, and what comes after. `None`: malformed.
fn set(pattern: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let negated = matches!(pattern.first(), Some(b'!' | b'^'));
    let mut rest = if negated { &pattern[1..] } else { pattern };
    let mut found = false;
    let mut before: Option<u8> = None;
    let mut first = true;
    loop {
        let (&this, tail) = rest.split_first()?;
        if this == b']' && !first {
            return Some((found != negated, tail));
        }
        first = false;
        match (this, before, tail) {
            (b'\\', _, [literal, tail @ ..]) => {
                found |= *literal == byte;
                (before, rest) = (Some(*literal), tail);
            }
            (b'\\', _, []) => return None,
            (b'-', Some(low), [high, tail @ ..]) if *high != b']' => {
                let (high, tail) = if *high == b'\\' { tail.split_first()? } else { (high, tail) };
                found |= (low..=*high).contains(&byte);
                (before, rest) = (None, tail);
            }
            (b'[', _, [b':', tail @ ..]) => {
                let end = memchr::memchr(b']', tail)?;
                match tail[..end].strip_suffix(b":") {
                    Some(name) => {
                        found |= class(name, byte)?;
                        (before, rest) = (None, &tail[end + 1..]);
                    }
                    None => {
                        found |= byte == b'[';
                        (before, rest) = (Some(b'['), &rest[1..]);
                    }
                }
            }
            _ => {
                found |= this == byte;
                (before, rest) = (Some(this), tail);
            }
        }
    }
}

/// Whether a byte belongs to a named class; `None`: no such class.
fn class(name: &[u8], byte: u8) -> Option<bool> {
    Some(match name {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte == b' ' || byte.is_ascii_graphic(),
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fits: bool, cases: &[(&str, &str)]) {
        for (pattern, text) in cases {
            assert_eq!(wildmatch(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} on {text}");
        }
    }

    #[test]
    fn stars_and_slashes() {
        check(
            true,
            &[
                ("", ""),
                ("*", ""),
                ("*.c", "main.c"),
                ("a*b*c", "a-b-b-c"),
                ("**", "a/b/c"),
                ("a/**", "a/b/c"),
                ("a**z", "a/b/z"),
                ("**/x", "a/b/x"),
                ("*/x/**", "a/x/b/c"),
                ("**/*a*b*t", "abc/acb/xaxbt"),
                ("-*-*-12-*-m-*", "-a-b-12-75-m-70"),
            ],
        );
        check(
            false,
            &[
                ("*", "a/b"),
                ("a*c", "a/c"),
                ("?", "/"),
                ("**/x", "x"),
                ("*/x/**", "a/b/x/c"),
                ("*/x", "a/b/x"),
                ("", "a"),
                ("?", ""),
                ("b*a", "aaabbb"),
                ("-*-*-12-*-m-*", "-a-b-12-75-n-70"),
            ],
        );
    }

    #[test]
    fn sets() {
        check(
            true,
            &[
                ("[a-c]x", "bx"),
                ("[!a-c]", "d"),
                ("[^a]", "b"),
                ("[]]", "]"),
                ("[]-a]", "^"),
                ("[a-]", "-"),
                ("[[:alpha:][:digit:]]", "7"),
                ("[[:]x", ":x"),
                ("[\\]]", "]"),
                ("[\\1-\\3]", "2"),
                ("[a-e-n]", "-"),
                ("[[-\\]]", "\\"),
                ("[--A]", "5"),
            ],
        );
        check(
            false,
            &[
                ("[/]", "/"),
                ("[!a]", "/"),
                ("[a", "a"),
                ("[", "["),
                ("[!]-]", "]"),
                ("[[:nope:]]", "n"),
                ("[a-e-n]", "j"),
                ("[\\]", "\\"),
                ("[]-a]", "["),
            ],
        );
    }

    #[test]
    fn backslashes() {
        check(true, &[("\\*", "*"), ("\\a\\b", "ab"), ("*\\\\", "x\\")]);
        check(false, &[("\\*", "x"), ("\\", ""), ("\\", "\\"), ("*\\", "x\\")]);
    }

    #[test]
    fn both_ways_agree() {
        let patterns =
            ["a*b", "**a*b", "a**b*c/**", "*/x/**", "[a-c]*?", "**", "*", "a\\*b", "[a", "***/b", "a*/b*c**d"];
        let texts = ["", "a", "ab", "a/b", "axb", "a*b", "x/x/b", "aab/abc/d", "a/x/c/", "ab/bc/cd/d"];
        for (pattern, text) in
            patterns.iter().flat_map(|pattern| texts.map(|text| (pattern.as_bytes(), text.as_bytes())))
        {
            let behind = wildmatch_behind_slashes(pattern, text);
            assert_eq!(behind, simulate(pattern, text, true), "{pattern:?} behind slashes of {text:?}");
            assert_eq!(
                backtrack(pattern, text, usize::MAX),
                Some(simulate(pattern, text, false)),
                "{pattern:?} on {text:?}"
            );
        }
    }

    #[test]
    fn hostile_patterns_take_little_time() {
        let pattern = ["**", &"*a".repeat(5), &"a".repeat(1500), "b"].concat();
        assert!(!wildmatch(pattern.as_bytes(), "a".repeat(4000).as_bytes()));
        assert!(!wildmatch_behind_slashes(pattern.as_bytes(), "a/".repeat(2000).as_bytes()));
        let sets = "**[a-z][a-z]*".repeat(200) + "/";
        assert!(!wildmatch(sets.as_bytes(), "ab".repeat(2000).as_bytes()));
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "a*".repeat(40) + "b";
        assert!(!wildmatch(pattern.as_bytes(), "a".repeat(5000).as_bytes()));
    }
}
