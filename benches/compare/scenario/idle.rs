//! Many clients, one event each, and then nothing.

use std::io;
use std::time::Duration;

use super::steady::FIRST;
use super::window::Window;
use crate::load::Load;
use crate::peers::Peer;
use crate::result::Sample;
use crate::stage::{Needs, Stage};

/// For what is freed, or done later, once the last client has come.
const SETTLING: Duration = Duration::from_secs(2);

pub(super) fn run(stage: &Stage, peer: Peer, tls: bool) -> io::Result<Sample> {
    let needs = Needs {
        tls,
        ..Needs::default()
    };
    let mut site = stage.open(peer, needs)?;
    let mut load = Load::new(site.target()?)?;
    let clients = stage.clients(peer, 10_000);
    let first = FIRST.min(clients / 2);
    load.connect(first)?;
    site.origin.burst(1)?;
    load.run_to_count(first as u64)?;
    let before = site.measured().memory_kib()?;
    load.connect(clients)?;
    site.origin.burst(1)?;
    load.run_to_count((first + clients) as u64)?;
    load.run_for(SETTLING)?;
    let window = Window::open(&site, &mut load);
    load.run_for(Duration::from_secs(stage.options.seconds))?;
    let after = site.measured().memory_kib()?;
    let mut sample = window.close(&mut site, &load)?;
    load.unbroken()?;
    if sample.upstream_connections < Some(clients as u64) && !peer.fans_out() {
        let open = sample.upstream_connections.unwrap_or(0);
        let reason = format!("{open} of {clients} connections to the origin are left");
        return Err(io::Error::other(reason));
    }
    sample.kib_per_client = Some((after as f64 - before as f64) / (clients - first) as f64);
    Ok(sample)
}
