//! Ours in every place of a connection, compared with the reference in the same place: what is copied, what is said,
//! how it ends.
//!
//! A row is an option set; each is run over the ways and pairs of programs that its test names.

mod harness;

use std::{fs, os::unix::ffi::OsStrExt, path::Path};

use harness::{
    Case, Ends, LOCAL, PIPES, Program, Traffic, Way, check_all, everywhere, in_each_place,
    programs::{AGAINST_OLD, AGAINST_REFERENCE, ALONE, ONE_END, ends},
    zoo,
};

const SSH: &[Way] = &[Way::SshPush, Way::SshPull];

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args)
}

fn plain(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(zoo::plain)
}

/// Into a destination that was the same once.
fn again(name: &'static str, args: &str) -> Case {
    Case::new(name, args).before(zoo::stale)
}

// First copies

#[test]
fn archive() {
    in_each_place(&[
        row("archive, silent", "-a"),
        row("archive, names", "-av"),
        row("archive, itemized", "-ai --stats"),
    ]);
}

#[test]
fn archive_through_ssh() {
    check_all(
        &[row("archive over ssh", "-ai"), again("update over ssh", "-avi --no-whole-file")],
        &[(SSH, &AGAINST_REFERENCE)],
    );
}

#[test]
fn a_crowd() {
    let crowd = row("20,000 files", "-a --stats").tree(zoo::crowd);
    check_all(&[crowd], &[(LOCAL, &ALONE), (PIPES, &ONE_END)]);
    let names = row("20,000 files, nothing to do", "-ai").tree(zoo::crowd).before(zoo::same);
    check_all(&[names], &[(LOCAL, &ALONE)]);
}

#[test]
fn a_crowd_through_ssh() {
    check_all(&[row("20,000 files over ssh", "-ai").tree(zoo::crowd)], &[(SSH, &ONE_END)]);
}

#[test]
fn every_byte_on_the_wire() {
    let exact = |name, args| row(name, args).tree(zoo::few).traffic(Traffic::Framing);
    in_each_place(&[
        exact("traffic of a first copy", "-a --stats"),
        exact("traffic of a first copy, names", "-avi"),
        exact("traffic without incremental recursion", "-a --stats --no-inc-recursive"),
        exact("traffic of nothing to do", "-a --stats").before(zoo::same),
        exact("traffic of a dry run", "-an --stats"),
    ]);
}

// What is preserved

#[test]
fn attributes_one_by_one() {
    everywhere(&[
        row("recursion only", "-ri").unordered(),
        row("links", "-rli").unordered(),
        row("permissions", "-rlpi").unordered(),
        row("times", "-rlti").unordered(),
        row("groups and owners", "-rlogi").unordered(),
        row("numeric ids", "-ai --numeric-ids"),
        row("devices without specials", "-rlDi --no-specials").unordered(),
        row("specials without devices", "-rlDi --no-devices").unordered(),
        row("executability", "-rlti --executability").before(zoo::stale).unordered(),
    ]);
}

#[test]
fn times_left_out() {
    everywhere(&[
        again("no directory times", "-aOi"),
        again("no link times", "-aJi"),
        again("no times", "-ai --no-times"),
        plain("access times", "-aUi").atimes(),
        again("modify window", "-ai --modify-window=100000000"),
        again("modify window in nanoseconds", "-ai --modify-window=-1"),
    ]);
}

/// Versions from 31 on carry nanoseconds; before, a time that has some differs in each run where they count.
#[test]
fn nanoseconds_by_version() {
    let off_by_some = |top: &Path, source: &Path| {
        zoo::same(top, source);
        zoo::set_time(&top.join("empty"), zoo::time_of("empty"), 5);
    };
    for version in ["--protocol=32", "--protocol=31", "--protocol=30", "--protocol=29", "--protocol=28"] {
        everywhere(&[
            Case::new("nanoseconds of what is new", "-rlti").arg(version).tree(stamped).unordered(),
            Case::new("nanoseconds that count", "-rltii --modify-window=-1")
                .arg(version)
                .tree(stamped)
                .before(off_by_some)
                .unordered(),
            Case::new("nanoseconds that do not", "-rltii").arg(version).tree(stamped).before(off_by_some).unordered(),
        ]);
    }
}

