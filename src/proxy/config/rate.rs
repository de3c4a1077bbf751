//! A route's `rate_limit` and `upgrade`.

use std::time::Duration;

use super::error::ConfigError;
use super::model::{Per, RateLimit};
use super::section::Section;
use super::tree::{Node, Value};
use super::units::format_duration;

type Result<T> = std::result::Result<T, ConfigError>;

/// The words of `per`.
pub(super) const PER: [(&str, Per); 2] = [("address", Per::Address), ("principal", Per::Principal)];

const WINDOW: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Time until a client has its whole burst again.
const MOST_WHOLE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Requests, and bursts of them, that can be told apart in time.
const MOST: usize = 1_000_000;

/// One limit, or a list of them.
pub(super) fn read(node: &Node) -> Result<Vec<RateLimit>> {
    match &node.value {
        Value::List(items) => items.iter().map(read_one).collect(),
        _ => Ok(vec![read_one(node)?]),
    }
}

fn read_one(node: &Node) -> Result<RateLimit> {
    let section = Section::open(node, &["per", "requests", "window", "burst"])?;
    let Some(requests) = section.read("requests", count)? else {
        return Err(node.error("has no `requests`; write how many a window may have, such as 10"));
    };
    let limit = RateLimit {
        per: section
            .read("per", |node| node.word(&PER))?
            .unwrap_or(Per::Address),
        requests,
        window: section.read("window", window)?.unwrap_or(WINDOW),
        burst: section.read("burst", count)?.unwrap_or(requests),
    };
    let whole = (limit.window / limit.requests).saturating_mul(limit.burst);
    if whole > MOST_WHOLE {
        let at = section.get("burst").unwrap_or(node);
        return Err(at.error(format!(
            "{} is too many: a client would have them again after {}; write a number that takes \
             30d or less",
            at.shown(),
            format_duration(whole)
        )));
    }
    Ok(limit)
}

fn count(node: &Node) -> Result<u32> {
    let count = node.count()?;
    match u32::try_from(count) {
        Ok(few) if count <= MOST => Ok(few),
        _ => Err(node.error(format!(
            "{} is too many to count; write at most {MOST}",
            node.shown()
        ))),
    }
}

fn window(node: &Node) -> Result<Duration> {
    let window = node.duration_from(Duration::from_millis(1), "nothing fits into it")?;
    if window <= LONGEST {
        return Ok(window);
    }
    Err(node.error(format!(
        "{} is too long: counts live in memory and are lost with it; write 1d or less",
        node.shown()
    )))
}

/// What may be upgraded to where nothing is said.
pub(super) fn default_upgrades() -> Vec<String> {
    vec!["websocket".to_owned()]
}

/// Protocols by name, as in the header `Upgrade`; `~` means none.
pub(super) fn upgrades(route: &Section<'_>) -> Result<Vec<String>> {
    match route.get("upgrade") {
        Some(node) => node.items()?.iter().map(protocol).collect(),
        None => Ok(default_upgrades()),
    }
}

fn protocol(node: &Node) -> Result<String> {
    let name = node.text()?.to_ascii_lowercase();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+/".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(node.error(format!(
            "{} is not a protocol; write its name as in the header Upgrade, such as websocket",
            node.shown()
        )));
    }
    if name == "h2c" || name.starts_with("http/") {
        return Err(node.error(format!(
            "{} would hide requests from routes and limits; HTTP/2 needs no upgrade: clients \
             that know of it begin with it",
            node.shown()
        )));
    }
    Ok(name)
}
