//! The permissions that new things in a directory may have where the sender's are not kept: the umask decides, or the
//! directory's default ACL.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use super::Dest;
use crate::{
    bytes,
    error::errno_words,
    fs::Root,
    log::LogCode,
    meta::acl::{self, Acl},
    options::Debug,
    sys::xattr,
};

/// Those of the directory at hand.
#[derive(Default)]
pub struct DefaultPerms {
    dir: Option<Vec<u8>>,
    /// `None`: the umask decides.
    perms: Option<u32>,
}

impl DefaultPerms {
    /// Goes on to a directory, which is asked once while it is at hand.
    pub fn enter(&mut self, dest: Dest<'_>, dir: &[u8]) {
        if !dest.rules.perms && self.dir.as_deref() != Some(dir) {
            self.perms = of_acl(dest, if dir.is_empty() { b"." } else { dir });
            self.dir = Some(dir.to_vec());
        }
    }

    pub fn get(&self, dest: Dest<'_>) -> u32 {
        self.perms.unwrap_or_else(|| dest.rules.default_perms())
    }
}

/// Makes a directory that is not of the transfer, with what `mode` is allowed there.
pub fn mkdir(root: &Root, path: &[u8], mode: u32, umask: u32) -> io::Result<()> {
    let (above, _) = root.parent(path)?;
    root.mkdir(path, allowed(above.as_fd(), mode, umask))
}

/// The mode to ask for in a directory: where it has a default ACL the kernel lets that decide, and not the umask.
pub fn allowed(dir: BorrowedFd<'_>, mode: u32, umask: u32) -> u32 {
    let has_acl = xattr::get(dir, acl::DEFAULT).is_ok_and(|value| !value.is_empty());
    if has_acl { mode } else { mode & !umask }
}

/// C: acls.c default_perms_for_dir
fn of_acl(dest: Dest<'_>, dir: &[u8]) -> Option<u32> {
    let value = match read(dest, dir) {
        Ok(value) => value?,
        Err(error) => {
            tell_failure(dest, dir, &error);
            return None;
        }
    };
    let Some(acl) = Acl::decode(&value) else {
        let line = "default_perms_for_dir: unpack_smb_acl failed, falling back on umask";
        dest.log.say(LogCode::Warning, line);
        return None;
    };
    let perms = acl.mode()?;
    if dest.log.debug(Debug::Acl) >= 1 {
        let what = format!("got ACL-based default perms {perms:o} for directory ");
        dest.log.say(LogCode::Info, bytes![what, dir]);
    }
    Some(perms)
}

/// The default ACL as the kernel has it; `None`: there is none, or no such thing here.
fn read(dest: Dest<'_>, dir: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let handle = match dest.root.directory(dir) {
        Ok(handle) => handle,
        // As the library has it that the reference asks.
        Err(_) if dest.root.stat(dir).is_ok_and(|stat| !stat.is_dir() && !stat.is_symlink()) => {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        Err(error) => return Err(error),
    };
    // That no name leads to the handle, or to no ACL, is one to us.
    Ok(xattr::get(handle.as_fd(), acl::DEFAULT).ok().filter(|value| !value.is_empty()))
}

fn tell_failure(dest: Dest<'_>, dir: &[u8], error: &io::Error) {
    // A link that is not followed says nothing of what is behind it; in a dry run the directory was not made.
    let expected = match error.raw_os_error() {
        Some(libc::ELOOP | libc::EINVAL | libc::ENOTSUP | libc::ENOSYS) | None => true,
        Some(errno) => errno == libc::ENOENT && dest.rules.dry_run,
    };
    if expected {
        return;
    }
    let reason = errno_words(error);
    let what = bytes!["default_perms_for_dir: sys_acl_get_file(", dir, ", ACL_TYPE_DEFAULT): "];
    dest.log.say(LogCode::Warning, bytes![what, reason, ", falling back on umask"]);
}
