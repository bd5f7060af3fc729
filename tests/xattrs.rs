//! Extended attributes: kept, compared, filtered, copied from elsewhere; compared with the reference.

mod harness;

use std::{fs, os::unix::fs::symlink, path::Path};

use harness::programs::is_root;
use harness::{Case, PIPES, check_all, everywhere, in_each_place, programs::AGAINST_OLD, zoo};

/// A value that travels only when it is asked for.
fn long(byte: u8) -> Vec<u8> {
    vec![byte; 500]
}

/// Files with none, few and many attributes, equal lists among them; only root may have others than `user.`.
fn attributed(top: &Path) {
    fs::create_dir_all(top.join("dir/deep")).unwrap();
    for name in ["none", "short", "long", "both", "alike", "alike-2", "empty", "edges", "dir/deep/file", "readonly"] {
        zoo::file(&top.join(name), name.as_bytes());
    }
    zoo::attr(&top.join("short"), "user.short", b"1");
    zoo::attr(&top.join("long"), "user.long", &long(b'l'));
    for (name, value) in [("user.b", &long(b'b')[..]), ("user.a", b"a"), ("user.c", &long(b'c'))] {
        zoo::attr(&top.join("both"), name, value);
        zoo::attr(&top.join("alike"), name, value);
        zoo::attr(&top.join("alike-2"), name, value);
    }
    zoo::attr(&top.join("empty"), "user.empty", b"");
    for len in [31, 32, 33] {
        zoo::attr(&top.join("edges"), &format!("user.{len}"), &vec![b'e'; len]);
    }
    zoo::attr(&top.join("edges"), "user.bytes", b"\0\xff\n");
    zoo::attr(&top.join("dir/deep/file"), "user.long", &long(b'l'));
    zoo::attr(&top.join("dir"), "user.dir", b"of a directory");
    zoo::attr(&top.join("dir/deep"), "user.long", &long(b'd'));
    zoo::attr(&top.join("readonly"), "user.x", b"1");
    zoo::set_mode(&top.join("readonly"), 0o444);
    symlink("none", top.join("link")).unwrap();
    zoo::set_time(&top.join("link"), 1_400_000_000, 0);
    zoo::pipe(&top.join("pipe"));
    if is_root() {
        zoo::attr(&top.join("both"), "trusted.t", &long(b't'));
        zoo::attr(&top.join("alike"), "security.s", b"s");
        zoo::attr(&top.join("link"), "trusted.link", b"of a link");
        zoo::attr(&top.join("pipe"), "trusted.pipe", &long(b'p'));
    }
    zoo::settle_dirs(top);
}

/// The same with some attributes missing, changed and added; times as they were.
fn changed(top: &Path, source: &Path) {
    zoo::same(top, source);
    zoo::attr(&top.join("none"), "user.added", &long(b'a'));
    zoo::attr(&top.join("short"), "user.short", b"another");
    zoo::attr(&top.join("long"), "user.long", &long(b'x'));
    zoo::attr(&top.join("both"), "user.b", &long(b'x'));
    zoo::attr(&top.join("alike"), "user.zz", b"");
    zoo::attr(&top.join("dir"), "user.dir", b"changed");
    zoo::attr(&top.join("dir/deep"), "user.more", &long(b'm'));
    zoo::file(&top.join("dir/deep/file"), b"other content");
    zoo::attr(&top.join("dir/deep/file"), "user.long", &long(b'l'));
    zoo::set_time(&top.join("dir/deep/file"), 1_200_000_000, 0);
    if is_root() {
        zoo::attr(&top.join("link"), "trusted.link", b"changed");
        zoo::attr(&top.join("pipe"), "trusted.pipe", &long(b'x'));
    }
    zoo::settle_dirs(top);
}

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(attributed)
}

fn update(name: &'static str, args: &str) -> Case {
    row(name, args).before(changed)
}

