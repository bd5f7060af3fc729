//! Every option is at work in some test: its name, its other names, what takes it back, and its letter.

mod harness;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use harness::{Case, everywhere, locally, zoo};

use oc_rsync::options::flags::{FLAGS, Flag, Group, Special};

/// These read command lines without running anything.
const ONLY_READ: &[&str] = &["cli_syntax.rs", "server_argv.rs", "manual.rs"];

/// What prints and ends is compared with the reference in `cli_syntax` and `manual`.
const PRINTS: &[&str] = &["help", "help-ext", "version"];

/// The words of all string literals that begin with a dash.
fn words() -> BTreeSet<String> {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), &mut files);
    let texts = files.iter().map(|file| fs::read_to_string(file).expect("a test's source"));
    let words = texts.flat_map(|text| {
        let parts = text.split(|c: char| c.is_whitespace() || c == '"' || c == '\\');
        parts.filter(|word| word.starts_with('-')).map(String::from).collect::<Vec<_>>()
    });
    words.collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the tests") {
        let path = entry.expect("the tests").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            collect(&path, files);
        } else if name.ends_with(".rs") && !ONLY_READ.contains(&name) {
            files.push(path);
        }
    }
}

/// The letters of bundles such as `-avz`, as far as they go: a value may follow.
fn letters(words: &BTreeSet<String>) -> BTreeSet<u8> {
    let takes_value = |letter| FLAGS.iter().any(|flag| flag.short == letter && flag.takes_value());
    let mut found = BTreeSet::new();
    for word in words.iter().filter(|word| !word.starts_with("--")) {
        for &letter in word.as_bytes().get(1..).unwrap_or_default() {
            found.insert(letter);
            if takes_value(letter) || !letter.is_ascii_alphanumeric() {
                break;
            }
        }
    }
    found
}

