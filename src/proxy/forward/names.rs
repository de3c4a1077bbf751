//! What a server's name stands for.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// Looks names up: anew each time, or keeps what it found for a while.
///
/// What is kept is given out in turn, each address first once, so that the
/// connections spread. When a name is not found any more, what it stood for
/// last is still tried: a name server that is away is no reason to be away.
/// There are as many names as the configuration has servers.
#[derive(Clone, Debug)]
pub(super) struct Names<R = GaiResolver> {
    lookup: R,
    keep: Option<Duration>,
    known: Arc<Mutex<HashMap<Name, Known>>>,
}

#[derive(Debug)]
struct Known {
    addresses: Vec<SocketAddr>,
    until: Instant,
    turn: usize,
}

pub(super) type Addresses = std::vec::IntoIter<SocketAddr>;

impl<R> Names<R> {
    pub(super) fn new(lookup: R, keep: Option<Duration>) -> Self {
        Self {
            lookup,
            keep,
            known: Arc::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Name, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known and need not be looked up. Whoever finds it too old looks
    /// it up for all others.
    fn recall(&self, name: &Name, keep: Duration, now: Instant) -> Option<Addresses> {
        let mut known = self.known();
        let known = known.get_mut(name)?;
        if now >= known.until {
            known.until = now + keep;
            return None;
        }
        Some(known.next())
    }

    fn learn(
        &self,
        name: Name,
        keep: Duration,
        found: io::Result<Vec<SocketAddr>>,
    ) -> io::Result<Addresses> {
        let mut all = self.known();
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                let until = Instant::now() + keep;
                let turn = all.get(&name).map_or(0, |known| known.turn);
                let known = Known {
                    addresses,
                    until,
                    turn,
                };
                let known = all.entry(name).insert_entry(known).into_mut();
                Ok(known.next())
            }
            found => {
                let Some(known) = all.get_mut(&name) else {
                    return found.map(Vec::into_iter);
                };
                let error = found.err().map(|error| error.to_string());
                let name = name.as_str();
                tracing::warn!(
                    name,
                    error,
                    "a server's name is not found; its last addresses are used"
                );
                Ok(known.next())
            }
        }
    }
}

impl Known {
    fn next(&mut self) -> Addresses {
        let first = self.turn.checked_rem(self.addresses.len()).unwrap_or(0);
        self.turn = self.turn.wrapping_add(1);
        let mut addresses = self.addresses.clone();
        addresses.rotate_left(first);
        addresses.into_iter()
    }
}

impl<R> Service<Name> for Names<R>
where
    R: Service<Name, Error = io::Error, Future: Send + 'static> + Clone + Send + Sync + 'static,
    R::Response: Iterator<Item = SocketAddr>,
{
    type Response = Addresses;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Addresses>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lookup.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Some(keep) = self.keep else {
            let found = self.lookup.call(name);
            return Box::pin(async move { Ok(found.await?.collect::<Vec<_>>().into_iter()) });
        };
        if let Some(addresses) = self.recall(&name, keep, Instant::now()) {
            return Box::pin(std::future::ready(Ok(addresses)));
        }
        let found = self.lookup.call(name.clone());
        let names = self.clone();
        Box::pin(async move {
            let found = found.await.map(Iterator::collect);
            names.learn(name, keep, found)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A name server of these answers, the last for good.
    #[derive(Clone)]
    struct Script(Arc<(Vec<Vec<u8>>, AtomicUsize)>);

    impl Service<Name> for Script {
        type Response = Addresses;
        type Error = io::Error;
        type Future = Ready<io::Result<Addresses>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            let (answers, asked) = &*self.0;
            let asked = asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
            let address = |last: &u8| SocketAddr::from(([10, 0, 0, *last], 0));
            ready(match &answers[asked] {
                none if none.is_empty() => Err(io::Error::other("no such name")),
                some => Ok(some.iter().map(address).collect::<Vec<_>>().into_iter()),
            })
        }
    }

    fn names(keep: Option<Duration>, answers: &[&[u8]]) -> (Names<Script>, Script) {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        let script = Script(Arc::new((answers, AtomicUsize::new(0))));
        (Names::new(script.clone(), keep), script)
    }

    async fn ask(names: &mut Names<Script>) -> Option<Vec<u8>> {
        let found = names.call("app.internal".parse().unwrap()).await.ok()?;
        let last = |address: SocketAddr| address.ip().to_string().rsplit('.').next()?.parse().ok();
        found.map(last).collect()
    }

    #[tokio::test]
    async fn without_a_time_to_keep_each_connect_asks() {
        let (mut names, script) = names(None, &[&[1, 2], &[3], &[]]);
        assert_eq!(ask(&mut names).await, Some(vec![1, 2]));
        assert_eq!(ask(&mut names).await, Some(vec![3]));
        assert_eq!(ask(&mut names).await, None);
        assert_eq!(script.0.1.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn what_is_kept_is_given_out_in_turn() {
        let (mut names, script) = names(Some(Duration::from_secs(999)), &[&[1, 2, 3]]);
        assert_eq!(ask(&mut names).await, Some(vec![1, 2, 3]));
        assert_eq!(ask(&mut names).await, Some(vec![2, 3, 1]));
        assert_eq!(ask(&mut names).await, Some(vec![3, 1, 2]));
        assert_eq!(ask(&mut names).await, Some(vec![1, 2, 3]));
        assert_eq!(script.0.1.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_a_name_stood_for_last_outlives_its_name_server() {
        // Each answer is too old at once.
        let (mut names, _) = names(Some(Duration::ZERO), &[&[1], &[], &[2], &[]]);
        for expected in [1, 1, 2, 2, 2] {
            assert_eq!(ask(&mut names).await, Some(vec![expected]));
        }
    }

    #[tokio::test]
    async fn a_name_that_never_was_is_an_error() {
        let (mut names, _) = names(Some(Duration::from_secs(9)), &[&[], &[1]]);
        assert_eq!(ask(&mut names).await, None);
        assert_eq!(ask(&mut names).await, Some(vec![1]), "asked again");
    }
}
