use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// A place for another form of some blocks, which the first reader to need it
/// makes for all.
///
/// It lies beside the blocks and goes when they are trimmed, or lie in larger
/// pieces. What it holds is counted as retained.
#[derive(Debug)]
pub struct Form {
    bytes: OnceLock<Bytes>,
    held: Held,
}

/// Bytes that the forms of one log hold.
pub(crate) type Held = Arc<AtomicUsize>;

impl Form {
    pub(crate) fn new(held: Held) -> Self {
        Self {
            bytes: OnceLock::new(),
            held,
        }
    }

    /// The other form. Of several who ask at once one makes it, and the others
    /// wait for that, as it takes no longer than to make it themselves.
    pub fn get(&self, make: impl FnOnce() -> Bytes) -> &Bytes {
        self.bytes.get_or_init(|| {
            let bytes = make();
            self.held.fetch_add(cost(&bytes), Ordering::Relaxed);
            bytes
        })
    }
}

fn cost(bytes: &Bytes) -> usize {
    bytes.len() + size_of::<Form>()
}

impl Drop for Form {
    fn drop(&mut self) {
        if let Some(bytes) = self.bytes.get() {
            self.held.fetch_sub(cost(bytes), Ordering::Relaxed);
        }
    }
}

/// Two are equal if they are the same.
impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Form {}
