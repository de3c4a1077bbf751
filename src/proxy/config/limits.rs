//! `limits`: bounds for the whole process.

use std::time::Duration;

use super::error::ConfigError;
use super::model::Limits;
use super::section::Section;
use super::tree::Node;

type Result<T> = std::result::Result<T, ConfigError>;

const KEYS: [&str; 14] = [
    "buffered_bytes",
    "connections",
    "connections_per_address",
    "streams_per_address",
    "streams_per_principal",
    "header_timeout",
    "header_bytes",
    "headers",
    "request_body",
    "body_timeout",
    "write_timeout",
    "idle_timeout",
    "tunnel_idle",
    "max_connection_age",
];

/// Every timeout's lower bound, and that of an age.
const MOMENT: Duration = Duration::from_millis(100);

pub(super) fn read(node: &Node) -> Result<Limits> {
    let section = Section::open(node, &KEYS)?;
    let count = |key| section.read_or_off(key, Node::count);
    let default = Limits::default();
    let limits = Limits {
        buffered_bytes: section
            .read("buffered_bytes", |node| node.size_from(1 << 20))?
            .unwrap_or(default.buffered_bytes),
        connections: section
            .read("connections", Node::count)?
            .unwrap_or(default.connections),
        header_timeout: section
            .read("header_timeout", some_time)?
            .unwrap_or(default.header_timeout),
        write_timeout: section
            .read("write_timeout", some_time)?
            .unwrap_or(default.write_timeout),
        connections_per_address: count("connections_per_address")?,
        streams_per_address: count("streams_per_address")?,
        streams_per_principal: count("streams_per_principal")?,
        header_bytes: section
            .read("header_bytes", header_bytes)?
            .unwrap_or(default.header_bytes),
        headers: section.read("headers", headers)?.unwrap_or(default.headers),
        request_body: section.read_or_off("request_body", |node| node.size_from(1))?,
        body_timeout: section.read_or_off("body_timeout", some_time)?,
        idle_timeout: section.read_or_off("idle_timeout", some_time)?,
        tunnel_idle: match section.get("tunnel_idle") {
            Some(node) => node.optional(some_time)?,
            None => default.tunnel_idle,
        },
        max_connection_age: section.read_or_off("max_connection_age", age)?,
    };
    Ok(limits)
}

fn some_time(node: &Node) -> Result<Duration> {
    node.duration_from(MOMENT, "no client could be that quick")
}

fn age(node: &Node) -> Result<Duration> {
    node.duration_from(
        Duration::from_secs(1),
        "clients would do nothing but connect",
    )
}

fn header_bytes(node: &Node) -> Result<usize> {
    let most = 1 << 20;
    let size = node.size_from(1 << 10)?;
    if size <= most {
        return Ok(size);
    }
    Err(node.error(format!(
        "{} is too large: each connection could make the proxy hold as much; write 1MiB or less",
        node.shown()
    )))
}

fn headers(node: &Node) -> Result<usize> {
    let count = node.count()?;
    if (8..=10_000).contains(&count) {
        return Ok(count);
    }
    Err(node.error(format!(
        "{} headers are too few for browsers, or too many for anybody; write 8 to 10000",
        node.shown()
    )))
}
