//! Compressed streams: what a decoder gets of them is what everybody else gets.

use http::request::Builder;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;
use tower_sse::SseLayer;
use tower_sse::observe::Signal;
use tower_sse::resume::settings::{Coding, Mode};
use tower_sse::stream::policy::Join;

use crate::support::{
    App, Call, Client, End, Reply, Script, Seen, Upstream, event, get, post, quiet, secs, sse,
    with_id,
};

#[path = "../support/gunzip.rs"]
mod gunzip;
use gunzip::Gunzip;

fn layer() -> SseLayer {
    SseLayer::new().compress(Coding::Gzip)
}

fn accepting(request: Builder) -> Builder {
    request.header("accept-encoding", "gzip, deflate, br")
}

/// A client that decodes what it gets.
struct Zipped {
    client: Client,
    gunzip: Gunzip,
    read: usize,
}

impl Zipped {
    async fn open(app: &App, request: Builder) -> Self {
        let client = app.send(accepting(request)).await;
        assert_eq!(client.header("content-encoding"), "gzip");
        Self {
            client,
            gunzip: Gunzip::new(),
            read: 0,
        }
    }

    /// All the text so far, of what is there without waiting for more.
    fn drain(&mut self) -> (String, Result<(), End>) {
        let end = self.client.drain();
        let news = &self.client.bytes[self.read..];
        let text = String::from_utf8_lossy(self.gunzip.feed(news)).into_owned();
        self.read = self.client.bytes.len();
        (text, end)
    }

    /// All the text and how it ended; `true` if the decoder is content with that.
    async fn rest(mut self) -> (String, End, bool) {
        let (_, end) = self.client.text().await;
        let text = String::from_utf8_lossy(self.gunzip.feed(&self.client.bytes[self.read..]));
        let text = text.into_owned();
        (text, end, self.gunzip.finish().is_some())
    }
}

fn compressions(seen: &Seen) -> usize {
    let is = |signal: &Signal| matches!(signal, Signal::Compressed { .. });
    seen.signals().iter().filter(|signal| is(signal)).count()
}

#[tokio::test(start_paused = true)]
async fn what_a_hundred_clients_are_sent_is_compressed_once() {
    let (upstream, seen) = (Upstream::piped(), Seen::new());
    let layer = layer().shared().observer(Arc::clone(&seen) as _);
    let app = App::new(&layer, &upstream);
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(Zipped::open(&app, get("/e")).await);
    }
    for number in 1..=20 {
        upstream.pipe(0).send(event(number));
        quiet().await;
        for client in &mut clients {
            let (text, end) = client.drain();
            assert!(text.contains(&format!("data: {number}\n")), "{text}");
            assert_eq!(end, Ok(()));
        }
        assert_eq!(compressions(&seen), number);
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_return_together_are_replayed_what_is_compressed_once() {
    let (upstream, seen) = (Upstream::piped(), Seen::new());
    let layer = layer().shared().observer(Arc::clone(&seen) as _);
    let app = App::new(&layer, &upstream);
    let mut first = app.get("/e", "").await;
    upstream.pipe(0).send(event("begin"));
    let id = first.event().await.id;
    for number in 0..600 {
        upstream
            .pipe(0)
            .send(event(format!("{number} {}", "x".repeat(1000))));
        quiet().await;
    }
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(Zipped::open(&app, with_id(get("/e"), &id)).await);
    }
    for client in &mut clients {
        let (text, _) = client.drain();
        assert_eq!(text.matches("data: ").count(), 600);
        assert!(client.client.bytes.len() * 10 < text.len());
    }
    // 600 KiB in units of 16 KiB, and what is left over.
    let count = compressions(&seen);
    assert!((37..80).contains(&count), "{count}");
}

