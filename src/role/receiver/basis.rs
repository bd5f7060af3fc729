//! Which file the sender built on, as its answer says, and opening it.

use std::{borrow::Cow, fs::File};

use super::Work;
use crate::{
    bytes,
    dest::{
        Dest,
        alternatives::{Alternative, Alternatives},
        backup, partial,
        places::Spot,
    },
    error::{Error, ExitCode, Result},
    flist::Entry,
    fs::Root,
    log::LogCode,
    meta::read::device_size,
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
    /// Which file it is; of what could not be opened, the destination's own.
    pub basis: Basis,
    /// How messages call it, if it is not the destination's own file.
    pub name: Option<Vec<u8>>,
    /// A device to be written into.
    pub is_device: bool,
}

/// Where a basis lies.
struct Place<'p> {
    /// `None`: nothing can be found there.
    root: Option<&'p Root>,
    path: Cow<'p, [u8]>,
    basis: Basis,
    name: Option<Vec<u8>>,
}

impl<'p> Place<'p> {
    /// Where the file is that an item names; `path` is the new file's own, `dir` the directory of its entry.
    ///
    /// # Errors
    /// Exit status 2 for what our generator cannot have asked for.
    fn of(
        dest: Dest<'p>,
        basis: Basis,
        name: &[u8],
        dir: &[u8],
        path: &'p [u8],
        alternatives: &'p Alternatives,
    ) -> Result<Self> {
        let alternative = |position: u8, code: u8| {
            let line = || bytes!["invalid basis_dir index: ", code, "."];
            alternatives.get(position.into()).ok_or_else(|| Error::new(ExitCode::PROTOCOL, line()))
        };
        let similar = || inside(dir, name);
        match basis {
            Basis::AltDest(position) => {
                Ok(Self::alternative(alternative(position, position)?, Cow::Borrowed(path), basis))
            }
            Basis::Fuzzy(_) if name.is_empty() || basis == Basis::Fuzzy(0) && dest.options.fuzzy == 0 => {
                let line = bytes!["rsync: refusing malicious fuzzy operation for ", name];
                Err(Error::new(ExitCode::PROTOCOL, line))
            }
            Basis::Fuzzy(0) => {
                Ok(Self { root: Some(dest.root), path: Cow::Owned(similar()), basis, name: Some(similar()) })
            }
            Basis::Fuzzy(list) => {
                Ok(Self::alternative(alternative(list - 1, basis.byte())?, Cow::Owned(similar()), basis))
            }
            Basis::Partial => Ok(match partial::spot(dest, path) {
                Some(partial) => Self::spot(partial.file, basis),
                None => Self { root: None, ..Self::own(dest, path) },
            }),
            Basis::Backup => Ok(match backup::place(dest, path) {
                Ok(backup) => Self::spot(backup, basis),
                Err(_) => Self::own(dest, path),
            }),
            Basis::Same => Ok(Self::own(dest, path)),
        }
    }

    fn own(dest: Dest<'p>, path: &'p [u8]) -> Self {
        Self { root: Some(dest.root), path: Cow::Borrowed(path), basis: Basis::Same, name: None }
    }

    fn alternative(alternative: &'p Alternative, path: Cow<'p, [u8]>, basis: Basis) -> Self {
        Self { root: alternative.root(), name: Some(alternative.name(&path)), path, basis }
    }

    fn spot(spot: Spot<'p>, basis: Basis) -> Self {
        Self { root: Some(spot.root), name: Some(spot.shown().to_vec()), path: spot.path, basis }
    }

    fn open(&self) -> Option<File> {
        self.root?.open_read(&self.path, libc::O_NONBLOCK).ok()
    }
}

