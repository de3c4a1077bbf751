//! Clients and servers of the Model Context Protocol, which can be cut in the
//! middle of a call that is executed once.
//!
//! `docs/mcp.md` says what each of these tests shows.

mod calls;
mod ownership;
mod sdks;
mod servers;
#[path = "../../../examples/mcp_server/sessions.rs"]
mod sessions;
mod stores;
mod versions;

use crate::harness::{Process, Proxy, Relay};
use sdks::{Sdk, Task};
use servers::{Kind, Server};

/// Comes back sooner than it would with the profile's own `retry`.
const PROFILE: &str = "profile: mcp, heartbeat: 100ms, retry: 20ms..50ms";

/// A server behind the proxy, and a network that can fail on either side of it.
struct World {
    server: Server,
    /// Between proxy and server.
    upstream: Relay,
    _proxy: Proxy,
    /// Between client and proxy.
    network: Relay,
}

impl World {
    async fn of(kind: Kind) -> Self {
        let server = Server::start(kind).await;
        let upstream = Relay::to(server.url()).await;
        let proxy = Proxy::start(upstream.url(), PROFILE).await;
        let network = Relay::to(proxy.url()).await;
        Self {
            server,
            upstream,
            _proxy: proxy,
            network,
        }
    }

    /// A client that makes this many calls, each counting to two.
    async fn client(&self, sdk: Sdk, calls: usize) -> Process {
        self.client_for(sdk, calls, 60).await
    }

    /// The same, that waits so many seconds for each.
    async fn client_for(&self, sdk: Sdk, calls: usize, timeout: usize) -> Process {
        let mut client = sdk.start(Task {
            server: self.network.url(),
            mode: "legacy",
            calls,
            steps: 2,
            timeout,
        });
        assert_eq!(client.report("connected").await["version"], "2025-11-25");
        client
    }
}
