//! Asking another service whether a request may come in.

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER, SET_COOKIE,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{Empty, Full};

use super::AccessError;
use super::client::{AskError, Client};
use super::token::{Lack, take_from_query};
use crate::proxy::config::model;
use crate::proxy::forward::{FORWARDING, Peer, host, tell_of_client};

/// A page that says "sign in" fits. What is longer is no decision.
const MOST_BYTES: usize = 64 << 10;

/// What a client is told of a refusal, beside its status and text.
const REFUSAL: [HeaderName; 6] = [
    CACHE_CONTROL,
    CONTENT_TYPE,
    LOCATION,
    RETRY_AFTER,
    SET_COOKIE,
    WWW_AUTHENTICATE,
];

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// The service of one route.
pub(super) struct ForwardAuth {
    settings: model::ForwardAuth,
    client: Client,
}

/// What it says.
pub(super) enum Verdict {
    /// Let it in, tell the upstream this, and let the client have these cookies.
    Pass {
        told: HeaderMap,
        cookies: Vec<HeaderValue>,
    },
    /// Answer it with this.
    Refused(Response<Full<Bytes>>),
    /// Nothing that could be understood.
    Unavailable(AskError),
}

impl ForwardAuth {
    pub(super) fn new(settings: &model::ForwardAuth) -> Result<Self, AccessError> {
        Ok(Self {
            client: Client::new(&settings.url, settings.timeout, MOST_BYTES)?,
            settings: settings.clone(),
        })
    }

    /// The token that a request has in its query.
    pub(super) fn token(&self, parts: &mut Parts) -> Result<Option<String>, Lack> {
        match &self.settings.query {
            Some(name) => take_from_query(parts, name),
            None => Ok(None),
        }
    }

    /// Asks. Whoever does not say yes has said no.
    pub(super) async fn ask(&self, question: Request<Empty<Bytes>>) -> Verdict {
        let answer = match self.client.ask(question).await {
            Ok(answer) => answer,
            Err(error) => return Verdict::Unavailable(error),
        };
        let status = answer.status();
        if status.is_success() {
            return self.pass(answer.headers());
        }
        let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        let redirects = status.is_redirection() && answer.headers().contains_key(LOCATION);
        if redirects || refusals.contains(&status) {
            return Verdict::Refused(refusal(answer));
        }
        Verdict::Unavailable(AskError::Unexpected(format!("the answer was {status}")))
    }

    /// What it is asked about a request.
    pub(super) fn question(&self, parts: &Parts, token: Option<&str>) -> Request<Empty<Bytes>> {
        let mut question = Request::new(Empty::new());
        question.uri_mut().clone_from(&self.settings.url);
        let headers = question.headers_mut();
        copy(&parts.headers, &self.settings.request_headers, headers);
        if let Some(token) = token.map(|token| HeaderValue::try_from(format!("Bearer {token}")))
            && let Ok(mut token) = token
        {
            token.set_sensitive(true);
            // As anywhere: what is in a header goes before.
            headers.entry(AUTHORIZATION).or_insert(token);
        }
        // Who asked whom for what: nobody else's word for it.
        headers.remove(HOST);
        let path = parts.uri.path_and_query();
        let path = path.and_then(|path| HeaderValue::from_str(path.as_str()).ok());
        let method = HeaderValue::from_str(parts.method.as_str()).ok();
        copy(&parts.headers, &FORWARDING, headers);
        let host = host(&parts.uri, &parts.headers);
        let peer = parts.extensions.get::<Peer>().copied();
        tell_of_client(headers, peer, host.as_ref());
        for (name, value) in [(X_FORWARDED_METHOD, method), (X_FORWARDED_URI, path)] {
            headers.remove(&name);
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        question
    }

    fn pass(&self, answer: &HeaderMap) -> Verdict {
        let mut told = HeaderMap::new();
        copy(answer, &self.settings.copy_headers, &mut told);
        let cookies = answer.get_all(SET_COOKIE).iter().filter(|cookie| {
            let name = cookie.as_bytes().split(|b| *b == b'=').next();
            let name = name.unwrap_or_default().trim_ascii();
            self.settings.cookies.iter().any(|c| c.as_bytes() == name)
        });
        Verdict::Pass {
            told,
            cookies: cookies.cloned().collect(),
        }
    }
}

fn refusal(answer: Response<Bytes>) -> Response<Full<Bytes>> {
    let (parts, body) = answer.into_parts();
    let mut refusal = Response::new(Full::from(body));
    *refusal.status_mut() = parts.status;
    let headers = refusal.headers_mut();
    copy(&parts.headers, &REFUSAL, headers);
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    refusal
}

fn copy(from: &HeaderMap, names: &[HeaderName], to: &mut HeaderMap) {
    for name in names {
        // Listed twice, it is still there once.
        to.remove(name);
        for value in from.get_all(name) {
            to.append(name.clone(), value.clone());
        }
    }
}
