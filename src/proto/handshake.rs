//! The first bytes of a connection, until both sides know how they will speak.
//!
//! Each side announces the newest protocol it speaks and both take the lower. From protocol 30 on the server, which
//! has seen the client's abilities in its arguments, answers with the compatibility flags; if the flags say so both
//! send their lists of checksum names; then the server sends the seed of the checksums. All of this is plain; after
//! it frames begin in the directions that have them.

use std::{
    process,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    Compat, NEWEST_PROTOCOL, OLDEST_PROTOCOL, Protocol, Side, batch,
    negotiate::{self, Notes},
};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    options::{AltDest, Debug, Options, forward::inc_recurse_allowed},
    wire::{Messages, Reader, Rules, Writer},
};

/// How long the last words of a peer that takes nothing may take to come.
const PARTING: Duration = Duration::from_secs(1);

/// A peer may announce a protocol up to this; anything above is not a peer.
const HIGHEST_BELIEVABLE: i32 = 40;

/// Agrees with the peer on everything in `Protocol`. Both halves are plain, before and after.
///
/// `notes` gets the `--debug` lines. C: compat.c setup_protocol
pub fn agree(
    reader: &mut Reader,
    writer: &mut Writer,
    side: Side,
    options: &Options,
    notes: &mut Notes<'_>,
) -> Result<Protocol> {
    let asked = options.protocol.unwrap_or(NEWEST_PROTOCOL);
    let ours = if side.server && !side.local { without_sub_protocol(asked, &options.client_info) } else { asked };
    let remote = match writer.int(ours.into()).and_then(|()| writer.flush()) {
        Ok(()) => reader.int()?,
        Err(error) => parting_word(reader, error)?,
    };
    let line = format!("({}) Protocol versions: remote={remote}, negotiated={}", side.name(), remote.min(ours.into()));
    notes(Debug::Proto, 1, line.into_bytes());
    let (remote_version, version) = agree_on_version(ours, remote, side)?;
    refuse_too_modern(version, options, side)?;

    let (compat, lists) = match version {
        ..30 => (Compat::default(), false),
        _ if side.server => send_compat(writer, side, options)?,
        _ => {
            let compat = Compat::from_bits(reader.varint()?);
            (compat, compat.varint_flist_flags)
        }
    };
    if compat.inc_recurse && !may_recurse_incrementally(side, options) {
        let message = "Incompatible options specified for inc-recursive connection.";
        return Err(Error::new(ExitCode::SYNTAX, message));
    }

    let recorded = options.writes_batch().then(|| for_batch(options, version));
    let options = recorded.as_ref().unwrap_or(options);
    let negotiated = negotiate::negotiate(reader, writer, side, version, lists, options, notes)?;
    let checksum_seed = if side.server {
        let seed = options.checksum_seed.filter(|&seed| seed != 0).unwrap_or_else(fresh_seed);
        writer.int(seed)?;
        writer.flush()?;
        seed
    } else {
        reader.int()?
    };
    let (transfer_sum, list_sum) = negotiate::settle(negotiated.checksum, side, version, compat, options, notes)?;
    let compression = negotiate::settle_compression(negotiated.method, side, options, notes);
    Ok(Protocol { version, remote_version, compat, checksum_seed, transfer_sum, list_sum, compression })
}

/// What a peer says that took nothing of ours and is about to leave, or has left: a shell's refusal, perhaps. `error`: why
/// nothing could be written, if that is all there is to tell.
fn parting_word(reader: &mut Reader, error: Error) -> Result<i32> {
    if error.code != ExitCode::STREAM_IO {
        return Err(error);
    }
    let mut word = [0; 4];
    for byte in &mut word {
        if !reader.wait(PARTING)? {
            return Err(error);
        }
        *byte = reader.byte()?;
    }
    match i32::from_le_bytes(word) {
        remote if (0..=HIGHEST_BELIEVABLE).contains(&remote) => Err(error), // a peer indeed
        remote => Ok(remote),
    }
}

