//! From one upstream connection to the next, unseen by clients.

use std::time::Duration;

use tokio::time::Instant;
use tower_sse::log::{Ending, Next, Position};
use tower_sse::observe::{GapReason, Signal};
use tower_sse::stream::policy::{Ids, Kind, UpstreamResume};
use tower_sse::stream::session::End;
use tower_sse::stream::stream::Phase;

use crate::support::{
    CLEAN, GAP, Pipe, Setup, Step, data, events, idle, is_aborted, numbers, pass,
};

#[tokio::test(start_paused = true)]
async fn what_comes_goes_out_with_ids() {
    let (rig, mut client) = Setup::new(Kind::Private).read();
    rig.pipe
        .send("data: a\r\n\r\nevent: e\ndata: b\nid: 7\n\ndata: cut");
    idle().await;
    let text = client.text();
    let mut ids = text.lines().filter_map(|line| line.strip_prefix("id: s1."));
    assert!(ids.next().unwrap().ends_with(".1"));
    assert!(
        ids.next().unwrap().ends_with(".2.Nw"),
        "7 is carried: {text}"
    );
    assert_eq!(data(&text), ["a", "b"]);
    assert!(text.ends_with("Nw\n\n"));
    assert_eq!(
        rig.signals.count(Signal::EventsIn(2)),
        1,
        "published at once"
    );
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_always_ready_does_not_run_alone() {
    for chunk in [":\n", "id: 1\n\n", ""] {
        let (rig, _client) = Setup::new(Kind::Shared).read();
        for _ in 0..10_000 {
            rig.pipe.send(chunk);
        }
        tokio::task::yield_now().await;
        let taken = rig.pipe.taken();
        assert!((1..1_000).contains(&taken), "{taken} of {chunk:?}");
        idle().await;
        assert_eq!(rig.pipe.taken(), 10_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_upstream_is_hidden_and_asked_to_go_on() {
    let (second, third) = (Pipe::new(), Pipe::new());
    let (rig, mut client) = Setup::new(Kind::Private)
        .with(|policy| policy.resume = UpstreamResume::LastEventId)
        .then(Step::Fail)
        .then(Step::Refuse(502, None))
        .then(Step::Stream(second.clone()))
        .then(Step::Stream(third.clone()))
        .read();
    rig.pipe.send("id: x1\ndata: 1\n\n").send("id: half").end();
    pass(60).await;
    assert_eq!(rig.stream.phase(), Phase::Active);
    assert!(rig.pipe.is_dropped());
    second
        .send("id: x2\ndata: 2\n\n")
        .send("data: 3\n\ndata: never ends")
        .cut();
    pass(60).await;
    third.send("data: 4\n\n");
    idle().await;
    assert_eq!(data(&client.text()), ["1", "2", "3", "4"]);
    let asked = rig.script.asked();
    let asked: Vec<_> = asked.iter().flatten().collect();
    assert_eq!(asked, ["x1", "x1", "x1", "x2"]);
    assert_eq!(rig.signals.count(Signal::UpstreamReconnect), 4);
    assert_eq!(
        rig.signals.count(Signal::Gap(GapReason::Upstream)),
        0,
        "declared"
    );
}

#[tokio::test(start_paused = true)]
async fn attempts_are_spread() {
    let start = Instant::now();
    let (rig, mut client) = Setup::new(Kind::Shared).read();
    rig.pipe.end();
    pass(400).await;
    let at = rig.script.asked_at();
    let mut before = start;
    for (attempt, at) in at.iter().enumerate() {
        let bound = Duration::from_secs((1 << attempt.min(5)).min(30));
        // The clock of tests goes in steps of a millisecond.
        assert!(
            *at - before <= bound + Duration::from_millis(2),
            "attempt {attempt}"
        );
        before = *at;
    }
    assert!((8..200).contains(&at.len()), "{} attempts", at.len());
    assert!(before <= start + Duration::from_secs(300), "it gives up");
    assert_eq!(
        client.now(),
        std::task::Poll::Ready(Next::Ended(Ending::Aborted("upstream gone")))
    );
    assert_eq!(rig.stream.phase(), Phase::Resting);

    // A client that comes makes it try again.
    let attempts = at.len();
    drop(client);
    let _client = rig.attach(Position::Live);
    idle().await;
    assert_eq!(rig.script.asked().len(), attempts + 1);
    assert_eq!(rig.stream.phase(), Phase::Active);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_never_answers_is_given_up() {
    let (rig, mut client) = Setup::new(Kind::Private).then(Step::Hang).read();
    rig.pipe.cut();
    pass(299).await;
    assert!(client.now().is_pending());
    pass(2).await;
    assert!(is_aborted(&client.now()));
    assert_eq!(rig.script.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_respected() {
    let second = Pipe::new();
    let (rig, _client) = Setup::new(Kind::Private)
        .then(Step::Refuse(503, Some(Duration::from_secs(40))))
        .then(Step::Stream(second))
        .read();
    rig.pipe.end();
    pass(100).await;
    let at = rig.script.asked_at();
    assert!(at[1] - at[0] >= Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_stream_for_good() {
    for (status, phase) in [
        (204, Phase::Ended(End::Upstream(Ending::Complete))),
        (403, Phase::Ended(End::Status(403))),
    ] {
        let (rig, mut client) = Setup::new(Kind::Private)
            .then(Step::Refuse(status, None))
            .read();
        rig.pipe.send("data: 1\n\n").end();
        pass(2).await;
        assert_eq!(rig.stream.phase(), phase);
        assert_eq!(data(&client.text()), ["1"]);
        assert_eq!(client.now(), CLEAN);
        assert_eq!(rig.script.asked().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_upstream_repeats_is_dropped() {
    for kind in [Kind::Private, Kind::Shared] {
        let second = Pipe::new();
        let (rig, mut client) = Setup::new(kind).then(Step::Stream(second.clone())).read();
        rig.pipe
            .send("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n")
            .end();
        second.send("data: b\nid: 2\n\nid: 3\ndata: c\n\nid: 4\ndata: d\n\nid: 2\ndata: b\n\n");
        pass(2).await;
        assert_eq!(data(&client.text()), ["a", "b", "c", "d", "b"]);
        assert_eq!(rig.script.asked(), [Some("3".to_owned())]);
        assert_eq!(
            rig.signals.count(Signal::Gap(GapReason::Upstream)),
            0,
            "proved"
        );
        assert!(!rig.attach(Position::After(1)).gap);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_proved_is_reported_everywhere() {
    let second = Pipe::new();
    let (rig, mut client) = Setup::new(Kind::Shared)
        .with(|policy| policy.gap_event = Some("lost".to_owned()))
        .then(Step::Stream(second.clone()))
        .read();
    rig.pipe.send("data: a\n\n");
    idle().await;
    assert_eq!(data(&client.text()), ["a"]);
    assert!(!rig.stream.doubtful());
    rig.pipe.end();
    idle().await;
    assert!(rig.stream.doubtful(), "nobody knows what is missed now");
    pass(2).await;
    assert!(rig.stream.doubtful(), "nor before its first event");
    second.send("data: b\n\n");
    idle().await;
    assert!(!rig.stream.doubtful());
    let text = client.text();
    assert!(text.starts_with(&format!("{GAP}event: lost\n")), "{text}");
    assert!(text.contains("data: {\"reason\":\"upstream\"}\n"));
    assert_eq!(rig.signals.count(Signal::Gap(GapReason::Upstream)), 1);
    assert!(rig.attach(Position::After(1)).gap);
    assert!(!rig.attach(Position::After(2)).gap);
}

/// Between two connections something may have come, even if nothing had before.
#[tokio::test(start_paused = true)]
async fn a_seam_without_events_before_it_is_a_seam() {
    let second = Pipe::new();
    let (rig, mut client) = Setup::new(Kind::Private)
        .then(Step::Stream(second.clone()))
        .read();
    pass(3600).await;
    rig.pipe.end();
    pass(2).await;
    assert!(rig.attach(Position::After(0)).gap || rig.stream.doubtful());
    second.send("data: b\n\n");
    idle().await;
    assert!(client.text().starts_with(GAP));
    assert_eq!(rig.signals.count(Signal::Gap(GapReason::Upstream)), 1);
    assert!(rig.attach(Position::After(0)).gap);
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_of_a_held_stream_is_no_seam() {
    let first = Pipe::new();
    let mut setup = Setup::new(Kind::Private)
        .with(|policy| policy.hold = Duration::from_secs(20))
        .then(Step::Fail)
        .then(Step::Stream(first.clone()));
    setup.held = true;
    let (rig, mut client) = setup.read();
    pass(10).await;
    first.send("data: a\n\n");
    idle().await;
    assert_eq!(data(&client.text()), ["a"]);
    assert_eq!(rig.signals.count(Signal::Gap(GapReason::Upstream)), 0);
    assert!(!rig.attach(Position::After(0)).gap);
}

#[tokio::test(start_paused = true)]
async fn a_held_stream_is_not_held_for_ever() {
    let mut setup = Setup::new(Kind::Private).with(|policy| policy.hold = Duration::from_secs(20));
    setup.held = true;
    let (rig, mut client) = setup.read();
    pass(19).await;
    assert!(client.now().is_pending());
    pass(2).await;
    assert!(is_aborted(&client.now()));
    assert!(!rig.script.asked().is_empty());
}

/// Declared is not enough: without an id there is nothing to go on from.
#[tokio::test(start_paused = true)]
async fn a_declaration_needs_an_id() {
    let second = Pipe::new();
    let (rig, _client) = Setup::new(Kind::Shared)
        .with(|policy| policy.resume = UpstreamResume::LastEventId)
        .then(Step::Stream(second.clone()))
        .read();
    rig.pipe.send("data: a\n\n").end();
    idle().await;
    assert!(rig.stream.doubtful(), "it will turn out to be a gap");
    pass(2).await;
    assert_eq!(rig.script.asked(), [None]);
    assert!(rig.stream.doubtful());
    second.send("data: b\n\n");
    idle().await;
    assert!(rig.attach(Position::After(1)).gap);

    let second = Pipe::new();
    let (rig, _client) = Setup::new(Kind::Shared)
        .with(|policy| policy.resume = UpstreamResume::LastEventId)
        .then(Step::Stream(second.clone()))
        .read();
    rig.pipe.send("id: 1\ndata: a\n\n").end();
    idle().await;
    assert!(!rig.stream.doubtful(), "declared");
    // A reset asks for everything afresh, whatever was declared.
    rig.stream.reset();
    idle().await;
    assert!(rig.stream.doubtful());
    pass(2).await;
    assert_eq!(rig.script.asked(), [None]);
}

/// Who comes while a batch is gathered must not be told `exact` if there is a
/// gap in it.
#[tokio::test(start_paused = true)]
async fn a_gap_in_the_making_is_doubtful() {
    let second = Pipe::new();
    let (rig, _client) = Setup::new(Kind::Shared)
        .with(|policy| policy.batch = Duration::from_secs(5))
        .then(Step::Stream(second.clone()))
        .read();
    rig.pipe.send("data: a\n\n").end();
    pass(2).await;
    second.send("data: b\n\n");
    idle().await;
    assert_eq!(rig.high(), 1, "still gathered");
    assert!(rig.attach(Position::After(1)).gap || rig.stream.doubtful());
    pass(6).await;
    assert_eq!(rig.high(), 2);
    assert!(!rig.stream.doubtful());
    assert!(rig.attach(Position::After(1)).gap);
}

#[tokio::test(start_paused = true)]
async fn whoever_joins_a_snapshot_stream_gets_the_snapshot() {
    let second = Pipe::new();
    let (rig, mut client) = Setup::new(Kind::Shared)
        .with(|policy| policy.resume = UpstreamResume::Snapshot)
        .then(Step::Stream(second.clone()))
        .read();
    rig.pipe.send("data: {state}\n\n").send("data: change\n\n");
    idle().await;
    let mut joiner = rig.attach(Position::Snapshot);
    assert_eq!(
        data(&joiner.text()),
        ["{state}", "change"],
        "the first one, too"
    );
    rig.pipe.end();
    pass(2).await;
    second.send("data: {new state}\n\n");
    idle().await;
    assert_eq!(data(&client.text()), ["{state}", "change", "{new state}"]);
    let mut joiner = rig.attach(Position::Snapshot);
    assert_eq!(data(&joiner.text()), ["{new state}"]);
    let mut returning = rig.attach(Position::After(1));
    assert!(returning.snapshot && !returning.gap);
    assert_eq!(
        data(&returning.text()),
        ["{new state}"],
        "the change is stale"
    );
    assert!(!rig.stream.doubtful());
}

#[tokio::test(start_paused = true)]
async fn a_reset_begins_afresh() {
    let (second, third) = (Pipe::new(), Pipe::new());
    let (rig, mut client) = Setup::new(Kind::Shared)
        .then(Step::Stream(second.clone()))
        .then(Step::Stream(third.clone()))
        .read();
    rig.pipe.send("id: 1\ndata: a\n\n");
    idle().await;
    rig.stream.reset();
    idle().await;
    assert!(rig.pipe.is_dropped());
    second.send("id: 2\ndata: b\n\n").end();
    pass(2).await;
    third.send("id: 3\ndata: c\n\n");
    idle().await;
    assert_eq!(data(&client.text()), ["a", "b", "c"]);
    assert_eq!(rig.script.asked(), [None, Some("2".to_owned())], "once");
}

/// Clients that fall behind on purpose must not keep the others from reading.
#[tokio::test(start_paused = true)]
async fn resets_do_not_follow_each_other() {
    let pipes = [Pipe::new(), Pipe::new()];
    let (rig, _client) = Setup::new(Kind::Shared)
        .then(Step::Stream(pipes[0].clone()))
        .then(Step::Stream(pipes[1].clone()))
        .read();
    rig.stream.reset();
    idle().await;
    pass(29).await;
    rig.stream.reset();
    idle().await;
    assert!(!pipes[0].is_dropped());
    pass(1).await;
    rig.stream.reset();
    idle().await;
    assert!(pipes[0].is_dropped());
    assert_eq!(rig.script.asked().len(), 2);
}

/// A reset while the upstream is asked concerns this attempt, not some later one.
#[tokio::test(start_paused = true)]
async fn a_reset_replaces_the_attempt_under_way() {
    let (second, third) = (Pipe::new(), Pipe::new());
    let (rig, _client) = Setup::new(Kind::Shared)
        .then(Step::Hang)
        .then(Step::Stream(second.clone()))
        .then(Step::Stream(third))
        .read();
    rig.pipe.send("id: 1\ndata: a\n\n").end();
    pass(2).await;
    rig.stream.reset();
    pass(2).await;
    second.send("id: 2\ndata: b\n\n").end();
    pass(2).await;
    let asked = ["1", "", "2"].map(|id| Some(id.to_owned()).filter(|id| !id.is_empty()));
    assert_eq!(rig.script.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn the_id_it_was_opened_with_is_the_one_to_go_on_from() {
    let mut setup = Setup::new(Kind::Private).then(Step::Fail);
    setup.opened_with = Some("base");
    let (rig, _client) = setup.read();
    rig.pipe.end();
    pass(2).await;
    assert_eq!(rig.script.asked()[0].as_deref(), Some("base"));
    assert_eq!(rig.stream.log().with(|ring| ring.find(b"base")), Some(0));
}

#[tokio::test(start_paused = true)]
async fn silence_is_an_end() {
    let second = Pipe::new();
    let (rig, mut client) = Setup::new(Kind::Private)
        .with(|policy| policy.upstream_idle = Some(Duration::from_secs(45)))
        .then(Step::Stream(second.clone()))
        .read();
    rig.pipe.send("data: 1\n\n");
    for _ in 0..4 {
        // Comments and incomplete events are no sign of life.
        pass(10).await;
        rig.pipe.send(": ping\n").send("data: x\n");
    }
    assert!(!rig.pipe.is_dropped());
    pass(7).await;
    assert!(rig.pipe.is_dropped());
    second.send("data: 2\n\n");
    idle().await;
    assert_eq!(data(&client.text()), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn comments_are_passed_on_to_whoever_is_there() {
    let (rig, mut client) = Setup::new(Kind::Private).read();
    let mut late = rig.attach(Position::Live);
    rig.pipe.send("data: 1\n\n");
    idle().await;
    assert_eq!(data(&client.text()), ["1"]);
    rig.pipe.send(": ping\r\n");
    idle().await;
    assert_eq!(client.text(), ": ping\n");
    assert!(late.text().ends_with("\n\n: ping\n"), "between blocks");
    assert_eq!(rig.attach(Position::Live).text(), "", "not retained");
    assert!(!rig.retained().contains("ping"));
}

#[tokio::test(start_paused = true)]
async fn events_are_gathered_if_asked_for() {
    let (rig, mut client) = Setup::new(Kind::Private)
        .with(|policy| policy.batch = Duration::from_millis(50))
        .read();
    for n in 0..4 {
        rig.pipe.send(&events(n, 1));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(client.now().is_pending());
    tokio::time::sleep(Duration::from_millis(15)).await;
    let std::task::Poll::Ready(Next::Data { events: 4, .. }) = client.now() else {
        panic!("four events in one");
    };
    assert_eq!(rig.signals.count(Signal::EventsIn(4)), 1);
    // The end does not wait.
    rig.pipe.send(&events(4, 1)).end();
    idle().await;
    assert_eq!(data(&client.text()), numbers(4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_large_enough_does_not_wait() {
    let (rig, _client) = Setup::new(Kind::Private)
        .with(|policy| policy.batch = Duration::from_secs(1))
        .read();
    rig.pipe.send(&events(0, 300));
    idle().await;
    assert_eq!(rig.high(), 256, "a quarter of the buffer at once");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_large_aborts() {
    let small = |kind| Setup::new(kind).with(|policy| policy.max_event_bytes = 100);

    let (rig, mut client) = small(Kind::OneShot).read();
    rig.pipe.send("data: 1\n\n").send(&"x".repeat(200));
    idle().await;
    assert_eq!(data(&client.text()), ["1"]);
    assert!(is_aborted(&client.now()));
    assert!(rig.pipe.is_dropped());

    let (rig, mut client) = small(Kind::Private).then(Step::Fail).read();
    rig.pipe.send("data: 1\n\n").send(&"x".repeat(200));
    idle().await;
    assert!(is_aborted(&client.now()));
    assert!(rig.pipe.is_dropped());
    assert_eq!(rig.stream.phase(), Phase::Resting);
    pass(100).await;
    assert!(rig.script.asked().is_empty(), "it would only come again");
    assert_eq!(
        rig.data(),
        ["1"],
        "what came before is there for who comes back"
    );
}

#[tokio::test(start_paused = true)]
async fn preserved_ids_are_left_alone_on_a_shared_stream() {
    let (rig, mut client) = Setup::new(Kind::Shared).read();
    rig.pipe
        .send("id: a\ndata: 1\n\ndata: 2\n\nid: a\ndata: 3\n\n");
    idle().await;
    let text = client.text();
    assert!(
        text.starts_with("data: 1\nid: a\n\ndata: 2\n\ndata: 3\nid: s1."),
        "{text}"
    );

    let (rig, mut client) = Setup::new(Kind::Private)
        .with(|policy| policy.ids = Ids::Preserve)
        .read();
    rig.pipe.send("id: a\ndata: 1\n\n");
    idle().await;
    assert_eq!(client.text(), "data: 1\nid: a\n\n");
}
