//! Words and figures: numbers in other languages' ways, and what is said of arguments that cannot be; compared with the
//! reference.

mod harness;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use harness::{Case, LOCAL, PIPES, check_all, everywhere, locally, programs, zoo};

/// Locales of our own: which points and commas they write, and how they group, is not the machine's business.
fn locales() -> Option<&'static Path> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        let dir = harness::process::scratch().join("locales");
        fs::create_dir_all(&dir).unwrap();
        for name in ["de_DE", "fr_FR", "en_US", "hi_IN"] {
            let to = dir.join(format!("{name}.UTF-8"));
            let made = Command::new("localedef").args(["-i", name, "-f", "UTF-8"]).arg(to).output();
            if !made.is_ok_and(|made| made.status.success()) {
                programs::skip("numbers of other languages", "localedef does not make locales here (package locales)");
                return None;
            }
        }
        Some(dir)
    };
    MADE.get_or_init(make).as_deref()
}

fn sizes(top: &Path) {
    fs::create_dir(top.join("größe")).unwrap();
    zoo::file(&top.join("größe/a"), &zoo::noise(1_234_567, 1));
    for (name, size) in [("b", 999), ("c", 1000), ("d", 12_345_678)] {
        zoo::file(&top.join(name), b"");
        fs::File::options().write(true).open(top.join(name)).unwrap().set_len(size).unwrap();
        zoo::set_time(&top.join(name), 1_400_000_000, 0);
    }
    zoo::settle_dirs(top);
}

fn in_language(language: &str, args: &str) -> Option<Case> {
    let case = Case::new("numbers of a language", args).tree(sizes).env("LOCPATH", &locales()?.display().to_string());
    Some(case.env("LC_ALL", &format!("{language}.UTF-8")))
}

#[test]
fn numbers_in_other_languages() {
    for language in ["de_DE", "fr_FR", "en_US", "hi_IN"] {
        let rows: Option<Vec<Case>> = [
            "-aS --stats",
            "-aS --stats --no-h",
            "-aSv -h",
            "-aSv -hh --info=stats3",
            "-aS -hhh --progress",
            "-aS --info=progress2",
            "-an --out-format=%l_%'l_%''l_%'''l_%b_%'b_%n",
            "-a --max-size=1.5X",
            "-a --block-size=200k",
            "-a --bwlimit=0.1X",
        ]
        .into_iter()
        .map(|args| Some(in_language(language, args)?.unordered()))
        .collect();
        let Some(rows) = rows else { return };
        everywhere(&rows);
        locally(&["-a --list-only", "-ahh --list-only", "-an --debug=flist3"].map(|args| {
            let case = in_language(language, args).unwrap().unordered();
            if args.contains("list-only") { case.to("") } else { case }
        }));
    }
    let dir = locales().unwrap();
    // A point is one everywhere; a comma in a size, only where the language has it.
    for (language, comma_is_one) in [("de_DE", true), ("en_US", false)] {
        let run = |size: &str| {
            let case = in_language(language, &format!("-r --max-size={size}")).unwrap();
            let ours = programs::Ends { client: programs::Program::Ours, server: programs::Program::Ours };
            let run = harness::run_alone(&case, LOCAL[0], ours).unwrap();
            (run.outcome.status, run.tree.len())
        };
        assert_eq!(run("0.98K"), run("1003"), "{language} in {dir:?}");
        assert_ne!(run("0.98K"), run("0"), "{language}");
        let refused = run("1,0K").0 != harness::process::Status::Exit(0);
        assert_eq!(refused, !comma_is_one, "{language}");
    }
    check_all(
        &["-an --max-size=1,5K --debug=cmd", "-an --bwlimit=1,5 --debug=cmd"]
            .map(|args| in_language("de_DE", args).unwrap()),
        &[(PIPES, &programs::ONE_END)],
    );
}

