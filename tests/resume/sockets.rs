//! The same over real sockets, where a cut is a cut.

use std::time::Duration;

use tower::Layer;
use tower_sse::SseLayer;
use tower_sse::stream::policy::Linger;

use crate::support::socket::{Raw, serve};
use crate::support::{Browser, Script, Upstream, event, numbers, secs, sse};

const EVENTS: usize = 60;

fn sixty() -> String {
    (1..=EVENTS).map(event).collect()
}

/// The connection is closed after this many bytes of the body.
async fn cut_after(mut client: Raw, count: usize) -> Browser {
    client.read(count).await;
    let mut page = Browser::default();
    page.feed(&client.body[..count]);
    page
}

async fn cut_and_resume(method: &str, layer: fn() -> SseLayer) {
    let upstream = Upstream::new(|_| sse(Script::held_after(sixty())));
    let address = serve(layer().layer(upstream.clone())).await;
    let mut whole = Raw::ask(address, method, "").await;
    whole.data(EVENTS).await;
    for count in (2..whole.body.len()).step_by(191) {
        let before = upstream.count();
        let mut page = cut_after(Raw::ask(address, method, "").await, count).await;
        let had = page.take().len();
        let mut back = Raw::ask(address, method, &page.last_id).await;
        assert_eq!(back.data(EVENTS - had).await, numbers(had + 1..=EVENTS));
        let calls = if page.last_id.is_empty() { 2 } else { 1 };
        assert_eq!(upstream.count() - before, calls);
    }
}

#[tokio::test]
async fn a_private_stream_is_cut_and_resumed() {
    cut_and_resume("GET", SseLayer::new).await;
}

#[tokio::test]
async fn a_shared_stream_is_cut_and_resumed() {
    use tower_sse::stream::policy::Join;
    let upstream = Upstream::piped();
    let layer = SseLayer::new().shared().join(Join::Start);
    let address = serve(layer.layer(upstream.clone())).await;
    let mut first = Raw::ask(address, "GET", "").await;
    upstream.pipe(0).send(sixty());
    first.data(EVENTS).await;
    for count in (2..first.body.len()).step_by(97) {
        let mut page = cut_after(Raw::ask(address, "GET", "").await, count).await;
        let had = page.take().len();
        let mut back = Raw::ask(address, "GET", &page.last_id).await;
        assert_eq!(back.data(EVENTS - had).await, numbers(had + 1..=EVENTS));
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_post_is_cut_and_resumed() {
    cut_and_resume("POST", SseLayer::new).await;
}

/// The head and the first heartbeat do not wait for an event.
#[tokio::test]
async fn the_head_goes_out_at_once() {
    let upstream = Upstream::piped();
    let address = serve(SseLayer::new().layer(upstream.clone())).await;
    let mut client = Raw::ask(address, "GET", "").await;
    assert!(client.head.starts_with("http/1.1 200"), "{}", client.head);
    assert!(client.head.contains("transfer-encoding: chunked"));
    assert_eq!(client.chunk().await, Ok(Some(b":\n".to_vec())));
}

#[tokio::test]
async fn a_truncated_one_shot_is_seen_to_be_cut() {
    let upstream = Upstream::new(|call| {
        sse(if call.number == 0 {
            Script::cut_after(event(1))
        } else {
            Script::of(event(1))
        })
    });
    let address = serve(SseLayer::new().layer(upstream.clone())).await;
    for expected in [Err(()), Ok(None)] {
        let mut client = Raw::ask(address, "POST", "").await;
        client.data(1).await;
        assert_eq!(client.chunk().await, expected);
        // Whoever comes back gets the rest before it is cut again.
        let last = client
            .page
            .last_id
            .strip_suffix('1')
            .expect("the first event");
        let start = format!("{last}0");
        let mut again = Raw::ask(address, "POST", &start).await;
        assert_eq!(again.data(1).await, ["1"]);
        assert_eq!(again.chunk().await, expected);
    }
}

/// A closed connection is noticed although nothing is written to it.
#[tokio::test]
async fn a_client_that_is_gone_is_noticed() {
    let upstream = Upstream::piped();
    let layer = SseLayer::new().linger(Linger::For(Duration::ZERO));
    let address = serve(layer.layer(upstream.clone())).await;
    let client = Raw::ask(address, "POST", "").await;
    assert_eq!(upstream.open(), 1);
    drop(client);
    let let_go = async {
        while upstream.open() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(secs(30), let_go)
        .await
        .expect("let go of the upstream");
}
