//! The walk over real trees: what is listed, what is said, what is counted as an error.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{Arc, Mutex},
};

use super::{Entry, Flags, Segment, build::Walker, io_error};
use crate::{
    error::Result,
    filter::Filters,
    log::{Log, LogCode, Sink, Speaker},
    options::{Dirs, Levels, Options},
    proto::{Compat, Protocol},
    text::mode::Chmod,
};

#[derive(Default)]
struct Heard(Mutex<String>);

impl Sink for Heard {
    fn line(&self, code: LogCode, line: &[u8]) {
        let line = format!("{code:?}: {}", String::from_utf8_lossy(line));
        self.0.lock().unwrap().push_str(&line);
    }
}

struct Walked {
    segments: Vec<Arc<Segment>>,
    said: String,
    io_error: i32,
    walker: Walker,
}

fn protocol(inc_recurse: bool) -> Protocol {
    Protocol { compat: Compat { inc_recurse, ..Compat::default() }, ..Protocol::plain(32) }
}

fn recursive() -> Options {
    Options { dirs: Dirs::Recurse, links: true, implied_dirs: true, ..Options::default() }
}

/// Arguments are taken below `root`; `{}` in what was said stands for it.
fn walk(root: &Path, args: &[&str], options: &Options, inc_recurse: bool) -> Result<Walked> {
    walk_with(root, args, options, inc_recurse, None)
}

fn walk_with(root: &Path, args: &[&str], options: &Options, inc: bool, chmod: Option<Chmod>) -> Result<Walked> {
    let heard = Arc::new(Heard::default());
    let log = Log::new(Levels::default(), heard.clone(), Speaker::Sender);
    let args = args.iter().map(|arg| format!("{}/{arg}", root.display()).into_bytes());
    let mut walker = Walker::new(options, &protocol(inc), chmod, args, Filters::from_options(options, &log)?, &log)?;
    let mut segments = Vec::new();
    loop {
        let mut segment = walker.begin();
        while walker.step(&mut segment)? {}
        segments.push(walker.finish(segment)?);
        if walker.next_dir().is_none() {
            break;
        }
    }
    let said = heard.0.lock().unwrap().replace(&root.display().to_string(), "{}");
    Ok(Walked { segments, said, io_error: walker.io_error(), walker })
}

impl Walked {
    fn paths(&self) -> Vec<Vec<String>> {
        let path = |(_, entry): (i32, Entry<'_>)| String::from_utf8_lossy(&entry.path()).into_owned();
        self.segments.iter().map(|segment| segment.entries().map(path).collect()).collect()
    }

    fn entry(&self, path: &str) -> Entry<'_> {
        let mut all = self.segments.iter().flat_map(|segment| segment.entries());
        all.find(|(_, entry)| entry.path() == path.as_bytes()).unwrap().1
    }
}

