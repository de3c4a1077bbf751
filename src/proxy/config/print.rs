//! The model as YAML again.

use std::fmt::Write;

use super::model::{
    Config, DiskJournal, DiskSync, JournalSettings, Listener, Networks, RateLimit, RedisJournal,
    RedisTopology, Route,
};
use super::units::{format_duration, format_range, format_size};
use super::{access, answer, journal, operation, rate, sse, tls, upstream, warning};
use crate::resume::settings::{BufferSettings, Coding, KeySettings, NameSource, Settings};
use crate::stream::policy::{Join, Linger, Marker};

/// The whole configuration.
pub(super) fn yaml(config: &Config) -> String {
    let mut page = Page::default();
    page.line(0, "listeners:");
    for listener in &config.listeners {
        print_listener(&mut page, listener);
    }
    page.pair(0, "trusted_proxies", &networks(&config.trusted_proxies));
    match config.admin {
        Some(address) => page.line(0, &format!("admin: {{ address: \"{address}\" }}")),
        None => page.line(0, "admin: ~"),
    }
    print_journal(&mut page, &config.journal);
    page.line(0, "drain:");
    page.pair(1, "deadline", &format_duration(config.drain.deadline));
    page.pair(1, "spread", &format_duration(config.drain.spread));
    let retry = config.drain.retry.map(|(least, most)| least..=most);
    page.pair(1, "retry", &or_off(retry.as_ref(), format_range));
    operation::print(&mut page, &config.operations);
    print_limits(&mut page, config);
    print_upstreams(&mut page, config);
    page.line(0, "routes:");
    for route in &config.routes {
        print_route(&mut page, route);
    }
    page.text
}

fn print_listener(page: &mut Page, listener: &Listener) {
    page.line(1, &format!("- address: \"{}\"", listener.address));
    page.pair(2, "reuse_port", &listener.reuse_port.to_string());
    match &listener.proxy_protocol {
        Some(from) => page.line(
            2,
            &format!("proxy_protocol: {{ from: {} }}", networks(from)),
        ),
        None => page.pair(2, "proxy_protocol", "~"),
    }
    if let Some(tls) = &listener.tls {
        page.line(2, "tls:");
        tls::print(page, 3, tls);
        return;
    }
    page.pair(2, "tls", "~");
    let redirect = match listener.redirect_to_https {
        Some(Listener::HTTPS_PORT) => "true".into(),
        Some(port) => port.to_string(),
        None => "false".into(),
    };
    page.pair(2, "redirect_to_https", &redirect);
}

fn print_journal(page: &mut Page, settings: &JournalSettings) {
    match settings {
        JournalSettings::Memory => page.line(0, "journal: { kind: memory }"),
        JournalSettings::Disk(disk) => print_disk(page, disk),
        JournalSettings::Redis(redis) => print_redis(page, redis),
    }
}

fn print_disk(page: &mut Page, disk: &DiskJournal) {
    page.line(0, "journal:");
    page.pair(1, "kind", "disk");
    page.pair(1, "path", &quote(&disk.path.to_string_lossy()));
    match disk.sync {
        DiskSync::Always => page.pair(1, "sync", "always"),
        DiskSync::Interval(interval) => {
            page.pair(1, "sync", "interval");
            page.pair(1, "sync_interval", &format_duration(interval));
        }
        DiskSync::Never => page.pair(1, "sync", "never"),
    }
    page.pair(1, "max_bytes", &format_size(disk.max_bytes));
}

/// Secrets print what stands for them, in which `${NAME}` means the variable.
fn print_redis(page: &mut Page, redis: &RedisJournal) {
    page.line(0, "journal:");
    page.pair(1, "kind", "redis");
    let urls = redis.urls.iter().map(|url| quote_key(url.shown()));
    page.pair(1, "urls", &list(urls));
    match &redis.topology {
        RedisTopology::Standalone => page.pair(1, "topology", "standalone"),
        RedisTopology::Sentinel { service } => {
            page.pair(1, "topology", "sentinel");
            page.pair(1, "sentinel_service", &quote(service));
        }
        RedisTopology::Cluster => page.pair(1, "topology", "cluster"),
    }
    page.pair(1, "secret", &quote_key(redis.secret.shown()));
    page.pair(1, "lease", &format_duration(redis.lease));
    page.pair(1, "prefix", &quote(&redis.prefix));
    page.pair(
        1,
        "on_journal_loss",
        word(&journal::ON_LOSS, &redis.on_loss),
    );
    let ca = redis.ca.as_ref().map(|path| path.to_string_lossy());
    page.pair(1, "ca", &or_off(ca, |path| quote(&path)));
}

