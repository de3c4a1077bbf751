//! An upstream that is cut after any byte. One client reads on all the while.

use std::sync::Arc;

use tower_sse::observe::GapReason;
use tower_sse::stream::policy::UpstreamResume;
use tower_sse::{SseLayer, observe::Signal};

use crate::support::{
    App, Call, Client, Reply, Script, Seen, Upstream, event, event_with_id, numbers, quiet, secs,
    sse,
};

const EVENTS: usize = 60;

fn after(last: usize) -> String {
    (last + 1..=EVENTS).map(|n| event_with_id(n, n)).collect()
}

/// How many whole blocks lie within the first `count` bytes.
fn whole(text: &str, count: usize) -> usize {
    text[..count].matches("\n\n").count()
}

/// Cut after `count` bytes; every later connection sends what `next` says.
fn cut(text: String, count: usize, next: impl Fn(usize) -> String + Send + 'static) -> Upstream {
    Upstream::new(move |call| {
        // Every other time it is a clean end: to an event stream, no better.
        if call.number > 0 {
            let last = call.last_event_id().parse().unwrap_or(0);
            return sse(Script::held_after(next(last)));
        }
        let begun = text.as_bytes()[..count].to_vec();
        sse(if count.is_multiple_of(2) {
            Script::of(begun)
        } else {
            Script::cut_after(begun)
        })
    })
}

