//! rrsync, which lets a key do nothing but start a server over one directory: in front of ours it allows, refuses and
//! confines what it does in front of the reference.

use std::fs;

use crate::{
    desk::{Desk, change, compare, found, skipped},
    harness::{
        Program,
        programs::{Ends, ends},
        ssh, zoo,
    },
};

/// It is the server's end that matters, with either client.
const SERVERS: [Ends; 3] = [
    ends(Program::Reference, Program::Reference),
    ends(Program::Reference, Program::Ours),
    ends(Program::Ours, Program::Ours),
];

/// Puts an rrsync with these options in front of the server, over `out/far`, and a remote shell that leads to it.
fn guarded(desk: &Desk, options: &str) {
    let text = fs::read_to_string(found("rrsync").unwrap()).unwrap();
    let (head, tail) = text.split_once("RSYNC = '/usr/bin/rsync'").expect("rrsync says what it starts");
    let far = desk.path.join("program/far");
    fs::write(desk.at("rrsync.py"), format!("{head}RSYNC = '{}'{tail}", far.display())).unwrap();
    desk.write("guard", &format!("#!/bin/sh\nexec /usr/bin/python3 BOX/rrsync.py {options} BOX/out/far\n"));
    desk.write("shell", "#!/bin/sh\nshift\nexport SSH_ORIGINAL_COMMAND=\"$*\"\nexec BOX/guard\n");
    for script in ["guard", "shell"] {
        zoo::set_mode(&desk.at(script), 0o755);
    }
}

/// Plays command lines between `src` and `far:`, each however it ends; the far directory has the tree already, in the
/// state before `src`.
fn play(what: &str, options: &str, lines: &[&str]) {
    if skipped(what, &["rrsync"]) {
        return;
    }
    compare(what, &SERVERS, |desk| {
        prepare(desk, options);
        for line in lines {
            desk.try_in("", &format!("BOX/bin/rsync -e BOX/shell {line}"));
        }
    });
}

fn prepare(desk: &mut Desk, options: &str) {
    zoo::same(&desk.at("out/far"), &desk.at("src"));
    change(&desk.at("src"), 1);
    guarded(desk, options);
    desk.write("secret", "report\n");
}

#[test]
fn there_and_back() {
    play(
        "rrsync",
        "",
        &[
            "-aHi BOX/src/ far:new/",
            "-aHi --delete BOX/src/docs BOX/src/mail far:/",
            "-ai --protocol=29 BOX/src/ far:old29",
            "-ai --protocol=30 BOX/src/ far:old30",
            "-ai BOX/src/run.sh far:/one",
            "-aHi far:new/ BOX/out/back/",
            "-ai far:/mail BOX/out/back2",
            "-ai far:docs/* BOX/out/back3",
            "-aiR far:docs/deep/deeper BOX/out/back4",
            "-aiR far:docs/./deep/ BOX/out/back5",
            "-ai far:latest far:dangling BOX/out/back6",
            "-ai --protocol=29 far: BOX/out/back7",
            "-ai --remove-source-files far:one BOX/out/back8",
            "-n far:mail/",
        ],
    );
}

#[test]
fn what_it_denies() {
    play(
        "rrsync's refusals",
        "",
        &[
            "-aK BOX/src/ far:new/",
            "-aL far:docs/ BOX/out/back/",
            "-a --copy-unsafe-links far:docs/ BOX/out/back/",
            "-as BOX/src/ far:new/",
            "-a --rsync-path=other BOX/src/ far:new/",
            "-a -M--debug=all BOX/src/ far:new/",
            "-a -M--insecure-links BOX/src/ far:new/",
            "-a BOX/src/ far:../new/",
            "-a far:docs/../../secret BOX/out/back",
            "-a --write-devices BOX/src/ far:new/",
            "-a --backup --backup-dir=../old BOX/src/ far:new/",
            "-a far:nowhere BOX/out/back",
        ],
    );
}

#[test]
fn reading_only() {
    play(
        "rrsync -ro",
        "-ro",
        &["-ai far:docs/ BOX/out/back/", "-a BOX/src/ far:new/", "-a --remove-source-files far:mail BOX/out/back"],
    );
}

#[test]
fn writing_only() {
    play(
        "rrsync -wo",
        "-wo",
        &["-ai --delete BOX/src/ far:docs/", "-a far:mail BOX/out/back", "-ai --files-from=:run.sh BOX/src/ far:new/"],
    );
}