fn tree() -> (tempfile::TempDir, std::path::PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    for dir in ["src/sub/deep", "src/empty", "outside/in"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for file in ["src/a", "src/sub/b", "src/sub/deep/c", "outside/in/d"] {
        fs::write(root.join(file), file).unwrap();
    }
    symlink("../outside", root.join("src/out")).unwrap();
    symlink("sub", root.join("src/inner")).unwrap();
    symlink("nowhere", root.join("src/dangling")).unwrap();
    (temp, root)
}

#[test]
fn a_tree_comes_whole_or_directory_by_directory() {
    let (_temp, root) = tree();
    let whole = walk(&root, &["src/"], &recursive(), false).unwrap();
    let expected = [".", "a", "dangling", "inner", "out", "empty", "sub", "sub/b", "sub/deep", "sub/deep/c"];
    assert_eq!(whole.paths(), [expected.map(String::from).to_vec()]);
    assert_eq!(whole.entry("dangling").link_target(), b"nowhere");

    let pieces = walk(&root, &["src/"], &recursive(), true).unwrap();
    let names: Vec<Vec<String>> =
        [&[".", "a", "dangling", "inner", "out", "empty", "sub"][..], &[], &["sub/b", "sub/deep"], &["sub/deep/c"]]
            .map(|names| names.iter().map(|&name| name.to_owned()).collect())
            .to_vec();
    assert_eq!(pieces.paths(), names);
    let numbers: Vec<_> = pieces.segments.iter().map(|s| (s.first_index, s.parent, s.len())).collect();
    assert_eq!(numbers, [(1, 0, 7), (9, 1, 0), (10, 2, 2), (13, 3, 1)]);
    let parents: Vec<_> = pieces.segments.iter().map(|s| s.parent_entry().unwrap().path()).collect();
    assert_eq!(parents, [&b"."[..], b"empty", b"sub", b"sub/deep"]);
    let (tree, path) = pieces.walker.sources().of(pieces.entry("sub/deep/c")).unwrap();
    assert_eq!((tree.stat(&path).unwrap().size, path.as_slice()), (14, &b"sub/deep/c"[..]));
    assert_eq!((whole.said.as_str(), pieces.said.as_str()), ("", ""));
}

#[test]
fn directories_of_one_name_are_one_segment() {
    let (_temp, root) = tree();
    fs::create_dir_all(root.join("outside/sub")).unwrap();
    fs::write(root.join("outside/sub/e"), "").unwrap();
    let walked = walk(&root, &["src/", "outside/"], &recursive(), true).unwrap();
    let sub = walked.segments.iter().find(|segment| segment.parent_entry().unwrap().path() == b"sub").unwrap();
    let names: Vec<_> = sub.entries().map(|(_, entry)| entry.path()).collect();
    assert_eq!(names, [&b"sub/b"[..], b"sub/e", b"sub/deep"]);
    assert_ne!(sub.entry(0).source(), sub.entry(1).source());
}

#[test]
fn what_is_missing_is_said() {
    let (_temp, root) = tree();
    let walked = walk(&root, &["src/a", "gone", "gone/x", "src/a/", "src/a/x"], &recursive(), true).unwrap();
    let said = "ErrorXfer: rsync: [sender] link_stat \"{}/gone\" failed: No such file or directory (2)\n\
                ErrorXfer: rsync: [sender] change_dir \"{}/gone\" failed: No such file or directory (2)\n\
                ErrorXfer: rsync: [sender] change_dir \"{}/src/a\" failed: Not a directory (20)\n\
                ErrorXfer: rsync: [sender] change_dir \"{}/src/a\" failed: Not a directory (20)\n";
    assert_eq!((walked.said.as_str(), walked.io_error), (said, io_error::GENERAL));
    assert_eq!(walked.paths(), [["a"]]);

    let only_missing = walk(&root, &["src/gone"], &recursive(), false).unwrap();
    assert_eq!(only_missing.io_error, 0, "what was never there hides nothing");
    let ignore = Options { ignore_missing_args: true, ..recursive() };
    let walked = walk(&root, &["src/gone"], &ignore, true).unwrap();
    assert_eq!((walked.said.as_str(), walked.io_error), ("", 0));
    let delete = Options { delete_missing_args: true, ..ignore };
    let walked = walk(&root, &["src/gone"], &delete, true).unwrap();
    assert_eq!((walked.said.as_str(), walked.entry("gone").mode()), ("", 0));
}

#[test]
fn directories_need_an_option() {
    let (_temp, root) = tree();
    let files = Options { links: true, ..Options::default() };
    let walked = walk(&root, &["src", "src/a", "src/inner"], &files, true).unwrap();
    assert_eq!(walked.said, "Info: skipping directory src\n");
    assert_eq!(walked.paths(), [["a", "inner"]]);
    let listed = Options { dirs: Dirs::List, ..files };
    let walked = walk(&root, &["src/sub", "src/sub/"], &listed, false).unwrap();
    assert_eq!(walked.paths(), [[".", "b", "deep", "sub"]]);
    assert!(!walked.entry("deep").flags().has(Flags::CONTENT_DIR));
}

#[test]
fn links_are_followed_as_asked() {
    let (_temp, root) = tree();
    let follow = Options { copy_links: true, ..recursive() };
    let walked = walk(&root, &["src/"], &follow, false).unwrap();
    assert_eq!(walked.said, "ErrorXfer: symlink has no referent: \"{}/src/dangling\"\n");
    assert!(walked.entry("out/in/d").is_file() && walked.entry("inner/deep/c").is_file());

    let dirs = Options { copy_dirlinks: true, ..recursive() };
    let walked = walk(&root, &["src/"], &dirs, true).unwrap();
    assert!(walked.entry("out/in/d").is_file() && walked.entry("dangling").is_symlink());

    let unsafe_links = Options { copy_unsafe_links: true, ..recursive() };
    let walked = walk(&root, &["src/"], &unsafe_links, false).unwrap();
    assert!(walked.entry("out/in").is_dir() && walked.entry("inner").is_symlink());
}

#[test]
fn the_users_own_path_may_lead_over_links() {
    let (_temp, root) = tree();
    let relative = Options { relative: true, ..recursive() };
    for inc_recurse in [false, true] {
        let walked = walk(&root, &["src/./out/in"], &relative, inc_recurse).unwrap();
        assert_eq!(walked.said, "");
        let (tree, path) = walked.walker.sources().of(walked.entry("out/in/d")).unwrap();
        assert_eq!(tree.stat(&path).unwrap().size, 12);
        assert!(walked.entry("out").is_dir() && walked.entry("out").flags().has(Flags::IMPLIED_DIR));
    }
    let walked = walk(&root, &["src/./out/"], &relative, true).unwrap();
    assert_eq!((walked.said.as_str(), walked.entry("out/in/d").size()), ("", 12));
}

#[test]
fn relative_names_bring_their_directories() {
    let (_temp, root) = tree();
    let relative = Options { relative: true, ..recursive() };
    let args = ["./src/sub/deep", "./src/a", "./src/sub/b", "./outside/in/d"];
    let whole = walk(&root, &args, &relative, false).unwrap();
    let expected = [
        "outside",
        "outside/in",
        "outside/in/d",
        "src",
        "src",
        "src/a",
        "src/sub",
        "src/sub",
        "src/sub/b",
        "src/sub/deep",
    ];
    let mut paths = whole.paths().concat();
    paths.retain(|path| path != "src/sub/deep/c");
    paths.dedup();
    let mut wanted = expected.to_vec();
    wanted.dedup();
    assert_eq!(paths, wanted);
    let pieces = walk(&root, &args, &relative, true).unwrap();
    let mut found = pieces.paths().concat();
    found.sort();
    found.dedup();
    let mut all = whole.paths().concat();
    all.sort();
    all.dedup();
    assert_eq!(found, all);
    assert!(pieces.entry("src/sub/deep").flags().has(Flags::TOP_DIR));
    assert!(pieces.entry("src").flags().has(Flags::IMPLIED_DIR));
}

#[test]
fn attributes_are_changed_on_the_way() {
    let (_temp, root) = tree();
    symlink("/rsyncd-munged//etc/passwd", root.join("src/munged")).unwrap();
    let options = Options { munge_links: true, checksum: true, ..recursive() };
    let chmod = Chmod::parse(b"D700,F604", 0).unwrap();
    let walked = walk_with(&root, &["src/"], &options, false, Some(chmod)).unwrap();
    assert_eq!(walked.entry("munged").link_target(), b"/etc/passwd");
    assert_eq!((walked.entry("a").mode() & 0o777, walked.entry("sub").mode() & 0o777), (0o604, 0o700));
    let sum = walked.entry("a").sum().unwrap();
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "4d0f5effcc3995dfc3e7c12a5c736ffc", "md5 of src/a");
    assert_eq!(walked.entry("sub").sum(), None);
}

