//! `proxy.yaml`: what it accepts, what it says about mistakes, what it prints.
#![cfg(feature = "proxy")]
// A test may fail anywhere; the lint exempts only functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod binary;
mod certificates;
mod compress;
mod deploy;
mod documentation;
mod edge;
mod help;
mod journal;
mod mistakes;
mod operation;
mod printing;
mod reading;
mod schema;
mod slips;
mod tls;
mod upstream;
mod warnings;

use tower_sse::proxy::config::{Config, ConfigError};

/// Reads a text called `proxy.yaml` in a small environment.
fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse("proxy.yaml", text, &|name| match name {
        "PORT" => Some("9000".into()),
        "EMPTY" => Some(String::new()),
        "SECRET" => Some("hunter2".into()),
        "LONG_SECRET" => Some("hunter2-hunter2-hunter2".into()),
        "REDIS_URL" => Some("rediss://user:hunter2@redis/3".into()),
        "SECRET_URL" => Some("http://user:hunter2@app".into()),
        _ => None,
    })
}

/// A configuration whose first route has this `sse` block, in flow style.
fn with_sse(sse: &str) -> String {
    format!("routes:\n  - path: /\n    upstream: http://app\n    sse: {sse}\n")
}
