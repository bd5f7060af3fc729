//! Backups: of what is replaced and what is deleted, and where they cannot be made.

use super::*;

#[test]
fn backups_beside() {
    in_each_place(&[
        row("backup", "-aib"),
        row("backup, told", "-avvb").unordered(),
        row("backup with deltas", "-aib --no-whole-file --stats"),
        row("backup with a suffix", "-ai --backup --suffix=.old"),
        row("backup in a dry run", "-ainb"),
        row("backup in a dry run, told", "-avvnb").unordered(),
    ]);
    everywhere(&[
        row("backup traced", "-ab --debug=backup --info=backup").unordered(),
        row("backup of attributes that are not kept", "-rlib").unordered(),
        row("backup over a backup", "-aib").before(|top, source| {
            old(top, source);
            zoo::file(&top.join("big~"), b"an older one");
            fs::create_dir_all(top.join("sub/text~")).unwrap();
            zoo::settle_dirs(top);
        }),
        row("a suffix alone", "-ai --suffix=.old"),
        row("backup and then not", "-aib --no-backup"),
    ]);
}

#[test]
fn backups_elsewhere() {
    in_each_place(&[
        row("backup directory below", "-ai --backup-dir=bak"),
        row("backup directory, told", "-avv --backup-dir=../bak").beside(&["bak"]).unordered(),
        row("backup directory with a suffix", "-aib --backup-dir=../bak/deep/ --suffix=.old").beside(&["bak"]),
        row("absolute backup directory", "-ai --backup-dir={box}/bak").beside(&["bak"]),
        row("backup directory on another file system", "-aiv --backup-dir={far}/bak").unordered(),
    ]);
    everywhere(&[
        row("backup directory in a dry run", "-ain --backup-dir=bak --info=backup").unordered(),
        row("backup directory is the destination", "-ai --backup-dir=. --suffix=.old"),
        row("backup directories inherit their group", "-rltgoi --backup-dir=../bak").beside(&["bak"]).before(
            |top, source| {
                old(top, source);
                zoo::set_mode(&top.join("sub"), 0o2750);
            },
        ),
        row("backup directory with things in it", "-ai --backup-dir=bak --info=backup").unordered().before(
            |top, source| {
                old(top, source);
                fs::create_dir_all(top.join("bak/big")).unwrap();
                zoo::file(&top.join("bak/sub"), b"in the way");
                zoo::settle_dirs(top);
            },
        ),
        row("backup directory below a file", "-ai --backup-dir=big/bak"),
        row("backup directory below a device, far", "-ai --backup-dir=/dev/null/bak"),
        row("backup directory is a file, seen as none", "-ai --backup-dir=big/"),
        row("backup directory is a file", "-ai --backup-dir=bak").before(|top, source| {
            old(top, source);
            zoo::file(&top.join("bak"), b"in the way");
        }),
    ]);
}

/// Things that the source has not, and directories that may be looked into only.
fn closed_backups(top: &Path, source: &Path) {
    old(top, source);
    zoo::file(&top.join("gone"), b"to be deleted");
    fs::create_dir_all(top.join("sub/gone")).unwrap();
    zoo::file(&top.join("sub/gone/file"), b"to be deleted");
    fs::create_dir_all(top.join("bak")).unwrap();
    fs::create_dir_all(top.with_file_name("nothing-for-us")).unwrap();
    zoo::settle_dirs(top);
    zoo::set_mode(&top.join("bak"), 0o555);
}

#[test]
fn backups_that_cannot_be_made() {
    let closed = |name, args: &str| row(name, args).before(closed_backups).by_nobody().unordered();
    // a directory that only root may write to, unlike the destination
    let elsewhere = |name, args: &str| closed(name, &format!("{args} --backup-dir=../nothing-for-us"));
    let below = |name, args: &str| closed(name, &format!("{args} --backup-dir=bak --exclude=/bak"));
    in_each_place(&[below("replaced without a backup", "-rltpi --include=/sub/ --include=/sub/link --exclude=*")]);
    let deleted = [
        elsewhere("deleted without a backup", "-rltpi --delete --existing --ignore-existing"),
        below("deleted with a closed directory", "-rltpi --delete --existing --ignore-existing"),
        below("deleted before, closed directory", "-rltpi --delete-before --existing --ignore-existing"),
    ];
    // As the client that pulls the reference has forgotten why when it comes to say so.
    check_all(&deleted, &[(&[Way::Local], &programs::ALONE), (&[Way::PipePush], &AGAINST_REFERENCE)]);
}

#[test]
fn backups_of_every_kind() {
    let stale = |name, args| Case::new(name, args).before(zoo::stale);
    everywhere(&[
        stale("backup of the zoo", "-ab --info=backup --stats").unordered(),
        stale("backup of the zoo elsewhere", "-a --backup-dir=bak --info=backup").unordered(),
        stale("backup of the zoo on another file system", "-a --backup-dir={far}/bak --info=backup").unordered(),
    ]);
}

