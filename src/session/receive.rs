//! The receiving side of a session: the list, the destination, generator and receiver side by side, the goodbye.

use std::{env, os::unix::ffi::OsStringExt, sync::Arc, thread, time::Duration};

use super::{
    Link, PeerSink, Shelf, copy_as, finish,
    listen::Listener,
    send::{ListProgress, exchange_filters},
};
use crate::{
    bytes,
    dest::{
        alternatives::Alternatives,
        places::Places,
        target::{self, Listing, Place, Target},
    },
    error::{Error, ExitCode, Result},
    flist::{
        Segment,
        listed::{self, NameList},
        receive::{Coming, Decoder, Received},
        requested::Requested,
    },
    fs::{Follow, Root},
    log::{LogCode, Speaker},
    meta::Names,
    options::{Debug, Stderr, charset::Charset},
    proto::{
        handshake,
        ndx::{Index, Indexes},
    },
    report::summary::Stats,
    role::{
        Feedback,
        generator::{Generator, Given},
        news::News,
        receiver::{self, Receiver},
        tally::count_list,
        wishes,
    },
    sys::poll::Wake,
    text::mode::Chmod,
    wire::Tag,
};

/// How long a sender that heard our goodbye may take to close.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The list as far as it must be known before the destination is.
struct Beginning {
    decoder: Decoder,
    incoming: Indexes,
    segments: Vec<Arc<Segment>>,
    complete: bool,
    stats: Stats,
}

/// C: main.c do_server_recv, the receiving half of client_run
pub(super) fn run(link: &mut Link<'_>) -> Result<Stats> {
    if link.start.side.server && link.log.debug(Debug::Recv) >= 1 {
        // The reference counts the `.` in front of the destination.
        let count = link.start.paths.len() + 1;
        let line = bytes!["server_recv(", count, ") starting pid=", std::process::id()];
        link.log.say(LogCode::Info, line);
    }
    copy_as::switch(link)?;
    let requested = requested(link);
    exchange_filters(link)?;
    link.writer.flush()?;
    let loud = link.log.clone();
    if link.start.side.server && !mixes(link) && link.transfer.options.stderr != Stderr::All {
        link.log = link.log.without_words();
    }
    let beginning = receive_list(link, requested)?;
    link.log = loud;
    let failed_early = link.log.transfer_failed();
    let nothing = beginning.segments.iter().all(|segment| segment.is_empty());
    if nothing && link.transfer.plays() {
        return Ok(beginning.stats);
    }
    if nothing && !link.start.side.server {
        return Ok(Stats { received: link.reader.total(), sent: link.writer.total(), ..beginning.stats });
    }
    let target = enter(link, &beginning)?;
    let alternatives = Alternatives::open(&link.transfer.options, &target, &link.log);
    let stats = transfer(link, beginning, target, alternatives)?;
    link.log = link.log.speaking_as(Speaker::Generator);
    goodbye(link)?;
    if failed_early && link.start.side.server {
        // The reference's receiver is born with it and ends with it, which its generator takes for a failure.
        finish::tell_code(&link.log, &Error::silent(ExitCode::PARTIAL), None);
        let _ = link.writer.flush(); // the client may have left
    }
    Ok(stats)
}

