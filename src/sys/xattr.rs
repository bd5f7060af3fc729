//! Extended attributes.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// No attribute is longer.
const MAX: usize = 65_536;

/// Reads an attribute of what a handle is on, `O_PATH` handles included: those only this way.
pub fn get(fd: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<u8>> {
    let path = CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    let mut room = 256;
    loop {
        let mut value = vec![0; room];
        // SAFETY: both strings are NUL-terminated; the buffer is as long as is said.
        let len = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        match usize::try_from(len) {
            Ok(len) => {
                value.truncate(len);
                return Ok(value);
            }
            Err(_) => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ERANGE) && room < MAX => room = MAX,
                error => return Err(error),
            },
        }
    }
}