fn print_limits(page: &mut Page, config: &Config) {
    let limits = &config.limits;
    page.line(0, "limits:");
    page.pair(1, "buffered_bytes", &format_size(limits.buffered_bytes));
    page.pair(1, "connections", &limits.connections.to_string());
    page.pair(1, "header_timeout", &format_duration(limits.header_timeout));
    page.pair(1, "write_timeout", &format_duration(limits.write_timeout));
    for (key, count) in [
        ("connections_per_address", limits.connections_per_address),
        ("streams_per_address", limits.streams_per_address),
        ("streams_per_principal", limits.streams_per_principal),
    ] {
        page.pair(1, key, &or_off(count, |count| count.to_string()));
    }
    page.pair(1, "header_bytes", &format_size(limits.header_bytes));
    page.pair(1, "headers", &limits.headers.to_string());
    page.pair(1, "request_body", &or_off(limits.request_body, format_size));
    for (key, time) in [
        ("body_timeout", limits.body_timeout),
        ("idle_timeout", limits.idle_timeout),
        ("tunnel_idle", limits.tunnel_idle),
        ("max_connection_age", limits.max_connection_age),
    ] {
        page.pair(1, key, &or_off(time, format_duration));
    }
}

/// Upstreams given in place as a URL are left to their routes.
fn print_upstreams(page: &mut Page, config: &Config) {
    let named = config
        .upstreams
        .iter()
        .filter(|(name, _)| !name.contains("://"));
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        page.line(0, "upstreams: {}");
        return;
    }
    page.line(0, "upstreams:");
    for (name, settings) in named {
        upstream::print::print(page, name, settings);
    }
}

fn print_route(page: &mut Page, route: &Route) {
    page.line(1, &format!("- path: {}", quote(&route.path)));
    page.pair(2, "host", &or_off(route.host.as_deref(), quote));
    let methods = route.methods.as_ref();
    page.pair(
        2,
        "methods",
        &or_off(methods, |m| list(m.iter().map(ToString::to_string))),
    );
    page.pair(2, "upstream", &quote(&route.upstream));
    page.pair(
        2,
        "rate_limit",
        &list(route.rate_limit.iter().map(rate_limit)),
    );
    let upgrade = route.upgrade.iter().map(|protocol| quote(protocol));
    page.pair(2, "upgrade", &list(upgrade));
    access::print(page, &route.access);
    page.pair(2, "compress", &coding(route.compress));
    page.line(2, "sse:");
    print_identity(page, &route.sse);
    print_answers(page, &route.sse);
    print_retention(page, &route.sse);
    print_supervision(page, &route.sse);
}

fn rate_limit(limit: &RateLimit) -> String {
    format!(
        "{{ per: {}, requests: {}, window: {}, burst: {} }}",
        word(&rate::PER, &limit.per),
        limit.requests,
        format_duration(limit.window),
        limit.burst
    )
}

fn networks(networks: &Networks) -> String {
    list(networks.iter().map(|network| quote(&network)))
}

fn coding(coding: Option<Coding>) -> String {
    or_off(coding.as_ref(), |c| word(&sse::CODINGS, c).into())
}

/// Whose stream it is and how it is named.
fn print_identity(page: &mut Page, sse: &Settings) {
    page.pair(3, "mode", word(&sse::MODES, &sse.mode));
    page.line(3, "key:");
    let headers = sse.key.headers.iter().map(|name| quote(name.as_str()));
    page.pair(4, "headers", &list(headers));
    let ignored = sse.key.ignore_query.iter().map(|name| quote(name));
    page.pair(4, "ignore_query", &list(ignored));
    print_name(page, &sse.key);
    let principal = sse.principal.iter().map(|c| quote(&warning::name(c)));
    page.pair(3, "principal", &list(principal));
    page.pair(3, "ids", word(&sse::IDS, &sse.ids));
    page.pair(3, "resume", word(&sse::RESUME, &sse.resume));
}

/// What names a stream.
fn print_name(page: &mut Page, key: &KeySettings) {
    match &key.name {
        Some(NameSource::Header(name)) => page.pair(4, "header", &quote(name.as_str())),
        Some(NameSource::Json { pointer, max }) => {
            page.pair(4, "json", &quote(pointer));
            page.pair(4, "max", &format_size(*max));
        }
        None => {}
    }
    let repeat = key.repeat.as_ref();
    page.pair(
        4,
        "repeat",
        &or_off(repeat, |r| word(&answer::REPEAT, r).into()),
    );
}

