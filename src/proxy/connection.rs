//! One client connection, from its first byte to its last.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::Request;
use http::header::STRICT_TRANSPORT_SECURITY;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;
use tower_http::set_header::SetResponseHeader;

use super::Stack;
use super::acme;
use super::activity::{Activity, Terms};
use super::admission::{Admission, Reason, Refused};
use super::arrival::{Arrival, Arriving};
use super::config::model::{Limits, Networks};
use super::forward::Peer;
use super::greeting::Greeting;
use super::handover::{EventStream, HandingOver, Handover, Rewind};
use super::io::WriteDeadline;
use super::phase::{Phase, PhaseWatch};
use super::preface;
use super::retirement::{Farewell, Retire};
use super::tls::{HandshakeFailure, TlsMetrics};

type BoxError = Box<dyn Error + Send + Sync>;

/// Headers that hyper has room for without being asked, on its stack.
const HYPER_HEADERS: usize = 100;

/// A request head may be this large, or as configured; so may what waits to be written to a
/// client, who has a cursor into the stream's buffer and needs no second one.
const MAX_BUFFER: usize = 32 * 1024;

/// The same for an HTTP/2 stream's unsent bytes.
const H2_SEND_BUFFER: usize = 64 * 1024;

/// Streams a client may have open on one HTTP/2 connection.
const H2_STREAMS: u32 = 256;

/// PING after this much silence, and no longer wait than that for the answer.
const H2_PING: Duration = Duration::from_secs(20);
const H2_PONG: Duration = Duration::from_secs(10);

/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What TLS may hold back of what was written to it.
const TLS_BUFFER: usize = 16 * 1024;

/// A vanished client is probed after this much silence, this often.
const KEEPALIVE: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// What was sent may stay unacknowledged this long. It is the backstop of the
/// write deadline, which sees only writes that wait: one small event to a
/// vanished client fits into the kernel's buffer, and unacknowledged data keep
/// the probes from being sent.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// Linux counts that time in milliseconds and refuses what an `i32` cannot hold.
#[cfg(target_os = "linux")]
const MOST_UNACKNOWLEDGED: Duration = Duration::from_millis(i32::MAX as u64);

/// hyper adds the time to now, and panics past the end of time.
const LONGEST_HEADER_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How connections are served: the same for all of them.
pub(crate) struct Protocol {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    limits: Limits,
    admission: Arc<Admission>,
    handover: bool,
}

// === impl Protocol ===

impl Protocol {
    pub(crate) fn new(admission: Arc<Admission>, handover: bool) -> Self {
        let mut limits = admission.limits;
        limits.header_timeout = limits.header_timeout.min(LONGEST_HEADER_TIMEOUT);
        // It counts the wait for a request as part of its head. Whoever allows
        // another time for that is served by `activity`.
        let header_timeout = match limits.idle_timeout {
            None => Some(limits.header_timeout),
            Some(_) => None,
        };
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_header_size(limits.header_bytes)
            .max_buf_size(MAX_BUFFER.max(limits.header_bytes));
        if limits.headers != HYPER_HEADERS {
            http1.max_headers(limits.headers);
        }
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(H2_PING)
            .keep_alive_timeout(H2_PONG)
            .max_concurrent_streams(H2_STREAMS)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(H2_SEND_BUFFER);
        Self {
            http1,
            http2,
            limits,
            admission,
            handover,
        }
    }

