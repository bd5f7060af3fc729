//! Programs that call rsync, as Debian packs them: each makes its rounds over a changing tree, once with the reference as
//! `rsync` and once with ours, and must leave, say and return the same.

mod harness;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use harness::{
    Program, blur,
    process::{self, Status},
    programs::{self, Ends, ends},
    ssh,
    tree::Tree,
    zoo,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Where Debian's programs are; what else stands in `PATH` may be of another make.
const SYSTEM: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// One program at work: a place of its own, with the tree `src`, and an `rsync` that comes first in `PATH`.
struct Desk {
    path: PathBuf,
    ready: SystemTime,
    /// What was said, and the statuses, in order.
    told: Vec<String>,
}

impl Desk {
    fn new(path: PathBuf, ends: Ends, source: &Path) -> Self {
        for dir in ["bin", "program", "src", "out", "tmp"] {
            fs::create_dir_all(path.join(dir)).unwrap();
        }
        zoo::same(&path.join("src"), source);
        symlink(ends.client.path(), path.join("program/rsync")).unwrap();
        // What is to be started at the far end, if there is one.
        symlink(ends.server.path(), path.join("program/far")).unwrap();
        let at = path.display();
        // Calls are noted: which there are, and that it is this one that is called.
        let call = format!("#!/bin/sh\nprintf '%s\\n' \"rsync $*\" >>'{at}/calls'\nexec '{at}/program/rsync' \"$@\"\n");
        fs::write(path.join("bin/rsync"), call).unwrap();
        zoo::set_mode(&path.join("bin/rsync"), 0o755);
        Self { path, ready: SystemTime::now(), told: Vec::new() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file; `BOX` stands for this place.
    fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("BOX", &self.path.display().to_string())).unwrap();
    }

    /// A blank within a word is written `%20`.
    fn command(&self, words: &str) -> Command {
        let at = self.path.display().to_string();
        let mut words = words.split_whitespace().map(|word| word.replace("BOX", &at).replace("%20", " "));
        let program = words.next().unwrap();
        let program = if program.contains('/') { program.into() } else { found(&program).unwrap() };
        let mut command = process::command(&self.path, &program, &words.collect::<Vec<_>>());
        command
            .env("PATH", format!("{at}/bin:{SYSTEM}"))
            .env("TMPDIR", self.at("tmp"))
            .env("PERL_HASH_SEED", "0")
            .env("PERL_PERTURB_KEYS", "0");
        command
    }

    /// Runs a command line, which succeeds, and keeps what it says; `BOX` stands for this place.
    fn run(&mut self, words: &str) {
        self.run_in("", words);
    }

    fn run_in(&mut self, dir: &str, words: &str) {
        let status = self.try_in(dir, words);
        assert_eq!(status, Status::Exit(0), "{}", self.told.concat());
    }

    /// Runs a command line in a directory, however it ends.
    fn try_in(&mut self, dir: &str, words: &str) -> Status {
        let mut command = self.command(words);
        command.current_dir(self.path.join(dir));
        let outcome = process::run_for(command, b"", process::PATIENCE);
        self.told.push(format!("$ {words}: {:?}\n", outcome.status));
        self.note(&outcome.stdout);
        self.note(&outcome.stderr);
        outcome.status
    }

    /// Keeps what was said.
    fn note(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let text: String = text.split_inclusive('\n').map(without_moment).collect();
        let lines = blur::blur(text.as_bytes(), &[(&self.path, "BOX")], true);
        // One of the reference's processes tells deletions, another one files: how they meet is a matter of time.
        let (deletions, rest): (Vec<_>, Vec<_>) =
            lines.iter().partition(|line| line.trim_start_matches('*').starts_with("deleting "));
        self.told.extend(deletions.into_iter().chain(rest).map(|line| without_clock(line)));
    }

    /// Keeps a file that the program wrote, and takes it away: it is told by what it says, not by its bytes.
    fn note_file(&mut self, name: &str) {
        let text = fs::read(self.at(name)).unwrap_or_else(|error| format!("{name}: {error}\n").into_bytes());
        self.told.push(format!("{name}:\n"));
        self.note(&text);
        let _ = fs::remove_file(self.at(name));
    }

