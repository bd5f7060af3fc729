//! Which links are followed, tried with links planted everywhere and swapped under way.

use std::time::{Duration, Instant};

use super::*;

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
            if follow != Follow::Always {
                assert_eq!(errno(root.chmod(rel, 0o777)), libc::ELOOP);
            }
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
        assert!(root.stat_anywhere(b"a/out").unwrap().is_file());
        assert!(root.stat_anywhere(b"a/dir").unwrap().is_dir());
        assert_eq!(errno(root.stat_anywhere(b"a/dir/file")), want(allowed));
        assert_eq!(errno(root.open_dir(b"a/dir")), want(allowed));
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
        let named = &Named::from(named);
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
        assert_eq!(errno(read(b"")), libc::EINVAL);
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
            let limit = Instant::now() + Duration::from_secs(5);
            while seen.iter().any(|&count| count < 50) && Instant::now() < limit {
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
fn a_link_that_gave_way_to_a_directory_is_not_remembered() {
    let temp = layout();
    for follow in [Follow::Inside, Follow::Trusted, Follow::Always] {
        let root = open(&temp.path().join("tree"), follow);
        let clone = root.try_clone().unwrap();
        root.symlink(b"a/b/c", b"way").unwrap();
        for root in [&root, &clone] {
            assert_eq!(read(root, b"way/file").unwrap(), "inside");
        }
        root.unlink(b"way").unwrap();
        root.mkdir(b"way", 0o700).unwrap();
        for root in [&root, &clone] {
            assert_eq!(errno(root.stat(b"way/file")), libc::ENOENT);
        }
        root.rmdir(b"way").unwrap();
    }
}
