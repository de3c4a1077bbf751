//! The upstreams' servers: how they are, and to be spared by hand.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::ORIGIN;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::super::balance::{Balance, Server};
use super::super::rescue::text;

type Answer = Response<Full<Bytes>>;
type Upstreams = [(String, Arc<Balance>)];

/// The answer, if it is about servers: `GET /servers`, or `POST /drain` and
/// `POST /undrain` with `upstream` and `server` in the query.
pub(super) fn answer<B>(upstreams: &Upstreams, request: &Request<B>) -> Option<Answer> {
    let post = request.method() == Method::POST;
    match (request.uri().path(), post) {
        ("/servers", false) => Some(list(upstreams)),
        ("/drain", true) => Some(change(upstreams, request, true)),
        ("/undrain", true) => Some(change(upstreams, request, false)),
        _ => None,
    }
}

/// One line per server: its upstream, where it is, how it is, and how many
/// requests and responses it has open.
fn list(upstreams: &Upstreams) -> Answer {
    let now = Instant::now();
    let mut lines = String::new();
    for (name, balance) in upstreams {
        for server in balance.servers() {
            let (authority, open) = (server.authority(), server.open());
            let _ = writeln!(lines, "{name} {authority} {} {open}", state(server, now));
        }
    }
    said(StatusCode::OK, lines)
}

fn state(server: &Server, now: Instant) -> &'static str {
    if server.is_drained() {
        "drained"
    } else if !server.is_healthy() {
        "down"
    } else if server.is_up(now) {
        "up"
    } else {
        "ejected"
    }
}

fn change<B>(upstreams: &Upstreams, request: &Request<B>, drained: bool) -> Answer {
    // Only browsers send it, and no page has any business here.
    if request.headers().contains_key(ORIGIN) {
        return text(StatusCode::FORBIDDEN, "web pages may not do that\n");
    }
    let query = request.uri().query().unwrap_or_default();
    let value = |key: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find_map(|(name, value)| (name == key).then_some(value))
    };
    let (Some(upstream), Some(server)) = (value("upstream"), value("server")) else {
        return text(
            StatusCode::BAD_REQUEST,
            "name both: ?upstream=NAME&server=HOST:PORT\n",
        );
    };
    let Some((balance, server)) = find(upstreams, &upstream, &server) else {
        return text(
            StatusCode::NOT_FOUND,
            "no such server; GET /servers lists them\n",
        );
    };
    if balance.set_drained(server, drained, Instant::now()) {
        let server = server.authority();
        tracing::info!(%upstream, %server, drained, "an operator drains a server, or has it back");
    }
    list(upstreams)
}

fn find<'u>(
    upstreams: &'u Upstreams,
    upstream: &str,
    server: &str,
) -> Option<(&'u Balance, &'u Server)> {
    let (_, balance) = upstreams.iter().find(|(name, _)| name == upstream)?;
    let mut servers = balance.servers().iter();
    let server = servers.find(|known| known.authority().as_str() == server)?;
    Some((balance, server))
}

fn said(status: StatusCode, lines: String) -> Answer {
    let mut response = text(status, "");
    *response.body_mut() = Full::from(lines);
    response
}
