//! Batch files: written and read by either program, compared in what is said, in what stands there afterwards, and in
//! the files themselves.

#[path = "../harness/mod.rs"]
mod harness;

mod contents;
mod script;

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    time::SystemTime,
};

use harness::{
    Program, Way,
    blur::{blur, line_difference},
    process::{self, Outcome, Status},
    programs, stand_in,
    tree::{self, Tree},
    zoo,
};

use Program::{Ours, Reference};

/// What the generator says by itself: how that meets the receiver's lines is a matter of time.
const APART: &[&str] = &["*deleting ", "deleting ", "skipping "];

/// A command line that writes a batch, and one that reads it.
struct Row {
    args: &'static str,
    /// What the reading command line has instead.
    reading: Option<&'static str>,
    before: fn(&Path, &Path),
    ways: &'static [Way],
    /// Two programs compress alike, but not to the same bytes.
    compressed: bool,
}

const LOCAL: &[Way] = &[Way::Local];
const ALL: &[Way] = &[Way::Local, Way::PipePush, Way::PipePull];

fn row(args: &'static str) -> Row {
    Row { args, reading: None, before: some, ways: LOCAL, compressed: false }
}

impl Row {
    fn everywhere(self) -> Self {
        self.by(ALL)
    }

    fn by(self, ways: &'static [Way]) -> Self {
        Self { ways, ..self }
    }

    fn reading(self, args: &'static str) -> Self {
        Self { reading: Some(args), ..self }
    }

    fn compressed(self) -> Self {
        Self { compressed: true, ..self }
    }

    fn over(self, before: fn(&Path, &Path)) -> Self {
        Self { before, ..self }
    }
}

fn source(top: &Path) {
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    fs::create_dir_all(top.join("more")).unwrap();
    zoo::file(&top.join("big"), &zoo::noise(150_000, 1));
    zoo::file(&top.join("empty"), b"");
    zoo::file(&top.join("it's"), b"quoted");
    zoo::file(&top.join("sub/text"), b"a text\n");
    zoo::file(&top.join("sub/deep/file"), &zoo::noise(5000, 2));
    fs::hard_link(top.join("sub/deep/file"), top.join("more/name")).unwrap();
    symlink("text", top.join("sub/link")).unwrap();
    zoo::set_time(&top.join("sub/link"), 1_400_000_000, 0);
    zoo::settle_dirs(top);
}

/// A basis, something that is current, and something extraneous.
fn some(top: &Path, from: &Path) {
    fs::create_dir_all(top.join("sub")).unwrap();
    let big = fs::read(from.join("big")).unwrap();
    zoo::file(&top.join("big"), &[&b"in front"[..], &big[..90_000]].concat());
    zoo::set_time(&top.join("big"), 1_200_000_000, 0);
    zoo::file(&top.join("sub/text"), b"a text\n");
    zoo::file(&top.join("sub/old"), b"extraneous");
    zoo::settle_dirs(top);
}

fn nothing(_: &Path, _: &Path) {}

/// A directory with the source, in which runs have places of their own.
struct Site {
    dir: tempfile::TempDir,
    ready: SystemTime,
    count: std::cell::Cell<usize>,
}

struct Made {
    outcome: Outcome,
    tree: Tree,
    place: PathBuf,
}

impl Site {
    fn new() -> Self {
        Self::with(source)
    }

    fn with(source: fn(&Path)) -> Self {
        let dir = tempfile::Builder::new().prefix("oc-rsync-").tempdir().unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        source(&dir.path().join("src"));
        Self { dir, ready: SystemTime::now(), count: 0.into() }
    }