/// A batch file is read without negotiation: what is written to one is what that settles on. C: compat.c getenv_nstr
fn for_batch(options: &Options, version: u8) -> Options {
    let sum: &[u8] = if version >= 30 { b"md5" } else { b"md4" };
    Options { checksum_list: Some(sum.to_vec()), compress_list: Some(b"zlib".to_vec()), ..options.clone() }
}

/// What a batch file was made with takes the place of an agreement; with it come the options that fit the file. `tell`
/// gets a line for each that was changed.
pub fn replay(
    reader: &mut Reader,
    options: &Options,
    notes: &mut Notes<'_>,
    tell: &mut dyn FnMut(Vec<u8>),
) -> Result<(Protocol, Options)> {
    // Nobody else's abilities matter, as in a local copy.
    let side = Side { server: false, sends: false, local: true };
    let (flags, remote) = batch::read_head(reader)?;
    let ours = options.protocol.unwrap_or(NEWEST_PROTOCOL);
    if remote > ours.into() {
        let line = format!("The protocol version in the batch file is too new ({remote} > {ours}).");
        return Err(Error::new(ExitCode::PROTOCOL, line));
    }
    let line = format!("(Client) Protocol versions: remote={remote}, negotiated={remote}");
    notes(Debug::Proto, 1, line.into_bytes());
    let (remote_version, version) = agree_on_version(ours, remote, side)?;
    let mut matched = batch::match_flags(options, flags, version, tell)?;
    matched.client_info.clear();
    refuse_too_modern(version, &matched, side)?;
    let compat = batch::read_compat(reader, version)?;
    if compat.inc_recurse && !inc_recurse_allowed(options, false) {
        let message = "Incompatible options specified for inc-recursive batch file.";
        return Err(Error::new(ExitCode::SYNTAX, message));
    }
    let (mut nobody, _) = Writer::into_memory();
    let negotiated = negotiate::negotiate(reader, &mut nobody, side, version, false, &matched, notes)?;
    let checksum_seed = reader.int()?;
    let (transfer_sum, list_sum) = negotiate::settle(negotiated.checksum, side, version, compat, &matched, notes)?;
    let compression = negotiate::settle_compression(negotiated.method, side, &matched, notes);
    Ok((Protocol { version, remote_version, compat, checksum_seed, transfer_sum, list_sum, compression }, matched))
}

/// Begins framing in the directions that this protocol frames. `removes`: before protocol 30 a client that receives
/// frames too where the sender waits to hear of its files. C: main.c client_run, start_server, do_server_recv
pub fn multiplex(
    reader: &mut Reader,
    writer: &mut Writer,
    protocol: &Protocol,
    side: Side,
    removes: bool,
    messages: Box<dyn Messages + Send>,
) -> Result<()> {
    if side.server || protocol.version >= 30 || !side.sends && removes {
        writer.multiplex()?;
    }
    multiplex_in(reader, protocol, side, removes, messages);
    Ok(())
}

/// The same for what comes in alone; once framing began, another handler takes over.
pub fn multiplex_in(
    reader: &mut Reader,
    protocol: &Protocol,
    side: Side,
    removes: bool,
    messages: Box<dyn Messages + Send>,
) {
    if !side.server || protocol.version >= 30 || side.sends && removes {
        let rules = Rules {
            peer_sends: !side.sends,
            peer_serves: !side.server,
            local: side.local,
            inc_recurse: protocol.compat.inc_recurse,
        };
        reader.multiplex(rules, messages);
    }
}

/// Whether our options (and on a server the client's abilities) allow incremental recursion.
///
/// A client tells its server so with the letter `i`.
pub fn may_recurse_incrementally(side: Side, options: &Options) -> bool {
    inc_recurse_allowed(options, side.sends) && (!side.server || side.local || options.client_info.contains(&b'i'))
}

/// Whether the receiving side sets the times of symlinks; a receiver itself does. C: receiver_symlink_times
pub fn receiver_sets_symlink_times(protocol: &Protocol, side: Side, options: &Options) -> bool {
    if protocol.version < 30 {
        // Whatever is true of it: a sender is not told, and before items travelled nobody was.
        protocol.version == 29 && !side.sends
    } else if !side.sends || side.local {
        true
    } else if side.server {
        options.client_info.contains(&b'L')
    } else {
        protocol.compat.symlink_times
    }
}

