//! A slow call through heartbeats and cuts.

use super::{Kind, Sdk, World};
use crate::harness::Process;

/// Where the client loses its connection, once it has an id.
const CUTS: [Cut; 6] = [
    Cut::Never,
    Cut::BeforeTheFirstEvent,
    Cut::BeforeTheFirstEventTwice,
    Cut::BetweenEvents,
    Cut::InAnEvent,
    Cut::InTheResponse,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Never,
    BeforeTheFirstEvent,
    BeforeTheFirstEventTwice,
    BetweenEvents,
    InAnEvent,
    InTheResponse,
}

#[tokio::test]
async fn python_to_python() {
    survive(Sdk::Python, Kind::Python).await;
}

#[tokio::test]
async fn python_to_rmcp() {
    survive(Sdk::Python, Kind::Rmcp).await;
}

#[tokio::test]
async fn typescript_1_to_python() {
    survive(Sdk::TypeScript1, Kind::Python).await;
}

#[tokio::test]
async fn typescript_1_to_rmcp() {
    survive(Sdk::TypeScript1, Kind::Rmcp).await;
}

#[tokio::test]
async fn typescript_2_to_python() {
    survive(Sdk::TypeScript2, Kind::Python).await;
}

#[tokio::test]
async fn typescript_2_to_rmcp() {
    survive(Sdk::TypeScript2, Kind::Rmcp).await;
}

/// Each call gets all its progress once, and its result, and is executed once.
async fn survive(sdk: Sdk, kind: Kind) {
    let mut world = World::of(kind).await;
    let mut client = world.client(sdk, CUTS.len()).await;
    for (number, cut) in (1..).zip(CUTS) {
        // The client has been given an id.
        client.report("token").await;
        world.network.heartbeats(2).await;
        let times = match cut {
            Cut::BeforeTheFirstEvent => 1,
            Cut::BeforeTheFirstEventTwice => 2,
            _ => 0,
        };
        for _ in 0..times {
            world.network.cut();
            client.report("token").await;
        }
        world.server.step().await;
        assert_eq!(client.report("progress").await["progress"], 1.0, "{cut:?}");
        match cut {
            Cut::BetweenEvents => world.network.cut(),
            Cut::InAnEvent => world.network.cut_after("\"progress\":2"),
            Cut::InTheResponse => world.network.cut_after("counted"),
            _ => {}
        }
        world.server.step().await;
        assert_eq!(client.report("progress").await["progress"], 2.0, "{cut:?}");
        world.server.step().await;
        let result = client.report("result").await;
        assert_eq!(result["text"], "counted to 2", "{cut:?}");
        assert_eq!(progress(&client, number), [1.0, 2.0], "{cut:?}");
    }
    client.report("closed").await;
    assert_eq!(client.reports("error").len(), 0);
    assert_eq!(world.server.calls().await, CUTS.len());
    let sent = world.network.sent_by_clients();
    assert_eq!(sent.matches("\"tools/call\"").count(), CUTS.len());
    assert!(sent.contains("last-event-id: s1."));
}

/// What one call has reported.
fn progress(client: &Process, call: u64) -> Vec<f64> {
    let reports = client.reports("progress");
    let of_call = reports.iter().filter(|report| report["call"] == call);
    of_call
        .map(|report| report["progress"].as_f64().unwrap())
        .collect()
}

/// It comes back twice: that there is nothing left is no answer to it.
#[tokio::test]
async fn a_call_whose_server_is_lost_fails_in_python() {
    let exhausted = "SSE stream ended and reconnection attempts were exhausted";
    fail(Sdk::Python, exhausted, 2).await;
}

#[tokio::test]
async fn a_call_whose_server_is_lost_times_out_in_typescript_1() {
    fail(Sdk::TypeScript1, "MCP error -32001: Request timed out", 1).await;
}

#[tokio::test]
async fn a_call_whose_server_is_lost_times_out_in_typescript_2() {
    fail(Sdk::TypeScript2, "Request timed out", 1).await;
}

/// No success without a response, and no second call.
async fn fail(sdk: Sdk, message: &str, resumes: usize) {
    for kind in [Kind::Python, Kind::Rmcp] {
        let mut world = World::of(kind).await;
        let mut client = world.client_for(sdk, 1, 15).await;
        client.report("token").await;
        world.server.step().await;
        client.report("progress").await;
        world.upstream.cut();
        let error = client.report("error").await;
        assert_eq!(error["message"], message, "{kind:?}");
        client.report("closed").await;
        assert_eq!(client.reports("result").len(), 0);
        assert_eq!(world.server.calls().await, 1);
        let sent = world.network.sent_by_clients();
        assert_eq!(sent.matches("last-event-id").count(), resumes, "{kind:?}");
        // One for what a server says without being asked.
        assert_eq!(sent.matches("get /mcp").count(), resumes + 1, "{kind:?}");
    }
}
