//! All peers through all scenarios, round after round.

use std::io;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::options::Options;
use crate::peers::Peer;
use crate::report;
use crate::result::{Failure, Run};
use crate::scenario::Scenario;
use crate::stage::Stage;
use crate::{floor, machine};

/// Runs what `options` ask for: exit code 1 if anything failed.
pub(crate) fn run(options: Options) -> io::Result<ExitCode> {
    let peers = present(&options)?;
    let mut run = begin(&options, &peers);
    let stage = Stage::new(options)?;
    run.pinned = stage.pinned;
    for round in 0..run.rounds {
        let floor = floor::measure(stage.measured_core())?;
        eprintln!("round {}: a bare send costs {floor:.0} ns", round + 1);
        run.floor_ns.push(floor);
        for scenario in scenarios(&stage.options) {
            for turn in 0..peers.len() {
                // Nobody always comes first, when the machine is still cool.
                compete(
                    &stage,
                    scenario,
                    peers[(turn + round) % peers.len()],
                    round,
                    &mut run,
                );
            }
        }
        if let Some(file) = &stage.options.json {
            std::fs::write(file, serde_json::to_string_pretty(&run)?)?;
        }
    }
    report::print(&run);
    Ok(if run.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn compete(stage: &Stage, scenario: Scenario, peer: Peer, round: usize, run: &mut Run) {
    let (name, who) = (scenario.name(), peer.name());
    if let Some(reason) = scenario.skips(peer) {
        if round == 0 {
            eprintln!("{name}: {who} is skipped: {reason}");
        }
        return;
    }
    match scenario.run(stage, peer) {
        Ok(mut sample) => {
            name.clone_into(&mut sample.scenario);
            who.clone_into(&mut sample.peer);
            sample.round = round;
            eprintln!("{}", report::line(&sample));
            run.samples.push(sample);
        }
        Err(error) => {
            eprintln!("{name}: {who} FAILED: {error}");
            run.failures.push(Failure {
                scenario: name.to_owned(),
                peer: who.to_owned(),
                round,
                reason: error.to_string(),
            });
        }
    }
}

fn scenarios(options: &Options) -> Vec<Scenario> {
    if options.scenarios.is_empty() {
        Scenario::value_variants().to_vec()
    } else {
        options.scenarios.clone()
    }
}

/// The peers asked for. Who was named must be there; of all, who is.
fn present(options: &Options) -> io::Result<Vec<Peer>> {
    let all = options.peers.is_empty();
    let wanted = if all {
        Peer::value_variants()
    } else {
        &options.peers
    };
    let mut wanted = wanted.to_vec();
    wanted.sort();
    wanted.dedup();
    let mut present = Vec::new();
    for peer in wanted {
        if peer.version(&options.proxy).is_some() {
            present.push(peer);
        } else if all {
            eprintln!("{} is skipped: not installed", peer.name());
        } else {
            let reason = format!("{} is not installed", peer.name());
            return Err(io::Error::other(reason));
        }
    }
    Ok(present)
}

fn begin(options: &Options, peers: &[Peer]) -> Run {
    let version = |peer: &Peer| Some((peer.name().to_owned(), peer.version(&options.proxy)?));
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    Run {
        command: format!(
            "cargo bench --features full --bench compare -- {}",
            arguments.join(" ")
        ),
        started: machine::timestamp(),
        machine: machine::machine(),
        peers: peers.iter().map(|peer| peer.name().to_owned()).collect(),
        versions: peers.iter().filter_map(version).collect(),
        rounds: usize::from(options.rounds),
        seconds: options.seconds,
        pinned: false,
        floor_ns: Vec::new(),
        samples: Vec::new(),
        failures: Vec::new(),
    }
}
