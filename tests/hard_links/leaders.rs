//! Groups whose first names do not come: they vanish, fail their sum, cannot be read, or cannot be written.

use super::*;

/// The source lies in the destination, and has a directory of the source's own name: what is in the way there is removed
/// after it was listed, before it is asked for, but for what a filter protects. (With `--delete-before` no list is
/// incremental.)
fn source_inside(destination: &Path, names: &[&str]) {
    let top = dir(destination.join("src"));
    dir(top.join("src"));
    zoo::file(&top.join("a"), b"several names\n");
    names.iter().for_each(|name| link(&top, "a", name));
    zoo::settle_dirs(destination);
}

fn two_inside(destination: &Path, _: &Path) {
    source_inside(destination, &["b"]);
}

fn four_inside(destination: &Path, _: &Path) {
    source_inside(destination, &["b", "c", "d"]);
}

fn vanishing(name: &'static str, args: &str, kept: &str) -> Case {
    let case = Case::new(name, &format!("-aH --delete-before {args}")).tree(|_| {}).before(four_inside);
    let case = kept.chars().fold(case, |case, kept| case.arg(&format!("--filter=P /src/{kept}")));
    case.from(&["dst/src/"])
}

/// Ours receives; from ours and from the reference.
const RECEIVING: [(Way, Ends); 5] = [
    (Way::Local, ends(Program::Ours, Program::Ours)),
    (Way::PipePull, ends(Program::Ours, Program::Ours)),
    (Way::PipePull, ends(Program::Ours, Program::Reference)),
    (Way::PipePush, ends(Program::Ours, Program::Ours)),
    (Way::PipePush, ends(Program::Reference, Program::Ours)),
];

/// Where the reference leaves out names, or breaks off, ours is looked at alone: status, and which names are one file.
fn ours_alone(case: &Case, status: i32, check: impl Fn(&Run)) {
    for (way, ends) in RECEIVING {
        let Some(run) = run_alone(case, way, ends) else { continue };
        let said = String::from_utf8_lossy(&run.outcome.stderr);
        assert_eq!(run.outcome.status, Status::Exit(status), "{} · {way:?} · {ends:?}: {said}", case.name);
        check(&run);
    }
}

/// The names that are the first one's, or it.
fn one_file(run: &Run, first: &str) -> String {
    let first = first.as_bytes();
    let of_first = |path: &&[u8]| {
        *path == first || run.tree.get(path).is_some_and(|node| node.linked_to.as_deref() == Some(first))
    };
    let names: Vec<_> = run.tree.paths().filter(of_first).map(String::from_utf8_lossy).collect();
    names.join(" ")
}

/// What was said of files, without the direction.
fn told(run: &Run) -> Vec<String> {
    let said = String::from_utf8_lossy(&run.outcome.stdout).into_owned();
    let lines = said.lines().filter(|line| line.get(1..2) == Some("f"));
    lines.filter_map(|line| line.split_once(' ')).map(|(_, name)| name.into()).collect()
}

#[test]
fn leaders_that_vanish() {
    for version in [32, 31, 30] {
        let args = |args: &str| format!("{args} --protocol={version}");
        everywhere(&[
            vanishing("none vanishes", &args("-i"), "abcd").unordered(),
            vanishing("others vanish", &args("-i"), "d").unordered(),
            vanishing("the second of two vanishes", &args("-i"), "a").before(two_inside).unordered(),
            vanishing("of two the one that is not asked for", &args("-i"), "b").before(two_inside).unordered(),
        ]);
    }
    for version in [32, 31, 30, 29, 28] {
        for more in ["", "--delay-updates", "--no-whole-file"] {
            let args = format!("-i --protocol={version} {more}");
            ours_alone(&vanishing("the last vanishes", &args, "abc"), 24, |run| {
                assert_eq!(one_file(run, "a"), "a b c", "{args}");
                assert!(version < 29 || told(run) == ["c", "b => c", "a => c"], "{args}: {:?}", told(run));
            });
            // Without word of what does not come, there is time for two of them only.
            let come = if version >= 30 { "a b" } else { "" };
            ours_alone(&vanishing("the last two vanish", &args, "ab"), 24, |run| {
                assert_eq!(one_file(run, "a"), come, "{args}");
            });
            ours_alone(&vanishing("all vanish", &args, ""), 24, |run| assert_eq!(run.tree.len(), 2, "{args}"));
        }
    }
}

