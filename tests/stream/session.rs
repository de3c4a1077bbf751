//! The decision maker, driven by hand-made instants.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use tower_sse::log::Ending;
use tower_sse::stream::policy::{DEFAULT_LINGER, Linger, Reconnect};
use tower_sse::stream::session::{End, Session, State, Terms};
use tower_sse::stream::source::Refusal;

const COMPLETE: State = State::Ended(End::Upstream(Ending::Complete));

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn terms() -> Terms {
    Terms {
        finite: false,
        marked: false,
        linger: Linger::For(secs(30)),
        max_runtime: secs(900),
        retain: secs(600),
        reconnect: Reconnect::default(),
        hold: secs(10),
        upstream_idle: None,
    }
}

fn one_shot() -> Terms {
    Terms {
        finite: true,
        ..terms()
    }
}

fn refusal(status: u16) -> Refusal {
    Refusal {
        status,
        retry_after: None,
    }
}

/// A session with one reader, and the time it began.
fn read(terms: Terms) -> (Session, Instant) {
    let now = Instant::now();
    let mut session = Session::live(terms, now);
    session.readers(1, now);
    (session, now)
}

fn aborted(session: &Session) -> bool {
    matches!(
        session.state(),
        State::Ended(End::Upstream(Ending::Aborted(_)))
    )
}

#[test]
fn a_live_session_that_is_read_waits_for_nothing() {
    let (session, _) = read(terms());
    assert_eq!(session.state(), State::Live);
    assert_eq!(session.deadline(), None);
}

#[test]
fn an_end_of_either_kind_is_hidden() {
    for clean in [true, false] {
        let (mut session, now) = read(terms());
        session.closed(clean, now, 0.5);
        let until = now + Duration::from_millis(500);
        assert_eq!(session.state(), State::BackingOff { until });
        assert_eq!(session.deadline(), Some(until));
        session.tick(until - Duration::from_nanos(1), 0.5);
        assert_eq!(session.state(), State::BackingOff { until });
        session.tick(until, 0.5);
        assert_eq!(session.state(), State::Connecting);
        session.opened(until);
        assert_eq!(session.state(), State::Live);
        assert_eq!(session.deadline(), None);
    }
}

#[test]
fn attempts_back_off_until_an_event_comes() {
    let (mut session, start) = read(terms());
    let mut now = start;
    session.closed(true, now, 1.0);
    for bound in [1, 2, 4, 8] {
        assert_eq!(
            session.state(),
            State::BackingOff {
                until: now + secs(bound)
            }
        );
        now += secs(bound);
        session.tick(now, 1.0);
        session.unreachable(now, 1.0);
    }
    now += secs(16);
    session.tick(now, 1.0);
    // An answer alone is no sign of health: the backoff goes on from there.
    session.opened(now);
    session.closed(true, now, 1.0);
    assert_eq!(
        session.state(),
        State::BackingOff {
            until: now + secs(30)
        }
    );
    now += secs(30);
    session.tick(now, 1.0);
    session.opened(now);
    session.event(now);
    session.closed(true, now, 1.0);
    assert_eq!(
        session.state(),
        State::BackingOff {
            until: now + secs(1)
        }
    );
}

#[test]
fn the_upstream_names_the_first_delay() {
    let (mut session, now) = read(terms());
    session.retry(secs(7));
    session.closed(true, now, 1.0);
    assert_eq!(
        session.state(),
        State::BackingOff {
            until: now + secs(7)
        }
    );
}

/// `retry: 0` and nobody listening must not be a loop without a pause.
#[test]
fn no_delay_at_all_does_not_last() {
    let (mut session, start) = read(terms());
    session.retry(Duration::ZERO);
    session.closed(true, start, 1.0);
    let mut now = start;
    let mut attempts = 0;
    while now < start + secs(60) {
        let State::BackingOff { until } = session.state() else {
            panic!("{:?}", session.state());
        };
        now = until;
        session.tick(now, 1.0);
        session.unreachable(now, 1.0);
        attempts += 1;
        assert!(attempts < 100, "a busy loop");
    }
}

