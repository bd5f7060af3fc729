//! One transfer over one connection, from handshake to goodbye.

mod copy_as;
pub mod finish;
mod listen;
mod receive;
mod send;
mod voice;

use std::{io, sync::Arc};

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    filter::Filters,
    flist::{io_error, listed::Names, record_sizes},
    log::{Log, LogCode, Speaker},
    options::{
        Debug, Info, Options, Stderr,
        charset::{Charset, Text},
    },
    proto::{Side, args, handshake},
    report::summary::{Stats, heap_lines},
    role::{Transfer, sender::Arrivals},
    sys::{heap::heap, poll::Wake},
    transport::{
        batch::Tape,
        pair::{Giver, Taker},
        shell::args_line,
    },
    wire::{Pulse, ReadHalf, Reader, Watch, WriteHalf, Writer, read},
};

use listen::{Heard, Listener};
use voice::PeerSink;

/// The side channel of a local copy, over which open files are handed.
pub enum Shelf {
    None,
    Giver(Giver),
    Taker(Taker),
}

/// Everything a session starts from.
pub struct Start<'a> {
    pub options: &'a Options,
    pub side: Side,
    pub read: Box<dyn ReadHalf>,
    pub write: Box<dyn WriteHalf>,
    pub shelf: Shelf,
    /// What `take_umask` returned.
    pub umask: u32,
    /// Our own voice: on the terminal, or a server's stderr.
    pub log: &'a Log,
    pub wake: &'a Wake,
    /// On a sender the sources, on a receiver the destination; without host.
    pub paths: Vec<Vec<u8>>,
    /// On a receiving client: what it asked the server for.
    pub sources: Vec<Vec<u8>>,
    /// Where further names come from: on a sender they are transferred, on a receiver passed on to the sender.
    pub names: Names,
    /// The rules of the command line.
    pub filters: Filters,
    /// With `-s`: what the server is to be told before anything else.
    pub secluded: Option<Vec<Vec<u8>>>,
    /// The batch file of a client that has one.
    pub tape: Tape,
}

/// How a session ended. Everything was said, except what a client says last: that the connection broke, which waits
/// for what the remote shell has to say of it, summary and closing line.
#[derive(Debug)]
pub struct Ended {
    /// Of a run that came to its end: whether everything could be transferred.
    pub code: ExitCode,
    /// The counts of a run that came to its regular end.
    pub stats: Option<Stats>,
    /// What crossed the wire until the very end.
    pub traffic: Traffic,
    pub protocol: u8,
    /// Who says the closing line.
    pub speaker: Speaker,
    /// The peer closed the connection before its time: the remote shell may know why.
    pub lost: bool,
    /// Why a client's session failed: what has not been said of it, and the closing line, are to be said once the far
    /// side's exit status is known.
    pub unclosed: Option<Error>,
}

/// Bytes that crossed the wire, and those of the files in the list as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    pub sent: u64,
    pub received: u64,
    pub listed: u64,
}

/// A session after its handshake.
struct Link<'a> {
    start: Parts<'a>,
    transfer: Transfer,
    reader: Reader,
    writer: Writer,
    log: Log,
    heard: Arc<Heard>,
    filters: Filters,
    /// A server's way to the client.
    voice: Option<PeerSink>,
    /// With `--remove-source-files` on the sender: what the receiving side has.
    arrived: Option<Arrivals>,
    /// A batch file, until what is kept in it begins.
    tape: Tape,
}

/// What of the `Start` lives as long as the session.
struct Parts<'a> {
    wake: &'a Wake,
    side: Side,
    shelf: Shelf,
    paths: Vec<Vec<u8>>,
    sources: Vec<Vec<u8>>,
    names: Names,
}

