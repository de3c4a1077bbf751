//! `proxy.yaml`, read and checked.
//!
//! A [`Config`] can only be had from here, and every mistake a file can hold is
//! found while it is read: the error names file, line, column and key, says
//! what is wrong and what to do. Whatever the server is given is then valid.
//!
//! ```
//! use tower_sse::proxy::config::Config;
//!
//! let text = "
//! routes:
//!   - path: /events
//!     upstream: http://127.0.0.1:3000
//!     sse: { hearbeat: 15s }
//! ";
//! let mistake = Config::parse("proxy.yaml", text, &|_| None).unwrap_err();
//! assert_eq!(
//!     mistake.to_string(),
//!     "proxy.yaml:5:12: routes[0].sse.hearbeat: unknown key; did you mean `heartbeat`?"
//! );
//! ```
//!
//! Text becomes a `tree` (YAML, with the environment put in), the tree becomes
//! the [`model`] (`file` for the top level, one module per block), and the model
//! can be `print`ed as a file again.

mod access;
mod answer;
mod environment;
mod error;
mod file;
mod journal;
mod limits;
mod listener;
pub mod model;
mod network;
mod operation;
mod pem;
mod print;
mod rate;
mod redis_url;
mod route;
mod secret;
mod section;
mod slip;
mod sse;
mod tls;
mod tree;
mod units;
mod upstream;
mod warning;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

pub use error::ConfigError;
pub use model::Config;
use sha2::{Digest, Sha256};

use environment::Environment;
use tree::Node;

impl Config {
    /// Reads a file; `${NAME}` is looked up in the process environment.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let source = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|why| {
            let what_to_do = match why.kind() {
                std::io::ErrorKind::NotFound => "; name another by --config",
                _ => "",
            };
            let why = error::io_reason(&why);
            let message = format!("cannot read the configuration: {why}{what_to_do}");
            ConfigError::whole(message).in_source(&source)
        })?;
        Self::parse(&source, &text, &|name| std::env::var(name).ok())
    }

    /// Reads a text. Its relative file names start at the folder of
    /// `source_name`, which is also what errors call it.
    pub fn parse(source_name: &str, text: &str, env: Environment<'_>) -> Result<Self, ConfigError> {
        let folder = Path::new(source_name).parent().unwrap_or(Path::new(""));
        Node::parse(text, env)
            .and_then(|root| file::read(&root, folder))
            .map_err(|error| error.in_source(source_name))
    }

    /// One listener before one upstream, every setting at its default: what
    /// `sse-proxy --listen ADDR --upstream URL` runs.
    pub fn single(listen: SocketAddr, upstream: &str) -> Result<Self, ConfigError> {
        file::single(listen, upstream).map_err(|error| error.in_source("--upstream"))
    }

    /// The effective configuration as YAML, every default filled in. It reads
    /// back as an equal configuration, given the same environment.
    ///
    /// Passwords and secrets are not in it: where the file has `${NAME}`, so has
    /// this; anything else is `<hidden>`, which is refused when it is read.
    pub fn to_yaml(&self) -> String {
        print::yaml(self)
    }

    /// What tells this configuration from others: a hash of what [`to_yaml`]
    /// prints. So it is the same wherever the same is in force, and a secret
    /// that is changed changes nothing about it.
    ///
    /// [`to_yaml`]: Self::to_yaml
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.to_yaml());
        let mut text = String::new();
        for byte in digest.iter().take(6) {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// What is valid but probably not meant, or worth knowing: one line each.
    pub fn warnings(&self) -> Vec<String> {
        warning::all(self)
    }
}
