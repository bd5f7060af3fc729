//! Batch files: what a sender said, kept in a file; the halves that write one, and that stand for a peer when one is
//! played back.

use std::{
    env,
    fs::File,
    io::{self, IoSlice, Write},
    os::{
        fd::AsFd,
        unix::{ffi::OsStringExt, fs::FileTypeExt},
    },
    time::Duration,
};

use super::fd::{FdReader, Port};
use crate::{
    bytes,
    error::{Error, ExitCode, Result, errno_text},
    fs::{self, Follow},
    options::{Batch, Options},
    proto::batch,
    sys::poll::{Interest, Wake},
    wire::{ReadHalf, WriteHalf, Writer},
};

/// What a client does with a batch file.
#[derive(Default)]
pub enum Tape {
    #[default]
    None,
    Record(Box<Recording>),
    /// The file is what the sender says.
    Play(File),
}

/// A batch file in the making.
pub struct Recording {
    pub stream: Writer,
    script: File,
    name: Vec<u8>,
    /// The command line, the program's name first.
    pub words: Vec<Vec<u8>>,
}

impl Tape {
    /// Opens what the options name. A file that is written begins with the flags of its options.
    /// C: batch.c open_batch_files
    pub fn open(options: &Options, words: impl FnOnce() -> Vec<Vec<u8>>) -> Result<Self> {
        if options.is_server() {
            return Ok(Self::None);
        }
        let follow = if options.insecure_links { Follow::Always } else { Follow::Trusted };
        match &options.batch {
            None => Ok(Self::None),
            Some(Batch::Read(name)) => play(name, follow).map(Self::Play),
            Some(Batch::Write(name) | Batch::OnlyWrite(name)) => {
                let mut recording = record(name, follow, words())?;
                recording.stream.int(batch::flags(options))?;
                recording.stream.flush()?;
                Ok(Self::Record(Box::new(recording)))
            }
        }
    }
}

fn record(name: &[u8], follow: Follow, words: Vec<Vec<u8>>) -> Result<Recording> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
    let script = bytes![name, ".sh"];
    let script = fs::open_file(&script, follow, flags, 0o700)
        .map_err(|error| unopened(&script, &error, ExitCode::FILE_SELECT))?;
    let file = fs::open_file(name, follow, flags, 0o600).map_err(|error| unopened(name, &error, ExitCode::FILE_IO))?;
    let stream = Writer::to_batch(Box::new(Into(file)), "Receiver");
    Ok(Recording { stream, script, name: name.to_vec(), words })
}

fn play(name: &[u8], follow: Follow) -> Result<File> {
    let failed = |error| unopened(name, &error, ExitCode::FILE_IO);
    if name == b"-" {
        return io::stdin().as_fd().try_clone_to_owned().map(File::from).map_err(failed);
    }
    let file = fs::open_file(name, follow, libc::O_RDONLY, 0).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_file() || kind.is_fifo() {
        return Ok(file);
    }
    let line = bytes!["Batch file ", full_name(name), " is neither a regular file nor a FIFO"];
    Err(Error::new(ExitCode::FILE_IO, line))
}

#[track_caller]
fn unopened(name: &[u8], error: &io::Error, code: ExitCode) -> Error {
    let why = if fs::is_untrusted_link(error) { bytes![fs::UNTRUSTED_LINK, "\n"] } else { Vec::new() };
    let line = bytes!["rsync: [Receiver] Batch file ", full_name(name), " open error: ", errno_text(error)];
    Error::new(code, bytes![why, line])
}

fn full_name(name: &[u8]) -> Vec<u8> {
    let base = match name {
        [b'/', ..] => Vec::new(),
        _ => env::current_dir().map_or_else(|_| Vec::new(), |dir| bytes![dir.into_os_string().into_vec(), "/"]),
    };
    bytes!["\"", base, name, "\""]
}

impl Recording {
    /// Writes the script that plays the batch back.
    pub fn write_script(&mut self, script: &[u8]) -> Result<()> {
        self.script.write_all(script).map_err(|error| {
            let line = bytes!["rsync: Batch file ", self.name, ".sh write error: ", errno_text(&error)];
            Error::new(ExitCode::FILE_IO, line)
        })
    }
}

/// The half that writes the file.
struct Into(File);

impl WriteHalf for Into {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.0.write_vectored(buffers) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn set_timeout(&mut self, _: Option<Duration>) {}
}

/// The half of a sender that is a file.
///
/// # Errors
/// What `dup` says.
pub fn reading(file: &File, wake: &Wake) -> io::Result<Box<dyn ReadHalf>> {
    Ok(Box::new(FdReader::new(Port::shared(file.as_fd(), Interest::Read)?, wake)))
}

/// The half towards a sender that is a file: nobody listens.
pub struct Nowhere;

impl WriteHalf for Nowhere {
    fn write(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(buffers.iter().map(|buffer| buffer.len()).sum())
    }

    fn set_timeout(&mut self, _: Option<Duration>) {}
}