/// Runs a whole session.
pub fn run(start: Start<'_>) -> Ended {
    let speaker = match (start.side.sends, start.side.server) {
        (true, _) => Speaker::Sender,
        (false, _) => Speaker::ReceiverStart,
    };
    let log = start.log.speaking_as(speaker);
    let side = start.side;
    let server = side.server;
    let mut link = match open(start, log.clone()) {
        Ok(link) => link,
        Err(error) => {
            let mut error = error.by(speaker.name());
            if error.code == ExitCode::SIGNAL {
                finish::explain(&mut error, side);
            }
            if server && side.local && read::is_close(&error) {
                return Ended::failed(error, 0, speaker, server, Traffic::default()); // the client says why it left
            }
            finish::say(&log, &mut error, server);
            if server {
                finish::tell_code(&log, &error, None);
            }
            return Ended::failed(error, 0, speaker, server, Traffic::default());
        }
    };
    let done = if link.start.side.sends { send::run(&mut link) } else { receive::run(&mut link) };
    let done = done.and_then(|stats| end_of_batch(&mut link).map(|()| stats));
    let protocol = link.transfer.protocol.version;
    let traffic = Traffic::of(&link, done.as_ref().ok());
    match done {
        Ok(stats) => {
            let code = flaws(&link);
            if server && (link.start.side.sends || code == ExitCode::OK) {
                finish::record_traffic(&link.log, &traffic);
            }
            Ended {
                code,
                stats: Some(stats),
                traffic,
                protocol,
                speaker: link.log.speaker(),
                lost: false,
                unclosed: None,
            }
        }
        Err(error) => {
            let mut error = error.by(speaker.name());
            let _ = end_of_batch(&mut link); // that it is not all there is known
            let told = finish::fail(&mut link, &mut error);
            let code = told.unwrap_or(error.code);
            Ended::failed(Error { code, ..error }, protocol, speaker, server || told.is_some(), traffic)
        }
    }
}

impl Traffic {
    fn of(link: &Link<'_>, stats: Option<&Stats>) -> Self {
        let listed = stats.map_or(0, |stats| stats.total_size);
        Self { sent: link.writer.total(), received: link.reader.total(), listed }
    }
}

/// What a batch file has not got yet.
fn end_of_batch(link: &mut Link<'_>) -> Result<()> {
    match (link.writer.copy()?, link.reader.copy()) {
        (Some(copy), _) | (None, Some(copy)) => copy.flush(),
        (None, None) => Ok(()),
    }
}

impl Ended {
    fn failed(error: Error, protocol: u8, speaker: Speaker, closed: bool, traffic: Traffic) -> Self {
        let (code, lost) = (error.code, lost(&error));
        Self { code, stats: None, traffic, protocol, speaker, lost, unclosed: (!closed).then_some(error) }
    }
}

/// Whether the connection broke.
fn lost(error: &Error) -> bool {
    matches!(error.code, ExitCode::STREAM_IO | ExitCode::SOCKET_IO)
}

/// The exit status of a run that reached its end, by what went wrong on the way. C: in cleanup.c _exit_cleanup
fn flaws(link: &Link<'_>) -> ExitCode {
    let errors = link.heard.io_error();
    match () {
        () if errors & io_error::GENERAL != 0 || link.log.transfer_failed() => ExitCode::PARTIAL,
        () if errors & io_error::VANISHED != 0 => ExitCode::VANISHED,
        () if errors & io_error::DEL_LIMIT != 0 => ExitCode::DEL_LIMIT,
        () => ExitCode::OK,
    }
}

