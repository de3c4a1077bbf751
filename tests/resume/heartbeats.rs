//! What is said while nothing is said, and what is never said.

use tokio::time::Instant;
use tower_sse::SseLayer;

use crate::support::{App, Script, Upstream, event, quiet, secs, sse};

#[tokio::test(start_paused = true)]
async fn one_comes_with_the_head_and_one_after_each_silence() {
    let upstream = Upstream::piped();
    let mut client = App::new(&SseLayer::new(), &upstream).get("/e", "").await;
    let begin = Instant::now();
    assert_eq!(client.chunk().await.unwrap(), ":\n");
    assert_eq!(begin.elapsed(), secs(0));
    for beat in 1..=3 {
        assert_eq!(client.chunk().await.unwrap(), ":\n");
        assert_eq!(begin.elapsed().as_secs(), beat * 15);
    }
    // Silence is counted from the last write, whatever it was.
    tokio::time::sleep(secs(10)).await;
    upstream.pipe(0).send(event(1));
    client.event().await;
    let wrote = Instant::now();
    assert_eq!(client.chunk().await.unwrap(), ":\n");
    assert_eq!(wrote.elapsed(), secs(15));
}

#[tokio::test(start_paused = true)]
async fn zero_turns_them_off() {
    let layer = SseLayer::new().heartbeat(secs(0));
    let upstream = Upstream::piped();
    let mut client = App::new(&layer, &upstream).get("/e", "").await;
    assert_eq!(client.chunk().await.unwrap(), ":\n");
    tokio::time::sleep(secs(3600)).await;
    assert_eq!(client.drain(), Ok(()));
    assert_eq!(client.bytes, b":\n");
}

#[tokio::test(start_paused = true)]
async fn so_does_a_silence_without_end() {
    let layer = SseLayer::new().heartbeat(std::time::Duration::MAX);
    let upstream = Upstream::piped();
    let mut client = App::new(&layer, &upstream).get("/e", "").await;
    assert_eq!(client.chunk().await.unwrap(), ":\n");
    tokio::time::sleep(secs(3600)).await;
    assert_eq!(client.drain(), Ok(()));
    assert_eq!(client.bytes, b":\n");
}

/// Half a block from upstream is nothing yet: heartbeats are not put into it.
#[tokio::test(start_paused = true)]
async fn they_lie_between_blocks_only() {
    let upstream = Upstream::piped();
    let layer = SseLayer::new().heartbeat(secs(1));
    let mut client = App::new(&layer, &upstream).get("/e", "").await;
    for part in ["eve", "nt: a\nda", "ta: 1\n", "data: 2", "\n\n"] {
        upstream.pipe(0).send(part);
        tokio::time::sleep(secs(3)).await;
        client.drain().unwrap();
    }
    let text = String::from_utf8(client.bytes.clone()).unwrap();
    let (beats, block) = text.split_at(text.find("event").unwrap());
    assert_eq!(beats.replace(":\n", ""), "");
    assert!(
        block.starts_with("event: a\ndata: 1\ndata: 2\nid: s1."),
        "{block}"
    );
    assert_eq!(client.page.take().len(), 1);
    assert_eq!(client.page.empties, 0);
}

/// Strict clients take every blank line for an event: there must be none
/// without one, whatever the upstream sends.
#[tokio::test(start_paused = true)]
async fn no_block_without_a_payload_is_ever_sent() {
    let upstream = Upstream::new(|_| {
        sse(Script::of(
            "id: 1\n\nretry: 500\n\n\n\n: comment\n\ndata: a\n\nid\n\nunknown: x\n\nevent: done\n\n",
        ))
    });
    for ask in ["POST", "GET"] {
        let app = App::new(&SseLayer::new().heartbeat(secs(1)), &upstream);
        let mut client = if ask == "GET" {
            app.get("/e", "").await
        } else {
            app.post("/e", "").await
        };
        assert_eq!(client.event().await.data, "a");
        quiet().await;
        let _ = client.drain();
        let text = String::from_utf8(client.bytes.clone()).unwrap();
        // The retry that came alone is folded into the event after it.
        assert!(text.contains("data: a\nretry: 500\nid: s1."), "{text}");
        // A type alone ends an operation of GraphQL over SSE.
        assert!(text.contains("event: done\nid: s1."), "{text}");
        assert!(text.contains(": comment\ndata: a"), "{text}");
        assert_eq!(client.page.empties, 0, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn comments_of_the_upstream_are_bare_lines() {
    let upstream = Upstream::piped();
    let mut client = App::new(&SseLayer::new(), &upstream).get("/e", "").await;
    upstream.pipe(0).send(event(1) + ": working\n\n");
    client.event().await;
    assert_eq!(client.chunk().await.unwrap(), ": working\n");
    assert_eq!(client.page.empties, 0);
}

/// `retry` is drawn for each client, and said in its first block only.
#[tokio::test(start_paused = true)]
async fn the_reconnection_time_is_folded_into_the_first_block() {
    let upstream = Upstream::piped();
    let layer = SseLayer::new().shared().retry(secs(2)..=secs(5));
    let app = App::new(&layer, &upstream);
    let mut told = Vec::new();
    for n in 0..20 {
        let mut client = app.get("/e", "").await;
        upstream
            .pipe(0)
            .send("retry: 99\n".to_owned() + &event(n) + &event("more"));
        assert_eq!(client.data(2).await[0], n.to_string());
        assert_eq!(client.page.retries.len(), 1);
        assert_eq!(client.page.empties, 0);
        told.append(&mut client.page.retries);
    }
    assert!(
        told.iter().all(|millis| (2000..=5000).contains(millis)),
        "{told:?}"
    );
    told.dedup();
    assert!(told.len() > 1, "the same for all");
}
