//! Where the sources and the destination are: here, or behind a host name.

use std::os::unix::ffi::OsStrExt;

use super::{ArgStyle, Options};
use crate::{
    bytes,
    error::{Error, ExitCode, Result},
};

/// `[USER@]HOST:PATH`, `[USER@]HOST::PATH` or `rsync://[USER@]HOST[:PORT]/PATH`, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostSpec {
    /// With its user, without the brackets of an IPv6 address; may be empty.
    pub host: Vec<u8>,
    pub port: Port,
    pub path: Vec<u8>,
}

/// How a host is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// Through a remote shell.
    Shell,
    /// A daemon, at its usual port.
    Daemon,
    DaemonAt(u32),
}

impl HostSpec {
    /// `None`: a local path. C: options.c check_for_hostspec
    pub fn parse(arg: &[u8]) -> Option<Self> {
        const URL: &[u8] = b"rsync://";
        if arg.len() >= URL.len() && arg[..URL.len()].eq_ignore_ascii_case(URL) {
            let url = host_part(&arg[URL.len()..], true).and_then(|(host, rest)| Self::of_url(host, rest));
            if url.is_some() {
                return url;
            }
        }
        let (host, rest) = host_part(arg, false)?;
        let path = rest.strip_prefix(b":")?;
        Some(match path.strip_prefix(b":") {
            Some(path) => Self { host, port: Port::Daemon, path: path.to_vec() },
            None => Self { host, port: Port::Shell, path: path.to_vec() },
        })
    }

    /// What follows the host in a URL: a port, a path, both or nothing.
    fn of_url(host: Vec<u8>, rest: &[u8]) -> Option<Self> {
        let Some(rest) = rest.strip_prefix(b":") else {
            let path = rest.strip_prefix(b"/").unwrap_or(rest);
            return Some(Self { host, port: Port::Daemon, path: path.to_vec() });
        };
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, rest) = rest.split_at(digits);
        let path = if rest.is_empty() { rest } else { rest.strip_prefix(b"/")? };
        let number = number.iter().fold(0u32, |n, b| n.wrapping_mul(10).wrapping_add(u32::from(b - b'0')));
        let port = if number == 0 { Port::Daemon } else { Port::DaemonAt(number) };
        Some(Self { host, port, path: path.to_vec() })
    }
}

/// Splits off `[USER@]HOST`; what is left begins with `:` or, in a URL, may begin with `/` or be empty.
/// C: options.c parse_hostspec
fn host_part(text: &[u8], url: bool) -> Option<(Vec<u8>, &[u8])> {
    let mut host_start = 0;
    let mut at = 0;
    loop {
        match text.get(at) {
            None if url => break,
            None => return None,
            Some(b':') => break,
            Some(b'/') if url => break,
            Some(b'/') => return None,
            Some(b'@') => host_start = at + 1,
            Some(b'[') => {
                if at != host_start {
                    return None;
                }
                let len = text[at + 1..].iter().take_while(|&&b| b != b']' && b != b'/').count();
                let end = at + 1 + len;
                let well_placed = matches!(text.get(end + 1), None | Some(b'/' | b':'));
                if len == 0 || text.get(end) != Some(&b']') || !well_placed {
                    return None;
                }
                let rest = &text[end + 1..];
                if !url && !rest.starts_with(b":") {
                    return None;
                }
                return Some((bytes![text[..host_start], text[at + 1..end]], rest));
            }
            Some(_) => {}
        }
        at += 1;
    }
    Some((text[..at].to_vec(), &text[at..]))
}

/// The host at the other end of a remote shell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    pub user: Option<Vec<u8>>,
    /// Does not begin with `-`.
    pub name: Vec<u8>,
}

/// What the positional arguments ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// `dest`: `None` for a listing.
    Local { sources: Vec<Vec<u8>>, dest: Option<Vec<u8>> },
    Push {
        host: Host,
        sources: Vec<Vec<u8>>,
        /// On the host; not empty.
        dest: Vec<u8>,
    },
    Pull {
        host: Host,
        /// On the host; none is empty.
        sources: Vec<Vec<u8>>,
        dest: Option<Vec<u8>>,
    },
    /// A batch file takes the sources' place.
    Replay { dest: Vec<u8> },
}

