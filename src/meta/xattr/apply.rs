//! Giving a file its attributes.

use std::ffi::CStr;

use super::{
    List, Policy, Rights, Value, names,
    read::{Subject, is_faked},
};
use crate::{
    bytes,
    log::LogCode,
    sys::{
        users,
        xattr::{self, On},
    },
};

impl List {
    /// Takes long values that did not come from a file that has the same. C: in xattrs.c rsync_xal_set
    pub fn recall(&self, from: On<'_>) {
        for attr in &self.attrs {
            if let Value::Digest(digest) = &attr.value
                && digest.came.get().is_none()
                && let Some(value) = xattr::get(from, &attr.name).ok().filter(|value| digest.fits(value))
            {
                let _ = digest.came.set(value.into());
            }
        }
    }
}

impl Policy {
    /// Whether attributes can be set only after asking for permission to write.
    pub fn is_unprivileged(&self) -> bool {
        self.rights == Rights::User || users::effective_uid() != 0
    }

    /// Makes the attributes of a file what is listed; whether any was set or removed. Failures are said.
    /// C: xattrs.c rsync_xal_set
    pub fn apply(&self, list: &List, subject: Subject<'_>) -> bool {
        let Some(listed) = subject.names() else { return false };
        let mut touched = false;
        list.recall(subject.on);
        for attr in &list.attrs {
            let value = match &attr.value {
                Value::Whole(value) => value,
                Value::Digest(digest) => match digest.came.get() {
                    Some(value) => value,
                    None => {
                        let missing = bytes!["Missing abbreviated xattr value, ", attr.name.to_bytes(), ", for "];
                        subject.log.say(LogCode::Error, bytes![missing, (subject.name)()]);
                        continue;
                    }
                },
            };
            match xattr::set(subject.on, &attr.name, value) {
                Ok(()) => touched = true,
                Err(error) => subject.not_done("rsync_xal_set", "setxattr", &attr.name, &error),
            }
        }
        for name in names(&listed).filter(|name| self.is_extraneous(list, name, subject)) {
            match xattr::remove(subject.on, name) {
                Ok(()) => touched = true,
                Err(error) => subject.not_done("rsync_xal_set", "removexattr", name, &error),
            }
        }
        touched
    }

    fn is_extraneous(&self, list: &List, name: &CStr, subject: Subject<'_>) -> bool {
        let bytes = name.to_bytes();
        // The reference spares but `%stat`, and so loses access lists where other attributes are set.
        let faked = self.rights == Rights::Fake && is_faked(bytes);
        !self.passes_over(bytes, self.rights != Rights::Super, subject)
            && !faked
            && !list.attrs.iter().any(|attr| *attr.name == *name)
    }

    /// Copies what a file has to another one; a failure is said, and ends it. C: xattrs.c copy_xattrs
    pub fn copy(&self, from: Subject<'_>, to: Subject<'_>) -> Option<()> {
        let listed = from.names()?;
        for name in names(&listed) {
            if self.passes_over(name.to_bytes(), !self.sends && self.rights != Rights::Super, from) {
                continue;
            }
            let value = from.value(name)?;
            if let Err(error) = xattr::set(to.on, name, &value) {
                to.not_done("copy_xattrs", "setxattr", name, &error);
                return None;
            }
        }
        Some(())
    }
}

/// A value that was asked for, as it is now. C: in xattrs.c send_xattr_request
pub(super) fn reread(subject: Subject<'_>, name: &CStr, shown: &[u8]) -> Option<Vec<u8>> {
    let value = subject.value(name);
    if value.is_none() {
        let line = bytes!["failed to re-read xattr ", name.to_bytes(), " for ", shown];
        subject.log.say(LogCode::ErrorXfer, line);
    }
    value
}