/// All ways to say an option, long ones without their dashes.
fn long_spellings(flag: &'static Flag) -> impl Iterator<Item = &'static str> {
    let own = Some(flag.long).filter(|long| !long.is_empty());
    own.into_iter().chain(flag.also.iter().copied()).chain(flag.off.iter().copied())
}

fn is_for_daemons(flag: &Flag) -> bool {
    flag.group == Group::Daemon || matches!(flag.act, oc_rsync::options::flags::Act::Special(Special::Daemon))
}

#[test]
fn every_option_is_used() {
    let words = words();
    let letters = letters(&words);
    let names: BTreeSet<&str> = words
        .iter()
        .filter_map(|word| word.strip_prefix("--"))
        .map(|word| word.split('=').next().unwrap_or(word))
        .collect();
    let mut unused = Vec::new();
    let counts = |flag: &&Flag| !is_for_daemons(flag) && !PRINTS.contains(&flag.long);
    for flag in FLAGS.iter().filter(counts) {
        let long = long_spellings(flag).filter(|name| !names.contains(name)).map(|name| format!("--{name}"));
        unused.extend(long);
        if flag.short != 0 && !letters.contains(&flag.short) {
            unused.push(format!("-{}", char::from(flag.short)));
        }
    }
    assert!(unused.is_empty(), "no test uses {}", unused.join(" "));
}

fn row(args: &'static str) -> Case {
    Case::new(args, args).unordered()
}

fn over_old(args: &'static str) -> Case {
    row(args).before(zoo::stale)
}

#[test]
fn long_names_do_what_their_letters_do() {
    locally(&[
        row("--archive --verbose --human-readable --itemize-changes"),
        row("--recursive --links --perms --times --group --owner --devices --specials --hard-links -i"),
        over_old("--archive --checksum --dry-run -i"),
        over_old("--archive --ignore-times --omit-dir-times -i"),
        over_old("--archive --update --omit-link-times -i"),
        over_old("--archive --atimes --open-noatime --one-file-system -i").atimes(),
        over_old("--archive --modify-window=2 --executability -i"),
        over_old("-a -@1 -i"),
        over_old("--archive --cvs-exclude --8-bit-output -i"),
        row("--dirs --verbose"),
        row("-r --copy-links --copy-dirlinks --keep-dirlinks -i"),
        row("--archive --quiet"),
        over_old("-ai --log-format=%i:%n"),
        over_old("-ai --cc=md5"),
    ]);
}

#[test]
fn what_takes_options_back() {
    locally(&[
        row("-av --no-verbose"),
        row("-avv --no-v"),
        over_old("-ac --no-checksum -i"),
        over_old("-ac --no-c -i"),
        row("-a --no-recursive --no-r --dirs -i"),
        row("-r --no-d --no-dirs -i"),
        row("-a --no-links -i"),
        row("-a --no-l -i"),
        over_old("-a --no-perms --no-owner --no-group -i"),
        over_old("-a --no-p --no-o --no-g -i"),
        row("-a --no-times --no-specials -i"),
        row("-a --no-devices -i"),
        row("-aH --no-hard-links -i"),
        row("-aR --no-relative -i"),
        row("-aR --no-i-d -i"),
        row("-aR --no-implied-dirs --implied-dirs -i"),
        row("-aR --no-implied-dirs --i-d -i"),
        over_old("-a --inplace --no-inplace -i"),
        over_old("-a --append --no-append -i"),
        row("-a --mkpath --no-mkpath -i").to("dst/a/b/"),
        row("-a --munge-links --no-munge-links -i"),
        row("-a --insecure-links --no-insecure-links -i"),
        over_old("-a --write-devices --no-write-devices -i"),
        row("-a --drop-D --no-drop-D -i"),
        over_old("-aU --no-atimes -i").atimes(),
        over_old("-aU --no-U -i").atimes(),
        over_old("-aU --open-noatime --no-open-noatime -i").atimes(),
        row("-a --no-crtimes --no-N -i"),
        over_old("-aO --no-omit-dir-times -i"),
        over_old("-aO --no-O -i"),
        over_old("-aJ --no-omit-link-times -i"),
        over_old("-aJ --no-J -i"),
        row("-aS --no-sparse -i").sparse(),
        row("-aS --no-S -i").sparse(),
        row("-ax --no-one-file-system -i"),
        row("-ax --no-x -i"),
        over_old("-a --delete --ignore-errors --no-ignore-errors -i"),
        over_old("-a --force --no-force -i"),
        over_old("-a --delay-updates --no-delay-updates -i"),
        row("-am --no-prune-empty-dirs -i"),
        row("-a --numeric-ids --no-numeric-ids -i"),
        row("-a --timeout=100 --no-timeout -i"),
        row("-a --contimeout=100 --no-contimeout -i"),
        over_old("-ay --no-y -i"),
        row("-ai --from0 --no-from0 --files-from={box}/list").with_file("list", b"plain\n"),
        row("-a -8 --no-8-bit-output -i"),
        row("-a -8 --no-8 -i"),
        row("-ahv --no-human-readable"),
        row("-a --progress --no-progress"),
        row("-ai --no-itemize-changes"),
        row("-ai --no-i"),
        row("-ai --bwlimit=1 --no-bwlimit"),
        row("-a --no-A --no-acls --no-X --no-xattrs -i"),
        row("-a --no-z --no-compress -i"),
    ]);
}

#[test]
fn spellings_that_matter_on_the_wire() {
    everywhere(&[
        row("-ai --i-r"),
        row("-ai --no-i-r"),
        row("-ai --old-d --no-r"),
        row("-ai --msgs2stderr"),
        row("-ai --no-msgs2stderr"),
        row("-avv --motd"),
        row("-avv --no-motd"),
        row("-ai --secluded-args"),
        row("-ai --protect-args").from(&["src/with space"]),
        row("-ai --no-protect-args").env("RSYNC_PROTECT_ARGS", "1"),
        row("-ai -s --no-secluded-args"),
        row("-ai --old-args --no-old-args"),
        row("-ai --blocking-io --no-blocking-io"),
        row("-ai --ipv4"),
        row("-ai --ipv6"),
    ]);
}

#[test]
fn options_that_only_a_daemon_knows_what_to_do_with() {
    everywhere(&[
        row("-ai --password-file=nowhere"),
        row("-ai --contimeout=3"),
        row("-ai --early-input=nowhere"),
        row("-ai --port=873 --sockopts=SO_SNDBUF=1000,NONSENSE --address=127.0.0.1"),
        row("-aiN"),
        row("-ai --crtimes"),
    ]);
}

/// Long names, and second ones.
#[test]
fn long_names() {
    locally(&[
        row("--archive --acls -i"),
        row("--archive --xattrs -i"),
        row("--archive --compress -i"),
        row("-a --compress-choice=zlibx --zc=zlib -i"),
        row("-az --compress-level=3 --zl=1 -i"),
        row("-az --zc=zstd --compress-threads=2 --zt=1 -i"),
        row("-az --skip-compress=gz -i"),
        row("-a --old-compress -i"),
        row("-a --new-compress -i"),
    ]);
}
