//! A backend inside the test: it counts, and can be cut.
//!
//! What it serves is told by the path, and every path is a feed of its own:
//!
//! - `GET …/ids…`: numbered events with ids, resent after `Last-Event-ID` as
//!   far back as it remembers.
//! - `GET …/bare…`: numbered events without ids; it resends nothing.
//! - `POST …`: an answer of so many events, counted as it is begun.
//!
//! Feeds count on while nobody reads, all at the same pace. It is written on
//! bare sockets, because it must see at once that a connection is gone: the
//! checker holds against a proxy that it has two.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::transcript::Connection;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                      transfer-encoding: chunked\r\n\r\n";

/// How an origin does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// From one event to the next.
    pub(crate) pace: Duration,
    /// How many events a feed can resend.
    pub(crate) remembers: u64,
    /// How many events an answer has.
    pub(crate) answer: u64,
    /// Bytes that are added to each event.
    pub(crate) padding: usize,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            pace: Duration::from_millis(50),
            remembers: 10_000,
            answer: 30,
            padding: 0,
        }
    }
}

/// Serves until dropped.
pub(crate) struct Origin {
    url: String,
    shared: Arc<Shared>,
    tasks: [AbortHandle; 2],
}

struct Shared {
    manner: Manner,
    stopped: AtomicBool,
    feeds: Mutex<HashMap<String, watch::Sender<u64>>>,
    requests: Mutex<Vec<Request>>,
    executions: Mutex<HashMap<String, usize>>,
}

/// A request that is, or was, answered.
struct Request {
    connection: Connection,
    /// Until it is closed.
    open: Option<(Arc<TcpStream>, Arc<Notify>)>,
}

/// A request's head, as far as it matters here.
struct Head {
    post: bool,
    path: String,
    after: Option<u64>,
    length: usize,
}

