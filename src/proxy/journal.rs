//! From the configuration's journal to one that is open.

use std::sync::Arc;

use super::config::model::JournalSettings;
use crate::journal::{Journal, JournalError, Memory};

/// Opens it. One on disk is read through, which takes a second for each GiB;
/// one in Redis is connected to by and by.
pub(super) fn open(settings: &JournalSettings) -> Result<Arc<dyn Journal>, JournalError> {
    match settings {
        JournalSettings::Memory => Ok(Arc::new(Memory)),
        #[cfg(feature = "disk")]
        JournalSettings::Disk(disk) => Ok(Arc::new(disk::open(disk)?)),
        #[cfg(feature = "redis")]
        JournalSettings::Redis(redis) => Ok(Arc::new(redis::open(redis)?)),
        // The configuration is refused before it gets here.
        #[cfg(not(all(feature = "disk", feature = "redis")))]
        _ => Err(JournalError::new("built without this kind of journal")),
    }
}

#[cfg(feature = "disk")]
mod disk {
    use super::super::config::model::{DiskJournal, DiskSync};
    use crate::journal::JournalError;
    use crate::journal::disk::{Disk, DiskSettings, Sync};

    pub(super) fn open(settings: &DiskJournal) -> Result<Disk, JournalError> {
        Disk::open(DiskSettings {
            sync: match settings.sync {
                DiskSync::Always => Sync::Always,
                DiskSync::Interval(time) => Sync::Interval(time),
                DiskSync::Never => Sync::Never,
            },
            max_bytes: u64::try_from(settings.max_bytes).unwrap_or(u64::MAX),
            ..DiskSettings::new(&settings.path)
        })
    }
}

#[cfg(feature = "redis")]
mod redis {
    use super::super::config::model::{OnJournalLoss, RedisJournal, RedisTopology};
    use crate::journal::redis::{Redis, RedisSettings, Topology};
    use crate::journal::{JournalError, OnLoss};

    pub(super) fn open(settings: &RedisJournal) -> Result<Redis, JournalError> {
        Redis::connect(RedisSettings {
            urls: settings
                .urls
                .iter()
                .map(|url| url.expose().clone())
                .collect(),
            topology: match &settings.topology {
                RedisTopology::Standalone => Topology::Standalone,
                RedisTopology::Sentinel { service } => Topology::Sentinel {
                    service: service.clone(),
                },
                RedisTopology::Cluster => Topology::Cluster,
            },
            lease: settings.lease,
            prefix: settings.prefix.clone(),
            ca_file: settings.ca.clone(),
            on_loss: match settings.on_loss {
                OnJournalLoss::Pause => OnLoss::Pause,
                OnJournalLoss::Continue => OnLoss::Continue,
            },
            ..RedisSettings::new(String::new(), *settings.secret.expose())
        })
    }
}
