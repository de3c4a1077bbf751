//! The binary is replaced under clients who read, and none loses an event.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::browser::Browser;
use crate::process::{Folder, PATIENCE, Process, patiently};
use crate::upstream::{Upstream, header};

const CLIENTS: usize = 60;
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// Counts for everybody from 1, and resends what comes after `Last-Event-ID`.
async fn counter() -> Upstream {
    let (tell, told) = watch::channel(0_u64);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            tell.send_modify(|last| *last += 1);
        }
    });
    Upstream::start(move |mut connection| {
        let mut told = told.clone();
        async move {
            let Some((head, _)) = connection.request().await else {
                return;
            };
            connection.send(HEAD).await;
            let id = header(&head, "last-event-id").map(|id| id.parse().unwrap());
            let mut sent: u64 = id.unwrap_or_else(|| *told.borrow());
            while told.changed().await.is_ok() {
                let last = *told.borrow_and_update();
                let mut events = String::new();
                for number in sent + 1..=last {
                    let _ = write!(events, "id: {number}\ndata: {number}\n\n");
                }
                sent = last;
                if !connection.try_send(events.as_bytes()).await {
                    return;
                }
            }
        }
    })
    .await
}

fn file(folder: &Folder, upstream: &Upstream, addr: SocketAddr, reuse_port: bool) -> PathBuf {
    let text = format!(
        "listeners: [{{ address: \"{addr}\", reuse_port: {reuse_port} }}]\n\
         admin: {{ address: \"127.0.0.1:0\" }}\n\
         drain: {{ deadline: 10s, spread: 500ms }}\n\
         routes:\n  - path: /\n    upstream: \"{}\"\n    \
         sse: {{ resume: last_event_id }}\n",
        upstream.url()
    );
    folder.write("proxy.yaml", &text)
}

/// Clients who come back whenever they are left, as browsers do.
struct Crowd {
    reading: JoinSet<Vec<u64>>,
    /// What each has read so far.
    seen: Vec<watch::Receiver<usize>>,
    enough: Arc<AtomicBool>,
}

impl Crowd {
    fn new(addr: SocketAddr) -> Self {
        let mut crowd = Self {
            reading: JoinSet::new(),
            seen: Vec::new(),
            enough: Arc::default(),
        };
        for _ in 0..CLIENTS {
            let (tell, seen) = watch::channel(0);
            let enough = Arc::clone(&crowd.enough);
            crowd.seen.push(seen);
            crowd.reading.spawn(read(addr, tell, enough));
        }
        crowd
    }

    /// Waits until each has read so many more events.
    async fn advance(&mut self, events: usize) {
        let goals: Vec<_> = self.seen.iter().map(|s| *s.borrow() + events).collect();
        for (seen, goal) in self.seen.iter_mut().zip(goals) {
            let advanced = seen.wait_for(|seen| *seen >= goal);
            timeout(PATIENCE, advanced).await.unwrap().unwrap();
        }
    }

    /// Everybody's numbers, each without a hole and without a second time.
    async fn check(mut self) {
        self.enough.store(true, Ordering::SeqCst);
        while let Some(numbers) = self.reading.join_next().await {
            let numbers = numbers.unwrap();
            let first = numbers[0];
            let whole: Vec<u64> = (first..first + numbers.len() as u64).collect();
            assert_eq!(numbers, whole);
        }
    }
}

