//! Redis goes away and comes back, with or without what it had.

use std::time::Duration;

use bytes::Bytes;
use tower_sse::journal::OnLoss;
use tower_sse::journal::redis::Redis;
use tower_sse::journal::{Appended, Journal, News};

use super::*;

#[tokio::test]
async fn answers_that_are_lost_make_nothing_twice() {
    let server = Server::start().await;
    let relay = Relay::to(server.port()).await;
    // So that answers are soon missed, and the lease is not.
    let mut quick = settings(relay.url());
    quick.timeout = Duration::from_secs(1);
    let (here, there) = (Redis::connect(quick).unwrap(), journal(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    for n in 4..7 {
        // Executed, and not answered; then asked again on another connection.
        relay.set(Weather::Deaf);
        let mut appending = owner.append(record(n, n)).unwrap();
        tokio::select! {
            _ = &mut appending => panic!("nobody can have answered"),
            () = kept_elsewhere(&there, n) => {}
        }
        relay.set(Weather::Fine);
        assert_eq!(within("append", appending).await.unwrap(), Appended::Kept);
    }
    let records = find(&there, &name("s")).await.unwrap().records;
    let wanted: Vec<_> = std::iter::once(record(1, 3))
        .chain((4..7).map(|n| record(n, n)))
        .collect();
    assert_eq!(records, wanted);
}

async fn kept_elsewhere(journal: &Redis, last: u64) {
    eventually("the record is kept", || async {
        let kept = find(journal, &name("s")).await.unwrap();
        kept.records.last().unwrap().batch.last() == last
    })
    .await;
}

#[tokio::test]
async fn an_append_that_was_given_up_comes_back_as_news_if_it_is_kept() {
    let server = Server::start().await;
    let relay = Relay::to(server.port()).await;
    let (here, there) = (journal(relay.url()), journal(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    relay.set(Weather::Deaf);
    let mut appending = owner.append(record(4, 4)).unwrap();
    tokio::select! {
        _ = &mut appending => panic!("nobody can have answered"),
        () = kept_elsewhere(&there, 4) => {}
    }
    drop(appending);
    relay.set(Weather::Cut);
    relay.set(Weather::Fine);
    assert_eq!(news(&mut owner).await, News::Disowned);
    assert_eq!(next_record(&mut owner).await, record(4, 4));
    assert_eq!(
        news(&mut owner).await,
        News::Owned {
            continuous: true,
            last: 4
        }
    );
    keep(&mut owner, record(5, 5)).await;
}

#[tokio::test]
async fn a_pause_of_redis_pauses_appends() {
    let server = Server::start().await;
    let journal = impatient(server.url());
    let mut owner = begin(&journal, &name("s")).await;
    keep_at_last(&mut owner, record(1, 3)).await;
    let mut appending = loop {
        server.signal("-STOP");
        let mut appending = owner.append(record(4, 4)).unwrap();
        let disowned = std::future::poll_fn(|cx| owner.poll_news(cx));
        tokio::select! {
            biased;
            // The lease had been lost before: once more.
            what = &mut appending => assert_eq!(what.unwrap(), Appended::Disowned),
            news = within("news", disowned) => {
                assert_eq!(news, News::Disowned);
                break appending;
            }
        }
        server.signal("-CONT");
        while !matches!(news(&mut owner).await, News::Owned { .. }) {}
    };
    server.signal("-CONT");
    // Nobody else has taken it, so it is kept, and only then is it owned again.
    assert_eq!(
        within("append", &mut appending).await.unwrap(),
        Appended::Kept
    );
    let again = News::Owned {
        continuous: true,
        last: 4,
    };
    until(&mut owner, &again).await;
    keep_at_last(&mut owner, record(5, 5)).await;
}

#[tokio::test]
async fn a_redis_that_forgot_everything_is_given_it_again() {
    let mut server = Server::start().await;
    let journal = journal(server.url());
    let mut owner = begin(&journal, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    server.kill();
    server.run().await;
    let forgotten = News::Owned {
        continuous: false,
        last: 0,
    };
    until(&mut owner, &forgotten).await;
    keep(&mut owner, record(1, 3)).await;
    keep(&mut owner, record(4, 4)).await;
    let kept = find(&journal, &name("s")).await.unwrap();
    assert_eq!(kept.head, "head");
    assert_eq!(kept.records, [record(1, 3), record(4, 4)]);
}

#[tokio::test]
async fn after_a_restart_with_its_data_the_owner_goes_on_if_it_is_quick() {
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::with(&options).await;
    let journal = journal(server.url());
    let mut owner = begin(&journal, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    server.kill();
    let mut appending = owner.append(record(4, 4)).unwrap();
    tokio::select! {
        _ = &mut appending => panic!("nobody can have answered"),
        () = server.run() => {}
    }
    assert_eq!(within("append", appending).await.unwrap(), Appended::Kept);
    keep(&mut owner, record(5, 5)).await;
    assert_eq!(no_news(&mut owner).await, None);
}

#[tokio::test]
async fn after_a_restart_a_new_owner_does_not_vouch_for_what_was_before() {
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::with(&options).await;
    let (here, there) = (journal(server.url()), impatient(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    let (_, mut follower) = join(&there, &name("s")).await;
    within("close", here.close().unwrap()).await.unwrap();
    let handed_over = News::Owned {
        continuous: true,
        last: 3,
    };
    assert_eq!(news(&mut follower).await, handed_over);
    server.kill();
    until(&mut follower, &News::Disowned).await;
    server.run().await;
    let doubted = News::Owned {
        continuous: false,
        last: 3,
    };
    until(&mut follower, &doubted).await;
    keep_at_last(&mut follower, record(4, 4)).await;
}

#[tokio::test]
async fn a_follower_that_has_read_what_redis_lost_and_others_replaced_diverges() {
    let server = Server::start().await;
    let relay = Relay::to(server.port()).await;
    let (here, there) = (journal(server.url()), journal(relay.url()));
    let mut owner = begin(&here, &name("s")).await;
    keep(&mut owner, record(1, 3)).await;
    let (_, mut follower) = join(&there, &name("s")).await;
    keep(&mut owner, record(4, 9)).await;
    assert_eq!(next_record(&mut follower).await, record(4, 9));

    relay.set(Weather::Cut);
    let mut redis = server.connection().await;
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.unwrap();
    until(
        &mut owner,
        &News::Owned {
            continuous: false,
            last: 0,
        },
    )
    .await;
    // It goes on elsewhere, and further: what comes next fits what the follower
    // has, and is of another stream.
    keep(&mut owner, written_by("other", 1, 9)).await;
    keep(&mut owner, written_by("other", 10, 20)).await;
    relay.set(Weather::Fine);
    until(&mut follower, &News::Diverged).await;
}

#[tokio::test]
async fn who_is_to_go_on_alone_does_and_is_sorted_out_afterwards() {
    let server = Server::start().await;
    let relay = Relay::to(server.port()).await;
    let continuing = |url: String| {
        let mut settings = settings(url);
        settings.on_loss = OnLoss::Continue;
        settings.lease = SHORT;
        Redis::connect(settings).unwrap()
    };
    let (here, there) = (continuing(relay.url()), continuing(server.url()));
    let mut owner = begin(&here, &name("s")).await;
    keep_at_last(&mut owner, record(1, 3)).await;

    // Nobody takes over: it is its own again, under another epoch.
    relay.set(Weather::Cut);
    until(&mut owner, &News::Alone).await;
    assert_eq!(append(&mut owner, record(4, 4)).await, Appended::Disowned);
    relay.set(Weather::Fine);
    let back = News::Owned {
        continuous: false,
        last: 3,
    };
    until(&mut owner, &back).await;
    keep_at_last(&mut owner, record(4, 4)).await;

    // Somebody does: what the two published then is not the same.
    let (_, mut follower) = join(&there, &name("s")).await;
    relay.set(Weather::Cut);
    until(&mut owner, &News::Alone).await;
    while !matches!(news(&mut follower).await, News::Owned { last: 4, .. }) {}
    relay.set(Weather::Fine);
    until(&mut owner, &News::Diverged).await;
}

#[tokio::test]
async fn redis_need_not_be_there_at_first() {
    let port = free_port();
    let mut quick = settings(format!("redis://127.0.0.1:{port}"));
    quick.timeout = Duration::from_secs(1);
    let journal = Redis::connect(quick).unwrap();
    let error = within("claim", journal.claim(&name("s")).unwrap())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
    assert!(!journal.health().durable);

    let mut place = journal.follow(&name("s")).unwrap();
    place.begin(Bytes::from_static(b"head"), RETAIN);
    place.attend(true);
    let mut created = journal.create(&name("t")).unwrap();
    created.begin(Bytes::from_static(b"head"), RETAIN);
    let appending = created.append(record(1, 1)).unwrap();

    let _server = Server::at(port, &[], Directory::new()).await;
    assert_eq!(
        news(&mut place).await,
        News::Owned {
            continuous: true,
            last: 0
        }
    );
    keep(&mut place, record(1, 2)).await;
    assert_eq!(find(&journal, &name("s")).await.unwrap().head, "head");
    assert_eq!(within("append", appending).await.unwrap(), Appended::Kept);
    assert!(journal.health().durable);
}
