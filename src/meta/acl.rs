//! Access control lists: as they are compared and given, and in the form in which the kernel keeps them as extended
//! attributes.
//!
//! Of an access list the mode bits of the file tell a part. What they tell is left out of what travels
//! ([`Acl::strip`]), and comes back from the mode that the file shall have ([`Acl::for_mode`]).

use std::{ffi::CStr, io, sync::Arc};

use super::{Kind, fake};
use crate::{
    options::{Options, Super},
    sys::xattr::{self, On},
};

/// Where the list is that new things in a directory begin with.
pub const DEFAULT: &CStr = c"system.posix_acl_default";

/// ... and the file's own.
pub const ACCESS: &CStr = c"system.posix_acl_access";

const VERSION: u32 = 2;
const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;

/// Who has an entry by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Named {
    User(u32),
    Group(u32),
}

/// A list; permissions are three bits each.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Acl {
    pub user_obj: Option<u8>,
    pub group_obj: Option<u8>,
    pub mask: Option<u8>,
    pub other: Option<u8>,
    pub named: Vec<(Named, u8)>,
}

/// Both lists of a file. Empty ones: the mode says it all, and there is no default list.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Acls {
    pub access: Arc<Acl>,
    pub default: Arc<Acl>,
}

/// What can have lists here: links cannot, and of devices and special files those of which there is no talk do not.
#[derive(Clone, Copy, Debug)]
pub struct Bearers {
    devices: bool,
    specials: bool,
    /// They are told by attributes of our own (`--fake-super`).
    faked: bool,
}

impl Bearers {
    pub fn new(options: &Options) -> Self {
        Self { devices: options.devices, specials: options.specials, faked: options.super_user == Super::Fake }
    }

    /// C: in acls.c get_acl
    pub fn have(self, mode: u32) -> bool {
        match Kind::of(mode) {
            Kind::Regular | Kind::Directory => true,
            Kind::Device => self.devices,
            Kind::Special => self.specials,
            Kind::Symlink | Kind::Unsupported => false,
        }
    }

    pub fn are_faked(self) -> bool {
        self.faked
    }

    /// What the file has that `mode` is of; where there are no lists at all, what the mode says. C: acls.c get_acl
    ///
    /// # Errors
    /// With the list that cannot be read.
    pub fn read(self, on: On<'_>, mode: u32) -> Result<Acls, (Which, io::Error)> {
        let read = |which| {
            if self.faked {
                return fake::acl::read(on, which, mode).map_err(|error| (which, error));
            }
            let read = Acl::read(on, which).map_err(|error| (which, error))?;
            Ok(read.unwrap_or_else(|| if which == Which::Access { Acl::of_mode(mode) } else { Acl::default() }))
        };
        let access = read(Which::Access)?;
        let default = if is_dir(mode) { read(Which::Default)? } else { Acl::default() };
        Ok(Acls { access: access.into(), default: default.into() })
    }

    /// Gives a file a list as it stands; an empty one takes the default list away. C: acls.c set_rsync_acl
    pub fn write(self, acl: &Acl, on: On<'_>, which: Which) -> io::Result<()> {
        if self.faked { fake::acl::write(acl, on, which) } else { acl.write(on, which) }
    }
}

/// One of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    Access,
    Default,
}

impl Which {
    /// As messages call it. C: acls.c str_acl_type
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "ACL_TYPE_ACCESS",
            Self::Default => "ACL_TYPE_DEFAULT",
        }
    }

    fn attribute(self) -> &'static CStr {
        match self {
            Self::Access => ACCESS,
            Self::Default => DEFAULT,
        }
    }
}

impl Acls {
    /// Leaves out what the mode says anyway.
    pub fn stripped(mut self, mode: u32) -> Self {
        Arc::make_mut(&mut self.access).strip(mode);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.access.is_empty() && self.default.is_empty()
    }

