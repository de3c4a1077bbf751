use std::io;
use std::sync::Arc;

use super::frame::Frame;
use super::recovery::{Recovered, Refusal, recover};
use super::settings::{DiskSettings, Sync};
use super::shared::Shared;
use super::state::State;
use super::storage::{Storage, contents, replace};
use super::writer::Writer;
use crate::journal::{Health, JournalError};

/// Reads what there is and starts the writer. Returns the way to it, and the
/// secret.
pub(super) fn open(
    settings: DiskSettings,
    storage: Arc<dyn Storage>,
) -> Result<(Arc<Shared>, [u8; 32]), JournalError> {
    let name = storage.name();
    let recovered = recover(&*storage).map_err(|refusal| refused(&name, refusal))?;
    let failed = |error: io::Error| {
        JournalError::new(format!(
            "{name} could not be opened: {error}; free space or mend the disk, or use another \
             directory"
        ))
    };
    let secret = secret(&*storage).map_err(failed)?;
    let last = State::read(&*storage).map_err(failed)?;
    for damage in &recovered.damage {
        tracing::error!(
            "journal: {name}/{damage}; streams that may have lost something get new ids"
        );
    }
    let shared = Arc::new(Shared::new());
    let doubtful = is_doubtful(&recovered, last.as_ref(), &*storage);
    let is_synced = last.is_some_and(|state| state.is_clean());
    let mut writer =
        start(recovered, Arc::clone(&shared), storage, settings, is_synced).map_err(failed)?;
    if doubtful {
        writer.doubt_all()?;
    }
    // Only now: were this the state before the doubt is written, a crash in
    // between would leave a proof of what was never proved.
    let state = State::running(writer.settings.sync, writer.storage.boot());
    state.write(&*writer.storage).map_err(failed)?;
    let thread = std::thread::Builder::new().name("journal".to_owned());
    let end = End(Arc::clone(&shared));
    let run = move || {
        // Dropped last, also if this panics.
        let _end = end;
        writer.run();
    };
    thread.spawn(run).map_err(failed)?;
    Ok((shared, secret))
}

/// Whether streams may have been acknowledged more than there is. What is
/// damaged inside is known to those it concerns, and will be found again.
fn is_doubtful(recovered: &Recovered, last: Option<&State>, storage: &dyn Storage) -> bool {
    let boot = storage.boot();
    let proves = |state: &State| state.proves(recovered.reached, boot.as_deref());
    recovered.reached.0 > 0 && (recovered.damaged_end || !last.is_some_and(proves))
}

fn start(
    recovered: Recovered,
    shared: Arc<Shared>,
    storage: Arc<dyn Storage>,
    settings: DiskSettings,
    is_synced: bool,
) -> io::Result<Writer> {
    let mut index = recovered.index;
    // What the last run left to the kernel is what this one builds upon.
    let sync = settings.sync != Sync::Never && !is_synced;
    let numbers: Vec<u32> = index.segments.iter().map(|(number, _)| number).collect();
    for number in numbers {
        if let Some(segment) = index.segments.get_mut(number) {
            if sync {
                segment.file.sync()?;
            }
            if sync || is_synced {
                segment.synced = segment.len;
            }
        }
    }
    if sync {
        storage.sync()?;
    }
    index.start(storage.now());
    Ok(Writer::new(
        shared,
        storage,
        settings,
        index,
        recovered.reached.0,
    ))
}

fn refused(name: &str, refusal: Refusal) -> JournalError {
    JournalError::new(match refusal {
        Refusal::Io(file, error) => format!("{name}: {file} could not be read: {error}"),
        Refusal::Foreign(file, version) => format!(
            "{name}/{file} has format version {version}, which this version cannot read; use the \
             one that wrote it, or another directory"
        ),
    })
}

/// However the writer ends: nobody waits for an answer that never comes.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        drop(self.0.queue.close());
        if std::thread::panicking() {
            self.0.set_health(Health {
                durable: false,
                detail: "journal: its writer failed, which is a mistake in it; streams go on in \
                         memory until the process is started again: please report what it said"
                    .to_owned(),
            });
        }
    }
}

const SECRET: &str = "secret";

fn secret(storage: &dyn Storage) -> io::Result<[u8; 32]> {
    if let Some(bytes) = contents(storage, SECRET)? {
        let wrong = |_| {
            let what = "the file `secret` is not one; without it no stream can be found: \
                        restore it, or empty the directory";
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        return bytes.try_into().map_err(wrong);
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    replace(storage, SECRET, &secret)?;
    Ok(secret)
}

impl Writer {
    /// Of no stream is it known whether its end is here.
    fn doubt_all(&mut self) -> Result<(), JournalError> {
        self.index.doubt_all();
        self.put(|out| Frame::DoubtAll.encode(out))?;
        self.commit();
        if self.settings.sync != Sync::Never {
            self.sync_all();
        }
        match &self.outage {
            Some(outage) => Err(outage.error()),
            None => Ok(()),
        }
    }
}