#[test]
fn an_absurd_retry_after_is_not_none() {
    let (mut session, now) = read(terms());
    session.closed(true, now, 0.0);
    session.tick(now, 0.0);
    let refusal = Refusal {
        status: 503,
        retry_after: Some(Duration::MAX),
    };
    session.refused(refusal, now, 0.0);
    session.tick(now + secs(299), 0.0);
    assert!(matches!(session.state(), State::BackingOff { .. }));
    session.tick(now + secs(300), 0.0);
    assert_eq!(session.state(), State::Failed);
}

#[test]
fn retry_after_is_the_least() {
    let (mut session, now) = read(terms());
    session.closed(true, now, 0.0);
    session.tick(now, 0.0);
    let busy = Refusal {
        status: 503,
        retry_after: Some(secs(45)),
    };
    session.refused(busy, now, 0.0);
    assert_eq!(
        session.state(),
        State::BackingOff {
            until: now + secs(45)
        }
    );
}

#[test]
fn what_each_status_means() {
    let after = |status| {
        let (mut session, now) = read(terms());
        session.closed(true, now, 0.0);
        session.tick(now, 0.0);
        session.refused(refusal(status), now, 0.5);
        session.state()
    };
    assert_eq!(after(204), COMPLETE);
    for status in [401, 403, 404, 410] {
        assert_eq!(after(status), State::Ended(End::Status(status)));
    }
    // 200 without an event stream included: a deploy's placeholder page.
    for status in [200, 301, 307, 400, 408, 418, 429, 500, 502, 503, 504] {
        assert!(
            matches!(after(status), State::BackingOff { .. }),
            "{status}"
        );
    }
}

#[test]
fn it_gives_up_in_time_and_is_taken_up_again() {
    let (mut session, start) = read(terms());
    session.closed(true, start, 1.0);
    let mut now = start;
    while let Some(deadline) = session.deadline() {
        now = deadline;
        session.tick(now, 1.0);
        if session.state() == State::Connecting {
            session.unreachable(now, 1.0);
        }
    }
    assert_eq!(session.state(), State::Failed);
    assert_eq!(now, start + secs(300));
    // Its readers are on their way out; the next one wants it again.
    session.readers(0, now);
    assert_eq!(session.deadline(), Some(now + secs(600)));
    now += secs(599);
    session.readers(1, now);
    assert_eq!(session.state(), State::Connecting);
    assert_eq!(session.deadline(), Some(now + secs(300)));
    // As if it were the first attempt.
    session.unreachable(now, 1.0);
    assert_eq!(
        session.state(),
        State::BackingOff {
            until: now + secs(1)
        }
    );
}

/// An opening that never answers is given up, too.
#[test]
fn a_connection_that_hangs_is_given_up() {
    let (mut session, now) = read(terms());
    session.closed(true, now, 0.0);
    session.tick(now, 0.0);
    assert_eq!(session.state(), State::Connecting);
    assert_eq!(session.deadline(), Some(now + secs(300)));
    session.tick(now + secs(300), 0.0);
    assert_eq!(session.state(), State::Failed);
}

#[test]
fn a_held_session_is_held_that_long() {
    let now = Instant::now();
    let mut session = Session::held(terms(), now, 1.0);
    session.readers(1, now);
    assert_eq!(
        session.state(),
        State::BackingOff {
            until: now + secs(1)
        }
    );
    session.tick(now + secs(1), 1.0);
    assert_eq!(session.state(), State::Connecting);
    session.tick(now + secs(10), 1.0);
    assert_eq!(session.state(), State::Failed);

    let mut session = Session::held(terms(), now, 0.0);
    session.readers(1, now);
    session.tick(now, 0.0);
    session.opened(now);
    session.closed(true, now, 1.0);
    // Once it was there, it is waited for as any other.
    session.tick(now + secs(2), 1.0);
    assert_eq!(session.deadline(), Some(now + secs(300)));
}

