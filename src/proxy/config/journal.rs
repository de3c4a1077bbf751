//! `journal`: where streams outlive their connections.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::error::ConfigError;
use super::model::{
    DiskJournal, DiskSync, JournalSettings, OnJournalLoss, RedisJournal, RedisTopology, Secret,
};
use super::pem;
use super::redis_url::{self, RedisUrl};
use super::section::Section;
use super::tree::{Entry, Node, Value};
use super::units;

type Result<T> = std::result::Result<T, ConfigError>;

/// Where events are kept, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    Disk,
    Redis,
}

const KINDS: [(&str, Kind); 3] = [
    ("memory", Kind::Memory),
    ("disk", Kind::Disk),
    ("redis", Kind::Redis),
];

const DISK_KEYS: [&str; 4] = ["path", "sync", "sync_interval", "max_bytes"];

const REDIS_KEYS: [&str; 9] = [
    "url",
    "urls",
    "topology",
    "sentinel_service",
    "secret",
    "lease",
    "prefix",
    "on_journal_loss",
    "ca",
];

/// When a journal on disk asks for what it wrote to be safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    Interval,
    Never,
}

const SYNC: [(&str, When); 3] = [
    ("always", When::Always),
    ("interval", When::Interval),
    ("never", When::Never),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topology {
    Standalone,
    Sentinel,
    Cluster,
}

const TOPOLOGIES: [(&str, Topology); 3] = [
    ("standalone", Topology::Standalone),
    ("sentinel", Topology::Sentinel),
    ("cluster", Topology::Cluster),
];

pub(super) const ON_LOSS: [(&str, OnJournalLoss); 2] = [
    ("pause", OnJournalLoss::Pause),
    ("continue", OnJournalLoss::Continue),
];

const SHORTEST_SYNC: Duration = Duration::from_millis(10);
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
const LONGEST_LEASE: Duration = Duration::from_secs(60);

/// Smallest cap on a directory: below it, not even one large event would fit.
const SMALLEST: usize = 1 << 20;

/// Fewer characters could be guessed by whoever reads the database.
const SECRET_CHARACTERS: usize = 16;

const LONGEST_PREFIX: usize = 64;

/// The `journal` block. `folder` is where relative file names start.
pub(super) fn read(node: &Node, folder: &Path) -> Result<JournalSettings> {
    match kind(node)? {
        Kind::Memory => {
            open(node, Kind::Memory)?;
            Ok(JournalSettings::Memory)
        }
        Kind::Disk => read_disk(node, folder).map(JournalSettings::Disk),
        Kind::Redis => read_redis(node, folder).map(JournalSettings::Redis),
    }
}

fn kind(node: &Node) -> Result<Kind> {
    let Some(entry) = node.entries()?.iter().find(|e| e.name == "kind") else {
        return Ok(Kind::Memory);
    };
    let kind = entry.node.word(&KINDS)?;
    let built = match kind {
        Kind::Memory => true,
        Kind::Disk => cfg!(feature = "disk"),
        Kind::Redis => cfg!(feature = "redis"),
    };
    if built {
        return Ok(kind);
    }
    let name = word(kind);
    Err(entry.node.error(format!(
        "this sse-proxy was built without the journal `{name}`; build it with \
         `--features proxy,{name}`, or write `kind: memory`"
    )))
}

/// The keys of a kind, which are refused under another.
fn open(node: &Node, kind: Kind) -> Result<Section<'_>> {
    for entry in node.entries()? {
        refuse_foreign(entry, kind)?;
    }
    let mut known = vec!["kind"];
    known.extend(keys(kind));
    Section::open(node, &known)
}

