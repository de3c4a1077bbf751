//! A server and a client on real sockets.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::Service;
use tower_sse::stream::source::BoxError;

use super::browser::Browser;

/// Serves on a free port for as long as the runtime runs.
pub(crate) async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
        Ok::<(), Infallible>(())
    });
    address
}

/// A client that reads chunked bytes off a socket. Dropped, it is gone.
pub(crate) struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
    pub(crate) head: String,
    /// The body so far, without its framing.
    pub(crate) body: Vec<u8>,
    pub(crate) page: Browser,
}

impl Raw {
    /// Sends a request, and reads the head of the answer.
    pub(crate) async fn ask(address: SocketAddr, method: &str, id: &str) -> Self {
        let id = match id {
            "" => String::new(),
            id => format!("Last-Event-ID: {id}\r\n"),
        };
        let head = format!("{method} /e HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n{id}\r\n");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut raw = Self {
            stream,
            unread: Vec::new(),
            head: String::new(),
            body: Vec::new(),
            page: Browser::default(),
        };
        let end = loop {
            if let Some(at) = find(&raw.unread, b"\r\n\r\n") {
                break at + 4;
            }
            assert!(raw.fill().await, "closed within the head");
        };
        let head: Vec<_> = raw.unread.drain(..end).collect();
        raw.head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        raw
    }

    /// Whether there were more bytes.
    async fn fill(&mut self) -> bool {
        let mut buffer = [0; 4096];
        // Only so that a failure is one, rather than a test that never ends.
        let read = tokio::time::timeout(super::secs(30), self.stream.read(&mut buffer)).await;
        let count = read.expect("bytes, or an end").unwrap_or(0);
        self.unread.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// The next chunk, whole. `None` if that was the last one; an error if the
    /// connection ended without one.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Vec<u8>>, ()> {
        loop {
            if let Some(at) = find(&self.unread, b"\r\n") {
                let size = std::str::from_utf8(&self.unread[..at]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                let whole = at + 2 + size + 2;
                if self.unread.len() >= whole {
                    let chunk = self.unread[at + 2..at + 2 + size].to_vec();
                    self.unread.drain(..whole);
                    self.body.extend_from_slice(&chunk);
                    self.page.feed(&chunk);
                    return Ok((size > 0).then_some(chunk));
                }
            }
            if !self.fill().await {
                return Err(());
            }
        }
    }

    /// Reads until the body has this many bytes.
    pub(crate) async fn read(&mut self, count: usize) {
        while self.body.len() < count {
            self.chunk().await.unwrap().expect("more of the body");
        }
    }

    /// Reads until the page has had this many events, and gives their data.
    pub(crate) async fn data(&mut self, count: usize) -> Vec<String> {
        while self.page.events.len() < count {
            self.chunk().await.unwrap().expect("more events");
        }
        let events = self.page.events.drain(..count);
        events.map(|event| event.data).collect()
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