#[test]
fn they_arrive_with_new_files() {
    in_each_place(&[row("new files", "-aXi"), row("new files, told", "-aXvv").unordered()]);
    everywhere(&[
        row("without recursion in steps", "-aXi --no-inc-recursive"),
        row("in a dry run", "-aXin"),
        row("not kept", "-ai"),
        row("kept and then not", "-aXi --no-xattrs"),
        row("with relative names", "-aXiR").from(&["src/./dir/deep/file", "src/./both"]),
        row("below a missing directory", "-aXi").to("dst/new/"),
        row("one file", "-Xi").from(&["src/both"]).to("dst/other"),
        row("no links", "-rptXi").unordered(),
        row("links followed", "-aXLi"),
        row("into place", "-aXi --inplace"),
        row("by way of another directory", "-aXi --temp-dir={far}"),
        row("put in place at the end", "-aXi --delay-updates"),
    ]);
}

#[test]
fn they_are_brought_up_to_date() {
    in_each_place(&[update("changed", "-aXi"), update("changed, twice", "-aXXii")]);
    everywhere(&[
        update("changed, told", "-aXvv").unordered(),
        update("changed, told a little", "-aXv"),
        update("changed, nothing else kept", "-rXi --size-only").unordered(),
        update("changed, not kept", "-ai"),
        update("changed, in a dry run", "-aXin"),
        update("changed, with backups", "-aXbi"),
        update("changed, backups elsewhere", "-aXi --backup-dir=../bak").beside(&["bak"]),
        update("changed, backups far away", "-aXi --backup-dir={far}/bak"),
        update("all sent again", "-aXiI"),
        update("all sent again, in place, with backups", "-aXiI --inplace --backup"),
        update("all sent again as differences", "-aXiI --no-whole-file"),
        update("existing only", "-aXi --existing --info=skip2"),
        update("nothing that exists", "-aXi --ignore-existing --info=skip2").unordered(),
        update("by checksum", "-aXci"),
    ]);
}

#[test]
fn they_are_those_of_whoever_may_see_them() {
    everywhere(&[
        row("nobody, new files", "-rlptXi").by_nobody().unordered(),
        row("nobody, twice", "-rlptXXi").by_nobody().unordered(),
        // What is in others' namespaces goes under names of our own, where rules say that it goes.
        row("nobody, whatever there is", "-rlptXi --filter=+x_*").by_nobody().unordered(),
        row("nobody, changed", "-rlptXi --filter=-x_*.b").unordered().by_nobody().before(changed),
        row("told to be no root", "-rlptXi --no-super").unordered(),
        update("told to be no root, changed", "-rlptXi --no-super").unordered(),
    ]);
}

/// Attributes that rsync itself keeps.
fn our_own(top: &Path) {
    zoo::file(&top.join("faked"), b"1");
    zoo::attr(&top.join("faked"), "user.rsync.%stat", b"100644 0,0 12:34");
    zoo::attr(&top.join("faked"), "user.rsync.%other", &long(b'o'));
    zoo::attr(&top.join("faked"), "user.rsync.security.x", b"x");
    zoo::settle_dirs(top);
}

#[test]
fn our_own_are_hidden_unless_asked_for_twice() {
    everywhere(&[
        Case::new("our own", "-aXi").tree(our_own),
        Case::new("our own, asked for", "-aXXi").tree(our_own),
        Case::new("our own, there already", "-aXi").tree(attributed).before(|top, source| {
            zoo::same(top, source);
            zoo::attr(&top.join("none"), "user.rsync.%stat", b"100644 0,0 12:34");
        }),
    ]);
}

#[test]
fn rules_are_about_names() {
    in_each_place(&[update("excluded", "-aXi").arg("--filter=-x user.l*")]);
    everywhere(&[
        row("excluded from what is new", "-aXi").arg("--filter=-x user.*"),
        update("only some included", "-aXi").arg("--filter=+x user.b").arg("--filter=-x *"),
        update("excluded on one side", "-aXi").arg("--filter=-xs user.l*"),
        update("excluded on the other side", "-aXi").arg("--filter=-xr user.l*"),
        row("excluded and told", "-aX --debug=filter").arg("--filter=-x user.l*").unordered(),
        row("not about files", "-aXi").arg("--filter=-x none").arg("--exclude=user.*"),
    ]);
}

/// Directories of which one has rules of its own about attributes.
fn ruled(top: &Path) {
    attributed(top);
    zoo::file(&top.join("dir/deep/other"), b"another");
    zoo::file(&top.join("dir/.rsync-filter"), b"-x user.l*\n- none\n");
    zoo::settle_dirs(top);
}

