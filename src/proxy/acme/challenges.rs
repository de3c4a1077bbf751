//! What authorities are to find, while they look for it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use http::Method;
use rustls::sign::CertifiedKey;

/// Where an authority asks for a token, in clear (RFC 8555 §8.3).
const PATH: &str = "/.well-known/acme-challenge/";

/// Open challenges of all orders.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    answers: RwLock<HashMap<String, String>>,
    certificates: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

/// A challenge that can be met, until dropped.
#[derive(Debug)]
pub(super) struct Posted {
    challenges: Arc<Challenges>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// By token.
    Answer(String),
    /// By name.
    Certificate(String),
}

impl Challenges {
    /// Whether a request is one that authorities make, of us or of whoever
    /// stands behind us. Nothing else may have the way in clear that they have,
    /// such as `…/../../` and whatever an upstream makes of it.
    pub(crate) fn is_asked_by(method: &Method, path: &str) -> bool {
        // RFC 8555 §8.3: base64url.
        let of_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let token = path.strip_prefix(PATH).unwrap_or_default();
        let asks = [Method::GET, Method::HEAD].contains(method);
        asks && !token.is_empty() && token.bytes().all(of_token)
    }

    /// What is said to an authority that asks for this path.
    pub(crate) fn answer(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(PATH)?;
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(token).cloned()
    }

    /// What is shown to an authority that asks for this name.
    pub(super) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let certificates = self.certificates.read();
        let certificates = certificates.unwrap_or_else(PoisonError::into_inner);
        certificates.get(name).cloned()
    }

    pub(super) fn post_answer(self: &Arc<Self>, token: &str, answer: &str) -> Posted {
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        answers.insert(token.to_owned(), answer.to_owned());
        Posted {
            challenges: Arc::clone(self),
            kind: Kind::Answer(token.to_owned()),
        }
    }

    pub(super) fn post_certificate(
        self: &Arc<Self>,
        name: &str,
        certificate: Arc<CertifiedKey>,
    ) -> Posted {
        let certificates = self.certificates.write();
        let mut certificates = certificates.unwrap_or_else(PoisonError::into_inner);
        certificates.insert(name.to_owned(), certificate);
        Posted {
            challenges: Arc::clone(self),
            kind: Kind::Certificate(name.to_owned()),
        }
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        match &self.kind {
            Kind::Answer(token) => {
                let answers = self.challenges.answers.write();
                let mut answers = answers.unwrap_or_else(PoisonError::into_inner);
                answers.remove(token);
            }
            Kind::Certificate(name) => {
                let certificates = self.challenges.certificates.write();
                let mut certificates = certificates.unwrap_or_else(PoisonError::into_inner);
                certificates.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_ask_for_a_token_and_nothing_else() {
        let asked = |method, path: &str| Challenges::is_asked_by(&method, path);
        assert!(asked(Method::GET, "/.well-known/acme-challenge/aZ-_09"));
        assert!(asked(Method::HEAD, "/.well-known/acme-challenge/a"));
        assert!(!asked(Method::POST, "/.well-known/acme-challenge/a"));
        for path in [
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/a/",
            "/.well-known/acme-challenge/../../admin",
            "/.well-known/acme-challenge/..%2f..%2fadmin",
            "/.well-known/acme-challenge/..",
            "/a",
        ] {
            assert!(!asked(Method::GET, path), "{path}");
        }
    }

    #[test]
    fn an_answer_is_there_as_long_as_it_is_asked_for() {
        let challenges = Arc::new(Challenges::default());
        let posted = challenges.post_answer("token", "token.thumbprint");
        let answer = challenges.answer("/.well-known/acme-challenge/token");
        assert_eq!(answer.as_deref(), Some("token.thumbprint"));
        for other in [
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/token/",
            "/.well-known/acme-challenge/toke",
            "/token",
        ] {
            assert_eq!(challenges.answer(other), None, "{other}");
        }
        drop(posted);
        assert_eq!(challenges.answer("/.well-known/acme-challenge/token"), None);
    }
}
