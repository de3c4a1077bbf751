//! What is counted of upstreams and their servers.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Labels, plain};

/// What is known of one server.
#[derive(Clone, Debug, Default)]
pub struct ServerMetrics {
    /// 0 if it is known to be down, ejected or drained.
    pub up: Gauge,
    /// Requests and responses that are open.
    pub open: Gauge,
    /// Ejections.
    pub ejections: Counter,
}

/// What happens to the requests to one upstream.
#[derive(Clone, Debug, Default)]
pub struct UpstreamMetrics {
    /// Tried at another server, as the one before had got nothing.
    pub retries: Counter,
    /// Refused, as every server was full.
    pub full: Counter,
    /// Live streams told to go on at another server.
    pub moved: Counter,
}

#[derive(Debug)]
pub(super) struct ServerFamilies {
    up: Family<Labels, Gauge>,
    open: Family<Labels, Gauge>,
    ejections: Family<Labels, Counter>,
    retries: Family<Labels, Counter>,
    full: Family<Labels, Counter>,
    moved: Family<Labels, Counter>,
}

impl ServerFamilies {
    pub(super) fn register(r: &mut Registry) -> Self {
        Self {
            up: plain(
                r,
                "server_up",
                "0 if a server fails its health check, is ejected or drained, else 1",
            ),
            open: plain(r, "server_open", "Requests and responses open at a server"),
            ejections: plain(
                r,
                "server_ejections",
                "Times a server was ejected for failures in a row",
            ),
            retries: plain(
                r,
                "upstream_retries",
                "Requests tried at another server, as the one before had got nothing",
            ),
            full: plain(
                r,
                "upstream_full",
                "Requests refused, as every server had its most open",
            ),
            moved: plain(
                r,
                "upstream_streams_moved",
                "Live streams moved from a server that went down",
            ),
        }
    }

    pub(super) fn at(&self, upstream: &str, server: &str) -> ServerMetrics {
        let labels = vec![
            ("upstream", upstream.to_owned()),
            ("server", server.to_owned()),
        ];
        ServerMetrics {
            up: self.up.get_or_create_owned(&labels),
            open: self.open.get_or_create_owned(&labels),
            ejections: self.ejections.get_or_create_owned(&labels),
        }
    }

    pub(super) fn forget(&self, upstream: &str, server: &str) {
        let labels = vec![
            ("upstream", upstream.to_owned()),
            ("server", server.to_owned()),
        ];
        self.up.remove(&labels);
        self.open.remove(&labels);
        self.ejections.remove(&labels);
    }

    pub(super) fn of(&self, upstream: &str) -> UpstreamMetrics {
        let labels = vec![("upstream", upstream.to_owned())];
        UpstreamMetrics {
            retries: self.retries.get_or_create_owned(&labels),
            full: self.full.get_or_create_owned(&labels),
            moved: self.moved.get_or_create_owned(&labels),
        }
    }
}
