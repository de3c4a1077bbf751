//! Threads that serve connections.
//!
//! A connection stays with the worker it was given to, and so does the stream
//! it opens: nothing of the two is shared with another core, and no scheduler
//! has to guard its queues against thieves. (A reader of a shared stream that is
//! with another worker is woken from afar.)

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Who serves the next connection.
#[derive(Debug)]
pub(crate) struct Workers {
    handles: Vec<Handle>,
    next: AtomicUsize,
    /// Ends the threads, and cuts what they still serve.
    _stop: DropGuard,
}

impl Workers {
    /// So many threads; with one, the runtime this is called in does the work.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let mut handles = Vec::new();
        for number in 1..=count {
            if count == 1 {
                break;
            }
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let stop = stop.clone();
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || runtime.block_on(stop.cancelled()))?;
        }
        if handles.is_empty() {
            handles.push(Handle::current());
        }
        Ok(Self {
            handles,
            next: AtomicUsize::new(0),
            _stop: stop.drop_guard(),
        })
    }

    /// The next one's turn.
    pub(crate) fn next(&self) -> &Handle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.handles[turn % self.handles.len()]
    }
}
