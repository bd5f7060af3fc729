//! `--copy-as`: whose rights the copying is done with, once the connection stands.

use std::io;

use super::Link;
use crate::{
    bytes,
    error::{Error, ExitCode, Result, errno_text},
    log::{Log, LogCode},
    meta::ids::Kind,
    options::{Debug, Super},
    sys::users,
};

/// Becomes the user whom `--copy-as` names, if it was given: the whole process, for good. What was opened before stays
/// open (log, batch and list files, the wire); of source and destination nothing may have been.
/// C: main.c become_copy_as_user
///
/// From then on the new user decides what is attempted, whatever `--super` and its like said.
///
/// Errors: 1 if there is no such user or group, or if the system does not let us.
pub(super) fn switch(link: &mut Link<'_>) -> Result<()> {
    let Link { transfer, log, .. } = link;
    let Some(text) = &transfer.options.copy_as else { return Ok(()) };
    if log.debug(Debug::Cmd) >= 2 {
        log.say(LogCode::Info, bytes!["[", log.speaker().name(), "] copy_as=", text]);
    }
    become_user(text, log)?;
    transfer.options.super_user = Super::ByUser;
    transfer.rules.take_rights(&transfer.options);
    Ok(())
}

/// `USER[:GROUP]`, each a name or a number. Without a group the user's own ones are joined.
fn become_user(text: &[u8], log: &Log) -> Result<()> {
    let (user, group) = match memchr::memchr(b':', text) {
        Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    };
    let failed = |call: &str, error: &io::Error| {
        let line = bytes!["rsync: [", log.speaker().name(), "] ", call, " failed: ", errno_text(error)];
        Error::new(ExitCode::SYNTAX, line)
    };
    let unknown = |what: &str, name: &[u8]| Error::new(ExitCode::SYNTAX, bytes!["Invalid copy-as ", what, ": ", name]);
    let uid = Kind::User.id_of_text(user)?.ok_or_else(|| unknown("user", user))?;
    let gid = match group {
        Some(group) => Kind::Group.id_of_text(group)?.ok_or_else(|| unknown("group", group))?,
        None => {
            let entry = users::user_by_id(uid).map_err(|error| failed("getpwuid", &error))?;
            // A number without an entry is no error to the C library.
            entry.ok_or_else(|| failed("getpwuid", &io::Error::from_raw_os_error(0)))?.gid
        }
    };
    users::set_gid(gid).map_err(|error| failed("setgid", &error))?;
    users::set_supplementary_groups(&[gid]).map_err(|error| failed("setgroups", &error))?;
    if group.is_none() {
        users::join_groups_of(user, gid).map_err(|error| failed("initgroups", &error))?;
    }
    users::set_uid(uid).map_err(|error| failed("setuid", &error))
}
