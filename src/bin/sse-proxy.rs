//! The `sse-proxy` binary: does what it is asked, and says how that ended.

use std::fmt::Display;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Builder;
use tower_sse::proxy::Config;
use tower_sse::proxy::arguments::{Arguments, Command};
use tower_sse::proxy::demo::Demo;
use tower_sse::proxy::logging;
use tower_sse::proxy::process::{self, Failure};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// An exit code and what to say, where it is not success.
type Outcome = Result<(), (u8, String)>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = start(&arguments);
    #[cfg(feature = "otel")]
    tower_sse::proxy::traces::flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            eprintln!("sse-proxy: error: {message}");
            ExitCode::from(code)
        }
    }
}

fn start(arguments: &Arguments) -> Outcome {
    if let Some(Command::Check) = arguments.command {
        return check(&arguments.source.read().map_err(refused)?);
    }
    logging::init(arguments.log_format, arguments.log_level.as_deref())
        .map_err(|why| refused(format!("not a log level or filter: {why}")))?;
    // Connections have threads of their own: see `proxy::workers`.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    runtime.block_on(async {
        if let Some(Command::Demo { listen }) = arguments.command {
            let demo = Demo::start(listen).await.map_err(failed)?;
            return run(demo.config(), None, invite).await;
        }
        let config = arguments.source.read().map_err(refused)?;
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        run(config, arguments.source.file(), |_| {}).await
    })
}

async fn run(config: Config, file: Option<PathBuf>, announced: impl FnOnce(SocketAddr)) -> Outcome {
    let ended = process::run(config, file, announced).await;
    ended.map_err(|why| match why {
        Failure::Bind(_) => refused(why),
        Failure::System(_) | Failure::Cut => failed(why),
    })
}

fn invite(proxy: SocketAddr) {
    let _ = write!(stdout(), "{}", Demo::invitation(proxy));
}

/// Warnings go to standard error, so that the rest can be stored as a file.
fn check(config: &Config) -> Outcome {
    for warning in config.warnings() {
        eprintln!("sse-proxy: warning: {warning}");
    }
    let printed = stdout().write_all(config.to_yaml().as_bytes());
    printed.map_err(failed)
}

/// The operator's to change.
fn refused(why: impl Display) -> (u8, String) {
    (2, why.to_string())
}

/// Went wrong in spite of good arguments.
fn failed(why: impl Display) -> (u8, String) {
    (1, why.to_string())
}