    /// Whether a file with these lists lacks what `wanted`, which is stripped, and the mode it shall have ask for.
    pub fn differ(&self, wanted: &Self, mode: u32) -> bool {
        self.access_differs(wanted, mode) || self.default_differs(wanted, mode)
    }

    pub fn access_differs(&self, wanted: &Self, mode: u32) -> bool {
        !self.access.says_beside_mode(&wanted.access, mode)
    }

    pub fn default_differs(&self, wanted: &Self, mode: u32) -> bool {
        is_dir(mode) && self.default != wanted.default
    }
}

impl Acl {
    /// `None`: there is none, or no such thing here.
    fn read(on: On<'_>, which: Which) -> io::Result<Option<Self>> {
        match xattr::get(on, which.attribute()) {
            Ok(value) => Ok(Self::decode(&value).filter(|acl| !acl.is_empty())),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENODATA | libc::ENOTSUP | libc::ENOSYS | libc::EINVAL) => Ok(None),
                _ => Err(error),
            },
        }
    }

    fn write(&self, on: On<'_>, which: Which) -> io::Result<()> {
        if which == Which::Access || self.user_obj.is_some() {
            return xattr::set(on, which.attribute(), &self.encode());
        }
        match xattr::remove(on, which.attribute()) {
            Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(()),
            done => done,
        }
    }

    /// Version 2: a number, then entries of eight bytes (tag, permissions, id), all little-endian. `None`: it is not
    /// that. Of entries that may be there once the first counts; named ones are put in order.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, entries) = bytes.split_first_chunk::<4>()?;
        let (entries, rest) = entries.as_chunks::<8>();
        if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
            return None;
        }
        let mut acl = Self::default();
        for &[tag, tag_high, perms, perms_high, id @ ..] in entries {
            let (tag, id) = (u16::from_le_bytes([tag, tag_high]), u32::from_le_bytes(id));
            if perms > 7 || perms_high != 0 {
                return None;
            }
            let single = match tag {
                USER => {
                    acl.named.push((Named::User(id), perms));
                    continue;
                }
                GROUP => {
                    acl.named.push((Named::Group(id), perms));
                    continue;
                }
                USER_OBJ => &mut acl.user_obj,
                GROUP_OBJ => &mut acl.group_obj,
                MASK => &mut acl.mask,
                OTHER => &mut acl.other,
                _ => return None,
            };
            single.get_or_insert(perms);
        }
        acl.named.sort_by_key(|(who, _)| *who);
        Some(acl)
    }

    /// The other way, in the order that the kernel wants; the entries that every list must have are there, if without
    /// permissions. C: acls.c pack_smb_acl, lib/acl.c acl_to_xattr
    pub fn encode(&self) -> Vec<u8> {
        let single = |tag, perms: Option<u8>| perms.map(|perms| (tag, perms, u32::MAX));
        let mut entries = Vec::with_capacity(self.named.len() + 4);
        entries.extend(self.named.iter().map(|&(who, perms)| match who {
            Named::User(id) => (USER, perms, id),
            Named::Group(id) => (GROUP, perms, id),
        }));
        entries.extend(single(USER_OBJ, self.user_obj.or(Some(0))));
        entries.extend(single(GROUP_OBJ, self.group_obj.or(Some(0))));
        entries.extend(single(MASK, self.mask));
        entries.extend(single(OTHER, self.other.or(Some(0))));
        entries.sort_by_key(|(tag, _, id)| (*tag, *id));
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, perms, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend([perms, 0]);
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    /// What a mode alone says. C: acls.c rsync_acl_fake_perms
    pub fn of_mode(mode: u32) -> Self {
        let (user_obj, group_obj, other) = (Some(bits(mode, 6)), Some(bits(mode, 3)), Some(bits(mode, 0)));
        Self { user_obj, group_obj, other, ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// C: acls.c rsync_acl_strip_perms
    fn strip(&mut self, mode: u32) {
        let group = Some(bits(mode, 3));
        (self.user_obj, self.other) = (None, None);
        if self.mask.is_none() || self.group_obj == group {
            self.group_obj = None;
        }
        if !self.named.is_empty() && self.mask == group {
            self.mask = None;
        }
    }

    /// Whether the list of a file is `wanted`, as far as setting the mode does not do the rest. Named entries count in
    /// their order, as the reference has it. C: acls.c rsync_acl_equal_enough
    fn says_beside_mode(&self, wanted: &Self, mode: u32) -> bool {
        let group = || wanted.group_obj.unwrap_or(bits(mode, 3));
        self.mask.is_some() == wanted.mask.is_some()
            && (self.mask.is_none() || self.group_obj == Some(group()))
            && self.named == wanted.named
    }

    /// The whole access list for a file that shall have the mode `new`, and the mode it has with it. While a bit that
    /// makes a difference to others is still to come or to go, they get nothing. C: acls.c change_sacl_perms
    pub fn for_mode(&self, old: u32, new: u32) -> (Self, u32) {
        let coming = |bit| new & bit != 0 && old & bit == 0;
        let going = |bit| old & bit != 0 && new & bit == 0;
        let unsafe_now = if is_dir(new) { coming(libc::S_ISVTX) } else { going(libc::S_ISUID) || going(libc::S_ISGID) };
        let mode = if unsafe_now { new & !0o077 } else { new };
        let group = bits(mode, 3);
        let list = Self {
            user_obj: Some(bits(mode, 6)),
            group_obj: self.group_obj.or(Some(group)),
            mask: self.mask.map(|_| group),
            other: Some(bits(mode, 0)),
            named: self.named.clone(),
        };
        (list, old & !0o777 | mode & 0o777)
    }

    /// The mode that shows the list: the mask stands for the group. `None` where the owner has no entry.
    /// C: acls.c rsync_acl_get_perms
    pub fn mode(&self) -> Option<u32> {
        let group = self.mask.or(self.group_obj).unwrap_or(0);
        Some(u32::from(self.user_obj?) << 6 | u32::from(group) << 3 | u32::from(self.other.unwrap_or(0)))
    }
}

fn bits(mode: u32, shift: u32) -> u8 {
    (mode >> shift & 7) as u8
}

fn is_dir(mode: u32) -> bool {
    mode & libc::S_IFMT == libc::S_IFDIR
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(version: u32, entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = version.to_le_bytes().to_vec();
        for (tag, perms, id) in entries {
            bytes.extend([tag.to_le_bytes(), perms.to_le_bytes()].concat());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    const PLAIN: [(u16, u16, u32); 3] = [(USER_OBJ, 7, u32::MAX), (GROUP_OBJ, 5, u32::MAX), (OTHER, 1, u32::MAX)];

    #[test]
    fn entries_are_told_apart() {
        let more = [(USER, 6, 1000), (GROUP, 4, 50), (MASK, 2, u32::MAX)];
        let acl = Acl::decode(&encoded(2, &[&PLAIN[..], &more].concat())).unwrap();
        assert_eq!((acl.user_obj, acl.group_obj, acl.mask, acl.other), (Some(7), Some(5), Some(2), Some(1)));
        assert_eq!(acl.named, [(Named::User(1000), 6), (Named::Group(50), 4)]);
        assert_eq!(acl.mode(), Some(0o721));
        assert_eq!(Acl::decode(&encoded(2, &PLAIN)).unwrap().mode(), Some(0o751));
        assert_eq!(Acl::decode(&encoded(2, &[])).unwrap().mode(), None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let whole = encoded(2, &PLAIN);
        assert!((0..whole.len()).filter(|len| (len + 4) % 8 != 0).all(|len| Acl::decode(&whole[..len]).is_none()));
        for wrong in [encoded(1, &PLAIN), encoded(2, &[(3, 0, 0)]), encoded(2, &[(USER, 8, 0)])] {
            assert_eq!(Acl::decode(&wrong), None);
        }
    }

    fn list(text: &[(u16, u16, u32)]) -> Acl {
        Acl::decode(&encoded(2, text)).unwrap()
    }

    #[test]
    fn what_is_encoded_is_in_order_and_complete() {
        let mixed = [
            (GROUP, 4, 50),
            (OTHER, 1, 0),
            (USER, 6, 9),
            (MASK, 7, 0),
            (USER, 1, 3),
            (USER_OBJ, 7, 0),
            (GROUP_OBJ, 5, 0),
        ];
        let ordered = [(USER_OBJ, 7), (USER, 1), (USER, 6), (GROUP_OBJ, 5), (GROUP, 4), (MASK, 7), (OTHER, 1)];
        let ids = [u32::MAX, 3, 9, u32::MAX, 50, u32::MAX, u32::MAX];
        let ordered: Vec<_> = ordered.iter().zip(ids).map(|(&(tag, perms), id)| (tag, perms, id)).collect();
        assert_eq!(list(&mixed).encode(), encoded(2, &ordered));
        let plain = [(USER_OBJ, 0, u32::MAX), (GROUP_OBJ, 0, u32::MAX), (OTHER, 0, u32::MAX)];
        assert_eq!(Acl::default().encode(), encoded(2, &plain));
    }

    #[test]
    fn what_the_mode_tells_is_left_out_and_comes_back() {
        let stripped = |acl: &Acl, mode| {
            let acls = Acls { access: acl.clone().into(), ..Acls::default() }.stripped(mode);
            Acl::clone(&acls.access)
        };
        let named = [(USER_OBJ, 6, 0), (USER, 7, 9), (GROUP_OBJ, 4, 0), (MASK, 6, 0), (OTHER, 0, 0)];
        for acl in [Acl::of_mode(0o100751), list(&named), list(&[&named[..1], &named[2..]].concat())] {
            let mode = 0o100000 | acl.mode().unwrap();
            let sent = stripped(&acl, mode);
            assert!(sent.user_obj.is_none() && sent.other.is_none());
            // The other side knows that names come with a mask.
            let mask = sent.mask.or(acl.mask.filter(|_| !sent.named.is_empty()));
            let there = Acl { mask, ..sent };
            assert_eq!(there.for_mode(0o100000, mode), (acl.clone(), mode));
            assert!(acl.says_beside_mode(&there, mode));
        }
        assert!(stripped(&Acl::of_mode(0o751), 0o751).is_empty());
    }

    #[test]
    fn lists_differ_in_what_chmod_does_not_set() {
        let named = list(&[(USER_OBJ, 6, 0), (USER, 7, 9), (GROUP_OBJ, 4, 0), (MASK, 6, 0), (OTHER, 0, 0)]);
        let same = |other: &Acl| named.says_beside_mode(other, 0o100660);
        assert!(same(&Acl { user_obj: None, other: None, mask: Some(1), ..named.clone() }));
        assert!(!same(&Acl { named: Vec::new(), ..named.clone() }));
        assert!(!same(&Acl { mask: None, ..named.clone() }));
        assert!(!same(&Acl { group_obj: None, ..named.clone() }), "the mode says 6");
        assert!(!same(&Acl { named: vec![(Named::User(9), 6)], ..named.clone() }));
        assert!(!same(&Acl { named: vec![(Named::Group(9), 7)], ..named.clone() }));
    }

    #[test]
    fn others_get_nothing_while_a_special_bit_is_to_change() {
        let mode_of = |old, new| Acl::default().for_mode(old, new).1;
        assert_eq!(mode_of(0o104700, 0o100777), 0o104700, "setuid has to go first");
        assert_eq!(mode_of(0o102700, 0o100777), 0o102700);
        assert_eq!(mode_of(0o100700, 0o106777), 0o100777);
        assert_eq!(mode_of(0o040700, 0o041777), 0o040700, "sticky has to come first");
        assert_eq!(mode_of(0o041700, 0o041777), 0o041777);
        assert_eq!(mode_of(0o042700, 0o040777), 0o042777);
    }
}