impl Work<'_> {
    /// Opens what the item names; `None`: no file can be put at `path`, which was said. `again`: it failed its sum once.
    /// C: in receiver.c recv_files
    pub(super) fn open_basis(&self, entry: Entry<'_>, path: &[u8], item: &Item, again: bool) -> Result<Option<Opened>> {
        // Where the generator found nothing there is nothing to open.
        if item.flags.has(Flags::IS_NEW) && !item.flags.has(Flags::BASIS_TYPE_FOLLOWS) {
            return Ok(Some(Opened::default()));
        }
        let name = item.name.as_deref().unwrap_or_default();
        let mut place = Place::of(self.dest, self.named(item, again), name, entry.dir(), path, self.alternatives)?;
        let mut opened = place.open();
        if opened.is_none() && self.transfer.protocol.version < 29 {
            (place, opened) = self.open_unnamed(path);
        }
        let Some(file) = opened else {
            // A partial file that is not there is not written into either.
            let basis = if place.basis == Basis::Partial { Basis::Same } else { place.basis };
            return Ok(Some(Opened { name: place.name, basis, ..Opened::default() }));
        };
        let stat = match stat_fd(&file) {
            Ok(stat) => stat,
            Err(error) => {
                let name = place.name.unwrap_or_else(|| path.to_vec());
                let what = bytes!["fstat ", self.dest.names.full(&name), " failed"];
                self.log.syserr(LogCode::ErrorXfer, what, &error);
                return Ok(None);
            }
        };
        if stat.is_dir() && place.basis == Basis::Same {
            let line = bytes!["recv_files: ", self.dest.names.full(path), " is a directory"];
            self.log.say(LogCode::ErrorXfer, line);
            return Ok(None);
        }
        Ok(Some(self.usable(file, &stat, place)))
    }

    /// Older versions cannot say which it was. C: in receiver.c recv_files
    fn open_unnamed<'p>(&'p self, path: &'p [u8]) -> (Place<'p>, Option<File>) {
        let own = Place::own(self.dest, path);
        match (own.open(), self.alternatives.get(0)) {
            (None, Some(alternative)) => {
                let place = Place::alternative(alternative, Cow::Borrowed(path), Basis::AltDest(0));
                let opened = place.open();
                (place, opened)
            }
            (opened, _) => (own, opened),
        }
    }

    /// What the item says, or what its silence means before protocol 29.
    fn named(&self, item: &Item, again: bool) -> Basis {
        let options = &self.transfer.options;
        match self.transfer.protocol.version {
            29.. => item.basis,
            // The second time there is no new backup, and the sender counts on that.
            _ if options.inplace && options.backup && !again => Basis::Backup,
            _ if options.partial_dir.is_some() => Basis::Partial,
            _ => Basis::Same,
        }
    }

    fn usable(&self, file: File, stat: &Stat, place: Place<'_>) -> Opened {
        let Place { path, basis, name, .. } = place;
        let is_device = self.transfer.options.write_devices && stat.is_device();
        let size = if is_device && stat.size == 0 { device_size(&file, &path, self.log) } else { stat.size };
        let usable = is_device || stat.is_file();
        Opened { file: usable.then_some((file, size)), mode: usable.then_some(stat.mode), basis, name, is_device }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        dest::{fixture::Fixture, places::Places, target::Target},
        fs::Follow,
        meta::Names,
        options::{AltDest, Options},
    };

    /// Below a directory: `dst` with `d/a` in it, `alt` with `d/b`, and a secret beside both.
    fn site() -> (Fixture, Root, Alternatives) {
        let fixture = Fixture::with(|options| {
            options.alt_dests = vec![(AltDest::Link, b"../alt".to_vec()), (AltDest::Link, b"../no".to_vec())]
        });
        for (dir, file) in [("dst/d", "a"), ("alt/d", "b")] {
            fs::create_dir_all(fixture.path().join(dir)).unwrap();
            fs::write(fixture.path().join(dir).join(file), file).unwrap();
        }
        fs::write(fixture.path().join("secret"), "").unwrap();
        let base = fixture.path().join("dst").into_os_string().into_encoded_bytes();
        let root = Root::open(&base, Follow::Never).unwrap();
        let target = Target {
            root: Some(root.try_clone().unwrap()),
            names: Names { base, module: None },
            single: None,
            created: false,
            device: 0,
            places: Places::default(),
        };
        let alternatives = Alternatives::open(&fixture.options, &target, fixture.dest().log);
        (fixture, root, alternatives)
    }

    fn item(basis: Basis, name: Option<&str>) -> Item {
        Item { basis, name: name.map(|name| name.as_bytes().to_vec()), ..Item::default() }
    }

    #[test]
    fn each_basis_is_found_where_it_lies() {
        let (fixture, root, alternatives) = site();
        let options = Options { fuzzy: 2, ..fixture.options.clone() };
        let dest = Dest { root: &root, options: &options, ..fixture.dest() };
        let place = |item: &Item, path| {
            Place::of(dest, item.basis, item.name.as_deref().unwrap_or_default(), b"d", path, &alternatives).unwrap()
        };
        let shown = |name: &str| Some(format!("{}/{name}", fixture.base()).into_bytes());
        for (item, path, name) in [
            (item(Basis::Same, None), b"d/a", None),
            (item(Basis::AltDest(0), None), b"d/b", shown("dst/../alt/d/b")),
            (item(Basis::Fuzzy(0), Some("a")), b"d/x", Some(b"d/a".to_vec())),
            (item(Basis::Fuzzy(1), Some("b")), b"d/x", shown("dst/../alt/d/b")),
        ] {
            let place = place(&item, path);
            assert!(place.open().is_some(), "{item:?}");
            assert_eq!(place.name, name);
        }
        assert!(place(&item(Basis::AltDest(1), None), b"d/a").open().is_none(), "no such directory");
        assert!(place(&item(Basis::AltDest(0), None), b"../secret").open().is_none());
        assert!(place(&item(Basis::Fuzzy(1), Some("../secret")), b"d/x").open().is_none());
    }

    #[test]
    fn what_nobody_asked_for_is_refused() {
        let (fixture, root, alternatives) = site();
        for (item, fuzzy, message) in [
            (item(Basis::AltDest(2), None), 3, "invalid basis_dir index: 2."),
            (item(Basis::Fuzzy(3), Some("b")), 3, "invalid basis_dir index: 134."),
            (item(Basis::Fuzzy(0), Some("b")), 0, "rsync: refusing malicious fuzzy operation for b"),
            (item(Basis::Fuzzy(1), None), 3, "rsync: refusing malicious fuzzy operation for "),
        ] {
            let options = Options { fuzzy, ..fixture.options.clone() };
            let dest = Dest { root: &root, options: &options, ..fixture.dest() };
            let name = item.name.as_deref().unwrap_or_default();
            let refused = Place::of(dest, item.basis, name, b"d", b"d/x", &alternatives);
            let Err(error) = refused else { panic!("{item:?}") };
            assert_eq!((error.code, &*error.message), (ExitCode::PROTOCOL, message.as_bytes()));
        }
    }
}
