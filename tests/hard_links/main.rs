//! Hard links (`-H`): groups of every kind, wherever their names lie and whatever stands at the destination.

#[path = "../harness/mod.rs"]
mod harness;
mod leaders;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use harness::{
    Case, Ends, PIPES, Program, Run, Way, check_all, everywhere, in_each_place, locally,
    process::Status,
    programs::{AGAINST_OLD, ends, is_root},
    run_alone, zoo,
};
use nix::{
    sys::stat::{Mode, SFlag, makedev, mknod},
    unistd::mkfifo,
};

// Trees

fn dir(path: PathBuf) -> PathBuf {
    fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

fn link(top: &Path, from: &str, to: &str) {
    fs::hard_link(top.join(from), top.join(to)).unwrap_or_else(|error| panic!("{to}: {error}"));
}

/// A name again for what stands at `from`; what stood at `to` goes.
fn relink(top: &Path, from: &str, to: &str) {
    let _ = fs::remove_file(top.join(to));
    link(top, from, to);
}

/// Groups within and across directories, in both orders, of every kind.
fn groups(top: &Path) {
    for name in ["a", "m/inner/deep", "z"] {
        dir(top.join(name));
    }
    let file = |path: &str, content: &[u8]| zoo::file(&top.join(path), content);
    file("pair-1", b"two names\n");
    link(top, "pair-1", "pair-2");
    file("a/early", &zoo::noise(3000, 1));
    link(top, "a/early", "z/late");
    file("z/three", &zoo::noise(70_000, 2));
    link(top, "z/three", "m/inner/three");
    link(top, "z/three", "m/inner/deep/three");
    link(top, "z/three", "three");
    file("m/empty", b"");
    link(top, "m/empty", "a/empty");
    file("single", b"only one name\n");
    file("a/outside", b"the other name is not in the tree\n");
    link(top, "a/outside", "../kept-outside");
    symlink("pair-1", top.join("a/soft")).expect("symlink");
    zoo::set_time(&top.join("a/soft"), 1_400_000_000, 7);
    link(top, "a/soft", "m/soft");
    link(top, "a/soft", "soft-again");
    mkfifo(&top.join("m/pipe"), Mode::from_bits_truncate(0o600)).expect("pipe");
    zoo::set_time(&top.join("m/pipe"), 1_400_000_001, 0);
    link(top, "m/pipe", "z/pipe");
    drop(std::os::unix::net::UnixListener::bind(top.join("a/sock")).expect("socket"));
    zoo::set_time(&top.join("a/sock"), 1_400_000_002, 0);
    link(top, "a/sock", "a/sock-again");
    if is_root() {
        let mode = Mode::from_bits_truncate(0o640);
        mknod(&top.join("z/null"), SFlag::S_IFCHR, mode, makedev(1, 3)).expect("device");
        zoo::set_time(&top.join("z/null"), 1_400_000_003, 0);
        link(top, "z/null", "a/null");
        zoo::file(&top.join("m/owned"), b"somebody's");
        std::os::unix::fs::chown(top.join("m/owned"), Some(1234), Some(4321)).expect("owner");
        zoo::set_mode(&top.join("m/owned"), 0o4755);
        link(top, "m/owned", "m/owned-too");
    }
    zoo::settle_dirs(top);
}

/// `cp -a` keeps hard links.
fn with_groups(destination: &Path, source: &Path) {
    zoo::same(destination, source);
}

fn settled(destination: &Path, source: &Path, change: impl FnOnce(&Path)) {
    with_groups(destination, source);
    change(destination);
    zoo::settle_dirs(destination);
}

/// Everything has one name.
fn broken(destination: &Path, source: &Path) {
    let from = source.join(".");
    let mut copy = std::process::Command::new("cp");
    copy.args(["-dR", "--preserve=mode,ownership,timestamps"]).arg(from).arg(destination);
    assert!(copy.status().expect("cp").success());
}

/// Names are linked to the wrong files.
fn crossed(destination: &Path, source: &Path) {
    settled(destination, source, |top| {
        relink(top, "single", "pair-2");
        relink(top, "pair-1", "a/early");
        relink(top, "three", "z/late");
        relink(top, "soft-again", "m/pipe");
    });
}

/// First names are missing.
fn no_leaders(destination: &Path, source: &Path) {
    settled(destination, source, |top| {
        for name in ["pair-1", "three", "a/early", "a/empty", "soft-again", "m/pipe", "a/sock"] {
            fs::remove_file(top.join(name)).expect("remove");
        }
    });
}

/// First names have other contents, or are something else.
fn changed_leaders(destination: &Path, source: &Path) {
    settled(destination, source, |top| {
        for name in ["pair-1", "three", "a/early", "a/empty", "soft-again", "m/pipe"] {
            fs::remove_file(top.join(name)).expect("remove");
        }
        zoo::file(&top.join("pair-1"), b"other content\n");
        dir(top.join("three"));
        symlink("elsewhere", top.join("a/early")).expect("symlink");
        zoo::file(&top.join("a/empty"), b"not empty");
        zoo::file(&top.join("soft-again"), b"not a symlink");
        symlink("elsewhere", top.join("m/pipe")).expect("symlink");
    });
}

/// Of each group only a middle name stands, and is old.
fn stale_middle(destination: &Path, source: &Path) {
    settled(destination, source, |top| {
        for name in ["three", "m/inner/three", "z/three", "pair-1", "z/late"] {
            fs::remove_file(top.join(name)).expect("remove");
        }
        for name in ["m/inner/deep/three", "pair-2", "a/early"] {
            let mut bytes = fs::read(top.join(name)).expect("read");
            bytes.rotate_left(1);
            fs::remove_file(top.join(name)).expect("remove");
            zoo::file(&top.join(name), &bytes);
            zoo::set_time(&top.join(name), 1_000_000_000, 0);
        }
    });
}

/// All names of all groups are one old file each.
fn stale(destination: &Path, source: &Path) {
    settled(destination, source, |top| {
        for name in ["pair-1", "a/early", "z/three"] {
            let mut bytes = fs::read(top.join(name)).expect("read");
            bytes.rotate_left(5);
            fs::write(top.join(name), &bytes).expect("write");
            zoo::set_time(&top.join(name), 1_000_000_000, 0);
        }
        zoo::set_mode(&top.join("m/empty"), 0o600);
    });
}

/// Some names are newer.
fn newer(destination: &Path, source: &Path) {
    settled(destination, source, |top| {
        for name in ["pair-2", "three", "z/late"] {
            fs::remove_file(top.join(name)).expect("remove");
            zoo::file(&top.join(name), b"newer");
            zoo::set_time(&top.join(name), 1_700_000_000, 0);
        }
        fs::remove_file(top.join("pair-1")).expect("remove");
        fs::remove_file(top.join("z/three")).expect("remove");
    });
}

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(groups)
}

