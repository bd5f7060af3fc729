//! A real ssh to this machine: what only the real one does to our descriptors, our terminal and our patience.

mod harness;

use std::{
    fs,
    io::{Read, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use harness::{
    Program,
    process::{self, Outcome, Status},
    ssh,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const BIG: usize = 4_000_000;

/// A directory with `src/a` and `src/big`, and the ssh that leads back here.
struct Stage {
    dir: tempfile::TempDir,
    config: &'static Path,
}

impl Stage {
    /// `None`, and said so, if there is no sshd or no reference.
    fn new(what: &str) -> Option<Self> {
        let config = match (ssh::config(), Program::Reference.missing()) {
            (Ok(config), None) => config,
            (Err(why), _) => return skipped(what, &format!("{why} (it comes with openssh-server)")),
            (_, Some(why)) => return skipped(what, &why),
        };
        let dir = tempfile::Builder::new().prefix("oc-rsync-").tempdir().unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        fs::write(dir.path().join("src/a"), "small\n").unwrap();
        let big: Vec<u8> = (0..BIG as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 37) as u8).collect();
        fs::write(dir.path().join("src/big"), big).unwrap();
        Some(Self { dir, config })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn here(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn far(&self, name: &str) -> String {
        format!("far:{}", self.here(name))
    }

    /// Ours through ssh with some more of ssh's options.
    fn client(&self, ssh_options: &str, args: &[&str]) -> Command {
        let mut command = process::command(self.dir.path(), &Program::Ours.path(), args);
        command.arg("-e").arg(format!("ssh -F {} {ssh_options}", self.config.display()));
        command.arg(format!("--rsync-path={}", Program::Reference.path().display()));
        command
    }

    fn run(&self, ssh_options: &str, args: &[&str]) -> Outcome {
        process::run_for(self.client(ssh_options, args), b"", process::PATIENCE)
    }

    fn assert_copied(&self, to: &str) {
        for name in ["a", "big"] {
            let (from, to) = (self.path("src").join(name), self.path(to).join(name));
            assert!(fs::read(from).unwrap() == fs::read(&to).unwrap_or_default(), "{} differs", to.display());
        }
    }
}

fn skipped(what: &str, why: &str) -> Option<Stage> {
    harness::skip(what, why);
    None
}

fn assert_silent(outcome: &Outcome) {
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert_eq!((outcome.status, said.as_str()), (Status::Exit(0), ""));
}

#[test]
fn push_and_pull() {
    let Some(stage) = Stage::new("push and pull over ssh") else { return };
    assert_silent(&stage.run("", &["-a", "src/", &stage.far("pushed")]));
    stage.assert_copied("pushed");
    assert_silent(&stage.run("", &["-a", &stage.far("src/"), "pulled"]));
    stage.assert_copied("pulled");
}

#[test]
fn names_that_a_shell_would_take_apart() {
    let Some(stage) = Stage::new("hostile names over ssh") else { return };
    let names = ["a b", "it's", "say \"x\"", "$(touch oops)", "`touch oops`", "a;b&c|d", "back\\slash", "-dash"];
    for name in names {
        fs::create_dir(stage.path("src").join(name)).unwrap();
        fs::write(stage.path("src").join(name).join("file"), name).unwrap();
    }
    let mut args = vec!["-a".to_string()];
    args.extend(names.map(|name| format!(":{}", stage.here(&format!("src/{name}")))));
    args[1].insert_str(0, "far");
    args.push("pulled".into());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert_silent(&stage.run("", &args));
    for name in names {
        assert_eq!(fs::read_to_string(stage.path("pulled").join(name).join("file")).unwrap(), name);
    }
    let all = names.join(" ");
    assert_silent(&stage.run("", &["-a", "src/a", &stage.far(&all)]));
    assert_eq!(fs::read_to_string(stage.path(&all)).unwrap(), "small\n");
    assert!(!Path::new("oops").exists() && !stage.path("oops").exists());
}

#[test]
fn an_address_in_brackets() {
    let Some(stage) = Stage::new("an address in brackets") else { return };
    assert_silent(&stage.run("", &["-a6", "src/", &format!("[::1]:{}", stage.here("pushed"))]));
    stage.assert_copied("pushed");
    assert_silent(&stage.run("", &["-a", &format!("[::1]:{}", stage.here("src/")), "pulled"]));
    stage.assert_copied("pulled");
}

/// A key that may do nothing but what its command allows, as with rrsync.
#[test]
fn a_forced_command_that_looks_at_what_was_asked_for() {
    let Some(stage) = Stage::new("a forced command") else { return };
    let guard = process::script(
        "guard.sh",
        &format!(
            "echo \"$SSH_ORIGINAL_COMMAND\" >>{}\ncase $SSH_ORIGINAL_COMMAND in\n\
             *' --server '*src/) exec $SSH_ORIGINAL_COMMAND;;\n*' --server '*pushed) exec $SSH_ORIGINAL_COMMAND;;\nesac\n\
             echo not allowed >&2\nexit 1\n",
            stage.here("asked")
        ),
    );
    let config = ssh::forced(stage.dir.path(), &guard).unwrap();
    let options = format!("-F {}", config.display());
    for program in [Program::Reference, Program::Ours] {
        let run = |args: &[&str]| {
            let mut command = stage.client(&options, args);
            command.arg(format!("--rsync-path={}", program.path().display())); // the last one counts
            process::run_for(command, b"", process::PATIENCE)
        };
        assert_silent(&run(&["-a", "src/", &stage.far("pushed")]));
        stage.assert_copied("pushed");
        assert_silent(&run(&["-a", &stage.far("src/"), "pulled"]));
        stage.assert_copied("pulled");
        let refused = run(&["-a", "src/", &stage.far("elsewhere")]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.starts_with("not allowed\n") && said.contains("(code 12)"), "{:?}: {said}", refused.status);
        assert!(!stage.path("elsewhere").exists());
        ["pushed", "pulled"].iter().for_each(|name| fs::remove_dir_all(stage.path(name)).unwrap());
    }
    let asked = fs::read_to_string(stage.path("asked")).unwrap();
    let pulls = asked.lines().filter(|line| line.contains(" --server --sender -logDtpre.iLsfxCIvu . "));
    assert_eq!((asked.lines().count(), pulls.count()), (6, 2), "{asked}");
}

#[test]
fn several_sources_of_one_host_and_wildcards() {
    let Some(stage) = Stage::new("several remote sources") else { return };
    let second = format!(":{}", stage.here("src/big"));
    assert_silent(&stage.run("", &["-a", &stage.far("src/a"), &second, "two"]));
    stage.assert_copied("two");
    assert_silent(&stage.run("", &["-a", &stage.far("src/*"), "star"]));
    stage.assert_copied("star");
}

#[test]
fn the_remote_program_is_missing() {
    let Some(stage) = Stage::new("a missing remote program") else { return };
    for _ in 0..5 {
        let mut command = stage.client("", &["-a", &stage.far("src/"), "dst"]);
        command.arg("--rsync-path=/nonexistent/rsync"); // the last one counts
        let outcome = process::run_for(command, b"", process::PATIENCE);
        assert_eq!(outcome.status, Status::Exit(127));
        let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines.first().is_some_and(|line| line.contains("/nonexistent/rsync")), "{said}");
        assert!(lines.last().is_some_and(|line| line.starts_with("rsync error: remote command not found (code 127)")));
    }
}

#[test]
fn no_connection() {
    let Some(stage) = Stage::new("no connection") else { return };
    for _ in 0..5 {
        let outcome = stage.run("-o ProxyCommand=false", &["-a", "src/", &stage.far("dst")]);
        assert_eq!(outcome.status, Status::Exit(255), "{}", String::from_utf8_lossy(&outcome.stderr));
    }
}

#[test]
fn a_master_that_stays_is_not_waited_for() {
    let Some(stage) = Stage::new("ControlPersist") else { return };
    let options = format!("-o ControlMaster=auto -o ControlPersist=300 -o ControlPath={}", stage.here("control"));
    for round in ["one", "two"] {
        let outcome = stage.run(&options, &["-a", "src/", &stage.far(round)]);
        assert_eq!(outcome.status, Status::Exit(0), "{}", String::from_utf8_lossy(&outcome.stderr));
        stage.assert_copied(round);
        assert!(stage.path("control").exists(), "the master is there");
    }
    let mut stop = Command::new("ssh");
    stop.arg("-F").arg(stage.config).arg("-S").arg(stage.path("control")).args(["-O", "exit", "far"]);
    assert!(stop.stderr(Stdio::null()).status().unwrap().success());
}

#[test]
fn our_descriptors_keep_their_flags() {
    let Some(stage) = Stage::new("flags of our descriptors") else { return };
    let ends: Vec<_> = (0..3).map(|_| std::io::pipe().unwrap()).collect();
    let mut command = stage.client("", &["-a", "src/", &stage.far("dst")]);
    command.stdin(ends[0].0.try_clone().unwrap());
    command.stdout(ends[1].1.try_clone().unwrap()).stderr(ends[2].1.try_clone().unwrap());
    assert!(command.status().unwrap().success());
    for fd in [ends[0].0.as_raw_fd(), ends[1].1.as_raw_fd(), ends[2].1.as_raw_fd()] {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
        assert_eq!(flags & libc::O_NONBLOCK, 0, "descriptor {fd}");
    }
}

#[test]
fn ssh_is_killed_in_the_middle() {
    let Some(stage) = Stage::new("ssh killed in the middle") else { return };
    let mut command = stage.client("", &["-a", "--bwlimit=1000", &stage.far("src/"), "dst"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let end = Instant::now() + process::PATIENCE;
    let begun = || {
        let names = fs::read_dir(stage.path("dst")).ok()?;
        names.flatten().find(|name| name.file_name().to_string_lossy().starts_with(".big."))
    };
    while begun().is_none() {
        assert!(Instant::now() < end, "no data came");
        thread::sleep(Duration::from_millis(10));
    }
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let ssh = children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .find(|pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "ssh"));
    kill(Pid::from_raw(ssh.expect("ssh is a child of ours")), Signal::SIGKILL).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(12), "{}", String::from_utf8_lossy(&output.stderr));
    let left: Vec<_> = fs::read_dir(stage.path("dst")).unwrap().flatten().map(|name| name.file_name()).collect();
    assert_eq!(left, ["a"], "no temporary");
}

/// Runs ours on a terminal of its own and types `answer` when `question` has been asked; the status and what was said.
fn on_a_terminal(stage: &Stage, ssh_options: &str, question: &str, answer: &str) -> (Option<i32>, String) {
    let line = format!(
        "{} -a -e 'ssh -F {} {ssh_options}' --rsync-path={} src/ {}",
        Program::Ours.path().display(),
        stage.config.display(),
        Program::Reference.path().display(),
        stage.far("dst")
    );
    let mut command = process::command(stage.dir.path(), Path::new("script"), &["-qec", &line, "/dev/null"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut keyboard = child.stdin.take();
    let mut screen = child.stdout.take().unwrap();
    let (mut said, mut buffer) = (String::new(), [0; 4096]);
    while let Ok(length @ 1..) = screen.read(&mut buffer) {
        said.push_str(&String::from_utf8_lossy(&buffer[..length]));
        if said.contains(question)
            && let Some(mut keyboard) = keyboard.take()
        {
            thread::sleep(Duration::from_millis(100)); // the question comes before the line is read anew
            keyboard.write_all(answer.as_bytes()).unwrap();
        }
    }
    (child.wait().unwrap().code(), said)
}

#[test]
fn an_unknown_host_key_is_asked_about() {
    let Some(stage) = Stage::new("host key prompt") else { return };
    let options = format!("-o StrictHostKeyChecking=ask -o UserKnownHostsFile={}", stage.here("known"));
    let (status, said) = on_a_terminal(&stage, &options, "Are you sure you want to continue connecting", "yes\n");
    assert_eq!(status, Some(0), "{said}");
    assert!(fs::read_to_string(stage.path("known")).unwrap().contains("ssh-ed25519"));
    stage.assert_copied("dst");
}

#[test]
fn a_passphrase_is_asked_for() {
    let Some(stage) = Stage::new("passphrase prompt") else { return };
    let key = stage.path("key");
    fs::copy(stage.config.with_file_name("user"), &key).unwrap();
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-p", "-P", "", "-N", "open sesame", "-f"]).arg(&key);
    assert!(keygen.stdout(Stdio::null()).status().unwrap().success());
    let config = fs::read_to_string(stage.config).unwrap();
    let keyless: Vec<&str> = config.lines().filter(|line| !line.contains("IdentityFile")).collect();
    fs::write(stage.path("config"), keyless.join("\n")).unwrap();
    let options = format!("-F {} -o IdentityFile={}", stage.here("config"), key.display());
    let (status, said) = on_a_terminal(&stage, &options, "Enter passphrase for key", "open sesame\n");
    assert_eq!(status, Some(0), "{said}");
    stage.assert_copied("dst");
}
