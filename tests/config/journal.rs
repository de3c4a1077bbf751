//! `journal`: what each kind means, what it says about mistakes, and that no
//! secret of it is ever shown.

use tower_sse::proxy::Config;
use tower_sse::proxy::config::model::{JournalSettings, RedisJournal};

use super::parse;

/// A configuration with this journal, in flow style.
fn with_journal(block: &str) -> String {
    format!("journal: {{ {block} }}\nroutes: [{{ path: /, upstream: \"http://a\" }}]\n")
}

fn read(block: &str) -> Config {
    let text = with_journal(block);
    parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The settings of a journal in Redis with these keys.
pub(crate) fn redis(keys: &str) -> RedisJournal {
    match read(&format!("kind: redis, {keys}")).journal {
        JournalSettings::Redis(redis) => redis,
        other => panic!("{other:?}"),
    }
}

/// Checks pairs of a block and what it is answered with.
fn check(table: &[(&str, &str)]) {
    for (block, expected) in table {
        let error = parse(&with_journal(block)).unwrap_err().to_string();
        assert_eq!(error, format!("proxy.yaml:1:{expected}"), "\n{block}");
    }
}

#[test]
fn memory_is_the_default() {
    for text in [
        "routes: [{ path: /, upstream: \"http://a\" }]",
        "journal: ~\nroutes: [{ path: /, upstream: \"http://a\" }]",
        "journal: { kind: memory }\nroutes: [{ path: /, upstream: \"http://a\" }]",
    ] {
        assert_eq!(parse(text).unwrap().journal, JournalSettings::Memory);
    }
}

#[test]
fn keys_must_belong_to_the_kind() {
    check(&[
        (
            "kind: disc",
            "18: journal.kind: \"disc\" is not valid (did you mean `disk`?); write one of: memory, disk, redis",
        ),
        (
            "path: /x",
            "12: journal.path: belongs to `kind: disk`, but this is `kind: memory`; remove it, or change the kind",
        ),
        (
            "kind: memory, url: redis://a",
            "26: journal.url: belongs to `kind: redis`, but this is `kind: memory`; remove it, or change the kind",
        ),
        (
            "disk: { path: /x }",
            "12: journal.disk: is a kind, not a key; write `kind: disk`, and its keys beside it",
        ),
        (
            "kind: memory, size: 1",
            "26: journal.size: unknown key; valid here: kind",
        ),
    ]);
}

#[cfg(not(feature = "disk"))]
#[test]
fn a_build_without_disk_says_so() {
    check(&[(
        "kind: disk, path: /x",
        "18: journal.kind: this sse-proxy was built without the journal `disk`; build it with `--features proxy,disk`, or write `kind: memory`",
    )]);
}

#[cfg(not(feature = "redis"))]
#[test]
fn a_build_without_redis_says_so() {
    check(&[(
        "kind: redis, url: redis://a",
        "18: journal.kind: this sse-proxy was built without the journal `redis`; build it with `--features proxy,redis`, or write `kind: memory`",
    )]);
}

#[cfg(feature = "disk")]
mod disk {
    use std::path::PathBuf;
    use std::time::Duration;

    use tower_sse::proxy::config::model::{DiskJournal, DiskSync};

    use super::*;

    fn disk(keys: &str) -> DiskJournal {
        match read(&format!("kind: disk, {keys}")).journal {
            JournalSettings::Disk(disk) => disk,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_key() {
        let secs = Duration::from_secs;
        assert_eq!(
            disk("path: /x, sync: interval, sync_interval: 2s, max_bytes: 3GiB"),
            DiskJournal {
                path: PathBuf::from("/x"),
                sync: DiskSync::Interval(secs(2)),
                max_bytes: 3 << 30,
            }
        );
        let default = disk("path: /x");
        assert_eq!(default, DiskJournal::new("/x".into()));
        assert_eq!(default.sync, DiskSync::Interval(secs(1)));
        assert_eq!(default.max_bytes, 1 << 30);
        assert_eq!(disk("path: /x, sync: always").sync, DiskSync::Always);
        assert_eq!(disk("path: /x, sync: never").sync, DiskSync::Never);
        let short = disk("path: /x, sync_interval: 50ms").sync;
        assert_eq!(short, DiskSync::Interval(Duration::from_millis(50)));
    }

    #[test]
    fn a_path_starts_at_the_folder_of_the_file() {
        let text = with_journal("kind: disk, path: journal");
        let config = Config::parse("/etc/sse/proxy.yaml", &text, &|_| None).unwrap();
        let expected = DiskJournal::new("/etc/sse/journal".into());
        assert_eq!(config.journal, JournalSettings::Disk(expected));
    }

    #[test]
    fn mistakes() {
        check(&[
            (
                "kind: disk",
                "10: journal: has no `path`; name a directory of its own, such as /var/lib/sse-proxy",
            ),
            (
                "kind: disk, path: ~",
                "30: journal.path: has no value; write one, or remove the key",
            ),
            (
                "kind: disk, pth: /x",
                "24: journal.pth: unknown key; did you mean `path`?",
            ),
            (
                "kind: disk, path: /x, lease: 5s",
                "34: journal.lease: belongs to `kind: redis`, but this is `kind: disk`; remove it, or change the kind",
            ),
            (
                "kind: disk, path: /x, sync: alway",
                "40: journal.sync: \"alway\" is not valid (did you mean `always`?); write one of: always, interval, never",
            ),
            (
                "kind: disk, path: /x, sync: never, sync_interval: 1s",
                "62: journal.sync_interval: is only for `sync: interval`; remove it, or change `sync`",
            ),
            (
                "kind: disk, path: /x, sync_interval: 1ms",
                "49: journal.sync_interval: \"1ms\" is too short: the disk would do nothing else; write 10ms or more",
            ),
            (
                "kind: disk, path: /x, max_bytes: 1KiB",
                "45: journal.max_bytes: \"1KiB\" is too small; write 1MiB or more",
            ),
        ]);
    }

    #[test]
    fn what_is_printed() {
        let printed = read("kind: disk, path: /x").to_yaml();
        let block = "journal:\n  kind: disk\n  path: \"/x\"\n  sync: interval\n  \
                     sync_interval: 1s\n  max_bytes: 1GiB\n";
        assert!(printed.contains(block), "{printed}");
        let printed = read("kind: disk, path: /x, sync: never").to_yaml();
        assert!(printed.contains("  sync: never\n  max_bytes"), "{printed}");
    }
}

#[cfg(feature = "redis")]
mod in_redis {
    use std::path::PathBuf;
    use std::time::Duration;

    use sha2::{Digest, Sha256};
    use tower_sse::proxy::config::model::{OnJournalLoss, RedisTopology};

    use super::*;

    const SECRET: &str = "secret: 0123456789abcdef";

    #[test]
    fn every_key() {
        let redis = redis(
            "urls: [\"redis://a:1\", \"redis://b\"], topology: sentinel, \
             sentinel_service: main, secret: \"${LONG_SECRET}\", lease: 9s, prefix: a.b, \
             on_journal_loss: continue, ca: ~",
        );
        let urls: Vec<&str> = redis.urls.iter().map(|url| url.expose().as_str()).collect();
        assert_eq!(urls, ["redis://a:1", "redis://b"]);
        let service = "main".to_owned();
        assert_eq!(redis.topology, RedisTopology::Sentinel { service });
        let hash: [u8; 32] = Sha256::digest(b"hunter2-hunter2-hunter2").into();
        assert_eq!(*redis.secret.expose(), hash);
        assert_eq!(redis.lease, Duration::from_secs(9));
        assert_eq!(redis.prefix, "a.b");
        assert_eq!(redis.on_loss, OnJournalLoss::Continue);
        assert_eq!(redis.ca, None);
    }

    #[test]
    fn defaults() {
        let redis = redis(&format!("url: \"redis://u:${{SECRET}}@a/2\", {SECRET}"));
        assert_eq!(redis.urls[0].expose(), "redis://u:hunter2@a/2");
        assert_eq!(
            redis,
            RedisJournal::new(redis.urls.clone(), redis.secret.clone())
        );
        assert_eq!(redis.lease, Duration::from_secs(5));
        assert_eq!(redis.prefix, "sse");
        assert_eq!(redis.topology, RedisTopology::Standalone);
        assert_eq!(redis.on_loss, OnJournalLoss::Pause);
    }

    #[test]
    fn an_authority_of_ones_own() {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("journal-ca");
        std::fs::create_dir_all(&folder).expect("a folder");
        let key = rcgen::generate_simple_self_signed(["redis".to_owned()]).expect("a certificate");
        std::fs::write(folder.join("ca.pem"), key.cert.pem()).expect("written");
        let file = folder.join("proxy.yaml");
        let load = |url: &str, ca: &str| {
            let text = with_journal(&format!("kind: redis, url: {url}, {SECRET}, ca: {ca}"));
            std::fs::write(&file, text).expect("written");
            Config::load(&file).map(|config| match config.journal {
                JournalSettings::Redis(redis) => redis.ca,
                other => panic!("{other:?}"),
            })
        };
        let found = load("rediss://a", "ca.pem").unwrap();
        assert_eq!(found, Some(folder.join("ca.pem")));
        let error = load("redis://a", "ca.pem").unwrap_err();
        assert_eq!(
            error.message(),
            "is for TLS, but the URL is redis://; write rediss://, or remove it"
        );
        let error = load("rediss://a", "none.pem").unwrap_err();
        assert_eq!(error.key(), "journal.ca");
    }

    #[test]
    fn mistakes() {
        check(&[
            (
                "kind: redis",
                "10: journal: names no server; write `url: redis://HOST:6379`, or list several under `urls`",
            ),
            (
                "kind: redis, urls: []",
                "31: journal.urls: names no server; write `url: redis://HOST:6379`, or list several under `urls`",
            ),
            (
                "kind: redis, url: redis://a, urls: [redis://b]",
                "47: journal.urls: is given beside `url`; keep one of the two",
            ),
            (
                "kind: redis, url: http://a",
                "30: journal.url: has a scheme that is not served; write redis://, or rediss:// for TLS",
            ),
            (
                "kind: redis, url: redis://a",
                "10: journal: has no `secret`; write one of 16 characters or more, the same for all replicas, such as secret: \"${SSE_SECRET}\"",
            ),
            (
                "kind: redis, url: redis://a, secret: 0123456789abcde",
                "49: journal.secret: has fewer than 16 characters; write a random one, such as `openssl rand -base64 32` prints",
            ),
            (
                "kind: redis, url: redis://a, sentinel_service: x",
                "59: journal.sentinel_service: is only for `topology: sentinel`; remove it, or change that",
            ),
            (
                "kind: redis, url: redis://a, topology: sentinel",
                "10: journal: has no `sentinel_service`; name what the sentinels call the master, such as mymaster",
            ),
            (
                "kind: redis, url: redis://a, topology: clustered",
                "51: journal.topology: \"clustered\" is not valid (did you mean `cluster`?); write one of: standalone, sentinel, cluster",
            ),
            (
                "kind: redis, url: redis://a/1, topology: cluster",
                "30: journal.url: names a database, and a cluster has only 0; leave it out",
            ),
            (
                "kind: redis, urls: [redis://a, redis://b]",
                "43: journal.urls[1]: is a second server, but `topology: standalone` has one; name one, or write `topology: sentinel` or `cluster`",
            ),
            (
                "kind: redis, urls: [redis://a, redis://A:6379]",
                "43: journal.urls[1]: names a server that is listed already; list each once",
            ),
            (
                "kind: redis, urls: [redis://a, rediss://b], topology: cluster",
                "43: journal.urls[1]: differs from the first in more than host and port; all need the same scheme, user, password and database",
            ),
            (
                "kind: redis, path: /x",
                "25: journal.path: belongs to `kind: disk`, but this is `kind: redis`; remove it, or change the kind",
            ),
            (
                "kind: redis, on_loss: pause",
                "25: journal.on_loss: unknown key; valid here: kind, url, urls, topology, sentinel_service, secret, lease, prefix, on_journal_loss, ca",
            ),
            (
                "kind: redis, url: redis://a, secret: 0123456789abcdef, lease: 500ms",
                "74: journal.lease: \"500ms\" is too short: a busy moment would look like the owner's death; write 1s or more",
            ),
            (
                "kind: redis, url: redis://a, secret: 0123456789abcdef, lease: 2m",
                "74: journal.lease: \"2m\" is too long: a dead owner's streams would stand still for it; write 1m or less",
            ),
            (
                "kind: redis, url: redis://a, secret: 0123456789abcdef, prefix: \"{x}\"",
                "75: journal.prefix: \"{x}\" is not a prefix of keys; write up to 64 letters, digits, or any of - _ . :",
            ),
            (
                "kind: redis, url: redis://a, secret: 0123456789abcdef, on_journal_loss: stop",
                "84: journal.on_journal_loss: \"stop\" is not valid; write one of: pause, continue",
            ),
        ]);
    }

    #[test]
    fn what_is_printed() {
        let printed =
            read("kind: redis, url: \"rediss://u:${SECRET}@a:1/2\", secret: \"${LONG_SECRET}\"");
        let block = "journal:\n  kind: redis\n  urls: [\"rediss://u:${SECRET}@a:1/2\"]\n  \
                     topology: standalone\n  secret: \"${LONG_SECRET}\"\n  lease: 5s\n  \
                     prefix: \"sse\"\n  on_journal_loss: pause\n  ca: ~\n";
        assert!(printed.to_yaml().contains(block), "{}", printed.to_yaml());
        assert_eq!(parse(&printed.to_yaml()).unwrap(), printed);
    }

    /// Nor may it be read again as if it were the secret.
    #[test]
    fn secrets_in_the_file_are_not_printed() {
        for block in [
            "kind: redis, url: redis://u:hunter2@a, secret: \"${LONG_SECRET}\"",
            "kind: redis, url: \"redis://u:${NONE:-hunter2}@a\", secret: \"${LONG_SECRET}\"",
            "kind: redis, url: redis://a, secret: hunter2-hunter2-hunter2",
            "kind: redis, url: redis://a, secret: \"${NONE:-hunter2-hunter2-hunter2}\"",
            "kind: redis, url: redis://a, secret: \"${LONG_SECRET}-hunter2\"",
        ] {
            let config = read(block);
            let shown = format!("{}{config:?}", config.to_yaml());
            assert!(shown.contains("<hidden>"), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
            parse(&config.to_yaml()).unwrap_err();
        }
        let config = read("kind: redis, url: \"${REDIS_URL}\", secret: \"${LONG_SECRET}\"");
        assert!(!format!("{}{config:?}", config.to_yaml()).contains("hunter2"));
    }

    #[test]
    fn nor_are_they_in_errors() {
        for block in [
            "kind: redis, url: hunter2",
            "kind: redis, url: \"redis://u:hunter2@a:x\"",
            "kind: redis, url: \"redis://u:hunter2%@a\"",
            "kind: redis, url: \"redis://u:hunter2/@a\"",
            "kind: redis, url: \"redis://u:${SECRET}@a@b\"",
            "kind: redis, urls: [redis://u:hunter2@a, redis://u:hunter3@b], topology: cluster",
            "kind: redis, urls: [redis://u:hunter2@a, redis://u:hunter2@b]",
            "kind: redis, url: redis://u:hunter2@a/7, topology: cluster",
            "kind: redis, url: redis://a, secret: hunter2",
            "kind: redis, url: redis://a, secret: \"${SECRET}\"",
            "kind: redis, url: redis://a, secret: [hunter2]",
            "kind: disk, url: redis://u:hunter2@a",
            "kind: redis, urls: redis://u:hunter2@a",
        ] {
            let said = parse(&with_journal(block)).unwrap_err().to_string();
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
