//! Answers that are no event streams, compressed where their route asks for it.
//!
//! Event streams are compressed where they are kept, once for all who read them
//! (`sse.compress`); everything else is each client's own, and left to tower-http.

use http::header::{CACHE_CONTROL, UPGRADE};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use tower_http::compression::predicate::{DefaultPredicate, Predicate};
use tower_http::compression::{Compression, CompressionBody};
use tower_service::Service;

use crate::resume::coding::{choose, refuses_plain};
use crate::resume::is_event_stream;
use crate::resume::settings::Coding;

/// An answer's body, as it came or compressed.
pub(crate) enum Answer<B: Body> {
    Plain(B),
    Compressed(CompressionBody<B>),
}

/// Calls a service that is ready, and compresses its answer if the client takes
/// that and there is something to gain.
pub(crate) async fn call<S, R, B>(
    coding: Coding,
    mut service: S,
    request: Request<R>,
) -> Result<Response<Answer<B>>, S::Error>
where
    S: Service<Request<R>, Response = Response<B>>,
    B: Body,
{
    if leaves_alone(coding, request.headers()) {
        let response = service.call(request).await?;
        return Ok(response.map(Answer::Plain));
    }
    let mut service = match coding {
        Coding::Gzip => Compression::new(service).gzip(true),
    }
    .compress_when(DefaultPredicate::new().and(Transformable));
    let (head, body) = service.call(request).await?.into_parts();
    let body = if is_event_stream(head.status, &head.headers) {
        Answer::Plain(body.into_inner())
    } else {
        Answer::Compressed(body)
    };
    Ok(Response::from_parts(head, body))
}

/// Requests whose answers tower-http would spoil: that of one that becomes
/// another protocol, and that of one that wants a coding the upstream has and
/// tower-http has not, which it would make 406.
fn leaves_alone(coding: Coding, headers: &HeaderMap) -> bool {
    let chosen = choose(Some(coding), headers).is_some();
    headers.contains_key(UPGRADE) || (!chosen && refuses_plain(headers))
}

/// What the upstream does not forbid to be changed on its way.
#[derive(Clone, Copy, Debug)]
struct Transformable;

impl Predicate for Transformable {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        let said = response.headers().get_all(CACHE_CONTROL).into_iter();
        let mut directives = said.flat_map(|value| value.as_bytes().split(|b| *b == b','));
        !directives.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
    }
}
