//! Where a log outlives its process.
//!
//! A stream's pump hands every batch to its journal before it publishes it to
//! readers, so nothing a client has seen can be unknown to the journal:
//!
//! ```text
//! pump → replica.append(record) → log.publish(batch) → readers
//! ```
//!
//! Readers only ever read the local log. [`Memory`] keeps nothing beyond the
//! log itself and is the default.
//!
//! A [`Journal`] is what all streams of a process share; a [`Replica`] is one
//! stream's place in it. Each stream has one *owner* at a time: the process
//! whose replica may append, and which therefore holds the stream's upstream
//! connection. All other replicas of it *follow*: they are handed what the
//! owner appended, and become owner when it is gone.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

#[cfg(feature = "disk")]
pub mod disk;
mod memory;
pub(crate) mod pack;
mod record;
#[cfg(feature = "redis")]
pub mod redis;

pub use memory::Memory;
pub use pack::Garbled;
pub use record::Record;

/// An answer that takes time: disk or network.
pub type Reply<T> = Pin<Box<dyn Future<Output = Result<T, JournalError>> + Send>>;

/// Keeps streams beyond the life of their log.
///
/// Methods answer `None` where there is nothing to wait for and nothing to
/// know: that is what [`Memory`] always does, at no cost.
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// The key with which names and principals are hashed, the same for every
    /// process that is to find this journal's streams. `None`: nothing outlives
    /// this process, so any key will do.
    fn secret(&self) -> Option<[u8; 32]> {
        None
    }

    /// A place for a stream whose name nobody else can know yet. It is owned
    /// from the start, without asking.
    fn create(&self, stream: &Name) -> Option<Box<dyn Replica>>;

    /// Looks for a stream that somebody has begun, here or elsewhere.
    fn find(&self, stream: &Name) -> Option<Reply<Option<Kept>>>;

    /// Looks for a stream that whoever asks first is to begin. While another
    /// process is about to, this waits for what comes of it, but not forever.
    fn claim(&self, stream: &Name) -> Option<Reply<Claim>>;

    /// A place for a claimed stream while the journal cannot be reached: it
    /// follows, and becomes owner, whenever the journal lets it.
    ///
    /// Answered by journals whose [`claim`](Self::claim) can fail for a time.
    fn follow(&self, stream: &Name) -> Option<Box<dyn Replica>> {
        let _ = stream;
        None
    }

    /// Gives a stream another name, for this long after its last use: if
    /// another stream has that name, other than the one `instead` of which this
    /// one is to have it, that is the answer. Known to outlive the process once
    /// it resolves.
    fn alias(
        &self,
        alias: &Name,
        stream: &Name,
        retain: Duration,
        instead: Option<&Name>,
    ) -> Option<Reply<Option<Name>>>;

    /// The stream that has such a name.
    fn resolve(&self, alias: &Name) -> Option<Reply<Option<Name>>>;

    /// Takes such a name away from the stream it was given, if that has it still:
    /// nothing came of it. Not waited for.
    fn unalias(&self, alias: &Name, stream: &Name);

    /// Whether other processes write to it at the same time.
    fn is_shared(&self) -> bool {
        false
    }

    /// What becomes of streams while it is out of reach.
    fn on_loss(&self) -> OnLoss {
        OnLoss::Pause
    }

    /// How it does, for the operator.
    fn health(&self) -> Health {
        Health::default()
    }

    /// Everything appended is made as safe as it can be, and whatever is owned
    /// is handed over. Nothing is appended after this.
    fn close(&self) -> Option<Reply<()>> {
        None
    }
}

/// One stream's place in a journal.
///
/// Dropping it hands the stream over, at once where others follow it, and
/// keeps it for as long as it is to be retained.
pub trait Replica: fmt::Debug + Send {
    /// What is to be kept of the stream once, beside its records; how long it
    /// is to be kept after its owner is gone. Before the first record; what
    /// goes wrong is said when that is appended.
    fn begin(&mut self, head: Bytes, retain: Duration);

