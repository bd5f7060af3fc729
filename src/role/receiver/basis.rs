//! Which file the sender built on, as its answer says, and opening it.

use std::{borrow::Cow, fs::File};

use super::Work;
use crate::{
    bytes,
    dest::alternatives::{Alternative, Alternatives},
    error::{Error, ExitCode, Result},
    flist::Entry,
    fs::Root,
    log::LogCode,
    proto::item::{Basis, Flags, Item},
    sys::stat::stat_fd,
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

impl<'p> Place<'p> {
    /// Where the file is that the item names; `path` is the new file's own, `dir` the directory of its entry.
    ///
    /// # Errors
    /// Exit status 2 for what our generator cannot have asked for.
    fn of(item: &Item, dir: &[u8], path: &'p [u8], alternatives: &'p Alternatives, fuzzy: u8) -> Result<Self> {
        let alternative = |position: u8, code: u8| {
            let line = || bytes!["invalid basis_dir index: ", code, "."];
            alternatives.get(position.into()).ok_or_else(|| Error::new(ExitCode::PROTOCOL, line()))
        };
        let name = item.name.as_deref().unwrap_or_default();
        let similar = || Cow::Owned(inside(dir, name));
        match item.basis {
            Basis::AltDest(position) => Ok(Self::elsewhere(alternative(position, position)?, Cow::Borrowed(path))),
            Basis::Fuzzy(_) if name.is_empty() || item.basis == Basis::Fuzzy(0) && fuzzy == 0 => {
                let line = bytes!["rsync: refusing malicious fuzzy operation for ", name];
                Err(Error::new(ExitCode::PROTOCOL, line))
            }
            Basis::Fuzzy(0) => Ok(Self { alternative: None, path: similar(), own: false }),
            Basis::Fuzzy(list) => Ok(Self::elsewhere(alternative(list - 1, item.basis.byte())?, similar())),
            Basis::Same | Basis::Partial | Basis::Backup => {
                Ok(Self { alternative: None, path: Cow::Borrowed(path), own: true })
            }
        }
    }

    fn elsewhere(alternative: &'p Alternative, path: Cow<'p, [u8]>) -> Self {
        Self { alternative: Some(alternative), path, own: false }
    }

    fn open(&self, dest: &Root) -> Option<File> {
        let root = match self.alternative {
            Some(alternative) => alternative.root()?,
            None => dest,
        };
        root.open_read(&self.path, libc::O_NONBLOCK).ok()
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
        let fuzzy = self.transfer.options.fuzzy;
        let mut place = Place::of(item, entry.dir(), path, self.alternatives, fuzzy)?;
        let mut opened = place.open(self.dest.root);
        // Older versions cannot say which it was.
        if opened.is_none()
            && self.transfer.protocol.version < 29
            && let Some(alternative) = self.alternatives.get(0)
        {
            place = Place::elsewhere(alternative, Cow::Borrowed(path));
            opened = place.open(self.dest.root);
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
        let file = stat.is_file().then_some((file, stat.size));
        Ok(Some(Opened { file, mode: Some(stat.mode), name: place.name() }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        dest::{fixture::Fixture, target::Target},
        fs::Follow,
        meta::Names,
        options::AltDest,
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
        let place = |item: &Item, path| Place::of(item, b"d", path, &alternatives, 2).unwrap();
        let shown = |name: &str| Some(format!("{}/{name}", fixture.base()).into_bytes());
        for (item, path, name) in [
            (item(Basis::Same, None), b"d/a", None),
            (item(Basis::AltDest(0), None), b"d/b", shown("dst/../alt/d/b")),
            (item(Basis::Fuzzy(0), Some("a")), b"d/x", Some(b"d/a".to_vec())),
            (item(Basis::Fuzzy(1), Some("b")), b"d/x", shown("dst/../alt/d/b")),
        ] {
            let place = place(&item, path);
            assert!(place.open(&root).is_some(), "{item:?}");
            assert_eq!(place.name(), name);
        }
        assert!(place(&item(Basis::AltDest(1), None), b"d/a").open(&root).is_none(), "no such directory");
        assert!(place(&item(Basis::AltDest(0), None), b"../secret").open(&root).is_none());
        assert!(place(&item(Basis::Fuzzy(1), Some("../secret")), b"d/x").open(&root).is_none());
    }

    #[test]
    fn what_nobody_asked_for_is_refused() {
        let (_fixture, _root, alternatives) = site();
        for (item, fuzzy, message) in [
            (item(Basis::AltDest(2), None), 3, "invalid basis_dir index: 2."),
            (item(Basis::Fuzzy(3), Some("b")), 3, "invalid basis_dir index: 134."),
            (item(Basis::Fuzzy(0), Some("b")), 0, "rsync: refusing malicious fuzzy operation for b"),
            (item(Basis::Fuzzy(1), None), 3, "rsync: refusing malicious fuzzy operation for "),
        ] {
            let Err(error) = Place::of(&item, b"d", b"d/x", &alternatives, fuzzy) else { panic!("{item:?}") };
            assert_eq!((error.code, &*error.message), (ExitCode::PROTOCOL, message.as_bytes()));
        }
    }
}
