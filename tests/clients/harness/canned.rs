//! A backend that answers each request as planned: up to which byte, and how
//! its connection ends.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::scripted::Cut;

/// What becomes of one request.
pub(crate) enum Plan {
    /// Its connection is closed without an answer.
    Refuse,
    /// An event stream with this text.
    Answer(String, End),
}

/// How an answer's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order: a client of HTTP cannot tell that something is missing.
    Clean,
    /// Without the last chunk.
    Cut,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) key: String,
    pub(crate) body: String,
}

/// Every request to it is an execution.
pub(crate) struct Canned {
    url: String,
    served: Arc<Served>,
}

struct Served {
    asked: Mutex<Vec<Asked>>,
    plan: Box<Planner>,
}

type Planner = dyn Fn(&Asked, usize) -> Plan + Send + Sync;

impl Canned {
    /// The plan is given a request and how many of the same path came before.
    pub(crate) async fn start(
        plan: impl Fn(&Asked, usize) -> Plan + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(Served {
            asked: Mutex::default(),
            plan: Box::new(plan),
        });
        tokio::spawn(serve(listener, Arc::clone(&served)));
        Self { url, served }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.served.asked.lock().unwrap().clone()
    }

    /// How many requests had this path.
    pub(crate) fn executions(&self, path: &str) -> usize {
        let asked = self.served.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.path == path).count()
    }
}

async fn serve(listener: TcpListener, served: Arc<Served>) {
    while let Ok((socket, _)) = listener.accept().await {
        let served = Arc::clone(&served);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&served, request));
            let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            // An error here is one that was planned.
            let _ = served.await;
        });
    }
}

type Text = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Cut>>>;

async fn answer(served: &Served, request: Request<Incoming>) -> Result<Response<Text>, Cut> {
    let path = request.uri().path().to_owned();
    let key = request.headers().get("idempotency-key");
    let key = key.map_or("", |key| key.to_str().unwrap()).to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let asked = Asked {
        path,
        key,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let plan = {
        let mut all = served.asked.lock().unwrap();
        let before = all.iter().filter(|other| other.path == asked.path).count();
        all.push(asked.clone());
        (served.plan)(&asked, before)
    };
    let Plan::Answer(text, end) = plan else {
        return Err(Cut);
    };
    let text = (!text.is_empty()).then(|| Ok(Frame::data(Bytes::from(text))));
    let cut = stream::once(async move {
        // What was sent so far goes out first.
        tokio::task::yield_now().await;
        (end == End::Cut).then_some(Err(Cut))
    });
    let cut = cut.filter_map(async |cut| cut);
    let body = StreamBody::new(stream::iter(text).chain(cut).boxed());
    let response = Response::builder().header("content-type", "text/event-stream");
    Ok(response.body(body).unwrap())
}
