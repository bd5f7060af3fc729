//! The script beside a batch file: the command line, said again so that it plays the batch back.

use std::os::unix::ffi::OsStrExt;

use super::{Options, target::HostSpec};
use crate::bytes;

/// The script for the words of this run, the program's name first. `rules`: the filter rules as lines, without their
/// ends. C: batch.c write_batch_shell_file
pub fn script(words: &[Vec<u8>], options: &Options, rules: &[Vec<u8>], version: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let Some((program, words)) = words.split_first() else { return out };
    push_word(&mut out, program);
    if !rules.is_empty() {
        out.extend_from_slice(if version >= 29 { b" --filter='._-'" } else { b" --exclude-from='-'" });
    }
    push_options(&mut out, without_arguments(words, options));
    out.extend_from_slice(b" ${1:-");
    let last = options.args.last().map(|arg| arg.as_bytes()).unwrap_or_default();
    let here = HostSpec::parse(last).map(|spec| spec.path);
    push_word(&mut out, here.as_deref().unwrap_or(last));
    out.push(b'}');
    if !rules.is_empty() {
        push_rules(&mut out, rules, options.from0);
    }
    out.push(b'\n');
    out
}

/// The words but for the positional arguments, looked for from the end.
fn without_arguments<'w>(words: &'w [Vec<u8>], options: &Options) -> Vec<&'w [u8]> {
    let mut args = options.args.iter().rev().map(|arg| arg.as_bytes()).peekable();
    let mut left: Vec<_> =
        words.iter().rev().filter(|word| args.next_if(|arg| arg == word).is_none()).map(Vec::as_slice).collect();
    left.reverse();
    left
}

fn push_options(out: &mut Vec<u8>, words: Vec<&[u8]>) {
    const FILTERS: [&[u8]; 4] = [b"--files-from", b"--filter", b"--include", b"--exclude"];
    const WRITES: [&[u8]; 2] = [b"--write-batch", b"--only-write-batch"];
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if FILTERS.iter().any(|filter| word.starts_with(filter)) {
            if !word.contains(&b'=') {
                words.next();
            }
        } else if word == b"-f" {
            words.next();
        } else if let Some(rest) = WRITES.iter().find_map(|writes| word.strip_prefix(*writes)) {
            out.extend_from_slice(b" --read-batch");
            if let Some(name) = rest.strip_prefix(b"=") {
                out.push(b'=');
                push_word(out, name);
            }
        } else {
            out.push(b' ');
            push_word(out, word);
        }
    }
}

/// A word for the shell; the name of an option before its `=` stands outside the quotes. C: batch.c write_arg
fn push_word(out: &mut Vec<u8>, word: &[u8]) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let option = word
        .iter()
        .position(|&byte| byte == b'=')
        .filter(|&end| word.starts_with(b"-") && word.get(..end).is_some_and(|name| name.iter().all(plain)));
    let (option, value) = word.split_at(option.map_or(0, |end| end + 1));
    out.extend_from_slice(option);
    out.push(b'\'');
    for &byte in value {
        if byte == b'\'' {
            out.extend_from_slice(br"'\''");
        } else {
            out.push(byte);
        }
    }
    out.push(b'\'');
}

/// The rules as a here-document. C: batch.c write_filter_rules
fn push_rules(out: &mut Vec<u8>, rules: &[Vec<u8>], nul: bool) {
    out.extend_from_slice(b" <<'#E#'\n");
    for rule in rules {
        out.extend_from_slice(rule);
        out.push(if nul { 0 } else { b'\n' });
    }
    out.extend(bytes![if nul { ";\n" } else { "" }, "#E#"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(words: &[&str], args: &[&str], rules: &[&str], version: u8, from0: bool) -> String {
        let bytes = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let options = Options { args: args.iter().map(Into::into).collect(), from0, ..Options::default() };
        String::from_utf8(script(&bytes(words), &options, &bytes(rules), version)).unwrap()
    }

    #[test]
    fn the_command_line_is_said_again() {
        let words = ["rsync", "-a", "--write-batch=B", "--checksum-seed=5", "src/", "h:d t"];
        let expected = "'rsync' '-a' --read-batch='B' --checksum-seed='5' ${1:-'d t'}\n";
        assert_eq!(made(&words, &["src/", "h:d t"], &[], 32, false), expected);
        let words = ["rsync", "--only-write-batch", "B", "-e", "sh it's", "s", "d"];
        let expected = "'rsync' --read-batch 'B' '-e' 'sh it'\\''s' ${1:-'d'}\n";
        assert_eq!(made(&words, &["s", "d"], &[], 32, false), expected);
    }

    #[test]
    fn metacharacters_stay_quoted() {
        let words = ["rsync", "--write-batch=B", "src/", "--", "-x$(>P)=y/"];
        let expected = "'rsync' --read-batch='B' '--' ${1:-'-x$(>P)=y/'}\n";
        assert_eq!(made(&words, &["src/", "-x$(>P)=y/"], &[], 32, false), expected);
    }

    #[test]
    fn rules_stand_below() {
        let words = ["rsync", "--exclude=x", "-f", "- y", "--filter", "- z", "--write-batch=B", "s", "d"];
        let expected = "'rsync' --filter='._-' --read-batch='B' ${1:-'d'} <<'#E#'\n- x\n- y\n#E#\n";
        assert_eq!(made(&words, &["s", "d"], &["- x", "- y"], 32, false), expected);
        let expected = "'rsync' --exclude-from='-' --read-batch='B' ${1:-'d'} <<'#E#'\n- x\0;\n#E#\n";
        assert_eq!(made(&words, &["s", "d"], &["- x"], 28, true), expected);
    }
}
