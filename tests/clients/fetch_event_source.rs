//! `@microsoft/fetch-event-source` POSTs again when its connection breaks; the
//! proxy turns that into a return to the running answer.

use serde_json::{Value, json};

use crate::harness::{Canned, End, Plan, Proxy, Relay, Scripted, node};
use crate::llm::{self, BY_KEY, Sdk};
use crate::transcripts::{ANSWER, chat};

const FETCH: Sdk = Sdk {
    run: node,
    script: "answers_fetch_event_source.mjs",
    profile: "openai",
    api: "chat",
    events: chat,
};

#[tokio::test]
async fn it_runs_clean_through_heartbeats() {
    llm::runs_clean_through_heartbeats(FETCH).await;
}

#[tokio::test]
async fn an_upstream_cut_anywhere_is_an_error() {
    llm::an_upstream_cut_anywhere_is_an_error(FETCH).await;
}

#[tokio::test]
async fn without_the_proxy_it_takes_an_early_end_for_success() {
    let answer = llm::without_the_proxy_an_early_end(FETCH).await;
    assert_eq!(answer.error, None, "{answer:?}");
}

/// Also where it has no id yet: the request's own key says that it runs already.
#[tokio::test]
async fn it_has_all_of_the_answer_wherever_its_connection_is_cut() {
    let (whole, cases) = llm::a_client_cut_anywhere(FETCH, 3).await;
    assert_eq!(whole, cases);
}

/// What it has no id of cannot be told from something new.
#[tokio::test]
async fn without_a_key_what_is_cut_before_its_first_event_is_executed_again() {
    let upstream = Canned::start(|_, _| Plan::Answer(chat().concat(), End::Clean)).await;
    let proxy = FETCH.proxy(upstream.url(), "").await;
    let relay = Relay::to(proxy.url()).await;
    let answers = FETCH
        .ask(relay.url(), 3, &[json!({ "path": "cut-20" })])
        .await;
    assert_eq!(answers[0].text, ANSWER);
    assert_eq!(upstream.asked().len(), 2);
}

/// It comes back as often as it is let, and is told the same each time.
#[tokio::test]
async fn a_truncated_answer_stays_one_however_often_it_comes_back() {
    let half = chat()[..3].concat();
    let upstream = Canned::start(move |_, _| Plan::Answer(half.clone(), End::Clean)).await;
    let proxy = FETCH.proxy(upstream.url(), "").await;
    let answers = FETCH.ask(proxy.url(), 5, &[json!({ "path": "v1" })]).await;
    assert_eq!(answers[0].text, "one two");
    assert!(answers[0].error.is_some(), "{answers:?}");
    assert_eq!(upstream.asked().len(), 1);
}

#[tokio::test]
async fn others_get_nothing_of_the_answer() {
    llm::others_get_an_answer_of_their_own(FETCH).await;
    // Nor by its id.
    let backend = Scripted::start().await;
    let proxy = FETCH.proxy(backend.url(), BY_KEY).await;
    let case = json!({ "path": "v1", "as": "alice" });
    let mut alice = FETCH.start(proxy.url(), &json!({ "retries": 0 }), &[case]);
    backend.requested(1).await;
    backend.send(&chat().concat());
    backend.finish();
    let id = alice.report("answer").await["lastId"].clone();
    let case = |who: &str| json!({ "path": "v1", "as": who, "after": id });
    let answers = FETCH
        .ask(proxy.url(), 0, &[case("bob"), case("alice")])
        .await;
    assert_eq!(answers[0].text, "");
    let error = answers[0].error.as_deref().unwrap_or_default();
    assert!(error.contains("410"), "{error:?}");
    assert_eq!(answers[1].error, None);
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn a_repeated_post_is_not_executed_twice() {
    let backend = Scripted::start().await;
    let proxy = Proxy::start(backend.url(), "heartbeat: 100ms").await;
    let relay = Relay::to(proxy.url()).await;
    let url = format!("{}/completions", relay.url());
    let mut client = node("fetch_event_source.mjs", &[&url]);
    backend.requested(1).await;

    backend.count(1..=4);
    client.message("4").await;
    relay.cut();
    client.report("error").await;
    backend.count(5..=8);
    client.message("8").await;
    backend.count(9..=10);
    backend.finish();
    client.report("close").await;
    client.report("resolved").await;

    let tokens = client.reports("message");
    let tokens: Vec<_> = tokens
        .iter()
        .map(|token| token["data"].as_str().unwrap())
        .collect();
    assert_eq!(tokens, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    let answers = client.reports("open");
    let answers: Vec<_> = answers
        .iter()
        .map(|answer| (&answer["status"], &answer["resume"]))
        .collect();
    let expected = [
        (&Value::from(200), &Value::from("new")),
        (&Value::from(200), &Value::from("exact")),
    ];
    assert_eq!(answers, expected);
    assert_eq!(backend.requests(), ["POST /completions"], "executed once");
}
