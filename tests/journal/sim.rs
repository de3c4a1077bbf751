//! A disk that can be unplugged, filled and broken.
//!
//! What is written is seen by whoever reads, and is with the disk only after a
//! sync of the file; a name is there for good only after a sync of the
//! directory. When the power goes, each page that was not synced is there or
//! not as chance has it, and so is each later change of the directory but for
//! those after one that is not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tower_sse::journal::disk::storage::{File, Storage};

const PAGE: usize = 64;

/// The machine. A [`Mount`] of it is what one process sees.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    files: Vec<Content>,
    /// Names as they are seen.
    names: BTreeMap<String, usize>,
    /// Names as they are for good.
    kept: BTreeMap<String, usize>,
    /// The changes between the two.
    changes: Vec<Change>,
    /// Which process may still do something.
    process: u32,
    boot: u32,
    now: Instant,
    faults: Faults,
    writes: u64,
    syncs: u64,
    name_syncs: u64,
    /// Calls until everything stops.
    fuse: Option<u64>,
    rng: Rng,
}

#[derive(Clone, Debug)]
enum Change {
    Put(String, usize),
    Remove(String),
}

#[derive(Clone, Debug, Default)]
struct Content {
    seen: Vec<u8>,
    kept: Vec<u8>,
    /// Pages that a sync would write.
    dirty: BTreeSet<usize>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// From this write on, counted from 1, as many as are said fail.
    pub(crate) writes: Option<(u64, u64)>,
    /// The same of syncs of files.
    pub(crate) syncs: Option<(u64, u64)>,
    /// The same of syncs of the directory.
    pub(crate) names: Option<(u64, u64)>,
    /// A write brings its thread down.
    pub(crate) panic: bool,
    /// Files can be cut no more.
    pub(crate) truncate: bool,
    /// A write takes only some of what it is given.
    pub(crate) short: bool,
}

impl Machine {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                files: Vec::new(),
                names: BTreeMap::new(),
                kept: BTreeMap::new(),
                changes: Vec::new(),
                process: 0,
                boot: 0,
                now: Instant::now(),
                faults: Faults::default(),
                writes: 0,
                syncs: 0,
                name_syncs: 0,
                fuse: None,
                rng: Rng::with_seed(seed),
            })),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What a new process sees. No earlier one does anything more.
    pub(crate) fn mount(&self) -> Arc<Mount> {
        let mut state = self.state();
        state.process += 1;
        state.fuse = None;
        Arc::new(Mount {
            machine: self.clone(),
            process: state.process,
        })
    }

    /// The process dies.
    pub(crate) fn kill(&self) {
        self.state().process += 1;
    }

    /// The power goes, and comes back.
    pub(crate) fn cut_power(&self) {
        let mut state = self.state();
        let state = &mut *state;
        state.process += 1;
        state.boot += 1;
        let survive = state.rng.usize(..=state.changes.len());
        for change in state.changes.drain(..).take(survive) {
            apply(&mut state.kept, change);
        }
        state.names = state.kept.clone();
        for file in &mut state.files {
            file.cut_power(&mut state.rng);
        }
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        let mut state = self.state();
        state.faults = faults;
        state.writes = 0;
        state.syncs = 0;
        state.name_syncs = 0;
    }

    /// After so many more calls everything stops, as when the process is killed
    /// in the midst of one.
    pub(crate) fn set_fuse(&self, calls: u64) {
        self.state().fuse = Some(calls);
    }

    /// Whether the fuse has blown.
    pub(crate) fn is_dead(&self) -> bool {
        self.state().fuse == Some(0)
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.state().now += time;
    }

    /// Names and contents as they are seen.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let content = |(name, at): (&String, &usize)| (name.clone(), state.files[*at].seen.clone());
        state.names.iter().map(content).collect()
    }

    /// Another machine with these files, all of them for good.
    pub(crate) fn with_files(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let machine = Self::new(0);
        let mut state = machine.state();
        for (name, bytes) in files {
            let at = state.files.len();
            state.files.push(Content {
                seen: bytes.clone(),
                kept: bytes.clone(),
                dirty: BTreeSet::new(),
            });
            state.names.insert(name.clone(), at);
            state.kept.insert(name.clone(), at);
        }
        drop(state);
        machine
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: Change) {
    match change {
        Change::Put(name, file) => names.insert(name, file),
        Change::Remove(name) => names.remove(&name),
    };
}

