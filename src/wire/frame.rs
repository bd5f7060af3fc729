//! Frames: a 4-byte header (24 bits of length, then the tag plus 7) and that many bytes of data or message.

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
};

/// C: MPLEX_BASE
const BASE: u8 = 7;
/// The longest payload a header can announce.
pub const MAX_DATA: usize = 0xff_ffff;
/// Messages are shorter than this. C: BIGPATHBUFLEN
pub const MAX_MESSAGE: usize = 4096 + 1024;
/// The `IOERR_*` bits that exist.
const IO_ERROR_BITS: u32 = 7;
/// The longest timeout, in seconds, that a peer may ask for.
const MAX_TIMEOUT: i32 = 86_400;

/// What a frame carries. C: enum msgcode
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Tag {
    Data = 0,
    ErrorXfer = 1,
    Info = 2,
    Error = 3,
    Warning = 4,
    ErrorSocket = 5,
    Log = 6,
    Client = 7,
    ErrorUtf8 = 8,
    Redo = 9,
    Stats = 10,
    IoError = 22,
    IoTimeout = 33,
    Noop = 42,
    ErrorExit = 86,
    Success = 100,
    Deleted = 101,
    NoSend = 102,
}

impl Tag {
    fn from_number(number: u8) -> Option<Self> {
        const ALL: [Tag; 18] = [
            Tag::Data,
            Tag::ErrorXfer,
            Tag::Info,
            Tag::Error,
            Tag::Warning,
            Tag::ErrorSocket,
            Tag::Log,
            Tag::Client,
            Tag::ErrorUtf8,
            Tag::Redo,
            Tag::Stats,
            Tag::IoError,
            Tag::IoTimeout,
            Tag::Noop,
            Tag::ErrorExit,
            Tag::Success,
            Tag::Deleted,
            Tag::NoSend,
        ];
        ALL.into_iter().find(|tag| *tag as u8 == number)
    }

    /// The tag a peer of this protocol knows: before 30 there are no errors and warnings that do not count as a failed
    /// transfer. C: log.c rwrite
    pub fn for_protocol(self, version: u8) -> Self {
        match self {
            Self::Error if version < 30 => Self::ErrorXfer,
            Self::Warning if version < 30 => Self::Info,
            tag => tag,
        }
    }
}

/// A frame's header; `len` is at most `MAX_DATA`.
pub fn header(tag: Tag, len: usize) -> [u8; 4] {
    let [a, b, c, ..] = len.to_le_bytes();
    [a, b, c, tag as u8 + BASE]
}

/// A message from the peer, checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// Text for the user; the tag is `ErrorXfer`, `Info`, `Error` or `Warning`.
    Line(Tag, &'a [u8]),
    /// `IOERR_*` bits: 1 general, 2 vanished, 4 deletion limit.
    IoError(u32),
    /// The server's `--timeout` in seconds, 1 to 86,400.
    IoTimeout(u32),
    /// Protocol 30's keep-alive: the sender answers with one.
    Noop,
    /// The peer ends with this status; `None` acknowledges such an ending of ours.
    ErrorExit(Option<u8>),
    /// The receiving side has updated this file; in a local copy with the device and inode it became.
    Success { index: i32, inode: Option<(u64, u64)> },
    /// The receiving side has deleted this name.
    Deleted { name: &'a [u8], dir: bool },
    /// The sender will not send this file.
    NoSend(i32),
}

/// Takes what the peer says between data.
pub trait Messages {
    /// An error ends the reading with it.
    fn message(&mut self, message: Message<'_>) -> Result<()>;
}

impl<F: FnMut(Message<'_>) -> Result<()>> Messages for F {
    fn message(&mut self, message: Message<'_>) -> Result<()> {
        self(message)
    }
}

/// What decides which messages are legal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// Whether the other end is the sender of files.
    pub peer_sends: bool,
    /// Whether the other end is the server.
    pub peer_serves: bool,
    /// Whether both ends are one process: `Success` then carries an inode.
    pub local: bool,
    /// For the reference's `/inc` in error lines.
    pub inc_recurse: bool,
}

/// A parsed header whose length is right for its tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub tag: Tag,
    pub len: usize,
}

impl Header {
    /// C: io.c read_a_msg
    pub fn parse(raw: [u8; 4], rules: &Rules, role: &str) -> Result<Self> {
        let [a, b, c, number] = raw;
        let len = u32::from_le_bytes([a, b, c, 0]) as usize;
        let number = i32::from(number.cast_signed()) - i32::from(BASE);
        let complain = |what: &str, with_len: bool| {
            let inc = if rules.inc_recurse { "/inc" } else { "" };
            let len = if with_len { format!(":{len}") } else { String::new() };
            Err(Error::new(ExitCode::STREAM_IO, bytes![what, " ", number, len, " [", role, inc, "]"]))
        };
        let Some(tag) = u8::try_from(number).ok().and_then(Tag::from_number) else {
            return complain("unexpected tag", false);
        };
        let valid = match tag {
            Tag::Data => true,
            Tag::ErrorXfer | Tag::Info | Tag::Error | Tag::Warning => {
                if len >= MAX_MESSAGE {
                    return complain("multiplexing overflow", true);
                }
                true
            }
            Tag::Deleted => {
                if len >= MAX_MESSAGE {
                    return complain("multiplexing overflow", true);
                }
                !rules.peer_sends
            }
            Tag::IoError => len == 4,
            Tag::IoTimeout => len == 4 && rules.peer_serves,
            Tag::Noop => len == 0,
            Tag::ErrorExit => len == 0 || len == 4,
            Tag::Success => !rules.peer_sends && len == if rules.local { 20 } else { 4 },
            Tag::NoSend => rules.peer_sends && len == 4,
            // Between the processes of one side of the reference only.
            Tag::ErrorSocket | Tag::Log | Tag::Client | Tag::ErrorUtf8 | Tag::Redo | Tag::Stats => false,
        };
        if valid { Ok(Self { tag, len }) } else { complain("invalid multi-message", true) }
    }

