//! The receiving side keeps what it cannot give.

use super::{
    can, each_side,
    harness::{Case, PIPES, check_all, in_each_place, programs::AGAINST_OLD, zoo},
    keep, keeping, of_other_kinds, outdated, privileged, tell, told,
};
use std::{fs, path::Path};

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(privileged)
}

fn update(name: &'static str, args: &str) -> Case {
    row(name, args).before(outdated)
}

#[test]
fn into_nothing() {
    if !can() {
        return;
    }
    in_each_place(&each_side(&[row("new files", "-ai"), Case::new("the zoo", "-aHi").unordered()]));
    keeping(&[
        row("new files, told", "-avv").unordered(),
        row("a whole list", "-ai --no-inc-recursive"),
        row("a dry run", "-ain"),
        row("relative names", "-aiR").from(&["src/./dir/deep", "src/./null", "src/./closed/inside"]),
        row("below a missing directory", "-ai").to("dst/new/"),
        row("one file", "-ai").from(&["src/owned"]).to("dst/other"),
        row("one device", "-ai").from(&["src/null"]).to("dst/other"),
        row("no devices", "-ai --no-devices").unordered(),
        row("no special files", "-ai --no-specials").unordered(),
        row("no links", "-ai --no-links").unordered(),
        row("none are made", "-ai --drop-D").unordered(),
        row("into place", "-ai --inplace"),
        row("by way of another directory", "-ai --temp-dir={far}"),
        row("put in place at the end", "-ai --delay-updates"),
        row("no times", "-ai --no-times"),
        row("no times of directories", "-aiO"),
        row("no times of links", "-aiJ"),
        row("names mapped", "-ai --usermap=1234:99,0:1 --groupmap=*:daemon"),
        row("numbers", "-ai --numeric-ids"),
        row("owner and group at will", "-ai --chown=4321:8765"),
        row("modes at will", "-ai --chmod=Du+s,Fg-r,o="),
        row("into a directory with attributes", "-aXi").before(|top, _| zoo::attr(top, "user.x", b"1")),
        row("listed only", "-a --list-only").to(""),
    ]);
}

#[test]
fn over_others() {
    if !can() {
        return;
    }
    in_each_place(&each_side(&[update("changed", "-ai"), row("other kinds", "-ai").before(of_other_kinds)]));
    keeping(&[
        row("nothing to do", "-aii").before(|top, source| keep(source, top)).unordered(),
        update("changed, all told", "-aii").unordered(),
        update("changed, told", "-avv").unordered(),
        update("changed, traced", "-ai --inplace --debug=own,genr").unordered(),
        update("changed, a whole list", "-ai --no-inc-recursive"),
        update("changed, a dry run", "-ain"),
        update("changed, by checksum", "-aic"),
        update("changed, by size alone", "-ai --size-only"),
        update("changed, in place", "-ai --inplace --no-whole-file"),
        update("changed, all sent again", "-aiI"),
        update("changed, with attributes", "-aXi"),
        update("existing only", "-ai --existing --info=skip2").unordered(),
        update("nothing that exists", "-ai --ignore-existing --info=skip2").unordered(),
        update("no times of links", "-aiJ"),
        update("no times of directories", "-aiO"),
        update("names mapped", "-ai --usermap=1234:99,0:1 --groupmap=*:daemon"),
        update("modes at will", "-ai --chmod=Du+s,Fg-r,o="),
        update("a similar name", "-aiy --no-whole-file"),
        update("links to directories kept", "-aiK --no-links").unordered(),
        row("links to directories kept as directories", "-aiK").before(|top, source| {
            keep(source, top);
            fs::rename(top.join("dir"), top.join("elsewhere")).unwrap();
            std::os::unix::fs::symlink("elsewhere", top.join("dir")).unwrap();
        }),
        row("devices written to", "-ai --write-devices").before(|top, _| {
            zoo::file(&top.join("plain"), b"other");
            tell(&top.join("plain"), "20600 1,3 0:0");
        }),
        row("what is partial", "-ai --partial-dir=.part --no-whole-file").before(|top, _| {
            fs::create_dir(top.join(".part")).unwrap();
            zoo::file(&top.join(".part/plain"), b"pla");
            tell(&top.join(".part/plain"), "100600 0,0 9:9");
        }),
        row("real ones replaced", "-ai").before(zoo::same),
        row("real ones not touched", "-ain").before(zoo::same),
        row("other kinds, a dry run", "-ain").before(of_other_kinds),
        row("other kinds, deletions allowed", "-ai --delete").before(of_other_kinds),
    ]);
}

