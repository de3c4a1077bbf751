//! Protected routes have no back door: what the upstream may take for one of
//! their paths comes in by them, or not at all.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::issuer::{Issuer, alice, bearer};
use super::{agreeable, ask, config};
use crate::harness::{LONG, Proxy, fetch};
use crate::upstream::Upstream;

/// `/jwt` is protected, if it is, and `/` is not.
async fn proxy(upstream: &Upstream, jwt: &str) -> Proxy {
    let url = upstream.url();
    let route = format!("  - path: /jwt\n    methods: [GET]\n    upstream: {url}\n{jwt}");
    let mut config = config(&url, &route);
    config.routes.reverse();
    Proxy::start(config).await
}

/// The status of a path that no client library would send as it is.
async fn status(proxy: &Proxy, path: &str) -> String {
    let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(LONG, stream.read_to_string(&mut answer));
    read.await.unwrap().unwrap();
    answer[9..12].to_owned()
}

const SPELLINGS: [&str; 12] = [
    "/%6awt",
    "/%6Awt/x",
    "//jwt",
    "/x/../jwt",
    "/x/%2e%2e/jwt",
    "/x/%2e%2e%2fjwt",
    "/x/%2e%2e/../../jwt",
    "/./jwt",
    "/%2fjwt",
    "/x/..\\jwt",
    "/jwt;a=b",
    "/jwt/../x",
];

#[tokio::test]
async fn another_spelling_is_no_way_around() {
    let upstream = agreeable().await;
    let issuer = Issuer::hs256();
    let jwt = format!("    jwt: {{ keys: [{}] }}\n", issuer.yaml());
    let proxy = proxy(&upstream, &jwt).await;
    assert_eq!(status(&proxy, "/jwt").await, "401");
    for path in SPELLINGS {
        assert_eq!(status(&proxy, path).await, "400", "{path}");
    }
    assert!(upstream.heads().is_empty());
    // What is the same to all comes in as it came.
    for path in [
        "/",
        "/x%2fy",
        "/x//y",
        "/a/../b",
        "/x?to=//jwt/../%6a",
        "/xjwt;a",
    ] {
        assert_eq!(status(&proxy, path).await, "200", "{path}");
        let head = upstream.heads().pop().unwrap();
        assert!(head.starts_with(&format!("GET {path} ")), "{head}");
    }
    let token = bearer(&issuer.sign(&alice()));
    let known = ask("GET", "/jwt/a%20b", &[("authorization", &token)]);
    assert_eq!(fetch(proxy.addr, known).await.status, 200);
}

#[tokio::test]
async fn head_is_no_way_around_get() {
    let upstream = agreeable().await;
    let jwt = format!("    jwt: {{ keys: [{}] }}\n", Issuer::hs256().yaml());
    let proxy = proxy(&upstream, &jwt).await;
    for (method, status) in [("GET", 401), ("HEAD", 401), ("POST", 200)] {
        let answer = fetch(proxy.addr, ask(method, "/jwt", &[])).await;
        assert_eq!(answer.status, status, "{method}");
    }
}

#[tokio::test]
async fn where_nothing_is_protected_every_spelling_passes() {
    let upstream = agreeable().await;
    let proxy = proxy(&upstream, "").await;
    for path in SPELLINGS {
        assert_eq!(status(&proxy, path).await, "200", "{path}");
    }
}
