//! What is removed: extraneous files at the destination, arguments that the sender misses, sources that have arrived;
//! and what is passed over.

mod harness;

use std::{fs, os::unix::fs::symlink, path::Path, process::Stdio, time::Instant};

use harness::{Case, LOCAL, Program, Traffic, check_all, in_each_place, process, programs::ALONE, zoo};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(some).before(more)
}

fn named(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}

fn make(top: &Path, paths: &[&str]) {
    for path in paths {
        let path = top.join(path);
        match path.to_str().and_then(|path| path.strip_suffix('/')) {
            Some(dir) => fs::create_dir_all(dir).expect("directory"),
            None => {
                fs::create_dir_all(path.parent().expect("parent")).expect("directory");
                zoo::file(&path, path.file_name().expect("name").as_encoded_bytes());
            }
        }
    }
}

/// Some files, some directories, names around each other in the order.
fn some(top: &Path) {
    make(top, &["a", "b/c", "b/d/e", "b-/f", "b.x", "empty/", "kind/file", "kind/dir/inside", "z/last"]);
    symlink("a", top.join("kind/link")).expect("link");
    zoo::settle_dirs(top);
}

/// The same, and much that should not be there.
fn more(destination: &Path, source: &Path) {
    zoo::same(destination, source);
    make(
        destination,
        &["0", "aa", "b/0", "b/d/x/y/z", "b/d/x/w", "b/x-/1", "b/x/1", "b-/0/", "b-/g", "zz/1", "zz/2/3", "only/"],
    );
    make(destination, &["empty/not", "kind/.hidden"]);
    symlink("nowhere", destination.join("kind/lonk")).expect("link");
    symlink(".", destination.join("b/self")).expect("link");
    nix::unistd::mkfifo(&destination.join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("pipe");
    // Another type than the source has, with contents.
    fs::remove_file(destination.join("kind/file")).expect("file");
    fs::remove_file(destination.join("kind/link")).expect("link");
    fs::remove_dir_all(destination.join("kind/dir")).expect("directory");
    make(destination, &["kind/file/1", "kind/file/2/3", "kind/link/4", "kind/dir"]);
    zoo::settle_dirs(destination);
}

const WHEN: [&str; 5] = ["--delete", "--delete-before", "--del", "--delete-delay", "--delete-after"];

#[test]
fn each_time_at_each_protocol() {
    for protocol in [32, 31, 30, 29] {
        let cases = WHEN.map(|when| {
            let name = named(format!("{when} at {protocol}"));
            row(name, &format!("-ai --stats {when} --protocol={protocol}"))
        });
        in_each_place(&cases);
    }
}

#[test]
fn before_deletions_had_a_message() {
    in_each_place(&[
        row("--del at 28", "-av --del --protocol=28"),
        row("--delete-after at 27", "-ai --delete-after --protocol=27"),
        moving("moved at 28", "-ai --remove-source-files --protocol=28"),
    ]);
}

#[test]
fn each_time_in_each_voice() {
    for voice in ["-av", "-a", "-ain", "-aiv --no-i-r"] {
        in_each_place(&WHEN.map(|when| row(named(format!("{when} {voice}")), &format!("{voice} {when}"))));
    }
}

#[test]
fn talkative() {
    in_each_place(&[
        row("--del, -vv", "-avv --del").unordered(),
        row("--del, -ii", "-aii --del"),
        row("words about deletions only", "-a --del --info=del"),
        row("no words about deletions", "-av --del --info=nodel"),
        row("a format with the operation", "-a --del").arg("--out-format=%o %n"),
        row("a format without", "-a --del").arg("--out-format=<%n>"),
        row("debug", "-a --delete-after --debug=del3").unordered(),
        row("debug, during", "-a --del --debug=del3").unordered(),
        row("all that is said", "-avvv --del").unordered().traffic(Traffic::Any),
        row("all that is said, before", "-avvv --delete-before").unordered().traffic(Traffic::Any),
        row("progress", "-a --del --progress").unordered(),
        row("progress, after", "-a --delete-after --info=progress2").unordered(),
    ]);
}

#[test]
fn only_so_many() {
    in_each_place(&[
        row("none", "-ai --del --max-delete=0 --stats"),
        row("two", "-ai --del --max-delete=2 --stats"),
        row("two, later", "-ai --delete-delay --max-delete=2"),
        row("two, before", "-ai --delete-before --max-delete=2"),
        row("less than none", "-ai --del --max-delete=-5"),
        row("two, dry", "-ain --del --max-delete=2"),
        row("enough", "-ai --del --max-delete=1000"),
        row("two at 29", "-ai --del --max-delete=2 --protocol=29"),
    ]);
}

#[test]
fn what_is_named_is_what_is_cleaned() {
    in_each_place(&[
        row("several sources", "-ai --del").from(&["src/b", "src/kind", "src/a"]),
        row("one file", "-ai --del").from(&["src/a"]),
        row("paths", "-aiR --del").from(&["src/./b/d", "src/./kind"]),
        row("paths, whole list", "-aiR --delete-before").from(&["src/./b/d", "src/./kind"]),
        row("paths at 29", "-aiR --del --protocol=29").from(&["src/./b/d", "src/./kind"]),
        row("paths without implied directories", "-aiR --no-implied-dirs --del").from(&["src/./b/d", "src/./kind"]),
        row("directories alone", "-dti --delete"),
        row("directories alone, before", "-dti --delete-before"),
        row("a destination of its own", "-ai --del").to("dst/new/"),
        row("dry run to nowhere", "-ain --del").to("dst/new/"),
        row("to nowhere, after", "-ai --delete-after").to("dst/new/"),
        row("kept links to directories", "-aiK --del").before(kept_link),
        row("kept links to directories, after", "-aiK --delete-after").before(kept_link),
        row("links copied", "-rtLi --del").unordered(),
        row("a file is in the way and stays", "-ai --del --ignore-existing").before(file_in_the_way).unordered(),
        row("a file is in the way, one file system", "-aix --del --ignore-existing")
            .before(file_in_the_way)
            .unordered(),
        row("a file is in the way, whole list", "-aix --no-i-r --del --ignore-existing")
            .before(file_in_the_way)
            .unordered(),
    ]);
}

/// A directory of the source is a file here.
fn file_in_the_way(destination: &Path, source: &Path) {
    more(destination, source);
    fs::remove_dir_all(destination.join("b")).expect("remove");
    zoo::file(&destination.join("b"), b"no directory\n");
    zoo::settle_dirs(destination);
}

/// A directory of the source is a link to another one here.
fn kept_link(destination: &Path, source: &Path) {
    more(destination, source);
    fs::rename(destination.join("b"), destination.join("moved")).expect("move");
    symlink("moved", destination.join("b")).expect("link");
    zoo::settle_dirs(destination);
}

/// Rules of the destination's own, which the walk meets there.
fn with_rules(destination: &Path, source: &Path) {
    more(destination, source);
    fs::write(destination.join("b/.rules"), "- *x*\nP self\n").expect("rules");
    fs::write(destination.join("zz/.rules"), "- 3\n").expect("rules");
    zoo::settle_dirs(destination);
}

#[test]
fn what_is_spared() {
    let spared = |name, args| row(name, args).before(with_rules);
    in_each_place(&[
        spared("excluded", "-ai --del --exclude=x* --exclude=/zz/2/3"),
        spared("excluded, before", "-ai --delete-before --exclude=x* --exclude=/zz/2/3"),
        spared("excluded, delayed", "-ai --delete-delay --exclude=x* --exclude=/zz/2/3"),
        spared("excluded, after", "-ai --delete-after --exclude=x* --exclude=/zz/2/3"),
        spared("excluded at 29", "-ai --del --exclude=x* --exclude=/zz/2/3 --protocol=29"),
        spared("excluded are deleted", "-ai --delete-excluded --exclude=x* --exclude=b*"),
        spared("excluded are deleted, after", "-ai --delete-after --delete-excluded --exclude=x* --exclude=/zz/2/3"),
        spared("excluded are deleted at 29", "-ai --delete-excluded --exclude=x* --exclude=b* --protocol=29"),
        spared("protected", "-ai --del").arg("--filter=P x*").arg("--filter=protect /zz/2/3"),
        spared("risked", "-ai --del --exclude=x*").arg("--filter=R x"),
        spared("risked, excluded later", "-ai --del").arg("--filter=R x").arg("--filter=- x*"),
        spared("hidden", "-ai --del").arg("--filter=H b*"),
        spared("perishable", "-ai --del").arg("--filter=-p x*").arg("--filter=-p 3"),
        spared("perishable, after", "-ai --delete-after").arg("--filter=-p x*").arg("--filter=-p 3"),
        spared("the destination's own rules", "-ai --del").arg("--filter=: .rules"),
        spared("the destination's own rules, before", "-ai --delete-before").arg("--filter=: .rules"),
        spared("the destination's own rules, delayed", "-ai --delete-delay").arg("--filter=: .rules"),
        spared("the destination's own rules at 29", "-ai --del --protocol=29").arg("--filter=: .rules"),
        spared("the destination's own rules, not followed", "-ai --delete-excluded").arg("--filter=: .rules"),
        spared("rules in a way", "-ai --force").arg("--filter=: .rules").arg("--exclude=1"),
        spared("rules in a way, perishable", "-ai --force").arg("--filter=-p 1"),
        spared("as version control would", "-aiC --del"),
        spared("missing arguments spared", "-ai --delete-missing-args --exclude=zz").from(&["src/0", "src/zz"]),
        spared("said of rules", "-ai --del --exclude=x* --debug=filter2").unordered(),
        spared("said of rules, before", "-ai --delete-before --debug=filter2").arg("--filter=: .rules").unordered(),
        spared("and no empty directories", "-aim --delete-after --exclude=c").unordered(),
        spared("and a list of names", "-air --del --files-from=list").with_file("list", b"b\nkind/\n"),
    ]);
}

/// With what else removes, keeps or delays.
#[test]
fn with_other_options() {
    in_each_place(&[
        row("backups of what is deleted", "-ai --del -b"),
        row("backups of what is deleted, named otherwise", "-ai --delete-after -b --suffix=.old"),
        row("backups elsewhere", "-ai --del -b --backup-dir=kept"),
        row("backups elsewhere, before", "-ai --delete-before --backup-dir=kept --exclude=/kept"),
        row("backups of what is in the way", "-ai --force -b"),
        row("delayed updates", "-ai --del --delay-updates"),
        row("delayed updates, delayed deletions", "-ai --delete-delay --delay-updates --stats"),
        row("delayed updates, deletions after", "-ai --delete-after --delay-updates --stats"),
        row("delayed updates, deletions after, at 29", "-ai --delete-after --delay-updates --protocol=29"),
        row("a partial directory", "-ai --del --partial-dir=.part"),
        moving("moved, updates delayed", "-ai --remove-source-files --delay-updates"),
        row("a similar file", "-aiy --delete-after --no-whole-file"),
        row("a similar file, delayed", "-aiy --delete-delay --no-whole-file"),
        row("in place", "-ai --del --inplace"),
        row("only newer ones", "-aiu --del"),
        row("by size", "-ai --del --max-size=1"),
        moving("moved, in place", "-ai --remove-source-files --inplace").before(half),
        moving("moved, with backups", "-ai --remove-source-files -b").before(half),
        moving("moved, filtered", "-ai --remove-source-files --exclude=c --exclude=/z").before(half),
    ]);
}

/// Without privilege: what may not be written, and what is ours but write-protected.
fn locked(destination: &Path, source: &Path) {
    more(destination, source);
    for path in ["b/d/x/y", "b/d/x", "zz/2", "b/x"] {
        zoo::set_mode(&destination.join(path), 0o555);
    }
    zoo::set_mode(&destination.join("b/x-"), 0);
    zoo::set_mode(&destination.join("aa"), 0o400);
}

#[test]
fn without_privilege() {
    let mine = |name, args| row(name, args).before(locked).by_nobody().unordered();
    in_each_place(&[
        mine("locked directories", "-rlti --del"),
        mine("locked directories, delayed", "-rlti --delete-delay"),
        mine("locked directories, before", "-rlti --delete-before"),
        mine("locked directories, in the way", "-rlti --force"),
    ]);
}

/// Without privilege: a directory in the midst of the source that cannot be read, and one that cannot be entered.
fn closed(top: &Path) {
    some(top);
    zoo::set_mode(&top.join("b/d"), 0);
    zoo::set_mode(&top.join("kind"), 0o444);
}

#[test]
fn directories_of_the_source_that_cannot_be_read() {
    let each_time = |args: &'static str| {
        WHEN.map(|when| {
            let name = named(format!("closed directories, {args} {when}"));
            row(name, &format!("{args} {when}")).tree(closed).by_nobody().unordered()
        })
    };
    in_each_place(&each_time("-rlti"));
    for args in ["-rlti --no-i-r", "-rlti --ignore-errors", "-rlti --max-delete=3", "-rlti --protocol=29"] {
        harness::locally(&each_time(args));
    }
}

