//! A network between two processes, which can be cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::ports;

/// Passes bytes both ways until dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    network: watch::Sender<Network>,
    task: AbortHandle,
}

#[derive(Clone, Copy)]
struct Network {
    /// Connections are carried; else they are refused.
    up: bool,
    /// How often all connections were reset.
    resets: usize,
}

impl Relay {
    /// To a server given by host and port.
    pub(crate) async fn to(target: &str) -> Self {
        let target = target.parse().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
        let up = Network {
            up: true,
            resets: 0,
        };
        let (network, state) = watch::channel(up);
        let listener = TcpListener::bind(address).await.unwrap();
        let task = tokio::spawn(run(listener, target, state)).abort_handle();
        Self {
            address,
            network,
            task,
        }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Resets every connection; new ones are carried.
    pub(crate) fn reset(&self) {
        self.network.send_modify(|network| network.resets += 1);
    }

    /// Resets every connection, and refuses others until healed.
    pub(crate) fn cut(&self) {
        self.network.send_modify(|network| {
            network.up = false;
            network.resets += 1;
        });
    }

    pub(crate) fn heal(&self) {
        self.network.send_modify(|network| network.up = true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens while the network is up.
async fn run(listener: TcpListener, target: SocketAddr, mut state: watch::Receiver<Network>) {
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    loop {
        if !state.borrow_and_update().up {
            listener = None;
        } else if listener.is_none() {
            listener = Some(listen(address).await);
        }
        let Some(listener) = &listener else {
            if state.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            client = listener.accept() => if let Ok((client, _)) = client {
                tokio::spawn(carry(client, target, state.clone()));
            },
        }
    }
}

/// The port is nobody else's, but connections of before may linger on it.
async fn listen(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr, mut state: watch::Receiver<Network>) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    for socket in [&client, &server] {
        let _ = socket.set_nodelay(true);
    }
    let (up, resets) = {
        let network = state.borrow_and_update();
        (network.up, network.resets)
    };
    let cut = state.wait_for(|network| network.resets != resets || !network.up);
    let clean = tokio::select! {
        copied = copy_bidirectional(&mut client, &mut server), if up => copied.is_ok(),
        _ = cut => false,
    };
    if !clean {
        for socket in [&client, &server] {
            let _ = socket.set_zero_linger();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn talk(socket: &mut TcpStream) -> std::io::Result<()> {
        socket.write_all(b"x").await?;
        socket.read_exact(&mut [0]).await.map(drop)
    }

    #[tokio::test]
    async fn a_cut_relay_refuses_until_it_is_healed() {
        let relay = Relay::to(&echo().await).await;
        let connect = || TcpStream::connect(relay.address);
        let mut socket = connect().await.unwrap();
        talk(&mut socket).await.unwrap();
        relay.cut();
        assert!(socket.read(&mut [0]).await.is_err(), "it is reset");
        while connect().await.is_ok() {}
        relay.heal();
        let mut socket = loop {
            if let Ok(socket) = connect().await {
                break socket;
            }
        };
        talk(&mut socket).await.unwrap();
        relay.reset();
        assert!(socket.read(&mut [0]).await.is_err());
        talk(&mut connect().await.unwrap()).await.unwrap();
    }
}
