//! From clear to TLS, and staying there.

use std::time::Duration;

use http::Request;
use http_body_util::Empty;
use tower_sse::proxy::config::model::Tls;

use crate::authority::{Authority, connect_as, send};
use crate::harness::{Proxy, config, fetch, listener, request};
use crate::upstream::Upstream;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_listener_in_clear_can_send_everybody_to_tls() {
    let upstream = Upstream::answering(OK).await;
    let mut config = config(&[upstream.url()]);
    config.listeners[0].redirect_to_https = Some(8443);
    let proxy = Proxy::start(config).await;
    for method in ["GET", "POST"] {
        let answer = fetch(proxy.addr, request(method, "/a/b?c=%20d", "body")).await;
        assert_eq!(answer.status, 308);
        let location = answer.headers["location"].to_str().unwrap();
        assert_eq!(location, "https://app.example:8443/a/b?c=%20d");
    }
    let nameless = Request::get("/")
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    assert_eq!(fetch(proxy.addr, nameless).await.status, 400);
    assert!(upstream.heads().is_empty());

    // Somebody else's challenge may be behind us, and is asked for in clear.
    let path = "/.well-known/acme-challenge/token";
    assert_eq!(proxy.get(path).await.text(), "ok");
    assert_eq!(upstream.heads().len(), 1);
    for (method, path) in [
        ("POST", path),
        ("GET", "/.well-known/acme-challenge/../../admin"),
        ("GET", "/.well-known/acme-challenge/..%2f..%2fadmin"),
        ("GET", "/.well-known/acme-challenge/a/b"),
        ("GET", "/.well-known/acme-challenge/"),
    ] {
        let answer = fetch(proxy.addr, request(method, path, "")).await;
        assert_eq!(answer.status, 308, "{method} {path}");
    }
    assert_eq!(upstream.heads().len(), 1);
}

#[tokio::test]
async fn browsers_are_told_to_come_over_tls() {
    let authority = Authority::new("hsts");
    let own =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nStrict-Transport-Security: max-age=5\r\n\r\nok";
    for (answer, hsts, expected) in [
        (OK, Some(365), Some("max-age=31536000")),
        (OK, Some(0), Some("max-age=0")),
        (OK, None, None),
        (own, Some(365), Some("max-age=5")),
    ] {
        let upstream = Upstream::answering(answer).await;
        let mut config = config(&[upstream.url()]);
        config.listeners = vec![listener(Some(Tls {
            hsts: hsts.map(|days| Duration::from_secs(days * 24 * 60 * 60)),
            ..authority.listener(None)
        }))];
        let proxy = Proxy::start(config).await;
        let client = authority.client("http/1.1", None);
        let stream = connect_as(proxy.addr, client, "localhost").await.unwrap();
        let request = Request::get("/").header("host", "localhost");
        let answer = send(stream, request.body(Empty::new()).unwrap())
            .await
            .unwrap();
        let told = answer.headers().get("strict-transport-security");
        assert_eq!(told.map(|value| value.to_str().unwrap()), expected);
    }
}
