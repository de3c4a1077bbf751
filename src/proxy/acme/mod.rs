//! Certificates by ACME (RFC 8555): asked for, kept, and renewed in time.
//!
//! [`Acme`] is one certificate's life. It is shown to clients by `tls`, which
//! asks here for whatever is current; that an authority finds its challenges is
//! seen to by [`Challenges`], which both `tls` and the answers in clear know.

mod cache;
mod challenges;
mod client;
mod error;
mod order;
mod schedule;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use self::cache::Cache;
pub(crate) use self::challenges::Challenges;
use self::error::OrderError;
use super::config::model::{self, Challenge};
use super::tls::{Certificate, TlsMetrics};

/// The protocol by which an authority asks for a `tls-alpn-01` challenge
/// (RFC 8737). Nothing else is spoken in it.
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";

/// An order takes seconds; one that takes longer is begun anew.
const ORDER: Duration = Duration::from_secs(300);

/// The clock may be set while we sleep.
const LONGEST_SLEEP: Duration = Duration::from_secs(60 * 60);

/// One certificate by ACME.
pub(crate) struct Acme {
    settings: model::Acme,
    cache: Cache,
    challenges: Arc<Challenges>,
    current: RwLock<Certificate>,
    /// Whether the current one is an authority's, and not ours for want of one.
    issued: AtomicBool,
    metrics: TlsMetrics,
}

/// All certificates by ACME. Listeners with the same settings share one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acmes {
    all: Vec<Arc<Attended>>,
    challenges: Arc<Challenges>,
}

/// One that is seen to for as long as it is in use.
#[derive(Debug)]
struct Attended {
    acme: Arc<Acme>,
    begun: AtomicBool,
    stop: CancellationToken,
}

/// Why certificates by ACME cannot be had.
#[derive(Debug)]
pub(crate) enum AcmeError {
    /// What they are kept in cannot be used.
    Cache(PathBuf, io::Error),
    /// No certificate could be made that stands in for the first one.
    Placeholder(String),
}

// === impl Acmes ===

impl Acmes {
    /// Those that these listeners ask for. What is there already stays.
    pub(crate) fn next(
        &self,
        listeners: &[model::Listener],
        metrics: &TlsMetrics,
    ) -> Result<Self, AcmeError> {
        let mut acmes = Self {
            all: Vec::new(),
            challenges: self.challenges(),
        };
        let settings = listeners
            .iter()
            .filter_map(|l| l.tls.as_ref()?.acme.as_ref());
        for settings in settings {
            if acmes.find(settings).is_some() {
                continue;
            }
            let attended = if let Some(kept) = self.find(settings) {
                Arc::clone(kept)
            } else {
                let before = self.before(settings);
                let acme = Acme::new(settings, self.challenges(), metrics.clone(), before)?;
                Arc::new(Attended::new(acme))
            };
            acmes.all.push(attended);
        }
        Ok(acmes)
    }

    /// Others take their place; how long these last is to be seen.
    pub(crate) fn leave_to(&self, next: &Self) {
        for each in &self.all {
            each.acme.retire();
        }
        for each in &next.all {
            each.acme.report();
        }
    }

    /// The one with these settings.
    pub(crate) fn of(&self, settings: &model::Acme) -> Option<&Arc<Acme>> {
        Some(&self.find(settings)?.acme)
    }

    fn find(&self, settings: &model::Acme) -> Option<&Arc<Attended>> {
        let mut all = self.all.iter();
        all.find(|attended| attended.acme.settings == *settings)
    }

    /// What was issued for some of these names under other settings: until there
    /// is a new one, clients who ask for those names go on trusting it.
    fn before(&self, settings: &model::Acme) -> Option<Certificate> {
        let mut issued = self.all.iter().filter(|each| each.acme.is_issued());
        let shares = |acme: &Acme| settings.domains.iter().any(|name| acme.serves(name));
        let found = issued.find(|each| shares(&each.acme))?;
        Some(found.acme.current())
    }

    pub(crate) fn challenges(&self) -> Arc<Challenges> {
        Arc::clone(&self.challenges)
    }

    /// Why clients would not trust what they are shown, for each that is so.
    pub(crate) fn complaints(&self) -> impl Iterator<Item = String> + '_ {
        self.all.iter().filter_map(|each| each.acme.complaint())
    }

    /// Sees to all of them that nobody sees to yet, in the runtime that this is
    /// called in, until they are in use no more.
    pub(crate) fn attend(&self) {
        for each in &self.all {
            if !each.begun.swap(true, Ordering::Relaxed) {
                let running = Arc::clone(&each.acme).run();
                tokio::spawn(each.stop.clone().run_until_cancelled_owned(running));
            }
        }
    }
}

// === impl Attended ===

