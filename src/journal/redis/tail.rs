//! How followers hear that there is something to read.
//!
//! A blocking `XREAD` would be the obvious way, but it holds its connection,
//! cannot be told of another stream while it waits, and in a cluster takes only
//! keys of one slot. So there is one connection per process on which the
//! channels of all streams followed are subscribed to; what is published there
//! says only *that* something happened. Records are then read on the connection
//! on which everything is asked, when the stream wants them. What was not heard
//! because this connection was down is noticed when it is back, and in any case
//! at the follower's next beat.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::RedisResult;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::keeper::Shared;
use super::lock::Lock;

/// How long to wait before another attempt to listen.
const PAUSE: Duration = Duration::from_millis(250);

/// Which channels are to be listened on, and for which places.
#[derive(Debug, Default)]
pub(super) struct Hub {
    wanted: Lock<HashMap<String, HashSet<u64>>>,
    changed: Notify,
}

impl Hub {
    pub(super) fn join(&self, channel: &str, id: u64) {
        let mut wanted = self.wanted.lock();
        if let Some(ids) = wanted.get_mut(channel) {
            ids.insert(id);
            return;
        }
        wanted.insert(channel.to_owned(), HashSet::from([id]));
        self.changed.notify_one();
    }

    pub(super) fn leave(&self, channel: &str, id: u64) {
        let mut wanted = self.wanted.lock();
        let Some(ids) = wanted.get_mut(channel) else {
            return;
        };
        ids.remove(&id);
        if ids.is_empty() {
            wanted.remove(channel);
            self.changed.notify_one();
        }
    }

    /// Channels to subscribe to, and to leave, for who listens on these.
    fn difference(&self, subscribed: &HashSet<String>) -> (Vec<String>, Vec<String>) {
        let wanted = self.wanted.lock();
        let missing = wanted
            .keys()
            .filter(|channel| !subscribed.contains(*channel));
        let idle = subscribed
            .iter()
            .filter(|channel| !wanted.contains_key(*channel));
        (missing.cloned().collect(), idle.cloned().collect())
    }
}

/// Listens for as long as it is polled.
pub(super) async fn listen(shared: Arc<Shared>) {
    loop {
        if let Ok(connection) = shared.client.listen().await {
            let (sink, stream) = connection.split();
            // How it ended does not matter: another one is made.
            let _ = listen_on(&shared, sink, stream).await;
        }
        sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
    }
}

async fn listen_on(
    shared: &Shared,
    mut sink: PubSubSink,
    mut stream: PubSubStream,
) -> RedisResult<()> {
    let mut subscribed = HashSet::new();
    let own = &shared.common.process;
    sink.subscribe(own).await?;
    loop {
        let (missing, idle) = shared.hub.difference(&subscribed);
        if !missing.is_empty() {
            sink.subscribe(&missing).await?;
            shared.may_have_missed(&missing);
            subscribed.extend(missing);
        }
        if !idle.is_empty() {
            sink.unsubscribe(&idle).await?;
            for channel in &idle {
                subscribed.remove(channel);
            }
        }
        tokio::select! {
            () = shared.hub.changed.notified() => {}
            message = stream.next() => {
                let Some(message) = message else {
                    return Ok(());
                };
                let channel = message.get_channel_name();
                if channel == own {
                    let meta = String::from_utf8_lossy(message.get_payload_bytes());
                    shared.heard(&meta, b"readers");
                } else {
                    shared.heard(channel, message.get_payload_bytes());
                }
            }
        }
    }
}
