//! The proxy as a process: it says where it listens, and drains on a signal.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

use tokio::sync::oneshot;

use super::BindError;
use super::config::Config;
use super::inherited::Inherited;
use super::reload::Reloads;
use super::server::Server;
use super::supervisor;

/// Why a process did not end as it should.
#[derive(Debug)]
pub enum Failure {
    /// An address or a certificate cannot be had: the configuration, or the
    /// machine, is to be changed.
    Bind(BindError),
    /// The operating system refused something else.
    System(io::Error),
    /// A second signal came before the drain was over.
    Cut,
}

/// Runs until a signal was answered by a drain.
///
/// SIGTERM and SIGINT begin the drain; a second one ends it at once. SIGHUP
/// reads `file`, which the configuration came from, and puts it in force; where
/// it came from elsewhere, its certificates are read again.
///
/// Each listener is announced by one line on standard output, such as
/// `listening http://127.0.0.1:8080`, so that scripts can take port 0 and read
/// which one it became; then `announced` is called with the first. Sockets that
/// systemd has bound are taken, and it is told how the process does.
pub async fn run(
    config: Config,
    file: Option<PathBuf>,
    announced: impl FnOnce(SocketAddr),
) -> Result<(), Failure> {
    // Before the sockets: a signal must not find the default, which kills.
    let mut signals = Signals::new().map_err(Failure::System)?;
    let mut hangups = Hangups::new().map_err(Failure::System)?;
    let secure: Vec<bool> = config.listeners.iter().map(|l| l.tls.is_some()).collect();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let inherited = Inherited::from_environment().map_err(Failure::System)?;
    let server = Server::inherit(config.clone(), inherited)
        .await
        .and_then(|server| server.workers(cores));
    let server = server.map_err(Failure::Bind)?;
    announce(&server, &secure);
    if let Some(first) = server.listeners().first() {
        announced(*first);
    }

    let control = server.control();
    let mut reloads = Reloads::new(control.clone(), file, config);
    let reloading = async {
        loop {
            tokio::select! {
                () = hangups.next() => reloads.reload("SIGHUP").await,
                () = reloads.changed() => reloads.look().await,
            }
        }
    };
    let (begin, drain) = oneshot::channel();
    let watch = async {
        let name = signals.next().await;
        tracing::info!(signal = name, "draining; a second signal ends at once");
        supervisor::stopping();
        let _ = begin.send(());
        signals.next().await;
    };
    let drained = server.run(async {
        supervisor::ready();
        let _ = drain.await;
    });
    tokio::select! {
        () = drained => {
            tracing::info!("drained");
            Ok(())
        }
        () = watch => Err(Failure::Cut),
        () = reloading => Ok(()),
        () = supervisor::watch(control) => Ok(()),
    }
}

/// Tells scripts and operators where the proxy listens.
fn announce(server: &Server, secure: &[bool]) {
    let scheme = |secure: &bool| if *secure { "https" } else { "http" };
    let clients = server.listeners().iter().zip(secure);
    let clients = clients.map(|(at, secure)| format!("listening {}://{at}", scheme(secure)));
    let admin = server.admin().map(|at| format!("admin http://{at}"));

    let mut stdout = io::stdout().lock();
    for line in clients.chain(admin) {
        tracing::info!("{}", line.replacen(' ', " on ", 1));
        // Nobody may be reading; that is no reason to stop.
        let _ = writeln!(stdout, "{line}");
    }
    let _ = stdout.flush();
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::System(error) => error.fmt(f),
            Self::Cut => f.write_str("ended by a second signal before everything was drained"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Displayed as their own text already.
            Self::Bind(error) => error.source(),
            Self::System(error) => error.source(),
            Self::Cut => None,
        }
    }
}

// === signals ===

#[cfg(unix)]
struct Hangups(tokio::signal::unix::Signal);

#[cfg(unix)]
impl Hangups {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::hangup()).map(Self)
    }

    async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
struct Hangups;

#[cfg(not(unix))]
impl Hangups {
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        std::future::pending().await
    }
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal and names it.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        let _ = tokio::signal::ctrl_c().await;
        "Ctrl-C"
    }
}
