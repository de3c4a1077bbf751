//! What the journal asks of a file system and of time.
//!
//! Everything it does to the disk goes through here, so that tests can take
//! the power away, fill the disk, and let an fsync fail.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Instant;

/// One directory, which is this process's alone while the value lives.
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// The names of the files in it.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file, also where there is one.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, in place of the one that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a file out of the directory. Whoever has it open can still read it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns once files made, renamed and removed are so for good.
    fn sync(&self) -> io::Result<()>;

    /// What names the time since the kernel started, and changes when it starts
    /// again. `None` where that is not known.
    fn boot(&self) -> Option<String>;

    /// The time, which must not go back.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// What to call this directory before the operator.
    fn name(&self) -> String;
}

/// An open file.
pub trait File: fmt::Debug + Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads some of what is at an offset; nothing only at the end.
    fn read(&self, into: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes some of the bytes at an offset, and says how many.
    fn write(&self, bytes: &[u8], at: u64) -> io::Result<usize>;

    /// Cuts it to a size.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// Returns once what was written, and the size, are with the disk for good.
    fn sync(&self) -> io::Result<()>;
}

/// Reads as much as there is, up to all of `into`.
pub(super) fn read_up_to(file: &dyn File, into: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read(&mut into[done..], at + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Reads all of `into`, or fails.
pub(super) fn read_exactly(file: &dyn File, into: &mut [u8], at: u64) -> io::Result<()> {
    if read_up_to(file, into, at)? < into.len() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Writes all of it, however little is taken at once.
pub(super) fn write_all(file: &dyn File, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write(&bytes[done..], at + done as u64) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts a small file in place of another, all of it or nothing, and for good.
pub(super) fn replace(storage: &dyn Storage, name: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = format!("{name}.new");
    let file = storage.create(&fresh)?;
    write_all(&*file, bytes, 0)?;
    file.sync()?;
    storage.rename(&fresh, name)?;
    storage.sync()
}

/// All of a small file, or `None` if there is none.
pub(super) fn contents(storage: &dyn Storage, name: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = usize::try_from(file.size()?.min(SMALL)).unwrap_or(0);
    let mut bytes = vec![0; size];
    read_exactly(&*file, &mut bytes, 0)?;
    Ok(Some(bytes))
}

/// No small file is larger; what is, is not one of ours.
const SMALL: u64 = 4096;
