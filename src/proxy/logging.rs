//! Log lines on standard error.

use std::io::{IsTerminal, stderr};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
#[cfg(feature = "otel")]
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

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
    match format {
        LogFormat::Text => start(log.finish()),
        LogFormat::Json => start(log.json().finish()),
    }
    Ok(())
}

/// Somebody else's subscriber stays; there is none in the binary.
#[cfg(not(feature = "otel"))]
fn start(log: impl tracing::Subscriber + Send + Sync) {
    let _ = log.try_init();
}

/// The same, with traces.
#[cfg(feature = "otel")]
fn start<S>(log: S)
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    use tracing_subscriber::layer::SubscriberExt as _;

    let (traces, failed) = match super::traces::layer() {
        Ok(traces) => (traces, None),
        Err(error) => (None, Some(error)),
    };
    let _ = log.with(traces).try_init();
    if let Some(error) = failed {
        tracing::error!(%error, "no traces are sent; see OTEL_EXPORTER_OTLP_ENDPOINT");
    }
}
