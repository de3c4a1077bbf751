use std::sync::Arc;
use std::time::Duration;

use super::error::TlsError;
use super::termination::Termination;
use crate::proxy::config::model::Listener;

/// Between looks at the files. By content: what orchestrators mount is changed
/// by exchanging a link, which times and notifications do not tell of.
const INTERVAL: Duration = Duration::from_secs(5);

/// The certificates of all listeners. Clones stand for the same ones.
#[derive(Clone, Debug)]
pub struct Certificates(Arc<[Arc<Termination>]>);

impl Certificates {
    pub(crate) fn new(listeners: impl Iterator<Item = Arc<Termination>>) -> Self {
        Self(listeners.collect())
    }

    /// Reads every file again, for the connections to come; those that are open
    /// stay as they are. If one file is refused, nothing changes at all.
    ///
    /// It blocks while it reads.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.exchange(|_| None)
    }

    /// The same with new settings, for those listeners whose address is in the
    /// list and has TLS there, too. `acme` stays as it is.
    pub fn apply(&self, listeners: &[Listener]) -> Result<(), TlsError> {
        self.exchange(|old| listeners.iter().find(|new| new.address == old.address()))
    }

    fn exchange<'a>(
        &self,
        settings: impl Fn(&Termination) -> Option<&'a Listener>,
    ) -> Result<(), TlsError> {
        let prepare = |listener: &Arc<Termination>| {
            let tls = settings(listener).and_then(|new| new.tls.as_ref());
            listener.prepare(tls)
        };
        let prepared = self.0.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        for (listener, terms) in self.0.iter().zip(prepared) {
            listener.install(terms);
        }
        Ok(())
    }

    /// Looks for changes for ever.
    pub(crate) async fn watch(self) {
        if self.0.is_empty() {
            return;
        }
        loop {
            tokio::time::sleep(INTERVAL).await;
            let this = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                for listener in this.0.iter() {
                    listener.look();
                }
            });
            if let Err(error) = looked.await {
                tracing::error!(%error, "cannot look at the certificates");
            }
        }
    }
}
