//! What the binary can be asked to do.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::config::{Config, ConfigError};
use super::logging::LogFormat;
use super::tail;

const EXIT_CODES: &str = "\
Exit codes:
  0  drained after SIGTERM or SIGINT, or the check passed
  1  failed while running, or ended by a second signal before it was drained
  2  wrong arguments or configuration, or what it names cannot be had: an
     address in use, a missing certificate
  3  check --online: somebody cannot be reached; tail: events are missing";

const COMPLETIONS: &str = "\
Where shells look for them:
  bash  sse-proxy completions bash > /etc/bash_completion.d/sse-proxy
  zsh   sse-proxy completions zsh > /usr/local/share/zsh/site-functions/_sse-proxy
  fish  sse-proxy completions fish > /etc/fish/completions/sse-proxy.fish";

/// Gives any SSE backend heartbeats, event ids, replay and hidden reconnects.
#[derive(Debug, Parser)]
#[command(name = "sse-proxy", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do; nothing means: run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,
    /// How log lines are written to standard error.
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
    /// A level (error, warn, info, debug, trace) or a filter such as
    /// `info,tower_sse=debug`; without it `RUST_LOG` decides, else info.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// A file, or an address and a URL in its place.
#[derive(Debug, Args)]
pub struct Source {
    /// Configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = "proxy.yaml")]
    pub config: PathBuf,
    /// Without a file: where to listen.
    #[arg(
        long,
        value_name = "ADDR",
        requires = "upstream",
        conflicts_with = "config"
    )]
    pub listen: Option<SocketAddr>,
    /// Without a file: the backend's URL, scheme, host and port.
    #[arg(long, value_name = "URL", requires = "listen")]
    pub upstream: Option<String>,
}

/// What to do instead of running the configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Checks the configuration and its certificates, and prints it with every
    /// default.
    Check {
        /// Also connects to everybody it leads to, and says how that went.
        #[arg(long)]
        online: bool,
    },
    /// Prints the JSON Schema of the configuration, for editors.
    Schema,
    /// Runs a backend that keeps dying, the proxy before it, and a page to
    /// watch both.
    Demo {
        /// Address and port of the proxy.
        // An id of its own, as `--listen` without a command needs `--upstream`.
        #[arg(id = "proxy", long = "listen", value_name = "ADDR")]
        #[arg(default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
    },
    /// Reads an event stream as a good client would, and prints it.
    // Boxed, as it is larger than all the others.
    Tail(Box<tail::Options>),
    /// Prints the completion script of a shell.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// Which one.
        shell: Shell,
    },
    /// Prints the manual page: `sse-proxy man | man -l -`.
    Man {
        /// Of one command, such as `tail`.
        command: Option<String>,
    },
}

impl Source {
    /// The file, unless there are arguments in its place.
    pub fn file(&self) -> Option<PathBuf> {
        self.upstream.is_none().then(|| self.config.clone())
    }

    /// Reads and checks the configuration.
    pub fn read(&self) -> Result<Config, ConfigError> {
        match (self.listen, &self.upstream) {
            (Some(listen), Some(upstream)) => Config::single(listen, upstream),
            _ => Config::load(&self.config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_fit_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_file_and_arguments_exclude_each_other() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(parse("sse-proxy").is_ok());
        assert!(parse("sse-proxy check --config a.yaml").is_ok());
        assert!(parse("sse-proxy --listen 127.0.0.1:0 --upstream http://a check").is_ok());
        assert!(parse("sse-proxy demo --listen 127.0.0.1:0 --log-format json").is_ok());
        assert!(parse("sse-proxy --listen 127.0.0.1:0").is_err());
        assert!(parse("sse-proxy --upstream http://a").is_err());
        assert!(parse("sse-proxy --listen 127.0.0.1:0 --upstream http://a --config b").is_err());
    }
}
