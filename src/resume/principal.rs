//! Whose a stream is.

use hmac::{Hmac, KeyInit, Mac};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::claims::Claims;
use super::settings::Credential;

/// A keyed hash of a request's credentials; `None` if it has none of those
/// configured. The credentials themselves are not kept.
pub(crate) type Principal = Option<[u8; 32]>;

/// Hashes credentials with a key that never leaves the process.
pub(crate) struct Principals {
    key: [u8; 32],
}

impl Principals {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The principal of a request.
    pub(crate) fn of<'a>(
        &self,
        credentials: impl IntoIterator<Item = &'a Credential>,
        headers: &HeaderMap,
        claims: Option<&Claims>,
    ) -> Principal {
        // Many requests have none, and a key costs two rounds of the hash.
        let mut mac: Option<Hmac<Sha256>> = None;
        for (number, credential) in (0u64..).zip(credentials) {
            for value in values(credential, headers, claims) {
                let mac = match &mut mac {
                    Some(mac) => mac,
                    None => mac.insert(Hmac::new_from_slice(&self.key).ok()?),
                };
                // Each part is told from the next by its length.
                mac.update(&number.to_le_bytes());
                mac.update(&(value.len() as u64).to_le_bytes());
                mac.update(value);
            }
        }
        mac.map(|mac| mac.finalize().into_bytes().into())
    }
}

/// Whether two principals are the same, in a time that does not tell how far
/// they agree.
pub(crate) fn same(a: &Principal, b: &Principal) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.ct_eq(b).into(),
        (None, None) => true,
        _ => false,
    }
}

fn values<'a>(
    credential: &Credential,
    headers: &'a HeaderMap,
    claims: Option<&'a Claims>,
) -> Vec<&'a [u8]> {
    match credential {
        Credential::Header(name) => headers
            .get_all(name)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect(),
        Credential::Cookie(name) => headers
            .get_all(COOKIE)
            .iter()
            .flat_map(|header| header.as_bytes().split(|b| *b == b';'))
            .filter_map(|cookie| {
                let cookie = cookie.trim_ascii();
                cookie.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
            })
            .collect(),
        Credential::Claim(name) => {
            let claim = claims.and_then(|claims| claims.get(name));
            claim.map(str::as_bytes).into_iter().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::AUTHORIZATION;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_the_configured_credentials_count() {
        let principals = Principals::new([1; 32]);
        let wanted = [
            Credential::Header(AUTHORIZATION),
            Credential::Cookie("session".into()),
        ];
        let of =
            |list: &[(&'static str, &'static str)]| principals.of(&wanted, &headers(list), None);
        assert_eq!(of(&[("cookie", "theme=dark"), ("x", "y")]), None);
        let a = of(&[("authorization", "a")]);
        assert!(same(
            &a,
            &of(&[("authorization", "a"), ("cookie", "theme=dark")])
        ));
        assert!(!same(&a, &of(&[("authorization", "b")])));
        assert!(!same(&a, &None));
        // A cookie is not an authorization of the same text.
        assert!(!same(&a, &of(&[("cookie", "session=a")])));
        let cookie = of(&[("cookie", "x=1; session=a; y=2")]);
        assert!(same(&cookie, &of(&[("cookie", "session=a")])));
        assert!(!same(&cookie, &of(&[("cookie", "xsession=a")])));
    }

    #[test]
    fn another_process_makes_another_hash() {
        let wanted = [Credential::Header(AUTHORIZATION)];
        let headers = headers(&[("authorization", "a")]);
        let of = |key| Principals::new([key; 32]).of(&wanted, &headers, None);
        assert!(!same(&of(1), &of(2)));
    }

    #[test]
    fn a_claim_outlives_the_token_it_came_with() {
        let wanted = ["iss", "sub"].map(|name| Credential::Claim(name.into()));
        let of = |token: &'static str, claims: &[(&str, &str)]| {
            let claims = claims.iter().copied().collect();
            let headers = headers(&[("authorization", token)]);
            Principals::new([1; 32]).of(&wanted, &headers, Some(&claims))
        };
        let alice = of("a", &[("iss", "i"), ("sub", "alice")]);
        assert!(same(
            &alice,
            &of("b", &[("sub", "alice"), ("iss", "i"), ("x", "y")])
        ));
        assert!(!same(&alice, &of("a", &[("iss", "i"), ("sub", "bob")])));
        assert!(!same(&alice, &of("a", &[("iss", "j"), ("sub", "alice")])));
        assert!(!same(&of("a", &[("iss", "x")]), &of("a", &[("sub", "x")])));
        assert_eq!(of("a", &[]), None);
    }
}