#[test]
fn linger_is_counted_from_the_last_reader() {
    let (mut session, start) = read(terms());
    session.readers(0, start + secs(100));
    assert_eq!(session.state(), State::Live);
    assert_eq!(session.deadline(), Some(start + secs(130)));
    // Nobody left once more: the time runs on.
    session.readers(0, start + secs(120));
    assert_eq!(session.deadline(), Some(start + secs(130)));
    session.readers(1, start + secs(125));
    assert_eq!(session.deadline(), None);
    session.readers(0, start + secs(126));
    session.tick(start + secs(156), 0.5);
    assert_eq!(session.state(), State::Dormant);
    session.readers(1, start + secs(700));
    assert_eq!(session.state(), State::Connecting);
}

#[test]
fn no_linger_is_a_cancellation() {
    let zero = Linger::For(Duration::ZERO);
    let (mut session, now) = read(Terms {
        linger: zero,
        ..terms()
    });
    session.readers(0, now);
    assert_eq!(session.deadline(), Some(now));
    session.tick(now, 0.5);
    assert_eq!(session.state(), State::Dormant);

    let (mut session, now) = read(Terms {
        linger: zero,
        ..one_shot()
    });
    session.readers(0, now);
    session.tick(now, 0.5);
    assert!(aborted(&session));
}

#[test]
fn complete_lets_a_one_shot_finish_alone() {
    let complete = Linger::Complete;
    let (mut session, now) = read(Terms {
        linger: complete,
        max_runtime: secs(7200),
        ..one_shot()
    });
    session.readers(0, now);
    assert_eq!(session.deadline(), Some(now + secs(7200)));
    session.closed(true, now + secs(3600), 0.5);
    assert_eq!(session.state(), COMPLETE);
    assert_eq!(session.deadline(), Some(now + secs(4200)));

    // What has no end is not run to it.
    let (mut session, now) = read(Terms {
        linger: complete,
        ..terms()
    });
    session.readers(0, now);
    assert_eq!(session.deadline(), Some(now + DEFAULT_LINGER));
}

/// It cannot finish: its buffer is full. It may have become so while there was
/// a reader, or after, or long after.
#[test]
fn complete_does_not_wait_for_ever_with_a_full_buffer() {
    let stuck = || {
        read(Terms {
            linger: Linger::Complete,
            max_runtime: secs(7200),
            ..one_shot()
        })
    };
    let retain = secs(600);

    let (mut session, now) = stuck();
    session.blocked(true, now);
    assert_eq!(session.deadline(), None, "its reader may read on");
    session.readers(0, now + secs(1));
    assert_eq!(session.deadline(), Some(now + secs(1) + retain));

    let (mut session, now) = stuck();
    session.readers(0, now);
    session.blocked(true, now + secs(3600));
    session.blocked(true, now + secs(3700));
    let deadline = now + secs(3600) + retain;
    assert_eq!(
        session.deadline(),
        Some(deadline),
        "a client has that long to come back"
    );
    session.readers(1, deadline);
    assert_eq!(session.deadline(), None);
    session.blocked(false, deadline);
    session.readers(0, deadline);
    assert_eq!(session.deadline(), Some(now + secs(7200)));
    session.blocked(true, deadline);
    session.tick(deadline + retain, 0.5);
    assert!(aborted(&session));
}

#[test]
fn silence_is_an_end() {
    let (mut session, now) = read(Terms {
        upstream_idle: Some(secs(45)),
        ..terms()
    });
    session.event(now + secs(10));
    assert_eq!(session.deadline(), Some(now + secs(55)));
    session.tick(now + secs(54), 1.0);
    assert_eq!(session.state(), State::Live);
    session.tick(now + secs(55), 1.0);
    assert_eq!(
        session.state(),
        State::BackingOff {
            until: now + secs(56)
        }
    );

    let (mut session, now) = read(Terms {
        upstream_idle: Some(secs(45)),
        ..one_shot()
    });
    session.tick(now + secs(45), 1.0);
    assert!(aborted(&session));
}

