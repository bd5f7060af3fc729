//! The names in `--checksum-choice`, `--compress-choice` and their kin, and the lists in the environment.

use super::{Compress, check::Env, typed::Typed};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    hash::Algorithm,
};

/// Names in `--checksum-choice` are checked now; `none` for the transfer means whole files.
/// C: checksum.c parse_checksum_choice
pub fn settle_checksum(typed: &mut Typed, env: Env) -> Result<()> {
    let server = typed.server;
    let options = &mut typed.options;
    options.checksum_list = env("RSYNC_CHECKSUM_LIST").map(|list| our_half(&list, server));
    let Some(choice) = options.checksum_choice.take() else { return Ok(()) };
    if choice.eq_ignore_ascii_case(b"auto") || choice.eq_ignore_ascii_case(b"auto,auto") {
        return Ok(());
    }
    let mut halves = choice.splitn(2, |&b| b == b',');
    let transfer = halves.next().unwrap_or_default();
    let file = halves.next();
    let transfer = checksum(transfer).ok_or_else(|| unknown_checksum(&choice))?;
    let file = match file {
        None => transfer,
        Some(name) => checksum(name).ok_or_else(|| unknown_checksum(name))?,
    };
    if let Some(list) = options.checksum_list.as_deref().filter(|list| server && !list.trim_ascii().is_empty()) {
        let allowed = |sum: &str| list.split(u8::is_ascii_whitespace).any(|name| checksum(name) == Some(sum));
        if !allowed(transfer) || !allowed(file) {
            return Err(refused_choice("checksum", &choice));
        }
    }
    if transfer == Algorithm::None.name() {
        options.whole_file = Some(true);
    }
    options.checksum_choice = Some(choice);
    Ok(())
}

/// The canonical name of a checksum, `auto` being the one that this protocol implies.
fn checksum(name: &[u8]) -> Option<&'static str> {
    if name.eq_ignore_ascii_case(b"auto") {
        return Some(Algorithm::Md5.name());
    }
    Algorithm::from_name(name).map(Algorithm::name)
}

fn unknown_checksum(name: &[u8]) -> Error {
    Error::new(ExitCode::UNSUPPORTED, bytes!["unknown checksum name: ", name])
}

fn refused_choice(what: &str, choice: &[u8]) -> Error {
    let line = bytes!["Your --", what, "-choice value (", choice, ") was refused by the server."];
    Error::new(ExitCode::UNSUPPORTED, line)
}

/// `CLIENT & SERVER`. C: compat.c getenv_nstr
fn our_half(list: &[u8], server: bool) -> Vec<u8> {
    let mut halves = list.splitn(2, |&b| b == b'&');
    let clients = halves.next().unwrap_or_default();
    if server { halves.next().unwrap_or(clients) } else { clients }.to_vec()
}

/// C: compat.c parse_compress_choice
pub fn settle_compression(typed: &mut Typed, env: Env) -> Result<()> {
    let options = &mut typed.options;
    options.compress_list = env("RSYNC_COMPRESS_LIST").map(|list| our_half(&list, typed.server));
    options.compress = if typed.compress > 0 { Compress::Zlib } else { Compress::No };
    let mut choice = options.compress_choice.take();
    if choice.is_none() && typed.compress > 1 {
        choice = Some(b"zlibx".to_vec());
    }
    if let Some(name) = choice.filter(|name| !name.eq_ignore_ascii_case(b"auto")) {
        let names: [(&[u8], Compress); 5] = [
            (b"zstd", Compress::Zstd),
            (b"lz4", Compress::Lz4),
            (b"zlibx", Compress::Zlibx),
            (b"zlib", Compress::Zlib),
            (b"none", Compress::No),
        ];
        let known = names.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(&name));
        let Some((_, compress)) = known else {
            return Err(Error::new(ExitCode::UNSUPPORTED, bytes!["unknown compress name: ", name]));
        };
        options.compress = compress;
        options.compress_choice = Some(if compress == Compress::No { b"none".to_vec() } else { name });
    }
    if options.compress == Compress::No && options.compress_level.is_some() {
        options.compress = Compress::Auto;
    }
    Ok(())
}
