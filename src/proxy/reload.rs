//! When the configuration is read again, and what is said of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::config::Config;
use super::server::Control;
use super::supervisor;

/// Time between looks at a file that is watched.
const LOOK: Duration = Duration::from_secs(5);

/// A file that changed is read when it has not changed again for so long:
/// whoever writes it may not be done.
const SETTLE: Duration = Duration::from_secs(1);

/// Reads the configuration again, and puts it in force.
#[derive(Debug)]
pub(super) struct Reloads {
    control: Control,
    /// `None` if there is no file, as with `--listen`.
    file: Option<PathBuf>,
    /// What was in force last, and is again if there is no file.
    config: Config,
    /// What was read last, accepted or not. Not known at first: since the
    /// configuration was read, the file may have changed already.
    read: Option<Content>,
}

/// Content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Content([u8; 32]);

impl Reloads {
    /// Of a configuration that was read from this file.
    pub(super) fn new(control: Control, file: Option<PathBuf>, config: Config) -> Self {
        Self {
            control,
            read: None,
            file,
            config,
        }
    }

    /// Resolves when the file has changed, if it is to be watched.
    pub(super) async fn changed(&self) {
        let watched = self.file.as_deref();
        let Some(file) = watched.filter(|_| self.config.operations.reload.watch) else {
            return std::future::pending().await;
        };
        let mut last = self.read;
        loop {
            let settling = last != self.read;
            tokio::time::sleep(if settling { SETTLE } else { LOOK }).await;
            // A file that is being replaced may not be there for a moment.
            let Some(now) = Content::of(file) else {
                continue;
            };
            if settling && Some(now) == last {
                return;
            }
            last = Some(now);
        }
    }

    /// Reads a file that has changed, which may mean the same.
    pub(super) async fn look(&mut self) {
        let content = self.file.as_deref().and_then(Content::of);
        let loaded = self.file.as_deref().map(Config::load);
        if let Some(Ok(config)) = loaded
            && config == self.config
        {
            self.read = content;
        } else {
            self.reload("the file has changed").await;
        }
    }

    /// Reads it now. What is wrong is logged, and changes nothing.
    pub(super) async fn reload(&mut self, cause: &str) {
        supervisor::reloading();
        let result = self.put_in_force().await;
        self.control.metrics().reloaded(result.is_ok());
        match result {
            Ok(()) => {
                let config = self.config.fingerprint();
                tracing::info!(cause, config, "the configuration is in force");
            }
            Err(error) => tracing::error!(
                cause,
                error,
                "the configuration was refused; the one before stays in force"
            ),
        }
        supervisor::ready();
    }

    async fn put_in_force(&mut self) -> Result<(), String> {
        let config = match &self.file {
            Some(file) => {
                self.read = Content::of(file);
                Config::load(file).map_err(|error| error.to_string())?
            }
            None => self.config.clone(),
        };
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let reloaded = self.control.reload(config.clone()).await;
        reloaded.map_err(|error| error.to_string())?;
        self.config = config;
        Ok(())
    }
}

impl Content {
    fn of(file: &Path) -> Option<Self> {
        let bytes = std::fs::read(file).ok()?;
        Some(Self(Sha256::digest(bytes).into()))
    }
}
