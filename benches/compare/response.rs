//! An HTTP/1.1 response as it arrives: its head, then the bytes of its body.

use std::io;

/// Where in the response the next byte stands.
#[derive(Debug)]
enum At {
    Head(Vec<u8>),
    ChunkSize(u64),
    ChunkExtension(u64),
    Chunk(u64),
    /// Within the line end after a chunk: this many bytes are missing.
    ChunkEnd(u8),
    /// The body has no chunks and ends with the connection.
    Raw,
    Over,
}

/// Decodes one response, in pieces cut anywhere.
#[derive(Debug)]
pub(crate) struct Response {
    at: At,
}

impl Response {
    pub(crate) fn new() -> Self {
        Self {
            at: At::Head(Vec::new()),
        }
    }

    /// Whether the whole head has arrived. It was a 200 then.
    pub(crate) fn begun(&self) -> bool {
        !matches!(self.at, At::Head(_))
    }

    pub(crate) fn over(&self) -> bool {
        matches!(self.at, At::Over)
    }

    /// Hands the bytes of the body within `bytes` to `body`.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut body: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        while let Some(&first) = bytes.first() {
            let used = match &mut self.at {
                At::Head(head) => {
                    let (used, next) = head_piece(head, bytes)?;
                    if let Some(next) = next {
                        self.at = next;
                    }
                    used
                }
                At::ChunkSize(size) | At::ChunkExtension(size) if first == b'\n' => {
                    self.at = match *size {
                        0 => At::Over,
                        size => At::Chunk(size),
                    };
                    1
                }
                At::ChunkSize(size) => {
                    self.at = match char::from(first).to_digit(16) {
                        Some(digit) => At::ChunkSize(*size * 16 + u64::from(digit)),
                        None if first == b'\r' || first == b';' => At::ChunkExtension(*size),
                        None => return Err(io::Error::other("a chunk without a size")),
                    };
                    1
                }
                At::ChunkExtension(_) => 1,
                At::Chunk(left) => {
                    let used = usize::try_from(*left).map_or(bytes.len(), |l| l.min(bytes.len()));
                    *left -= used as u64;
                    if *left == 0 {
                        self.at = At::ChunkEnd(2);
                    }
                    body(&bytes[..used])?;
                    used
                }
                At::ChunkEnd(left) => {
                    if first != [b'\n', b'\r'][usize::from(*left) - 1] {
                        return Err(io::Error::other("a chunk longer than it said"));
                    }
                    self.at = match *left {
                        1 => At::ChunkSize(0),
                        left => At::ChunkEnd(left - 1),
                    };
                    1
                }
                At::Raw => {
                    body(bytes)?;
                    bytes.len()
                }
                At::Over => bytes.len(),
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }
}

/// Takes the head's part of `bytes`: how much it was, and what comes next if
/// the head is whole.
fn head_piece(head: &mut Vec<u8>, bytes: &[u8]) -> io::Result<(usize, Option<At>)> {
    let before = head.len();
    head.extend_from_slice(bytes);
    let Some(end) = memchr::memmem::find(head, b"\r\n\r\n") else {
        return Ok((bytes.len(), None));
    };
    let used = end + 4 - before;
    let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
    if !text.starts_with("http/1.1 200") {
        let line = text.lines().next().unwrap_or_default();
        return Err(io::Error::other(format!("answered with {line:?}")));
    }
    let chunked = text.contains("\r\ntransfer-encoding: chunked");
    let next = if chunked { At::ChunkSize(0) } else { At::Raw };
    Ok((used, Some(next)))
}
