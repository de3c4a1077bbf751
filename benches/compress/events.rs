//! What is sent: JSON that repeats its keys, and not its values.

use std::fmt::Write;

/// What arrives from upstream at once.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// One event of some 150 bytes.
    Small,
    /// Ten of them.
    Batch,
    /// One event of some 1.9 KiB.
    Large,
}

impl Shape {
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Batch, Self::Large];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "one event of 150 bytes at a time",
            Self::Batch => "ten events of 150 bytes at a time",
            Self::Large => "one event of 1.9 KiB at a time",
        }
    }

    /// How many events a delivery has.
    pub(crate) fn events(self) -> usize {
        match self {
            Self::Batch => 10,
            Self::Small | Self::Large => 1,
        }
    }

    pub(crate) fn delivery(self, number: usize) -> String {
        let mut text = String::new();
        for event in 0..self.events() {
            let quotes = match self {
                Self::Small | Self::Batch => 1,
                Self::Large => 16,
            };
            let first = (number * 10 + event) * quotes;
            let quotes: Vec<_> = (first..first + quotes).map(quote).collect();
            let _ = write!(text, "event: quotes\ndata: [{}]\n\n", quotes.join(","));
        }
        text
    }
}

fn quote(number: usize) -> String {
    // Scattered, and the same in each round.
    let mut random = fastrand::Rng::with_seed(number as u64);
    format!(
        "{{\"seq\":{number},\"symbol\":\"{}{}{}\",\"bid\":{}.{:02},\"ask\":{}.{:02},\
         \"volume\":{},\"at\":\"2026-11-21T19:{:02}:{:02}.{:03}Z\",\"venue\":\"XNAS\"}}",
        random.uppercase(),
        random.uppercase(),
        random.uppercase(),
        random.u32(10..900),
        random.u32(..100),
        random.u32(10..900),
        random.u32(..100),
        random.u32(1..100_000),
        random.u32(..60),
        random.u32(..60),
        random.u32(..1000),
    )
}
