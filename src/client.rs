//! The user's side of a run: which role we play, over which transport, and what is said at the end.

use std::{thread, time::Instant};

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
    filter::Filters,
    flist::listed::{NameList, Names},
    log::{Log, LogCode, Speaker},
    options::{
        Debug, Info, Options,
        forward::{FarArgs, client_info, far_args, local_server, settle_local},
        target::{Host, Target},
    },
    proto::{Side, handshake},
    report::summary::{self, Ending},
    server,
    session::{self, Ended, Shelf, Start, finish},
    sys::{locale, poll::Wake, process, signal},
    text::number::Style,
    transport::{
        self, Connection,
        batch::{self, Tape},
        pair::{handover, pair},
        shell::{self, Child, ShellCommand, words_line},
    },
};

/// A client at work: what all transports need.
struct Client<'a> {
    options: &'a Options,
    filters: Filters,
    /// The voice for what no role says.
    log: Log,
    wake: Wake,
    umask: u32,
    started: Instant,
}

/// Runs a client to its exit status; everything is said.
pub fn run(options: &Options, filters: Filters, target: Target, tape: Tape, log: Log) -> ExitCode {
    let outcome = prepare(options, filters, log.clone()).and_then(|client| client.run(target, tape));
    outcome.unwrap_or_else(|error| {
        finish::tell(&log, &error);
        error.code
    })
}

fn prepare(options: &Options, filters: Filters, log: Log) -> Result<Client<'_>> {
    let failed = |error| session::ipc("eventfd", &error);
    let umask = process::take_umask();
    let wake = Wake::new().map_err(failed)?;
    signal::install(&wake).map_err(failed)?;
    if let Some(moment) = options.stop_at {
        signal::alarm_at(moment).map_err(|error| session::ipc("timer", &error))?;
    }
    Ok(Client { options, filters, log, wake, umask, started: Instant::now() })
}

