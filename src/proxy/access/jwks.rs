//! The keys of an issuer, as it has them now (RFC 7517).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Empty;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;
use tokio::time::Instant;

use super::AccessError;
use super::client::{AskError, Client};

/// An issuer has a handful of keys; what is beyond is not read.
const MOST_BYTES: usize = 256 << 10;
const MOST_KEYS: usize = 100;

const TIMEOUT: Duration = Duration::from_secs(5);

/// After this long they are asked for again, so that one which was withdrawn is
/// not good for ever.
const FRESH: Duration = Duration::from_secs(600);

/// A token that names an unknown key may be of a new one. Anybody can make such
/// tokens, so the issuer is not asked more often than this.
const UNKNOWN_KEY: Duration = Duration::from_secs(30);

/// Nor than this while there are no keys at all.
const NO_KEYS: Duration = Duration::from_secs(1);

/// Keys that are fetched when they are first needed, and again when one is not
/// among them. Clones are one.
#[derive(Clone)]
pub(crate) struct Jwks(Arc<Inner>);

struct Inner {
    url: Uri,
    client: Client,
    state: Mutex<State>,
    /// Held while the issuer is asked: once for all who wait.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// `None` until they were had once.
    keys: Option<Arc<[Key]>>,
    fetched: Option<Instant>,
    /// When the last attempt was over, in vain or not.
    tried: Option<Instant>,
}

/// One key of the set.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    /// What it is for, if that is said.
    algorithm: Option<Algorithm>,
    pub(super) decoding: DecodingKey,
}

impl Jwks {
    pub(super) fn new(url: &Uri) -> Result<Self, AccessError> {
        Ok(Self(Arc::new(Inner {
            client: Client::new(url, TIMEOUT, MOST_BYTES)?,
            url: url.clone(),
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })))
    }

    /// The keys that a token may be signed by; `None` if the issuer cannot be
    /// asked.
    pub(super) async fn keys(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Vec<Key>> {
        let (keys, fetched) = self.known();
        let Some(keys) = keys else {
            self.fetch(NO_KEYS).await;
            let (keys, _) = self.known();
            return keys.map(|keys| matching(&keys, id, algorithm));
        };
        let found = matching(&keys, id, algorithm);
        if found.is_empty() && id.is_some() {
            self.fetch(UNKNOWN_KEY).await;
            let (keys, _) = self.known();
            return keys.map(|keys| matching(&keys, id, algorithm));
        }
        if fetched.is_none_or(|at| at.elapsed() > FRESH) {
            // What is known is good until there is something newer.
            let this = self.clone();
            tokio::spawn(async move { this.0.refresh(UNKNOWN_KEY).await });
        }
        Some(found)
    }

    fn known(&self) -> (Option<Arc<[Key]>>, Option<Instant>) {
        let state = self.0.state();
        (state.keys.clone(), state.fetched)
    }

    /// In a task of its own: a client that leaves must not stop what others
    /// wait for.
    async fn fetch(&self, pause: Duration) {
        let this = self.clone();
        let fetching = tokio::spawn(async move { this.0.refresh(pause).await });
        // It is never cancelled, and if it panicked there is nothing new.
        let _ = fetching.await;
    }
}

impl Inner {
    /// Asks the issuer, unless that was done within `pause`. Whoever waited for
    /// an attempt of somebody else takes what came of it: else all who wait for
    /// an issuer that hangs would try one after the other.
    async fn refresh(&self, pause: Duration) {
        let came = Instant::now();
        let _alone = self.asking.lock().await;
        let done = |at: Instant| at >= came || at.elapsed() < pause;
        if self.state().tried.is_some_and(done) {
            return;
        }
        let asked = self.ask().await;
        self.state().tried = Some(Instant::now());
        match asked {
            Ok(keys) => {
                tracing::info!(url = %self.url, keys = keys.len(), "fetched an issuer's keys");
                let mut state = self.state();
                state.keys = Some(keys.into());
                state.fetched = Some(Instant::now());
            }
            Err(error) => {
                tracing::warn!(url = %self.url, %error, "cannot fetch an issuer's keys");
            }
        }
    }

