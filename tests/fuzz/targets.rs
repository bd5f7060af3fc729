//! What is done with arbitrary bytes: one function a decoder, used by the fuzzer and by the replay of its corpus.
//!
//! A new target is a function here, a line in `ALL`, and a file in `fuzz_targets/` with its entry in `Cargo.toml`.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use oc_rsync::{
    compress::{Method, Setting},
    error::Result,
    filter::{Filters, Name},
    flist::{
        Entry, Segment,
        codec::Encoder,
        order::{self, Order},
        receive::Decoder,
        requested::Requested,
    },
    hash::Algorithm,
    log::{Log, LogCode, Sink, Speaker},
    meta::xattr,
    options::{Delete, Dirs, FilterArg, Levels, Options, Super},
    proto::{
        Compat, Protocol, Side, args as proto_args, filters as proto_filters, handshake as proto_handshake,
        item::Item,
        ndx::Indexes,
        stats::{DeleteStats, FinalStats},
        sums::{SumHead, Sums, write_block},
        token::{Token, TokenReader},
    },
    text::wildmatch::wildmatch,
    wire::{Message, Pulse, ReadHalf, Reader, Rules, Writer},
};

pub type Target = fn(&[u8]);

pub const ALL: &[(&str, Target)] = &[
    ("ints", ints),
    ("frames", frames),
    ("handshake", handshake),
    ("indexes", indexes),
    ("items", items),
    ("sums", sums),
    ("tokens", tokens),
    ("deflated", deflated),
    ("args", args),
    ("filters", filters),
    ("stats", stats),
    ("lists", lists),
    ("patterns", patterns),
    ("batches", batches),
    ("xattrs", xattrs),
];

/// The bytes in pieces of one size, as a slow peer would send them.
struct Pieces(VecDeque<Vec<u8>>);

impl ReadHalf for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut piece) = self.0.pop_front() else { return Ok(0) };
        let len = piece.len().min(buffer.len());
        buffer[..len].copy_from_slice(&piece[..len]);
        if len < piece.len() {
            self.0.push_front(piece.split_off(len));
        }
        Ok(len)
    }

    fn ready(&mut self) -> bool {
        true
    }

    fn set_timeout(&mut self, _: Option<Duration>) {}
}

/// A leading byte that decides how the rest is read.
fn settings(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}

/// 27 to 32.
fn version(setting: u8) -> u8 {
    27 + setting % 6
}

fn written(write: impl FnOnce(&mut Writer) -> Result<()>) -> Vec<u8> {
    let (mut writer, kept) = Writer::into_memory();
    write(&mut writer).expect("memory takes all");
    writer.flush().expect("memory takes all");
    std::mem::take(&mut *kept.lock().expect("one thread"))
}

/// The integers: what was read is written and read again as the same.
pub fn ints(data: &[u8]) {
    let mut reader = Reader::over(data);
    let mut step = || -> Result<()> {
        match reader.byte()? % 8 {
            0 => {
                let value = reader.varint()?;
                assert_eq!(Reader::over(written(|writer| writer.varint(value))).varint()?, value);
            }
            kind @ 1..=5 => {
                let min = usize::from(kind) + 2;
                let value = reader.varlong(min)?;
                assert_eq!(Reader::over(written(|writer| writer.varlong(value, min))).varlong(min)?, value);
            }
            6 => {
                let value = reader.longint()?;
                assert_eq!(Reader::over(written(|writer| writer.longint(value))).longint()?, value);
            }
            _ => {
                let value = reader.vstring(300)?;
                assert_eq!(Reader::over(written(|writer| writer.vstring(&value))).vstring(300)?, value);
            }
        }
        Ok(())
    };
    while step().is_ok() {}
}

