use std::time::Duration;

/// How much a log keeps. Whatever is over any of the three is trimmed, oldest
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Blocks.
    pub events: usize,
    /// Bytes of encoded blocks. A single block over it is still kept until the
    /// next one comes.
    pub bytes: usize,
    /// Age. Blocks may be kept up to 1/256 longer than this, because
    /// publications close to each other share one time stamp.
    pub age: Duration,
}

impl Limits {
    /// No limit at all: the owner bounds the log by not appending to it.
    pub const NONE: Self = Self {
        events: usize::MAX,
        bytes: usize::MAX,
        age: Duration::MAX,
    };
}

impl Default for Limits {
    /// 1024 events, 4 MiB, 5 minutes.
    fn default() -> Self {
        Self {
            events: 1024,
            bytes: 4 << 20,
            age: Duration::from_secs(300),
        }
    }
}
