//! A proxy that serves, and how a reload changes what it serves.
//!
//! Each listener is a [`Station`]: a task that accepts, and the phase its
//! connections are in. A reload opens stations, closes stations, and changes what
//! those that stay lead to; everything that can fail comes before anything is
//! changed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::BindError;
use super::access_log::Register;
use super::admission::Admission;
use super::assembly::{Assembly, Plan};
use super::config::model::{self, Config};
use super::connection::Protocol;
use super::greeting::{self, Greeting};
use super::listener::Listener;
use super::phase::{Phase, PhaseWatch, Phases};

/// How long the streams' own end may outlast the deadline.
const GRACE: Duration = Duration::from_secs(1);

/// What begins to accept at a listener.
pub(super) type Open = Box<dyn Fn(Listener, PhaseWatch) + Send>;

/// A proxy that serves.
pub(super) struct Serving {
    config: Config,
    assembly: Assembly,
    register: Arc<Register>,
    open: Open,
    shared: Shared,
    stations: Vec<Station>,
    /// Of stations that were closed, until nobody is left behind them.
    closed: Vec<Arc<Phases>>,
}

/// What the stations share, and a reload changes.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) protocol: Arc<ArcSwap<Protocol>>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) handover: bool,
}

/// One listener, as it was asked for.
struct Station {
    settings: model::Listener,
    greeting: Arc<ArcSwap<Greeting>>,
    phases: Arc<Phases>,
    /// Ends when the door is closed.
    _watch: DropGuard,
}

/// Why a reload was refused. Nothing has changed.
#[derive(Debug)]
pub struct ReloadError(Cause);

#[derive(Debug)]
enum Cause {
    /// What a running process cannot change.
    Fixed(&'static str),
    Bind(BindError),
    Stopped,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(config: &Config, assembly: &Assembly, handover: bool) -> Self {
        let protocol = Protocol::new(assembly.admission.load_full(), handover);
        Self {
            protocol: Arc::new(ArcSwap::from_pointee(protocol)),
            slots: Arc::new(Semaphore::new(slots(config))),
            handover,
        }
    }

    /// Connections that are there stay, even above a lower limit; then no new
    /// ones come in until there are fewer.
    fn limit(&self, admission: Arc<Admission>, before: usize, after: usize) {
        let protocol = Protocol::new(admission, self.handover);
        self.protocol.store(Arc::new(protocol));
        if after > before {
            self.slots.add_permits(after - before);
        }
        let surplus = u32::try_from(before.saturating_sub(after)).unwrap_or(u32::MAX);
        if surplus > 0 {
            let slots = Arc::clone(&self.slots);
            tokio::spawn(async move {
                if let Ok(surplus) = slots.acquire_many(surplus).await {
                    surplus.forget();
                }
            });
        }
    }
}

/// Every station takes its slot before it accepts.
fn slots(config: &Config) -> usize {
    let slots = config.limits.connections.max(config.listeners.len());
    slots.min(Semaphore::MAX_PERMITS)
}

// === impl Serving ===

impl Serving {
    pub(super) fn begin(
        config: Config,
        assembly: Assembly,
        register: Arc<Register>,
        listeners: Vec<Listener>,
        shared: Shared,
        open: Open,
    ) -> Self {
        assembly.attend();
        let mut serving = Self {
            assembly,
            register,
            open,
            shared,
            stations: Vec::new(),
            closed: Vec::new(),
            config,
        };
        let settings = serving.config.listeners.clone();
        for (settings, listener) in settings.into_iter().zip(listeners) {
            let station = serving.station(settings, listener);
            serving.stations.push(station);
        }
        serving.report();
        serving.note(&serving.config);
        serving
    }

    /// Opens a station.
    fn station(&self, settings: model::Listener, listener: Listener) -> Station {
        let (phases, phase) = Phases::new();
        let greeting = listener.greetings();
        (self.open)(listener, phase);
        let stop = CancellationToken::new();
        let watching = greeting::watch(Arc::clone(&greeting));
        tokio::spawn(stop.clone().run_until_cancelled_owned(watching));
        Station {
            settings,
            greeting,
            phases: Arc::new(phases),
            _watch: stop.drop_guard(),
        }
    }

    /// Puts another configuration in the place of this one, or says why not,
    /// and leaves everything as it is.
    pub(super) fn reload(&mut self, config: Config) -> Result<(), ReloadError> {
        self.refuse_fixed(&config)?;
        let operations = &config.operations;
        let log = self.register.prepare(operations.access_log.as_ref());
        let log = log.map_err(|error| ReloadError(Cause::Bind(BindError::access_log(error))))?;
        let prepared = self.prepare(&config);
        let (plan, changes) = prepared.map_err(|error| {
            self.assembly.refuse(&config);
            ReloadError(Cause::Bind(error))
        })?;

        // Opened anew in any case: the file may have been moved away.
        self.register.replace(operations, log);
        self.assembly.adopt(plan);
        self.assembly.attend();
        self.assembly
            .engine
            .set_buffered_bytes(config.limits.buffered_bytes);
        let (before, after) = (slots(&self.config), slots(&config));
        let admission = self.assembly.admission.load_full();
        self.shared.limit(admission, before, after);
        self.enter(&config, changes);
        self.note(&config);
        self.config = config;
        Ok(())
    }

