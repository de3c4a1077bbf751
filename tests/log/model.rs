//! Random lists of operations, against a model that a glance can check.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Instant;
use tower_sse::log::{Attached, Ending, Hold, Limits, Log, Next, Position, Reader, Seam, SeamKind};

use crate::support::{Count, batch, block, poll};

/// Chunks are of this size, unless one block is larger.
const CHUNK: usize = 128 << 10;

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<(usize, Option<u8>)>, Option<(usize, SeamKind)>, Hold),
    Advance(u64),
    Trim(Hold),
    Expire(Hold),
    GiveUp(bool),
    Attach(Position),
    Read(usize),
    Drop(usize),
    Comment,
    End(Ending),
    Abort,
    Close,
}

struct Block {
    seq: u64,
    bytes: Vec<u8>,
    at: Instant,
}

struct Client {
    /// How many came before it.
    number: usize,
    reader: Reader,
    cursor: u64,
    came_at: u64,
    comment: u64,
    /// Position of the last gap it was told of.
    gap: Option<u64>,
    order: Option<Next>,
    closing: bool,
    waits: bool,
    wakes: Arc<Count>,
    expected_wakes: usize,
}

/// The log and what it should be.
struct Model {
    log: Arc<Log>,
    limits: Limits,
    now: Instant,
    blocks: VecDeque<Block>,
    /// Position of the oldest block, or of the next one.
    oldest: u64,
    next: u64,
    ids: Vec<(String, u64)>,
    seams: Vec<Seam>,
    clients: Vec<Client>,
    arrived: usize,
    /// Size of the last batch.
    fresh: usize,
    comments: u64,
    comment: Option<(u64, u64)>,
    end: Option<Ending>,
    accounted: i64,
}

impl Model {
    fn new(limits: Limits) -> Self {
        Self {
            log: Arc::new(Log::new(limits)),
            limits,
            now: Instant::now(),
            blocks: VecDeque::new(),
            oldest: 1,
            next: 1,
            ids: Vec::new(),
            seams: Vec::new(),
            clients: Vec::new(),
            arrived: 0,
            fresh: 0,
            comments: 0,
            comment: None,
            end: None,
            accounted: 0,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Append(blocks, seam, hold) => self.append(&blocks, seam, hold),
            Op::Advance(millis) => self.now += Duration::from_millis(millis),
            Op::Trim(hold) => self.trim(hold),
            Op::Expire(hold) => self.expire(hold),
            Op::GiveUp(all) => self.give_up(all),
            Op::Attach(position) => self.attach(position),
            Op::Read(index) => self.read(index),
            Op::Drop(index) if !self.clients.is_empty() => {
                self.clients.remove(index % self.clients.len());
            }
            Op::Drop(_) => {}
            Op::Comment => self.comment(),
            Op::End(ending) => {
                self.end = Some(ending);
                self.log.end(ending);
                self.expect_wakes();
            }
            Op::Abort => {
                self.log.abort_readers("test");
                for client in &mut self.clients {
                    client.order = Some(Next::Ended(Ending::Aborted("test")));
                }
                self.expect_wakes();
            }
            Op::Close => {
                let at = self.now;
                self.log.close_readers(|| at);
                self.close(at);
            }
        }
        self.check();
    }

    fn append(
        &mut self,
        sizes: &[(usize, Option<u8>)],
        seam: Option<(usize, SeamKind)>,
        hold: Hold,
    ) {
        let ids: Vec<_> = sizes
            .iter()
            .map(|(_, id)| id.map(|id| format!("u{id}")))
            .collect();
        let named: Vec<_> = sizes
            .iter()
            .zip(&ids)
            .map(|((len, _), id)| (*len, id.as_deref()))
            .collect();
        let seams: Vec<_> = seam
            .map(|(at, kind)| Seam {
                after: self.next - 1 + (at % (sizes.len() + 1)) as u64,
                kind,
            })
            .into_iter()
            .collect();
        let batch = batch(self.next, &named, seams.clone());
        assert_eq!(batch.last() + 1, self.next + sizes.len() as u64);
        self.fresh = batch.bytes.len();
        self.accounted += self.log.publish(&batch, hold, self.now);

        self.seams.extend(seams);
        for (len, id) in named {
            if let Some(id) = id
                && !self.ids.iter().any(|(known, _)| known == id)
            {
                self.ids.push((id.to_owned(), self.next));
            }
            self.blocks.push_back(Block {
                seq: self.next,
                bytes: block(self.next, len),
                at: self.now,
            });
            self.next += 1;
        }
        self.follow_trim(hold);
        self.check_account();
        self.expect_wakes();
    }

