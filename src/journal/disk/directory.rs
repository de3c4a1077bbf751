use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::storage::{File, Storage};
use crate::journal::JournalError;

/// A directory of the file system, locked.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Holds the lock for as long as it is open.
    _lock: fs::File,
}

const LOCK: &str = "lock";

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let shown = path.display();
        let failed = |error: io::Error| {
            JournalError::new(format!(
                "{shown} cannot be used: {error}; it must be a directory that this process may \
                 read and write"
            ))
        };
        make(path).map_err(failed)?;
        let lock = options()
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(JournalError::new(format!(
                "{shown} is in use by another process; stop that one, or give this one a \
                 directory of its own"
            ))),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

// What clients were sent, and the secret, are for nobody else on the machine.

fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let existing = path.ancestors().find(|path| path.exists());
    builder.create(path)?;
    // What is in a directory is no safer than the directory's name.
    let made = path.ancestors().take_while(|path| Some(*path) != existing);
    for parent in made.filter_map(Path::parent) {
        sync(parent)?;
    }
    Ok(())
}

#[cfg(unix)]
fn sync(directory: &Path) -> io::Result<()> {
    let here = directory.as_os_str().is_empty();
    fs::File::open(if here { Path::new(".") } else { directory })?.sync_all()
}

// Elsewhere a directory cannot be opened, and its entries are journaled.
#[cfg(not(unix))]
fn sync(_directory: &Path) -> io::Result<()> {
    Ok(())
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

impl Storage for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is no text is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = options()
            .create(true)
            .truncate(true)
            .open(self.path.join(name))?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(options().open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        sync(&self.path)
    }

    fn boot(&self) -> Option<String> {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty())
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl File for fs::File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    #[cfg(unix)]
    fn read(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, into, at)
    }

    #[cfg(unix)]
    fn write(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, bytes, at)
    }

    #[cfg(windows)]
    fn read(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self, into, at)
    }

    #[cfg(windows)]
    fn write(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(self, bytes, at)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
