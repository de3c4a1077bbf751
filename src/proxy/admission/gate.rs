//! What one route asks of a request before it is let through.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::ACCEPT;
use http::{Method, Request};
use memchr::memmem;

use super::super::config::model::{Per, Route};
use super::super::forward::Peer;
use super::super::kept::Kept;
use super::places::{Permit, Places, Who};
use super::rates::Rates;
use super::refusal::{Reason, Refusal};
use super::{Admission, block};
use crate::resume::Engine;
use crate::resume::settings::Settings;

/// Streams last: to ask again at once is of no use.
const STREAM_WAIT: u64 = 5;

/// A route's rate limits, and the places its streams take.
pub(crate) struct RouteGate {
    admission: Arc<Admission>,
    engine: Engine,
    settings: Settings,
    rates: Vec<(Per, Arc<Rates<Who>>)>,
}

/// Places for a stream that may come of a request.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    who: Vec<(Who, Reason)>,
    places: Vec<Permit>,
}

impl RouteGate {
    /// What clients have left of a limit that the route of this name has
    /// already is not given to them again.
    pub(crate) fn new(
        admission: Arc<Admission>,
        engine: Engine,
        route: &Route,
        name: &str,
        kept: &mut Kept<Arc<Rates<Who>>>,
    ) -> Self {
        let mut rates: Vec<(Per, Arc<Rates<Who>>)> = Vec::new();
        for limit in &route.rate_limit {
            let new = || Ok::<_, Infallible>(Arc::new(Rates::new(limit)));
            let Ok(limited) = kept.get(format!("{name} {limit:?}"), new);
            // Written twice, it is the same, and a request is taken off it once.
            if !rates.iter().any(|(_, taken)| Arc::ptr_eq(taken, &limited)) {
                rates.push((limit.per, limited));
            }
        }
        Self {
            admission,
            engine,
            settings: route.sse.clone(),
            rates,
        }
    }

    /// Lets a request of an address through, or not, before anything is done
    /// for it.
    pub(crate) fn knock<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        if self.rates.is_empty() {
            return Ok(());
        }
        self.counted(self.rate(Per::Address, address(request)))
    }

    /// Lets a request through, or not, when it is known whose it is. One that
    /// asks for a stream takes its places now, so that nothing is asked upstream
    /// in vain.
    pub(crate) fn admit<B>(&self, request: &Request<B>, upgrades: bool) -> Result<Ticket, Refusal> {
        let limits = &self.admission.limits;
        let places = limits.streams_per_address.or(limits.streams_per_principal);
        if self.rates.is_empty() && places.is_none() {
            return Ok(Ticket::default());
        }
        let address = address(request);
        let principal = self.principal(request);
        let admitted = self.rate(Per::Principal, principal.or(address));
        self.counted(admitted.and_then(|()| {
            let mut ticket = self.ticket(address, principal);
            if upgrades || may_become_a_stream(request) {
                self.reserve(&mut ticket)?;
            }
            Ok(ticket)
        }))
    }

    fn counted<T>(&self, admitted: Result<T, Refusal>) -> Result<T, Refusal> {
        admitted.inspect_err(|refusal| self.admission.refusals.count(refusal.reason))
    }

    /// The places of a stream that came of a request; those of anything else
    /// are free again.
    pub(crate) fn settle(
        &self,
        mut ticket: Ticket,
        is_stream: bool,
    ) -> Result<Vec<Permit>, Refusal> {
        if is_stream && ticket.places.is_empty() {
            let reserved = self.reserve(&mut ticket);
            self.counted(reserved)?;
        }
        Ok(if is_stream { ticket.places } else { Vec::new() })
    }

    fn principal<B>(&self, request: &Request<B>) -> Option<Who> {
        let claims = request.extensions().get();
        let headers = request.headers();
        let principal = self.engine.principal_of(&self.settings, headers, claims);
        principal.map(Who::Principal)
    }

    /// Takes the request off one kind of allowances.
    fn rate(&self, kind: Per, who: Option<Who>) -> Result<(), Refusal> {
        let Some(who) = who else {
            return Ok(());
        };
        for (_, rates) in self.rates.iter().filter(|(per, _)| *per == kind) {
            rates.take(who).map_err(|wait| {
                let wait = wait.saturating_add(Duration::from_millis(999)).as_secs();
                Refusal::retried_after(Reason::Rate, wait)
            })?;
        }
        Ok(())
    }

    fn ticket(&self, address: Option<Who>, principal: Option<Who>) -> Ticket {
        let limits = &self.admission.limits;
        let address = address.filter(|_| limits.streams_per_address.is_some());
        let principal = principal.filter(|_| limits.streams_per_principal.is_some());
        let address = address.map(|who| (who, Reason::StreamsPerAddress));
        let principal = principal.map(|who| (who, Reason::StreamsPerPrincipal));
        Ticket {
            who: address.into_iter().chain(principal).collect(),
            places: Vec::new(),
        }
    }

    fn reserve(&self, ticket: &mut Ticket) -> Result<(), Refusal> {
        let limits = &self.admission.limits;
        for (who, reason) in &ticket.who {
            let limit = match who {
                Who::Address(_) => limits.streams_per_address,
                Who::Principal(_) => limits.streams_per_principal,
            };
            let place = Places::take(&self.admission.streams, *who, limit.unwrap_or(usize::MAX));
            let Some(place) = place else {
                return Err(Refusal::retried_after(*reason, STREAM_WAIT));
            };
            ticket.places.push(place);
        }
        Ok(())
    }
}

fn address<B>(request: &Request<B>) -> Option<Who> {
    let peer = request.extensions().get::<Peer>();
    peer.map(|peer| Who::Address(block(peer.client)))
}

/// Whether a request asks for a stream, or may be answered with one and must
/// not be executed in vain. (A page's many other GETs take no places.)
fn may_become_a_stream<B>(request: &Request<B>) -> bool {
    let mut accepted = request.headers().get_all(ACCEPT).iter();
    let names = |value: &http::HeaderValue| {
        let value = value.as_bytes().to_ascii_lowercase();
        memmem::find(&value, b"text/event-stream").is_some()
    };
    let idempotent = [Method::GET, Method::HEAD, Method::OPTIONS];
    !idempotent.contains(request.method()) || accepted.any(names)
}
