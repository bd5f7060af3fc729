//! `--copy-as`: what one user may read and write, of what the super-user started.

mod harness;

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::{chown, lchown, symlink},
    path::{Path, PathBuf},
};

use harness::{
    Case, Ends, LOCAL, PIPES, Program, Way, blur, check_all, in_each_place,
    process::{self, Outcome, Status},
    programs::{self, is_root, skip},
    run_alone, stand_in, zoo,
};
use nix::unistd::mkfifo;

/// Users and groups that every Debian system has.
const DAEMON: u32 = 1;
const BIN: u32 = 2;
const GAMES: u32 = 60;

/// Whether one user can become another; if not, `what` counts as skipped.
fn possible(what: &str) -> bool {
    if !is_root() {
        skip(what, "only root becomes another user");
    }
    is_root()
}

/// Files and directories of several owners, some of which are root's alone to read.
fn owned(dir: &Path) {
    for (name, owner, group, mode) in [
        ("root-only", 0, 0, 0o600),
        ("root-group", 0, DAEMON, 0o640),
        ("daemon-own", DAEMON, DAEMON, 0o400),
        ("bin-own", BIN, BIN, 0o644),
        ("games-group", BIN, GAMES, 0o640),
        ("set-id", DAEMON, GAMES, 0o6755),
        ("strange", 54_321, 54_322, 0o644),
    ] {
        let path = dir.join(name);
        fs::write(&path, name).expect("file");
        chown(&path, Some(owner), Some(group)).expect("owner");
        zoo::set_mode(&path, mode);
        zoo::set_time(&path, 1_500_000_000, 0);
    }
    for (name, owner, mode) in [("dir", DAEMON, 0o755), ("dir-root", 0, 0o700), ("dir-bin", BIN, 0o2775)] {
        let path = dir.join(name);
        fs::create_dir(&path).expect("directory");
        zoo::file(&path.join("inside"), name.as_bytes());
        chown(&path, Some(owner), Some(owner)).expect("owner");
        zoo::set_mode(&path, mode);
    }
    fs::hard_link(dir.join("bin-own"), dir.join("dir/twin")).expect("hard link");
    symlink("bin-own", dir.join("link")).expect("link");
    lchown(dir.join("link"), Some(BIN), Some(BIN)).expect("owner");
    mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o644)).expect("fifo");
    zoo::settle_dirs(dir);
}

/// Lets other users come as far as the destination, which is daemon's own.
fn open_to_daemon(destination: &Path, _: &Path) {
    let site = destination.ancestors().nth(2).expect("a site above the run's directory");
    zoo::set_mode(site, 0o755);
    chown(destination, Some(DAEMON), Some(DAEMON)).expect("owner");
}

/// ... and holds things of several owners already.
fn with_old_things(destination: &Path, source: &Path) {
    open_to_daemon(destination, source);
    for (name, owner) in [("bin-own", DAEMON), ("strange", 0), ("extra", 0), ("link", DAEMON)] {
        let path = destination.join(name);
        zoo::file(&path, b"old");
        chown(&path, Some(owner), Some(owner)).expect("owner");
    }
    let closed = destination.join("closed");
    fs::create_dir(&closed).expect("directory");
    zoo::file(&closed.join("kept"), b"root's");
    fs::create_dir(destination.join("dir")).expect("directory");
    chown(destination.join("dir"), Some(0), Some(0)).expect("owner");
}

fn case(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(owned).before(open_to_daemon).unordered().mingled()
}

#[test]
fn one_side_or_both() {
    if !possible("copying as another user") {
        return;
    }
    in_each_place(&[
        case("this side", "-aHi --copy-as=daemon"),
        case("the far side", "-aHi -M--copy-as=daemon"),
        case("each its own", "-aHi --copy-as=daemon -M--copy-as=bin"),
        case("the other way round", "-aHi --copy-as=bin -M--copy-as=daemon"),
        case("by numbers", "-ai --copy-as=1:60 -M--copy-as=1:60"),
        case("a number with its own group", "-ai --copy-as=1 -M--copy-as=1"),
        case("another group", "-ai --copy-as=daemon:games -M--copy-as=daemon:games"),
        case("a number that nobody has", "-rti --copy-as=54321:1 -M--copy-as=54321:1"),
        case("who we are", "-ai --copy-as=root -M--copy-as=root"),
        case("the last one counts", "-ai --copy-as=nosuch --copy-as=daemon"),
    ]);
}

