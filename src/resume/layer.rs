//! The layer: one route's settings and the engine they apply to.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use sha2::{Digest, Sha256};
use tower_layer::Layer;

use super::engine::Engine;
use super::profile::Profile;
use super::route::Route;
use super::service::SseService;
use super::settings::{
    BufferSettings, Coding, Credential, KeyPath, KeySettings, Mode, NameSource, Repeat, Settings,
};
use crate::observe::{Observer, Silent};
use crate::stream::policy::{Ids, Join, Linger, Marker, OnGap, Reconnect, UpstreamResume};

/// Makes the `text/event-stream` responses of a service resumable.
///
/// See the [module docs](super) for what that means and
/// [`Settings`] for every setting's default.
#[derive(Clone)]
pub struct SseLayer {
    route: Arc<Route>,
}

impl SseLayer {
    /// A layer with default settings and an engine of its own.
    pub fn new() -> Self {
        Self::with_settings(Settings::default())
    }

    /// A layer with these settings and an engine of its own.
    pub fn with_settings(settings: Settings) -> Self {
        let engine = Engine::default();
        Self {
            route: Arc::new(Route {
                number: engine.next_route(),
                settings,
                engine,
                observer: Arc::new(Silent),
            }),
        }
    }

    /// A layer with a protocol's settings and an engine of its own.
    pub fn profile(profile: Profile) -> Self {
        Self::with_settings(profile.settings())
    }

    fn change(mut self, change: impl FnOnce(&mut Route)) -> Self {
        change(Arc::make_mut(&mut self.route));
        self
    }

    fn set(self, set: impl FnOnce(&mut Settings)) -> Self {
        self.change(|route| set(&mut route.settings))
    }

    /// Shares an engine with other layers.
    pub fn engine(self, engine: Engine) -> Self {
        self.change(|route| {
            // A name stays.
            if route.number < 1 << 63 {
                route.number = engine.next_route();
            }
            route.engine = engine;
        })
    }

