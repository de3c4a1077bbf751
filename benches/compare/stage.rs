//! Where scenarios take place: which processor is whose, and how an origin, a
//! peer before it and the load are put up.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::event::Shape;
use crate::load::Target;
use crate::machine;
use crate::options::Options;
use crate::origin::Origin;
use crate::peers::{Peer, Running, Setting};
use crate::process::{Core, Process, stay_on};
use crate::tls::Certificate;

/// What all scenarios of a run have in common.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) options: Options,
    pub(crate) pinned: bool,
    cores: usize,
    files: usize,
    directory: Directory,
    certificate: Certificate,
}

/// What a scenario needs of its site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    pub(crate) shape: Shape,
    pub(crate) tls: bool,
    pub(crate) large_buffer: bool,
}

impl Default for Needs {
    fn default() -> Self {
        Self {
            shape: Shape::Plain,
            tls: false,
            large_buffer: false,
        }
    }
}

/// An origin and, but for `direct`, a peer before it. Ends with its value.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    pub(crate) peer: Peer,
    running: Option<Running>,
    pub(crate) origin: Origin,
    stage: &'a Stage,
    needs: Needs,
}

impl Stage {
    pub(crate) fn new(options: Options) -> io::Result<Self> {
        let cores = machine::cores();
        let pinned = cores >= 2 && !options.unpinned;
        if pinned {
            stay_on(1)?;
        }
        let directory = Directory::make()?;
        Ok(Self {
            pinned,
            cores,
            files: machine::files(),
            certificate: Certificate::make(&directory.0)?,
            directory,
            options,
        })
    }

    /// What is measured has a processor to itself.
    pub(crate) fn measured_core(&self) -> Core {
        if self.pinned {
            Core::Only(0)
        } else {
            Core::Any
        }
    }

    /// The origin has another, which it shares with the clients if need be.
    fn origin_core(&self) -> Core {
        match self.pinned {
            true if self.cores > 2 => Core::Only(2),
            true => Core::Only(1),
            false => Core::Any,
        }
    }

    /// As many clients as asked for, or `usual`, or as descriptors allow.
    pub(crate) fn clients(&self, peer: Peer, usual: usize) -> usize {
        let wanted = self.options.clients.unwrap_or(usual);
        let each = if peer == Peer::Direct || peer.fans_out() {
            1
        } else {
            2
        };
        wanted.min(self.files.saturating_sub(1_000) / each)
    }

    pub(crate) fn open(&self, peer: Peer, needs: Needs) -> io::Result<Site<'_>> {
        let measured = self.measured_core();
        let is_origin = peer == Peer::Direct;
        let mut origin = Origin::start(if is_origin {
            measured
        } else {
            self.origin_core()
        })?;
        origin.shape(needs.shape)?;
        let running = peer.start(&Setting {
            origin: origin.address,
            directory: &self.directory.sub()?,
            core: measured,
            workers: if self.pinned { 1 } else { self.cores },
            files: self.files,
            certificate: needs.tls.then_some(&self.certificate),
            large_buffer: needs.large_buffer,
            proxy: &self.options.proxy,
        })?;
        if let Some(hub) = running.as_ref().and_then(|running| running.hub) {
            origin.publish_to(hub)?;
        }
        Ok(Site {
            peer,
            running,
            origin,
            stage: self,
            needs,
        })
    }
}

impl Site<'_> {
    /// Whose cost it is.
    pub(crate) fn measured(&self) -> &Process {
        let running = self.running.as_ref();
        running.map_or(&self.origin.process, |running| &running.process)
    }

    /// Where clients are to go.
    pub(crate) fn target(&self) -> io::Result<Target> {
        let running = self.running.as_ref();
        Ok(Target {
            address: running.map_or(self.origin.address, |running| running.address),
            path: self.peer.path().to_owned(),
            post: false,
            shape: self.needs.shape,
            tls: self
                .needs
                .tls
                .then(|| self.stage.certificate.clients())
                .transpose()?,
            resume: None,
            keep_id: false,
        })
    }
}

/// A temporary directory that goes with its value.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn make() -> io::Result<Self> {
        let name = format!("sse-compare-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// A directory in it that nobody has used.
    fn sub(&self) -> io::Result<PathBuf> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let path = self
            .0
            .join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&path)?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let path: &Path = &self.0;
        let _ = std::fs::remove_dir_all(path);
    }
}