// First copies

#[test]
fn first_copies() {
    in_each_place(&[
        row("links, silent", "-aH"),
        row("links, names", "-aHv"),
        row("links, itemized", "-aHi --stats"),
        row("links, all at once", "-aHi --no-inc-recursive"),
        row("links, twice", "-aHHi"),
        row("links, dry run", "-aHni --stats"),
        row("links, not kept", "-ai"),
        row("links, taken back", "-aHi --no-H"),
    ]);
}

#[test]
fn more_is_said() {
    everywhere(&[
        row("links, more names", "-aHvv").unordered(),
        row("links, all items", "-aHii"),
        row("links, names in a dry run", "-aHvn"),
        row("links, where they lead", "-aH --out-format").arg("%i|%n|%L|%l|%o"),
        row("links, where from", "-aH --out-format=%f=%L"),
        row("links, listed", "-aHr --list-only").to(""),
        row("links, progress", "-aHv --info=name2,progress0"),
    ]);
}

#[test]
fn words_about_links() {
    everywhere(&[
        row("--debug=hlink", "-aH --debug=hlink -M--debug=hlink").unordered(),
        row("--debug=hlink3", "-aH --debug=hlink3 -M--debug=hlink3").unordered(),
        row("--debug=hlink3, whole list", "-aH --no-inc-recursive --debug=hlink3 -M--debug=hlink3").unordered(),
        row("--debug=hlink3, of old", "-aH --protocol=29 --debug=hlink3 -M--debug=hlink3").unordered(),
        row("--debug=hlink2, update", "-aH --debug=hlink2").before(stale_middle).unordered(),
        row("--debug=flist3", "-aH --debug=flist3").unordered(),
    ]);
}

