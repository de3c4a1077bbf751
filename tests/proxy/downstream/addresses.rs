//! Whose request it is, behind other proxies.

use http::Request;
use http_body_util::Full;
use tower_sse::proxy::config::model::Networks;

use crate::feed::{Feed, ask, stream_request};
use crate::harness::{Proxy, fetch, get};
use crate::upstream::header;

fn said(request: Request<Full<bytes::Bytes>>, list: &str) -> Request<Full<bytes::Bytes>> {
    let (mut parts, body) = request.into_parts();
    parts
        .headers
        .insert("x-forwarded-for", list.parse().unwrap());
    parts
        .headers
        .insert("x-forwarded-proto", "https".parse().unwrap());
    parts
        .headers
        .insert("x-forwarded-host", "public.example".parse().unwrap());
    Request::from_parts(parts, body)
}

fn here() -> Networks {
    ["127.0.0.1", "10.0.0.0/8"].into_iter().collect()
}

#[tokio::test]
async fn a_stranger_is_not_believed() {
    let feed = Feed::start().await;
    let proxy = Proxy::start(feed.config()).await;
    fetch(proxy.addr, said(get("/"), "203.0.113.9")).await;
    let head = &feed.upstream.heads()[0];
    assert_eq!(header(head, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header(head, "x-forwarded-proto"), Some("http"));
    assert_eq!(header(head, "x-forwarded-host"), Some("app.example"));
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_added() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.trusted_proxies = here();
    let proxy = Proxy::start(config).await;
    fetch(proxy.addr, said(get("/"), "6.6.6.6, 203.0.113.9, 10.0.0.7")).await;
    ask(proxy.addr, "127.0.0.2", said(get("/"), "203.0.113.9")).await;
    let heads = feed.upstream.heads();
    let list = header(&heads[0], "x-forwarded-for");
    assert_eq!(list, Some("6.6.6.6, 203.0.113.9, 10.0.0.7, 127.0.0.1"));
    assert_eq!(header(&heads[0], "x-forwarded-proto"), Some("https"));
    let public = header(&heads[0], "x-forwarded-host");
    assert_eq!(public, Some("public.example"));
    assert_eq!(header(&heads[1], "x-forwarded-for"), Some("127.0.0.2"));
    assert_eq!(header(&heads[1], "x-forwarded-proto"), Some("http"));
}

#[tokio::test]
async fn limits_go_by_the_client_and_not_by_its_proxy() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.trusted_proxies = here();
    config.limits.streams_per_address = Some(1);
    let proxy = Proxy::start(config).await;
    let open = |list: &'static str| ask(proxy.addr, "127.0.0.1", said(stream_request(), list));
    let first = open("203.0.113.9").await;
    assert_eq!(first.status(), 200);
    let other = open("203.0.113.10").await;
    assert_eq!(other.status(), 200);
    // An invention to the left of it changes nothing.
    assert_eq!(open("1.2.3.4, 203.0.113.9, 10.0.0.1").await.status(), 429);
    // A household of IPv6.
    let sixth = open("2001:db8:0:1::1").await;
    assert_eq!(sixth.status(), 200);
    assert_eq!(open("2001:db8:0:1:ffff::2").await.status(), 429);
    assert_eq!(open("2001:db8:0:2::1").await.status(), 200);
}
