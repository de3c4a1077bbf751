//! `upstreams`: named groups of equal servers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use http::Uri;

use super::error::ConfigError;
use super::model::{Balance, Protocol, Upstream};
use super::section::Section;
use super::tree::{Entry, Node};

mod health;
pub(super) mod model;
pub(super) mod print;
mod transport;

type Result<T> = std::result::Result<T, ConfigError>;

const KEYS: [&str; 13] = [
    "servers",
    "balance",
    "sticky",
    "connect_timeout",
    "response_timeout",
    "protocol",
    "tls",
    "pool",
    "resolve",
    "health_check",
    "passive",
    "slow_start",
    "move_streams",
];

const BALANCE: [(&str, Balance); 2] = [
    ("round_robin", Balance::RoundRobin),
    ("least_streams", Balance::LeastStreams),
];

const PROTOCOLS: [(&str, Protocol); 3] = [
    ("http1", Protocol::Http1),
    ("http2", Protocol::Http2),
    ("auto", Protocol::Auto),
];

/// The `upstreams` mapping.
pub(super) fn read_all(node: &Node, folder: &Path) -> Result<BTreeMap<String, Upstream>> {
    let entries = node.entries()?.iter();
    entries.map(|entry| read(entry, folder)).collect()
}

fn read(entry: &Entry, folder: &Path) -> Result<(String, Upstream)> {
    if entry.name.is_empty() || entry.name.contains("://") {
        return Err(entry.error("is not a name; write a word, and the URL under `servers`"));
    }
    let node = &entry.node;
    let section = Section::open(node, &KEYS)?;
    let Some(servers) = section.read("servers", servers)? else {
        return Err(node.error(
            "has no `servers`; list at least one URL, such as [\"http://127.0.0.1:3000\"]",
        ));
    };
    let default = Upstream::new(servers);
    let response_timeout = match section.get("response_timeout") {
        Some(node) => node.optional(timeout)?,
        None => default.response_timeout,
    };
    let move_streams = match section.get("move_streams") {
        Some(node) => node.optional(Node::duration)?,
        None => default.move_streams,
    };
    let tls = |node| transport::tls(node, &default.servers, folder);
    let upstream = Upstream {
        balance: section
            .read("balance", |node| node.word(&BALANCE))?
            .unwrap_or_default(),
        sticky: section.read_or_off("sticky", transport::sticky)?,
        connect_timeout: section
            .read("connect_timeout", timeout)?
            .unwrap_or(default.connect_timeout),
        response_timeout,
        protocol: section
            .read("protocol", |node| node.word(&PROTOCOLS))?
            .unwrap_or_default(),
        tls: section.read_or_off("tls", tls)?,
        pool: section
            .read_or_off("pool", transport::pool)?
            .unwrap_or_default(),
        resolve: section.read_or_off("resolve", resolve)?,
        health_check: section.read_or_off("health_check", health::health_check)?,
        passive: section.read_or_off("passive", health::passive)?,
        slow_start: section
            .read("slow_start", Node::duration)?
            .unwrap_or(default.slow_start),
        move_streams,
        servers: default.servers,
    };
    Ok((entry.name.clone(), upstream))
}

fn resolve(node: &Node) -> Result<Duration> {
    let why = "names would be looked up all the time (~ does so at each connect)";
    node.duration_from(Duration::from_secs(1), why)
}

fn timeout(node: &Node) -> Result<Duration> {
    node.duration_from(Duration::from_millis(1), "nothing could be reached in it")
}

fn servers(node: &Node) -> Result<Vec<Uri>> {
    let items = node.items()?;
    if items.is_empty() {
        return Err(
            node.error("is empty; list at least one URL, such as [\"http://127.0.0.1:3000\"]")
        );
    }
    let mut servers = Vec::with_capacity(items.len());
    for item in items {
        let server = server(item)?;
        if let Some(other) = servers.iter().position(|known| *known == server) {
            return Err(item.error(format!(
                "is the same as {}[{other}]; list each server once",
                node.key
            )));
        }
        servers.push(server);
    }
    Ok(servers)
}

/// A server's URL.
pub(super) fn server(node: &Node) -> Result<Uri> {
    parse_server(node.text()?).map_err(|why| node.error(why.about(&node.shown())))
}

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug)]
pub(super) enum BadUrl {
    NotAUrl,
    Scheme,
    Userinfo,
    More,
}

impl BadUrl {
    /// The message, about a URL as it may be shown.
    pub(super) fn about(self, shown: &str) -> String {
        match self {
            Self::NotAUrl => format!(
                "{shown} is not a URL; write scheme, host and port, such as http://127.0.0.1:3000"
            ),
            Self::Scheme => {
                format!("{shown} has a scheme that is not served; write http:// or https://")
            }
            // Not shown: it may hold a password.
            Self::Userinfo => "holds a user name or password, which a server's URL may not; \
                write scheme, host and port only"
                .into(),
            Self::More => format!(
                "{shown} has a path, query or fragment; write scheme, host and port only: \
                 requests keep the path they came with"
            ),
        }
    }
}

/// `http://` or `https://` with an authority, and nothing else.
pub(super) fn parse_server(text: &str) -> std::result::Result<Uri, BadUrl> {
    if text.contains('@') {
        return Err(BadUrl::Userinfo);
    }
    let uri: Uri = text.parse().map_err(|_| BadUrl::NotAUrl)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(BadUrl::NotAUrl);
    };
    if !matches!(scheme, "http" | "https") {
        return Err(BadUrl::Scheme);
    }
    // `http://host:99999` parses too, as an authority without a port.
    let names_port = authority.as_str().len() > authority.host().len();
    let bad_port = names_port && authority.port_u16().is_none_or(|port| port == 0);
    if authority.host().is_empty() || bad_port {
        return Err(BadUrl::NotAUrl);
    }
    // The parser drops a fragment silently.
    if uri.path_and_query().is_some_and(|rest| rest != "/") || text.contains('#') {
        return Err(BadUrl::More);
    }
    Ok(uri)
}

/// The name of an upstream that a route gives in place as a URL.
pub(super) fn name_of(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

/// The upstream of a route that gives a URL in place.
pub(super) fn of_server(server: Uri) -> Upstream {
    Upstream::new(vec![server])
}
