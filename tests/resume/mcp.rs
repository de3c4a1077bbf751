//! The Model Context Protocol: what a server without a memory for events gains,
//! and what is left alone.

use http::request::Builder;
use serde_json::json;
use tower_sse::SseLayer;
use tower_sse::resume::profile::Profile;

use crate::support::{
    App, Call, Client, End, Reply, Script, UNKNOWN, Upstream, get, post, quiet, secs, sse, status,
};

const NEW: &str = "2025-11-25";

fn app(upstream: &Upstream) -> App {
    App::new(&SseLayer::profile(Profile::Mcp), upstream)
}

fn at(request: Builder, version: &str) -> Builder {
    let request = request.header("mcp-session-id", "s1");
    request.header("mcp-protocol-version", version)
}

fn call() -> Builder {
    at(post("/mcp"), NEW)
}

fn back(id: &str) -> Builder {
    at(get("/mcp"), NEW).header("last-event-id", id)
}

fn message(text: &serde_json::Value) -> String {
    format!("event: message\ndata: {text}\n\n")
}

fn progress(n: u32) -> String {
    message(
        &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": n}}),
    )
}

fn response(id: u32) -> String {
    message(&json!({"jsonrpc": "2.0", "id": id, "result": {}}))
}

fn cut() -> End {
    End::Aborted("event stream cut: upstream ended before its last event".into())
}

/// The id of the event that a stream begins with, and what was sent before it.
async fn primed(client: &mut Client) -> String {
    client.chunk().await.unwrap();
    let text = String::from_utf8(client.bytes.clone()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], ":");
    assert!(lines[1].starts_with("retry: "), "{text}");
    assert_eq!(lines[2], "data:");
    assert_eq!(lines[4], "");
    client.page.take();
    lines[3].strip_prefix("id: ").unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_call_is_resumed_by_get_and_executed_once() {
    let upstream = Upstream::piped();
    let app = app(&upstream);
    let mut first = app.send(call()).await;
    let id = primed(&mut first).await;
    drop(first);
    tokio::time::sleep(secs(120)).await;
    assert_eq!(upstream.open(), 1, "a lost connection is no cancellation");
    upstream.pipe(0).send(progress(1) + &progress(2));
    let mut second = app.send(back(&id)).await;
    assert_eq!((second.status(), second.resumed()), (200, "exact"));
    // Who comes back may be lost again before an event.
    assert_eq!(primed(&mut second).await, id);
    let seen = second.event().await;
    drop(second);
    upstream.pipe(0).send(response(1));
    upstream.end();
    let mut third = app.send(back(&seen.id)).await;
    assert_eq!(primed(&mut third).await, seen.id);
    let (events, end) = third.rest().await;
    assert_eq!((events.len(), end), (2, End::Clean));
    assert!(events[1].data.contains("\"result\""));
    let mut last = app.send(back(&events[1].id)).await;
    assert_eq!(last.status(), 405, "{}", last.text().await.0);
    assert_eq!(upstream.count(), 1);
}

