//! Source trees: one of every kind, many of one kind, and variations of them at the destination.

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io::{Seek, SeekFrom, Write},
    os::fd::AsFd,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, lchown, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::AT_FDCWD,
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat},
        time::TimeSpec,
    },
    unistd::mkfifo,
};

use oc_rsync::sys::{at, xattr};

use super::programs::{is_root, skip};

/// Bytes that look random and are the same every time.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Sets the modification time of an entry, links included; the access time is one day later.
pub fn set_time(path: &Path, seconds: i64, nanos: i64) {
    let mtime = TimeSpec::new(seconds, nanos);
    let atime = TimeSpec::new(seconds + 86_400, nanos);
    let set = utimensat(AT_FDCWD, path, &atime, &mtime, UtimensatFlags::NoFollowSymlink);
    set.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Makes a file with content, mode 644 and a time that depends on its name.
pub fn file(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    set_mode(path, 0o644);
    set_time(path, stamp(path), 123_456_789);
}

/// Gives a file, or a link itself, an extended attribute, and the modification time that it had.
pub fn attr(path: &Path, name: &str, value: &[u8]) {
    let stat = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let name = std::ffi::CString::new(name).expect("a name");
    let done = at::with_name(path.as_os_str().as_bytes(), |path| {
        let handle = at::open_handle(at::CWD, path)?;
        xattr::set(handle.as_fd(), &name, value)
    });
    done.unwrap_or_else(|error| panic!("{} {name:?}: {error}", path.display()));
    set_time(path, stat.mtime(), stat.mtime_nsec());
}

/// The time that [`file`] gives to a file of that name, in seconds.
pub fn time_of(name: &str) -> i64 {
    stamp(Path::new(name))
}

fn stamp(path: &Path) -> i64 {
    let name = path.file_name().unwrap_or_default().as_bytes();
    1_400_000_000 + name.iter().fold(0_i64, |sum, &byte| (sum * 31 + i64::from(byte)) % 100_000_000)
}

fn dir(path: &Path) -> PathBuf {
    fs::create_dir_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    set_mode(path, 0o755);
    path.to_path_buf()
}

fn link(target: &str, path: &Path) {
    symlink(target, path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    set_time(path, stamp(path), 5);
}

/// Gives all directories below, deepest first, fixed times.
pub fn settle_dirs(top: &Path) {
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            settle_dirs(&entry.path());
        }
    }
    set_time(top, stamp(top), 987_654_321);
}

/// Gives everything below the access times it had before it was read.
pub fn restore_atimes(top: &Path) {
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        let (path, stat) = (entry.path(), entry.metadata().expect("entry"));
        if stat.is_dir() {
            restore_atimes(&path);
        }
        set_time(&path, stat.mtime(), stat.mtime_nsec());
    }
}

/// Every kind of file, hostile names, odd modes, owners and times.
pub fn zoo(top: &Path) {
    names(&dir(&top.join("names")));
    contents(&dir(&top.join("contents")));
    links(&dir(&top.join("links")));
    modes(&dir(&top.join("modes")));
    times(&dir(&top.join("times")));
    if is_root() {
        owners(&dir(&top.join("owners")));
    }
    kinds(&dir(&top.join("kinds")));
    deep(top);
    settle_dirs(top);
}

/// The zoo without the kinds that only root can copy.
pub fn plain(top: &Path) {
    names(&dir(&top.join("names")));
    contents(&dir(&top.join("contents")));
    links(&dir(&top.join("links")));
    times(&dir(&top.join("times")));
    deep(top);
    settle_dirs(top);
}

fn names(dir_: &Path) {
    let mut names: Vec<Vec<u8>> = [
        "blank in it",
        " leading",
        "trailing ",
        "-n",
        "--delete",
        "tab\there",
        "new\nline",
        "cr\rhere",
        "quote'single",
        "quote\"double",
        "back\\slash",
        "\\#012",
        "star*",
        "what?",
        "[x]",
        "{a,b}",
        "$HOME",
        "`id`",
        "semi;colon",
        "am&p",
        "pi|pe",
        "<in>",
        "(par)",
        "~",
        "#hash",
        "!bang",
        "per%n",
        "colon:here",
        "é",
        "日本語",
        "e\u{301}",
        "...",
        ".hidden",
        "..two",
        "a",
        "a.b",
        "a-b",
        "a0",
        "A",
        "\u{7f}",
        "\u{1}",
    ]
    .iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.push(b"bad\xff\xfeutf8".to_vec());
    names.push(b"\x80".to_vec());
    names.push(b"surrogate\xed\xa0\x80".to_vec());
    names.push(vec![b'x'; 255]);
    names.push([&[b'y'; 251][..], b"\xc3\xa9.z"].concat());
    for (number, name) in names.iter().enumerate() {
        file(&dir_.join(OsStr::from_bytes(name)), format!("{number}\n").as_bytes());
    }
    // Sorted differently as a file than as a directory.
    for name in ["sort", "sort.d", "sort-d", "sort d"] {
        file(&dir(&dir_.join(name)).join("in"), name.as_bytes());
    }
    dir(&dir_.join("empty dir"));
}

