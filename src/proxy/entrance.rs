//! What comes before all routes: challenges are answered, clients in clear are
//! sent to TLS, and nobody but the proxy says who a client is.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::Either;
use http::header::{HOST, LOCATION};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use tower_service::Service;

use super::acme::Challenges;
use super::arrival::Arrival;
use super::config::model::{self, Listener};
use super::forward::{Peer, keep_known_options, strip_named};
use super::rescue::text;
use crate::resume::settings::{Credential, Mode, Settings};

/// The middleware.
#[derive(Clone, Debug)]
pub(crate) struct Entrance<S> {
    inner: S,
    rules: Arc<ArcSwap<Rules>>,
}

/// The same for all requests of a configuration.
#[derive(Debug)]
pub(crate) struct Rules {
    challenges: Arc<Challenges>,
    /// Names of headers that the proxy alone may set, `_` being `-`.
    reserved: Vec<String>,
    /// The headers that say who a client is, and those that prove it.
    subjects: Vec<HeaderName>,
    proofs: Vec<HeaderName>,
}

// === impl Rules ===

impl Rules {
    pub(crate) fn new(listeners: &[Listener], challenges: Arc<Challenges>) -> Self {
        // Of all listeners: who may not say it on one could on another.
        let clients = || listeners.iter().filter_map(told_of_clients);
        let subjects = clients().filter_map(|told| told.subject_header.clone());
        let proofs = clients().filter_map(|told| told.certificate_header.clone());
        let (subjects, proofs): (Vec<_>, Vec<_>) = (subjects.collect(), proofs.collect());
        Self {
            challenges,
            reserved: subjects.iter().chain(&proofs).map(plain).collect(),
            subjects,
            proofs,
        }
    }

    /// A route's settings, with who proved to be whom told apart: a stream is
    /// resumed by the same subject only, and one that many share is asked for
    /// in nobody's name unless its key says so.
    ///
    /// A certificate is renewed, and its subject stays: it is no credential but
    /// where it must be taken out.
    pub(crate) fn guard(&self, mut sse: Settings) -> Settings {
        let proofs = self.proofs.iter().filter(|_| sse.mode == Mode::Shared);
        for name in self.subjects.iter().chain(proofs) {
            let credential = Credential::Header(name.clone());
            if !sse.principal.contains(&credential) {
                sse.principal.push(credential);
            }
        }
        sse
    }

    fn answer<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        let path = request.uri().path();
        if Challenges::is_asked_by(request.method(), path) {
            let peer = request.extensions().get::<Peer>();
            let answer = self.challenges.answer(path);
            return answer
                .filter(|_| peer.is_some_and(|peer| !peer.tls))
                .map(|answer| {
                    let mut response = text(StatusCode::OK, "");
                    *response.body_mut() = Full::from(answer);
                    response
                });
        }
        match request.extensions().get::<Arrival>() {
            Some(Arrival::Misplaced(port)) if request.method() != Method::CONNECT => {
                Some(redirect(request.uri(), request.headers(), *port))
            }
            _ => None,
        }
    }

    /// Puts what was proved in the place of what is claimed.
    fn introduce<B>(&self, request: &mut Request<B>) {
        if self.reserved.is_empty() {
            return;
        }
        let claimed = |name: &&HeaderName| self.reserved.contains(&plain(name));
        let claims: Vec<_> = request.headers().keys().filter(claimed).cloned().collect();
        for name in claims {
            request.headers_mut().remove(name);
        }
        // Or a client could have the proxy's word taken out again.
        strip_named(request.headers_mut());
        keep_known_options(request.headers_mut());
        if let Some(Arrival::Identified(identity)) = request.extensions_mut().remove() {
            for (name, value) in identity.headers() {
                request.headers_mut().insert(name, value.clone());
            }
        }
    }
}

fn told_of_clients(listener: &Listener) -> Option<&model::ClientCertificates> {
    listener.tls.as_ref()?.clients.as_ref()
}

/// To many backends, `X_Client` is `X-Client`.
fn plain(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

/// The same URL, over TLS. 308 keeps method and body.
fn redirect(uri: &Uri, headers: &HeaderMap, port: u16) -> Response<Full<Bytes>> {
    let Some(location) = location(uri, headers, port) else {
        return text(
            StatusCode::BAD_REQUEST,
            "the request must name one valid host\n",
        );
    };
    let mut response = text(
        StatusCode::PERMANENT_REDIRECT,
        "this is served over TLS only\n",
    );
    response.headers_mut().insert(LOCATION, location);
    response
}

fn location(uri: &Uri, headers: &HeaderMap, port: u16) -> Option<HeaderValue> {
    let mut hosts = headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let authority = match (uri.authority(), first, second) {
        (Some(authority), _, None) => authority.clone(),
        (None, Some(host), None) => Authority::try_from(host.as_bytes()).ok()?,
        _ => return None,
    };
    let (host, path) = (authority.host(), uri.path_and_query()?);
    let location = match port {
        Listener::HTTPS_PORT => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    HeaderValue::try_from(location).ok()
}

// === impl Entrance ===

impl<S> Entrance<S> {
    pub(crate) fn new(inner: S, rules: Arc<ArcSwap<Rules>>) -> Self {
        Self { inner, rules }
    }
}

impl<S, A, B> Service<Request<A>> for Entrance<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: From<Full<Bytes>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<B>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let rules = self.rules.load();
        if let Some(response) = rules.answer(&request) {
            return Either::Left(ready(Ok(response.map(B::from))));
        }
        rules.introduce(&mut request);
        Either::Right(self.inner.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_stays_but_for_its_scheme_and_port() {
        let headers = |hosts: &[&'static str]| -> HeaderMap {
            let values = hosts.iter().map(|host| HeaderValue::from_static(host));
            values.map(|value| (HOST, value)).collect()
        };
        let to = |uri: &str, hosts: &[&'static str], port| {
            let location = location(&uri.parse().unwrap(), &headers(hosts), port)?;
            Some(location.to_str().unwrap().to_owned())
        };
        for (uri, hosts, port, expected) in [
            (
                "/a/b?c=d",
                &["a.example"][..],
                443,
                Some("https://a.example/a/b?c=d"),
            ),
            ("/", &["a.example:80"], 443, Some("https://a.example/")),
            (
                "/",
                &["a.example:80"],
                8443,
                Some("https://a.example:8443/"),
            ),
            ("/", &["[::1]:8080"], 8443, Some("https://[::1]:8443/")),
            (
                "//b.example/x",
                &["a.example"],
                443,
                Some("https://a.example//b.example/x"),
            ),
            (
                "http://c.example:81/x",
                &["a.example"],
                443,
                Some("https://c.example/x"),
            ),
            (
                "/",
                &["user:secret@a.example"],
                443,
                Some("https://a.example/"),
            ),
            ("/", &[], 443, None),
            ("/", &["a.example", "b.example"], 443, None),
            ("/", &["a b"], 443, None),
        ] {
            assert_eq!(to(uri, hosts, port).as_deref(), expected, "{uri} {hosts:?}");
        }
    }
}
