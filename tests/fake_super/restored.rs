//! The sending side tells what was kept.

use super::{
    can, each_side,
    harness::{Case, in_each_place, zoo},
    outdated, privileged, tell, telling, told,
};
use std::{fs, os::unix::fs::symlink, path::Path};

fn row(name: &'static str, args: &str) -> Case {
    Case::new(name, args).tree(told)
}

#[test]
fn as_it_was() {
    if !can() {
        return;
    }
    in_each_place(&each_side(&[row("restored", "-ai"), row("restored, all kinds", "-aAXHi")]));
    telling(&[
        row("told", "-avv").unordered(),
        row("a whole list", "-ai --no-inc-recursive"),
        row("a dry run", "-ain"),
        row("listed only", "-a --list-only").to(""),
        row("over what there was", "-aii").before(|top, _| privileged(top)).unordered(),
        row("over others", "-ai --delete").before(|top, _| {
            let real = tempfile::tempdir().unwrap();
            privileged(real.path());
            outdated(top, real.path());
        }),
        row("by checksum", "-aic"),
        row("relative names", "-aiR").from(&["src/./dir/deep", "src/./null", "src/./closed/inside"]),
        row("several arguments", "-ai").from(&["src/null", "src/link", "src/dir"]),
        row("links followed", "-aiL").unordered(),
        row("unsafe links followed", "-ai --copy-unsafe-links").unordered(),
        row("links to directories followed", "-aik"),
        row("safe links", "-ai --safe-links").unordered(),
        row("munged links", "-ai --munge-links"),
        row("no devices", "-ai --no-D").unordered(),
        row("devices as files", "-ai --copy-devices").unordered(),
        row("modes at will", "-ai --chmod=Du+s,Fg-r,o="),
        row("some left out", "-ai --exclude=null --exclude=dir/"),
        row("one file system", "-aix"),
        row("names mapped", "-ai --usermap=1234:99,0:1 --groupmap=*:daemon"),
        row("moved", "-ai --remove-source-files").own_source(),
    ]);
}

#[test]
fn what_is_no_copy_of_a_real_tree() {
    if !can() {
        return;
    }
    fn odd(top: &Path) {
        for (path, text) in [
            ("socket", "140644 0,0 0:0"),
            ("a link without text", "120777 0,0 0:0"),
            ("more digits", "0000100644 00,00 0012:0034 and words"),
            ("blanks", " 100600 0, 0 7:+5"),
            ("device with content", "20600 1,3 1:1"),
        ] {
            let content: &[u8] = if path.starts_with("device") || path.starts_with("more") { b"content" } else { b"" };
            zoo::file(&top.join(path), content);
            tell(&top.join(path), text);
        }
        zoo::file(&top.join("a link with a nul"), b"ab\0cd");
        tell(&top.join("a link with a nul"), "120777 0,0 0:0");
        symlink("blanks", top.join("a real link")).unwrap();
        zoo::set_time(&top.join("a real link"), 1_300_000_000, 0);
        zoo::pipe(&top.join("a real pipe"));
        zoo::set_time(&top.join("a real pipe"), 1_300_000_000, 0);
        fs::create_dir(top.join("d")).unwrap();
        tell(&top.join("d"), "40000 0,0 1:1");
        zoo::file(&top.join("d/f"), b"1");
        fs::hard_link(top.join("socket"), top.join("d/socket")).unwrap();
        zoo::settle_dirs(top);
    }
    telling(&[
        row("odd ones", "-aHi").tree(odd).unordered(),
        row("odd ones, links followed", "-aLi").tree(odd).unordered(),
    ]);
}

#[test]
fn every_protocol() {
    if !can() {
        return;
    }
    for version in ["--protocol=31", "--protocol=30", "--protocol=29"] {
        telling(&[row("a protocol", "-aHi").arg(version).unordered()]);
    }
}
