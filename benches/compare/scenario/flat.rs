//! One client whose origin sends as fast as it is read.

use std::io;
use std::time::Duration;

use super::window::Window;
use crate::load::Load;
use crate::peers::Peer;
use crate::result::Sample;
use crate::stage::{Needs, Stage};

const WARM_UP: Duration = Duration::from_secs(1);

pub(super) fn run(stage: &Stage, peer: Peer) -> io::Result<Sample> {
    let mut site = stage.open(peer, Needs::default())?;
    let mut target = site.target()?;
    target.path += "/flood";
    let mut load = Load::new(target)?;
    load.connect(1)?;
    load.run_for(WARM_UP)?;
    let window = Window::open(&site, &mut load);
    load.run_for(Duration::from_secs(stage.options.seconds))?;
    let sample = window.close(&mut site, &load)?;
    load.unbroken()?;
    if sample.events == 0 {
        return Err(io::Error::other("no event came"));
    }
    Ok(sample)
}
