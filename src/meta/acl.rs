//! Access control lists in the form that the kernel keeps them in as extended attributes.

use std::ffi::CStr;

/// Where the list is that new things in a directory begin with.
pub const DEFAULT: &CStr = c"system.posix_acl_default";

const VERSION: u32 = 2;
const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;

/// Who has an entry by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    User(u32),
    Group(u32),
}

/// A list; permissions are three bits each.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Acl {
    pub user_obj: Option<u8>,
    pub group_obj: Option<u8>,
    pub mask: Option<u8>,
    pub other: Option<u8>,
    pub named: Vec<(Named, u8)>,
}

impl Acl {
    /// Version 2: a number, then entries of eight bytes (tag, permissions, id), all little-endian. `None`: it is not
    /// that. Of entries that may be there once the first counts.
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
        Some(acl)
    }

    /// The mode that shows the list: the mask stands for the group. `None` where the owner has no entry.
    /// C: acls.c rsync_acl_get_perms
    pub fn mode(&self) -> Option<u32> {
        let group = self.mask.or(self.group_obj).unwrap_or(0);
        Some(u32::from(self.user_obj?) << 6 | u32::from(group) << 3 | u32::from(self.other.unwrap_or(0)))
    }
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
}