    /// Runs over a destination of its own, in a place where the batch may be.
    fn run(&self, program: Program, args: &[String], before: fn(&Path, &Path), batch: Option<&Path>) -> Made {
        self.count.set(self.count.get() + 1);
        let place = self.dir.path().join(format!("p{:03}", self.count.get()));
        let destination = place.join("dst");
        fs::create_dir_all(&destination).unwrap();
        symlink("../src", place.join("src")).unwrap();
        if let Some(batch) = batch {
            fs::copy(batch, place.join("B")).unwrap();
        }
        before(&destination, &self.dir.path().join("src"));
        tree::settle(&destination);
        let outcome = process::run_for(process::command(&place, &program.path(), args), b"", process::PATIENCE);
        let tree = Tree::read(&destination, self.ready, false);
        Made { outcome, tree, place }
    }

    fn lines(&self, made: &Made, text: &[u8], program: Program) -> Vec<String> {
        let program = program.path();
        let names = [(made.place.as_path(), "PLACE"), (program.as_path(), "PROGRAM")];
        let (mut first, rest): (Vec<_>, Vec<_>) =
            blur(text, &names, true).into_iter().partition(|line| APART.iter().any(|word| line.starts_with(word)));
        first.extend(rest);
        first
    }

    fn differences(&self, what: &str, theirs: (&Made, Program), ours: (&Made, Program)) -> Vec<String> {
        let mut told = Vec::new();
        let (one, two) = (&theirs.0.outcome, &ours.0.outcome);
        if one.status != two.status {
            told.push(format!("{what}: status {:?}, ours {:?}", one.status, two.status));
        }
        for (name, theirs_text, ours_text) in
            [("stdout", &one.stdout, &two.stdout), ("stderr", &one.stderr, &two.stderr)]
        {
            let theirs = self.lines(theirs.0, theirs_text, theirs.1);
            let ours = self.lines(ours.0, ours_text, ours.1);
            told.extend(line_difference(&theirs, &ours).map(|text| format!("{what}: {name}\n{text}")));
        }
        let trees = theirs.0.tree.differences(&ours.0.tree, false);
        told.extend(trees.into_iter().map(|text| format!("{what}:\n{text}")));
        told
    }

