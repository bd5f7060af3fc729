//! Which directories of a received list come with their contents: only there may extraneous files be deleted.

use super::{Flags, form::xmit};
use crate::{
    bytes,
    log::{Log, LogCode},
    options::{Debug, Options},
};

/// What is remembered from directory to directory.
pub(super) struct Contents {
    relative: bool,
    recurse: bool,
    /// Below protocol 30: inside the tree of a top directory whose name has this length.
    tree: Option<usize>,
}

impl Contents {
    pub fn new(options: &Options) -> Self {
        Self { relative: options.relative, recurse: options.recurse(), tree: None }
    }

    /// From protocol 30 on the sender marks every directory. One that only leads to what we asked for is one without
    /// contents, whatever the sender says.
    pub fn marked(&self, flags: u32, path: &[u8], parent_only: bool, log: &Log) -> Flags {
        let honest = xmit::NO_CONTENT_DIR | xmit::TOP_DIR;
        if parent_only && flags & honest != honest && log.debug(Debug::Filter) >= 1 {
            let who = log.speaker().name();
            let flags = format!(" to non-content (sender xflags=0x{flags:x})");
            log.say(LogCode::Info, bytes!["[", who, "] receiver downgraded implied-parent dir ", path, flags]);
        }
        let flags = if parent_only { flags | honest } else { flags };
        match (flags & xmit::NO_CONTENT_DIR != 0, flags & xmit::TOP_DIR != 0) {
            (false, true) => Flags::CONTENT_DIR.with(Flags::TOP_DIR),
            (false, false) => Flags::CONTENT_DIR,
            (true, true) => Flags::IMPLIED_DIR,
            (true, false) => Flags::NONE,
        }
    }

    /// Before protocol 30 only the top directories are marked: what follows below one has contents too. `raw` is the
    /// name as sent, of which `common` bytes were those of the entry before.
    pub fn inferred(&mut self, flags: u32, path: &[u8], raw: &[u8], common: usize, parent_only: bool) -> Flags {
        if flags & xmit::TOP_DIR != 0 {
            if parent_only {
                return Flags::IMPLIED_DIR;
            }
            let is_root = matches!(path, b"." | b"/.");
            let len = if is_root { 0 } else { raw.len() };
            let trimmed = self.relative && len > 2 && raw[..len].ends_with(b"/.");
            self.tree = self.recurse.then_some(if trimmed { len - 2 } else { len });
            return Flags::TOP_DIR.with(Flags::CONTENT_DIR);
        }
        let Some(len) = self.tree else { return Flags::NONE };
        if !self.relative || len == 0 || (common >= len && raw.get(len) == Some(&b'/')) {
            Flags::CONTENT_DIR
        } else {
            self.tree = None;
            Flags::NONE
        }
    }
}
