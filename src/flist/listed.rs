//! `--files-from`: names that stand in a list. It is read where it lies, and may have to cross the wire to the sender.
//!
//! On the wire each name ends in a NUL, and an empty one ends the list; so nobody need know its length before, and the
//! list of files goes the other way meanwhile.

use std::{io, os::fd::AsFd};

use super::MAX_PATH;
use crate::{
    bytes,
    error::{Error, ExitCode, Result, errno_text, errno_words},
    fs::{self, Named},
    log::{Log, LogCode},
    options::{Options, charset::Text},
    sys::poll::{Interest, Wake},
    transport::fd::{FdReader, Port},
    wire::{ReadHalf, Reader, Writer},
};

/// How much of a list is read at a time.
const PIECE: usize = 32 * 1024;

/// Where the names of a transfer come from.
#[derive(Default)]
pub enum Names {
    /// The arguments, or the peer already knows.
    #[default]
    Arguments,
    /// A list here.
    Listed(NameList),
    /// The peer's list, over the wire.
    FromPeer,
}

/// An open list.
pub struct NameList {
    half: Box<dyn ReadHalf>,
    /// `--from0`: names end in NUL, else at the end of a line.
    nul: bool,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
}

impl NameList {
    /// Opens the list that `--files-from` names here. A path is the operator's: links lead on only if root or we own
    /// them, unless `--insecure-links` says otherwise.
    pub fn open(path: &[u8], options: &Options, wake: &Wake, log: &Log) -> Result<Self> {
        let port = match path {
            b"-" => Port::shared(io::stdin().as_fd(), Interest::Read),
            path => open_file(path, options, log).and_then(|file| Port::shared(file.as_fd(), Interest::Read)),
        };
        let port = port.map_err(|error| {
            let why = errno_words(&error);
            Error::new(ExitCode::SYNTAX, bytes!["rsync: failed to open files-from file ", path, ": ", why])
        })?;
        Ok(Self::over(Box::new(FdReader::new(port, wake)), options.from0))
    }

    fn over(half: Box<dyn ReadHalf>, nul: bool) -> Self {
        Self { half, nul, buffer: Vec::new(), at: 0, ended: false }
    }

    fn ends(&self, byte: u8) -> bool {
        if self.nul { byte == 0 } else { matches!(byte, b'\n' | b'\r') }
    }

    /// Makes bytes available; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.at == self.buffer.len() && !self.ended {
            self.buffer.resize(PIECE, 0);
            self.at = 0;
            let got = self.half.read(&mut self.buffer);
            self.buffer.truncate(*got.as_ref().unwrap_or(&0));
            self.ended = got? == 0;
        }
        Ok(self.at < self.buffer.len())
    }

    /// The next name; empty lines and comments are passed over, what is too long for a path is cut.
    /// C: io.c read_line
    pub fn next(&mut self, role: &str) -> Result<Option<Vec<u8>>> {
        let mut name = Vec::new();
        while self.fill().map_err(|error| unreadable(&error, role))? {
            let rest = &self.buffer[self.at..];
            let end = rest.iter().position(|&byte| self.ends(byte));
            let piece = &rest[..end.unwrap_or(rest.len())];
            let room = MAX_PATH - 1 - name.len();
            name.extend_from_slice(&piece[..piece.len().min(room)]);
            self.at += piece.len() + usize::from(end.is_some());
            if end.is_some() {
                if !matches!(name.first(), None | Some(b'#' | b';')) {
                    return Ok(Some(until_nul(name)));
                }
                name.clear();
            }
        }
        Ok(Some(name).filter(|name| !matches!(name.first(), None | Some(b'#' | b';'))).map(until_nul))
    }

    /// Passes the list on to the peer as it is read; `each` hears of every name before it leaves. A list that cannot be
    /// read any more ends there. C: io.c forward_filesfrom_data
    pub fn forward(
        mut self,
        writer: &mut Writer,
        mut to_wire: Option<Text>,
        mut each: impl FnMut(&[u8]),
    ) -> Result<()> {
        let (mut name, mut piece) = (Vec::new(), Vec::with_capacity(PIECE));
        let mut last = 0;
        while self.fill_for_peer()? {
            writer.tell(2, || format!("files-from read={}", self.buffer.len()));
            piece.clear();
            for &byte in &self.buffer[self.at..] {
                let byte = if self.ends(byte) { 0 } else { byte };
                match (byte, last) {
                    (0, 0) => continue,
                    (0, _) => {
                        if let Some(text) = &mut to_wire {
                            piece.extend(text.as_far_as_possible(&name));
                        }
                        each(&std::mem::take(&mut name));
                    }
                    _ if name.len() < MAX_PATH => name.push(byte),
                    _ => {}
                }
                if byte == 0 || to_wire.is_none() {
                    piece.push(byte);
                }
                last = byte;
            }
            self.at = self.buffer.len();
            writer.bytes(&piece)?;
            writer.flush()?;
        }
        if last != 0 {
            if let Some(text) = &mut to_wire {
                writer.bytes(&text.as_far_as_possible(&name))?;
            }
            each(&name);
            writer.byte(0)?;
        }
        writer.byte(0)?;
        writer.flush()
    }

    fn fill_for_peer(&mut self) -> Result<bool> {
        match self.fill() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(Error::silent(ExitCode::SIGNAL)),
            filled => Ok(filled.unwrap_or(false)),
        }
    }
}

