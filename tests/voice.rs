//! What is said of a run, where, and when: formats, log files, levels, statistics, progress, listings; compared with the
//! reference.

mod harness;

use std::{
    fs,
    io::{BufReader, Read},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::{Child, ChildStdout, Stdio},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use harness::{
    Case, LOCAL, PIPES, check_all, everywhere, in_each_place, locally, process,
    programs::{self, Ends, Program},
    run_alone, zoo,
};

/// One of each kind, and names that need care.
fn kinds(top: &Path) {
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    zoo::file(&top.join("first"), &zoo::noise(5000, 1));
    fs::hard_link(top.join("first"), top.join("second")).unwrap();
    zoo::file(&top.join("same"), b"as it was");
    zoo::file(&top.join("sub/changed"), b"a new text");
    zoo::file(&top.join("sub/deep/new"), b"new");
    zoo::file(&top.join("sub/deep/moded"), b"moded");
    zoo::file(&top.join("esc\x1b and tab\t"), b"1");
    zoo::file(&top.join("é\\#123"), b"2");
    symlink("first", top.join("link")).unwrap();
    zoo::set_time(&top.join("link"), 1_400_000_000, 0);
    zoo::pipe(&top.join("pipe"));
    zoo::set_mode(&top.join("sub"), 0o750);
    zoo::settle_dirs(top);
}

fn old(top: &Path, _: &Path) {
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    fs::create_dir_all(top.join("gone/below")).unwrap();
    zoo::file(&top.join("gone/below/file"), b"gone");
    zoo::file(&top.join("same"), b"as it was");
    zoo::file(&top.join("sub/changed"), b"an older text");
    zoo::set_time(&top.join("sub/changed"), 1_200_000_000, 0);
    zoo::file(&top.join("sub/deep/moded"), b"moded");
    zoo::set_mode(&top.join("sub/deep/moded"), 0o600);
    zoo::settle_dirs(top);
}

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(kinds).before(old)
}

/// With a log file at each end.
fn logged(name: &'static str, args: &str) -> Case {
    row(name, args).arg("--log-file=log").server_args("--log-file=far.log").logs(&["log", "far.log"])
}

// Log files

#[test]
fn log_files_at_both_ends() {
    in_each_place(&[
        logged("log", "-aH"),
        logged("log with names", "-avH --delete"),
        logged("log with items", "-aiH --delete"),
        logged("log with all items", "-aiiH"),
        logged("log and all names", "-avvH").unordered(),
        logged("log of modes not kept", "-rlD --log-file-format=%B_%n"),
        logged("log of a dry run", "-anvH --delete"),
        logged("quiet log", "-aHq --delete"),
    ]);
    everywhere(&[
        logged("log and statistics", "-aH --stats"),
        logged("log of sizes and progress", "-aH --progress"),
        logged("log without a format", "-avH --delete --log-file-format="),
        logged("log without items", "-avH --delete --log-file-format=%n%L").unordered(),
        logged("log without items of links alone", "-av --log-file-format=%n --existing").unordered(),
        logged("log with operations", "-aH --delete --log-file-format=%o_%n_%l_%B_%M_%U_%G_%f"),
        logged("log with sums", "-aHc --log-file-format=%C_%n"),
        logged("log and another format", "-aH --out-format=%o_%n --log-file-format=%i_%l_%n"),
        logged("log after a format with sums", "-aH --out-format=%C_%b_%c_%n --delete"),
        logged("log of a whole list", "-aHv --no-inc-recursive --delete"),
        logged("log of a list", "--list-only -r").to(""),
        logged("log of nothing to do", "-aH").before(zoo::same),
        logged("log and what is missing", "-aH").from(&["src/", "nothing"]),
        logged("log of sources that go", "-a --remove-source-files --info=remove").own_source().unordered(),
        logged("log and skipped files", "-av --max-size=100 --info=skip,nonreg --no-specials").unordered(),
        logged("log with 8 bits", "-av8"),
    ]);
}