    /// Keeps a record, whose batch begins right after the last one kept; one
    /// that begins later makes everything before it forgotten. `None` means
    /// that it is kept already, which spares the hot path a future.
    ///
    /// Never called again before the last answer. If that is dropped, whether
    /// the record is kept is not known.
    fn append(&mut self, record: Record) -> Option<Reply<Appended>>;

    /// Blocks up to this one need not be kept any more.
    fn trim(&mut self, low: u64);

    /// Whether the stream is read in this process. An owner that nobody reads
    /// is told whether other replicas are ([`News::Readers`]); one that follows
    /// and is not read does not strive for ownership.
    fn attend(&mut self, read: bool);

    /// What happened that the stream did not do itself. Ready when there is
    /// something.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<News>;

    /// Asks the owner of a stream that this replica follows to end it
    /// ([`News::Stop`]). Not waited for; lost if there is no owner just now.
    fn stop(&mut self, forget: bool) {
        let _ = forget;
    }

    /// Gives up ownership, so that another replica may have it at once. If
    /// none follows, this one may become owner again.
    fn release(&mut self) -> Option<Reply<()>>;

    /// The stream is over and its time is past: nothing of it is to be kept.
    fn forget(self: Box<Self>) -> Option<Reply<()>>;
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is kept.
    Kept,
    /// It is not, and must not be published: this replica is not the owner (any
    /// more). What others appended, and who is owner now, comes as news.
    Disowned,
}

/// What a replica is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The owner appended this. Records come in order, each once; one that
    /// does not begin right after the one before means that what lies between
    /// is no longer kept.
    Record(Record),
    /// The stream is this replica's to go on with.
    Owned {
        /// Whether it is proved that nothing was published beyond what the
        /// journal has. If not, what follows must get other ids than it may
        /// have had: a new epoch.
        continuous: bool,
        /// The last block the journal has. If the log has more, the journal
        /// lost it and is to be given it again.
        last: u64,
    },
    /// It is no longer: the upstream connection must be closed at once.
    Disowned,
    /// The journal is out of reach, and the stream is to go on without it, by
    /// itself and under a new epoch, until it is owned or disowned.
    Alone,
    /// Whether replicas that follow have readers. None have until it is said,
    /// each time the stream becomes this replica's.
    Readers(bool),
    /// Another process has a client that wants the stream to end.
    Stop {
        /// Whether nobody is to find it any more.
        forget: bool,
    },
    /// What this log has is not how others know the stream: it must be
    /// forgotten here, and its readers must come back.
    Diverged,
}

/// What a journal has of a stream.
#[derive(Debug)]
pub struct Kept {
    /// What [`Replica::begin`] was given.
    pub head: Bytes,
    /// Its retained records, in order and without a hole.
    pub records: Vec<Record>,
    /// Whether another process has it, as far as is known: if not, nobody has its
    /// upstream, and what that sends is missed.
    pub owned: bool,
    /// Its place. It follows; whether it is owned comes as [`News`], after the
    /// records that were appended meanwhile.
    pub replica: Box<dyn Replica>,
}

/// What became of a claim on a name.
#[derive(Debug)]
pub enum Claim {
    /// It is new, and owned: [`Replica::begin`] makes it known, dropping it
    /// lets the next one claim it.
    Mine(Box<dyn Replica>),
    /// It exists.
    Kept(Kept),
}

/// What becomes of streams while their journal is out of reach for a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// Nothing is delivered until it is back; clients are held by heartbeats.
    #[default]
    Pause,
    /// Each process goes on by itself. What is delivered meanwhile is known to
    /// nobody else.
    Continue,
}

/// What a stream is called in its journal. Opaque bytes; it holds no
/// credentials in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(pub Bytes);

/// How a journal does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether everything that is published is kept as the journal promises.
    pub durable: bool,
    /// What the operator should know, on one line.
    pub detail: String,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            durable: true,
            detail: String::new(),
        }
    }
}

/// A journal could not do what it was asked to.
#[derive(Clone, Debug)]
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
