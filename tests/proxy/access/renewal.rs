//! A stream is somebody's, not some token's: it ends with the token, and goes on
//! with the next one.

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::issuer::{Issuer, alice, bearer, from_now};
use super::{ask, counted, proxy, streaming};
use crate::harness::{LONG, Proxy, eventually, open};
use crate::upstream::{Connection, Upstream, header};

fn events(headers: &[(&str, &str)]) -> Request<Full<bytes::Bytes>> {
    ask("GET", "/events", headers)
}

/// Reads until there is an id, which it returns.
async fn id(response: &mut Response<Incoming>) -> String {
    let mut seen = String::new();
    loop {
        let frame = timeout(LONG, response.frame()).await.unwrap();
        let data = frame.unwrap().unwrap().into_data().unwrap();
        seen.push_str(std::str::from_utf8(&data).unwrap());
        let id = seen.lines().find_map(|line| line.strip_prefix("id: "));
        if let (Some(id), true) = (id, seen.ends_with("\n\n")) {
            return id.to_owned();
        }
    }
}

/// Waits for the body's end, and whether it was a clean one. Heartbeats go on as
/// long as there is none.
async fn ends_cleanly(mut response: Response<Incoming>) -> bool {
    let end = async {
        loop {
            match response.frame().await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(_)) => {}
            }
        }
    };
    timeout(2 * LONG, end).await.unwrap()
}

