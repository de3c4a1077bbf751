//! Listening sockets that whoever started the process has bound for it.
//!
//! systemd does (`sse-proxy.socket`): the socket outlives the process, and who
//! connects while the next one starts waits in the kernel's queue. A socket
//! belongs to the listener that has its address.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

/// Sockets nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(SocketAddr, TcpListener)>,
}

impl Inherited {
    /// Takes what `LISTEN_FDS` speaks of, which can be done once.
    pub fn from_environment() -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::with_capacity(passed.len());
        for number in 0..passed.len() {
            if let Some(socket) = passed.take_tcp_listener(number)? {
                sockets.push((socket.local_addr()?, socket));
            }
        }
        Ok(Self { sockets })
    }

    /// The socket that listens at this address.
    pub(crate) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.sockets.iter().position(|(at, _)| *at == address)?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// The addresses of those that nobody took.
    pub(crate) fn left(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().map(|(address, _)| *address)
    }
}