fn stamped(top: &Path) {
    for (name, nanoseconds) in [("empty", 0), ("one", 1), ("many", 999_999_999)] {
        zoo::file(&top.join(name), name.as_bytes());
        zoo::set_time(&top.join(name), zoo::time_of(name), nanoseconds);
    }
    zoo::settle_dirs(top);
}

/// What has little to show, or nothing, has at least to be taken, and to change nothing else.
#[test]
fn options_that_show_little() {
    everywhere(&[
        plain("open without access times", "-ai --open-noatime").atimes(),
        plain("access times twice", "-ai -UU").atimes(),
        plain("as root", "-ai --super"),
        row("devices dropped", "-ai --drop-D").unordered(),
        plain("blocking", "-ai --blocking-io"),
        plain("a sender that is trusted", "-ai --trust-sender"),
        plain("sorted otherwise", "-ai --qsort"),
        plain("zeros without a list", "-ai0"),
        plain("for sockets", "-ai --port=1 --sockopts=SO_KEEPALIVE --address=localhost"),
        plain("with the links of old", "-ai --insecure-links"),
        plain("quieter", "-aqq --stats"),
        plain("sizes in units", "-a -hhh --stats"),
        again("a second more is the same", "-ai --modify-window=1"),
        plain("a second less is the same, two are not", "-ai --modify-window=1").before(times_off_by_one_and_two),
        plain("room made in advance", "-ai -S --preallocate"),
        again("room made in advance, in place", "-ai --inplace --preallocate"),
    ]);
}

fn times_off_by_one_and_two(destination: &Path, source: &Path) {
    zoo::same(destination, source);
    let files = fs::read_dir(destination.join("contents")).expect("directory").flatten();
    for (number, file) in files.filter(|file| file.file_type().is_ok_and(|kind| kind.is_file())).enumerate() {
        let stat = file.metadata().expect("metadata");
        let (seconds, nanos) =
            (std::os::unix::fs::MetadataExt::mtime(&stat), std::os::unix::fs::MetadataExt::mtime_nsec(&stat));
        zoo::set_time(&file.path(), seconds + 1 + number as i64 % 2, nanos);
    }
}

#[test]
fn debug_words() {
    let said = [
        "acl",
        "backup",
        "bind",
        "connect2",
        "cmd2",
        "del",
        "deltasum4",
        "dup",
        "exit",
        "filter3",
        "fuzzy2",
        "genr",
        "hash",
        "hlink",
        "iconv2",
        "nstr",
        "own",
        "proto",
        "recv",
        "send",
        "time2",
    ];
    let cases = said.map(|word| {
        let name: &'static str = Box::leak(format!("--debug={word}").into_boxed_str());
        again(name, "-a --no-whole-file").arg(name).unordered()
    });
    check_all(&cases, &[(LOCAL, &ALONE), (PIPES, &ONE_END)]);
    everywhere(&[row("--debug=flist3", "-a --debug=flist3").unordered()]);
}

#[test]
fn all_that_is_said() {
    everywhere(&[
        plain("very talkative", "-avvv").unordered(),
        again("very talkative update", "-avvv --no-whole-file").unordered(),
        again("very talkative, list whole", "-avvv --no-inc-recursive").unordered(),
        plain("very talkative dry run", "-avvvn").unordered(),
        plain("very talkative, one file", "-avvv").from(&["src/contents/text"]).unordered(),
        plain("very talkative, paths", "-avvvR").from(&["src/links/dir/inside", "src/./names"]).unordered(),
        plain("very talkative, something missing", "-avvv").from(&["src/nowhere", "src/names"]).unordered(),
        plain("nowhere to go, talkative about it", "-a --debug=exit2 -M--debug=exit2").to("dst/none/below").unordered(),
    ]);
}

