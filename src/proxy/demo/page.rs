//! The page, and a stream of how the backend is doing.
//!
//! Served apart from the backend, as it has to outlive it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::backend::State;
use super::reply::{self, Reply};

/// Serves the page for ever. `backend` is what it reads directly.
pub(super) async fn serve(
    listener: TcpListener,
    backend: SocketAddr,
    states: watch::Receiver<State>,
) {
    let html = include_str!("page.html").replace("{{backend}}", &backend.to_string());
    let site = Site {
        html: Bytes::from(html),
        states,
    };
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(connection(stream, site.clone()))),
            // Out of descriptors, most likely: time is what helps.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, site: Site) {
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = site.answer(request.uri().path());
        async { Ok::<_, Infallible>(response) }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

#[derive(Clone, Debug)]
struct Site {
    html: Bytes,
    states: watch::Receiver<State>,
}

impl Site {
    fn answer(&self, path: &str) -> Reply {
        match path {
            "/" => reply::text(
                StatusCode::OK,
                "text/html; charset=utf-8",
                self.html.clone(),
            ),
            "/backend" => reply::events(changes(self.states.clone())),
            _ => reply::text(StatusCode::NOT_FOUND, "text/plain", "not here\n"),
        }
    }
}

/// The present state, then every change.
fn changes(mut states: watch::Receiver<State>) -> impl Stream<Item = Bytes> {
    states.mark_changed();
    stream::unfold(states, |mut states| async {
        states.changed().await.ok()?;
        let word = states.borrow_and_update().word();
        Some((Bytes::from(format!("data: {word}\n\n")), states))
    })
}
