//! Listening sockets, and why there is none.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::assembly::AssemblyError;
use super::config::model;
use super::greeting::Greeting;
use super::inherited::Inherited;
use super::tls::TlsError;

/// Connections the kernel completes before they are accepted. After a restart
/// every client comes back at once.
const BACKLOG: u32 = 4096;

/// Waited after an accept that failed for want of something: file
/// descriptors, mostly, which a closing connection will free.
const BACKOFF: Duration = Duration::from_millis(100);

/// A bound socket and how its connections begin.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    greeting: Arc<ArcSwap<Greeting>>,
}

/// Why the proxy could not start.
#[derive(Debug)]
pub struct BindError(Cause);

#[derive(Debug)]
enum Cause {
    Listen {
        address: SocketAddr,
        error: io::Error,
    },
    Tls {
        address: SocketAddr,
        error: TlsError,
    },
    Assembly(AssemblyError),
    Workers(io::Error),
    AccessLog(io::Error),
}

impl Listener {
    pub(crate) fn bind(listener: &model::Listener, greeting: Greeting) -> Result<Self, BindError> {
        Self::inherit(listener, greeting, &mut Inherited::default())
    }

    /// Takes the socket that is there for it already, or binds one.
    pub(crate) fn inherit(
        listener: &model::Listener,
        greeting: Greeting,
        inherited: &mut Inherited,
    ) -> Result<Self, BindError> {
        let address = listener.address;
        let failed = |error| BindError(Cause::Listen { address, error });
        let socket = match inherited.take(address) {
            Some(socket) => adopt(socket),
            None => listen(address, listener.reuse_port),
        };
        let bound = Self::new(socket.map_err(failed)?).map_err(failed)?;
        bound.greeting.store(Arc::new(greeting));
        Ok(bound)
    }

    fn new(socket: TcpListener) -> io::Result<Self> {
        Ok(Self {
            address: socket.local_addr()?,
            socket,
            greeting: Arc::default(),
        })
    }

    pub(crate) fn bind_plain(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |error| BindError(Cause::Listen { address, error });
        Self::new(listen(address, false).map_err(failed)?).map_err(failed)
    }

    /// The address bound, with the port that was taken.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How connections begin that are accepted now.
    pub(crate) fn greeting(&self) -> Greeting {
        Greeting::clone(&self.greeting.load())
    }

    /// Where it is said how connections begin.
    pub(crate) fn greetings(&self) -> Arc<ArcSwap<Greeting>> {
        Arc::clone(&self.greeting)
    }

    /// The same socket, of whose clients the runtime that this is called in is
    /// told.
    pub(crate) fn adopted(self) -> io::Result<Self> {
        let socket = TcpListener::from_std(self.socket.into_std()?)?;
        Ok(Self { socket, ..self })
    }

    /// The next connection, whatever accepting it takes.
    pub(crate) async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    let address = self.address;
                    tracing::error!(%address, %error, "cannot accept; raise the open file limit?");
                    tokio::time::sleep(BACKOFF).await;
                }
            }
        }
    }
}

fn adopt(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

fn listen(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Else a restart would wait for the old connections to time out.
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(reuse_port)?;
    #[cfg(not(unix))]
    let _ = reuse_port;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

// === impl BindError ===

impl BindError {
    pub(crate) fn tls(address: SocketAddr, error: TlsError) -> Self {
        Self(Cause::Tls { address, error })
    }

    pub(crate) fn workers(error: io::Error) -> Self {
        Self(Cause::Workers(error))
    }

    pub(crate) fn access_log(error: io::Error) -> Self {
        Self(Cause::AccessLog(error))
    }
}

impl From<AssemblyError> for BindError {
    fn from(error: AssemblyError) -> Self {
        Self(Cause::Assembly(error))
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Listen { address, error } => {
                write!(f, "cannot listen on {address}: ")?;
                match error.kind() {
                    io::ErrorKind::AddrInUse => write!(
                        f,
                        "the address is in use; stop the process that has it \
                         (`ss -ltnp` names it) or choose another port"
                    ),
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "permission denied; use a port from 1024 up \
                         or grant the capability CAP_NET_BIND_SERVICE"
                    ),
                    io::ErrorKind::AddrNotAvailable => write!(
                        f,
                        "no interface has this address; use 0.0.0.0 or [::] for all of them"
                    ),
                    _ => write!(f, "{error}"),
                }
            }
            Cause::Tls { address, error } => write!(f, "cannot serve TLS on {address}: {error}"),
            Cause::Workers(error) => write!(
                f,
                "cannot start worker threads: {error}; raise the limit of processes (ulimit -u)"
            ),
            Cause::AccessLog(error) => write!(
                f,
                "cannot open the access log {error}; let the proxy's user write there"
            ),
            Cause::Assembly(AssemblyError::UnknownUpstream(name)) => {
                write!(
                    f,
                    "a route leads to the upstream {name}, which is not configured"
                )
            }
            Cause::Assembly(AssemblyError::InvalidUpstream(name)) => write!(
                f,
                "upstream {name}: servers must be http:// or https:// with a host, \
                 and a health check's path must begin with /"
            ),
            Cause::Assembly(AssemblyError::Roots(error)) => write!(
                f,
                "no certificate authorities to verify https upstreams by ({error}); \
                 install ca-certificates or point SSL_CERT_FILE at a PEM file"
            ),
            Cause::Assembly(AssemblyError::UpstreamTls(text)) => f.write_str(text),
            Cause::Assembly(AssemblyError::Journal(error)) => error.fmt(f),
            Cause::Assembly(AssemblyError::Acme(error)) => error.fmt(f),
            Cause::Assembly(AssemblyError::Access(error)) => error.fmt(f),
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Cause::Listen { error, .. }
            | Cause::Workers(error)
            | Cause::AccessLog(error)
            | Cause::Assembly(AssemblyError::Roots(error)) => Some(error),
            Cause::Tls { error, .. } => Some(error),
            Cause::Assembly(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_errors_say_what_to_do() {
        let cases = [
            (io::ErrorKind::AddrInUse, "in use", "another port"),
            (
                io::ErrorKind::PermissionDenied,
                "permission denied",
                "CAP_NET_BIND_SERVICE",
            ),
            (io::ErrorKind::AddrNotAvailable, "no interface", "0.0.0.0"),
        ];
        for (kind, cause, remedy) in cases {
            let address = "192.0.2.1:80".parse().unwrap();
            let error = io::Error::from(kind);
            let text = BindError(Cause::Listen { address, error }).to_string();
            assert!(text.contains("192.0.2.1:80"), "{text}");
            assert!(text.contains(cause) && text.contains(remedy), "{text}");
        }
    }
}