impl Attended {
    fn new(acme: Acme) -> Self {
        Self {
            acme: Arc::new(acme),
            begun: AtomicBool::new(false),
            stop: CancellationToken::new(),
        }
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

// === impl Acme ===

impl Acme {
    fn new(
        settings: &model::Acme,
        challenges: Arc<Challenges>,
        metrics: TlsMetrics,
        before: Option<Certificate>,
    ) -> Result<Self, AcmeError> {
        let unusable = |error| AcmeError::Cache(settings.cache.clone(), error);
        let cache = Cache::open(settings).map_err(unusable)?;
        let kept = cache.certificate().unwrap_or_else(|error| {
            tracing::warn!(%error, "the kept certificate cannot be used; another is asked for");
            None
        });
        let issued = kept.is_some();
        let current = match kept.or(before) {
            Some(certificate) => certificate,
            None => order::placeholder(&settings.domains).map_err(AcmeError::Placeholder)?,
        };
        Ok(Self {
            settings: settings.clone(),
            cache,
            challenges,
            current: RwLock::new(current),
            issued: AtomicBool::new(issued),
            metrics,
        })
    }

    pub(crate) fn challenge_kind(&self) -> Challenge {
        self.settings.challenge
    }

    pub(crate) fn serves(&self, name: &str) -> bool {
        self.settings.domains.iter().any(|domain| domain == name)
    }

    /// What clients are shown: until the first is issued, one from before or a
    /// self-signed one.
    pub(crate) fn certificate(&self) -> Arc<CertifiedKey> {
        self.current().key
    }

    /// What an authority is shown that asks whether the name is ours.
    pub(crate) fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.challenges.certificate(name)
    }

    fn is_issued(&self) -> bool {
        self.issued.load(Ordering::Relaxed)
    }

    fn complaint(&self) -> Option<String> {
        let names = self.settings.domains.join(", ");
        if !self.is_issued() {
            return Some(format!(
                "certificate for {names}: not issued yet, another one stands in"
            ));
        }
        let expired = self.current().not_after <= now();
        expired.then(|| format!("certificate for {names}: expired"))
    }

    async fn run(self: Arc<Self>) {
        let mut failures = 0;
        loop {
            self.until_due().await;
            let ordered = tokio::time::timeout(ORDER, self.renew()).await;
            match ordered.unwrap_or(Err(OrderError::Timeout)) {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    self.metrics.ordered(false);
                    let pause = schedule::backoff(failures, fastrand::f64());
                    let domains = self.settings.domains.join(", ");
                    tracing::error!(%domains, %error, ?pause, "no certificate by ACME");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Waits until the current certificate should be replaced. Not to the
    /// second, so that what was issued together is not renewed together.
    async fn until_due(&self) {
        if !self.is_issued() {
            return;
        }
        let due = schedule::due(&self.current(), fastrand::f64());
        loop {
            let left = u64::try_from(due - now()).unwrap_or(0);
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_secs(left).min(LONGEST_SLEEP)).await;
        }
    }

    async fn renew(&self) -> Result<(), OrderError> {
        // Another process with the same folder may have been quicker.
        if let Ok(Some(kept)) = self.cache.certificate() {
            let newer = kept.not_after > self.current().not_after;
            if newer && now() < schedule::due(&kept, 0.0) {
                self.install(kept);
                return Ok(());
            }
        }
        let pem = order::obtain(&self.settings, &self.cache, &self.challenges).await?;
        let certificate = cache::certificate_of(&pem).map_err(OrderError::Unusable)?;
        let ends = certificate.not_after;
        self.metrics.ordered(true);
        self.install(certificate);
        tracing::info!(domains = %self.settings.domains.join(", "), ends, "certificate by ACME");
        // In use in any case, but gone with the process.
        if let Err(error) = self.cache.keep_certificate(&pem).await {
            let folder = self.settings.cache.display();
            tracing::error!(%folder, %error, "cannot keep the certificate; make room, or let the proxy write");
        }
        Ok(())
    }

    fn install(&self, certificate: Certificate) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = certificate;
        self.issued.store(true, Ordering::Relaxed);
        self.report();
    }

    fn current(&self) -> Certificate {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn report(&self) {
        if let (true, Some(name)) = (self.is_issued(), self.name()) {
            self.metrics.expires(&name, self.current().not_after);
        }
    }

    fn retire(&self) {
        if let Some(name) = self.name() {
            self.metrics.forget(&name);
        }
    }

    /// What metrics call its certificate.
    fn name(&self) -> Option<String> {
        let first = self.settings.domains.first()?;
        Some(format!("acme:{first}"))
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acme")
            .field("domains", &self.settings.domains)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for AcmeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache(folder, error) => write!(
                f,
                "cannot keep certificates in {}: {error}; let the proxy's user write there, or \
                 name another folder by acme.cache",
                folder.display()
            ),
            Self::Placeholder(error) => write!(f, "cannot make a certificate: {error}"),
        }
    }
}
