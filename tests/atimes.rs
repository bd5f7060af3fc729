//! What reading leaves behind: which access times change at either end, and that `--open-noatime` spares them.

mod harness;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use harness::{
    Program,
    process::{self, Outcome},
    programs, skip, stand_in, zoo,
};

/// Where the source is, and where the destination.
const PLACES: [(&str, &str); 3] = [("src/", "dst/"), ("src/", "far:dst/"), ("far:src/", "dst/")];

/// Files that have changed, are new, are the same, and are gone.
fn make(top: &Path) {
    for place in ["src", "dst", "alt"] {
        let path = |name: &str| top.join(place).join(name);
        fs::create_dir_all(path("dir/sub")).expect("directory");
        zoo::file(&path("same"), b"the same");
        zoo::file(&path("dir/changed"), format!("{place:5}").repeat(2_000).as_bytes());
        zoo::file(&path("filter"), b"- hidden\n");
    }
    for only in ["src/new", "src/dir/sub/new", "src/hidden", "alt/new", "dst/extra", "dst/dir/sub/extra"] {
        zoo::file(&top.join(only), only.rsplit('/').next().unwrap_or_default().as_bytes());
    }
    std::os::unix::fs::symlink("dir", top.join("src/link")).expect("link");
    for place in ["src", "dst", "alt"] {
        zoo::settle_dirs(&top.join(place));
    }
}

/// The access times below a directory, its own included.
fn atimes(dir: &Path, into: &mut BTreeMap<PathBuf, (i64, i64)>) {
    // Looked at before it is read.
    let stat = fs::symlink_metadata(dir).expect("entry");
    into.insert(dir.to_path_buf(), (stat.atime(), stat.atime_nsec()));
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries.iter().filter(|path| path.is_dir() && !path.is_symlink()) {
        atimes(path, into);
    }
    for path in entries.iter().filter(|path| path.is_file() && !path.is_symlink()) {
        let stat = fs::symlink_metadata(path).expect("entry");
        into.insert(path.clone(), (stat.atime(), stat.atime_nsec()));
    }
}

/// Runs a program; what was read, as far as access times tell, of what was there before.
fn read_by(
    client: Program,
    server: Program,
    args: &str,
    (source, destination): (&str, &str),
) -> (Outcome, Vec<String>) {
    // Memory keeps none of directories.
    let disk = env!("CARGO_TARGET_TMPDIR");
    let site = tempfile::Builder::new().prefix("oc-rsync-").tempdir_in(disk).expect("temporary directory");
    make(site.path());
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    zoo::restore_atimes(site.path());
    for place in ["src", "dst", "alt"] {
        atimes(&site.path().join(place), &mut before);
    }
    zoo::restore_atimes(site.path());
    let mut argv: Vec<String> = args.split_whitespace().map(String::from).collect();
    argv.extend(["-e".into(), stand_in().display().to_string()]);
    argv.push(format!("--rsync-path={}", server.path().display()));
    argv.extend([source.into(), destination.into()]);
    let outcome = process::run(site.path(), &client.path(), &argv, &[]);
    for place in ["src", "dst", "alt"] {
        atimes(&site.path().join(place), &mut after);
    }
    let read = before.iter().filter(|(path, atime)| after.get(*path).is_some_and(|now| now != *atime));
    let name = |path: &Path| path.strip_prefix(site.path()).expect("below").display().to_string();
    // What is in a directory that is written to, or is put in place of another, tells nothing.
    let told = |name: &String| !(name == "dst/dir/changed" || name == "dst/new");
    (outcome.clone(), read.map(|(path, _)| name(path)).filter(told).collect())
}

#[test]
fn only_what_must_be_read_is_and_nothing_where_it_is_to_be_spared() {
    if !programs::reference_is_there("access times") {
        return;
    }
    let (_, plainly) = read_by(Program::Ours, Program::Ours, "-a", PLACES[0]);
    if !plainly.iter().any(|name| name == "src/dir") {
        return skip("access times", "this file system keeps none");
    }
    let (_, spared) = read_by(Program::Ours, Program::Ours, "-ac --open-noatime", PLACES[0]);
    assert!(!spared.iter().any(|name| name.starts_with("src")), "{spared:?}");
    let mut wrong = Vec::new();
    for args in [
        "-a --open-noatime",
        "-aUU",
        "-ac --open-noatime",
        "-a --no-open-noatime",
        "-aI --no-W --open-noatime",
        "-aL --open-noatime",
        "-a --delete --open-noatime",
        "-ay --delete-after --open-noatime",
        "-ab --no-W --inplace --open-noatime",
        "-ac --copy-dest=../alt --open-noatime",
        "-a --no-W --compare-dest=../alt --open-noatime",
        "-aF --open-noatime",
        "-a --files-from=src/filter --open-noatime",
    ] {
        for place in PLACES {
            let (reference, theirs) = read_by(Program::Reference, Program::Reference, args, place);
            for (client, server) in [(Program::Ours, Program::Reference), (Program::Reference, Program::Ours)] {
                if client == Program::Reference && !place.0.contains(':') && !place.1.contains(':') {
                    continue;
                }
                let (ours, mine) = read_by(client, server, args, place);
                // With -L, for deletions and from alternative directories the reference reads more.
                if ours.status != reference.status || mine.iter().any(|name| !theirs.contains(name)) {
                    wrong.push(format!("{args} {place:?} {client:?}\n  {theirs:?}\n  {mine:?}\n"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

/// Only who owns a file, or root, may open it so.
#[test]
fn what_is_not_ours_is_not_read_then() {
    use harness::{Case, everywhere};
    everywhere(&[
        Case::new("of root", "-ai --open-noatime").tree(zoo::few).by_nobody().unordered(),
        Case::new("of root, twice", "-aiUU").tree(zoo::few).by_nobody().unordered(),
    ]);
}
