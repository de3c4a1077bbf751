//! Floods of HTTP/2 frames, each cheap to send.

use super::LIMIT;
use super::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, get,
};
use crate::feed::{Feed, Reader, all_get_the_next, readers};
use crate::harness::{Proxy, eventually};

const ENHANCE_YOUR_CALM: u32 = 11;

/// Frames of any one flood.
const MANY: u32 = 100_000;

async fn start() -> (Feed, Proxy, Vec<Reader>) {
    let feed = Feed::start().await;
    let mut config = feed.config();
    config.limits.write_timeout = LIMIT;
    let proxy = Proxy::start(config).await;
    let readers = readers(&proxy, &feed, 5).await;
    (feed, proxy, readers)
}

/// Sends pieces until there are no more or the proxy takes no more, with an
/// event to others from time to time. Whether all were taken.
async fn flood(
    frames: &mut Frames,
    pieces: impl Iterator<Item = Vec<u8>>,
    readers: &mut [Reader],
    feed: &Feed,
) -> bool {
    let mut batch = Vec::new();
    for (number, piece) in pieces.enumerate() {
        batch.extend(piece);
        if number % 1000 == 999 {
            if !frames.write(&std::mem::take(&mut batch)).await {
                return false;
            }
            all_get_the_next(readers, feed).await;
        }
    }
    frames.write(&batch).await
}

/// CVE-2023-44487.
#[tokio::test]
async fn rapid_resets() {
    let (feed, proxy, mut readers) = start().await;
    let mut frames = Frames::connect(proxy.addr).await;
    let cancel = 8u32.to_be_bytes();
    let pieces = (0..MANY).map(|number| {
        let stream = number * 2 + 1;
        let mut piece = frame(HEADERS, END_STREAM | END_HEADERS, stream, &get());
        piece.extend(frame(RST_STREAM, 0, stream, &cancel));
        piece
    });
    let taken = flood(&mut frames, pieces, &mut readers, &feed).await;
    assert!(!taken, "the proxy closes such a connection");
    assert!(matches!(frames.end().await, Some(ENHANCE_YOUR_CALM) | None));
    // What went upstream is no more than a client may have open at a time.
    let asked = feed.upstream.heads().len();
    assert!(asked < 2000, "{asked} requests were passed on");
    all_get_the_next(&mut readers, &feed).await;
}

/// CVE-2024-27316 and its kind.
#[tokio::test]
async fn continuations_without_end() {
    let (feed, proxy, mut readers) = start().await;
    let mut frames = Frames::connect(proxy.addr).await;
    assert!(frames.send(HEADERS, END_STREAM, 1, &get()).await);
    // A literal field that is not to be indexed: `x: xxx…`
    let mut field = vec![0x00, 1, b'x', 0x7f, 0x81, 0x06];
    field.extend([b'x'; 896]);
    let pieces = (0..MANY).map(|_| frame(CONTINUATION, 0, 1, &field));
    let taken = flood(&mut frames, pieces, &mut readers, &feed).await;
    assert!(!taken, "the proxy closes such a connection");
    assert_eq!(
        feed.upstream.heads().len(),
        1,
        "only the stream was asked for"
    );
    all_get_the_next(&mut readers, &feed).await;
}

/// The same without a byte in them.
#[tokio::test]
async fn empty_continuations_without_end() {
    let (feed, proxy, mut readers) = start().await;
    let mut frames = Frames::connect(proxy.addr).await;
    assert!(frames.send(HEADERS, END_STREAM, 1, &get()).await);
    let pieces = (0..MANY).map(|_| frame(CONTINUATION, 0, 1, &[]));
    let taken = flood(&mut frames, pieces, &mut readers, &feed).await;
    assert!(!taken, "the proxy closes such a connection");
    all_get_the_next(&mut readers, &feed).await;
}

/// A large field is put into the table once, and then named by one byte each
/// time: 4 KiB of them stand for 16 MiB.
#[tokio::test]
async fn a_bomb_of_indexed_fields() {
    let (feed, proxy, mut readers) = start().await;
    let mut frames = Frames::connect(proxy.addr).await;
    // To be indexed: `x: xxx…`, 4000 bytes with the table's own.
    let mut block = get();
    block.extend([0x40, 1, b'x', 0x7f, 0x80, 0x1e]);
    block.extend(vec![b'x'; 3967]);
    block.extend(vec![0xbe; 4096]);
    let sent = frames
        .send(HEADERS, END_STREAM | END_HEADERS, 1, &block)
        .await;
    assert!(sent);
    // Refused, with the stream or with the connection; the list of 16 MiB is
    // not passed on.
    let answer = loop {
        match frames.read().await {
            Some(read) if [HEADERS, RST_STREAM].contains(&read.kind) => break Some(read),
            Some(_) => {}
            None => break None,
        }
    };
    if let Some(read) = answer.filter(|read| read.kind == HEADERS) {
        // A status outside of the static table: a literal, `:status: 431`.
        let text = String::from_utf8_lossy(&read.payload).into_owned();
        assert!(!read.payload.starts_with(&[0x88]), "it was served: {text}");
    }
    assert_eq!(
        feed.upstream.heads().len(),
        1,
        "only the stream was asked for"
    );
    all_get_the_next(&mut readers, &feed).await;
}

/// Each asks for an answer, and no answer is read.
#[tokio::test]
async fn pings_and_settings_whose_answers_nobody_reads() {
    let (feed, proxy, mut readers) = start().await;
    for piece in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut frames = Frames::connect(proxy.addr).await;
        // More than the buffers of both sides have room for.
        let pieces = (0..MANY * 20).map(|_| piece.clone());
        let taken = flood(&mut frames, pieces, &mut readers, &feed).await;
        assert!(!taken, "the proxy reads no more than it can answer");
        all_get_the_next(&mut readers, &feed).await;
        // Nor does it wait for such a client for ever.
        eventually("it is cut", || async {
            open(&proxy).await == readers.len()
        })
        .await;
    }
}

/// Client connections, in the proxy's own count.
async fn open(proxy: &Proxy) -> usize {
    let metrics = proxy.ask_admin("/metrics").await;
    let mut lines = metrics.text().lines();
    let open = lines.find_map(|line| line.strip_prefix("sse_connections_open "));
    open.unwrap().parse().unwrap()
}

/// A client that reads its answers is a nuisance and no more: others go on.
#[tokio::test]
async fn windows_updated_without_need() {
    let (feed, proxy, mut readers) = start().await;
    let mut frames = Frames::connect(proxy.addr).await;
    let pieces = (0..MANY).map(|_| frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()));
    flood(&mut frames, pieces, &mut readers, &feed).await;
    all_get_the_next(&mut readers, &feed).await;
}

/// As many streams as there may be, and no room for any of their answers.
#[tokio::test]
async fn streams_without_a_window() {
    let (feed, proxy, mut readers) = start().await;
    let mut frames = Frames::connect(proxy.addr).await;
    // SETTINGS_INITIAL_WINDOW_SIZE: 0
    let no_window = [0, 4, 0, 0, 0, 0];
    assert!(frames.send(SETTINGS, 0, 0, &no_window).await);
    let mut block = vec![0x82, 0x86, 0x41, 11];
    block.extend(b"app.example");
    block.extend([0x04, 7]);
    block.extend(b"/stream");
    let pieces =
        (0..256).map(|number| frame(HEADERS, END_STREAM | END_HEADERS, number * 2 + 1, &block));
    assert!(flood(&mut frames, pieces, &mut readers, &feed).await);
    for _ in 0..100 {
        all_get_the_next(&mut readers, &feed).await;
    }
}
