//! `sse-proxy` beside other proxies: the same origin behind each in turn, the
//! same load before it, and every event checked.
//!
//! `cargo bench --features full --bench compare -- --help`
//!
//! This process is the load; the origin is a second one of the same
//! executable, the peer a third, on a processor of its own. Every client
//! checks that its events are consecutive and whole: a peer that loses,
//! doubles or reorders one, or cuts a client, has failed that scenario, and so
//! has the run. Processor time and memory are the kernel's figures of all of
//! the peer's processes. Memory is what processes hold, not what the kernel
//! keeps for their sockets.

#![expect(
    clippy::cast_precision_loss,
    reason = "figures are reported to three digits"
)]

mod check;
mod client;
mod event;
mod floor;
mod load;
mod machine;
mod options;
mod origin;
mod peers;
mod process;
mod report;
mod response;
mod result;
mod scenario;
mod self_test;
mod socket;
mod stage;
mod tls;
mod tournament;

use std::io;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use options::Options;
use peers::Peer;
use scenario::Scenario;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some(origin::ARGUMENT) => return origin::serve().map(|()| ExitCode::SUCCESS),
        Some(floor::ARGUMENT) => {
            let to = arguments.get(2).map_or("", String::as_str);
            return floor::send(to).map(|()| ExitCode::SUCCESS);
        }
        _ => {}
    }
    // `cargo test --benches` only wants to know that it starts.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options::parse();
    self_test::run();
    if options.list {
        list(&options);
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(json), Some(file)) = (&options.json, &options.report) {
        return report::write(json, file).map(|()| ExitCode::SUCCESS);
    }
    tournament::run(options)
}

fn list(options: &Options) {
    println!("scenarios:");
    for scenario in Scenario::value_variants() {
        let help = scenario
            .to_possible_value()
            .and_then(|value| value.get_help().cloned());
        println!("  {:<12} {}", scenario.name(), help.unwrap_or_default());
    }
    println!("peers:");
    for peer in Peer::value_variants() {
        let version = peer.version(&options.proxy);
        let value = peer.to_possible_value();
        let value = value.as_ref().map_or("", |value| value.get_name());
        println!(
            "  {value:<12} {}",
            version.as_deref().unwrap_or("not installed")
        );
    }
}