async fn read(addr: SocketAddr, tell: watch::Sender<usize>, enough: Arc<AtomicBool>) -> Vec<u64> {
    let (mut numbers, mut last_id) = (Vec::new(), String::new());
    while !enough.load(Ordering::SeqCst) {
        // Nobody may be there for a moment; a browser comes back then, too.
        let _ = visit(addr, &mut last_id, &mut numbers, &tell, &enough).await;
        let pause = fastrand::u64(10..100);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    numbers
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn visit(
    addr: SocketAddr,
    last_id: &mut String,
    numbers: &mut Vec<u64>,
    tell: &watch::Sender<usize>,
    enough: &AtomicBool,
) -> Result<(), Broken> {
    let io = TokioIo::new(TcpStream::connect(addr).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let _connection = JoinSet::from_iter([connection]);
    let mut request = Request::get("/events").header("host", "app");
    request = request.header("accept", "text/event-stream");
    if !last_id.is_empty() {
        request = request.header("last-event-id", last_id.as_str());
    }
    let request = request.body(Empty::<bytes::Bytes>::new())?;
    let mut response = sender.send_request(request).await?;
    let mut browser = Browser::default();
    while let Some(frame) = response.frame().await {
        browser.feed(frame?.data_ref().map_or(&[], |data| data));
        for event in browser.take() {
            numbers.push(event.data.parse()?);
            *last_id = event.id;
        }
        tell.send_replace(numbers.len());
        if enough.load(Ordering::SeqCst) {
            break;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_beside_the_old_one_takes_over_its_clients() {
    // Holds the port, without listening.
    let place = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    place.set_reuse_port(true).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    place.bind(&any.into()).unwrap();
    let addr = place.local_addr().unwrap().as_socket().unwrap();

    let (upstream, folder) = (counter().await, Folder::new());
    let path = file(&folder, &upstream, addr, true);
    let old = Process::start(&path);
    assert_eq!(old.addr, addr);
    let mut crowd = Crowd::new(addr);
    crowd.advance(5).await;

    let new = Process::start(&path);
    old.signal("TERM");
    assert!(old.end().await.success());
    crowd.advance(10).await;
    let counted = new.metrics().await;
    assert!(!counted.contains("reason=\"unknown_id\"} 1"), "{counted}");
    crowd.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_is_passed_on_keeps_who_comes_between_two_processes() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let (upstream, folder) = (counter().await, Folder::new());
    let path = file(&folder, &upstream, addr, false);
    let old = Process::inherit(&path, &socket);
    assert_eq!(old.addr, addr);
    let mut crowd = Crowd::new(addr);
    crowd.advance(5).await;

    old.signal("TERM");
    assert!(old.end().await.success());
    // Nobody accepts, and yet nobody is refused.
    let waiting = TcpStream::connect(addr).await.unwrap();
    let new = Process::inherit(&path, &socket);
    crowd.advance(10).await;
    assert!(waiting.peer_addr().is_ok());
    crowd.check().await;
    assert!(new.log().contains("listening on http://"), "{}", new.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_cut_nobody() {
    let (upstream, folder) = (counter().await, Folder::new());
    let any = "127.0.0.1:0".parse().unwrap();
    let path = file(&folder, &upstream, any, false);
    let proxy = Process::start(&path);
    let mut crowd = Crowd::new(proxy.addr);
    crowd.advance(5).await;
    let text = std::fs::read_to_string(&path).unwrap();
    for connections in [500, 300, 700] {
        let limits = format!("limits: {{ connections: {connections} }}\n");
        folder.write("proxy.yaml", &format!("{limits}{text}"));
        let applied = proxy.log().matches("the configuration is in force").count();
        proxy.signal("HUP");
        patiently("the reload", || async {
            let log = proxy.log();
            log.matches("the configuration is in force").count() > applied
        })
        .await;
        crowd.advance(5).await;
    }
    let accepted = format!("sse_connections_accepted_total {CLIENTS}\n");
    let counted = proxy.metrics().await;
    assert!(
        counted.contains(&accepted),
        "each is where it was: {counted}"
    );
    crowd.check().await;
}

#[tokio::test]
async fn without_reuse_port_a_second_process_is_refused_with_the_reason() {
    let (upstream, folder) = (counter().await, Folder::new());
    let any = "127.0.0.1:0".parse().unwrap();
    let first = Process::start(&file(&folder, &upstream, any, false));
    let path = file(&folder, &upstream, first.addr, true);
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_sse-proxy"))
        .arg("--config")
        .arg(path)
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("the address is in use"), "{said}");
}
