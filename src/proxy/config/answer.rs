//! What the `sse` block says of streams that are the answer to one request: how
//! they end, what they are called, and where they are asked for.

use http::HeaderName;

use super::error::ConfigError;
use super::section::Section;
use super::sse::{above_zero, set};
use super::tree::{Node, Value};
use crate::resume::settings::{KeyPath, KeySettings, NAME_WITHIN, NameSource, Repeat, Settings};
use crate::stream::policy::Marker;

type Result<T> = std::result::Result<T, ConfigError>;

pub(super) const KEYS: [&str; 6] = [
    "finish",
    "max_runtime",
    "max_detached",
    "attach",
    "list",
    "retries",
];

/// The keys of `key` that name a stream.
pub(super) const NAME_KEYS: [&str; 4] = ["header", "json", "max", "repeat"];

pub(super) const REPEAT: [(&str, Repeat); 3] = [
    ("attach", Repeat::Attach),
    ("supersede", Repeat::Supersede),
    ("refuse", Repeat::Refuse),
];

const JSON_RPC_RESPONSE: &str = "json_rpc_response";

/// Least of a body to read: less would hold no name.
const LEAST_READ: usize = 1 << 10;
/// More is not read before a request is sent on.
const MOST_READ: usize = 16 << 20;
const MOST_RETRIES: u32 = 10;

/// Sets what the section says.
pub(super) fn apply(section: &Section<'_>, settings: &mut Settings) -> Result<()> {
    set(section, "finish", &mut settings.finish, |node| {
        node.items()?.iter().map(marker).collect()
    })?;
    set(section, "max_runtime", &mut settings.max_runtime, |node| {
        above_zero(node, "every answer that nobody reads would be stopped")
    })?;
    set(section, "max_detached", &mut settings.max_detached, count)?;
    set(section, "attach", &mut settings.attach, |node| {
        node.optional(key_path)
    })?;
    set(section, "list", &mut settings.list, |node| {
        node.optional(path)
    })?;
    set(section, "retries", &mut settings.retries, retries)
}

/// Sets what `key` says of names.
pub(super) fn apply_name(section: &Section<'_>, key: &mut KeySettings) -> Result<()> {
    let header = section.read_or_off("header", |node| {
        let header = super::sse::key_header(node)?;
        Ok((node, header))
    })?;
    let json = section.read_or_off("json", |node| Ok((node, pointer(node)?)))?;
    let max = section.read("max", |node| Ok((node, read_size(node)?)))?;
    set(section, "repeat", &mut key.repeat, |node| {
        node.optional(|node| node.word(&REPEAT))
    })?;
    if let Some(source) = name_source(header, json, max)? {
        key.name = Some(source);
    }
    if let (Some(_), Some(node), false) =
        (&key.name, section.get("headers"), key.headers.is_empty())
    {
        return Err(node.error(
            "names requests, and `header` or `json` beside it names streams; a route can \
             have one of both",
        ));
    }
    Ok(())
}

fn name_source(
    header: Option<(&Node, HeaderName)>,
    json: Option<(&Node, String)>,
    max: Option<(&Node, usize)>,
) -> Result<Option<NameSource>> {
    match (header, json, max) {
        (Some(_), Some((node, _)), _) => {
            Err(node.error("is a second place to look for the name, beside `header`; remove one"))
        }
        (None, Some((_, pointer)), max) => Ok(Some(NameSource::Json {
            pointer,
            max: max.map_or(NAME_WITHIN, |(_, max)| max),
        })),
        (_, None, Some((node, _))) => {
            Err(node
                .error("says how much of a body to read, but no `json` says what for; remove it"))
        }
        (Some((_, header)), None, None) => Ok(Some(NameSource::Header(header))),
        (None, None, None) => Ok(None),
    }
}

/// `{ event: NAME }`, `{ data: TEXT }`, `{ json: POINTER, is: [VALUE, …] }`, or
/// `json_rpc_response`.
fn marker(node: &Node) -> Result<Marker> {
    const FORMS: &str = "write { event: NAME }, { data: TEXT }, { json: /POINTER, is: [VALUE] } \
                         or json_rpc_response";
    if matches!(node.value, Value::Scalar { .. }) {
        return match node.text()? {
            JSON_RPC_RESPONSE => Ok(Marker::JsonRpcResponse),
            _ => Err(node.error(format!(
                "{} marks no event{}; {FORMS}",
                node.shown(),
                node.meant(&[JSON_RPC_RESPONSE])
            ))),
        };
    }
    let section = Section::open(node, &["event", "data", "json", "is"])?;
    let text = |node: &Node| node.text().map(str::to_owned);
    let event = section.read("event", text)?;
    let data = section.read("data", text)?;
    let json = section.read("json", pointer)?;
    let is = section.read("is", |node| {
        node.items()?.iter().map(text).collect::<Result<Vec<_>>>()
    })?;
    match (event, data, json, is) {
        (Some(event), None, None, None) => Ok(Marker::Event(event)),
        (None, Some(data), None, None) => Ok(Marker::Data(data)),
        (None, None, Some(pointer), values) => Ok(Marker::Json {
            pointer,
            values: values.unwrap_or_default(),
        }),
        _ => Err(node.error(format!("marks no event; {FORMS}"))),
    }
}

fn pointer(node: &Node) -> Result<String> {
    let text = node.text()?;
    let escaped = text
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with(['0', '1']));
    if (text.is_empty() || text.starts_with('/')) && escaped {
        return Ok(text.to_owned());
    }
    Err(node.error(format!(
        "{} is not a JSON pointer; write one such as /id or /params/chat/0",
        node.shown()
    )))
}

fn read_size(node: &Node) -> Result<usize> {
    let size = node.size_from(LEAST_READ)?;
    if size <= MOST_READ {
        return Ok(size);
    }
    Err(node.error(format!(
        "{} is too much to read of every request before it is sent on; write 16MiB or less",
        node.shown()
    )))
}

fn count(node: &Node) -> Result<usize> {
    node.text()?.parse().map_err(|_| {
        node.error(format!(
            "{} is not a count; write a whole number, 0 for none",
            node.shown()
        ))
    })
}

fn retries(node: &Node) -> Result<u32> {
    match node.text()?.parse() {
        Ok(retries) if retries <= MOST_RETRIES => Ok(retries),
        _ => Err(node.error(format!(
            "{} is not valid; write a whole number up to {MOST_RETRIES}, 0 for none",
            node.shown()
        ))),
    }
}

fn key_path(node: &Node) -> Result<KeyPath> {
    let text = node.text()?;
    KeyPath::parse(text).ok_or_else(|| {
        node.error(format!(
            "{} is not a path with one {{key}} in it; write one such as /chat/{{key}}/stream",
            node.shown()
        ))
    })
}

fn path(node: &Node) -> Result<String> {
    let text = node.text()?;
    let valid = text.starts_with('/') && !text.contains(['?', '#', '{', '}']);
    if valid && text.parse::<http::uri::PathAndQuery>().is_ok() {
        return Ok(text.to_owned());
    }
    Err(node.error(format!(
        "{} is not a path; write one such as /chat/streams",
        node.shown()
    )))
}
