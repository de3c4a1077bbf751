//! Seams, ids and encoding, from one upstream connection to the next.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::log::{Hold, Limits, Position};
use crate::stream::id::{EventId, ParsedId};
use crate::wire::{Decoder, Frame};

/// A writer and the log it writes to.
struct Bench {
    writer: Writer,
    log: Arc<Log>,
    epoch: Epoch,
    seams: Vec<Seam>,
}

fn rules() -> Rules {
    Rules {
        ids: Ids::Assign,
        resume: UpstreamResume::None,
        gap_event: None,
        strip_retry: false,
        indexed: true,
    }
}

fn preserve() -> Rules {
    Rules {
        ids: Ids::Preserve,
        ..rules()
    }
}

fn blocks(text: &[u8]) -> Vec<Block> {
    let mut decoder = Decoder::new(1 << 20);
    decoder.push(Bytes::copy_from_slice(text));
    let frames = std::iter::from_fn(|| decoder.next_frame().unwrap());
    frames
        .filter_map(|frame| match frame {
            Frame::Block(block) => Some(block),
            Frame::Comment(_) => None,
        })
        .collect()
}

impl Bench {
    fn new(rules: Rules) -> Self {
        let epoch = Epoch::private().unwrap();
        let mut writer = Writer::new(epoch, rules, None);
        writer.begin_connection(false);
        Self {
            writer,
            log: Arc::new(Log::new(Limits::NONE)),
            epoch,
            seams: Vec::new(),
        }
    }

    /// Takes these blocks in and publishes them.
    fn feed(&mut self, text: &str) -> Vec<Accepted> {
        let blocks = blocks(text.as_bytes());
        let accepted = blocks
            .iter()
            .map(|block| self.writer.accept(block, &self.log))
            .collect();
        self.publish();
        accepted
    }

    fn publish(&mut self) {
        assert_eq!(
            self.writer.is_empty(),
            self.writer.events() == 0 && self.writer.seams.is_empty()
        );
        let batch = self.writer.take();
        assert!(self.writer.is_empty());
        assert_eq!(self.writer.bytes(), 0);
        self.seams.extend(&batch.seams);
        self.log.publish(&batch, Hold::UntilRead, Instant::now());
    }

    fn reconnect(&mut self, asked: bool) {
        self.writer.begin_connection(asked);
        assert!(self.writer.seam_is_open());
    }

    /// The seam before the first new block of a second connection.
    fn seam(&mut self, asked: bool, text: &str) -> SeamKind {
        self.reconnect(asked);
        let accepted = self.feed(text);
        let fresh = accepted.iter().find_map(|accepted| match accepted {
            Accepted::Appended(seam) => *seam,
            _ => None,
        });
        fresh.unwrap_or_else(|| panic!("no seam in {accepted:?}"))
    }

    /// What is retained, block by block.
    fn blocks(&self) -> Vec<String> {
        self.log.with(|ring| {
            let block = |seq| String::from_utf8(ring.block(seq).unwrap().to_vec()).unwrap();
            (ring.low() + 1..=ring.high()).map(block).collect()
        })
    }

    fn text(&self) -> String {
        self.blocks().concat()
    }

    /// What the id of a block carries, which must be one of ours.
    fn carried(&self, seq: usize) -> Option<String> {
        let blocks = self.blocks();
        let id = id_of(&blocks[seq - 1]).unwrap();
        let ParsedId::Ours(id) = EventId::parse(id.as_bytes()) else {
            panic!("{id} is not ours");
        };
        assert_eq!((id.epoch, id.seq), (self.epoch, seq as u64));
        id.carried.map(|id| String::from_utf8(id).unwrap())
    }
}

/// The value of the last line before the blank one, if that is an id.
fn id_of(block: &str) -> Option<&str> {
    let line = block.strip_suffix("\n\n").unwrap().lines().last().unwrap();
    line.strip_prefix("id:").map(str::trim_start)
}

const GAP: SeamKind = SeamKind::Gap { lost: None };

fn lost(lost: u64) -> SeamKind {
    SeamKind::Gap { lost: Some(lost) }
}

// === Seams ===

