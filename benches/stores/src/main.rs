//! The journal on disk beside libraries that could have kept its records:
//!
//! ```sh
//! cargo run --release --manifest-path benches/stores/Cargo.toml
//! ```
//!
//! The same work for all, from one thread. A group is one event of 200 bytes
//! from each of 64 streams, which is what a group commit comes to; it must have
//! been taken before the next one is given, and is synced once a second.
//!
//! * *append and trim*: each stream keeps its last 1024 events. Then what the
//!   directory takes.
//! * *append*: nothing is trimmed. The store is closed.
//! * *recover*: opening that.
//! * *replay*: reading all of it, stream by stream.
//!
//! The stores take turns, for some rounds; the figures are medians. Files are
//! made below this package's target directory, or where `STORES_DIR` says.
//! `-- --quick` takes a tenth of the events.

mod kept;
mod own;
mod store;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use kept::{Fjall, Raft, Redb};
use own::Own;
use store::{GROUP, Result, Store, event};

const ROUNDS: usize = 3;
const KEEP: u64 = 1024;
/// Streams are trimmed once in so many groups.
const TRIM: u64 = 256;
const COLUMNS: [&str; 5] = [
    "append and trim, 1/s",
    "directory, MB",
    "append, 1/s",
    "recover, s",
    "replay, MB/s",
];

type Open = fn(&Path) -> Result<Box<dyn Store>>;

fn main() -> Result<()> {
    let quick = env::args().any(|argument| argument == "--quick");
    let groups = if quick { 800 } else { 8000 };
    let directory = env::var_os("STORES_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/stores-bench"),
        PathBuf::from,
    );
    let stores: [(&str, Open); 4] = [
        ("own segments", |path| Ok(Box::new(Own::open(path)?))),
        ("raft-engine", |path| Ok(Box::new(Raft::open(path)?))),
        ("fjall", |path| Ok(Box::new(Fjall::open(path)?))),
        ("redb", |path| Ok(Box::new(Redb::open(path)?))),
    ];
    let mut figures = vec![Vec::new(); stores.len()];
    for round in 1..=ROUNDS {
        for ((name, open), figures) in stores.iter().zip(&mut figures) {
            eprintln!("round {round} of {ROUNDS}: {name}");
            let _ = fs::remove_dir_all(&directory);
            fs::create_dir_all(&directory)?;
            figures.push(measure(*open, &directory, groups)?);
        }
    }
    fs::remove_dir_all(&directory)?;
    let events = groups * GROUP as u64;
    println!("{events} events each; median of {ROUNDS} rounds (least–most)\n");
    print!("{:<14}", "");
    COLUMNS.iter().for_each(|column| print!("{column:>28}"));
    println!();
    for ((name, _), rounds) in stores.iter().zip(&figures) {
        print!("{name:<14}");
        for column in 0..COLUMNS.len() {
            print!("{:>28}", summary(rounds, column));
        }
        println!();
    }
    Ok(())
}

fn summary(rounds: &[[f64; 5]], column: usize) -> String {
    let mut sorted: Vec<f64> = rounds.iter().map(|figures| figures[column]).collect();
    sorted.sort_by(f64::total_cmp);
    let most = sorted[sorted.len() - 1];
    let places = if most < 10.0 { 2 } else { 0 };
    let median = sorted[sorted.len() / 2];
    format!("{median:.places$} ({:.places$}–{most:.places$})", sorted[0])
}

fn measure(open: Open, directory: &Path, groups: u64) -> Result<[f64; 5]> {
    let busy = directory.join("busy");
    let mut store = open(&busy)?;
    let busy_rate = append(&mut *store, groups, Some(KEEP))?;
    drop(store);
    let megabytes = size(&busy)? as f64 / 1e6;
    fs::remove_dir_all(&busy)?;

    let full = directory.join("full");
    let mut store = open(&full)?;
    let rate = append(&mut *store, groups, None)?;
    drop(store);

    let start = Instant::now();
    let mut store = open(&full)?;
    let recovery = start.elapsed().as_secs_f64();

    let start = Instant::now();
    let mut records = 0;
    for stream in 0..GROUP {
        records += store.replay(stream, groups)?;
    }
    let bytes = (records * event(1, 0).len() as u64) as f64;
    let replay = bytes / start.elapsed().as_secs_f64() / 1e6;
    if records != groups * GROUP as u64 {
        return Err(format!("{records} records were found").into());
    }
    Ok([busy_rate, megabytes, rate, recovery, replay])
}

fn append(store: &mut dyn Store, groups: u64, keep: Option<u64>) -> Result<f64> {
    let start = Instant::now();
    let mut synced = start;
    for at in 1..=groups {
        let low = keep.map_or(0, |keep| at.saturating_sub(keep));
        store.append(at, low)?;
        if keep.is_some() && at % TRIM == 0 {
            store.trim(low)?;
        }
        if synced.elapsed() >= Duration::from_secs(1) {
            store.sync()?;
            synced = Instant::now();
        }
    }
    Ok((groups * GROUP as u64) as f64 / start.elapsed().as_secs_f64())
}

fn size(directory: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let data = entry.metadata()?;
        sum += if data.is_dir() {
            size(&entry.path())?
        } else {
            data.len()
        };
    }
    Ok(sum)
}