/// Whoever waits for a response is not told that there is none to come.
#[tokio::test(start_paused = true)]
async fn a_call_without_its_response_is_aborted() {
    let upstream = Upstream::new(|_| sse(Script::of(progress(1))));
    let app = app(&upstream);
    let (events, end) = app.send(call()).await.rest().await;
    assert_eq!(end, cut());
    let (events, end) = app.send(back(&events[0].id)).await.rest().await;
    assert_eq!(end, cut(), "whoever missed some");
    let last = &events.last().unwrap().id;
    assert_eq!(app.send(back(last)).await.status(), 405);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn older_clients_are_not_primed() {
    for version in ["2025-03-26", "2025-06-18"] {
        let upstream = Upstream::piped();
        let app = app(&upstream);
        let mut client = app.send(at(post("/mcp"), version)).await;
        assert_eq!(client.chunk().await.unwrap(), ":\n");
        upstream.pipe(0).send(response(1));
        assert!(client.event().await.id.starts_with("s1."));
    }
}

/// The first request has neither the version in its head nor the session.
#[tokio::test(start_paused = true)]
async fn the_first_stream_belongs_to_the_session_it_begins() {
    let upstream = Upstream::new(|_| {
        let mut answer = sse(Script::held_after(""));
        answer
            .headers_mut()
            .insert("mcp-session-id", "s1".parse().unwrap());
        answer
    });
    let app = app(&upstream);
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {"protocolVersion": NEW}});
    let mut client = app.send_body(post("/mcp"), &initialize.to_string()).await;
    let id = primed(&mut client).await;
    assert_eq!(upstream.last_call().body, initialize.to_string());
    assert_eq!(app.send(back(&id)).await.status(), 200);
    let other = at(get("/mcp"), NEW).header("last-event-id", &id);
    let other = other.header("authorization", "somebody else");
    assert_eq!(app.send(other).await.status(), 400);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_whole_with_the_last_of_its_responses() {
    for (bring, end) in [(1, cut()), (2, End::Clean)] {
        let text: String = (1..=bring).map(response).collect();
        let upstream = Upstream::new(move |_| sse(Script::of(text.clone())));
        let batch = json!([{"id": 1, "method": "a"}, {"id": 2, "method": "b"}]);
        let request = post("/mcp").header("mcp-session-id", "s1");
        let mut client = app(&upstream).send_body(request, &batch.to_string()).await;
        assert_eq!(client.rest().await.1, end);
    }
}

