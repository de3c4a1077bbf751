//! Threads that accept connections, and serve them.
//!
//! Accepting has a thread of its own: as a task among others it would have its
//! turn only when all of them had theirs. Clients that come back all at once
//! would overflow the kernel's queue meanwhile, and wait a second before they
//! knock again.
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

/// Who does what.
#[derive(Debug)]
pub(crate) struct Workers {
    accepting: Handle,
    serving: Vec<Handle>,
    next: AtomicUsize,
    /// Ends the threads, and cuts what they still serve.
    _stop: DropGuard,
}

impl Workers {
    /// So many threads to serve; with one, the runtime this is called in does it.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let serving = match count {
            0 | 1 => vec![Handle::current()],
            _ => (1..=count)
                .map(|number| worker(format!("worker-{number}"), &stop))
                .collect::<io::Result<_>>()?,
        };
        Ok(Self {
            accepting: worker("accept".to_owned(), &stop)?,
            serving,
            next: AtomicUsize::new(0),
            _stop: stop.drop_guard(),
        })
    }

    /// Who accepts.
    pub(crate) fn accepting(&self) -> &Handle {
        &self.accepting
    }

    /// Everybody.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Handle> {
        self.serving.iter().chain([&self.accepting])
    }

    /// Whose turn it is to serve.
    pub(crate) fn next(&self) -> &Handle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.serving[turn % self.serving.len()]
    }
}

/// A thread with a runtime, until it is stopped.
fn worker(name: String, stop: &CancellationToken) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let stop = stop.clone();
    thread::Builder::new()
        .name(name)
        .spawn(move || runtime.block_on(stop.cancelled()))?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    /// The name of the thread that runs what is spawned there.
    async fn thread_of(handle: &Handle) -> String {
        let name = async { thread::current().name().unwrap_or_default().to_owned() };
        handle.spawn(name).await.unwrap()
    }

    #[tokio::test]
    async fn each_has_a_thread_of_its_own() {
        let workers = Workers::start(2).unwrap();
        assert_eq!(thread_of(workers.accepting()).await, "accept");
        let mut serving = BTreeSet::new();
        for _ in 0..2 {
            serving.insert(thread_of(workers.next()).await);
        }
        assert_eq!(serving, ["worker-1", "worker-2"].map(str::to_owned).into());
    }

    #[tokio::test]
    async fn one_worker_is_the_runtime_it_was_started_in() {
        let workers = Workers::start(1).unwrap();
        let here = thread::current().name().unwrap().to_owned();
        assert_eq!(thread_of(workers.next()).await, here);
        assert_eq!(thread_of(workers.accepting()).await, "accept");
    }

    #[tokio::test]
    async fn threads_end_with_what_they_still_serve() {
        let workers = Workers::start(2).unwrap();
        let handles = [workers.accepting(), workers.next(), workers.next()].map(Handle::clone);
        let served = handles.map(|handle| handle.spawn(std::future::pending::<()>()));
        drop(workers);
        for task in served {
            let end = tokio::time::timeout(Duration::from_secs(20), task).await;
            assert!(end.unwrap().unwrap_err().is_cancelled());
        }
    }
}
