//! File lists as the reference sends them: ours must be the same bytes, and we must read theirs.

#[allow(dead_code)] // only what names the reference is needed here
#[path = "harness/programs.rs"]
mod programs;

use std::{
    fs,
    io::{Read, Write},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use oc_rsync::{
    filter::Filters,
    flist::{build::Walker, codec::Encoder, receive::Decoder},
    hash::Algorithm,
    log::{Log, LogCode, Sink, Speaker},
    options::{Dirs, Levels, Options, Super},
    proto::{Compat, Protocol},
    wire::{Reader, Writer},
};

struct Deaf;

impl Sink for Deaf {
    fn line(&self, _: LogCode, line: &[u8]) {
        eprint!("{}", String::from_utf8_lossy(line));
    }
}

fn log(speaker: Speaker) -> Log {
    Log::new(Levels::default(), Arc::new(Deaf), speaker)
}

/// What is said to a `--server --sender` before it sends its list.
struct Case {
    version: u8,
    inc_recurse: bool,
    /// Bundled letters.
    letters: &'static str,
    extra: &'static [&'static str],
    args: Vec<String>,
}

/// A peer's data, frames taken off, as it comes.
struct Peer {
    child: std::process::Child,
    data: mpsc::Receiver<Vec<u8>>,
    protocol: Protocol,
}