#[test]
fn what_stands_in_the_way() {
    in_each_place(&[
        row("nothing is deleted", "-ai"),
        row("by force", "-ai --force --stats"),
        row("by force, dry", "-ain --force"),
        row("by force, no more than one", "-ai --force --max-delete=1"),
        row("by force at 29", "-avi --force --protocol=29"),
    ]);
}

#[test]
fn a_source_that_cannot_be_read() {
    if !harness::programs::is_root() {
        return;
    }
    in_each_place(&[
        row("an argument is missing", "-ai --del").from(&["src/", "src/nowhere"]),
        row("an argument is missing, told to go on", "-ai --del --ignore-errors").from(&["src/", "src/nowhere"]),
    ]);
}

#[test]
fn arguments_that_are_missing() {
    let gone = |name, args| row(name, args).from(&["src/a", "src/0", "src/zz", "src/b", "src/never"]);
    in_each_place(&[
        gone("missing arguments ignored", "-ai --ignore-missing-args"),
        gone("missing arguments deleted", "-ai --delete-missing-args --stats"),
        gone("missing arguments deleted, names", "-av --delete-missing-args"),
        gone("missing arguments deleted, dry", "-ain --delete-missing-args"),
        gone("missing arguments deleted by force", "-ai --delete-missing-args --force"),
        gone("missing arguments deleted, and more", "-ai --delete-missing-args --del"),
        gone("missing arguments deleted, one only", "-ai --delete-missing-args --force --max-delete=1"),
        gone("missing arguments deleted at 29", "-ai --delete-missing-args --force --protocol=29"),
        gone("missing arguments deleted at 30", "-ai --delete-missing-args --force --protocol=30"),
        row("missing paths deleted", "-aiR --delete-missing-args").from(&["src/./b/0", "src/./only", "src/./no/way"]),
        row("missing paths, whole list", "-aiR --delete-missing-args --no-i-r")
            .from(&["src/./b/0", "src/./no/way"])
            .unordered(),
        row("nothing but missing ones", "-ai --delete-missing-args").from(&["src/0", "src/aa"]),
        row("nothing but ignored ones", "-ai --ignore-missing-args").from(&["src/0", "src/aa"]),
    ]);
}

