//! Who asked for what, and what came of it: one line per request, and two per
//! event stream, when it begins and when it ends.
//!
//! A line holds no query, no headers and no ids of streams: nothing that would
//! let its reader in where he has no business. With no log, a request passes
//! through here for the price of a look at two pointers; an event, with one,
//! costs an addition.

mod body;
mod entry;
mod line;
mod service;
mod sink;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use http::HeaderName;
use prometheus_client::metrics::counter::Counter;

pub(crate) use self::body::AccessBody;
pub(crate) use self::service::Recording;
use self::sink::Leaving;
pub(crate) use self::sink::Sink;
use super::config::model::{AccessLog, Operations};

/// Where requests are noted now, and by which header they are named.
#[derive(Debug)]
pub(crate) struct Register {
    sink: ArcSwapOption<Sink>,
    request_id: ArcSwapOption<HeaderName>,
    dropped: Counter,
    leaving: Arc<Leaving>,
}

/// Told by the router which route a request took, and whose it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteTaken(Arc<OnceLock<(String, Option<IpAddr>)>>);

impl Register {
    /// Opens the log, if there is to be one. `dropped` counts lines that could
    /// not be written in time.
    pub(crate) fn open(operations: &Operations, dropped: Counter) -> io::Result<Self> {
        let register = Self {
            sink: ArcSwapOption::empty(),
            request_id: ArcSwapOption::empty(),
            dropped,
            leaving: Arc::default(),
        };
        let sink = register.prepare(operations.access_log.as_ref())?;
        register.replace(operations, sink);
        Ok(register)
    }

    /// A log that can take the place of the one there is.
    pub(crate) fn prepare(&self, log: Option<&AccessLog>) -> io::Result<Option<Sink>> {
        let leaving = || Arc::clone(&self.leaving);
        log.map(|log| Sink::open(log, self.dropped.clone(), leaving()))
            .transpose()
    }

    /// From now on lines go there.
    pub(crate) fn replace(&self, operations: &Operations, sink: Option<Sink>) {
        self.sink.store(sink.map(Arc::new));
        let name = operations.request_id.clone();
        self.request_id.store(name.map(Arc::new));
    }

    /// Writes what there is, and nothing any more.
    pub(crate) fn close(&self) {
        self.sink.store(None);
        self.leaving.join();
    }
}

impl RouteTaken {
    pub(crate) fn set(&self, path: &str, client: Option<IpAddr>) {
        let _ = self.0.set((path.to_owned(), client));
    }

    fn path(&self) -> Option<&str> {
        self.0.get().map(|(path, _)| path.as_str())
    }

    /// Past proxies whose word is believed.
    fn client(&self) -> Option<IpAddr> {
        self.0.get()?.1
    }
}
