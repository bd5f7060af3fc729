//! Taking from a program's output what must differ between two runs, and nothing else.

use std::path::Path;

/// Lines that come and go between two runs of the reference, or tell of its own memory.
const FLEETING: &[&str] = &[
    // It says goodbye to a peer that may have left already, or goes on sending to one that has refused.
    "] write error: Broken pipe (32)\n",
    "rsync error: error in socket IO (code 10)",
    "] expand ",
    // Of its processes the one that fails kills the others.
    "rsync error: received SIGUSR1 (code 19)",
];

/// Replaces the `names` that are each run's own, byte counts, speeds and source positions. Lines are sorted unless
/// their order counts.
pub fn blur(text: &[u8], names: &[(&Path, &str)], ordered: bool) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let mut lines: Vec<String> = text
        .split_inclusive('\n')
        .filter(|line| !FLEETING.iter().any(|fleeting| line.contains(fleeting)))
        .map(|line| {
            let line = names.iter().fold(line.to_string(), |line, (path, name)| renamed(&line, path, name));
            let line = without_traffic(&line);
            let line = without_list_times(&line);
            let line = without_progress_clock(&line);
            let line = without_heap(&line);
            let line = without_process(&line);
            let line = without_places(&line);
            let line = without_temporary(&line);
            without_position(&line)
        })
        .collect();
    if !ordered {
        lines.sort();
    }
    lines
}

/// The lines of a log file without `2026/11/24 19:30:15 [123] ` in front; one that begins otherwise stays as it is.
pub fn without_stamps(log: &[u8]) -> Vec<u8> {
    let unstamped = |line: &[u8]| {
        let (stamp, rest) = line.split_at_checked("2026/11/24 19:30:15 [".len())?;
        let shape: Vec<u8> = stamp.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect();
        let number = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = rest.get(number..)?.strip_prefix(b"] ")?;
        (shape == b"0000/00/00 00:00:00 [" && number > 0).then(|| text.to_vec())
    };
    let lines = log.split_inclusive(|&byte| byte == b'\n');
    lines.flat_map(|line| unstamped(line).unwrap_or_else(|| [b"unstamped: ", line].concat())).collect()
}

/// A path under another name; `SITE/r00` and `SITE/o00` are the same place.
fn renamed(line: &str, path: &Path, name: &str) -> String {
    let path = path.display().to_string();
    let mut parts = line.split(&path);
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let run = matches!(part.as_bytes(), [b'/', b'r' | b'o', b'0'..=b'9', b'0'..=b'9', ..]);
        out.push_str(name);
        out.push_str(if run { &part[4..] } else { part });
    }
    out
}

/// `sent N bytes  received N bytes  N bytes/sec`, the ratio that follows from it, and the totals of `--stats`.
fn without_traffic(line: &str) -> String {
    if line.starts_with("sent ") && line.ends_with(" bytes/sec\n") {
        return "sent @ bytes  received @ bytes  @ bytes/sec\n".into();
    }
    if let Some((head, size)) = line.split_once("  total size ")
        && head.starts_with("sent ")
    {
        return format!("sent @ bytes  received @ bytes  total size {size}");
    }
    if let Some((size, rest)) = line.split_once("  speedup is ") {
        let note = rest.find(" (").map_or("\n", |at| &rest[at..]);
        return format!("{size}  speedup is @{note}");
    }
    for title in ["Total bytes sent: ", "Total bytes received: ", "File list size: "] {
        if line.starts_with(title) {
            return format!("{title}@\n");
        }
    }
    line.to_string()
}

/// Times in `--stats`; the reference leaves both lines out when the list took less than a millisecond.
fn without_list_times(line: &str) -> String {
    if line.starts_with("File list generation time: ") || line.starts_with("File list transfer time: ") {
        String::new()
    } else {
        line.to_string()
    }
}

/// `rsync[123] (sender) heap statistics:` and the numbers below it (`--info=stats3`).
fn without_heap(line: &str) -> String {
    let described =
        [" from sbrk)", " not in use)", "fastbin blocks)", " from mmap)", "(always 0)", "(bytes ", " chunk)"];
    match line.split_once("] (") {
        Some((head, tail)) if head.starts_with("rsync[") && tail.ends_with("heap statistics:\n") => {
            return format!("rsync[@] ({tail}");
        }
        _ => {}
    }
    let (title, rest) = line.split_once(':').unwrap_or(("", line));
    let value = rest.split_once("   (");
    match value {
        Some((_, note))
            if title.starts_with("  ") && described.iter().any(|word| format!("({note}").contains(word)) =>
        {
            format!("{title}: @ ({note}")
        }
        _ => line.to_string(),
    }
}

/// Rate and time in `\r   1,234  50%    1.23MB/s    0:00:01 (xfr#1, to-chk=0/1)`.
fn without_progress_clock(line: &str) -> String {
    let blurred = |part: &str| -> Option<String> {
        let (done, rest) = part.split_once("% ")?;
        let at = rest.find("B/s ")?;
        let counts = rest[at..].find(" (").map_or("", |paren| &rest[at + paren..]);
        let end = if counts.is_empty() && rest.ends_with('\n') { "\n" } else { counts };
        Some(format!("{done}% @{end}"))
    };
    if !line.contains("B/s ") {
        return line.to_string();
    }
    // What is said once a second on the way depends on how long it takes.
    let on_the_way = |part: &String| part.ends_with("% @") && !part.ends_with(" 0% @") && !part.ends_with("100% @");
    let parts = line.split('\r').map(|part| blurred(part).unwrap_or_else(|| part.to_string()));
    parts.filter(|part| !on_the_way(part)).collect::<Vec<_>>().join("\r")
}

