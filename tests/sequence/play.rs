//! Playing steps with both programs, and making a sequence that differs small.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    harness::{
        blur,
        process::{self, Outcome, Status},
        programs::{Ends, Program, ends},
        stand_in,
        tree::Tree,
    },
    steps::{Route, Step},
};

/// Where two runs parted.
pub struct Failure {
    pub step: usize,
    pub told: Vec<String>,
}

/// Everything in the source that is newer than this was changed by the step at hand.
const SETTLED: &str = "2020-01-01";
const PRELUDE: &str = "mk() { [ -d \"$1\" ] || { rm -rf \"$1\"; mkdir -p \"$1\"; }; }";
/// What stands beside each destination.
const PLACES: [&str; 4] = ["dst", "alt", "alt2", "tmp"];

/// No step takes a second; one that hangs is played again and again when it is made smaller.
const HANGS: Duration = Duration::from_secs(20);

struct Site {
    dir: tempfile::TempDir,
    ready: SystemTime,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory");
        fs::create_dir(dir.path().join("src")).expect("source");
        for sandbox in ["ref", "our"] {
            for place in PLACES {
                fs::create_dir_all(dir.path().join(sandbox).join(place)).expect("place");
            }
        }
        Self { dir, ready: SystemTime::now() }
    }

    fn sandbox(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Does a step in both sandboxes; what differs afterwards.
    fn step(&self, step: &Step) -> Vec<String> {
        let settle = format!("find src -newermt {SETTLED} -exec touch -h -d @{} {{}} +", step.clock);
        shell(self.dir.path(), &[&step.source[..], &[settle]].concat());
        let play = |name: &str, plain: bool| {
            let sandbox = self.sandbox(name);
            shell(&sandbox, &step.beside);
            let run = (!step.options.is_empty()).then(|| self.run(step, &sandbox, plain));
            (run, Tree::read(&sandbox, self.ready, false))
        };
        // The reference waits more than it works.
        let ((reference, theirs), (ours, mine)) = thread::scope(|scope| {
            let reference = scope.spawn(|| play("ref", true));
            let ours = play("our", false);
            (reference.join().expect("the reference's run"), ours)
        });
        let mut told = Vec::new();
        if let (Some(reference), Some(ours)) = (reference, ours) {
            if reference.status != ours.status || ours.status == Status::Hung {
                told.push(format!("  status: {:?}, ours {:?}\n", reference.status, ours.status));
            }
            for (theirs, mine) in [(&reference.stdout, &ours.stdout), (&reference.stderr, &ours.stderr)] {
                let differs = blur::line_difference(&self.lines(theirs), &self.lines(mine));
                told.extend(differs);
            }
        }
        told.extend(theirs.differences(&mine, false));
        told
    }

    /// What was said, sorted; which sandbox it was about does not count.
    fn lines(&self, text: &[u8]) -> Vec<String> {
        let (reference, ours) = (self.sandbox("ref"), self.sandbox("our"));
        let mut lines = blur::blur(text, &[(&reference, "BOX"), (&ours, "BOX"), (self.dir.path(), "@")], false);
        // What is in the way among the backups goes silently; and the reference, deleting before, looks for rules below
        // whatever is listed, links of others too.
        let elsewhere = |line: &str| line.contains("deleting") && line.contains(" ../bak/");
        lines.retain(|line| !elsewhere(line) && !line.starts_with("refusing to follow a symlink owned by"));
        lines
    }

    fn run(&self, step: &Step, sandbox: &Path, plain: bool) -> Outcome {
        let both = if plain { |ends: Ends| ends.without_ours() } else { |ends: Ends| ends };
        let alone = both(ends(Program::Ours, Program::Ours));
        let (ends, argv) = match step.route {
            Route::Local => (alone, words(step, "", "", "")),
            Route::Push(ends) => (both(ends), words(step, &far(both(ends)), "", "far:")),
            Route::Pull(ends) => (both(ends), words(step, &far(both(ends)), "far:", "")),
        };
        let argv: Vec<String> = argv.iter().map(|word| word.replace("HERE", &sandbox.display().to_string())).collect();
        process::run_for(process::command(sandbox, &ends.client.path(), &argv), b"", HANGS)
    }
}

fn far(ends: Ends) -> String {
    format!("-e {} --rsync-path={}", stand_in().display(), ends.server.path().display())
}

