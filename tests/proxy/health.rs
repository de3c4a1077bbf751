//! Servers that fail their checks get no requests, until they pass again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tower_sse::proxy::config::model::HealthCheck;

use crate::harness::{Proxy, config, eventually};
use crate::upstream::{Upstream, header};

const UP: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup";
const DOWN: &str = "HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\ndown";

async fn switchable() -> (Upstream, Arc<AtomicBool>) {
    let healthy = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&healthy);
    let upstream = Upstream::start(move |mut connection| {
        let healthy = Arc::clone(&switch);
        async move {
            while let Some((head, _)) = connection.request().await {
                let is_check = head.starts_with("GET /healthz?deep=1 ");
                let up = !is_check || healthy.load(Ordering::SeqCst);
                connection.send(if up { UP } else { DOWN }).await;
            }
        }
    })
    .await;
    (upstream, healthy)
}

#[tokio::test]
async fn a_server_goes_down_and_comes_up() {
    let (upstream, healthy) = switchable().await;
    let mut config = config(&[upstream.url()]);
    config.upstreams.get_mut("app").unwrap().health_check = Some(HealthCheck::new(
        "/healthz?deep=1".into(),
        Duration::from_millis(20),
    ));
    let proxy = Proxy::start(config).await;
    assert_eq!(proxy.get("/").await.text(), "up");
    assert_eq!(proxy.ask_admin("/readyz").await.text(), "ready\n");
    eventually("a check is sent", || async {
        upstream
            .heads()
            .iter()
            .any(|head| head.starts_with("GET /healthz"))
    })
    .await;

    healthy.store(false, Ordering::SeqCst);
    eventually("not ready", || async {
        proxy.ask_admin("/readyz").await.status == 503
    })
    .await;
    let unready = proxy.ask_admin("/readyz").await;
    assert_eq!(unready.text(), "upstream app: no healthy server\n");
    let refused = proxy.get("/").await;
    assert_eq!(
        (refused.status.as_u16(), refused.text()),
        (503, "no healthy upstream server\n")
    );
    assert_eq!(proxy.ask_admin("/healthz").await.status, 200);
    let metrics = proxy.ask_admin("/metrics").await;
    assert!(
        metrics
            .text()
            .contains("sse_server_up{upstream=\"app\",server="),
        "{}",
        metrics.text()
    );

    healthy.store(true, Ordering::SeqCst);
    eventually("ready again", || async {
        proxy.ask_admin("/readyz").await.status == 200
    })
    .await;
    assert_eq!(proxy.get("/").await.text(), "up");

    let heads = upstream.heads();
    let check = heads
        .iter()
        .find(|head| head.starts_with("GET /healthz"))
        .unwrap();
    assert_eq!(header(check, "host"), Some(&*upstream.addr().to_string()));
}

#[tokio::test]
async fn only_the_failing_server_is_avoided() {
    let (good, _) = switchable().await;
    let (bad, healthy) = switchable().await;
    healthy.store(false, Ordering::SeqCst);
    let mut config = config(&[bad.url(), good.url()]);
    config.upstreams.get_mut("app").unwrap().health_check = Some(HealthCheck::new(
        "/healthz?deep=1".into(),
        Duration::from_millis(20),
    ));
    let proxy = Proxy::start(config).await;
    eventually("the metric shows it", || async {
        let metrics = proxy.ask_admin("/metrics").await;
        metrics
            .text()
            .lines()
            .any(|line| line.starts_with("sse_server_up") && line.ends_with(" 0"))
    })
    .await;
    let requests = || {
        bad.heads()
            .iter()
            .filter(|head| head.starts_with("GET / "))
            .count()
    };
    let before = requests();
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), "up");
    }
    assert_eq!(requests(), before);
    assert_eq!(proxy.ask_admin("/readyz").await.status, 200);
}
