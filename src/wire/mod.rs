//! Bytes ⇄ blocks: the event stream format, read and written.
//!
//! A [`Decoder`] turns the bytes of a `text/event-stream` body into
//! [`Frame`]s; [`encode_block`] and its neighbours write them again, in the one
//! form every client is known to read correctly. A [`Boundary`] follows bytes
//! that are passed on as they are, and only tells where a line of our own may
//! be put between them.
//!
//! The rules are those of [WHATWG HTML §9.2.5 and §9.2.6][spec]; where this
//! module is stricter, the item says so and why. It is not an `EventSource`:
//! a [`Block`] keeps its field lines as they came, including those a browser
//! would ignore, because other parsers read them.
//!
//! Nothing here does I/O, looks at a clock, or panics on input.
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use tower_sse::wire::{self, Decoder, Frame, Trailer};
//!
//! let mut decoder = Decoder::new(1024 * 1024);
//! decoder.push(Bytes::from_static(b"data: hel"));
//! assert_eq!(decoder.next_frame(), Ok(None));
//!
//! decoder.push(Bytes::from_static(b"lo\r\nid: 7\r\n\r\n"));
//! let Ok(Some(Frame::Block(block))) = decoder.next_frame() else {
//!     panic!("a blank line ends the block");
//! };
//! assert_eq!(block.lines, "data: hello\nid: 7\n");
//!
//! let mut out = BytesMut::new();
//! let trailer = Trailer { id: Some(b"s1.epoch.1"), ..Trailer::default() };
//! wire::encode_block(&mut out, &block, trailer);
//! assert_eq!(out, "data: hello\nid: s1.epoch.1\n\n");
//! ```
//!
//! [spec]: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream

mod boundary;
mod decode;
mod encode;
mod event;
#[cfg(feature = "gzip")]
pub mod gzip;

pub use boundary::{Boundary, LeadingBom};
pub use decode::{Decoder, EventTooLarge};
pub use encode::{
    HEARTBEAT, Trailer, encode_block, encode_comment, encode_event, encode_retry, same_payload,
};
pub use event::{Block, Frame, IdField};
