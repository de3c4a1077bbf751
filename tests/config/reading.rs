//! What a file means.

use std::time::Duration;

use tower_sse::proxy::Config;
use tower_sse::proxy::config::model::{Balance, Upstream};
use tower_sse::resume::profile::Profile;
use tower_sse::resume::settings::{
    BufferSettings, Coding, Credential, KeySettings, Mode, NAME_WITHIN, NameSource, Repeat,
    Settings,
};
use tower_sse::stream::policy::{Ids, Join, Linger, Marker, OnGap, Reconnect, UpstreamResume};

use super::{parse, with_sse};

fn read(text: &str) -> Config {
    parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn sse(block: &str) -> Settings {
    read(&with_sse(block)).routes[0].sse.clone()
}

const EVERY_KEY: &str = r#"
listeners:
  - address: 0.0.0.0:8443
    tls: ~
  - address: "[::1]:8080"
admin: { address: 127.0.0.1:9901 }
journal: { kind: memory }
drain: { deadline: 40s, spread: 20s }
limits: { buffered_bytes: 2GiB, connections: 5, header_timeout: 1s, write_timeout: 2s }
upstreams:
  app:
    servers: ["http://127.0.0.1:3000", "https://example.com"]
    balance: least_streams
    connect_timeout: 6s
    response_timeout: ~
    health_check: { path: /healthz, interval: 7s }
defaults: { heartbeat: 16s }
routes:
  - path: /events
    host: "*.Example.com"
    methods: [GET, POST]
    upstream: app
    sse:
      mode: shared
      key: { headers: [Authorization], ignore_query: [t] }
      principal: [authorization, "cookie:session"]
      ids: preserve
      resume: last_event_id
      heartbeat: 17s
      retry: 2s..5s
      buffer: { events: 7, bytes: 5MiB, age: 6m }
      linger: complete
      retain: 11m
      join: tail:3
      reconnect: { initial: 2s, max: 31s, give_up_after: 6m }
      hold: 8s
      on_gap: reset
      gap_event: sse-gap
      max_event_bytes: 2MiB
      batch: 9ms
      upstream_idle: 45s
      finish:
        - { event: message_stop }
        - { data: "[DONE]" }
        - { json: /type, is: [a, 7] }
        - { json: /error }
        - json_rpc_response
      max_runtime: 16m
      max_detached: 5
      retries: 2
      compress: gzip
    compress: gzip
  - path: /
    upstream: http://127.0.0.1:4000/
"#;

#[test]
fn every_key() {
    let config = read(EVERY_KEY);
    let secs = Duration::from_secs;
    assert_eq!(config.listeners.len(), 2);
    assert_eq!(config.admin, "127.0.0.1:9901".parse().ok());
    assert_eq!(config.drain.deadline, secs(40));
    assert_eq!(config.limits.buffered_bytes, 2 << 30);
    let app = &config.upstreams["app"];
    assert_eq!(app.servers.len(), 2);
    assert_eq!(app.balance, Balance::LeastStreams);
    assert_eq!(app.response_timeout, None);
    assert_eq!(app.health_check.as_ref().map(|c| c.interval), Some(secs(7)));
    assert_eq!(config.routes[0].host.as_deref(), Some("*.example.com"));
    assert_eq!(
        config.routes[0].sse,
        Settings {
            mode: Mode::Shared,
            key: KeySettings {
                headers: vec![http::header::AUTHORIZATION],
                ignore_query: vec!["t".into()],
                ..KeySettings::default()
            },
            principal: vec![
                Credential::Header(http::header::AUTHORIZATION),
                Credential::Cookie("session".into()),
            ],
            ids: Ids::Preserve,
            resume: UpstreamResume::LastEventId,
            heartbeat: secs(17),
            retry: Some(secs(2)..=secs(5)),
            buffer: BufferSettings {
                events: Some(7),
                bytes: Some(5 << 20),
                age: Some(secs(360)),
            },
            linger: Linger::Complete,
            retain: secs(660),
            join: Join::Tail(3),
            reconnect: Reconnect {
                initial: secs(2),
                max: secs(31),
                give_up_after: secs(360),
            },
            hold: secs(8),
            on_gap: OnGap::Reset,
            gap_event: Some("sse-gap".into()),
            max_event_bytes: 2 << 20,
            batch: Duration::from_millis(9),
            upstream_idle: Some(secs(45)),
            finish: vec![
                Marker::Event("message_stop".into()),
                Marker::Data("[DONE]".into()),
                Marker::Json {
                    pointer: "/type".into(),
                    values: vec!["a".into(), "7".into()],
                },
                Marker::Json {
                    pointer: "/error".into(),
                    values: vec![],
                },
                Marker::JsonRpcResponse,
            ],
            max_runtime: secs(960),
            max_detached: 5,
            attach: None,
            list: None,
            retries: 2,
            compress: Some(Coding::Gzip),
        }
    );
    assert_eq!(config.routes[0].compress, Some(Coding::Gzip));
    let plain = &config.routes[1];
    assert_eq!(plain.upstream, "http://127.0.0.1:4000");
    assert_eq!(config.upstreams[&plain.upstream].servers.len(), 1);
    assert_eq!(plain.sse.heartbeat, secs(16), "from `defaults`");
}

#[test]
fn a_profile_is_where_a_route_begins() {
    for (name, profile) in Profile::ALL {
        let config = read(&with_sse(&format!("{{ profile: {name} }}")));
        assert_eq!(config.routes[0].sse, profile.settings(), "{name}");
    }
    let text = "defaults: { profile: mcp, retain: 7s }\n\
                routes:\n  - path: /a\n    upstream: http://app\n    sse: { profile: vercel-ai, linger: 5s }\n  \
                - path: /b\n    upstream: http://app\n  \
                - path: /c\n    upstream: http://app\n    sse: { profile: ~ }";
    let config = read(text);
    let secs = Duration::from_secs;
    let settings = |profile: Profile| Settings {
        retain: secs(7),
        ..profile.settings()
    };
    let chat = Settings {
        linger: Linger::For(secs(5)),
        ..settings(Profile::VercelAi)
    };
    assert_eq!(config.routes[0].sse, chat);
    assert_eq!(config.routes[1].sse, settings(Profile::Mcp));
    let plain = Settings {
        retain: secs(7),
        ..Settings::default()
    };
    assert_eq!(config.routes[2].sse, plain);
}

#[test]
fn where_streams_are_asked_for() {
    let config = read(
        "routes:\n  - path: /api/chat\n    upstream: http://app\n    sse:\n      \
         attach: \"/api/chat/{key}/stream\"\n      list: /api/chat/streams\n      \
         key: { json: /id }\n  - path: /\n    upstream: http://app\n    sse:\n      \
         key: { header: X-Chat-Id, repeat: refuse }",
    );
    let sse = &config.routes[0].sse;
    let attach = sse.attach.as_ref().map(ToString::to_string);
    assert_eq!(attach.as_deref(), Some("/api/chat/{key}/stream"));
    assert_eq!(sse.list.as_deref(), Some("/api/chat/streams"));
    let name = NameSource::Json {
        pointer: "/id".into(),
        max: NAME_WITHIN,
    };
    assert_eq!((&sse.key.name, sse.key.repeat), (&Some(name), None));
    let key = &config.routes[1].sse.key;
    let header = NameSource::Header(http::HeaderName::from_static("x-chat-id"));
    assert_eq!(
        (&key.name, key.repeat),
        (&Some(header), Some(Repeat::Refuse))
    );
}

#[test]
fn only_routes_are_required() {
    let config = read("routes: [{ path: /, upstream: \"http://app\" }]");
    assert_eq!(
        config.listeners[0].address,
        "127.0.0.1:8080".parse().unwrap()
    );
    assert_eq!(config.admin, None);
    assert_eq!(config.routes[0].sse, Settings::default());
    let server = "http://app".parse().unwrap();
    assert_eq!(config.upstreams["http://app"], Upstream::new(vec![server]));
}

#[test]
fn arguments_mean_the_same_as_the_shortest_file() {
    let listen = "127.0.0.1:8080".parse().unwrap();
    let single = Config::single(listen, "http://app/").unwrap();
    assert_eq!(
        single,
        read("routes: [{ path: /, upstream: \"http://app\" }]")
    );
}

#[test]
fn defaults_merge_field_by_field() {
    let text = "
defaults:
  gap_event: lost
  principal: [x-user]
  buffer: { events: 5, bytes: 2MiB }
  reconnect: { initial: 2s }
  key: { headers: [accept] }
routes:
  - path: /
    upstream: http://app
    sse:
      gap_event: ~
      buffer: { bytes: 3MiB }
      reconnect: { max: 9s }
      key: { ignore_query: [t] }
";
    let sse = read(text).routes[0].sse.clone();
    assert_eq!(sse.gap_event, None, "`~` takes a default back");
    assert_eq!(
        sse.principal,
        [Credential::Header("x-user".parse().unwrap())]
    );
    assert_eq!(
        (sse.buffer.events, sse.buffer.bytes),
        (Some(5), Some(3 << 20))
    );
    assert_eq!(sse.reconnect.initial, Duration::from_secs(2));
    assert_eq!(sse.reconnect.max, Duration::from_secs(9));
    assert_eq!(sse.key.headers, [http::header::ACCEPT]);
    assert_eq!(sse.key.ignore_query, ["t"]);
}

#[test]
fn a_default_gives_way_to_what_is_written() {
    let second = Duration::from_secs(1);
    assert_eq!(
        sse("{ reconnect: { max: 500ms } }").reconnect.initial,
        second / 2
    );
    assert_eq!(
        sse("{ reconnect: { initial: 60s } }").reconnect.max,
        second * 60
    );
    assert_eq!(
        sse("{ buffer: { bytes: 64KiB } }").max_event_bytes,
        64 << 10
    );
    let config = read("drain: { deadline: 3s }\nroutes: [{ path: /, upstream: \"http://a\" }]");
    assert_eq!(config.drain.spread, second * 3);
    assert_eq!(
        sse("{ mode: one_shot, max_event_bytes: 16MiB }").max_event_bytes,
        16 << 20
    );
}

#[test]
fn useful_extremes_are_allowed() {
    assert_eq!(sse("{ heartbeat: 0 }").heartbeat, Duration::ZERO);
    assert_eq!(
        sse("{ heartbeat: 100ms }").heartbeat,
        Duration::from_millis(100)
    );
    assert_eq!(sse("{ linger: 0s }").linger, Linger::For(Duration::ZERO));
    assert_eq!(sse("{ retain: 0 }").retain, Duration::ZERO);
    assert_eq!(sse("{ principal: [] }").principal, []);
    let ms = Duration::from_millis;
    assert_eq!(sse("{ retry: 3ms }").retry, Some(ms(3)..=ms(3)));
    assert_eq!(sse("~"), Settings::default());
}

#[test]
fn values_come_from_the_environment() {
    let text = "
listeners: [{ address: \"127.0.0.1:${PORT}\" }]
admin: { address: \"${NOWHERE:-}\" }
routes:
  - path: ${NOWHERE:-/events}
    upstream: http://app:${PORT}
    sse:
      heartbeat: ${NOWHERE:-3}s
      gap_event: $${PORT}
";
    let config = read(text);
    assert_eq!(config.listeners[0].address.port(), 9000);
    assert_eq!(config.admin, None);
    assert_eq!(config.routes[0].path, "/events");
    assert_eq!(config.routes[0].upstream, "http://app:9000");
    assert_eq!(config.routes[0].sse.heartbeat, Duration::from_secs(3));
    assert_eq!(config.routes[0].sse.gap_event.as_deref(), Some("${PORT}"));
}

#[test]
fn aliases_and_merge_keys() {
    let text = "
routes:
  - path: /a
    upstream: http://app
    sse: &chat { linger: complete, hold: 1s }
  - path: /b
    upstream: http://app
    sse: *chat
  - path: /c
    upstream: http://app
    sse: { <<: *chat, hold: 2s }
";
    let config = read(text);
    assert_eq!(config.routes[0].sse, config.routes[1].sse);
    assert_eq!(config.routes[2].sse.linger, Linger::Complete);
    assert_eq!(config.routes[2].sse.hold, Duration::from_secs(2));
}

#[test]
fn the_shipped_file() {
    let text = include_str!("../../proxy.yaml");
    let config = Config::parse("proxy.yaml", text, &|_| None).unwrap();
    assert_eq!(config.warnings(), [""; 0]);
    assert_eq!(config.routes.len(), 3);
}
