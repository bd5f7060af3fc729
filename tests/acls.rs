//! Access control lists: kept, compared and told as the reference does, over every way and with every other option that
//! has to do with permissions.

mod harness;

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use harness::{
    Case, LOCAL, PIPES, Way, check_all, everywhere, in_each_place, locally,
    programs::{self, AGAINST_OLD, AGAINST_REFERENCE},
    run_alone, zoo,
};

/// Changes lists as `setfacl` takes them.
fn setfacl(path: &Path, args: &[&str]) {
    let done = Command::new("setfacl").args(args).arg(path).status();
    assert!(done.unwrap().success(), "setfacl {args:?} {}", path.display());
}

/// Whether there is what makes lists, where the trees will be.
fn can() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let mut probe = Command::new("setfacl");
    let done = probe.args(["-m", "u:1234:r"]).arg(dir.path()).stderr(Stdio::null()).status();
    let can = done.is_ok_and(|status| status.success());
    if !can {
        harness::skip("access control lists", "setfacl is missing, or the file system knows none");
    }
    can
}

/// A file of each kind of list, in directories of each kind of list.
fn lists(top: &Path) {
    fs::create_dir_all(top.join("sub/deep/er")).unwrap();
    for (path, mode, acl) in [
        ("plain", 0o644, ""),
        ("user", 0o640, "u:1234:rw"),
        ("names", 0o664, "u:daemon:rwx,g:daemon:r,u:bin:-,g:5678:x,u:1:r"),
        ("mask", 0o755, "u:1234:rwx,m::r"),
        ("only-mask", 0o654, "m::rx"),
        ("masked-group", 0o470, "g:daemon:w,g::rwx,m::-"),
        ("set-id", 0o6755, "u:1234:rx"),
        ("none", 0o000, "u:1234:rwx,m::-"),
        ("sub/user", 0o640, "u:1234:rw"),
        ("sub/plain", 0o600, ""),
        ("sub/deep/plain", 0o666, ""),
        ("sub/deep/er/other", 0o604, "u:4321:-,g:4321:rwx"),
    ] {
        zoo::file(&top.join(path), path.as_bytes());
        zoo::set_mode(&top.join(path), mode);
        if !acl.is_empty() {
            setfacl(&top.join(path), &["-m", acl]);
        }
    }
    symlink("user", top.join("link")).unwrap();
    zoo::set_time(&top.join("link"), 1_400_000_000, 0);
    fs::create_dir(top.join("sticky")).unwrap();
    zoo::set_mode(&top.join("sticky"), 0o1777);
    setfacl(&top.join("sticky"), &["-m", "u:1234:-,d:u:1234:r"]);
    setfacl(&top.join("sub"), &["-m", "u:1234:rwx,d:u:1234:rwx,d:g::-,d:o::r"]);
    setfacl(&top.join("sub/deep"), &["-m", "g:daemon:x"]);
    setfacl(&top.join("sub/deep/er"), &["-m", "d:g:daemon:rwx,d:m::rx"]);
    zoo::settle_dirs(top);
}

/// The same files, with other lists or none.
fn others(top: &Path, source: &Path) {
    zoo::same(top, source);
    for path in ["user", "sub/deep/er/other", "sub"] {
        setfacl(&top.join(path), &["-b"]);
    }
    setfacl(&top.join("names"), &["-x", "u:bin"]);
    setfacl(&top.join("mask"), &["-m", "m::rwx"]);
    setfacl(&top.join("plain"), &["-m", "u:1234:rw,m::r"]);
    setfacl(&top.join("set-id"), &["-m", "u:1234:-"]);
    setfacl(&top.join("masked-group"), &["-b"]);
    setfacl(&top.join("sub/deep/er"), &["-k"]);
    setfacl(&top.join("sub/deep"), &["-m", "d:u:1234:r"]);
    zoo::settle_dirs(top);
}

/// Empty, but what is new there has names in its list.
fn inheriting(top: &Path, _: &Path) {
    setfacl(top, &["-m", "d:u:4321:rwx,d:g::rwx,d:o::rwx"]);
}

/// Older files, whose lists are others.
fn outdated(top: &Path, source: &Path) {
    others(top, source);
    for path in ["user", "names", "plain", "sub/user", "set-id"] {
        zoo::file(&top.join(path), b"an older content");
        zoo::set_time(&top.join(path), 1_200_000_000, 0);
    }
    setfacl(&top.join("user"), &["-m", "u:999:rwx"]);
    zoo::settle_dirs(top);
}

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(lists)
}

