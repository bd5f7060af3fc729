//! Arguments sent over the wire rather than on the remote's command line (`-s`, `--secluded-args`).
//!
//! Each ends in a zero byte, an empty one ends them all, as does the end of the stream. The first is the name of the program.

use crate::{
    error::{Error, ExitCode, Result},
    wire::{Reader, Writer},
};

/// The most that all arguments of a peer may take; a kernel allows about as much on a command line.
const MAX_BYTES: usize = 6 << 20;

/// Sends the arguments that were kept off the command line. An empty one becomes `.`, for an empty one is the end.
/// C: rsync.c send_protected_args
pub fn send<A: AsRef<[u8]>>(writer: &mut Writer, args: impl IntoIterator<Item = A>) -> Result<()> {
    writer.bytes(b"rsync\0")?;
    for arg in args {
        let arg = arg.as_ref();
        writer.bytes(if arg.is_empty() { b"." } else { arg })?;
        writer.byte(0)?;
    }
    writer.byte(0)?;
    writer.flush()
}

/// The arguments of a peer, without the program's name. What stands behind the `.` among them are patterns for the
/// caller to expand. C: io.c read_args
pub fn receive(reader: &mut Reader) -> Result<Vec<Vec<u8>>> {
    let (mut args, mut left) = (Vec::new(), MAX_BYTES);
    loop {
        let arg = word(reader, &mut left)?;
        if arg.is_empty() {
            break;
        }
        args.push(arg);
    }
    if args.is_empty() {
        return Err(Error::new(ExitCode::SYNTAX, "rsync: argc is zero!"));
    }
    args.remove(0);
    Ok(args)
}

fn word(reader: &mut Reader, left: &mut usize) -> Result<Vec<u8>> {
    let mut word = Vec::new();
    loop {
        let byte = match reader.byte() {
            Err(error) if error.code == ExitCode::STREAM_IO => return Ok(word),
            byte => byte?,
        };
        *left = left.checked_sub(1).ok_or_else(|| Error::new(ExitCode::PROTOCOL, "too many arguments"))?;
        if byte == 0 {
            return Ok(word);
        }
        word.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let bytes = Writer::written(|writer| send(writer, ["--server", "", "a b"]).unwrap());
        assert_eq!(bytes, b"rsync\0--server\0.\0a b\0\0");
        let mut reader = Reader::over([&bytes[..], b"\x20"].concat());
        assert_eq!(receive(&mut reader).unwrap(), [&b"--server"[..], b".", b"a b"]);
        assert_eq!(reader.byte().unwrap(), 0x20);
    }

    #[test]
    fn none_at_all_and_too_many() {
        for nothing in [&b""[..], b"\0"] {
            assert_eq!(receive(&mut Reader::over(nothing)).unwrap_err().code, ExitCode::SYNTAX);
        }
        assert_eq!(receive(&mut Reader::over(b"rsync\0a")).unwrap(), [b"a"]);
        let endless = receive(&mut Reader::over(vec![b'x'; MAX_BYTES + 1])).unwrap_err();
        assert_eq!(endless.code, ExitCode::PROTOCOL);
    }
}