impl Target {
    /// Sorts the arguments of a client. They must not be empty: see `help::usage_error`. C: main.c start_client
    pub fn of(options: &Options) -> Result<Self> {
        let args: Vec<&[u8]> = options.args.iter().map(|arg| arg.as_bytes()).collect();
        let Some((&first, others)) = args.split_first() else {
            return Err(super::help::usage_error().by("Receiver"));
        };
        if options.reads_batch() {
            return replay(options, others.last().copied().unwrap_or(first)).map_err(|error| error.by("Receiver"));
        }
        match HostSpec::parse(first) {
            Some(spec) => pull(options, spec, others).map_err(|error| error.by("Receiver")),
            None => from_here(options, &args).map_err(|error| error.by("sender")),
        }
    }
}

#[track_caller]
fn syntax(line: impl AsRef<[u8]>) -> Error {
    Error::new(ExitCode::SYNTAX, line.as_ref())
}

fn replay(options: &Options, dest: &[u8]) -> Result<Target> {
    if HostSpec::parse(dest).is_some() {
        return Err(syntax("remote destination is not allowed with --read-batch"));
    }
    daemon_only(options)?;
    let mut dest = dest.to_vec();
    dot_if_empty(&mut dest);
    Ok(Target::Replay { dest })
}

fn pull(options: &Options, first: HostSpec, others: &[&[u8]]) -> Result<Target> {
    let (remote, dest) = match others.split_last() {
        None => (others, None),
        Some((last, _)) if last.starts_with(b":") => (others, None),
        Some((last, _)) if HostSpec::parse(last).is_some() => {
            return Err(syntax("The source and destination cannot both be remote."));
        }
        Some((last, remote)) => (remote, Some(last.to_vec())),
    };
    same_files_from_host(options, &first)?;
    let mut sources = vec![first.path];
    for arg in remote {
        let Some(spec) = HostSpec::parse(arg) else {
            let hint = "If arg is a remote file/dir, prefix it with a colon (:).";
            return Err(syntax(bytes!["Unexpected local arg: ", *arg, "\n", hint]));
        };
        if !spec.host.is_empty() && spec.host != first.host {
            return Err(syntax("All source args must come from the same machine."));
        }
        if spec.port != first.port {
            let what = if (spec.port == Port::Shell) != (first.port == Port::Shell) {
                "All source args must use the same hostspec format."
            } else {
                "All source args must use the same port number."
            };
            return Err(syntax(what));
        }
        sources.push(spec.path);
    }
    let host = shell_host(options, first.host, first.port)?;
    sources.iter_mut().for_each(dot_if_empty);
    Ok(Target::Pull { host, sources, dest })
}

fn from_here(options: &Options, args: &[&[u8]]) -> Result<Target> {
    let (dest, sources) = match args {
        [source] => (None, vec![source.to_vec()]),
        [sources @ .., dest] => (Some(*dest), sources.iter().map(|source| source.to_vec()).collect()),
        [] => (None, Vec::new()),
    };
    if dest.is_some_and(<[u8]>::is_empty) && !matches!(options.arg_style, ArgStyle::Old | ArgStyle::Verbatim) {
        return Err(syntax("Empty destination arg specified (use \".\" or see --old-args)."));
    }
    let spec = dest.and_then(HostSpec::parse);
    match &spec {
        Some(spec) => same_files_from_host(options, spec)?,
        None if options.files_from_host.is_some() => {
            return Err(syntax("--files-from cannot be remote when the transfer is local"));
        }
        None => {}
    }
    for (at, source) in sources.iter().enumerate() {
        if source.is_empty() {
            return Err(syntax("Empty source arg specified."));
        }
        if at > 0 && HostSpec::parse(source).is_some() {
            return Err(syntax(bytes!["Unexpected remote arg: ", source]));
        }
    }
    let Some(mut spec) = spec else {
        daemon_only(options)?;
        let dest = dest.map(|dest| if dest.is_empty() { b".".to_vec() } else { dest.to_vec() });
        return Ok(Target::Local { sources, dest });
    };
    let host = shell_host(options, spec.host, spec.port)?;
    dot_if_empty(&mut spec.path);
    Ok(Target::Push { host, sources, dest: spec.path })
}

/// An empty path on the far side is its home directory.
fn dot_if_empty(path: &mut Vec<u8>) {
    if path.is_empty() {
        path.push(b'.');
    }
}

fn same_files_from_host(options: &Options, spec: &HostSpec) -> Result<()> {
    match options.files_from_host.as_deref() {
        Some(host) if !host.is_empty() && host != spec.host => {
            Err(syntax("--files-from hostname is not the same as the transfer hostname"))
        }
        _ => Ok(()),
    }
}

