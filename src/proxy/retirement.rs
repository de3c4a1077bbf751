//! When a connection has served its time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Sleep, sleep_until};

use super::activity::Terms;

/// How a connection is ended that is old, or has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// With what it is at.
    InOrder,
    /// Where it stands.
    AtOnce,
}

/// When a connection is to end. Boxed, as most never are.
pub(crate) struct Retire(Option<Box<Reasons>>);

struct Reasons {
    old: Option<Pin<Box<Sleep>>>,
    unused: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    idle: Farewell,
}

impl Retire {
    pub(crate) fn new(terms: &Terms, idle: Farewell) -> Self {
        let (leave, activity) = (terms.leave(), terms.activity());
        if leave.is_none() && activity.is_none() {
            return Self(None);
        }
        Self(Some(Box::new(Reasons {
            old: leave.map(|leave| Box::pin(sleep_until(leave))),
            unused: activity.map(|activity| Box::pin(async move { activity.idle().await }) as _),
            idle,
        })))
    }

    /// Ready once for each reason: one that is old, and ends in order, may turn
    /// out to have nothing to do.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Farewell> {
        let Some(reasons) = &mut self.0 else {
            return Poll::Pending;
        };
        if let Some(old) = &mut reasons.old
            && old.as_mut().poll(cx).is_ready()
        {
            reasons.old = None;
            return Poll::Ready(Farewell::InOrder);
        }
        if let Some(unused) = &mut reasons.unused
            && unused.as_mut().poll(cx).is_ready()
        {
            reasons.unused = None;
            return Poll::Ready(reasons.idle);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::super::activity::Activity;
    use super::*;

    const AGE: Duration = Duration::from_secs(100);

    /// What comes, and after how many seconds.
    async fn next(retire: &mut Retire, begun: Instant) -> Option<(Farewell, u64)> {
        let came = timeout(AGE * 10, poll_fn(|cx| retire.poll(cx))).await;
        Some((came.ok()?, begun.elapsed().as_secs()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_connection_may_still_be_idle() {
        let begun = Instant::now();
        let activity = Activity::new(AGE * 2, AGE * 2);
        let terms = Terms::new(Some(activity), begun.checked_add(AGE));
        let mut retire = Retire::new(&terms, Farewell::AtOnce);
        let old = next(&mut retire, begun).await;
        assert_eq!(old, Some((Farewell::InOrder, 100)));
        let idle = next(&mut retire, begun).await;
        assert_eq!(idle, Some((Farewell::AtOnce, 200)));
        assert_eq!(next(&mut retire, begun).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_it_never_is() {
        let mut retire = Retire::new(&Terms::default(), Farewell::AtOnce);
        assert_eq!(next(&mut retire, Instant::now()).await, None);
    }
}