/// Whether the texts of links are converted, where names are: both ends must do so. C: sender_symlink_iconv
pub fn converts_links(protocol: &Protocol, options: &Options) -> bool {
    let peer_does =
        if options.is_server() { options.client_info.contains(&b's') } else { protocol.compat.symlink_iconv };
    protocol.version >= 30 && peer_does
}

/// A client whose newest protocol is a pre-release says `PROTOCOL.SUB` before its abilities; a protocol is spoken only
/// if both have it final. C: compat.c check_sub_protocol
fn without_sub_protocol(ours: u8, client_info: &[u8]) -> u8 {
    let digits = client_info.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (version, rest) = client_info.split_at(digits);
    let sub = rest.strip_prefix(b".").is_some_and(|rest| {
        rest.iter().take_while(|byte| byte.is_ascii_digit()).any(|&digit| digit != b'0') // an all-zero one is final
    });
    let version =
        version.iter().fold(0u32, |number, &digit| number.saturating_mul(10).saturating_add((digit - b'0').into()));
    match u8::try_from(version) {
        Ok(version @ 1..) if sub && version <= ours => version - 1,
        _ => ours,
    }
}

/// The remote's and the common version, or why there is none.
fn agree_on_version(ours: u8, remote: i32, side: Side) -> Result<(u8, u8)> {
    let refuse = |message: String| Err(Error::new(ExitCode::PROTOCOL, message));
    let remote = match u8::try_from(remote) {
        Ok(remote) if (i32::from(OLDEST_PROTOCOL)..=HIGHEST_BELIEVABLE).contains(&i32::from(remote)) => remote,
        _ => {
            let what = "protocol version mismatch -- is your shell clean?\n(see the rsync manpage for an explanation)";
            return refuse(what.to_owned());
        }
    };
    match ours.min(remote) {
        ..OLDEST_PROTOCOL => refuse(format!("--protocol must be at least {OLDEST_PROTOCOL} on the {}.", side.name())),
        OLDEST_PROTOCOL..=NEWEST_PROTOCOL => Ok((remote, ours.min(remote))),
        _ => refuse(format!("--protocol must be no more than {NEWEST_PROTOCOL} on the {}.", side.name())),
    }
}

/// Refuses a version that no other end of ours could speak, before a local copy has two ends to say so.
pub fn check_own_version(options: &Options) -> Result<()> {
    let ours = options.protocol.unwrap_or(NEWEST_PROTOCOL);
    let believable = i32::from(ours).clamp(OLDEST_PROTOCOL.into(), HIGHEST_BELIEVABLE);
    agree_on_version(ours, believable, Side { server: false, sends: true, local: true }).map(drop)
}

/// Options that the common protocol has no words for.
fn refuse_too_modern(version: u8, options: &Options, side: Side) -> Result<()> {
    let alt_dest = options.alt_dests.first().map_or("", |(kind, _)| match kind {
        AltDest::Compare => "--compare-dest",
        AltDest::Copy => "--copy-dest",
        AltDest::Link => "--link-dest",
    });
    let refused: [(u8, bool, &[&str]); 6] = [
        (30, options.acls && !side.local, &["--acls requires"]),
        (30, options.xattrs > 0 && !side.local, &["--xattrs requires"]),
        (29, options.fuzzy > 0, &["--fuzzy requires"]),
        (29, !options.alt_dests.is_empty() && options.inplace, &[alt_dest, " with --inplace requires"]),
        (29, options.alt_dests.len() > 1, &["Using more than one ", alt_dest, " option requires"]),
        (29, options.prune_empty_dirs, &["--prune-empty-dirs requires"]),
    ];
    for (needed, applies, what) in refused {
        if applies && version < needed {
            let rest = format!(" protocol {needed} or higher (negotiated {version}).");
            return Err(Error::new(ExitCode::PROTOCOL, bytes![what.concat(), rest]));
        }
    }
    Ok(())
}

