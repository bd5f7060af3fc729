use super::*;

#[test]
fn names_go_and_come_back() {
    for (name, method) in Method::NAMES {
        assert_eq!(Method::from_name(name.to_uppercase().as_bytes()), Some(method));
        assert_eq!(method.name(), name);
    }
    for wrong in ["", "auto", "gzip", "zlib "] {
        assert_eq!(Method::from_name(wrong.as_bytes()), None);
    }
    let names = Method::NAMES.map(|(name, _)| name);
    assert_eq!(names.join(" "), format!("{} none", Method::OFFER));
}

#[test]
fn levels_are_those_of_the_reference() {
    let cases = [
        (Method::Zlib, None, Some(6)),
        (Method::Zlibx, Some(-1), Some(6)),
        (Method::Zlibx, Some(0), None),
        (Method::Zlib, Some(-7), Some(1)),
        (Method::Zlib, Some(99), Some(9)),
        (Method::Lz4, Some(7), Some(0)),
        (Method::Lz4, Some(0), Some(0)),
        (Method::Zstd, Some(0), Some(3)),
        (Method::Zstd, Some(-1), Some(-1)),
        (Method::Zstd, Some(-1_000_000), Some(-131_072)),
        (Method::Zstd, Some(99), Some(22)),
        (Method::None, Some(3), None),
    ];
    for (method, asked, level) in cases {
        assert_eq!(method.level(asked), level, "{method:?} {asked:?}");
    }
}

const METHODS: [Method; 4] = [Method::Zlib, Method::Zlibx, Method::Lz4, Method::Zstd];

fn setting(method: Method, level: i32) -> Setting {
    Setting { method, level, ..Setting::default() }
}

fn encoder(setting: Setting) -> Encoder {
    Encoder::new(setting).unwrap().unwrap()
}

fn decoder(setting: Setting) -> Decoder {
    Decoder::new(setting).unwrap().unwrap()
}

/// Data that shrinks a little, much, and not at all.
fn samples() -> Vec<Vec<u8>> {
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let random: Vec<u8> = (0..200_000).map(|_| noise()).collect();
    let text: Vec<u8> =
        (0..60_000u32).flat_map(|n| format!("{} lines of text\n", n * 7919 % 10_007).into_bytes()).collect();
    let zeros = vec![0; 1 << 20];
    let mixed = [&text[..100_000], &random[..50_000], &zeros[..70_000], &text[..9]].concat();
    let lengths = [1, 2, 16_382, 16_383, 16_384, 32_768, 65_535];
    let mut samples = vec![Vec::new(), random.clone(), text, zeros, mixed];
    samples.extend(lengths.map(|len| random[..len].to_vec()));
    samples
}

fn chunks(encoder: &mut Encoder, mut data: &[u8], flush: bool) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    while let Some(chunk) = encoder.next(&mut data, flush).unwrap() {
        assert!((1..=MAX_CHUNK).contains(&chunk.len()));
        chunks.push(chunk.to_vec());
    }
    assert!(data.is_empty());
    chunks
}

fn decoded(decoder: &mut Decoder, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::new();
    for chunk in chunks {
        let (mut input, mut more) = (&chunk[..], false);
        while more || !input.is_empty() {
            let step = decoder.step(input).unwrap();
            input = &input[step.taken..];
            more = step.more;
            all.extend_from_slice(decoder.output(step.made));
        }
    }
    decoder.flushed().unwrap();
    all
}

#[test]
fn all_data_comes_back_at_all_levels() {
    for method in METHODS {
        for level in [None, Some(1), Some(2), Some(3), Some(9), Some(-5)] {
            let setting = setting(method, method.level(level).unwrap());
            let (mut encoder, mut decoder) = (encoder(setting), decoder(setting));
            for (number, sample) in samples().iter().enumerate() {
                let effort = if number % 3 == 1 { Effort::Least } else { Effort::AsSet };
                encoder.begin(LONG, effort);
                decoder.begin();
                for piece in [&sample[..sample.len() / 2], &sample[sample.len() / 2..]] {
                    // in two strokes, the second of which has only the flush
                    let chunks = [chunks(&mut encoder, piece, false), chunks(&mut encoder, b"", true)].concat();
                    assert!(decoded(&mut decoder, &chunks) == piece, "{setting:?} {}", sample.len());
                }
                let chunks = chunks(&mut encoder, sample, true);
                assert!(decoded(&mut decoder, &chunks) == *sample, "{setting:?} {}", sample.len());
            }
        }
    }
}

