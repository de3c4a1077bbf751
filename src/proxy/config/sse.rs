//! The `sse` block of a route, which is also the shape of `defaults`.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;

use super::answer;
use super::error::ConfigError;
use super::section::Section;
use super::tree::Node;
use super::units;
use crate::resume::profile::Profile;
use crate::resume::settings::{BufferSettings, Coding, Credential, KeySettings, Mode, Settings};
use crate::stream::policy::{Ids, Join, Linger, OnGap, Reconnect, UpstreamResume};

type Result<T> = std::result::Result<T, ConfigError>;

const KEYS: [&str; 20] = [
    "profile",
    "mode",
    "key",
    "principal",
    "ids",
    "resume",
    "heartbeat",
    "retry",
    "buffer",
    "linger",
    "retain",
    "join",
    "reconnect",
    "hold",
    "on_gap",
    "gap_event",
    "max_event_bytes",
    "batch",
    "upstream_idle",
    "compress",
];

pub(super) const MODES: [(&str, Mode); 5] = [
    ("auto", Mode::Auto),
    ("shared", Mode::Shared),
    ("one_shot", Mode::OneShot),
    ("passthrough", Mode::Passthrough),
    ("mcp", Mode::Mcp),
];

/// In which event streams, and other answers, may be compressed.
pub(super) const CODINGS: [(&str, Coding); 1] = [("gzip", Coding::Gzip)];

pub(super) const IDS: [(&str, Ids); 3] = [
    ("auto", Ids::Auto),
    ("assign", Ids::Assign),
    ("preserve", Ids::Preserve),
];

pub(super) const RESUME: [(&str, UpstreamResume); 3] = [
    ("none", UpstreamResume::None),
    ("last_event_id", UpstreamResume::LastEventId),
    ("snapshot", UpstreamResume::Snapshot),
];

pub(super) const ON_GAP: [(&str, OnGap); 3] = [
    ("continue", OnGap::Continue),
    ("reset", OnGap::Reset),
    ("close", OnGap::Close),
];

/// Smallest event limit and buffer: below it, ordinary events would not fit.
const SMALLEST: usize = 1 << 10;

/// Bytes a stream retains if nothing is said, by kind.
const BUFFER_BYTES: usize = 4 << 20;
const ONE_SHOT_BUFFER_BYTES: usize = 16 << 20;

/// Reads `layers` over a profile's settings or the built-in defaults, the last
/// one winning key by key.
pub(super) fn read(layers: &[&Node]) -> Result<Settings> {
    let mut settings = match Written(layers).find("profile", None) {
        Some(node) => node
            .optional(|node| node.word(&Profile::ALL))?
            .map_or_else(Settings::default, Profile::settings),
        None => Settings::default(),
    };
    for layer in layers {
        apply(layer, &mut settings)?;
    }
    let written = Written(layers);
    fit_reconnect(&mut settings, &written)?;
    fit_event_size(&mut settings, &written)?;
    Ok(settings)
}