#[test]
fn changed_on_the_way() {
    everywhere(&[
        row("chmod", "-ai --chmod=Du=rwx,go=rX,Fu+x,a-s"),
        row("chmod that copies permissions", "-ai --chmod=g=o,o=").tree(zoo::plain).unordered(),
        row("chmod without perms", "-rli --chmod=F600").unordered(),
        row("chown by number", "-ai --chown=1:2"),
        row("user map", "-ai --usermap=0:1,12345:7,*:9"),
        row("group map", "-ai --groupmap=0-5:54321"),
        row("not as root", "-ai --no-super").unordered(),
    ]);
}

/// Who escapes a name is who writes it to the user: a client knows the locale's characters, a server's own stderr none.
#[test]
fn names_in_messages() {
    fn tree(source: &Path) {
        fs::create_dir(source.join("é")).expect("directory");
        for name in ["é/ß", "e\u{301}", "plain"] {
            zoo::file(&source.join(name), b"x");
        }
        zoo::file(&source.join(std::ffi::OsStr::from_bytes(b"no\xffcharacter")), b"x");
    }
    fn in_the_way(destination: &Path, _: &Path) {
        fs::create_dir_all(destination.join("é/ß/full")).expect("directories");
    }
    let said = |name, args| row(name, args).tree(tree).before(in_the_way).unordered();
    everywhere(&[
        said("names in messages", "-aviO"),
        said("names in messages, with eight bits", "-aviO8"),
        said("names in messages, all on stderr", "-aviO --stderr=all"),
        said("names in messages, none on a server's stderr", "-aviO --stderr=client"),
    ]);
}

// Links

#[test]
fn links_as_what_they_point_to() {
    everywhere(&[
        row("copy links", "-rtLi").unordered(),
        row("copy directory links", "-aki"),
        row("copy unsafe links", "-ai --copy-unsafe-links"),
        row("safe links", "-ai --safe-links"),
        row("safe links, talkative", "-av --safe-links").unordered(),
        row("munge links", "-ai --munge-links"),
        row("no links", "-rti").unordered(),
        row("no links, talkative", "-rtv").unordered(),
    ]);
}

#[test]
fn links_at_the_destination() {
    fn a_link_for_a_dir(destination: &Path, _: &Path) {
        fs::create_dir(destination.join("real")).expect("directory");
        std::os::unix::fs::symlink("real", destination.join("names")).expect("link");
    }
    everywhere(&[
        plain("a link in a directory's place", "-ai").before(a_link_for_a_dir),
        plain("keep directory links", "-aKi").before(a_link_for_a_dir),
    ]);
}

