//! Many clients of one upstream connection.

use futures_util::future::join_all;
use http::{HeaderName, Response};
use tokio::sync::oneshot;
use tower_sse::SseLayer;
use tower_sse::stream::policy::{Ids, Join};

use crate::support::{
    App, End, Reply, Script, Upstream, event, event_with_id, get, numbers, quiet, secs, sse,
    status, with_id,
};

const CLIENTS: usize = 200;

/// An upstream that thinks about its first requests until told.
fn thinking(first: usize) -> (Upstream, Vec<oneshot::Sender<Reply>>) {
    let (tell, mut told): (Vec<_>, Vec<_>) = (0..first).map(|_| oneshot::channel()).unzip();
    told.reverse();
    (
        Upstream::piped_unless(move |_| told.pop().map(Reply::Later)),
        tell,
    )
}

#[tokio::test(start_paused = true)]
async fn two_hundred_clients_read_one_upstream_connection() {
    let (upstream, mut tell) = thinking(1);
    let app = App::new(&SseLayer::new().shared(), &upstream);
    // All at once: whoever comes first asks, the others wait for it.
    let arrivals = tokio::spawn({
        let app = app.clone();
        async move { join_all((0..CLIENTS).map(|_| app.get("/e", ""))).await }
    });
    quiet().await;
    assert_eq!(upstream.count(), 1);
    let (pipe, body) = Script::pipe();
    let _ = tell.remove(0).send(sse(body).into());
    let mut clients = arrivals.await.unwrap();
    pipe.send((1..=10).map(event).collect::<String>());
    let mut ids = Vec::new();
    for client in &mut clients {
        assert_eq!(client.resumed(), "new");
        let mut events = Vec::new();
        while events.len() < 10 {
            events.push(client.event().await);
        }
        let data: Vec<_> = events.iter().map(|event| event.data.clone()).collect();
        assert_eq!(data, numbers(1..=10));
        ids.push(events[9].id.clone());
    }
    // One stream: everybody has the same ids.
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!((upstream.count(), upstream.open()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn where_a_client_joins_is_the_routes_choice() {
    for (join, expected) in [
        (Join::Live, numbers(21..=22)),
        (Join::Start, numbers(1..=22)),
        (Join::Tail(5), numbers(16..=22)),
        (Join::Tail(100), numbers(1..=22)),
        (Join::Tail(0), numbers(21..=22)),
    ] {
        let upstream = Upstream::piped();
        let app = App::new(&SseLayer::new().shared().join(join), &upstream);
        let mut first = app.get("/e", "").await;
        upstream
            .pipe(0)
            .send((1..=20).map(event).collect::<String>());
        assert_eq!(first.data(20).await, numbers(1..=20));
        let mut second = app.get("/e", "").await;
        upstream.pipe(0).send(event(21) + &event(22));
        assert_eq!(second.data(expected.len()).await, expected, "{join:?}");
        assert_eq!(upstream.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_upstream_is_let_go_when_nobody_has_read_for_long_enough() {
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new().shared(), &upstream);
    let mut clients = join_all((0..CLIENTS).map(|_| app.get("/e", ""))).await;
    upstream.pipe(0).send(event(1));
    let last = clients[0].event().await.id;
    clients.truncate(1);
    tokio::time::sleep(secs(300)).await;
    assert_eq!(upstream.open(), 1);
    clients.clear();
    tokio::time::sleep(secs(29)).await;
    assert_eq!(upstream.open(), 1);
    tokio::time::sleep(secs(2)).await;
    assert_eq!(upstream.open(), 0);
    // The log is kept: whoever comes back goes on, but may have missed some.
    let mut back = app.get("/e", &last).await;
    assert_eq!(back.resumed(), "gap");
    quiet().await;
    assert_eq!((upstream.count(), upstream.open()), (2, 1));
    upstream.pipe(1).send(event(2));
    assert_eq!(back.event().await.data, "2");
}

#[tokio::test(start_paused = true)]
async fn a_first_answer_that_is_no_stream_goes_to_each_client() {
    let upstream = Upstream::new(|call| status(if call.number % 2 == 0 { 503 } else { 404 }));
    let app = App::new(&SseLayer::new().shared(), &upstream);
    let clients = join_all((0..20).map(|_| app.get("/e", ""))).await;
    for mut client in clients {
        let code = client.status();
        assert!(matches!(code, 503 | 404));
        assert_eq!(client.text().await, (format!("status {code}"), End::Clean));
    }
    assert_eq!(upstream.count(), 20);
}

/// Whoever is first hangs up before there is an answer: one of those who wait
/// asks in its place, not all of them.
#[tokio::test(start_paused = true)]
async fn a_first_client_that_leaves_is_followed_by_one() {
    let (upstream, mut tell) = thinking(2);
    let app = App::new(&SseLayer::new().shared(), &upstream);
    let spawn = |count| {
        let app = app.clone();
        tokio::spawn(async move { join_all((0..count).map(|_| app.get("/e", ""))).await })
    };
    let first = spawn(1);
    quiet().await;
    let others = spawn(20);
    quiet().await;
    assert_eq!(upstream.count(), 1);
    first.abort();
    quiet().await;
    assert_eq!(upstream.count(), 2);
    let (pipe, body) = Script::pipe();
    let _ = tell.remove(1).send(sse(body).into());
    let mut clients = others.await.unwrap();
    pipe.send(event(1));
    for client in &mut clients {
        assert_eq!(client.event().await.data, "1");
    }
    assert_eq!((upstream.count(), upstream.open()), (2, 1));
}

/// The first attempt fails while many wait for it, and then all ask at once:
/// they still end up on one connection, whatever becomes of the second.
#[tokio::test(start_paused = true)]
async fn a_failed_first_attempt_does_not_multiply_connections() {
    for second in [200, 503] {
        let (upstream, mut tell) = thinking(2);
        let app = App::new(&SseLayer::new().shared(), &upstream);
        let arrivals = tokio::spawn({
            let app = app.clone();
            async move { join_all((0..20).map(|_| app.get("/e", ""))).await }
        });
        quiet().await;
        assert_eq!(upstream.count(), 1);
        let _ = tell.remove(0).send(status(503).into());
        quiet().await;
        // The others have answers in hand, but wait for whoever is first now.
        assert_eq!(upstream.count(), 20);
        let (pipe, body) = Script::pipe();
        let _ = tell.remove(0).send(match second {
            200 => sse(body).into(),
            code => status(code).into(),
        });
        let mut clients = arrivals.await.unwrap();
        clients.retain(|client| client.status() == 200);
        quiet().await;
        assert_eq!(upstream.open(), 1);
        pipe.send(event("hello"));
        (0..18).for_each(|n| upstream.pipe(n).send(event("hello")));
        assert_eq!(clients.len(), if second == 200 { 19 } else { 18 });
        let mut ids = Vec::new();
        for client in &mut clients {
            ids.push(client.event().await.id);
        }
        ids.dedup();
        assert_eq!(ids.len(), 1);
        app.get("/e", "").await;
        assert_eq!(upstream.count(), 20);
    }
}

/// The first client leaves before the upstream has answered.
#[tokio::test(start_paused = true)]
async fn a_first_client_that_leaves_does_not_take_the_others_along() {
    let (upstream, _tell) = thinking(1);
    let app = App::new(&SseLayer::new().shared(), &upstream);
    let first = tokio::spawn({
        let app = app.clone();
        async move { app.get("/e", "").await }
    });
    quiet().await;
    let others = tokio::spawn({
        let app = app.clone();
        async move { join_all((0..20).map(|_| app.get("/e", ""))).await }
    });
    quiet().await;
    first.abort();
    let mut clients = others.await.unwrap();
    quiet().await;
    assert_eq!(upstream.open(), 1);
    (0..upstream.count() - 1).for_each(|n| upstream.pipe(n).send(event("hello")));
    for client in &mut clients {
        assert_eq!(client.event().await.data, "hello");
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_go_upstream_only_as_part_of_the_key() {
    let upstream = Upstream::piped();
    let ask = |who: &str| {
        get("/e")
            .header("authorization", format!("Bearer {who}"))
            .header("cookie", format!("session={who}"))
            .header("proxy-authorization", "Basic x")
            .header("x-app", "mine")
    };
    let app = App::new(&SseLayer::new().shared(), &upstream);
    let _a = app.send(ask("a")).await;
    let _b = app.send(ask("b")).await;
    assert_eq!(upstream.count(), 1);
    let call = upstream.last_call();
    assert_eq!(call.header("x-app"), "mine");
    for name in ["authorization", "cookie", "proxy-authorization"] {
        assert_eq!(call.header(name), "", "{name}");
    }
    // Nor when the upstream is asked again.
    upstream.pipe(0).cut();
    tokio::time::sleep(secs(2)).await;
    assert_eq!(upstream.count(), 2);
    assert_eq!(upstream.last_call().header("authorization"), "");

    let layer = SseLayer::new()
        .shared()
        .key_header(http::header::AUTHORIZATION);
    let app = App::new(&layer, &upstream);
    let _a = app.send(ask("a")).await;
    let _b = app.send(ask("b")).await;
    assert_eq!(upstream.count(), 4);
    assert_eq!(upstream.last_call().header("authorization"), "Bearer b");
    assert_eq!(upstream.last_call().header("cookie"), "");
}

#[tokio::test(start_paused = true)]
async fn what_makes_two_requests_the_same() {
    let upstream = Upstream::piped();
    let layer = SseLayer::new()
        .shared()
        .key_header(HeaderName::from_static("x-tenant"))
        .ignore_query("t");
    let app = App::new(&layer, &upstream);
    let mut kept = vec![app.get("/e?a=1&b=2", "").await];
    for same in ["/e?b=2&a=1", "/e?a=1&b=2&t=99", "/e?a=1&b=2&lastEventId="] {
        kept.push(app.get(same, "").await);
        assert_eq!(upstream.count(), 1, "{same}");
    }
    for (n, other) in ["/e", "/f?a=1&b=2", "/e?a=1", "/e?a=1&b=3", "/e?a=1&a=1&b=2"]
        .iter()
        .enumerate()
    {
        kept.push(app.get(other, "").await);
        assert_eq!(upstream.count(), 2 + n, "{other}");
    }
    kept.push(app.send(get("/e?a=1&b=2").header("x-tenant", "t")).await);
    kept.push(app.send(get("/e?a=1&b=2").header("host", "other")).await);
    assert_eq!(upstream.count(), 8);
}

#[tokio::test(start_paused = true)]
async fn cookies_set_for_the_first_client_are_its_own() {
    let upstream = Upstream::new(|_| {
        Response::builder()
            .header("content-type", "text/event-stream")
            .header("set-cookie", "session=first")
            .header("x-app", "mine")
            .body(Script::held_after(event(1)))
            .unwrap()
    });
    let app = App::new(&SseLayer::new().shared(), &upstream);
    let first = app.get("/e", "").await;
    let second = app.get("/e", "").await;
    assert_eq!(
        (first.header("set-cookie"), second.header("set-cookie")),
        ("session=first", "")
    );
    assert_eq!(
        (first.header("x-app"), second.header("x-app")),
        ("mine", "mine")
    );
}

/// `auto`: the first event decides; every event has an id then.
#[tokio::test(start_paused = true)]
async fn ids_of_the_upstream_are_left_alone_where_there_are_any() {
    for (ids, first, ours) in [
        (Ids::Auto, event_with_id("u1", 1), false),
        (Ids::Auto, event(1), true),
        (Ids::Preserve, event_with_id("u1", 1), false),
        (Ids::Assign, event_with_id("u1", 1), true),
    ] {
        let upstream = Upstream::piped();
        let app = App::new(&SseLayer::new().shared().ids(ids), &upstream);
        let mut client = app.get("/e", "").await;
        upstream
            .pipe(0)
            .send(first + &event_with_id("u2", 2) + &event_with_id("u3", 3));
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(client.event().await.id);
        }
        if ours {
            assert!(seen.iter().all(|id| id.starts_with("s1.")), "{seen:?}");
        } else {
            assert_eq!(seen, ["u1", "u2", "u3"]);
        }
        let mut back = app.get("/e", &seen[1]).await;
        assert_eq!(back.resumed(), "exact");
        assert_eq!(back.event().await.data, "3");
        assert_eq!(upstream.count(), 1);
    }
}

/// A client with an id that only the upstream may know is served beside the
/// shared stream, and finds its way back into it.
#[tokio::test(start_paused = true)]
async fn an_id_that_is_not_indexed_is_for_the_upstream() {
    let upstream = Upstream::piped();
    let app = App::new(&SseLayer::new().shared(), &upstream);
    let mut first = app.get("/e", "").await;
    upstream.pipe(0).send(event_with_id("u5", 5));
    first.event().await;
    let mut old = app.get("/e", "u3").await;
    assert_eq!(upstream.count(), 2);
    assert_eq!(upstream.last_call().last_event_id(), "u3");
    upstream
        .pipe(1)
        .send(event_with_id("u4", 4) + &event_with_id("u5", 5));
    assert_eq!(old.data(2).await, ["4", "5"]);
    let last = old.page.last_id.clone();
    drop(old);
    quiet().await;
    assert_eq!(upstream.open(), 1);
    let mut back = app.get("/e", &last).await;
    assert_eq!((back.resumed(), upstream.count()), ("exact", 2));
    upstream.pipe(0).send(event_with_id("u6", 6));
    assert_eq!(back.event().await.data, "6");
}

/// A restarted proxy meets clients that hold its predecessor's ids.
#[tokio::test(start_paused = true)]
async fn ids_of_a_forgotten_log_lead_to_what_they_carry() {
    let upstream = Upstream::piped();
    let before = App::new(&SseLayer::new().shared().ids(Ids::Assign), &upstream);
    let mut client = before.get("/e", "").await;
    upstream
        .pipe(0)
        .send(event_with_id("u1", 1) + &event_with_id("u2", 2));
    let (first, second) = (client.event().await.id, client.event().await.id);

    let app = App::new(&SseLayer::new().shared().ids(Ids::Assign), &upstream);
    let mut clients = vec![app.send(with_id(get("/e"), &first)).await];
    assert_eq!(upstream.last_call().last_event_id(), "u1");
    upstream
        .pipe(1)
        .send(event_with_id("u2", 2) + &event_with_id("u3", 3));
    assert_eq!(clients[0].data(2).await, ["2", "3"]);
    // The others find their places in the new log.
    clients.push(app.get("/e", &first).await);
    clients.push(app.get("/e", &second).await);
    assert_eq!(upstream.count(), 2);
    assert_eq!(clients[1].data(2).await, ["2", "3"]);
    assert_eq!(clients[2].data(1).await, ["3"]);
}
