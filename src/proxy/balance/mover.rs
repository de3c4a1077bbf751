//! Moving the live streams of a server that is down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tokio::time::{sleep, sleep_until};

use super::{Balance, Server};

/// How often streams are told to leave, while there are any.
const TICK: Duration = Duration::from_millis(20);

/// Watches one server: shows whether it is up, and moves its streams when it is
/// not and another one is.
#[derive(Debug)]
pub struct Mover {
    balance: Arc<Balance>,
    server: Arc<Server>,
    /// Over how long; `None`: streams stay.
    spread: Option<Duration>,
    moved: Counter,
    /// Whether health checks say if it is healthy.
    checked: bool,
}

impl Mover {
    /// Moves the streams of `server` over `spread`, and counts them. If it is
    /// not `checked`, it is taken for healthy.
    pub fn new(
        balance: Arc<Balance>,
        server: Arc<Server>,
        spread: Option<Duration>,
        moved: Counter,
        checked: bool,
    ) -> Self {
        Self {
            balance,
            server,
            spread,
            moved,
            checked,
        }
    }

    /// Shows whether the server is up.
    ///
    /// What found it down may have been a check there is no more, or one that
    /// ends just now: nobody else would ever find that it is back.
    pub fn show(&self, now: Instant) {
        if !self.checked && !self.server.is_healthy() {
            self.balance.set_healthy(&self.server, true, now);
        }
        let up = i64::from(self.server.is_up(now));
        self.server.metrics.up.set(up);
    }

    /// Never ends.
    pub async fn run(&self) {
        let mut changes = self.balance.changes();
        loop {
            changes.borrow_and_update();
            let now = Instant::now();
            self.show(now);
            if let Some(spread) = self.spread
                && self.is_to_be_left()
                && self.server.guests.staying() > 0
            {
                self.evacuate(spread).await;
                continue;
            }
            let forgiven = self.server.ejected_until(now);
            tokio::select! {
                news = changes.changed() => if news.is_err() { return },
                () = until(forgiven) => {}
            }
        }
    }

    /// The reconnects are spread once more, by the streams' own back-off.
    async fn evacuate(&self, spread: Duration) {
        let count = self.server.guests.staying();
        let start = Instant::now();
        let mut moved = 0;
        while moved < count && self.is_to_be_left() {
            let due = if spread.is_zero() {
                count
            } else {
                due(count, start.elapsed().div_duration_f64(spread))
            };
            let now = self.server.guests.dismiss(due.saturating_sub(moved));
            self.moved.inc_by(now as u64);
            moved = due;
            if moved < count {
                sleep(TICK).await;
            }
        }
        let (server, streams) = (self.server.authority(), moved);
        tracing::info!(%server, streams, "live streams move to other servers");
    }

    fn is_to_be_left(&self) -> bool {
        let now = Instant::now();
        !self.server.is_up(now) && self.balance.has_other(&self.server, now)
    }
}

/// How many of `count` are to be gone after this part of the time.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "from 0 to `count`, where an error of one is none"
)]
fn due(count: usize, part: f64) -> usize {
    // At least one: the first goes at once.
    ((count as f64 * part) as usize + 1).min(count)
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
