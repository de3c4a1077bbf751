//! Networks, by which peers are trusted.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::error::ConfigError;
use super::section::Section;
use super::tree::Node;

type Result<T> = std::result::Result<T, ConfigError>;

/// A set of IP networks.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether an address is in one of them. An IPv4 address that a dual-stack
    /// socket shows as `::ffff:a.b.c.d` is taken for what it is.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The networks as they are written: `10.0.0.0/8`.
    pub fn iter(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(ToString::to_string)
    }

    /// One network, as `10.0.0.0/8`, or one address.
    fn parse(text: &str) -> Option<IpNet> {
        let network = text.parse::<IpNet>().ok();
        network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    }
}

/// Of those that are networks.
impl<'a> FromIterator<&'a str> for Networks {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        Self(texts.into_iter().filter_map(Self::parse).collect())
    }
}

impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A list of networks.
pub(super) fn read(node: &Node) -> Result<Networks> {
    let networks = node.items()?.iter().map(network);
    networks.collect::<Result<_>>().map(Networks)
}

/// `proxy_protocol` of a listener.
pub(super) fn read_proxy_protocol(node: &Node) -> Result<Networks> {
    let section = Section::open(node, &["from"])?;
    let from = section.read("from", read)?.unwrap_or_default();
    if !from.is_empty() {
        return Ok(from);
    }
    let at = section.get("from").unwrap_or(node);
    Err(at.error(
        "names no network, so nobody could connect; list those of the balancers that send \
         the PROXY protocol, such as `from: [10.0.0.0/8]`",
    ))
}

fn network(node: &Node) -> Result<IpNet> {
    let Some(network) = Networks::parse(node.text()?) else {
        return Err(node.error(format!(
            "{} is not a network; write an address and the length of its prefix, such as \
             10.0.0.0/8 or fd00::/8, or one address",
            node.shown()
        )));
    };
    if network.trunc() != network {
        return Err(node.error(format!(
            "{} has bits set after its prefix; write {}",
            node.shown(),
            network.trunc()
        )));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_network_however_it_is_written() {
        let networks: Networks = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]
            .into_iter()
            .collect();
        for (address, inside) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.0", false),
            ("2001:db8:1::1", true),
            ("2001:db9::", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
        ] {
            assert_eq!(
                networks.contain(address.parse().unwrap()),
                inside,
                "{address}"
            );
        }
        assert!(!Networks::default().contain("127.0.0.1".parse().unwrap()));
    }
}
