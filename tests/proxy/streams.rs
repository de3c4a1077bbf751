//! Event streams through the whole proxy: what an upstream or a client does
//! wrong concerns nobody else, and a shutdown ends each kind as it should.

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::harness::{LONG, Proxy, config, get, open, request};
use crate::upstream::{Connection, Upstream};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// One upstream of many habits, by path. `/good` sends one event at once and
/// one for each number that the test sets.
async fn upstream() -> (Upstream, watch::Sender<u32>) {
    let (tell, told) = watch::channel(0);
    let upstream = Upstream::start(move |connection| serve(connection, told.clone())).await;
    (upstream, tell)
}

async fn serve(mut connection: Connection, mut told: watch::Receiver<u32>) {
    let Some((head, _)) = connection.request().await else {
        return;
    };
    connection.send(HEAD).await;
    match head.split(' ').nth(1).unwrap() {
        // Too much for any buffer; whoever cuts the connection ends the loop.
        "/endless" => while connection.try_send(&vec![b'x'; 65_536]).await {},
        "/huge" => {
            let event = format!("data: small\n\ndata: {}\n\n", "x".repeat(10_000_000));
            connection.try_send(event.as_bytes()).await;
        }
        "/nul" => connection.send("id: a\0b\ndata: kept\n\n").await,
        _ => {
            connection.send("data: 0\n\n").await;
            while told.changed().await.is_ok() {
                let number = *told.borrow_and_update();
                connection.send(format!("data: {number}\n\n")).await;
            }
        }
    }
}

/// Reads until the text is there.
async fn until(response: &mut Response<Incoming>, seen: &mut String, wanted: &str) {
    while !seen.contains(wanted) {
        let frame = timeout(LONG, response.frame()).await.unwrap();
        let data = frame.unwrap().unwrap().into_data().unwrap();
        seen.push_str(std::str::from_utf8(&data).unwrap());
    }
}

/// Reads to the end: what came, and whether it was a clean one.
async fn rest(mut response: Response<Incoming>) -> (String, bool) {
    let mut seen = Vec::new();
    loop {
        match timeout(LONG, response.frame()).await.unwrap() {
            None => return (String::from_utf8(seen).unwrap(), true),
            Some(Err(_)) => return (String::from_utf8(seen).unwrap(), false),
            Some(Ok(frame)) => seen.extend_from_slice(&frame.into_data().unwrap()),
        }
    }
}

async fn buffered(proxy: &Proxy) -> u64 {
    let metrics = proxy.ask_admin("/metrics").await;
    let lines = metrics.text().lines();
    lines
        .filter_map(|line| line.strip_prefix("sse_buffered_bytes{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[tokio::test]
async fn what_an_upstream_sends_too_much_of_ends_its_own_stream_only() {
    let (upstream, tell) = upstream().await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let mut good = open(proxy.addr, get("/good")).await;
    let mut seen = String::new();
    until(&mut good, &mut seen, "data: 0\n").await;

    for path in ["/endless", "/huge"] {
        let (text, clean) = rest(open(proxy.addr, get(path)).await).await;
        assert!(!clean, "{path}");
        assert!(text.len() < 200, "half an event was delivered");
        assert_eq!(text.contains("data: small\nid: s1."), path == "/huge");
    }
    let mut nul = open(proxy.addr, get("/nul")).await;
    until(&mut nul, &mut String::new(), "data: kept\nid: s1.").await;
    assert!(
        buffered(&proxy).await < 1000,
        "what was refused is not kept"
    );

    tell.send(1).unwrap();
    until(&mut good, &mut seen, "data: 1\n").await;
}

#[tokio::test]
async fn absurd_ids_are_answered_as_documented() {
    let (upstream, _tell) = upstream().await;
    let proxy = Proxy::to(&[upstream.url()]).await;

    // Above what a head may be: HTTP's own answer, whatever header it was.
    let mut socket = TcpStream::connect(proxy.addr).await.unwrap();
    let id = "x".repeat(1 << 20);
    let head = format!("GET /good HTTP/1.1\r\nhost: a\r\nlast-event-id: {id}\r\n\r\n");
    // It may be cut before it is written whole.
    let _ = socket.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(LONG, socket.read_to_end(&mut answer))
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 431 "),
        "{text}"
    );

    // Above what an id may be: as none, and flagged.
    let mut long = get("/good");
    let id = "x".repeat(2000).parse().unwrap();
    long.headers_mut().insert("last-event-id", id);
    let mut answer = open(proxy.addr, long).await;
    assert_eq!(answer.headers()["sse-resume"], "gap");
    let mut seen = String::new();
    until(&mut answer, &mut seen, "data: 0\n").await;
    assert!(seen.starts_with(":\n: sse-resume gap reason=malformed-id\n"));
    let heads = upstream.heads();
    assert!(heads.iter().all(|head| !head.contains("last-event-id")));
}

#[tokio::test]
async fn a_shutdown_ends_live_streams_and_lets_one_shots_finish() {
    let (upstream, tell) = upstream().await;
    let mut proxy = Proxy::start(config(&[upstream.url()])).await;
    let mut live = Vec::new();
    for _ in 0..20 {
        let mut response = open(proxy.addr, get("/good")).await;
        until(&mut response, &mut String::new(), "data: 0\n").await;
        live.push(response);
    }
    let mut one_shot = open(proxy.addr, request("POST", "/good", "")).await;
    until(&mut one_shot, &mut String::new(), "data: 0\n").await;

    proxy.stop();
    for response in live {
        let (_, clean) = rest(response).await;
        assert!(clean, "a browser comes back after either, others do not");
    }
    tell.send(1).unwrap();
    until(&mut one_shot, &mut String::new(), "data: 1\n").await;
    drop(tell);
    let (text, clean) = rest(one_shot).await;
    assert!(clean, "{text}");
    proxy.stopped().await;
}
