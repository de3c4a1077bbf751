//! The life of a stream: from the upstream's bytes to the log, over as many
//! upstream connections as it takes.
//!
//! ```text
//! Source ──▶ Pump: Decoder ▶ Writer ▶ Journal ▶ Log ──▶ readers
//!              ▲ what to do, and when
//!           Session (pure: inputs and instants in, a state out)
//! ```
//!
//! A [`Stream`](stream::Stream) is the handle others hold, a
//! [`Pump`](pump::Pump) the one task behind it. The
//! [`Registry`](registry::Registry) finds streams by key and bounds them all.

pub mod backoff;
pub mod create;
mod epochs;
mod finish;
pub(crate) mod gap;
pub mod id;
mod keeper;
pub mod key;
mod overlap;
mod owners;
pub mod policy;
pub mod pump;
pub mod registry;
pub mod saved;
pub mod session;
pub mod source;
#[expect(clippy::module_inception, reason = "the noun the reader looks for")]
pub mod stream;
mod upstream;
mod writer;

pub use gap::{gap_comment, gap_data};
