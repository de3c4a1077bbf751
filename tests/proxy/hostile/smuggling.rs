//! Messages that two readers may understand in two ways.
//!
//! Each probe is sent as it stands. What the upstream is sent for it is read by
//! the strictest reader there is: every request there must have been made by
//! the proxy as a request of its own, and have one meaning only.

use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::rest;
use crate::feed::{Feed, all_get_the_next, readers};
use crate::harness::{Proxy, config, eventually};
use crate::upstream::Upstream;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What an upstream was sent on each connection, byte by byte.
type Recorded = Arc<Mutex<Vec<Vec<u8>>>>;

/// Records everything, and answers each request it can tell.
async fn recorder() -> (Upstream, Recorded) {
    let recorded = Recorded::default();
    let shared = Arc::clone(&recorded);
    let upstream = Upstream::start(move |mut connection| {
        let recorded = Arc::clone(&shared);
        async move {
            let index = {
                let mut all = recorded.lock().unwrap();
                all.push(Vec::new());
                all.len() - 1
            };
            let mut answered = 0;
            while let Some(byte) = connection.exactly(1).await {
                let whole = {
                    let mut all = recorded.lock().unwrap();
                    all[index].extend(byte);
                    strict(&all[index]).map_or(0, |requests| requests.len())
                };
                while answered < whole {
                    connection.send(ANSWER).await;
                    answered += 1;
                }
            }
        }
    });
    (upstream.await, recorded)
}

/// A request as the strictest reader understands it.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    line: String,
    body: Vec<u8>,
}

/// All requests; an error where a reader could stumble, `Ok` with those that
/// are whole if the last is not.
fn strict(mut bytes: &[u8]) -> Result<Vec<Request>, String> {
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            return Ok(requests);
        };
        let head = std::str::from_utf8(&bytes[..end]).map_err(|error| error.to_string())?;
        let (line, body) = (&mut head.split("\r\n"), &bytes[end + 4..]);
        let first = line.next().unwrap_or_default().to_owned();
        let (mut length, mut chunked, mut ours) = (None, false, false);
        for field in line {
            let bad = |why: &str| Err(format!("{why}: {field:?} in {head:?}"));
            if field.contains(['\r', '\n', '\0']) || field.starts_with([' ', '\t']) {
                return bad("not one line");
            }
            let Some((name, value)) = field.split_once(": ") else {
                return bad("no field");
            };
            if name.trim() != name {
                return bad("a name with spaces");
            }
            match name.to_ascii_lowercase().as_str() {
                "content-length" if length.is_some() => return bad("a second length"),
                "content-length" => match value.parse::<usize>() {
                    Ok(number) if number.to_string() == value => length = Some(number),
                    _ => return bad("a length that is no number"),
                },
                "transfer-encoding" if chunked || value != "chunked" => {
                    return bad("an encoding that is not just chunked");
                }
                "transfer-encoding" => chunked = true,
                "x-forwarded-for" if value == "127.0.0.1" => ours = true,
                _ => {}
            }
        }
        if length.is_some() && chunked {
            return Err(format!("two lengths: {head:?}"));
        }
        if !ours {
            return Err(format!("not made by the proxy: {head:?}"));
        }
        let (body, rest) = match (length, chunked) {
            (_, true) => match dechunk(body)? {
                Some(whole) => whole,
                None => return Ok(requests),
            },
            (Some(length), _) if body.len() < length => return Ok(requests),
            (Some(length), _) => (body[..length].to_vec(), &body[length..]),
            (None, false) => (Vec::new(), body),
        };
        bytes = rest;
        requests.push(Request { line: first, body });
    }
    Ok(requests)
}

/// A body, and what follows it.
type Dechunked<'a> = (Vec<u8>, &'a [u8]);

