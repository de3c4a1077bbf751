//! A network between a journal and Redis that fails on command.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Fine,
    /// Requests arrive, answers do not.
    Deaf,
    /// Nothing arrives, and nobody is told.
    Silent,
    /// Connections are reset, new ones too.
    Cut,
}

/// Passes bytes both ways, as the weather is.
pub(crate) struct Relay {
    port: u16,
    weather: Arc<watch::Sender<Weather>>,
}

impl Relay {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let weather = Arc::new(watch::Sender::new(Weather::Fine));
        let shared = Arc::clone(&weather);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, port, shared.subscribe()));
            }
        });
        Self { port: own, weather }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn carry(client: TcpStream, port: u16, mut weather: watch::Receiver<Weather>) {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(server) = TcpStream::connect(to).await else {
        return;
    };
    for socket in [&client, &server] {
        socket.set_nodelay(true).unwrap();
        socket.set_zero_linger().unwrap();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = copy(from_client, to_server, weather.clone(), &[Weather::Silent]);
    let down = copy(
        from_server,
        to_client,
        weather.clone(),
        &[Weather::Silent, Weather::Deaf],
    );
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = weather.wait_for(|now| *now == Weather::Cut) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    weather: watch::Receiver<Weather>,
    lost_in: &[Weather],
) {
    let mut buffer = vec![0; 16 * 1024];
    // What is lost in between would garble what follows, so nothing follows.
    let mut garbled = false;
    while let Ok(count) = from.read(&mut buffer).await {
        garbled |= lost_in.contains(&*weather.borrow());
        if count == 0 || (!garbled && to.write_all(&buffer[..count]).await.is_err()) {
            return;
        }
    }
}
