//! Is everybody there whom the configuration leads to?
//!
//! Each probe does what the running proxy would do, once: it connects as the
//! proxy connects, with the same time limits and the same TLS.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Uri;
use tower_service::Service;

use crate::journal::Journal;
use crate::proxy::assembly::{AssemblyError, connect};
use crate::proxy::balance::Server;
use crate::proxy::config::Config;
use crate::proxy::config::model::{JournalSettings, Upstream};
use crate::proxy::forward::Dial;
use crate::proxy::health::{Check, causes};
use crate::proxy::journal;
use crate::proxy::listener::BindError;
use crate::proxy::metrics::Metrics;

/// A journal connects by itself; this is how long it is waited for.
const JOURNAL_TIME: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// What one probe found.
#[derive(Debug)]
pub struct Finding {
    what: String,
    took: Duration,
    outcome: Result<String, String>,
}

/// A probe under way: what it is, and what it will say.
type Probe = (
    String,
    Pin<Box<dyn Future<Output = Result<String, String>>>>,
);

/// Asks every server of every upstream, and the journal if it is elsewhere; all
/// at once, in the order of the file.
pub async fn online(config: &Config) -> Result<Vec<Finding>, BindError> {
    let metrics = Metrics::new();
    let mut probes = Vec::new();
    for (name, upstream) in &config.upstreams {
        probes.extend(servers(name, upstream, &metrics)?);
    }
    probes.extend(journal_probe(&config.journal)?);
    Ok(join_all(probes.into_iter().map(run)).await)
}

async fn run((what, probe): Probe) -> Finding {
    let begun = Instant::now();
    let outcome = probe.await;
    Finding {
        what,
        took: begun.elapsed(),
        outcome,
    }
}

/// Two for each server: can it be connected to, and does its health check pass?
fn servers(name: &str, upstream: &Upstream, metrics: &Metrics) -> Result<Vec<Probe>, BindError> {
    let (balance, dial) = connect(name, upstream, None, metrics)?;
    let mut probes: Vec<Probe> = Vec::new();
    for server in balance.servers() {
        let place = format!("{}://{}", server.scheme(), server.authority());
        let what = format!("upstream {name}: {place}");
        probes.push((what, Box::pin(reach(Arc::clone(server), dial.clone()))));
        let Some(settings) = &upstream.health_check else {
            continue;
        };
        if let Some(check) = Check::new(name, &balance, server, settings, dial.clone()) {
            let what = format!("upstream {name}: health check {place}{}", settings.path);
            probes.push((what, Box::pin(healthy(check, settings.timeout))));
        }
    }
    Ok(probes)
}

async fn reach(server: Arc<Server>, mut dial: Dial) -> Result<String, String> {
    let uri = Uri::builder()
        .scheme(server.scheme().clone())
        .authority(server.authority().clone())
        .path_and_query("/");
    let uri = uri.build().map_err(|why| why.to_string())?;
    let connected = dial.call(uri).await;
    connected.map_err(|why| causes(why.as_ref()))?;
    Ok("connected".into())
}

async fn healthy(check: Check, limit: Duration) -> Result<String, String> {
    match tokio::time::timeout(limit, check.ask()).await {
        Ok(answer) => answer.map(|()| "passed".into()),
        Err(_) => Err("no answer in time".into()),
    }
}

/// One on disk is not opened: it may belong to a proxy that runs.
fn journal_probe(settings: &JournalSettings) -> Result<Option<Probe>, BindError> {
    if !matches!(settings, JournalSettings::Redis(_)) {
        return Ok(None);
    }
    let journal = journal::open(settings).map_err(AssemblyError::Journal)?;
    Ok(Some((
        "journal".into(),
        Box::pin(async move { connected(journal.as_ref()).await }),
    )))
}

async fn connected(journal: &dyn Journal) -> Result<String, String> {
    let until = Instant::now() + JOURNAL_TIME;
    loop {
        let health = journal.health();
        if health.durable {
            return Ok(health.detail);
        }
        if Instant::now() >= until {
            return Err(health.detail);
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Finding {
    /// Whether it is as the configuration says.
    pub fn is_good(&self) -> bool {
        self.outcome.is_ok()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, detail) = match &self.outcome {
            Ok(detail) => ("ok", detail),
            Err(detail) => ("FAILED", detail),
        };
        let (what, took) = (&self.what, self.took.as_secs_f64() * 1e3);
        write!(f, "{word:<6} {took:>7.1} ms  {what}: {detail}")
    }
}