/// The next name of a list that the peer sends; `None` at its end.
pub fn from_peer(reader: &mut Reader, from_wire: Option<&mut Text>) -> Result<Option<Vec<u8>>> {
    let mut name = Vec::new();
    loop {
        match reader.byte()? {
            0 => break,
            byte if name.len() < MAX_PATH - 1 => name.push(byte),
            _ => {}
        }
    }
    if let Some(text) = from_wire {
        name = until_nul(text.as_far_as_possible(&name));
        name.truncate(MAX_PATH - 1);
    }
    Ok((!name.is_empty()).then_some(name))
}

fn open_file(path: &[u8], options: &Options, log: &Log) -> io::Result<std::fs::File> {
    let named = Named::new(options.insecure_links, options.confine_root.as_deref());
    named.open_file(path, libc::O_RDONLY).inspect_err(|error| {
        if fs::is_untrusted_link(error) {
            log.say(LogCode::Error, fs::UNTRUSTED_LINK);
        }
    })
}

/// What a string of the reference ends with.
fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(end) = memchr::memchr(0, &name) {
        name.truncate(end);
    }
    name
}

fn unreadable(error: &io::Error, role: &str) -> Error {
    if error.kind() == io::ErrorKind::Interrupted {
        return Error::silent(ExitCode::SIGNAL);
    }
    let why = errno_text(error);
    Error::new(ExitCode::STREAM_IO, bytes!["rsync: [", role, "] safe_read failed to read 1 bytes: ", why])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &[u8], nul: bool) -> NameList {
        NameList::over(Box::new(io::Cursor::new(text.to_vec())), nul)
    }

    fn names(text: &[u8], nul: bool) -> Vec<Vec<u8>> {
        let mut list = list(text, nul);
        std::iter::from_fn(|| list.next("sender").unwrap()).collect()
    }

    /// What crosses the wire, and what of it was asked for.
    fn forwarded(text: &[u8], nul: bool) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut asked = Vec::new();
        let sent = Writer::written(|writer| {
            list(text, nul).forward(writer, None, |name| asked.push(name.to_vec())).unwrap();
        });
        (sent, asked)
    }

    #[test]
    fn lines_are_names_unless_empty_or_comments() {
        assert_eq!(names(b"a\r\nb c\n\n#no\n;no\n #yes\nlast", false), [&b"a"[..], b"b c", b" #yes", b"last"]);
        assert_eq!(names(b"a\nb\0#no\0\0c\0", true), [&b"a\nb"[..], b"c"]);
        assert_eq!(names(b"#no", false), [b""; 0]);
        assert_eq!(names(b"a\0b\n", false), [b"a"], "no name goes beyond a NUL");
    }

    #[test]
    fn a_line_longer_than_a_path_is_cut() {
        let long = vec![b'x'; 3 * PIECE];
        let text = [&long, &b"\nnext\n"[..]].concat();
        assert_eq!(names(&text, false), [&long[..MAX_PATH - 1], b"next"]);
    }

    #[test]
    fn what_crosses_the_wire_ends_in_an_empty_name() {
        assert_eq!(forwarded(b"\n\na\r\n#b\nc", false).0, b"a\0#b\0c\0\0");
        assert_eq!(forwarded(b"a\nb\0\0c\0", true), (b"a\nb\0c\0\0".to_vec(), vec![b"a\nb".into(), b"c".into()]));
        assert_eq!(forwarded(b"", false).0, b"\0");
        assert_eq!(forwarded(b"\n", false), (b"\0".to_vec(), Vec::new()));
    }

    #[test]
    fn what_was_forwarded_is_read() {
        let mut reader = Reader::over(forwarded(b"a\n/b/./c/\n", false).0);
        let mut next = || from_peer(&mut reader, None).unwrap();
        assert_eq!((next(), next(), next()), (Some(b"a".to_vec()), Some(b"/b/./c/".to_vec()), None));
        let long = [&[b'x'; 5000][..], b"\0\0"].concat();
        assert_eq!(from_peer(&mut Reader::over(long), None).unwrap().unwrap().len(), MAX_PATH - 1);
    }
}
