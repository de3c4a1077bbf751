//! Streams that are asked for by a name: to attach, to stop, to list.

use http::HeaderName;
use http::request::Builder;
use tokio::sync::oneshot;
use tower_sse::SseLayer;
use tower_sse::resume::settings::{NAME_WITHIN, NameSource, Repeat};
use tower_sse::stream::policy::Linger;

use crate::support::{
    App, Client, End, Reply, Script, Upstream, event, get, numbers, post, quiet, sse,
};

const CHAT: HeaderName = HeaderName::from_static("x-chat-id");

/// Chats are named in a header, and asked for at a path of their own.
fn layer() -> SseLayer {
    SseLayer::new()
        .key_name(NameSource::Header(CHAT))
        .attach("/chat/{key}/stream")
        .list("/chat/streams")
        .linger(Linger::Complete)
}

fn by_json() -> SseLayer {
    layer().key_name(NameSource::Json {
        pointer: "/id".into(),
        max: NAME_WITHIN,
    })
}

fn named(name: &str) -> Builder {
    post("/chat").header(CHAT, name)
}

fn of(name: &str) -> Builder {
    get(&format!("/chat/{name}/stream"))
}

fn stop(name: &str) -> Builder {
    of(name).method("DELETE")
}

async fn list(app: &App, request: Builder) -> serde_json::Value {
    let mut answer = app.send(request).await;
    assert_eq!(
        (answer.status(), answer.header("content-type")),
        (200, "application/json")
    );
    serde_json::from_str(&answer.text().await.0).unwrap()
}

fn stopped() -> End {
    End::Aborted("event stream cut: stopped by its client".into())
}

/// A page that is loaded again has nothing but the chat's id.
#[tokio::test(start_paused = true)]
async fn a_page_that_comes_back_gets_all_of_the_running_answer() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    assert_eq!(app.send(of("7")).await.status(), 204, "there is none yet");
    let mut first = app.send(named("7")).await;
    upstream.pipe(0).send(event(1) + &event(2));
    let id = first.event().await.id;
    drop(first);
    let mut back = app.send(of("7")).await;
    assert_eq!((back.status(), back.resumed()), (200, "exact"));
    let mut after = app.send(of("7").header("last-event-id", &id)).await;
    upstream.pipe(0).send(event(3));
    upstream.end();
    assert_eq!(back.rest_data().await, (numbers(1..=3), End::Clean));
    assert_eq!(after.rest_data().await, (numbers(2..=3), End::Clean));
    // What has ended is there for a while, too, but ends an `EventSource`.
    let mut late = app.send(of("7")).await;
    let (events, end) = late.rest().await;
    assert_eq!((events.len(), end), (3, End::Clean));
    let all = of("7").header("last-event-id", &events[2].id);
    assert_eq!(app.send(all).await.status(), 204);
    assert_eq!(app.send(of("8")).await.status(), 204);
    assert_eq!(upstream.count(), 1, "none of this went upstream");
}

#[tokio::test(start_paused = true)]
async fn the_name_may_be_in_the_body_which_goes_on_untouched() {
    let upstream = Upstream::piped();
    let app = App::new(&by_json(), &upstream);
    let long = "x".repeat(200 << 10);
    let body = format!("{{\"id\":\"a b/c\",\"messages\":[\"{long}\"]}}");
    let mut first = app.send_body(post("/chat"), &body).await;
    assert_eq!(upstream.last_call().body, body.as_bytes());
    upstream.pipe(0).send(event(1));
    upstream.end();
    assert_eq!(
        app.send(of("a%20b%2Fc")).await.rest_data().await,
        (numbers(1..=1), End::Clean)
    );
    assert_eq!(first.rest_data().await, (numbers(1..=1), End::Clean));
    // A name that comes too late in it is none.
    let body = format!("{{\"messages\":[\"{long}\"],\"id\":\"late\"}}");
    let _unnamed = app.send_body(post("/chat"), &body).await;
    assert_eq!(upstream.last_call().body, body.as_bytes());
    assert_eq!(app.send(of("late")).await.status(), 204);
}

