//! Users and groups: who we are, and names to numbers and back.

/// The user whose rights we have.
pub fn effective_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}