#[test]
fn a_repeated_tail_is_dropped_and_proves_the_seam() {
    for ids in [rules(), preserve()] {
        let mut bench = Bench::new(ids);
        bench.feed("id: a\ndata: 1\n\nid: b\ndata: 2\n\nid: c\ndata: 3\n\n");
        // Only the order of lines other than `id` and `retry` has to be equal.
        assert_eq!(
            bench.seam(
                false,
                "data: 2\nid: b\n\nretry: 5\nid: c\ndata: 3\n\nid: d\ndata: 4\n\n"
            ),
            SeamKind::Exact
        );
        assert_eq!(bench.blocks().len(), 4);
        assert!(!bench.log.attach(Position::After(1)).gap);
    }
}

/// An id without a payload belongs to the next block without an id, also if a
/// repetition comes in between.
#[test]
fn a_repetition_does_not_take_a_pending_id_along() {
    let mut bench = Bench::new(preserve());
    bench.feed("id: a\ndata: 1\n\nid: b\ndata: 2\n\n");
    bench.reconnect(true);
    bench.feed("id: c\n\nid: b\ndata: 2\n\ndata: 3\n\n");
    let find = |id: &[u8]| bench.log.with(|ring| ring.find(id));
    assert_eq!((find(b"b"), find(b"c")), (Some(2), Some(3)));
}

#[test]
fn repeats_that_do_not_reach_the_end_prove_nothing() {
    let mut bench = Bench::new(rules());
    bench.feed("id: a\ndata: 1\n\nid: b\ndata: 2\n\nid: c\ndata: 3\n\n");
    bench.reconnect(false);
    assert_eq!(
        bench.feed("id: a\ndata: 1\n\nid: b\ndata: 2\n\n"),
        [Accepted::Repeated; 2]
    );
    assert!(bench.writer.seam_is_open());
    assert_eq!(
        bench.feed("id: d\ndata: 4\n\n"),
        [Accepted::Appended(Some(GAP))]
    );
    assert!(!bench.writer.seam_is_open());
    assert_eq!(
        bench.seams,
        [Seam {
            after: 3,
            kind: GAP
        }]
    );
}

#[test]
fn the_same_id_with_other_bytes_is_no_repeat() {
    let mut bench = Bench::new(rules());
    bench.feed("id: a\ndata: 1\n\n");
    assert_eq!(bench.seam(false, "id: a\ndata: 2\n\n"), GAP);
    assert_eq!(bench.blocks().len(), 2);
}

#[test]
fn the_same_bytes_without_an_id_are_no_repeat() {
    let mut bench = Bench::new(rules());
    bench.feed("data: tick\n\n");
    assert_eq!(bench.seam(false, "data: tick\n\n"), GAP);
    assert_eq!(bench.blocks().len(), 2);
}

/// An upstream that gives every event the same id.
#[test]
fn a_repeat_must_go_on() {
    let mut bench = Bench::new(rules());
    bench.feed("id: x\ndata: 1\n\nid: x\ndata: 1\n\n");
    assert_eq!(
        bench.seam(false, "id: x\ndata: 1\n\nid: x\ndata: 1\n\n"),
        GAP
    );
    assert_eq!(
        bench.blocks().len(),
        3,
        "one is taken for a repeat, not more"
    );
}

#[test]
fn repeats_are_looked_for_only_at_the_beginning() {
    let mut bench = Bench::new(rules());
    bench.feed("id: a\ndata: 1\n\nid: b\ndata: 2\n\n");
    bench.reconnect(false);
    bench.feed("id: b\ndata: 2\n\nid: c\ndata: 3\n\nid: a\ndata: 1\n\n");
    assert_eq!(bench.blocks().len(), 4);
    // The same connection may say what it likes, as often as it likes.
    bench.feed("id: a\ndata: 1\n\n");
    assert_eq!(bench.blocks().len(), 5);
}

