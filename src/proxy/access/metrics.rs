//! What is counted of those who were not let in, or no longer.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Labels' names and values.
type Labels = Vec<(&'static str, String)>;

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A page of another origin that is not listed asked whether it may.
    Origin,
    /// There was no token.
    NoToken,
    /// There was one that is not good.
    Token,
    /// The service of `forward_auth` said so.
    ForwardAuth,
    /// Nobody could decide.
    Unavailable,
}

const REASONS: [(Reason, &str); 5] = [
    (Reason::Origin, "origin"),
    (Reason::NoToken, "no_token"),
    (Reason::Token, "token"),
    (Reason::ForwardAuth, "forward_auth"),
    (Reason::Unavailable, "unavailable"),
];

/// The counters of all routes.
#[derive(Debug)]
pub(crate) struct AccessFamilies {
    refused: Family<Labels, Counter>,
    expired: Family<Labels, Counter>,
}

/// The counters of one route.
#[derive(Debug)]
pub(crate) struct AccessMetrics {
    /// In the order of [`REASONS`].
    refused: [Counter; 5],
    expired: Counter,
}

impl AccessFamilies {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let (refused, expired) = (Family::default(), Family::default());
        registry.register(
            "access_refused",
            "Requests that were not let in",
            Family::clone(&refused),
        );
        registry.register(
            "access_expired",
            "Streams that ended with their clients' tokens",
            Family::clone(&expired),
        );
        Self { refused, expired }
    }

    /// Those of the route with this path.
    pub(crate) fn at(&self, path: &str) -> AccessMetrics {
        let route = ("route", path.to_owned());
        AccessMetrics {
            refused: REASONS.map(|(_, reason)| {
                let labels = vec![route.clone(), ("reason", reason.to_owned())];
                self.refused.get_or_create_owned(&labels)
            }),
            expired: self.expired.get_or_create_owned(&vec![route.clone()]),
        }
    }
}

impl AccessMetrics {
    pub(super) fn refused(&self, reason: Reason) {
        for ((counted, _), counter) in REASONS.iter().zip(&self.refused) {
            if *counted == reason {
                counter.inc();
            }
        }
    }

    pub(super) fn expired(&self) {
        self.expired.inc();
    }
}