fn contents(dir: &Path) {
    file(&dir.join("empty"), b"");
    file(&dir.join("one"), b"1");
    for len in [699, 700, 701, 32_767, 32_768, 32_769, 262_144, 1_000_003] {
        file(&dir.join(format!("noise-{len}")), &noise(len, len as u64));
    }
    file(&dir.join("zeros"), &vec![0; 300_000]);
    file(&dir.join("text"), &b"the same line over and over\n".repeat(5_000));
    let sparse = dir.join("sparse");
    let mut hole = File::create(&sparse).expect("sparse file");
    hole.write_all(b"start").expect("sparse file");
    hole.seek(SeekFrom::Start(3 << 20)).expect("sparse file");
    hole.write_all(b"middle").expect("sparse file");
    hole.set_len(5 << 20).expect("sparse file");
    drop(hole);
    set_time(&sparse, 1_450_000_000, 1);
    let first = dir.join("hard-1");
    file(&first, b"one inode, two names");
    fs::hard_link(&first, dir.join("hard-2")).expect("hard link");
}

fn links(dir_: &Path) {
    file(&dir_.join("file"), b"pointed to");
    file(&dir(&dir_.join("dir")).join("inside"), b"inside");
    link("file", &dir_.join("to-file"));
    link("dir", &dir_.join("to-dir"));
    link("./dir/inside", &dir_.join("to-inside"));
    link("dir/../file", &dir_.join("roundabout"));
    link("nowhere", &dir_.join("dangling"));
    link("/etc/hostname", &dir_.join("absolute"));
    link("../../outside", &dir_.join("out-of-tree"));
    link("../contents/one", &dir_.join("to-sibling"));
    link("blank in target ", &dir_.join("blanks"));
    link("new\nline", &dir_.join("newline"));
    link(&"t".repeat(4000), &dir_.join("long"));
}

fn modes(dir_: &Path) {
    for mode in [0o644, 0o600, 0o755, 0o700, 0o444, 0o555, 0o666, 0o777, 0o640, 0o4755, 0o2755, 0o6711, 0o1644, 0o2644]
    {
        let path = dir_.join(format!("file-{mode:04o}"));
        file(&path, b"mode");
        set_mode(&path, mode);
    }
    for mode in [0o755, 0o700, 0o1777, 0o2775, 0o3711] {
        let path = dir(&dir_.join(format!("dir-{mode:04o}")));
        file(&path.join("in"), b"in");
        set_mode(&path, mode);
    }
    // Others than root cannot read what nobody may read.
    if is_root() {
        let path = dir_.join("file-0000");
        file(&path, b"nobody may read this");
        set_mode(&path, 0);
        set_mode(&dir(&dir_.join("dir-0000")), 0);
    }
}

fn times(dir: &Path) {
    let moments = [
        ("epoch", 0, 0),
        ("just-after", 0, 1),
        ("before", -1, 999_999_999),
        ("nineteen-hundred-and-four", -2_082_844_800 + (1 << 31), 0),
        ("nanos", 1_600_000_000, 999_999_999),
        ("no-nanos", 1_600_000_000, 0),
        ("last-of-31-bits", 2_147_483_647, 5),
        ("first-of-32-bits", 2_147_483_648, 5),
    ];
    for (name, seconds, nanos) in moments {
        let path = dir.join(name);
        file(&path, name.as_bytes());
        set_time(&path, seconds, nanos);
    }
}

fn owners(dir_: &Path) {
    for (name, uid, gid) in [("known", 1, 1), ("mixed", 0, 2), ("nameless", 12_345, 54_321), ("big", 4_000_000_000, 3)]
    {
        let path = dir_.join(name);
        file(&path, name.as_bytes());
        lchown(&path, Some(uid), Some(gid)).expect("owner");
        set_time(&path, 1_500_000_001, 0);
    }
    let path = dir(&dir_.join("their dir"));
    lchown(&path, Some(1), Some(54_321)).expect("owner");
    let path = dir_.join("their link");
    link("known", &path);
    lchown(&path, Some(12_345), Some(1)).expect("owner");
}

