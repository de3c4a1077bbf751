//! The streams at a server that may go on at another one.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use futures_util::task::AtomicWaker;
use slab::Slab;

/// All of one server. Locked when a stream comes or goes, never for an event.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<Slab<Arc<Notice>>>);

/// A stream's place among the guests, until dropped.
pub struct Guest {
    guests: Arc<Guests>,
    key: usize,
    notice: Arc<Notice>,
    /// Who was last told to be woken: always the same pump.
    waker: Option<Waker>,
}

/// What a stream is told.
#[derive(Debug, Default)]
struct Notice {
    given: AtomicBool,
    waker: AtomicWaker,
}

impl Guests {
    pub(super) fn enter(self: &Arc<Self>) -> Guest {
        let notice = Arc::<Notice>::default();
        let key = self.all().insert(Arc::clone(&notice));
        Guest {
            guests: Arc::clone(self),
            key,
            notice,
            waker: None,
        }
    }

    /// How many were not told to leave yet.
    pub(super) fn staying(&self) -> usize {
        let given = |(_, notice): &(usize, &Arc<Notice>)| !notice.is_given();
        self.all().iter().filter(given).count()
    }

    /// Tells so many to leave; says how many there were.
    pub(super) fn dismiss(&self, count: usize) -> usize {
        let leaving: Vec<_> = {
            let all = self.all();
            let staying = all.iter().map(|(_, notice)| notice);
            let staying = staying.filter(|notice| !notice.is_given());
            staying.take(count).cloned().collect()
        };
        for notice in &leaving {
            notice.given.store(true, Ordering::Release);
            notice.waker.wake();
        }
        leaving.len()
    }

    fn all(&self) -> MutexGuard<'_, Slab<Arc<Notice>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Whether to leave; if not, whoever asked is woken when it is time.
    pub fn is_dismissed(&mut self, cx: &Context<'_>) -> bool {
        if self
            .waker
            .as_ref()
            .is_none_or(|waker| !waker.will_wake(cx.waker()))
        {
            self.waker = Some(cx.waker().clone());
            self.notice.waker.register(cx.waker());
        }
        self.notice.is_given()
    }
}

impl Notice {
    fn is_given(&self) -> bool {
        self.given.load(Ordering::Acquire)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.all().try_remove(self.key);
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn each_guest_is_dismissed_and_woken_once() {
        let guests = Arc::<Guests>::default();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        let mut here: Vec<_> = (0..3).map(|_| guests.enter()).collect();
        assert!(here.iter_mut().all(|guest| !guest.is_dismissed(&cx)));
        drop(here.pop());
        assert_eq!(guests.staying(), 2);
        assert_eq!(guests.dismiss(1), 1);
        assert_eq!(guests.staying(), 1);
        assert_eq!(guests.dismiss(9), 1);
        assert_eq!(guests.dismiss(9), 0);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        assert!(here.iter_mut().all(|guest| guest.is_dismissed(&cx)));
        drop(here);
        assert!(guests.all().is_empty());
    }
}