#[test]
fn backups_of_what_is_deleted() {
    let gone = |name, args| row(name, args).before(extraneous);
    everywhere(&[
        gone("deletion with a backup", "-aib --delete --info=backup").unordered(),
        gone("deletion with a suffix", "-aib --suffix=.old --delete").unordered(),
        gone("deletion with a backup directory", "-ai --backup-dir=../bak --delete --info=backup")
            .beside(&["bak"])
            .unordered(),
        gone("deletion with a backup elsewhere", "-ai --backup-dir={far}/bak --delete --info=backup").unordered(),
        gone("deletion with a backup, dry", "-ainb --delete --info=backup").unordered(),
        gone("excluded deleted with a backup", "-aib --delete-excluded --exclude=new").unordered(),
        Case::new("the zoo makes room with backups", "-ab --force -i").before(zoo::stale).unordered(),
    ]);
}

/// A file and a link that differ, where directories stand in the way of their backups.
fn cluttered(top: &Path, _: &Path) {
    zoo::file(&top.join("file"), b"old");
    symlink("old", top.join("link")).unwrap();
    zoo::file(&top.join("gone"), b"gone");
    for dir in ["file/deep/er", "link", "gone/x"] {
        fs::create_dir_all(top.join("bak").join(dir)).unwrap();
    }
    for file in ["file/a", "file/deep/b", "link/y"] {
        zoo::file(&top.join("bak").join(file), b"an old backup");
    }
    symlink("nowhere", top.join("bak/link/x")).unwrap();
    zoo::settle_dirs(top);
}

fn one_file(top: &Path) {
    zoo::file(&top.join("file"), b"a new one");
    zoo::settle_dirs(top);
}

fn one_link(top: &Path) {
    symlink("new", top.join("link")).unwrap();
    zoo::set_time(&top.join("link"), 1_400_000_000, 0);
    zoo::settle_dirs(top);
}

#[test]
fn a_backup_directory_that_leads_nowhere() {
    let nowhere = |name, args| {
        Case::new(name, args).tree(one_file).before(|top, _| {
            zoo::file(&top.join("file"), b"old");
            symlink("nowhere", top.with_file_name("bak")).unwrap();
        })
    };
    everywhere(&[
        nowhere("told", "-ai --backup-dir=../bak").unordered(),
        nowhere("told by its whole path", "-a --backup-dir={box}/bak"),
    ]);
}

#[test]
fn directories_in_the_way_of_backups() {
    let file = |name, args| Case::new(name, args).tree(one_file).before(cluttered).unordered();
    let link = |name, args| Case::new(name, args).tree(one_link).before(cluttered).unordered();
    in_each_place(&[
        file("a file, itemized", "-ai --backup-dir=bak --stats"),
        link("a link, itemized", "-ai --backup-dir=bak --stats"),
    ]);
    everywhere(&[
        file("a file, told", "-av --backup-dir=bak"),
        file("a file, traced", "-a --backup-dir=bak --debug=del3"),
        file("a file, dry", "-ain --backup-dir=bak"),
        file("a file, delayed", "-ai --backup-dir=bak --delay-updates"),
        file("a file, old protocol", "-ai --backup-dir=bak --protocol=28"),
        file("a file, absolute directory", "-ai --backup-dir={box}/dst/bak"),
        file("a file and a limit", "-aiO --backup-dir=bak --max-delete=1"),
        file("a file and no limit reached", "-aiO --backup-dir=bak --max-delete=4"),
        file("a file and spared contents", "-aiO --backup-dir=bak --exclude=b"),
        file("a file and anchored rules", "-aiO --backup-dir=bak --exclude=/bak/file/deep/b"),
        file("a file and anchored rules for elsewhere", "-aiO --backup-dir={box}/dst/bak --exclude=/file/deep/b"),
        file("a file and deletions", "-ai --backup-dir=bak --exclude=/bak --delete --stats"),
        file("a file and late deletions", "-ai --backup-dir=bak --exclude=/bak --delete-after --stats"),
        link("a link, told", "-av --backup-dir=bak"),
        link("a link and a limit", "-aiO --backup-dir=bak --max-delete=1"),
        link("a link and spared contents", "-aiO --backup-dir=bak --exclude=x"),
        link("a link and deletions", "-ai --backup-dir=bak --exclude=/bak --delete --stats"),
        link("beside", "-aib").before(|top, source| {
            cluttered(top, source);
            fs::create_dir_all(top.join("link~/full")).unwrap();
            zoo::settle_dirs(top);
        }),
    ]);
}
