use std::path::PathBuf;
use std::time::Duration;

/// How a journal on disk keeps what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// The directory. It is made if it is missing, and belongs to one process
    /// at a time.
    pub path: PathBuf,
    /// When the disk is asked to have what was written. Default: every second.
    pub sync: Sync,
    /// The most that the directory may take, in bytes: 1 GiB by default, 64 KiB
    /// at least. Past it the oldest events go, although they were to be
    /// retained.
    pub max_bytes: u64,
    /// Size at which a file is sealed and the next one begun, in bytes: 32 MiB
    /// by default, a quarter of `max_bytes` at most. Space is freed in pieces
    /// of this size.
    pub segment_bytes: u64,
}

/// When the disk is asked to have what was written.
///
/// Whatever is chosen, nothing is lost if the *process* dies: what was
/// written is with the kernel before anybody is told. This is about the loss
/// of power and the death of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before an event is passed on. Nothing that a client has seen is lost;
    /// every event waits for the disk, together with those of other streams.
    Always,
    /// This often. That much is lost at most, and the ids of the streams
    /// concerned change.
    Interval(Duration),
    /// When the kernel thinks it fit, which may be half a minute later.
    Never,
}

const LEAST_MAX: u64 = 64 << 10;

impl DiskSettings {
    /// The defaults, in this directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            sync: Sync::Interval(Duration::from_secs(1)),
            max_bytes: 1 << 30,
            segment_bytes: 32 << 20,
        }
    }

    /// The cap, at least the least.
    pub(super) fn cap(&self) -> u64 {
        self.max_bytes.max(LEAST_MAX)
    }

    /// Where a segment ends. Four of them must fit beneath the cap, or there
    /// would be no room to give up; and offsets in one are 32 bits.
    pub(super) fn segment(&self) -> u32 {
        let most = (self.cap() / 4).min(1 << 30);
        u32::try_from(self.segment_bytes.clamp(1 << 10, most)).unwrap_or(1 << 30)
    }
}
