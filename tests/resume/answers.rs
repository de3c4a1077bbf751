//! Whether an answer is whole, and how long one runs that nobody reads.

use tower_sse::SseLayer;
use tower_sse::resume::profile::Profile;
use tower_sse::stream::policy::{Linger, Marker};

use crate::support::{App, End, Script, Upstream, event, post, quiet, secs, sse};

fn done() -> SseLayer {
    SseLayer::new().finish(Marker::Data("[DONE]".into()))
}

/// Many clients take a clean end for success.
#[tokio::test(start_paused = true)]
async fn an_answer_without_its_last_event_is_aborted_however_its_connection_ended() {
    let text = event(1) + &event(2);
    for cut in [false, true] {
        let text = text.clone();
        let upstream = Upstream::new(move |_| {
            let text = text.clone();
            sse(if cut {
                Script::cut_after(text)
            } else {
                Script::of(text)
            })
        });
        let app = App::new(&done(), &upstream);
        let (events, end) = app.post("/chat", "").await.rest().await;
        assert!(matches!(end, End::Aborted(_)), "{end:?}");
        // Whoever comes later is told the same.
        let mut late = app.post("/chat", &events[0].id).await;
        assert_eq!(late.rest_data().await, (vec!["2".into()], end));
        assert_eq!(upstream.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_its_last_event_ends_cleanly_however_its_connection_ended() {
    let text = event(1) + &event("[DONE]");
    for cut in [false, true] {
        let text = text.clone();
        let upstream = Upstream::new(move |_| {
            let text = text.clone();
            sse(if cut {
                Script::cut_after(text)
            } else {
                Script::of(text)
            })
        });
        let app = App::new(&done(), &upstream);
        let (events, end) = app.post("/chat", "").await.rest().await;
        assert_eq!((events.len(), end), (2, End::Clean));
        let mut late = app.post("/chat", &events[0].id).await;
        assert_eq!(late.rest_data().await, (vec!["[DONE]".into()], End::Clean));
    }
}

/// Cut at every byte: whole if and only if the last event was.
#[tokio::test(start_paused = true)]
async fn each_profile_tells_whole_from_cut() {
    let last = |profile| match profile {
        Profile::OpenAi | Profile::VercelAi => "data: [DONE]\n\n",
        Profile::Anthropic => "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        Profile::AgUi => "data: {\"type\":\"RUN_FINISHED\"}\n\n",
        Profile::GraphqlSse => "event: complete\n\n",
        Profile::A2a => "data: {\"result\":{\"final\":true}}\n\n",
        Profile::Mcp => "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n",
    };
    for (name, profile) in Profile::ALL {
        let text = "data: {\"type\":\"delta\",\"id\":1,\"text\":\"[DONE]\"}\n\n".to_owned()
            + last(profile);
        for len in 0..=text.len() {
            let part = text[..len].to_owned();
            let upstream = Upstream::new(move |_| sse(Script::of(part.clone())));
            let app = App::new(&SseLayer::profile(profile), &upstream);
            let (_, end) = app.post("/", "").await.rest().await;
            let whole = len == text.len();
            assert_eq!(
                end == End::Clean,
                whole,
                "{name}: {end:?} after {len} bytes"
            );
        }
    }
}

/// By GET, too: to ask again would be to execute it again.
#[tokio::test(start_paused = true)]
async fn a_get_is_not_repeated_after_its_last_event() {
    let upstream = Upstream::new(|_| sse(Script::of(event(1) + &event("[DONE]"))));
    let app = App::new(&done(), &upstream);
    let (events, end) = app.get("/chat", "").await.rest().await;
    assert_eq!((events.len(), end), (2, End::Clean));
    assert_eq!(app.get("/chat", &events[1].id).await.status(), 204);
    assert_eq!(upstream.count(), 1);
}

/// The last event came, and the connection stays open: who reads late is not
/// told that something is missing.
#[tokio::test(start_paused = true)]
async fn what_stays_open_after_its_last_event_is_whole() {
    let upstream = Upstream::new(|_| sse(Script::held_after(event(1) + &event("[DONE]"))));
    let app = App::new(&done(), &upstream);
    let mut client = app.post("/chat", "").await;
    let id = client.event().await.id;
    drop(client);
    tokio::time::sleep(secs(31)).await;
    let mut late = app.post("/chat", &id).await;
    assert_eq!(late.rest_data().await, (vec!["[DONE]".into()], End::Clean));
    assert_eq!(upstream.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_runs_unread_is_stopped_after_its_time() {
    let upstream = Upstream::piped();
    let layer = SseLayer::new().linger(Linger::Complete);
    let app = App::new(&layer.max_runtime(secs(300)), &upstream);
    drop(app.post("/chat", "").await);
    tokio::time::sleep(secs(299)).await;
    assert_eq!(upstream.open(), 1);
    tokio::time::sleep(secs(2)).await;
    assert_eq!(upstream.open(), 0);
}

/// Whoever leaves many answers has the latest of them run on.
#[tokio::test(start_paused = true)]
async fn a_principal_has_only_so_many_run_unread() {
    let upstream = Upstream::piped();
    let layer = SseLayer::new().linger(Linger::Complete).max_detached(2);
    let app = App::new(&layer, &upstream);
    let ask = |who: &str| app.send(post("/chat").header("authorization", who));
    let read = ask("alice").await;
    let mut left = Vec::new();
    for n in 1..=3 {
        let mut client = ask("alice").await;
        upstream.pipe(n).send(event(n));
        left.push(client.event().await.id);
        drop(client);
        quiet().await;
    }
    // What is read does not count, nor does what others leave.
    drop(ask("bob").await);
    drop(ask("").await);
    quiet().await;
    assert_eq!(upstream.open(), 1 + 2 + 1 + 1);
    let back = |id: &str| {
        let request = post("/chat").header("authorization", "alice");
        app.send(request.header("last-event-id", id))
    };
    let stopped = End::Aborted("event stream cut: too many answers unread".into());
    assert_eq!(back(&left[0]).await.rest_data().await, (vec![], stopped));
    // One that is read again makes room.
    let mut second = back(&left[1]).await;
    quiet().await;
    drop(read);
    quiet().await;
    upstream.pipe(2).send(event(9));
    assert_eq!(second.event().await.data, "9");
    assert_eq!(upstream.open(), 5);
}

/// Nobody waits for the slowest of those who read one answer.
#[tokio::test(start_paused = true)]
async fn several_may_read_one_answer() {
    let upstream = Upstream::piped();
    let app = App::new(&done(), &upstream);
    let mut first = app.post("/chat", "").await;
    upstream.pipe(0).send(event(1));
    let id = first.event().await.id;
    let mut others = Vec::new();
    for _ in 0..10 {
        others.push(app.post("/chat", &id).await);
    }
    drop(first);
    upstream.pipe(0).send(event(2) + &event("[DONE]"));
    upstream.end();
    for other in &mut others {
        let rest = vec!["2".to_owned(), "[DONE]".into()];
        assert_eq!(other.rest_data().await, (rest, End::Clean));
    }
    assert_eq!(upstream.count(), 1);
}
