//! What the layer asks of the service it wraps.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::request::RequestBody;
use crate::stream::source::BoxError;

/// A service that can be wrapped: a name for the bounds that all of the
/// middleware needs, implemented by whatever meets them.
pub(super) trait Inner<B>:
    Service<
        Request<RequestBody<B>>,
        Response = Response<<Self as Inner<B>>::ResBody>,
        Error: Into<BoxError> + Send,
        Future: Send,
    > + Clone
    + Send
    + 'static
{
    /// The body of its responses.
    type ResBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B, R> Inner<B> for S
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type ResBody = R;
}
