//! The journal on disk: streams outlive their process.
//!
//! One directory holds the streams of one process:
//!
//! ```text
//! lock                 held by the process that has the directory
//! secret               the key with which names are hashed, made once
//! state                how the last run ended; see below
//! 0000000001.segment   frames of all streams, in the order they were written
//! 0000000002.segment
//! ```
//!
//! # Writing
//!
//! Records of all streams go to the end of the newest segment, each in a frame
//! with a checksum. One thread writes: whatever is waiting goes out in one
//! write, and with `sync: always` in one sync, and is then acknowledged. So a
//! disk that syncs a hundred times in a second still takes many thousand
//! records. Once a segment is full the next one is begun. Where everything is,
//! is known in memory only (12 bytes for a record), and found out again at
//! the start by reading all of it.
//!
//! # Forgetting
//!
//! Records below a stream's `low` are dead, and so is all of a forgotten
//! stream. The oldest segment is removed once nothing in it lives; what little
//! does is written again at the end. Past `max_bytes` it is removed
//! nevertheless, and streams begin later than they should; they never have a
//! hole.
//!
//! A stream that nobody has in this process is forgotten `retain` after its
//! last use. For those found at the start, that time runs from the start.
//!
//! # What is promised
//!
//! *What was acknowledged is there again*, in order and without a hole, after
//! the process was killed at any moment; with `sync: always` also after a loss
//! of power, with `sync: interval` then but for the last interval.
//!
//! *What is there was appended.* No record is made up, and none is put where
//! another belongs, whatever bytes are found: all have been checked.
//!
//! *Continuity is claimed only where it is proved.* A stream that is found may
//! go on under its old ids if nothing can have been acknowledged beyond what is
//! there. That takes two things. First, that the last run cannot have lost the
//! end of what it wrote: it was closed in order (it synced, and said so in
//! `state`), or it ran with `sync: always`, or the kernel is still the one that
//! was given the data, by its boot id; a process that is killed takes nothing
//! from the kernel. Second, that all there should be is there: segments are
//! numbered without a gap, each reaches as far as the next one says, and all
//! frames are whole, but for one at the very end that was cut off in being
//! written. Otherwise each stream is `continuous: false` until it has a new
//! record, which it then appends under a new epoch. That doubt is written down,
//! so that it outlives the next crash.
//!
//! *A failing disk harms nobody but durability.* A write or sync that fails is
//! an error to those who wait for it, [`health`](Journal::health) says so, and
//! it is tried again every few seconds in a new segment. A segment whose sync
//! failed is not believed beyond its last good sync. When the disk works again
//! each stream is told how far the journal has it.
//!
//! Why these are files of its own and not those of a library:
//! `docs/design-notes.md`.
//!
//! # What is not
//!
//! A disk that lies about syncs, or loses what it had for good, is found out
//! only as far as checksums and lengths show it; a file that was cut back to
//! just after some frame by another hand does not show unless the last run was
//! closed in order. Nor does a directory that was put back from a copy: the
//! streams then go on from where they were, with ids that have been given since.
//! Remove `state` from it, and they get new ones. A failed sync followed by the death of the process, on a
//! disk that cannot even take a note of it, may pass for a mere kill. Nothing
//! is encrypted: the directory and its files are readable by their owner only.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use self::directory::Directory;
use self::open::open;
use self::queue::{Command, Place};
use self::replica::{DiskReplica, answered};
use self::shared::Shared;
use self::storage::Storage;
use super::{Claim, Health, Journal, JournalError, Kept, Name, Replica, Reply};

mod directory;
mod frame;
mod group;
mod index;
mod open;
mod outage;
mod queue;
mod reading;
mod reclaim;
mod records;
mod recovery;
mod replica;
mod segment;
mod settings;
mod shared;
mod state;
pub mod storage;
mod syncer;
mod writer;

pub use settings::{DiskSettings, Sync};

/// A journal in a directory.
///
/// Its futures read files through [`tokio::task::spawn_blocking`], so they are
/// to be polled in a tokio runtime. [`close`](Journal::close) it in the end:
/// dropping it ends it in the same way, but does not wait for that.
pub struct Disk {
    shared: Arc<Shared>,
    secret: [u8; 32],
}

