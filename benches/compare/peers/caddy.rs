//! Caddy.

use std::io;

use super::template::Template;
use super::{Running, Setting, await_listening};
use crate::process::command;
use crate::socket;

pub(super) fn start(setting: &Setting<'_>) -> io::Result<Running> {
    let listen = socket::free_address()?;
    let mut template = Template::new(include_str!("Caddyfile"), setting, listen);
    if let Some(certificate) = setting.certificate {
        let (chain, key) = (certificate.chain.display(), certificate.key.display());
        template.set("SCHEME", "https");
        template.set("CERTIFICATE", &format!("tls {chain} {key}"));
    }
    template.set("SCHEME", "http");
    let file = template.write(setting.directory, "Caddyfile")?;
    let mut caddy = command("caddy", setting.core);
    caddy
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(file);
    caddy.env("GOMAXPROCS", setting.workers.to_string());
    for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        caddy.env(variable, setting.directory);
    }
    await_listening("caddy", caddy, listen, setting)
}