    fn script(&self, made: &Made, program: Program) -> String {
        let script = fs::read_to_string(made.place.join("B.sh")).unwrap();
        script.replace(&program.path().display().to_string(), "PROGRAM")
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(String::from).collect()
}

fn far(way: Way, far: Program, path: &str, remote: bool) -> (Vec<String>, String) {
    if way == Way::Local {
        return (Vec::new(), path.into());
    }
    let options = vec!["-e".into(), stand_in().display().to_string(), format!("--rsync-path={}", far.path().display())];
    (options, if remote { format!("far:{path}") } else { path.into() })
}

fn writing(row: &Row, way: Way, peer: Program) -> Vec<String> {
    let (mut args, from) = far(way, peer, "src/", way == Way::PipePull);
    let (_, to) = far(way, peer, "dst/", way == Way::PipePush);
    args.extend(words(row.args));
    let batch = if row.args.contains("batch=") { None } else { Some("--write-batch=B".into()) };
    args.extend(batch);
    args.extend(["--checksum-seed=5".into(), from, to]);
    args
}

fn reading(row: &Row) -> Vec<String> {
    let mut args: Vec<_> = words(row.reading.unwrap_or(row.args));
    args.retain(|arg| !arg.contains("write-batch"));
    args.extend(["--read-batch=B".into(), "dst/".into()]);
    args
}

/// What is said of traffic near the end depends on how it was framed.
const TAIL: usize = 48;

/// Lists that come while files are on their way: how the two meet is a matter of time.
fn is_incremental(args: &str) -> bool {
    let whole = ["--no-i-r", "--protocol=2", "--delete-after", "--delay-updates"];
    !args.starts_with("-d") && !whole.iter().any(|word| args.contains(word))
}

fn batches_differ(theirs: &Path, ours: &Path) -> Option<String> {
    let (theirs, ours) = (fs::read(theirs).unwrap(), fs::read(ours).unwrap());
    let at = theirs.iter().zip(&ours).position(|(one, two)| one != two);
    let same = theirs.len().abs_diff(ours.len()) < 8 && at.is_none_or(|at| at + TAIL >= theirs.len());
    (!same).then(|| format!("batch files of {} and {} bytes differ at {at:?}", theirs.len(), ours.len()))
}

fn check(site: &Site, row: &Row, way: Way, peer: Program) -> Vec<String> {
    let what = format!("{} {way:?} with {peer:?}", row.args);
    let write = |program| {
        site.run(program, &writing(row, way, if program == Reference { Reference } else { peer }), row.before, None)
    };
    let (theirs, ours) = (write(Reference), write(Ours));
    let mut told = site.differences(&format!("{what}, writing"), (&theirs, Reference), (&ours, Ours));
    if !row.compressed && !is_incremental(row.args) {
        let differ = batches_differ(&theirs.place.join("B"), &ours.place.join("B"));
        told.extend(differ.map(|text| format!("{what}: {text}")));
    }
    let scripts = (site.script(&theirs, Reference), site.script(&ours, Ours));
    let blurred = scripts.1.replace(&peer.path().display().to_string(), "PROGRAM");
    if scripts.0 != blurred {
        told.push(format!("{what}: scripts\n  {}  {}", scripts.0, scripts.1));
    }
    let mode = |made: &Made, name| fs::metadata(made.place.join(name)).unwrap().mode() & 0o7777;
    for name in ["B", "B.sh"] {
        if mode(&theirs, name) != mode(&ours, name) {
            told.push(format!("{what}: mode of {name}"));
        }
    }
    for (whose, written) in [("theirs", &theirs), ("ours", &ours)] {
        let batch = written.place.join("B");
        let read = |program| site.run(program, &reading(row), row.before, Some(&batch));
        let (one, two) = (read(Reference), read(Ours));
        told.extend(site.differences(&format!("{what}, reading {whose}"), (&one, Reference), (&two, Ours)));
    }
    told
}

fn check_rows(rows: &[Row]) {
    check_rows_at(Site::new(), rows);
}

fn check_rows_at(site: Site, rows: &[Row]) {
    if !programs::reference_is_there("batch files") {
        return;
    }
    let mut told = Vec::new();
    for row in rows {
        for &way in row.ways {
            told.extend(check(&site, row, way, Reference));
        }
    }
    assert!(told.is_empty(), "{} differences:\n\n{}", told.len(), told.join("\n\n"));
}

#[test]
fn every_protocol() {
    check_rows(&[
        row("-ai").everywhere(),
        row("-aiH --no-i-r --protocol=31").everywhere(),
        row("-aiH --protocol=30").everywhere(),
        row("-aiH --no-i-r --protocol=30").everywhere(),
        row("-aiH --protocol=29").everywhere(),
        row("-a --protocol=28").everywhere(),
        row("-a --protocol=27").everywhere(),
    ]);
}

#[test]
fn data_goes_to_the_file_alone() {
    check_rows(&[
        row("-aiH --only-write-batch=B").everywhere(),
        row("-aiH --only-write-batch=B --no-i-r").everywhere(),
        row("-av --only-write-batch=B --protocol=29").everywhere(),
        row("-av --only-write-batch=B --no-i-r --stats"),
        row("-aiW --only-write-batch=B").over(nothing).everywhere(),
        row("-ai --only-write-batch=B --delete"),
    ]);
}

#[test]
fn options_that_change_what_is_written() {
    check_rows(&[
        row("-ai --delete"),
        row("-ai --delete-after --force"),
        row("-ai --no-i-r --delete-delay"),
        row("-aiR --no-i-r"),
        row("-aic --no-i-r"),
        row("-aii --size-only"),
        row("-ai --inplace --no-i-r"),
        row("-ai --inplace -b --no-i-r"),
        row("-ai --append-verify --no-i-r"),
        row("-ai --partial-dir=.part --no-i-r"),
        row("-ai --delay-updates"),
        row("-ai --fuzzy --no-i-r"),
        row("-rv").reading("-rv"),
        row("-dlv").reading("-dv"),
        row("-aHv").reading("-rv"),
        row("-rlv").reading("-av"),
        row("-av").reading("-av --no-r --dirs"),
    ]);
}

/// What the destination holds is not what it held where the batch was made.
#[test]
fn other_destinations() {
    if !programs::reference_is_there("batch files") {
        return;
    }
    fn current(top: &Path, from: &Path) {
        zoo::same(top, from);
    }
    fn partly(top: &Path, from: &Path) {
        some(top, from);
        zoo::same(&top.join("more"), &from.join("more"));
        fs::remove_file(top.join("sub/text")).unwrap();
    }
    let site = Site::new();
    let mut told = Vec::new();
    for (write, read) in [
        ("-ai --no-i-r", "-ai --no-i-r"),
        ("-aiH --no-i-r", "-aiiH --no-i-r"),
        ("-ai --no-i-r", "-ai --no-i-r --existing"),
        ("-ai --no-i-r", "-avn --no-i-r"),
        ("-ai --no-i-r --inplace", "-ai --no-i-r -b --max-size=1000"),
        ("-ai --protocol=29", "-aii"),
        ("-ai --protocol=28", "-a --stats"),
        ("-a", "-ai --ignore-existing"),
    ] {
        let row = Row { reading: Some(read), ..row(write) };
        let batch = site.run(Reference, &writing(&row, Way::Local, Reference), row.before, None).place.join("B");
        for before in [nothing, current, partly] {
            let run = |program| site.run(program, &reading(&row), before, Some(&batch));
            told.extend(site.differences(
                &format!("{write}, then {read}"),
                (&run(Reference), Reference),
                (&run(Ours), Ours),
            ));
        }
    }
    assert!(told.is_empty(), "{} differences:\n\n{}", told.len(), told.join("\n\n"));
}

/// What is refused, and what cannot be opened or written.
#[test]
fn complaints() {
    if !programs::reference_is_there("batch files") {
        return;
    }
    fn files(top: &Path, _: &Path) {
        let place = top.parent().unwrap();
        symlink("/dev/full", place.join("full")).unwrap();
        fs::create_dir(place.join("dir")).unwrap();
        fs::write(place.join("short"), b"\x9f\0\0").unwrap();
        fs::write(place.join("bare"), b"\x9f\0\0\0").unwrap();
        fs::write(place.join("new"), b"\x9f\0\0\0\x21\0\0\0").unwrap();
        fs::write(place.join("other"), b"#!/bin/sh\n").unwrap();
        if programs::is_root() {
            symlink("short", place.join("planted")).unwrap();
            symlink("dir", place.join("way")).unwrap();
            for name in ["planted", "way"] {
                std::os::unix::fs::lchown(place.join(name), Some(65_534), Some(65_534)).unwrap();
            }
        }
    }
    let site = Site::new();
    let mut told = Vec::new();
    for line in [
        "-a --read-batch=none dst",
        "-a --read-batch=dir dst",
        "-a --read-batch=/dev/null dst",
        "-a --read-batch=short dst",
        "-a --read-batch=bare dst",
        "-a --read-batch=new dst",
        "-a --read-batch=other dst",
        "-a --read-batch=- dst",
        "-a --read-batch=none h:dst",
        "-a --read-batch=planted dst",
        "-a --read-batch=planted --insecure-links dst",
        "-a --write-batch=way/x src/ dst",
        "-a --write-batch=none/x src/ dst",
        "-a --write-batch=dir src/ dst",
        "-a --write-batch= src/ dst",
        "-a --only-write-batch= --insecure-links src/ dst",
        "-a --read-batch= dst",
        "-a --files-from= src/ dst",
        "-a --write-batch=full src/ dst",
        "-a --write-batch=x --read-batch=short src/ dst",
        "-a --write-batch=x none dst",
        "-an --write-batch=x src/ dst",
    ] {
        let run = |program| site.run(program, &words(line), files, None);
        let (theirs, ours) = (run(Reference), run(Ours));
        told.extend(site.differences(line, (&theirs, Reference), (&ours, Ours)));
        let names = |made: &Made| {
            let mut names: Vec<_> =
                fs::read_dir(&made.place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        if names(&theirs) != names(&ours) {
            told.push(format!("{line}: {:?}, ours {:?}", names(&theirs), names(&ours)));
        }
    }
    assert!(told.is_empty(), "{} differences:\n\n{}", told.len(), told.join("\n\n"));
}

fn ours(site: &Site, args: &str, before: fn(&Path, &Path), batch: Option<&Path>) -> Made {
    site.run(Ours, &words(args), before, batch)
}

#[test]
fn a_batch_comes_by_standard_input() {
    let site = Site::new();
    let made = ours(&site, "-a --write-batch=B src/ dst", nothing, None);
    let batch = fs::read(made.place.join("B")).unwrap();
    let to = made.place.join("again");
    fs::create_dir(&to).unwrap();
    let played = process::run(&made.place, &Ours.path(), &["-a", "--read-batch=-", "again"], &batch);
    assert_eq!((played.status, played.stderr), (Status::Exit(0), Vec::new()));
    assert!(made.tree.differences(&Tree::read(&to, site.ready, false), false).is_empty());
}

/// An update that fails its sum is told, where the reference waits for ever.
#[test]
fn what_fails_is_told() {
    fn another(top: &Path, _: &Path) {
        zoo::file(&top.join("big"), &zoo::noise(90_008, 5));
        zoo::set_time(&top.join("big"), 1_200_000_000, 0);
    }
    let site = Site::new();
    for args in ["-a", "-a --no-i-r", "-aH"] {
        let made = ours(&site, &format!("{args} --write-batch=B src/ dst"), some, None);
        let batch = made.place.join("B");
        let played = ours(&site, &format!("{args} --read-batch=B dst"), another, Some(&batch));
        assert_eq!(played.outcome.status, Status::Exit(23), "{args}");
        let stderr = String::from_utf8(played.outcome.stderr).unwrap();
        assert!(stderr.contains("(No batched update for resend of \"big\")"), "{args}: {stderr}");
    }
}

/// A file that was cut off or changed: one error, in time, and nothing outside of the destination.
#[test]
fn hostile_files() {
    let site = Site::new();
    for args in ["-aH", "-aH --protocol=29", "-aXz", "-a --zc=zstd", "-a --zc=lz4"] {
        let made = ours(&site, &format!("{args} --only-write-batch=B src/sub dst"), some, None);
        let whole = fs::read(made.place.join("B")).unwrap();
        let broken = site.dir.path().join("broken");
        let play = |bytes: &[u8], what: &str| {
            fs::write(&broken, bytes).unwrap();
            let played = ours(&site, &format!("{args} --read-batch=B dst"), nothing, Some(&broken));
            let stderr = String::from_utf8_lossy(&played.outcome.stderr).into_owned();
            let Status::Exit(code) = played.outcome.status else { panic!("{what}: {:?}", played.outcome.status) };
            assert!(matches!(code, 0 | 1 | 2 | 4 | 11 | 12 | 22 | 23), "{what}: {code}\n{stderr}");
            assert!(code == 0 || stderr.contains("rsync error: "), "{what}: {code}\n{stderr}");
            let left = fs::read_dir(&played.place).unwrap().count();
            assert_eq!(left, 3, "{what}: something beside the destination"); // and source, and batch
            code
        };
        for len in (0..whole.len()).step_by(whole.len() / 20) {
            assert_ne!(play(&whole[..len], &format!("{args}, cut off at {len}")), 0);
        }
        for at in (0..180).step_by(4).chain((180..whole.len()).step_by(whole.len() / 40)) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff >> (at % 7);
            play(&bytes, &format!("{args}, changed at {at}"));
        }
    }
}
