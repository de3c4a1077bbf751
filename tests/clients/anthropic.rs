//! The `anthropic` SDK for Python, which hands an event over one event late where
//! its lines end in CR LF and ours in LF: the proxy must not mix them.

use crate::harness::{Proxy, Relay, Scripted, python};

#[tokio::test]
async fn events_with_crlf_arrive_when_sent() {
    let backend = Scripted::start().await;
    let proxy = Proxy::start(backend.url(), "heartbeat: 100ms").await;
    let relay = Relay::to(proxy.url()).await;
    let mut client = python("anthropic_messages.py", &[relay.url()]);
    backend.requested(1).await;

    let stop = r#"{ "type": "content_block_stop", "index": 0 }"#;
    for _ in 0..3 {
        relay.heartbeats(1).await;
        backend.send(&format!(
            "event: content_block_stop\r\ndata: {stop}\r\n\r\n"
        ));
        // The next is not sent before this one has come.
        client.report("delta").await;
    }
    backend.send("event: message_stop\r\ndata: {\"type\": \"message_stop\"}\r\n\r\n");
    assert_eq!(client.report("delta").await["type"], "message_stop");
    backend.finish();
    client.report("done").await;
    assert_eq!(client.reports("error").len(), 0);
}