fn little(top: &Path) {
    fs::create_dir(top.join("dir")).unwrap();
    zoo::file(&top.join("file"), b"a");
    zoo::file(&top.join("empty"), b"");
    zoo::settle_dirs(top);
}

/// What is said of arguments, each alone with a small tree.
#[test]
fn arguments_that_cannot_be() {
    const LINES: &[&str] = &[
        "-ab --backup-dir=afile",
        "-ab --backup-dir={box}/afile",
        "-a --temp-dir=afile",
        "-a --temp-dir={box}/afile",
        "-a --temp-dir=nope",
        "-a --temp-dir={box}/nope",
        "-a --partial-dir=afile",
        "-avb --backup-dir={box}/kept",
        "-avvb --backup-dir=kept",
        "-a --link-dest=nope",
        "-a --compare-dest=afile",
        "-a --copy-dest={box}/nope",
        "-a --usermap=nosuch:7",
        "-a --usermap=7:nosuch",
        "-a --usermap=7",
        "-a --usermap=7:",
        "-a --usermap=7-x:3",
        "-a --groupmap=*:nosuch",
        "-a --chown=nosuch:nosuch",
        "-a --password-file=x",
        "-a --files-from=nofile",
        "-a --exclude-from=nofile",
        "-a --bwlimit=0.1",
        "-a --append -W",
        "-a --inplace --partial-dir=x",
        "-a --checksum-choice=foo",
        "-a -z --compress-choice=foo",
        "-a --stop-after=x",
        "-a --iconv=nosuch,",
        "-a --max-alloc=1",
        "-a --write-batch=nodir/x",
        "-a --suffix=",
        "-ab --suffix=a/b",
        "-a --early-input=nofile",
        "-a --chmod=zz",
        "-a --modify-window=x",
        "-a --confine-root=nope",
        "-a --info=stats9,nope3",
    ];
    let row = |args: &&'static str| Case::new(args, args).tree(little).with_file("afile", b"").unordered();
    locally(&LINES.iter().map(row).collect::<Vec<_>>());
    // A server whose client leaves at once may still say that it did.
    let alone = |args: &str| args.contains("{box}") || args.contains("--iconv");
    let far: Vec<Case> = LINES.iter().filter(|args| !alone(args)).map(row).collect();
    check_all(&far, &[(PIPES, &programs::ONE_END)]);
}

/// Files of several kinds, long and old ones, and with attributes.
fn things(top: &Path) {
    little(top);
    for (name, size) in [("big", 123_456_789_012_345_i64), ("long", 99_999_999_999), ("small", 1023)] {
        zoo::file(&top.join(name), b"");
        fs::File::options().write(true).open(top.join(name)).unwrap().set_len(size as u64).unwrap();
        zoo::set_time(&top.join(name), 1_400_000_000, 999_999_999);
    }
    zoo::attr(&top.join("file"), "user.a", b"b");
    zoo::pipe(&top.join("pipe"));
    std::os::unix::fs::symlink("nowhere/\u{e9}\x01", top.join("link")).unwrap();
    zoo::set_time(&top.join("link"), -1, 0);
    zoo::file(&top.join("caf\u{e9} \x7f"), b"");
    zoo::set_mode(&top.join("file"), 0o6751);
    zoo::set_mode(&top.join("dir"), 0o1777);
    if programs::is_root() {
        zoo::device(&top.join("device"), nix::sys::stat::SFlag::S_IFCHR, (7, 123));
    }
    zoo::settle_dirs(top);
}

