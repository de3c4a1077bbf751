//! A page in Chromium, of another origin than the events it reads, and with a
//! token: as `EventSource` and `fetch` can bring one.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::response::Html;
use axum::routing::get;
use axum::{Router, http::header};
use futures_util::stream::{self, StreamExt};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use tokio::net::TcpListener;

use crate::harness::{Process, Proxy, Scratch, browser};

const SECRET: &str = "a secret that is long enough to be one";

#[derive(serde::Deserialize)]
struct Asked {
    seconds: u64,
}

/// Serves the page, its tokens, and the events that the proxy is asked for; says
/// where.
async fn application() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let page = || async { Html(include_str!("scripts/access.html")) };
    let token = |Query(asked): Query<Asked>| async move {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let claims = json!({ "sub": "alice", "exp": now.as_secs() + asked.seconds });
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        encode(&Header::default(), &claims, &key).unwrap()
    };
    let events = || async {
        let first = stream::once(async { Ok::<_, Infallible>(Bytes::from("data: first\n\n")) });
        let body = Body::from_stream(first.chain(stream::pending()));
        ([(header::CONTENT_TYPE, "text/event-stream")], body)
    };
    let application = Router::new()
        .route("/", get(page))
        .route("/token", get(token))
        .route("/events", get(events));
    tokio::spawn(async move { axum::serve(listener, application).await });
    url
}

/// The page, which may read what is behind the proxy if it is of `origin`.
async fn page(scenario: &str, origin: Option<&str>) -> (Process, Scratch, Proxy) {
    let application = application().await;
    let origin = origin.unwrap_or(&application);
    let route = format!(
        "    cors: {{ origins: [\"{origin}\"], credentials: true }}
    jwt:
      keys: [{{ secret: \"{SECRET}\", algorithm: HS256 }}]
      cookie: session
      query: access_token
      leeway: 0s
"
    );
    let proxy = Proxy::with_route(&application, &route, "retry: 200ms..300ms").await;
    let events = proxy.url();
    let url = format!("{application}/?scenario={scenario}&events={events}/events");
    let (page, profile) = browser(&url);
    (page, profile, proxy)
}

#[tokio::test]
async fn event_source_brings_its_token_in_the_address() {
    let (mut page, _profile, _proxy) = page("query", None).await;
    page.message("first").await;
    assert_eq!(page.reports("error"), [] as [serde_json::Value; 0]);
    page.close().await;
}

#[tokio::test]
async fn event_source_goes_on_when_its_cookie_was_renewed() {
    let (mut page, _profile, _proxy) = page("cookie", None).await;
    page.message("first").await;
    let opened = page.reports("open").len();
    // The stream ends with the first token, and the browser comes back by itself.
    loop {
        if page.report("error").await["readyState"] == 0 {
            break;
        }
    }
    while page.reports("open").len() == opened {
        page.report("open").await;
    }
    let messages = page.reports("message");
    assert_eq!(messages.len(), 1, "it is the same stream: {messages:?}");
    page.close().await;
}

#[tokio::test]
async fn fetch_sends_its_headers_and_reads_ours() {
    let (mut page, _profile, _proxy) = page("fetch", None).await;
    let fetched = page.report("fetched").await;
    assert_eq!(
        (&fetched["status"], &fetched["resumed"]),
        (&json!(200), &json!("new"))
    );
    let refused = page.report("fetched").await;
    assert_eq!(refused["status"], 401);
    assert_eq!(refused["challenge"], "Bearer");
    page.close().await;
}

#[tokio::test]
async fn a_page_that_is_not_listed_reads_nothing() {
    let (mut page, _profile, _proxy) = page("query", Some("https://app.example")).await;
    assert_eq!(page.report("error").await["readyState"], 2);
    assert_eq!(page.reports("message"), [] as [serde_json::Value; 0]);
    page.close().await;
}
