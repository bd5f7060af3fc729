//! Access control lists that are told by attributes.
//!
//! An attribute holds 32-bit numbers, little-endian: the permissions of owner, group, mask and others, 0x80 for an entry
//! that is not there; then for each name its number and its permissions, with the highest bit set for a user.

use std::{ffi::CStr, io};

use crate::{
    meta::acl::{Acl, Named, Which},
    sys::xattr::{self, On},
};

/// C: NO_ENTRY
const NONE: u32 = 0x80;

/// C: NAME_IS_USER
const IS_USER: u32 = 1 << 31;

/// C: XACC_ACL_ATTR, XDEF_ACL_ATTR
fn attribute(which: Which) -> &'static CStr {
    match which {
        Which::Access => c"user.rsync.%aacl",
        Which::Default => c"user.rsync.%dacl",
    }
}

/// The list of a file of this mode; an empty one where none is told. C: in acls.c get_rsync_acl
///
/// # Errors
/// `EINVAL`: what is told is no list.
pub fn read(on: On<'_>, which: Which, mode: u32) -> io::Result<Acl> {
    match xattr::get(on, attribute(which)) {
        Ok(value) => decode(&value, mode).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL)),
        Err(_) => Ok(Acl::default()), // nor can it be told from here
    }
}

/// Tells a list as it stands; with an empty one there is no default list to tell of. C: in acls.c set_rsync_acl
pub fn write(acl: &Acl, on: On<'_>, which: Which) -> io::Result<()> {
    if which == Which::Access || acl.user_obj.is_some() {
        return xattr::set(on, attribute(which), &encode(acl));
    }
    match xattr::remove(on, attribute(which)) {
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(()),
        done => done,
    }
}

/// What messages call the writing of it.
pub fn write_failed(held: bool, which: Which, full: &[u8]) -> Vec<u8> {
    let call = if held { "f" } else { "l" };
    crate::bytes!["set_xattr_acl: ", call, "setxattr(", full, ",\"", attribute(which).to_bytes(), "\") failed"]
}

/// Of an entry that must be there, what the mode says counts where it is not.
fn decode(value: &[u8], mode: u32) -> Option<Acl> {
    let (numbers, rest) = value.as_chunks::<4>();
    let mut numbers = numbers.iter().copied().map(u32::from_le_bytes);
    let mut single = || match numbers.next()? {
        NONE => Some(None),
        perms @ 0..=7 => Some(Some(perms as u8)),
        _ => None,
    };
    let (user_obj, group_obj, mask, other) = (single()?, single()?, single()?, single()?);
    let of_mode = Acl::of_mode(mode);
    let mut acl = Acl {
        user_obj: user_obj.or(of_mode.user_obj),
        group_obj: group_obj.or(of_mode.group_obj),
        mask,
        other: other.or(of_mode.other),
        named: Vec::new(),
    };
    while let Some(id) = numbers.next() {
        let access = numbers.next()?;
        let who = if access & IS_USER != 0 { Named::User(id) } else { Named::Group(id) };
        let perms = u8::try_from(access & !IS_USER).ok().filter(|perms| *perms <= 7)?;
        acl.named.push((who, perms));
    }
    rest.is_empty().then_some(acl)
}

fn encode(acl: &Acl) -> Vec<u8> {
    let singles = [acl.user_obj, acl.group_obj, acl.mask, acl.other];
    let singles = singles.into_iter().map(|perms| perms.map_or(NONE, u32::from));
    let named = acl.named.iter().flat_map(|&(who, perms)| match who {
        Named::User(id) => [id, u32::from(perms) | IS_USER],
        Named::Group(id) => [id, u32::from(perms)],
    });
    singles.chain(named).flat_map(u32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    #[test]
    fn what_is_told_is_read() {
        let whole = Acl {
            user_obj: Some(6),
            group_obj: Some(4),
            mask: Some(7),
            other: Some(0),
            named: vec![(Named::User(1234), 6), (Named::Group(5678), 1)],
        };
        let told = value(&[6, 4, 7, 0, 1234, 6 | IS_USER, 5678, 1]);
        assert_eq!((encode(&whole), decode(&told, 0)), (told, Some(whole)));
    }

    #[test]
    fn what_is_not_told_the_mode_says() {
        let none = value(&[NONE; 4]);
        assert_eq!(encode(&Acl::default()), none);
        assert_eq!(decode(&none, 0o100751), Some(Acl::of_mode(0o100751)));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let whole = value(&[6, 4, 7, 0, 1234, 6]);
        for len in (0..whole.len()).filter(|len| *len != 16) {
            assert_eq!(decode(&whole[..len], 0), None, "{len}");
        }
        for wrong in [[8, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 8], [0, u32::MAX, 0, 0, 1, 0], [0, 0, 0, 0, 1, 1 << 30]] {
            assert_eq!(decode(&value(&wrong), 0), None, "{wrong:?}");
        }
    }
}