/// Where the layers say what makes up the principal, if one of them does.
pub(super) fn written_principal<'a>(layers: &'a [&'a Node]) -> Option<&'a Node> {
    Written(layers).find("principal", None)
}

/// Sets what a layer says and leaves the rest.
fn apply(node: &Node, settings: &mut Settings) -> Result<()> {
    let known: Vec<&str> = KEYS.iter().chain(&answer::KEYS).copied().collect();
    let section = Section::open(node, &known)?;
    answer::apply(&section, settings)?;
    set(&section, "mode", &mut settings.mode, |n| n.word(&MODES))?;
    section.read("key", |node| apply_key(node, &mut settings.key))?;
    set(&section, "principal", &mut settings.principal, credentials)?;
    set(&section, "ids", &mut settings.ids, |n| n.word(&IDS))?;
    set(&section, "resume", &mut settings.resume, |n| {
        n.word(&RESUME)
    })?;
    set(&section, "heartbeat", &mut settings.heartbeat, heartbeat)?;
    set(&section, "retry", &mut settings.retry, |n| {
        n.optional(retry)
    })?;
    section.read("buffer", |node| apply_buffer(node, &mut settings.buffer))?;
    set(&section, "linger", &mut settings.linger, linger)?;
    set(&section, "retain", &mut settings.retain, Node::duration)?;
    set(&section, "join", &mut settings.join, join)?;
    section.read("reconnect", |node| {
        apply_reconnect(node, &mut settings.reconnect)
    })?;
    set(&section, "hold", &mut settings.hold, Node::duration)?;
    set(&section, "on_gap", &mut settings.on_gap, |n| {
        n.word(&ON_GAP)
    })?;
    set(&section, "gap_event", &mut settings.gap_event, |n| {
        n.optional(event_type)
    })?;
    set(
        &section,
        "max_event_bytes",
        &mut settings.max_event_bytes,
        |n| n.size_from(SMALLEST),
    )?;
    set(&section, "batch", &mut settings.batch, batch)?;
    set(
        &section,
        "upstream_idle",
        &mut settings.upstream_idle,
        |n| n.optional(upstream_idle),
    )?;
    set(&section, "compress", &mut settings.compress, |n| {
        n.optional(|n| n.word(&CODINGS))
    })
}

pub(super) fn set<T>(
    section: &Section<'_>,
    name: &str,
    target: &mut T,
    read: impl FnOnce(&Node) -> Result<T>,
) -> Result<()> {
    if let Some(value) = section.read(name, read)? {
        *target = value;
    }
    Ok(())
}

// === nested mappings: merged field by field ===

fn apply_key(node: &Node, key: &mut KeySettings) -> Result<()> {
    let own = ["headers", "ignore_query"];
    let known: Vec<&str> = own.iter().chain(&answer::NAME_KEYS).copied().collect();
    let section = Section::open(node, &known)?;
    set(&section, "headers", &mut key.headers, |node| {
        node.items()?.iter().map(key_header).collect()
    })?;
    set(&section, "ignore_query", &mut key.ignore_query, |node| {
        node.items()?
            .iter()
            .map(|item| item.text().map(str::to_owned))
            .collect()
    })?;
    answer::apply_name(&section, key)
}

fn apply_buffer(node: &Node, buffer: &mut BufferSettings) -> Result<()> {
    let section = Section::open(node, &["events", "bytes", "age"])?;
    set(&section, "events", &mut buffer.events, |n| {
        n.optional(Node::count)
    })?;
    set(&section, "bytes", &mut buffer.bytes, |n| {
        n.optional(|n| n.size_from(SMALLEST))
    })?;
    set(&section, "age", &mut buffer.age, |n| {
        n.optional(|n| above_zero(n, "nothing would be retained"))
    })
}

fn apply_reconnect(node: &Node, reconnect: &mut Reconnect) -> Result<()> {
    let section = Section::open(node, &["initial", "max", "give_up_after"])?;
    let delay = |n: &Node| above_zero(n, "a dead upstream would be tried without pause");
    set(&section, "initial", &mut reconnect.initial, delay)?;
    set(&section, "max", &mut reconnect.max, delay)?;
    set(
        &section,
        "give_up_after",
        &mut reconnect.give_up_after,
        Node::duration,
    )
}

// === single values ===

pub(super) fn above_zero(node: &Node, why: &str) -> Result<Duration> {
    node.duration_from(Duration::from_millis(1), why)
}

fn heartbeat(node: &Node) -> Result<Duration> {
    let heartbeat = node.duration()?;
    if heartbeat.is_zero() || heartbeat >= Duration::from_millis(100) {
        return Ok(heartbeat);
    }
    Err(node.error(format!(
        "{} is too short: heartbeats would outweigh events; write 100ms or more, or 0 to \
         send none",
        node.shown()
    )))
}

pub(super) fn retry(node: &Node) -> Result<RangeInclusive<Duration>> {
    let Some(range) = units::parse_range(node.text()?) else {
        return Err(node.error(format!(
            "{} is not a duration or a range of two; write 3s or 2s..5s",
            node.shown()
        )));
    };
    if range.start().is_zero() {
        return Err(node.error(format!(
            "{} begins at zero: clients would return without pause; write 1s..3s, or ~ to \
             leave the delay to them",
            node.shown()
        )));
    }
    if range.start() > range.end() {
        return Err(node.error(format!(
            "{} ends before it begins; write the shorter duration first",
            node.shown()
        )));
    }
    Ok(range)
}

fn linger(node: &Node) -> Result<Linger> {
    let text = node.text()?;
    if text == "complete" {
        return Ok(Linger::Complete);
    }
    let duration = units::parse_duration(text).ok_or_else(|| {
        node.error(format!(
            "{} is neither a duration nor `complete`{}; write 30s, 0 or complete",
            node.shown(),
            node.meant(&["complete"])
        ))
    })?;
    Ok(Linger::For(duration))
}

fn join(node: &Node) -> Result<Join> {
    let tail = |count: &str| count.parse().ok().filter(|count| *count > 0);
    match node.text()? {
        "live" => Ok(Join::Live),
        "start" => Ok(Join::Start),
        text => match text.strip_prefix("tail:").and_then(tail) {
            Some(count) => Ok(Join::Tail(count)),
            None => Err(node.error(format!(
                "{} is not valid{}; write live, start, or tail:N with N 1 or more",
                node.shown(),
                node.meant(&["live", "start"])
            ))),
        },
    }
}

fn batch(node: &Node) -> Result<Duration> {
    const LONGEST: Duration = Duration::from_secs(10);
    let batch = node.duration()?;
    if batch <= LONGEST {
        return Ok(batch);
    }
    Err(node.error(format!(
        "{} is too long: every event would arrive that late; write {} or less",
        node.shown(),
        units::format_duration(LONGEST)
    )))
}

fn upstream_idle(node: &Node) -> Result<Duration> {
    above_zero(
        node,
        "every upstream would be taken for dead (~ turns the watchdog off)",
    )
}

/// An event type that fits in one line.
fn event_type(node: &Node) -> Result<String> {
    let text = node.text()?;
    if text.is_empty() || text.contains(['\r', '\n', '\0']) {
        return Err(node.error(format!(
            "{} is not an event type; write a word such as sse-gap, or ~ to send none",
            node.shown()
        )));
    }
    Ok(text.to_owned())
}

pub(super) fn key_header(node: &Node) -> Result<HeaderName> {
    let header = header(node)?;
    if header == "last-event-id" {
        return Err(node.error(
            "cannot be part of the key: it differs for every client, and none would share \
             a stream; remove it",
        ));
    }
    Ok(header)
}

fn header(node: &Node) -> Result<HeaderName> {
    node.text()?.parse().map_err(|_| {
        node.error(format!(
            "{} is not a header name; write one such as authorization",
            node.shown()
        ))
    })
}

fn credentials(node: &Node) -> Result<Vec<Credential>> {
    node.items()?.iter().map(credential).collect()
}

fn credential(node: &Node) -> Result<Credential> {
    let text = node.text()?;
    if let Some(name) = text.strip_prefix("cookie:") {
        // Cookie names are tokens, as header names are.
        return match name.parse::<HeaderName>() {
            Ok(_) => Ok(Credential::Cookie(name.to_owned())),
            Err(_) => Err(node.error(format!(
                "{} names no cookie; write \"cookie:session\" with the cookie's name",
                node.shown()
            ))),
        };
    }
    if let Some(name) = text.strip_prefix("claim:") {
        return match name {
            "" => Err(node.error("names no claim; write \"claim:sub\" with the claim's name")),
            name => Ok(Credential::Claim(name.to_owned())),
        };
    }
    if text.eq_ignore_ascii_case("cookie") {
        return Err(node.error(
            "the whole Cookie header changes too often to recognise anyone by; name one \
             cookie, such as \"cookie:session\"",
        ));
    }
    header(node).map(Credential::Header)
}

// === values that must fit one another ===
//
// A default gives way to what is written; only two written values can conflict.

/// Which keys the file sets, and where.
struct Written<'a>(&'a [&'a Node]);

impl<'a> Written<'a> {
    /// The last layer's value of `outer.inner`, or of `outer` alone.
    fn find(&self, outer: &str, inner: Option<&str>) -> Option<&'a Node> {
        self.0.iter().rev().find_map(|layer| {
            let node = child(layer, outer)?;
            inner.map_or(Some(node), |inner| child(node, inner))
        })
    }
}

fn child<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let entries = node.entries().ok()?;
    entries.iter().find(|e| e.name == name).map(|e| &e.node)
}

