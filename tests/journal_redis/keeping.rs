//! What is appended is found again, for as long as it is to be kept.

use std::time::Duration;

use bytes::Bytes;
use redis::AsyncCommands as _;
use tower_sse::journal::{Claim, Journal, News};

use super::*;

#[tokio::test]
async fn what_is_appended_is_found_by_another_process() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut owner = here.create(&name("s")).unwrap();
    owner.begin(Bytes::from_static(b"head"), RETAIN);
    let records = [record(1, 3), record(4, 4), record(5, 4), record(5, 9)];
    for record in &records {
        keep(&mut owner, record.clone()).await;
    }

    let kept = find(&there, &name("s")).await.unwrap();
    assert_eq!(kept.head, "head");
    assert_eq!(kept.records, records);
    assert!(find(&there, &name("t")).await.is_none());
}

#[tokio::test]
async fn a_stream_without_records_is_found_as_well() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    let (records, _replica) = join(&there, &name("s")).await;
    assert_eq!(records, []);
    keep(&mut owner, record(1, 1)).await;
}

#[tokio::test]
async fn many_records_are_found_in_order() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    let records: Vec<_> = (1..=300).map(|n| record(n, n)).collect();
    for record in &records {
        keep(&mut owner, record.clone()).await;
    }
    assert_eq!(find(&there, &name("s")).await.unwrap().records, records);
}

#[tokio::test]
async fn what_is_no_longer_retained_is_trimmed_but_for_the_newest_record() {
    let server = Server::start().await;
    let journal = journal(server.url());
    let mut owner = begin(&journal, &name("s")).await;
    for n in 1..=9 {
        let mut record = record(n * 2 - 1, n * 2);
        // In the middle of the record before the last one.
        record.low = (n * 2).saturating_sub(3);
        keep(&mut owner, record).await;
    }
    let found = find(&journal, &name("s")).await.unwrap().records;
    assert_eq!(
        found.iter().map(|r| r.batch.first).collect::<Vec<_>>(),
        [15, 17]
    );

    let mut last = record(19, 20);
    last.low = 20;
    keep(&mut owner, last.clone()).await;
    assert_eq!(find(&journal, &name("s")).await.unwrap().records, [last]);
}

#[tokio::test]
async fn a_record_that_begins_later_makes_what_is_before_forgotten() {
    let server = Server::start().await;
    let journal = journal(server.url());
    let mut owner = begin(&journal, &name("s")).await;
    keep(&mut owner, record(1, 5)).await;
    keep(&mut owner, record(20, 22)).await;
    keep(&mut owner, record(23, 23)).await;
    let found = find(&journal, &name("s")).await.unwrap().records;
    assert_eq!(found, [record(20, 22), record(23, 23)]);
}

#[tokio::test]
async fn nothing_is_left_after_the_time_it_is_to_be_kept() {
    let server = Server::start().await;
    let journal = journal(server.url());
    let mut owner = journal.create(&name("s")).unwrap();
    owner.begin(Bytes::from_static(b"head"), Duration::from_millis(300));
    keep(&mut owner, record(1, 3)).await;
    assert!(find(&journal, &name("s")).await.is_some());
    drop(owner);
    eventually("redis is empty", || is_empty(&server)).await;
    assert!(find(&journal, &name("s")).await.is_none());
}

async fn is_empty(server: &Server) -> bool {
    let mut redis = server.connection().await;
    let size: u64 = redis::cmd("DBSIZE").query_async(&mut redis).await.unwrap();
    size == 0
}

