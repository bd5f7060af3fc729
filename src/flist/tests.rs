//! Lists written and read back, and what a receiver must refuse.

use proptest::prelude::*;

use super::{
    Attributes, Entry, Flags, HardLink, Segment,
    codec::Encoder,
    io_error,
    order::{self, Order},
    receive::{Decoder, Received},
    requested::Requested,
    split_path,
};
use crate::{
    error::{Error, ExitCode},
    filter::Filters,
    log::{Log, Speaker},
    options::{Dirs, FilterArg, Options, Super},
    proto::{Compat, Protocol},
    wire::{Reader, Writer},
};

fn log() -> Log {
    Log::unheard(Speaker::Receiver)
}

fn protocol(version: u8, inc_recurse: bool) -> Protocol {
    let compat = Compat {
        inc_recurse: inc_recurse && version >= 30,
        safe_flist: version >= 31,
        varint_flist_flags: version >= 32,
        id0_names: version >= 32,
        ..Compat::default()
    };
    Protocol { compat, ..Protocol::plain(version) }
}

/// `-aU` as root without names of users, plus `-c`.
fn options(checksum: bool) -> Options {
    Options {
        dirs: Dirs::Recurse,
        owner: true,
        group: true,
        links: true,
        devices: true,
        specials: true,
        perms: true,
        times: true,
        atimes: 1,
        numeric_ids: true,
        super_user: Super::Yes,
        checksum,
        ..Options::default()
    }
}

#[derive(Clone, Debug, PartialEq)]
struct File {
    path: String,
    flags: u16,
    mode: u32,
    size: u64,
    mtime: (i64, u32),
    atime: i64,
    ids: (u32, u32),
    rdev: (u32, u32),
    target: String,
    hard_link: Option<HardLink>,
}

impl File {
    fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    fn is_device(&self) -> bool {
        matches!(self.kind(), libc::S_IFBLK | libc::S_IFCHR)
    }

    fn add_to(&self, segment: &mut Segment) {
        let (dir, base, slash) = split_path(self.path.as_bytes());
        let dir = segment.dir(dir, slash, 0, Speaker::Sender).unwrap();
        let is_dir = self.kind() == libc::S_IFDIR;
        let is_file = self.kind() == libc::S_IFREG;
        let attributes = Attributes {
            flags: if is_dir { Flags(self.flags) } else { Flags::NONE },
            mode: self.mode,
            size: if is_dir || is_file || self.kind() == libc::S_IFLNK { self.size } else { 0 },
            mtime: self.mtime,
            atime: (!is_dir).then_some(self.atime),
            uid: self.ids.0,
            gid: self.ids.1,
            rdev: if self.is_device() { self.rdev } else { (0, 0) },
            link_target: if self.kind() == libc::S_IFLNK { self.target.as_bytes() } else { &[] },
            sum: if is_file { b"0123456789abcdef" } else { &[] },
            acls: None,
            xattrs: None,
            hard_link: self.hard_link,
        };
        segment.push(dir, base, &attributes, Speaker::Sender).unwrap();
    }

    /// As the other side must see it.
    fn check(&self, entry: Entry<'_>, version: u8, checksum: bool) {
        assert_eq!(entry.path(), self.path.as_bytes());
        assert_eq!(entry.mode(), self.mode);
        let mtime = if version < 30 { i64::from(self.mtime.0 as u32) } else { self.mtime.0 };
        assert_eq!(entry.mtime(), (mtime, if version < 31 { 0 } else { self.mtime.1 }), "{self:?}");
        assert_eq!((entry.uid(), entry.gid()), self.ids);
        match self.kind() {
            libc::S_IFDIR => {
                let flags = if version < 30 { Flags::TOP_DIR.0 & self.flags } else { self.flags };
                assert_eq!(entry.flags().0 & flags, flags);
            }
            libc::S_IFLNK => assert_eq!(entry.link_target(), self.target.as_bytes()),
            libc::S_IFREG => {
                assert_eq!(entry.size(), self.size);
                assert_eq!(entry.sum(), checksum.then_some(&b"0123456789abcdef"[..]));
            }
            _ if self.is_device() => {
                let minor = if version < 28 { self.rdev.1 & 0xfff } else { self.rdev.1 };
                assert_eq!(entry.rdev(), (self.rdev.0, minor));
            }
            _ => assert_eq!(entry.size(), 0),
        }
        assert_eq!(entry.atime(), (!entry.is_dir()).then_some(self.atime));
    }
}