#[test]
fn kinds_that_are_not_wanted() {
    everywhere(&[
        row("links without times", "-rlHi").unordered(),
        row("no devices", "-aHi --no-D").unordered(),
        row("no symlinks", "-rtHi").unordered(),
        row("links followed", "-aHLi"),
        row("links and checksums", "-aHci"),
        row("links and sparse files", "-aHSi"),
    ]);
}

#[test]
fn several_sources() {
    everywhere(&[
        row("names in several sources", "-aHi").from(&["src/a", "src/z", "src/m"]),
        row("the same source twice", "-aHi").from(&["src/a/", "src/a", "src/"]),
        row("paths", "-aHRi").from(&["src/./m/inner", "src/./z/three", "src/three"]),
        row("two files", "-aHi").from(&["src/pair-1", "src/pair-2"]),
        row("one file of two names", "-aHi").from(&["src/pair-1"]).to("dst/new"),
    ]);
}

// Updates

fn update(name: &'static str, args: &str, before: fn(&Path, &Path)) -> Case {
    row(name, args).before(before)
}

#[test]
fn updates() {
    in_each_place(&[
        update("nothing to do", "-aHi", with_groups),
        update("broken links", "-aHi", broken),
        update("crossed links", "-aHi", crossed),
        update("stale", "-aHi", stale),
        update("stale middle", "-aHi", stale_middle),
        update("no leaders", "-aHi", no_leaders),
        update("changed leaders", "-aHi", changed_leaders),
    ]);
}

#[test]
fn updates_with_less_or_more_said() {
    everywhere(&[
        update("nothing to do, all items", "-aHii", with_groups),
        update("nothing to do, names", "-aHvv --stats", with_groups).unordered(),
        update("broken links, names", "-aHv", broken),
        update("broken links, more names", "-aHvv", broken).unordered(),
        update("crossed links, all items", "-aHii --stats", crossed),
        update("stale, names", "-aHvv", stale).unordered(),
        update("changed leaders, names", "-aHvv", changed_leaders).unordered(),
    ]);
}

#[test]
fn updates_not_done() {
    everywhere(&[
        update("nothing to do, dry", "-aHni", with_groups),
        update("broken links, dry", "-aHni", broken),
        update("crossed links, dry", "-aHnvv", crossed).unordered(),
        update("stale, dry", "-aHni", stale),
        update("stale middle, dry", "-aHnii", stale_middle),
        update("no leaders, dry", "-aHni", no_leaders),
        update("changed leaders, dry", "-aHni", changed_leaders),
    ]);
}

#[test]
fn updates_by_other_rules() {
    everywhere(&[
        update("stale, by deltas", "-aHi --no-whole-file", stale),
        update("stale middle, by deltas", "-aHi --no-whole-file", stale_middle),
        update("stale, in place", "-aHi --inplace", stale),
        update("stale middle, in place", "-aHi --inplace --no-whole-file", stale_middle),
        update("crossed, in place", "-aHi --inplace", crossed),
        update("stale, by size", "-aHi --size-only", stale),
        update("broken, by size", "-aHii --size-only", broken),
        update("all again", "-aHIi", with_groups),
        update("all again, broken", "-aHIi", broken),
        update("stale, by sums", "-aHci", stale),
        update("crossed, by sums", "-aHci", crossed),
        update("only what is older", "-aHui", newer),
        update("only what is older, whole list", "-aHui --no-inc-recursive", newer),
        update("only what is older, names", "-aHuvv", newer).unordered(),
        update("without times and modes", "-rlHi", broken).unordered(),
        update("a directory is in the way and stays", "-aHi --no-inc-recursive", in_the_way).unordered(),
    ]);
}

/// Directories with contents where names should be.
fn in_the_way(destination: &Path, source: &Path) {
    settled(destination, source, |top| {
        for name in ["pair-2", "z/late"] {
            fs::remove_file(top.join(name)).expect("remove");
            zoo::file(&dir(top.join(name)).join("full"), b"in the way");
        }
    });
}

