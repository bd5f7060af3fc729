//! What a root guarantees, tried on real directories.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
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

/// Replaces each parent of `a/b/c/file` in turn by a link and tries every operation.
#[test]
fn planted_links_are_followed_only_where_the_rule_allows() {
    let cases: [(&str, bool, bool); 4] = [
        // target (%: the temporary directory), stays inside, exists
        ("%/outside", false, true),
        ("../outside", false, true),
        ("real", true, true),
        ("nowhere", true, false),
    ];
    for (position, parent) in ["a", "a/b", "a/b/c"].into_iter().enumerate() {
        for (target, inside, exists) in cases {
            let temp = layout();
            let tree = temp.path().join("tree");
            let planted = tree.join(parent);
            fs::rename(&planted, planted.with_file_name("real")).unwrap();
            let up = "../".repeat(position);
            let beyond = ["", "/b", "/b/c"][position];
            let target = match target {
                "%/outside" => format!("{}/outside{beyond}", temp.path().display()),
                "../outside" => format!("{up}../outside{beyond}"),
                other => other.to_string(),
            };
            symlink(&target, &planted).unwrap();
            for follow in RULES {
                let allowed = match follow {
                    Follow::Never => false,
                    Follow::Inside => inside,
                    Follow::Trusted | Follow::Always => true,
                };
                let root = open(&tree, follow);
                let what = format!("{follow:?} {parent} -> {target}");
                let want = match (allowed, exists) {
                    (false, _) => libc::ELOOP,
                    (true, false) => libc::ENOENT,
                    (true, true) => 0,
                };
                assert_eq!(errno(root.stat(b"a/b/c/file")), want, "{what}");
                // Step by step it comes to the same as at once.
                let walked = walk::walk(root.handle(), b"a/b/c", follow, Last::Directory);
                let walked = walked.and_then(|found| stat::stat_fd(&found.dir));
                assert_eq!(errno(walked), want, "{what}");
                assert_eq!(errno(root.stat_follow(b"a/b/c/file")), want, "{what}");
                assert_eq!(errno(root.open_dir(b"a/b/c")), want, "{what}");
                assert_eq!(errno(root.create_new(b"a/b/c/new", 0o600)), want, "{what}");
                assert_eq!(errno(root.rename(b"a/b/c/new", &root, b"a/b/c/new2")), want, "{what}");
                assert_eq!(errno(root.set_times(b"a/b/c/new2", None, Some((1, 1)))), want, "{what}");
                assert_eq!(errno(root.unlink(b"a/b/c/new2")), want, "{what}");
                if want == 0 {
                    assert_eq!(read(&root, b"a/b/c/file").unwrap(), if inside { "inside" } else { "outside" });
                }
            }
        }
    }
}

#[test]
fn the_last_component_is_followed_only_on_request() {
    let temp = layout();
    let tree = temp.path().join("tree");
    symlink("b/c/file", tree.join("a/in")).unwrap();
    symlink("../../outside/file", tree.join("a/out")).unwrap();
    symlink("in", tree.join("a/in2")).unwrap();
    symlink("b/../../a/b/c", tree.join("a/dir")).unwrap();
    symlink("loop", tree.join("a/loop")).unwrap();
    symlink("none", tree.join("a/dangling")).unwrap();
    for follow in RULES {
        let root = open(&tree, follow);
        for rel in [&b"a/in"[..], b"a/out", b"a/in2", b"a/dir", b"a/loop", b"a/dangling"] {
            assert!(root.stat(rel).unwrap().is_symlink());
            assert_eq!(errno(root.open_read(rel, 0)), libc::ELOOP);
            assert_eq!(errno(root.open_write(rel)), libc::ELOOP);
            assert_eq!(errno(root.create_new(rel, 0o600)), libc::EEXIST);
            assert_ne!(errno(root.chmod(rel, 0o777)), 0);
        }
        let allowed = follow != Follow::Never;
        let want = |ok: bool| if ok { 0 } else { libc::ELOOP };
        let out = matches!(follow, Follow::Trusted | Follow::Always);
        for (rel, want) in [
            (&b"a/in"[..], want(allowed)),
            (b"a/in2", want(allowed)),
            (b"a/out", want(out)),
            (b"a/loop", libc::ELOOP),
            (b"a/dangling", if allowed { libc::ENOENT } else { libc::ELOOP }),
        ] {
            let what = format!("{follow:?} {}", rel.escape_ascii());
            assert_eq!(errno(root.stat_follow(rel)), want, "{what}");
            assert_eq!(errno(root.open_read_follow(rel, 0)), want, "{what}");
        }
        assert_eq!(root.stat_follow(b"a/dir").map(|stat| stat.is_dir()).ok(), allowed.then_some(true));
        assert_eq!(errno(root.open_dir(b"a/dir")), want(allowed));
        assert_eq!(errno(root.descend(b"a/dir")), want(allowed));
        if allowed {
            assert_eq!(read(&root, b"a/dir/file").unwrap(), "inside");
            let ino = fs::metadata(tree.join("a/b/c")).unwrap().ino();
            assert_eq!(root.stat_follow(b"a/dir").unwrap().ino, ino);
        }
    }
    assert_eq!(fs::read(temp.path().join("outside/file")).unwrap(), b"outside");
}