    fn trim(&mut self, hold: Hold) {
        self.accounted += self.log.trim(hold, self.now);
        self.follow_trim(hold);
        self.check_account();
    }

    /// Trimming when told to must do something, or there is no next time: else
    /// whoever waits for it would spin.
    fn expire(&mut self, hold: Hold) {
        let Some(at) = self.log.next_expiry(hold, self.now) else {
            return;
        };
        self.now = self.now.max(at);
        self.trim(hold);
        let next = self.log.next_expiry(hold, self.now);
        assert!(next.is_none_or(|next| next > self.now), "would spin");
    }

    fn give_up(&mut self, all: bool) {
        let keep = if all {
            0
        } else {
            self.fresh.max(self.bytes() / 2)
        };
        self.accounted += self.log.give_up(all);
        while self.bytes() > keep {
            self.drop_oldest();
        }
        self.forget();
        self.check_account();
    }

    /// Trimmed must be what is over the limits or surely too old, but for what
    /// is held; and nothing that is surely young enough.
    fn follow_trim(&mut self, hold: Hold) {
        let latest = self.clients.iter().max_by_key(|client| client.number);
        let floor = match (hold, latest) {
            (Hold::Nothing, _) | (Hold::Unread, None) => u64::MAX,
            (Hold::UntilRead, None) => 0,
            (_, Some(latest)) => latest.cursor,
        };
        let slack = self.limits.age / 256;
        let aged = |block: &Block, limit| self.now.duration_since(block.at) > limit;
        let must = self.trimmed_if(floor, |block| {
            aged(block, self.limits.age.saturating_add(slack))
        });
        let may = self.trimmed_if(floor, |block| aged(block, self.limits.age));
        let low = self.log.with(tower_sse::log::Ring::low);
        assert!((must..=may).contains(&low), "{must} <= {low} <= {may}");
        while self.oldest <= low {
            self.drop_oldest();
        }
        self.forget();
    }

    /// The low mark after a trim, given what is too old.
    fn trimmed_if(&self, floor: u64, too_old: impl Fn(&Block) -> bool) -> u64 {
        let (mut events, mut bytes) = (self.blocks.len(), self.bytes());
        let mut low = self.oldest - 1;
        for block in &self.blocks {
            let over = events > 1 && (events > self.limits.events || bytes > self.limits.bytes);
            if block.seq > floor || !(over || too_old(block)) {
                break;
            }
            events -= 1;
            bytes -= block.bytes.len();
            low = block.seq;
        }
        low
    }

    fn drop_oldest(&mut self) {
        self.blocks.pop_front();
        self.oldest += 1;
    }

    fn forget(&mut self) {
        let low = self.oldest - 1;
        self.ids.retain(|(_, seq)| *seq >= low);
        self.seams.retain(|seam| seam.after >= low);
    }

    fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.bytes.len()).sum()
    }

    fn attach(&mut self, position: Position) {
        if self.clients.len() >= 6 {
            return;
        }
        let (low, high) = (self.oldest - 1, self.next - 1);
        let snapshots = self
            .seams
            .iter()
            .filter(|seam| seam.kind == SeamKind::Snapshot);
        let snapshot = snapshots.map(|seam| seam.after).next_back();
        let (after, lost, at_snapshot) = match (position, snapshot) {
            (Position::After(seq), _) if seq < low => (low, low - seq, false),
            (Position::After(seq), Some(at)) if at > seq => (at, 0, true),
            (Position::After(seq), _) => (seq.min(high), 0, false),
            (Position::Oldest, _) => (low, 0, false),
            (Position::Live, _) | (Position::Snapshot, None) => (high, 0, false),
            (Position::Tail(n), _) => (low.max(high.saturating_sub(n)), 0, false),
            (Position::Snapshot, Some(at)) => (at, 0, true),
        };
        let is_gap = |seam: &Seam| seam.after >= after && matches!(seam.kind, SeamKind::Gap { .. });
        let gap = self.seams.iter().any(is_gap);
        let attached = self.log.attach(position);
        let Attached { reader, .. } = attached;
        assert_eq!(reader.cursor(), after);
        assert_eq!(
            (
                attached.after,
                attached.lost,
                attached.behind,
                attached.gap,
                attached.snapshot
            ),
            (after, lost, high - after, gap, at_snapshot),
        );
        self.arrived += 1;
        self.clients.push(Client {
            number: self.arrived,
            reader,
            cursor: after,
            came_at: high,
            comment: self.comments,
            gap: None,
            order: None,
            closing: false,
            waits: false,
            wakes: Arc::default(),
            expected_wakes: 0,
        });
    }

    fn read(&mut self, index: usize) {
        if self.clients.is_empty() {
            return;
        }
        let index = index % self.clients.len();
        let client = &mut self.clients[index];
        let next = poll(&mut client.reader, &client.wakes);
        let (cursor, came_at, low) = (client.cursor, client.came_at, self.oldest - 1);
        client.waits = next.is_pending();

        if let Some(order) = client.order.take() {
            assert_eq!(next, Poll::Ready(order));
        } else if cursor < low {
            assert_eq!(next, Poll::Ready(Next::Lagged(low - cursor)));
        } else if let Some(gap) = gap_at(&self.seams, cursor)
            && client.gap != Some(cursor)
        {
            assert_eq!(next, Poll::Ready(gap));
            client.gap = Some(cursor);
        } else if let Some((number, _)) = self
            .comment
            .filter(|(number, after)| *number > client.comment && *after == cursor)
        {
            assert_eq!(next, Poll::Ready(Next::Comment(comment_line(number))));
            client.comment = number;
        } else if cursor < self.next - 1 {
            let Poll::Ready(Next::Data {
                chunk,
                events,
                replayed,
            }) = next
            else {
                panic!("{next:?} with blocks after {cursor}");
            };
            let due = self
                .blocks
                .iter()
                .filter(|block| block.seq > cursor && block.seq <= chunk.last);
            let due: Vec<u8> = due.flat_map(|block| block.bytes.iter().copied()).collect();
            assert!(chunk.last > cursor);
            let crossed = (cursor + 1..chunk.last).find(|seq| gap_at(&self.seams, *seq).is_some());
            assert_eq!(crossed, None, "blocks on both sides of a gap");
            assert_eq!(chunk.bytes, due);
            assert!(events == 1 || chunk.bytes.len() <= CHUNK);
            assert_eq!(events, chunk.last - cursor);
            assert_eq!(replayed, chunk.last.min(came_at).saturating_sub(cursor));
            client.cursor = chunk.last;
        } else if let Some(ending) = self.end {
            assert_eq!(next, Poll::Ready(Next::Ended(ending)));
        } else {
            assert_eq!(next, Poll::Pending);
        }
        assert_eq!(client.reader.cursor(), client.cursor);
    }

    fn comment(&mut self) {
        self.comments += 1;
        self.comment = Some((self.comments, self.next - 1));
        self.log.comment(self.next - 1, comment_line(self.comments));
        self.expect_wakes();
    }

    /// Each reader is asked once, and an abort stands.
    fn close(&mut self, at: Instant) {
        let mut news = false;
        for client in &mut self.clients {
            if !std::mem::replace(&mut client.closing, true) {
                client.order.get_or_insert(Next::CloseAt(at));
                news = true;
            }
        }
        if news {
            self.expect_wakes();
        }
    }

    /// Each reader that waits is woken once, and has to wait again to be.
    fn expect_wakes(&mut self) {
        for client in &mut self.clients {
            client.expected_wakes += usize::from(std::mem::take(&mut client.waits));
        }
    }

    fn check(&self) {
        for client in &self.clients {
            assert_eq!(client.wakes.get(), client.expected_wakes);
        }
        assert_eq!(self.log.readers(), self.clients.len());
        assert_eq!(self.log.ending(), self.end);
        self.log.with(|ring| {
            assert_eq!((ring.low(), ring.high()), (self.oldest - 1, self.next - 1));
            assert_eq!(ring.events(), self.blocks.len() as u64);
            assert_eq!(ring.bytes(), self.bytes());
            for id in 0..8u8 {
                let id = format!("u{id}");
                let known = self.ids.iter().find(|(known, _)| *known == id);
                assert_eq!(ring.find(id.as_bytes()), known.map(|(_, seq)| *seq));
            }
            assert_eq!(ring.block(self.oldest - 1), None);
            for block in self.blocks.front().into_iter().chain(self.blocks.back()) {
                assert_eq!(ring.block(block.seq).as_deref(), Some(&block.bytes[..]));
            }
        });
    }

    fn check_account(&self) {
        assert_eq!(self.accounted, i64::try_from(self.bytes()).unwrap());
    }
}

