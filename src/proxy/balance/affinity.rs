//! Which server a request belongs to, by rendezvous hashing: each server gets a
//! score for it, and the highest wins. A server that goes takes along only its
//! own requests, and has them back when it returns.

use http::HeaderMap;
use http::header::COOKIE;
use http::uri::Authority;
use sha2::{Digest as _, Sha256};

use crate::proxy::config::model::Sticky;
use crate::proxy::forward::Peer;

/// What a request is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity([u8; 32]);

/// What a server means to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    /// The highest wins.
    pub(super) rank: u64,
    /// `0.0..1.0`: below a server's share, it takes part.
    pub(super) chance: f64,
}

impl Affinity {
    /// `None` if the request has nothing of that kind.
    ///
    /// The hash is the same in all processes: replicas agree without a word.
    pub fn of(sticky: &Sticky, headers: &HeaderMap, peer: Option<Peer>) -> Option<Self> {
        match sticky {
            Sticky::Header(name) => Some(Self::hash(headers.get(name)?.as_bytes())),
            Sticky::Cookie(name) => Some(Self::hash(cookie(headers, name)?)),
            Sticky::ClientAddress => {
                let address = peer?.client;
                Some(Self::hash(address.to_string().as_bytes()))
            }
        }
    }

    fn hash(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    pub(super) fn score(&self, server: &Authority) -> Score {
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update(server.as_str())
            .finalize();
        let mut numbers = digest.as_chunks::<8>().0.iter().copied();
        let mut number = || numbers.next().map_or(0, u64::from_be_bytes);
        Score {
            rank: number(),
            chance: super::fraction(number()),
        }
    }
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let value = pair.trim_ascii_start().strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )])
    }

    #[test]
    fn a_request_is_known_by_its_value_alone() {
        let cookie = Sticky::Cookie("session".into());
        let of = |text| Affinity::of(&cookie, &headers("cookie", text), None);
        assert_eq!(of("session=a"), of("x=1; session=a; y=2"));
        assert_ne!(of("session=a"), of("session=b"));
        assert_eq!(of("sessions=a"), None);
        assert_eq!(of("other=session=a"), None);
        let header = Sticky::Header("x-user".parse().unwrap());
        assert!(Affinity::of(&header, &headers("x-user", "a"), None).is_some());
        assert_eq!(Affinity::of(&header, &headers("x-other", "a"), None), None);
        let peer = |text: &str| Peer::new(text.parse().unwrap(), false);
        let address = |peer| Affinity::of(&Sticky::ClientAddress, &HeaderMap::new(), peer);
        assert_eq!(
            address(Some(peer("10.0.0.1:1"))),
            address(Some(peer("10.0.0.1:2")))
        );
        assert_eq!(
            address(Some(peer("10.0.0.1:1"))),
            address(Some(peer("[::ffff:10.0.0.1]:2")))
        );
        assert_ne!(
            address(Some(peer("10.0.0.1:1"))),
            address(Some(peer("10.0.0.2:1")))
        );
        assert_eq!(address(None), None);
    }
}
