//! Each violation is found, and what is allowed is none.

use super::*;

const FEED: Promise = Promise {
    kind: Kind::Endless,
    gaps: &["upstream"],
    kept: true,
    upstream: Upstream::One,
};

const ANSWER: Promise = Promise {
    kind: Kind::Answer { events: 3 },
    gaps: &[],
    ..FEED
};

fn event(number: u64) -> Entry {
    let id = format!("s1.epoch.{number}");
    Entry::Event { number, id }
}

fn gap(reason: &str) -> Entry {
    announced(reason, false)
}

fn announced(reason: &str, by_event: bool) -> Entry {
    let reason = reason.to_owned();
    Entry::Gap { reason, by_event }
}

fn opened(after: u64) -> Entry {
    Entry::Opened {
        proxy: 0,
        after: format!("s1.epoch.{after}"),
        resumed: "exact".to_owned(),
    }
}

fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<Entry> {
    numbers.into_iter().map(event).collect()
}

fn session(name: &str, entries: Vec<Entry>) -> Transcript {
    Transcript {
        entries,
        ..Transcript::new(name, "/feed")
    }
}

fn found(promise: Promise, sessions: Vec<Transcript>) -> Vec<Violation> {
    let story = Story {
        sessions,
        ..Story::default()
    };
    let report = check(story, |_| promise);
    report
        .violations
        .into_iter()
        .map(|(_, what)| what)
        .collect()
}

fn in_one(promise: Promise, entries: Vec<Entry>) -> Vec<Violation> {
    found(promise, vec![session("one", entries)])
}

#[test]
fn what_is_promised_is_no_violation() {
    let cut = Entry::Ended { clean: false };
    let down = Entry::Refused {
        proxy: 1,
        status: 503,
    };
    let entries = [
        events(7..=9),
        vec![cut, down, opened(9), event(10), gap("upstream")],
        events(13..=14),
        vec![gap("upstream")],
        events(15..=15),
        vec![Entry::Ended { clean: true }],
    ];
    // Whoever comes later begins wherever the feed is by then.
    let late = session("late", events(14..=15));
    let early = session("early", entries.concat());
    assert_eq!(found(FEED, vec![early, late]), []);
}

#[test]
fn a_loss_is_found() {
    let lost = Violation::Lost { after: 2, next: 4 };
    assert_eq!(in_one(FEED, events([1, 2, 4])), std::slice::from_ref(&lost));
    // An announcement at another place does not count.
    let before = [events([1]), vec![gap("upstream")], events([2, 4])].concat();
    assert_eq!(in_one(FEED, before), std::slice::from_ref(&lost));
    let after = [events([1, 2, 4]), vec![gap("upstream")]].concat();
    assert_eq!(in_one(FEED, after), [lost]);
    // A header alone says that there is a gap, not where.
    let mut entries = events([1, 2]);
    entries.push(Entry::Opened {
        proxy: 0,
        after: "2".to_owned(),
        resumed: "gap".to_owned(),
    });
    entries.push(event(4));
    assert_eq!(in_one(FEED, entries).len(), 1);
}

#[test]
fn a_gap_is_announced_on_the_connection_that_has_it() {
    let cut_after = |gap| [vec![event(1), gap, opened(1)], events(3..=4)].concat();
    let lost = Violation::Lost { after: 1, next: 3 };
    assert_eq!(in_one(FEED, cut_after(gap("upstream"))), [lost]);
    // The client came back with the id of what announced it.
    assert_eq!(in_one(FEED, cut_after(announced("upstream", true))), []);
}

#[test]
fn a_repetition_is_found_across_connections() {
    let entries = [events(1..=3), vec![opened(3)], events(3..=4)].concat();
    let twice = Violation::Twice { number: 3 };
    assert_eq!(in_one(FEED, entries), [twice]);
    let entries = [events(1..=3), vec![gap("upstream")], events(2..=4)].concat();
    let violations = in_one(FEED, entries);
    let disorder = Violation::Disorder {
        after: 3,
        number: 2,
    };
    assert_eq!(violations[0], disorder);
}

#[test]
fn a_needless_gap_is_found() {
    let promise = Promise { gaps: &[], ..FEED };
    let entries = vec![event(1), gap("upstream"), event(2)];
    let needless = |reason: &str| Violation::Needless {
        after: 1,
        reason: reason.to_owned(),
    };
    assert_eq!(in_one(promise, entries), [needless("upstream")]);
    let entries = vec![event(1), gap("unknown-id"), event(2)];
    assert_eq!(in_one(FEED, entries), [needless("unknown-id")]);
}

#[test]
fn a_gap_hides_nothing_that_is_kept() {
    let lucky = session("lucky", events(1..=5));
    let entries = [events(1..=2), vec![gap("upstream")], events(5..=5)].concat();
    let unlucky = session("unlucky", entries);
    let sessions = vec![lucky, unlucky];
    let withheld = Violation::Withheld { number: 3 };
    assert_eq!(found(FEED, sessions.clone()), [withheld]);
    let promise = Promise {
        kept: false,
        ..FEED
    };
    assert_eq!(found(promise, sessions), []);
}

