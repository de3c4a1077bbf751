//! Whose a stream is. Somebody else's id is as good as an unknown one.

use http::HeaderName;
use http::request::Builder;
use tower_sse::SseLayer;
use tower_sse::resume::Claims;
use tower_sse::resume::profile::Profile;
use tower_sse::resume::settings::Credential;

use crate::support::{App, Client, UNKNOWN, Upstream, event, event_with_id, get, post, with_id};

const METHODS: [fn(&str) -> Builder; 2] = [get, post];

/// A head as text, and the first of the body.
async fn answer(client: &mut Client) -> String {
    let _ = client.chunk().await;
    let mut head: Vec<_> = client
        .head
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    head.sort();
    let body = String::from_utf8_lossy(&client.bytes);
    format!("{}\n{}\n{body}", client.status(), head.join("\n"))
}

/// A stream of A's, and its last id.
async fn stream_of_a(app: &App, upstream: &Upstream, ask: Builder, id: &str) -> String {
    let mut a = app.send(ask).await;
    upstream
        .pipe(upstream.count() - 1)
        .send(event_with_id(id, "secret of A"));
    a.event().await.id
}

fn same_carried(id: &str, unknown: &str) -> String {
    // What is carried must be the same, or the upstream is asked differently.
    let carried = id
        .splitn(4, '.')
        .nth(3)
        .map_or(String::new(), |c| format!(".{c}"));
    unknown.to_owned() + &carried
}

/// Both ids are brought by B; whatever B can see of the answers is the same.
async fn cannot_tell(layer: SseLayer, as_a: fn(Builder) -> Builder, as_b: fn(Builder) -> Builder) {
    for method in METHODS {
        for resumer in METHODS {
            let upstream = Upstream::piped();
            let app = App::new(&layer, &upstream);
            let of_a = stream_of_a(&app, &upstream, as_a(method("/e")), "u1").await;
            let unknown = same_carried(&of_a, UNKNOWN);
            let mut answers = Vec::new();
            let mut asked = Vec::new();
            for id in [&of_a, &unknown] {
                let before = upstream.count();
                let mut client = app.send(as_b(with_id(resumer("/e"), id))).await;
                answers.push(answer(&mut client).await);
                let calls = upstream.calls().split_off(before);
                asked.push(
                    calls
                        .iter()
                        .map(|call| call.last_event_id().to_owned())
                        .collect::<Vec<_>>(),
                );
            }
            assert_eq!(answers[0], answers[1]);
            assert_eq!(asked[0], asked[1]);
            assert!(!answers[0].contains("secret"), "{}", answers[0]);
            // A itself still has it.
            let mut a = app.send(as_a(with_id(resumer("/e"), &of_a))).await;
            assert_eq!(a.resumed(), "exact");
            let pipe = upstream.pipe(0);
            pipe.send(event("more of A"));
            assert_eq!(a.event().await.data, "more of A");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_authorization() {
    cannot_tell(
        SseLayer::new(),
        |ask| ask.header("authorization", "Bearer a"),
        |ask| ask.header("authorization", "Bearer b"),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_authorization() {
    cannot_tell(
        SseLayer::new(),
        |ask| ask.header("authorization", "Bearer a"),
        |ask| ask,
    )
    .await;
    cannot_tell(
        SseLayer::new(),
        |ask| ask,
        |ask| ask.header("authorization", "Bearer a"),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_cookie() {
    cannot_tell(
        SseLayer::new().principal([Credential::Cookie("session".into())]),
        |ask| ask.header("cookie", "theme=dark; session=a; x=1"),
        |ask| ask.header("cookie", "session=b; theme=dark; x=1"),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_header() {
    let key = HeaderName::from_static("x-api-key");
    cannot_tell(
        SseLayer::new().principal([Credential::Header(key)]),
        |ask| ask.header("x-api-key", "a"),
        |ask| ask.header("x-api-key", "b"),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_path_or_host_or_route() {
    let upstream = Upstream::piped();
    let layer = SseLayer::new();
    let app = App::new(&layer, &upstream);
    let other = App::new(&SseLayer::new(), &upstream);
    let id = stream_of_a(&app, &upstream, post("/e").header("host", "a"), "u1").await;
    for (app, ask) in [
        (&app, post("/f").header("host", "a")),
        (&app, post("/e").header("host", "b")),
        (&other, post("/e").header("host", "a")),
    ] {
        assert_eq!(app.send(with_id(ask, &id)).await.status(), 410);
    }
    let same = post("/e?t=1").header("host", "A");
    assert_eq!(app.send(with_id(same, &id)).await.resumed(), "exact");
}

/// Other cookies than the one named churn; they are not who somebody is.
#[tokio::test(start_paused = true)]
async fn other_cookies_make_no_difference() {
    let upstream = Upstream::piped();
    let by_session = SseLayer::new().principal([Credential::Cookie("session".into())]);
    let app = App::new(&by_session, &upstream);
    let a = get("/e").header("cookie", "session=a; visits=1");
    let id = stream_of_a(&app, &upstream, a, "u1").await;
    let later = with_id(get("/e"), &id).header("cookie", "visits=2; session=a");
    assert_eq!(app.send(later).await.resumed(), "exact");
    let without = with_id(get("/e"), &id).header("cookie", "visits=1");
    assert_ne!(app.send(without).await.resumed(), "exact");
}

/// Not all send their key in `Authorization`.
#[tokio::test(start_paused = true)]
async fn a_profile_knows_where_its_services_look_for_a_key() {
    let keys = [
        (Profile::OpenAi, "authorization"),
        (Profile::OpenAi, "api-key"),
        (Profile::Anthropic, "authorization"),
        (Profile::Anthropic, "x-api-key"),
    ];
    for (profile, header) in keys {
        let upstream = Upstream::piped();
        let app = App::new(&SseLayer::profile(profile), &upstream);
        let of_a = stream_of_a(&app, &upstream, post("/e").header(header, "alice"), "").await;
        let back = |who: &str| app.send(with_id(post("/e"), &of_a).header(header, who));
        assert_eq!(back("bob").await.status(), 410, "{profile:?}, {header}");
        assert_eq!(back("alice").await.status(), 200, "{profile:?}, {header}");
    }
}

/// A token that is renewed is another header and the same person.
#[tokio::test(start_paused = true)]
async fn a_claim_is_who_somebody_is_whatever_the_token() {
    let layer = SseLayer::new().principal([Credential::Claim("sub".into())]);
    let as_of = |ask: Builder, sub: &str, token: &str| {
        let claims: Claims = [("sub", sub)].into_iter().collect();
        ask.extension(claims).header("authorization", token)
    };
    let upstream = Upstream::piped();
    let app = App::new(&layer, &upstream);
    let a = as_of(get("/e"), "a", "token 1");
    let id = stream_of_a(&app, &upstream, a, "u1").await;
    let back = |sub, token| app.send(as_of(with_id(get("/e"), &id), sub, token));
    assert_eq!(back("a", "token 2").await.resumed(), "exact");
    assert_ne!(back("b", "token 1").await.resumed(), "exact");
    let without = with_id(get("/e"), &id).header("authorization", "token 1");
    assert_ne!(app.send(without).await.resumed(), "exact");
}
