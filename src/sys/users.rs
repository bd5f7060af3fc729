//! Users and groups: who we are, and names to numbers and back.

use std::{
    ffi::{CStr, c_char},
    io,
};

use nix::{
    errno::Errno,
    unistd::{self, Gid, Uid},
};

use super::at::with_name;

/// The user whose rights we have.
pub fn effective_uid() -> u32 {
    unistd::geteuid().as_raw()
}

pub fn effective_gid() -> u32 {
    unistd::getegid().as_raw()
}

/// The groups we are in besides the effective one (which may be listed too).
pub fn supplementary_groups() -> io::Result<Vec<u32>> {
    Ok(unistd::getgroups()?.into_iter().map(Gid::as_raw).collect())
}

/// Takes on a group for good; in all threads, as the C library does it. The groups we are in besides stay.
pub fn set_gid(gid: u32) -> io::Result<()> {
    Ok(unistd::setgid(Gid::from_raw(gid))?)
}

/// Leaves all groups besides the effective one but for these; in all threads.
pub fn set_supplementary_groups(gids: &[u32]) -> io::Result<()> {
    let gids: Vec<Gid> = gids.iter().copied().map(Gid::from_raw).collect();
    Ok(unistd::setgroups(&gids)?)
}

/// Joins `gid` and the groups that the database has for a user of that name, leaving all others; in all threads.
pub fn join_groups_of(name: &[u8], gid: u32) -> io::Result<()> {
    with_name(name, |name| Ok(unistd::initgroups(name, Gid::from_raw(gid))?))
}

/// Takes on a user for good, if we are the super-user; in all threads.
pub fn set_uid(uid: u32) -> io::Result<()> {
    Ok(unistd::setuid(Uid::from_raw(uid))?)
}

/// An entry of the user database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    pub name: Vec<u8>,
    pub uid: u32,
    pub gid: u32,
    pub home: Vec<u8>,
}

/// An entry of the group database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    pub name: Vec<u8>,
    pub gid: u32,
}

/// Looks a user up; `None` if there is none of that name.
pub fn user_by_name(name: &[u8]) -> io::Result<Option<User>> {
    // No user has a NUL in the name.
    if name.contains(&0) {
        return Ok(None);
    }
    with_name(name, |name| {
        look_up(read_user, |entry, buffer, found| {
            // SAFETY: all pointers are valid for the call, the buffer's length is given.
            unsafe { libc::getpwnam_r(name.as_ptr(), entry, buffer.as_mut_ptr(), buffer.len(), found) }
        })
    })
}

pub fn user_by_id(uid: u32) -> io::Result<Option<User>> {
    look_up(read_user, |entry, buffer, found| {
        // SAFETY: all pointers are valid for the call, the buffer's length is given.
        unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr(), buffer.len(), found) }
    })
}

/// Looks a group up; `None` if there is none of that name.
pub fn group_by_name(name: &[u8]) -> io::Result<Option<Group>> {
    if name.contains(&0) {
        return Ok(None);
    }
    with_name(name, |name| {
        look_up(read_group, |entry, buffer, found| {
            // SAFETY: all pointers are valid for the call, the buffer's length is given.
            unsafe { libc::getgrnam_r(name.as_ptr(), entry, buffer.as_mut_ptr(), buffer.len(), found) }
        })
    })
}

pub fn group_by_id(gid: u32) -> io::Result<Option<Group>> {
    look_up(read_group, |entry, buffer, found| {
        // SAFETY: all pointers are valid for the call, the buffer's length is given.
        unsafe { libc::getgrgid_r(gid, entry, buffer.as_mut_ptr(), buffer.len(), found) }
    })
}

fn read_user(entry: &libc::passwd) -> User {
    User { name: text(entry.pw_name), uid: entry.pw_uid, gid: entry.pw_gid, home: text(entry.pw_dir) }
}

fn read_group(entry: &libc::group) -> Group {
    Group { name: text(entry.gr_name), gid: entry.gr_gid }
}

/// Copies a string that the database call just put into its buffer.
fn text(start: *const c_char) -> Vec<u8> {
    if start.is_null() {
        return Vec::new();
    }
    // SAFETY: `read_user` and `read_group` run while the call's buffer, into which the entry points, still lives; its
    // strings are NUL-terminated.
    unsafe { CStr::from_ptr(start) }.to_bytes().to_vec()
}

/// Runs a `get…_r` call with a buffer that grows until the entry fits.
fn look_up<E, T>(
    read: impl FnOnce(&E) -> T,
    mut call: impl FnMut(*mut E, &mut [c_char], *mut *mut E) -> i32,
) -> io::Result<Option<T>> {
    const LARGEST: usize = 16 << 20;
    let mut buffer: Vec<c_char> = vec![0; 1024];
    loop {
        let mut entry = std::mem::MaybeUninit::<E>::uninit();
        let mut found: *mut E = std::ptr::null_mut();
        match call(entry.as_mut_ptr(), &mut buffer, &raw mut found) {
            // SAFETY: when the call succeeds, `found` is null or points to `entry`, now filled in.
            0 => return Ok(unsafe { found.as_ref() }.map(read)),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < LARGEST => buffer.resize(buffer.len() * 4, 0),
            // Several databases say "not found" in these ways.
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(None),
            errno => return Err(Errno::from_raw(errno).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_both_ways() {
        let root = user_by_id(0).unwrap().unwrap();
        assert_eq!((&root.name[..], root.uid, root.gid), (&b"root"[..], 0, 0));
        assert_eq!(user_by_name(b"root").unwrap(), Some(root));
        let group = group_by_id(0).unwrap().unwrap();
        assert_eq!(group_by_name(&group.name).unwrap(), Some(group));
    }

    #[test]
    fn absent_and_impossible_names_are_none() {
        assert_eq!(user_by_name(b"no-such-user-here").unwrap(), None);
        assert_eq!(user_by_name(b"\xff\xfe").unwrap(), None);
        assert_eq!(user_by_name(b"ro\0ot").unwrap(), None);
        assert_eq!(group_by_name(b"no-such-group-here").unwrap(), None);
        assert_eq!(user_by_id(3_999_999_999).unwrap(), None);
        assert_eq!(group_by_id(3_999_999_999).unwrap(), None);
    }
}
