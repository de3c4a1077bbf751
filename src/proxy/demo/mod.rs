//! `sse-proxy demo`: what the proxy is for, to be watched in a browser.
//!
//! Three things run: a legacy `backend` that keeps dying, a `page` that
//! reads its stream twice, directly and through the proxy, and the proxy before
//! both. The proxy is the real one, with an ordinary configuration
//! (`demo.yaml`); the demo only starts the other two and hands it over.

mod backend;
mod page;
mod reply;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::backend::{Backend, State};
use super::config::Config;

/// The running backend and page; they end when this is dropped.
#[derive(Debug)]
pub struct Demo {
    config: Config,
    _running: JoinSet<()>,
}

impl Demo {
    /// Starts backend and page on free loopback ports, and makes the
    /// configuration of a proxy on `listen` before them.
    pub async fn start(listen: SocketAddr) -> io::Result<Self> {
        let (state, states) = watch::channel(State::Serving);
        let backend = Backend::bind(state).await?;
        let page = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let config = configure(listen, backend.address(), page.local_addr()?)?;

        let mut running = JoinSet::new();
        running.spawn(page::serve(page, backend.address(), states));
        running.spawn(backend.run());
        Ok(Self {
            config,
            _running: running,
        })
    }

    /// What the proxy is to run.
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// What to tell whoever started the demo, once the proxy listens.
    pub fn invitation(mut proxy: SocketAddr) -> String {
        if proxy.ip().is_unspecified() {
            proxy.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!(
            "\nOpen http://{proxy}/ to watch one stream twice: directly, and through the proxy.\n\
             Or in a terminal:  curl -N http://{proxy}/events\n\n"
        )
    }
}

fn configure(listen: SocketAddr, backend: SocketAddr, page: SocketAddr) -> io::Result<Config> {
    let addresses = |name: &str| match name {
        "LISTEN" => Some(listen.to_string()),
        "BACKEND" => Some(backend.to_string()),
        "PAGE" => Some(page.to_string()),
        _ => None,
    };
    Config::parse("demo.yaml", include_str!("demo.yaml"), &addresses).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_right() {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let config = configure(address(1), address(2), address(3)).unwrap();
        assert_eq!(config.listeners[0].address, address(1));
        assert_eq!(config.routes[0].upstream, "http://127.0.0.1:2");
        assert_eq!(config.warnings(), [""; 0]);
    }
}
