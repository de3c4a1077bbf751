use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::queue::Command;
use super::shared::Shared;
use super::storage::File;

/// Up to which length which file is to be synced.
pub(super) type Job = Vec<(u32, u32, Arc<dyn File>)>;

type Done = Vec<(u32, u32, io::Result<()>)>;

/// A thread that waits for the disk, so that streams do not. It is started
/// when first needed.
#[derive(Debug, Default)]
pub(super) struct Syncer {
    shared: Option<Arc<Shared>>,
    thread: Option<(Sender<Job>, JoinHandle<Done>)>,
    busy: bool,
}

impl Syncer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared: Some(shared),
            ..Self::default()
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Begins a sync; what comes of it is a [`Command::Synced`].
    pub(super) fn start(&mut self, job: Job) {
        if self.thread.is_none()
            && let Some(shared) = self.shared.clone()
        {
            let (sender, jobs) = channel();
            let run = move || run(&shared, &jobs);
            let thread = std::thread::Builder::new().name("journal-sync".to_owned());
            self.thread = thread.spawn(run).ok().map(|thread| (sender, thread));
        }
        // Without a thread it is tried again at the next interval.
        if let Some((sender, _)) = &self.thread {
            self.busy = sender.send(job).is_ok();
        }
    }

    pub(super) fn done(&mut self) {
        self.busy = false;
    }

    /// Ends the thread, and says what came of its last sync if nobody else was
    /// told.
    pub(super) fn finish(self) -> Done {
        let Some((sender, thread)) = self.thread else {
            return Vec::new();
        };
        drop(sender);
        thread.join().unwrap_or_default()
    }
}

/// Returns what the queue did not take any more.
fn run(shared: &Shared, jobs: &Receiver<Job>) -> Done {
    let mut rest = Vec::new();
    for job in jobs {
        let sync = |(number, len, file): (u32, u32, Arc<dyn File>)| (number, len, file.sync());
        let done = job.into_iter().map(sync).collect();
        if let Some(Command::Synced(done)) = shared.queue.push(Command::Synced(done)) {
            rest.extend(done);
        }
    }
    rest
}
