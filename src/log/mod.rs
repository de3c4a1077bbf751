//! One stream's bounded memory: an append-only run of encoded blocks.
//!
//! A [`Log`] holds what was published last, up to its [`Limits`]. Blocks are
//! kept exactly as they will be written to clients, so replay is a slice and a
//! reference count, whatever the number of clients:
//!
//! ```text
//!            lo                                   hi
//!   trimmed   |  segment  |  segment  |  pieces…  |  next batch
//!             └─ sealed: one `Bytes` ─┘   open       goes here
//!                   ▲                       ▲
//!               a reader's cursor       another's
//! ```
//!
//! A [`Reader`] is a cursor and a waker, never a queue: a slow one costs
//! nothing, and one that falls off the oldest kept block is told by how much
//! ([`Next::Lagged`]).
//!
//! Readers that need the blocks in another [`Form`] get them by *units*, whose
//! ends are the same for all, so that each is made once.
//!
//! [`Ring`] is the memory itself, pure and without a lock; [`Log`] shares it.
//! Time is an argument wherever age matters.

mod batch;
mod form;
mod index;
mod limits;
#[expect(clippy::module_inception, reason = "the noun the reader looks for")]
mod log;
mod reader;
mod ring;
mod seam;
mod segment;

pub use self::log::{Attached, Ending, Hold, Log, Position};
pub use batch::{Batch, Entry};
pub use form::Form;
pub use limits::Limits;
pub use reader::{Next, Reader};
pub use ring::{Chunk, Ring};
pub use seam::{Seam, SeamKind};