#[test]
fn dense_ids_prove_or_count() {
    let start = "id: 7\ndata: a\n\nid: 8\ndata: b\n\nid: 9\ndata: c\n\n";
    for (next, expected) in [
        ("10", SeamKind::Exact),
        ("11", lost(1)),
        ("110", lost(100)),
        // Counting anew, or not counting at all.
        ("1", GAP),
        ("9", GAP),
        ("x", GAP),
        ("+10", GAP),
        ("18446744073709551616", GAP),
    ] {
        let mut bench = Bench::new(rules());
        bench.feed(start);
        assert_eq!(
            bench.seam(false, &format!("id: {next}\ndata: z\n\n")),
            expected,
            "{next}"
        );
    }
}

#[test]
fn dense_is_not_concluded_from_little_or_against_evidence() {
    for start in [
        "id: 7\ndata: a\n\n",
        "id: 7\ndata: a\n\nid: 8\ndata: b\n\n",
        "id: 1\ndata: a\n\nid: 3\ndata: b\n\nid: 4\ndata: c\n\nid: 5\ndata: d\n\n",
        "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\ndata: none\n\n",
        "data: none\n\nid: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n",
    ] {
        for next in 4..10 {
            let mut bench = Bench::new(rules());
            bench.feed(start);
            let id = format!("id: {next}\ndata: z\n\n");
            assert_eq!(bench.seam(false, &id), GAP, "{start} and {id}");
        }
    }
}

/// Short-lived connections to an upstream that shares its numbers among many:
/// steps over gaps are none.
#[test]
fn gaps_are_no_evidence_of_density() {
    let mut bench = Bench::new(rules());
    bench.feed("id: 100\ndata: a\n\n");
    for id in [205, 309, 310, 400, 401] {
        let text = format!("id: {id}\ndata: z\n\n");
        assert_eq!(bench.seam(false, &text), GAP, "{id}");
    }
}

#[test]
fn a_counted_gap_leaves_the_ids_dense() {
    let mut bench = Bench::new(rules());
    bench.feed("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n");
    assert_eq!(bench.seam(false, "id: 6\ndata: d\n\n"), lost(2));
    assert_eq!(bench.seam(false, "id: 7\ndata: e\n\n"), SeamKind::Exact);
    assert_eq!(bench.seam(false, "id: 9\ndata: f\n\n"), lost(1));
}

/// Repeats and dense ids together: the hole after the repeats is counted from
/// what the log has, not from what was repeated.
#[test]
fn partial_repeats_and_dense_ids() {
    let start = "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n";
    let mut bench = Bench::new(rules());
    bench.feed(start);
    assert_eq!(
        bench.seam(false, "id: 2\ndata: b\n\nid: 4\ndata: d\n\n"),
        SeamKind::Exact
    );
    let mut bench = Bench::new(rules());
    bench.feed(start);
    assert_eq!(
        bench.seam(false, "id: 2\ndata: b\n\nid: 5\ndata: d\n\n"),
        lost(1)
    );
}

#[test]
fn a_declaration_counts_only_if_the_upstream_was_asked() {
    let declared = || Rules {
        resume: UpstreamResume::LastEventId,
        ..rules()
    };
    let mut bench = Bench::new(declared());
    bench.feed("id: a\ndata: 1\n\n");
    assert_eq!(bench.seam(true, "id: c\ndata: 3\n\n"), SeamKind::Exact);
    assert_eq!(bench.seam(false, "id: d\ndata: 4\n\n"), GAP);
    // Evidence against it is heard.
    let mut bench = Bench::new(declared());
    bench.feed("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n");
    assert_eq!(bench.seam(true, "id: 6\ndata: f\n\n"), lost(2));
    // Not declared: that it was asked says nothing.
    let mut bench = Bench::new(rules());
    bench.feed("id: a\ndata: 1\n\n");
    assert_eq!(bench.seam(true, "id: c\ndata: 3\n\n"), GAP);
}

#[test]
fn a_gap_is_a_gap_though_nothing_came_before() {
    let mut bench = Bench::new(rules());
    assert_eq!(bench.seam(false, "data: 1\n\n"), GAP);
    assert_eq!(
        bench.seams,
        [Seam {
            after: 0,
            kind: GAP
        }]
    );
}

fn snapshots(ids: Ids) -> Rules {
    Rules {
        ids,
        resume: UpstreamResume::Snapshot,
        ..rules()
    }
}

