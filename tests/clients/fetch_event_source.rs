//! `@microsoft/fetch-event-source` POSTs again when its connection breaks; the
//! proxy turns that into a return to the running answer.

use serde_json::Value;

use crate::harness::{Proxy, Relay, Scripted, node};

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
