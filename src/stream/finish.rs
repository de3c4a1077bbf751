//! Telling the last event of an answer from the others.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memmem;
use serde_json::Value;

use super::policy::Marker;
use crate::wire::Block;

/// Looks out for the last event of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    markers: Arc<[Marker]>,
    /// JSON-RPC responses that are still to come.
    responses: usize,
}

impl Finish {
    /// One that looks for any of these. Of JSON-RPC responses, so many.
    pub(crate) fn new(markers: Arc<[Marker]>, responses: usize) -> Self {
        Self { markers, responses }
    }

    /// Whether this is the last event.
    pub(crate) fn is_last(&mut self, block: &Block) -> bool {
        if self.markers.is_empty() {
            return false;
        }
        let data = data(block);
        let mut parsed = None;
        let markers = Arc::clone(&self.markers);
        markers.iter().any(|marker| match marker {
            Marker::Event(name) => event(block).is_some_and(|event| event == name.as_bytes()),
            Marker::Data(text) => data.as_deref().is_some_and(|data| data == text.as_bytes()),
            Marker::Json { pointer, values } => {
                data.as_deref().is_some_and(|data| may_have(data, pointer))
                    && json(&mut parsed, data.as_deref())
                        .pointer(pointer)
                        .is_some_and(|found| is_one_of(found, values))
            }
            Marker::JsonRpcResponse => {
                let json = match data.as_deref() {
                    Some(data) if may_have(data, "/jsonrpc") => json(&mut parsed, Some(data)),
                    _ => return false,
                };
                self.responses = self.responses.saturating_sub(responses(json));
                self.responses == 0 && responses(json) > 0
            }
        })
    }
}

/// The event's type, if it says one. The last line counts.
fn event(block: &Block) -> Option<&[u8]> {
    if !block.has_event {
        return None;
    }
    block.fields(b"event").last()
}

/// The event's data: its lines, joined by LF.
fn data(block: &Block) -> Option<Cow<'_, [u8]>> {
    if !block.has_data {
        return None;
    }
    let mut lines = block.fields(b"data");
    let first = lines.next()?;
    let mut joined = Cow::Borrowed(first);
    for line in lines {
        let joined = joined.to_mut();
        joined.push(b'\n');
        joined.extend_from_slice(line);
    }
    Some(joined)
}

/// Parsed once per event, whatever asks. What is no JSON has nothing in it.
fn json<'a>(parsed: &'a mut Option<Value>, data: Option<&[u8]>) -> &'a Value {
    parsed.get_or_insert_with(|| {
        data.and_then(|data| serde_json::from_slice(data).ok())
            .unwrap_or(Value::Null)
    })
}

/// Whether it is worth parsing: most events do not have the name that the
/// pointer ends with. An escape could spell it in another way.
fn may_have(data: &[u8], pointer: &str) -> bool {
    let name = pointer.rsplit('/').next().unwrap_or(pointer);
    let is_index = name.bytes().all(|byte| byte.is_ascii_digit());
    is_index
        || name.contains('~')
        || memmem::find(data, name.as_bytes()).is_some()
        || memmem::find(data, b"\\u").is_some()
}

fn is_one_of(found: &Value, values: &[String]) -> bool {
    match found {
        Value::Null | Value::Bool(false) if values.is_empty() => false,
        _ if values.is_empty() => true,
        Value::String(text) => values.contains(text),
        Value::Bool(_) | Value::Number(_) => values.contains(&found.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// How many responses a message or a batch has (JSON-RPC 2.0 §5, §6).
fn responses(json: &Value) -> usize {
    let one = |message: &Value| {
        message.get("jsonrpc").is_some()
            && message.get("method").is_none()
            && (message.get("result").is_some() || message.get("error").is_some())
    };
    match json {
        Value::Array(batch) => batch.iter().filter(|message| one(message)).count(),
        message => usize::from(one(message)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::{Decoder, Frame};

    fn blocks(text: &str) -> Vec<Block> {
        let mut decoder = Decoder::new(1 << 20);
        decoder.push(Bytes::copy_from_slice(text.as_bytes()));
        let frames = std::iter::from_fn(|| decoder.next_frame().unwrap());
        let block = |frame| match frame {
            Frame::Block(block) => Some(block),
            Frame::Comment(_) => None,
        };
        frames.filter_map(block).collect()
    }

    /// Which of these events are the last by that marker.
    fn last(marker: Marker, text: &str) -> Vec<bool> {
        let finish = Finish::new(Arc::new([marker]), 1);
        let is_last = |block: &Block| finish.clone().is_last(block);
        blocks(text).iter().map(is_last).collect()
    }

    #[test]
    fn an_event_type_is_the_last_one_said() {
        let marker = || Marker::Event("message_stop".into());
        assert_eq!(last(marker(), "event: message_stop\ndata: {}\n\n"), [true]);
        assert_eq!(last(marker(), "event: message_stop\n\n"), [true]);
        assert_eq!(last(marker(), "event: message_stop\nevent:x\n\n"), [false]);
        assert_eq!(last(marker(), "data: message_stop\n\n"), [false]);
    }

    #[test]
    fn data_is_compared_whole() {
        let marker = || Marker::Data("[DONE]".into());
        let text = "data: [DONE]\n\ndata:[DONE]\n\ndata:  [DONE]\n\ndata: [DONE]\ndata: x\n\n";
        assert_eq!(last(marker(), text), [true, true, false, false]);
        assert_eq!(
            last(Marker::Data("a\nb".into()), "data: a\ndata: b\n\n"),
            [true]
        );
    }

    #[test]
    fn json_is_looked_into() {
        let typed = |values: &[&str]| Marker::Json {
            pointer: "/type".into(),
            values: values.iter().map(ToString::to_string).collect(),
        };
        let text = concat!(
            "data: {\"type\":\"delta\",\"text\":\"\\\"type\\\":\\\"done\\\"\"}\n\n",
            "data: {\"type\":\"done\"}\n\n",
            "data: {\"ty\\u0070e\":\n",
            "data: \"done\"}\n\n",
            "data: done\n\n",
            "data: {\"type\":null}\n\n",
            "data: {\"type\":7}\n\n",
        );
        let found = last(typed(&["done", "7"]), text);
        assert_eq!(found, [false, true, true, false, false, true]);
        let found = last(typed(&[]), text);
        assert_eq!(found, [true, true, true, false, false, true]);
        let nested = Marker::Json {
            pointer: "/choices/0/finish_reason".into(),
            values: vec![],
        };
        let text = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n\
                    data: {\"choices\":[{\"finish_reason\":null}]}\n\n";
        assert_eq!(last(nested, text), [true, false]);
    }

    #[test]
    fn responses_are_counted() {
        let text = concat!(
            "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n",
            "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":{\"result\":1}}\n\n",
            "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n",
            "data: [{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{}},{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":0}]\n\n",
        );
        assert_eq!(
            last(Marker::JsonRpcResponse, text),
            [false, false, true, true]
        );
        let mut three = Finish::new(Arc::new([Marker::JsonRpcResponse]), 3);
        let found: Vec<_> = blocks(text).iter().map(|b| three.is_last(b)).collect();
        assert_eq!(found, [false, false, false, true]);
    }
}
