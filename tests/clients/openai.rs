//! The `openai` SDK for Python, which takes every blank line after an id for an
//! event and fails on one without JSON: neither ids nor heartbeats may disturb
//! it, and an answer that broke off must not look complete to it.

use crate::harness::{Process, Proxy, Relay, Scripted, python};

#[tokio::test]
async fn ids_and_heartbeats_between_the_chunks_do_no_harm() {
    let backend = Scripted::start().await;
    let (_proxy, relay, mut client) = completion(&backend).await;

    for text in ["one", " two", " three"] {
        // Before the first chunk as well: it takes a model time to begin.
        relay.heartbeats(2).await;
        backend.send(&chunk(text));
        assert_eq!(client.report("delta").await["text"], text);
    }
    backend.send("data: [DONE]\n\n");
    backend.finish();
    client.report("done").await;

    assert_eq!(client.reports("delta").len(), 3);
    assert_eq!(client.reports("error").len(), 0);
    // Or nothing was put to the test.
    assert!(
        relay.sent_to_clients().contains("id: s1."),
        "{}",
        relay.sent_to_clients()
    );
    assert_eq!(backend.requests(), ["POST /v1/chat/completions"]);
}

#[tokio::test]
async fn an_answer_broken_off_is_an_error() {
    let backend = Scripted::start().await;
    let (_proxy, _relay, mut client) = completion(&backend).await;

    backend.send(&chunk("half an"));
    client.report("delta").await;
    backend.cut();
    client.report("error").await;
    client.ended().await;

    assert_eq!(client.reports("done").len(), 0);
    assert_eq!(
        backend.requests(),
        ["POST /v1/chat/completions"],
        "and it is not asked again"
    );
}

/// The SDK's request under way.
async fn completion(backend: &Scripted) -> (Proxy, Relay, Process) {
    let proxy = Proxy::start(backend.url(), "heartbeat: 100ms").await;
    let relay = Relay::to(proxy.url()).await;
    let client = python("openai_chat.py", &[&format!("{}/v1", relay.url())]);
    backend.requested(1).await;
    (proxy, relay, client)
}

fn chunk(text: &str) -> String {
    let json = serde_json::json!({
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "none",
        "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }],
    });
    format!("data: {json}\n\n")
}
