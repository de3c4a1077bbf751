//! How much a peer can deliver: the rate is raised until it does not.

use std::io;
use std::time::Duration;

use super::steady::whole;
use super::window::{Window, latency};
use crate::check::LOST;
use crate::load::Load;
use crate::peers::Peer;
use crate::result::Sample;
use crate::stage::{Needs, Stage};

const CLIENTS: usize = 200;

/// Events a second to each client, to begin with.
const FIRST_RATE: u64 = 500;

/// Beyond these there is nothing to learn.
const LOWEST_RATE: u64 = 8;
const HIGHEST_RATE: u64 = 64_000;

const WARM_UP: Duration = Duration::from_millis(700);

/// Of what was offered, what must arrive within the time.
const HELD: f64 = 0.99;

pub(super) fn run(stage: &Stage, peer: Peer) -> io::Result<Sample> {
    let mut rate = FIRST_RATE;
    let mut best = loop {
        if let Some(sample) = rung(stage, peer, rate)? {
            break sample;
        }
        rate /= 2;
        if rate < LOWEST_RATE {
            return Err(io::Error::other("no rate was held"));
        }
    };
    let mut cheapest = best.events_per_cpu_second;
    // Twice as much each time, and half as much again where that is too much.
    let mut next = rate * 2;
    while next <= HIGHEST_RATE {
        match rung(stage, peer, next)? {
            Some(sample) => {
                let cost = sample.events_per_cpu_second;
                cheapest = if cost > cheapest { cost } else { cheapest };
                let halfway = next < rate * 2;
                (best, rate) = (sample, next);
                if halfway {
                    break;
                }
                next = rate * 2;
            }
            None if next == rate * 2 => next = rate * 3 / 2,
            None => break,
        }
    }
    best.best_events_per_cpu_second = cheapest;
    Ok(best)
}

/// One rate: none if it was not held. Being late or cut is not to hold it, nor
/// is what a shared stream does to readers beyond its buffer. Any other loss,
/// and any event doubled or out of order, is an error at every rate.
fn rung(stage: &Stage, peer: Peer, rate: u64) -> io::Result<Option<Sample>> {
    match try_rung(stage, peer, rate) {
        Ok(sample) => Ok(sample),
        Err(error) => match error.kind() {
            io::ErrorKind::TimedOut
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset => Ok(None),
            LOST if peer.fans_out() => Ok(None),
            _ => Err(error),
        },
    }
}

fn try_rung(stage: &Stage, peer: Peer, rate: u64) -> io::Result<Option<Sample>> {
    let needs = Needs {
        large_buffer: true,
        ..Needs::default()
    };
    let mut site = stage.open(peer, needs)?;
    let mut load = Load::new(site.target()?)?;
    let clients = stage.clients(peer, CLIENTS);
    load.connect(clients)?;
    site.origin.rate(rate)?;
    load.run_for(WARM_UP)?;
    let window = Window::open(&site, &mut load);
    load.run_for(Duration::from_secs(stage.options.seconds) / 3)?;
    let mut sample = window.close(&mut site, &load)?;
    load.unbroken()?;
    let offered = (rate * clients as u64) as f64;
    if sample.events_per_second < offered * HELD {
        return Ok(None);
    }
    latency(&mut sample, &load);
    sample.held_rate = Some(offered);
    whole(&mut site, &mut load)?;
    Ok(Some(sample))
}
