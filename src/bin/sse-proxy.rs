//! The `sse-proxy` binary: does what it is asked, and says how that ended.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tower_sse::proxy::Config;
use tower_sse::proxy::arguments::{Arguments, Command, Source};
use tower_sse::proxy::check;
use tower_sse::proxy::demo::Demo;
use tower_sse::proxy::logging;
use tower_sse::proxy::manual;
use tower_sse::proxy::process::{self, Failure};
use tower_sse::proxy::schema;
use tower_sse::proxy::tail::{self, Ended, TailError};

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
    match &arguments.command {
        Some(Command::Check { online }) => return check(&arguments.source, *online),
        Some(Command::Tail(options)) => return tail(options),
        Some(Command::Schema) => return print(schema::TEXT.as_bytes()),
        Some(Command::Completions { shell }) => return print(&manual::completions(*shell)),
        Some(Command::Man { command }) => return page(command.as_deref()),
        Some(Command::Demo { .. }) | None => {}
    }
    logging::init(arguments.log_format, arguments.log_level.as_deref())
        .map_err(|why| refused(format!("not a log level or filter: {why}")))?;
    // Connections have threads of their own: see `proxy::workers`.
    runtime()?.block_on(async {
        if let Some(Command::Demo { listen }) = &arguments.command {
            let demo = Demo::start(*listen).await.map_err(failed)?;
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
fn check(source: &Source, online: bool) -> Outcome {
    let config = source.read().map_err(refused)?;
    for warning in config.warnings() {
        eprintln!("sse-proxy: warning: {warning}");
    }
    check::certificates(&config).map_err(refused)?;
    if online {
        runtime()?.block_on(ask_around(&config))?;
    }
    print(config.to_yaml().as_bytes())
}

/// Everybody is asked, whoever fails.
async fn ask_around(config: &Config) -> Outcome {
    let findings = check::online(config).await.map_err(refused)?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    let failed = findings.iter().filter(|found| !found.is_good()).count();
    match failed {
        0 => Ok(()),
        failed => Err((3, format!("{failed} of {} checks failed", findings.len()))),
    }
}

fn page(of: Option<&str>) -> Outcome {
    let page = manual::page(of);
    print(&page.map_err(|_| refused("there is no such command; `sse-proxy help` lists them"))?)
}

fn print(bytes: &[u8]) -> Outcome {
    match stdout().write_all(bytes) {
        // Whoever read has enough.
        Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(failed),
    }
}

fn tail(options: &tail::Options) -> Outcome {
    let output = Box::new(stdout().lock());
    match runtime()?.block_on(tail::run(options, output)) {
        Ok(Ended::Whole) => Ok(()),
        Ok(Ended::Gaps) => Err((3, "the server told of a gap: events are missing".into())),
        Err(why @ TailError::Options(_)) => Err(refused(why)),
        Err(why) => Err(failed(why)),
    }
}

fn runtime() -> Result<Runtime, (u8, String)> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(failed)
}

/// The operator's to change.
fn refused(why: impl Display) -> (u8, String) {
    (2, why.to_string())
}

/// Went wrong in spite of good arguments.
fn failed(why: impl Display) -> (u8, String) {
    (1, why.to_string())
}
