//! Clients who read over TLS, come back whenever they are left, and notice what
//! is missing, twice, or out of order.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::site::{Site, token};
use crate::authority::{client, connect_as};
use crate::browser_model::Browser;
use crate::gunzip::Gunzip;
use crate::harness::PATIENCE;

const ORIGIN: &str = "https://app.example.com";

/// So many shake hands at a time; the others would only wait longer.
const HANDSHAKES: usize = 32;

pub(super) struct Crowd {
    clients: Vec<Arc<Client>>,
    common: Arc<Common>,
    /// Ends with the crowd.
    reading: JoinSet<()>,
}

struct Common {
    address: SocketAddr,
    http1: ClientConfig,
    http2: ClientConfig,
    entrance: Semaphore,
    /// What must not be.
    faults: Mutex<Vec<String>>,
}

struct Client {
    token: String,
    /// A fourth of them speaks HTTP/2, half accept gzip.
    http2: bool,
    gzip: bool,
    /// The number of the last event, 0 before the first.
    last: AtomicU64,
    /// Answers it was given.
    visits: AtomicUsize,
    common: Arc<Common>,
}

type Broken = Box<dyn Error + Send + Sync>;

impl Crowd {
    pub(super) async fn new(count: usize, site: &Site) -> Self {
        let tls = |alpn| client(&site.root, rustls::DEFAULT_VERSIONS, alpn, None);
        let common = Arc::new(Common {
            address: site.address(),
            http1: tls("http/1.1"),
            http2: tls("h2"),
            entrance: Semaphore::new(HANDSHAKES),
            faults: Mutex::default(),
        });
        let mut crowd = Self {
            clients: Vec::new(),
            common,
            reading: JoinSet::new(),
        };
        for number in 0..count {
            let client = Arc::new(Client {
                token: token(&format!("client {number}")),
                http2: number % 4 == 3,
                gzip: number % 2 == 1,
                last: AtomicU64::new(0),
                visits: AtomicUsize::new(0),
                common: Arc::clone(&crowd.common),
            });
            crowd.clients.push(Arc::clone(&client));
            crowd.reading.spawn(async move { client.read().await });
        }
        crowd.until(1).await;
        crowd
    }

    /// Waits until each has read so many more events than the first of them has
    /// now.
    pub(super) async fn advance(&self, events: u64) {
        let newest = self.clients.iter().map(|client| client.last());
        self.until(newest.max().unwrap() + events).await;
    }

    async fn until(&self, number: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let behind = self.clients.iter().filter(|client| client.last() < number);
            let behind = behind.count();
            let faults = self.common.faults.lock().unwrap().clone();
            assert_eq!(faults, [] as [String; 0], "{behind} have not read {number}");
            if behind == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "{behind} have not read {number}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) fn visits(&self) -> Vec<usize> {
        let visits = self.clients.iter().map(|client| &client.visits);
        visits.map(|visits| visits.load(Ordering::SeqCst)).collect()
    }
}

impl Client {
    fn last(&self) -> u64 {
        self.last.load(Ordering::SeqCst)
    }

    async fn read(&self) {
        let mut pause = 100;
        loop {
            // Whoever is cut comes back; only what it is given then counts.
            let _ = self.visit(&mut pause).await;
            sleep(Duration::from_millis(pause)).await;
        }
    }

    fn fault(&self, what: String) {
        self.common.faults.lock().unwrap().push(what);
    }

    /// One connection, to its end. Leaves behind how long to wait afterwards.
    async fn visit(&self, pause: &mut u64) -> Result<(), Broken> {
        let entering = self.common.entrance.acquire().await?;
        let mut connection = JoinSet::new();
        let mut answer = self.ask(&mut connection).await?;
        drop(entering);
        self.visits.fetch_add(1, Ordering::SeqCst);
        self.look_at(&answer);
        let (mut browser, mut gunzip, mut read) = (Browser::default(), Gunzip::new(), 0);
        while let Some(frame) = answer.frame().await {
            let frame = frame?;
            let bytes = frame.data_ref().map_or(&[][..], |data| data);
            if self.gzip {
                let text = gunzip.feed(bytes);
                browser.feed(&text[read..]);
                read = text.len();
            } else {
                browser.feed(bytes);
            }
            self.take(&mut browser);
            *pause = browser.retries.last().copied().unwrap_or(*pause);
        }
        Ok(())
    }

    async fn ask(&self, connection: &mut JoinSet<()>) -> Result<Response<Incoming>, Broken> {
        let common = &self.common;
        let tls = if self.http2 {
            &common.http2
        } else {
            &common.http1
        };
        let stream = TokioIo::new(connect_as(common.address, tls.clone(), "localhost").await?);
        let request = Request::get(format!(
            "https://localhost:{}/events",
            common.address.port()
        ))
        .header("accept", "text/event-stream")
        .header("origin", ORIGIN)
        .header("authorization", format!("Bearer {}", self.token));
        let request = match self.last() {
            0 => request,
            last => request.header("last-event-id", last),
        };
        let request = if self.gzip {
            request.header("accept-encoding", "gzip")
        } else {
            request
        };
        if self.http2 {
            let executor = TokioExecutor::new();
            let (mut sender, driver) =
                hyper::client::conn::http2::handshake(executor, stream).await?;
            connection.spawn(async move { drop(driver.await) });
            let request = request.body(Empty::<Bytes>::new())?;
            return Ok(sender.send_request(request).await?);
        }
        let (mut sender, driver) = hyper::client::conn::http1::handshake(stream).await?;
        connection.spawn(async move { drop(driver.await) });
        let mut request = request
            .header("host", format!("localhost:{}", common.address.port()))
            .body(Empty::<Bytes>::new())?;
        *request.uri_mut() = "/events".parse()?;
        Ok(sender.send_request(request).await?)
    }

    /// A page's `EventSource` would stop for good at another status, or without
    /// being allowed to read.
    fn look_at(&self, answer: &Response<Incoming>) {
        let header = |name| {
            answer
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap())
        };
        let right = answer.status() == 200
            && header("access-control-allow-origin") == Some(ORIGIN)
            && header("content-encoding") == self.gzip.then_some("gzip")
            && header("sse-resume") != Some("gap");
        if !right {
            self.fault(format!(
                "after {}: {:?} {:?}",
                self.last(),
                answer.status(),
                answer.headers()
            ));
        }
    }

    fn take(&self, browser: &mut Browser) {
        for event in browser.take() {
            let last = self.last();
            let number: u64 = event.id.parse().unwrap_or(0);
            let whole = event.data.starts_with(&format!("{{\"tick\":{number},"));
            if !whole || last != 0 && number != last + 1 {
                self.fault(format!("after {last}: {event:?}"));
            }
            self.last.store(number, Ordering::SeqCst);
        }
        for comment in browser.comments.drain(..) {
            if comment.contains("gap") {
                self.fault(comment);
            }
        }
    }
}
