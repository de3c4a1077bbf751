//! Bytes that go on as they are.

use tower_sse::SseLayer;
use tower_sse::resume::settings::Mode;

use crate::support::{
    App, Client, End, Script, UNKNOWN, Upstream, get, post, quiet, secs, sse, with_id,
};

fn layer() -> SseLayer {
    SseLayer::new().mode(Mode::Passthrough).heartbeat(secs(5))
}

async fn open(upstream: &Upstream) -> Client {
    let mut client = App::new(&layer(), upstream).get("/e", "").await;
    assert_eq!(client.chunk().await.unwrap(), ":\n");
    client.bytes.clear();
    client
}

#[tokio::test(start_paused = true)]
async fn every_byte_goes_on_verbatim() {
    let text = "id: 7\r\nevent:x\r\ndata: 1\r\rdata\n\n\n\n: note\n\nretry: 5\n\nid\n\nunfinished";
    for size in 1..text.len() {
        let upstream = Upstream::piped();
        let mut client = open(&upstream).await;
        for part in text.as_bytes().chunks(size) {
            upstream.pipe(0).send(part.to_vec());
        }
        upstream.end();
        assert_eq!(client.text().await, (text.to_owned(), End::Clean));
    }
}

/// After the first heartbeat a byte order mark would spoil the first field.
#[tokio::test(start_paused = true)]
async fn a_leading_byte_order_mark_is_taken_off() {
    for size in 1..8 {
        let upstream = Upstream::piped();
        let mut client = open(&upstream).await;
        for part in "\u{feff}data: 1\n\n".as_bytes().chunks(size) {
            upstream.pipe(0).send(part.to_vec());
            quiet().await;
            client.drain().unwrap();
        }
        assert_eq!(client.bytes, b"data: 1\n\n");
        assert_eq!(client.event().await.data, "1");
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_lie_between_blocks_only() {
    let upstream = Upstream::piped();
    let mut client = open(&upstream).await;
    let mut expected = String::new();
    for (part, between) in [
        ("da", false),
        ("ta: 1", false),
        ("\n", false),
        ("\n", true),
        (": comm", false),
        ("ent\n", true),
        ("data: 2\r\n\r\n", true),
        // The LF of a CRLF may be on its way.
        ("data: 3\r\n\r", false),
        ("\n", true),
        ("event: x\n", false),
        ("\n", true),
    ] {
        upstream.pipe(0).send(part);
        client.drain().unwrap();
        tokio::time::sleep(secs(6)).await;
        client.drain().unwrap();
        expected.push_str(part);
        if between {
            expected.push_str(":\n");
        }
        assert_eq!(String::from_utf8_lossy(&client.bytes), expected);
    }
    assert_eq!(client.page.take().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn it_ends_as_its_upstream_does() {
    let upstream = Upstream::new(|call| {
        sse(if call.number == 0 {
            Script::cut_after("data: 1\n\n")
        } else {
            Script::of("data: 1\n\n")
        })
    });
    let app = App::new(&layer(), &upstream);
    let cut = End::Aborted("connection reset by the test".into());
    assert_eq!(
        app.get("/e", "").await.rest_data().await,
        (vec!["1".into()], cut)
    );
    assert_eq!(
        app.post("/e", "").await.rest_data().await,
        (vec!["1".into()], End::Clean)
    );
    assert_eq!(upstream.count(), 2);
}

/// It gives no ids, so it takes none for its own.
#[tokio::test(start_paused = true)]
async fn ids_are_between_client_and_upstream() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    for ask in [get("/e?lastEventId=3"), post("/e?lastEventId=3")] {
        let client = app.send(with_id(ask, UNKNOWN)).await;
        assert_eq!(client.resumed(), "");
        assert_eq!(client.header("cache-control"), "no-cache, no-transform");
        assert_eq!(client.header("x-accel-buffering"), "no");
        let call = upstream.last_call();
        assert_eq!(
            (call.last_event_id(), call.uri.clone()),
            (UNKNOWN, "/e?lastEventId=3".parse().unwrap())
        );
        assert_eq!(call.headers["accept-encoding"], "identity");
    }
    drop(app);
    quiet().await;
    assert_eq!(upstream.open(), 0);
}
