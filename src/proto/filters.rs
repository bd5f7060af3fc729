//! The list of filter rules that a client sends its server, as texts.
//!
//! Each rule is an int, its length, and its text; a length of 0 ends the list. A list is not sent where nobody would
//! use it: to a receiver that neither deletes nor prunes, or within one process.

use super::{Protocol, Side};
use crate::{
    bytes,
    error::{Error, Result},
    options::{Delete, Options},
    wire::{Reader, Writer},
};

/// A rule is shorter than this. C: BIGPATHBUFLEN
const MAX_RULE: u32 = 4096 + 1024;
/// The most that all rules of a peer may take.
const MAX_BYTES: usize = 64 << 20;

/// Whether a list crosses the wire: both sides come to the same answer. C: exclude.c send_filter_list, recv_filter_list
pub fn are_sent(side: Side, protocol: &Protocol, options: &Options) -> bool {
    let server_sends = side.server == side.sends;
    let deletes = options.delete != Delete::Never && (!options.delete_excluded || protocol.version >= 29);
    !side.local && (server_sends || deletes || options.prune_empty_dirs)
}

/// Each rule is at least one byte and shorter than 5,120. C: exclude.c send_rules
pub fn send<R: AsRef<[u8]>>(writer: &mut Writer, rules: impl IntoIterator<Item = R>) -> Result<()> {
    for rule in rules {
        let rule = rule.as_ref();
        writer.int(rule.len() as i32)?;
        writer.bytes(rule)?;
    }
    writer.int(0)
}

/// The client's rules, each as it was sent.
pub fn receive(reader: &mut Reader) -> Result<Vec<Vec<u8>>> {
    let mut rules = Vec::new();
    let mut left = MAX_BYTES;
    loop {
        let len = reader.int()?.cast_unsigned();
        if len == 0 {
            return Ok(rules);
        }
        let room = left.checked_sub(len as usize + size_of::<Vec<u8>>());
        left = match room {
            Some(left) if len < MAX_RULE => left,
            _ => {
                let message = bytes!["[", reader.role(), "] buffer overflow: recv_rules"];
                return Err(Error::memory(message));
            }
        };
        let mut rule = vec![0; len as usize];
        reader.exact(&mut rule)?;
        rules.push(rule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ExitCode;

    #[test]
    fn there_and_back() {
        let bytes = Writer::written(|writer| send(writer, ["- *.o", "P x"]).unwrap());
        assert_eq!(bytes, b"\x05\0\0\0- *.o\x03\0\0\0P x\0\0\0\0");
        assert_eq!(receive(&mut Reader::over(bytes)).unwrap(), [&b"- *.o"[..], b"P x"]);
    }

    #[test]
    fn long_rules_are_refused() {
        for len in [5120u32, u32::MAX] {
            let bytes = [&len.to_le_bytes()[..], &[b'x'; 6000]].concat();
            assert_eq!(receive(&mut Reader::over(bytes)).unwrap_err().code, ExitCode::MALLOC);
        }
    }

    #[test]
    fn both_ends_know_whether_there_is_a_list() {
        let protocol = Protocol::plain;
        let ends = |client_sends: bool| {
            [(false, client_sends), (true, !client_sends)].map(|(server, sends)| Side { server, sends, local: false })
        };
        let plain = Options::default();
        let deleting = Options { delete: Delete::Auto, delete_excluded: true, ..Options::default() };
        for (client_sends, version, options, expected) in [
            (false, 32, &plain, true),
            (true, 32, &plain, false),
            (true, 28, &deleting, false),
            (true, 29, &deleting, true),
        ] {
            for side in ends(client_sends) {
                assert_eq!(are_sent(side, &protocol(version), options), expected);
                assert!(!are_sent(Side { local: true, ..side }, &protocol(version), options));
            }
        }
    }
}
