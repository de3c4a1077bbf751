//! Memory of the proxy's process per idle client, measured from outside.
//!
//! `cargo bench --features full --bench idle_memory`
//!
//! Starts the real `sse-proxy`, an upstream that sends one event and then
//! nothing, and 2,000 clients; prints the growth of the proxy's resident
//! memory per client, once for each kind of stream. Private clients cost a
//! connection on both sides, shared ones only their own.

#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a measurement that fails has nothing to clean up, and is rounded"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;

const CLIENTS: usize = 2_000;

fn main() -> std::io::Result<()> {
    // `cargo test --benches` only wants to know that it starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let upstream = upstream()?;
    for path in ["/private", "/shared"] {
        // Each its own: memory that others gave back would not show as growth.
        let proxy = Proxy::start(upstream)?;
        // The first ones pay for what all others use too.
        let _warm = connect(proxy.address, path, 200)?;
        let before = proxy.resident()?;
        let _clients = connect(proxy.address, path, CLIENTS)?;
        let grown = proxy.resident()? - before;
        let each = grown * 1024 / CLIENTS;
        println!("{path}: {:.1} KiB per idle client", each as f64 / 1024.0);
    }
    Ok(())
}

/// Answers every request with an event stream of one event.
fn upstream() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let mut open = Vec::new();
        for socket in listener.incoming() {
            let mut socket = socket.expect("a connection");
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).expect("a request");
            socket
                .write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                      transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
                )
                .expect("a client that reads");
            open.push(socket);
        }
    });
    Ok(address)
}

fn connect(proxy: SocketAddr, path: &str, clients: usize) -> std::io::Result<Vec<TcpStream>> {
    (0..clients).map(|_| client(proxy, path)).collect()
}

/// A client that asks as a browser does, and has seen the first heartbeat.
fn client(proxy: SocketAddr, path: &str) -> std::io::Result<TcpStream> {
    let mut socket = TcpStream::connect(proxy)?;
    // In one piece: a head that arrives in two makes hyper double its buffer.
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {proxy}\r\naccept: text/event-stream\r\n\
         user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/156.0.0.0 Safari/537.36\r\naccept-language: en\r\ncache-control: no-cache\r\n\
         sec-fetch-mode: cors\r\nreferer: http://{proxy}/\r\n\r\n"
    );
    socket.write_all(request.as_bytes())?;
    let mut seen = Vec::new();
    while !seen.windows(3).any(|bytes| bytes == b"\n:\n") {
        let mut chunk = [0; 1024];
        let read = socket.read(&mut chunk)?;
        assert!(
            read > 0,
            "the proxy closed: {}",
            String::from_utf8_lossy(&seen)
        );
        seen.extend_from_slice(&chunk[..read]);
    }
    Ok(socket)
}

struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Proxy {
    fn start(upstream: SocketAddr) -> std::io::Result<Self> {
        let file = std::env::temp_dir().join(format!("idle-memory-{}.yaml", std::process::id()));
        std::fs::write(
            &file,
            format!(
                "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: ~\n\
                 upstreams: {{ app: {{ servers: [\"http://{upstream}\"] }} }}\nroutes:\n  \
                 - {{ path: /shared, upstream: app, sse: {{ mode: shared, principal: [] }} }}\n  \
                 - {{ path: /, upstream: app }}\n"
            ),
        )?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_sse-proxy"))
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line)?;
        let address = line
            .trim()
            .strip_prefix("listening http://")
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("not an announcement: {line:?}"));
        Ok(Self { child, address })
    }

    /// Resident memory, in KiB.
    fn resident(&self) -> std::io::Result<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        Ok(kib.expect("Linux tells"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