#[test]
fn an_id_names_one_event() {
    let reused = Entry::Event {
        number: 9,
        id: "s1.epoch.2".to_owned(),
    };
    let sessions = vec![
        session("one", events(1..=3)),
        session("two", vec![event(8), reused]),
    ];
    let ambiguous = Violation::Ambiguous {
        id: "s1.epoch.2".to_owned(),
        events: ["/feed 2".to_owned(), "/feed 9".to_owned()],
    };
    assert_eq!(found(FEED, sessions), [ambiguous]);
}

#[test]
fn the_origins_ids_are_those_of_a_feed() {
    let bare = |feed: &str, number: u64| Transcript {
        entries: vec![Entry::Event {
            number,
            id: "7".to_owned(),
        }],
        ..Transcript::new("a client", feed)
    };
    assert_eq!(found(FEED, vec![bare("/a", 7), bare("/b", 8)]), []);
    assert_eq!(found(FEED, vec![bare("/a", 7), bare("/a", 8)]).len(), 1);
}

#[test]
fn what_is_nobodys_business_is_found() {
    let stranger = || Violation::Stranger {
        data: "/other 3".to_owned(),
    };
    let entries = vec![
        Entry::Stranger {
            data: "/other 3".to_owned(),
        },
        Entry::Empty,
        Entry::Refused {
            proxy: 0,
            status: 204,
        },
    ];
    assert_eq!(
        in_one(FEED, entries),
        [
            stranger(),
            Violation::Empty,
            Violation::SentAway { status: 204 }
        ]
    );
}

#[test]
fn a_truncated_answer_does_not_end_cleanly() {
    let ending = |numbers, clean| [events(numbers), vec![Entry::Ended { clean }]].concat();
    assert_eq!(in_one(ANSWER, ending(1..=3, true)), []);
    assert_eq!(in_one(ANSWER, ending(1..=2, false)), []);
    assert_eq!(
        in_one(ANSWER, ending(1..=2, true)),
        [Violation::Truncated { at: 2, of: 3 }]
    );
    // It begins with its first event, and has no gaps.
    let lost = Violation::Lost { after: 0, next: 2 };
    assert_eq!(in_one(ANSWER, events(2..=3)), [lost]);
}

#[test]
fn an_answer_that_is_kept_is_found_again() {
    let entries = vec![
        event(1),
        Entry::Ended { clean: false },
        Entry::Refused {
            proxy: 0,
            status: 410,
        },
    ];
    let away = Violation::SentAway { status: 410 };
    assert_eq!(in_one(ANSWER, entries.clone()), [away]);
    let promise = Promise {
        kept: false,
        ..ANSWER
    };
    assert_eq!(in_one(promise, entries), []);
}

#[test]
fn a_second_execution_is_found() {
    let executed = |times| {
        let story = Story {
            executions: vec![("/answers/1".to_owned(), times)],
            ..Story::default()
        };
        check(story, |_| ANSWER).violations.len()
    };
    assert_eq!([executed(0), executed(1), executed(2)], [0, 0, 1]);
}

/// Connections by the milliseconds of their beginning and end; `None` is open.
fn connections(times: &[(u64, Option<u64>)], upstream: Upstream) -> Report {
    let start = Instant::now();
    let at = |millis: u64| start + Duration::from_millis(millis);
    let connections = times.iter().map(|(opened, closed)| Connection {
        after: None,
        feed: "/feed".to_owned(),
        opened: at(*opened),
        closed: closed.map(at),
    });
    let story = Story {
        connections: connections.collect(),
        ..Story::default()
    };
    check(story, |_| Promise { upstream, ..FEED })
}

#[test]
fn a_second_upstream_connection_is_found() {
    let crowds: [&[(u64, Option<u64>)]; 4] = [
        &[(0, Some(10)), (5, Some(20))],
        // Inside a long one that was followed by short ones.
        &[(0, Some(30)), (1, Some(1)), (25, Some(40))],
        &[(0, None), (5, Some(6))],
        &[(0, None), (5, None)],
    ];
    for crowd in crowds {
        let report = connections(crowd, Upstream::One);
        assert_eq!(report.violations.len(), 1, "{crowd:?}");
    }
    // A lease excuses those that came to an end.
    for (number, crowd) in crowds.iter().enumerate() {
        let report = connections(crowd, Upstream::Leased);
        let found = (report.violations.len(), report.overlaps.len());
        assert_eq!(found, if number == 3 { (1, 0) } else { (0, 1) });
    }
    let apart = [(0, Some(10)), (10, Some(20)), (21, None)];
    let report = connections(&apart, Upstream::One);
    assert!(report.violations.is_empty());
}

#[test]
fn the_length_of_an_overlap_is_told() {
    let report = connections(&[(0, Some(10)), (4, Some(20))], Upstream::Leased);
    assert_eq!(report.overlaps[0].1, Duration::from_millis(6));
}

#[test]
fn a_client_that_does_not_get_to_the_end_is_found() {
    let story = Story {
        sessions: vec![
            session("slow", events(1..=3)),
            session("one", events(2..=4)),
        ],
        ends: HashMap::from([("/feed".to_owned(), 4)]),
        ..Story::default()
    };
    let stuck = Violation::Stuck { at: 3, of: 4 };
    let violations = check(story, |_| FEED).violations;
    assert_eq!(violations, [("slow".to_owned(), stuck)]);
}
