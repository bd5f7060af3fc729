//! The remote shell's command line: `-e`, `RSYNC_RSH` or `ssh`, split into words, then login, host and server command.

use crate::{
    bytes,
    error::{Error, ExitCode, Result},
};

/// The remote shell where neither `-e` nor `RSYNC_RSH` names one.
pub const DEFAULT_SHELL: &[u8] = b"ssh";

/// What to start on which host.
#[derive(Clone, Debug, Default)]
pub struct ShellCommand {
    /// `-e`, else the value of `RSYNC_RSH`, else `None` for `ssh`; not yet split.
    pub shell: Option<Vec<u8>>,
    pub user: Option<Vec<u8>>,
    /// Without brackets if it is an IPv6 address.
    pub host: Vec<u8>,
    /// `-4` or `-6`: 4, 6; 0: either.
    pub address_family: u8,
    pub blocking_io: Option<bool>,
    /// `--rsync-path`, one word for us; the remote shell may split it.
    pub rsync_path: Vec<u8>,
    /// Everything after the program: `--server …`, `.` and the paths, escaped as the argument style asks.
    pub server_args: Vec<Vec<u8>>,
    /// A daemon is spoken to through the shell: a `-l` in the command wins over `user@`.
    pub daemon: bool,
}

impl ShellCommand {
    /// The words to execute, the program first. C: main.c do_cmd
    ///
    /// Exit status 1 for an unbalanced quote or a host that would read as an option.
    pub fn argv(&self) -> Result<Vec<Vec<u8>>> {
        if self.host.first() == Some(&b'-') {
            return Err(Error::new(ExitCode::SYNTAX, "Invalid remote host: hostnames may not start with '-'."));
        }
        let mut argv = words(self.shell_text())?;
        let is_ssh = base_name(&argv) == b"ssh";
        if let Some(user) = &self.user
            && !(self.daemon && names_login(&argv))
        {
            argv.extend([b"-l".to_vec(), user.clone()]);
        }
        match self.address_family {
            4 if is_ssh => argv.push(b"-4".to_vec()),
            6 if is_ssh => argv.push(b"-6".to_vec()),
            _ => {}
        }
        argv.push(self.host.clone());
        argv.push(self.rsync_path.clone());
        argv.extend(self.server_args.iter().cloned());
        Ok(argv)
    }

    fn shell_text(&self) -> &[u8] {
        self.shell.as_deref().unwrap_or(DEFAULT_SHELL)
    }
}

/// `user@host` at the last `@`. C: main.c start_client
pub fn login(machine: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match memchr::memrchr(b'@', machine) {
        Some(at) => (machine.get(..at), machine.get(at + 1..).unwrap_or_default()),
        None => (None, machine),
    }
}

/// Splits a remote shell command at blanks. Single and double quotes group, a doubled quote inside stands for one, a
/// backslash is an ordinary byte.
pub fn words(command: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = command.iter().copied().peekable();
    loop {
        while rest.next_if_eq(&b' ').is_some() {}
        if rest.peek().is_none() {
            return Ok(words);
        }
        let mut word = Vec::new();
        let mut quote = None;
        while let Some(byte) = rest.next_if(|byte| *byte != b' ' || quote.is_some()) {
            match quote {
                None if byte == b'\'' || byte == b'"' => quote = Some(byte),
                Some(open) if byte == open && rest.next_if_eq(&open).is_none() => quote = None,
                _ => word.push(byte),
            }
        }
        if let Some(open) = quote {
            let line = bytes!["Missing trailing-", char::from(open), " in remote-shell command."];
            return Err(Error::new(ExitCode::SYNTAX, line));
        }
        words.push(word);
    }
}