/// An upstream that is not read cannot be heard.
#[test]
fn silence_of_ones_own_making_is_none() {
    let (mut session, now) = read(Terms {
        upstream_idle: Some(secs(45)),
        ..one_shot()
    });
    session.blocked(true, now + secs(1));
    assert_eq!(session.deadline(), None);
    session.tick(now + secs(100), 1.0);
    assert_eq!(session.state(), State::Live);
    session.blocked(false, now + secs(100));
    assert_eq!(session.deadline(), Some(now + secs(145)));
    session.tick(now + secs(145), 1.0);
    assert!(aborted(&session));
}

#[test]
fn a_one_shot_is_never_asked_for_again() {
    let (mut session, now) = read(one_shot());
    session.closed(true, now, 0.5);
    assert_eq!(session.state(), COMPLETE);

    let (mut session, now) = read(one_shot());
    session.closed(false, now, 0.5);
    assert!(aborted(&session));

    let (mut session, now) = read(one_shot());
    session.broken("event too large", now);
    assert_eq!(
        session.state(),
        State::Ended(End::Upstream(Ending::Aborted("event too large")))
    );

    let (mut session, now) = read(one_shot());
    session.reset(now);
    assert_eq!(session.state(), State::Live);
}

/// Where the last event can be told from the others, nothing else says that an
/// answer is whole.
#[test]
fn an_answer_is_whole_if_its_last_event_came() {
    let marked = |finished: bool| {
        let terms = Terms {
            marked: true,
            ..one_shot()
        };
        let (mut session, now) = read(terms);
        if finished {
            session.finished();
        }
        (session, now)
    };
    let (mut session, now) = marked(false);
    session.closed(true, now, 0.5);
    let early = Ending::Aborted("upstream ended before its last event");
    assert_eq!(session.state(), State::Ended(End::Upstream(early)));
    for clean in [true, false] {
        let (mut session, now) = marked(true);
        session.closed(clean, now, 0.5);
        assert_eq!(session.state(), COMPLETE, "clean: {clean}");
    }
    // Nobody waits for a connection that stays open after it.
    let (mut session, now) = marked(true);
    session.readers(0, now);
    session.tick(now + secs(30), 0.5);
    assert_eq!(session.state(), COMPLETE);
    let (mut session, now) = marked(true);
    session.stop("test", now);
    assert_eq!(session.state(), COMPLETE);
}

/// A page that asks by GET would have it executed again.
#[test]
fn what_has_had_its_last_event_is_not_asked_for_again() {
    for clean in [true, false] {
        let (mut session, now) = read(terms());
        session.finished();
        session.closed(clean, now, 0.5);
        assert_eq!(session.state(), COMPLETE);
    }
    let (mut session, now) = read(terms());
    session.finished();
    session.readers(0, now);
    session.tick(now + secs(30), 0.5);
    assert_eq!(session.state(), COMPLETE);
    session.readers(1, now + secs(31));
    assert_eq!(session.state(), COMPLETE);
}

#[test]
fn a_stop_is_an_end_at_once() {
    let stopped = State::Ended(End::Upstream(Ending::Aborted("test")));
    for terms in [terms(), one_shot()] {
        let (mut session, now) = read(terms);
        session.stop("test", now);
        assert_eq!(session.state(), stopped);
        session.closed(true, now, 0.5);
        session.stop("again", now);
        assert_eq!(session.state(), stopped);
    }
}

/// Left to run to its end, it does not run for ever; but whoever left just now
/// has the usual time to come back.
#[test]
fn what_nobody_reads_runs_for_so_long() {
    let terms = Terms {
        linger: Linger::Complete,
        ..one_shot()
    };
    let (mut session, now) = read(terms);
    session.tick(now + secs(899), 0.5);
    session.readers(0, now + secs(100));
    assert_eq!(session.deadline(), Some(now + secs(900)));
    session.tick(now + secs(900), 0.5);
    assert!(aborted(&session));

    let (mut session, now) = read(terms);
    session.tick(now + secs(2000), 0.5);
    assert_eq!(session.state(), State::Live, "it is read");
    session.readers(0, now + secs(2000));
    assert_eq!(session.deadline(), Some(now + secs(2000) + DEFAULT_LINGER));
    session.tick(now + secs(2030), 0.5);
    assert!(aborted(&session));
}