/// A chunked body without extensions; `None` if it is not whole.
fn dechunk(mut bytes: &[u8]) -> Result<Option<Dechunked<'_>>, String> {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(bytes, b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&bytes[..end]).unwrap_or("?");
        let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let length = usize::from_str_radix(size, 16).ok().filter(|_| digits);
        let Some(length) = length else {
            return Err(format!("a chunk of {size:?}"));
        };
        bytes = &bytes[end + 2..];
        if bytes.len() < length + 2 {
            return Ok(None);
        }
        body.extend(&bytes[..length]);
        if &bytes[length..length + 2] != b"\r\n" {
            return Err("a chunk that ends nowhere".into());
        }
        bytes = &bytes[length + 2..];
        if length == 0 {
            return Ok(Some((body, bytes)));
        }
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|at| at == needle)
}

/// A POST with these fields and this body. What follows is a second request to
/// one reader, which is to be the last, and part of the first to another.
fn post(fields: &str, body: &str) -> String {
    format!(
        "POST /probe HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}\
         GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
}

/// What must be refused, and never reach an upstream.
fn refused() -> Vec<String> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    vec![
        // Lengths that differ, or are none.
        post("Content-Length: 4\r\nContent-Length: 5\r\n", "12345"),
        post("Content-Length: 4, 5\r\n", "12345"),
        post("Content-Length: +5\r\n", "12345"),
        post("Content-Length: -1\r\n", ""),
        post("Content-Length: 0x5\r\n", "12345"),
        post("Content-Length: 5 5\r\n", "12345"),
        post("Content-Length: 1e1\r\n", "12345"),
        post("Content-Length: 99999999999999999999999\r\n", "12345"),
        // Encodings that end nowhere.
        post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: identity\r\n", "0\r\n\r\n"),
        post(
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "0\r\n\r\n",
        ),
        post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"),
        // Lines that are two, and names that are none.
        post("X: a\r\n Content-Length: 5\r\n", "12345"),
        post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
        post("Content-Length : 5\r\n", "12345"),
        post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        post("X: a\0b\r\nContent-Length: 5\r\n", "12345"),
        post("X: a\rContent-Length: 5\r\n", "12345"),
        post("Content-Length: 5\r\nno field at all\r\n", "12345"),
        // Chunks that are none.
        post(chunked, "0x5\r\n12345\r\n0\r\n\r\n"),
        post(chunked, "-5\r\n12345\r\n0\r\n\r\n"),
        post(chunked, "FFFFFFFFFFFFFFFFF\r\n12345\r\n0\r\n\r\n"),
        post(chunked, "\r\n12345\r\n0\r\n\r\n"),
        post(chunked, "5\n12345\r\n0\r\n\r\n"),
        post(chunked, "3\r\n12345\r\n0\r\n\r\n"),
        post(chunked, "5\r\n12345\n\n0\r\n\r\n"),
        // The old protocol has no chunks.
        "POST /probe HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
    ]
}

/// What has one meaning, or can be given one: what the upstream must be sent.
fn forwarded() -> Vec<(String, &'static str)> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    vec![
        (post("Content-Length: 5\r\n", "12345"), "12345"),
        (
            post("Content-Length: 5\r\nContent-Length: 5\r\n", "12345"),
            "12345",
        ),
        // Both: the chunks count, and nobody is told of the length.
        (
            post(
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                "5\r\n12345\r\n0\r\n\r\n",
            ),
            "12345",
        ),
        (
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                "5\r\n12345\r\n0\r\n\r\n",
            ),
            "12345",
        ),
        (
            post("Transfer-Encoding: Chunked\r\n", "5\r\n12345\r\n0\r\n\r\n"),
            "12345",
        ),
        // Said to be for this hop alone, which a length is not.
        (
            post(
                "Connection: content-length\r\nContent-Length: 5\r\n",
                "12345",
            ),
            "12345",
        ),
        (
            post(
                "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n",
                "5\r\n12345\r\n0\r\n\r\n",
            ),
            "12345",
        ),
        (
            post(chunked, "5;ext=\"1\"\r\n12345\r\n0;a\r\n\r\n"),
            "12345",
        ),
        (post(chunked, "00005\r\n12345\r\n000\r\n\r\n"), "12345"),
        (
            "GET /probe HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n12345"
                .to_owned(),
            "12345",
        ),
        // Bare line feeds, which a server may take for line ends.
        (
            "POST /probe HTTP/1.1\nHost: a\nConnection: close\nContent-Length: 5\n\n12345"
                .to_owned(),
            "12345",
        ),
    ]
}

