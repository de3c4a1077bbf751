//! What those are told who are not let in: nothing of why.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use crate::proxy::rescue::text;

/// To a request without a token (RFC 6750 §3).
pub(super) fn unauthorized() -> Response<Full<Bytes>> {
    challenge("Bearer")
}

/// To one whose token is not good.
pub(super) fn invalid_token() -> Response<Full<Bytes>> {
    challenge("Bearer error=\"invalid_token\"")
}

/// To one about which nobody could decide.
pub(super) fn unavailable() -> Response<Full<Bytes>> {
    not_kept(text(
        StatusCode::SERVICE_UNAVAILABLE,
        "authentication is not available at the moment\n",
    ))
}

fn challenge(challenge: &'static str) -> Response<Full<Bytes>> {
    let mut response = not_kept(text(
        StatusCode::UNAUTHORIZED,
        "authentication is required\n",
    ));
    let challenge = HeaderValue::from_static(challenge);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn not_kept(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}
