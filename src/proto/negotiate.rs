//! Which checksums are used: the lists of names that newer sides exchange, and `--checksum-choice`.

use std::fs::File;

use super::{Compat, Side};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    hash::{Algorithm, FileSum, Sum},
    options::{Debug, Options},
    sys::signal,
    wire::{Reader, Writer},
};

/// The longest list that is sent or taken. C: MAX_NSTR_STRLEN
const MAX_LIST: usize = 255;

/// Takes the debug lines that arise, with the word and level they belong to.
pub type Notes<'a> = dyn FnMut(Debug, u8, Vec<u8>) + 'a;

/// Our names in the order of preference.
struct List {
    /// As it is sent.
    text: Vec<u8>,
    algorithms: Vec<Algorithm>,
}

impl List {
    /// From RSYNC_CHECKSUM_LIST if it has anything, else all there is. C: compat.c parse_nni_str, get_default_nno_list
    fn ours(server: bool, wanted: Option<&[u8]>) -> Self {
        let mut tokens = tokens(wanted.unwrap_or_default()).peekable();
        if tokens.peek().is_none() {
            let none = if server { " none" } else { "" };
            let text = bytes![Algorithm::OFFER, none];
            let algorithms = text.split(|&byte| byte == b' ').filter_map(Algorithm::from_name).collect();
            return Self { text, algorithms };
        }
        let (mut text, mut algorithms) = (Vec::new(), Vec::new());
        for token in tokens {
            let Some(algorithm) = Algorithm::from_name(token) else { continue };
            if algorithms.contains(&algorithm) {
                continue;
            }
            let main = token.eq_ignore_ascii_case(algorithm.name().as_bytes());
            let name = if main { token } else { algorithm.name().as_bytes() };
            let space: &[u8] = if text.is_empty() { b"" } else { b" " };
            if text.len() + space.len() + name.len() > MAX_LIST {
                break;
            }
            text.extend_from_slice(space);
            text.extend_from_slice(name);
            algorithms.push(algorithm);
        }
        if text.is_empty() {
            text = b"INVALID".to_vec();
        }
        Self { text, algorithms }
    }

    /// A client takes the best of its own that the server has; a server the first of the client's that it has, which
    /// is what that client takes. C: compat.c parse_negotiate_str
    fn choose(&self, server: bool, theirs: &[u8]) -> Option<Algorithm> {
        let mut theirs = theirs.split(|&byte| byte == b' ').filter_map(Algorithm::from_name);
        if server {
            theirs.find(|algorithm| self.algorithms.contains(algorithm))
        } else {
            let theirs: Vec<_> = theirs.collect();
            self.algorithms.iter().copied().find(|algorithm| theirs.contains(algorithm))
        }
    }

    fn names(&self) -> Vec<u8> {
        if self.algorithms.is_empty() {
            return b" INVALID".to_vec();
        }
        self.algorithms.iter().flat_map(|algorithm| bytes![" ", algorithm.name()]).collect()
    }
}

fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| b" \t\n\r\x0b\x0c".contains(byte)).filter(|token| !token.is_empty())
}

fn is_auto(choice: &[u8]) -> bool {
    choice.eq_ignore_ascii_case(b"auto")
}

/// What the user asked for, unless that is to find out.
fn choice(options: &Options) -> Option<&[u8]> {
    options.checksum_choice.as_deref().filter(|choice| !is_auto(choice))
}

/// Exchanges lists with a peer that can, and checks that an older one's only choice is allowed here.
///
/// `lists`: whether the peer is new enough for that. `None` when nothing was negotiated.
/// C: compat.c negotiate_the_strings
pub fn negotiate(
    reader: &mut Reader,
    writer: &mut Writer,
    side: Side,
    version: u8,
    lists: bool,
    options: &Options,
    notes: &mut Notes<'_>,
) -> Result<Option<Algorithm>> {
    if choice(options).is_some() {
        return Ok(None);
    }
    let ours = List::ours(side.server, options.checksum_list.as_deref());
    let (me, peer, level) = (side.name(), side.peer_name(), if side.server { 3 } else { 2 });
    let at = bytes![" checksum list (on ", me.to_ascii_lowercase(), "): "];
    notes(Debug::Nstr, level, bytes![me, at, ours.text]);
    let theirs = if lists {
        writer.vstring(&ours.text)?;
        writer.flush()?;
        let mut list = reader.vstring(MAX_LIST)?;
        if let Some(end) = memchr::memchr(0, &list) {
            list.truncate(end);
        }
        list
    } else if version >= 30 {
        b"md5".to_vec()
    } else {
        b"md4".to_vec()
    };
    notes(Debug::Nstr, level, bytes![peer, at, theirs]);
    match ours.choose(side.server, &theirs) {
        Some(algorithm) => Ok(lists.then_some(algorithm)),
        // The client of a negotiation finds out by itself.
        None if side.server && lists => Err(Error::silent(ExitCode::UNSUPPORTED)),
        None => Err(Error::new(
            ExitCode::UNSUPPORTED,
            bytes![
                "Failed to negotiate a checksum choice.\n",
                peer,
                " list: ",
                theirs,
                "\n",
                me,
                " list:",
                ours.names()
            ],
        )),
    }
}

