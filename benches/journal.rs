//! The journal on disk: `cargo bench --features disk --bench journal`.
//!
//! Appending single events of 200 bytes from 64 streams with each kind of sync,
//! beside plain writes of as many bytes; reading back; recovery of 1 GiB. The
//! files are made below `target/tmp`, or in the directory that `JOURNAL_DIR`
//! names. `-- --quick` takes a tenth of the events.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tower_sse::journal::disk::{Disk, DiskSettings, Sync};
use tower_sse::journal::{Journal, JournalError, Name, Record, Replica};
use tower_sse::log::{Batch, Entry};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const STREAMS: usize = 64;
const EVENT: usize = 200;
const RETAIN: Duration = Duration::from_secs(600);
/// A stream keeps this many events, as it does by default.
const KEEP: u64 = 1024;

/// Rounds, so that a disturbance shows. The best counts.
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let events = if quick { 200_000 } else { 2_000_000 };
    let directory = std::env::var_os("JOURNAL_DIR").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).join("journal-bench"),
        PathBuf::from,
    );
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    appends(&runtime, &directory, events)?;
    let size = if quick { 128 << 20 } else { 1 << 30 };
    reads(&runtime, &directory, size)?;
    fs::remove_dir_all(&directory)?;
    Ok(())
}

// === Appending ===

fn appends(runtime: &Runtime, directory: &Path, events: usize) -> Result<()> {
    let kinds = [
        ("never", Sync::Never, events),
        (
            "interval 1s",
            Sync::Interval(Duration::from_secs(1)),
            events,
        ),
        ("always", Sync::Always, events / 20),
    ];
    println!("{STREAMS} streams, events of {EVENT} bytes, one in a record\n");
    println!(
        "{:<24}{:>12}{:>10}{:>18}",
        "append", "events/s", "MB/s", "of plain writes"
    );
    let mut best = [(0.0, 0.0); 3];
    for _ in 0..ROUNDS {
        for ((_, sync, count), best) in kinds.iter().zip(&mut best) {
            let rate = append(runtime, directory, *sync, *count)?;
            let plain = plain(directory, *sync, *count)?;
            if rate > best.0 {
                *best = (rate, plain);
            }
        }
    }
    for ((name, _, _), (rate, plain)) in kinds.iter().zip(best) {
        let bytes = rate * record_bytes() / 1e6;
        println!("{name:<24}{rate:>12.0}{bytes:>10.1}{:>18.2}", rate / plain);
    }
    println!();
    Ok(())
}

fn settings(directory: &Path, sync: Sync) -> DiskSettings {
    let mut settings = DiskSettings::new(directory);
    settings.sync = sync;
    settings.max_bytes = 4 << 30;
    settings
}

fn append(runtime: &Runtime, directory: &Path, sync: Sync, events: usize) -> Result<f64> {
    let _ = fs::remove_dir_all(directory);
    let disk = Disk::open(settings(directory, sync))?;
    let start = Instant::now();
    runtime.block_on(async {
        let streams: Vec<_> = (0..STREAMS)
            .map(|at| tokio::spawn(stream(begin(&disk, at), events / STREAMS)))
            .collect();
        for stream in streams {
            stream.await??;
        }
        Result::Ok(())
    })?;
    let rate = events as f64 / start.elapsed().as_secs_f64();
    close(runtime, &disk)?;
    Ok(rate)
}

fn close(runtime: &Runtime, disk: &Disk) -> Result<()> {
    if let Some(closed) = disk.close() {
        runtime.block_on(closed)?;
    }
    Ok(())
}

fn begin(disk: &Disk, at: usize) -> Box<dyn Replica> {
    let name = Name(Bytes::from(format!("stream {at}")));
    let mut replica = disk
        .create(&name)
        .unwrap_or_else(|| panic!("a place for {name:?}"));
    replica.begin(Bytes::from_static(b"head"), RETAIN);
    replica
}

async fn stream(
    mut replica: Box<dyn Replica>,
    events: usize,
) -> std::result::Result<(), JournalError> {
    for at in 1..=events as u64 {
        if let Some(kept) = replica.append(event(at)) {
            kept.await?;
        }
    }
    Ok(())
}

fn event(at: u64) -> Record {
    static BLOCK: [u8; EVENT] = [b'x'; EVENT];
    Record {
        batch: Batch {
            first: at,
            bytes: Bytes::from_static(&BLOCK),
            entries: vec![Entry {
                end: EVENT as u32,
                id: None,
            }],
            seams: Vec::new(),
        },
        state: Bytes::from_static(b"some state"),
        at: 1_700_000_000_000,
        low: at.saturating_sub(KEEP),
    }
}

/// Bytes of one such record on disk: its frame, and what it says of itself.
fn record_bytes() -> f64 {
    let mut bytes = bytes::BytesMut::new();
    event(100_000).encode(&mut bytes);
    (bytes.len() + 12 + 17) as f64
}

/// As many bytes, with one write for as many events as there are streams.
fn plain(directory: &Path, sync: Sync, events: usize) -> Result<f64> {
    let group = vec![b'x'; record_bytes() as usize * STREAMS];
    let mut file = File::create(directory.join("plain"))?;
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
    Ok(events as f64 / start.elapsed().as_secs_f64())
}

// === Reading ===

/// Streams whose records lie in turn, as they do when all are busy, and one
/// alone.
fn reads(runtime: &Runtime, directory: &Path, size: u64) -> Result<()> {
    println!("{:<24}{:>12}{:>10}", "read back, warm", "seconds", "MB/s");
    for streams in [STREAMS, 8, 1] {
        let _ = fs::remove_dir_all(directory);
        let settings = settings(directory, Sync::Never);
        let disk = Disk::open(settings.clone())?;
        let events = size / record_bytes() as u64 / streams as u64;
        runtime.block_on(async {
            let fill = |at| tokio::spawn(fill(begin(&disk, at), events));
            for stream in (0..streams).map(fill).collect::<Vec<_>>() {
                stream.await??;
            }
            Result::Ok(())
        })?;
        close(runtime, &disk)?;

        let start = Instant::now();
        let disk = Disk::open(settings)?;
        report(&format!("recovery, {streams} streams"), size, start);

        let start = Instant::now();
        let bytes = replay(runtime, &disk, streams)?;
        report(&format!("replay, {streams} streams"), bytes, start);
        close(runtime, &disk)?;
    }
    Ok(())
}

/// Finds every stream, and returns how many bytes its frames have.
fn replay(runtime: &Runtime, disk: &Disk, streams: usize) -> Result<u64> {
    let mut records = 0;
    for at in 0..streams {
        let found = disk.find(&Name(Bytes::from(format!("stream {at}"))));
        let kept = match found {
            Some(found) => runtime.block_on(found)?,
            None => None,
        };
        records += kept.ok_or("a stream is gone")?.records.len();
    }
    Ok(records as u64 * record_bytes() as u64)
}

fn report(what: &str, bytes: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what:<24}{seconds:>12.2}{:>10.0}",
        bytes as f64 / seconds / 1e6
    );
}

/// Records of one event each, none of which is trimmed.
async fn fill(mut replica: Box<dyn Replica>, events: u64) -> std::result::Result<(), JournalError> {
    for at in 1..=events {
        let mut record = event(at);
        record.low = 0;
        if let Some(kept) = replica.append(record) {
            kept.await?;
        }
    }
    Ok(())
}
