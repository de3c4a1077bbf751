use std::fmt;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

type Labels = Vec<(&'static str, String)>;

/// What is counted of certificates and handshakes.
#[derive(Clone, Default)]
pub(crate) struct TlsMetrics {
    expiry: Family<Labels, Gauge>,
    reloads: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
    orders: Family<Labels, Counter>,
}

/// Why a client got no further than its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// It had no certificate, or none that is accepted.
    ClientCertificate,
    /// It refused, mostly because it does not trust ours.
    Alert,
    /// It took too long.
    Timeout,
    /// It spoke something else, or nothing in common, or hung up.
    Protocol,
}

impl TlsMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register_with_unit(
            "certificate_expiry",
            "When a certificate ends, in Unix time",
            Unit::Seconds,
            this.expiry.clone(),
        );
        registry.register(
            "certificate_reloads",
            "Certificate files read again because they changed, by outcome",
            this.reloads.clone(),
        );
        registry.register(
            "tls_handshake_failures",
            "TLS handshakes that failed, by reason",
            this.failures.clone(),
        );
        registry.register(
            "acme_orders",
            "Certificates asked for by ACME, by outcome",
            this.orders.clone(),
        );
        this
    }

    /// `certificate` is where it is from: a file, or `acme:` and a name.
    pub(crate) fn expires(&self, certificate: &str, at: i64) {
        let labels = vec![("certificate", certificate.to_owned())];
        self.expiry.get_or_create_owned(&labels).set(at);
    }

    pub(crate) fn forget(&self, certificate: &str) {
        let labels = vec![("certificate", certificate.to_owned())];
        self.expiry.remove(&labels);
    }

    pub(crate) fn reloaded(&self, accepted: bool) {
        let outcome = if accepted { "accepted" } else { "refused" };
        let labels = vec![("outcome", outcome.to_owned())];
        self.reloads.get_or_create_owned(&labels).inc();
    }

    pub(crate) fn failed(&self, failure: HandshakeFailure) {
        let labels = vec![("reason", failure.as_str().to_owned())];
        self.failures.get_or_create_owned(&labels).inc();
    }

    pub(crate) fn ordered(&self, issued: bool) {
        let outcome = if issued { "issued" } else { "failed" };
        let labels = vec![("outcome", outcome.to_owned())];
        self.orders.get_or_create_owned(&labels).inc();
    }
}

impl fmt::Debug for TlsMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMetrics").finish_non_exhaustive()
    }
}

impl HandshakeFailure {
    /// What a failed handshake reports, told apart.
    pub(crate) fn of(error: &std::io::Error) -> Self {
        let inner = error.get_ref();
        match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
                Self::ClientCertificate
            }
            Some(rustls::Error::AlertReceived(_)) => Self::Alert,
            _ => Self::Protocol,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::ClientCertificate => "client_certificate",
            Self::Alert => "alert",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
        }
    }
}