fn receive_list(link: &mut Link<'_>, requested: Option<Requested>) -> Result<Beginning> {
    let progress = ListProgress::start(link, "receiving", "receiving");
    let (options, protocol) = (&link.transfer.options, &link.transfer.protocol);
    let chmod = options.chmod.as_deref().and_then(|text| Chmod::parse(text, link.transfer.rules.umask));
    let mut decoder = Decoder::new(options, protocol, chmod, requested.clone(), &link.log)?;
    decoder.keep_to(link.filters.clone());
    link.transfer.rules.xattrs.iter().for_each(|policy| decoder.keep_xattrs(policy));
    let before = link.reader.total();
    decoder.on_progress(Box::new(move |coming| match coming {
        Coming::Names(names) => progress.count(names),
        Coming::All(names) => progress.end(names),
    }));
    let first = match std::mem::take(&mut link.start.names) {
        listed::Names::Listed(names) => first_list_for(names, link, requested, &mut decoder)?,
        _ => decoder.first(&mut link.reader)?,
    };
    let lone = first.segment.len() == 1;
    let mut beginning = Beginning {
        decoder,
        incoming: Indexes::new(link.transfer.protocol.version),
        segments: Vec::new(),
        complete: !protocol_is_incremental(link),
        stats: Stats::default(),
    };
    take_in(link, &mut beginning, first);
    if protocol_is_incremental(link) && lone {
        match beginning.incoming.read(&mut link.reader)? {
            Index::ListEnd => {
                beginning.complete = true;
                debug_list(link, || bytes!["[Receiver] flist_eof=1"]);
            }
            Index::Segment(dir) => {
                debug_list(link, || bytes!["[Receiver] receiving flist for dir ", dir]);
                let second = beginning.decoder.contents_of(&mut link.reader, dir)?;
                take_in(link, &mut beginning, second);
            }
            other => return Err(beginning.decoder.no_contents(other.number())),
        }
    }
    beginning.stats.list_size = link.reader.total() - before;
    count_list(&mut beginning.stats, &beginning.decoder.counts());
    Ok(beginning)
}

/// Whether the names that we pass on, if any, travel in frames, so that messages can come between them.
fn mixes(link: &Link<'_>) -> bool {
    matches!(link.start.names, listed::Names::Arguments) || link.transfer.protocol.version >= 31
}

/// Passes a list of names on to the sender while what it makes of them comes in: neither must wait for the other.
fn first_list_for(
    names: NameList,
    link: &mut Link<'_>,
    requested: Option<Requested>,
    decoder: &mut Decoder,
) -> Result<Received> {
    let (reader, writer, log, wake) = (&mut link.reader, &mut link.writer, link.log.clone(), link.start.wake);
    let framed = writer.is_multiplexed();
    let plain = framed && link.transfer.protocol.version < 31;
    let to_wire = Charset::of_names(&link.transfer.options).map(|charset| charset.to_wire()).transpose()?;
    let pass_on = move || {
        if plain {
            writer.pause_multiplex()?;
        }
        names.forward(writer, to_wire, |name| {
            if let Some(requested) = &requested {
                requested.add(name, false, &log);
            }
        })?;
        if plain { writer.multiplex() } else { Ok(()) }
    };
    let (received, passed) = thread::scope(|scope| {
        let passing = thread::Builder::new().name("names".into()).spawn_scoped(scope, pass_on);
        let received = decoder.first(reader);
        if received.is_err() {
            wake.fire();
        }
        let passed = match passing.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(passed)) => passed,
            Ok(Err(_)) => Err(Error::new(ExitCode::CRASHED, "rsync: passing names on failed unexpectedly")),
            Err(error) => Err(super::ipc("thread", &error)),
        };
        (received, passed)
    });
    // A sender that has gone took no more names: why it went comes from the other direction.
    let received = received.map_err(|error| settle(link, error))?;
    passed.map(|()| received)
}

fn debug_list(link: &Link<'_>, line: impl FnOnce() -> Vec<u8>) {
    if link.log.debug(Debug::Flist) >= 3 {
        link.log.say(LogCode::Info, line());
    }
}

fn protocol_is_incremental(link: &Link<'_>) -> bool {
    link.transfer.protocol.compat.inc_recurse
}

fn take_in(link: &Link<'_>, beginning: &mut Beginning, received: Received) {
    link.heard.add_io_error(received.io_error);
    beginning.segments.push(Arc::new(received.segment));
}

