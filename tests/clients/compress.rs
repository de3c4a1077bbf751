//! Compressed streams are read event by event by decoders that are not ours: the
//! next event is not sent before the last one was read.

use crate::harness::{Process, Proxy, Relay, Scripted, Tls, chromium, curl, python};

const COMPRESSED: &str = "mode: shared, compress: gzip, heartbeat: 200ms";

#[tokio::test]
async fn curl_shows_each_event() {
    let backend = Scripted::start().await;
    let proxy = Proxy::start(backend.url(), COMPRESSED).await;
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        shows_each_event(&backend, &proxy, &[version]).await;
    }
}

#[tokio::test]
async fn curl_shows_each_event_over_tls() {
    let tls = Tls::generate();
    let backend = Scripted::start().await;
    let proxy = Proxy::start_tls(&tls, backend.url(), COMPRESSED).await;
    for version in ["--http1.1", "--http2"] {
        shows_each_event(&backend, &proxy, &[version, "--cacert", tls.authority()]).await;
    }
}

async fn shows_each_event(backend: &Scripted, proxy: &Proxy, options: &[&str]) {
    let url = format!("{}/numbers", proxy.url());
    let mut client = curl(&[options, &["--compressed", &url]].concat());
    client.line("the end of the head", str::is_empty).await;
    let lower = |line: &str| line.to_lowercase() == "content-encoding: gzip";
    assert!(client.stdout().any(lower));
    // Two heartbeats of one stored block each, before there is an event.
    for _ in 0..2 {
        client.line("a heartbeat", |line| line == ":").await;
    }
    backend.requested(1).await;
    for number in 1..=10 {
        backend.count([number]);
        let wanted = format!("data: {number}");
        client.line(&wanted, |line| line == wanted).await;
        client.line("its id", |line| line.starts_with("id: ")).await;
        client.line("its end", str::is_empty).await;
    }
    client.kill().await;
}

#[tokio::test]
async fn zlib_in_python_reads_each_event() {
    reads_each_event("zlib").await;
}

#[tokio::test]
async fn gzip_in_python_reads_each_event() {
    reads_each_event("gzip").await;
}

#[tokio::test]
async fn urllib3_reads_each_event() {
    reads_each_event("urllib3").await;
}

async fn reads_each_event(way: &str) {
    let backend = Scripted::start().await;
    // It ends with its upstream.
    let proxy = Proxy::start(backend.url(), "mode: one_shot, compress: gzip").await;
    let mut client = python("gunzip.py", &[way, &format!("{}/numbers", proxy.url())]);
    let open = client.report("open").await;
    assert_eq!(open["coding"], "gzip");
    backend.requested(1).await;
    counts(&backend, &mut client, 1).await;
    backend.send(&format!("data: {}\n\n", "x".repeat(300_000)));
    backend.finish();
    let end = client.report("end").await;
    assert_eq!(end["whole"], true);
    let last = &client.reports("message")[10]["data"];
    assert_eq!(last.as_str().unwrap().len(), 300_000);
}

#[tokio::test]
async fn a_page_in_chromium_reads_each_event_and_resumes() {
    let backend = Scripted::start().await;
    let proxy = Proxy::start(backend.url(), &format!("{COMPRESSED}, retry: 50ms")).await;
    let relay = Relay::to(proxy.url()).await;
    let (mut page, _profile) = chromium("compressed.mjs", relay.url());
    assert_eq!(page.report("answer").await["coding"], "gzip");
    backend.requested(1).await;
    counts(&backend, &mut page, 1).await;
    relay.cut();
    page.report("error").await;
    counts(&backend, &mut page, 11).await;
    let messages = page.reports("message");
    let data: Vec<_> = messages
        .iter()
        .map(|m| m["data"].as_str().unwrap())
        .collect();
    let wanted: Vec<_> = (1..=20).map(|number| number.to_string()).collect();
    assert_eq!(data, wanted);
    assert_eq!(backend.requests(), ["GET /numbers"]);
    page.close().await;
}

/// Sends ten numbers, each when the one before was read.
async fn counts(backend: &Scripted, client: &mut Process, first: u32) {
    for number in first..first + 10 {
        backend.count([number]);
        client.message(&number.to_string()).await;
    }
}
