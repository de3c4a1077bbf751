//! Clients that were away return at once, for what they have missed.
//!
//! Who retains nothing leaves the answer to the origin, which has it all.

use std::io;

use super::window::Window;
use crate::event::Shape;
use crate::load::Load;
use crate::peers::Peer;
use crate::result::Sample;
use crate::stage::{Needs, Stage};

const MISSED: u64 = 10_000;

pub(super) fn run(stage: &Stage, peer: Peer) -> io::Result<Sample> {
    let mut site = stage.open(
        peer,
        Needs {
            shape: Shape::Numbered,
            large_buffer: true,
            ..Needs::default()
        },
    )?;
    let mut target = site.target()?;
    // One event more, which the others have seen already.
    let mut first = Load::new(crate::load::Target {
        keep_id: true,
        ..target.clone()
    })?;
    first.connect(1)?;
    site.origin.burst(1 + MISSED)?;
    first.run_to(1 + MISSED)?;
    // A stream of one's own is nobody else's: there the origin's id is shown,
    // as after a restart of the proxy, and passed on.
    let id = if peer.fans_out() {
        first.first_id()?
    } else {
        "0000000001".to_owned()
    };
    target.resume = Some((id, 2));
    let clients = stage.clients(peer, 1_000);
    let mut load = Load::new(target)?;
    let window = Window::open(&site, &mut load);
    load.connect_at_once(clients)?;
    load.run_to_count(clients as u64 * MISSED)?;
    let mut sample = window.close(&mut site, &load)?;
    load.run_to(1 + MISSED)?;
    sample.elapsed_ms = Some(sample.seconds * 1e3);
    Ok(sample)
}
