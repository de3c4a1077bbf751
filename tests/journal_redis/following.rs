//! Replicas that follow are handed what the owner appends.

use tower_sse::journal::{Journal, News};

use super::*;

#[tokio::test]
async fn followers_are_handed_records_in_order() {
    let server = Server::start().await;
    let journals: Vec<_> = (0..3).map(|_| journal(server.url())).collect();
    let mut owner = begin(&journals[0], &name("s")).await;
    keep(&mut owner, record(1, 2)).await;
    let (kept, mut early) = join(&journals[1], &name("s")).await;
    assert_eq!(kept, [record(1, 2)]);
    for n in 3..=200 {
        keep(&mut owner, record(n, n)).await;
    }
    let (kept, mut late) = join(&journals[2], &name("s")).await;
    assert_eq!(kept.last(), Some(&record(200, 200)));
    keep(&mut owner, record(201, 205)).await;
    for n in 3..=200 {
        assert_eq!(next_record(&mut early).await, record(n, n));
    }
    assert_eq!(next_record(&mut early).await, record(201, 205));
    assert_eq!(next_record(&mut late).await, record(201, 205));
}

/// Whatever the sizes of records, when followers join and how they are read, each
/// ends with what the owner wrote.
#[tokio::test]
async fn random_histories_are_read_alike_by_all() {
    let server = Server::start().await;
    let journals: Vec<_> = (0..3).map(|_| journal(server.url())).collect();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..8 {
        let stream = name(&format!("stream {round}"));
        let mut owner = begin(&journals[0], &stream).await;
        let mut written = Vec::new();
        let mut followers: Vec<(Vec<_>, _)> = Vec::new();
        for _ in 0..random.usize(20..60) {
            if random.u8(..10) == 0 {
                followers.push(join(&journals[random.usize(1..3)], &stream).await);
            }
            let first = written
                .last()
                .map_or(1, |r: &tower_sse::journal::Record| r.batch.last() + 1);
            let next = record(first, first + random.u64(..5) - 1);
            keep(&mut owner, next.clone()).await;
            written.push(next);
            for (read, replica) in &mut followers {
                while random.bool() {
                    match no_news(replica).await {
                        Some(News::Record(record)) => read.push(record),
                        None => break,
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        for (read, replica) in &mut followers {
            while read.len() < written.len() {
                read.push(next_record(replica).await);
            }
            assert_eq!(*read, written, "seed {seed}");
        }
    }
}

/// Records without blocks are kept like others, before the first block as well.
#[tokio::test]
async fn records_without_blocks_are_read_by_followers() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    let (_, mut follower) = join(&there, &name("s")).await;
    let records = [record(1, 0), record(1, 0), record(1, 2), record(3, 2)];
    for record in &records {
        keep(&mut owner, record.clone()).await;
    }
    for record in &records {
        assert_eq!(next_record(&mut follower).await, *record);
    }
}

#[tokio::test]
async fn a_follower_that_does_not_poll_is_sent_nothing() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    let (_, mut follower) = join(&there, &name("s")).await;
    let reads = || async {
        let mut redis = server.connection().await;
        let text: String = redis::cmd("INFO")
            .arg("commandstats")
            .query_async(&mut redis)
            .await
            .unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("cmdstat_xrange:"));
        line.map_or(0, |line| {
            let calls = line.split(['=', ',']).nth(1).unwrap();
            calls.parse::<u64>().unwrap()
        })
    };
    let before = reads().await;
    for n in 1..=500 {
        keep(&mut owner, record(n, n)).await;
    }
    assert_eq!(reads().await, before);
    // And then many at a time.
    for n in 1..=500 {
        assert_eq!(next_record(&mut follower).await, record(n, n));
    }
    assert!(reads().await - before <= 60);
}

#[tokio::test]
async fn the_owner_hears_whether_others_have_readers() {
    let server = Server::start().await;
    // How long a follower's word counts is a matter of its own lease.
    let (here, there) = (journal(server.url()), impatient(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 1)).await;
    let (_, mut follower) = join(&there, &name("s")).await;
    until(&mut owner, &News::Readers(true)).await;
    follower.attend(false);
    until(&mut owner, &News::Readers(false)).await;
}

#[tokio::test]
async fn what_was_published_while_nobody_could_listen_is_read_all_the_same() {
    let server = Server::start().await;
    let relay = Relay::to(server.port()).await;
    let (here, there) = (journal(server.url()), journal(relay.url()));
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 1)).await;
    let (_, mut follower) = join(&there, &name("s")).await;
    relay.set(Weather::Cut);
    for n in 2..=20 {
        keep(&mut owner, record(n, n)).await;
    }
    eventually("the follower notices", || async { !there.health().durable }).await;
    relay.set(Weather::Fine);
    for n in 2..=20 {
        assert_eq!(next_record(&mut follower).await, record(n, n));
    }
}

#[tokio::test]
async fn one_whose_records_were_trimmed_meanwhile_is_given_the_rest() {
    let server = Server::start().await;
    let (here, there) = (journal(server.url()), journal(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 1)).await;
    let (_, mut follower) = join(&there, &name("s")).await;
    for n in 2..=20 {
        let mut record = record(n, n);
        record.low = n.saturating_sub(3);
        keep(&mut owner, record).await;
    }
    let first = next_record(&mut follower).await;
    assert!(
        first.batch.first == 2 || first.batch.first == 18,
        "{first:?}"
    );
}