// Passed over

/// Half of it is there, and some of that has changed.
fn half(destination: &Path, source: &Path) {
    zoo::same(destination, source);
    fs::remove_dir_all(destination.join("b/d")).expect("directory");
    fs::remove_dir_all(destination.join("empty")).expect("directory");
    fs::remove_file(destination.join("b.x")).expect("file");
    fs::remove_file(destination.join("kind/link")).expect("link");
    make(destination, &["kind/link/inside"]);
    zoo::file(&destination.join("a"), b"another a");
    zoo::set_mode(&destination.join("z/last"), 0o600);
    fs::remove_dir_all(destination.join("kind/dir")).expect("directory");
    make(destination, &["kind/dir"]);
    zoo::settle_dirs(destination);
}

#[test]
fn nothing_new_and_nothing_old() {
    let half_row = |name, args| row(name, args).before(half);
    in_each_place(&[
        half_row("existing", "-ai --existing"),
        half_row("existing, talkative", "-aivv --existing").unordered(),
        half_row("existing, whole list", "-aivv --existing --no-i-r").unordered(),
        half_row("existing at 29", "-ai --existing --protocol=29"),
        half_row("existing, dry", "-ain --existing"),
        half_row("existing, without times", "-rli --existing").unordered(),
        half_row("ignore existing", "-ai --ignore-existing").unordered(),
        half_row("ignore existing, talkative", "-avv --ignore-existing").unordered(),
        half_row("ignore existing, in what they differ", "-a --ignore-existing --info=skip2").unordered(),
        half_row("ignore existing, by sum", "-ac --ignore-existing --info=skip2").unordered(),
        half_row("ignore existing, whole list", "-ai --ignore-existing --no-i-r"),
        half_row("ignore existing at 29", "-ai --ignore-existing --protocol=29"),
        half_row("neither", "-aivv --existing --ignore-existing").unordered(),
        half_row("neither, but deletions", "-ai --existing --ignore-existing --delete-before"),
        half_row("neither, but deletions during", "-ai --existing --ignore-existing --del").unordered(),
        row("existing and deletions", "-ai --existing --del").before(half),
        half_row("a new destination that shall not be", "-ai --existing").to("dst/new/"),
    ]);
}

