//! `--iconv`: names and the texts of links in this side's characters, and as they travel.

use super::MAX_PATH;
use crate::{
    error::Result,
    options::{
        Options,
        charset::{Charset, Text},
    },
    proto::{Protocol, handshake::converts_links},
    sys::iconv::Stop,
};

/// The sending side's way.
pub(super) struct Outgoing {
    text: Text,
    links: bool,
}

impl Outgoing {
    /// `None` without `--iconv`.
    pub fn new(options: &Options, protocol: &Protocol) -> Result<Option<Self>> {
        let Some(charset) = Charset::of(options) else { return Ok(None) };
        Ok(Some(Self { text: charset.to_wire()?, links: converts_links(protocol, options) }))
    }

    /// The name of an entry: its directory, with a slash if there is one, and its last component.
    pub fn name(&mut self, dir_slash: &[u8], base: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        out.clear();
        if let Some(dir) = dir_slash.strip_suffix(b"/") {
            self.text.convert(dir, out, MAX_PATH - 3)?; // a slash and a byte must fit behind it
            out.push(b'/');
        }
        self.text.convert(base, out, MAX_PATH - 1)?;
        until_nul(out);
        Ok(())
    }

    /// The text of a link; as it is, where the peer does not convert it.
    pub fn target(&mut self, target: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        out.clear();
        if !self.links {
            out.extend_from_slice(target);
            return Ok(());
        }
        self.text.convert(target, out, MAX_PATH - 1)?;
        until_nul(out);
        Ok(())
    }
}

/// The receiving side's way.
pub(super) struct Incoming {
    text: Text,
    links: bool,
}

impl Incoming {
    /// `None` without `--iconv`.
    pub fn new(options: &Options, protocol: &Protocol) -> Result<Option<Self>> {
        let Some(charset) = Charset::of(options) else { return Ok(None) };
        Ok(Some(Self { text: charset.from_wire()?, links: converts_links(protocol, options) }))
    }

    /// A name as it shall be here; nothing is left of one that cannot be.
    pub fn name(&mut self, name: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        self.text.convert(name, out, MAX_PATH - 1).inspect_err(|_| out.clear())?;
        until_nul(out);
        Ok(())
    }

    pub fn converts_links(&self) -> bool {
        self.links
    }

    /// The text of a link; it may become twice as long.
    pub fn target(&mut self, target: &[u8]) -> Result<Vec<u8>, Stop> {
        let mut out = Vec::new();
        self.text.convert(target, &mut out, 2 * target.len() + 1)?;
        until_nul(&mut out);
        Ok(out)
    }
}

/// Beyond a NUL no name goes: UTF-16, say, is full of them.
fn until_nul(name: &mut Vec<u8>) {
    if let Some(end) = memchr::memchr(0, name) {
        name.truncate(end);
    }
}
