//! Filter rules: what they leave out, at which end, and what is said of it.

mod harness;

use std::{fs, path::Path};

use harness::{
    Case, PIPES, Program, check_all, in_each_place, locally,
    process::{self, Status},
    programs::AGAINST_REFERENCE,
    zoo,
};

/// Names that rules tell apart, and directories with rules of their own.
fn garden(top: &Path) {
    for dir in ["a/b/c", "a/foo", "c.d", "core", ".git", "e/f/g", "odd [x]", "empty"] {
        fs::create_dir_all(top.join(dir)).expect("directory");
    }
    for name in [
        "x.o",
        "x.c",
        "y~",
        "foo",
        "a/x.o",
        "a/bar",
        "a/foo/z",
        "a/b/foo",
        "a/b/bar.txt",
        "a/b/c/foo",
        "a/b/c/x.o",
        "c.d/baz",
        "c.d/q[1]",
        "c.d/q1",
        "core/z",
        ".git/h",
        "e/f/g/deep",
        "e/top",
        "e/f/x.c",
        "odd [x]/foo",
        "-dash",
        "+ plus",
        "#hash",
        ";semi",
        "!",
        "!bang",
    ] {
        zoo::file(&top.join(name), name.as_bytes());
    }
    for (name, text) in [
        ("a/.rules", "- *.txt\n+ bar*\n- bar\n"),
        (".cvsignore", "*.o\nfoo\t!\nbar"),
        (".rules", "- /e/f/\n:n .more\n-s x.c\nP top\nhide y~\n"),
        ("e/.more", "- deep\n- top\n"),
        ("a/b/.rules", "!\n- c/foo\n"),
        ("odd [x]/.rules", "- /foo\n"),
        (".in", ": .deeper\n. ../list\n"),
        ("a/.deeper", "- foo\n"),
        ("a/b/.deeper", "!\n: .rules\n"),
        ("a/.words", "-_foo +_bar.txt\t-_bar*"),
        (".rsync-filter", "- *.c\n"),
        ("a/.rsync-filter", "+ foo\n- *.o"),
    ] {
        zoo::file(&top.join(name), text.as_bytes());
    }
    zoo::settle_dirs(top);
}

fn row(args: &'static str) -> Case {
    Case::new(args, args).tree(garden)
}

/// A rule with a blank in it.
fn rule(options: &'static str, rules: &[&'static str]) -> Case {
    let case = Case::new(rules.last().copied().unwrap_or(options), options).tree(garden);
    rules.iter().fold(case, |case, rule| case.arg(&format!("--filter={rule}")))
}

// Patterns

#[test]
fn patterns() {
    locally(&[
        row("-a --exclude=*.o"),
        row("-a --exclude=foo"),
        row("-a --exclude=foo/"),
        row("-a --exclude=/foo"),
        row("-a --exclude=/a/b"),
        row("-a --exclude=b/foo"),
        row("-a --exclude=b/*"),
        row("-a --exclude=/*/foo"),
        row("-a --exclude=*/foo"),
        row("-a --exclude=a/**/foo"),
        row("-a --exclude=**/foo"),
        row("-a --exclude=**foo"),
        row("-a --exclude=a/***"),
        row("-a --exclude=a/**"),
        row("-a --exclude=/a/*** --include=*"),
        row("-a --exclude=**/b/***"),
        row("-a --exclude=b**o"),
        row("-a --exclude=f*"),
        row("-a --exclude=*o*"),
        row("-a --exclude=?"),
        row("-a --exclude=q[1]"),
        row("-a --exclude=q[[:digit:]]"),
        row("-a --exclude=q[![]1]"),
        row("-a --exclude=q\\[1]"),
        row("-a --exclude=[a-c]"),
        row("-a --exclude=[.x]*"),
        row("-a --exclude=[unclosed"),
        row("-a --exclude=c.d/q[1"),
        row("-a --exclude=foo\\"),
        row("-a --exclude=*"),
        row("-a --exclude=."),
        row("-a --exclude=/"),
        row("-a --exclude=//"),
        row("-a --exclude=a//b"),
        row("-a --exclude=*.c --exclude=*.o --no-recursive -d"),
    ]);
}