fn snapshot_at(after: u64) -> Seam {
    Seam {
        after,
        kind: SeamKind::Snapshot,
    }
}

#[test]
fn every_connection_begins_with_a_snapshot() {
    let mut bench = Bench::new(snapshots(Ids::Assign));
    bench.feed("data: s1\n\ndata: +1\n\n");
    assert_eq!(bench.seams, [snapshot_at(0)]);
    assert_eq!(
        bench.seam(false, "data: s2\n\ndata: +2\n\n"),
        SeamKind::Snapshot
    );
    assert_eq!(bench.seams[1..], [snapshot_at(2)]);
    assert_eq!(bench.log.attach(Position::Snapshot).after, 2);
}

#[test]
fn a_snapshot_that_says_nothing_new_is_not_repeated() {
    for id in ["", "id: a\n"] {
        let mut bench = Bench::new(snapshots(Ids::Assign));
        bench.feed("data: +0\n\n");
        bench.feed(&format!("{id}data: s\n\n"));
        for _ in 0..3 {
            bench.reconnect(false);
            assert_eq!(
                bench.feed(&format!("{id}data: s\n\n")),
                [Accepted::Repeated]
            );
        }
        assert_eq!(bench.blocks().len(), 2);
        assert_eq!(
            bench.log.attach(Position::Snapshot).after,
            1,
            "it begins with that block"
        );
        assert_eq!(bench.feed("data: +1\n\n"), [Accepted::Appended(None)]);
    }
}

/// Whoever begins at the snapshot gets all of it, even what was there before.
#[test]
fn a_snapshot_is_whole() {
    for ids in [Ids::Assign, Ids::Preserve] {
        let mut bench = Bench::new(snapshots(ids));
        bench.feed("id: 1\ndata: a\n\nid: 2\ndata: b\n\n");
        bench.reconnect(false);
        bench.feed("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n");
        let after = bench.log.attach(Position::Snapshot).after;
        let seen = bench.blocks()[usize::try_from(after).unwrap()..].concat();
        for data in ["data: a\n", "data: b\n", "data: c\n"] {
            assert!(seen.contains(data), "{seen}");
        }
    }
}

// === The gap event ===

#[test]
fn a_gap_event_has_an_id_of_its_own_from_before_the_gap() {
    for ids in [Ids::Assign, Ids::Preserve] {
        let mut bench = Bench::new(Rules {
            ids,
            gap_event: Some("sse-gap".to_owned()),
            ..rules()
        });
        bench.feed("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n");
        bench.seam(false, "id: 5\ndata: e\n\n");
        let blocks = bench.blocks();
        assert_eq!(blocks.len(), 5);
        assert!(
            blocks[3]
                .starts_with("event: sse-gap\ndata: {\"reason\":\"upstream\",\"lost\":1}\nid: s1.")
        );
        assert_eq!(bench.carried(4).as_deref(), Some("3"));
        assert_eq!(bench.log.with(|ring| ring.find(b"5")), Some(5));
        // Whoever saw the last block before it crosses it; whoever saw it, not.
        assert!(bench.log.attach(Position::After(3)).gap);
        assert!(!bench.log.attach(Position::After(4)).gap);
    }
}

#[test]
fn no_gap_event_without_a_gap() {
    let mut bench = Bench::new(Rules {
        gap_event: Some("sse-gap".to_owned()),
        resume: UpstreamResume::LastEventId,
        ..rules()
    });
    bench.feed("id: 1\ndata: a\n\n");
    bench.seam(true, "id: 5\ndata: e\n\n");
    assert!(!bench.text().contains("sse-gap"));
}

