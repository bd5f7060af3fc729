//! One file's data as it comes: tokens applied to a basis, or a file handed over, and the sums compared.

use std::{fs::File, io};

use crate::{
    bytes,
    delta::patch::{Output, Patch, PatchError},
    dest::{
        Dest,
        copy::{self, CopyError, Stretch},
        write::Writer,
    },
    error::{Error, ExitCode, Result},
    fs::window::Source,
    log::LogCode,
    options::{Append, Debug},
    proto::{
        sums::SumHead,
        token::{Token, TokenReader},
    },
    role::{Transfer, check_interrupt, tally::Tally},
    sys::signal,
    transport::pair::Taker,
    wire::Reader,
};

/// The destination file as the patch writes it.
struct Out<'o, 'f>(&'o mut Writer<'f>);

impl Output for Out<'_, '_> {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.0.write(data)
    }

    fn skip(&mut self, data: &[u8]) -> io::Result<()> {
        self.0.skip_matched(data)
    }
}

/// The wire side of one file.
pub(super) struct Data<'d> {
    pub transfer: &'d Transfer,
    pub reader: &'d mut Reader,
    pub tokens: &'d mut TokenReader,
    pub tally: &'d mut Tally,
    pub taker: Option<&'d Taker>,
    pub size: u64,
    pub sum: &'d mut Vec<u8>,
    /// Something came that was not here before.
    pub got_literal: bool,
}

/// What data is built on, and how.
pub(super) struct Build<'b> {
    /// How messages call the basis.
    pub name: &'b [u8],
    /// Open for reading, and its size.
    pub basis: Option<(File, u64)>,
    /// What is written into has the basis' content already.
    pub in_place: bool,
    /// What is written into is kept, and the rest comes.
    pub append: Append,
}

pub(super) enum Streamed {
    /// Everything came; whether the whole-file sums agree.
    Compared(bool),
    /// Everything is in a file that the sender handed over, this many bytes.
    HandedOver(u64),
    /// This many bytes follow, and are all.
    Whole(u64),
}