/// Sends a probe, and gets all that is answered to it.
async fn probe(proxy: &Proxy, bytes: &str) -> String {
    let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
    let _ = stream.write_all(bytes.as_bytes()).await;
    rest(&mut stream).await
}

fn all(recorded: &Recorded) -> Vec<Request> {
    let bytes = recorded.lock().unwrap().clone();
    let requests = bytes.iter().map(|bytes| strict(bytes).unwrap());
    requests.flatten().collect()
}

#[tokio::test]
async fn what_has_two_meanings_is_refused() {
    let feed = Feed::start().await;
    let bystanders = Proxy::start(feed.config()).await;
    let mut readers = readers(&bystanders, &feed, 3).await;
    for bytes in refused() {
        let (upstream, recorded) = recorder().await;
        let proxy = Proxy::start(config(&[upstream.url()])).await;
        let answer = probe(&proxy, &bytes).await;
        assert!(
            !answer.contains(" 200 "),
            "{bytes:?} was answered {answer:?}"
        );
        let requests = all(&recorded);
        assert!(requests.is_empty(), "{bytes:?} became {requests:?}");
        all_get_the_next(&mut readers, &feed).await;
    }
}

#[tokio::test]
async fn what_is_passed_on_has_one_meaning() {
    for (bytes, body) in forwarded() {
        let (upstream, recorded) = recorder().await;
        let proxy = Proxy::start(config(&[upstream.url()])).await;
        let answer = probe(&proxy, &bytes).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{bytes:?} was answered {answer:?}"
        );
        eventually("it is there", || async { !all(&recorded).is_empty() }).await;
        let requests = all(&recorded);
        let first = &requests[0];
        assert!(first.line.ends_with(" /probe HTTP/1.1"), "{first:?}");
        assert_eq!(String::from_utf8_lossy(&first.body), body, "{bytes:?}");
    }
}

/// A front proxy that went by the length would not agree where this request
/// ends, so nothing more is read from its connection.
#[tokio::test]
async fn after_two_lengths_a_connection_is_not_used_again() {
    let (upstream, recorded) = recorder().await;
    let proxy = Proxy::start(config(&[upstream.url()])).await;
    let bytes = post(
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "0\r\n\r\n",
    );
    let answer = probe(&proxy, &bytes).await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1, "{answer}");
    assert_eq!(all(&recorded).len(), 1);
}

#[test]
fn the_reader_is_strict() {
    let with = |fields: &str, body: &str| {
        let head = format!("POST / HTTP/1.1\r\nx-forwarded-for: 127.0.0.1\r\n{fields}\r\n{body}");
        strict(head.as_bytes()).map(|requests| requests.len())
    };
    assert_eq!(with("content-length: 2\r\n", "ab"), Ok(1));
    assert_eq!(
        with("transfer-encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n"),
        Ok(1)
    );
    assert_eq!(with("content-length: 2\r\n", "a"), Ok(0));
    for (fields, body) in [
        ("content-length: 2\r\ncontent-length: 2\r\n", "ab"),
        ("content-length: 02\r\n", "ab"),
        (
            "content-length: 2\r\ntransfer-encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        ("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        ("transfer-encoding: chunked\r\n", "0;a\r\n\r\n"),
        ("x: a\r\n b\r\n", ""),
        ("x : a\r\n", ""),
        ("", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ] {
        assert!(with(fields, body).is_err(), "{fields:?}");
    }
}
