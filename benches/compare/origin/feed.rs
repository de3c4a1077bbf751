//! Which events are due, and the bytes of those that were.

use std::time::{Duration, Instant};

use crate::event::{Shape, Writer, now};

/// Above this rate, events of one tick are sent together.
const TICKS_PER_SECOND: u64 = 200;

/// Events in a chunk of a burst or a flood.
pub(crate) const PER_CHUNK: usize = 50;

#[derive(Debug)]
pub(crate) struct Feed {
    writer: Writer,
    /// Number of the last event, 0 before the first.
    last: u64,
    pace: Option<Pace>,
    /// The chunks of a burst, and how many events are in them.
    pub(crate) history: Vec<u8>,
}

#[derive(Debug)]
struct Pace {
    rate: u64,
    since: Instant,
    sent: u64,
    ticks: u32,
    tick: Duration,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self {
            writer: Writer::new(Shape::Plain),
            last: 0,
            pace: None,
            history: Vec::new(),
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn shape(&mut self, shape: Shape) {
        self.writer = Writer::new(shape);
    }

    pub(crate) fn rate(&mut self, rate: u64) {
        self.pace = (rate > 0).then(|| Pace {
            rate,
            since: Instant::now(),
            sent: 0,
            ticks: 1,
            tick: Duration::from_secs(1) / u32::try_from(rate.min(TICKS_PER_SECOND)).unwrap_or(1),
        });
    }

    /// When events are due next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let pace = self.pace.as_ref()?;
        Some(pace.since + pace.tick * pace.ticks)
    }

    /// How many events are due now. An origin that is late sends more at once
    /// rather than fewer.
    pub(crate) fn due(&mut self) -> usize {
        let Some(pace) = &mut self.pace else { return 0 };
        let elapsed = pace.since.elapsed();
        if elapsed < pace.tick * pace.ticks {
            return 0;
        }
        pace.ticks = u32::try_from(elapsed.as_nanos() / pace.tick.as_nanos()).unwrap_or(0) + 1;
        let owed = elapsed.as_nanos() * u128::from(pace.rate) / 1_000_000_000;
        let due = u64::try_from(owed).unwrap_or(0) - pace.sent;
        pace.sent += due;
        usize::try_from(due).unwrap_or(0)
    }

    /// Appends the next `count` events as one chunk.
    pub(crate) fn chunk(&mut self, count: usize, into: &mut Vec<u8>) {
        self.writer.chunk(self.last + 1, count, now(), into);
        self.last += count as u64;
    }

    /// Appends the next event alone, without HTTP around it.
    pub(crate) fn event(&mut self, into: &mut Vec<u8>) {
        self.last += 1;
        self.writer.event(self.last, now(), into);
    }

    /// Adds events to the history. The first chunk of a history has one event,
    /// so that who saw that one starts at a chunk too.
    pub(crate) fn burst(&mut self, events: u64) {
        let mut history = std::mem::take(&mut self.history);
        let mut left = usize::try_from(events).unwrap_or(0);
        while left > 0 {
            let count = if history.is_empty() {
                1
            } else {
                left.min(PER_CHUNK)
            };
            self.chunk(count, &mut history);
            left -= count;
        }
        self.history = history;
    }

    /// Where in the history the events after the first begin.
    pub(crate) fn after_first(&self) -> usize {
        let mut first = Vec::new();
        self.writer.chunk(1, 1, 0, &mut first);
        first.len()
    }
}
