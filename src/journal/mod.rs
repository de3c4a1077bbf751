//! Where a log outlives its process.
//!
//! A stream's pump hands every batch to its [`Journal`] before it publishes it
//! to readers, so nothing a client has seen can be unknown to the journal:
//!
//! ```text
//! pump → journal.append(batch) → log.publish(batch) → readers
//! ```
//!
//! Readers only ever read the local log. [`Memory`] keeps nothing beyond the
//! log itself and is the default.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::log::Batch;

mod memory;

pub use memory::Memory;

/// An answer that takes time: disk or network.
pub type Reply<T> = Pin<Box<dyn Future<Output = Result<T, JournalError>> + Send>>;

/// Keeps streams beyond the life of their log.
///
/// Implementations are called by one pump per stream; calls for one stream
/// never overlap, calls for different streams do.
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// Keeps a batch. `None` means that it is kept already, which spares the
    /// hot path a future.
    ///
    /// Answering before the batch is safe makes the journal promise more than
    /// it has; never answering stops the stream.
    fn append(&self, stream: &Name, batch: &Batch) -> Option<Reply<()>>;

    /// What is kept of a stream, oldest first; `None` if it is not known.
    ///
    /// An implementation that cannot prove that this is an unbroken run must
    /// answer `None`: ids of a broken one would name other events than before.
    fn load(&self, stream: &Name) -> Reply<Option<Vec<Batch>>>;

    /// The next batch after a position, appended by another process. Resolves
    /// when there is one.
    fn tail(&self, stream: &Name, after: u64) -> Reply<Batch>;

    /// Asks to be the one owner of the stream's upstream connection for this
    /// long. `None` means that somebody else is.
    fn lease(&self, stream: &Name, time: Duration) -> Reply<Option<Lease>>;

    /// Forgets a stream.
    fn remove(&self, stream: &Name) -> Reply<()>;
}

/// What a stream is called in its journal. Opaque bytes; it holds no
/// credentials in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(pub Bytes);

/// The right to write to a stream, fenced by a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Grows with every new owner; a write with a smaller one is refused.
    pub token: u64,
}

/// A journal could not do what it was asked to.
#[derive(Debug)]
pub struct JournalError {
    what: String,
}

impl JournalError {
    /// An error that tells the operator what failed, where, and what to do.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "journal: {}", self.what)
    }
}

impl std::error::Error for JournalError {}