#[test]
fn the_new_user_decides_what_is_tried() {
    if !possible("copying as another user") {
        return;
    }
    in_each_place(&[
        case("rights are not claimed", "-ai --super --copy-as=daemon -M--copy-as=daemon"),
        case("nor waived", "-ai --no-super --copy-as=root -M--copy-as=root"),
        case("groups are mapped", "-rtgi --groupmap=*:games --copy-as=daemon:games -M--copy-as=daemon"),
        case("users are not", "-rtoi --usermap=*:bin --copy-as=daemon -M--copy-as=daemon"),
        case("numbers stay", "-ai --numeric-ids --copy-as=daemon -M--copy-as=daemon"),
        case("attributes", "-rtXi --copy-as=daemon -M--copy-as=daemon").tree(|dir| {
            owned(dir);
            for (file, name) in [("bin-own", "user.plain"), ("strange", "trusted.root"), ("daemon-own", "user.second")]
            {
                zoo::attr(&dir.join(file), name, b"value");
            }
        }),
        case("access lists", "-aAi --copy-as=daemon -M--copy-as=daemon"),
    ]);
}

#[test]
fn what_stands_there() {
    if !possible("copying as another user") {
        return;
    }
    let old = |name, args| case(name, args).before(with_old_things);
    in_each_place(&[
        old("deleted where that is allowed", "-ai --delete --copy-as=daemon -M--copy-as=daemon"),
        old("backed up", "-aib --copy-as=daemon -M--copy-as=daemon"),
        old("written into", "-ai --inplace --copy-as=daemon -M--copy-as=daemon"),
        old("not changed at all", "-ain --delete --copy-as=daemon -M--copy-as=daemon"),
        old("linked to", "-ai --link-dest=closed --copy-as=daemon -M--copy-as=daemon"),
    ]);
}

/// What the program has open before it becomes somebody else it goes on using.
#[test]
fn opened_before() {
    if !possible("copying as another user") {
        return;
    }
    let closed = |destination: &Path, source: &Path| {
        open_to_daemon(destination, source);
        let beside = destination.parent().expect("the run's directory");
        for name in ["names", "rules"] {
            zoo::set_mode(&beside.join(name), 0o600);
        }
    };
    let case = |name, args: &str| {
        let case = case(name, &format!("{args} --copy-as=daemon")).before(closed);
        case.with_file("names", b"bin-own\ndir/inside\nroot-only\n").with_file("rules", b"- strange\n- dir-*\n")
    };
    check_all(
        &[
            case("a list of names", "-ai --files-from=names"),
            case("rules", "-ai --filter=._rules"),
            case("the log", "-a --log-file=log --log-file-format=%i_%n").logs(&["log"]),
        ],
        &[(LOCAL, &programs::ALONE), (&[Way::PipePush], &programs::ONE_END)],
    );
    let batch = case("a batch", "-a --write-batch=batch").logs(&["batch.sh"]);
    check_all(&[batch], &[(LOCAL, &programs::ALONE)]);
}

#[test]
fn told_when_asked() {
    if !possible("copying as another user") {
        return;
    }
    let case = |name, args: &str| case(name, args).unordered();
    check_all(
        &[case("here", "-a --debug=cmd2 --copy-as=daemon:daemon"), case("there", "-a -M--debug=cmd2 -M--copy-as=1:1")],
        &[(LOCAL, &programs::ALONE), (PIPES, &programs::ONE_END)],
    );
}

/// The lines that tell why a run ended, each once: which of two processes comes to say them, and what one makes of the
/// other's end, is a matter of time in the reference.
fn reasons(outcome: &Outcome) -> Vec<String> {
    let mut lines = blur::blur(&outcome.stderr, &[], false);
    lines.retain(|line| !line.contains("connection unexpectedly closed") && !line.contains(" (code 12) "));
    for role in ["sender", "Receiver"] {
        lines.iter_mut().for_each(|line| *line = line.replace(role, "ROLE"));
    }
    lines.sort();
    lines.dedup();
    lines
}

