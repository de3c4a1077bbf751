//! The middleware: makes the event streams of a service resumable.
//!
//! [`SseLayer`] wraps any service that answers HTTP requests. What is not an
//! event stream passes untouched. An answer of 200 with `text/event-stream`
//! becomes a *stream*: it gets ids, heartbeats and a buffer, and lives on when
//! the client's connection or the upstream's is cut:
//!
//! ```
//! use axum::{Router, routing::get};
//! # async fn events() {}
//! let app: Router = Router::new()
//!     .route("/events", get(events))
//!     .layer(tower_sse::SseLayer::new());
//! ```
//!
//! Unlike `axum::response::sse::KeepAlive`, which adds heartbeats to one
//! response, the layer ties many responses to one stream: a client that returns
//! with `Last-Event-ID` gets what it missed, from the buffer.
//!
//! A request walks: [`service`](SseService) decides the kind of stream and
//! reads the client's cursor; `attach` answers from a stream that exists;
//! `open` calls the inner service for one that does not, and `opening` makes a
//! stream of its answer; `reopen` calls it again when its connection is lost;
//! [`SseBody`] is what the client reads.
//!
//! `control` answers what is asked about streams: to attach to one by its key,
//! to stop it, to list them.
//!
//! `recall` gets a stream back from the [journal](crate::journal) that another
//! process, or this one before a restart, has left there.
//!
//! Not promised: without a journal nothing survives the process, and a service that lost
//! events while it was away cannot be made to resend them. See
//! `docs/guarantees.md`.

mod attach;
mod body;
mod claims;
pub(crate) mod coding;
mod control;
mod cursor;
mod engine;
mod head;
mod inner;
mod key;
mod layer;
mod mcp;
mod name;
mod open;
mod opening;
mod packer;
mod policy;
mod principal;
pub mod profile;
mod recall;
mod renewal;
mod reopen;
mod request;
mod retry;
mod route;
mod service;
pub mod settings;
mod tally;

pub use body::SseBody;
pub use claims::Claims;
#[cfg(feature = "proxy")]
pub(crate) use cursor::set_query;
pub use engine::Engine;
#[cfg(feature = "proxy")]
pub(crate) use head::{is_encoded, is_event_stream};
pub use layer::SseLayer;
#[cfg(feature = "proxy")]
pub(crate) use reopen::Reopenable;
pub use request::RequestBody;
pub use service::SseService;
pub use tally::Tally;
