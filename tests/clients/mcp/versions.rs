//! From 2026-07-28 on, to close is to cancel, and nothing is resumed.

use super::{Kind, PROFILE, Sdk, Server, Task};
use crate::harness::{Proxy, Relay};

#[tokio::test]
async fn python_cancels_by_closing() {
    cancel(Sdk::Python).await;
}

#[tokio::test]
async fn typescript_2_cancels_by_closing() {
    cancel(Sdk::TypeScript2).await;
}

async fn cancel(sdk: Sdk) {
    let mut server = Server::start(Kind::Python).await;
    let proxy = Proxy::start(server.url(), PROFILE).await;
    let network = Relay::to(proxy.url()).await;
    let mut client = sdk.start(Task {
        server: network.url(),
        mode: "2026-07-28",
        calls: 2,
        steps: 1,
        timeout: 60,
    });
    client.report("connected").await;
    server.process().report("call").await;
    network.heartbeats(2).await;
    server.step().await;
    client.report("progress").await;
    server.step().await;
    assert_eq!(client.report("result").await["text"], "counted to 1");

    server.process().report("call").await;
    server.step().await;
    client.report("progress").await;
    client.kill().await;
    server.process().report("cancelled").await;
    assert!(!network.sent_to_clients().contains("\nid:"));
    assert_eq!(server.calls().await, 2);
}