/// How answers end, and where they are asked for.
fn print_answers(page: &mut Page, sse: &Settings) {
    page.pair(3, "finish", &list(sse.finish.iter().map(marker)));
    page.pair(3, "max_runtime", &format_duration(sse.max_runtime));
    page.pair(3, "max_detached", &sse.max_detached.to_string());
    let attach = sse.attach.as_ref().map(ToString::to_string);
    page.pair(3, "attach", &or_off(attach, |path| quote(&path)));
    page.pair(3, "list", &or_off(sse.list.as_deref(), quote));
    page.pair(3, "retries", &sse.retries.to_string());
}

fn marker(marker: &Marker) -> String {
    match marker {
        Marker::Event(name) => format!("{{ event: {} }}", quote(name)),
        Marker::Data(text) => format!("{{ data: {} }}", quote(text)),
        Marker::Json { pointer, values } if values.is_empty() => {
            format!("{{ json: {} }}", quote(pointer))
        }
        Marker::Json { pointer, values } => {
            let values = values.iter().map(|value| quote(value));
            format!("{{ json: {}, is: {} }}", quote(pointer), list(values))
        }
        Marker::JsonRpcResponse => "json_rpc_response".into(),
    }
}

/// What clients are sent and what is kept for them.
fn print_retention(page: &mut Page, sse: &Settings) {
    page.pair(3, "heartbeat", &format_duration(sse.heartbeat));
    page.pair(3, "retry", &or_off(sse.retry.as_ref(), format_range));
    let BufferSettings { events, bytes, age } = sse.buffer;
    page.line(3, "buffer:");
    page.pair(4, "events", &or_off(events, |count| count.to_string()));
    page.pair(4, "bytes", &or_off(bytes, format_size));
    page.pair(4, "age", &or_off(age, format_duration));
    let linger = match sse.linger {
        Linger::For(duration) => format_duration(duration),
        Linger::Complete => "complete".into(),
    };
    page.pair(3, "linger", &linger);
    page.pair(3, "retain", &format_duration(sse.retain));
    let join = match sse.join {
        Join::Live => "live".into(),
        Join::Start => "start".into(),
        Join::Tail(count) => format!("tail:{count}"),
    };
    page.pair(3, "join", &join);
}

/// What happens when something goes wrong.
fn print_supervision(page: &mut Page, sse: &Settings) {
    let reconnect = &sse.reconnect;
    page.line(3, "reconnect:");
    page.pair(4, "initial", &format_duration(reconnect.initial));
    page.pair(4, "max", &format_duration(reconnect.max));
    page.pair(
        4,
        "give_up_after",
        &format_duration(reconnect.give_up_after),
    );
    page.pair(3, "hold", &format_duration(sse.hold));
    page.pair(3, "on_gap", word(&sse::ON_GAP, &sse.on_gap));
    page.pair(3, "gap_event", &or_off(sse.gap_event.as_deref(), quote));
    page.pair(3, "max_event_bytes", &format_size(sse.max_event_bytes));
    page.pair(3, "batch", &format_duration(sse.batch));
    page.pair(
        3,
        "upstream_idle",
        &or_off(sse.upstream_idle, format_duration),
    );
    page.pair(3, "compress", &coding(sse.compress));
}

// === YAML ===

#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    pub(super) fn line(&mut self, depth: usize, line: &str) {
        let _ = writeln!(self.text, "{:1$}{line}", "", depth * 2);
    }

    pub(super) fn pair(&mut self, depth: usize, key: &str, value: &str) {
        self.line(depth, &format!("{key}: {value}"));
    }
}

pub(super) fn or_off<T>(value: Option<T>, print: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "~".into(), print)
}

pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// The word of a value; the tables the reader uses hold every value.
pub(super) fn word<'w, T: PartialEq>(words: &[(&'w str, T)], value: &T) -> &'w str {
    words
        .iter()
        .find(|(_, known)| known == value)
        .map_or("~", |(word, _)| word)
}

/// A double-quoted scalar. `$` is doubled, as values are expanded when read.
pub(super) fn quote(text: &str) -> String {
    quote_key(&text.replace('$', "$$"))
}

/// A double-quoted key: keys are not expanded.
pub(super) fn quote_key(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() || ('\u{2028}'..='\u{2029}').contains(&c) || c == '\u{feff}' => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