#[test]
fn hard_links() {
    if !can() {
        return;
    }
    fn linked(top: &Path) {
        privileged(top);
        for (name, new) in
            [("owned", "owned-2"), ("null", "dir/null-2"), ("pipe", "dir/pipe-2"), ("link", "dir/link-2")]
        {
            fs::hard_link(top.join(name), top.join(new)).unwrap();
        }
        fs::hard_link(top.join("owned"), top.join("dir/deep/owned-3")).unwrap();
        zoo::settle_dirs(top);
    }
    fn changed(top: &Path, source: &Path) {
        keep(source, top);
        tell(&top.join("owned"), "100600 0,0 9:9");
        fs::remove_file(top.join("dir/null-2")).unwrap();
        fs::write(top.join("dir/null-2"), "").unwrap();
        fs::remove_file(top.join("dir/link-2")).unwrap();
        zoo::settle_dirs(top);
    }
    in_each_place(&each_side(&[row("linked", "-aHi").tree(linked)]));
    keeping(&[
        row("linked, changed", "-aHi").tree(linked).before(changed),
        row("linked, a whole list", "-aHi --no-inc-recursive").tree(linked).before(changed),
        row("linked, with attributes", "-aHXi").tree(linked).before(changed),
    ]);
}

#[test]
fn deleted_and_kept_as_backups() {
    if !can() {
        return;
    }
    fn more(top: &Path, source: &Path) {
        outdated(top, source);
        for (path, text) in [("dev", "20600 1,3 5:5"), ("fifo", "10600 0,0 0:0"), ("old-link", "120777 0,0 0:0")] {
            zoo::file(&top.join(path), b"x");
            tell(&top.join(path), text);
        }
        fs::create_dir_all(top.join("gone/deep")).unwrap();
        tell(&top.join("gone"), "41777 0,0 5:5");
        zoo::file(&top.join("gone/file"), b"x");
        tell(&top.join("gone/file"), "104755 0,0 5:5");
        zoo::file(&top.join("gone/deep/dev"), b"");
        tell(&top.join("gone/deep/dev"), "60600 8,1 5:5");
        zoo::settle_dirs(top);
    }
    fn without_devices(top: &Path, source: &Path) {
        more(top, source);
        for path in ["dev", "null", "gone/deep/dev"] {
            fs::remove_file(top.join(path)).unwrap();
        }
        zoo::settle_dirs(top);
    }
    let row = |name, args| row(name, args).before(more);
    keeping(&[
        row("deletions", "-ai --delete"),
        row("deletions, counted", "-a --delete --stats"),
        row("deletions afterwards", "-ai --delete-after"),
        row("deletions, with modes told", "-a --delete --out-format=%i_%B_%n"),
        row("backups", "-aib"),
        row("backups, told", "-abvv").unordered(),
        row("backups and deletions", "-aib --delete --backup-dir=../bak").beside(&["bak"]),
        row("backups and deletions far away", "-aib --delete --backup-dir={far}/bak").before(without_devices),
        row("backups far away with attributes", "-aXib --delete --backup-dir={far}/bak").before(without_devices),
        row("backups of what is changed in place", "-aib --inplace --no-whole-file"),
        row("no unsafe links", "-aib --safe-links --backup-dir={far}/bak").before(without_devices).unordered(),
    ]);
}

