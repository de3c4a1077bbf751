//! Whose request it is, where proxies stand between.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use super::super::config::model::Networks;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// More hops than anybody has; what a list says beyond is not read.
const MOST_HOPS: usize = 32;

/// The client's address: the first that is not trusted, from the right, where
/// each proxy has written whom it was asked by. What stands further left may be
/// anybody's invention. If all are trusted, it is the leftmost; what is no
/// address ends the search with whoever wrote it.
pub(super) fn address(headers: &HeaderMap, peer: IpAddr, trusted: &Networks) -> IpAddr {
    let mut client = peer.to_canonical();
    for hop in hops(headers).take(MOST_HOPS) {
        if !trusted.contain(client) {
            break;
        }
        let Some(hop) = hop else { break };
        client = hop.to_canonical();
    }
    client
}

/// The list from right to left, over all its lines.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    let lines: Vec<_> = lines.collect();
    lines.into_iter().rev().flat_map(|line| {
        let hops = line.as_bytes().rsplit(|byte| *byte == b',');
        hops.map(|hop| parse(std::str::from_utf8(hop.trim_ascii()).ok()?))
    })
}

/// An address, with or without a port.
fn parse(hop: &str) -> Option<IpAddr> {
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || Some(hop.parse::<SocketAddr>().ok()?.ip());
    hop.parse().ok().or_else(with_port).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].into_iter().collect();
        let headers = lines
            .iter()
            .map(|line| (X_FORWARDED_FOR, line.parse().unwrap()))
            .collect();
        address(&headers, peer.parse().unwrap(), &trusted).to_string()
    }

    #[test]
    fn the_client_is_the_first_that_is_not_trusted() {
        for (peer, lines, client) in [
            // Nobody trusted said it.
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("192.0.2.1", &[], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            // Left of an untrusted one, anything may stand.
            ("10.0.0.1", &["10.9.9.9, 203.0.113.9"], "203.0.113.9"),
            (
                "10.0.0.1",
                &["1.1.1.1, 203.0.113.9, 10.0.0.2"],
                "203.0.113.9",
            ),
            (
                "10.0.0.1",
                &["1.1.1.1", "203.0.113.9,10.0.0.2"],
                "203.0.113.9",
            ),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, _hidden, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["203.0.113.9:1234"], "203.0.113.9"),
            ("fd00::1", &["[2001:db8::1]:1234"], "2001:db8::1"),
            ("fd00::1", &["[2001:db8::1]"], "2001:db8::1"),
            ("fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            assert_eq!(found(peer, lines), client, "{peer} {lines:?}");
        }
    }

    #[test]
    fn a_list_without_end_is_not_read_to_it() {
        let long = vec!["10.0.0.2"; 100_000 / 10].join(",");
        assert_eq!(found("10.0.0.1", &[&long]), "10.0.0.2");
    }
}
