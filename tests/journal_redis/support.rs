//! Streams and records for tests, and patience.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};
use tower_sse::journal::redis::{Redis, RedisSettings};
use tower_sse::journal::{Appended, Claim, Journal, Kept, Name, News, Record, Replica};
use tower_sse::log::{Batch, Entry};

/// How long anything is waited for before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A lease that no machine is too busy to keep, if it is usable at all: it is
/// lost after eight seconds in which this process does nothing.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A lease for tests in which one ends. It is kept as long as this process is
/// not held up for a second and a half; tests that use it must not rely on that.
pub(crate) const SHORT: Duration = Duration::from_secs(4);

pub(crate) const RETAIN: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = timeout(PATIENCE, future).await;
    result.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub(crate) async fn eventually<F, R>(what: &str, mut is_true: F)
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    let end = Instant::now() + PATIENCE;
    while !is_true().await {
        assert!(Instant::now() < end, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn settings(url: impl Into<String>) -> RedisSettings {
    let mut settings = RedisSettings::new(url, [7; 32]);
    settings.lease = LONG;
    settings.timeout = Duration::from_secs(10);
    settings
}

pub(crate) fn journal(url: impl Into<String>) -> Redis {
    Redis::connect(settings(url)).unwrap()
}

/// One that notices soon that nobody answers, and holds what it owns for a
/// short time only.
pub(crate) fn impatient(url: impl Into<String>) -> Redis {
    let mut settings = settings(url);
    settings.lease = SHORT;
    settings.timeout = Duration::from_secs(1);
    Redis::connect(settings).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name(Bytes::copy_from_slice(text.as_bytes()))
}

/// A record of blocks from `first` to `last`, each of which tells its number.
pub(crate) fn record(first: u64, last: u64) -> Record {
    written_by("", first, last)
}

/// The same, with blocks that tell whose they are.
pub(crate) fn written_by(author: &str, first: u64, last: u64) -> Record {
    let mut bytes = Vec::new();
    let mut entries = Vec::new();
    for seq in first..=last {
        bytes.extend_from_slice(format!("data: {author}{seq}\n\n").as_bytes());
        entries.push(Entry {
            end: u32::try_from(bytes.len()).unwrap(),
            id: None,
        });
    }
    Record {
        batch: Batch {
            first,
            bytes: bytes.into(),
            entries,
            seams: Vec::new(),
        },
        state: Bytes::from(format!("state of {last}")),
        at: last,
        low: 0,
    }
}

pub(crate) async fn news(replica: &mut Box<dyn Replica>) -> News {
    within("news", std::future::poll_fn(|cx| replica.poll_news(cx))).await
}

/// Waits for this news, passing over any other.
pub(crate) async fn until(replica: &mut Box<dyn Replica>, wanted: &News) -> Vec<News> {
    let mut before = Vec::new();
    loop {
        let next = news(replica).await;
        if next == *wanted {
            return before;
        }
        before.push(next);
    }
}

/// News that have come already.
pub(crate) async fn no_news(replica: &mut Box<dyn Replica>) -> Option<News> {
    std::future::poll_fn(|cx| match replica.poll_news(cx) {
        Poll::Ready(news) => Poll::Ready(Some(news)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

pub(crate) async fn append(replica: &mut Box<dyn Replica>, record: Record) -> Appended {
    let answer = replica.append(record).expect("Redis takes time");
    within("an append", answer).await.unwrap()
}

pub(crate) async fn keep(replica: &mut Box<dyn Replica>, record: Record) {
    assert_eq!(append(replica, record).await, Appended::Kept);
}

/// The same, by an owner with a lease that may have been lost since, on a busy
/// machine, and that nobody else wants.
pub(crate) async fn keep_at_last(replica: &mut Box<dyn Replica>, record: Record) {
    while append(replica, record.clone()).await == Appended::Disowned {
        while !matches!(news(replica).await, News::Owned { .. }) {}
    }
}

/// Asks until there is an answer: a machine may be too busy for an impatient
/// journal.
pub(crate) async fn find(journal: &Redis, name: &Name) -> Option<Kept> {
    within("find", async {
        loop {
            if let Ok(found) = journal.find(name).unwrap().await {
                return found;
            }
        }
    })
    .await
}

/// As [`find`] does.
pub(crate) async fn claim(journal: &Redis, name: &Name) -> Claim {
    within("claim", async {
        loop {
            if let Ok(claim) = journal.claim(name).unwrap().await {
                return claim;
            }
        }
    })
    .await
}

/// The claimed stream, begun.
pub(crate) async fn begin(journal: &Redis, name: &Name) -> Box<dyn Replica> {
    match claim(journal, name).await {
        Claim::Mine(mut replica) => {
            replica.begin(Bytes::from_static(b"head"), RETAIN);
            replica
        }
        Claim::Kept(_) => panic!("it is begun already"),
    }
}

/// The stream as another replica finds it, reading.
pub(crate) async fn join(journal: &Redis, name: &Name) -> (Vec<Record>, Box<dyn Replica>) {
    let mut found = find(journal, name).await;
    if found.is_none() {
        // What is begun is made known in the background.
        eventually("the stream is known", || async {
            find(journal, name).await.is_some()
        })
        .await;
        found = find(journal, name).await;
    }
    let mut kept = found.unwrap();
    kept.replica.attend(true);
    (kept.records, kept.replica)
}

/// The next record; anything else is a failure.
pub(crate) async fn next_record(replica: &mut Box<dyn Replica>) -> Record {
    match news(replica).await {
        News::Record(record) => record,
        other => panic!("a record was expected, not {other:?}"),
    }
}