/// The command line of a step; a blank within a filter rule is written `_`.
fn words(step: &Step, far: &str, from: &str, to: &str) -> Vec<String> {
    let mut argv: Vec<String> = step.options.iter().flat_map(|option| option.split(' ')).map(filter_word).collect();
    argv.extend(far.split(' ').filter(|word| !word.is_empty()).map(String::from));
    argv.extend(step.from.iter().map(|path| format!("{from}{path}")));
    argv.push(format!("{to}{}", step.to));
    argv
}

fn filter_word(word: &str) -> String {
    if word.starts_with("--filter=") { word.replace('_', " ") } else { word.into() }
}

fn shell(dir: &Path, lines: &[String]) {
    if !lines.is_empty() {
        let script = format!("{PRELUDE}\n{}", lines.join("\n"));
        let outcome = process::run(dir, Path::new("/bin/sh"), &["-c", &script], b"");
        assert_ne!(outcome.status, Status::Hung, "{script}");
    }
}

/// Plays steps until something differs.
pub fn play(steps: &[Step]) -> Option<Failure> {
    let site = Site::new();
    steps.iter().enumerate().find_map(|(step, at)| {
        let told = site.step(at);
        (!told.is_empty()).then_some(Failure { step, told })
    })
}

/// The parts of a step that may be needless one by one.
const PARTS: [fn(&mut Step) -> &mut Vec<String>; 3] =
    [|step| &mut step.options, |step| &mut step.source, |step| &mut step.beside];

/// The same difference with as little as possible, as far as time allows.
pub fn reduced(mut steps: Vec<Step>, patience: Duration) -> Vec<Step> {
    let end = Instant::now() + patience;
    let fails = |steps: &[Step]| Instant::now() < end && play(steps).is_some();
    loop {
        let before = size(&steps);
        let last = steps.len() - 1;
        shorter(&mut steps, last, |steps| fails(steps));
        for at in 0..steps.len() {
            let mut quiet = steps.clone();
            quiet[at].options.clear();
            if fails(&quiet) {
                steps = quiet;
            }
            for part in PARTS {
                let mut items = part(&mut steps[at]).clone();
                let len = items.len();
                shorter(&mut items, len, |items| {
                    let mut tried = steps.clone();
                    *part(&mut tried[at]) = items.to_vec();
                    fails(&tried)
                });
                *part(&mut steps[at]) = items;
            }
            let mut local = steps.clone();
            local[at].route = Route::Local;
            if fails(&local) {
                steps = local;
            }
        }
        if size(&steps) == before || Instant::now() >= end {
            return steps;
        }
    }
}

fn size(steps: &[Step]) -> usize {
    steps.iter().map(|step| 1 + step.options.len() + step.source.len() + step.beside.len()).sum()
}

/// Takes out of the first `len` items what is not needed, in ever smaller pieces.
fn shorter<T: Clone>(items: &mut Vec<T>, len: usize, mut fails: impl FnMut(&[T]) -> bool) {
    let (mut len, mut piece) = (len, len);
    while piece > 0 {
        let mut at = 0;
        while at < len {
            let end = (at + piece).min(len);
            let fewer = [&items[..at], &items[end..]].concat();
            if fails(&fewer) {
                *items = fewer;
                len -= end - at;
            } else {
                at = end;
            }
        }
        piece /= 2;
    }
}

/// The steps as a script that takes the two programs as `$1` and `$2`; `$3` is the remote shell.
pub fn script(steps: &[Step]) -> String {
    let mut lines = vec![
        "#!/bin/sh".to_string(),
        "# usage: script CLIENT SERVER FAR_SHELL, in an empty directory".into(),
        PRELUDE.into(),
        format!("mkdir src box; cd box; mkdir {}", PLACES.join(" ")),
    ];
    for step in steps {
        lines.push("cd ..".into());
        lines.extend(step.source.clone());
        lines.push(format!("find src -newermt {SETTLED} -exec touch -h -d @{} {{}} +; cd box", step.clock));
        lines.extend(step.beside.clone());
        if step.options.is_empty() {
            continue;
        }
        let (far, from, to) = match step.route {
            Route::Local => ("", "", ""),
            Route::Push(_) => ("-e \"$3\" --rsync-path=\"$2\"", "", "far:"),
            Route::Pull(_) => ("-e \"$3\" --rsync-path=\"$2\"", "far:", ""),
        };
        let words = words(step, "", from, to);
        let quoted: Vec<String> =
            words.iter().map(|word| format!("'{}'", word.replace("HERE", "'\"$PWD\"'"))).collect();
        lines.push(format!("\"$1\" {far} {} # {:?}", quoted.join(" "), step.route));
    }
    lines.join("\n")
}
