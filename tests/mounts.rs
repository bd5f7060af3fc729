//! What stands on other file systems, in a mount namespace that ends with the run: the edge of `-x`, and aliases for all
//! users of a machine.

mod harness;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use harness::{
    Program, blur,
    process::{self, Outcome, Status},
    skip, stand_in,
    tree::{self, Tree},
    zoo,
};

/// Why nothing can be mounted here, if so.
fn cannot_mount() -> Option<String> {
    let argv = ["-m", "sh", "-c", "mount -t tmpfs tmpfs /mnt"];
    let tried = std::process::Command::new("unshare").args(argv).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("no mounts: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// Whether both programs and mounts are there; if not, `what` counts as skipped.
fn possible(what: &str) -> bool {
    let missing = Program::Reference.missing().or_else(cannot_mount);
    if let Some(why) = &missing {
        skip(what, why);
    }
    missing.is_none()
}

/// A directory with `src`, and `dst` per program.
struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { dir: tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory") };
        let source = site.path("src");
        for dir in ["a-mount/below", "b-plain", "c/deep-mount", "d-bound", "z"] {
            fs::create_dir_all(source.join(dir)).expect("directory");
        }
        for file in ["a-mount/hidden", "b-plain/file", "c/file", "c/deep-mount/hidden", "z/file"] {
            zoo::file(&source.join(file), file.as_bytes());
        }
        zoo::settle_dirs(&source);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a program when `mounts` has been done for it alone; what it leaves in `there` comes to `dst`.
    fn run(&self, mounts: &str, program: Program, argv: &[String]) -> Outcome {
        let script = format!(
            "{{ {mounts}; }} || exit 99\n\"$@\" || status=$?\n\
             if [ -d there ]; then cp -a there/. dst/; fi\nexit ${{status:-0}}"
        );
        let mut words: Vec<OsString> = ["-m", "sh", "-ec", &script, "sh"].map(OsString::from).to_vec();
        words.push(program.path().into());
        words.extend(argv.iter().map(OsString::from));
        process::run_for(process::command(self.dir.path(), Path::new("unshare"), &words), &[], process::PATIENCE)
    }

    /// Both programs do the same; the text of what differs.
    fn differences(&self, mounts: &str, argv: &[String]) -> Vec<String> {
        self.differences_in(mounts, argv, true)
    }

    /// As `differences`, where the order of lines counts only if they are `ordered`.
    fn differences_in(&self, mounts: &str, argv: &[String], ordered: bool) -> Vec<String> {
        let mut runs = [Program::Reference, Program::Ours].into_iter().map(|program| {
            let destination = self.path("dst");
            let _ = fs::remove_dir_all(&destination); // the run before
            fs::create_dir(&destination).expect("destination");
            tree::settle(&destination);
            let ready = SystemTime::now();
            let server = format!("--rsync-path={}", program.path().display());
            let outcome = self.run(mounts, program, &[&[server], argv].concat());
            let names = [(program.path(), "SERVER"), (self.dir.path().to_path_buf(), "@")];
            let names = names.each_ref().map(|(path, name)| (path.as_path(), *name));
            let said = [&outcome.stdout, &outcome.stderr].map(|text| blur::blur(text, &names, ordered));
            (outcome.status, said, Tree::read(&destination, ready, false))
        });
        let (Some(reference), Some(ours)) = (runs.next(), runs.next()) else { return Vec::new() };
        let mut told = reference.2.differences(&ours.2, false);
        if reference.0 != ours.0 {
            told.push(format!("  status: reference {:?}, ours {:?}", reference.0, ours.0));
        }
        told.extend(reference.1.iter().zip(&ours.1).filter_map(|(theirs, mine)| blur::line_difference(theirs, mine)));
        if !told.is_empty() {
            told.insert(0, format!("{argv:?}"));
        }
        told
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}

#[test]
fn one_file_system() {
    if !possible("the edge of a file system") {
        return;
    }
    let site = Site::new();
    let mounts = "mount -t tmpfs -o mode=700 tmpfs src/a-mount; echo on >src/a-mount/top; mkdir src/a-mount/dir; \
                  touch -d @1500000000 src/a-mount/dir src/a-mount/top src/a-mount; \
                  mount -t tmpfs -o mode=750 tmpfs src/c/deep-mount; echo on >src/c/deep-mount/file; \
                  touch -d @1500000000 src/c/deep-mount/file src/c/deep-mount; mount --bind src/z src/d-bound";
    let shell = stand_in().display();
    let mut told = Vec::new();
    for options in ["-aix", "-aixx", "-aivvx --no-inc-recursive"] {
        for paths in [
            "src/ dst/".to_owned(),
            "src/c src/a-mount src/b-plain dst/".to_owned(),
            format!("-e {shell} src/ far:dst/"),
            format!("-e {shell} far:src/ far:src/c dst/"),
        ] {
            told.extend(site.differences(mounts, &words(&format!("{options} {paths}"))));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
    // The mounts were there: one is not entered.
    site.run(mounts, Program::Ours, &words("-a src/ dst/whole"));
    site.run(mounts, Program::Ours, &words("-ax src/ dst/edge"));
    let there = |path: &str| site.path("dst").join(path).exists();
    assert!(there("whole/a-mount/top") && there("edge/a-mount") && !there("edge/a-mount/top"));
}

/// What is mounted at the destination is neither deleted nor entered, with `-x`.
#[test]
fn deletions_at_the_edge_of_a_file_system() {
    if !possible("deletions at the edge of a file system") {
        return;
    }
    let site = Site::new();
    let mounts = "mkdir -p dst/z dst/a-mount dst/b-plain/extra dst/gone/deep/pinned dst/gone/other; \
                  for dir in dst/a-mount dst/z dst/b-plain/extra dst/gone/deep/pinned; do \
                  mount -t tmpfs -o mode=700 tmpfs $dir; echo on >$dir/extra; mkdir $dir/dir; done; \
                  echo 1 >dst/gone/1; echo 1 >dst/b-plain/1; mount -t tmpfs -o mode=700 tmpfs src/z; echo on >src/z/top; \
                  touch -d @1500000000 src/z/top src/z";
    let shell = stand_in().display();
    let mut told = Vec::new();
    for options in
        ["-aix --del", "-aixx --del", "-aix --delete-before", "-aivvx --delete-delay --debug=del2", "-aix --force"]
    {
        for paths in [
            "src/ dst/".to_owned(),
            "src/b-plain src/z dst/".to_owned(),
            format!("-e {shell} src/ far:dst/"),
            format!("-e {shell} --protocol=29 far:src/ dst/"),
        ] {
            told.extend(site.differences_in(mounts, &words(&format!("{options} {paths}")), false));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
    let told = site.run(mounts, Program::Ours, &words("-avvx --del src/ dst/"));
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.contains("cannot delete mount point: b-plain/extra\n") && told.contains("deleting gone/1\n"),
        "{told}"
    );
}

/// Where nothing can be told, files come all the same, and it is said of each what is missing.
#[test]
fn a_file_system_without_attributes() {
    if !possible("a file system without attributes") {
        return;
    }
    let site = Site::new();
    zoo::pipe(&site.path("src/pipe"));
    zoo::set_mode(&site.path("src/c/file"), 0o4755);
    std::os::unix::fs::symlink("z", site.path("src/link")).expect("link");
    zoo::settle_dirs(&site.path("src"));
    let mounts = "mount -t ramfs ramfs dst; cp -a src/z dst";
    let shell = stand_in().display();
    let mut told = Vec::new();
    for paths in [
        "-M--fake-super src/ dst/".to_owned(),
        format!("--fake-super -e {shell} far:src/ dst/"),
        "-XA --fake-super src/ dst/".to_owned(),
    ] {
        told.extend(site.differences_in(mounts, &words(&format!("-ai --inplace {paths}")), false));
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
    let outcome = site.run(mounts, Program::Ours, &words("-a -M--fake-super src/ dst/"));
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(
        said.contains("failed to write xattr user.rsync.%stat for ") && outcome.status == Status::Exit(23),
        "{said}"
    );
}

#[test]
fn aliases_of_a_machine_and_of_a_user() {
    if !possible("aliases of a machine") {
        return;
    }
    let site = Site::new();
    let config = "rsync alias --everything -ai\nrsync alias --both --out-format=machine\nls alias --listed -l\n\
                  rsync alias --wrong --nonsense\n";
    fs::write(site.path("popt"), config).expect("aliases");
    fs::write(site.path(".popt"), "rsync alias --mine --everything\nrsync alias --both --out-format=user\n")
        .expect("aliases");
    // A file can only be mounted over one that is there.
    let mounts = "mount -t tmpfs tmpfs /mnt; cp -a /etc/. /mnt/; cp popt /mnt/popt; \
                  mount --bind /mnt /etc";
    let mut told = Vec::new();
    for line in
        ["--everything src/ dst/", "--mine src/ dst/", "-r --both src/ dst/", "--listed src/ dst/", "--wrong a b"]
    {
        told.extend(site.differences(mounts, &words(line)));
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
    let outcome = site.run(mounts, Program::Ours, &words("--everything src/z/ dst/z"));
    assert!(String::from_utf8_lossy(&outcome.stdout).contains(">f+++++++++ file"), "{outcome:?}");
}

/// Files with access control lists and attributes, in directories with such.
fn rich(source: &Path) {
    fs::create_dir_all(source.join("dir")).expect("directory");
    for name in ["plain", "list", "attribute", "both", "dir/attribute", "long"] {
        zoo::file(&source.join(name), name.as_bytes());
    }
    for name in ["attribute", "both", "dir/attribute", "dir"] {
        zoo::attr(&source.join(name), "user.short", b"1");
    }
    zoo::attr(&source.join("attribute"), "trusted.short", b"1");
    zoo::attr(&source.join("long"), "user.long", &[b'l'; 5000]);
    for (name, list) in [("list", "u:1234:rw"), ("both", "u:1234:rw"), ("dir", "u:1234:rwx,d:u:1234:rwx")] {
        let done = std::process::Command::new("setfacl").args(["-m", list]).arg(source.join(name)).status();
        assert!(done.is_ok_and(|status| status.success()), "setfacl {list} {name}");
    }
    zoo::settle_dirs(source);
}

/// What cannot be given is said of each file, and makes status 23; the rest is copied.
#[test]
fn a_file_system_without_attributes_or_room_for_them() {
    let cannot = || std::process::Command::new("setfacl").arg("--version").output().err();
    if !possible("file systems without attributes") {
        return;
    }
    if let Some(error) = cannot() {
        return skip("file systems without attributes", &format!("setfacl: {error}"));
    }
    let site = Site::new();
    rich(&site.path("rich"));
    fs::create_dir(site.path("there")).expect("directory");
    // One that keeps neither, and one where all attributes of a file have one block.
    let none = "mount -t ramfs ramfs there";
    let small =
        "truncate -s 8M image; mke2fs -q -b 4096 -t ext4 image; mount -o loop image there; rmdir there/lost+found";
    let works = |mounts| site.run(mounts, Program::Ours, &words("--version")).status == process::Status::Exit(0);
    let shell = stand_in().display();
    let mut told = Vec::new();
    for (what, mounts) in [("ramfs", none), ("ext4 in a file", small)] {
        if !works(mounts) {
            skip(what, "it cannot be mounted");
            continue;
        }
        // Then there is something of each kind, of which some is older.
        let again = format!("{mounts}; cp -r --preserve=timestamps rich/. there/; touch -d @1300000000 there/both");
        for options in ["-aAX", "-aAXi", "-aAXin", "-aA", "-aXvv", "-aAXi --inplace", "-aAXi --copy-dest=../rich"] {
            for paths in [
                "rich/ there/".to_owned(),
                format!("-e {shell} rich/ far:there/"),
                format!("-e {shell} far:rich/ there/"),
            ] {
                for mounts in [mounts, &again] {
                    told.extend(site.differences_in(mounts, &words(&format!("{options} {paths}")), false));
                }
            }
        }
        let outcome = site.run(mounts, Program::Ours, &words("-aAX rich/ there/"));
        assert_eq!(outcome.status, process::Status::Exit(23), "{what}");
        assert!(site.path("dst/dir/attribute").is_file(), "{what}");
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}
