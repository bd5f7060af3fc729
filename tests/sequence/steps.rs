//! What happens: changes as lines of shell, options in groups, and who runs against whom.

use crate::harness::programs::{Ends, Program, ends, is_root};

/// Where the bytes go, and which programs take part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    Local,
    Push(Ends),
    Pull(Ends),
}

/// Some changes, and a run.
#[derive(Clone, Debug)]
pub struct Step {
    /// Lines of shell, run once beside `src`.
    pub source: Vec<String>,
    /// Lines of shell, run beside each `dst`.
    pub beside: Vec<String>,
    /// Options that are chosen together, a text each; without any there is no run.
    pub options: Vec<String>,
    pub from: &'static [&'static str],
    pub to: &'static str,
    pub route: Route,
    /// The time that everything new in the source gets.
    pub clock: u64,
}

/// Random numbers that are the same for the same seed.
pub struct Dice(u64);

const DIRS: &[&str] = &["", "", "d0", "d1", "d2", "d0/d1", "d0/d1/d2", "d1/d0", "sp ace"];
const NAMES: &[&str] = &["a", "b", "c", "f1", "f2", "x.o", "a.old", "é", "top", "d0", "d1"];
const TARGETS: &[&str] = &["a", "nowhere", "d0", "../top", "../../outside", "/etc/hostname", "d0/a"];
const PATTERNS: &[&str] = &["a", "*.o", "d0/", "/d1", "f?", "d0/**", "*/d1", "[ab]", "/d0/a", "*", "é", "sp ace"];
const PER_DIR: &str = ".rules";
/// Takes what it has sent out of the source, which each program then has to itself.
const TAKES: &str = "--remove-source-files";

