//! `listeners` and `admin`.

use std::net::SocketAddr;
use std::path::Path;

use super::error::ConfigError;
use super::model::{Acme, Challenge, Listener};
use super::network;
use super::section::Section;
use super::tls;
use super::tree::Node;

type Result<T> = std::result::Result<T, ConfigError>;

/// The `listeners` list.
pub(super) fn read_all(node: &Node, folder: &Path) -> Result<Vec<Listener>> {
    let items = node.items()?;
    if items.is_empty() {
        return Err(node.error(
            "is empty; list at least one `- address: IP:PORT`, or remove the key for the default",
        ));
    }
    let mut listeners: Vec<Listener> = Vec::with_capacity(items.len());
    for item in items {
        let listener = read(item, folder)?;
        // Port 0 takes another free port each time.
        if let Some(other) = listeners
            .iter()
            .position(|l| l.address == listener.address && l.address.port() != 0)
        {
            return Err(item.error(format!(
                "has the address of listeners[{other}]; every listener needs its own"
            )));
        }
        listeners.push(listener);
    }
    check_challenges(items, &listeners)?;
    Ok(listeners)
}

/// The authority asks for an `http-01` challenge in clear.
fn check_challenges(items: &[Node], listeners: &[Listener]) -> Result<()> {
    let in_clear = |acme: &Acme| acme.challenge == Challenge::Http01;
    let asks = |listener: &Listener| {
        let acme = listener.tls.as_ref().and_then(|tls| tls.acme.as_ref());
        acme.is_some_and(in_clear)
    };
    let asking = items.iter().zip(listeners).find(|(_, l)| asks(l));
    match asking {
        Some((item, _)) if listeners.iter().all(|l| l.tls.is_some()) => Err(item.error(
            "proves its names by http-01, which is asked for in clear; add a listener without \
             `tls` that port 80 leads to, or write challenge: tls-alpn-01",
        )),
        _ => Ok(()),
    }
}

/// The `admin` block.
pub(super) fn read_admin(node: &Node) -> Result<Option<SocketAddr>> {
    let section = Section::open(node, &["address"])?;
    section.read_or_off("address", address)
}

fn read(node: &Node, folder: &Path) -> Result<Listener> {
    let section = Section::open(
        node,
        &[
            "address",
            "tls",
            "redirect_to_https",
            "reuse_port",
            "proxy_protocol",
        ],
    )?;
    let Some(address) = section.read("address", address)? else {
        return Err(node.error("has no `address`; write one, such as 0.0.0.0:8080"));
    };
    let tls = section.read_or_off("tls", |node| tls::read(node, folder))?;
    let redirect = section
        .read_or_off("redirect_to_https", redirect)?
        .flatten();
    if let (Some(node), true) = (
        section.get("redirect_to_https"),
        tls.is_some() && redirect.is_some(),
    ) {
        return Err(node.error("is for listeners in clear, and this one has `tls`; remove one"));
    }
    let proxy_protocol = section.read_or_off("proxy_protocol", network::read_proxy_protocol)?;
    let reuse_port = section.read("reuse_port", |node| node.word(&super::operation::SWITCH))?;
    Ok(Listener {
        address,
        tls,
        reuse_port: reuse_port.unwrap_or_default(),
        redirect_to_https: redirect,
        proxy_protocol,
    })
}

/// `true` is the usual port, which URLs leave out.
fn redirect(node: &Node) -> Result<Option<u16>> {
    match node.text()? {
        "true" => Ok(Some(Listener::HTTPS_PORT)),
        "false" => Ok(None),
        port => match port.parse() {
            Ok(port) if port > 0 => Ok(Some(port)),
            _ => Err(node.error(format!(
                "{} is neither true, false nor a port; write true, or the port clients reach \
                 TLS at, such as 8443",
                node.shown()
            ))),
        },
    }
}

fn address(node: &Node) -> Result<SocketAddr> {
    node.text()?.parse().map_err(|_| {
        node.error(format!(
            "{} is not an IP address and port; write 0.0.0.0:8080 for every IPv4 interface, \
             [::]:8080 for IPv6, 127.0.0.1:8080 for this machine only",
            node.shown()
        ))
    })
}
