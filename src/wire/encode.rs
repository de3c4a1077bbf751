use bytes::{BufMut, BytesMut};
use memchr::{memchr, memchr2, memchr3_iter};

use super::event::{Block, value_start};

/// What keeps a silent connection alive: an empty comment, as a bare line.
///
/// Only to be written between blocks, and never with a blank line after it:
/// some clients take every blank line for the end of an event.
pub const HEARTBEAT: &[u8] = b":\n";

/// Room for what surrounds a trailer's values: names, colons, line ends, and
/// the digits of `retry`.
const TRAILER_ROOM: usize = 40;

/// What an encoded block gets besides its own lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trailer<'a> {
    /// The reconnection time to tell the client, in milliseconds. Written after
    /// the block's own lines, so it outweighs any `retry` among them.
    pub retry: Option<u64>,
    /// The id of the block. `Some(b"")` writes an empty id line, which resets
    /// the reader's last id; `None` writes none. CR, LF and NUL are dropped.
    pub id: Option<&'a [u8]>,
    /// Whether the block's own `retry` lines are left out.
    pub strip_retry: bool,
}

/// Writes `block` as one piece, ready to be sent.
///
/// Its lines come in their order, without any `id` line; then the pending
/// `retry`; then the id; then the blank line, all ended by LF. The id comes
/// last because some clients commit it when they read that line: a connection
/// that is cut before it costs nothing, whereas one cut between a leading id
/// and the data would lose an event.
///
/// If no line is left at all, nothing is written: a lone blank line is an
/// event to some clients.
///
/// A block must not be the very first thing on a connection: should its first
/// line begin with the bytes of a BOM, the client would take them for one. Send
/// a [`HEARTBEAT`] first.
pub fn encode_block(out: &mut BytesMut, block: &Block, trailer: Trailer<'_>) {
    let id_len = trailer.id.map_or(0, <[u8]>::len);
    out.reserve(block.lines.len() + id_len + TRAILER_ROOM);

    let start = out.len();
    put_own_lines(out, &block.lines, trailer.strip_retry);
    if let Some(millis) = trailer.retry {
        encode_retry(out, millis);
    }
    if let Some(id) = trailer.id {
        put_field(out, b"id", id);
    }
    if out.len() > start {
        out.put_u8(b'\n');
    }
}

/// Writes a comment as a bare line: `:`, the text, LF.
///
/// `text` is what follows the colon, so begins with a space if one is wanted.
/// CR, LF and NUL in it are dropped: it can never break out of its line.
pub fn encode_comment(out: &mut BytesMut, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.put_u8(b':');
    put_clean(out, text);
    out.put_u8(b'\n');
}

/// Writes the line `retry: <millis>` alone, to go before a block.
pub fn encode_retry(out: &mut BytesMut, millis: u64) {
    put_field(out, b"retry", millis.to_string().as_bytes());
}

/// Writes an event of our own, with its blank line.
///
/// CR, LF and CRLF in `data` each begin another `data` line, so a reader gets
/// an LF for each. In `event` and `id`, CR, LF and NUL are dropped. An empty
/// `event` writes no `event` line, which means the same: type `message`.
pub fn encode_event(out: &mut BytesMut, event: &str, data: &str, id: Option<&[u8]>) {
    if !event.is_empty() {
        put_field(out, b"event", event.as_bytes());
    }
    put_data(out, data.as_bytes());
    if let Some(id) = id {
        put_field(out, b"id", id);
    }
    out.put_u8(b'\n');
}

/// Whether `encoded`, made by [`encode_block`] from some block, carries exactly
/// the lines of `block`, `id` and `retry` lines aside.
///
/// This is what "the same bytes" means for a block that was seen before, as
/// those two are the only ones the encoder changes.
pub fn same_payload(encoded: &[u8], block: &Block) -> bool {
    let lines = encoded.strip_suffix(b"\n").unwrap_or(encoded);
    payload_lines(lines).eq(payload_lines(&block.lines))
}

/// Copies all lines but the ones to be left out, in runs as long as possible.
fn put_own_lines(out: &mut BytesMut, lines: &[u8], strip_retry: bool) {
    let mut run = 0;
    let mut start = 0;
    while let Some(len) = memchr(b'\n', &lines[start..]) {
        let end = start + len;
        let line = &lines[start..end];
        if is_field(line, b"id") || (strip_retry && is_field(line, b"retry")) {
            out.extend_from_slice(&lines[run..start]);
            run = end + 1;
        }
        start = end + 1;
    }
    out.extend_from_slice(&lines[run..]);
}

fn payload_lines(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split_inclusive(|&byte| byte == b'\n').filter(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        !is_field(line, b"id") && !is_field(line, b"retry")
    })
}

fn is_field(line: &[u8], name: &[u8]) -> bool {
    value_start(line, name).is_some()
}

fn put_data(out: &mut BytesMut, mut data: &[u8]) {
    while let Some(len) = memchr2(b'\n', b'\r', data) {
        put_field(out, b"data", &data[..len]);
        let end = if data[len..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        data = &data[len + end..];
    }
    put_field(out, b"data", data);
}

/// Writes a field line. The space is what a reader strips, so a value that
/// begins with one keeps it.
fn put_field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.put_u8(b':');
    if !value.is_empty() {
        out.put_u8(b' ');
        put_clean(out, value);
    }
    out.put_u8(b'\n');
}

/// Copies `text` without CR, LF and NUL.
fn put_clean(out: &mut BytesMut, text: &[u8]) {
    let mut start = 0;
    for at in memchr3_iter(b'\r', b'\n', 0, text) {
        out.extend_from_slice(&text[start..at]);
        start = at + 1;
    }
    out.extend_from_slice(&text[start..]);
}