    /// Gives the one entry whose name is a time a name that it has in every run.
    fn rename(&self, dir: &str, is_time: impl Fn(&str) -> bool, name: &str) {
        let mut entries = fs::read_dir(self.at(dir)).unwrap().map(|entry| entry.unwrap());
        let entry = entries.find(|entry| entry.file_name().to_str().is_some_and(&is_time)).expect("something new");
        fs::rename(entry.path(), self.at(dir).join(name)).unwrap();
    }

    /// Where it is a matter of time which are made first or how often, and of chance how letters follow each other.
    fn sort_calls(&self) {
        let in_order = |word: &str| {
            let mut letters = word.as_bytes().to_vec();
            if word.starts_with('-') && !word.starts_with("--") {
                letters.sort();
            }
            String::from_utf8(letters).unwrap()
        };
        let calls = fs::read_to_string(self.at("calls")).unwrap();
        let distinct: BTreeSet<String> =
            calls.lines().map(|call| call.split(' ').map(in_order).collect::<Vec<_>>().join(" ") + "\n").collect();
        fs::write(self.at("calls"), distinct.into_iter().collect::<String>()).unwrap();
    }

    /// The end: what is below `out`, and the calls.
    fn finish(mut self) -> (Vec<String>, Tree) {
        self.note_file("calls");
        (self.told, Tree::read(&self.path.join("out"), self.ready, false))
    }
}

/// A program of the system.
fn found(name: &str) -> Option<PathBuf> {
    SYSTEM.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

/// A log's line without the moment at its beginning: `[2024-05-06T07:08:09] …`.
fn without_moment(line: &str) -> &str {
    match line.split_once("] ") {
        Some((head, rest)) if head.starts_with("[2") => rest,
        _ => line,
    }
}

/// What stands before the number of a process.
const PROCESSES: &[&str] = &["echo ", "[", "pid=", "Job "];

/// Times of day, dates, and numbers of processes: digits with colons or dashes between, and long numbers.
fn without_clock(line: &str) -> String {
    let line = PROCESSES.iter().fold(line.to_string(), |line, mark| match line.split_once(mark) {
        Some((head, tail)) => format!("{head}{mark}{}", tail.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => line,
    });
    const NAMES: &str = "Mon Tue Wed Thu Fri Sat Sun Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    let word = |word: &str| -> String {
        if let Some((head, _)) = word.split_once("BOX/tmp/tmp") {
            return format!("{head}BOX/tmp/#{}", if word.ends_with('\n') { "\n" } else { "" });
        }
        if NAMES.split(' ').any(|name| name == word) {
            return "DAY".into();
        }
        let mut out = String::new();
        let mut rest = word;
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let (head, tail) = rest.split_at(start);
            let clock = |c: char| c.is_ascii_digit() || matches!(c, ':' | '-' | 'T');
            let end = tail.find(|c: char| !clock(c)).unwrap_or(tail.len());
            let (number, more) = tail.split_at(end);
            out.push_str(head);
            out.push_str(if number.len() >= 5 { "#" } else { number });
            rest = more;
        }
        out + rest
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The tree in its first state.
fn first(top: &Path) {
    for dir in ["docs/deep/deeper", "empty", "mail"] {
        fs::create_dir_all(top.join(dir)).unwrap();
    }
    zoo::file(&top.join("docs/report"), &zoo::noise(70_000, 1));
    zoo::file(&top.join("docs/deep/notes"), b"some notes\n");
    zoo::file(&top.join("docs/deep/deeper/a name with blanks"), b"blank\n");
    zoo::file(&top.join("docs/deep/Grüße"), b"hello\n");
    zoo::file(&top.join("mail/box"), &zoo::noise(20_000, 2));
    zoo::file(&top.join("mail/scratch.tmp"), b"not to be kept\n");
    zoo::file(&top.join("mail/none"), b"");
    zoo::set_mode(&top.join("mail/box"), 0o600);
    zoo::file(&top.join("run.sh"), b"#!/bin/sh\n");
    zoo::set_mode(&top.join("run.sh"), 0o755);
    fs::hard_link(top.join("docs/report"), top.join("docs/deep/the same report")).unwrap();
    symlink("docs/report", top.join("latest")).unwrap();
    symlink("nowhere", top.join("dangling")).unwrap();
    for link in ["latest", "dangling"] {
        zoo::set_time(&top.join(link), 1_400_000_000, 0);
    }
    zoo::set_mode(&top.join("empty"), 0o750);
    zoo::settle_dirs(top);
}

/// What happens to it between rounds.
fn change(top: &Path, round: u32) {
    match round {
        1 => {
            let mut report = fs::read(top.join("docs/report")).unwrap();
            report.splice(30_000..30_010, *b"another piece of text");
            fs::write(top.join("docs/report"), report).unwrap();
            zoo::set_time(&top.join("docs/report"), 1_450_000_000, 5);
            zoo::file(&top.join("docs/new"), b"new\n");
            fs::remove_file(top.join("docs/deep/notes")).unwrap();
            zoo::set_mode(&top.join("run.sh"), 0o700);
            zoo::set_time(&top.join("mail/none"), 1_450_000_001, 0);
        }
        _ => {
            fs::rename(top.join("docs/deep"), top.join("docs/moved")).unwrap();
            fs::remove_file(top.join("latest")).unwrap();
            fs::create_dir(top.join("latest")).unwrap();
            zoo::file(&top.join("latest/inside"), b"was a link\n");
            fs::remove_dir(top.join("empty")).unwrap();
            zoo::file(&top.join("empty"), b"was a directory\n");
            fs::remove_file(top.join("dangling")).unwrap();
        }
    }
    zoo::settle_dirs(top);
}

/// Why a program cannot be tested here, if so: said, and counted.
fn skipped(what: &str, commands: &[&str]) -> bool {
    let missing = commands.iter().find(|name| found(name).is_none());
    if let Some(name) = missing {
        harness::skip(what, &format!("{name} is not installed"));
    }
    missing.is_some() || !programs::reference_is_there(what)
}

const BOTH: [Ends; 2] = [ends(Program::Reference, Program::Reference), ends(Program::Ours, Program::Ours)];
const EACH_END: [Ends; 4] =
    [BOTH[0], BOTH[1], ends(Program::Ours, Program::Reference), ends(Program::Reference, Program::Ours)];

/// Lets `play` happen with the reference, and with ours, and compares.
fn compare(what: &str, all_ends: &[Ends], play: impl Fn(&mut Desk)) {
    let dir = tempfile::Builder::new().prefix("oc-rsync-").tempdir().unwrap();
    let source = dir.path().join("src");
    fs::create_dir(&source).unwrap();
    first(&source);
    let mut runs = all_ends.iter().map(|&ends| {
        // The same place each time: paths are part of what is kept.
        let place = dir.path().join("box");
        let mut desk = Desk::new(place.clone(), ends, &source);
        play(&mut desk);
        let left = desk.finish();
        fs::remove_dir_all(place).unwrap();
        (ends, left)
    });
    let (_, (told, tree)) = runs.next().unwrap();
    if std::env::var_os("OC_RSYNC_TOLD").is_some() {
        eprintln!("{}", told.concat());
    }
    assert!(told.iter().any(|line| line.starts_with("rsync ")), "{what}: rsync was never called\n{}", told.concat());
    let mut differences = Vec::new();
    for (ends, (ours, our_tree)) in runs {
        let mut found = tree.differences(&our_tree, false);
        found.extend(blur::line_difference(&told, &ours));
        differences.extend(found.into_iter().map(|text| format!("{what} · {ends:?}\n{text}")));
    }
    assert!(differences.is_empty(), "{} differences:\n\n{}", differences.len(), differences.join("\n\n"));
}

/// Waits for something that a program in the background does.
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + process::PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Three rounds and a rotation; `backup` lines say what of.
fn rsnapshot(desk: &mut Desk, more: &str) {
    let conf = format!(
        "config_version\t1.2\nsnapshot_root\tBOX/out/\ncmd_cp\t/bin/cp\ncmd_rm\t/bin/rm\ncmd_ssh\t/usr/bin/ssh\n\
         cmd_rsync\tBOX/bin/rsync\nretain\thourly\t3\nretain\tdaily\t2\nverbose\t3\nloglevel\t5\nlogfile\tBOX/log\n\
         lockfile\tBOX/lock\nexclude\t*.tmp\n{more}"
    );
    desk.write("rsnapshot.conf", &conf);
    desk.run("rsnapshot -c BOX/rsnapshot.conf configtest");
    for round in 0..4 {
        if (1..3).contains(&round) {
            change(&desk.at("src"), round);
        }
        desk.run("rsnapshot -c BOX/rsnapshot.conf hourly");
    }
    desk.run("rsnapshot -c BOX/rsnapshot.conf daily");
    desk.note_file("log");
}

const LONG: &str = "rsync_long_args\t--delete --numeric-ids --relative --delete-excluded --stats";

#[test]
fn rsnapshot_with_link_dest() {
    if skipped("rsnapshot", &["rsnapshot"]) {
        return;
    }
    compare("rsnapshot", &BOTH, |desk| {
        rsnapshot(desk, &format!("link_dest\t1\nrsync_short_args\t-aHi\n{LONG}\nbackup\tBOX/src/./\there/\n"));
    });
}

/// Without `link_dest` it copies the last snapshot with `cp -al`, and rsync changes the copy.
#[test]
fn rsnapshot_over_linked_copies() {
    if skipped("rsnapshot with cp -al", &["rsnapshot"]) {
        return;
    }
    compare("rsnapshot with cp -al", &BOTH, |desk| {
        rsnapshot(
            desk,
            "link_dest\t0\nrsync_short_args\t-av\nbackup\tBOX/src/./docs/\there/\nbackup\tBOX/src/./mail\tthere/\n",
        );
    });
}

#[test]
fn rsnapshot_from_afar() {
    let config = match ssh::config() {
        Ok(config) => config.display(),
        Err(why) => return harness::skip("rsnapshot over ssh", why),
    };
    if skipped("rsnapshot over ssh", &["rsnapshot"]) {
        return;
    }
    compare("rsnapshot over ssh", &EACH_END, |desk| {
        let more = format!(
            "link_dest\t1\nrsync_short_args\t-aH\nssh_args\t-F {config}\n{LONG} --rsync-path=BOX/program/far\n\
             backup\troot@far:BOX/src/./\tafar/\n"
        );
        rsnapshot(desk, &more);
    });
}

/// Two rounds into a vault, the second beside the first.
fn dirvish(desk: &mut Desk, client: &str, more: &str) {
    // Where it looks for its own settings is written in the program.
    let text = fs::read_to_string(found("dirvish").unwrap()).unwrap();
    let (head, tail) = text.split_once("$CONFDIR = \"/etc/dirvish\";").expect("dirvish says where its settings are");
    desk.write("dirvish.pl", "");
    fs::write(desk.at("dirvish.pl"), format!("{head}$CONFDIR = \"{}\";{tail}", desk.at("etc").display())).unwrap();
    desk.write("etc/master.conf", "bank:\n\tBOX/out\nindex: none\n");
    let conf = format!("client: {client}\ntree: BOX/src\nxdev: 0\nlog: text\nexclude:\n\t*.tmp\n\t/mail/none\n{more}");
    desk.write("out/vault/dirvish/default.conf", &conf);
    for (round, options) in ["--init", "", "--no-run", ""].into_iter().enumerate() {
        let image = format!("out/vault/image{round}");
        desk.run(&format!("perl BOX/dirvish.pl --vault vault --image image{round} {options}"));
        for file in ["log", "summary", "rsync_error"] {
            desk.note_file(&format!("{image}/{file}"));
        }
        if round == 0 || round == 1 {
            change(&desk.at("src"), round as u32 + 1);
        }
    }
    desk.note_file("out/vault/dirvish/default.hist");
}

#[test]
fn dirvish_here() {
    if skipped("dirvish", &["dirvish"]) {
        return;
    }
    let host =
        Command::new("hostname").output().map_or_else(|_| String::new(), |out| String::from_utf8(out.stdout).unwrap());
    compare("dirvish", &BOTH, |desk| dirvish(desk, host.trim(), "sparse: 1\n"));
}

#[test]
fn dirvish_from_afar() {
    let config = match ssh::config() {
        Ok(config) => config.display(),
        Err(why) => return harness::skip("dirvish over ssh", why),
    };
    if skipped("dirvish over ssh", &["dirvish"]) {
        return;
    }
    compare("dirvish over ssh", &EACH_END, |desk| {
        dirvish(desk, "root@far", &format!("rsh: ssh -F {config}\nrsync-client: BOX/program/far\nchecksum: 1\n"));
    });
}

/// Many calls, each over a part of the tree, with lists of names.
#[test]
fn fpsync() {
    if skipped("fpsync", &["fpsync", "fpart"]) {
        return;
    }
    compare("fpsync", &BOTH, |desk| {
        for (round, options) in ["-f 3", "-s 40000", "-E -f 4"].into_iter().enumerate() {
            let run = format!("run{round}");
            fs::create_dir(desk.at(&run)).unwrap();
            desk.run(&format!(
                "fpsync -t BOX/{run} -n 1 {options} -o -lptgoDHi%20--numeric-ids%20--exclude=*.tmp BOX/src/ BOX/out/"
            ));
            // Which part of the tree comes first is a matter of time, and with it who makes what is above.
            let mut lines: Vec<String> = Vec::new();
            for log in files_below(&desk.at(&run).join("log")) {
                if log.extension().is_some_and(|kind| kind == "stdout" || kind == "stderr") {
                    lines.extend(fs::read_to_string(log).unwrap().lines().map(|line| format!("{line}\n")));
                }
            }
            lines.sort();
            desk.note(lines.concat().as_bytes());
            if round < 2 {
                change(&desk.at("src"), round as u32 + 1);
            }
        }
        desk.sort_calls();
    });
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Commits in a working directory, a clone of it, and changes that go there and come back.
#[test]
fn yarsync() {
    if skipped("yarsync", &["yarsync"]) {
        return;
    }
    compare("yarsync", &BOTH, |desk| {
        zoo::same(&desk.at("out/work"), &desk.at("src"));
        desk.run_in("out/work", "yarsync init one");
        commit(desk, "out/work", 1);
        desk.run_in("out/work", "yarsync status");
        desk.run_in("out", "yarsync clone -n two -o one BOX/out/work BOX/out/copy");
        desk.run_in("out/work", "yarsync remote add two BOX/out/copy");
        for round in 1..3 {
            change(&desk.at("out/work"), round);
            // A dry run fails on what would stand in a link's place, and it asks by a dry run.
            let _ = fs::remove_file(desk.at("out/work/latest/inside"));
            desk.run_in("out/work", "yarsync status");
            commit(desk, "out/work", round + 1);
            desk.run_in("out/work", "yarsync push -n two");
            desk.run_in("out/work", "yarsync push two");
        }
        zoo::file(&desk.at("out/copy/docs/from the copy"), b"that is new\n");
        commit(desk, "out/copy", 9);
        desk.run_in("out/work", "yarsync pull two");
        desk.run_in("out/work", "yarsync diff 1000000001 1000000003");
        desk.run_in("out/work", "yarsync checkout 1000000001");
        for repository in ["work", "copy"] {
            for log in files_below(&desk.at("out").join(repository).join(".ys/logs")) {
                fs::remove_file(log).unwrap();
            }
        }
    });
}

/// A commit is called by its time in seconds: here by its number, so that none takes a second.
fn commit(desk: &mut Desk, dir: &str, number: u32) {
    desk.run_in(dir, &format!("yarsync commit -m number%20{number}"));
    let is_time = |name: &str| {
        name.split('.').next().is_some_and(|time| time.parse::<u64>().is_ok_and(|time| time > 1_100_000_000))
    };
    desk.rename(&format!("{dir}/.ys/commits"), is_time, &format!("100000000{number}"));
    desk.rename(&format!("{dir}/.ys/logs"), is_time, &format!("100000000{number}.txt"));
}

/// Three snapshots, each with links into the one before, and one file brought back.
#[test]
fn backintime() {
    if skipped("backintime", &["backintime"]) {
        return;
    }
    compare("backintime", &BOTH, |desk| {
        let conf = "config.version=6\nprofiles.version=1\nprofile1.snapshots.include.1.type=0\n\
                    profile1.snapshots.include.1.value=BOX/src\nprofile1.snapshots.include.size=1\n\
                    profile1.snapshots.exclude.1.value=*.tmp\nprofile1.snapshots.exclude.size=1\n\
                    profile1.snapshots.mode=local\nprofile1.snapshots.path=BOX/snapshots\n\
                    profile1.snapshots.path.host=here\nprofile1.snapshots.path.user=root\n\
                    profile1.snapshots.path.profile=1\nprofile1.snapshots.no_on_battery=false\n\
                    profile1.snapshots.notify.enabled=false\nprofile1.schedule.mode=0\n\
                    profile1.snapshots.remove_old_snapshots.enabled=false\n\
                    profile1.snapshots.min_free_space.enabled=false\n\
                    profile1.snapshots.min_free_inodes.enabled=false\nprofile1.snapshots.log_level=3\n";
        desk.write("config", conf);
        let all = "snapshots/backintime/here/root/1";
        fs::create_dir_all(desk.at(all)).unwrap();
        for round in 0..3 {
            if round > 0 {
                change(&desk.at("src"), round);
            }
            desk.run("backintime --config BOX/config --share-path BOX/share backup");
            // Called by its time, which must be later than that of the one before.
            desk.rename(
                all,
                |name| name.len() == 19 && !name.starts_with("2000"),
                &format!("20000101-00000{round}-000"),
            );
            let newest = desk.at(all).join("last_snapshot");
            fs::remove_file(&newest).unwrap();
            symlink(format!("20000101-00000{round}-000"), newest).unwrap();
        }
        desk.run("backintime --config BOX/config --share-path BOX/share restore BOX/src/docs/report BOX/src/back 2");
        for round in 0..3 {
            let from =
                desk.at(&format!("{all}/20000101-00000{round}-000/backup")).join(desk.path.strip_prefix("/").unwrap());
            fs::rename(from.join("src"), desk.at(&format!("out/{round}"))).unwrap();
        }
        fs::rename(desk.at("src/back"), desk.at("out/back")).unwrap();
    });
}

/// It runs in the background, and follows what happens to the tree.
#[test]
fn lsyncd() {
    if skipped("lsyncd", &["lsyncd"]) {
        return;
    }
    compare("lsyncd", &BOTH, |desk| {
        let conf = "settings { logfile = 'BOX/log', nodaemon = true, maxProcesses = 1 }\n\
                    sync { default.rsync, source = 'BOX/src', target = 'BOX/out', delay = 1, delete = true,\n\
                    exclude = { '*.tmp' }, rsync = { binary = 'BOX/bin/rsync', archive = true, hard_links = true } }\n";
        desk.write("lsyncd.conf", conf);
        // It does not know that a change concerns another name too.
        for name in ["mail/scratch.tmp", "docs/deep/the same report"] {
            fs::remove_file(desk.at("src").join(name)).unwrap();
        }
        let mut command = desk.command("lsyncd BOX/lsyncd.conf");
        let output = fs::File::create(desk.at("said")).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut daemon = Daemon(command.spawn().unwrap());
        let log = desk.at("log");
        let logged = |words: &str| fs::read_to_string(&log).is_ok_and(|text| text.contains(words));
        wait_until("the first transfer", || logged("finished."));
        for round in 1..3 {
            change(&desk.at("src"), round);
            let wanted = Tree::read(&desk.at("src"), desk.ready, false);
            let same = || wanted.differences(&Tree::read(&desk.at("out"), desk.ready, false), false).is_empty();
            wait_until("a change to arrive", same);
        }
        assert!(!logged("exitcode: 1") && !logged("exitcode: 2") && !logged("Error"));
        kill(Pid::from_raw(daemon.0.id() as i32), Signal::SIGTERM).unwrap();
        desk.told.push(format!("{:?}\n", daemon.0.wait().unwrap()));
        // How changes are put together into calls is a matter of time.
        desk.sort_calls();
    });
}

/// Ended with the test, whatever comes.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}
