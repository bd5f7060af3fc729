//! A hostile receiver in front of our sender, as a client that pushes and as a server.

use crate::{
    bytes::{BASIS_FOLLOWS, Bytes, DATA, IS_NEW, NAME_FOLLOWS, TRANSFER},
    play::{SENDERS, Seat, Talk, check},
};

/// Without incremental recursion `src/` is `.`, `a`, `b`, `link`, `sub`, `sub/c`: 0 to 5.
fn talks(cases: &[(&str, Bytes)]) -> Vec<Talk> {
    let talk = |(name, bytes): &(&str, Bytes), seat: Seat| {
        Talk::new(*name, seat, seat.greeting(false).raw(&bytes.clone().framed().0))
    };
    SENDERS.into_iter().flat_map(|seat| cases.iter().map(move |case| talk(case, seat))).collect()
}

fn incremental(cases: &[(&str, Bytes)]) -> Vec<Talk> {
    let talk = |(name, bytes): &(&str, Bytes), seat: Seat| Talk {
        incremental: true,
        ..Talk::new(*name, seat, seat.greeting(true).raw(&bytes.clone().framed().0))
    };
    SENDERS.into_iter().flat_map(|seat| cases.iter().map(move |case| talk(case, seat))).collect()
}

fn cases_of_indexes() -> Vec<(&'static str, Bytes)> {
    let mut cases = Vec::new();
    for index in [6, 7, 1000, i32::MAX, -2, -3, -4, -5, -100, -101, -102, i32::MIN + 1] {
        cases.push(("request", Bytes::new().item(index, TRANSFER).sums(0, 0, 0, 0)));
        cases.push(("note", Bytes::new().item(index, IS_NEW)));
        cases.push(("note without flags", Bytes::new().item(index, 0)));
    }
    cases.push(("request for a dir", Bytes::new().item(0, TRANSFER).sums(0, 0, 0, 0)));
    cases.push(("request for a link", Bytes::new().item(3, TRANSFER).sums(0, 0, 0, 0)));
    cases.push(("request for another dir", Bytes::new().item(4, TRANSFER).sums(0, 0, 0, 0)));
    cases.push(("request in the last phase", Bytes::new().done().done().item(1, TRANSFER).sums(0, 0, 0, 0)));
    cases.push(("request after the end", Bytes::new().done().done().done().item(1, TRANSFER).sums(0, 0, 0, 0)));
    cases.push(("too many phases", Bytes::new().raw(&[0; 40])));
    cases
        .push(("the same file often", Bytes::new().raw(&Bytes::new().item(1, TRANSFER).sums(0, 0, 0, 0).0.repeat(50))));
    cases.push(("long name of another basis", Bytes::new().item(1, TRANSFER | NAME_FOLLOWS).raw(&[0xff; 40])));
    cases.push(("unknown basis", Bytes::new().item(1, TRANSFER | BASIS_FOLLOWS).byte(0x55).sums(0, 0, 0, 0)));
    cases.push(("deletion counts", Bytes::new().index(-3).raw(&[0xff; 40])));
    cases.push(("bytes of no meaning", Bytes::new().raw(&[0xff; 100])));
    cases
}

#[test]
fn indexes_out_of_range() {
    check(&talks(&cases_of_indexes()), true);
}

#[test]
fn indexes_out_of_range_with_incremental_recursion() {
    check(&incremental(&cases_of_indexes()), true);
}

#[test]
fn sums_beyond_belief() {
    let ask = || Bytes::new().item(1, TRANSFER);
    let mut cases = Vec::new();
    for count in [-1, i32::MIN, i32::MAX, 1 << 30] {
        cases.push(("sum count", ask().sums(count, 700, 2, 0)));
    }
    for len in [-1, 0, (1 << 17) + 1, i32::MAX, i32::MIN] {
        cases.push(("block length", ask().sums(3, len, 2, 0)));
    }
    for len in [-1, 17, 64, 255, 256, i32::MAX] {
        cases.push(("sum length", ask().sums(3, 700, len, 0)));
    }
    for remainder in [-1, 701, i32::MAX] {
        cases.push(("remainder", ask().sums(3, 700, 2, remainder)));
    }
    cases.push(("sums of no length", ask().sums(3, 700, 0, 0).int(1).int(2).int(3)));
    cases.push(("blocks of one byte", ask().sums(3, 1, 2, 0).raw(&[0; 18])));
    cases.push(("sums that stop", ask().sums(1000, 700, 2, 0).raw(&[0; 100])));
    let equal = Bytes::new().int(0).raw(&[0; 2]).0.repeat(5000);
    cases.push(("5,000 equal sums", ask().sums(5000, 1, 2, 0).raw(&equal)));
    check(&talks(&cases), true);
}

#[test]
fn filters_beyond_belief() {
    let greeting = || Bytes::new().int(32).string("md5");
    let talk = |name: &str, bytes: Bytes| Talk::new(name, Seat::ServerSends, greeting().raw(&bytes.framed().0));
    let mut all = Vec::new();
    for len in [-1, i32::MIN, i32::MAX, 1 << 20, 70_000] {
        all.push(talk("filter length", Bytes::new().int(len).raw(b"- x")));
    }
    check(&all, true);
}

#[test]
fn messages_of_the_wrong_side() {
    let (mut all, mut ours_alone) = (Vec::new(), Vec::new());
    for seat in SENDERS {
        let start = || seat.greeting(false);
        for index in [-1, 0, 1, 2, 1000, i32::MAX, i32::MIN] {
            let payload = index.to_le_bytes();
            for (name, tag) in [("no-send", 102), ("success", 100), ("redo", 9)] {
                let list = if tag != 100 { &mut ours_alone } else { &mut all }; // the reference goes on
                list.push(Talk::new(format!("{name} of {index}"), seat, start().message(DATA + tag, &payload)));
            }
        }
        all.push(Talk::new("deleted above", seat, start().message(DATA + 101, b"../../x\0")));
        all.push(Talk::new("deleted at length", seat, start().message(DATA + 101, &[b'x'; 5000])));
        all.push(Talk::new("error status", seat, start().message(DATA + 86, &23_i32.to_le_bytes())));
        ours_alone.push(Talk::new("error status of 256", seat, start().message(DATA + 86, &256_i32.to_le_bytes())));
        all.push(Talk::new("error status 0", seat, start().message(DATA + 86, &0_i32.to_le_bytes())));
    }
    check(&all, true);
    check(&ours_alone, false);
}