#[test]
fn lists_are_kept() {
    if !can() {
        return;
    }
    in_each_place(&[
        row("into nothing", "-aAi"),
        row("over others", "-aAi").before(others),
        row("over outdated files", "-aAi --no-whole-file").before(outdated),
        row("into a directory that gives lists to what is new", "-aAi").before(inheriting),
        row("told as names", "-aAvv").before(others).unordered(),
        row("numbers alone", "-aAi --numeric-ids"),
        row("without owner and group", "-rlptAi"),
        row("nothing to do", "-aAii").before(zoo::same).unordered(),
    ]);
}

#[test]
fn every_protocol() {
    if !can() {
        return;
    }
    everywhere(&[
        row("protocol 31", "-aAi --protocol=31").before(others),
        row("protocol 30", "-aAi --protocol=30").before(outdated),
        row("no incremental recursion", "-aAi --no-inc-recursive").before(others),
        row("no incremental recursion, numbers alone", "-aAi --no-inc-recursive --numeric-ids").before(others),
        row("no incremental recursion, without owners", "-rlptAi --no-inc-recursive"),
        row("protocol 29 is too old", "-aAi --protocol=29").unordered(),
    ]);
    check_all(&[row("with an older release", "-aAi").before(others)], &[(PIPES, &AGAINST_OLD)]);
}

#[test]
fn names_are_translated() {
    if !can() {
        return;
    }
    everywhere(&[
        row("users are mapped", "-aAi --usermap=1234:77,daemon:bin"),
        row("groups are mapped", "-aAi --groupmap=daemon:4321,5678:0"),
        row("mapped in a whole list", "-aAi --no-inc-recursive --usermap=1234:77,bin:1235 --groupmap=*:9"),
        row("numbers are mapped", "-aAi --numeric-ids --usermap=1234:77 --groupmap=1:5"),
        row("numbers are mapped in a whole list", "-aAi --numeric-ids --no-inc-recursive --usermap=1234:77"),
        row("two become one", "-rlptAi --usermap=daemon:77,bin:77").unordered(),
        row("the order changes", "-aAii --usermap=1:9000").before(outdated).unordered(),
    ]);
}

#[test]
fn permissions_and_lists() {
    if !can() {
        return;
    }
    everywhere(&[
        row("lists imply permissions", "-rA -i").before(others),
        row("lists without permissions", "-rltAi --no-p").before(others),
        row("lists without permissions into nothing", "-rltAi --no-p"),
        row("changed permissions", "-aAi --chmod=Fg-rwx,Dg+w,o="),
        row("changed permissions over others", "-aAi --chmod=g=r,Do+t").before(others),
        row("executability", "-rltAEi --no-p").before(others),
        row("lists not after all", "-aA --no-A -i").before(others),
        row("new owners", "-aAi --chown=1234:4321").before(outdated),
        row("permissions only", "-ai").before(others),
        row("permissions only, into a directory that gives lists", "-ai").before(inheriting),
        row("a new destination in a directory that gives lists", "-rlti").before(inheriting).to("dst/new/"),
        row("no super-user", "-aAi --no-super").before(others),
        // What a new owner took away is told, and no longer whose it was.
        row("new owners of what is there", "-aAi --chown=1234:4321").before(zoo::same),
        row("new owners alone of what is there", "-ai --chown=1234:4321").before(zoo::same),
    ]);
}

/// Rules about attributes are about those of the system, too: so lists travel without being asked for.
#[test]
fn lists_as_attributes() {
    if !can() {
        return;
    }
    let some = |name, args| row(name, args).arg("--filter=-x user.*");
    everywhere(&[
        some("lists as attributes", "-aXi"),
        some("lists as attributes, with other permissions", "-aXi --chmod=g=u"),
        some("lists as attributes over others", "-aXi").before(outdated),
        row("of directories on the way all", "-aXRi").arg("--filter=-x *").from(&["src/./sub/deep"]).before(
            |top, source| {
                zoo::same(top, source);
                zoo::attr(&top.join("sub"), "user.x", b"1");
                zoo::attr(&top.join("sub/deep"), "user.x", b"1");
                zoo::settle_dirs(top);
            },
        ),
    ]);
}

