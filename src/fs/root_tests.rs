//! What a root guarantees, tried on real directories.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::{fs::is_untrusted_link, sys::users};

const RULES: [Follow; 4] = [Follow::Never, Follow::Inside, Follow::Trusted, Follow::Always];

fn open(path: &Path, follow: Follow) -> Root {
    use std::os::unix::ffi::OsStrExt;
    Root::open(path.as_os_str().as_bytes(), follow).unwrap()
}

fn errno<T>(result: io::Result<T>) -> i32 {
    result.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

/// `outside/` beside `tree/`; in the tree `a/b/c/file`.
fn layout() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir_all(temp.path().join("tree/a/b/c")).unwrap();
    fs::create_dir_all(temp.path().join("outside/b/c")).unwrap();
    fs::write(temp.path().join("tree/a/b/c/file"), "inside").unwrap();
    fs::write(temp.path().join("outside/b/c/file"), "outside").unwrap();
    fs::write(temp.path().join("outside/file"), "outside").unwrap();
    temp
}

fn read(root: &Root, rel: &[u8]) -> io::Result<String> {
    let mut text = String::new();
    root.open_read(rel, 0)?.read_to_string(&mut text)?;
    Ok(text)
}

#[path = "link_tests.rs"]
mod links;

#[test]
fn every_operation_does_what_its_name_says() {
    let temp = layout();
    let at = |rel: &str| temp.path().join("tree").join(rel);
    for follow in RULES {
        let root = open(&temp.path().join("tree"), follow);
        root.mkdir(b"a/new", 0o700).unwrap();
        root.create_new(b"a/new/file", 0o600).unwrap().write_all(b"text").unwrap();
        assert_eq!(errno(root.create_new(b"a/new/file", 0o600)), libc::EEXIST);
        root.open_write(b"a/new/file").unwrap().write_all(b"T").unwrap();
        assert_eq!(read(&root, b"a/new/file").unwrap(), "Text");
        root.symlink(b"file", b"a/new/link").unwrap();
        assert_eq!(errno(root.symlink(b"file", b"a/new/link")), libc::EEXIST);
        assert_eq!(root.read_link(b"a/new/link").unwrap(), b"file");
        assert!(root.stat(b"a/new/link").unwrap().is_symlink());
        root.mknod(b"a/new/pipe", libc::S_IFIFO | 0o600, (0, 0)).unwrap();
        assert!(root.stat(b"a/new/pipe").unwrap().is_special());
        root.link(b"a/new/file", &root, b"a/b/hard").unwrap();
        root.link(b"a/new/link", &root, b"a/b/hardlink").unwrap();
        assert_eq!(root.stat(b"a/b/hard").unwrap().nlink, 2);
        assert!(root.stat(b"a/b/hardlink").unwrap().is_symlink());
        root.chmod(b"a/new/file", 0o4711).unwrap();
        root.chmod(b"a/new", 0o711).unwrap();
        root.chown(b"a/new/link", Some(users::effective_uid()), None).unwrap();
        root.set_times(b"a/new/link", Some((1, 2)), Some((-3, 4))).unwrap();
        root.set_times(b"a/new/file", None, Some((5, 6))).unwrap();
        assert_eq!(fs::metadata(at("a/new/file")).unwrap().mode() & 0o7777, 0o4711);
        let link = root.stat(b"a/new/link").unwrap();
        assert_eq!((link.atime, link.mtime), ((1, 2), (-3, 4)));
        assert_eq!(root.stat(b"a/new/file").unwrap().mtime, (5, 6));
        root.rename(b"a/new/file", &root, b"moved").unwrap();
        assert_eq!(fs::read(at("moved")).unwrap(), b"Text");
        for name in [&b"moved"[..], b"a/new/link", b"a/new/pipe", b"a/b/hard", b"a/b/hardlink"] {
            root.unlink(name).unwrap();
        }
        root.rmdir(b"a/new").unwrap();
        assert_eq!(errno(root.stat(b"a/new")), libc::ENOENT);
        assert_eq!(errno(root.stat(b"a/new/x")), libc::ENOENT);
        assert_eq!(errno(root.stat(b"a/b/c/file/x")), libc::ENOTDIR);
    }
}

