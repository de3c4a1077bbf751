//! What the proxies of these tests serve: every kind of stream there is.

use crate::checker::{Kind, Promise, Upstream};
use crate::client::Wish;
use crate::crowd::Crowd;

/// How many events an answer has.
pub(crate) const ANSWER: u64 = 25;

/// For `proxy.yaml`.
pub(crate) const ROUTES: &[(&str, &str)] = &[
    (
        "/shared/ids",
        "mode: shared, principal: [], resume: last_event_id",
    ),
    ("/shared/bare", "mode: shared, principal: []"),
    ("/private/ids", "resume: last_event_id"),
    ("/private/bare", ""),
    (
        "/answers",
        "mode: one_shot, key: { headers: [idempotency-key] }",
    ),
];

/// What is promised by a journal that keeps everything.
pub(crate) fn kept(path: &str) -> Promise {
    let bare = path.contains("/bare");
    Promise {
        kind: if path.starts_with("/answers") {
            Kind::Answer { events: ANSWER }
        } else {
            Kind::Endless
        },
        // What nobody was connected for, the origin alone could tell.
        gaps: if bare { &["upstream"] } else { &[] },
        kept: true,
        upstream: Upstream::One,
    }
}

/// The same where several proxies have one upstream connection by turns, and
/// one that is out of reach does not know at once that its turn is over.
pub(crate) fn kept_by_lease(path: &str) -> Promise {
    Promise {
        upstream: Upstream::Leased,
        ..kept(path)
    }
}

/// Answers that are asked for one after the other.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    asked: usize,
}

impl Answers {
    /// Asks until so many are on their way; every other one by a name.
    pub(crate) fn keep_going(&mut self, crowd: &mut Crowd, count: usize) {
        for _ in crowd.waiting()..count {
            self.asked += 1;
            let path = format!("/answers/{}", self.asked);
            let user = format!("user-{}", self.asked);
            let wish = match self.asked % 2 {
                0 => Wish::answer(path),
                _ => Wish::named(path, &self.asked.to_string()),
            };
            crowd.join(wish.of(&user));
        }
    }
}
