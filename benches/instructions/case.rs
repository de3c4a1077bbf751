//! What is counted, and the events it is counted with.

/// One thing that is done again and again.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What a figure is the price of.
    pub(crate) per: &'static str,
    /// How often it is done in the shorter of two runs: till it has settled.
    pub(crate) rounds: u64,
    /// How many of what a figure is the price of there are in a round.
    pub(crate) each: u16,
    /// Prepares, then does it this many times. What goes before must not
    /// depend on how many they are.
    pub(crate) run: fn(rounds: u64),
}

impl Case {
    pub(crate) const fn new(
        name: &'static str,
        per: &'static str,
        rounds: u64,
        run: fn(u64),
    ) -> Self {
        Self {
            name,
            per,
            rounds,
            each: 1,
            run,
        }
    }

    pub(crate) const fn each(self, each: u16) -> Self {
        Self { each, ..self }
    }
}

/// 200 bytes, nearly all of them data.
pub(crate) fn event() -> String {
    format!("data: {}\n\n", "x".repeat(192))
}

/// 200 bytes, with an id and whatever else an event can have.
pub(crate) fn event_with_fields(number: usize) -> String {
    let data = format!("data: {}\n", "x".repeat(66));
    format!("event: price\nid: 2026-11-21T10:00Z/{number:06}\nretry: 100\n{data}{data}\n")
}
