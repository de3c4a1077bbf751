//! Whether anything grows with time.
//!
//! `cargo bench --features full --bench soak -- 30` (minutes; 1 if not said)
//!
//! The real `sse-proxy` between an upstream that cuts every stream after a few
//! seconds, and answers 503 every so often, and clients that come, read for a
//! while, go, and come back with the last id they saw. Once in ten seconds the
//! proxy's resident memory, descriptors and threads are noted. The second sixth
//! of the notes is compared with the last; the exit code is 1 if memory grew by
//! more than a tenth and 2 MiB, descriptors by more than a tenth and 50, or the
//! threads at all.

#![expect(
    clippy::expect_used,
    reason = "a measurement that fails has nothing to clean up but its child"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 150;
const PAUSE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(100);

/// Counted over all clients.
#[derive(Default)]
struct Seen {
    connections: AtomicU64,
    events: AtomicU64,
    resumed: AtomicU64,
    disorder: AtomicU64,
}

/// One look at the proxy's process.
#[derive(Clone, Copy, Default)]
struct Note {
    resident_kib: u64,
    descriptors: u64,
    threads: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only wants to know that it starts.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let minutes = arguments.iter().find(|argument| *argument != "--bench");
    let minutes = minutes.map_or(1, |text| text.parse().expect("a number of minutes"));
    let proxy = Proxy::start(upstream());
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(Seen::default());
    for number in 0..CLIENTS {
        let (stop, seen, address) = (Arc::clone(&stop), Arc::clone(&seen), proxy.address);
        thread::spawn(move || client(number, address, &stop, &seen));
    }
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut notes = Vec::new();
    while Instant::now() < end {
        thread::sleep(PAUSE.min(end - Instant::now()));
        let note = proxy.look();
        notes.push(note);
        println!(
            "{:6} s: {:7} KiB resident, {:4} descriptors, {:2} threads; {} connections, {} events, {} resumed, {} out of order",
            notes.len() as u64 * PAUSE.as_secs(),
            note.resident_kib,
            note.descriptors,
            note.threads,
            seen.connections.load(Ordering::Relaxed),
            seen.events.load(Ordering::Relaxed),
            seen.resumed.load(Ordering::Relaxed),
            seen.disorder.load(Ordering::Relaxed),
        );
    }
    stop.store(true, Ordering::Relaxed);
    verdict(&notes, seen.disorder.load(Ordering::Relaxed))
}

fn verdict(notes: &[Note], disorder: u64) -> ExitCode {
    let sixth = (notes.len() / 6).max(1);
    let early = mean(&notes[sixth.min(notes.len() - 1)..(2 * sixth).min(notes.len())]);
    let late = mean(&notes[notes.len() - sixth..]);
    println!(
        "second sixth {} KiB, {} descriptors, {} threads; last sixth {} KiB, {} descriptors, {} threads",
        early.resident_kib,
        early.descriptors,
        early.threads,
        late.resident_kib,
        late.descriptors,
        late.threads
    );
    let grew = |early: u64, late: u64, least: u64| late > early + (early / 10).max(least);
    if disorder > 0
        || grew(early.resident_kib, late.resident_kib, 2048)
        || grew(early.descriptors, late.descriptors, 50)
        || late.threads > early.threads + 1
    {
        println!("FAILED: it grew, or something came out of order");
        return ExitCode::FAILURE;
    }
    println!("nothing grew");
    ExitCode::SUCCESS
}

fn mean(notes: &[Note]) -> Note {
    let count = notes.len().max(1) as u64;
    let sum = |field: fn(&Note) -> u64| notes.iter().map(field).sum::<u64>() / count;
    Note {
        resident_kib: sum(|note| note.resident_kib),
        descriptors: sum(|note| note.descriptors),
        threads: sum(|note| note.threads),
    }
}

/// Comes and goes until it is told to stop.
fn client(number: usize, proxy: SocketAddr, stop: &AtomicBool, seen: &Seen) {
    let path = ["/shared", "/private"][number % 2];
    let mut last: Option<String> = None;
    let mut turn = number as u64;
    while !stop.load(Ordering::Relaxed) {
        turn = turn
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let stay = Duration::from_millis(200 + (turn >> 33) % 5000);
        // One in three forgets where it was.
        let resume = last.take().filter(|_| !(turn >> 20).is_multiple_of(3));
        last = visit(proxy, path, resume, stay, seen);
    }
}

