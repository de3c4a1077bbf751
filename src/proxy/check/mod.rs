//! What `sse-proxy check` looks at beyond the text of the configuration: the
//! certificates it names, and with `--online` whoever it leads to.

mod online;

pub use self::online::{Finding, online};

use super::config::Config;
use super::tls::{TlsError, server_config};

/// Whether every listener's certificate can be read, belongs to its key, and is
/// one that TLS can be done with.
pub fn certificates(config: &Config) -> Result<(), TlsError> {
    let listeners = config.listeners.iter();
    listeners
        .filter_map(|listener| listener.tls.as_ref())
        .try_for_each(|tls| server_config(tls).map(drop))
}
