//! The `anthropic` SDK for Python, which hands an event over one event late where
//! its lines end in CR LF and ours in LF: the proxy must not mix them.

use crate::harness::{Proxy, Relay, Scripted, python};
use crate::llm::{self, Sdk};
use crate::transcripts::messages;

const EVENTS: Sdk = Sdk {
    run: python,
    script: "answers_anthropic.py",
    profile: "anthropic",
    api: "create",
    events: messages,
};

const STREAM: Sdk = Sdk {
    api: "stream",
    ..EVENTS
};

#[tokio::test]
async fn it_runs_clean_through_heartbeats() {
    for sdk in [EVENTS, STREAM] {
        llm::runs_clean_through_heartbeats(sdk).await;
    }
}

#[tokio::test]
async fn an_upstream_cut_anywhere_is_an_error() {
    for sdk in [EVENTS, STREAM] {
        llm::an_upstream_cut_anywhere_is_an_error(sdk).await;
    }
}

#[tokio::test]
async fn without_the_proxy_it_takes_an_early_end_for_success() {
    let answer = llm::without_the_proxy_an_early_end(EVENTS).await;
    assert_eq!(answer.error, None, "{answer:?}");
}

/// It does not resume; see the same test of `openai`.
#[tokio::test]
async fn it_is_executed_once_wherever_its_connection_is_cut() {
    let (whole, cases) = llm::a_client_cut_anywhere(EVENTS, 2).await;
    assert!(0 < whole && whole < cases, "{whole} of {cases}");
}

#[tokio::test]
async fn another_key_of_the_api_gets_an_answer_of_its_own() {
    llm::others_get_an_answer_of_their_own(EVENTS).await;
}

#[tokio::test]
async fn events_with_crlf_arrive_when_sent() {
    let backend = Scripted::start().await;
    let proxy = Proxy::start(backend.url(), "heartbeat: 100ms").await;
    let relay = Relay::to(proxy.url()).await;
    let mut client = python("anthropic_messages.py", &[relay.url()]);
    backend.requested(1).await;

    let stop = r#"{ "type": "content_block_stop", "index": 0 }"#;
    for _ in 0..3 {
        relay.heartbeats(1).await;
        backend.send(&format!(
            "event: content_block_stop\r\ndata: {stop}\r\n\r\n"
        ));
        // The next is not sent before this one has come.
        client.report("delta").await;
    }
    backend.send("event: message_stop\r\ndata: {\"type\": \"message_stop\"}\r\n\r\n");
    assert_eq!(client.report("delta").await["type"], "message_stop");
    backend.finish();
    client.report("done").await;
    assert_eq!(client.reports("error").len(), 0);
}
