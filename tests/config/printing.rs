//! What `sse-proxy check` prints is itself a configuration, and the same one.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tower_sse::proxy::Config;
use tower_sse::proxy::config::model::{
    Access, Balance, DiskJournal, DiskSync, Drain, JournalSettings, Limits, Listener, Networks,
    OnJournalLoss, Operations, RedisJournal, RedisTopology, Route, Upstream,
};
use tower_sse::resume::settings::{
    BufferSettings, Coding, Credential, KeyPath, KeySettings, Mode, NameSource, Repeat, Settings,
};
use tower_sse::stream::policy::{Ids, Join, Linger, Marker, OnGap, Reconnect, UpstreamResume};

use super::parse;

#[test]
fn the_shortest_file_in_full() {
    let config = parse("routes: [{ path: /, upstream: \"http://127.0.0.1:3000\" }]").unwrap();
    assert_eq!(
        config.to_yaml(),
        r#"listeners:
  - address: "127.0.0.1:8080"
    reuse_port: false
    proxy_protocol: ~
    tls: ~
    redirect_to_https: false
trusted_proxies: []
admin: ~
journal: { kind: memory }
drain:
  deadline: 30s
  spread: 10s
  retry: ~
reload: { watch: false }
access_log: ~
request_id: ~
limits:
  buffered_bytes: 1GiB
  connections: 100000
  header_timeout: 30s
  write_timeout: 30s
  connections_per_address: ~
  streams_per_address: ~
  streams_per_principal: ~
  header_bytes: 32KiB
  headers: 100
  request_body: ~
  body_timeout: ~
  idle_timeout: ~
  tunnel_idle: 1h
  max_connection_age: ~
upstreams: {}
routes:
  - path: "/"
    host: ~
    methods: ~
    upstream: "http://127.0.0.1:3000"
    rate_limit: []
    upgrade: ["websocket"]
    cors: ~
    jwt: ~
    forward_auth: ~
    compress: ~
    sse:
      mode: auto
      key:
        headers: []
        ignore_query: []
        repeat: ~
      principal: ["authorization"]
      ids: auto
      resume: none
      finish: []
      max_runtime: 15m
      max_detached: 16
      attach: ~
      list: ~
      retries: 0
      heartbeat: 15s
      retry: ~
      buffer:
        events: ~
        bytes: ~
        age: ~
      linger: 30s
      retain: 10m
      join: live
      reconnect:
        initial: 1s
        max: 30s
        give_up_after: 5m
      hold: 0s
      on_gap: continue
      gap_event: ~
      max_event_bytes: 1MiB
      batch: 0s
      upstream_idle: ~
      compress: ~
"#
    );
}

#[test]
fn the_shipped_file_reads_back() {
    let text = include_str!("../../proxy.yaml");
    let config = Config::parse("proxy.yaml", text, &|_| None).unwrap();
    assert_eq!(parse(&config.to_yaml()).unwrap(), config);
}

proptest! {
    #[test]
    fn any_configuration_reads_back(config in config()) {
        let printed = config.to_yaml();
        let read = parse(&printed).map_err(|e| TestCaseError::fail(format!("{e}\n{printed}")))?;
        prop_assert_eq!(read, config);
    }
}

fn millis(low: u64, high: u64) -> impl Strategy<Value = Duration> {
    (low..=high).prop_map(Duration::from_millis)
}

fn config() -> impl Strategy<Value = Config> {
    let upstreams = proptest::collection::btree_map("[a-z\"\\\\${}: ]{1,8}", upstream(), 1..4);
    let admin = option::of((1..1000u16).prop_map(|port| ([127, 0, 0, 1], port).into()));
    (listeners(), admin, journal(), drain(), limits(), upstreams)
        .prop_flat_map(|(listeners, admin, journal, drain, limits, upstreams)| {
            let names: Vec<String> = upstreams.keys().cloned().collect();
            let routes = vec(route(names), 1..4);
            let rest = Just((listeners, admin, journal, drain, limits, upstreams));
            (rest, routes)
        })
        .prop_map(
            |((listeners, admin, journal, drain, limits, upstreams), routes)| Config {
                listeners,
                admin,
                journal,
                drain,
                limits,
                trusted_proxies: Networks::default(),
                upstreams: with_urls(upstreams, &routes),
                routes,
                operations: Operations::default(),
            },
        )
}

