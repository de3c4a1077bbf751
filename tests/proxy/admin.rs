//! The admin listener.

use crate::harness::{Proxy, fetch, refused, request};
use crate::upstream::Upstream;

#[tokio::test]
async fn unknown_paths_and_methods_are_refused() {
    let proxy = Proxy::to(&[refused()]).await;
    assert_eq!(proxy.ask_admin("/").await.status, 404);
    assert_eq!(
        fetch(proxy.admin, request("POST", "/readyz", ""))
            .await
            .status,
        405
    );
    assert_eq!(proxy.ask_admin("/healthz").await.text(), "ok\n");
    assert_eq!(
        proxy.get("/metrics").await.status,
        502,
        "not on the client's listener"
    );
}

#[tokio::test]
async fn the_exposition_is_well_formed_and_counts() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    proxy.get("/").await;
    let answer = proxy.ask_admin("/metrics").await;
    let kind = answer.headers["content-type"].to_str().unwrap();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );

    let text = answer.text();
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for sample in &samples {
        let (name, value) = sample.rsplit_once(' ').unwrap();
        assert!(name.starts_with("sse_"), "{sample}");
        value.parse::<f64>().unwrap();
    }
    assert!(text.ends_with("# EOF\n"));
    for expected in [
        "sse_requests_total{status=\"2xx\"} 1",
        "sse_requests_total{status=\"5xx\"} 0",
        "sse_connections_accepted_total 1",
        "sse_connect_seconds_count{upstream=\"app\"} 1",
        "sse_connect_failures_total{upstream=\"app\"} 0",
        "sse_clients_open{route=\"/\"} 0",
        "sse_buffered_bytes{route=\"/\"} 0",
        "sse_gaps_total{route=\"/\",reason=\"trimmed\"} 0",
        "sse_upstream_head_seconds_count{route=\"/\"} 0",
        concat!(
            "sse_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
    ] {
        assert!(samples.contains(&expected), "{expected} in\n{text}");
    }
}