#[test]
fn a_broken_rule_is_not_mended_by_asking_again() {
    let (mut session, now) = read(terms());
    session.broken("event too large", now);
    assert_eq!(session.state(), State::Failed);
}

#[test]
fn a_reset_asks_at_once() {
    let (mut session, now) = read(terms());
    session.reset(now);
    assert_eq!(session.state(), State::Connecting);
    assert_eq!(session.deadline(), Some(now + secs(300)));
}

#[test]
fn nothing_comes_after_the_end() {
    let (mut session, now) = read(terms());
    session.closed(true, now, 0.0);
    session.tick(now, 0.0);
    session.refused(refusal(404), now, 0.0);
    let ended = State::Ended(End::Status(404));
    session.opened(now);
    session.closed(false, now, 0.0);
    session.reset(now);
    session.unreachable(now, 0.0);
    session.refused(refusal(503), now, 0.0);
    session.broken("test", now);
    session.readers(3, now);
    session.tick(now + secs(1000), 0.0);
    assert_eq!(session.state(), ended);
}

#[test]
fn what_rests_is_kept_for_a_while_after_the_last_reader() {
    let (mut session, now) = read(terms());
    session.readers(0, now);
    session.tick(now + secs(30), 0.5);
    assert_eq!(session.deadline(), Some(now + secs(630)));
    assert!(!session.is_over());
    session.tick(now + secs(630), 0.5);
    assert!(session.is_over());

    // It ended long ago, but somebody was still reading.
    let (mut session, now) = read(one_shot());
    session.closed(true, now, 0.5);
    session.tick(now + secs(601), 0.5);
    assert!(!session.is_over());
    session.readers(0, now + secs(1000));
    assert_eq!(
        session.deadline(),
        Some(now + secs(1600)),
        "its client may come back"
    );
}

#[test]
fn eviction_spares_what_is_read() {
    let (mut session, now) = read(terms());
    session.evict();
    assert!(!session.is_over());
    session.readers(0, now);
    assert!(!session.is_over(), "the order was for then");
    session.evict();
    assert!(session.is_over());
    session.readers(1, now);
    assert!(!session.is_over(), "somebody came just in time");
}

#[test]
fn times_without_end_do_not_overflow() {
    let endless = Duration::MAX;
    let (mut session, now) = read(Terms {
        linger: Linger::For(endless),
        retain: endless,
        reconnect: Reconnect {
            initial: endless,
            max: endless,
            give_up_after: endless,
        },
        upstream_idle: Some(endless),
        ..terms()
    });
    session.readers(0, now);
    assert_eq!(session.deadline(), None);
    session.closed(true, now, 1.0);
    session.tick(now, 1.0);
}

#[derive(Clone, Debug)]
enum Input {
    Advance(u64),
    Wait,
    Opened,
    Refused(u16, Option<u64>),
    Unreachable,
    Event,
    Retry(u64),
    Closed(bool),
    Finished,
    Stop,
    Broken,
    Readers(usize),
    Blocked(bool),
    Reset,
    Evict,
}

fn input() -> impl Strategy<Value = Input> {
    let status = prop_oneof![Just(204u16), Just(404), Just(200), Just(503)];
    prop_oneof![
        4 => (0..100_000u64).prop_map(Input::Advance),
        8 => Just(Input::Wait),
        4 => Just(Input::Opened),
        2 => (status, proptest::option::of(0..600u64)).prop_map(|(s, r)| Input::Refused(s, r)),
        3 => Just(Input::Unreachable),
        3 => Just(Input::Event),
        1 => (0..5000u64).prop_map(Input::Retry),
        4 => any::<bool>().prop_map(Input::Closed),
        1 => Just(Input::Finished),
        1 => Just(Input::Stop),
        1 => Just(Input::Broken),
        6 => (0..3usize).prop_map(Input::Readers),
        3 => any::<bool>().prop_map(Input::Blocked),
        1 => Just(Input::Reset),
        1 => Just(Input::Evict),
    ]
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let linger = prop_oneof![
        Just(Linger::Complete),
        Just(Linger::For(Duration::ZERO)),
        (0..60u64).prop_map(|s| Linger::For(secs(s))),
        Just(Linger::For(Duration::MAX)),
    ];
    let idle = proptest::option::of((0..60u64).prop_map(secs));
    let once = (any::<bool>(), any::<bool>(), 0..900u64);
    (once, linger, 0..900u64, 0..400u64, 0..60u64, idle).prop_map(
        |((finite, marked, max_runtime), linger, retain, give_up, hold, upstream_idle)| Terms {
            finite,
            marked,
            max_runtime: secs(max_runtime),
            linger,
            retain: secs(retain),
            reconnect: Reconnect {
                give_up_after: secs(give_up),
                ..Reconnect::default()
            },
            hold: secs(hold),
            upstream_idle,
        },
    )
}

