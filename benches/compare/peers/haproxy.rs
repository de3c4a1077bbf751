//! `HAProxy`.

use std::io;

use super::template::Template;
use super::{Running, Setting, await_listening};
use crate::process::command;
use crate::socket;

pub(super) fn start(setting: &Setting<'_>) -> io::Result<Running> {
    let listen = socket::free_address()?;
    let mut template = Template::new(include_str!("haproxy.cfg"), setting, listen);
    if let Some(certificate) = setting.certificate {
        template.set("SSL", &format!("ssl crt {}", certificate.both.display()));
    }
    let file = template.write(setting.directory, "haproxy.cfg")?;
    let mut haproxy = command("haproxy", setting.core);
    haproxy.arg("-db").arg("-f").arg(file);
    await_listening("haproxy", haproxy, listen, setting)
}
