//! A directory tree with everything rsync can preserve, as a value that can be compared.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{CStr, OsStr},
    fmt, fs, io,
    os::fd::AsFd,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use oc_rsync::sys::{at, xattr};

/// How many differences are told one by one.
const TOLD: usize = 12;

/// A time that was kept, or the time of the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Time {
    Kept(i64, i64),
    OfTheRun,
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// File type and permissions.
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: Time,
    pub atime: Option<Time>,
    pub what: What,
    /// The first path with the same inode, where it has several.
    pub linked_to: Option<Vec<u8>>,
    /// Of every namespace, access control lists among them, by name.
    pub xattrs: Xattrs,
}

/// Extended attributes; values as text where they are that.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Xattrs(BTreeMap<Vec<u8>, Vec<u8>>);

impl fmt::Debug for Xattrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Vec<u8>| match value.len() {
            ..=200 => value.escape_ascii().to_string(),
            len => format!("{len} bytes, {:016x}", xxhash_rust::xxh3::xxh3_64(value)),
        };
        f.debug_map()
            .entries(self.0.iter().map(|(name, value)| (name.escape_ascii().to_string(), shown(value))))
            .finish()
    }
}

#[derive(Clone, PartialEq, Eq)]
pub enum What {
    File { size: u64, sum: u64 },
    Dir,
    Link(Vec<u8>),
    Device(u64),
    Special,
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { size, sum } => write!(f, "file of {size} bytes, {sum:016x}"),
            Self::Dir => write!(f, "dir"),
            Self::Link(target) => write!(f, "link to {}", OsStr::from_bytes(target).display()),
            Self::Device(rdev) => write!(f, "device {rdev:#x}"),
            Self::Special => write!(f, "special"),
        }
    }
}

/// A tree by path; the top is the empty path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<Vec<u8>, Node>,
    /// Disk blocks of regular files.
    blocks: BTreeMap<Vec<u8>, u64>,
}

impl Tree {
    /// Reads a tree; times from `ready` on count as the run's own.
    pub fn read(top: &Path, ready: SystemTime, atimes: bool) -> Self {
        Self::read_with(top, &[], ready, atimes)
    }

    /// The same with trees `beside` it, whose paths begin with `../`.
    pub fn read_with(top: &Path, beside: &[&str], ready: SystemTime, atimes: bool) -> Self {
        Self::try_read(top, beside, ready, atimes).unwrap_or_else(|error| panic!("{}: {error}", top.display()))
    }

    /// The same of a tree in which others are at work: something may go while it is looked at.
    pub fn try_read(top: &Path, beside: &[&str], ready: SystemTime, atimes: bool) -> io::Result<Self> {
        let since = ready.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(Duration::from_secs(1));
        let since = (since.as_secs() as i64, i64::from(since.subsec_nanos()));
        let mut tree = Self::default();
        let mut reader = Reader { top, since, atimes, inodes: HashMap::new() };
        let beside = beside.iter().map(|name| format!("../{name}").into_bytes());
        for start in std::iter::once(Vec::new()).chain(beside) {
            reader.add(&mut tree, start)?;
        }
        Ok(tree)
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.nodes.keys().map(Vec::as_slice)
    }

    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// What differs in `other`, as text; with `sparse` also the disk space of files, roughly.
    pub fn differences(&self, other: &Self, sparse: bool) -> Vec<String> {
        let paths = self.nodes.keys().chain(other.nodes.keys().filter(|path| !self.nodes.contains_key(*path)));
        let mut told = Vec::new();
        for path in paths {
            let (theirs, mine) = (self.nodes.get(path), other.nodes.get(path));
            let shown = OsStr::from_bytes(path).display();
            if theirs != mine {
                told.push(format!("  tree: {shown}\n    reference {theirs:x?}\n    ours      {mine:x?}"));
            } else if sparse && !self.similar_blocks(other, path) {
                let blocks = (self.blocks.get(path), other.blocks.get(path));
                told.push(format!("  tree: {shown}: disk blocks of reference and ours {blocks:?}"));
            }
        }
        if told.len() > TOLD {
            let more = told.len() - TOLD;
            told.truncate(TOLD);
            told.push(format!("  tree: and {more} more"));
        }
        told
    }

