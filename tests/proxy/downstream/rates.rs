//! How often a route may be asked.

use std::time::Duration;

use http::header::{AUTHORIZATION, RETRY_AFTER};
use tower_sse::proxy::config::model::{Per, RateLimit};
use tower_sse::resume::settings::Credential;

use crate::feed::{Feed, ask, refused};
use crate::harness::{Proxy, get, route};

/// So many at once, and no more as long as any test runs.
fn limit(per: Per, burst: u32) -> RateLimit {
    RateLimit {
        per,
        requests: 1,
        window: Duration::from_secs(3600),
        burst,
    }
}

#[tokio::test]
async fn an_address_has_so_many_requests() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.routes.insert(0, route("/free", "app"));
    config.routes[1].rate_limit = vec![limit(Per::Address, 3)];
    let proxy = Proxy::start(config).await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    let refused_one = proxy.get("/").await;
    assert_eq!(refused_one.status, 429);
    assert_eq!(refused_one.text(), "too many requests\n");
    let wait: u64 = refused_one.headers[RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((3000..=7200).contains(&wait), "{wait}");
    assert_eq!(refused(&proxy, "rate_limit").await, 1);
    assert_eq!(feed.upstream.heads().len(), 3, "nothing goes upstream");

    // Others, and other routes.
    assert_eq!(ask(proxy.addr, "127.0.0.2", get("/")).await.status(), 200);
    assert_eq!(proxy.get("/free").await.status, 200);
}

#[tokio::test]
async fn clients_are_not_sent_back_together() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.routes[0].rate_limit = vec![limit(Per::Address, 1)];
    let proxy = Proxy::start(config).await;
    assert_eq!(proxy.get("/").await.status, 200);
    let mut waits = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let answer = proxy.get("/").await;
        waits.insert(
            answer.headers[RETRY_AFTER]
                .clone()
                .to_str()
                .unwrap()
                .to_owned(),
        );
    }
    // Of 3600 values, ten that are all the same would be a strange accident.
    assert!(waits.len() > 1, "{waits:?}");
}

#[tokio::test]
async fn a_principal_has_so_many_wherever_it_comes_from() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.routes[0].sse.principal = vec![Credential::Header(AUTHORIZATION)];
    config.routes[0].rate_limit = vec![limit(Per::Principal, 1), limit(Per::Address, 100)];
    let proxy = Proxy::start(config).await;
    let asked = |from: &'static str, token: &'static str| {
        let mut request = get("/");
        let token = token.parse().unwrap();
        request.headers_mut().insert(AUTHORIZATION, token);
        ask(proxy.addr, from, request)
    };
    assert_eq!(asked("127.0.0.1", "alice").await.status(), 200);
    assert_eq!(asked("127.0.0.2", "alice").await.status(), 429);
    assert_eq!(asked("127.0.0.1", "bob").await.status(), 200);
    // Without a credential, an address is as good a name as any.
    assert_eq!(ask(proxy.addr, "127.0.0.1", get("/")).await.status(), 200);
    assert_eq!(ask(proxy.addr, "127.0.0.1", get("/")).await.status(), 429);
    assert_eq!(ask(proxy.addr, "127.0.0.2", get("/")).await.status(), 200);
}

#[tokio::test]
async fn a_reload_gives_nobody_a_new_allowance_unless_the_limit_is_another() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.routes[0].rate_limit = vec![limit(Per::Address, 1)];
    let proxy = Proxy::start(config.clone()).await;
    assert_eq!(proxy.get("/").await.status, 200);
    config.routes.insert(0, route("/other", "app"));
    for _ in 0..2 {
        proxy.control.reload(config.clone()).await.unwrap();
        assert_eq!(proxy.get("/").await.status, 429);
    }
    config.routes[1].rate_limit = vec![limit(Per::Address, 2)];
    proxy.control.reload(config).await.unwrap();
    assert_eq!(proxy.get("/").await.status, 200);
}

#[tokio::test]
async fn a_limit_that_is_written_twice_is_one() {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.routes[0].rate_limit = vec![limit(Per::Address, 2); 2];
    let proxy = Proxy::start(config).await;
    for status in [200, 200, 429] {
        assert_eq!(proxy.get("/").await.status, status);
    }
}
