//! Command lines that need no transfer: messages, output and exit status, ours against the installed reference's.

#[allow(dead_code)] // only what names the reference is needed here
#[path = "harness/programs.rs"]
mod programs;

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
    process::Command,
};

const OURS: &str = env!("CARGO_BIN_EXE_oc-rsync");

/// Lines, their words apart by single blanks; `@` alone stands for an empty word.
const LINES: &[&str] = &[
    // nothing, help, version, lists of words
    "",
    "--help",
    "-h",
    "-hh",
    "-ah",
    "-avhh",
    "--human-readable",
    "--help --foo",
    "--foo --help",
    "-q --help",
    "--help -q",
    "--msgs2stderr --help",
    "--stderr=all --help",
    "--stderr=client --help",
    "-vvv --help a b",
    "--daemon --help",
    "--daemon -h",
    "--help --daemon",
    "--daemon --help --foo",
    "-qV",
    "--info=help",
    "--debug=help",
    "--info=HELP3",
    "--info=name,help",
    "--info=foo,help",
    "--debug=all,help -q",
    "-q --info=help",
    "--info=help --foo",
    "--server --info=help",
    "--server --debug=foo --help",
    "--server --help",
    // two faults: the first is told, and a rule is read where it is said
    "--filter=bad --foo a b",
    "--foo --filter=bad a b",
    "--filter=bad --max-size=x a b",
    "--filter=bad --append --whole-file a b",
    "--exclude-from=/nonexistent --compare-dest=a --link-dest=b a b",
    "--filter=bad --compare-dest=a --link-dest=b a b",
    "--server --filter=bad --foo . a",
    "--exclude=x --foo a b",
    // words that are no options
    "--foo",
    "--foo=bar",
    "--fo a b",
    "--recurs a b",
    "--verb a",
    "--no-foo",
    "--no-rsh",
    "--no-rsh=x",
    "--no-",
    "--=x",
    "--no-h=x a",
    "-Z",
    "-aZv",
    "-a-",
    "-a= x",
    "-a=3",
    "-va=3 a b",
    "--delete=3",
    "--archive= a b",
    "--no-D=1",
    "-w a b",
    "--sync",
    "-=x",
    "-a--",
    "--rsync_path=x",
    "-avZ --help",
    "--owner=x a b",
    "-j",
    "-G",
    "-@",
    "--@=3",
    "--old-d=1",
    "--cc",
    "-e",
    "-ae",
    "--rsh",
    "a b --rsh",
    "a b -f",
    "--filter",
    "-M",
    "--exclude",
    "-T",
    "-B",
    "-f",
    "--info",
    "--debug",
    "--stderr",
    "--outbuf",
    "--bwlimit",
    "--timeout",
    "--port",
    "--protocol",
    "--chmod",
    "--usermap",
    "--max-size",
    "--partial-dir",
    "--temp-dir",
    "--iconv",
    "--log-file",
    "--password-file",
    "--stop-at",
    "--stop-after",
    "--copy-as",
    "--link-dest",
    "--read-batch",
    "--files-from",
    "--checksum-choice",
    "--remote-option",
    "--zl",
    "--zt",
    "--use-qsort a b",
    "--existing=x",
    "-N a b",
    "-aN a b",
    "--crtimes a b",
    "-QN a b",
    "-NQ a b",
    "--crtimes=x a b",
    "--server",
    "--server -s",
    "--server --sender",
    "--server --sender -vlogDtpre.iLsfxCIvu",
    "--server --crtimes . a",
    "--server -N . a",
    "--server --foo . a",
    "--server -Z",
    "--sender",
    "--sender --server",
    "-v --sender",
    "--server --timeout=x . a",
    "--server -e",
    "--foo --server",
    // numbers
    "-@x a b",
    "-@ x a b",
    "-@1x a b",
    "--modify-window=x a b",
    "--timeout=x a b",
    "--timeout x a b",
    "--timeout=1.5 a b",
    "--timeout=99999999999 a b",
    "--timeout=-99999999999 a b",
    "--timeout=99999999999999999999 a b",
    "--timeout=08 a b",
    "--timeout=0x a b",
    "--timeout=0xg a b",
    "--contimeout=x a b",
    "--port=x a b",
    "--protocol=x a b",
    "--zl=x a b",
    "--compress-level=high a b",
    "--max-delete=x a b",
    "--checksum-seed=x a b",
    "-av --checksum-seed 1y a b",
    "--zt=many a b",
    "--timeout=\t a",
    "-a@",
    "-a@q a b",
    // sizes
    "-Bx a b",
    "-B a b",
    "--block-size=1m a b",
    "--block-size=131073 a b",
    "--block-size=128k+1 a b",
    "-B-1 a b",
    "--protocol=29 --block-size=1g a b",
    "--block-size=1g --protocol=29 a b",
    "--block-size=1.5x a b",
    "-B1kbb a b",
    "--max-size=x a b",
    "--max-size=-1 a b",
    "--max-size=9999p a b",
    "--max-size=1kx a b",
    "--max-size=1i a b",
    "--max-size=+1 a b",
    "--max-size=1k+2 a b",
    "--min-size=10q a b",
    "--bwlimit=x a b",
    "--bwlimit=1b a b",
    "--bwlimit=511b a b",
    "--bwlimit=-5 a b",
    "--bwlimit=0.4 a b",
    "--bwlimit=99999999999999p a b",
    "--bwlimit=0x10 a b",
    "--bwlimit=1e3 a b",
    "--max-alloc=1 a b",
    "--max-alloc=x a b",
    "--max-alloc=1023k a b",
    "--max-alloc=9999999p a b",
    "--max-alloc=-1 a b",
    "--max-alloc=1k --foo a b",
    // words with a meaning
    "--stderr=x a b",
    "--stderr= a b",
    "--stderr=errorsx a b",
    "--info=foo a b",
    "--info=name,foo2,bar a b",
    "--debug=2x a b",
    "--debug=x2y3 a b",
    "--info=name-1 a b",
    "--outbuf=x a b",
    "--outbuf= a b",
    "--outbuf=1 a b",
    "--chmod=x a b",
    "--chmod=u+q a b",
    "--chmod= a b",
    "--chmod=, a b",
    "--chmod=u+x, a b",
    "--chmod=9 a b",
    "--chmod=Dg+s,Fx a b",
    "--chmod=DF+x a b",
    "--chmod=u=g,o=uw a b",
    "--chmod=77777 a b",
    "-Mfoo a b",
    "-M foo a b",
    "--remote-option= a b",
    "--cc=foo a b",
    "--cc=md5,foo a b",
    "--cc=foo,md5 a b",
    "--cc=,md5 a b",
    "--cc=md5, a b",
    "--checksum-choice= a b",
    "--cc=auto,foo a b",
    "--zc=foo a b",
    "--zc= a b",
    "--compress-choice=gzip a b",
    "--stop-after=x a b",
    "--stop-after=0 a b",
    "--stop-after=-3 a b",
    "--stop-after=99999999999999999999 a b",
    "--time-limit=x a b",
    "--stop-at=x a b",
    "--stop-at=2001-01-01 a b",
    "--stop-at=25:00 a b",
    "--stop-at=1-2-3-4 a b",
    "--stop-at= a b",
    "--stop-at=T12 a b",
    "--stop-at=2-30 a b",
    // contradictions
    "--old-args -s a b",
    "-s --old-args a b",
    "--old-args --protect-args a b",
    "-s --old-args --foo",
    "--usermap=a:b --usermap=c:d a b",
    "--groupmap=a:b --groupmap=c:d a b",
    "--usermap=a:b --chown=x a b",
    "--chown=x --usermap=a:b a b",
    "--chown=:x --groupmap=a:b a b",
    "--groupmap=a:b --chown=:x a b",
    "--chown=x --chown=y a b",
    "--chown=:x --chown=:y a b",
    "--chown=x: --chown=:y --chown=z a b",
    "--link-dest=x --copy-dest=y a b",
    "--compare-dest=x --link-dest=y a b",
    "--fake-super -XX a b",
    "--write-batch=x --read-batch=y a b",
    "--read-batch=x --files-from=y a b",
    "--read-batch=x --remove-source-files b",
    "--read-batch=x --remove-sent-files b",
    "--delete-before --delete-after -r a b",
    "--del --delete-before -r a b",
    "--delete-delay --delete-after -r a b",
    "--delete a b",
    "--delete-excluded a b",
    "--del a b",
    "--delete --no-dirs a b",
    "--confine-root=x a b",
    "--confine-root=/x --insecure-links a b",
    "--suffix=a/b a b",
    "-b --suffix= a b",
    "--backup-dir=. --suffix= -r a b",
    "--backup-dir=././. a b",
    "--append -W a b",
    "--append-verify --whole-file a b",
    "--inplace --partial-dir=x a b",
    "--append --partial-dir=x a b",
    "--inplace --delay-updates a b",
    "--append --delay-updates a b",
    "--inplace --partial-dir=. a b",
    "--write-devices --partial-dir=x a b",
    "--cc=none --append a b",
    "--files-from=x a",
    "--files-from=x a b c",
    "--files-from=- a",
    "--files-from=h:- a b",
    "--server --files-from=h:x . a",
    "--old-args --append -W a b",
    "--max-alloc=1 --help --foo",
    // sources and destinations
    "-v",
    "-a --",
    "--",
    "-hh -hh",
    "a h:x c",
    "a b:c d:e",
    "h:a h:b",
    "h:a b c",
    "h:a g:b c",
    "h:a ::b c",
    "h::a :b c",
    "h::a rsync://h:99/b c",
    "rsync://h:98/a rsync://h:99/b c",
    "h:a rsync://h/b",
    "-- -h:a b",
    "-- a -h:b",
    "u@-h:a b",
    "a @",
    "@ b",
    "@",
    "a @ b",
    "@ a b",
    "@ h:x",
    "h:a @ b",
    "a rsync://h/x c",
    "a [::1]:b c",
    "--password-file=x a b",
    "--contimeout=3 a b",
    "--contimeout=-3 a h:b",
    "--contimeout=3 h:a b",
    "--password-file=x h:a",
    ":a h:b c",
    "rsync://h:a/x y:z",
    "rsync://h:/x y:z",
    "[::1]:a [::2]:b c",
    "[::1:a h:b c",
    "./h:a h:b c",
    // a daemon's options
    "--daemon --foo",
    "--daemon -Q",
    "--daemon -a",
    "--daemon --bwlimit=x",
    "--daemon --port",
    "--daemon -M x",
    "--daemon --dparam=x",
    "--config=x",
    "--no-detach",
    "--detach",
    "--dparam=a",
    "--config",
    "-v --config=x",
    "-a --config=x",
    "--config=x --foo",
    "--daemon --verbose=3",
    "--no-detach a",
    "--dparam",
    "--daemon --no-v --help",
    "--address=x --config=y",
    "--daemon --timeout=3",
];

