//! One proxy that is killed at random moments, and started again in its place.

use std::time::Duration;

use crate::crowd::Crowd;
use crate::origin::{Manner, Origin};
use crate::process::{Proxy, Setup};
use crate::seed::Seed;
use crate::service::{ANSWER, Answers, ROUTES};
use crate::transcript::Story;

/// So many kills under load, with this journal.
pub(crate) async fn story(seed: &mut Seed, journal: &str, kills: usize) -> Story {
    let origin = Origin::start(Manner {
        pace: Duration::from_millis(20),
        answer: ANSWER,
        ..Manner::default()
    })
    .await;
    let setup = Setup {
        upstream: origin.url(),
        journal,
        routes: ROUTES,
    };
    let mut proxy = Proxy::start("sse-proxy", &setup).await;
    let mut crowd = Crowd::new([proxy.address().to_owned()]);
    crowd.join_shared(8, "/shared/ids");
    crowd.join_shared(8, "/shared/bare");
    crowd.join_private(8, "/private/ids");
    crowd.join_private(8, "/private/bare");
    crowd.begun().await;
    let mut answers = Answers::default();
    for _ in 0..kills {
        answers.keep_going(&mut crowd, 6);
        seed.pause(20..600).await;
        crowd.shuffle(seed, 8);
        proxy.process.kill().await;
        seed.pause(0..50).await;
        proxy.process.restart().await;
    }
    crowd.finish(&origin).await
}

/// A journal that forgets is found out: so the checker has teeth, and the
/// faults give it something to bite.
mod tests {
    use super::*;
    use crate::checker::{Violation, check};
    use crate::service::kept;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn memory_is_not_enough() {
        let mut seed = Seed::of("memory_is_not_enough");
        let story = story(&mut seed, "kind: memory", 6).await;
        let report = check(story, kept);
        println!("{report}");
        let found = |what: fn(&Violation) -> bool| {
            let mut all = report.violations.iter();
            assert!(all.any(|(_, violation)| what(violation)), "{report}");
        };
        found(|v| matches!(v, Violation::Needless { reason, .. } if reason == "unknown-id"));
        found(|v| matches!(v, Violation::SentAway { status: 410 }));
    }
}
