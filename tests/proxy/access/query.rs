//! `EventSource` sets no headers: its token is in the address, and nobody else is
//! to find it there.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::issuer::{Issuer, alice, file};
use super::{agreeable, ask, get, proxy, streaming};
use crate::harness::{LONG, fetch, open};

fn route(issuer: &Issuer, more: &str) -> String {
    let keys = issuer.yaml();
    format!("    jwt: {{ keys: [{keys}], query: access_token }}\n{more}")
}

#[tokio::test]
async fn the_upstream_does_not_see_it_and_nothing_is_kept() {
    let upstream = agreeable().await;
    let issuer = Issuer::hs256();
    let proxy = proxy(&upstream.url(), &route(&issuer, "")).await;
    let token = issuer.sign(&alice());
    let answer = get(&proxy, &format!("/e?a=%20&access_token={token}&b"), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok"));
    assert_eq!(answer.headers["cache-control"], "no-store");
    let head = &upstream.heads()[0];
    assert!(head.starts_with("GET /e?a=%20&b HTTP/1.1\r\n"), "{head}");
    assert!(!head.contains(&token));

    // Two of them are none, and others have no leave to come by it.
    let twice = format!("/e?access_token={token}&access_token={token}");
    assert_eq!(get(&proxy, &twice, &[]).await.status, 401);
    let other = format!("/e?token={token}");
    assert_eq!(get(&proxy, &other, &[]).await.status, 401);
}

#[tokio::test]
async fn all_tokens_share_a_stream() {
    let upstream = streaming().await;
    let issuer = Issuer::hs256();
    let shared = "    sse: { mode: shared, principal: [] }\n";
    let proxy = proxy(&upstream.url(), &route(&issuer, shared)).await;
    let mut readers = Vec::new();
    for sub in ["alice", "bob"] {
        let mut claims = alice();
        claims["sub"] = sub.into();
        let path = format!("/e?access_token={}", issuer.sign(&claims));
        let mut response = open(proxy.addr, ask("GET", &path, &[])).await;
        assert_eq!(response.status(), 200);
        assert_eq!(
            response.headers()["cache-control"],
            "no-store, no-cache, no-transform"
        );
        let frame = timeout(LONG, response.frame()).await.unwrap();
        assert!(frame.unwrap().is_ok());
        readers.push(response);
    }
    assert_eq!(upstream.connections(), 1);
    let answer = fetch(proxy.addr, ask("GET", "/e", &[])).await;
    assert_eq!(answer.status, 401, "who has none does not join either");
}

/// The whole binary, with every word it can say.
#[tokio::test]
async fn no_log_has_it() {
    let upstream = agreeable().await;
    let issuer = Issuer::hs256();
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nroutes:\n  - path: /\n    upstream: {}\n{}",
        upstream.url(),
        route(&issuer, "")
    );
    let mut process = Command::new(env!("CARGO_BIN_EXE_sse-proxy"))
        .arg("--config")
        .arg(file(&text))
        .env("RUST_LOG", "trace")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (said, mut lines) = (Arc::new(Mutex::new(String::new())), Vec::new());
    let stderr: Box<dyn tokio::io::AsyncRead + Send + Unpin> =
        Box::new(process.stderr.take().unwrap());
    let note = Arc::clone(&said);
    lines.push(tokio::spawn(async move {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            note.lock().unwrap().push_str(&(line + "\n"));
        }
    }));
    let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines();
    let announced = timeout(LONG, stdout.next_line()).await.unwrap().unwrap();
    let announced = announced.expect("an announcement");
    let addr = announced.strip_prefix("listening http://").unwrap();
    let addr = addr.trim_end_matches('/').parse().unwrap();

    let good = issuer.sign(&alice());
    let mut claims = alice();
    claims["exp"] = 1.into();
    let expired = issuer.sign(&claims);
    for (token, status) in [(&good, 200), (&expired, 401)] {
        let path = format!("/e?access_token={token}");
        let answer = fetch(addr, ask("GET", &path, &[])).await;
        assert_eq!(answer.status, status);
    }
    // The refusal is in the log, with its reason, and so is all before it.
    let reason = "ExpiredSignature";
    timeout(LONG, async {
        while !said.lock().unwrap().contains(reason) {
            tokio::task::yield_now().await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("no {reason} in:\n{}", said.lock().unwrap()));
    let said = said.lock().unwrap();
    for token in [&good, &expired] {
        assert!(!said.contains(token.as_str()), "{said}");
        let signature = token.rsplit('.').next().unwrap();
        assert!(!said.contains(signature), "{said}");
    }
}