#[tokio::test]
async fn what_is_forgotten_is_gone_at_once() {
    let server = Server::start().await;
    let journal = journal(server.url());
    let mut owner = begin(&journal, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    within("forget", owner.forget().unwrap()).await.unwrap();
    assert!(find(&journal, &name("s")).await.is_none());
    assert!(matches!(claim(&journal, &name("s")).await, Claim::Mine(_)));
}

#[tokio::test]
async fn an_alias_is_given_once() {
    let server = Server::start().await;
    let journals: Vec<_> = (0..4).map(|_| journal(server.url())).collect();
    let claims = (0..20).map(|n| {
        let stream = name(&format!("stream {n}"));
        let answer = journals[n % 4]
            .alias(&name("alias"), &stream, RETAIN, None)
            .unwrap();
        async move { (stream, answer.await.unwrap()) }
    });
    let answers = within("aliases", futures_util::future::join_all(claims)).await;
    let winners: Vec<_> = answers
        .iter()
        .filter(|(_, other)| other.is_none())
        .collect();
    let [(winner, None)] = winners[..] else {
        panic!("one winner, not {winners:?}");
    };
    for (stream, other) in &answers {
        assert!(stream == winner || other.as_ref() == Some(winner));
    }
    // Asking again for the same is no contradiction.
    let again = journals[0]
        .alias(&name("alias"), winner, RETAIN, None)
        .unwrap();
    assert_eq!(within("alias", again).await.unwrap(), None);
}

#[tokio::test]
async fn an_alias_lives_as_long_after_its_last_use_as_it_says() {
    let server = Server::start().await;
    let journal = journal(server.url());
    let given = |stream: &str| {
        journal
            .alias(&name("alias"), &name(stream), RETAIN, None)
            .unwrap()
    };
    assert_eq!(within("alias", given("one")).await.unwrap(), None);
    let mut redis = server.connection().await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut redis)
        .await
        .unwrap();
    let [key] = &keys[..] else {
        panic!("one key, not {keys:?}");
    };
    // As if that had been long ago.
    let half = i64::try_from(RETAIN.as_millis() / 2).unwrap();
    let () = redis.pexpire(key, half).await.unwrap();
    let other = within("alias", given("two")).await.unwrap();
    assert_eq!(other, Some(name("one")));
    let left: i64 = redis.pttl(key).await.unwrap();
    assert!(left > half, "its use prolongs it: {left}");

    let () = redis.pexpire(key, 1).await.unwrap();
    eventually("redis is empty", || is_empty(&server)).await;
    assert_eq!(within("alias", given("two")).await.unwrap(), None);
}

#[tokio::test]
async fn of_those_who_claim_a_name_at_once_one_begins_it() {
    let server = Server::start().await;
    let journals: Vec<_> = (0..5).map(|_| journal(server.url())).collect();
    let claims = (0..20).map(|n| {
        let claim = journals[n % 5].claim(&name("s")).unwrap();
        async move {
            match claim.await.unwrap() {
                Claim::Mine(mut replica) => {
                    replica.begin(Bytes::from_static(b"head"), RETAIN);
                    (true, replica)
                }
                Claim::Kept(kept) => (false, kept.replica),
            }
        }
    });
    let claimed = within("claims", futures_util::future::join_all(claims)).await;
    assert_eq!(claimed.iter().filter(|(mine, _)| *mine).count(), 1);
}

#[tokio::test]
async fn a_claim_that_is_dropped_goes_to_the_next() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let Claim::Mine(first) = claim(&here, &name("s")).await else {
        panic!("somebody has it");
    };
    let second = there.claim(&name("s")).unwrap();
    drop(first);
    assert!(matches!(
        within("claim", second).await.unwrap(),
        Claim::Mine(_)
    ));
}

/// A name goes from one stream to another, and only from the one that has it.
#[tokio::test]
async fn an_alias_passes_on() {
    let server = Server::start().await;
    let journal = journal(server.url());
    let key = name("alias");
    let give = |stream: &str, instead: Option<&str>| {
        let instead = instead.map(name);
        let given = journal.alias(&key, &name(stream), RETAIN, instead.as_ref());
        within("alias", given.unwrap())
    };
    let resolve = || within("resolve", journal.resolve(&key).unwrap());
    assert_eq!(resolve().await.unwrap(), None);
    assert_eq!(give("one", None).await.unwrap(), None);
    assert_eq!(give("two", Some("one")).await.unwrap(), None);
    let third = give("three", Some("one")).await.unwrap();
    assert_eq!(third, Some(name("two")));
    assert_eq!(resolve().await.unwrap(), Some(name("two")));
    journal.unalias(&key, &name("one"));
    journal.unalias(&key, &name("two"));
    eventually("taken away", || async {
        resolve().await.unwrap().is_none()
    })
    .await;
}

/// Whoever has the upstream is told, wherever the client is that wants it.
#[tokio::test]
async fn an_owner_hears_that_its_stream_is_to_end() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    for forget in [false, true] {
        let stream = name(&format!("stream {forget}"));
        let mut owner = begin(&here, &stream).await;
        keep(&mut owner, record(1, 1)).await;
        let mut follower = find(&there, &stream).await.unwrap().replica;
        follower.stop(forget);
        let told = within("told", async {
            loop {
                if let News::Stop { forget } = news(&mut owner).await {
                    return forget;
                }
            }
        });
        assert_eq!(told.await, forget);
    }
}