fn refuse_foreign(entry: &Entry, kind: Kind) -> Result<()> {
    let name = entry.name.as_str();
    if keys(kind).contains(&name) {
        return Ok(());
    }
    for (other, its_kind) in KINDS {
        if keys(its_kind).contains(&name) {
            return Err(entry.error(format!(
                "belongs to `kind: {other}`, but this is `kind: {}`; remove it, or change the kind",
                word(kind)
            )));
        }
        if other == name {
            return Err(entry.error(format!(
                "is a kind, not a key; write `kind: {other}`, and its keys beside it"
            )));
        }
    }
    Ok(())
}

fn keys(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Memory => &[],
        Kind::Disk => &DISK_KEYS,
        Kind::Redis => &REDIS_KEYS,
    }
}

fn word(kind: Kind) -> &'static str {
    let known = KINDS.iter().find(|(_, known)| *known == kind);
    known.map_or("", |(word, _)| word)
}

// === disk ===

fn read_disk(node: &Node, folder: &Path) -> Result<DiskJournal> {
    let section = open(node, Kind::Disk)?;
    let Some(path) = section.read("path", |node| directory(node, folder))? else {
        return Err(
            node.error("has no `path`; name a directory of its own, such as /var/lib/sse-proxy")
        );
    };
    let default = DiskJournal::new(path);
    Ok(DiskJournal {
        sync: read_sync(&section)?,
        max_bytes: section
            .read("max_bytes", |node| node.size_from(SMALLEST))?
            .unwrap_or(default.max_bytes),
        ..default
    })
}

/// It need not exist: the journal makes it.
fn directory(node: &Node, folder: &Path) -> Result<PathBuf> {
    let path = folder.join(node.text()?);
    std::path::absolute(path).map_err(|why| {
        node.error(format!(
            "{} cannot be made an absolute path: {why}; write it from the root on",
            node.shown()
        ))
    })
}

fn read_sync(section: &Section<'_>) -> Result<DiskSync> {
    let when = section
        .read("sync", |node| node.word(&SYNC))?
        .unwrap_or(When::Interval);
    let interval = section.read("sync_interval", |node| {
        if when != When::Interval {
            return Err(node.error("is only for `sync: interval`; remove it, or change `sync`"));
        }
        node.duration_from(SHORTEST_SYNC, "the disk would do nothing else")
    })?;
    Ok(match when {
        When::Always => DiskSync::Always,
        When::Interval => interval.map_or_else(DiskSync::default, DiskSync::Interval),
        When::Never => DiskSync::Never,
    })
}

// === redis ===

fn read_redis(node: &Node, folder: &Path) -> Result<RedisJournal> {
    let section = open(node, Kind::Redis)?;
    let urls = read_urls(node, &section)?;
    let topology = read_topology(node, &section)?;
    check_servers(&section, &urls, &topology)?;
    let Some(secret) = section.read("secret", secret)? else {
        return Err(node.error(
            "has no `secret`; write one of 16 characters or more, the same for all replicas, \
             such as secret: \"${SSE_SECRET}\"",
        ));
    };
    let urls = urls.into_iter().map(|(_, url)| url.whole).collect();
    let default = RedisJournal::new(urls, secret);
    Ok(RedisJournal {
        topology,
        lease: section.read("lease", lease)?.unwrap_or(default.lease),
        prefix: section.read("prefix", prefix)?.unwrap_or(default.prefix),
        on_loss: section
            .read("on_journal_loss", |node| node.word(&ON_LOSS))?
            .unwrap_or_default(),
        ca: section.read_or_off("ca", |node| pem::certificates(node, folder))?,
        ..default
    })
}

/// What is under `url` or `urls`, each with its place.
fn read_urls<'a>(node: &Node, section: &Section<'a>) -> Result<Vec<(&'a Node, RedisUrl)>> {
    let nodes = match (section.get("url"), section.get("urls")) {
        (Some(one), None) => std::slice::from_ref(one),
        (None, Some(list)) => list.items()?,
        (Some(_), Some(list)) => {
            return Err(list.error("is given beside `url`; keep one of the two"));
        }
        (None, None) => &[],
    };
    if nodes.is_empty() {
        return Err(section.get("urls").unwrap_or(node).error(
            "names no server; write `url: redis://HOST:6379`, or list several under `urls`",
        ));
    }
    let mut urls: Vec<(&Node, RedisUrl)> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let url = redis_url::read(node)?;
        if urls.iter().any(|(_, other)| other.server == url.server) {
            return Err(node.error("names a server that is listed already; list each once"));
        }
        urls.push((node, url));
    }
    Ok(urls)
}

