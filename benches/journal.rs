//! The journal on disk: `cargo bench --features disk --bench journal`.
//!
//! * Appending single events of 200 bytes from 64 streams, each of which waits
//!   for its answer before it goes on, with each kind of sync; beside it plain
//!   writes of as many bytes to one file, one for each 64 events and synced as
//!   often.
//! * Recovery: opening a directory with 1 GiB of segments.
//! * Replay: finding all its streams, one after the other and two at a time.
//!   Their records lie in turn, which is the worst case; then one stream alone.
//!   All of it is in the page cache.
//!
//! Everything is done once in each of several rounds, so that a disturbance
//! strikes all alike; the figure is the median, beside it the least and the
//! most. Files are made below `target/tmp`, or in the directory that
//! `JOURNAL_DIR` names. `-- --quick` takes a tenth of everything.

#![expect(
    clippy::cast_precision_loss,
    reason = "figures are reported to three digits"
)]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::runtime::{Builder, Runtime};
use tower_sse::journal::disk::{Disk, DiskSettings, Sync};
use tower_sse::journal::{Journal, JournalError, Name, Record, Replica};
use tower_sse::log::{Batch, Entry};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + std::marker::Sync>>;

const STREAMS: usize = 64;
const EVENT: u32 = 200;
const RETAIN: Duration = Duration::from_secs(600);
/// A stream keeps this many events, as it does by default.
const KEEP: u64 = 1024;

const ROUNDS: usize = 5;

/// No round is begun after this, however slow the machine.
const ENOUGH: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    // `cargo test --benches` only wants to know that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let bench = Bench {
        runtime: Builder::new_multi_thread().enable_all().build()?,
        directory: std::env::var_os("JOURNAL_DIR").map_or_else(
            || Path::new(env!("CARGO_TARGET_TMPDIR")).join("journal-bench"),
            PathBuf::from,
        ),
        part: if quick { 10 } else { 1 },
    };
    let mut table = Table::default();
    let done = bench.run(&mut table);
    table.print();
    fs::remove_dir_all(&bench.directory)?;
    done
}

struct Bench {
    runtime: Runtime,
    directory: PathBuf,
    /// Everything is divided by this.
    part: usize,
}

impl Bench {
    fn run(&self, table: &mut Table) -> Result<()> {
        let start = Instant::now();
        let busy = self.fill("64 in turn", STREAMS)?;
        let alone = self.fill("one alone", 1)?;
        let every = Duration::from_secs(1);
        for round in 1..=ROUNDS {
            if start.elapsed() > ENOUGH {
                println!("this machine is busy or slow: only {} rounds", round - 1);
                break;
            }
            eprintln!("round {round} of {ROUNDS}");
            self.appends(table, "never", Sync::Never, 1_000_000)?;
            self.appends(table, "interval 1s", Sync::Interval(every), 1_000_000)?;
            self.appends(table, "always", Sync::Always, 20_000)?;
            self.reads(table, &busy, STREAMS)?;
            self.reads(table, &alone, 1)?;
        }
        Ok(())
    }

    // === Appending ===

    fn appends(&self, table: &mut Table, name: &str, sync: Sync, events: usize) -> Result<()> {
        let events = events / self.part;
        let rate = self.append(sync, events)?;
        let plain = plain(&self.directory, sync, events)?;
        table.add(format!("append, {name}"), "events/s", rate);
        table.add(format!("plain writes, {name}"), "events/s", plain);
        table.add(format!("  of plain writes, {name}"), "", rate / plain);
        Ok(())
    }

    fn append(&self, sync: Sync, events: usize) -> Result<f64> {
        let directory = self.directory.join("append");
        let disk = Disk::open(settings(&directory, sync))?;
        let start = Instant::now();
        self.each(&disk, STREAMS, events / STREAMS, KEEP)?;
        let rate = events as f64 / start.elapsed().as_secs_f64();
        self.close(&disk)?;
        fs::remove_dir_all(directory)?;
        Ok(rate)
    }

    /// So many streams append so many events each, all at once.
    fn each(&self, disk: &Disk, streams: usize, events: usize, keep: u64) -> Result<()> {
        self.runtime.block_on(async {
            let stream = |at| tokio::spawn(stream(begin(disk, at), events as u64, keep));
            for stream in (0..streams).map(stream).collect::<Vec<_>>() {
                stream.await??;
            }
            Ok(())
        })
    }

    fn close(&self, disk: &Disk) -> Result<()> {
        if let Some(closed) = disk.close() {
            self.runtime.block_on(closed)?;
        }
        Ok(())
    }

    // === Reading ===

    /// Makes segments of 1 GiB in which everything is alive.
    fn fill(&self, name: &str, streams: usize) -> Result<Filled> {
        let directory = self.directory.join(name);
        let _ = fs::remove_dir_all(&directory);
        let settings = settings(&directory, Sync::Never);
        let disk = Disk::open(settings.clone())?;
        let size = (1 << 30) / self.part;
        let events = size / record_bytes() / streams;
        self.each(&disk, streams, events, u64::MAX)?;
        self.close(&disk)?;
        Ok(Filled {
            name: name.to_owned(),
            settings,
            size: events * streams * record_bytes(),
        })
    }

