//! What a route's settings mean for one of its streams.

use std::sync::Arc;
use std::time::Duration;

use super::route::Route;
use super::settings::{BufferSettings, Mode};
use crate::log::Limits;
use crate::stream::policy::{Ids, Kind, Linger};
use crate::stream::stream::Policy;

/// A one-shot is retained up to this, because it cannot be asked for again.
const ONE_SHOT_BYTES: usize = 16 << 20;

/// What is decided about a stream; `aside` of a shared one, for one client.
pub(super) fn policy(route: &Route, kind: Kind, aside: bool) -> Policy {
    let settings = &route.settings;
    Policy {
        kind,
        // Beside a shared stream that preserves, ids lead back into it.
        ids: match (settings.ids, aside) {
            (Ids::Auto, true) => Ids::Preserve,
            (ids, _) => ids,
        },
        resume: settings.resume,
        limits: limits(settings.buffer, kind),
        finish: settings.finish.as_slice().into(),
        responses: 1,
        defers: settings.mode == Mode::Mcp,
        linger: if leads_upstream(settings.ids, kind, aside) {
            Linger::For(Duration::ZERO)
        } else {
            settings.linger
        },
        max_runtime: settings.max_runtime,
        max_detached: settings.max_detached,
        retain: settings.retain,
        reconnect: settings.reconnect,
        hold: settings.hold,
        batch: settings.batch,
        upstream_idle: settings.upstream_idle,
        max_event_bytes: settings.max_event_bytes,
        gap_event: settings.gap_event.clone(),
        strip_retry: settings.retry.is_some(),
        observer: Arc::clone(&route.observer),
    }
}

/// Whether nobody finds the stream again, because its ids lead to the upstream:
/// then there is nothing to linger for.
fn leads_upstream(ids: Ids, kind: Kind, aside: bool) -> bool {
    match ids {
        Ids::Assign => false,
        Ids::Auto => aside,
        Ids::Preserve => kind == Kind::Private,
    }
}

fn limits(buffer: BufferSettings, kind: Kind) -> Limits {
    if kind == Kind::OneShot {
        // Who comes back is to find it whole: only its size is bounded.
        return Limits {
            bytes: buffer.bytes.unwrap_or(ONE_SHOT_BYTES),
            ..Limits::NONE
        };
    }
    let default = Limits::default();
    Limits {
        events: buffer.events.unwrap_or(default.events),
        bytes: buffer.bytes.unwrap_or(default.bytes),
        age: buffer.age.unwrap_or(default.age),
    }
}
