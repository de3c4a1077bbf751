//! Who may use a route, over real sockets.

mod cors;
mod forward_auth;
mod issuer;
mod jwks;
mod jwt;
mod query;
mod renewal;
mod spelling;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_sse::proxy::Config;

use crate::harness::{Answer, Proxy, fetch, request};
use crate::upstream::Upstream;

/// A proxy whose one route has these lines, in the way of an operator's file.
async fn proxy(upstream: &str, route: &str) -> Proxy {
    Proxy::start(config(upstream, route)).await
}

fn config(upstream: &str, route: &str) -> Config {
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]
admin: {{ address: \"127.0.0.1:0\" }}
drain: {{ deadline: 20s, spread: 0s }}
routes:
  - path: /
    upstream: {upstream}
{route}"
    );
    match Config::parse("proxy.yaml", &text, &|_| None) {
        Ok(config) => config,
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// An upstream that says `ok`.
async fn agreeable() -> Upstream {
    Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await
}

/// An upstream of streams that begin with an event and do not end.
async fn streaming() -> Upstream {
    Upstream::start(|mut connection| async move {
        while connection.request().await.is_some() {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
            connection.send(format!("{head}data: first\n\n")).await;
        }
    })
    .await
}

fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = request(method, path, "");
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

async fn get(proxy: &Proxy, path: &str, headers: &[(&str, &str)]) -> Answer {
    fetch(proxy.addr, ask("GET", path, headers)).await
}

/// A counter of the route, with these labels after it.
async fn counted(proxy: &Proxy, sample: &str) -> u64 {
    let metrics = proxy.ask_admin("/metrics").await;
    let mut lines = metrics.text().lines();
    let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no {sample}:\n{}", metrics.text()));
    value.parse().unwrap()
}

async fn refused(proxy: &Proxy, reason: &str) -> u64 {
    let sample = format!("sse_access_refused_total{{route=\"/\",reason=\"{reason}\"}}");
    counted(proxy, &sample).await
}
