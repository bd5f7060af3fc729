//! The head of a batch file: what a reader must know before the list begins.
//!
//! 1. An int of flags: which options the data depends on.
//! 2. The protocol's version, an int.
//! 3. From protocol 30 on the compatibility flags, a varint.
//! 4. The seed of the checksums, an int.
//!
//! After it stands what the sender says, from the list on, as it is without frames and messages.

use super::{Compat, Protocol};
use crate::{
    bytes,
    compress::Method,
    error::{Error, ExitCode, Result},
    options::{Append, Compress, Dirs, Options},
    wire::{Reader, Writer},
};

/// What the options with a flag are called, by its number. C: batch.c flag_name
const FLAGS: [&str; 15] = [
    "--recurse (-r)",
    "--owner (-o)",
    "--group (-g)",
    "--links (-l)",
    "--devices (-D)",
    "--hard-links (-H)",
    "--checksum (-c)",
    "--dirs (-d)",
    "--compress (-z)",
    "--iconv",
    "--acls (-A)",
    "--xattrs (-X)",
    "--inplace",
    "--append",
    "--append-verify",
];
const RECURSE: usize = 0;
const DIRS: usize = 7;
const ICONV: usize = 9;

/// How far an option is set, as the reference counts it: some more than once.
fn value(options: &Options, flag: usize) -> u8 {
    match flag {
        RECURSE => u8::from(options.recurse()) + u8::from(options.recurse_said),
        1 => options.owner.into(),
        2 => options.group.into(),
        3 => options.links.into(),
        4 => options.devices.into(),
        5 => options.hard_links,
        6 => options.checksum.into(),
        DIRS => match options.dirs {
            Dirs::Skip => 0,
            Dirs::List => 2,
            Dirs::Implied | Dirs::Recurse | Dirs::OldList => 1,
        },
        8 => match options.compress {
            Compress::No => 0,
            Compress::By(Method::Zlib) => 1,
            Compress::By(_) | Compress::Auto => 2,
        },
        ICONV => options.iconv.is_some().into(),
        10 => options.acls.into(),
        11 => options.xattrs,
        12 => options.inplace.into(),
        13 => (options.append == Append::Trust).into(),
        _ => (options.append == Append::Verify).into(),
    }
}

fn set(options: &mut Options, flag: usize, on: bool) {
    match flag {
        1 => options.owner = on,
        2 => options.group = on,
        3 => options.links = on,
        4 => options.devices = on,
        5 => options.hard_links = on.into(),
        6 => options.checksum = on,
        8 => options.compress = if on { Compress::By(Method::Zlib) } else { Compress::No },
        10 => options.acls = on,
        11 => options.xattrs = on.into(),
        12 => options.inplace = on,
        13 if on => options.append = Append::Trust,
        14 if on && options.append != Append::Trust => options.append = Append::Verify,
        _ => {} // the first two are one option here, and what appends goes on doing so
    }
}

/// The flags of these options. C: batch.c write_stream_flags
pub fn flags(options: &Options) -> i32 {
    (0..FLAGS.len()).map(|flag| i32::from(value(options, flag) > 0) << flag).sum()
}

/// Makes the options match what a batch file was written with; `tell` gets a line for each change. Before protocol 30
/// there were fewer flags. C: batch.c check_batch_flags
pub fn match_flags(options: &Options, flags: i32, version: u8, tell: &mut dyn FnMut(Vec<u8>)) -> Result<Options> {
    let mut matched = options.clone();
    let count = match version {
        ..29 => DIRS,
        29 => ICONV,
        _ => FLAGS.len(),
    };
    let wanted = |flag: usize| flags >> flag & 1 != 0;
    for (flag, name) in FLAGS.iter().enumerate().take(count) {
        let on = wanted(flag);
        if value(options, flag) == u8::from(on) {
            continue;
        }
        if flag == ICONV {
            let what = if on { "Please" } else { "Do not" };
            let line = bytes![what, " specify the --iconv option to use this batch file."];
            return Err(Error::new(ExitCode::SYNTAX, line));
        }
        tell(bytes![if on { "Sett" } else { "Clear" }, "ing the ", name, " option to match the batchfile."]);
        set(&mut matched, flag, on);
    }
    matched.dirs = dirs(options.dirs, wanted(RECURSE), (version >= 29).then(|| wanted(DIRS)));
    Ok(matched)
}

