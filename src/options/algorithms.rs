//! The names in `--checksum-choice`, `--compress-choice` and their kin, and the lists in the environment.

use super::{Compress, check::Env, typed::Typed};
use crate::{
    bytes,
    compress::Method,
    error::{Error, ExitCode, Result},
    hash::Algorithm,
};

/// Names in `--checksum-choice` are checked now; `none` for the transfer means whole files.
/// C: checksum.c parse_checksum_choice
pub fn settle_checksum(typed: &mut Typed, env: Env) -> Result<()> {
    let server = typed.server;
    let options = &mut typed.options;
    options.checksum_list = env("RSYNC_CHECKSUM_LIST");
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
    if let Some(list) = servers_own(options.checksum_list.as_deref(), server) {
        let allowed = |sum: &str| names(list).any(|name| checksum(name) == Some(sum));
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

/// Of a list, `CLIENT & SERVER`, one end's. C: compat.c getenv_nstr
pub fn half(list: &[u8], server: bool) -> &[u8] {
    let mut halves = list.splitn(2, |&b| b == b'&');
    let clients = halves.next().unwrap_or_default();
    if server { halves.next().unwrap_or(clients) } else { clients }
}

/// The list that limits what a client may choose, if there is one.
fn servers_own(list: Option<&[u8]>, server: bool) -> Option<&[u8]> {
    let list = half(list?, true);
    (server && !list.trim_ascii().is_empty()).then_some(list)
}

/// C: compat.c parse_compress_choice
pub fn settle_compression(typed: &mut Typed, env: Env) -> Result<()> {
    let server = typed.server;
    let options = &mut typed.options;
    // That least of levels stands for none.
    options.compress_level = options.compress_level.filter(|&level| level != i32::MIN);
    options.compress_list = env("RSYNC_COMPRESS_LIST");
    options.compress = if typed.compress > 0 { Compress::By(Method::Zlib) } else { Compress::No };
    let mut choice = options.compress_choice.take();
    if choice.is_none() && typed.compress > 1 {
        choice = Some(b"zlibx".to_vec());
    }
    if let Some(name) = choice.filter(|name| !name.eq_ignore_ascii_case(b"auto")) {
        let unknown = || Error::new(ExitCode::UNSUPPORTED, bytes!["unknown compress name: ", name]);
        let method = Method::from_name(&name).ok_or_else(unknown)?;
        let list = servers_own(options.compress_list.as_deref(), server);
        if list.is_some_and(|list| !names(list).any(|known| Method::from_name(known) == Some(method))) {
            return Err(refused_choice("compress", &name));
        }
        options.compress = if method == Method::None { Compress::No } else { Compress::By(method) };
        options.compress_choice = Some(if method == Method::None { b"none".to_vec() } else { name });
    }
    if options.compress == Compress::No && options.compress_level.is_some() {
        options.compress = Compress::Auto;
    }
    Ok(())
}

fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(u8::is_ascii_whitespace).filter(|name| !name.is_empty())
}
