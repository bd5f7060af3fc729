//! Files that are on the receiving side already, elsewhere or under another name: `--compare-dest`, `--copy-dest`,
//! `--link-dest`, `--fuzzy`.

mod harness;

use std::{
    fs,
    os::unix::fs::{lchown, symlink},
    path::Path,
};

use harness::{
    Case, Way, check_all, everywhere, in_each_place, locally, process,
    programs::{AGAINST_REFERENCE, ALONE, Program, is_root},
    zoo,
};
use nix::sys::stat::SFlag;

/// One of each kind, with two more in directories.
fn source(top: &Path) {
    for dir in ["dir/deep", "other"] {
        fs::create_dir_all(top.join(dir)).unwrap();
    }
    for (name, content) in [
        ("attrs", "the same, of another mode"),
        ("dir/deep/file", "deep down"),
        ("dir/file", "in a directory"),
        ("new", "nowhere else"),
        ("retyped", "a directory elsewhere"),
        ("same", "the same everywhere"),
        ("second", "only in the second"),
        ("time", "the same, of another time"),
    ] {
        zoo::file(&top.join(name), content.as_bytes());
    }
    zoo::file(&top.join("content"), &zoo::noise(20_000, 1));
    zoo::file(&top.join("both"), &zoo::noise(3000, 2));
    for (name, target) in [("link", "same"), ("link-other", "dir"), ("other/link", "../none")] {
        symlink(target, top.join(name)).unwrap();
        zoo::set_time(&top.join(name), 1_400_000_000, 0);
    }
    zoo::pipe(&top.join("pipe"));
    if is_root() {
        zoo::device(&top.join("device"), SFlag::S_IFCHR, (1, 3));
        zoo::device(&top.join("device-other"), SFlag::S_IFCHR, (1, 5));
    }
    zoo::settle_dirs(top);
}

/// Two directories beside the destination: in the first much is the same and some is not; the second has some of that
/// right, and what the first lacks.
fn two(dst: &Path, src: &Path) {
    let [one, other] = ["one", "other"].map(|name| dst.with_file_name(name));
    zoo::same(&one, src);
    zoo::same(&other, src);
    for path in ["new", "second", "other/link"] {
        fs::remove_file(one.join(path)).unwrap();
    }
    zoo::set_mode(&one.join("attrs"), 0o600);
    zoo::set_time(&one.join("time"), 1_300_000_000, 0);
    zoo::set_time(&other.join("time"), 1_300_000_000, 0);
    let mut changed = zoo::noise(20_000, 1);
    changed[9_000..9_100].fill(b'x');
    zoo::file(&one.join("content"), &changed);
    zoo::file(&one.join("both"), b"another content");
    fs::remove_file(one.join("retyped")).unwrap();
    fs::create_dir(one.join("retyped")).unwrap();
    fs::remove_file(one.join("link-other")).unwrap();
    symlink("elsewhere", one.join("link-other")).unwrap();
    if is_root() {
        let _ = fs::remove_file(one.join("device-other")); // where devices can be made
        zoo::device(&one.join("device-other"), SFlag::S_IFCHR, (1, 7));
        lchown(one.join("same"), Some(12), Some(34)).unwrap();
        lchown(one.join("link"), Some(12), Some(34)).unwrap();
    }
    fs::remove_file(other.join("new")).unwrap();
    fs::remove_file(other.join("content")).unwrap();
    zoo::settle_dirs(&one);
    zoo::settle_dirs(&other);
    zoo::set_mode(&one.join("dir"), 0o700);
}

/// The destination has something already: the same, an older one, one of another type, links to the first directory.
fn two_and_some(dst: &Path, src: &Path) {
    two(dst, src);
    let one = dst.with_file_name("one");
    fs::hard_link(one.join("dir/deep/file"), dst.join("linked")).unwrap();
    fs::create_dir_all(dst.join("dir/deep")).unwrap();
    fs::hard_link(one.join("dir/deep/file"), dst.join("dir/deep/file")).unwrap();
    zoo::file(&dst.join("same"), b"older");
    zoo::file(&dst.join("second"), b"only in the second");
    zoo::file(&dst.join("attrs"), b"the same, of another mode");
    zoo::set_mode(&dst.join("attrs"), 0o640);
    zoo::file(&dst.join("content"), &zoo::noise(15_000, 1));
    fs::create_dir(dst.join("time")).unwrap();
    zoo::file(&dst.join("link"), b"no link");
    symlink("dir", dst.join("dir/file")).unwrap();
    symlink("wrong", dst.join("link-other")).unwrap();
}

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(source).before(two).beside(&["one", "other"])
}

