//! What is removed: extraneous files at the destination, arguments that the sender misses, sources that have arrived;
//! and what is passed over.

mod harness;

use std::{fs, os::unix::fs::symlink, path::Path};

use harness::{
    Case, Way, check_all,
    programs::{AGAINST_REFERENCE, ALONE},
    zoo,
};

const LOCAL: &[Way] = &[Way::Local];
const PIPES: &[Way] = &[Way::PipePush, Way::PipePull];

/// Locally, and through pipes with ours at each end, and at both.
fn in_each_place(cases: &[Case]) {
    check_all(cases, &[(LOCAL, &ALONE), (PIPES, &AGAINST_REFERENCE)]);
}

/// What the generator says, where the reference has the receiver or the sender say the rest.
const DELETIONS: &[&str] = &["*deleting ", "deleting ", "del. ", "cannot delete ", "could not make way "];

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(some).before(more).apart(DELETIONS)
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

#[test]
fn what_stands_in_the_way() {
    in_each_place(&[
        row("nothing is deleted", "-ai"),
        row("by force", "-ai --force --stats"),
        row("by force, dry", "-ain --force"),
        row("by force at 29", "-avi --force --protocol=29"),
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
    ]);
}

#[test]
fn a_file_that_arrives_at_itself_stays() {
    let here = |name, args| moving(name, args).from(&["src/"]).to("src/");
    check_all(
        &[here("onto itself", "-ai --remove-source-files"), here("onto itself anew", "-aiI --remove-source-files")],
        &[(LOCAL, &ALONE)],
    );
}
