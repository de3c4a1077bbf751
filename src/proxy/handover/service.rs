use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::super::Stack;
use super::super::activity::Terms;
use super::super::forward::{Peer, Tunnel};
use super::{Asked, Handover};

/// The stack as one connection's hyper calls it: an event stream that is to be
/// handed over never gets back to it.
#[derive(Debug)]
pub(crate) struct HandingOver<S, B> {
    peer: Peer,
    terms: Terms,
    stack: S,
    handover: Handover<B>,
    /// False to leave event streams to hyper. Tunnels never are.
    streams: bool,
}

impl<S, B> HandingOver<S, B> {
    pub(crate) fn new(
        peer: Peer,
        terms: Terms,
        stack: S,
        handover: Handover<B>,
        streams: bool,
    ) -> Self {
        Self {
            peer,
            terms,
            stack,
            handover,
            streams,
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
        let (asked, streams) = (Asked::of(&request), self.streams);
        let handover = self.handover.clone();
        request.extensions_mut().insert(self.peer);
        self.terms.apply(&mut request);
        let answer = self.stack.clone().oneshot(request);
        Box::pin(async move {
            let response = answer.await?;
            let taken = response.extensions().get::<Tunnel>().is_some()
                || (streams && Asked::takes(&response));
            let Some(asked) = asked.filter(|_| taken) else {
                return Ok(response);
            };
            handover.leave(response, asked);
            // Dropped where it waits.
            pending().await
        })
    }
}