/// The directory's list denies the owner to write to what is new there.
#[test]
fn attributes_of_what_may_not_be_written_to() {
    if !can() {
        return;
    }
    let denying = |top: &Path, _: &Path| setfacl(top, &["-m", "d:u::r-x,d:g::rwx"]);
    let tree = |top: &Path| {
        lists(top);
        zoo::attr(&top.join("user"), "user.x", b"1");
        zoo::attr(&top.join("sub/user"), "user.x", b"1");
        zoo::settle_dirs(top);
    };
    let case = |name, args| Case::new(name, args).tree(tree).before(denying).by_nobody().unordered();
    everywhere(&[
        case("attributes where nothing may be written", "-rlptXi --exclude=none"),
        case("attributes for one who thinks he may", "-rlptAXi --super --exclude=none"),
    ]);
}

/// What the umask would deny, and where `inheriting` the directory's own list allows it.
#[test]
fn directories_that_are_not_of_the_transfer() {
    if !can() {
        return;
    }
    let deep = ["src/./sub/deep", "src/./user"];
    everywhere(&[
        row("a path that is made", "-rlti --mkpath").before(inheriting).to("dst/a/b/c/"),
        row("a path that is made, lists kept", "-aAi --mkpath").before(inheriting).to("dst/a/b/c/"),
        row("a path that is made for a file", "-ti --mkpath").before(inheriting).from(&["src/user"]).to("dst/a/b/file"),
        row("a path that is made elsewhere", "-rlti --mkpath").to("dst/a/b/c/"),
        row("implied directories", "-rltRi").before(inheriting).from(&deep),
        row("implied directories, lists kept", "-aARi").before(inheriting).from(&deep),
        row("no implied directories", "-rltRi --no-implied-dirs").before(inheriting).from(&deep),
        row("no implied directories, lists kept", "-aARi --no-implied-dirs").before(inheriting).from(&deep),
        row("a directory for backups", "-rltib --backup-dir=bak/old").before(outdated_inheriting),
        row("a directory for backups, lists kept", "-aAib --backup-dir=bak/old").before(outdated_inheriting),
        row("a directory for partial files", "-rlti --delay-updates --partial-dir={box}/dst/part")
            .before(outdated_inheriting),
    ]);
}

fn outdated_inheriting(top: &Path, source: &Path) {
    outdated(top, source);
    inheriting(top, source);
    zoo::settle_dirs(top);
}

#[test]
fn what_is_told() {
    if !can() {
        return;
    }
    everywhere(&[
        row("dry run", "-aAin").before(others),
        row("dry run into nothing", "-aAin"),
        row("existing alone", "-aAi --existing").before(outdated),
        row("what differs is told", "-aAi --ignore-existing --info=skip2").before(outdated).unordered(),
        row("by checksum", "-aAic").before(others),
        row("traced", "-rltA --no-p --debug=acl,own").before(inheriting).unordered(),
        row("listed only", "-aA --list-only").to(""),
    ]);
}

#[test]
fn replaced_files() {
    if !can() {
        return;
    }
    everywhere(&[
        row("in place", "-aAi --inplace --no-whole-file").before(outdated),
        row("delayed updates", "-aAi --delay-updates").before(outdated),
        row("temporary directory", "-aAi --temp-dir={box}").before(outdated),
        row("temporary directory far away", "-aAi --temp-dir={far}").before(outdated),
        row("append", "-aAi --append").before(outdated),
        row("hard links", "-aAHi").tree(linked),
        row("hard links over others", "-aAHii").tree(linked).before(outdated).unordered(),
        row("hard links in a whole list", "-aAHi --no-inc-recursive").tree(linked),
        row("deletions", "-aAi --delete").before(outdated),
    ]);
}

fn linked(top: &Path) {
    lists(top);
    fs::hard_link(top.join("user"), top.join("sub/user-too")).unwrap();
    fs::hard_link(top.join("names"), top.join("sub/deep/names")).unwrap();
    fs::hard_link(top.join("plain"), top.join("sub/deep/er/plain")).unwrap();
    zoo::settle_dirs(top);
}

#[test]
fn backups() {
    if !can() {
        return;
    }
    everywhere(&[
        row("backups", "-aAib").before(outdated),
        row("backup directory", "-aAi --backup-dir=../bak").before(outdated).beside(&["bak"]),
        row("backup directory far away", "-aAiv --backup-dir={far}/bak").before(outdated).unordered(),
    ]);
}

/// The reference gives the first list of the transfer to all of these.
#[test]
fn backups_of_files_that_are_updated_in_place_keep_their_own() {
    if !can() {
        return;
    }
    let lists = |args| {
        let run = run_alone(&row("backups", args).before(outdated), Way::Local, programs::ALONE[0]).unwrap();
        assert!(run.outcome.stderr.is_empty());
        ["user~", "names~", "plain~", "set-id~", "sub/user~"].map(|path| run.tree.get(path.as_bytes()).cloned())
    };
    let kept = lists("-aAb");
    assert!(kept.iter().all(Option::is_some));
    assert_eq!(kept, lists("-aAb --inplace --no-whole-file"));
}

