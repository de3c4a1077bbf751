//! What is compared: how each peer is configured and started.

mod caddy;
mod haproxy;
mod nginx;
mod pushpin;
mod sse_proxy;
mod template;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::process::{Core, Process};
use crate::tls::Certificate;

/// One of those compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// No proxy at all: the origin itself is measured
    Direct,
    /// sse-proxy, all clients on one shared stream
    Shared,
    /// sse-proxy, a stream for each client
    Private,
    /// nginx, without buffering
    Nginx,
    /// `HAProxy`
    Haproxy,
    /// Caddy, flushing at once
    Caddy,
    /// Pushpin, passing through to the origin
    Pushpin,
    /// nginx with nchan as a hub the origin publishes to
    Nchan,
}

/// Where a peer stands and what it is to do.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) origin: SocketAddr,
    /// Empty, and the peer's own.
    pub(crate) directory: &'a Path,
    pub(crate) core: Core,
    pub(crate) workers: usize,
    /// Descriptors a process may have.
    pub(crate) files: usize,
    /// Clients are to come by TLS.
    pub(crate) certificate: Option<&'a Certificate>,
    /// What is sent must be kept for a while, or for slow readers.
    pub(crate) large_buffer: bool,
    /// Another sse-proxy than the one built along.
    pub(crate) proxy: &'a Path,
}

/// A peer that is up.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// Where the origin is to publish, if this is a hub.
    pub(crate) hub: Option<SocketAddr>,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Shared => "sse-proxy shared",
            Self::Private => "sse-proxy private",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
            Self::Pushpin => "pushpin",
            Self::Nchan => "nchan",
        }
    }

    /// Where its clients' streams are.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Shared => "/shared",
            Self::Private => "/private",
            _ => "/events",
        }
    }

    /// Whether what it is sent once goes to all its clients.
    pub(crate) fn fans_out(self) -> bool {
        matches!(self, Self::Shared | Self::Nchan)
    }

    /// What it says of its version; none if it is not installed.
    pub(crate) fn version(self, proxy: &Path) -> Option<String> {
        match self {
            Self::Direct => Some("the origin itself".to_owned()),
            Self::Shared | Self::Private => said(Command::new(proxy).arg("--version")),
            Self::Nginx => said(Command::new("nginx").arg("-v")),
            Self::Haproxy => said(Command::new("haproxy").arg("-v")),
            Self::Caddy => said(Command::new("caddy").arg("version")),
            Self::Pushpin => pushpin::version(),
            Self::Nchan => nginx::hub_version(),
        }
    }

    /// Starts it; there is nothing to start for `Direct`.
    pub(crate) fn start(self, setting: &Setting<'_>) -> io::Result<Option<Running>> {
        match self {
            Self::Direct => Ok(None),
            Self::Shared | Self::Private => sse_proxy::start(setting).map(Some),
            Self::Nginx => nginx::proxy(setting).map(Some),
            Self::Haproxy => haproxy::start(setting).map(Some),
            Self::Caddy => caddy::start(setting).map(Some),
            Self::Pushpin => pushpin::start(setting).map(Some),
            Self::Nchan => nginx::hub(setting).map(Some),
        }
    }
}

/// The first line of what a program prints.
fn said(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let bytes = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Some(text.lines().next()?.trim().to_owned())
}

/// Starts a program and waits until it accepts connections.
fn await_listening(
    name: &'static str,
    mut command: Command,
    address: SocketAddr,
    setting: &Setting<'_>,
) -> io::Result<Running> {
    let log = setting.directory.join("output");
    let output = std::fs::File::create(&log)?;
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let mut process = Process::start(name, command)?;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if TcpStream::connect(address).is_ok() {
            return Ok(Running {
                process,
                address,
                hub: None,
            });
        }
        let ended = process.alive().err();
        if ended.is_some() || Instant::now() > deadline {
            let said = std::fs::read_to_string(&log)?;
            let said = said.lines().last().unwrap_or("nothing");
            let how = ended.map_or_else(|| "does not listen".to_owned(), |e| e.to_string());
            return Err(io::Error::other(format!("{name}: {how}; it said: {said}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
}
