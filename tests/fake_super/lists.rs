//! Access control lists that are told.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::{
    each_side,
    harness::{Case, LOCAL, Way, in_each_place, process::Status, programs::ALONE, run_alone, skip, zoo},
    keep, keeping, tell, telling, told_of,
};

fn setfacl(path: &Path, acl: &str) {
    assert!(Command::new("setfacl").args(["-m", acl]).arg(path).status().unwrap().success());
}

fn can() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let probe = Command::new("setfacl").args(["-m", "u:1234:r"]).arg(dir.path()).stderr(Stdio::null()).status();
    let can = probe.is_ok_and(|status| status.success());
    if !can {
        skip("access control lists that are told", "setfacl is missing, or the file system knows none");
    }
    can && super::can()
}

fn lists(top: &Path) {
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    for (path, mode, acl) in [
        ("plain", 0o644, ""),
        ("user", 0o640, "u:1234:rw"),
        ("names", 0o664, "u:daemon:rwx,g:daemon:r,u:bin:-,g:5678:x,u:1:r"),
        ("mask", 0o755, "u:1234:rwx,m::r"),
        ("only-mask", 0o654, "m::rx"),
        ("masked-group", 0o470, "g:daemon:w,g::rwx,m::-"),
        ("set-id", 0o6755, "u:1234:rx"),
        ("sub/plain", 0o600, ""),
    ] {
        zoo::file(&top.join(path), path.as_bytes());
        zoo::set_mode(&top.join(path), mode);
        if !acl.is_empty() {
            setfacl(&top.join(path), acl);
        }
    }
    std::os::unix::fs::lchown(top.join("user"), Some(1234), Some(5678)).unwrap();
    zoo::device(&top.join("null"), nix::sys::stat::SFlag::S_IFCHR, (1, 3));
    setfacl(&top.join("null"), "u:1234:-");
    zoo::set_time(&top.join("null"), 1_300_000_000, 0);
    setfacl(&top.join("sub"), "u:1234:rwx,d:u:1234:rwx,d:g::-,d:o::r");
    setfacl(&top.join("sub/deep"), "d:m::rx");
    zoo::settle_dirs(top);
}

fn told(top: &Path) {
    told_of(top, lists);
}

fn told_attr(path: &Path, name: &str, numbers: &[u32]) {
    let value: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    zoo::attr(path, &format!("user.rsync.%{name}"), &value);
}

/// Of much other lists are told, or none; and one that should not be.
fn outdated(top: &Path, source: &Path) {
    keep(source, top);
    let user = 1 << 31;
    told_attr(&top.join("plain"), "aacl", &[6, 4, 7, 0, 1234, 7 | user]);
    told_attr(&top.join("user"), "aacl", &[0x80, 4, 6, 0x80, 999, 7 | user]);
    told_attr(&top.join("mask"), "aacl", &[0x80; 4]);
    told_attr(&top.join("sub"), "dacl", &[7, 7, 0x80, 7]);
    told_attr(&top.join("sub/deep"), "aacl", &[7, 0, 7, 0, 3, 1]);
    for path in ["names", "set-id"] {
        zoo::file(&top.join(path), b"an older content");
        zoo::set_time(&top.join(path), 1_200_000_000, 0);
        tell(&top.join(path), "100600 0,0 9:9");
    }
    zoo::settle_dirs(top);
}

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(lists)
}

#[test]
fn they_are_kept() {
    if !can() {
        return;
    }
    in_each_place(&each_side(&[row("into nothing", "-aAi"), row("over others", "-aAi").before(outdated)]));
    keeping(&[
        row("nothing to do", "-aAii").before(keep).unordered(),
        row("told", "-aAvv").before(outdated).unordered(),
        row("a dry run", "-aAin").before(outdated),
        row("numbers", "-aAi --numeric-ids").before(outdated),
        row("users mapped", "-aAi --usermap=1234:77,daemon:bin --groupmap=5678:0"),
        row("no permissions", "-aAi --no-p").before(outdated),
        row("a whole list", "-aAi --no-inc-recursive").before(outdated),
        row("protocol 30", "-aAi --protocol=30").before(outdated),
        row("not kept", "-ai").before(outdated),
        row("with attributes, into nothing", "-aAXi"),
        row("in place", "-aAi --inplace --no-whole-file").before(outdated),
        row("backups far away", "-aAib --backup-dir={far}/bak").before(|top, source| {
            outdated(top, source);
            fs::remove_file(top.join("null")).unwrap();
        }),
        row("linked from elsewhere", "-aAii --link-dest=../alt").beside(&["alt"]).unordered().before(|top, source| {
            outdated(&top.with_file_name("alt"), source);
        }),
        row("by nobody", "-aAi").by_nobody().unordered(),
    ]);
}

#[test]
fn they_are_restored() {
    if !can() {
        return;
    }
    let row = |name, args: &str| row(name, args).tree(told);
    in_each_place(&each_side(&[row("restored", "-aAi"), row("restored with attributes", "-aAXi")]));
    telling(&[
        row("over what there was", "-aAii").before(|top, _| lists(top)).unordered(),
        row("a dry run", "-aAin"),
        row("not kept", "-ai"),
        row("users mapped", "-aAi --usermap=1234:77,daemon:bin --groupmap=5678:0"),
        row("a whole list", "-aAi --no-inc-recursive"),
    ]);
}

/// The reference loses the list of a file of which other attributes are set when its content comes.
#[test]
fn they_survive_other_attributes() {
    if !can() {
        return;
    }
    fn attributed(top: &Path) {
        lists(top);
        zoo::attr(&top.join("user"), "user.x", b"1");
        zoo::attr(&top.join("mask"), "user.x", b"1");
    }
    let case = row("lists and attributes", "-aAXi --inplace -M--fake-super").tree(attributed).before(|top, source| {
        keep(source, top);
        zoo::attr(&top.join("mask"), "user.x", b"2");
        zoo::file(&top.join("user"), b"an older content");
        zoo::set_time(&top.join("user"), 1_200_000_000, 0);
    });
    let run = run_alone(&case, Way::Local, ALONE[0]).unwrap();
    let kept = run_alone(&case.before(|_, _| {}), LOCAL[0], ALONE[0]).unwrap();
    for path in ["user", "mask"] {
        let [run, kept] = [&run, &kept].map(|run| run.tree.get(path.as_bytes()).unwrap().xattrs.clone());
        assert_eq!(run, kept, "{path}");
        assert!(format!("{kept:?}").contains("%aacl"), "{kept:?}");
    }
}

/// The reference leaves such a file out without a word.
#[test]
fn what_is_no_list_is_told() {
    if !can() {
        return;
    }
    let odd = |top: &Path| {
        zoo::file(&top.join("file"), b"1");
        zoo::attr(&top.join("file"), "user.rsync.%aacl", b"no list");
        zoo::file(&top.join("other"), b"1");
    };
    let case = row("no list", "-aAi --fake-super -M--super").tree(odd);
    let run = run_alone(&case, Way::Local, ALONE[0]).unwrap();
    let said = String::from_utf8_lossy(&run.outcome.stderr).into_owned();
    assert!(said.contains("file, ACL_TYPE_ACCESS): Invalid argument (22)"), "{said}");
    assert_eq!(run.outcome.status, Status::Exit(23));
    assert!(run.tree.get(b"file").is_none() && run.tree.get(b"other").is_some());
}
