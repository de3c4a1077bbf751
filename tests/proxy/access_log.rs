//! What the access log says of requests and streams, and what it does not.

use std::path::{Path, PathBuf};

use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::time::timeout;
use tower_sse::proxy::config::model::{AccessFormat, AccessLog, Config};
use tower_sse::resume::settings::Mode;

use crate::harness::{LONG, Proxy, config, eventually, fetch, get, open, request};
use crate::process::Folder;
use crate::upstream::{Upstream, header};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain";

/// Two events: of a POST they are all, of a GET the stream goes on.
async fn upstream() -> Upstream {
    Upstream::start(|mut connection| async move {
        while let Some((head, _)) = connection.request().await {
            if !head.contains("/events") {
                connection.send(PLAIN).await;
                continue;
            }
            connection.send(HEAD).await;
            connection.send("data: 1\n\ndata: 2\n\n").await;
            if head.starts_with("POST") {
                return;
            }
            connection.closed().await;
        }
    })
    .await
}

fn logging(upstream: &Upstream, path: &Path, format: AccessFormat) -> Config {
    let mut config = config(&[upstream.url()]);
    config.operations.access_log = Some(AccessLog {
        path: Some(PathBuf::from(path)),
        format,
    });
    config
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn logged(path: &Path, count: usize) -> Vec<Value> {
    eventually("the lines are written", || async {
        lines(path).len() == count
    })
    .await;
    lines(path)
}

async fn two_events(response: &mut http::Response<hyper::body::Incoming>) {
    let mut seen = String::new();
    while !seen.contains("data: 2") {
        let frame = timeout(LONG, response.frame()).await.unwrap();
        let data = frame.unwrap().unwrap().into_data().unwrap();
        seen.push_str(std::str::from_utf8(&data).unwrap());
    }
}

#[tokio::test]
async fn a_request_is_a_line_without_its_query() {
    let (upstream, folder) = (upstream().await, Folder::new());
    let path = folder.path("access.log");
    let proxy = Proxy::start(logging(&upstream, &path, AccessFormat::Json)).await;
    assert_eq!(proxy.get("/a/b?token=secret").await.text(), "plain");
    let line = logged(&path, 1).await.remove(0);
    for (key, value) in [
        ("event", Value::from("request")),
        ("method", "GET".into()),
        ("path", "/a/b".into()),
        ("protocol", "HTTP/1.1".into()),
        ("route", "/".into()),
        ("status", 200.into()),
        ("bytes", 5.into()),
        ("reason", "complete".into()),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(line.get("events").is_none(), "{line}");
    assert!(!line.to_string().contains("secret"), "{line}");
}

#[tokio::test]
async fn a_stream_is_a_line_at_its_start_and_one_at_its_end() {
    let (upstream, folder) = (upstream().await, Folder::new());
    let path = folder.path("access.log");
    let mut proxy = Proxy::start(logging(&upstream, &path, AccessFormat::Json)).await;
    let mut response = open(proxy.addr, get("/events?token=secret")).await;
    two_events(&mut response).await;
    let start = logged(&path, 1).await.remove(0);
    assert_eq!(start["event"], "start", "{start}");
    assert_eq!(start["resume"], "new", "{start}");
    assert!(start.get("reason").is_none(), "{start}");

    drop(response);
    let end = logged(&path, 2).await.remove(1);
    assert_eq!(end["event"], "end", "{end}");
    assert_eq!((&end["events"], &end["gaps"]), (&2.into(), &0.into()));
    assert_eq!(end["reason"], "client gone", "{end}");

    // A one-shot is complete when its upstream is.
    let answer = fetch(proxy.addr, request("POST", "/events", "")).await;
    let end = logged(&path, 4).await.remove(3);
    assert_eq!(end["reason"], "complete", "{end}");
    assert_eq!(end["events"], 2, "{end}");
    assert_eq!(end["bytes"], answer.body.len(), "{end}");

    // An id that nobody knows: the client is told of a gap.
    let asked = Request::get("/events")
        .header("host", "a")
        .header("last-event-id", "s1.AAAAAAAAAAAAAAAAAAAAAA.7");
    let lost = open(proxy.addr, asked.body(Full::default()).unwrap()).await;
    proxy.stop();
    lost.into_body().collect().await.unwrap();
    proxy.stopped().await;
    let end = logged(&path, 6).await.remove(5);
    assert_eq!(end["reason"], "drained", "{end}");
    assert_eq!((&end["resume"], &end["gaps"]), (&"gap".into(), &1.into()));
}

#[tokio::test]
async fn a_reload_opens_the_file_anew() {
    let (upstream, folder) = (upstream().await, Folder::new());
    let path = folder.path("access.log");
    let config = logging(&upstream, &path, AccessFormat::Text);
    let proxy = Proxy::start(config.clone()).await;
    let mut live = open(proxy.addr, get("/events")).await;
    two_events(&mut live).await;
    let moved = folder.path("access.log.1");
    std::fs::rename(&path, &moved).unwrap();
    proxy.control.reload(config.clone()).await.unwrap();
    drop(live);
    let text = || std::fs::read_to_string(&path).unwrap();
    eventually("the end is in the new file", || async {
        text().contains(" end client=127.0.0.1:")
    })
    .await;
    let before = std::fs::read_to_string(moved).unwrap();
    assert!(
        before.contains(" start ") && !before.contains(" end "),
        "{before}"
    );

    let mut nowhere = config;
    nowhere.operations.access_log = Some(AccessLog {
        path: Some(folder.path("none/access.log")),
        format: AccessFormat::Text,
    });
    let error = proxy.control.reload(nowhere).await.unwrap_err();
    assert!(error.to_string().contains("none/access.log"), "{error}");
    proxy.get("/still").await;
    eventually("the old one stays", || async {
        text().contains(" path=/still ")
    })
    .await;
}

#[tokio::test]
async fn a_request_has_one_id_for_all_who_handle_it() {
    let (upstream, folder) = (upstream().await, Folder::new());
    let path = folder.path("access.log");
    let mut config = logging(&upstream, &path, AccessFormat::Json);
    config.operations.request_id = Some("x-request-id".parse().unwrap());
    let proxy = Proxy::start(config).await;
    let ask = |id: Option<&str>| {
        let mut asked = Request::get("/").header("host", "a");
        if let Some(id) = id {
            asked = asked.header("x-request-id", id);
        }
        fetch(
            proxy.addr,
            asked.body(Full::<bytes::Bytes>::default()).unwrap(),
        )
    };
    let long = "x".repeat(200);
    let mut made = Vec::new();
    for given in [None, Some(long.as_str()), Some("a b"), Some("client-7")] {
        let answer = ask(given).await;
        let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        let sent = upstream.heads().pop().unwrap();
        assert_eq!(header(&sent, "x-request-id"), Some(id.as_str()), "{sent}");
        made.push(id);
    }
    assert_eq!(made[3], "client-7");
    assert!(made[..3].iter().all(|id| id.len() == 32), "{made:?}");
    let written = logged(&path, 4).await;
    let written: Vec<_> = written.iter().map(|line| line["id"].clone()).collect();
    assert_eq!(written, made);
}

#[tokio::test]
async fn what_names_a_trace_goes_upstream() {
    let upstream = upstream().await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let context = [
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("tracestate", "congo=t61rcWkgMzE"),
        ("baggage", "user=7"),
    ];
    for path in ["/plain", "/events"] {
        let mut asked = Request::get(path).header("host", "a");
        asked = asked.header("accept", "text/event-stream");
        for (name, value) in context {
            asked = asked.header(name, value);
        }
        drop(
            open(
                proxy.addr,
                asked.body(Full::<bytes::Bytes>::default()).unwrap(),
            )
            .await,
        );
        let sent = upstream.heads().pop().unwrap();
        for (name, value) in context {
            assert_eq!(header(&sent, name), Some(value), "{sent}");
        }
    }
}

#[tokio::test]
async fn an_end_out_of_order_has_its_reason() {
    const EVENTS: usize = 640;
    let upstream = Upstream::start(|mut connection| async move {
        let Some((head, _)) = connection.request().await else {
            return;
        };
        if head.contains("/short") {
            connection
                .send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")
                .await;
            return;
        }
        connection.send(HEAD).await;
        // More than sockets hold on the way to somebody who does not read.
        let event = format!("data: {}\n\n", "x".repeat(64 << 10));
        for _ in 0..EVENTS {
            connection.send(&event).await;
        }
        connection.closed().await;
    })
    .await;
    let folder = Folder::new();
    let path = folder.path("access.log");
    let mut config = logging(&upstream, &path, AccessFormat::Json);
    config.routes[0].sse.mode = Mode::Shared;
    config.routes[0].sse.buffer.bytes = Some(1 << 20);
    let proxy = Proxy::start(config).await;

    let short = open(proxy.addr, get("/short")).await;
    assert!(short.into_body().collect().await.is_err());
    let line = logged(&path, 1).await.remove(0);
    assert_eq!(
        (&line["reason"], &line["bytes"]),
        (&"broken".into(), &5.into())
    );

    let slow = open(proxy.addr, get("/much")).await;
    eventually("everything was sent", || async {
        let metrics = proxy.ask_admin("/metrics").await;
        let all = format!("sse_events_received_total{{route=\"/\"}} {EVENTS}\n");
        metrics.text().contains(&all)
    })
    .await;
    let read = timeout(LONG, slow.into_body().collect()).await.unwrap();
    assert!(read.is_err(), "it is cut");
    let end = logged(&path, 3).await.remove(2);
    assert_eq!(end["reason"], "cut: fell behind", "{end}");
}
