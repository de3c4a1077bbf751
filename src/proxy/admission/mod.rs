//! Who may ask for how much: limits per client, and who the client is.
//!
//! ```text
//! connection ─▶ Admitting ─▶ Rescue ─▶ Router ─▶ RouteGate ─▶ …
//!               whose request,         which route's rates,
//!               size of its parts      places for streams
//! ```
//!
//! What is refused is counted by its reason ([`Reason`]), and answered before
//! anything goes upstream wherever that can be known so early. Counts live in
//! this process: replicas count for themselves.

mod body;
mod client;
mod gate;
mod places;
mod rates;
mod refusal;
mod service;
mod stay;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::config::Config;
use super::config::model::{Limits, Networks};
use super::metrics::Metrics;

pub(crate) use self::body::ClientBody;
pub(crate) use self::gate::{RouteGate, Ticket};
pub(crate) use self::places::{Permit, Places, Who};
pub(crate) use self::rates::Rates;
pub(crate) use self::refusal::{Reason, Refusals};
pub(crate) use self::service::Admitting;
pub(crate) use self::stay::Stay;

/// What all connections and routes of a server share.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(crate) limits: Limits,
    pub(crate) trusted: Networks,
    pub(crate) refusals: Refusals,
    connections: Arc<Places>,
    streams: Arc<Places>,
}

impl Admission {
    pub(crate) fn new(limits: Limits, trusted: Networks, metrics: &Metrics) -> Self {
        Self {
            limits,
            trusted,
            refusals: Refusals::new(metrics),
            connections: Arc::default(),
            streams: Arc::default(),
        }
    }

    /// The same with the limits of another configuration. Who has a place keeps
    /// it.
    pub(crate) fn next(&self, config: &Config) -> Self {
        Self {
            limits: config.limits,
            trusted: config.trusted_proxies.clone(),
            ..self.clone()
        }
    }

    /// A place for a connection, or an error if its address has as many as it
    /// may. One from a trusted proxy brings many clients, and needs none.
    ///
    /// Boxed, as most connections have none.
    pub(crate) fn connect(&self, address: IpAddr) -> Result<Option<Box<Permit>>, Refused> {
        let Some(limit) = self.limits.connections_per_address else {
            return Ok(None);
        };
        if self.trusted.contain(address) {
            return Ok(None);
        }
        let permit = Places::take(&self.connections, Who::Address(block(address)), limit);
        permit.map(|permit| Some(Box::new(permit))).ok_or_else(|| {
            self.refusals.count(Reason::ConnectionsPerAddress);
            Refused
        })
    }
}

/// A connection is not served.
#[derive(Debug)]
pub(crate) struct Refused;

/// What is counted as one address: of IPv6, the /64 that a household is given,
/// and a machine may take any address of.
pub(crate) fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_counts_as_one() {
        let of = |text: &str| block(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:2::"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:3::1"), "2001:db8:1:3::");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