/// The last component of the program's path.
fn base_name(argv: &[Vec<u8>]) -> &[u8] {
    let program = argv.first().map_or(&[][..], |word| word);
    program.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

fn names_login(argv: &[Vec<u8>]) -> bool {
    argv.windows(2).any(|pair| matches!(pair, [flag, name] if flag == b"-l" && name.first() != Some(&b'-')))
}

/// What `--debug=CMD` says of words that go to the other side, behind what they are. C: util1.c print_child_argv
pub fn args_line(what: &str, argv: &[Vec<u8>]) -> Vec<u8> {
    let mut line = bytes![what, ": "];
    for word in argv {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b",.-_=+@/".contains(byte);
        if word.iter().all(plain) {
            line.extend(bytes![word, " "]);
        } else {
            line.extend(bytes!["\"", word, "\" "]);
        }
    }
    line.extend(bytes![" (", argv.len(), " args)"]);
    line
}

/// What `--debug=CMD2` says of the words. C: main.c do_cmd
pub fn words_line(argv: &[Vec<u8>]) -> Vec<u8> {
    let mut line = Vec::new();
    for (at, word) in argv.iter().enumerate() {
        line.extend(bytes!["cmd[", at, "]=", word, " "]);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(command: &str) -> Vec<String> {
        let words = words(command.as_bytes()).unwrap();
        words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    fn command(shell: &str) -> ShellCommand {
        ShellCommand {
            shell: Some(shell.into()),
            host: b"host".to_vec(),
            rsync_path: b"rsync".to_vec(),
            server_args: vec![b"--server".to_vec(), b".".to_vec(), b"dst".to_vec()],
            ..ShellCommand::default()
        }
    }

    fn joined(command: &ShellCommand) -> String {
        String::from_utf8(command.argv().unwrap().join(&b'|')).unwrap()
    }

    #[test]
    fn blanks_separate_and_tabs_do_not() {
        assert_eq!(split("  ssh  -p 22 "), ["ssh", "-p", "22"]);
        assert_eq!(split("a\tb"), ["a\tb"]);
        assert_eq!(split("   "), [""; 0]);
    }

    #[test]
    fn quotes_group_and_double_up() {
        assert_eq!(split(r#"ssh -o 'Proxy Command'=x"y z""#), ["ssh", "-o", "Proxy Command=xy z"]);
        assert_eq!(split("'it''s'"), ["it's"]);
        assert_eq!(split(r#""a""b""#), [r#"a"b"#]);
        assert_eq!(split(r#"'say "no"'"#), [r#"say "no""#]);
        assert_eq!(split("''"), [""]);
        assert_eq!(split(r"a\ b"), [r"a\", "b"]);
    }

    #[test]
    fn an_open_quote_is_refused() {
        for (text, line) in [
            ("ssh 'x", "Missing trailing-' in remote-shell command."),
            (r#"a""#, "Missing trailing-\" in remote-shell command."),
        ] {
            let error = words(text.as_bytes()).unwrap_err();
            assert_eq!((error.code, error.message.as_slice()), (ExitCode::SYNTAX, line.as_bytes()));
        }
    }

    #[test]
    fn login_and_family_stand_before_the_host() {
        let mut ssh = command("/usr/bin/ssh -v");
        ssh.user = Some(b"me".to_vec());
        ssh.address_family = 6;
        assert_eq!(joined(&ssh), "/usr/bin/ssh|-v|-l|me|-6|host|rsync|--server|.|dst");
        let mut other = command("xssh");
        other.address_family = 4;
        assert_eq!(joined(&other), "xssh|host|rsync|--server|.|dst");
        assert_eq!(joined(&ShellCommand { shell: None, ..other }), "ssh|-4|host|rsync|--server|.|dst");
    }

    #[test]
    fn a_login_in_the_command_wins_for_a_daemon_only() {
        let mut both = command("ssh -l root");
        both.user = Some(b"me".to_vec());
        assert_eq!(joined(&both), "ssh|-l|root|-l|me|host|rsync|--server|.|dst");
        both.daemon = true;
        assert_eq!(joined(&both), "ssh|-l|root|host|rsync|--server|.|dst");
        both.shell = Some(b"ssh -l -v".to_vec());
        assert_eq!(joined(&both), "ssh|-l|-v|-l|me|host|rsync|--server|.|dst");
    }

    #[test]
    fn a_host_that_reads_as_an_option_is_refused() {
        let mut bad = command("ssh");
        bad.host = b"-oProxyCommand=x".to_vec();
        assert_eq!(bad.argv().unwrap_err().code, ExitCode::SYNTAX);
    }

    #[test]
    fn the_last_at_separates_the_user() {
        assert_eq!(login(b"a@b@c"), (Some(&b"a@b"[..]), &b"c"[..]));
        assert_eq!(login(b"host"), (None, &b"host"[..]));
        assert_eq!(login(b"@host"), (Some(&b""[..]), &b"host"[..]));
    }

    #[test]
    fn debug_lines_are_the_reference_s() {
        let argv = [&b"sh"[..], b"-c", b"exit 3", b"host"].map(<[u8]>::to_vec);
        assert_eq!(
            args_line("opening connection using", &argv),
            b"opening connection using: sh -c \"exit 3\" host  (4 args)"
        );
        assert_eq!(words_line(&argv), b"cmd[0]=sh cmd[1]=-c cmd[2]=exit 3 cmd[3]=host ");
    }
}
