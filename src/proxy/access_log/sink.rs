//! Where lines go: a thread of its own writes them, so that no client waits
//! for a disk.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write, stderr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    leaving: Arc<Leaving>,
}

/// Writers of logs that were closed, which may have something to write yet.
#[derive(Debug, Default)]
pub(super) struct Leaving(Mutex<Vec<JoinHandle<()>>>);

impl Sink {
    /// Opens the file to append to it, or takes standard error.
    pub(super) fn open(
        log: &AccessLog,
        dropped: Counter,
        leaving: Arc<Leaving>,
    ) -> io::Result<Self> {
        match &log.path {
            Some(path) => Self::to(append_to(path)?, path, log.format, dropped, leaving),
            None => Self::to(stderr(), Path::new("stderr"), log.format, dropped, leaving),
        }
    }

    fn to(
        out: impl Write + Send + 'static,
        path: &Path,
        format: AccessFormat,
        dropped: Counter,
        leaving: Arc<Leaving>,
    ) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING);
        let path = path.to_owned();
        let writer = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(&waiting, &mut BufWriter::new(out), &path))?;
        Ok(Self {
            format,
            lines: Some(lines),
            writer: Some(writer),
            dropped,
            leaving,
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
    /// Its writer ends by itself. Nobody waits for it here: a disk that hangs
    /// would hold up whoever drops the last handle, which may be a request.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            self.leaving.add(writer);
        }
    }
}

impl Leaving {
    fn add(&self, writer: JoinHandle<()>) {
        let mut all = self.all();
        all.retain(|writer| !writer.is_finished());
        all.push(writer);
    }

    /// Waits until everything is written.
    pub(super) fn join(&self) {
        let all = std::mem::take(&mut *self.all());
        for writer in all {
            let _ = writer.join();
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// A disk that hangs until it is told not to.
    struct Disk {
        go_on: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go_on.recv();
            self.written.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_hangs_holds_up_nobody_but_the_end() {
        let (released, go_on) = sync_channel(1);
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let disk = Disk {
            go_on,
            written: Arc::clone(&written),
        };
        let leaving = Arc::<Leaving>::default();
        let (path, format) = (Path::new("disk"), AccessFormat::default());
        let sink = Sink::to(disk, path, format, Counter::default(), Arc::clone(&leaving));
        let sink = sink.unwrap();
        sink.write("line\n".to_owned());
        let (dropped, is_dropped) = channel();
        let dropping = thread::spawn(move || {
            drop(sink);
            dropped.send(()).unwrap();
        });
        let in_time = is_dropped.recv_timeout(Duration::from_secs(30));
        released.send(()).unwrap();
        dropping.join().unwrap();
        in_time.unwrap();
        leaving.join();
        assert_eq!(*written.lock().unwrap(), b"line\n");
    }
}