/// What is for the server alone goes to the receiving end of a local copy as well.
#[test]
fn options_for_the_other_end_of_a_local_copy() {
    let far = |name, args| row(name, args).logs(&["far.log"]);
    locally(&[
        far("a log of the other end", "-aHv --delete -M--log-file=far.log").unordered(),
        far("a log of the other end in a dry run", "-aHn --delete -M--log-file=far.log").unordered(),
        far("no such directory at the other end", "-a -M--log-file=none/far.log"),
        far("links munged at the other end", "-ai -M--munge-links"),
        far("links munged at both ends", "-ai --munge-links -M--munge-links"),
        far("links munged at this end", "-ai --munge-links -M-v"),
        far("other modes at the other end", "-ai --chmod=g+w -M--chmod=o-r"),
        far("modes changed at this end", "-ai --chmod=g+w -M-v"),
        far("other rules at the other end", "-ai -M--existing -M--no-perms -MI"),
        far("another list at the other end", "-ai -M--no-owner -M--no-group"),
        far("more told by the other end", "-a -M--info=skip,copy -M--existing -M-v").unordered(),
    ]);
    let case = row("nonsense for the other end", "-a -M--nonsense");
    let ours = Ends { client: Program::Ours, server: Program::Ours };
    let run = run_alone(&case, harness::Way::Local, ours).unwrap();
    assert_eq!(run.outcome.status, process::Status::Exit(1));
    assert!(String::from_utf8_lossy(&run.outcome.stderr).starts_with("rsync: --nonsense: unknown option"));
}

// What each item is told as, and the rest on the terminal

#[test]
fn formats() {
    everywhere(&[
        row("all escapes", "-aH --delete").arg("--out-format=%o|%n|%L|%f|%l|%'l|%''l|%'''l|%B|%U|%G|%M|%m|%%"),
        row("escapes of a daemon", "-aH").arg("--out-format=%h|%a|%u|%P|%z|%5z|%"),
        row("what moved", "-aH").arg("--out-format=%b|%c|%C|%i|%n"),
        row("sums of all", "-aHc").arg("--out-format=%C|%i|%n"),
        row("widths", "-aH").arg("--out-format=[%20n|%-20n|%'9l|%-9'l|%9'b|%30f|%10U|%-4G|%12B|%3%|%15i|%5L|%-9o]"),
        row("widths beyond sense", "-aH").arg("--out-format=%0000000000000000000000000000009n|%99l|%--5n|%5"),
        row("a format without names", "-aH --out-format=x"),
        row("an empty format", "-aH --out-format="),
        row("an empty format and names", "-avH --out-format="),
        row("literal percents do not itemize", "-aH --out-format=%%i_%n").before(zoo::same),
        row("unchanged ones too", "-aHii --delete"),
        row("unchanged ones in a format", "-aHvv --out-format=%i_%n").unordered(),
        row("items of times not kept", "-rlpi"),
        row("sums of what is deleted", "-aH --delete").arg("--out-format=[%C] %n|%i"),
        row("sums of different lengths", "-aH --delete --cc=sha1,md5").arg("--out-format=[%C] %n|%i"),
        row("sums of different lengths, listed", "-aHc --delete --cc=sha1,md5").arg("--out-format=[%C] %n|%i"),
        row("modes not kept", "-r --out-format=%B_%n"),
        row("what may be executed", "-rE --out-format=%B_%n"),
        row("items of access times", "-aiU").before(zoo::same).atimes(),
        row("items of a checksum run", "-aic --size-only"),
        row("items in a dry run", "-ainH --delete"),
    ]);
}

#[test]
fn numbers_and_statistics() {
    in_each_place(&[
        row("statistics", "-aH --stats --delete"),
        row("statistics of a dry run", "-aHn --stats --delete"),
        row("heaps", "-a --info=stats3").unordered(),
    ]);
    everywhere(&[
        row("plain numbers", "-av --stats --no-h"),
        row("thousands", "-a --stats -h"),
        row("units of 1024", "-a --stats -hh"),
        row("as far as it goes", "-a --stats -hhhh"),
        row("closing lines alone", "-a --info=stats1"),
        row("quiet statistics", "-aq --stats"),
        row("statistics in a log of old", "-a --stats --protocol=29"),
    ]);
}

