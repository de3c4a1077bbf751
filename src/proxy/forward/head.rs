//! The part of a request that can be sent more than once.

use http::header::ACCEPT;
use http::request::Parts;
use http::uri::{Parts as UriParts, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use http_body::Body;
use memchr::memmem;

use super::error::Cause;
use super::headers::{self, Peer};
use super::tunnel::{self, Upgrading};
use crate::proxy::balance::Server;
use crate::resume::Reopenable;

/// What a client asks for, without the body.
pub(super) struct Head {
    method: Method,
    uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) peer: Option<Peer>,
    pub(super) upgrading: Option<Upgrading>,
    /// Whether an event stream in answer to it may break off and be asked for
    /// again.
    pub(super) reopenable: bool,
}

impl Head {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            peer: parts.extensions.get().copied(),
            upgrading: parts.extensions.get().cloned(),
            reopenable: parts.extensions.get::<Reopenable>().is_some(),
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
        }
    }

    /// Whether an event stream is asked for, as browsers do (WHATWG HTML
    /// §9.2.3). A hint: other requests may be answered with one, too.
    pub(super) fn may_last<B: Body>(&self, body: &B) -> bool {
        let names =
            |value: &HeaderValue| memmem::find(value.as_bytes(), b"text/event-stream").is_some();
        self.method == Method::GET
            && body.is_end_stream()
            && self.headers.get_all(ACCEPT).iter().any(names)
    }

    /// The request as this server is asked.
    pub(super) fn for_server<B>(&self, server: &Server, body: B) -> Result<Request<B>, Cause> {
        let mut uri = UriParts::default();
        uri.scheme = Some(server.scheme().clone());
        uri.authority = Some(server.authority().clone());
        // Kept as it came: not decoded, normalised or sorted.
        let path = self.uri.path_and_query().cloned();
        uri.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));

        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from_parts(uri).map_err(|error| Cause::Target(error.into()))?;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers.clone();
        headers::outbound(
            request.headers_mut(),
            &self.uri,
            self.peer,
            server.authority(),
        );
        if let Some(wish) = &self.upgrading {
            tunnel::ask_for(request.headers_mut(), wish);
        }
        Ok(request)
    }
}

/// The request as it is written to a server's socket, and where that is: the
/// target is the path alone (RFC 9112 §3.2.1).
pub(super) fn for_socket<B>(mut request: Request<B>) -> (Uri, Request<B>) {
    let server = std::mem::take(request.uri_mut());
    *request.uri_mut() = match server.path_and_query() {
        Some(path) => Uri::from(path.clone()),
        None => Uri::default(),
    };
    (server, request)
}

/// The request with its host where HTTP/2 has it.
pub(super) fn for_http2<B>(mut request: Request<B>) -> Result<Request<B>, Cause> {
    *request.version_mut() = Version::HTTP_2;
    let host = headers::for_http2(request.headers_mut());
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    uri.authority = host.or(uri.authority);
    *request.uri_mut() = Uri::from_parts(uri).map_err(|error| Cause::Target(error.into()))?;
    Ok(request)
}
