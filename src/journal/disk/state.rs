use std::io;

use super::settings::Sync;
use super::storage::{Storage, contents, replace};

/// What the last run left behind for the next one, in a file of its own.
///
/// From it the next run tells whether all that was acknowledged must be there.
/// That is so if the last run
///
/// * ended in order: it synced all it had written before it said so, or
/// * synced everything before it acknowledged it, or
/// * was on the same kernel: what was written was acknowledged after the
///   write, and what the kernel was given outlives the process.
///
/// None of it holds once the disk failed to keep what it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Which start of the kernel it was.
    boot: Option<String>,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It ran with `sync: always`, and did not end in order.
    Always,
    /// It ran without, and did not end in order.
    Lazy,
    /// The disk failed it.
    Failed,
    /// It ended in order, at this length of this segment.
    Clean { segment: u32, len: u32 },
}

const NAME: &str = "state";

impl State {
    pub(super) fn running(sync: Sync, boot: Option<String>) -> Self {
        let how = if sync == Sync::Always {
            How::Always
        } else {
            How::Lazy
        };
        Self { boot, how }
    }

    /// Writes down that the disk failed. Where there is no room for that,
    /// nothing is left that would say otherwise.
    pub(super) fn fail(storage: &dyn Storage) {
        if Self::failed(storage.boot()).write(storage).is_err() {
            let _ = storage.remove(NAME);
            let _ = storage.sync();
        }
    }

    fn failed(boot: Option<String>) -> Self {
        let how = How::Failed;
        Self { boot, how }
    }

    pub(super) fn clean(segment: u32, len: u32, boot: Option<String>) -> Self {
        let how = How::Clean { segment, len };
        Self { boot, how }
    }

    /// Whether everything acknowledged must be there, given how far the last
    /// segment reaches and which start of the kernel this is.
    pub(super) fn proves(&self, reached: (u32, u32), boot: Option<&str>) -> bool {
        match self.how {
            How::Failed => false,
            How::Clean { segment, len } => reached == (segment, len),
            How::Always => true,
            How::Lazy => boot.is_some() && self.boot.as_deref() == boot,
        }
    }

    /// Whether the last run ended in order, so that all of it is synced.
    pub(super) fn is_clean(&self) -> bool {
        matches!(self.how, How::Clean { .. })
    }

    /// What the file says. `None` if there is none, or it cannot be believed.
    pub(super) fn read(storage: &dyn Storage) -> io::Result<Option<Self>> {
        let bytes = contents(storage, NAME)?;
        Ok(bytes.and_then(|bytes| Self::parse(&bytes)))
    }

    pub(super) fn write(&self, storage: &dyn Storage) -> io::Result<()> {
        replace(storage, NAME, self.print().as_bytes())
    }

    fn print(&self) -> String {
        let how = match self.how {
            How::Always => "always".to_owned(),
            How::Lazy => "lazy".to_owned(),
            How::Failed => "failed".to_owned(),
            How::Clean { segment, len } => format!("clean {segment} {len}"),
        };
        let boot = self.boot.as_deref().unwrap_or("");
        let text = format!("1\n{how}\n{boot}\n");
        format!("{text}{:08x}\n", crc32fast::hash(text.as_bytes()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.lines();
        let (version, how, boot) = (lines.next()?, lines.next()?, lines.next()?);
        if version != "1" {
            return None;
        }
        let mut words = how.split(' ');
        let how = match words.next()? {
            "always" => How::Always,
            "lazy" => How::Lazy,
            "failed" => How::Failed,
            "clean" => How::Clean {
                segment: words.next()?.parse().ok()?,
                len: words.next()?.parse().ok()?,
            },
            _ => return None,
        };
        let boot = Some(boot.to_owned()).filter(|boot| !boot.is_empty());
        let state = Self { boot, how };
        // The checksum is what it would print: nothing else has to be right.
        (state.print() == text).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> Vec<State> {
        let boot = || Some("b1".to_owned());
        vec![
            State::running(Sync::Always, boot()),
            State::running(Sync::Never, None),
            State::failed(boot()),
            State::clean(7, 4096, boot()),
        ]
    }

    #[test]
    fn a_state_is_read_back_and_nothing_that_resembles_it() {
        for state in states() {
            let text = state.print();
            assert_eq!(State::parse(text.as_bytes()), Some(state.clone()));
            for at in 0..text.len() {
                for bit in 0..8 {
                    let mut other = text.clone().into_bytes();
                    other[at] ^= 1 << bit;
                    assert_eq!(State::parse(&other), None, "byte {at} bit {bit}");
                }
                assert_eq!(State::parse(&text.as_bytes()[..at]), None);
            }
        }
    }

    #[test]
    fn what_proves_continuity() {
        let [always, never, failed, clean] = states().try_into().unwrap();
        let lazy = State::running(Sync::Never, Some("b1".to_owned()));
        for boot in [Some("b1"), Some("b2"), None] {
            assert!(always.proves((1, 1), boot));
            assert!(!never.proves((1, 1), boot));
            assert!(!failed.proves((1, 1), boot));
            assert!(clean.proves((7, 4096), boot));
            assert!(!clean.proves((7, 4000), boot));
            assert_eq!(lazy.proves((1, 1), boot), boot == Some("b1"));
        }
    }
}
