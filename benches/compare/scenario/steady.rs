//! Many clients, each sent a few events a second for a while.

use std::io;
use std::time::Duration;

use super::window::{Window, latency};
use crate::event::Shape;
use crate::load::Load;
use crate::peers::Peer;
use crate::result::Sample;
use crate::stage::{Needs, Site, Stage};

/// Clients that pay for what all others use too.
pub(super) const FIRST: usize = 200;

const WARM_UP: Duration = Duration::from_secs(2);

const CLIENTS: usize = 1_000;
const EVENTS_PER_SECOND: u64 = 50;
const TOKENS_PER_SECOND: u64 = 30;

pub(super) fn fanout(stage: &Stage, peer: Peer, tls: bool) -> io::Result<Sample> {
    let needs = Needs {
        tls,
        ..Needs::default()
    };
    let mut site = stage.open(peer, needs)?;
    let load = Load::new(site.target()?)?;
    run(stage, &mut site, load, EVENTS_PER_SECOND)
}

/// Answers of language models: every client has asked for its own.
pub(super) fn answers(stage: &Stage, peer: Peer) -> io::Result<Sample> {
    let needs = Needs {
        shape: Shape::Json,
        ..Needs::default()
    };
    let mut site = stage.open(peer, needs)?;
    let mut target = site.target()?;
    target.post = true;
    let load = Load::new(target)?;
    run(stage, &mut site, load, TOKENS_PER_SECOND)
}

fn run(stage: &Stage, site: &mut Site<'_>, mut load: Load, rate: u64) -> io::Result<Sample> {
    let clients = stage.clients(site.peer, CLIENTS);
    let first = FIRST.min(clients / 2);
    load.connect(first)?;
    let before = site.measured().memory_kib()?;
    load.connect(clients)?;
    site.origin.rate(rate)?;
    load.run_for(WARM_UP)?;
    let window = Window::open(site, &mut load);
    load.run_for(Duration::from_secs(stage.options.seconds))?;
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