    fn reads(&self, table: &mut Table, filled: &Filled, streams: usize) -> Result<()> {
        let name = &filled.name;
        let start = Instant::now();
        let disk = Disk::open(filled.settings.clone())?;
        let seconds = start.elapsed().as_secs_f64();
        table.add(format!("recovery of 1 GiB, {name}"), "s", seconds);
        for lanes in [1, 2] {
            if lanes > streams {
                break;
            }
            let start = Instant::now();
            let found = self.replay(&disk, streams, lanes)?;
            let rate = filled.size as f64 / start.elapsed().as_secs_f64() / 1e6;
            if found * record_bytes() != filled.size {
                return Err(format!("{found} records were found").into());
            }
            let lanes = if lanes > 1 { ", two at a time" } else { "" };
            table.add(format!("replay, {name}{lanes}"), "MB/s", rate);
        }
        self.close(&disk)
    }

    /// Finds every stream, and returns how many records there are.
    fn replay(&self, disk: &Disk, streams: usize, lanes: usize) -> Result<usize> {
        let mut records = 0;
        for lane in (0..streams).collect::<Vec<_>>().chunks(lanes) {
            let found: Vec<_> = lane
                .iter()
                .filter_map(|at| disk.find(&name(*at)))
                .map(|found| self.runtime.spawn(found))
                .collect();
            for found in found {
                let kept = self.runtime.block_on(found)??;
                records += kept.ok_or("a stream is gone")?.records.len();
            }
        }
        Ok(records)
    }
}

struct Filled {
    name: String,
    settings: DiskSettings,
    /// Bytes of its records' frames.
    size: usize,
}

fn settings(directory: &Path, sync: Sync) -> DiskSettings {
    let mut settings = DiskSettings::new(directory);
    settings.sync = sync;
    settings.max_bytes = 4 << 30;
    settings
}

fn name(at: usize) -> Name {
    Name(Bytes::from(format!("stream {at}")))
}

fn begin(disk: &Disk, at: usize) -> Option<Box<dyn Replica>> {
    let mut replica = disk.create(&name(at))?;
    replica.begin(Bytes::from_static(b"head"), RETAIN);
    Some(replica)
}

async fn stream(
    replica: Option<Box<dyn Replica>>,
    events: u64,
    keep: u64,
) -> std::result::Result<(), JournalError> {
    let mut replica = replica.ok_or_else(|| JournalError::new("no place for a stream"))?;
    for at in 1..=events {
        if let Some(kept) = replica.append(event(at, at.saturating_sub(keep))) {
            kept.await?;
        }
    }
    Ok(())
}

fn event(first: u64, low: u64) -> Record {
    static BLOCK: [u8; EVENT as usize] = [b'x'; EVENT as usize];
    Record {
        batch: Batch {
            first,
            bytes: Bytes::from_static(&BLOCK),
            entries: vec![Entry {
                end: EVENT,
                id: None,
            }],
            seams: Vec::new(),
        },
        state: Bytes::from_static(b"some state"),
        at: 1_700_000_000_000,
        low,
    }
}

/// Bytes of one such record on disk: its frame, and what it says of itself.
fn record_bytes() -> usize {
    let mut bytes = BytesMut::new();
    event(100_000, 0).encode(&mut bytes);
    bytes.len() + 12 + 17
}

/// As many bytes, with one write for as many events as there are streams.
fn plain(directory: &Path, sync: Sync, events: usize) -> Result<f64> {
    let group = vec![b'x'; record_bytes() * STREAMS];
    let path = directory.join("plain");
    let mut file = File::create(&path)?;
    let start = Instant::now();
    let mut synced = start;
    for _ in 0..events / STREAMS {
        file.write_all(&group)?;
        match sync {
            Sync::Always => file.sync_data()?,
            Sync::Interval(every) if synced.elapsed() >= every => {
                file.sync_data()?;
                synced = Instant::now();
            }
            _ => {}
        }
    }
    let rate = events as f64 / start.elapsed().as_secs_f64();
    // What is yet to be written must not be in the way of what comes next.
    file.sync_data()?;
    fs::remove_file(path)?;
    Ok(rate)
}

// === Figures ===

/// One figure of each round, by what it is of.
#[derive(Default)]
struct Table {
    rows: Vec<(String, &'static str, Vec<f64>)>,
}

impl Table {
    fn add(&mut self, name: String, unit: &'static str, figure: f64) {
        match self.rows.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, _, figures)) => figures.push(figure),
            None => self.rows.push((name, unit, vec![figure])),
        }
    }

    fn print(&self) {
        println!("{:<42}{:>12}{:>12}{:>12}", "", "median", "least", "most");
        for (name, unit, figures) in &self.rows {
            let mut sorted = figures.clone();
            sorted.sort_by(f64::total_cmp);
            let places = if sorted[sorted.len() - 1] < 100.0 {
                2
            } else {
                0
            };
            println!(
                "{name:<42}{:>12.places$}{:>12.places$}{:>12.places$}  {unit}",
                sorted[sorted.len() / 2],
                sorted[0],
                sorted[sorted.len() - 1]
            );
        }
    }
}