fn encoded(files: &[File], protocol: &Protocol, options: &Options, errors: i32) -> Vec<u8> {
    let (mut out, kept) = Writer::into_memory();
    let mut encoder = Encoder::new(options, protocol, &log()).unwrap();
    let mut segment = Segment::new(i32::from(protocol.compat.inc_recurse), -1);
    files.iter().for_each(|file| file.add_to(&mut segment));
    encoder.entries(&mut out, &segment, 0).unwrap();
    encoder.end_first(&mut out, errors).unwrap();
    out.flush().unwrap();
    kept.lock().unwrap().clone()
}

fn decoded(bytes: &[u8], protocol: &Protocol, options: &Options) -> Result<Received, Error> {
    let mut decoder = Decoder::new(options, protocol, None, None, &log()).unwrap();
    decoder.first(&mut Reader::over(bytes))
}

fn any_file() -> impl Strategy<Value = File> {
    let kind = prop::sample::select(vec![
        libc::S_IFREG,
        libc::S_IFREG,
        libc::S_IFREG,
        libc::S_IFDIR,
        libc::S_IFLNK,
        libc::S_IFCHR,
        libc::S_IFBLK,
        libc::S_IFIFO,
        libc::S_IFSOCK,
    ]);
    let name = prop_oneof!["[ab]{1,3}(/[ab]{1,3}){0,3}", "[a-c]{200,255}(/x){0,40}", "\\PC{1,20}"];
    let flags = prop::sample::select(vec![0, 4, 5, 64]);
    let time = prop_oneof![Just(5i64), -10_000_000_000i64..10_000_000_000, 0..0x7fff_ffffi64];
    let size = prop_oneof![0..100u64, 0..1u64 << 40];
    let small = prop::sample::select(vec![0u32, 1, 7, 300]);
    (
        (name, flags, kind, 0..0o7777u32, size),
        (time.clone(), 0..1_000_000_000u32, time, (small.clone(), small), (0..4u32, 0..600u32), "[a-z/.]{1,300}"),
    )
        .prop_map(|((name, flags, kind, mode, size), (mtime, nsec, atime, ids, rdev, target))| {
            let path = name.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect::<Vec<_>>().join("/");
            let path = path.replace('\0', "0");
            let path = if path.is_empty() { "x".into() } else { path };
            File {
                path,
                flags,
                mode: kind | mode,
                size,
                mtime: (mtime, nsec),
                atime,
                ids,
                rdev,
                target,
                hard_link: None,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_read(
        files in prop::collection::vec(any_file(), 0..12),
        version in 27u8..=32,
        checksum: bool,
        errors in 0i32..4,
    ) {
        let mut files = files;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        let (protocol, options) = (protocol(version, false), options(checksum));
        let bytes = encoded(&files, &protocol, &options, errors);
        let Received { segment, io_error } = decoded(&bytes, &protocol, &options).unwrap();
        let silent = version == 30; // a message of its own
        prop_assert_eq!(io_error, if silent { 0 } else { errors });
        let mut expected = Segment::new(0, -1);
        files.iter().for_each(|file| file.add_to(&mut expected));
        order::sort(&mut expected, Order::of(version));
        prop_assert_eq!(segment.len(), files.len());
        for (at, (_, entry)) in segment.entries().enumerate() {
            prop_assert_eq!(entry.path(), expected.entry(at).path());
            let file = files.iter().find(|file| file.path.as_bytes() == entry.path()).unwrap();
            file.check(entry, version, checksum);
        }
        for cut in 0..bytes.len() {
            prop_assert!(decoded(&bytes[..cut], &protocol, &options).is_err(), "cut at {}", cut);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), version in 27u8..=32, inc: bool) {
        let (protocol, options) = (protocol(version, inc), options(version % 2 == 0));
        let _ = decoded(&bytes, &protocol, &options);
    }

    #[test]
    fn a_damaged_list_is_survived(
        files in prop::collection::vec(any_file(), 1..8),
        version in 27u8..=32,
        at: prop::sample::Index,
        to: u8,
    ) {
        let (protocol, options) = (protocol(version, false), options(true));
        let mut bytes = encoded(&files, &protocol, &options, 0);
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(received) = decoded(&bytes, &protocol, &options) {
            for (_, entry) in received.segment.entries() {
                let path = entry.path();
                prop_assert!(path.split(|&byte| byte == b'/').all(|part| part != b".."));
                prop_assert!(!path.starts_with(b"/"));
            }
        }
    }
}

fn plain(path: &str, mode: u32) -> File {
    File {
        path: path.into(),
        flags: 0,
        mode,
        size: 3,
        mtime: (7, 0),
        atime: 7,
        ids: (0, 0),
        rdev: (0, 0),
        target: "t".into(),
        hard_link: None,
    }
}

/// `-H` besides.
fn with_links() -> Options {
    Options { hard_links: 1, ..options(true) }
}

#[test]
fn groups_of_hard_links_travel() {
    let file = libc::S_IFREG | 0o644;
    for version in 27..=32 {
        let protocol = protocol(version, false);
        let link = |first: i32, inode: u64| {
            Some(if version < 30 { HardLink::Inode(1 + inode / 10, inode) } else { HardLink::Group(first) })
        };
        let with = |path: &str, mode, hard_link| File { hard_link, ..plain(path, mode) };
        let single = if version < 28 { link(9, 99) } else { None };
        let files = [
            with("z", file, link(0, 5)),
            with("alone", file, single),
            with("l1", libc::S_IFLNK | 0o777, if version < 28 { None } else { link(2, 16) }),
            with("b", file, link(0, 5)),
            with("l2", libc::S_IFLNK | 0o777, if version < 28 { None } else { link(2, 16) }),
            with("a", file, link(0, 5)),
        ];
        let received = decoded(&encoded(&files, &protocol, &with_links(), 0), &protocol, &with_links()).unwrap();
        let segment = received.segment;
        let group = |name: &str| {
            let (_, entry) = segment.entries().find(|(_, entry)| entry.path() == name.as_bytes()).unwrap();
            files.iter().find(|file| file.path == name).unwrap().check(entry, version, true);
            assert_eq!(entry.flags().has(Flags::HLINKED), entry.hard_link().is_some());
            entry.hard_link().map(|(_, group)| group)
        };
        assert!(group("z").is_some() && group("z") == group("a") && group("z") == group("b"), "protocol {version}");
        assert_eq!(group("l1"), group("l2"));
        assert!(group("l1") != group("z") && (group("alone").is_some() == (version < 28)));
    }
}

#[test]
fn references_to_first_names_lie_within_the_list() {
    let (protocol, options) = (protocol(32, false), with_links());
    for first in [-1, 1, 2, i32::MAX, i32::MIN] {
        let files =
            [plain("a", libc::S_IFREG), File { hard_link: Some(HardLink::Group(first)), ..plain("b", libc::S_IFREG) }];
        let bytes = encoded(&files, &protocol, &options, 0);
        if first == 1 {
            decoded(&bytes, &protocol, &options).unwrap(); // it is the first itself
            continue;
        }
        let error = decoded(&bytes, &protocol, &options).unwrap_err();
        let line = format!("hard-link reference out of range: {first} (1)");
        assert_eq!((error.code, error.message), (ExitCode::PROTOCOL, line.into_bytes()));
    }
    // one that is no first name, and no file even, may be referred to: the entry becomes the same
    let files = [plain("a", libc::S_IFDIR), File { hard_link: Some(HardLink::Group(0)), ..plain("b", libc::S_IFREG) }];
    let segment = decoded(&encoded(&files, &protocol, &options, 0), &protocol, &options).unwrap().segment;
    assert!(segment.entries().all(|(_, entry)| entry.is_dir() && entry.hard_link().is_none()));
}

fn refusal(files: &[File], relative: bool, inc: bool, requested: Option<Requested>) -> (ExitCode, String) {
    let (protocol, options) = (protocol(32, inc), Options { relative, ..options(false) });
    let bytes = encoded(files, &protocol, &options, 0);
    let mut decoder = Decoder::new(&options, &protocol, None, requested, &log()).unwrap();
    let error = decoder.first(&mut Reader::over(bytes)).unwrap_err();
    (error.code, String::from_utf8(error.message).unwrap())
}

#[test]
fn paths_that_lead_out_are_refused() {
    let file = libc::S_IFREG | 0o644;
    for path in ["../x", "a/../../x", "/etc/passwd", "..", "a/.."] {
        let (code, line) = refusal(&[plain(path, file)], false, false, None);
        assert_eq!((code, line), (ExitCode(4), format!("ABORTING due to unsafe pathname from sender: {path}")));
    }
    let (code, _) = refusal(&[plain("/a/../b", file)], true, false, None);
    assert_eq!(code, ExitCode(4));
    let (code, line) = refusal(&[plain("elsewhere/x", file)], false, true, None);
    assert_eq!((code, line.as_str()), (ExitCode(4), "ABORTING due to invalid path from sender: elsewhere/x"));
}

#[test]
fn what_our_own_rules_leave_out_is_refused() {
    let (protocol, mut options) = (protocol(32, false), options(false));
    options.add_filter(FilterArg::Filter(b"- *.o".to_vec()));
    options.add_filter(FilterArg::Filter(b"P *.c".to_vec()));
    let bytes = encoded(&[plain("a.c", libc::S_IFREG | 0o644), plain("a.o", 0o100_644)], &protocol, &options, 0);
    let first = |per_dir: &[u8]| {
        let mut options = options.clone();
        options.add_filter(FilterArg::Filter(per_dir.to_vec()));
        let mut decoder = Decoder::new(&options, &protocol, None, None, &log()).unwrap();
        decoder.keep_to(Filters::from_options(&options, &log()).unwrap());
        decoder.first(&mut Reader::over(bytes.clone()))
    };
    let error = first(b"+ *").unwrap_err();
    assert_eq!((error.code, &*error.message), (ExitCode(4), &b"ERROR: rejecting excluded file-list name: a.c"[..]));
    assert!(first(b": .rules").is_ok(), "what a per-directory file says only the sender knows");
}

#[test]
fn entries_that_make_no_sense_are_refused() {
    let (code, line) = refusal(&[plain(".", libc::S_IFREG | 0o644)], false, false, None);
    assert_eq!((code, line.as_str()), (ExitCode(2), "ERROR: rejecting non-directory transfer-root entry: ."));
    let (code, line) = refusal(&[plain("x", 0o150_644)], false, false, None);
    assert_eq!((code, line.as_str()), (ExitCode(2), "invalid file mode 0150644 for x [receiver]"));
    let huge = File { size: u64::MAX, ..plain("x", libc::S_IFREG) };
    assert_eq!(refusal(&[huge], false, false, None).1, "Offset underflow: file-length is negative");
}

#[test]
fn what_was_not_asked_for_is_refused() {
    let requested = Requested::new(&options(false));
    requested.add(b"host/tree", false, &log());
    let file = libc::S_IFREG | 0o644;
    let files = [plain("tree", libc::S_IFDIR | 0o755), plain("tree/x", file), plain(".bashrc", file)];
    let (code, line) = refusal(&files, false, false, Some(requested.clone()));
    assert_eq!((code, line.as_str()), (ExitCode(4), "ERROR: rejecting unrequested file-list name: .bashrc"));
}

#[test]
fn segments_belong_to_known_directories_once() {
    let (protocol, options) = (protocol(32, true), options(false));
    let (mut out, kept) = Writer::into_memory();
    let mut encoder = Encoder::new(&options, &protocol, &log()).unwrap();
    let mut top = Segment::new(1, -1);
    for (name, mode) in [(".", libc::S_IFDIR), ("a", libc::S_IFDIR), ("f", libc::S_IFREG)] {
        plain(name, mode | 0o755).add_to(&mut top);
    }
    encoder.entries(&mut out, &top, 0).unwrap();
    encoder.end_first(&mut out, 0).unwrap();
    let mut inner = Segment::new(5, 1);
    plain("a/g", libc::S_IFREG | 0o644).add_to(&mut inner);
    for errors in [0, io_error::VANISHED] {
        encoder.entries(&mut out, &inner, 0).unwrap();
        encoder.end_extra(&mut out, errors, 0).unwrap();
    }
    out.flush().unwrap();

    let mut decoder = Decoder::new(&options, &protocol, None, None, &log()).unwrap();
    let mut from = Reader::over(kept.lock().unwrap().clone());
    let top = decoder.first(&mut from).unwrap().segment;
    assert_eq!((top.first_index, top.parent), (1, 0));
    assert_eq!(top.get(0).unwrap().path(), b".");
    let paths: Vec<_> = top.entries().map(|(index, entry)| (index, entry.path())).collect();
    assert_eq!(paths, [(1, b".".to_vec()), (2, b"f".to_vec()), (3, b"a".to_vec())]);

    let inner = decoder.contents_of(&mut from, 1).unwrap();
    assert_eq!((inner.segment.first_index, inner.segment.parent, inner.io_error), (5, 1, 0));
    assert_eq!(inner.segment.get(4).unwrap().path(), b"a");
    assert_eq!(inner.segment.get(5).unwrap().path(), b"a/g");
    let line = |error: Error| String::from_utf8(error.message).unwrap();
    let again = decoder.contents_of(&mut from, 1).unwrap_err();
    assert_eq!(line(again), "rsync: refusing malicious duplicate flist for dir 1");
    let unknown = decoder.contents_of(&mut from, 2).unwrap_err();
    assert_eq!(line(unknown), "Invalid dir index: -103 (-101 - -102) [receiver]");
    assert!(decoder.contents_of(&mut from, i32::MIN).is_err());
}

#[test]
fn names_of_users_travel_both_ways() {
    for (version, inc) in [(27, false), (29, false), (30, true), (31, false), (32, false), (32, true)] {
        let protocol = protocol(version, inc);
        let options = Options { numeric_ids: false, ..options(false) };
        let mapped = Options { usermap: Some(b"root:77,daemon:88".to_vec()), ..options.clone() };
        let mut files = vec![plain("a", libc::S_IFREG), plain("b", libc::S_IFREG), plain("c", libc::S_IFREG)];
        files[1].ids = (1, 0);
        files[2].ids = (1, 1);
        let bytes = encoded(&files, &protocol, &options, 0);
        let received = decoded(&bytes, &protocol, &mapped).unwrap().segment;
        let ids: Vec<_> = received.entries().map(|(_, entry)| (entry.uid(), entry.gid())).collect();
        assert_eq!(ids, [(77, 0), (88, 0), (88, 1)], "protocol {version} {inc}");
    }
}

#[test]
fn before_30_what_lies_below_a_top_directory_has_contents() {
    let dir = libc::S_IFDIR | 0o755;
    let top = |path: &str| File { flags: Flags::TOP_DIR.0 | Flags::CONTENT_DIR.0, ..plain(path, dir) };
    let files = [plain("a", dir), top("a/b"), plain("a/b/c", dir), plain("a/d", dir)];
    for version in [27, 29] {
        let options = Options { relative: true, ..options(false) };
        let protocol = protocol(version, false);
        let segment = decoded(&encoded(&files, &protocol, &options, 0), &protocol, &options).unwrap().segment;
        let content: Vec<_> = segment.entries().map(|(_, entry)| entry.flags().has(Flags::CONTENT_DIR)).collect();
        assert_eq!(content, [false, true, true, false], "protocol {version}");
    }
}

fn named(path: &str) -> File {
    File {
        path: path.into(),
        flags: 0,
        mode: libc::S_IFREG | 0o644,
        size: 1,
        mtime: (1000, 0),
        atime: 5,
        ids: (0, 0),
        rdev: (0, 0),
        target: String::new(),
        hard_link: None,
    }
}

fn received_in(set: &str, names: &[&str]) -> Result<Vec<(i32, Vec<u8>)>, Error> {
    let (protocol, plain) = (protocol(32, false), options(false));
    let bytes = encoded(&names.iter().map(|name| named(name)).collect::<Vec<_>>(), &protocol, &plain, 0);
    let converting = Options { iconv: Some(set.into()), ..plain };
    let received = decoded(&bytes, &protocol, &converting)?;
    Ok(received.segment.entries().map(|(index, entry)| (index, entry.path())).collect())
}

#[test]
fn converted_names_keep_the_numbers_with_which_they_came() {
    let names = received_in("iso-8859-1", &["ÿ", "b", "é", "a"]).unwrap();
    assert_eq!(names, [(3, b"a".to_vec()), (1, b"b".to_vec()), (2, b"\xe9".to_vec()), (0, b"\xff".to_vec())]);
}

#[test]
fn names_are_checked_as_they_are_after_conversion() {
    // As the bytes of these characters in UTF-16: `../a`, `/etc/pwd`, and one with an end in the middle.
    for bad in ["\u{2e2e}\u{612f}", "\u{652f}\u{6374}\u{702f}\u{6477}"] {
        assert_eq!(received_in("utf-16le", &[bad]).unwrap_err().code, ExitCode::UNSUPPORTED);
    }
    assert_eq!(received_in("utf-16le", &["\u{6261}c"]).unwrap(), [(0, b"abc".to_vec())]);
    let long = "\u{6261}".repeat(1300); // 3 bytes become 2, or 4
    assert_eq!(received_in("utf-16le", &[&long]).unwrap()[0].1.len(), 2600);
    assert_eq!(received_in("utf-32le", &[&long]).unwrap(), [(0, b"".to_vec())], "too long: it takes no part");
    assert_eq!(received_in("ascii", &["é"]).unwrap(), [(0, b"".to_vec())]);
}
