//! Which certificate a client is shown.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use crate::proxy::acme::{self, Acme};

/// By the name the client asks for. Names of files come before those of ACME;
/// who asks for neither gets the first of all.
#[derive(Debug)]
pub(super) struct Resolver {
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    first: Option<Arc<CertifiedKey>>,
    acme: Option<Arc<Acme>>,
}

impl Resolver {
    pub(super) fn new(certificates: &[Certificate], acme: Option<Arc<Acme>>) -> Self {
        let mut names = HashMap::<String, Vec<_>>::new();
        for certificate in certificates {
            for name in &certificate.names {
                let keys = names.entry(name.clone()).or_default();
                keys.push(Arc::clone(&certificate.key));
            }
        }
        Self {
            names,
            first: certificates.first().map(|first| Arc::clone(&first.key)),
            acme,
        }
    }

    fn of_file(&self, name: &str) -> Option<&[Arc<CertifiedKey>]> {
        let exact = self.names.get(name);
        // A wildcard stands for one label.
        let wild = || self.names.get(&format!("*{}", &name[name.find('.')?..]));
        exact.or_else(wild).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.any(|protocol| protocol == acme::PROTOCOL) {
            return self.acme.as_ref()?.challenge(name?);
        }
        if let Some(keys) = name.and_then(|name| self.of_file(name)) {
            let understood = |key: &&Arc<CertifiedKey>| {
                let offered = hello.signature_schemes();
                key.key.choose_scheme(offered).is_some()
            };
            return keys.iter().find(understood).or(keys.first()).cloned();
        }
        match &self.acme {
            Some(acme) if self.first.is_none() || name.is_some_and(|name| acme.serves(name)) => {
                Some(acme.certificate())
            }
            _ => self.first.clone(),
        }
    }
}
