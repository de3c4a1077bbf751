//! Who may use a route.
//!
//! ```text
//! CrossOrigin ─ … ─ Router ─ Access ─ SseLayer ─ Forward
//!  (cors)                    │    └── forward_auth ──▶ the service that decides
//!                            └─ jwt ── Jwks ──▶ the issuer's keys
//! ```
//!
//! [`CrossOrigin`] is outermost, so that pages of other origins can read every
//! answer, the proxy's own refusals too, and preflights are answered for whoever
//! has no credentials yet. [`Access::admit`] stands before the engine: who is not
//! let in gets no stream, neither a new one nor one that is there. What it takes
//! out of a request, a token in the query or headers that say who somebody is,
//! neither the engine nor the upstream ever sees.

mod client;
mod cors;
mod expiry;
mod forward_auth;
mod identity;
mod jwks;
mod jwt;
mod metrics;
mod refusal;
mod token;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Method, Response};
use http_body_util::Full;
use tokio::time::Instant;

pub(crate) use self::cors::{CrossOrigin, Policy, preflight};
pub(crate) use self::expiry::Expiry;
use self::forward_auth::{ForwardAuth, Verdict};
use self::identity::Identity;
pub(crate) use self::jwks::Jwks;
use self::jwt::{Jwt, Rejection};
pub(crate) use self::metrics::{AccessFamilies, AccessMetrics, Reason};
use self::token::Lack;
use super::config::model;
use super::forward::TrustError;
use super::kept::Kept;
use crate::resume::is_event_stream;
use crate::resume::settings::{KeyPath, Mode};

/// Decides about the requests of one route.
pub(crate) struct Access {
    jwt: Option<Jwt>,
    forward_auth: Option<ForwardAuth>,
    /// What only the token may say, and what beside it only the service may.
    by_token: Identity,
    by_service: Identity,
    lasting: Lasting,
    metrics: Arc<AccessMetrics>,
}

/// Why a route's access cannot be decided about.
#[derive(Debug)]
pub(crate) enum AccessError {
    /// A key cannot be read; the text says which and why.
    Key(String),
    /// Something is asked over TLS, and there is no authority to verify it by.
    Trust(TrustError),
}

/// What comes of being let in, for the answer.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    expires: Option<(Instant, Arc<AccessMetrics>)>,
    cookies: Vec<HeaderValue>,
    /// The address of the answer holds a token.
    secret_address: bool,
}

/// Which of a route's streams go on and on.
struct Lasting {
    mode: Mode,
    attach: Option<KeyPath>,
}

// === impl AccessError ===

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(why) => write!(f, "a key that tokens are verified by: {why}"),
            Self::Trust(error) => write!(
                f,
                "`jwks` or `forward_auth` cannot be verified: {error}; install \
                 ca-certificates or point SSL_CERT_FILE at a PEM file"
            ),
        }
    }
}

// === impl Access ===

impl Access {
    /// `None` for a route that everybody may use.
    pub(crate) fn new(
        route: &model::Route,
        metrics: Arc<AccessMetrics>,
        issuers: &mut Kept<Jwks>,
    ) -> Result<Option<Arc<Self>>, AccessError> {
        let model::Access {
            jwt, forward_auth, ..
        } = &route.access;
        if jwt.is_none() && forward_auth.is_none() {
            return Ok(None);
        }
        let by_token = jwt.iter().flat_map(|jwt| &jwt.claims_to_headers);
        let by_token = Identity::new(by_token.map(|(_, header)| header));
        let by_service = forward_auth.iter().flat_map(|auth| &auth.copy_headers);
        let by_service = by_service.filter(|name| !by_token.has(name));
        let by_service = Identity::new(by_service);
        let jwt = jwt.as_ref().map(|jwt| Jwt::new(jwt, &route.sse, issuers));
        let forward_auth = forward_auth.as_ref().map(ForwardAuth::new);
        Ok(Some(Arc::new(Self {
            jwt: jwt.transpose()?,
            forward_auth: forward_auth.transpose()?,
            by_token,
            by_service,
            lasting: Lasting {
                mode: route.sse.mode,
                attach: route.sse.attach.clone(),
            },
            metrics,
        })))
    }