impl Client<'_> {
    fn run(&self, target: Target, tape: Tape) -> Result<ExitCode> {
        Ok(match target {
            Target::Local { sources, dest } => self.local(sources, dest, self.names(true)?, tape)?,
            Target::Push { host, sources, dest } => {
                self.debug_command(Some(&host), Some(&dest));
                let args = far_args(self.options, true, &[dest]);
                self.remote(&host, args, true, (sources, Vec::new()), self.names(true)?, tape)?
            }
            Target::Pull { host, sources, dest } => {
                self.debug_command(Some(&host), sources.first());
                let args = far_args(self.options, false, &sources);
                self.remote(&host, args, false, (dest.into_iter().collect(), sources), self.names(false)?, tape)?
            }
            Target::Replay { dest } => self.replay(dest, tape)?,
        })
    }

    /// A batch file says what a sender said once.
    fn replay(&self, dest: Vec<u8>, tape: Tape) -> Result<ExitCode> {
        self.debug_command(None, Some(&dest));
        if self.log.debug(Debug::Cmd) >= 2 {
            self.log.say(LogCode::Client, words_line(&[b".".to_vec(), dest.clone()]));
        }
        self.debug_charset();
        let Tape::Play(file) = &tape else {
            return Err(Error::new(ExitCode::FILE_IO, "rsync: no batch file is open"));
        };
        let read = batch::reading(file, &self.wake).map_err(|error| session::ipc("batch file", &error))?;
        let ended = session::run(Start {
            options: self.options,
            side: Side { server: false, sends: false, local: false },
            read,
            write: Box::new(batch::Nowhere),
            shelf: Shelf::None,
            umask: self.umask,
            log: &self.log,
            wake: &self.wake,
            paths: vec![dest],
            sources: Vec::new(),
            names: Names::Arguments,
            filters: self.filters.clone(),
            secluded: None,
            tape,
        });
        Ok(self.conclude(ended, ExitCode::OK))
    }

    /// Where `--files-from` has the names, as seen from here. A list on the far side is read there, and comes over the
    /// wire only if we send.
    fn names(&self, sends: bool) -> Result<Names> {
        match (&self.options.files_from, &self.options.files_from_host) {
            (Some(path), None) => Ok(Names::Listed(NameList::open(path, self.options, &self.wake, &self.log)?)),
            (Some(_), Some(_)) if sends => Ok(Names::FromPeer),
            _ => Ok(Names::Arguments),
        }
    }

    /// Where the other side is, before it is started. C: in main.c start_client
    fn debug_command(&self, host: Option<&Host>, path: Option<&Vec<u8>>) {
        let log = &self.log;
        if log.debug(Debug::Cmd) < 2 {
            return;
        }
        let shown = |word: Option<&Vec<u8>>| word.cloned().unwrap_or_else(|| b"<NULL>".to_vec());
        let shell = shown(self.options.rsh.as_ref().filter(|_| host.is_some()));
        let (machine, user) = (shown(host.map(|host| &host.name)), shown(host.and_then(|host| host.user.as_ref())));
        let line = bytes!["cmd=", shell, " machine=", machine, " user=", user, " path=", shown(path)];
        log.say(LogCode::Info, line);
    }

    /// Whose characters our lines may have. C: rsync.c setup_iconv
    fn debug_charset(&self) {
        if self.log.debug(Debug::Iconv) >= 2 && !self.options.eight_bit_output {
            self.log.say(LogCode::Info, bytes!["msg checking charset: ", locale::codeset()]);
        }
    }

    /// Both ends in this process: we send, a server on a thread of its own receives.
    fn local(&self, sources: Vec<Vec<u8>>, dest: Option<Vec<u8>>, names: Names, tape: Tape) -> Result<ExitCode> {
        handshake::check_own_version(self.options).map_err(|error| error.by("sender"))?;
        let far_wake = Wake::new().map_err(|error| session::ipc("eventfd", &error))?;
        let mut options = self.options.clone();
        settle_local(&mut options);
        let dest = dest.unwrap_or_else(|| b".".to_vec());
        self.debug_command(None, Some(&dest));
        if self.log.debug(Debug::Cmd) >= 2 {
            // The reference's second process has these arguments, and nothing else on its command line.
            self.log.say(LogCode::Client, words_line(&[b".".to_vec(), dest.clone()]));
        }
        self.debug_charset();
        let theirs = local_server(&options, &dest);
        // A user is the whole process's: who may become another one has a process of its own.
        let apart = options.copy_as.is_some() || theirs.copy_as.is_some();
        let (here, there) = if apart {
            transport::pipes(&self.wake, &far_wake).map_err(|error| session::ipc("pipe", &error))?
        } else {
            let (here, there) = pair(&self.wake);
            (here.into(), there.woken_by(&far_wake).into())
        };
        // A batch file shall have the data too: then none is handed over.
        let hands_over = matches!(tape, Tape::None) && !apart;
        let (giver, taker) = hands_over.then(|| handover(&self.wake)).unzip();
        let far = server::Local {
            options: &theirs,
            connection: there,
            taker,
            dest,
            filters: self.filters.clone(),
            log: server::voice(&theirs, Speaker::ReceiverStart),
            wake: &far_wake,
            umask: self.umask,
        };
        let near = |here: Connection| Start {
            options: &options,
            side: Side { server: false, sends: true, local: true },
            read: here.read,
            write: here.write,
            shelf: giver.map_or(Shelf::None, Shelf::Giver),
            umask: self.umask,
            log: &self.log,
            wake: &self.wake,
            paths: sources,
            sources: Vec::new(),
            names,
            filters: self.filters.clone(),
            secluded: None,
            tape,
        };
        if apart {
            return self.beside_child(near, here, far);
        }
        let (ended, server) = thread::scope(|scope| {
            let server = thread::Builder::new().name("server".into()).spawn_scoped(scope, || server::local(far));
            let ended = session::run(near(here));
            if ended.stats.is_some() {
                self.debug_wait(&ended, std::process::id());
            }
            let server = match server.map(thread::ScopedJoinHandle::join) {
                // What this side gave up for is why that one was left alone.
                Ok(Ok(server)) if server.lost && ended.stats.is_none() => ExitCode::OK,
                Ok(Ok(server)) => server.code,
                _ => ExitCode::CRASHED,
            };
            (ended, server)
        });
        Ok(self.conclude(ended, server))
    }

    /// A local copy whose server is a copy of this process, as both of the reference's always are.
    fn beside_child<'b>(
        &self,
        near: impl FnOnce(Connection) -> Start<'b>,
        here: Connection,
        far: server::Local<'_>,
    ) -> Result<ExitCode> {
        let mut here = Some(here);
        let child = process::fork(ExitCode::CRASHED.0, || {
            here = None; // its end is ours to bring about
            match signal::install(far.wake) {
                Ok(()) => server::local(far).code.0,
                Err(_) => ExitCode::IPC.0,
            }
        });
        let child = child.map_err(|error| session::ipc("fork", &error))?;
        let Some(here) = here else { return Err(Error::silent(ExitCode::CRASHED)) };
        let ended = session::run(near(here));
        if ended.stats.is_some() {
            self.debug_wait(&ended, child.pid());
        }
        let server = child.wait().map_or(ExitCode::WAIT_CHILD, |exit| shell::Ended::from(exit).code());
        Ok(self.conclude(ended, server))
    }

    fn remote(
        &self,
        host: &Host,
        args: FarArgs,
        sends: bool,
        (paths, sources): (Vec<Vec<u8>>, Vec<Vec<u8>>),
        names: Names,
        tape: Tape,
    ) -> Result<ExitCode> {
        let options = self.options;
        let speaker = if sends { Speaker::Sender } else { Speaker::ReceiverStart };
        let log = self.log.speaking_as(speaker);
        let command = ShellCommand {
            shell: Some(options.remote_shell().to_vec()),
            user: host.user.clone(),
            host: host.name.clone(),
            address_family: options.address_family,
            blocking_io: options.blocking_io,
            rsync_path: options.rsync_path.clone(),
            server_args: args.argv,
            ..ShellCommand::default()
        };
        let Connection { read, write, child } = shell::spawn(&command, &self.wake, &log)?;
        self.debug_charset();
        let info = Options { client_info: client_info(options, sends), ..options.clone() };
        let ended = session::run(Start {
            options: &info,
            side: Side { server: false, sends, local: false },
            read,
            write,
            shelf: Shelf::None,
            umask: self.umask,
            log: &self.log,
            wake: &self.wake,
            paths,
            sources,
            names,
            filters: self.filters.clone(),
            secluded: args.secluded,
            tape,
        });
        let Some(child) = child else { return Ok(self.conclude(ended, ExitCode::OK)) };
        Ok(self.after_child(ended, child))
    }

    /// Reaps the remote shell; where the connection was lost, its exit status says more than we know.
    fn after_child(&self, mut ended: Ended, child: Child) -> ExitCode {
        if ended.stats.is_some() {
            self.debug_wait(&ended, child.pid());
            let code = match child.finish(&self.wake) {
                shell::Ended::Stopped => finish::interrupt_code(),
                end => end.code(),
            };
            return self.conclude(ended, code);
        }
        if signal::received().is_some() {
            ended.code = finish::interrupt_code(); // a terminal's Ctrl-C ends the shell too, perhaps before us
        }
        if ended.lost && signal::received().is_none() {
            ended.code = child.after_failure().after(ended.code);
        } else {
            child.interrupt();
        }
        self.conclude(ended, ExitCode::OK)
    }

    /// That all that is left is the end of the other side: a remote shell, or a thread of ours. C: in main.c client_run
    fn debug_wait(&self, ended: &Ended, pid: u32) {
        let (log, sends) = (&self.log, ended.speaker == Speaker::Sender);
        if sends && log.debug(Debug::Exit) >= 2 {
            log.say(LogCode::Info, bytes!["client_run waiting on ", pid]);
        } else if !sends && log.debug(Debug::Recv) >= 1 {
            log.say(LogCode::Info, bytes!["client_run2 waiting on ", pid]);
        }
    }

    /// The summary and the closing line of a run whose other end gave `far`.
    fn conclude(&self, ended: Ended, far: ExitCode) -> ExitCode {
        let log = self.log.speaking_as(ended.speaker);
        let Some(stats) = &ended.stats else {
            // A far side that only lost us adds nothing to what we know.
            let code =
                if ended.unclosed.is_some() && far == ExitCode::STREAM_IO { ended.code } else { ended.code.max(far) };
            if let Some(error) = ended.unclosed {
                log.say_lines(LogCode::Error, &error.message);
                let traffic = (ended.speaker == Speaker::Sender).then_some(&ended.traffic);
                finish::close(&log, &Error { code, ..error }, code, self.options.dry_run, traffic);
            }
            return code;
        };
        let ending = Ending {
            style: Style::of_user(self.options.human_readable),
            protocol: ended.protocol,
            seconds: Some(self.started.elapsed().as_secs() as i64),
            level: log.info(Info::Stats),
            dry_run: self.options.dry_run,
            batch_only: self.options.only_writes_batch(),
        };
        for (code, line) in summary::lines(stats, &ending) {
            log.say(code, line);
        }
        log.finish();
        let code = match far {
            _ if log.broken() => ExitCode::MESSAGE_IO,
            ExitCode::OK => ended.code,
            far => far,
        };
        // Who receives learns of single files from its receiver's own status.
        let first = if ended.speaker == Speaker::Sender { far } else { code };
        let says_so = code == ExitCode::OK && log.info(Info::Stats) > 0; // in the closing lines
        let tells = !says_so && (code == ExitCode::OK || ended.speaker == Speaker::Sender);
        let traffic = tells.then_some(&ended.traffic);
        finish::close(&log, &Error::silent(code), first, self.options.dry_run, traffic);
        code
    }
}