/// `-K` keeps every link that leads to a directory, those too below which nothing may be done.
#[test]
fn kept_directory_links() {
    fn tree(source: &Path) {
        let names = source.join("names");
        fs::create_dir_all(names.join("below")).expect("directory");
        zoo::file(&names.join("below/deep"), b"deep");
        zoo::file(&names.join("one"), b"one");
        zoo::file(&source.join("two"), b"two");
        std::os::unix::fs::symlink("one", names.join("link")).expect("link");
        let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_400_000_000);
        for dir in [&names.join("below"), &names, source] {
            fs::File::open(dir).and_then(|dir| dir.set_modified(then)).expect("time");
        }
    }
    fn link(destination: &Path, target: &str) {
        std::os::unix::fs::symlink(target, destination.join("names")).expect("link");
    }
    fn inside(destination: &Path, source: &Path) {
        chain(destination, source);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(destination.join("real"), mode).expect("mode");
    }
    fn chain(destination: &Path, _: &Path) {
        fs::create_dir(destination.join("real")).expect("directory");
        std::os::unix::fs::symlink("real", destination.join("step")).expect("link");
        link(destination, "step");
    }
    fn to_itself(destination: &Path, _: &Path) {
        link(destination, ".");
    }
    fn leading_out(destination: &Path, _: &Path) {
        link(destination, "../src/names");
    }
    fn absolute(destination: &Path, _: &Path) {
        link(destination, "/");
    }
    fn dangling(destination: &Path, _: &Path) {
        link(destination, "nowhere");
    }
    fn a_link_to_a_file(destination: &Path, _: &Path) {
        zoo::file(&destination.join("file"), b"old");
        link(destination, "file");
    }
    everywhere(&[
        row("a kept link, another mode", "-aiK").tree(tree).before(inside),
        row("a kept link by way of another", "-aiK").tree(tree).before(chain),
        row("a kept link to where it stands", "-aiK --no-inc-recursive").tree(tree).before(to_itself),
        row("a kept link out of the tree", "-aiK").tree(tree).before(leading_out),
        row("a kept link out of the tree, dry", "-aiKn").tree(tree).before(leading_out),
        row("a kept link out of the tree, list whole", "-aiK --no-inc-recursive").tree(tree).before(leading_out),
        row("a kept absolute link", "-avK").tree(tree).before(absolute).unordered(),
        row("a kept link and no directory times", "-aiKO").tree(tree).before(leading_out),
        row("a dangling link is not kept", "-aiK").tree(tree).before(dangling),
        row("a link to a file is not kept", "-aiK").tree(tree).before(a_link_to_a_file),
        row("a link gone through as of old", "-aiK --insecure-links").tree(tree).before(inside),
    ]);
}

// Which files

#[test]
fn directories() {
    everywhere(&[
        plain("without recursion", "-ltpv"),
        plain("dirs", "-dlti"),
        plain("dirs without a slash", "-dlti").from(&["src"]),
        plain("one file system", "-axi"),
    ]);
}

#[test]
fn sources_and_destinations() {
    everywhere(&[
        plain("the directory itself", "-ai").from(&["src/names"]),
        plain("two sources", "-ai").from(&["src/names", "src/links/"]),
        plain("the same source twice", "-ai").from(&["src/names/", "src/names/"]),
        plain("overlapping sources", "-ai").from(&["src/names", "src/contents/", "src/names/a"]),
        plain("one file into a directory", "-ai").from(&["src/contents/text"]),
        plain("one file under a new name", "-ai").from(&["src/contents/text"]).to("dst/renamed"),
        plain("one file onto a file", "-ai --no-whole-file").from(&["src/contents/noise-262144"]).to("dst/it").before(
            |destination, source| {
                let old = fs::read(source.join("contents/noise-262144")).expect("source");
                zoo::file(&destination.join("it"), &[b"front", &old[..200_000], b"end"].concat());
            },
        ),
        plain("a missing destination", "-ai").to("dst/new/"),
        plain("two missing levels", "-ai").to("dst/new/newer/"),
        plain("mkpath", "-ai --mkpath").to("dst/new/newer/"),
        plain("mkpath for a file", "-ai --mkpath").from(&["src/contents/text"]).to("dst/new/newer/it"),
        plain("a file in the directory's place", "-ai").to("dst/file/").before(|destination, _| {
            zoo::file(&destination.join("file"), b"in the way");
        }),
        plain("several onto a file", "-ai")
            .from(&["src/contents/one", "src/contents/text"])
            .to("dst/file")
            .before(|destination, _| zoo::file(&destination.join("file"), b"in the way")),
        plain("a source that is missing", "-ai").from(&["src/names/a", "src/nowhere"]),
        plain("only a source that is missing", "-ai").from(&["src/nowhere"]),
    ]);
}

#[test]
fn relative_paths() {
    everywhere(&[
        plain("relative", "-aRi").from(&["src/links/dir/inside", "src/names/a"]),
        plain("relative from a dot", "-aRi").from(&["src/./links/dir", "src/./contents/one"]),
        plain("no implied dirs", "-aRi --no-implied-dirs").from(&["src/links/dir/inside"]),
    ]);
}

// Quick check and delta

