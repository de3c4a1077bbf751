//! Many clients, each sent a few events a second for a while.

use std::io;
use std::time::Duration;

use super::window::{Window, latency};
use crate::load::Load;
use crate::peers::Peer;
use crate::result::Sample;
use crate::stage::{Needs, Site, Stage};

/// Clients that pay for what all others use too.
pub(super) const FIRST: usize = 200;

const WARM_UP: Duration = Duration::from_secs(2);

pub(super) fn fanout(stage: &Stage, peer: Peer) -> io::Result<Sample> {
    let mut site = stage.open(peer, Needs::default())?;
    let load = Load::new(site.target()?)?;
    let clients = stage.clients(peer, 1_000);
    run(
        &mut site,
        load,
        clients,
        50,
        Duration::from_secs(stage.options.seconds),
    )
}

fn run(
    site: &mut Site<'_>,
    mut load: Load,
    clients: usize,
    rate: u64,
    time: Duration,
) -> io::Result<Sample> {
    let first = FIRST.min(clients / 2);
    load.connect(first)?;
    let before = site.measured().memory_kib()?;
    load.connect(clients)?;
    site.origin.rate(rate)?;
    load.run_for(WARM_UP)?;
    let window = Window::open(site, &mut load);
    load.run_for(time)?;
    let mut sample = window.close(site, &load)?;
    latency(&mut sample, &load);
    let after = site.measured().memory_kib()?;
    sample.kib_per_client = Some((after as f64 - before as f64) / (clients - first) as f64);
    whole(site, &mut load)?;
    Ok(sample)
}

/// Stops the events and makes sure that all of them came to everybody.
pub(super) fn whole(site: &mut Site<'_>, load: &mut Load) -> io::Result<()> {
    let state = site.origin.rate(0)?;
    load.run_to(state.last)?;
    if state.overflowed > 0 {
        let reason = format!("the origin's backlog overflowed {} times", state.overflowed);
        return Err(io::Error::other(reason));
    }
    Ok(())
}