/// Other names have another beginning than the file.
fn another_beginning(destination: &Path, source: &Path) {
    settled(destination, source, |top| {
        for name in ["three", "m/inner/three", "m/inner/deep/three", "z/three", "pair-1", "pair-2"] {
            let bytes = fs::read(top.join(name)).expect("read");
            fs::remove_file(top.join(name)).expect("remove");
            if name != "three" && name != "pair-2" {
                zoo::file(&top.join(name), &zoo::noise(bytes.len() / 2, 7));
            }
        }
    });
}

/// With incremental lists the reference hangs, and else breaks off: ours is looked at alone.
#[test]
fn leaders_that_fail_their_sum_once() {
    for version in [32, 31, 30, 29, 28] {
        for list in ["", "--no-inc-recursive"] {
            let args = format!("-aHi --append-verify {list} --protocol={version}");
            ours_alone(&update("another beginning", &args, another_beginning), 0, |run| {
                let three = "m/inner/deep/three m/inner/three three z/three";
                assert_eq!(one_file(run, "m/inner/deep/three"), three, "{args}");
                assert_eq!(one_file(run, "pair-1"), "pair-1 pair-2", "{args}");
            });
        }
    }
}

#[test]
fn appended_over_crossed_links() {
    written_over("--append", &STATES[4..5]);
    everywhere(&[update("crossed", "-aHi --append-verify", crossed).unordered()]);
    // Where the whole list is there at once the reference tells of a link after the end of the last phase.
    ours_alone(&update("crossed", "-aHi --append-verify --no-inc-recursive", crossed), 0, |run| {
        // They were one file before, and are written to where they stand.
        assert_eq!(one_file(run, "a/early"), "a/early pair-1 pair-2 z/late");
    });
}

/// A group of four in three directories, whose first two names nobody may read.
fn closed_group(top: &Path) {
    for name in ["a", "b", "c"] {
        dir(top.join(name));
    }
    zoo::file(&top.join("b/two"), b"nobody reads this\n");
    zoo::set_mode(&top.join("b/two"), 0o000);
    link(top, "b/two", "a/one");
    link(top, "b/two", "c/three");
    link(top, "b/two", "c/four");
    zoo::file(&top.join("open"), b"everybody reads this\n");
    link(top, "open", "a/open");
    zoo::settle_dirs(top);
}

/// What stands at the destination may not be written to.
fn closed_at_destination(destination: &Path, source: &Path) {
    settled(destination, source, |top| {
        for name in ["pair-1", "pair-2", "three", "z/three"] {
            fs::remove_file(top.join(name)).expect("remove");
            zoo::file(&top.join(name), b"old");
            zoo::set_mode(&top.join(name), 0o444);
        }
    });
}

#[test]
fn leaders_that_cannot_be_read() {
    let closed =
        |args: &str| Case::new("closed source", &format!("-rlptHi {args}")).tree(closed_group).by_nobody().unordered();
    everywhere(&[closed("")]);
    // Here too the reference speaks after the end, or before protocol 30 gives up.
    for args in ["--no-inc-recursive", "--no-inc-recursive --protocol=30", "--protocol=29", "--protocol=28"] {
        ours_alone(&closed(args), 23, |run| {
            assert_eq!(one_file(run, "a/open"), "a/open open", "{args}");
            assert_eq!(run.tree.paths().filter(|path| path.starts_with(b"c/")).count(), 0, "{args}");
        });
    }
}

#[test]
fn leaders_that_cannot_be_written() {
    for list in ["", "--no-inc-recursive", "--protocol=29"] {
        let args = format!("-rltHi --inplace {list}");
        everywhere(&[update("closed destination", &args, closed_at_destination).by_nobody().unordered()]);
    }
}