fn shell_host(options: &Options, host: Vec<u8>, port: Port) -> Result<Host> {
    if port != Port::Shell {
        let line = "rsync: a connection to a daemon is not supported by this build";
        return Err(Error::new(ExitCode::UNSUPPORTED, line));
    }
    daemon_only(options)?;
    let (user, name) = match memchr::memrchr(b'@', &host) {
        Some(at) => (Some(host[..at].to_vec()), host[at + 1..].to_vec()),
        None => (None, host),
    };
    if name.starts_with(b"-") {
        return Err(syntax("Invalid remote host: hostnames may not start with '-'."));
    }
    Ok(Host { user, name })
}

/// Options that have a meaning only where a daemon is spoken to.
fn daemon_only(options: &Options) -> Result<()> {
    if options.password_file.is_some() {
        return Err(syntax("The --password-file option may only be used when accessing an rsync daemon."));
    }
    if options.contimeout != 0 {
        return Err(syntax("The --contimeout option may only be used when connecting to an rsync daemon."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(arg: &str) -> Option<(String, Port, String)> {
        let spec = HostSpec::parse(arg.as_bytes())?;
        Some((String::from_utf8(spec.host).unwrap(), spec.port, String::from_utf8(spec.path).unwrap()))
    }

    fn some(host: &str, port: Port, path: &str) -> Option<(String, Port, String)> {
        Some((host.into(), port, path.into()))
    }

    #[test]
    fn hosts_and_paths() {
        assert_eq!(spec("host:path"), some("host", Port::Shell, "path"));
        assert_eq!(spec("me@host:"), some("me@host", Port::Shell, ""));
        assert_eq!(spec(":path"), some("", Port::Shell, "path"));
        assert_eq!(spec("host::mod/x"), some("host", Port::Daemon, "mod/x"));
        assert_eq!(spec("[::1]:x"), some("::1", Port::Shell, "x"));
        assert_eq!(spec("me@[fe80::1%eth0]::m"), some("me@fe80::1%eth0", Port::Daemon, "m"));
        assert_eq!(spec("a@b@c:x"), some("a@b@c", Port::Shell, "x"));
        assert_eq!(spec("RSYNC://host/mod"), some("host", Port::Daemon, "mod"));
        assert_eq!(spec("rsync://host:8730/mod"), some("host", Port::DaemonAt(8730), "mod"));
        assert_eq!(spec("rsync://[::1]:8730/mod"), some("::1", Port::DaemonAt(8730), "mod"));
        assert_eq!(spec("rsync://host:x/mod"), some("rsync", Port::Shell, "//host:x/mod"));
        assert_eq!(spec("rsync://host"), some("host", Port::Daemon, ""));
    }

    #[test]
    fn what_is_local() {
        for arg in ["path", "./host:x", "/a:b", "a/b:c", "[::1]", "x[::1]:y", "[]:x", "[::1]x:y", "", "[a/b]:x"] {
            assert_eq!(spec(arg), None, "{arg}");
        }
    }

    fn target(args: &[&str]) -> Result<Target, String> {
        let args = args.iter().map(Into::into).collect();
        Target::of(&Options { args, ..Options::default() }).map_err(|e| String::from_utf8(e.message).unwrap())
    }

    #[test]
    fn several_remote_sources() {
        let host = Host { user: Some(b"me".to_vec()), name: b"h".to_vec() };
        let sources = vec![b"a".to_vec(), b"b".to_vec(), b".".to_vec()];
        let pulled = Target::Pull { host: host.clone(), sources: sources.clone(), dest: Some(b"d".to_vec()) };
        assert_eq!(target(&["me@h:a", ":b", "me@h:", "d"]), Ok(pulled));
        assert_eq!(target(&["me@h:a", ":b", ":"]), Ok(Target::Pull { host, sources, dest: None }));
    }

    #[test]
    fn mixtures_are_refused() {
        assert_eq!(target(&["h:a", "h:b"]).unwrap_err(), "The source and destination cannot both be remote.");
        assert_eq!(target(&["a", "h:b", "c"]).unwrap_err(), "Unexpected remote arg: h:b");
        assert!(target(&["h:a", "b", "c"]).unwrap_err().starts_with("Unexpected local arg: b\n"));
        assert!(target(&["h:a", "g:b", "c"]).unwrap_err().ends_with("the same machine."));
        assert!(target(&["h:a", "::b", "c"]).unwrap_err().ends_with("the same hostspec format."));
        assert!(target(&["-h:a", "c"]).unwrap_err().ends_with("may not start with '-'."));
        assert!(target(&["a", ""]).unwrap_err().starts_with("Empty destination arg"));
        assert!(target(&["", "b"]).unwrap_err().starts_with("Empty source arg"));
    }
}