#[test]
fn what_the_upstream_says_it_lost_is_a_gap() {
    let mut bench = Bench::new(Rules {
        resume: UpstreamResume::LastEventId,
        ..rules()
    });
    bench.feed("id: a\ndata: a\n\n");
    // Within a connection, and on a new one that is declared to go on.
    bench.writer.announce(Announced { lost: Some(2) });
    assert!(bench.writer.has_gap(), "known before the next block");
    let gap = |lost| Accepted::Appended(Some(SeamKind::Gap { lost }));
    assert_eq!(bench.feed("id: d\ndata: d\n\n"), [gap(Some(2))]);
    assert_eq!(bench.feed("id: e\ndata: e\n\n"), [Accepted::Appended(None)]);
    bench.reconnect(true);
    bench.writer.announce(Announced { lost: None });
    // What is repeated was not lost; what comes after it is another matter.
    let accepted = bench.feed("id: e\ndata: e\n\nid: g\ndata: g\n\n");
    assert_eq!(accepted, [Accepted::Repeated, gap(None)]);
    assert!(bench.log.attach(Position::After(3)).gap);
}

#[test]
fn a_number_or_a_snapshot_says_more_than_an_announcement() {
    let mut bench = Bench::new(rules());
    bench.feed("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n");
    bench.reconnect(true);
    bench.writer.announce(Announced { lost: None });
    let counted = SeamKind::Gap { lost: Some(1) };
    let accepted = bench.feed("id: 5\ndata: e\n\n");
    assert_eq!(accepted, [Accepted::Appended(Some(counted))]);

    let mut bench = Bench::new(Rules {
        resume: UpstreamResume::Snapshot,
        ..rules()
    });
    bench.feed("data: a\n\n");
    bench.reconnect(false);
    bench.writer.announce(Announced { lost: Some(7) });
    let accepted = bench.feed("data: b\n\n");
    assert_eq!(accepted, [Accepted::Appended(Some(SeamKind::Snapshot))]);
}

#[test]
fn a_gap_is_known_before_it_is_published() {
    let mut bench = Bench::new(rules());
    bench.feed("data: a\n\n");
    bench.reconnect(false);
    let next = &blocks(b"data: b\n\n")[0];
    bench.writer.accept(next, &bench.log);
    assert!(bench.writer.has_gap());
    bench.publish();
    assert!(!bench.writer.has_gap());
}

// === Ids ===

#[test]
fn assigned_ids_carry_the_upstreams() {
    let mut bench = Bench::new(rules());
    bench.feed("data: 1\n\nid: a\ndata: 2\n\ndata: 3\n\nid\ndata: 4\n\nid: \x7f\ndata: 5\n\n");
    let carried: Vec<_> = (1..=5).map(|seq| bench.carried(seq)).collect();
    let a = Some("a".to_owned());
    assert_eq!(carried, [None, a.clone(), a, None, None]);
    assert!(!bench.text().contains("id: a"));
    assert_eq!(bench.log.with(|ring| ring.find(b"a")), Some(2));
}

#[test]
fn what_it_was_opened_with_is_carried() {
    let epoch = Epoch::shared().unwrap();
    let mut writer = Writer::new(epoch, rules(), Some(Bytes::from_static(b"base")));
    assert_eq!(writer.last_id().map(|id| &id[..]), Some(&b"base"[..]));
    let log = Log::new(Limits::NONE);
    writer.accept(&blocks(b"data: 1\n\n")[0], &log);
    let batch = writer.take();
    let id = id_of(std::str::from_utf8(&batch.bytes).unwrap()).unwrap();
    let ParsedId::Ours(id) = EventId::parse(id.as_bytes()) else {
        panic!("{id}");
    };
    assert_eq!(id.carried.as_deref(), Some(&b"base"[..]));
}

#[test]
fn preserved_ids_are_left_alone() {
    let mut bench = Bench::new(preserve());
    bench.feed("id: a\ndata: 1\n\ndata: 2\n\nid\ndata: 3\n\n");
    assert_eq!(
        bench.text(),
        "data: 1\nid: a\n\ndata: 2\n\ndata: 3\nid:\n\n"
    );
    assert_eq!(bench.writer.last_id(), None, "reset");
}

