//! What an upstream may say beside its servers.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

/// What passes for a failing server without a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passive {
    /// So many failures in a row eject a server. Default 5.
    pub failures: u32,
    /// For how long. Default 10 s.
    pub eject: Duration,
}

impl Default for Passive {
    fn default() -> Self {
        Self {
            failures: 5,
            eject: Duration::from_secs(10),
        }
    }
}

/// What a request is known by that goes to the same server each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// A header's value.
    Header(HeaderName),
    /// The value of the cookie of that name.
    Cookie(String),
    /// The address it comes from, without the port.
    ClientAddress,
}

/// What is spoken to the servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN for `https`, with prior knowledge for `http`.
    Http2,
    /// By ALPN whichever the server prefers for `https`; HTTP/1.1 for `http`.
    Auto,
}

/// TLS towards the servers, where it is not the usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM file of the authorities that vouch for the servers, in place of the
    /// system's.
    pub ca: Option<PathBuf>,
    /// What the proxy shows the servers.
    pub identity: Option<Identity>,
    /// The name that is asked for, and verified, in place of the URL's host.
    pub server_name: Option<String>,
    /// Whoever answers is believed.
    pub insecure: bool,
}

/// PEM files of a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Chain, leaf first.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
}

/// The connections to each server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// How long an idle HTTP/1.1 connection is kept. Default 4 s.
    pub idle: Duration,
    /// How many are, at most. Default: as many as there are.
    pub max_idle: Option<usize>,
    /// Requests and responses open at a time. Default: as many as are asked for.
    pub max_open: Option<usize>,
    /// Of these on one HTTP/2 connection. Default 100.
    pub streams: usize,
    /// Silence on an HTTP/2 connection after which it is asked for a sign of
    /// life. Default 30 s.
    pub ping: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            // Before the shortest keep-alive in common use (Node's, 5 s) ends:
            // what is sent on a connection the server is just closing is lost,
            // and may not be sent again.
            idle: Duration::from_secs(4),
            max_idle: None,
            max_open: None,
            streams: 100,
            ping: Duration::from_secs(30),
        }
    }
}
