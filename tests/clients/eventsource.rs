//! The npm `eventsource`, whose connection breaks, gets every number once, in
//! order, from a backend that knows no ids.

use serde_json::Value;

use crate::harness::{Process, Proxy, Relay, Scripted, node};

#[tokio::test]
async fn version_4_resumes() {
    resumes("eventsource4").await;
}

#[tokio::test]
async fn version_5_resumes() {
    resumes("eventsource5").await;
}

async fn resumes(package: &str) {
    let backend = Scripted::start().await;
    // The client waits this long before it returns; by default, for seconds.
    let proxy = Proxy::start(backend.url(), "retry: 100ms..150ms").await;
    let relay = Relay::to(proxy.url()).await;
    let mut client = node(
        "eventsource.mjs",
        &[package, &format!("{}/numbers", relay.url())],
    );
    backend.requested(1).await;

    backend.count(1..=5);
    client.message("5").await;
    relay.cut();
    // While the client is away, and after it is back.
    backend.count(6..=10);
    client.message("10").await;
    backend.count(11..=12);
    client.message("12").await;
    relay.cut();
    backend.count(13..=15);
    client.message("15").await;

    assert_eq!(numbers(&client), (1..=15).collect::<Vec<u32>>());
    assert_eq!(
        client.reports("open").len(),
        3,
        "the connection was cut twice"
    );
    let ids = last_event_ids(&relay);
    assert_eq!(ids.len(), 2, "{ids:?}");
    let seen = client.reports("message");
    assert_eq!(ids[0], id_of(&seen[4]));
    assert_eq!(ids[1], id_of(&seen[11]));
    assert_eq!(
        backend.requests(),
        ["GET /numbers"],
        "one client is one upstream connection"
    );
}

fn numbers(client: &Process) -> Vec<u32> {
    let number = |message: &Value| message["data"].as_str().unwrap().parse().unwrap();
    client.reports("message").iter().map(number).collect()
}

/// The relay hears header names in any case, so it lowers all it hears.
fn id_of(message: &Value) -> String {
    message["lastEventId"].as_str().unwrap().to_lowercase()
}

fn last_event_ids(relay: &Relay) -> Vec<String> {
    let sent = relay.sent_by_clients();
    sent.lines()
        .filter_map(|line| line.strip_prefix("last-event-id: "))
        .map(str::to_owned)
        .collect()
}