const KINDS: [&str; 3] = ["--compare-dest=", "--copy-dest=", "--link-dest="];

/// A row for each of the three options, given for both directories.
fn each(name: &'static str, args: &str) -> Vec<Case> {
    KINDS.iter().map(|kind| row(name, args).arg(&format!("{kind}../one")).arg(&format!("{kind}../other"))).collect()
}

fn again(name: &'static str, args: &str) -> Vec<Case> {
    each(name, args).into_iter().map(|case| case.before(two_and_some)).collect()
}

#[test]
fn each_kind_in_each_place() {
    in_each_place(&each("two directories", "-ai"));
    in_each_place(&each("two directories, all told", "-aii --no-whole-file --stats"));
    in_each_place(&again("something there", "-aii --no-whole-file"));
}

/// What is up to date is said by one process of the reference, what is made by another.
fn unordered(cases: Vec<Case>) -> Vec<Case> {
    cases.into_iter().map(Case::unordered).collect()
}

#[test]
fn what_is_said() {
    everywhere(&unordered(each("names", "-av")));
    everywhere(&unordered(each("names of all", "-avv")));
    everywhere(&unordered(each("names and items", "-aivv")));
    everywhere(&unordered(again("names of all, something there", "-avv")));
    locally(&each("silent", "-a --stats"));
    locally(&each("of one's own format", "-a --out-format=%i_%n%L"));
    locally(&unordered(each("names by level", "-a --info=name2")));
    everywhere(&unordered(each("no copies told", "-av --info=copy0")));
}

#[test]
fn what_counts_as_the_same() {
    everywhere(&each("by checksum", "-aic"));
    everywhere(&each("by size only", "-ai --size-only"));
    everywhere(&each("nothing", "-aiI"));
    everywhere(&again("nothing, something there", "-aiI --no-whole-file"));
    locally(&each("without owners", "-rlptDi"));
    locally(&each("without permissions", "-rltogDi"));
    locally(&each("without times", "-rlpogDii").into_iter().map(Case::unordered).collect::<Vec<_>>());
    locally(&each("within a window", "-ai --modify-window=200000000"));
    locally(&each("without directories' times", "-aOii"));
    locally(&each("without links' times", "-aJii"));
    locally(&each("with access times", "-aUii").into_iter().map(Case::atimes).collect::<Vec<_>>());
    locally(&again("only what is newer here", "-aui"));
}

#[test]
fn nothing_is_done_in_a_dry_run() {
    everywhere(&each("tried", "-anii"));
    everywhere(&again("tried, something there", "-anii"));
    let elsewhere = |case: Case| case.to("nowhere/");
    everywhere(&each("tried, no destination", "-anii").into_iter().map(elsewhere).collect::<Vec<_>>());
    locally(&unordered(each("tried, names", "-anvv")));
}

#[test]
fn versions_of_the_protocol() {
    for version in ["--protocol=31 -aii", "--protocol=30 -aii", "--protocol=29 -aii"] {
        everywhere(&each("two directories", version));
    }
    for args in ["--protocol=28 -aii", "--protocol=28 -aii --no-whole-file", "--protocol=27 -aii --no-whole-file"] {
        let one = |kind: &&str| row("one directory", args).arg(&format!("{kind}../one"));
        everywhere(&KINDS.iter().map(one).collect::<Vec<_>>());
    }
}

