//! Pushpin: several processes, with zurl for the way to the origin.

use std::io;
use std::process::Command;

use super::template::Template;
use super::{Running, Setting, await_listening, said};
use crate::process::command;
use crate::socket;

/// Zurl beside Pushpin, all of them descendants of one process.
const SCRIPT: &str = "setpriv --pdeathsig TERM zurl --config=zurl.conf >/dev/null & \
    exec pushpin --config=pushpin.conf";

pub(super) fn start(setting: &Setting<'_>) -> io::Result<Running> {
    let listen = socket::free_address()?;
    let mut template = Template::new(include_str!("pushpin.conf"), setting, listen);
    let control = socket::free_address()?;
    template.set("PUBLISH", &control.port().to_string());
    template.write(setting.directory, "pushpin.conf")?;
    let template = Template::new(include_str!("zurl.conf"), setting, listen);
    template.write(setting.directory, "zurl.conf")?;
    std::fs::write(
        setting.directory.join("routes"),
        format!("* {}\n", setting.origin),
    )?;
    let mut pushpin = command("sh", setting.core);
    pushpin.args(["-c", SCRIPT]).current_dir(setting.directory);
    await_listening("pushpin", pushpin, listen, setting)
}

pub(super) fn version() -> Option<String> {
    said(Command::new("zurl").arg("--version"))?;
    said(Command::new("pushpin").arg("--version"))
}