    /// Lets a request in, as the upstream is to see it, or answers it.
    pub(crate) async fn admit(&self, parts: &mut Parts) -> Result<Pass, Response<Full<Bytes>>> {
        let mut pass = Pass::default();
        if let Some(jwt) = &self.jwt {
            self.verify(jwt, parts, &mut pass).await?;
        }
        if let Some(auth) = &self.forward_auth {
            let token = auth.token(parts).map_err(|lack| self.without_token(lack))?;
            pass.secret_address |= token.is_some();
            let question = auth.question(parts, token.as_deref());
            // After the question: what clients sign in with may be among it.
            self.by_service.strip(&mut parts.headers);
            match auth.ask(question).await {
                Verdict::Pass { told, cookies } => {
                    identity::tell(&mut parts.headers, &told);
                    pass.cookies = cookies;
                }
                Verdict::Refused(answer) => {
                    self.metrics.refused(Reason::ForwardAuth);
                    return Err(answer);
                }
                Verdict::Unavailable(error) => {
                    self.metrics.refused(Reason::Unavailable);
                    tracing::warn!(%error, "the service of forward_auth did not decide");
                    return Err(refusal::unavailable());
                }
            }
        }
        Ok(pass)
    }

    fn without_token(&self, lack: Lack) -> Response<Full<Bytes>> {
        match lack {
            Lack::None => {
                self.metrics.refused(Reason::NoToken);
                refusal::unauthorized()
            }
            Lack::Ambiguous => {
                self.metrics.refused(Reason::Token);
                tracing::info!(reason = "there are two of it", "a token is refused");
                refusal::invalid_token()
            }
        }
    }

    async fn verify(
        &self,
        jwt: &Jwt,
        parts: &mut Parts,
        pass: &mut Pass,
    ) -> Result<(), Response<Full<Bytes>>> {
        let token = jwt.token(parts).map_err(|lack| self.without_token(lack))?;
        // After the token, whose header may be among it.
        self.by_token.strip(&mut parts.headers);
        let bearer = jwt.verify(&token.text).await.map_err(|rejection| {
            let (reason, answer) = match &rejection {
                Rejection::Token(_) => (Reason::Token, refusal::invalid_token()),
                Rejection::NoKeys => (Reason::Unavailable, refusal::unavailable()),
            };
            self.metrics.refused(reason);
            tracing::info!(reason = %rejection, "a token is refused");
            answer
        })?;
        identity::tell(&mut parts.headers, &bearer.told);
        parts.extensions.insert(bearer.claims);
        pass.secret_address = token.from_query;
        if self.lasting.is(parts) {
            pass.expires = bearer.expires.zip(Some(Arc::clone(&self.metrics)));
        }
        Ok(())
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

// === impl Lasting ===

impl Lasting {
    /// Whether a request is for a stream that has no end of its own. The answer to
    /// one request has one: it was let in, and is not cut in its middle.
    fn is(&self, parts: &Parts) -> bool {
        let answer = self.attach.as_ref().and_then(|at| at.key(parts.uri.path()));
        parts.method == Method::GET && self.mode != Mode::OneShot && answer.is_none()
    }
}

// === impl Pass ===

impl Pass {
    /// When what was let in is to end, if it has no end of its own.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.expires.as_ref().map(|(at, _)| *at)
    }

    /// Puts what is to be said into the answer's head, and tells when its body is
    /// to end, if before its time.
    pub(crate) fn finish<B>(self, response: &mut Response<B>) -> Option<Expiry> {
        let is_stream = is_event_stream(response.status(), response.headers());
        let headers = response.headers_mut();
        if self.secret_address {
            // RFC 6750 §2.3: what is kept under this address would be found by it.
            headers.insert(
                CACHE_CONTROL,
                HeaderValue::from_static(if is_stream {
                    "no-store, no-cache, no-transform"
                } else {
                    "no-store"
                }),
            );
        }
        for cookie in self.cookies {
            headers.append(SET_COOKIE, cookie);
        }
        let (at, metrics) = self.expires.filter(|_| is_stream)?;
        Some(Expiry::new(at, metrics))
    }
}
