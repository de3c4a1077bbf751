//! One certificate, from the question to the answer.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeHandle, ChallengeType, Identifier,
    NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::cache::Cache;
use super::challenges::{Challenges, Posted};
use super::client::Client;
use super::error::OrderError;
use crate::proxy::config::model::{self, Challenge};
use crate::proxy::tls::{Certificate, provider};

/// How often the authority is asked whether it is done, and for how long.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// Asks for a certificate: its key and chain, as PEM.
pub(super) async fn obtain(
    settings: &model::Acme,
    cache: &Cache,
    challenges: &Arc<Challenges>,
) -> Result<String, OrderError> {
    let mut order = match begin(settings, cache).await {
        Err(error) if error.is_of_account() => {
            cache.forget_account()?;
            begin(settings, cache).await?
        }
        order => order?,
    };
    prove(&mut order, settings.challenge, challenges).await?;
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&POLLING).await?;
    Ok(format!("{key}{chain}"))
}

async fn begin(settings: &model::Acme, cache: &Cache) -> Result<Order, OrderError> {
    let account = account(settings, cache).await?;
    let names = settings.domains.iter().cloned().map(Identifier::Dns);
    let names: Vec<_> = names.collect();
    Ok(account.new_order(&NewOrder::new(&names)).await?)
}

/// The account there is, or a new one.
async fn account(settings: &model::Acme, cache: &Cache) -> Result<Account, OrderError> {
    let client = || Client::new(settings.ca.as_deref()).map(Box::new);
    if let Some(kept) = cache.account()? {
        if let Ok(kept) = serde_json::from_str::<AccountCredentials>(&kept) {
            let account = Account::builder_with_http(client()?).from_credentials(kept);
            return Ok(account.await?);
        }
        // The reason is left out: it could quote from the key.
        tracing::warn!("the kept ACME account cannot be read; a new one is made");
    }
    let contact = settings
        .email
        .as_ref()
        .map(|email| format!("mailto:{email}"));
    let contact: Vec<_> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let builder = Account::builder_with_http(client()?);
    let (account, credentials) = builder
        .create(&new, settings.directory.clone(), None)
        .await?;
    let json = serde_json::to_string(&credentials).map_err(instant_acme::Error::from)?;
    cache.keep_account(json).await?;
    Ok(account)
}

/// Meets the challenges, all at once, and waits for the verdict.
async fn prove(
    order: &mut Order,
    kind: Challenge,
    challenges: &Arc<Challenges>,
) -> Result<(), OrderError> {
    let mut posted = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // Proved a while ago, and remembered.
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let acme_kind = match kind {
            Challenge::Http01 => ChallengeType::Http01,
            Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        };
        let challenge = authorization.challenge(acme_kind);
        let mut challenge = challenge.ok_or_else(|| OrderError::NoChallenge(name.clone()))?;
        posted.push(post(kind, &name, &challenge, challenges)?);
        challenge.set_ready().await?;
    }
    match order.poll_ready(&POLLING).await {
        Ok(OrderStatus::Ready) => Ok(()),
        Ok(_) => Err(verdict(order).await),
        Err(error) => Err(error.into()),
    }
}

fn post(
    kind: Challenge,
    name: &str,
    challenge: &ChallengeHandle<'_>,
    challenges: &Arc<Challenges>,
) -> Result<Posted, OrderError> {
    let answer = challenge.key_authorization();
    match kind {
        Challenge::Http01 => Ok(challenges.post_answer(&challenge.token, answer.as_str())),
        Challenge::TlsAlpn01 => {
            let shown = proof(name, answer.digest().as_ref())?;
            Ok(challenges.post_certificate(name, shown))
        }
    }
}

/// Why an order failed: what the authority says of each name.
async fn verdict(order: &mut Order) -> OrderError {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else {
            continue;
        };
        if authorization.refresh().await.is_err() {
            continue;
        }
        let name = authorization.identifier().to_string();
        let errors = authorization
            .challenges
            .iter()
            .filter_map(|c| c.error.as_ref());
        reasons.extend(errors.map(|error| format!("{name} is not proved: {error}")));
    }
    if reasons.is_empty() {
        reasons.push("the authority refuses the order".to_owned());
    }
    OrderError::Unproved(reasons.join("; "))
}

/// What clients are shown until there is something better.
pub(super) fn placeholder(domains: &[String]) -> Result<Certificate, String> {
    let params = CertificateParams::new(domains).map_err(|error| error.to_string())?;
    let (certificate, key) = self_signed(params).map_err(|error| error.to_string())?;
    let made = Certificate::new(vec![certificate], key, &provider());
    let made = made.map_err(|error| error.to_string())?;
    made.ok_or_else(|| "it cannot be understood".to_owned())
}

/// What proves a name by its being shown (RFC 8737 §3).
fn proof(name: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>, OrderError> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    let proof = CustomExtension::new_acme_identifier(digest);
    params.custom_extensions.push(proof);
    let (certificate, key) = self_signed(params)?;
    // It is critical, and unknown to whoever would check certificate and key.
    let key = provider().key_provider.load_private_key(key);
    let key = key.map_err(|error| OrderError::Unusable(error.to_string()))?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate], key)))
}

fn self_signed(
    mut params: CertificateParams,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "sse-proxy, self-signed");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((certificate, key.into()))
}