    fn similar_blocks(&self, other: &Self, path: &[u8]) -> bool {
        match (self.blocks.get(path), other.blocks.get(path)) {
            (Some(&theirs), Some(&mine)) => mine.abs_diff(theirs) <= 64 + theirs / 10,
            _ => true,
        }
    }
}

struct Reader<'a> {
    top: &'a Path,
    since: (i64, i64),
    atimes: bool,
    inodes: HashMap<(u64, u64), Vec<u8>>,
}

impl Reader<'_> {
    fn add(&mut self, tree: &mut Tree, path: Vec<u8>) -> io::Result<()> {
        let full = self.top.join(OsStr::from_bytes(&path));
        let stat = fs::symlink_metadata(&full)?;
        let kind = stat.mode() & libc::S_IFMT;
        let what = match kind {
            libc::S_IFREG => What::File { size: stat.len(), sum: sum(&full)? },
            libc::S_IFDIR => What::Dir,
            libc::S_IFLNK => What::Link(fs::read_link(&full)?.into_os_string().into_vec()),
            libc::S_IFBLK | libc::S_IFCHR => What::Device(stat.rdev()),
            _ => What::Special,
        };
        let linked_to = (kind != libc::S_IFDIR && stat.nlink() > 1)
            .then(|| self.inodes.entry((stat.dev(), stat.ino())).or_insert_with(|| path.clone()).clone());
        let node = Node {
            mode: stat.mode(),
            owner: (stat.uid(), stat.gid()),
            mtime: self.time(stat.mtime(), stat.mtime_nsec()),
            atime: (self.atimes && kind == libc::S_IFREG).then(|| self.time(stat.atime(), stat.atime_nsec())),
            what,
            linked_to,
            xattrs: xattrs(&full)?,
        };
        if kind == libc::S_IFREG {
            tree.blocks.insert(path.clone(), stat.blocks());
        }
        tree.nodes.insert(path.clone(), node);
        if kind == libc::S_IFDIR {
            let mut names: Vec<Vec<u8>> = match fs::read_dir(&full) {
                Ok(names) => names.map(|entry| Ok(entry?.file_name().into_vec())).collect::<io::Result<_>>()?,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Vec::new(),
                Err(error) => return Err(error),
            };
            names.sort();
            for name in names {
                self.add(tree, if path.is_empty() { name } else { [&path[..], b"/", &name].concat() })?;
            }
        }
        Ok(())
    }

    fn time(&self, seconds: i64, nanos: i64) -> Time {
        let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs() as i64;
        if (seconds, nanos) >= self.since && seconds <= now { Time::OfTheRun } else { Time::Kept(seconds, nanos) }
    }
}

/// All extended attributes, of a link itself; none for what may not be read.
fn xattrs(path: &Path) -> io::Result<Xattrs> {
    let handle = at::with_name(path.as_os_str().as_bytes(), |path| at::open_handle(at::CWD, path))?;
    let names = match xattr::list(handle.as_fd()) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTSUP | libc::EACCES)) => {
            return Ok(Xattrs::default());
        }
        names => names?,
    };
    let mut all = BTreeMap::new();
    for name in names.split_inclusive(|&byte| byte == 0).map_while(|name| CStr::from_bytes_with_nul(name).ok()) {
        let value = match xattr::get(handle.as_fd(), name) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => b"(not readable)".to_vec(),
            value => value?,
        };
        all.insert(name.to_bytes().to_vec(), value);
    }
    Ok(Xattrs(all))
}

/// A content hash; 0 for what may not be read.
fn sum(path: &Path) -> io::Result<u64> {
    match fs::read(path) {
        Ok(bytes) => Ok(xxhash_rust::xxh3::xxh3_64(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(0),
        Err(error) => Err(error),
    }
}

/// Sets the time of a prepared tree's top, so that making it does not look like the run's doing.
pub fn settle(top: &Path) {
    super::zoo::set_time(top, 1_500_000_000, 0);
}
