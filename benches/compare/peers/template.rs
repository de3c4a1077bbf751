//! A configuration file with `@NAME@`s in it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Setting;

#[derive(Debug)]
pub(super) struct Template {
    text: String,
}

impl Template {
    /// What every peer is told.
    pub(super) fn new(text: &str, setting: &Setting<'_>, listen: SocketAddr) -> Self {
        let mut template = Self {
            text: text.to_owned(),
        };
        template.set("LISTEN", &listen.to_string());
        template.set("ORIGIN", &setting.origin.to_string());
        template.set("WORKERS", &setting.workers.to_string());
        template.set("FILES", &setting.files.to_string());
        // Each has a descriptor on either side.
        template.set("CLIENTS", &((setting.files - 100) / 2).to_string());
        template.set("DIRECTORY", &setting.directory.display().to_string());
        template
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.text = self.text.replace(&format!("@{name}@"), value);
    }

    /// Writes it into `directory`. What was not set is left out.
    pub(super) fn write(mut self, directory: &Path, name: &str) -> io::Result<PathBuf> {
        for optional in ["SSL", "CERTIFICATE", "TLS", "BUFFER"] {
            self.set(optional, "");
        }
        let file = directory.join(name);
        std::fs::write(&file, self.text)?;
        Ok(file)
    }
}
