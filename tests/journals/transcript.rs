//! What happened, as clients and the origin saw it: what the checker judges.

use std::collections::HashMap;
use std::time::Instant;

/// One client, over all its connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    /// What violations call it.
    pub(crate) name: String,
    /// The path it asks for, which is what the origin calls its feed.
    pub(crate) feed: String,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A stream was answered.
    Opened {
        /// Which proxy answered.
        proxy: usize,
        /// The id that was asked with.
        after: String,
        /// `Sse-Resume`.
        resumed: String,
    },
    /// Anything but a stream was answered.
    Refused { proxy: usize, status: u16 },
    /// An event of the origin's was dispatched.
    Event { number: u64, id: String },
    /// An event that is not of this feed was dispatched.
    Stranger { data: String },
    /// A gap was announced.
    Gap {
        reason: String,
        /// By an event, whose id leads on from behind the gap.
        by_event: bool,
    },
    /// A block that strict clients take for an event without data.
    Empty,
    /// The body ended.
    Ended { clean: bool },
}

/// One request at the origin.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) feed: String,
    /// The number it was asked to go on from.
    pub(crate) after: Option<u64>,
    pub(crate) opened: Instant,
    /// `None`: it is open still.
    pub(crate) closed: Option<Instant>,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) sessions: Vec<Transcript>,
    pub(crate) connections: Vec<Connection>,
    /// How often each one-shot was executed.
    pub(crate) executions: Vec<(String, usize)>,
    /// Where each feed stood still at the end, for everybody to get there.
    pub(crate) ends: HashMap<String, u64>,
}

impl Entry {
    /// Number and id of an event.
    pub(crate) fn event(&self) -> Option<(u64, &str)> {
        match self {
            Self::Event { number, id } => Some((*number, id)),
            _ => None,
        }
    }
}

impl Transcript {
    pub(crate) fn new(name: impl Into<String>, feed: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            feed: feed.into(),
            entries: Vec::new(),
        }
    }

    /// The last number dispatched; 0 if there is none.
    pub(crate) fn last(&self) -> u64 {
        let event = self.entries.iter().rev().find_map(Entry::event);
        event.map_or(0, |(number, _)| number)
    }

    /// Whether the last body ended as if whole.
    pub(crate) fn is_complete(&self) -> bool {
        self.entries.last() == Some(&Entry::Ended { clean: true })
    }
}