fn many(top: &Path) {
    for number in 0..150 {
        zoo::file(&top.join(format!("{number}")), b"");
    }
    fs::create_dir(top.join("dir")).unwrap();
    zoo::settle_dirs(top);
}

/// Two directories to look through, with more than a hundred names.
fn more(top: &Path, source: &Path) {
    zoo::same(top, source);
    for number in 0..120 {
        zoo::file(&top.join(format!("dir/{number}")), b"");
        zoo::file(&top.join(format!("old {number}")), b"");
    }
    zoo::settle_dirs(top);
}

#[test]
fn progress() {
    everywhere(&[
        row("progress", "-aH --progress"),
        row("progress and partial files", "-aHP --stats"),
        row("progress of the run", "-aH --info=progress2"),
        row("progress of the run with names", "-aH --info=progress2,name").unordered(),
        row("progress without names", "-aHP --info=name0"),
        row("progress in units", "-aHhh --progress"),
        row("progress and a format", "-aH --progress --out-format=%n"),
        row("progress and a format told late", "-aH --progress --out-format=%i_%C"),
        row("progress of a whole list", "-aH --progress --no-inc-recursive"),
        row("progress nobody hears", "-aHq --progress"),
        row("progress of nothing", "-m --info=progress2"),
    ]);
    everywhere(&[
        row("counts of a list and of deletions", "-aH --delete-after --info=flist2").unordered(),
        row("counts going on", "-an --delete-before --info=flist2,progress").tree(many).before(more),
        row("counts of each directory", "-a --delete-before --info=flist2,del0").tree(many).before(more),
    ]);
}

#[test]
fn listings() {
    let listing = |name, args: &str| row(name, &format!("--list-only {args}")).to("");
    everywhere(&[
        listing("listing", "-r"),
        listing("listing with links", "-aH"),
        listing("listing without grouping", "-a --no-h"),
        listing("listing in units", "-ahh"),
        listing("listing of access times", "-aU").atimes(),
        listing("listing with 8 bits", "-a8"),
        listing("listing with a format", "-a --out-format=%n"),
        listing("listing and words", "-avv"),
        listing("quiet listing", "-aq"),
        listing("listing of a directory", "-d"),
        listing("listing with statistics", "-a --stats"),
        listing("listing of old", "-a --protocol=28"),
        row("a listing beside a destination", "-a --list-only"),
    ]);
    everywhere(&[listing("listing of long sizes and odd times", "-a").tree(|top| {
        for (name, size) in [("a", 999), ("b", 999_999_999), ("c", 123_456_789_012), ("d", 9_999_999_999_999)] {
            zoo::file(&top.join(name), b"");
            fs::File::options().write(true).open(top.join(name)).unwrap().set_len(size).unwrap();
            zoo::set_time(&top.join(name), size as i64 % 7_000_000_000 - 1_000_000, 0);
        }
        zoo::set_mode(&top.join("a"), 0o7777);
        zoo::settle_dirs(top);
    })]);
}

#[test]
fn where_lines_go() {
    let missing = |name, args| row(name, args).from(&["src/", "nothing"]);
    everywhere(&[
        missing("errors apart", "-aHv"),
        missing("errors to the client", "-aHv --stderr=client"),
        missing("all to standard error", "-aHv --stderr=all").unordered(),
        missing("messages to standard error", "-aHv --msgs2stderr").unordered(),
        missing("no messages to standard error", "-aHv --no-msgs2stderr"),
        missing("quiet", "-aHq --delete"),
        missing("quiet and verbose", "-aHqv --progress --stats"),
        missing("without a message of the day", "-aHv --no-motd"),
        missing("8 bits", "-aH8v"),
        row("line by line", "-av --outbuf=L"),
        row("in blocks", "-av --outbuf=B"),
        row("at once", "-av --outbuf=N"),
        row("no such buffering", "-av --outbuf=X"),
        row("no such standard error", "-av --stderr=x"),
        row("no such information", "-av --info=name,foo2"),
        row("no such debugging", "-av --debug=foo2,bar"),
    ]);
}