// Sources

fn moving(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(some).own_source().unordered()
}

#[test]
fn sources_that_have_arrived_go() {
    in_each_place(&[
        moving("moved", "-ai --remove-source-files --stats"),
        moving("moved, names", "-avv --remove-source-files"),
        moving("moved at 31", "-ai --remove-source-files --protocol=31"),
        moving("moved at 30", "-ai --remove-source-files --protocol=30"),
        moving("moved at 29", "-avv --remove-source-files --protocol=29"),
        moving("moved, whole list", "-ai --remove-source-files --no-i-r"),
        moving("not moved, dry", "-ain --remove-source-files"),
        moving("moved, half of it there", "-ai --remove-source-files").before(half),
        moving("moved, all of it there", "-avv --remove-source-files").before(zoo::same),
        moving("sent ones moved, half of it there", "-ai --remove-sent-files").before(half),
        moving("moved, nothing new", "-ai --remove-source-files --existing").before(half),
        moving("moved, nothing old", "-ai --remove-source-files --ignore-existing").before(half),
        moving("moved, links followed", "-rtLi --remove-source-files"),
        moving("moved, some of it missing", "-avv --remove-source-files").from(&["src/a", "src/no", "src/b"]),
        moving("all kinds moved", "-ai --remove-source-files").tree(zoo::zoo),
        moving("all kinds moved, links without times", "-aivvJ --remove-source-files").tree(zoo::zoo),
        moving("moved and deleted", "-ai --remove-source-files --del").before(more),
    ]);
}