fn feed(session: &mut Session, input: &Input, now: &mut Instant, jitter: f64) {
    match input {
        Input::Advance(millis) => *now += Duration::from_millis(*millis),
        Input::Wait => *now = session.deadline().unwrap_or(*now).max(*now),
        Input::Opened => session.opened(*now),
        Input::Refused(status, retry_after) => {
            let retry_after = retry_after.map(secs);
            session.refused(
                Refusal {
                    status: *status,
                    retry_after,
                },
                *now,
                jitter,
            );
        }
        Input::Unreachable => session.unreachable(*now, jitter),
        Input::Event => session.event(*now),
        Input::Retry(millis) => session.retry(Duration::from_millis(*millis)),
        Input::Closed(clean) => session.closed(*clean, *now, jitter),
        Input::Finished => session.finished(),
        Input::Stop => session.stop("test", *now),
        Input::Broken => session.broken("test", *now),
        Input::Readers(readers) => session.readers(*readers, *now),
        Input::Blocked(blocked) => session.blocked(*blocked, *now),
        Input::Reset => session.reset(*now),
        Input::Evict => session.evict(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// A tick before the deadline changes nothing; one at it does, and not for
    /// ever: whoever drives the session neither misses a turn nor spins.
    #[test]
    fn the_deadline_is_when_a_tick_matters(
        terms in any_terms(),
        held in any::<bool>(),
        jitter in 0.0..1.0f64,
        inputs in proptest::collection::vec(input(), 1..60),
    ) {
        let mut now = Instant::now();
        let mut session = if held && !terms.finite {
            Session::held(terms, now, jitter)
        } else {
            Session::live(terms, now)
        };
        for input in &inputs {
            feed(&mut session, input, &mut now, jitter);
            let before = format!("{session:?}");
            if let Some(deadline) = session.deadline() {
                if let Some(early) = now.checked_sub(Duration::from_nanos(1)).filter(|early| *early < deadline) {
                    session.tick(early.min(deadline - Duration::from_nanos(1)), jitter);
                    prop_assert_eq!(format!("{:?}", session), before.clone(), "too early");
                }
            } else {
                session.tick(now + secs(1_000_000), jitter);
                prop_assert_eq!(format!("{:?}", session), before.clone(), "not announced");
            }
            let mut ticks = 0;
            while session.deadline().is_some_and(|at| at <= now) && !session.is_over() {
                let before = format!("{session:?}");
                session.tick(now, jitter);
                prop_assert_ne!(format!("{:?}", session), before, "a tick in vain");
                ticks += 1;
                prop_assert!(ticks < 5, "spins");
            }
        }
    }

    #[test]
    fn a_one_shot_is_live_until_it_ended(
        terms in any_terms(),
        jitter in 0.0..1.0f64,
        inputs in proptest::collection::vec(input(), 1..60),
    ) {
        let mut now = Instant::now();
        let mut session = Session::live(Terms { finite: true, ..terms }, now);
        let mut ended = None;
        for input in &inputs {
            feed(&mut session, input, &mut now, jitter);
            session.tick(now, jitter);
            let state = session.state();
            prop_assert!(state == State::Live || matches!(state, State::Ended(_)), "{:?}", state);
            prop_assert!(ended.is_none_or(|ended| ended == state));
            ended = ended.or_else(|| matches!(state, State::Ended(_)).then_some(state));
        }
    }
}
