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
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Msg, RedisResult, Value};
use tokio::sync::Notify;
use tokio::time::{interval, sleep};

use super::keeper::Shared;
use super::lock::Lock;

/// How long to wait before another attempt to listen.
const PAUSE: Duration = Duration::from_millis(250);

/// How often it is seen whether the connection is alive.
const PING: Duration = Duration::from_secs(5);

/// Which channels are to be listened on, and for which places.
#[derive(Debug, Default)]
pub(super) struct Hub {
    channels: Lock<Channels>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Channels {
    wanted: HashMap<String, HashSet<u64>>,
    /// Those that may be wanted now and were not, or the other way round.
    changed: HashSet<String>,
}

impl Hub {
    pub(super) fn join(&self, channel: &str, id: u64) {
        let mut channels = self.channels.lock();
        if let Some(ids) = channels.wanted.get_mut(channel) {
            ids.insert(id);
            return;
        }
        let ids = HashSet::from([id]);
        channels.wanted.insert(channel.to_owned(), ids);
        channels.changed.insert(channel.to_owned());
        drop(channels);
        self.changed.notify_one();
    }

    pub(super) fn leave(&self, channel: &str, id: u64) {
        let mut channels = self.channels.lock();
        let Some(ids) = channels.wanted.get_mut(channel) else {
            return;
        };
        ids.remove(&id);
        if !ids.is_empty() {
            return;
        }
        channels.wanted.remove(channel);
        channels.changed.insert(channel.to_owned());
        drop(channels);
        self.changed.notify_one();
    }

    /// Who listens is new, and on nothing yet.
    fn begin(&self) {
        let mut channels = self.channels.lock();
        channels.changed = channels.wanted.keys().cloned().collect();
        drop(channels);
        self.changed.notify_one();
    }

    /// Channels to subscribe to, and to leave, since this was asked last.
    fn changes(&self) -> (Vec<String>, Vec<String>) {
        let mut channels = self.channels.lock();
        let changed = std::mem::take(&mut channels.changed);
        let is_wanted = |channel: &String| channels.wanted.contains_key(channel);
        changed.into_iter().partition(is_wanted)
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
    let client = &shared.client;
    let own = &shared.common.process;
    client.in_time(sink.subscribe(own)).await?;
    shared.hub.begin();
    let mut ping = interval(PING);
    loop {
        tokio::select! {
            () = shared.hub.changed.notified() => {
                let (missing, idle) = shared.hub.changes();
                if !missing.is_empty() {
                    client.in_time(sink.subscribe(&missing)).await?;
                    shared.may_have_missed(&missing);
                }
                if !idle.is_empty() {
                    client.in_time(sink.unsubscribe(&idle)).await?;
                }
            }
            // Of a connection that is dead nothing else would be noticed.
            _ = ping.tick() => client.in_time(sink.ping::<Value>()).await.map(drop)?,
            message = stream.next() => match message {
                Some(message) => heard(shared, &message),
                None => return Ok(()),
            },
        }
    }
}

fn heard(shared: &Shared, message: &Msg) {
    let channel = message.get_channel_name();
    if channel == shared.common.process {
        let meta = String::from_utf8_lossy(message.get_payload_bytes());
        shared.heard(&meta, b"readers");
    } else {
        shared.heard(channel, message.get_payload_bytes());
    }
}
