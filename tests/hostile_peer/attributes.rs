//! Extended attributes that are none, in front of our receiver.

use crate::{
    bytes::{Bytes, FILE, IS_NEW, PLAIN},
    play::{RECEIVERS, Talk, check},
};

/// Attributes told with an item (bit 8).
const ATTRIBUTES: u16 = 1 << 8;

/// A list with the directory and one file, which has the attributes told by `attributes`.
fn talks(cases: Vec<(&str, Bytes)>) -> Vec<Talk> {
    let talks = cases.iter().flat_map(|(name, attributes)| {
        let list = Bytes::new().dir(".").varint(0).varint(0).entry("file", FILE, PLAIN).raw(&attributes.0);
        RECEIVERS.into_iter().map(move |seat| Talk {
            letters: "rltX",
            ..Talk::new(*name, seat, seat.greeting(false).raw(&list.clone().framed().0))
        })
    });
    talks.collect()
}

fn attribute(bytes: Bytes, name: &[u8], len: i32, value: &[u8]) -> Bytes {
    bytes.varint(name.len() as i32).varint(len).raw(name).raw(value)
}

fn one(name: &[u8], len: i32, value: &[u8]) -> Bytes {
    attribute(Bytes::new().varint(0).varint(1), name, len, value).end_of_list()
}

#[test]
fn lists_that_are_none() {
    let short = Bytes::new().varint(0).varint(1);
    check(
        &talks(vec![
            ("a list that never came", Bytes::new().varint(2).end_of_list()),
            ("a negative number", Bytes::new().varint(-1).end_of_list()),
            ("too many", Bytes::new().varint(0).varint(65_537)),
            ("fewer than none", Bytes::new().varint(0).varint(-1)),
            ("a long name", short.clone().varint(4097).varint(0)),
            ("a long value", short.clone().varint(7).varint((128 << 20) + 1)),
            ("a negative value", short.clone().varint(7).varint(-1)),
            ("a name without an end", one(b"user.x", 1, b"1")),
            ("no name at all", one(b"", 1, b"1")),
        ]),
        true,
    );
}

#[test]
fn answers_to_nothing() {
    let long = one(b"user.x\0", 100, &[7; 16]);
    let item = |bytes: &Bytes| bytes.clone().item(1, ATTRIBUTES | IS_NEW);
    check(
        &talks(vec![
            ("no such number", item(&long).varint(2)),
            ("a value that is short already", item(&one(b"user.x\0", 1, b"1")).varint(1)),
            ("a value beyond all bounds", item(&long).varint(1).varint((128 << 20) + 1)),
            ("a number beyond all", item(&long).varint(i32::MAX).varint(5)),
        ]),
        true,
    );
}
