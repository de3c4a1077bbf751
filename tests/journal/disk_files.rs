//! Real files: what an operator may see of them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tower_sse::journal::disk::{Disk, DiskSettings};
use tower_sse::journal::{Appended, Journal};

use crate::support::{append, begin, find, name, owned, record, runtime};

/// A directory of one test's own, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let name = format!("journal-{test}-{}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> Disk {
        Disk::open(DiskSettings::new(&self.0)).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_appended_is_there_after_the_process() {
    let directory = Directory::new("smoke");
    runtime().block_on(async {
        let disk = directory.open();
        let secret = disk.secret().unwrap();
        let mut replica = begin(&disk, "a");
        let first = record(1, 0, &["data: 1\n\n", "data: 2\n\n"]);
        let second = record(3, 1, &["data: 3\n\n"]);
        for record in [&first, &second] {
            assert_eq!(
                append(&mut replica, record.clone()).await.unwrap(),
                Appended::Kept
            );
        }
        let alias = (name("other"), name("a"));
        let given = disk
            .alias(&alias.0, &alias.1, Duration::from_secs(1), None)
            .unwrap();
        assert_eq!(given.await.unwrap(), None);
        disk.close().unwrap().await.unwrap();

        let disk = directory.open();
        assert_eq!(disk.secret().unwrap(), secret);
        for stream in ["a", "other"] {
            let mut kept = find(&disk, stream).await.unwrap();
            assert_eq!(kept.head, "head of a");
            assert_eq!(kept.records, [first.clone(), second.clone()]);
            assert_eq!(owned(&mut kept.replica), (true, 3));
        }
        let given = disk
            .alias(&alias.0, &name("b"), Duration::from_secs(1), None)
            .unwrap();
        assert_eq!(given.await.unwrap(), Some(name("a")));
        assert!(find(&disk, "b").await.is_none());
        disk.close().unwrap().await.unwrap();
    });
}

#[test]
fn a_directory_is_one_process_s_alone() {
    let directory = Directory::new("lock");
    let disk = directory.open();
    let error = Disk::open(DiskSettings::new(&directory.0))
        .unwrap_err()
        .to_string();
    assert!(error.contains("in use by another process"), "{error}");
    assert!(error.contains(directory.0.to_str().unwrap()), "{error}");
    runtime().block_on(disk.close().unwrap()).unwrap();
    directory.open();
}

#[test]
#[cfg(unix)]
fn nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new("mode");
    runtime().block_on(async {
        let disk = directory.open();
        append(&mut begin(&disk, "a"), record(1, 0, &["x"]))
            .await
            .unwrap();
        disk.close().unwrap().await.unwrap();
    });
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.0.clone()), 0o700);
    let files: Vec<_> = fs::read_dir(&directory.0).unwrap().flatten().collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        assert_eq!(mode(file.path()), 0o600, "{file:?}");
    }
}
