use std::sync::Arc;

use super::{Termination, TlsError, TlsMetrics};
use crate::proxy::acme::Acmes;
use crate::proxy::config::model::Listener;

/// How a listener's connections begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeting {
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
            tls: terminated.transpose()?.map(Arc::new),
            redirect: listener.redirect_to_https,
        })
    }

    /// Another takes its place.
    pub(crate) fn leave_to(&self, next: &Self) {
        if let Some(tls) = &self.tls {
            tls.retire();
        }
        if let Some(tls) = &next.tls {
            tls.report();
        }
    }
}