/// A stream, and the token it was opened with, which is soon over.
async fn opened_with_little_time(
    proxy: &Proxy,
    issuer: &Issuer,
    method: &str,
    last: &str,
) -> Response<Incoming> {
    // However slow the machine, one of these is good for as long as it takes.
    for seconds in [2, 4, 8, 16] {
        let mut claims = alice();
        claims["exp"] = json!(from_now(seconds));
        let token = bearer(&issuer.sign(&claims));
        let mut headers = vec![("authorization", &*token)];
        headers.extend((!last.is_empty()).then_some(("last-event-id", last)));
        let request = ask(method, "/events", &headers);
        let response = open(proxy.addr, request).await;
        if response.status() == 200 {
            return response;
        }
    }
    panic!("no token was good for long enough");
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_goes_on_with_the_next() {
    let upstream = streaming().await;
    let issuer = Issuer::hs256();
    let route = format!("    jwt: {{ keys: [{}], leeway: 0s }}\n", issuer.yaml());
    let proxy = proxy(&upstream.url(), &route).await;

    let mut first = opened_with_little_time(&proxy, &issuer, "GET", "").await;
    let last = id(&mut first).await;
    assert!(ends_cleanly(first).await, "or clients take it for an error");
    let expired = "sse_access_expired_total{route=\"/\"}";
    assert_eq!(counted(&proxy, expired).await, 1);

    // Another token, of the same person.
    let mut claims = alice();
    claims["jti"] = json!("another");
    let fresh = bearer(&issuer.sign(&claims));
    let back = [("authorization", fresh.as_str()), ("last-event-id", &last)];
    let response = open(proxy.addr, events(&back)).await;
    assert_eq!(response.headers()["sse-resume"], "exact");
    assert_eq!(upstream.connections(), 1, "it is the same stream");

    // And of another person.
    claims["sub"] = json!("mallory");
    let other = bearer(&issuer.sign(&claims));
    let theirs = [("authorization", other.as_str()), ("last-event-id", &last)];
    let response = open(proxy.addr, events(&theirs)).await;
    assert_eq!(response.headers()["sse-resume"], "gap");
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn the_answer_to_one_request_is_not_cut() {
    let upstream = streaming().await;
    let issuer = Issuer::hs256();
    let route = format!("    jwt: {{ keys: [{}], leeway: 0s }}\n", issuer.yaml());
    let proxy = proxy(&upstream.url(), &route).await;
    let mut answer = opened_with_little_time(&proxy, &issuer, "POST", "").await;
    let last = id(&mut answer).await;
    // Nor if another request asks for the rest of it.
    let mut rest = opened_with_little_time(&proxy, &issuer, "GET", &last).await;
    assert_eq!(rest.headers()["sse-resume"], "exact");
    // When two streams have ended, one after the other, its own token is long over.
    for _ in 0..2 {
        let stream = opened_with_little_time(&proxy, &issuer, "GET", "").await;
        assert!(ends_cleanly(stream).await);
    }
    let expired = "sse_access_expired_total{route=\"/\"}";
    assert_eq!(counted(&proxy, expired).await, 2);
    for answer in [&mut answer, &mut rest] {
        let more = futures_util::FutureExt::now_or_never(answer.frame());
        assert!(!matches!(more, Some(None | Some(Err(_)))), "{more:?}");
    }
}

#[tokio::test]
async fn a_tunnel_ends_with_its_token() {
    let upstream = Upstream::start(|mut connection: Connection| async move {
        if connection.head().await.is_some() {
            let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                Upgrade: websocket\r\n\r\n";
            connection.send(switched).await;
            while connection.exactly(1).await.is_some() {}
        }
    })
    .await;
    let issuer = Issuer::hs256();
    let route = format!("    jwt: {{ keys: [{}], leeway: 0s }}\n", issuer.yaml());
    let proxy = proxy(&upstream.url(), &route).await;
    let mut tunnels = 0;
    for seconds in [2, 4, 8, 16] {
        let mut claims = alice();
        claims["exp"] = json!(from_now(seconds));
        let token = bearer(&issuer.sign(&claims));
        let mut client = TcpStream::connect(proxy.addr).await.unwrap();
        let ask = format!(
            "GET /events HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
        client.write_all(ask.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        timeout(LONG, client.read_exact(&mut head))
            .await
            .unwrap()
            .unwrap();
        // On a slow machine the first ones may come too late.
        if &head == b"HTTP/1.1 101" {
            let mut rest = Vec::new();
            let end = timeout(2 * LONG, client.read_to_end(&mut rest)).await;
            assert!(end.is_ok(), "it goes on");
            tunnels += 1;
            break;
        }
    }
    assert_eq!(tunnels, 1, "no token was good for long enough");
}

#[tokio::test]
async fn a_principal_that_is_written_stays() {
    let upstream = streaming().await;
    let issuer = Issuer::hs256();
    let route = format!(
        "    jwt: {{ keys: [{}] }}\n    sse: {{ principal: [\"claim:team\"] }}\n",
        issuer.yaml()
    );
    let proxy = proxy(&upstream.url(), &route).await;
    let of = |sub: &str, team: &str| {
        let mut claims = alice();
        (claims["sub"], claims["team"]) = (json!(sub), json!(team));
        bearer(&issuer.sign(&claims))
    };
    let alice = of("alice", "a");
    let mut first = open(proxy.addr, events(&[("authorization", &alice)])).await;
    let last = id(&mut first).await;
    for (sub, team, resumed) in [("bob", "a", "exact"), ("alice", "b", "gap")] {
        let token = of(sub, team);
        let back = [("authorization", token.as_str()), ("last-event-id", &last)];
        let response = open(proxy.addr, events(&back)).await;
        assert_eq!(response.headers()["sse-resume"], resumed, "{sub} of {team}");
    }
}

#[tokio::test]
async fn the_upstream_is_asked_again_with_the_token_that_is_good() {
    // An upstream that checks credentials itself: up to which they are over, it is
    // told, and then it hangs up.
    let (over, told) = watch::channel(0);
    let upstream = Upstream::start(move |mut connection: Connection| {
        let mut told = told.clone();
        async move {
            let Some((head, _)) = connection.request().await else {
                return;
            };
            let generation: u32 = header(&head, "x-generation").unwrap().parse().unwrap();
            if generation <= *told.borrow_and_update() {
                connection
                    .send("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
                    .await;
                return;
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            connection.send(format!("{head}data: x\n\n")).await;
            let _ = told.changed().await;
        }
    })
    .await;
    let issuer = Issuer::hs256();
    let route = format!(
        "    jwt: {{ keys: [{}] }}\n    sse: {{ reconnect: {{ initial: 10ms }} }}\n",
        issuer.yaml()
    );
    let proxy = proxy(&upstream.url(), &route).await;
    let token = bearer(&issuer.sign(&alice()));
    let come = async |generation: &str, last: &str| {
        let mut headers = vec![("authorization", &*token), ("x-generation", generation)];
        if !last.is_empty() {
            headers.push(("last-event-id", last));
        }
        open(proxy.addr, events(&headers)).await
    };

    let mut first = come("1", "").await;
    let last = id(&mut first).await;
    let second = come("2", &last).await;
    assert_eq!(second.headers()["sse-resume"], "exact");
    over.send(1).unwrap();
    eventually("another upstream connection", async || {
        upstream.heads().len() >= 2
    })
    .await;
    assert_eq!(header(&upstream.heads()[1], "x-generation"), Some("2"));

    // A stream that was refused with the old ones does not stay so.
    drop((first, second));
    let mut late = come("3", "").await;
    let last = id(&mut late).await;
    over.send(3).unwrap();
    ends_cleanly(late).await;
    let back = come("4", &last).await;
    assert_eq!(back.status(), 200);
}