#[test]
fn links_of_strangers_are_not_trusted() {
    if users::effective_uid() != 0 {
        return; // only root can make a stranger's link
    }
    let temp = layout();
    let tree = temp.path().join("tree");
    for (name, uid) in [("roots", 0), ("strangers", 12_345)] {
        symlink("a/b", tree.join(name)).unwrap();
        std::os::unix::fs::lchown(tree.join(name), Some(uid), None).unwrap();
    }
    let root = open(&tree, Follow::Trusted);
    assert_eq!(read(&root, b"roots/c/file").unwrap(), "inside");
    let untrusted = |error: io::Error| {
        assert!(is_untrusted_link(&error));
        assert_eq!(crate::error::errno_text(&error), "Too many levels of symbolic links (40)");
    };
    untrusted(root.stat(b"strangers/c/file").unwrap_err());
    let path = |name: &str| format!("{}/{name}/c", tree.display()).into_bytes();
    assert!(Root::open(&path("roots"), Follow::Never).is_ok());
    untrusted(Root::open(&path("strangers"), Follow::Never).err().unwrap());
    assert_eq!(errno(Root::open_named(&path("roots"), Follow::Never, Follow::Never)), libc::ELOOP);
    assert!(Root::open(&path("strangers"), Follow::Always).is_ok());
    assert!(Root::open_named(&path("strangers"), Follow::Always, Follow::Never).is_ok());
}

#[test]
fn named_paths_may_climb_and_be_absolute() {
    let temp = layout();
    symlink("tree/a", temp.path().join("short")).unwrap();
    let root = open(&temp.path().join("tree"), Follow::Never);
    for named in [Follow::Trusted, Follow::Always] {
        let beside = root.open_beside(b"a/../../outside/.", named, Follow::Never).unwrap();
        assert_eq!(read(&beside, b"file").unwrap(), "outside");
        let through = root.open_beside(b"../short/b//c/", named, Follow::Never).unwrap();
        assert_eq!(read(&through, b"file").unwrap(), "inside");
        let up = root.open_beside(b"../short/..", named, Follow::Never).unwrap();
        assert!(up.stat(b"a/b").unwrap().is_dir());
        assert!(root.open_beside(b"/", named, Follow::Never).unwrap().stat(b"proc").unwrap().is_dir());
        assert_eq!(errno(root.open_beside(b"", named, Follow::Never)), libc::ENOENT);
        assert_eq!(errno(root.open_beside(b"a/b/c/file", named, Follow::Never)), libc::ENOTDIR);
        assert_eq!(errno(root.open_beside(b"a/none", named, Follow::Never)), libc::ENOENT);
    }
}

