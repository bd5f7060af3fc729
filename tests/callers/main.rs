//! Programs that call rsync, as Debian packs them: each makes its rounds over a changing tree, once with the reference as
//! `rsync` and once with ours, and must leave, say and return the same.

#[path = "../harness/mod.rs"]
mod harness;

mod confine;
mod desk;
mod rrsync;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use desk::{BOTH, Desk, EACH_END, change, compare, enrich, found, skipped};
use harness::{process, ssh, tree::Tree, zoo};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

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

#[test]
fn rsnapshot_with_lists_and_attributes() {
    if skipped("rsnapshot with lists and attributes", &["rsnapshot", "setfacl"]) {
        return;
    }
    compare("rsnapshot with lists and attributes", &BOTH, |desk| {
        enrich(&desk.at("src"));
        rsnapshot(desk, &format!("link_dest\t1\nrsync_short_args\t-aHAXi\n{LONG}\nbackup\tBOX/src/./\there/\n"));
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

#[test]
fn rsnapshot_from_afar_compressed_with_lists_and_attributes() {
    let config = match ssh::config() {
        Ok(config) => config.display(),
        Err(why) => return harness::skip("rsnapshot over ssh, all of a file", why),
    };
    if skipped("rsnapshot over ssh, all of a file", &["rsnapshot", "setfacl"]) {
        return;
    }
    compare("rsnapshot over ssh, all of a file", &EACH_END, |desk| {
        enrich(&desk.at("src"));
        let long = LONG.replace(" --stats", ""); // how many bytes depends on the compression
        let more = format!(
            "link_dest\t1\nrsync_short_args\t-aHAXzi\nssh_args\t-F {config}\n{long} --rsync-path=BOX/program/far\n\
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

#[test]
fn dirvish_compressed_with_lists_and_attributes() {
    let config = match ssh::config() {
        Ok(config) => config.display(),
        Err(why) => return harness::skip("dirvish over ssh, all of a file", why),
    };
    if skipped("dirvish over ssh, all of a file", &["dirvish", "setfacl"]) {
        return;
    }
    compare("dirvish over ssh, all of a file", &EACH_END, |desk| {
        enrich(&desk.at("src"));
        let options = "zxfer: 1\nrsync-option:\n\t--acls\n\t--xattrs\n";
        dirvish(desk, "root@far", &format!("rsh: ssh -F {config}\nrsync-client: BOX/program/far\n{options}"));
    });
}

#[test]
fn fpsync_here() {
    if skipped("fpsync", &["fpsync", "fpart"]) {
        return;
    }
    compare("fpsync", &BOTH, |desk| fpsync(desk, "-lptgoDHi"));
}

#[test]
fn fpsync_compressed_with_lists_and_attributes() {
    if skipped("fpsync, all of a file", &["fpsync", "fpart", "setfacl"]) {
        return;
    }
    compare("fpsync, all of a file", &BOTH, |desk| {
        enrich(&desk.at("src"));
        fpsync(desk, "-lptgoDHAXzi");
    });
}

/// Many calls, each over a part of the tree, with lists of names.
fn fpsync(desk: &mut Desk, letters: &str) {
    for (round, options) in ["-f 3", "-s 40000", "-E -f 4"].into_iter().enumerate() {
        let run = format!("run{round}");
        fs::create_dir(desk.at(&run)).unwrap();
        desk.run(&format!(
            "fpsync -t BOX/{run} -n 1 {options} -o {letters}%20--numeric-ids%20--exclude=*.tmp BOX/src/ BOX/out/"
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

#[test]
fn backintime_here() {
    if skipped("backintime", &["backintime"]) {
        return;
    }
    compare("backintime", &BOTH, |desk| backintime(desk, ""));
}

#[test]
fn backintime_with_lists_and_attributes() {
    if skipped("backintime with lists and attributes", &["backintime", "setfacl"]) {
        return;
    }
    compare("backintime with lists and attributes", &BOTH, |desk| {
        enrich(&desk.at("src"));
        let keep = "profile1.snapshots.preserve_acl=true\nprofile1.snapshots.preserve_xattr=true\n";
        backintime(desk, keep);
    });
}

/// Its command line, whose log it reads by columns. (Timeshift itself wants a system to keep.)
#[test]
fn as_timeshift_calls() {
    compare("timeshift's call", &BOTH, |desk| {
        desk.write("exclude.list", "+ /mail/***\n- *.tmp\n");
        for round in 0..3 {
            if round > 0 {
                change(&desk.at("src"), round);
            }
            fs::create_dir(desk.at(&format!("out/{round}"))).unwrap();
            let before = round.checked_sub(1).map_or(String::new(), |before| format!("--link-dest=BOX/out/{before} "));
            desk.run(&format!(
                "BOX/bin/rsync -aii --recursive --verbose --delete --force --stats --sparse --delete-excluded {before}\
                 --log-file=BOX/rsync-log --exclude-from=BOX/exclude.list BOX/src/ BOX/out/{round}/"
            ));
            let log = fs::read(desk.at("rsync-log")).unwrap();
            desk.note(&harness::blur::without_stamps(&log));
            fs::remove_file(desk.at("rsync-log")).unwrap();
        }
    });
}

/// Three snapshots, each with links into the one before, and one file brought back; `more`: further settings.
fn backintime(desk: &mut Desk, more: &str) {
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
    desk.write("config", &format!("{conf}{more}"));
    let all = "snapshots/backintime/here/root/1";
    fs::create_dir_all(desk.at(all)).unwrap();
    for round in 0..3 {
        if round > 0 {
            change(&desk.at("src"), round);
        }
        desk.run("backintime --config BOX/config --share-path BOX/share backup");
        // Called by its time, which must be later than that of the one before.
        desk.rename(all, |name| name.len() == 19 && !name.starts_with("2000"), &format!("20000101-00000{round}-000"));
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
        let text = fs::read_to_string(&log).unwrap();
        let end = text.find("finished.").map_or(text.len(), |at| at + "finished.\n".len());
        desk.note(text.get(..end).unwrap_or(&text).as_bytes());
        for round in 1..3 {
            change(&desk.at("src"), round);
            let wanted = Tree::read(&desk.at("src"), desk.ready, false);
            let same = || {
                let now = Tree::try_read(&desk.at("out"), &[], desk.ready, false);
                now.is_ok_and(|now| wanted.differences(&now, false).is_empty())
            };
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
