//! What peers are put through.

mod flat;
mod idle;
mod resume;
mod saturation;
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
    /// 200 clients, more events a second until some are not delivered
    Saturation,
    /// 10,000 clients that are told nothing
    Idle,
    /// One client, as fast as it goes
    Flat,
    /// 5,000 clients connect at once
    Storm,
    /// 1,000 clients return at once and missed 10,000 events each
    Resume,
    /// The fan-out, to clients that come by TLS
    TlsFanout,
    /// The idle clients, by TLS
    TlsIdle,
    /// 1,000 answers to POST requests, 30 tokens a second each
    Llm,
}

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fanout => "fanout",
            Self::Saturation => "saturation",
            Self::Idle => "idle",
            Self::Flat => "flat",
            Self::Storm => "storm",
            Self::Resume => "resume",
            Self::TlsFanout => "tls-fanout",
            Self::TlsIdle => "tls-idle",
            Self::Llm => "llm",
        }
    }

    /// Why `peer` is left out, if it is.
    pub(crate) fn skips(self, peer: Peer) -> Option<&'static str> {
        match (self, peer) {
            (Self::Flat, Peer::Shared) => {
                Some("by design, one reader does not slow a shared stream down")
            }
            (Self::Flat, Peer::Nchan) => Some("it has no back pressure"),
            (Self::TlsFanout | Self::TlsIdle, Peer::Direct) => Some("the origin has no TLS"),
            (Self::TlsFanout | Self::TlsIdle, Peer::Pushpin) => Some("its TLS is not set up here"),
            (Self::Llm, Peer::Shared | Peer::Nchan) => Some("an answer is not shared"),
            _ => None,
        }
    }

    /// Puts `peer` through it, once.
    pub(crate) fn run(self, stage: &Stage, peer: Peer) -> io::Result<Sample> {
        match self {
            Self::Fanout => steady::fanout(stage, peer, false),
            Self::Saturation => saturation::run(stage, peer),
            Self::Idle => idle::run(stage, peer, false),
            Self::Flat => flat::run(stage, peer),
            Self::Storm => storm::run(stage, peer),
            Self::Resume => resume::run(stage, peer),
            Self::TlsFanout => steady::fanout(stage, peer, true),
            Self::TlsIdle => idle::run(stage, peer, true),
            Self::Llm => steady::answers(stage, peer),
        }
    }
}
