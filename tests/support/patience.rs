//! Waiting for what other processes do, on machines that do much else.

use std::time::Duration;

use tokio::time::Instant;

/// How a wait fails, and nothing else.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits for something that happens in its own time.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let until = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