/// A size that is worth a change of level.
const LONG: u64 = 2 << 20;

#[test]
fn the_least_effort_does_not_shrink_data_but_what_follows_shrinks_again() {
    let sample = &samples()[2];
    for method in METHODS {
        for threads in [0, 2] {
            let setting = Setting { threads, ..setting(method, method.level(None).unwrap()) };
            let (mut encoder, mut decoder) = (encoder(setting), decoder(setting));
            for (size, effort) in [
                (LONG, Effort::Least),
                (LONG, Effort::AsSet),
                (LONG, Effort::Least),
                (LONG, Effort::Least),
                (LONG - 1, Effort::Least),
                (5, Effort::AsSet),
            ] {
                encoder.begin(size, effort);
                decoder.begin();
                let chunks = [chunks(&mut encoder, sample, false), chunks(&mut encoder, b"", true)].concat();
                assert!(decoded(&mut decoder, &chunks) == *sample);
                let len: usize = chunks.iter().map(Vec::len).sum();
                // With zstd a new frame costs more than a short file's effort.
                let shrinks = effort == Effort::AsSet || method == Method::Zstd && size < LONG;
                assert_eq!(len < sample.len() / 2, shrinks, "{setting:?} {size} {effort:?} {len}");
                assert!(len < sample.len() + sample.len() / 200);
            }
        }
    }
}

#[test]
fn threads_change_nothing_that_is_seen() {
    let setting = Setting { threads: 3, ..setting(Method::Zstd, 3) };
    let (mut encoder, mut decoder) = (encoder(setting), decoder(setting));
    for sample in samples() {
        let chunks = [chunks(&mut encoder, &sample, false), chunks(&mut encoder, b"", true)].concat();
        assert!(decoded(&mut decoder, &chunks) == sample);
    }
    assert!(Encoder::new(Setting { threads: u32::MAX >> 1, ..setting }).is_ok());
}

#[test]
fn matched_data_is_in_the_history_of_zlib_alone() {
    let sample = &samples()[1];
    for (method, shrinks) in [(Method::Zlib, true), (Method::Zlibx, false), (Method::Lz4, false), (Method::Zstd, false)]
    {
        for repeats in [false, true] {
            let setting = Setting { repeats, ..setting(method, method.level(None).unwrap()) };
            for block in [700, 65_535, 65_536, 131_072] {
                let (mut encoder, mut decoder) = (encoder(setting), decoder(setting));
                // Of a long block that is shown in pieces of the same beginning, the end is never seen.
                let end = if repeats { block.min(PIECE) } else { block };
                let seen = &sample[end - 700..end];
                encoder.show(&sample[..block]).unwrap();
                decoder.show(&sample[..block]).unwrap();
                let chunks = chunks(&mut encoder, seen, true);
                assert!(decoded(&mut decoder, &chunks) == seen);
                let len: usize = chunks.iter().map(Vec::len).sum();
                assert_eq!(len < 350, shrinks, "{setting:?} {block}");
            }
        }
    }
}

/// The longest block that deflate can store.
const PIECE: usize = 0xffff;

#[test]
fn what_is_no_stream_is_a_fault() {
    let words = |method, chunk: &[u8]| {
        let mut decoder = decoder(setting(method, 0));
        let fault = decoder.step(chunk).and_then(|_| decoder.flushed()).unwrap_err();
        fault.to_string()
    };
    assert_eq!(words(Method::Zlib, b"\xff\xff\xff"), "inflate returned -3 (0 bytes)");
    // A last block: the stream would have an end.
    assert_eq!(words(Method::Zlibx, b"\x03\x00"), "inflate returned 1 (0 bytes)");
    // A stored block, of which much is missing.
    assert_eq!(words(Method::Zlibx, b"\x00\xff\x00\x00\xffabc"), "decompressor lost sync!");
    assert_eq!(words(Method::Lz4, b"\x0f\x00\x00"), "uncompress failed: -1");
    assert!(words(Method::Zstd, b"not zstd").starts_with("ZSTD decomp returned -"));
}

#[test]
fn lz4_pieces_fit_the_buffer_of_a_peer() {
    let zeros = vec![0; 1 << 20];
    let mut encoder = encoder(setting(Method::Lz4, 0));
    let chunks = chunks(&mut encoder, &zeros, true);
    let mut decoder = decoder(setting(Method::Lz4, 0));
    assert!(chunks.iter().all(|chunk| decoder.step(chunk).unwrap().made <= 32 << 10));
}
