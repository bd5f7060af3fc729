//! What is known about the terminal, if there is one.

use std::os::fd::AsFd;

/// Whether a descriptor is a terminal.
pub fn is_terminal(fd: impl AsFd) -> bool {
    std::io::IsTerminal::is_terminal(&fd.as_fd())
}

/// Whether a descriptor is a terminal that belongs to another process group: we run in the background.
pub fn in_background(fd: impl AsFd) -> bool {
    nix::unistd::tcgetpgrp(fd).is_ok_and(|foreground| foreground != nix::unistd::getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_terminal() {
        let file = tempfile::tempfile().unwrap();
        assert!(!is_terminal(&file));
        assert!(!in_background(&file));
    }
}