// Versions

fn by_protocol(version: u8) {
    let args = |args: &str| format!("{args} --protocol={version}");
    in_each_place(&[
        row("first copy", &args("-aHi --stats")),
        update("broken links", &args("-aHi"), broken),
        update("crossed links", &args("-aHii"), crossed),
        update("stale middle", &args("-aHci --no-whole-file"), stale_middle),
    ]);
    everywhere(&[
        update("changed leaders, names", &args("-aHvv"), changed_leaders).unordered(),
        update("no leaders, dry", &args("-aHni"), no_leaders),
    ]);
}

#[test]
fn protocol_32() {
    by_protocol(32);
}

#[test]
fn protocol_31() {
    by_protocol(31);
}

#[test]
fn protocol_30() {
    by_protocol(30);
}

#[test]
fn protocol_29() {
    by_protocol(29);
}

#[test]
fn protocols_28_and_27() {
    for version in [28, 27] {
        let args = |args: &str| format!("{args} --protocol={version}");
        everywhere(&[
            row("first copy", &args("-aHi")),
            update("stale middle", &args("-aHi"), stale_middle),
            update("crossed, names", &args("-aHv"), crossed),
        ]);
    }
}

#[test]
fn with_an_older_program() {
    let cases = [row("first copy", "-aHi"), update("crossed", "-aHi", crossed), update("broken", "-aHv", broken)];
    check_all(&cases, &[(PIPES, &AGAINST_OLD)]);
}

// Many

/// A thousand groups of two, and one of a thousand names, over many directories.
fn many(top: &Path) {
    for number in 0..40 {
        dir(top.join(format!("{number:02}/a")));
        dir(top.join(format!("{number:02}/z")));
    }
    zoo::file(&top.join("00/a/all"), b"a name everywhere");
    for number in 0..1000 {
        let name = |at: usize, side: &str| format!("{at:02}/{side}/file-{number:04}");
        let (from, to) = (name(number % 40, "z"), name((number * 7 + 3) % 40, "a"));
        zoo::file(&top.join(&from), format!("{number}\n").as_bytes());
        link(top, &from, &to);
        link(top, "00/a/all", &format!("{:02}/z/all-{number}", number % 40));
    }
    zoo::settle_dirs(top);
}

#[test]
fn many_groups() {
    let cases = [
        // Which name leads depends on how far the list is: the sender's and the generator's pace.
        Case::new("many groups", "-aH").tree(many),
        Case::new("many groups, whole list", "-aHi --no-inc-recursive").tree(many).unordered(),
        Case::new("many groups again", "-aHii").tree(many).before(with_groups),
        Case::new("many groups, broken", "-aH").tree(many).before(broken),
    ];
    everywhere(&cases);
}

// With other options

/// Beside the destination: `one` has the groups as they are, `other` some of it in other states.
fn alternatives(destination: &Path, source: &Path) {
    let beside = |name: &str| dir(destination.with_file_name(name));
    with_groups(&beside("one"), source);
    stale_middle(&beside("other"), source);
}

fn alternatives_and_some(destination: &Path, source: &Path) {
    alternatives(destination, source);
    no_leaders(destination, source);
}

/// In `one` all names are files of their own, in `other` some are missing.
fn broken_alternatives(destination: &Path, source: &Path) {
    let beside = |name: &str| dir(destination.with_file_name(name));
    broken(&beside("one"), source);
    no_leaders(&beside("other"), source);
}

const KINDS: [&str; 3] = ["--link-dest=", "--copy-dest=", "--compare-dest="];

fn each_kind(name: &'static str, args: &str, before: fn(&Path, &Path)) -> Vec<Case> {
    let one = |kind: &str, dirs: &[&str]| {
        let case = update(name, args, before).beside(&["one", "other"]);
        dirs.iter().fold(case, |case, dir| case.arg(&format!("{kind}../{dir}")))
    };
    let cases = KINDS.iter().flat_map(|kind| [one(kind, &["one"]), one(kind, &["other", "one"])]);
    cases.collect()
}

