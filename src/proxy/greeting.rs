//! How a listener's connections begin, and that the files behind that are kept
//! an eye on.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::acme::Acmes;
use super::config::model::{Listener, Networks};
use super::tls::{Termination, TlsError, TlsMetrics};

/// Between looks at the files. By content: what orchestrators mount is changed
/// by exchanging a link, which times and notifications do not tell of.
const INTERVAL: Duration = Duration::from_secs(5);

/// How connections begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeting {
    /// With it, by a header of the PROXY protocol, from these networks.
    pub(crate) proxied: Option<Arc<Networks>>,
    /// With it, by a TLS handshake.
    pub(crate) tls: Option<Arc<Termination>>,
    /// With it, requests are sent to this port, over TLS.
    pub(crate) redirect: Option<u16>,
}

impl Greeting {
    /// As the listener's settings and files have it now.
    pub(crate) fn of(
        listener: &Listener,
        acmes: &Acmes,
        metrics: &TlsMetrics,
    ) -> Result<Self, TlsError> {
        let terminated = listener.tls.as_ref().map(|tls| {
            let acme = tls.acme.as_ref().and_then(|acme| acmes.of(acme));
            Termination::new(listener.address, tls, acme.cloned(), metrics.clone())
        });
        Ok(Self {
            proxied: listener.proxy_protocol.clone().map(Arc::new),
            tls: terminated.transpose()?.map(Arc::new),
            redirect: listener.redirect_to_https,
        })
    }

    /// It is in force: how long its certificates last is to be seen.
    pub(crate) fn report(&self) {
        if let Some(tls) = &self.tls {
            tls.report();
        }
    }

    /// It is in force no more. Others that have the same certificates have to
    /// report them again.
    pub(crate) fn retire(&self) {
        if let Some(tls) = &self.tls {
            tls.retire();
        }
    }
}

/// Looks for ever whether the files of a listener have changed.
pub(crate) async fn watch(listener: Arc<ArcSwap<Greeting>>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(tls) = listener.load().tls.clone() else {
            continue;
        };
        let looked = tokio::task::spawn_blocking(move || tls.look());
        if let Err(error) = looked.await {
            tracing::error!(%error, "cannot look at the certificates");
        }
    }
}
