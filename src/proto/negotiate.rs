//! Which checksums and which compression are used: the lists of names that newer sides exchange, and the choices.

use std::fs::File;

use super::{Compat, Compression, Side};
use crate::{
    bytes,
    compress::Method,
    error::{Error, ExitCode, Result},
    hash::{Algorithm, FileSum, Sum},
    options::{Compress, Debug, Options, algorithms},
    sys::signal,
    wire::{Reader, Writer},
};

/// The longest list that is sent or taken. C: MAX_NSTR_STRLEN
const MAX_LIST: usize = 255;

/// Takes the debug lines that arise, with the word and level they belong to.
pub type Notes<'a> = dyn FnMut(Debug, u8, Vec<u8>) + 'a;

/// What lists are about.
trait Named: Copy + PartialEq + 'static {
    /// As lines name it.
    const KIND: &str;
    /// What a client offers.
    const OFFER: &str;
    fn from_name(name: &[u8]) -> Option<Self>;
    fn name(self) -> &'static str;
    /// What a peer that sends no list can do.
    fn implied(version: u8) -> Self;
}

impl Named for Algorithm {
    const KIND: &str = "checksum";
    const OFFER: &str = Self::OFFER;

    fn from_name(name: &[u8]) -> Option<Self> {
        Self::from_name(name)
    }

    fn name(self) -> &'static str {
        self.name()
    }

    fn implied(version: u8) -> Self {
        if version >= 30 { Self::Md5 } else { Self::Md4 }
    }
}

impl Named for Method {
    const KIND: &str = "compress";
    const OFFER: &str = Self::OFFER;

    fn from_name(name: &[u8]) -> Option<Self> {
        Self::from_name(name)
    }

    fn name(self) -> &'static str {
        self.name()
    }

    fn implied(_: u8) -> Self {
        Self::Zlib
    }
}

/// Our names in the order of preference.
struct List<T> {
    /// As it is sent.
    text: Vec<u8>,
    known: Vec<T>,
}

impl<T: Named> List<T> {
    /// From RSYNC_CHECKSUM_LIST or RSYNC_COMPRESS_LIST if it has anything, else all there is.
    /// C: compat.c parse_nni_str, get_default_nno_list
    fn ours(server: bool, wanted: Option<&[u8]>) -> Self {
        let mut tokens = tokens(algorithms::half(wanted.unwrap_or_default(), server)).peekable();
        if tokens.peek().is_none() {
            let none = if server { " none" } else { "" };
            let text = bytes![T::OFFER, none];
            let known = text.split(|&byte| byte == b' ').filter_map(T::from_name).collect();
            return Self { text, known };
        }
        let (mut text, mut known) = (Vec::new(), Vec::new());
        for token in tokens {
            let Some(item) = T::from_name(token) else { continue };
            if known.contains(&item) {
                continue;
            }
            let main = token.eq_ignore_ascii_case(item.name().as_bytes());
            let name = if main { token } else { item.name().as_bytes() };
            let space: &[u8] = if text.is_empty() { b"" } else { b" " };
            if text.len() + space.len() + name.len() > MAX_LIST {
                break;
            }
            text.extend_from_slice(space);
            text.extend_from_slice(name);
            known.push(item);
        }
        if text.is_empty() {
            text = b"INVALID".to_vec();
        }
        Self { text, known }
    }

    /// A client takes the best of its own that the server has; a server the first of the client's that it has, which
    /// is what that client takes. C: compat.c parse_negotiate_str
    fn choose(&self, server: bool, theirs: &[u8]) -> Option<T> {
        let mut theirs = theirs.split(|&byte| byte == b' ').filter_map(T::from_name);
        if server {
            theirs.find(|item| self.known.contains(item))
        } else {
            let theirs: Vec<_> = theirs.collect();
            self.known.iter().copied().find(|item| theirs.contains(item))
        }
    }

    fn names(&self) -> Vec<u8> {
        if self.known.is_empty() {
            return b" INVALID".to_vec();
        }
        self.known.iter().flat_map(|item| bytes![" ", item.name()]).collect()
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

/// What was negotiated; nothing where it was chosen, or the peer does not negotiate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Negotiated {
    pub checksum: Option<Algorithm>,
    pub method: Option<Method>,
}

/// The two ends of a negotiation, and how it is spoken about.
struct Talk<'t, 'n> {
    side: Side,
    version: u8,
    /// The peer sends lists.
    lists: bool,
    notes: &'t mut Notes<'n>,
}

impl Talk<'_, '_> {
    fn note(&mut self, whose: &str, kind: &str, list: &[u8]) {
        let level = if self.side.server { 3 } else { 2 };
        let here = self.side.name().to_ascii_lowercase();
        (self.notes)(Debug::Nstr, level, bytes![whose, " ", kind, " list (on ", here, "): ", list]);
    }