fn read_topology(node: &Node, section: &Section<'_>) -> Result<RedisTopology> {
    let topology = section
        .read("topology", |node| node.word(&TOPOLOGIES))?
        .unwrap_or(Topology::Standalone);
    let service = section.read("sentinel_service", |node| {
        if topology != Topology::Sentinel {
            return Err(node.error("is only for `topology: sentinel`; remove it, or change that"));
        }
        Ok(node.text()?.to_owned())
    })?;
    Ok(match (topology, service) {
        (Topology::Standalone, _) => RedisTopology::Standalone,
        (Topology::Cluster, _) => RedisTopology::Cluster,
        (Topology::Sentinel, Some(service)) => RedisTopology::Sentinel { service },
        (Topology::Sentinel, None) => {
            return Err(node.error(
                "has no `sentinel_service`; name what the sentinels call the master, such as mymaster",
            ));
        }
    })
}

/// What the servers must have in common, and what fits the topology.
fn check_servers(
    section: &Section<'_>,
    urls: &[(&Node, RedisUrl)],
    topology: &RedisTopology,
) -> Result<()> {
    let Some(((_, first), others)) = urls.split_first() else {
        return Ok(());
    };
    if let Some((node, _)) = others.iter().find(|(_, url)| url.access != first.access) {
        return Err(node.error(
            "differs from the first in more than host and port; all need the same scheme, \
             user, password and database",
        ));
    }
    match (topology, others.first()) {
        (RedisTopology::Standalone, Some((node, _))) => {
            return Err(node.error(
                "is a second server, but `topology: standalone` has one; name one, or write \
                 `topology: sentinel` or `cluster`",
            ));
        }
        (RedisTopology::Cluster, _) if first.access.database != 0 => {
            return Err(urls[0]
                .0
                .error("names a database, and a cluster has only 0; leave it out"));
        }
        _ => {}
    }
    match section.get("ca") {
        Some(node) if !matches!(node.value, Value::Null) && !first.access.tls => {
            Err(node.error("is for TLS, but the URL is redis://; write rediss://, or remove it"))
        }
        _ => Ok(()),
    }
}

/// Never shown: neither its value nor, if it is there, what is in the file.
fn secret(node: &Node) -> Result<Secret<[u8; 32]>> {
    let text = node.text()?;
    if text.chars().count() < SECRET_CHARACTERS {
        return Err(node.error(format!(
            "has fewer than {SECRET_CHARACTERS} characters; write a random one, such as \
             `openssl rand -base64 32` prints"
        )));
    }
    let key = Sha256::digest(text.as_bytes()).into();
    Ok(Secret::shown_as(key, node.reference()))
}

fn lease(node: &Node) -> Result<Duration> {
    let lease = node.duration_from(
        SHORTEST_LEASE,
        "a busy moment would look like the owner's death",
    )?;
    if lease > LONGEST_LEASE {
        return Err(node.error(format!(
            "{} is too long: a dead owner's streams would stand still for it; write {} or less",
            node.shown(),
            units::format_duration(LONGEST_LEASE)
        )));
    }
    Ok(lease)
}

/// Braces would move keys to other slots of a cluster.
fn prefix(node: &Node) -> Result<String> {
    let text = node.text()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if text.len() <= LONGEST_PREFIX && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(node.error(format!(
        "{} is not a prefix of keys; write up to {LONGEST_PREFIX} letters, digits, or any of - _ . :",
        node.shown()
    )))
}
