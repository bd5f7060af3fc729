//! A good session that breaks off, at every byte of either direction.

use std::{fs, path::Path};

use crate::{
    harness::{Program, process, skip},
    play::{After, Seat, Talk, check, furnish},
};

/// What went from the client to the server and back, between two references.
fn record(push: bool) -> [Vec<u8>; 2] {
    let site = tempfile::Builder::new().prefix("oc-rsync-").tempdir().expect("temporary directory");
    let site = site.path();
    furnish(site);
    // The client closes its end when the shell is gone, and not before: what listens to it must be told to go.
    let tee = "shift\nmkfifo way\nexec 3<&0\ntee up <&3 >way &\n\"$@\" <way 3<&- | tee down\nkill $!\n";
    let tee = process::script("tee.sh", tee);
    let far = |path: &str| format!("far:{path}");
    let paths = if push { ["src/".to_owned(), far("dst/")] } else { [far("src/"), "dst/".to_owned()] };
    let mut argv = vec!["-rlt".to_owned(), "--checksum-seed=1".to_owned()];
    argv.extend(["-e".to_owned(), tee.display().to_string()]);
    argv.extend(paths);
    let outcome = process::run(site, &Program::Reference.path(), &argv, &[]);
    assert_eq!(outcome.status, process::Status::Exit(0), "{}", String::from_utf8_lossy(&outcome.stderr));
    let read = |name: &str| fs::read(Path::new(site).join(name)).expect("recording");
    [read("up"), read("down")]
}

fn every_prefix(push: bool) {
    if let Some(reason) = Program::Reference.missing() {
        return skip("sessions that break off", &reason);
    }
    let [up, down] = record(push);
    let (client, server) = if push { (Seat::Push, Seat::ServerReceives) } else { (Seat::Pull, Seat::ServerSends) };
    let mut talks = Vec::new();
    for (seat, bytes) in [(client, &down), (server, &up)] {
        for len in 0..bytes.len() {
            let cut =
                Talk::new(format!("cut at {len} of {}", bytes.len()), seat, crate::bytes::Bytes(bytes[..len].to_vec()));
            talks.push(Talk { incremental: true, after: After::Close, ..cut }.arg("--checksum-seed=1"));
        }
    }
    check(&talks, false);
}

#[test]
fn a_push_breaks_off() {
    every_prefix(true);
}

#[test]
fn a_pull_breaks_off() {
    every_prefix(false);
}
