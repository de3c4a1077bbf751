//! Every answer to `Last-Event-ID`, row by row: by header and by query, with
//! GET and POST, on private, shared and one-shot routes.

use http::request::Builder;
use tower_sse::SseLayer;
use tower_sse::observe::GapReason;
use tower_sse::resume::settings::{BufferSettings, Mode};
use tower_sse::stream::policy::{Ids, Join, OnGap, UpstreamResume};

use crate::support::{
    App, Call, Client, End, Script, Seen, UNKNOWN, Upstream, event, event_with_id, get, numbers,
    post, quiet, sse, with_id,
};

/// How a client brings its id.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Header,
    Snake,
    Camel,
}

const FORMS: [Form; 3] = [Form::Header, Form::Snake, Form::Camel];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Route {
    Private,
    PrivatePost,
    Shared,
    SharedPost,
    OneShot,
    OneShotPost,
}

const ROUTES: [Route; 6] = [
    Route::Private,
    Route::PrivatePost,
    Route::Shared,
    Route::SharedPost,
    Route::OneShot,
    Route::OneShotPost,
];

impl Route {
    fn is_get(self) -> bool {
        matches!(self, Self::Private | Self::Shared | Self::OneShot)
    }

    fn layer(self) -> SseLayer {
        SseLayer::new().join(Join::Start).mode(match self {
            Self::Private | Self::PrivatePost => Mode::Auto,
            Self::Shared | Self::SharedPost => Mode::Shared,
            Self::OneShot | Self::OneShotPost => Mode::OneShot,
        })
    }

    fn ask(self, uri: &str) -> Builder {
        if self.is_get() { get(uri) } else { post(uri) }
    }

    fn bring(self, form: Form, id: &str) -> Builder {
        match form {
            Form::Header => self.ask("/e?a=1").header("last-event-id", id),
            Form::Snake => self.ask(&format!("/e?last_event_id={id}&a=1")),
            Form::Camel => self.ask(&format!("/e?a=1&lastEventId={id}")),
        }
    }
}

/// A route on which one client has read five events of an open stream.
struct Bench {
    route: Route,
    app: App,
    upstream: Upstream,
    seen: std::sync::Arc<Seen>,
    ids: Vec<String>,
    client: Option<Client>,
}

impl Bench {
    async fn new(route: Route, layer: SseLayer, ids: bool) -> Self {
        let seen = Seen::new();
        let upstream = Upstream::piped();
        let app = App::new(&layer.observer(seen.clone()), &upstream);
        let mut client = app.send(route.ask("/e?a=1")).await;
        let text = |n| {
            if ids {
                event_with_id(format_args!("u{n}"), n)
            } else {
                event(n)
            }
        };
        upstream.pipe(0).send((1..=5).map(text).collect::<String>());
        let mut given = Vec::new();
        for _ in 0..5 {
            given.push(client.event().await.id);
        }
        Self {
            route,
            app,
            upstream,
            seen,
            ids: given,
            client: Some(client),
        }
    }

    async fn bring(&self, form: Form, id: &str) -> Client {
        self.app.send(self.route.bring(form, id)).await
    }

    /// The upstream was asked once more, and for what; nothing of ours reached
    /// it, and nothing is left of the parameters.
    fn asked_again(&self, id: &str) -> Call {
        let call = self.upstream.last_call();
        assert_eq!(self.upstream.count(), 2, "{:?}", self.route);
        assert_eq!(call.last_event_id(), id, "{:?}", self.route);
        assert_eq!(call.uri, "/e?a=1");
        call
    }

    fn not_asked_again(&self) {
        assert_eq!(self.upstream.count(), 1, "{:?}", self.route);
    }
}