/// What the receiving side knows of such rules depends on whether it deletes, and when.
#[test]
fn rules_of_directories_are_about_names_too() {
    let before = |top: &Path, source: &Path| {
        changed(top, source);
        for path in ["dir/deep/other", "none", "long"] {
            zoo::attr(&top.join(path), "user.left", &long(b'3'));
        }
        zoo::settle_dirs(top);
    };
    let ruled = |name, args: &str| Case::new(name, args).tree(ruled).before(before).unordered();
    everywhere(&[
        ruled("rules of directories", "-aXiFF"),
        ruled("rules of directories, deleting on the way", "-aXiF --del"),
        ruled("rules of directories, deleting at last", "-aXiF --delete-delay"),
        ruled("rules of directories, deleting before", "-aXiF --delete-before"),
        ruled("rules of directories, deleting after", "-aXiF --delete-after"),
        ruled("rules of directories, the list in one piece", "-aXiF --del --no-inc-recursive"),
        Case::new("rules of directories, something elsewhere", "-aXiF --del --copy-dest=../alt")
            .tree(self::ruled)
            .before(alternative)
            .beside(&["alt"])
            .unordered(),
    ]);
}

/// Files with attributes that only their owner may read.
fn unreadable(top: &Path) {
    attributed(top);
    zoo::set_mode(&top.join("short"), 0o000);
    zoo::set_mode(&top.join("dir/deep/file"), 0o200);
    zoo::settle_dirs(top);
}

#[test]
fn what_may_not_be_read_is_told_by_its_name() {
    if !is_root() {
        return harness::skip("attributes of others' files", "not root");
    }
    let there = |top: &Path, source: &Path| {
        attributed(top);
        zoo::set_mode(&top.join("short"), 0o000);
        zoo::set_mode(&top.join("both"), 0o200);
        zoo::set_time(&top.join("long"), 1_200_000_000, 0);
        assert!(source.exists());
        zoo::settle_dirs(top);
    };
    let elsewhere = |top: &Path, source: &Path| {
        let other = top.with_file_name("alt");
        zoo::same(&other, source);
        zoo::set_mode(&other.join("short"), 0o000);
        zoo::set_mode(&other.join("dir/deep/file"), 0o200);
        zoo::settle_dirs(&other);
    };
    everywhere(&[
        Case::new("of what is sent", "-rlptXi").tree(unreadable).by_nobody().unordered(),
        Case::new("of what is sent in one piece", "-rlptXi --no-i-r").tree(unreadable).by_nobody().unordered(),
        row("of what is there", "-rlptXi").before(there).by_nobody().unordered(),
        row("of what is there, in place", "-rlptXiI --inplace").before(there).by_nobody().unordered(),
        row("of what is elsewhere", "-rltXi --copy-dest=../alt").before(elsewhere).by_nobody().unordered(),
    ]);
}

/// Beside the destination the same files, of which some have other attributes.
fn alternative(top: &Path, source: &Path) {
    let other = top.with_file_name("alt");
    changed(&other, source);
}

#[test]
fn files_elsewhere_count_with_their_attributes() {
    let kinds = ["--compare-dest=../alt", "--copy-dest=../alt", "--link-dest=../alt"];
    let cases: Vec<_> = kinds
        .into_iter()
        .flat_map(|kind| {
            [
                Case::new("elsewhere", "-aXi").arg(kind),
                Case::new("elsewhere, all told", "-aXii").arg(kind),
                Case::new("elsewhere, not kept", "-ai").arg(kind),
            ]
        })
        .map(|case| case.tree(attributed).before(alternative).beside(&["alt"]))
        .collect();
    everywhere(&cases);
}

#[test]
fn what_is_the_same_elsewhere_is_copied_with_them() {
    let same = |top: &Path, source: &Path| zoo::same(&top.with_file_name("alt"), source);
    let kinds = ["--compare-dest=../alt", "--copy-dest=../alt", "--link-dest=../alt"];
    let cases: Vec<_> = kinds
        .into_iter()
        .flat_map(|kind| {
            [Case::new("the same elsewhere", "-aXi").arg(kind), Case::new("the same, all told", "-aHXii").arg(kind)]
        })
        .map(|case| case.tree(attributed).before(same).beside(&["alt"]))
        .collect();
    everywhere(&cases);
}