#[test]
fn updates() {
    in_each_place(&[
        again("nothing different but what changed", "-ai"),
        again("unchanged entries too", "-aii"),
        again("names of unchanged entries", "-avv --info=stats2").unordered(),
        again("delta", "-ai --no-whole-file --stats"),
        again("whole", "-aWi --stats"),
        again("checksums", "-aci"),
        again("sizes only", "-ai --size-only"),
        again("times ignored", "-aIi --no-whole-file"),
        again("newer ones stay", "-aui"),
        again("newer ones stay, talkative", "-auvv --info=stats2").unordered(),
        row("nothing to do", "-ai --stats").before(zoo::same),
        row("nothing to do, checksums", "-aci --stats").before(zoo::same),
    ]);
}

#[test]
fn ways_of_writing() {
    everywhere(&[
        row("sparse", "-aSi").sparse(),
        again("sparse update", "-aSi --no-whole-file"),
        again("in place", "-ai --inplace --no-whole-file"),
        again("in place and sparse", "-ai --inplace --sparse --no-whole-file"),
        again("in place, whole", "-ai --inplace --whole-file"),
        row("preallocate", "-ai --preallocate").sparse(),
        row("preallocate and sparse", "-aSi --preallocate"),
        row("preallocate, in place", "-ai --preallocate --inplace").sparse(),
        row("fsync", "-ai --fsync").tree(zoo::few),
        again("partial", "-ai --partial --no-whole-file"),
        again("block size", "-aB512 --no-whole-file --stats"),
        plain("what a partial file already holds", "-aPi --no-whole-file --stats").before(|destination, source| {
            let whole = fs::read(source.join("contents/noise-262144")).expect("source");
            fs::create_dir_all(destination.join("contents")).expect("directory");
            zoo::file(&destination.join("contents/noise-262144"), &whole[..170_000]);
            zoo::settle_dirs(destination);
        }),
        row("bandwidth limit", "-ai --bwlimit=100m").tree(zoo::few),
        row("allocation limit", "-ai --max-alloc=256m").tree(zoo::few),
        row("time limit", "-ai --timeout=60").tree(zoo::few),
    ]);
}

#[test]
fn checksum_choices() {
    let cases = ["xxh128", "xxh3", "xxh64", "md5", "md4", "sha1", "auto", "md5,xxh64"].map(|choice| {
        let args = format!("-ai --no-whole-file --stats --checksum-choice={choice}");
        Case::new("checksum choice", &args).before(zoo::stale)
    });
    check_all(&cases, &[(PIPES, &ONE_END)]);
    everywhere(&[
        again("list checksum", "-aci --checksum-choice=md4"),
        again("no checksum", "-ai --checksum-choice=none"),
        again("no checksum of the data, checksums in the list", "-aci --checksum-choice=none,md4"),
        again("checksum seed", "-ai --no-whole-file --checksum-seed=32761"),
        plain("checksum unknown", "-ai --checksum-choice=md6"),
    ]);
    // What has a file in it is refused: without a sum nothing tells old data from new.
    let no_file = row("no checksum, no file", "-aci --checksum-choice=none").tree(|_| {});
    let refused = [
        row("no checksum to compare", "-aci --checksum-choice=none"),
        row("no checksum in the list", "-ac --checksum-choice=md5,none"),
        row("no checksum, a dry run", "-acn --checksum-choice=none"),
        row("no checksum, a list", "-rc --checksum-choice=none").to(""),
    ];
    everywhere(&[no_file]);
    check_all(&refused.map(|case| case.tree(zoo::few).unordered()), &[(LOCAL, &ALONE)]);
}

// What is said

#[test]
fn verbosity() {
    everywhere(&[
        plain("-v", "-av"),
        plain("-q", "-aq"),
        plain("-n", "-ain"),
        again("-n of an update", "-avvn --info=stats2").unordered(),
        again("-n of a delta", "-ain --no-whole-file --stats"),
        plain("-8", "-av8"),
        plain("info of nothing", "-av --info=none"),
        plain("info of names", "-a --info=name,stats"),
        plain("stats", "-a --stats"),
        plain("heap statistics", "-a --info=stats3").unordered(),
    ]);
}

