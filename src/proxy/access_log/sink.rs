//! Where lines go: a thread of its own writes them, so that no client waits
//! for a disk.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write, stderr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use prometheus_client::metrics::counter::Counter;

use super::super::config::model::{AccessFormat, AccessLog};

/// Lines that may wait to be written. Beyond that they are dropped, and
/// counted: a full disk must not stop the proxy, nor fill its memory.
const WAITING: usize = 16 << 10;

/// A log that lines can be given to.
#[derive(Debug)]
pub(crate) struct Sink {
    format: AccessFormat,
    /// `None` once it is being closed.
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
    dropped: Counter,
}

impl Sink {
    /// Opens the file to append to it, or takes standard error.
    pub(super) fn open(log: &AccessLog, dropped: Counter) -> io::Result<Self> {
        let file = log.path.as_deref().map(append_to).transpose()?;
        let (lines, waiting) = sync_channel(WAITING);
        let path = log.path.clone();
        let writer = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || match (file, path) {
                (Some(file), Some(path)) => write(&waiting, &mut BufWriter::new(file), &path),
                _ => write(&waiting, &mut BufWriter::new(stderr()), Path::new("stderr")),
            })?;
        Ok(Self {
            format: log.format,
            lines: Some(lines),
            writer: Some(writer),
            dropped,
        })
    }

    /// How lines are to look.
    pub(super) fn format(&self) -> AccessFormat {
        self.format
    }

    /// Has a line written.
    pub(super) fn write(&self, line: String) {
        let sent = self.lines.as_ref().map(|lines| lines.try_send(line));
        if !matches!(sent, Some(Ok(()))) {
            self.dropped.inc();
        }
    }
}

impl Drop for Sink {
    /// Waits until everything is written.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map_err(|error| {
        let path: PathBuf = path.into();
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    })
}

/// Writes lines, and flushes when none is waiting.
fn write(lines: &Receiver<String>, out: &mut impl Write, path: &Path) {
    let mut failing = false;
    while let Ok(mut line) = lines.recv() {
        let mut written = Ok(());
        loop {
            written = written.and_then(|()| out.write_all(line.as_bytes()));
            match lines.try_recv() {
                Ok(next) => line = next,
                Err(_) => break,
            }
        }
        let written = written.and_then(|()| out.flush());
        // Said once, and not for each line of a full disk.
        if let (Err(error), false) = (&written, failing) {
            tracing::error!(path = %path.display(), %error, "cannot write the access log");
        }
        failing = written.is_err();
    }
}