#[test]
fn an_id_that_names_another_block_or_does_not_travel_is_replaced() {
    let long = "x".repeat(1025);
    let unsafe_ids = ["é", "a\u{1}b", "\u{7f}", long.as_str()];
    for id in unsafe_ids {
        let mut bench = Bench::new(preserve());
        bench.feed(&format!("id: {id}\ndata: 1\n\n"));
        assert_eq!(bench.carried(1), None, "{id}");
        assert_eq!(bench.writer.last_id().unwrap(), id.as_bytes());
    }
    for batches in [1, 2] {
        let mut bench = Bench::new(preserve());
        for text in ["id: a\ndata: 1\n\nid: a\ndata: 2\n\n", "id: a\ndata: 3\n\n"] {
            if batches == 1 {
                for block in blocks(text.as_bytes()) {
                    bench.writer.accept(&block, &bench.log);
                }
            } else {
                bench.feed(text);
            }
        }
        bench.publish();
        assert_eq!(id_of(&bench.blocks()[0]), Some("a"));
        assert_eq!(bench.carried(2).as_deref(), Some("a"));
        assert_eq!(bench.carried(3).as_deref(), Some("a"));
        assert_eq!(
            bench.log.with(|ring| ring.find(b"a")),
            Some(1),
            "never too far on"
        );
    }
}

#[test]
fn an_endless_id_is_not_indexed() {
    let id = "x".repeat(MAX_CURSOR + 1);
    let mut bench = Bench::new(rules());
    bench.feed(&format!("id: {id}\ndata: 1\n\n"));
    assert_eq!(bench.log.with(|ring| ring.find(id.as_bytes())), None);
    // So it proves nothing, either.
    assert_eq!(bench.seam(false, &format!("id: {id}\ndata: 1\n\n")), GAP);
}

#[test]
fn auto_is_decided_by_the_first_event() {
    let auto = || Rules {
        ids: Ids::Auto,
        ..rules()
    };
    let mut bench = Bench::new(auto());
    bench.feed("id: 0\n\nid: a\ndata: 1\n\ndata: 2\n\n");
    assert_eq!(bench.text(), "data: 1\nid: a\n\ndata: 2\n\n");
    let mut bench = Bench::new(auto());
    bench.feed("data: 1\n\nid: a\ndata: 2\n\n");
    assert_eq!(bench.carried(1), None);
    assert_eq!(bench.carried(2).as_deref(), Some("a"));
    let mut bench = Bench::new(auto());
    bench.feed("id: é\ndata: 1\n\nid: a\ndata: 2\n\n");
    assert_eq!(bench.carried(2).as_deref(), Some("a"));
}

// === Blocks without payload ===

#[test]
fn what_has_no_payload_goes_into_the_next_block() {
    let mut bench = Bench::new(preserve());
    assert_eq!(
        bench.feed("id: a\n\nretry: 7\n\nretry: 8\n\nfoo: bar\n\n"),
        [Accepted::Noted; 4]
    );
    assert_eq!(bench.blocks().len(), 0);
    assert_eq!(bench.writer.last_id().unwrap(), "a");
    bench.feed("data: 1\n\ndata: 2\n\n");
    assert_eq!(bench.text(), "data: 1\nretry: 8\nid: a\n\ndata: 2\n\n");
    assert_eq!(bench.log.with(|ring| ring.find(b"a")), Some(1));
}

#[test]
fn a_blocks_own_id_outweighs_a_noted_one() {
    let mut bench = Bench::new(preserve());
    bench.feed("id: a\n\nid: b\ndata: 1\n\nid: c\n\nid\n\ndata: 2\n\ndata: 3\n\n");
    assert_eq!(
        bench.text(),
        "data: 1\nid: b\n\ndata: 2\nid:\n\ndata: 3\n\n"
    );
}

#[test]
fn what_was_noted_does_not_outlive_its_connection() {
    let mut bench = Bench::new(preserve());
    bench.feed("data: 1\n\nid: a\n\nretry: 5\n\n");
    bench.seam(false, "data: 2\n\n");
    assert_eq!(bench.text(), "data: 1\n\ndata: 2\n\n");
    assert_eq!(
        bench.writer.last_id().unwrap(),
        "a",
        "but the upstream is asked with it"
    );
}

#[test]
fn the_upstreams_retry_can_be_left_out() {
    let mut bench = Bench::new(Rules {
        strip_retry: true,
        ..preserve()
    });
    bench.feed("retry: 5\n\nretry: 6\ndata: 1\n\n");
    assert_eq!(bench.text(), "data: 1\n\n");
    let mut bench = Bench::new(preserve());
    bench.feed("retry: 6\ndata: 1\n\n");
    assert_eq!(bench.text(), "retry: 6\ndata: 1\n\n");
}