    async fn ask(&self) -> Result<Vec<Key>, AskError> {
        let mut request = Request::new(Empty::<Bytes>::new());
        request.uri_mut().clone_from(&self.url);
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        let response = self.client.ask(request).await?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            return Err(AskError::Unexpected(format!("the answer was {status}")));
        }
        let keys = read(response.body());
        keys.ok_or_else(|| AskError::Unexpected("the answer is no set of keys".into()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of a set that can be used; `None` if it is no set. Keys of kinds that
/// are not known may be among them (RFC 7517 §5).
fn read(text: &[u8]) -> Option<Vec<Key>> {
    let set: Value = serde_json::from_slice(text).ok()?;
    let keys = set.get("keys")?.as_array()?;
    Some(keys.iter().take(MOST_KEYS).filter_map(key).collect())
}

fn key(value: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let for_signatures = |usage: &PublicKeyUse| matches!(usage, PublicKeyUse::Signature);
    if !jwk
        .common
        .public_key_use
        .as_ref()
        .is_none_or(for_signatures)
    {
        return None;
    }
    let by_curve = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => Some(Algorithm::ES256),
            EllipticCurve::P384 => Some(Algorithm::ES384),
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(_) => Some(Algorithm::EdDSA),
        AlgorithmParameters::RSA(_) => None,
        // A secret in public is none.
        _ => return None,
    };
    let said = match value.get("alg") {
        Some(said) => Some(said.as_str()?.parse::<Algorithm>().ok()?),
        None => None,
    };
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    let algorithm = by_curve.or(said);
    let fits = |a: Algorithm| a.family() == decoding.family() && said.is_none_or(|said| said == a);
    (decoding.family() != AlgorithmFamily::Hmac && algorithm.is_none_or(fits)).then_some(Key {
        id: jwk.common.key_id,
        algorithm,
        decoding,
    })
}

fn matching(keys: &[Key], id: Option<&str>, algorithm: Algorithm) -> Vec<Key> {
    let named = |key: &Key| match (&key.id, id) {
        (Some(key), Some(wanted)) => key == wanted,
        _ => true,
    };
    let fits = |key: &Key| match key.algorithm {
        Some(said) => said == algorithm,
        None => key.decoding.family() == algorithm.family(),
    };
    let matching = keys.iter().filter(|key| named(key) && fits(key));
    matching.cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_public_keys_for_signatures_are_taken_from_a_set() {
        let set = r#"{"keys": [
            {"kty": "oct", "kid": "secret", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
            {"kty": "RSA", "kid": "enc", "use": "enc", "n": "sXch", "e": "AQAB"},
            {"kty": "RSA", "kid": "any", "n": "sXch", "e": "AQAB"},
            {"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS512", "n": "sXch", "e": "AQAB"},
            {"kty": "RSA", "kid": "lies", "alg": "HS256", "n": "sXch", "e": "AQAB"},
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "sXch", "y": "sXch"},
            {"kty": "EC", "kid": "odd", "crv": "P-256", "alg": "ES384", "x": "sXch", "y": "sXch"},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": "sXch"},
            {"kty": "new", "kid": "new"},
            7
        ]}"#;
        let keys = read(set.as_bytes()).unwrap();
        let ids: Vec<_> = keys.iter().filter_map(|key| key.id.as_deref()).collect();
        assert_eq!(ids, ["any", "one", "ec", "ed"]);
        let found = |id: Option<&str>, algorithm| {
            let found = matching(&keys, id, algorithm).into_iter();
            found.filter_map(|key| key.id).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found(None, Algorithm::RS256), "any");
        assert_eq!(found(None, Algorithm::RS512), "any one");
        assert_eq!(found(Some("one"), Algorithm::RS256), "");
        assert_eq!(found(Some("ec"), Algorithm::ES256), "ec");
        assert_eq!(found(Some("ec"), Algorithm::RS256), "");
        assert_eq!(found(None, Algorithm::HS256), "");
    }

    #[test]
    fn what_is_no_set_is_none() {
        for text in ["", "{}", "[]", r#"{"keys": 7}"#, "<html>"] {
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(read(br#"{"keys": []}"#).map(|keys| keys.len()), Some(0));
    }

    /// An issuer whose one key can be renamed, and how often it was asked.
    struct Issuer {
        url: Uri,
        id: Arc<Mutex<&'static str>>,
        asked: Arc<AtomicUsize>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Issuer {
        async fn with(id: &'static str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            let (id, asked) = (Arc::new(Mutex::new(id)), Arc::new(AtomicUsize::new(0)));
            let (named, count) = (Arc::clone(&id), Arc::clone(&asked));
            let task = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        stream.read_buf(&mut head).await.unwrap();
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    let id = *named.lock().unwrap();
                    let set = format!(
                        r#"{{"keys":[{{"kty":"EC","kid":"{id}","crv":"P-256","x":"sXch","y":"sXch"}}]}}"#
                    );
                    let length = set.len();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
                    );
                    stream.write_all((head + &set).as_bytes()).await.unwrap();
                }
            });
            Self {
                url: url.parse().unwrap(),
                id,
                asked,
                task,
            }
        }

        fn rename(&self, id: &'static str) {
            *self.id.lock().unwrap() = id;
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    /// Moves the clock on, which is not left standing: it would run ahead of what
    /// comes over sockets.
    async fn pass(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_for_an_issuer_that_hangs_wait_for_one_attempt() {
        // Connections are made by the kernel, and nobody ever answers.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let jwks = Jwks::new(&url.parse().unwrap()).unwrap();
        let begun = Instant::now();
        let waiting = (0..5).map(|_| jwks.keys(None, Algorithm::ES256));
        let all = futures_util::future::join_all(waiting).await;
        assert!(all.iter().all(Option::is_none));
        assert!(begun.elapsed() < 2 * TIMEOUT, "{:?}", begun.elapsed());
        // Whoever comes now is told at once.
        let begun = Instant::now();
        assert!(jwks.keys(None, Algorithm::ES256).await.is_none());
        assert!(begun.elapsed() < NO_KEYS);
    }

    #[tokio::test]
    async fn keys_come_and_go_as_the_issuer_says() {
        let issuer = Issuer::with("a").await;
        let jwks = Jwks::new(&issuer.url).unwrap();
        let has = async |id| {
            let keys = jwks.keys(Some(id), Algorithm::ES256).await;
            keys.unwrap().len() == 1
        };
        let (one, two) = tokio::join!(has("a"), has("a"));
        assert!(one && two);
        assert_eq!(issuer.asked(), 1);

        issuer.rename("b");
        for _ in 0..3 {
            assert!(!has("b").await, "whoever makes names up has it asked");
        }
        assert_eq!(issuer.asked(), 1);
        pass(UNKNOWN_KEY).await;
        assert!(has("b").await);
        assert!(!has("a").await, "it was withdrawn");
        assert_eq!(issuer.asked(), 2);

        issuer.rename("c");
        pass(FRESH + UNKNOWN_KEY).await;
        assert!(has("b").await, "nobody waits for what is known");
        tokio::time::timeout(Duration::from_secs(30), async {
            while !has("c").await {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(issuer.asked(), 3);

        issuer.task.abort();
        pass(FRESH + UNKNOWN_KEY).await;
        assert!(has("c").await, "an issuer that is away locks nobody out");
    }
}
