//! Log lines on standard error.

use std::io::{IsTerminal, stderr};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging, once per process. `level` is a level or a filter such as
/// `info,tower_sse=debug`; without it `RUST_LOG` decides, else `info`.
pub fn init(format: LogFormat, level: Option<&str>) -> Result<(), ParseError> {
    let level = level.map(str::to_owned);
    let level = level.or_else(|| std::env::var(EnvFilter::DEFAULT_ENV).ok());
    let filter = EnvFilter::try_new(level.as_deref().unwrap_or("info"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    // Somebody else's subscriber stays; there is none in the binary.
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    Ok(())
}