/// Hard links to files with attributes, in several directories.
fn linked(top: &Path) {
    attributed(top);
    for (name, new) in [("both", "both-2"), ("both", "dir/both-3"), ("none", "dir/deep/none-2"), ("long", "long-2")] {
        fs::hard_link(top.join(name), top.join(new)).unwrap();
    }
    zoo::settle_dirs(top);
}

#[test]
fn hard_links_share_them() {
    in_each_place(&[Case::new("linked", "-aHXi").tree(linked)]);
    everywhere(&[
        Case::new("linked, changed", "-aHXi").tree(linked).before(|top, source| {
            zoo::same(top, source);
            zoo::attr(&top.join("both"), "user.b", &long(b'x'));
            zoo::attr(&top.join("none"), "user.added", &long(b'a'));
            fs::remove_file(top.join("long-2")).unwrap();
            fs::copy(top.join("long"), top.join("long-2")).unwrap();
            zoo::settle_dirs(top);
        }),
        Case::new("linked, not in steps", "-aHXi --no-inc-recursive").tree(linked),
        Case::new("links and pipes, linked", "-aHAXii").tree(linked_nodes).unordered(),
        Case::new("links and pipes, linked, changed", "-aHAXii").tree(linked_nodes).unordered().before(
            |top, source| {
                zoo::same(top, source);
                if is_root() {
                    zoo::attr(&top.join("link"), "trusted.link", b"changed");
                }
                for name in ["pipe-2", "dir/link-2"] {
                    fs::remove_file(top.join(name)).unwrap();
                }
                zoo::settle_dirs(top);
            },
        ),
    ]);
}

/// Hard links to what is no file.
fn linked_nodes(top: &Path) {
    attributed(top);
    for (name, new) in [("link", "link-2"), ("link", "dir/link-2"), ("pipe", "pipe-2"), ("pipe", "dir/deep/pipe-3")] {
        fs::hard_link(top.join(name), top.join(new)).unwrap();
    }
    zoo::settle_dirs(top);
}

/// Set-id bits and capabilities, which a new owner or content would take away.
fn powers(top: &Path) {
    zoo::file(&top.join("capable"), b"1");
    zoo::file(&top.join("setuid"), b"1");
    zoo::set_mode(&top.join("setuid"), 0o4755);
    zoo::attr(&top.join("setuid"), "user.x", &long(b'x'));
    if is_root() {
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for name in ["capable", "setuid"] {
            std::os::unix::fs::lchown(top.join(name), Some(1234), Some(5678)).unwrap();
        }
        zoo::set_mode(&top.join("setuid"), 0o4755);
        zoo::attr(&top.join("capable"), "security.capability", &capability);
    }
    zoo::settle_dirs(top);
}

#[test]
fn powers_survive_a_new_owner() {
    everywhere(&[
        Case::new("capabilities", "-aXi").tree(powers),
        Case::new("capabilities of what is there", "-aXi").tree(powers).before(|top, _| {
            for name in ["capable", "setuid"] {
                zoo::file(&top.join(name), b"2");
            }
        }),
        Case::new("capabilities of what only has another owner", "-aXi").tree(powers).before(others),
        Case::new("capabilities of what only has another owner, not kept", "-ai").tree(powers).before(others),
    ]);
}

/// The same as `powers`, but whose it is.
fn others(top: &Path, source: &Path) {
    zoo::same(top, source);
    if is_root() {
        for name in ["capable", "setuid"] {
            std::os::unix::fs::lchown(top.join(name), Some(4321), Some(8765)).unwrap();
        }
        zoo::set_mode(&top.join("setuid"), 0o4755);
    }
    zoo::settle_dirs(top);
}

#[test]
fn every_protocol_that_has_them() {
    let versions = ["32", "31", "30"].map(|version| format!("--protocol={version}"));
    let cases: Vec<_> = versions
        .iter()
        .flat_map(|version| [update("a protocol", "-aHXi").arg(version), row("a protocol, new", "-aXi").arg(version)])
        .collect();
    everywhere(&cases);
    everywhere(&[
        row("a protocol without", "-aXi --protocol=29").unordered(),
        row("values in a compressed stream's place", "-aXi --checksum-choice=xxh64"),
    ]);
}

#[test]
fn older_releases() {
    check_all(&[row("new files", "-aXi"), update("changed", "-aXi")], &[(PIPES, &AGAINST_OLD)]);
}
