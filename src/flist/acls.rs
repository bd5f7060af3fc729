//! The wire form of access control lists (`-A`), which stand behind the entry they belong to.
//!
//! A list travels once: 0, then what it consists of; afterwards its number, counted from 1. Access lists and default
//! lists are counted apart, over the whole session.

use std::{collections::HashMap, sync::Arc};

use super::decode::read_short;
use crate::{
    error::{Error, ExitCode, Result},
    meta::{
        acl::{Acl, Acls, Named, Which},
        ids::{Mapping, Seen},
    },
    wire::{Reader, Writer},
};

/// Which parts of a list follow. C: XMIT_*
mod part {
    pub const USER_OBJ: u8 = 1;
    pub const GROUP_OBJ: u8 = 1 << 1;
    pub const MASK: u8 = 1 << 2;
    pub const OTHER: u8 = 1 << 3;
    pub const NAMED: u8 = 1 << 4;
}

/// Behind the number of a named entry, its permissions shifted above. C: XFLAG_*
const NAME_FOLLOWS: u32 = 1;
const IS_USER: u32 = 1 << 1;

/// No honest list has more named entries. C: MAX_WIRE_ACL_COUNT
const MAX_NAMED: i32 = 65_536;

/// Both kinds of lists, as far as they were met. C: access_acl_list, default_acl_list
#[derive(Default)]
pub(super) struct SentAcls {
    access: HashMap<Arc<Acl>, i32>,
    default: HashMap<Arc<Acl>, i32>,
}

/// What a named entry's number means to the peer.
pub(super) struct NamesSent<'a> {
    pub users: &'a mut Seen,
    pub groups: &'a mut Seen,
    /// Numbers alone are sent.
    pub numeric: bool,
    /// A name stands behind its number when that comes first; else all come in a list at the end.
    pub inline: bool,
}

impl SentAcls {
    /// Writes the lists of an entry that is no symlink. C: acls.c send_acl
    pub fn write(&mut self, out: &mut Writer, acls: &Acls, is_dir: bool, mut names: NamesSent<'_>) -> Result<()> {
        write_list(out, &acls.access, &mut self.access, &mut names)?;
        if is_dir { write_list(out, &acls.default, &mut self.default, &mut names) } else { Ok(()) }
    }
}

/// C: acls.c send_rsync_acl
fn write_list(
    out: &mut Writer,
    acl: &Arc<Acl>,
    sent: &mut HashMap<Arc<Acl>, i32>,
    names: &mut NamesSent<'_>,
) -> Result<()> {
    if let Some(number) = sent.get(acl) {
        return out.varint(*number);
    }
    sent.insert(Arc::clone(acl), i32::try_from(sent.len() + 1).unwrap_or(0));
    out.varint(0)?;
    let singles = [
        (acl.user_obj, part::USER_OBJ),
        (acl.group_obj, part::GROUP_OBJ),
        (acl.mask, part::MASK),
        (acl.other, part::OTHER),
    ];
    let parts = singles.iter().filter(|(perms, _)| perms.is_some()).fold(0, |parts, (_, part)| parts | part);
    out.byte(parts | if acl.named.is_empty() { 0 } else { part::NAMED })?;
    for perms in singles.into_iter().filter_map(|(perms, _)| perms) {
        out.varint(perms.into())?;
    }
    if acl.named.is_empty() { Ok(()) } else { write_named(out, &acl.named, names) }
}

/// C: acls.c send_ida_entries
fn write_named(out: &mut Writer, named: &[(Named, u8)], names: &mut NamesSent<'_>) -> Result<()> {
    out.varint(named.len() as i32)?; // an attribute of the kernel's has room for 8,192
    for &(who, perms) in named {
        let (id, seen, user) = match who {
            Named::User(id) => (id, &mut *names.users, IS_USER),
            Named::Group(id) => (id, &mut *names.groups, 0),
        };
        let name = if names.numeric { None } else { seen.first_time(id) };
        let name = name.filter(|_| names.inline);
        out.varint(id.cast_signed())?;
        let follows = if name.is_some() { NAME_FOLLOWS } else { 0 };
        out.varint((u32::from(perms) << 2 | user | follows).cast_signed())?;
        if let Some(name) = name {
            out.byte(name.len() as u8)?; // cut to that
            out.bytes(name)?;
        }
    }
    Ok(())
}