    /// The message of a payload of the announced length; `None` for what is to be ignored.
    pub fn message<'a>(self, payload: &'a [u8]) -> Option<Message<'a>> {
        let number = || payload.first_chunk().map_or(0, |raw| i32::from_le_bytes(*raw));
        Some(match self.tag {
            Tag::IoError => Message::IoError(number().cast_unsigned() & IO_ERROR_BITS),
            Tag::IoTimeout => match number() {
                seconds @ 1..=MAX_TIMEOUT => Message::IoTimeout(seconds.cast_unsigned()),
                _ => return None,
            },
            Tag::Noop => Message::Noop,
            Tag::ErrorExit => {
                Message::ErrorExit((!payload.is_empty()).then(|| u8::try_from(number()).unwrap_or(u8::MAX)))
            }
            Tag::Success => {
                let long = |at: usize| payload.get(at..)?.first_chunk().map(|raw| u64::from_le_bytes(*raw));
                Message::Success { index: number(), inode: long(4).zip(long(12)) }
            }
            Tag::Deleted => match payload {
                [name @ .., 0] => Message::Deleted { name, dir: true },
                name => Message::Deleted { name, dir: false },
            },
            Tag::NoSend => Message::NoSend(number()),
            tag => Message::Line(tag, payload),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM_RECEIVER: Rules = Rules { peer_sends: false, peer_serves: true, local: false, inc_recurse: true };
    const FROM_SENDER: Rules = Rules { peer_sends: true, peer_serves: false, local: false, inc_recurse: false };

    fn parse(tag: Tag, len: usize, rules: &Rules) -> Result<Header, String> {
        Header::parse(header(tag, len), rules, "sender").map_err(|error| String::from_utf8(error.message).unwrap())
    }

    #[test]
    fn headers_come_back() {
        assert_eq!(header(Tag::Data, 0x012345), [0x45, 0x23, 0x01, 7]);
        for (tag, len) in [(Tag::Data, MAX_DATA), (Tag::Data, 0), (Tag::Info, 5119), (Tag::ErrorExit, 4)] {
            assert_eq!(parse(tag, len, &FROM_RECEIVER), Ok(Header { tag, len }));
        }
    }

    #[test]
    fn each_side_has_its_messages() {
        assert!(parse(Tag::Success, 4, &FROM_RECEIVER).is_ok());
        assert!(parse(Tag::NoSend, 4, &FROM_SENDER).is_ok());
        assert_eq!(parse(Tag::Success, 4, &FROM_SENDER).unwrap_err(), "invalid multi-message 100:4 [sender]");
        assert_eq!(parse(Tag::NoSend, 4, &FROM_RECEIVER).unwrap_err(), "invalid multi-message 102:4 [sender/inc]");
        assert_eq!(parse(Tag::IoTimeout, 4, &FROM_SENDER).unwrap_err(), "invalid multi-message 33:4 [sender]");
        assert_eq!(parse(Tag::Redo, 4, &FROM_SENDER).unwrap_err(), "invalid multi-message 9:4 [sender]");
        assert_eq!(parse(Tag::Info, 5120, &FROM_SENDER).unwrap_err(), "multiplexing overflow 2:5120 [sender]");
        let unknown = |raw| Header::parse(raw, &FROM_SENDER, "receiver").unwrap_err();
        assert_eq!(unknown([0, 0, 0, 18]).message, b"unexpected tag 11 [receiver]");
        assert_eq!(unknown([0, 0, 0, 0]).message, b"unexpected tag -7 [receiver]");
        assert_eq!(unknown([0, 0, 0, 0xff]).message, b"unexpected tag -8 [receiver]");
        assert_eq!(unknown([0, 0, 0, 0xff]).code, ExitCode::STREAM_IO);
    }

    #[test]
    fn payloads_become_messages() {
        let message = |tag, payload: &'static [u8]| Header { tag, len: payload.len() }.message(payload);
        assert_eq!(message(Tag::IoError, &[0xff; 4]), Some(Message::IoError(7)));
        assert_eq!(message(Tag::IoTimeout, &[0; 4]), None);
        assert_eq!(message(Tag::IoTimeout, &[30, 0, 0, 0]), Some(Message::IoTimeout(30)));
        assert_eq!(message(Tag::ErrorExit, b""), Some(Message::ErrorExit(None)));
        assert_eq!(message(Tag::ErrorExit, &[23, 0, 0, 0]), Some(Message::ErrorExit(Some(23))));
        assert_eq!(message(Tag::Deleted, b"d\0"), Some(Message::Deleted { name: b"d", dir: true }));
        assert_eq!(message(Tag::Deleted, b"f"), Some(Message::Deleted { name: b"f", dir: false }));
        let local = [[7, 0, 0, 0].as_slice(), &1u64.to_le_bytes(), &2u64.to_le_bytes()].concat();
        assert_eq!(
            Header { tag: Tag::Success, len: 20 }.message(&local),
            Some(Message::Success { index: 7, inode: Some((1, 2)) })
        );
    }
}
