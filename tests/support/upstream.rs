//! A scripted upstream: raw TCP, so that a test decides every byte, every
//! pause and every reset.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Runs a script for every connection, until dropped.
pub(crate) struct Upstream {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// One connection, in the hands of the script.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    /// Listens on a free port.
    pub(crate) async fn start<F, R>(script: F) -> Self
    where
        F: Fn(Connection) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (count, seen) = (Arc::clone(&connections), Arc::clone(&heads));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(Connection {
                    stream,
                    buffer: Vec::new(),
                    heads: Arc::clone(&seen),
                }));
            }
        });
        Self {
            addr,
            connections,
            heads,
            task,
        }
    }

    /// Answers every request on every connection with these bytes.
    pub(crate) async fn answering(response: impl Into<Vec<u8>>) -> Self {
        let response: Arc<[u8]> = response.into().into();
        Self::start(move |mut connection| {
            let response = Arc::clone(&response);
            async move {
                while connection.request().await.is_some() {
                    connection.send(&response).await;
                }
            }
        })
        .await
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The heads of all requests read so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Reads a request head; `None` at the end of the connection.
    pub(crate) async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                let head = String::from_utf8(head).unwrap();
                self.heads.lock().unwrap().push(head.clone());
                return Some(head);
            }
            self.more().await?;
        }
    }

    /// Reads a whole request; the body as it was on the wire.
    pub(crate) async fn request(&mut self) -> Option<(String, Vec<u8>)> {
        let head = self.head().await?;
        let body = if let Some(length) = header(&head, "content-length") {
            self.exactly(length.parse().unwrap()).await?
        } else if header(&head, "transfer-encoding").is_some() {
            self.chunked().await?
        } else {
            Vec::new()
        };
        Some((head, body))
    }

    /// Reads this many bytes.
    pub(crate) async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// Reads a chunked body to the blank line after its trailers. The trailer
    /// section is appended to the payload.
    async fn chunked(&mut self) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        loop {
            let size = usize::from_str_radix(self.line().await?.trim(), 16).unwrap();
            if size == 0 {
                break;
            }
            payload.extend(self.exactly(size).await?);
            self.line().await?;
        }
        loop {
            let line = self.line().await?;
            if line == "\r\n" {
                return Some(payload);
            }
            payload.extend(line.as_bytes());
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.drain(..end + 2).collect();
                return Some(String::from_utf8(line).unwrap());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }

    /// Sends these bytes. That the other side is gone is for the test to see.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends these bytes; false if the other side is gone.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Waits for the other side to go.
    pub(crate) async fn closed(&mut self) {
        while self.more().await.is_some() {}
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// The value of a header in a raw head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}