/// The demultiplexer: data and messages are the same however the bytes arrive.
pub fn frames(data: &[u8]) {
    let (setting, data) = settings(data);
    let rules = Rules {
        peer_sends: setting & 1 != 0,
        peer_serves: setting & 2 != 0,
        local: setting & 4 != 0,
        inc_recurse: setting & 8 != 0,
    };
    let read = |size: usize| {
        let half = Pieces(data.chunks(size).map(<[u8]>::to_vec).collect());
        let mut reader = Reader::new(Box::new(half), Pulse::default(), "sender");
        let messages = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&messages);
        let handler = move |message: Message<'_>| {
            into.lock().expect("one thread").push(format!("{message:?}"));
            Ok(())
        };
        reader.multiplex(rules, Box::new(handler));
        let mut got = Vec::new();
        let end = loop {
            match reader.take(1000) {
                Ok(piece) => got.extend_from_slice(piece),
                Err(error) => break error.code,
            }
        };
        let messages = std::mem::take(&mut *messages.lock().expect("one thread"));
        (got, messages, end)
    };
    let whole = read(1 << 20);
    assert_eq!(whole, read(1 + usize::from(setting >> 4)));
    assert!(whole.0.len() <= data.len());
}

/// The handshake, from either end and with options that matter to it.
pub fn handshake(data: &[u8]) {
    let (setting, data) = settings(data);
    let (info_len, data) = settings(data);
    let (client_info, data) = data.split_at(data.len().min(usize::from(info_len % 16)));
    let side = Side { server: setting & 1 != 0, sends: setting & 2 != 0, local: setting & 4 != 0 };
    let options = Options {
        dirs: if setting & 8 != 0 { Dirs::Recurse } else { Dirs::Skip },
        delete: if setting & 16 != 0 { Delete::After } else { Delete::Never },
        allow_inc_recurse: true,
        client_info: client_info.to_vec(),
        checksum_list: (setting & 32 != 0).then(|| b"xxh3 md5 none".to_vec()),
        checksum_choice: (setting & 64 != 0).then(|| b"auto,sha1".to_vec()),
        ..Options::default()
    };
    let (mut writer, _kept) = Writer::into_memory();
    let mut reader = Reader::over(data);
    let Ok(protocol) = proto_handshake::agree(&mut reader, &mut writer, side, &options, &mut |_, _, _| {}) else {
        return;
    };
    assert!((27..=32).contains(&protocol.version));
    assert!(!protocol.compat.inc_recurse || proto_handshake::may_recurse_incrementally(side, &options));
    let ignore = Box::new(|_: Message<'_>| Ok(()));
    proto_handshake::multiplex(&mut reader, &mut writer, &protocol, side, false, ignore).expect("memory takes all");
    while reader.take(1000).is_ok() {}
}

/// File indexes: a sequence is written and read again as the same.
pub fn indexes(data: &[u8]) {
    let (setting, data) = settings(data);
    let read = |bytes: &[u8]| {
        let mut reader = Reader::over(bytes);
        let mut indexes = Indexes::new(version(setting));
        std::iter::from_fn(|| indexes.read(&mut reader).ok()).collect::<Vec<_>>()
    };
    let all = read(data);
    let again = written(|writer| {
        let mut indexes = Indexes::new(version(setting));
        all.iter().try_for_each(|&index| indexes.write(writer, index))
    });
    assert_eq!(read(&again), all);
}

/// Requests.
pub fn items(data: &[u8]) {
    let (setting, data) = settings(data);
    let version = version(setting).max(29);
    let mut reader = Reader::over(data);
    while let Ok(item) = Item::read(&mut reader, version) {
        let again = written(|writer| item.write(writer, version));
        assert_eq!(Item::read(&mut Reader::over(again), version).ok(), Some(item));
    }
}

/// The sums of a basis.
pub fn sums(data: &[u8]) {
    let (setting, data) = settings(data);
    let sum_len = if setting & 64 != 0 { 16 } else { 1 + usize::from(setting & 31) };
    let mut reader = Reader::over(data);
    let read = |reader: &mut Reader| {
        let head = SumHead::read(reader, version(setting), sum_len)?;
        let limit = if setting & 128 != 0 { u64::MAX } else { 1 << 20 };
        Sums::read(reader, head, limit)
    };
    while let Ok(sums) = read(&mut reader) {
        let SumHead { count, block_len, sum_len, .. } = sums.head;
        assert_eq!(sums.weak.len(), count as usize);
        assert!(sums.head.file_len() <= u64::from(count) * u64::from(block_len));
        let again = written(|writer| {
            sums.head.write(writer)?;
            (0..count).zip(&sums.weak).try_for_each(|(block, &weak)| {
                assert!(sums.head.len_of(block) <= block_len);
                write_block(writer, weak, sums.strong(block), sum_len)
            })
        });
        assert_eq!(read(&mut Reader::over(again)).ok(), Some(sums));
    }
}

/// A file's tokens.
pub fn tokens(data: &[u8]) {
    let (setting, data) = settings(data);
    let mut reader = Reader::over(data);
    let mut tokens = TokenReader::new(setting & 1 != 0, Setting::default());
    let mut literal = 0;
    loop {
        match tokens.next(&mut reader) {
            Ok(Token::Literal { data, .. }) => {
                assert!(!data.is_empty());
                literal += data.len();
            }
            Ok(Token::Match(block)) => assert!(block <= i32::MAX.cast_unsigned()),
            Ok(Token::HandedOver(_) | Token::Whole(_)) => assert_eq!(setting & 1, 1),
            Ok(Token::End) => {}
            Err(_) => break,
        }
    }
    assert!(literal <= data.len());
}

/// A file's tokens in the compressed form, each block of some length that the setting gives.
pub fn deflated(data: &[u8]) {
    let (setting, data) = settings(data);
    let method = [Method::Zlib, Method::Zlibx, Method::Lz4, Method::Zstd][usize::from(setting & 3)];
    let repeats = setting & 4 != 0;
    let mut reader = Reader::over(data);
    let mut tokens = TokenReader::new(false, Setting { method, repeats, ..Setting::default() });
    let matched = vec![setting; usize::from(setting >> 3) << 12];
    loop {
        match tokens.next(&mut reader) {
            Ok(Token::Literal { data, run }) => {
                assert!((1..=256 << 10).contains(&data.len()));
                assert_eq!(run, Some(data.len()));
            }
            Ok(Token::Match(block)) => {
                assert!(block < i32::MAX.cast_unsigned());
                if tokens.show(&matched).is_err() {
                    break;
                }
            }
            Ok(Token::End) => {}
            Ok(Token::HandedOver(_) | Token::Whole(_)) => panic!("only within a process"),
            Err(_) => break,
        }
    }
}

/// Secluded arguments.
pub fn args(data: &[u8]) {
    let Ok(args) = proto_args::receive(&mut Reader::over(data)) else { return };
    let again = written(|writer| proto_args::send(writer, &args));
    assert_eq!(proto_args::receive(&mut Reader::over(again)).ok(), Some(args));
}

/// Filter rules, on the wire and as a client's: what it would not take from a server, the server leaves out.
pub fn filters(data: &[u8]) {
    let Ok(rules) = proto_filters::receive(&mut Reader::over(data)) else { return };
    let again = written(|writer| proto_filters::send(writer, &rules));
    assert!(data.starts_with(&again));
    let names_a_file = |rule: &Vec<u8>| matches!(rule.first(), Some(b'.' | b'm')); // which would be read
    let (version, log) = (32 - (rules.len() % 6) as u8, Log::new(Levels::default(), Arc::new(Deaf), Speaker::Server));
    let protocol = Protocol {
        version,
        remote_version: version,
        compat: Compat::default(),
        checksum_seed: 1,
        transfer_sum: Algorithm::Md5,
        list_sum: Algorithm::Md5,
        compression: Default::default(),
    };
    let options = Options { cvs_exclude: data.len().is_multiple_of(7), ..Options::default() };
    let mut client = options.clone();
    rules.iter().filter(|rule| !names_a_file(rule)).for_each(|rule| client.add_filter(FilterArg::Filter(rule.clone())));
    let Ok(mut client) = Filters::from_options(&client, &log) else { return };
    let side = |server| Side { server, sends: server, local: false };
    let mut settled = true;
    let told = written(|writer| {
        let told = client
            .take_side(side(false), &protocol, &options, &log)
            .and_then(|()| client.exchange(side(false), &protocol, &options, &mut Reader::over([]), writer, &log));
        settled = told.is_ok();
        Ok(())
    });
    if !settled {
        return; // too modern
    }
    let Ok(mut server) = Filters::from_options(&options, &log) else { return };
    let mut reader = Reader::over(told);
    written(|writer| {
        let heard = server
            .take_side(side(true), &protocol, &options, &log)
            .and_then(|()| server.exchange(side(true), &protocol, &options, &mut reader, writer, &log));
        settled = heard.is_ok();
        Ok(())
    });
    if !settled {
        return; // `:e x/` leaves out a name that is empty, which no server takes
    }
    for (name, is_dir) in [(&b"a/b/foo"[..], false), (b"foo", true), (b"/x.o", false), (b"-", false)] {
        for start in [&b"/"[..], b"/usr/src"] {
            client.start_at(start);
            server.start_at(start);
            let name = Name::new(name, is_dir);
            assert!(!client.forbids(name, &log) || server.excludes(name, &log));
        }
    }
}

/// Statistics.
pub fn stats(data: &[u8]) {
    let (setting, data) = settings(data);
    let version = version(setting);
    if let Ok(stats) = FinalStats::read(&mut Reader::over(data), version) {
        let again = written(|writer| stats.write(writer, version));
        assert_eq!(FinalStats::read(&mut Reader::over(again), version).ok(), Some(stats));
    }
    if let Ok(stats) = DeleteStats::read(&mut Reader::over(data)) {
        let again = written(|writer| stats.write(writer));
        assert_eq!(DeleteStats::read(&mut Reader::over(again)).ok(), Some(stats));
    }
}

struct Deaf;

impl Sink for Deaf {
    fn line(&self, _: LogCode, _: &[u8]) {}
}

/// Lists of extended attributes, requests for long values and the answers: what was understood can be told again.
pub fn xattrs(data: &[u8]) {
    let (setting, data) = settings(data);
    let super_user = if setting & 2 == 0 { Super::Yes } else { Super::No };
    let options = Options { xattrs: 1 + setting % 2, super_user, ..Options::default() };
    let Some(policy) = xattr::Policy::of(&options, false) else { return };
    let log = Log::new(Levels::default(), Arc::new(Deaf), Speaker::Receiver);
    let (mut reader, mut received) = (Reader::over(data), xattr::Received::new(policy.clone()));
    let (mut told, mut again) = (xattr::Sent::new(&policy, &log), xattr::Received::new(policy));
    while let Ok(list) = received.read(&mut reader, b"file", &log) {
        let wire = written(|writer| told.write(writer, list.as_ref()));
        assert_eq!(again.read(&mut Reader::over(wire), b"file", &log).ok(), Some(list.clone()));
        let Some(list) = list else { continue };
        assert!(!list.difference(&list).differs);
        if xattr::Asked::take(&mut reader, &list, b"file").is_err() {
            return;
        }
        let Ok(asked) = xattr::Asked::read(&mut reader, &list, b"file") else { return };
        let wire = written(|writer| asked.write(writer));
        assert!(
            wire.ends_with(&[0])
                && xattr::Asked::read(&mut Reader::over(wire), &list, b"file").is_err() != asked.is_empty()
        );
    }
}

/// A file list, whole or in segments: names stay inside, the order holds, and what was understood can be told again.
pub fn lists(data: &[u8]) {
    let (setting, data) = settings(data);
    let (more, data) = settings(data);
    let version = version(setting);
    let inc_recurse = version >= 30 && more & 1 != 0;
    let protocol = Protocol {
        version,
        remote_version: version,
        compat: Compat {
            inc_recurse,
            safe_flist: more & 2 != 0,
            varint_flist_flags: version >= 30 && more & 4 != 0,
            id0_names: more & 8 != 0,
            ..Compat::default()
        },
        checksum_seed: 0,
        transfer_sum: Algorithm::Md5,
        list_sum: Algorithm::Xxh3,
        compression: Default::default(),
    };
    let options = Options {
        dirs: Dirs::Recurse,
        owner: true,
        group: true,
        links: true,
        devices: more & 16 != 0,
        specials: true,
        numeric_ids: true,
        relative: more & 32 != 0,
        checksum: more & 64 != 0,
        atimes: u8::from(version >= 28 && more & 128 != 0),
        super_user: Super::Yes,
        hard_links: (setting / 6) & 1,
        iconv: ((setting / 12) & 7 == 7).then(|| b"utf-16le".to_vec()),
        acls: (setting / 12) & 3 == 2,
        ..Options::default()
    };
    let log = Log::new(Levels::default(), Arc::new(Deaf), Speaker::Receiver);
    let decoder = || Decoder::new(&options, &protocol, None, None, &log).expect("no maps");
    let mut reader = Reader::over(data);
    let mut first = decoder();
    let Ok(received) = first.first(&mut reader) else { return };
    check_segment(&received.segment, &options, version);
    // the numbers of groups are those of the list before it was sorted
    let as_sent = |entry: Entry<'_>| entry.is_active() && entry.hard_link().is_none();
    if !options.relative && options.iconv.is_none() && received.segment.entries().all(|(_, entry)| as_sent(entry)) {
        let again = written(|writer| {
            let mut encoder = Encoder::new(&options, &protocol, &log)?;
            encoder.entries(writer, &received.segment, 0)?;
            encoder.end_first(writer, 0)
        });
        let told = decoder().first(&mut Reader::over(again)).expect("our own list");
        assert_eq!(shown(&told.segment), shown(&received.segment));
    }
    while let Ok(dir) = reader.byte() {
        match first.contents_of(&mut reader, dir.into()) {
            Ok(received) => check_segment(&received.segment, &options, version),
            Err(_) => return,
        }
    }
}

fn check_segment(segment: &Segment, options: &Options, version: u8) {
    for (_, entry) in segment.entries().filter(|(_, entry)| entry.is_active()) {
        let path = entry.path();
        assert!(!path.starts_with(b"/") && path.split(|&byte| byte == b'/').all(|part| !matches!(part, b".." | b"")));
        assert!(entry.size() <= i64::MAX as u64 && entry.mtime().1 < 1_000_000_000);
    }
    let active: Vec<_> = segment.entries().map(|(_, entry)| entry).filter(|entry| entry.is_active()).collect();
    let order = Order::of(version);
    // absolute names are sorted as such and lose their root afterwards
    assert!(options.relative || active.is_sorted_by(|a, b| order::compare(*a, *b, order).is_le()));
}

fn shown(segment: &Segment) -> Vec<impl PartialEq + std::fmt::Debug> {
    let active = segment.entries().map(|(_, entry)| entry).filter(|entry| entry.is_active());
    let fields = active.map(|entry| {
        let kind = (entry.mode(), entry.size(), entry.mtime().0, entry.atime(), entry.rdev());
        let ids = (entry.uid(), entry.gid());
        let further = (entry.sum().map(<[u8]>::to_vec), entry.acls().cloned());
        (entry.path(), kind, ids, entry.link_target().to_vec(), further)
    });
    fields.collect()
}

/// Patterns: any is matched in time, and what a client asked for is what it may get.
pub fn patterns(data: &[u8]) {
    let (setting, data) = settings(data);
    let at = memchr(0, data);
    let (pattern, text) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let fits = wildmatch(pattern, text);
    if !pattern.iter().any(|byte| b"*?[\\".contains(byte)) {
        assert_eq!(fits, pattern == text);
    }
    let log = Log::new(Levels::default(), Arc::new(Deaf), Speaker::Receiver);
    let options = Options { relative: setting & 1 != 0, dirs: Dirs::Recurse, ..Options::default() };
    let requested = Requested::new(&options);
    requested.add(pattern, setting & 2 != 0, &log);
    let allowed = requested.allows(text, setting & 4 != 0, &log);
    assert!(!requested.is_parent_only(text) || allowed || setting & 4 == 0 || matches!(text, b"." | b"/."));
}

fn memchr(byte: u8, data: &[u8]) -> usize {
    data.iter().position(|&other| other == byte).unwrap_or(data.len())
}

/// The head of a batch file, under options that the first byte chooses.
pub fn batches(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let options = Options {
        dirs: if choice & 1 != 0 { Dirs::Recurse } else { Dirs::Skip },
        allow_inc_recurse: choice & 2 != 0,
        protocol: (choice & 4 != 0).then_some(30),
        owner: choice & 8 != 0,
        checksum_choice: (choice & 16 != 0).then(|| b"sha1".to_vec()),
        inplace: choice & 32 != 0,
        ..Options::default()
    };
    let mut changes = 0;
    let mut tell = |_| changes += 1;
    let read = proto_handshake::replay(&mut Reader::over(rest), &options, &mut |_, _, _| {}, &mut tell);
    if let Ok((protocol, matched)) = read {
        assert!((27..=32).contains(&protocol.version));
        assert!(!protocol.compat.inc_recurse || options.recurse());
        assert_eq!(matched.protocol, options.protocol);
    }
    assert!(changes <= 15);
}
