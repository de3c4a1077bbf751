//! Requests that must be executed once, and the ends of their answers.

use tower_sse::SseLayer;
use tower_sse::resume::settings::{BufferSettings, Mode};
use tower_sse::stream::policy::Linger;

use crate::support::{
    App, End, Script, UNKNOWN, Upstream, event, get, numbers, post, quiet, secs, sse, with_id,
};

#[tokio::test(start_paused = true)]
async fn a_post_is_executed_once_however_often_it_is_resumed() {
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new(), &upstream);
    let mut client = app.post("/chat", "").await;
    assert_eq!(upstream.last_call().body, "asked");
    assert_eq!(upstream.last_call().method, "POST");
    for n in 1..=20 {
        upstream.pipe(0).send(event(n));
        let seen = client.event().await;
        assert_eq!(seen.data, n.to_string());
        drop(client);
        client = app.post("/chat", &seen.id).await;
        assert_eq!(client.resumed(), "exact");
    }
    assert_eq!(upstream.count(), 1);
    upstream.end();
    assert_eq!(client.rest_data().await, (vec![], End::Clean));
}

#[tokio::test(start_paused = true)]
async fn many_clients_may_resume_one_post() {
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new(), &upstream);
    let mut first = app.post("/chat", "").await;
    upstream.pipe(0).send(event(1) + &event(2));
    let id = first.event().await.id;
    let mut second = app.post("/chat", &id).await;
    let mut third = app.get("/chat", &id).await;
    upstream.pipe(0).send(event(3));
    upstream.end();
    for client in [&mut first, &mut second, &mut third] {
        assert_eq!(client.rest_data().await, (numbers(2..=3), End::Clean));
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_id_is_refused_and_nothing_executed() {
    let upstream = Upstream::piped();
    for mode in [Mode::Auto, Mode::Shared, Mode::OneShot] {
        let app = App::new(&SseLayer::new().mode(mode), &upstream);
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let mut client = app
                .send(with_id(post("/chat").method(method), UNKNOWN))
                .await;
            assert_eq!(client.status(), 410);
            let (text, end) = client.text().await;
            assert!(text.contains("not executed") && end == End::Clean, "{text}");
        }
    }
    assert_eq!(upstream.count(), 0);
}

