//! `upstreams`: named groups of equal servers.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Uri;

use super::error::ConfigError;
use super::model::{Balance, HealthCheck, Upstream};
use super::section::Section;
use super::tree::{Entry, Node};

type Result<T> = std::result::Result<T, ConfigError>;

const KEYS: [&str; 5] = [
    "servers",
    "balance",
    "connect_timeout",
    "response_timeout",
    "health_check",
];

pub(super) const BALANCE: [(&str, Balance); 2] = [
    ("round_robin", Balance::RoundRobin),
    ("least_streams", Balance::LeastStreams),
];

/// The `upstreams` mapping.
pub(super) fn read_all(node: &Node) -> Result<BTreeMap<String, Upstream>> {
    node.entries()?.iter().map(read).collect()
}

fn read(entry: &Entry) -> Result<(String, Upstream)> {
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
    let upstream = Upstream {
        balance: section
            .read("balance", |node| node.word(&BALANCE))?
            .unwrap_or_default(),
        connect_timeout: section
            .read("connect_timeout", timeout)?
            .unwrap_or(default.connect_timeout),
        response_timeout,
        health_check: section.read_or_off("health_check", health_check)?,
        ..default
    };
    Ok((entry.name.clone(), upstream))
}

fn timeout(node: &Node) -> Result<Duration> {
    node.duration_from(Duration::from_millis(1), "nothing could be reached in it")
}

fn health_check(node: &Node) -> Result<HealthCheck> {
    let section = Section::open(node, &["path", "interval"])?;
    let Some(path) = section.read("path", check_path)? else {
        return Err(node.error("has no `path`; write one, such as /healthz"));
    };
    let interval = section.read("interval", |node| {
        node.duration_from(
            Duration::from_millis(100),
            "the checks would be a load of their own",
        )
    })?;
    Ok(HealthCheck {
        path,
        interval: interval.unwrap_or(HealthCheck::DEFAULT_INTERVAL),
    })
}

fn check_path(node: &Node) -> Result<String> {
    let path = node.text()?;
    match path.parse::<http::uri::PathAndQuery>() {
        Ok(_) if path.starts_with('/') && !path.contains('#') => Ok(path.to_owned()),
        _ => Err(node.error(format!(
            "{} is not a path; write one that begins with a slash, such as /healthz",
            node.shown()
        ))),
    }
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