#[test]
fn alternative_directories() {
    in_each_place(&each_kind("alternatives", "-aHi", alternatives));
    everywhere(&each_kind("alternatives, all items", "-aHii", alternatives));
    // with incremental recursion the reference hangs
    everywhere(&each_kind("alternatives, something there", "-aHi --no-inc-recursive", alternatives_and_some));
    everywhere(&each_kind("broken alternatives", "-aHii", broken_alternatives));
    everywhere(&each_kind("alternatives, dry", "-aHni", alternatives));
    everywhere(&each_kind("broken alternatives, dry", "-aHnii --no-inc-recursive", broken_alternatives));
    let unordered = |cases: Vec<Case>| cases.into_iter().map(Case::unordered).collect::<Vec<_>>();
    everywhere(&unordered(each_kind("alternatives, names", "-aHvv", alternatives)));
    everywhere(&unordered(each_kind("broken alternatives, names", "-aHvv", broken_alternatives)));
    locally(&each_kind("alternatives, of old", "-aHi --protocol=29", alternatives));
}

/// Some names have only a beginning of what they shall have.
fn shorter(destination: &Path, source: &Path) {
    settled(destination, source, |top| {
        for name in ["z/three", "m/inner/three", "a/early"] {
            let bytes = fs::read(top.join(name)).expect("read");
            fs::remove_file(top.join(name)).expect("remove");
            zoo::file(&top.join(name), &bytes[..bytes.len() / 2]);
        }
    });
}

/// Names that the source does not have, some of them further names of those it has.
fn extraneous(destination: &Path, source: &Path) {
    settled(destination, source, |top| {
        relink(top, "pair-1", "extra-1");
        relink(top, "z/three", "z/extra");
        zoo::file(&dir(top.join("m/gone")).join("x"), b"x");
        relink(top, "m/gone/x", "pair-2");
        relink(top, "m/gone/x", "a/early");
    });
}

#[test]
fn names_that_are_left_as_they_are() {
    for args in ["-aHi --ignore-existing", "-aHi --existing", "-aHi --ignore-existing --no-inc-recursive"] {
        everywhere(&[
            update("left, no leaders", args, no_leaders),
            update("left, stale middle", args, stale_middle),
            update("left, broken", args, broken),
        ]);
    }
    everywhere(&[
        update("left, said", "-aHvv --ignore-existing", no_leaders).unordered(),
        update("not made, said", "-aHvv --existing", no_leaders).unordered(),
        update("small ones", "-aHi --max-size=5000", broken),
        update("large ones", "-aHi --min-size=5000", no_leaders),
        row("first names left out", "-aHi --exclude=/pair-1 --exclude=/three --exclude=/a/e* --exclude=/m/pipe"),
        update("left out, update", "-aHi --exclude=three --exclude=late --exclude=soft*", stale_middle),
    ]);
}

#[test]
fn deletions() {
    in_each_place(&[update("deletions", "-aHi --delete", extraneous).unordered()]);
    everywhere(&[
        update("deletions before", "-aHi --delete-before", extraneous).unordered(),
        update("deletions after", "-aHi --delete-after", extraneous).unordered(),
        update("deletions later", "-aHi --delete-delay", extraneous).unordered(),
        update("deletions, dry", "-aHni --delete", extraneous).unordered(),
        update("room made by force", "-aHi --force", in_the_way).unordered(),
        update("deletions make room", "-aHi --delete", in_the_way).unordered(),
    ]);
}

/// Below is a link that leads nowhere, which counts before anything is deleted above.
#[test]
fn nothing_is_deleted_after_an_error() {
    fn unreadable(top: &Path) {
        symlink("nowhere", dir(top.join("deep/below")).join("dangling")).expect("symlink");
        zoo::settle_dirs(top);
    }
    fn extra(destination: &Path, _: &Path) {
        zoo::file(&dir(destination.join("extra")).join("file"), b"x");
        zoo::settle_dirs(destination);
    }
    let case = |when| Case::new("links followed, one leads nowhere", when).tree(unreadable).before(extra).unordered();
    everywhere(&[case("-aHLi --delete-during"), case("-aHLi --delete-delay --max-delete=1")]);
}

/// And an empty directory beside the destination.
fn crossed_with_room(destination: &Path, source: &Path) {
    crossed(destination, source);
    zoo::set_time(&dir(destination.with_file_name("kept")), 1_400_000_004, 0);
}