    /// Opens and closes stations, and changes those that stay.
    fn enter(&mut self, config: &Config, changes: Vec<Change>) {
        let stations = std::mem::take(&mut self.stations);
        let mut stations: Vec<_> = stations.into_iter().map(Some).collect();
        for (settings, change) in config.listeners.iter().zip(changes) {
            let station = match change {
                Change::Kept(at, greeting) => {
                    let station = stations.get_mut(at).and_then(Option::take);
                    station.map(|station| station.changed(settings, greeting))
                }
                Change::New(listener) => Some(self.station(settings.clone(), listener)),
            };
            self.stations.extend(station);
        }
        for station in stations.into_iter().flatten() {
            self.close(&station, config.drain.deadline);
        }
        self.report();
    }

    /// Says how long the certificates of all stations last.
    fn report(&self) {
        for station in &self.stations {
            station.greeting.load().report();
        }
    }

    /// Says what is in force.
    fn note(&self, config: &Config) {
        self.assembly.metrics.configured(&config.fingerprint());
    }

    fn refuse_fixed(&self, config: &Config) -> Result<(), ReloadError> {
        let fixed = |changed: bool, key| {
            let refused = ReloadError(Cause::Fixed(key));
            if changed { Err(refused) } else { Ok(()) }
        };
        fixed(self.config.journal != config.journal, "journal")?;
        fixed(self.config.admin != config.admin, "admin.address")?;
        let differs = |new: &model::Listener| {
            let same = |station: &&Station| station.settings.address == new.address;
            let station = self.stations.iter().find(same);
            station.is_some_and(|station| station.settings.reuse_port != new.reuse_port)
        };
        let changed = config.listeners.iter().any(differs);
        fixed(changed, "listeners[].reuse_port")
    }

    /// Everything that can fail.
    fn prepare(&self, config: &Config) -> Result<(Plan, Vec<Change>), BindError> {
        let plan = self.assembly.plan(config)?;
        let mut taken = vec![false; self.stations.len()];
        let mut changes = Vec::with_capacity(config.listeners.len());
        for listener in &config.listeners {
            let mut stations = self.stations.iter().zip(&mut taken).enumerate();
            let stays = stations.find(|(_, (station, taken))| {
                !**taken && station.settings.address == listener.address
            });
            let greeting = self.assembly.greeting(&plan.acmes, listener)?;
            changes.push(match stays {
                Some((at, (_, taken))) => {
                    *taken = true;
                    Change::Kept(at, greeting)
                }
                None => Change::New(Listener::bind(listener, greeting)?),
            });
        }
        Ok((plan, changes))
    }

    /// Closes a station. Who is behind it may finish until the deadline.
    fn close(&mut self, station: &Station, deadline: Duration) {
        let address = station.settings.address;
        tracing::info!(%address, ?deadline, "no longer listening; connections are drained");
        station.greeting.load().retire();
        station.phases.announce(Phase::Draining);
        self.closed.retain(|phases| phases.watched() > 0);
        self.closed.push(Arc::clone(&station.phases));
        let phases = Arc::clone(&station.phases);
        tokio::spawn(async move {
            let left = tokio::time::timeout(deadline, phases.unwatched());
            if left.await.is_err() {
                phases.announce(Phase::Aborted);
            }
        });
    }

    /// Ends it all, in order.
    pub(super) async fn drain(mut self) {
        let model::Drain {
            deadline,
            spread,
            retry,
        } = self.config.drain;
        tracing::info!(?spread, ?deadline, "draining");
        if let Some((least, most)) = retry {
            self.assembly.engine.part_with(least..=most);
        }
        // Readiness goes first, so that no balancer sends more clients. Then
        // the connections are told, and only then do streams end: a client
        // whose stream ended on a connection that may live on would come back
        // on it.
        self.assembly.admin.drain();
        let mut all = std::mem::take(&mut self.closed);
        all.extend(
            self.stations
                .iter()
                .map(|station| Arc::clone(&station.phases)),
        );
        for phases in &all {
            phases.announce(Phase::Draining);
        }
        let streams = self.assembly.engine.drain(spread, deadline);
        let (_, gone) = tokio::join!(
            tokio::time::timeout(deadline.saturating_add(GRACE), streams),
            tokio::time::timeout(deadline, unwatched(&all)),
        );
        if gone.is_err() {
            let left: usize = all.iter().map(|phases| phases.watched()).sum();
            tracing::warn!(connections = left, "the drain deadline cuts connections");
            for phases in &all {
                phases.announce(Phase::Aborted);
            }
            unwatched(&all).await;
        }
        self.register.close();
    }
}

/// A listener of the new configuration.
enum Change {
    /// The station that stays, and how its connections begin from now on.
    Kept(usize, Greeting),
    New(Listener),
}

// === impl Station ===

impl Station {
    fn changed(mut self, settings: &model::Listener, greeting: Greeting) -> Self {
        self.greeting.swap(Arc::new(greeting)).retire();
        self.settings = settings.clone();
        self
    }
}

async fn unwatched(all: &[Arc<Phases>]) {
    for phases in all {
        phases.unwatched().await;
    }
}

// === impl ReloadError ===

impl ReloadError {
    pub(super) fn stopped() -> Self {
        Self(Cause::Stopped)
    }
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Fixed(key) => write!(
                f,
                "{key} cannot be changed while the proxy runs; restart it, or put the key back"
            ),
            Cause::Bind(error) => error.fmt(f),
            Cause::Stopped => f.write_str("the proxy is draining; start it again instead"),
        }
    }
}

impl std::error::Error for ReloadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            // Displayed as its own text already.
            Cause::Bind(error) => error.source(),
            Cause::Fixed(_) | Cause::Stopped => None,
        }
    }
}
