use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::super::Stack;
use super::super::forward::Peer;
use super::{Asked, Handover};

/// The stack as one connection's hyper calls it: an event stream that is to be
/// handed over never gets back to it.
#[derive(Debug)]
pub(crate) struct HandingOver<S, B> {
    peer: Peer,
    stack: S,
    /// `None` to leave everything to hyper.
    handover: Option<Handover<B>>,
}

impl<S, B> HandingOver<S, B> {
    pub(crate) fn new(peer: Peer, stack: S, handover: Option<Handover<B>>) -> Self {
        Self {
            peer,
            stack,
            handover,
        }
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for HandingOver<S, B>
where
    S: Stack<B>,
    B: Body + Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let asked = Asked::of(&request).zip(self.handover.clone());
        request.extensions_mut().insert(self.peer);
        let answer = self.stack.clone().oneshot(request);
        Box::pin(async move {
            let response = answer.await?;
            let Some((asked, handover)) = asked.filter(|_| Asked::takes(&response)) else {
                return Ok(response);
            };
            handover.leave(response, asked);
            // Dropped where it waits.
            pending().await
        })
    }
}
