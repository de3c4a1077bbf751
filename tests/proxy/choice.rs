//! Which server a request goes to, and when none is left.

use std::net::SocketAddr;

use http::Request;
use http_body_util::Full;
use tower_sse::proxy::config::model::{Config, Sticky};

use crate::harness::{Proxy, config, eventually, fetch, get, open};
use crate::upstream::{Connection, Upstream};

/// A server that says its name, and at `/slow` takes for ever to say more.
async fn server(name: &'static str) -> Upstream {
    Upstream::start(move |mut connection: Connection| async move {
        while let Some((head, _)) = connection.request().await {
            let start = format!("HTTP/1.1 200 OK\r\nX-Server: {name}\r\nContent-Length: 1\r\n\r\n");
            connection.send(start).await;
            if head.starts_with("GET /slow") {
                return connection.closed().await;
            }
            connection.send("x").await;
        }
    })
    .await
}

async fn whose(addr: SocketAddr, name: &str, value: &str) -> String {
    let request = Request::get("/")
        .header("host", "app.example")
        .header(name, value)
        .body(Full::default())
        .unwrap();
    let answer = fetch(addr, request).await;
    answer.headers["x-server"].to_str().unwrap().to_owned()
}

fn sticky(servers: &[Upstream], sticky: Sticky) -> Config {
    let urls: Vec<_> = servers.iter().map(Upstream::url).collect();
    let mut config = config(&urls);
    config.upstreams.get_mut("app").unwrap().sticky = Some(sticky);
    config
}

#[tokio::test]
async fn a_value_stays_with_its_server_whichever_proxy_it_comes_by() {
    let servers = [server("a").await, server("b").await, server("c").await];
    let header = Sticky::Header("x-user".parse().unwrap());
    let cookie = Sticky::Cookie("session".into());
    let by_header = Proxy::start(sticky(&servers, header.clone())).await;
    let again = Proxy::start(sticky(&servers, header)).await;
    let by_cookie = Proxy::start(sticky(&servers, cookie)).await;
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..20 {
        let user = format!("user-{user}");
        let first = whose(by_header.addr, "x-user", &user).await;
        assert_eq!(whose(by_header.addr, "x-user", &user).await, first);
        assert_eq!(whose(again.addr, "x-user", &user).await, first);
        let pair = format!("theme=dark; session={user}");
        assert_eq!(whose(by_cookie.addr, "cookie", &pair).await, first);
        seen.insert(first);
    }
    assert_eq!(seen.len(), 3, "all take part");
    // Without it, in turn.
    let mut others = std::collections::BTreeSet::new();
    for _ in 0..3 {
        others.insert(whose(by_header.addr, "x-other", "x").await);
    }
    assert_eq!(others.len(), 3);
}

#[tokio::test]
async fn an_address_stays_with_its_server() {
    let servers = [server("a").await, server("b").await, server("c").await];
    let proxy = Proxy::start(sticky(&servers, Sticky::ClientAddress)).await;
    let first = whose(proxy.addr, "x-user", "a").await;
    for user in ["b", "c", "d"] {
        assert_eq!(whose(proxy.addr, "x-user", user).await, first);
    }
}

#[tokio::test]
async fn full_servers_are_passed_over_and_then_requests_refused() {
    let (a, b) = (server("a").await, server("b").await);
    let mut config = config(&[a.url(), b.url()]);
    config.upstreams.get_mut("app").unwrap().pool.max_open = Some(1);
    let proxy = Proxy::start(config).await;
    let slow = open(proxy.addr, get("/slow")).await;
    let busy = slow.headers()["x-server"].clone();
    for _ in 0..4 {
        assert_ne!(proxy.get("/").await.headers["x-server"], busy);
    }
    let other = open(proxy.addr, get("/slow")).await;
    let refused = proxy.get("/").await;
    assert_eq!(
        (refused.status.as_u16(), refused.text()),
        (503, "the upstream has as much to do as it may\n")
    );
    let metrics = proxy.ask_admin("/metrics").await;
    assert!(
        metrics
            .text()
            .contains("sse_upstream_full_total{upstream=\"app\"} 1\n"),
        "{}",
        metrics.text()
    );
    assert_eq!(proxy.ask_admin("/readyz").await.status, 200);
    drop((slow, other));
    eventually("there is room again", || async {
        proxy.get("/").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let upstream = server("a").await;
    let port = upstream.addr().port();
    // Where it stands for ::1 as well, nobody listens there.
    let mut config = config(&[format!("http://localhost:{port}")]);
    let app = config.upstreams.get_mut("app").unwrap();
    app.resolve = Some(crate::harness::LONG);
    app.pool.idle = std::time::Duration::ZERO;
    let proxy = Proxy::start(config).await;
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
}