impl Data<'_> {
    pub fn head(&mut self) -> Result<SumHead> {
        let protocol = &self.transfer.protocol;
        SumHead::read(self.reader, protocol.version, protocol.transfer_sum.len())
    }

    /// Receives into `writer`; whether it is what the sender has. `path` is the final name. C: receiver.c receive_data
    pub fn receive(&mut self, dest: Dest<'_>, path: &[u8], build: Build<'_>, writer: &mut Writer<'_>) -> Result<bool> {
        let head = self.head()?;
        if let Some((_, size @ 1..)) = &build.basis
            && dest.log.debug(Debug::Deltasum) >= 2
        {
            let line = bytes!["recv mapped ", build.name, " of size ", *size];
            dest.log.say(LogCode::Info, line);
        }
        if build.append == Append::Verify && build.basis.is_some() && head.file_len() > 0 {
            self.tally.show(0, self.size);
        }
        if build.append != Append::No {
            writer.start_at(head.file_len());
        }
        let mut out = Out(writer);
        let mut patch = Patch::new(&self.transfer.protocol, head, build.basis, &mut out, build.in_place);
        patch.append(build.append);
        match self.stream(dest, path, patch)? {
            Streamed::Compared(same) => Ok(same),
            Streamed::HandedOver(len) => self.copy(dest, path, writer, len),
            Streamed::Whole(len) => self.whole(dest, path, writer, len),
        }
    }

    /// Applies tokens up to the end and compares the sums.
    pub fn stream<S: Source, O: Output>(
        &mut self,
        dest: Dest<'_>,
        path: &[u8],
        mut patch: Patch<'_, S, O>,
    ) -> Result<Streamed> {
        let watched = dest.log.debug(Debug::Deltasum) >= 3;
        loop {
            check_interrupt()?;
            let token = self.tokens.next(self.reader)?;
            if watched {
                let line = match &token {
                    Token::Literal { run: Some(run), .. } => Some(format!("data recv {run} at {}", patch.position())),
                    Token::Match(block) => patch.describe(*block),
                    _ => None,
                };
                line.into_iter().for_each(|line| dest.log.say(LogCode::Info, line));
            }
            if !matches!(token, Token::End) {
                self.tally.show(patch.position(), self.size);
            }
            let applied = match token {
                Token::Literal { data, .. } => {
                    self.got_literal = true;
                    patch.literal(data)
                }
                Token::Match(block) => match patch.copy(block) {
                    Ok(data) => {
                        self.tokens.show(data)?;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                Token::End => break,
                Token::HandedOver(len) => return Ok(Streamed::HandedOver(len)),
                Token::Whole(len) => return Ok(Streamed::Whole(len)),
            };
            applied.map_err(|error| refusal(dest, path, error))?;
        }
        let patched = patch.finish();
        self.tally.stats.literal += patched.literal;
        self.tally.stats.matched += patched.matched;
        let mut theirs = [0; 64];
        let theirs = theirs.get_mut(..patched.sum.len()).unwrap_or_default();
        self.reader.exact(theirs)?;
        self.sum.clear();
        self.sum.extend_from_slice(theirs);
        if dest.log.debug(Debug::Deltasum) >= 2 {
            dest.log.say(LogCode::Info, "got file_sum");
        }
        Ok(Streamed::Compared(*theirs == *patched.sum))
    }

    /// Takes the contents off the stream as they are.
    fn whole(&mut self, dest: Dest<'_>, path: &[u8], writer: &mut Writer<'_>, len: u64) -> Result<bool> {
        self.got_literal = true;
        let mut left = len;
        while left > 0 {
            let data = self.reader.take(usize::try_from(left).unwrap_or(usize::MAX))?;
            writer.write(data).map_err(|error| dest.write_failed(path, &error))?;
            left -= data.len() as u64;
        }
        self.tally.stats.literal += len;
        Ok(true)
    }

    /// Copies from the open file that the sender handed over; whether all of it could be read.
    fn copy(&mut self, dest: Dest<'_>, path: &[u8], writer: &mut Writer<'_>, len: u64) -> Result<bool> {
        let Some((taker, source)) = self.taker.and_then(|taker| Some((taker, taker.take_next()?))) else {
            return Err(Error::new(ExitCode::PROTOCOL, "no file was handed over [receiver]"));
        };
        self.got_literal = true;
        let file = File::from(source.file);
        let mut going_on = |_| signal::received().is_none();
        let failure = match copy::copy(Stretch { file: &file, start: 0, len }, writer, &mut going_on) {
            Ok(copied) => {
                self.tally.stats.literal += copied;
                (copied < len).then(|| io::Error::from_raw_os_error(libc::ENODATA))
            }
            Err(CopyError::Read(error)) => Some(error),
            Err(CopyError::Write(error)) => return Err(dest.write_failed(path, &error)),
            Err(CopyError::Stopped) => return Err(Error::silent(ExitCode::SIGNAL)),
        };
        if let Some(error) = &failure {
            taker.unreadable(&source.name, error);
        }
        Ok(failure.is_none())
    }
}

/// What a peer's token, or writing what it brought, comes to where it cannot be.
#[track_caller]
fn refusal(dest: Dest<'_>, path: &[u8], error: PatchError) -> Error {
    match error {
        PatchError::NoSuchBlock { block, count } => {
            let line = bytes!["Invalid block index ", block, " (count=", count, ") [receiver]"];
            Error::new(ExitCode::PROTOCOL, line)
        }
        PatchError::NoBasis => {
            let line = bytes!["got a block match with no basis file for ", dest.names.full(path), " [receiver]"];
            Error::new(ExitCode::PROTOCOL, line)
        }
        PatchError::Write(error) => dest.write_failed(path, &error),
    }
}
