//! The top level of `proxy.yaml`, key by key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use super::error::ConfigError;
use super::journal;
use super::limits;
use super::listener;
use super::model::{Config, Drain, JournalSettings, Limits, Listener, Networks, Operations};
use super::route;
use super::section::Section;
use super::sse;
use super::tree::Node;
use super::upstream;
use super::{network, operation};

type Result<T> = std::result::Result<T, ConfigError>;

const KEYS: [&str; 12] = [
    "listeners",
    "trusted_proxies",
    "admin",
    "journal",
    "drain",
    "limits",
    "upstreams",
    "defaults",
    "routes",
    operation::KEYS[0],
    operation::KEYS[1],
    operation::KEYS[2],
];

/// Where the proxy listens if nothing is said: on this machine only.
const DEFAULT_LISTENER: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);

/// Reads the whole document. `folder` is where relative file names start.
pub(super) fn read(root: &Node, folder: &Path) -> Result<Config> {
    let top = Section::open(root, &KEYS)?;
    let listeners = top.read("listeners", |node| listener::read_all(node, folder))?;
    let trusted_proxies = top.read_or_off("trusted_proxies", network::read)?;
    let admin = top.read_or_off("admin", listener::read_admin)?.flatten();
    let journal = top
        .read("journal", |node| journal::read(node, folder))?
        .unwrap_or_default();
    let drain = top.read("drain", read_drain)?.unwrap_or_default();
    let limits = top.read("limits", limits::read)?.unwrap_or_default();
    let mut upstreams = top
        .read("upstreams", |node| upstream::read_all(node, folder))?
        .unwrap_or_default();
    let routes = route::read_all(root, &top, &mut upstreams, folder)?;

    let config = Config {
        listeners: listeners.unwrap_or_else(default_listeners),
        trusted_proxies: trusted_proxies.unwrap_or_default(),
        admin,
        journal,
        drain,
        limits,
        upstreams,
        routes,
        operations: operation::read(&top, folder)?,
    };
    check_admin(&top, &config)?;
    check_buffers(&top, &config)?;
    Ok(config)
}

/// A configuration without a file: one listener, one upstream, every default.
pub(super) fn single(listen: SocketAddr, url: &str) -> Result<Config> {
    let server = upstream::parse_server(url)
        .map_err(|why| ConfigError::whole(why.about(&format!("\"{}\"", url.escape_debug()))))?;
    let name = upstream::name_of(url);
    let upstreams = BTreeMap::from([(name.clone(), upstream::of_server(server))]);
    Ok(Config {
        listeners: vec![Listener {
            address: listen,
            tls: None,
            reuse_port: false,
            redirect_to_https: None,
            proxy_protocol: None,
        }],
        trusted_proxies: Networks::default(),
        admin: None,
        journal: JournalSettings::default(),
        drain: Drain::default(),
        limits: Limits::default(),
        upstreams,
        routes: vec![route::everything(name)],
        operations: Operations::default(),
    })
}

fn default_listeners() -> Vec<Listener> {
    vec![Listener {
        address: SocketAddr::from(DEFAULT_LISTENER),
        tls: None,
        reuse_port: false,
        redirect_to_https: None,
        proxy_protocol: None,
    }]
}

fn read_drain(node: &Node) -> Result<Drain> {
    let section = Section::open(node, &["deadline", "spread", "retry"])?;
    let default = Drain::default();
    let deadline = section
        .read("deadline", Node::duration)?
        .unwrap_or(default.deadline);
    // A default gives way to what is written.
    let spread = section
        .read("spread", Node::duration)?
        .unwrap_or(default.spread.min(deadline));
    if spread > deadline {
        let node = section.get("spread").unwrap_or(node);
        return Err(node.error(format!(
            "{} is longer than drain.deadline, after which everything is cut; \
             write at most the deadline",
            node.shown()
        )));
    }
    let retry = section.read_or_off("retry", sse::retry)?;
    Ok(Drain {
        deadline,
        spread,
        retry: retry.map(RangeInclusive::into_inner),
    })
}

/// The admin endpoint cannot share a port with clients.
fn check_admin(top: &Section<'_>, config: &Config) -> Result<()> {
    let (Some(admin), Some(node)) = (config.admin, top.get("admin")) else {
        return Ok(());
    };
    let taken = config.listeners.iter().any(|l| l.address == admin);
    if taken && admin.port() != 0 {
        return Err(node.error(
            "has the address of a listener; write an address of its own, \
             such as 127.0.0.1:9901",
        ));
    }
    Ok(())
}

/// A stream's buffer that could never be filled would be a promise broken.
fn check_buffers(top: &Section<'_>, config: &Config) -> Result<()> {
    let whole = config.limits.buffered_bytes;
    let largest = config
        .routes
        .iter()
        .filter_map(|r| r.sse.buffer.bytes)
        .max();
    let (Some(largest), Some(node)) = (largest, top.get("limits")) else {
        return Ok(());
    };
    if largest > whole {
        return Err(node.error(format!(
            "buffered_bytes bounds all streams together but is smaller than the largest \
             buffer of one; write {} or more",
            super::units::format_size(largest)
        )));
    }
    Ok(())
}
