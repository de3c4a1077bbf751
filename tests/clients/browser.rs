//! A page in Chromium does not notice that its backend died and came back.

use crate::harness::{Process, Proxy, Relay, browser, node, port_to_return_to};

#[tokio::test]
async fn the_page_outlives_its_backend() {
    let port = port_to_return_to();
    let backend = express(port, "1").await;
    let proxy = Proxy::start(&format!("http://127.0.0.1:{port}"), "heartbeat: 100ms").await;
    let relay = Relay::to(proxy.url()).await;
    let (mut page, _profile) = browser(relay.url());
    ticks(&mut page, "run 1").await;

    backend.kill().await;
    // The client is kept company while there is nobody behind the proxy.
    relay.heartbeats(3).await;
    let mut backend = express(port, "2").await;
    backend.report("request").await;

    ticks(&mut page, "run 2").await;
    assert_eq!(page.reports("error"), Vec::<serde_json::Value>::new());
    assert_eq!(page.reports("page-error"), Vec::<serde_json::Value>::new());
    assert_eq!(page.reports("open").len(), 1);
    for message in page.reports("message") {
        assert_eq!(message["readyState"], 1, "{message}");
    }
    page.close().await;
}

/// The same without the proxy, to show that the page would notice.
#[tokio::test]
async fn without_the_proxy_the_page_sees_an_error() {
    let port = port_to_return_to();
    let backend = express(port, "1").await;
    let (mut page, _profile) = browser(&format!("http://127.0.0.1:{port}"));
    ticks(&mut page, "run 1").await;

    backend.kill().await;

    let error = page.report("error").await;
    assert_ne!(error["readyState"], 1, "{error}");
    page.close().await;
}

/// The Express backend, listening.
async fn express(port: u16, run: &str) -> Process {
    let mut backend = node("express_tutorial.mjs", &[&port.to_string(), run]);
    backend.report("listening").await;
    backend
}

/// Waits for three events of a backend's run.
async fn ticks(page: &mut Process, run: &str) {
    for _ in 0..3 {
        loop {
            let message = page.report("message").await;
            if message["data"].as_str().unwrap().starts_with(run) {
                break;
            }
        }
    }
}
