//! The `openai` SDKs for Python and Node. That for Python takes every blank line
//! after an id for an event and fails on one without JSON: neither ids nor
//! heartbeats may disturb it, and an answer that broke off must not look complete.

use crate::harness::{Canned, End, Plan, Process, Proxy, Relay, Scripted, node, python};
use crate::llm::{self, Answer, Sdk};
use crate::transcripts::{chat, responses};

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

const PYTHON: Sdk = Sdk {
    run: python,
    script: "answers_openai.py",
    profile: "openai",
    api: "chat",
    events: chat,
};

const NODE: Sdk = Sdk {
    run: node,
    script: "answers_openai.mjs",
    ..PYTHON
};

/// Both SDKs, both ways to ask.
fn all() -> [Sdk; 4] {
    let responses = |sdk| Sdk {
        api: "responses",
        events: responses,
        ..sdk
    };
    [PYTHON, NODE, responses(PYTHON), responses(NODE)]
}

#[tokio::test]
async fn both_run_clean_through_heartbeats() {
    for sdk in all() {
        llm::runs_clean_through_heartbeats(sdk).await;
    }
}

#[tokio::test]
async fn an_upstream_cut_anywhere_is_an_error_to_both() {
    for sdk in all() {
        llm::an_upstream_cut_anywhere_is_an_error(sdk).await;
    }
}

/// Which is why answers are aborted that lack their last event.
#[tokio::test]
async fn without_the_proxy_both_take_an_early_end_for_success() {
    for sdk in all() {
        let answer = llm::without_the_proxy_an_early_end(sdk).await;
        assert_eq!(answer.error, None, "{answer:?}");
    }
}

/// They do not resume. Before the head they ask again by themselves, which is
/// the answer that runs already.
#[tokio::test]
async fn both_are_executed_once_wherever_their_connection_is_cut() {
    for sdk in all() {
        let (whole, cases) = llm::a_client_cut_anywhere(sdk, 2).await;
        assert!(0 < whole && whole < cases, "{whole} of {cases}");
    }
}

#[tokio::test]
async fn another_key_of_the_api_gets_an_answer_of_its_own() {
    for sdk in [PYTHON, NODE] {
        llm::others_get_an_answer_of_their_own(sdk).await;
    }
}

/// Both ask again themselves after a 5xx: each time the upstream is asked, the
/// same as without the proxy.
#[tokio::test]
async fn without_retries_the_clients_ask_the_upstream_again() {
    for sdk in [PYTHON, NODE] {
        let (answer, keys) = fails_once_before_its_head(sdk, "").await;
        assert_eq!(answer.error, None, "{answer:?}");
        assert_eq!(keys, ["", ""], "two executions, for all the upstream knows");
    }
}

/// The upstream sees the same key twice, and knows the second for a repetition.
#[tokio::test]
async fn with_retries_the_upstream_is_asked_again_with_the_same_key() {
    for sdk in [PYTHON, NODE] {
        let (answer, keys) = fails_once_before_its_head(sdk, "retries: 2").await;
        assert_eq!(answer.error, None, "{answer:?}");
        assert_eq!(keys.len(), 2);
        assert!(!keys[0].is_empty() && keys[0] == keys[1], "{keys:?}");
    }
}

/// The answer, and the `Idempotency-Key` of each request that went upstream.
async fn fails_once_before_its_head(sdk: Sdk, more: &str) -> (Answer, Vec<String>) {
    let upstream = Canned::start(move |_, before| match before {
        0 => Plan::Refuse,
        _ => Plan::Answer(chat().concat(), End::Clean),
    })
    .await;
    let proxy = sdk.proxy(upstream.url(), more).await;
    let case = serde_json::json!({ "path": "v1" });
    let answer = sdk.ask(proxy.url(), 2, &[case]).await.remove(0);
    let keys = upstream.asked().into_iter().map(|asked| asked.key);
    (answer, keys.collect())
}
