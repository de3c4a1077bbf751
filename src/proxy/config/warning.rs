//! What a valid configuration may still get wrong.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, Method};

use super::access;
use super::model::{Config, Per, Route};
use super::tls;
use crate::resume::settings::{Credential, Mode, Settings};

/// Every warning, in the order of the file.
pub(super) fn all(config: &Config) -> Vec<String> {
    let mut warnings = tls::warnings(config);
    warnings.extend(unused_upstreams(config));
    warnings.extend(believed_upstreams(config));
    for (index, route) in config.routes.iter().enumerate() {
        let key = format!("routes[{index}]");
        warnings.extend(unreachable(config, index, &key));
        warnings.extend(stripped_credentials(&route.sse, &key));
        warnings.extend(named_by_credential(&route.sse, &key));
        warnings.extend(bearer_ids(&route.sse, &key));
        warnings.extend(access::warnings(&route.access, &key));
        warnings.extend(verbatim(&route.sse, &key));
        warnings.extend(nobody_to_count(route, &key));
    }
    warnings
}

fn unused_upstreams(config: &Config) -> Vec<String> {
    let used = |name: &str| config.routes.iter().any(|route| route.upstream == name);
    let unused = config.upstreams.keys().filter(|name| !used(name));
    unused
        .map(|name| format!("upstreams.{name}: no route leads to it"))
        .collect()
}

/// Upstreams that anybody can pass for.
fn believed_upstreams(config: &Config) -> impl Iterator<Item = String> {
    let insecure = config.upstreams.iter().filter(|(_, upstream)| {
        let tls = upstream.tls.as_ref();
        tls.is_some_and(|tls| tls.insecure)
    });
    insecure.map(|(name, _)| {
        format!(
            "upstreams.{name}.tls.insecure: whoever answers is believed, so whoever is in \
             between can read and change everything; name its authority by `ca` instead"
        )
    })
}

/// A route that an earlier one leaves nothing to.
fn unreachable(config: &Config, index: usize, key: &str) -> Option<String> {
    let route = &config.routes[index];
    let earlier = config.routes[..index]
        .iter()
        .position(|earlier| covers(earlier, route))?;
    Some(format!(
        "{key}: never reached, as routes[{earlier}] comes first and matches everything it \
         does; move it up"
    ))
}

/// Whether every request that matches `route` matches `earlier`.
fn covers(earlier: &Route, route: &Route) -> bool {
    let host = match (&earlier.host, &route.host) {
        (None, _) => true,
        (Some(earlier), Some(host)) => {
            earlier == host
                || earlier
                    .strip_prefix('*')
                    .is_some_and(|suffix| !host.starts_with('*') && host.ends_with(suffix))
        }
        (Some(_), None) => false,
    };
    let path = earlier.path == "/"
        || route
            .path
            .strip_prefix(&earlier.path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let methods = match (&earlier.methods, &route.methods) {
        (None, _) => true,
        (Some(earlier), Some(methods)) => methods
            .iter()
            .all(|m| earlier.contains(m) || (m == Method::HEAD && earlier.contains(&Method::GET))),
        (Some(_), None) => false,
    };
    host && path && methods
}

/// Without a principal, requests are counted by their address.
fn nobody_to_count(route: &Route, key: &str) -> Option<String> {
    let per_principal = route.rate_limit.iter().any(|l| l.per == Per::Principal);
    let nobody = route.sse.credentials().next().is_none();
    (per_principal && nobody).then(|| {
        format!(
            "{key}.rate_limit: counts per principal, but the route's `sse.principal` lists no \
             credential, so it counts per address"
        )
    })
}

/// A shared stream is fetched once for everybody, so a credential outside its
/// key must not reach the upstream: it would be somebody's, and serve all.
fn stripped_credentials(sse: &Settings, key: &str) -> Vec<String> {
    if sse.mode != Mode::Shared {
        return Vec::new();
    }
    let outside = sse.principal.iter().filter(|credential| {
        let header = match credential {
            Credential::Header(name) => name,
            Credential::Cookie(_) => &COOKIE,
            // Of the token, which is stripped or checked for each client.
            Credential::Claim(_) => return false,
        };
        !sse.key.headers.contains(header)
    });
    outside
        .map(|credential| {
            format!(
                "{key}.sse.principal: {} is stripped from the upstream request, as the route \
                 is `mode: shared` and its key does not list it",
                name(credential)
            )
        })
        .collect()
}

/// A one-shot's name tells requests apart; a credential tells users apart.
fn named_by_credential(sse: &Settings, key: &str) -> Option<String> {
    if matches!(sse.mode, Mode::Shared | Mode::Passthrough) {
        return None;
    }
    let is_credential = |header: &&HeaderName| {
        [AUTHORIZATION, COOKIE].contains(header)
            || sse
                .principal
                .contains(&Credential::Header((*header).clone()))
    };
    let header = sse.key.headers.iter().find(is_credential)?;
    Some(format!(
        "{key}.sse.key.headers: {header} names one-shots, as the route is not `mode: shared`: \
         requests with the same {header} are given the same answer"
    ))
}

/// Without a principal, whoever learns an id may read the stream.
fn bearer_ids(sse: &Settings, key: &str) -> Option<String> {
    let bound = !sse.principal.is_empty() || matches!(sse.mode, Mode::Shared | Mode::Passthrough);
    (!bound).then(|| {
        format!(
            "{key}.sse.principal: is empty, so whoever learns an event id can read the \
             stream it belongs to"
        )
    })
}

/// Bytes that go on as they came are not compressed.
fn verbatim(sse: &Settings, key: &str) -> Option<String> {
    (sse.mode == Mode::Passthrough && sse.compress.is_some()).then(|| {
        format!(
            "{key}.sse.compress: does nothing, as the route is `mode: passthrough`; choose \
             another mode, or let the upstream compress"
        )
    })
}

/// A credential as it is written in the file.
pub(super) fn name(credential: &Credential) -> String {
    match credential {
        Credential::Header(name) => name.as_str().to_owned(),
        Credential::Cookie(name) => format!("cookie:{name}"),
        Credential::Claim(name) => format!("claim:{name}"),
    }
}
