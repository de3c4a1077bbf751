//! Requests that share HTTP/2 connections to a server.
//!
//! A connection takes only so many streams at a time (the server says how many,
//! often 100), and event streams last: so there are as many connections as it
//! takes, and none is given more than it may have. Otherwise the next client
//! would wait for another one to leave.

use std::error::Error;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use tower_service::Service as _;

use super::dial::{Dial, DialTimeout, Socket};
use super::direct::Failure;
use super::{BoxError, MAX_BUFFER, find};
use crate::proxy::config::model::Pool;

/// What the server may have open before it said how much: some say 16.
const FIRST_STREAMS: usize = 16;

/// How much of one response may wait here to be read.
const STREAM_WINDOW: u32 = 256 * 1024;

/// How long a server that chose HTTP/1.1 is taken at its word.
const HTTP1: Duration = Duration::from_secs(60);

/// The HTTP/2 connections to one server.
#[derive(Debug)]
pub(super) struct Multiplex<B> {
    pool: Pool,
    lines: Mutex<Vec<Line<B>>>,
    /// Held to connect, so that a crowd waits for one connection.
    dialling: tokio::sync::Mutex<()>,
    /// Until when it is known to speak HTTP/1.1.
    http1_until: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Line<B> {
    sender: SendRequest<B>,
    open: Arc<AtomicUsize>,
    /// What the server says it may have open.
    most: Arc<AtomicUsize>,
}

/// A stream's place on its connection, until dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicUsize>);

/// How a server can be asked.
pub(super) enum Way<B> {
    /// As one of several.
    Shared(SendRequest<B>, Slot),
    /// It chose HTTP/1.1.
    Http1(Box<Socket>),
}

impl<B> Multiplex<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(pool: Pool) -> Self {
        Self {
            pool,
            lines: Mutex::default(),
            dialling: tokio::sync::Mutex::default(),
            http1_until: Mutex::default(),
        }
    }

    /// Whether the server chose HTTP/1.1 a moment ago.
    pub(super) fn is_http1(&self) -> bool {
        let until = *self.http1_until();
        until.is_some_and(|until| Instant::now() < until)
    }

    /// A place on a connection, on a new one if need be.
    pub(super) async fn way(&self, mut dial: Dial, server: Uri) -> Result<Way<B>, Failure> {
        if let Some(way) = self.take() {
            return Ok(way);
        }
        let waiting = timeout(dial.limit(), self.dialling.lock()).await;
        let _dialling = waiting.map_err(|_| Failure::Connect(DialTimeout.into()))?;
        if let Some(way) = self.take() {
            return Ok(way);
        }
        let https = server.scheme_str() == Some("https");
        let socket = dial.call(server).await.map_err(Failure::Connect)?;
        if https && !is_http2(&socket) {
            if dial.knows_http2() {
                let text = "it did not agree to HTTP/2; write `protocol: auto` or `http1`";
                return Err(Failure::Connect(text.into()));
            }
            *self.http1_until() = Some(Instant::now() + HTTP1);
            return Ok(Way::Http1(Box::new(socket)));
        }
        self.add(socket).await
    }

    async fn add(&self, socket: Socket) -> Result<Way<B>, Failure> {
        let streams = u32::try_from(self.pool.streams).unwrap_or(u32::MAX);
        // No response that nobody reads may hold back the others.
        let window = STREAM_WINDOW.saturating_mul(streams).min((1 << 31) - 1);
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(self.pool.ping)
            .keep_alive_timeout(self.pool.ping)
            .keep_alive_while_idle(true)
            .initial_max_send_streams(FIRST_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(window)
            .max_header_list_size(u32::try_from(MAX_BUFFER).unwrap_or(u32::MAX))
            .handshake(socket)
            .await
            .map_err(|error| Failure::Connect(error.into()))?;
        let line = Line {
            sender,
            open: Arc::default(),
            most: Arc::new(AtomicUsize::new(FIRST_STREAMS)),
        };
        let most = Arc::clone(&line.most);
        tokio::spawn(async move {
            let mut connection = connection;
            let end = poll_fn(|cx| {
                let end = Pin::new(&mut connection).poll(cx);
                most.store(connection.current_max_send_streams(), Ordering::Relaxed);
                end
            });
            if let Err(error) = end.await {
                tracing::debug!(error = &error as &dyn Error, "an HTTP/2 connection broke");
            }
        });
        let way = line.take();
        self.lines().push(line);
        Ok(way)
    }

    /// A place on a connection that is open and has room. The first ones are
    /// filled first, so that the last ones run empty, and are closed.
    fn take(&self) -> Option<Way<B>> {
        let mut lines = self.lines();
        let mut idle = 0;
        lines.retain(|line| {
            let empty = line.open.load(Ordering::Relaxed) == 0;
            idle += usize::from(empty);
            !line.sender.is_closed() && (!empty || idle < 2)
        });
        let has_room = |line: &&Line<B>| {
            let most = line.most.load(Ordering::Relaxed).min(self.pool.streams);
            line.open.load(Ordering::Relaxed) < most
        };
        lines.iter().find(has_room).map(Line::take)
    }

    fn http1_until(&self) -> MutexGuard<'_, Option<Instant>> {
        let until = self.http1_until.lock();
        until.unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line<B>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Line<B> {
    fn take(&self) -> Way<B> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Way::Shared(self.sender.clone(), Slot(Arc::clone(&self.open)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends a request on a connection with others.
pub(super) async fn ask<B>(
    mut sender: SendRequest<B>,
    request: Request<B>,
) -> Result<Response<Incoming>, Failure>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    match sender.try_send_request(request).await {
        Ok(response) => Ok(response),
        Err(mut error) => {
            // It is given back only if it never left.
            let unsent = error.take_message().is_some();
            let error = error.into_error();
            if unsent || is_unprocessed(&error) {
                Err(Failure::Unprocessed(error))
            } else {
                Err(Failure::Broken(error))
            }
        }
    }
}

/// Whether the server says that it did nothing with the request (RFC 9113
/// §8.7): it refused the stream, or is leaving and named an earlier one as the
/// last it heeds. Streams it does heed are not ended by its leaving.
fn is_unprocessed(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|error| {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (refused || error.is_go_away())
    })
}

fn is_http2(socket: &Socket) -> bool {
    use hyper_util::client::legacy::connect::Connection as _;
    socket.connected().is_negotiated_h2()
}