/// Whose application gives no name has the key that we made.
#[tokio::test(start_paused = true)]
async fn a_stream_without_a_name_is_found_by_the_key_it_was_given() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    let client = app.post("/chat", "").await;
    let key = client.header("sse-stream").to_owned();
    assert_eq!(key.len(), 16);
    assert!(
        client
            .header("access-control-expose-headers")
            .contains("Sse-Stream")
    );
    let mut other = app.send(of(&key)).await;
    assert_eq!(other.header("sse-stream"), key);
    assert_eq!(app.send(stop(&key)).await.status(), 204);
    assert_eq!(other.rest_data().await, (vec![], stopped()));
    let plain = App::new(&SseLayer::new(), &upstream);
    assert_eq!(plain.post("/chat", "").await.header("sse-stream"), "");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_upstream_connection_at_once() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    let mut first = app.send(named("7")).await;
    upstream.pipe(0).send(event(1));
    let id = first.event().await.id;
    assert_eq!(upstream.open(), 1);
    assert_eq!(app.send(stop("7")).await.status(), 204);
    quiet().await;
    assert_eq!(upstream.open(), 0);
    assert_eq!(first.rest_data().await, (vec![], stopped()));
    // It was stopped, not completed, for whoever comes later as well.
    assert_eq!(
        app.post("/chat", &id).await.rest_data().await,
        (vec![], stopped())
    );
    assert_eq!(
        app.send(of("7")).await.rest_data().await,
        (numbers(1..=1), stopped())
    );
    assert_eq!(
        app.send(stop("7")).await.status(),
        204,
        "as often as you like"
    );
    assert_eq!(app.send(stop("8")).await.status(), 404);
    assert_eq!(upstream.count(), 1);
}

/// The stop button is there before the first word is.
#[tokio::test(start_paused = true)]
async fn a_request_can_be_stopped_before_it_is_answered() {
    let (_decide, decided) = oneshot::channel();
    let mut decided = Some(decided);
    let upstream = Upstream::new(move |_| decided.take().map_or(Reply::Unreachable, Reply::Later));
    let app = App::new(&layer(), &upstream);
    let asking = tokio::spawn({
        let app = app.clone();
        async move { app.send(named("7")).await.status() }
    });
    quiet().await;
    assert_eq!(upstream.count(), 1);
    assert_eq!(
        app.send(stop("7")).await.status(),
        404,
        "there is nothing any more"
    );
    assert_eq!(asking.await.unwrap(), 409);
    assert_eq!(app.send(of("7")).await.status(), 204);
}