/// The sums of transfer and list: negotiated, chosen by one or two names, or implied.
/// C: checksum.c parse_checksum_choice
pub fn settle(
    negotiated: Option<Algorithm>,
    side: Side,
    version: u8,
    compat: Compat,
    options: &Options,
    notes: &mut Notes<'_>,
) -> Result<(Algorithm, Algorithm)> {
    let implied = Algorithm::implied(version, compat.checksum_seed_fix);
    let (transfer, list) = match (negotiated, choice(options)) {
        (Some(algorithm), _) => (algorithm, algorithm),
        (None, None) => (implied, implied),
        (None, Some(choice)) => {
            let (transfer, list) = parse(choice, implied)?;
            if side.server {
                check_allowed(options, choice, [transfer, list])?;
            }
            (transfer, list)
        }
    };
    let level = if side.server { 3 } else { 1 };
    let (how, name) = match choice(options) {
        _ if negotiated.is_some() => (" negotiated", transfer.name().as_bytes()),
        Some(choice) => ("", choice),
        None => ("", transfer.name().as_bytes()),
    };
    notes(Debug::Nstr, level, bytes![side.name(), how, " checksum: ", name]);
    Ok((transfer, list))
}

/// `NAME` or `TRANSFER,LIST`.
fn parse(choice: &[u8], implied: Algorithm) -> Result<(Algorithm, Algorithm)> {
    let algorithm = |name: &[u8], shown: &[u8]| {
        if is_auto(name) {
            return Ok(implied);
        }
        let unknown = || Error::new(ExitCode::UNSUPPORTED, bytes!["unknown checksum name: ", shown]);
        Algorithm::from_name(name).ok_or_else(unknown)
    };
    match choice.iter().position(|&byte| byte == b',') {
        Some(comma) => {
            Ok((algorithm(&choice[..comma], choice)?, algorithm(&choice[comma + 1..], &choice[comma + 1..])?))
        }
        None => algorithm(choice, choice).map(|both| (both, both)),
    }
}

/// The `--checksum` sum of the first `size` bytes of an open file. Without a sum no file is like another, and to take
/// all for alike would leave old data in place. C: checksum.c file_checksum
///
/// # Errors
/// Exit status 4 where `none` was chosen for the list, 20 where a signal asked us to stop.
pub fn file_sum(algorithm: Algorithm, file: &File, size: u64) -> Result<Sum> {
    if algorithm == Algorithm::None {
        let line = "Invalid checksum-choice for --checksum: none (0)";
        return Err(Error::new(ExitCode::UNSUPPORTED, line));
    }
    let going_on = || signal::received().is_none();
    FileSum::of_file(algorithm, file, size, going_on).ok_or_else(|| Error::silent(ExitCode::SIGNAL))
}

/// A server's own list also limits what a client may choose. C: compat.c validate_choice_vs_env
fn check_allowed(options: &Options, choice: &[u8], chosen: [Algorithm; 2]) -> Result<()> {
    let Some(list) = options.checksum_list.as_deref().filter(|list| tokens(list).next().is_some()) else {
        return Ok(());
    };
    let ours = List::ours(true, Some(list)).algorithms;
    let allowed = |algorithm: Algorithm| ours.iter().any(|ours| ours.name() == algorithm.name());
    if chosen.into_iter().all(allowed) {
        return Ok(());
    }
    Err(Error::new(
        ExitCode::UNSUPPORTED,
        bytes!["Your --checksum-choice value (", choice, ") was refused by the server."],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(server: bool, list: &str) -> String {
        String::from_utf8(List::ours(server, Some(list.as_bytes())).text).unwrap()
    }

    #[test]
    fn lists_are_made_as_the_reference_makes_them() {
        assert_eq!(text(false, ""), "xxh128 xxh3 xxh64 md5 md4 sha1");
        assert_eq!(text(true, "  "), "xxh128 xxh3 xxh64 md5 md4 sha1 none");
        assert_eq!(text(false, " MD5\tfoo xxhash xxh64 md5 none"), "MD5 xxh64 none");
        assert_eq!(text(false, "foo"), "INVALID");
        assert!(text(false, &"md5 xxh3 ".repeat(99)).len() <= MAX_LIST);
    }

    #[test]
    fn both_ends_choose_the_same() {
        let client = List::ours(false, Some(b"md5 xxh128"));
        let server = List::ours(true, None);
        assert_eq!(client.choose(false, &server.text), Some(Algorithm::Md5));
        assert_eq!(server.choose(true, &client.text), Some(Algorithm::Md5));
        assert_eq!(server.choose(true, b"foo INVALID"), None);
    }

    #[test]
    fn choices() {
        let implied = Algorithm::Md5;
        let message = |choice: &[u8]| String::from_utf8(parse(choice, implied).unwrap_err().message).unwrap();
        assert_eq!(parse(b"MD4", implied).unwrap(), (Algorithm::Md4, Algorithm::Md4));
        assert_eq!(parse(b"none,xxhash", implied).unwrap(), (Algorithm::None, Algorithm::Xxh64));
        assert_eq!(parse(b"auto,sha1", implied).unwrap(), (Algorithm::Md5, Algorithm::Sha1));
        assert_eq!(message(b"foo,md5"), "unknown checksum name: foo,md5");
        assert_eq!(message(b"md5,foo"), "unknown checksum name: foo");
        let options = Options { checksum_list: Some(b"md4".to_vec()), ..Options::default() };
        assert!(check_allowed(&options, b"md4", [Algorithm::Md4Old, Algorithm::Md4]).is_ok());
        let error = check_allowed(&options, b"md5", [Algorithm::Md5; 2]).unwrap_err();
        assert_eq!(error.code, ExitCode::UNSUPPORTED);
        assert_eq!(error.message, b"Your --checksum-choice value (md5) was refused by the server.");
    }
}
