use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::greeting::Greeting;

/// Between looks at the files. By content: what orchestrators mount is changed
/// by exchanging a link, which times and notifications do not tell of.
const INTERVAL: Duration = Duration::from_secs(5);

/// Looks for ever whether the files of a listener have changed.
pub(crate) async fn watch(listener: Arc<ArcSwap<Greeting>>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(tls) = listener.load().tls.clone() else {
            continue;
        };
        let looked = tokio::task::spawn_blocking(move || tls.look());
        if let Err(error) = looked.await {
            tracing::error!(%error, "cannot look at the certificates");
        }
    }
}
