//! The layer before the routes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use tower_service::Service;

use super::super::forward::Peer;
use super::body::{ClientBody, Verdict};
use super::refusal::{Reason, Refusal};
use super::{Admission, client};

/// A [`Service`] that tells the next one whose request it is, and bounds the
/// request.
#[derive(Clone, Debug)]
pub(crate) struct Admitting<S> {
    inner: S,
    admission: Arc<ArcSwap<Admission>>,
}

impl<S> Admitting<S> {
    pub(crate) fn new(inner: S, admission: Arc<ArcSwap<Admission>>) -> Self {
        Self { inner, admission }
    }
}

impl<S, B> Service<Request<Incoming>> for Admitting<S>
where
    S: Service<Request<ClientBody>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: From<Full<Bytes>> + Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let admission = self.admission.load();
        let (request, verdict) = match admission.enter(request) {
            Ok(entered) => entered,
            Err(refusal) => {
                let response = admission.refused(refusal);
                return Box::pin(std::future::ready(Ok(response)));
            }
        };
        let answer = self.inner.call(request);
        let Some(verdict) = verdict else {
            return Box::pin(answer);
        };
        let admission = Arc::clone(&admission);
        Box::pin(async move {
            let answered = answer.await?;
            let refused = verdict.get().map(Refusal::new);
            Ok(refused.map_or(answered, |refusal| admission.refused(refusal)))
        })
    }
}

impl Admission {
    fn enter(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<(Request<ClientBody>, Option<Verdict>), Refusal> {
        self.introduce(&mut request);
        // hyper has counted them over HTTP/1.1, and over HTTP/2 only their size.
        if request.headers().len() > self.limits.headers {
            return Err(Refusal::new(Reason::Headers));
        }
        let most = self.limits.request_body;
        let length = request.body().size_hint().lower();
        if most.is_some_and(|most| length > most as u64) {
            return Err(Refusal::new(Reason::RequestBody));
        }
        let (parts, body) = request.into_parts();
        let (body, verdict) = ClientBody::new(body, most, self.limits.body_timeout);
        Ok((Request::from_parts(parts, body), verdict))
    }

    /// Finds out whose request it is.
    fn introduce(&self, request: &mut Request<Incoming>) {
        let (Some(peer), false) = (
            request.extensions().get::<Peer>().copied(),
            self.trusted.is_empty(),
        ) else {
            return;
        };
        let trusted = self.trusted.contain(peer.addr.ip());
        let client = client::address(request.headers(), peer.addr.ip(), &self.trusted);
        request.extensions_mut().insert(Peer {
            client,
            trusted,
            ..peer
        });
    }

    fn refused<B: From<Full<Bytes>>>(&self, refusal: Refusal) -> Response<B> {
        self.refusals.count(refusal.reason);
        refusal.response().map(B::from)
    }
}