#[test]
fn numbers() {
    everywhere(&[
        plain("-h", "-avh --stats"),
        plain("-hh", "-avhh --stats"),
        plain("no -h", "-av --no-h --stats"),
        plain("-h in a list", "-rh").to(""),
        plain("no -h in a list", "-r --no-h").to(""),
    ]);
}

#[test]
fn progress() {
    everywhere(&[
        plain("progress", "-a --progress"),
        plain("progress and names", "-aP -i"),
        plain("progress, old recursion", "-a --progress --no-inc-recursive"),
        again("progress of an update", "-a --progress --no-whole-file"),
        plain("quiet progress", "-aq --progress"),
        // How many entries are known when a file ends depends on the moment.
        plain("progress of the whole", "-a --info=progress2 --no-inc-recursive"),
        plain("progress with an own format", "-a --progress").arg("--out-format=%n %b"),
    ]);
}

#[test]
fn formats() {
    let formats = [
        "%i %n%L",
        "%o %f %l %U %G %B",
        "%M|%10l|%-20n|%'l|%''l|%'''l",
        "%%|%z|%5|%h%a%m%P%u",
        "%n %C",
        "BACKINTIME: %i %n%L",
        "<<CHANGED>>%i %n%L",
    ];
    let cases = formats.map(|format| again("format", "-a").arg(&format!("--out-format={format}")));
    everywhere(&cases);
    everywhere(&[plain("sum of the list", "-ac").arg("--out-format=%n %C")]);
}

#[test]
fn listings() {
    everywhere(&[
        row("list", "-r").to(""),
        row("list with links", "-rl").to(""),
        row("list without recursion", "").to(""),
        plain("list with access times", "-rU").to("").atimes(),
        row("list of one file", "").from(&["src/contents/text"]).to(""),
        row("list of a directory", "").from(&["src/contents"]).to(""),
        row("list only", "-a --list-only"),
    ]);
}

#[test]
fn streams() {
    everywhere(&[
        plain("stderr=all", "-av --stderr=all").unordered(),
        plain("stderr=client", "-av --stderr=client").from(&["src/names/a", "src/nowhere"]),
        plain("stderr=errors", "-av --stderr=errors").from(&["src/names/a", "src/nowhere"]),
        plain("outbuf=N", "-av --outbuf=N"),
        plain("outbuf=L", "-av --outbuf=L"),
        plain("outbuf=B", "-av --outbuf=B"),
    ]);
}

// Errors

#[test]
fn refusals() {
    everywhere(&[
        plain("unknown option", "-a --nonsense"),
        plain("bad outbuf", "-a --outbuf=x"),
        plain("bad block size", "-a --block-size=999999999"),
        plain("bad chmod", "-a --chmod=zz"),
        plain("in place and partial directory", "-a --inplace --partial-dir=x"),
    ]);
}

#[test]
fn only_some_can_be_written() {
    // A directory that cannot be removed stands in a file's place.
    everywhere(&[plain("directory in a file's place", "-ai")
        .before(|destination, _| {
            let way = destination.join("contents/text");
            fs::create_dir_all(&way).expect("directory");
            zoo::file(&way.join("in the way"), b"here");
            zoo::settle_dirs(destination);
        })
        .unordered()]);
}

// Older wires

fn by_protocol(version: u8) -> Vec<Case> {
    let first = format!("-ai --stats --protocol={version}");
    let next = format!("-avi --no-whole-file --protocol={version}");
    let sums = format!("-aci --protocol={version}");
    let cases = [
        Case::new("first copy", &first),
        Case::new("update", &next).before(zoo::stale),
        Case::new("checksums", &sums).before(zoo::stale),
    ];
    // Below 29 what needs no data is told by the generator, the rest by the receiver, whoever comes first.
    cases.into_iter().map(|case| if version < 29 { case.unordered() } else { case }).collect()
}

