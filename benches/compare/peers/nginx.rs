//! nginx: as a proxy, and with nchan as a hub.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::template::Template;
use super::{Running, Setting, await_listening, said};
use crate::process::command;
use crate::socket;

const MODULE: &str = "ngx_nchan_module.so";

pub(super) fn proxy(setting: &Setting<'_>) -> io::Result<Running> {
    let listen = socket::free_address()?;
    let template = Template::new(include_str!("nginx.conf"), setting, listen);
    start(template, setting, listen)
}

pub(super) fn hub(setting: &Setting<'_>) -> io::Result<Running> {
    let (listen, hub) = (socket::free_address()?, socket::free_address()?);
    let module = module().ok_or_else(|| io::Error::other("no module"))?;
    let mut template = Template::new(include_str!("nchan.conf"), setting, listen);
    template.set("MODULE", &module.display().to_string());
    template.set("PUBLISH", &hub.to_string());
    // What sse-proxy retains by default, or what a scenario wants retained.
    let events = if setting.large_buffer {
        "200000"
    } else {
        "1024"
    };
    template.set("EVENTS", events);
    let mut running = start(template, setting, listen)?;
    running.hub = Some(hub);
    Ok(running)
}

fn start(mut template: Template, setting: &Setting<'_>, listen: SocketAddr) -> io::Result<Running> {
    if let Some(certificate) = setting.certificate {
        let (chain, key) = (certificate.chain.display(), certificate.key.display());
        let lines = format!("ssl_certificate {chain}; ssl_certificate_key {key};");
        template.set("SSL", "ssl");
        template.set("CERTIFICATE", &lines);
    }
    let file = template.write(setting.directory, "nginx.conf")?;
    let mut nginx = command("nginx", setting.core);
    nginx.arg("-c").arg(file).arg("-p").arg(setting.directory);
    // Before it has read the file it would complain of a log it cannot write.
    nginx.args(["-e", "stderr"]);
    await_listening("nginx", nginx, listen, setting)
}

/// Where nginx keeps the module, if it is installed.
fn module() -> Option<PathBuf> {
    let output = Command::new("nginx").arg("-V").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, path) = text.split_once("--modules-path=")?;
    let module = PathBuf::from(path.split_whitespace().next()?).join(MODULE);
    module.exists().then_some(module)
}

pub(super) fn hub_version() -> Option<String> {
    module()?;
    let package = ["-W", "-f", "${Version}", "libnginx-mod-nchan"];
    let version = said(Command::new("dpkg-query").args(package));
    Some(format!(
        "nchan {}",
        version.as_deref().unwrap_or("of unknown version")
    ))
}