/// One connection; the last id it saw.
fn visit(
    proxy: SocketAddr,
    path: &str,
    resume: Option<String>,
    stay: Duration,
    seen: &Seen,
) -> Option<String> {
    let Ok(mut socket) = TcpStream::connect(proxy) else {
        thread::sleep(TICK);
        return resume;
    };
    seen.connections.fetch_add(1, Ordering::Relaxed);
    let header = resume.as_ref().map_or_else(String::new, |id| {
        seen.resumed.fetch_add(1, Ordering::Relaxed);
        format!("last-event-id: {id}\r\n")
    });
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: soak\r\naccept: text/event-stream\r\n{header}\r\n");
    socket.write_all(request.as_bytes()).ok()?;
    socket.set_read_timeout(Some(TICK)).ok()?;
    let mut lines = BufReader::new(socket);
    let (mut last, mut line) = (resume, String::new());
    let until = Instant::now() + stay;
    while Instant::now() < until {
        match lines.read_line(&mut line) {
            Ok(0) => break,
            Ok(_) => {
                if let Some(id) = line.trim_end().strip_prefix("id: ") {
                    seen.events.fetch_add(1, Ordering::Relaxed);
                    if follows(last.as_deref(), id) == Some(false) {
                        seen.disorder.fetch_add(1, Ordering::Relaxed);
                    }
                    last = Some(id.to_owned());
                }
                line.clear();
            }
            // What was read of a line so far stays in it.
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {}
            Err(_) => break,
        }
    }
    last
}

/// Whether an id is later than another of the same epoch.
fn follows(earlier: Option<&str>, id: &str) -> Option<bool> {
    let parts = |id: &str| {
        let mut parts = id.split('.');
        let epoch = parts.nth(1)?.to_owned();
        Some((epoch, parts.next()?.parse::<u64>().ok()?))
    };
    let ((epoch, before), (same, after)) = (parts(earlier?)?, parts(id)?);
    (epoch == same).then_some(after > before)
}

/// Sends an event each tick, cuts each stream after a few seconds, and is away
/// for every seventh request.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for (number, socket) in listener.incoming().enumerate() {
            let Ok(socket) = socket else { continue };
            thread::spawn(move || serve(number, socket));
        }
    });
    address
}

fn serve(number: usize, mut socket: TcpStream) -> Option<()> {
    let mut request = [0; 4096];
    let _ = socket.read(&mut request).ok()?;
    if number % 7 == 6 {
        let refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        return socket.write_all(refusal).ok();
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n14\r\nretry: 50\ndata: hi\n\n\r\n";
    socket.write_all(head.as_bytes()).ok()?;
    for event in 0..20 + number % 40 {
        thread::sleep(TICK);
        let event = format!("data: event {event:08} of {number:08} {:0>150}\n\n", "");
        socket
            .write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
            .ok()?;
    }
    Some(())
}

struct Proxy {
    child: Child,
    address: SocketAddr,
    file: std::path::PathBuf,
}

impl Proxy {
    fn start(upstream: SocketAddr) -> Self {
        let file = std::env::temp_dir().join(format!("sse-soak-{}.yaml", std::process::id()));
        let config = format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: ~\n\
             upstreams: {{ app: {{ servers: [\"http://{upstream}\"] }} }}\n\
             defaults: {{ linger: 2s, retain: 5s, hold: 5s }}\nroutes:\n  \
             - {{ path: /shared, upstream: app, sse: {{ mode: shared, principal: [] }} }}\n  \
             - {{ path: /, upstream: app }}\n"
        );
        std::fs::write(&file, config).expect("a temporary file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_sse-proxy"))
            .arg("--config")
            .arg(&file)
            .args(["--log-level", "error"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the proxy starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let address = line.trim().rsplit('/').next().expect("an address");
        Self {
            child,
            address: address.parse().expect("an address"),
            file,
        }
    }

    fn look(&self) -> Note {
        let process = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{process}/status")).expect("it runs");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).unwrap_or_default()
        };
        let descriptors = std::fs::read_dir(format!("{process}/fd")).expect("it runs");
        Note {
            resident_kib: number("VmRSS:"),
            descriptors: descriptors.count() as u64,
            threads: number("Threads:"),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}