/// What a client asked for, where the sender is not trusted to keep to it.
fn requested(link: &Link<'_>) -> Option<Requested> {
    let options = &link.transfer.options;
    if link.start.side.server || link.start.side.local || options.trust_sender || options.trust_sender_args {
        return None;
    }
    let requested = Requested::new(options);
    if matches!(link.start.names, listed::Names::Arguments) {
        link.start.sources.iter().for_each(|source| requested.add(source, false, &link.log));
    }
    Some(requested)
}

/// Opens the destination. C: main.c get_local_name
fn enter(link: &Link<'_>, beginning: &Beginning) -> Result<Target> {
    let options = &link.transfer.options;
    let first = beginning.segments.first().and_then(|segment| segment.entries().find(|(_, entry)| entry.is_active()));
    let listing = Listing {
        total: beginning.segments.iter().map(|segment| segment.len()).sum(),
        starts_with_dir: first.is_some_and(|(_, entry)| entry.is_dir()),
        starts_with_dot: first.is_some_and(|(_, entry)| entry.base() == b"."),
    };
    let cwd = env::current_dir().map_or_else(|_| Vec::new(), |dir| dir.into_os_string().into_vec());
    let place = Place { options, cwd: &cwd, itemizes: link.transfer.itemize() > 0, umask: link.transfer.rules.umask };
    match link.start.paths.first().filter(|_| !options.list_only) {
        Some(path) => target::enter(path, listing, place, &link.log),
        None => {
            let (root, names) = (Root::open(b".", Follow::Never).ok(), Names { base: cwd, module: None });
            Ok(Target { root, names, single: None, created: false, device: 0, places: Places::default() })
        }
    }
}

/// Runs generator and receiver until both are through. C: main.c do_recv
fn transfer(
    link: &mut Link<'_>,
    beginning: Beginning,
    mut target: Target,
    alternatives: Alternatives,
) -> Result<Stats> {
    let Beginning { mut decoder, incoming, segments, complete, stats } = beginning;
    let (news, feedback) = News::new();
    let watch = super::watch(&link.log, &link.transfer.options);
    let news = news.watched(watch, link.start.side.local);
    let voice = link.voice.clone().map(|voice| voice.for_receiver(news.clone()));
    let given = removals(link, target.device, voice.clone());
    let log = match voice {
        Some(voice) => link.log.into_sink(Arc::new(voice)).speaking_as(Speaker::Receiver),
        None => link.log.speaking_as(Speaker::Receiver),
    };
    decoder.speak_as(&log);
    decoder.call_files(target.names.clone());
    if !link.transfer.plays() {
        let listener = Listener::new(&link.transfer, log.clone(), Arc::clone(&link.heard)).for_receiver(news.clone());
        handshake::multiplex_in(&mut link.reader, &link.transfer.protocol, link.start.side, false, Box::new(listener));
    }
    let (wishes, wanted) = link.transfer.plays().then(wishes::channel).unzip();
    link.reader.set_role("receiver");
    link.writer.set_role("generator");
    let taker = match std::mem::replace(&mut link.start.shelf, Shelf::None) {
        Shelf::Taker(taker) => Some(taker),
        _ => None,
    };
    let root = match &target.root {
        Some(root) => root.try_clone(),
        None => Root::open(b".", Follow::Never), // a dry run does not look
    };
    let root = root.map_err(|error| super::ipc("dup", &error))?;
    if let Some(root) = &target.root {
        target.places = Places::open(root, &link.transfer.options, &link.log)?;
    }
    let generator_log = link.log.speaking_as(Speaker::Generator);
    let wake = link.start.wake;
    let receiver = Receiver {
        transfer: &link.transfer,
        log,
        reader: &mut link.reader,
        incoming,
        decoder,
        generator: news,
        root,
        places: target.places.try_clone().map_err(|error| super::ipc("dup", &error))?,
        names: target.names.clone(),
        alternatives: alternatives.try_clone().map_err(|error| super::ipc("dup", &error))?,
        single: target.single.clone(),
        given,
        taker,
        wanted,
    };
    let given = Given { target, alternatives, filters: link.filters.clone(), io_error: link.heard.io_error(), wishes };
    let generator = Generator::new(&link.transfer, generator_log, &mut link.writer, feedback, given)?;
    let leaving = Leaving(receiver.generator.clone());
    let news_at_end = receiver.generator.clone();
    let (received, generated) = thread::scope(|scope| {
        let for_receiver = segments.clone();
        let receiver = thread::Builder::new().name("receiver".into()).spawn_scoped(scope, move || {
            let _leaving = leaving; // unwinding included
            let done = receiver.run(for_receiver, complete, stats);
            match &done {
                Ok(_) => news_at_end.show_counts(),
                Err(_) => wake.fire(),
            }
            done
        });
        let unwinding = Alarm(wake);
        let generated = generator.run(segments, complete);
        drop(unwinding);
        if generated.is_err() {
            wake.fire();
        }
        let received = match receiver.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(received)) => received,
            Ok(Err(_)) => Err(Error::new(ExitCode::CRASHED, "rsync: the receiver failed unexpectedly")),
            Err(error) => Err(super::ipc("thread", &error)),
        };
        (received, generated)
    });
    conclude(link, received, generated)
}

