//! Everybody connects at once.

use std::io;
use std::time::Instant;

use super::steady::FIRST;
use super::window::Window;
use crate::load::Load;
use crate::peers::Peer;
use crate::result::Sample;
use crate::stage::{Needs, Stage};

pub(super) fn run(stage: &Stage, peer: Peer) -> io::Result<Sample> {
    let mut site = stage.open(peer, Needs::default())?;
    let clients = stage.clients(peer, 5_000);
    let mut first = Load::new(site.target()?)?;
    first.connect(FIRST)?;
    let mut load = Load::new(site.target()?)?;
    let window = Window::open(&site, &mut load);
    let began = Instant::now();
    load.connect_at_once(clients)?;
    let mut sample = window.close(&mut site, &load)?;
    sample.cpu_us_per_client = sample
        .busy
        .map(|busy| busy * sample.seconds * 1e6 / clients as f64);
    let mut opened: Vec<f64> = load
        .opened()
        .map(|at| at.duration_since(began).as_secs_f64() * 1e3)
        .collect();
    opened.sort_by(f64::total_cmp);
    sample.elapsed_ms = opened.last().copied();
    sample.median_ms = opened.get(opened.len() / 2).copied();
    Ok(sample)
}
