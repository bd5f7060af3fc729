//! The house rules that no compiler checks: imports only go down, `unsafe` and paths stay in their rooms, files stay
//! readable.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The floors from the top down; rooms of one floor know nothing of each other.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["lib"],
    &["cli"],
    &["client", "daemon"],
    &["server"],
    &["session"],
    &["role"],
    &["report"],
    &["flist", "dest"],
    &["meta", "filter", "delta", "transport"],
    &["proto", "log"],
    &["options", "wire", "fs"],
    &["sys", "text", "hash", "compress", "error"],
];

/// Sideways and upward uses that are meant, each with its reason.
const MEANT: &[(&str, &str, &str)] = &[
    ("hash", "sys", "which wide instructions the processor has is the system's to say"),
    ("text", "sys", "how the environment writes numbers is the system's to say"),
    ("dest", "flist", "what is to be made is described by its entry"),
];

/// Files that may be longer than the rest: tables of data.
const LONG: &[&str] = &["flags.rs", "table.rs"];
const LONGEST_FILE: usize = 800;

/// Where something outside a root handle is opened on purpose.
const OPENS_BY_PATH: &[(&str, &str)] = &[
    ("log/trace.rs", "the trace goes where its user says"),
    ("options/glob.rs", "wildcards are expanded where a shell would have done it, before there is a root"),
    ("options/parse.rs", "alias files have fixed names"),
    ("options/check.rs", "the directory that munged links must not lead to is asked for by name"),
    ("dest/target.rs", "what the destination argument names is found before there is a root"),
];

struct Source {
    /// Path below `src/`.
    path: String,
    room: String,
    /// Without what follows the unit tests' mark, and without comments.
    code: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    let mut sources: Vec<Source> = files.iter().map(|file| read(&src, file)).collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 20, "where is the source?");
    sources
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("source directory") {
        let path = entry.expect("source directory").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(src: &Path, file: &Path) -> Source {
    let text = fs::read_to_string(file).expect("source file");
    let path = file.strip_prefix(src).expect("below src").to_string_lossy().into_owned();
    let room = path.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_string();
    let lines = text.lines().count();
    // Whole files of tests are named so.
    let tests_only = path.ends_with("tests.rs");
    let body = if tests_only { "" } else { text.split("#[cfg(test)]").next().unwrap_or_default() };
    let code: String =
        body.lines().map(|line| line.split("//").next().unwrap_or_default()).fold(String::new(), |mut code, line| {
            code.push_str(line);
            code.push('\n');
            code
        });
    Source { path, room, code, lines }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The rooms named in `crate::x` paths and in `use crate::{x, y::z}` groups.
fn rooms_used(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue; // a macro's own path
        }
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(heads(group)),
            None => rooms.push(head(rest)),
        }
    }
    rooms
}

fn head(path: &str) -> String {
    path.chars().take_while(|&c| c.is_alphanumeric() || c == '_').collect()
}

/// The first names of the paths in a group whose opening brace was taken off.
fn heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut start) = (1, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            let name = head(group[start..at].trim_start());
            heads.extend((!name.is_empty()).then_some(name));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

#[test]
fn imports_only_go_down() {
    let mut wrong = Vec::new();
    let mut needed = vec![false; MEANT.len()];
    for source in sources() {
        let Some(here) = floor(&source.room) else {
            wrong.push(format!("{}: the room `{}` stands on no floor", source.path, source.room));
            continue;
        };
        if source.room == "lib" || source.room == "main" {
            continue;
        }
        for used in rooms_used(&source.code) {
            // Macros stand at the crate's root; they are text's.
            let used = if used == "bytes" { "text".to_string() } else { used };
            let Some(there) = floor(&used) else {
                wrong.push(format!("{}: uses `crate::{used}`, which stands on no floor", source.path));
                continue;
            };
            if used == source.room || there > here {
                continue;
            }
            let meant = MEANT.iter().position(|(from, to, _)| (*from, *to) == (&source.room, &used));
            if let Some(meant) = meant {
                needed[meant] = true;
            } else {
                wrong.push(format!("{}: uses {used}, which is not below {}", source.path, source.room));
            }
        }
    }
    wrong.dedup();
    for (meant, needed) in MEANT.iter().zip(needed) {
        if !needed {
            wrong.push(format!("{meant:?} is an exception that nobody needs"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_sys_is_unsafe() {
    let marks = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "(unsafe_code)"];
    let mut wrong = Vec::new();
    for source in sources() {
        if source.room != "sys" && marks.iter().any(|mark| source.code.contains(mark)) {
            wrong.push(source.path);
        }
    }
    assert!(wrong.is_empty(), "`unsafe` outside sys: {wrong:?}");
}

#[test]
fn every_unsafe_block_says_why() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sys");
    let mut files = Vec::new();
    collect(&src, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("source file");
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let opens = line.contains("unsafe {") || line.trim_start().starts_with("unsafe impl");
            let said = lines[at.saturating_sub(6)..=at].iter().any(|line| line.contains("SAFETY:"));
            if opens && !said {
                wrong.push(format!("{}:{}", file.display(), at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "no SAFETY: before\n{}", wrong.join("\n"));
}

#[test]
fn trees_are_opened_through_their_roots() {
    let mut wrong = BTreeMap::new();
    for source in sources() {
        let allowed =
            matches!(source.room.as_str(), "sys" | "fs") || OPENS_BY_PATH.iter().any(|(path, _)| source.path == *path);
        let by_path = [
            "File::open",
            "File::create",
            "OpenOptions",
            "fs::read",
            "fs::write(",
            "fs::metadata",
            "fs::symlink_metadata",
            "fs::create_dir",
            "fs::remove",
            "fs::rename",
            "set_current_dir",
        ];
        let found: Vec<&str> = by_path.into_iter().filter(|call| source.code.contains(call)).collect();
        if !allowed && !found.is_empty() {
            wrong.insert(source.path, found);
        }
    }
    assert!(wrong.is_empty(), "opened by path outside sys and fs: {wrong:#?}");
}

#[test]
fn files_stay_readable() {
    let mut wrong = Vec::new();
    for source in sources() {
        let name = source.path.rsplit('/').next().unwrap_or_default();
        if source.lines > LONGEST_FILE && !LONG.contains(&name) {
            wrong.push(format!("{}: {} lines", source.path, source.lines));
        }
    }
    assert!(wrong.is_empty(), "over {LONGEST_FILE} lines:\n{}", wrong.join("\n"));
}

#[test]
fn no_room_for_everything() {
    for source in sources() {
        for part in source.path.trim_end_matches(".rs").split('/') {
            let vague = ["common", "util", "utils", "core", "shared", "helper", "helpers", "misc"];
            assert!(!vague.contains(&part), "{}: `{part}` is no noun of the field", source.path);
        }
    }
}

#[test]
fn nothing_is_left_undone() {
    let mut wrong = Vec::new();
    for source in sources() {
        for mark in ["todo!(", "unimplemented!(", ".unwrap()", ".expect(\"", "#[ignore]"] {
            if source.code.contains(mark) {
                wrong.push(format!("{}: {mark}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_reads_groups() {
    let code =
        "use crate::{bytes, log::{Log, Sink}, text::escape};\nlet x = crate::wire::Reader::new(); $crate::text::Put";
    assert_eq!(rooms_used(code), ["bytes", "log", "text", "wire"]);
}
