//! Which servers `tail` believes.

use rustls::ClientConfig;

use super::TailError;
use super::options::Options;
use crate::proxy::config::model::UpstreamTls;
use crate::proxy::forward::{TrustError, client_tls};

/// A machine without authorities can still read in clear.
pub(super) fn config(options: &Options) -> Result<ClientConfig, TailError> {
    let settings = UpstreamTls {
        ca: options.ca.clone(),
        insecure: options.insecure,
        ..UpstreamTls::default()
    };
    let config = client_tls(std::slice::from_ref(&options.url), Some(&settings));
    config.map_err(|why| {
        TailError::Options(match why {
            TrustError::Roots(why) => {
                format!("this system has no certificate authorities: {why}; name some by --ca FILE")
            }
            TrustError::File(file, why) => format!("--ca {}: {why}", file.display()),
        })
    })
}
