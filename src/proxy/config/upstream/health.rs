//! `health_check` and `passive`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::model::{HealthCheck, Passive};
use super::super::section::Section;
use super::super::tree::Node;
use super::Result;

const CHECK_KEYS: [&str; 6] = [
    "path",
    "interval",
    "timeout",
    "expect",
    "healthy",
    "unhealthy",
];

pub(super) fn health_check(node: &Node) -> Result<HealthCheck> {
    let section = Section::open(node, &CHECK_KEYS)?;
    let Some(path) = section.read("path", check_path)? else {
        return Err(node.error("has no `path`; write one, such as /healthz"));
    };
    let interval = section.read("interval", |node| {
        node.duration_from(
            Duration::from_millis(100),
            "the checks would be a load of their own",
        )
    })?;
    let default = HealthCheck::new(path, interval.unwrap_or(HealthCheck::DEFAULT_INTERVAL));
    Ok(HealthCheck {
        timeout: section
            .read("timeout", super::timeout)?
            .unwrap_or(default.timeout),
        expect: section.read("expect", statuses)?.unwrap_or(default.expect),
        healthy: section.read("healthy", count)?.unwrap_or(default.healthy),
        unhealthy: section
            .read("unhealthy", count)?
            .unwrap_or(default.unhealthy),
        ..default
    })
}

pub(super) fn passive(node: &Node) -> Result<Passive> {
    let section = Section::open(node, &["failures", "eject"])?;
    let default = Passive::default();
    let eject = section.read("eject", |node| {
        node.duration_from(
            Duration::from_millis(100),
            "a server would be back before it is missed",
        )
    })?;
    Ok(Passive {
        failures: section.read("failures", count)?.unwrap_or(default.failures),
        eject: eject.unwrap_or(default.eject),
    })
}

fn count(node: &Node) -> Result<u32> {
    let count = node.count()?;
    u32::try_from(count)
        .map_err(|_| node.error(format!("{} is too many; write fewer", node.shown())))
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

/// One status, or the first and the last of a range.
fn statuses(node: &Node) -> Result<RangeInclusive<u16>> {
    let text = node.text()?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(node.error(format!(
            "{} is neither a status nor a range of them; write 200, or 200-299",
            node.shown()
        ))),
    }
}

fn status(text: &str) -> Option<u16> {
    let status = text.trim().parse().ok()?;
    (200..=599).contains(&status).then_some(status)
}