/// Adds the upstreams that routes give in place.
fn with_urls(
    mut upstreams: BTreeMap<String, Upstream>,
    routes: &[Route],
) -> BTreeMap<String, Upstream> {
    for name in routes
        .iter()
        .map(|r| &r.upstream)
        .filter(|n| n.contains("://"))
    {
        let server = name.parse().expect("a URL");
        upstreams.insert(name.clone(), Upstream::new(vec![server]));
    }
    upstreams
}

fn listeners() -> impl Strategy<Value = Vec<Listener>> {
    subsequence(vec!["0.0.0.0:2000", "[::1]:2001", "127.0.0.1:0"], 1..=3).prop_map(|addresses| {
        let listener = |address: &str| Listener {
            address: address.parse().expect("an address"),
            tls: None,
            reuse_port: address.starts_with('['),
            redirect_to_https: match address {
                "[::1]:2001" => Some(443),
                "127.0.0.1:0" => Some(8443),
                _ => None,
            },
            proxy_protocol: None,
        };
        addresses.into_iter().map(listener).collect()
    })
}

/// Of the kinds that this build has.
fn journal() -> impl Strategy<Value = JournalSettings> {
    let mut kinds = vec![Just(JournalSettings::Memory).boxed()];
    if cfg!(feature = "disk") {
        kinds.push(disk().prop_map(JournalSettings::Disk).boxed());
    }
    if cfg!(feature = "redis") {
        kinds.push(redis().prop_map(JournalSettings::Redis).boxed());
    }
    proptest::strategy::Union::new(kinds)
}

fn disk() -> impl Strategy<Value = DiskJournal> {
    let sync = prop_oneof![
        Just(DiskSync::Always),
        millis(10, 99_999).prop_map(DiskSync::Interval),
        Just(DiskSync::Never),
    ];
    ("/[a-z\"\\\\${}: ]{1,8}", sync, 1usize << 20..1 << 40).prop_map(|(path, sync, max_bytes)| {
        DiskJournal {
            path: path.into(),
            sync,
            max_bytes,
        }
    })
}

/// Its secrets can only be had from a file.
fn redis() -> impl Strategy<Value = RedisJournal> {
    let several = "urls: [\"redis://u:${SECRET}@a\", \"redis://u:${SECRET}@${PORT}:2\"]";
    let urls = prop_oneof![
        Just(("urls: [\"${REDIS_URL}\"]", RedisTopology::Standalone)),
        Just((several, RedisTopology::Cluster)),
        "[a-z${}#]{1,9}".prop_map(move |service| (several, RedisTopology::Sentinel { service })),
    ];
    let on_loss = select(vec![OnJournalLoss::Pause, OnJournalLoss::Continue]);
    (urls, millis(1000, 60_000), "[a-zA-Z0-9_.:-]{1,64}", on_loss).prop_map(
        |((urls, topology), lease, prefix, on_loss)| {
            let words = match topology {
                RedisTopology::Standalone => "topology: standalone",
                RedisTopology::Cluster => "topology: cluster",
                RedisTopology::Sentinel { .. } => "topology: sentinel, sentinel_service: x",
            };
            RedisJournal {
                topology,
                lease,
                prefix,
                on_loss,
                ..super::journal::redis(&format!("{urls}, {words}, secret: \"${{LONG_SECRET}}\""))
            }
        },
    )
}