impl Case {
    fn start(&self, program: &Path, cwd: &Path) -> Peer {
        let inc = if self.inc_recurse { "i" } else { "" };
        let client = if self.version >= 30 { format!("e.{inc}LsfxCIvu") } else { String::new() };
        let mut child = Command::new(program)
            .args(["--server", "--sender", &format!("-{}{client}", self.letters)])
            .args(self.extra)
            .arg(".")
            .args(&self.args)
            .current_dir(cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        to.write_all(&i32::from(self.version).to_le_bytes()).unwrap();
        let mut four = [0; 4];
        from.read_exact(&mut four).unwrap();
        let mut compat = 0;
        if self.version >= 30 {
            let mut byte = [0];
            from.read_exact(&mut byte).unwrap();
            compat = u32::from(byte[0]);
            if byte[0] & 0x80 != 0 {
                let mut low = [0];
                from.read_exact(&mut low).unwrap();
                compat = u32::from(byte[0] & 0x3f) << 8 | u32::from(low[0]);
            }
            to.write_all(b"\x03md5").unwrap();
            from.read_exact(&mut byte).unwrap();
            let mut names = vec![0; byte[0].into()];
            from.read_exact(&mut names).unwrap();
        }
        from.read_exact(&mut four).unwrap(); // seed
        let no_filters: &[u8] = if self.version >= 30 { b"\x04\0\0\x07\0\0\0\0" } else { &[0; 4] };
        to.write_all(no_filters).unwrap();
        let (sender, data) = mpsc::channel();
        std::thread::spawn(move || {
            let _open = to;
            let mut header = [0; 4];
            while from.read_exact(&mut header).is_ok() {
                let len = u32::from_le_bytes([header[0], header[1], header[2], 0]);
                let mut payload = vec![0; len as usize];
                from.read_exact(&mut payload).unwrap();
                match header[3] {
                    7 => sender.send(payload).unwrap_or_default(),
                    _ => eprint!("peer: {}", String::from_utf8_lossy(&payload)),
                }
            }
        });
        Peer { child, data, protocol: self.protocol(compat) }
    }

    fn protocol(&self, compat: u32) -> Protocol {
        let has = |bit: u32| compat & 1 << bit != 0;
        Protocol {
            version: self.version,
            remote_version: self.version,
            compat: Compat {
                inc_recurse: has(0),
                safe_flist: has(3) || self.version >= 31,
                varint_flist_flags: has(7),
                id0_names: has(8),
                ..Compat::default()
            },
            checksum_seed: 0,
            transfer_sum: Algorithm::Md5,
            list_sum: if self.version >= 30 { Algorithm::Md5 } else { Algorithm::Md4Old },
            compression: Default::default(),
        }
    }

    fn options(&self) -> Options {
        let has = |letter| self.letters.contains(letter);
        let has_long = |long| self.extra.contains(&long);
        Options {
            dirs: match (has('r'), has('d')) {
                (true, _) => Dirs::Recurse,
                (_, true) => Dirs::List,
                _ => Dirs::Skip,
            },
            owner: has('o'),
            group: has('g'),
            links: has('l'),
            devices: has('D'),
            specials: has('D'),
            relative: has('R'),
            implied_dirs: !has_long("--no-implied-dirs"),
            copy_links: has('L'),
            copy_dirlinks: has('k'),
            copy_unsafe_links: has_long("--copy-unsafe-links"),
            hard_links: u8::from(has('H')),
            one_file_system: u8::from(has('x')),
            checksum: has('c'),
            atimes: u8::from(has('U')),
            numeric_ids: has_long("--numeric-ids"),
            super_user: Super::Yes,
            ..Options::default()
        }
    }
}

impl Peer {
    /// As much of the peer's data as we would have sent, or what came within a while.
    fn receive(&mut self, enough: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < enough {
            match self.data.recv_timeout(Duration::from_secs(60)) {
                Ok(piece) => got.extend(piece),
                Err(_) => break,
            }
        }
        got
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The index in front of a segment, as protocol 30 on writes it. C: io.c write_ndx
fn write_dir_index(out: &mut Writer, dir: i32, last: &mut i32) {
    let value = 101 + dir;
    let diff = value - *last;
    *last = value;
    out.byte(0xff).unwrap();
    match diff {
        1..0xfe => out.byte(diff as u8).unwrap(),
        0 | 0xfe..0x8000 => out.bytes(&[0xfe, (diff >> 8) as u8, diff as u8]).unwrap(),
        _ => {
            let [a, b, c, d] = value.to_le_bytes();
            out.bytes(&[0xfe, d | 0x80, a, b, c]).unwrap();
        }
    }
}

/// C: io.c read_ndx
fn read_dir_index(from: &mut Reader, last: &mut i32) -> i32 {
    assert_eq!(from.byte().unwrap(), 0xff);
    *last = match from.byte().unwrap() {
        0xfe => match from.byte().unwrap() {
            high @ 0x80.. => {
                let [a, b, c] = from.array().unwrap();
                i32::from_le_bytes([a, b, c, high & 0x7f])
            }
            high => *last + i32::from(u16::from_be_bytes([high, from.byte().unwrap()])),
        },
        small => *last + i32::from(small),
    };
    *last - 101
}

/// Everything a sender says before it waits for requests; also the names, segment by segment.
fn ours(case: &Case, protocol: &Protocol, names: &mut Vec<Vec<String>>) -> Vec<u8> {
    let (options, log) = (case.options(), log(Speaker::Sender));
    let args = case.args.iter().map(|arg| arg.clone().into_bytes());
    let mut walker =
        Walker::new(&options, protocol, None, args, Filters::from_options(&options, &log).unwrap(), &log).unwrap();
    let mut encoder = Encoder::new(&options, protocol, &log).unwrap();
    let (mut out, kept) = Writer::into_memory();
    let mut last = 1;
    let mut before = None;
    loop {
        let dir = walker.next_dir();
        if let Some(dir) = dir {
            write_dir_index(&mut out, dir, &mut last);
        }
        let mut segment = walker.begin();
        loop {
            let from = segment.len();
            let more = walker.step(&mut segment).unwrap();
            encoder.entries(&mut out, &segment, from).unwrap();
            if !more {
                break;
            }
        }
        match dir {
            None => encoder.end_first(&mut out, walker.io_error()).unwrap(),
            Some(_) => encoder.end_extra(&mut out, walker.io_error(), before.unwrap_or(0)).unwrap(),
        }
        // the reference compares with the state when it began to send several lists; after a first list of one entry
        // it sends the next one alone
        let alone = names.len() == 1 && names[0].len() == 1;
        before = before.filter(|_| !alone).or(Some(walker.io_error()));
        let segment = walker.finish(segment).unwrap();
        let path = |(_, entry): (i32, oc_rsync::flist::Entry<'_>)| String::from_utf8_lossy(&entry.path()).into_owned();
        names.push(segment.entries().map(path).collect());
        if walker.next_dir().is_none() {
            break;
        }
    }
    out.flush().unwrap();
    kept.lock().unwrap().clone()
}

fn read_names(case: &Case, protocol: &Protocol, bytes: &[u8], segments: usize) -> Vec<Vec<String>> {
    let options = case.options();
    let mut decoder = Decoder::new(&options, protocol, None, None, &log(Speaker::Receiver)).unwrap();
    let mut from = Reader::over(bytes);
    let mut last = 1;
    let mut all = Vec::new();
    for number in 0..segments {
        let received = if number == 0 {
            decoder.first(&mut from).unwrap()
        } else {
            let dir = read_dir_index(&mut from, &mut last);
            decoder.contents_of(&mut from, dir).unwrap()
        };
        let path = |(_, entry): (i32, oc_rsync::flist::Entry<'_>)| String::from_utf8_lossy(&entry.path()).into_owned();
        all.push(received.segment.entries().map(path).collect());
    }
    all
}

fn make_tree(root: &Path) {
    let dir = |path: &str| fs::create_dir_all(root.join(path)).unwrap();
    let file = |path: &str, len: usize| fs::write(root.join(path), vec![b'x'; len]).unwrap();
    dir("src/sub/deep/er");
    dir("src/empty");
    dir("src/sub-b");
    dir("other/sub");
    for number in 0..60 {
        file(&format!("src/sub/file-{number:03}"), number);
    }
    file("src/a", 0);
    file("src/sub/deep/er/z", 70_000);
    file("src/sub-b/y", 1);
    file("other/sub/o", 2);
    file(&format!("src/{}", "n".repeat(255)), 3);
    dir(&format!("src/{}/{}", "d".repeat(200), "e".repeat(200)));
    file(&format!("src/{}/{}/{}", "d".repeat(200), "e".repeat(200), "f".repeat(250)), 3);
    fs::write(root.join("src").join(std::ffi::OsStr::from_bytes(b"\xff\x01 \n")), "odd").unwrap();
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, root.join(at)).unwrap();
    link("a", "src/link");
    link("sub", "src/dirlink");
    link("/etc/hostname", "src/out");
    link("../other/sub", "src/sub/beside");
    for (at, name) in [
        ("src/sub/file-003", "src/first"),
        ("src/sub/file-003", "src/sub/deep/third"),
        ("src/out", "src/sub/out"),
        ("src/sub/file-003", "other/more"),
        ("src/sub/file-004", "src/sub/file-again"),
    ] {
        fs::hard_link(root.join(at), root.join(name)).unwrap();
    }
    nix::unistd::mkfifo(&root.join("src/pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    fs::hard_link(root.join("src/pipe"), root.join("src/sub/pipe")).unwrap();
    fs::set_permissions(root.join("src/sub-b"), fs::Permissions::from_mode(0o2750)).unwrap();
    let old = nix::sys::time::TimeSpec::new(-5_000_000_000, 7);
    nix::sys::stat::utimensat(
        nix::fcntl::AT_FDCWD,
        &root.join("src/a"),
        &old,
        &old,
        nix::sys::stat::UtimensatFlags::NoFollowSymlink,
    )
    .unwrap();
    if nix::unistd::geteuid().is_root() {
        use nix::sys::stat::{Mode, SFlag, makedev, mknod};
        let node = |name: &str, kind, major, minor| {
            let _ = mknod(&root.join("src").join(name), kind, Mode::from_bits_truncate(0o640), makedev(major, minor));
        };
        node("null", SFlag::S_IFCHR, 1, 3);
        node("null2", SFlag::S_IFCHR, 1, 700);
        node("disk", SFlag::S_IFBLK, 259, 1);
        let _ = fs::hard_link(root.join("src/null2"), root.join("src/null3"));
        let own = |name: &str, uid, gid| std::os::unix::fs::chown(root.join(name), Some(uid), Some(gid)).unwrap();
        own("src/sub/file-001", 1, 2);
        own("src/sub/file-002", 33, 65000);
        own("src/sub-b/y", 1, 1);
    }
}

/// Where a path begins at the top, others may write to a directory on the way meanwhile: a difference counts if it is
/// there three times.
fn compare(case: &Case, program: &Path, root: &Path) {
    let Err(difference) = try_to_compare(case, program, root) else { return };
    let stays = || try_to_compare(case, program, root).is_err();
    assert!(!(stays() && stays()), "{difference}");
}

fn try_to_compare(case: &Case, program: &Path, root: &Path) -> Result<(), String> {
    let what = format!("protocol {} inc {} -{} {:?}", case.version, case.inc_recurse, case.letters, case.args);
    let mut peer = case.start(program, root);
    let mut names = Vec::new();
    let mine = ours(case, &peer.protocol, &mut names);
    let theirs = peer.receive(mine.len());
    let same = theirs.len() >= mine.len() && theirs[..mine.len()] == mine[..];
    if !same {
        let at = std::iter::zip(&mine, &theirs).take_while(|(a, b)| a == b).count();
        let near = |bytes: &[u8]| {
            let part = &bytes[at.saturating_sub(40).min(bytes.len())..(at + 60).min(bytes.len())];
            part.escape_ascii().to_string()
        };
        let (mine_near, theirs_near) = (near(&mine), near(&theirs));
        let (mine, theirs) = (mine.len(), theirs.len());
        return Err(format!("{what}: at {at} of {mine} and {theirs}:\n  {mine_near}\n  {theirs_near}"));
    }
    if case.args.iter().all(|arg| !arg.contains("missing")) {
        let mut expected = names;
        for name in expected.iter_mut().flatten() {
            *name = name.trim_start_matches('/').to_owned();
        }
        let read = read_names(case, &peer.protocol, &theirs, expected.len());
        if case.args.len() == 1 {
            assert_eq!(read, expected, "{what}");
        }
    }
    Ok(())
}

#[test]
fn lists_are_those_of_the_reference() {
    if !programs::reference_is_there(file!()) {
        return;
    }
    let program = &programs::Program::Reference.path();
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    make_tree(&root);
    std::env::set_current_dir(&root).unwrap();
    let absolute = format!("{}/src/sub", root.display());
    let all_args: [&[&str]; 12] = [
        &["src/"],
        &["src"],
        &["src", "other"],
        &["src/", "other/", "src"],
        &["src/a"],
        &["src/a", "missing", "other/sub/o", "src/sub-b/"],
        &["src/dirlink", "src/dirlink/"],
        &["./src/sub/deep", "src/./sub-b", "other/sub", "src/sub/deep/er/z"],
        &["src/sub/", "src/sub/deep"],
        &["src/.."],
        &[&absolute],
        &["."],
    ];
    // every argument with the first two sets of letters, some of them with the rest
    let all_letters = [
        "logDtpr",
        "logDtprR",
        "logDtprc",
        "rt",
        "logDtprL",
        "logDtprk",
        "dlt",
        "lt",
        "logDtprxU",
        "dRl",
        "HlogDtpr",
        "HrLc",
    ];
    for version in [27, 28, 29, 30, 31, 32] {
        for inc_recurse in [false, true] {
            if inc_recurse && version < 30 {
                continue;
            }
            for (at, letters) in all_letters.into_iter().enumerate() {
                if version < 28 && letters.contains('U') {
                    continue; // the reference's form cannot be read
                }
                let some = if at < 2 || letters == "HlogDtpr" { 1 } else { 4 };
                for args in all_args.into_iter().skip(at % some).step_by(some) {
                    if letters.contains('R') && args.contains(&"src/..") {
                        continue; // an error on both sides
                    }
                    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
                    let case = Case { version, inc_recurse, letters, extra: &[], args };
                    compare(&case, program, &root);
                }
            }
        }
        for extra in [&["--numeric-ids"][..], &["--no-implied-dirs"], &["--copy-unsafe-links"]] {
            let args = vec!["src/sub/deep".into(), "other".into()];
            compare(&Case { version, inc_recurse: true, letters: "logDtprR", extra, args }, program, &root);
        }
    }
}