#[test]
fn paths_are_plain_or_refused() {
    let temp = layout();
    let root = open(&temp.path().join("tree"), Follow::Always);
    let file = root.stat(b"a/b/c/file").unwrap();
    for rel in [&b"./a/b/c/file"[..], b"a//b/./c///file", b"a/b/c/file/", b"a/b/c/file/.", b"./a/./b/c/./file"] {
        assert_eq!(root.stat(rel).unwrap(), file, "{}", rel.escape_ascii());
    }
    for rel in [&b""[..], b".", "./".as_bytes(), b".//.", b"./."] {
        assert_eq!(root.stat(rel).unwrap().ino, fs::metadata(temp.path().join("tree")).unwrap().ino());
    }
    for rel in [&b".."[..], b"../outside", b"a/..", b"a/../a/b", b"a/b/../../..", b"a/../.", b"../", b"a/..//file"] {
        assert_eq!(errno(root.stat(rel)), libc::ELOOP, "{}", rel.escape_ascii());
        assert_eq!(errno(root.open_dir(rel)), libc::ELOOP, "{}", rel.escape_ascii());
    }
    for rel in [&b"/"[..], b"/etc", b"/etc/passwd", b"//", b"/."] {
        assert_eq!(errno(root.stat(rel)), libc::EINVAL, "{}", rel.escape_ascii());
        assert_eq!(errno(root.directory(rel)), libc::EINVAL, "{}", rel.escape_ascii());
    }
    for rel in [&b"a\0b"[..], b"a\0/b", b"\0", b"a/b/c/\0"] {
        assert_eq!(errno(root.stat(rel)), libc::EINVAL, "{}", rel.escape_ascii());
    }
    assert_eq!(errno(root.stat(&[b'n'; 256])), libc::ENAMETOOLONG);
    assert_eq!(errno(root.stat(&[b'n'; 5000])), libc::ENAMETOOLONG);
    assert_eq!(errno(root.stat(&[&[b'n'; 5000][..], b"/x"].concat())), libc::ENAMETOOLONG);
    // The names of the outside are fine as names.
    for rel in [&b"..."[..], b"..a", b"a..", b"\xff\xfe\n", b"-rf", b"a/b/..."] {
        root.create_new(rel, 0o600).unwrap();
        root.unlink(rel).unwrap();
    }
    assert_eq!(errno(root.mkdir(b"", 0o700)), libc::EEXIST);
    assert!(root.rmdir(b"").is_err() && root.unlink(b".").is_err() && root.rename(b"", &root, b"x").is_err());
}

#[test]
fn roots_travel_between_threads() {
    fn sent<T: Send>(_: &T) {}
    let temp = layout();
    let root = open(&temp.path().join("tree"), Follow::Never);
    sent(&root);
    let clone = root.try_clone().unwrap();
    let there = std::thread::spawn(move || clone.stat(b"a/b/c/file").is_ok());
    assert!(there.join().unwrap());
    symlink("a/b", temp.path().join("tree/link")).unwrap();
    assert_eq!(errno(root.stat(b"link/c")), libc::ELOOP);
    assert!(root.with_rule(Follow::Inside).stat(b"link/c").is_ok());
}

/// Whatever the spelling: either the kernel finds the same, or the path is refused.
#[test]
fn spellings_mean_what_they_mean_to_the_kernel() {
    let temp = layout();
    let tree = temp.path().join("tree");
    let root = open(&tree, Follow::Never);
    let word = proptest::sample::select(vec!["a", "b", "c", "file", ".", "..", "", "x"]);
    proptest::proptest!(|(words in proptest::collection::vec(word, 1..8))| {
        let path = words.join("/");
        let found = root.stat(path.as_bytes());
        if path.starts_with('/') {
            assert_eq!(errno(found), libc::EINVAL);
        } else if words.contains(&"..") {
            assert_eq!(errno(found), libc::ELOOP);
        } else if !matches!(words.last(), Some(&("." | ""))) {
            let want = fs::symlink_metadata(tree.join(&path));
            let failure = |error: Option<&io::Error>| error.and_then(io::Error::raw_os_error);
            assert_eq!(failure(want.as_ref().err()), failure(found.as_ref().err()));
            assert_eq!(want.ok().map(|meta| meta.ino()), found.ok().map(|stat| stat.ino));
        }
    });
}

#[test]
fn depth_has_no_limit() {
    let temp = tempfile::tempdir().unwrap();
    for follow in RULES {
        let root = open(temp.path(), follow);
        let mut path = Vec::new();
        for level in 0..60 {
            path.extend_from_slice(if level == 0 { b"" } else { b"/" });
            path.extend_from_slice(&[b'd'; 200]);
            root.mkdir(&path, 0o700).unwrap();
        }
        assert!(path.len() > 12_000);
        let file = [&path[..], b"/file"].concat();
        root.create_new(&file, 0o600).unwrap();
        assert!(open(temp.path(), follow).stat(&file).unwrap().is_file());
        assert!(open(temp.path(), follow).open_dir(&path).is_ok());
        let walked = walk::walk(root.handle(), &path, follow, Last::Directory).unwrap();
        assert!(stat::stat_fd(&walked.dir).unwrap().same_file(&root.stat(&path).unwrap()));
        root.unlink(&file).unwrap();
        while !path.is_empty() {
            root.rmdir(&path).unwrap();
            path.truncate(path.len().saturating_sub(201));
        }
    }
}