#[test]
fn files_named_by_the_operator() {
    let temp = layout();
    let name = |rel: &str| format!("{}/{rel}", temp.path().display()).into_bytes();
    symlink("tree/a/b", temp.path().join("short")).unwrap();
    symlink("c/file", temp.path().join("tree/a/b/link")).unwrap();
    symlink("made-through-link", temp.path().join("dangling")).unwrap();
    for named in [Follow::Trusted, Follow::Always] {
        let read = |path: &[u8]| {
            let mut text = String::new();
            open_file(path, named, libc::O_RDONLY, 0)?.read_to_string(&mut text)?;
            io::Result::Ok(text)
        };
        assert_eq!(read(&name("short/link")).unwrap(), "inside");
        assert_eq!(read(&name("short/../../../tree/a/../../outside/file")).unwrap(), "outside");
        assert_eq!(errno(read(&name("short/none"))), libc::ENOENT);
        assert_eq!(errno(read(b"")), libc::ENOENT);
        assert_eq!(errno(read(&name("short"))), libc::EISDIR);
        let create = libc::O_WRONLY | libc::O_CREAT;
        for new in ["new", "dangling"] {
            open_file(&name(new), named, create, 0o600).unwrap().write_all(b"n").unwrap();
        }
        fs::remove_file(temp.path().join("new")).unwrap();
        fs::remove_file(temp.path().join("made-through-link")).unwrap();
        // What the kernel alone can follow: an open file without a name.
        let (ours, theirs) = crate::sys::pipe::pipe().unwrap();
        File::from(theirs).write_all(b"through a pipe").unwrap();
        use std::os::fd::AsRawFd;
        assert_eq!(read(format!("/dev/fd/{}", ours.as_raw_fd()).as_bytes()).unwrap(), "through a pipe");
        let dir = File::open(temp.path()).unwrap();
        let pinned = format!("/proc/self/fd/{}/tree", dir.as_raw_fd()).into_bytes();
        assert!(Root::open_named(&pinned, named, Follow::Never).unwrap().stat(b"a").unwrap().is_dir());
    }
    assert_eq!(errno(open_file(&name("short/link"), Follow::Never, libc::O_RDONLY, 0)), libc::ELOOP);
}

/// A thread swaps a directory for a link to the outside and back, as fast as it can.
#[test]
fn a_race_never_leads_outside() {
    for follow in [Follow::Never, Follow::Inside] {
        let temp = layout();
        let tree = temp.path().join("tree");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (dir, aside) = (tree.join("a"), tree.join("aside"));
                symlink("../outside", tree.join("link")).unwrap();
                while !done.load(Ordering::Relaxed) {
                    fs::rename(&dir, &aside).unwrap();
                    fs::rename(tree.join("link"), &dir).unwrap();
                    fs::rename(&dir, tree.join("link")).unwrap();
                    fs::rename(&aside, &dir).unwrap();
                }
            });
            // Until both states of the tree were met often; on a busy machine a thread may rest for long.
            let (mut seen, mut round) = ([0; 2], 0);
            let limit = Instant::now() + Duration::from_secs(10);
            while seen.iter().any(|&count| count < 300) && Instant::now() < limit {
                round += 1;
                let root = open(&tree, follow);
                match read(&root, b"a/b/c/file") {
                    Ok(text) => {
                        assert_eq!(text, "inside");
                        seen[0] += 1;
                    }
                    Err(error) => {
                        assert!(matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENOENT | libc::ENOTDIR)));
                        seen[1] += 1;
                    }
                }
                let made = root.create_new(format!("a/b/made{round}").as_bytes(), 0o600);
                drop(made);
            }
            done.store(true, Ordering::Relaxed);
            assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
        });
        let strays = fs::read_dir(temp.path().join("outside/b")).unwrap().count();
        assert_eq!(strays, 1, "{follow:?}: something was made outside");
    }
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

#[test]
fn few_directories_stay_open() {
    let temp = tempfile::tempdir().unwrap();
    let root = open(temp.path(), Follow::Never);
    for index in 0..100 {
        let dir = format!("d{index}");
        root.mkdir(dir.as_bytes(), 0o700).unwrap();
        root.create_new(format!("{dir}/f").as_bytes(), 0o600).unwrap();
        assert!(root.parents.borrow().len() <= KEPT);
    }
    for index in 0..100 {
        assert!(root.stat(format!("d{index}/f").as_bytes()).unwrap().is_file());
    }
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