#[derive(PartialEq, Eq)]
struct Outcome {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |text: &str| if text.len() > 900 { format!("{} bytes", text.len()) } else { format!("{text:?}") };
        write!(f, "{:?} out {} err {}", self.status, short(&self.stdout), short(&self.stderr))
    }
}

/// Runs in an empty directory, with nothing of the caller's environment.
fn run(program: &str, words: &[OsString], env: &[(&str, &str)], dir: &Path) -> Outcome {
    let output = Command::new(program)
        .args(words)
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", dir)
        .env("RSYNC_RSH", "/bin/false")
        .envs(env.iter().copied())
        .output()
        .expect("the program runs");
    Outcome {
        status: output.status.code(),
        stdout: comparable(&String::from_utf8_lossy(&output.stdout)),
        stderr: comparable(&String::from_utf8_lossy(&output.stderr)),
    }
}

/// What may differ is taken out: the place in the source, and what `--version` says of us.
fn comparable(text: &str) -> String {
    let mut kept = String::new();
    let mut skipping = false;
    for line in text.lines() {
        skipping |= line.starts_with("Capabilities:");
        if !skipping && !line.starts_with("This program is oc-rsync") {
            match (line.find(" at "), line.find(") [")) {
                (Some(at), Some(role)) if line.starts_with("rsync error: ") && at < role => {
                    kept += &line[..at];
                    kept += &line[role + 1..];
                }
                _ => kept += line,
            }
            kept.push('\n');
        }
        skipping &= !line.starts_with("General Public Licence");
    }
    while kept.contains("\n\n\n") {
        kept = kept.replace("\n\n\n", "\n\n");
    }
    kept.replace("\n\nrsync is a file", "\nrsync is a file").trim_end().to_owned()
}

