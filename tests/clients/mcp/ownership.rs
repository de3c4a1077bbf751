//! A stream is for its session and its principal, and for as long as that
//! session lasts.

use super::{Kind, Sdk, World};
use crate::harness::{Process, curl};

#[tokio::test]
async fn nobody_else_resumes_a_call() {
    let mut world = World::of(Kind::Python).await;
    let mut client = world.client(Sdk::Python, 1).await;
    let id = id(&mut client).await;
    let session = session(&world);
    let resume = |session: &str, more: &[&str]| {
        let session = format!("mcp-session-id: {session}");
        let id = format!("last-event-id: {id}");
        request(&world, &[&["-H", &session, "-H", &id], more].concat())
    };
    let others = [
        resume("another", &[]),
        resume(&session, &["-H", "authorization: Bearer another"]),
    ];
    for mut other in others {
        assert_eq!(status(&mut other).await, "400");
    }
    let mut own = resume(&session, &[]);
    assert_eq!(status(&mut own).await, "200");
    for _ in 0..3 {
        world.server.step().await;
    }
    own.line("the response", |line| line.contains("counted to 2"))
        .await;
    client.report("result").await;
    assert_eq!(world.server.calls().await, 1);
}

#[tokio::test]
async fn a_session_that_is_ended_takes_its_calls_along() {
    let mut world = World::of(Kind::Python).await;
    let mut client = world.client(Sdk::Python, 1).await;
    let id = id(&mut client).await;
    let session = format!("mcp-session-id: {}", session(&world));
    let mut end = request(&world, &["-H", &session, "-X", "DELETE"]);
    assert_eq!(status(&mut end).await, "200");
    client.report("error").await;
    let id = format!("last-event-id: {id}");
    let mut late = request(&world, &["-H", &session, "-H", &id]);
    assert_eq!(status(&mut late).await, "400");
    assert_eq!(world.server.calls().await, 1);
}

/// What the client has been given to come back with.
async fn id(client: &mut Process) -> String {
    let token = client.report("token").await;
    token["id"].as_str().unwrap().to_owned()
}

fn session(world: &World) -> String {
    let sent = world.network.sent_by_clients();
    let (_, session) = sent.split_once("mcp-session-id: ").unwrap();
    session.lines().next().unwrap().to_owned()
}

fn request(world: &World, arguments: &[&str]) -> Process {
    let url = format!("{}/mcp", world.network.url());
    let headers = [
        "-H",
        "mcp-protocol-version: 2025-11-25",
        "-H",
        "accept: application/json, text/event-stream",
    ];
    curl(&[arguments, &headers, &[url.as_str()]].concat())
}

async fn status(client: &mut Process) -> String {
    let line = client
        .line("a status", |line| line.starts_with("HTTP/1.1 "))
        .await;
    line.split(' ').nth(1).unwrap().to_owned()
}