fn kinds(dir: &Path) {
    pipe(&dir.join("fifo"));
    let socket = dir.join("socket");
    drop(UnixListener::bind(&socket).expect("socket"));
    set_time(&socket, 1_500_000_003, 8);
    if !is_root() {
        return;
    }
    let devices =
        [("char", SFlag::S_IFCHR, 1, 3), ("block", SFlag::S_IFBLK, 7, 99), ("big", SFlag::S_IFCHR, 300, 70_000)];
    for (name, kind, major, minor) in devices {
        device(&dir.join(name), kind, (major, minor));
    }
}

pub fn pipe(path: &Path) {
    mkfifo(path, Mode::from_bits_truncate(0o640)).expect("fifo");
    set_time(path, 1_500_000_002, 7);
}

/// A device, which only root can make, and not everywhere.
pub fn device(path: &Path, kind: SFlag, (major, minor): (u64, u64)) {
    match mknod(path, kind, Mode::from_bits_truncate(0o620), makedev(major, minor)) {
        Ok(()) => set_time(path, 1_500_000_004, 9),
        Err(error) => skip("devices", &format!("mknod: {error}")),
    }
}

fn deep(top: &Path) {
    let mut path = top.join("deep");
    for level in 0..40 {
        path.push(format!("level-{level:02}-{}", "d".repeat(30)));
    }
    file(&dir(&path).join("bottom"), b"deep down");
}

/// 20,000 small files in 200 directories, four levels.
pub fn crowd(top: &Path) {
    for group in 0..200 {
        let path = dir(&top.join(format!("{}/{}/d{group:03}", group % 5, group % 7)));
        for number in 0..100 {
            let path = path.join(format!("file-{number:03}"));
            fs::write(&path, format!("{group} {number}\n").repeat(number % 4)).expect("file");
            set_time(&path, 1_500_000_000 + group * 100 + number as i64, 0);
        }
    }
    settle_dirs(top);
}

/// A few files only, where every byte on the wire is to be compared.
pub fn few(top: &Path) {
    file(&top.join("a"), b"a\n");
    file(&dir(&top.join("d")).join("b"), &noise(1000, 7));
    link("a", &top.join("l"));
    settle_dirs(top);
}

/// A destination that already has everything: copied by `cp -a`.
pub fn same(destination: &Path, source: &Path) {
    let from = source.join(".");
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(destination).status().expect("cp");
    assert!(status.success(), "cp -a failed");
}

/// A destination in which much is older, longer, shorter, of another kind, or with other attributes.
pub fn stale(destination: &Path, source: &Path) {
    same(destination, source);
    for (path, change) in changes(destination) {
        if fs::symlink_metadata(&path).is_ok() {
            change(&path);
        }
    }
    settle_dirs(destination);
}

type Change = fn(&Path);

fn changes(top: &Path) -> Vec<(PathBuf, Change)> {
    let in_front: Change = |path| file(path, &[&b"in front"[..], &fs::read(path).expect("file")].concat());
    let in_the_middle: Change = |path| {
        let mut bytes = fs::read(path).expect("file");
        let middle = bytes.len() / 2;
        bytes[middle..middle + 9].copy_from_slice(b"different");
        file(path, &bytes);
        set_time(path, 1_300_000_000, 0);
    };
    let shorter: Change = |path| {
        let bytes = fs::read(path).expect("file");
        file(path, &bytes[..bytes.len() / 3]);
    };
    let older: Change = |path| set_time(path, 1_000_000_000, 0);
    let newer: Change = |path| set_time(path, 1_700_000_000, 0);
    let other_mode: Change = |path| set_mode(path, 0o604);
    let gone: Change = |path| fs::remove_file(path).expect("file");
    let other_link: Change = |path| {
        fs::remove_file(path).expect("link");
        link("elsewhere", path);
    };
    let a_link_now: Change = |path| {
        fs::remove_file(path).expect("file");
        link("elsewhere", path);
    };
    let a_dir_now: Change = |path| {
        fs::remove_file(path).expect("file");
        dir(path);
    };
    let a_file_now: Change = |path| {
        fs::remove_file(path).expect("file");
        file(path, b"a file");
    };
    [
        ("contents/noise-262144", in_front),
        ("contents/noise-1000003", in_the_middle),
        ("contents/noise-32769", shorter),
        ("contents/zeros", in_the_middle),
        ("contents/text", older),
        ("contents/one", newer),
        ("contents/empty", gone),
        ("contents/noise-700", other_mode),
        ("contents/noise-699", a_dir_now),
        ("contents/noise-701", a_link_now),
        ("links/to-file", other_link),
        ("links/dangling", a_file_now),
        ("kinds/fifo", a_file_now),
        ("names/a", older),
        ("names/é", newer),
        ("times/epoch", newer),
    ]
    .map(|(path, change)| (top.join(path), change))
    .to_vec()
}
