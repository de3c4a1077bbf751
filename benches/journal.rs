//! The journal on disk: `cargo bench --features disk --bench journal`.
//!
//! * Appending single events of 200 bytes from 64 streams, each of which waits
//!   for its answer before it goes on, with each kind of sync; beside it plain
//!   writes of as many bytes to one file, one for each 64 events and synced as
//!   often.
//! * Recovery: opening a directory with 1 GiB of segments.
//! * Replay: finding all its streams, one after the other and two at a time.
//!   Their records lie in turn, with one event each, which is the worst case;
//!   then with 16 events each, as a busy upstream sends them; then each stream's
//!   lie together. All of it is in the page cache.
//! * What 100,000 streams of one event take in memory, once they are found at
//!   the start.
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
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
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

/// With this argument, and a directory, it does only that.
const OPEN: &str = "--open";

/// No round is begun after this, however slow the machine.
const ENOUGH: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    if let [_, open_it, directory] = &std::env::args().collect::<Vec<_>>()[..]
        && open_it == OPEN
    {
        return open(Path::new(directory));
    }
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
        self.many(table, 100_000)?;
        let filled = [
            self.fill("64 in turn", STREAMS, 1, 1 << 30)?,
            self.fill("64 in turn, 16 in a record", STREAMS, 16, 1 << 30)?,
            self.fill("32 of 4 MiB, each alone", 32, 1, 128 << 20)?,
        ];
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
            for filled in &filled {
                self.reads(table, filled)?;
            }
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
        let load = Load {
            records: (events / STREAMS) as u64,
            events: 1,
            keep: KEEP,
        };
        self.each(&disk, 0..STREAMS, &load)?;
        let rate = events as f64 / start.elapsed().as_secs_f64();
        self.close(&disk)?;
        fs::remove_dir_all(directory)?;
        Ok(rate)
    }

    /// These streams append, all at once.
    fn each(&self, disk: &Disk, streams: Range<usize>, load: &Load) -> Result<()> {
        self.runtime.block_on(async {
            let stream = |at| tokio::spawn(stream(begin(disk, at), *load));
            for stream in streams.map(stream).collect::<Vec<_>>() {
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

    /// Makes segments of about this size in which everything is alive.
    fn fill(&self, name: &str, streams: usize, events: u32, size: usize) -> Result<Filled> {
        let directory = self.directory.join(name);
        let _ = fs::remove_dir_all(&directory);
        let settings = settings(&directory, Sync::Never);
        let disk = Disk::open(settings.clone())?;
        let in_turn = name.contains("in turn");
        let records = size / self.part / record_bytes(events) / streams;
        let load = Load {
            records: records as u64,
            events,
            keep: u64::MAX,
        };
        if in_turn {
            self.each(&disk, 0..streams, &load)?;
        } else {
            (0..streams).try_for_each(|at| self.each(&disk, at..at + 1, &load))?;
        }
        self.close(&disk)?;
        Ok(Filled {
            name: name.to_owned(),
            settings,
            streams,
            records: records * streams,
            size: records * streams * record_bytes(events),
        })
    }

    fn reads(&self, table: &mut Table, filled: &Filled) -> Result<()> {
        let name = &filled.name;
        let start = Instant::now();
        let disk = Disk::open(filled.settings.clone())?;
        let seconds = start.elapsed().as_secs_f64();
        let gib = filled.size as f64 / f64::from(1 << 30);
        let what = format!("recovery, {gib:.2} GiB, {name}");
        table.add(what, "s", seconds);
        for lanes in 1..=filled.streams.min(2) {
            let start = Instant::now();
            let found = self.replay(&disk, filled.streams, lanes)?;
            let rate = filled.size as f64 / start.elapsed().as_secs_f64() / 1e6;
            if found != filled.records {
                return Err(format!("{found} records were found").into());
            }
            let lanes = if lanes > 1 { ", two at a time" } else { "" };
            table.add(format!("replay, {name}{lanes}"), "MB/s", rate);
        }
        self.close(&disk)
    }

    /// Many streams of which nobody has any.
    fn many(&self, table: &mut Table, streams: usize) -> Result<()> {
        let streams = streams / self.part;
        let settings = settings(&self.directory.join("many"), Sync::Never);
        let _ = fs::remove_dir_all(&settings.path);
        let disk = Disk::open(settings.clone())?;
        let load = Load {
            records: 1,
            events: 1,
            keep: u64::MAX,
        };
        self.each(&disk, 0..streams, &load)?;
        self.close(&disk)?;
        // In a process of its own: this one has memory to spare by now.
        let opened = Command::new(std::env::current_exe()?)
            .arg(OPEN)
            .arg(&settings.path)
            .output()?;
        let printed = String::from_utf8(opened.stdout)?;
        let mut figures = printed.split_whitespace().map(str::parse::<f64>);
        let (Some(seconds), Some(bytes)) = (figures.next(), figures.next()) else {
            return Err(String::from_utf8(opened.stderr)?.into());
        };
        let what = format!("recovery, {streams} streams of one event");
        table.add(what, "s", seconds?);
        let each = bytes? / streams as f64;
        table.add("  memory for each".to_owned(), "bytes", each);
        Ok(())
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

/// What a stream appends.
#[derive(Clone, Copy)]
struct Load {
    records: u64,
    /// In each record.
    events: u32,
    /// How many events a stream keeps.
    keep: u64,
}

struct Filled {
    name: String,
    settings: DiskSettings,
    streams: usize,
    /// Of all streams.
    records: usize,
    /// Bytes of their frames.
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
    load: Load,
) -> std::result::Result<(), JournalError> {
    let mut replica = replica.ok_or_else(|| JournalError::new("no place for a stream"))?;
    for at in 0..load.records {
        let first = at * u64::from(load.events) + 1;
        let record = record(first, first.saturating_sub(load.keep), load.events);
        if let Some(kept) = replica.append(record) {
            kept.await?;
        }
    }
    Ok(())
}

fn record(first: u64, low: u64, events: u32) -> Record {
    static BLOCKS: [u8; 16 * EVENT as usize] = [b'x'; 16 * EVENT as usize];
    let entry = |at| Entry {
        end: at * EVENT,
        id: None,
    };
    Record {
        batch: Batch {
            first,
            bytes: Bytes::from_static(&BLOCKS[..(events * EVENT) as usize]),
            entries: (1..=events).map(entry).collect(),
            seams: Vec::new(),
        },
        state: Bytes::from_static(b"some state"),
        at: 1_700_000_000_000,
        low,
    }
}

/// Bytes of such a record on disk: its frame, and what it says of itself.
fn record_bytes(events: u32) -> usize {
    let mut bytes = BytesMut::new();
    record(100_000, 0, events).encode(&mut bytes);
    bytes.len() + 12 + 17
}

/// As many bytes, with one write for as many events as there are streams.
fn plain(directory: &Path, sync: Sync, events: usize) -> Result<f64> {
    let group = vec![b'x'; record_bytes(1) * STREAMS];
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

/// Opens a directory, and prints how many seconds and bytes that took.
fn open(directory: &Path) -> Result<()> {
    let before = resident()?;
    let start = Instant::now();
    let disk = Disk::open(settings(directory, Sync::Never))?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{seconds} {}", resident()?.saturating_sub(before));
    drop(disk);
    Ok(())
}

/// What this process has in memory, in bytes. Nothing where it cannot be known.
fn resident() -> Result<usize> {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return Ok(0);
    };
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.unwrap_or("0").parse::<usize>()? << 10)
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
        println!("{:<52}{:>12}{:>12}{:>12}", "", "median", "least", "most");
        for (name, unit, figures) in &self.rows {
            let mut sorted = figures.clone();
            sorted.sort_by(f64::total_cmp);
            let places = if sorted[sorted.len() - 1] < 100.0 {
                2
            } else {
                0
            };
            println!(
                "{name:<52}{:>12.places$}{:>12.places$}{:>12.places$}  {unit}",
                sorted[sorted.len() / 2],
                sorted[0],
                sorted[sorted.len() - 1]
            );
        }
    }
}
