//! What becomes of a stream when its upstream is lost: hidden, ended or given
//! up, depending on what the upstream says.

use http::Response;
use tokio::time::Instant;
use tower_sse::SseLayer;
use tower_sse::stream::policy::Reconnect;

use crate::support::{App, End, Reply, Script, Upstream, event, quiet, secs, sse, status};

/// One event, a cut, and then this.
fn then(next: impl Fn(usize) -> Reply + Send + 'static) -> Upstream {
    Upstream::new(move |call| match call.number {
        0 => sse(Script::cut_after(event(1))).into(),
        number => next(number),
    })
}

#[tokio::test(start_paused = true)]
async fn answers_that_end_a_stream_are_the_answer_to_whoever_comes_back() {
    for shared in [false, true] {
        for code in [204, 401, 403, 404, 410] {
            let upstream = then(move |_| status(code).into());
            let layer = if shared {
                SseLayer::new().shared()
            } else {
                SseLayer::new()
            };
            let app = App::new(&layer, &upstream);
            let (events, end) = app.get("/e", "").await.rest().await;
            assert_eq!((events.len(), end), (1, End::Clean), "{code}");
            for _ in 0..3 {
                let back = app.get("/e", &events[0].id).await;
                assert_eq!(back.status(), code);
            }
            assert_eq!(upstream.count(), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_hidden_until_the_upstream_is_back() {
    let upstream = then(|number| match number {
        1 => status(500).into(),
        2 => status(502).into(),
        3 => Reply::Unreachable,
        4 => status(429).into(),
        // Not an event stream: as good as no answer.
        5 => status(200).into(),
        _ => sse(Script::held_after(event(2))).into(),
    });
    let mut client = App::new(&SseLayer::new(), &upstream).get("/e", "").await;
    assert_eq!(client.data(2).await, ["1", "2"]);
    assert_eq!(upstream.count(), 7);
    assert_eq!(client.page.empties, 0);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for() {
    let upstream = then(|number| {
        if number == 1 {
            let mut away = status(503);
            away.headers_mut()
                .insert("retry-after", "120".parse().unwrap());
            return away.into();
        }
        sse(Script::held_after(event(2))).into()
    });
    let mut client = App::new(&SseLayer::new(), &upstream).get("/e", "").await;
    client.event().await;
    let begin = Instant::now();
    let mut beats = 0;
    while client.page.events.is_empty() {
        beats += usize::from(client.chunk().await.unwrap() == ":\n");
    }
    assert!((120..122).contains(&begin.elapsed().as_secs()));
    assert_eq!(beats, 8);
}

/// Sought again after at most the time the upstream asked for.
#[tokio::test(start_paused = true)]
async fn the_first_wait_is_bounded_by_the_upstreams_retry() {
    let upstream = Upstream::new(|call| match call.number % 2 {
        0 => sse(Script::of(format!("retry: 10\n{}", event("a")))),
        _ => sse(Script::of(event("b"))),
    });
    let mut client = App::new(&SseLayer::new(), &upstream).get("/e", "").await;
    let begin = Instant::now();
    client.data(50).await;
    // Fifty waits of up to ten milliseconds, one more for each timer's grain.
    assert!(
        begin.elapsed().as_millis() <= 50 * 11,
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_upstream_away_for_too_long_is_given_up() {
    let upstream = then(|_| Reply::Unreachable);
    let layer = SseLayer::new().reconnect(Reconnect {
        give_up_after: secs(60),
        ..Reconnect::default()
    });
    let app = App::new(&layer, &upstream);
    let mut client = app.get("/e", "").await;
    let id = client.event().await.id;
    let begin = Instant::now();
    let (_, end) = client.rest().await;
    assert_eq!(end, End::Aborted("event stream cut: upstream gone".into()));
    assert_eq!(begin.elapsed().as_secs(), 60);
    drop(client);
    // Nobody is there: it is not sought any more, until somebody is.
    let asked = upstream.count();
    tokio::time::sleep(secs(60)).await;
    assert_eq!(upstream.count(), asked);
    let _back = app.get("/e", &id).await;
    quiet().await;
    assert_eq!(upstream.count(), asked + 1);
}

/// What a browser meets during a deploy: without `hold`, 502 is the end of an
/// `EventSource`.
#[tokio::test(start_paused = true)]
async fn hold_keeps_clients_that_come_while_the_upstream_is_down() {
    for shared in [false, true] {
        let upstream = Upstream::new(|call| match call.number {
            0 => status(503).into(),
            1 => status(502).into(),
            2 => Reply::Unreachable,
            _ => Reply::from(sse(Script::held_after(event(1)))),
        });
        let mut layer = SseLayer::new().hold(secs(60)).heartbeat(secs(1));
        if shared {
            layer = layer.shared();
        }
        let mut client = App::new(&layer, &upstream).get("/e", "").await;
        assert_eq!(
            (client.status(), client.header("content-type")),
            (200, "text/event-stream")
        );
        assert_eq!(client.resumed(), "new");
        assert_eq!(client.header("cache-control"), "no-cache, no-transform");
        assert_eq!(client.chunk().await.unwrap(), ":\n");
        assert_eq!(client.event().await.data, "1");
        // Nothing was lost: there was nothing before.
        assert!(client.page.comments.iter().all(String::is_empty));
    }
}

#[tokio::test(start_paused = true)]
async fn hold_has_an_end() {
    let upstream = Upstream::new(|_| Reply::Unreachable);
    let layer = SseLayer::new().hold(secs(20)).heartbeat(secs(1));
    let app = App::new(&layer, &upstream);
    let mut client = app.get("/e", "").await;
    let begin = Instant::now();
    assert_eq!(
        client.rest().await.1,
        End::Aborted("event stream cut: upstream gone".into())
    );
    assert_eq!(begin.elapsed().as_secs(), 20);
    assert!(client.bytes.len() >= 2 * 20);
    // It is for GET only: what a POST would do is not known to be repeatable.
    assert!(app.try_send(crate::support::post("/e")).await.is_err());
}

/// Only what says that the upstream is away is held; the rest is its answer.
#[tokio::test(start_paused = true)]
async fn hold_is_not_for_refusals() {
    for code in [400, 401, 404, 500] {
        let upstream = Upstream::new(move |_| status(code));
        let app = App::new(&SseLayer::new().hold(secs(60)), &upstream);
        assert_eq!(app.get("/e", "").await.status(), code);
    }
}

/// Comments keep a client's connection alive, but they are no sign of events.
#[tokio::test(start_paused = true)]
async fn a_silent_upstream_is_replaced() {
    let upstream = Upstream::piped();
    let layer = SseLayer::new().upstream_idle(secs(45));
    let mut client = App::new(&layer, &upstream).get("/e", "").await;
    for _ in 0..5 {
        upstream.pipe(0).send(":\n");
        tokio::time::sleep(secs(8)).await;
    }
    assert_eq!(upstream.count(), 1);
    tokio::time::sleep(secs(7)).await;
    assert_eq!((upstream.count(), upstream.open()), (2, 1));
    upstream.pipe(1).send(event(1));
    assert_eq!(client.event().await.data, "1");
}

/// The head of the answer is the first one's, whatever later ones say.
#[tokio::test(start_paused = true)]
async fn a_reconnect_changes_nothing_for_the_client() {
    let upstream = Upstream::new(|call| {
        Response::builder()
            .header("content-type", "text/event-stream")
            .header("x-number", call.number)
            .body(Script::cut_after(event(call.number)))
            .unwrap()
    });
    let app = App::new(&SseLayer::new(), &upstream);
    let mut client = app.get("/e", "").await;
    assert_eq!(client.data(5).await, ["0", "1", "2", "3", "4"]);
    assert_eq!(client.header("x-number"), "0");
    let id = client.page.last_id.clone();
    assert_eq!(app.get("/e", &id).await.header("x-number"), "0");
}
