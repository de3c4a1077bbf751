use std::time::SystemTime;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;
use http::header::DATE;
use http::response::Parts;

/// The head of an event stream's answer (RFC 9112 §4), which goes on in chunks
/// until it is over, and with `close` takes its connection along.
pub(super) fn encode(head: &Parts, close: bool) -> Bytes {
    let mut out = begin(head);
    put(&mut out, "transfer-encoding", b"chunked");
    if close {
        put(&mut out, "connection", b"close");
    }
    out.put_slice(b"\r\n");
    out.freeze()
}

/// The head of an answer after which the connection speaks another protocol
/// (RFC 9110 §15.2.2).
pub(super) fn switching(head: &Parts, protocol: &HeaderValue) -> Bytes {
    let mut out = begin(head);
    put(&mut out, "connection", b"upgrade");
    put(&mut out, "upgrade", protocol.as_bytes());
    out.put_slice(b"\r\n");
    out.freeze()
}

fn begin(head: &Parts) -> BytesMut {
    let size: usize = head
        .headers
        .iter()
        .map(|(name, value)| line(name, value))
        .sum();
    let mut out = BytesMut::with_capacity(size + 128);
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(head.status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(
        head.status
            .canonical_reason()
            .unwrap_or_default()
            .as_bytes(),
    );
    out.put_slice(b"\r\n");
    for (name, value) in &head.headers {
        put(&mut out, name.as_str(), value.as_bytes());
    }
    if !head.headers.contains_key(DATE) {
        let date = httpdate::fmt_http_date(SystemTime::now());
        put(&mut out, "date", date.as_bytes());
    }
    out
}

fn line(name: &http::HeaderName, value: &http::HeaderValue) -> usize {
    name.as_str().len() + value.len() + 4
}

fn put(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}