#[test]
fn first_match_decides() {
    in_each_place(&[
        row("-a --include=*/ --include=*.c --exclude=*"),
        row("-a --exclude=b --include=foo --exclude=foo"),
        row("-a --include=a/b/c/foo --exclude=foo"),
        row("-av --exclude=*.o --include=x.o"),
        rule("-a", &["+ foo", "- foo", "clear", "- x*"]),
        rule("-a", &["- foo", "!", "- bar"]),
    ]);
    locally(&[
        row("-a --exclude=foo --exclude=! --exclude=bar"),
        row("-a --exclude=!bang --exclude=!! "),
        row("-a --exclude=foo --include=! --exclude=bar"),
    ]);
}

// Rules

#[test]
fn names_of_rules() {
    locally(&[
        rule("-a", &["exclude foo"]),
        rule("-a", &["exclude_foo"]),
        rule("-a", &["include,/ foo", "exclude,! *.c"]),
        rule("-a", &["hide *.o", "show *.c"]),
        rule("-a", &["protect *.o", "risk *.c", "S foo", "H f*"]),
        rule("-a", &["merge,- list"]).with_file("list", b"foo\n*.o\n"),
        rule("-a", &["dir-merge,n .rules"]),
        rule("-a", &["-, foo"]),
        rule("-a", &["- foo "]),
        rule("-a", &["-  foo"]),
        rule("-a", &["clear,"]),
        rule("-a", &["-\tfoo"]),
        rule("-a", &["exclude\tfoo"]),
    ]);
    locally(&[
        Case::new("blanks in an exclude", "-a").tree(garden).arg("--exclude=- + plus").arg("--include=- foo"),
        Case::new("prefixes in an include", "-a").tree(garden).arg("--include=+ x.o").arg("--exclude=+ y~"),
        Case::new("a name that looks like a prefix", "-a").tree(garden).arg("--exclude=-dash").arg("--exclude=- *.c"),
    ]);
}

#[test]
fn modifiers() {
    in_each_place(&[
        rule("-a", &["-! *.o", "-p foo"]),
        rule("-a", &["-! a/"]),
        rule("-a", &["-s foo"]),
        rule("-a", &["-r foo"]),
        rule("-a", &["-sr foo"]),
        rule("-a", &["H foo", "P x*"]),
        rule("-a", &["-x foo"]),
        rule("-a", &["-C"]),
    ]);
    locally(&[rule("-a", &["-/ /dst"]), rule("-a", &["-/ b/foo"]), rule("-a", &["+/! /x"])]);
}

#[test]
fn rules_that_are_none() {
    let wrong = [
        "foo bar",
        "-y foo",
        "! x",
        "-",
        "- ",
        "",
        "mergex",
        "P",
        "Ps x",
        ".! x",
        "-e x",
        ".-C x",
        "H ",
        "clear x",
        "clear,x",
        "hide!foo",
        "hide",
        "x foo",
        "-n x",
        "-w x",
        "S/r x",
        "!,x",
        "-\u{e9} x",
    ];
    let cases: Vec<Case> = wrong.into_iter().map(|text| rule("-a", &[text])).collect();
    locally(&cases);
    locally(&[row("-a --exclude="), row("-a --include=")]);
}

// Files of rules

const LIST: &[u8] = b"# comment\n; comment\n\n- x.c\r\n+ foo\r- y~\n*.o\n";

#[test]
fn files_of_rules() {
    let from = |args: &'static str| row(args).with_file("list", LIST);
    in_each_place(&[
        from("-a --exclude-from=list"),
        from("-a --include-from=list --exclude=f*"),
        row("-a --exclude-from=-").stdin(b"foo\n*.c\n- bar"),
        row("-a -0 --exclude-from=list").with_file("list", b"foo\0*.c\n\0#hash\0"),
        row("-a --exclude-from=list -0").with_file("list", b"foo\n*.c\0x\n#hash\n"),
    ]);
    locally(&[
        from("-a --exclude-from=none"),
        from("-a --include-from=none/x"),
        from("-a --exclude-from="),
        from("-a --exclude-from=src/a"),
        rule("-a", &[". none"]),
        rule("-a", &[".+ none"]),
        rule("-a", &[". list"]).with_file("list", b"- foo\n. more\n").with_file("more", b"- bar\n"),
        rule("-a", &[".w list"]).with_file("list", b"-_foo +_bar -_bar*"),
        rule("-a", &[".-w list"]).with_file("list", b"foo  bar\n\t *.c "),
        rule("-a", &[".e list"]).with_file("list", b"- foo"),
        rule("-a", &[".C list"]).with_file("list", b"foo ! *.c"),
        rule("-a", &[".s list"]).with_file("list", b"- foo"),
        rule("-a", &[".p list"]).with_file("list", b"- foo"),
        rule("-a", &[". list"]).with_file("list", &[&b"- "[..], &[b'x'; 6000], b"\n- foo"].concat()),
        rule("-a", &[". list"]).with_file("list", &[&b"- "[..], &[b'x'; 4500], b"\n- foo"].concat()),
    ]);
}

