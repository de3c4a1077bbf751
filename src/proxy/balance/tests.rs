use proptest::prelude::*;

use super::*;
use crate::proxy::metrics::ServerMetrics;
use model::Balance::{LeastStreams, RoundRobin};

fn servers(count: usize) -> Vec<Arc<Server>> {
    let server = |i| {
        let uri: http::Uri = format!("http://s{i}:80").parse().unwrap();
        Arc::new(Server::new(&uri, ServerMetrics::default()).unwrap())
    };
    (0..count).map(server).collect()
}

fn balance(policy: model::Balance, count: usize) -> Balance {
    let rules = Rules {
        policy,
        ..Rules::default()
    };
    Balance::new(rules, servers(count))
}

fn name(lease: &Lease) -> &str {
    lease.server().authority().host()
}

#[test]
fn round_robin_takes_turns() {
    let balance = balance(RoundRobin, 3);
    let now = Instant::now();
    let picked: Vec<_> = (0..6)
        .map(|_| balance.pick(now, &[], None).unwrap())
        .collect();
    let names: Vec<_> = picked.iter().map(name).collect();
    assert_eq!(names, ["s0", "s1", "s2", "s0", "s1", "s2"]);
}

#[test]
fn least_streams_counts_until_the_lease_is_dropped() {
    let balance = balance(LeastStreams, 2);
    let now = Instant::now();
    let first = balance.pick(now, &[], None).unwrap();
    let second = balance.pick(now, &[], None).unwrap();
    assert_ne!(name(&first), name(&second));
    let gone = name(&first).to_owned();
    drop(first);
    for _ in 0..5 {
        assert_eq!(name(&balance.pick(now, &[], None).unwrap()), gone);
    }
}

#[test]
fn a_suspect_is_last_but_not_excluded_and_forgiven_in_time() {
    let balance = balance(RoundRobin, 2);
    let now = Instant::now();
    balance.servers()[0].suspect(now);
    for _ in 0..4 {
        assert_eq!(name(&balance.pick(now, &[], None).unwrap()), "s1");
    }
    balance.servers()[1].suspect(now);
    assert!(
        balance.pick(now, &[], None).is_ok(),
        "all suspect: fail open"
    );
    let later = now + server::SUSPICION;
    let names: Vec<_> = (0..2)
        .map(|_| name(&balance.pick(later, &[], None).unwrap()).to_owned())
        .collect();
    assert!(names.contains(&"s0".into()) && names.contains(&"s1".into()));
}

#[test]
fn a_server_known_to_be_down_is_not_tried() {
    let balance = balance(RoundRobin, 2);
    let now = Instant::now();
    assert!(
        balance.set_healthy(&balance.servers()[0], false, now),
        "news"
    );
    assert!(
        !balance.set_healthy(&balance.servers()[0], false, now),
        "no news"
    );
    assert_eq!(name(&balance.pick(now, &[], None).unwrap()), "s1");
    assert!(balance.is_available());
    balance.set_healthy(&balance.servers()[1], false, now);
    assert_eq!(balance.pick(now, &[], None).unwrap_err(), NoServer::Down);
    assert!(!balance.is_available());
}

fn passive(failures: u32) -> Rules {
    Rules {
        passive: Some(Passive {
            failures,
            eject: Duration::from_secs(10),
        }),
        ..Rules::default()
    }
}

#[test]
fn failures_in_a_row_eject_for_a_while_and_never_the_last() {
    let balance = Balance::new(passive(2), servers(2));
    let [a, b] = balance.servers() else { panic!() };
    let now = Instant::now();
    assert!(!balance.failed(a, now));
    balance.succeeded(a);
    assert!(!balance.failed(a, now), "not in a row");
    assert!(balance.failed(a, now));
    assert!(!a.is_up(now) && balance.is_available());
    for _ in 0..4 {
        assert_eq!(name(&balance.pick(now, &[], None).unwrap()), "s1");
        assert!(!balance.failed(b, now), "the last");
    }
    let tried = [Arc::clone(b)];
    let last = balance.pick(now, &tried, None).unwrap();
    assert_eq!(name(&last), "s0", "asked when nobody else is left");
    assert!(a.is_up(now + Duration::from_secs(10)));
}

#[test]
fn a_full_server_gets_no_more() {
    let rules = Rules {
        max_open: Some(2),
        ..Rules::default()
    };
    let balance = Balance::new(rules, servers(2));
    let now = Instant::now();
    let mut leases: Vec<_> = (0..4)
        .map(|_| balance.pick(now, &[], None).unwrap())
        .collect();
    assert_eq!(balance.pick(now, &[], None).unwrap_err(), NoServer::Full);
    assert_eq!(balance.servers()[0].open(), 2);
    // Nor if several ask at once.
    assert!(Lease::take(&balance.servers()[0], Some(2)).is_none());
    assert_eq!(balance.servers()[0].open(), 2);
    let gone = name(&leases.pop().unwrap()).to_owned();
    assert_eq!(name(&balance.pick(now, &[], None).unwrap()), gone);
}