impl Origin {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            manner,
            stopped: AtomicBool::new(false),
            feeds: Mutex::default(),
            requests: Mutex::default(),
            executions: Mutex::default(),
        });
        let (accepting, counting) = (Arc::clone(&shared), Arc::clone(&shared));
        let accept = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&accepting).serve(socket));
            }
        });
        let count = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(manner.pace);
            loop {
                ticks.tick().await;
                counting.tick();
            }
        });
        Self {
            url,
            shared,
            tasks: [accept.abort_handle(), count.abort_handle()],
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether feeds count on, or stand still so that all readers can come to
    /// their end. Answers go on.
    pub(crate) fn count(&self, on: bool) {
        self.shared.stopped.store(!on, Ordering::SeqCst);
    }

    /// The last number of a feed.
    pub(crate) fn high(&self, feed: &str) -> u64 {
        let feeds = self.shared.feeds.lock().unwrap();
        feeds.get(feed).map_or(0, |high| *high.borrow())
    }

    /// Resets the connections of these feeds.
    pub(crate) fn cut(&self, mut which: impl FnMut(&str) -> bool) {
        let requests = self.shared.requests.lock().unwrap();
        for request in requests.iter() {
            if let Some((_, cut)) = &request.open
                && which(&request.connection.feed)
            {
                cut.notify_one();
            }
        }
    }

    /// Every request so far, and how often each answer was begun.
    pub(crate) fn story(&self) -> (Vec<Connection>, Vec<(String, usize)>) {
        let mut requests = self.shared.requests.lock().unwrap();
        requests.iter_mut().for_each(Request::look);
        let connections = requests.iter().map(|request| request.connection.clone());
        let executions = self.shared.executions.lock().unwrap();
        let executions = executions
            .iter()
            .map(|(path, times)| (path.clone(), *times));
        (connections.collect(), executions.collect())
    }

    /// The most connections that any feed has now.
    pub(crate) fn most_crowded(&self) -> usize {
        let (connections, _) = self.story();
        let mut open: HashMap<String, usize> = HashMap::new();
        for connection in connections.into_iter().filter(|c| c.closed.is_none()) {
            *open.entry(connection.feed).or_default() += 1;
        }
        open.into_values().max().unwrap_or(0)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Shared {
    fn tick(&self) {
        if self.stopped.load(Ordering::SeqCst) {
            return;
        }
        for feed in self.feeds.lock().unwrap().values() {
            feed.send_modify(|high| *high += 1);
        }
    }

    async fn serve(self: Arc<Self>, socket: TcpStream) {
        socket.set_nodelay(true).unwrap();
        let socket = Arc::new(socket);
        let Ok(head) = Head::read(&socket).await else {
            return;
        };
        let cut = Arc::new(Notify::new());
        let number = self.open(&head, &socket, &cut);
        let answered = tokio::select! {
            answered = self.answer(&head, &socket) => answered,
            () = cut.notified() => Err(io::ErrorKind::ConnectionAborted.into()),
            () = gone(&socket) => Ok(()),
        };
        if answered.is_err() {
            // Dropped, it is reset.
            let _ = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
        }
        let mut requests = self.requests.lock().unwrap();
        requests[number].close();
    }

    /// Notes a request. Whichever connection of the feed is gone by now was
    /// gone before this one came, whatever its task knows yet.
    fn open(&self, head: &Head, socket: &Arc<TcpStream>, cut: &Arc<Notify>) -> usize {
        let mut requests = self.requests.lock().unwrap();
        let of_feed = |request: &&mut Request| request.connection.feed == head.path;
        requests.iter_mut().filter(of_feed).for_each(Request::look);
        requests.push(Request {
            connection: Connection {
                feed: head.path.clone(),
                after: head.after,
                opened: Instant::now(),
                closed: None,
            },
            open: Some((Arc::clone(socket), Arc::clone(cut))),
        });
        requests.len() - 1
    }

    async fn answer(&self, head: &Head, socket: &TcpStream) -> io::Result<()> {
        if head.post {
            let mut executions = self.executions.lock().unwrap();
            *executions.entry(head.path.clone()).or_default() += 1;
        }
        if head.post {
            write(socket, HEAD).await?;
            return self.answer_once(&head.path, socket).await;
        }
        let with_ids = head.path.contains("/ids");
        let (high, from) = self.join(head, with_ids);
        write(socket, HEAD).await?;
        self.follow(&head.path, socket, high, from, with_ids).await
    }

    /// Where a reader of a feed begins.
    fn join(&self, head: &Head, with_ids: bool) -> (watch::Receiver<u64>, u64) {
        let mut feeds = self.feeds.lock().unwrap();
        let feed = feeds.entry(head.path.clone()).or_default();
        let high = *feed.borrow();
        let oldest = high.saturating_sub(self.manner.remembers) + 1;
        let from = match head.after {
            Some(after) if with_ids => (after + 1).max(oldest),
            _ => high + 1,
        };
        let reader = feed.subscribe();
        if with_ids {
            return (reader, from);
        }
        if self.stopped.load(Ordering::SeqCst) {
            return (reader, from);
        }
        // This one it is not sent, so that there is a loss at every seam.
        feed.send_modify(|high| *high += 1);
        (reader, from + 1)
    }

    async fn follow(
        &self,
        path: &str,
        socket: &TcpStream,
        mut high: watch::Receiver<u64>,
        mut next: u64,
        with_ids: bool,
    ) -> io::Result<()> {
        loop {
            let last = *high.borrow_and_update();
            while next <= last {
                let to = last.min(next + 99);
                let events = (next..=to).map(|n| self.event(path, n, with_ids));
                write(socket, &chunk(&events.collect::<String>())).await?;
                next = to + 1;
            }
            high.changed().await.map_err(io::Error::other)?;
        }
    }

    async fn answer_once(&self, path: &str, socket: &TcpStream) -> io::Result<()> {
        let mut ticks = tokio::time::interval(self.manner.pace);
        for number in 1..=self.manner.answer {
            ticks.tick().await;
            write(socket, &chunk(&self.event(path, number, false))).await?;
        }
        write(socket, b"0\r\n\r\n").await
    }

    fn event(&self, path: &str, number: u64, with_id: bool) -> String {
        let padding = " ".repeat(self.manner.padding);
        let id = if with_id {
            format!("id: {number}\n")
        } else {
            String::new()
        };
        format!("{id}data: {path} {number}{padding}\n\n")
    }
}

impl Request {
    /// Notes whether the other side is gone, by asking the socket itself.
    fn look(&mut self) {
        let Some((socket, _)) = &self.open else {
            return;
        };
        let peeked = SockRef::from(&**socket).peek(&mut [MaybeUninit::uninit()]);
        let alive = match peeked {
            Ok(count) => count > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if !alive {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            self.connection.closed = Some(Instant::now());
        }
    }
}

impl Head {
    async fn read(socket: &TcpStream) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            more(socket, &mut bytes).await?;
        };
        let head = Self::parse(&String::from_utf8_lossy(&bytes[..end]));
        // All of it, or closing would reset the connection on its account.
        while bytes.len() < end + head.length {
            more(socket, &mut bytes).await?;
        }
        Ok(head)
    }

    fn parse(text: &str) -> Self {
        let (line, headers) = text.split_once("\r\n").unwrap();
        let mut words = line.split(' ');
        let post = words.next() == Some("POST");
        let path = words.next().unwrap().to_owned();
        let value = |name: &str| {
            headers.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        assert_eq!(value("transfer-encoding"), None, "clients send lengths");
        let after = value("last-event-id").map(|id| {
            let ours = id.parse();
            ours.unwrap_or_else(|_| panic!("{id} is no id of this origin"))
        });
        Self {
            post,
            path,
            after,
            length: value("content-length").map_or(0, |length| length.parse().unwrap()),
        }
    }
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

async fn write(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        socket.writable().await?;
        match socket.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn more(socket: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    loop {
        socket.readable().await?;
        match socket.try_read_buf(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits for the other side to go.
async fn gone(socket: &TcpStream) {
    let mut rest = Vec::new();
    while more(socket, &mut rest).await.is_ok() {}
}