#[test]
fn kept_parents_do_not_outlive_their_names() {
    let temp = tempfile::tempdir().unwrap();
    let root = open(temp.path(), Follow::Never);
    let clone = root.try_clone().unwrap();
    let fill = |root: &Root| {
        root.mkdir(b"d", 0o700).unwrap();
        root.mkdir(b"d/e", 0o700).unwrap();
        root.create_new(b"d/e/f", 0o600).unwrap();
    };
    fill(&root);
    assert!(clone.stat(b"d/e/f").unwrap().is_file());
    root.rename(b"d", &root, b"old").unwrap();
    root.invalidate(b"d");
    assert_eq!(errno(root.stat(b"d/e/f")), libc::ENOENT);
    assert_eq!(errno(clone.stat(b"d/e/f")), libc::ENOENT);
    fill(&root);
    assert_ne!(root.stat(b"d/e/f").unwrap().ino, root.stat(b"old/e/f").unwrap().ino);
    // Removed and made again: by us …
    clone.stat(b"d/e/f").unwrap();
    for name in [&b"d/e/f"[..], b"d/e", b"d"] {
        root.unlink(name).or_else(|_| root.rmdir(name)).unwrap();
    }
    fill(&root);
    assert!(clone.stat(b"d/e/f").is_ok());
    // … and by someone else, where only making something can notice.
    fs::remove_dir_all(temp.path().join("d")).unwrap();
    fs::create_dir_all(temp.path().join("d/e")).unwrap();
    root.create_new(b"d/e/g", 0o600).unwrap();
    assert!(root.stat(b"d/e/g").unwrap().is_file());
    assert!(temp.path().join("d/e/g").exists());
}

#[test]
fn a_directory_opened_for_reading_serves_as_parent() {
    let temp = layout();
    let root = open(&temp.path().join("tree"), Follow::Never);
    let dir = root.open_dir(b"a/b/c").unwrap();
    let (parent, leaf) = root.parent(b"a/b/c/file").unwrap();
    assert!(Arc::ptr_eq(&dir, &parent));
    assert_eq!(leaf, b"file");
    let mut scan = crate::fs::Scan::default();
    assert_eq!(scan.next(&*dir).unwrap().map(|item| item.name.to_vec()), Some(b"file".to_vec()));
    assert!(root.open_dir(b"").is_ok());
    assert_eq!(errno(root.open_dir(b"a/b/c/file")), libc::ENOTDIR);
}

/// Limits are the whole process's, so this is tried in a process of its own.
#[test]
fn kept_handles_are_given_up_before_descriptors_run_out() {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "fs::root::tests::in_own_process"]);
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by the test above"]
fn in_own_process() {
    let temp = tempfile::tempdir().unwrap();
    let root = open(temp.path(), Follow::Inside);
    for index in 0..20 {
        root.mkdir(format!("d{index}").as_bytes(), 0o700).unwrap();
        root.create_new(format!("d{index}/f").as_bytes(), 0o600).unwrap();
    }
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    for index in 0..20 {
        assert!(root.stat(format!("d{index}/f").as_bytes()).unwrap().is_file());
    }
    // With nothing to give up it is an error, and no panic.
    let fresh = root.try_clone().unwrap();
    root.invalidate(b"");
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    assert_eq!(errno(fresh.stat(b"d1/f")), libc::EMFILE);
    drop(taken);
    assert!(fresh.stat(b"d1/f").is_ok());
}

#[test]
fn a_root_without_search_permission_can_still_be_changed() {
    let temp = layout();
    let tree = temp.path().join("tree");
    let root = open(&tree, Follow::Never);
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o0)).unwrap();
    assert!(root.stat(b"").unwrap().is_dir());
    root.set_times(b"", Some((1, 1)), Some((2, 2))).unwrap();
    root.chown(b".", Some(users::effective_uid()), None).unwrap();
    root.chmod(b"", 0o755).unwrap();
    assert_eq!(root.stat(b".").unwrap().mtime, (2, 2));
    // The same by handle alone.
    at::chmod_handle(root.handle(), 0o751).unwrap();
    at::chown_handle(root.handle(), Some(users::effective_uid()), None).unwrap();
    at::set_times_handle(root.handle(), None, Some((3, 3))).unwrap();
    let stat = root.stat(b"").unwrap();
    assert_eq!((stat.permissions(), stat.mtime), (0o751, (3, 3)));
}