#[tokio::test(start_paused = true)]
async fn a_new_request_takes_the_place_of_the_one_of_its_name() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    let mut old = app.send(named("7")).await;
    upstream.pipe(0).send(event(1));
    let id = old.event().await.id;
    let mut new = app.send(named("7")).await;
    quiet().await;
    assert_eq!((upstream.count(), upstream.open()), (2, 1));
    let superseded = End::Aborted("event stream cut: superseded".into());
    assert_eq!(old.rest_data().await, (vec![], superseded));
    upstream.pipe(1).send(event(2));
    assert_eq!(new.data(1).await, ["2"]);
    // The name leads to the new one, whatever id of the old is brought along.
    let mut back = app.send(of("7")).await;
    assert_eq!(back.data(1).await, ["2"]);
    let mut back = app.send(of("7").header("last-event-id", &id)).await;
    assert_eq!(back.resumed(), "gap");
    assert_eq!(back.data(1).await, ["2"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_request_may_be_refused_while_the_one_of_its_name_runs() {
    let upstream = Upstream::piped();
    let app = App::new(&layer().repeat(Repeat::Refuse), &upstream);
    let mut old = app.send(named("7")).await;
    assert_eq!(app.send(named("7")).await.status(), 409);
    upstream.pipe(0).send(event(1));
    upstream.end();
    assert_eq!(old.rest_data().await, (numbers(1..=1), End::Clean));
    assert_eq!(app.send(named("7")).await.status(), 200, "the chat goes on");
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_request_may_be_given_the_answer_of_the_one_of_its_name() {
    let upstream = Upstream::new(|_| sse(Script::of(event(1))));
    let app = App::new(&layer().repeat(Repeat::Attach), &upstream);
    for _ in 0..3 {
        assert_eq!(
            app.send(named("7")).await.rest_data().await,
            (numbers(1..=1), End::Clean)
        );
    }
    assert_eq!(upstream.count(), 1);
}

/// Whatever B asks for, it looks as if A had nothing.
#[tokio::test(start_paused = true)]
async fn names_are_everybodys_own() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    let as_a = |request: Builder| request.header("authorization", "alice");
    let as_b = |request: Builder| request.header("authorization", "bob");
    let mut a = app.send(as_a(named("7"))).await;
    upstream.pipe(0).send(event("secret of A"));
    let id = a.event().await.id;
    let key = a.header("sse-stream").to_owned();
    for guess in ["7", key.as_str()] {
        assert_eq!(app.send(as_b(of(guess))).await.status(), 204);
        assert_eq!(app.send(of(guess)).await.status(), 204);
        let with_id = as_b(of(guess)).header("last-event-id", &id);
        assert_eq!(app.send(with_id).await.status(), 204);
        assert_eq!(app.send(as_b(stop(guess))).await.status(), 404);
    }
    assert_eq!(
        list(&app, as_b(get("/chat/streams"))).await["streams"],
        serde_json::json!([])
    );
    assert_eq!(
        list(&app, get("/chat/streams")).await["streams"],
        serde_json::json!([])
    );
    // B may use the same name for something of its own.
    let mut b = app.send(as_b(named("7"))).await;
    upstream.pipe(1).send(event("of B"));
    assert_eq!(b.data(1).await, ["of B"]);
    quiet().await;
    assert_eq!(upstream.open(), 2, "A's goes on");
    assert_eq!(app.send(as_a(of("7"))).await.data(1).await, ["secret of A"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_what_it_has() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    let mine = |request: Builder| request.header("authorization", "alice");
    let mut first: Client = app.send(mine(named("7"))).await;
    let second = app.send(mine(post("/chat"))).await;
    upstream.pipe(0).send(event(1));
    first.event().await;
    let told = list(&app, mine(get("/chat/streams"))).await;
    let find = |key: &str| {
        let all = told["streams"].as_array().unwrap();
        assert_eq!(all.len(), 2);
        all.iter()
            .find(|entry| entry["key"] == key)
            .unwrap()
            .clone()
    };
    let entry = find("7");
    assert_eq!(entry["stream"], first.header("sse-stream"));
    assert_eq!(
        (&entry["state"], &entry["events"]),
        (&"running".into(), &1.into())
    );
    assert_eq!(entry["readers"], 1);
    assert_eq!(find(second.header("sse-stream"))["events"], 0);
    app.send(mine(stop("7"))).await;
    quiet().await;
    let told = list(&app, mine(get("/chat/streams"))).await;
    let states: Vec<_> = told["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["state"].clone())
        .collect();
    assert!(states.contains(&"aborted".into()), "{states:?}");
}

/// Other methods, and other paths, are the service's.
#[tokio::test(start_paused = true)]
async fn what_is_not_about_a_stream_goes_upstream() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    for request in [
        of("7").method("PUT"),
        of("7").method("OPTIONS"),
        get("/chat/7/stream/more"),
        get("/chat/a/b/stream"),
        get("/chat//stream"),
        post("/chat/streams"),
    ] {
        let before = upstream.count();
        app.send(request).await;
        assert_eq!(upstream.count(), before + 1);
    }
}
