//! Servers that keep events, whose ids are theirs to answer to.

use super::{Kind, Sdk, World};

#[tokio::test]
async fn python_resumes_at_a_python_store() {
    resume(Sdk::Python, Kind::PythonWithStore).await;
}

#[tokio::test]
async fn typescript_1_resumes_at_a_python_store() {
    resume(Sdk::TypeScript1, Kind::PythonWithStore).await;
}

#[tokio::test]
async fn typescript_2_resumes_at_a_python_store() {
    resume(Sdk::TypeScript2, Kind::PythonWithStore).await;
}

#[tokio::test]
async fn python_resumes_at_rmcp() {
    resume(Sdk::Python, Kind::RmcpWithIds).await;
}

#[tokio::test]
async fn typescript_1_resumes_at_rmcp() {
    resume(Sdk::TypeScript1, Kind::RmcpWithIds).await;
}

#[tokio::test]
async fn typescript_2_resumes_at_rmcp() {
    resume(Sdk::TypeScript2, Kind::RmcpWithIds).await;
}

/// The server's ids reach the client, and come back to the server.
async fn resume(sdk: Sdk, kind: Kind) {
    let mut world = World::of(kind).await;
    let mut client = world.client(sdk, 1).await;
    world.server.step().await;
    client.report("progress").await;
    world.network.cut();
    let resumed = format!("last-event-id: {}", last_id(kind));
    world.upstream.sent(&resumed).await;
    if let Some(first) = first_id_of_a_resumed_stream(kind) {
        world.upstream.answered(first).await;
    }
    world.server.step().await;
    world.server.step().await;
    assert_eq!(client.report("result").await["text"], "counted to 2");
    assert_eq!(world.server.calls().await, 1);
    let upstream = world.upstream.sent_by_clients();
    assert!(!upstream.contains("last-event-id: s1."), "{upstream}");
}

/// What these servers call the first progress of a session's first call.
fn last_id(kind: Kind) -> &'static str {
    match kind {
        // After two for `initialize` and its own without data.
        Kind::PythonWithStore => "up-4",
        Kind::RmcpWithIds => "1/0",
        Kind::Python | Kind::Rmcp => unreachable!("they give none"),
    }
}

/// Primed, a stream has been resumed. What the Python server says between its
/// replay and that is in its store only, and lost to this connection: its own
/// race, with or without a proxy.
fn first_id_of_a_resumed_stream(kind: Kind) -> Option<&'static str> {
    (kind == Kind::PythonWithStore).then_some("id: up-5")
}