/// Of two failures the one that came first: who was only woken up has nothing to tell.
fn conclude(link: &mut Link<'_>, received: Result<Stats>, generated: Result<i32>) -> Result<Stats> {
    match (received, generated) {
        (Ok(stats), Ok(io_error)) => {
            link.heard.add_io_error(io_error);
            for role in [Speaker::Receiver, Speaker::Generator] {
                super::tell_heap(&link.log.speaking_as(role), link.start.side.server);
            }
            Ok(stats)
        }
        (Err(first), Ok(_)) | (Ok(_), Err(first)) => Err(settle(link, first)),
        (Err(received), Err(generated)) => {
            let first = match (is_echo(&received), is_echo(&generated)) {
                // The receiver passed on an index that cannot be, and failed later.
                (false, false) if generated.code == ExitCode::PROTOCOL => generated.by("generator"),
                (false, _) => received.by("receiver"),
                (true, false) => generated.by("generator"),
                (true, true) => Error::silent(ExitCode::SIGNAL).by("generator"),
            };
            Err(settle(link, first))
        }
    }
}

/// What the receiver needs to make room for backups.
fn removals(link: &Link<'_>, filesystem: u64, voice: Option<PeerSink>) -> receiver::Given {
    let message = move |name: &[u8]| {
        if let Some(voice) = &voice {
            voice.message(Tag::Deleted, name);
        }
    };
    receiver::Given { filters: link.filters.clone(), filesystem, message: Box::new(message) }
}

/// Tells the generator when the receiver is at its end.
struct Leaving(News);

impl Drop for Leaving {
    fn drop(&mut self) {
        let _ = self.0.tell(Feedback::Gone); // a generator that is gone need not know
    }
}

/// Lets the receiver go when the generator panics: the scope waits for it.
struct Alarm<'a>(&'a Wake);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fire();
        }
    }
}

/// An error that only says that the other one failed.
fn is_echo(error: &Error) -> bool {
    error.message.is_empty() && matches!(error.code, ExitCode::SIGNAL | ExitCode::STREAM_IO)
}

/// Makes the connection usable again for what is said at the end, unless the user interrupted us.
fn settle(link: &Link<'_>, error: Error) -> Error {
    if crate::sys::signal::received().is_none() {
        link.start.wake.reset();
    }
    error
}

/// Tells the sender that we are through, and hears its last words. C: at the end of main.c do_recv
fn goodbye(link: &mut Link<'_>) -> Result<()> {
    Indexes::new(link.transfer.protocol.version).write(&mut link.writer, Index::Done)?;
    link.writer.flush()?;
    if link.start.side.server || link.transfer.plays() {
        return Ok(());
    }
    let _ = link.reader.until_end(LAST_WORDS); // the transfer is complete whatever the end is like
    Ok(())
}
