//! How one listener ends TLS, from its start to its end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use http::HeaderValue;
use rustls_pki_types::CertificateDer;
use tokio_rustls::TlsAcceptor;

use super::clients::Identity;
use super::error::TlsError;
use super::files::{Files, Fingerprint};
use super::metrics::TlsMetrics;
use super::settings;
use crate::proxy::acme::Acme;
use crate::proxy::config::model::{ClientCertificates, Tls};

/// What new connections are given. Those there are keep what they were given.
///
/// All of it is exchanged at once: a session from before cannot be resumed, so
/// that who is verified by an authority that is gone has to prove itself again.
pub(crate) struct Termination {
    address: SocketAddr,
    acme: Option<Arc<Acme>>,
    current: RwLock<Arc<Terms>>,
    change: Mutex<Change>,
    metrics: TlsMetrics,
}

/// The terms of one connection.
pub(crate) struct Terms {
    tls: Tls,
    acceptor: TlsAcceptor,
    hsts: Option<HeaderValue>,
    /// Where each certificate is from, and when it ends.
    expiries: Vec<(String, i64)>,
    fingerprint: Fingerprint,
}

/// Files that differ from those in use.
#[derive(Debug, Default)]
struct Change {
    /// Seen once: whoever writes them may not be done.
    fresh: Option<Fingerprint>,
    /// Tried in vain.
    refused: Option<Fingerprint>,
}

// === impl Termination ===

impl Termination {
    pub(crate) fn new(
        address: SocketAddr,
        tls: &Tls,
        acme: Option<Arc<Acme>>,
        metrics: TlsMetrics,
    ) -> Result<Self, TlsError> {
        let terms = Terms::new(tls, &Files::read(tls), acme.as_ref())?;
        Ok(Self {
            address,
            acme,
            current: RwLock::new(Arc::new(terms)),
            change: Mutex::default(),
            metrics,
        })
    }

    /// What the next connection gets.
    pub(crate) fn terms(&self) -> Arc<Terms> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn metrics(&self) -> &TlsMetrics {
        &self.metrics
    }

    /// Says how long its certificates last, from when they are in force.
    pub(crate) fn report(&self) {
        self.terms().report(&self.metrics);
    }

    /// Says so no more.
    pub(crate) fn retire(&self) {
        for (name, _) in &self.terms().expiries {
            self.metrics.forget(name);
        }
    }

    fn install(&self, terms: Terms) {
        self.retire();
        terms.report(&self.metrics);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
        *self.change() = Change::default();
        self.metrics.reloaded(true);
        tracing::info!(address = %self.address, "certificates were read again");
    }

    /// Looks at the files, and takes what is new when it has come to rest.
    pub(crate) fn look(&self) {
        let current = self.terms();
        // Also for another listener that had the same file, and has it no more.
        current.report(&self.metrics);
        let files = Files::read(&current.tls);
        if !self.change().is_due(files.fingerprint(), &current) {
            return;
        }
        match Terms::new(&current.tls, &files, self.acme.as_ref()) {
            Ok(terms) => self.install(terms),
            Err(error) => {
                self.change().refused = Some(files.fingerprint());
                self.metrics.reloaded(false);
                tracing::error!(
                    address = %self.address,
                    %error,
                    "changed certificates are refused; those from before stay in use"
                );
            }
        }
    }

    fn change(&self) -> std::sync::MutexGuard<'_, Change> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Termination")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

// === impl Change ===

impl Change {
    /// Whether files of this content are to be tried.
    fn is_due(&mut self, seen: Fingerprint, current: &Terms) -> bool {
        if seen == current.fingerprint {
            *self = Self::default();
            return false;
        }
        let rested = self.fresh.replace(seen) == Some(seen);
        rested && self.refused != Some(seen)
    }
}

// === impl Terms ===

impl Terms {
    fn new(tls: &Tls, files: &Files, acme: Option<&Arc<Acme>>) -> Result<Self, TlsError> {
        let loaded = settings::load(tls, files, acme)?;
        let named = tls.certificates.iter().zip(&loaded.certificates);
        let expiries = named.map(|(files, certificate)| {
            let name = files.certificate.display().to_string();
            (name, certificate.not_after)
        });
        let hsts = tls.hsts.map(|age| format!("max-age={}", age.as_secs()));
        Ok(Self {
            expiries: expiries.collect(),
            hsts: hsts.and_then(|value| HeaderValue::try_from(value).ok()),
            acceptor: TlsAcceptor::from(Arc::new(loaded.config)),
            fingerprint: files.fingerprint(),
            tls: tls.clone(),
        })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// The value of `Strict-Transport-Security`.
    pub(crate) fn hsts(&self) -> Option<&HeaderValue> {
        self.hsts.as_ref()
    }

    /// What the upstream is told of a client with these certificates, which
    /// were verified, the leaf first.
    pub(crate) fn identity(&self, verified: Option<&[CertificateDer<'_>]>) -> Option<Identity> {
        let clients: &ClientCertificates = self.tls.clients.as_ref()?;
        Identity::of(verified?.first()?, clients)
    }

    fn report(&self, metrics: &TlsMetrics) {
        for (name, at) in &self.expiries {
            metrics.expires(name, *at);
        }
    }
}
