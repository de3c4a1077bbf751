//! HTTP/2 by hand: a library would not do what these tests do.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::feed::PATIENCE;

pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// A connection, of which nothing is read unless asked for.
pub(super) struct Frames {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
}

/// A frame that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) kind: u8,
    pub(super) payload: Vec<u8>,
}

/// A frame's bytes.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The header block of `GET /` from `app.example`: three fields of the static
/// table, and one whose value is written out.
pub(super) fn get() -> Vec<u8> {
    let mut block = vec![0x82, 0x84, 0x86, 0x41, 11];
    block.extend(b"app.example");
    block
}

impl Frames {
    /// Connects and begins, as a client should.
    pub(super) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let (reader, writer) = stream.into_split();
        let mut frames = Self { reader, writer };
        let begun = frames.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert!(begun && frames.send(SETTINGS, 0, 0, &[]).await);
        frames
    }

    pub(super) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.write(&frame(kind, flags, stream, payload)).await
    }

    /// False if the proxy has closed, or takes nothing for a while.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = timeout(super::LIMIT * 4, self.writer.write_all(bytes)).await;
        matches!(written, Ok(Ok(())))
    }

    /// The next frame; `None` at the end.
    pub(super) async fn read(&mut self) -> Option<Read> {
        let mut head = [0; 9];
        let read = timeout(PATIENCE, self.reader.read_exact(&mut head)).await;
        read.expect("a frame, or the end").ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        let read = timeout(PATIENCE, self.reader.read_exact(&mut payload)).await;
        read.expect("a frame, or the end").ok()?;
        Some(Read {
            kind: head[3],
            payload,
        })
    }

    /// Reads to the end; the code of the last GOAWAY, if there was one.
    pub(super) async fn end(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.read().await {
            if frame.kind == GOAWAY {
                let bytes = frame.payload[4..8].try_into().unwrap();
                code = Some(u32::from_be_bytes(bytes));
            }
        }
        code
    }
}
