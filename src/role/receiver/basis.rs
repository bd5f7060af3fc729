//! Which file the sender built on, as its answer says, and opening it.

use std::{borrow::Cow, fs::File};

use super::Work;
use crate::{
    bytes,
    dest::alternatives::Alternative,
    error::{Error, ExitCode, Result},
    flist::Entry,
    fs::Root,
    log::LogCode,
    proto::item::{Basis, Flags, Item},
    sys::stat::{Stat, stat_fd},
    text::path::inside,
};

/// What the new file may be built on.
#[derive(Default)]
pub(super) struct Opened {
    /// Open for reading, and its size.
    pub file: Option<(File, u64)>,
    /// The mode of what was opened, which new files take after where modes are not kept.
    pub mode: Option<u32>,
    /// How messages call it, if it is not the destination's own file.
    pub name: Option<Vec<u8>>,
}

/// Where a basis lies.
struct Place<'p> {
    /// `None`: in the destination.
    alternative: Option<&'p Alternative>,
    path: Cow<'p, [u8]>,
    /// It is the destination's own file of that name.
    own: bool,
}

impl Place<'_> {
    fn root<'r>(&'r self, dest: &'r Root) -> Option<&'r Root> {
        match self.alternative {
            Some(alternative) => alternative.root(),
            None => Some(dest),
        }
    }

    fn name(&self) -> Option<Vec<u8>> {
        match self.alternative {
            Some(alternative) => Some(alternative.name(&self.path)),
            None => (!self.own).then(|| self.path.to_vec()),
        }
    }
}

impl Work<'_> {
    /// Opens what the item names; `None`: no file can be put at `path`, which was said.
    /// C: in receiver.c recv_files
    pub(super) fn open_basis(&self, entry: Entry<'_>, path: &[u8], item: &Item) -> Result<Option<Opened>> {
        // Where the generator found nothing there is nothing to open.
        if item.flags.has(Flags::IS_NEW) && !item.flags.has(Flags::BASIS_TYPE_FOLLOWS) {
            return Ok(Some(Opened::default()));
        }
        let mut place = self.place(entry, path, item)?;
        let mut opened = self.open_at(&place);
        // Older versions cannot say which it was.
        if opened.is_none()
            && self.transfer.protocol.version < 29
            && let Some(alternative) = self.alternatives.get(0)
        {
            place = Place { alternative: Some(alternative), path: Cow::Borrowed(path), own: false };
            opened = self.open_at(&place);
        }
        let Some(file) = opened else { return Ok(Some(Opened { name: place.name(), ..Opened::default() })) };
        let stat = match stat_fd(&file) {
            Ok(stat) => stat,
            Err(error) => {
                let name = place.name().unwrap_or_else(|| path.to_vec());
                let what = bytes!["fstat ", self.dest.names.full(&name), " failed"];
                self.log.syserr(LogCode::ErrorXfer, what, &error);
                return Ok(None);
            }
        };
        if stat.is_dir() && place.own {
            let line = bytes!["recv_files: ", self.dest.names.full(path), " is a directory"];
            self.log.say(LogCode::ErrorXfer, line);
            return Ok(None);
        }
        Ok(Some(usable(file, &stat, &place)))
    }

    fn open_at(&self, place: &Place<'_>) -> Option<File> {
        place.root(self.dest.root)?.open_read(&place.path, libc::O_NONBLOCK).ok()
    }

    /// # Errors
    /// Exit status 2 for what our generator cannot have asked for.
    fn place<'p>(&'p self, entry: Entry<'p>, path: &'p [u8], item: &Item) -> Result<Place<'p>> {
        let (alternatives, fuzzy) = (&self.alternatives, self.transfer.options.fuzzy);
        let similar = || Cow::Owned(inside(entry.dir(), item.name.as_deref().unwrap_or_default()));
        match item.basis {
            Basis::AltDest(position) => {
                let alternative = alternatives.get(position.into()).ok_or_else(|| no_such(position))?;
                Ok(Place { alternative: Some(alternative), path: Cow::Borrowed(path), own: false })
            }
            Basis::Fuzzy(list) if list < fuzzy && item.name.is_some() => {
                let position = list.checked_sub(1);
                let alternative = position
                    .map(|position| alternatives.get(position.into()).ok_or_else(|| no_such(position)))
                    .transpose()?;
                Ok(Place { alternative, path: similar(), own: false })
            }
            Basis::Fuzzy(_) => {
                let name = item.name.as_deref().unwrap_or_default();
                let line = bytes!["rsync: refusing malicious fuzzy operation for ", name];
                Err(Error::new(ExitCode::PROTOCOL, line))
            }
            Basis::Same | Basis::Partial | Basis::Backup => {
                Ok(Place { alternative: None, path: Cow::Borrowed(path), own: true })
            }
        }
    }
}

fn usable(file: File, stat: &Stat, place: &Place<'_>) -> Opened {
    Opened { file: stat.is_file().then_some((file, stat.size)), mode: Some(stat.mode), name: place.name() }
}

#[track_caller]
fn no_such(position: u8) -> Error {
    Error::new(ExitCode::PROTOCOL, bytes!["invalid basis_dir index: ", position, "."])
}
