//! Requests that ask for another protocol on their connection, such as
//! WebSocket.
//!
//! Each has an HTTP/1.1 connection of its own upstream. If the answer is 101,
//! what is left of that connection goes back with it, to whoever has the
//! client's; any other answer is an answer like any other.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Body;
use hyper::client::conn::http1::Builder;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tower_service::Service as _;

use super::dial::Dial;
use super::direct::{Answer, Failure};
use super::{BoxError, MAX_BUFFER};

/// A request's wish, in its extensions: the protocol.
#[derive(Clone, Debug)]
pub(crate) struct Upgrading(pub(crate) HeaderValue);

/// What the extensions of an answer 101 have.
#[derive(Clone)]
pub(crate) struct Tunnel {
    /// The protocol.
    pub(crate) protocol: HeaderValue,
    /// When it is to be closed at the latest.
    pub(crate) until: Option<Instant>,
    upstream: Arc<Mutex<Option<Upgraded>>>,
}

impl Tunnel {
    /// The upstream connection, once.
    pub(crate) fn take(&self) -> Option<TokioIo<Upgraded>> {
        let upstream = self.upstream.lock();
        let upstream = upstream.unwrap_or_else(PoisonError::into_inner).take();
        upstream.map(TokioIo::new)
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tunnel").field(&self.protocol).finish()
    }
}

/// Says the wish in the headers, from which it was taken as any other that is
/// for one hop.
pub(super) fn ask_for(headers: &mut HeaderMap, wish: &Upgrading) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, wish.0.clone());
}

/// Connects to `server`, asks, and waits for the head of the answer.
pub(super) async fn ask<B>(
    mut dial: Dial,
    server: Uri,
    request: Request<B>,
) -> Result<Response<Answer>, Failure>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let wish = request.headers().get(UPGRADE).cloned();
    let socket = dial.call(server).await.map_err(Failure::Connect)?;
    let mut builder = Builder::new();
    let handshake = builder.max_buf_size(MAX_BUFFER).handshake(socket);
    let (mut sender, connection) = handshake.await.map_err(Failure::Broken)?;
    tokio::spawn(connection.with_upgrades());
    let answer = sender.send_request(request).await;
    let mut answer = answer.map_err(Failure::Broken)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let protocol = chosen(answer.headers(), wish.as_ref())?;
        let upgraded = hyper::upgrade::on(&mut answer).await;
        let upstream = Some(upgraded.map_err(Failure::Broken)?);
        answer.extensions_mut().insert(Tunnel {
            protocol,
            until: None,
            upstream: Arc::new(Mutex::new(upstream)),
        });
    }
    Ok(answer.map(Answer::Other))
}

/// The protocol the server switched to, which must be the one asked for.
fn chosen(headers: &HeaderMap, wish: Option<&HeaderValue>) -> Result<HeaderValue, Failure> {
    let chosen = headers.get(UPGRADE);
    let asked = |chosen: &&HeaderValue| {
        wish.is_some_and(|wish| wish.as_bytes().eq_ignore_ascii_case(chosen.as_bytes()))
    };
    chosen.filter(asked).cloned().ok_or_else(|| {
        Failure::Malformed("it switched to a protocol that nobody had asked for".into())
    })
}
