//! The `--server` side, on any two byte halves.

use std::{os::unix::ffi::OsStrExt, sync::Arc};

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    filter::Filters,
    flist::listed::{NameList, Names},
    fs::{UNTRUSTED_LINK, is_untrusted_link},
    log::{Log, LogCode, Speaker, file::LogFile, terminal::Terminal},
    options::{Mode, Options, charset::Charset},
    proto::{Side, args},
    session::{self, Ended, Shelf, Start, finish},
    sys::{poll::Wake, process, signal},
    text::path,
    transport::{Connection, batch::Tape, pair::Taker},
    wire::Reader,
};

/// The voice of a side before it has a role: on the terminal, and into the log file if there is one.
pub fn voice(options: &Options, speaker: Speaker) -> Log {
    let terminal = Arc::new(Terminal::new(options));
    let log = Log::new(options.levels.clone(), terminal, speaker);
    let Some(path) = &options.log_file else { return log };
    let (file, opened) = LogFile::at(path, options.insecure_links);
    let log = log.recorded(file);
    if let Err(error) = opened {
        if is_untrusted_link(&error) {
            log.say(LogCode::Error, UNTRUSTED_LINK);
        }
        log.syserr(LogCode::Error, bytes!["failed to open log-file ", path], &error);
        if options.quiet == 0 {
            // On a server standard output is the wire.
            let code = if options.is_server() { LogCode::Error } else { LogCode::Info };
            log.say(code, "Ignoring \"log file\" setting.");
        }
    }
    log
}

/// Serves the client at our standard input and output; the exit status. C: main.c start_server
pub fn run(options: &Options, filters: Filters, log: &Log) -> ExitCode {
    serve(options, filters, log).unwrap_or_else(|error| {
        finish::tell(log, &error);
        error.code
    })
}

fn serve(options: &Options, filters: Filters, log: &Log) -> Result<ExitCode> {
    let failed = |error| session::ipc("eventfd", &error);
    let umask = process::take_umask();
    let wake = Wake::new().map_err(failed)?;
    signal::install(&wake).map_err(failed)?;
    if let Some(moment) = options.stop_at {
        signal::alarm_at(moment).map_err(|error| session::ipc("timer", &error))?;
    }
    let sends = options.mode == Mode::ServerSender;
    let paths = paths(options, sends)?;
    let names = names(options, sends, &wake, log)?;
    let Connection { read, write, .. } = Connection::stdio(&wake).map_err(|error| session::ipc("stdio", &error))?;
    let ended = session::run(Start {
        options,
        side: Side { server: true, sends, local: false },
        read,
        write,
        shelf: Shelf::None,
        umask,
        log,
        wake: &wake,
        paths,
        sources: Vec::new(),
        names,
        filters,
        secluded: None,
        tape: Tape::None,
    });
    Ok(ended.code)
}

/// The arguments of a client that sends them over the wire (`-s`). C: main.c, am_server with protect_args
pub fn read_args(options: &Options) -> Result<Vec<Vec<u8>>> {
    let mut from_wire = Charset::of(options).map(|charset| Ok(charset.open()?.1)).transpose()?;
    let wake = Wake::new().map_err(|error| session::ipc("eventfd", &error))?;
    let Connection { read, .. } = Connection::stdio(&wake).map_err(|error| session::ipc("stdio", &error))?;
    // Nothing may be read beyond the arguments: what follows belongs to the session.
    let mut args = args::receive(&mut Reader::unbuffered(read, "server"))?;
    if let Some(text) = &mut from_wire {
        args.iter_mut().for_each(|arg| *arg = text.as_far_as_possible(arg));
    }
    Ok(args)
}

/// Where the names come from that the client's `--files-from` means; `-` is the client itself.
fn names(options: &Options, sends: bool, wake: &Wake, log: &Log) -> Result<Names> {
    match options.files_from.as_deref() {
        None => Ok(Names::Arguments),
        Some(b"-") if sends => Ok(Names::FromPeer),
        Some(b"-") => Err(Error::new(ExitCode::SYNTAX, "rsync: --files-from=- is for a server that sends")),
        Some(path) => Ok(Names::Listed(NameList::open(path, options, wake, log)?)),
    }
}

/// Sources or destination, seen from where the client said we should start. C: main.c do_server_sender
fn paths(options: &Options, sends: bool) -> Result<Vec<Vec<u8>>> {
    let base = match options.base_dir.as_slice() {
        b"" | b"." => None,
        dir => Some(dir),
    };
    let place = |arg: &[u8]| match base {
        Some(base) if !(arg.starts_with(b"/") || sends && options.relative) => path::join(base, arg),
        _ => arg.to_vec(),
    };
    let mut paths: Vec<_> = options.args.iter().map(|arg| place(arg.as_bytes())).collect();
    if paths.is_empty() {
        if sends && options.dirs == crate::options::Dirs::Skip && !options.list_only {
            return Err(Error::new(ExitCode::SYNTAX, "ERROR: do_server_sender called without args").by("sender"));
        }
        paths.push(base.unwrap_or(b".").to_vec());
    }
    Ok(paths)
}

/// The receiving end of a local copy.
pub struct Local<'a> {
    pub options: &'a Options,
    pub connection: Connection,
    /// Not where a batch file shall have the data, nor between processes.
    pub taker: Option<Taker>,
    pub dest: Vec<u8>,
    pub filters: Filters,
    pub log: Log,
    pub wake: &'a Wake,
    pub umask: u32,
}

/// Serves the client in this process, or in one that was forked for it.
pub fn local(at: Local<'_>) -> Ended {
    session::run(Start {
        options: at.options,
        side: Side { server: true, sends: false, local: true },
        read: at.connection.read,
        write: at.connection.write,
        shelf: at.taker.map_or(Shelf::None, Shelf::Taker),
        umask: at.umask,
        log: &at.log,
        wake: at.wake,
        paths: vec![at.dest],
        sources: Vec::new(),
        names: Names::Arguments,
        filters: at.filters,
        secluded: None,
        tape: Tape::None,
    })
}