#[test]
fn what_may_not_be_read_is_said() {
    use std::os::unix::fs::PermissionsExt;
    if nix::unistd::geteuid().is_root() {
        println!("skipped: root may read everything");
        return;
    }
    let (_temp, root) = tree();
    let close = |path: &str, mode| fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    close("src/sub", 0o000);
    close("src/empty", 0o600);
    close("outside", 0o400);
    let walked = walk(&root, &["src", "outside", "outside/in"], &recursive(), true).unwrap();
    close("src/sub", 0o700);
    close("src/empty", 0o700);
    close("outside", 0o700);
    let said = "ErrorXfer: rsync: [sender] change_dir \"{}/outside\" failed: Permission denied (13)\n\
                ErrorXfer: rsync: [sender] opendir \"{}/outside\" failed: Permission denied (13)\n\
                ErrorXfer: rsync: [sender] opendir \"{}/src/empty\" failed: Permission denied (13)\n\
                ErrorXfer: rsync: [sender] opendir \"{}/src/sub\" failed: Permission denied (13)\n";
    assert_eq!((walked.said.as_str(), walked.io_error), (said, io_error::GENERAL));
}

#[test]
fn more_sources_than_may_be_open() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    let args: Vec<String> = (0..2000).map(|number| format!("d{number}/f{number}")).collect();
    for arg in &args {
        fs::create_dir(root.join(arg).parent().unwrap()).unwrap();
        fs::write(root.join(arg), arg).unwrap();
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let walked = walk(&root, &args, &recursive(), true).unwrap();
    assert_eq!((walked.segments[0].len(), walked.said.as_str()), (2000, ""));
    for (_, entry) in walked.segments[0].entries() {
        let (tree, path) = walked.walker.sources().of(entry).unwrap();
        assert_eq!(tree.stat(&path).unwrap().size, entry.size());
    }
}
