//! What a configuration turns into, sockets aside, and how the next one takes
//! its place.
//!
//! The engine, with every stream in it, and the metrics are there before the
//! first configuration and outlive each. The rest is replaced: first a [`Plan`]
//! is made of a configuration, which can fail and changes nothing; then it is
//! adopted, which cannot fail.

use std::collections::BTreeMap;
use std::io::Error as IoError;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tower_layer::Layer;

use super::access::{Access, AccessError, Jwks, Policy};
use super::acme::{AcmeError, Acmes};
use super::admin::Admin;
use super::admission::{Admission, ClientBody, Rates, RouteGate, Who};
use super::balance::{Balance, Mover, Rules, Server as Backend};
use super::config::Config;
use super::config::model::{self, Upstream};
use super::entrance;
use super::forward::{Dial, Forward, TrustError, fingerprint};
use super::greeting::Greeting;
use super::health::{Care, Check};
use super::journal;
use super::kept::Kept;
use super::listener::BindError;
use super::metrics::Metrics;
use super::router::{Route, Router};
use super::target::Target;
use crate::journal::JournalError;
use crate::resume::{Engine, RequestBody, SseLayer};

/// What a request is sent on by.
type Forwarding = Forward<RequestBody<ClientBody>>;
/// What a route leads to.
type Leading = Target<RequestBody<ClientBody>>;

/// Everything a configuration turns into, sockets aside.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(crate) router: Router,
    pub(crate) engine: Engine,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) admin: Arc<Admin>,
    pub(crate) admission: Arc<ArcSwap<Admission>>,
    pub(crate) rules: Arc<ArcSwap<entrance::Rules>>,
    pub(crate) acmes: Acmes,
    upstreams: BTreeMap<String, Arc<Connected>>,
    /// By the route's name. Of routes with the same, only the first is reached.
    targets: BTreeMap<String, Leading>,
    kept: Memory,
}

/// What was learned while a configuration was in force, and holds for the next
/// one.
#[derive(Debug, Default)]
struct Memory {
    /// By their URL.
    issuers: Kept<Jwks>,
    /// By the route's name and the limit.
    rates: Kept<Arc<Rates<Who>>>,
}

/// What is to take the place of what is there.
pub(crate) struct Plan {
    pub(crate) acmes: Acmes,
    admission: Arc<Admission>,
    rules: Arc<entrance::Rules>,
    upstreams: BTreeMap<String, Arc<Connected>>,
    targets: BTreeMap<String, Leading>,
    /// Where targets that stay are to lead.
    leads: Vec<(Leading, Forwarding)>,
    routes: Vec<Route>,
    kept: Memory,
}

/// An upstream, and what is known about its servers.
#[derive(Debug)]
struct Connected {
    settings: Upstream,
    /// Of the files that `settings.tls` names.
    files: [u8; 32],
    balance: Arc<Balance>,
    forward: Forwarding,
    /// Until it has begun.
    care: Mutex<Option<Care>>,
    stop: CancellationToken,
}

/// Why a configuration cannot be put together.
#[derive(Debug)]
pub(crate) enum AssemblyError {
    /// A route leads to an upstream that is not there.
    UnknownUpstream(String),
    /// A server's URI has no scheme or no authority, or a check no valid path.
    InvalidUpstream(String),
    /// An `https` upstream, and no authority to verify it by.
    Roots(IoError),
    /// A file of an upstream's TLS cannot be used; the text says which and why.
    UpstreamTls(String),
    /// The journal cannot be used.
    Journal(JournalError),
    /// Who may use a route cannot be decided.
    Access(AccessError),
    /// Certificates by ACME cannot be kept or made.
    Acme(AcmeError),
}

// === impl Assembly ===

impl Assembly {
    pub(crate) fn new(config: &Config) -> Result<Self, AssemblyError> {
        let metrics = Arc::new(Metrics::new());
        let journal = journal::open(&config.journal).map_err(AssemblyError::Journal)?;
        let engine = Engine::with_journal(config.limits.buffered_bytes, journal);
        let acmes = Acmes::default();
        let rules = entrance::Rules::new(&config.listeners, acmes.challenges());
        let trusted = config.trusted_proxies.clone();
        let admission = Admission::new(config.limits, trusted, &metrics);
        let mut assembly = Self {
            router: Router::new([]),
            admission: Arc::new(ArcSwap::from_pointee(admission)),
            rules: Arc::new(ArcSwap::from_pointee(rules)),
            acmes,
            admin: Arc::new(Admin::new(Arc::clone(&metrics), Vec::new(), engine.clone())),
            engine,
            metrics,
            upstreams: BTreeMap::new(),
            targets: BTreeMap::new(),
            kept: Memory::default(),
        };
        let plan = assembly.plan(config)?;
        assembly.adopt(plan);
        Ok(assembly)
    }