fn fit_reconnect(settings: &mut Settings, written: &Written<'_>) -> Result<()> {
    let reconnect = &mut settings.reconnect;
    if reconnect.initial <= reconnect.max {
        return Ok(());
    }
    let initial = written.find("reconnect", Some("initial"));
    match (initial, written.find("reconnect", Some("max"))) {
        (Some(node), Some(_)) => {
            return Err(node.error(format!(
                "{} is longer than reconnect.max, which is {}; write at most that, or raise max",
                node.shown(),
                units::format_duration(reconnect.max)
            )));
        }
        (Some(_), None) => reconnect.max = reconnect.initial,
        _ => reconnect.initial = reconnect.max,
    }
    Ok(())
}

fn fit_event_size(settings: &mut Settings, written: &Written<'_>) -> Result<()> {
    let by_kind = match settings.mode {
        Mode::OneShot => ONE_SHOT_BUFFER_BYTES,
        Mode::Auto | Mode::Shared | Mode::Passthrough | Mode::Mcp => BUFFER_BYTES,
    };
    let buffer = settings.buffer.bytes.unwrap_or(by_kind);
    if settings.max_event_bytes <= buffer {
        return Ok(());
    }
    if let Some(node) = written.find("max_event_bytes", None) {
        return Err(node.error(format!(
            "{} is more than buffer.bytes, which is {}: such an event could not be \
             replayed; write at most that, or raise buffer.bytes",
            node.shown(),
            units::format_size(buffer)
        )));
    }
    settings.max_event_bytes = buffer;
    Ok(())
}
