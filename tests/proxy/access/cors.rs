//! Pages of other origins.

use tower_sse::proxy::config::model::Config;

use super::issuer::Issuer;
use super::{agreeable, ask, config, get, proxy, refused, streaming};
use crate::harness::{self, Answer, Proxy, fetch, open};
use crate::upstream::Upstream;

const APP: &str = "https://app.example";
const LISTED: &str = "    cors: { origins: [\"https://app.example\", \"https://*.pages.example\"], \
                      credentials: true }\n";

/// A header's values, joined; empty if there is none.
fn said(answer: &Answer, name: &str) -> String {
    let values = answer.headers.get_all(name).iter();
    let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
    values.join("; ").to_ascii_lowercase()
}

async fn preflight(proxy: &Proxy, origin: &str, method: &str, headers: &str) -> Answer {
    let request = ask(
        "OPTIONS",
        "/events",
        &[
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", headers),
        ],
    );
    fetch(proxy.addr, request).await
}

#[tokio::test]
async fn preflights_are_answered_without_asking_anybody() {
    let upstream = agreeable().await;
    let keys = Issuer::hs256().yaml();
    let route = format!("    methods: [GET, POST]\n{LISTED}    jwt: {{ keys: [{keys}] }}\n");
    let proxy = proxy(&upstream.url(), &route).await;
    let answer = preflight(&proxy, APP, "GET", "last-event-id, authorization").await;
    assert_eq!(answer.status, 200);
    assert_eq!(said(&answer, "access-control-allow-origin"), APP);
    assert_eq!(said(&answer, "access-control-allow-credentials"), "true");
    assert_eq!(said(&answer, "access-control-allow-methods"), "get,post");
    assert_eq!(said(&answer, "access-control-max-age"), "600");
    assert_eq!(said(&answer, "vary"), "origin");
    let allowed = said(&answer, "access-control-allow-headers");
    for header in [
        "last-event-id",
        "authorization",
        "content-type",
        "cache-control",
        "idempotency-key",
        "mcp-session-id",
    ] {
        assert!(allowed.split(',').any(|name| name == header), "{allowed}");
    }
    let page = "https://a.pages.example";
    let answer = preflight(&proxy, page, "POST", "content-type").await;
    assert_eq!(said(&answer, "access-control-allow-origin"), page);
    let answer = preflight(&proxy, "https://evil.test", "GET", "").await;
    assert_eq!(said(&answer, "access-control-allow-origin"), "");
    assert_eq!(refused(&proxy, "origin").await, 1);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn one_policy_and_not_the_upstreams() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: *\r\n\
         Access-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-Theirs\r\n\
         Vary: Accept\r\n\r\nok",
    )
    .await;
    let proxy = proxy(&upstream.url(), LISTED).await;
    let answer = get(&proxy, "/", &[("origin", APP)]).await;
    assert_eq!(said(&answer, "access-control-allow-origin"), APP);
    assert_eq!(said(&answer, "access-control-allow-credentials"), "true");
    assert_eq!(said(&answer, "vary"), "accept; origin");
    let exposed = said(&answer, "access-control-expose-headers");
    assert!(exposed.split(',').any(|name| name == "sse-resume"));
    assert!(!exposed.contains("x-theirs"), "{exposed}");
    // Read by nobody, whatever the upstream says.
    let answer = get(&proxy, "/", &[("origin", "https://evil.test")]).await;
    assert_eq!(said(&answer, "access-control-allow-origin"), "");
    // Who is no page is not concerned, and the upstream's own OPTIONS is.
    assert_eq!(get(&proxy, "/", &[]).await.text(), "ok");
    let own = fetch(proxy.addr, ask("OPTIONS", "/", &[])).await;
    assert_eq!(own.text(), "ok");
}

#[tokio::test]
async fn without_cors_the_upstream_decides() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: *\r\n\r\nok",
    )
    .await;
    let proxy = proxy(&upstream.url(), "").await;
    let answer = get(&proxy, "/", &[("origin", APP)]).await;
    assert_eq!(said(&answer, "access-control-allow-origin"), "*");
    assert_eq!(preflight(&proxy, APP, "GET", "").await.text(), "ok");
}

#[tokio::test]
async fn what_the_proxy_says_itself_can_be_read_too() {
    let readable = async |config: Config, status: u16| {
        let proxy = Proxy::start(config).await;
        let answer = open(proxy.addr, ask("GET", "/", &[("origin", APP)])).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["access-control-allow-origin"], APP);
        let exposed = &answer.headers()["access-control-expose-headers"];
        let exposed = exposed.to_str().unwrap().to_ascii_lowercase();
        assert!(exposed.contains("sse-resume"), "{exposed}");
    };
    let down = harness::refused();
    readable(config(&down, LISTED), 502).await;
    let held = format!("{LISTED}    sse: {{ hold: 1m }}\n");
    readable(config(&down, &held), 200).await;
    let keys = Issuer::hs256().yaml();
    let closed = format!("{LISTED}    jwt: {{ keys: [{keys}] }}\n");
    readable(config(&down, &closed), 401).await;
    let undecided = format!("{LISTED}    forward_auth: {{ url: \"{down}\" }}\n");
    readable(config(&down, &undecided), 503).await;
    let upstream = streaming().await;
    readable(config(&upstream.url(), LISTED), 200).await;
}

#[tokio::test]
async fn any_origin_and_any_header() {
    let upstream = agreeable().await;
    let route = "    cors: { origins: any, headers: any, expose: [x-own], max_age: 1h }\n";
    let proxy = proxy(&upstream.url(), route).await;
    let answer = preflight(&proxy, "https://evil.test", "DELETE", "x-anything").await;
    assert_eq!(said(&answer, "access-control-allow-origin"), "*");
    assert_eq!(said(&answer, "access-control-allow-headers"), "x-anything");
    assert_eq!(said(&answer, "access-control-max-age"), "3600");
    assert_eq!(said(&answer, "access-control-allow-credentials"), "");
    let answer = get(&proxy, "/", &[("origin", APP)]).await;
    assert!(said(&answer, "access-control-expose-headers").contains("x-own"));
}
