//! The middleware: names requests, and has them noted.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::entry::Entry;
use super::{AccessBody, Register};

/// An id that a client may choose is no longer than this.
const LONGEST_ID: usize = 128;

/// The middleware.
#[derive(Clone, Debug)]
pub(crate) struct Recording<S> {
    inner: S,
    register: Arc<Register>,
}

pin_project! {
    /// Of one request, until its answer's head.
    pub(crate) struct Recorded<F> {
        #[pin]
        inner: F,
        entry: Option<Box<Entry>>,
        id: Option<Box<(HeaderName, HeaderValue)>>,
    }
}

impl<S> Recording<S> {
    pub(crate) fn new(inner: S, register: Arc<Register>) -> Self {
        Self { inner, register }
    }
}

impl<S, A, B> Service<Request<A>> for Recording<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body,
{
    type Response = Response<AccessBody<B>>;
    type Error = S::Error;
    type Future = Recorded<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let name = self.register.request_id.load_full();
        let id = name.map(|name| Box::new(identify(&mut request, &name)));
        let noted = self.register.sink.load().is_some();
        let entry = noted.then(|| {
            let id = id.as_ref().and_then(|id| id.1.to_str().ok());
            Box::new(Entry::begin(Arc::clone(&self.register), &mut request, id))
        });
        Recorded {
            inner: self.inner.call(request),
            entry,
            id,
        }
    }
}

impl<F, B, E> Future for Recorded<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<AccessBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(id) = this.id.take() {
            response.headers_mut().insert(id.0, id.1);
        }
        let mut entry = this.entry.take();
        if let Some(entry) = &mut entry {
            entry.answered(&response);
        }
        Poll::Ready(Ok(response.map(|body| AccessBody::new(body, entry))))
    }
}

/// The request's id: the one it came with, if that is one, else a new one. It
/// goes upstream with the request.
fn identify<B>(request: &mut Request<B>, name: &HeaderName) -> (HeaderName, HeaderValue) {
    let headers = request.headers_mut();
    let mut given = headers.get_all(name).iter();
    let id = match (given.next(), given.next()) {
        (Some(id), None) if is_id(id) => id.clone(),
        _ => new_id(),
    };
    headers.insert(name.clone(), id.clone());
    (name.clone(), id)
}

fn is_id(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=LONGEST_ID).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

/// Not for secrets: it only has to be another one each time.
fn new_id() -> HeaderValue {
    let id = format!("{:032x}", fastrand::u128(..));
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("unknown"))
}
