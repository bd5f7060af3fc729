//! Replays the fuzzers' corpus: every input that was worth keeping, through the decoder it was found for.

#[path = "fuzz/targets.rs"]
mod targets;

use std::{fs, path::Path};

#[test]
fn every_input_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, target) in targets::ALL {
        let mut count = 0;
        for input in fs::read_dir(corpus.join(name)).expect(name) {
            let path = input.expect(name).path();
            eprintln!("{}", path.display()); // the last one shown is the one that failed
            target(&fs::read(&path).expect(name));
            count += 1;
        }
        assert!(count > 0, "{name} has no corpus");
    }
}

#[test]
fn nothing_at_all_is_survived() {
    for (_, target) in targets::ALL {
        target(&[]);
    }
}

#[test]
fn every_target_is_built() {
    let manifest = include_str!("fuzz/Cargo.toml");
    for (name, _) in targets::ALL {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not in Cargo.toml");
    }
}