/// Every word alone and at each level: nothing is said that the reference does not say, and the other way round.
#[test]
fn each_word_of_info() {
    let words = "backup,copy,del,flist,misc,mount,name,nonreg,remove,skip,symsafe,all,none";
    let args: Vec<String> = words
        .split(',')
        .flat_map(|word| {
            (0..=2).map(move |level| format!("-aHb --delete --existing --safe-links --info={word}{level}"))
        })
        .collect();
    let rows: Vec<Case> = args.iter().map(|args| row("a word of --info", args).unordered()).collect();
    check_all(&rows, &[(LOCAL, &programs::ALONE), (&[harness::Way::PipePush], &programs::ONE_END[..1])]);
}

#[test]
fn each_word_of_debug() {
    let words = "acl,backup,bind,chdir,cmd,connect,del,deltasum,dup,exit,filter,flist,fuzzy,genr,hash,hlink,iconv,io,nstr,own,\
                 proto,recv,send,time";
    let args: Vec<String> = words
        .split(',')
        .flat_map(|word| (1..=4).map(move |level| format!("-aHy --delete --exclude=x --debug={word}{level}")))
        .collect();
    let rows: Vec<Case> = args.iter().map(|args| row("a word of --debug", args).unordered()).collect();
    locally(&rows);
    everywhere(&[
        row("help on --info", "--info=help"),
        row("help on --debug", "--debug=help"),
        row("two words", "-aHvv --delete").unordered(),
        row("three words", "-aHvvv --protocol=30").unordered(),
        row("words of arguments sent apart", "-aHvvs --delete").unordered(),
    ]);
}

/// What both ends say, where they are two programs.
#[test]
fn words_of_debug_at_both_ends() {
    let words = "acl,backup,chdir,del,deltasum2,dup,filter3,flist4,fuzzy2,genr,hash,hlink3,io4,own2,recv,send,time2";
    let args: Vec<String> = words
        .split(',')
        .flat_map(|word| {
            let both = format!("--debug={word} -M--debug={word}");
            [
                "-aHy --delete -b",
                "-aHc --no-inc-recursive --delete-after -x",
                "-aHb --protocol=29 --delete",
                "-aHnb --delete",
            ]
            .map(|args| format!("{args} {both}"))
        })
        .collect();
    let rows: Vec<Case> =
        args.iter().map(|args| row("a word of --debug at both ends", args).unordered().mingled()).collect();
    check_all(&rows, &[(PIPES, &programs::ONE_END)]);
    let sources = ["--debug=chdir -aR", "--debug=chdir -a --no-inc-recursive"];
    let rows = sources.map(|args| {
        row("changes of directory", args)
            .own_source()
            .from(&["src/sub/deep", "src/first", "src/sub/", "src/none/x", "src/link"])
            .unordered()
    });
    check_all(&rows, &[(LOCAL, &programs::ALONE), (PIPES, &programs::ONE_END)]);
}

/// What one direction of a connection says that it wrote is what the other one says that it read.
#[test]
fn the_flow_of_bytes_is_told() {
    let case = row("the flow of bytes", "-aH --stderr=all --debug=io4");
    let ours = Ends { client: Program::Ours, server: Program::Ours };
    let run = run_alone(&case, harness::Way::Local, ours).unwrap();
    let said = String::from_utf8_lossy(&run.outcome.stderr).into_owned();
    let sum = |of: &str, word: &str| -> u64 {
        let lines = said.lines().filter(|line| of.split(',').any(|who| line.starts_with(&format!("[{who}] "))));
        lines.filter_map(|line| line.split_once(word)?.1.parse::<u64>().ok()).sum()
    };
    let receiver = "Receiver,receiver,generator";
    assert!(sum("sender", "out sent=") > 1000, "{said}");
    assert_eq!(sum("sender", "out sent="), sum(receiver, "recv="), "{said}");
    assert_eq!(sum(receiver, "out sent="), sum("sender", "recv="), "{said}");
    let counted = |word: &str| said.lines().filter(|line| line.contains(word)).count();
    assert_eq!(counted("] send_msg(0, "), counted("] got msg=0, "), "{said}");
    assert!(counted("] perform_io(") > 0 && counted("] io_start_multiplex_in(") == 2, "{said}");
}

