//! A client that comes back, whatever happens to it, and writes down what it
//! was given. Cheap: a test has hundreds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::browser::{Browser, Event};
use crate::transcript::{Entry, Transcript};

/// Without a byte for this long, not even a heartbeat, a client gives its
/// connection up. Many times the heartbeat.
const SILENCE: Duration = Duration::from_secs(4);
/// Before it comes back.
const PAUSE: Duration = Duration::from_millis(20);
/// An answer that was aborted so often without another event is not coming.
const BARREN: usize = 3;

/// All proxies are asked by one name, as behind a load balancer: what streams
/// are known by has it in it.
const HOST: &str = "feeds.test";

/// The type of events that tell of gaps.
pub(crate) const GAP_EVENT: &str = "sse-gap";

/// What a client wants.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    path: String,
    headers: Vec<(&'static str, String)>,
    kind: Kind,
    /// What it has read already.
    read: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Feed,
    /// An answer; `named`: asking again is the same request.
    Answer {
        named: bool,
    },
}

/// One client, until dropped.
pub(crate) struct Session {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    wish: Wish,
    /// Host and port of each proxy.
    proxies: Arc<[String]>,
    transcript: Mutex<Transcript>,
    /// To which of them it is to go; each change cuts it.
    target: watch::Sender<usize>,
    done: AtomicBool,
}

impl Wish {
    pub(crate) fn feed(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            headers: Vec::new(),
            kind: Kind::Feed,
            read: Vec::new(),
        }
    }

    pub(crate) fn answer(path: impl Into<String>) -> Self {
        Self {
            kind: Kind::Answer { named: false },
            ..Self::feed(path)
        }
    }

    /// An answer that its application names.
    pub(crate) fn named(path: impl Into<String>, key: &str) -> Self {
        Self {
            headers: vec![("idempotency-key", key.to_owned())],
            kind: Kind::Answer { named: true },
            ..Self::feed(path)
        }
    }

    /// On behalf of somebody.
    pub(crate) fn of(mut self, user: &str) -> Self {
        let credentials = format!("Bearer {user}");
        self.headers.push(("authorization", credentials));
        self
    }

    /// The rest of what another session has begun to read.
    pub(crate) fn rest_of(mut self, session: &Session) -> Self {
        self.read = session.transcript().entries;
        self.read.retain(|entry| entry.event().is_some());
        self
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether the request may be sent again without an id.
    fn is_repeatable(&self) -> bool {
        self.kind != Kind::Answer { named: false }
    }
}

impl Session {
    /// Begins at this one of the proxies.
    pub(crate) fn start(name: &str, wish: Wish, proxies: &Arc<[String]>, first: usize) -> Self {
        let mut transcript = Transcript::new(name, &*wish.path);
        transcript.entries.clone_from(&wish.read);
        let shared = Arc::new(Shared {
            transcript: Mutex::new(transcript),
            wish,
            proxies: Arc::clone(proxies),
            target: watch::Sender::new(first),
            done: AtomicBool::new(false),
        });
        let running = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            Driver::new(&running).run().await;
            running.done.store(true, Ordering::SeqCst);
        });
        Self {
            shared,
            task: task.abort_handle(),
        }
    }

    /// Loses its connection, and goes to this proxy.
    pub(crate) fn go_to(&self, proxy: usize) {
        self.shared.target.send_replace(proxy);
    }

    /// The last number dispatched.
    pub(crate) fn last(&self) -> u64 {
        self.shared.transcript.lock().unwrap().last()
    }

    pub(crate) fn feed(&self) -> &str {
        &self.shared.wish.path
    }

    /// Whether it is to come to an end.
    pub(crate) fn wants_answer(&self) -> bool {
        self.shared.wish.kind != Kind::Feed
    }

    /// Whether nothing more is to come: an answer is over, or was given up.
    pub(crate) fn is_done(&self) -> bool {
        self.shared.done.load(Ordering::SeqCst)
    }

    pub(crate) fn transcript(&self) -> Transcript {
        self.shared.transcript.lock().unwrap().clone()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a client knows between connections.
struct Driver<'a> {
    shared: &'a Shared,
    target: watch::Receiver<usize>,
    proxy: usize,
    last_id: String,
    barren: usize,
}

/// What became of a connection.
enum Outcome {
    /// It was not had, or was lost: try the next one.
    Lost,
    /// The client itself left it.
    Left,
    /// The body ended.
    Ended { clean: bool, events: usize },
    /// There is nothing to come back for.
    Over,
}

fn last_id(read: &[Entry]) -> String {
    let event = read.iter().rev().find_map(Entry::event);
    event.map_or_else(String::new, |(_, id)| id.to_owned())
}

impl<'a> Driver<'a> {
    fn new(shared: &'a Shared) -> Self {
        let mut target = shared.target.subscribe();
        let proxy = *target.borrow_and_update();
        Self {
            shared,
            target,
            proxy,
            last_id: last_id(&shared.wish.read),
            barren: 0,
        }
    }