/// `starting pid=123`, `client_run waiting on 123` at the end of a line.
fn without_process(line: &str) -> String {
    let ends = [" starting pid=", "client_run waiting on ", "client_run2 waiting on "];
    let found = ends.iter().find_map(|end| line.find(end).map(|at| at + end.len()));
    found.map_or_else(|| line.to_string(), |at| format!("{}@\n", &line[..at]))
}

/// `[sender] created hashtable 55d0c8 (size: …`, `[sender] safe_read(5)=4`, `FILE_STRUCT_LEN=24, EXTRA_LEN=4`: memory and
/// descriptors are each program's own.
fn without_places(line: &str) -> String {
    if line.starts_with("FILE_STRUCT_LEN=") {
        return "FILE_STRUCT_LEN=@, EXTRA_LEN=@\n".into();
    }
    for (before, after) in [("] safe_read(", ")="), ("table ", " (size: "), ("io_start_multiplex_", ")\n")] {
        if line.starts_with('[')
            && let Some((head, tail)) = line.split_once(before)
            && let Some((_, tail)) = tail.split_once(after)
        {
            return format!("{head}{before}@{after}{tail}");
        }
    }
    line.to_string()
}

/// `set uid of dir/.name.Ab12Cd from`, `renaming dir/.name.Ab12Cd to dir/name`, `copy_file "…" => dir/.name.Ab12Cd: …`,
/// `mkstemp "dir/.name.Ab12Cd" failed: …`, `set_acl: xacl_set(dir/.name.Ab12Cd, …`;
/// the reference does not name what it could not look for.
fn without_temporary(line: &str) -> String {
    if let Some((head, tail)) = line.split_once("] mkstemp \"")
        && let Some((name, reason)) = tail.split_once("\" failed: ")
        && let Some((stem, _)) = name.rsplit_once('.')
    {
        return format!("{head}] mkstemp \"{stem}.@\" failed: {reason}");
    }
    if let Some((head, tail)) = line.split_once("] copy_file ")
        && let Some((from, to)) = tail.split_once(" => ")
        && let Some((name, reason)) = to.split_once(": ")
        && let Some((stem, _)) = name.rsplit_once('.')
    {
        return format!("{head}] copy_file {from} => {stem}.@: {reason}");
    }
    if let Some((head, tail)) = line.split_once("] rename \"")
        && let Some((from, to)) = tail.split_once("\" -> \"")
        && let Some((stem, _)) = from.rsplit_once('.')
    {
        return format!("{head}] rename \"{stem}.@\" -> \"{to}");
    }
    let pairs =
        [("setxattr(\"", "\",\""), ("xacl_set(", ", ACL_TYPE_"), ("set uid of ", " from "), ("set gid of ", " from ")];
    for (before, after) in pairs {
        if let Some((head, tail)) = line.split_once(before)
            && let Some((name, rest)) = tail.split_once(after)
            && let Some(stem) = stem_of_temporary(name)
        {
            return format!("{head}{before}{stem}.@{after}{rest}");
        }
    }
    match line.strip_prefix("renaming ").and_then(|rest| rest.split_once(" to ")) {
        Some((_, name)) => format!("renaming @ to {name}"),
        None => line.to_string(),
    }
}

/// `dir/.name` of `dir/.name.Ab12Cd`.
fn stem_of_temporary(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    let (stem, random) = path.rsplit_once('.')?;
    let is_temporary =
        name.starts_with('.') && random.len() == 6 && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_temporary.then_some(stem)
}

/// `_exit_cleanup(code=0, file=main.c, line=123): …`, and the closing line's `at main.c(123) [sender=3.5.0]`: the position is each program's own.
fn without_position(line: &str) -> String {
    if let Some((head, rest)) = line.split_once(", file=") {
        return format!("{head}{}", rest.find("): ").map_or("", |at| &rest[at..]));
    }
    if let Some((head, _)) = line.split_once(" setting (file=") {
        return format!("{head} setting (file=@)\n");
    }
    let parts = line.split_once(") at ").and_then(|(head, rest)| Some((head, rest.split_once(") [")?.1)));
    match parts {
        Some((head, tail)) if head.contains("(code ") => format!("{head}) at @ [{tail}"),
        _ => line.to_string(),
    }
}

/// The first lines that differ, and what is missing or too much.
pub fn line_difference(reference: &[String], ours: &[String]) -> Option<String> {
    let reference: Vec<&String> = reference.iter().filter(|line| !line.is_empty()).collect();
    let ours: Vec<&String> = ours.iter().filter(|line| !line.is_empty()).collect();
    if reference == ours {
        return None;
    }
    let same = reference.iter().zip(&ours).take_while(|(theirs, mine)| theirs == mine).count();
    let excerpt = |mark: &str, lines: &[&String]| -> String {
        let rest = &lines[same.min(lines.len())..];
        let mut text: String = rest.iter().take(6).map(|line| format!("    {mark} {line:?}\n")).collect();
        if rest.len() > 6 {
            text.push_str(&format!("    {mark} … {} lines in all\n", lines.len()));
        }
        if rest.is_empty() {
            text.push_str(&format!("    {mark} (nothing more)\n"));
        }
        text
    };
    let context = same.checked_sub(1).map_or(String::new(), |at| format!("      after {:?}\n", reference[at]));
    Some(format!("{context}{}{}", excerpt("reference", &reference), excerpt("ours     ", &ours)))
}

/// The byte counts of the closing lines, where there are any.
pub fn traffic(stdout: &[u8]) -> Option<(u64, u64)> {
    let text = String::from_utf8_lossy(stdout);
    let line = text.lines().rfind(|line| line.starts_with("sent ") && line.ends_with(" bytes/sec"))?;
    let mut numbers = line.split("  ").take(2).map(|part| {
        let digits: String = part.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    });
    Some((numbers.next()??, numbers.next()??))
}