impl Disk {
    /// Opens the journal in a directory, and makes it if there is none. Reads
    /// all there is, which takes about a second for each GiB.
    ///
    /// # Errors
    ///
    /// If the directory cannot be used, another process has it, or it was
    /// written by a later version. Nothing is changed then.
    pub fn open(settings: DiskSettings) -> Result<Self, JournalError> {
        let directory = Directory::open(&settings.path)?;
        Self::open_in(settings, Arc::new(directory))
    }

    /// The same in a directory that need not be one of the file system; that
    /// of the settings is not looked at.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_in(
        settings: DiskSettings,
        storage: Arc<dyn Storage>,
    ) -> Result<Self, JournalError> {
        let (shared, secret) = open(settings, storage)?;
        Ok(Self { shared, secret })
    }

    fn ask(&self, name: &Name, claim: bool) -> Reply<Option<Claim>> {
        let (replica, news) = DiskReplica::new(&self.shared);
        let (answer, place) = oneshot::channel();
        self.shared.send(Command::Find {
            name: name.clone(),
            token: replica.token(),
            news,
            claim,
            answer,
        });
        Box::pin(async move {
            let replica: Box<dyn Replica> = Box::new(replica);
            let reading = match answered(place.await)? {
                Place::Nothing => return Ok(None),
                Place::New => return Ok(Some(Claim::Mine(replica))),
                Place::Kept(reading) => reading,
            };
            let read = tokio::task::spawn_blocking(move || reading.read()).await;
            match read {
                Ok(Ok((head, records))) => Ok(Some(Claim::Kept(Kept {
                    head,
                    records,
                    owned: false,
                    replica,
                }))),
                Ok(Err(error)) => Err(unread(&error)),
                Err(error) => Err(unread(&error)),
            }
        })
    }
}

fn unread(error: &dyn fmt::Display) -> JournalError {
    JournalError::new(format!("a stream could not be read back: {error}"))
}

impl Journal for Disk {
    fn secret(&self) -> Option<[u8; 32]> {
        Some(self.secret)
    }

    fn create(&self, stream: &Name) -> Option<Box<dyn Replica>> {
        let (replica, news) = DiskReplica::new(&self.shared);
        self.shared.send(Command::Create {
            name: stream.clone(),
            token: replica.token(),
            news,
        });
        Some(Box::new(replica))
    }

    fn find(&self, stream: &Name) -> Option<Reply<Option<Kept>>> {
        let asked = self.ask(stream, false);
        Some(Box::pin(async move {
            match asked.await? {
                Some(Claim::Kept(kept)) => Ok(Some(kept)),
                Some(Claim::Mine(_)) | None => Ok(None),
            }
        }))
    }

    fn claim(&self, stream: &Name) -> Option<Reply<Claim>> {
        let asked = self.ask(stream, true);
        Some(Box::pin(async move {
            let claim = asked.await?;
            claim.ok_or_else(|| JournalError::new("a stream's place could not be read"))
        }))
    }

    fn alias(
        &self,
        alias: &Name,
        stream: &Name,
        retain: Duration,
        instead: Option<&Name>,
    ) -> Option<Reply<Option<Name>>> {
        let (answer, given) = oneshot::channel();
        self.shared.send(Command::Alias {
            alias: alias.clone(),
            stream: stream.clone(),
            retain,
            instead: instead.cloned(),
            answer,
        });
        Some(Box::pin(async move { answered(given.await) }))
    }

    fn resolve(&self, alias: &Name) -> Option<Reply<Option<Name>>> {
        let (answer, given) = oneshot::channel();
        let alias = alias.clone();
        self.shared.send(Command::Resolve { alias, answer });
        Some(Box::pin(async move { answered(given.await) }))
    }

    fn unalias(&self, alias: &Name, stream: &Name) {
        let (alias, stream) = (alias.clone(), stream.clone());
        self.shared.send(Command::Unalias { alias, stream });
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn close(&self) -> Option<Reply<()>> {
        let (answer, closed) = oneshot::channel();
        let answer = Some(answer);
        if self.shared.queue.push(Command::Close { answer }).is_some() {
            return None;
        }
        Some(Box::pin(async move { answered(closed.await) }))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.send(Command::Close { answer: None });
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}