fn protocol(version: u8) {
    check_all(&by_protocol(version), &[(LOCAL, &ALONE), (PIPES, &AGAINST_REFERENCE)]);
    let server = row("the server's wish", "-ai").server_args(&format!("--protocol={version}"));
    check_all(&[if version < 29 { server.unordered() } else { server }], &[(PIPES, &ONE_END)]);
}

#[test]
fn protocol_27() {
    protocol(27);
}

#[test]
fn protocol_28() {
    protocol(28);
}

#[test]
fn protocol_29() {
    protocol(29);
}

#[test]
fn protocol_30() {
    protocol(30);
}

#[test]
fn protocol_31() {
    protocol(31);
}

#[test]
fn protocol_32() {
    protocol(32);
}

#[test]
fn against_3_2_7() {
    let cases = [
        row("first copy", "-ai --stats"),
        again("update", "-avi --no-whole-file"),
        again("checksums", "-aci"),
        row("no incremental recursion", "-ai --no-inc-recursive"),
        plain("progress", "-a --progress"),
        plain("a source that is missing", "-ai").from(&["src/names/a", "src/nowhere"]),
        row("20,000 files", "-a --stats").tree(zoo::crowd),
    ];
    check_all(&cases, &[(PIPES, &AGAINST_OLD)]);
}

#[test]
fn against_3_2_7_through_ssh() {
    check_all(&[row("archive over ssh", "-ai")], &[(SSH, &AGAINST_OLD)]);
}

// How arguments travel

#[test]
fn arguments() {
    let wild = |name, args| plain(name, args).from(&["src/names/a*"]);
    let blank = |name, args| plain(name, args).from(&["src/names/blank in it"]);
    let cases = [
        wild("wildcards stay alive", "-ai"),
        wild("wildcards and secluded args", "-ais"),
        wild("wildcards and old args", "-ai --old-args"),
        blank("blanks arrive", "-ai"),
        blank("blanks and secluded args", "-ais"),
        blank("blanks and old args", "-ai --old-args"),
        plain("quotes arrive", "-ai").from(&["src/names/quote'single", "src/names/back\\slash", "src/names/$HOME"]),
        plain("several remote sources", "-ai").from(&["src/names/a", "src/names/A", "src/links"]),
        plain("to a name with blanks", "-ai").to("dst/with blank/"),
        plain("remote option", "-ai --remote-option=--no-super -M--fsync"),
    ];
    check_all(&cases, &[(PIPES, &AGAINST_REFERENCE)]);
}

// The harness itself: the reference against itself shows nothing, and a real difference does show.

const REFERENCE_ONLY: Ends = ends(Program::Reference, Program::Reference);

#[test]
fn the_reference_agrees_with_itself() {
    let cases = [row("archive", "-avi --stats"), again("update", "-aii --no-whole-file --progress")];
    check_all(&cases, &[(&[Way::Local, Way::PipePush, Way::PipePull], &[REFERENCE_ONLY])]);
}

#[test]
fn a_difference_is_found() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static RUN: AtomicU32 = AtomicU32::new(0);
    // The second run finds another destination than the first.
    fn other_each_time(destination: &Path, source: &Path) {
        if RUN.fetch_add(1, Ordering::Relaxed) == 1 {
            zoo::file(&destination.join("extra"), b"extra");
            zoo::same(destination, source);
        }
    }
    let case = row("two destinations", "-ai").tree(zoo::few).before(other_each_time);
    let Some(found) = harness::check(&case, Way::Local, &[REFERENCE_ONLY]) else { return };
    if found.is_empty() && Program::Reference.missing().is_some() {
        return; // said and counted as skipped
    }
    assert!(found.iter().any(|text| text.contains("extra")), "{found:?}");
    assert!(found.iter().any(|text| text.contains("stdout")), "{found:?}");
}