    /// What a configuration would make of this.
    pub(crate) fn plan(&self, config: &Config) -> Result<Plan, AssemblyError> {
        let acmes = self.acmes.next(&config.listeners, self.metrics.tls());
        let rules = entrance::Rules::new(&config.listeners, self.acmes.challenges());
        let mut plan = Plan {
            acmes: acmes.map_err(AssemblyError::Acme)?,
            admission: Arc::new(self.admission.load().next(config)),
            rules: Arc::new(rules),
            upstreams: BTreeMap::new(),
            targets: BTreeMap::new(),
            leads: Vec::new(),
            routes: Vec::with_capacity(config.routes.len()),
            kept: self.kept.next(),
        };
        for (name, settings) in &config.upstreams {
            let connected = self.connected(name, settings)?;
            plan.upstreams.insert(name.clone(), connected);
        }
        for route in &config.routes {
            let route = &model::Route {
                sse: plan.rules.guard(route.sse.clone()),
                ..route.clone()
            };
            let upstream = plan
                .upstreams
                .get(&route.upstream)
                .ok_or_else(|| AssemblyError::UnknownUpstream(route.upstream.clone()))?;
            let name = name(route);
            let target = self.target(&name, upstream.forward.clone(), &mut plan.leads);
            // Resumable streams: one engine for all routes, so that its limits
            // and its drain span them; settings and counters of the route.
            let layer = SseLayer::with_settings(route.sse.clone())
                .engine(self.engine.clone())
                .name(&name)
                .observer(self.metrics.route(&route.path));
            let admission = Arc::clone(&plan.admission);
            let rates = &mut plan.kept.rates;
            let gate = RouteGate::new(admission, self.engine.clone(), route, &name, rates);
            let service = layer.layer(target.clone());
            let counted = Arc::new(self.metrics.access(&route.path));
            let issuers = &mut plan.kept.issuers;
            let access = Access::new(route, Arc::clone(&counted), issuers);
            let access = access.map_err(AssemblyError::Access)?;
            let new = Route::new(route, gate, service, target.clone());
            plan.routes
                .push(new.with_access(access, Policy::new(route, counted)));
            plan.targets.entry(name).or_insert(target);
        }
        Ok(plan)
    }

    /// An upstream that stays as it is keeps its connections and its checks.
    /// Servers that stay are the same in one that changes: their streams, and
    /// what is known of them.
    fn connected(&self, name: &str, settings: &Upstream) -> Result<Arc<Connected>, AssemblyError> {
        let kept = self.upstreams.get(name);
        // Before they are read: what is written in between is seen next time.
        let files = fingerprint(settings.tls.as_ref());
        match kept {
            Some(kept) if kept.settings == *settings && kept.files == files => Ok(Arc::clone(kept)),
            _ => {
                let before = kept.map(|kept| &*kept.balance);
                let connected = Connected::new(name, settings, files, before, &self.metrics)?;
                Ok(Arc::new(connected))
            }
        }
    }

    /// How a listener's connections are to begin.
    pub(crate) fn greeting(
        &self,
        acmes: &Acmes,
        listener: &model::Listener,
    ) -> Result<Greeting, BindError> {
        Greeting::of(listener, acmes, self.metrics.tls())
            .map_err(|error| BindError::tls(listener.address, error))
    }

    fn target(
        &self,
        name: &str,
        forward: Forwarding,
        leads: &mut Vec<(Leading, Forwarding)>,
    ) -> Leading {
        match self.targets.get(name) {
            Some(target) if !leads.iter().any(|(taken, _)| taken.is(target)) => {
                leads.push((target.clone(), forward));
                target.clone()
            }
            _ => Target::new(forward),
        }
    }

    /// Puts a plan in the place of what is there. Requests on their way are not
    /// concerned, nor are streams, until they lose their upstream.
    pub(crate) fn adopt(&mut self, plan: Plan) {
        for (target, forward) in plan.leads {
            target.lead_to(forward);
        }
        // Before the routes that rely on them.
        self.admission.store(plan.admission);
        self.rules.store(plan.rules);
        self.router.replace(plan.routes);
        self.targets = plan.targets;
        self.kept = plan.kept.settled();
        let before = std::mem::replace(&mut self.upstreams, plan.upstreams);
        for (upstream, server) in servers(&before) {
            if !servers(&self.upstreams).any(|kept| kept == (upstream, server)) {
                self.metrics.server_gone(upstream, server);
            }
        }
        let balances = self.upstreams.iter();
        let balances = balances.map(|(name, c)| (name.clone(), Arc::clone(&c.balance)));
        self.admin.lead_to(balances.collect());
        self.admin.certify(plan.acmes.clone());
        let acmes = std::mem::replace(&mut self.acmes, plan.acmes);
        acmes.leave_to(&self.acmes);
    }

