//! What can be counted, and by whom.
//!
//! The engine reports to an [`Observer`]; it keeps no counters of its own. The
//! default, [`Silent`], does nothing. The proxy's Prometheus metrics are one
//! implementation; an application may bring another.

use std::time::Duration;

/// Something that happened and is worth counting.
///
/// Signals are reported per batch, never per event and client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// A client began to read a stream.
    ClientOpened,
    /// That client is gone, for whatever reason.
    ClientClosed,
    /// A stream came into existence.
    StreamOpened,
    /// A stream was forgotten, its buffer freed.
    StreamClosed,
    /// An upstream connection answered with an event stream.
    UpstreamOpened,
    /// That connection ended, for whatever reason.
    UpstreamClosed,
    /// An upstream connection was lost, and this is an attempt at another one.
    UpstreamReconnect,
    /// A request that failed before anything of its answer came, and whose route
    /// allows it, was sent again.
    Retried,
    /// The answer to a request has ended; whether with its last event, as far as
    /// that can be told.
    AnswerEnded {
        /// If not, it was cut, or stopped.
        complete: bool,
    },
    /// Events arrived from upstream and were published.
    EventsIn(u64),
    /// Events were handed to clients (summed over clients).
    EventsOut(u64),
    /// Of those handed out, events that were retained before the client came.
    Replayed(u64),
    /// Loss is known or feared.
    Gap(GapReason),
    /// The bytes retained for replay changed by this much.
    Buffered(i64),
    /// Blocks were compressed, for one client or for all that read them.
    Compressed {
        /// Their bytes.
        from: u64,
        /// What became of them.
        to: u64,
    },
    /// A heartbeat was written to a client.
    Heartbeat,
    /// The journal could not keep what was published. What it did not keep, no
    /// other process and no restarted one will know of.
    JournalFailed,
    /// A stream is kept in its journal again (true), or no longer (false).
    Durable(bool),
    /// A stream's upstream became this process's to connect to: nobody else's
    /// it was, or whoever had it is gone.
    Owned,
    /// A stream's upstream became another process's.
    Disowned,
    /// Time from the request upstream to its response head.
    UpstreamHead(Duration),
    /// Time from the response head to the first byte of its body.
    UpstreamFirstByte(Duration),
}

/// Why events are known or feared lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The events after the client's last id were trimmed from the buffer.
    Trimmed,
    /// The client's id names no stream known here.
    UnknownId,
    /// The client's id could not be read.
    MalformedId,
    /// The upstream reconnected and continuity could not be proved.
    Upstream,
    /// A reader was slower than the buffer is deep, and was cut.
    Lagged,
}

impl GapReason {
    /// The reason as a short word, for headers, comments and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::UnknownId => "unknown-id",
            Self::MalformedId => "malformed-id",
            Self::Upstream => "upstream",
            Self::Lagged => "lagged",
        }
    }
}

/// Receives the engine's signals.
///
/// Called on the hot path: an implementation should add to a counter and
/// return. It must not block and must not panic.
pub trait Observer: Send + Sync + 'static {
    /// Called once for each signal.
    fn observe(&self, signal: Signal);
}

/// The observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _: Signal) {}
}