/// Shakes hands and begins framing.
fn open(start: Start<'_>, log: Log) -> Result<Link<'_>> {
    let Start {
        options,
        side,
        read,
        write,
        shelf,
        umask,
        log: own,
        wake,
        paths,
        sources,
        names,
        filters,
        secluded,
        mut tape,
    } = start;
    let pulse = Pulse::new(options.timeout);
    let role = log.speaker().name();
    let mut reader = Reader::new(read, pulse.clone(), role);
    let mut writer = Writer::new(throttled(write, options), pulse, role);
    let charset = Charset::of(options);
    let to_wire = charset.as_ref().map(|charset| Ok(charset.open()?.0)).transpose()?;
    let voice = side.server.then(|| PeerSink::new(writer.outbox(), options, own.sink()));
    let log = match &voice {
        Some(voice) => log.into_sink(Arc::new(voice.clone())),
        None => log,
    };
    if let Some(charset) = charset.filter(|_| log.debug(Debug::Iconv) >= 1) {
        log.say(LogCode::Info, bytes!["[", log.speaker().name(), "] charset: ", charset.name()]);
    }
    let watch = watch(&log, options);
    reader.watch(watch.clone());
    writer.watch(watch);
    if let Some(args) = secluded {
        if log.debug(Debug::Cmd) >= 1 {
            log.say(LogCode::Client, args_line("protected args", &args));
        }
        send_args(&mut writer, args, to_wire)?;
    }
    let mut notes = |word, level, line: Vec<u8>| {
        if log.debug(word) >= level {
            log.say(LogCode::Info, line);
        }
    };
    reader.set_counting(false);
    if let Tape::Record(recording) = &mut tape {
        recording.stream.set_role(role);
    }
    let mut matched = None;
    let protocol = if matches!(tape, Tape::Play(_)) {
        let mut tell = |line: Vec<u8>| {
            if log.info(Info::Misc) >= 1 {
                log.say(LogCode::Info, line);
            }
        };
        let (protocol, options) = handshake::replay(&mut reader, options, &mut notes, &mut tell)?;
        matched = Some(options);
        protocol
    } else {
        handshake::agree(&mut reader, &mut writer, side, options, &mut notes)?
    };
    if log.debug(Debug::Flist) >= 4 {
        let (record, extra) = record_sizes();
        log.say(LogCode::Info, format!("FILE_STRUCT_LEN={record}, EXTRA_LEN={extra}"));
    }
    let options = matched.as_ref().unwrap_or(options);
    reader.set_counting(true);
    writer.restart_count();
    let voice = voice.map(|voice| voice.for_protocol(protocol.version));
    let log = match &voice {
        Some(voice) => log.into_sink(Arc::new(voice.clone())),
        None => log,
    };
    let transfer = Transfer::new(options, protocol, side, umask);
    let heard = Arc::<Heard>::default();
    let mut listener = Listener::new(&transfer, log.clone(), Arc::clone(&heard));
    let removes = options.remove_source_files > 0;
    let arrived = (removes && side.sends).then(Arrivals::default);
    if let Some(arrived) = &arrived {
        listener = listener.for_sender(arrived.clone());
    }
    if !transfer.plays() {
        handshake::multiplex(&mut reader, &mut writer, &transfer.protocol, side, removes, Box::new(listener))?;
    }
    let start = Parts { wake, side, shelf, paths, sources, names };
    Ok(Link { start, transfer, reader, writer, log, heard, filters, voice, arrived, tape })
}

/// What tells of the connection (`--debug=io`).
fn watch(log: &Log, options: &Options) -> Watch {
    let told = log.clone();
    let say = move |line| told.say(LogCode::Info, line);
    Watch::new(log.debug(Debug::Io), options.stderr == Stderr::All, say)
}

/// The server's words that were kept off the remote shell's command line.
fn send_args(writer: &mut Writer, args: Vec<Vec<u8>>, to_wire: Option<Text>) -> Result<()> {
    let Some(mut text) = to_wire else { return args::send(writer, args) };
    args::send(writer, args.into_iter().map(|arg| text.as_far_as_possible(&arg)))
}

fn throttled(write: Box<dyn WriteHalf>, options: &Options) -> Box<dyn WriteHalf> {
    match options.bwlimit {
        0 => write,
        limit => Box::new(crate::wire::throttle::Throttle::new(write, limit)),
    }
}

/// What a role says of its memory at its end (`--info=stats3`).
fn tell_heap(log: &Log, server: bool) {
    if log.info(Info::Stats) < 3 {
        return;
    }
    for (code, line) in heap_lines(std::process::id(), server, log.speaker().name(), &heap()) {
        log.say(code, line);
    }
}

/// A system call failed where the reference gives up with exit status 14.
#[track_caller]
pub(crate) fn ipc(what: &str, error: &io::Error) -> Error {
    Error::new(ExitCode::IPC, format!("rsync: {what}: {}", crate::error::errno_text(error)))
}
