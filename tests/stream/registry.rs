//! Finding and opening streams, by many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use tower_sse::stream::create::NewStream;
use tower_sse::stream::id::Epoch;
use tower_sse::stream::key::Key;
use tower_sse::stream::policy::Kind;
use tower_sse::stream::pump::{Beginning, Pump};
use tower_sse::stream::registry::{Claim, Registry};
use tower_sse::stream::stream::Stream;

use crate::support::{Pipe, Signals, policy};

/// Only there to turn a hang into a failure.
const HANG: Duration = Duration::from_secs(60);

fn key(text: &str) -> Key {
    Key::Request(text.as_bytes().into())
}

fn build(registry: &Arc<Registry>, key: Option<Key>) -> (Arc<Stream>, Box<Pump>) {
    let signals: Arc<Signals> = Arc::default();
    let new = NewStream {
        key,
        name: None,
        epoch: Epoch::private().unwrap(),
        journaled: None,
        unknown: false,
        policy: policy(Kind::Shared, &signals),
        head: Box::default(),
        principal: None,
        scope: Box::default(),
        opened_with: None,
        source: None,
        beginning: Beginning::Live {
            body: Pipe::new().body(),
            gap: false,
        },
    };
    new.build(registry)
}

#[tokio::test]
async fn a_claim_is_exclusive_until_it_is_filled_or_dropped() {
    let registry = Arc::new(Registry::new(1 << 20));
    let key = key("k");
    let Claim::Mine(first) = registry.claim(&key) else {
        panic!("it is free");
    };
    assert!(registry.find(&key).is_none());
    assert!(registry.streams().is_empty());
    let Claim::Opening(waits) = registry.claim(&key) else {
        panic!("it is taken");
    };
    drop(first);
    timeout(HANG, waits.done()).await.expect("never told");
    let Claim::Mine(second) = registry.claim(&key) else {
        panic!("it was given up");
    };
    let Claim::Opening(waits) = registry.claim(&key) else {
        panic!("it is taken");
    };
    let (stream, _pump) = build(&registry, Some(key.clone()));
    second.fill(&stream);
    timeout(HANG, waits.done()).await.expect("never told");
    let Claim::Open(found) = registry.claim(&key) else {
        panic!("it is open");
    };
    assert!(Arc::ptr_eq(&found, &stream));
    assert!(Arc::ptr_eq(&registry.find(&key).unwrap(), &stream));
}

#[tokio::test]
async fn a_stream_does_not_take_its_successor_along() {
    let registry = Arc::new(Registry::new(1 << 20));
    let (old, old_pump) = build(&registry, Some(key("k")));
    registry.insert(key("k"), &old);
    let (new, _pump) = build(&registry, Some(key("k")));
    registry.insert(key("k"), &new);
    drop(old_pump);
    assert!(Arc::ptr_eq(&registry.find(&key("k")).unwrap(), &new));
}

#[tokio::test]
async fn a_stream_that_never_ran_costs_nothing() {
    let registry = Arc::new(Registry::new(1 << 20));
    let key = key("k");
    let Claim::Mine(claimed) = registry.claim(&key) else {
        panic!("it is free");
    };
    let (stream, pump) = build(&registry, Some(key.clone()));
    claimed.fill(&stream);
    drop(pump);
    assert_eq!(registry.bytes(), 0);
    assert!(matches!(registry.claim(&key), Claim::Mine(_)));
}

/// Many tasks want the same few keys. Openers fail now and then. Nobody waits
/// for ever, and no two open the same key at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_under_contention() {
    const KEYS: usize = 3;
    let registry = Arc::new(Registry::new(1 << 30));
    let opening: Arc<[AtomicUsize; KEYS]> = Arc::default();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let (registry, opening) = (Arc::clone(&registry), Arc::clone(&opening));
            tokio::spawn(async move {
                for round in 0..50 {
                    let at = (task + round) % KEYS;
                    use_key(&registry, &key(&at.to_string()), &opening[at], task + round).await;
                }
            })
        })
        .collect();
    for task in tasks {
        timeout(HANG, task).await.expect("hangs").unwrap();
    }
    assert_eq!(registry.streams().len(), 0);
    assert_eq!(registry.bytes(), 0);
}

async fn use_key(registry: &Arc<Registry>, key: &Key, opening: &AtomicUsize, luck: usize) {
    loop {
        match registry.claim(key) {
            Claim::Open(_) => return,
            Claim::Opening(other) => {
                other.done().await;
            }
            Claim::Mine(claimed) => {
                assert_eq!(opening.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                tokio::task::yield_now().await;
                let (stream, pump) = build(registry, Some(key.clone()));
                opening.fetch_sub(1, Ordering::SeqCst);
                if luck.is_multiple_of(3) {
                    claimed.fill(&stream);
                    tokio::task::yield_now().await;
                }
                drop(pump);
                return;
            }
        }
    }
}