impl Content {
    fn write(&mut self, bytes: &[u8], at: usize) {
        let end = at + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / PAGE..=(end - 1) / PAGE);
    }

    fn truncate(&mut self, size: usize) {
        self.seen.resize(size, 0);
        self.dirty.insert(size / PAGE);
    }

    fn sync(&mut self) {
        self.kept.resize(self.seen.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            self.keep(page);
        }
    }

    /// A page reaches the disk.
    fn keep(&mut self, page: usize) {
        let start = page * PAGE;
        let end = (start + PAGE).min(self.seen.len());
        if start >= end {
            return;
        }
        if self.kept.len() < end {
            self.kept.resize(end, 0);
        }
        self.kept[start..end].copy_from_slice(&self.seen[start..end]);
    }

    fn cut_power(&mut self, rng: &mut Rng) {
        // In order, as most disks do, or in any order.
        let ordered = rng.bool();
        let dirty = std::mem::take(&mut self.dirty);
        let first = rng.usize(..=dirty.len());
        for (at, page) in dirty.into_iter().enumerate() {
            if if ordered { at < first } else { rng.bool() } {
                self.keep(page);
            }
        }
        if rng.u8(..4) == 0 && self.kept.len() < self.seen.len() {
            // The size is there before what it stands for.
            self.kept.resize(self.seen.len(), 0);
        }
        self.seen = self.kept.clone();
    }
}

/// What one process sees of the machine.
#[derive(Debug)]
pub(crate) struct Mount {
    machine: Machine,
    process: u32,
}

#[derive(Debug)]
struct Open {
    machine: Machine,
    process: u32,
    file: usize,
}

fn state(machine: &Machine, process: u32) -> io::Result<MutexGuard<'_, State>> {
    let mut state = machine.state();
    match &mut state.fuse {
        Some(0) => return Err(io::Error::other("dead")),
        Some(left) => *left -= 1,
        None => {}
    }
    if state.process != process {
        return Err(io::Error::other("dead"));
    }
    Ok(state)
}

impl Mount {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        state(&self.machine, self.process)
    }

    fn opened(&self, file: usize) -> Arc<dyn File> {
        Arc::new(Open {
            machine: self.machine.clone(),
            process: self.process,
            file,
        })
    }
}

impl Storage for Mount {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state()?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.state()?;
        let file = if let Some(file) = state.names.get(name).copied() {
            state.files[file].truncate(0);
            file
        } else {
            state.files.push(Content::default());
            let file = state.files.len() - 1;
            let change = Change::Put(name.to_owned(), file);
            apply(&mut state.names, change.clone());
            state.changes.push(change);
            file
        };
        Ok(self.opened(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let state = self.state()?;
        let file = state.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(self.opened(*file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state()?;
        let file = *state.names.get(from).ok_or(ErrorKind::NotFound)?;
        // Both or neither: one change to the directory, in this order.
        for change in [
            Change::Put(to.to_owned(), file),
            Change::Remove(from.to_owned()),
        ] {
            apply(&mut state.names, change.clone());
            state.changes.push(change);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state()?;
        if !state.names.contains_key(name) {
            return Err(ErrorKind::NotFound.into());
        }
        let change = Change::Remove(name.to_owned());
        apply(&mut state.names, change.clone());
        state.changes.push(change);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.name_syncs += 1;
        if is_hit(state.faults.names, state.name_syncs) {
            return Err(io::Error::other("input/output error"));
        }
        state.kept = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn boot(&self) -> Option<String> {
        Some(self.machine.state().boot.to_string())
    }

    fn now(&self) -> Instant {
        self.machine.state().now
    }

    fn name(&self) -> String {
        "machine".to_owned()
    }
}

impl Open {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        state(&self.machine, self.process)
    }
}

fn is_hit(fault: Option<(u64, u64)>, count: u64) -> bool {
    fault.is_some_and(|(first, many)| count >= first && count - first < many)
}

impl File for Open {
    fn size(&self) -> io::Result<u64> {
        Ok(self.state()?.files[self.file].seen.len() as u64)
    }

    fn read(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let state = self.state()?;
        let seen = &state.files[self.file].seen;
        let from = seen.get(usize::try_from(at).unwrap()..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        // A process may die having written half of it.
        if self.machine.state().fuse == Some(0) {
            let mut state = self.machine.state();
            let some = state.rng.usize(..=bytes.len());
            if state.process == self.process && some > 0 {
                state.process += 1;
                let at = usize::try_from(at).unwrap();
                state.files[self.file].write(&bytes[..some], at);
            }
            return Err(io::Error::other("dead"));
        }
        let mut state = self.state()?;
        if state.faults.panic {
            drop(state);
            panic!("a mistake");
        }
        state.writes += 1;
        let fails = is_hit(state.faults.writes, state.writes);
        let mut count = bytes.len();
        if (state.faults.short || fails) && count > 1 {
            count = state.rng.usize(1..count);
        }
        let at = usize::try_from(at).unwrap();
        state.files[self.file].write(&bytes[..count], at);
        if fails {
            return Err(io::Error::other("no space left on device"));
        }
        Ok(count)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let mut state = self.state()?;
        if state.faults.truncate {
            return Err(io::Error::other("read-only file system"));
        }
        state.files[self.file].truncate(usize::try_from(size).unwrap());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.syncs += 1;
        if is_hit(state.faults.syncs, state.syncs) {
            // What could not be written is taken for written from now on.
            state.files[self.file].dirty.clear();
            return Err(io::Error::other("input/output error"));
        }
        state.files[self.file].sync();
        Ok(())
    }
}
