//! The redis journal: three proxies are as one, whichever of them is lost.
//!
//! Every proxy owns some streams, so whoever is lost is the owner of a third.

use std::time::Duration;

use tokio::time::sleep;

use crate::checker::{Promise, Upstream, check};
use crate::client::Wish;
use crate::cluster::{Cluster, Terms};
use crate::process::eventually;
use crate::seed::Seed;
use crate::service::{ANSWER, Answers, kept, kept_by_lease};

/// 300 clients, of 102 streams.
async fn cluster(terms: &Terms<'_>) -> Cluster {
    Cluster::start(terms).await.filled(100, 50).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_is_killed() {
    let mut seed = Seed::of("an_owner_is_killed");
    let mut cluster = cluster(&Terms::default()).await;
    for victim in 0..3 {
        cluster.crowd.shuffle(&mut seed, 3);
        seed.pause(100..500).await;
        cluster.kill(victim).await;
    }
    check(cluster.finish().await, kept).assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_is_paused_past_its_lease() {
    let mut seed = Seed::of("an_owner_is_paused_past_its_lease");
    let mut cluster = cluster(&Terms::default()).await;
    for victim in 0..3 {
        seed.pause(100..500).await;
        cluster.pause(victim, &mut seed).await;
    }
    check(cluster.finish().await, kept_by_lease).assert_kept();
}

/// With a lease that outlasts all patience: nobody would get to the end if it
/// had to run out first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_is_drained_hands_over_at_once() {
    let mut seed = Seed::of("an_owner_that_is_drained_hands_over_at_once");
    let mut cluster = cluster(&Terms {
        lease: Duration::from_secs(60),
        ..Terms::default()
    })
    .await;
    for victim in 0..3 {
        seed.pause(100..500).await;
        cluster.proxies[victim].process.terminate().await;
        cluster.crowd.shuffle(&mut seed, 3);
        if victim < 2 {
            cluster.proxies[victim].process.restart().await;
        }
    }
    check(cluster.finish().await, kept).assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_restarted() {
    let mut seed = Seed::of("redis_is_restarted");
    let mut cluster = cluster(&Terms::default()).await;
    for kill in [true, false, true] {
        seed.pause(100..500).await;
        if kill {
            cluster.redis.process.kill().await;
        } else {
            cluster.redis.process.terminate().await;
        }
        cluster.crowd.shuffle(&mut seed, 3);
        seed.pause(100..1500).await;
        cluster.redis.process.restart().await;
    }
    check(cluster.finish().await, kept_by_lease).assert_kept();
}

/// What only Redis had is lost, and said to be; what the proxies have of it, they
/// go on with under ids that nobody was given before. Whose id no proxy knows any
/// more asks the upstream over a connection of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_forgets_everything() {
    let mut seed = Seed::of("redis_forgets_everything");
    let mut cluster = cluster(&Terms::default()).await;
    for _ in 0..3 {
        seed.pause(100..1500).await;
        cluster.redis.forget().await;
        cluster.crowd.shuffle(&mut seed, 3);
    }
    let forgotten = |path: &str| {
        let promise = kept(path);
        Promise {
            gaps: match promise.gaps {
                [] => &[],
                _ => &["upstream", "unknown-id"],
            },
            kept: false,
            upstream: Upstream::Any,
            ..promise
        }
    };
    check(cluster.finish().await, forgotten).assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_paused() {
    let mut seed = Seed::of("redis_is_paused");
    let cluster = cluster(&Terms::default()).await;
    cluster.redis.process.pause().await;
    sleep(Duration::from_secs(5)).await;
    cluster.crowd.shuffle(&mut seed, 3);
    sleep(Duration::from_secs(5)).await;
    cluster.redis.process.resume().await;
    check(cluster.finish().await, kept_by_lease).assert_kept();
}

/// Each proxy goes on by itself, with an upstream connection of its own; what
/// it gives its clients then, the others never have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_paused_and_delivery_goes_on() {
    let mut seed = Seed::of("redis_is_paused_and_delivery_goes_on");
    let cluster = cluster(&Terms {
        on_journal_loss: "continue",
        ..Terms::default()
    })
    .await;
    cluster.redis.process.pause().await;
    sleep(Duration::from_secs(5)).await;
    cluster.crowd.shuffle(&mut seed, 3);
    sleep(Duration::from_secs(5)).await;
    cluster.redis.process.resume().await;
    let alone = |path: &str| {
        let promise = kept(path);
        Promise {
            gaps: match promise.gaps {
                [] => &[],
                _ => &["upstream", "unknown-id"],
            },
            kept: false,
            upstream: Upstream::Any,
            ..promise
        }
    };
    check(cluster.finish().await, alone).assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_is_cut_off_from_redis() {
    let mut seed = Seed::of("a_proxy_is_cut_off_from_redis");
    let cluster = cluster(&Terms::default()).await;
    for victim in 0..3 {
        seed.pause(100..500).await;
        cluster.cut_off(victim).await;
        cluster.crowd.shuffle(&mut seed, 3);
    }
    check(cluster.finish().await, kept_by_lease).assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anything_happens() {
    let mut seed = Seed::of("anything_happens");
    let mut cluster = cluster(&Terms::default()).await;
    let mut answers = Answers::default();
    for _ in 0..8 {
        answers.keep_going(&mut cluster.crowd, 6);
        cluster.crowd.shuffle(&mut seed, 4);
        seed.pause(0..500).await;
        let victim = seed.below(3);
        match seed.below(6) {
            0 => cluster.kill(victim).await,
            1 => cluster.pause(victim, &mut seed).await,
            2 => cluster.cut_off(victim).await,
            3 => cluster.networks[victim].reset(),
            4 => {
                cluster.proxies[victim].process.terminate().await;
                cluster.proxies[victim].process.restart().await;
            }
            _ => {
                cluster.redis.process.kill().await;
                seed.pause(0..500).await;
                cluster.redis.process.restart().await;
            }
        }
    }
    check(cluster.finish().await, kept_by_lease).assert_kept();
}

/// What its owner had of an answer when it died is read at another proxy, to
/// an end that cannot be taken for the answer's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_outlives_its_proxy_and_is_not_asked_for_again() {
    let mut cluster = Cluster::start(&Terms::default()).await;
    let wish = || Wish::named("/answers/1", "one").of("somebody");
    let leaver = cluster.crowd.join_at(wish(), 0);
    eventually("the answer has begun", || leaver.last() >= 3).await;
    let rest = wish().rest_of(leaver);
    let witness = cluster.crowd.join_at(wish(), 0);
    eventually("it goes on", || witness.last() >= 10).await;
    cluster.proxies[0].process.kill().await;
    let reader = cluster.crowd.join_at(rest, 1);
    eventually("there is an end of it", || reader.is_done()).await;
    let read = reader.transcript();
    assert!(read.last() >= 10, "{read:?}");
    assert!(read.last() < ANSWER && !read.is_complete(), "{read:?}");
    check(cluster.finish().await, kept).assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_read_on_elsewhere_while_it_is_given() {
    let mut cluster = Cluster::start(&Terms::default()).await;
    let wish = Wish::answer("/answers/1").of("somebody");
    let reader = cluster.crowd.join_at(wish, 0);
    eventually("the answer has begun", || reader.last() >= 3).await;
    reader.go_to(1);
    eventually("it is over", || reader.is_done()).await;
    let read = reader.transcript();
    assert!(read.is_complete() && read.last() == ANSWER, "{read:?}");
    check(cluster.finish().await, kept).assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_one_request_at_all_proxies() {
    let mut cluster = Cluster::start(&Terms::default()).await;
    let wish = || Wish::named("/answers/1", "one").of("somebody");
    let first = cluster.crowd.join_at(wish(), 0);
    eventually("the answer has begun", || first.last() >= 3).await;
    cluster.crowd.join_at(wish(), 1);
    cluster.crowd.join_at(wish(), 2);
    let story = cluster.finish().await;
    assert_eq!(story.executions, [("/answers/1".to_owned(), 1)]);
    for session in &story.sessions {
        assert!(session.is_complete(), "{session:?}");
    }
    check(story, kept).assert_kept();
}