/// A clean end would be taken for success.
#[tokio::test(start_paused = true)]
async fn a_truncated_answer_is_aborted_however_often_it_is_read() {
    let upstream = Upstream::new(|_| sse(Script::cut_after(event(1) + &event(2) + "data: half")));
    let app = App::new(&SseLayer::new(), &upstream);
    let mut first = app.post("/chat", "").await;
    let (events, end) = first.rest().await;
    assert_eq!(events.len(), 2);
    let aborted = End::Aborted("event stream cut: upstream cut".into());
    assert_eq!(end, aborted);
    for (id, rest) in [
        (&events[0].id, vec!["2".to_owned()]),
        (&events[1].id, vec![]),
    ] {
        let mut again = app.post("/chat", id).await;
        assert_eq!(again.status(), 200);
        assert_eq!(again.rest_data().await, (rest, aborted.clone()));
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_complete_answer_ends_cleanly_however_often_it_is_read() {
    let upstream = Upstream::new(|_| sse(Script::of(event(1) + &event(2))));
    let app = App::new(&SseLayer::new(), &upstream);
    let (events, end) = app.post("/chat", "").await.rest().await;
    assert_eq!((events.len(), end), (2, End::Clean));
    let mut rest = app.post("/chat", &events[0].id).await;
    assert_eq!(rest.rest_data().await, (vec!["2".into()], End::Clean));
    let mut none = app.post("/chat", &events[1].id).await;
    assert_eq!(
        (none.status(), none.header("content-type")),
        (200, "text/event-stream")
    );
    assert_eq!(none.rest_data().await, (vec![], End::Clean));
    // 204 stops an `EventSource`.
    assert_eq!(app.get("/chat", &events[1].id).await.status(), 204);
    assert_eq!(upstream.count(), 1);
}

/// To a page of another origin, an answer that does not let it read is a lost
/// connection: it would come back for ever.
#[tokio::test(start_paused = true)]
async fn other_origins_may_read_that_it_is_over() {
    let upstream = Upstream::new(|_| {
        let mut answer = sse(Script::of(event(1)));
        for (name, value) in [
            ("access-control-allow-origin", "https://app.example"),
            ("access-control-allow-credentials", "true"),
            ("vary", "origin"),
            ("set-cookie", "a=b"),
        ] {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        answer
    });
    let app = App::new(&SseLayer::new().mode(Mode::OneShot), &upstream);
    let (events, _) = app.get("/report", "").await.rest().await;
    let over = app.get("/report", &events[0].id).await;
    assert_eq!(over.status(), 204);
    let allowed = over.header("access-control-allow-origin");
    assert_eq!(allowed, "https://app.example");
    assert_eq!(over.header("access-control-allow-credentials"), "true");
    assert_eq!(over.header("vary"), "origin");
    assert_eq!(over.header("set-cookie"), "");
}

#[tokio::test(start_paused = true)]
async fn a_finite_get_ends_with_204() {
    let upstream = Upstream::new(|_| sse(Script::of(event(1) + &event(2))));
    let app = App::new(&SseLayer::new().mode(Mode::OneShot), &upstream);
    let (events, end) = app.get("/report", "").await.rest().await;
    assert_eq!((events.len(), end), (2, End::Clean));
    let mut rest = app.get("/report", &events[0].id).await;
    assert_eq!(rest.rest_data().await, (vec!["2".into()], End::Clean));
    let mut over = app.get("/report", &events[1].id).await;
    assert_eq!(
        (over.status(), over.text().await),
        (204, (String::new(), End::Clean))
    );
    assert_eq!(upstream.count(), 1);
    drop((rest, over));
    // It is retained for ten minutes; after that it is not known any more.
    tokio::time::sleep(secs(601)).await;
    assert_eq!(app.get("/report", &events[1].id).await.resumed(), "gap");
    assert_eq!(upstream.count(), 2);
    assert_eq!(
        app.send(with_id(post("/report"), &events[1].id))
            .await
            .status(),
        410
    );
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn linger_zero_makes_a_disconnect_a_cancellation() {
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new().linger(Linger::For(secs(0))), &upstream);
    let mut client = app.post("/chat", "").await;
    upstream.pipe(0).send(event(1));
    let id = client.event().await.id;
    assert_eq!(upstream.open(), 1);
    drop(client);
    quiet().await;
    assert_eq!(upstream.open(), 0);
    let mut again = app.post("/chat", &id).await;
    assert_eq!(
        again.rest().await.1,
        End::Aborted("event stream cut: nobody read it".into())
    );
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_one_shot_lingers_for_those_who_come_back_soon() {
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new(), &upstream);
    let mut client = app.post("/chat", "").await;
    upstream.pipe(0).send(event(1));
    let id = client.event().await.id;
    drop(client);
    tokio::time::sleep(secs(29)).await;
    assert_eq!(upstream.open(), 1);
    let back = app.post("/chat", &id).await;
    tokio::time::sleep(secs(60)).await;
    assert_eq!(upstream.open(), 1);
    drop(back);
    tokio::time::sleep(secs(31)).await;
    assert_eq!(upstream.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn linger_complete_runs_to_the_end_unread() {
    let upstream = Upstream::piped();
    let layer = SseLayer::new().linger(Linger::Complete);
    let app = App::new(&layer.max_runtime(secs(1000)), &upstream);
    let mut client = app.post("/chat", "").await;
    upstream.pipe(0).send(event(1));
    let id = client.event().await.id;
    drop(client);
    for n in 2..=100 {
        tokio::time::sleep(secs(10)).await;
        upstream.pipe(0).send(event(n));
    }
    upstream.end();
    quiet().await;
    assert_eq!(upstream.open(), 0);
    let mut back = app.post("/chat", &id).await;
    assert_eq!(back.rest_data().await, (numbers(2..=100), End::Clean));
}

/// One that is unread and full waits; it is not trimmed, for it cannot be had
/// again.
#[tokio::test(start_paused = true)]
async fn a_full_one_shot_waits_for_its_reader() {
    let upstream = Upstream::new(|_| {
        let (pipe, body) = Script::pipe();
        (1..=1000).for_each(|n| pipe.send(event(n)));
        sse(body)
    });
    let small = BufferSettings {
        bytes: Some(4 << 10),
        ..BufferSettings::default()
    };
    let app = App::new(&SseLayer::new().buffer(small), &upstream);
    let mut client = app.post("/chat", "").await;
    let id = client.event().await.id;
    drop(client);
    tokio::time::sleep(secs(20)).await;
    let mut back = app.post("/chat", &id).await;
    assert_eq!(back.resumed(), "exact");
    assert_eq!(back.rest_data().await, (numbers(2..=1000), End::Clean));
}

/// The id of an upstream is the upstream's own business, by POST too.
#[tokio::test(start_paused = true)]
async fn an_id_of_the_upstreams_goes_upstream() {
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new(), &upstream);
    app.post("/chat", "u7").await;
    assert_eq!(upstream.last_call().last_event_id(), "u7");
    app.send(with_id(get("/chat"), "u8")).await;
    assert_eq!(upstream.last_call().last_event_id(), "u8");
}
