//! curl shows the very bytes: the head, bare heartbeats, ids as last lines, and
//! a return by hand.

use crate::harness::{Process, Proxy, Scripted, Tls, curl};

#[tokio::test]
async fn http1_resumes() {
    let backend = Scripted::start().await;
    let proxy = Proxy::start(backend.url(), "heartbeat: 100ms").await;
    resumes(&backend, &proxy, "HTTP/1.1 200 OK", &["--http1.1"]).await;
}

#[tokio::test]
async fn http2_in_the_clear_resumes() {
    let backend = Scripted::start().await;
    let proxy = Proxy::start(backend.url(), "heartbeat: 100ms").await;
    resumes(&backend, &proxy, "HTTP/2 200", &["--http2-prior-knowledge"]).await;
}

#[tokio::test]
async fn http2_over_tls_resumes() {
    let tls = Tls::generate();
    let backend = Scripted::start().await;
    let proxy = Proxy::start_tls(&tls, backend.url(), "heartbeat: 100ms").await;
    let options = ["--http2", "--cacert", tls.authority()];
    resumes(&backend, &proxy, "HTTP/2 200", &options).await;
}

async fn resumes(backend: &Scripted, proxy: &Proxy, status: &str, options: &[&str]) {
    let url = format!("{}/numbers", proxy.url());
    let mut client = curl(&[options, &[&url]].concat());
    let head = head(&mut client).await;
    assert_eq!(head[0].trim_end(), status);
    for header in [
        "content-type: text/event-stream",
        "cache-control: no-cache, no-transform",
        "x-accel-buffering: no",
        "sse-resume: new",
    ] {
        assert!(
            head.iter().any(|line| line == header),
            "no {header:?} in {head:#?}"
        );
    }
    assert!(
        !head.iter().any(|line| line.starts_with("content-length")),
        "{head:#?}"
    );

    // The backend has sent nothing yet: one with the head, one for the silence.
    heartbeat(&mut client).await;
    heartbeat(&mut client).await;
    backend.count(1..=3);
    let (first, id) = events(&mut client, 3, head.len() + 1).await;
    assert_eq!(first, ["1", "2", "3"]);
    client.kill().await;

    backend.count(4..=5);
    let return_with = format!("Last-Event-ID: {}", id[1]);
    let mut client = curl(&[options, &["--header", &return_with, &url]].concat());
    let head = self::head(&mut client).await;
    assert!(
        head.iter().any(|line| line == "sse-resume: exact"),
        "{head:#?}"
    );
    let (rest, ids) = events(&mut client, 3, head.len() + 1).await;
    assert_eq!(rest, ["3", "4", "5"]);
    assert_eq!(ids[0], id[2], "an event keeps its id");
    assert_eq!(backend.requests(), ["GET /numbers"]);
}

/// The status line and the headers, in lower case.
async fn head(client: &mut Process) -> Vec<String> {
    client.line("the end of the head", str::is_empty).await;
    let mut lines = client.stdout().map(str::to_owned);
    let status = lines.next().unwrap();
    let headers = lines
        .take_while(|line| !line.is_empty())
        .map(|line| line.to_lowercase());
    std::iter::once(status).chain(headers).collect()
}

async fn heartbeat(client: &mut Process) {
    let line = client.line("a heartbeat", |_| true).await;
    assert_eq!(line, ":");
}

/// Data and ids of `count` events, every line of the body (which begins at line
/// `start` of all output) accounted for.
async fn events(client: &mut Process, count: usize, start: usize) -> (Vec<String>, Vec<String>) {
    let mut ended = 0;
    while ended < count {
        client.line("the end of an event", str::is_empty).await;
        ended += 1;
    }
    let body: Vec<_> = client
        .stdout()
        .skip(start)
        .filter(|line| *line != ":")
        .collect();
    let blocks: Vec<_> = body
        .split(|line| line.is_empty())
        .filter(|block| !block.is_empty())
        .collect();
    let field = |line: &str, name: &str| {
        let value = line.strip_prefix(name);
        value
            .unwrap_or_else(|| panic!("{line:?} is no {name:?}; all of it: {body:#?}"))
            .to_owned()
    };
    assert_eq!(blocks.len(), count, "{body:#?}");
    blocks
        .iter()
        .map(|block| {
            assert_eq!(block.len(), 2, "{block:?}");
            (field(block[0], "data: "), field(block[1], "id: "))
        })
        .unzip()
}
