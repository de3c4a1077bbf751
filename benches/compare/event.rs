//! The events of all scenarios: 200 bytes each, numbered and timed.
//!
//! What the origin writes and what the load client reads is defined side by
//! side here, so that the two cannot drift apart.

use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of an event, blank line included.
pub(crate) const SIZE: usize = 200;

/// As much of a line as is ever looked at.
pub(crate) const LOOKED_AT: usize = 64;

const NUMBER_DIGITS: usize = 10;
const TIME_DIGITS: usize = 20;

/// What surrounds the number and the time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `data: <number> <time> <padding>`
    Plain,
    /// The same after an `id:` line with the number.
    Numbered,
    /// The `data:` of a language model: a JSON object.
    Json,
}

impl Shape {
    /// The length of its `data:` line. Other lines are not looked at.
    pub(crate) fn line_length(self) -> usize {
        SIZE - self.id_line().len() - "\n\n".len()
    }

    fn id_line(self) -> &'static str {
        match self {
            Self::Numbered => "id: 0000000000\n",
            Self::Plain | Self::Json => "",
        }
    }

    /// What is around the number and the time, in the order of the wire.
    fn parts(self) -> [&'static str; 4] {
        match self {
            Self::Plain | Self::Numbered => ["data: ", " ", " ", ""],
            Self::Json => [
                "data: {\"seq\":\"",
                "\",\"at\":\"",
                "\",\"token\":\"",
                "\"}",
            ],
        }
    }

    fn number_at(self) -> usize {
        self.parts()[0].len()
    }

    fn time_at(self) -> usize {
        self.number_at() + NUMBER_DIGITS + self.parts()[1].len()
    }
}

/// Nanoseconds since the epoch: what client and origin both know.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}

/// Writes events of one shape.
#[derive(Debug)]
pub(crate) struct Writer {
    shape: Shape,
    template: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(shape: Shape) -> Self {
        let [before, between, after, end] = shape.parts();
        let mut template = Vec::with_capacity(SIZE);
        template.extend_from_slice(shape.id_line().as_bytes());
        template.extend_from_slice(before.as_bytes());
        template.extend_from_slice(&[b'0'; NUMBER_DIGITS]);
        template.extend_from_slice(between.as_bytes());
        template.extend_from_slice(&[b'0'; TIME_DIGITS]);
        template.extend_from_slice(after.as_bytes());
        template.resize(SIZE - 2 - end.len(), b'x');
        template.extend_from_slice(end.as_bytes());
        template.extend_from_slice(b"\n\n");
        Self { shape, template }
    }

    /// Appends the event `number`, produced at `time`.
    pub(crate) fn event(&self, number: u64, time: u64, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&self.template);
        let event = &mut into[start..];
        let data = self.shape.id_line().len();
        if data > 0 {
            digits(&mut event["id: ".len()..data - 1], number);
        }
        let at = data + self.shape.number_at();
        digits(&mut event[at..at + NUMBER_DIGITS], number);
        let at = data + self.shape.time_at();
        digits(&mut event[at..at + TIME_DIGITS], time);
    }

    /// Appends `count` events from `first` on as one chunk of HTTP/1.1: what a
    /// server does that writes them at once.
    pub(crate) fn chunk(&self, first: u64, count: usize, time: u64, into: &mut Vec<u8>) {
        into.extend_from_slice(format!("{:x}\r\n", count * SIZE).as_bytes());
        for number in (first..).take(count) {
            self.event(number, time, into);
        }
        into.extend_from_slice(b"\r\n");
    }
}

fn digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// The number and the time in a `data:` line, of which `line` is the first
/// [`LOOKED_AT`] bytes and `length` the length of the whole.
pub(crate) fn read(shape: Shape, line: &[u8], length: usize) -> Option<(u64, u64)> {
    if length != shape.line_length() {
        return None;
    }
    let number = line.get(shape.number_at()..)?.get(..NUMBER_DIGITS)?;
    let time = line.get(shape.time_at()..)?.get(..TIME_DIGITS)?;
    Some((value(number)?, value(time)?))
}

fn value(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| value.wrapping_mul(10).wrapping_add(u64::from(digit)))
    })
}
