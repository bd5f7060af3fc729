//! Long sequences of random changes, each followed by a run with random options: once by the reference into one
//! destination, once by ours into another. Trees, output and exit status are the same all the way.
//!
//! The seeds are fixed, so that the outcome depends on the programs alone. `OC_RSYNC_SEQUENCE_SEED=N` plays that seed,
//! `OC_RSYNC_SEQUENCE_STEPS=N` as many steps of each, and `OC_RSYNC_SEQUENCE_SECONDS=N` goes on with new seeds for that
//! time. A step that differs is reduced to a script of its own, which is printed.

#[path = "../harness/mod.rs"]
mod harness;

mod play;
mod steps;

use std::{
    env, thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use harness::programs::reference_is_there;
use play::{Failure, play, reduced, script};
use steps::Dice;

const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];
const STEPS: usize = 50;
/// How long a failing sequence is made smaller.
const PATIENCE: Duration = Duration::from_secs(60);

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Plays a seed; the text of what differs, with a script that shows it. What does not differ a second time was a race
/// between the reference's own processes.
fn trial(seed: u64, steps: usize) -> Option<String> {
    let mut dice = Dice::new(seed);
    let steps: Vec<_> = (0..steps).map(|number| dice.step(number)).collect();
    play(&steps)?;
    let Failure { step, told } = play(&steps)?;
    let small = reduced(steps[..=step].to_vec(), PATIENCE);
    let smaller = play(&small).map(|failure| failure.told).filter(|smaller| *smaller != told);
    let smaller = smaller.map(|told| format!("reduced:\n{}\n", told.join("\n"))).unwrap_or_default();
    Some(format!("seed {seed}, step {step}:\n{}\n{smaller}\n{}", told.join("\n"), script(&small)))
}

#[test]
fn random_sequences() {
    if !reference_is_there("random sequences") {
        return;
    }
    let steps = number("OC_RSYNC_SEQUENCE_STEPS").map_or(STEPS, |steps| steps as usize);
    let seeds = number("OC_RSYNC_SEQUENCE_SEED").map_or(SEEDS.to_vec(), |seed| vec![seed]);
    let mut told: Vec<String> = thread::scope(|scope| {
        let trials: Vec<_> = seeds.into_iter().map(|seed| scope.spawn(move || trial(seed, steps))).collect();
        trials.into_iter().filter_map(|trial| trial.join().expect("a trial")).collect()
    });
    if let Some(seconds) = number("OC_RSYNC_SEQUENCE_SECONDS") {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64 >> 10;
        let first = seed;
        while Instant::now() < end {
            seed += 1;
            match trial(seed, steps) {
                None => eprintln!("seed {seed}: {steps} steps"),
                Some(text) => {
                    eprintln!("{text}\n");
                    told.push(text);
                }
            }
        }
        eprintln!("played {} seeds after {first}, {steps} steps each", seed - first);
    }
    assert!(told.is_empty(), "{} sequences differ:\n\n{}", told.len(), told.join("\n\n"));
}
