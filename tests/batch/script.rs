//! The script beside a batch: the same as the reference's, safe whatever the words hold, and good for what it is for.

use std::{fs, path::Path};

use crate::{
    Made, Site, check_rows,
    harness::{
        Program::{self, Ours, Reference},
        process::{self, Status},
        programs,
        tree::Tree,
    },
    ours, row, some,
};

#[test]
fn rules_are_said_again_in_the_script() {
    check_rows(&[
        row("-ai --exclude=/sub/deep -f -_/more"),
        row("-ai --include=big --exclude=*i* --filter=P_old --delete"),
        row("-ai --exclude=x --protocol=28").reading("-a"),
        row("-aiF --exclude=x -0"),
        row("-aC --partial-dir=.p"),
    ]);
}

/// The script does what the run did, elsewhere too.
#[test]
fn the_script_plays_the_batch_back() {
    let site = Site::new();
    let args = "-a --exclude=/more --filter=P_old --delete --write-batch=B src/ dst";
    let made = ours(&site, args, some, None);
    assert_eq!(made.outcome.status, Status::Exit(0));
    let again = made.place.join("again");
    fs::create_dir(&again).unwrap();
    some(&again, &site.dir.path().join("src"));
    let played = process::run(&made.place, Path::new("/bin/sh"), &["B.sh", "again"], b"");
    assert_eq!((played.status, played.stderr), (Status::Exit(0), Vec::new()));
    let tree = Tree::read(&again, site.ready, false);
    assert!(made.tree.differences(&tree, false).is_empty());
}

/// Runs words as they are, and what the script then says with its program's name blurred.
fn scripted(site: &Site, program: Program, words: &[&str]) -> (Made, String) {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    let made = site.run(program, &words, some, None);
    let named = words.iter().find_map(|word| word.strip_prefix("--write-batch=")).unwrap_or("B");
    let script = fs::read(made.place.join(format!("{named}.sh"))).unwrap();
    let script = String::from_utf8_lossy(&script).replace(&program.path().display().to_string(), "PROGRAM");
    (made, script)
}

/// Each would do something if a shell took it for more than a word.
const ODD: [&str; 9] =
    ["it's", "two  words", "$(touch harm)", "`touch harm`", "; touch harm", "a\ntouch harm", "\"&>harm", "*?[", "\\'"];

#[test]
fn odd_words_are_quoted() {
    if !programs::reference_is_there("scripts of batches") {
        return;
    }
    let site = Site::new();
    for odd in ODD {
        let (batch, exclude) = (format!("--write-batch=B{odd}"), format!("--exclude={odd}"));
        let (suffix, to) = (format!("--suffix={odd}"), format!("dst/{odd}/"));
        let format = format!("--out-format={odd}");
        let lines = [
            vec!["-a", &batch, "src/", "dst/"],
            vec!["-a", "--write-batch=B", "src/", &to],
            vec!["-a", &suffix, &format, "-B", "700", "--write-batch=B", "src/", "dst/"],
            vec!["-a", &exclude, "-f", "+ keep", "--write-batch=B", "src/", "dst/"],
            vec!["-a", &exclude, "-0", "--write-batch=B", "src/", "dst/"],
        ];
        for words in &lines {
            let (theirs, ours) = (scripted(&site, Reference, words), scripted(&site, Ours, words));
            let refused = odd.contains('\n') && words[1] == exclude; // a rule takes one line
            assert_eq!(theirs.0.outcome.status, ours.0.outcome.status, "{words:?}");
            assert_eq!(refused, ours.0.outcome.status != Status::Exit(0), "{words:?}");
            if refused {
                continue;
            }
            assert_eq!(theirs.1, ours.1, "{words:?}");
            play(&ours.0, words);
        }
    }
}

/// The script plays back what it came with, and does nothing else.
fn play(made: &Made, words: &[&str]) {
    let named = words.iter().find_map(|word| word.strip_prefix("--write-batch=")).unwrap();
    let again = made.place.join("again");
    fs::create_dir(&again).unwrap();
    some(&again, &made.place.join("src"));
    let script = format!("./{named}.sh");
    let before = names(&made.place);
    let played = process::run(&made.place, Path::new("/bin/sh"), &[script.as_str(), "again"], b"");
    assert_eq!((played.status, String::from_utf8_lossy(&played.stderr)), (Status::Exit(0), "".into()), "{words:?}");
    assert_eq!(before, names(&made.place), "{words:?}");
    assert!(fs::read(again.join("big")).unwrap().len() == 150_000, "{words:?}");
}

fn names(place: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}