#[test]
fn log_files_with_older_protocols() {
    let rows: Vec<Case> = ["31", "30", "29", "28"]
        .into_iter()
        .flat_map(|version| {
            let old = |name, args: &str| logged(name, &format!("{args} --protocol={version}")).unordered();
            [
                old("log, older", "-avH --delete"),
                old("log, older, itemized", "-aiH --delete"),
                old("log, older, in other words", "-avH --log-file-format=%n%L"),
                old("log, older, with bytes moved", "-aH --log-file-format=%o_%b_%l_%n"),
            ]
        })
        .collect();
    everywhere(&rows);
}

#[test]
fn log_files_that_cannot_be() {
    locally(&[
        row("no directory for the log", "-av --log-file=none/log"),
        row("no directory for the log, quietly", "-aq --log-file=none/log"),
        row("the log is a directory", "-a --log-file=."),
    ]);
    check_all(&[row("no directory for the server's log", "-a -M--log-file=none/log")], &[(PIPES, &programs::ONE_END)]);
    check_all(
        &[Case::new("what is wrong with the options is logged", "-a --log-file=log --nonsense").logs(&["log"])],
        &[(LOCAL, &programs::ALONE)],
    );
}

#[test]
fn logs_are_added_to_and_readable() {
    let case = logged("an old log", "-a").with_file("log", b"what was there\n");
    locally(&[case]);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("src")).unwrap();
    let argv = ["-a", "--log-file=log", "src/", "dst/"];
    let outcome = process::run(dir.path(), &Program::Ours.path(), &argv, b"");
    assert_eq!(outcome.status, process::Status::Exit(0));
    let stat = fs::metadata(dir.path().join("log")).unwrap();
    assert_eq!(stat.permissions().mode() & 0o7777, 0o644);
    let text = fs::read_to_string(dir.path().join("log")).unwrap();
    let numbers: Vec<_> = text.lines().map(|line| &line[20..line.find(']').unwrap()]).collect();
    assert!(numbers.len() >= 2 && numbers.iter().all(|number| *number == numbers[0]), "{text}");
}

/// A link that belongs to somebody else does not lead our log anywhere.
#[test]
fn logs_do_not_follow_strangers() {
    if !programs::is_root() {
        return programs::skip("links of other users", "we are not root");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("src")).unwrap();
    fs::write(dir.path().join("victim"), "").unwrap();
    symlink("victim", dir.path().join("link")).unwrap();
    let run = |uid: u32, more: &[&str]| {
        std::os::unix::fs::lchown(dir.path().join("link"), Some(uid), Some(uid)).unwrap();
        let argv: Vec<&str> = [&["-a", "--log-file=link"][..], more, &["src/", "dst/"]].concat();
        let outcome = process::run(dir.path(), &Program::Ours.path(), &argv, b"");
        assert_eq!(outcome.status, process::Status::Exit(0));
        let size = fs::metadata(dir.path().join("victim")).unwrap().size();
        (size, String::from_utf8_lossy(&outcome.stderr).into_owned())
    };
    let (size, said) = run(65_534, &[]);
    assert_eq!(size, 0, "{said}");
    assert!(said.contains("failed to open log-file link"), "{said}");
    let (followed, said) = run(65_534, &["--insecure-links"]);
    assert!(followed > 0 && said.is_empty(), "{said}");
    assert!(run(0, &[]).0 > followed);
}

// When it is said

/// A run through a pipe that lets so many bytes pass and no more before somebody opens its gate: the first file, and a
/// part of the second.
struct Gated {
    dir: tempfile::TempDir,
    child: Child,
    out: BufReader<ChildStdout>,
    said: String,
}

const UNTIL_GATE: usize = 20_000;

