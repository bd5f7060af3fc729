//! `--confine-root`, which keeps what the command line names below one directory: what is refused, and how it is told.

use std::{os::unix::fs::symlink, path::Path};

use crate::harness::{Case, Traffic, in_each_place, zoo};

/// A destination with old files, and beside it a link that leads out of the sandbox and one that stays in it.
fn old(destination: &Path, source: &Path) {
    zoo::stale(destination, source);
    let sandbox = destination.parent().unwrap();
    symlink("..", sandbox.join("out")).unwrap();
    symlink("dst", sandbox.join("in")).unwrap();
    std::fs::create_dir(sandbox.join("kept")).unwrap();
}

/// Confined to the sandbox at both ends.
fn case(name: &'static str, args: &str) -> Case {
    let case = Case::new(name, args).arg("--confine-root={box}").server_args("--confine-root={box}");
    let case = case.tree(zoo::few).before(old).beside(&["kept"]).traffic(Traffic::Any);
    case.with_file("list", b"a\nsub\n").with_file("rules", b"- a*\n")
}

#[test]
fn what_leads_out_is_refused() {
    in_each_place(&[
        case("a backup directory elsewhere", "-aib --backup-dir={far}/gone"),
        case("a backup directory above", "-aib --backup-dir=../.."),
        case("a backup directory over a link", "-aib --backup-dir={box}/out/gone"),
        case("a partial directory elsewhere", "-ai --delay-updates --partial-dir={far}/part"),
        case("a partial directory over a link", "-ai --delay-updates --partial-dir={box}/out/part"),
        case("names over a link", "-ai --files-from={box}/out/list"),
        // The source is a link that leads out itself.
        case("names in what is elsewhere", "-ai --files-from={box}/list"),
        case("per-directory rules over a link", "-ai --delete --filter=:_/../out/rules"),
    ]);
}

#[test]
fn what_stays_inside_is_as_ever() {
    in_each_place(&[
        case("a backup directory", "-aib --backup-dir=../kept/gone"),
        case("a backup directory over a link", "-aib --backup-dir={box}/in/gone"),
        case("a partial directory", "-ai --delay-updates --partial-dir={box}/kept/part"),
        case("a temporary directory", "-ai --temp-dir={box}/kept"),
        case("an alternative directory", "-ai --link-dest=../in/../kept"),
        case("names", "-ai --files-from={box}/list").own_source(),
        case("rules", "-ai --exclude-from={box}/rules"),
        case("nothing that is bounded", "-ai --delete").to("dst/deeper"),
    ]);
}

#[test]
fn the_top_bounds_nothing() {
    let case = |name, args| Case::new(name, args).arg("--confine-root=/").server_args("--confine-root=/").before(old);
    in_each_place(&[
        case("a backup directory anywhere", "-aib --backup-dir={far}/gone").tree(zoo::few),
        case("names over a link", "-ai --files-from={box}/out/none").tree(zoo::few),
    ]);
}