#[test]
fn how_files_are_written() {
    everywhere(&each("in place", "-ai --inplace --no-whole-file"));
    locally(&each("sparse", "-ai -S"));
    locally(&each("with room made", "-ai --preallocate"));
    locally(&each("whole", "-ai -W"));
    locally(&each("synced", "-ai --fsync"));
    everywhere(
        &each("sums and blocks", "-ai --no-whole-file --debug=deltasum2")
            .into_iter()
            .map(Case::unordered)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn directories_that_are_none() {
    let one = |name, dir: &str| row(name, "-aii").arg(&format!("--link-dest={dir}"));
    everywhere(&[
        one("missing", "../nowhere"),
        one("a file", "../one/same"),
        one("the destination", "."),
        one("with a slash", "../one/"),
        one("with dots", "./.././one"),
    ]);
    // The far shell drops an empty word: what follows it there is the name, and the destination is where to start.
    everywhere(&[one("not even a name", "")]);
    let list = row("listed", "--list-only").arg("--compare-dest=none").to("");
    check_all(&[list], &[(&[Way::PipePull, Way::Local], &AGAINST_REFERENCE)]);
    let file = one("one file", "../one").from(&["src/dir/file"]).to("dst/same");
    everywhere(&[file.clone(), file.to("dst/")]);
}

#[test]
fn what_goes_with_what() {
    locally(&[
        row("two kinds", "-a --link-dest=../one --copy-dest=../one"),
        row("the other two", "-a --compare-dest=../one --link-dest=../one"),
        row("the same twice", "-aii --link-dest=../one --link-dest=../one"),
    ]);
    let many = (0..21).fold(row("too many", "-a"), |case, _| case.arg("--compare-dest=../one"));
    let most = (0..20).fold(row("the most there may be", "-aii"), |case, _| case.arg("--compare-dest=../one"));
    locally(&[many, most]);
}

/// In the destination a link stands for a directory.
fn two_and_a_link(dst: &Path, src: &Path) {
    two(dst, src);
    fs::create_dir(dst.join("real")).unwrap();
    symlink("real", dst.join("dir")).unwrap();
}

#[test]
fn with_other_options() {
    let with = |name, args| locally(&each(name, args));
    with("progress", "-a --progress --no-whole-file");
    with("progress of all", "-a --info=progress2");
    with("chmod", "-aii --chmod=F600,D755");
    with("owners given", "-aii --chown=12:34");
    with("numbers for names", "-aii --numeric-ids");
    with("some sizes", "-aii --max-size=3k");
    with("a list without empty directories", "-aiim");
    with("some left out", "-aii --exclude=dir --exclude=*me");
    with("one file system", "-aiix");
    with("no recursion ahead", "-aii --no-inc-recursive");
    with("checksums chosen", "-aiic --checksum-choice=md5");
    with("links that lead out", "-aii --safe-links");
    with("links followed", "-aiiL");
    locally(&unordered(each("without devices", "-aii --no-D")));
    with("quiet", "-aq");
    let some = |name, args, from: &[&str], to| {
        locally(&each(name, args).into_iter().map(|case| case.from(from).to(to)).collect::<Vec<_>>());
    };
    some("with their paths", "-aiiR", &["src/./dir/deep/file", "src/./same"], "dst/");
    some("with paths, no directories implied", "-aiiR --no-implied-dirs", &["src/./dir/deep/file"], "dst/");
    some("several", "-aii", &["src/dir", "src/same", "src/link"], "dst");
    some("a directory", "-aii", &["src"], "dst");
    some("directories only", "-dlptgoDii", &["src/"], "dst/");
    let linked = |name, args| each(name, args).into_iter().map(|case| case.before(two_and_a_link)).collect::<Vec<_>>();
    everywhere(&linked("links kept", "-aiiK"));
    locally(&linked("links not kept", "-aii"));
    let moved = again("moved here", "-aii --remove-source-files").into_iter().map(Case::own_source);
    everywhere(&moved.collect::<Vec<_>>());
    everywhere(&again("only what is there", "-aii --existing"));
    everywhere(&again("only what is not there", "-aii --ignore-existing"));
    everywhere(&again("only what is newer", "-aiiu --no-whole-file"));
}

/// What was there before has partial files as well.
fn two_and_partial(dst: &Path, src: &Path) {
    two_and_some(dst, src);
    for (name, content) in [("both", &zoo::noise(3000, 2)[..2500]), ("new", b"nowhere"), ("content", b"part")] {
        let partial = dst.join(".rsync-partial");
        fs::create_dir_all(&partial).unwrap();
        zoo::file(&partial.join(name), content);
    }
}

#[test]
fn with_partial_files_and_late_updates() {
    everywhere(&unordered(again("late", "-aii --no-whole-file --delay-updates")));
    let partial = |name, args| again(name, args).into_iter().map(|case| case.before(two_and_partial));
    everywhere(&partial("partial files", "-aii --no-whole-file --partial-dir=.rsync-partial").collect::<Vec<_>>());
    locally(&partial("partial files, whole", "-aiiW --partial-dir=.rsync-partial").collect::<Vec<_>>());
    let both = "-aii -yy --no-whole-file --partial-dir=.rsync-partial";
    locally(&partial("partial and similar files", both).collect::<Vec<_>>());
}

#[test]
fn with_what_stays_of_old_files() {
    let with = |name, args| again(name, args);
    everywhere(&unordered(with("backups", "-aiivb --no-whole-file")));
    locally(&unordered(with("backups elsewhere", "-aiiv --no-whole-file --backup --backup-dir=../kept")));
    locally(&unordered(with("backups, in place", "-aiivb --no-whole-file --inplace")));
    locally(&with("written elsewhere", "-aii --no-whole-file --temp-dir={box}/other"));
}

/// The reference takes the beginning of another file for there, and leaves zeros in its place.
#[test]
fn only_the_file_itself_is_appended_to() {
    for (append, basis) in ["--append", "--append-verify"].into_iter().flat_map(|append| {
        ["-y", "--compare-dest=../alt", "--copy-dest=../alt", "--link-dest=../alt"].map(|basis| (append, basis))
    }) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        ["src", "dst", "alt"].iter().for_each(|name| fs::create_dir(at(name)).unwrap());
        let content = zoo::noise(40_000, 7);
        zoo::file(&at("src/file.1"), &content);
        zoo::file(&at("alt/file.1"), &content[..30_000]);
        zoo::file(&at("dst/file.2"), &content[..30_000]);
        let args = ["-a", append, basis, "src/", "dst/"].map(String::from);
        let outcome = process::run(dir.path(), &Program::Ours.path(), &args, b"");
        assert_eq!(outcome.status, process::Status::Exit(0), "{append} {basis}");
        assert!(fs::read(at("dst/file.1")).unwrap() == content, "{append} {basis}");
    }
}

/// Without privilege: one file may not be read, a directory not be entered, and what belongs to others not be linked.
fn two_closed(dst: &Path, src: &Path) {
    two(dst, src);
    for top in ["one", "other"].map(|name| dst.with_file_name(name)) {
        zoo::set_mode(&top.join("same"), 0o600);
    }
    zoo::set_mode(&dst.with_file_name("one").join("dir"), 0o700);
}

#[test]
fn what_may_not_be_used() {
    let closed = |name, args| {
        let cases = each(name, args).into_iter().map(|case| case.before(two_closed).by_nobody());
        unordered(cases.collect())
    };
    everywhere(&closed("closed", "-rlptvv --no-whole-file"));
    locally(&closed("closed, items", "-rlpti --no-whole-file"));
    locally(&closed("closed, in place", "-rlptv --inplace --no-whole-file"));
    locally(&closed("closed, similar", "-rlptv -yy --no-whole-file --debug=fuzzy2"));
}

/// A directory on another file system, where there is one.
fn far(dst: &Path, src: &Path) {
    let far = process::scratch().join("far");
    if !far.exists() {
        zoo::same(&far, src);
        zoo::set_mode(&far.join("attrs"), 0o600);
    }
    symlink(far, dst.with_file_name("one")).unwrap();
}

#[test]
fn links_do_not_lead_to_another_file_system() {
    let cases = KINDS.map(|kind| Case::new("far away", "-aii").arg(&format!("{kind}../one")).tree(source).before(far));
    everywhere(&cases);
    let said = Case::new("far away", "-av --link-dest=../one").tree(source).before(far);
    everywhere(&[said.clone().unordered(), said.server_args("--info=name0").unordered()]);
}

/// The directory is reached by a link that belongs to somebody else.
fn untrusted(dst: &Path, src: &Path) {
    two(dst, src);
    let link = dst.with_file_name("link");
    symlink("one", &link).unwrap();
    lchown(&link, Some(12_345), Some(1)).unwrap();
}

#[test]
fn links_on_the_way_are_followed_if_trusted() {
    if !is_root() {
        return;
    }
    let case = |args| row("by a link", args).before(untrusted);
    locally(&[case("-aii --insecure-links --link-dest=../link")]);
    let quiet = case("-aii --link-dest=../link -q");
    let Some(differences) = harness::check(&quiet, Way::Local, &ALONE) else { return };
    // We say it once, the reference each time it looks.
    let unexpected: Vec<_> = differences.iter().filter(|text| !text.contains("  stderr:")).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

// Similar names

/// Files of which the destination has others, under names more or less alike.
fn versions(top: &Path) {
    for dir in ["", "sub", "sub/empty"] {
        fs::create_dir_all(top.join(dir)).unwrap();
    }
    for (number, name) in [
        "package-1.3.tar.gz",
        "notes.txt",
        "photo.jpg.bak",
        "sub/archive.zip",
        "sub/longest-of-all.name.old",
        "x",
        "é.é",
    ]
    .iter()
    .enumerate()
    {
        zoo::file(&top.join(name), &zoo::noise(9_000, 40 + number as u64));
    }
    zoo::file(&top.join("moved"), &zoo::noise(7_000, 30));
    zoo::file(&top.join("there"), b"longer than it was there");
    zoo::file(&top.join("empty"), b"");
    zoo::settle_dirs(top);
}

/// What the destination, and a directory beside it, have of that.
fn older(dst: &Path, _: &Path) {
    let other = dst.with_file_name("other");
    for top in [dst, &other] {
        fs::create_dir_all(top.join("sub")).unwrap();
    }
    let part = |seed| [&b"in front"[..], &zoo::noise(8_000, seed)].concat();
    for (name, seed) in [
        ("package-1.2.tar.gz", 40),
        ("package-1.tar.gz", 90),
        ("package-1.20.tar.gz", 40),
        ("notes.text", 41),
        ("notes~", 91),
        ("photo.jpg.old", 42),
        ("photo.jpg~", 92),
        ("sub/archive.1.zip", 43),
        ("sub/archive.2.zip", 43),
        ("sub/archive", 43),
        ("sub/l", 44),
        ("y", 45),
        ("z", 45),
        ("ä.ä", 46),
        (".hidden.é", 46),
    ] {
        zoo::file(&dst.join(name), &part(seed));
    }
    zoo::file(&dst.join("nothing like it"), &zoo::noise(7_000, 30));
    zoo::set_time(&dst.join("nothing like it"), zoo::time_of("moved"), 0);
    zoo::file(&dst.join("package-1.3.tar.g"), b"");
    zoo::file(&dst.join("there"), b"shorter");
    fs::create_dir(dst.join("notes.tx")).unwrap();
    symlink("notes.text", dst.join("notes.tx_")).unwrap();
    for (name, seed) in [("package-1.3.tar.bz2", 40), ("sub/archive.zip", 43), ("sub/longest-of-all.name", 44)] {
        zoo::file(&other.join(name), &part(seed));
    }
    zoo::settle_dirs(&other);
}

/// The same, with a link to a file where the source has a directory.
fn older_and_a_link(dst: &Path, src: &Path) {
    older(dst, src);
    fs::rename(dst.join("sub"), dst.join("elsewhere")).unwrap();
    symlink("notes.text", dst.join("sub")).unwrap();
}

fn similar(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(versions).before(older).beside(&["other"])
}

/// What is deleted early is no basis any more.
#[test]
fn similar_names_and_deletion() {
    let lines = |name, args| similar(name, args).unordered();
    everywhere(&[
        lines("deleted meanwhile", "-aii --no-whole-file -y --delete-during --debug=fuzzy"),
        lines("deleted late", "-aii --no-whole-file -y --delete-delay --debug=fuzzy"),
    ]);
    locally(&[
        lines("deleted first", "-aii --no-whole-file -y --delete-before --debug=fuzzy"),
        lines("deleted afterwards", "-aii --no-whole-file -y --delete-after --debug=fuzzy"),
        lines("excluded files too", "-aii --no-whole-file -y --exclude=notes* --exclude=*.1.zip --debug=fuzzy2"),
    ]);
    locally(&unordered(again("linked and deleted", "-aii --delete")));
}

#[test]
fn similar_names() {
    in_each_place(&[
        similar("similar", "-ai --no-whole-file --fuzzy --stats"),
        similar("similar, there too", "-ai --no-whole-file -yy --stats --link-dest=../other"),
    ]);
    everywhere(&[
        similar("similar, all distances", "-a --no-whole-file --debug=fuzzy2 -y").unordered(),
        similar("all distances, there too", "-a --no-whole-file --debug=fuzzy2 -yy --compare-dest=../other")
            .unordered(),
        similar("only here", "-ai --no-whole-file -y --copy-dest=../other --debug=fuzzy").unordered(),
        similar("similar, basis told", "-a --no-whole-file -y --debug=deltasum3").unordered(),
        similar("similar, whole", "-aiW -y --debug=fuzzy2").unordered(),
        similar("similar, tried", "-ain --no-whole-file -y --debug=fuzzy").unordered(),
        similar("similar, without modes", "-rti --no-whole-file -y"),
        similar("similar, in place", "-ai --inplace --no-whole-file -y"),
        similar("similar, by checksum", "-aic --no-whole-file -y"),
        similar("similar, of the size only", "-ai --size-only --no-whole-file -y"),
        similar("switched off", "-ai --no-whole-file -y --no-fuzzy"),
        similar("a link in a directory's place", "-ai -y --ignore-existing").before(older_and_a_link),
        similar("the whole list at once", "-ai --no-whole-file -y --no-inc-recursive"),
        similar("similar, of old", "-ai --no-whole-file -y --protocol=29"),
        similar("one file", "-ai --no-whole-file -yv --debug=fuzzy")
            .from(&["src/notes.txt"])
            .to("dst/notas.txt")
            .unordered(),
        similar("tried, no destination", "-ain -yy --link-dest=../other --debug=fuzzy").to("nowhere/").unordered(),
    ]);
}
