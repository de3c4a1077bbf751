//! One owner at a time, and always a next one.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tower_sse::journal::redis::Redis;
use tower_sse::journal::{Appended, Claim, Journal, News};

use super::*;

const OWNED: News = News::Owned {
    continuous: true,
    last: 3,
};

#[tokio::test]
async fn an_owner_that_is_dropped_is_replaced_at_once() {
    let server = Server::start().await;
    let mut longest = settings(server.url());
    longest.lease = Duration::from_secs(60);
    let [here, there] = [(); 2].map(|()| Redis::connect(longest.clone()).unwrap());
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    let (_, mut follower) = join(&there, &name("s")).await;
    until(&mut owner, &News::Readers(true)).await;
    let dropped = Instant::now();
    drop(owner);
    assert_eq!(news(&mut follower).await, OWNED);
    // It was told: by itself it would have looked after a fifth of the lease.
    assert!(dropped.elapsed() < longest.lease / 6);
    keep(&mut follower, record(4, 4)).await;
}

#[tokio::test]
async fn released_it_is_the_next_ones_or_the_same_ones_again() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    within("release", owner.release().unwrap()).await.unwrap();
    assert_eq!(append(&mut owner, record(4, 4)).await, Appended::Disowned);
    owner.attend(true);
    assert_eq!(news(&mut owner).await, OWNED);

    owner.attend(false);
    let (_, mut follower) = join(&there, &name("s")).await;
    within("release", owner.release().unwrap()).await.unwrap();
    assert_eq!(until(&mut follower, &OWNED).await, []);
    keep(&mut follower, record(4, 4)).await;
    assert_eq!(next_record(&mut owner).await, record(4, 4));
}

#[tokio::test]
async fn an_owner_that_is_cut_off_is_replaced_and_knows_before() {
    let server = Server::start().await;
    let relay = Relay::to(server.port()).await;
    let (here, there) = (impatient(relay.url()), journal(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    keep_at_last(&mut owner, record(1, 3)).await;
    relay.set(Weather::Silent);
    // From now on only time can end it.
    let (_, mut follower) = join(&there, &name("s")).await;
    let (lost, taken) = tokio::join!(
        async {
            until(&mut owner, &News::Disowned).await;
            Instant::now()
        },
        async {
            until(&mut follower, &OWNED).await;
            Instant::now()
        }
    );
    assert!(lost < taken, "the old owner learns first");
    keep(&mut follower, record(4, 4)).await;

    // Back again, it follows.
    owner.attend(true);
    relay.set(Weather::Cut);
    relay.set(Weather::Fine);
    assert_eq!(next_record(&mut owner).await, record(4, 4));
}

#[tokio::test]
async fn nobody_takes_over_what_nobody_reads() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    let (_, mut unread) = join(&there, &name("s")).await;
    let (_, mut read) = join(&there, &name("s")).await;
    unread.attend(false);
    drop(owner);
    assert_eq!(news(&mut read).await, OWNED);
    assert_eq!(no_news(&mut unread).await, None);
}

#[tokio::test]
async fn what_a_deposed_owner_appends_is_refused() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    let (_, mut follower) = join(&there, &name("s")).await;
    // To be told this, it showed a sign of life.
    until(&mut owner, &News::Readers(true)).await;
    // As if it had slept past its lease: Redis has let go of it, and it has not
    // noticed. It would at its next sign of life, and take the stream back, but
    // that is seconds away; the follower is told now.
    let mut redis = server.connection().await;
    let key: Vec<String> = redis::cmd("KEYS")
        .arg("*:meta")
        .query_async(&mut redis)
        .await
        .unwrap();
    redis::pipe()
        .atomic()
        .hset_multiple(&key[0], &[("owner", ""), ("until", "0")])
        .publish(&key[0], "free")
        .exec_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(news(&mut follower).await, OWNED);
    keep(&mut follower, record(4, 4)).await;
    // It fits what is kept, and only its author is the wrong one.
    assert_eq!(
        append(&mut owner, written_by("old", 5, 5)).await,
        Appended::Disowned
    );
    until(&mut owner, &News::Disowned).await;
    let (records, _) = join(&here, &name("s")).await;
    assert_eq!(records, [record(1, 3), record(4, 4)]);
    assert_eq!(next_record(&mut owner).await, record(4, 4));
}

#[tokio::test]
async fn a_process_that_closes_its_journal_hands_everything_over() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut owners = Vec::new();
    let mut followers = Vec::new();
    for n in 0..20 {
        let stream = name(&format!("stream {n}"));
        let mut owner = begin(&here, &stream).await;
        keep(&mut owner, record(1, 3)).await;
        followers.push(join(&there, &stream).await.1);
        owners.push(owner);
    }
    within("close", here.close().unwrap()).await.unwrap();
    for follower in &mut followers {
        assert_eq!(news(follower).await, OWNED);
    }
    let refused = append(&mut owners[0], record(4, 4)).await;
    assert_eq!(refused, Appended::Disowned);
}

#[tokio::test]
async fn a_claim_that_is_not_begun_is_lost_with_its_process() {
    let server = Server::start().await;
    let relay = Relay::to(server.port()).await;
    let (here, there) = (impatient(relay.url()), journal(server.url()));
    let Claim::Mine(mut first) = claim(&here, &name("s")).await else {
        panic!("somebody has it");
    };
    relay.set(Weather::Silent);
    let second = claim(&there, &name("s")).await;
    let Claim::Mine(mut second) = second else {
        panic!("it is not begun");
    };
    assert_eq!(news(&mut first).await, News::Disowned);
    second.begin(Bytes::from_static(b"head"), RETAIN);
    keep(&mut second, record(1, 1)).await;
}
