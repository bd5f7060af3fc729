//! The man page and the shells' completions, made from the option table.
//!
//! With `OC_RSYNC_MANUAL` set to a directory the pages are also written there; `scripts/manual` does so.

#[path = "manual/complete.rs"]
mod complete;
#[path = "manual/page.rs"]
mod page;

#[allow(dead_code)] // only its notes of what was skipped are needed here
#[path = "harness/programs.rs"]
mod programs;

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use oc_rsync::options::flags::{Act, FLAGS, Flag, Group, Special};

/// Whether users type it: not what programs say to each other, and not the names of the daemon's table.
fn is_for_users(flag: &Flag) -> bool {
    flag.group != Group::Inner && !matches!(flag.act, Act::Special(Special::Daemon))
}

/// The name under which `options.txt` has it.
fn key(flag: &Flag) -> String {
    if flag.long.is_empty() { char::from(flag.short).to_string() } else { flag.long.to_owned() }
}

/// Everything that is made: names and contents.
fn products() -> Vec<(&'static str, String)> {
    vec![
        ("oc-rsync.1", page::man()),
        ("oc-rsync.bash", complete::bash()),
        ("_oc-rsync", complete::zsh()),
        ("oc-rsync.fish", complete::fish()),
    ]
}

fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// What a program says, both streams; `None` where it is not installed.
fn said(program: &str, args: &[&str], stdin: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        programs::skip(program, "not installed");
        return None;
    };
    let mut pipe = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    let feeder = std::thread::spawn(move || pipe.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = feeder.join().unwrap(); // whoever does not read to the end has said why
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn they_are_written_where_asked() {
    let Some(dir) = env::var_os("OC_RSYNC_MANUAL").map(PathBuf::from) else { return };
    fs::create_dir_all(&dir).unwrap();
    for (name, text) in products() {
        fs::write(dir.join(name), text).unwrap();
    }
}

#[test]
fn every_option_has_its_text_and_every_text_its_option() {
    let texts: BTreeSet<String> = page::texts().into_iter().map(|(name, _)| name.to_owned()).collect();
    let flags: BTreeSet<String> = FLAGS.iter().filter(|flag| is_for_users(flag)).map(key).collect();
    assert_eq!(texts, flags);
    assert_eq!(page::texts().len(), texts.len(), "a text stands twice");
}

#[test]
fn the_page_has_every_option() {
    let man = page::man();
    for flag in FLAGS.iter().filter(|flag| is_for_users(flag) && !flag.long.is_empty()) {
        let heading = format!("\\-\\-{}\\fR", flag.long.replace('-', "\\-"));
        let item = man.split(".TP\n").find(|item| item.lines().next().is_some_and(|names| names.contains(&heading)));
        assert!(item.is_some(), "--{} is not in the page", flag.long);
    }
}

#[test]
fn the_page_is_good_roff() {
    let man = page::man();
    if let Some(complaints) = said("groff", &["-man", "-Tutf8", "-ww", "-z"], &man) {
        assert_eq!(complaints, "");
    }
    for line in man.lines() {
        assert!(!line.starts_with('\'') && !line.contains('`') && !line.contains("@OPTIONS"), "{line}");
    }
}

#[test]
fn bash_completes() {
    let file = scratch("completion").join("oc-rsync.bash");
    fs::write(&file, complete::bash()).unwrap();
    let try_out = |words: &str| {
        let script = format!(
            "source '{}'; COMP_WORDS=(oc-rsync {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _oc_rsync; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        said("bash", &["--norc", "-c", &script], "")
    };
    let Some(archive) = try_out("-a --arch") else { return };
    assert_eq!(archive, "--archive\n");
    let bandwidth = try_out("--bw").unwrap();
    assert_eq!(bandwidth, "--bwlimit=\n");
    let negated = try_out("--no-one").unwrap();
    assert_eq!(negated, "--no-one-file-system\n");
}

#[test]
fn zsh_and_fish_read_theirs() {
    let dir = scratch("completion");
    for (shell, name, text) in [("zsh", "_oc-rsync", complete::zsh()), ("fish", "oc-rsync.fish", complete::fish())] {
        let file = dir.join(name);
        fs::write(&file, text).unwrap();
        if let Some(complaints) = said(shell, &["-n", &file.display().to_string()], "") {
            assert_eq!(complaints, "", "{shell}");
        }
    }
}