/// `listed`: directories without their contents travel; before protocol 29 that was not said.
fn dirs(own: Dirs, recursive: bool, listed: Option<bool>) -> Dirs {
    match (recursive, listed) {
        (true, _) if own == Dirs::OldList => own,
        (true, _) => Dirs::Recurse,
        (false, Some(true) | None) if own == Dirs::List => own,
        (false, Some(true)) => Dirs::Implied,
        (false, _) => Dirs::Skip,
    }
}

/// What follows the flags. C: io.c start_write_batch
pub fn begin(writer: &mut Writer, protocol: &Protocol) -> Result<()> {
    writer.int(protocol.version.into())?;
    if protocol.version >= 30 {
        writer.varint(protocol.compat.bits())?;
    }
    writer.int(protocol.checksum_seed)
}

/// The flags and the version.
pub fn read_head(reader: &mut Reader) -> Result<(i32, i32)> {
    Ok((reader.int()?, reader.int()?))
}

pub fn read_compat(reader: &mut Reader, version: u8) -> Result<Compat> {
    if version < 30 { Ok(Compat::default()) } else { Ok(Compat::from_bits(reader.varint()?)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    fn archive() -> Options {
        Options { dirs: Dirs::Recurse, owner: true, group: true, links: true, devices: true, ..Options::default() }
    }

    fn matched(options: &Options, flags: i32, version: u8) -> (Result<Options>, Vec<String>) {
        let mut lines = Vec::new();
        let mut tell = |line: Vec<u8>| lines.push(String::from_utf8(line).unwrap());
        let matched = match_flags(options, flags, version, &mut tell);
        (matched, lines)
    }

    #[test]
    fn the_head_of_a_recorded_file() {
        // The reference (3.5.0) with `-a`.
        let recorded = b"\x9f\0\0\0\x20\0\0\0\x81\xff\x05\0\0\0";
        assert_eq!(flags(&archive()), 0x9f);
        let protocol = Protocol { compat: Compat::from_bits(0x1ff), checksum_seed: 5, ..Protocol::plain(32) };
        let written = Writer::written(|writer| {
            writer.int(flags(&archive())).unwrap();
            begin(writer, &protocol).unwrap();
        });
        assert_eq!(written, recorded);
        let mut reader = Reader::over(*recorded);
        assert_eq!(read_head(&mut reader).unwrap(), (0x9f, 32));
        assert_eq!(read_compat(&mut reader, 32).unwrap().bits(), 0x1ff);
        assert_eq!(reader.int().unwrap(), 5);
    }

    #[test]
    fn options_follow_the_file() {
        let (same, lines) = matched(&archive(), 0x9f, 32);
        assert_eq!((same.unwrap().dirs, lines.len()), (Dirs::Recurse, 0));
        let (less, lines) = matched(&archive(), 0x80, 32);
        let less = less.unwrap();
        assert_eq!((less.dirs, less.owner, less.links, less.devices), (Dirs::Implied, false, false, false));
        assert_eq!(lines[0], "Clearing the --recurse (-r) option to match the batchfile.");
        let (more, lines) = matched(&Options::default(), 0x9f | 1 << 12 | 1 << 5, 32);
        let more = more.unwrap();
        assert!(more.inplace && more.hard_links == 1 && more.recurse());
        assert_eq!(lines.len(), 8);
    }

    #[test]
    fn old_files_say_less() {
        assert_eq!(matched(&archive(), 0x1f, 28).0.unwrap().dirs, Dirs::Recurse);
        assert_eq!(matched(&archive(), 0x1e, 28).0.unwrap().dirs, Dirs::Skip);
        let (kept, lines) = matched(&Options { inplace: true, ..archive() }, 0x9f, 29);
        assert!(kept.unwrap().inplace && lines.is_empty());
    }

    #[test]
    fn character_sets_are_the_users_to_say() {
        let (refused, _) = matched(&archive(), 0x9f | 1 << ICONV, 32);
        let error = refused.unwrap_err();
        assert_eq!(error.message, b"Please specify the --iconv option to use this batch file.");
        assert_eq!(error.code, ExitCode::SYNTAX);
    }
}
