//! "Replacing nginx, step by step" of `docs/operations.md`, gone through in one
//! shell, under clients of whom none may lose an event.

mod crowd;
mod page;
mod shell;
mod site;

use serde_json::Value;

use crowd::Crowd;
use page::Walk;
use site::Site;

const CLIENTS: usize = 500;

/// What each reads between one step and the next.
const EVENTS: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_is_replaced_under_clients_who_lose_nothing() {
    let walk = Walk::read();
    let mut site = Site::new(&walk).await;
    site.step(&walk, "Check").await;
    site.step(&walk, "Start").await;
    site.step(&walk, "Look").await;
    let crowd = Crowd::new(CLIENTS, &site).await;
    crowd.advance(EVENTS).await;
    assert_eq!(
        site.figure("sse_clients_open{route=\"/events\"}").await,
        500
    );
    assert_eq!(
        site.figure("sse_upstream_streams_open{route=\"/events\"}")
            .await,
        1,
    );

    site.start_second_server().await;
    site.step(&walk, "Add a server").await;
    crowd.advance(EVENTS).await;

    site.kill_first_server().await;
    site.step(&walk, "Lose a server").await;
    crowd.advance(EVENTS).await;
    let resumed = site.second_server_was_asked().await;
    assert!(resumed["lastEventId"].is_string(), "{resumed}");
    // Nobody's credentials are for everybody's stream.
    assert_eq!(resumed["authorization"], Value::Null, "{resumed}");

    site.step(&walk, "Take it out").await;
    assert!(site.shows("live.example.com").await, "the new name");
    crowd.advance(EVENTS).await;
    assert_eq!(crowd.visits(), [1; CLIENTS], "nobody had to come back");

    site.step(&walk, "Replace the binary").await;
    crowd.advance(EVENTS).await;
    assert_eq!(crowd.visits(), [2; CLIENTS], "each came back once");
    site.nothing_was_lost().await;
}