/// In a hundred runs so many have one of these options; `HERE` is the directory in which the destination stands.
const GROUPS: &[(u64, &[&str])] = &[
    (
        100,
        &[
            "-a",
            "-a",
            "-a",
            "-a",
            "-a",
            "-rlt",
            "-rl",
            "-r",
            "-rlpt",
            "-rtgo",
            "-dlt",
            "-a --no-t",
            "-a --no-D",
            "--old-dirs -lptgoD",
        ],
    ),
    (100, &["-i", "-i", "-i", "-ii", "-v", "-q", "-vi --stats"]),
    (
        40,
        &[
            "--delete",
            "--delete-before",
            "--delete-during",
            "--delete-delay",
            "--delete-after",
            "--del",
            "--delete-excluded",
            "--delete --force",
            "--delete --max-delete=2",
            "--delete --max-delete=0",
            "--delete-delay --max-delete=1",
            "--delete-before --max-delete=3",
            "--delete --ignore-errors",
            "--delete-after --delete-excluded",
            "--delete-before --delete-excluded",
            "--delete-delay --delete-excluded",
        ],
    ),
    (6, &["--force"]),
    (5, &["--ignore-missing-args", "--delete-missing-args"]),
    (5, &[TAKES, TAKES, "--remove-sent-files"]),
    (
        20,
        &[
            "-b",
            "-b --suffix=.old",
            "--backup-dir=../bak",
            "--backup-dir=../bak --suffix=.old",
            // one process makes it while another sets the time of the directory that holds it
            "--backup-dir=.inside",
        ],
    ),
    (
        25,
        &[
            "--inplace",
            "--append",
            "--append-verify",
            "--partial",
            "--partial-dir=.part",
            "--partial-dir=../part",
            "--partial-dir=HERE/part",
            "--delay-updates",
            "--delay-updates",
            "--delay-updates --partial-dir=.part",
        ],
    ),
    (6, &["-T HERE/tmp"]),
    (
        15,
        &[
            "--compare-dest=../alt",
            "--copy-dest=../alt",
            "--link-dest=../alt",
            "--link-dest=../alt --link-dest=../alt2",
            "--copy-dest=../none --copy-dest=../alt",
            "--copy-dest=../alt2 --copy-dest=../alt",
            "--compare-dest=../alt --compare-dest=../alt2",
            "--link-dest=HERE/alt2 --link-dest=../none --link-dest=../alt",
        ],
    ),
    (8, &["-y", "-yy"]),
    (25, &["-H"]),
    (15, &["-c", "-I", "--size-only", "--modify-window=1", "--modify-window=-1"]),
    (8, &["-u"]),
    (6, &["--existing", "--ignore-non-existing"]),
    (6, &["--ignore-existing"]),
    (8, &["--max-size=1k", "--max-size=100k", "--min-size=100", "--min-size=10 --max-size=2k"]),
    (8, &["-R", "-R --no-implied-dirs"]),
    (8, &["-m"]),
    (4, &["-x", "-xx"]),
    (50, &["--no-whole-file", "--no-whole-file", "-W", "--no-whole-file -B 700"]),
    (10, &["-S"]),
    (8, &["-n"]),
    (30, &["--protocol=27", "--protocol=28", "--protocol=29", "--protocol=30", "--protocol=31", "--protocol=32"]),
    (6, &["--no-inc-recursive"]),
    (
        12,
        &[
            "-L",
            "-k",
            "-K",
            "-kK",
            "--safe-links",
            "--copy-unsafe-links",
            "--munge-links",
            "-K --safe-links",
            "-k --copy-unsafe-links",
        ],
    ),
    (8, &["-O", "-J", "-E", "--chmod=Fu+x", "--numeric-ids", "--no-super", "--preallocate", "--fsync"]),
    (3, &["--checksum-choice=md5", "--checksum-choice=xxh64,md4", "--checksum-seed=7", "--mkpath", "-s"]),
];

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// Below `limit`. After splitmix64.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// The first step makes a tree, later ones change it.
    pub fn step(&mut self, number: usize) -> Step {
        let changes = if number == 0 { 25 } else { 1 + self.below(5) };
        let source = (0..changes).map(|_| self.change("src", number == 0)).collect();
        let mut beside: Vec<String> = Vec::new();
        for (percent, place) in [(30, "dst"), (10, "alt"), (5, "alt2"), (5, "dst/.part"), (3, "part"), (5, "bak")] {
            if self.chance(percent) {
                beside.push(self.change(place, false));
            }
        }
        if self.chance(10) {
            let place = self.pick(&["alt", "alt", "alt2"]);
            beside.push(format!("rm -rf {place}; cp -a ../src/. {place}"));
        }
        if self.chance(4) {
            let (name, kept) = (self.below_top(), self.pick(&["dst/.part", "part"]));
            let beginning = format!("head -c 2000 ../src/'{name}' >{kept}/\"$(basename '{name}')\"");
            beside.push(format!("mkdir -p {kept}; [ -p ../src/'{name}' ] || {beginning}"));
        }
        let mut options: Vec<String> = Vec::new();
        for (percent, group) in GROUPS {
            if self.chance(*percent) {
                let option = self.pick(group);
                options.push(option.to_string());
            }
        }
        if self.chance(30) {
            options.extend(self.filters());
            if options.iter().any(|option| option.ends_with("rules")) {
                beside.push(format!("printf '%s\\n' '- {}' '+ {}' >rules", self.pick(PATTERNS), self.pick(PATTERNS)));
            }
        }
        if self.chance(12) {
            let names: Vec<String> = (0..1 + self.below(6)).map(|_| self.listed_name()).collect();
            beside.push(format!("printf '%s\\n' {} > list", names.join(" ")));
            options.push("--files-from=list".into());
            if self.chance(20) {
                beside.push("tr '\\n' '\\0' <list >list0; mv list0 list".into());
                options.push("--from0".into());
            }
        }
        // In place the reference loses mode and time of what it keeps there.
        if options.iter().any(|option| option.starts_with("--inplace") || option.starts_with("--append")) {
            options.retain(|option| !option.starts_with("--backup-dir=.."));
        }
        // What is appended to another file than itself has holes in the reference's copy; with -S it loses what was there.
        if options.iter().any(|option| option.starts_with("--append")) {
            options.retain(|option| !(option.contains("-dest=") || option.starts_with("-y") || option == "-S"));
        }
        // Other names of a link that is ignored for leading out, or of what is elsewhere, are lost track of by the reference;
        // and where names are left as they are it hangs when the list is incremental, or deletions are put off.
        if options.iter().any(|option| option == "-H") {
            let left = options.iter().any(|option| option.contains("-existing"));
            let lost = |option: &str| option.contains("--safe-links") || option.contains("--compare-dest");
            options.retain(|option| !(lost(option) || left && option.contains("--delete-delay")));
            options.extend(left.then(|| "--no-inc-recursive".into()));
        }
        // What the receiver builds a file on may have become a pipe since it was chosen: the reference waits for what is in it.
        if options.iter().any(|option| option.starts_with("-y")) {
            options.push("--no-specials".into());
        }
        // Before protocol 30 what the sender has without its directories ends the reference's generator, whose receiver may
        // have put files in place by then. Before 29 either end is the first to refuse some options, a local copy refuses
        // rules that it need not tell anyone, a file that changes in place is taken for what is kept of it, and a partial
        // directory that fails is removed.
        let old = |versions: &[u8]| versions.iter().any(|version| options.contains(&format!("--protocol={version}")));
        let has = |start: &str| options.iter().any(|option| option.starts_with(start));
        let told = |part: &str| options.iter().any(|option| option.contains(part));
        let several = options.iter().any(|option| option.contains("-dest=") && option.contains(' '));
        let in_place = has("--inplace") || has("--append");
        let before_29 = ["-y", "-m", "-C", "--partial-dir=.."].iter().any(|start| has(start))
            || several
            || in_place && (has("-b") || has("--backup") || told("-dest="))
            || has("--filter=") && told("--delete-excluded");
        if old(&[27, 28, 29]) && told("--no-implied-dirs") || old(&[27, 28]) && before_29 {
            options.retain(|option| !option.starts_with("--protocol="));
        }
        let has = |start: &str| options.iter().any(|option| option.starts_with(start));
        // What changes in place changes under all its names, sooner or later than it is looked at under another one.
        if in_place {
            beside.push("cp -a --no-preserve=links dst single && rm -rf dst && mv single dst".into());
        }
        let own = has("--remove-s");
        if own {
            beside.push("rm -rf src; cp -a ../src src".into());
        }
        let from: &[&str] = match self.below(10) {
            _ if own && has("--files") => &["src/"],
            0..=2 if own => &["src/./d0/", "src/d1", "src/a"],
            _ if own => &["src/"],
            _ if has("--files") => &["../src/"],
            0..=4 if has("-R") => &["../src/./"],
            _ if has("-R") => &["../src/./d0/d1/", "../src/./a", "../src/d0/./d1"],
            0 => &["../src"],
            1 => &["../src/a", "../src/f1", "../src/d0"],
            3 if self.chance(30) => &["../src/d0", "../src/nowhere", "../src/d1/a"],
            2 => &["../src/./d0/", "../src/d1"],
            _ => &["../src/"],
        };
        let route = self.route();
        let to = match self.below(40) {
            0..3 => "dst/below/",
            3 => "dst",
            4 => "dst/d0",
            _ => "dst/",
        };
        Step { source, beside, options, from, to, route, clock: 1_400_000_000 + self.below(100_000_000) }
    }

    fn route(&mut self) -> Route {
        let pairs = [
            ends(Program::Ours, Program::Ours),
            ends(Program::Ours, Program::Reference),
            ends(Program::Reference, Program::Ours),
        ];
        let pair = self.pick(&pairs);
        match self.below(3) {
            0 => Route::Local,
            1 => Route::Push(pair),
            _ => Route::Pull(pair),
        }
    }

    fn filters(&mut self) -> Vec<String> {
        let how = [
            "--exclude=",
            "--include=",
            "--filter=P_",
            "--filter=H_",
            "--filter=R_",
            "--filter=S_",
            "--filter=-s_",
            "--filter=-r_",
            "--filter=-!_",
            "--filter=-p_",
            "--filter=+/_",
        ];
        let mut filters: Vec<String> =
            (0..1 + self.below(3)).map(|_| format!("{}{}", self.pick(&how), self.pick(PATTERNS))).collect();
        match self.below(9) {
            0 => filters.push("-F".into()),
            1 => filters.push(format!("--filter=:_{PER_DIR}")),
            2 => filters.insert(0, format!("--filter=dir-merge,e_{PER_DIR}")),
            3 => filters.push("-C".into()),
            // no name that may be a pipe's: the reference waits for what is in it
            4 => filters.insert(0, self.pick(&["-FF", "--filter=:n_.rules", "--filter=.s_rules"]).into()),
            5 => filters.push(self.pick(&["--exclude-from=rules", "--include-from=rules", "--filter=._rules"]).into()),
            _ => {}
        }
        filters.retain(|filter| !filter.contains(' '));
        filters
    }

    fn listed_name(&mut self) -> String {
        let tail = self.pick(&["", "", "", "/", "/."]);
        let head = self.pick(&["", "", "", "/", "./"]);
        format!("'{head}{}{tail}'", self.below_top())
    }

    /// A path below the top of a tree.
    fn below_top(&mut self) -> String {
        match self.pick(DIRS) {
            "" => self.pick(NAMES).into(),
            dir => format!("{dir}/{}", self.pick(NAMES)),
        }
    }

    /// A line of shell that changes something in a tree; `mk` makes a directory whatever is in its place.
    fn change(&mut self, top: &str, only_new: bool) -> String {
        let dir = format!("'{top}/{}'", self.pick(DIRS));
        let (path, other) = (format!("{dir}/'{}'", self.pick(NAMES)), format!("'{top}/{}'", self.below_top()));
        let (size, seed) = (self.pick(&[0, 1, 30, 300, 3_000, 30_000]), self.below(50));
        let new = format!("mk {dir}; rm -rf {path}; seq {seed} {} >{path}", seed + size);
        let line = match if only_new { self.below(5) } else { self.below(25) } {
            0..=3 => new,
            4 => format!("mk {dir}; ln -sfn '{}' {path}", self.pick(TARGETS)),
            5 => format!("rm -rf {path}"),
            // writing into a pipe would wait for a reader
            6 => format!("[ -p {path} ] || seq {seed} {} >>{path}", seed + size),
            7 => {
                format!("[ -f {path} ] && printf changed | dd of={path} bs=1 seek={} conv=notrunc", self.below(20_000))
            }
            8 => format!("[ -f {path} ] && truncate -s {} {path}", self.below(30_000)),
            9 => format!("mk {dir}; [ -e {other} ] && mv -T {other} {path}"),
            // a directory that its owner may write to but not read ends with all three bits there, without privilege
            10 if self.chance(15) => format!("[ -d {path} ] || chmod 600 {path}"),
            10 => format!("chmod {} {path}", self.pick(&["700", "755", "u+s", "g-r", "770"])),
            11 if is_root() => format!("chown -h {}:{} {path}", self.below(3), self.below(4)),
            11 | 12 => format!("touch -h -d @{} {path}", 1_300_000_000 + self.below(9_999)),
            13 | 14 => format!("mk {dir}; [ -d {other} ] || ln -f {other} {path}"),
            15 => format!("[ -d {other} ] && {{ rm -rf {other}; echo was a directory >{other}; }}"),
            16 => format!("[ -f {other} ] && mk {other} && echo was a file >{other}/new"),
            17 => format!("mv {dir} '{top}/{}'", self.pick(&["d0", "d1", "d2", "moved"])),
            18 => format!(
                "mk {dir}; rm -rf {path}; truncate -s 300K {path}; printf x | dd of={path} bs=1 seek=150000 conv=notrunc"
            ),
            19 => format!("mk {dir}; rm -rf {path}; mkfifo {path}"),
            20 => format!(
                "mk {dir}; printf '%s\\n' '- {}' '+ {}' >{dir}/{PER_DIR}",
                self.pick(PATTERNS),
                self.pick(PATTERNS)
            ),
            21 => format!("mk {dir}; echo '- {}' >{dir}/.rsync-filter", self.pick(PATTERNS)),
            22 => format!("mk {dir}/empty/emptier"),
            // as long as before, and as old
            23 => format!(
                "[ -f {path} ] && {{ touch -r {path} stamp; printf X | dd of={path} bs=1 conv=notrunc; touch -r stamp {path}; rm stamp; }}"
            ),
            _ => format!("chmod {} {dir}", self.pick(&["755", "700", "750", "2755"])),
        };
        let settled =
            if top == "src" { String::new() } else { format!("; touch -h -d @{} {path}", 1_350_000_000 + seed) };
        line + &settled
    }
}