#[test]
fn a_file_that_arrives_at_itself_stays() {
    let here = |name, args| moving(name, args).from(&["src/"]).to("src/");
    check_all(
        &[here("onto itself", "-aiO --remove-source-files"), here("onto itself anew", "-aiIO --remove-source-files")],
        &[(LOCAL, &ALONE)],
    );
}

/// An interrupted deletion leaves whole what is not gone yet, and the next run completes it.
#[test]
fn a_deletion_that_is_interrupted() {
    const EXTRA: usize = 20_000;
    for when in ["--del", "--delete-after"] {
        let dir = tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory");
        let (source, destination) = (dir.path().join("src"), dir.path().join("dst"));
        fs::create_dir(&source).and_then(|()| fs::create_dir(&destination)).expect("directories");
        some(&source);
        zoo::same(&destination, &source);
        for number in 0..EXTRA {
            let path = destination.join(format!("b/extra/{}/file-{number}", number % 7));
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(path, "x").expect("file");
        }
        let count = || walk(&destination);
        let (all, program) = (count(), Program::Ours.path());
        let mut command = process::command(dir.path(), &program, &["-av", when, "src/", "dst/"]);
        // Nobody reads the lines, so it does not come to its end.
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("run");
        let end = Instant::now() + process::PATIENCE;
        while count() == all {
            assert!(Instant::now() < end, "nothing is deleted");
        }
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("signal");
        assert_eq!(child.wait().expect("end").code(), Some(20), "{when}");
        let left = count();
        assert!(left > walk(&source), "{when}: nothing was left to delete");
        let outcome = process::run(dir.path(), &program, &["-a", when, "src/", "dst/"], &[]);
        assert_eq!(outcome.status, process::Status::Exit(0), "{outcome:?}");
        assert_eq!(count(), walk(&source), "{when}");
    }
}

/// How many entries a tree has.
fn walk(top: &Path) -> usize {
    let entries = fs::read_dir(top).into_iter().flatten().flatten();
    let inside = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => 1 + walk(&entry.path()),
        _ => 1,
    };
    entries.map(inside).sum()
}
