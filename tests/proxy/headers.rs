//! Hop-by-hop headers stop here, and the upstream learns who asked.

use http::{HeaderName, Request};
use http_body_util::Empty;
use tower_sse::resume::settings::Mode;

use crate::harness::{Proxy, config, fetch, open};
use crate::upstream::{Upstream, header};

#[tokio::test]
async fn neither_way_do_hop_by_hop_headers_pass() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Internal\r\n\
         X-Internal: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n\
         X-Kept: a\r\nX-Kept: b\r\nSet-Cookie: c=d\r\n\r\nok",
    )
    .await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let request = Request::get("/")
        .header("host", "app.example:8080")
        .header("connection", "x-private")
        .header("x-private", "1")
        .header("proxy-authorization", "Basic eA==")
        .header("upgrade", "h2c")
        .header("expect", "100-continue")
        .header("authorization", "Bearer t")
        .header("x-forwarded-for", "203.0.113.9")
        .body(Empty::new())
        .unwrap();
    let answer = fetch(proxy.addr, request).await;
    for gone in [
        "connection",
        "x-internal",
        "keep-alive",
        "proxy-authenticate",
        "upgrade",
    ] {
        assert!(!answer.headers.contains_key(gone), "{gone}");
    }
    let kept: Vec<_> = answer.headers.get_all("x-kept").iter().collect();
    assert_eq!(kept, ["a", "b"]);
    assert_eq!(answer.headers["set-cookie"], "c=d");

    let head = &upstream.heads()[0];
    for gone in [
        "connection",
        "x-private",
        "proxy-authorization",
        "upgrade",
        "expect",
    ] {
        assert_eq!(header(head, gone), None, "{gone}");
    }
    assert_eq!(header(head, "authorization"), Some("Bearer t"));
    assert_eq!(header(head, "host"), Some("app.example:8080"));
    assert_eq!(header(head, "x-forwarded-host"), Some("app.example:8080"));
    assert_eq!(header(head, "x-forwarded-proto"), Some("http"));
    assert_eq!(header(head, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(
        header(head, "forwarded"),
        Some("for=127.0.0.1;host=\"app.example:8080\";proto=http")
    );
}

#[tokio::test]
async fn a_shared_stream_is_keyed_by_what_the_upstream_is_sent() {
    let upstream = Upstream::start(|mut connection| async move {
        while connection.head().await.is_some() {
            connection
                .send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                .await;
        }
    })
    .await;
    let mut config = config(&[upstream.url()]);
    config.routes[0].sse.mode = Mode::Shared;
    config.routes[0].sse.key.headers = vec![HeaderName::from_static("x-tenant")];
    let proxy = Proxy::start(config).await;
    // Its answer is the one without a tenant: nobody of that tenant may get it.
    let keyed = |connection: &str| {
        Request::get("/")
            .header("host", "app.example")
            .header("x-tenant", "a")
            .header("connection", connection)
            .body(Empty::<bytes::Bytes>::new())
            .unwrap()
    };
    let _poison = open(proxy.addr, keyed("x-tenant")).await;
    let _honest = open(proxy.addr, keyed("keep-alive")).await;
    let heads = upstream.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert_eq!(header(&heads[0], "x-tenant"), None);
    assert_eq!(header(&heads[1], "x-tenant"), Some("a"));
}

#[tokio::test]
async fn a_length_beside_chunks_does_not_reach_the_client() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    let proxy = Proxy::to(&[upstream.url()]).await;
    let answer = proxy.get("/").await;
    assert_eq!(answer.text(), "hello");
    assert!(!answer.headers.contains_key("content-length"));
}
