//! Resumable Server-Sent Events.

pub mod observe;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod journal;
pub mod log;
pub mod resume;
pub mod stream;
pub mod wire;

pub use resume::{Engine, SseLayer};