#[test]
fn without_deletions_locks_or_replacements() {
    play("rrsync -no-del", "-no-del", &["-a --delete BOX/src/ far:docs/", "-ai BOX/src/ far:"]);
    play("rrsync -no-lock", "-no-lock", &["-ai BOX/src/ far:", "-ai far:docs BOX/out/back"]);
    play("rrsync -no-overwrite", "-no-overwrite", &["-ai BOX/src/ far:", "-ab BOX/src/ far:", "-ai BOX/src/ far:new"]);
    play(
        "rrsync -absolute",
        "-absolute",
        &["-ai BOX/src/ far:BOX/out/far/new", "-ai far:BOX/out/far/new/ BOX/out/back"],
    );
}

#[test]
fn links_lead_nowhere_while_they_are_there() {
    play(
        "rrsync -munge",
        "-munge",
        &["-ai BOX/src/ far:new/", "-ai far:new/ BOX/out/back/", "-ai far:latest BOX/out/"],
    );
}

/// Directories that it checks, opens, and hands over by the kernel's name for them.
#[test]
fn directories_beside_the_transfer() {
    play(
        "rrsync and further directories",
        "",
        &[
            "-ai BOX/src/ far:first",
            "-aHi --link-dest=/first BOX/src/ far:second",
            "-ai --copy-dest=/none BOX/src/ far:third",
            "-ai --compare-dest=/docs --backup-dir=/old -b BOX/src/docs/ far:mail",
            "-ai --partial-dir=.part --delay-updates BOX/src/ far:",
            "-ai --partial-dir=/part --delay-updates BOX/src/ far:fourth",
            "-ai --temp-dir=/mail BOX/src/ far:fifth",
            "-ai --temp-dir=/none BOX/src/ far:sixth",
            "-ai --files-from=:/run.sh far:docs BOX/out/back",
            "-aib --suffix=.old BOX/src/ far:first",
        ],
    );
}

/// Rules travel where it cannot see them, and name files; pipes and devices are not made.
#[test]
fn what_only_the_server_can_refuse() {
    if skipped("rrsync's bounds", &["rrsync"]) {
        return;
    }
    compare("rrsync's bounds", &SERVERS, |desk| {
        prepare(desk, "");
        zoo::pipe(&desk.at("src/pipe"));
        desk.write("out/far/docs/.rules", "- deep\n");
        std::os::unix::fs::symlink("../../../secret", desk.at("out/far/docs/.outside")).unwrap();
        std::os::unix::fs::symlink("../../..", desk.at("out/far/docs/way")).unwrap();
        desk.write("names", "docs/way/secret\nrun.sh\ndocs/way/\n");
        for line in [
            "-ai --files-from=BOX/names far: BOX/out/back6",
            "-ai --files-from=BOX/names --no-R far:/ BOX/out/back7",
            "-ai BOX/src/ far:",
            "-ai --filter=:%20.rules far:docs/ BOX/out/back1",
            "-ai --filter=:-%20.outside far:docs/ BOX/out/back2",
            "-ai --filter=:-%20BOX/secret far:docs/ BOX/out/back3",
            "-ai --filter=:-%20../../../../secret far:docs/ BOX/out/back4",
            "-ai --filter=:-%20/proc/self/cwd/../../secret far:docs/ BOX/out/back5",
            "-ai --delete --filter=:-%20.outside BOX/src/docs/ far:docs",
        ] {
            desk.try_in("", &format!("BOX/bin/rsync -e BOX/shell {line}"));
        }
    });
}

/// By a key that a real sshd forces to this command.
#[test]
fn over_ssh() {
    if skipped("rrsync over ssh", &["rrsync"]) {
        return;
    }
    if let Err(why) = ssh::config() {
        return crate::harness::skip("rrsync over ssh", why);
    }
    compare("rrsync over ssh", &SERVERS, |desk| {
        prepare(desk, "-no-del");
        let config = ssh::forced(&desk.path, &desk.at("guard")).expect("checked before");
        for line in [
            "-aHi BOX/src/ far:new/",
            "-aiR far:docs/./deep BOX/out/back",
            "-ai --delete BOX/src/ far:new",
            "-ai far:../secret BOX/out/back",
        ] {
            desk.try_in("", &format!("BOX/bin/rsync -e ssh%20-F%20{} {line}", config.display()));
        }
    });
}
