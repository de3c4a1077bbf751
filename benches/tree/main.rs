//! A tree of proxies on paper: edge → region → origin, and what happens when a
//! region is lost.
//!
//! `cargo bench --bench tree`, or with flags: `cargo bench --bench tree -- --help`
//!
//! No network and no clock: the same flags and the same seed print the same
//! figures on every machine. What a client costs is measured elsewhere
//! (`docs/performance.md`) and given by flags; the rest is arithmetic and a
//! queue. `docs/scaling.md` says what is left out.

#![expect(
    clippy::cast_precision_loss,
    reason = "figures are reported to three digits"
)]

mod options;
mod storm;
mod tiers;

use std::process::ExitCode;

use options::Options;
use storm::{Storm, Wait};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    storm::self_test();
    // `cargo test --benches` only wants to know that it starts.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match Options::parse(arguments.iter().filter(|a| *a != "--bench")) {
        Ok(options) => {
            tiers::print(&options);
            print_storms(&options);
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The same loss, survived by clients with different manners.
fn print_storms(options: &Options) {
    let lost = options.clients / options.regions;
    println!(
        "\none of {} regions is lost: {lost} clients come back to the others, where each of {} \
         edges accepts {}/s\n",
        options.regions,
        storm::surviving_edges(options),
        options.accept
    );
    println!(
        "{:<30} {:>12} {:>10} {:>11} {:>11} {:>11} {:>12}",
        "clients wait", "peak, 1/s", "refused", "median, s", "last, s", "queue, s", "behind, ev."
    );
    let range = Wait::Told {
        low: options.retry_low,
        high: options.retry_high,
    };
    let manners = [
        Wait::Told {
            low: 3.0,
            high: 3.0,
        },
        range,
        Wait::Told {
            low: 2.0,
            high: 30.0,
        },
        Wait::FullJitter {
            initial: 1.0,
            most: 30.0,
        },
    ];
    for wait in manners {
        let storm = Storm::run(options, wait);
        println!(
            "{:<30} {:>12} {:>10} {:>11.1} {:>11.1} {:>11.2} {:>12.0}",
            wait.to_string(),
            storm.peak(),
            storm.refused,
            storm.median(),
            storm.last(),
            storm.longest_queue,
            storm.last() * options.rate,
        );
    }
    println!("\n{range}, second by second, over all surviving regions:\n");
    println!("{:>8} {:>12} {:>12}", "second", "arrive", "are accepted");
    let storm = Storm::run(options, range);
    for (second, (arrived, accepted)) in storm.seconds().enumerate() {
        println!("{second:>8} {arrived:>12} {accepted:>12}");
    }
}
