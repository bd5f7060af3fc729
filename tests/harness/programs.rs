//! Which programs can stand at the ends of a connection.

use std::{env, fs, io::Write, path::PathBuf, process::Command, sync::OnceLock};

/// A program that can stand at either end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    Ours,
    /// The installed rsync, which must be 3.5.0.
    Reference,
    /// rsync 3.2.7: `OC_RSYNC_PEER_327`, or unpacked under `target/peers` by `scripts/test`.
    Old,
}

/// Who starts, and who is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    pub client: Program,
    pub server: Program,
}

pub const fn ends(client: Program, server: Program) -> Ends {
    Ends { client, server }
}

/// Ours at one end or both, against the reference.
pub const AGAINST_REFERENCE: [Ends; 3] = [
    ends(Program::Ours, Program::Reference),
    ends(Program::Reference, Program::Ours),
    ends(Program::Ours, Program::Ours),
];

/// Ours at either end, but not at both: for rows whose point is the wire.
pub const ONE_END: [Ends; 2] = [ends(Program::Ours, Program::Reference), ends(Program::Reference, Program::Ours)];

pub const AGAINST_OLD: [Ends; 2] = [ends(Program::Ours, Program::Old), ends(Program::Old, Program::Ours)];

/// A local copy has one program.
pub const ALONE: [Ends; 1] = [ends(Program::Ours, Program::Ours)];

impl Ends {
    /// The same with the reference in our place.
    pub fn without_ours(self) -> Self {
        let replace = |program| if program == Program::Ours { Program::Reference } else { program };
        ends(replace(self.client), replace(self.server))
    }
}

impl Program {
    pub fn path(self) -> PathBuf {
        match self {
            Self::Ours => env!("CARGO_BIN_EXE_oc-rsync").into(),
            Self::Reference => reference().clone().unwrap_or_default(),
            Self::Old => old().unwrap_or_default(),
        }
    }

    /// Why the program cannot be used, if so.
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Ours => None,
            Self::Reference => reference().as_ref().err().cloned(),
            Self::Old => old().is_none().then(|| "rsync 3.2.7 is not unpacked under target/peers".into()),
        }
    }
}

fn reference() -> &'static Result<PathBuf, String> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let dirs = env::var_os("PATH").unwrap_or_default();
        let path = env::split_paths(&dirs).map(|dir| dir.join("rsync")).find(|path| path.is_file());
        let path = path.ok_or("no rsync is installed")?;
        let version = Command::new(&path).arg("--version").output().map_err(|error| error.to_string())?;
        if version.stdout.starts_with(b"rsync  version 3.5.0 ") {
            Ok(path)
        } else {
            Err(format!("{} is not rsync 3.5.0", path.display()))
        }
    })
}

fn old() -> Option<PathBuf> {
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers/3.2.7/usr/bin/rsync");
    let path = env::var_os("OC_RSYNC_PEER_327").map_or_else(|| PathBuf::from(unpacked), PathBuf::from);
    path.is_file().then_some(path)
}

/// Says that something could not be tested, and notes it in the file that `OC_RSYNC_SKIPPED` names.
pub fn skip(what: &str, why: &str) {
    eprintln!("SKIPPED {what}: {why}");
    if let Some(path) = env::var_os("OC_RSYNC_SKIPPED")
        && let Ok(mut file) = fs::OpenOptions::new().append(true).create(true).open(path)
    {
        let _ = writeln!(file, "{what}: {why}");
    }
}

/// Whether there is a reference to compare with; if not, `what` counts as skipped.
pub fn reference_is_there(what: &str) -> bool {
    match Program::Reference.missing() {
        None => true,
        Some(why) => {
            skip(what, &why);
            false
        }
    }
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