/// Ids of another session, or of nobody's, say nothing.
#[tokio::test(start_paused = true)]
async fn other_sessions_streams_are_unknown() {
    let upstream = Upstream::piped();
    let app = app(&upstream);
    let mut client = app.send(call()).await;
    let id = primed(&mut client).await;
    let request = |session: &str, id: &str| {
        let request = get("/mcp").header("mcp-session-id", session);
        request
            .header("mcp-protocol-version", NEW)
            .header("last-event-id", id)
    };
    let mut texts = Vec::new();
    for (session, id) in [("s2", id.as_str()), ("s1", UNKNOWN), ("s1", "s1.nonsense")] {
        let mut answer = app.send(request(session, id)).await;
        assert_eq!(answer.status(), 400);
        texts.push(answer.text().await.0);
    }
    assert!(
        texts
            .iter()
            .all(|text| text == &texts[0] && text.contains("\"jsonrpc\""))
    );
    assert_eq!(upstream.count(), 1, "none of these went upstream");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_takes_its_streams_along() {
    for end in ["DELETE", "404"] {
        let upstream = Upstream::piped_unless(|call: &Call| match call.method.as_str() {
            "DELETE" => Some(Reply::Answer(status(200))),
            _ if call.body == "unknown" => Some(Reply::Answer(status(404))),
            _ => None,
        });
        let app = app(&upstream);
        let mut client = app.send(call()).await;
        let id = primed(&mut client).await;
        let mut standing = app.send(at(get("/mcp"), NEW)).await;
        primed(&mut standing).await;
        let other = post("/mcp").header("mcp-session-id", "s2");
        let _other = app.send(other.header("mcp-protocol-version", NEW)).await;
        assert_eq!(upstream.open(), 3);
        if end == "DELETE" {
            app.send(at(get("/mcp").method("DELETE"), NEW)).await;
        } else {
            app.send_body(call(), "unknown").await;
        }
        quiet().await;
        let over = End::Aborted("event stream cut: its session is over".into());
        assert_eq!(client.rest().await.1, over);
        assert_eq!(standing.rest().await.1, over);
        drop((client, standing));
        quiet().await;
        assert_eq!(app.send(back(&id)).await.status(), 400, "{end}");
        assert_eq!(upstream.open(), 1, "the other session's goes on, {end}");
    }
}

/// A server that keeps events knows itself what follows one.
#[tokio::test(start_paused = true)]
async fn an_upstream_with_ids_is_left_alone() {
    let upstream = Upstream::piped();
    let app = app(&upstream);
    let mut client = app.send(call()).await;
    primed(&mut client).await;
    upstream.pipe(0).send("id: up-1\ndata: \n\n");
    upstream.pipe(0).send(format!("id: up-2\n{}", progress(1)));
    assert_eq!(client.event().await.id, "up-1");
    assert_eq!(client.event().await.id, "up-2");
    drop(client);
    quiet().await;
    assert_eq!(
        upstream.open(),
        0,
        "it is not read behind its client's back"
    );
    let mut resumed = app.send(back("up-2")).await;
    assert_eq!(upstream.last_call().last_event_id(), "up-2");
    upstream.pipe(1).send(format!("id: up-3\n{}", response(1)));
    assert_eq!(resumed.event().await.id, "up-3");
    // What it ends, ends: its client knows where to go on.
    upstream.end();
    assert_eq!(resumed.rest().await.1, End::Clean);
}

/// It may close a stream whenever it likes, its client comes back.
#[tokio::test(start_paused = true)]
async fn an_upstream_with_ids_may_close_a_stream_before_its_response() {
    let upstream = Upstream::new(|_| sse(Script::of("id: up-1\nretry: 500\ndata: \n\n")));
    let (events, end) = app(&upstream).send(call()).await.rest().await;
    assert_eq!(
        (events.last().unwrap().id.as_str(), end),
        ("up-1", End::Clean)
    );
    assert_eq!(upstream.count(), 1);
}

/// What a server has to say without being asked comes over one GET, however
/// often its connection is lost.
#[tokio::test(start_paused = true)]
async fn a_standing_stream_is_kept_up() {
    let upstream = Upstream::piped();
    let app = app(&upstream);
    let mut client = app.send(at(get("/mcp"), NEW)).await;
    let id = primed(&mut client).await;
    upstream.pipe(0).send(progress(1));
    client.event().await;
    upstream.end();
    tokio::time::sleep(secs(2)).await;
    assert_eq!(upstream.count(), 2);
    upstream.pipe(0).send(progress(2));
    client.event().await;
    drop(client);
    let mut again = app.send(back(&id)).await;
    again.event().await;
    again.event().await;
    assert_eq!(upstream.count(), 2);
}

/// A client that was not given an id yet comes back without, and servers have
/// one such stream at a time.
#[tokio::test(start_paused = true)]
async fn a_standing_stream_is_not_opened_twice() {
    let upstream = Upstream::piped();
    let app = app(&upstream);
    let old = || at(get("/mcp"), "2025-06-18");
    let client = app.send(old()).await;
    drop(client);
    let mut client = app.send(old()).await;
    assert_eq!(upstream.count(), 1);
    upstream.pipe(0).send(progress(1));
    client.event().await;
    // Another's is another, and so is a second one beside it.
    let _other = app
        .send(old().header("authorization", "somebody else"))
        .await;
    let _beside = app.send(old()).await;
    assert_eq!(upstream.count(), 3);
}

/// There is no resuming any more, and to close is to cancel.
#[tokio::test(start_paused = true)]
async fn later_versions_pass_through() {
    let upstream = Upstream::piped();
    let app = app(&upstream);
    let request = at(post("/mcp"), "2026-07-28").header("last-event-id", "s1.x");
    let mut client = app.send(request).await;
    assert_eq!(upstream.last_call().last_event_id(), "");
    upstream.pipe(0).send(progress(1));
    assert_eq!(client.event().await.id, "");
    drop(client);
    quiet().await;
    assert_eq!(upstream.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_stream_goes_through() {
    let upstream = Upstream::new(|call: &Call| match call.method.as_str() {
        "GET" => status(405),
        _ => status(202),
    });
    let app = app(&upstream);
    assert_eq!(app.send(at(get("/mcp"), NEW)).await.status(), 405);
    assert_eq!(app.send(call()).await.status(), 202);
}