#[test]
fn what_is_listed() {
    let listing = |name, args: &str| Case::new(name, args).tree(things).to("");
    everywhere(&[
        listing("a destination that is not named", "-a"),
        listing("one level", "-d"),
        listing("without -r or -d", ""),
        listing("devices, links and pipes", "-rlptgoD --list-only"),
        listing("with access lists", "-aA"),
        listing("with attributes", "-aXAH"),
        listing("with times of making", "-aN"),
        listing("with times of access", "-aU").atimes(),
        listing("with numbers of 1000", "-ah"),
        listing("with numbers of 1024", "-ahh"),
        listing("with digits alone", "-a --no-h"),
        listing("as it is", "-a8"),
        listing("with what is told of items", "-ai"),
        listing("with names only in the format", "-a --out-format=%l"),
        listing("of links followed", "-rL").unordered(),
        listing("of links that are safe", "-a --safe-links -v"),
        listing("of what rules leave", "-a --exclude=b* --max-size=1k -q"),
        listing("with paths", "-aR --list-only"),
        listing("with sums", "-a -c --exclude=big --exclude=long"),
        listing("of files", "").from(&["src/file", "src/link", "src/pipe", "src/dir"]),
        listing("of nothing", "").from(&["src/nope"]),
        listing("of a list", "-a --list-only --files-from=list").to("dst/").with_file("list", b"file\ndir\nnope\n"),
        listing("with deletions", "-a --list-only --delete").to("dst/"),
        listing("of a batch", "-a --protocol=29"),
    ]);
    everywhere(&[
        listing("without a word on devices", "-a").env("LC_ALL", "C"),
        listing("8 bits in C", "-a8").env("LC_ALL", "C"),
    ]);
}

fn long(top: &Path) {
    zoo::file(&top.join("long"), &zoo::noise(5_000_000, 3));
    zoo::file(&top.join("other"), &zoo::noise(700_000, 4));
    zoo::file(&top.join("tiny"), b"1");
    zoo::settle_dirs(top);
}

fn begun(top: &Path, _: &Path) {
    let mut older = zoo::noise(5_000_000, 3);
    older.truncate(3_000_000);
    older[1_000_000] ^= 1;
    zoo::file(&top.join("long"), &older);
    zoo::set_time(&top.join("long"), 1_000_000_000, 0);
    zoo::settle_dirs(top);
}

/// Progress where data comes from more than one place.
#[test]
fn progress_of_long_files() {
    let args = [
        "-a --progress",
        "-aP --no-W",
        "-aP --no-W -z",
        "-a --progress --inplace --no-W",
        "-a --progress --append",
        "-a --progress --append-verify",
        "-a --progress -c --no-W",
        "-aP --partial-dir=.part --no-W",
        "-a --progress --delay-updates --no-W",
        "-a --progress -y --no-W",
        "-a --info=progress2 --no-W",
        "-a --info=progress2 --no-W --no-inc-recursive",
        "-a --info=progress2,stats2,flist0 --no-W",
        "-a --info=progress1,name0 --no-W",
        "-aq --progress",
        "-an --progress",
        "-an --info=progress2",
        "-a --progress --stderr=all",
        "-av --progress -hh",
    ];
    everywhere(&args.map(|args| Case::new(args, args).tree(long).before(begun).unordered()));
}

/// What is said of places that do not fit.
#[test]
fn places_that_cannot_be() {
    let row = |name, args, from: &[&'static str], to: &str| {
        Case::new(name, args).tree(little).from(from).to(to).with_file("afile", b"").unordered()
    };
    everywhere(&[
        row("no directory above the destination", "-a", &["src/"], "nodir/x/y/"),
        row("nor for a file", "-a", &["src/file"], "nodir/x"),
        row("many onto a file", "-a", &["src/"], "afile"),
        row("two onto a file", "-a", &["src/file", "src/empty"], "afile"),
        row("two into a directory that is missing below one that is missing", "-a", &["src/file", "src/empty"], "a/b/"),
        row("one that is missing", "-a", &["src/nope"], "dst/"),
        row("one that is missing of two", "-a", &["src/nope", "src/file"], "dst/"),
        row("one below a file", "-a", &["src/file/x"], "dst/"),
        row("a directory without -r", "-lt", &["src/"], "dst/"),
    ]);
}