fn gap_comments(client: &Client) -> Vec<&String> {
    let gap = |comment: &&String| comment.starts_with(" sse-resume gap");
    client.page.comments.iter().filter(gap).collect()
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_resumes_is_cut_unnoticed() {
    let total = after(0).len();
    for count in 0..=total {
        let seen = Seen::new();
        let layer = SseLayer::new()
            .resume(UpstreamResume::LastEventId)
            .observer(seen.clone());
        let upstream = cut(after(0), count, |last| after(last) + &event_with_id(61, 61));
        let mut client = App::new(&layer, &upstream).get("/e", "").await;
        assert_eq!(
            client.data(61).await,
            numbers(1..=61),
            "after {count} bytes"
        );
        assert_eq!(upstream.count(), 2);
        // Where nothing came before the cut, there was no id to ask with.
        if whole(&after(0), count) > 0 {
            assert_eq!(seen.gaps(), [], "after {count} bytes");
            assert_eq!(gap_comments(&client), Vec::<&String>::new());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_repeats_its_tail_is_cut_unnoticed() {
    let total = after(0).len();
    for count in 0..=total {
        let seen = Seen::new();
        let upstream = cut(after(0), count, move |_| {
            let have = whole(&after(0), count);
            after(have.saturating_sub(5)) + &event_with_id(61, 61)
        });
        let layer = SseLayer::new().observer(seen.clone());
        let mut client = App::new(&layer, &upstream).get("/e", "").await;
        assert_eq!(
            client.data(61).await,
            numbers(1..=61),
            "after {count} bytes"
        );
        if whole(&after(0), count) > 0 {
            assert_eq!(seen.gaps(), [], "after {count} bytes");
        }
    }
}

/// An upstream that is such a proxy itself says so where it could not resume,
/// whatever the route declares.
#[tokio::test(start_paused = true)]
async fn an_upstream_that_tells_of_a_gap_is_believed() {
    let upstream = Upstream::new(|call: &Call| {
        let mut answer = sse(Script::cut_after(event_with_id(call.number * 10, "x")));
        let resumed = if call.number == 1 { "exact" } else { "gap" };
        let value = resumed.parse().unwrap();
        answer.headers_mut().insert("sse-resume", value);
        answer
    });
    let seen = Seen::new();
    let layer = SseLayer::new().resume(UpstreamResume::LastEventId);
    let layer = layer.observer(seen.clone());
    let mut client = App::new(&layer, &upstream).get("/e", "").await;
    client.data(2).await;
    assert_eq!(seen.gaps(), []);
    client.data(1).await;
    assert_eq!(seen.gaps(), [GapReason::Upstream]);
    // And to a client that brings an id of that upstream's at first.
    let other = App::new(&layer, &upstream).get("/e", "10").await;
    assert_eq!(other.resumed(), "gap");
}

/// In its head, and again in a comment when it knows more: one gap.
#[tokio::test(start_paused = true)]
async fn a_gap_that_an_upstream_tells_of_twice_is_told_once() {
    let upstream = Upstream::new(|_: &Call| {
        let told = " sse-resume gap reason=trimmed lost=4\n";
        let text = format!(":\n:{told}{}", event_with_id(9, "x"));
        let mut answer = sse(Script::held_after(text));
        answer
            .headers_mut()
            .insert("sse-resume", "gap".parse().unwrap());
        answer
    });
    let seen = Seen::new();
    let layer = SseLayer::new().resume(UpstreamResume::LastEventId);
    let layer = layer.observer(seen.clone());
    let mut client = App::new(&layer, &upstream).get("/e", "4").await;
    assert_eq!(client.resumed(), "gap");
    assert_eq!(client.data(1).await, ["x"]);
    let gap = " sse-resume gap reason=upstream lost=4".to_owned();
    assert_eq!(gap_comments(&client), [&gap]);
    assert_eq!(seen.gaps(), [GapReason::Upstream]);
}

/// Ids that are not dense, and nothing repeated: nobody can tell.
#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_resume_leaves_a_gap() {
    let text: String = (1..=10).map(event).collect();
    for count in 0..=text.len() {
        let seen = Seen::new();
        let layer = SseLayer::new().gap_event("sse-gap").observer(seen.clone());
        let upstream = cut(text.clone(), count, |_| event("later"));
        let mut client = App::new(&layer, &upstream).get("/e", "").await;
        let had = whole(&text, count);
        assert_eq!(client.data(had).await, numbers(1..=had));
        let gap = client.event().await;
        assert_eq!(
            (&*gap.kind, &*gap.data),
            ("sse-gap", r#"{"reason":"upstream"}"#)
        );
        assert_eq!(client.event().await.data, "later");
        assert_eq!(gap_comments(&client).len(), 1, "after {count} bytes");
        assert_eq!(seen.gaps(), [GapReason::Upstream]);
        assert_eq!(client.page.empties, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn dense_ids_tell_how_many_events_are_lost() {
    let seen = Seen::new();
    let upstream = cut(after(0), 60, |_| event_with_id(50, 50));
    let layer = SseLayer::new().gap_event("gap").observer(seen.clone());
    let mut client = App::new(&layer, &upstream).get("/e", "").await;
    let had = whole(&after(0), 60);
    client.data(had).await;
    let lost = 49 - had;
    assert_eq!(
        client.event().await.data,
        format!(r#"{{"reason":"upstream","lost":{lost}}}"#)
    );
    assert_eq!(client.event().await.data, "50");
    let comment = format!(" sse-resume gap reason=upstream lost={lost}");
    assert_eq!(gap_comments(&client), [&comment]);
}

#[tokio::test(start_paused = true)]
async fn dense_ids_prove_that_nothing_is_lost() {
    let seen = Seen::new();
    let upstream = cut(after(0), 120, after);
    let layer = SseLayer::new().observer(seen.clone());
    let mut client = App::new(&layer, &upstream).get("/e", "").await;
    assert_eq!(client.data(EVENTS).await, numbers(1..=EVENTS));
    assert_eq!(seen.gaps(), []);
}

/// A seam before the first event is a seam: the client was promised what comes.
#[tokio::test(start_paused = true)]
async fn events_before_the_first_one_may_be_lost_too() {
    let seen = Seen::new();
    let upstream = cut(String::new(), 0, |_| event("first"));
    let layer = SseLayer::new().observer(seen.clone());
    let mut client = App::new(&layer, &upstream).get("/e", "").await;
    assert_eq!(client.event().await.data, "first");
    assert_eq!(seen.gaps(), [GapReason::Upstream]);
    assert_eq!(gap_comments(&client).len(), 1);
}

/// The notice of a gap is for every client that crosses it, however late it
/// reads, and whatever the upstream says next.
#[tokio::test(start_paused = true)]
async fn a_gap_is_told_to_a_client_that_lags() {
    let upstream = Upstream::piped();
    let layer = SseLayer::new().shared();
    let app = App::new(&layer, &upstream);
    let mut prompt = app.get("/e", "").await;
    let mut late = app.get("/e", "").await;
    upstream.pipe(0).send(event(1));
    quiet().await;
    upstream.pipe(0).cut();
    tokio::time::sleep(secs(2)).await;
    upstream
        .pipe(1)
        .send(": ping\n".to_owned() + &event(2) + ": pong\n");
    // One by one, so that they are published apart and kept together.
    for n in 3..=50 {
        upstream.pipe(1).send(event(n));
        quiet().await;
    }
    assert_eq!(prompt.data(50).await, numbers(1..=50));
    assert_eq!(gap_comments(&prompt).len(), 1);
    assert_eq!(late.data(50).await, numbers(1..=50));
    assert_eq!(gap_comments(&late).len(), 1);
    let at = |text: &str| String::from_utf8_lossy(&late.bytes).find(text);
    assert!(at("data: 1") < at("sse-resume gap") && at("sse-resume gap") < at("data: 2"));
}

/// A client that comes back to the far side of a gap is told in the head.
#[tokio::test(start_paused = true)]
async fn a_gap_is_told_to_a_client_that_comes_back() {
    let upstream = cut(event(1), 9, |_| event(2) + &event(3));
    let app = App::new(&SseLayer::new(), &upstream);
    let mut client = app.get("/e", "").await;
    let first = client.event().await;
    client.event().await;
    let third = client.event().await;
    assert_eq!(app.get("/e", &first.id).await.resumed(), "gap");
    assert_eq!(app.get("/e", &third.id).await.resumed(), "exact");
}

/// While nobody knows yet what the new connection will bring, nothing is exact.
#[tokio::test(start_paused = true)]
async fn a_seam_that_is_not_judged_yet_is_a_gap() {
    let upstream = Upstream::new(|call| match call.number {
        0 => sse(Script::cut_after(event(1))).into(),
        _ => Reply::Unreachable,
    });
    let app = App::new(&SseLayer::new(), &upstream);
    let first = app.get("/e", "").await.event().await;
    quiet().await;
    assert_eq!(app.get("/e", &first.id).await.resumed(), "gap");
}

/// Our ids mean nothing to an upstream; what they carry does.
#[tokio::test(start_paused = true)]
async fn an_upstream_is_asked_with_its_own_last_id() {
    let upstream = Upstream::new(|call| match call.number {
        0 => sse(Script::cut_after(
            event_with_id("a", 1) + &event(2) + "id: b\n\n" + "id: c\ndata: half",
        )),
        1 => sse(Script::cut_after("id\ndata: 3\n\n")),
        _ => sse(Script::held_after(event(4))),
    });
    let mut client = App::new(&SseLayer::new(), &upstream).get("/e", "").await;
    assert_eq!(client.data(4).await, numbers(1..=4));
    let asked: Vec<_> = upstream
        .calls()
        .iter()
        .map(|call| call.last_event_id().to_owned())
        .collect();
    assert_eq!(asked, ["", "b", ""]);
}

/// Equal events without ids are legal: they are not repetitions.
#[tokio::test(start_paused = true)]
async fn blocks_without_ids_are_never_taken_for_repetitions() {
    let upstream = cut(event("tick"), 12, |_| event("tick") + &event("tick"));
    let mut client = App::new(&SseLayer::new(), &upstream).get("/e", "").await;
    assert_eq!(client.data(3).await, ["tick", "tick", "tick"]);
}

/// The same id with other bytes is another event.
#[tokio::test(start_paused = true)]
async fn the_same_id_with_other_bytes_is_not_a_repetition() {
    let upstream = cut(event_with_id(1, "a"), 15, |_| event_with_id(1, "b"));
    let layer = SseLayer::new().shared();
    let mut client = App::new(&layer, &upstream).get("/e", "").await;
    let (a, b) = (client.event().await, client.event().await);
    assert_eq!((&*a.data, &*b.data), ("a", "b"));
    // In a log an id names one event only.
    assert_eq!(a.id, "1");
    assert!(b.id.starts_with("s1."), "{}", b.id);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_go_on_while_the_upstream_is_away() {
    let upstream = Upstream::new(|call| match call.number {
        0 => sse(Script::cut_after(event(1))).into(),
        _ => Reply::Unreachable,
    });
    let seen = Seen::new();
    let layer = SseLayer::new()
        .heartbeat(secs(5))
        .observer(Arc::clone(&seen) as _);
    let mut client = App::new(&layer, &upstream).get("/e", "").await;
    client.event().await;
    for _ in 0..10 {
        assert_eq!(client.chunk().await.unwrap(), ":\n");
    }
    assert_eq!(seen.count(Signal::Heartbeat), 10);
    assert!(upstream.count() > 2);
}
