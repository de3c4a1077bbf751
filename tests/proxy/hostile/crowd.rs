//! Connections that nobody uses, as many as there can be.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::feed::{Feed, PATIENCE, Reader};
use crate::harness::{fetch, get};

const CROWD: usize = 10_000;

/// What each of the two processes needs beside the crowd.
const SPARE: usize = 300;

/// A proxy with file descriptors of its own, until dropped.
struct Process {
    child: Child,
    clients: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    fn start(upstream: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("crowd.yaml");
        let text = format!(
            "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
             limits: {{ header_timeout: 10m }}\n\
             routes: [{{ path: /, upstream: \"{upstream}\", sse: {{ mode: shared, principal: [] }} }}]\n"
        );
        std::fs::write(&file, text).unwrap();
        // As many descriptors as it may have: the soft limit is often 1024.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "ulimit -n \"$(ulimit -Hn)\"; exec \"$0\" --config \"$1\"",
            ])
            .arg(env!("CARGO_BIN_EXE_sse-proxy"))
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = |what: &str| -> SocketAddr {
            let line = lines.next().expect("a line").unwrap();
            let address = line.strip_prefix(what).expect(what);
            address.parse().unwrap()
        };
        Self {
            clients: next("listening http://"),
            admin: next("admin http://"),
            child,
        }
    }

    async fn open(&self) -> usize {
        let metrics = fetch(self.admin, get("/metrics")).await;
        let open = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix("sse_connections_open "));
        open.expect("a metric").parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many connections this process and its child may have, each.
fn room() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    let soft: usize = soft.unwrap_or(1024);
    CROWD.min(soft.saturating_sub(SPARE))
}

#[tokio::test]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let feed = Feed::start().await;
    let proxy = Process::start(&feed.upstream.url());
    let mut reader = Reader::open(proxy.clients).await;
    let size = room();
    if size < CROWD {
        eprintln!("{size} of {CROWD} connections: more open files are not allowed here");
    }
    let mut crowd = Vec::with_capacity(size);
    for number in 0..size {
        let mut stream = TcpStream::connect(proxy.clients).unwrap();
        // Half of them say the half of something.
        if number % 2 == 0 {
            std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nHo").unwrap();
        }
        crowd.push(stream);
        if number % 1000 == 0 {
            let next = feed.send();
            reader.until(next).await;
        }
    }
    let begun = tokio::time::Instant::now();
    while proxy.open().await < size {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} are open",
            proxy.open().await
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // Whoever comes is served, and whoever was there gets what comes.
    assert_eq!(fetch(proxy.clients, get("/")).await.text(), "ok");
    let mut late = Reader::open(proxy.clients).await;
    let next = feed.send();
    reader.until(next).await;
    late.joins_at(next).await;
    drop(crowd);
    let begun = tokio::time::Instant::now();
    while proxy.open().await > 10 {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} are still open",
            proxy.open().await
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let next = feed.send();
    reader.until(next).await;
}