// === In general ===

fn line() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just("data: x"),
        2 => Just("data"),
        2 => Just("event: e"),
        1 => Just("id: a"),
        1 => Just("id: b"),
        1 => Just("id: 1"),
        1 => Just("id"),
        1 => Just("id: \u{1}"),
        1 => Just("retry: 10"),
        1 => Just("retry: x"),
        1 => Just("foo: bar"),
        1 => Just(": comment"),
        5 => Just(""),
    ]
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let ids = prop_oneof![Just(Ids::Auto), Just(Ids::Assign), Just(Ids::Preserve)];
    let resume = prop_oneof![
        Just(UpstreamResume::None),
        Just(UpstreamResume::LastEventId),
        Just(UpstreamResume::Snapshot),
    ];
    let gap = prop_oneof![Just(None), Just(Some("gap".to_owned()))];
    (ids, resume, gap, any::<bool>()).prop_map(|(ids, resume, gap_event, strip_retry)| Rules {
        ids,
        resume,
        gap_event,
        strip_retry,
        indexed: true,
    })
}

/// Type and data lines: what a client dispatches.
fn payload(block: &str) -> Vec<&str> {
    let payload = |line: &&str| line.starts_with("data") || line.starts_with("event");
    block.lines().filter(payload).collect()
}

proptest! {
    /// Whatever comes: every block is written whole, LF only, its id last, its
    /// payload untouched; assigned ids are all there and in order; no id names
    /// two blocks; what is not appended was there before or has no payload.
    #[test]
    fn every_block_is_well_formed(
        rules in any_rules(),
        connections in vec((vec(line(), 0..30), any::<bool>(), any::<bool>()), 1..4),
    ) {
        let assigned = rules.ids == Ids::Assign;
        let mut bench = Bench::new(rules);
        let mut expected = Vec::new();
        for (n, (lines, asked, crlf)) in connections.iter().enumerate() {
            if n > 0 {
                bench.reconnect(*asked);
            }
            let text = lines.join(if *crlf { "\r\n" } else { "\n" }) + "\n\n";
            for block in blocks(text.as_bytes()) {
                let before = bench.writer.events();
                let accepted = bench.writer.accept(&block, &bench.log);
                let gap = matches!(accepted, Accepted::Appended(Some(SeamKind::Gap { .. })))
                    && bench.writer.rules.gap_event.is_some();
                let own = usize::from(matches!(accepted, Accepted::Appended(_)));
                prop_assert_eq!(bench.writer.events(), before + own + usize::from(gap));
                prop_assert_eq!(accepted == Accepted::Noted, !block.has_payload());
                if own == 1 {
                    expected.push(block);
                }
            }
            bench.publish();
        }

        let written = bench.blocks();
        let mut ids = std::collections::HashSet::new();
        for (seq, block) in (1..).zip(&written) {
            prop_assert!(!block.contains('\r') && block.ends_with("\n\n"));
            prop_assert!(!block[..block.len() - 2].contains("\n\n"), "one block");
            let id_lines = block.lines().filter(|line| line.split(':').next() == Some("id"));
            prop_assert!(id_lines.count() <= 1);
            let has_id = block.lines().any(|line| line.split(':').next() == Some("id"));
            prop_assert_eq!(id_of(block).is_some(), has_id, "last, if at all");
            if let Some(id) = id_of(block).filter(|id| !id.is_empty()) {
                prop_assert!(ids.insert(id.to_owned()), "{} names two blocks", id);
            }
            if assigned {
                bench.carried(seq);
            }
        }
        let own = written.iter().filter(|block| !block.starts_with("event: gap\n"));
        let own: Vec<_> = own.map(|block| payload(block)).collect();
        let lines: Vec<_> = expected.iter().map(|block| std::str::from_utf8(&block.lines).unwrap()).collect();
        let expected: Vec<_> = lines.iter().map(|lines| payload(lines)).collect();
        prop_assert_eq!(own, expected);
    }
}
