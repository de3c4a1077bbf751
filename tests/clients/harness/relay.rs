//! A network that fails on command, between client and proxy.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::PATIENCE;

/// Passes bytes both ways until told to cut, and remembers them.
///
/// The answer to the first request whose path has a segment `cut-N` is reset
/// after N bytes, its head included; a client that asks again gets all of it.
pub(crate) struct Relay {
    url: String,
    wire: Arc<Wire>,
}

struct Wire {
    target: SocketAddr,
    /// How often all connections were cut.
    cuts: watch::Sender<usize>,
    to_client: watch::Sender<Vec<u8>>,
    to_proxy: watch::Sender<Vec<u8>>,
    /// Of requests that said themselves where to cut their answers.
    cut_at: Mutex<HashSet<usize>>,
    /// Up to the end of this a client is given, then all is cut.
    last: Mutex<Option<String>>,
}

impl Relay {
    /// To a server given by scheme and authority.
    pub(crate) async fn to(url: &str) -> Self {
        let target = url.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let wire = Arc::new(Wire {
            target,
            cuts: watch::Sender::new(0),
            to_client: watch::Sender::new(Vec::new()),
            to_proxy: watch::Sender::new(Vec::new()),
            cut_at: Mutex::default(),
            last: Mutex::new(None),
        });
        let shared = Arc::clone(&wire);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let wire = Arc::clone(&shared);
                // Subscribed here, so that no cut after the accept is missed.
                let cuts = wire.cuts.subscribe();
                tokio::spawn(async move { wire.carry(client, cuts).await });
            }
        });
        Self { url, wire }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Resets every open connection, as a dying network does.
    pub(crate) fn cut(&self) {
        self.wire.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Cuts as soon as this text is on its way to a client: what follows it is
    /// lost.
    pub(crate) fn cut_after(&self, text: &str) {
        *self.wire.last.lock().unwrap() = Some(text.to_owned());
    }

    /// Waits until `count` more heartbeats have gone to clients.
    pub(crate) async fn heartbeats(&self, count: usize) {
        let so_far = heartbeats(&self.wire.to_client.borrow());
        let mut tap = self.wire.to_client.subscribe();
        let reached = tap.wait_for(|bytes| heartbeats(bytes) >= so_far + count);
        assert!(
            timeout(PATIENCE, reached).await.is_ok(),
            "no {count} heartbeats after the first {so_far}; to clients went:\n{}",
            self.sent_to_clients(),
        );
    }

    /// Waits until clients have sent this, in lower case.
    pub(crate) async fn sent(&self, text: &str) {
        let mut tap = self.wire.to_proxy.subscribe();
        let sent = tap.wait_for(|bytes| lower(bytes).contains(text));
        assert!(
            timeout(PATIENCE, sent).await.is_ok(),
            "no {text:?}; clients sent:\n{}",
            self.sent_by_clients(),
        );
    }

    /// Waits until this was on its way to clients.
    pub(crate) async fn answered(&self, text: &str) {
        let mut tap = self.wire.to_client.subscribe();
        let answered = tap.wait_for(|bytes| String::from_utf8_lossy(bytes).contains(text));
        assert!(
            timeout(PATIENCE, answered).await.is_ok(),
            "no {text:?}; to clients went:\n{}",
            self.sent_to_clients(),
        );
    }

    pub(crate) fn sent_to_clients(&self) -> String {
        String::from_utf8_lossy(&self.wire.to_client.borrow()).into_owned()
    }

    /// All that clients have sent, in lower case: header names are written in
    /// any.
    pub(crate) fn sent_by_clients(&self) -> String {
        lower(&self.wire.to_proxy.borrow())
    }
}

fn lower(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_lowercase()
}

impl Wire {
    async fn carry(&self, client: TcpStream, mut cuts: watch::Receiver<usize>) -> io::Result<()> {
        let server = TcpStream::connect(self.target).await?;
        for socket in [&client, &server] {
            socket.set_nodelay(true)?;
            // Whatever ends this other than two clean ends resets both.
            socket.set_zero_linger()?;
        }
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        // Bytes that may yet go to the client.
        let left = AtomicUsize::new(usize::MAX);
        let up = copy(&mut from_client, &mut to_server, &self.to_proxy, |bytes| {
            if let Some(limit) = self.limit(bytes) {
                left.store(limit, Ordering::Relaxed);
            }
            Ok(())
        });
        let down = copy(&mut from_server, &mut to_client, &self.to_client, |bytes| {
            if let Some(end) = self.last_of(bytes) {
                return Err(end);
            }
            let left_before = left.load(Ordering::Relaxed);
            left.store(left_before.saturating_sub(bytes.len()), Ordering::Relaxed);
            if bytes.len() < left_before {
                Ok(())
            } else {
                Err(left_before)
            }
        });
        tokio::select! {
            // Both directions have ended cleanly; nothing is left to reset.
            result = async { tokio::try_join!(up, down) } => result.map(drop),
            // Dropping the sockets with zero linger resets them.
            _ = cuts.changed() => Ok(()),
        }
    }

    /// How much of this is the last that anybody gets, if there is to be a cut.
    fn last_of(&self, bytes: &[u8]) -> Option<usize> {
        let mut last = self.last.lock().unwrap();
        let text = last.as_deref()?.as_bytes();
        let at = bytes.windows(text.len()).position(|part| part == text)?;
        let end = at + text.len();
        *last = None;
        self.cuts.send_modify(|cuts| *cuts += 1);
        Some(end)
    }
}

impl Wire {
    /// How much of the answer may go, if this is where a request begins: the N
    /// of `cut-N` in its path, the first time.
    fn limit(&self, request: &[u8]) -> Option<usize> {
        let line = request.split(|byte| *byte == b'\r').next()?;
        let path = std::str::from_utf8(line).ok()?.strip_suffix(" HTTP/1.1")?;
        let number = |rest: &str| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        };
        let limit = path.split_once("/cut-").and_then(|(_, rest)| number(rest));
        let first = limit.filter(|limit| self.cut_at.lock().unwrap().insert(*limit));
        Some(first.unwrap_or(usize::MAX))
    }
}

/// Bare comment lines; in HTTP/1.1 each is a chunk, after the line of its size.
fn heartbeats(bytes: &[u8]) -> usize {
    bytes.windows(3).filter(|window| window == b"\n:\n").count()
}

/// Copies to the end, or until `pass` says after how many of the bytes it is
/// given to reset.
async fn copy(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    tap: &watch::Sender<Vec<u8>>,
    pass: impl Fn(&[u8]) -> Result<(), usize>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let reset = pass(&buffer[..count]).err();
        let bytes = &buffer[..reset.unwrap_or(count)];
        to.write_all(bytes).await?;
        tap.send_modify(|tapped| tapped.extend_from_slice(bytes));
        if reset.is_some() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
}
