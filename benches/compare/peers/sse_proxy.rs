//! The proxy of this project.

use std::io::{self, BufRead, BufReader};
use std::process::Stdio;

use super::template::Template;
use super::{Running, Setting};
use crate::process::{Process, command};
use crate::socket;

/// It takes a port itself and says which.
pub(super) fn start(setting: &Setting<'_>) -> io::Result<Running> {
    let unused = socket::free_address()?;
    let mut template = Template::new(include_str!("sse-proxy.yaml"), setting, unused);
    if let Some(certificate) = setting.certificate {
        let (chain, key) = (certificate.chain.display(), certificate.key.display());
        template.set(
            "TLS",
            &format!(", tls: {{ certificate: {chain}, private_key: {key} }}"),
        );
    }
    if setting.large_buffer {
        template.set("BUFFER", ", buffer: { events: 200000, bytes: 64MiB }");
    }
    let file = template.write(setting.directory, "sse-proxy.yaml")?;
    let mut proxy = command(setting.proxy, setting.core);
    proxy
        .arg("--config")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // Kept, so that what it says of a failed run does not hide the report.
    proxy.stderr(std::fs::File::create(setting.directory.join("output"))?);
    let mut process = Process::start("sse-proxy", proxy)?;
    let mut line = String::new();
    BufReader::new(process.output()?).read_line(&mut line)?;
    let address = line
        .trim()
        .rsplit_once("://")
        .map_or("", |(_, address)| address);
    let address = address.parse();
    let address = address.map_err(|_| io::Error::other(format!("sse-proxy said {line:?}")))?;
    Ok(Running {
        process,
        address,
        hub: None,
    })
}
