//! An upstream as YAML again.

use super::super::model::{HealthCheck, Pool, Sticky, Upstream, UpstreamTls};
use super::super::print::{Page, list, or_off, quote, quote_key, word};
use super::super::units::format_duration;
use super::{BALANCE, PROTOCOLS};

/// One entry of `upstreams`.
pub(in super::super) fn print(page: &mut Page, name: &str, upstream: &Upstream) {
    page.line(1, &format!("{}:", quote_key(name)));
    // A URI prints the slash it was not given; the file reads either.
    let servers = upstream.servers.iter().map(|uri| quote(&uri.to_string()));
    page.pair(2, "servers", &list(servers));
    page.pair(2, "balance", word(&BALANCE, &upstream.balance));
    page.pair(2, "sticky", &or_off(upstream.sticky.as_ref(), sticky));
    let connect = format_duration(upstream.connect_timeout);
    page.pair(2, "connect_timeout", &connect);
    let response = or_off(upstream.response_timeout, format_duration);
    page.pair(2, "response_timeout", &response);
    page.pair(2, "protocol", word(&PROTOCOLS, &upstream.protocol));
    match &upstream.tls {
        Some(tls) => print_tls(page, tls),
        None => page.pair(2, "tls", "~"),
    }
    print_pool(page, &upstream.pool);
    page.pair(2, "resolve", &or_off(upstream.resolve, format_duration));
    match &upstream.health_check {
        Some(check) => print_check(page, check),
        None => page.pair(2, "health_check", "~"),
    }
    match &upstream.passive {
        Some(passive) => {
            page.line(2, "passive:");
            page.pair(3, "failures", &passive.failures.to_string());
            page.pair(3, "eject", &format_duration(passive.eject));
        }
        None => page.pair(2, "passive", "~"),
    }
    page.pair(2, "slow_start", &format_duration(upstream.slow_start));
    let moves = or_off(upstream.move_streams, format_duration);
    page.pair(2, "move_streams", &moves);
}

fn sticky(sticky: &Sticky) -> String {
    match sticky {
        Sticky::Header(name) => format!("{{ header: {} }}", quote(name.as_str())),
        Sticky::Cookie(name) => format!("{{ cookie: {} }}", quote(name)),
        Sticky::ClientAddress => "client_address".into(),
    }
}

fn print_tls(page: &mut Page, tls: &UpstreamTls) {
    page.line(2, "tls:");
    let ca = tls.ca.as_ref().map(|path| path.to_string_lossy());
    page.pair(3, "ca", &or_off(ca, |path| quote(&path)));
    let identity = tls.identity.as_ref();
    let certificate = identity.map(|identity| identity.certificate.to_string_lossy());
    page.pair(3, "certificate", &or_off(certificate, |path| quote(&path)));
    let key = identity.map(|identity| identity.private_key.to_string_lossy());
    page.pair(3, "private_key", &or_off(key, |path| quote(&path)));
    let server_name = or_off(tls.server_name.as_deref(), quote);
    page.pair(3, "server_name", &server_name);
    page.pair(3, "insecure", if tls.insecure { "true" } else { "false" });
}

fn print_pool(page: &mut Page, pool: &Pool) {
    page.line(2, "pool:");
    page.pair(3, "idle", &format_duration(pool.idle));
    page.pair(3, "max_idle", &or_off(pool.max_idle, |n| n.to_string()));
    page.pair(3, "max_open", &or_off(pool.max_open, |n| n.to_string()));
    page.pair(3, "streams", &pool.streams.to_string());
    page.pair(3, "ping", &format_duration(pool.ping));
}

fn print_check(page: &mut Page, check: &HealthCheck) {
    page.line(2, "health_check:");
    page.pair(3, "path", &quote(&check.path));
    page.pair(3, "interval", &format_duration(check.interval));
    page.pair(3, "timeout", &format_duration(check.timeout));
    let (first, last) = (check.expect.start(), check.expect.end());
    page.pair(3, "expect", &format!("{first}-{last}"));
    page.pair(3, "healthy", &check.healthy.to_string());
    page.pair(3, "unhealthy", &check.unhealthy.to_string());
}