/// A rule that does not parse is told by its place alone.
#[test]
fn what_a_file_holds_is_not_told() {
    let holds = |text: &'static [u8]| rule("-a", &[". list"]).with_file("list", text);
    locally(&[
        holds(b"bogus\n"),
        holds(b"\n# x\n- ok\n-y secret\n"),
        holds(b". secret\n"),
        holds(b". more\n").with_file("more", b"secret\n"),
        holds(b"- ok\n.w more\n").with_file("more", b"-_ok secret"),
        holds(b". list\n"),
        holds(b"! secret\n"),
        rule("-a", &[".s list"]).with_file("list", b"P secret"),
        rule("-a --debug=filter2", &["- top"]).arg("-f. list").with_file("list", b"- foo \n: .rules\n- *.o\n"),
        rule("-avv", &["- top"]).arg("-f. list").with_file("list", b"- foo \n- odd*/\n"),
    ]);
}

// Per-directory files

#[test]
fn per_directory_files() {
    let everywhere_rows: Vec<Case> = [
        [": .rules"].as_slice(),
        &[":n .rules"],
        &[":e .rules"],
        &[":- .cvsignore"],
        &[":C"],
        &["+ bar", ":C", "- x.c"],
        &[": .in"],
        &[": .none"],
    ]
    .into_iter()
    .map(|rules| rule("-a", rules).with_file("list", b"- *.o"))
    .collect();
    in_each_place(&everywhere_rows);
    in_each_place(&[
        row("-aF"),
        row("-aFF"),
        row("-aFFF --exclude=y~"),
        row("-aC"),
        row("-aCF"),
        row("-aC --include=*.o"),
    ]);
    locally(&[
        rule("-a --no-inc-recursive", &[": .rules"]),
        rule("-a --no-inc-recursive", &[":n .rules", ": .in"]),
        rule("-a", &[":+ .cvsignore", "- *"]),
        rule("-a", &[":w .words", "- x"]),
        rule("-a", &[": /.rules"]),
        rule("-a", &[": src/.rules"]),
        rule("-a", &[": a/.rules"]),
        rule("-a", &[": .rules"]).from(&["src/a", "src/a/b/"]),
        rule("-a", &[": /.rules"]).from(&["src/a/b", "src/e"]),
    ]);
}

#[test]
fn relative_names() {
    locally(&[
        rule("-aR", &[": .rules", "- c"]).from(&["src/./a/b/c", "src/./e/f"]),
        rule("-aR --no-inc-recursive", &[": .rules", "- c"]).from(&["src/./a/b/c", "src/./e/f"]),
        rule("-aR", &["- b"]).from(&["src/./a/b/c"]),
        rule("-aR", &["- /a/b/c"]).from(&["src/./a/b/c", "src/./e"]),
        rule("-aR --no-implied-dirs", &["- /a"]).from(&["src/./a/b/c"]),
        rule("-a", &["- foo", "- a"]).from(&["src/foo", "src/a", "src/a/b", "src/a/b/"]),
        rule("-avv", &["- foo", "- a"]).from(&["src/foo", "src/a", "src/a/b"]),
        rule("-aR", &["- .*"]).from(&["./src/a"]),
    ]);
    in_each_place(&[rule("-a", &["- foo", "- a"]).from(&["src/foo", "src/a", "src/a/b"])]);
}

