//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::peers::Peer;
use crate::scenario::Scenario;

/// sse-proxy beside other proxies, before the same origin and under the same load.
#[derive(Debug, Parser)]
#[command(name = "compare")]
pub(crate) struct Options {
    /// What to measure; everything if none is named
    pub(crate) scenarios: Vec<Scenario>,

    /// Whom to measure; everybody installed if none is named
    #[arg(long, value_delimiter = ',')]
    pub(crate) peers: Vec<Peer>,

    /// How often; figures are medians over the rounds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,

    /// How long each timed scenario is measured
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,

    /// Clients, in place of each scenario's own number
    #[arg(long, value_parser = clients)]
    pub(crate) clients: Option<usize>,

    /// Another sse-proxy than the one built along
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sse-proxy"))]
    pub(crate) proxy: PathBuf,

    /// Writes all samples to this file, or with --report reads them from it
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Measures nothing, but writes the samples of --json into this Markdown
    /// file, between its markers, and a picture beside it
    #[arg(long, value_name = "FILE", requires = "json")]
    pub(crate) report: Option<PathBuf>,

    /// Leaves processes to the scheduler, and gives peers all processors
    #[arg(long)]
    pub(crate) unpinned: bool,

    /// Prints scenarios and peers, and which of them are installed
    #[arg(long)]
    pub(crate) list: bool,

    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn clients(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(clients @ 1..=60_000) => Ok(clients),
        _ => Err("a number from 1 to 60000".to_owned()),
    }
}
