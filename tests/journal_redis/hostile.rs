//! Values in Redis that nobody of ours wrote, a Redis that does not answer, and
//! very many streams.

use std::time::Duration;

use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use tower_sse::journal::redis::Redis;
use tower_sse::journal::{Journal, JournalError, News};

use super::*;

/// The keys of the only stream there is: what is known of it, and its records.
async fn keys(redis: &mut MultiplexedConnection) -> [String; 2] {
    let meta: Vec<String> = redis.keys("*:meta").await.unwrap();
    let log = meta[0].replace(":meta", ":log");
    [meta[0].clone(), log]
}

/// All that can be asked for a stream. None of it may panic, or wait for good.
async fn errors(journal: &Redis, stream: &str) -> Vec<JournalError> {
    let stream = name(stream);
    let mut errors = Vec::new();
    errors.extend(within("find", journal.find(&stream).unwrap()).await.err());
    errors.extend(within("claim", journal.claim(&stream).unwrap()).await.err());
    let alias = journal.alias(&name("a"), &stream, RETAIN, None).unwrap();
    errors.extend(within("alias", alias).await.err());
    errors
}

#[tokio::test]
async fn values_of_others_are_errors_and_no_more() {
    let server = Server::start().await;
    let (here, there) = (impatient(server.url()), impatient(server.url()));
    let mut redis = server.connection().await;
    let mut other = begin(&here, &name("other")).await;
    other.attend(true);
    let garbage = [
        ("owner", "somebody"),
        ("until", "soon"),
        ("last", "-1"),
        ("last", "1e300"),
        ("turn", "nan"),
        ("retain", "forever"),
        ("token", "18446744073709551616"),
        ("run", ""),
        ("readers", "many"),
        ("fork", "x"),
        ("until", "99999999999999999"),
    ];
    for (round, (field, value)) in garbage.into_iter().enumerate() {
        let stream = name(&format!("stream {round}"));
        let mut owner = begin(&here, &stream).await;
        keep_at_last(&mut owner, record(1, 3)).await;
        let (_, _follower) = join(&there, &stream).await;
        let metas: Vec<String> = redis.keys("*:meta").await.unwrap();
        for meta in metas {
            let () = redis.hset(&meta, field, value).await.unwrap();
            let () = redis.publish(&meta, "free").await.unwrap();
        }
        errors(&there, &format!("stream {round}")).await;
        drop(owner);
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    }
    keep_at_last(&mut other, record(1, 1)).await;
}

#[tokio::test]
async fn keys_of_others_are_errors_that_tell_which() {
    let server = Server::start().await;
    let journal = journal(server.url());
    let mut owner = begin(&journal, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    let mut redis = server.connection().await;
    for key in keys(&mut redis).await {
        let () = redis.set(&key, "not ours").await.unwrap();
    }
    let errors = errors(&journal, "s").await;
    assert_eq!(errors.len(), 2, "{errors:?}");
    for error in errors {
        assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    }
}

/// A record that is the ninth by its place.
async fn put(redis: &mut MultiplexedConnection, log: &str, bytes: &[u8]) {
    let mut add = redis::cmd("XADD");
    add.arg(log).arg("9-1").arg("r").arg(bytes);
    add.exec_async(redis).await.unwrap();
}

#[tokio::test]
async fn records_of_others_are_not_taken_for_ours() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut redis = server.connection().await;
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    let [_, log] = keys(&mut redis).await;
    let (_, mut follower) = join(&there, &name("s")).await;
    // One whose bytes are nothing.
    put(&mut redis, &log, b"garbage").await;
    let found = within("find", here.find(&name("s")).unwrap()).await;
    assert!(found.is_err());
    keep(&mut owner, record(4, 12)).await;
    until(&mut follower, &News::Diverged).await;

    // One of ours, in another's place.
    let mut owner = begin(&here, &name("t")).await;
    keep(&mut owner, record(1, 3)).await;
    let (_, mut follower) = join(&there, &name("t")).await;
    let logs: Vec<String> = redis.keys("*:log").await.unwrap();
    let log = logs.iter().find(|key| **key != log).unwrap();
    let mut bytes = bytes::BytesMut::new();
    record(2, 3).encode(&mut bytes);
    put(&mut redis, log, &bytes).await;
    keep(&mut owner, record(4, 12)).await;
    until(&mut follower, &News::Diverged).await;
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_an_error_after_a_time() {
    let server = Server::start().await;
    let relay = Relay::to(server.port()).await;
    let mut quick = settings(relay.url());
    quick.timeout = Duration::from_secs(1);
    quick.lease = Duration::from_secs(1);
    let journal = Redis::connect(quick).unwrap();
    assert!(find(&journal, &name("s")).await.is_none());
    for weather in [Weather::Silent, Weather::Cut] {
        relay.set(weather);
        let errors = errors(&journal, "s").await;
        assert_eq!(errors.len(), 3, "{errors:?}");
        for error in errors {
            let place = relay.url().replace("redis://", "redis at ");
            assert!(error.to_string().contains(&place), "{error}");
        }
    }
    relay.set(Weather::Fine);
    eventually("it is back", || async {
        within("find", journal.find(&name("s")).unwrap())
            .await
            .is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_thousand_streams_are_handed_over() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut owners = Vec::new();
    let mut followers = Vec::new();
    for n in 0..1000 {
        let stream = name(&format!("stream {n}"));
        let mut owner = begin(&here, &stream).await;
        keep(&mut owner, record(1, 3)).await;
        owners.push(owner);
        followers.push(join(&there, &stream).await.1);
    }
    within("close", here.close().unwrap()).await.unwrap();
    for follower in &mut followers {
        let owned = News::Owned {
            continuous: true,
            last: 3,
        };
        assert_eq!(news(follower).await, owned);
    }
}

#[tokio::test]
async fn large_records_are_fetched_a_few_at_a_time() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    let (_, mut follower) = join(&there, &name("s")).await;
    let text = "x".repeat(100_000);
    for n in 1..=20 {
        keep(&mut owner, written_by(&text, n, n)).await;
    }
    for n in 1..=20 {
        assert_eq!(next_record(&mut follower).await, written_by(&text, n, n));
        let mut waiting = 0;
        while let Some(News::Record(_)) = no_news(&mut follower).await {
            waiting += 1;
        }
        assert!(waiting < 4, "{waiting} are held in memory");
        if waiting > 0 {
            break;
        }
    }
    let kept = find(&there, &name("s")).await.unwrap();
    assert_eq!(kept.records.len(), 20);
}