/// A broken rule in a directory ends the run; how much of the rest is there by then, and who else says so, is a matter
/// of luck.
#[test]
fn a_broken_rule_in_a_directory() {
    fn broken(top: &Path) {
        fs::write(top.join(".rules"), "- ok\nsecret\n").expect("file");
    }
    for (way, protocol) in ["--no-inc-recursive", "--inc-recursive"].into_iter().flat_map(|way| {
        ["--protocol=32", "--protocol=31", "--protocol=30", "--protocol=29"].map(|protocol| (way, protocol))
    }) {
        let (status, said) = alone(broken, &["-a", way, protocol, "-f: .rules"]);
        assert_eq!(status, Status::Exit(1), "{said}");
        assert_eq!(said.lines().count(), 2, "the fault and the end are told once: {said}");
        assert!(said.contains("Unknown filter rule: <rule from ") && said.contains("/src/.rules line 2>\n"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

/// Ours alone, from `src` to `dst`: how it ended and what it said.
fn alone(source: fn(&Path), args: &[&str]) -> (Status, String) {
    let dir = tempfile::tempdir().expect("temporary directory");
    fs::create_dir(dir.path().join("src")).expect("directory");
    source(&dir.path().join("src"));
    let far = args.iter().any(|arg| arg.starts_with("--rsh="));
    let args = [args, &["src/", if far { "far:dst/" } else { "dst/" }]].concat();
    let outcome = process::run(dir.path(), &Program::Ours.path(), &args, b"");
    (outcome.status, String::from_utf8_lossy(&outcome.stderr).into_owned())
}

// What is said

#[test]
fn traces() {
    let traced = |args: &'static str, rules: &[&'static str]| rule(args, rules).unordered();
    locally(&[
        traced("-a --no-inc-recursive --debug=filter1", &["- foo", "+ a/", "-! *", "- x "]),
        traced("-a --debug=filter2", &["- foo/", ": .rules", "-C", ":ew- .none", "-p/!xsr q"]),
        traced("-a --debug=filter3", &[": .rules", ": .in"]).with_file("list", b"- *.o"),
        traced("-a --no-inc-recursive --debug=filter3", &[": .rules", ": .in"]).with_file("list", b"- *.o"),
        traced("-aFF --debug=filter2", &["- foo"]),
        traced("-aC --debug=filter2", &["! ", ": .rules"]),
        traced("-aC --debug=filter2", &[": .rules", ":n /.in"]).with_file("list", b"- *.o"),
        traced("-aR --debug=filter2", &[": .rules"]).from(&["src/./a/b", "src/./a/b/c", "src/./e/f"]),
        traced("-aR --no-inc-recursive --debug=filter2", &[": .rules"]).from(&[
            "src/./a/b",
            "src/./a/b/c",
            "src/./e/f",
        ]),
        traced("-avv", &["- foo", ": .rules"]),
        traced("-a", &["- foo"]).arg("--debug=filter2").arg("--exclude=x.c"),
    ]);
    in_each_place(&[
        traced("-a --no-inc-recursive --debug=filter2", &["- foo", ": .rules", "P x", "H y~"]),
        traced("-aC --no-inc-recursive --debug=filter3", &["- foo/", "+r x"]),
    ]);
}

// Older protocols

#[test]
fn what_older_protocols_can_say() {
    for version in ["32", "31", "30", "29"] {
        let at = |rules: &[&'static str]| rule("-a", rules).arg(&format!("--protocol={version}"));
        in_each_place(&[
            at(&["+ a/b", "- foo", "-! */", "-s y~", ": .rules"]),
            at(&["- e"]).arg("-C").arg("--exclude=- odd*"),
        ]);
    }
    for version in ["28", "27"] {
        let at = |rules: &[&'static str]| rule("-a", rules).arg(&format!("--protocol={version}"));
        in_each_place(&[at(&["+ a/b", "- foo", "- - x", "- + plus"])]);
        // the reference's own local copy takes its rules for too modern here
        check_all(&[at(&["- e/"]).arg("-C")], &[(PIPES, &AGAINST_REFERENCE)]);
    }
}

/// The other side ends in its own words, or is ended.
#[test]
fn what_older_protocols_cannot_say() {
    for rule in [": .rules", "-! foo", "-p foo"] {
        let shell = format!("--rsh={}", harness::stand_in().display());
        let path = format!("--rsync-path={}", Program::Ours.path().display());
        let rule = format!("--filter={rule}");
        let (status, said) = alone(garden, &["-a", "--protocol=28", "-v", &shell, &path, &rule]);
        assert_eq!(status, Status::Exit(2), "{said}");
        assert!(
            said.contains("filter rules are too modern for remote rsync.\n") || said.contains("requires"),
            "{said}"
        );
        let (status, said) = alone(garden, &["-a", "--protocol=28", &rule]);
        assert_eq!(status, Status::Exit(2), "within one process: {said}");
    }
}

// What a deletion spares

/// The destination was the same, and has more of everything.
fn overgrown(destination: &Path, source: &Path) {
    zoo::same(destination, source);
    for dir in ["gone/foo/in", "gone/keep", "a/b/gone", "a/.gone"] {
        fs::create_dir_all(destination.join(dir)).expect("directory");
    }
    for name in [
        "extra.o",
        "extra.c",
        "top",
        "gone/x.o",
        "gone/foo/in/x",
        "gone/keep/this",
        "a/b/gone/foo",
        "a/b/bar.old",
        "a/extra.txt",
        "a/bar.x",
        "e/deep",
        "e/f/extra",
        "empty/foo",
        "core/core",
        "a/.gone/bar",
    ] {
        fs::write(destination.join(name), name).expect("file");
    }
    fs::write(destination.join("gone/.rules"), "P this\n- x.o\n").expect("file");
}

fn prune(options: &'static str, rules: &[&'static str]) -> Case {
    rule(options, rules).before(overgrown).unordered()
}

#[test]
fn what_a_deletion_spares() {
    in_each_place(&[
        prune("-ai --delete", &["- foo", "P *.old"]),
        prune("-ai --delete", &["H *.o", "P *.c", "R extra.c"]),
        prune("-ai --delete-excluded", &["- *.o", "P extra.c", "-r top", "-s foo"]),
        prune("-ai --delete --delete-excluded", &["- *.o", "-C", ": .rules"]),
        prune("-ai --delete", &["-p foo", "- *.c"]),
        prune("-ai --delete", &["-! */", "+ gone/"]),
        prune("-ai --delete", &[": .rules"]),
        prune("-ai --delete-after --force", &[": .rules", "P this"]),
        prune("-aiC --delete", &[]),
        prune("-aiFF --delete-before", &["P extra*"]),
        prune("-ai --delete-excluded --prune-empty-dirs", &["- x*", "- foo"]),
    ]);
    locally(&[
        prune("-ai --delete", &[":n .rules", "- foo"]),
        prune("-ai --delete-excluded", &[":- .cvsignore", ":- .none"]),
        prune("-aiC --delete-excluded", &[]),
        prune("-ai --delete --no-inc-recursive --debug=filter2", &[": .rules", "P this"]),
        prune("-ai --delete-during --debug=filter2", &[": .rules", "P this"]),
        prune("-ai --delete-after --debug=filter3", &["-p foo", ": .in"]).with_file("list", b"P this"),
        prune("-avv --delete", &["- foo", "P extra*", "R *"]),
    ]);
}

#[test]
fn deletions_with_older_protocols() {
    for version in ["30", "29", "28", "27"] {
        let at = |options, rules: &[&'static str]| prune(options, rules).arg(&format!("--protocol={version}"));
        in_each_place(&[
            at("-ai --delete-before", &["- foo", "+ gone/", "- *.old"]),
            at("-ai --delete-excluded", &["- foo", "+ gone/", "- *.old"]),
        ]);
    }
    in_each_place(&[
        prune("-ai --delete --protocol=29", &["- foo", "P *.old", ": .rules", "H x.c"]),
        prune("-ai --delete-excluded --protocol=29", &["- foo", "P *.old", "-C", "H x.c"]),
    ]);
}

// Empty directories

#[test]
fn directories_that_rules_empty() {
    in_each_place(&[
        row("-am --include=*/ --include=*.c --exclude=*"),
        rule("-am", &["P empty", "- foo", "- x*"]),
        row("-am --exclude=z --exclude=h --include=/core"),
    ]);
}

// The whole list

#[test]
fn old_ways() {
    in_each_place(&[
        row("-a --old-dirs --exclude=x.o"),
        row("--list-only"),
        row("-r --list-only --exclude=a --exclude=*.c"),
    ]);
}
