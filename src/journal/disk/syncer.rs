use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::queue::Command;
use super::shared::Shared;
use super::storage::File;

/// Up to which length which segment is to be synced.
pub(super) type Job = Vec<(u32, u32, Arc<dyn File>)>;

/// What came of it.
pub(super) type Done = Vec<(u32, u32, io::Result<()>)>;

/// A thread that waits for the disk, so that streams do not. It is started
/// when first needed, and ends with this.
#[derive(Debug)]
pub(super) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<(Sender<Job>, Receiver<Done>)>,
    busy: bool,
}

impl Syncer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            thread: None,
            busy: false,
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Begins a sync. Once it is done there is a [`Command::Synced`].
    pub(super) fn start(&mut self, job: Job) {
        if self.thread.is_none() {
            let (sender, jobs) = channel();
            let (results, done) = channel();
            let shared = Arc::clone(&self.shared);
            let run = move || run(&shared, &jobs, &results);
            let thread = std::thread::Builder::new().name("journal-sync".to_owned());
            self.thread = thread.spawn(run).ok().map(|_| (sender, done));
        }
        // Without a thread it is tried again at the next interval.
        if let Some((sender, _)) = &self.thread {
            self.busy = sender.send(job).is_ok();
        }
    }

    /// What came of the sync that was begun, if it is done.
    pub(super) fn done(&mut self) -> Option<Done> {
        let (_, done) = self.thread.as_ref().filter(|_| self.busy)?;
        let done = done.try_recv().ok()?;
        self.busy = false;
        Some(done)
    }

    /// The same; waits for it. A failure is told only once, by whichever sync
    /// of a file comes first: so there must never be two at a time.
    pub(super) fn wait(&mut self) -> Option<Done> {
        let (_, done) = self.thread.as_ref().filter(|_| self.busy)?;
        let done = done.recv().ok();
        self.busy = false;
        done
    }
}

fn run(shared: &Shared, jobs: &Receiver<Job>, results: &Sender<Done>) {
    for job in jobs {
        let sync = |(number, len, file): (u32, u32, Arc<dyn File>)| (number, len, file.sync());
        let done = job.into_iter().map(sync).collect();
        if results.send(done).is_err() {
            return;
        }
        shared.send(Command::Synced);
    }
}