    /// Shows nothing of the servers of a configuration that was refused.
    pub(crate) fn refuse(&self, config: &Config) {
        for (name, upstream) in &config.upstreams {
            for label in labels(upstream) {
                if !servers(&self.upstreams).any(|kept| kept == (name, label)) {
                    self.metrics.server_gone(name, label);
                }
            }
        }
    }

    /// Begins the health checks that have not begun, and the care of
    /// certificates, in the runtime that this is called in. They end with their
    /// upstream, or with the last listener that has them.
    pub(crate) fn attend(&self) {
        self.acmes.attend();
        for connected in self.upstreams.values() {
            let care = connected.care.lock();
            if let Some(care) = care.unwrap_or_else(PoisonError::into_inner).take() {
                care.begin();
                tokio::spawn(care.run(connected.stop.clone()));
            }
        }
    }
}

// === impl Memory ===

impl Memory {
    fn next(&self) -> Self {
        Self {
            issuers: self.issuers.next(),
            rates: self.rates.next(),
        }
    }

    fn settled(mut self) -> Self {
        self.issuers.settle();
        self.rates.settle();
        self
    }
}

/// Every server by its upstream's name and its own.
fn servers(upstreams: &BTreeMap<String, Arc<Connected>>) -> impl Iterator<Item = (&str, &str)> {
    upstreams.iter().flat_map(|(name, connected)| {
        labels(&connected.settings).map(|label| (name.as_str(), label))
    })
}

/// What servers are called in metrics.
fn labels(upstream: &Upstream) -> impl Iterator<Item = &str> {
    let servers = upstream.servers.iter();
    servers.filter_map(|uri| Some(uri.authority()?.as_str()))
}

/// What a route is known by after a restart, after a reload, and to other
/// replicas: what it matches, not where in the file it stands.
fn name(route: &model::Route) -> String {
    let methods = route.methods.iter().flatten().map(http::Method::as_str);
    let methods: Vec<_> = methods.collect();
    let host = route.host.as_deref().unwrap_or("*");
    format!("{} {host} {}", methods.join(","), route.path)
}

// === impl Connected ===

impl Connected {
    fn new(
        name: &str,
        settings: &Upstream,
        files: [u8; 32],
        before: Option<&Balance>,
        metrics: &Metrics,
    ) -> Result<Self, AssemblyError> {
        let (balance, dial) = connect(name, settings, before, metrics)?;
        let care = care(name, settings, &balance, &dial, metrics)?;
        Ok(Self {
            forward: Forward::new(
                name,
                settings,
                Arc::clone(&balance),
                dial,
                metrics.upstream(name),
            ),
            settings: settings.clone(),
            files,
            balance,
            care: Mutex::new(Some(care)),
            stop: CancellationToken::new(),
        })
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn connect(
    name: &str,
    upstream: &Upstream,
    before: Option<&Balance>,
    metrics: &Metrics,
) -> Result<(Arc<Balance>, Dial), AssemblyError> {
    let invalid = || AssemblyError::InvalidUpstream(name.to_owned());
    let mut servers = Vec::new();
    for uri in &upstream.servers {
        if let Some(kept) = before.and_then(|before| before.server_at(uri)) {
            servers.push(Arc::clone(kept));
            continue;
        }
        let label = uri.authority().ok_or_else(invalid)?;
        let metrics = metrics.server(name, label.as_str());
        servers.push(Arc::new(Backend::new(uri, metrics).ok_or_else(invalid)?));
    }
    let rules = Rules {
        policy: upstream.balance,
        passive: upstream.passive,
        slow_start: upstream.slow_start,
        max_open: upstream.pool.max_open,
    };
    let dial = Dial::new(upstream, metrics.connects(name)).map_err(|error| match error {
        TrustError::Roots(error) => AssemblyError::Roots(error),
        TrustError::File(..) => AssemblyError::UpstreamTls(format!("upstream {name}: {error}")),
    })?;
    let mut balance = Balance::new(rules, servers);
    if let Some(before) = before {
        balance = balance.after(before);
    }
    Ok((Arc::new(balance), dial))
}

fn care(
    name: &str,
    upstream: &Upstream,
    balance: &Arc<Balance>,
    dial: &Dial,
    metrics: &Metrics,
) -> Result<Care, AssemblyError> {
    let check = |(settings, server)| {
        Check::new(name, balance, server, settings, dial.clone())
            .ok_or_else(|| AssemblyError::InvalidUpstream(name.to_owned()))
    };
    let mover = |server: &Arc<Backend>| {
        let moved = metrics.upstream(name).moved;
        Mover::new(
            Arc::clone(balance),
            Arc::clone(server),
            upstream.move_streams,
            moved,
            upstream.health_check.is_some(),
        )
    };
    let servers = balance.servers();
    let settings = upstream.health_check.iter();
    let checked =
        settings.flat_map(|settings| servers.iter().map(move |server| (settings, server)));
    Ok(Care {
        checks: checked.map(check).collect::<Result<_, _>>()?,
        movers: servers.iter().map(mover).collect(),
    })
}
