//! Measures the in-process pair of a local copy against kernel pipes and a socket pair, over the same two traits:
//! `scripts/measure-transport --pair`, or `cargo run --release --example measure-pair -- ROUNDS MIB`.

use std::{
    env,
    io::{self, IoSlice},
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use oc_rsync::{
    sys::{pipe, poll::Wake, process},
    transport::{
        fd::{FdReader, FdWriter, Port},
        pair,
    },
    wire::{ReadHalf, WriteHalf},
};

type Halves = (Box<dyn WriteHalf>, Box<dyn ReadHalf>);

const KIB: usize = 1024;

#[derive(Clone, Copy)]
enum Carrier {
    Pair(usize),
    Pipe(usize),
    Socket,
}

const CARRIERS: [(&str, Carrier); 7] = [
    ("pair, lane of 64 KiB", Carrier::Pair(64 * KIB)),
    ("pair, lane of 256 KiB", Carrier::Pair(256 * KIB)),
    ("pair, lane of 512 KiB", Carrier::Pair(512 * KIB)),
    ("pair, lane of 1 MiB", Carrier::Pair(1024 * KIB)),
    ("pipe, 64 KiB", Carrier::Pipe(64 * KIB)),
    ("pipe, 1 MiB", Carrier::Pipe(1024 * KIB)),
    ("socket pair", Carrier::Socket),
];

impl Carrier {
    fn make(self, wake: &Wake) -> io::Result<Halves> {
        Ok(match self {
            Self::Pair(size) => {
                let (here, there) = pair::pair_of(size, wake);
                (Box::new(here.write), Box::new(there.read))
            }
            Self::Pipe(size) => {
                let (read, write) = pipe::pipe()?;
                pipe::enlarge(&write, size)?;
                over_descriptors(write, read, wake)?
            }
            Self::Socket => {
                let (one, two) = pipe::socket_pair()?;
                over_descriptors(one, two, wake)?
            }
        })
    }
}

fn over_descriptors(write: OwnedFd, read: OwnedFd, wake: &Wake) -> io::Result<Halves> {
    Ok((Box::new(FdWriter::new(Port::own(write)?, wake)), Box::new(FdReader::new(Port::own(read)?, wake))))
}

fn write_all(half: &mut dyn WriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let length = half.write(&[IoSlice::new(bytes)])?;
        bytes = bytes.get(length..).unwrap_or_default();
    }
    Ok(())
}

/// Moves `total` bytes from one thread to another in writes of `size`; MiB/s and processor seconds a GiB.
fn stream(carrier: Carrier, wake: &Wake, size: usize, total: usize) -> io::Result<(f64, f64)> {
    let (mut write, mut read) = carrier.make(wake)?;
    let (start, used) = (Instant::now(), processor_time()?);
    thread::scope(|scope| -> io::Result<()> {
        let writer = scope.spawn(move || -> io::Result<()> {
            let block = vec![1; size];
            for _ in 0..total / size {
                write_all(&mut *write, &block)?;
            }
            Ok(())
        });
        let mut buffer = vec![0; 128 * KIB];
        while read.read(&mut buffer)? > 0 {}
        writer.join().unwrap_or(Ok(()))
    })?;
    let mib = total as f64 / (1024.0 * 1024.0);
    let used = (processor_time()? - used).as_secs_f64();
    Ok((mib / start.elapsed().as_secs_f64(), used / mib * 1024.0))
}

/// A message of 100 bytes there and one back, `count` times; microseconds a round.
fn ping(carrier: Carrier, wake: &Wake, count: u32) -> io::Result<f64> {
    let (mut there, mut there_read) = carrier.make(wake)?;
    let (mut back, mut back_read) = carrier.make(wake)?;
    let start = Instant::now();
    thread::scope(|scope| -> io::Result<()> {
        let echo = scope.spawn(move || -> io::Result<()> {
            let mut buffer = [0; 100];
            loop {
                match there_read.read(&mut buffer)? {
                    0 => return Ok(()),
                    length => write_all(&mut *back, buffer.get(..length).unwrap_or_default())?,
                }
            }
        });
        let mut buffer = [0; 100];
        for _ in 0..count {
            write_all(&mut *there, &[7; 100])?;
            let mut got = 0;
            while got < 100 {
                got += back_read.read(&mut buffer)?;
            }
        }
        drop(there);
        echo.join().unwrap_or(Ok(()))
    })?;
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(count))
}

fn processor_time() -> io::Result<Duration> {
    let usage = process::usage()?;
    Ok(usage.user + usage.system)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn main() -> io::Result<()> {
    let number = |at: usize, default: usize| env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (rounds, total) = (number(1, 5), number(2, 512) * 1024 * 1024);
    let wake = Wake::new()?;
    println!("| carrier | writes of | MiB/s | processor s a GiB |\n| --- | --: | --: | --: |");
    for size in [200, 4 * KIB, 32 * KIB, 128 * KIB] {
        let total = if size < KIB { total / 8 } else { total };
        let mut taken = vec![Vec::new(); CARRIERS.len()];
        for _ in 0..rounds {
            for (row, (_, carrier)) in taken.iter_mut().zip(CARRIERS) {
                row.push(stream(carrier, &wake, size, total)?);
            }
        }
        for (row, (name, _)) in taken.into_iter().zip(CARRIERS) {
            let (speed, used): (Vec<f64>, Vec<f64>) = row.into_iter().unzip();
            println!("| {name} | {size} | {:.0} | {:.2} |", median(speed), median(used));
        }
    }
    println!("\n| carrier | µs for 100 bytes there and back |\n| --- | --: |");
    for (name, carrier) in CARRIERS {
        let taken = (0..rounds).map(|_| ping(carrier, &wake, 20_000)).collect::<io::Result<Vec<f64>>>()?;
        println!("| {name} | {:.1} |", median(taken));
    }
    Ok(())
}