/// Both ends ours, against both ends the reference's.
fn same_refusal(case: &Case, way: Way) -> Vec<String> {
    let [reference, ours] = [Program::Reference, Program::Ours].map(|program| {
        let ends = Ends { client: program, server: program };
        run_alone(case, way, ends).map(|run| (run.outcome.status, reasons(&run.outcome), run.tree))
    });
    let (Some(reference), Some(ours)) = (reference, ours) else { return Vec::new() };
    let mut told = reference.2.differences(&ours.2, false);
    // A server that gives up as the sender is not heard in the reference, nor is any before protocol 31.
    let unheard = reference.0 == Status::Exit(12) && ours.0 == Status::Exit(1);
    if (reference.0 != ours.0 && !unheard) || reference.1 != ours.1 {
        told.push(format!("  {:?}: {:?}\n  {:?}: {:?}", reference.0, reference.1, ours.0, ours.1));
    }
    if ours.0 == Status::Exit(0) || ours.1.is_empty() {
        told.push(format!("  not refused: {:?}", ours.1));
    }
    told.into_iter().map(|text| format!("{} · {way:?}\n{text}", case.name)).collect()
}

fn all_refused(cases: &[Case]) {
    let ways = [Way::Local, Way::PipePush, Way::PipePull];
    let told = cases.iter().flat_map(|case| ways.iter().flat_map(|way| same_refusal(case, *way)));
    let told: Vec<String> = told.collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn whom_there_is_not() {
    let case = |name, args| Case::new(name, args).tree(|dir| zoo::file(&dir.join("file"), b"content"));
    all_refused(&[
        case("no such user", "-a --copy-as=no-such-user"),
        case("nor there", "-a -M--copy-as=no-such-user"),
        case("no such group", "-a --copy-as=daemon:no-such-group"),
        case("no user", "-a --copy-as="),
        case("no user of a group", "-a --copy-as=:daemon"),
        case("no group", "-a --copy-as=daemon:"),
        case("no entry for a number", "-a --copy-as=3999999999"),
        case("too large a number", "-a --copy-as=99999999999"),
        case("too large a group", "-a --copy-as=daemon:99999999999"),
        case("at an older protocol", "-a --protocol=30 --copy-as=no-such-user"),
        case("there at an older one", "-a --protocol=29 -M--copy-as=no-such-user"),
    ]);
}

#[test]
fn without_privilege() {
    let case = |name, args| Case::new(name, args).tree(|dir| zoo::file(&dir.join("file"), b"content")).by_nobody();
    all_refused(&[
        case("another user", "-a --copy-as=daemon"),
        case("the super-user", "-a --copy-as=root"),
        case("the super-user there", "-a -M--copy-as=root"),
        case("ourselves", "-a --copy-as=nobody"),
        case("our group", "-a --copy-as=root:nogroup"),
    ]);
}

/// A remote shell may be another user's process by then, which we cannot end; it is not waited for.
#[test]
fn a_shell_that_stays() {
    if !possible("a shell of another user") {
        return;
    }
    let site = tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory");
    zoo::file(&site.path().join("file"), b"content");
    let words = "echo $$ >pid; shift; sh -c \"$*\"; exec sleep 300 </dev/null >/dev/null 2>&1\n";
    let shell = process::script("stays.sh", words).display().to_string();
    let server = format!("--rsync-path={}", Program::Ours.path().display());
    let argv = ["-a", "--copy-as=daemon", "-e", &shell, &server, "far:file", "closed/"];
    fs::create_dir(site.path().join("closed")).expect("directory");
    zoo::set_mode(&site.path().join("closed"), 0o700);
    let outcome = process::run(site.path(), &Program::Ours.path(), &argv, &[]);
    let pid = fs::read_to_string(site.path().join("pid")).expect("the shell ran");
    let shell = nix::unistd::Pid::from_raw(pid.trim().parse().expect("a number"));
    let stayed = nix::sys::signal::kill(shell, nix::sys::signal::Signal::SIGKILL);
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!((outcome.status, stayed), (Status::Exit(3), Ok(())), "{said}");
    assert!(said.contains("failed: Permission denied (13)"), "{said}");
}

/// Runs a program in groups of ours, where daemon is in `mail` and `news` besides its own.
fn in_groups(dir: &Path, program: &Path, argv: &[String]) -> Outcome {
    let script = "mount --bind group /etc/group && exec setpriv --groups=0,4,20 \"$@\"";
    let mut words: Vec<OsString> = ["-m", "sh", "-ec", script, "sh"].map(OsString::from).to_vec();
    words.push(program.into());
    words.extend(argv.iter().map(OsString::from));
    process::run_for(process::command(dir, Path::new("unshare"), &words), &[], process::PATIENCE)
}

/// Of the groups of who started the program none is left, and the user's own are joined unless a group is named.
#[test]
fn groups_besides() {
    if !possible("the groups of another user") {
        return;
    }
    let site = tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory");
    let path = |name: &str| -> PathBuf { site.path().join(name) };
    zoo::set_mode(site.path(), 0o755);
    fs::write(path("group"), "root:x:0:\ndaemon:x:1:\nmail:x:8:daemon\nnews:x:9:bin,daemon\nadm:x:4:\n")
        .expect("group");
    fs::create_dir(path("src")).expect("directory");
    for (name, group) in [("of-mail", 8), ("of-news", 9), ("of-adm", 4), ("of-daemon", DAEMON)] {
        zoo::file(&path("src").join(name), name.as_bytes());
        chown(path("src").join(name), Some(0), Some(group)).expect("owner");
        zoo::set_mode(&path("src").join(name), 0o040);
    }
    zoo::settle_dirs(&path("src"));
    let mounts =
        process::run(site.path(), Path::new("unshare"), &["-m", "mount", "--bind", "group", "/etc/group"], &[]);
    if mounts.status != Status::Exit(0) || Program::Reference.missing().is_some() {
        return skip("the groups of another user", &String::from_utf8_lossy(&mounts.stderr));
    }
    for user in ["daemon", "1", "daemon:news", "root", "bin"] {
        for far in [false, true] {
            let [reference, ours] = [Program::Reference, Program::Ours].map(|program| {
                let destination = path("dst");
                let _ = fs::remove_dir_all(&destination); // the run before
                fs::create_dir(&destination).expect("destination");
                zoo::set_mode(&destination, 0o777);
                let mut argv: Vec<String> = ["-rpgOi", "--debug=own2"].map(String::from).to_vec();
                argv.push(format!("{}--copy-as={user}", if far { "-M" } else { "" }));
                if far {
                    argv.extend(["-e".into(), stand_in().display().to_string()]);
                    argv.push(format!("--rsync-path={} --debug=own2", program.path().display()));
                }
                argv.extend(["src/".into(), if far { "far:dst/" } else { "dst/" }.into()]);
                let outcome = in_groups(site.path(), &program.path(), &argv);
                let names = [(site.path(), "@")];
                let mut said = [&outcome.stdout, &outcome.stderr].map(|text| blur::blur(text, &names, false));
                said[0].retain(|line| !line.starts_with("set gid of .")); // a temporary's name
                let entries = fs::read_dir(&destination).expect("destination");
                let mut held: Vec<_> = entries.map(|entry| described(&entry.expect("entry").path())).collect();
                held.sort();
                (outcome.status, said, held)
            });
            assert_eq!(reference, ours, "{user}, far: {far}");
            assert!(ours.1[0].iter().any(|line| line.contains("process has ")) || user == "root", "{:?}", ours.1);
        }
    }
}

fn described(path: &Path) -> (PathBuf, u32, u32, u32) {
    use std::os::unix::fs::MetadataExt;
    let found = fs::symlink_metadata(path).expect("an entry");
    (path.file_name().map(PathBuf::from).unwrap_or_default(), found.uid(), found.gid(), found.mode())
}