#[test]
fn files_elsewhere_count_as_they_are_told() {
    if !can() {
        return;
    }
    fn elsewhere(top: &Path, source: &Path) {
        outdated(&top.with_file_name("alt"), source);
    }
    fn same(top: &Path, source: &Path) {
        keep(source, &top.with_file_name("alt"));
    }
    let rows = |kind: &'static str| {
        [
            row("elsewhere", "-ai").arg(kind).before(elsewhere),
            row("elsewhere, all told", "-aHii").arg(kind).before(elsewhere).unordered(),
            row("the same elsewhere", "-aXi").arg(kind).before(same),
            row("elsewhere, a dry run", "-ain").arg(kind).before(elsewhere),
        ]
        .map(|case| case.beside(&["alt"]))
    };
    for kind in ["--compare-dest=../alt", "--copy-dest=../alt", "--link-dest=../alt"] {
        keeping(&rows(kind));
    }
}

#[test]
fn with_other_attributes() {
    if !can() {
        return;
    }
    fn attributed(top: &Path) {
        privileged(top);
        for (path, name) in [("plain", "user.x"), ("plain", "trusted.t"), ("owned", "security.s"), ("dir", "trusted.d")]
        {
            zoo::attr(&top.join(path), name, &[b'v'; 40]);
        }
        zoo::attr(&top.join("null"), "trusted.null", b"1");
        zoo::attr(&top.join("link"), "trusted.link", b"1");
        zoo::settle_dirs(top);
    }
    fn changed(top: &Path, source: &Path) {
        outdated(top, source);
        zoo::attr(&top.join("plain"), "user.rsync.trusted.t", b"another");
        zoo::attr(&top.join("owned"), "user.rsync.trusted.more", b"1");
        zoo::attr(&top.join("dir/owned"), "user.rsync.%stat", b"100600 0,0 77:88");
        zoo::settle_dirs(top);
    }
    in_each_place(&each_side(&[row("attributes", "-aXi").tree(attributed)]));
    keeping(&[
        row("attributes changed", "-aXi").tree(attributed).before(changed),
        row("attributes changed, links", "-aHXii").tree(attributed).before(changed).unordered(),
        row("attributes left out", "-aXi").arg("--filter=-x trusted.*").tree(attributed).before(changed),
    ]);
}

#[test]
fn every_protocol() {
    if !can() {
        return;
    }
    for version in ["--protocol=31", "--protocol=30", "--protocol=29"] {
        keeping(&[
            row("a protocol", "-aHi").arg(version).unordered(),
            update("a protocol, changed", "-ai --delete").arg(version).unordered(),
        ]);
    }
}

/// Directories with attributes, and something in them.
fn attributed_dirs(top: &Path) {
    fs::create_dir_all(top.join("dir/below")).expect("directory");
    for file in ["file", "dir/file", "dir/below/file"] {
        zoo::file(&top.join(file), file.as_bytes());
        zoo::attr(&top.join(file), "user.file", b"value");
    }
    for dir in ["dir", "dir/below"] {
        zoo::attr(&top.join(dir), "user.dir", b"value");
    }
    zoo::settle_dirs(top);
}

#[test]
fn older_releases() {
    if !can() {
        return;
    }
    check_all(&each_side(&[row("new files", "-aHi"), update("changed", "-aXi")]), &[(PIPES, &AGAINST_OLD)]);
}

#[test]
fn by_anybody() {
    if !can() {
        return;
    }
    keeping(&[
        row("by nobody", "-ai").by_nobody().unordered(),
        row("by nobody, changed", "-ai --delete").by_nobody().before(outdated).unordered(),
        row("by nobody, with attributes", "-aXi").by_nobody().unordered(),
        Case::new("the zoo by nobody", "-aHi").by_nobody().unordered(),
        row("modes that are only told, by nobody", "-aXi --chmod=a=").tree(attributed_dirs).by_nobody().unordered(),
        row("what is told, by nobody", "-ai").tree(told).by_nobody().unordered(),
        row("the last word counts", "-ai --fake-super --super -M--super"),
        row("the last word counts, the other way", "-ai --super"),
        row("no super-user", "-ai --fake-super --no-super -M--no-super").unordered(),
    ]);
}
