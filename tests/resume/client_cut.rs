//! A client that is cut after any byte, and comes back with the id it has.

use tower_sse::SseLayer;
use tower_sse::stream::policy::{Ids, Join};

use crate::support::{
    App, Browser, Client, End, Script, Upstream, event, event_with_id, numbers, sse,
};

const EVENTS: usize = 60;

/// Blocks of several shapes, so that a cut meets every kind of line.
fn blocks(ids: bool) -> String {
    let blocks: Vec<_> = (1..=EVENTS).map(|n| block(n, ids)).collect();
    "\u{feff}: hello\n".to_owned() + &blocks.concat()
}

fn block(n: usize, ids: bool) -> String {
    let id = if ids {
        format!("id: u{n}\n")
    } else {
        String::new()
    };
    match n % 4 {
        0 => format!("{id}data: {n}\n\n"),
        1 => format!("event: tick\r\n{id}data: {n}\r\n\r\n"),
        2 => format!("data\n{id}data:{n}\n: within\nunknown: x\n\n"),
        _ => format!("data: {n}\n{id}\n: between\n"),
    }
}

/// The numbers that a page dispatched.
fn seen(page: &mut Browser) -> Vec<String> {
    let trim = |data: String| data.trim().to_owned();
    page.take()
        .into_iter()
        .map(|event| trim(event.data))
        .collect()
}

/// Reads `count` bytes and no more. Whatever came with them is lost.
async fn cut_after(client: &mut Client, count: usize) -> Browser {
    while client.bytes.len() < count {
        if let Err(end) = client.chunk().await {
            panic!("{end:?} after {} bytes", client.bytes.len());
        }
    }
    let mut page = Browser::default();
    page.feed(&client.bytes[..count]);
    page
}

/// The length of the whole, up to the last block's end.
async fn length(app: &App, post: bool) -> usize {
    let mut client = if post {
        app.post("/e", "").await
    } else {
        app.get("/e", "").await
    };
    let mut page = Browser::default();
    let mut count = 0;
    while count < EVENTS {
        let chunk = client.chunk().await.unwrap();
        page.feed(&chunk);
        count += page.take().len();
    }
    client.bytes.len()
}

async fn read_all(client: &mut Client, had: &mut Vec<String>, wanted: usize) {
    while had.len() < wanted {
        client.chunk().await.unwrap();
        had.extend(seen(&mut client.page));
    }
}

/// One client cut after `count` bytes of an endless stream.
async fn endless(layer: &SseLayer, ids: bool, count: usize) {
    let upstream = Upstream::piped();
    let app = App::new(layer, &upstream);
    let mut first = app.get("/e", "").await;
    upstream.pipe(0).send(blocks(ids));
    let mut page = cut_after(&mut first, count).await;
    drop(first);
    let mut had = seen(&mut page);

    let mut second = app.get("/e", &page.last_id).await;
    if upstream.count() == 2 {
        assert!(had.is_empty(), "a new connection although there was an id");
        upstream.pipe(1).send(blocks(ids));
    }
    read_all(&mut second, &mut had, EVENTS).await;
    // Neither a repetition nor a hole before what comes next.
    let live = upstream.pipe(upstream.count() - 1);
    live.send(event(EVENTS + 1));
    read_all(&mut second, &mut had, EVENTS + 1).await;
    assert_eq!(had, numbers(1..=EVENTS + 1), "cut after {count} bytes");
    assert_eq!(second.page.empties, 0);
    if !page.last_id.is_empty() {
        assert_eq!(second.resumed(), "exact");
    }
}

async fn endless_at_every_offset(layer: fn() -> SseLayer, ids: bool) {
    let upstream = Upstream::new(move |_| sse(Script::held_after(blocks(ids))));
    let total = length(&App::new(&layer(), &upstream), false).await;
    for count in 0..=total {
        endless(&layer(), ids, count).await;
    }
}

#[tokio::test(start_paused = true)]
async fn private_without_ids() {
    endless_at_every_offset(SseLayer::new, false).await;
}

#[tokio::test(start_paused = true)]
async fn private_with_ids() {
    endless_at_every_offset(SseLayer::new, true).await;
}

#[tokio::test(start_paused = true)]
async fn shared_without_ids() {
    let layer = || SseLayer::new().shared().join(Join::Start);
    endless_at_every_offset(layer, false).await;
}

#[tokio::test(start_paused = true)]
async fn shared_with_ids_of_the_upstream() {
    let layer = || SseLayer::new().shared().join(Join::Start);
    endless_at_every_offset(layer, true).await;
}

#[tokio::test(start_paused = true)]
async fn shared_with_ids_of_ours() {
    let layer = || SseLayer::new().shared().join(Join::Start).ids(Ids::Assign);
    endless_at_every_offset(layer, true).await;
}

/// One client of a POST, cut after `count` bytes.
async fn one_shot(ids: bool, count: usize) {
    let upstream = Upstream::new(move |_| sse(Script::of(blocks(ids))));
    let app = App::new(&SseLayer::new(), &upstream);
    let mut first = app.post("/e", "").await;
    let mut page = cut_after(&mut first, count).await;
    drop(first);
    let mut had = seen(&mut page);

    let mut second = app.post("/e", &page.last_id).await;
    let end = loop {
        if let Err(end) = second.chunk().await {
            break end;
        }
    };
    had.extend(seen(&mut second.page));
    assert_eq!(had, numbers(1..=EVENTS), "cut after {count} bytes");
    assert_eq!(end, End::Clean);
    let executions = if page.last_id.is_empty() { 2 } else { 1 };
    assert_eq!(upstream.count(), executions, "cut after {count} bytes");
}

#[tokio::test(start_paused = true)]
async fn one_shot_by_post() {
    for ids in [false, true] {
        let upstream = Upstream::new(move |_| sse(Script::of(blocks(ids))));
        let total = length(&App::new(&SseLayer::new(), &upstream), true).await;
        for count in 0..=total {
            one_shot(ids, count).await;
        }
    }
}

/// An upstream that leaves the ids alone is asked itself where a private
/// stream goes on.
#[tokio::test(start_paused = true)]
async fn private_with_ids_left_to_the_upstream() {
    let upstream = || {
        Upstream::new(|call| {
            let after: usize = call
                .last_event_id()
                .trim_start_matches('u')
                .parse()
                .unwrap_or(0);
            sse(Script::held_after(blocks_after(after)))
        })
    };
    let layer = || SseLayer::new().ids(Ids::Preserve);
    let total = length(&App::new(&layer(), &upstream()), false).await;
    for count in 0..=total {
        let app = App::new(&layer(), &upstream());
        let mut first = app.get("/e", "").await;
        let mut page = cut_after(&mut first, count).await;
        drop(first);
        let mut had = seen(&mut page);
        let mut second = app.get("/e", &page.last_id).await;
        read_all(&mut second, &mut had, EVENTS).await;
        assert_eq!(had, numbers(1..=EVENTS), "cut after {count} bytes");
    }
}

fn blocks_after(after: usize) -> String {
    (after + 1..=EVENTS)
        .map(|n| event_with_id(format_args!("u{n}"), n))
        .collect()
}