    /// Serves one connection to its end, or to the end of all.
    pub(crate) async fn serve<S, B>(
        &self,
        mut stream: TcpStream,
        addr: SocketAddr,
        greeting: Greeting,
        stack: S,
        mut phase: PhaseWatch,
    ) where
        S: Stack<B>,
        B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        if let Err(error) = self.tune(&stream) {
            // The client has hung up already.
            tracing::debug!(%error, "cannot set socket options");
            return;
        }
        let introduced = Box::pin(self.introduced(&mut stream, addr, greeting.proxied));
        let Some(Ok(addr)) = phase.while_serving(introduced).await else {
            return;
        };
        let Ok(_place) = self.admission.connect(addr.ip()) else {
            return;
        };
        let peer = Peer::new(addr, greeting.tls.is_some());
        let io = WriteDeadline::new(stream, self.limits.write_timeout);
        let connection = match greeting.tls {
            None => {
                let sniff = Box::pin(self.sniff(io.get_ref()));
                let Some(is_h2) = phase.while_serving(sniff).await else {
                    return;
                };
                let stack = Arriving::new(stack, greeting.redirect.map(Arrival::Misplaced));
                self.drive(io, is_h2, peer, stack, phase)
            }
            // Boxed, and its result moved on before the next wait: or every
            // connection, in clear too, would keep room for a TLS session,
            // 0.9 KiB.
            Some(tls) => {
                let terms = tls.terms();
                let shaking = shake_hands(terms.acceptor(), io, tls.metrics());
                let handshake = Box::pin(shaking);
                let Some(Some(io)) = phase.while_serving(handshake).await else {
                    return;
                };
                let session = io.get_ref().1;
                let is_h2 = match session.alpn_protocol() {
                    // What was to be seen was the certificate.
                    Some(acme::PROTOCOL) => return,
                    protocol => protocol == Some(b"h2"),
                };
                let identity = terms.identity(session.peer_certificates()).map(Arc::new);
                let stack = Arriving::new(stack, identity.map(Arrival::Identified));
                let stack = SetResponseHeader::if_not_present(
                    stack,
                    STRICT_TRANSPORT_SECURITY,
                    terms.hsts().cloned(),
                );
                drop(terms);
                self.drive(io, is_h2, peer, stack, phase)
            }
        };
        let result = connection.await;
        if let Err(error) = result {
            tracing::debug!(error = &*error as &dyn Error, "client connection broke");
        }
    }

    /// Whose connection it is. Behind balancers that say so, it is they who may
    /// connect, and nobody else.
    async fn introduced(
        &self,
        stream: &mut TcpStream,
        addr: SocketAddr,
        proxied: Option<Arc<Networks>>,
    ) -> Result<SocketAddr, Refused> {
        let Some(from) = proxied else {
            return Ok(addr);
        };
        let refused = |why: &dyn std::fmt::Display| {
            tracing::debug!(%addr, %why, "no PROXY header was taken");
            self.admission.refusals.count(Reason::ProxyProtocol);
            Refused
        };
        if !from.contain(addr.ip()) {
            return Err(refused(&"it is not in `proxy_protocol.from`"));
        }
        let read = preface::read(stream).await;
        read.map(|client| client.unwrap_or(addr))
            .map_err(|broken| refused(&broken))
    }

    /// What holds for the requests of a new connection.
    fn terms(&self) -> Terms {
        let idle = self.limits.idle_timeout;
        let age = self.limits.max_connection_age.map(|age| {
            // Those that came together should not go together.
            let spread = age.as_secs_f64() * (0.9 + 0.2 * fastrand::f64());
            Duration::try_from_secs_f64(spread).unwrap_or(age)
        });
        Terms::new(
            idle.map(|idle| Activity::new(self.limits.header_timeout, idle)),
            age.and_then(|age| Instant::now().checked_add(age)),
        )
    }

    fn tune(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(PROBE_INTERVAL);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(
            self.limits
                .write_timeout
                .clamp(UNACKNOWLEDGED, MOST_UNACKNOWLEDGED),
        ))?;
        Ok(())
    }

    /// Whether a cleartext client speaks HTTP/2 from the start. Its preface
    /// begins like no HTTP/1 method does; the bytes are left to be read.
    async fn sniff(&self, stream: &TcpStream) -> bool {
        const PREFACE: &[u8; 3] = b"PRI";
        let peek = || {
            let mut head = [0; PREFACE.len()];
            let peeked = stream.peek(&mut head).now_or_never();
            let count = peeked.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))?;
            if count > 0 && count < PREFACE.len() && PREFACE.starts_with(&head[..count]) {
                // Not enough to tell. Said in these words, it means: call again
                // when there is more than there was.
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(head == *PREFACE)
        };
        let sniffed = async {
            loop {
                let ready = stream.ready(Interest::READABLE).await?;
                match stream.try_io(Interest::READABLE, peek) {
                    // After its end a socket is ready for ever, and what came
                    // before it never more: asking again would never pause.
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock && ready.is_read_closed() => {
                        return Ok(false);
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    sniffed => return sniffed,
                }
            }
        };
        // If it failed, or nothing came, HTTP/1 will find out the same and end.
        let limit = self.limits.header_timeout;
        matches!(tokio::time::timeout(limit, sniffed).await, Ok(Ok(true)))
    }

    /// Boxed by protocol, so that a connection is no larger than what it
    /// speaks, and what preceded it is gone.
    fn drive<'a, I, S, B>(
        &'a self,
        io: I,
        is_h2: bool,
        peer: Peer,
        stack: S,
        phase: PhaseWatch,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Stack<B>,
        B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        if is_h2 {
            Box::pin(self.http2(io, peer, stack, phase))
        } else {
            Box::pin(self.http1(io, peer, stack, phase))
        }
    }

    async fn http2<I, S, B>(
        &self,
        io: I,
        peer: Peer,
        stack: S,
        mut phase: PhaseWatch,
    ) -> Result<(), BoxError>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Stack<B>,
        B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let asked = Arc::<AtomicBool>::default();
        let first = Arc::clone(&asked);
        let terms = self.terms();
        let mut retire = Retire::new(&terms, Farewell::InOrder);
        let service = service_fn(move |mut request: Request<Incoming>| {
            first.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer);
            terms.apply(&mut request);
            stack.clone().oneshot(request)
        });
        let connection = self.http2.serve_connection(TokioIo::new(io), service);
        let mut connection = Box::pin(connection);
        tokio::select! {
            result = until_done(&mut connection, &mut phase, &mut retire, || None::<Infallible>) => match result {
                Some(Done::Over(result)) => Ok(result?),
                Some(Done::Left(never)) => match never {},
                None => Ok(()),
            },
            () = unasked(self.limits.header_timeout, &asked) => Ok(()),
        }
    }

    /// HTTP/1.1, which hyper speaks but for event streams (see `handover`).
    async fn http1<I, S, B>(
        &self,
        io: I,
        peer: Peer,
        stack: S,
        mut phase: PhaseWatch,
    ) -> Result<(), BoxError>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Stack<B>,
        B: Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let (mut io, mut ahead) = (io, BytesMut::new());
        let mut terms = self.terms();
        loop {
            let handover = Handover::new();
            let service = HandingOver::new(
                peer,
                terms.clone(),
                stack.clone(),
                handover.clone(),
                self.handover,
            );
            let rewind = Rewind::new(io, ahead, handover.clone(), terms.activity());
            let connection = self.http1.serve_connection(TokioIo::new(rewind), service);
            let mut connection = Box::pin(connection);
            // A head that is half there would keep it from ending in order.
            let mut retire = Retire::new(&terms, Farewell::AtOnce);
            let left = || handover.take();
            let taken = match until_done(&mut connection, &mut phase, &mut retire, left).await {
                Some(Done::Left(taken)) => taken,
                Some(Done::Over(result)) => return Ok(result?),
                None => return Ok(()),
            };
            // In a block: hyper's buffer, empty or not, is to go right away.
            let (socket, read) = {
                let parts = Pin::into_inner(connection).into_parts();
                parts.io.into_inner().into_parts(&parts.read_buf)
            };
            let last = phase.has_reached(Phase::Draining);
            // Boxed before anything is waited for, as is all that is large.
            let taken = match taken.joined() {
                Ok(joined) => Err(Box::pin(joined.run(socket, read, self.limits.tunnel_idle))),
                Err(taken) => Ok(Box::pin(EventStream::new(socket, read, taken, last))),
            };
            let stream = match taken {
                Ok(stream) => stream,
                Err(tunnel) => return Ok(phase.until_aborted(tunnel).await.unwrap_or(Ok(()))?),
            };
            let Some(mut kept) = phase.until_aborted(stream).await.transpose()?.flatten() else {
                return Ok(());
            };
            if kept.close || terms.is_over() || phase.has_reached(Phase::Draining) {
                let close = Box::pin(async move { kept.io.shutdown().await });
                return Ok(phase.until_aborted(close).await.unwrap_or(Ok(()))?);
            }
            (io, ahead) = (kept.io, kept.ahead);
            terms.rested();
        }
    }
}