/// The lists that came.
#[derive(Default)]
pub(super) struct ReceivedAcls {
    access: Vec<Arc<Acl>>,
    default: Vec<Arc<Acl>>,
}

/// What a peer's numbers of named entries mean here.
pub(super) struct NamesReceived<'a> {
    pub users: &'a mut Mapping,
    pub groups: &'a mut Mapping,
    /// Numbers without a name are translated at once.
    pub map_users: bool,
    pub map_groups: bool,
}

impl ReceivedAcls {
    /// Reads the lists of an entry of this mode, which is no symlink. C: acls.c receive_acl
    pub fn read(&mut self, from: &mut Reader, mode: u32, mut names: NamesReceived<'_>) -> Result<Acls> {
        let is_dir = mode & libc::S_IFMT == libc::S_IFDIR;
        let access = read_list(from, &mut self.access, Which::Access, mode, &mut names)?;
        let default =
            if is_dir { read_list(from, &mut self.default, Which::Default, mode, &mut names)? } else { Arc::default() };
        Ok(Acls { access, default })
    }
}

/// C: acls.c recv_rsync_acl
fn read_list(
    from: &mut Reader,
    known: &mut Vec<Arc<Acl>>,
    which: Which,
    mode: u32,
    names: &mut NamesReceived<'_>,
) -> Result<Arc<Acl>> {
    let number = from.varint()?;
    if number != 0 {
        let before = usize::try_from(number).ok().and_then(|number| known.get(number - 1));
        return before.map(Arc::clone).ok_or_else(|| {
            let line = format!("recv_acl_index: {} ACL index {number} > {}", which.name(), known.len());
            Error::new(ExitCode::STREAM_IO, line)
        });
    }
    let acl = Arc::new(completed(read_parts(from, names)?, which, mode));
    known.push(Arc::clone(&acl));
    Ok(acl)
}

fn read_parts(from: &mut Reader, names: &mut NamesReceived<'_>) -> Result<Acl> {
    let parts = from.byte()?;
    let mut single =
        |part| if parts & part == 0 { Ok(None) } else { read_perms(from, 0).map(|(perms, _)| Some(perms)) };
    let (user_obj, group_obj) = (single(part::USER_OBJ)?, single(part::GROUP_OBJ)?);
    let (mask, other) = (single(part::MASK)?, single(part::OTHER)?);
    let named = if parts & part::NAMED == 0 { Vec::new() } else { read_named(from, names)? };
    Ok(Acl { user_obj, group_obj, mask, other, named })
}

/// Named entries come with a mask, or it is what the sender could leave out. Of an access list what the mode tells is of
/// no account.
fn completed(mut acl: Acl, which: Which, mode: u32) -> Acl {
    if acl.mask.is_none() && !acl.named.is_empty() {
        let all = || acl.named.iter().fold(acl.group_obj.unwrap_or(0), |all, (_, perms)| all | perms);
        acl.mask = Some(if which == Which::Access { (mode >> 3 & 7) as u8 } else { all() });
    }
    if which == Which::Access {
        (acl.user_obj, acl.other) = (None, None);
        acl.group_obj = acl.group_obj.filter(|_| acl.mask.is_some());
    }
    acl
}

/// Permissions above as many bits of flags. C: acls.c recv_acl_access
fn read_perms(from: &mut Reader, flags: u32) -> Result<(u8, u32)> {
    let value = from.varint()?.cast_unsigned();
    let perms = value >> flags;
    match u8::try_from(perms) {
        Ok(small @ 0..=7) => Ok((small, value & ((1 << flags) - 1))),
        _ => Err(Error::new(ExitCode::STREAM_IO, format!("recv_acl_access: value out of range: {perms:x}"))),
    }
}