/// A directory beside the destination where most is as it shall be.
fn alternatives(top: &Path, source: &Path) {
    let beside = top.with_file_name("alt");
    fs::create_dir(&beside).unwrap();
    zoo::same(&beside, source);
    setfacl(&beside.join("user"), &["-m", "u:999:rwx"]);
    setfacl(&beside.join("names"), &["-b"]);
    setfacl(&beside.join("sub"), &["-k"]);
    setfacl(&beside.join("sub/deep"), &["-b"]);
    zoo::settle_dirs(&beside);
}

#[test]
fn alternative_directories() {
    if !can() {
        return;
    }
    everywhere(&[
        row("linked from", "-aAii --link-dest=../alt").before(alternatives).beside(&["alt"]).unordered(),
        row("copied from", "-aAii --copy-dest=../alt").before(alternatives).beside(&["alt"]).unordered(),
        row("compared with", "-aAii --compare-dest=../alt").before(alternatives).beside(&["alt"]).unordered(),
        row("linked from, dry", "-aAin --link-dest=../alt").before(alternatives).beside(&["alt"]),
        row("linked without lists", "-ai --link-dest=../alt").before(alternatives).beside(&["alt"]),
    ]);
}

/// Pipes, devices and sockets with lists.
fn nodes(top: &Path) {
    zoo::pipe(&top.join("pipe"));
    setfacl(&top.join("pipe"), &["-m", "u:1234:rw"]);
    if harness::programs::is_root() {
        zoo::device(&top.join("null"), nix::sys::stat::SFlag::S_IFCHR, (1, 3));
        setfacl(&top.join("null"), &["-m", "u:1234:-"]);
        zoo::set_time(&top.join("null"), 1_300_000_000, 0);
    }
    zoo::set_time(&top.join("pipe"), 1_300_000_000, 0);
    zoo::settle_dirs(top);
}

#[test]
fn nodes_have_lists_where_they_are_kept() {
    if !can() {
        return;
    }
    let changed = |top: &Path, source: &Path| {
        zoo::same(top, source);
        setfacl(&top.join("pipe"), &["-b"]);
    };
    everywhere(&[
        row("nodes", "-aAi").tree(nodes),
        row("nodes over others", "-aAi").tree(nodes).before(changed),
        row("nodes not kept", "-rlptAi").tree(nodes).unordered(),
        row("special files only", "-rlptAi --specials").tree(nodes).unordered(),
    ]);
}

/// Links whose files have lists.
fn followed(top: &Path) {
    lists(top);
    symlink("sub", top.join("link-to-sub")).unwrap();
    symlink("../names", top.join("sub/link-to-names")).unwrap();
    for link in ["link-to-sub", "sub/link-to-names"] {
        zoo::set_time(&top.join(link), 1_400_000_000, 0);
    }
    zoo::settle_dirs(top);
}

#[test]
fn links() {
    if !can() {
        return;
    }
    everywhere(&[
        row("links", "-aAi").tree(followed),
        row("links followed", "-aALi").tree(followed),
        row("links to directories followed", "-aAki").tree(followed),
        row("links to directories kept", "-aAKi").before(|top, source| {
            let beside = top.with_file_name("els");
            fs::create_dir(&beside).unwrap();
            zoo::same(&beside, &source.join("sub"));
            symlink("../els", top.join("sub")).unwrap();
        }),
        row("names relative", "-aARi").from(&["src/./sub/deep", "src/./user"]),
        row("one file", "-aAi").from(&["src/user"]).to("dst/new"),
    ]);
}

#[test]
fn without_rights() {
    if !can() {
        return;
    }
    everywhere(&[row("by nobody", "-rlptAi").by_nobody(), row("all by nobody", "-aAi").by_nobody()]);
}

#[test]
fn where_there_are_none() {
    if !can() {
        return;
    }
    // Of procfs nothing can be written, but nothing is wanted either.
    locally(&[row("a source without lists", "-Ai").from(&["/proc/version", "/proc/sys/kernel/ostype"]).unordered()]);
    check_all(&[row("many at once", "-aAi --no-inc-recursive").tree(zoo::crowd)], &[(LOCAL, &AGAINST_REFERENCE[2..])]);
}