#[test]
fn what_gives_way_is_kept() {
    everywhere(&[
        update("backups", "-aHi --backup", crossed),
        update("backups, stale", "-aHib", stale),
        update("backups, changed leaders", "-aHib --info=backup", changed_leaders).unordered(),
        update("backups elsewhere", "-aHi --backup --backup-dir=../kept", crossed_with_room).beside(&["kept"]),
        update("backups, in place", "-aHib --inplace", stale_middle),
    ]);
}

#[test]
fn updates_put_in_place_at_the_end() {
    everywhere(&[
        update("late", "-aHi --delay-updates", stale_middle),
        update("late, crossed", "-aHi --delay-updates", crossed),
        row("late, first copy", "-aHi --delay-updates"),
    ]);
}

type State = (&'static str, fn(&Path, &Path));

/// States in which names of groups may stand, and an empty directory beside the destination.
const STATES: [State; 6] = [
    ("first copy", |destination, _| with_room(destination)),
    ("stale middle", |destination, source| roomy(destination, source, stale_middle)),
    ("shorter", |destination, source| roomy(destination, source, shorter)),
    ("no leaders", |destination, source| roomy(destination, source, no_leaders)),
    ("crossed", |destination, source| roomy(destination, source, crossed)),
    ("stale", |destination, source| roomy(destination, source, stale)),
];

fn with_room(destination: &Path) {
    zoo::set_time(&dir(destination.with_file_name("room")), 1_400_000_004, 0);
}

fn roomy(destination: &Path, source: &Path, before: fn(&Path, &Path)) {
    before(destination, source);
    with_room(destination);
}

fn written(how: &str) {
    written_over(how, &STATES);
}

fn written_over(how: &str, states: &[State]) {
    for list in ["", "--no-inc-recursive"] {
        let case = |&(name, before): &State| update(name, &format!("-aHi {how} {list}"), before).beside(&["room"]);
        everywhere(&states.iter().map(case).collect::<Vec<_>>());
    }
}

#[test]
fn temporaries_elsewhere() {
    written("--temp-dir={box}/room");
    everywhere(&[row("temporaries on another file system", "-aHi --temp-dir={far}").before(stale_middle)]);
}

#[test]
fn appended() {
    // Over crossed links the reference's two sides lose each other.
    let states: Vec<_> = STATES.into_iter().filter(|(name, _)| *name != "crossed").collect();
    written_over("--append", &states);
    written_over("--append-verify", &states);
}

#[test]
fn partial_files_elsewhere() {
    written("--partial-dir=.part");
    written("--partial-dir={box}/room");
}

#[test]
fn in_place() {
    written("--inplace");
    written("--inplace --no-whole-file");
}

#[test]
fn sources_that_have_arrived() {
    everywhere(&[update("sources stay in a dry run", "-aHni --remove-source-files", broken).unordered()]);
    let removing = |name, args: &str, before: fn(&Path, &Path)| {
        update(name, &format!("{args} --remove-source-files"), before).own_source().unordered()
    };
    for list in ["", "--no-inc-recursive"] {
        let args = |args: &str| format!("{args} {list}");
        everywhere(&[
            removing("sources go", &args("-aHi"), |_, _| {}),
            removing("sources go, nothing to do", &args("-aHii"), with_groups),
            removing("sources go, stale middle", &args("-aHi"), stale_middle),
            removing("sources go, crossed", &args("-aHii"), crossed),
            removing("sources go, late", &args("-aHi --delay-updates"), stale_middle),
            removing("sources go, of old", &args("-aHi --protocol=29"), no_leaders),
        ]);
    }
}

#[test]
fn links_that_lead_out_are_made_nowhere() {
    fn leading_out(top: &Path) {
        zoo::file(&dir(top.join("a/b")).join("file"), b"x");
        symlink("../file", top.join("a/b/inside")).expect("symlink");
        zoo::file(&top.join("file"), b"x");
        link(top, "a/b/inside", "a/z-inside");
        zoo::settle_dirs(top);
    }
    everywhere(&[Case::new("safe links", "-aHi --safe-links").tree(leading_out)]);
}
