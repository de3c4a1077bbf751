use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderName;

use super::Tls;
use crate::proxy::config::model::Config;
use crate::proxy::tls::{Certificate, certificates};
use crate::resume::settings::Mode;

/// What is valid and probably not meant, in listeners and their certificates.
pub(in crate::proxy::config) fn all(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let any_tls = config.listeners.iter().any(|l| l.tls.is_some());
    for (index, listener) in config.listeners.iter().enumerate() {
        let key = format!("listeners[{index}]");
        if listener.redirect_to_https.is_some() && !any_tls {
            warnings.push(format!(
                "{key}.redirect_to_https: no listener has `tls`; if TLS is ended before this \
                 proxy, and arrives here, clients are sent in circles"
            ));
        }
        if let Some(tls) = &listener.tls {
            warnings.extend(of_certificates(tls, &format!("{key}.tls")));
        }
    }
    warnings.extend(stripped(config));
    warnings
}

/// Who a client is, is nobody's business on a stream that many share.
fn stripped(config: &Config) -> Vec<String> {
    let clients = config.listeners.iter().filter_map(|listener| {
        let tls = listener.tls.as_ref()?;
        tls.clients.as_ref()
    });
    let told: BTreeSet<&str> = clients
        .flat_map(|told| [&told.subject_header, &told.certificate_header])
        .flatten()
        .map(HeaderName::as_str)
        .collect();
    let mut warnings = Vec::new();
    for (index, route) in config.routes.iter().enumerate() {
        let key = &route.sse.key.headers;
        let kept = |name: &str| key.iter().any(|header| header == name);
        let lost = told.iter().filter(|name| !kept(name));
        if route.sse.mode == Mode::Shared {
            warnings.extend(lost.map(|name| {
                format!(
                    "routes[{index}].sse.key.headers: {name} is not sent upstream, as the route \
                     is `mode: shared` and its key does not list it"
                )
            }));
        }
    }
    warnings
}

fn of_certificates(tls: &Tls, key: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    let found = certificates(tls);
    let single = found.len() == 1;
    let place = |index: usize| {
        if single {
            format!("{key}.certificate")
        } else {
            format!("{key}.certificates[{index}]")
        }
    };
    for (index, certificate) in found.iter().enumerate() {
        let Some(certificate) = certificate else {
            continue;
        };
        let place = place(index);
        if certificate.not_after <= now() {
            warnings.push(format!("{place}: has expired; clients will refuse it"));
        }
        if index > 0 && certificate.names.is_empty() {
            warnings.push(format!(
                "{place}: names no host (subject alternative name), so no client is shown it"
            ));
        }
        for (earlier, other) in found[..index].iter().enumerate() {
            let Some(other) = other else { continue };
            let shared = shared(certificate, other);
            if !shared.is_empty() {
                warnings.push(format!(
                    "{place}: never shown for {}, which {key}.certificates[{earlier}] is for, \
                     too, and comes first",
                    shared.join(", ")
                ));
            }
        }
    }
    warnings
}

/// Names for which a client could be shown either. Of keys of different kinds
/// it is shown the one it understands.
fn shared(certificate: &Certificate, other: &Certificate) -> Vec<String> {
    let same_kind = certificate.key.key.algorithm() == other.key.key.algorithm();
    let names = certificate.names.iter().filter(|_| same_kind);
    let shared = names.filter(|name| other.names.contains(name));
    shared.cloned().collect()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}