/// The last gap reported right after a block: how much it lost.
fn gap_at(seams: &[Seam], seq: u64) -> Option<Next> {
    let mut here = seams.iter().rev().filter(|seam| seam.after == seq);
    here.find_map(|seam| match seam.kind {
        SeamKind::Gap { lost } => Some(Next::Gap(lost)),
        _ => None,
    })
}

fn comment_line(number: u64) -> Bytes {
    format!(": {number}\n").into()
}

fn hold() -> impl Strategy<Value = Hold> {
    prop_oneof![
        Just(Hold::Nothing),
        Just(Hold::Unread),
        Just(Hold::UntilRead)
    ]
}

fn sizes() -> impl Strategy<Value = Vec<(usize, Option<u8>)>> {
    let id = || proptest::option::of(0..8u8);
    prop_oneof![
        20 => vec((0..300usize, id()), 0..6),
        4 => vec((0..40usize, id()), 100..400),
        1 => vec((40_000..150_000usize, id()), 1..3),
    ]
}

fn seam() -> impl Strategy<Value = Option<(usize, SeamKind)>> {
    let kind = prop_oneof![
        Just(SeamKind::Exact),
        Just(SeamKind::Gap { lost: None }),
        Just(SeamKind::Gap { lost: Some(3) }),
        Just(SeamKind::Snapshot),
    ];
    prop_oneof![
        4 => Just(None),
        1 => (0..10usize, kind).prop_map(Some),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let position = prop_oneof![
        (0..1500u64).prop_map(Position::After),
        Just(Position::Oldest),
        Just(Position::Live),
        (0..200u64).prop_map(Position::Tail),
        Just(Position::Snapshot),
    ];
    let ending = prop_oneof![Just(Ending::Complete), Just(Ending::Aborted("cut"))];
    prop_oneof![
        12 => (sizes(), seam(), hold()).prop_map(|(sizes, seam, hold)| Op::Append(sizes, seam, hold)),
        6 => (0..3000u64).prop_map(Op::Advance),
        2 => hold().prop_map(Op::Trim),
        2 => hold().prop_map(Op::Expire),
        1 => any::<bool>().prop_map(Op::GiveUp),
        5 => position.prop_map(Op::Attach),
        20 => any::<usize>().prop_map(Op::Read),
        2 => any::<usize>().prop_map(Op::Drop),
        2 => Just(Op::Comment),
        1 => ending.prop_map(Op::End),
        1 => Just(Op::Abort),
        1 => Just(Op::Close),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let events = prop_oneof![1..50usize, Just(usize::MAX)];
    let bytes = prop_oneof![1..5_000usize, 50_000..300_000usize, Just(usize::MAX)];
    let age = prop_oneof![
        (0..5_000u64).prop_map(Duration::from_millis),
        Just(Duration::MAX)
    ];
    (events, bytes, age).prop_map(|(events, bytes, age)| Limits { events, bytes, age })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_log_does_as_the_model(limits in limits(), ops in vec(op(), 1..120)) {
        let mut model = Model::new(limits);
        for op in ops {
            model.apply(op);
        }
    }
}