fn words_of(line: &str) -> Vec<OsString> {
    line.split(' ').filter(|word| !word.is_empty()).map(|word| if word == "@" { "" } else { word }.into()).collect()
}

fn difference(words: &[OsString], env: &[(&str, &str)], dir: &Path) -> Option<String> {
    let (reference, ours) = (run("rsync", words, env, dir), run(OURS, words, env, dir));
    (reference != ours).then(|| format!("{words:?} {env:?}\n  reference {reference:?}\n  ours      {ours:?}"))
}

fn assert_none(differences: &[String]) {
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn lines_that_go_wrong() {
    if !programs::reference_is_there(file!()) {
        return;
    }
    let halves = LINES.split_at(LINES.len() / 2);
    let differences: Vec<String> = std::thread::scope(|scope| {
        let compare = |lines: &[&str]| -> Vec<String> {
            let dir = tempfile::tempdir().unwrap();
            lines.iter().filter_map(|line| difference(&words_of(line), &[], dir.path())).collect()
        };
        let other = scope.spawn(move || compare(halves.1));
        let mut found = compare(halves.0);
        found.extend(other.join().unwrap());
        found
    });
    assert_none(&differences);
}

#[test]
fn bytes_that_are_no_text() {
    if !programs::reference_is_there(file!()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let lines: &[&[&[u8]]] = &[
        &[b"--foo\xff"],
        &[b"-a\xff"],
        &[b"-\xff"],
        &[b"--rsh\xff=x"],
        &[b"--chmod=\xff\xfe", b"a", b"b"],
        &[b"--info=n\xe9", b"a", b"b"],
        &[b"--cc=\x1b[31m", b"a", b"b"],
        &[b"h:\xff", b"g\xff:x", b"c"],
        &[b"a", b"h\xc3\xa9:b", b"c"],
        &[b"--foo\\#123"],
        &[b"--timeout=\xff", b"a", b"b"],
    ];
    let locales: &[&[(&str, &str)]] = &[&[], &[("LC_ALL", "C.UTF-8")], &[("LANG", "none_XX")]];
    let mut differences = Vec::new();
    for line in lines {
        let is_option = line.first().is_some_and(|word| word.starts_with(b"-") && !word.starts_with(b"--info"));
        for prefix in [None, Some("-8"), Some("--server")].into_iter().take(if is_option { 3 } else { 2 }) {
            let words = line.iter().map(|word| OsString::from_vec(word.to_vec()));
            let words: Vec<OsString> = prefix.map(OsString::from).into_iter().chain(words).collect();
            differences.extend(locales.iter().filter_map(|env| difference(&words, env, dir.path())));
        }
    }
    assert_none(&differences);
}

#[test]
fn the_environment() {
    if !programs::reference_is_there(file!()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("a b", &[("RSYNC_MAX_ALLOC", "1k")]),
        ("a b", &[("RSYNC_MAX_ALLOC", "x")]),
        ("--max-alloc=1 a b", &[("RSYNC_MAX_ALLOC", "x")]),
        ("--inplace --partial --partial-dir=x a b", &[("RSYNC_PARTIAL_DIR", "y")]),
        ("--old-args -s a b", &[("RSYNC_PROTECT_ARGS", "1")]),
        ("a --foo", &[("POSIXLY_CORRECT", "1"), ("RSYNC_MAX_ALLOC", "1k")]),
        ("--foo a", &[("POSIXLY_CORRECT", "1")]),
        ("-e x h:a h:b g:c --help", &[("POSIXLY_CORRECT", "1")]),
        ("--server --cc=md5 . a", &[("RSYNC_CHECKSUM_LIST", "xxh3 & md4")]),
        ("--server --cc=md5,md4 . a", &[("RSYNC_CHECKSUM_LIST", "md5")]),
        ("a @", &[("RSYNC_OLD_ARGS", "0")]),
    ];
    let differences: Vec<String> =
        cases.iter().filter_map(|(line, env)| difference(&words_of(line), env, dir.path())).collect();
    assert_none(&differences);
}

#[test]
fn aliases_of_the_user() {
    if !programs::reference_is_there(file!()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = "# mine\nrsync alias --mine -v --foo\nrsync alias -Q --timeout\nrsync alias --daemon --foo\n\
                  ls alias --other -l\nrsync alias --usage --help\nrsync alias --two \"--chmod=a b\" 'x y'\n\
                  rsync alias --loop --loop --bar\nrsync alias -v -vZ\n";
    fs::write(dir.path().join(".popt"), config).unwrap();
    let lines = [
        "--mine",
        "--mine a b",
        "-aQ x a b",
        "-Qx a b",
        "-Q",
        "--other",
        "--usage",
        "--usage=x",
        "--two a",
        "--loop",
        "-av",
        "-ve",
        "--daemon --help",
        "--server --mine . a",
        "--server --usage",
        "--chmod --usage a b",
    ];
    let differences: Vec<String> =
        lines.iter().filter_map(|line| difference(&words_of(line), &[], dir.path())).collect();
    assert_none(&differences);
}

/// Every long name of the table is known to the reference, and none of its names is missing from the table.
#[test]
fn the_table_has_the_references_names() {
    use oc_rsync::options::flags::FLAGS;

    if !programs::reference_is_there(file!()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let knows = |word: &str| {
        let outcome = run("rsync", &[word.into(), "--zzz".into()], &[], dir.path());
        !outcome.stderr.contains(&format!("{word}: unknown option"))
    };
    for flag in FLAGS.iter().filter(|flag| flag.long != "help-ext") {
        for name in flag.names().chain(flag.off.iter().copied()) {
            assert!(knows(&format!("--{name}")), "--{name}");
        }
        assert!(flag.short == 0 || knows(&format!("-{}", char::from(flag.short))), "-{}", char::from(flag.short));
    }
    // The reference keeps its table's names as strings, each ended by a zero byte.
    let program = fs::read(programs::Program::Reference.path()).unwrap();
    let strings = program.split(|&b| b == 0).filter(|text| (1..24).contains(&text.len()));
    let plain = strings.filter(|text| text.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-'));
    let mut candidates: Vec<&str> = plain.filter_map(|text| OsStr::from_bytes(text).to_str()).collect();
    candidates.sort_unstable();
    candidates.dedup();
    let ours: Vec<&str> = FLAGS.iter().flat_map(|flag| flag.names().chain(flag.off.iter().copied())).collect();
    let missing: Vec<&str> = candidates
        .into_iter()
        .filter(|name| !ours.contains(name) && name.bytes().any(|b| b.is_ascii_lowercase()))
        .filter(|name| (name.starts_with("no-") || name.contains('-')) && knows(&format!("--{name}")))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}