    /// C: compat.c send_negotiate_str
    fn offer<T: Named>(&mut self, writer: &mut Writer, wanted: Option<&[u8]>) -> Result<List<T>> {
        let ours = List::<T>::ours(self.side.server, wanted);
        self.note(self.side.name(), T::KIND, &ours.text);
        if self.lists {
            writer.vstring(&ours.text)?;
        }
        Ok(ours)
    }

    /// Reads the peer's list and chooses; of an older one it is checked that its only choice is allowed here.
    /// C: compat.c recv_negotiate_str
    fn choose<T: Named>(&mut self, reader: &mut Reader, ours: &List<T>) -> Result<Option<T>> {
        let (me, peer) = (self.side.name(), self.side.peer_name());
        let theirs = if self.lists {
            let mut list = reader.vstring(MAX_LIST)?;
            if let Some(end) = memchr::memchr(0, &list) {
                list.truncate(end);
            }
            list
        } else {
            T::implied(self.version).name().as_bytes().to_vec()
        };
        self.note(peer, T::KIND, &theirs);
        match ours.choose(self.side.server, &theirs) {
            Some(item) => Ok(self.lists.then_some(item)),
            // The client of a negotiation finds out by itself.
            None if self.side.server && self.lists => Err(Error::silent(ExitCode::UNSUPPORTED)),
            None => {
                let failed = bytes!["Failed to negotiate a ", T::KIND, " choice.\n"];
                let lists = bytes![peer, " list: ", theirs, "\n", me, " list:", ours.names()];
                Err(Error::new(ExitCode::UNSUPPORTED, bytes![failed, lists]))
            }
        }
    }
}

/// Exchanges lists with a peer that can: all of ours go before the first of its is read.
///
/// `lists`: whether the peer is new enough for that. C: compat.c negotiate_the_strings
pub fn negotiate(
    reader: &mut Reader,
    writer: &mut Writer,
    side: Side,
    version: u8,
    lists: bool,
    options: &Options,
    notes: &mut Notes<'_>,
) -> Result<Negotiated> {
    let mut talk = Talk { side, version, lists, notes };
    let sums = match choice(options) {
        None => Some(talk.offer(writer, options.checksum_list.as_deref())?),
        Some(_) => None,
    };
    let methods = match options.compress_choice {
        None if options.compress != Compress::No => Some(talk.offer(writer, options.compress_list.as_deref())?),
        _ => None,
    };
    writer.flush()?;
    let mut negotiated = Negotiated::default();
    if let Some(ours) = sums {
        negotiated.checksum = talk.choose(reader, &ours)?;
    }
    if let Some(ours) = methods {
        negotiated.method = talk.choose(reader, &ours)?;
    }
    Ok(negotiated)
}

/// The compression of file data, and its level. C: compat.c parse_compress_choice
pub fn settle_compression(
    negotiated: Option<Method>,
    side: Side,
    options: &Options,
    notes: &mut Notes<'_>,
) -> Compression {
    let choice = options.compress_choice.as_deref();
    let asked = match (negotiated, choice, options.compress) {
        (Some(method), ..) => method,
        (None, Some(choice), _) => Method::from_name(choice).unwrap_or_default(),
        (None, None, Compress::No) => Method::None,
        (None, None, _) => Method::Zlib,
    };
    let level = asked.level(options.compress_level);
    let method = if level.is_some() { asked } else { Method::None };
    if method != Method::None || options.compress_level.is_some() {
        let how = if negotiated.is_some() { " negotiated" } else { "" };
        let name = match (negotiated, choice) {
            (Some(method), _) => method.name().as_bytes(),
            (None, Some(choice)) if method != Method::None => choice,
            _ => method.name().as_bytes(),
        };
        let level = level.or(options.compress_level).unwrap_or_default();
        let line = bytes![side.name(), how, " compress: ", name, " (level ", level, ")"];
        notes(Debug::Nstr, if side.server { 3 } else { 1 }, line);
    }
    Compression { method, level: level.unwrap_or_default() }
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
    let list = options.checksum_list.as_deref();
    let Some(list) = list.filter(|list| tokens(algorithms::half(list, true)).next().is_some()) else {
        return Ok(());
    };
    let ours = List::<Algorithm>::ours(true, Some(list)).known;
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
        String::from_utf8(List::<Algorithm>::ours(server, Some(list.as_bytes())).text).unwrap()
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
        let client = List::<Algorithm>::ours(false, Some(b"md5 xxh128"));
        let server = List::<Algorithm>::ours(true, None);
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