impl Gated {
    fn start(program: Program, push: bool, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        zoo::file(&dir.path().join("src/a"), b"small");
        zoo::file(&dir.path().join("src/b"), &zoo::noise(4_000_000, 1));
        zoo::file(&dir.path().join("src/c"), b"small too");
        zoo::settle_dirs(&dir.path().join("src"));
        zoo::pipe(&dir.path().join("gate"));
        let gate = format!("{{ dd bs=1 count={UNTIL_GATE} 2>/dev/null; read x <gate; cat; }}");
        let words = "while :; do case \"$1\" in -l) shift 2;; -*) shift;; *) break;; esac; done\nshift\n";
        let run = match push {
            true => format!("mkfifo in; exec 3<&0\n{gate} <&3 >in &\nsh -c \"$*\" <in\n"),
            false => format!("sh -c \"$*\" | {gate}\n"),
        };
        fs::write(dir.path().join("far.sh"), words.to_string() + &run).unwrap();
        let path = program.path().display().to_string();
        let mut argv = vec!["-a".into(), "-e".into(), "sh far.sh".into(), format!("--rsync-path={path}")];
        argv.extend(args.iter().map(|arg| (*arg).to_string()));
        let ends = if push { ["src/", "far:dst/"] } else { ["far:src/", "dst/"] };
        argv.extend(ends.map(String::from));
        let mut command = process::command(dir.path(), &program.path(), &argv);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { dir, child, out, said: String::new() }
    }

    /// Reads until something is said; what never comes holds the test up.
    fn hear(&mut self, text: &str) {
        let mut byte = [0];
        while !self.said.contains(text) {
            assert_eq!(self.out.read(&mut byte).unwrap(), 1, "{text:?} is not in {:?}", self.said);
            self.said.push(char::from(byte[0]));
        }
    }

    /// Looks into the log until a line is there.
    fn see_logged(&mut self, line: &str) {
        let log = self.dir.path().join("log");
        while !fs::read_to_string(&log).unwrap_or_default().contains(line) {
            assert!(self.child.try_wait().unwrap().is_none(), "ended early");
            thread::yield_now();
        }
    }

    fn open(mut self) -> (Vec<String>, tempfile::TempDir) {
        fs::write(self.dir.path().join("gate"), "\n").unwrap();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}{rest}", self.said);
        let text = self.said + &rest;
        (harness::blur::blur(text.as_bytes(), &[(self.dir.path(), "@")], true), self.dir)
    }
}

/// What has been done has been told, however standard output is buffered, and stands in the log.
#[test]
fn lines_come_when_the_work_is_done() {
    for push in [true, false] {
        for outbuf in ["--outbuf=N", "--outbuf=L", "--outbuf=B", "-8"] {
            let mut run = Gated::start(Program::Ours, push, &[outbuf, "--out-format=%n %C", "--log-file=log"]);
            run.hear("./ ");
            run.hear("\na ");
            run.see_logged("+++ a\n");
            let (lines, _dir) = run.open();
            assert_eq!(lines.len(), 4, "{lines:?}");
        }
        let mut run = Gated::start(Program::Ours, push, &["-v"]);
        run.hear("\na\nb\n");
        run.open();
        let mut run = Gated::start(Program::Ours, push, &["--progress"]);
        run.hear("\nb\n\r ");
        run.open();
    }
}

/// A progress line on demand, whatever is told otherwise.
#[test]
fn progress_when_a_signal_asks_for_it() {
    for args in [&["-q"][..], &[], &["-v"], &["-i"], &["--info=name0", "--out-format=%n"], &["--info=progress2"]] {
        let run = |program: Program| {
            let mut run = Gated::start(program, true, &[args, &["--log-file=log"]].concat());
            // The sender is in the second file once the first one is logged.
            run.see_logged("+++ a\n");
            kill(Pid::from_raw(run.child.id() as i32), Signal::SIGVTALRM).unwrap();
            run.open().0
        };
        if programs::reference_is_there("progress on demand") {
            assert_eq!(run(Program::Ours), run(Program::Reference), "{args:?}");
        }
    }
}