    async fn run(&mut self) {
        loop {
            if self.target.has_changed().unwrap_or(false) {
                self.proxy = *self.target.borrow_and_update();
            }
            let mut target = self.target.clone();
            let outcome = tokio::select! {
                outcome = self.connect() => outcome,
                _ = target.changed() => Outcome::Left,
            };
            if self.is_over(&outcome) {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    fn is_over(&mut self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Over => return true,
            Outcome::Lost => self.proxy = (self.proxy + 1) % self.shared.proxies.len(),
            Outcome::Left => self.note(Entry::Ended { clean: false }),
            Outcome::Ended { clean, events } => {
                self.note(Entry::Ended { clean: *clean });
                if self.shared.wish.kind == Kind::Feed {
                    return false;
                }
                self.barren = if *events > 0 { 0 } else { self.barren + 1 };
                return *clean || self.barren >= BARREN || !self.may_return();
            }
        }
        // Whether it was executed is not known to whoever left in between.
        matches!(outcome, Outcome::Left) && !self.may_return()
    }

    fn may_return(&self) -> bool {
        self.shared.wish.is_repeatable() || !self.last_id.is_empty()
    }

    async fn connect(&mut self) -> Outcome {
        let address = &self.shared.proxies[self.proxy];
        let Ok(Ok(socket)) = timeout(SILENCE, TcpStream::connect(address)).await else {
            return Outcome::Lost;
        };
        let _ = socket.set_nodelay(true);
        // Ends with this future, and the connection with it.
        let mut tasks = JoinSet::new();
        let Ok((mut sender, connection)) = handshake(TokioIo::new(socket)).await else {
            return Outcome::Lost;
        };
        tasks.spawn(connection);
        match timeout(SILENCE, sender.send_request(self.request())).await {
            Ok(Ok(response)) => self.read(response).await,
            // It may have been executed.
            _ if !self.may_return() => Outcome::Over,
            _ => Outcome::Lost,
        }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let wish = &self.shared.wish;
        let (method, body) = match wish.kind {
            Kind::Feed => ("GET", Bytes::new()),
            Kind::Answer { .. } => ("POST", Bytes::from_static(b"go")),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(&wish.path)
            .header("host", HOST)
            .header("accept", "text/event-stream");
        for (name, value) in &wish.headers {
            request = request.header(*name, value);
        }
        if !self.last_id.is_empty() {
            request = request.header("last-event-id", &self.last_id);
        }
        request.body(Full::new(body)).unwrap()
    }

    async fn read(&mut self, response: Response<Incoming>) -> Outcome {
        let status = response.status();
        if status != StatusCode::OK {
            self.note(Entry::Refused {
                proxy: self.proxy,
                status: status.as_u16(),
            });
            let later = status.is_server_error() && self.may_return();
            return if later { Outcome::Lost } else { Outcome::Over };
        }
        let resumed = response.headers().get("sse-resume");
        self.note(Entry::Opened {
            proxy: self.proxy,
            after: self.last_id.clone(),
            resumed: resumed.map_or("", |value| value.to_str().unwrap()).into(),
        });
        let mut body = response.into_body();
        let mut page = Browser::default();
        let mut events = 0;
        loop {
            let clean = match timeout(SILENCE, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    events += self.feed(&mut page, &frame.into_data().unwrap_or_default());
                    continue;
                }
                Ok(end) => end.is_none(),
                Err(_) => false,
            };
            return Outcome::Ended { clean, events };
        }
    }

    /// Line by line, or it would not be known what came first.
    fn feed(&mut self, page: &mut Browser, bytes: &[u8]) -> usize {
        let mut events = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            page.feed(line);
            for comment in std::mem::take(&mut page.comments) {
                self.comment(&comment);
            }
            if std::mem::take(&mut page.empties) > 0 {
                self.note(Entry::Empty);
            }
            for event in page.take() {
                events += 1;
                self.event(event);
            }
        }
        events
    }

    fn comment(&self, text: &str) {
        let Some(gap) = text.strip_prefix(" sse-resume gap reason=") else {
            return;
        };
        self.note(Entry::Gap {
            reason: gap.split(' ').next().unwrap_or(gap).to_owned(),
            by_event: false,
        });
    }

    fn event(&mut self, event: Event) {
        if !event.id.is_empty() {
            self.last_id.clone_from(&event.id);
        }
        if event.kind == GAP_EVENT {
            let gap: serde_json::Value = serde_json::from_str(&event.data).unwrap();
            return self.note(Entry::Gap {
                reason: gap["reason"].as_str().unwrap().to_owned(),
                by_event: true,
            });
        }
        let number = event.data.trim_end().rsplit_once(' ');
        let number = number.filter(|(feed, _)| *feed == self.shared.wish.path);
        self.note(match number.and_then(|(_, number)| number.parse().ok()) {
            Some(number) => Entry::Event {
                number,
                id: event.id,
            },
            None => Entry::Stranger { data: event.data },
        });
    }

    fn note(&self, entry: Entry) {
        self.shared.transcript.lock().unwrap().entries.push(entry);
    }
}