#[tokio::test(start_paused = true)]
async fn none_begins_a_stream_or_joins_one() {
    for route in ROUTES {
        for form in FORMS {
            let bench = Bench::new(route, route.layer(), false).await;
            let mut client = bench.bring(form, "").await;
            assert_eq!(client.resumed(), "new");
            if route == Route::Shared {
                bench.not_asked_again();
                assert_eq!(client.data(5).await, numbers(1..=5));
            } else {
                bench.asked_again("");
            }
            assert_eq!(bench.seen.gaps(), []);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ours_and_retained_is_exact() {
    for route in ROUTES {
        for form in FORMS {
            for ids in [false, true] {
                let bench = Bench::new(route, route.layer(), ids).await;
                for (n, id) in bench.ids.iter().enumerate() {
                    let mut client = bench.bring(form, id).await;
                    assert_eq!(client.resumed(), "exact");
                    assert_eq!(client.data(4 - n).await, numbers(n + 2..=5), "{route:?}");
                }
                let mut live = bench.bring(form, &bench.ids[4]).await;
                bench.upstream.pipe(0).send(event(6));
                assert_eq!(live.data(1).await, ["6"]);
                bench.not_asked_again();
                assert_eq!(bench.seen.gaps(), []);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_stream_that_ended() {
    for route in [
        Route::PrivatePost,
        Route::SharedPost,
        Route::OneShot,
        Route::OneShotPost,
    ] {
        for form in FORMS {
            let mut bench = Bench::new(route, route.layer(), false).await;
            bench.upstream.end();
            let mut reader = bench.client.take().unwrap();
            assert_eq!(reader.rest_data().await, (vec![], End::Clean));
            // Events left: the rest, then the end as it was.
            let mut rest = bench.bring(form, &bench.ids[2]).await;
            assert_eq!(rest.resumed(), "exact");
            assert_eq!(rest.rest_data().await, (numbers(4..=5), End::Clean));
            // Fully read: 204 stops an `EventSource`, others get an empty stream.
            let mut none = bench.bring(form, &bench.ids[4]).await;
            let expected = if route.is_get() { 204 } else { 200 };
            assert_eq!(none.status(), expected);
            assert_eq!(none.rest_data().await, (vec![], End::Clean));
            bench.not_asked_again();
        }
    }
}

/// Private and shared streams are ended by their upstream's 204.
#[tokio::test(start_paused = true)]
async fn of_a_stream_that_its_upstream_ended() {
    for mode in [Mode::Auto, Mode::Shared] {
        let upstream = Upstream::new(|call| match call.number {
            0 => sse(Script::of(event(1) + &event(2))),
            _ => crate::support::status(204),
        });
        let app = App::new(&SseLayer::new().mode(mode), &upstream);
        let (events, end) = app.get("/e", "").await.rest().await;
        assert_eq!((events.len(), end), (2, End::Clean));
        let mut rest = app.get("/e", &events[0].id).await;
        assert_eq!(rest.rest_data().await, (vec!["2".into()], End::Clean));
        assert_eq!(app.get("/e", &events[1].id).await.status(), 204);
        assert_eq!(upstream.count(), 2);
    }
}

/// A bench whose first event is trimmed.
async fn trimmed(route: Route, on_gap: OnGap, layer: SseLayer) -> Bench {
    let buffer = BufferSettings {
        events: Some(10),
        bytes: Some(600),
        age: None,
    };
    let mut bench = Bench::new(route, layer.buffer(buffer).on_gap(on_gap), false).await;
    let client = bench.client.as_mut().unwrap();
    for n in 6..=50 {
        bench.upstream.pipe(0).send(event(n));
        assert_eq!(client.event().await.data, n.to_string());
    }
    bench
}

#[tokio::test(start_paused = true)]
async fn trimmed_away_and_continue() {
    for route in ROUTES {
        for form in FORMS {
            let bench = trimmed(route, OnGap::Continue, route.layer().gap_event("gap")).await;
            let mut client = bench.bring(form, &bench.ids[0]).await;
            assert_eq!((client.status(), client.resumed()), (200, "gap"));
            let gap = client.event().await;
            assert_eq!(gap.kind, "gap");
            let next: u64 = client.event().await.data.parse().unwrap();
            let lost = next - 2;
            assert!(next > 35 && gap.data == format!(r#"{{"reason":"trimmed","lost":{lost}}}"#));
            let comment = format!(" sse-resume gap reason=trimmed lost={lost}");
            assert!(
                client.page.comments.contains(&comment),
                "{:?}",
                client.page.comments
            );
            bench.not_asked_again();
            assert_eq!(bench.seen.gaps(), [GapReason::Trimmed]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trimmed_away_and_reset() {
    for route in ROUTES {
        let bench = trimmed(route, OnGap::Reset, route.layer()).await;
        let mut client = bench.bring(Form::Header, &bench.ids[0]).await;
        quiet().await;
        if route.is_get() {
            assert_eq!(
                (client.status(), client.resumed()),
                (200, "gap"),
                "{route:?}"
            );
            bench.asked_again("");
            bench.upstream.pipe(1).send(event("fresh"));
            assert_eq!(client.event().await.data, "fresh");
        } else {
            assert_eq!(client.status(), 410, "{route:?}");
            bench.not_asked_again();
        }
        assert_eq!(bench.seen.gaps()[0], GapReason::Trimmed);
    }
}

#[tokio::test(start_paused = true)]
async fn trimmed_away_and_close() {
    for route in ROUTES {
        for form in FORMS {
            let bench = trimmed(route, OnGap::Close, route.layer()).await;
            let mut client = bench.bring(form, &bench.ids[0]).await;
            assert_eq!(client.status(), if route.is_get() { 204 } else { 410 });
            assert_eq!(client.rest().await.1, End::Clean);
            bench.not_asked_again();
            assert_eq!(bench.seen.gaps(), [GapReason::Trimmed]);
        }
    }
}

fn beyond(id: &str) -> String {
    let mut parts: Vec<_> = id.split('.').collect();
    parts[2] = "99";
    parts.join(".")
}

#[tokio::test(start_paused = true)]
async fn ours_but_unknown_or_beyond_the_end() {
    for route in ROUTES {
        for form in FORMS {
            for unknown in [true, false] {
                let bench = Bench::new(route, route.layer(), false).await;
                let id = if unknown {
                    UNKNOWN.to_owned()
                } else {
                    beyond(&bench.ids[4])
                };
                let mut client = bench.bring(form, &id).await;
                if !route.is_get() {
                    assert_eq!(client.status(), 410);
                    bench.not_asked_again();
                    continue;
                }
                assert_eq!(
                    (client.status(), client.resumed()),
                    (200, "gap"),
                    "{route:?}"
                );
                assert_eq!(bench.seen.gaps(), [GapReason::UnknownId]);
                if route == Route::Shared {
                    bench.not_asked_again();
                    // Whatever it had, all that is retained may be news to it.
                    assert_eq!(client.data(5).await, numbers(1..=5));
                } else {
                    bench.asked_again("");
                }
                client.drain().unwrap();
                let comment = " sse-resume gap reason=unknown-id".to_owned();
                assert!(client.page.comments.contains(&comment));
            }
        }
    }
}

/// `u7`, carried in an id that nobody here gave.
const CARRIED: &str = "s1.AAAAAAAAAAAAAAAAAAAAAA.3.dTc";

#[tokio::test(start_paused = true)]
async fn ours_and_unknown_is_worth_what_it_carries() {
    for route in ROUTES {
        for form in FORMS {
            let bench = Bench::new(route, route.layer(), false).await;
            let client = bench.bring(form, CARRIED).await;
            if route.is_get() {
                assert_eq!((client.status(), client.resumed()), (200, "new"));
                bench.asked_again("u7");
            } else {
                assert_eq!(client.status(), 410);
                bench.not_asked_again();
            }
        }
        if route == Route::Private {
            let layer = route.layer().resume(UpstreamResume::LastEventId);
            let bench = Bench::new(route, layer, false).await;
            assert_eq!(bench.bring(Form::Header, CARRIED).await.resumed(), "exact");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_upstreams_and_indexed_is_exact() {
    for form in FORMS {
        for ids in [Ids::Auto, Ids::Preserve, Ids::Assign] {
            let bench = Bench::new(Route::Shared, Route::Shared.layer().ids(ids), true).await;
            for n in 1..=5 {
                let mut client = bench.bring(form, &format!("u{n}")).await;
                assert_eq!(client.resumed(), "exact");
                assert_eq!(client.data(5 - n).await, numbers(n + 1..=5));
            }
            bench.not_asked_again();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_upstreams_and_not_indexed_goes_upstream() {
    for route in ROUTES {
        for form in FORMS {
            let bench = Bench::new(route, route.layer(), true).await;
            let client = bench.bring(form, "x9").await;
            assert_eq!(
                (client.status(), client.resumed()),
                (200, "new"),
                "{route:?}"
            );
            bench.asked_again("x9");
        }
    }
}

/// Where ids are the upstream's, even one that looks like ours is.
#[tokio::test(start_paused = true)]
async fn preserved_ids_of_any_shape_are_the_upstreams() {
    for route in [Route::Private, Route::Shared] {
        let layer = route.layer().ids(Ids::Preserve);
        let bench = Bench::new(route, layer, true).await;
        bench.bring(Form::Header, UNKNOWN).await;
        bench.asked_again(UNKNOWN);
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_is_as_none_but_flagged() {
    let long = "x".repeat(1025);
    for route in ROUTES {
        let headers: [&[&[u8]]; 6] = [
            &[b"s1.nonsense"],
            &[long.as_bytes()],
            &["é".as_bytes()],
            &[b"a\tb"],
            &[b"u1", b"u1"],
            &[b"u1", b"u2"],
        ];
        for values in headers {
            let bench = Bench::new(route, route.layer(), true).await;
            let ask = values.iter().fold(route.ask("/e?a=1"), |ask, value| {
                ask.header("last-event-id", *value)
            });
            as_none_but_flagged(&bench, ask).await;
        }
        let long = format!("/e?a=1&last_event_id={long}");
        let queries = [
            "/e?last_event_id=s1.nonsense&a=1",
            &long,
            "/e?a=1&lastEventId=%C3%A9",
            "/e?a=1&lastEventId=%0A",
            "/e?lastEventId=u1&a=1&last_event_id=u1",
        ];
        for query in queries {
            let bench = Bench::new(route, route.layer(), true).await;
            as_none_but_flagged(&bench, route.ask(query)).await;
        }
    }
}

async fn as_none_but_flagged(bench: &Bench, ask: Builder) {
    let mut client = bench.app.send(ask).await;
    assert_eq!(
        (client.status(), client.resumed()),
        (200, "gap"),
        "{:?}",
        bench.route
    );
    assert_eq!(bench.seen.gaps(), [GapReason::MalformedId]);
    if bench.route == Route::Shared {
        bench.not_asked_again();
        assert_eq!(client.data(5).await, numbers(1..=5));
    } else {
        bench.asked_again("");
    }
    client.drain().unwrap();
    let comment = " sse-resume gap reason=malformed-id".to_owned();
    assert!(client.page.comments.contains(&comment));
}

#[tokio::test(start_paused = true)]
async fn the_header_wins_over_the_query() {
    for route in ROUTES {
        let bench = Bench::new(route, route.layer(), false).await;
        let stale = format!("/e?a=1&lastEventId={}", bench.ids[0]);
        let mut client = bench
            .app
            .send(with_id(route.ask(&stale), &bench.ids[3]))
            .await;
        assert_eq!(client.data(1).await, ["5"]);
        // An empty one is none.
        let ask = route.ask(&stale).header("last-event-id", "");
        assert_eq!(bench.app.send(ask).await.data(4).await, numbers(2..=5));
        bench.not_asked_again();
    }
}

/// A query parameter of that name in a request for something else is its own.
#[tokio::test(start_paused = true)]
async fn other_requests_keep_their_query() {
    let upstream = Upstream::new(|_| crate::support::status(200));
    let app = App::new(&SseLayer::new(), &upstream);
    let ask = http::Request::get("/list?last_event_id=7").header("accept", "application/json");
    app.send(ask).await;
    assert_eq!(upstream.last_call().uri, "/list?last_event_id=7");
}

/// Not even with requests that are not for the layer to answer.
#[tokio::test(start_paused = true)]
async fn our_ids_never_go_upstream() {
    let upstream = Upstream::new(|_| crate::support::status(200));
    for mode in [Mode::Auto, Mode::Shared, Mode::OneShot] {
        let app = App::new(&SseLayer::new().mode(mode), &upstream);
        for method in ["GET", "HEAD", "OPTIONS"] {
            let before = upstream.count();
            app.send(with_id(get("/e"), UNKNOWN).method(method)).await;
            assert_eq!(
                upstream.calls()[before].last_event_id(),
                "",
                "{mode:?} {method}"
            );
            app.send(with_id(get("/e"), "u7").method(method)).await;
            assert_eq!(upstream.last_call().last_event_id(), "u7");
        }
    }
}