/// C: acls.c recv_ida_entries
fn read_named(from: &mut Reader, names: &mut NamesReceived<'_>) -> Result<Vec<(Named, u8)>> {
    let count = from.varint_in(0..=MAX_NAMED, "ACL count")?;
    let mut named = Vec::new();
    for _ in 0..count {
        let id = from.varint()?.cast_unsigned();
        let (perms, flags) = read_perms(from, 2)?;
        let user = flags & IS_USER != 0;
        let (mapping, translates) = match user {
            true => (&mut *names.users, names.map_users),
            false => (&mut *names.groups, names.map_groups),
        };
        let id = match flags & NAME_FOLLOWS != 0 {
            true => mapping.learn(id, read_short(from)?.as_deref()).id,
            false if translates => mapping.map(id).id,
            false => id,
        };
        named.push((if user { Named::User(id) } else { Named::Group(id) }, perms));
    }
    named.shrink_to_fit();
    Ok(named)
}

/// Translates the numbers in lists that came before the names did. C: acls.c match_acl_ids
pub(super) fn translate<'a>(lists: impl Iterator<Item = &'a mut Acls>, users: &mut Mapping, groups: &mut Mapping) {
    let mut done: HashMap<Arc<Acl>, Arc<Acl>> = HashMap::new();
    let mut list = |acl: &mut Arc<Acl>| {
        if acl.named.is_empty() {
            return;
        }
        let translated = done.entry(Arc::clone(acl)).or_insert_with(|| {
            let mut acl = Acl::clone(acl);
            for (who, _) in &mut acl.named {
                *who = match *who {
                    Named::User(id) => Named::User(users.map(id).id),
                    Named::Group(id) => Named::Group(groups.map(id).id),
                };
            }
            acl.into()
        });
        *acl = Arc::clone(translated);
    };
    for acls in lists {
        list(&mut acls.access);
        list(&mut acls.default);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log::{Log, Speaker},
        meta::ids::Kind,
        options::{Options, Super},
        proto::{Compat, Protocol},
    };

    const DIR: u32 = libc::S_IFDIR | 0o750;
    const FILE: u32 = libc::S_IFREG | 0o640;

    fn mapping(kind: Kind) -> Mapping {
        let options = Options { super_user: Super::Yes, ..Options::default() };
        let compat = Compat { id0_names: true, ..Compat::default() };
        let protocol = Protocol { compat, ..Protocol::plain(32) };
        Mapping::new(kind, &options, &protocol, &Log::unheard(Speaker::Receiver)).unwrap()
    }

    fn read(received: &mut ReceivedAcls, from: &mut Reader, mode: u32) -> Result<Acls> {
        let (mut users, mut groups) = (mapping(Kind::User), mapping(Kind::Group));
        let names = NamesReceived { users: &mut users, groups: &mut groups, map_users: true, map_groups: true };
        received.read(from, mode, names)
    }

    fn write(all: &[(Acls, bool)], numeric: bool, inline: bool) -> Vec<u8> {
        let (mut users, mut groups) = (Seen::new(Kind::User), Seen::new(Kind::Group));
        let mut sent = SentAcls::default();
        Writer::written(|out| {
            for (acls, is_dir) in all {
                let names = NamesSent { users: &mut users, groups: &mut groups, numeric, inline };
                sent.write(out, acls, *is_dir, names).unwrap();
            }
        })
    }

    fn named(mask: Option<u8>) -> Acls {
        let named = vec![(Named::User(0x7fff_0001), 6), (Named::Group(0x7fff_0002), 1)];
        let access = Acl { mask, group_obj: Some(5), named, ..Acl::default() };
        let default = Acl { user_obj: Some(7), other: Some(0), mask: Some(3), ..access.clone() };
        Acls { access: access.into(), default: default.into() }
    }

    #[test]
    fn lists_travel_once() {
        let all = [(named(Some(4)), true), (Acls::default(), false), (named(Some(4)), true), (named(Some(2)), false)];
        let bytes = write(&all, false, true);
        let (mut received, mut from) = (ReceivedAcls::default(), Reader::over(bytes.clone()));
        for (acls, is_dir) in &all {
            let expected = if *is_dir { acls.clone() } else { Acls { default: Arc::default(), ..acls.clone() } };
            assert_eq!(read(&mut received, &mut from, if *is_dir { DIR } else { FILE }).unwrap(), expected);
        }
        assert!(from.byte().is_err(), "nothing is left");
        let again = write(&all[..3], false, true);
        assert_eq!((&again[again.len() - 2..], &bytes[..again.len()]), (&[1, 1][..], &again[..]));
    }

    #[test]
    fn a_mask_that_the_mode_tells_is_put_back() {
        let bytes = write(&[(named(None), true)], true, true);
        let acls = read(&mut ReceivedAcls::default(), &mut Reader::over(bytes), DIR).unwrap();
        assert_eq!((acls.access.mask, acls.default.mask), (Some(5), Some(3)));
        let default = Acl { user_obj: Some(7), group_obj: Some(1), named: vec![(Named::User(9), 2)], ..Acl::default() };
        let bytes = write(&[(Acls { default: default.into(), ..Acls::default() }, true)], true, true);
        let acls = read(&mut ReceivedAcls::default(), &mut Reader::over(bytes), DIR).unwrap();
        assert_eq!(acls.default.mask, Some(3), "all that anyone may");
    }

    #[test]
    fn names_stand_behind_their_first_number() {
        let entry = |id| Acl { named: vec![(Named::User(id), 4)], ..Acl::default() };
        let acls = |id| (Acls { access: entry(id).into(), ..Acls::default() }, false);
        let inline = write(&[acls(0), acls(1)], false, true);
        assert_eq!(inline, b"\0\x10\x01\0\x13\x04root\0\x10\x01\x01\x13\x06daemon");
        assert_eq!(write(&[acls(0)], false, false), b"\0\x10\x01\0\x12");
        assert_eq!(write(&[acls(0)], true, true), b"\0\x10\x01\0\x12");
        let theirs = b"\0\x10\x01\x4d\x13\x06daemon".to_vec();
        let acls = read(&mut ReceivedAcls::default(), &mut Reader::over(theirs), FILE).unwrap();
        assert_eq!(acls.access.named, [(Named::User(1), 4)]);
    }

    #[test]
    fn what_no_honest_peer_sends_ends_the_run() {
        let refused = |bytes: &[u8]| {
            let error = read(&mut ReceivedAcls::default(), &mut Reader::over(bytes.to_vec()), FILE).unwrap_err();
            (error.code, String::from_utf8(error.message).unwrap())
        };
        let index = (ExitCode::STREAM_IO, "recv_acl_index: ACL_TYPE_ACCESS ACL index 1 > 0".into());
        assert_eq!(refused(b"\x01"), index);
        assert_eq!(refused(b"\xf0\xff\xff\xff\xff").0, ExitCode::STREAM_IO);
        let range = |bits| (ExitCode::STREAM_IO, format!("recv_acl_access: value out of range: {bits}"));
        assert_eq!(refused(b"\0\x01\x08"), range("8"));
        assert_eq!(refused(b"\0\x10\x01\x05\x20"), range("8"));
        let (code, message) = refused(b"\0\x10\xc1\x01\0");
        assert_eq!(code, ExitCode::PROTOCOL);
        assert!(message.starts_with("wire value ACL count out of range: 65537 not in [0,65536]"), "{message}");
        assert!(read(&mut ReceivedAcls::default(), &mut Reader::over(b"\0\x10\xc1".to_vec()), FILE).is_err());
    }

    #[test]
    fn numbers_are_translated_when_the_names_are_known() {
        let mut all = [named(Some(4)), named(Some(4)), Acls::default()];
        let (mut users, mut groups) = (mapping(Kind::User), mapping(Kind::Group));
        users.learn(0x7fff_0001, Some(b"daemon"));
        translate(all.iter_mut(), &mut users, &mut groups);
        assert_eq!(all[0].access.named, [(Named::User(1), 6), (Named::Group(0x7fff_0002), 1)]);
        assert_eq!(all[0].default.named, all[1].access.named);
        assert!(Arc::ptr_eq(&all[0].access, &all[1].access) && all[2].is_empty());
    }
}