#[test]
fn the_balance_that_follows_is_told_of_servers_that_stay() {
    let before = balance(RoundRobin, 2);
    let after = Balance::new(Rules::default(), before.servers().to_vec()).after(&before);
    let mut changes = after.changes();
    before.set_drained(&before.servers()[0], true, Instant::now());
    assert!(changes.has_changed().unwrap());
    assert!(after.servers()[0].is_drained());
    // A stream that was on its way while it was drained.
    changes.mark_unchanged();
    drop(before.welcome(&before.servers()[0]));
    assert!(changes.has_changed().unwrap());
}

#[tokio::test]
async fn what_a_check_that_is_gone_says_at_last_does_not_last() {
    let balance = Arc::new(balance(RoundRobin, 1));
    let server = Arc::clone(&balance.servers()[0]);
    let mover = Mover::new(
        Arc::clone(&balance),
        Arc::clone(&server),
        None,
        prometheus_client::metrics::counter::Counter::default(),
        false,
    );
    let late = async {
        tokio::task::yield_now().await;
        balance.set_healthy(&server, false, Instant::now());
        while !server.is_healthy() {
            tokio::task::yield_now().await;
        }
    };
    let late = tokio::time::timeout(Duration::from_secs(30), late);
    tokio::select! {
        () = mover.run() => unreachable!("it never ends"),
        done = late => done.unwrap(),
    }
    assert_eq!(server.metrics.up.get(), 1);
}

/// Of so many requests, those that the server that has just come back gets,
/// in each of the first seconds.
fn rising(policy: model::Balance, affinity: bool) -> Vec<usize> {
    let rules = Rules {
        policy,
        slow_start: Duration::from_secs(10),
        ..Rules::default()
    };
    let balance = Balance::new(rules, servers(2));
    let back = &balance.servers()[0];
    let now = Instant::now();
    balance.set_healthy(back, false, now);
    balance.set_healthy(back, true, now);
    let sticky = model::Sticky::Header(http::header::FROM);
    let mut leases = Vec::new();
    let mut count = |second| {
        let picks = (0..1000).filter(|i| {
            let headers = http::HeaderMap::from_iter([(http::header::FROM, (*i).into())]);
            let key = affinity.then(|| Affinity::of(&sticky, &headers, None).unwrap());
            let lease = balance.pick(now + Duration::from_secs(second), &[], key.as_ref());
            leases.push(lease.unwrap());
            name(leases.last().unwrap()) == "s0"
        });
        picks.count()
    };
    (0..=10).map(&mut count).collect()
}

#[test]
fn a_server_that_comes_back_gets_a_growing_share() {
    for (policy, affinity) in [
        (RoundRobin, false),
        (LeastStreams, false),
        (RoundRobin, true),
    ] {
        let shares = rising(policy, affinity);
        assert_eq!(shares[0], 0, "{shares:?}");
        assert!(shares.is_sorted(), "{shares:?}");
        assert!((25..=150).contains(&shares[1]), "{policy:?} {shares:?}");
        assert!(shares[10] >= 450, "{policy:?} {shares:?}");
    }
}

#[test]
fn the_same_request_goes_to_the_same_server_and_moves_only_if_it_must() {
    let balance = balance(RoundRobin, 4);
    let now = Instant::now();
    let sticky = model::Sticky::Header(http::header::FROM);
    let of = |i: u32| {
        let headers = http::HeaderMap::from_iter([(http::header::FROM, i.into())]);
        let affinity = Affinity::of(&sticky, &headers, None).unwrap();
        name(&balance.pick(now, &[], Some(&affinity)).unwrap()).to_owned()
    };
    let before: Vec<_> = (0..400).map(of).collect();
    assert_eq!((0..400).map(of).collect::<Vec<_>>(), before);
    for server in 0..4 {
        let share = before.iter().filter(|name| **name == format!("s{server}"));
        assert!((60..140).contains(&share.count()), "{before:?}");
    }
    balance.set_healthy(&balance.servers()[2], false, now);
    for (i, before) in (0..400).zip(&before) {
        assert_eq!(of(i) == *before, before != "s2");
    }
}

proptest! {
    /// Whatever the state, all untried healthy servers are offered once
    /// each, those not suspect first, and then none.
    #[test]
    fn every_healthy_server_is_offered_once(
        states in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..8),
        least in any::<bool>(),
        turns in 0_usize..20,
    ) {
        let balance = balance(if least { LeastStreams } else { RoundRobin }, states.len());
        let now = Instant::now();
        for _ in 0..turns {
            drop(balance.pick(now, &[], None));
        }
        for (server, (healthy, suspect)) in balance.servers().iter().zip(&states) {
            balance.set_healthy(server, *healthy, now);
            if *suspect {
                server.suspect(now);
            }
        }
        let mut tried: Vec<Arc<Server>> = Vec::new();
        while let Ok(lease) = balance.pick(now, &tried, None) {
            prop_assert!(lease.server().is_healthy());
            tried.push(Arc::clone(lease.server()));
        }
        let expected = states.iter().filter(|(healthy, _)| *healthy).count();
        prop_assert_eq!(tried.len(), expected);
        prop_assert!(tried.is_sorted_by_key(|server| server.doubt(now)));
        prop_assert!(balance.servers().iter().all(|server| server.open() == 0));
    }
}