/// The server's side of a TLS handshake; `None` if it failed.
async fn shake_hands<I>(acceptor: TlsAcceptor, io: I, metrics: &TlsMetrics) -> Option<TlsStream<I>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(io)).await {
        Ok(Ok(mut io)) => {
            io.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
            Some(io)
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            metrics.failed(HandshakeFailure::of(&error));
            None
        }
        Err(_) => {
            metrics.failed(HandshakeFailure::Timeout);
            None
        }
    }
}

/// Resolves if nothing was asked for within `limit`. HTTP/1 has a timeout of
/// its own; HTTP/2 would wait for ever, for the rest of its preface even.
async fn unasked(limit: Duration, asked: &AtomicBool) {
    tokio::time::sleep(limit).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// How driving a connection ended.
enum Done<T> {
    /// It is over.
    Over(hyper::Result<()>),
    /// It left something, and is not to be driven any further.
    Left(T),
}

/// Drives a connection through the phases of the server, until it is over or
/// `left` has something; `None` if it was told to stop, and is to be dropped
/// with whatever was left to say.
///
/// It comes boxed, because pinning it here would take its size twice, as the
/// argument and as what is pinned: 0.7 KiB more per client.
async fn until_done<C, T>(
    connection: &mut Pin<Box<C>>,
    phase: &mut PhaseWatch,
    retire: &mut Retire,
    mut left: impl FnMut() -> Option<T>,
) -> Option<Done<T>>
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut next = Phase::Draining;
    loop {
        let done = poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Done::Over(result)),
            Poll::Pending => left().map_or(Poll::Pending, |left| Poll::Ready(Done::Left(left))),
        });
        tokio::select! {
            // The phase first: a response that came later is to know of it.
            biased;
            () = phase.reached(next) => match next {
                Phase::Aborted => return None,
                _ => next = Phase::Aborted,
            },
            farewell = poll_fn(|cx| retire.poll(cx)) => match farewell {
                Farewell::InOrder => {}
                Farewell::AtOnce => return None,
            },
            done = done => return Some(done),
        }
        connection.as_mut().graceful_shutdown();
    }
}
