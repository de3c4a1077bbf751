//! What the services send, event by event, byte for byte: the same answer each.

use serde_json::json;

/// The answer in all of them.
pub(crate) const ANSWER: &str = "one two three";
const WORDS: [&str; 3] = ["one", " two", " three"];

/// Chat completions of `OpenAI`.
pub(crate) fn chat() -> Vec<String> {
    let chunk = |delta: serde_json::Value, finish: Option<&str>| {
        let json = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "none",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
        });
        format!("data: {json}\n\n")
    };
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), None)];
    events.extend(WORDS.map(|word| chunk(json!({ "content": word }), None)));
    events.push(chunk(json!({}), Some("stop")));
    events.push("data: [DONE]\n\n".into());
    events
}

/// Responses of `OpenAI`: no `[DONE]`.
pub(crate) fn responses() -> Vec<String> {
    let response = |status: &str| {
        json!({
            "id": "resp_1", "object": "response", "created_at": 1, "status": status,
            "model": "none", "output": [], "parallel_tool_calls": true, "tool_choice": "auto",
            "tools": [],
        })
    };
    let mut number = 0;
    let mut event = |kind: &str, mut fields: serde_json::Value| {
        fields["type"] = kind.into();
        fields["sequence_number"] = number.into();
        number += 1;
        format!("event: {kind}\ndata: {fields}\n\n")
    };
    let created = json!({ "response": response("in_progress") });
    let mut events = vec![event("response.created", created)];
    for word in WORDS {
        let delta = json!({
            "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": word, "logprobs": [],
        });
        events.push(event("response.output_text.delta", delta));
    }
    let completed = json!({ "response": response("completed") });
    events.push(event("response.completed", completed));
    events
}

/// Anthropic, messages.
pub(crate) fn messages() -> Vec<String> {
    let event = |kind: &str, mut fields: serde_json::Value| {
        fields["type"] = kind.into();
        format!("event: {kind}\ndata: {fields}\n\n")
    };
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "none",
        "stop_reason": null, "stop_sequence": null,
        "usage": { "input_tokens": 1, "output_tokens": 1 },
    });
    let block = json!({ "index": 0, "content_block": { "type": "text", "text": "" } });
    let mut events = vec![
        event("message_start", json!({ "message": message })),
        event("content_block_start", block),
        event("ping", json!({})),
    ];
    for word in WORDS {
        let delta = json!({ "index": 0, "delta": { "type": "text_delta", "text": word } });
        events.push(event("content_block_delta", delta));
    }
    let stop = json!({
        "delta": { "stop_reason": "end_turn", "stop_sequence": null },
        "usage": { "output_tokens": 3 },
    });
    events.push(event("content_block_stop", json!({ "index": 0 })));
    events.push(event("message_delta", stop));
    events.push(event("message_stop", json!({})));
    events
}

/// GraphQL over SSE, distinct connections.
pub(crate) fn graphql() -> Vec<String> {
    let next = |word: &str| {
        format!(
            "event: next\ndata: {}\n\n",
            json!({ "data": { "words": word } })
        )
    };
    let mut events = Vec::from(WORDS.map(next));
    events.push("event: complete\ndata:\n\n".into());
    events
}

/// A UI message stream of Vercel's AI SDK, with the message's id or without.
pub(crate) fn ui_messages(id: Option<&str>) -> Vec<String> {
    let event = |json: serde_json::Value| format!("data: {json}\n\n");
    let mut start = json!({ "type": "start" });
    if let Some(id) = id {
        start["messageId"] = id.into();
    }
    let mut events = vec![
        event(start),
        event(json!({ "type": "start-step" })),
        event(json!({ "type": "text-start", "id": "0" })),
    ];
    events
        .extend(WORDS.map(|word| event(json!({ "type": "text-delta", "id": "0", "delta": word }))));
    events.extend([
        event(json!({ "type": "text-end", "id": "0" })),
        event(json!({ "type": "finish-step" })),
        event(json!({ "type": "finish" })),
        "data: [DONE]\n\n".into(),
    ]);
    events
}

/// Where each event ends, where it is in its middle, and before all of them.
pub(crate) fn offsets(events: &[String]) -> Vec<usize> {
    let mut offsets = vec![0];
    let mut end = 0;
    for event in events {
        offsets.extend([end + event.len() / 2, end + event.len()]);
        end += event.len();
    }
    offsets
}