/// A server's flags: what it can do itself, and what of the client's abilities it will make use of. Also whether lists
/// of names will be exchanged.
fn send_compat(writer: &mut Writer, side: Side, options: &Options) -> Result<(Compat, bool)> {
    let can = |letter: u8| side.local || options.client_info.contains(&letter);
    // An ability of pre-releases, whose flags were a plain byte and did not promise lists of names.
    let old_byte = !side.local && can(b'V');
    let compat = Compat {
        inc_recurse: may_recurse_incrementally(side, options),
        symlink_times: true,
        symlink_iconv: true,
        safe_flist: can(b'f'),
        avoid_xattr_optim: can(b'x'),
        checksum_seed_fix: can(b'C'),
        inplace_partial_dir: can(b'I'),
        varint_flist_flags: can(b'v') || old_byte,
        id0_names: can(b'u'),
    };
    if old_byte {
        writer.byte(compat.bits() as u8)?;
    } else {
        writer.varint(compat.bits())?;
    }
    Ok((compat, can(b'v')))
}

fn fresh_seed() -> i32 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    seconds as i32 ^ (process::id() << 6).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Delete;
    use crate::{hash::Algorithm, options::Dirs, wire::Message};

    const CLIENT_SENDS: Side = Side { server: false, sends: true, local: false };
    const CLIENT_RECEIVES: Side = Side { server: false, sends: false, local: false };
    const SERVER_SENDS: Side = Side { server: true, sends: true, local: false };
    const SERVER_RECEIVES: Side = Side { server: true, sends: false, local: false };

    fn options(protocol: u8) -> Options {
        Options {
            dirs: Dirs::Recurse,
            allow_inc_recurse: true,
            protocol: Some(protocol),
            checksum_seed: Some(5),
            client_info: b"iLsfxCIvu".to_vec(),
            ..Options::default()
        }
    }

    /// What we made of the peer's bytes, and what we said.
    fn run(side: Side, options: &Options, peer: &[u8]) -> (Result<Protocol>, Vec<u8>) {
        let (mut writer, kept) = Writer::into_memory();
        let protocol = agree(&mut Reader::over(peer), &mut writer, side, options, &mut |_, _, _| {});
        (protocol, std::mem::take(&mut *kept.lock().unwrap()))
    }

    fn text<T: std::fmt::Debug>(result: Result<T>) -> (u8, String) {
        let error = result.unwrap_err();
        (error.code.0, String::from_utf8(error.message).unwrap())
    }

    // Both directions as the reference (3.5.0) spoke them with itself.
    const CLIENT_32: &[u8] = b"\x20\0\0\0\x1exxh128 xxh3 xxh64 md5 md4 sha1";
    const SERVER_32: &[u8] = b"\x20\0\0\0\x81\xff\x23xxh128 xxh3 xxh64 md5 md4 sha1 none\x05\0\0\0";

    #[test]
    fn both_sides_speak_as_the_reference_does() {
        for (sends, receives) in [(CLIENT_SENDS, SERVER_RECEIVES), (CLIENT_RECEIVES, SERVER_SENDS)] {
            for (side, said, heard) in [(sends, CLIENT_32, SERVER_32), (receives, SERVER_32, CLIENT_32)] {
                let (protocol, bytes) = run(side, &options(32), heard);
                let protocol = protocol.unwrap();
                assert_eq!(bytes, said);
                assert_eq!((protocol.version, protocol.checksum_seed), (32, 5));
                assert_eq!(protocol.compat.bits(), 0x1ff);
                assert_eq!((protocol.transfer_sum, protocol.list_sum), (Algorithm::Xxh128, Algorithm::Xxh128));
                assert!(receiver_sets_symlink_times(&protocol, side, &options(32)) && protocol.safe_list_errors());
            }
        }
    }

    #[test]
    fn old_protocols_are_brief() {
        for version in 27..30 {
            let ours = options(version);
            let (protocol, bytes) = run(CLIENT_SENDS, &ours, b"\x20\0\0\0\x05\0\0\0");
            let protocol = protocol.unwrap();
            assert_eq!(bytes, [version, 0, 0, 0]);
            assert_eq!((protocol.version, protocol.remote_version), (version, 32));
            assert_eq!(protocol.transfer_sum, Algorithm::Md4Old);
            assert!(!receiver_sets_symlink_times(&protocol, CLIENT_SENDS, &ours) && !protocol.safe_list_errors());
            assert_eq!(protocol.delete(Delete::Auto), Delete::Before);

            let (protocol, bytes) = run(SERVER_RECEIVES, &options(32), &[version, 0, 0, 0]);
            assert_eq!(bytes, b"\x20\0\0\0\x05\0\0\0");
            assert_eq!(protocol.unwrap().version, version);
        }
    }

    #[test]
    fn a_server_uses_only_what_the_client_knows() {
        let mut ours = options(32);
        ours.client_info = b"Lsf".to_vec();
        let (protocol, bytes) = run(SERVER_RECEIVES, &ours, b"\x1e\0\0\0");
        let protocol = protocol.unwrap();
        assert_eq!(bytes, b"\x20\0\0\0\x0e\x05\0\0\0");
        assert_eq!(protocol.transfer_sum, Algorithm::Md5Old);
        assert!(protocol.safe_list_errors() && !protocol.compat.inc_recurse);
    }

    #[test]
    fn local_ends_know_each_other() {
        let mut ours = options(32);
        ours.client_info.clear();
        let local = Side { local: true, ..SERVER_RECEIVES };
        assert_eq!(run(local, &ours, CLIENT_32).1, SERVER_32);
        ours.delete = Delete::After;
        assert!(!run(local, &ours, CLIENT_32).0.unwrap().compat.inc_recurse);
    }

    #[test]
    fn what_is_no_peer_is_told() {
        let unclean = "protocol version mismatch -- is your shell clean?\n(see the rsync manpage for an explanation)";
        for peer in [b"Last login", b"\x1a\0\0\0......", b"\x29\0\0\0......", b"\xff\xff\xff\xff......"] {
            assert_eq!(text(run(CLIENT_SENDS, &options(32), peer).0), (2, unclean.to_owned()));
        }
        let (low, _) = run(CLIENT_SENDS, &options(26), SERVER_32);
        assert_eq!(text(low), (2, "--protocol must be at least 27 on the Client.".to_owned()));
        let (high, _) = run(CLIENT_SENDS, &options(33), b"\x28\0\0\0");
        assert_eq!(text(high), (2, "--protocol must be no more than 32 on the Client.".to_owned()));
        let (short, _) = run(CLIENT_SENDS, &options(32), b"\x20\0");
        assert_eq!(short.unwrap_err().code, ExitCode::STREAM_IO);
    }

    #[test]
    fn no_common_checksum() {
        let mut ours = options(32);
        ours.checksum_list = Some(b"sha1".to_vec());
        let (failed, _) = run(CLIENT_SENDS, &ours, b"\x20\0\0\0\x81\xff\x07md5 foo");
        let lines = "Failed to negotiate a checksum choice.\nServer list: md5 foo\nClient list: sha1";
        assert_eq!(text(failed), (4, lines.to_owned()));
        let (failed, _) = run(SERVER_SENDS, &ours, b"\x20\0\0\0\x03md5");
        assert_eq!(text(failed), (4, String::new()));
        let (failed, _) = run(CLIENT_SENDS, &ours, b"\x1d\0\0\0");
        let lines = "Failed to negotiate a checksum choice.\nServer list: md4\nClient list: sha1";
        assert_eq!(text(failed), (4, lines.to_owned()));
    }

    #[test]
    fn a_choice_is_not_negotiated() {
        let mut ours = options(32);
        ours.checksum_choice = Some(b"md5,none".to_vec());
        let (protocol, bytes) = run(CLIENT_SENDS, &ours, b"\x20\0\0\0\x81\xff\x05\0\0\0");
        let protocol = protocol.unwrap();
        assert_eq!(bytes, b"\x20\0\0\0");
        assert_eq!((protocol.transfer_sum, protocol.list_sum), (Algorithm::Md5, Algorithm::None));
    }

    #[test]
    fn a_version_of_ones_own_choice() {
        for version in [27, 30, 32] {
            check_own_version(&options(version)).unwrap();
        }
        let (low, high) = ("at least 27", "no more than 32");
        for (version, bound) in [(0, low), (26, low), (33, high), (40, high), (41, high), (255, high)] {
            let line = format!("--protocol must be {bound} on the Client.");
            assert_eq!(text(check_own_version(&options(version))), (2, line));
        }
    }

    #[test]
    fn pre_releases_are_not_trusted() {
        for (info, version) in [("32.5iL", 31), ("31.14iL", 30), ("33.1", 32), ("31.0i", 32), (".iL", 32), ("iLv", 32)]
        {
            assert_eq!(without_sub_protocol(32, info.as_bytes()), version, "{info}");
        }
        assert_eq!(without_sub_protocol(32, b"99999999999999999999.1"), 32);
    }

    #[test]
    fn unasked_incremental_recursion_is_refused() {
        let mut ours = options(32);
        ours.allow_inc_recurse = false;
        let (refused, _) = run(CLIENT_SENDS, &ours, SERVER_32);
        let line = "Incompatible options specified for inc-recursive connection.";
        assert_eq!(text(refused), (1, line.to_owned()));
    }

    #[test]
    fn options_too_modern_for_the_peer() {
        let mut ours = options(28);
        ours.alt_dests = vec![(AltDest::Link, b"a".to_vec()), (AltDest::Link, b"b".to_vec())];
        let (refused, _) = run(CLIENT_SENDS, &ours, SERVER_32);
        let line = "Using more than one --link-dest option requires protocol 29 or higher (negotiated 28).";
        assert_eq!(text(refused), (2, line.to_owned()));
    }

    #[test]
    fn the_debug_lines() {
        let mut lines = Vec::new();
        let (mut writer, _kept) = Writer::into_memory();
        let mut notes = |word, level, line| lines.push((word, level, String::from_utf8(line).unwrap()));
        agree(&mut Reader::over(SERVER_32), &mut writer, CLIENT_SENDS, &options(32), &mut notes).unwrap();
        let expected = [
            (Debug::Proto, 1, "(Client) Protocol versions: remote=32, negotiated=32"),
            (Debug::Nstr, 2, "Client checksum list (on client): xxh128 xxh3 xxh64 md5 md4 sha1"),
            (Debug::Nstr, 2, "Server checksum list (on client): xxh128 xxh3 xxh64 md5 md4 sha1 none"),
            (Debug::Nstr, 1, "Client negotiated checksum: xxh128"),
        ];
        assert_eq!(lines, expected.map(|(word, level, line)| (word, level, line.to_owned())));
    }

    #[test]
    fn frames_begin_where_the_protocol_has_them() {
        let cases = [
            (29, CLIENT_SENDS, false, true, false),
            (30, CLIENT_SENDS, false, true, true),
            (27, SERVER_SENDS, false, false, true),
            (27, SERVER_SENDS, true, true, true),
            (29, CLIENT_RECEIVES, true, true, true),
            (29, CLIENT_SENDS, true, true, false),
            (32, SERVER_RECEIVES, false, true, true),
        ];
        for (version, side, removes, inwards, outwards) in cases {
            let (mut writer, _kept) = Writer::into_memory();
            let mut reader = Reader::over([]);
            let mut protocol = run(CLIENT_SENDS, &options(32), SERVER_32).0.unwrap();
            protocol.version = version;
            let ignore = Box::new(|_: Message<'_>| Ok(()));
            multiplex(&mut reader, &mut writer, &protocol, side, removes, ignore).unwrap();
            assert_eq!((reader.is_multiplexed(), writer.is_multiplexed()), (inwards, outwards));
        }
    }
}
