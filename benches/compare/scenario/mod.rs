//! What peers are put through.

mod flat;
mod idle;
mod resume;
mod steady;
mod storm;
mod window;

use std::io;

use clap::ValueEnum;

use crate::peers::Peer;
use crate::result::Sample;
use crate::stage::Stage;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Scenario {
    /// 1,000 clients, 50 events a second to each
    Fanout,
    /// 10,000 clients that are told nothing
    Idle,
    /// One client, as fast as it goes
    Flat,
    /// 5,000 clients connect at once
    Storm,
    /// 1,000 clients return at once and missed 10,000 events each
    Resume,
}

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fanout => "fanout",
            Self::Idle => "idle",
            Self::Flat => "flat",
            Self::Storm => "storm",
            Self::Resume => "resume",
        }
    }

    /// Why `peer` is left out, if it is.
    pub(crate) fn skips(self, peer: Peer) -> Option<&'static str> {
        match (self, peer) {
            (Self::Flat, Peer::Shared) => Some(
                "a shared stream has no back pressure, by design: one reader must not slow all",
            ),
            _ => None,
        }
    }

    /// Puts `peer` through it, once.
    pub(crate) fn run(self, stage: &Stage, peer: Peer) -> io::Result<Sample> {
        match self {
            Self::Fanout => steady::fanout(stage, peer),
            Self::Idle => idle::run(stage, peer),
            Self::Flat => flat::run(stage, peer),
            Self::Storm => storm::run(stage, peer),
            Self::Resume => resume::run(stage, peer),
        }
    }
}