    /// Names the layer, so that it is known for the same after a restart and to
    /// other processes, whatever other layers there are. Only of use with a
    /// journal that outlives the process.
    pub fn name(self, name: &str) -> Self {
        let digest = Sha256::digest(name);
        let number = digest.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b));
        // Counted numbers never get that high.
        self.change(|route| route.number = number | 1 << 63)
    }

    /// Reports what happens to an observer.
    pub fn observer(self, observer: Arc<dyn Observer>) -> Self {
        self.change(|route| route.observer = observer)
    }

    /// See [`Settings::mode`].
    pub fn mode(self, mode: Mode) -> Self {
        self.set(|s| s.mode = mode)
    }

    /// One upstream connection for all who ask for the same: [`Mode::Shared`].
    pub fn shared(self) -> Self {
        self.mode(Mode::Shared)
    }

    /// Adds a header to the key. See [`KeySettings::headers`].
    pub fn key_header(self, name: HeaderName) -> Self {
        self.set(|s| s.key.headers.push(name))
    }

    /// Leaves a query parameter out of the key. See
    /// [`KeySettings::ignore_query`].
    pub fn ignore_query(self, name: impl Into<String>) -> Self {
        self.set(|s| s.key.ignore_query.push(name.into()))
    }

    /// Replaces what is in the key. See [`Settings::key`].
    pub fn key(self, key: KeySettings) -> Self {
        self.set(|s| s.key = key)
    }

    /// See [`KeySettings::name`].
    pub fn key_name(self, source: NameSource) -> Self {
        self.set(|s| s.key.name = Some(source))
    }

    /// See [`KeySettings::repeat`].
    pub fn repeat(self, repeat: Repeat) -> Self {
        self.set(|s| s.key.repeat = Some(repeat))
    }

    /// Where a client attaches to a stream, and stops it, as the layer sees its
    /// path. See [`Settings::attach`].
    ///
    /// # Panics
    ///
    /// If `{key}` is not one, and one only, of the path's segments.
    pub fn attach(self, path: &str) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "a mistake in the program, found at its start"
        )]
        let path = KeyPath::parse(path).expect("a path with {key} as one of its segments");
        self.set(|s| s.attach = Some(path))
    }

    /// See [`Settings::list`].
    pub fn list(self, path: impl Into<String>) -> Self {
        self.set(|s| s.list = Some(path.into()))
    }

    /// Adds to what the last event looks like. See [`Settings::finish`].
    pub fn finish(self, marker: Marker) -> Self {
        self.set(|s| s.finish.push(marker))
    }

    /// See [`Settings::max_runtime`].
    pub fn max_runtime(self, time: Duration) -> Self {
        self.set(|s| s.max_runtime = time)
    }

    /// See [`Settings::max_detached`].
    pub fn max_detached(self, streams: usize) -> Self {
        self.set(|s| s.max_detached = streams)
    }

    /// See [`Settings::retries`].
    pub fn retries(self, times: u32) -> Self {
        self.set(|s| s.retries = times)
    }

    /// Replaces the credentials. See [`Settings::principal`].
    pub fn principal(self, credentials: impl IntoIterator<Item = Credential>) -> Self {
        self.set(|s| s.principal = credentials.into_iter().collect())
    }

    /// See [`Settings::ids`].
    pub fn ids(self, ids: Ids) -> Self {
        self.set(|s| s.ids = ids)
    }

    /// See [`Settings::resume`].
    pub fn resume(self, resume: UpstreamResume) -> Self {
        self.set(|s| s.resume = resume)
    }

    /// See [`Settings::heartbeat`].
    pub fn heartbeat(self, silence: Duration) -> Self {
        self.set(|s| s.heartbeat = silence)
    }

    /// See [`Settings::retry`].
    pub fn retry(self, range: RangeInclusive<Duration>) -> Self {
        self.set(|s| s.retry = Some(range))
    }

    /// See [`Settings::buffer`].
    pub fn buffer(self, buffer: BufferSettings) -> Self {
        self.set(|s| s.buffer = buffer)
    }

    /// See [`Settings::linger`].
    pub fn linger(self, linger: Linger) -> Self {
        self.set(|s| s.linger = linger)
    }

    /// See [`Settings::retain`].
    pub fn retain(self, time: Duration) -> Self {
        self.set(|s| s.retain = time)
    }

    /// See [`Settings::join`].
    pub fn join(self, join: Join) -> Self {
        self.set(|s| s.join = join)
    }

    /// See [`Settings::reconnect`].
    pub fn reconnect(self, reconnect: Reconnect) -> Self {
        self.set(|s| s.reconnect = reconnect)
    }

    /// See [`Settings::hold`].
    pub fn hold(self, time: Duration) -> Self {
        self.set(|s| s.hold = time)
    }

    /// See [`Settings::on_gap`].
    pub fn on_gap(self, on_gap: OnGap) -> Self {
        self.set(|s| s.on_gap = on_gap)
    }

    /// See [`Settings::gap_event`].
    pub fn gap_event(self, event: impl Into<String>) -> Self {
        self.set(|s| s.gap_event = Some(event.into()))
    }

    /// See [`Settings::max_event_bytes`].
    pub fn max_event_bytes(self, bytes: usize) -> Self {
        self.set(|s| s.max_event_bytes = bytes)
    }

    /// See [`Settings::batch`].
    pub fn batch(self, time: Duration) -> Self {
        self.set(|s| s.batch = time)
    }

    /// See [`Settings::upstream_idle`].
    pub fn upstream_idle(self, silence: Duration) -> Self {
        self.set(|s| s.upstream_idle = Some(silence))
    }

    /// See [`Settings::compress`].
    pub fn compress(self, coding: Coding) -> Self {
        self.set(|s| s.compress = Some(coding))
    }
}

impl Default for SseLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for SseLayer {
    type Service = SseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SseService::new(inner, Arc::clone(&self.route))
    }
}

impl fmt::Debug for SseLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseLayer")
            .field("settings", &self.route.settings)
            .finish_non_exhaustive()
    }
}