fn drain() -> impl Strategy<Value = Drain> {
    let retry = option::of((millis(1, 999), millis(1000, 99_999)));
    (millis(0, 99_999), millis(0, 99_999), retry).prop_map(|(a, b, retry)| Drain {
        retry,
        deadline: a.max(b),
        spread: a.min(b),
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    (
        1usize << 30..1 << 40,
        1usize..,
        millis(100, 99_999),
        millis(100, 99_999),
    )
        .prop_map(
            |(buffered_bytes, connections, header_timeout, write_timeout)| Limits {
                buffered_bytes,
                connections,
                header_timeout,
                write_timeout,
                ..Limits::default()
            },
        )
}

fn upstream() -> impl Strategy<Value = Upstream> {
    (
        subsequence(vec!["http://a", "https://b:1", "http://[::1]:3"], 1..=3),
        select(vec![Balance::RoundRobin, Balance::LeastStreams]),
        millis(1, 99_999),
        option::of(millis(1, 99_999)),
        super::upstream::options(),
    )
        .prop_map(
            |(servers, balance, connect_timeout, response_timeout, options)| Upstream {
                servers: servers
                    .iter()
                    .map(|url| url.parse().expect("a URL"))
                    .collect(),
                balance,
                connect_timeout,
                response_timeout,
                ..options
            },
        )
        // `tls` is refused where nobody would heed it.
        .prop_map(|mut upstream| {
            let https = |uri: &http::Uri| uri.scheme_str() == Some("https");
            upstream.tls = upstream.tls.filter(|_| upstream.servers.iter().any(https));
            upstream
        })
}

fn route(upstreams: Vec<String>) -> impl Strategy<Value = Route> {
    let target = prop_oneof![select(upstreams), Just("https://in.place:9".to_owned())];
    let methods = vec![Method::GET, Method::POST, Method::DELETE];
    // GET is always there, as shared routes need it.
    let methods = option::of(subsequence(methods, 1..=3).prop_map(|mut methods| {
        if !methods.contains(&Method::GET) {
            methods.insert(0, Method::GET);
        }
        methods
    }));
    let host = option::of("(\\*\\.)?[a-z0-9][a-z0-9._-]{0,9}");
    (
        "/([a-z%$.~!'-]{1,6}(/[a-z]{1,4}){0,2})?",
        host,
        methods,
        target,
        settings(),
        coding(),
    )
        .prop_map(|(path, host, methods, upstream, mut sse, compress)| {
            // What asks for a stream must be the route's.
            let below = if path == "/" { "" } else { path.as_str() };
            sse.attach = sse
                .attach
                .filter(|_| methods.is_none())
                .and_then(|_| KeyPath::parse(&format!("{below}/{{key}}/s")));
            sse.list = sse.list.map(|name| format!("{below}/{name}"));
            Route {
                host,
                path,
                methods,
                upstream,
                rate_limit: Vec::new(),
                upgrade: vec!["websocket".to_owned()],
                access: Access::default(),
                sse,
                compress,
            }
        })
}

fn settings() -> impl Strategy<Value = Settings> {
    (identity(), retention(), supervision(), answers()).prop_map(
        |(identity, retention, supervision, answers)| {
            let (finish, max_runtime, max_detached, retries, attach, list, compress) = answers;
            let (mode, key, principal, ids, resume) = identity;
            let (heartbeat, retry, buffer, linger, retain, join) = retention;
            let (reconnect, hold, on_gap, gap_event, batch, upstream_idle) = supervision;
            // Never more than the smallest buffer there may be.
            let max_event_bytes = buffer.bytes.unwrap_or(1 << 20).min(3 << 20);
            Settings {
                mode,
                key,
                principal,
                ids,
                resume,
                heartbeat,
                retry,
                buffer,
                linger,
                retain,
                join,
                reconnect,
                hold,
                on_gap,
                gap_event,
                max_event_bytes,
                batch,
                upstream_idle,
                finish,
                max_runtime,
                max_detached,
                retries,
                attach,
                list,
                compress,
            }
        },
    )
}

type Answers = (
    Vec<Marker>,
    Duration,
    usize,
    u32,
    Option<KeyPath>,
    Option<String>,
    Option<Coding>,
);

fn coding() -> impl Strategy<Value = Option<Coding>> {
    option::of(Just(Coding::Gzip))
}

fn answers() -> impl Strategy<Value = Answers> {
    let text = "\\PC{0,6}";
    let marker = prop_oneof![
        text.prop_map(Marker::Event),
        text.prop_map(Marker::Data),
        ("(/[a-z$\"]{1,3}){0,2}", vec(text, 0..3))
            .prop_map(|(pointer, values)| Marker::Json { pointer, values }),
        Just(Marker::JsonRpcResponse),
    ];
    (
        vec(marker, 0..3),
        millis(1, 99_999),
        0..99usize,
        0..=10u32,
        option::of(Just(KeyPath::parse("/{key}").expect("a path"))),
        option::of("[a-z$]{1,5}"),
        coding(),
    )
}

fn key() -> impl Strategy<Value = KeySettings> {
    let headers = subsequence(vec!["accept", "authorization", "x-a"], 0..=3);
    let headers =
        headers.prop_map(|names| names.iter().map(|n| n.parse().expect("a name")).collect());
    let name = prop_oneof![
        Just(NameSource::Header(http::header::ACCEPT)),
        ("(/[a-z$]{1,3}){0,2}", 1usize << 10..1 << 24)
            .prop_map(|(pointer, max)| NameSource::Json { pointer, max }),
    ];
    let repeat = select(vec![Repeat::Attach, Repeat::Supersede, Repeat::Refuse]);
    (
        headers,
        vec("\\PC{1,6}", 0..3),
        option::of(name),
        option::of(repeat),
    )
        .prop_map(|(headers, ignore_query, name, repeat)| KeySettings {
            // A route has one of both.
            headers: if name.is_some() { Vec::new() } else { headers },
            ignore_query,
            name,
            repeat,
        })
}

fn identity() -> impl Strategy<Value = (Mode, KeySettings, Vec<Credential>, Ids, UpstreamResume)> {
    let credential = prop_oneof![
        "[a-z][a-z0-9-]{0,5}x".prop_map(|n| Credential::Header(n.parse().expect("a name"))),
        "[a-zA-Z!#$%&'*+.^_`|~-]{1,6}".prop_map(Credential::Cookie),
    ];
    (
        select(vec![
            Mode::Auto,
            Mode::Shared,
            Mode::OneShot,
            Mode::Passthrough,
            Mode::Mcp,
        ]),
        key(),
        vec(credential, 0..3),
        select(vec![Ids::Auto, Ids::Assign, Ids::Preserve]),
        select(vec![
            UpstreamResume::None,
            UpstreamResume::LastEventId,
            UpstreamResume::Snapshot,
        ]),
    )
}

type Retention = (
    Duration,
    Option<std::ops::RangeInclusive<Duration>>,
    BufferSettings,
    Linger,
    Duration,
    Join,
);

fn retention() -> impl Strategy<Value = Retention> {
    let retry = option::of((millis(1, 9_999), millis(1, 9_999)))
        .prop_map(|range| range.map(|(a, b)| a.min(b)..=a.max(b)));
    let buffer = (
        option::of(1usize..),
        option::of(1usize << 10..1 << 30),
        option::of(millis(1, 99_999)),
    )
        .prop_map(|(events, bytes, age)| BufferSettings { events, bytes, age });
    (
        prop_oneof![Just(Duration::ZERO), millis(100, 99_999_999)],
        retry,
        buffer,
        prop_oneof![
            Just(Linger::Complete),
            millis(0, 99_999).prop_map(Linger::For)
        ],
        millis(0, 99_999_999),
        prop_oneof![
            Just(Join::Live),
            Just(Join::Start),
            (1u64..).prop_map(Join::Tail)
        ],
    )
}

type Supervision = (
    Reconnect,
    Duration,
    OnGap,
    Option<String>,
    Duration,
    Option<Duration>,
);

fn supervision() -> impl Strategy<Value = Supervision> {
    let reconnect = (millis(1, 99_999), millis(1, 99_999), millis(0, 99_999)).prop_map(
        |(a, b, give_up_after)| Reconnect {
            initial: a.min(b),
            max: a.max(b),
            give_up_after,
        },
    );
    (
        reconnect,
        millis(0, 99_999),
        select(vec![OnGap::Continue, OnGap::Reset, OnGap::Close]),
        option::of("[^\\r\\n\\x00]{1,8}"),
        millis(0, 10_000),
        option::of(millis(1, 99_999)),
    )
}