#[tokio::test(start_paused = true)]
async fn only_who_asks_gets_it_compressed_and_caches_are_told() {
    for (route, accepted, zipped) in [
        (true, Some("gzip"), true),
        (true, Some("br, gzip;q=0.2"), true),
        (true, Some("gzip;q=0"), false),
        (true, Some("identity"), false),
        (true, None, false),
        (false, Some("gzip"), false),
    ] {
        let upstream = Upstream::new(|_| {
            let mut answer = sse(Script::held_after(event(1)));
            let vary = http::HeaderValue::from_static("Origin");
            answer.headers_mut().insert("vary", vary);
            answer
        });
        let settings = if route { layer() } else { SseLayer::new() };
        let app = App::new(&settings, &upstream);
        let request = match accepted {
            Some(accepted) => get("/e").header("accept-encoding", accepted),
            None => get("/e"),
        };
        let client = app.send(request).await;
        let coding = if zipped { "gzip" } else { "" };
        assert_eq!(client.header("content-encoding"), coding, "{accepted:?}");
        let vary: Vec<_> = client.head.headers.get_all("vary").iter().collect();
        let told: &[&str] = if route {
            &["Origin", "Accept-Encoding"]
        } else {
            &["Origin"]
        };
        assert_eq!(vary, told);
        assert_eq!(client.header("cache-control"), "no-cache, no-transform");
        assert_eq!(upstream.last_call().header("accept-encoding"), "identity");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_stays_a_cut() {
    let app = App::new(
        &layer(),
        &Upstream::new(|_| sse(Script::cut_after(event(1) + "data: hal"))),
    );
    let (text, end, content) = Zipped::open(&app, post("/e")).await.rest().await;
    assert!(
        text.contains("data: 1\n") && text.ends_with("\n\n"),
        "{text}"
    );
    assert!(matches!(end, End::Aborted(_)), "{end:?}");
    assert!(!content, "no decoder takes it for whole");
    // Nor does one that returns to it afterwards.
    let id = text.split("id: ").nth(1).unwrap().trim();
    let back = Zipped::open(&app, with_id(post("/e"), id)).await;
    let (text, end, content) = back.rest().await;
    assert_eq!(text, ":\n");
    assert!(matches!(end, End::Aborted(_)), "{end:?}");
    assert!(!content);
}

#[tokio::test(start_paused = true)]
async fn an_end_in_order_is_one_member_s() {
    let app = App::new(
        &layer(),
        &Upstream::new(|_| sse(Script::of(event(1) + &event(2)))),
    );
    let (text, end, content) = Zipped::open(&app, post("/e")).await.rest().await;
    assert_eq!((text.matches("data: ").count(), end), (2, End::Clean));
    assert!(content);
    // Of an answer that is read to its end there is nothing left to compress.
    let id = text.rsplit("id: ").next().unwrap().trim();
    let mut rest = app.send(accepting(with_id(post("/e"), id))).await;
    assert_eq!(rest.header("content-encoding"), "");
    assert_eq!(rest.text().await, (String::new(), End::Clean));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_sent_and_read_one_by_one() {
    let upstream = Upstream::piped();
    let app = App::new(&layer(), &upstream);
    let mut client = Zipped::open(&app, get("/e")).await;
    for beat in 1..=5 {
        client.client.chunk().await.unwrap();
        assert_eq!(client.drain().0, ":\n".repeat(beat));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_comes_compressed_is_not_compressed_again() {
    let upstream = Upstream::new(|_: &Call| {
        let mut answer = sse(Script::of("not ours to read"));
        let coding = http::HeaderValue::from_static("br");
        answer.headers_mut().insert("content-encoding", coding);
        answer
    });
    let app = App::new(&layer(), &upstream);
    let mut client = app.send(accepting(get("/e"))).await;
    assert_eq!(client.header("content-encoding"), "br");
    assert_eq!(client.text().await.0, "not ours to read");
}

#[tokio::test(start_paused = true)]
async fn what_is_passed_on_verbatim_is_not_compressed() {
    let upstream = Upstream::new(|_| sse(Script::of(event(1))));
    let app = App::new(&layer().mode(Mode::Passthrough), &upstream);
    let mut client = app.send(accepting(get("/e"))).await;
    assert_eq!(client.header("content-encoding"), "");
    assert_eq!(client.event().await.data, "1");
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_no_streams_are_left_alone() {
    let upstream = Upstream::new(|_| Reply::Answer(crate::support::status(200)));
    let app = App::new(&layer(), &upstream);
    let mut client = app.send(accepting(get("/e"))).await;
    assert_eq!(client.header("content-encoding"), "");
    assert_eq!(client.text().await.0, "status 200");
}

/// What happens to a stream that some read compressed and others do not.
#[derive(Clone, Debug)]
enum Step {
    /// So many events, of such a size, in one chunk of the upstream.
    Publish(usize, usize),
    /// An upstream comment.
    Comment(usize),
    /// A pair comes, without an id or with that of an event seen.
    Join(Option<usize>),
    /// A pair reads what there is.
    Read(usize),
    /// The upstream is lost, and found again.
    Lose,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..40usize, 0..400usize).prop_map(|(count, size)| Step::Publish(count, size)),
        1 => (1..3usize, 1000..40_000usize).prop_map(|(count, size)| Step::Publish(count, size)),
        1 => Just(Step::Publish(1100, 10)),
        1 => (1..200usize).prop_map(Step::Comment),
        2 => proptest::option::of(any::<usize>()).prop_map(Step::Join),
        6 => any::<usize>().prop_map(Step::Read),
        1 => Just(Step::Lose),
        2 => (1..40u64).prop_map(Step::Wait),
    ]
}

/// Two clients in the same place: one gets it compressed.
struct Pair {
    zipped: Zipped,
    plain: Client,
    cut: bool,
}

impl Pair {
    async fn open(app: &App, id: &str) -> Self {
        let zipped = app.send(accepting(with_id(get("/e"), id))).await;
        Self {
            plain: app.send(with_id(get("/e"), id)).await,
            zipped: Zipped {
                client: zipped,
                gunzip: Gunzip::new(),
                read: 0,
            },
            cut: false,
        }
    }

    /// Both read what there is, and it is the same.
    fn read(&mut self) -> Result<(), TestCaseError> {
        if self.cut {
            return Ok(());
        }
        let (text, end) = self.zipped.drain();
        prop_assert_eq!(&end, &self.plain.drain());
        let plain = String::from_utf8_lossy(&self.plain.bytes);
        prop_assert_eq!(uncommented(&text), uncommented(&plain));
        self.cut = end.is_err();
        Ok(())
    }
}

/// Without the upstream's comments: they are not kept, and who reads by smaller
/// pieces may still come by where one belongs.
fn uncommented(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !line.starts_with(":c")).collect()
}

async fn play(steps: Vec<Step>, join: Join) -> Result<(), TestCaseError> {
    let upstream = Upstream::piped();
    let layer = layer().shared().join(join).retry(secs(2)..=secs(2));
    let app = App::new(&layer, &upstream);
    let mut pairs = vec![Pair::open(&app, "").await];
    let (mut count, mut ids) = (0, Vec::<String>::new());
    for step in steps {
        let pipe = upstream.pipe(upstream.count() - 1);
        match step {
            Step::Publish(events, size) => {
                let text = |n| event(format!("{n} {}", "ab".repeat(size / 2)));
                pipe.send((count..count + events).map(text).collect::<String>());
                count += events;
            }
            Step::Comment(size) => pipe.send(format!(":{}\n", "c".repeat(size))),
            Step::Join(back) => {
                let id = back.filter(|_| !ids.is_empty()).map(|n| n % ids.len());
                let id = id.map_or("", |n: usize| ids[n].as_str()).to_owned();
                pairs.push(Pair::open(&app, &id).await);
            }
            Step::Read(who) => {
                let who = who % pairs.len();
                pairs[who].read()?;
                let events = pairs[who].plain.page.take();
                ids.extend(events.into_iter().map(|event| event.id));
            }
            Step::Lose => {
                pipe.cut();
                tokio::time::sleep(secs(5)).await;
            }
            Step::Wait(time) => tokio::time::sleep(secs(time)).await,
        }
        quiet().await;
    }
    pairs.iter_mut().try_for_each(Pair::read)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_decoder_gets_what_everybody_gets(
        steps in vec(step(), 1..60),
        join in prop_oneof![Just(Join::Live), Just(Join::Start), Just(Join::Tail(7))],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(play(steps, join))?;
    }
}
